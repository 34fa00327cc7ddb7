//! int8 linear layers: `[LayerNorm ->] quantise rows -> integer matrix product -> scale, bias, ReLU6, residual`.

use std::sync::atomic::{AtomicBool, Ordering};

use super::isa::{Isa, Tile, MAX_ROWS};
use super::lanes::Lanes;
use super::pool::{LayerScratch, Pool};
use super::scratch::{carved_bytes, Scratch};
use super::weights::{padded_k, Weights, PANEL};

/// A LayerNorm over the last axis.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// One factor per channel.
    pub gamma: &'a [f32],
    /// One offset per channel.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub eps: f32,
}

/// What surrounds the matrix product of a layer.
#[derive(Clone, Copy, Default)]
pub struct Fused<'a> {
    /// Applied to each input row before it is quantised.
    pub norm: Option<Norm<'a>>,
    /// Clamp the result to 0..=6, before the residual is added.
    pub relu6: bool,
    /// Added to the result: same shape as the output.
    pub residual: Option<&'a [f32]>,
}

/// A layer being computed, lengths already checked by `Kernels::linear`.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) x: &'a [f32],
    pub(super) rows: usize,
    pub(super) weights: Weights<'a>,
    pub(super) fused: Fused<'a>,
    pub(super) out: OutPtr,
}

/// The output matrix, written by several threads in disjoint column ranges.
#[derive(Clone, Copy)]
pub(super) struct OutPtr(pub(super) *mut f32);
// SAFETY: whoever shares it writes disjoint elements (see the users) within the exclusive borrow that it came from.
unsafe impl Send for OutPtr {}
// SAFETY: as above.
unsafe impl Sync for OutPtr {}

/// The quantised activations of a layer, shared by all its panels.
#[derive(Clone, Copy)]
pub(super) struct Activations<'a> {
    tiles: &'a [u8],
    scales: &'a [f32],
    /// No value is below 0, as behind a ReLU, and the level makes use of it.
    nonnegative: bool,
}

/// `(job, first row, rows, tile, scales, scratch)`; whether no value of these rows is negative.
type QuantiseFn = unsafe fn(&Job<'_>, usize, usize, *mut u8, *mut f32, &mut Scratch) -> bool;

/// The two phases of a layer as the level's table holds them.
#[derive(Clone, Copy)]
pub(super) struct LinearFns {
    pub(super) rows_per_tile: usize,
    pub(super) direct_rows: usize,
    pub(super) tile_bytes: fn(usize) -> usize,
    pub(super) quantise: QuantiseFn,
    /// `(job, activations, panel, scratch)`.
    pub(super) panel: unsafe fn(&Job<'_>, Activations<'_>, usize, &mut Scratch),
}

/// Runs a layer on the pool.
///
/// # Safety
/// The CPU has the level of `fns`; `job.out` is exclusively borrowed for `rows * n` values; lengths are checked.
pub(super) unsafe fn run(fns: LinearFns, pool: &Pool, job: &Job<'_>) {
    let kp = padded_k(job.weights.k);
    let direct = job.rows <= fns.direct_rows;
    // Rows read directly lie one after the other, as plain int8.
    let (group, tile_bytes) =
        if direct { (1, kp) } else { (fns.rows_per_tile, (fns.tile_bytes)(kp)) };
    let groups = job.rows.div_ceil(group);
    let mut layer = pool.layer();
    let LayerScratch { common, own } = &mut *layer;
    let mut carve =
        common.carve(carved_bytes::<u8>(groups * tile_bytes) + carved_bytes::<f32>(job.rows));
    let tiles = carve.take::<u8>(groups * tile_bytes);
    let scales = carve.take::<f32>(job.rows);
    let (tiles_ptr, scales_ptr) = (BytePtr(tiles.as_mut_ptr()), OutPtr(scales.as_mut_ptr()));
    let nonnegative = AtomicBool::new(true);
    pool.run(own, groups, &|g, scratch| {
        let (first, tiles, scales) = (g * group, tiles_ptr, scales_ptr);
        let rows = group.min(job.rows - first);
        // SAFETY: group `g` owns its tile and its scales; the CPU has the level.
        unsafe {
            let (tile, scales) = ({ tiles }.at(g * tile_bytes), { scales }.0.add(first));
            if !(fns.quantise)(job, first, rows, tile, scales, scratch) {
                nonnegative.store(false, Ordering::Relaxed);
            }
        }
    });
    let activations = Activations { tiles, scales, nonnegative: nonnegative.into_inner() };
    pool.run(own, job.weights.panels(), &|p, scratch| {
        // SAFETY: panel `p` owns columns 16p..16p+16 of the output; the CPU has the level.
        unsafe { (fns.panel)(job, activations, p, scratch) }
    });
}

/// Bytes that several threads write in disjoint ranges.
#[derive(Clone, Copy)]
pub(super) struct BytePtr(pub(super) *mut u8);
// SAFETY: every chunk writes its own range (see the users).
unsafe impl Send for BytePtr {}
// SAFETY: as above.
unsafe impl Sync for BytePtr {}

impl BytePtr {
    /// # Safety
    /// `offset` lies within the block.
    pub(super) unsafe fn at(self, offset: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(offset) }
    }
}

