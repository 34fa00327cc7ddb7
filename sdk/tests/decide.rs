//! The rules of `keyface::decide`, as properties over arbitrary sequences of frames, and by example.

use keyface::decide::{Decider, Decision, Liveness, Observation, Reasons, Rules, Seen, Verdict};
use keyface::gallery::{Hit, PersonId, RecordId};
use proptest::collection::vec;
use proptest::prelude::*;

/// A frame as data, so that it can be generated, shrunk and printed.
#[derive(Debug, Clone)]
struct Frame {
    /// To the frame before; negative for one out of order.
    step_us: i64,
    claim: Option<u64>,
    kind: u8,
    liveness: Liveness,
    hits: Vec<(u64, f32)>,
}

const MS: u64 = 1000;

fn rules() -> impl Strategy<Value = Rules> {
    (1..5usize, 1..5usize, 1..2000u64, 0..3000u64, 0..4u32, 0..5u32, 1..2000u64, any::<bool>())
        .prop_map(
            |(
                votes,
                misses,
                window,
                cooldown,
                person_failures,
                door_failures,
                lockout,
                need_liveness,
            )| Rules {
                votes,
                misses,
                window_us: window * MS,
                cooldown_us: cooldown * MS,
                person_failures,
                door_failures,
                lockout_us: lockout * MS,
                longest_lockout_us: lockout * MS * 8,
                forget_us: 20_000 * MS,
                need_liveness,
                ..Rules::new(0.5)
            },
        )
}

fn frame() -> impl Strategy<Value = Frame> {
    let step = prop_oneof![
        12 => 1..200_000i64,
        2 => 200_000..5_000_000i64,
        1 => Just(0i64),
        1 => -1_000_000..0i64,
    ];
    let score = prop_oneof![10 => 0.5..1.0f32, 4 => 0.0..0.5f32, 1 => Just(f32::NAN)];
    let hits = prop_oneof![
        6 => score.clone().prop_map(|s| vec![(1, s)]),
        4 => vec((1..5u64, score), 0..3),
    ];
    let liveness = prop_oneof![
        5 => Just(Liveness::Real),
        1 => Just(Liveness::Unsure),
        1 => Just(Liveness::Spoof),
        1 => Just(Liveness::NotChecked),
    ];
    let claim = prop_oneof![8 => Just(None), 1 => (1..4u64).prop_map(Some)];
    let kind = prop_oneof![14 => Just(0u8), 1 => 1..5u8];
    (step, claim, kind, liveness, hits).prop_map(|(step_us, claim, kind, liveness, hits)| Frame {
        step_us,
        claim,
        kind,
        liveness,
        hits,
    })
}

/// A schedule that shuts person 2 out in every second second.
fn permitted(person: PersonId, time_us: u64) -> bool {
    person != PersonId(2) || (time_us / 1_000_000).is_multiple_of(2)
}

impl Frame {
    fn step(&self, decider: &mut Decider, time_us: u64) -> Decision {
        let hits: Vec<Hit> = self
            .hits
            .iter()
            .map(|&(p, score)| Hit { person: PersonId(p), record: RecordId(p), score })
            .collect();
        let seen = match self.kind {
            0 => Seen::Face { hits: &hits, liveness: self.liveness },
            1 => Seen::Nobody,
            2 => Seen::Several,
            3 => Seen::Poor,
            _ => Seen::Failed,
        };
        decider.step(&Observation { time_us, claim: self.claim.map(PersonId), seen }, permitted)
    }

    fn is_error(&self) -> bool {
        self.kind == 4 || (self.kind == 0 && self.hits.iter().any(|h| h.1.is_nan()))
    }

    /// The person for whom this is a good frame: rule 2, written down a second time.
    fn good_for(&self, rules: &Rules) -> Option<u64> {
        let &(person, score) = self.hits.first()?;
        let rival =
            self.hits.iter().filter(|h| h.0 != person).map(|h| h.1).fold(f32::MIN, f32::max);
        let alive = match self.liveness {
            Liveness::Real => true,
            Liveness::Spoof => false,
            _ => !rules.need_liveness,
        };
        let good = self.kind == 0
            && !self.is_error()
            && score >= rules.threshold
            && score - rival >= rules.margin
            && alive
            && self.claim.is_none_or(|c| c == person);
        good.then_some(person)
    }
}

/// Times of the frames: each step from the latest time so far, so that out-of-order frames stay exceptions.
fn times(frames: &[Frame]) -> Vec<u64> {
    let mut latest = None;
    let mut next = |f: &Frame| {
        let t = latest.unwrap_or(10_000_000u64).saturating_add_signed(f.step_us);
        latest = latest.max(Some(t));
        t
    };
    frames.iter().map(&mut next).collect()
}

