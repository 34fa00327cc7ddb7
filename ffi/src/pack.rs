//! Model packs.

use crate::call::{borrow, call, give, invalid, release, slice, text, Buffer, Out};
use crate::handle::Handle;
use crate::pipeline::{kf_pipeline_options, options_or_default};
use crate::status::kf_status;
use keyface::calibration::{Calibration, Policy};
use keyface::pack::{Pack, SectionKind, Trust};
use keyface::{Error, ErrorKind, Result};
use std::ffi::c_char;
use std::path::Path;
use std::sync::Arc;

/// A verified model pack: one file with networks, manifest, calibration and golden vectors.
pub struct kf_pack(pub(crate) Handle<Arc<Pack>>);

/// What a pack says of itself in figures.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kf_pack_info {
    /// SHA-256 over the whole content.
    pub digest: [u8; 32],
    /// What templates of the pack's recogniser carry; all zero without one.
    pub model_id: [u8; 32],
    /// The ed25519 public key that signed the pack; all zero if `is_signed` is 0.
    pub signer: [u8; 32],
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Impostor pairs behind the calibration table; 0 without one.
    pub impostor_pairs: u64,
    /// Whether the pack is signed.
    pub is_signed: u32,
    /// Whether it holds a recogniser.
    pub has_recogniser: u32,
    /// Whether it holds a landmark network.
    pub has_landmark: u32,
    /// Components of an embedding, 1..=512; 0 without a recogniser.
    pub dimension: u32,
    /// Golden vectors for the self-test.
    pub vectors: u32,
    /// Zero.
    pub reserved: u32,
}

/// Texts of a pack.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_pack_field {
    /// Name for people.
    Name = 0,
    /// Licence of the weights and what they may be used for.
    Licence = 1,
    /// Where the training data came from.
    Provenance = 2,
    /// Lowest version of the library that runs it.
    MinSdk = 3,
}

/// What an installer asks for: a rate, never a cosine.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_policy {
    /// Verification: at most this share of comparisons with another person's template may match.
    TargetFmr = 0,
    /// Identification: at most this share of strangers' searches may return somebody, whatever the gallery's size.
    TargetFpir = 1,
}

/// Memory that a pack needs, in bytes: upper estimates of the heap. The pack's file is mapped and not counted.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kf_memory_estimate {
    /// Of an engine.
    pub engine: u64,
    /// Of each pipeline, at its highest.
    pub pipeline: u64,
}

/// # Safety
/// `key` is NULL or 32 readable bytes.
unsafe fn trust(key: *const u8) -> Result<Trust> {
    if key.is_null() {
        return Ok(Trust::Anyone);
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { slice(key, 32) }?;
    Ok(Trust::Key(bytes.try_into().map_err(|_| invalid("a public key has 32 bytes"))?))
}

/// Maps the file at `path` and verifies digest, signature and structure. The file must not be changed while any handle
/// made from it lives: replace packs by renaming a new file over the old one.
///
/// - Ownership: the caller frees `*pack` by kf_pack_free; `path` and `key` are read during the call.
/// - NULL: `key`, 32 bytes of an ed25519 public key that must have signed the pack, may be NULL for "anyone, or nobody".
/// - Threads: any.
/// - Memory: allocates the handle and a table of sections; the file is mapped.
/// - Blocks: reads the whole file once.
/// - Status: KF_STATUS_IO, KF_STATUS_DAMAGED_PACK, KF_STATUS_UNSUPPORTED_PACK, KF_STATUS_BAD_SIGNATURE.
#[no_mangle]
pub unsafe extern "C" fn kf_pack_open(
    path: *const c_char,
    path_length: usize,
    key: *const u8,
    pack: *mut *mut kf_pack,
) -> kf_status {
    call("kf_pack_open", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(pack) }?;
        // SAFETY: as the header asks.
        let (path, trust) = unsafe { (text(path, path_length)?, trust(key)?) };
        let opened = Pack::open(Path::new(path), trust)?;
        out.write(give(kf_pack(Handle::new("pack", opened))));
        Ok(())
    })
}

/// As kf_pack_open, from memory: the bytes are copied.
///
/// - Ownership: the caller frees `*pack` by kf_pack_free; `bytes` and `key` are read during the call.
/// - NULL: `key` may be NULL, see kf_pack_open.
/// - Threads: any.
/// - Memory: allocates the handle, a table of sections and a copy of the bytes.
/// - Blocks: no.
/// - Status: KF_STATUS_DAMAGED_PACK, KF_STATUS_UNSUPPORTED_PACK, KF_STATUS_BAD_SIGNATURE.
#[no_mangle]
pub unsafe extern "C" fn kf_pack_from_memory(
    bytes: *const u8,
    length: usize,
    key: *const u8,
    pack: *mut *mut kf_pack,
) -> kf_status {
    call("kf_pack_from_memory", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(pack) }?;
        // SAFETY: as the header asks.
        let (bytes, trust) = unsafe { (slice(bytes, length)?, trust(key)?) };
        let opened = Pack::from_bytes(bytes, trust)?;
        out.write(give(kf_pack(Handle::new("pack", opened))));
        Ok(())
    })
}

