//! From the bytes of a buffer to a frame, by the format that the driver agreed to.

use crate::error::{Error, Result};
use crate::mjpeg::Decoder;
use keyface::error::ErrorKind;
use keyface::frame::{Frame, PixelFormat, YuvRange};
use v4l::v4l_sys::v4l2_pix_format;

/// V4L2's formats that a frame can lie in as it is.
const DIRECT: [(&[u8; 4], PixelFormat); 9] = [
    (b"YUYV", PixelFormat::Yuyv),
    (b"UYVY", PixelFormat::Uyvy),
    (b"NV12", PixelFormat::Nv12),
    (b"NV21", PixelFormat::Nv21),
    (b"YU12", PixelFormat::I420),
    (b"I420", PixelFormat::I420),
    (b"RGB3", PixelFormat::Rgb8),
    (b"BGR3", PixelFormat::Bgr8),
    (b"GREY", PixelFormat::Grey8),
];

/// Whether frames can come in a format, by V4L2's four characters. `YU12` is V4L2's name of I420.
#[must_use]
pub fn is_supported(format: [u8; 4]) -> bool {
    matches!(&format, b"MJPG" | b"JPEG" | b"Y16 ") || DIRECT.iter().any(|(f, _)| **f == format)
}

/// Four characters for people; what cannot be printed becomes a question mark.
#[must_use]
pub fn name(format: [u8; 4]) -> String {
    let shown = |b: u8| if b.is_ascii_graphic() || b == b' ' { char::from(b) } else { '?' };
    format.map(shown).iter().collect::<String>().trim_end().to_owned()
}

enum Kind {
    /// Lent from the driver's buffer.
    Direct(PixelFormat),
    /// Decoded into a buffer of ours.
    Jpeg(Box<Decoder>),
    /// 16-bit grey, brought to 8 bits in a buffer of ours.
    Deep { bits: u32, fixed: bool, grey: Vec<u8> },
}

/// The format of a stream and what turns its buffers into frames.
pub(super) struct Layout {
    pub(super) format: [u8; 4],
    pub(super) size: (u32, u32),
    stride: usize,
    range: Option<YuvRange>,
    kind: Kind,
}

