//! Multi-head attention with a key-point bias, one head at a time in cache: `softmax(Q K^T / sqrt(d) + bias) V`.
//!
//! The bias of query `i` and key `j` is one of 49 values of the query, chosen by the bucket of the pair, which is
//! separable: `bucket(i, j) = R[row_i][row_j] * 7 + R[col_i][col_j]`. Only one query's row of it ever exists per tile row.

use super::attention_int8;
use super::isa::Isa;
use super::linear::OutPtr;
use super::numeric::LOG2_E;
use super::pool::{LayerScratch, Pool};
use super::scratch::Scratch;

/// Relative-position buckets per query.
pub const BUCKETS: usize = 49;
/// Buckets along one axis.
pub const AXIS_BUCKETS: usize = 7;
/// One line of a query's table in scratch: 7 values and a pad.
const TABLE_ROW: usize = 8;
const TABLE: usize = AXIS_BUCKETS * TABLE_ROW;
/// Largest grid side: 64 x 64 tokens.
pub const MAX_SIDE: usize = 64;
/// Largest head.
pub const MAX_HEAD_DIM: usize = 64;

/// What is added to the scaled scores before the softmax.
#[derive(Clone, Copy)]
pub enum PositionBias<'a> {
    /// Nothing: a plain ViT.
    None,
    /// KP-RPE, affine in the query's patch centre: `T[i][b] = c[b] + gx(i) * x[b] + gy(i) * y[b]`.
    Affine {
        /// `[heads][49]`: bias minus the key points' share, made once per image.
        constant: &'a [f32],
        /// `[heads][49]`: slope along x.
        x: &'a [f32],
        /// `[heads][49]`: slope along y.
        y: &'a [f32],
        /// `(gx, gy)` of every token.
        centres: &'a [[f32; 2]],
    },
    /// One table `[heads][49]` for all queries.
    Shared {
        /// `[heads][49]`.
        table: &'a [f32],
    },
    /// A table per query, `[heads][tokens][49]`.
    PerQuery {
        /// `[heads][tokens][49]`.
        tables: &'a [f32],
    },
    /// iRPE: `T[i][b] = sum_d q[i][d] * table[d][b]`, with `q` unscaled.
    Contextual {
        /// `[heads][head_dim][49]`.
        table: &'a [f32],
    },
}

/// How the two matrix products of attention are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttentionMath {
    /// Queries, keys, attention weights and values in int8, integer sums.
    Int8,
    /// Everything in f32.
    F32,
}

/// The shape of an attention layer.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// Heads.
    pub heads: usize,
    /// Channels per head: a multiple of 8 in 8..=[`MAX_HEAD_DIM`].
    pub head_dim: usize,
    /// Tokens along one side of the square grid, in 1..=[`MAX_SIDE`]; token `i` is row `i / side`, column `i % side`.
    pub side: usize,
    /// `R[side][side]`, values 0..=6; not read when there is no bias.
    pub buckets: &'a [u8],
    /// The bias.
    pub bias: PositionBias<'a>,
    /// Number format of the products.
    pub math: AttentionMath,
}

impl Attention<'_> {
    /// Tokens of one image.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.side * self.side
    }

    /// Channels of all heads.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Whether sizes and lengths fit together.
    pub(super) fn is_sound(&self) -> bool {
        let (h, tokens) = (self.heads, self.tokens());
        let shape = h > 0
            && h <= 4096
            && (1..=MAX_SIDE).contains(&self.side)
            && self.head_dim.is_multiple_of(8)
            && (8..=MAX_HEAD_DIM).contains(&self.head_dim);
        let table = h * BUCKETS;
        let bias = match self.bias {
            PositionBias::None => return shape,
            PositionBias::Affine { constant, x, y, centres } => {
                constant.len() == table
                    && x.len() == table
                    && y.len() == table
                    && centres.len() == tokens
            }
            PositionBias::Shared { table: t } => t.len() == table,
            PositionBias::PerQuery { tables } => tables.len() == table * tokens,
            PositionBias::Contextual { table: t } => t.len() == table * self.head_dim,
        };
        let buckets = self.buckets.len() == tokens
            && self.buckets.iter().all(|&b| usize::from(b) < AXIS_BUCKETS);
        shape && bias && buckets
    }

    /// Scores are kept as exponents of 2: this turns a plain product into one.
    #[inline(always)]
    pub(super) fn score_scale(&self) -> f32 {
        LOG2_E / (self.head_dim as f32).sqrt()
    }
}

/// One image's attention being computed.
pub(super) struct Job<'a> {
    pub(super) shape: Attention<'a>,
    pub(super) qkv: &'a [f32],
    pub(super) out: OutPtr,
}

impl<'a> Job<'a> {
    /// Token `i` of q (0), k (1) or v (2) of a head.
    #[inline(always)]
    pub(super) fn part(&self, which: usize, head: usize, i: usize) -> &'a [f32] {
        let (dim, d) = (self.shape.dim(), self.shape.head_dim);
        let at = i * 3 * dim + which * dim + head * d;
        &self.qkv[at..at + d]
    }

    /// Writes `head`'s channels of token `i` from channel `c` on; what lies beyond the head is dropped.
    ///
    /// # Safety
    /// `job.out` has `tokens * dim` values and nobody else writes this head's channels.
    #[inline(always)]
    pub(super) unsafe fn store(&self, head: usize, i: usize, c: usize, y: &[f32]) {
        let (dim, d) = (self.shape.dim(), self.shape.head_dim);
        let count = y.len().min(d - c);
        // SAFETY: the caller's promise.
        unsafe {
            std::ptr::copy_nonoverlapping(y.as_ptr(), self.out.0.add(i * dim + head * d + c), count)
        }
    }
}

