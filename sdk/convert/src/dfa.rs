//! The published landmark model as a standard ONNX graph.
//!
//! DFA (KP-RPE paper, arXiv 2403.14852, supplement) is RetinaFace with a MobileNet of a quarter width, whose 1050 anchors
//! an MLP-mixer weighs into one face. The graph takes `image` (float32 `[N, 3, 160, 160]`, RGB,
//! `(x / 255 - 0.5) / 0.5`) and gives `landmarks` (`[N, 5, 2]`) and `bbox` (`[N, 4]`, xmin ymin xmax ymax), both in 0..1 of the
//! input, and `score` (`[N, 1]`). Batch norms are folded. It runs as plain ONNX; the SDK's own detector has another format.

use crate::canonical::BatchNorm;
use crate::checkpoint::Checkpoint;
use crate::network::check_against;
use crate::npz::{Array, Npz};
use crate::onnx::{Attr, Graph};
use anyhow::{ensure, Context, Result};
use keyface::engine::OnnxModel;
use std::collections::BTreeMap;

/// Side of the input in pixels.
pub const SIDE: usize = 160;
/// Name of the section that holds the graph.
pub const SECTION: &str = "dfa.onnx";

/// Cell sizes of the three levels in pixels, and the two anchor sizes of each.
const LEVELS: [(usize, [f32; 2]); 3] =
    [(8, [64.0, 80.0]), (16, [96.0, 112.0]), (32, [128.0, 144.0])];
/// Factors of decoded centres and sizes.
const VARIANCES: [f32; 2] = [0.1, 0.2];
/// Box, two class scores, five points.
const CHANNELS: usize = 16;
const LEAK: f32 = 0.1;
const BN_EPS: f64 = 1e-5;
const MIXER_NORM_EPS: f32 = 1e-6;
/// Channels of every level behind the pyramid.
const WIDTH: usize = 64;

/// The backbone's stages: output channels and stride of every unit; the first unit of all is a plain convolution.
const STAGES: [&[(usize, i64)]; 3] = [
    &[(8, 2), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)],
    &[(128, 2), (128, 1), (128, 1), (128, 1), (128, 1), (128, 1)],
    &[(256, 2), (256, 1)],
];

/// Whether a checkpoint looks like this network.
#[must_use]
pub fn is_dfa(checkpoint: &Checkpoint) -> bool {
    checkpoint.shape("body.stage1.0.0.weight").is_some()
}

/// Builds the graph.
///
/// # Errors
/// Names missing, extra and misshapen tensors.
pub fn graph(checkpoint: &Checkpoint) -> Result<Graph> {
    let mut b = Builder { checkpoint, g: Graph::new("dfa"), used: BTreeMap::new() };
    b.network()?;
    // What the network asked for is what the file should hold.
    check_against(checkpoint, &b.used, |_, _, _| false)?;
    Ok(b.g)
}

/// Runs the graph on `image` (uint8 `[N, 3, 160, 160]`): `landmarks`, `bbox` and `score`.
///
/// # Errors
/// When the array is missing or misshapen, or the engine refuses the graph.
pub fn run(onnx: &[u8], input: &Npz) -> Result<Npz> {
    let image = input.get("image")?;
    ensure!(
        image.shape.len() == 4 && image.shape[1..] == [3, SIDE, SIDE],
        "image has shape {:?}, not [N, 3, {SIDE}, {SIDE}]",
        image.shape
    );
    let mut model = OnnxModel::new(onnx)?;
    let mut found: [Vec<f32>; 3] = Default::default();
    for one in image.as_u8()?.chunks_exact(3 * SIDE * SIDE) {
        let x: Vec<f32> = one.iter().map(|v| (f32::from(*v) / 255.0 - 0.5) / 0.5).collect();
        model.run(&[1, 3, SIDE, SIDE], &x, |i, _, values| {
            if let Some(all) = found.get_mut(i) {
                all.extend_from_slice(values);
            }
        })?;
    }
    let n = image.shape[0];
    let mut out = Npz::default();
    for ((name, shape), values) in
        [("landmarks", vec![n, 5, 2]), ("bbox", vec![n, 4]), ("score", vec![n, 1])]
            .into_iter()
            .zip(found)
    {
        ensure!(values.len() == shape.iter().product::<usize>(), "the network gave no {name}");
        out.insert(name, Array::f32(&shape, values));
    }
    Ok(out)
}

