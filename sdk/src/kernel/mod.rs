//! int8 and f32 kernels for one CPU level each, bit-identical on all of them.
//!
//! A [`Kernels`] value proves that the CPU has its level: the only ways to get one are [`Kernels::detect`],
//! [`Kernels::for_level`] and [`Kernels::available`]. Kernels read and write caller's slices, split their work over a
//! [`Pool`] and allocate only while the pool's scratch grows to the largest layer seen.
//!
//! # The numerics contract
//!
//! Enrolled templates outlive boards, so the bits of an embedding are an interface. These definitions hold on every level,
//! architecture and number of threads; changing one is a new preprocessing version of the template format.
//!
//! - **Arithmetic** is IEEE 754 binary32, round to nearest even, subnormals kept. Wherever this text says *fused*, the code says
//!   `f32::mul_add`: one rounding. Everywhere else each operation rounds. Fused was chosen because it is one instruction
//!   on AVX2+FMA (which the `avx2` level requires) and on every AArch64, where separate steps would cost twice the
//!   instructions; the `scalar` level pays a library call on old x86, and it exists to be right.
//! - **Quantised row**: `m = max |x|` over the row. `m < 2^-100`: all zeros, scale 0. Infinite or NaN anywhere: all zeros, scale NaN,
//!   so the fault reaches the output. Otherwise `scale = m / 127`, `factor = 127 / m`, `q = round(x * factor)` with one
//!   rounding, ties to even; always in -127..=127.
//! - **Linear**: exact i32 sum; `y = fused(f32(sum) * (row_scale * channel_scale) + bias)`, the product of scales rounded
//!   first; then ReLU6 (`min` with 6, then `max` with 0); then the residual is added.
//! - **Convolution**: the whole map is one quantised row, its border is 0; a picture's byte `x` is
//!   `q = round(127 (x / 255 - 0.5) / 0.5)` with scale 1/127. Exact i32 sum;
//!   `y = fused(f32(sum) * (map_scale * channel_scale) + bias)`, the product of scales rounded first; then the addition;
//!   then ReLU (`y` if it is above 0, otherwise 0, for NaN too).
//! - **LayerNorm**: lane `l` of 16 adds elements `l, l+16, ...`; the 16 lanes are added in a tree (`l` with `l+8`, then +4, +2, +1);
//!   `mean = sum / k`; squares of `x - mean` are added by fused steps in the same order; `r = 1 / sqrt(var + eps)`;
//!   `y = fused(((x - mean) * r) * gamma + beta)`.
//! - **Powers of 2**: `t` is bounded below by -126, `n = round(t)` ties to even, `f = t - n`, and `2^f` is a polynomial in Horner
//!   form by fused steps: degree 5, relative error below 1.7e-7 with rounding, for f32 attention; degree 3, below 1.1e-4, for weights
//!   that are rounded to 1/127. Coefficients are in `numeric.rs`.
//! - **Exponential** of the detector's boxes and scores: [`exp`], in f64 without fused steps.
//! - **Attention, int8**: each query and key row of a head is a quantised row; values are quantised per channel over the
//!   tokens by the same rule. Scores are exponents of 2: `s = fused(f32(sum) * (c * q_scale * k_scale) + bias)` with
//!   `c = log2(e) / sqrt(head_dim)`, grouped as `(q_scale * c) * k_scale`. Weights are `w = round(127 * 2^(s - max))`;
//!   `y = f32(sum of w * v) * ((1 / f32(sum of w)) * v_scale)`.
//! - **Attention, f32**: order of additions in `attention_f32.rs`.
//! - **Key-point bias**, in powers of 2: affine and shared tables are first multiplied by `log2(e)`, then
//!   `T[b] = fused(gy * y[b] + fused(gx * x[b] + c[b]))`; per-query tables are multiplied by `log2(e)`; iRPE adds `q[d] * table[d][b]`
//!   by fused steps from `d = 0` and multiplies the sum.
//! - **Dot products** of int8 vectors are exact i32 sums over all of -128..=127.
//!
//! No input, NaN and infinity included, panics or is undefined behaviour; only the payload of a NaN may differ between CPUs.

// The one module that may use `unsafe`: SIMD intrinsics and the pool's borrows. Every block says why it is sound.
#![allow(unsafe_code)]
// Loops over lanes, rows and channels index several arrays of fixed length at once: that is what compiles to SIMD.
#![allow(clippy::needless_range_loop)]

