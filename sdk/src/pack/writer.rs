//! Writes packs. Used by the converter and by tests; devices only read.

use super::parse::{ALIGN, ENTRY, FLAG_MAY_IGNORE, FLAG_SIGNED, HEADER, MAGIC, SIGNATURE, VERSION};
use super::{DType, Manifest, SectionKind};
use crate::error::{Error, ErrorKind, Result};
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::io::{self, Write};

struct Item<'a> {
    name: String,
    kind: SectionKind,
    dtype: DType,
    dims: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

/// Collects sections and writes them as one pack. The same sections in the same order give the same bytes.
#[derive(Default)]
pub struct PackWriter<'a> {
    items: Vec<Item<'a>>,
}

impl<'a> PackWriter<'a> {
    /// A pack with `manifest` as its first section.
    ///
    /// # Errors
    /// `Internal` if the manifest cannot be written as JSON.
    pub fn new(manifest: &Manifest) -> Result<Self> {
        let mut writer = PackWriter { items: Vec::new() };
        writer.push(
            "manifest",
            SectionKind::Manifest,
            DType::None,
            &[],
            Cow::Owned(manifest.to_json()?),
        )?;
        Ok(writer)
    }

    /// Adds a tensor; `bytes` must have the length that `dtype` and `dims` ask for.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name, rank or length.
    pub fn tensor(
        &mut self,
        name: &str,
        dtype: DType,
        dims: &[usize],
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> Result<()> {
        let bytes = bytes.into();
        if dims.len() > 4 || dtype.byte_len(dims) != Some(bytes.len()) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "tensor length and dimensions disagree",
            ));
        }
        self.push(name, SectionKind::Tensor, dtype, dims, bytes)
    }

    /// Adds an f32 tensor.
    ///
    /// # Errors
    /// As [`PackWriter::tensor`].
    pub fn f32(&mut self, name: &str, dims: &[usize], values: &'a [f32]) -> Result<()> {
        self.tensor(name, DType::F32, dims, bytemuck::cast_slice::<f32, u8>(values))
    }

    /// Adds a section that is not a tensor.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name or kind.
    pub fn blob(
        &mut self,
        name: &str,
        kind: SectionKind,
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> Result<()> {
        if kind == SectionKind::Tensor || kind == SectionKind::Manifest {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "this kind of section has its own call",
            ));
        }
        self.push(name, kind, DType::None, &[], bytes.into())
    }

    fn push(
        &mut self,
        name: &str,
        kind: SectionKind,
        dtype: DType,
        dims: &[usize],
        bytes: Cow<'a, [u8]>,
    ) -> Result<()> {
        let sound = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_graphic())
            && self.items.iter().all(|item| item.name != name)
            && self.items.len() < super::MAX_SECTIONS;
        if !sound {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "section name is malformed or taken",
            ));
        }
        self.items.push(Item { name: name.to_owned(), kind, dtype, dims: dims.to_vec(), bytes });
        Ok(())
    }

    /// The finished pack in memory, signed when a 32-byte ed25519 secret key is given.
    #[must_use]
    pub fn finish(self, secret_key: Option<&[u8; 32]>) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, secret_key).expect("a vector takes all bytes");
        out
    }

    /// Writes the finished pack to `out`, signed when a 32-byte ed25519 secret key is given.
    ///
    /// The sections are hashed first and written then: nothing but the table is copied.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(self, out: &mut impl Write, secret_key: Option<&[u8; 32]>) -> io::Result<()> {
        let (table, content_end) = self.table();
        let signed = secret_key.is_some();
        let file_len = content_end + if signed { SIGNATURE } else { 0 };
        let mut header = [0u8; HEADER];
        put(&mut header, 0, MAGIC);
        put(&mut header, 8, &VERSION.to_le_bytes());
        put(&mut header, 12, &(self.items.len() as u32).to_le_bytes());
        put(&mut header, 16, &(file_len as u64).to_le_bytes());
        put(&mut header, 24, &(if signed { FLAG_SIGNED } else { 0 }).to_le_bytes());
        let mut hash = Sha256::new();
        hash.update(&header[..32]);
        self.body(&table, |bytes| {
            hash.update(bytes);
            Ok(())
        })?;
        put(&mut header, 32, &hash.finalize());
        out.write_all(&header)?;
        self.body(&table, |bytes| out.write_all(bytes))?;
        if let Some(secret) = secret_key {
            let key = SigningKey::from_bytes(secret);
            let mut block = [0u8; SIGNATURE];
            put(&mut block, 0, key.verifying_key().as_bytes());
            put(&mut block, 32, &key.sign(&header).to_bytes());
            out.write_all(&block)?;
        }
        Ok(())
    }

    /// The section table and where the last section ends.
    fn table(&self) -> (Vec<u8>, usize) {
        let mut table = vec![0u8; self.items.len() * ENTRY];
        let mut end = HEADER + table.len();
        for (item, entry) in self.items.iter().zip(table.chunks_exact_mut(ENTRY)) {
            let offset = end.next_multiple_of(ALIGN);
            entry[..item.name.len()].copy_from_slice(item.name.as_bytes());
            let may_ignore =
                if matches!(item.kind, SectionKind::Unknown(_)) { FLAG_MAY_IGNORE } else { 0 };
            put(entry, 64, &item.kind.code().to_le_bytes());
            put(entry, 68, &may_ignore.to_le_bytes());
            put(entry, 72, &(offset as u64).to_le_bytes());
            put(entry, 80, &(item.bytes.len() as u64).to_le_bytes());
            put(entry, 88, &item.dtype.code().to_le_bytes());
            put(entry, 92, &(item.dims.len() as u32).to_le_bytes());
            for (d, dim) in item.dims.iter().enumerate() {
                put(entry, 96 + 4 * d, &(*dim as u32).to_le_bytes());
            }
            end = offset + item.bytes.len();
        }
        (table, end)
    }

    /// Hands out everything between header and signature, in file order.
    fn body(&self, table: &[u8], mut to: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        to(table)?;
        let mut end = HEADER + table.len();
        for item in &self.items {
            let gap = end.next_multiple_of(ALIGN) - end;
            to(&[0; ALIGN][..gap])?;
            to(&item.bytes)?;
            end += gap + item.bytes.len();
        }
        Ok(())
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}