struct Builder<'a> {
    checkpoint: &'a Checkpoint,
    g: Graph,
    /// Every tensor asked for, with the shape it should have.
    used: BTreeMap<String, Vec<usize>>,
}

/// A convolution's geometry.
#[derive(Clone, Copy)]
struct Conv {
    from: usize,
    to: usize,
    side: usize,
    stride: i64,
    groups: usize,
}

impl Builder<'_> {
    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.used.insert(name.into(), shape.to_vec());
        match self.checkpoint.shape(name) {
            Some(found) if found == shape => self.checkpoint.f32(name),
            // Reported by the comparison of all tensors; zeros let it see the rest.
            _ => Ok(vec![0.0; shape.iter().product()]),
        }
    }

    fn network(&mut self) -> Result<()> {
        let image = self.g.input("image", &[3, SIDE, SIDE]);
        // The published pipeline feeds blue first.
        let order = self.g.integers(&[3], &[2, 1, 0]);
        let mut x = self.g.node("Gather", &[&image, &order], &[("axis", Attr::Int(1))]);
        let mut from = 3;
        let mut maps = Vec::new();
        for (s, units) in STAGES.iter().enumerate() {
            for (u, &(to, stride)) in units.iter().enumerate() {
                let name = format!("body.stage{}.{u}", s + 1);
                if from == 3 {
                    x = self.conv_bn(
                        &name,
                        0,
                        &x,
                        Conv { from, to, side: 3, stride, groups: 1 },
                        Some(LEAK),
                    )?;
                } else {
                    let depthwise = Conv { from, to: from, side: 3, stride, groups: from };
                    x = self.conv_bn(&name, 0, &x, depthwise, Some(LEAK))?;
                    let pointwise = Conv { from, to, side: 1, stride: 1, groups: 1 };
                    x = self.conv_bn(&name, 3, &x, pointwise, Some(LEAK))?;
                }
                from = to;
            }
            maps.push((x.clone(), from));
        }
        let pyramid = self.pyramid(&maps)?;
        let mut heads: [Vec<String>; 3] = Default::default();
        for (i, map) in pyramid.iter().enumerate() {
            let feature = self.context(&format!("ssh{}", i + 1), map)?;
            for ((head, width), all) in [("BboxHead", 4), ("ClassHead", 2), ("LandmarkHead", 10)]
                .into_iter()
                .zip(&mut heads)
            {
                all.push(self.head(&format!("{head}.{i}.conv1x1"), &feature, width)?);
            }
        }
        let [boxes, classes, points] = heads.map(|levels| {
            let levels: Vec<&str> = levels.iter().map(String::as_str).collect();
            self.g.node("Concat", &levels, &[("axis", Attr::Int(1))])
        });
        self.face(&boxes, &classes, &points)
    }

    /// Convolution `name.at` and batch norm `name.at+1`, folded; leaky ReLU unless `leak` is `None`.
    fn conv_bn(
        &mut self,
        name: &str,
        at: usize,
        x: &str,
        conv: Conv,
        leak: Option<f32>,
    ) -> Result<String> {
        let layer = format!("{name}.{at}");
        let dims = [conv.to, conv.from / conv.groups, conv.side, conv.side];
        let weight = self.read(&format!("{layer}.weight"), &dims)?;
        let norm = format!("{name}.{}", at + 1);
        let mut known = true;
        for leaf in ["weight", "bias", "running_mean", "running_var"] {
            let leaf = format!("{norm}.{leaf}");
            known &= self.checkpoint.shape(&leaf) == Some(&[conv.to]);
            self.used.insert(leaf, vec![conv.to]);
        }
        let (weight, bias) = if known {
            BatchNorm::read(self.checkpoint, &norm, BN_EPS)?.fold(weight)
        } else {
            (weight, vec![0.0; conv.to])
        };
        let out = self.convolution(&layer, x, conv, &weight, &bias);
        Ok(match leak {
            Some(alpha) => self.g.node("LeakyRelu", &[&out], &[("alpha", Attr::Float(alpha))]),
            None => out,
        })
    }

    fn convolution(
        &mut self,
        name: &str,
        x: &str,
        c: Conv,
        weight: &[f32],
        bias: &[f32],
    ) -> String {
        let dims = [c.to, c.from / c.groups, c.side, c.side];
        let weight = self.g.constant(&format!("{name}.weight"), &dims, weight);
        let bias = self.g.constant(&format!("{name}.bias"), &[c.to], bias);
        let (side, pad) = (c.side as i64, c.side as i64 / 2);
        let attributes = [
            ("kernel_shape", Attr::Ints(&[side, side])),
            ("strides", Attr::Ints(&[c.stride, c.stride])),
            ("pads", Attr::Ints(&[pad, pad, pad, pad])),
            ("group", Attr::Int(c.groups as i64)),
        ];
        self.g.node("Conv", &[x, &weight, &bias], &attributes)
    }

    /// The feature pyramid: one width for all levels, each enriched by the coarser one.
    fn pyramid(&mut self, maps: &[(String, usize)]) -> Result<Vec<String>> {
        let point = |from| Conv { from, to: WIDTH, side: 1, stride: 1, groups: 1 };
        let merge = Conv { from: WIDTH, to: WIDTH, side: 3, stride: 1, groups: 1 };
        let mut out = Vec::new();
        for (i, (map, from)) in maps.iter().enumerate() {
            out.push(self.conv_bn(
                &format!("fpn.output{}", i + 1),
                0,
                map,
                point(*from),
                Some(LEAK),
            )?);
        }
        for i in [1, 0] {
            let none = self.g.constant(&format!("fpn.{i}.roi"), &[0], &[]);
            let twice = self.g.constant(&format!("fpn.{i}.scales"), &[4], &[1.0, 1.0, 2.0, 2.0]);
            let attributes = [
                ("mode", Attr::Text("nearest")),
                ("coordinate_transformation_mode", Attr::Text("asymmetric")),
                ("nearest_mode", Attr::Text("floor")),
            ];
            let enlarged = self.g.node("Resize", &[&out[i + 1], &none, &twice], &attributes);
            let sum = self.g.node("Add", &[&out[i], &enlarged], &[]);
            out[i] = self.conv_bn(&format!("fpn.merge{}", i + 1), 0, &sum, merge, Some(LEAK))?;
        }
        Ok(out)
    }

    /// RetinaFace's context module: windows of 3, 5 and 7 pixels side by side.
    fn context(&mut self, name: &str, x: &str) -> Result<String> {
        let conv = |from, to| Conv { from, to, side: 3, stride: 1, groups: 1 };
        let (half, quarter) = (WIDTH / 2, WIDTH / 4);
        let part = |leaf: &str| format!("{name}.{leaf}");
        let three = self.conv_bn(&part("conv3X3"), 0, x, conv(WIDTH, half), None)?;
        let shared = self.conv_bn(&part("conv5X5_1"), 0, x, conv(WIDTH, quarter), Some(LEAK))?;
        let five = self.conv_bn(&part("conv5X5_2"), 0, &shared, conv(quarter, quarter), None)?;
        let more =
            self.conv_bn(&part("conv7X7_2"), 0, &shared, conv(quarter, quarter), Some(LEAK))?;
        let seven = self.conv_bn(&part("conv7x7_3"), 0, &more, conv(quarter, quarter), None)?;
        let all = self.g.node("Concat", &[&three, &five, &seven], &[("axis", Attr::Int(1))]);
        Ok(self.g.node("Relu", &[&all], &[]))
    }

    /// One value per anchor and channel: `[N, anchors, width]`, two anchors per cell, row-major.
    fn head(&mut self, name: &str, x: &str, width: usize) -> Result<String> {
        let conv = Conv { from: WIDTH, to: 2 * width, side: 1, stride: 1, groups: 1 };
        let weight = self.read(&format!("{name}.weight"), &[conv.to, WIDTH, 1, 1])?;
        let bias = self.read(&format!("{name}.bias"), &[conv.to])?;
        let out = self.convolution(name, x, conv, &weight, &bias);
        let rows = self.g.transpose(&out, &[0, 2, 3, 1]);
        Ok(self.g.reshape(&rows, &[0, -1, width as i64]))
    }

    /// Decodes all anchors and lets the mixer weigh them into one face.
    fn face(&mut self, boxes: &str, classes: &str, points: &str) -> Result<()> {
        let priors = priors();
        let n = priors.len();
        let column =
            |pick: fn(&[f32; 4]) -> [f32; 2]| priors.iter().flat_map(pick).collect::<Vec<_>>();
        let (centres, sizes) = (column(|p| [p[0], p[1]]), column(|p| [p[2], p[3]]));
        let steps: Vec<f32> = sizes.iter().map(|s| s * VARIANCES[0]).collect();
        let centre = self.g.constant("priors.centre", &[1, n, 2], &centres);
        let size = self.g.constant("priors.size", &[1, n, 2], &sizes);
        let step = self.g.constant("priors.step", &[1, n, 2], &steps);

        let parts = self.g.split(boxes, 2, &[2, 2]);
        let moved = self.g.node("Mul", &[&parts[0], &step], &[]);
        let middle = self.g.node("Add", &[&centre, &moved], &[]);
        let variance = self.g.scalar(VARIANCES[1]);
        let scaled = self.g.node("Mul", &[&parts[1], &variance], &[]);
        let grown = self.g.node("Exp", &[&scaled], &[]);
        let extent = self.g.node("Mul", &[&size, &grown], &[]);
        let half = self.g.scalar(0.5);
        let half = self.g.node("Mul", &[&extent, &half], &[]);
        let low = self.g.node("Sub", &[&middle, &half], &[]);
        let high = self.g.node("Add", &[&low, &extent], &[]);

        let five =
            |values: &[f32]| values.chunks_exact(2).flat_map(|p| p.repeat(5)).collect::<Vec<_>>();
        let centre = self.g.constant("priors.centre5", &[1, n, 10], &five(&centres));
        let step = self.g.constant("priors.step5", &[1, n, 10], &five(&steps));
        let moved = self.g.node("Mul", &[points, &step], &[]);
        let landmarks = self.g.node("Add", &[&centre, &moved], &[]);

        let all =
            self.g.node("Concat", &[&low, &high, classes, &landmarks], &[("axis", Attr::Int(2))]);
        let mut x = all.clone();
        for i in 0..3 {
            x = self.mixer(&format!("aggregator.{i}"), &x, n)?;
        }
        let logits = self.dense("aggregator.3", &x, (1, CHANNELS))?;
        let share = self.g.node("Softmax", &[&logits], &[("axis", Attr::Int(1))]);
        let turned = self.g.transpose(&share, &[0, 2, 1]);
        let face = self.g.node("MatMul", &[&turned, &all], &[]);
        let face = self.g.reshape(&face, &[0, CHANNELS as i64]);
        let parts = self.g.split(&face, 1, &[4, 2, 10]);
        let score = self.g.node("Softmax", &[&parts[1]], &[("axis", Attr::Int(1))]);
        let score = self.g.split(&score, 1, &[1, 1]).swap_remove(1);
        let landmarks = self.g.reshape(&parts[2], &[0, 5, 2]);
        self.g.output("landmarks", &landmarks, &[5, 2]);
        self.g.output("bbox", &parts[0], &[4]);
        self.g.output("score", &score, &[1]);
        Ok(())
    }

    /// A block of the MLP-mixer (arXiv 2105.01601): across anchors, then across channels.
    fn mixer(&mut self, name: &str, x: &str, anchors: usize) -> Result<String> {
        let across = self.mixer_norm(&format!("{name}.norm1"), x)?;
        let across = self.g.transpose(&across, &[0, 2, 1]);
        let across = self.mlp(&format!("{name}.mlp_tokens"), &across, anchors, CHANNELS / 2)?;
        let across = self.g.transpose(&across, &[0, 2, 1]);
        let x = self.g.node("Add", &[x, &across], &[]);
        let along = self.mixer_norm(&format!("{name}.norm2"), &x)?;
        let along = self.mlp(&format!("{name}.mlp_channels"), &along, CHANNELS, 4 * CHANNELS)?;
        Ok(self.g.node("Add", &[&x, &along], &[]))
    }

    fn mixer_norm(&mut self, name: &str, x: &str) -> Result<String> {
        let gamma = self.read(&format!("{name}.weight"), &[CHANNELS])?;
        let beta = self.read(&format!("{name}.bias"), &[CHANNELS])?;
        Ok(self.g.layer_norm(name, x, &gamma, &beta, MIXER_NORM_EPS))
    }

    fn mlp(&mut self, name: &str, x: &str, width: usize, hidden: usize) -> Result<String> {
        let inner = self.dense(&format!("{name}.fc1"), x, (hidden, width))?;
        let inner = self.gelu(&inner);
        self.dense(&format!("{name}.fc2"), &inner, (width, hidden))
    }

    fn dense(&mut self, name: &str, x: &str, (to, from): (usize, usize)) -> Result<String> {
        let weight = self.read(&format!("{name}.weight"), &[to, from])?;
        let bias = self.read(&format!("{name}.bias"), &[to])?;
        Ok(self.g.linear(name, x, (to, from), &weight, Some(&bias)))
    }

    /// `x / 2 (1 + erf(x / sqrt 2))`
    fn gelu(&mut self, x: &str) -> String {
        let root = self.g.scalar(std::f32::consts::FRAC_1_SQRT_2);
        let (one, half) = (self.g.scalar(1.0), self.g.scalar(0.5));
        let inner = self.g.node("Mul", &[x, &root], &[]);
        let inner = self.g.node("Erf", &[&inner], &[]);
        let inner = self.g.node("Add", &[&inner, &one], &[]);
        let x = self.g.node("Mul", &[x, &half], &[]);
        self.g.node("Mul", &[&x, &inner], &[])
    }
}

/// Anchors as centre x, centre y, width, height in 0..1: levels, rows, columns, sizes.
fn priors() -> Vec<[f32; 4]> {
    let mut all = Vec::new();
    for (step, sizes) in LEVELS {
        let cells = SIDE / step;
        let at = |i: usize| (i as f32 + 0.5) * step as f32 / SIDE as f32;
        for cell in 0..cells * cells {
            for size in sizes.map(|s| s / SIDE as f32) {
                all.push([at(cell % cells), at(cell / cells), size, size]);
            }
        }
    }
    all
}

/// The graph's bytes in a pack made by importing this network.
///
/// # Errors
/// When the pack holds none.
pub fn section(pack: &keyface::pack::Pack) -> Result<&[u8]> {
    let section = pack
        .section(SECTION)
        .context("the pack holds neither a recogniser nor this landmark model")?;
    Ok(pack.bytes(section))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_cover_three_levels() {
        let p = priors();
        assert_eq!(p.len(), 1050);
        assert_eq!(p[0], [0.025, 0.025, 0.4, 0.4]);
        assert_eq!(p[1][2], 0.5);
        assert_eq!(p[1049], [0.9, 0.9, 0.9, 0.9]);
    }
}
