//! The floating-point half of the kernels, written once.
//!
//! Every function is a plain body over arrays of [`LANES`] values that each CPU level compiles with its own
//! instructions (`#[inline(always)]` into a `#[target_feature]` wrapper). Rust neither reorders nor contracts
//! floating-point arithmetic, so one source gives the same bits on every level. Fused multiply-adds are written as
//! `mul_add`: one FMA instruction on AVX2 + FMA and on all of AArch64, a correct library call elsewhere.

/// Partial results of a reduction: element `i` of a row belongs to lane `i % LANES`.
pub(super) const LANES: usize = 16;

/// Adding this to `|x| < 2^22` rounds `x` to the nearest integer, ties to even, and leaves that integer in the low bits.
pub(super) const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23

/// Rows whose largest magnitude is below this quantise to zeros: `127 / absmax` must stay finite.
pub(super) const TINY: f32 = f32::from_bits(0x0d80_0000); // 2^-100

/// log2(e), rounded to f32.
pub(super) const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// An empty instruction in a loop over chunks: the compiler then turns the lanes of one chunk into vectors, and does not
/// gather one lane of many chunks.
#[inline(always)]
pub(super) fn one_chunk_at_a_time() {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    // SAFETY: no instruction at all.
    unsafe {
        std::arch::asm!("", options(nomem, nostack, preserves_flags));
    }
}

/// One lane array out of a slice of exactly [`LANES`] values.
#[inline(always)]
fn lanes(chunk: &[f32]) -> &[f32; LANES] {
    chunk.try_into().expect("chunks_exact yields whole chunks")
}

/// The largest `|x|` as bits; above `f32::MAX`'s bits when the row holds an infinity or a NaN.
#[inline(always)]
pub(super) fn abs_max_bits(x: &[f32]) -> i32 {
    let magnitude = |v: f32| (v.to_bits() & 0x7fff_ffff) as i32;
    let mut max = [0i32; LANES];
    let chunks = x.chunks_exact(LANES);
    let tail = chunks.remainder();
    for chunk in chunks {
        let chunk = *lanes(chunk);
        for l in 0..LANES {
            max[l] = max[l].max(magnitude(chunk[l]));
        }
        one_chunk_at_a_time();
    }
    for (m, &v) in max.iter_mut().zip(tail) {
        *m = (*m).max(magnitude(v));
    }
    let mut all = 0;
    for m in max {
        all = all.max(m);
    }
    all
}

/// `(scale, factor)` of a row or column with this largest magnitude: `q = round(x * factor)`, `x ~ q * scale`.
/// (0, 0) for an all-zero one, (NaN, 0) for one that is not finite.
#[inline(always)]
pub(super) fn scale_of(abs_max_bits: i32) -> (f32, f32) {
    let max = f32::from_bits(abs_max_bits as u32);
    if !max.is_finite() {
        (f32::NAN, 0.0)
    } else if max < TINY {
        (0.0, 0.0)
    } else {
        (max / 127.0, 127.0 / max)
    }
}

/// `round(x * factor)`, ties to even, for `|x * factor| < 2^22`.
#[inline(always)]
pub(super) fn quantise_value(x: f32, factor: f32) -> i8 {
    x.mul_add(factor, MAGIC).to_bits() as i8
}

/// Symmetric int8 of one row: writes `x.len()` values in -127..=127 and returns the scale.
#[inline(always)]
pub(super) fn quantise_row(x: &[f32], q: &mut [i8]) -> f32 {
    let q = &mut q[..x.len()];
    let (scale, factor) = scale_of(abs_max_bits(x));
    if factor == 0.0 {
        // Infinite and NaN inputs must not reach the conversion: their bits differ between architectures.
        q.fill(0);
    } else {
        quantise_by(x, factor, q);
    }
    scale
}

/// [`quantise_value`] of every value of `x`, for values within its bound.
#[inline(always)]
pub(super) fn quantise_by(x: &[f32], factor: f32, q: &mut [i8]) {
    let q = &mut q[..x.len()];
    let mut from = x.chunks_exact(LANES);
    let mut to = q.chunks_exact_mut(LANES);
    for (from, to) in (&mut from).zip(&mut to) {
        let (from, mut bytes) = (*lanes(from), [0i8; LANES]);
        for l in 0..LANES {
            bytes[l] = quantise_value(from[l], factor);
        }
        to.copy_from_slice(&bytes);
        one_chunk_at_a_time();
    }
    for (&from, to) in from.remainder().iter().zip(to.into_remainder()) {
        *to = quantise_value(from, factor);
    }
}

