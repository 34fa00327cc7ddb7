//! A pack's recogniser as standard ONNX, with the key points as a real input.
//!
//! Inputs `image` (float32 `[N, 3, H, W]`, RGB, `(x / 255 - 0.5) / 0.5`) and `keypoints` (float32 `[N, 5, 2]`, x and y in
//! 0..1 of the crop), output `embedding` (float32 `[N, out]`, before normalisation), batch size dynamic. An int8 pack gives
//! a graph of the f32 weights that its integers stand for.

use crate::network::BUCKETS;
use crate::onnx::{Attr, Graph};
use crate::quantise::Quantised;
use anyhow::{Context, Result};
use keyface::kernel::unpack_weights;
use keyface::pack::{DType, Pack, RecogniserManifest, Rpe, Stem};
use std::borrow::Cow;

/// Epsilon of the network's layer norms.
const NORM_EPS: f32 = 1e-5;

/// The recogniser of `pack` as a graph.
///
/// # Errors
/// When the pack holds no recogniser or lacks a tensor.
pub fn graph(pack: &Pack) -> Result<Graph> {
    let m = pack.manifest().recogniser.as_ref().context("the pack holds no recogniser")?;
    let mut e =
        Exporter { pack, m, g: Graph::new(&pack.manifest().name), shared: Shared::default() };
    e.inputs()?;
    let mut x = e.stem()?;
    for block in 0..m.depth {
        x = e.block(block, &x)?;
    }
    x = e.norm("norm", &x)?;
    x = e.g.reshape(&x, &[0, (m.tokens() * m.embed_dim) as i64]);
    x = e.linear("head.0", &x, (m.hidden_dim, m.tokens() * m.embed_dim), true)?;
    x = e.linear("head.1", &x, (m.output_dim, m.hidden_dim), true)?;
    e.g.output("embedding", &x, &[m.output_dim]);
    Ok(e.g)
}

/// Values that all blocks use.
#[derive(Default)]
struct Shared {
    /// Differences of patch centres and key points, `[N, tokens, 2 K]`.
    context: Option<String>,
    /// Tables shared by all blocks, as a bias `[N, heads or 1, tokens, tokens]`.
    bias: Option<String>,
    /// `[N, heads, tokens, tokens]` of bucket numbers, for every number of heads asked for.
    buckets: Vec<(usize, String)>,
}

struct Exporter<'a> {
    pack: &'a Pack,
    m: &'a RecogniserManifest,
    g: Graph,
    shared: Shared,
}

