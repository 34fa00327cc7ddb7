//! Reasons in words: what the bits of the other modules are called.

use crate::call::{call, invalid, Buffer};
use crate::status::kf_status;
use keyface::{decide, quality, testcard, Result};
use std::ffi::c_char;

/// The names of the set bits, with commas between them.
fn words(bits: u32, all: &[(u32, &'static str)]) -> Result<String> {
    if bits & !all.iter().fold(0, |known, (bit, _)| known | bit) != 0 {
        return Err(invalid("a bit without a meaning"));
    }
    let set: Vec<&str> = all.iter().filter(|(b, _)| bits & b != 0).map(|(_, name)| *name).collect();
    Ok(set.join(", "))
}

/// The reasons of a decision (kf_decision.reasons) in English words, such as `no match, door locked`: what the `keyface`
/// programs print. `count` becomes the length in bytes; no NUL is written. Nothing for 0.
///
/// - Ownership: `buffer` is the caller's.
/// - NULL: `buffer` may be NULL if `capacity` is 0.
/// - Threads: any.
/// - Memory: allocates the text, frees it.
/// - Blocks: no.
/// - Status: KF_STATUS_CAPACITY_EXCEEDED; KF_STATUS_INVALID_ARGUMENT for a bit that has no meaning.
#[no_mangle]
pub unsafe extern "C" fn kf_decision_reasons_text(
    reasons: u32,
    buffer: *mut c_char,
    capacity: usize,
    count: *mut usize,
) -> kf_status {
    call("kf_decision_reasons_text", || {
        // SAFETY: as the header asks.
        let out = unsafe { Buffer::new(buffer.cast::<u8>(), capacity, count) }?;
        let all = decide::Reasons::ALL.map(|(reason, name)| (reason.bits(), name));
        out.write(words(reasons, &all)?.as_bytes())
    })
}

/// The reasons of a poor view (kf_quality.reasons) in English words. Otherwise as kf_decision_reasons_text.
///
/// - Ownership: `buffer` is the caller's.
/// - NULL: `buffer` may be NULL if `capacity` is 0.
/// - Threads: any.
/// - Memory: allocates the text, frees it.
/// - Blocks: no.
/// - Status: as kf_decision_reasons_text.
#[no_mangle]
pub unsafe extern "C" fn kf_quality_reasons_text(
    reasons: u32,
    buffer: *mut c_char,
    capacity: usize,
    count: *mut usize,
) -> kf_status {
    call("kf_quality_reasons_text", || {
        // SAFETY: as the header asks.
        let out = unsafe { Buffer::new(buffer.cast::<u8>(), capacity, count) }?;
        let all = quality::Reasons::ALL.map(|(reason, name)| (reason.bits(), name));
        out.write(words(reasons, &all)?.as_bytes())
    })
}

/// The faults of a camera path (kf_selftest_frame) in English words. Otherwise as kf_decision_reasons_text.
///
/// - Ownership: `buffer` is the caller's.
/// - NULL: `buffer` may be NULL if `capacity` is 0.
/// - Threads: any.
/// - Memory: allocates the text, frees it.
/// - Blocks: no.
/// - Status: as kf_decision_reasons_text.
#[no_mangle]
pub unsafe extern "C" fn kf_faults_text(
    faults: u32,
    buffer: *mut c_char,
    capacity: usize,
    count: *mut usize,
) -> kf_status {
    call("kf_faults_text", || {
        // SAFETY: as the header asks.
        let out = unsafe { Buffer::new(buffer.cast::<u8>(), capacity, count) }?;
        let all = testcard::Faults::ALL.map(|(fault, name)| (fault.bits(), name));
        out.write(words(faults, &all)?.as_bytes())
    })
}
