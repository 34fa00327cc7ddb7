//! A source that fails on purpose, from a seed: for soaks and for tests of what stands above a source.

use crate::source::{Capture, Health, Source, State, Step};
use keyface::frame::Frame;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// What is done to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A frame is swallowed.
    Drop,
    /// A frame is refused as damaged.
    Damage,
    /// For some calls no frame comes; the state is [`State::Stalled`].
    Stall,
    /// For some calls the camera is gone; the state is [`State::Lost`].
    Lose,
    /// The frame is lent with the time of the one before.
    FrozenClock,
    /// The frame is lent with a time long past.
    ClockBack,
    /// The frame's pixels are random.
    Noise,
    /// The frame is black.
    Black,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 8] = [
        Fault::Drop,
        Fault::Damage,
        Fault::Stall,
        Fault::Lose,
        Fault::FrozenClock,
        Fault::ClockBack,
        Fault::Noise,
        Fault::Black,
    ];
}

/// How often each fault was injected; shared with the source, may be read from any thread.
#[derive(Debug, Default)]
pub struct FaultCounts([AtomicU64; Fault::ALL.len()]);

impl FaultCounts {
    /// How often `fault` was injected.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize].load(Ordering::Relaxed)
    }

    /// All faults together.
    #[must_use]
    pub fn total(&self) -> u64 {
        Fault::ALL.iter().map(|&fault| self.of(fault)).sum()
    }
}

/// One call in this many meets a fault.
const EVERY: u64 = 8;

/// The longest stall or loss, in calls.
const LONGEST: u64 = 6;

/// Another source, of whose calls one in eight meets a fault, each kind as often as the others. The same seed and calls give the same faults.
pub struct FaultySource {
    inner: Box<dyn Capture>,
    counts: Arc<FaultCounts>,
    random: Random,
    /// The outage that goes on, and for how many calls more.
    outage: Option<(State, u64)>,
    /// Own pixels and stamp in place of the inner frame's.
    pixels: Option<Vec<u8>>,
    stamp: Option<u64>,
    last_stamp: u64,
    lent: bool,
    /// Of the faults alone.
    health: Health,
    frames: u64,
}

impl std::fmt::Debug for FaultySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultySource").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl FaultySource {
    /// Makes `inner` fail.
    #[must_use]
    pub fn new(inner: Source, seed: u64) -> FaultySource {
        FaultySource {
            inner: inner.into_capture(),
            counts: Arc::default(),
            random: Random(seed),
            outage: None,
            pixels: None,
            stamp: None,
            last_stamp: 0,
            lent: false,
            health: Health::default(),
            frames: 0,
        }
    }

    /// What was injected so far; keep it before the source is boxed into a [`Source`].
    #[must_use]
    pub fn counts(&self) -> Arc<FaultCounts> {
        Arc::clone(&self.counts)
    }

    fn pick(&mut self) -> Option<Fault> {
        if self.random.below(EVERY) > 0 {
            return None;
        }
        let fault = Fault::ALL[self.random.below(Fault::ALL.len() as u64) as usize];
        self.counts.0[fault as usize].fetch_add(1, Ordering::Relaxed);
        Some(fault)
    }

    fn begin_outage(&mut self, state: State, wait: Duration) -> Step {
        self.outage = Some((state, self.random.below(LONGEST)));
        std::thread::sleep(wait);
        Step::Nothing
    }
}

