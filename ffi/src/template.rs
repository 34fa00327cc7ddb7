//! Templates: embeddings that know their model.

use crate::call::{borrow, call, give, invalid, release, slice, Buffer, Out};
use crate::engine::kf_engine;
use crate::handle::Handle;
use crate::status::kf_status;
use keyface::template::{ModelId, Template};
use keyface::{Error, ErrorKind, Result};

/// An embedding of one face, or of several shots fused, bound to its model. Biometric data: wiped when freed.
pub struct kf_template(pub(crate) Handle<Slot>);

/// A place for a template of one model; empty when new.
pub(crate) struct Slot {
    model: ModelId,
    dim: usize,
    value: Option<Template>,
}

impl Slot {
    pub(crate) fn get(&self) -> Result<&Template> {
        self.value.as_ref().ok_or(invalid("the template is empty"))
    }

    /// Takes a new value in place of the old, without allocating if there was one.
    pub(crate) fn set(&mut self, template: &Template) -> Result<()> {
        if template.model() != self.model || template.dim() != self.dim {
            return Err(Error::new(ErrorKind::ModelMismatch, "the template is of another engine"));
        }
        match &mut self.value {
            Some(value) => value.assign(template.as_slice()),
            None => {
                self.value = Some(template.clone());
                Ok(())
            }
        }
    }
}

/// Makes an empty template for embeddings of `engine`: kf_pipeline_describe and others fill it, as often as you like.
///
/// - Ownership: the caller frees `*result` by kf_template_free; `engine` may be freed before it.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_template_new(
    engine: *const kf_engine,
    result: *mut *mut kf_template,
) -> kf_status {
    call("kf_template_new", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(result) }?;
        // SAFETY: as the header asks.
        let engine = unsafe { borrow(engine) }?.0.shared()?;
        let dim = engine.recogniser().manifest().output_dim;
        let slot = Slot { model: engine.id(), dim, value: None };
        out.write(give(kf_template(Handle::new("template", slot))));
        Ok(())
    })
}

/// Wipes and frees a template.
///
/// - Ownership: takes `value`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: no.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_template_free(value: *mut kf_template) {
    // SAFETY: as the header asks.
    unsafe { release("kf_template_free", value) }
}

/// A copy of a template.
///
/// - Ownership: the caller frees `*result` by kf_template_free.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_template_copy(
    value: *const kf_template,
    result: *mut *mut kf_template,
) -> kf_status {
    call("kf_template_copy", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(result) }?;
        // SAFETY: as the header asks.
        let from = unsafe { borrow(value) }?.0.shared()?;
        let slot = Slot { model: from.model, dim: from.dim, value: from.value.clone() };
        out.write(give(kf_template(Handle::new("template", slot))));
        Ok(())
    })
}

/// Cosine of the angle between two templates, -1..=1.
///
/// - Ownership: all is the caller's; `a` and `b` may be the same.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: KF_STATUS_MODEL_MISMATCH.
#[no_mangle]
pub unsafe extern "C" fn kf_template_similarity(
    a: *const kf_template,
    b: *const kf_template,
    cosine: *mut f32,
) -> kf_status {
    call("kf_template_similarity", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(cosine) }?;
        // SAFETY: as the header asks.
        let (a, b) = unsafe { (borrow(a)?.0.shared()?, borrow(b)?.0.shared()?) };
        out.write(a.get()?.similarity(b.get()?)?);
        Ok(())
    })
}

/// Fuses 1 to 64 shots of one person: the weighted sum of the unit vectors, brought back to unit length. The natural
/// weight is kf_quality.landmark_score.
///
/// - Ownership: all is the caller's; `result`, from kf_template_new, is overwritten and may not be among the shots.
/// - NULL: nothing may be NULL.
/// - Threads: `result` needs to be yours alone.
/// - Memory: allocates the sum and frees it.
/// - Blocks: no.
/// - Status: KF_STATUS_MODEL_MISMATCH.
#[no_mangle]
pub unsafe extern "C" fn kf_template_fuse(
    shots: *const *const kf_template,
    weights: *const f32,
    shot_count: usize,
    result: *mut kf_template,
) -> kf_status {
    call("kf_template_fuse", || {
        // SAFETY: as the header asks.
        let mut to = unsafe { borrow(result) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let held = unsafe { shared(shots, shot_count) }?;
        // SAFETY: as the header asks.
        let weights = unsafe { slice(weights, shot_count) }?;
        let mut parts = Vec::with_capacity(held.len());
        for (shot, &weight) in held.iter().zip(weights) {
            parts.push((shot.get()?, weight));
        }
        let fused = Template::fuse(&parts)?;
        to.set(&fused)
    })
}

/// Holds an array of templates.
///
/// # Safety
/// `templates` is NULL or valid for `count` pointers, each NULL or to a live handle.
pub(crate) unsafe fn shared<'a>(
    templates: *const *const kf_template,
    count: usize,
) -> Result<Vec<crate::handle::Shared<'a, Slot>>> {
    if count > 64 {
        return Err(invalid("more than 64 templates at once"));
    }
    // SAFETY: the caller's promise.
    let pointers = unsafe { slice(templates, count) }?;
    // SAFETY: the caller's promise.
    pointers.iter().map(|&t| unsafe { borrow(t) }?.0.shared()).collect()
}

/// Takes an embedding that was made elsewhere with the same model, such as by a server: `count` finite numbers of any
/// length but zero.
///
/// - Ownership: all is the caller's; `result`, from kf_template_new, is overwritten.
/// - NULL: nothing may be NULL.
/// - Threads: `result` needs to be yours alone.
/// - Memory: may allocate.
/// - Blocks: no.
/// - Status: KF_STATUS_MODEL_MISMATCH if `count` is not the engine's dimension.
#[no_mangle]
pub unsafe extern "C" fn kf_template_import(
    values: *const f32,
    count: usize,
    result: *mut kf_template,
) -> kf_status {
    call("kf_template_import", || {
        // SAFETY: as the header asks.
        let mut to = unsafe { borrow(result) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let values = unsafe { slice(values, count) }?;
        let template = Template::from_embedding(values, to.model)?;
        to.set(&template)
    })
}

/// The components of a template; their squares sum to one. Biometric data: do not log them, wipe them after use.
///
/// - Ownership: `buffer` is the caller's.
/// - NULL: `buffer` may be NULL if `capacity` is 0.
/// - Threads: any number at once.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: KF_STATUS_CAPACITY_EXCEEDED.
#[no_mangle]
pub unsafe extern "C" fn kf_template_export(
    value: *const kf_template,
    buffer: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> kf_status {
    call("kf_template_export", || {
        // SAFETY: as the header asks.
        let out = unsafe { Buffer::new(buffer, capacity, count) }?;
        // SAFETY: as the header asks.
        let from = unsafe { borrow(value) }?.0.shared()?;
        out.write(from.get()?.as_slice())
    })
}
