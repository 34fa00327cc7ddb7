//! The default pack, from what training exports.

use crate::assemble::{self, Facts, Landmark};
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::network::Network;
use anyhow::{ensure, Context, Result};
use keyface::pack::{InputConvention, LandmarkManifest, Precision, RecogniserManifest};
use serde::Deserialize;
use std::path::Path;

/// The part of `landmark.json` that a pack needs.
#[derive(Deserialize)]
struct LandmarkFile {
    strides: Vec<usize>,
    point_scale: f32,
    nms_iou: f32,
    score_threshold: f32,
}

/// Reads `landmark.onnx` and `landmark.json` of `folder`.
///
/// # Errors
/// When a file is missing or malformed.
pub fn landmark(folder: &Path) -> Result<Landmark> {
    let path = folder.join("landmark.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let file: LandmarkFile = serde_json::from_str(&text)
        .with_context(|| format!("{} is not what training writes", path.display()))?;
    let path = folder.join("landmark.onnx");
    let onnx = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Landmark {
        onnx,
        manifest: LandmarkManifest {
            onnx: "landmark.onnx".into(),
            input: InputConvention::RgbHalf,
            strides: file.strides,
            point_scale: file.point_scale,
            score_threshold: file.score_threshold,
            nms_iou: file.nms_iou,
        },
    })
}

/// Builds the pack of `recogniser.safetensors`, `recogniser.json`, `landmark.onnx` and `landmark.json` in `folder`.
///
/// The same files give the same bytes.
///
/// # Errors
/// When a file is missing or malformed, or the engine refuses the network.
pub fn build(
    folder: &Path,
    precision: Precision,
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
    let landmark = landmark(folder)?;
    assemble::import(&checkpoint, &network, precision, Some(&landmark), &facts, out, |_| ())
}
