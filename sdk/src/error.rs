//! The one error type of the SDK: small, `Copy`, and free of biometric data.

use std::fmt;

/// What went wrong, one kind per thing a caller can do about it.
///
/// The numeric values are part of the C ABI: they are never renumbered or reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum ErrorKind {
    /// An argument is outside its documented range: a defect in the calling program.
    InvalidArgument = 1,
    /// A frame's size, stride or plane length do not fit its pixel format.
    InvalidFrame = 2,
    /// Not a model pack, or its bytes are damaged: fetch the file again.
    DamagedPack = 3,
    /// A sound pack that this SDK cannot run: another format version or architecture.
    UnsupportedPack = 4,
    /// The pack's signature is missing or does not verify under the given key.
    BadSignature = 5,
    /// Templates or vectors of different models met: enrol again or migrate.
    ModelMismatch = 6,
    /// A fixed capacity is exhausted.
    CapacityExceeded = 7,
    /// The gallery's bytes are damaged or were tampered with.
    DamagedGallery = 8,
    /// Another process writes this gallery.
    Locked = 9,
    /// The key does not open this gallery.
    WrongKey = 10,
    /// The gallery is older than the host's counter says it should be.
    RolledBack = 11,
    /// The calibration data do not reach the requested error rate.
    UnsupportedRate = 12,
    /// The operating system refused a file operation.
    Io = 13,
    /// `KEYFACE_CPU` names an unknown level or one that this CPU lacks.
    UnsupportedCpu = 14,
    /// The model would need more memory than the caller allows.
    MemoryLimit = 15,
    /// The person is already enrolled, or too alike to another person.
    Duplicate = 16,
    /// No such person or record.
    NotFound = 17,
    /// An earlier failure left the object unusable: close it and open it again.
    Poisoned = 18,
    /// A defect in the SDK.
    Internal = 19,
}

impl ErrorKind {
    /// Every kind, in numeric order.
    pub const ALL: [ErrorKind; 19] = [
        ErrorKind::InvalidArgument,
        ErrorKind::InvalidFrame,
        ErrorKind::DamagedPack,
        ErrorKind::UnsupportedPack,
        ErrorKind::BadSignature,
        ErrorKind::ModelMismatch,
        ErrorKind::CapacityExceeded,
        ErrorKind::DamagedGallery,
        ErrorKind::Locked,
        ErrorKind::WrongKey,
        ErrorKind::RolledBack,
        ErrorKind::UnsupportedRate,
        ErrorKind::Io,
        ErrorKind::UnsupportedCpu,
        ErrorKind::MemoryLimit,
        ErrorKind::Duplicate,
        ErrorKind::NotFound,
        ErrorKind::Poisoned,
        ErrorKind::Internal,
    ];

    /// The number of this kind, stable for ever.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    fn title(self) -> &'static str {
        match self {
            ErrorKind::InvalidArgument => "invalid argument",
            ErrorKind::InvalidFrame => "invalid frame",
            ErrorKind::DamagedPack => "damaged pack",
            ErrorKind::UnsupportedPack => "unsupported pack",
            ErrorKind::BadSignature => "bad signature",
            ErrorKind::ModelMismatch => "model mismatch",
            ErrorKind::CapacityExceeded => "capacity exceeded",
            ErrorKind::DamagedGallery => "damaged gallery",
            ErrorKind::Locked => "gallery locked",
            ErrorKind::WrongKey => "wrong key",
            ErrorKind::RolledBack => "gallery rolled back",
            ErrorKind::UnsupportedRate => "unsupported rate",
            ErrorKind::Io => "input/output error",
            ErrorKind::UnsupportedCpu => "unsupported CPU level",
            ErrorKind::MemoryLimit => "memory limit",
            ErrorKind::Duplicate => "duplicate",
            ErrorKind::NotFound => "not found",
            ErrorKind::Poisoned => "poisoned",
            ErrorKind::Internal => "internal error",
        }
    }
}

/// A kind and a fixed English sentence that names the cause.
///
/// It never carries input data, so it may be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    detail: &'static str,
    io: Option<std::io::ErrorKind>,
}

/// Shorthand for a result of the SDK.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind`; `detail` says what was wrong, in words that fit after a colon.
    #[must_use]
    pub const fn new(kind: ErrorKind, detail: &'static str) -> Self {
        Error { kind, detail, io: None }
    }

    /// An operating-system error while doing what `detail` says.
    #[must_use]
    pub fn io(detail: &'static str, cause: &std::io::Error) -> Self {
        Error { kind: ErrorKind::Io, detail, io: Some(cause.kind()) }
    }

    /// What the caller can act on.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The cause in words.
    #[must_use]
    pub const fn detail(&self) -> &'static str {
        self.detail
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.title(), self.detail)?;
        match self.io {
            Some(kind) => write!(f, " ({kind})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_dense_and_in_order() {
        for (i, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(kind.code(), i as i32 + 1);
        }
    }

    #[test]
    fn text_names_kind_and_cause() {
        let e = Error::new(ErrorKind::DamagedPack, "sections overlap");
        assert_eq!(e.to_string(), "damaged pack: sections overlap");
    }
}
