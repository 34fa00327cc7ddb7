//! Speed of the kernels beside the level's own roofline: `cargo bench -p keyface --bench kernels`.
//!
//! Every figure is the best of many short runs, so that other work on the machine disturbs it little; the roofline (the
//! multiply instruction alone, on registers) is measured in the same process. `KEYFACE_CPU` chooses the level, an argument
//! filters by name, `--calls=N` makes exactly N calls (for counting instructions, see `tests/arm`), and `--test`, which
//! `cargo test --benches` passes, runs everything once. `network` is all layers of a published network without tract.

use std::hint::black_box;
use std::time::{Duration, Instant};

use keyface::kernel::{
    pack_weights, Attention, AttentionMath, Fused, Kernels, Norm, Pool, PositionBias, Weights,
    BUCKETS,
};

struct Bench {
    kernels: &'static Kernels,
    pool: Pool,
    /// Multiply-accumulates per second of the multiply instruction alone.
    roofline: f64,
    budget: Duration,
    calls: usize,
    filter: Option<String>,
}

impl Bench {
    /// The best time of one call, out of `calls` or of as many as the budget allows.
    fn best(&self, mut call: impl FnMut()) -> f64 {
        let (start, mut best) = (Instant::now(), f64::MAX);
        for _ in 0..self.calls {
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

/// Random weights, each channel using the whole range of int8.
struct Layer {
    packed: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<f32>,
    n: usize,
    k: usize,
}

impl Layer {
    fn new(n: usize, k: usize) -> Layer {
        let quantised: Vec<i8> = noise(n * k, 1).iter().map(|v| (v * 127.0) as i8).collect();
        let scales = vec![1.0 / (127.0 * (k as f32).sqrt()); n];
        Layer { packed: pack_weights(&quantised, n, k), scales, bias: noise(n, 2), n, k }
    }

    fn weights(&self) -> Weights<'_> {
        Weights::new(&self.packed, &self.scales, &self.bias, self.n, self.k).expect("sound weights")
    }
}

fn linear(bench: &Bench, name: &str, rows: usize, k: usize, n: usize, relu: bool, norm: bool) {
    let title = format!("{name} {rows}x{k}x{n}");
    if !bench.wants(&title) {
        return;
    }
    let layer = Layer::new(n, k);
    let mut x = noise(rows * k, 3);
    if relu {
        x.iter_mut().for_each(|v| *v = v.max(0.0));
    }
    let (gamma, beta) = (noise(k, 4), noise(k, 5));
    let norm = norm.then_some(Norm { gamma: &gamma, beta: &beta, eps: 1e-6 });
    let fused = Fused { norm, ..Fused::default() };
    let mut out = vec![0.0; rows * n];
    bench.report(&title, (rows * k * n) as f64, || {
        let layer = layer.weights();
        bench.kernels.linear(&bench.pool, &x, rows, &layer, &fused, &mut out).expect("sound layer");
        black_box(&out);
    });
}

/// The key-point bias of one layer.
struct Tables {
    values: Vec<f32>,
    buckets: Vec<u8>,
    centres: Vec<[f32; 2]>,
}

impl Tables {
    fn new(heads: usize, side: usize) -> Tables {
        let axis = |a: usize, b: usize| (a as i32 - b as i32).clamp(-3, 3) + 3;
        Tables {
            values: noise(3 * heads * BUCKETS, 7),
            buckets: (0..side * side).map(|i| axis(i / side, i % side) as u8).collect(),
            centres: (0..side * side)
                .map(|i| [(i % side) as f32 * 0.1, (i / side) as f32 * 0.1])
                .collect(),
        }
    }

    fn shape(
        &self,
        heads: usize,
        head_dim: usize,
        side: usize,
        math: AttentionMath,
    ) -> Attention<'_> {
        let (constant, rest) = self.values.split_at(heads * BUCKETS);
        let (x, y) = rest.split_at(heads * BUCKETS);
        let bias = PositionBias::Affine { constant, x, y, centres: &self.centres };
        Attention { heads, head_dim, side, buckets: &self.buckets, bias, math }
    }
}

fn attention(bench: &Bench, heads: usize, head_dim: usize, side: usize, math: AttentionMath) {
    let tokens = side * side;
    let title = format!("attention {math:?} {tokens}x{heads}x{head_dim}");
    if !bench.wants(&title) {
        return;
    }
    let tables = Tables::new(heads, side);
    let qkv = noise(tokens * 3 * heads * head_dim, 6);
    let mut out = vec![0.0; tokens * heads * head_dim];
    let macs = 2 * heads * tokens * tokens * head_dim;
    bench.report(&title, macs as f64, || {
        let shape = tables.shape(heads, head_dim, side, math);
        bench.kernels.attention(&bench.pool, &qkv, &shape, &mut out).expect("sound shape");
        black_box(&out);
    });
}

/// All layers of a KP-RPE ViT on 14 x 14 tokens; blocks share one set of weights.
fn network(
    bench: &Bench,
    name: &str,
    dim: usize,
    depth: usize,
    heads: usize,
    mlp: usize,
    outputs: usize,
) {
    if !bench.wants(name) {
        return;
    }
    let (tokens, hidden) = (196, dim * mlp);
    let layer = |n: usize, k: usize| Layer::new(n, k);
    let (embed, qkv, proj) = (layer(dim, 192), layer(3 * dim, dim), layer(dim, dim));
    let (fc1, fc2, head) = (layer(hidden, dim), layer(dim, hidden), layer(outputs, tokens * dim));
    let gamma: Vec<f32> = (0..dim).map(|i| 1.0 + i as f32 * 1e-3).collect();
    let norm = Norm { gamma: &gamma, beta: &gamma, eps: 1e-6 };
    let tables = Tables::new(heads, 14);
    let patches = noise(tokens * 192, 10);
    let (mut x, mut y) = (vec![0.0; tokens * dim], vec![0.0; tokens * dim]);
    let mut skip = x.clone();
    let (mut a, mut h) = (vec![0.0; tokens * 3 * dim], vec![0.0; tokens * hidden]);
    let mut embedding = vec![0.0; outputs];
    let (kernels, pool) = (bench.kernels, &bench.pool);
    let linears = dim * 192 + depth * (4 * dim * dim + 2 * dim * hidden) + outputs * dim;
    let macs = tokens * (linears + depth * 2 * tokens * dim);
    bench.report(name, macs as f64, || {
        let run = |layer: &Layer, x: &[f32], rows: usize, fused: Fused<'_>, out: &mut [f32]| {
            kernels.linear(pool, x, rows, &layer.weights(), &fused, out).expect("sound layer");
        };
        let normed = Fused { norm: Some(norm), ..Fused::default() };
        run(&embed, &patches, tokens, Fused::default(), &mut x);
        for _ in 0..depth {
            run(&qkv, &x, tokens, normed, &mut a);
            let shape = tables.shape(heads, dim / heads, 14, AttentionMath::Int8);
            kernels.attention(pool, &a, &shape, &mut y).expect("sound shape");
            std::mem::swap(&mut x, &mut skip);
            run(&proj, &y, tokens, Fused { residual: Some(&skip), ..Fused::default() }, &mut x);
            run(&fc1, &x, tokens, Fused { relu6: true, ..normed }, &mut h);
            std::mem::swap(&mut x, &mut skip);
            run(&fc2, &h, tokens, Fused { residual: Some(&skip), ..Fused::default() }, &mut x);
        }
        kernels.layer_norm(&x, &norm, &mut y).expect("sound norm");
        run(&head, &y, 1, Fused::default(), &mut embedding);
        black_box(&embedding);
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
    let calls = args.iter().find_map(|a| a.strip_prefix("--calls=")).and_then(|n| n.parse().ok());
    // A first call warms up; with a given number of calls, time does not count.
    let budget = match calls {
        Some(_) => Duration::MAX,
        None => Duration::from_secs(if once { 0 } else { 4 }),
    };
    let calls = calls.unwrap_or(if once { 1 } else { 400 });
    let kernels = Kernels::detect().expect("a CPU level");
    let threads = std::env::var("KEYFACE_THREADS").ok().and_then(|t| t.parse().ok()).unwrap_or(1);
    let mut bench = Bench {
        kernels,
        pool: Pool::new(threads).expect("a pool"),
        roofline: 0.0,
        budget,
        calls,
        filter: args.into_iter().find(|a| !a.starts_with('-')),
    };
    // Not when instructions are counted.
    if bench.budget != Duration::MAX {
        let products = kernels.multiply_only(10_000) as f64;
        bench.roofline = products / bench.best(|| _ = black_box(kernels.multiply_only(10_000)));
    }
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
    for (name, dim, depth, heads, mlp, outputs) in
        [("tiny", 256, 8, 4, 3, 512), ("small", 512, 12, 8, 5, 512), ("base", 512, 24, 16, 3, 512)]
    {
        network(&bench, &format!("network {name}"), dim, depth, heads, mlp, outputs);
    }
    if bench.wants("rows") {
        rows(&bench);
    }
    if bench.wants("gallery") {
        gallery(&bench);
    }
}
