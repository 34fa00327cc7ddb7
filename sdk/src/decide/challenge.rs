//! An active challenge: "turn left, nod, come closer", in an order that nobody could know.
//!
//! It stops what has no depth and no ears: a photograph held, moved, tilted or bent a little. It does not stop a video that the
//! attacker chooses to fit the request, a live deepfake, or a mask that is worn (THREATS.md has what was measured).
//!
//! Depth is read from five points. A flat picture, however it is moved, changes them by one affine map (nearly: perspective adds a little). The
//! map is fitted to the eyes and mouth corners, and the nose is where the map says, or it is not: [`parallax`]. A real
//! nose stands out from the plane of the others and moves against them as the head turns.

use nalgebra::{Matrix3, Vector3};

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Point, Points5};
use crate::template::Template;

/// Most actions of a challenge.
pub const MAX_ACTIONS: usize = 8;
/// Frames that make up the first, straight look.
const STRAIGHT_FRAMES: usize = 5;
/// Smallest parallax of a turn (about 18 degrees) and of a nod (about 15), in distances between the eyes.
const TURN: f32 = 0.15;
const NOD: f32 = 0.12;
/// Below this the head is straight again.
const REST: f32 = 0.08;
/// How much larger a face becomes that comes closer.
const CLOSER: f32 = 1.25;
/// Frames in a row that must show an action.
const HELD: u32 = 2;
/// Farthest that a face moves between two frames, in distances between the eyes: beyond that it was exchanged.
const JUMP: f32 = 0.7;
/// Longest time between two frames.
const GAP_US: u64 = 700_000;

/// What the person is asked to do; left and right as in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Turn the head to the left of the picture.
    TurnLeft,
    /// Turn it to the right of the picture.
    TurnRight,
    /// Nod, up or down.
    Nod,
    /// Come closer.
    ComeCloser,
}

/// Where a challenge stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Look straight into the camera.
    LookStraight,
    /// Do this.
    Do(Action),
    /// All was done.
    Passed,
    /// It is over: start another, with other actions.
    Failed(Failure),
}

/// Why a challenge failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It took too long.
    Timeout,
    /// The face was lost, or a second one came.
    FaceLost,
    /// The face jumped: another was put in its place.
    Jumped,
    /// The face became somebody else's.
    SomebodyElse,
    /// Another action than the one asked for.
    WrongAction,
}

/// How strict a challenge is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChallengeRules {
    /// Number of actions, 1 to 8.
    pub actions: usize,
    /// Time for each, in microseconds.
    pub timeout_us: u64,
    /// Every frame is at least so alike to the first: below the operating point, since heads turn.
    pub identity: f32,
}

impl ChallengeRules {
    /// Three actions, five seconds for each.
    #[must_use]
    pub fn new(identity: f32) -> Self {
        ChallengeRules { actions: 3, timeout_us: 5_000_000, identity }
    }
}

