//! From an error rate to a threshold: the pack's table of what scores impostors reach.
//!
//! A policy is a rate, not a cosine: one false match in so many comparisons (`fmr`), or one false identification in so many
//! searches (`fpir`). The table gives, for some scores, an upper confidence bound on the false-match rate, and says how many impostor
//! pairs stand behind it. A rate that the pairs cannot support is refused, never extrapolated.
//!
//! The bound is one-sided, 95 %, by the Poisson distribution, which is on the safe side of the binomial: without any error in `n` pairs it is
//! `3 / n` ("rule of three"). Pairs that share a picture are not independent, so the true confidence is lower than the nominal one.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Largest table that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 16;
/// Most points in a table.
pub const MAX_POINTS: usize = 512;
/// `-ln(0.05)`: the bound on a rate without errors, times the number of pairs.
const RULE_OF_THREE: f64 = 2.995_732_273_553_991;

/// What an installer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Verification: at most this share of comparisons with another person's template may match.
    TargetFmr(f64),
    /// Identification: at most this share of strangers' searches may return somebody, whatever the gallery's size.
    TargetFpir(f64),
}

/// One point: scores at or above `score` come from at most a share `fmr` of impostor pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    score: f32,
    fmr: f64,
}

/// The table. Made by `keyface-convert`, carried by the pack.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    impostor_pairs: u64,
    points: Vec<Point>,
}

/// The section's bytes: JSON, `{"version":1,"impostor_pairs":N,"points":[[score,fmr],..]}`, scores rising, rates not rising.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    version: u32,
    impostor_pairs: u64,
    points: Vec<(f32, f64)>,
}

impl Calibration {
    /// Reads a pack's calibration section.
    ///
    /// # Errors
    /// [`ErrorKind::DamagedPack`] if the bytes are not such a table; [`ErrorKind::UnsupportedPack`] for another version;
    /// [`ErrorKind::UnsupportedRate`] if the table claims a rate that its own pairs do not support.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let damaged = |detail| Error::new(ErrorKind::DamagedPack, detail);
        if bytes.len() > MAX_BYTES {
            return Err(damaged("the calibration table is too large"));
        }
        let section: Section = serde_json::from_slice(bytes)
            .map_err(|_| damaged("the calibration table is not the JSON it should be"))?;
        if section.version != 1 {
            return Err(Error::new(
                ErrorKind::UnsupportedPack,
                "the calibration table is of another version",
            ));
        }
        let points = section.points.iter().map(|&(score, fmr)| Point { score, fmr }).collect();
        Calibration::new(section.impostor_pairs, points)
    }

    fn new(impostor_pairs: u64, points: Vec<Point>) -> Result<Self> {
        let damaged = |detail| Err(Error::new(ErrorKind::DamagedPack, detail));
        if points.is_empty() || points.len() > MAX_POINTS || impostor_pairs == 0 {
            return damaged("the calibration table has no points, too many, or no pairs behind it");
        }
        let sound =
            |p: &Point| p.score.is_finite() && p.score.abs() <= 2.0 && p.fmr > 0.0 && p.fmr <= 1.0;
        if !points.iter().all(sound)
            || !points.windows(2).all(|w| w[0].score < w[1].score && w[0].fmr >= w[1].fmr)
        {
            return damaged("the calibration table's scores or rates are out of range or order");
        }
        let least = RULE_OF_THREE / impostor_pairs as f64;
        // Written decimals may fall short of the bound by a rounding.
        if points.iter().any(|p| p.fmr < least * 0.999_999) {
            return Err(Error::new(
                ErrorKind::UnsupportedRate,
                "the calibration table claims more than its pairs support",
            ));
        }
        Ok(Calibration { impostor_pairs, points })
    }

    /// Builds the table from the scores of impostor pairs (at least 100, all finite); sorts them.
    ///
    /// Points lie just above the highest score, the second highest, and so on in about ten steps a decade.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for too few scores or one that is not finite.
    pub fn from_impostor_scores(scores: &mut [f32]) -> Result<Self> {
        if scores.len() < 100 || scores.iter().any(|s| !s.is_finite()) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a calibration needs at least 100 finite impostor scores",
            ));
        }
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        let pairs = scores.len() as u64;
        let mut points = Vec::<Point>::new();
        let mut errors = 0;
        while errors < scores.len() {
            // The least threshold that lets no more than `errors` of the pairs through.
            let score = scores[errors].next_up();
            let fmr = upper_rate(errors as u64, pairs);
            if points.last().is_none_or(|p| score < p.score) {
                points.push(Point { score, fmr });
            }
            errors += 1 + errors / 8;
        }
        points.reverse();
        Calibration::new(pairs, points)
    }

    /// The section's bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if the table cannot be written, which no table that was built can cause.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let points = self.points.iter().map(|p| (p.score, p.fmr)).collect();
        let section = Section { version: 1, impostor_pairs: self.impostor_pairs, points };
        serde_json::to_vec(&section)
            .map_err(|_| Error::new(ErrorKind::Internal, "the calibration table cannot be written"))
    }

    /// Number of impostor pairs behind the table.
    #[must_use]
    pub fn impostor_pairs(&self) -> u64 {
        self.impostor_pairs
    }

    /// The lowest false-match rate that the table supports.
    #[must_use]
    pub fn lowest_fmr(&self) -> f64 {
        self.points.last().map_or(1.0, |p| p.fmr)
    }

    /// The score from which on a comparison counts as a match, for a false-match rate of at most `target`.
    ///
    /// No interpolation: the next stricter point of the table.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] unless `0 < target < 1`; [`ErrorKind::UnsupportedRate`] if the data do not reach so far.
    pub fn threshold_for_fmr(&self, target: f64) -> Result<f32> {
        check_rate(target)?;
        let point = self.points.iter().find(|p| p.fmr <= target);
        point.map(|p| p.score).ok_or(Error::new(
            ErrorKind::UnsupportedRate,
            "too few impostor pairs stand behind so low a rate",
        ))
    }

    /// The score for a false-positive identification rate of at most `target` among `templates` templates (at least one is assumed).
    ///
    /// `fmr = 1 - (1 - target)^(1 / templates)`: comparisons are taken as independent, and each template counts, several of one
    /// person too, which errs on the safe side.
    ///
    /// # Errors
    /// As [`Calibration::threshold_for_fmr`].
    pub fn threshold_for_fpir(&self, target: f64, templates: usize) -> Result<f32> {
        check_rate(target)?;
        self.threshold_for_fmr(-((-target).ln_1p() / templates.max(1) as f64).exp_m1())
    }

    /// The threshold of a policy for a gallery of `templates` templates. Ask again when the gallery has grown.
    ///
    /// # Errors
    /// As [`Calibration::threshold_for_fmr`].
    pub fn threshold(&self, policy: Policy, templates: usize) -> Result<f32> {
        match policy {
            Policy::TargetFmr(target) => self.threshold_for_fmr(target),
            Policy::TargetFpir(target) => self.threshold_for_fpir(target, templates),
        }
    }
}