impl<'a> Exporter<'a> {
    fn f32(&self, name: &str) -> Result<&'a [f32]> {
        Ok(self.pack.f32(name)?)
    }

    /// The f32 values of a linear layer's matrix, whatever its stored form.
    fn matrix(&self, layer: &str, (n, k): (usize, usize)) -> Result<Cow<'a, [f32]>> {
        let name = format!("{layer}.weight");
        let stored = self.pack.section(&name).with_context(|| format!("{name} is missing"))?;
        if stored.dtype == DType::F32 {
            return Ok(Cow::Borrowed(self.f32(&name)?));
        }
        let panels = self.pack.bytes(self.pack.tensor(&name, DType::I8Panels)?);
        let values = unpack_weights(bytemuck::cast_slice(panels), n, k);
        let scales = self.f32(&format!("{layer}.scale"))?.to_vec();
        Ok(Cow::Owned(Quantised { values, scales }.dequantised()))
    }

    fn linear(&mut self, layer: &str, x: &str, size: (usize, usize), bias: bool) -> Result<String> {
        let weight = self.matrix(layer, size)?;
        let bias = if bias { Some(self.f32(&format!("{layer}.bias"))?) } else { None };
        Ok(self.g.linear(layer, x, size, &weight, bias))
    }

    fn norm(&mut self, name: &str, x: &str) -> Result<String> {
        let gamma = self.f32(&format!("{name}.weight"))?;
        let beta = self.f32(&format!("{name}.bias"))?;
        Ok(self.g.layer_norm(name, x, gamma, beta, NORM_EPS))
    }

    fn inputs(&mut self) -> Result<()> {
        let side = self.m.input_size;
        self.g.input("image", &[3, side, side]);
        let keypoints = self.g.input("keypoints", &[5, 2]);
        let Rpe::Kprpe { form, num_keypoints } = self.m.rpe else { return Ok(()) };
        // With absolute key points every key of a query gets the same number, which the softmax cancels.
        if !form.relative() {
            return Ok(());
        }
        let (grid, tokens) = (self.m.grid(), self.m.tokens());
        let at = |i: usize| (i as f32 + 0.5) / grid as f32;
        let centres: Vec<f32> = (0..tokens).flat_map(|i| [at(i % grid), at(i / grid)]).collect();
        let centres = self.g.constant("centres", &[1, tokens, 1, 2], &centres);
        let axis = self.g.integers(&[1], &[1]);
        let points = self.g.node("Unsqueeze", &[&keypoints, &axis], &[]);
        let apart = self.g.node("Sub", &[&centres, &points], &[]);
        let flat = self.g.reshape(&apart, &[0, tokens as i64, 10]);
        let context = if num_keypoints == 5 {
            flat
        } else {
            let used = 2 * num_keypoints;
            self.g.split(&flat, 2, &[used, 10 - used]).swap_remove(0)
        };
        self.shared.context = Some(context);
        if !form.per_block() {
            self.shared.bias = Some(self.keypoint_bias("rpe", 0)?);
        }
        Ok(())
    }

    fn stem(&mut self) -> Result<String> {
        let d = self.m.embed_dim;
        let mut x = "image".to_owned();
        match &self.m.stem {
            Stem::Patch { size } => {
                let weight = self.matrix("stem.0", (d, 3 * size * size))?;
                let side = *size as i64;
                x = self.convolution(
                    "stem.0",
                    &x,
                    [d, 3, *size, *size],
                    &weight,
                    &[side, side],
                    0,
                )?;
            }
            Stem::Conv { channels } => {
                let mut from = 3;
                for (i, &to) in channels.iter().enumerate() {
                    let layer = format!("stem.{i}");
                    let rows = self.matrix(&layer, (to, 9 * from))?;
                    let weight: Vec<f32> = rows
                        .chunks_exact(9 * from)
                        .flat_map(|row| (0..9 * from).map(|j| row[(j % 9) * from + j / 9]))
                        .collect();
                    x = self.convolution(&layer, &x, [to, from, 3, 3], &weight, &[2, 2], 1)?;
                    if i + 1 < channels.len() {
                        x = self.g.relu6(&x);
                    }
                    from = to;
                }
            }
        }
        let tokens = self.m.tokens();
        let flat = self.g.reshape(&x, &[0, d as i64, tokens as i64]);
        let rows = self.g.transpose(&flat, &[0, 2, 1]);
        let position = self.f32("pos_embed")?;
        let position = self.g.constant("pos_embed", &[1, tokens, d], position);
        Ok(self.g.node("Add", &[&rows, &position], &[]))
    }

    fn convolution(
        &mut self,
        layer: &str,
        x: &str,
        dims: [usize; 4],
        weight: &[f32],
        strides: &[i64],
        pad: i64,
    ) -> Result<String> {
        let bias = self.f32(&format!("{layer}.bias"))?;
        let weight = self.g.constant(&format!("{layer}.weight"), &dims, weight);
        let bias = self.g.constant(&format!("{layer}.bias"), &[dims[0]], bias);
        let attributes = [
            ("kernel_shape", Attr::Ints(&[dims[2] as i64, dims[3] as i64][..])),
            ("strides", Attr::Ints(strides)),
            ("pads", Attr::Ints(&[pad; 4][..])),
        ];
        Ok(self.g.node("Conv", &[x, &weight, &bias], &attributes))
    }

    fn block(&mut self, b: usize, x: &str) -> Result<String> {
        let (d, mlp) = (self.m.embed_dim, self.m.mlp_dim);
        let name = |leaf: &str| format!("blocks.{b}.{leaf}");
        let normed = self.norm(&name("norm1"), x)?;
        let qkv = self.linear(&name("qkv"), &normed, (3 * d, d), false)?;
        let attended = self.attention(b, &qkv)?;
        let projected = self.linear(&name("proj"), &attended, (d, d), true)?;
        let x = self.g.node("Add", &[&projected, x], &[]);
        let normed = self.norm(&name("norm2"), &x)?;
        let hidden = self.linear(&name("fc1"), &normed, (mlp, d), true)?;
        let hidden = self.g.relu6(&hidden);
        let out = self.linear(&name("fc2"), &hidden, (d, mlp), true)?;
        Ok(self.g.node("Add", &[&out, &x], &[]))
    }

    fn attention(&mut self, b: usize, qkv: &str) -> Result<String> {
        let (d, heads) = (self.m.embed_dim, self.m.num_heads);
        let head = d / heads;
        let parts: Vec<String> = self
            .g
            .split(qkv, 2, &[d, d, d])
            .iter()
            .map(|part| {
                let part = self.g.reshape(part, &[0, 0, heads as i64, head as i64]);
                self.g.transpose(&part, &[0, 2, 1, 3])
            })
            .collect();
        let scale = self.g.scalar((head as f32).powf(-0.5));
        let q = self.g.node("Mul", &[&parts[0], &scale], &[]);
        let (k, v) = (&parts[1], &parts[2]);
        let turned = self.g.transpose(k, &[0, 1, 3, 2]);
        let mut logits = self.g.node("MatMul", &[&q, &turned], &[]);
        for bias in self.biases(b, &q, k, &scale)? {
            logits = self.g.node("Add", &[&logits, &bias], &[]);
        }
        let weights = self.g.node("Softmax", &[&logits], &[("axis", Attr::Int(-1))]);
        let mut out = self.g.node("MatMul", &[&weights, v], &[]);
        if self.m.rpe == Rpe::IrpeQkv {
            let more = self.irpe_values(b, &weights)?;
            out = self.g.node("Add", &[&out, &more], &[]);
        }
        let out = self.g.transpose(&out, &[0, 2, 1, 3]);
        Ok(self.g.reshape(&out, &[0, 0, d as i64]))
    }

    /// What is added to the scaled logits of block `b`.
    fn biases(&mut self, b: usize, q: &str, k: &str, scale: &str) -> Result<Vec<String>> {
        Ok(match self.m.rpe {
            Rpe::Kprpe { form, .. } if form.per_block() => {
                vec![self.keypoint_bias(&format!("blocks.{b}.rpe"), b)?]
            }
            Rpe::Kprpe { .. } => self.shared.bias.iter().cloned().collect(),
            Rpe::IrpeK => vec![self.irpe_logits(&format!("blocks.{b}.rpe_k"), q)?],
            Rpe::IrpeQkv => {
                let keys = self.irpe_logits(&format!("blocks.{b}.rpe_k"), q)?;
                let scaled = self.g.node("Mul", &[k, scale], &[]);
                let queries = self.irpe_logits(&format!("blocks.{b}.rpe_q"), &scaled)?;
                vec![keys, self.g.transpose(&queries, &[0, 1, 3, 2])]
            }
            Rpe::None => Vec::new(),
        })
    }

    /// The bias of the tables of block `b` (0 where blocks share them), `[N, heads or 1, tokens, tokens]`.
    fn keypoint_bias(&mut self, name: &str, b: usize) -> Result<String> {
        let Rpe::Kprpe { form, num_keypoints } = self.m.rpe else {
            anyhow::bail!("no key-point tables")
        };
        let (inputs, tokens) = (2 * num_keypoints, self.m.tokens() as i64);
        let heads = if form.per_head() { self.m.num_heads } else { 1 };
        let rows = heads * BUCKETS;
        let weight = &self.f32("rpe.weight")?[b * rows * inputs..][..rows * inputs];
        let bias = &self.f32("rpe.bias")?[b * rows..][..rows];
        let context = self.shared.context.clone().context("no key points")?;
        let flat = self.g.linear(name, &context, (rows, inputs), weight, Some(bias));
        let table = self.g.reshape(&flat, &[0, tokens, heads as i64, BUCKETS as i64]);
        let table = self.g.transpose(&table, &[0, 2, 1, 3]);
        let buckets = self.buckets(heads);
        Ok(self.g.node("GatherElements", &[&table, &buckets], &[("axis", Attr::Int(3))]))
    }

    fn irpe_logits(&mut self, name: &str, x: &str) -> Result<String> {
        let head = self.m.embed_dim / self.m.num_heads;
        let values = self.f32(name)?;
        let table = self.g.constant(name, &[values.len() / head / BUCKETS, head, BUCKETS], values);
        let by_bucket = self.g.node("MatMul", &[x, &table], &[]);
        let buckets = self.buckets(self.m.num_heads);
        Ok(self.g.node("GatherElements", &[&by_bucket, &buckets], &[("axis", Attr::Int(3))]))
    }

    /// Attention weights summed by bucket, times the value table.
    fn irpe_values(&mut self, b: usize, weights: &str) -> Result<String> {
        let (head, tokens) = (self.m.embed_dim / self.m.num_heads, self.m.tokens());
        let name = format!("blocks.{b}.rpe_v");
        let values = self.f32(&name)?;
        let table = self.g.constant(&name, &[values.len() / head / BUCKETS, BUCKETS, head], values);
        let mut choose = vec![0f32; tokens * tokens * BUCKETS];
        for (pair, bucket) in bucket_ids(self.m.grid()).into_iter().enumerate() {
            choose[pair * BUCKETS + bucket as usize] = 1.0;
        }
        let choose =
            self.g.constant(&format!("{name}.buckets"), &[tokens, tokens, BUCKETS], &choose);
        let by_query = self.g.transpose(weights, &[0, 2, 1, 3]);
        let sums = self.g.node("MatMul", &[&by_query, &choose], &[]);
        let sums = self.g.transpose(&sums, &[0, 2, 1, 3]);
        Ok(self.g.node("MatMul", &[&sums, &table], &[]))
    }

    /// Bucket numbers of (query, key), `[N, heads, tokens, tokens]`.
    ///
    /// The batch size is read off the key points, so that one graph takes any.
    fn buckets(&mut self, heads: usize) -> String {
        if let Some((_, name)) = self.shared.buckets.iter().find(|(h, _)| *h == heads) {
            return name.clone();
        }
        let tokens = self.m.tokens();
        let ids = self.g.integers(&[1, 1, tokens, tokens], &bucket_ids(self.m.grid()));
        let (first, last) = (self.g.integers(&[1], &[0]), self.g.integers(&[1], &[1]));
        let shape = self.g.node("Shape", &["keypoints"], &[]);
        let batch = self.g.node("Slice", &[&shape, &first, &last], &[]);
        let rest = self.g.integers(&[3], &[heads as i64, tokens as i64, tokens as i64]);
        let shape = self.g.node("Concat", &[&batch, &rest], &[("axis", Attr::Int(0))]);
        let name = self.g.node("Expand", &[&ids, &shape], &[]);
        self.shared.buckets.push((heads, name.clone()));
        name
    }
}

