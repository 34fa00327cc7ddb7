//! Every level equals `scalar` bit for bit, over all tails and hostile values, and stays inside its slices.

use super::isa::{Isa, Tile};
use super::scalar::Scalar;
use super::*;

/// A generator good enough for test data (xorshift64*).
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Half of the values are extremes.
    fn i8(&mut self, low: i8) -> i8 {
        match self.next() % 8 {
            0 | 1 => low,
            2 | 3 => 127,
            _ => (self.next() as i8).max(low),
        }
    }

    pub(super) fn bytes(&mut self, len: usize, low: i8) -> Vec<i8> {
        (0..len).map(|_| self.i8(low)).collect()
    }

    pub(super) fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (self.next() % 20001) as f32 * 1e-4 - 1.0).collect()
    }
}

/// Memory whose last byte is followed by a page that faults.
#[cfg(unix)]
struct Guarded {
    map: *mut u8,
    size: usize,
}

#[cfg(unix)]
impl Guarded {
    const PAGE: usize = 65536;

    fn new(size: usize) -> Self {
        let size = size.next_multiple_of(Self::PAGE);
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh anonymous mapping; its last page is ours to protect.
        unsafe {
            let map = libc::mmap(std::ptr::null_mut(), size + Self::PAGE, prot, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            let map = map.cast::<u8>();
            assert_eq!(libc::mprotect(map.add(size).cast(), Self::PAGE, libc::PROT_NONE), 0);
            Guarded { map, size }
        }
    }

    /// The last `values.len()` elements before the guard page, holding a copy of `values`.
    fn holding<T: Copy>(&mut self, values: &[T]) -> &mut [T] {
        let bytes = size_of_val(values);
        assert!(bytes <= self.size);
        // SAFETY: inside the mapping; its end is page-aligned, so `T` is aligned; the borrow is exclusive.
        unsafe {
            let start = self.map.add(self.size - bytes).cast::<T>();
            std::ptr::copy_nonoverlapping(values.as_ptr(), start, values.len());
            std::slice::from_raw_parts_mut(start, values.len())
        }
    }
}

#[cfg(unix)]
impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: our own mapping, no longer borrowed.
        unsafe { libc::munmap(self.map.cast(), self.size + Self::PAGE) };
    }
}

/// Integer kernels of `I` against plain sums; the caller made sure that the CPU has the level.
fn integer_kernels_are_exact<I: Isa>() {
    let mut rng = Rng(7);
    let (mut guard_a, mut guard_w) = (Guarded::new(1 << 16), Guarded::new(1 << 16));
    let (mut guard_p, mut guard_d) = (Guarded::new(1 << 17), Guarded::new(1 << 16));
    for kp in (8..=136).step_by(8).chain([512]) {
        // Activations are -127..=127 by construction, weights come from a file and may hold -128. Small weights let a level
        // add products in 16 bits: among the limits are the last that fit and the first that do not, if all are alike.
        for (lowest, limit) in [(-127, None), (0, None)]
            .into_iter()
            .chain([12, 32, 33, 64, 65].into_iter().flat_map(|l| [(-127, Some(l)), (0, Some(l))]))
        {
            let limited = |v: i8| limit.map_or(v, |limit: i8| v.clamp(-limit, limit));
            let mut w: Vec<i8> = rng.bytes(PANEL * kp, -128).into_iter().map(limited).collect();
            // All weights of two channels at the limit: the largest sums.
            for group in w.chunks_exact_mut(PANEL * GROUP) {
                group[..GROUP].fill(limited(127));
                group[GROUP..2 * GROUP].fill(limited(-128));
            }
            let w = guard_w.holding(&w);
            let memory = guard_p.holding(&vec![0xa5u8; I::prepared_bytes(kp)]);
            // SAFETY: the CPU has the level; the sizes are those asked for.
            let prepared = unsafe { I::prepare(w.as_ptr(), kp, lowest == 0, memory.as_mut_ptr()) };
            assert!(lowest == 0 || !prepared.narrow);
            for rows in 1..=I::ROWS {
                let mut a: Vec<Vec<i8>> = (0..rows).map(|_| rng.bytes(kp, lowest)).collect();
                // A row of extremes; in the last tiles only every other 64 values of the others are as large.
                a[rows / 2].fill(127);
                if kp > 64 {
                    let small =
                        |(k, v): (usize, &mut i8)| *v /= if k / 64 % 2 == 1 { 16 } else { 1 };
                    a.iter_mut().for_each(|a| a.iter_mut().enumerate().for_each(small));
                }
                let tile = guard_a.holding(&vec![0x5au8; I::tile_bytes(kp)]);
                let mut sums = Tile::ZERO;
                // SAFETY: the CPU has the level; tile and panel have their sizes.
                unsafe {
                    for (r, a) in a.iter().enumerate() {
                        I::put_row(tile.as_mut_ptr(), r, a, lowest == 0);
                    }
                    I::tile(tile.as_ptr(), prepared, kp, rows, &mut sums);
                }
                for (r, a) in a.iter().enumerate() {
                    let mut truth = [0; PANEL];
                    // SAFETY: `kp` activations and one stored panel.
                    unsafe { Scalar::direct(a.as_ptr(), w.as_ptr(), kp, &mut truth) };
                    assert_eq!(
                        sums.row(r),
                        &truth,
                        "tile, kp {kp}, rows {rows}, row {r}, limit {limit:?}"
                    );
                    let mut sums = [0x55; PANEL];
                    let a = guard_d.holding(a);
                    // SAFETY: as above, and the CPU has the level.
                    unsafe { I::direct(a.as_ptr(), w.as_ptr(), kp, &mut sums) };
                    assert_eq!(sums, truth, "direct, kp {kp}");
                }
            }
        }
    }
}

