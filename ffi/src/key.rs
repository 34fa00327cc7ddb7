//! The host's key for galleries.

use crate::call::{call, give, invalid, release, slice, text, Out};
use crate::handle::Handle;
use crate::status::kf_status;
use keyface::gallery::HostKey;
use std::ffi::c_char;
use std::path::Path;

/// The host's key: it opens a gallery. Wiped when freed.
pub struct kf_key(pub(crate) Handle<HostKey>);

/// Takes a key of 32 random bytes, from a secure element or a TPM. Wipe your copy.
///
/// - Ownership: the caller frees `*key` by kf_key_free; `bytes` is read during the call.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates.
/// - Blocks: no.
/// - Status: no other. `length` must be 32.
#[no_mangle]
pub unsafe extern "C" fn kf_key_from_bytes(
    bytes: *const u8,
    length: usize,
    key: *mut *mut kf_key,
) -> kf_status {
    call("kf_key_from_bytes", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(key) }?;
        // SAFETY: as the header asks.
        let bytes = unsafe { slice(bytes, length) }?;
        let bytes = bytes.try_into().map_err(|_| invalid("a key has 32 bytes"))?;
        out.write(give(kf_key(Handle::new("key", HostKey::new(bytes)))));
        Ok(())
    })
}

/// Reads a key file: 32 bytes that nobody but this process's user may read or write.
///
/// - Ownership: the caller frees `*key` by kf_key_free.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates.
/// - Blocks: reads a file.
/// - Status: KF_STATUS_IO; KF_STATUS_INVALID_ARGUMENT also for a file of the wrong size or mode.
#[no_mangle]
pub unsafe extern "C" fn kf_key_from_file(
    path: *const c_char,
    path_length: usize,
    key: *mut *mut kf_key,
) -> kf_status {
    call("kf_key_from_file", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(key) }?;
        // SAFETY: as the header asks.
        let path = unsafe { text(path, path_length) }?;
        out.write(give(kf_key(Handle::new("key", HostKey::from_file(Path::new(path))?))));
        Ok(())
    })
}

/// Makes a random key and a new key file of mode 0600 with it, durable on return. An old file is never overwritten.
///
/// - Ownership: the caller frees `*key` by kf_key_free.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates.
/// - Blocks: writes and syncs a file.
/// - Status: KF_STATUS_IO, also if the file exists.
#[no_mangle]
pub unsafe extern "C" fn kf_key_create_file(
    path: *const c_char,
    path_length: usize,
    key: *mut *mut kf_key,
) -> kf_status {
    call("kf_key_create_file", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(key) }?;
        // SAFETY: as the header asks.
        let path = unsafe { text(path, path_length) }?;
        out.write(give(kf_key(Handle::new("key", HostKey::create_file(Path::new(path))?))));
        Ok(())
    })
}

/// Wipes and frees a key. Galleries that it opened keep a copy of their own.
///
/// - Ownership: takes `key`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: no.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_key_free(key: *mut kf_key) {
    // SAFETY: as the header asks.
    unsafe { release("kf_key_free", key) }
}
