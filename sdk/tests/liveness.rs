//! The slot for passive checks, with a model that calls red faces live.
//!
//! Needs the feature `onnx`. `data/mean_rgb.onnx` is four times the mean of each colour plane: GlobalAveragePool, Flatten, Mul.

#![cfg(feature = "onnx")]

use keyface::frame::Frame;
use keyface::geometry::Rect;
use keyface::liveness::{Liveness, PassiveCheck, PassiveRules};
use keyface::ErrorKind;

const MODEL: &[u8] = include_bytes!("data/mean_rgb.onnx");
const RULES: PassiveRules =
    PassiveRules { side: 32, expand: 1.5, real_class: 0, real_from: 0.8, spoof_to: 0.2 };

fn answer(colour: [u8; 3], rect: Rect) -> Liveness {
    let pixels: Vec<u8> = colour.iter().copied().cycle().take(3 * 80 * 60).collect();
    let frame = Frame::rgb8(&pixels, 80, 60).unwrap();
    PassiveCheck::new(MODEL, RULES).unwrap().check(&frame, &rect).unwrap()
}

#[test]
fn three_answers() {
    let rect = Rect::new(30.0, 20.0, 20.0, 20.0);
    assert_eq!(answer([255, 0, 0], rect), Liveness::Real);
    assert_eq!(answer([0, 0, 255], rect), Liveness::Spoof);
    assert_eq!(answer([255, 255, 0], rect), Liveness::Unsure);
}

#[test]
fn the_crop_is_around_the_face() {
    // Red on the left, blue on the right.
    let pixels: Vec<u8> =
        (0..80 * 60).flat_map(|i| if i % 80 < 40 { [255, 0, 0] } else { [0, 0, 255] }).collect();
    let frame = Frame::rgb8(&pixels, 80, 60).unwrap();
    let mut check = PassiveCheck::new(MODEL, RULES).unwrap();
    assert_eq!(check.check(&frame, &Rect::new(10.0, 20.0, 16.0, 16.0)).unwrap(), Liveness::Real);
    assert_eq!(check.check(&frame, &Rect::new(54.0, 20.0, 16.0, 16.0)).unwrap(), Liveness::Spoof);
}

#[test]
fn what_cannot_be_judged_is_unsure() {
    for rect in [
        Rect::new(f32::NAN, 0.0, 10.0, 10.0),
        Rect::new(0.0, 0.0, 0.0, 0.0),
        Rect::new(0.0, 0.0, 1e30, 1e30),
    ] {
        assert_eq!(answer([255, 0, 0], rect), Liveness::Unsure, "{rect:?}");
    }
}

#[test]
fn wrong_rules_and_models_are_refused() {
    let kind = |bytes: &[u8], rules| PassiveCheck::new(bytes, rules).unwrap_err().kind();
    assert_eq!(kind(MODEL, PassiveRules { side: 8, ..RULES }), ErrorKind::InvalidArgument);
    assert_eq!(kind(MODEL, PassiveRules { real_from: 0.1, ..RULES }), ErrorKind::InvalidArgument);
    assert_eq!(kind(MODEL, PassiveRules { expand: f32::NAN, ..RULES }), ErrorKind::InvalidArgument);
    assert_eq!(kind(b"no model", RULES), ErrorKind::UnsupportedPack);
    let pixels = vec![9; 3 * 80 * 60];
    let frame = Frame::rgb8(&pixels, 80, 60).unwrap();
    let mut check = PassiveCheck::new(MODEL, PassiveRules { real_class: 3, ..RULES }).unwrap();
    let refused = check.check(&frame, &Rect::new(10.0, 10.0, 20.0, 20.0)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::UnsupportedPack);
}
