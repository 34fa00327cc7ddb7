//! int8 convolutions: `quantise the map -> gather windows -> integer matrix product -> scale, bias, addition, ReLU`.
//!
//! No matrix of windows is formed. The map is quantised once, into bytes with a border of zeros around them, so that a
//! window is one run of bytes per window row; bands of pixels gather their windows into tiles that all panels share.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::isa::{Isa, Prepared, Tile};
use super::lanes::Lanes;
use super::linear::{BytePtr, OutPtr};
use super::numeric::scale_of;
use super::pool::{LayerScratch, Pool};
use super::scratch::{carved_bytes, Scratch};
use super::weights::{padded_k, Weights, K_STEP, PANEL};
use super::{check, Kernels};
use crate::error::{Error, ErrorKind, Result};

/// Most channels of a map.
pub const MAX_CHANNELS: usize = 512;
/// Longest side of a map.
pub const MAX_MAP_SIDE: usize = 1 << 14;
/// Channels of a picture.
const PLANES: usize = 3;
/// Tiles per band: their windows stay in the first cache while the panels pass by.
const TILES: usize = 8;
/// Values whose largest magnitude is found at a time.
const PIECE: usize = 1 << 14;
/// Gathering copies whole blocks of this many bytes and lets them reach beyond a run.
const BLOCK: usize = 16;

/// The input of a convolution.
#[derive(Clone, Copy)]
pub struct Map<'a> {
    /// What it holds.
    pub values: Values<'a>,
    /// Height, 1..=[`MAX_MAP_SIDE`].
    pub rows: usize,
    /// Width, 1..=[`MAX_MAP_SIDE`].
    pub columns: usize,
}

/// The values of a [`Map`].
#[derive(Clone, Copy)]
pub enum Values<'a> {
    /// Another layer's output, `[rows][columns][channels]`.
    Layer(&'a [f32]),
    /// Red, green and blue, `[3][rows][columns]`: a byte `x` stands for `(x / 255 - 0.5) / 0.5`.
    Picture(&'a [u8]),
}

/// A convolution with what is fused behind it.
#[derive(Clone, Copy)]
pub struct Convolution<'a> {
    /// `[n][kernel * kernel * channels]`, a row in the order window row, window column, channel; at most
    /// [`MAX_CHANNELS`] of either.
    pub weights: Weights<'a>,
    /// Side of the window: 1, or 3 with one value of padding on all sides.
    pub kernel: usize,
    /// 1 or 2. The output has `rows.div_ceil(stride)` rows of `columns.div_ceil(stride)` pixels.
    pub stride: usize,
    /// Added to the result: of the output's shape or, when `enlarged`, of half its height and width, rounded up.
    pub added: Option<&'a [f32]>,
    /// Every pixel of `added` stands for two by two.
    pub enlarged: bool,
    /// Replaces what is below 0, last of all.
    pub relu: bool,
}

/// Where things lie, derived from a map and a convolution.
#[derive(Clone, Copy)]
struct Shape {
    channels: usize,
    border: usize,
    /// Rows and bytes per row of the quantised, bordered map.
    image_rows: usize,
    pitch: usize,
    /// Of the output.
    columns: usize,
    pixels: usize,
}

