//! Writes packs. Used by the converter and by tests; devices only read.

use super::parse::{
    content_digest, ALIGN, ENTRY, FLAG_MAY_IGNORE, FLAG_SIGNED, HEADER, MAGIC, SIGNATURE, VERSION,
};
use super::{DType, Manifest, SectionKind};
use crate::error::{Error, ErrorKind, Result};
use ed25519_dalek::{Signer, SigningKey};
use std::borrow::Cow;

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

    /// The finished pack, signed when a 32-byte ed25519 secret key is given.
    #[must_use]
    pub fn finish(self, secret_key: Option<&[u8; 32]>) -> Vec<u8> {
        let mut out = vec![0u8; HEADER + self.items.len() * ENTRY];
        let body: usize = self.items.iter().map(|i| i.bytes.len() + ALIGN).sum();
        out.reserve_exact(body + SIGNATURE);
        for (i, item) in self.items.iter().enumerate() {
            out.resize(out.len().next_multiple_of(ALIGN), 0);
            let offset = out.len() as u64;
            out.extend_from_slice(&item.bytes);
            let entry = &mut out[HEADER + i * ENTRY..][..ENTRY];
            entry[..item.name.len()].copy_from_slice(item.name.as_bytes());
            let may_ignore =
                if matches!(item.kind, SectionKind::Unknown(_)) { FLAG_MAY_IGNORE } else { 0 };
            put(entry, 64, &item.kind.code().to_le_bytes());
            put(entry, 68, &may_ignore.to_le_bytes());
            put(entry, 72, &offset.to_le_bytes());
            put(entry, 80, &(item.bytes.len() as u64).to_le_bytes());
            put(entry, 88, &item.dtype.code().to_le_bytes());
            put(entry, 92, &(item.dims.len() as u32).to_le_bytes());
            for (d, dim) in item.dims.iter().enumerate() {
                put(entry, 96 + 4 * d, &(*dim as u32).to_le_bytes());
            }
        }
        let content_end = out.len();
        let file_len = content_end + if secret_key.is_some() { SIGNATURE } else { 0 };
        put(&mut out, 0, MAGIC);
        put(&mut out, 8, &VERSION.to_le_bytes());
        put(&mut out, 12, &(self.items.len() as u32).to_le_bytes());
        put(&mut out, 16, &(file_len as u64).to_le_bytes());
        put(&mut out, 24, &(if secret_key.is_some() { FLAG_SIGNED } else { 0 }).to_le_bytes());
        let digest = content_digest(&out, content_end);
        put(&mut out, 32, &digest);
        if let Some(secret) = secret_key {
            let key = SigningKey::from_bytes(secret);
            let signature = key.sign(&out[..HEADER]);
            out.extend_from_slice(key.verifying_key().as_bytes());
            out.extend_from_slice(&signature.to_bytes());
            out.resize(file_len, 0);
        }
        out
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}
