//! The bounded reader: header, digest, signature, section table.

use super::{Trust, MAX_SECTIONS};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{K_STEP, PANEL};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::ops::Range;

pub(super) const MAGIC: &[u8; 8] = b"KFPACK\r\n";
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER: usize = 64;
pub(super) const ENTRY: usize = 128;
pub(super) const SIGNATURE: usize = 128;
pub(super) const ALIGN: usize = 64;
pub(super) const FLAG_SIGNED: u32 = 1;
pub(super) const FLAG_MAY_IGNORE: u32 = 1;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// The JSON manifest.
    Manifest,
    /// One tensor, described by element type and dimensions.
    Tensor,
    /// An ONNX graph.
    Onnx,
    /// The JSON table from score to false-match rate.
    Calibration,
    /// Of a later version, marked as safe to ignore.
    Unknown(u32),
}

impl SectionKind {
    pub(super) fn code(self) -> u32 {
        match self {
            SectionKind::Manifest => 1,
            SectionKind::Tensor => 2,
            SectionKind::Onnx => 3,
            SectionKind::Calibration => 4,
            SectionKind::Unknown(code) => code,
        }
    }
}

/// Element type of a tensor section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    /// Not a tensor.
    None,
    /// IEEE single precision.
    F32,
    /// Signed bytes, row-major.
    I8,
    /// Signed bytes of a `[n, k]` matrix in the kernels' panel order.
    I8Panels,
    /// Unsigned bytes, row-major.
    U8,
}

impl DType {
    pub(super) fn code(self) -> u32 {
        match self {
            DType::None => 0,
            DType::F32 => 1,
            DType::I8 => 2,
            DType::I8Panels => 3,
            DType::U8 => 4,
        }
    }

    /// Bytes that a tensor of this type and these dimensions takes, if that is a sane number.
    pub(super) fn byte_len(self, dims: &[usize]) -> Option<usize> {
        let count = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        match (self, dims) {
            (DType::F32, _) => count.checked_mul(4),
            (DType::I8 | DType::U8, _) => Some(count),
            (DType::I8Panels, &[n, k]) => panels_len(n, k),
            (DType::I8Panels | DType::None, _) => None,
        }
    }
}

/// [`crate::kernel::packed_len`] of sizes that may be hostile.
fn panels_len(n: usize, k: usize) -> Option<usize> {
    n.checked_next_multiple_of(PANEL)?.checked_mul(k.checked_next_multiple_of(K_STEP)?)
}

/// One entry of the section table, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Unique within the pack; printable ASCII.
    pub name: String,
    /// What it holds.
    pub kind: SectionKind,
    /// Element type, `None` unless a tensor.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub dims: Vec<usize>,
    pub(super) range: Range<usize>,
}

impl Section {
    /// Length in bytes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.range.len()
    }

    pub(crate) fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

pub(super) struct Header {
    count: usize,
    /// End of the last section; the signature block, if any, begins here.
    content_end: usize,
    signed: bool,
    pub(super) digest: [u8; 32],
}

fn damaged(detail: &'static str) -> Error {
    Error::new(ErrorKind::DamagedPack, detail)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn usize_at(bytes: &[u8], at: usize) -> Result<usize> {
    let value = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    usize::try_from(value).map_err(|_| damaged("a number does not fit this machine"))
}

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    if bytes.len() < HEADER || &bytes[..8] != MAGIC {
        return Err(damaged("not a Keyface pack"));
    }
    if u32_at(bytes, 8) != VERSION {
        return Err(Error::new(ErrorKind::UnsupportedPack, "the pack has another format version"));
    }
    let count = u32_at(bytes, 12) as usize;
    let flags = u32_at(bytes, 24);
    if usize_at(bytes, 16)? != bytes.len() {
        return Err(damaged("the file is shorter or longer than its header says"));
    }
    if flags & !FLAG_SIGNED != 0 || u32_at(bytes, 28) != 0 {
        return Err(Error::new(ErrorKind::UnsupportedPack, "the header sets unknown flags"));
    }
    let signed = flags & FLAG_SIGNED != 0;
    let content_end = bytes.len().checked_sub(if signed { SIGNATURE } else { 0 });
    let table_end = HEADER + count.min(MAX_SECTIONS + 1) * ENTRY;
    match content_end {
        Some(end) if count > 0 && count <= MAX_SECTIONS && table_end <= end => Ok(Header {
            count,
            content_end: end,
            signed,
            digest: bytes[32..64].try_into().expect("thirty-two bytes"),
        }),
        _ => Err(damaged("the section table does not fit the file")),
    }
}

