//! Pictures of motion JPEG: decoded strictly, and with the Huffman tables that many cameras leave out.
//!
//! A camera's frame reaches the program as it came over the wire, so what is cut short or damaged must be refused here: the drivers do not mark it.
//! A frame without its end marker is refused, and one that has it but lacks blocks; bytes after the marker are padding.

use crate::{jpeg, scan};
use keyface::frame::{Frame, PixelFormat, YuvRange};
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// The typical Huffman tables of ITU-T T.81, annex K.3, as one DHT segment: what a motion JPEG without tables means.
#[rustfmt::skip]
const TABLES: [u8; 420] = [
    0xFF, 0xC4, 0x01, 0xA2, 0x00, 0x00, 0x01, 0x05, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x01, 0x00, 0x03, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09,
    0x0A, 0x0B, 0x10, 0x00, 0x02, 0x01, 0x03, 0x03, 0x02, 0x04, 0x03, 0x05, 0x05, 0x04, 0x04, 0x00, 0x00, 0x01, 0x7D, 0x01,
    0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14, 0x32, 0x81,
    0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0A, 0x16, 0x17,
    0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46,
    0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A,
    0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95,
    0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7,
    0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9,
    0xDA, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9,
    0xFA, 0x11, 0x00, 0x02, 0x01, 0x02, 0x04, 0x04, 0x03, 0x04, 0x07, 0x05, 0x04, 0x04, 0x00, 0x01, 0x02, 0x77, 0x00, 0x01,
    0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32, 0x81, 0x08, 0x14,
    0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62, 0x72, 0xD1, 0x0A, 0x16, 0x24, 0x34, 0xE1, 0x25,
    0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46,
    0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A,
    0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94,
    0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6,
    0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8,
    0xD9, 0xDA, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];

/// A decoder with its buffers. Pixels do not allocate after the first frame of a size; the decoder's own tables do.
#[derive(Default)]
pub(crate) struct Decoder {
    pixels: Vec<u8>,
    with_tables: Vec<u8>,
    size: (usize, usize),
    grey: bool,
}

impl Decoder {
    /// Decodes one frame of exactly `size` pixels; [`Decoder::frame`] lends it. The error is the cause, without pixels.
    pub(crate) fn decode(&mut self, bytes: &[u8], size: (u32, u32)) -> Result<(), &'static str> {
        let size = (size.0 as usize, size.1 as usize);
        // Sizes first, so that no decoder allocates for what a damaged header states.
        match jpeg::stated_size(bytes) {
            Some((w, h)) if (w as usize, h as usize) == size => {}
            Some(_) => return Err("the picture has another size than the camera agreed to"),
            None => return Err("no JPEG picture"),
        }
        if !jpeg::is_complete(bytes) {
            return Err("cut short: no end marker");
        }
        let bytes = match scan_without_tables(bytes) {
            Some(at) => {
                self.with_tables.clear();
                self.with_tables.extend_from_slice(&bytes[..at]);
                self.with_tables.extend_from_slice(&TABLES);
                self.with_tables.extend_from_slice(&bytes[at..]);
                &self.with_tables
            }
            None => bytes,
        };
        // Before the decoder, which fills what is missing with grey.
        scan::is_whole(bytes).ok_or("damaged or cut short")?;
        let options = DecoderOptions::default()
            .set_strict_mode(true)
            .set_max_width(size.0)
            .set_max_height(size.1)
            .jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        decoder.decode_headers().map_err(|_| "damaged headers")?;
        self.grey = match decoder.input_colorspace() {
            Some(ColorSpace::Luma) => true,
            Some(ColorSpace::YCbCr | ColorSpace::RGB) => false,
            _ => return Err("colours of this kind are not supported"),
        };
        if self.grey {
            decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
        }
        let len = size.0 * size.1 * if self.grey { 1 } else { 3 };
        if decoder.output_buffer_size() != Some(len) {
            return Err("damaged headers");
        }
        self.size = size;
        self.pixels.resize(len, 0);
        decoder.decode_into(&mut self.pixels).map_err(|_| "damaged or cut short")
    }

    /// The frame that was decoded last.
    pub(crate) fn frame(&self) -> Option<Frame<'_>> {
        let format = if self.grey { PixelFormat::Grey8 } else { PixelFormat::Rgb8 };
        let frame = Frame::packed(format, self.size.0, self.size.1, &self.pixels).ok()?;
        Some(frame.with_range(YuvRange::Full))
    }
}