#[test]
fn integer_kernels_of_every_level_are_exact() {
    integer_kernels_are_exact::<Scalar>();
    for kernels in Kernels::available() {
        match kernels.level() {
            CpuLevel::Scalar => {}
            #[cfg(target_arch = "x86_64")]
            CpuLevel::Avx2 => integer_kernels_are_exact::<avx2::Avx2>(),
            #[cfg(target_arch = "aarch64")]
            CpuLevel::Neon => integer_kernels_are_exact::<neon::Neon>(),
            #[cfg(target_arch = "aarch64")]
            CpuLevel::DotProd => integer_kernels_are_exact::<neon_dotprod::DotProd>(),
            #[cfg(target_arch = "aarch64")]
            CpuLevel::I8mm => integer_kernels_are_exact::<neon_i8mm::I8mm>(),
            other => panic!("{other} has no test"),
        }
    }
}

#[test]
fn scalar_sums_are_right() {
    let mut rng = Rng(3);
    let (kp, mut sums) = (24, [0; PANEL]);
    let (q, w) = (rng.bytes(kp, -127), rng.bytes(PANEL * kp, -128));
    // SAFETY: `kp` activations and one panel.
    unsafe { Scalar::direct(q.as_ptr(), pack_weights(&w, PANEL, kp).as_ptr(), kp, &mut sums) };
    for c in 0..PANEL {
        let truth: i64 = (0..kp).map(|k| i64::from(q[k]) * i64::from(w[c * kp + k])).sum();
        assert_eq!(i64::from(sums[c]), truth);
    }
}

#[test]
fn dot_products_are_exact_for_all_lengths_and_signs() {
    let mut rng = Rng(11);
    let (mut guard_q, mut guard_r) = (Guarded::new(1 << 16), Guarded::new(1 << 16));
    for len in (0..=130).chain([511, 512, 513]) {
        for (fill_q, fill_r) in [
            (None, None),
            (Some(-128), Some(-128)),
            (Some(-128), Some(127)),
            (Some(127), Some(127)),
        ] {
            let rows = 5;
            let q = fill_q.map_or_else(|| rng.bytes(len, -128), |v| vec![v; len]);
            let r = fill_r.map_or_else(|| rng.bytes(len * rows, -128), |v| vec![v; len * rows]);
            let truth: Vec<i64> = (0..rows)
                .map(|i| {
                    q.iter().zip(&r[i * len..]).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum()
                })
                .collect();
            let (q, r) = (guard_q.holding(&q), guard_r.holding(&r));
            for kernels in Kernels::available() {
                let mut out = vec![i32::MIN; rows];
                kernels.dot_rows(q, r, &mut out).unwrap();
                assert!(
                    out.iter().map(|&v| i64::from(v)).eq(truth.iter().copied()),
                    "{kernels:?} {len}"
                );
            }
        }
    }
    assert!(Kernels::best().dot(&[1; 3], &[1; 4]).is_err());
}

/// Output of a call that writes into the middle of a canvas, with the canvas.
fn framed(len: usize, call: impl FnOnce(&mut [f32])) -> Vec<u32> {
    let mut canvas = vec![12345.0f32; len + 64];
    call(&mut canvas[32..32 + len]);
    canvas.into_iter().map(f32::to_bits).collect()
}