/// Phase 1: normalises and quantises up to `ROWS` rows into one tile.
///
/// # Safety
/// The CPU has the level; `tile` is valid for a tile (one plain row when the layer is direct) and `scales` for `rows` values.
#[inline(always)]
pub(super) unsafe fn quantise<I: Isa>(
    job: &Job<'_>,
    first: usize,
    rows: usize,
    tile: *mut u8,
    scales: *mut f32,
    scratch: &mut Scratch,
) -> bool {
    let k = job.weights.k;
    let kp = padded_k(k);
    let mut carve = scratch.carve(carved_bytes::<f32>(k) + carved_bytes::<i8>(kp));
    let normed = carve.take::<f32>(k);
    let q = carve.take::<i8>(kp);
    q[k..].fill(0);
    let mut all = true;
    for r in 0..rows {
        let row = &job.x[(first + r) * k..(first + r + 1) * k];
        let row = match &job.fused.norm {
            Some(norm) => {
                // SAFETY: the CPU has the level.
                unsafe { I::layer_norm_row(row, norm.gamma, norm.beta, norm.eps, normed) };
                &*normed
            }
            None => row,
        };
        // SAFETY: the CPU has the level.
        let scale = unsafe { I::quantise_row(row, &mut q[..k]) };
        let nonnegative = I::KNOWS_SIGNS && q.iter().fold(0, |min, &v| v.min(min)) == 0;
        all &= nonnegative;
        // SAFETY: the caller's promise about `tile` and `scales`.
        unsafe {
            *scales.add(r) = scale;
            if job.rows <= I::DIRECT_ROWS {
                std::ptr::copy_nonoverlapping(q.as_ptr(), tile.cast(), kp);
            } else {
                I::put_row(tile, r, q, nonnegative);
            }
        }
    }
    all
}

/// Phase 2: all rows times one panel.
///
/// # Safety
/// The CPU has the level; nobody else writes this panel's columns of `job.out`.
#[inline(always)]
pub(super) unsafe fn panel<I: Isa>(
    job: &Job<'_>,
    a: Activations<'_>,
    p: usize,
    scratch: &mut Scratch,
) {
    let kp = padded_k(job.weights.k);
    let packed = job.weights.panel(p);
    let epilogue = Epilogue::new(job, p);
    if job.rows <= I::DIRECT_ROWS {
        let mut sums = Tile::ZERO;
        for r in 0..job.rows {
            // SAFETY: row `r` and the panel have `kp` and `PANEL * kp` bytes.
            unsafe {
                let row = a.tiles[r * kp..(r + 1) * kp].as_ptr().cast();
                I::direct(row, packed.as_ptr(), kp, sums.row_mut(0));
                I::linear_rows(&epilogue, r, &a.scales[r..=r], &sums);
            }
        }
        return;
    }
    let (tile_bytes, prepared_bytes) = (I::tile_bytes(kp), I::prepared_bytes(kp));
    let out = scratch.carve(carved_bytes::<u8>(prepared_bytes)).take::<u8>(prepared_bytes);
    // SAFETY: the CPU has the level and both have the sizes that `prepare` asks for.
    let prepared = unsafe { I::prepare(packed.as_ptr(), kp, a.nonnegative, out.as_mut_ptr()) };
    let mut sums = Tile::ZERO;
    debug_assert!(I::ROWS <= MAX_ROWS);
    for (t, tile) in a.tiles.chunks_exact(tile_bytes).enumerate() {
        let first = t * I::ROWS;
        let rows = I::ROWS.min(job.rows - first);
        // SAFETY: `tile` holds `rows` rows, `prepared` is the panel in this level's order.
        unsafe {
            I::tile(tile.as_ptr(), prepared, kp, rows, &mut sums);
            I::linear_rows(&epilogue, first, &a.scales[first..first + rows], &sums);
        }
    }
}

