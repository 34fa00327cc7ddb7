//! Focus and motion blur.

use crate::sample::Crop;

/// Crop columns and rows that show the face itself, from the brows to below the mouth.
const COLUMNS: std::ops::Range<usize> = 24..88;
const ROWS: std::ops::Range<usize> = 36..104;

/// Variance of luma that counts as none: sensor noise on a flat face is not detail.
const NOISE_FLOOR: f64 = 25.0;

/// How much of the face's contrast is fine detail: the variance of the Laplacian (4 neighbours) over the variance
/// of luma (plus 25), in the middle of the crop. 0 for a flat or smooth face; white noise gives 20.
///
/// `scale` is crop pixels per frame pixel. An enlarged face has no detail at single crop pixels, so the neighbours
/// are `scale` (rounded, 1..=4) crop pixels away: about one frame pixel. Division by the luma's variance makes the
/// figure independent of light and skin.
#[must_use]
pub fn sharpness(crop: &Crop, scale: f64) -> f32 {
    let step = if scale >= 1.5 { scale.min(4.0).round() as usize } else { 1 };
    let (mut count, mut sum, mut squares, mut edges, mut edge_squares) =
        (0i64, 0i64, 0i64, 0i64, 0i64);
    for y in ROWS {
        for x in COLUMNS {
            let at = |x: usize, y: usize| i64::from(crop.luma(x, y));
            let here = at(x, y);
            let edge =
                4 * here - at(x - step, y) - at(x + step, y) - at(x, y - step) - at(x, y + step);
            count += 1;
            sum += here;
            squares += here * here;
            edges += edge;
            edge_squares += edge * edge;
        }
    }
    let variance = |sum: i64, squares: i64| {
        let mean = sum as f64 / count as f64;
        (squares as f64 / count as f64 - mean * mean).max(0.0)
    };
    (variance(edges, edge_squares) / (variance(sum, squares) + NOISE_FLOOR)) as f32
}
