//! What differs between CPU levels: the integer tile and the order in which it likes its operands.

use super::attention::Job as AttentionJob;
use super::conv::Epilogue as ConvEpilogue;
use super::lanes::Lanes;
use super::linear::Epilogue;
use super::numeric::LANES;
use super::scratch::Scratch;
use super::weights::PANEL;

/// Most rows of any level's tile.
pub(super) const MAX_ROWS: usize = 8;

/// Sums of one tile: `rows` x [`PANEL`], row-major.
#[repr(align(64))]
pub(super) struct Tile(pub(super) [i32; MAX_ROWS * PANEL]);

impl Tile {
    pub(super) const ZERO: Tile = Tile([0; MAX_ROWS * PANEL]);

    /// The 16 sums of row `r`.
    #[cfg(test)]
    pub(super) fn row(&self, r: usize) -> &[i32; PANEL] {
        self.0[r * PANEL..(r + 1) * PANEL].try_into().expect("a row has PANEL sums")
    }

    /// The same, to be written.
    #[inline(always)]
    pub(super) fn row_mut(&mut self, r: usize) -> &mut [i32; PANEL] {
        (&mut self.0[r * PANEL..(r + 1) * PANEL]).try_into().expect("a row has PANEL sums")
    }
}

/// A panel as a level's tile reads it.
#[derive(Clone, Copy)]
pub(super) struct Prepared {
    pub(super) panel: *const u8,
    /// The panel's weights allow four products with activations in 0..=127 to meet in 16 bits, and the tile may do so.
    pub(super) narrow: bool,
}

#[cfg(target_arch = "x86_64")]
/// Four products `a * w` with `0 <= a <= 127` fit into 16 bits when neither the positive nor the negative weights among
/// the four add up to more than this: `127 * 258 < 2^15`.
pub(super) const NARROW_SUM: i16 = 258;

impl Prepared {
    /// To be overwritten.
    pub(super) const NONE: Prepared = Prepared::new(std::ptr::null());

    /// A panel in a level's only form.
    pub(super) const fn new(panel: *const u8) -> Prepared {
        Prepared { panel, narrow: false }
    }
}

// SAFETY: what it points to is only read once it is prepared.
unsafe impl Sync for Prepared {}

/// Integer matrix kernels of one CPU level. All sizes are in bytes; `kp` is a multiple of `K_STEP`.
///
/// # Safety
/// The functions may use instructions of their level: the CPU must have them. Each reads and writes only what its
/// comment says, and its sums are the exact i32 sums.
pub(super) unsafe trait Isa {
    /// Sixteen f32 values.
    type Lanes: Lanes;

    /// Rows per tile, at most [`MAX_ROWS`].
    const ROWS: usize;
    /// Linear layers of at most this many rows read the stored weights directly, without `prepare`.
    const DIRECT_ROWS: usize;
    /// Whether `put_row` and `prepare` make use of knowing that no activation is negative.
    const KNOWS_SIGNS: bool = false;

    /// Size of a tile of `ROWS` rows of activations.
    fn tile_bytes(kp: usize) -> usize;

    /// Size of the memory that `prepare` may write.
    fn prepared_bytes(kp: usize) -> usize;

    /// Writes row `r` (`q.len()` = kp values in -127..=127) into a tile. `nonnegative` promises that no value is
    /// below 0. Rows are written in order, from 0.
    ///
    /// # Safety
    /// The CPU has the level, `tile` is valid for `tile_bytes(kp)` bytes and `r < ROWS`.
    unsafe fn put_row(tile: *mut u8, r: usize, q: &[i8], nonnegative: bool);

    /// Writes a part of row `r` without negative values into a tile that only meets panels whose [`Prepared::narrow`] is
    /// set: `q`, whole steps of `K_STEP` values, from step `step` on. A level whose `prepare` sets it has this function.
    ///
    /// # Safety
    /// As [`Isa::put_row`]; the part lies within the row's `kp` values.
    unsafe fn put_narrow(_tile: *mut u8, _kp: usize, _r: usize, _step: usize, _q: &[i8]) {
        unreachable!("a level without a narrow form");
    }

