//! What a decision says.

use std::fmt;

use crate::gallery::PersonId;

/// Open, keep shut, or look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Open for this person. Given once for an attempt.
    Allow(PersonId),
    /// Keep shut.
    Deny,
    /// Keep shut, and look at the next frame: somebody is being recognised.
    Wait,
}

/// A verdict and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub verdict: Verdict,
    /// Why; none for ALLOW.
    pub reasons: Reasons,
}

impl Decision {
    pub(super) fn deny(reasons: Reasons) -> Self {
        Decision { verdict: Verdict::Deny, reasons }
    }

    pub(super) fn wait(reasons: Reasons) -> Self {
        Decision { verdict: Verdict::Wait, reasons }
    }
}

/// Reasons for not opening, as bits that never change their meaning.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Reasons(u32);

impl Reasons {
    /// No reason: ALLOW.
    pub const NONE: Reasons = Reasons(0);
    /// No face in the frame.
    pub const NOBODY: Reasons = Reasons(1);
    /// More than one face.
    pub const SEVERAL_FACES: Reasons = Reasons(1 << 1);
    /// The face is too small, dark, blurred, turned ...
    pub const QUALITY: Reasons = Reasons(1 << 2);
    /// Not enough good frames yet.
    pub const COLLECTING: Reasons = Reasons(1 << 3);
    /// The face matches nobody, or not the person claimed.
    pub const NO_MATCH: Reasons = Reasons(1 << 4);
    /// Two people are about as alike.
    pub const AMBIGUOUS: Reasons = Reasons(1 << 5);
    /// Frames within the window matched different people.
    pub const DISAGREE: Reasons = Reasons(1 << 6);
    /// A picture, a screen or a mask.
    pub const SPOOF: Reasons = Reasons(1 << 7);
    /// Liveness is asked for and was not shown.
    pub const LIVENESS: Reasons = Reasons(1 << 8);
    /// This person was let in a moment ago.
    pub const COOL_DOWN: Reasons = Reasons(1 << 9);
    /// This person is locked out.
    pub const PERSON_LOCKED: Reasons = Reasons(1 << 10);
    /// Everybody is locked out.
    pub const DOOR_LOCKED: Reasons = Reasons(1 << 11);
    /// Not at this time.
    pub const SCHEDULE: Reasons = Reasons(1 << 12);
    /// A timestamp was repeated or ran backwards.
    pub const BAD_TIME: Reasons = Reasons(1 << 13);
    /// A stage failed.
    pub const ERROR: Reasons = Reasons(1 << 14);
    /// More people have cool-downs or lock-outs than can be remembered.
    pub const BUSY: Reasons = Reasons(1 << 15);

    /// Every reason and its name, in order of bits.
    pub const ALL: [(Reasons, &'static str); 16] = [
        (Reasons::NOBODY, "nobody"),
        (Reasons::SEVERAL_FACES, "several faces"),
        (Reasons::QUALITY, "quality"),
        (Reasons::COLLECTING, "collecting"),
        (Reasons::NO_MATCH, "no match"),
        (Reasons::AMBIGUOUS, "ambiguous"),
        (Reasons::DISAGREE, "disagree"),
        (Reasons::SPOOF, "spoof"),
        (Reasons::LIVENESS, "liveness"),
        (Reasons::COOL_DOWN, "cool-down"),
        (Reasons::PERSON_LOCKED, "person locked out"),
        (Reasons::DOOR_LOCKED, "door locked"),
        (Reasons::SCHEDULE, "schedule"),
        (Reasons::BAD_TIME, "bad time"),
        (Reasons::ERROR, "error"),
        (Reasons::BUSY, "busy"),
    ];

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Reasons) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names, in order of bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Reasons::ALL.into_iter().filter(move |(r, _)| self.contains(*r)).map(|(_, name)| name)
    }
}

impl std::ops::BitOr for Reasons {
    type Output = Reasons;

    fn bitor(self, other: Reasons) -> Reasons {
        Reasons(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Reasons {
    fn bitor_assign(&mut self, other: Reasons) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_dense_and_named() {
        for (i, (reason, name)) in Reasons::ALL.into_iter().enumerate() {
            assert_eq!(reason.bits(), 1 << i);
            assert_eq!(reason.names().collect::<Vec<_>>(), [name]);
        }
        assert_eq!(format!("{:?}", Reasons::SPOOF | Reasons::BUSY), r#"{"spoof", "busy"}"#);
    }
}
