//! The landmark network: int8 convolutions wired from a pack's list of layers.

use super::engine_error;
use super::ops::{f32_input, failed, operator, Exec};
use super::session::{macs_of, Step};
use super::weights::{LinearParams, Matrix};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Convolution, CpuLevel, Kernels, Map, Pool, Values, Weights, MAX_MAP_SIDE};
use crate::pack::{links, ConvLayer, LandmarkNetwork, Links, Pack, Precision};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tract_core::internal::*;

/// How many input sizes keep a prepared plan.
const MAX_PLANS: usize = 4;

/// The convolutions of a pack's landmark network, with a plan for each size of picture. One thread at a time.
pub struct ConvNet {
    layers: Vec<Layer>,
    outputs: Vec<usize>,
    /// Width and height are multiples of this.
    coarsest: usize,
    exec: Exec,
    plans: Vec<Plan>,
}

struct Layer {
    description: ConvLayer,
    links: Links,
    params: Arc<LinearParams>,
}

struct Plan {
    size: (usize, usize),
    state: SimpleState<TypedFact, Box<dyn TypedOp>>,
}

impl ConvNet {
    /// The landmark network of `pack` on `threads` threads of its own (1 = the calling thread alone), at the best CPU
    /// level that `KEYFACE_CPU` allows. Weights stay in the mapped pack.
    ///
    /// # Errors
    /// `UnsupportedPack` without a landmark network made of convolutions, `DamagedPack` when a tensor is missing or has
    /// another size, `UnsupportedCpu`, `InvalidArgument` for 0 threads, `Io` if threads cannot be started.
    pub fn new(pack: &Arc<Pack>, threads: usize) -> Result<ConvNet> {
        Self::on(pack, Arc::new(Pool::new(threads)?))
    }

    /// As [`ConvNet::new`], on threads that others may use too.
    ///
    /// # Errors
    /// As [`ConvNet::new`].
    pub fn on(pack: &Arc<Pack>, pool: Arc<Pool>) -> Result<ConvNet> {
        Self::with(pack, Kernels::detect()?, pool)
    }

    /// As [`ConvNet::new`], at one CPU level.
    ///
    /// # Errors
    /// As [`ConvNet::new`]; `UnsupportedCpu` if this CPU lacks the level.
    pub fn at_level(pack: &Arc<Pack>, level: CpuLevel, threads: usize) -> Result<ConvNet> {
        Self::with(pack, Kernels::for_level(level)?, Arc::new(Pool::new(threads)?))
    }

    fn with(pack: &Arc<Pack>, kernels: &'static Kernels, pool: Arc<Pool>) -> Result<ConvNet> {
        let unsupported = |what| Error::new(ErrorKind::UnsupportedPack, what);
        let network = pack.manifest().landmark.as_ref().map(|l| &l.network);
        let Some(LandmarkNetwork::Convolutions { layers, outputs }) = network else {
            return Err(unsupported("the pack holds no landmark network of convolutions"));
        };
        let links = links(layers).map_err(unsupported)?;
        let coarsest = links.iter().map(|l| l.shrink).max().unwrap_or(1);
        let outputs = outputs
            .iter()
            .map(|name| layers.iter().position(|l| l.name == *name))
            .collect::<Option<_>>()
            .ok_or(unsupported("the landmark network lacks an output"))?;
        let layers = layers
            .iter()
            .zip(links)
            .map(|(description, links)| {
                let size = (description.outputs, description.kernel.pow(2) * description.inputs);
                let name = format!("landmark.{}", description.name);
                let params = LinearParams::from_pack(pack, &name, size, Precision::Int8, true)?;
                let (description, params) = (description.clone(), Arc::new(params));
                Ok(Layer { description, links, params })
            })
            .collect::<Result<_>>()?;
        let exec = Exec { kernels, pool };
        Ok(ConvNet { layers, outputs, coarsest, exec, plans: Vec::new() })
    }

    /// The CPU level in use.
    #[must_use]
    pub fn cpu_level(&self) -> CpuLevel {
        self.exec.kernels.level()
    }

    /// Plans the network for pictures of this width and height, which takes a millisecond or two.
    ///
    /// # Errors
    /// `InvalidArgument` for a size that is 0, too large or not a multiple of the coarsest cell; `Internal` if tract
    /// refuses the graph.
    pub fn prepare(&mut self, size: (usize, usize)) -> Result<()> {
        self.plan(size).map(|_| ())
    }

