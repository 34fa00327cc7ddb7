//! How far an int8 pack is from its f32 reference, layer by layer.

use crate::quantise::Quantised;
use crate::run::Shots;
use anyhow::{ensure, Context, Result};
use keyface::engine::Recogniser;
use keyface::kernel::unpack_weights;
use keyface::pack::{DType, Pack};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// The comparison of two packs of one network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Model id of the reference.
    pub reference: String,
    /// Model id of the pack under test.
    pub candidate: String,
    /// Pictures compared.
    pub pictures: usize,
    /// Stored weights of every quantised layer.
    pub layers: Vec<Layer>,
    /// What every block puts out.
    pub blocks: Vec<Block>,
    /// Cosine between the two embeddings of a picture.
    pub embedding: Cosines,
}

/// Weights of a layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    /// Canonical name.
    pub name: String,
    /// Signal-to-noise ratio of the quantised weights in decibels.
    pub snr_db: f64,
}

/// Output of a block over all pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Block {
    /// Number of the block.
    pub block: usize,
    /// Signal-to-noise ratio of the activations in decibels.
    pub snr_db: f64,
    /// Lowest cosine of a token to its reference.
    pub worst_cosine: f64,
    /// That token's number.
    pub worst_token: usize,
    /// The picture it is in.
    pub worst_picture: usize,
}

/// Distribution of cosines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cosines {
    /// Mean.
    pub mean: f64,
    /// First percentile (nearest rank).
    pub percentile_1: f64,
    /// Lowest.
    pub worst: f64,
}

impl Cosines {
    fn of(mut all: Vec<f64>) -> Cosines {
        all.sort_by(f64::total_cmp);
        let rank = (all.len().div_ceil(100)).max(1) - 1;
        Cosines {
            mean: all.iter().sum::<f64>() / all.len() as f64,
            percentile_1: all[rank],
            worst: all[0],
        }
    }
}

/// Sums that make a signal-to-noise ratio.
#[derive(Default)]
struct Noise {
    signal: f64,
    noise: f64,
}

impl Noise {
    fn add(&mut self, want: &[f32], got: &[f32]) {
        for (w, g) in want.iter().zip(got) {
            let (w, g) = (f64::from(*w), f64::from(*g));
            self.signal += w * w;
            self.noise += (w - g) * (w - g);
        }
    }

    /// Decibels; 200 stands for "equal".
    fn decibels(&self) -> f64 {
        (10.0 * (self.signal / self.noise.max(f64::MIN_POSITIVE)).log10()).min(200.0)
    }
}

/// Compares `candidate` with `reference` on the pictures.
///
/// # Errors
/// When the packs are not of one architecture, a tensor is missing, or there are no pictures.
pub fn compare(reference: &Arc<Pack>, candidate: &Arc<Pack>, shots: &Shots<'_>) -> Result<Report> {
    let (left, right) = (Recogniser::new(reference)?, Recogniser::new(candidate)?);
    let (m, other) = (left.manifest(), right.manifest());
    let same = keyface::pack::RecogniserManifest {
        precision: m.precision,
        model_id: m.model_id.clone(),
        ..other.clone()
    };
    ensure!(*m == same, "the packs hold networks of different architecture");
    ensure!(!shots.is_empty(), "there are no pictures to compare on");
    let layers = layers(reference, candidate)?;
    let (mut a, mut b) = (left.session_with_blocks(1)?, right.session_with_blocks(1)?);
    let (mut want, mut got) = (vec![0.0; m.output_dim], vec![0.0; m.output_dim]);
    let mut noise: Vec<Noise> = (0..m.depth).map(|_| Noise::default()).collect();
    let mut blocks: Vec<Block> = (0..m.depth)
        .map(|block| Block {
            block,
            snr_db: 0.0,
            worst_cosine: 2.0,
            worst_token: 0,
            worst_picture: 0,
        })
        .collect();
    let mut cosines = Vec::with_capacity(shots.len());
    for i in 0..shots.len() {
        a.run(shots.image(i), &shots.keypoints(i), &mut want)?;
        b.run(shots.image(i), &shots.keypoints(i), &mut got)?;
        cosines.push(cosine(&want, &got));
        for (n, (x, y)) in a.blocks().iter().zip(b.blocks()).enumerate() {
            noise[n].add(x, y);
            let tokens = x.chunks_exact(m.embed_dim).zip(y.chunks_exact(m.embed_dim));
            for (t, (x, y)) in tokens.enumerate() {
                let c = cosine(x, y);
                if c < blocks[n].worst_cosine {
                    (blocks[n].worst_cosine, blocks[n].worst_token) = (c, t);
                    blocks[n].worst_picture = i;
                }
            }
        }
    }
    for (block, noise) in blocks.iter_mut().zip(&noise) {
        block.snr_db = noise.decibels();
    }
    Ok(Report {
        reference: m.model_id.clone(),
        candidate: other.model_id.clone(),
        pictures: shots.len(),
        layers,
        blocks,
        embedding: Cosines::of(cosines),
    })
}

