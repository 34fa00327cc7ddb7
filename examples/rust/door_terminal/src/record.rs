//! The slow side: a thread that takes decisions from a queue of fixed length and writes the audit log, the counters and the status LED,
//! so that a slow card never holds up the camera.
//!
//! No opening without a record: [`Recorder::record`] waits until an event is in the audit log and says if it is not; then the door stays
//! shut. What could not be written is tried again, in order.

use crate::counters::{Counters, Stage};
use crate::output::Output;
use heapless::spsc::{Consumer, Producer, Queue};
use keyface::decide::audit::{self, Audit, Event};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Events that may wait to be written.
pub const WAITING: usize = 64;
/// How often the thread looks at what there is to do.
const TURN: Duration = Duration::from_millis(100);
/// The pause after a failed writing.
const PAUSE: Duration = Duration::from_secs(1);

/// An event and when it was, in milliseconds since 1970.
type Item = (u64, Event);

/// Where things are written.
#[derive(Debug)]
pub struct Places {
    /// The audit log.
    pub audit: Option<PathBuf>,
    /// The counters.
    pub metrics: Option<PathBuf>,
    /// How often the counters are written.
    pub interval: Duration,
    /// The status LED.
    pub led: Output,
}

/// The queue's end in the main loop. Dropped, it writes what waits, switches the LED off and ends the thread.
pub struct Recorder {
    queue: Producer<'static, Item, { WAITING + 1 }>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// The audit log cannot be written at present.
    failing: AtomicBool,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Opens the audit log, and starts the thread. Leaks the queue, some kilobytes, once per recorder.
    ///
    /// # Errors
    /// The system's, where the log cannot be opened or there is no thread left.
    pub fn start(places: Places, counters: Arc<Counters>) -> io::Result<Recorder> {
        let audit = places.audit.as_deref().map(open_audit).transpose()?;
        let (queue, events) = Box::leak(Box::new(Queue::<Item, { WAITING + 1 }>::new())).split();
        let shared = Arc::new(Shared::default());
        let writer =
            Writer { audit, events, places, counters, shared: shared.clone(), retry: None };
        let thread = std::thread::Builder::new().name("record".into()).spawn(|| writer.run())?;
        Ok(Recorder { queue, shared, thread: Some(thread) })
    }

    /// Queues an event. `false` if it will not be written soon.
    #[must_use]
    pub fn push(&mut self, event: Event) -> bool {
        let queued = self.queue.enqueue((now_ms(), event)).is_ok();
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        queued && self.is_well()
    }

    /// Queues an event and waits until it is written, for at most `patience`. `false` if it is not: then the door must stay shut.
    #[must_use]
    pub fn record(&mut self, event: Event, patience: Duration) -> bool {
        let start = Instant::now();
        let mut well = self.push(event);
        while well && self.queue.len() > 0 {
            std::thread::sleep(Duration::from_millis(1));
            well = self.is_well() && start.elapsed() < patience;
        }
        well
    }

    /// Whether the audit log can be written, as far as was tried.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let alive = self.thread.as_ref().is_some_and(|t| !t.is_finished());
        alive && !self.shared.failing.load(Ordering::SeqCst)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                log::error!("the recorder died");
            }
        }
    }
}

