//! The calibration table of a pack: what scores strangers reach.
//!
//! Scores are cosines between embeddings of different persons whom the network has not been trained on. The pack gets
//! [`keyface::calibration::Calibration`]'s table of them, with the number of pairs behind it; a rate that the pairs cannot
//! support is refused there. The report adds what was observed, with exact (Clopper and Pearson) intervals.
//!
//! Pairs that share a picture are not independent: with few persons the true confidence is below the nominal one.

use crate::npz::Npz;
use crate::run::Shots;
use anyhow::{ensure, Context, Result};
use keyface::calibration::Calibration;
use keyface::engine::Recogniser;
use keyface::pack::Pack;
use serde::Serialize;
use std::collections::HashSet;
use std::sync::Arc;

/// Section of the table of strangers.
pub const SECTION: &str = "calibration";
/// Section of the table of relatives: harder impostors, for information.
pub const RELATIVES: &str = "calibration.relatives";
/// Most pairs whose scores are kept; beyond, a seeded sample of about this many.
pub const MAX_PAIRS: usize = 20_000_000;

/// Rates that the report states.
const RATES: [f64; 6] = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6];

/// Embeddings of unit length with the person behind each.
pub struct Faces {
    dim: usize,
    unit: Vec<f32>,
    identity: Vec<i64>,
    family: Option<Vec<i64>>,
}

/// Scores of pairs of faces, by what the two have to do with each other.
#[derive(Debug, Default)]
pub struct Scores {
    /// The same person.
    pub genuine: Vec<f32>,
    /// Different persons who are not known to be relatives.
    pub strangers: Vec<f32>,
    /// Different persons of one family.
    pub relatives: Vec<f32>,
}

/// What a table rests on and what it states.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Who the impostors are.
    pub impostors: String,
    /// Pictures.
    pub pictures: usize,
    /// Persons.
    pub identities: usize,
    /// Pairs of different persons behind the table.
    pub impostor_pairs: usize,
    /// Pairs of one person, for the true-match rate.
    pub genuine_pairs: usize,
    /// The lowest rate that the table supports.
    pub lowest_fmr: f64,
    /// The table at round rates; rates beyond the data are left out.
    pub rates: Vec<Rate>,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rate {
    /// The false-match rate asked for.
    pub target: f64,
    /// The score that the table gives for it.
    pub threshold: f32,
    /// Impostor pairs at or above the threshold.
    pub errors: u64,
    /// Their share.
    pub fmr: f64,
    /// 95 % Clopper-Pearson interval of the share.
    pub interval: (f64, f64),
    /// Share of genuine pairs at or above the threshold; absent without genuine pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub true_match_rate: Option<f64>,
}

impl Faces {
    /// Embeds `image` and `keypoints` of `input` with the pack's recogniser; `identity` (integers `[N]`) says who is who, and
    /// `family`, if present, who is related.
    ///
    /// # Errors
    /// When an array is missing or misshapen, or the engine refuses.
    pub fn embed(pack: &Arc<Pack>, input: &Npz) -> Result<Faces> {
        let recogniser = Recogniser::new(pack)?;
        let m = recogniser.manifest();
        let shots = Shots::of(input, m.input_size)?;
        let people = |name: &str| -> Result<Vec<i64>> {
            let array = input.get(name)?;
            ensure!(
                array.shape == [shots.len()],
                "{name} has shape {:?}, not [{}]",
                array.shape,
                shots.len()
            );
            Ok(array.as_f32()?.iter().map(|v| *v as i64).collect())
        };
        let identity = people("identity")?;
        let family = input.get("family").is_ok().then(|| people("family")).transpose()?;
        let mut session = recogniser.session(1)?;
        let mut unit = vec![0f32; shots.len() * m.output_dim];
        for (i, out) in unit.chunks_exact_mut(m.output_dim).enumerate() {
            session.run(shots.image(i), &shots.keypoints(i), out)?;
            let norm = out.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            ensure!(norm > 0.0, "picture {i} has an embedding of length zero");
            out.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
        }
        Ok(Faces { dim: m.output_dim, unit, identity, family })
    }

    /// Cosines of all pairs; of strangers at most about [`MAX_PAIRS`], chosen by a hash of the pair.
    #[must_use]
    pub fn scores(&self) -> Scores {
        let rows: Vec<&[f32]> = self.unit.chunks_exact(self.dim).collect();
        let pairs = rows.len() * rows.len().saturating_sub(1) / 2;
        let keep_below = MAX_PAIRS as f64 / pairs.max(1) as f64 * u32::MAX as f64;
        let mut scores = Scores::default();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate().skip(i + 1) {
                let dot = || -> f32 { a.iter().zip(*b).map(|(a, b)| a * b).sum() };
                if self.identity[i] == self.identity[j] {
                    scores.genuine.push(dot());
                } else if self.family.as_ref().is_some_and(|f| f[i] == f[j]) {
                    scores.relatives.push(dot());
                } else if f64::from(hash(i, j)) <= keep_below {
                    scores.strangers.push(dot());
                }
            }
        }
        scores
    }
}

fn hash(i: usize, j: usize) -> u32 {
    let mut x = (i as u64) << 32 | j as u64;
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (x >> 32) as u32
}

