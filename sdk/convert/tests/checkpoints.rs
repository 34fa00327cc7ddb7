//! Reading checkpoints: what PyTorch writes, what is wrong with a file, what a hostile one tries.

mod common;

use common::Made;
use keyface::pack::{KeypointForm, Rpe};
use keyface_convert::checkpoint::Checkpoint;
use keyface_convert::config::Config;
use keyface_convert::network::Network;
use std::io::Write;
use std::path::{Path, PathBuf};
use zip::write::{FileOptions, ZipWriter};

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)
}

fn error<T>(result: anyhow::Result<T>) -> String {
    format!("{:#}", result.err().expect("an error"))
}

#[test]
fn state_dicts_of_pytorch_are_read() {
    for file in ["state.pt", "wrapped.pth"] {
        let c = Checkpoint::open(&data(file)).unwrap();
        assert_eq!(c.entries().len(), 6, "the prefix module. is gone");
        let weight: Vec<f32> = (0..12).map(|i| i as f32 / 8.0).collect();
        assert_eq!(
            (c.shape("a.weight").unwrap(), c.f32("a.weight").unwrap()),
            (&[3, 4][..], weight)
        );
        assert_eq!(c.f32("a.half").unwrap(), [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]);
        assert_eq!(c.f32("a.brain").unwrap(), [0.0, 1.5, 3.0, 4.5]);
        assert_eq!(c.f32("a.double").unwrap(), [1.0f32 / 3.0, 2.0]);
        assert_eq!(c.f32("b.part").unwrap(), [4.0, 5.0, 6.0, 7.0], "a view with an offset");
        assert!(error(c.f32("b.num_batches_tracked")).contains("integers"));
        assert!(error(c.f32("c")).contains("tensor c is missing"));
    }
}

#[test]
fn nothing_in_a_pickle_is_executed() {
    // made by torch.save from an object whose __reduce__ returns os.system
    let text = error(Checkpoint::open(&data("hostile.pt")));
    assert!(text.contains("asks for posix.system, which is no part of a state dict"), "{text}");
    assert!(error(Checkpoint::open(&data("turned.pt"))).contains("not stored contiguously"));
}

/// A PyTorch archive with this pickle and one storage of 16 bytes.
fn archive(pickle: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut zip = ZipWriter::new(file.reopen().unwrap());
    let stored = FileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("x/data.pkl", pickle), ("x/data/0", &[0u8; 16][..])] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    file
}

