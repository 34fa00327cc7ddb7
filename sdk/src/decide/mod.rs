//! From observations to ALLOW, DENY or WAIT: a pure state machine.
//!
//! Time comes in with the frames; there is no clock, no randomness and no allocation inside, so the same inputs give the same outputs.
//! It starts at DENY and every failure leads back there. The rules, each stated as a property in `tests/decide.rs`:
//!
//! 1. ALLOW needs [`Rules::votes`] good frames for the same person within [`Rules::window_us`], with no frame for anybody else in between.
//! 2. A good frame has one face, no quality reason against it, a score at or above the threshold, a margin over the second person,
//!    and, if asked for, a liveness verdict of "real".
//! 3. An error, a score that is not a number, or a timestamp that is not later than the one before gives DENY and clears the votes.
//! 4. Too many failed attempts lock the door, for one person or for all, twice as long each time. Nothing but time, or the host, ends a
//!    lock-out; failures never shorten it.
//! 5. After ALLOW the same person is not allowed again for [`Rules::cooldown_us`].

pub mod audit;
pub mod challenge;
pub mod pad;
mod people;
mod verdict;

pub use verdict::{Decision, Reasons, Verdict};

use crate::error::{Error, ErrorKind, Result};
use crate::gallery::{Hit, PersonId};
pub use crate::liveness::Liveness;
use people::{Ledger, Lockout};

/// The most votes a rule may ask for.
pub const MAX_VOTES: usize = 16;

/// What a door terminal's operator decides. Times are microseconds, as in frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Score from which on a comparison counts, from [`crate::calibration::Calibration::threshold`].
    pub threshold: f32,
    /// How far the best person must lie above the second, in score.
    pub margin: f32,
    /// Good frames that must agree, 1 to 16.
    pub votes: usize,
    /// Within which time.
    pub window_us: u64,
    /// Good frames that match nobody before an attempt has failed, 1 to 16.
    pub misses: usize,
    /// How long a person who was allowed in is not allowed again.
    pub cooldown_us: u64,
    /// Failed attempts of one person before that person is locked out; zero for never.
    pub person_failures: u32,
    /// Failed attempts of anybody before the door is locked; zero for never.
    pub door_failures: u32,
    /// Length of the first lock-out; each further one is twice as long.
    pub lockout_us: u64,
    /// Length that lock-outs do not exceed.
    pub longest_lockout_us: u64,
    /// Failures are forgotten after this long without another.
    pub forget_us: u64,
    /// Whether "unsure" and "not checked" are not enough.
    pub need_liveness: bool,
}

impl Rules {
    /// Three votes in two seconds, margin 0.05, cool-down 5 s, lock-out after 5 failures of a person or 10 of anybody, from 30 s up to one hour.
    #[must_use]
    pub fn new(threshold: f32) -> Self {
        Rules {
            threshold,
            margin: 0.05,
            votes: 3,
            window_us: 2_000_000,
            misses: 5,
            cooldown_us: 5_000_000,
            person_failures: 5,
            door_failures: 10,
            lockout_us: 30_000_000,
            longest_lockout_us: 3_600_000_000,
            forget_us: 900_000_000,
            need_liveness: false,
        }
    }

    fn check(&self) -> Result<()> {
        let counts =
            (1..=MAX_VOTES).contains(&self.votes) && (1..=MAX_VOTES).contains(&self.misses);
        let scores = self.threshold.is_finite() && self.margin.is_finite() && self.margin >= 0.0;
        let times =
            self.window_us > 0 && self.lockout_us > 0 && self.lockout_us <= self.longest_lockout_us;
        if counts && scores && times {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidArgument, "a rule of decision is out of range"))
    }
}

