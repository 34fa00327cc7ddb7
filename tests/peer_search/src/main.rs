//! SimSIMD's int8 dot product over 100,000 x 512, every row visited, best five kept: what `sdk/benches/search.rs` is measured against.
//!
//! `cargo run --release --manifest-path tests/peer_search/Cargo.toml`

use std::time::Instant;

use simsimd::SpatialSimilarity;

const ROWS: usize = 100_000;
const DIM: usize = 512;

fn main() {
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as i8
    };
    let rows: Vec<i8> = (0..ROWS * DIM).map(|_| next()).collect();
    let query: Vec<i8> = (0..DIM).map(|_| next()).collect();
    let mut times = Vec::new();
    for _ in 0..201 {
        let start = Instant::now();
        let mut best = [(f64::NEG_INFINITY, 0usize); 5];
        for (i, row) in rows.chunks_exact(DIM).enumerate() {
            let score = i8::dot(&query, row).expect("equal lengths");
            if score > best[4].0 {
                best[4] = (score, i);
                best.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
            }
        }
        std::hint::black_box(best);
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_unstable_by(f64::total_cmp);
    println!("SimSIMD, top 5 of {ROWS} x {DIM}: least {:.2} ms, median {:.2} ms", times[0], times[100]);
}
