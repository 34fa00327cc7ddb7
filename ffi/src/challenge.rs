//! The active challenge: "turn left, nod, come closer".

use crate::call::{borrow, call, check_size, give, invalid, release, Out};
use crate::handle::Handle;
use crate::pipeline::{detection, kf_face};
use crate::status::kf_status;
use crate::template::kf_template;
use keyface::decide::challenge::{Action, Challenge, ChallengeRules, Failure, Stage};

/// One challenge to one person. It stops what has no depth and no ears: a photograph held, moved, tilted. It does not stop
/// a video chosen to fit, a live deepfake or a mask that is worn.
pub struct kf_challenge(Handle<Challenge>);

/// How strict a challenge is. Fill it by kf_challenge_rules_init.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct kf_challenge_rules {
    /// sizeof(kf_challenge_rules).
    pub struct_size: u32,
    /// Number of actions, 1..=8. Default 3: one of 36 orders.
    pub actions: u32,
    /// Time for each, in microseconds. Default 5 s.
    pub timeout_us: u64,
    /// Every frame is at least so alike to the first: below the operating point, since heads turn.
    pub identity: f32,
    /// Zero.
    pub reserved: u32,
}

/// Where a challenge stands; left and right as in the picture.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_challenge_stage {
    /// Ask the person to look straight into the camera.
    LookStraight = 0,
    /// Ask to turn the head to the left of the picture.
    TurnLeft = 1,
    /// Ask to turn it to the right of the picture.
    TurnRight = 2,
    /// Ask to nod, up or down.
    Nod = 3,
    /// Ask to come closer.
    ComeCloser = 4,
    /// All was done.
    Passed = 5,
    /// It is over: start another, with other actions.
    Failed = 6,
}

/// Why a challenge failed.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_challenge_failure {
    /// It has not failed.
    None = 0,
    /// It took too long.
    Timeout = 1,
    /// The face was lost, or a second one came.
    FaceLost = 2,
    /// The face jumped: another was put in its place.
    Jumped = 3,
    /// The face became somebody else's.
    SomebodyElse = 4,
    /// Another action than the one asked for.
    WrongAction = 5,
}

/// Where a challenge stands.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kf_challenge_state {
    /// A kf_challenge_stage. Only KF_CHALLENGE_STAGE_PASSED is KF_LIVENESS_REAL for the decider.
    pub stage: u32,
    /// A kf_challenge_failure.
    pub failure: u32,
}

fn state_from(stage: Stage) -> kf_challenge_state {
    let (stage, failure) = match stage {
        Stage::LookStraight => (kf_challenge_stage::LookStraight, kf_challenge_failure::None),
        Stage::Do(Action::TurnLeft) => (kf_challenge_stage::TurnLeft, kf_challenge_failure::None),
        Stage::Do(Action::TurnRight) => (kf_challenge_stage::TurnRight, kf_challenge_failure::None),
        Stage::Do(Action::Nod) => (kf_challenge_stage::Nod, kf_challenge_failure::None),
        Stage::Do(Action::ComeCloser) => {
            (kf_challenge_stage::ComeCloser, kf_challenge_failure::None)
        }
        Stage::Passed => (kf_challenge_stage::Passed, kf_challenge_failure::None),
        Stage::Failed(why) => (
            kf_challenge_stage::Failed,
            match why {
                Failure::Timeout => kf_challenge_failure::Timeout,
                Failure::FaceLost => kf_challenge_failure::FaceLost,
                Failure::Jumped => kf_challenge_failure::Jumped,
                Failure::SomebodyElse => kf_challenge_failure::SomebodyElse,
                Failure::WrongAction => kf_challenge_failure::WrongAction,
            },
        ),
    };
    kf_challenge_state { stage: stage as u32, failure: failure as u32 }
}

/// Fills in the defaults. `identity`, as in kf_challenge_rules, lies below the threshold from kf_pack_get_threshold.
///
/// - Ownership: `rules` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_challenge_rules_init(
    identity: f32,
    rules: *mut kf_challenge_rules,
) -> kf_status {
    call("kf_challenge_rules_init", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(rules) }?;
        let usual = ChallengeRules::new(identity);
        out.write(kf_challenge_rules {
            struct_size: size_of::<kf_challenge_rules>() as u32,
            actions: usual.actions as u32,
            timeout_us: usual.timeout_us,
            identity: usual.identity,
            reserved: 0,
        });
        Ok(())
    })
}

/// Makes a challenge whose actions follow from `seed`: take it from the system's random numbers (getrandom), anew each time,
/// not from a clock: whoever can guess it has a video that fits.
///
/// - Ownership: the caller frees `*challenge` by kf_challenge_free.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_challenge_new(
    seed: u64,
    rules: *const kf_challenge_rules,
    challenge: *mut *mut kf_challenge,
) -> kf_status {
    call("kf_challenge_new", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(challenge) }?;
        // SAFETY: as the header asks.
        let rules = unsafe { borrow(rules) }?;
        check_size::<kf_challenge_rules>(rules.struct_size)?;
        let made = Challenge::new(
            seed,
            ChallengeRules {
                actions: rules.actions as usize,
                timeout_us: rules.timeout_us,
                identity: rules.identity,
            },
        )?;
        out.write(give(kf_challenge(Handle::new("challenge", made))));
        Ok(())
    })
}

/// Ends a challenge; the embedding of its first frame is wiped.
///
/// - Ownership: takes `challenge`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: no.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_challenge_free(challenge: *mut kf_challenge) {
    // SAFETY: as the header asks.
    unsafe { release("kf_challenge_free", challenge) }
}

/// Takes one frame of time `time_us`: the one face in it and its embedding, or neither if there was none or more than one.
/// Frames come at most 0.7 s apart, from the first to the last.
///
/// - Ownership: all is the caller's.
/// - NULL: `face` and `embedding` may both be NULL, which ends the challenge.
/// - Threads: the challenge needs to be yours alone.
/// - Memory: allocates a template when the straight look is complete.
/// - Blocks: no.
/// - Status: KF_STATUS_MODEL_MISMATCH: the challenge has failed then.
#[no_mangle]
pub unsafe extern "C" fn kf_challenge_step(
    challenge: *mut kf_challenge,
    time_us: u64,
    face: *const kf_face,
    embedding: *const kf_template,
    state: *mut kf_challenge_state,
) -> kf_status {
    call("kf_challenge_step", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(state) }?;
        // SAFETY: as the header asks.
        let mut challenge = unsafe { borrow(challenge.cast_const()) }?.0.exclusive()?;
        let stage = match (face.is_null(), embedding.is_null()) {
            (true, true) => challenge.step(time_us, None)?,
            (false, false) => {
                // SAFETY: as the header asks.
                let face = detection(unsafe { borrow(face) }?)?;
                // SAFETY: as the header asks.
                let embedding = unsafe { borrow(embedding) }?.0.shared()?;
                challenge.step(time_us, Some((&face.points, embedding.get()?)))?
            }
            _ => return Err(invalid("a face without an embedding, or the other way about")),
        };
        out.write(state_from(stage));
        Ok(())
    })
}

/// Where a challenge stands.
///
/// - Ownership: `state` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_challenge_get_state(
    challenge: *const kf_challenge,
    state: *mut kf_challenge_state,
) -> kf_status {
    call("kf_challenge_get_state", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(state) }?;
        // SAFETY: as the header asks.
        out.write(state_from(unsafe { borrow(challenge) }?.0.shared()?.stage()));
        Ok(())
    })
}
