//! The manifest: what networks a pack holds and how to feed them.

use super::landmark::LandmarkManifest;
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// The largest manifest in bytes.
const MAX_JSON: usize = 1 << 20;

/// Everything a pack says of itself. Stored as JSON; unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the pack for people.
    pub name: String,
    /// Lowest SDK version that runs it, `major.minor.patch`.
    pub min_sdk: String,
    /// Licence of the weights and what they may be used for.
    pub licence: String,
    /// Where the training data came from.
    pub provenance: String,
    /// The recogniser, if the pack holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recogniser: Option<RecogniserManifest>,
    /// The landmark network, if the pack holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landmark: Option<LandmarkManifest>,
    /// How many golden vectors `vectors/I/..` the pack carries for its self-test.
    #[serde(default)]
    pub vectors: usize,
}

/// Arithmetic of a recogniser's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision throughout: the reference.
    F32,
    /// int8 weights per output channel, int8 activations per token, exact integer accumulation.
    Int8,
}

/// How pixels become network input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputConvention {
    /// Planar RGB, `(x / 255 - 0.5) / 0.5`.
    #[serde(rename = "rgb-half")]
    RgbHalf,
}

/// How an image becomes tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Stem {
    /// Non-overlapping square patches of `size` pixels, one linear layer.
    Patch {
        /// Side of a patch in pixels.
        size: usize,
    },
    /// 3x3 convolutions of stride 2 and padding 1, ReLU6 between them; the last one gives the tokens.
    Conv {
        /// Output channels of each convolution; the last equals `embed_dim`.
        channels: Vec<usize>,
    },
}

impl Stem {
    /// Pixels per token along one side.
    #[must_use]
    pub fn stride(&self) -> usize {
        match self {
            Stem::Patch { size } => *size,
            Stem::Conv { channels } => 1usize.checked_shl(channels.len() as u32).unwrap_or(0),
        }
    }
}

/// What the key-point tables share and how key points enter them (arXiv 2403.14852, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeypointForm {
    /// Differences to the key points; one table per head and block: the published form.
    RelKeypointSplitheadUnshared,
    /// One table per head, shared by all blocks.
    RelKeypointSplithead,
    /// One table per block, shared by all heads.
    RelKeypointUnshared,
    /// One table for everything.
    RelKeypoint,
    /// Absolute key points: one row for all queries, shared by everything.
    Keypoint,
}

impl KeypointForm {
    /// Whether each block has tables of its own.
    #[must_use]
    pub fn per_block(self) -> bool {
        matches!(
            self,
            KeypointForm::RelKeypointSplitheadUnshared | KeypointForm::RelKeypointUnshared
        )
    }

    /// Whether each head has tables of its own.
    #[must_use]
    pub fn per_head(self) -> bool {
        matches!(
            self,
            KeypointForm::RelKeypointSplitheadUnshared | KeypointForm::RelKeypointSplithead
        )
    }

    /// Whether key points enter as differences to the patch centre.
    #[must_use]
    pub fn relative(self) -> bool {
        self != KeypointForm::Keypoint
    }
}

/// Relative position encoding of the attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Rpe {
    /// None: absolute position only.
    None,
    /// iRPE (contextual, product buckets) on keys.
    IrpeK,
    /// iRPE on queries, keys and values.
    IrpeQkv,
    /// KP-RPE on keys.
    Kprpe {
        /// Sharing and kind of the tables.
        form: KeypointForm,
        /// How many of the five key points are used, 2 to 5.
        num_keypoints: usize,
    },
}

/// Architecture and input convention of a recogniser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecogniserManifest {
    /// Side of the square input crop in pixels.
    pub input_size: usize,
    /// Pixel convention.
    pub input: InputConvention,
    /// Version of the alignment and sampling that feeds the network, see [`crate::PREPROCESSING_VERSION`].
    pub preprocessing: u32,
    /// Arithmetic of the weights.
    pub precision: Precision,
    /// Image to tokens.
    pub stem: Stem,
    /// Width of a token.
    pub embed_dim: usize,
    /// Number of transformer blocks.
    pub depth: usize,
    /// Attention heads; divides `embed_dim`.
    pub num_heads: usize,
    /// Width of the hidden layer of each block's MLP.
    pub mlp_dim: usize,
    /// Width between the two layers of the head.
    pub hidden_dim: usize,
    /// Length of the embedding.
    pub output_dim: usize,
    /// Position encoding.
    pub rpe: Rpe,
    /// Hex SHA-256 that binds weights, precision and preprocessing; templates carry it.
    pub model_id: String,
}

