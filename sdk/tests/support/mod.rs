//! A reduced recogniser with seeded weights, made in the test: no model file is needed.

use keyface::kernel::{pack_weights, packed_len};
use keyface::pack::{
    DType, InputConvention, KeypointForm, Manifest, Pack, PackWriter, Precision,
    RecogniserManifest, Rpe, Stem, Trust,
};
use std::sync::Arc;

/// A small generator with a fixed sequence (splitmix64).
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in -1..1, on a grid that every CPU computes alike.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    /// A planar picture of smooth blobs and noise.
    pub fn image(&mut self, size: usize) -> Vec<u8> {
        let blobs: Vec<[f32; 4]> = (0..6).map(|_| std::array::from_fn(|_| self.unit())).collect();
        let mut out = Vec::with_capacity(3 * size * size);
        for c in 0..3 {
            for i in 0..size * size {
                let (x, y) = ((i % size) as f32 / size as f32, (i / size) as f32 / size as f32);
                let light: f32 = blobs
                    .iter()
                    .map(|b| {
                        b[2] / (1.0
                            + 30.0
                                * ((x - 0.5 - b[0] / 2.0).powi(2) + (y - 0.5 - b[1] / 2.0).powi(2)))
                    })
                    .sum();
                let noise = self.unit() * 12.0;
                out.push((128.0 + 90.0 * light + 8.0 * c as f32 + noise).clamp(0.0, 255.0) as u8);
            }
        }
        out
    }
}

/// The reduced network's shape.
pub fn manifest(stem: Stem, precision: Precision) -> RecogniserManifest {
    RecogniserManifest {
        input_size: 112,
        input: InputConvention::RgbHalf,
        preprocessing: keyface::PREPROCESSING_VERSION,
        precision,
        stem,
        embed_dim: 32,
        depth: 2,
        num_heads: 2,
        mlp_dim: 96,
        hidden_dim: 48,
        output_dim: 40,
        rpe: Rpe::Kprpe { form: KeypointForm::RelKeypointSplitheadUnshared, num_keypoints: 5 },
        model_id: "5a".repeat(32),
    }
}

/// The convolutional stem of the default pack, narrower.
pub fn conv_stem() -> Stem {
    Stem::Conv { channels: vec![8, 16, 24, 32] }
}

/// A pack with this recogniser and weights from `seed`.
pub fn pack(m: &RecogniserManifest, seed: u64) -> Arc<Pack> {
    Pack::from_bytes(&pack_bytes(m, seed), Trust::Anyone).expect("a sound pack")
}

