//! Photographs as a camera sends them.

use crate::uvc::{Coding, Picture};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{overlay, resize, FilterType};
use image::{Rgb, RgbImage};
use std::path::Path;

/// A photograph, fitted into a grey frame of this size.
pub fn load(path: &Path, width: u16, height: u16) -> image::ImageResult<RgbImage> {
    let (width, height) = (u32::from(width), u32::from(height));
    let photo = image::open(path)?.to_rgb8();
    let scale = (width as f32 / photo.width() as f32).min(height as f32 / photo.height() as f32);
    let (w, h) = ((photo.width() as f32 * scale) as u32, (photo.height() as f32 * scale) as u32);
    let small = resize(&photo, w.max(1), h.max(1), FilterType::Triangle);
    let mut frame = RgbImage::from_pixel(width, height, Rgb([90; 3]));
    overlay(&mut frame, &small, i64::from((width - w) / 2), i64::from((height - h) / 2));
    Ok(frame)
}

/// The frame in each coding.
pub fn codings(frame: &RgbImage) -> image::ImageResult<Vec<Picture>> {
    let all = [Coding::Jpeg, Coding::Yuyv, Coding::Grey];
    all.into_iter().map(|coding| Ok(picture(coding, frame, encode(coding, frame)?))).collect()
}

fn picture(coding: Coding, frame: &RgbImage, data: Vec<u8>) -> Picture {
    Picture { coding, width: frame.width() as u16, height: frame.height() as u16, data }
}

fn encode(coding: Coding, frame: &RgbImage) -> image::ImageResult<Vec<u8>> {
    Ok(match coding {
        Coding::Jpeg => {
            let mut out = Vec::new();
            JpegEncoder::new_with_quality(&mut out, 92).encode_image(frame)?;
            out
        }
        Coding::Grey => frame.pixels().map(|p| yuv(p)[0]).collect(),
        Coding::Yuyv => {
            let pixels: Vec<[u8; 3]> = frame.pixels().map(yuv).collect();
            pixels.chunks_exact(2).flat_map(|p| [p[0][0], p[0][1], p[1][0], p[0][2]]).collect()
        }
    })
}

/// BT.601, limited range.
fn yuv(pixel: &Rgb<u8>) -> [u8; 3] {
    let [r, g, b] = pixel.0.map(f32::from);
    let y = 16.0 + (65.738 * r + 129.057 * g + 25.064 * b) / 256.0;
    let u = 128.0 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256.0;
    let v = 128.0 + (112.439 * r - 94.154 * g - 18.285 * b) / 256.0;
    [y, u, v].map(|x| x.round().clamp(0.0, 255.0) as u8)
}