/// Makes a table from impostor scores and says what it rests on.
///
/// # Errors
/// With fewer than 100 impostor pairs.
pub fn table(
    faces: &Faces,
    impostors: &str,
    scores: &mut [f32],
    genuine: &[f32],
) -> Result<(Calibration, Report)> {
    let table = Calibration::from_impostor_scores(scores)
        .with_context(|| format!("{} pairs of {impostors}", scores.len()))?;
    let share =
        |scores: &[f32], threshold: f32| scores.iter().filter(|s| **s >= threshold).count() as u64;
    let rates = RATES
        .iter()
        .filter_map(|&target| {
            let threshold = table.threshold_for_fmr(target).ok()?;
            let errors = share(scores, threshold);
            Some(Rate {
                target,
                threshold,
                errors,
                fmr: errors as f64 / scores.len() as f64,
                interval: clopper_pearson(errors, scores.len() as u64, 0.95),
                true_match_rate: (!genuine.is_empty())
                    .then(|| share(genuine, threshold) as f64 / genuine.len() as f64),
            })
        })
        .collect();
    let report = Report {
        impostors: impostors.into(),
        pictures: faces.identity.len(),
        identities: faces.identity.iter().collect::<HashSet<_>>().len(),
        impostor_pairs: scores.len(),
        genuine_pairs: genuine.len(),
        lowest_fmr: table.lowest_fmr(),
        rates,
    };
    Ok((table, report))
}

/// The exact two-sided interval of a rate, given `errors` in `trials` (Clopper and Pearson, Biometrika 26, 1934).
///
/// # Panics
/// When there are more errors than trials, or no trials.
#[must_use]
pub fn clopper_pearson(errors: u64, trials: u64, confidence: f64) -> (f64, f64) {
    assert!(errors <= trials && trials > 0, "{errors} errors in {trials} trials");
    let (k, n, tail) = (errors as f64, trials as f64, (1.0 - confidence) / 2.0);
    // P(X >= k) = I_p(k, n - k + 1) rises with p.
    let quantile = |a: f64, b: f64, level: f64| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..200 {
            let p = (low + high) / 2.0;
            if incomplete_beta(a, b, p) < level {
                low = p;
            } else {
                high = p;
            }
        }
        (low + high) / 2.0
    };
    let low = if errors == 0 { 0.0 } else { quantile(k, n - k + 1.0, tail) };
    let high = if errors == trials { 1.0 } else { quantile(k + 1.0, n - k, 1.0 - tail) };
    (low, high)
}

/// The regularised incomplete beta function by its continued fraction (Abramowitz and Stegun 26.5.8).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    let away = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut sum = d;
    for m in 1..100_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        sum *= c * d;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        sum *= c * d;
        if (c * d - 1.0).abs() < 1e-14 {
            break;
        }
    }
    front.exp() * sum / a
}

/// Stirling's series after shifting the argument above 10; good to 1e-13 relative.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series =
        inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{}: {} pairs ({} pictures of {} persons), {} genuine pairs; lowest rate {:.1e}",
            self.impostors,
            self.impostor_pairs,
            self.pictures,
            self.identities,
            self.genuine_pairs,
            self.lowest_fmr
        )?;
        writeln!(
            f,
            "{:>8} {:>10} {:>9} {:>10} {:>23} {:>11}",
            "rate", "threshold", "errors", "observed", "95 % interval", "true match"
        )?;
        for r in &self.rates {
            let matched = r.true_match_rate.map_or("-".into(), |t| format!("{:.2} %", 100.0 * t));
            writeln!(
                f,
                "{:>8.0e} {:>10.4} {:>9} {:>10.2e} {:>10.2e} ..{:>10.2e} {:>11}",
                r.target, r.threshold, r.errors, r.fmr, r.interval.0, r.interval.1, matched
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_match_published_tables() {
        // scipy.stats.beta.ppf, and R's binom.test
        for (k, n, low, high) in [
            (0, 100, 0.0, 0.036_216_7),
            (5, 100, 0.016_431_9, 0.112_834_9),
            (100, 100, 0.963_783_3, 1.0),
            (50, 100, 0.398_321_1, 0.601_678_9),
            (3, 1_000_000, 6.186_72e-7, 8.767_25e-6),
        ] {
            let (l, h) = clopper_pearson(k, n, 0.95);
            assert!((l - low).abs() < 1e-6 * low.max(1e-1), "{k}/{n}: {l}");
            assert!((h - high).abs() < 1e-6 * high.max(1e-1), "{k}/{n}: {h}");
        }
    }

    fn people(identity: &[i64], family: Option<&[i64]>) -> Faces {
        let unit = (0..identity.len())
            .flat_map(|i| {
                let angle = i as f32;
                [angle.cos(), angle.sin()]
            })
            .collect();
        Faces { dim: 2, unit, identity: identity.to_vec(), family: family.map(<[i64]>::to_vec) }
    }

    #[test]
    fn pairs_are_sorted_by_kinship() {
        let s = people(&[1, 1, 2, 3], None).scores();
        assert_eq!((s.genuine.len(), s.strangers.len(), s.relatives.len()), (1, 5, 0));
        assert!((s.genuine[0] - 1f32.cos()).abs() < 1e-6);
        let s = people(&[1, 1, 2, 3], Some(&[7, 7, 7, 8])).scores();
        assert_eq!((s.genuine.len(), s.strangers.len(), s.relatives.len()), (1, 3, 2));
    }

    #[test]
    fn the_report_states_only_supported_rates() {
        let faces = people(&(0..60).collect::<Vec<i64>>(), None);
        let mut s = faces.scores();
        let (table, report) = table(&faces, "strangers", &mut s.strangers, &s.genuine).unwrap();
        assert_eq!(report.impostor_pairs, 1770);
        assert_eq!(report.rates.iter().map(|r| r.target).collect::<Vec<_>>(), [1e-1, 1e-2]);
        for r in &report.rates {
            assert!(r.fmr <= r.target && r.interval.0 <= r.fmr && r.fmr <= r.interval.1);
        }
        assert!(table.threshold_for_fmr(1e-3).is_err());
    }
}
