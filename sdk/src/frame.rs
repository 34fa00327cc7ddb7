//! A borrowed camera picture: format, size, planes and how it is turned.
//!
//! A [`Frame`] copies nothing and owns nothing. Its constructors check every size against every plane, so the code
//! that samples it later cannot read outside the planes.

use crate::error::{Error, ErrorKind, Result};
use std::fmt;

/// The largest width and height of a frame in pixels.
pub const MAX_SIDE: usize = 16_384;

/// How pixels lie in memory. Names follow V4L2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// One plane, 3 bytes a pixel: red, green, blue.
    Rgb8,
    /// One plane, 3 bytes a pixel: blue, green, red.
    Bgr8,
    /// One plane, 1 byte a pixel: luma.
    Grey8,
    /// One plane, 4:2:2, even width, two pixels in 4 bytes: Y U Y V.
    Yuyv,
    /// One plane, 4:2:2, even width, two pixels in 4 bytes: U Y V Y.
    Uyvy,
    /// Two planes, 4:2:0: luma, then U and V interleaved.
    Nv12,
    /// Two planes, 4:2:0: luma, then V and U interleaved.
    Nv21,
    /// Three planes, 4:2:0: luma, U, V.
    I420,
}

impl PixelFormat {
    /// Every format.
    pub const ALL: [PixelFormat; 8] = [
        PixelFormat::Rgb8,
        PixelFormat::Bgr8,
        PixelFormat::Grey8,
        PixelFormat::Yuyv,
        PixelFormat::Uyvy,
        PixelFormat::Nv12,
        PixelFormat::Nv21,
        PixelFormat::I420,
    ];

    /// How many planes a frame of this format has: 1, 2 or 3.
    #[must_use]
    pub const fn planes(self) -> usize {
        match self {
            PixelFormat::Nv12 | PixelFormat::Nv21 => 2,
            PixelFormat::I420 => 3,
            _ => 1,
        }
    }

    /// Bytes of pixels in a row, and rows, of plane `plane` (0..3) of a picture of `width` x `height`.
    /// Chroma planes of an odd size round up.
    #[must_use]
    pub const fn plane_size(self, plane: usize, width: usize, height: usize) -> (usize, usize) {
        match (self, plane) {
            (PixelFormat::Rgb8 | PixelFormat::Bgr8, 0) => (width * 3, height),
            (PixelFormat::Yuyv | PixelFormat::Uyvy, 0) => (width * 2, height),
            (_, 0) => (width, height),
            (PixelFormat::I420, _) => (width.div_ceil(2), height.div_ceil(2)),
            _ => (width.div_ceil(2) * 2, height.div_ceil(2)),
        }
    }

    const fn default_range(self) -> YuvRange {
        match self {
            PixelFormat::Rgb8 | PixelFormat::Bgr8 | PixelFormat::Grey8 => YuvRange::Full,
            _ => YuvRange::Limited,
        }
    }
}

/// The rotation that makes the stored picture upright, clockwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Rotation {
    /// The picture is upright as stored.
    #[default]
    None,
    /// A quarter turn clockwise.
    Cw90,
    /// Half a turn.
    Cw180,
    /// Three quarter turns clockwise.
    Cw270,
}

impl Rotation {
    /// The rotation and mirror flag that undo an EXIF orientation of 1 to 8; `None` for other values.
    #[must_use]
    pub const fn from_exif(orientation: u32) -> Option<(Rotation, bool)> {
        Some(match orientation {
            1 => (Rotation::None, false),
            2 => (Rotation::None, true),
            3 => (Rotation::Cw180, false),
            4 => (Rotation::Cw180, true),
            5 => (Rotation::Cw90, true),
            6 => (Rotation::Cw90, false),
            7 => (Rotation::Cw270, true),
            8 => (Rotation::Cw270, false),
            _ => return None,
        })
    }
}

/// The BT.601 code range of luma and chroma.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum YuvRange {
    /// Luma 16..=235, chroma 16..=240: what cameras send.
    Limited,
    /// 0..=255, as in JPEG.
    Full,
}

/// Bytes of one plane.
#[derive(Clone, Copy)]
pub struct Plane<'a> {
    /// The rows, top to bottom as stored; the last row may end with its last pixel.
    pub data: &'a [u8],
    /// Bytes from the start of a row to the start of the next.
    pub stride: usize,
}

impl fmt::Debug for Plane<'_> {
    /// Sizes only: pixels are biometric data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plane")
            .field("len", &self.data.len())
            .field("stride", &self.stride)
            .finish()
    }
}