    /// Where the plan for `size` is.
    fn plan(&mut self, size: (usize, usize)) -> Result<usize> {
        if let Some(at) = self.plans.iter().position(|p| p.size == size) {
            return Ok(at);
        }
        let fits =
            |side: usize| (1..=MAX_MAP_SIDE).contains(&side) && side.is_multiple_of(self.coarsest);
        if !fits(size.0) || !fits(size.1) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "the landmark network does not take this size",
            ));
        }
        let state = self
            .wire(size)
            .and_then(SimplePlan::new)
            .and_then(|plan| plan.spawn())
            .map_err(engine_error("cannot plan the landmark network"))?;
        if self.plans.len() == MAX_PLANS {
            self.plans.remove(0);
        }
        self.plans.push(Plan { size, state });
        Ok(self.plans.len() - 1)
    }

    /// The graph for one size: input `image` u8 `[3, height, width]`, outputs `[cells, 15]`, one per level.
    fn wire(&self, (width, height): (usize, usize)) -> TractResult<TypedModel> {
        let mut g = TypedModel::default();
        let image = g.add_source("image", u8::fact([3, height, width]))?;
        let mut nodes: Vec<OutletId> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let ConvLayer { name, stride, .. } = &layer.description;
            let above = layer.links.shrink / stride;
            let params = ConvolveOp {
                layer: layer.params.clone(),
                description: layer.description.clone(),
                rows: height / above,
                columns: width / above,
                picture: layer.links.input.is_none(),
            };
            let mut inputs: TVec<OutletId> = tvec!(layer.links.input.map_or(image, |i| nodes[i]));
            inputs.extend(layer.links.add.map(|i| nodes[i]));
            let op = Convolve { params: Arc::new(params), exec: self.exec.clone() };
            nodes.push(g.wire_node(name, op, &inputs)?[0]);
        }
        let outputs: Vec<OutletId> = self.outputs.iter().map(|&i| nodes[i]).collect();
        g.select_output_outlets(&outputs)?;
        Ok(g)
    }

    /// Multiply-adds of one run on a picture of this width and height.
    #[must_use]
    pub fn macs(&self, (width, height): (usize, usize)) -> u64 {
        let of = |l: &Layer| {
            let pixels = (width / l.links.shrink) * (height / l.links.shrink);
            (pixels * l.params.n * l.params.k) as u64
        };
        self.layers.iter().map(of).sum()
    }

    /// Runs the network on `image`, planar RGB `[3][height][width]`, a byte `x` standing for `(x / 255 - 0.5) / 0.5`, and hands every level's cells, `[rows][columns][15]`,
    /// to `read`, in the order of the manifest's strides.
    ///
    /// # Errors
    /// `InvalidArgument` if `image` does not fill `size`, otherwise as [`ConvNet::prepare`].
    pub fn run(
        &mut self,
        size: (usize, usize),
        image: &[u8],
        read: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        self.run_with(size, image, tract_core::plan::eval, read)
    }

    /// Runs once as [`ConvNet::run`] does and says how long every layer took. Allocates.
    ///
    /// # Errors
    /// As [`ConvNet::run`].
    pub fn profile(&mut self, size: (usize, usize), image: &[u8]) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        let eval = |context: &EvalContext<'_>,
                    state: Option<&mut (dyn OpState + 'static)>,
                    node: &TypedNode,
                    inputs: TVec<TValue>| {
            let start = Instant::now();
            let result = tract_core::plan::eval(context, state, node, inputs);
            steps.push(Step {
                name: node.name.clone(),
                operator: node.op.name().to_string(),
                macs: macs_of(node),
                elapsed: start.elapsed(),
            });
            result
        };
        self.run_with(size, image, eval, |_, _| ())?;
        Ok(steps)
    }

    fn run_with(
        &mut self,
        size: (usize, usize),
        image: &[u8],
        eval: impl for<'a, 'b, 'c> FnMut(
            &'a EvalContext<'a>,
            Option<&'b mut (dyn OpState + 'static)>,
            &'c TypedNode,
            TVec<TValue>,
        ) -> TractResult<TVec<TValue>>,
        mut read: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        if size.0.checked_mul(size.1).and_then(|n| n.checked_mul(3)) != Some(image.len()) {
            return Err(Error::new(ErrorKind::InvalidArgument, "picture and size disagree"));
        }
        let at = self.plan(size)?;
        let state = &mut self.plans[at].state;
        let run = || -> TractResult<()> {
            let image = Tensor::from_shape(&[3, size.1, size.0], image)?;
            let outputs = state.run_plan_with_eval(tvec!(image.into_tvalue()), eval)?;
            for (level, output) in outputs.iter().enumerate() {
                read(level, output.try_as_plain_ram()?.as_slice::<f32>()?);
            }
            Ok(())
        };
        run().map_err(|e| {
            // What a failed run leaves in its state is not used again.
            self.plans.remove(at);
            engine_error("the landmark network failed")(e)
        })
    }
}

impl fmt::Debug for ConvNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConvNet").field("layers", &self.layers.len()).finish_non_exhaustive()
    }
}

/// One layer at one size of its input.
pub(super) struct ConvolveOp {
    pub(super) layer: Arc<LinearParams>,
    pub(super) description: ConvLayer,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) picture: bool,
}

operator!(Convolve, ConvolveOp, "KfConvolve", exec);

impl Convolve {
    fn output_shape(&self) -> [usize; 2] {
        let ConvolveOp { layer, description, rows, columns, .. } = &*self.params;
        let stride = description.stride;
        [rows.div_ceil(stride) * columns.div_ceil(stride), layer.n]
    }

    fn macs(&self) -> usize {
        let [pixels, n] = self.output_shape();
        pixels * n * self.params.layer.k
    }

    fn run(&self, inputs: &[TValue], out: &mut [f32]) -> TractResult<()> {
        let ConvolveOp { layer, description, rows, columns, picture } = &*self.params;
        let Matrix::Int8 { pack, panels, scales } = &layer.matrix else {
            bail!("a convolution is int8");
        };
        let packed = bytemuck::cast_slice(pack.range(panels));
        let (scales, bias) = (scales.as_slice(), layer.bias.as_slice());
        let conv = Convolution {
            weights: Weights::new(packed, scales, bias, layer.n, layer.k).map_err(failed)?,
            kernel: description.kernel,
            stride: description.stride,
            added: if inputs.len() > 1 { Some(f32_input(inputs, 1)?) } else { None },
            enlarged: description.enlarge,
            relu: description.relu,
        };
        let values = if *picture {
            Values::Picture(inputs[0].try_as_plain_ram()?.as_slice::<u8>()?)
        } else {
            Values::Layer(f32_input(inputs, 0)?)
        };
        let map = Map { values, rows: *rows, columns: *columns };
        self.exec.kernels.convolve(&self.exec.pool, &map, &conv, out).map_err(failed)
    }
}
