//! The int8 form of a template: what the gallery keeps and compares.
//!
//! `q[i] = round(127 * x[i] / max|x|)`. The score of two rows is the exact integer dot product over the product of the two
//! lengths, that is, the cosine of the quantised vectors: it needs no scale, is one for equal rows, and is the same on every CPU.

use zeroize::Zeroizing;

use crate::template::{Template, MAX_DIM};

/// Rows are padded with zeros to a multiple of this many components, which suits every vector unit.
const ROW_ALIGN: usize = 64;

/// Bytes from one row to the next for `dim` components.
pub(super) fn stride(dim: usize) -> usize {
    dim.next_multiple_of(ROW_ALIGN)
}

/// A quantised template in a buffer on the stack; wiped on drop.
pub(super) struct Row {
    q: Zeroizing<[i8; MAX_DIM]>,
    /// One over the Euclidean length of the integer vector.
    pub(super) inverse_norm: f32,
}

impl Row {
    /// Quantises; the components beyond `dim` are zero.
    pub(super) fn new(template: &Template) -> Row {
        let values = template.as_slice();
        // A unit vector has a component of at least 1/sqrt(512), so the division is safe.
        let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
        let scale = 127.0 / largest;
        let mut q = Zeroizing::new([0i8; MAX_DIM]);
        for (to, &v) in q.iter_mut().zip(values) {
            *to = (v * scale).round() as i8;
        }
        let inverse_norm = inverse_norm(&*q).unwrap_or(0.0);
        Row { q, inverse_norm }
    }

    /// The first `stride` components.
    pub(super) fn padded(&self, stride: usize) -> &[i8] {
        &self.q[..stride]
    }
}

/// One over the length of an integer vector; nothing for the zero vector.
pub(super) fn inverse_norm(q: &[i8]) -> Option<f32> {
    let squares: i32 = q.iter().map(|&v| i32::from(v) * i32::from(v)).sum();
    (squares > 0).then(|| (1.0 / f64::from(squares).sqrt()) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::ModelId;

    #[test]
    fn quantises_to_the_full_range() {
        let t = Template::from_embedding(&[3.0, -4.0, 1.0], ModelId([0; 32])).unwrap();
        let row = Row::new(&t);
        assert_eq!(row.padded(4), [95, -127, 32, 0]);
        let length = f64::from(95 * 95 + 127 * 127 + 32 * 32).sqrt();
        assert!((f64::from(row.inverse_norm) - 1.0 / length).abs() < 1e-9);
    }

    #[test]
    fn zero_has_no_length() {
        assert!(inverse_norm(&[0; 8]).is_none());
    }
}