/// A borrowed picture. `Copy`, without allocation; may be shared between threads.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    format: PixelFormat,
    width: usize,
    height: usize,
    planes: [Plane<'a>; 3],
    rotation: Rotation,
    mirrored: bool,
    range: YuvRange,
    timestamp_us: u64,
}

const fn bad(detail: &'static str) -> Error {
    Error::new(ErrorKind::InvalidFrame, detail)
}

impl<'a> Frame<'a> {
    /// A frame of `width` x `height` pixels as stored, with one element of `planes` per plane of `format`.
    ///
    /// Rotation is none, the timestamp 0, the range [`YuvRange::Limited`] for YUV formats and full for grey.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidFrame`] where the size is 0 or above [`MAX_SIDE`], the width of a 4:2:2 format is odd,
    /// the number of planes is wrong, a stride is shorter than its row, or a plane shorter than its rows need
    /// (the last row needs no padding).
    pub fn new(
        format: PixelFormat,
        width: usize,
        height: usize,
        planes: &[Plane<'a>],
    ) -> Result<Self> {
        check_size(format, width, height)?;
        if planes.len() != format.planes() {
            return Err(bad("the number of planes does not fit the pixel format"));
        }
        let mut own = [Plane { data: &[], stride: 0 }; 3];
        for (i, plane) in planes.iter().enumerate() {
            let (row, rows) = format.plane_size(i, width, height);
            if plane.stride < row {
                return Err(bad(
                    ["stride shorter than a row", "chroma stride shorter than a row"][i.min(1)]
                ));
            }
            let need = plane.stride.checked_mul(rows - 1).and_then(|n| n.checked_add(row));
            if need.is_none_or(|need| plane.data.len() < need) {
                return Err(bad([
                    "plane shorter than its rows",
                    "chroma plane shorter than its rows",
                ][i.min(1)]));
            }
            own[i] = *plane;
        }
        Ok(Frame {
            format,
            width,
            height,
            planes: own,
            rotation: Rotation::None,
            mirrored: false,
            range: format.default_range(),
            timestamp_us: 0,
        })
    }

    /// A frame whose planes follow each other in one buffer, as V4L2's single-planar API lends it: each plane
    /// starts where `stride * rows` of the one before ends. `stride` is the first plane's; chroma planes of I420
    /// use half of it (rounded up), those of NV12 and NV21 the same, or the next even number where it is odd.
    ///
    /// # Errors
    /// As [`Frame::new`].
    pub fn contiguous(
        format: PixelFormat,
        width: usize,
        height: usize,
        stride: usize,
        data: &'a [u8],
    ) -> Result<Self> {
        check_size(format, width, height)?;
        let chroma = match format {
            PixelFormat::I420 => stride.div_ceil(2),
            _ => stride.checked_next_multiple_of(2).ok_or(bad("stride out of range"))?,
        };
        let mut planes = [Plane { data: &[], stride: 0 }; 3];
        let mut rest = data;
        for (i, plane) in planes.iter_mut().enumerate().take(format.planes()) {
            let stride = if i == 0 { stride } else { chroma };
            let (_, rows) = format.plane_size(i, width, height);
            let len = stride.checked_mul(rows).ok_or(bad("stride out of range"))?;
            let (head, tail) = rest.split_at(len.min(rest.len()));
            *plane = Plane { data: head, stride };
            rest = tail;
        }
        Frame::new(format, width, height, &planes[..format.planes()])
    }

    /// A frame without padding between rows, planes following each other: [`Frame::contiguous`] with the smallest stride.
    ///
    /// # Errors
    /// As [`Frame::new`].
    pub fn packed(
        format: PixelFormat,
        width: usize,
        height: usize,
        data: &'a [u8],
    ) -> Result<Self> {
        check_size(format, width, height)?;
        Frame::contiguous(format, width, height, format.plane_size(0, width, height).0, data)
    }

    /// Red, green, blue without padding: `3 * width * height` bytes.
    ///
    /// # Errors
    /// As [`Frame::new`].
    pub fn rgb8(data: &'a [u8], width: usize, height: usize) -> Result<Self> {
        Frame::packed(PixelFormat::Rgb8, width, height, data)
    }

    /// Luma without padding: `width * height` bytes.
    ///
    /// # Errors
    /// As [`Frame::new`].
    pub fn grey8(data: &'a [u8], width: usize, height: usize) -> Result<Self> {
        Frame::packed(PixelFormat::Grey8, width, height, data)
    }

    /// NV12 as cameras on boards lend it: luma and interleaved chroma in two planes.
    ///
    /// # Errors
    /// As [`Frame::new`].
    pub fn nv12(luma: Plane<'a>, chroma: Plane<'a>, width: usize, height: usize) -> Result<Self> {
        Frame::new(PixelFormat::Nv12, width, height, &[luma, chroma])
    }

    /// The same frame with the rotation that makes it upright.
    #[must_use]
    pub fn with_rotation(mut self, rotation: Rotation) -> Self {
        self.rotation = rotation;
        self
    }

    /// The same frame, mirrored left to right after its rotation where `mirrored`.
    #[must_use]
    pub fn with_mirror(mut self, mirrored: bool) -> Self {
        self.mirrored = mirrored;
        self
    }

    /// The same frame with another code range; it has no meaning for RGB.
    #[must_use]
    pub fn with_range(mut self, range: YuvRange) -> Self {
        self.range = range;
        self
    }

    /// The same frame with its time of capture in microseconds of a clock that never goes back.
    #[must_use]
    pub fn with_timestamp(mut self, microseconds: u64) -> Self {
        self.timestamp_us = microseconds;
        self
    }

    /// The pixel format.
    #[must_use]
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Width as stored, in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height as stored, in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Width and height of the upright picture: what all coordinates of faces refer to.
    #[must_use]
    pub fn upright_size(&self) -> (usize, usize) {
        match self.rotation {
            Rotation::None | Rotation::Cw180 => (self.width, self.height),
            Rotation::Cw90 | Rotation::Cw270 => (self.height, self.width),
        }
    }

    /// The planes, as many as the format has.
    #[must_use]
    pub fn planes(&self) -> &[Plane<'a>] {
        &self.planes[..self.format.planes()]
    }

    /// The rotation that makes the stored picture upright.
    #[must_use]
    pub fn rotation(&self) -> Rotation {
        self.rotation
    }

    /// Whether the picture is mirrored left to right after its rotation.
    #[must_use]
    pub fn mirrored(&self) -> bool {
        self.mirrored
    }

    /// The code range of luma and chroma.
    #[must_use]
    pub fn range(&self) -> YuvRange {
        self.range
    }

    /// Time of capture in microseconds, 0 where none was given.
    #[must_use]
    pub fn timestamp_us(&self) -> u64 {
        self.timestamp_us
    }

    /// How stored pixels follow from upright ones.
    pub(crate) fn orientation(&self) -> Orientation {
        let (w, h) = (self.width as i32 - 1, self.height as i32 - 1);
        let o = match self.rotation {
            Rotation::None => Orientation { origin: (0, 0), du: (1, 0), dv: (0, 1) },
            Rotation::Cw90 => Orientation { origin: (0, h), du: (0, -1), dv: (1, 0) },
            Rotation::Cw180 => Orientation { origin: (w, h), du: (-1, 0), dv: (0, -1) },
            Rotation::Cw270 => Orientation { origin: (w, 0), du: (0, 1), dv: (-1, 0) },
        };
        if !self.mirrored {
            return o;
        }
        let last = self.upright_size().0 as i32 - 1;
        let origin = (o.origin.0 + last * o.du.0, o.origin.1 + last * o.du.1);
        Orientation { origin, du: (-o.du.0, -o.du.1), dv: o.dv }
    }
}

/// Stored pixel (x, y) of upright pixel (u, v): `origin + u * du + v * dv`, exact for pixel centres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orientation {
    pub(crate) origin: (i32, i32),
    pub(crate) du: (i32, i32),
    pub(crate) dv: (i32, i32),
}

