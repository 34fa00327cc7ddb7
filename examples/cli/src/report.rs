//! Exit codes, failures with the file and the cause, and output that survives a closed pipe.

use keyface::error::{Error, ErrorKind};
use serde::Serialize;
use std::fmt::Display;
use std::io::Write;

/// What a command's exit code says. The numbers are documented in `--help` and README.md and do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for `compare` and `identify`: a match; for `detect`: a face was found.
    Done = 0,
    /// No match, no face found, or nobody of that name.
    NoMatch = 1,
    /// The command line is wrong (clap uses the same number).
    Usage = 2,
    /// An input file is missing, damaged, too large, or does not show one usable face.
    Input = 3,
    /// The model pack is missing, damaged, not trusted, or made for another version.
    Pack = 4,
    /// The gallery cannot be read or written, or does not take this entry.
    Gallery = 5,
    /// Output could not be written, or the SDK failed.
    Internal = 6,
}

/// The table for `--help`.
pub const EXIT_CODES: &str = "Exit codes:
  0  done; a match; a face was found
  1  no match; no face found; nobody of that name
  2  the command line is wrong
  3  an input file is missing, damaged, too large, or does not show one usable face
  4  the model pack is missing, damaged, not trusted, or made for another version
  5  the gallery cannot be read or written, or refuses the entry
  6  output could not be written, or an internal error";

/// Milliseconds since 1970; 0 on a machine whose clock is before that.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as u64)
}

/// Why a command stopped.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What was wrong with what, for people.
    pub message: String,
}

/// How a command ends.
pub type Outcome = Result<Exit, Failure>;

impl Failure {
    /// A failure with its message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// An SDK error about `subject`, a file name mostly.
    pub fn sdk(subject: impl Display, error: Error) -> Failure {
        let exit = match error.kind() {
            ErrorKind::InvalidFrame => Exit::Input,
            ErrorKind::DamagedPack | ErrorKind::UnsupportedPack | ErrorKind::BadSignature => {
                Exit::Pack
            }
            ErrorKind::ModelMismatch
            | ErrorKind::CapacityExceeded
            | ErrorKind::DamagedGallery
            | ErrorKind::Locked
            | ErrorKind::WrongKey
            | ErrorKind::RolledBack
            | ErrorKind::Duplicate
            | ErrorKind::Poisoned => Exit::Gallery,
            ErrorKind::NotFound => Exit::NoMatch,
            ErrorKind::InvalidArgument | ErrorKind::UnsupportedRate | ErrorKind::UnsupportedCpu => {
                Exit::Usage
            }
            _ => Exit::Internal,
        };
        if error.kind() == ErrorKind::UnsupportedCpu {
            return Failure::new(exit, format!("KEYFACE_CPU: {error}"));
        }
        Failure::new(exit, format!("{subject}: {error}"))
    }

    /// The same failure with another exit code.
    pub fn with_exit(self, exit: Exit) -> Failure {
        Failure { exit, ..self }
    }
}

impl From<keyface_boards::error::Error> for Failure {
    /// A picture, camera or profile that cannot be used.
    fn from(error: keyface_boards::error::Error) -> Failure {
        let exit = match error.kind() {
            ErrorKind::InvalidArgument => Exit::Usage,
            _ => Exit::Input,
        };
        Failure::new(exit, error.to_string())
    }
}

/// A number with its noun: `1 shot`, `2 shots`.
pub fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Where results go: text for people, or one JSON object a line.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Whether `--json` was given.
    pub json: bool,
}

impl Output {
    /// A line for people; nothing with `--json`.
    pub fn text(self, line: impl Display) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        write_line(line)
    }

    /// A JSON object on a line of its own; nothing without `--json`.
    pub fn object(self, value: &impl Serialize) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let line = serde_json::to_string(value)
            .map_err(|e| Failure::new(Exit::Internal, format!("cannot write JSON: {e}")))?;
        write_line(line)
    }
}

/// Writes to standard output. A reader that went away (`| head`) ends the program quietly, as other tools do.
fn write_line(line: impl Display) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
            std::process::exit(Exit::Done as i32)
        }
        Err(e) => Err(Failure::new(Exit::Internal, format!("standard output: {e}"))),
    }
}

/// Makes a new file that only its owner may read, durable on return. A failure leaves none.
pub fn write_private(path: &std::path::Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let cannot = |e| Failure::new(Exit::Internal, format!("{}: cannot write: {e}", path.display()));
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(cannot)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| {
        let _ = std::fs::remove_file(path);
        cannot(e)
    })
}

/// Writes a file next to its place and renames it, so that a failure leaves no half of it.
pub fn write_file(path: &std::path::Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = std::path::PathBuf::from(part);
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&part);
        Failure::new(Exit::Internal, format!("{}: cannot write: {e}", path.display()))
    })
}
