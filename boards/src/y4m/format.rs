//! The YUV4MPEG2 stream format: a line of parameters, then for each frame a line and its planes without padding.

use keyface::frame::{PixelFormat, YuvRange, MAX_SIDE};
use std::io::{self, BufRead, Read};

/// The longest line, end included.
const MAX_LINE: u64 = 1024;

/// The most pixels of a frame: 8K, 100 MB as I420.
const MAX_PIXELS: usize = 67_108_864;

/// What the stream's first line states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Pixels.
    pub(super) width: usize,
    /// Pixels.
    pub(super) height: usize,
    /// I420 or grey.
    pub(super) format: PixelFormat,
    /// Limited unless the line says otherwise.
    pub(super) range: YuvRange,
}

impl Header {
    /// Bytes of one frame.
    pub(super) fn frame_len(&self) -> usize {
        let plane = |i| {
            let (row, rows) = self.format.plane_size(i, self.width, self.height);
            row * rows
        };
        (0..self.format.planes()).map(plane).sum()
    }

    /// The parameters of a line such as `YUV4MPEG2 W640 H480 F30:1 Ip A1:1 C420jpeg`; the error is the cause in words.
    pub(super) fn parse(line: &str) -> Result<Header, String> {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("YUV4MPEG2") {
            return Err("not a YUV4MPEG2 stream".into());
        }
        let (mut width, mut height) = (None, None);
        // Without a C word it is 4:2:0.
        let (mut format, mut range) = (PixelFormat::I420, None);
        for word in words {
            let (tag, value) = word.split_at_checked(1).unwrap_or((word, ""));
            match tag {
                "W" => width = value.parse::<usize>().ok(),
                "H" => height = value.parse::<usize>().ok(),
                "C" => format = chroma(value)?,
                "I" if !matches!(value, "p" | "?") => {
                    return Err(format!("interlaced pictures (I{value}) are not supported"));
                }
                "X" if value == "COLORRANGE=FULL" => range = Some(YuvRange::Full),
                "X" if value == "COLORRANGE=LIMITED" => range = Some(YuvRange::Limited),
                // Rate, aspect and comments of other programs do not change how pixels lie.
                _ => {}
            }
        }
        let (Some(width), Some(height)) = (width, height) else {
            return Err("the stream does not state its width and height".into());
        };
        let sides = 1..=MAX_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) || width * height > MAX_PIXELS {
            return Err(format!("the stream's size of {width}x{height} is out of range"));
        }
        let range = range.unwrap_or(match format {
            PixelFormat::Grey8 => YuvRange::Full,
            _ => YuvRange::Limited,
        });
        Ok(Header { width, height, format, range })
    }

    /// Reads the first line.
    pub(super) fn read(stream: &mut impl BufRead) -> Result<Header, String> {
        let line = read_line(stream).map_err(|e| e.to_string())?;
        Header::parse(&line.ok_or("the stream is empty")?)
    }

    /// Reads the next frame into `frame`, which has [`Header::frame_len`] bytes. `false` at the end, between two frames.
    pub(super) fn read_frame(
        &self,
        stream: &mut impl BufRead,
        frame: &mut [u8],
    ) -> io::Result<bool> {
        let Some(line) = read_line(stream)? else { return Ok(false) };
        if line.split_ascii_whitespace().next() != Some("FRAME") {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "no FRAME line where one is due",
            ));
        }
        stream.read_exact(frame)?;
        Ok(true)
    }
}

fn chroma(value: &str) -> Result<PixelFormat, String> {
    match value {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Ok(PixelFormat::I420),
        "mono" => Ok(PixelFormat::Grey8),
        other => Err(format!("pixels as C{other} are not supported; 8-bit C420 and Cmono are")),
    }
}

/// A line without its end; `None` where the stream has ended.
fn read_line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if stream.take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let bad =
        || io::Error::new(io::ErrorKind::InvalidData, "a header line is cut short or too long");
    if line.pop() != Some(b'\n') {
        return Err(bad());
    }
    String::from_utf8(line).map(Some).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_real_programs_are_read() {
        let of = |line: &str| Header::parse(line).unwrap();
        let plain = of("YUV4MPEG2 W640 H480 F30:1 Ip A0:0 C420jpeg XYSCSS=420JPEG");
        assert_eq!((plain.width, plain.height, plain.format), (640, 480, PixelFormat::I420));
        assert_eq!((plain.frame_len(), plain.range), (460_800, YuvRange::Limited));
        assert_eq!(of("YUV4MPEG2 W3 H3 F25:1").frame_len(), 9 + 4 + 4);
        let grey = of("YUV4MPEG2 H2 W8 Cmono XCOLORRANGE=LIMITED");
        assert_eq!((grey.frame_len(), grey.range), (16, YuvRange::Limited));
        assert_eq!(of("YUV4MPEG2 W8 H8 I? XCOLORRANGE=FULL").range, YuvRange::Full);
    }

    #[test]
    fn what_cannot_be_shown_is_refused_with_the_cause() {
        for (line, cause) in [
            ("", "not a YUV4MPEG2"),
            ("RIFF W1 H1", "not a YUV4MPEG2"),
            ("YUV4MPEG2 W640", "width and height"),
            ("YUV4MPEG2 Wx H4", "width and height"),
            ("YUV4MPEG2 W0 H4", "out of range"),
            ("YUV4MPEG2 W16385 H4", "out of range"),
            ("YUV4MPEG2 W16384 H16384", "out of range"),
            ("YUV4MPEG2 W99999999999999999999 H1", "width and height"),
            ("YUV4MPEG2 W4 H4 C422", "C422"),
            ("YUV4MPEG2 W4 H4 C420p10", "C420p10"),
            ("YUV4MPEG2 W4 H4 It", "interlaced"),
            ("YUV4MPEG2 é W4 H4 Cé", "Cé"),
        ] {
            let refused = Header::parse(line).unwrap_err();
            assert!(refused.contains(cause), "{line}: {refused}");
        }
    }

    #[test]
    fn frames_are_read_whole_or_not_at_all() {
        let mut bytes = b"YUV4MPEG2 W2 H2 Cmono\nFRAME\nabcdFRAME Ip\nefgh".to_vec();
        let read = |bytes: &[u8]| {
            let mut stream = bytes;
            let header = Header::read(&mut stream)?;
            let (mut frame, mut frames) = (vec![0; header.frame_len()], Vec::new());
            while header.read_frame(&mut stream, &mut frame).map_err(|e| e.to_string())? {
                frames.push(frame.clone());
            }
            Ok::<_, String>(frames)
        };
        assert_eq!(read(&bytes).unwrap(), [b"abcd", b"efgh"]);
        let whole = bytes.len();
        for cut in 0..whole {
            let between = [22, 32].contains(&cut);
            assert_eq!(read(&bytes[..cut]).is_ok(), between, "cut at {cut}");
        }
        bytes.extend(b"FRANE\nabcd");
        assert!(read(&bytes).unwrap_err().contains("FRAME"));
        let endless = vec![b'x'; 5000];
        assert!(read(&endless).unwrap_err().contains("too long"));
    }
}
