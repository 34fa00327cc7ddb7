//! Model packs: one file that holds everything a pipeline needs, verified before use.
//!
//! # Format, version 1
//!
//! All integers are little-endian. The file is a header, a section table, the sections in the order of the
//! table, and an optional signature block. Sections start on 64-byte boundaries and tile the file: each begins
//! at the first boundary at or after the end of the one before, gaps are zero, and the last one ends the file.
//!
//! | header bytes | content |
//! |---|---|
//! | 0..8 | magic `KFPACK\r\n` |
//! | 8..12 | format version, 1 |
//! | 12..16 | number of sections |
//! | 16..24 | file length |
//! | 24..28 | flags: bit 0 = a signature block follows the last section |
//! | 28..32 | zero |
//! | 32..64 | SHA-256 of bytes 0..32, then of everything from byte 64 up to the signature block |
//!
//! | table entry bytes (128 each) | content |
//! |---|---|
//! | 0..64 | name, printable ASCII, zero padded |
//! | 64..68 | kind: 1 manifest, 2 tensor, 3 ONNX graph, 4 calibration |
//! | 68..72 | flags: bit 0 = a reader that does not know the kind may ignore the section |
//! | 72..88 | offset and length in bytes |
//! | 88..92 | element type: 0 none, 1 f32, 2 i8 row-major, 3 i8 in kernel panels (layout 1), 4 u8 |
//! | 92..96 | rank, 0 to 4 |
//! | 96..112 | dimensions, unused ones zero |
//! | 112..128 | zero |
//!
//! The signature block is 128 bytes: ed25519 public key (32), signature of header bytes 0..64 (64), zeros (32).
//! A pack opened with a key is checked against it before the table is read.

mod landmark;
mod manifest;
mod map;
mod parse;
mod writer;

pub(crate) use landmark::{links, Links, CELL_VALUES};
pub use landmark::{ConvLayer, LandmarkManifest, LandmarkNetwork};
pub use manifest::{
    InputConvention, KeypointForm, Manifest, Precision, RecogniserManifest, Rpe, Stem,
};
pub use parse::{DType, Section, SectionKind};
pub use writer::PackWriter;

use crate::error::{Error, ErrorKind, Result};
use map::Bytes;
use std::path::Path;
use std::sync::Arc;

/// The largest number of sections a pack may have.
pub const MAX_SECTIONS: usize = 4096;

/// A verified model pack. Immutable; share it between threads in an [`Arc`].
pub struct Pack {
    bytes: Bytes,
    sections: Vec<Section>,
    manifest: Manifest,
    digest: [u8; 32],
    signer: Option<[u8; 32]>,
}

/// Who must have signed a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Accept unsigned packs, and signed ones without judging who signed.
    Anyone,
    /// Accept only packs signed by this ed25519 public key.
    Key([u8; 32]),
}

impl Pack {
    /// Maps the file at `path` and verifies digest, signature and structure.
    ///
    /// The file must not be changed or truncated while the pack is open: replace packs by renaming a new file
    /// over the old one.
    ///
    /// # Errors
    /// `Io`, `DamagedPack`, `UnsupportedPack` or `BadSignature`.
    pub fn open(path: &Path, trust: Trust) -> Result<Arc<Pack>> {
        Self::verify(Bytes::map(path)?, trust)
    }

    /// A pack held in memory; copies `bytes` once.
    ///
    /// # Errors
    /// As [`Pack::open`].
    pub fn from_bytes(bytes: &[u8], trust: Trust) -> Result<Arc<Pack>> {
        Self::verify(Bytes::copy(bytes), trust)
    }

    fn verify(bytes: Bytes, trust: Trust) -> Result<Arc<Pack>> {
        let header = parse::header(bytes.as_slice())?;
        let signer = parse::check_digest_and_signature(bytes.as_slice(), &header, trust)?;
        let sections = parse::sections(bytes.as_slice(), &header)?;
        let manifest = manifest_of(bytes.as_slice(), &sections)?;
        Ok(Arc::new(Pack { digest: header.digest, bytes, sections, manifest, signer }))
    }

    /// What the pack says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 over the whole content.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The public key that signed this pack, if it is signed.
    #[must_use]
    pub fn signer(&self) -> Option<&[u8; 32]> {
        self.signer.as_ref()
    }

    /// Size of the file in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.as_slice().len()
    }

    /// Never true: a verified pack has a header and a manifest.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// All sections in file order.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The section called `name`.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// The bytes of a section of this pack.
    ///
    /// # Panics
    /// If `section` comes from another, longer pack.
    #[must_use]
    pub fn bytes(&self, section: &Section) -> &[u8] {
        &self.bytes.as_slice()[section.range.clone()]
    }

    /// The bytes of a range obtained from [`Section::range`].
    pub(crate) fn range(&self, range: &std::ops::Range<usize>) -> &[u8] {
        &self.bytes.as_slice()[range.clone()]
    }

    /// The tensor called `name`, which must have element type `dtype`.
    ///
    /// # Errors
    /// `DamagedPack` if it is missing or of another type.
    pub fn tensor(&self, name: &str, dtype: DType) -> Result<&Section> {
        match self.section(name) {
            Some(s) if s.kind == SectionKind::Tensor && s.dtype == dtype => Ok(s),
            Some(_) => {
                log::error!("tensor {name} is not {dtype:?}");
                Err(Error::new(ErrorKind::DamagedPack, "a tensor has the wrong element type"))
            }
            None => {
                log::error!("tensor {name} is missing");
                Err(Error::new(ErrorKind::DamagedPack, "a tensor is missing"))
            }
        }
    }

    /// The values of an f32 tensor.
    ///
    /// # Errors
    /// `DamagedPack` if it is missing or of another type.
    pub fn f32(&self, name: &str) -> Result<&[f32]> {
        Ok(bytemuck::cast_slice(self.bytes(self.tensor(name, DType::F32)?)))
    }
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pack")
            .field("name", &self.manifest.name)
            .field("bytes", &self.len())
            .finish_non_exhaustive()
    }
}

fn manifest_of(bytes: &[u8], sections: &[Section]) -> Result<Manifest> {
    let mut found = sections.iter().filter(|s| s.kind == SectionKind::Manifest);
    let (Some(section), None) = (found.next(), found.next()) else {
        return Err(Error::new(ErrorKind::DamagedPack, "there must be exactly one manifest"));
    };
    Manifest::parse(&bytes[section.range.clone()])
}
