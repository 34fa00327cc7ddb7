//! Which board this is, and the profile and camera that follow from it.

use crate::error::{Error, Result};
use crate::profile::{Camera, Profile, FALLBACK};
use crate::settings::Settings;
use crate::source::{Next, Source, State};
use crate::v4l2::matches_glob;
use keyface::error::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the firmware says of the board.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Board {
    /// The maker's name, or the machine's where there is no device tree.
    pub model: String,
    /// Device-tree `compatible` strings, the most special first; none on machines without a device tree.
    pub compatible: Vec<String>,
}

impl Board {
    /// Of this machine.
    #[must_use]
    pub fn this() -> Board {
        Board::at(Path::new("/"))
    }

    /// Of the machine whose root folder is `root`: reads `proc/device-tree` and, for the name alone, `sys/class/dmi`.
    #[must_use]
    pub fn at(root: &Path) -> Board {
        let read = |path: &str| std::fs::read(root.join(path)).unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let compatible = read("proc/device-tree/compatible")
            .split(|&b| b == 0)
            .map(text)
            .filter(|t| !t.is_empty())
            .collect();
        let model = read("proc/device-tree/model");
        let name = text(model.split(|&b| b == 0).next().unwrap_or_default());
        let model = match name.is_empty() {
            false => name,
            true => text(&read("sys/class/dmi/id/product_name")),
        };
        Board { model, compatible }
    }

    /// The profile among `profiles` that claims this board, and why. A string of the board that comes first decides.
    ///
    /// # Errors
    /// [`keyface::error::ErrorKind::InvalidArgument`] where none claims it and there is no [`FALLBACK`].
    pub fn choose(&self, profiles: &[Profile]) -> Result<(Profile, String)> {
        for compatible in &self.compatible {
            for profile in profiles {
                let claims = |pattern: &&String| matches_glob(pattern, compatible);
                if let Some(pattern) = profile.compatible.iter().find(claims) {
                    let why = format!(
                        "the board is compatible with {compatible}, and the profile with {pattern}"
                    );
                    return Ok((profile.clone(), why));
                }
            }
        }
        let why = match self.compatible.len() {
            0 => "the machine has no device tree".to_owned(),
            _ => format!("no profile knows {}", self.compatible.join(", ")),
        };
        let fallback = profiles.iter().find(|p| p.name == FALLBACK).cloned();
        fallback.map(|p| (p, why)).ok_or_else(|| Error::argument("no profile for this board"))
    }

    /// The profile called `name`, or the one for this machine, and why.
    ///
    /// # Errors
    /// As [`Profile::named`] and [`Board::choose`].
    pub fn profile(&self, name: Option<&str>) -> Result<(Profile, String)> {
        match name {
            Some(name) => Ok((Profile::named(name)?, "it was asked for".to_owned())),
            None => self.choose(&Profile::built_in()?),
        }
    }
}

/// A camera that was tried, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Its name in the profile.
    pub camera: String,
    /// Why not; `None` for the one that was taken.
    pub refused: Option<Error>,
}

/// Waits for a frame, for as long as the camera may be silent: a program may start and show nothing.
fn first_frame(mut source: Source, camera: &Camera) -> Result<Source> {
    let start = Instant::now();
    while start.elapsed() < camera.settings.stall && source.state() != State::Lost {
        match source.next(Duration::from_millis(50)) {
            Next::Frame(_) => return Ok(source),
            Next::Nothing => {}
            Next::End => break,
        }
    }
    let what = format!("{}: no frame; it is {}", source.describe(), source.state());
    Err(Error::new(ErrorKind::NotFound, what))
}

