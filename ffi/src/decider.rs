//! From observations to ALLOW, DENY or WAIT.

use crate::call::{borrow, call, check_size, flag, give, invalid, release, slice, Out};
use crate::gallery::kf_match;
use crate::handle::Handle;
use crate::status::kf_status;
use keyface::decide::{Decider, Decision, Liveness, Observation, Reasons, Rules, Seen, Verdict};
use keyface::gallery::{Hit, PersonId, RecordId};
use keyface::Result;
use std::ffi::c_void;

/// The state machine of one door. It starts at DENY, and every failure leads back there.
pub struct kf_decider(Handle<Decider>);

/// What a door's operator decides. Fill it by kf_rules_init. Times are microseconds.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct kf_rules {
    /// sizeof(kf_rules).
    pub struct_size: u32,
    /// Score from which on a comparison counts, from kf_pack_get_threshold.
    pub threshold: f32,
    /// How far the best person must lie above the second, in score. Default 0.05.
    pub margin: f32,
    /// Good frames that must agree, 1..=16. Default 3.
    pub votes: u32,
    /// Good frames that match nobody before an attempt has failed, 1..=16. Default 5.
    pub misses: u32,
    /// Failed attempts of one person before that person is locked out; 0 for never. Default 5.
    pub person_failures: u32,
    /// Failed attempts of anybody before the door is locked; 0 for never. Default 10.
    pub door_failures: u32,
    /// 1 if "unsure" and "not checked" are not enough, otherwise 0. Default 0.
    pub need_liveness: u32,
    /// Within which time the votes must come. Default 2 s.
    pub window_us: u64,
    /// How long a person who was allowed in is not allowed again. Default 5 s.
    pub cooldown_us: u64,
    /// Length of the first lock-out; each further one is twice as long. Default 30 s.
    pub lockout_us: u64,
    /// Length that lock-outs do not exceed. Default 1 h.
    pub longest_lockout_us: u64,
    /// Failures are forgotten after this long without another. Default 15 min.
    pub forget_us: u64,
}

/// What was seen in a frame.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_seen {
    /// A stage failed: the frame was bad, the camera is lost, a call gave an error. Zero, so that what was never filled in
    /// keeps the door shut.
    Failed = 0,
    /// Nobody.
    Nobody = 1,
    /// More than one face that could be meant.
    Several = 2,
    /// One face that is not good enough to compare.
    Poor = 3,
    /// One good face; `matches` say what the gallery knows of it.
    Face = 4,
}

/// What a presentation-attack check says of a face.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_liveness {
    /// No check was made.
    NotChecked = 0,
    /// A live face.
    Real = 1,
    /// A picture, a screen, a mask.
    Spoof = 2,
    /// The check cannot tell.
    Unsure = 3,
}

/// One frame, as the decider sees it. Zero it, then fill in what is known.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct kf_observation {
    /// sizeof(kf_observation).
    pub struct_size: u32,
    /// A kf_seen.
    pub seen: u32,
    /// A kf_liveness.
    pub liveness: u32,
    /// How many matches, 0..=16.
    pub match_count: u32,
    /// The frame's timestamp in microseconds, of a clock that never runs backwards.
    pub time_us: u64,
    /// Number of the person whom a badge or a PIN claims this to be; 0 for none.
    pub claim: u64,
    /// What kf_gallery_search gave; two are enough. The caller's, read during the call. NULL if there are none.
    pub matches: *const kf_match,
}

/// What to do.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_verdict {
    /// Keep shut.
    Deny = 0,
    /// Keep shut, and look at the next frame: somebody is being recognised.
    Wait = 1,
    /// Open for kf_decision.person. Given once for an attempt.
    Allow = 2,
}

/// Why not, as bits of kf_decision.reasons that never change their meaning.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_decision_reason {
    /// No face in the frame.
    Nobody = 1,
    /// More than one face.
    SeveralFaces = 2,
    /// The face is too small, dark, blurred, turned ...
    Quality = 4,
    /// Not enough good frames yet.
    Collecting = 8,
    /// The face matches nobody, or not the person claimed.
    NoMatch = 16,
    /// Two people are about as alike.
    Ambiguous = 32,
    /// Frames within the window matched different people.
    Disagree = 64,
    /// A picture, a screen or a mask.
    Spoof = 128,
    /// Liveness is asked for and was not shown.
    Liveness = 256,
    /// This person was let in a moment ago.
    CoolDown = 512,
    /// This person is locked out.
    PersonLocked = 1024,
    /// Everybody is locked out.
    DoorLocked = 2048,
    /// Not at this time.
    Schedule = 4096,
    /// A timestamp was repeated or ran backwards.
    BadTime = 8192,
    /// A stage failed.
    Error = 16384,
    /// More people have cool-downs or lock-outs than can be remembered.
    Busy = 32768,
}

