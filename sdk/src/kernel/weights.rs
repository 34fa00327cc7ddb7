//! The stored order of int8 weights: one layout that every CPU level reads.
//!
//! A matrix `w[n][k]` (one row per output channel) is cut into panels of [`PANEL`] = 16 channels and, along `k`, into
//! groups of [`GROUP`] = 4 values: `[n / 16][k / 4][16][4]`, `n` padded to a multiple of 16 and `k` to a multiple of
//! [`K_STEP`] = 8 with zeros. SDOT by element reads it as it is; SMMLA and AVX2 reorder one panel at a time into
//! scratch that all rows of a layer share. This is layout version [`LAYOUT_VERSION`] of the pack file.

use crate::error::{Error, ErrorKind, Result};

/// Output channels per panel.
pub const PANEL: usize = 16;
/// Consecutive `k` of one channel that lie side by side.
pub const GROUP: usize = 4;
/// `k` is padded to a multiple of this.
pub const K_STEP: usize = 8;
/// Version of the stored order, for the pack's manifest.
pub const LAYOUT_VERSION: u32 = 1;
/// Largest `k`: with activations in -127..=127 and weights in -128..=127 an i32 sum cannot overflow.
pub const MAX_K: usize = 131_072;

/// `k` rounded up to what rows of activations and weights occupy.
#[must_use]
pub const fn padded_k(k: usize) -> usize {
    k.div_ceil(K_STEP) * K_STEP
}

/// `n` rounded up to whole panels.
#[must_use]
pub const fn padded_n(n: usize) -> usize {
    n.div_ceil(PANEL) * PANEL
}

/// Bytes of an `n` x `k` matrix in the stored order.
#[must_use]
pub const fn packed_len(n: usize, k: usize) -> usize {
    padded_n(n) * padded_k(k)
}

/// Where `w[channel][k]` lies in the stored order, `kp` being the padded `k`.
#[must_use]
pub(super) const fn packed_index(channel: usize, k: usize, kp: usize) -> usize {
    (channel / PANEL) * PANEL * kp
        + (k / GROUP) * PANEL * GROUP
        + (channel % PANEL) * GROUP
        + k % GROUP
}

/// Brings a row-major `w[n][k]` into the stored order. Allocates the result.
///
/// # Panics
/// When `w.len() != n * k`.
#[must_use]
pub fn pack_weights(w: &[i8], n: usize, k: usize) -> Vec<i8> {
    assert_eq!(w.len(), n * k, "weights do not fit their shape");
    let mut packed = vec![0; packed_len(n, k)];
    for channel in 0..n {
        for i in 0..k {
            packed[packed_index(channel, i, padded_k(k))] = w[channel * k + i];
        }
    }
    packed
}

/// The inverse of [`pack_weights`]. Allocates the result.
///
/// # Panics
/// When `packed.len() != packed_len(n, k)`.
#[must_use]
pub fn unpack_weights(packed: &[i8], n: usize, k: usize) -> Vec<i8> {
    assert_eq!(packed.len(), packed_len(n, k), "packed weights do not fit their shape");
    let mut w = vec![0; n * k];
    for channel in 0..n {
        for i in 0..k {
            w[channel * k + i] = packed[packed_index(channel, i, padded_k(k))];
        }
    }
    w
}

/// A borrowed int8 linear layer: `y[c] = (sum_k x[k] * w[c][k]) * scale[c] + bias[c]`.
///
/// Only slices, so it may point into a mapped pack. The packed bytes need no alignment; 64 is fastest.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    pub(super) packed: &'a [i8],
    pub(super) scales: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) n: usize,
    pub(super) k: usize,
}

impl<'a> Weights<'a> {
    /// `packed` in the stored order, one scale and one bias per output channel (`n` of each), `k` inputs.
    ///
    /// # Errors
    /// `InvalidArgument` when a length does not fit `n` and `k`, or `k` exceeds [`MAX_K`] or is 0, or `n` is 0.
    pub fn new(
        packed: &'a [i8],
        scales: &'a [f32],
        bias: &'a [f32],
        n: usize,
        k: usize,
    ) -> Result<Self> {
        let bad = |what| Err(Error::new(ErrorKind::InvalidArgument, what));
        if n == 0 || k == 0 || k > MAX_K || n > i32::MAX as usize / PANEL {
            return bad("a linear layer's size is out of range");
        }
        if padded_n(n).checked_mul(padded_k(k)) != Some(packed.len()) {
            return bad("packed weights do not fit their shape");
        }
        if scales.len() != n || bias.len() != n {
            return bad("a linear layer needs one scale and one bias per channel");
        }
        Ok(Weights { packed, scales, bias, n, k })
    }

    /// Output channels.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.n
    }

    /// Inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.k
    }

    /// The packed bytes of panel `p`.
    pub(super) fn panel(&self, p: usize) -> &'a [i8] {
        let bytes = PANEL * padded_k(self.k);
        &self.packed[p * bytes..(p + 1) * bytes]
    }

    /// Panels, the last one possibly padded.
    pub(super) fn panels(&self) -> usize {
        self.n.div_ceil(PANEL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_is_invertible_and_pads_with_zeros() {
        for n in [1, 15, 16, 17, 33] {
            for k in [1, 3, 4, 7, 8, 9, 20] {
                let w: Vec<i8> = (0..n * k).map(|i| (i % 251) as u8 as i8).collect();
                let packed = pack_weights(&w, n, k);
                assert_eq!(unpack_weights(&packed, n, k), w);
                let sum: i64 = packed.iter().map(|&v| i64::from(v)).sum();
                assert_eq!(sum, w.iter().map(|&v| i64::from(v)).sum::<i64>());
            }
        }
    }

    #[test]
    fn order_is_panels_of_16_channels_by_4() {
        let (n, k) = (32, 8);
        let w: Vec<i8> = (0..n * k).map(|i| (i / k) as i8).collect();
        let packed = pack_weights(&w, n, k);
        for (i, &channel) in packed.iter().enumerate() {
            assert_eq!(channel as usize, i / 128 * 16 + i % 64 / 4);
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let (packed, one) = (vec![0; packed_len(5, 9)], [1.0; 5]);
        assert!(Weights::new(&packed, &one, &one, 5, 9).is_ok());
        assert!(Weights::new(&packed, &one, &one[1..], 5, 9).is_err());
        assert!(Weights::new(&packed[1..], &one, &one, 5, 9).is_err());
        assert!(Weights::new(&[], &[], &[], 0, 9).is_err());
        assert!(Weights::new(&[], &one, &one, 5, usize::MAX).is_err());
    }
}
