//! A turned and scaled square cut out of a frame.

use super::source::Source;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::geometry::Similarity;

/// The largest side of a crop in pixels.
pub const MAX_CROP_SIDE: usize = 1024;

/// The most samples per crop pixel and axis. 16 x 16 x 255 in 1/65536 just fits 32 bits.
const MAX_TAPS: i64 = 16;

/// Fractional bits of positions.
const POSITION_BITS: u32 = 24;

/// Writes the crop of `side` x `side` pixels into `out`: planar red, green, blue `[3][side][side]`, 0..=255.
///
/// `to_frame` maps crop pixels to pixels of the upright frame. Where it shrinks by at most 2 each crop pixel is one
/// bilinear sample; beyond that it is the mean of a k x k grid of them, k being the shrink factor rounded, at most
/// 16. Outside the frame is black.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] where `side` is 0 or above [`MAX_CROP_SIDE`], `out` is not `3 * side * side` long,
/// or the transform scales by more than 1e5 or shifts by more than 1e8.
pub fn warp_into(
    frame: &Frame<'_>,
    to_frame: &Similarity,
    side: usize,
    out: &mut [u8],
) -> Result<()> {
    if side == 0 || side > MAX_CROP_SIDE || out.len() != 3 * side * side {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "the crop's buffer does not fit its side",
        ));
    }
    let (a, b, tx, ty) = to_frame.coefficients();
    if to_frame.scale() > 1e5 || tx.abs().max(ty.abs()) > 1e8 {
        return Err(Error::new(ErrorKind::InvalidArgument, "transform out of range"));
    }
    let source = Source::new(frame);
    let o = frame.orientation();
    // Stored position = origin + column * across + row * down, in 2^-24 pixels. The orientation's factors are 0 and
    // +-1, so nothing but the last step rounds.
    let fixed = |x: f64, y: f64| -> (i64, i64) {
        let (xx, xy) = (x * f64::from(o.du.0), y * f64::from(o.dv.0));
        let (yx, yy) = (x * f64::from(o.du.1), y * f64::from(o.dv.1));
        let unit = f64::from(1u32 << POSITION_BITS);
        (((xx + xy) * unit).round() as i64, ((yx + yy) * unit).round() as i64)
    };
    let (across, down, shift) = (fixed(a, b), fixed(-b, a), fixed(tx, ty));
    let origin = (
        shift.0 + (i64::from(o.origin.0) << POSITION_BITS),
        shift.1 + (i64::from(o.origin.1) << POSITION_BITS),
    );

    let scale = to_frame.scale();
    let taps = if scale <= 2.0 { 1 } else { (scale.round() as i64).min(MAX_TAPS) };
    // Tap p of k sits (2p + 1 - k) / 2k pixels from the centre.
    let tap = |step: i64, p: i64| step * (2 * p + 1 - taps) / (2 * taps);

    let (red, rest) = out.split_at_mut(side * side);
    let (green, blue) = rest.split_at_mut(side * side);
    for row in 0..side {
        for column in 0..side {
            let x = origin.0 + column as i64 * across.0 + row as i64 * down.0;
            let y = origin.1 + column as i64 * across.1 + row as i64 * down.1;
            let mut sum = [0u32; 3];
            for q in 0..taps {
                for p in 0..taps {
                    let x = x + tap(across.0, p) + tap(down.0, q);
                    let y = y + tap(across.1, p) + tap(down.1, q);
                    source.add_bilinear(to_256ths(x), to_256ths(y), &mut sum);
                }
            }
            let count = (taps * taps) as u32;
            let at = row * side + column;
            [red[at], green[at], blue[at]] = source.rgb(sum.map(|s| s / count));
        }
    }
    Ok(())
}

/// To 1/256 pixels, the nearest.
#[inline(always)]
fn to_256ths(position: i64) -> i64 {
    (position + (1 << (POSITION_BITS - 9))) >> (POSITION_BITS - 8)
}