/// NaN payloads may differ between CPUs; nothing else may.
fn canonical(bits: Vec<u32>) -> Vec<u32> {
    bits.into_iter().map(|b| if f32::from_bits(b).is_nan() { 0x7fc0_0000 } else { b }).collect()
}

#[test]
fn linear_layers_agree_on_all_levels_threads_and_tails() {
    let mut rng = Rng(5);
    let pools: Vec<Pool> = [1, 2, 4].map(|n| Pool::with_exactly(n).unwrap()).into();
    let mut guard_x = Guarded::new(1 << 18);
    let mut guard_w = Guarded::new(1 << 18);
    for (rows, k, n) in [
        (1, 1, 1),
        (1, 100, 33),
        (2, 16, 16),
        (3, 17, 5),
        (5, 8, 31),
        (6, 24, 17),
        (7, 40, 16),
        (8, 63, 48),
        (9, 65, 47),
        (13, 72, 20),
        (15, 33, 16),
        (29, 130, 35),
        (49, 128, 64),
    ] {
        let w = guard_w.holding(&pack_weights(&rng.bytes(n * k, -128), n, k));
        let mut values = rng.floats(rows * k);
        if rows == 9 {
            values[3 * k..4 * k].fill(0.0);
            (values[k], values[5 * k], values[6 * k]) = (f32::NAN, f32::INFINITY, f32::MAX);
        }
        let x = guard_x.holding(&values);
        let (scales, bias) = (rng.floats(n), rng.floats(n));
        let (gamma, beta, residual) = (rng.floats(k), rng.floats(k), rng.floats(rows * n));
        let weights = Weights::new(w, &scales, &bias, n, k).unwrap();
        let norm = Norm { gamma: &gamma, beta: &beta, eps: 1e-6 };
        for fused in [
            Fused::default(),
            Fused { norm: Some(norm), ..Fused::default() },
            Fused { norm: Some(norm), relu6: true, residual: Some(&residual) },
        ] {
            let truth = framed(rows * n, |out| {
                let scalar = Kernels::for_level(CpuLevel::Scalar).unwrap();
                scalar.linear(&pools[0], x, rows, &weights, &fused, out).unwrap();
            });
            for kernels in Kernels::available() {
                for pool in &pools {
                    let got = framed(rows * n, |out| {
                        kernels.linear(pool, x, rows, &weights, &fused, out).unwrap()
                    });
                    assert_eq!(
                        canonical(got),
                        canonical(truth.clone()),
                        "{kernels:?} {pool:?} {rows} {k} {n}"
                    );
                }
            }
        }
    }
}

#[test]
fn linear_computes_the_layer() {
    let mut rng = Rng(9);
    let (rows, k, n) = (7, 96, 21);
    let (w, x) = (rng.bytes(n * k, -127), rng.floats(rows * k));
    let (scales, bias) = (vec![0.01; n], rng.floats(n));
    let packed = pack_weights(&w, n, k);
    let weights = Weights::new(&packed, &scales, &bias, n, k).unwrap();
    let mut out = vec![0.0; rows * n];
    let pool = Pool::new(1).unwrap();
    Kernels::best().linear(&pool, &x, rows, &weights, &Fused::default(), &mut out).unwrap();
    for r in 0..rows {
        for c in 0..n {
            let sum: f32 = (0..k).map(|i| x[r * k + i] * f32::from(w[c * k + i])).sum();
            let exact = sum * 0.01 + bias[c];
            // 96 rounding errors of at most 1/254 each, times weights of at most 1.27.
            assert!((out[r * n + c] - exact).abs() < 0.1, "{} {exact}", out[r * n + c]);
        }
    }
    assert!(Kernels::best()
        .linear(&pool, &x[1..], rows, &weights, &Fused::default(), &mut out)
        .is_err());
    assert!(Kernels::best()
        .linear(&pool, &x, rows, &weights, &Fused::default(), &mut out[1..])
        .is_err());
}