fn check_size(format: PixelFormat, width: usize, height: usize) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(bad("width or height is zero"));
    }
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(bad("width or height above 16384"));
    }
    if matches!(format, PixelFormat::Yuyv | PixelFormat::Uyvy) && width % 2 == 1 {
        return Err(bad("odd width in a 4:2:2 format"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(r: Result<Frame<'_>>) -> &'static str {
        let e = r.map(|_| ()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidFrame);
        e.detail()
    }

    #[test]
    fn every_format_takes_exactly_its_bytes_and_not_one_less() {
        for format in PixelFormat::ALL {
            for (w, h) in [(1, 1), (2, 2), (7, 5), (16, 9), (17, 8)] {
                if matches!(format, PixelFormat::Yuyv | PixelFormat::Uyvy) && w % 2 == 1 {
                    assert_eq!(
                        detail(Frame::packed(format, w, h, &[0; 4096])),
                        "odd width in a 4:2:2 format"
                    );
                    continue;
                }
                for pad in [0, 5] {
                    let need = |i: usize| {
                        let (row, rows) = format.plane_size(i, w, h);
                        (row + pad, (row + pad) * (rows - 1) + row)
                    };
                    let data = vec![0u8; 4096];
                    let mut planes: Vec<Plane<'_>> = (0..format.planes())
                        .map(|i| Plane { data: &data[..need(i).1], stride: need(i).0 })
                        .collect();
                    let frame = Frame::new(format, w, h, &planes).unwrap();
                    assert_eq!((frame.width(), frame.height(), frame.format()), (w, h, format));
                    for i in 0..planes.len() {
                        let whole = planes[i];
                        planes[i].data = &whole.data[1..];
                        assert!(detail(Frame::new(format, w, h, &planes))
                            .ends_with("plane shorter than its rows"));
                        planes[i] = Plane { data: whole.data, stride: need(i).0 - pad - 1 };
                        assert!(detail(Frame::new(format, w, h, &planes))
                            .ends_with("stride shorter than a row"));
                        planes[i] = whole;
                    }
                    planes.pop();
                    assert_eq!(
                        detail(Frame::new(format, w, h, &planes)),
                        "the number of planes does not fit the pixel format"
                    );
                }
            }
        }
    }

    #[test]
    fn hostile_sizes_and_strides_are_refused() {
        for format in PixelFormat::ALL {
            for (w, h) in
                [(0, 2), (2, 0), (MAX_SIDE + 2, 2), (2, MAX_SIDE + 1), (usize::MAX - 1, usize::MAX)]
            {
                assert!(
                    detail(Frame::packed(format, w, h, &[0; 64])).starts_with("width or height")
                );
            }
            for stride in [usize::MAX, usize::MAX / 2, usize::MAX / 3] {
                let planes = vec![Plane { data: &[0; 64], stride }; format.planes()];
                assert!(detail(Frame::new(format, 4, 4, &planes))
                    .ends_with("plane shorter than its rows"));
                assert!(Frame::contiguous(format, 4, 4, stride, &[0; 64]).is_err());
            }
            assert!(Frame::contiguous(format, 4, 4, 0, &[0; 64]).is_err());
        }
    }

    #[test]
    fn a_contiguous_buffer_is_split_as_v4l2_lays_it_out() {
        let data: Vec<u8> = (0..=255).collect();
        let nv12 = Frame::contiguous(PixelFormat::Nv12, 5, 3, 8, &data).unwrap();
        assert_eq!((nv12.planes()[1].data[0], nv12.planes()[1].stride), (24, 8));
        let i420 = Frame::contiguous(PixelFormat::I420, 5, 3, 8, &data).unwrap();
        assert_eq!(i420.planes().iter().map(|p| p.data[0]).collect::<Vec<_>>(), [0, 24, 32]);
        let tight = Frame::packed(PixelFormat::Nv21, 5, 3, &data[..15 + 2 * 6]).unwrap();
        assert_eq!((tight.planes()[1].data[0], tight.planes()[1].stride), (15, 6));
        assert!(Frame::packed(PixelFormat::Nv21, 5, 3, &data[..15 + 2 * 6 - 1]).is_err());
    }

    /// Stored as `rows`, read upright.
    fn upright(rotation: Rotation, mirrored: bool) -> Vec<String> {
        let frame =
            Frame::grey8(b"abcdef", 3, 2).unwrap().with_rotation(rotation).with_mirror(mirrored);
        let (o, (w, h)) = (frame.orientation(), frame.upright_size());
        let at = |u: i32, v: i32| {
            let (x, y) =
                (o.origin.0 + u * o.du.0 + v * o.dv.0, o.origin.1 + u * o.du.1 + v * o.dv.1);
            frame.planes()[0].data[(y * 3 + x) as usize] as char
        };
        (0..h as i32).map(|v| (0..w as i32).map(|u| at(u, v)).collect()).collect()
    }

    #[test]
    fn rotations_are_clockwise_and_mirrors_come_last() {
        assert_eq!(upright(Rotation::None, false), ["abc", "def"]);
        assert_eq!(upright(Rotation::Cw90, false), ["da", "eb", "fc"]);
        assert_eq!(upright(Rotation::Cw180, false), ["fed", "cba"]);
        assert_eq!(upright(Rotation::Cw270, false), ["cf", "be", "ad"]);
        let exif = |n| Rotation::from_exif(n).map(|(r, m)| upright(r, m));
        assert_eq!(exif(2).unwrap(), ["cba", "fed"]);
        assert_eq!(exif(4).unwrap(), ["def", "abc"]);
        assert_eq!(exif(5).unwrap(), ["ad", "be", "cf"]);
        assert_eq!(exif(7).unwrap(), ["fc", "eb", "da"]);
        assert_eq!(exif(0).or(exif(9)), None);
    }

    #[test]
    fn debug_output_shows_no_pixels() {
        let text = format!("{:?}", Frame::grey8(&[201; 64], 8, 8).unwrap());
        assert!(text.contains("len: 64") && !text.contains("201"), "{text}");
    }
}
