//! The landmark network's part of the manifest: which layers it has and how to read its output.

use super::manifest::InputConvention;
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Most layers of a landmark network.
const MAX_LAYERS: usize = 128;
/// Most channels of a layer.
const MAX_CHANNELS: usize = 512;
/// Coarsest layer, in pixels per cell.
const MAX_SHRINK: usize = 128;
/// Values of all layers together per pixel of the input: bounds the memory of a run.
const MAX_VALUES_PER_PIXEL: f64 = 64.0;
/// What a layer names that reads the picture.
const IMAGE: &str = "image";
/// Numbers per cell of the output: score logit, centre offset, log size, five points.
pub(crate) const CELL_VALUES: usize = 15;

/// How to run the landmark network and read its output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LandmarkManifest {
    /// The network.
    #[serde(flatten)]
    pub network: LandmarkNetwork,
    /// Pixel convention.
    pub input: InputConvention,
    /// Cell sizes in pixels, one per output level, in the order of the output rows.
    pub strides: Vec<usize>,
    /// Unit of the point offsets, in strides.
    pub point_scale: f32,
    /// Recommended lowest score.
    pub score_threshold: f32,
    /// Overlap (intersection over union) above which the weaker of two boxes is dropped.
    pub nms_iou: f32,
}

/// A landmark network: convolutions of our own, or any ONNX graph with the same output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LandmarkNetwork {
    /// int8 convolutions whose tensors are `landmark.{layer}.weight`, `.scale` and `.bias`.
    Convolutions {
        /// In an order in which every layer comes behind those that it reads.
        layers: Vec<ConvLayer>,
        /// The layers that give the output, one per stride.
        outputs: Vec<String>,
    },
    /// An ONNX section, run in f32 where the SDK is built with the feature `onnx`. Its one input is planar RGB
    /// `[1, 3, height, width]`, its first output `[1, cells, 15]`.
    Onnx {
        /// Name of the section.
        onnx: String,
    },
}

/// One convolution with what is fused behind it: `convolve, add, ReLU`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvLayer {
    /// Name, part of the names of its tensors.
    pub name: String,
    /// The layer that it reads, or `image`.
    pub input: String,
    /// Channels that it reads, 1..=512.
    pub inputs: usize,
    /// Channels that it gives, 1..=512.
    pub outputs: usize,
    /// Side of the window: 1, or 3 with one value of zero padding.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// The layer whose output is added to the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<String>,
    /// What is added has half the height and width; each of its pixels stands for two by two.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enlarge: bool,
    /// Negative results become 0, last of all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relu: bool,
}

/// Where a layer's inputs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Links {
    /// `None` is the picture.
    pub(crate) input: Option<usize>,
    pub(crate) add: Option<usize>,
    /// Pixels of the picture per cell of the layer, along one side.
    pub(crate) shrink: usize,
}

/// The links of every layer, or what is wrong with the list.
pub(crate) fn links(layers: &[ConvLayer]) -> std::result::Result<Vec<Links>, &'static str> {
    if layers.is_empty() || layers.len() > MAX_LAYERS {
        return Err("the number of layers is out of range");
    }
    let mut found: Vec<Links> = Vec::with_capacity(layers.len());
    let mut values = 0.0;
    for (i, layer) in layers.iter().enumerate() {
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
        let before = |name: &str| layers[..i].iter().position(|l| l.name == name);
        if !(1..=40).contains(&layer.name.len())
            || !layer.name.bytes().all(plain)
            || layer.name == IMAGE
            || before(&layer.name).is_some()
        {
            return Err("a layer's name is unsound or used twice");
        }
        let channels = |c: usize| (1..=MAX_CHANNELS).contains(&c);
        if !channels(layer.inputs) || !channels(layer.outputs) {
            return Err("a layer's channels are out of range");
        }
        if !matches!(layer.kernel, 1 | 3) || !matches!(layer.stride, 1 | 2) {
            return Err("a layer's window or stride is out of range");
        }
        let input = if layer.input == IMAGE { None } else { before(&layer.input) };
        let (inputs, above) = match input {
            Some(at) => (layers[at].outputs, found[at].shrink),
            None if layer.input == IMAGE => (3, 1),
            None => return Err("a layer reads one that does not come before it"),
        };
        let shrink = above * layer.stride;
        if inputs != layer.inputs || shrink > MAX_SHRINK {
            return Err("a layer does not fit what it reads");
        }
        let add = match &layer.add {
            None if layer.enlarge => return Err("a layer enlarges nothing"),
            None => None,
            Some(name) => {
                let at = before(name).ok_or("a layer adds one that does not come before it")?;
                let times = if layer.enlarge { 2 } else { 1 };
                if layers[at].outputs != layer.outputs || found[at].shrink != shrink * times {
                    return Err("a layer does not fit what it adds");
                }
                Some(at)
            }
        };
        values += layer.outputs as f64 / (shrink * shrink) as f64;
        found.push(Links { input, add, shrink });
    }
    if values > MAX_VALUES_PER_PIXEL {
        return Err("the layers are too large");
    }
    Ok(found)
}

