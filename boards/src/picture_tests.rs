//! Pictures that should be read, and pictures that should be refused with the cause.

use super::*;
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};
use keyface::frame::PixelFormat;
use keyface::sample::Crop;

const CMYK: &[u8] = include_bytes!("../tests/data/cmyk.jpg");

fn cause(bytes: &[u8]) -> String {
    Picture::decode(bytes).map(|p| p.size()).unwrap_err()
}

fn png(pixels: &[u8], w: u32, h: u32, colour: ExtendedColorType) -> Vec<u8> {
    let mut out = Vec::new();
    image::codecs::png::PngEncoder::new(&mut out).write_image(pixels, w, h, colour).unwrap();
    out
}

fn jpeg_of(image: &RgbImage) -> Vec<u8> {
    let mut out = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, 95);
    encoder.write_image(image, image.width(), image.height(), ExtendedColorType::Rgb8).unwrap();
    out
}

/// Smooth, no symmetry, no two corners alike.
fn gradient(w: u32, h: u32) -> RgbImage {
    RgbImage::from_fn(w, h, |x, y| {
        Rgb([(x * 255 / w) as u8, (y * 255 / h) as u8, ((x + y) * 100 / (w + h)) as u8])
    })
}

/// A JPEG with an EXIF block that states `orientation`.
fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut tiff = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut out = jpeg[..2].to_vec();
    out.extend([0xFF, 0xE1]);
    out.extend((tiff.len() as u16 + 2).to_be_bytes());
    out.extend(tiff);
    out.extend(&jpeg[2..]);
    out
}

/// Overwrites the size in the frame header.
fn with_jpeg_size(jpeg: &[u8], w: u16, h: u16) -> Vec<u8> {
    let at = jpeg.windows(2).position(|m| m == [0xFF, 0xC0]).unwrap();
    let mut out = jpeg.to_vec();
    out[at + 5..at + 7].copy_from_slice(&h.to_be_bytes());
    out[at + 7..at + 9].copy_from_slice(&w.to_be_bytes());
    out
}

fn with_png_size(png: &[u8], w: u32, h: u32) -> Vec<u8> {
    let mut out = png.to_vec();
    out[16..20].copy_from_slice(&w.to_be_bytes());
    out[20..24].copy_from_slice(&h.to_be_bytes());
    out
}

#[test]
fn what_is_no_picture_is_named() {
    assert_eq!(cause(b""), "the file is empty");
    for bytes in [&b"hello"[..], b"GIF89a\x01\0\x01\0\0\0\0", b"BM", b"\xFF\xD8", b"%PDF-1.7"] {
        let cause = cause(bytes);
        assert!(cause.contains("not a JPEG or PNG") || cause.contains("cut short"), "{cause}");
    }
}

#[test]
fn cut_files_are_refused_wherever_they_end() {
    let image = gradient(64, 48);
    let jpeg = jpeg_of(&image);
    let png = png(&image, 64, 48, ExtendedColorType::Rgb8);
    assert!(Picture::decode(&jpeg).is_ok() && Picture::decode(&png).is_ok());
    for cut in 4..jpeg.len() {
        assert!(cause(&jpeg[..cut]).contains("cut short"), "JPEG cut at {cut}");
    }
    let data_end = png.windows(4).position(|w| w == b"IEND").unwrap() - 4 - 4 - 4;
    for cut in 8..data_end {
        assert!(cause(&png[..cut]).contains("damaged PNG"), "PNG cut at {cut}");
    }
}

#[test]
fn stated_sizes_are_checked_before_pixels() {
    let image = gradient(16, 16);
    let (jpeg, png) = (jpeg_of(&image), png(&image, 16, 16, ExtendedColorType::Rgb8));
    for (w, h) in [(20_000, 20_000), (20_000, 1), (9_000, 9_000)] {
        for bytes in [with_jpeg_size(&jpeg, w, h), with_png_size(&png, w.into(), h.into())] {
            let cause = cause(&bytes);
            assert!(cause.contains("too large") && cause.contains(&format!("{w}x{h}")), "{cause}");
        }
    }
    assert!(cause(&with_png_size(&png, u32::MAX, u32::MAX)).contains("too large"));
    for (w, h) in [(0, 0), (0, 5), (5, 0)] {
        for bytes in [with_jpeg_size(&jpeg, w, h), with_png_size(&png, w.into(), h.into())] {
            assert!(cause(&bytes).contains("empty"), "{w}x{h}");
        }
    }
}

#[test]
fn one_pixel_is_a_picture() {
    let one = Picture::decode(&png(&[1, 2, 3], 1, 1, ExtendedColorType::Rgb8)).unwrap();
    assert_eq!((one.size(), &one.rgb[..]), ((1, 1), &[1, 2, 3][..]));
    assert_eq!(Picture::decode(&jpeg_of(&RgbImage::new(1, 1))).unwrap().size(), (1, 1));
}

