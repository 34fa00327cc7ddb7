//! The configuration file, and what the command line says in its place.

use crate::output::Wire;
use crate::page::token::Token;
use keyface::decide::Rules;
use keyface::enrol::MAX_SHOTS;
use keyface_boards::selection::Selection;
use keyface_boards::settings::{Pace, Settings};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file as it is written; every key is optional but those without a default, and unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where frames come from: a selection of `keyface_boards`, as `--source`.
    pub source: String,
    /// The gallery of the people who may pass.
    pub gallery: PathBuf,
    /// Its key; else the gallery's name with `.key` added.
    pub key: Option<PathBuf>,
    /// The model pack.
    pub pack: PathBuf,
    /// Where decisions are written, one JSON object a line; else nowhere.
    pub audit: Option<PathBuf>,
    /// Where counters are written, as Prometheus text; else nowhere.
    pub metrics: Option<PathBuf>,
    /// Threads of the networks, 1 to 64; else the profile's where the source is `board:`, else 1. Never more than this process has CPUs.
    pub threads: Option<usize>,
    /// Seconds between two writings of the counters and two looks at the gallery file, 1 to 3600.
    #[serde(default = "five")]
    pub interval_s: u64,
    /// The relay.
    pub relay: Relay,
    /// The status LED, as a wire.
    #[serde(default)]
    pub led: Option<String>,
    /// The camera.
    #[serde(default)]
    pub camera: Camera,
    /// When the door opens.
    #[serde(default)]
    pub rules: RuleBook,
    /// The installers' page; without this table there is none.
    #[serde(default)]
    pub page: Option<PageTable>,
}

/// The installers' page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageTable {
    /// Address and port, of this machine alone: `127.0.0.1:8643`. Port 0: any that is free.
    pub listen: SocketAddr,
    /// The file with the token, of mode 0600; made with a random one if it is not there.
    pub token: PathBuf,
    /// Shots of an enrolment, 1 to 8.
    #[serde(default = "five_shots")]
    pub shots: usize,
}

/// The relay that opens the door.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// The wire: `gpio:GPIO17`, `gpio:pinctrl-bcm2711:17,active-low`, `log` ...
    pub wire: String,
    /// How long the door is open, 50 to 60000 ms.
    #[serde(default = "three_seconds")]
    pub pulse_ms: u64,
}

/// How frames are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Camera {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Frames per second.
    pub fps: u32,
    /// V4L2's four characters, best first; empty: as the library prefers.
    pub formats: Vec<String>,
    /// Degrees clockwise that make the picture upright: 0, 90, 180 or 270.
    pub rotation: u32,
    /// Mirrored left to right after that.
    pub mirrored: bool,
    /// Without a frame for so long, the camera is restarted.
    pub stall_ms: u64,
}

/// When the door opens. Missing keys are as in [`Rules::new`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleBook {
    /// At most this share of strangers may be taken for somebody in the gallery, whatever its size. A rate that the model's
    /// figures do not support is refused.
    pub false_match_rate: f64,
    /// In place of the rate: the score from which on faces match, -1 to 1.
    pub threshold: Option<f32>,
    /// Good frames that must agree, 1 to 16.
    pub votes: Option<usize>,
    /// Within which time.
    pub window_ms: Option<u64>,
    /// How long a person who was let in is not let in again.
    pub cooldown_ms: Option<u64>,
    /// Failed attempts of anybody before the door is locked; 0 for never.
    pub door_failures: Option<u32>,
}

fn five() -> u64 {
    5
}

fn five_shots() -> usize {
    5
}

fn three_seconds() -> u64 {
    3000
}

impl Default for Camera {
    fn default() -> Camera {
        let Settings { size, fps, stall, mirrored, .. } = Settings::default();
        Camera {
            size,
            fps,
            formats: Vec::new(),
            rotation: 0,
            mirrored,
            stall_ms: stall.as_millis() as u64,
        }
    }
}

impl Default for RuleBook {
    fn default() -> RuleBook {
        RuleBook {
            false_match_rate: 1e-3,
            threshold: None,
            votes: None,
            window_ms: None,
            cooldown_ms: None,
            door_failures: None,
        }
    }
}

impl PageTable {
    /// Checks what needs no port. A token file that is there must be sound.
    fn check(&self) -> Result<(), String> {
        if !self.listen.ip().is_loopback() {
            let text = format!("page.listen: {} can be reached from other machines", self.listen);
            return Err(text + ": 127.0.0.1 or [::1]");
        }
        if !(1..=MAX_SHOTS).contains(&self.shots) {
            return Err(format!("page.shots: 1 to {MAX_SHOTS}, not {}", self.shots));
        }
        match Token::read(&self.token) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("page.token: {}: {e}", self.token.display()))
            }
            _ => Ok(()),
        }
    }
}

