//! The f32 form of attention: for models whose accuracy gate int8 attention does not pass, and to judge that by.

use super::attention::{Job, MAX_HEAD_DIM};
use super::bias::pattern_len;
use super::isa::Isa;
use super::lanes::Lanes;
use super::numeric::{exp2, larger, one_chunk_at_a_time, tree_sum, LANES};
use super::scratch::{carved_bytes, Scratch};

/// Queries per pass over the keys.
const ROWS: usize = 4;

/// One head. Order of additions: scores add `q[d] * k[d]` for d = 0, 1, ... by fused multiply-add; weights are summed in 16
/// lanes and a tree; outputs add `p[j] * v[j]` for j = 0, 1, ... and are then multiplied by the reciprocal of the sum.
///
/// # Safety
/// The CPU has the level; `job` is checked; nobody else writes this head's output.
#[inline(always)]
pub(super) unsafe fn head<I: Isa>(job: &Job<'_>, head: usize, scratch: &mut Scratch) {
    let shape = &job.shape;
    let (tokens, d) = (shape.tokens(), shape.head_dim);
    let (tp, dp) = (tokens.div_ceil(LANES) * LANES, d.div_ceil(LANES) * LANES);
    let mut carve = scratch.carve(
        carved_bytes::<f32>(tp * d)
            + carved_bytes::<f32>(tokens * dp)
            + carved_bytes::<f32>(pattern_len(shape))
            + carved_bytes::<f32>(ROWS * tp),
    );
    // Keys as [tokens / 16][d][16], values as [tokens][d padded to 16].
    let keys = carve.take::<f32>(tp * d);
    let values = carve.take::<f32>(tokens * dp);
    let patterns = carve.take::<f32>(pattern_len(shape));
    // SAFETY: the CPU has the level.
    unsafe { I::bias_patterns(job, head, patterns) };
    let scores = carve.take::<f32>(ROWS * tp);
    keys[(tokens / LANES) * LANES * d..].fill(0.0);
    for j in 0..tokens {
        for (c, &k) in job.part(1, head, j).iter().enumerate() {
            keys[(j / LANES * d + c) * LANES + j % LANES] = k;
        }
        let line = &mut values[j * dp..(j + 1) * dp];
        line[..d].copy_from_slice(job.part(2, head, j));
        line[d..].fill(0.0);
    }
    for first in (0..tokens).step_by(ROWS) {
        let rows = ROWS.min(tokens - first);
        let mut q = [[0.0f32; ROWS]; MAX_HEAD_DIM];
        for r in 0..rows {
            let line = &mut scores[r * tp..(r + 1) * tp];
            // SAFETY: the CPU has the level.
            unsafe { I::bias_row(job, head, first + r, patterns, line) };
            for (q, &v) in q.iter_mut().zip(job.part(0, head, first + r)) {
                q[r] = v;
            }
        }
        let mut max = [[f32::NEG_INFINITY; LANES]; ROWS];
        for (p, panel) in keys.chunks_exact(d * LANES).enumerate() {
            // SAFETY: the CPU has the level; keys, the checked line and the maxima have 16 values.
            unsafe {
                let mut acc = [I::Lanes::splat(0.0); ROWS];
                for (q, k) in q.iter().zip(panel.chunks_exact(LANES)) {
                    let k = I::Lanes::load(k.as_ptr());
                    for r in 0..ROWS {
                        acc[r] = k.mul_add(I::Lanes::splat(q[r]), acc[r]);
                    }
                }
                for r in 0..rows {
                    let line = scores[r * tp + p * LANES..][..LANES].as_mut_ptr();
                    let scale = I::Lanes::splat(shape.score_scale());
                    let s = acc[r].mul_add(scale, I::Lanes::load(line));
                    s.store(line);
                    s.larger(I::Lanes::load(max[r].as_ptr())).store(max[r].as_mut_ptr());
                }
            }
        }
        let mut inverse = [0.0f32; ROWS];
        for r in 0..rows {
            inverse[r] = 1.0 / softmax(&mut scores[r * tp..(r + 1) * tp], max[r], tokens);
        }
        for c in (0..dp).step_by(LANES) {
            // SAFETY: the CPU has the level; each line of values has 16 from `c` on; the caller's promise about the output.
            unsafe {
                let mut acc = [I::Lanes::splat(0.0); ROWS];
                for j in 0..tokens {
                    let v = I::Lanes::load(values[j * dp + c..][..LANES].as_ptr());
                    for r in 0..ROWS {
                        acc[r] = v.mul_add(I::Lanes::splat(scores[r * tp + j]), acc[r]);
                    }
                }
                for r in 0..rows {
                    let mut y = [0.0f32; LANES];
                    acc[r].scale(inverse[r]).store(y.as_mut_ptr());
                    let (to, channels) = job.output(head, first + r, c);
                    std::ptr::copy_nonoverlapping(y.as_ptr(), to, channels.min(LANES));
                }
            }
        }
    }
}

/// `2^(score - largest)` in place, 0 for the padding; returns the sum, NaN when a score is not a number.
#[inline(always)]
fn softmax(scores: &mut [f32], max: [f32; LANES], tokens: usize) -> f32 {
    let mut top = max[0];
    for m in max {
        top = larger(m, top);
    }
    let mut sums = [0.0f32; LANES];
    let mut fault = [0.0f32; LANES];
    scores[tokens..].fill(f32::NEG_INFINITY);
    for s in scores.chunks_exact_mut(LANES) {
        let s: &mut [f32; LANES] = s.try_into().expect("LANES scores");
        for l in 0..LANES {
            let t = s[l] - top;
            // -0 or NaN, never infinite: the padding's -infinity is not a fault.
            fault[l] += if t >= f32::NEG_INFINITY { 0.0 } else { f32::NAN };
            s[l] = exp2(t);
            sums[l] += s[l];
        }
        one_chunk_at_a_time();
    }
    tree_sum(sums) + tree_sum(fault)
}
