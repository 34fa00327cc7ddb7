//! The program behind a pipe and the thread that reads it: always the newest whole frame.

use super::format::Header;
use crate::sys;
use std::io::{self, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What [`Reader::take`] gave.
pub(super) enum Taken {
    /// The frame was exchanged for the caller's buffer.
    Frame {
        /// Of this stream.
        header: Header,
        /// When its last byte was read, by the monotonic clock in microseconds.
        stamp: u64,
        /// Older frames that nobody took.
        skipped: u64,
    },
    /// None in time.
    Nothing,
    /// The stream is over; the cause in words.
    Ended(String),
}

#[derive(Default)]
struct Slot {
    frame: Vec<u8>,
    /// Header and stamp, while `frame` holds a frame that nobody took.
    ready: Option<(Header, u64)>,
    skipped: u64,
    ended: Option<String>,
}

#[derive(Default)]
struct Shared {
    slot: Mutex<Slot>,
    news: Condvar,
}

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        // No code panics while it holds the lock; if one did, the slot would still be whole.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running program. Dropping it kills the program's process group; the thread ends with the pipe.
pub(super) struct Reader {
    child: Child,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("process", &self.child.id()).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn start(command: &str) -> io::Result<Reader> {
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let shared = Arc::new(Shared::default());
        let stdout = child.stdout.take();
        let reader = Reader { child, shared: Arc::clone(&shared) };
        let stdout = stdout.ok_or_else(|| io::Error::other("no pipe to the program"))?;
        std::thread::Builder::new().name("keyface-pipe".into()).spawn(move || {
            let cause = read(stdout, &shared);
            shared.slot().ended = Some(cause);
            shared.news.notify_all();
        })?;
        Ok(reader)
    }

    /// Exchanges `frame` for the newest one, waiting for at most `wait`.
    pub(super) fn take(&self, frame: &mut Vec<u8>, wait: Duration) -> Taken {
        let until = Instant::now() + wait;
        let mut slot = self.shared.slot();
        loop {
            if let Some((header, stamp)) = slot.ready.take() {
                std::mem::swap(frame, &mut slot.frame);
                return Taken::Frame { header, stamp, skipped: std::mem::take(&mut slot.skipped) };
            }
            if let Some(cause) = &slot.ended {
                return Taken::Ended(cause.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            let waited = self.shared.news.wait_timeout(slot, left);
            slot = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The child has not been waited for, so its number is its own even if it has ended.
        sys::kill_group(self.child.id());
        if let Err(e) = self.child.wait() {
            log::warn!("pipe: the program could not be waited for: {e}");
        }
    }
}

/// Reads frames until the stream ends; returns why it did.
fn read(stdout: ChildStdout, shared: &Shared) -> String {
    let mut stream = BufReader::with_capacity(1 << 16, stdout);
    let header = match Header::read(&mut stream) {
        Ok(header) => header,
        Err(cause) => return cause,
    };
    let mut frame = vec![0; header.frame_len()];
    loop {
        match header.read_frame(&mut stream, &mut frame) {
            Ok(true) => {}
            Ok(false) => return "the program ended its stream".into(),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                return "the program ended inside a frame".into()
            }
            Err(e) => return e.to_string(),
        }
        let mut slot = shared.slot();
        std::mem::swap(&mut slot.frame, &mut frame);
        if slot.ready.replace((header, sys::monotonic_us())).is_some() {
            slot.skipped += 1;
        }
        drop(slot);
        shared.news.notify_all();
        // The exchanged buffer is the caller's old one: empty at first, or of an earlier stream's size.
        frame.resize(header.frame_len(), 0);
    }
}