/// Adds 16 partial sums in a fixed tree: 16 to 8, 4, 2, 1, lane `l` with lane `l + half`.
#[inline(always)]
pub(super) fn tree_sum(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            sums[l] += sums[l + half];
        }
        half /= 2;
    }
    sums[0]
}

/// `y = (x - mean) / sqrt(variance + eps) * gamma + beta`, the variance being the biased one.
#[inline(always)]
pub(super) fn layer_norm_row(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, y: &mut [f32]) {
    let k = x.len();
    let (gamma, beta, y) = (&gamma[..k], &beta[..k], &mut y[..k]);
    let mut sums = [0.0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let tail = chunks.remainder();
    for chunk in chunks.clone() {
        let chunk = *lanes(chunk);
        for l in 0..LANES {
            sums[l] += chunk[l];
        }
        one_chunk_at_a_time();
    }
    for (s, &v) in sums.iter_mut().zip(tail) {
        *s += v;
    }
    let mean = tree_sum(sums) / k as f32;
    let mut squares = [0.0f32; LANES];
    for chunk in chunks {
        let chunk = *lanes(chunk);
        for l in 0..LANES {
            let d = chunk[l] - mean;
            squares[l] = d.mul_add(d, squares[l]);
        }
        one_chunk_at_a_time();
    }
    for (s, &v) in squares.iter_mut().zip(tail) {
        let d = v - mean;
        *s = d.mul_add(d, *s);
    }
    let variance = tree_sum(squares) / k as f32;
    let inverse = 1.0 / (variance + eps).sqrt();
    for i in 0..k {
        y[i] = ((x[i] - mean) * inverse).mul_add(gamma[i], beta[i]);
    }
}

/// The larger value, `b` when `a` is NaN; `b` never is. (On AArch64 one FMAXNM; which zero it returns matters to no caller.)
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if cfg!(target_arch = "aarch64") {
        a.max(b)
    } else if a > b {
        a
    } else {
        b
    }
}

/// Splits `t` into the nearest integer (returned as the bits of `2^n`'s exponent shift) and the rest in -0.5..=0.5.
#[inline(always)]
fn split(t: f32) -> (u32, f32) {
    // A NaN becomes the lower bound: its bits never reach the exponent.
    let t = larger(t, -126.0);
    let shifted = t + MAGIC;
    (shifted.to_bits() << 23, t - (shifted - MAGIC))
}

/// `2^t` for `t <= 0`, relative error below 1.7e-7 (polynomial 9.2e-8, the rest rounding); `2^-126` below -126 and for NaN.
#[inline(always)]
pub(super) fn exp2(t: f32) -> f32 {
    // The linear coefficient is fitted, it only looks like ln 2.
    #![allow(clippy::approx_constant)]
    let (shift, f) = split(t);
    let mut p = 0.001_326_472_7f32;
    p = p.mul_add(f, 0.009_671_513);
    p = p.mul_add(f, 0.055_507_336);
    p = p.mul_add(f, 0.240_222_42);
    p = p.mul_add(f, 0.693_147);
    p = p.mul_add(f, 1.0);
    f32::from_bits(p.to_bits().wrapping_add(shift))
}

/// `round(127 * 2^t)` for `t <= 0`: an attention weight relative to the row's largest.
///
/// A cubic with relative error 1.1e-4, that is at most 0.013 of a step before rounding.
#[inline(always)]
pub(super) fn exp2_7bit(t: f32) -> u8 {
    let (shift, f) = split(t);
    let mut p = 0.055_008_933f32;
    p = p.mul_add(f, 0.242_210_97);
    p = p.mul_add(f, 0.693_282_9);
    p = p.mul_add(f, 1.0);
    f32::from_bits(p.to_bits().wrapping_add(shift)).mul_add(127.0, MAGIC).to_bits() as u8
}

