//! Cameras, files and pipes as sources of frames; feature `boards`.

use crate::call::{borrow, call, check_size, flag, give, invalid, release, text, Buffer, Out};
use crate::frame::{kf_frame, kf_pixel_format, kf_plane, kf_range, kf_rotation};
use crate::handle::Handle;
use crate::status::kf_status;
use keyface::frame::{Frame, PixelFormat, Rotation, YuvRange};
use keyface::{Error, Result};
use keyface_boards::settings::{Pace, Settings};
use keyface_boards::source::{Next, Source, State};
use std::ffi::c_char;
use std::time::Duration;

/// A source of frames: a camera, files, a program's output. One thread at a time. Only in libraries whose
/// kf_build_info.features say KF_FEATURE_BOARDS.
pub struct kf_camera(Handle<Camera>);

struct Camera {
    source: Source,
    /// A frame is lent: the source may not move on.
    lent: bool,
}

/// How frames are wanted. Fill it by kf_camera_settings_init; what is not named here has the defaults of `keyface-boards`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kf_camera_settings {
    /// sizeof(kf_camera_settings).
    pub struct_size: u32,
    /// Width in pixels; a camera that lacks this size gives its nearest. Default 640.
    pub width: u32,
    /// Height in pixels. Default 480.
    pub height: u32,
    /// Frames per second, 1..=240. Default 15.
    pub fps: u32,
    /// A kf_rotation: what makes the camera's pictures upright.
    pub rotation: u32,
    /// 1 if pictures are mirrored left to right after that, otherwise 0.
    pub mirrored: u32,
    /// 1 for files that come as fast as they are asked for, stamped by their number: for tests. Default 0.
    pub virtual_time: u32,
    /// Zero.
    pub reserved: u32,
}

/// How a source is.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_camera_state {
    /// At its end, or not opened yet.
    Closed = 0,
    /// Opened, format agreed; no frame so far.
    Configured = 1,
    /// Frames come.
    Streaming = 2,
    /// Opened, but no frame came within the stall time; it is being restarted.
    Stalled = 3,
    /// The camera, file or process is gone; it is being searched for.
    Lost = 4,
}

/// What kf_camera_take came to.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_camera_next {
    /// No frame within the time allowed; the source works on it, so ask again.
    Nothing = 0,
    /// A frame is lent: give it back.
    Frame = 1,
    /// The source has come to its end, which only files played once have.
    End = 2,
}

/// What a source has met since it was opened.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kf_camera_health {
    /// Frames lent.
    pub frames: u64,
    /// Frames refused: damaged, cut short, or marked so by the driver.
    pub damaged: u64,
    /// Sound frames passed over because a newer one was there.
    pub skipped: u64,
    /// Times that no frame came within the stall time.
    pub stalls: u64,
    /// Times that streaming was stopped and started again.
    pub restarts: u64,
    /// Times that the camera, file or process was lost.
    pub losses: u64,
    /// A kf_camera_state.
    pub state: u32,
    /// Zero.
    pub reserved: u32,
}

fn failed(e: &keyface_boards::error::Error) -> Error {
    log::error!("camera: {e}");
    Error::new(e.kind(), "the source of frames cannot be opened")
}

fn settings(from: &kf_camera_settings) -> Result<Settings> {
    check_size::<kf_camera_settings>(from.struct_size)?;
    let rotation = match from.rotation {
        0 => Rotation::None,
        1 => Rotation::Cw90,
        2 => Rotation::Cw180,
        3 => Rotation::Cw270,
        _ => return Err(invalid("an unknown rotation")),
    };
    Ok(Settings {
        size: (from.width, from.height),
        fps: from.fps,
        rotation,
        mirrored: flag(from.mirrored)?,
        pace: if flag(from.virtual_time)? { Pace::Virtual } else { Pace::Real },
        ..Settings::default()
    })
}

