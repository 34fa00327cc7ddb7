//! Attention with iRPE on queries, keys and values (arXiv 2107.14222): the paper's heaviest baseline, in plain f32.
//!
//! It exists to be compared with, not to be shipped, so it is written to be read.

use super::ops::{f32_input, operator, BUCKETS};
use std::fmt;
use std::sync::Arc;
use tract_core::internal::*;

/// Attention of one block. Tables are for all heads: `k` and `q` are `[heads][head_dim][49]`, `v` is
/// `[heads][49][head_dim]`.
pub(super) struct IrpeAttentionOp {
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    pub(super) side: usize,
    /// `R[side][side]`, one-axis buckets.
    pub(super) buckets: Arc<[u8]>,
    pub(super) k: Vec<f32>,
    pub(super) q: Vec<f32>,
    pub(super) v: Vec<f32>,
}

operator!(IrpeAttend, IrpeAttentionOp, "KfIrpeAttention");

impl IrpeAttend {
    fn output_shape(&self) -> [usize; 2] {
        [self.params.side * self.params.side, self.params.heads * self.params.head_dim]
    }

    fn macs(&self) -> usize {
        2 * self.params.side.pow(4) * self.params.heads * self.params.head_dim
    }

    fn run(&self, inputs: &[TValue], out: &mut [f32]) -> TractResult<()> {
        let qkv = f32_input(inputs, 0)?;
        let op = &*self.params;
        let (tokens, dim, d) = (op.side * op.side, op.heads * op.head_dim, op.head_dim);
        let scale = (d as f32).powf(-0.5);
        let mut weights = vec![0.0; tokens];
        for head in 0..op.heads {
            let part =
                |which: usize, token: usize| &qkv[token * 3 * dim + which * dim + head * d..][..d];
            let table = |tables: &'_ [f32], i: usize| tables[head * d * BUCKETS + i];
            for i in 0..tokens {
                let query = part(0, i);
                for (j, w) in weights.iter_mut().enumerate() {
                    let key = part(1, j);
                    let (there, back) = (op.bucket(i, j), op.bucket(j, i));
                    let sum: f32 = (0..d)
                        .map(|c| {
                            query[c] * (key[c] + table(&op.k, c * BUCKETS + there))
                                + key[c] * table(&op.q, c * BUCKETS + back)
                        })
                        .sum();
                    *w = sum * scale;
                }
                softmax(&mut weights);
                let row = &mut out[i * dim + head * d..][..d];
                for (j, w) in weights.iter().enumerate() {
                    let (value, offset) = (part(2, j), op.bucket(i, j) * d);
                    for (c, o) in row.iter_mut().enumerate() {
                        *o += w * (value[c] + table(&op.v, offset + c));
                    }
                }
            }
        }
        Ok(())
    }
}

impl IrpeAttentionOp {
    fn bucket(&self, i: usize, j: usize) -> usize {
        let axis = |a: usize, b: usize| usize::from(self.buckets[a * self.side + b]);
        axis(i / self.side, j / self.side) * 7 + axis(i % self.side, j % self.side)
    }
}

fn softmax(x: &mut [f32]) {
    let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    x.iter_mut().for_each(|v| *v = (*v - top).exp());
    let sum: f32 = x.iter().sum();
    x.iter_mut().for_each(|v| *v /= sum);
}
