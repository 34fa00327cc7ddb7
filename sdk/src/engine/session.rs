//! The recogniser as its users see it.

use super::build::Network;
use super::engine_error;
use super::ops::Exec;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{CpuLevel, Kernels, Pool};
use crate::pack::{DType, Pack, RecogniserManifest};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tract_core::internal::*;

/// A loaded recogniser: immutable, shared by any number of sessions and threads.
pub struct Recogniser {
    network: Network,
    manifest: RecogniserManifest,
    pack: Arc<Pack>,
    kernels: &'static Kernels,
}

impl Recogniser {
    /// The recogniser of `pack`, on the best CPU level that `KEYFACE_CPU` allows.
    ///
    /// Weights stay in the mapped pack; only small tables are derived and allocated.
    ///
    /// # Errors
    /// `UnsupportedPack` without a recogniser or with one of an unknown form, `DamagedPack` when a tensor is missing or
    /// has another size, `UnsupportedCpu`.
    pub fn new(pack: &Arc<Pack>) -> Result<Recogniser> {
        Self::with_kernels(pack, Kernels::detect()?)
    }

    /// As [`Recogniser::new`], at one CPU level.
    ///
    /// # Errors
    /// As [`Recogniser::new`]; `UnsupportedCpu` if this CPU lacks the level.
    pub fn at_level(pack: &Arc<Pack>, level: CpuLevel) -> Result<Recogniser> {
        Self::with_kernels(pack, Kernels::for_level(level)?)
    }

    fn with_kernels(pack: &Arc<Pack>, kernels: &'static Kernels) -> Result<Recogniser> {
        let Some(manifest) = pack.manifest().recogniser.clone() else {
            return Err(Error::new(ErrorKind::UnsupportedPack, "the pack holds no recogniser"));
        };
        if manifest.preprocessing != crate::PREPROCESSING_VERSION {
            return Err(Error::new(
                ErrorKind::UnsupportedPack,
                "the recogniser expects another preprocessing",
            ));
        }
        let network = Network::load(pack, &manifest)?;
        Ok(Recogniser { network, manifest, pack: pack.clone(), kernels })
    }

    /// Architecture and input convention.
    #[must_use]
    pub fn manifest(&self) -> &RecogniserManifest {
        &self.manifest
    }

    /// The CPU level in use.
    #[must_use]
    pub fn cpu_level(&self) -> CpuLevel {
        self.kernels.level()
    }

    /// Something to run embeddings with, on `threads` threads of its own (1 = the calling thread alone).
    ///
    /// # Errors
    /// `InvalidArgument` for 0 threads, `Io` if threads cannot be started, `Internal` if tract refuses the graph.
    pub fn session(&self, threads: usize) -> Result<Session> {
        self.session_on(Arc::new(Pool::new(threads)?))
    }

    /// As [`Recogniser::session`], on threads that others may use too.
    ///
    /// # Errors
    /// As [`Recogniser::session`].
    pub fn session_on(&self, pool: Arc<Pool>) -> Result<Session> {
        self.make_session(pool, false)
    }

    /// As [`Recogniser::session`]; its runs keep the output of every block, for comparison with a reference.
    ///
    /// # Errors
    /// As [`Recogniser::session`].
    pub fn session_with_blocks(&self, threads: usize) -> Result<Session> {
        self.make_session(Arc::new(Pool::new(threads)?), true)
    }

    fn make_session(&self, pool: Arc<Pool>, with_blocks: bool) -> Result<Session> {
        let exec = Exec { kernels: self.kernels, pool };
        let plan = self
            .network
            .wire(&exec, with_blocks)
            .and_then(SimplePlan::new)
            .map_err(engine_error("cannot plan the recogniser"))?;
        let state = plan.spawn().map_err(engine_error("cannot start the recogniser"))?;
        let size = self.manifest.input_size;
        Ok(Session {
            state,
            size,
            dim: self.manifest.output_dim,
            blocks: Vec::new(),
            failed: false,
        })
    }

    /// The learned attention offsets `B[query][.]` of one block and head for these key points (0..1 of the crop), one for
    /// every token, row-major: what KP-RPE adds to the scores before the softmax. `None` if the recogniser has no
    /// key-point tables or an index is out of range. Allocates the result.
    #[must_use]
    pub fn attention_offsets(
        &self,
        keypoints: &[[f32; 2]; 5],
        block: usize,
        head: usize,
        query: usize,
    ) -> Option<Vec<f32>> {
        self.network.offsets(keypoints, block, head, query)
    }

    /// Runs the pack's golden vectors and returns the lowest cosine between stored and computed embeddings.
    ///
    /// # Errors
    /// `DamagedPack` if the vectors are missing or misshapen, otherwise as [`Session::run`].
    pub fn self_test(&self) -> Result<f32> {
        let mut session = self.session(1)?;
        let (size, dim) = (self.manifest.input_size, self.manifest.output_dim);
        let mut out = vec![0.0; dim];
        let mut worst = 1.0f32;
        for i in 0..self.pack.manifest().vectors {
            let image =
                self.pack.bytes(self.pack.tensor(&format!("vectors/{i}/image"), DType::U8)?);
            let keypoints = self.pack.f32(&format!("vectors/{i}/keypoints"))?;
            let want = self.pack.f32(&format!("vectors/{i}/embedding"))?;
            if image.len() != 3 * size * size || keypoints.len() != 10 || want.len() != dim {
                return Err(Error::new(
                    ErrorKind::DamagedPack,
                    "a golden vector has the wrong size",
                ));
            }
            let points = std::array::from_fn(|p| [keypoints[2 * p], keypoints[2 * p + 1]]);
            session.run(image, &points, &mut out)?;
            let cosine = cosine(&out, want);
            worst = if cosine >= worst { worst } else { cosine };
        }
        Ok(worst)
    }
}

