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

    /// Where `head`'s channels of token `i` from `c` on go, and how many of the head there are. The caller owns them.
    #[inline(always)]
    pub(super) fn output(&self, head: usize, i: usize, c: usize) -> (*mut f32, usize) {
        let (dim, d) = (self.shape.dim(), self.shape.head_dim);
        (self.out.0.wrapping_add(i * dim + head * d + c), d - c)
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