/// One head as the level's table holds it: `(job, head, scratch)`.
pub(super) type HeadFn = unsafe fn(&Job<'_>, usize, &mut Scratch);

/// Runs all heads on the pool.
///
/// # Safety
/// The CPU has the level of `head`; `job` is checked and its output exclusively borrowed.
pub(super) unsafe fn run(head: HeadFn, pool: &Pool, job: &Job<'_>) {
    let mut layer = pool.layer();
    let LayerScratch { own, .. } = &mut *layer;
    pool.run(own, job.shape.heads, &|h, scratch| {
        // SAFETY: head `h` owns its channels of the output; the CPU has the level.
        unsafe { head(job, h, scratch) }
    });
}

/// What [`bias_row`] needs for its patterns.
pub(super) const fn pattern_len(side: usize) -> usize {
    AXIS_BUCKETS * side
}

/// Writes the bias of query `i` in units of a power of 2 to the first `tokens` values of `row`, -infinity to the rest.
#[inline(always)]
pub(super) fn bias_row(
    job: &Job<'_>,
    head: usize,
    i: usize,
    patterns: &mut [f32],
    row: &mut [f32],
) {
    let shape = &job.shape;
    let (side, tokens) = (shape.side, shape.tokens());
    row[tokens..].fill(f32::NEG_INFINITY);
    // Seven lines of seven values, each padded to eight.
    let mut t = [0.0f32; TABLE];
    let of_head = |t: &[f32]| -> [f32; BUCKETS] {
        t[head * BUCKETS..][..BUCKETS].try_into().expect("49 values")
    };
    let flat = match shape.bias {
        PositionBias::None => {
            row[..tokens].fill(0.0);
            return;
        }
        PositionBias::Affine { constant, x, y, centres } => {
            let (mut t, x, y, [gx, gy]) = (of_head(constant), of_head(x), of_head(y), centres[i]);
            for b in 0..BUCKETS {
                t[b] = gy.mul_add(y[b], gx.mul_add(x[b], t[b])) * LOG2_E;
            }
            t
        }
        PositionBias::Shared { table } => of_head(table).map(|v| v * LOG2_E),
        PositionBias::PerQuery { tables } => {
            let t = &tables[(head * tokens + i) * BUCKETS..];
            t.first_chunk::<BUCKETS>().expect("49 values").map(|v| v * LOG2_E)
        }
        PositionBias::Contextual { table } => {
            let mut t = [0.0f32; BUCKETS];
            let table = &table[head * shape.head_dim * BUCKETS..];
            for (q, line) in job.part(0, head, i).iter().zip(table.chunks_exact(BUCKETS)) {
                for b in 0..BUCKETS {
                    t[b] = q.mul_add(line[b], t[b]);
                }
            }
            t.map(|v| v * LOG2_E)
        }
    };
    for (line, t) in t.chunks_exact_mut(TABLE_ROW).zip(flat.chunks_exact(AXIS_BUCKETS)) {
        line[..AXIS_BUCKETS].copy_from_slice(t);
    }
    // Seven patterns along a row of keys, one per bucket of rows; then each row of keys copies its own.
    let columns = &shape.buckets[(i % side) * side..][..side];
    for (pattern, line) in patterns.chunks_exact_mut(side).zip(t.chunks_exact(TABLE_ROW)) {
        let line: &[f32; TABLE_ROW] = line.try_into().expect("8 values");
        for (p, &b) in pattern.iter_mut().zip(columns) {
            // Always below 7 (checked once per layer); the mask spares the bounds check.
            *p = line[usize::from(b) % TABLE_ROW];
        }
    }
    let rows = &shape.buckets[(i / side) * side..][..side];
    for (keys, &b) in row[..tokens].chunks_exact_mut(side).zip(rows) {
        copy_row(keys, &patterns[usize::from(b) * side..][..side]);
    }
}

/// Copies a few values without a call.
#[inline(always)]
fn copy_row(to: &mut [f32], from: &[f32]) {
    let (mut to, mut from) = (to.chunks_exact_mut(4), from.chunks_exact(4));
    for (to, from) in (&mut to).zip(&mut from) {
        let from: [f32; 4] = from.try_into().expect("4 values");
        to.copy_from_slice(&from);
    }
    for (to, from) in to.into_remainder().iter_mut().zip(from.remainder()) {
        *to = *from;
    }
}

/// One head in either number format.
///
/// # Safety
/// The CPU has the level; `job` is checked; nobody else writes this head's output.
#[inline(always)]
pub(super) unsafe fn head<I: Isa>(job: &Job<'_>, head: usize, scratch: &mut Scratch) {
    // SAFETY: the caller's promise.
    unsafe {
        match job.shape.math {
            AttentionMath::Int8 => attention_int8::head::<I>(job, head, scratch),
            AttentionMath::F32 => I::head_f32(job, head, scratch),
        }
    }
}
