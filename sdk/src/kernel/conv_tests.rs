//! Convolutions equal a plain sum over windows, bit for bit, on every level and number of threads.

use super::tests::Rng;
use super::*;

/// One convolution's numbers.
struct Case {
    rows: usize,
    columns: usize,
    channels: usize,
    n: usize,
    kernel: usize,
    stride: usize,
    /// The input is a picture.
    picture: bool,
    enlarged: bool,
    relu: bool,
    /// Inputs as behind a ReLU.
    nonnegative: bool,
    x: Vec<f32>,
    bytes: Vec<u8>,
    w: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<f32>,
    added: Option<Vec<f32>>,
}

impl Case {
    /// `rows x columns x channels` to `n` channels; the rest follows from `variant`.
    fn new(size: [usize; 4], kernel: usize, stride: usize, variant: usize) -> Case {
        let [rows, columns, channels, n] = size;
        let mut rng = Rng(1 + variant as u64 * 7919 + (rows * columns * channels * n) as u64);
        let (nonnegative, relu) = (variant % 2 == 1, !variant.is_multiple_of(3));
        let (enlarged, picture) = (variant % 5 == 2, channels == 3 && variant.is_multiple_of(2));
        let mut x = rng.floats(rows * columns * channels);
        if nonnegative {
            x.iter_mut().for_each(|v| *v = v.max(0.0));
        }
        let bytes = (0..x.len()).map(|_| rng.next() as u8).collect();
        let low = if variant.is_multiple_of(4) { -128 } else { -127 };
        let mut w = rng.bytes(n * kernel * kernel * channels, low);
        if variant % 4 > 1 {
            w.iter_mut().for_each(|v| *v = (*v).clamp(-20, 20));
        }
        let (h, v) = (rows.div_ceil(stride), columns.div_ceil(stride));
        let pixels = if enlarged { h.div_ceil(2) * v.div_ceil(2) } else { h * v };
        let added = (variant % 5 > 1).then(|| rng.floats(pixels * n));
        let (scales, bias) = (rng.floats(n), rng.floats(n));
        Case {
            rows,
            columns,
            channels,
            n,
            kernel,
            stride,
            picture,
            enlarged,
            relu,
            nonnegative,
            x,
            bytes,
            w,
            scales,
            bias,
            added,
        }
    }

    fn out_size(&self) -> (usize, usize) {
        (self.rows.div_ceil(self.stride), self.columns.div_ceil(self.stride))
    }

    /// The definition, term by term.
    fn truth(&self) -> Vec<f32> {
        let mut q = vec![0; self.x.len()];
        let mut scale = numeric::quantise_row(&self.x, &mut q);
        if self.picture {
            let value = |x: u8| 127.0 * (f64::from(x) / 255.0 - 0.5) / 0.5;
            q = self.bytes.iter().map(|x| value(*x).round_ties_even() as i8).collect();
            scale = 1.0 / 127.0;
        }
        let at = |y: usize, x: usize, c: usize| {
            // One more than the coordinate, so that the padding's -1 stays unsigned.
            let border = self.kernel / 2;
            if y < border || x < border || y >= self.rows + border || x >= self.columns + border {
                return 0;
            }
            let (y, x) = (y - border, x - border);
            i64::from(if self.picture {
                q[(c * self.rows + y) * self.columns + x]
            } else {
                q[(y * self.columns + x) * self.channels + c]
            })
        };
        let (rows, columns) = self.out_size();
        let k = self.kernel * self.kernel * self.channels;
        let mut out = Vec::new();
        for (y, x, o) in (0..rows * columns)
            .flat_map(|p| (0..self.n).map(move |o| (p / columns, p % columns, o)))
        {
            let mut sum = 0i64;
            for i in 0..k {
                let (cell, c) = (i / self.channels, i % self.channels);
                let (dy, dx) = (cell / self.kernel, cell % self.kernel);
                let value = at(y * self.stride + dy, x * self.stride + dx, c);
                sum += value * i64::from(self.w[o * k + i]);
            }
            let mut value = (sum as f32).mul_add(scale * self.scales[o], self.bias[o]);
            if let Some(added) = &self.added {
                let pixel = if self.enlarged {
                    y / 2 * columns.div_ceil(2) + x / 2
                } else {
                    y * columns + x
                };
                value += added[pixel * self.n + o];
            }
            out.push(if value > 0.0 || !self.relu { value } else { 0.0 });
        }
        out
    }