/// One challenge to one person.
pub struct Challenge {
    rules: ChallengeRules,
    actions: heapless::Vec<Action, MAX_ACTIONS>,
    at: usize,
    stage: Stage,
    /// The last action is done, and the head is on its way back.
    returning: bool,
    held: u32,
    since: Option<u64>,
    last_time: u64,
    last: Option<Points5>,
    straight: heapless::Vec<Points5, STRAIGHT_FRAMES>,
    reference: Option<(Points5, Template)>,
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Challenge")
            .field("stage", &self.stage)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Challenge {
    /// A challenge whose actions follow from `seed`: take it from the operating system's random numbers, anew each time.
    ///
    /// No action follows itself, so `n` actions have `4 * 3^(n-1)` orders: 36 for three.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if a rule is out of range.
    pub fn new(seed: u64, rules: ChallengeRules) -> Result<Self> {
        if !(1..=MAX_ACTIONS).contains(&rules.actions) || !rules.identity.is_finite() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a rule of the challenge is out of range",
            ));
        }
        const ALL: [Action; 4] =
            [Action::TurnLeft, Action::TurnRight, Action::Nod, Action::ComeCloser];
        let mut actions = heapless::Vec::<Action, MAX_ACTIONS>::new();
        let mut state = seed;
        for _ in 0..rules.actions {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            let others: heapless::Vec<Action, 4> =
                ALL.into_iter().filter(|a| actions.last() != Some(a)).collect();
            // There is room: the number of actions is checked.
            let _ = actions.push(others[(z % others.len() as u64) as usize]);
        }
        Ok(Challenge {
            rules,
            actions,
            at: 0,
            stage: Stage::LookStraight,
            returning: false,
            held: 0,
            since: None,
            last_time: 0,
            last: None,
            straight: heapless::Vec::new(),
            reference: None,
        })
    }

    /// Where it stands.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Takes one frame: the one face in it, or nothing if there was none, or more than one.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMismatch`] if the embeddings come from different models; the challenge has failed then.
    pub fn step(&mut self, time_us: u64, face: Option<(&Points5, &Template)>) -> Result<Stage> {
        if matches!(self.stage, Stage::Passed | Stage::Failed(_)) {
            return Ok(self.stage);
        }
        let since = *self.since.get_or_insert(time_us);
        let late =
            self.last.is_some() && (time_us <= self.last_time || time_us - self.last_time > GAP_US);
        let Some((points, template)) =
            face.filter(|(p, _)| p.iter().all(|p| p.is_finite()) && !late)
        else {
            return Ok(self.fail(Failure::FaceLost));
        };
        self.last_time = time_us;
        if time_us.saturating_sub(since) > self.rules.timeout_us {
            return Ok(self.fail(Failure::Timeout));
        }
        if self.last.replace(*points).is_some_and(|last| jumped(&last, points)) {
            return Ok(self.fail(Failure::Jumped));
        }
        let Some((reference, face)) = &self.reference else {
            return Ok(self.look_straight(time_us, points, template));
        };
        match face.similarity(template) {
            Ok(score) if score >= self.rules.identity => {}
            Ok(_) => return Ok(self.fail(Failure::SomebodyElse)),
            Err(e) => {
                self.fail(Failure::SomebodyElse);
                return Err(e);
            }
        }
        let (side, down) = parallax(reference, points);
        let nearer = points[0].distance(points[1]) / reference[0].distance(reference[1]);
        self.act(time_us, side, down, nearer);
        Ok(self.stage)
    }

    /// Collects the straight look that all else is measured against.
    fn look_straight(&mut self, time_us: u64, points: &Points5, template: &Template) -> Stage {
        if self.straight.push(*points).is_ok() && self.straight.is_full() {
            let n = self.straight.len() as f32;
            let mut mean = [Point::default(); 5];
            for points in &self.straight {
                for (m, p) in mean.iter_mut().zip(points) {
                    (m.x, m.y) = (m.x + p.x / n, m.y + p.y / n);
                }
            }
            self.reference = Some((mean, template.clone()));
            self.since = Some(time_us);
            self.stage = Stage::Do(self.actions[0]);
        }
        self.stage
    }

    fn act(&mut self, time_us: u64, side: f32, down: f32, nearer: f32) {
        let rest = side.abs() < REST && down.abs() < REST;
        if self.returning {
            if rest {
                self.returning = false;
                self.since = Some(time_us);
                self.stage = Stage::Do(self.actions[self.at]);
            }
            return;
        }
        let action = self.actions[self.at];
        let wrong = match action {
            Action::TurnLeft => side > TURN,
            Action::TurnRight => side < -TURN,
            // While nodding or coming closer a head may sway.
            Action::Nod | Action::ComeCloser => side.abs() > 2.0 * TURN,
        };
        if wrong {
            self.fail(Failure::WrongAction);
            return;
        }
        let done = match action {
            Action::TurnLeft => side < -TURN,
            Action::TurnRight => side > TURN,
            Action::Nod => down.abs() > NOD,
            Action::ComeCloser => nearer > CLOSER,
        };
        self.held = if done { self.held + 1 } else { 0 };
        if self.held >= HELD {
            self.held = 0;
            self.at += 1;
            self.returning = true;
            self.stage =
                if self.at == self.actions.len() { Stage::Passed } else { Stage::LookStraight };
        }
    }

    fn fail(&mut self, why: Failure) -> Stage {
        self.stage = Stage::Failed(why);
        self.reference = None;
        self.stage
    }
}

/// How far the nose lies from where a flat picture would have it, in distances between the eyes: along the line of the eyes (positive: to the
/// right) and at a right angle to it (positive: down). Zero where the points do not span a face.
#[must_use]
pub fn parallax(straight: &Points5, now: &Points5) -> (f32, f32) {
    const PLANE: [usize; 4] = [0, 1, 3, 4];
    let vector = |p: Point| Vector3::new(f64::from(p.x), f64::from(p.y), 1.0);
    let mut normal = Matrix3::zeros();
    let (mut x, mut y) = (Vector3::zeros(), Vector3::zeros());
    for i in PLANE {
        let from = vector(straight[i]);
        normal += from * from.transpose();
        x += from * f64::from(now[i].x);
        y += from * f64::from(now[i].y);
    }
    let eyes = (now[1].x - now[0].x, now[1].y - now[0].y);
    let length = eyes.0.hypot(eyes.1);
    let Some(inverse) = normal.try_inverse().filter(|_| length > 1e-3) else {
        return (0.0, 0.0);
    };
    let nose = vector(straight[2]);
    let expected = ((inverse * x).dot(&nose) as f32, (inverse * y).dot(&nose) as f32);
    let (dx, dy) = ((now[2].x - expected.0) / length, (now[2].y - expected.1) / length);
    let (ux, uy) = (eyes.0 / length, eyes.1 / length);
    (dx * ux + dy * uy, dy * ux - dx * uy)
}

/// Whether the middle of the face moved farther than a face does.
fn jumped(last: &Points5, now: &Points5) -> bool {
    let middle = |p: &Points5| {
        let sum = p.iter().fold((0.0, 0.0), |s, p| (s.0 + p.x, s.1 + p.y));
        Point::new(sum.0 / 5.0, sum.1 / 5.0)
    };
    let scale = last[0].distance(last[1]);
    let ratio = now[0].distance(now[1]) / scale;
    middle(last).distance(middle(now)) > JUMP * scale || !(0.5..2.0).contains(&ratio)
}