impl LandmarkManifest {
    pub(super) fn check(&self) -> Result<()> {
        let unit = |v: f32| (0.0..=1.0).contains(&v);
        let strides = !self.strides.is_empty()
            && self.strides.len() <= 6
            && self.strides.iter().all(|s| s.is_power_of_two() && (4..=128).contains(s));
        let sound = strides
            && unit(self.score_threshold)
            && unit(self.nms_iou)
            && (0.01..=100.0).contains(&self.point_scale);
        let layers = match &self.network {
            LandmarkNetwork::Onnx { .. } => Ok(()),
            LandmarkNetwork::Convolutions { layers, outputs } => self.check_layers(layers, outputs),
        };
        match layers {
            Ok(()) if sound => Ok(()),
            Ok(()) => Err("the landmark network's description is out of range"),
            Err(what) => Err(what),
        }
        .map_err(|what| Error::new(ErrorKind::UnsupportedPack, what))
    }

    fn check_layers(
        &self,
        layers: &[ConvLayer],
        outputs: &[String],
    ) -> std::result::Result<(), &'static str> {
        let links = links(layers)?;
        if outputs.len() != self.strides.len() {
            return Err("the landmark network does not have one output per stride");
        }
        // The input is a multiple of the largest stride: then every layer's size is exact.
        let largest = self.strides.iter().copied().max().unwrap_or(0);
        if links.iter().any(|l| l.shrink > largest) {
            return Err("a layer is coarser than the coarsest output");
        }
        for (name, stride) in outputs.iter().zip(&self.strides) {
            let at = layers.iter().position(|l| l.name == *name);
            let at = at.ok_or("the landmark network names an output that it does not have")?;
            if layers[at].outputs != CELL_VALUES || links[at].shrink != *stride {
                return Err("an output of the landmark network has another shape");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str, input: &str, size: [usize; 2], kernel: usize, stride: usize) -> ConvLayer {
        ConvLayer {
            name: name.into(),
            input: input.into(),
            inputs: size[0],
            outputs: size[1],
            kernel,
            stride,
            add: None,
            enlarge: false,
            relu: true,
        }
    }

    fn network() -> LandmarkManifest {
        let mut b = layer("b", "a", [8, 8], 3, 1);
        b.add = Some("a".into());
        let mut e = layer("e", "b", [8, 8], 1, 1);
        (e.add, e.enlarge) = (Some("c".into()), true);
        let layers = vec![
            layer("s", "image", [3, 8], 3, 2),
            layer("a", "s", [8, 8], 3, 2),
            b,
            layer("c", "b", [8, 8], 3, 2),
            e,
            layer("o", "e", [8, 15], 1, 1),
            layer("p", "c", [8, 15], 1, 1),
        ];
        LandmarkManifest {
            network: LandmarkNetwork::Convolutions {
                layers,
                outputs: vec!["o".into(), "p".into()],
            },
            input: InputConvention::RgbHalf,
            strides: vec![4, 8],
            point_scale: 2.0,
            score_threshold: 0.5,
            nms_iou: 0.45,
        }
    }

    #[test]
    fn links_follow_the_names() {
        let manifest = network();
        manifest.check().unwrap();
        let LandmarkNetwork::Convolutions { layers, .. } = &manifest.network else { panic!() };
        let links = links(layers).unwrap();
        assert_eq!(links[0], Links { input: None, add: None, shrink: 2 });
        assert_eq!(links[2], Links { input: Some(1), add: Some(1), shrink: 4 });
        assert_eq!(links[4], Links { input: Some(2), add: Some(3), shrink: 4 });
    }

    #[test]
    fn unsound_lists_are_refused() {
        type Change = fn(&mut Vec<ConvLayer>, &mut Vec<String>);
        let changes: [(&str, Change); 16] = [
            ("empty", |l, _| l.clear()),
            ("name twice", |l, _| l[1].name = "s".into()),
            ("name", |l, _| l[6].name = "p/".into()),
            ("reserved name", |l, _| l[0].name = "image".into()),
            ("itself", |l, _| l[1].input = "a".into()),
            ("later", |l, _| l[1].input = "c".into()),
            ("channels", |l, _| l[1].inputs = 9),
            ("no channels", |l, _| l[0].outputs = 0),
            ("window", |l, _| l[0].kernel = 5),
            ("stride", |l, _| l[0].stride = 0),
            ("addition of another size", |l, _| l[3].add = Some("a".into())),
            ("enlarges nothing", |l, _| l[1].enlarge = true),
            ("enlarges its own size", |l, _| l[2].enlarge = true),
            ("output's channels", |l, _| l[5].outputs = 16),
            ("no such output", |_, o| o[0] = "q".into()),
            ("outputs in another order", |_, o| o.swap(0, 1)),
        ];
        for (what, change) in changes {
            let mut manifest = network();
            let LandmarkNetwork::Convolutions { layers, outputs } = &mut manifest.network else {
                panic!()
            };
            change(layers, outputs);
            assert!(manifest.check().is_err(), "{what}");
        }
        let mut manifest = network();
        manifest.strides.pop();
        assert!(manifest.check().is_err(), "an output too many");
        let wide = (0..100).map(|i| layer(&format!("w{i}"), "image", [3, 512], 1, 1));
        assert!(links(&wide.collect::<Vec<_>>()).is_err(), "too large");
    }

    #[test]
    fn both_kinds_are_read_from_json() {
        let onnx = r#"{"onnx": "g.onnx", "input": "rgb-half", "strides": [8], "point_scale": 2.0,
            "score_threshold": 0.5, "nms_iou": 0.45, "unknown": 1}"#;
        let manifest: LandmarkManifest = serde_json::from_str(onnx).unwrap();
        assert_eq!(manifest.network, LandmarkNetwork::Onnx { onnx: "g.onnx".into() });
        let ours = network();
        let json = serde_json::to_string(&ours).unwrap();
        assert_eq!(serde_json::from_str::<LandmarkManifest>(&json).unwrap(), ours);
    }
}
