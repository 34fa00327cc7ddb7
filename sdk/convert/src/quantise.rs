//! Symmetric int8 quantisation of a weight matrix, one scale per output channel.

/// Weights `w[n][k] ~ values[n][k] * scales[n]` with values in -127..=127.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantised {
    /// Row-major `[n][k]`.
    pub values: Vec<i8>,
    /// One per row; 0 for a row of zeros.
    pub scales: Vec<f32>,
}

impl Quantised {
    /// Quantises `weight[n][k]`: the scale of a row is its largest magnitude over 127, rounding is to nearest, ties to
    /// even, in double precision.
    ///
    /// # Panics
    /// When `weight.len() != n * k` or `k` is 0.
    #[must_use]
    pub fn new(weight: &[f32], n: usize, k: usize) -> Quantised {
        assert_eq!(weight.len(), n * k, "a matrix of another size");
        let mut values = Vec::with_capacity(n * k);
        let mut scales = Vec::with_capacity(n);
        for row in weight.chunks_exact(k) {
            let largest = row.iter().fold(0f32, |m, w| m.max(w.abs()));
            let scale = largest / 127.0;
            let scale = if scale > f32::MIN_POSITIVE { scale } else { 0.0 };
            let inverse = if scale > 0.0 { 1.0 / f64::from(scale) } else { 0.0 };
            scales.push(scale);
            values.extend(
                row.iter().map(|w| {
                    (f64::from(*w) * inverse).round_ties_even().clamp(-127.0, 127.0) as i8
                }),
            );
        }
        Quantised { values, scales }
    }

    /// The weights that the integers stand for, row-major.
    #[must_use]
    pub fn dequantised(&self) -> Vec<f32> {
        let k = self.values.len() / self.scales.len().max(1);
        self.values
            .chunks_exact(k.max(1))
            .zip(&self.scales)
            .flat_map(|(row, s)| row.iter().map(move |v| f32::from(*v) * s))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_use_the_whole_range_and_round_to_nearest() {
        let q = Quantised::new(&[1.0, -2.0, 0.5, 0.0, 0.0, 0.0], 2, 3);
        assert_eq!(q.values, [64, -127, 32, 0, 0, 0]); // 63.5 and 31.75 round to 64 and 32
        assert_eq!(q.scales, [2.0 / 127.0, 0.0]);
        for (got, want) in q.dequantised().iter().zip([1.0, -2.0, 0.5]) {
            assert!((got - want).abs() <= 1.0 / 127.0 + 1e-6);
        }
    }

    #[test]
    fn subnormal_rows_do_not_divide_by_zero() {
        let q = Quantised::new(&[1e-44, -1e-44], 1, 2);
        assert_eq!((q.values, q.scales), (vec![0, 0], vec![0.0]));
    }
}