struct Writer {
    audit: Option<Audit<File>>,
    events: Consumer<'static, Item, { WAITING + 1 }>,
    places: Places,
    counters: Arc<Counters>,
    shared: Arc<Shared>,
    /// When the event at the head of the queue is tried again.
    retry: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        let mut written: Option<Instant> = None;
        for turn in 0u64.. {
            let stop = self.shared.stop.load(Ordering::SeqCst);
            if stop {
                self.retry = None;
            }
            self.write_events();
            if stop || written.is_none_or(|t| t.elapsed() >= self.places.interval) {
                written = Some(Instant::now());
                self.write_counters();
            }
            // Steady when all is well, blinking five times in two seconds when not.
            let lit = !stop && (!self.counters.trouble() || turn / 2 % 2 == 0);
            if self.places.led.set(lit).is_err() {
                self.counters.error(Stage::Record);
            }
            if stop {
                return;
            }
            std::thread::park_timeout(TURN);
        }
    }

    fn write_events(&mut self) {
        if self.retry.is_some_and(|t| Instant::now() < t) {
            return;
        }
        while let Some(&(at_ms, event)) = self.events.peek() {
            if let Some(Err(e)) = self.audit.as_mut().map(|audit| audit.write(at_ms, event)) {
                self.counters.error(Stage::Record);
                log::error!("the audit log cannot be written, the door stays shut: {e}");
                self.shared.failing.store(true, Ordering::SeqCst);
                self.retry = Some(Instant::now() + PAUSE);
                return;
            }
            self.events.dequeue();
        }
        self.shared.failing.store(false, Ordering::SeqCst);
        self.retry = None;
    }

    fn write_counters(&self) {
        let failed =
            self.places.metrics.as_deref().and_then(|path| self.counters.write(path).err());
        if let Some(e) = failed {
            self.counters.error(Stage::Record);
            log::warn!("the counters cannot be written: {e}");
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Opens the log to append to, numbered on from its last line.
fn open_audit(path: &Path) -> io::Result<Audit<File>> {
    let (file, next) = audit::open(path).map_err(io::Error::other)?;
    Ok(Audit::new(file, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Wire;
    use keyface::decide::{Decision, Reasons, Verdict};
    use keyface::gallery::PersonId;

    fn places(audit: &Path, metrics: &Path, led: &Path) -> Places {
        Places {
            audit: Some(audit.into()),
            metrics: Some(metrics.into()),
            interval: Duration::from_secs(3600),
            led: Output::open(&Wire::Log(Some(led.into())), "led").unwrap(),
        }
    }

    fn decided(verdict: Verdict) -> Event {
        Event::Decided(Decision { verdict, reasons: Reasons::NONE })
    }

    #[test]
    fn the_log_goes_on_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let [audit, metrics, led] = ["audit", "metrics", "led"].map(|n| dir.path().join(n));
        for person in [5, 6] {
            let mut recorder =
                Recorder::start(places(&audit, &metrics, &led), Arc::default()).unwrap();
            assert!(
                recorder.record(decided(Verdict::Allow(PersonId(person))), Duration::from_secs(60))
            );
            assert!(recorder.push(decided(Verdict::Deny)));
        }
        let text = std::fs::read_to_string(&audit).unwrap();
        let starts: Vec<&str> = text.lines().map(|l| l.split(',').next().unwrap()).collect();
        assert_eq!(starts, [r#"{"n":0"#, r#"{"n":1"#, r#"{"n":2"#, r#"{"n":3"#]);
        assert!(text.contains(r#""person":6"#));
        assert!(std::fs::read_to_string(metrics).unwrap().contains("keyface_door_uptime_seconds"));
        assert!(std::fs::read_to_string(led).unwrap().trim_end().ends_with("off"));
    }

    #[test]
    fn while_the_log_cannot_be_written_the_door_stays_shut() {
        let dir = tempfile::tempdir().unwrap();
        let full = Path::new("/dev/full");
        let places = places(full, &dir.path().join("metrics"), &dir.path().join("led"));
        let counters = Arc::new(Counters::default());
        let mut recorder = Recorder::start(places, counters.clone()).unwrap();
        for _ in 0..2 * WAITING {
            assert!(!recorder.record(decided(Verdict::Allow(PersonId(1))), Duration::from_secs(60)));
        }
        assert!(counters.errors(Stage::Record) > 0);
    }

    #[test]
    fn a_missing_folder_is_found_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let places =
            places(&dir.path().join("no/audit"), &dir.path().join("m"), &dir.path().join("l"));
        assert!(Recorder::start(places, Arc::default()).is_err());
    }
}
