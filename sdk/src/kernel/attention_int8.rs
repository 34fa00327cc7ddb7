//! The int8 form of attention: both matrix products use the integer tile of the level.
//!
//! Keys are the "weights" of the first product, values those of the second. A tile of queries goes through scores,
//! softmax and values while everything it touches is in the first-level cache.

use super::attention::{Job, MAX_HEAD_DIM};
use super::bias::pattern_len;
use super::isa::{Isa, Prepared, Tile, MAX_ROWS};
use super::lanes::Lanes;
use super::numeric::{
    exp2_7bit, larger, one_chunk_at_a_time, quantise_row, scale_of, LANES, MAGIC,
};
use super::scratch::{carved_bytes, Scratch};
use super::weights::{packed_len, padded_k, padded_n, GROUP, PANEL};

/// Most panels of values.
const VALUE_PANELS: usize = MAX_HEAD_DIM.div_ceil(PANEL);

/// One head.
///
/// # Safety
/// The CPU has the level; `job` is checked; nobody else writes this head's output.
#[inline(always)]
pub(super) unsafe fn head<I: Isa>(job: &Job<'_>, head: usize, scratch: &mut Scratch) {
    let shape = &job.shape;
    let (tokens, d) = (shape.tokens(), shape.head_dim);
    let (dp, tp) = (padded_n(d), padded_n(tokens));
    let (kd, kt) = (padded_k(d), padded_k(tokens));
    let key_bytes = I::prepared_bytes(kd).next_multiple_of(64);
    let value_bytes = I::prepared_bytes(kt).next_multiple_of(64);
    let mut carve = scratch.carve(
        carved_bytes::<i8>(packed_len(tokens, d))
            + carved_bytes::<i8>(packed_len(d, tokens))
            + carved_bytes::<f32>(tp)
            + carved_bytes::<f32>(dp)
            + carved_bytes::<u8>(key_bytes * tp / PANEL)
            + carved_bytes::<u8>(value_bytes * dp / PANEL)
            + carved_bytes::<f32>(pattern_len(shape))
            + carved_bytes::<f32>(MAX_ROWS * tp)
            + carved_bytes::<u8>(I::tile_bytes(kd))
            + carved_bytes::<u8>(I::tile_bytes(kt))
            + carved_bytes::<i8>(tp.max(dp)),
    );
    let keys = carve.take::<i8>(packed_len(tokens, d));
    let values = carve.take::<i8>(packed_len(d, tokens));
    let key_scales = carve.take::<f32>(tp);
    let value_scales = carve.take::<f32>(dp);
    // SAFETY: the CPU has the level.
    let finite = unsafe {
        let keys = I::quantise_keys(job, head, keys, key_scales);
        I::quantise_values(job, head, values, value_scales) && keys
    };
    let key_memory = carve.take::<u8>(key_bytes * tp / PANEL);
    let value_memory = carve.take::<u8>(value_bytes * dp / PANEL);
    let patterns = carve.take::<f32>(pattern_len(shape));
    // SAFETY: the CPU has the level.
    unsafe { I::bias_patterns(job, head, patterns) };
    let scores = carve.take::<f32>(MAX_ROWS * tp);
    let q_tile = carve.take::<u8>(I::tile_bytes(kd)).as_mut_ptr();
    let p_tile = carve.take::<u8>(I::tile_bytes(kt)).as_mut_ptr();
    let q8 = carve.take::<i8>(tp.max(dp));

    // SAFETY: the CPU has the level, and each panel has its own part of the memory.
    let prepare = |panel: &[i8], kp, nonnegative, memory: &mut [u8], at: usize| unsafe {
        I::prepare(panel.as_ptr(), kp, nonnegative, memory[at..].as_mut_ptr())
    };
    // Keys meet signed queries: every panel has the same form, so its place says it all.
    let mut key_form = Prepared::new(keys.as_ptr().cast());
    for (p, panel) in keys.chunks_exact(PANEL * kd).enumerate() {
        let form = prepare(panel, kd, false, key_memory, p * key_bytes);
        if p == 0 {
            key_form = form;
        }
    }
    let key_stride = if key_bytes == 0 { PANEL * kd } else { key_bytes };
    let mut value_forms = [key_form; VALUE_PANELS];
    for (p, panel) in values.chunks_exact(PANEL * kt).enumerate() {
        value_forms[p] = prepare(panel, kt, true, value_memory, p * value_bytes);
    }

    let score_scale = shape.score_scale();
    let mut sums = Tile::ZERO;
    for first in (0..tokens).step_by(I::ROWS) {
        let rows = I::ROWS.min(tokens - first);
        let mut row_scales = [0.0f32; MAX_ROWS];
        for r in 0..rows {
            let line = &mut scores[r * tp..(r + 1) * tp];
            // SAFETY: the CPU has the level; `q_tile` has a tile of `kd` = `d` values per row (`d` is a multiple of 8).
            unsafe {
                I::bias_row(job, head, first + r, patterns, line);
                let scale = I::quantise_row(job.part(0, head, first + r), &mut q8[..d]);
                row_scales[r] = scale * score_scale;
                I::put_row(q_tile, r, &q8[..kd], false);
            }
        }
        let mut max = [[f32::NEG_INFINITY; LANES]; MAX_ROWS];
        for (p, scales) in key_scales.chunks_exact(PANEL).enumerate() {
            let scales: &[f32; PANEL] = scales.try_into().expect("PANEL scales");
            // SAFETY: the tile holds `rows` rows; panel `p` was prepared above.
            unsafe {
                let panel = Prepared { panel: key_form.panel.add(p * key_stride), ..key_form };
                I::tile(q_tile, panel, kd, rows, &mut sums);
                let scores = &mut scores[p * PANEL..];
                I::score_rows(&sums, &row_scales[..rows], scales, scores, tp, &mut max);
            }
        }
        let mut inverse = [0.0f32; MAX_ROWS];
        for r in 0..rows {
            // SAFETY: the CPU has the level; `p_tile` has a tile of `kt` values per row.
            let total = unsafe {
                let total = I::softmax(&scores[r * tp..(r + 1) * tp], &max[r], &mut q8[..tp]);
                I::put_row(p_tile, r, &q8[..kt], true);
                total
            };
            inverse[r] = if finite { 1.0 / total as f32 } else { f32::NAN };
        }
        for (p, scales) in value_scales.chunks_exact(PANEL).enumerate() {
            let scales: &[f32; PANEL] = scales.try_into().expect("PANEL scales");
            // SAFETY: as above, and attention weights are never negative.
            unsafe { I::tile(p_tile, value_forms[p], kt, rows, &mut sums) };
            // SAFETY: the CPU has the level and the caller owns this head's channels.
            unsafe { I::value_rows(job, head, first, p, &sums, &inverse[..rows], scales) };
        }
    }
}

