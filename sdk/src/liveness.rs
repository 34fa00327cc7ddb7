//! The slot for a passive check against presentation attacks: any ONNX classifier of face crops.
//!
//! The SDK ships no such model and claims nothing for one. `keyface pad-report` measures yours; `THREATS.md` says what the
//! active challenge stops.

use crate::engine::OnnxModel;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::geometry::{Rect, Similarity};
use crate::sample::warp_into;
use zeroize::Zeroize;

/// What a presentation-attack check says of a face.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Liveness {
    /// No check was made.
    #[default]
    NotChecked,
    /// A live face.
    Real,
    /// A picture, a screen, a mask.
    Spoof,
    /// The check cannot tell.
    Unsure,
}

/// How a passive model is fed and read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PassiveRules {
    /// Side of the model's square input in pixels, 16..=512; planar RGB, `(x / 255 - 0.5) / 0.5`.
    pub side: usize,
    /// The crop is a square around the face's box, this many times its longer side, 0.5..=4.
    pub expand: f32,
    /// Which of the model's outputs stands for a live face. All outputs are logits of one softmax.
    pub real_class: usize,
    /// From this probability of a live face on the answer is "real".
    pub real_from: f32,
    /// Up to this probability of a live face the answer is "spoof"; between the two it is "unsure".
    pub spoof_to: f32,
}

impl PassiveRules {
    /// What many published models take: 80 pixels, one and a half boxes, the second output; sure from 0.8 and up to 0.2.
    pub const USUAL: PassiveRules =
        PassiveRules { side: 80, expand: 1.5, real_class: 1, real_from: 0.8, spoof_to: 0.2 };
}

/// A passive model with its buffers. One thread at a time.
pub struct PassiveCheck {
    model: OnnxModel,
    rules: PassiveRules,
    crop: Vec<u8>,
    input: Vec<f32>,
}

impl PassiveCheck {
    /// Loads the ONNX model in `bytes`.
    ///
    /// # Errors
    /// `InvalidArgument` for a rule out of range, `UnsupportedPack` if the model cannot be read or does not take the input.
    pub fn new(bytes: &[u8], rules: PassiveRules) -> Result<PassiveCheck> {
        let share = |v: f32| (0.0..=1.0).contains(&v);
        let sound = (16..=512).contains(&rules.side)
            && (0.5..=4.0).contains(&rules.expand)
            && share(rules.real_from)
            && share(rules.spoof_to)
            && rules.spoof_to < rules.real_from;
        if !sound {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a rule of the passive check is out of range",
            ));
        }
        let mut model = OnnxModel::new(bytes)?;
        model.prepare(&[1, 3, rules.side, rules.side])?;
        let count = 3 * rules.side * rules.side;
        Ok(PassiveCheck { model, rules, crop: vec![0; count], input: vec![0.0; count] })
    }

    /// Judges the face in the box `face` (upright frame pixels). A box that no crop can be made of, or an output that is not a number, is `Unsure`.
    ///
    /// # Errors
    /// `UnsupportedPack` if the model has no output for `real_class`; `Internal` if the engine fails.
    pub fn check(&mut self, frame: &Frame<'_>, face: &Rect) -> Result<Liveness> {
        let PassiveRules { side, expand, real_class, real_from, spoof_to } = self.rules;
        let centre = face.centre();
        let scale = f64::from(face.w.max(face.h) * expand) / side as f64;
        let half = scale * (side as f64 - 1.0) / 2.0;
        let corner = (f64::from(centre.x) - half, f64::from(centre.y) - half);
        let Some(to_frame) = Similarity::new(scale, 0.0, corner.0, corner.1) else {
            return Ok(Liveness::Unsure);
        };
        if warp_into(frame, &to_frame, side, &mut self.crop).is_err() {
            return Ok(Liveness::Unsure);
        }
        for (to, from) in self.input.iter_mut().zip(&self.crop) {
            *to = (f32::from(*from) / 255.0 - 0.5) / 0.5;
        }
        let mut real = None;
        self.model.run(&[1, 3, side, side], &self.input, |i, _, logits| {
            if i == 0 {
                real = logits.get(real_class).map(|own| {
                    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    (own - top).exp() / logits.iter().map(|v| (v - top).exp()).sum::<f32>()
                });
            }
        })?;
        self.crop.as_mut_slice().zeroize();
        self.input.as_mut_slice().zeroize();
        let Some(real) = real else {
            return Err(Error::new(
                ErrorKind::UnsupportedPack,
                "the passive model has no such class",
            ));
        };
        Ok(if real >= real_from {
            Liveness::Real
        } else if real <= spoof_to {
            Liveness::Spoof
        } else {
            Liveness::Unsure
        })
    }
}

impl std::fmt::Debug for PassiveCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PassiveCheck").field("rules", &self.rules).finish_non_exhaustive()
    }
}
