//! Statistics of verification: scores of pairs of pictures that show the same person or not.
//!
//! A pair is accepted when its score is at least the threshold. Intervals are at 95 %: Wilson's for rates in the middle,
//! Clopper and Pearson's exact one for rare errors. They treat pairs as independent; pairs that share a person are not
//! quite, so the true intervals are somewhat wider.

/// Standard normal quantile of 97.5 %.
const Z95: f64 = 1.959_963_984_540_054;

/// The score of one pair and the truth about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Cosine in `-1.0..=1.0`; a pair with a picture that could not be used scores -1.
    pub score: f32,
    /// Whether both pictures show the same person.
    pub same: bool,
}

/// `successes` out of `trials`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proportion {
    /// How often it happened.
    pub successes: usize,
    /// How often it could have happened.
    pub trials: usize,
}

impl Proportion {
    /// The observed rate; NaN without trials.
    #[must_use]
    pub fn rate(self) -> f64 {
        self.successes as f64 / self.trials as f64
    }

    /// Wilson's score interval at 95 % (Wilson 1927).
    #[must_use]
    pub fn wilson(self) -> (f64, f64) {
        if self.trials == 0 {
            return (0.0, 1.0);
        }
        let (n, p, z2) = (self.trials as f64, self.rate(), Z95 * Z95);
        let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = Z95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        ((centre - half).max(0.0), (centre + half).min(1.0))
    }

    /// The exact interval at 95 % (Clopper and Pearson 1934): the rates under which what was seen, or something more extreme,
    /// has a probability of 2.5 % on either side.
    #[must_use]
    pub fn clopper_pearson(self) -> (f64, f64) {
        let (k, n) = (self.successes, self.trials);
        // Both tails fall or rise monotonically with p.
        let solve = |k: usize, level: f64| {
            let (mut low, mut high) = (0.0, 1.0);
            for _ in 0..60 {
                let p = (low + high) / 2.0;
                if binomial_cdf(k, n, p) > level {
                    low = p;
                } else {
                    high = p;
                }
            }
            (low + high) / 2.0
        };
        let low = if k == 0 { 0.0 } else { solve(k - 1, 0.975) };
        let high = if k >= n { 1.0 } else { solve(k, 0.025) };
        (low, high)
    }
}

/// Probability of at most `k` successes in `n` trials of probability `p`.
fn binomial_cdf(k: usize, n: usize, p: f64) -> f64 {
    if p <= 0.0 || k >= n {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    let (ln_p, ln_q) = (p.ln(), (-p).ln_1p());
    let mut ln_choose = 0.0;
    let mut sum = 0.0;
    for i in 0..=k {
        sum += (ln_choose + i as f64 * ln_p + (n - i) as f64 * ln_q).exp();
        ln_choose += ((n - i) as f64).ln() - ((i + 1) as f64).ln();
    }
    sum.min(1.0)
}

/// Where a threshold puts the two error rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatingPoint {
    /// Lowest accepted score.
    pub threshold: f32,
    /// Genuine pairs accepted.
    pub tar: Proportion,
    /// Impostor pairs accepted.
    pub far: Proportion,
}

/// The rates at `threshold`.
#[must_use]
pub fn at_threshold(pairs: &[Scored], threshold: f32) -> OperatingPoint {
    let rate = |same: bool| {
        let of_kind = pairs.iter().filter(|p| p.same == same);
        Proportion {
            successes: of_kind.clone().filter(|p| p.score >= threshold).count(),
            trials: of_kind.count(),
        }
    };
    OperatingPoint { threshold, tar: rate(true), far: rate(false) }
}

/// The lowest threshold at which at most a share `far` of the impostor pairs is accepted.
///
/// `None` where there are fewer than `1 / far` impostor pairs (or no genuine one): the data say nothing about such a rate.
#[must_use]
pub fn tar_at_far(pairs: &[Scored], far: f64) -> Option<OperatingPoint> {
    let mut impostors: Vec<f32> = pairs.iter().filter(|p| !p.same).map(|p| p.score).collect();
    let allowed = (far * impostors.len() as f64 + 1e-9).floor();
    if allowed < 1.0 || impostors.len() == pairs.len() {
        return None;
    }
    impostors.sort_unstable_by(|a, b| b.total_cmp(a));
    let threshold = match impostors.get(allowed as usize) {
        Some(first_refused) => first_refused.next_up(),
        None => -1.0,
    };
    Some(at_threshold(pairs, threshold))
}

