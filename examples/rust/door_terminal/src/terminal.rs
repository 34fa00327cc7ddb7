//! The main loop: frame, decision, relay. Whatever goes wrong, the door is shut.

use crate::config::Config;
use crate::counters::{Counters, Outcome, Stage};
use crate::notify::Notify;
use crate::observe::Observer;
use crate::page::Page;
use crate::record::Recorder;
use crate::relay::Relay;
use keyface::decide::audit::Event;
use keyface::decide::{Decider, Decision, Observation, Reasons, Seen, Verdict};
use keyface_boards::source::{Next, Source, State};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a call to the source may take, and so how fast the loop reacts to a signal.
const WAIT: Duration = Duration::from_millis(200);
/// How long an ALLOW waits for the audit log.
const PATIENCE: Duration = Duration::from_millis(500);
/// So many frames in a row with a time that is not later: the camera's clock has started anew.
const NEW_CLOCK: u32 = 8;

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The source came to its end.
    Source,
    /// It was asked to stop.
    Asked,
    /// The relay could not be switched.
    Relay,
}

/// One door at work.
#[derive(Debug)]
pub struct Terminal<'a> {
    /// How it is set up.
    pub config: &'a Config,
    /// Frames.
    pub source: Source,
    /// Model and gallery.
    pub observer: Observer,
    /// The state machine, with rules that fit the gallery.
    pub decider: Decider,
    /// The door.
    pub relay: Relay,
    /// Audit log, counters, LED.
    pub recorder: Recorder,
    /// The service manager.
    pub notify: Notify,
    /// What is counted.
    pub counters: &'a Counters,
    /// The installers' page, if there is one.
    pub page: Option<Page>,
}

impl Terminal<'_> {
    /// Runs until the source ends, `stop` is set or the relay fails. Each decision that differs from the one before is a line on `out`:
    /// `allow PERSON`, `deny REASON, ..` or `wait REASON, ..`. The relay is off when it returns.
    ///
    /// # Errors
    /// Of writing to `out`.
    pub fn run(mut self, stop: &AtomicBool, out: &mut dyn Write) -> std::io::Result<End> {
        let mut last: Option<Decision> = None;
        let mut clock = Clock::default();
        let mut looked = Instant::now();
        let mut state = self.source.state();
        self.notify.ready();
        loop {
            if self.relay.fault() {
                self.counters.error(Stage::Relay);
                return self.end(End::Relay);
            }
            if stop.load(Ordering::Relaxed) {
                return self.end(End::Asked);
            }
            self.notify.alive();
            if looked.elapsed().as_secs() >= self.config.interval_s {
                looked = Instant::now();
                self.refresh();
            }
            let step = self.step(&mut clock);
            let now = self.source.state();
            let health = self.source.health();
            self.counters.saw_source(now, health, matches!(step, Step::Decided(_)));
            self.counters.saw_relay(self.relay.pulses(), self.relay.is_on());
            let running = now == State::Streaming;
            let well = running && self.observer.is_current() && self.recorder.is_well();
            self.counters.set_trouble(!well);
            if now != state {
                state = now;
                log::info!("the source is {now}: {}", self.source.describe());
                self.notify.status(now.name());
            }
            if let Some(person) = self.page.as_mut().and_then(Page::turn) {
                if !self.recorder.push(Event::Enrolled(person)) {
                    log::error!("an enrolment is not in the audit log yet");
                }
                self.refresh();
            }
            let decision = match step {
                Step::Decided(decision) => decision,
                Step::End => return self.end(End::Source),
                Step::Nothing if matches!(now, State::Stalled | State::Lost) => {
                    self.decide(clock.between(), Seen::Failed)
                }
                Step::Nothing => continue,
            };
            let decision = self.act(decision);
            if last != Some(decision) {
                let line = Line(decision).to_string();
                writeln!(out, "{line}")?;
                out.flush()?;
                if let Some(page) = &mut self.page {
                    page.decided(line);
                }
                last = Some(decision);
            }
        }
    }

    fn end(self, end: End) -> std::io::Result<End> {
        self.notify.stopping();
        let Terminal { relay, counters, recorder, .. } = self;
        relay.release();
        let pulses = relay.pulses();
        drop(relay);
        counters.saw_relay(pulses, false);
        drop(recorder);
        Ok(end)
    }

    /// One frame, if there is one.
    fn step(&mut self, clock: &mut Clock) -> Step {
        let frame = match self.source.next(WAIT) {
            Next::Frame(frame) => frame,
            Next::Nothing => return Step::Nothing,
            Next::End => return Step::End,
        };
        let start = Instant::now();
        let time_us = frame.timestamp_us();
        if clock.restarted(time_us) {
            log::warn!("the frames' clock started anew");
            self.decider.clock_restarted(time_us.saturating_sub(1));
        }
        if !clock.tick(time_us) {
            self.counters.error(Stage::Clock);
        }
        let page = &mut self.page;
        let (seen, faces) = self.observer.look(&frame, self.counters, &mut |found, face| {
            if let Some(page) = page {
                page.see(&frame, found, face);
            }
        });
        let observation = Observation { time_us, claim: None, seen };
        let decision = self.decider.step(&observation, |_, _| true);
        let us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters.worked(faces, us);
        Step::Decided(decision)
    }

    fn decide(&mut self, time_us: u64, seen: Seen<'_>) -> Decision {
        self.decider.step(&Observation { time_us, claim: None, seen }, |_, _| true)
    }

    /// Makes a decision true; the result is what was done in the end.
    fn act(&mut self, decision: Decision) -> Decision {
        let broken = decision.reasons.contains(Reasons::ERROR)
            || decision.reasons.contains(Reasons::BAD_TIME);
        let event = Event::Decided(decision);
        let recorded = match decision.verdict {
            Verdict::Allow(_) => self.recorder.record(event, PATIENCE),
            Verdict::Deny => self.recorder.push(event),
            Verdict::Wait => true,
        };
        let decision = match decision.verdict {
            Verdict::Allow(_) if recorded && !self.relay.fault() => {
                self.relay.pulse();
                decision
            }
            Verdict::Allow(_) => Decision { verdict: Verdict::Deny, reasons: Reasons::ERROR },
            _ => decision,
        };
        if broken || !recorded {
            self.relay.release();
        }
        self.counters.outcome(match decision.verdict {
            Verdict::Allow(_) => Outcome::Allow,
            Verdict::Deny => Outcome::Deny,
            Verdict::Wait => Outcome::Wait,
        });
        decision
    }

    /// Takes a changed gallery into account: the more people, the higher the score that counts.
    fn refresh(&mut self) {
        if !self.observer.refresh(self.counters) {
            return;
        }
        let set = self.observer.threshold(self.config).and_then(|t| self.decider.set_threshold(t));
        if let Err(e) = set {
            // Nobody passes at a score above 1.
            log::error!("{e}");
            self.counters.error(Stage::Gallery);
            let shut = self.decider.set_threshold(2.0);
            debug_assert!(shut.is_ok(), "2 is a finite number");
        }
    }
}

