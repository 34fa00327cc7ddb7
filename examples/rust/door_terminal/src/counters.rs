//! What is counted, and the counters as Prometheus text.

use keyface_boards::source::{Health, State};
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Mutex;
use std::time::Instant;

/// Where something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Finding, aligning or embedding a face.
    Pipeline,
    /// Searching the gallery, or reading it again.
    Gallery,
    /// Writing the audit log or the counters.
    Record,
    /// Switching the relay.
    Relay,
    /// The frames' clock ran backwards or stood still.
    Clock,
}

impl Stage {
    const ALL: [(Stage, &'static str); 5] = [
        (Stage::Pipeline, "pipeline"),
        (Stage::Gallery, "gallery"),
        (Stage::Record, "record"),
        (Stage::Relay, "relay"),
        (Stage::Clock, "clock"),
    ];
}

/// A verdict without the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The door opened.
    Allow,
    /// It stays shut.
    Deny,
    /// Somebody is being recognised.
    Wait,
}

/// The source as it was last seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    state: State,
    health: Health,
    frame: Option<Instant>,
}

/// Counters of one run; shared by the threads. They never go back.
#[derive(Debug)]
pub struct Counters {
    start: Instant,
    source: Mutex<Seen>,
    faces: AtomicU64,
    outcomes: [AtomicU64; 3],
    errors: [AtomicU64; Stage::ALL.len()],
    pulses: AtomicU64,
    frame_us: AtomicU64,
    slowest_us: AtomicU64,
    /// Whether the door may not open now because something is wrong.
    trouble: AtomicBool,
    /// Whether the relay is on.
    relay_on: AtomicBool,
}

impl Default for Counters {
    fn default() -> Counters {
        let source = Seen { state: State::Closed, health: Health::default(), frame: None };
        Counters {
            start: Instant::now(),
            source: Mutex::new(source),
            faces: AtomicU64::new(0),
            outcomes: Default::default(),
            errors: Default::default(),
            pulses: AtomicU64::new(0),
            frame_us: AtomicU64::new(0),
            slowest_us: AtomicU64::new(0),
            trouble: AtomicBool::new(false),
            relay_on: AtomicBool::new(false),
        }
    }
}