#[test]
fn every_depth_and_colour_becomes_rgb() {
    let read = |bytes: &[u8]| Picture::decode(bytes).unwrap().rgb;
    assert_eq!(read(&png(&[7, 200], 2, 1, ExtendedColorType::L8)), [7, 7, 7, 200, 200, 200]);
    let deep: Vec<u8> = [0x8000u16, 0, 0xFFFF].iter().flat_map(|v| v.to_ne_bytes()).collect();
    assert_eq!(read(&png(&deep, 1, 1, ExtendedColorType::Rgb16)), [128, 0, 255]);
    let grey: Vec<u8> = [0x4040u16].iter().flat_map(|v| v.to_ne_bytes()).collect();
    assert_eq!(read(&png(&grey, 1, 1, ExtendedColorType::L16)), [64, 64, 64]);
    // Clear, half and opaque blue over white.
    let alpha = [0, 0, 255, 0, 0, 0, 255, 128, 0, 0, 255, 255];
    assert_eq!(
        read(&png(&alpha, 3, 1, ExtendedColorType::Rgba8)),
        [255, 255, 255, 127, 127, 255, 0, 0, 255]
    );
    assert_eq!(read(&png(&[9, 0, 9, 255], 2, 1, ExtendedColorType::La8)), [255, 255, 255, 9, 9, 9]);
    // Left half red, right half white, by Adobe's inverted CMYK.
    let cmyk = Picture::decode(CMYK).unwrap();
    let pixel = |x: usize, y: usize| &cmyk.rgb[3 * (16 * y + x)..][..3];
    assert!(
        pixel(2, 8)[0] > 240 && pixel(2, 8)[1] < 16 && pixel(2, 8)[2] < 16,
        "{:?}",
        pixel(2, 8)
    );
    assert!(pixel(13, 8).iter().all(|&v| v > 240), "{:?}", pixel(13, 8));
}

#[test]
fn exif_orientation_makes_the_picture_upright() {
    let upright = gradient(112, 112);
    let reference = {
        let mut crop = Crop::new();
        crop.copy_aligned(&Picture::decode(&jpeg_of(&upright)).unwrap().frame()).unwrap();
        crop.pixels().to_vec()
    };
    use image::imageops::{flip_horizontal as mirror, rotate180, rotate270, rotate90};
    // Stored so that a viewer which follows the tag shows `upright`.
    let stored = [
        upright.clone(),
        mirror(&upright),
        rotate180(&upright),
        rotate180(&mirror(&upright)),
        rotate270(&mirror(&upright)),
        rotate270(&upright),
        rotate90(&mirror(&upright)),
        rotate90(&upright),
    ];
    for (i, image) in stored.iter().enumerate() {
        let picture = Picture::decode(&with_exif(&jpeg_of(image), i as u8 + 1)).unwrap();
        let drawn = picture.upright();
        let mut crop = Crop::new();
        crop.copy_aligned(&picture.frame()).unwrap();
        let worst =
            |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst(drawn.as_raw(), upright.as_raw()) < 12, "drawn, orientation {}", i + 1);
        assert!(worst(crop.pixels(), &reference) < 16, "frame, orientation {}", i + 1);
    }
    // Nonsense tags are no orientation.
    assert_eq!(Picture::decode(&with_exif(&jpeg_of(&upright), 77)).unwrap().size(), (112, 112));
    let wide = jpeg_of(&gradient(60, 20));
    assert_eq!(Picture::decode(&with_exif(&wide, 6)).unwrap().size(), (20, 60));
}

#[test]
fn a_frame_becomes_a_small_upright_picture() {
    // Left black, right white, stored lying on its side.
    let data: Vec<u8> = (0..20 * 40).map(|i| if i / 20 < 20 { 0 } else { 255 }).collect();
    let frame = Frame::packed(PixelFormat::Grey8, 20, 40, &data).unwrap();
    let picture = Picture::of(&frame.with_rotation(Rotation::Cw270), 640).upright();
    assert_eq!(picture.dimensions(), (40, 20));
    assert_eq!((picture.get_pixel(2, 10).0, picture.get_pixel(37, 10).0), ([0; 3], [255; 3]));
    let large = vec![90; 1280 * 720];
    let picture = Picture::of(&Frame::grey8(&large, 1280, 720).unwrap(), 640).upright();
    assert_eq!((picture.dimensions(), picture.get_pixel(639, 359).0), ((640, 360), [90; 3]));
}

#[test]
fn flipped_bytes_never_panic() {
    let image = gradient(24, 24);
    let mut state = 1u64;
    for bytes in [jpeg_of(&image), png(&image, 24, 24, ExtendedColorType::Rgb8), CMYK.to_vec()] {
        for _ in 0..400 {
            let mut bad = bytes.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bad.len();
                bad[at] ^= (state >> 20) as u8;
            }
            if let Ok(picture) = Picture::decode(&bad) {
                let (w, h) = picture.size();
                assert_eq!(picture.rgb.len(), 3 * w * h);
            }
        }
    }
}
