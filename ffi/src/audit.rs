//! The audit log: what a door did, in lines that say nothing about faces.

use crate::call::{borrow, call, give, invalid, release, text, Out};
use crate::decider::{decision, kf_decision};
use crate::handle::Handle;
use crate::status::kf_status;
use keyface::decide::audit::{Audit, Event};
use keyface::gallery::PersonId;
use std::ffi::{c_char, c_void};
use std::io::{self, Write};
use std::path::Path;

/// An audit log: one JSON object a line, with a running number, the host's time, the event, the person's number and reasons.
/// No score, no name, no picture. A door that cannot write its log should stay shut: write an ALLOW, then open.
pub struct kf_audit(Handle<Audit<Box<dyn Write>>>);

/// Takes one line, `length` bytes of UTF-8 that end with a newline, valid during the call only. 1 if it is kept safely, 0 if
/// not. It must not use the same log, throw or longjmp.
pub type kf_audit_callback =
    Option<unsafe extern "C" fn(line: *const c_char, length: usize, userdata: *mut c_void) -> u32>;

/// Events beside decisions.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_event {
    /// Somebody was enrolled.
    Enrolled = 1,
    /// Somebody was removed.
    Removed = 2,
    /// All were removed.
    Wiped = 3,
    /// An operator ended the lock-outs.
    Unlocked = 4,
}

/// The caller's function as a place to write to.
struct Lines {
    callback: unsafe extern "C" fn(*const c_char, usize, *mut c_void) -> u32,
    userdata: *mut c_void,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // SAFETY: the callback is the caller's, and the line lives during the call.
        match unsafe { (self.callback)(line.as_ptr().cast(), line.len(), self.userdata) } {
            1 => Ok(line.len()),
            _ => Err(io::Error::other("the audit callback failed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log_on(out: Box<dyn Write>, first: u64) -> *mut kf_audit {
    give(kf_audit(Handle::new("audit", Audit::new(out, first))))
}

/// Opens the log file at `path` to append to, and makes it if there is none; lines are numbered on from its last one.
///
/// - Ownership: the caller frees `*audit` by kf_audit_free.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates.
/// - Blocks: reads the end of the file.
/// - Status: KF_STATUS_IO.
#[no_mangle]
pub unsafe extern "C" fn kf_audit_open(
    path: *const c_char,
    path_length: usize,
    audit: *mut *mut kf_audit,
) -> kf_status {
    call("kf_audit_open", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(audit) }?;
        // SAFETY: as the header asks.
        let path = unsafe { text(path, path_length) }?;
        let (file, first) = keyface::decide::audit::open(Path::new(path))?;
        out.write(log_on(Box::new(file), first));
        Ok(())
    })
}

/// Makes a log whose lines go to `callback`, numbered from `first`: for a server, a journal, a signed file.
///
/// - Ownership: the caller frees `*audit` by kf_audit_free; `userdata` goes to `callback` and must live as long as the log.
/// - NULL: `userdata` may be NULL.
/// - Threads: any; `callback` runs on the thread that writes.
/// - Memory: allocates.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_audit_new(
    callback: kf_audit_callback,
    userdata: *mut c_void,
    first: u64,
    audit: *mut *mut kf_audit,
) -> kf_status {
    call("kf_audit_new", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(audit) }?;
        let callback = callback.ok_or(invalid("a callback is NULL"))?;
        out.write(log_on(Box::new(Lines { callback, userdata }), first));
        Ok(())
    })
}

/// Closes and frees a log.
///
/// - Ownership: takes `audit`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: no.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_audit_free(audit: *mut kf_audit) {
    // SAFETY: as the header asks.
    unsafe { release("kf_audit_free", audit) }
}

/// # Safety
/// The pointers are as the header asks of `kf_audit_write_event`.
unsafe fn write_event(
    audit: *mut kf_audit,
    at_ms: u64,
    event: Event,
    written: Out<u32>,
) -> keyface::Result<()> {
    // SAFETY: the caller's promise.
    let mut audit = unsafe { borrow(audit.cast_const()) }?.0.exclusive()?;
    written.write(u32::from(audit.write(at_ms, event)?));
    Ok(())
}

/// Writes a decision. `written` becomes 1, or 0 for one that needs no line: WAIT, and a DENY that is the event before again,
/// so that an empty corridor fills no disk. `at_ms` is the host's clock, milliseconds since 1970.
///
/// - Ownership: all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: the log needs to be yours alone.
/// - Memory: allocates the line, frees it.
/// - Blocks: writes to the file, without a sync, or runs the callback.
/// - Status: KF_STATUS_IO: keep the door shut if your rules ask for a record.
#[no_mangle]
pub unsafe extern "C" fn kf_audit_write_decision(
    audit: *mut kf_audit,
    at_ms: u64,
    decided: *const kf_decision,
    written: *mut u32,
) -> kf_status {
    call("kf_audit_write_decision", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(written) }?;
        // SAFETY: as the header asks.
        let event = Event::Decided(decision(unsafe { borrow(decided) }?)?);
        // SAFETY: as the header asks.
        unsafe { write_event(audit, at_ms, event, out) }
    })
}

/// Writes an `event`, a kf_event; `person` is who was enrolled or removed, otherwise 0. `written` becomes 1.
///
/// - Ownership: all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: the log needs to be yours alone.
/// - Memory: allocates the line, frees it.
/// - Blocks: as kf_audit_write_decision.
/// - Status: KF_STATUS_IO.
#[no_mangle]
pub unsafe extern "C" fn kf_audit_write_event(
    audit: *mut kf_audit,
    at_ms: u64,
    event: u32,
    person: u64,
    written: *mut u32,
) -> kf_status {
    call("kf_audit_write_event", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(written) }?;
        let event = match (event, PersonId(person)) {
            (1, person) if person.0 != 0 => Event::Enrolled(person),
            (2, person) if person.0 != 0 => Event::Removed(person),
            (3, PersonId(0)) => Event::Wiped,
            (4, PersonId(0)) => Event::Unlocked,
            _ => return Err(invalid("an unknown event, or one that does not fit the person")),
        };
        // SAFETY: as the header asks.
        unsafe { write_event(audit, at_ms, event, out) }
    })
}