mod attention;
mod attention_f32;
mod attention_int8;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod bias;
mod conv;
#[cfg(test)]
mod conv_tests;
mod isa;
mod lanes;
mod level;
mod linear;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_dotprod;
#[cfg(target_arch = "aarch64")]
mod neon_i8mm;
mod numeric;
mod peak;
mod pool;
mod scalar;
mod scratch;
mod sgemm;
mod table;
#[cfg(test)]
mod tests;
mod weights;

pub use attention::{
    Attention, AttentionMath, PositionBias, AXIS_BUCKETS, BUCKETS, MAX_HEAD_DIM, MAX_SIDE,
};
pub use conv::{Convolution, Map, Values, MAX_CHANNELS, MAX_MAP_SIDE};
pub use level::CpuLevel;
pub use linear::{Fused, Norm};
pub use numeric::exp;
pub use pool::Pool;
pub use sgemm::sgemm;
pub use weights::{
    pack_weights, packed_len, padded_k, padded_n, unpack_weights, Weights, GROUP, K_STEP,
    LAYOUT_VERSION, MAX_K, PANEL,
};

use crate::error::{Error, ErrorKind, Result};
use linear::OutPtr;

/// The kernels of one CPU level that this CPU has.
pub struct Kernels {
    level: CpuLevel,
    fns: table::Fns,
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kernels({})", self.level)
    }
}

/// `InvalidArgument` unless `ok`.
fn check(ok: bool, what: &'static str) -> Result<()> {
    if ok {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::InvalidArgument, what))
    }
}

