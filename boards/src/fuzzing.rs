//! Doors to the parsers that have no public one, for the fuzz targets: not part of the interface.

use crate::{mjpeg, y4m};

/// Decodes `bytes` as one motion JPEG frame of `size` pixels; whether that gave a frame.
#[must_use]
pub fn mjpg(bytes: &[u8], size: (u32, u32)) -> bool {
    let mut decoder = mjpeg::Decoder::default();
    let decoded = decoder.decode(bytes, size).is_ok();
    assert!(!decoded || decoder.frame().is_some(), "what was decoded is a frame");
    decoded
}

/// Reads `bytes` as a YUV4MPEG2 stream whose frames are at most `most` bytes long; the number of whole frames.
#[must_use]
pub fn y4m(bytes: &[u8], most: usize) -> usize {
    y4m::whole_frames(bytes, most)
}
