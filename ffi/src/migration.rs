//! A change of model: people are enrolled again as they pass.

use crate::call::{borrow, call, flag, give, invalid, release, Out};
use crate::gallery::kf_gallery;
use crate::handle::Handle;
use crate::status::kf_status;
use crate::template::kf_template;
use keyface::enrol::{Migration, Progress};
use keyface::gallery::PersonId;
use keyface::template::ModelId;
use keyface::{Error, Result};

/// A change to a new model. Both models run for a while, each with an engine and a pipeline of its own: whoever is let in
/// under the old one with a wide margin lends the same face, described by the new one, to a new template. Shots live in
/// memory only and are wiped when freed; what is stored survives restarts.
pub struct kf_migration(Handle<Option<Migration>>);

/// What an offered face led to.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_progress {
    /// The accept was not confident enough, or the person has the new template already.
    Ignored = 0,
    /// Kept; more are wanted.
    Wanted = 1,
    /// The shot does not agree with those before it: the person starts again.
    Disagreed = 2,
    /// The new template is stored.
    Enrolled = 3,
}

const OVER: Error = invalid("the migration was finished already");

/// # Safety
/// `id` is NULL or 32 readable bytes.
unsafe fn model(id: *const u8) -> Result<ModelId> {
    // SAFETY: the caller's promise.
    Ok(ModelId(*unsafe { borrow(id.cast::<[u8; 32]>()) }?))
}

/// Begins, or after a restart goes on with, a change to the model `new_model_id`, 32 bytes as kf_engine_info.model_id, under
/// which new people are enrolled from now on. `shots` (1 to 8) confident accepts enrol a person again. Confident: a score of
/// at least `confident` under the old model, well above its threshold. The shots must be alike by at least `agree`, the
/// threshold of the new model.
///
/// - Ownership: the caller frees `*migration` by kf_migration_free, and hands the same gallery to every call.
/// - NULL: nothing may be NULL.
/// - Threads: the gallery needs to be yours alone.
/// - Memory: allocates.
/// - Blocks: writes and syncs the gallery's file.
/// - Status: KF_STATUS_INVALID_ARGUMENT also while templates of two other models are stored; KF_STATUS_IO.
#[no_mangle]
pub unsafe extern "C" fn kf_migration_begin(
    gallery: *mut kf_gallery,
    new_model_id: *const u8,
    shots: u32,
    confident: f32,
    agree: f32,
    migration: *mut *mut kf_migration,
) -> kf_status {
    call("kf_migration_begin", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(migration) }?;
        // SAFETY: as the header asks.
        let mut gallery = unsafe { borrow(gallery.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let new = unsafe { model(new_model_id) }?;
        let begun = Migration::begin(gallery.writer()?, new, shots as usize, confident, agree)?;
        out.write(give(kf_migration(Handle::new("migration", Some(begun)))));
        Ok(())
    })
}

/// Frees a migration and wipes the shots under way. What is stored stays: kf_migration_begin goes on with it.
///
/// - Ownership: takes `migration`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: no.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_migration_free(migration: *mut kf_migration) {
    // SAFETY: as the header asks.
    unsafe { release("kf_migration_free", migration) }
}

/// Offers the face of a person who was just let in under the old model with `score` (kf_match.score): its embedding by the
/// new model's pipeline and its kf_quality.landmark_score. `progress` becomes a kf_progress, `wanted` the number of shots
/// that are still wanted of the person, 0 unless it is KF_PROGRESS_WANTED.
///
/// - Ownership: all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: migration and gallery need to be yours alone.
/// - Memory: allocates a template for a shot that is kept; of 256 people at most at a time.
/// - Blocks: with the last shot writes and syncs the gallery's file.
/// - Status: KF_STATUS_MODEL_MISMATCH if the embedding is not the new model's; otherwise as kf_gallery_enrol.
#[no_mangle]
pub unsafe extern "C" fn kf_migration_offer(
    migration: *mut kf_migration,
    gallery: *mut kf_gallery,
    person: u64,
    score: f32,
    embedding: *const kf_template,
    landmark_score: f32,
    at_ms: u64,
    progress: *mut u32,
    wanted: *mut u32,
) -> kf_status {
    call("kf_migration_offer", || {
        // SAFETY: as the header asks.
        let (out, wanted) = unsafe { (Out::new(progress)?, Out::new(wanted)?) };
        // SAFETY: as the header asks.
        let mut migration = unsafe { borrow(migration.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let mut gallery = unsafe { borrow(gallery.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let embedding = unsafe { borrow(embedding) }?.0.shared()?;
        let migration = migration.as_mut().ok_or(OVER)?;
        let (person, template) = (PersonId(person), embedding.get()?);
        let came =
            migration.offer(gallery.writer()?, person, score, template, landmark_score, at_ms)?;
        let (kind, more) = match came {
            Progress::Ignored => (kf_progress::Ignored, 0),
            Progress::Wanted(more) => (kf_progress::Wanted, more as u32),
            Progress::Disagreed => (kf_progress::Disagreed, 0),
            Progress::Enrolled => (kf_progress::Enrolled, 0),
        };
        out.write(kind as u32);
        wanted.write(more);
        Ok(())
    })
}

/// How many people have no template of the new model yet.
///
/// - Ownership: `people` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates a list of people, frees it.
/// - Blocks: no.
/// - Status: KF_STATUS_INVALID_ARGUMENT also for a reader of the gallery.
#[no_mangle]
pub unsafe extern "C" fn kf_migration_remaining(
    migration: *const kf_migration,
    gallery: *const kf_gallery,
    people: *mut usize,
) -> kf_status {
    call("kf_migration_remaining", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(people) }?;
        // SAFETY: as the header asks.
        let migration = unsafe { borrow(migration) }?.0.shared()?;
        // SAFETY: as the header asks.
        let gallery = unsafe { borrow(gallery) }?.0.shared()?;
        out.write(migration.as_ref().ok_or(OVER)?.remaining(gallery.store()?));
        Ok(())
    })
}

/// Ends the change: the templates of `old_model_id`, 32 bytes, go, and with `abandon` 1 whoever was not enrolled again with
/// them. Then the file is written anew without them. Whatever it comes to, the migration is over, and begun anew by
/// kf_migration_begin: ask kf_migration_remaining first.
///
/// - Ownership: all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: migration and gallery need to be yours alone.
/// - Memory: allocates.
/// - Blocks: writes and syncs a whole file.
/// - Status: KF_STATUS_INVALID_ARGUMENT also if people remain and `abandon` is 0, and for the model that people are enrolled
///   under; KF_STATUS_IO.
#[no_mangle]
pub unsafe extern "C" fn kf_migration_finish(
    migration: *mut kf_migration,
    gallery: *mut kf_gallery,
    old_model_id: *const u8,
    abandon: u32,
) -> kf_status {
    call("kf_migration_finish", || {
        // SAFETY: as the header asks.
        let mut migration = unsafe { borrow(migration.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let mut gallery = unsafe { borrow(gallery.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let old = unsafe { model(old_model_id) }?;
        let abandon = flag(abandon)?;
        let store = gallery.writer()?;
        migration.take().ok_or(OVER)?.finish(store, old, abandon)
    })
}