pub(super) fn content_digest(bytes: &[u8], content_end: usize) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(&bytes[..32]);
    hash.update(&bytes[HEADER..content_end]);
    hash.finalize().into()
}

pub(super) fn check_digest_and_signature(
    bytes: &[u8],
    header: &Header,
    trust: Trust,
) -> Result<Option<[u8; 32]>> {
    let bad = |detail| Error::new(ErrorKind::BadSignature, detail);
    let signer = if header.signed {
        let block = &bytes[header.content_end..];
        let key: [u8; 32] = block[..32].try_into().expect("thirty-two bytes");
        let signature = ed25519_dalek::Signature::from_slice(&block[32..96])
            .map_err(|_| bad("malformed signature"))?;
        if block[96..].iter().any(|b| *b != 0) {
            return Err(bad("malformed signature block"));
        }
        ed25519_dalek::VerifyingKey::from_bytes(&key)
            .and_then(|k| k.verify_strict(&bytes[..HEADER], &signature))
            .map_err(|_| bad("the signature does not verify"))?;
        Some(key)
    } else {
        None
    };
    match trust {
        Trust::Key(want) if signer != Some(want) => Err(bad("not signed by the trusted key")),
        _ if content_digest(bytes, header.content_end) != header.digest => {
            Err(damaged("the content does not match its digest"))
        }
        _ => Ok(signer),
    }
}

pub(super) fn sections(bytes: &[u8], header: &Header) -> Result<Vec<Section>> {
    let mut sections = Vec::with_capacity(header.count);
    let mut names = HashSet::with_capacity(header.count);
    let mut end = HEADER + header.count * ENTRY;
    for entry in bytes[HEADER..end].chunks_exact(ENTRY) {
        let section = section(entry)?;
        let start = end.next_multiple_of(ALIGN);
        if section.range.start != start || section.range.end > header.content_end {
            return Err(damaged("sections overlap, leave a gap or pass the end"));
        }
        if bytes[end..start].iter().any(|b| *b != 0) {
            return Err(damaged("padding between sections is not zero"));
        }
        if !names.insert(section.name.clone()) {
            return Err(damaged("two sections have the same name"));
        }
        end = section.range.end;
        sections.push(section);
    }
    if end != header.content_end {
        return Err(damaged("bytes follow the last section"));
    }
    Ok(sections)
}

fn section(entry: &[u8]) -> Result<Section> {
    let name_len = entry[..64].iter().position(|b| *b == 0).unwrap_or(64);
    let name = &entry[..name_len];
    if name.is_empty()
        || !name.iter().all(u8::is_ascii_graphic)
        || entry[name_len..64].iter().any(|b| *b != 0)
    {
        return Err(damaged("a section has a malformed name"));
    }
    let name = std::str::from_utf8(name).expect("graphic ASCII is UTF-8").to_owned();
    let flags = u32_at(entry, 68);
    let kind = match u32_at(entry, 64) {
        1 => SectionKind::Manifest,
        2 => SectionKind::Tensor,
        3 => SectionKind::Onnx,
        4 => SectionKind::Calibration,
        other if flags & FLAG_MAY_IGNORE != 0 => SectionKind::Unknown(other),
        _ => {
            return Err(Error::new(
                ErrorKind::UnsupportedPack,
                "a section of unknown kind may not be ignored",
            ))
        }
    };
    let dtype = match u32_at(entry, 88) {
        0 => DType::None,
        1 => DType::F32,
        2 => DType::I8,
        3 => DType::I8Panels,
        4 => DType::U8,
        _ => {
            return Err(Error::new(
                ErrorKind::UnsupportedPack,
                "a tensor has an unknown element type",
            ))
        }
    };
    let rank = u32_at(entry, 92) as usize;
    let dims: Vec<usize> = (0..4).map(|i| u32_at(entry, 96 + 4 * i) as usize).collect();
    if rank > 4 || dims[rank..].iter().any(|d| *d != 0) || entry[112..].iter().any(|b| *b != 0) {
        return Err(damaged("a section entry is malformed"));
    }
    let (offset, len) = (usize_at(entry, 72)?, usize_at(entry, 80)?);
    let end = offset.checked_add(len).ok_or(damaged("a section passes the end"))?;
    let dims = dims[..rank].to_vec();
    let sound = match kind {
        SectionKind::Tensor => dtype.byte_len(&dims) == Some(len),
        _ => dtype == DType::None && rank == 0,
    };
    if !sound {
        return Err(damaged("a section's length does not fit its dimensions"));
    }
    Ok(Section { name, kind, dtype, dims, range: offset..end })
}
