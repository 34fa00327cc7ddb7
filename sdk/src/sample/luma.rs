//! Brightness of a part of a frame, before any scaling has averaged clipped pixels away.

use super::source::Source;
use crate::frame::Frame;
use crate::geometry::Rect;

/// Luma up to this counts as dark-clipped.
const DARK: u8 = 5;
/// Luma from this on counts as bright-clipped.
const BRIGHT: u8 = 250;
/// Samples per axis at most: the rectangle is read on a regular grid.
const GRID: usize = 64;

/// Luma of a rectangle; full range, 0 black to 255 white.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LumaStats {
    /// Mean, 0..=255.
    pub mean: f32,
    /// Standard deviation, 0..=127.5.
    pub deviation: f32,
    /// Share of pixels of luma 5 or less, 0..=1.
    pub dark: f32,
    /// Share of pixels of luma 250 or more, 0..=1.
    pub bright: f32,
}

/// Luma statistics of the part of `rect` (upright pixels) that lies in the frame, on a grid of at most 64 x 64
/// pixels. `None` where no pixel centre lies in both, or the rectangle is not finite.
#[must_use]
pub fn luma_stats(frame: &Frame<'_>, rect: &Rect) -> Option<LumaStats> {
    let (width, height) = frame.upright_size();
    let (columns, rows) = (pixels(rect.x, rect.w, width)?, pixels(rect.y, rect.h, height)?);
    let source = Source::new(frame);
    let o = frame.orientation();
    let (mut count, mut sum, mut squares, mut dark, mut bright) = (0u32, 0u32, 0u64, 0u32, 0u32);
    for v in grid(rows) {
        for u in grid(columns) {
            let x = o.origin.0 + u as i32 * o.du.0 + v as i32 * o.dv.0;
            let y = o.origin.1 + u as i32 * o.du.1 + v as i32 * o.dv.1;
            let luma = source.luma_at(x as usize, y as usize);
            count += 1;
            sum += u32::from(luma);
            squares += u64::from(luma) * u64::from(luma);
            dark += u32::from(luma <= DARK);
            bright += u32::from(luma >= BRIGHT);
        }
    }
    let n = f64::from(count);
    let mean = f64::from(sum) / n;
    let variance = (squares as f64 / n - mean * mean).max(0.0);
    Some(LumaStats {
        mean: mean as f32,
        deviation: variance.sqrt() as f32,
        dark: (f64::from(dark) / n) as f32,
        bright: (f64::from(bright) / n) as f32,
    })
}

/// First and one past the last of the pixel centres in `at .. at + size`, inside `0..limit`; `None` where there is none.
fn pixels(at: f32, size: f32, limit: usize) -> Option<(usize, usize)> {
    let end = at + size;
    if !at.is_finite() || !end.is_finite() {
        return None;
    }
    // A float-to-integer cast saturates, so a negative edge becomes 0.
    let (from, to) = (at.ceil() as usize, (end.ceil() as usize).min(limit));
    (from < to).then_some((from, to))
}

/// At most [`GRID`] evenly spread indices of `from..to`.
fn grid((from, to): (usize, usize)) -> impl Iterator<Item = usize> {
    let n = (to - from).min(GRID);
    (0..n).map(move |i| from + (2 * i + 1) * (to - from) / (2 * n))
}
