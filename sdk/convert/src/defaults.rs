//! The default pack, from what training exports.

use crate::assemble::{self, Facts, Landmark};
use crate::canonical::{window_order, Tensor};
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::network::Network;
use anyhow::{ensure, Context, Result};
use keyface::pack::{
    ConvLayer, InputConvention, LandmarkManifest, LandmarkNetwork, Precision, RecogniserManifest,
};
use serde::Deserialize;
use std::path::Path;

/// Name of the section of a landmark network in ONNX.
const ONNX_SECTION: &str = "landmark.onnx";

/// The part of `landmark.json` that a pack needs.
#[derive(Deserialize)]
struct LandmarkFile {
    layers: Vec<ConvLayer>,
    outputs: Vec<String>,
    strides: Vec<usize>,
    point_scale: f32,
    nms_iou: f32,
    score_threshold: f32,
}

/// Form of the landmark network in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LandmarkForm {
    /// int8 convolutions of the SDK's own: the same bytes on every CPU.
    Int8,
    /// f32 ONNX, for SDKs with the feature `onnx`: the reference.
    Onnx,
}

/// Reads `landmark.json` and `landmark.safetensors` or `landmark.onnx` of `folder`.
///
/// # Errors
/// When a file is missing or malformed, or a tensor does not have the shape that its layer asks for.
pub fn landmark(folder: &Path, form: LandmarkForm) -> Result<Landmark> {
    let path = folder.join("landmark.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let file: LandmarkFile = serde_json::from_str(&text)
        .with_context(|| format!("{} is not what training writes", path.display()))?;
    let (mut tensors, mut onnx) = (Vec::new(), Vec::new());
    let network = match form {
        LandmarkForm::Int8 => {
            tensors = layer_tensors(&folder.join("landmark.safetensors"), &file.layers)?;
            LandmarkNetwork::Convolutions { layers: file.layers, outputs: file.outputs }
        }
        LandmarkForm::Onnx => {
            let path = folder.join("landmark.onnx");
            onnx =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            LandmarkNetwork::Onnx { onnx: ONNX_SECTION.into() }
        }
    };
    let manifest = LandmarkManifest {
        network,
        input: InputConvention::RgbHalf,
        strides: file.strides,
        point_scale: file.point_scale,
        score_threshold: file.score_threshold,
        nms_iou: file.nms_iou,
    };
    Ok(Landmark { manifest, tensors, onnx })
}

/// `landmark.{layer}.weight` `[n, k]`, k in the order window row, window column, channel, and `.bias`.
fn layer_tensors(path: &Path, layers: &[ConvLayer]) -> Result<Vec<Tensor>> {
    let checkpoint = Checkpoint::open(path)?;
    let mut tensors = Vec::new();
    for layer in layers {
        let ConvLayer { name, inputs, outputs, kernel, .. } = layer;
        let shape = [*outputs, *inputs, *kernel, *kernel];
        for (leaf, shape) in [("weight", &shape[..]), ("bias", &shape[..1])] {
            let name = format!("{name}.{leaf}");
            let mut values = checkpoint.f32(&name)?;
            ensure!(
                checkpoint.shape(&name) == Some(shape),
                "{}: {name} is {:?}, the list of layers says {shape:?}",
                path.display(),
                checkpoint.shape(&name).unwrap_or_default()
            );
            let mut dims = shape.to_vec();
            if leaf == "weight" {
                let window = kernel * kernel;
                values = window_order(&values, *inputs, window);
                dims = vec![*outputs, window * inputs];
            }
            tensors.push(Tensor { name: format!("landmark.{name}"), dims, values });
        }
    }
    Ok(tensors)
}

/// Builds the pack of what training left in `folder`: `recogniser.safetensors`, `recogniser.json`, and what [`landmark`] reads.
///
/// The same files give the same bytes.
///
/// # Errors
/// When a file is missing or malformed, or the engine refuses the network.
pub fn build(
    folder: &Path,
    precision: Precision,
    form: LandmarkForm,
    secret_key: Option<[u8; 32]>,
    out: &Path,
) -> Result<RecogniserManifest> {
    let json = folder.join("recogniser.json");
    let config = Config::read(&json)?;
    let card: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json)?)?;
    let fact = |key: &str| {
        card["training"][key].as_str().map_or_else(|| "not stated".to_owned(), str::to_owned)
    };
    let checkpoint = Checkpoint::open(&folder.join("recogniser.safetensors"))?;
    let network = Network::infer(&checkpoint, &config)?;
    ensure!(
        network.assumed.is_empty(),
        "recogniser.json does not settle the network: {}",
        network.assumed.join("; ")
    );
    let facts = Facts {
        name: "keyface-default".into(),
        licence: fact("use"),
        provenance: fact("data"),
        secret_key,
    };
    let landmark = landmark(folder, form)?;
    assemble::import(&checkpoint, &network, precision, Some(&landmark), &facts, out, |_| ())
}
