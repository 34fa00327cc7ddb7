//! The static table of levels: one row of functions each, compiled with that level's instructions.

use super::attention::{self, HeadFn};
use super::conv::{self, ConvFns};
use super::isa::Isa;
use super::level::CpuLevel;
use super::linear::{self, LinearFns};
use super::scalar::Scalar;
use super::Kernels;

/// `(x, gamma, beta, eps, y)`.
type LayerNormFn = unsafe fn(&[f32], &[f32], &[f32], f32, &mut [f32]);

/// The functions of one level. Calling one is sound when the CPU has the level.
pub(super) struct Fns {
    pub(super) linear: LinearFns,
    pub(super) conv: ConvFns,
    pub(super) head: HeadFn,
    pub(super) quantise: unsafe fn(&[f32], &mut [i8]) -> f32,
    pub(super) layer_norm: LayerNormFn,
    pub(super) dot_rows: unsafe fn(&[i8], &[i8], &mut [i32]),
}

/// The dot product of `q` with each row.
///
/// # Safety
/// The CPU has the level and `rows` has `out.len() * q.len()` bytes.
#[inline(always)]
unsafe fn dot_rows<I: Isa>(q: &[i8], rows: &[i8], out: &mut [i32]) {
    for (i, out) in out.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *out = unsafe { I::dot(q.as_ptr(), rows.as_ptr().add(i * q.len()), q.len()) };
    }
}

/// A [`Kernels`] whose generic bodies are compiled for an [`Isa`] with its target features.
macro_rules! kernels {
    ($level:expr, $isa:ty $(, $feature:literal)?) => {{
        use super::isa::Prepared;
        use super::linear::{Activations, Job};
        use super::scratch::Scratch;

        $(#[target_feature(enable = $feature)])?
        unsafe fn quantise(x: &[f32], q: &mut [i8]) -> f32 {
            // SAFETY: the caller's promise.
            unsafe { <$isa as Isa>::quantise_row(x, q) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn layer_norm(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, y: &mut [f32]) {
            // SAFETY: the caller's promise.
            unsafe { <$isa as Isa>::layer_norm_row(x, gamma, beta, eps, y) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn linear_quantise(
            job: &Job<'_>,
            first: usize,
            rows: usize,
            tile: *mut u8,
            scales: *mut f32,
            scratch: &mut Scratch,
        ) -> bool {
            // SAFETY: the caller's promise, see `linear::quantise`.
            unsafe { linear::quantise::<$isa>(job, first, rows, tile, scales, scratch) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn linear_panel(job: &Job<'_>, a: Activations<'_>, p: usize, scratch: &mut Scratch) {
            // SAFETY: the caller's promise, see `linear::panel`.
            unsafe { linear::panel::<$isa>(job, a, p, scratch) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn abs_max(x: &[f32]) -> i32 {
            // SAFETY: the caller's promise.
            unsafe { <$isa as Isa>::abs_max_bits(x) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn conv_fill(
            job: &conv::Job<'_>,
            y: usize,
            factor: f32,
            row: &mut [i8],
            scratch: &mut Scratch,
        ) -> bool {
            // SAFETY: the caller's promise, see `conv::fill`.
            unsafe { conv::fill::<$isa>(job, y, factor, row, scratch) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn prepare(panel: *const i8, kp: usize, nonnegative: bool, out: *mut u8) -> Prepared {
            // SAFETY: the caller's promise, see `Isa::prepare`.
            unsafe { <$isa as Isa>::prepare(panel, kp, nonnegative, out) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn conv_band(
            job: &conv::Job<'_>,
            ready: conv::Ready<'_>,
            first: usize,
            pixels: usize,
            scratch: &mut Scratch,
        ) {
            // SAFETY: the caller's promise, see `conv::band`.
            unsafe { conv::band::<$isa>(job, ready, first, pixels, scratch) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn head(job: &attention::Job<'_>, head: usize, scratch: &mut Scratch) {
            // SAFETY: the caller's promise, see `attention::head`.
            unsafe { attention::head::<$isa>(job, head, scratch) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn dots(q: &[i8], rows: &[i8], out: &mut [i32]) {
            // SAFETY: the caller's promise, see `dot_rows`.
            unsafe { dot_rows::<$isa>(q, rows, out) }
        }
        Kernels {
            level: $level,
            fns: Fns {
                linear: LinearFns {
                    rows_per_tile: <$isa as Isa>::ROWS,
                    direct_rows: <$isa as Isa>::DIRECT_ROWS,
                    tile_bytes: <$isa as Isa>::tile_bytes,
                    quantise: linear_quantise,
                    panel: linear_panel,
                },
                conv: ConvFns {
                    rows_per_tile: <$isa as Isa>::ROWS,
                    prepared_bytes: <$isa as Isa>::prepared_bytes,
                    abs_max,
                    fill: conv_fill,
                    prepare,
                    band: conv_band,
                },
                head,
                quantise,
                layer_norm,
                dot_rows: dots,
            },
        }
    }};
}

/// The levels of this architecture, from the portable one to the best.
pub(super) static LEVELS: &[Kernels] = &[
    kernels!(CpuLevel::Scalar, Scalar),
    #[cfg(target_arch = "aarch64")]
    kernels!(CpuLevel::Neon, super::neon::Neon, "neon"),
    #[cfg(target_arch = "aarch64")]
    kernels!(CpuLevel::DotProd, super::neon_dotprod::DotProd, "neon,dotprod"),
    #[cfg(target_arch = "aarch64")]
    kernels!(CpuLevel::I8mm, super::neon_i8mm::I8mm, "neon,dotprod,i8mm"),
    #[cfg(target_arch = "x86_64")]
    kernels!(CpuLevel::Avx2, super::avx2::Avx2, "avx2,fma"),
];
