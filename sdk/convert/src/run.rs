//! Runs a network on stored inputs.

use crate::npz::{Array, Npz, Values};
use anyhow::{ensure, Context, Result};
use keyface::engine::Recogniser;
use keyface::pack::Pack;
use std::sync::Arc;

/// Runs the recogniser of `pack` on `image` (uint8 `[N, 3, H, W]`) and `keypoints` (float32 `[N, 5, 2]`).
///
/// Returns `embedding` `[N, out]`, before normalisation, and with `blocks` also `block_out` `[depth, N, tokens, dim]`.
///
/// # Errors
/// When an array is missing or misshapen, or the engine refuses.
pub fn recogniser(pack: &Arc<Pack>, input: &Npz, blocks: bool, threads: usize) -> Result<Npz> {
    let recogniser = Recogniser::new(pack)?;
    let mut session = if blocks {
        recogniser.session_with_blocks(threads)?
    } else {
        recogniser.session(threads)?
    };
    let m = recogniser.manifest();
    let shots = Shots::of(input, m.input_size)?;
    let mut embedding = vec![0.0; shots.len() * m.output_dim];
    let per_block = m.tokens() * m.embed_dim;
    let mut block_out = vec![0.0; if blocks { m.depth * shots.len() * per_block } else { 0 }];
    for (i, out) in embedding.chunks_exact_mut(m.output_dim).enumerate() {
        session.run(shots.image(i), &shots.keypoints(i), out)?;
        for (b, block) in session.blocks().iter().enumerate() {
            block_out[(b * shots.len() + i) * per_block..][..per_block].copy_from_slice(block);
        }
    }
    let mut result = Npz::default();
    result.insert("embedding", Array::f32(&[shots.len(), m.output_dim], embedding));
    if blocks {
        let shape = [m.depth, shots.len(), m.tokens(), m.embed_dim];
        result.insert("block_out", Array::f32(&shape, block_out));
    }
    Ok(result)
}

/// Aligned crops and their key points from an archive.
pub struct Shots<'a> {
    images: &'a [u8],
    keypoints: &'a [f32],
    stride: usize,
}

impl<'a> Shots<'a> {
    /// The arrays `image` and `keypoints` of `input`, for square crops of `side` pixels.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub fn of(input: &'a Npz, side: usize) -> Result<Shots<'a>> {
        let images = image_array(input, side)?;
        let n = images.len() / (3 * side * side);
        let keypoints = input.get("keypoints")?;
        ensure!(
            keypoints.shape == [n, 5, 2],
            "keypoints have shape {:?}, not [{n}, 5, 2]",
            keypoints.shape
        );
        Ok(Shots { images, keypoints: keypoints.as_f32()?, stride: 3 * side * side })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.images.len() / self.stride
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Crop `i`, planar RGB.
    #[must_use]
    pub fn image(&self, i: usize) -> &'a [u8] {
        &self.images[i * self.stride..][..self.stride]
    }

    /// Key points of crop `i`, x and y in 0..1.
    #[must_use]
    pub fn keypoints(&self, i: usize) -> [[f32; 2]; 5] {
        let flat = &self.keypoints[10 * i..][..10];
        std::array::from_fn(|p| [flat[2 * p], flat[2 * p + 1]])
    }
}

/// `n` seeded pictures of no face with plausible key points, as `image` and `keypoints`.
#[must_use]
pub fn synthetic(n: usize, side: usize) -> Npz {
    let (mut images, mut keypoints) = (Vec::new(), Vec::new());
    for i in 0..n {
        let (image, points) = crate::assemble::synthetic(i as u64, side);
        images.extend(image);
        keypoints.extend_from_slice(points.as_flattened());
    }
    let mut npz = Npz::default();
    npz.insert("image", Array { shape: vec![n, 3, side, side], values: Values::U8(images) });
    npz.insert("keypoints", Array::f32(&[n, 5, 2], keypoints));
    npz
}

fn image_array(input: &Npz, side: usize) -> Result<&[u8]> {
    let image = input.get("image")?;
    let wanted = [3, side, side];
    ensure!(
        image.shape.len() == 4 && image.shape[1..] == wanted,
        "image has shape {:?}, not [N, 3, {side}, {side}]",
        image.shape
    );
    image.as_u8().context("image")
}