/// The threshold with the most correct decisions; among equals the highest, half way to the next lower score's neighbour.
#[must_use]
pub fn best_threshold(pairs: &[Scored]) -> f32 {
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    // Correct decisions when everything is refused, then one more pair accepted at a time.
    let mut correct = sorted.iter().filter(|p| !p.same).count();
    let mut best = (correct, 1.0f32.next_up());
    for (i, pair) in sorted.iter().enumerate() {
        if pair.same {
            correct += 1;
        } else {
            correct -= 1;
        }
        let next = sorted.get(i + 1).map_or(-1.0, |p| p.score);
        if next == pair.score && i + 1 < sorted.len() {
            continue;
        }
        if correct > best.0 {
            best = (correct, next + (pair.score - next) / 2.0);
        }
    }
    best.1
}

/// Accuracy where each fold is judged by the threshold that suits the others best.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    /// Correct decisions over all folds.
    pub correct: Proportion,
    /// Accuracy of each fold.
    pub folds: Vec<f64>,
    /// Threshold used on each fold.
    pub thresholds: Vec<f32>,
}

/// Splits the pairs into `folds` runs (2 to the number of pairs of the rarer kind), genuine and impostor pairs each in the
/// order of the list, and judges every run by the best threshold of all others. LFW's own fold order is kept by this.
///
/// `None` where there are too few pairs.
#[must_use]
pub fn cross_validated(pairs: &[Scored], folds: usize) -> Option<Accuracy> {
    let count = |same| pairs.iter().filter(|p| p.same == same).count();
    let totals = [count(false), count(true)];
    if folds < 2 || totals.iter().any(|&n| n < folds) {
        return None;
    }
    let mut seen = [0usize; 2];
    let fold_of: Vec<usize> = pairs
        .iter()
        .map(|p| {
            let kind = usize::from(p.same);
            seen[kind] += 1;
            (seen[kind] - 1) * folds / totals[kind]
        })
        .collect();
    let mut out = Accuracy {
        correct: Proportion { successes: 0, trials: pairs.len() },
        folds: Vec::new(),
        thresholds: Vec::new(),
    };
    for fold in 0..folds {
        let part = |inside: bool| -> Vec<Scored> {
            let chosen = pairs.iter().zip(&fold_of).filter(|(_, &f)| (f == fold) == inside);
            chosen.map(|(p, _)| *p).collect()
        };
        let threshold = best_threshold(&part(false));
        let judged = part(true);
        let right = judged.iter().filter(|p| (p.score >= threshold) == p.same).count();
        out.correct.successes += right;
        out.folds.push(right as f64 / judged.len() as f64);
        out.thresholds.push(threshold);
    }
    Some(out)
}

/// Area under the ROC curve: the probability that a genuine pair scores above an impostor pair, ties counted half.
/// NaN without pairs of both kinds.
#[must_use]
pub fn auc(pairs: &[Scored]) -> f64 {
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable_by(|a, b| a.score.total_cmp(&b.score));
    let (mut below, mut area, mut genuine) = (0.0, 0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.score == b.score) {
        let same = tied.iter().filter(|p| p.same).count() as f64;
        let other = tied.len() as f64 - same;
        area += same * (below + other / 2.0);
        below += other;
        genuine += same;
    }
    area / (below * genuine)
}

