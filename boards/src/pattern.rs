//! A moving test picture, for tests that need frames and no faces.

use crate::clock::Pacer;
use crate::error::Result;
use crate::settings::Settings;
use crate::source::{Capture, Health, State, Step};
use keyface::frame::Frame;
use std::time::Duration;

/// Eight colour bars, white to black, and a grey square that moves by 8 pixels a frame. RGB; without end.
#[derive(Debug)]
pub struct PatternSource {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
    count: u64,
    stamp: u64,
    pacer: Pacer,
}

/// From left to right.
const BARS: [[u8; 3]; 8] = [
    [235, 235, 235],
    [235, 235, 16],
    [16, 235, 235],
    [16, 235, 16],
    [235, 16, 235],
    [235, 16, 16],
    [16, 16, 235],
    [16, 16, 16],
];

impl PatternSource {
    /// A pattern of `size` pixels at the rate of `settings`.
    ///
    /// # Errors
    /// As [`Settings::check`], for the size given here.
    pub fn new(size: (u32, u32), settings: &Settings) -> Result<PatternSource> {
        Settings { size, ..settings.clone() }.check()?;
        let (width, height) = (size.0 as usize, size.1 as usize);
        Ok(PatternSource {
            width,
            height,
            rgb: vec![0; 3 * width * height],
            count: 0,
            stamp: 0,
            pacer: Pacer::new(settings.pace, settings.fps),
        })
    }

    fn draw(&mut self) {
        let side = (self.width.min(self.height) / 4).max(1);
        let steps = (self.width - side).max(1) as u64;
        let left = (8 * self.count % steps) as usize;
        for (i, pixel) in self.rgb.chunks_exact_mut(3).enumerate() {
            let (x, y) = (i % self.width, i / self.width);
            let in_square = (left..left + side).contains(&x) && y < side;
            pixel.copy_from_slice(if in_square { &[128; 3] } else { &BARS[8 * x / self.width] });
        }
    }
}

impl Capture for PatternSource {
    fn advance(&mut self, wait: Duration) -> Step {
        self.stamp = 0;
        if !self.pacer.wait(wait) {
            return Step::Nothing;
        }
        self.draw();
        self.count += 1;
        self.stamp = self.pacer.stamp();
        Step::Ready
    }

    fn frame(&self) -> Option<Frame<'_>> {
        let frame = Frame::rgb8(&self.rgb, self.width, self.height).ok()?;
        (self.stamp > 0).then(|| frame.with_timestamp(self.stamp))
    }

    fn state(&self) -> State {
        if self.count == 0 {
            State::Configured
        } else {
            State::Streaming
        }
    }

    fn health(&self) -> Health {
        Health { frames: self.count, ..Health::default() }
    }

    fn describe(&self) -> String {
        format!("test pattern {}x{}", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Pace;

    #[test]
    fn the_square_moves_over_the_bars() {
        let settings = Settings { pace: Pace::Virtual, ..Settings::default() };
        let mut source = PatternSource::new((64, 32), &settings).unwrap();
        let mut squares = Vec::new();
        for _ in 0..3 {
            assert_eq!(source.advance(Duration::ZERO), Step::Ready);
            let frame = source.frame().unwrap();
            let row = &frame.planes()[0].data[..3 * 64];
            squares.push(row.chunks(3).position(|p| p == [128; 3]).unwrap());
            let last = &frame.planes()[0].data[3 * 64 * 31..];
            assert_eq!((&last[..3], &last[3 * 63..]), (&[235; 3][..], &[16; 3][..]));
        }
        assert_eq!(squares, [0, 8, 16]);
        assert!(PatternSource::new((0, 32), &settings).is_err());
    }
}
