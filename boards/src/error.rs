//! Why a source, a profile or a picture could not be opened.

use keyface::error::ErrorKind;
use std::fmt;

/// A kind of the SDK and a sentence that names the file, device or key and the cause. Never pixels.
///
/// Only opening and reading configuration fail; what a running source meets is a [`State`](crate::source::State).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    text: String,
}

/// Shorthand for a result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind`.
    #[must_use]
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Error {
        Error { kind, text: text.into() }
    }

    /// A selection, setting or profile that cannot be meant.
    #[must_use]
    pub fn argument(text: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidArgument, text)
    }

    /// The operating system refused what was asked of `subject`.
    #[must_use]
    pub fn io(subject: impl fmt::Display, cause: &std::io::Error) -> Error {
        Error::new(ErrorKind::Io, format!("{subject}: {cause}"))
    }

    /// What the caller can act on: [`ErrorKind::InvalidArgument`], [`ErrorKind::InvalidFrame`] for a damaged or
    /// unsupported picture, [`ErrorKind::NotFound`] where there is no such camera or file, else [`ErrorKind::Io`].
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
