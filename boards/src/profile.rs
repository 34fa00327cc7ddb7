//! What is known of a board, as data: one TOML file each, checked when it is read.
//!
//! The files in `boards/profiles` are built in. A file of your own has the same form; unknown keys are refused, so a misspelt key is an error
//! and not a silent default.

use crate::error::{Error, Result};
use crate::selection::Selection;
use crate::settings::{parse_size, Control, Settings};
use crate::v4l2::{format_name, is_supported, matches_glob};
use keyface::frame::Rotation;
use keyface::kernel::CpuLevel;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// A board.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Short name, as in `--profile`; the file's name without `.toml`.
    pub name: String,
    /// The maker's name.
    pub title: String,
    /// Device-tree `compatible` strings, with `*` and `?`; any of them tells the board. None: chosen by name, or where nothing else fits.
    pub compatible: Vec<String>,
    /// Threads of both networks, 1 to 64; [`Profile::usable_threads`] is what to start.
    pub threads: usize,
    /// The CPU level that the board's processor has; `None`: any.
    pub cpu: Option<CpuLevel>,
    /// The compiler's name of the processor, for `-C target-cpu`.
    pub target_cpu: Option<String>,
    /// Memory pages that the board's kernels use, in bytes.
    pub page_sizes: Vec<u64>,
    /// Cameras, best first.
    pub cameras: Vec<Camera>,
    /// The line that opens the door, in the form of the door terminal's wires: `gpio:GPIO17`, `gpio:pinctrl-rp1:17,active-low`.
    pub relay: Option<String>,
    /// The line of the status LED.
    pub led: Option<String>,
}

/// A camera of a board.
#[derive(Debug, Clone, PartialEq)]
pub struct Camera {
    /// Short name.
    pub name: String,
    /// Which source.
    pub source: Selection,
    /// How frames are wanted from it.
    pub settings: Settings,
}

/// The built-in profiles: file name and text.
pub const BUILT_IN: [(&str, &str); 8] = [
    ("raspberry-pi-3.toml", include_str!("../profiles/raspberry-pi-3.toml")),
    ("raspberry-pi-4.toml", include_str!("../profiles/raspberry-pi-4.toml")),
    ("raspberry-pi-5.toml", include_str!("../profiles/raspberry-pi-5.toml")),
    ("jetson-nano.toml", include_str!("../profiles/jetson-nano.toml")),
    ("jetson-xavier-nx.toml", include_str!("../profiles/jetson-xavier-nx.toml")),
    ("jetson-orin-nano.toml", include_str!("../profiles/jetson-orin-nano.toml")),
    ("vm.toml", include_str!("../profiles/vm.toml")),
    ("generic-uvc.toml", include_str!("../profiles/generic-uvc.toml")),
];

/// The profile of a board that none knows.
pub const FALLBACK: &str = "generic-uvc";

/// A profile as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    title: String,
    #[serde(default)]
    compatible: Vec<String>,
    threads: usize,
    cpu: Option<String>,
    target_cpu: Option<String>,
    page_sizes: Vec<u64>,
    camera: Vec<CameraTable>,
    relay: Option<String>,
    led: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CameraTable {
    name: String,
    source: String,
    formats: Option<Vec<String>>,
    size: Option<String>,
    fps: Option<u32>,
    rotation: Option<u32>,
    mirrored: Option<bool>,
    buffers: Option<u32>,
    stall_ms: Option<u64>,
    restarts: Option<u32>,
    backoff_ms: Option<(u64, u64)>,
    warmup: Option<u32>,
    y16_bits: Option<u32>,
    #[serde(default)]
    controls: Vec<(String, i64)>,
}

