//! Speed of the kernels beside the level's own roofline: `cargo bench -p keyface --bench kernels`.
//!
//! Every figure is the best of many short runs, so that other work on the machine disturbs it little; the roofline (the
//! multiply instruction alone, on registers) is measured in the same process. `KEYFACE_CPU` chooses the level, an argument
//! filters by name, and `--test`, which `cargo test --benches` passes, runs everything once.

use std::hint::black_box;
use std::time::{Duration, Instant};

use keyface::kernel::{
    pack_weights, Attention, AttentionMath, Fused, Kernels, Norm, Pool, PositionBias, Weights,
    BUCKETS,
};

const CALLS: usize = 400;

struct Bench {
    kernels: &'static Kernels,
    pool: Pool,
    /// Multiply-accumulates per second of the multiply instruction alone.
    roofline: f64,
    budget: Duration,
    filter: Option<String>,
}

impl Bench {
    /// The best time of one call, out of `CALLS` or of as many as the budget allows.
    fn best(&self, mut call: impl FnMut()) -> f64 {
        call();
        let (start, mut best) = (Instant::now(), f64::MAX);
        for _ in 0..CALLS {
            let begin = Instant::now();
            call();
            best = best.min(begin.elapsed().as_secs_f64());
            if start.elapsed() >= self.budget {
                break;
            }
        }
        best
    }

    fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|f| name.contains(f.as_str()))
    }

    fn report(&self, name: &str, macs: f64, call: impl FnMut()) {
        let seconds = self.best(call);
        let (ms, gmacs) = (seconds * 1e3, macs / seconds * 1e-9);
        if macs == 0.0 {
            println!("{name:<34} {ms:9.4} ms");
        } else if self.roofline == 0.0 {
            println!("{name:<34} {ms:9.4} ms {gmacs:8.2} GMAC/s");
        } else {
            let share = 100.0 * macs / seconds / self.roofline;
            println!("{name:<34} {ms:9.4} ms {gmacs:8.2} GMAC/s {share:6.1} %");
        }
    }
}

/// Repeatable values in -1..1 of roughly normal distribution.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len).map(|_| (uniform() + uniform() + uniform() + uniform()) * 0.5).collect()
}

fn linear(bench: &Bench, name: &str, rows: usize, k: usize, n: usize, relu: bool, norm: bool) {
    let title = format!("{name} {rows}x{k}x{n}");
    if !bench.wants(&title) {
        return;
    }
    let quantised: Vec<i8> = noise(n * k, 1).iter().map(|v| (v * 127.0) as i8).collect();
    let packed = pack_weights(&quantised, n, k);
    let (scales, bias) = (vec![0.01; n], noise(n, 2));
    let weights = Weights::new(&packed, &scales, &bias, n, k).expect("sound weights");
    let mut x = noise(rows * k, 3);
    if relu {
        x.iter_mut().for_each(|v| *v = v.max(0.0));
    }
    let (gamma, beta) = (noise(k, 4), noise(k, 5));
    let norm = norm.then_some(Norm { gamma: &gamma, beta: &beta, eps: 1e-6 });
    let fused = Fused { norm, ..Fused::default() };
    let mut out = vec![0.0; rows * n];
    bench.report(&title, (rows * k * n) as f64, || {
        bench
            .kernels
            .linear(&bench.pool, &x, rows, &weights, &fused, &mut out)
            .expect("sound layer");
        black_box(&out);
    });
}