/// Outputs of panel `p` of a head's channels for the tokens from `first` on.
///
/// # Safety
/// The CPU has the level of `L`; nobody else writes this head's output.
#[inline(always)]
pub(super) unsafe fn value_rows<L: Lanes>(
    job: &Job<'_>,
    head: usize,
    first: usize,
    p: usize,
    sums: &Tile,
    inverse: &[f32],
    scales: &[f32; PANEL],
) {
    // SAFETY: the CPU has the level; scales and sums have 16 values; the caller's promise about the output.
    unsafe {
        let scales = L::load(scales.as_ptr());
        for (r, (inverse, sums)) in inverse.iter().zip(sums.0.chunks_exact(PANEL)).enumerate() {
            let y = L::load_i32(sums.as_ptr()).mul(scales.scale(*inverse));
            let (to, channels) = job.output(head, first + r, p * PANEL);
            if channels >= PANEL {
                y.store(to);
            } else {
                let mut whole = [0.0f32; PANEL];
                y.store(whole.as_mut_ptr());
                std::ptr::copy_nonoverlapping(whole.as_ptr(), to, channels);
            }
        }
    }
}

/// Scores of a panel of keys: `scores[r * stride..][..16]` holds the bias before and the score after; `max` follows.
///
/// # Safety
/// The CPU has the level of `L`.
#[inline(always)]
pub(super) unsafe fn score_rows<L: Lanes>(
    sums: &Tile,
    row_scales: &[f32],
    scales: &[f32; PANEL],
    scores: &mut [f32],
    stride: usize,
    max: &mut [[f32; LANES]; MAX_ROWS],
) {
    let rows =
        row_scales.iter().zip(sums.0.chunks_exact(PANEL)).zip(scores.chunks_mut(stride)).zip(max);
    // SAFETY: the CPU has the level; scales, sums, the checked line and the maxima have 16 values.
    unsafe {
        let scales = L::load(scales.as_ptr());
        for (((row_scale, sums), line), max) in rows {
            let line = line[..PANEL].as_mut_ptr();
            let s = L::load_i32(sums.as_ptr()).mul_add(scales.scale(*row_scale), L::load(line));
            s.store(line);
            s.larger(L::load(max.as_ptr())).store(max.as_mut_ptr());
        }
    }
}