impl Profile {
    /// Reads and checks a profile.
    ///
    /// # Errors
    /// [`keyface::error::ErrorKind::InvalidArgument`] with the key or line that is wrong.
    pub fn parse(text: &str) -> Result<Profile> {
        let file: File = toml::from_str(text).map_err(|e| Error::argument(e.to_string()))?;
        let name = file.name;
        let wrong = |what: String| Error::argument(format!("profile {name}: {what}"));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(wrong("a name is lower-case letters, digits and '-'".into()));
        }
        if !(1..=64).contains(&file.threads) {
            return Err(wrong("threads: 1 to 64".into()));
        }
        let cpu = file.cpu.as_deref().map(str::parse::<CpuLevel>).transpose();
        let cpu = cpu.map_err(|e| wrong(format!("cpu: {e}")))?;
        let is_page = |&size: &u64| size.is_power_of_two() && (4096..=65_536).contains(&size);
        if file.page_sizes.is_empty() || !file.page_sizes.iter().all(is_page) {
            return Err(wrong("page_sizes: powers of two from 4096 to 65536".into()));
        }
        if file.compatible.iter().any(|c| !c.contains(',') || c.starts_with('*')) {
            return Err(wrong("compatible: 'maker,board', beginning with the maker".into()));
        }
        for wire in [&file.relay, &file.led].into_iter().flatten() {
            check_wire(wire).map_err(&wrong)?;
        }
        if file.camera.is_empty() {
            return Err(wrong("no camera".into()));
        }
        let mut cameras: Vec<Camera> = Vec::new();
        for table in file.camera {
            let camera_name = table.name.clone();
            if cameras.iter().any(|c| c.name == camera_name) {
                return Err(wrong(format!("two cameras are called {camera_name}")));
            }
            let camera = camera(table).map_err(|e| wrong(format!("camera {camera_name}: {e}")))?;
            cameras.push(camera);
        }
        Ok(Profile {
            title: file.title,
            compatible: file.compatible,
            threads: file.threads,
            cpu,
            target_cpu: file.target_cpu,
            page_sizes: file.page_sizes,
            cameras,
            relay: file.relay,
            led: file.led,
            name,
        })
    }

    /// Reads a profile from a file.
    ///
    /// # Errors
    /// As [`Profile::parse`]; [`keyface::error::ErrorKind::Io`] where it cannot be read.
    pub fn read(path: &Path) -> Result<Profile> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path.display(), &e))?;
        Profile::parse(&text).map_err(|e| Error::new(e.kind(), format!("{}: {e}", path.display())))
    }

    /// The built-in profile called `name`, or the file at that path if it ends in `.toml`.
    ///
    /// # Errors
    /// [`keyface::error::ErrorKind::InvalidArgument`] with the names that exist; as [`Profile::read`].
    pub fn named(name: &str) -> Result<Profile> {
        if name.ends_with(".toml") {
            return Profile::read(Path::new(name));
        }
        let all = Profile::built_in()?;
        let names: Vec<String> = all.iter().map(|p| p.name.clone()).collect();
        all.into_iter().find(|p| p.name == name).ok_or_else(|| {
            Error::argument(format!("no profile {name}; there are {} or a file", names.join(", ")))
        })
    }

    /// [`Profile::threads`], but at most the CPUs that this process may use by its affinity and quota: a power mode may have taken cores
    /// offline since the profile was written.
    #[must_use]
    pub fn usable_threads(&self) -> usize {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.min(cpus)
    }

    /// All built-in profiles, checked together.
    ///
    /// # Errors
    /// As [`Profile::parse`] and [`check_together`]; never for the files of a released tree, as a test reads them.
    pub fn built_in() -> Result<Vec<Profile>> {
        let all: Vec<Profile> =
            BUILT_IN.iter().map(|(_, text)| Profile::parse(text)).collect::<Result<_>>()?;
        check_together(&all)?;
        Ok(all)
    }
}

/// Refuses two profiles of one name, and two that claim the same board.
///
/// # Errors
/// [`keyface::error::ErrorKind::InvalidArgument`] with both names.
pub fn check_together(profiles: &[Profile]) -> Result<()> {
    for (i, a) in profiles.iter().enumerate() {
        for b in &profiles[..i] {
            if a.name == b.name {
                return Err(Error::argument(format!("two profiles are called {}", a.name)));
            }
            let claimed = |x: &String| {
                let sample = |p: &String| p.replace(['*', '?'], "x");
                b.compatible
                    .iter()
                    .any(|y| matches_glob(x, &sample(y)) || matches_glob(y, &sample(x)))
            };
            if let Some(board) = a.compatible.iter().find(|x| claimed(x)) {
                let text = format!("profiles {} and {} both claim {board}", a.name, b.name);
                return Err(Error::argument(text));
            }
        }
    }
    Ok(())
}