/// A verdict and why.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kf_decision {
    /// A kf_verdict. Anything but KF_VERDICT_ALLOW keeps the door shut.
    pub verdict: u32,
    /// Bits of kf_decision_reason; 0 for ALLOW.
    pub reasons: u32,
    /// Who may pass; 0 unless the verdict is ALLOW.
    pub person: u64,
}

/// The SDK's decision.
pub(crate) fn decision(from: &kf_decision) -> Result<Decision> {
    let known = Reasons::ALL.into_iter().filter(|(r, _)| from.reasons & r.bits() != 0);
    let reasons = known.fold(Reasons::NONE, |all, (r, _)| all | r);
    let verdict = match (from.verdict, from.person) {
        (0, 0) => Verdict::Deny,
        (1, 0) => Verdict::Wait,
        (2, person) if person != 0 => Verdict::Allow(PersonId(person)),
        _ => return Err(invalid("an unknown verdict, or one that does not fit the person")),
    };
    if reasons.bits() != from.reasons {
        return Err(invalid("an unknown reason"));
    }
    Ok(Decision { verdict, reasons })
}

/// The schedule: whether a person may pass at a frame's time, 1 or 0; asked just before an ALLOW, on the calling thread.
/// It must not use the same decider, throw or longjmp.
pub type kf_permitted_callback =
    Option<unsafe extern "C" fn(person: u64, time_us: u64, userdata: *mut c_void) -> u32>;

/// Fills in the defaults for a threshold from kf_pack_get_threshold.
///
/// - Ownership: `rules` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_rules_init(threshold: f32, rules: *mut kf_rules) -> kf_status {
    call("kf_rules_init", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(rules) }?;
        let usual = Rules::new(threshold);
        out.write(kf_rules {
            struct_size: size_of::<kf_rules>() as u32,
            threshold: usual.threshold,
            margin: usual.margin,
            votes: usual.votes as u32,
            misses: usual.misses as u32,
            person_failures: usual.person_failures,
            door_failures: usual.door_failures,
            need_liveness: u32::from(usual.need_liveness),
            window_us: usual.window_us,
            cooldown_us: usual.cooldown_us,
            lockout_us: usual.lockout_us,
            longest_lockout_us: usual.longest_lockout_us,
            forget_us: usual.forget_us,
        });
        Ok(())
    })
}

/// Makes a door that is shut.
///
/// - Ownership: the caller frees `*decider` by kf_decider_free.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_decider_new(
    rules: *const kf_rules,
    decider: *mut *mut kf_decider,
) -> kf_status {
    call("kf_decider_new", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(decider) }?;
        // SAFETY: as the header asks.
        let rules = unsafe { borrow(rules) }?;
        check_size::<kf_rules>(rules.struct_size)?;
        let made = Decider::new(Rules {
            threshold: rules.threshold,
            margin: rules.margin,
            votes: rules.votes as usize,
            window_us: rules.window_us,
            misses: rules.misses as usize,
            cooldown_us: rules.cooldown_us,
            person_failures: rules.person_failures,
            door_failures: rules.door_failures,
            lockout_us: rules.lockout_us,
            longest_lockout_us: rules.longest_lockout_us,
            forget_us: rules.forget_us,
            need_liveness: flag(rules.need_liveness)?,
        })?;
        out.write(give(kf_decider(Handle::new("decider", made))));
        Ok(())
    })
}

/// Frees a decider.
///
/// - Ownership: takes `decider`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: no.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_decider_free(decider: *mut kf_decider) {
    // SAFETY: as the header asks.
    unsafe { release("kf_decider_free", decider) }
}