/// `e^x`, the same bits everywhere (the system's differs between machines); relative error below 1e-7. Too large is
/// infinite, too small 0, NaN stays NaN.
#[must_use]
pub fn exp(x: f32) -> f32 {
    let t = (f64::from(x) * std::f64::consts::LOG2_E).clamp(-1022.0, 1023.0);
    let n = t.round_ties_even();
    let f = (t - n) * std::f64::consts::LN_2;
    // The series of e^f for |f| <= ln 2 / 2, cut where the rest is below 1e-11.
    let mut p = 1.0;
    for k in (1..=9u8).rev() {
        p = 1.0 + p * f / f64::from(k);
    }
    (p * f64::from_bits(((n as i64 + 1023) as u64) << 52)) as f32
}

/// `min(max(y, 0), 6)`; a NaN stays one.
#[inline(always)]
pub(super) fn relu6(y: f32) -> f32 {
    let y = if 6.0 < y { 6.0 } else { y };
    if 0.0 > y {
        0.0
    } else {
        y
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp2_is_within_its_bound() {
        let mut worst = 0.0f64;
        let mut worst7 = 0.0f64;
        for i in 0..=400_000 {
            let t = -(i as f32) * 1e-4;
            let exact = f64::from(t).exp2();
            worst = worst.max((f64::from(exp2(t)) / exact - 1.0).abs());
            worst7 = worst7.max((f64::from(exp2_7bit(t)) - 127.0 * exact).abs());
        }
        assert!(worst < 1.7e-7, "{worst}");
        assert!(worst7 < 0.5 + 0.014, "{worst7}");
        assert_eq!(exp2(0.0), 1.0);
        assert_eq!(exp2_7bit(0.0), 127);
        for t in [-1e9, f32::NEG_INFINITY, f32::NAN] {
            assert_eq!(exp2(t), f32::MIN_POSITIVE);
            assert_eq!(exp2_7bit(t), 0);
        }
    }

    #[test]
    fn exp_is_within_its_bound() {
        for i in -8700..=8800 {
            let x = i as f32 * 0.01;
            let worst = (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs();
            assert!(worst < 1e-7, "{x}: {worst}");
        }
        assert_eq!((exp(0.0), exp(f32::NEG_INFINITY), exp(-200.0)), (1.0, 0.0, 0.0));
        assert_eq!((exp(f32::INFINITY), exp(200.0)), (f32::INFINITY, f32::INFINITY));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn rows_quantise_to_nearest_even() {
        let mut q = [9i8; 6];
        // absmax 127 makes factor and scale exactly 1.
        let scale = quantise_row(&[127.0, 0.5, 1.5, -0.5, -2.5, -127.0], &mut q);
        assert_eq!((scale, q), (1.0, [127, 0, 2, 0, -2, -127]));
    }

    #[test]
    fn degenerate_rows_quantise_to_zero() {
        let mut q = [9i8; 3];
        assert_eq!(quantise_row(&[0.0, -0.0, 1e-38], &mut q), 0.0);
        assert_eq!(q, [0; 3]);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
            q = [9; 3];
            assert!(quantise_row(&[1.0, bad, 2.0], &mut q).is_nan());
            assert_eq!(q, [0; 3]);
        }
        assert_eq!(quantise_row(&[f32::MAX, -f32::MAX, 0.0], &mut q), f32::MAX / 127.0);
        assert_eq!(q, [127, -127, 0]);
    }

    #[test]
    fn layer_norm_matches_f64() {
        for k in [1usize, 7, 16, 33, 512] {
            let x: Vec<f32> = (0..k).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.1 + 3.0).collect();
            let gamma: Vec<f32> = (0..k).map(|i| 1.0 + i as f32 * 1e-3).collect();
            let beta: Vec<f32> = (0..k).map(|i| i as f32 * -1e-3).collect();
            let mut y = vec![0.0; k];
            layer_norm_row(&x, &gamma, &beta, 1e-5, &mut y);
            let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / k as f64;
            let var = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / k as f64;
            for i in 0..k {
                let exact = (f64::from(x[i]) - mean) / (var + 1e-5).sqrt() * f64::from(gamma[i])
                    + f64::from(beta[i]);
                assert!((f64::from(y[i]) - exact).abs() < 1e-5, "{} {exact}", y[i]);
            }
        }
    }
}
