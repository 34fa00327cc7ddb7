//! What stands in for [`OnnxModel`] in a build without the feature `onnx`: every model is refused.

use crate::error::{Error, ErrorKind, Result};
use std::convert::Infallible;

/// An ONNX model, of which this build has none.
#[derive(Debug)]
pub struct OnnxModel(Infallible);

impl OnnxModel {
    /// Refuses.
    ///
    /// # Errors
    /// `UnsupportedPack`, always.
    pub fn new(_bytes: &[u8]) -> Result<OnnxModel> {
        Err(Error::new(
            ErrorKind::UnsupportedPack,
            "an ONNX model needs a build with the feature onnx",
        ))
    }

    /// There is nothing to plan.
    ///
    /// # Errors
    /// None: there is no model.
    pub fn prepare(&mut self, _shape: &[usize]) -> Result<()> {
        match self.0 {}
    }

    /// There is nothing to count.
    ///
    /// # Errors
    /// None: there is no model.
    pub fn macs(&self, _shape: &[usize]) -> Result<u64> {
        match self.0 {}
    }

    /// There is nothing to run.
    ///
    /// # Errors
    /// None: there is no model.
    pub fn run(
        &mut self,
        _shape: &[usize],
        _input: &[f32],
        _read: impl FnMut(usize, &[usize], &[f32]),
    ) -> Result<()> {
        match self.0 {}
    }
}