fn run(rules: Rules, frames: &[Frame]) -> Vec<Decision> {
    let mut decider = Decider::new(rules).unwrap();
    frames.iter().zip(times(frames)).map(|(f, t)| f.step(&mut decider, t)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn allow_needs_enough_good_agreeing_frames_in_the_window(rules in rules(), frames in vec(frame(), 0..60)) {
        let decisions = run(rules, &frames);
        let times = times(&frames);
        for (i, decision) in decisions.iter().enumerate() {
            let Verdict::Allow(PersonId(person)) = decision.verdict else { continue };
            prop_assert_eq!(decision.reasons, Reasons::NONE);
            let mut good = 0;
            for j in (0..=i).rev() {
                let spoils = matches!(frames[j].kind, 1 | 2 | 4) || frames[j].is_error() || (j > 0 && frames[j].step_us <= 0);
                let allowed_before = j < i && matches!(decisions[j].verdict, Verdict::Allow(_));
                if spoils || allowed_before || times[i] - times[j] > rules.window_us {
                    break;
                }
                match frames[j].good_for(&rules) {
                    Some(p) if p == person => good += 1,
                    Some(_) => break,
                    None => {}
                }
            }
            prop_assert!(good >= rules.votes, "{} good frames", good);
        }
    }

    #[test]
    fn any_error_denies(rules in rules(), frames in vec(frame(), 0..60)) {
        let mut latest = None;
        for ((decision, frame), time) in run(rules, &frames).iter().zip(&frames).zip(times(&frames)) {
            let bad_time = latest.is_some_and(|l| time <= l);
            if bad_time || frame.is_error() {
                prop_assert_eq!(decision.verdict, Verdict::Deny);
                prop_assert!(decision.reasons != Reasons::NONE);
            }
            prop_assert_eq!(bad_time, decision.reasons.contains(Reasons::BAD_TIME));
            latest = latest.max(Some(time));
        }
    }

    #[test]
    fn nothing_shortens_a_lockout(rules in rules(), frames in vec(frame(), 0..100)) {
        let mut decider = Decider::new(rules).unwrap();
        let mut latest = 0;
        for (frame, time) in frames.iter().zip(times(&frames)) {
            let before = decider.clone();
            let decision = frame.step(&mut decider, time);
            if let Some(until) = before.locked_until(time) {
                prop_assert!(decider.locked_until(time) >= Some(until));
                prop_assert_eq!(decision.verdict, Verdict::Deny);
            }
            for person in (1..5).map(PersonId) {
                if let Some(until) = before.person_locked_until(person, time) {
                    prop_assert!(decider.person_locked_until(person, time) >= Some(until));
                    prop_assert_ne!(decision.verdict, Verdict::Allow(person));
                }
            }
            // Old time stamps do not get behind a lock-out either.
            if time <= latest {
                prop_assert_eq!(decider.locked_until(latest), before.locked_until(latest));
            }
            latest = latest.max(time);
        }
    }

    #[test]
    fn same_inputs_same_outputs(rules in rules(), frames in vec(frame(), 0..60)) {
        prop_assert_eq!(run(rules, &frames), run(rules, &frames));
    }

    #[test]
    fn cooldown_and_schedule_hold(rules in rules(), frames in vec(frame(), 0..100)) {
        let mut last = std::collections::BTreeMap::new();
        for (decision, time) in run(rules, &frames).iter().zip(times(&frames)) {
            if let Verdict::Allow(person) = decision.verdict {
                prop_assert!(permitted(person, time));
                if let Some(before) = last.insert(person, time) {
                    prop_assert!(time - before >= rules.cooldown_us);
                }
            } else {
                prop_assert!(decision.reasons != Reasons::NONE, "whoever is not let in is told why");
            }
        }
    }

    #[test]
    fn a_restarted_clock_keeps_lockouts(rules in rules(), frames in vec(frame(), 1..60), fresh in 0..1_000_000u64) {
        let mut decider = Decider::new(rules).unwrap();
        let times = times(&frames);
        for (frame, &time) in frames.iter().zip(&times) {
            frame.step(&mut decider, time);
        }
        let last = times.into_iter().max().unwrap();
        let left = decider.locked_until(last).map(|u| u - last);
        decider.clock_restarted(fresh);
        prop_assert_eq!(decider.locked_until(fresh).map(|u| u - fresh), left);
    }
}

fn hit(person: u64, score: f32) -> Hit {
    Hit { person: PersonId(person), record: RecordId(person), score }
}

fn face(hits: &[Hit]) -> Seen<'_> {
    Seen::Face { hits, liveness: Liveness::NotChecked }
}

/// A decider and its clock.
struct Door {
    decider: Decider,
    now: u64,
}

impl Door {
    fn new(rules: Rules) -> Self {
        Door { decider: Decider::new(rules).unwrap(), now: 0 }
    }

    fn see(&mut self, seen: Seen<'_>) -> Decision {
        self.now += 100 * MS;
        self.decider.step(&Observation { time_us: self.now, claim: None, seen }, |_, _| true)
    }
}