impl Shape {
    /// `None` when sizes are out of range or lengths do not fit.
    fn new(map: &Map<'_>, conv: &Convolution<'_>, out: usize) -> Option<Shape> {
        let Convolution { weights, kernel, stride, added, enlarged, .. } = conv;
        let side = |side: usize| (1..=MAX_MAP_SIDE).contains(&side);
        let sound = matches!(kernel, 1 | 3) && matches!(stride, 1 | 2);
        if !sound || !side(map.rows) || !side(map.columns) || weights.n > MAX_CHANNELS {
            return None;
        }
        let (channels, border) = (weights.k / (kernel * kernel), kernel / 2);
        let (len, planes) = match map.values {
            Values::Layer(values) => (values.len(), channels),
            Values::Picture(bytes) => (bytes.len(), PLANES),
        };
        if channels * kernel * kernel != weights.k
            || channels > MAX_CHANNELS
            || channels != planes
            || map.rows.checked_mul(map.columns)?.checked_mul(channels)? != len
        {
            return None;
        }
        let (rows, columns) = (map.rows.div_ceil(*stride), map.columns.div_ceil(*stride));
        let pixels = rows * columns;
        let added_pixels = if *enlarged { rows.div_ceil(2) * columns.div_ceil(2) } else { pixels };
        if pixels.checked_mul(weights.n)? != out
            || added.is_some_and(|a| a.len() != added_pixels * weights.n)
        {
            return None;
        }
        let image_rows = map.rows + 2 * border;
        let pitch = (map.columns + 2 * border) * channels;
        image_rows.checked_mul(pitch)?;
        Some(Shape { channels, border, image_rows, pitch, columns, pixels })
    }
}

/// A convolution being computed, checked by [`Kernels::convolve`].
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    map: Map<'a>,
    conv: Convolution<'a>,
    shape: Shape,
    out: OutPtr,
}

/// What all bands share.
#[derive(Clone, Copy)]
pub(super) struct Ready<'a> {
    /// The bordered bytes and [`BLOCK`] more.
    image: &'a [i8],
    scale: f32,
    nonnegative: bool,
    panels: &'a [Prepared],
}

