//! Frames in: checked before a byte is read.

use crate::call::{borrow, call, check_size, flag, invalid, slice, Out};
use crate::status::kf_status;
use keyface::frame::{Frame, PixelFormat, Plane, Rotation, YuvRange};
use keyface::Result;

/// How pixels lie in memory. Names follow V4L2.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_pixel_format {
    /// One plane, 3 bytes a pixel: red, green, blue. V4L2: RGB3.
    Rgb8 = 1,
    /// One plane, 3 bytes a pixel: blue, green, red. V4L2: BGR3; OpenCV's usual order.
    Bgr8 = 2,
    /// One plane, 1 byte a pixel: luma. V4L2: GREY.
    Grey8 = 3,
    /// One plane, 4:2:2, even width: Y U Y V.
    Yuyv = 4,
    /// One plane, 4:2:2, even width: U Y V Y.
    Uyvy = 5,
    /// Two planes, 4:2:0: luma, then U and V interleaved.
    Nv12 = 6,
    /// Two planes, 4:2:0: luma, then V and U interleaved.
    Nv21 = 7,
    /// Three planes, 4:2:0: luma, U, V. V4L2: YU12.
    I420 = 8,
}

/// The rotation that makes the stored picture upright, clockwise.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_rotation {
    /// The picture is upright as stored.
    None = 0,
    /// A quarter turn clockwise.
    Cw90 = 1,
    /// Half a turn.
    Cw180 = 2,
    /// Three quarter turns clockwise.
    Cw270 = 3,
}

/// The BT.601 code range of luma and chroma.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_range {
    /// Limited for YUV formats, full for RGB and grey.
    Usual = 0,
    /// Luma 16..=235, chroma 16..=240: what cameras send.
    Limited = 1,
    /// 0..=255, as in JPEG.
    Full = 2,
}

/// Bytes of one plane.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct kf_plane {
    /// First byte of the first row. The caller's; read only during the call.
    pub data: *const u8,
    /// Bytes that may be read from there.
    pub length: usize,
    /// Bytes from the start of a row to the start of the next.
    pub stride: usize,
}

/// A camera picture, lent for the length of a call. Nothing is copied.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct kf_frame {
    /// sizeof(kf_frame).
    pub struct_size: u32,
    /// A kf_pixel_format.
    pub format: u32,
    /// Width as stored, in pixels, 1..=16384.
    pub width: u32,
    /// Height as stored, in pixels, 1..=16384.
    pub height: u32,
    /// A kf_rotation.
    pub rotation: u32,
    /// 1 if the picture, once turned, is mirrored left to right; otherwise 0.
    pub mirrored: u32,
    /// A kf_range.
    pub range: u32,
    /// Planes in use: as many as the format has, or 1 for planes that follow each other in one buffer, as V4L2's
    /// single-planar formats lay them.
    pub plane_count: u32,
    /// The planes; unused ones are ignored.
    pub planes: [kf_plane; 3],
    /// Time of capture in microseconds of a clock that never goes back.
    pub timestamp_us: u64,
}

pub(crate) fn format(format: u32) -> Result<PixelFormat> {
    Ok(match format {
        1 => PixelFormat::Rgb8,
        2 => PixelFormat::Bgr8,
        3 => PixelFormat::Grey8,
        4 => PixelFormat::Yuyv,
        5 => PixelFormat::Uyvy,
        6 => PixelFormat::Nv12,
        7 => PixelFormat::Nv21,
        8 => PixelFormat::I420,
        _ => return Err(invalid("an unknown pixel format")),
    })
}

/// The checked frame behind a pointer.
///
/// # Safety
/// `frame` is NULL or points to a frame whose planes are readable for their lengths, unchanged during `'a`.
pub(crate) unsafe fn lent<'a>(frame: *const kf_frame) -> Result<Frame<'a>> {
    // SAFETY: the caller's promise.
    let frame = unsafe { borrow(frame) }?;
    check_size::<kf_frame>(frame.struct_size)?;
    let format = format(frame.format)?;
    let rotation = match frame.rotation {
        0 => Rotation::None,
        1 => Rotation::Cw90,
        2 => Rotation::Cw180,
        3 => Rotation::Cw270,
        _ => return Err(invalid("an unknown rotation")),
    };
    let mirrored = flag(frame.mirrored)?;
    let range = match frame.range {
        0 => None,
        1 => Some(YuvRange::Limited),
        2 => Some(YuvRange::Full),
        _ => return Err(invalid("an unknown range")),
    };
    let count = frame.plane_count as usize;
    if count != format.planes() && count != 1 {
        return Err(invalid("the number of planes does not fit the pixel format"));
    }
    let mut planes = [Plane { data: &[], stride: 0 }; 3];
    for (to, from) in planes.iter_mut().zip(&frame.planes[..count]) {
        // SAFETY: the caller's promise.
        *to = Plane { data: unsafe { slice(from.data, from.length) }?, stride: from.stride };
    }
    let (width, height) = (frame.width as usize, frame.height as usize);
    let lent = if count == format.planes() {
        Frame::new(format, width, height, &planes[..count])?
    } else {
        Frame::contiguous(format, width, height, planes[0].stride, planes[0].data)?
    };
    let lent =
        lent.with_rotation(rotation).with_mirror(mirrored).with_timestamp(frame.timestamp_us);
    Ok(range.map_or(lent, |range| lent.with_range(range)))
}

/// Fills a frame for one buffer: upright, not mirrored, usual range, time 0. `stride` is the first plane's; planes follow
/// each other in the buffer. Checks nothing yet.
///
/// - Ownership: `frame` is the caller's and keeps `data`, which must outlive its use.
/// - NULL: `frame` may not be NULL; `data` is checked when the frame is used.
/// - Threads: any.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_frame_init(
    format: u32,
    width: u32,
    height: u32,
    stride: usize,
    data: *const u8,
    length: usize,
    frame: *mut kf_frame,
) -> kf_status {
    call("kf_frame_init", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(frame) }?;
        let none = kf_plane { data: std::ptr::null(), length: 0, stride: 0 };
        out.write(kf_frame {
            struct_size: size_of::<kf_frame>() as u32,
            format,
            width,
            height,
            rotation: kf_rotation::None as u32,
            mirrored: 0,
            range: kf_range::Usual as u32,
            plane_count: 1,
            planes: [kf_plane { data, length, stride }, none, none],
            timestamp_us: 0,
        });
        Ok(())
    })
}

/// Whether a frame is sound: what every function that takes one checks first.
///
/// - Ownership: `frame` and its planes are the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates nothing; reads no pixel.
/// - Blocks: no.
/// - Status: KF_STATUS_INVALID_FRAME.
#[no_mangle]
pub unsafe extern "C" fn kf_frame_check(frame: *const kf_frame) -> kf_status {
    // SAFETY: as the header asks.
    call("kf_frame_check", || unsafe { lent(frame) }.map(|_| ()))
}
