//! Counts checks, and what several of them need.

use keyface_boards::settings::{Control, Settings};
use keyface_boards::source::{Next, Source};
use keyface_boards::v4l2::Device;
use std::path::Path;
use std::time::{Duration, Instant};

/// One frame's planes without padding, in order.
pub type Pixels = Vec<u8>;

/// Passed and failed.
#[derive(Debug, Default)]
pub struct Checks {
    passed: u32,
    failed: u32,
}

impl Checks {
    /// One check, with what it says.
    pub fn check(&mut self, holds: bool, what: impl std::fmt::Display) {
        let up = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let up = up.split(' ').next().unwrap_or_default().to_owned();
        println!("[{up:>7}] {} {what}", if holds { "ok  " } else { "FAIL" });
        *if holds { &mut self.passed } else { &mut self.failed } += 1;
    }

    /// A check whose success gives a value.
    pub fn some<T>(&mut self, value: Option<T>, what: impl std::fmt::Display) -> Option<T> {
        self.check(value.is_some(), what);
        value
    }

    /// The closing line; whether all passed.
    pub fn close(&self) -> bool {
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}

/// Seconds.
pub const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Whether `condition` holds within `limit`.
pub fn wait(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Quick settings: a stall is noticed after a second, a lost camera is looked for five times a second.
pub fn settings(format: &[u8; 4], size: (u32, u32)) -> Settings {
    Settings {
        size,
        formats: vec![*format],
        stall: s(1),
        backoff: (Duration::from_millis(200), Duration::from_millis(200)),
        ..Settings::default()
    }
}

/// Takes frames until `enough` or the limit; how many came.
pub fn frames(source: &mut Source, enough: usize, limit: Duration) -> usize {
    let mut count = 0;
    until(source, limit, |source| {
        count += usize::from(source.current().is_some());
        count >= enough
    });
    count
}

/// Works the source until `condition` holds or the limit is reached; whether it held.
pub fn until(
    source: &mut Source,
    limit: Duration,
    mut condition: impl FnMut(&Source) -> bool,
) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if matches!(source.next(Duration::from_millis(100)), Next::End) {
            return false;
        }
        if condition(source) {
            return true;
        }
    }
    false
}

/// The pixels of the source's current frame.
pub fn pixels(source: &Source) -> Option<Pixels> {
    let frame = source.current()?;
    let mut out = Vec::new();
    for (i, plane) in frame.planes().iter().enumerate() {
        let (row, rows) = frame.format().plane_size(i, frame.width(), frame.height());
        for y in 0..rows {
            out.extend_from_slice(&plane.data[y * plane.stride..][..row]);
        }
    }
    Some(out)
}

/// Whether a frame comes within the limit that is `want`, byte for byte.
pub fn comes(source: &mut Source, want: &[u8], limit: Duration) -> bool {
    until(source, limit, |source| pixels(source).is_some_and(|got| got == want))
}

/// Sets a control of a device from outside of the program's own stream. `0` presses a button.
pub fn set(node: &str, name: &str, value: i64) -> bool {
    let control = Control { name: name.to_owned(), value };
    Device::open(Path::new(node)).is_ok_and(|device| device.set_controls(&[control]) == 1)
}