    /// Brings a stored panel of `PANEL * kp` bytes into the order that `tile` reads; the result points to `out` or to
    /// the panel itself. `nonnegative` promises that all rows of all tiles to come are.
    ///
    /// # Safety
    /// The CPU has the level; `panel` is valid for `PANEL * kp` and `out` for `prepared_bytes(kp)` bytes.
    unsafe fn prepare(panel: *const i8, kp: usize, nonnegative: bool, out: *mut u8) -> Prepared;

    /// `sums[r][c] = sum_k a[r][k] * w[c][k]` for the first `rows` rows; other sums are left undefined but initialised.
    ///
    /// # Safety
    /// The CPU has the level; `a` is a tile whose first `rows` rows are written, `panel` comes from `prepare`, both for
    /// this `kp`, and what was promised there holds; `1 <= rows <= ROWS`.
    unsafe fn tile(a: *const u8, panel: Prepared, kp: usize, rows: usize, sums: &mut Tile);

    /// One row of plain int8 activations in -127..=127 times a stored panel.
    ///
    /// # Safety
    /// The CPU has the level; `q` is valid for `kp` and `panel` for `PANEL * kp` bytes.
    unsafe fn direct(q: *const i8, panel: *const i8, kp: usize, sums: &mut [i32; PANEL]);

    /// [`super::numeric::quantise_row`].
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn quantise_row(x: &[f32], q: &mut [i8]) -> f32;

    /// [`super::numeric::abs_max_bits`].
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn abs_max_bits(x: &[f32]) -> i32;

    /// [`super::numeric::quantise_by`].
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn quantise_by(x: &[f32], factor: f32, q: &mut [i8]);

