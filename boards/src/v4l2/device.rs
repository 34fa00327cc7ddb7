//! An open camera: what it says of itself, its formats and controls.

use super::abi;
use crate::error::{Error, Result};
use crate::settings::Control;
use keyface::error::ErrorKind;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use v4l::capability::Flags;
use v4l::v4l_sys::v4l2_pix_format;

/// Entries of any list that a driver is asked for, so that a broken one cannot keep us.
const MAX_ENTRIES: u32 = 1024;

/// What a camera is known by, apart from its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// For example `uvcvideo`.
    pub driver: String,
    /// The product's name.
    pub card: String,
    /// Where it is plugged in.
    pub bus: String,
}

/// A control that a camera has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlInfo {
    /// The driver's number.
    pub(super) id: u32,
    /// The driver's name.
    pub name: String,
    /// Lowest value.
    pub minimum: i64,
    /// Highest value.
    pub maximum: i64,
    /// Value after plugging in.
    pub default: i64,
    /// Value now; `None` for buttons and what cannot be read.
    pub value: Option<i64>,
}

/// A format that a camera offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// V4L2's four characters.
    pub format: [u8; 4],
    /// Sizes, where the driver lists them; a camera that scales lists none.
    pub sizes: Vec<(u32, u32)>,
}

/// Why a node cannot be used for capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It delivers metadata, takes pictures in, or is a codec.
    NoCamera,
    /// It has only the multi-planar interface.
    MultiPlanar,
}

/// An open device node.
#[derive(Debug)]
pub struct Device {
    pub(super) file: File,
    path: PathBuf,
    identity: Identity,
    unfit: Option<Unfit>,
}

impl Device {
    /// Opens a node and asks what it is.
    ///
    /// # Errors
    /// The operating system's: `NotFound`, ENODEV, ENOTTY for what is no video device.
    pub fn open(path: &Path) -> io::Result<Device> {
        // Not blocking: frames are waited for with a limit.
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let caps = abi::capabilities(&file)?;
        // Drivers older than the field leave it 0.
        let bits = if caps.device_caps == 0 { caps.capabilities } else { caps.device_caps };
        let flags = Flags::from_bits_truncate(bits);
        let unfit = if flags.intersects(Flags::VIDEO_M2M | Flags::VIDEO_M2M_MPLANE) {
            Some(Unfit::NoCamera)
        } else if flags.contains(Flags::VIDEO_CAPTURE) && flags.contains(Flags::STREAMING) {
            None
        } else if flags.contains(Flags::VIDEO_CAPTURE_MPLANE) {
            Some(Unfit::MultiPlanar)
        } else {
            Some(Unfit::NoCamera)
        };
        let identity = Identity {
            driver: text(&caps.driver),
            card: text(&caps.card),
            bus: text(&caps.bus_info),
        };
        Ok(Device { file, path: path.to_owned(), identity, unfit })
    }

    /// The node.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is known by.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Why it cannot be used; `None` for a camera.
    #[must_use]
    pub fn unfit(&self) -> Option<Unfit> {
        self.unfit
    }

    /// The formats it offers, in the driver's order.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        let formats = (0..MAX_ENTRIES).map_while(|i| abi::format_at(&self.file, i).ok());
        let sizes = |format| {
            (0..MAX_ENTRIES)
                .map_while(|i| abi::size_at(&self.file, format, i).ok().flatten())
                .collect()
        };
        formats
            .map(|f| Offer { format: f.pixelformat.to_le_bytes(), sizes: sizes(f.pixelformat) })
            .collect()
    }

    /// Asks for a format; the answer is what the camera will deliver, whatever was asked.
    pub(super) fn set_format(
        &self,
        format: [u8; 4],
        size: (u32, u32),
    ) -> io::Result<v4l2_pix_format> {
        let wanted = v4l2_pix_format {
            width: size.0,
            height: size.1,
            pixelformat: u32::from_le_bytes(format),
            // V4L2_FIELD_NONE: whole pictures
            field: 1,
            ..Default::default()
        };
        abi::set_format(&self.file, wanted)
    }

    /// Its controls with their values.
    #[must_use]
    pub fn controls(&self) -> Vec<ControlInfo> {
        // V4L2_CTRL_TYPE_CTRL_CLASS; V4L2_CTRL_FLAG_DISABLED
        const CLASS: u32 = 6;
        const DISABLED: u32 = 1;
        let (mut id, mut found) = (0, Vec::new());
        for _ in 0..MAX_ENTRIES {
            let Ok(c) = abi::control_after(&self.file, id) else { break };
            if c.id <= id {
                // A driver that does not go on would keep us here.
                break;
            }
            id = c.id;
            // Texts, arrays and types from 0x100 on hold no single value.
            let single = matches!(c.type_, 1..=5 | 8 | 9);
            if c.type_ == CLASS || c.flags & DISABLED != 0 || !single {
                continue;
            }
            let name = c.name.map(|b| b as u8);
            found.push(ControlInfo {
                id,
                name: text(&name),
                minimum: c.minimum,
                maximum: c.maximum,
                default: c.default_value,
                value: abi::control(&self.file, id, c.type_ == 5).ok().filter(|_| c.type_ != 4),
            });
        }
        found
    }

    /// Sets controls in the order given. A missing control or a refused value is logged and does not stop the others.
    /// Returns how many were set.
    pub fn set_controls(&self, wanted: &[Control]) -> usize {
        if wanted.is_empty() {
            return 0;
        }
        let known = self.controls();
        let set = |control: &&Control| match self.set_control(&known, control) {
            Ok(()) => true,
            Err(e) => {
                log::warn!("{}: control {}: {e}", self.path.display(), control.name);
                false
            }
        };
        wanted.iter().filter(set).count()
    }

    fn set_control(&self, known: &[ControlInfo], wanted: &Control) -> Result<()> {
        let info = known
            .iter()
            .find(|c| plain(&c.name) == plain(&wanted.name))
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "the camera has no such control"))?;
        abi::set_control(&self.file, info.id, wanted.value)
            .map_err(|e| Error::io(format_args!("{} to {}", wanted.value, info.maximum), &e))
    }
}

/// A driver's text: up to its first zero byte. It may be cut inside a character.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Letters and digits only, in lower case: drivers write `Exposure Time, Absolute`, tools `exposure_time_absolute`.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_cut_inside_a_character_are_read() {
        assert_eq!(text(b"Kamera gr\xC3"), "Kamera gr\u{FFFD}");
        assert_eq!(text(b"uvcvideo\0\0\0x"), "uvcvideo");
        assert_eq!(text(b""), "");
        assert_eq!(plain("Exposure Time, Absolute"), plain("exposure_time_absolute"));
        assert_ne!(plain("White Balance, Auto"), plain("White Balance"));
    }

    #[test]
    fn what_is_no_video_device_is_an_error() {
        assert!(Device::open(Path::new("/dev/null")).is_err());
        assert!(Device::open(Path::new("/dev/video-none")).is_err());
    }
}
