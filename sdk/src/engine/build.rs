//! Wires the recogniser's graph from a pack's tensors.

use super::irpe::{IrpeAttend, IrpeAttentionOp};
use super::ops::{
    Attend, AttentionOp, Bias, Exec, KeypointTable, KeypointTableOp, LayerNorm, LayerNormOp,
    Linear, LinearOp, BUCKETS,
};
use super::stem::{Patches, PatchesOp, Windows, WindowsOp};
use super::weights::{LinearParams, Norm, Values};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::AttentionMath;
use crate::pack::{Pack, Precision, RecogniserManifest, Rpe, Stem};
use std::sync::Arc;
use tract_core::internal::*;

/// Everything derived from a pack once, shared by all sessions.
pub(super) struct Network {
    stem: Vec<(StemInput, Arc<LinearOp>)>,
    tables: Option<Arc<KeypointTableOp>>,
    blocks: Vec<BlockOps>,
    norm: Arc<LayerNormOp>,
    head: [Arc<LinearOp>; 2],
    input_size: usize,
}

enum StemInput {
    Patches(Arc<PatchesOp>),
    Windows(Arc<WindowsOp>),
}

struct BlockOps {
    qkv: Arc<LinearOp>,
    attention: BlockAttention,
    proj: Arc<LinearOp>,
    fc1: Arc<LinearOp>,
    fc2: Arc<LinearOp>,
}

enum BlockAttention {
    Fused(Arc<AttentionOp>),
    Irpe(Arc<IrpeAttentionOp>),
}

/// The one-axis bucket of an offset: iRPE's piecewise index (arXiv 2107.14222, eq. 18) with alpha 1.9, beta 3.8 and
/// gamma 15.2, shifted to 0..=6.
fn axis_bucket(offset: isize) -> u8 {
    const ALPHA: f64 = 1.9;
    const BETA: f64 = 2.0 * ALPHA;
    const GAMMA: f64 = 8.0 * ALPHA;
    let size = offset.unsigned_abs() as f64;
    let squashed = if size <= ALPHA {
        size
    } else {
        let far = ALPHA + (size / ALPHA).ln() / (GAMMA / ALPHA).ln() * (BETA - ALPHA);
        far.round_ties_even().min(BETA.floor())
    };
    (3.0 + squashed.copysign(offset as f64)) as u8
}

fn axis_buckets(side: usize) -> Arc<[u8]> {
    (0..side * side).map(|i| axis_bucket((i / side) as isize - (i % side) as isize)).collect()
}

/// Patch centres `(x, y)` in 0..1, row-major.
fn centres(side: usize) -> Arc<[[f32; 2]]> {
    let at = |i: usize| (i as f32 + 0.5) / side as f32;
    (0..side * side).map(|i| [at(i % side), at(i / side)]).collect()
}

