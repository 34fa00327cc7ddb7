//! The relay, on a thread of its own that bounds every pulse whatever the rest of the program does.
//!
//! The line is on only while this thread sleeps towards the end of a pulse. A pulse has one length and cannot be made longer; a request
//! during a pulse is ignored. A line that cannot be switched is given up: the thread ends, the line is freed, and
//! [`Relay::fault`] tells the program to end too, so that it is started anew with the line off.

use crate::output::Output;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a line that cannot be switched off is tried again before it is given up.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
struct State {
    open: bool,
    stop: bool,
    on: bool,
    fault: bool,
    pulses: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    /// A panic elsewhere must not keep the door open: a poisoned lock is taken all the same.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The relay. Dropped, it is off before the drop returns.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Takes the line, off, and starts its thread.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub fn new(line: Output, pulse: Duration) -> std::io::Result<Relay> {
        let shared = Arc::new(Shared::default());
        let guarded = shared.clone();
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || guard(&guarded, line, pulse))?;
        Ok(Relay { shared, thread: Some(thread) })
    }

    /// Opens the door for one pulse. Ignored while it is open.
    pub fn pulse(&self) {
        self.shared.lock().open = true;
        self.shared.changed.notify_all();
    }

    /// Ends a pulse now.
    pub fn release(&self) {
        self.shared.lock().open = false;
        self.shared.changed.notify_all();
    }

    /// Whether the line is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.shared.lock().on
    }

    /// Pulses so far.
    #[must_use]
    pub fn pulses(&self) -> u64 {
        self.shared.lock().pulses
    }

    /// Whether the line could not be switched. It stays so: end the program.
    #[must_use]
    pub fn fault(&self) -> bool {
        self.shared.lock().fault
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked dropped the line, which switches it off.
            let _ = thread.join();
        }
    }
}

fn guard(shared: &Shared, mut line: Output, pulse: Duration) {
    let mut until: Option<Instant> = None;
    let mut state = shared.lock();
    loop {
        if state.stop || !state.open {
            until = None;
        } else if until.is_none() {
            until = Some(Instant::now() + pulse);
            state.pulses += 1;
        }
        let left = until.map(|t| t.saturating_duration_since(Instant::now()));
        let on = left.is_some_and(|left| !left.is_zero());
        if !on {
            (state.open, until) = (false, None);
        }
        if on != state.on {
            let switched = if on { line.set(true) } else { switch_off(&mut line) };
            if switched.is_err() {
                (state.open, state.fault) = (false, true);
                // Whether it is on is not known: off is tried, and the line is freed.
                state.on = switch_off(&mut line).is_err();
                return;
            }
            state.on = on;
        }
        if state.stop {
            return;
        }
        let wake = left.filter(|_| on).unwrap_or(Duration::from_secs(3600));
        state = shared.changed.wait_timeout(state, wake).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn switch_off(line: &mut Output) -> std::io::Result<()> {
    let mut result = line.force_off();
    for _ in 1..TRIES {
        if result.is_ok() {
            break;
        }
        std::thread::sleep(PAUSE);
        result = line.force_off();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Wire;

    const LONG: Duration = Duration::from_secs(600);

    fn logged(dir: &tempfile::TempDir, pulse: Duration) -> (Relay, std::path::PathBuf) {
        let path = dir.path().join("relay");
        let line = Output::open(&Wire::Log(Some(path.clone())), "test").unwrap();
        (Relay::new(line, pulse).unwrap(), path)
    }

    fn wait(condition: impl Fn() -> bool) {
        while !condition() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn words(path: &std::path::Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|l| l.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn a_pulse_ends_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (relay, path) = logged(&dir, Duration::from_millis(20));
        relay.pulse();
        wait(|| relay.pulses() == 1 && !relay.is_on());
        relay.pulse();
        wait(|| relay.pulses() == 2 && !relay.is_on());
        drop(relay);
        assert_eq!(words(&path), ["on", "off", "on", "off"]);
    }

    #[test]
    fn requests_during_a_pulse_do_not_stretch_it() {
        let dir = tempfile::tempdir().unwrap();
        let (relay, _) = logged(&dir, Duration::from_millis(30));
        let start = Instant::now();
        relay.pulse();
        wait(|| relay.is_on());
        while relay.pulses() == 1 && relay.is_on() {
            relay.pulse();
            assert!(start.elapsed() < Duration::from_secs(60), "the pulse never ended");
        }
    }

    #[test]
    fn release_drop_and_a_dead_program_end_a_pulse() {
        let dir = tempfile::tempdir().unwrap();
        let (relay, path) = logged(&dir, LONG);
        relay.pulse();
        wait(|| relay.is_on());
        relay.release();
        wait(|| !relay.is_on());
        relay.pulse();
        wait(|| relay.is_on());
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _relay = relay;
            panic!("the program dies while the door is open");
        }));
        assert!(died.is_err());
        assert_eq!(words(&path), ["on", "off", "on", "off"]);
    }

    #[test]
    fn a_line_that_fails_is_a_fault_and_never_reported_off() {
        // It fails to switch on: off is tried, and fails too.
        let relay = Relay::new(Output::broken(0), LONG).unwrap();
        relay.pulse();
        wait(|| relay.fault());
        assert!(relay.is_on(), "its state is unknown: the worst is assumed");
        // It switches on and cannot be switched off.
        let relay = Relay::new(Output::broken(1), Duration::from_millis(5)).unwrap();
        relay.pulse();
        wait(|| relay.fault());
        assert!(relay.is_on());
        relay.pulse();
        assert_eq!(relay.pulses(), 1, "no pulse after a fault");
    }
}