    fn run(&self, kernels: &Kernels, pool: &Pool, out: &mut [f32]) -> Result<()> {
        let k = self.kernel * self.kernel * self.channels;
        let packed = pack_weights(&self.w, self.n, k);
        let conv = Convolution {
            weights: Weights::new(&packed, &self.scales, &self.bias, self.n, k)?,
            kernel: self.kernel,
            stride: self.stride,
            added: self.added.as_deref(),
            enlarged: self.enlarged,
            relu: self.relu,
        };
        let Case { rows, columns, picture, .. } = *self;
        let values = if picture { Values::Picture(&self.bytes) } else { Values::Layer(&self.x) };
        kernels.convolve(pool, &Map { values, rows, columns }, &conv, out)
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn convolutions_equal_their_definition() {
    let pools = [1, 2, 4].map(|threads| Pool::with_exactly(threads).unwrap());
    let sizes = [
        [1, 1, 1, 1],
        [2, 3, 3, 17],
        [5, 4, 8, 16],
        [3, 7, 16, 24],
        [9, 13, 3, 16],
        [8, 10, 24, 40],
        [6, 5, 33, 15],
    ];
    for (i, (size, kernel, stride)) in sizes
        .into_iter()
        .flat_map(|s| [(s, 1, 1), (s, 1, 2), (s, 3, 1), (s, 3, 2)])
        .flat_map(|s| [s; 5])
        .enumerate()
    {
        let case = Case::new(size, kernel, stride, i);
        let truth = bits(&case.truth());
        for kernels in Kernels::available() {
            for pool in &pools {
                let mut out = vec![f32::NAN; truth.len()];
                case.run(kernels, pool, &mut out).unwrap();
                assert!(
                    bits(&out) == truth,
                    "{kernels:?} {size:?} kernel {kernel} stride {stride} variant {i} threads {} nonnegative {}",
                    pool.threads(),
                    case.nonnegative
                );
            }
        }
    }
}

#[test]
fn every_byte_of_a_picture_is_rounded_to_nearest() {
    for x in 0..=255u8 {
        let exact = 127.0 * (f64::from(x) / 255.0 - 0.5) / 0.5;
        assert_eq!(f64::from(conv::quantise_byte(x)), exact.round_ties_even(), "{x}");
    }
}

#[test]
fn what_is_no_number_stays_harmless() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for kernels in Kernels::available() {
            let pool = Pool::new(1).unwrap();
            for relu in [false, true] {
                let mut case = Case::new([4, 5, 3, 17], 3, 1, 5);
                (case.relu, case.added, case.x[7]) = (relu, None, bad);
                let mut out = vec![1.0; 4 * 5 * 17];
                case.run(kernels, &pool, &mut out).unwrap();
                assert!(out.iter().all(|v| if relu { *v == 0.0 } else { v.is_nan() }));
            }
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let kernels = Kernels::for_level(CpuLevel::Scalar).unwrap();
    let pool = Pool::new(1).unwrap();
    let refused = |change: &dyn Fn(&mut Case), len: usize| {
        let mut case = Case::new([4, 6, 3, 8], 3, 1, 5);
        case.added = Some(vec![0.0; 4 * 6 * 8]);
        change(&mut case);
        case.run(kernels, &pool, &mut vec![0.0; len]).is_err()
    };
    let len = 4 * 6 * 8;
    assert!(!refused(&|_| (), len));
    assert!(refused(&|_| (), len - 1), "output");
    assert!(refused(&|c| c.rows = 5, len), "rows");
    assert!(refused(&|c| (c.rows, c.x) = (0, Vec::new()), 0), "nothing");
    assert!(refused(&|c| c.enlarged = true, len), "addition of the wrong size");
    assert!(refused(&|c| c.stride = 3, len), "stride");
    let wide = |c: &mut Case| {
        *c = Case::new([4, 6, 1, 8], 3, 1, 5);
        (c.picture, c.added) = (true, None);
    };
    assert!(refused(&wide, len), "a picture of one channel");
}