#[test]
fn rows_and_norms_agree_on_all_levels() {
    let mut rng = Rng(21);
    let scalar = Kernels::for_level(CpuLevel::Scalar).unwrap();
    for k in (1..=67).chain([511, 512, 2560]) {
        let (x, gamma, beta) = (rng.floats(k), rng.floats(k), rng.floats(k));
        let norm = Norm { gamma: &gamma, beta: &beta, eps: 1e-6 };
        let mut truth = vec![0; k];
        let truth_scale = scalar.quantise(&x, &mut truth).unwrap();
        let truth_norm = framed(k, |out| scalar.layer_norm(&x, &norm, out).unwrap());
        for kernels in Kernels::available() {
            let mut q = vec![0; k];
            assert_eq!(kernels.quantise(&x, &mut q).unwrap().to_bits(), truth_scale.to_bits());
            assert_eq!(q, truth, "{kernels:?} {k}");
            assert_eq!(
                framed(k, |out| kernels.layer_norm(&x, &norm, out).unwrap()),
                truth_norm,
                "{kernels:?} {k}"
            );
        }
    }
}

/// The attention of `shape` in f64; values are within -2..=2.
fn attention_f64(qkv: &[f32], shape: &Attention<'_>) -> Vec<f64> {
    let (tokens, dim, d) = (shape.tokens(), shape.dim(), shape.head_dim);
    let at = |which: usize, h: usize, i: usize, c: usize| {
        f64::from(qkv[i * 3 * dim + which * dim + h * d + c])
    };
    let mut out = vec![0.0; tokens * dim];
    for h in 0..shape.heads {
        for i in 0..tokens {
            let table = |b: usize| -> f64 {
                match shape.bias {
                    PositionBias::None => 0.0,
                    PositionBias::Affine { constant, x, y, centres } => {
                        let v = |t: &[f32]| f64::from(t[h * BUCKETS + b]);
                        v(constant)
                            + f64::from(centres[i][0]) * v(x)
                            + f64::from(centres[i][1]) * v(y)
                    }
                    PositionBias::Shared { table } => f64::from(table[h * BUCKETS + b]),
                    PositionBias::PerQuery { tables } => {
                        f64::from(tables[(h * tokens + i) * BUCKETS + b])
                    }
                    PositionBias::Contextual { table } => (0..d)
                        .map(|c| at(0, h, i, c) * f64::from(table[(h * d + c) * BUCKETS + b]))
                        .sum(),
                }
            };
            let axis = |a: usize, b: usize| {
                usize::from(shape.buckets.get(a * shape.side + b).copied().unwrap_or(0))
            };
            let scores: Vec<f64> = (0..tokens)
                .map(|j| {
                    let dot: f64 = (0..d).map(|c| at(0, h, i, c) * at(1, h, j, c)).sum();
                    let (rows, cols) = (
                        axis(i / shape.side, j / shape.side),
                        axis(i % shape.side, j % shape.side),
                    );
                    dot / (d as f64).sqrt() + table(rows * AXIS_BUCKETS + cols)
                })
                .collect();
            let top = scores.iter().copied().fold(f64::MIN, f64::max);
            let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
            for c in 0..d {
                let sum: f64 =
                    scores.iter().enumerate().map(|(j, s)| (s - top).exp() * at(2, h, j, c)).sum();
                out[i * dim + h * d + c] = sum / total;
            }
        }
    }
    out
}

