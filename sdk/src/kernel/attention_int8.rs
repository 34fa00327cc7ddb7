//! The int8 form of attention: both matrix products use the integer tile of the level.
//!
//! Keys are the "weights" of the first product, values those of the second. A tile of queries goes through scores,
//! softmax and values while everything it touches is in the first-level cache.

use super::attention::{BiasRows, Job, MAX_HEAD_DIM};
use super::isa::{Isa, Prepared, Tile, MAX_ROWS};
use super::numeric::{exp2_7bit, quantise_row, scale_of, LANES, MAGIC};
use super::scratch::{carved_bytes, Carve, Scratch};
use super::weights::{packed_index, packed_len, padded_k, padded_n, GROUP, PANEL};

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
            + BiasRows::carved(shape.side)
            + carved_bytes::<f32>(MAX_ROWS * tp)
            + carved_bytes::<u8>(I::tile_bytes(kd))
            + carved_bytes::<u8>(I::tile_bytes(kt))
            + carved_bytes::<i8>(tp.max(dp)),
    );
    let (keys, key_scales, keys_finite) = quantise_keys(job, head, &mut carve);
    let (values, value_scales, values_finite) = quantise_values(job, head, &mut carve);
    let finite = keys_finite && values_finite;
    let key_memory = carve.take::<u8>(key_bytes * tp / PANEL);
    let value_memory = carve.take::<u8>(value_bytes * dp / PANEL);
    let mut bias = BiasRows::new(&mut carve, shape.side);
    let scores = carve.take::<f32>(MAX_ROWS * tp);
    let q_tile = carve.take::<u8>(I::tile_bytes(kd)).as_mut_ptr();
    let p_tile = carve.take::<u8>(I::tile_bytes(kt)).as_mut_ptr();
    let q8 = carve.take::<i8>(tp.max(dp));

    // SAFETY: the CPU has the level, and each panel has its own part of the memory.
    let prepare = |panel: &[i8], kp, nonnegative, memory: &mut [u8], at: usize| unsafe {
        I::prepare(panel.as_ptr(), kp, nonnegative, memory[at..].as_mut_ptr())
    };
    // Keys meet signed queries: every panel has the same form, so its place says it all.
    let mut key_form = Prepared { panel: keys.as_ptr().cast(), narrow: false };
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

    let mut sums = Tile::ZERO;
    for first in (0..tokens).step_by(I::ROWS) {
        let rows = I::ROWS.min(tokens - first);
        let mut row_scales = [0.0f32; MAX_ROWS];
        for r in 0..rows {
            let line = &mut scores[r * tp..(r + 1) * tp];
            bias.write(job, head, first + r, line);
            line[tokens..].fill(f32::NEG_INFINITY);
            let scale = quantise_row(job.part(0, head, first + r), &mut q8[..d]);
            row_scales[r] = scale * shape.score_scale();
            // SAFETY: `q_tile` has a tile of `kd` = `d` values per row (`d` is a multiple of 8).
            unsafe { I::put_row(q_tile, r, &q8[..kd], false) };
        }
        let mut max = [[f32::NEG_INFINITY; LANES]; MAX_ROWS];
        for (p, scales) in key_scales.chunks_exact(PANEL).enumerate() {
            let scales: &[f32; PANEL] = scales.try_into().expect("PANEL scales");
            // SAFETY: the tile holds `rows` rows; panel `p` was prepared above.
            unsafe {
                let panel = Prepared { panel: key_form.panel.add(p * key_stride), ..key_form };
                I::tile(q_tile, panel, kd, rows, &mut sums);
            }
            for r in 0..rows {
                let line = &mut scores[r * tp + p * PANEL..][..PANEL];
                let line: &mut [f32; PANEL] = line.try_into().expect("PANEL scores");
                let sums = sums.row(r);
                for c in 0..PANEL {
                    let s = (sums[c] as f32).mul_add(row_scales[r] * scales[c], line[c]);
                    line[c] = s;
                    max[r][c] = if s > max[r][c] { s } else { max[r][c] };
                }
            }
        }
        let mut inverse = [0.0f32; MAX_ROWS];
        for r in 0..rows {
            let total = softmax(&scores[r * tp..(r + 1) * tp], max[r], &mut q8[..tp]);
            inverse[r] = if finite { 1.0 / total as f32 } else { f32::NAN };
            // SAFETY: `p_tile` has a tile of `kt` values per row.
            unsafe { I::put_row(p_tile, r, &q8[..kt], true) };
        }
        for (p, scales) in value_scales.chunks_exact(PANEL).enumerate() {
            let scales: &[f32; PANEL] = scales.try_into().expect("PANEL scales");
            // SAFETY: as above, and attention weights are never negative.
            unsafe { I::tile(p_tile, value_forms[p], kt, rows, &mut sums) };
            for r in 0..rows {
                let sums = sums.row(r);
                let mut y = [0.0f32; PANEL];
                for c in 0..PANEL {
                    y[c] = sums[c] as f32 * (inverse[r] * scales[c]);
                }
                // SAFETY: the caller owns this head's channels.
                unsafe { job.store(head, first + r, p * PANEL, &y) };
            }
        }
    }
}

