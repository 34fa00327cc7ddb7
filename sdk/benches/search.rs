//! Search over 100,000 templates of 512 components, opening a store of 10,000, and what int8 changes in the ranking.
//!
//! `cargo bench -p keyface --bench search`. Without `--bench` (as `cargo test --benches` does) it runs small, once. The same exact search by
//! another library: `tests/peer_search`.

use std::hint::black_box;
use std::time::Instant;

use keyface::gallery::{Gallery, HostKey, PersonName, Reader, Store, StoreOptions};
use keyface::kernel::Kernels;
use keyface::template::{ModelId, Template};

const MODEL: ModelId = ModelId([1; 32]);
const DIM: usize = 512;

/// Reproducible normal deviates, nearly: sums of four uniform ones.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            sum +=
                (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        }
        sum
    }

    fn vector(&mut self) -> Vec<f32> {
        (0..DIM).map(|_| self.next()).collect()
    }
}

fn template(v: &[f32]) -> Template {
    Template::from_embedding(v, MODEL).expect("a random vector has a direction")
}

fn name(n: usize) -> PersonName {
    PersonName::new(&format!("person {n}")).expect("a short name")
}

/// Least and median of the times of `runs` calls, in milliseconds: on a shared machine the least is nearer to the truth.
fn time_ms(runs: usize, mut call: impl FnMut()) -> String {
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    format!("least {:.2} ms, median {:.2} ms", times[0], times[runs / 2])
}

fn main() -> keyface::Result<()> {
    let full = std::env::args().any(|a| a == "--bench");
    let (rows, stored, runs) = if full { (100_000, 10_000, 201) } else { (1_000, 100, 1) };
    println!("kernels: {}", Kernels::detect()?.level());

    let mut random = Random(0x1234_5678_9abc_def1);
    let faces: Vec<Template> = (0..rows).map(|_| template(&random.vector())).collect();
    let mut gallery = Gallery::new(MODEL, DIM, rows)?;
    for (n, face) in faces.iter().enumerate() {
        gallery.add(&name(n), face)?;
    }
    let probe = template(&random.vector());
    let ms = time_ms(runs, || {
        black_box(gallery.search::<5>(black_box(&probe)).map(|h| h.len())).ok();
    });
    println!("search, top 5 of {rows} x {DIM}: {ms}");

    // Ranking: probes are noisy shots of enrolled faces, as hard as a poor camera makes them (cosine about 0.4).
    let (mut first, mut tenth, mut worst) = (0, 0, 0f32);
    let probes = if full { 200 } else { 5 };
    for p in 0..probes {
        let face = &faces[p * rows / probes];
        let noise = template(&random.vector());
        let mixed: Vec<f32> =
            face.as_slice().iter().zip(noise.as_slice()).map(|(f, n)| 0.4 * f + 0.9 * n).collect();
        let probe = template(&mixed);
        let mut exact: Vec<(f32, u64)> = faces
            .iter()
            .zip(1..)
            .map(|(f, record)| (probe.similarity(f).unwrap_or(-1.0), record))
            .collect();
        exact.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let hits = gallery.nearest::<10>(&probe)?;
        first += usize::from(hits[0].record.0 == exact[0].1);
        tenth += hits.iter().filter(|h| exact[..10].iter().any(|e| e.1 == h.record.0)).count();
        for hit in &hits {
            let f32_score = probe.similarity(&faces[hit.record.0 as usize - 1])?;
            worst = worst.max((hit.score - f32_score).abs());
        }
    }
    println!("int8 against f32, {probes} noisy probes: same first {first}, shared among the first ten {:.2} %, largest difference of score {worst:.5}", tenth as f64 * 10.0 / probes as f64);

    let dir = tempfile::tempdir().map_err(|e| keyface::Error::io("make a directory", &e))?;
    let path = dir.path().join("gallery");
    let options = StoreOptions { capacity: stored, min_counter: 0 };
    let key = HostKey::new(&[1; 32]);
    let mut store = Store::open(&path, &key, options)?;
    let start = Instant::now();
    for (n, group) in faces[..stored].chunks(10).enumerate() {
        store.enrol(&name(n), &group.iter().collect::<Vec<_>>(), 0)?;
    }
    println!(
        "enrol {stored} templates, ten at a time, each synced: {:.0} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    let start = Instant::now();
    store.compact()?;
    println!("rewrite the file: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    drop(store);
    let ms = time_ms(if full { 11 } else { 1 }, || {
        black_box(Store::open(&path, &key, options).map(|s| s.len())).ok();
    });
    println!("open {stored} templates for writing: {ms}");
    let ms = time_ms(if full { 11 } else { 1 }, || {
        black_box(Reader::open(&path, &key, options).map(|r| r.counter())).ok();
    });
    println!("open {stored} templates for reading: {ms}");
    Ok(())
}