/// Bucket of (query, key) for a square grid, row-major: iRPE's product method (arXiv 2107.14222, eq. 18) with alpha 1.9,
/// beta 3.8, gamma 15.2.
fn bucket_ids(grid: usize) -> Vec<i64> {
    const ALPHA: f64 = 1.9;
    let axis = |offset: i64| {
        let size = offset.unsigned_abs() as f64;
        let far = ALPHA + (size / ALPHA).ln() / 8f64.ln() * ALPHA;
        let squashed = if size <= ALPHA { size } else { far.round_ties_even().min(3.0) };
        3 + squashed as i64 * offset.signum()
    };
    let (side, tokens) = (grid as i64, (grid * grid) as i64);
    (0..tokens * tokens)
        .map(|i| {
            let (q, k) = (i / tokens, i % tokens);
            axis(q / side - k / side) * 7 + axis(q % side - k % side)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_symmetric_and_start_at_the_corner() {
        let ids = bucket_ids(14);
        let at = |q: usize, k: usize| ids[q * 196 + k];
        assert_eq!(at(5, 5), 24);
        assert_eq!(at(0, 195), 0);
        assert_eq!(at(195, 0), 48);
        assert_eq!(at(0, 1), 3 * 7 + 2);
        for (q, k) in [(0, 1), (3, 77), (100, 9)] {
            assert_eq!(at(q, k) + at(k, q), 48);
        }
    }
}