impl Layout {
    /// For the format that a driver answered. `y16_bits` as in [`crate::settings::Settings::y16_bits`].
    pub(super) fn new(answer: &v4l2_pix_format, y16_bits: u32) -> Result<Layout> {
        let format = answer.pixelformat.to_le_bytes();
        let kind = match (&format, DIRECT.iter().find(|(f, _)| **f == format)) {
            (_, Some(&(_, direct))) => Kind::Direct(direct),
            (b"MJPG" | b"JPEG", _) => Kind::Jpeg(Box::default()),
            (b"Y16 ", _) => {
                Kind::Deep { bits: y16_bits.max(8), fixed: y16_bits > 0, grey: Vec::new() }
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::InvalidFrame,
                    format!("the camera delivers {}, which is not supported", name(format)),
                ))
            }
        };
        // V4L2_QUANTIZATION_FULL_RANGE and _LIM_RANGE; V4L2_COLORSPACE_JPEG is full by definition.
        let range = match (answer.quantization, answer.colorspace) {
            (1, _) | (0, 7) => Some(YuvRange::Full),
            (2, _) => Some(YuvRange::Limited),
            _ => None,
        };
        let size = (answer.width, answer.height);
        let stride = answer.bytesperline as usize;
        let layout = Layout { format, size, stride, range, kind };
        layout.check_size()?;
        Ok(layout)
    }

    /// Refuses sizes that no frame can have, before buffers are made for them.
    fn check_size(&self) -> Result<()> {
        let format = match self.kind {
            Kind::Direct(format) => format,
            _ => PixelFormat::Grey8,
        };
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        // The planes are missing; any other complaint is about the size.
        match Frame::packed(format, width, height, &[]) {
            Err(e) if !e.detail().ends_with("shorter than its rows") => Err(Error::new(
                ErrorKind::InvalidFrame,
                format!("the camera delivers {width}x{height} {}: {e}", name(self.format)),
            )),
            _ => Ok(()),
        }
    }

    /// Checks a buffer and decodes it where it must be; the error is the cause.
    pub(super) fn take(&mut self, bytes: &[u8]) -> std::result::Result<(), &'static str> {
        let (size, stride) = (self.size, self.stride);
        let (width, height) = (size.0 as usize, size.1 as usize);
        match &mut self.kind {
            Kind::Jpeg(decoder) => decoder.decode(bytes, size),
            Kind::Direct(_) => self.direct(bytes).map(|_| ()).ok_or("the frame is cut short"),
            Kind::Deep { bits, fixed, grey } => {
                let stride = stride.max(2 * width);
                let need = stride * (height - 1) + 2 * width;
                let bytes = bytes.get(..need).ok_or("the frame is cut short")?;
                let rows = || bytes.chunks(stride).map(|row| &row[..2 * width]);
                let sample = |pair: &[u8]| u16::from_le_bytes([pair[0], pair[1]]);
                if !*fixed {
                    // The depth never falls again, so that brightness does not jump to and fro.
                    let largest = rows().flat_map(|r| r.chunks_exact(2).map(sample)).max();
                    *bits = (*bits).max(16 - largest.unwrap_or(0).leading_zeros());
                }
                let shift = *bits - 8;
                grey.clear();
                grey.extend(rows().flat_map(|row| row.chunks_exact(2)).map(|pair| {
                    // Samples above a fixed depth are as bright as can be.
                    u8::try_from(sample(pair) >> shift).unwrap_or(u8::MAX)
                }));
                Ok(())
            }
        }
    }

    fn direct<'a>(&self, bytes: &'a [u8]) -> Option<Frame<'a>> {
        let Kind::Direct(format) = self.kind else { return None };
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let least = format.plane_size(0, width, height).0;
        // Some drivers leave the stride 0 where rows are packed.
        let stride = if self.stride == 0 { least } else { self.stride };
        let frame = Frame::contiguous(format, width, height, stride, bytes).ok()?;
        Some(self.range.map_or(frame, |range| frame.with_range(range)))
    }

    /// The frame in a buffer that [`Layout::take`] accepted last.
    pub(super) fn frame<'a>(&'a self, bytes: &'a [u8]) -> Option<Frame<'a>> {
        match &self.kind {
            Kind::Direct(_) => self.direct(bytes),
            Kind::Jpeg(decoder) => decoder.frame(),
            Kind::Deep { grey, .. } => {
                Frame::grey8(grey, self.size.0 as usize, self.size.1 as usize).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(format: &[u8; 4], size: (u32, u32), stride: u32) -> v4l2_pix_format {
        v4l2_pix_format {
            width: size.0,
            height: size.1,
            pixelformat: u32::from_le_bytes(*format),
            bytesperline: stride,
            ..Default::default()
        }
    }

    #[test]
    fn every_direct_format_keeps_its_bytes_and_stride() {
        let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
        for (format, pixel_format) in DIRECT {
            let row = pixel_format.plane_size(0, 16, 4).0 as u32;
            for (stride, seen) in [(0, row), (row, row), (row + 8, row + 8)] {
                let mut layout = Layout::new(&answer(format, (16, 4), stride), 0).unwrap();
                layout.take(&bytes).unwrap();
                let frame = layout.frame(&bytes).unwrap();
                assert_eq!((frame.format(), frame.width(), frame.height()), (pixel_format, 16, 4));
                assert_eq!(frame.planes()[0].stride, seen as usize);
                assert_eq!(frame.planes()[0].data.as_ptr(), bytes.as_ptr(), "no copy");
            }
            let mut layout = Layout::new(&answer(format, (16, 4), row), 0).unwrap();
            let whole: usize = (0..pixel_format.planes())
                .map(|i| pixel_format.plane_size(i, 16, 4))
                .map(|(row, rows)| row * rows)
                .sum();
            assert!(layout.take(&bytes[..whole]).is_ok());
            assert!(layout.take(&bytes[..whole - 1]).is_err(), "{}", name(*format));
            assert!(layout.take(&[]).is_err());
        }
    }

    #[test]
    fn the_code_range_follows_the_driver() {
        let range = |quantization, colorspace| {
            let answer = v4l2_pix_format { quantization, colorspace, ..answer(b"YUYV", (2, 1), 4) };
            Layout::new(&answer, 0).unwrap().frame(&[0; 4]).unwrap().range()
        };
        assert_eq!(range(0, 8), YuvRange::Limited);
        assert_eq!(range(1, 8), YuvRange::Full);
        assert_eq!(range(2, 7), YuvRange::Limited);
        assert_eq!(range(0, 7), YuvRange::Full);
    }

    #[test]
    fn sixteen_bits_become_eight_by_the_depth_that_is_there() {
        let take = |layout: &mut Layout, samples: [u16; 4]| {
            let bytes: Vec<u8> = samples.iter().flat_map(|v| v.to_le_bytes()).collect();
            layout.take(&bytes).unwrap();
            layout.frame(&bytes).unwrap().planes()[0].data.to_vec()
        };
        let mut auto = Layout::new(&answer(b"Y16 ", (2, 2), 4), 0).unwrap();
        assert_eq!(take(&mut auto, [0, 1, 128, 255]), [0, 1, 128, 255]);
        assert_eq!(take(&mut auto, [0, 4, 512, 1023]), [0, 1, 128, 255]);
        assert_eq!(take(&mut auto, [0, 4, 8, 12]), [0, 1, 2, 3], "the depth does not fall");
        assert_eq!(take(&mut auto, [0, 256, 32768, 65535]), [0, 1, 128, 255]);
        let mut fixed = Layout::new(&answer(b"Y16 ", (2, 2), 4), 10).unwrap();
        assert_eq!(take(&mut fixed, [0, 4, 1023, 65535]), [0, 1, 255, 255]);
        assert!(fixed.take(&[0; 7]).is_err());
        let mut padded = Layout::new(&answer(b"Y16 ", (1, 2), 6), 8).unwrap();
        padded.take(&[1, 0, 9, 9, 9, 9, 2, 0]).unwrap();
        assert_eq!(padded.frame(&[]).unwrap().planes()[0].data, [1, 2]);
    }

    #[test]
    fn what_no_frame_can_be_is_refused() {
        for (format, size) in [
            (b"YUYV", (641, 480)),
            (b"YUYV", (0, 480)),
            (b"MJPG", (640, 0)),
            (b"GREY", (20_000, 480)),
            (b"Y16 ", (4, 20_000)),
            (b"H264", (640, 480)),
            (b"RG10", (640, 480)),
            (b"\0\0\0\0", (640, 480)),
        ] {
            let refused = Layout::new(&answer(format, size, 0), 0).map(|_| ()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidFrame, "{format:?}");
        }
        assert!(is_supported(*b"MJPG") && is_supported(*b"Y16 ") && !is_supported(*b"H264"));
        assert_eq!((name(*b"Y16 ").as_str(), name(*b"a\0b\xFF").as_str()), ("Y16", "a?b?"));
    }
}
