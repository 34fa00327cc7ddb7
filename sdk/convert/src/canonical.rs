//! A checkpoint's tensors as the engine wants them: row-major matrices, batch norms folded, canonical names.
//!
//! | name | shape | what |
//! |---|---|---|
//! | `stem.I.weight`, `.bias` | `[n, k]`, `[n]` | patch stem: I = 0, k in the order channel, y, x; convolution stem: k in the order y, x, channel |
//! | `pos_embed` | `[tokens, dim]` | |
//! | `blocks.B.norm1`, `.norm2` (`.weight`, `.bias`) | `[dim]` | |
//! | `blocks.B.qkv.weight` | `[3 dim, dim]` | queries, keys, values; heads within each |
//! | `blocks.B.proj`, `.fc1`, `.fc2` (`.weight`, `.bias`) | | |
//! | `blocks.B.rpe_k`, `.rpe_q`; `.rpe_v` | `[1 or heads, head dim, 49]`; `[1 or heads, 49, head dim]` | iRPE tables |
//! | `norm.weight`, `.bias` | `[dim]` | |
//! | `head.0`, `head.1` (`.weight`, `.bias`) | `[hidden, tokens dim]`, `[out, hidden]` | batch norms folded |
//! | `rpe.weight`, `.bias` | `[tables 49, 2 key points]` | rows in the order block, head, bucket: the checkpoints' own |

use crate::checkpoint::Checkpoint;
use anyhow::Result;
use keyface::pack::{RecogniserManifest, Rpe, Stem};

/// Epsilon of the batch norms behind the head's two layers.
const HEAD_BN_EPS: f64 = 2e-5;
/// Epsilon of the convolution stem's batch norms: PyTorch's default.
const STEM_BN_EPS: f64 = 1e-5;

/// One canonical tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Canonical name.
    pub name: String,
    /// Dimensions, outermost first.
    pub dims: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

impl Tensor {
    /// Whether an int8 pack stores this as int8: the matrices of linear layers.
    #[must_use]
    pub fn is_matrix(&self) -> bool {
        self.dims.len() == 2 && self.name.ends_with(".weight") && self.name != "rpe.weight"
    }
}

/// Hands every canonical tensor to `take`, in file order, holding one at a time.
///
/// # Errors
/// When a tensor cannot be read, or what `take` returns.
pub fn each(
    checkpoint: &Checkpoint,
    m: &RecogniserManifest,
    mut take: impl FnMut(Tensor) -> Result<()>,
) -> Result<()> {
    let read = |name: &str| checkpoint.f32(name);
    let mut emit = |name: String, dims: &[usize], values: Vec<f32>| {
        debug_assert_eq!(values.len(), dims.iter().product::<usize>());
        take(Tensor { name, dims: dims.to_vec(), values })
    };
    let d = m.embed_dim;
    match &m.stem {
        Stem::Patch { size } => {
            let k = 3 * size * size;
            emit("stem.0.weight".into(), &[d, k], read("patch_embed.proj.weight")?)?;
            emit("stem.0.bias".into(), &[d], read("patch_embed.proj.bias")?)?;
        }
        Stem::Conv { channels } => {
            let mut from = 3;
            for (i, &to) in channels.iter().enumerate() {
                let weight = window_order(&read(&format!("stem.{i}.conv.weight"))?, from, 9);
                let norm = BatchNorm::read(checkpoint, &format!("stem.{i}.bn"), STEM_BN_EPS)?;
                let (weight, bias) = norm.fold(weight);
                emit(format!("stem.{i}.weight"), &[to, 9 * from], weight)?;
                emit(format!("stem.{i}.bias"), &[to], bias)?;
                from = to;
            }
        }
    }
    emit("pos_embed".into(), &[m.tokens(), d], read("pos_embed")?)?;
    if matches!(m.rpe, Rpe::Kprpe { .. }) {
        let bias = read("keypoint_linear.bias")?;
        let weight = read("keypoint_linear.weight")?;
        emit("rpe.weight".into(), &[bias.len(), weight.len() / bias.len()], weight)?;
        emit("rpe.bias".into(), &[bias.len()], bias)?;
    }
    for b in 0..m.depth {
        let mut same = |to: &str, from: &str, dims: &[usize]| {
            emit(format!("blocks.{b}.{to}"), dims, read(&format!("blocks.{b}.{from}"))?)
        };
        same("norm1.weight", "norm1.weight", &[d])?;
        same("norm1.bias", "norm1.bias", &[d])?;
        same("qkv.weight", "attn.qkv.weight", &[3 * d, d])?;
        for leaf in ["rpe_k", "rpe_q", "rpe_v"] {
            let from = format!("attn.{leaf}.lookup_table_weight");
            if let Some(shape) = checkpoint.shape(&format!("blocks.{b}.{from}")) {
                same(leaf, &from, shape)?;
            }
        }
        same("proj.weight", "attn.proj.weight", &[d, d])?;
        same("proj.bias", "attn.proj.bias", &[d])?;
        same("norm2.weight", "norm2.weight", &[d])?;
        same("norm2.bias", "norm2.bias", &[d])?;
        same("fc1.weight", "mlp.fc1.weight", &[m.mlp_dim, d])?;
        same("fc1.bias", "mlp.fc1.bias", &[m.mlp_dim])?;
        same("fc2.weight", "mlp.fc2.weight", &[d, m.mlp_dim])?;
        same("fc2.bias", "mlp.fc2.bias", &[d])?;
    }
    emit("norm.weight".into(), &[d], read("norm.weight")?)?;
    emit("norm.bias".into(), &[d], read("norm.bias")?)?;
    let layers = [(m.hidden_dim, m.tokens() * d), (m.output_dim, m.hidden_dim)];
    for (i, (n, k)) in layers.into_iter().enumerate() {
        let norm = BatchNorm::read(checkpoint, &format!("feature.{}", 2 * i + 1), HEAD_BN_EPS)?;
        let (weight, bias) = norm.fold(read(&format!("feature.{}.weight", 2 * i))?);
        emit(format!("head.{i}.weight"), &[n, k], weight)?;
        emit(format!("head.{i}.bias"), &[n], bias)?;
    }
    Ok(())
}