fn frame_from(frame: &Frame<'_>) -> kf_frame {
    let format = match frame.format() {
        PixelFormat::Rgb8 => kf_pixel_format::Rgb8,
        PixelFormat::Bgr8 => kf_pixel_format::Bgr8,
        PixelFormat::Grey8 => kf_pixel_format::Grey8,
        PixelFormat::Yuyv => kf_pixel_format::Yuyv,
        PixelFormat::Uyvy => kf_pixel_format::Uyvy,
        PixelFormat::Nv12 => kf_pixel_format::Nv12,
        PixelFormat::Nv21 => kf_pixel_format::Nv21,
        PixelFormat::I420 => kf_pixel_format::I420,
    };
    let rotation = match frame.rotation() {
        Rotation::None => kf_rotation::None,
        Rotation::Cw90 => kf_rotation::Cw90,
        Rotation::Cw180 => kf_rotation::Cw180,
        Rotation::Cw270 => kf_rotation::Cw270,
    };
    let range = match frame.range() {
        YuvRange::Limited => kf_range::Limited,
        YuvRange::Full => kf_range::Full,
    };
    let mut planes = [kf_plane { data: std::ptr::null(), length: 0, stride: 0 }; 3];
    for (to, from) in planes.iter_mut().zip(frame.planes()) {
        *to = kf_plane { data: from.data.as_ptr(), length: from.data.len(), stride: from.stride };
    }
    kf_frame {
        struct_size: size_of::<kf_frame>() as u32,
        format: format as u32,
        width: frame.width() as u32,
        height: frame.height() as u32,
        rotation: rotation as u32,
        mirrored: u32::from(frame.mirrored()),
        range: range as u32,
        plane_count: frame.planes().len() as u32,
        planes,
        timestamp_us: frame.timestamp_us(),
    }
}

/// Fills in the defaults.
///
/// - Ownership: `settings` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_camera_settings_init(settings: *mut kf_camera_settings) -> kf_status {
    call("kf_camera_settings_init", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(settings) }?;
        let usual = Settings::default();
        out.write(kf_camera_settings {
            struct_size: size_of::<kf_camera_settings>() as u32,
            width: usual.size.0,
            height: usual.size.1,
            fps: usual.fps,
            rotation: kf_rotation::None as u32,
            mirrored: 0,
            virtual_time: 0,
            reserved: 0,
        });
        Ok(())
    })
}

/// Opens what `selection` names: `v4l2:..`, `file:PATH`, `dir:PATH`, `loop:PATH`, `pipe:COMMAND`.
///
/// - Ownership: the caller frees `*camera` by kf_camera_free.
/// - NULL: `settings` may be NULL for the defaults.
/// - Threads: any.
/// - Memory: allocates; a camera's buffers are mapped.
/// - Blocks: opens the device.
/// - Status: KF_STATUS_IO, KF_STATUS_NOT_FOUND, KF_STATUS_INVALID_FRAME for a damaged picture. The log has the cause.
#[no_mangle]
pub unsafe extern "C" fn kf_camera_open(
    selection: *const c_char,
    selection_length: usize,
    settings: *const kf_camera_settings,
    camera: *mut *mut kf_camera,
) -> kf_status {
    call("kf_camera_open", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(camera) }?;
        // SAFETY: as the header asks.
        let selection = unsafe { text(selection, selection_length) }?;
        let settings = match settings.is_null() {
            true => Settings::default(),
            // SAFETY: as the header asks.
            false => self::settings(unsafe { borrow(settings) }?)?,
        };
        let source = Source::open(selection, &settings).map_err(|e| failed(&e))?;
        out.write(give(kf_camera(Handle::new("camera", Camera { source, lent: false }))));
        Ok(())
    })
}

/// Closes and frees a source. A frame that is lent ends with it.
///
/// - Ownership: takes `camera`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: closes the device, ends a program it started.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_camera_free(camera: *mut kf_camera) {
    // SAFETY: as the header asks.
    unsafe { release("kf_camera_free", camera) }
}

