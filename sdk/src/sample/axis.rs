//! Scaling by rows: which stored samples make a scaled pixel, and with what weights.

use super::downscale::{Fit, MAX_NETWORK_SIDE};
use super::source::{Lattice, Source};

/// One axis of the stored picture and the scaled pixels along it, in stored order.
pub(super) struct Axis {
    pub(super) count: usize,
    reversed: bool,
    /// For channels of full and of half resolution.
    spans: [[Span; MAX_NETWORK_SIDE]; 2],
    /// How wide the spans are at each resolution.
    widths: [Widths; 2],
}

/// What all spans of an axis have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Widths {
    /// Side by side, one whole sample each.
    One,
    /// Side by side, two whole samples each.
    Two,
    /// No more than two samples each, whole or not.
    Ends,
    Any,
}

/// The samples of one scaled pixel along one axis, with weights in 1/16: where shrinking, the interval under the
/// pixel, its ends covered in part; where enlarging, the two neighbours of its centre.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    first: u16,
    last: u16,
    first_weight: u16,
    last_weight: u16,
    /// 2^32 over the sum of all weights.
    inverse: u32,
}

impl Span {
    /// The interval `from..to`, in 1/16 samples.
    fn interval(from: u32, to: u32) -> Self {
        let (first, last) = (from >> 4, (to - 1) >> 4);
        let first_weight = if first == last { to - from } else { 16 - (from & 15) };
        let last_weight = if first == last { 0 } else { ((to - 1) & 15) + 1 };
        Span::new(first, last, first_weight, last_weight, to - from)
    }

    /// Linear interpolation at `at`, in 1/256 samples.
    fn linear(at: u32, length: u32) -> Self {
        let (first, weight) = (at >> 8, at & 255);
        Span::new(first, (first + 1).min(length - 1), 256 - weight, weight, 256)
    }

    fn new(first: u32, last: u32, first_weight: u32, last_weight: u32, total: u32) -> Self {
        Span {
            first: first as u16,
            last: last as u16,
            first_weight: first_weight as u16,
            last_weight: last_weight as u16,
            inverse: ((1u64 << 32) / u64::from(total)).min(u64::from(u32::MAX)) as u32,
        }
    }

    /// Whether this is the `i`-th span of an axis whose spans hold `width` whole samples each (1 or 2).
    fn is_whole(&self, i: usize, width: usize) -> bool {
        let last_weight = if width > 1 { 16 } else { 0 };
        usize::from(self.first) == i * width
            && usize::from(self.last) == i * width + width - 1
            && (self.first_weight, self.last_weight) == (16, last_weight)
    }

    fn weight(&self, i: usize) -> u32 {
        if i == usize::from(self.first) {
            u32::from(self.first_weight)
        } else if i == usize::from(self.last) {
            u32::from(self.last_weight)
        } else {
            16
        }
    }
}

impl Axis {
    /// The axis of `length` stored pixels that shows `count` scaled ones; `direction` is -1 where it runs against
    /// the upright picture.
    pub(super) fn new(fit: &Fit, length: usize, count: usize, direction: i32) -> Self {
        let (num, den) = (fit.scale.0 as u64, fit.scale.1 as u64);
        let (length, reversed) = (length as u32, direction < 0);
        let mut axis = Axis {
            count,
            reversed,
            spans: [[Span::default(); MAX_NETWORK_SIDE]; 2],
            widths: [Widths::Any; 2],
        };
        for i in 0..count {
            let j = axis.upright(i) as u64;
            let (full, half) = if num <= den {
                let edge = |j: u64| (j * den * 16 / num).min(u64::from(length) * 16) as u32;
                let (mut from, mut to) = (edge(j), edge(j + 1));
                if reversed {
                    (from, to) = (length * 16 - to, length * 16 - from);
                }
                // A last sliver of a pixel may vanish at half resolution.
                (Span::interval(from, to), Span::interval(from / 2, (to / 2).max(from / 2 + 1)))
            } else {
                let last = (length - 1) * 256;
                let mut at = (((2 * j + 1) * den * 128 / num).saturating_sub(128) as u32).min(last);
                if reversed {
                    at = last - at;
                }
                // A chroma sample lies in the middle of its two pixels.
                let half = length.div_ceil(2);
                let at_half = (at.saturating_sub(128) / 2).min((half - 1) * 256);
                (Span::linear(at, length), Span::linear(at_half, half))
            };
            axis.spans[0][i] = full;
            axis.spans[1][i] = half;
        }
        for (widths, spans) in axis.widths.iter_mut().zip(&axis.spans) {
            let spans = &spans[..count];
            let whole = |width| spans.iter().enumerate().all(|(i, s)| s.is_whole(i, width));
            *widths = if whole(1) {
                Widths::One
            } else if whole(2) {
                Widths::Two
            } else if spans.iter().all(|s| s.last - s.first <= 1) {
                Widths::Ends
            } else {
                Widths::Any
            };
        }
        axis
    }

