//! What a checkpoint's tensors cannot say.
//!
//! Sizes follow from shapes. The number of heads does not, nor whether key points enter as differences or as they are;
//! a configuration in the spelling of the published `model.yaml`, as JSON, says so. It is also checked against the
//! tensors where both speak.

use anyhow::{bail, ensure, Context, Result};
use keyface::pack::{KeypointForm, Rpe};
use serde::Deserialize;
use std::path::Path;

/// A configuration file's content. Every field is optional; fields of training are ignored.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Config {
    /// Token width.
    pub embed_dim: Option<usize>,
    /// Number of blocks.
    pub depth: Option<usize>,
    /// Attention heads.
    pub num_heads: Option<usize>,
    /// Pixels per token along one side.
    pub patch_size: Option<usize>,
    /// Length of the embedding.
    pub output_dim: Option<usize>,
    /// `[3, H, W]`.
    pub input_size: Option<InputSize>,
    /// `RGB` or `BGR`.
    pub color_space: Option<String>,
    /// Relative position encoding; absent for a plain ViT.
    pub rpe_config: Option<RpeConfig>,
    /// Name of the network, where it is not a recogniser.
    pub name: Option<String>,
}

/// A side in pixels or a whole shape.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum InputSize {
    /// Side of a square input.
    Side(usize),
    /// `[3, H, W]`.
    Shape([usize; 3]),
}

/// The published `rpe_config`.
#[derive(Debug, Clone, Deserialize)]
pub struct RpeConfig {
    /// `KPRPE_shared` or `iRPE`.
    pub name: String,
    /// `k` or `qkv`.
    #[serde(default = "on_keys")]
    pub rpe_on: String,
    /// Only `product` is supported.
    #[serde(default = "product")]
    pub method: String,
    /// Only 1.9, the published value, is supported.
    #[serde(default = "ratio")]
    pub ratio: f64,
    /// One of the five kinds of key-point tables.
    pub ctx_type: Option<String>,
    /// 2 to 5.
    pub num_keypoints: Option<usize>,
}

fn on_keys() -> String {
    "k".into()
}

fn product() -> String {
    "product".into()
}

fn ratio() -> f64 {
    1.9
}

impl Config {
    /// Reads a JSON file that holds a configuration, alone or under the key `config`.
    ///
    /// # Errors
    /// When the file cannot be read or is not such JSON, or asks for something unsupported.
    pub fn read(path: &Path) -> Result<Config> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// As [`Config::read`], from text.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(text: &str) -> Result<Config> {
        let mut value: serde_json::Value = serde_json::from_str(text).context("not JSON")?;
        if let Some(inner) = value.get_mut("config") {
            value = inner.take();
        }
        let config: Config = serde_json::from_value(value).context("not a configuration")?;
        if let Some(rpe) = &config.rpe_config {
            ensure!(rpe.method == "product", "rpe method {:?} is not supported", rpe.method);
            ensure!(
                (rpe.ratio - 1.9).abs() < 1e-9,
                "rpe ratio {} is not supported, only 1.9",
                rpe.ratio
            );
        }
        let space = config.color_space.as_deref().unwrap_or("RGB");
        let reads_rgb = space.starts_with("RGB") || config.name.is_some();
        ensure!(reads_rgb, "colour space {space:?} is not supported, only RGB");
        Ok(config)
    }

    /// The position encoding this configuration names, if it names one.
    ///
    /// # Errors
    /// For a name, kind or number that this tool does not know.
    pub fn rpe(&self) -> Result<Option<Rpe>> {
        let Some(rpe) = &self.rpe_config else { return Ok(None) };
        let on = rpe.rpe_on.as_str();
        Ok(Some(if rpe.name.eq_ignore_ascii_case("irpe") {
            match on {
                "k" => Rpe::IrpeK,
                "qkv" => Rpe::IrpeQkv,
                _ => bail!("iRPE on {on:?} is not supported, only k and qkv"),
            }
        } else if rpe.name.to_ascii_uppercase().starts_with("KPRPE") {
            ensure!(on == "k", "KP-RPE on {on:?} is not supported, only k");
            let form = rpe.ctx_type.as_deref().context("rpe_config lacks ctx_type")?;
            Rpe::Kprpe { form: form_of(form)?, num_keypoints: rpe.num_keypoints.unwrap_or(5) }
        } else {
            bail!("rpe {:?} is not supported", rpe.name)
        }))
    }

    /// Side of the input in pixels, if given.
    #[must_use]
    pub fn input_side(&self) -> Option<usize> {
        self.input_size.as_ref().map(|size| match size {
            InputSize::Side(side) => *side,
            InputSize::Shape([_, h, _]) => *h,
        })
    }
}

fn form_of(ctx_type: &str) -> Result<KeypointForm> {
    Ok(match ctx_type {
        "rel_keypoint_splithead_unshared" => KeypointForm::RelKeypointSplitheadUnshared,
        "rel_keypoint_splithead" => KeypointForm::RelKeypointSplithead,
        "rel_keypoint_unshared" => KeypointForm::RelKeypointUnshared,
        "rel_keypoint" => KeypointForm::RelKeypoint,
        "keypoint" => KeypointForm::Keypoint,
        other => bail!("ctx_type {other:?} is not one of the five published kinds"),
    })
}
