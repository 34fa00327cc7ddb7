//! Embeddings that know which model made them.
//!
//! A [`Template`] is a unit-length vector with the digest of the model behind it. Two templates of different models never
//! give a score, only [`ErrorKind::ModelMismatch`]. The numbers are wiped when a template is dropped, and no `Debug` output shows them.
//!
//! Sums run in `f64` in index order, so that a template is the same, bit for bit, on every CPU.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::{Error, ErrorKind, Result};

/// The longest embedding the SDK handles, in components.
pub const MAX_DIM: usize = 512;

/// What made an embedding: a digest that binds the weights, their precision and the version of the preprocessing.
///
/// The pack computes it; here it is only compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId(pub [u8; 32]);

impl fmt::Debug for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelId({self})")
    }
}

/// The first four bytes in hexadecimal: enough to tell two packs apart in a log.
impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// A unit-length embedding of one face, or of several shots fused, bound to its model.
///
/// Biometric data: it lives on the heap (one allocation of `4 * dim` bytes), is wiped on drop and never printed.
#[derive(Clone, PartialEq)]
pub struct Template {
    unit: Box<[f32]>,
    model: ModelId,
}

impl Drop for Template {
    fn drop(&mut self) {
        self.unit.zeroize();
    }
}

impl ZeroizeOnDrop for Template {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("dim", &self.dim())
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl Template {
    /// Normalises `embedding` (1 to [`MAX_DIM`] components of any finite size) to unit length.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a wrong number of components, a component that is not finite, or a vector of length zero.
    pub fn from_embedding(embedding: &[f32], model: ModelId) -> Result<Self> {
        check_dim(embedding.len())?;
        let mut template = Template { unit: vec![0.0; embedding.len()].into_boxed_slice(), model };
        template.assign(embedding)?;
        Ok(template)
    }

    /// Replaces the value by another embedding of the same model and dimension, without allocating.
    ///
    /// # Errors
    /// As [`Template::from_embedding`]; the old value stays in place then.
    pub fn assign(&mut self, embedding: &[f32]) -> Result<()> {
        if embedding.len() != self.unit.len() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "the embedding has another dimension",
            ));
        }
        let inverse = inverse_norm(embedding.iter().map(|&v| f64::from(v)))?;
        for (to, &from) in self.unit.iter_mut().zip(embedding) {
            *to = (f64::from(from) * inverse) as f32;
        }
        Ok(())
    }

    /// Number of components.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.unit.len()
    }

    /// The components; their squares sum to one. Biometric data: do not log them.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.unit
    }

    /// The model that made it.
    #[must_use]
    pub fn model(&self) -> ModelId {
        self.model
    }

    /// Cosine of the angle between two templates, in `-1.0..=1.0`.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMismatch`] if they come from different models.
    pub fn similarity(&self, other: &Template) -> Result<f32> {
        self.check_comparable(other)?;
        let dot: f64 =
            self.unit.iter().zip(&other.unit).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        Ok(dot.clamp(-1.0, 1.0) as f32)
    }

    /// Fuses several shots of one person: the weighted sum of the unit vectors, brought back to unit length.
    ///
    /// With the landmark score (`quality::landmark_score`) as weight this is the feature fusion of the KP-RPE paper (arXiv 2403.14852); with equal weights, the plain
    /// average. A shot of weight zero does not count. Allocates the result.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for no shots, a weight that is negative or not finite, or a sum of length zero;
    /// [`ErrorKind::ModelMismatch`] if the shots come from different models.
    pub fn fuse(shots: &[(&Template, f32)]) -> Result<Template> {
        let Some(&(first, _)) = shots.first() else {
            return Err(Error::new(ErrorKind::InvalidArgument, "nothing to fuse"));
        };
        let mut sum = zeroize::Zeroizing::new([0f64; MAX_DIM]);
        let sum = &mut sum[..first.dim()];
        for &(shot, weight) in shots {
            first.check_comparable(shot)?;
            if !weight.is_finite() || weight < 0.0 {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "a fusion weight is negative or not finite",
                ));
            }
            for (total, &v) in sum.iter_mut().zip(&shot.unit) {
                *total += f64::from(weight) * f64::from(v);
            }
        }
        let inverse = inverse_norm(sum.iter().copied())?;
        let unit = sum.iter().map(|&v| (v * inverse) as f32).collect();
        Ok(Template { unit, model: first.model })
    }

    fn check_comparable(&self, other: &Template) -> Result<()> {
        if self.model != other.model || self.dim() != other.dim() {
            return Err(Error::new(
                ErrorKind::ModelMismatch,
                "the templates come from different models",
            ));
        }
        Ok(())
    }
}