fn camera(table: CameraTable) -> std::result::Result<Camera, String> {
    let source = Selection::parse(&table.source).map_err(|e| e.to_string())?;
    if matches!(source, Selection::Board(_)) {
        return Err("source: a board's camera cannot be a board".into());
    }
    let base = Settings::default();
    let formats = match table.formats {
        Some(names) => names.iter().map(|n| format(n)).collect::<std::result::Result<_, _>>()?,
        None => base.formats.clone(),
    };
    let rotation = match table.rotation.unwrap_or(0) {
        0 => Rotation::None,
        90 => Rotation::Cw90,
        180 => Rotation::Cw180,
        270 => Rotation::Cw270,
        _ => return Err("rotation: 0, 90, 180 or 270".into()),
    };
    let ms = Duration::from_millis;
    let settings = Settings {
        size: match table.size {
            Some(text) => parse_size(&text).ok_or("size: 'WIDTHxHEIGHT'")?,
            None => base.size,
        },
        fps: table.fps.unwrap_or(base.fps),
        formats,
        rotation,
        mirrored: table.mirrored.unwrap_or(base.mirrored),
        buffers: table.buffers.unwrap_or(base.buffers),
        stall: table.stall_ms.map_or(base.stall, ms),
        restarts: table.restarts.unwrap_or(base.restarts),
        backoff: table.backoff_ms.map_or(base.backoff, |(a, b)| (ms(a), ms(b))),
        warmup: table.warmup.unwrap_or(base.warmup),
        y16_bits: table.y16_bits.unwrap_or(base.y16_bits),
        controls: controls(table.controls)?,
        ..base
    };
    settings.check().map_err(|e| e.to_string())?;
    if settings.size.0 % 2 == 1 || settings.size.1 % 2 == 1 {
        return Err("size: sides of a camera's picture are even".into());
    }
    for (i, format) in settings.formats.iter().enumerate() {
        if settings.formats[..i].contains(format) {
            return Err(format!("formats: {} twice", format_name(*format)));
        }
    }
    Ok(Camera { name: table.name, source, settings })
}

/// Four characters, padded with spaces, of a format that frames can come in.
fn format(name: &str) -> std::result::Result<[u8; 4], String> {
    let mut format = [b' '; 4];
    let place = format.get_mut(..name.len()).filter(|place| !place.is_empty());
    place.ok_or("formats: one to four characters")?.copy_from_slice(name.as_bytes());
    match is_supported(format) {
        true => Ok(format),
        false => Err(format!("formats: {name} is not supported")),
    }
}

/// A camera refuses an exposure time while its exposure is automatic, so the mode must come first.
fn controls(list: Vec<(String, i64)>) -> std::result::Result<Vec<Control>, String> {
    let mut controls: Vec<Control> = Vec::new();
    let plain = |name: &str| {
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    for (name, value) in list {
        let is = |c: &Control, text: &str| plain(&c.name) == text;
        if controls.iter().any(|c| is(c, &plain(&name))) {
            return Err(format!("controls: {name} twice"));
        }
        let manual = |c: &Control| is(c, "autoexposure") && c.value == 1;
        if plain(&name).starts_with("exposuretime") && !controls.iter().any(manual) {
            return Err(format!("controls: 'Auto Exposure' = 1 must come before {name}"));
        }
        controls.push(Control { name, value });
    }
    Ok(controls)
}

/// `gpio:NAME` or `gpio:CHIP:LINE`, with `,active-low` or without; `led:NAME`.
fn check_wire(wire: &str) -> std::result::Result<(), String> {
    let body = wire.strip_suffix(",active-low").unwrap_or(wire);
    let sound = match body.split_once(':') {
        Some(("led", name)) => !name.is_empty() && body == wire,
        Some(("gpio", line)) => match line.rsplit_once(':') {
            Some((chip, number)) => !chip.is_empty() && number.parse::<u32>().is_ok(),
            None => !line.is_empty(),
        },
        _ => false,
    };
    match sound {
        true => Ok(()),
        false => Err(format!("{wire}: gpio:NAME, gpio:CHIP:LINE or led:NAME expected")),
    }
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
