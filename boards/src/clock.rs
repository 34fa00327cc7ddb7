//! The pace of pictures, and the pauses between retries.

use crate::settings::Pace;
use crate::sys::monotonic_us;
use std::time::{Duration, Instant};

/// When the next picture is due, and its stamp.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    interval: Duration,
    count: u64,
    due: Option<Instant>,
}

impl Pacer {
    pub(crate) fn new(pace: Pace, fps: u32) -> Pacer {
        Pacer { pace, interval: Duration::from_secs(1) / fps.max(1), count: 0, due: None }
    }

    /// Sleeps until the next picture is due, for at most `wait`. Whether it is due now.
    pub(crate) fn wait(&mut self, wait: Duration) -> bool {
        if self.pace == Pace::Virtual {
            return true;
        }
        let Some(due) = self.due else { return true };
        let left = due.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(wait));
        left <= wait
    }

    /// The stamp of the picture that is lent now.
    pub(crate) fn stamp(&mut self) -> u64 {
        self.count += 1;
        match self.pace {
            Pace::Virtual => {
                let micros = self.interval.as_micros().saturating_mul(u128::from(self.count));
                u64::try_from(micros).unwrap_or(u64::MAX)
            }
            Pace::Real => {
                let now = Instant::now();
                // Late is late: a slow reader gets no burst.
                self.due =
                    Some(self.due.map_or(now, |due| due.max(now - self.interval)) + self.interval);
                monotonic_us()
            }
        }
    }
}

/// Pauses that double from the first to the longest.
#[derive(Debug)]
pub(crate) struct Backoff {
    range: (Duration, Duration),
    pause: Duration,
    until: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(range: (Duration, Duration)) -> Backoff {
        Backoff { range, pause: range.0, until: None }
    }

    /// Something failed: starts the next pause.
    pub(crate) fn failed(&mut self) {
        self.until = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(self.range.1);
    }

    /// It works again: the next pause is the first one.
    pub(crate) fn worked(&mut self) {
        (self.pause, self.until) = (self.range.0, None);
    }

    /// Sleeps for what is left of the pause, for at most `wait`. Whether the pause is over.
    pub(crate) fn wait(&mut self, wait: Duration) -> bool {
        let Some(until) = self.until else { return true };
        let left = until.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(wait));
        if left <= wait {
            self.until = None;
        }
        left <= wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_start_over() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new((ms(1), ms(3)));
        let mut pauses = Vec::new();
        for _ in 0..4 {
            pauses.push(backoff.pause);
            backoff.failed();
            assert!(backoff.wait(ms(1000)));
        }
        assert_eq!(pauses, [ms(1), ms(2), ms(3), ms(3)]);
        backoff.worked();
        assert_eq!(backoff.pause, ms(1));
    }

    #[test]
    fn virtual_pictures_are_always_due_and_stamped_by_their_number() {
        let mut pacer = Pacer::new(Pace::Virtual, 10);
        for n in 1..=5 {
            assert!(pacer.wait(Duration::ZERO));
            assert_eq!(pacer.stamp(), n * 100_000);
        }
    }

    #[test]
    fn real_pictures_are_due_at_their_rate() {
        let mut pacer = Pacer::new(Pace::Real, 1);
        assert!(pacer.wait(Duration::ZERO));
        let first = pacer.stamp();
        assert!(!pacer.wait(Duration::ZERO), "the second is a second away");
        assert!(first > 0 && monotonic_us() >= first);
    }
}