/// Reorders a convolution's weights `[n][c][window]` to `[n][window][c]`; `window` is 9 for 3 x 3.
pub(crate) fn window_order(weight: &[f32], channels: usize, window: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(weight.len());
    for kernel in weight.chunks_exact(window * channels) {
        out.extend((0..window).flat_map(|at| (0..channels).map(move |c| kernel[c * window + at])));
    }
    out
}

/// A batch norm in inference: `y = x * scale + shift`, in double precision.
pub(crate) struct BatchNorm {
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl BatchNorm {
    pub(crate) fn read(checkpoint: &Checkpoint, name: &str, eps: f64) -> Result<BatchNorm> {
        let values = |leaf: &str| checkpoint.f32(&format!("{name}.{leaf}"));
        let (gamma, beta) = (values("weight")?, values("bias")?);
        let (mean, variance) = (values("running_mean")?, values("running_var")?);
        let scale: Vec<f64> = gamma
            .iter()
            .zip(&variance)
            .map(|(g, v)| f64::from(*g) / (f64::from(*v).max(0.0) + eps).sqrt())
            .collect();
        let shift = beta
            .iter()
            .zip(&mean)
            .zip(&scale)
            .map(|((b, m), s)| f64::from(*b) - f64::from(*m) * s)
            .collect();
        Ok(BatchNorm { scale, shift })
    }

    /// Multiplies the rows of a weight that stands before this norm; returns it and the bias it gets.
    pub(crate) fn fold(&self, mut weight: Vec<f32>) -> (Vec<f32>, Vec<f32>) {
        let k = weight.len() / self.scale.len();
        for (row, scale) in weight.chunks_exact_mut(k).zip(&self.scale) {
            row.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
        }
        (weight, self.shift.iter().map(|s| *s as f32).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_run_over_channels_last() {
        let weight: Vec<f32> = (0..18).map(|i| i as f32).collect(); // one kernel, two channels
        let out = window_order(&weight, 2, 9);
        assert_eq!(out[..4], [0.0, 9.0, 1.0, 10.0]);
        assert_eq!(out[17], 17.0);
    }

    #[test]
    fn folding_matches_the_norm_by_hand() {
        // gamma 2, variance 4, mean 3, beta 1: y = (x - 3) + 1
        let norm = BatchNorm { scale: vec![1.0, 2.0], shift: vec![-2.0, 0.5] };
        let (weight, bias) = norm.fold(vec![1.0, 2.0, 3.0, 4.0]);
        assert_eq!(weight, [1.0, 2.0, 6.0, 8.0]);
        assert_eq!(bias, [-2.0, 0.5]);
    }
}