/// Opens the first of `cameras` that gives a frame, which is passed over. `settings` gives the pace and whether to wait; the profile gives the rest. With
/// [`Settings::patient`] and no camera there, the first one is waited for.
///
/// # Errors
/// [`keyface::error::ErrorKind::NotFound`] with what was wrong with each.
pub fn open(cameras: &[Camera], settings: &Settings) -> (Result<(Source, Camera)>, Vec<Tried>) {
    let mut tried = Vec::new();
    let wanted = |camera: &Camera, patient: bool| {
        let settings = Settings { pace: settings.pace, patient, ..camera.settings.clone() };
        camera.source.open(&settings)
    };
    for camera in cameras {
        match wanted(camera, false).and_then(|source| first_frame(source, camera)) {
            Ok(source) => {
                tried.push(Tried { camera: camera.name.clone(), refused: None });
                return (Ok((source, camera.clone())), tried);
            }
            Err(e) => tried.push(Tried { camera: camera.name.clone(), refused: Some(e) }),
        }
    }
    if let Some(first) = cameras.first().filter(|_| settings.patient) {
        return (wanted(first, true).map(|source| (source, first.clone())), tried);
    }
    let causes: Vec<String> = tried
        .iter()
        .filter_map(|t| Some(format!("{}: {}", t.camera, t.refused.as_ref()?)))
        .collect();
    let text = format!("no camera of the profile works: {}", causes.join("; "));
    (Err(Error::new(ErrorKind::NotFound, text)), tried)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(compatible: &[&str]) -> Board {
        Board {
            model: String::new(),
            compatible: compatible.iter().map(|&c| c.to_owned()).collect(),
        }
    }

    #[test]
    fn device_trees_of_real_boards_find_their_profile() {
        let profiles = Profile::built_in().unwrap();
        for (compatible, name) in [
            (&["raspberrypi,3-model-b-plus", "brcm,bcm2837"][..], "raspberry-pi-3"),
            (&["raspberrypi,4-model-b", "brcm,bcm2711"], "raspberry-pi-4"),
            (&["raspberrypi,5-model-b", "brcm,bcm2712"], "raspberry-pi-5"),
            (&["nvidia,p3450-0000", "nvidia,jetson-nano", "nvidia,tegra210"], "jetson-nano"),
            (&["nvidia,p3509-0000+p3668-0001", "nvidia,tegra194"], "jetson-xavier-nx"),
            (&["nvidia,p3768-0000+p3767-0005", "nvidia,tegra234"], "jetson-orin-nano"),
            (&["linux,dummy-virt"], "vm"),
            (&["brcm,bcm2711"], "generic-uvc"),
            (&[], "generic-uvc"),
        ] {
            let (profile, why) = board(compatible).choose(&profiles).unwrap();
            assert_eq!(profile.name, name, "{compatible:?}: {why}");
        }
        assert!(board(&[]).choose(&profiles[..1]).is_err());
    }

    #[test]
    fn a_board_is_read_from_its_device_tree() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Board::at(root.path()), Board::default());
        let tree = root.path().join("proc/device-tree");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("model"), b"Raspberry Pi 5 Model B Rev 1.0\0").unwrap();
        std::fs::write(tree.join("compatible"), b"raspberrypi,5-model-b\0brcm,bcm2712\0").unwrap();
        let read = Board::at(root.path());
        assert_eq!(read.model, "Raspberry Pi 5 Model B Rev 1.0");
        assert_eq!(read.compatible, ["raspberrypi,5-model-b", "brcm,bcm2712"]);
    }

    #[test]
    fn the_first_camera_that_works_is_taken() {
        let camera = |name: &str, source: &str| Camera {
            name: name.into(),
            source: source.parse().unwrap(),
            settings: Settings::default(),
        };
        let cameras = [
            camera("a", "v4l2:driver=none"),
            camera("b", "pipe:exit 1"),
            camera("c", "pattern:32x32"),
        ];
        let (opened, tried) = open(&cameras, &Settings::default());
        assert_eq!(opened.unwrap().1.name, "c");
        let names: Vec<_> = tried.iter().map(|t| (&t.camera[..], t.refused.is_some())).collect();
        assert_eq!(names, [("a", true), ("b", true), ("c", false)]);
        let (none, _) = open(&cameras[..1], &Settings::default());
        assert!(none.unwrap_err().to_string().contains("a: no camera v4l2:driver=none"));
        let patient = Settings { patient: true, ..Settings::default() };
        assert!(open(&cameras[..1], &patient).0.is_ok());
    }
}
