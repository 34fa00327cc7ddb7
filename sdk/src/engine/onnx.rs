//! Any ONNX model in f32, for users' own models.

use super::engine_error;
use crate::error::{Error, ErrorKind, Result};
use std::io::Cursor;
use tract_core::ops::Cost;
use tract_onnx::prelude::*;

/// How many input shapes keep a prepared plan.
const MAX_PLANS: usize = 4;

/// An ONNX model with one image-like input of varying size.
pub struct OnnxModel {
    graph: InferenceModel,
    plans: Vec<(Vec<usize>, Arc<TypedRunnableModel>)>,
}

impl OnnxModel {
    /// Parses a model. Memory while loading is about three times its size.
    ///
    /// # Errors
    /// `UnsupportedPack` if tract cannot read it.
    pub fn new(bytes: &[u8]) -> Result<OnnxModel> {
        let graph = tract_onnx::onnx().model_for_read(&mut Cursor::new(bytes)).map_err(|e| {
            log::error!("ONNX model: {e:#}");
            Error::new(ErrorKind::UnsupportedPack, "the ONNX model cannot be read")
        })?;
        Ok(OnnxModel { graph, plans: Vec::new() })
    }

    /// Plans the model for inputs of this shape, which takes tens of milliseconds; later runs are fast.
    ///
    /// # Errors
    /// `UnsupportedPack` if the model does not take this shape or has an operator that tract lacks.
    pub fn prepare(&mut self, shape: &[usize]) -> Result<()> {
        self.plan(shape).map(|_| ())
    }

    fn plan(&mut self, shape: &[usize]) -> Result<Arc<TypedRunnableModel>> {
        if let Some((_, plan)) = self.plans.iter().find(|(s, _)| s == shape) {
            return Ok(plan.clone());
        }
        let plan = self
            .graph
            .clone()
            .with_input_fact(0, f32::fact(shape).into())
            .and_then(|g| g.into_optimized())
            .and_then(|g| g.into_runnable())
            .map_err(|e| refused(shape, &e))?;
        if self.plans.len() == MAX_PLANS {
            self.plans.remove(0);
        }
        self.plans.push((shape.to_vec(), plan.clone()));
        Ok(plan)
    }

    /// Multiply-adds of one run on an input of this shape, as tract counts them. Analyses the graph anew: not for every frame.
    ///
    /// # Errors
    /// As [`OnnxModel::prepare`].
    pub fn macs(&self, shape: &[usize]) -> Result<u64> {
        let count = || -> TractResult<u64> {
            let fact = f32::fact(shape).into();
            let model =
                self.graph.clone().with_input_fact(0, fact)?.into_typed()?.into_decluttered()?;
            let mut sum = 0;
            for node in model.nodes() {
                for (cost, n) in node.op.cost(&model.node_input_facts(node.id)?)? {
                    if matches!(cost, Cost::FMA(_)) {
                        sum += n.to_i64()? as u64;
                    }
                }
            }
            Ok(sum)
        };
        count().map_err(|e| refused(shape, &e))
    }

    /// Runs the model on one input and hands each output's shape and values to `read`.
    ///
    /// # Errors
    /// `InvalidArgument` if `input` does not fill `shape`; `UnsupportedPack` as [`OnnxModel::prepare`]; `Internal` if
    /// the engine fails.
    pub fn run(
        &mut self,
        shape: &[usize],
        input: &[f32],
        mut read: impl FnMut(usize, &[usize], &[f32]),
    ) -> Result<()> {
        if shape.iter().product::<usize>() != input.len() {
            return Err(Error::new(ErrorKind::InvalidArgument, "input and shape disagree"));
        }
        let plan = self.plan(shape)?;
        let mut run = || -> TractResult<()> {
            let input = Tensor::from_shape(shape, input)?;
            for (i, output) in plan.run(tvec!(input.into_tvalue()))?.iter().enumerate() {
                read(i, output.shape(), output.try_as_plain_ram()?.as_slice::<f32>()?);
            }
            Ok(())
        };
        run().map_err(engine_error("the ONNX model failed"))
    }
}

fn refused(shape: &[usize], e: &TractError) -> Error {
    log::error!("ONNX model for input {shape:?}: {e:#}");
    Error::new(ErrorKind::UnsupportedPack, "the ONNX model does not take this input")
}

impl std::fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxModel").field("plans", &self.plans.len()).finish_non_exhaustive()
    }
}