impl std::fmt::Debug for Recogniser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recogniser").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
    };
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()) as f32
}

/// One operator of a profiled run.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Name of the node, such as `blocks.3.fc1`.
    pub name: String,
    /// Kind of operator, such as `KfLinear`.
    pub operator: String,
    /// Multiply-adds.
    pub macs: u64,
    /// Wall time.
    pub elapsed: Duration,
}

pub(super) fn macs_of(node: &TypedNode) -> u64 {
    let costs = node.op.cost(&[]).unwrap_or_default();
    costs
        .iter()
        .filter_map(|(_, count)| count.to_i64().ok())
        .filter_map(|count| u64::try_from(count).ok())
        .sum()
}

/// One thread's plan, scratch and helpers. Not shared: make one per pipeline.
pub struct Session {
    state: SimpleState<TypedFact, Box<dyn TypedOp>>,
    size: usize,
    dim: usize,
    blocks: Vec<Vec<f32>>,
    failed: bool,
}

impl Session {
    /// Side of the input crop in pixels.
    #[must_use]
    pub fn input_size(&self) -> usize {
        self.size
    }

    /// Length of the embedding.
    #[must_use]
    pub fn output_dim(&self) -> usize {
        self.dim
    }

    /// Computes the embedding, before normalisation to unit length.
    ///
    /// `image` is planar RGB `[3][size][size]`; `keypoints` are left eye, right eye, nose, left and right mouth corner
    /// as x, y in 0..1 of the crop (values outside are allowed: points may lie outside the crop); `out` has
    /// [`Session::output_dim`] values.
    ///
    /// # Errors
    /// `InvalidArgument` for wrong lengths or key points that are not finite. `Internal` if the engine fails; the
    /// session is then `Poisoned` for ever.
    pub fn run(&mut self, image: &[u8], keypoints: &[[f32; 2]; 5], out: &mut [f32]) -> Result<()> {
        if self.failed {
            return Err(Error::new(ErrorKind::Poisoned, "an earlier run failed"));
        }
        if image.len() != 3 * self.size * self.size || out.len() != self.dim {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "image or output has the wrong length",
            ));
        }
        if keypoints.iter().flatten().any(|v| !v.is_finite()) {
            return Err(Error::new(ErrorKind::InvalidArgument, "key points must be finite"));
        }
        self.failed = true;
        self.try_run(image, keypoints, out).map_err(engine_error("the recogniser failed"))?;
        self.failed = false;
        Ok(())
    }

    fn try_run(
        &mut self,
        image: &[u8],
        keypoints: &[[f32; 2]; 5],
        out: &mut [f32],
    ) -> TractResult<()> {
        let image = Tensor::from_shape(&[3, self.size, self.size], image)?;
        let keypoints = Tensor::from_shape(&[5, 2], keypoints.as_flattened())?;
        let outputs = self.state.run(tvec!(image.into_tvalue(), keypoints.into_tvalue()))?;
        out.copy_from_slice(outputs[0].try_as_plain_ram()?.as_slice::<f32>()?);
        self.blocks.clear();
        for block in &outputs[1..] {
            self.blocks.push(block.try_as_plain_ram()?.as_slice::<f32>()?.to_vec());
        }
        Ok(())
    }

    /// Runs once as [`Session::run`] does and says how long every operator took, in order of execution. Allocates.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn profile(
        &mut self,
        image: &[u8],
        keypoints: &[[f32; 2]; 5],
        out: &mut [f32],
    ) -> Result<Vec<Step>> {
        self.run(image, keypoints, out)?;
        let mut steps = Vec::new();
        let mut timed = || -> TractResult<()> {
            let inputs = tvec!(
                Tensor::from_shape(&[3, self.size, self.size], image)?.into_tvalue(),
                Tensor::from_shape(&[5, 2], keypoints.as_flattened())?.into_tvalue()
            );
            self.state.run_plan_with_eval(inputs, |context, state, node, inputs| {
                let start = Instant::now();
                let result = tract_core::plan::eval(context, state, node, inputs);
                let macs = macs_of(node);
                steps.push(Step {
                    name: node.name.clone(),
                    operator: node.op.name().to_string(),
                    macs,
                    elapsed: start.elapsed(),
                });
                result
            })?;
            Ok(())
        };
        timed().map_err(engine_error("the recogniser failed"))?;
        Ok(steps)
    }

    /// Multiply-adds of one run: linear layers, convolutions, key-point tables and attention products.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.state.model().nodes.iter().map(macs_of).sum()
    }

    /// Every block's output `[tokens][embed_dim]` of the last run, if the session was made to keep them.
    #[must_use]
    pub fn blocks(&self) -> &[Vec<f32>] {
        &self.blocks
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("size", &self.size)
            .field("dim", &self.dim)
            .finish_non_exhaustive()
    }
}