enum Step {
    Decided(Decision),
    Nothing,
    End,
}

/// The frames' clock: how often it stood still or ran backwards.
#[derive(Debug, Default)]
struct Clock {
    last_us: u64,
    bad: u32,
}

impl Clock {
    /// Whether this frame's time shows that the clock started anew.
    fn restarted(&mut self, time_us: u64) -> bool {
        self.bad = if time_us > self.last_us { 0 } else { self.bad + 1 };
        let restarted = self.bad >= NEW_CLOCK;
        if restarted {
            (self.last_us, self.bad) = (time_us.saturating_sub(1), 0);
        }
        restarted
    }

    /// Takes a frame's time; whether it is later than all before.
    fn tick(&mut self, time_us: u64) -> bool {
        let later = time_us > self.last_us;
        self.last_us = self.last_us.max(time_us);
        later
    }

    /// A time between the last frame and the next.
    fn between(&mut self) -> u64 {
        self.last_us += 1;
        self.last_us
    }
}

/// A decision as a line: person and reasons, no score and no name.
struct Line(Decision);

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.verdict {
            Verdict::Allow(person) => return write!(f, "allow {}", person.0),
            Verdict::Deny => f.write_str("deny")?,
            Verdict::Wait => f.write_str("wait")?,
        }
        for (i, name) in self.0.reasons.names().enumerate() {
            write!(f, "{}{name}", if i == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyface::gallery::PersonId;

    #[test]
    fn a_clock_that_starts_anew_is_noticed_and_a_hiccup_is_not() {
        let mut clock = Clock::default();
        let mut take = |t| (clock.restarted(t), clock.tick(t));
        assert_eq!(take(1_000_000), (false, true));
        assert_eq!(take(1_000_000), (false, false));
        assert_eq!(take(900_000), (false, false));
        assert_eq!(take(1_100_000), (false, true));
        for t in 1..u64::from(NEW_CLOCK) {
            assert_eq!(take(t), (false, false));
        }
        assert_eq!(take(50), (true, true));
        assert_eq!(take(60), (false, true));
        assert_eq!(clock.between(), 61);
    }

    #[test]
    fn lines_have_no_names_and_no_scores() {
        let line = |verdict, reasons| Line(Decision { verdict, reasons }).to_string();
        assert_eq!(line(Verdict::Allow(PersonId(4)), Reasons::NONE), "allow 4");
        assert_eq!(
            line(Verdict::Deny, Reasons::NO_MATCH | Reasons::DOOR_LOCKED),
            "deny no match, door locked"
        );
        assert_eq!(line(Verdict::Wait, Reasons::COLLECTING), "wait collecting");
    }
}
