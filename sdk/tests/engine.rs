//! The recogniser on reduced networks: the same bytes everywhere, key points that matter, inputs that are refused.

mod support;

use keyface::engine::{Recogniser, Session};
use keyface::kernel::Kernels;
use keyface::pack::{Precision, Stem};
use keyface::ErrorKind;
use sha2::{Digest, Sha256};
use support::{conv_stem, keypoints, manifest, pack, Rng};

fn embed(session: &mut Session, image: &[u8], points: &[[f32; 2]; 5]) -> Vec<f32> {
    let mut out = vec![0.0; session.output_dim()];
    session.run(image, points, &mut out).expect("a sound run");
    out
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Prints what it found, so that a changed hash can be judged; see the numerics contract in `kernel/mod.rs`.
fn hash(stem: Stem, seed: u64, level: &'static Kernels, threads: usize) -> String {
    let pack = pack(&manifest(stem, Precision::Int8), seed);
    let recogniser = Recogniser::at_level(&pack, level.level()).expect("a level of this CPU");
    let mut session = recogniser.session(threads).expect("a session");
    let mut rng = Rng(seed + 1);
    let mut sha = Sha256::new();
    for _ in 0..3 {
        let (image, points) = (rng.image(112), keypoints(&mut rng));
        embed(&mut session, &image, &points).iter().for_each(|v| sha.update(v.to_le_bytes()));
    }
    sha.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

#[test]
fn golden_hash_on_every_level_and_thread_count() {
    let cases = [
        (Stem::Patch { size: 16 }, PATCH_HASH),
        (Stem::Patch { size: 8 }, FINE_HASH),
        (conv_stem(), CONV_HASH),
    ];
    let mut failed = false;
    for (seed, (stem, want)) in cases.into_iter().enumerate() {
        for level in Kernels::available() {
            for threads in [1, 2, 4] {
                let got = hash(stem.clone(), seed as u64, level, threads);
                println!("{stem:?} {} threads {threads}: {got}", level.level());
                failed |= got != want;
            }
        }
    }
    assert!(!failed, "an embedding's bytes changed: enrolled templates would no longer match");
}

const PATCH_HASH: &str = "0951199dbc94ce51";
const FINE_HASH: &str = "17bdf7cba751fbcb";
const CONV_HASH: &str = "89f3345cbeaf79b4";

#[test]
fn int8_stays_near_f32() {
    let m = manifest(conv_stem(), Precision::Int8);
    let int8 = pack(&m, 9);
    let f32 = support::dequantised(&int8);
    let mut rng = Rng(3);
    let (image, points) = (rng.image(112), keypoints(&mut rng));
    let of = |pack| embed(&mut Recogniser::new(pack).unwrap().session(1).unwrap(), &image, &points);
    let c = cosine(&of(&int8), &of(&f32));
    assert!(c > 0.998, "cosine {c}");
}

#[test]
fn key_points_matter_while_pixels_stay() {
    let pack = pack(&manifest(conv_stem(), Precision::F32), 5);
    let mut session = Recogniser::new(&pack).unwrap().session(1).unwrap();
    let mut rng = Rng(6);
    let (image, points) = (rng.image(112), keypoints(&mut rng));
    let base = embed(&mut session, &image, &points);
    assert_eq!(base, embed(&mut session, &image, &points), "the same input gives the same bytes");
    let mut moved = points;
    moved[2][0] += 0.1;
    assert!(cosine(&base, &embed(&mut session, &image, &moved)) < 0.9999);
    let mut swapped = points;
    swapped.swap(0, 4);
    assert!(cosine(&base, &embed(&mut session, &image, &swapped)) < 0.9999);
}

#[test]
fn wrong_inputs_are_refused_and_do_not_poison() {
    let pack = pack(&manifest(conv_stem(), Precision::Int8), 5);
    let mut session = Recogniser::new(&pack).unwrap().session(1).unwrap();
    let (image, points) = (vec![0; 3 * 112 * 112], [[0.5; 2]; 5]);
    let mut out = vec![0.0; 40];
    let kind = |r: keyface::Result<()>| r.unwrap_err().kind();
    assert_eq!(kind(session.run(&image[1..], &points, &mut out)), ErrorKind::InvalidArgument);
    assert_eq!(kind(session.run(&image, &points, &mut out[1..])), ErrorKind::InvalidArgument);
    let mut bad = points;
    bad[4][1] = f32::NAN;
    assert_eq!(kind(session.run(&image, &bad, &mut out)), ErrorKind::InvalidArgument);
    session.run(&image, &points, &mut out).unwrap();
    assert!(out.iter().all(|v| v.is_finite()));
}

#[test]
fn a_profile_names_every_operator_and_counts_its_work() {
    let m = manifest(Stem::Patch { size: 16 }, Precision::Int8);
    let mut session = Recogniser::new(&pack(&m, 5)).unwrap().session(1).unwrap();
    let mut out = vec![0.0; 40];
    let steps = session.profile(&[7; 3 * 112 * 112], &[[0.5; 2]; 5], &mut out).unwrap();
    let (t, d) = (49, 32);
    let block = t * d * (4 * d + 2 * 96) + 2 * t * t * d;
    let want = t * d * 768 + 2 * block + 2 * 2 * 49 * 10 + t * d * 48 + 48 * 40;
    assert_eq!(steps.iter().map(|s| s.macs).sum::<u64>(), want as u64);
    assert_eq!(session.macs(), want as u64);
    assert_eq!(steps.iter().filter(|s| s.operator == "KfAttention").count(), 2);
    assert!(steps.iter().any(|s| s.name == "blocks.1.fc2" && s.operator == "KfLinear"));
}

#[test]
fn attention_offsets_follow_the_definition() {
    let m = manifest(Stem::Patch { size: 16 }, Precision::F32);
    let pack = pack(&m, 4);
    let recogniser = Recogniser::new(&pack).unwrap();
    let points = keypoints(&mut Rng(1));
    let (weight, bias) = (pack.f32("rpe.weight").unwrap(), pack.f32("rpe.bias").unwrap());
    // The query is row 2, column 3 of 7; the key lies two rows above and one column to the left: buckets 3 + 2 and 3 + 1.
    let (block, head, query, key) = (1, 0, 17, 2);
    let o = (block * m.num_heads + head) * 49 + 5 * 7 + 4;
    let centre = [3.5 / 7.0, 2.5 / 7.0];
    let difference = |i: usize| centre[i % 2] - points[i / 2][i % 2];
    let want = bias[o] + (0..10).map(|i| weight[o * 10 + i] * difference(i)).sum::<f32>();
    let got = recogniser.attention_offsets(&points, block, head, query).unwrap();
    assert_eq!(got.len(), 49);
    assert!((got[key] - want).abs() < 1e-4);
    assert!(recogniser.attention_offsets(&points, 2, 0, 0).is_none());
    assert!(recogniser.attention_offsets(&points, 0, 2, 0).is_none());
    assert!(recogniser.attention_offsets(&points, 0, 0, 49).is_none());
}

#[test]
fn two_threads_share_one_recogniser() {
    let pack = pack(&manifest(conv_stem(), Precision::Int8), 8);
    let recogniser = Recogniser::new(&pack).unwrap();
    let mut rng = Rng(2);
    let (image, points) = (rng.image(112), keypoints(&mut rng));
    let run = || embed(&mut recogniser.session(1).unwrap(), &image, &points);
    let want = run();
    std::thread::scope(|scope| {
        let other = scope.spawn(run);
        assert_eq!(run(), want);
        assert_eq!(other.join().unwrap(), want);
    });
}