impl Capture for FaultySource {
    fn advance(&mut self, wait: Duration) -> Step {
        (self.lent, self.pixels, self.stamp) = (false, None, None);
        if let Some((state, left)) = self.outage {
            self.outage = left.checked_sub(1).map(|left| (state, left));
            if self.outage.is_some() {
                std::thread::sleep(wait);
                return Step::Nothing;
            }
            Health::count(&mut self.health.restarts);
        }
        let fault = self.pick();
        match fault {
            Some(Fault::Stall) => {
                Health::count(&mut self.health.stalls);
                return self.begin_outage(State::Stalled, wait);
            }
            Some(Fault::Lose) => {
                Health::count(&mut self.health.losses);
                return self.begin_outage(State::Lost, wait);
            }
            _ => {}
        }
        let step = self.inner.advance(wait);
        let Some(frame) = self.inner.frame().filter(|_| step == Step::Ready) else { return step };
        let stamp = frame.timestamp_us();
        let (w, h) = (frame.width(), frame.height());
        match fault {
            Some(Fault::Drop) => {
                Health::count(&mut self.health.skipped);
                return Step::Nothing;
            }
            Some(Fault::Damage) => {
                Health::count(&mut self.health.damaged);
                return Step::Nothing;
            }
            Some(Fault::FrozenClock) => self.stamp = Some(self.last_stamp),
            Some(Fault::ClockBack) => self.stamp = Some(stamp.saturating_sub(60_000_000)),
            Some(Fault::Black) => self.pixels = Some(vec![0; 3 * w * h]),
            Some(Fault::Noise) => {
                let random = &mut self.random;
                self.pixels = Some((0..3 * w * h).map(|_| random.below(256) as u8).collect());
            }
            _ => {}
        }
        self.last_stamp = self.stamp.unwrap_or(stamp);
        self.lent = true;
        Health::count(&mut self.frames);
        Step::Ready
    }

    fn frame(&self) -> Option<Frame<'_>> {
        let inner = self.inner.frame().filter(|_| self.lent)?;
        let frame = match &self.pixels {
            Some(rgb) => Frame::rgb8(rgb, inner.width(), inner.height())
                .ok()?
                .with_rotation(inner.rotation())
                .with_mirror(inner.mirrored()),
            None => inner,
        };
        Some(frame.with_timestamp(self.stamp.unwrap_or(inner.timestamp_us())))
    }

    fn state(&self) -> State {
        self.outage.map_or_else(|| self.inner.state(), |(state, _)| state)
    }

    fn health(&self) -> Health {
        let (inner, own) = (self.inner.health(), self.health);
        Health {
            frames: self.frames,
            damaged: inner.damaged.saturating_add(own.damaged),
            skipped: inner.skipped.saturating_add(own.skipped),
            stalls: inner.stalls.saturating_add(own.stalls),
            restarts: inner.restarts.saturating_add(own.restarts),
            losses: inner.losses.saturating_add(own.losses),
        }
    }

    fn describe(&self) -> String {
        format!("{}, made to fail", self.inner.describe())
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Pace, Settings};

    fn faulty(seed: u64) -> FaultySource {
        let settings = Settings { pace: Pace::Virtual, fps: 10, ..Settings::default() };
        FaultySource::new(Source::open("pattern:32x16", &settings).unwrap(), seed)
    }

    /// Step, state and stamp of each of `calls` calls.
    fn trace(source: &mut FaultySource, calls: usize) -> Vec<(Step, State, u64)> {
        let call = |_| {
            let step = source.advance(Duration::ZERO);
            let stamp = source.frame().map_or(0, |f| f.timestamp_us());
            assert_eq!(stamp > 0 || source.frame().is_some(), step == Step::Ready);
            (step, source.state(), stamp)
        };
        (0..calls).map(call).collect()
    }

    #[test]
    fn the_seed_decides() {
        let first = trace(&mut faulty(1), 500);
        assert_eq!(first, trace(&mut faulty(1), 500));
        assert_ne!(first, trace(&mut faulty(2), 500));
    }

    #[test]
    fn every_fault_happens_and_is_counted() {
        let mut source = faulty(3);
        let counts = source.counts();
        let trace = trace(&mut source, 4000);
        let health = source.health();
        for fault in Fault::ALL {
            assert!(counts.of(fault) > 20, "{fault:?}");
        }
        assert_eq!(health.stalls, counts.of(Fault::Stall));
        assert_eq!(health.losses, counts.of(Fault::Lose));
        assert_eq!(health.damaged, counts.of(Fault::Damage));
        assert_eq!(health.skipped, counts.of(Fault::Drop));
        let ready = trace.iter().filter(|t| t.0 == Step::Ready).count();
        assert_eq!(health.frames, ready as u64);
        assert!(
            trace.iter().any(|t| t.1 == State::Lost) && trace.iter().any(|t| t.1 == State::Stalled)
        );
        let back = trace.windows(2).any(|t| t[1].0 == Step::Ready && t[0].2 > t[1].2);
        assert!(back, "the clock goes back");
    }
}
