//! Rows of the key-point bias: the 49 values of a query spread over the keys.
//!
//! `bucket(i, j) = R[row_i][row_j] * 7 + R[col_i][col_j]`, so a query needs seven *patterns* of `side` values, one per bucket
//! of rows, and each row of keys is a copy of one of them. Where tables are affine, the gathering depends only on the query's
//! column: it is done once per column and head, and a query's patterns are two fused steps per value.

use super::attention::{Attention, Job, PositionBias, AXIS_BUCKETS, BUCKETS};
use super::numeric::{one_chunk_at_a_time, LANES, LOG2_E};

/// Values of a query's patterns, padded to whole vectors.
const fn pattern_stride(side: usize) -> usize {
    (AXIS_BUCKETS * side).div_ceil(LANES) * LANES
}

/// Scratch of [`prepare`] and [`row`]: one query's patterns, then those of every column for each of three tables.
pub(super) const fn pattern_len(shape: &Attention<'_>) -> usize {
    pattern_stride(shape.side) * (1 + 3 * shape.side)
}

/// `pattern[r * side + j] = table[r * 7 + R[column][j]]`.
#[inline(always)]
fn gather(shape: &Attention<'_>, column: usize, table: &[f32; BUCKETS], pattern: &mut [f32]) {
    let buckets = &shape.buckets[column * shape.side..][..shape.side];
    for (pattern, line) in
        pattern.chunks_exact_mut(shape.side).zip(table.chunks_exact(AXIS_BUCKETS))
    {
        // Buckets are below 7 (checked once per layer); a line of eight and a mask spare the bounds check.
        let mut eight = [0.0; 8];
        eight[..AXIS_BUCKETS].copy_from_slice(line);
        for (p, &b) in pattern.iter_mut().zip(buckets) {
            *p = eight[usize::from(b) % 8];
        }
    }
}

/// The 49 values of `head` in a table of all heads, in units of a power of 2.
#[inline(always)]
fn of_head(table: &[f32], head: usize) -> [f32; BUCKETS] {
    let table: [f32; BUCKETS] = table[head * BUCKETS..][..BUCKETS].try_into().expect("49 values");
    table.map(|v| v * LOG2_E)
}

/// What all queries of a head share: gathered tables for each column.
#[inline(always)]
pub(super) fn prepare(job: &Job<'_>, head: usize, scratch: &mut [f32]) {
    let shape = &job.shape;
    let stride = pattern_stride(shape.side);
    let zeros = [0.0; BUCKETS];
    let tables = match shape.bias {
        PositionBias::Affine { constant, x, y, .. } => {
            [of_head(constant, head), of_head(x, head), of_head(y, head)]
        }
        PositionBias::Shared { table } => [of_head(table, head), zeros, zeros],
        _ => return,
    };
    // Paddings are read by whole vectors: they must hold numbers.
    scratch.fill(0.0);
    for (column, patterns) in scratch[stride..].chunks_exact_mut(3 * stride).enumerate() {
        for (pattern, table) in patterns.chunks_exact_mut(stride).zip(&tables) {
            gather(shape, column, table, pattern);
        }
    }
}

/// Writes the bias of query `i` in units of a power of 2 to the first `tokens` values of `row`, -infinity to the rest.
/// `scratch` has been through [`prepare`] for this head.
#[inline(always)]
pub(super) fn row(job: &Job<'_>, head: usize, i: usize, scratch: &mut [f32], row: &mut [f32]) {
    let shape = &job.shape;
    let (side, tokens) = (shape.side, shape.tokens());
    let stride = pattern_stride(side);
    let (own, columns) = scratch.split_at_mut(stride);
    let prepared = &columns[(i % side) * 3 * stride..][..3 * stride];
    let (row, padding) = row.split_at_mut(tokens);
    padding.fill(f32::NEG_INFINITY);
    let patterns: &[f32] = match shape.bias {
        PositionBias::None => {
            row.fill(0.0);
            return;
        }
        PositionBias::Shared { .. } => &prepared[..stride],
        PositionBias::Affine { centres, .. } => {
            let [gx, gy] = centres[i];
            let (constant, slopes) = prepared.split_at(stride);
            let (x, y) = slopes.split_at(stride);
            let chunks =
                constant.chunks_exact(LANES).zip(x.chunks_exact(LANES)).zip(y.chunks_exact(LANES));
            for (((c, x), y), to) in chunks.zip(own.chunks_exact_mut(LANES)) {
                let lanes = |v: &[f32]| -> [f32; LANES] { v.try_into().expect("LANES values") };
                let (c, x, y, mut t) = (lanes(c), lanes(x), lanes(y), [0.0; LANES]);
                for l in 0..LANES {
                    t[l] = gy.mul_add(y[l], gx.mul_add(x[l], c[l]));
                }
                to.copy_from_slice(&t);
                one_chunk_at_a_time();
            }
            own
        }
        PositionBias::PerQuery { tables } => {
            gather(shape, i % side, &of_head(tables, head * tokens + i), own);
            own
        }
        PositionBias::Contextual { table } => {
            let mut t = [0.0f32; BUCKETS];
            let table = &table[head * shape.head_dim * BUCKETS..];
            for (q, line) in job.part(0, head, i).iter().zip(table.chunks_exact(BUCKETS)) {
                let line: &[f32; BUCKETS] = line.try_into().expect("49 values");
                for b in 0..BUCKETS {
                    t[b] = q.mul_add(line[b], t[b]);
                }
            }
            gather(shape, i % side, &t.map(|v| v * LOG2_E), own);
            own
        }
    };
    let buckets = &shape.buckets[(i / side) * side..][..side];
    match side {
        14 => spread::<14>(patterns, buckets, row),
        7 => spread::<7>(patterns, buckets, row),
        _ => {
            for (keys, &b) in row.chunks_exact_mut(side).zip(buckets) {
                keys.copy_from_slice(&patterns[usize::from(b) * side..][..side]);
            }
        }
    }
}

/// Each row of keys becomes its bucket's pattern; the usual sides have copies of a known length.
#[inline(always)]
fn spread<const SIDE: usize>(patterns: &[f32], buckets: &[u8], row: &mut [f32]) {
    let patterns = patterns.as_chunks::<SIDE>().0;
    for (keys, &b) in row.as_chunks_mut::<SIDE>().0.iter_mut().zip(buckets) {
        *keys = patterns[usize::from(b)];
    }
}
