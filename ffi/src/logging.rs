//! The log, handed to the host. The only thing that is one per process: the SDK's log has no handle.

use crate::call::{call, invalid};
use crate::status::kf_status;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::fmt::Write;
use std::sync::{PoisonError, RwLock};

/// How grave a message is.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_log_level {
    /// Nothing.
    Off = 0,
    /// Something failed that should not have.
    Error = 1,
    /// A call was refused, or something odd was mended.
    Warn = 2,
    /// Milestones.
    Info = 3,
    /// For whoever looks for a fault.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

/// Receives one message: its kf_log_level, `length` bytes of UTF-8 (not NUL-terminated, valid during the call only), and
/// what was given to kf_set_log. It may be called from any thread that uses the library, from several at once, and from
/// threads of the library's own. It must not call kf_set_log, throw or longjmp. Messages never hold biometric data.
pub type kf_log_callback = Option<
    unsafe extern "C" fn(level: u32, message: *const c_char, length: usize, userdata: *mut c_void),
>;

#[derive(Clone, Copy)]
struct Sink {
    callback: unsafe extern "C" fn(u32, *const c_char, usize, *mut c_void),
    userdata: *mut c_void,
}

// SAFETY: the header asks for a callback and data that any thread may use.
unsafe impl Send for Sink {}
// SAFETY: as above.
unsafe impl Sync for Sink {}

static SINK: RwLock<Option<Sink>> = RwLock::new(None);

thread_local! {
    /// This thread is inside the callback.
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

struct Forward;

impl Log for Forward {
    /// Our own messages only: other crates' are not known to be free of data.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("keyface")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) || TELLING.get() {
            return;
        }
        let sink = SINK.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Sink { callback, userdata }) = *sink else { return };
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "{}", record.args());
        let level = match record.level() {
            Level::Error => kf_log_level::Error,
            Level::Warn => kf_log_level::Warn,
            Level::Info => kf_log_level::Info,
            Level::Debug => kf_log_level::Debug,
            Level::Trace => kf_log_level::Trace,
        };
        TELLING.set(true);
        // SAFETY: the callback is the caller's; kf_set_log, which replaces it, waits for the lock that is held here.
        unsafe { callback(level as u32, text.as_ptr().cast(), text.len(), userdata) };
        TELLING.set(false);
    }

    fn flush(&self) {}
}

/// Sends messages of `level` (a kf_log_level) and graver ones to `callback`, in place of the one before. Until the first
/// call the library is silent; it never prints.
///
/// - Ownership: `userdata` stays the caller's and is handed to `callback`; on return the callback before is not running
///   and will not be called again.
/// - NULL: `callback` NULL, or level KF_LOG_LEVEL_OFF, turns the log off; `userdata` may be NULL.
/// - Threads: any, but not from inside the callback. One log for the whole process.
/// - Memory: allocates nothing; each message that is sent allocates its text.
/// - Blocks: until callbacks that run on other threads return.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_set_log(
    level: u32,
    callback: kf_log_callback,
    userdata: *mut c_void,
) -> kf_status {
    call("kf_set_log", || {
        let filters = [
            LevelFilter::Off,
            LevelFilter::Error,
            LevelFilter::Warn,
            LevelFilter::Info,
            LevelFilter::Debug,
            LevelFilter::Trace,
        ];
        let filter = *filters.get(level as usize).ok_or(invalid("an unknown log level"))?;
        if TELLING.get() {
            return Err(invalid("kf_set_log from inside the log's callback"));
        }
        let sink = callback
            .filter(|_| filter != LevelFilter::Off)
            .map(|callback| Sink { callback, userdata });
        let filter = if sink.is_some() { filter } else { LevelFilter::Off };
        *SINK.write().unwrap_or_else(PoisonError::into_inner) = sink;
        // Refused where this library is part of a Rust program that has a log of its own.
        let _ = log::set_logger(&Forward);
        log::set_max_level(filter);
        Ok(())
    })
}
