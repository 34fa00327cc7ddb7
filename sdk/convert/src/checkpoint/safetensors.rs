//! The directory of a safetensors file: a length, a JSON header, the tensors' bytes.
//!
//! Read here rather than by the `safetensors` crate because that wants the whole file in memory.

use super::{entry, Element, Entry};
use anyhow::{bail, ensure, Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The format's own bound on its header.
const MAX_HEADER: u64 = 100_000_000;

#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

pub(super) fn directory(file: &File) -> Result<BTreeMap<String, Entry>> {
    let total = file.metadata()?.len();
    let mut word = [0u8; 8];
    file.read_exact_at(&mut word, 0).context("the file is too short for safetensors")?;
    let header = u64::from_le_bytes(word);
    ensure!(
        header <= MAX_HEADER && header <= total.saturating_sub(8),
        "neither a safetensors file nor a zipped PyTorch state dict"
    );
    let mut json = vec![0u8; header as usize];
    file.read_exact_at(&mut json, 8)?;
    let items: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&json).context("the safetensors header is not JSON")?;
    let (base, room) = (8 + header, total - 8 - header);
    let mut entries = BTreeMap::new();
    let mut spans = Vec::new();
    for (name, value) in items {
        if name == "__metadata__" {
            continue;
        }
        let info: Info = serde_json::from_value(value)
            .with_context(|| format!("the header entry of {name} is malformed"))?;
        let [start, end] = info.data_offsets;
        let element = element(&info.dtype).with_context(|| format!("tensor {name}"))?;
        let found = entry(element, info.shape, base, start, room)
            .with_context(|| format!("tensor {name}"))?;
        ensure!(
            end.checked_sub(start) == Some((found.count() * element.bytes()) as u64),
            "tensor {name}: length and shape disagree"
        );
        spans.push((start, end));
        entries.insert(name, found);
    }
    spans.sort_unstable();
    let mut at = 0;
    for (start, end) in spans {
        ensure!(start == at, "the tensors overlap or leave a gap at byte {at}");
        at = end;
    }
    ensure!(at == room, "the file is {} bytes too long or cut short", room.abs_diff(at));
    Ok(entries)
}

fn element(dtype: &str) -> Result<Element> {
    Ok(match dtype {
        "F64" => Element::F64,
        "F32" => Element::F32,
        "F16" => Element::F16,
        "BF16" => Element::Bf16,
        "I64" | "U64" => Element::Integer(8),
        "I32" | "U32" => Element::Integer(4),
        "I16" | "U16" => Element::Integer(2),
        "I8" | "U8" | "BOOL" => Element::Integer(1),
        other => bail!("element type {other} is not supported"),
    })
}
