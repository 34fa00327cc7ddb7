//! Why a view is poor, as bit flags.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of reasons. The bits are part of the C ABI: never renumbered or reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Reasons(u32);

impl Reasons {
    /// No reason: a good view.
    pub const NONE: Reasons = Reasons(0);
    /// The face is too far away.
    pub const TOO_SMALL: Reasons = Reasons(1);
    /// Too little light on the face.
    pub const TOO_DARK: Reasons = Reasons(1 << 1);
    /// Too much light on the face.
    pub const TOO_BRIGHT: Reasons = Reasons(1 << 2);
    /// The face is flat: fog, a dirty lens, light from behind.
    pub const LOW_CONTRAST: Reasons = Reasons(1 << 3);
    /// Out of focus, or moving.
    pub const BLURRED: Reasons = Reasons(1 << 4);
    /// The head is turned to a side, up or down.
    pub const TURNED_AWAY: Reasons = Reasons(1 << 5);
    /// The head is tilted towards a shoulder, or the camera is mounted askew.
    pub const TILTED: Reasons = Reasons(1 << 6);
    /// The five points do not lie as in a face, or the detector doubts it.
    pub const LOW_LANDMARK_SCORE: Reasons = Reasons(1 << 7);
    /// Part of the face lies outside the frame.
    pub const PARTLY_OUTSIDE: Reasons = Reasons(1 << 8);

    /// Every single reason and its name, in order of bits.
    pub const ALL: [(Reasons, &'static str); 9] = [
        (Reasons::TOO_SMALL, "too small"),
        (Reasons::TOO_DARK, "too dark"),
        (Reasons::TOO_BRIGHT, "too bright"),
        (Reasons::LOW_CONTRAST, "low contrast"),
        (Reasons::BLURRED, "blurred"),
        (Reasons::TURNED_AWAY, "turned away"),
        (Reasons::TILTED, "tilted"),
        (Reasons::LOW_LANDMARK_SCORE, "low landmark score"),
        (Reasons::PARTLY_OUTSIDE, "partly outside"),
    ];

    /// The bits, stable for ever.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// No reason at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Reasons) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of these reasons, in order of bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Reasons::ALL
            .into_iter()
            .filter(move |(reason, _)| self.contains(*reason))
            .map(|(_, name)| name)
    }
}

impl BitOr for Reasons {
    type Output = Reasons;

    fn bitor(self, other: Reasons) -> Reasons {
        Reasons(self.0 | other.0)
    }
}

impl BitOrAssign for Reasons {
    fn bitor_assign(&mut self, other: Reasons) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Reasons {
    /// The names with commas between; `good` where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("good");
        }
        for (i, name) in self.names().enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reasons({self})")
    }
}
