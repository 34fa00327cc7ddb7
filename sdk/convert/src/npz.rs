//! NumPy archives: named arrays of u8 and f32.

use anyhow::{bail, ensure, Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use zip::write::FileOptions;
use zip::{ZipArchive, ZipWriter};

/// The largest array in bytes; a larger one is refused before it is read.
const MAX_BYTES: usize = 4 << 30;

/// The values of an array.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// `uint8`.
    U8(Vec<u8>),
    /// `float32`; `float64` and `int64` are converted when read.
    F32(Vec<f32>),
}

/// An array with its shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Values.
    pub values: Values,
}

impl Array {
    /// An f32 array.
    #[must_use]
    pub fn f32(shape: &[usize], values: Vec<f32>) -> Array {
        debug_assert_eq!(values.len(), shape.iter().product::<usize>());
        Array { shape: shape.to_vec(), values: Values::F32(values) }
    }

    /// The values if they are f32.
    ///
    /// # Errors
    /// When they are not.
    pub fn as_f32(&self) -> Result<&[f32]> {
        match &self.values {
            Values::F32(v) => Ok(v),
            Values::U8(_) => bail!("the array is uint8, not float32"),
        }
    }

    /// The values if they are u8.
    ///
    /// # Errors
    /// When they are not.
    pub fn as_u8(&self) -> Result<&[u8]> {
        match &self.values {
            Values::U8(v) => Ok(v),
            Values::F32(_) => bail!("the array is not uint8"),
        }
    }
}

/// The arrays of an `.npz` file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Npz(BTreeMap<String, Array>);

impl Npz {
    /// Reads a file whole.
    ///
    /// # Errors
    /// When it is no archive of arrays of these types in C order.
    pub fn read(path: &Path) -> Result<Npz> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut archive = ZipArchive::new(BufReader::new(file))
            .with_context(|| format!("{} is no .npz archive", path.display()))?;
        let mut arrays = BTreeMap::new();
        for i in 0..archive.len() {
            let mut member = archive.by_index(i)?;
            let Some(name) = member.name().strip_suffix(".npy").map(str::to_owned) else {
                continue;
            };
            let array = read_npy(&mut member).with_context(|| format!("array {name}"))?;
            arrays.insert(name, array);
        }
        Ok(Npz(arrays))
    }

    /// The array called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, name: &str) -> Result<&Array> {
        self.0.get(name).with_context(|| format!("the archive holds no array {name}"))
    }

    /// Adds or replaces an array.
    pub fn insert(&mut self, name: &str, array: Array) {
        self.0.insert(name.to_owned(), array);
    }

    /// Writes a compressed archive; the same arrays give the same bytes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut archive = ZipWriter::new(BufWriter::new(file));
        for (name, array) in &self.0 {
            let options = FileOptions::default()
                .compression_method(zip::CompressionMethod::Deflated)
                .last_modified_time(zip::DateTime::default())
                .large_file(true);
            archive.start_file(format!("{name}.npy"), options)?;
            write_npy(&mut archive, array)?;
        }
        archive.finish()?.flush().context("cannot write the archive")
    }
}

fn read_npy(from: &mut impl Read) -> Result<Array> {
    let mut head = [0u8; 8];
    from.read_exact(&mut head).context("cut short")?;
    ensure!(&head[..6] == b"\x93NUMPY", "not a NumPy array");
    let len = if head[6] == 1 {
        let mut two = [0u8; 2];
        from.read_exact(&mut two)?;
        u16::from_le_bytes(two).into()
    } else {
        let mut four = [0u8; 4];
        from.read_exact(&mut four)?;
        u32::from_le_bytes(four)
    };
    ensure!(len <= 1 << 16, "a header of {len} bytes");
    let mut text = vec![0u8; len as usize];
    from.read_exact(&mut text).context("cut short")?;
    let text = String::from_utf8(text).context("the header is no text")?;
    let field = |key: &str| {
        let at = text.find(&format!("'{key}':")).with_context(|| format!("no {key}"))?;
        Ok::<_, anyhow::Error>(text[at + key.len() + 3..].trim_start())
    };
    ensure!(field("fortran_order")?.starts_with("False"), "the array is in Fortran order");
    let shape = field("shape")?;
    let shape = shape.strip_prefix('(').and_then(|s| s.split(')').next()).context("no shape")?;
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().context("a dimension that is no number"))
        .collect::<Result<_>>()?;
    let descr =
        field("descr")?.trim_start_matches('\'').split('\'').next().unwrap_or("").to_owned();
    let width = match descr.as_str() {
        "|u1" => 1,
        "<f4" => 4,
        "<f8" | "<i8" => 8,
        other => bail!("element type {other} is not supported"),
    };
    let bytes = shape.iter().try_fold(width, |n: usize, d| n.checked_mul(*d));
    let bytes = bytes.filter(|b| *b <= MAX_BYTES).context("the array is too large")?;
    let mut raw = Vec::new();
    from.take(bytes as u64).read_to_end(&mut raw)?;
    ensure!(raw.len() == bytes, "cut short");
    let eight = |b: &[u8]| -> [u8; 8] { b.try_into().expect("eight bytes") };
    let values = match descr.as_str() {
        "|u1" => Values::U8(raw),
        "<f4" => Values::F32(
            raw.chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")))
                .collect(),
        ),
        "<f8" => {
            Values::F32(raw.chunks_exact(8).map(|b| f64::from_le_bytes(eight(b)) as f32).collect())
        }
        _ => {
            Values::F32(raw.chunks_exact(8).map(|b| i64::from_le_bytes(eight(b)) as f32).collect())
        }
    };
    Ok(Array { shape, values })
}

fn write_npy(to: &mut impl Write, array: &Array) -> Result<()> {
    let (descr, bytes): (_, Vec<u8>) = match &array.values {
        Values::U8(v) => ("|u1", v.clone()),
        Values::F32(v) => ("<f4", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
    };
    let dims: Vec<String> = array.shape.iter().map(usize::to_string).collect();
    let comma = if dims.len() == 1 { "," } else { "" };
    let shape = dims.join(", ") + comma;
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    to.write_all(b"\x93NUMPY\x01\x00")?;
    to.write_all(&(header.len() as u16).to_le_bytes())?;
    to.write_all(header.as_bytes())?;
    to.write_all(&bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_survive_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let mut npz = Npz::default();
        npz.insert("x", Array::f32(&[2, 3], vec![1.5, -2.0, 0.0, 3.25, f32::MAX, 1e-40]));
        npz.insert("y", Array { shape: vec![4], values: Values::U8(vec![0, 1, 254, 255]) });
        npz.insert("z", Array::f32(&[], vec![7.0]));
        npz.write(&path).unwrap();
        assert_eq!(Npz::read(&path).unwrap(), npz);
        assert!(npz.get("w").is_err());
    }

    #[test]
    fn damaged_arrays_are_errors() {
        let mut good = Vec::new();
        write_npy(&mut good, &Array::f32(&[2], vec![1.0, 2.0])).unwrap();
        assert!(read_npy(&mut &good[..]).is_ok());
        for cut in [0, 5, 9, 40, good.len() - 1] {
            assert!(read_npy(&mut &good[..cut]).is_err(), "cut at {cut}");
        }
        let text = String::from_utf8_lossy(&good[10..]).into_owned();
        for (from, to) in [("(2,)", "(999999999999999,)"), ("False", "True "), ("<f4", ">f4")] {
            let mut bad = good[..10].to_vec();
            bad.extend_from_slice(text.replace(from, to).as_bytes());
            assert!(read_npy(&mut &bad[..]).is_err(), "{to}");
        }
    }
}