/// The phases of a convolution as the level's table holds them.
#[derive(Clone, Copy)]
pub(super) struct ConvFns {
    pub(super) rows_per_tile: usize,
    pub(super) prepared_bytes: fn(usize) -> usize,
    pub(super) abs_max: unsafe fn(&[f32]) -> i32,
    /// `(job, row, factor, bytes, scratch)`; whether no value of the row is negative.
    pub(super) fill: unsafe fn(&Job<'_>, usize, f32, &mut [i8], &mut Scratch) -> bool,
    pub(super) prepare: unsafe fn(*const i8, usize, bool, *mut u8) -> Prepared,
    /// `(job, ready, first pixel, pixels, scratch)`.
    pub(super) band: unsafe fn(&Job<'_>, Ready<'_>, usize, usize, &mut Scratch),
}

impl Kernels {
    /// One int8 convolution with what is fused behind it: `out[rows][columns][n]`.
    ///
    /// A layer's values are quantised with one scale for all of them. Bands of pixels are the unit that threads share out.
    ///
    /// # Errors
    /// `InvalidArgument` when a size is out of range or a length does not fit.
    pub fn convolve(
        &self,
        pool: &Pool,
        map: &Map<'_>,
        conv: &Convolution<'_>,
        out: &mut [f32],
    ) -> Result<()> {
        let Some(shape) = Shape::new(map, conv, out.len()) else {
            return Err(Error::new(ErrorKind::InvalidArgument, "a convolution's sizes do not fit"));
        };
        check(shape.pixels > 0, "a convolution of nothing")?;
        let job = Job { map: *map, conv: *conv, shape, out: OutPtr(out.as_mut_ptr()) };
        // SAFETY: this value proves the level, `Shape::new` checked the lengths and `out` is borrowed exclusively.
        unsafe { run(self.fns.conv, pool, &job) };
        Ok(())
    }
}

/// # Safety
/// The CPU has the level of `fns`; `job.out` is exclusively borrowed for `pixels * n` values; lengths are checked.
unsafe fn run(fns: ConvFns, pool: &Pool, job: &Job<'_>) {
    let Job { shape, map, .. } = job;
    let weights = &job.conv.weights;
    let kp = padded_k(weights.k);
    let mut layer = pool.layer();
    let LayerScratch { common, own } = &mut *layer;

    let (scale, factor) = match map.values {
        Values::Picture(_) => (1.0 / 127.0, 127.0),
        Values::Layer(values) => {
            let largest = AtomicI32::new(0);
            pool.run(own, values.len().div_ceil(PIECE), &|i, _| {
                let end = values.len().min((i + 1) * PIECE);
                // SAFETY: the CPU has the level.
                let bits = unsafe { (fns.abs_max)(&values[i * PIECE..end]) };
                largest.fetch_max(bits, Ordering::Relaxed);
            });
            scale_of(largest.into_inner())
        }
    };

    let prepared_bytes = (fns.prepared_bytes)(kp);
    let image_bytes = shape.image_rows * shape.pitch + BLOCK;
    let mut carve = common.carve(
        carved_bytes::<i8>(image_bytes) + weights.panels() * carved_bytes::<u8>(prepared_bytes),
    );
    let image = carve.take::<i8>(image_bytes);
    image[image_bytes - BLOCK..].fill(0);
    let image_ptr = BytePtr(image.as_mut_ptr().cast());
    let nonnegative = AtomicBool::new(true);
    pool.run(own, shape.image_rows, &|y, scratch| {
        let image = image_ptr;
        // SAFETY: row `y` belongs to this chunk alone; the CPU has the level.
        unsafe {
            let row = image.at(y * shape.pitch).cast();
            let row = std::slice::from_raw_parts_mut(row, shape.pitch);
            if !(fns.fill)(job, y, factor, row, scratch) {
                nonnegative.store(false, Ordering::Relaxed);
            }
        }
    });
    let nonnegative = nonnegative.into_inner();

    let mut panels = [Prepared::NONE; MAX_CHANNELS / PANEL];
    let panels = &mut panels[..weights.panels()];
    for (p, panel) in panels.iter_mut().enumerate() {
        let out = carve.take::<u8>(prepared_bytes);
        // SAFETY: the CPU has the level and both have the sizes that `prepare` asks for.
        *panel =
            unsafe { (fns.prepare)(weights.panel(p).as_ptr(), kp, nonnegative, out.as_mut_ptr()) };
    }
    let ready = Ready { image, scale, nonnegative, panels };
    let band = TILES * fns.rows_per_tile;
    pool.run(own, shape.pixels.div_ceil(band), &|b, scratch| {
        let pixels = band.min(shape.pixels - b * band);
        // SAFETY: the band owns its pixels of the output; the CPU has the level.
        unsafe { (fns.band)(job, ready, b * band, pixels, scratch) }
    });
}

/// `round(127 * (x / 255 - 0.5) / 0.5)`.
#[inline(always)]
pub(super) fn quantise_byte(x: u8) -> i8 {
    x.wrapping_sub(127).wrapping_sub(u8::from(x >= 128)) as i8
}

/// Quantises row `y` of the bordered map.
///
/// # Safety
/// The CPU has the level.
#[inline(always)]
pub(super) unsafe fn fill<I: Isa>(
    job: &Job<'_>,
    y: usize,
    factor: f32,
    row: &mut [i8],
    scratch: &mut Scratch,
) -> bool {
    let Shape { channels, border, .. } = job.shape;
    let Map { values, rows, columns } = job.map;
    // A factor of 0: all zeros, or values that must not reach the conversion.
    if y < border || y >= border + rows || factor == 0.0 {
        row.fill(0);
        return true;
    }
    let (y, width) = (y - border, columns * channels);
    let (left, rest) = row.split_at_mut(border * channels);
    let (middle, right) = rest.split_at_mut(width);
    left.fill(0);
    right.fill(0);
    match values {
        // SAFETY: the CPU has the level.
        Values::Layer(values) => unsafe {
            I::quantise_by(&values[y * width..][..width], factor, middle);
        },
        Values::Picture(bytes) => {
            let planes = scratch.carve(carved_bytes::<i8>(width)).take::<i8>(width);
            for (c, plane) in planes.chunks_exact_mut(columns).enumerate() {
                let from = &bytes[(c * rows + y) * columns..][..columns];
                plane.iter_mut().zip(from).for_each(|(q, x)| *q = quantise_byte(*x));
            }
            let (red, rest) = planes.split_at(columns);
            let (green, blue) = rest.split_at(columns);
            let pixels = red.iter().zip(green).zip(blue);
            for (pixel, ((r, g), b)) in middle.chunks_exact_mut(PLANES).zip(pixels) {
                pixel.copy_from_slice(&[*r, *g, *b]);
            }
        }
    }
    middle.iter().fold(0, |min, &v| v.min(min)) == 0
}

/// Computes pixels `first..first + pixels` of the output.
///
/// # Safety
/// The CPU has the level; these pixels exist and nobody else writes them; `ready` was made for the job at this level.
#[inline(always)]
pub(super) unsafe fn band<I: Isa>(
    job: &Job<'_>,
    ready: Ready<'_>,
    first: usize,
    pixels: usize,
    scratch: &mut Scratch,
) {
    let Shape { channels, columns, pitch, .. } = job.shape;
    let Convolution { weights, kernel, stride, .. } = job.conv;
    let (k, kp, run) = (weights.k, padded_k(weights.k), kernel * channels);
    let tile_bytes = I::tile_bytes(kp);
    let tiles = pixels.div_ceil(I::ROWS) * tile_bytes;
    let windows = pixels * kp + BLOCK;
    let mut carve = scratch.carve(carved_bytes::<i8>(windows) + carved_bytes::<u8>(tiles));
    let windows = carve.take::<i8>(windows);
    let tiles = carve.take::<u8>(tiles);
    let narrow = ready.panels.iter().all(|p| p.narrow);
    // Runs that end on a step of the narrow form go straight into the tiles; others, and rows in a form that mixes what is
    // further apart, are gathered first, all of them, so that no load waits for the stores before it.
    let straight = narrow && run.is_multiple_of(K_STEP);
    let (mut y, mut x) = (first / columns, first % columns);
    for i in 0..pixels {
        let window = &ready.image[y * stride * pitch + x * stride * channels..];
        if straight {
            let tile = tiles[i / I::ROWS * tile_bytes..][..tile_bytes].as_mut_ptr();
            for r in 0..kernel {
                let bytes = &window[r * pitch..][..run];
                // SAFETY: tile `i / ROWS` exists and has this row; all panels that follow are narrow.
                unsafe { I::put_narrow(tile, kp, i % I::ROWS, r * run / K_STEP, bytes) };
            }
        } else {
            // SAFETY: the window lies in the bordered map, which has `BLOCK` bytes more, as have the windows.
            unsafe { gather(window, pitch, run, kernel, &mut windows[i * kp..]) };
        }
        x += 1;
        if x == columns {
            (x, y) = (0, y + 1);
        }
    }
    if !straight {
        // What lies between `k` and `kp` meets the stored matrix' padding, which is 0.
        debug_assert!(k <= kp);
        for (i, row) in windows.chunks_exact(kp).take(pixels).enumerate() {
            // SAFETY: tile `i / ROWS` exists and has this row.
            unsafe {
                let tile = tiles[i / I::ROWS * tile_bytes..][..tile_bytes].as_mut_ptr();
                I::put_row(tile, i % I::ROWS, row, ready.nonnegative);
            }
        }
    }
    let mut sums = Tile::ZERO;
    for (p, panel) in ready.panels.iter().enumerate() {
        let epilogue = Epilogue::new(job, ready.scale, p);
        for (t, tile) in tiles.chunks_exact(tile_bytes).enumerate() {
            let rows = I::ROWS.min(pixels - t * I::ROWS);
            // SAFETY: `tile` holds `rows` rows, `panel` is in this level's order; the pixels are ours.
            unsafe {
                I::tile(tile.as_ptr(), *panel, kp, rows, &mut sums);
                I::conv_rows(&epilogue, first + t * I::ROWS, rows, &sums);
            }
        }
    }
}

/// Copies `runs` runs of `run` bytes, `pitch` apart, one behind the other; up to [`BLOCK`] - 1 bytes more are read behind
/// each and written behind the last.
///
/// # Safety
/// `from` has `(runs - 1) * pitch + run` and `to` has `runs * run` elements, both rounded up by [`BLOCK`] - 1.
#[inline(always)]
unsafe fn gather(from: &[i8], pitch: usize, run: usize, runs: usize, to: &mut [i8]) {
    debug_assert!((runs - 1) * pitch + run.next_multiple_of(BLOCK) <= from.len());
    debug_assert!((runs - 1) * run + run.next_multiple_of(BLOCK) <= to.len());
    for r in 0..runs {
        // SAFETY: the caller's promise.
        unsafe {
            let (from, to) = (from.as_ptr().add(r * pitch), to.as_mut_ptr().add(r * run));
            for at in (0..run).step_by(BLOCK) {
                let block = from.add(at).cast::<[i8; BLOCK]>().read_unaligned();
                to.add(at).cast::<[i8; BLOCK]>().write_unaligned(block);
            }
        }
    }
}

/// Turns the sums of a panel's 16 channels into outputs.
pub(super) struct Epilogue<'a> {
    scales: [f32; PANEL],
    bias: [f32; PANEL],
    /// Channels of this panel, and the first of them.
    channels: usize,
    first: usize,
    n: usize,
    columns: usize,
    added: Option<&'a [f32]>,
    enlarged: bool,
    relu: bool,
    out: OutPtr,
}

