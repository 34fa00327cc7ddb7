//! Packs from canonical tensors, and packs from packs.

use crate::canonical::{self, Tensor};
use crate::checkpoint::Checkpoint;
use crate::network::Network;
use crate::quantise::Quantised;
use anyhow::{Context, Result};
use keyface::engine::Recogniser;
use keyface::kernel::pack_weights;
use keyface::pack::{
    DType, LandmarkManifest, LandmarkNetwork, Manifest, Pack, PackWriter, Precision,
    RecogniserManifest, SectionKind, Trust,
};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Golden vectors that a pack carries for its self-test.
pub const VECTORS: usize = 2;

/// What goes into a pack besides weights.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Name for people.
    pub name: String,
    /// Licence of the weights.
    pub licence: String,
    /// Where the training data came from.
    pub provenance: String,
    /// ed25519 secret key to sign with.
    pub secret_key: Option<[u8; 32]>,
}

/// A landmark network for a pack.
pub struct Landmark {
    /// Its layers or the name of its ONNX section, and how to read its output.
    pub manifest: LandmarkManifest,
    /// What the layers need: matrices `[n, k]` in f32, stored as int8, and biases.
    pub tensors: Vec<Tensor>,
    /// The ONNX model, where the manifest names one.
    pub onnx: Vec<u8>,
}

/// A tensor as a pack stores it.
enum Stored {
    F32(Vec<f32>),
    Panels(Vec<i8>),
}

impl Stored {
    fn bytes(&self) -> &[u8] {
        match self {
            Stored::F32(values) => bytemuck::cast_slice(values),
            Stored::Panels(values) => bytemuck::cast_slice(values),
        }
    }

    fn dtype(&self) -> DType {
        match self {
            Stored::F32(_) => DType::F32,
            Stored::Panels(_) => DType::I8Panels,
        }
    }
}

/// Imports a recogniser checkpoint into a pack at `out`, with golden vectors computed by the engine.
///
/// Memory stays near the size of the stored weights plus the largest tensor: the pack without vectors is written beside
/// `out`, the weights dropped, and the final pack copied from it. `progress` gets the bytes read of the
/// checkpoint so far.
///
/// # Errors
/// When a tensor cannot be read or a file not be written, or the engine refuses the network.
pub fn import(
    checkpoint: &Checkpoint,
    network: &Network,
    precision: Precision,
    landmark: Option<&Landmark>,
    facts: &Facts,
    out: &Path,
    mut progress: impl FnMut(u64),
) -> Result<RecogniserManifest> {
    let mut manifest = network.manifest.clone();
    manifest.precision = precision;
    let mut stored: Vec<(String, Vec<usize>, Stored)> = Vec::new();
    canonical::each(checkpoint, &manifest, |tensor| {
        progress(tensor.values.len() as u64 * 4);
        store(tensor, precision, &mut stored);
        Ok(())
    })?;
    manifest.model_id = model_id(&stored, &manifest);
    let draft = Manifest {
        name: facts.name.clone(),
        min_sdk: keyface::VERSION.into(),
        licence: facts.licence.clone(),
        provenance: facts.provenance.clone(),
        recogniser: Some(manifest.clone()),
        landmark: landmark.map(|l| l.manifest.clone()),
        vectors: 0,
    };
    let scratch = Scratch::beside(out);
    let mut writer = PackWriter::new(&draft)?;
    for (name, dims, values) in &stored {
        writer.tensor(name, values.dtype(), dims, values.bytes())?;
    }
    if let Some(landmark) = landmark {
        let mut layers = Vec::new();
        for tensor in &landmark.tensors {
            store(tensor.clone(), Precision::Int8, &mut layers);
        }
        for (name, dims, values) in &layers {
            writer.tensor(name, values.dtype(), dims, values.bytes().to_vec())?;
        }
        if let LandmarkNetwork::Onnx { onnx } = &landmark.manifest.network {
            writer.blob(onnx, SectionKind::Onnx, &landmark.onnx[..])?;
        }
    }
    save(writer, None, &scratch.0)?;
    drop(stored);

    let pack = Pack::open(&scratch.0, Trust::Anyone)?;
    let vectors = golden_vectors(&pack, &manifest).context("the engine refuses the network")?;
    let mut changed = draft;
    changed.vectors = vectors.len();
    let mut writer = copy(&pack, &changed, |_| true)?;
    for (i, vector) in vectors.iter().enumerate() {
        let side = manifest.input_size;
        writer.tensor(
            &format!("vectors/{i}/image"),
            DType::U8,
            &[3, side, side],
            &vector.image[..],
        )?;
        writer.f32(&format!("vectors/{i}/keypoints"), &[5, 2], vector.keypoints.as_flattened())?;
        writer.f32(&format!("vectors/{i}/embedding"), &[manifest.output_dim], &vector.embedding)?;
    }
    save(writer, facts.secret_key.as_ref(), out)?;
    Ok(manifest)
}