impl RuleBook {
    /// The rules, with the score that the rate leads to.
    #[must_use]
    pub fn rules(&self, threshold: f32) -> Rules {
        let us = |ms: u64| ms.saturating_mul(1000);
        let mut rules = Rules::new(threshold);
        rules.votes = self.votes.unwrap_or(rules.votes);
        rules.window_us = self.window_ms.map_or(rules.window_us, us);
        rules.cooldown_us = self.cooldown_ms.map_or(rules.cooldown_us, us);
        rules.door_failures = self.door_failures.unwrap_or(rules.door_failures);
        rules
    }
}

impl Config {
    /// Reads the file at `path`. Paths in it that are not absolute start at the file's folder.
    ///
    /// # Errors
    /// A sentence with the file's name and the line or key that is wrong. Values are not checked yet: [`Config::check`].
    pub fn read(path: &Path) -> Result<Config, String> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
        let mut config = Config::parse(&text).map_err(|e| format!("{name}: {e}"))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let absolute = |path: &mut PathBuf| *path = folder.join(&path);
        let Config { gallery, pack, key, audit, metrics, page, .. } = &mut config;
        let token = page.as_mut().map(|page| &mut page.token);
        let optional = key.iter_mut().chain(audit).chain(metrics).chain(token);
        [gallery, pack].into_iter().chain(optional).for_each(absolute);
        Ok(config)
    }

    /// As the command line alone says.
    #[must_use]
    pub fn new(source: String, gallery: PathBuf, pack: PathBuf, relay: String) -> Config {
        Config {
            source,
            gallery,
            key: None,
            pack,
            audit: None,
            metrics: None,
            threads: None,
            interval_s: five(),
            relay: Relay { wire: relay, pulse_ms: three_seconds() },
            led: None,
            camera: Camera::default(),
            rules: RuleBook::default(),
            page: None,
        }
    }

    fn parse(text: &str) -> Result<Config, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    /// Checks what needs no file and no hardware.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let ranges = [
            ("interval_s", 1..=3600, self.interval_s),
            ("relay.pulse_ms", 50..=60_000, self.relay.pulse_ms),
        ];
        for (key, range, value) in ranges {
            if !range.contains(&value) {
                return Err(format!("{key}: {} to {}, not {value}", range.start(), range.end()));
            }
        }
        Selection::parse(&self.source).map_err(|e| format!("source: {e}"))?;
        self.wire().map_err(|e| format!("relay.wire: {e}"))?;
        self.led_wire().map_err(|e| format!("led: {e}"))?;
        if !(1..=64).contains(&self.threads()?) {
            return Err(format!("threads: 1 to 64, not {}", self.threads()?));
        }
        self.settings()?.check().map_err(|e| format!("camera: {e}"))?;
        let rate = self.rules.false_match_rate;
        if !(rate > 0.0 && rate < 1.0) {
            return Err(format!("rules.false_match_rate: above 0 and below 1, not {rate}"));
        }
        let rules = self.rules.rules(self.rules.threshold.unwrap_or(0.5));
        keyface::decide::Decider::new(rules).map_err(|e| format!("rules: {e}"))?;
        self.page.as_ref().map_or(Ok(()), PageTable::check)
    }

    /// Threads of the networks, as asked for or as the camera's profile says.
    ///
    /// # Errors
    /// A sentence, where the source or its profile cannot be read.
    pub fn threads(&self) -> Result<usize, String> {
        if let Some(threads) = self.threads {
            return Ok(threads);
        }
        let profile = Selection::parse(&self.source).and_then(|source| source.profile());
        let profile = profile.map_err(|e| format!("source: {e}"))?;
        Ok(profile.map_or(1, |profile| profile.usable_threads()))
    }

    /// The relay's wire.
    ///
    /// # Errors
    /// A sentence with the forms of a wire.
    pub fn wire(&self) -> Result<Wire, String> {
        self.relay.wire.parse()
    }

    /// The LED's wire.
    ///
    /// # Errors
    /// As [`Config::wire`].
    pub fn led_wire(&self) -> Result<Wire, String> {
        self.led.as_deref().unwrap_or("none").parse()
    }

    /// How long the door is open.
    #[must_use]
    pub fn pulse(&self) -> Duration {
        Duration::from_millis(self.relay.pulse_ms)
    }

    /// The gallery's key file.
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.key.clone().unwrap_or_else(|| {
            let mut name = self.gallery.clone().into_os_string();
            name.push(".key");
            name.into()
        })
    }

    /// How the source is wanted. A camera that is not there yet is waited for. Pictures played once are played by their number, not by the clock, so that the same pictures
    /// give the same decisions.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn settings(&self) -> Result<Settings, String> {
        let mut settings = Settings::default();
        let camera = &self.camera;
        (settings.size, settings.fps, settings.mirrored) =
            (camera.size, camera.fps, camera.mirrored);
        settings.stall = Duration::from_millis(camera.stall_ms);
        settings.patient = true;
        settings.rotation = match camera.rotation {
            0 => keyface::frame::Rotation::None,
            90 => keyface::frame::Rotation::Cw90,
            180 => keyface::frame::Rotation::Cw180,
            270 => keyface::frame::Rotation::Cw270,
            other => return Err(format!("camera.rotation: 0, 90, 180 or 270, not {other}")),
        };
        let code = |f: &String| {
            let bytes = format!("{f:<4}").into_bytes();
            bytes
                .try_into()
                .map_err(|_| format!("camera.formats: '{f}' is not V4L2's four characters"))
        };
        if !camera.formats.is_empty() {
            settings.formats = camera.formats.iter().map(code).collect::<Result<_, _>>()?;
        }
        if self.source.starts_with("dir:") || self.source.starts_with("file:") {
            settings.pace = Pace::Virtual;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str =
        "source = 'dir:pictures'\ngallery = 'g'\npack = '/p'\n[relay]\nwire = 'log'\n";

    #[test]
    fn the_example_is_complete_and_sound() {
        let text = include_str!("../door.toml");
        let config = Config::parse(text).unwrap();
        config.check().unwrap();
        assert_eq!(
            config.rules,
            RuleBook { votes: Some(3), window_ms: Some(2000), ..config.rules.clone() }
        );
        assert_eq!(config.pulse(), Duration::from_secs(3));
        // Every key of the file's own tables is shown, commented out or not.
        for key in [
            "key",
            "audit",
            "metrics",
            "interval_s",
            "threads",
            "led",
            "threshold",
            "cooldown_ms",
            "door_failures",
            "formats",
            "rotation",
            "mirrored",
            "stall_ms",
            "listen",
            "token",
            "shots",
        ] {
            assert!(text.contains(key), "door.toml does not show {key}");
        }
    }

    #[test]
    fn defaults_and_paths() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("door.toml");
        std::fs::write(&path, SMALLEST).unwrap();
        let config = Config::read(&path).unwrap();
        assert_eq!(config.gallery, dir.path().join("g"));
        assert_eq!(config.key_path(), dir.path().join("g.key"));
        assert_eq!(config.pack, Path::new("/p"));
        assert_eq!(config.settings().unwrap().pace, Pace::Virtual);
        assert_eq!(config.rules.rules(0.4), Rules::new(0.4));
    }

    #[test]
    fn threads_come_from_the_key_else_from_the_profile() {
        let cpus = std::thread::available_parallelism().unwrap().get();
        let of = |text: &str| Config::parse(text).unwrap().threads().unwrap();
        let board = SMALLEST.replace("dir:pictures", "board:raspberry-pi-5");
        assert_eq!(of(SMALLEST), 1);
        assert_eq!(of(&board), 4.min(cpus));
        assert_eq!(of(&format!("threads = 3\n{board}")), 3);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |text: &str| Config::parse(text).and_then(|c| c.check()).unwrap_err();
        let page = |listen: &str, more: &str| {
            format!("[page]\nlisten = '{listen}'\ntoken = '/no/such/token'\n{more}")
        };
        let (all, name) = (page("0.0.0.0:8643", ""), page("localhost:8643", ""));
        let (shots, key) = (page("127.0.0.1:0", "shots = 9"), page("[::1]:1", "tokne = 'x'"));
        let folder = page("127.0.0.1:0", "").replace("/no/such/token", "/tmp");
        assert_eq!(
            Config::parse(&format!("{SMALLEST}{}", page("[::1]:8643", ""))).unwrap().check(),
            Ok(())
        );
        for (add, name) in [
            (&all[..], "page.listen"),
            (&name, "listen"),
            (&shots, "page.shots"),
            (&key, "tokne"),
            (&folder, "page.token"),
            ("pulse_ms = 10", "pulse_ms"),
            ("pulse = 10", "pulse"),
            ("[rules]\nvotes = 0", "rules"),
            ("[rules]\nfalse_match_rate = 0.0", "false_match_rate"),
            ("[camera]\nrotation = 45", "rotation"),
            ("[camera]\nformats = ['toolong']", "toolong"),
            ("[camera]\nfps = 0", "fps"),
        ] {
            let e = refused(&format!("{SMALLEST}{add}\n"));
            assert!(e.contains(name), "{add}: {e}");
        }
        assert!(refused(&SMALLEST.replace("dir:pictures", "nonsense:x")).contains("source"));
        assert!(refused(&SMALLEST.replace("dir:pictures", "board:nonsense")).contains("source"));
        assert!(refused(&format!("threads = 65\n{SMALLEST}")).contains("threads"));
        assert!(refused(&SMALLEST.replace("'log'", "'loud'")).contains("relay.wire"));
        assert!(refused("source = ").contains('1'), "the line is given");
        assert!(Config::read(Path::new("/no/such.toml")).unwrap_err().contains("/no/such.toml"));
    }
}