/// Keys of a head in the stored order (tokens are the channels), one scale per token; whether all are finite.
#[inline(always)]
pub(super) fn quantise_keys(
    job: &Job<'_>,
    head: usize,
    keys: &mut [i8],
    scales: &mut [f32],
) -> bool {
    let (tokens, d) = (job.shape.tokens(), job.shape.head_dim);
    let kd = padded_k(d);
    keys[(tokens / PANEL) * PANEL * kd..].fill(0);
    scales.fill(0.0);
    let mut finite = true;
    let mut q8 = [0i8; MAX_HEAD_DIM];
    for j in 0..tokens {
        scales[j] = quantise_row(job.part(1, head, j), &mut q8[..d]);
        finite &= scales[j].is_finite();
        let panel = &mut keys[j / PANEL * PANEL * kd..][..PANEL * kd];
        let (groups, _) = panel.as_chunks_mut::<GROUP>().0.as_chunks_mut::<PANEL>();
        for (to, q) in groups.iter_mut().zip(q8.as_chunks::<GROUP>().0) {
            to[j % PANEL] = *q;
        }
    }
    finite
}

/// Values of a head in the stored order (tokens are `k`), one scale per channel; whether all are finite.
#[inline(always)]
pub(super) fn quantise_values(
    job: &Job<'_>,
    head: usize,
    values: &mut [i8],
    scales: &mut [f32],
) -> bool {
    let (tokens, dim, d) = (job.shape.tokens(), job.shape.dim(), job.shape.head_dim);
    let kt = padded_k(tokens);
    let mut factors = [0.0f32; MAX_HEAD_DIM];
    let mut finite = true;
    let panels = scales.as_chunks_mut::<PANEL>().0.iter_mut();
    for (p, (scales, factors)) in panels.zip(factors.as_chunks_mut::<PANEL>().0).enumerate() {
        let mut max = [0i32; PANEL];
        for token in job.qkv.chunks_exact(3 * dim) {
            let v = sixteen(&token[2 * dim + head * d..][p * PANEL..d]);
            for l in 0..PANEL {
                max[l] = max[l].max((v[l].to_bits() & 0x7fff_ffff) as i32);
            }
            one_chunk_at_a_time();
        }
        for l in 0..PANEL {
            (scales[l], factors[l]) = scale_of(max[l]);
            finite &= scales[l].is_finite();
        }
    }
    if !finite {
        // The head's output will be NaN whatever the sums are; no conversion may see what cannot be converted.
        values.fill(0);
        return finite;
    }
    for (p, panel) in values.chunks_exact_mut(PANEL * kt).enumerate() {
        let factors = factors.as_chunks::<PANEL>().0[p];
        let mut rows = job.qkv.chunks_exact(3 * dim);
        for group in panel.as_chunks_mut::<{ PANEL * GROUP }>().0 {
            // Four tokens at a time, byte `t` of channel `c`'s word being token `t`.
            let mut words = [0u32; PANEL];
            for (t, token) in rows.by_ref().take(GROUP).enumerate() {
                let v = sixteen(&token[2 * dim + head * d..][p * PANEL..d]);
                for l in 0..PANEL {
                    let q = v[l].mul_add(factors[l], MAGIC).to_bits() & 0xff;
                    words[l] |= q << (8 * t);
                }
            }
            one_chunk_at_a_time();
            for (to, word) in group.as_chunks_mut::<GROUP>().0.iter_mut().zip(words) {
                *to = word.to_le_bytes().map(|b| b as i8);
            }
        }
    }
    finite
}

/// The first sixteen values, zeros where there are fewer.
#[inline(always)]
fn sixteen(from: &[f32]) -> [f32; PANEL] {
    match from.first_chunk() {
        Some(whole) => *whole,
        None => {
            let mut v = [0.0; PANEL];
            v[..from.len()].copy_from_slice(from);
            v
        }
    }
}

/// Attention weights of one query in units of 1/127 of its largest; returns their sum.
///
/// `scores` are exponents of 2 (whole groups of 16, padded with -infinity), `max` their lane-wise maxima.
#[inline(always)]
pub(super) fn softmax(scores: &[f32], max: &[f32; LANES], weights: &mut [i8]) -> i32 {
    let mut lanes = *max;
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            lanes[l] = larger(lanes[l + half], lanes[l]);
        }
    }
    let top = lanes[0];
    // At most 256 weights of 127 per lane.
    let mut total = [0u16; LANES];
    for (s, w) in scores.as_chunks::<LANES>().0.iter().zip(weights.as_chunks_mut::<LANES>().0) {
        let mut p = [0u8; LANES];
        for l in 0..LANES {
            p[l] = exp2_7bit(s[l] - top);
        }
        for l in 0..LANES {
            total[l] = total[l].wrapping_add(u16::from(p[l]));
        }
        *w = p.map(|p| p as i8);
        one_chunk_at_a_time();
    }
    total.iter().fold(0, |sum, &t| sum + i32::from(t))
}