impl Network {
    pub(super) fn load(pack: &Arc<Pack>, m: &RecogniserManifest) -> Result<Network> {
        let p = m.precision;
        let (tokens, dim, side) = (m.tokens(), m.embed_dim, m.grid());
        let linear = |name: &str, size, bias| LinearParams::from_pack(pack, name, size, p, bias);
        let op = |layer, rows| Arc::new(LinearOp { layer, rows });

        let mut stem = Vec::new();
        match &m.stem {
            Stem::Patch { size } => {
                let layer = linear("stem.0", (dim, 3 * size * size), true)?;
                let input = PatchesOp { size: m.input_size, patch: *size };
                stem.push((StemInput::Patches(Arc::new(input)), layer, tokens));
            }
            Stem::Conv { channels } => {
                let (mut size, mut from) = (m.input_size, 3);
                for (i, &to) in channels.iter().enumerate() {
                    let mut layer = linear(&format!("stem.{i}"), (to, 9 * from), true)?;
                    layer.relu6 = i + 1 < channels.len();
                    let input = WindowsOp { size, channels: from, image: i == 0 };
                    size /= 2;
                    stem.push((StemInput::Windows(Arc::new(input)), layer, size * size));
                    from = to;
                }
            }
        }
        if let Some((_, last, _)) = stem.last_mut() {
            last.constant = Some(Values::from_pack(pack, "pos_embed", tokens * dim)?);
        }
        let stem = stem.into_iter().map(|(input, layer, rows)| (input, op(layer, rows))).collect();

        let tables = keypoint_tables(pack, m)?;
        let buckets = axis_buckets(side);
        let centres = centres(side);
        let mut blocks = Vec::with_capacity(m.depth);
        for b in 0..m.depth {
            let name = |leaf: &str| format!("blocks.{b}.{leaf}");
            let mut qkv = linear(&name("qkv"), (3 * dim, dim), false)?;
            qkv.norm = Some(Norm::from_pack(pack, &name("norm1"), dim)?);
            let mut fc1 = linear(&name("fc1"), (m.mlp_dim, dim), true)?;
            fc1.norm = Some(Norm::from_pack(pack, &name("norm2"), dim)?);
            fc1.relu6 = true;
            let (heads, head_dim, buckets) = (m.num_heads, dim / m.num_heads, buckets.clone());
            let attention = if m.rpe == Rpe::IrpeQkv {
                let table = |leaf| irpe_table(pack, &name(leaf), m);
                let (k, q, v) = (table("rpe_k")?, table("rpe_q")?, table("rpe_v")?);
                BlockAttention::Irpe(Arc::new(IrpeAttentionOp {
                    heads,
                    head_dim,
                    side,
                    buckets,
                    k,
                    q,
                    v,
                }))
            } else {
                let bias = match (&tables, m.rpe) {
                    (Some(tables), _) => slopes(tables, b * heads, heads, &centres),
                    (None, Rpe::IrpeK) => {
                        let scale = (head_dim as f32).powf(-0.5);
                        Bias::Contextual(
                            irpe_table(pack, &name("rpe_k"), m)?
                                .iter()
                                .map(|v| v * scale)
                                .collect(),
                        )
                    }
                    (None, _) => Bias::None,
                };
                let math = match p {
                    Precision::F32 => AttentionMath::F32,
                    Precision::Int8 => AttentionMath::Int8,
                };
                BlockAttention::Fused(Arc::new(AttentionOp {
                    heads,
                    head_dim,
                    side,
                    buckets,
                    bias,
                    math,
                }))
            };
            blocks.push(BlockOps {
                qkv: op(qkv, tokens),
                attention,
                proj: op(linear(&name("proj"), (dim, dim), true)?, tokens),
                fc1: op(fc1, tokens),
                fc2: op(linear(&name("fc2"), (dim, m.mlp_dim), true)?, tokens),
            });
        }
        let norm = LayerNormOp {
            norm: Norm::from_pack(pack, "norm", dim)?,
            rows: tokens,
            exact: p == Precision::F32,
        };
        let head = [
            op(linear("head.0", (m.hidden_dim, tokens * dim), true)?, 1),
            op(linear("head.1", (m.output_dim, m.hidden_dim), true)?, 1),
        ];
        Ok(Network { stem, tables, blocks, norm: Arc::new(norm), head, input_size: m.input_size })
    }

    /// The graph for one session: inputs `image` u8 `[3, size, size]` and `keypoints` f32 `[5, 2]`, output the
    /// embedding `[1, output_dim]`, then, if asked for, every block's `[tokens, dim]`.
    pub(super) fn wire(&self, exec: &Exec, with_blocks: bool) -> TractResult<TypedModel> {
        let mut g = TypedModel::default();
        let image = g.add_source("image", u8::fact([3, self.input_size, self.input_size]))?;
        let keypoints = g.add_source("keypoints", f32::fact([5usize, 2]))?;
        let linear = |g: &mut TypedModel,
                      name: String,
                      params: &Arc<LinearOp>,
                      inputs: &[OutletId]| {
            TractResult::Ok(
                g.wire_node(name, Linear { params: params.clone(), exec: exec.clone() }, inputs)?
                    [0],
            )
        };
        let mut x = image;
        for (i, (input, layer)) in self.stem.iter().enumerate() {
            let name = format!("stem.{i}.rows");
            x = match input {
                StemInput::Patches(params) => {
                    g.wire_node(name, Patches { params: params.clone() }, &[x])?[0]
                }
                StemInput::Windows(params) => {
                    g.wire_node(name, Windows { params: params.clone() }, &[x])?[0]
                }
            };
            x = linear(&mut g, format!("stem.{i}"), layer, &[x])?;
        }
        let tables = match &self.tables {
            Some(params) => Some(
                g.wire_node("tables", KeypointTable { params: params.clone() }, &[keypoints])?[0],
            ),
            None => None,
        };
        let mut outputs = Vec::new();
        for (b, block) in self.blocks.iter().enumerate() {
            let name = |leaf: &str| format!("blocks.{b}.{leaf}");
            let qkv = linear(&mut g, name("qkv"), &block.qkv, &[x])?;
            let attended = match &block.attention {
                BlockAttention::Fused(params) => {
                    let op = Attend { params: params.clone(), exec: exec.clone() };
                    let inputs: TVec<OutletId> = std::iter::once(qkv).chain(tables).collect();
                    g.wire_node(name("attention"), op, &inputs)?[0]
                }
                BlockAttention::Irpe(params) => {
                    g.wire_node(name("attention"), IrpeAttend { params: params.clone() }, &[qkv])?
                        [0]
                }
            };
            x = linear(&mut g, name("proj"), &block.proj, &[attended, x])?;
            let hidden = linear(&mut g, name("fc1"), &block.fc1, &[x])?;
            x = linear(&mut g, name("fc2"), &block.fc2, &[hidden, x])?;
            outputs.push(x);
        }
        x =
            g.wire_node("norm", LayerNorm { params: self.norm.clone(), exec: exec.clone() }, &[x])?
                [0];
        x = linear(&mut g, "head.0".into(), &self.head[0], &[x])?;
        x = linear(&mut g, "head.1".into(), &self.head[1], &[x])?;
        if !with_blocks {
            outputs.clear();
        }
        outputs.insert(0, x);
        g.select_output_outlets(&outputs)?;
        Ok(g)
    }
}