#[test]
fn three_good_frames_open_once() {
    let mut door = Door::new(Rules::new(0.4));
    let ann = [hit(1, 0.8), hit(2, 0.1)];
    assert_eq!(door.see(face(&ann)).reasons, Reasons::COLLECTING);
    assert_eq!(door.see(Seen::Poor).verdict, Verdict::Wait);
    assert_eq!(door.see(face(&ann)).verdict, Verdict::Wait);
    assert_eq!(door.see(face(&ann)).verdict, Verdict::Allow(PersonId(1)));
    for _ in 0..10 {
        let decision = door.see(face(&ann));
        assert_eq!((decision.verdict, decision.reasons), (Verdict::Wait, Reasons::COOL_DOWN));
    }
    door.now += 5_000 * MS;
    assert_eq!(door.see(face(&ann)).reasons, Reasons::COLLECTING);
}

#[test]
fn a_person_who_goes_away_takes_the_votes_along() {
    let mut door = Door::new(Rules::new(0.4));
    for gone in [Seen::Nobody, Seen::Several, Seen::Failed] {
        door.see(face(&[hit(1, 0.8)]));
        door.see(face(&[hit(1, 0.8)]));
        assert_eq!(door.see(gone).verdict, Verdict::Deny);
        assert_eq!(door.see(face(&[hit(1, 0.8)])).verdict, Verdict::Wait);
        door.see(Seen::Nobody);
    }
}

#[test]
fn look_alikes_and_strangers_stay_out() {
    let mut door = Door::new(Rules::new(0.4));
    for _ in 0..20 {
        assert_eq!(door.see(face(&[hit(1, 0.61), hit(2, 0.6)])).reasons, Reasons::AMBIGUOUS);
    }
    for _ in 0..4 {
        assert_eq!(door.see(face(&[hit(1, 0.39)])).reasons, Reasons::NO_MATCH);
    }
    assert_eq!(door.see(face(&[])).verdict, Verdict::Deny);
}

#[test]
fn lockouts_double() {
    let rules = Rules { misses: 1, door_failures: 2, forget_us: u64::MAX, ..Rules::new(0.4) };
    let mut door = Door::new(rules);
    for length in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
        door.see(face(&[]));
        assert!(door.see(face(&[])).reasons.contains(Reasons::DOOR_LOCKED));
        assert_eq!(door.decider.locked_until(door.now), Some(door.now + length * 1_000_000));
        assert_eq!(door.see(face(&[hit(1, 0.9)])).reasons, Reasons::DOOR_LOCKED);
        door.now += length * 1_000_000;
    }
    door.decider.unlock();
    for _ in 0..2 {
        assert_eq!(door.see(face(&[hit(1, 0.9)])).verdict, Verdict::Wait);
    }
    assert_eq!(door.see(face(&[hit(1, 0.9)])).verdict, Verdict::Allow(PersonId(1)));
}

#[test]
fn a_spoofed_person_is_locked_alone() {
    let mut door = Door::new(Rules { door_failures: 0, votes: 1, ..Rules::new(0.4) });
    let photo = [hit(1, 0.9)];
    for n in 1..=5 {
        let decision = door.see(Seen::Face { hits: &photo, liveness: Liveness::Spoof });
        assert_eq!(decision.reasons.contains(Reasons::PERSON_LOCKED), n == 5);
    }
    assert_eq!(door.see(face(&photo)).reasons, Reasons::PERSON_LOCKED);
    assert_eq!(door.see(face(&[hit(2, 0.9)])).verdict, Verdict::Allow(PersonId(2)));
}

#[test]
fn more_lockouts_than_can_be_remembered_shut_the_door() {
    let rules = Rules { person_failures: 1, door_failures: 0, ..Rules::new(0.4) };
    let mut door = Door::new(rules);
    let mut shut = None;
    for n in 1..200 {
        let hits = [hit(n, 0.9)];
        let decision = door.see(Seen::Face { hits: &hits, liveness: Liveness::Spoof });
        if decision.reasons.contains(Reasons::BUSY) {
            shut = Some(n);
            break;
        }
    }
    assert_eq!(shut, Some(65));
    assert!(door.decider.locked_until(door.now).is_some());
}

#[test]
fn a_claim_admits_nobody_else() {
    let mut decider = Decider::new(Rules { votes: 1, misses: 1, ..Rules::new(0.4) }).unwrap();
    let hits = [hit(1, 0.9)];
    let mut see = |time_us, claim| {
        decider.step(
            &Observation { time_us, claim: Some(PersonId(claim)), seen: face(&hits) },
            |_, _| true,
        )
    };
    assert_eq!(see(1, 2).reasons, Reasons::NO_MATCH);
    assert_eq!(see(2, 1).verdict, Verdict::Allow(PersonId(1)));
}

#[test]
fn rules_out_of_range_are_refused() {
    let good = Rules::new(0.4);
    for bad in [
        Rules { votes: 0, ..good },
        Rules { votes: 17, ..good },
        Rules { misses: 0, ..good },
        Rules { threshold: f32::NAN, ..good },
        Rules { margin: -0.1, ..good },
        Rules { window_us: 0, ..good },
        Rules { lockout_us: 0, ..good },
        Rules { lockout_us: 2, longest_lockout_us: 1, ..good },
    ] {
        assert!(Decider::new(bad).is_err(), "{bad:?}");
    }
}
