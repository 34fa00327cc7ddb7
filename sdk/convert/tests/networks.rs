//! The networks' numbers: against the PyTorch reference, the golden vectors and ONNX Runtime.
//!
//! The full set needs `../shared/golden` and a Python (see `common::python`); without, a smaller one of our own runs.
//! `KEYFACE_GOLDEN=all` adds the four large networks (minutes, 2 GB of disk).

mod common;

use common::{golden, kinds, numbers, python, shared_golden, Made};
use keyface::engine::Recogniser;
use keyface::pack::{Pack, Precision, Trust};
use keyface_convert::assemble::{self, Facts};
use keyface_convert::checkpoint::Checkpoint;
use keyface_convert::config::Config;
use keyface_convert::network::Network;
use keyface_convert::npz::{Array, Npz, Values};
use keyface_convert::{dfa, export, run, verify};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn import(checkpoint: &Path, config: &Config, precision: Precision, out: &Path) -> Arc<Pack> {
    let checkpoint = Checkpoint::open(checkpoint).unwrap();
    let network = Network::infer(&checkpoint, config).unwrap();
    let facts = Facts { name: "test".into(), ..Facts::default() };
    assemble::import(&checkpoint, &network, precision, None, &facts, out, |_| ()).unwrap();
    Pack::open(out, Trust::Anyone).unwrap()
}

fn made_pack(kind: &str, precision: Precision, folder: &Path) -> Arc<Pack> {
    let made = Made::of(kind);
    let file = folder.join(format!("{kind}.safetensors"));
    made.write(&file);
    import(&file, &made.config(), precision, &folder.join(format!("{kind}.{precision:?}.kfpack")))
}

/// The inputs of `golden/make_golden.py`.
fn made_input() -> Npz {
    let image = numbers("image", 2 * 3 * 112 * 112).map(|u| ((u + 0.5) * 256.0) as u8).collect();
    let keypoints = numbers("keypoints", 20).map(|u| (u + 0.5) as f32).collect();
    let mut npz = Npz::default();
    npz.insert("image", Array { shape: vec![2, 3, 112, 112], values: Values::U8(image) });
    npz.insert("keypoints", Array::f32(&[2, 5, 2], keypoints));
    npz
}