/// What was seen in one frame.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// Nobody.
    Nobody,
    /// More than one face that could be meant.
    Several,
    /// One face that is not good enough to compare.
    Poor,
    /// One good face, and what the gallery says of it.
    Face {
        /// Best people first, as [`crate::gallery::Gallery::search`] gives them; two are enough.
        hits: &'a [Hit],
        /// Is it alive.
        liveness: Liveness,
    },
    /// A stage failed: the frame was bad, the camera is lost, a model is wrong.
    Failed,
}

/// One frame.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The frame's timestamp in microseconds, from a clock that never runs backwards.
    pub time_us: u64,
    /// Whom a badge or a PIN claims the person to be; then nobody else counts.
    pub claim: Option<PersonId>,
    /// What was seen.
    pub seen: Seen<'a>,
}

#[derive(Debug, Clone, Copy)]
struct Vote {
    time_us: u64,
    /// Nobody: a good face that matches no one.
    person: Option<PersonId>,
}

/// The state machine of one door.
#[derive(Debug, Clone)]
pub struct Decider {
    rules: Rules,
    last_us: Option<u64>,
    votes: heapless::Deque<Vote, { 2 * MAX_VOTES }>,
    door: Lockout,
    people: Ledger,
}

impl Decider {
    /// A door that is shut.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if a rule is out of range.
    pub fn new(rules: Rules) -> Result<Self> {
        rules.check()?;
        Ok(Decider {
            rules,
            last_us: None,
            votes: heapless::Deque::new(),
            door: Lockout::default(),
            people: Ledger::default(),
        })
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Changes the threshold, as after a change of the gallery's size; votes so far are void.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if it is not a finite number; the old one stays then.
    pub fn set_threshold(&mut self, threshold: f32) -> Result<()> {
        let rules = Rules { threshold, ..self.rules };
        rules.check()?;
        self.rules = rules;
        self.votes.clear();
        Ok(())
    }

    /// When the door's lock-out ends; nothing if it is not locked at `time_us`.
    #[must_use]
    pub fn locked_until(&self, time_us: u64) -> Option<u64> {
        self.door.until(time_us)
    }

    /// When a person's lock-out ends; nothing if there is none at `time_us`.
    #[must_use]
    pub fn person_locked_until(&self, person: PersonId, time_us: u64) -> Option<u64> {
        self.people.locked_until(person, time_us)
    }

    /// Tells that the frames' clock starts anew at `time_us`, as after a reboot with the state kept. Lock-outs and cool-downs keep their
    /// remaining length, votes are void.
    pub fn clock_restarted(&mut self, time_us: u64) {
        let before = self.last_us.unwrap_or(time_us);
        self.door.shift(before, time_us);
        self.people.shift(before, time_us);
        self.votes.clear();
        self.last_us = Some(time_us);
    }

    /// Ends all lock-outs and forgets failures: for an operator who is present.
    pub fn unlock(&mut self) {
        self.door = Lockout::default();
        self.people.unlock();
        self.votes.clear();
    }

    /// Takes one frame. `permitted` is the schedule: whether that person may pass at that time; it is asked just before an ALLOW.
    pub fn step(
        &mut self,
        observation: &Observation<'_>,
        permitted: impl FnOnce(PersonId, u64) -> bool,
    ) -> Decision {
        let now = observation.time_us;
        if self.last_us.is_some_and(|last| now <= last) {
            return self.deny(Reasons::BAD_TIME);
        }
        self.last_us = Some(now);
        if self.door.until(now).is_some() {
            return self.deny(Reasons::DOOR_LOCKED);
        }
        let (hits, liveness) = match observation.seen {
            Seen::Failed => return self.deny(Reasons::ERROR),
            Seen::Nobody => return self.deny(Reasons::NOBODY),
            Seen::Several => return self.deny(Reasons::SEVERAL_FACES),
            Seen::Poor => return Decision::wait(Reasons::QUALITY),
            Seen::Face { hits, liveness } => (hits, liveness),
        };
        if hits.iter().any(|h| !h.score.is_finite()) {
            return self.deny(Reasons::ERROR);
        }
        self.expire(now);
        let best = hits.first().filter(|h| h.score >= self.rules.threshold).map(|h| h.person);
        if liveness == Liveness::Spoof {
            return self.fail(now, observation.claim.or(best), Reasons::SPOOF);
        }
        let Some(person) = best.filter(|&p| observation.claim.is_none_or(|claim| claim == p))
        else {
            return self.miss(now, observation.claim);
        };
        if let Some(reasons) = self.people.bars(person, now) {
            self.votes.clear();
            return if reasons == Reasons::COOL_DOWN {
                Decision::wait(reasons)
            } else {
                Decision::deny(reasons)
            };
        }
        let rival = hits
            .iter()
            .filter(|h| h.person != person)
            .map(|h| h.score)
            .fold(f32::NEG_INFINITY, f32::max);
        if hits[0].score - rival < self.rules.margin || rival > hits[0].score {
            self.votes.clear();
            return Decision::wait(Reasons::AMBIGUOUS);
        }
        if self.rules.need_liveness && liveness != Liveness::Real {
            return Decision::wait(Reasons::LIVENESS);
        }
        self.vote(now, person, permitted)
    }

    /// Counts a good frame for `person`; the last one that is needed opens.
    fn vote(
        &mut self,
        now: u64,
        person: PersonId,
        permitted: impl FnOnce(PersonId, u64) -> bool,
    ) -> Decision {
        if self.votes.iter().any(|v| v.person.is_some_and(|p| p != person)) {
            self.votes.clear();
            self.push(now, Some(person));
            return Decision::wait(Reasons::DISAGREE);
        }
        self.push(now, Some(person));
        if self.votes.iter().filter(|v| v.person == Some(person)).count() < self.rules.votes {
            return Decision::wait(Reasons::COLLECTING);
        }
        self.votes.clear();
        if !permitted(person, now) {
            return Decision::deny(Reasons::SCHEDULE);
        }
        if !self.people.allowed(person, now, self.rules.cooldown_us) {
            return Decision::deny(Reasons::BUSY);
        }
        self.door = Lockout::default();
        Decision { verdict: Verdict::Allow(person), reasons: Reasons::NONE }
    }

    /// Counts a good frame that matches nobody, or not the one who was claimed.
    fn miss(&mut self, now: u64, claim: Option<PersonId>) -> Decision {
        self.push(now, None);
        if self.votes.iter().filter(|v| v.person.is_none()).count() < self.rules.misses {
            return Decision::wait(Reasons::NO_MATCH);
        }
        self.fail(now, claim, Reasons::NO_MATCH)
    }

    /// Ends an attempt as failed.
    fn fail(&mut self, now: u64, person: Option<PersonId>, reason: Reasons) -> Decision {
        self.votes.clear();
        let rules = self.rules;
        let mut reasons = reason;
        if let Some(person) = person {
            match self.people.failed(person, now, &rules) {
                Some(true) => reasons |= Reasons::PERSON_LOCKED,
                Some(false) => {}
                // No room to remember who is locked out: the door is, instead.
                None => {
                    self.door.lock(now, &rules);
                    return Decision::deny(reasons | Reasons::BUSY | Reasons::DOOR_LOCKED);
                }
            }
        }
        if self.door.failed(now, rules.door_failures, &rules) {
            reasons |= Reasons::DOOR_LOCKED;
        }
        Decision::deny(reasons)
    }

    fn deny(&mut self, reasons: Reasons) -> Decision {
        self.votes.clear();
        Decision::deny(reasons)
    }

    fn push(&mut self, time_us: u64, person: Option<PersonId>) {
        if self.votes.is_full() {
            self.votes.pop_front();
        }
        // There is room: a full queue lost its oldest vote.
        let _ = self.votes.push_back(Vote { time_us, person });
    }

    /// Votes older than the window do not count.
    fn expire(&mut self, now: u64) {
        while self.votes.front().is_some_and(|v| now - v.time_us > self.rules.window_us) {
            self.votes.pop_front();
        }
    }
}
