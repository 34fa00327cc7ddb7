//! Enrolment: guide a person to some varied good views, check them, fuse them, store them.
//!
//! [`Session`] is a pure state machine: it takes what each frame showed and answers with [`Guidance`] for the person's eyes. It
//! writes nothing; [`Session::commit`] stores the result in one transaction, and dropping the session at any time before leaves no
//! trace and wipes what was collected.

mod migrate;

pub use migrate::{Migration, Progress};

use crate::error::{Error, ErrorKind, Result};
use crate::gallery::{PersonId, PersonName, Store};
use crate::geometry::Points5;
use crate::quality::{Quality, QualityLimits, Reasons};
use crate::template::Template;

/// The most shots a session collects.
pub const MAX_SHOTS: usize = 8;
/// A face that turns less than this counts as straight, in degrees of yaw.
const STRAIGHT: f32 = 10.0;
/// A face that turns more than this shows another side.
const TURNED: f32 = 12.0;
/// Points that move more than this from frame to frame, in distances between the eyes, blur.
const STILL: f32 = 0.08;
/// Shots in a row that show somebody else before the session gives up.
const STRANGERS: u32 = 5;

/// How to enrol. Times are microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnrolRules {
    /// Shots to collect, 1 to 8: straight, left, right, and so on in turn.
    pub shots: usize,
    /// Shortest time between two shots.
    pub interval_us: u64,
    /// After this long without the wanted view any other good view will do.
    pub patience_us: u64,
    /// The session ends without a result after this long.
    pub timeout_us: u64,
    /// Shots of one person are at least so alike; the operating point, from [`crate::calibration::Calibration`].
    pub agree: f32,
    /// A person who scores so high against somebody enrolled is refused; the operating point too.
    pub duplicate: f32,
    /// What a good view is.
    pub quality: QualityLimits,
}

impl EnrolRules {
    /// Five shots 0.4 s apart within a minute; `threshold` is the operating point.
    #[must_use]
    pub fn new(threshold: f32) -> Self {
        EnrolRules {
            shots: 5,
            interval_us: 400_000,
            patience_us: 4_000_000,
            timeout_us: 60_000_000,
            agree: threshold,
            duplicate: threshold,
            quality: QualityLimits::ENROLMENT,
        }
    }
}

/// What a frame showed.
#[derive(Debug, Clone, Copy)]
pub enum View<'a> {
    /// No face.
    Nobody,
    /// More than one face.
    Several,
    /// One face.
    Face {
        /// Its embedding.
        template: &'a Template,
        /// Its measurements; judged here by the session's own limits.
        quality: &'a Quality,
        /// Its five points in frame pixels.
        points: &'a Points5,
    },
}

/// What to tell the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guidance {
    /// Step in front of the camera.
    Nobody,
    /// One person at a time.
    AnotherFace,
    /// Come closer.
    TooFar,
    /// More light on the face.
    TooDark,
    /// Less light on the face.
    TooBright,
    /// Turn away from the light behind, clean the lens.
    LowContrast,
    /// Out of focus or moving.
    Blurred,
    /// Face the camera.
    TurnedTooFar,
    /// Hold the head upright.
    Tilted,
    /// Come into the middle of the picture.
    PartlyOutside,
    /// Take off what covers the face.
    Unclear,
    /// Hold still.
    HoldStill,
    /// Look straight ahead.
    LookStraight,
    /// Turn a little to the left of the picture.
    TurnLeft,
    /// Turn a little to the right of the picture.
    TurnRight,
    /// This is not the person of the shots before.
    SomebodyElse,
    /// A shot was taken; so many are still wanted.
    Taken(usize),
    /// All shots are there: commit.
    Complete,
    /// The session ended without a result, for lack of time or of agreement: start again.
    Failed,
}

struct Shot {
    template: Template,
    weight: f32,
}