fn furthest(a: &Array, b: &Array) -> f32 {
    assert_eq!(a.shape, b.shape);
    let pairs = a.as_f32().unwrap().iter().zip(b.as_f32().unwrap());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn cosines(a: &Array, b: &Array) -> Vec<f64> {
    let dim = a.shape[1];
    let rows = a.as_f32().unwrap().chunks_exact(dim).zip(b.as_f32().unwrap().chunks_exact(dim));
    rows.map(|(a, b)| {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    })
    .collect()
}

fn check_f32(what: &str, want: &Npz, got: &Npz, blocks: bool) {
    let (w, g) = (want.get("embedding").unwrap(), got.get("embedding").unwrap());
    let worst = cosines(w, g).into_iter().fold(1.0, f64::min);
    let error = furthest(w, g);
    assert!(worst >= 0.999_999, "{what}: f32 cosine {worst}");
    assert!(error <= 2e-4, "{what}: f32 error {error}");
    let mut line = format!("{what}: f32 cosine {worst:.7}, error {error:.1e}");
    if blocks {
        let error = furthest(want.get("block_out").unwrap(), got.get("block_out").unwrap());
        assert!(error <= 2e-4, "{what}: block error {error}");
        line += &format!(", blocks {error:.1e}");
    }
    println!("{line}");
}

fn check_int8(what: &str, want: &Npz, got: &Npz) {
    let all = cosines(want.get("embedding").unwrap(), got.get("embedding").unwrap());
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let worst = all.into_iter().fold(1.0, f64::min);
    println!("{what}: int8 cosine mean {mean:.6}, worst {worst:.6}");
    assert!(mean >= 0.999 && worst >= 0.998, "{what}: int8 cosine mean {mean}, worst {worst}");
}

#[test]
fn every_kind_computes_what_pytorch_computes() {
    let folder = tempfile::tempdir().unwrap();
    let input = made_input();
    let kinds = kinds();
    assert_eq!(kinds.len(), 11);
    for kind in kinds {
        let want = Npz::read(&golden(&format!("{kind}.npz"))).unwrap();
        let pack = made_pack(&kind, Precision::F32, folder.path());
        check_f32(&kind, &want, &run::recogniser(&pack, &input, true, 1).unwrap(), true);
        let pack = made_pack(&kind, Precision::Int8, folder.path());
        check_int8(&kind, &want, &run::recogniser(&pack, &input, false, 1).unwrap());
        assert!(Recogniser::new(&pack).unwrap().self_test().unwrap() > 0.999_999);
    }
}

#[test]
fn the_published_golden_vectors_hold() {
    let (Some(shared), Some(python)) = (shared_golden(), python()) else {
        eprintln!("skipped: no ../shared/golden or no Python");
        return;
    };
    let large = ["base", "small", "vit_small", "irpe_small"];
    let all = std::env::var("KEYFACE_GOLDEN").is_ok_and(|v| v == "all");
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(shared.join("shapes")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files {
        let kind = file.file_stem().unwrap().to_str().unwrap();
        if large.contains(&kind) && !all {
            continue;
        }
        let checkpoint = folder.path().join("checkpoint.safetensors");
        let made = Command::new(&python)
            .arg(shared.join("make_checkpoint.py"))
            .args([kind.as_ref(), checkpoint.as_os_str()])
            .status()
            .unwrap();
        assert!(made.success());
        let want = Npz::read(&shared.join(format!("expected/{kind}.npz"))).unwrap();
        let onnx = folder.path().join("model.onnx");
        if kind == "dfa" {
            let bytes = dfa::graph(&Checkpoint::open(&checkpoint).unwrap()).unwrap().encode();
            let got = dfa::run(&bytes, &want).unwrap();
            std::fs::write(&onnx, bytes).unwrap();
            let peer = onnx_runtime(&python, &onnx, &shared.join("expected/dfa.npz"));
            for name in ["landmarks", "bbox", "score"] {
                let error = furthest(want.get(name).unwrap(), got.get(name).unwrap());
                let apart = furthest(peer.get(name).unwrap(), got.get(name).unwrap());
                println!("dfa {name}: error {error:.1e}, ONNX Runtime {apart:.1e}");
                assert!(error <= 2e-4 && apart <= 1e-4);
            }
        } else {
            let input = &want;
            let config = Config::read(&shared.join(format!("expected/{kind}.json"))).unwrap();
            let blocks = want.get("block_out").is_ok();
            let pack =
                import(&checkpoint, &config, Precision::F32, &folder.path().join("f32.kfpack"));
            let got = run::recogniser(&pack, input, blocks, 1).unwrap();
            check_f32(kind, &want, &got, blocks);
            export::graph(&pack).unwrap().save(&onnx).unwrap();
            let peer = onnx_runtime(&python, &onnx, &shared.join(format!("expected/{kind}.npz")));
            let apart = furthest(peer.get("embedding").unwrap(), got.get("embedding").unwrap());
            println!("{kind}: ONNX Runtime {apart:.1e}");
            assert!(apart <= 1e-4, "{kind}: ONNX Runtime is {apart} away");
            let pack =
                import(&checkpoint, &config, Precision::Int8, &folder.path().join("i8.kfpack"));
            check_int8(kind, &want, &run::recogniser(&pack, input, false, 1).unwrap());
        }
        count += 1;
    }
    assert!(count >= 14, "only {count} golden cases");
}

fn onnx_runtime(python: &Path, model: &Path, input: &Path) -> Npz {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/onnx_run.py");
    let output = model.with_extension("out.npz");
    let done = Command::new(python).arg(script).args([model, input, &output]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Npz::read(&output).unwrap()
}

#[test]
fn onnx_runtime_gives_our_numbers_for_every_kind() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.npz");
    made_input().write(&input).unwrap();
    for kind in kinds() {
        let pack = made_pack(&kind, Precision::F32, folder.path());
        let onnx = folder.path().join(format!("{kind}.onnx"));
        export::graph(&pack).unwrap().save(&onnx).unwrap();
        let got = run::recogniser(&pack, &made_input(), false, 1).unwrap();
        let peer = onnx_runtime(&python, &onnx, &input);
        let apart = furthest(peer.get("embedding").unwrap(), got.get("embedding").unwrap());
        println!("{kind}: ONNX Runtime {apart:.1e}");
        assert!(apart <= 1e-4, "{kind}: ONNX Runtime is {apart} away");
    }
}

#[test]
fn key_points_move_the_embedding_while_the_pixels_stay() {
    let folder = tempfile::tempdir().unwrap();
    let pack = made_pack("conv_stem", Precision::Int8, folder.path());
    let mut session = Recogniser::new(&pack).unwrap().session(1).unwrap();
    let (image, points) = assemble::synthetic(3, 112);
    let mut embed = |points: &[[f32; 2]; 5]| {
        let mut out = vec![0.0; 24];
        session.run(&image, points, &mut out).unwrap();
        Array::f32(&[1, 24], out)
    };
    let base = embed(&points);
    assert_eq!(furthest(&base, &embed(&points)), 0.0);
    let (mut moved, mut swapped) = (points, points);
    moved[2][0] += 0.2;
    swapped.swap(0, 1);
    for other in [moved, swapped] {
        let cosine = cosines(&base, &embed(&other))[0];
        assert!(cosine < 0.9999, "cosine {cosine}");
    }
}

#[test]
fn the_same_checkpoint_gives_the_same_bytes_and_another_another_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut made = Made::of("conv_stem");
    made.write(&path("a.safetensors"));
    let first = import(&path("a.safetensors"), &made.config(), Precision::Int8, &path("1.kfpack"));
    import(&path("a.safetensors"), &made.config(), Precision::Int8, &path("2.kfpack"));
    assert_eq!(std::fs::read(path("1.kfpack")).unwrap(), std::fs::read(path("2.kfpack")).unwrap());
    let id = |pack: &Pack| pack.manifest().recogniser.clone().unwrap().model_id;
    let f32 = import(&path("a.safetensors"), &made.config(), Precision::F32, &path("3.kfpack"));
    assert_ne!(id(&first), id(&f32), "the precision is part of the model");
    let bias = made.tensors.iter_mut().find(|t| t.0 == "net.norm.bias").unwrap();
    bias.2[0] += 1e-3;
    made.write(&path("b.safetensors"));
    let other = import(&path("b.safetensors"), &made.config(), Precision::Int8, &path("4.kfpack"));
    assert_ne!(id(&first), id(&other), "every tensor is part of the model");
}

#[test]
fn verification_measures_and_names_what_quantisation_costs() {
    let folder = tempfile::tempdir().unwrap();
    let reference = made_pack("conv_stem", Precision::F32, folder.path());
    let candidate = made_pack("conv_stem", Precision::Int8, folder.path());
    let pictures = run::synthetic(4, 112);
    let shots = run::Shots::of(&pictures, 112).unwrap();
    let report = verify::compare(&reference, &candidate, &shots).unwrap();
    assert_eq!((report.layers.len(), report.blocks.len(), report.pictures), (14, 2, 4));
    assert!(report.layers.iter().all(|l| (30.0..60.0).contains(&l.snr_db)), "{report}");
    assert!(report.embedding.worst > 0.998 && report.embedding.worst < 1.0, "{report}");
    assert!(report.blocks.iter().all(|b| b.worst_cosine < 1.0 && b.worst_token < 49), "{report}");
    let same = verify::compare(&reference, &reference, &shots).unwrap();
    assert!(same.layers.is_empty() && (same.embedding.worst - 1.0).abs() < 1e-12);
    let other = made_pack("vit", Precision::Int8, folder.path());
    assert!(verify::compare(&reference, &other, &shots).is_err());
}