fn check_rate(target: f64) -> Result<()> {
    if target > 0.0 && target < 1.0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidArgument, "an error rate lies between 0 and 1"))
}

/// Upper 95 % confidence bound on a rate, given `errors` in `trials` (at least one): the Poisson mean under which so few errors have
/// a probability of 5 %, over the number of trials; at most one.
#[must_use]
pub fn upper_rate(errors: u64, trials: u64) -> f64 {
    let k = errors as f64;
    let mean = if errors > 200 {
        // Wilson and Hilferty's approximation of the chi-square quantile, good to five digits here.
        let d = 2.0 * (k + 1.0);
        let c = 2.0 / (9.0 * d);
        d * (1.0 - c + 1.644_853_626_951_472_7 * c.sqrt()).powi(3) / 2.0
    } else {
        let (mut low, mut high) = (k, 2.0 * k + 10.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            let probability: f64 = {
                let mut term = (-middle).exp();
                let mut sum = term;
                for i in 1..=errors {
                    term *= middle / i as f64;
                    sum += term;
                }
                sum
            };
            if probability > 0.05 {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    };
    (mean / trials.max(1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Calibration {
        let text = br#"{"version":1,"impostor_pairs":10000,"points":[[0.1,0.1],[0.2,0.01],[0.3,0.001],[0.35,0.0003]]}"#;
        Calibration::parse(text).unwrap()
    }

    #[test]
    fn thresholds_take_the_stricter_point() {
        let t = table();
        assert_eq!(t.threshold_for_fmr(0.1).unwrap(), 0.1);
        assert_eq!(t.threshold_for_fmr(0.05).unwrap(), 0.2);
        assert_eq!(t.threshold_for_fmr(0.001).unwrap(), 0.3);
        assert_eq!(t.lowest_fmr(), 0.0003);
        // 1 - 0.9^(1/100) = 0.001053: the point 0.001.
        assert_eq!(t.threshold_for_fpir(0.1, 100).unwrap(), 0.3);
        assert_eq!(t.threshold_for_fpir(0.1, 1).unwrap(), 0.1);
        assert_eq!(t.threshold(Policy::TargetFpir(0.1), 0).unwrap(), 0.1);
    }

    #[test]
    fn rates_beyond_the_data_are_refused() {
        let t = table();
        assert_eq!(t.threshold_for_fmr(1e-4).unwrap_err().kind(), ErrorKind::UnsupportedRate);
        assert_eq!(
            t.threshold_for_fpir(0.01, 1000).unwrap_err().kind(),
            ErrorKind::UnsupportedRate
        );
        for bad in [0.0, 1.0, -0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(t.threshold_for_fmr(bad).unwrap_err().kind(), ErrorKind::InvalidArgument);
            assert_eq!(
                t.threshold_for_fpir(bad, 10).unwrap_err().kind(),
                ErrorKind::InvalidArgument
            );
        }
        let boast = br#"{"version":1,"impostor_pairs":100,"points":[[0.1,0.1],[0.2,0.001]]}"#;
        assert_eq!(Calibration::parse(boast).unwrap_err().kind(), ErrorKind::UnsupportedRate);
    }

    #[test]
    fn the_bound_is_that_of_the_tables() {
        // Poisson 95 % upper limits: 0 -> 2.996, 1 -> 4.744, 10 -> 16.962; 300 -> 329.9 by the chi-square quantile.
        for (errors, mean) in [(0, 2.9957), (1, 4.7439), (10, 16.9622), (100, 118.0787)] {
            assert!((upper_rate(errors, 1000) * 1000.0 - mean).abs() < 1e-3, "{errors}");
        }
        assert!((upper_rate(200, 1000) - upper_rate(201, 1000)).abs() < 2e-3, "both branches meet");
        assert_eq!(upper_rate(5, 2), 1.0);
    }

    #[test]
    fn built_tables_hold_on_their_own_data() {
        let mut scores: Vec<f32> = (0..20_000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0 - 0.5)
            .collect();
        let t = Calibration::from_impostor_scores(&mut scores).unwrap();
        assert_eq!(Calibration::parse(&t.to_json().unwrap()).unwrap().points.len(), t.points.len());
        for target in [0.3, 0.1, 0.01, 0.001, 0.0002] {
            let threshold = t.threshold_for_fmr(target).unwrap();
            let seen = scores.iter().filter(|&&s| s >= threshold).count() as f64 / 20_000.0;
            assert!(seen <= target && seen > target / 3.0 - 0.0001, "{target}: {seen}");
        }
        assert!(t.threshold_for_fmr(1.4e-4).is_err());
        assert!(Calibration::from_impostor_scores(&mut [0.0; 99]).is_err());
        assert!(Calibration::from_impostor_scores(&mut [f32::NAN; 100]).is_err());
        assert!(Calibration::from_impostor_scores(&mut [0.5; 100]).is_ok(), "ties make one point");
    }

    #[test]
    fn malformed_tables_are_errors() {
        let deep = "[".repeat(100_000);
        let many = format!(
            r#"{{"version":1,"impostor_pairs":9,"points":[{}[2,1]]}}"#,
            "[0,1],".repeat(600)
        );
        let cases = [
            "",
            "null",
            "{}",
            "[]",
            &deep,
            &many,
            "\u{0}",
            r#"{"version":2,"impostor_pairs":10000,"points":[[0.1,0.1]]}"#,
            r#"{"version":1,"impostor_pairs":0,"points":[[0.1,0.1]]}"#,
            r#"{"version":1,"impostor_pairs":-1,"points":[[0.1,0.1]]}"#,
            r#"{"version":1,"impostor_pairs":10000,"points":[]}"#,
            r#"{"version":1,"impostor_pairs":10000,"points":[[0.2,0.1],[0.1,0.01]]}"#,
            r#"{"version":1,"impostor_pairs":10000,"points":[[0.1,0.01],[0.2,0.1]]}"#,
            r#"{"version":1,"impostor_pairs":10000,"points":[[0.1,0]]}"#,
            r#"{"version":1,"impostor_pairs":10000,"points":[[0.1,1.5]]}"#,
            r#"{"version":1,"impostor_pairs":10000,"points":[[1e30,0.5]]}"#,
            r#"{"version":1,"impostor_pairs":10000,"points":[[1e999,0.5]]}"#,
            r#"{"version":1,"impostor_pairs":10000,"points":[[null,0.5]]}"#,
            r#"{"version":1,"impostor_pairs":10000,"points":[[0.1]]}"#,
            r#"{"version":1,"impostor_pairs":10000,"points":[[0.1,0.1]],"more":1}"#,
            r#"{"version":1,"version":1,"impostor_pairs":10000,"points":[[0.1,0.1]]}"#,
        ];
        for case in cases {
            assert!(
                Calibration::parse(case.as_bytes()).is_err(),
                "{}",
                &case[..case.len().min(80)]
            );
        }
        assert!(Calibration::parse(&vec![b' '; MAX_BYTES + 1]).is_err());
    }
}