    /// [`super::conv::Epilogue::rows`].
    ///
    /// # Safety
    /// The CPU has the level, and what that function asks for.
    unsafe fn conv_rows(epilogue: &ConvEpilogue<'_>, first: usize, rows: usize, sums: &Tile);

    /// [`super::numeric::layer_norm_row`].
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn layer_norm_row(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, y: &mut [f32]);

    /// [`Epilogue::rows`].
    ///
    /// # Safety
    /// The CPU has the level, and what `Epilogue::rows` asks for.
    unsafe fn linear_rows(epilogue: &Epilogue<'_>, first: usize, scales: &[f32], sums: &Tile);

    /// [`super::attention_int8::score_rows`].
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn score_rows(
        sums: &Tile,
        row_scales: &[f32],
        scales: &[f32; PANEL],
        scores: &mut [f32],
        stride: usize,
        max: &mut [[f32; LANES]; MAX_ROWS],
    );

    /// [`super::attention_int8::value_rows`].
    ///
    /// # Safety
    /// The CPU has the level, and what that function asks for.
    unsafe fn value_rows(
        job: &AttentionJob<'_>,
        head: usize,
        first: usize,
        p: usize,
        sums: &Tile,
        inverse: &[f32],
        scales: &[f32; PANEL],
    );

    /// [`super::attention_int8::softmax`].
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn softmax(scores: &[f32], max: &[f32; LANES], weights: &mut [i8]) -> i32;

    /// [`super::attention_int8::quantise_keys`].
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn quantise_keys(
        job: &AttentionJob<'_>,
        head: usize,
        keys: &mut [i8],
        scales: &mut [f32],
    ) -> bool;

    /// [`super::attention_int8::quantise_values`].
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn quantise_values(
        job: &AttentionJob<'_>,
        head: usize,
        values: &mut [i8],
        scales: &mut [f32],
    ) -> bool;

    /// [`super::bias::prepare`].
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn bias_patterns(job: &AttentionJob<'_>, head: usize, patterns: &mut [f32]);

    /// [`super::bias::row`].
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn bias_row(
        job: &AttentionJob<'_>,
        head: usize,
        i: usize,
        patterns: &mut [f32],
        row: &mut [f32],
    );

    /// [`super::attention_f32::head`].
    ///
    /// # Safety
    /// The CPU has the level, and what that function asks for.
    unsafe fn head_f32(job: &AttentionJob<'_>, head: usize, scratch: &mut Scratch);

    /// `sum_i a[i] * b[i]` over all of -128..=127.
    ///
    /// # Safety
    /// The CPU has the level; both are valid for `len` bytes.
    unsafe fn dot(a: *const i8, b: *const i8, len: usize) -> i32;
}

/// The floating-point methods of an [`Isa`]: the shared bodies compiled with the level's instructions, each on its own so
/// that the compiler sees small functions whose slices do not alias, and vectorises them.
macro_rules! float_methods {
    ($($feature:literal)?) => {
        $(#[target_feature(enable = $feature)])?
        unsafe fn quantise_row(x: &[f32], q: &mut [i8]) -> f32 {
            $crate::kernel::numeric::quantise_row(x, q)
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn abs_max_bits(x: &[f32]) -> i32 {
            $crate::kernel::numeric::abs_max_bits(x)
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn quantise_by(x: &[f32], factor: f32, q: &mut [i8]) {
            $crate::kernel::numeric::quantise_by(x, factor, q);
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn conv_rows(
            epilogue: &$crate::kernel::conv::Epilogue<'_>,
            first: usize,
            rows: usize,
            sums: &$crate::kernel::isa::Tile,
        ) {
            // SAFETY: the caller's promise.
            unsafe { epilogue.rows::<Self::Lanes>(first, rows, sums) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn layer_norm_row(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, y: &mut [f32]) {
            $crate::kernel::numeric::layer_norm_row(x, gamma, beta, eps, y);
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn linear_rows(
            epilogue: &$crate::kernel::linear::Epilogue<'_>,
            first: usize,
            scales: &[f32],
            sums: &$crate::kernel::isa::Tile,
        ) {
            // SAFETY: the caller's promise.
            unsafe { epilogue.rows::<Self::Lanes>(first, scales, sums) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn score_rows(
            sums: &$crate::kernel::isa::Tile,
            row_scales: &[f32],
            scales: &[f32; $crate::kernel::PANEL],
            scores: &mut [f32],
            stride: usize,
            max: &mut [[f32; $crate::kernel::numeric::LANES]; $crate::kernel::isa::MAX_ROWS],
        ) {
            // SAFETY: the caller's promise.
            unsafe {
                $crate::kernel::attention_int8::score_rows::<Self::Lanes>(sums, row_scales, scales, scores, stride, max);
            }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn value_rows(
            job: &$crate::kernel::attention::Job<'_>,
            head: usize,
            first: usize,
            p: usize,
            sums: &$crate::kernel::isa::Tile,
            inverse: &[f32],
            scales: &[f32; $crate::kernel::PANEL],
        ) {
            // SAFETY: the caller's promise.
            unsafe {
                $crate::kernel::attention_int8::value_rows::<Self::Lanes>(job, head, first, p, sums, inverse, scales);
            }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn softmax(
            scores: &[f32],
            max: &[f32; $crate::kernel::numeric::LANES],
            weights: &mut [i8],
        ) -> i32 {
            $crate::kernel::attention_int8::softmax(scores, max, weights)
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn quantise_keys(
            job: &$crate::kernel::attention::Job<'_>,
            head: usize,
            keys: &mut [i8],
            scales: &mut [f32],
        ) -> bool {
            $crate::kernel::attention_int8::quantise_keys(job, head, keys, scales)
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn quantise_values(
            job: &$crate::kernel::attention::Job<'_>,
            head: usize,
            values: &mut [i8],
            scales: &mut [f32],
        ) -> bool {
            $crate::kernel::attention_int8::quantise_values(job, head, values, scales)
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn bias_patterns(
            job: &$crate::kernel::attention::Job<'_>,
            head: usize,
            patterns: &mut [f32],
        ) {
            $crate::kernel::bias::prepare(job, head, patterns);
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn bias_row(
            job: &$crate::kernel::attention::Job<'_>,
            head: usize,
            i: usize,
            patterns: &mut [f32],
            row: &mut [f32],
        ) {
            $crate::kernel::bias::row(job, head, i, patterns, row);
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn head_f32(
            job: &$crate::kernel::attention::Job<'_>,
            head: usize,
            scratch: &mut $crate::kernel::scratch::Scratch,
        ) {
            // SAFETY: the caller's promise.
            unsafe { $crate::kernel::attention_f32::head::<Self>(job, head, scratch) }
        }
    };
}
pub(super) use float_methods;
