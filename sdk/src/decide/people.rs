//! Who failed, who is locked out, who was just let in.

use super::{Reasons, Rules};
use crate::gallery::PersonId;

/// People with something to remember at one time.
const REMEMBERED: usize = 64;

/// Failures of one person or of a door, and the lock-out they led to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lockout {
    failures: u32,
    last_failure: u64,
    /// Lock-outs since the last success: each doubles the next.
    lockouts: u32,
    until: u64,
}

impl Lockout {
    pub(super) fn until(&self, now: u64) -> Option<u64> {
        (self.until > now).then_some(self.until)
    }

    /// Counts a failure; says whether it led to a lock-out. `most` zero: never.
    pub(super) fn failed(&mut self, now: u64, most: u32, rules: &Rules) -> bool {
        if now.saturating_sub(self.last_failure.max(self.until)) > rules.forget_us {
            (self.failures, self.lockouts) = (0, 0);
        }
        self.failures = self.failures.saturating_add(1);
        self.last_failure = now;
        let locks = most > 0 && self.failures >= most;
        if locks {
            self.lock(now, rules);
        }
        locks
    }

    /// Locks from now, twice as long as the last time; never shorter than it is locked already.
    pub(super) fn lock(&mut self, now: u64, rules: &Rules) {
        let factor = 1u64 << self.lockouts.min(63);
        let length = rules.lockout_us.saturating_mul(factor).min(rules.longest_lockout_us);
        self.until = self.until.max(now.saturating_add(length));
        self.lockouts = self.lockouts.saturating_add(1);
        self.failures = 0;
    }

    /// Moves to a clock on which `before` reads `after`.
    pub(super) fn shift(&mut self, before: u64, after: u64) {
        let moved = |t: u64| {
            if t > before {
                after.saturating_add(t - before)
            } else {
                after.saturating_sub(before - t)
            }
        };
        self.until = moved(self.until);
        self.last_failure = moved(self.last_failure);
    }

    /// Whether nothing is worth remembering.
    fn idle(&self, now: u64, forget_us: u64) -> bool {
        let recent = now.saturating_sub(self.last_failure.max(self.until)) <= forget_us;
        self.until(now).is_none() && !(recent && (self.failures > 0 || self.lockouts > 0))
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    person: PersonId,
    lockout: Lockout,
    cool_until: u64,
}

/// A fixed number of people. When it is full of people with something to remember, the door fails closed.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    entries: heapless::Vec<Entry, REMEMBERED>,
    forget_us: u64,
}

impl Ledger {
    pub(super) fn locked_until(&self, person: PersonId, now: u64) -> Option<u64> {
        self.entries.iter().find(|e| e.person == person)?.lockout.until(now)
    }

    /// Why this person may not pass now, if so.
    pub(super) fn bars(&self, person: PersonId, now: u64) -> Option<Reasons> {
        let entry = self.entries.iter().find(|e| e.person == person)?;
        if entry.lockout.until(now).is_some() {
            return Some(Reasons::PERSON_LOCKED);
        }
        (entry.cool_until > now).then_some(Reasons::COOL_DOWN)
    }

    /// Notes that a person was let in: failures are forgiven, the cool-down starts. False if there is no room.
    pub(super) fn allowed(&mut self, person: PersonId, now: u64, cooldown_us: u64) -> bool {
        match self.entry(person, now) {
            Some(entry) => {
                entry.lockout = Lockout::default();
                entry.cool_until = now.saturating_add(cooldown_us);
                true
            }
            None => false,
        }
    }

    /// Notes a failed attempt; says whether the person is locked out now, and nothing if there is no room. During a lock-out failures do not
    /// count, so that nobody can keep another locked out for ever.
    pub(super) fn failed(&mut self, person: PersonId, now: u64, rules: &Rules) -> Option<bool> {
        self.forget_us = rules.forget_us;
        let entry = self.entry(person, now)?;
        if entry.lockout.until(now).is_some() {
            return Some(true);
        }
        Some(entry.lockout.failed(now, rules.person_failures, rules))
    }

    pub(super) fn shift(&mut self, before: u64, after: u64) {
        for entry in &mut self.entries {
            entry.lockout.shift(before, after);
            let mut cool = Lockout { until: entry.cool_until, ..Lockout::default() };
            cool.shift(before, after);
            entry.cool_until = cool.until;
        }
    }

    pub(super) fn unlock(&mut self) {
        self.entries.iter_mut().for_each(|e| e.lockout = Lockout::default());
    }

    /// The entry of a person, made in the place of one with nothing to remember if need be.
    fn entry(&mut self, person: PersonId, now: u64) -> Option<&mut Entry> {
        let fresh = Entry { person, lockout: Lockout::default(), cool_until: 0 };
        let forget_us = self.forget_us;
        let at = match self.entries.iter().position(|e| e.person == person) {
            Some(at) => at,
            None if !self.entries.is_full() => {
                self.entries.push(fresh).ok()?;
                self.entries.len() - 1
            }
            None => {
                let idle = |e: &Entry| e.cool_until <= now && e.lockout.idle(now, forget_us);
                let at = self.entries.iter().position(idle)?;
                self.entries[at] = fresh;
                at
            }
        };
        self.entries.get_mut(at)
    }
}