impl RecogniserManifest {
    /// Tokens along one side.
    #[must_use]
    pub fn grid(&self) -> usize {
        self.input_size / self.stem.stride().max(1)
    }

    /// Number of tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.grid() * self.grid()
    }

    fn check(&self) -> Result<()> {
        let bad = |detail| Err(Error::new(ErrorKind::UnsupportedPack, detail));
        let range = |value: usize, max: usize| (1..=max).contains(&value);
        let stride = self.stem.stride();
        if !range(self.input_size, 512)
            || !range(stride, 128)
            || !self.input_size.is_multiple_of(stride)
            || self.grid() > 32
        {
            return bad("input size and stem do not fit each other");
        }
        if let Stem::Conv { channels } = &self.stem {
            if channels.last() != Some(&self.embed_dim) || channels.iter().any(|c| !range(*c, 4096))
            {
                return bad("the stem's channels do not lead to the token width");
            }
        }
        if !range(self.embed_dim, 4096) || !range(self.depth, 128) || !range(self.num_heads, 64) {
            return bad("a network dimension is out of range");
        }
        if !self.embed_dim.is_multiple_of(8 * self.num_heads) {
            return bad("heads must divide the token width into multiples of 8");
        }
        if !range(self.mlp_dim, 16384)
            || !range(self.hidden_dim, 4096)
            || !range(self.output_dim, 512)
        {
            return bad("a network dimension is out of range");
        }
        if let Rpe::Kprpe { num_keypoints, .. } = self.rpe {
            if !(2..=5).contains(&num_keypoints) {
                return bad("the number of key points is not 2 to 5");
            }
        }
        if decode_hex(&self.model_id).is_none() {
            return bad("the model id is not 64 hex digits");
        }
        Ok(())
    }

    /// The 32 bytes of [`RecogniserManifest::model_id`].
    #[must_use]
    pub fn model_digest(&self) -> [u8; 32] {
        decode_hex(&self.model_id).unwrap_or([0; 32])
    }
}

impl Manifest {
    /// Reads and checks a manifest.
    pub(super) fn parse(json: &[u8]) -> Result<Manifest> {
        if json.len() > MAX_JSON {
            return Err(Error::new(ErrorKind::DamagedPack, "the manifest is too long"));
        }
        let manifest: Manifest = serde_json::from_slice(json).map_err(|e| {
            log::error!("manifest: {e}");
            Error::new(ErrorKind::DamagedPack, "the manifest is not what this SDK expects")
        })?;
        match (version(&manifest.min_sdk), version(crate::VERSION)) {
            (Some(need), Some(have)) if need <= have => {}
            (Some(_), _) => {
                return Err(Error::new(ErrorKind::UnsupportedPack, "the pack needs a newer SDK"))
            }
            (None, _) => {
                return Err(Error::new(ErrorKind::DamagedPack, "min_sdk is not major.minor.patch"))
            }
        }
        if manifest.vectors > 64 {
            return Err(Error::new(ErrorKind::DamagedPack, "too many golden vectors"));
        }
        manifest.recogniser.as_ref().map_or(Ok(()), RecogniserManifest::check)?;
        manifest.landmark.as_ref().map_or(Ok(()), LandmarkManifest::check)?;
        Ok(manifest)
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self)
            .map_err(|_| Error::new(ErrorKind::Internal, "cannot write the manifest"))
    }
}

fn version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(|p| p.parse().ok());
    match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
        (Some(a), Some(b), Some(c), None) => Some((a, b, c)),
        _ => None,
    }
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|p| p[0] << 4 | p[1]).collect();
    (digits.len() == 64).then_some(())?;
    bytes.try_into().ok()
}