/// A pack that holds the published landmark model as ONNX, to be run and exported; the SDK's own detector has another format.
///
/// # Errors
/// When the file cannot be written.
pub fn dfa_only(onnx: &[u8], facts: &Facts, out: &Path) -> Result<()> {
    let manifest = Manifest {
        name: facts.name.clone(),
        min_sdk: keyface::VERSION.into(),
        licence: facts.licence.clone(),
        provenance: facts.provenance.clone(),
        recogniser: None,
        landmark: None,
        vectors: 0,
    };
    let mut writer = PackWriter::new(&manifest)?;
    writer.blob(crate::dfa::SECTION, SectionKind::Onnx, onnx)?;
    save(writer, facts.secret_key.as_ref(), out)
}

/// A writer with `manifest` and those sections of `pack` that `keep` lets through.
///
/// # Errors
/// When the manifest cannot be written.
pub fn copy<'a>(
    pack: &'a Pack,
    manifest: &Manifest,
    keep: impl Fn(&str) -> bool,
) -> Result<PackWriter<'a>> {
    let mut writer = PackWriter::new(manifest)?;
    for section in pack.sections().iter().filter(|s| keep(&s.name)) {
        match section.kind {
            SectionKind::Manifest => {}
            SectionKind::Tensor => {
                writer.tensor(&section.name, section.dtype, &section.dims, pack.bytes(section))?;
            }
            kind => writer.blob(&section.name, kind, pack.bytes(section))?,
        }
    }
    Ok(writer)
}

/// Writes a pack beside `path` and renames it into place, so that `path` is never half a pack.
///
/// # Errors
/// When the file cannot be written.
pub fn save(writer: PackWriter<'_>, secret_key: Option<&[u8; 32]>, path: &Path) -> Result<()> {
    let part = Scratch::beside(path);
    let file =
        File::create(&part.0).with_context(|| format!("cannot write {}", part.0.display()))?;
    let mut file = BufWriter::new(file);
    writer
        .write(&mut file, secret_key)
        .and_then(|()| file.flush())
        .context("cannot write the pack")?;
    std::fs::rename(&part.0, path).with_context(|| format!("cannot write {}", path.display()))
}

/// A file that is removed when this is dropped, unless it was renamed.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(path: &Path) -> Scratch {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}-{n}.part", std::process::id()));
        Scratch(path.with_file_name(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn store(tensor: Tensor, precision: Precision, to: &mut Vec<(String, Vec<usize>, Stored)>) {
    if precision == Precision::Int8 && tensor.is_matrix() {
        let (n, k) = (tensor.dims[0], tensor.dims[1]);
        let quantised = Quantised::new(&tensor.values, n, k);
        let layer = tensor.name.strip_suffix(".weight").unwrap_or(&tensor.name).to_owned();
        let panels = pack_weights(&quantised.values, n, k);
        to.push((tensor.name, tensor.dims, Stored::Panels(panels)));
        to.push((format!("{layer}.scale"), vec![n], Stored::F32(quantised.scales)));
    } else {
        to.push((tensor.name, tensor.dims, Stored::F32(tensor.values)));
    }
}

/// SHA-256 over every tensor's name, dimensions and bytes, then precision and preprocessing.
fn model_id(stored: &[(String, Vec<usize>, Stored)], m: &RecogniserManifest) -> String {
    let mut hash = Sha256::new();
    for (name, dims, values) in stored {
        hash.update((name.len() as u32).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|d| hash.update((*d as u64).to_le_bytes()));
        hash.update(values.bytes());
    }
    let precision: &[u8] = match m.precision {
        Precision::F32 => b"f32",
        Precision::Int8 => b"int8",
    };
    hash.update(precision);
    hash.update(m.preprocessing.to_le_bytes());
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

struct Vector {
    image: Vec<u8>,
    keypoints: [[f32; 2]; 5],
    embedding: Vec<f32>,
}

fn golden_vectors(pack: &Arc<Pack>, m: &RecogniserManifest) -> Result<Vec<Vector>> {
    let recogniser = Recogniser::new(pack)?;
    let mut session = recogniser.session(1)?;
    (0..VECTORS)
        .map(|i| {
            let (image, keypoints) = synthetic(i as u64, m.input_size);
            let mut embedding = vec![0.0; m.output_dim];
            session.run(&image, &keypoints, &mut embedding)?;
            Ok(Vector { image, keypoints, embedding })
        })
        .collect()
}

/// A seeded picture of no face, planar RGB `[3][side][side]`, and plausible key points in 0..1.
#[must_use]
pub fn synthetic(seed: u64, side: usize) -> (Vec<u8>, [[f32; 2]; 5]) {
    const UPRIGHT: [[f32; 2]; 5] =
        [[0.34, 0.46], [0.66, 0.46], [0.5, 0.64], [0.37, 0.82], [0.63, 0.82]];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as i64
    };
    let mut image = Vec::with_capacity(3 * side * side);
    for _ in 0..3 {
        let (dx, dy, base) = (next() % 5 - 2, next() % 5 - 2, next() % 128 + 64);
        for i in 0..side * side {
            let (x, y) = ((i % side) as i64, (i / side) as i64);
            let checks = if (x / 13 + y / 9) % 2 == 0 { 30 } else { -30 };
            let slope = (dx * x + dy * y) * 32 / side as i64;
            image.push((base + slope + checks + next() % 48 - 24).clamp(0, 255) as u8);
        }
    }
    let points = UPRIGHT.map(|p| p.map(|v| v + (next() % 101 - 50) as f32 / 1000.0));
    (image, points)
}
