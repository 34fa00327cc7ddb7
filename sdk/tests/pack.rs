//! The pack reader against sound, damaged and hostile files.

use keyface::pack::{DType, Manifest, Pack, PackWriter, SectionKind, Trust};
use keyface::ErrorKind;

fn manifest() -> Manifest {
    Manifest {
        name: "test".into(),
        min_sdk: "0.1.0".into(),
        licence: "MIT".into(),
        provenance: "made by this test".into(),
        recogniser: None,
        landmark: None,
        vectors: 0,
    }
}

fn sample(secret: Option<&[u8; 32]>) -> Vec<u8> {
    let values = [1.0f32, -2.0, 3.5];
    let mut w = PackWriter::new(&manifest()).unwrap();
    w.f32("a", &[3], &values).unwrap();
    w.tensor("b", DType::I8, &[2, 2], vec![1u8, 2, 3, 255]).unwrap();
    w.blob("g.onnx", SectionKind::Onnx, vec![7u8; 65]).unwrap();
    w.blob("later", SectionKind::Unknown(99), vec![1u8]).unwrap();
    w.finish(secret)
}

fn kind(bytes: &[u8], trust: Trust) -> Option<ErrorKind> {
    Pack::from_bytes(bytes, trust).err().map(|e| e.kind())
}

/// Writes the digest anew, so that the checks behind it are reached.
fn reseal(bytes: &mut [u8]) {
    use sha2::{Digest, Sha256};
    let mut h = Sha256::new();
    h.update(&bytes[..32]);
    h.update(&bytes[64..]);
    let digest = h.finalize();
    bytes[32..64].copy_from_slice(&digest);
}

#[test]
fn round_trip() {
    let bytes = sample(None);
    let pack = Pack::from_bytes(&bytes, Trust::Anyone).unwrap();
    assert_eq!(pack.f32("a").unwrap(), [1.0, -2.0, 3.5]);
    assert_eq!(pack.bytes(pack.section("b").unwrap()), [1, 2, 3, 255]);
    assert_eq!(pack.section("later").unwrap().kind, SectionKind::Unknown(99));
    assert_eq!(bytes, sample(None), "same input, same bytes");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.kfpack");
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(Pack::open(&path, Trust::Anyone).unwrap().digest(), pack.digest());
    assert_eq!(Pack::open(dir.path(), Trust::Anyone).unwrap_err().kind(), ErrorKind::DamagedPack);
    assert_eq!(
        Pack::open(&dir.path().join("none"), Trust::Anyone).unwrap_err().kind(),
        ErrorKind::Io
    );
}

#[test]
fn every_flipped_byte_and_every_truncation_is_noticed() {
    let good = sample(None);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x41;
        assert!(kind(&bad, Trust::Anyone).is_some(), "byte {at}");
        assert!(kind(&good[..at], Trust::Anyone).is_some(), "length {at}");
    }
}

#[test]
fn signatures() {
    let secret = [7u8; 32];
    let signed = sample(Some(&secret));
    let public = ed25519_dalek::SigningKey::from_bytes(&secret).verifying_key().to_bytes();
    assert_eq!(kind(&signed, Trust::Key(public)), None);
    assert_eq!(kind(&signed, Trust::Anyone), None);
    assert_eq!(kind(&signed, Trust::Key([1; 32])), Some(ErrorKind::BadSignature));
    assert_eq!(kind(&sample(None), Trust::Key(public)), Some(ErrorKind::BadSignature));
    for at in [0, 40, 64, 200, signed.len() - 128, signed.len() - 90, signed.len() - 1] {
        let mut bad = signed.clone();
        bad[at] ^= 1;
        assert!(kind(&bad, Trust::Key(public)).is_some(), "byte {at}");
    }
}

#[test]
fn malformed_files_behind_a_right_digest() {
    type Spoil = fn(&mut Vec<u8>);
    let entry = |i: usize| 64 + 128 * i;
    assert_eq!(entry(1), 192);
    let cases: &[(&str, Spoil, ErrorKind)] = &[
        ("empty", |b| b.clear(), ErrorKind::DamagedPack),
        ("magic", |b| b[0] = b'X', ErrorKind::DamagedPack),
        ("version 2", |b| b[8] = 2, ErrorKind::UnsupportedPack),
        ("no sections", |b| b[12] = 0, ErrorKind::DamagedPack),
        ("2^32-1 sections", |b| b[12..16].fill(255), ErrorKind::DamagedPack),
        ("length", |b| b[16] ^= 1, ErrorKind::DamagedPack),
        ("huge length", |b| b[16..24].fill(255), ErrorKind::DamagedPack),
        ("unknown flag", |b| b[24] = 2, ErrorKind::UnsupportedPack),
        ("signed, but no block", |b| b[24] = 1, ErrorKind::BadSignature),
        ("empty name", |b| b[192] = 0, ErrorKind::DamagedPack),
        ("control character in name", |b| b[192] = 7, ErrorKind::DamagedPack),
        ("name not padded with zero", |b| b[192 + 63] = b'a', ErrorKind::DamagedPack),
        ("two of one name", |b| b[192] = b'b', ErrorKind::DamagedPack),
        ("unknown kind", |b| b[192 + 64] = 77, ErrorKind::UnsupportedPack),
        ("second manifest", |b| b[192 + 64] = 1, ErrorKind::DamagedPack),
        ("offset overlaps", |b| b[192 + 72] ^= 64, ErrorKind::DamagedPack),
        ("offset 2^64-1", |b| b[192 + 72..192 + 80].fill(255), ErrorKind::DamagedPack),
        ("length 2^64-1", |b| b[192 + 80..192 + 88].fill(255), ErrorKind::DamagedPack),
        ("element type", |b| b[192 + 88] = 9, ErrorKind::UnsupportedPack),
        ("rank 9", |b| b[192 + 92] = 9, ErrorKind::DamagedPack),
        ("dimension", |b| b[192 + 96] = 2, ErrorKind::DamagedPack),
        ("dimensions overflow", |b| b[192 + 96..192 + 112].fill(255), ErrorKind::DamagedPack),
        ("dimension past rank", |b| b[192 + 100] = 2, ErrorKind::DamagedPack),
        ("reserved bytes", |b| b[192 + 120] = 2, ErrorKind::DamagedPack),
        (
            "bytes at the end",
            |b| {
                b.push(0);
                let n = b.len() as u64;
                b[16..24].copy_from_slice(&n.to_le_bytes());
            },
            ErrorKind::DamagedPack,
        ),
        (
            "manifest is no JSON",
            |b| {
                let at: usize = 64 + 128 * 5;
                b[at.next_multiple_of(64)] = b'x'
            },
            ErrorKind::DamagedPack,
        ),
    ];
    for (name, spoil, want) in cases {
        let mut bytes = sample(None);
        spoil(&mut bytes);
        if bytes.len() > 64 {
            reseal(&mut bytes);
        }
        assert_eq!(kind(&bytes, Trust::Anyone), Some(*want), "{name}");
    }
}

#[test]
fn a_pack_for_a_later_sdk_is_refused() {
    for (min_sdk, want) in [("99.0.0", ErrorKind::UnsupportedPack), ("x", ErrorKind::DamagedPack)] {
        let w = PackWriter::new(&Manifest { min_sdk: min_sdk.into(), ..manifest() }).unwrap();
        assert_eq!(kind(&w.finish(None), Trust::Anyone), Some(want));
    }
}