    /// Whether it runs against the upright picture.
    pub(super) fn reversed(&self) -> bool {
        self.reversed
    }

    /// The upright index of stored index `i`, and the other way round.
    #[inline(always)]
    pub(super) fn upright(&self, i: usize) -> usize {
        if self.reversed {
            self.count - 1 - i
        } else {
            i
        }
    }
}

impl Source<'_> {
    /// Writes the scaled row `iy` in stored order: raw values of each channel in 1/65536, `along_x.count` each.
    pub(super) fn scale_line(
        &self,
        along_x: &Axis,
        along_y: &Axis,
        iy: usize,
        line: &mut [[u32; MAX_NETWORK_SIDE]; 3],
    ) {
        for (channel, out) in self.channels().iter().zip(line) {
            let out = &mut out[..along_x.count];
            let resolution = channel.shift.0 as usize;
            let columns = &along_x.spans[resolution][..along_x.count];
            let rows = along_y.spans[channel.shift.1 as usize][iy];
            out.fill(0);
            for row in usize::from(rows.first)..=usize::from(rows.last) {
                let weight = rows.weight(row);
                if weight > 0 {
                    add_row(channel, row, columns, along_x.widths[resolution], weight, out);
                }
            }
            for (value, column) in out.iter_mut().zip(columns) {
                let by_columns = (u64::from(*value) * u64::from(column.inverse)) >> 16;
                *value = ((by_columns * u64::from(rows.inverse)) >> 32) as u32;
            }
        }
    }
}

fn add_row(
    channel: &Lattice<'_>,
    row: usize,
    columns: &[Span],
    widths: Widths,
    weight: u32,
    sums: &mut [u32],
) {
    let (bytes, step) = channel.row(row);
    match step {
        1 => add_row_by::<1>(bytes, columns, widths, weight, sums),
        2 => add_row_by::<2>(bytes, columns, widths, weight, sums),
        3 => add_row_by::<3>(bytes, columns, widths, weight, sums),
        _ => add_row_by::<4>(bytes, columns, widths, weight, sums),
    }
}

/// Adds `weight` times the weighted samples under each column. No sum overflows: a pixel holds at most 255 x 255
/// samples of 255 with weights of 16 x 16, or, enlarging, weights of 256 x 256 in all.
#[inline(always)]
fn add_row_by<const STEP: usize>(
    bytes: &[u8],
    columns: &[Span],
    widths: Widths,
    weight: u32,
    sums: &mut [u32],
) {
    match widths {
        Widths::One => {
            for (sample, sum) in bytes.chunks(STEP).zip(sums) {
                *sum = sum.wrapping_add(u32::from(sample[0]).wrapping_mul(16 * weight));
            }
        }
        Widths::Two => {
            for (two, sum) in bytes.chunks(2 * STEP).zip(sums) {
                let both = u32::from(two[0]).wrapping_add(u32::from(two[STEP]));
                *sum = sum.wrapping_add(both.wrapping_mul(16 * weight));
            }
        }
        Widths::Ends => add_ends_by::<STEP>(bytes, columns, weight, sums),
        Widths::Any => add_spans_by::<STEP>(bytes, columns, weight, sums),
    }
}

/// For spans of at most two samples.
#[inline(always)]
fn add_ends_by<const STEP: usize>(bytes: &[u8], columns: &[Span], weight: u32, sums: &mut [u32]) {
    for (column, sum) in columns.iter().zip(sums) {
        let sample = |at: u16| u32::from(bytes[usize::from(at) * STEP]);
        let ends = (sample(column.first).wrapping_mul(u32::from(column.first_weight)))
            .wrapping_add(sample(column.last).wrapping_mul(u32::from(column.last_weight)));
        *sum = sum.wrapping_add(ends.wrapping_mul(weight));
    }
}

/// For any spans.
#[inline(always)]
fn add_spans_by<const STEP: usize>(bytes: &[u8], columns: &[Span], weight: u32, sums: &mut [u32]) {
    for (column, sum) in columns.iter().zip(sums) {
        let under = &bytes[usize::from(column.first) * STEP..=usize::from(column.last) * STEP];
        let ends = u32::from(under[0]) * u32::from(column.first_weight)
            + u32::from(under[under.len() - 1]) * u32::from(column.last_weight);
        let mut middle = 0u32;
        let mut at = STEP;
        while at + 1 < under.len() {
            middle = middle.wrapping_add(u32::from(under[at]));
            at += STEP;
        }
        *sum = sum.wrapping_add(ends.wrapping_add(middle.wrapping_mul(16)).wrapping_mul(weight));
    }
}