/// One person's enrolment.
pub struct Session {
    rules: EnrolRules,
    shots: heapless::Vec<Shot, MAX_SHOTS>,
    started: Option<u64>,
    last_time: u64,
    last_shot: u64,
    last_points: Option<Points5>,
    strangers: u32,
    failed: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("shots", &self.shots.len())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session without shots.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if a rule is out of range.
    pub fn new(rules: EnrolRules) -> Result<Self> {
        let sound = (1..=MAX_SHOTS).contains(&rules.shots)
            && rules.agree.is_finite()
            && rules.duplicate.is_finite();
        if !sound {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a rule of enrolment is out of range",
            ));
        }
        Ok(Session {
            rules,
            shots: heapless::Vec::new(),
            started: None,
            last_time: 0,
            last_shot: 0,
            last_points: None,
            strangers: 0,
            failed: false,
        })
    }

    /// Shots taken so far.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.shots.len()
    }

    /// Takes one frame of time `time_us`. A frame that is not later than the one before is ignored.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMismatch`] if the embeddings come from different models.
    pub fn step(&mut self, time_us: u64, view: View<'_>) -> Result<Guidance> {
        let started = *self.started.get_or_insert(time_us);
        if self.failed {
            return Ok(Guidance::Failed);
        }
        if self.shots.len() == self.rules.shots {
            return Ok(Guidance::Complete);
        }
        if time_us.saturating_sub(started) > self.rules.timeout_us {
            return Ok(self.fail());
        }
        if time_us <= self.last_time && self.last_time > 0 {
            return Ok(Guidance::HoldStill);
        }
        self.last_time = time_us;
        let View::Face { template, quality, points } = view else {
            self.last_points = None;
            return Ok(if matches!(view, View::Several) {
                Guidance::AnotherFace
            } else {
                Guidance::Nobody
            });
        };
        let before = self.last_points.replace(*points);
        if let Some(guidance) = complaint(quality.beyond(&self.rules.quality)) {
            return Ok(guidance);
        }
        if !before.is_some_and(|before| still(&before, points)) {
            return Ok(Guidance::HoldStill);
        }
        if !self.shots.is_empty() && self.likeness(template)? < self.rules.agree {
            self.strangers += 1;
            return Ok(if self.strangers >= STRANGERS {
                self.fail()
            } else {
                Guidance::SomebodyElse
            });
        }
        self.strangers = 0;
        let since =
            time_us.saturating_sub(if self.shots.is_empty() { started } else { self.last_shot });
        let wanted =
            [Guidance::LookStraight, Guidance::TurnLeft, Guidance::TurnRight][self.shots.len() % 3];
        let yaw = quality.pose.yaw;
        let shown = match wanted {
            Guidance::TurnLeft => yaw < -TURNED,
            Guidance::TurnRight => yaw > TURNED,
            _ => yaw.abs() < STRAIGHT,
        };
        if !shown && since < self.rules.patience_us {
            return Ok(wanted);
        }
        if !self.shots.is_empty() && since < self.rules.interval_us {
            return Ok(Guidance::HoldStill);
        }
        self.last_shot = time_us;
        // There is room: fewer shots are wanted than fit.
        let _ =
            self.shots.push(Shot { template: template.clone(), weight: quality.landmark_score });
        Ok(match self.rules.shots - self.shots.len() {
            0 => Guidance::Complete,
            more => Guidance::Taken(more),
        })
    }

    /// The shots fused by landmark score, without those that disagree with the rest.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] unless all shots are taken and most of them agree.
    pub fn fused(&self) -> Result<Template> {
        if self.failed || self.shots.len() < self.rules.shots {
            return Err(Error::new(ErrorKind::InvalidArgument, "the enrolment is not complete"));
        }
        let mut good = heapless::Vec::<(&Template, f32), MAX_SHOTS>::new();
        for (i, shot) in self.shots.iter().enumerate() {
            let mut sum = 0.0;
            for (_, other) in self.shots.iter().enumerate().filter(|&(j, _)| j != i) {
                sum += shot.template.similarity(&other.template)?;
            }
            let others = self.shots.len() - 1;
            if others == 0 || sum / others as f32 >= self.rules.agree {
                // There is room: as many as there are shots.
                let _ = good.push((&shot.template, shot.weight));
            }
        }
        if good.len() * 3 < self.shots.len() * 2 {
            return Err(Error::new(ErrorKind::InvalidArgument, "the shots do not show one person"));
        }
        Template::fuse(&good)
    }

    /// Stores a new person.
    ///
    /// # Errors
    /// [`ErrorKind::Duplicate`] if the name is taken, or the person is too alike to somebody enrolled; as [`Session::fused`]; as [`Store::enrol`].
    pub fn commit(self, store: &mut Store, name: &PersonName, at_ms: u64) -> Result<PersonId> {
        if store.find(name).is_some() {
            return Err(Error::new(ErrorKind::Duplicate, "somebody of that name is enrolled"));
        }
        let fused = self.check(store, None)?;
        store.enrol(name, &[&fused], at_ms)
    }

    /// Puts the new template in place of all that is stored of a person.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if nobody has that name; otherwise as [`Session::commit`].
    pub fn commit_again(
        self,
        store: &mut Store,
        name: &PersonName,
        at_ms: u64,
    ) -> Result<PersonId> {
        let known = store
            .find(name)
            .ok_or(Error::new(ErrorKind::NotFound, "nobody of that name is enrolled"))?;
        let fused = self.check(store, Some(known))?;
        store.replace(name, &[&fused], at_ms)
    }

    /// Compares the fused template and every shot with all that are enrolled.
    fn check(&self, store: &Store, known: Option<PersonId>) -> Result<Template> {
        let fused = self.fused()?;
        for template in std::iter::once(&fused).chain(self.shots.iter().map(|s| &s.template)) {
            let hits = store.search::<2>(template)?;
            if hits.iter().any(|h| Some(h.person) != known && h.score >= self.rules.duplicate) {
                return Err(Error::new(ErrorKind::Duplicate, "somebody too alike is enrolled"));
            }
        }
        Ok(fused)
    }

    /// Mean similarity to the shots so far.
    fn likeness(&self, template: &Template) -> Result<f32> {
        let mut sum = 0.0;
        for shot in &self.shots {
            sum += template.similarity(&shot.template)?;
        }
        Ok(sum / self.shots.len() as f32)
    }

    fn fail(&mut self) -> Guidance {
        self.failed = true;
        self.shots.clear();
        Guidance::Failed
    }
}

/// The first thing to mend, in an order in which mending one does not hide the next.
fn complaint(reasons: Reasons) -> Option<Guidance> {
    [
        (Reasons::PARTLY_OUTSIDE, Guidance::PartlyOutside),
        (Reasons::TOO_SMALL, Guidance::TooFar),
        (Reasons::TOO_DARK, Guidance::TooDark),
        (Reasons::TOO_BRIGHT, Guidance::TooBright),
        (Reasons::LOW_CONTRAST, Guidance::LowContrast),
        (Reasons::TILTED, Guidance::Tilted),
        (Reasons::TURNED_AWAY, Guidance::TurnedTooFar),
        (Reasons::BLURRED, Guidance::Blurred),
        (Reasons::LOW_LANDMARK_SCORE, Guidance::Unclear),
    ]
    .into_iter()
    .find_map(|(reason, guidance)| reasons.contains(reason).then_some(guidance))
}

/// Whether no point moved far, against the distance of the eyes.
fn still(before: &Points5, now: &Points5) -> bool {
    let unit = now[0].distance(now[1]);
    before.iter().zip(now).all(|(a, b)| a.distance(*b) <= STILL * unit)
}