impl Kernels {
    /// The best level of this CPU, or the one that the environment variable `KEYFACE_CPU` names.
    ///
    /// # Errors
    /// `UnsupportedCpu` when `KEYFACE_CPU` is not a level's name or the CPU lacks it.
    pub fn detect() -> Result<&'static Kernels> {
        match std::env::var_os("KEYFACE_CPU") {
            None => Ok(Kernels::best()),
            Some(name) => Kernels::for_level(name.to_str().unwrap_or("").parse()?),
        }
    }

    /// The best level of this CPU.
    fn best() -> &'static Kernels {
        Kernels::available().last().expect("the scalar level is always available")
    }

    /// The kernels of `level`.
    ///
    /// # Errors
    /// `UnsupportedCpu` when this CPU (or this build's architecture) lacks it.
    pub fn for_level(level: CpuLevel) -> Result<&'static Kernels> {
        Kernels::available()
            .find(|k| k.level == level)
            .ok_or(Error::new(ErrorKind::UnsupportedCpu, "this CPU lacks the requested level"))
    }

    /// All levels of this CPU, from `scalar` to the best.
    pub fn available() -> impl Iterator<Item = &'static Kernels> {
        table::LEVELS.iter().filter(|k| k.level.is_available())
    }

    /// Which level these are.
    #[must_use]
    pub fn level(&self) -> CpuLevel {
        self.level
    }

    /// Symmetric int8 of one row: writes values in -127..=127 to `q` and returns the scale, `x ~ q * scale`.
    ///
    /// # Errors
    /// `InvalidArgument` when the lengths differ.
    pub fn quantise(&self, x: &[f32], q: &mut [i8]) -> Result<f32> {
        check(x.len() == q.len(), "a row and its quantised form differ in length")?;
        // SAFETY: this value proves the level.
        Ok(unsafe { (self.fns.quantise)(x, q) })
    }

    /// LayerNorm of `rows` rows, `x[rows][k]` to `out[rows][k]` with `k = norm.gamma.len()`. Single-threaded.
    ///
    /// # Errors
    /// `InvalidArgument` when lengths do not fit.
    pub fn layer_norm(&self, x: &[f32], norm: &Norm<'_>, out: &mut [f32]) -> Result<()> {
        let k = norm.gamma.len();
        let ok = k > 0 && norm.beta.len() == k && x.len().is_multiple_of(k) && out.len() == x.len();
        check(ok, "a LayerNorm's lengths do not fit")?;
        for (x, out) in x.chunks_exact(k).zip(out.chunks_exact_mut(k)) {
            // SAFETY: this value proves the level.
            unsafe { (self.fns.layer_norm)(x, norm.gamma, norm.beta, norm.eps, out) };
        }
        Ok(())
    }

    /// One int8 linear layer over `rows` rows: `x[rows][k]` to `out[rows][n]`, with what `fused` adds around it.
    ///
    /// The panels of 16 output channels are the unit that threads share out. A layer of one row reads the stored
    /// weights once, in order; larger ones reorder each panel once for all rows.
    ///
    /// # Errors
    /// `InvalidArgument` when a length does not fit `rows`, `n` and `k`.
    pub fn linear(
        &self,
        pool: &Pool,
        x: &[f32],
        rows: usize,
        weights: &Weights<'_>,
        fused: &Fused<'_>,
        out: &mut [f32],
    ) -> Result<()> {
        let (n, k) = (weights.n, weights.k);
        check(
            rows.checked_mul(k) == Some(x.len()),
            "a linear layer's input does not fit its shape",
        )?;
        check(
            rows.checked_mul(n) == Some(out.len()),
            "a linear layer's output does not fit its shape",
        )?;
        if let Some(norm) = &fused.norm {
            check(
                norm.gamma.len() == k && norm.beta.len() == k,
                "a LayerNorm does not fit its layer",
            )?;
        }
        if let Some(residual) = fused.residual {
            check(residual.len() == out.len(), "a residual does not fit its layer")?;
        }
        if rows == 0 {
            return Ok(());
        }
        let job = linear::Job {
            x,
            rows,
            weights: *weights,
            fused: *fused,
            out: OutPtr(out.as_mut_ptr()),
        };
        // SAFETY: this value proves the level, the lengths are checked above and `out` is borrowed exclusively.
        unsafe { linear::run(self.fns.linear, pool, &job) };
        Ok(())
    }

    /// Attention of one image: `qkv[tokens][3][heads][head_dim]` to `out[tokens][heads][head_dim]`.
    ///
    /// Heads are the unit that threads share out. No bias matrix is ever formed.
    ///
    /// # Errors
    /// `InvalidArgument` when a length does not fit the shape, or the shape is out of range.
    pub fn attention(
        &self,
        pool: &Pool,
        qkv: &[f32],
        shape: &Attention<'_>,
        out: &mut [f32],
    ) -> Result<()> {
        check(shape.is_sound(), "an attention layer's shape or tables do not fit")?;
        let values = shape.tokens() * shape.dim();
        check(
            qkv.len() == 3 * values && out.len() == values,
            "an attention layer's input or output does not fit",
        )?;
        let job = attention::Job { shape: *shape, qkv, out: OutPtr(out.as_mut_ptr()) };
        // SAFETY: this value proves the level, the job is checked and `out` is borrowed exclusively.
        unsafe { attention::run(self.fns.head, pool, &job) };
        Ok(())
    }

    /// `sum_i a[i] * b[i]`, exact.
    ///
    /// # Errors
    /// `InvalidArgument` when the lengths differ or exceed [`MAX_K`] - 1 (beyond it the sum could overflow).
    pub fn dot(&self, a: &[i8], b: &[i8]) -> Result<i32> {
        let mut out = [0];
        self.dot_rows(a, b, &mut out)?;
        Ok(out[0])
    }

    /// The dot products of `q` with every row of `rows[out.len()][q.len()]`, exact: a scan of a gallery.
    ///
    /// # Errors
    /// `InvalidArgument` when lengths do not fit or `q` is longer than [`MAX_K`] - 1.
    pub fn dot_rows(&self, q: &[i8], rows: &[i8], out: &mut [i32]) -> Result<()> {
        check(q.len() < MAX_K, "a vector is too long for an exact 32-bit sum")?;
        check(q.len().checked_mul(out.len()) == Some(rows.len()), "rows do not fit the query")?;
        // SAFETY: this value proves the level and the lengths are checked.
        unsafe { (self.fns.dot_rows)(q, rows, out) };
        Ok(())
    }

    /// Executes only the level's multiply instruction, `8 * rounds` times on registers, and returns the products made:
    /// divided by the time it took, the roofline of the integer kernels. 0 on `scalar`.
    #[must_use]
    pub fn multiply_only(&self, rounds: u64) -> u64 {
        // SAFETY: this value proves the level.
        unsafe { peak::run(self.level, rounds) }
    }
}
