//! A USB video camera (UVC 1.1, bulk transfers) in user space. The kernel's `vhci_hcd` takes one end of a socket pair as a USB
//! port, and the kernel's own `uvcvideo` binds to what answers on the other end.
//!
//! Nothing goes over a network: the USB/IP messages travel through the socket pair.

mod camera;
mod descriptors;
mod link;

pub use camera::{Camera, Fault};
pub use link::Plug;

/// How a picture's bytes are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// A JPEG file.
    Jpeg,
    /// YUYV, 2 bytes a pixel.
    Yuyv,
    /// Luma, 1 byte a pixel.
    Grey,
}

impl Coding {
    /// The largest frame in bytes, as told to the host.
    #[must_use]
    pub fn frame_bytes(self, width: u16, height: u16) -> u32 {
        let pixels = u32::from(width) * u32::from(height);
        if self == Coding::Grey {
            pixels
        } else {
            pixels * 2
        }
    }
}

/// What the camera shows at one size in one coding.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Coding of `data`.
    pub coding: Coding,
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// The frame, sent as it is.
    pub data: Vec<u8>,
}

/// Most bytes of one bulk transfer, payload header included.
pub(crate) const MAX_PAYLOAD: u32 = 16_384;
/// The two frame intervals on offer, in 100 ns: 30 and 15 frames a second.
pub(crate) const INTERVALS: [u32; 2] = [333_333, 666_666];
/// Clock of the device's timestamps, Hz.
pub(crate) const CLOCK_HZ: u32 = 48_000_000;
