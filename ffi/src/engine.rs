//! Engines: the loaded networks of a pack.

use crate::call::{borrow, call, give, release, Out};
use crate::handle::Handle;
use crate::info::level;
use crate::pack::kf_pack;
use crate::status::kf_status;
use keyface::pipeline::Model;
use std::sync::Arc;

/// The loaded networks of one pack: immutable, shared by all pipelines.
pub struct kf_engine(pub(crate) Handle<Arc<Model>>);

/// What an engine is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kf_engine_info {
    /// What its templates carry.
    pub model_id: [u8; 32],
    /// Components of an embedding, 1..=512.
    pub dimension: u32,
    /// The kf_cpu_level in use.
    pub cpu_level: u32,
}

/// Loads the networks; weights stay in the mapped pack. `memory_limit`, in bytes, bounds the engine and all pipelines on
/// it together, by the figures of kf_pack_estimate_memory; 0 is no bound.
///
/// - Ownership: the caller frees `*engine` by kf_engine_free; `pack` may be freed before it.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates.
/// - Blocks: reads the weights once.
/// - Status: KF_STATUS_UNSUPPORTED_PACK, KF_STATUS_DAMAGED_PACK, KF_STATUS_UNSUPPORTED_CPU, KF_STATUS_MEMORY_LIMIT.
#[no_mangle]
pub unsafe extern "C" fn kf_engine_load(
    pack: *const kf_pack,
    memory_limit: u64,
    engine: *mut *mut kf_engine,
) -> kf_status {
    call("kf_engine_load", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(engine) }?;
        // SAFETY: as the header asks.
        let pack = unsafe { borrow(pack) }?.0.shared()?;
        let model = match memory_limit {
            0 => Model::load(pack.clone())?,
            limit => Model::load_within(pack.clone(), limit)?,
        };
        out.write(give(kf_engine(Handle::new("engine", model))));
        Ok(())
    })
}

/// Frees an engine. Pipelines and templates made from it go on.
///
/// - Ownership: takes `engine`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: no.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_engine_free(engine: *mut kf_engine) {
    // SAFETY: as the header asks.
    unsafe { release("kf_engine_free", engine) }
}

/// What the engine is.
///
/// - Ownership: `info` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_engine_get_info(
    engine: *const kf_engine,
    info: *mut kf_engine_info,
) -> kf_status {
    call("kf_engine_get_info", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(info) }?;
        // SAFETY: as the header asks.
        let engine = unsafe { borrow(engine) }?.0.shared()?;
        let recogniser = engine.recogniser();
        out.write(kf_engine_info {
            model_id: engine.id().0,
            dimension: recogniser.manifest().output_dim as u32,
            cpu_level: level(recogniser.cpu_level()) as u32,
        });
        Ok(())
    })
}

/// Runs the pack's golden vectors on this machine: `worst_cosine` becomes the lowest cosine between stored and computed
/// embeddings. Below 0.999 something is wrong with memory, CPU or pack: do not open doors.
///
/// - Ownership: `worst_cosine` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates a pipeline's worth, frees it.
/// - Blocks: computes some embeddings: up to seconds on a slow core.
/// - Status: KF_STATUS_DAMAGED_PACK if the vectors are missing or misshapen.
#[no_mangle]
pub unsafe extern "C" fn kf_engine_self_test(
    engine: *const kf_engine,
    worst_cosine: *mut f32,
) -> kf_status {
    call("kf_engine_self_test", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(worst_cosine) }?;
        // SAFETY: as the header asks.
        let engine = unsafe { borrow(engine) }?.0.shared()?;
        out.write(engine.recogniser().self_test()?);
        Ok(())
    })
}