/// Where the first scan begins, if no Huffman table comes before it.
fn scan_without_tables(bytes: &[u8]) -> Option<usize> {
    let start = bytes.as_ptr() as usize;
    for segment in jpeg::segments(bytes) {
        match segment.marker {
            // Arithmetic coding needs no Huffman tables.
            0xC4 | 0xCC => return None,
            // Marker and length are the four bytes before the body.
            0xDA => return (segment.body.as_ptr() as usize).checked_sub(start + 4),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ExtendedColorType, ImageEncoder};

    const SIZE: (u32, u32) = (64, 48);
    /// With half as many chroma samples each way, and a restart marker after every other unit.
    const RESTARTS: &[u8] = include_bytes!("../tests/data/restart.jpg");

    fn jpeg_of(grey: bool) -> Vec<u8> {
        let (w, h) = SIZE;
        let colour = if grey { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        let channels = if grey { 1 } else { 3 };
        let pixels: Vec<u8> =
            (0..w * h * channels).map(|i| (i * 7 % 251) as u8 / 2 + (i / 64 % 100) as u8).collect();
        let mut out = Vec::new();
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, 80);
        encoder.write_image(&pixels, w, h, colour).unwrap();
        out
    }

    /// Takes out every segment of tables, as cameras do.
    fn without_tables(jpeg: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (jpeg[..2].to_vec(), 2);
        loop {
            let len = 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            if jpeg[at + 1] == 0xDA {
                out.extend(&jpeg[at..]);
                return out;
            }
            if jpeg[at + 1] != 0xC4 {
                out.extend(&jpeg[at..at + len]);
            }
            at += len;
        }
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut decoder = Decoder::default();
        decoder.decode(bytes, SIZE)?;
        let frame = decoder.frame().unwrap();
        assert_eq!((frame.width(), frame.height()), (64, 48));
        Ok(decoder.pixels)
    }

    #[test]
    fn missing_tables_are_put_in() {
        for grey in [false, true] {
            let whole = jpeg_of(grey);
            let cut = without_tables(&whole);
            assert!(cut.len() < whole.len() - 100);
            let reference = image::load_from_memory(&whole).unwrap().into_bytes();
            assert_eq!(decoded(&whole).unwrap(), reference);
            assert_eq!(decoded(&cut).unwrap(), reference);
        }
    }

    #[test]
    fn frames_that_are_cut_short_are_refused() {
        for jpeg in [jpeg_of(false), without_tables(&jpeg_of(false)), jpeg_of(true)] {
            for cut in 0..jpeg.len() {
                let part = &jpeg[..cut];
                assert!(decoded(part).is_err(), "cut at {cut} of {}", jpeg.len());
                // Drivers hand out buffers of one size: zeros, or what an earlier frame left behind.
                if cut % 16 == 0 {
                    let zeros = [part, &vec![0; jpeg.len() - cut]].concat();
                    assert!(decoded(&zeros).is_err(), "zeros from {cut} of {}", jpeg.len());
                }
            }
        }
    }

    #[test]
    fn bytes_after_the_end_are_padding() {
        let jpeg = jpeg_of(false);
        let sound = decoded(&jpeg).unwrap();
        for padding in [&[0; 300][..], &[0xFF; 300], &[0x55; 7], &jpeg[..200], &jpeg, b"\xFF\xD9"] {
            assert_eq!(decoded(&[&jpeg[..], padding].concat()).unwrap(), sound);
        }
    }

    /// What a camera does that loses packets and ends its frame all the same.
    #[test]
    fn an_end_marker_does_not_make_up_for_missing_blocks() {
        let whole = jpeg_of(false);
        for jpeg in [without_tables(&whole), whole, jpeg_of(true), RESTARTS.to_vec()] {
            let (scan, end) = (scan_of(&jpeg), jpeg.len() - 2);
            let packet = (end - scan) / 8;
            for cut in scan..end {
                let ended = [&jpeg[..cut], &[0xFF, 0xD9]].concat();
                assert!(decoded(&ended).is_err(), "ended at {cut} of {end}");
                let gap = [&jpeg[..cut], &jpeg[(cut + packet).min(end)..]].concat();
                assert!(decoded(&gap).is_err(), "a packet lost at {cut} of {end}");
            }
        }
    }

    /// Where the entropy-coded data begin.
    fn scan_of(jpeg: &[u8]) -> usize {
        let at = jpeg.windows(2).position(|m| m == [0xFF, 0xDA]).unwrap() + 2;
        at + usize::from(u16::from_be_bytes([jpeg[at], jpeg[at + 1]]))
    }

    #[test]
    fn restart_markers_are_followed() {
        let jpeg = RESTARTS;
        assert!(decoded(jpeg).is_ok());
        let marks: Vec<usize> = (scan_of(jpeg)..jpeg.len() - 1)
            .filter(|&i| jpeg[i] == 0xFF && (0xD0..=0xD7).contains(&jpeg[i + 1]))
            .collect();
        assert!(marks.len() > 4);
        // An interval is lost, with its marker.
        for pair in marks.windows(2) {
            let gap = [&jpeg[..pair[0]], &jpeg[pair[1]..]].concat();
            assert!(decoded(&gap).is_err(), "{pair:?}");
        }
    }

    #[test]
    fn other_sizes_and_colours_are_refused() {
        let mut decoder = Decoder::default();
        let jpeg = jpeg_of(false);
        for size in [(64, 64), (48, 64), (0, 0), (65, 48)] {
            assert!(decoder.decode(&jpeg, size).is_err());
        }
        assert!(decoder.decode(include_bytes!("../tests/data/cmyk.jpg"), (16, 16)).is_err());
        for bytes in [&b""[..], b"\xFF\xD8\xFF\xD9", &[0xFF; 100], b"\x89PNG\r\n\x1a\n"] {
            assert!(decoder.decode(bytes, SIZE).is_err());
        }
        assert!(decoder.decode(&jpeg, SIZE).is_ok(), "a refused frame harms no later one");
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let mut state = 7u64;
        let mut decoder = Decoder::default();
        for jpeg in [jpeg_of(false), without_tables(&jpeg_of(true))] {
            for _ in 0..1500 {
                let mut bad = jpeg.clone();
                for _ in 0..3 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = (state >> 33) as usize % bad.len();
                    bad[at] = (state >> 20) as u8;
                }
                let _ = decoder.decode(&bad, SIZE);
            }
        }
    }
}