/// `{"w": tensor}` with this offset, size, stride and number of elements in the storage.
fn tensor_pickle(offset: i32, size: i32, stride: i32, count: i32) -> Vec<u8> {
    let int = |v: i32| [b"J".as_slice(), &v.to_le_bytes()].concat();
    let text = |t: &str| [b"X".as_slice(), &(t.len() as u32).to_le_bytes(), t.as_bytes()].concat();
    [
        b"\x80\x02}".as_slice(),
        &text("w"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((",
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        &int(count),
        b"tQ",
        &int(offset),
        &int(size),
        b"\x85",
        &int(stride),
        b"\x85\x89ccollections\nOrderedDict\n)RtRs.",
    ]
    .concat()
}

#[test]
fn tensors_stay_within_their_storage() {
    let good = tensor_pickle(0, 4, 1, 4);
    let c = Checkpoint::open(archive(&good).path()).unwrap();
    assert_eq!(c.f32("w").unwrap(), [0.0; 4]);
    for (offset, size, stride, count, says) in [
        (1, 4, 1, 4, "passes the end"),
        (0, 5, 1, 4, "passes the end"),
        (i32::MAX, 1, 1, 4, "passes the end"),
        (-1, 1, 1, 4, "negative offset"),
        (0, -4, 1, 4, "negative size"),
        (0, 2, 2, 4, "contiguously"),
        (0, 4, 1, 5, "another length"),
        (0, 4, 1, -1, "negative size"),
    ] {
        let file = archive(&tensor_pickle(offset, size, stride, count));
        let text = error(Checkpoint::open(file.path()));
        assert!(text.contains(says), "{text} should say {says}");
    }
    for cut in 0..good.len() {
        assert!(Checkpoint::open(archive(&good[..cut]).path()).is_err(), "cut at {cut}");
    }
}

#[test]
fn hostile_pickles_end_in_errors() {
    let nested = [b"\x80\x02".as_slice(), b")))", &[0x85; 100_000], b"."].concat();
    let slot = [b"\x80\x02Nr".as_slice(), &u32::MAX.to_le_bytes(), b"."].concat();
    let cycle = b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.".to_vec();
    let cases: [(&str, Vec<u8>); 8] = [
        ("builtins.eval", b"\x80\x02cbuiltins\neval\n.".to_vec()),
        ("no dictionary", nested),
        ("no dictionary", slot),
        ("no state dict", cycle),
        ("stack is empty", b"\x80\x020.".to_vec().into_iter().filter(|b| *b != b'0').collect()),
        ("opcode 0x69", b"\x80\x02(i.".to_vec()),
        ("no mark", b"\x80\x02t.".to_vec()),
        ("no list or dictionary", b"\x80\x02)Na.".to_vec()),
    ];
    for (says, pickle) in cases {
        let text = error(Checkpoint::open(archive(&pickle).path()));
        assert!(text.contains(says), "{text} should say {says}");
    }
}

fn opened(made: &Made) -> anyhow::Result<Network> {
    let file = tempfile::NamedTempFile::new().unwrap();
    made.write(file.path());
    Network::infer(&Checkpoint::open(file.path())?, &made.config())
}

#[test]
fn what_is_wrong_with_a_checkpoint_is_named() {
    let made = || Made::of("kprpe_rel_keypoint_splithead_unshared");
    let mut missing = made();
    missing.tensors.retain(|t| t.0 != "net.blocks.1.mlp.fc2.bias");
    assert!(error(opened(&missing)).contains("missing: blocks.1.mlp.fc2.bias"));
    let mut extra = made();
    extra.tensors.push(("net.blocks.0.gate".into(), vec![2], vec![0.0; 2]));
    assert!(error(opened(&extra)).contains("not expected: blocks.0.gate"));
    let mut misshapen = made();
    let norm = misshapen.tensors.iter_mut().find(|t| t.0 == "net.norm.weight").unwrap();
    (norm.1, norm.2) = (vec![31], vec![1.0; 31]);
    assert!(error(opened(&misshapen)).contains("norm.weight has shape [31], not [32]"));
    let mut contradicted = made();
    contradicted.config["num_heads"] = 4.into();
    assert!(error(opened(&contradicted)).contains("says 4 heads, the tensors say 2"));
    let mut nan = made();
    nan.tensors.iter_mut().find(|t| t.0 == "net.pos_embed").unwrap().2[5] = f32::NAN;
    let file = tempfile::NamedTempFile::new().unwrap();
    nan.write(file.path());
    assert!(
        error(Checkpoint::open(file.path()).unwrap().f32("pos_embed")).contains("NaN at element 5")
    );
}

#[test]
fn every_customary_prefix_is_taken_off() {
    for prefix in ["", "net.", "model.net.", "module.", "module.net.", "module.model.net."] {
        let mut made = Made::of("irpe_k");
        for t in &mut made.tensors {
            t.0 = format!("{prefix}{}", t.0.strip_prefix("net.").unwrap());
        }
        assert_eq!(opened(&made).unwrap().manifest.rpe, Rpe::IrpeK, "{prefix:?}");
    }
}

#[test]
fn what_tensors_cannot_say_is_assumed_aloud() {
    let infer = |kind: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        Made::of(kind).write(file.path());
        Network::infer(&Checkpoint::open(file.path()).unwrap(), &Config::default()).unwrap()
    };
    let n = infer("kprpe_rel_keypoint_splithead_unshared");
    let form = KeypointForm::RelKeypointSplitheadUnshared;
    assert_eq!((n.manifest.rpe, n.manifest.num_heads), (Rpe::Kprpe { form, num_keypoints: 5 }, 2));
    assert_eq!(n.assumed.len(), 1);
    let n = infer("irpe_k");
    assert_eq!((n.manifest.num_heads, n.assumed.len()), (2, 0));
    let n = infer("vit");
    assert!(n.assumed[0].contains("1 heads"), "{:?}", n.assumed);
}

#[test]
fn damaged_safetensors_are_errors() {
    let file = tempfile::NamedTempFile::new().unwrap();
    Made::of("vit").write(file.path());
    let good = std::fs::read(file.path()).unwrap();
    let says = |bytes: &[u8]| {
        std::fs::write(file.path(), bytes).unwrap();
        error(Checkpoint::open(file.path()))
    };
    assert!(says(&good[..3]).contains("too short"));
    assert!(says(&good[..100]).contains("neither a safetensors file"));
    assert!(says(&good[..good.len() - 1]).contains("passes the end"));
    assert!(says(&[&good[..], &[0]].concat()).contains("too long"));
    let huge = [&u64::MAX.to_le_bytes()[..], &good[8..]].concat();
    assert!(says(&huge).contains("neither a safetensors file"));
    let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let text = String::from_utf8(good[8..8 + header].to_vec()).unwrap();
    let changed = |from: &str, to: &str| {
        let json = text.replacen(from, to, 1);
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &good[8 + header..]].concat()
    };
    assert!(says(&changed("F32", "F31")).contains("F31"));
    assert!(says(&changed("\"shape\":[32]", "\"shape\":[33]")).contains("disagree"));
    let overflow = changed("\"shape\":[32]", "\"shape\":[4294967295,4294967295,4294967295]");
    assert!(says(&overflow).contains("overflows"));
}

/// Changed bytes give an error or other numbers, never a panic: integer overflow panics in this profile.
#[test]
fn mutated_files_never_panic() {
    let file = tempfile::NamedTempFile::new().unwrap();
    Made::of("vit").write(file.path());
    let mut tensors = std::fs::read(file.path()).unwrap();
    tensors.truncate(8 + u64::from_le_bytes(tensors[..8].try_into().unwrap()) as usize + 64);
    let (mut opened, mut refused) = (0, 0);
    for (name, good) in [("pt", std::fs::read(data("state.pt")).unwrap()), ("safetensors", tensors)]
    {
        for round in 0..500 {
            let mut bytes = good.clone();
            let draws: Vec<f64> = common::numbers(&format!("{name}{round}"), 9).collect();
            for pair in draws[1..].chunks(2).take(1 + round % 4) {
                let at = ((pair[0] + 0.5) * bytes.len() as f64) as usize;
                bytes[at] = ((pair[1] + 0.5) * 256.0) as u8;
            }
            if round % 5 == 0 {
                bytes.truncate(((draws[0] + 0.5) * bytes.len() as f64) as usize);
            }
            std::fs::write(file.path(), &bytes).unwrap();
            match Checkpoint::open(file.path()) {
                Ok(c) => {
                    opened += 1;
                    let names: Vec<String> = c.entries().keys().cloned().collect();
                    names.iter().for_each(|n| drop(c.f32(n)));
                    drop(Network::infer(&c, &Config::default()));
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(opened > 50 && refused > 50, "{opened} opened, {refused} refused");
}
