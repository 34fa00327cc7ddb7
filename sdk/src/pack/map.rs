//! Where a pack's bytes live: a mapped file or an aligned copy.

use crate::error::{Error, ErrorKind, Result};
use std::fs::File;
use std::path::Path;

/// Bytes whose start is aligned to at least 8, so that f32 sections can be viewed in place.
pub(super) enum Bytes {
    Mapped(memmap2::Mmap),
    Owned { words: Vec<u64>, len: usize },
}

impl Bytes {
    pub(super) fn map(path: &Path) -> Result<Bytes> {
        let file = File::open(path).map_err(|e| Error::io("cannot open the pack", &e))?;
        let meta = file.metadata().map_err(|e| Error::io("cannot read the pack's size", &e))?;
        if !meta.is_file() || meta.len() == 0 {
            return Err(Error::new(ErrorKind::DamagedPack, "not a file with content"));
        }
        map_file(&file).map(Bytes::Mapped).map_err(|e| Error::io("cannot map the pack", &e))
    }

    pub(super) fn copy(bytes: &[u8]) -> Bytes {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Bytes::Owned { words, len: bytes.len() }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned { words, len } => &bytemuck::cast_slice(words)[..*len],
        }
    }
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the map is private and read-only. `Pack::open` documents that the file must not change while it
    // is open; packs are replaced by rename, which leaves a mapped file as it was.
    unsafe { memmap2::Mmap::map(file) }
}
