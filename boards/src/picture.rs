//! Picture files: JPEG and PNG into a frame, with every limit checked before pixels are decoded.

use crate::error::{Error, Result};
use crate::jpeg;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use keyface::error::ErrorKind;
use keyface::frame::{Frame, Rotation, MAX_SIDE};
use keyface::geometry::Similarity;
use keyface::sample::{warp_into, MAX_CROP_SIDE};
use std::fmt;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// The largest picture file in bytes.
const MAX_FILE: u64 = 128 << 20;

/// The most pixels of a picture: beyond every phone of today, and 192 MB as RGB.
const MAX_PIXELS: u64 = 64_000_000;

/// A decoded picture, which owns its pixels: 8-bit RGB as stored in the file, and how to make it upright.
pub struct Picture {
    rgb: Vec<u8>,
    width: usize,
    height: usize,
    rotation: Rotation,
    mirrored: bool,
}

impl fmt::Debug for Picture {
    /// The size only: pixels are biometric data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl Picture {
    /// Reads and decodes a file of at most 128 MiB.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Io`] where it cannot be read, [`ErrorKind::InvalidFrame`] and the cause where it is no
    /// JPEG or PNG, cut short, damaged, empty or too large.
    pub fn open(path: &Path) -> Result<Picture> {
        let name = path.display();
        let unreadable = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("{name}: {e}")),
            _ => Error::io(&name, &e),
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        Picture::decode(&bytes)
            .map_err(|cause| Error::new(ErrorKind::InvalidFrame, format!("{name}: {cause}")))
    }

    /// Decodes a file held in memory.
    ///
    /// # Errors
    /// The cause in words, without the file's name.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Picture, String> {
        if bytes.is_empty() {
            return Err("the file is empty".into());
        }
        if bytes.len() as u64 > MAX_FILE {
            return Err(format!("the file is larger than {} MiB", MAX_FILE >> 20));
        }
        let format = match image::guess_format(bytes) {
            Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png)) => format,
            _ => return Err("not a JPEG or PNG picture".into()),
        };
        let kind = if format == ImageFormat::Png { "PNG" } else { "JPEG" };
        // Sizes first: nothing is allocated for a picture that is too large, and no decoder asked about an empty one.
        if let Some((width, height)) = stated_size(format, bytes) {
            check_size(width, height)?;
        }
        if format == ImageFormat::Jpeg && !jpeg::is_complete(bytes) {
            return Err("the JPEG picture is cut short: it has no end marker".into());
        }
        let damaged = |e: ImageError| match e {
            ImageError::Unsupported(e) => format!("this form of {kind} is not supported: {e}"),
            e => format!("damaged {kind} picture: {e}"),
        };
        let reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut decoder = reader.into_decoder().map_err(damaged)?;
        let (width, height) = decoder.dimensions();
        check_size(width, height)?;
        let orientation = decoder.orientation().map_err(damaged)?;
        let (rotation, mirrored) = Rotation::from_exif(u32::from(orientation.to_exif()))
            .unwrap_or((Rotation::None, false));
        let has_alpha = decoder.color_type().has_alpha();
        let decoded = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        let rgb = if has_alpha { over_white(decoded) } else { decoded.into_rgb8().into_raw() };
        Ok(Picture { rgb, width: width as usize, height: height as usize, rotation, mirrored })
    }

    /// An upright picture of RGB pixels, `3 * width * height` bytes; sides of 1 to [`MAX_SIDE`].
    #[must_use]
    pub fn from_rgb(rgb: Vec<u8>, width: usize, height: usize) -> Picture {
        Picture { rgb, width, height, rotation: Rotation::None, mirrored: false }
    }

    /// The upright frame of any format, sampled down so that its long side is at most `longest` pixels (and [`MAX_CROP_SIDE`]): for people
    /// who look at what a camera sees. Allocates.
    #[must_use]
    pub fn of(frame: &Frame<'_>, longest: usize) -> Picture {
        let (w, h) = frame.upright_size();
        let side = w.max(h).min(longest.max(1)).min(MAX_CROP_SIDE);
        let scale = w.max(h) as f64 / side as f64;
        // Pixel centres: the first pixel shows the middle of the frame's pixels that it stands for.
        let shift = (scale - 1.0) / 2.0;
        let mut planes = vec![0u8; 3 * side * side];
        let drawn = Similarity::new(scale, 0.0, shift, shift)
            .is_some_and(|to_frame| warp_into(frame, &to_frame, side, &mut planes).is_ok());
        if !drawn {
            planes.fill(0);
        }
        let (width, height) =
            (((w as f64 / scale) as usize).max(1), ((h as f64 / scale) as usize).max(1));
        let mut rgb = Vec::with_capacity(3 * width * height);
        for y in 0..height {
            let row = |plane: usize| &planes[(plane * side + y) * side..][..width];
            let (red, green, blue) = (row(0), row(1), row(2));
            for x in 0..width {
                rgb.extend([red[x], green[x], blue[x]]);
            }
        }
        Picture::from_rgb(rgb, width, height)
    }

    /// The picture as the SDK takes it.
    ///
    /// # Panics
    /// For a picture of [`Picture::from_rgb`] whose sizes do not fit its pixels.
    #[must_use]
    pub fn frame(&self) -> Frame<'_> {
        Frame::rgb8(&self.rgb, self.width, self.height)
            .expect("the size was checked when the picture was decoded")
            .with_rotation(self.rotation)
            .with_mirror(self.mirrored)
    }

    /// Width and height of the upright picture.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.frame().upright_size()
    }

    /// The upright picture, to draw on.
    #[must_use]
    pub fn upright(&self) -> image::RgbImage {
        let (w, h) = self.size();
        let (dw, dh) = (self.width - 1, self.height - 1);
        image::RgbImage::from_fn(w as u32, h as u32, |u, v| {
            let (u, v) = (u as usize, v as usize);
            let u = if self.mirrored { w - 1 - u } else { u };
            let (x, y) = match self.rotation {
                Rotation::None => (u, v),
                Rotation::Cw90 => (v, dh - u),
                Rotation::Cw180 => (dw - u, dh - v),
                Rotation::Cw270 => (dw - v, u),
            };
            let at = 3 * (y * self.width + x);
            image::Rgb([self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]])
        })
    }
}

/// The size that the header states.
fn stated_size(format: ImageFormat, bytes: &[u8]) -> Option<(u32, u32)> {
    if format == ImageFormat::Jpeg {
        return jpeg::stated_size(bytes);
    }
    let field = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    (bytes.get(12..16)? == b"IHDR").then_some(())?;
    Some((field(16)?, field(20)?))
}

fn check_size(width: u32, height: u32) -> std::result::Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("the picture is empty: {width}x{height} pixels"));
    }
    let side = u64::from(width.max(height));
    if side > MAX_SIDE as u64 || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!(
            "the picture is too large: {width}x{height} pixels, at most {MAX_SIDE} a side and {} million in all",
            MAX_PIXELS / 1_000_000
        ));
    }
    Ok(())
}

/// Transparent parts become white, as a viewer shows them; the colour stored behind them is arbitrary.
fn over_white(image: DynamicImage) -> Vec<u8> {
    let rgba = image.into_rgba8();
    let blend = |c: u8, a: u8| {
        ((u32::from(c) * u32::from(a) + 255 * (255 - u32::from(a)) + 127) / 255) as u8
    };
    rgba.pixels()
        .flat_map(|p| [blend(p.0[0], p.0[3]), blend(p.0[1], p.0[3]), blend(p.0[2], p.0[3])])
        .collect()
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
