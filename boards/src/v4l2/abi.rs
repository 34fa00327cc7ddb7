//! The kernel's video interface as plain functions on an open device: the only unsafe code of the camera, on the crate v4l's
//! structures and ioctl numbers.
//!
//! The crate's own `Device` and `Stream` are not used: they panic on texts that are not UTF-8, on control types and colour spaces they do
//! not know, and in `Drop` when a camera answers with anything but ENODEV; and a stream queues a buffer twice after a time-out.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use v4l::v4l2::vidioc::{self, _IOC_TYPE};
use v4l::v4l_sys::{
    v4l2_buffer, v4l2_capability, v4l2_ext_control, v4l2_ext_controls, v4l2_fmtdesc, v4l2_format,
    v4l2_frmsizeenum, v4l2_pix_format, v4l2_query_ext_ctrl, v4l2_requestbuffers, v4l2_streamparm,
};

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`
const CAPTURE: u32 = 1;
/// `V4L2_MEMORY_MMAP`
const MMAP: u32 = 1;
/// `V4L2_CTRL_FLAG_NEXT_CTRL | V4L2_CTRL_FLAG_NEXT_COMPOUND`
const NEXT: u32 = 0xC000_0000;
/// `V4L2_CAP_TIMEPERFRAME`
const TIME_PER_FRAME: u32 = 0x1000;

/// # Safety
/// `T` must be the structure that `request` is defined with, and pointers in it must be valid for what the driver does with them.
unsafe fn call<T>(file: &File, request: _IOC_TYPE, argument: &mut T) -> io::Result<()> {
    loop {
        // SAFETY: the kernel reads and writes size_of::<T>() bytes at the pointer, by this function's contract.
        match unsafe {
            v4l::v4l2::ioctl(file.as_raw_fd(), request, std::ptr::from_mut(argument).cast())
        } {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Waits for a frame, an error or a hang-up, for at most `wait`; `false` if nothing came.
pub(super) fn poll(file: &File, wait: std::time::Duration) -> io::Result<bool> {
    // Rounded up: a rest below a millisecond must not become a busy loop.
    let ms = i32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    let mut watched = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one live pollfd, as the count says.
    match unsafe { libc::poll(&mut watched, 1, ms) } {
        -1 => match io::Error::last_os_error() {
            e if e.kind() == io::ErrorKind::Interrupted => Ok(false),
            e => Err(e),
        },
        n => Ok(n > 0),
    }
}

pub(super) fn capabilities(file: &File) -> io::Result<v4l2_capability> {
    let mut argument = v4l2_capability::default();
    // SAFETY: QUERYCAP fills a v4l2_capability.
    unsafe { call(file, vidioc::VIDIOC_QUERYCAP, &mut argument)? };
    Ok(argument)
}

/// The `index`-th pixel format; EINVAL after the last.
pub(super) fn format_at(file: &File, index: u32) -> io::Result<v4l2_fmtdesc> {
    let mut argument = v4l2_fmtdesc { index, type_: CAPTURE, ..Default::default() };
    // SAFETY: ENUM_FMT fills a v4l2_fmtdesc.
    unsafe { call(file, vidioc::VIDIOC_ENUM_FMT, &mut argument)? };
    Ok(argument)
}

/// The `index`-th size of a format if sizes are a list; EINVAL after the last.
pub(super) fn size_at(
    file: &File,
    pixel_format: u32,
    index: u32,
) -> io::Result<Option<(u32, u32)>> {
    let mut argument = v4l2_frmsizeenum { index, pixel_format, ..Default::default() };
    // SAFETY: ENUM_FRAMESIZES fills a v4l2_frmsizeenum.
    unsafe { call(file, vidioc::VIDIOC_ENUM_FRAMESIZES, &mut argument)? };
    // SAFETY: both members of the union are plain integers, so any of them may be read; type 1 says that it is a discrete size.
    let size = unsafe { argument.__bindgen_anon_1.discrete };
    Ok((argument.type_ == 1).then_some((size.width, size.height)))
}

/// Asks for a format; the answer is what the driver will deliver.
pub(super) fn set_format(file: &File, wanted: v4l2_pix_format) -> io::Result<v4l2_pix_format> {
    let mut argument = v4l2_format { type_: CAPTURE, ..Default::default() };
    argument.fmt.pix = wanted;
    // SAFETY: S_FMT reads and fills a v4l2_format; for this type the union's member is `pix`, which holds no pointer.
    unsafe { call(file, vidioc::VIDIOC_S_FMT, &mut argument)? };
    // SAFETY: the driver answered with the same type, so `pix` is the member that is set; it is plain integers.
    Ok(unsafe { argument.fmt.pix })
}

/// Asks for a frame rate; the answer is the driver's, or `None` where it cannot be chosen.
pub(super) fn set_rate(file: &File, fps: u32) -> io::Result<Option<f64>> {
    let mut argument = v4l2_streamparm { type_: CAPTURE, ..Default::default() };
    // SAFETY: G_PARM fills a v4l2_streamparm.
    unsafe { call(file, vidioc::VIDIOC_G_PARM, &mut argument)? };
    // SAFETY: for this type the union's member is `capture`, plain integers.
    if unsafe { argument.parm.capture }.capability & TIME_PER_FRAME == 0 {
        return Ok(None);
    }
    argument.parm.capture.timeperframe =
        v4l::v4l_sys::v4l2_fract { numerator: 1, denominator: fps };
    // SAFETY: S_PARM reads and fills a v4l2_streamparm.
    unsafe { call(file, vidioc::VIDIOC_S_PARM, &mut argument)? };
    // SAFETY: as above.
    let interval = unsafe { argument.parm.capture }.timeperframe;
    Ok((interval.numerator > 0)
        .then(|| f64::from(interval.denominator) / f64::from(interval.numerator)))
}

/// The control after the one of this number; EINVAL after the last.
pub(super) fn control_after(file: &File, id: u32) -> io::Result<v4l2_query_ext_ctrl> {
    let mut argument = v4l2_query_ext_ctrl { id: id | NEXT, ..Default::default() };
    // SAFETY: QUERY_EXT_CTRL fills a v4l2_query_ext_ctrl.
    unsafe { call(file, vidioc::VIDIOC_QUERY_EXT_CTRL, &mut argument)? };
    Ok(argument)
}

/// Sets an integer, boolean, menu, button or 64-bit control.
pub(super) fn set_control(file: &File, id: u32, value: i64) -> io::Result<()> {
    let mut control = v4l2_ext_control { id, ..Default::default() };
    control.__bindgen_anon_1.value64 = value;
    let mut argument =
        v4l2_ext_controls { count: 1, controls: &raw mut control, ..Default::default() };
    // SAFETY: `controls` points to one live v4l2_ext_control, as `count` says. Its size is 0, so the driver takes a value and no pointer from
    // it: kernels answer ENOSPC for a control that is an array or a text.
    unsafe { call(file, vidioc::VIDIOC_S_EXT_CTRLS, &mut argument) }
}

/// Reads an integer, boolean, menu or 64-bit control.
pub(super) fn control(file: &File, id: u32, is_64_bit: bool) -> io::Result<i64> {
    let mut control = v4l2_ext_control { id, ..Default::default() };
    let mut argument =
        v4l2_ext_controls { count: 1, controls: &raw mut control, ..Default::default() };
    // SAFETY: as in `set_control`.
    unsafe { call(file, vidioc::VIDIOC_G_EXT_CTRLS, &mut argument)? };
    // SAFETY: both members are plain integers within the same, initialised eight bytes.
    Ok(unsafe {
        if is_64_bit {
            control.__bindgen_anon_1.value64
        } else {
            i64::from(control.__bindgen_anon_1.value)
        }
    })
}

/// Asks for `count` buffers; the answer is how many there are. 0 frees them.
pub(super) fn request_buffers(file: &File, count: u32) -> io::Result<u32> {
    let mut argument =
        v4l2_requestbuffers { count, type_: CAPTURE, memory: MMAP, ..Default::default() };
    // SAFETY: REQBUFS reads and fills a v4l2_requestbuffers.
    unsafe { call(file, vidioc::VIDIOC_REQBUFS, &mut argument)? };
    Ok(argument.count)
}

fn buffer(index: u32) -> v4l2_buffer {
    v4l2_buffer { index, type_: CAPTURE, memory: MMAP, ..Default::default() }
}

/// Hands a buffer to the driver.
pub(super) fn queue(file: &File, index: u32) -> io::Result<()> {
    // SAFETY: QBUF reads and fills a v4l2_buffer; a mapped single-planar one holds no pointer.
    unsafe { call(file, vidioc::VIDIOC_QBUF, &mut buffer(index)) }
}

/// Takes back the oldest filled buffer; `WouldBlock` where there is none.
pub(super) fn dequeue(file: &File) -> io::Result<v4l2_buffer> {
    let mut argument = buffer(0);
    // SAFETY: as in `queue`.
    unsafe { call(file, vidioc::VIDIOC_DQBUF, &mut argument)? };
    Ok(argument)
}

/// Starts or stops the stream. Stopping takes back every buffer.
pub(super) fn stream(file: &File, on: bool) -> io::Result<()> {
    let request = if on { vidioc::VIDIOC_STREAMON } else { vidioc::VIDIOC_STREAMOFF };
    let mut kind = CAPTURE as std::ffi::c_int;
    // SAFETY: both read an int.
    unsafe { call(file, request, &mut kind) }
}

/// A driver's buffer in this process's memory; unmapped when dropped.
///
/// The driver writes to it only while the buffer is queued, so it may be read while it is not.
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is only read through `&self`.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps buffer `index`.
    pub(super) fn new(file: &File, index: u32) -> io::Result<Mapping> {
        let mut argument = buffer(index);
        // SAFETY: QUERYBUF fills a v4l2_buffer, without pointers for this kind.
        unsafe { call(file, vidioc::VIDIOC_QUERYBUF, &mut argument)? };
        let len = argument.length as usize;
        // SAFETY: for mapped memory `offset` is the member that is set; it is a plain integer.
        let offset = i64::from(unsafe { argument.m.offset });
        // SAFETY: a new shared mapping at an address of the kernel's choice replaces nothing.
        let start = unsafe {
            v4l::v4l2::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                offset,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at zero"))?;
        Ok(Mapping { start, len })
    }

    /// The first `used` bytes, or all if it is shorter. The caller must not read them while the buffer is queued.
    pub(super) fn bytes(&self, used: usize) -> &[u8] {
        // SAFETY: `start` and `len` are of a live readable mapping, which outlives the borrow of self; mapped pages stay valid when the device is
        // stopped or unplugged. The queue borrows itself mutably to hand a buffer back, so no borrow is live while the driver writes.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), used.min(self.len)) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own and nothing borrows it any more. A failure leaks it, which harms nobody.
        let _ = unsafe { v4l::v4l2::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of an ioctl contains the size of its structure, so these are the kernel's sizes on 64-bit machines.
    #[test]
    fn ioctl_numbers_are_the_kernels() {
        for (ours, kernels) in [
            (vidioc::VIDIOC_QUERYCAP, 0x8068_5600),
            (vidioc::VIDIOC_ENUM_FMT, 0xC040_5602),
            (vidioc::VIDIOC_S_FMT, 0xC0D0_5605),
            (vidioc::VIDIOC_REQBUFS, 0xC014_5608),
            (vidioc::VIDIOC_QUERYBUF, 0xC058_5609),
            (vidioc::VIDIOC_QBUF, 0xC058_560F),
            (vidioc::VIDIOC_DQBUF, 0xC058_5611),
            (vidioc::VIDIOC_STREAMON, 0x4004_5612),
            (vidioc::VIDIOC_STREAMOFF, 0x4004_5613),
            (vidioc::VIDIOC_G_PARM, 0xC0CC_5615),
            (vidioc::VIDIOC_S_PARM, 0xC0CC_5616),
            (vidioc::VIDIOC_G_EXT_CTRLS, 0xC020_5647),
            (vidioc::VIDIOC_S_EXT_CTRLS, 0xC020_5648),
            (vidioc::VIDIOC_ENUM_FRAMESIZES, 0xC02C_564A),
            (vidioc::VIDIOC_QUERY_EXT_CTRL, 0xC0E8_5667),
        ] {
            assert_eq!(ours, kernels, "{ours:#x} {kernels:#x}");
        }
    }

    #[test]
    fn what_is_no_camera_gives_errors() {
        let file = File::open("/dev/null").unwrap();
        let not_a_camera = |e: io::Error| e.raw_os_error() == Some(libc::ENOTTY);
        assert!(capabilities(&file).is_err_and(not_a_camera));
        assert!(dequeue(&file).is_err_and(not_a_camera));
        assert!(stream(&file, false).is_err_and(not_a_camera));
        assert!(Mapping::new(&file, 0).is_err());
        assert!(control_after(&file, 0).is_err() && set_control(&file, 1, 1).is_err());
    }
}