fn layers(reference: &Pack, candidate: &Pack) -> Result<Vec<Layer>> {
    let mut found = Vec::new();
    for section in candidate.sections().iter().filter(|s| s.dtype == DType::I8Panels) {
        let layer = section.name.strip_suffix(".weight").unwrap_or(&section.name);
        let &[n, k] = section.dims.as_slice() else { continue };
        let values = unpack_weights(bytemuck::cast_slice(candidate.bytes(section)), n, k);
        let scales = candidate.f32(&format!("{layer}.scale"))?.to_vec();
        let mut noise = Noise::default();
        let want = reference
            .f32(&section.name)
            .with_context(|| format!("the reference holds no f32 {}", section.name))?;
        noise.add(want, &Quantised { values, scales }.dequantised());
        found.push(Layer { name: layer.to_owned(), snr_db: noise.decibels() });
    }
    Ok(found)
}

/// Cosine of the angle between two vectors; 1 for two zero vectors.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 {
        dot(a, b) / norms
    } else {
        1.0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:>12}", "weights of", "SNR dB")?;
        for l in &self.layers {
            writeln!(f, "{:<24} {:>12.1}", l.name, l.snr_db)?;
        }
        writeln!(
            f,
            "{:<24} {:>12} {:>14} {:>8} {:>8}",
            "output of", "SNR dB", "worst cosine", "token", "picture"
        )?;
        for b in &self.blocks {
            writeln!(
                f,
                "{:<24} {:>12.1} {:>14.6} {:>8} {:>8}",
                format!("blocks.{}", b.block),
                b.snr_db,
                b.worst_cosine,
                b.worst_token,
                b.worst_picture
            )?;
        }
        let e = &self.embedding;
        write!(
            f,
            "embedding cosine over {} pictures: mean {:.6}, 1st percentile {:.6}, worst {:.6}",
            self.pictures, e.mean, e.percentile_1, e.worst
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let c = Cosines::of((0..200).map(|i| 1.0 - f64::from(i) / 1000.0).collect());
        assert!((c.worst - 0.801).abs() < 1e-12);
        assert!((c.percentile_1 - 0.802).abs() < 1e-12);
        assert_eq!(Cosines::of(vec![0.5]), Cosines { mean: 0.5, percentile_1: 0.5, worst: 0.5 });
    }

    #[test]
    fn noise_a_hundredth_of_the_signal_is_twenty_decibels() {
        let mut noise = Noise::default();
        noise.add(&[1.0, 0.0], &[0.9, 0.0]);
        assert!((noise.decibels() - 20.0).abs() < 1e-5);
        assert_eq!(Noise { signal: 1.0, noise: 0.0 }.decibels(), 200.0);
    }
}
