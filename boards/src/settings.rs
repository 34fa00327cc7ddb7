//! How frames are wanted: what a profile or a command line sets, the same for every source.

use crate::error::{Error, Result};
use keyface::frame::{Rotation, MAX_SIDE};
use std::time::Duration;

/// The clock of frames that carry none of their own: pictures and patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// Frames come at their rate, stamped with the time of this machine: as from a camera.
    #[default]
    Real,
    /// Frames come as fast as they are asked for, the n-th stamped n / rate: for tests that must not depend on time.
    Virtual,
}

/// A camera control to set, by the driver's name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// As the driver calls it, for example `Auto Exposure`; case and punctuation do not matter.
    pub name: String,
    /// In the driver's units.
    pub value: i64,
}

/// How frames are wanted. Sources ignore what does not concern them: files keep their own size and orientation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Width and height in pixels; a camera that lacks this size gives its nearest.
    pub size: (u32, u32),
    /// Frames per second, 1 to 240.
    pub fps: u32,
    /// Pixel formats by V4L2's four characters, best first.
    pub formats: Vec<[u8; 4]>,
    /// The rotation that makes pictures of this camera upright, clockwise.
    pub rotation: Rotation,
    /// Whether pictures are mirrored left to right after that.
    pub mirrored: bool,
    /// Driver buffers, 2 to 32. One is lent; the driver fills the others.
    pub buffers: u32,
    /// Without a frame for so long, a stream counts as stalled and is restarted.
    pub stall: Duration,
    /// Restarts in a row before the device is closed and searched for again, 1 to 100.
    pub restarts: u32,
    /// First and longest pause between two searches for a lost source; the pause doubles.
    pub backoff: (Duration, Duration),
    /// Frames passed over after every start, while exposure settles; 0 to 1000.
    pub warmup: u32,
    /// Written in this order: manual mode before the value that it frees.
    pub controls: Vec<Control>,
    /// Bits that count in a sample of `Y16 `, 8 to 16; 0: as many as the largest sample so far has.
    pub y16_bits: u32,
    /// The clock of pictures and patterns.
    pub pace: Pace,
    /// Whether a camera that is not there yet is waited for instead of an error.
    pub patient: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            size: (640, 480),
            fps: 15,
            formats: [
                b"NV12", b"YUYV", b"UYVY", b"NV21", b"YU12", b"MJPG", b"RGB3", b"BGR3", b"GREY",
            ]
            .map(|f| *f)
            .to_vec(),
            rotation: Rotation::None,
            mirrored: false,
            buffers: 4,
            stall: Duration::from_secs(2),
            restarts: 3,
            backoff: (Duration::from_millis(250), Duration::from_secs(8)),
            warmup: 0,
            controls: Vec::new(),
            y16_bits: 0,
            pace: Pace::Real,
            patient: false,
        }
    }
}

impl Settings {
    /// Checks every range that the fields state.
    ///
    /// # Errors
    /// [`keyface::error::ErrorKind::InvalidArgument`] with the name of the field.
    pub fn check(&self) -> Result<()> {
        let side = 16..=MAX_SIDE as u32;
        let (first, longest) = self.backoff;
        let wrong = [
            (
                !side.contains(&self.size.0) || !side.contains(&self.size.1),
                "size: 16 to 16384 a side",
            ),
            (!(1..=240).contains(&self.fps), "fps: 1 to 240"),
            (self.formats.is_empty(), "formats: at least one"),
            (!(2..=32).contains(&self.buffers), "buffers: 2 to 32"),
            (
                self.stall < Duration::from_millis(50) || self.stall > Duration::from_secs(60),
                "stall: 50 to 60000 ms",
            ),
            (!(1..=100).contains(&self.restarts), "restarts: 1 to 100"),
            (
                first < Duration::from_millis(10)
                    || longest < first
                    || longest > Duration::from_secs(600),
                "backoff: 10 to 600000 ms, the first not above the longest",
            ),
            (self.warmup > 1000, "warmup: 0 to 1000"),
            (self.y16_bits != 0 && !(8..=16).contains(&self.y16_bits), "y16_bits: 0 or 8 to 16"),
        ];
        match wrong.iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, what)) => Err(Error::argument(format!("out of range: {what}"))),
            None => Ok(()),
        }
    }
}

/// `WIDTHxHEIGHT`; ranges are checked by [`Settings::check`].
#[must_use]
pub fn parse_size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}
