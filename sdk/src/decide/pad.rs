//! Counting how a check against presentation attacks does, in the words of ISO/IEC 30107-3.
//!
//! - APCER of a species of attack: the share of its presentations that were taken for bona fide. The worst species speaks for the
//!   check, never the mean.
//! - BPCER: the share of bona fide presentations that were taken for attacks.
//! - APNRR and BPNRR: the shares of attacks and of bona fide presentations without an answer ("unsure").
//!
//! Each rate comes with the upper 95 % bound that its number of presentations allows.

use super::Liveness;
use crate::calibration::upper_rate;

/// Outcomes of one species of attack, or of bona fide presentations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Presentations.
    pub presentations: u64,
    /// Answered "real".
    pub real: u64,
    /// Answered "spoof".
    pub spoof: u64,
    /// Answered "unsure", or not checked.
    pub unsure: u64,
}

impl Counts {
    /// Counts one presentation.
    pub fn add(&mut self, answer: Liveness) {
        self.presentations += 1;
        match answer {
            Liveness::Real => self.real += 1,
            Liveness::Spoof => self.spoof += 1,
            Liveness::Unsure | Liveness::NotChecked => self.unsure += 1,
        }
    }

    /// For attacks: share taken for bona fide, and its upper bound. Nothing without presentations.
    #[must_use]
    pub fn apcer(&self) -> Option<(f64, f64)> {
        self.rate(self.real)
    }

    /// For bona fide presentations: share taken for attacks, and its upper bound. Nothing without presentations.
    #[must_use]
    pub fn bpcer(&self) -> Option<(f64, f64)> {
        self.rate(self.spoof)
    }

    /// Share without an answer (APNRR, BPNRR), and its upper bound. Nothing without presentations.
    #[must_use]
    pub fn non_response(&self) -> Option<(f64, f64)> {
        self.rate(self.unsure)
    }

    fn rate(&self, count: u64) -> Option<(f64, f64)> {
        (self.presentations > 0).then(|| {
            (count as f64 / self.presentations as f64, upper_rate(count, self.presentations))
        })
    }
}

/// The highest APCER over species, which is what the standard lets a check claim. Nothing if a species has no presentations.
#[must_use]
pub fn worst_apcer(species: &[Counts]) -> Option<(f64, f64)> {
    let rates: Option<Vec<_>> = species.iter().map(Counts::apcer).collect();
    rates?.into_iter().max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_by_hand() {
        let mut photo = Counts::default();
        for (answer, times) in [(Liveness::Real, 2), (Liveness::Spoof, 17), (Liveness::Unsure, 1)] {
            (0..times).for_each(|_| photo.add(answer));
        }
        let (apcer, bound) = photo.apcer().unwrap();
        assert_eq!(apcer, 0.1);
        assert!((bound - 6.2958 / 20.0).abs() < 1e-4);
        assert_eq!(photo.non_response().unwrap().0, 0.05);
        assert_eq!(photo.bpcer().unwrap().0, 0.85);
        let screen = Counts { presentations: 10, real: 0, spoof: 10, unsure: 0 };
        assert_eq!(worst_apcer(&[screen, photo]).unwrap().0, 0.1);
        assert_eq!(worst_apcer(&[screen, Counts::default()]), None);
        assert_eq!(Counts::default().apcer(), None);
    }
}
