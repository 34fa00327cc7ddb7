//! The directory of a zipped PyTorch state dict (`torch.save` since version 1.6).

use super::pickle::{self, Container, Pickle, Value};
use super::{entry, Entry};
use anyhow::{bail, ensure, Context, Result};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use zip::{CompressionMethod, ZipArchive};

/// No state dict's pickle is longer: it holds names and shapes (0.1 MB for a thousand tensors), not numbers.
const MAX_PICKLE: u64 = 4 << 20;

/// Members of an archive and of a state dict are at most this many.
const MAX_MEMBERS: usize = 1 << 16;

pub(super) fn directory(file: &File) -> Result<BTreeMap<String, Entry>> {
    let mut archive = ZipArchive::new(file.try_clone()?).context("not a zip archive")?;
    ensure!(archive.len() <= MAX_MEMBERS, "the archive has {} members", archive.len());
    let names: Vec<String> = archive.file_names().map(str::to_owned).collect();
    let root = names
        .iter()
        .find_map(|n| n.strip_suffix("data.pkl"))
        .context("the archive holds no data.pkl: not a PyTorch file")?
        .to_owned();
    let order = format!("{root}byteorder");
    if names.contains(&order) {
        let mut text = String::new();
        archive.by_name(&order)?.take(16).read_to_string(&mut text)?;
        ensure!(text.trim() == "little", "the tensors are stored in byte order {text:?}");
    }
    let mut bytes = Vec::new();
    archive
        .by_name(&format!("{root}data.pkl"))?
        .take(MAX_PICKLE + 1)
        .read_to_end(&mut bytes)
        .context("cannot read data.pkl")?;
    ensure!(bytes.len() as u64 <= MAX_PICKLE, "data.pkl is longer than any state dict");
    let pickle = pickle::read(&bytes)?;
    let mut members = HashMap::new();
    for i in 0..archive.len() {
        let member = archive.by_index_raw(i)?;
        if let Some(key) = member.name().strip_prefix(&format!("{root}data/")) {
            if member.compression() == CompressionMethod::Stored {
                let start = member.data_start();
                members.insert(key.to_owned(), (start, member.size()));
            }
        }
    }
    let mut entries = BTreeMap::new();
    for pair in pickle.items(state_dict(&pickle)?).chunks_exact(2) {
        match pair {
            [Value::Text(name), Value::Tensor(handle)] => {
                let found =
                    locate(&pickle, *handle, &members).with_context(|| format!("tensor {name}"))?;
                let twice = entries.insert(name.to_string(), found).is_some();
                ensure!(!twice, "tensor {name} occurs twice");
            }
            [Value::Text(name), _] => bail!("{name} is no tensor"),
            _ => bail!("a key of the state dict is no text"),
        }
    }
    Ok(entries)
}

/// The dictionary of tensors: the file's own or the one under a customary key.
fn state_dict(pickle: &Pickle) -> Result<&Value> {
    let root = &pickle.root;
    ensure!(matches!(root, Value::Dict(_)), "the file's value is no dictionary");
    let items = pickle.items(root);
    if items.chunks_exact(2).any(|pair| matches!(pair[1], Value::Tensor(_))) {
        return Ok(root);
    }
    let inner = items.chunks_exact(2).find(|pair| match &pair[0] {
        Value::Text(key) => ["state_dict", "model", "net"].contains(&&**key),
        _ => false,
    });
    match inner {
        Some([_, dict @ Value::Dict(_)]) => Ok(dict),
        _ => bail!("the file holds no state dict"),
    }
}

fn locate(pickle: &Pickle, tensor: usize, members: &HashMap<String, (u64, u64)>) -> Result<Entry> {
    let Container::Tensor { storage, offset, shape, strides } = &pickle.containers[tensor] else {
        bail!("not a tensor");
    };
    let Container::Storage { element, key, count } = &pickle.containers[*storage] else {
        bail!("a tensor over something that is no storage");
    };
    let &(base, len) =
        members.get(&**key).with_context(|| format!("storage {key} is missing or compressed"))?;
    let width = element.bytes() as u64;
    ensure!(count.checked_mul(width) == Some(len), "storage {key} has another length than stated");
    let mut expected = 1u64;
    ensure!(shape.len() == strides.len(), "shape and strides disagree");
    for (dim, stride) in shape.iter().zip(strides).rev() {
        ensure!(*dim <= 1 || *stride == expected, "not stored contiguously");
        expected = expected.checked_mul(*dim as u64).context("a tensor's size overflows")?;
    }
    let start = offset.checked_mul(width).context("a tensor's offset overflows")?;
    entry(*element, shape.clone(), base, start, len)
}
