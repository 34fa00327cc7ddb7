//! Which camera: by driver, name, bus or path, never by number alone, as numbers change with the order of plugging in.

use super::device::{Device, Identity, Unfit};
use crate::error::{Error, Result};
use keyface::error::ErrorKind;
use std::fmt;
use std::path::{Path, PathBuf};

/// Which camera is wanted; what is not given does not matter. Texts may hold `*` for any characters and `?` for one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// As `v4l2-ctl --info` shows it, for example `uvcvideo`.
    pub driver: Option<String>,
    /// The product's name.
    pub card: Option<String>,
    /// Where it is plugged in, for example `usb-0000:01:00.0-1.2`.
    pub bus: Option<String>,
    /// A link that stays, for example `/dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920-video-index0` or one that a udev rule makes.
    pub path: Option<PathBuf>,
}

impl Wanted {
    /// `key=value` pairs separated by commas; a lone text that begins with `/` is a path, nothing is any camera.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for other keys, a key given twice, and a bare device number such as `/dev/video0`.
    pub fn parse(text: &str) -> Result<Wanted> {
        let mut wanted = Wanted::default();
        for pair in text.split(',').filter(|p| !p.is_empty()) {
            let (key, value) = if pair.starts_with('/') {
                ("path", pair)
            } else {
                pair.split_once('=')
                    .ok_or_else(|| Error::argument(format!("v4l2: {pair}: key=value expected")))?
            };
            let place = match key {
                "driver" => &mut wanted.driver,
                "card" => &mut wanted.card,
                "bus" => &mut wanted.bus,
                "path" if wanted.path.is_none() => {
                    wanted.path = Some(PathBuf::from(value));
                    continue;
                }
                _ => {
                    return Err(Error::argument(format!(
                        "v4l2: {key}: the keys are driver, card, bus and path, each once"
                    )))
                }
            };
            if value.is_empty() || place.replace(value.to_owned()).is_some() {
                return Err(Error::argument(format!("v4l2: {key}: one value expected")));
            }
        }
        wanted.check()?;
        Ok(wanted)
    }

    /// Refuses a choice by number alone.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`].
    pub fn check(&self) -> Result<()> {
        let alone = self.driver.is_none() && self.card.is_none() && self.bus.is_none();
        match &self.path {
            Some(path) if alone && number_of(path).is_some() => Err(Error::argument(format!(
                "v4l2: {}: numbers change; give driver=, card= or bus= as well, or a link under /dev/v4l",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Whether a camera of this identity is the one; the path is not looked at.
    #[must_use]
    pub fn is(&self, identity: &Identity) -> bool {
        let fits = |pattern: &Option<String>, text: &str| {
            pattern.as_ref().is_none_or(|pattern| matches_glob(pattern, text))
        };
        fits(&self.driver, &identity.driver)
            && fits(&self.card, &identity.card)
            && fits(&self.bus, &identity.bus)
    }

    /// Opens the camera. One that was `known` before is searched for first in the same place, then elsewhere, and no other product is taken for it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with what is there instead.
    pub fn open(&self, known: Option<&Identity>) -> Result<Device> {
        let mut others = Vec::new();
        let mut moved = None;
        for path in self.nodes() {
            let device = match Device::open(&path) {
                Ok(device) => device,
                Err(e) => {
                    others.push(format!("{}: {e}", path.display()));
                    continue;
                }
            };
            let identity = device.identity();
            let mut cause = None;
            if !self.is(identity) {
                cause = Some("another camera");
            } else if device.unfit() == Some(Unfit::MultiPlanar) {
                cause = Some(
                    "only the multi-planar interface, which is not supported: bridge it with pipe:",
                );
            } else if device.unfit().is_some() {
                cause = Some("no capture node");
            } else if let Some(known) = known {
                if (&known.driver, &known.card) != (&identity.driver, &identity.card) {
                    cause = Some("not the camera that was lost");
                } else if known.bus != identity.bus {
                    moved.get_or_insert(device);
                    continue;
                }
            }
            match cause {
                None => return Ok(device),
                Some(cause) => others.push(format!(
                    "{}: {} '{}': {cause}",
                    path.display(),
                    identity.driver,
                    identity.card
                )),
            }
        }
        moved.ok_or_else(|| {
            let others = match others.len() {
                0 => "there is no video device".to_owned(),
                _ => others.join("; "),
            };
            Error::new(ErrorKind::NotFound, format!("no camera v4l2:{self}: {others}"))
        })
    }

    fn nodes(&self) -> Vec<PathBuf> {
        match &self.path {
            Some(path) => vec![path.clone()],
            None => nodes(),
        }
    }
}

impl fmt::Display for Wanted {
    /// The text that [`Wanted::parse`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.as_ref().map(|p| p.display().to_string());
        let keys =
            [("driver", &self.driver), ("card", &self.card), ("bus", &self.bus), ("path", &path)];
        let mut comma = "";
        for (key, value) in keys {
            if let Some(value) = value {
                write!(f, "{comma}{key}={value}")?;
                comma = ",";
            }
        }
        Ok(())
    }
}

/// The nodes `/dev/video*` in the order of their numbers.
#[must_use]
pub fn nodes() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/dev") else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((number_of(&path)?, path))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// The number of `/dev/videoN`.
fn number_of(path: &Path) -> Option<u32> {
    path.to_str()?.strip_prefix("/dev/video")?.parse().ok()
}

/// Whether `text` fits `pattern`, in which `*` stands for any characters and `?` for one. Linear in memory, never worse than the product
/// of the lengths in time.
#[must_use]
pub fn matches_glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => (p, t) = (p + 1, t + 1),
            // The last star takes one character more.
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_a_shell() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "HD Pro", true),
            ("HD*", "HD Pro", true),
            ("*Pro", "HD Pro", true),
            ("*Pro", "HD Pro C920", false),
            ("H? Pro", "HD Pro", true),
            ("?", "", false),
            ("?", "é", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a*a", "a", false),
            ("uvcvideo", "uvcvideo2", false),
        ] {
            assert_eq!(matches_glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn choices_read_back_and_bare_numbers_are_refused() {
        for text in [
            "",
            "driver=uvcvideo",
            "driver=uvcvideo,card=HD *,bus=usb-*",
            "path=/dev/v4l/by-id/x",
            "card=x,path=/dev/video3",
        ] {
            assert_eq!(Wanted::parse(text).unwrap().to_string(), text);
        }
        let lone = Wanted::parse("/dev/keyface").unwrap();
        assert_eq!(lone.to_string(), "path=/dev/keyface");
        for text in [
            "/dev/video0",
            "path=/dev/video12",
            "uvcvideo",
            "number=1",
            "driver=",
            "driver=a,driver=b",
            "path=/a,path=/b",
        ] {
            let refused = Wanted::parse(text).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn identities_are_compared_key_by_key() {
        let identity = |bus: &str| Identity {
            driver: "uvcvideo".into(),
            card: "HD Pro Webcam C920".into(),
            bus: bus.into(),
        };
        let wanted = Wanted::parse("driver=uvcvideo,card=HD Pro*,bus=usb-*-1.2").unwrap();
        assert!(wanted.is(&identity("usb-3f980000.usb-1.2")));
        assert!(!wanted.is(&identity("usb-3f980000.usb-1.3")));
        assert!(Wanted::default().is(&identity("")));
    }

    #[test]
    fn a_camera_that_is_not_there_is_named() {
        let missing = Wanted::parse("driver=no-such-driver").unwrap().open(None).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(missing.to_string().contains("driver=no-such-driver"), "{missing}");
    }
}
