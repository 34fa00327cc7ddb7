//! The aligned crop and its buffer.

use super::warp::warp_into;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::geometry::{Point, Similarity};
use std::fmt;
use zeroize::Zeroize;

/// Width and height of an aligned crop, in pixels.
pub const CROP_SIDE: usize = 112;

/// An aligned face of 112 x 112 pixels: planar red, green, blue `[3][112][112]`, 0..=255.
///
/// Biometric data: one heap buffer, made once and reused, wiped on drop, never printed.
pub struct Crop {
    pixels: Box<[u8]>,
}

impl Crop {
    /// A black crop. The only allocation: 37,632 bytes.
    #[must_use]
    pub fn new() -> Self {
        Crop { pixels: vec![0; 3 * CROP_SIDE * CROP_SIDE].into_boxed_slice() }
    }

    /// Fills the crop with what `to_frame` (crop pixels to upright frame pixels) shows of `frame`: [`warp_into`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where the transform is out of [`warp_into`]'s range.
    pub fn warp(&mut self, frame: &Frame<'_>, to_frame: &Similarity) -> Result<()> {
        warp_into(frame, to_frame, CROP_SIDE, &mut self.pixels)
    }

    /// Fills the crop with a picture that is aligned already, pixel by pixel.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where the upright picture is not 112 x 112.
    pub fn copy_aligned(&mut self, frame: &Frame<'_>) -> Result<()> {
        if frame.upright_size() != (CROP_SIDE, CROP_SIDE) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "an aligned picture has 112 x 112 pixels",
            ));
        }
        self.warp(frame, &Similarity::IDENTITY)
    }

    /// The pixels: `[3][112][112]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Luma (BT.601, full range, 0..=255) at column `x` and row `y`, each below 112.
    ///
    /// # Panics
    /// Where `x` or `y` is 112 or more.
    #[must_use]
    pub fn luma(&self, x: usize, y: usize) -> u8 {
        assert!(x < CROP_SIDE && y < CROP_SIDE);
        let at = |plane: usize| u32::from(self.pixels[(plane * CROP_SIDE + y) * CROP_SIDE + x]);
        ((77 * at(0) + 150 * at(1) + 29 * at(2) + 128) >> 8) as u8
    }
}

impl Default for Crop {
    fn default() -> Self {
        Crop::new()
    }
}

impl Drop for Crop {
    fn drop(&mut self) {
        self.pixels.zeroize();
    }
}

impl fmt::Debug for Crop {
    /// No pixels: they are biometric data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crop(112x112)")
    }
}

/// Crop pixels as the recogniser takes key points: 0..=1 over the crop's side.
#[must_use]
pub fn normalised(point: Point) -> [f32; 2] {
    [point.x / CROP_SIDE as f32, point.y / CROP_SIDE as f32]
}