/// Keys of a head in the stored order (tokens are the channels), one scale per token, and whether all are finite.
#[inline(always)]
fn quantise_keys<'a>(
    job: &Job<'_>,
    head: usize,
    carve: &mut Carve<'a>,
) -> (&'a [i8], &'a [f32], bool) {
    let (tokens, d) = (job.shape.tokens(), job.shape.head_dim);
    let kd = padded_k(d);
    let keys = carve.take::<i8>(packed_len(tokens, d));
    let scales = carve.take::<f32>(padded_n(tokens));
    keys[(tokens / PANEL) * PANEL * kd..].fill(0);
    scales.fill(0.0);
    let mut finite = true;
    let mut q8 = [0i8; MAX_HEAD_DIM];
    for j in 0..tokens {
        scales[j] = quantise_row(job.part(1, head, j), &mut q8[..d]);
        finite &= scales[j].is_finite();
        let panel = &mut keys[packed_index(j, 0, kd)..];
        for (to, q) in panel.chunks_mut(PANEL * GROUP).zip(q8[..d].chunks_exact(GROUP)) {
            to[..GROUP].copy_from_slice(q);
        }
    }
    (keys, scales, finite)
}

/// Values of a head in the stored order (tokens are `k`), one scale per channel, and whether all are finite.
#[inline(always)]
fn quantise_values<'a>(
    job: &Job<'_>,
    head: usize,
    carve: &mut Carve<'a>,
) -> (&'a [i8], &'a [f32], bool) {
    let (tokens, d) = (job.shape.tokens(), job.shape.head_dim);
    let kt = padded_k(tokens);
    let values = carve.take::<i8>(packed_len(d, tokens));
    let scales = carve.take::<f32>(padded_n(d));
    let mut max = [0i32; MAX_HEAD_DIM];
    for j in 0..tokens {
        for (max, v) in max.iter_mut().zip(job.part(2, head, j)) {
            *max = (*max).max((v.to_bits() & 0x7fff_ffff) as i32);
        }
    }
    let mut factors = [0.0f32; MAX_HEAD_DIM];
    scales.fill(0.0);
    let mut finite = true;
    for c in 0..d {
        (scales[c], factors[c]) = scale_of(max[c]);
        finite &= scales[c].is_finite();
    }
    if !finite {
        // The head's output will be NaN whatever the sums are; no conversion may see what cannot be converted.
        values.fill(0);
        return (values, scales, finite);
    }
    for (p, panel) in values.chunks_exact_mut(PANEL * kt).enumerate() {
        let c = p * PANEL;
        let factors: &[f32; PANEL] = factors[c..c + PANEL].try_into().expect("PANEL factors");
        for (g, group) in panel.chunks_exact_mut(PANEL * GROUP).enumerate() {
            // Four tokens at a time, byte `t` of channel `c`'s word being token `t`.
            let mut words = [0u32; PANEL];
            for t in 0..GROUP {
                let j = g * GROUP + t;
                let mut v = [0.0f32; PANEL];
                if j < tokens {
                    let from = &job.part(2, head, j)[c..];
                    match from.first_chunk::<PANEL>() {
                        Some(whole) => v = *whole,
                        None => v[..from.len()].copy_from_slice(from),
                    }
                }
                for l in 0..PANEL {
                    let q = v[l].mul_add(factors[l], MAGIC).to_bits() & 0xff;
                    words[l] |= q << (8 * t);
                }
            }
            for (to, word) in group.chunks_exact_mut(GROUP).zip(words) {
                to.copy_from_slice(&word.to_le_bytes().map(|b| b as i8));
            }
        }
    }
    (values, scales, finite)
}

/// Attention weights of one query in units of 1/127 of its largest; returns their sum.
///
/// `scores` are exponents of 2 (whole groups of 16, padded with -infinity), `max` their lane-wise maxima.
#[inline(always)]
fn softmax(scores: &[f32], max: [f32; LANES], weights: &mut [i8]) -> i32 {
    let mut top = max[0];
    for m in max {
        top = if m > top { m } else { top };
    }
    let mut total = [0i32; LANES];
    for (s, w) in scores.chunks_exact(LANES).zip(weights.chunks_exact_mut(LANES)) {
        let s: &[f32; LANES] = s.try_into().expect("LANES scores");
        let w: &mut [i8; LANES] = w.try_into().expect("LANES weights");
        for l in 0..LANES {
            let p = exp2_7bit(s[l] - top);
            w[l] = p as i8;
            total[l] = total[l].wrapping_add(i32::from(p));
        }
    }
    let mut sum = 0i32;
    for t in total {
        sum = sum.wrapping_add(t);
    }
    sum
}