impl Counters {
    fn source(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.source.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// One more error of a stage.
    pub fn error(&self, stage: Stage) {
        self.errors[stage as usize].fetch_add(1, Relaxed);
    }

    /// Errors of a stage so far.
    #[must_use]
    pub fn errors(&self, stage: Stage) -> u64 {
        self.errors[stage as usize].load(Relaxed)
    }

    /// One more decision.
    pub fn outcome(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    /// Decisions of this kind so far.
    #[must_use]
    pub fn outcomes(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    /// The source's state and counters; `frame` if it just gave a frame.
    pub fn saw_source(&self, state: State, health: Health, frame: bool) {
        let mut seen = self.source();
        (seen.state, seen.health) = (state, health);
        if frame {
            seen.frame = Some(Instant::now());
        }
    }

    /// Frames so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.source().health.frames
    }

    /// What the source met so far.
    #[must_use]
    pub fn health(&self) -> Health {
        self.source().health
    }

    /// The source's state as it was last seen.
    #[must_use]
    pub fn source_state(&self) -> State {
        self.source().state
    }

    /// Whether the relay is on, as far as the loop has seen.
    #[must_use]
    pub fn relay_on(&self) -> bool {
        self.relay_on.load(Relaxed)
    }

    /// A frame with so many faces took so long.
    pub fn worked(&self, faces: usize, us: u64) {
        self.faces.fetch_add(faces as u64, Relaxed);
        self.frame_us.fetch_add(us, Relaxed);
        self.slowest_us.fetch_max(us, Relaxed);
    }

    /// The relay's pulses and state.
    pub fn saw_relay(&self, pulses: u64, on: bool) {
        self.pulses.store(pulses, Relaxed);
        self.relay_on.store(on, Relaxed);
    }

    /// Sets whether something is wrong.
    pub fn set_trouble(&self, trouble: bool) {
        self.trouble.store(trouble, Relaxed);
    }

    /// Whether something is wrong: no frames, no gallery, no audit log.
    #[must_use]
    pub fn trouble(&self) -> bool {
        self.trouble.load(Relaxed)
    }

    /// The counters in Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let seen = *self.source();
        let mut family = |name: &str, kind: &str, help: &str, rows: &[(&str, u64)]| {
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "# HELP keyface_door_{name} {help}\n# TYPE keyface_door_{name} {kind}"
            );
            for (labels, value) in rows {
                let _ = writeln!(out, "keyface_door_{name}{labels} {value}");
            }
        };
        let h = seen.health;
        family("frames_total", "counter", "Frames looked at.", &[("", h.frames)]);
        let trouble = [
            ("{what=\"damaged\"}", h.damaged),
            ("{what=\"skipped\"}", h.skipped),
            ("{what=\"stall\"}", h.stalls),
            ("{what=\"restart\"}", h.restarts),
            ("{what=\"loss\"}", h.losses),
        ];
        family("source_events_total", "counter", "What the source of frames met.", &trouble);
        let all = [State::Closed, State::Configured, State::Streaming, State::Stalled, State::Lost];
        let states = all.map(|s| (format!("{{state=\"{s}\"}}"), u64::from(s == seen.state)));
        let states = states.each_ref().map(|(label, value)| (label.as_str(), *value));
        family("source_state", "gauge", "The source's state: 1 for the one it is in.", &states);
        let age =
            seen.frame.map(|t| ("", u64::try_from(t.elapsed().as_millis()).unwrap_or(u64::MAX)));
        family("frame_age_ms", "gauge", "Time since the last frame.", age.as_slice());
        family("faces_total", "counter", "Faces found.", &[("", self.faces.load(Relaxed))]);
        family(
            "work_us_total",
            "counter",
            "Time spent on frames.",
            &[("", self.frame_us.load(Relaxed))],
        );
        family(
            "work_us_max",
            "gauge",
            "Longest time spent on one frame.",
            &[("", self.slowest_us.load(Relaxed))],
        );
        let outcomes = [
            ("{verdict=\"allow\"}", self.outcomes(Outcome::Allow)),
            ("{verdict=\"deny\"}", self.outcomes(Outcome::Deny)),
            ("{verdict=\"wait\"}", self.outcomes(Outcome::Wait)),
        ];
        family("decisions_total", "counter", "Decisions, one a frame.", &outcomes);
        let errors =
            Stage::ALL.map(|(stage, name)| (format!("{{stage=\"{name}\"}}"), self.errors(stage)));
        let errors = errors.each_ref().map(|(label, value)| (label.as_str(), *value));
        family("errors_total", "counter", "Errors by stage.", &errors);
        family(
            "relay_pulses_total",
            "counter",
            "Times that the relay opened.",
            &[("", self.pulses.load(Relaxed))],
        );
        family(
            "relay_on",
            "gauge",
            "Whether the relay is on.",
            &[("", u64::from(self.relay_on.load(Relaxed)))],
        );
        family(
            "trouble",
            "gauge",
            "Whether the door cannot open because something is wrong.",
            &[("", u64::from(self.trouble()))],
        );
        family("resident_bytes", "gauge", "Memory in use.", &[("", resident_bytes())]);
        family(
            "uptime_seconds",
            "counter",
            "Time since the start.",
            &[("", self.start.elapsed().as_secs())],
        );
        out
    }

    /// Replaces the file at `path` by the counters, in one step: a reader sees the old ones or the new ones.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut next = path.as_os_str().to_owned();
        next.push(".next");
        std::fs::write(&next, self.text())?;
        std::fs::rename(&next, path)
    }
}

/// Bytes of this process in memory; 0 where the system does not say.
#[must_use]
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_counter_once() {
        let counters = Counters::default();
        counters.outcome(Outcome::Deny);
        counters.error(Stage::Clock);
        counters.saw_source(
            State::Lost,
            Health { frames: 7, losses: 2, ..Health::default() },
            true,
        );
        counters.worked(1, 30);
        counters.saw_relay(3, false);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics");
        counters.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for line in [
            "keyface_door_frames_total 7",
            "keyface_door_source_events_total{what=\"loss\"} 2",
            "keyface_door_source_state{state=\"lost\"} 1",
            "keyface_door_source_state{state=\"streaming\"} 0",
            "keyface_door_decisions_total{verdict=\"deny\"} 1",
            "keyface_door_errors_total{stage=\"clock\"} 1",
            "keyface_door_relay_pulses_total 3",
        ] {
            assert_eq!(text.lines().filter(|l| *l == line).count(), 1, "{line}\n{text}");
        }
        let families: Vec<&str> = text.lines().filter(|l| l.starts_with("# TYPE")).collect();
        let mut unique = families.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), families.len());
        assert!(resident_bytes() > 1 << 20);
        assert!(counters.write(&dir.path().join("no/such/folder")).is_err());
    }
}