impl Network {
    /// `B[query][.]` of one block and head: what KP-RPE adds to the attention scores of token `query`, for every token,
    /// row-major. `None` if the network has no key-point tables or an index is out of range.
    pub(super) fn offsets(
        &self,
        keypoints: &[[f32; 2]; 5],
        block: usize,
        head: usize,
        query: usize,
    ) -> Option<Vec<f32>> {
        let BlockAttention::Fused(op) = &self.blocks.get(block)?.attention else { return None };
        let Bias::Keypoints { x, y, centres, first } = &op.bias else { return None };
        let [gx, gy] = *centres.get(query)?;
        let constant = self.tables.as_ref()?.constants(keypoints.as_flattened());
        let row =
            |t: &[f32], at: usize| t.get(at * BUCKETS..(at + 1) * BUCKETS).map(<[f32]>::to_vec);
        let (c, x, y) = (row(&constant, first + head)?, row(x, head)?, row(y, head)?);
        let side = op.side;
        let axis = |a: usize, b: usize| usize::from(op.buckets[a * side + b]);
        let offset = |key: usize| {
            let bucket = axis(query / side, key / side) * 7 + axis(query % side, key % side);
            c[bucket] + gx * x[bucket] + gy * y[bucket]
        };
        Some((0..side * side).map(offset).collect())
    }
}

/// The stored KP-RPE tables. With absolute key points every key of a query gets the same number, which the softmax
/// cancels: the published form `keypoint` computes what a plain ViT does, so it has none.
fn keypoint_tables(
    pack: &Arc<Pack>,
    m: &RecogniserManifest,
) -> Result<Option<Arc<KeypointTableOp>>> {
    let Rpe::Kprpe { form, num_keypoints } = m.rpe else { return Ok(None) };
    if !form.relative() {
        return Ok(None);
    }
    let heads = if form.per_head() { m.num_heads } else { 1 };
    let stored = heads * if form.per_block() { m.depth } else { 1 };
    let table_of = (0..m.depth)
        .flat_map(|b| (0..m.num_heads).map(move |h| (b, h)))
        .map(|(b, h)| if form.per_block() { b * heads } else { 0 } + if form.per_head() { h } else { 0 })
        .collect();
    Ok(Some(Arc::new(KeypointTableOp {
        weight: Values::from_pack(pack, "rpe.weight", stored * BUCKETS * 2 * num_keypoints)?,
        bias: Values::from_pack(pack, "rpe.bias", stored * BUCKETS)?,
        table_of,
    })))
}

/// How the tables of one block change with the patch centre: the sums of the weights of all x and all y differences.
fn slopes(tables: &KeypointTableOp, first: usize, heads: usize, centres: &Arc<[[f32; 2]]>) -> Bias {
    let weight = tables.weight.as_slice();
    let per_row = weight.len() / tables.bias.as_slice().len();
    let rows = tables.table_of[first..first + heads]
        .iter()
        .flat_map(|t| (0..BUCKETS).map(move |b| t * BUCKETS + b));
    let sum = |o: usize, axis: usize| {
        weight[o * per_row..][..per_row].iter().skip(axis).step_by(2).sum::<f32>()
    };
    let (x, y) = rows.map(|o| (sum(o, 0), sum(o, 1))).unzip();
    Bias::Keypoints { x, y, centres: centres.clone(), first }
}

/// An iRPE table of `head_dim * 49` values, one for each head or one shared by all, for all heads.
fn irpe_table(pack: &Arc<Pack>, name: &str, m: &RecogniserManifest) -> Result<Vec<f32>> {
    let len = m.embed_dim / m.num_heads * BUCKETS;
    let stored = pack.f32(name)?;
    if stored.len() != len && stored.len() != len * m.num_heads {
        return Err(Error::new(ErrorKind::DamagedPack, "an iRPE table has the wrong size"));
    }
    Ok(stored.iter().copied().cycle().take(len * m.num_heads).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_of_the_published_product_method() {
        let row: Vec<u8> = (-13..=13).map(axis_bucket).collect();
        assert_eq!(row[13 - 2..=13 + 2], [1, 2, 3, 4, 5]);
        assert_eq!((row[0], row[26]), (0, 6));
        assert!(row.windows(2).all(|w| w[0] <= w[1]));
    }

    #[test]
    fn centres_are_row_major() {
        let c = centres(2);
        assert_eq!(c[1], [0.75, 0.25]);
        assert_eq!(c[2], [0.25, 0.75]);
    }
}