fn check_dim(dim: usize) -> Result<()> {
    if dim == 0 || dim > MAX_DIM {
        return Err(Error::new(ErrorKind::InvalidArgument, "an embedding has 1 to 512 components"));
    }
    Ok(())
}

/// One over the Euclidean length; refuses lengths from which no direction can be read.
fn inverse_norm(values: impl Iterator<Item = f64>) -> Result<f64> {
    let norm = values.map(|v| v * v).sum::<f64>().sqrt();
    if !norm.is_finite() {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "an embedding holds a value that is not finite",
        ));
    }
    if norm < 1e-12 {
        return Err(Error::new(ErrorKind::InvalidArgument, "an embedding has length zero"));
    }
    Ok(1.0 / norm)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ModelId = ModelId([7; 32]);
    const B: ModelId = ModelId([8; 32]);

    fn template(v: &[f32]) -> Template {
        Template::from_embedding(v, A).unwrap()
    }

    #[test]
    fn normalises() {
        let t = template(&[3.0, 4.0]);
        assert_eq!(t.as_slice(), [0.6, 0.8]);
        assert_eq!(t.dim(), 2);
        assert_eq!(t.model(), A);
    }

    #[test]
    fn refuses_what_has_no_direction() {
        let long = [1.0; MAX_DIM + 1];
        for bad in [&[][..], &[0.0, 0.0], &[1.0, f32::NAN], &[f32::INFINITY, 1.0], &long] {
            assert_eq!(
                Template::from_embedding(bad, A).unwrap_err().kind(),
                ErrorKind::InvalidArgument
            );
        }
        assert!(
            Template::from_embedding(&[f32::MAX, f32::MAX], A).is_ok(),
            "large values do not overflow"
        );
    }

    #[test]
    fn assign_keeps_the_old_value_on_error() {
        let mut t = template(&[1.0, 0.0]);
        assert!(t.assign(&[f32::NAN, 0.0]).is_err());
        assert!(t.assign(&[1.0]).is_err());
        assert_eq!(t.as_slice(), [1.0, 0.0]);
        t.assign(&[0.0, -2.0]).unwrap();
        assert_eq!(t.as_slice(), [0.0, -1.0]);
    }

    #[test]
    fn similarity_is_the_cosine() {
        let (x, y) = (template(&[1.0, 0.0]), template(&[1.0, 1.0]));
        assert!((x.similarity(&y).unwrap() - 0.5f32.sqrt()).abs() < 1e-6);
        assert_eq!(x.similarity(&template(&[-5.0, 0.0])).unwrap(), -1.0);
    }

    #[test]
    fn models_do_not_mix() {
        let x = template(&[1.0, 0.0]);
        let other = Template::from_embedding(&[1.0, 0.0], B).unwrap();
        assert_eq!(x.similarity(&other).unwrap_err().kind(), ErrorKind::ModelMismatch);
        assert_eq!(
            Template::fuse(&[(&x, 1.0), (&other, 1.0)]).unwrap_err().kind(),
            ErrorKind::ModelMismatch
        );
        assert_eq!(x.similarity(&template(&[1.0])).unwrap_err().kind(), ErrorKind::ModelMismatch);
    }

    #[test]
    fn fusion_matches_a_sum_by_hand() {
        // 0.75 * (1, 0) + 0.25 * (0, 1) = (0.75, 0.25), length sqrt(0.625) = 0.790569415.
        let (x, y) = (template(&[1.0, 0.0]), template(&[0.0, 1.0]));
        let t = Template::fuse(&[(&x, 0.75), (&y, 0.25)]).unwrap();
        assert!((t.as_slice()[0] - 0.948_683_3).abs() < 1e-6);
        assert!((t.as_slice()[1] - 0.316_227_77).abs() < 1e-6);
        // Equal weights are the plain average, whatever their size.
        let mean = Template::fuse(&[(&x, 3.0), (&y, 3.0)]).unwrap();
        assert!((mean.as_slice()[0] - 0.5f32.sqrt()).abs() < 1e-6);
        // Weight zero leaves a shot out.
        assert_eq!(Template::fuse(&[(&x, 1.0), (&y, 0.0)]).unwrap().as_slice(), [1.0, 0.0]);
    }

    #[test]
    fn fusion_refuses_empty_sums() {
        let (x, minus) = (template(&[1.0, 0.0]), template(&[-1.0, 0.0]));
        for bad in
            [&[][..], &[(&x, 0.0)], &[(&x, -1.0)], &[(&x, f32::NAN)], &[(&x, 1.0), (&minus, 1.0)]]
        {
            assert_eq!(Template::fuse(bad).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn debug_hides_values() {
        let text = format!("{:?}", template(&[3.0, 4.0]));
        assert_eq!(text, "Template { dim: 2, model: ModelId(07070707), .. }");
    }
}
