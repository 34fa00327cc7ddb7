//! The fused operators that the recogniser's graph is wired from, as tract operators around our kernels.

use super::weights::{LinearParams, Matrix, Norm, Values, NORM_EPS};
use crate::kernel::{sgemm, Attention, AttentionMath, Fused, Kernels, Pool, PositionBias, Weights};
use std::fmt;
use std::sync::Arc;
use tract_core::internal::*;

/// What every operator needs to run: the CPU level's kernels and the session's threads.
#[derive(Clone)]
pub(super) struct Exec {
    pub(super) kernels: &'static Kernels,
    pub(super) pool: Arc<Pool>,
}

/// Declares a tract operator whose parameters live behind one `Arc` and whose identity is that `Arc`'s; `exec` gives it
/// kernels and threads.
macro_rules! operator {
    ($op:ident, $params:ty, $name:literal $(, $exec:ident)?) => {
        #[derive(Clone)]
        pub(super) struct $op {
            pub(super) params: Arc<$params>,
            $(pub(super) $exec: Exec,)?
        }

        impl fmt::Debug for $op {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($name)
            }
        }

        impl PartialEq for $op {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.params, &other.params)
            }
        }

        impl Eq for $op {}

        impl Op for $op {
            fn name(&self) -> StaticName {
                $name.into()
            }
            op_as_typed_op!();
        }

        impl EvalOp for $op {
            not_out_of_plan!();

            fn eval(&self, _ctx: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
                let mut out = Tensor::zero::<f32>(&self.output_shape())?;
                self.run(&inputs, out.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?)?;
                Ok(tvec!(out.into_tvalue()))
            }
        }

        impl TypedOp for $op {
            fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
                Ok(tvec!(f32::fact(&self.output_shape())))
            }

            fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
                Ok(tvec!((Cost::FMA(f32::datum_type()), self.macs().to_dim())))
            }
            as_op!();
        }
    };
}
pub(super) use operator;

pub(super) fn f32_input(inputs: &[TValue], index: usize) -> TractResult<&[f32]> {
    inputs[index].try_as_plain_ram()?.as_slice::<f32>()
}

pub(super) fn failed(e: crate::Error) -> TractError {
    format_err!("{e}")
}

/// `[LayerNorm ->] x W^T + b [-> ReLU6] [+ residual] [+ constant]`, rows by columns.
pub(super) struct LinearOp {
    pub(super) layer: LinearParams,
    pub(super) rows: usize,
}

operator!(Linear, LinearOp, "KfLinear", exec);

impl Linear {
    fn output_shape(&self) -> [usize; 2] {
        [self.params.rows, self.params.layer.n]
    }

    fn macs(&self) -> usize {
        self.params.rows * self.params.layer.n * self.params.layer.k
    }

    fn run(&self, inputs: &[TValue], out: &mut [f32]) -> TractResult<()> {
        let LinearOp { layer, rows } = &*self.params;
        let x = f32_input(inputs, 0)?;
        let residual = match (&layer.constant, inputs.len()) {
            (Some(constant), _) => Some(constant.as_slice()),
            (None, 2) => Some(f32_input(inputs, 1)?),
            (None, _) => None,
        };
        match &layer.matrix {
            Matrix::Int8 { pack, panels, scales } => {
                let packed = bytemuck::cast_slice(pack.range(panels));
                let weights = Weights::new(
                    packed,
                    scales.as_slice(),
                    layer.bias.as_slice(),
                    layer.n,
                    layer.k,
                )
                .map_err(failed)?;
                let norm = layer.norm.as_ref().map(Norm::as_kernel);
                let fused = Fused { norm, relu6: layer.relu6, residual };
                self.exec
                    .kernels
                    .linear(&self.exec.pool, x, *rows, &weights, &fused, out)
                    .map_err(failed)
            }
            Matrix::F32(w) => {
                let normed;
                let x = match &layer.norm {
                    Some(norm) => {
                        normed = layer_norm(x, norm);
                        &normed
                    }
                    None => x,
                };
                sgemm(*rows, layer.k, layer.n, x, w.as_slice(), out);
                epilogue(out, layer, residual);
                Ok(())
            }
        }
    }
}

/// The reference LayerNorm: f64 sums, one row after the other.
fn layer_norm(x: &[f32], norm: &Norm) -> Vec<f32> {
    let (gamma, beta) = (norm.gamma.as_slice(), norm.beta.as_slice());
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(gamma.len()) {
        let count = row.len() as f64;
        let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let variance = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
        let factor = 1.0 / (variance + f64::from(NORM_EPS)).sqrt();
        let scaled = row.iter().zip(gamma).zip(beta);
        out.extend(scaled.map(|((v, g), b)| ((f64::from(*v) - mean) * factor) as f32 * g + b));
    }
    out
}

fn epilogue(out: &mut [f32], layer: &LinearParams, residual: Option<&[f32]>) {
    for row in out.chunks_exact_mut(layer.n) {
        for (y, b) in row.iter_mut().zip(layer.bias.as_slice()) {
            *y += b;
            if layer.relu6 {
                *y = y.clamp(0.0, 6.0);
            }
        }
    }
    if let Some(residual) = residual {
        for (y, r) in out.iter_mut().zip(residual) {
            *y += r;
        }
    }
}

