//! Frame to faces to templates: owns every buffer that the steps below need.

use crate::align::{align, Alignment};
use crate::detect::{Detection, Detections, Detector};
use crate::embed::Embedder;
use crate::engine::Recogniser;
use crate::error::Result;
use crate::frame::Frame;
use crate::geometry::Points5;
use crate::kernel::Pool;
use crate::memory::{Budget, MemoryEstimate, Reservation};
use crate::pack::Pack;
use crate::quality::{assess, Quality, QualityLimits};
use crate::sample::{normalised, Crop};
use crate::template::{ModelId, Template};
use std::sync::Arc;

/// The loaded networks of one pack: immutable, shared by all pipelines.
#[derive(Debug)]
pub struct Model {
    pack: Arc<Pack>,
    recogniser: Recogniser,
    /// Its own part of the bound on memory, where there is one.
    reserved: Option<(Arc<Budget>, Reservation)>,
}

/// How much heap a model of `pack` and each pipeline with `options` need: upper estimates, before anything is loaded.
///
/// # Errors
/// As [`crate::memory::estimate`].
pub fn estimate_memory(pack: &Pack, options: &Options) -> Result<MemoryEstimate> {
    crate::memory::estimate(pack, options.threads, options.long_side)
}

impl Model {
    /// Loads the recogniser; weights stay in the mapped pack.
    ///
    /// # Errors
    /// As [`Recogniser::new`].
    pub fn load(pack: Arc<Pack>) -> Result<Arc<Model>> {
        let recogniser = Recogniser::new(&pack)?;
        Ok(Arc::new(Model { pack, recogniser, reserved: None }))
    }

    /// As [`Model::load`], within `limit` bytes of heap for the model and all pipelines on it together, by
    /// [`estimate_memory`]. A pipeline that does not fit is refused by [`Pipeline::new`].
    ///
    /// # Errors
    /// As [`Model::load`]; `MemoryLimit`.
    pub fn load_within(pack: Arc<Pack>, limit: u64) -> Result<Arc<Model>> {
        let budget = Budget::new(limit);
        let own = budget.reserve(estimate_memory(&pack, &Options::default())?.model)?;
        let recogniser = Recogniser::new(&pack)?;
        Ok(Arc::new(Model { pack, recogniser, reserved: Some((budget, own)) }))
    }

    /// The recogniser.
    #[must_use]
    pub fn recogniser(&self) -> &Recogniser {
        &self.recogniser
    }

    /// The pack it came from.
    #[must_use]
    pub fn pack(&self) -> &Arc<Pack> {
        &self.pack
    }

    /// What templates of this model carry.
    #[must_use]
    pub fn id(&self) -> ModelId {
        ModelId(self.recogniser.manifest().model_digest())
    }
}

/// How a pipeline works.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Threads of the pipeline, the calling one included; both networks work on the same. Lowered to the CPUs that the
    /// process may use.
    pub threads: usize,
    /// Frames are sampled down for the detector so that their long side is at most this, 64..=1920.
    pub long_side: usize,
    /// Lowest detection score, in place of the pack's.
    pub score_threshold: Option<f32>,
    /// What counts as good enough.
    pub quality: QualityLimits,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            threads: 1,
            long_side: 320,
            score_threshold: None,
            quality: QualityLimits::RECOGNITION,
        }
    }
}

/// A face with everything known of it.
#[derive(Debug, Clone)]
pub struct Face {
    /// Where it is.
    pub detection: Detection,
    /// Whether it is good enough, and if not, why.
    pub quality: Quality,
    /// Its embedding.
    pub template: Template,
}

/// The steps from frame to template with their buffers. One thread at a time; make one per camera.
#[derive(Debug)]
pub struct Pipeline {
    detector: Detector,
    embedder: Embedder,
    limits: QualityLimits,
    model: ModelId,
    dim: usize,
    crop: Crop,
    found: Detections,
    face: Option<Face>,
    _reserved: Option<Reservation>,
}

impl Pipeline {
    /// A pipeline on `model`.
    ///
    /// # Errors
    /// As [`Detector::new`] and [`Embedder::new`]; `MemoryLimit` by [`Model::load_within`].
    pub fn new(model: &Arc<Model>, options: &Options) -> Result<Pipeline> {
        Self::on(model, options, Arc::new(Pool::new(options.threads)?))
    }

    /// As [`Pipeline::new`], on the threads of `pool`, whatever `options.threads` says. Pipelines that share a pool take turns
    /// layer by layer: for several cameras on few CPUs. Results are the same.
    ///
    /// # Errors
    /// As [`Pipeline::new`].
    pub fn on(model: &Arc<Model>, options: &Options, pool: Arc<Pool>) -> Result<Pipeline> {
        let reserved = match &model.reserved {
            Some((budget, _)) => {
                Some(budget.reserve(estimate_memory(&model.pack, options)?.pipeline)?)
            }
            None => None,
        };
        Ok(Pipeline {
            _reserved: reserved,
            detector: Detector::on(
                &model.pack,
                options.long_side,
                options.score_threshold,
                pool.clone(),
            )?,
            embedder: Embedder::on(&model.recogniser, pool)?,
            limits: options.quality,
            model: model.id(),
            dim: model.recogniser.manifest().output_dim,
            crop: Crop::new(),
            found: Detections::new(),
            face: None,
        })
    }

    /// All faces of `frame`, best score first. No face is an empty slice.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    pub fn detect(&mut self, frame: &Frame<'_>) -> Result<&[Detection]> {
        self.detector.detect(frame, &mut self.found)?;
        Ok(&self.found)
    }

    /// Aligns, judges and embeds one face of `frame`. `None` if its points do not form a face. The result is the
    /// pipeline's own and is overwritten by the next call; clone what must last.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn describe(&mut self, frame: &Frame<'_>, detection: &Detection) -> Result<Option<&Face>> {
        let Some(alignment) = align(frame, &detection.points, &mut self.crop) else {
            return Ok(None);
        };
        let quality = assess(
            frame,
            &detection.points,
            detection.score,
            alignment.to_crop(),
            &self.crop,
            &self.limits,
        );
        let mut face = match self.face.take() {
            Some(face) => face,
            None => {
                let placeholder = vec![1.0; self.dim];
                Face {
                    detection: *detection,
                    quality,
                    template: Template::from_embedding(&placeholder, self.model)?,
                }
            }
        };
        face.detection = *detection;
        face.quality = quality;
        self.embedder.embed_into(&self.crop, &alignment.normalised(), &mut face.template)?;
        Ok(Some(self.face.insert(face)))
    }

    /// The aligned crop of the last [`Pipeline::describe`].
    #[must_use]
    pub fn crop(&self) -> &Crop {
        &self.crop
    }

    /// Embeds a picture that is aligned already: `frame` must be 112x112. Without `points` (its pixels) those of the
    /// alignment template are used.
    ///
    /// # Errors
    /// `InvalidArgument` for another size; otherwise as [`Embedder::embed`].
    pub fn embed_aligned(
        &mut self,
        frame: &Frame<'_>,
        points: Option<&Points5>,
    ) -> Result<Template> {
        self.crop.copy_aligned(frame)?;
        let points =
            points.map_or_else(|| Alignment::template().normalised(), |p| p.map(normalised));
        self.embedder.embed(&self.crop, &points)
    }
}
