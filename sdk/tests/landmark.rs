//! The landmark network on a seeded pack: the same bytes everywhere, from the convolutions to the reported faces.

#[allow(dead_code)] // the recogniser's half
mod support;

use keyface::detect::{Detections, Detector};
use keyface::engine::ConvNet;
use keyface::frame::Frame;
use keyface::kernel::{pack_weights, Kernels};
use keyface::pack::{
    ConvLayer, DType, InputConvention, LandmarkManifest, LandmarkNetwork, Manifest, Pack,
    PackWriter, SectionKind, Trust,
};
use keyface::ErrorKind;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use support::Rng;

/// Name, input, channels, window and stride, what is added, ReLU.
type Row = (&'static str, &'static str, [usize; 2], [usize; 2], Option<(&'static str, bool)>, bool);

/// Every kind of layer: three planes, strides, additions of the same and of half the size, channels that fill no panel.
const LAYERS: [Row; 9] = [
    ("stem", "image", [3, 16], [3, 2], None, true),
    ("c2", "stem", [16, 24], [3, 2], None, true),
    ("c3", "c2", [24, 40], [3, 2], None, true),
    ("c3.body", "c3", [40, 40], [3, 1], Some(("c3", false)), true),
    ("c4", "c3.body", [40, 20], [3, 2], None, true),
    ("down4", "c4", [20, 40], [1, 1], None, false),
    ("lat3", "c3.body", [40, 40], [1, 1], Some(("down4", true)), true),
    ("out3", "lat3", [40, 15], [1, 1], None, false),
    ("out4", "c4", [20, 15], [1, 1], None, false),
];

fn manifest(network: LandmarkNetwork) -> Manifest {
    Manifest {
        name: "reduced".into(),
        min_sdk: "0.1.0".into(),
        licence: "MIT".into(),
        provenance: "seeded numbers".into(),
        recogniser: None,
        landmark: Some(LandmarkManifest {
            network,
            input: InputConvention::RgbHalf,
            strides: vec![8, 16],
            point_scale: 2.0,
            score_threshold: 0.5,
            nms_iou: 0.45,
        }),
        vectors: 0,
    }
}

fn layers() -> Vec<ConvLayer> {
    let layer = |&(name, input, channels, window, add, relu): &Row| ConvLayer {
        name: name.into(),
        input: input.into(),
        inputs: channels[0],
        outputs: channels[1],
        kernel: window[0],
        stride: window[1],
        add: add.map(|(from, _)| from.into()),
        enlarge: add.is_some_and(|(_, enlarge)| enlarge),
        relu,
    };
    LAYERS.iter().map(layer).collect()
}

/// The pack of [`LAYERS`] without the tensor `missing`.
fn pack(missing: &str) -> Arc<Pack> {
    let mut rng = Rng(11);
    let layers = layers();
    let outputs = vec!["out3".into(), "out4".into()];
    let network = LandmarkNetwork::Convolutions { layers: layers.clone(), outputs };
    let mut tensors = Vec::new();
    for layer in &layers {
        let (n, k) = (layer.outputs, layer.kernel.pow(2) * layer.inputs);
        let name = |leaf: &str| format!("landmark.{}.{leaf}", layer.name);
        let w: Vec<i8> = (0..n * k).map(|_| ((rng.next() % 255) as u8 as i8).max(-127)).collect();
        let panels: Vec<u8> = pack_weights(&w, n, k).into_iter().map(|q| q as u8).collect();
        let mut floats = |offset: f32, size: f32| -> Vec<u8> {
            (0..n).flat_map(|_| (offset + size * rng.unit()).to_le_bytes()).collect()
        };
        let spread = (3.0 / k as f32).sqrt() / 127.0;
        let scales = floats(spread, spread / 10.0);
        let bias = floats(0.0, 0.2);
        tensors.push((name("weight"), DType::I8Panels, vec![n, k], panels));
        tensors.push((name("scale"), DType::F32, vec![n], scales));
        tensors.push((name("bias"), DType::F32, vec![n], bias));
    }
    let mut writer = PackWriter::new(&manifest(network)).expect("a sound manifest");
    for (name, dtype, dims, bytes) in tensors.into_iter().filter(|t| t.0 != missing) {
        writer.tensor(&name, dtype, &dims, bytes).expect("a sound tensor");
    }
    Pack::from_bytes(&writer.finish(None), Trust::Anyone).expect("a sound pack")
}

fn hex(sha: Sha256) -> String {
    sha.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

#[test]
fn golden_hash_on_every_level_and_thread_count() {
    let pack = pack("");
    let mut failed = false;
    for level in Kernels::available() {
        for threads in [1, 2, 4] {
            let mut net = ConvNet::at_level(&pack, level.level(), threads).expect("a network");
            let (mut sha, mut rng) = (Sha256::new(), Rng(5));
            // The second size needs a new plan, the third has one.
            for (width, height) in [(96, 64), (48, 80), (96, 64)] {
                let image: Vec<u8> = (0..3 * width * height).map(|_| rng.next() as u8).collect();
                let mut cells = Vec::new();
                net.run((width, height), &image, |level, values| {
                    cells.push((level, values.len() / 15));
                    values.iter().for_each(|v| sha.update(v.to_le_bytes()));
                })
                .expect("a sound run");
                assert_eq!(cells, [(0, width * height / 64), (1, width * height / 256)]);
            }
            let got = hex(sha);
            println!("{} threads {threads}: {got}", level.level());
            failed |= got != NETWORK_HASH;
        }
    }
    assert!(!failed, "the landmark network's bytes changed");
}

const NETWORK_HASH: &str = "d7a99804718a73ad";

/// Sampling, network, decoding and suppression together, at this CPU's level.
#[test]
fn golden_hash_of_detections() {
    let mut rng = Rng(3);
    let pixels: Vec<u8> = (0..201 * 150 * 3).map(|_| (rng.next() >> 3) as u8).collect();
    let frame = Frame::rgb8(&pixels, 201, 150).expect("a sound frame");
    let mut sha = Sha256::new();
    let mut found = Detections::new();
    let mut detector = Detector::new(&pack(""), 160, Some(0.3), 1).expect("a detector");
    for _ in 0..2 {
        detector.detect(&frame, &mut found).expect("detection");
        for face in &found {
            let rect = [face.rect.x, face.rect.y, face.rect.w, face.rect.h, face.score];
            let points = face.points.iter().flat_map(|p| [p.x, p.y]);
            rect.into_iter().chain(points).for_each(|v| sha.update(v.to_le_bytes()));
        }
    }
    let got = hex(sha);
    println!("{} faces: {got}", found.len());
    assert!(found.len() > 3, "a hash of something");
    assert_eq!(got, DETECTIONS_HASH);
}

const DETECTIONS_HASH: &str = "f67af93e67b5382c";

/// The default pack at every level, on a picture with edges and with padding.
#[test]
fn the_default_pack_gives_the_same_bytes_on_every_level() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/default.kfpack");
    let pack = Pack::open(path.as_ref(), Trust::Anyone).expect("the default pack");
    let image: Vec<u8> = (0..3 * 128 * 96)
        .map(|i| if i % 128 > 110 { 0 } else { ((i / 7 * 31) % 256) as u8 })
        .collect();
    let run = |level, threads| {
        let mut net = ConvNet::at_level(&pack, level, threads).expect("a network");
        let mut all = Vec::new();
        net.run((128, 96), &image, |_, values| all.extend(values.iter().map(|v| v.to_bits())))
            .expect("a sound run");
        all
    };
    let truth = run(keyface::kernel::CpuLevel::Scalar, 1);
    for level in Kernels::available() {
        for threads in [1, 2, 4] {
            assert!(run(level.level(), threads) == truth, "{} {threads}", level.level());
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut net = ConvNet::new(&pack(""), 1).expect("a network");
    let mut kind = |size: (usize, usize), len: usize| {
        net.run(size, &vec![0; len], |_, _| ()).map_err(|e| e.kind())
    };
    assert_eq!(kind((32, 16), 3 * 32 * 16), Ok(()));
    assert_eq!(kind((32, 16), 3 * 32 * 16 - 1), Err(ErrorKind::InvalidArgument));
    assert_eq!(kind((24, 16), 3 * 24 * 16), Err(ErrorKind::InvalidArgument));
    assert_eq!(kind((0, 16), 0), Err(ErrorKind::InvalidArgument));
    let missing = ConvNet::new(&pack("landmark.c3.scale"), 1).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::DamagedPack);
    assert_eq!(ConvNet::new(&pack(""), 0).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_profile_names_every_layer_and_counts_its_work() {
    let mut net = ConvNet::new(&pack(""), 1).expect("a network");
    let steps = net.profile((32, 16), &[77; 3 * 32 * 16]).expect("a sound run");
    let mut names: Vec<&str> = steps.iter().map(|s| s.name.as_str()).collect();
    names.retain(|n| *n != "image");
    names.sort_unstable();
    let mut want = LAYERS.map(|l| l.0);
    want.sort_unstable();
    assert_eq!(names, want);
    assert_eq!(steps.iter().map(|s| s.macs).sum::<u64>(), net.macs((32, 16)));
    let stem = steps.iter().find(|s| s.name == "stem").expect("a stem");
    assert_eq!((stem.macs, stem.operator.as_str()), (16 * 8 * 27 * 16, "KfConvolve"));
}

/// A pack may hold its landmark network as ONNX; what a build says of it depends on the feature `onnx`.
#[test]
fn an_onnx_network_is_named_when_it_cannot_run() {
    let network = LandmarkNetwork::Onnx { onnx: "g.onnx".into() };
    let mut writer = PackWriter::new(&manifest(network)).expect("a sound manifest");
    writer.blob("g.onnx", SectionKind::Onnx, vec![7u8; 65]).expect("a sound section");
    let pack = Pack::from_bytes(&writer.finish(None), Trust::Anyone).expect("a sound pack");
    let error = Detector::new(&pack, 320, None, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedPack);
    let says_so = error.to_string().contains("the feature onnx");
    assert_eq!(says_so, !cfg!(feature = "onnx"), "{error}");
    assert_eq!(ConvNet::new(&pack, 1).unwrap_err().kind(), ErrorKind::UnsupportedPack);
}
