//! Crop and key points to a template.

use crate::engine::{Recogniser, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Pool;
use crate::sample::{Crop, CROP_SIDE};
use crate::template::{ModelId, Template};
use std::sync::Arc;
use zeroize::Zeroize;

/// The recogniser with its buffers. One thread at a time.
#[derive(Debug)]
pub struct Embedder {
    session: Session,
    model: ModelId,
    embedding: Vec<f32>,
}

impl Embedder {
    /// A session of `recogniser` on `threads` threads.
    ///
    /// # Errors
    /// `UnsupportedPack` if the recogniser does not take 112x112 crops; otherwise as [`Recogniser::session`].
    pub fn new(recogniser: &Recogniser, threads: usize) -> Result<Embedder> {
        Self::on(recogniser, Arc::new(Pool::new(threads)?))
    }

    /// As [`Embedder::new`], on threads that others may use too.
    ///
    /// # Errors
    /// As [`Embedder::new`].
    pub fn on(recogniser: &Recogniser, pool: Arc<Pool>) -> Result<Embedder> {
        let manifest = recogniser.manifest();
        if manifest.input_size != CROP_SIDE {
            return Err(Error::new(
                ErrorKind::UnsupportedPack,
                "the recogniser takes crops of another size",
            ));
        }
        let model = ModelId(manifest.model_digest());
        Ok(Embedder {
            session: recogniser.session_on(pool)?,
            model,
            embedding: vec![0.0; manifest.output_dim],
        })
    }

    /// Embeds an aligned crop with its key points in 0..1 of the crop (see [`crate::align::Alignment::normalised`]).
    /// Allocates one template; [`Embedder::embed_into`] does not.
    ///
    /// # Errors
    /// `InvalidArgument` for key points that are not finite; `Internal` if the engine fails.
    pub fn embed(&mut self, crop: &Crop, points: &[[f32; 2]; 5]) -> Result<Template> {
        self.session.run(crop.pixels(), points, &mut self.embedding)?;
        let template = Template::from_embedding(&self.embedding, self.model);
        self.embedding.as_mut_slice().zeroize();
        template
    }

    /// As [`Embedder::embed`], into an existing template of this model.
    ///
    /// # Errors
    /// As [`Embedder::embed`], and `ModelMismatch` if `template` is of another model.
    pub fn embed_into(
        &mut self,
        crop: &Crop,
        points: &[[f32; 2]; 5],
        template: &mut Template,
    ) -> Result<()> {
        if template.model() != self.model {
            return Err(Error::new(ErrorKind::ModelMismatch, "the template is of another model"));
        }
        self.session.run(crop.pixels(), points, &mut self.embedding)?;
        let assigned = template.assign(&self.embedding);
        self.embedding.as_mut_slice().zeroize();
        assigned
    }
}
