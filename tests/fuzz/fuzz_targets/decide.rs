//! Any sequence of frames: no panic, nobody let in without votes, nobody during a lock-out, the same twice.
#![no_main]

use keyface::decide::{Decider, Liveness, Observation, Rules, Seen, Verdict};
use keyface::gallery::{Hit, PersonId, RecordId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((head, frames)) = data.split_at_checked(6) else { return };
    let rules = Rules {
        votes: usize::from(head[0] % 17),
        misses: usize::from(head[1] % 17),
        window_us: u64::from(head[2]) * 100,
        person_failures: u32::from(head[3] % 4),
        door_failures: u32::from(head[4] % 4),
        lockout_us: u64::from(head[5]),
        ..Rules::new(0.5)
    };
    let Ok(mut decider) = Decider::new(rules) else { return };
    let (mut time, mut since_allow) = (0u64, 0usize);
    for frame in frames.chunks_exact(6) {
        let step = i64::from(i16::from_le_bytes([frame[0], frame[1]]));
        time = if frame[5] == 255 { u64::MAX } else { time.saturating_add_signed(step) };
        let score = |b: u8| if b == 255 { f32::NAN } else { f32::from(b) / 128.0 - 0.5 };
        let hit = |p: u8, s: u8| Hit { person: PersonId(p.into()), record: RecordId(p.into()), score: score(s) };
        let hits = [hit(frame[2] % 80, frame[3]), hit(frame[2] % 80 + 1, frame[4])];
        let liveness = [Liveness::NotChecked, Liveness::Real, Liveness::Spoof, Liveness::Unsure][usize::from(frame[5] >> 6)];
        let seen = match frame[5] & 7 {
            0 => Seen::Nobody,
            1 => Seen::Several,
            2 => Seen::Poor,
            3 => Seen::Failed,
            _ => Seen::Face { hits: &hits[..usize::from(frame[5] >> 3 & 3).min(2)], liveness },
        };
        let observation = Observation { time_us: time, claim: None, seen };
        let mut twin = decider.clone();
        let locked = decider.locked_until(time);
        let decision = decider.step(&observation, |_, _| true);
        assert_eq!(twin.step(&observation, |_, _| true), decision);
        since_allow += 1;
        if let Verdict::Allow(_) = decision.verdict {
            assert!(locked.is_none() && since_allow >= rules.votes);
            since_allow = 0;
        }
        assert!(decider.locked_until(time) >= locked);
    }
});
