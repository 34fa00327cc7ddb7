//! The outer structure of JPEG files: what the decoder does not tell.

/// A marker of a JPEG file with what follows it up to the next; entropy-coded data belong to the scan's marker.
pub struct Segment<'a> {
    /// Its second byte.
    pub marker: u8,
    /// Without the two bytes of length.
    pub body: &'a [u8],
}

/// The segments of a JPEG file; ends where the bytes make no sense or run out.
pub fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    let mut rest = bytes.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        // A marker may be preceded by any number of fill bytes.
        let fill = rest.iter().take_while(|&&b| b == 0xFF).count();
        let marker = *rest.get(fill).filter(|_| fill > 0)?;
        let body = &rest[fill + 1..];
        if matches!(marker, 0x01 | 0xD0..=0xD9) {
            rest = body;
            return Some(Segment { marker, body: &[] });
        }
        let stated = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
        let mut end = stated.max(2);
        if marker == 0xDA {
            // Scan data last until a marker other than a stuffed zero or a restart.
            end = (end..body.len().saturating_sub(1))
                .find(|&i| body[i] == 0xFF && !matches!(body[i + 1], 0x00 | 0xD0..=0xD7 | 0xFF))
                .unwrap_or(body.len());
        }
        let (segment, tail) = body.split_at_checked(end)?;
        rest = tail;
        Some(Segment { marker, body: &segment[2.min(segment.len())..] })
    })
}

/// Whether a JPEG goes on to its end marker after a scan. Decoders fill the missing rows of one that does not with grey.
pub fn is_complete(bytes: &[u8]) -> bool {
    let mut scanned = false;
    for segment in segments(bytes) {
        match segment.marker {
            0xDA => scanned = true,
            0xD9 => return scanned,
            _ => {}
        }
    }
    false
}

/// Width and height that the frame header states.
pub fn stated_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let is_frame = |m: u8| matches!(m, 0xC0..=0xCF) && !matches!(m, 0xC4 | 0xC8 | 0xCC);
    let header = segments(bytes).find(|s| is_frame(s.marker))?.body;
    let field =
        |at: usize| Some(u32::from(u16::from_be_bytes([*header.get(at)?, *header.get(at + 1)?])));
    Some((field(3)?, field(1)?))
}
