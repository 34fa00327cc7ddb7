//! Status codes: those of the SDK, number by number.

use keyface::ErrorKind;

/// What a call came to. Numbers are fixed for ever; later versions may add some.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_status {
    /// Done.
    Ok = 0,
    /// An argument is NULL, misaligned, of the wrong size or out of its range, or the handle is in use elsewhere: a defect of
    /// the calling program.
    InvalidArgument = 1,
    /// A frame's size, stride or plane length do not fit its pixel format.
    InvalidFrame = 2,
    /// Not a model pack, or its bytes are damaged: fetch the file again.
    DamagedPack = 3,
    /// A sound pack that this version cannot run.
    UnsupportedPack = 4,
    /// The pack's signature is missing or does not verify under the given key.
    BadSignature = 5,
    /// Templates, engines or galleries of different models met: enrol again or migrate.
    ModelMismatch = 6,
    /// A fixed capacity is exhausted, or the caller's buffer is too small.
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
    /// The environment variable KEYFACE_CPU names an unknown level or one that this CPU lacks.
    UnsupportedCpu = 14,
    /// The model would need more memory than the caller allows.
    MemoryLimit = 15,
    /// The person is already enrolled, or too alike to another person.
    Duplicate = 16,
    /// No such person or record.
    NotFound = 17,
    /// An earlier failure left the handle unusable: free it and start anew.
    Poisoned = 18,
    /// A defect in the library.
    Internal = 19,
}

/// Every status with its text. The text ends with a NUL for C.
pub const ALL: [(kf_status, &str); 20] = [
    (kf_status::Ok, "ok\0"),
    (kf_status::InvalidArgument, "invalid argument\0"),
    (kf_status::InvalidFrame, "invalid frame\0"),
    (kf_status::DamagedPack, "damaged pack\0"),
    (kf_status::UnsupportedPack, "unsupported pack\0"),
    (kf_status::BadSignature, "bad signature\0"),
    (kf_status::ModelMismatch, "model mismatch\0"),
    (kf_status::CapacityExceeded, "capacity exceeded\0"),
    (kf_status::DamagedGallery, "damaged gallery\0"),
    (kf_status::Locked, "gallery locked\0"),
    (kf_status::WrongKey, "wrong key\0"),
    (kf_status::RolledBack, "gallery rolled back\0"),
    (kf_status::UnsupportedRate, "unsupported rate\0"),
    (kf_status::Io, "input/output error\0"),
    (kf_status::UnsupportedCpu, "unsupported CPU level\0"),
    (kf_status::MemoryLimit, "memory limit\0"),
    (kf_status::Duplicate, "duplicate\0"),
    (kf_status::NotFound, "not found\0"),
    (kf_status::Poisoned, "poisoned\0"),
    (kf_status::Internal, "internal error\0"),
];

/// The status of an error. A kind that this file does not know yet counts as a defect; the test below finds it.
pub(crate) fn of(kind: ErrorKind) -> kf_status {
    match kind {
        ErrorKind::InvalidArgument => kf_status::InvalidArgument,
        ErrorKind::InvalidFrame => kf_status::InvalidFrame,
        ErrorKind::DamagedPack => kf_status::DamagedPack,
        ErrorKind::UnsupportedPack => kf_status::UnsupportedPack,
        ErrorKind::BadSignature => kf_status::BadSignature,
        ErrorKind::ModelMismatch => kf_status::ModelMismatch,
        ErrorKind::CapacityExceeded => kf_status::CapacityExceeded,
        ErrorKind::DamagedGallery => kf_status::DamagedGallery,
        ErrorKind::Locked => kf_status::Locked,
        ErrorKind::WrongKey => kf_status::WrongKey,
        ErrorKind::RolledBack => kf_status::RolledBack,
        ErrorKind::UnsupportedRate => kf_status::UnsupportedRate,
        ErrorKind::Io => kf_status::Io,
        ErrorKind::UnsupportedCpu => kf_status::UnsupportedCpu,
        ErrorKind::MemoryLimit => kf_status::MemoryLimit,
        ErrorKind::Duplicate => kf_status::Duplicate,
        ErrorKind::NotFound => kf_status::NotFound,
        ErrorKind::Poisoned => kf_status::Poisoned,
        _ => kf_status::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyface::Error;

    /// Numbers that programs were compiled with. Lines are added at the end and never changed.
    const PUBLISHED: [i32; 20] =
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];

    #[test]
    fn every_error_kind_has_its_own_status_of_the_same_number() {
        assert_eq!(ALL.map(|(status, _)| status as i32), PUBLISHED);
        assert_eq!(ErrorKind::ALL.len() + 1, ALL.len());
        for (kind, (status, text)) in ErrorKind::ALL.into_iter().zip(&ALL[1..]) {
            assert_eq!((of(kind), kind.code()), (*status, *status as i32));
            let title = Error::new(kind, "x").to_string();
            assert_eq!(title.strip_suffix(": x"), text.strip_suffix('\0'));
        }
    }
}
