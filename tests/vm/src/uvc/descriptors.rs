//! What the camera says it is: USB 2.0 chapter 9 and UVC 1.1 section 3. Little-endian; lengths are patched in at the end.

use super::{Coding, Picture, CLOCK_HZ, INTERVALS};

/// Interface that carries controls.
pub(super) const CONTROL: u8 = 0;
/// Interface that carries frames.
pub(super) const STREAMING: u8 = 1;
/// Unit numbers of the controls.
pub(super) const CAMERA_TERMINAL: u8 = 1;
pub(super) const PROCESSING_UNIT: u8 = 2;
const OUTPUT_TERMINAL: u8 = 3;

const CS_INTERFACE: u8 = 0x24;
const VIDEO: u8 = 0x0e;

/// USB 2.0, miscellaneous class with interface association; vendor 1d6b (the kernel's own, for gadgets), product 0102.
pub(super) const DEVICE: [u8; 18] =
    [18, 1, 0x00, 0x02, 0xef, 2, 1, 64, 0x6b, 0x1d, 0x02, 0x01, 0x00, 0x01, 1, 2, 3, 1];

/// Codings in the order of their format numbers, which start at 1.
pub(super) fn codings(pictures: &[Picture]) -> Vec<Coding> {
    let mut found = Vec::new();
    for picture in pictures {
        if !found.contains(&picture.coding) {
            found.push(picture.coding);
        }
    }
    found
}

/// The configuration with all that follows it.
pub(super) fn configuration(pictures: &[Picture]) -> Vec<u8> {
    let mut all = vec![9, 2, 0, 0, 2, 1, 0, 0x80, 250];
    all.extend([8, 11, CONTROL, 2, VIDEO, 3, 0, 2]); // interface association
    all.extend([9, 4, CONTROL, 0, 0, VIDEO, 1, 0, 2]);
    all.extend(control_interface());
    all.extend([9, 4, STREAMING, 0, 1, VIDEO, 2, 0, 0]);
    all.extend(streaming_interface(pictures));
    all.extend([7, 5, 0x81, 2, 0x00, 0x02, 0]); // endpoint 1 in, bulk, 512 bytes
    put_u16(&mut all, 2);
    all
}

/// Camera terminal (auto exposure mode, exposure time) -> processing unit (brightness, gain, mains frequency) -> output.
fn control_interface() -> Vec<u8> {
    let mut out = vec![13, CS_INTERFACE, 1, 0x10, 0x01, 0, 0];
    out.extend(CLOCK_HZ.to_le_bytes());
    out.extend([1, STREAMING]);
    out.extend([
        18,
        CS_INTERFACE,
        2,
        CAMERA_TERMINAL,
        0x01,
        0x02,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        3,
        0x0a,
        0,
        0,
    ]);
    out.extend([12, CS_INTERFACE, 5, PROCESSING_UNIT, CAMERA_TERMINAL, 0, 0, 2, 0x01, 0x06, 0, 0]);
    out.extend([9, CS_INTERFACE, 3, OUTPUT_TERMINAL, 0x01, 0x01, 0, PROCESSING_UNIT, 0]);
    put_u16(&mut out, 5);
    out
}

fn streaming_interface(pictures: &[Picture]) -> Vec<u8> {
    let codings = codings(pictures);
    let n = codings.len() as u8;
    let mut out = vec![13 + n, CS_INTERFACE, 1, n, 0, 0, 0x81, 0, OUTPUT_TERMINAL, 0, 0, 0, 1];
    out.resize(13 + codings.len(), 0); // per format: no controls
    for (i, &coding) in codings.iter().enumerate() {
        let sizes: Vec<&Picture> = pictures.iter().filter(|p| p.coding == coding).collect();
        out.extend(format(i as u8 + 1, coding, sizes.len() as u8));
        for (j, picture) in sizes.into_iter().enumerate() {
            out.extend(frame(j as u8 + 1, picture));
        }
        out.extend([6, CS_INTERFACE, 0x0d, 1, 1, 4]); // BT.709 primaries, BT.601 matrix
    }
    put_u16(&mut out, 4);
    out
}

fn format(number: u8, coding: Coding, frames: u8) -> Vec<u8> {
    if coding == Coding::Jpeg {
        return vec![11, CS_INTERFACE, 6, number, frames, 1, 1, 0, 0, 0, 0];
    }
    let (name, bits) = if coding == Coding::Yuyv { (b"YUY2", 16) } else { (b"Y800", 8) };
    let mut out = vec![27, CS_INTERFACE, 4, number, frames];
    out.extend(name);
    out.extend([0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]); // the rest of the format's GUID
    out.extend([bits, 1, 0, 0, 0, 0]);
    out
}

fn frame(number: u8, picture: &Picture) -> Vec<u8> {
    let kind = if picture.coding == Coding::Jpeg { 7 } else { 5 };
    let bytes = picture.coding.frame_bytes(picture.width, picture.height);
    let mut out = vec![26 + 4 * INTERVALS.len() as u8, CS_INTERFACE, kind, number, 0];
    out.extend(picture.width.to_le_bytes());
    out.extend(picture.height.to_le_bytes());
    for value in [bytes * 8 * 15, bytes * 8 * 30, bytes, INTERVALS[0]] {
        out.extend(value.to_le_bytes());
    }
    out.push(INTERVALS.len() as u8);
    out.extend(INTERVALS.iter().flat_map(|i| i.to_le_bytes()));
    out
}

/// A text descriptor in UTF-16.
pub(super) fn text(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    let mut out = vec![0, 3];
    out.extend(units);
    out[0] = out.len() as u8;
    out
}

/// Writes the length of `bytes` at `at`.
fn put_u16(bytes: &mut [u8], at: usize) {
    let length = bytes.len() as u16;
    bytes[at..at + 2].copy_from_slice(&length.to_le_bytes());
}
