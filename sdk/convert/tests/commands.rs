//! The command line, from checkpoint to a signed, calibrated pack.

mod common;

use common::Made;
use keyface::calibration::Calibration;
use keyface::error::ErrorKind;
use keyface::pack::{Pack, SectionKind, Trust};
use keyface_convert::npz::{Array, Npz};
use keyface_convert::run;
use std::path::Path;
use std::process::{Command, Output};

fn convert(folder: &Path, words: &str) -> Output {
    let words = words.split(' ');
    Command::new(env!("CARGO_BIN_EXE_keyface-convert"))
        .current_dir(folder)
        .args(words)
        .output()
        .unwrap()
}

fn works(folder: &Path, words: &str) -> String {
    let done = convert(folder, words);
    assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn fails(folder: &Path, words: &str) -> String {
    let done = convert(folder, words);
    assert_eq!(done.status.code(), Some(1), "{words}");
    String::from_utf8(done.stderr).unwrap()
}

#[test]
fn a_checkpoint_becomes_a_signed_calibrated_pack() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let made = Made::of("conv_stem");
    made.write(&at.join("net.safetensors"));
    std::fs::write(at.join("net.json"), made.config.to_string()).unwrap();

    works(at, "import net.safetensors --config net.json -o f32.kfpack");
    let quantise = "quantise net.safetensors --config net.json --report cost.json -o int8.kfpack";
    let text = fails(at, &format!("{quantise} --min-cosine 1"));
    assert!(text.contains("below the floor"), "{text}");
    assert!(!at.join("int8.kfpack").exists(), "a pack that fails its check is not written");
    let text = works(at, &format!("{quantise} --min-cosine 0.998"));
    assert!(text.contains("blocks.1.fc2") && text.contains("embedding cosine over 16 pictures"));
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(at.join("cost.json")).unwrap()).unwrap();
    assert!(report["embedding"]["worst"].as_f64().unwrap() > 0.998);
    works(at, "verify int8.kfpack --against f32.kfpack --min-cosine 0.998");

    let mut faces = run::synthetic(30, 112);
    faces.insert("identity", Array::f32(&[30], (0..30).map(|i| (i / 2) as f32).collect()));
    faces.write(&at.join("faces.npz")).unwrap();
    std::fs::write(at.join("key"), [7; 32]).unwrap();
    works(at, "calibrate int8.kfpack --faces faces.npz -o open.kfpack");
    let signer = works(at, "sign open.kfpack --key key -o signed.kfpack");
    let pack = Pack::open(&at.join("signed.kfpack"), Trust::Anyone).unwrap();
    let hex: String = pack.signer().unwrap().iter().map(|b| format!("{b:02x}")).collect();
    assert!(signer.contains(&hex));
    assert!(Pack::open(&at.join("signed.kfpack"), Trust::Key(*pack.signer().unwrap())).is_ok());
    let stranger = Pack::open(&at.join("signed.kfpack"), Trust::Key([1; 32])).unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::BadSignature);
    let section = pack.section("calibration").unwrap();
    assert_eq!(section.kind, SectionKind::Calibration);
    let table = Calibration::parse(pack.bytes(section)).unwrap();
    assert_eq!(table.impostor_pairs(), 30 * 29 / 2 - 15);
    assert!(table.threshold_for_fmr(1e-6).is_err(), "a rate beyond the data");

    let input = run::synthetic(2, 112);
    input.write(&at.join("in.npz")).unwrap();
    works(at, "run --pack signed.kfpack --input in.npz --output out.npz --blocks");
    let out = Npz::read(&at.join("out.npz")).unwrap();
    assert_eq!(out.get("embedding").unwrap().shape, [2, 24]);
    assert_eq!(out.get("block_out").unwrap().shape, [2, 2, 49, 32]);
    works(at, "run --checkpoint net.safetensors --config net.json --precision int8 --input in.npz --output same.npz");
    let same = Npz::read(&at.join("same.npz")).unwrap();
    assert_eq!(same.get("embedding").unwrap(), out.get("embedding").unwrap());
    let text = fails(at, "run --pack signed.kfpack --precision f32 --input in.npz --output no.npz");
    assert!(text.contains("the pack is Int8"), "{text}");
    let text = fails(at, "calibrate int8.kfpack --faces in.npz -o no.kfpack");
    assert!(text.contains("no array identity"), "{text}");
    let left: Vec<_> = std::fs::read_dir(at).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(left.iter().all(|n| !n.to_string_lossy().contains(".part")), "{left:?}");
}