/// Turns the sums of a panel's 16 channels into outputs.
pub(super) struct Epilogue<'a> {
    scales: [f32; PANEL],
    bias: [f32; PANEL],
    columns: usize,
    first: usize,
    n: usize,
    relu6: bool,
    residual: Option<&'a [f32]>,
    out: OutPtr,
}

impl<'a> Epilogue<'a> {
    fn new(job: &Job<'a>, p: usize) -> Self {
        let (n, first) = (job.weights.n, p * PANEL);
        let columns = PANEL.min(n - first);
        let (mut scales, mut bias) = ([0.0; PANEL], [0.0; PANEL]);
        scales[..columns].copy_from_slice(&job.weights.scales[first..first + columns]);
        bias[..columns].copy_from_slice(&job.weights.bias[first..first + columns]);
        let Fused { relu6, residual, .. } = job.fused;
        Epilogue { scales, bias, columns, first, n, relu6, residual, out: job.out }
    }

    /// Writes rows `first..first + row_scales.len()` of the panel's columns.
    ///
    /// # Safety
    /// The CPU has the level of `L`; these rows exist and nobody else writes their columns of this panel.
    #[inline(always)]
    pub(super) unsafe fn rows<L: Lanes>(&self, first: usize, row_scales: &[f32], sums: &Tile) {
        let at = first * self.n + self.first;
        // SAFETY: row `first` exists, and with it this element of the output.
        let out = unsafe { self.out.0.add(at) };
        // SAFETY: the caller's promise, passed on.
        unsafe {
            match (self.relu6, self.residual) {
                (false, None) => self.store::<L, false, false>(row_scales, sums, &[], out),
                (true, None) => self.store::<L, true, false>(row_scales, sums, &[], out),
                (false, Some(from)) => {
                    self.store::<L, false, true>(row_scales, sums, &from[at..], out)
                }
                (true, Some(from)) => {
                    self.store::<L, true, true>(row_scales, sums, &from[at..], out)
                }
            }
        }
    }

    /// # Safety
    /// As [`Epilogue::rows`]; `residual` and `out` begin at the first row's first column of the panel.
    #[inline(always)]
    unsafe fn store<L: Lanes, const RELU6: bool, const RESIDUAL: bool>(
        &self,
        row_scales: &[f32],
        sums: &Tile,
        residual: &[f32],
        mut out: *mut f32,
    ) {
        // SAFETY: the CPU has the level; arrays and sums have 16 values; the rows exist and this panel has `columns`
        // columns in them, of which a whole panel reads and writes 16.
        unsafe {
            let (scales, bias) = (L::load(self.scales.as_ptr()), L::load(self.bias.as_ptr()));
            let mut skip = residual.as_ptr();
            let mut sums = sums.0.as_ptr();
            for row_scale in row_scales {
                let mut y = L::load_i32(sums).mul_add(scales.scale(*row_scale), bias);
                if RELU6 {
                    y = y.relu6();
                }
                if self.columns == PANEL {
                    if RESIDUAL {
                        y = y.add(L::load(skip));
                    }
                    y.store(out);
                } else {
                    let mut whole = [0.0f32; PANEL];
                    if RESIDUAL {
                        std::ptr::copy_nonoverlapping(skip, whole.as_mut_ptr(), self.columns);
                        y = y.add(L::load(whole.as_ptr()));
                    }
                    y.store(whole.as_mut_ptr());
                    std::ptr::copy_nonoverlapping(whole.as_ptr(), out, self.columns);
                }
                sums = sums.wrapping_add(PANEL);
                skip = skip.wrapping_add(self.n);
                out = out.wrapping_add(self.n);
            }
        }
    }
}