/// The final LayerNorm.
pub(super) struct LayerNormOp {
    pub(super) norm: Norm,
    pub(super) rows: usize,
    pub(super) exact: bool,
}

operator!(LayerNorm, LayerNormOp, "KfLayerNorm", exec);

impl LayerNorm {
    fn output_shape(&self) -> [usize; 2] {
        [self.params.rows, self.params.norm.gamma.as_slice().len()]
    }

    fn macs(&self) -> usize {
        0
    }

    fn run(&self, inputs: &[TValue], out: &mut [f32]) -> TractResult<()> {
        let x = f32_input(inputs, 0)?;
        if self.params.exact {
            out.copy_from_slice(&layer_norm(x, &self.params.norm));
            return Ok(());
        }
        self.exec.kernels.layer_norm(x, &self.params.norm.as_kernel(), out).map_err(failed)
    }
}

/// The per-image share of the KP-RPE tables: `c[o] = bias[o] - sum_p W[o][p] * keypoint[p]` for every block, head and
/// bucket (arXiv 2403.14852, eq. 7, with the patch centre's share split off).
pub(super) struct KeypointTableOp {
    /// `[tables][49][2 * num_keypoints]`.
    pub(super) weight: Values,
    /// `[tables][49]`.
    pub(super) bias: Values,
    /// Which stored table serves each `(block, head)`.
    pub(super) table_of: Vec<usize>,
}

operator!(KeypointTable, KeypointTableOp, "KfKeypointTable");

/// Relative-position buckets of a query.
pub(super) const BUCKETS: usize = crate::kernel::BUCKETS;

impl KeypointTable {
    fn output_shape(&self) -> [usize; 2] {
        [self.params.table_of.len(), BUCKETS]
    }

    fn macs(&self) -> usize {
        self.params.weight.as_slice().len()
    }

    fn run(&self, inputs: &[TValue], out: &mut [f32]) -> TractResult<()> {
        self.params.fill(f32_input(inputs, 0)?, out);
        Ok(())
    }
}

impl KeypointTableOp {
    /// The constants of all blocks and heads, `[depth * heads][49]`, for key points `x0, y0, x1, ..`.
    pub(super) fn constants(&self, keypoints: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.table_of.len() * BUCKETS];
        self.fill(keypoints, &mut out);
        out
    }

    fn fill(&self, keypoints: &[f32], out: &mut [f32]) {
        let (weight, bias) = (self.weight.as_slice(), self.bias.as_slice());
        let per_row = weight.len() / bias.len();
        let keypoints = &keypoints[..per_row];
        for (out, table) in out.chunks_exact_mut(BUCKETS).zip(&self.table_of) {
            for (b, out) in out.iter_mut().enumerate() {
                let o = table * BUCKETS + b;
                let row = &weight[o * per_row..][..per_row];
                *out = row.iter().zip(keypoints).fold(bias[o], |sum, (w, k)| sum - w * k);
            }
        }
    }
}

/// Attention of one block.
pub(super) struct AttentionOp {
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    pub(super) side: usize,
    /// `R[side][side]`, one-axis buckets.
    pub(super) buckets: Arc<[u8]>,
    pub(super) bias: Bias,
    pub(super) math: AttentionMath,
}

/// Position bias of one block, as stored.
pub(super) enum Bias {
    None,
    /// KP-RPE: slopes of this block; the constants come as the second input, from row `first` on.
    Keypoints {
        x: Vec<f32>,
        y: Vec<f32>,
        centres: Arc<[[f32; 2]]>,
        first: usize,
    },
    /// iRPE on keys, `[heads][head_dim][49]`.
    Contextual(Vec<f32>),
}

operator!(Attend, AttentionOp, "KfAttention", exec);

impl Attend {
    fn output_shape(&self) -> [usize; 2] {
        [self.params.side * self.params.side, self.params.heads * self.params.head_dim]
    }

    /// Queries by keys and weights by values; the position bias is not counted.
    fn macs(&self) -> usize {
        2 * self.params.side.pow(4) * self.params.heads * self.params.head_dim
    }

    fn run(&self, inputs: &[TValue], out: &mut [f32]) -> TractResult<()> {
        let op = &*self.params;
        let bias = match &op.bias {
            Bias::None => PositionBias::None,
            Bias::Contextual(table) => PositionBias::Contextual { table },
            Bias::Keypoints { x, y, centres, first } => {
                let constant = &f32_input(inputs, 1)?[first * BUCKETS..][..op.heads * BUCKETS];
                PositionBias::Affine { constant, x, y, centres }
            }
        };
        let shape = Attention {
            heads: op.heads,
            head_dim: op.head_dim,
            side: op.side,
            buckets: &op.buckets,
            bias,
            math: op.math,
        };
        self.exec
            .kernels
            .attention(&self.exec.pool, f32_input(inputs, 0)?, &shape, out)
            .map_err(failed)
    }
}