#[test]
fn attention_is_right_and_agrees_on_all_levels() {
    let mut rng = Rng(31);
    let pools: Vec<Pool> = [1, 2, 4].map(|n| Pool::with_exactly(n).unwrap()).into();
    let mut guard = Guarded::new(1 << 20);
    for (case, (heads, head_dim, side)) in [
        (1, 8, 1),
        (2, 16, 3),
        (3, 24, 5),
        (1, 32, 4),
        (2, 40, 7),
        (4, 64, 14),
        (8, 64, 7),
        (3, 16, 6),
    ]
    .into_iter()
    .enumerate()
    {
        let tokens = side * side;
        let qkv: Vec<f32> =
            rng.floats(tokens * 3 * heads * head_dim).iter().map(|v| v * 2.0).collect();
        let qkv = guard.holding(&qkv);
        let buckets: Vec<u8> = (0..tokens).map(|_| (rng.next() % 7) as u8).collect();
        let of = |rng: &mut Rng, len: usize| rng.floats(len * heads * BUCKETS);
        let (c, x, y) = (of(&mut rng, 1), of(&mut rng, 1), of(&mut rng, 1));
        let (tables, context) = (of(&mut rng, tokens), of(&mut rng, head_dim));
        let context: Vec<f32> = context.iter().map(|v| v * 0.2).collect();
        let centres: Vec<[f32; 2]> =
            (0..tokens).map(|i| [(i % side) as f32 * 0.1, (i / side) as f32 * 0.1]).collect();
        let bias = [
            PositionBias::Affine { constant: &c, x: &x, y: &y, centres: &centres },
            PositionBias::None,
            PositionBias::Shared { table: &c },
            PositionBias::PerQuery { tables: &tables },
            PositionBias::Contextual { table: &context },
        ];
        for (b, bias) in bias.into_iter().enumerate() {
            if tokens > 49 && b > 0 {
                continue;
            }
            for (math, tolerance) in [(AttentionMath::F32, 1e-6), (AttentionMath::Int8, 0.02)] {
                let shape = Attention { heads, head_dim, side, buckets: &buckets, bias, math };
                let scalar = Kernels::for_level(CpuLevel::Scalar).unwrap();
                let len = tokens * heads * head_dim;
                let truth =
                    framed(len, |out| scalar.attention(&pools[0], qkv, &shape, out).unwrap());
                let exact = attention_f64(qkv, &shape);
                let errors = truth[32..32 + len]
                    .iter()
                    .zip(&exact)
                    .map(|(got, exact)| (f64::from(f32::from_bits(*got)) - exact).powi(2));
                let rms = (errors.sum::<f64>() / len as f64).sqrt();
                assert!(rms < tolerance, "case {case} bias {b} {math:?}: {rms}");
                for kernels in Kernels::available() {
                    for pool in &pools {
                        let got =
                            framed(len, |out| kernels.attention(pool, qkv, &shape, out).unwrap());
                        assert_eq!(
                            got, truth,
                            "{kernels:?} {pool:?} case {case} bias {b} {math:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn faulty_numbers_stay_visible_and_never_panic() {
    let mut rng = Rng(41);
    let (heads, head_dim, side) = (2, 16, 4);
    let len = side * side * heads * head_dim;
    let pool = Pool::new(1).unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for part in 0..3 {
            let mut qkv = rng.floats(3 * len);
            // Token 5, head 1, channel 3 of q, k or v.
            qkv[5 * 3 * heads * head_dim + part * heads * head_dim + head_dim + 3] = bad;
            for math in [AttentionMath::F32, AttentionMath::Int8] {
                let shape = Attention {
                    heads,
                    head_dim,
                    side,
                    buckets: &[],
                    bias: PositionBias::None,
                    math,
                };
                for kernels in Kernels::available() {
                    let mut out = vec![0.0; len];
                    kernels.attention(&pool, &qkv, &shape, &mut out).unwrap();
                    let head = |h: usize| (0..side * side).map(move |i| (i * heads + h) * head_dim);
                    assert!(head(0).all(|at| out[at..at + head_dim].iter().all(|v| v.is_finite())));
                    let at = (5 * heads + 1) * head_dim;
                    // An infinity may be resolved by f32 arithmetic; int8 always shows it.
                    if math == AttentionMath::Int8 || (bad.is_nan() && part < 2) {
                        assert!(
                            out[at..at + head_dim].iter().all(|v| v.is_nan()),
                            "{kernels:?} {math:?} {part}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn unsound_shapes_are_errors() {
    let pool = Pool::new(1).unwrap();
    let (buckets, table) = ([0u8; 4], [0.0; BUCKETS]);
    let good = Attention {
        heads: 1,
        head_dim: 8,
        side: 2,
        buckets: &buckets,
        bias: PositionBias::Shared { table: &table },
        math: AttentionMath::Int8,
    };
    let mut out = [0.0; 32];
    let mut run =
        |shape: &Attention<'_>| Kernels::best().attention(&pool, &[0.0; 96], shape, &mut out);
    assert!(run(&good).is_ok());
    assert!(run(&Attention { head_dim: 12, ..good }).is_err());
    assert!(run(&Attention { heads: 0, ..good }).is_err());
    assert!(run(&Attention { side: 3, ..good }).is_err());
    assert!(run(&Attention { buckets: &[0, 1, 2, 7], ..good }).is_err());
    assert!(run(&Attention { bias: PositionBias::Shared { table: &table[1..] }, ..good }).is_err());
}

#[test]
fn a_level_is_a_proof_and_a_name() {
    assert_eq!(Kernels::available().next().unwrap().level(), CpuLevel::Scalar);
    for kernels in Kernels::available() {
        assert_eq!(Kernels::for_level(kernels.level()).unwrap().level(), kernels.level());
    }
    let foreign = if cfg!(target_arch = "x86_64") { CpuLevel::Neon } else { CpuLevel::Avx2 };
    assert_eq!(Kernels::for_level(foreign).unwrap_err().kind(), ErrorKind::UnsupportedCpu);
}