/// Takes one frame. On any status but KF_STATUS_OK keep the door shut.
///
/// - Ownership: all is the caller's; `userdata` goes to `permitted`.
/// - NULL: `permitted` may be NULL for "always"; `userdata` may be NULL.
/// - Threads: the decider needs to be yours alone.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_decider_step(
    decider: *mut kf_decider,
    observation: *const kf_observation,
    permitted: kf_permitted_callback,
    userdata: *mut c_void,
    decision: *mut kf_decision,
) -> kf_status {
    call("kf_decider_step", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(decision) }?;
        // SAFETY: as the header asks.
        let mut decider = unsafe { borrow(decider.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let seen = unsafe { borrow(observation) }?;
        check_size::<kf_observation>(seen.struct_size)?;
        if seen.match_count > 16 {
            return Err(invalid("more than 16 matches"));
        }
        // SAFETY: as the header asks.
        let matches = unsafe { slice(seen.matches, seen.match_count as usize) }?;
        let mut hits = [Hit { person: PersonId(0), record: RecordId(0), score: 0.0 }; 16];
        for (to, from) in hits.iter_mut().zip(matches) {
            *to = Hit {
                person: PersonId(from.person),
                record: RecordId(from.record),
                score: from.score,
            };
        }
        let liveness = match seen.liveness {
            0 => Liveness::NotChecked,
            1 => Liveness::Real,
            2 => Liveness::Spoof,
            3 => Liveness::Unsure,
            _ => return Err(invalid("an unknown liveness")),
        };
        let observation = Observation {
            time_us: seen.time_us,
            claim: (seen.claim != 0).then_some(PersonId(seen.claim)),
            seen: match seen.seen {
                0 => Seen::Failed,
                1 => Seen::Nobody,
                2 => Seen::Several,
                3 => Seen::Poor,
                4 => Seen::Face { hits: &hits[..matches.len()], liveness },
                _ => return Err(invalid("an unknown kind of observation")),
            },
        };
        let decided = decider.step(&observation, |person, time_us| {
            // SAFETY: the callback is the caller's.
            permitted.is_none_or(|ask| unsafe { ask(person.0, time_us, userdata) } == 1)
        });
        let (verdict, person) = match decided.verdict {
            Verdict::Deny => (kf_verdict::Deny, 0),
            Verdict::Wait => (kf_verdict::Wait, 0),
            Verdict::Allow(person) => (kf_verdict::Allow, person.0),
        };
        out.write(kf_decision { verdict: verdict as u32, reasons: decided.reasons.bits(), person });
        Ok(())
    })
}

/// Changes the threshold, as after a change of the gallery's size; votes so far are void.
///
/// - Ownership: all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: the decider needs to be yours alone.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other; the old threshold stays then.
#[no_mangle]
pub unsafe extern "C" fn kf_decider_set_threshold(
    decider: *mut kf_decider,
    threshold: f32,
) -> kf_status {
    call("kf_decider_set_threshold", || {
        // SAFETY: as the header asks.
        unsafe { borrow(decider.cast_const()) }?.0.exclusive()?.set_threshold(threshold)
    })
}

/// When the lock-out at `time_us` ends, of a person's number or, for `person` 0, of the door: a frame's time, or 0 if there
/// is none.
///
/// - Ownership: `until_us` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_decider_locked_until(
    decider: *const kf_decider,
    person: u64,
    time_us: u64,
    until_us: *mut u64,
) -> kf_status {
    call("kf_decider_locked_until", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(until_us) }?;
        // SAFETY: as the header asks.
        let decider = unsafe { borrow(decider) }?.0.shared()?;
        let until = match person {
            0 => decider.locked_until(time_us),
            id => decider.person_locked_until(PersonId(id), time_us),
        };
        out.write(until.unwrap_or(0));
        Ok(())
    })
}

/// Tells that the frames' clock starts anew at `time_us`. Lock-outs and cool-downs keep their remaining length, votes are
/// void.
///
/// - Ownership: all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: the decider needs to be yours alone.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_decider_clock_restarted(
    decider: *mut kf_decider,
    time_us: u64,
) -> kf_status {
    call("kf_decider_clock_restarted", || {
        // SAFETY: as the header asks.
        unsafe { borrow(decider.cast_const()) }?.0.exclusive()?.clock_restarted(time_us);
        Ok(())
    })
}

/// Ends all lock-outs and forgets failures: for an operator who is present.
///
/// - Ownership: all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: the decider needs to be yours alone.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_decider_unlock(decider: *mut kf_decider) -> kf_status {
    call("kf_decider_unlock", || {
        // SAFETY: as the header asks.
        unsafe { borrow(decider.cast_const()) }?.0.exclusive()?.unlock();
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_the_sdk_s_bits() {
        let ours = [
            kf_decision_reason::Nobody,
            kf_decision_reason::SeveralFaces,
            kf_decision_reason::Quality,
            kf_decision_reason::Collecting,
            kf_decision_reason::NoMatch,
            kf_decision_reason::Ambiguous,
            kf_decision_reason::Disagree,
            kf_decision_reason::Spoof,
            kf_decision_reason::Liveness,
            kf_decision_reason::CoolDown,
            kf_decision_reason::PersonLocked,
            kf_decision_reason::DoorLocked,
            kf_decision_reason::Schedule,
            kf_decision_reason::BadTime,
            kf_decision_reason::Error,
            kf_decision_reason::Busy,
        ];
        assert_eq!(Reasons::ALL.map(|(r, _)| r.bits()), ours.map(|r| r as u32));
    }
}