fn attention(bench: &Bench, heads: usize, head_dim: usize, side: usize, math: AttentionMath) {
    let title = format!("attention {math:?} {}x{heads}x{head_dim}", side * side);
    if !bench.wants(&title) {
        return;
    }
    let tokens = side * side;
    let table = heads * BUCKETS;
    let (qkv, t) = (noise(tokens * 3 * heads * head_dim, 6), noise(3 * table, 7));
    let axis = |a: usize, b: usize| (a as i32 - b as i32).clamp(-3, 3) + 3;
    let buckets: Vec<u8> = (0..tokens).map(|i| axis(i / side, i % side) as u8).collect();
    let centres: Vec<[f32; 2]> =
        (0..tokens).map(|i| [(i % side) as f32 * 0.1, (i / side) as f32 * 0.1]).collect();
    let bias = PositionBias::Affine {
        constant: &t[..table],
        x: &t[table..2 * table],
        y: &t[2 * table..],
        centres: &centres,
    };
    let shape = Attention { heads, head_dim, side, buckets: &buckets, bias, math };
    let mut out = vec![0.0; tokens * heads * head_dim];
    let macs = 2 * heads * tokens * tokens * head_dim;
    bench.report(&title, macs as f64, || {
        bench.kernels.attention(&bench.pool, &qkv, &shape, &mut out).expect("sound shape");
        black_box(&out);
    });
}

fn rows(bench: &Bench) {
    let (x, gamma) = (noise(196 * 512, 8), noise(512, 9));
    let (mut y, mut q) = (vec![0.0; x.len()], vec![0; 512]);
    let norm = Norm { gamma: &gamma, beta: &gamma, eps: 1e-6 };
    bench.report("rows: layer norm 196x512", 0.0, || {
        bench.kernels.layer_norm(&x, &norm, &mut y).expect("sound norm");
        black_box(&y);
    });
    bench.report("rows: quantise 196x512", 0.0, || {
        for row in x.chunks_exact(512) {
            black_box(bench.kernels.quantise(row, &mut q).expect("sound row"));
        }
    });
}

fn gallery(bench: &Bench) {
    let (entries, dim) = (100_000, 512);
    let rows: Vec<i8> = (0..entries * dim).map(|i| (i * 31 % 255) as u8 as i8).collect();
    let mut dots = vec![0; entries];
    bench.report("gallery scan 100000x512", (entries * dim) as f64, || {
        bench.kernels.dot_rows(&rows[..dim], &rows, &mut dots).expect("sound gallery");
        black_box(&dots);
    });
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let once = args.iter().any(|a| a == "--test");
    let budget = Duration::from_secs(if once { 0 } else { 4 });
    let kernels = Kernels::detect().expect("a CPU level");
    let threads = std::env::var("KEYFACE_THREADS").ok().and_then(|t| t.parse().ok()).unwrap_or(1);
    let mut bench = Bench {
        kernels,
        pool: Pool::new(threads).expect("a pool"),
        roofline: 0.0,
        budget,
        filter: args.into_iter().find(|a| !a.starts_with('-')),
    };
    let products = kernels.multiply_only(10_000) as f64;
    bench.roofline = products / bench.best(|| _ = black_box(kernels.multiply_only(10_000)));
    println!(
        "level {kernels:?}, {threads} thread(s), roofline {:.1} GMAC/s per thread",
        bench.roofline * 1e-9
    );

    for (k, n) in [(512, 1536), (512, 512), (512, 2560), (256, 768), (256, 256), (192, 512)] {
        linear(&bench, "linear", 196, k, n, false, true);
    }
    for (k, n) in [(2560, 512), (1536, 512), (768, 256)] {
        linear(&bench, "linear relu", 196, k, n, true, false);
    }
    linear(&bench, "linear signed", 196, 2560, 512, false, false);
    linear(&bench, "linear", 49, 128, 384, false, true);
    linear(&bench, "linear relu", 49, 384, 128, true, false);
    linear(&bench, "head", 1, 100_352, 512, false, false);
    for math in [AttentionMath::Int8, AttentionMath::F32] {
        attention(&bench, 8, 64, 14, math);
        attention(&bench, 4, 64, 14, math);
        attention(&bench, 16, 32, 14, math);
    }
    if bench.wants("rows") {
        rows(&bench);
    }
    if bench.wants("gallery") {
        gallery(&bench);
    }
}
