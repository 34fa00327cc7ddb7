//! Any bytes as a JPEG or PNG file, as a motion JPEG frame and as a YUV4MPEG2 stream: a picture or an error.
#![no_main]

use keyface_boards::{fuzzing, picture::Picture};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Honest sizes above this are only slow.
    const MOST: u64 = 1 << 20;
    if let Some((w, h)) = size(data) {
        if u64::from(w) * u64::from(h) <= MOST {
            let _ = fuzzing::mjpg(data, (w, h));
            let _ = Picture::decode(data);
        }
    } else {
        assert!(!fuzzing::mjpg(data, (64, 48)));
        let png = data.get(16..24).map(|b| b.split_at(4));
        let side = |b: &[u8]| u64::from(u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        if png.is_none_or(|(w, h)| side(w).saturating_mul(side(h)) <= MOST) {
            let _ = Picture::decode(data);
        }
    }
    let _ = fuzzing::y4m(data, 1 << 16);
});

/// Width and height of the first frame header, found without a parser.
fn size(data: &[u8]) -> Option<(u32, u32)> {
    let at = data.windows(2).position(|m| m[0] == 0xFF && matches!(m[1], 0xC0..=0xC3))?;
    let field = |i: usize| {
        Some(u32::from(u16::from_be_bytes([*data.get(at + i)?, *data.get(at + i + 1)?])))
    };
    Some((field(7)?, field(5)?))
}