/// The same as a file.
pub fn pack_bytes(m: &RecogniserManifest, seed: u64) -> Vec<u8> {
    let mut rng = Rng(seed);
    let mut tensors: Vec<(String, DType, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut values = |name: String, dims: &[usize], scale: f32, offset: f32, rng: &mut Rng| {
        let count: usize = dims.iter().product();
        let bytes = (0..count).flat_map(|_| (offset + scale * rng.unit()).to_le_bytes()).collect();
        tensors.push((name, DType::F32, dims.to_vec(), bytes));
    };
    let (tokens, dim) = (m.tokens(), m.embed_dim);
    values("pos_embed".into(), &[tokens, dim], 0.2, 0.0, &mut rng);
    for name in
        (0..m.depth).flat_map(|b| [format!("blocks.{b}.norm1"), format!("blocks.{b}.norm2")])
    {
        values(format!("{name}.weight"), &[dim], 0.2, 1.0, &mut rng);
        values(format!("{name}.bias"), &[dim], 0.1, 0.0, &mut rng);
    }
    values("norm.weight".into(), &[dim], 0.2, 1.0, &mut rng);
    values("norm.bias".into(), &[dim], 0.1, 0.0, &mut rng);
    values("rpe.weight".into(), &[m.depth * m.num_heads * 49, 10], 1.5, 0.0, &mut rng);
    values("rpe.bias".into(), &[m.depth * m.num_heads * 49], 0.5, 0.0, &mut rng);

    let mut panelled = Vec::new();
    let mut linears = Vec::new();
    match &m.stem {
        Stem::Patch { size } => linears.push(("stem.0".to_owned(), dim, 3 * size * size, true)),
        Stem::Conv { channels } => {
            let inputs = std::iter::once(&3).chain(channels);
            for (i, (from, to)) in inputs.zip(channels).enumerate() {
                linears.push((format!("stem.{i}"), *to, 9 * from, true));
            }
        }
    }
    for b in 0..m.depth {
        linears.push((format!("blocks.{b}.qkv"), 3 * dim, dim, false));
        linears.push((format!("blocks.{b}.proj"), dim, dim, true));
        linears.push((format!("blocks.{b}.fc1"), m.mlp_dim, dim, true));
        linears.push((format!("blocks.{b}.fc2"), dim, m.mlp_dim, true));
    }
    linears.push(("head.0".into(), m.hidden_dim, tokens * dim, true));
    linears.push(("head.1".into(), m.output_dim, m.hidden_dim, true));
    for (name, n, k, bias) in linears {
        let scale = (3.0 / k as f32).sqrt();
        if bias {
            values(format!("{name}.bias"), &[n], 0.1, 0.0, &mut rng);
        }
        match m.precision {
            Precision::F32 => values(format!("{name}.weight"), &[n, k], scale, 0.0, &mut rng),
            Precision::Int8 => {
                values(format!("{name}.scale"), &[n], scale / 1270.0, scale / 127.0, &mut rng);
                let q: Vec<i8> = (0..n * k)
                    .map(|_| (rng.next() % 255) as u8 as i8)
                    .map(|q| q.max(-127))
                    .collect();
                let panels: Vec<u8> = pack_weights(&q, n, k).into_iter().map(|q| q as u8).collect();
                assert_eq!(panels.len(), packed_len(n, k));
                panelled.push((format!("{name}.weight"), DType::I8Panels, vec![n, k], panels));
            }
        }
    }

    tensors.extend(panelled);

    let head = Manifest {
        name: "reduced".into(),
        min_sdk: "0.1.0".into(),
        licence: "MIT".into(),
        provenance: "seeded numbers".into(),
        recogniser: Some(m.clone()),
        landmark: None,
        vectors: 0,
    };
    let mut writer = PackWriter::new(&head).expect("a sound manifest");
    for (name, dtype, dims, bytes) in tensors {
        writer.tensor(&name, dtype, &dims, bytes).expect("a sound tensor");
    }
    writer.finish(None)
}

/// Key points near the alignment template, in 0..1 of the crop.
pub fn keypoints(rng: &mut Rng) -> [[f32; 2]; 5] {
    keyface::geometry::TEMPLATE_112
        .map(|p| [p.x / 112.0 + 0.02 * rng.unit(), p.y / 112.0 + 0.02 * rng.unit()])
}

/// The same network with its int8 weights as f32.
#[allow(dead_code)] // not every test binary that shares this module compares precisions
pub fn dequantised(pack: &Pack) -> Arc<Pack> {
    let mut head = pack.manifest().clone();
    if let Some(m) = head.recogniser.as_mut() {
        m.precision = Precision::F32;
    }
    let mut writer = PackWriter::new(&head).expect("a sound manifest");
    for s in
        pack.sections().iter().filter(|s| s.dtype != DType::None && !s.name.ends_with(".scale"))
    {
        if s.dtype != DType::I8Panels {
            writer
                .tensor(&s.name, s.dtype, &s.dims, pack.bytes(s).to_vec())
                .expect("a sound tensor");
            continue;
        }
        let (n, k) = (s.dims[0], s.dims[1]);
        let panels: Vec<i8> = pack.bytes(s).iter().map(|b| *b as i8).collect();
        let q = keyface::kernel::unpack_weights(&panels, n, k);
        let scales =
            pack.f32(&s.name.replace(".weight", ".scale")).expect("a scale for every weight");
        let values =
            q.iter().enumerate().flat_map(|(i, q)| (f32::from(*q) * scales[i / k]).to_le_bytes());
        writer
            .tensor(&s.name, DType::F32, &s.dims, values.collect::<Vec<u8>>())
            .expect("a sound tensor");
    }
    Pack::from_bytes(&writer.finish(None), Trust::Anyone).expect("a sound pack")
}