/// The error rate at the threshold where false accepts and false rejects are nearest to each other (mean of the two).
#[must_use]
pub fn equal_error_rate(pairs: &[Scored]) -> f64 {
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    let genuine = sorted.iter().filter(|p| p.same).count() as f64;
    let impostor = sorted.len() as f64 - genuine;
    let (mut accepted, mut false_accepts) = (0.0, 0.0);
    let mut best = (1.0, 0.5);
    for tied in sorted.chunk_by(|a, b| a.score == b.score) {
        let same = tied.iter().filter(|p| p.same).count() as f64;
        accepted += same;
        false_accepts += tied.len() as f64 - same;
        let (far, frr) = (false_accepts / impostor, 1.0 - accepted / genuine);
        if (far - frr).abs() < best.0 {
            best = ((far - frr).abs(), (far + frr) / 2.0);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(genuine: &[f32], impostor: &[f32]) -> Vec<Scored> {
        let of = |scores: &[f32], same| -> Vec<Scored> {
            scores.iter().map(|&score| Scored { score, same }).collect()
        };
        [of(genuine, true), of(impostor, false)].concat()
    }

    fn near(a: (f64, f64), b: (f64, f64)) {
        assert!((a.0 - b.0).abs() < 5e-5 && (a.1 - b.1).abs() < 5e-5, "{a:?} {b:?}");
    }

    #[test]
    fn intervals_match_published_values() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29; Wilson without correction, and exact.
        let p = |successes, trials| Proportion { successes, trials };
        near(p(81, 263).wilson(), (0.2553, 0.3662));
        near(p(15, 148).wilson(), (0.0624, 0.1605));
        near(p(0, 20).wilson(), (0.0, 0.1611));
        near(p(1, 29).wilson(), (0.0061, 0.1718));
        near(p(81, 263).clopper_pearson(), (0.2527, 0.3676));
        near(p(15, 148).clopper_pearson(), (0.0578, 0.1617));
        near(p(0, 20).clopper_pearson(), (0.0, 0.1684));
        near(p(1, 29).clopper_pearson(), (0.0009, 0.1776));
        near(p(20, 20).clopper_pearson(), (0.8316, 1.0));
        // The rule of three, far beyond where factorials overflow.
        assert!((p(0, 1_000_000).clopper_pearson().1 - 3.689e-6).abs() < 1e-8);
    }

    #[test]
    fn tar_at_far_counts_by_hand() {
        let impostors: Vec<f32> = (0..100).map(|i| i as f32 / 1000.0).collect(); // 0.000 ..= 0.099
        let all = pairs(&[0.5, 0.0985, 0.098, 0.0975, 0.01], &impostors);
        let point = tar_at_far(&all, 0.01).unwrap();
        assert_eq!((point.far.successes, point.tar.successes), (1, 2)); // 0.099 passes, 0.098 does not
        let point = tar_at_far(&all, 0.02).unwrap();
        assert_eq!((point.far.successes, point.tar.successes), (2, 4)); // 0.097 does not pass
        assert_eq!(tar_at_far(&all, 0.009), None, "100 impostors cannot show 0.9 %");
        assert_eq!(tar_at_far(&all, 1.0).unwrap().far.successes, 100);
        assert_eq!(tar_at_far(&pairs(&[], &impostors), 0.1), None);
        // Ties with the first refused impostor are refused.
        let tied = pairs(&[0.3, 0.2], &[0.3, 0.2, 0.2, 0.1]);
        assert_eq!(tar_at_far(&tied, 0.5).unwrap().far.successes, 1);
    }

    #[test]
    fn the_best_threshold_separates() {
        let t = best_threshold(&pairs(&[0.8, 0.6], &[0.2, 0.1]));
        assert!((t - 0.4).abs() < 1e-6);
        assert!(best_threshold(&pairs(&[0.1], &[0.2, 0.3])) > 1.0, "refusing all is best");
        // Equal scores stand or fall together: accepting both is no better than refusing both.
        assert!(best_threshold(&pairs(&[0.5], &[0.5])) > 1.0);
        assert!(best_threshold(&pairs(&[0.9, 0.7], &[])) <= 0.7);
    }

    #[test]
    fn folds_are_judged_by_the_others() {
        // First fold separates at 0.5, second at 0.1: each is judged by the other's threshold.
        let list: Vec<Scored> = [
            (0.9, true),
            (0.8, true),
            (0.2, false),
            (0.2, false), // fold 1: best threshold 0.5
            (0.3, true),
            (0.25, true),
            (-0.1, false),
            (-0.1, false), // fold 2: best threshold 0.075
        ]
        .map(|(score, same)| Scored { score, same })
        .to_vec();
        let a = cross_validated(&list, 2).unwrap();
        assert_eq!(a.folds, [0.5, 0.5]);
        assert_eq!(a.correct, Proportion { successes: 4, trials: 8 });
        assert!((a.thresholds[0] - 0.075).abs() < 1e-6 && (a.thresholds[1] - 0.5).abs() < 1e-6);
        assert_eq!(cross_validated(&list, 5), None);
        assert_eq!(cross_validated(&list, 1), None);
    }

    #[test]
    fn area_and_equal_errors() {
        let perfect = pairs(&[0.9, 0.8], &[0.1, 0.2]);
        assert_eq!(auc(&perfect), 1.0);
        assert_eq!(equal_error_rate(&perfect), 0.0);
        assert_eq!(auc(&pairs(&[0.5], &[0.5])), 0.5);
        let mixed = pairs(&[0.9, 0.4], &[0.5, 0.1]); // genuine above impostor in 3 of 4
        assert_eq!(auc(&mixed), 0.75);
        assert_eq!(equal_error_rate(&mixed), 0.5);
    }
}