/// Waits at most `wait_ms` for the newest frame and lends it. `next` becomes a kf_camera_next; `frame` is written for
/// KF_CAMERA_NEXT_FRAME only. Until kf_camera_give_back the frame's planes stay as they are, and no other can be taken.
///
/// - Ownership: the planes are the source's (for a camera, the driver's buffer); give them back.
/// - NULL: nothing may be NULL.
/// - Threads: the source needs to be yours alone. Any thread may read the frame while it is lent.
/// - Memory: after the first frame allocates nothing, except that files are read and decoded.
/// - Blocks: up to `wait_ms`.
/// - Status: KF_STATUS_INVALID_ARGUMENT while a frame is lent.
#[no_mangle]
pub unsafe extern "C" fn kf_camera_take(
    camera: *mut kf_camera,
    wait_ms: u32,
    frame: *mut kf_frame,
    next: *mut u32,
) -> kf_status {
    call("kf_camera_take", || {
        // SAFETY: as the header asks.
        let (out, next) = unsafe { (Out::new(frame)?, Out::new(next)?) };
        // SAFETY: as the header asks.
        let mut camera = unsafe { borrow(camera.cast_const()) }?.0.exclusive()?;
        if camera.lent {
            return Err(invalid("a frame is lent: give it back first"));
        }
        let came = match camera.source.next(Duration::from_millis(u64::from(wait_ms))) {
            Next::Frame(frame) => {
                out.write(frame_from(&frame));
                kf_camera_next::Frame
            }
            Next::Nothing => kf_camera_next::Nothing,
            Next::End => kf_camera_next::End,
        };
        camera.lent = came == kf_camera_next::Frame;
        next.write(came as u32);
        Ok(())
    })
}

/// Gives the lent frame back: its planes may not be read any more.
///
/// - Ownership: the frame of the last kf_camera_take goes back to the source.
/// - NULL: nothing may be NULL.
/// - Threads: the source needs to be yours alone.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: KF_STATUS_INVALID_ARGUMENT if no frame is lent.
#[no_mangle]
pub unsafe extern "C" fn kf_camera_give_back(camera: *mut kf_camera) -> kf_status {
    call("kf_camera_give_back", || {
        // SAFETY: as the header asks.
        let mut camera = unsafe { borrow(camera.cast_const()) }?.0.exclusive()?;
        if !camera.lent {
            return Err(invalid("no frame is lent"));
        }
        camera.lent = false;
        Ok(())
    })
}

/// How the source is and what it has met.
///
/// - Ownership: `health` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: the source needs to be yours alone.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_camera_get_health(
    camera: *mut kf_camera,
    health: *mut kf_camera_health,
) -> kf_status {
    call("kf_camera_get_health", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(health) }?;
        // SAFETY: as the header asks.
        let camera = unsafe { borrow(camera.cast_const()) }?.0.exclusive()?;
        let met = camera.source.health();
        let state = match camera.source.state() {
            State::Closed => kf_camera_state::Closed,
            State::Configured => kf_camera_state::Configured,
            State::Streaming => kf_camera_state::Streaming,
            State::Stalled => kf_camera_state::Stalled,
            State::Lost => kf_camera_state::Lost,
        };
        out.write(kf_camera_health {
            frames: met.frames,
            damaged: met.damaged,
            skipped: met.skipped,
            stalls: met.stalls,
            restarts: met.restarts,
            losses: met.losses,
            state: state as u32,
            reserved: 0,
        });
        Ok(())
    })
}

/// What the source is, for people: device or file, format, size. `count` becomes the length in bytes; no NUL is written.
///
/// - Ownership: `buffer` is the caller's.
/// - NULL: `buffer` may be NULL if `capacity` is 0.
/// - Threads: the source needs to be yours alone.
/// - Memory: allocates the text, frees it.
/// - Blocks: no.
/// - Status: KF_STATUS_CAPACITY_EXCEEDED.
#[no_mangle]
pub unsafe extern "C" fn kf_camera_describe(
    camera: *mut kf_camera,
    buffer: *mut c_char,
    capacity: usize,
    count: *mut usize,
) -> kf_status {
    call("kf_camera_describe", || {
        // SAFETY: as the header asks.
        let out = unsafe { Buffer::new(buffer.cast::<u8>(), capacity, count) }?;
        // SAFETY: as the header asks.
        let camera = unsafe { borrow(camera.cast_const()) }?.0.exclusive()?;
        out.write(camera.source.describe().as_bytes())
    })
}