impl<'a> Epilogue<'a> {
    fn new(job: &Job<'a>, scale: f32, p: usize) -> Self {
        let Convolution { weights, added, enlarged, relu, .. } = job.conv;
        let first = p * PANEL;
        let channels = PANEL.min(weights.n - first);
        let (mut scales, mut bias) = ([0.0; PANEL], [0.0; PANEL]);
        for c in 0..channels {
            scales[c] = scale * weights.scales[first + c];
            bias[c] = weights.bias[first + c];
        }
        let (n, columns) = (weights.n, job.shape.columns);
        Epilogue { scales, bias, channels, first, n, columns, added, enlarged, relu, out: job.out }
    }

    /// Writes the panel's channels of pixels `first..first + rows`.
    ///
    /// # Safety
    /// The CPU has the level of `L`; these pixels exist and nobody else writes these channels of them.
    #[inline(always)]
    pub(super) unsafe fn rows<L: Lanes>(&self, first: usize, rows: usize, sums: &Tile) {
        // SAFETY: the CPU has the level; arrays and sums have 16 values; the pixels exist and have `channels` channels from
        // `self.first` on.
        unsafe {
            let (scales, bias) = (L::load(self.scales.as_ptr()), L::load(self.bias.as_ptr()));
            let zero = L::splat(0.0);
            let (mut row, mut column) =
                if self.enlarged { (first / self.columns, first % self.columns) } else { (0, 0) };
            for (pixel, sums) in (first..first + rows).zip(sums.0.chunks_exact(PANEL)) {
                let mut y = L::load_i32(sums.as_ptr()).mul_add(scales, bias);
                if let Some(added) = self.added {
                    let mut source = pixel;
                    if self.enlarged {
                        source = row / 2 * self.columns.div_ceil(2) + column / 2;
                        column += 1;
                        if column == self.columns {
                            (row, column) = (row + 1, 0);
                        }
                    }
                    let from = &added[source * self.n + self.first..];
                    let mut last = [0.0f32; PANEL];
                    // The last pixel of a narrow layer may have less left than a panel.
                    let whole = from.len() >= PANEL;
                    if !whole {
                        last[..from.len()].copy_from_slice(from);
                    }
                    y = y.add(L::load(if whole { from.as_ptr() } else { last.as_ptr() }));
                }
                if self.relu {
                    y = y.larger(zero);
                }
                let out = self.out.0.add(pixel * self.n + self.first);
                if self.channels == PANEL {
                    y.store(out);
                    continue;
                }
                let mut whole = [0.0f32; PANEL];
                y.store(whole.as_mut_ptr());
                if self.channels == PANEL / 2 {
                    out.cast::<[f32; PANEL / 2]>()
                        .write_unaligned(*whole.first_chunk().expect("half a panel"));
                } else {
                    std::ptr::copy_nonoverlapping(whole.as_ptr(), out, self.channels);
                }
            }
        }
    }
}