/// Frees a pack. Engines made from it go on.
///
/// - Ownership: takes `pack`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: no.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_pack_free(pack: *mut kf_pack) {
    // SAFETY: as the header asks.
    unsafe { release("kf_pack_free", pack) }
}

fn calibration(pack: &Pack) -> Result<Option<Calibration>> {
    let section = pack.section("calibration").filter(|s| s.kind == SectionKind::Calibration);
    section.map(|s| Calibration::parse(pack.bytes(s))).transpose()
}

/// What the pack says of itself in figures.
///
/// - Ownership: `info` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: may allocate to read the calibration table; nothing stays allocated.
/// - Blocks: no.
/// - Status: KF_STATUS_DAMAGED_PACK if the calibration table is damaged.
#[no_mangle]
pub unsafe extern "C" fn kf_pack_get_info(
    pack: *const kf_pack,
    info: *mut kf_pack_info,
) -> kf_status {
    call("kf_pack_get_info", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(info) }?;
        // SAFETY: as the header asks.
        let pack = unsafe { borrow(pack) }?.0.shared()?;
        let manifest = pack.manifest();
        let recogniser = manifest.recogniser.as_ref();
        out.write(kf_pack_info {
            digest: *pack.digest(),
            model_id: recogniser.map_or([0; 32], keyface::pack::RecogniserManifest::model_digest),
            signer: pack.signer().copied().unwrap_or([0; 32]),
            bytes: pack.len() as u64,
            impostor_pairs: calibration(&pack)?.map_or(0, |c| c.impostor_pairs()),
            is_signed: u32::from(pack.signer().is_some()),
            has_recogniser: u32::from(recogniser.is_some()),
            has_landmark: u32::from(manifest.landmark.is_some()),
            dimension: recogniser.map_or(0, |r| r.output_dim as u32),
            vectors: manifest.vectors as u32,
            reserved: 0,
        });
        Ok(())
    })
}

/// A text of the pack; `field` is a kf_pack_field. `count` becomes its length in bytes; no NUL is written.
///
/// - Ownership: `buffer` is the caller's.
/// - NULL: `buffer` may be NULL if `capacity` is 0.
/// - Threads: any number at once.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: KF_STATUS_CAPACITY_EXCEEDED.
#[no_mangle]
pub unsafe extern "C" fn kf_pack_get_text(
    pack: *const kf_pack,
    field: u32,
    buffer: *mut c_char,
    capacity: usize,
    count: *mut usize,
) -> kf_status {
    call("kf_pack_get_text", || {
        // SAFETY: as the header asks.
        let out = unsafe { Buffer::new(buffer.cast::<u8>(), capacity, count) }?;
        // SAFETY: as the header asks.
        let pack = unsafe { borrow(pack) }?.0.shared()?;
        let manifest = pack.manifest();
        let text = match field {
            0 => &manifest.name,
            1 => &manifest.licence,
            2 => &manifest.provenance,
            3 => &manifest.min_sdk,
            _ => return Err(invalid("an unknown field of a pack")),
        };
        out.write(text.as_bytes())
    })
}

/// The score from which on a comparison counts as a match, for a policy (a kf_policy) and a rate (0 < rate < 1), in a
/// gallery of `templates` templates. Ask again when the gallery has grown.
///
/// - Ownership: `threshold` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates to read the calibration table; nothing stays allocated.
/// - Blocks: no.
/// - Status: KF_STATUS_UNSUPPORTED_RATE if the pack's data do not reach the rate, or it holds no calibration;
///   KF_STATUS_DAMAGED_PACK.
#[no_mangle]
pub unsafe extern "C" fn kf_pack_get_threshold(
    pack: *const kf_pack,
    policy: u32,
    rate: f64,
    templates: usize,
    threshold: *mut f32,
) -> kf_status {
    call("kf_pack_get_threshold", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(threshold) }?;
        // SAFETY: as the header asks.
        let pack = unsafe { borrow(pack) }?.0.shared()?;
        let policy = match policy {
            0 => Policy::TargetFmr(rate),
            1 => Policy::TargetFpir(rate),
            _ => return Err(invalid("an unknown policy")),
        };
        let table = calibration(&pack)?;
        let table =
            table.ok_or(Error::new(ErrorKind::UnsupportedRate, "the pack holds no calibration"))?;
        out.write(table.threshold(policy, templates)?);
        Ok(())
    })
}

/// How much memory an engine on this pack and each pipeline with these options need, before either is made.
///
/// - Ownership: all is the caller's.
/// - NULL: `options` may be NULL for the defaults.
/// - Threads: any number at once.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: KF_STATUS_UNSUPPORTED_PACK if the pack lacks a network.
#[no_mangle]
pub unsafe extern "C" fn kf_pack_estimate_memory(
    pack: *const kf_pack,
    options: *const kf_pipeline_options,
    estimate: *mut kf_memory_estimate,
) -> kf_status {
    call("kf_pack_estimate_memory", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(estimate) }?;
        // SAFETY: as the header asks.
        let pack = unsafe { borrow(pack) }?.0.shared()?;
        // SAFETY: as the header asks.
        let options = unsafe { options_or_default(options) }?;
        let estimate = keyface::pipeline::estimate_memory(&pack, &options)?;
        out.write(kf_memory_estimate { engine: estimate.model, pipeline: estimate.pipeline });
        Ok(())
    })
}
