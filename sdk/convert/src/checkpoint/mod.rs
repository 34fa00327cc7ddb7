//! Checkpoint files as named tensors that are read one at a time.
//!
//! Opening reads only the directory of a file. A tensor's bytes are read when asked for, so a converter holds what it
//! keeps and one tensor more, whatever the size of the file.

mod pickle;
mod safetensors;
mod torch;

use anyhow::{bail, ensure, Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Element type of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// IEEE double precision.
    F64,
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// An integer or Boolean of this many bytes; such tensors are counted, never read.
    Integer(usize),
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Element::F64 => 8,
            Element::F32 => 4,
            Element::F16 | Element::Bf16 => 2,
            Element::Integer(bytes) => bytes,
        }
    }
}

/// Where a tensor lies in its file, and its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Element type.
    pub element: Element,
    /// Dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// First byte in the file.
    offset: u64,
}

impl Entry {
    /// Number of elements; the file's reader has checked that it does not overflow.
    fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// An open checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    file: File,
    entries: BTreeMap<String, Entry>,
}

/// Prefixes that training code puts before the network's own names, longest first.
const PREFIXES: [&str; 6] =
    ["module.model.net.", "model.net.", "module.net.", "net.", "module.", "model."];

impl Checkpoint {
    /// Reads the directory of a checkpoint: a zipped PyTorch state dict if the file is a zip archive, otherwise safetensors.
    ///
    /// Wrapping prefixes (`net.`, `model.net.`, `module.`, ..) that all names share are taken off.
    ///
    /// # Errors
    /// When the file cannot be read or its directory is damaged; a pickle that asks for anything but tensors is refused
    /// and the error names what it asked for.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut magic = [0u8; 4];
        file.read_exact_at(&mut magic, 0).context("the file is too short for a checkpoint")?;
        let entries = if &magic == b"PK\x03\x04" {
            torch::directory(&file)
        } else {
            safetensors::directory(&file)
        }
        .with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(!entries.is_empty(), "{} holds no tensors", path.display());
        let prefix = PREFIXES.iter().find(|p| entries.keys().all(|name| name.starts_with(**p)));
        let cut = prefix.map_or(0, |p| p.len());
        let entries = entries.into_iter().map(|(name, e)| (name[cut..].to_owned(), e)).collect();
        Ok(Checkpoint { file, entries })
    }

    /// All tensors by name.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// The shape of a tensor, if it exists.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|e| e.shape.as_slice())
    }

    /// Bytes of all tensors together.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.entries.values().map(|e| (e.count() * e.element.bytes()) as u64).sum()
    }

    /// Reads one tensor as f32; half precision is widened, double precision rounded.
    ///
    /// # Errors
    /// When there is no such tensor, it holds integers, the file cannot be read, or a value is not finite.
    pub fn f32(&self, name: &str) -> Result<Vec<f32>> {
        let entry = self.entries.get(name).with_context(|| format!("tensor {name} is missing"))?;
        let mut values = vec![0f32; entry.count()];
        match entry.element {
            Element::F32 => {
                let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
                self.file
                    .read_exact_at(bytes, entry.offset)
                    .with_context(|| format!("cannot read tensor {name}"))?;
                if cfg!(target_endian = "big") {
                    values.iter_mut().for_each(|v| *v = f32::from_bits(v.to_bits().swap_bytes()));
                }
            }
            Element::Integer(_) => bail!("tensor {name} holds integers where numbers are expected"),
            other => self
                .widen(entry, other, &mut values)
                .with_context(|| format!("cannot read tensor {name}"))?,
        }
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            bail!("tensor {name} holds {} at element {i}", values[i]);
        }
        Ok(values)
    }

    /// Converts in pieces, so that the stored form never lies in memory as a whole.
    fn widen(&self, entry: &Entry, element: Element, values: &mut [f32]) -> Result<()> {
        const PIECE: usize = 1 << 16;
        let width = element.bytes();
        let mut buffer = vec![0u8; PIECE * width];
        let mut offset = entry.offset;
        for piece in values.chunks_mut(PIECE) {
            let bytes = &mut buffer[..piece.len() * width];
            self.file.read_exact_at(bytes, offset)?;
            offset += bytes.len() as u64;
            for (value, raw) in piece.iter_mut().zip(bytes.chunks_exact(width)) {
                *value = match element {
                    Element::F16 => half::f16::from_le_bytes([raw[0], raw[1]]).to_f32(),
                    Element::Bf16 => half::bf16::from_le_bytes([raw[0], raw[1]]).to_f32(),
                    _ => f64::from_le_bytes(raw.try_into().expect("eight bytes")) as f32,
                };
            }
        }
        Ok(())
    }
}

/// An entry whose bytes lie within a file or archive member of `room` bytes from `base` on.
fn entry(element: Element, shape: Vec<usize>, base: u64, start: u64, room: u64) -> Result<Entry> {
    ensure!(shape.len() <= 8, "a tensor has more than 8 dimensions");
    let bytes = shape
        .iter()
        .try_fold(element.bytes() as u64, |n, d| n.checked_mul(*d as u64))
        .context("a tensor's size overflows")?;
    let end = start.checked_add(bytes).context("a tensor's end overflows")?;
    ensure!(end <= room, "a tensor passes the end of its storage");
    let offset = base.checked_add(start).context("a tensor's offset overflows")?;
    Ok(Entry { element, shape, offset })
}
