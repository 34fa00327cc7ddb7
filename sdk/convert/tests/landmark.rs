//! The committed landmark network, from training's export to the SDK, against the vectors that PyTorch wrote beside it.

use keyface::engine::{ConvNet, OnnxModel};
use keyface::pack::{LandmarkNetwork, Pack, Precision, Trust};
use keyface_convert::defaults::{self, LandmarkForm};
use keyface_convert::npz::Npz;
use std::path::PathBuf;
use std::sync::Arc;

/// Values per cell: score logit, centre offset, log size, five points.
const CELL: usize = 15;

fn checkpoints() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../training/checkpoints")
}

fn build(form: LandmarkForm) -> Arc<Pack> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.kfpack");
    defaults::build(&checkpoints(), Precision::Int8, form, None, &file).unwrap();
    Pack::from_bytes(&std::fs::read(&file).unwrap(), Trust::Anyone).unwrap()
}

/// Width and height, `image` `[1, 3, h, w]` and the output `[1, cells, 15]` that PyTorch computed.
type Vector = ((usize, usize), Vec<f32>, Vec<f32>);

fn vectors() -> Vec<Vector> {
    let npz = Npz::read(&checkpoints().join("landmark_vectors.npz")).unwrap();
    (0..4)
        .map(|i| {
            let image = npz.get(&format!("image{i}")).unwrap();
            let (height, width) = (image.shape[2], image.shape[3]);
            let pred = npz.get(&format!("pred{i}")).unwrap();
            let copy = |a: &keyface_convert::npz::Array| a.as_f32().unwrap().to_vec();
            ((width, height), copy(image), copy(pred))
        })
        .collect()
}

/// Root mean square of the differences in the values `of` of every cell.
fn rms(got: &[f32], want: &[f32], of: std::ops::Range<usize>) -> f64 {
    let cells = got.chunks_exact(CELL).zip(want.chunks_exact(CELL));
    let squares = cells.flat_map(|(g, w)| {
        let values = g[of.clone()].iter().zip(&w[of.clone()]);
        values.map(|(g, w)| f64::from(g - w).powi(2)).collect::<Vec<_>>()
    });
    (squares.sum::<f64>() / (got.len() / CELL * of.len()) as f64).sqrt()
}

#[test]
fn int8_convolutions_stay_near_pytorch() {
    let mut net = ConvNet::new(&build(LandmarkForm::Int8), 1).unwrap();
    for (i, (size, image, want)) in vectors().into_iter().enumerate() {
        // The vectors' pictures are bytes, written as the network's values.
        let image: Vec<u8> = image.iter().map(|v| ((v + 1.0) * 127.5).round() as u8).collect();
        let mut got = Vec::new();
        net.run(size, &image, |_, values| got.extend_from_slice(values)).unwrap();
        assert_eq!(got.len(), want.len());
        let [score, place, points] = [0..1, 1..5, 5..15].map(|of| rms(&got, &want, of));
        let spread = rms(&want, &vec![0.0; want.len()], 0..1);
        println!(
            "{i}: rms of score logit {score:.4} of {spread:.2}, box {place:.4}, points {points:.4}"
        );
        assert!(score < 0.1 && place < 0.05 && points < 0.05, "{i}");
    }
}

#[test]
fn the_onnx_form_is_the_reference() {
    let pack = build(LandmarkForm::Onnx);
    let Some(LandmarkNetwork::Onnx { onnx }) =
        pack.manifest().landmark.as_ref().map(|l| &l.network)
    else {
        panic!("an ONNX network");
    };
    let mut model = OnnxModel::new(pack.bytes(pack.section(onnx).unwrap())).unwrap();
    let ((width, height), image, want) = vectors().swap_remove(1);
    model
        .run(&[1, 3, height, width], &image, |_, _, got| {
            assert_eq!(got.len(), want.len());
            let worst = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3, "{worst}");
        })
        .unwrap();
}

#[test]
fn a_list_that_does_not_fit_its_tensors_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["landmark.safetensors", "landmark.json"] {
        std::fs::copy(checkpoints().join(file), folder.path().join(file)).unwrap();
    }
    let landmark = |form| defaults::landmark(folder.path(), form).map(|l| l.tensors.len());
    assert!(landmark(LandmarkForm::Int8).unwrap() > 30);
    assert!(landmark(LandmarkForm::Onnx).unwrap_err().to_string().contains("landmark.onnx"));
    let json = std::fs::read_to_string(folder.path().join("landmark.json")).unwrap();
    let changed = json.replacen("\"outputs\": 24", "\"outputs\": 25", 1);
    assert_ne!(json, changed);
    std::fs::write(folder.path().join("landmark.json"), changed).unwrap();
    let error = landmark(LandmarkForm::Int8).unwrap_err().to_string();
    assert!(error.contains("c2.weight") && error.contains("[24, 16, 3, 3]"), "{error}");
    let older = json.replace("\"layers\"", "\"strata\"");
    std::fs::write(folder.path().join("landmark.json"), older).unwrap();
    assert!(landmark(LandmarkForm::Int8).is_err());
}
