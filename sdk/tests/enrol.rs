//! Enrolment sessions and changes of model, on made-up faces.

use keyface::enrol::{EnrolRules, Guidance, Migration, Progress, Session, View};
use keyface::gallery::fault::FaultDisk;
use keyface::gallery::{HostKey, PersonName, Store, StoreOptions};
use keyface::geometry::{Point, Points5, TEMPLATE_112};
use keyface::quality::{Pose, Quality, Reasons};
use keyface::sample::LumaStats;
use keyface::template::{ModelId, Template};
use keyface::ErrorKind;

const OLD: ModelId = ModelId([1; 32]);
const NEW: ModelId = ModelId([2; 32]);
const STEP: u64 = 100_000;

fn store() -> Store {
    Store::open_on(Box::new(FaultDisk::default()), &HostKey::new(&[1; 32]), StoreOptions::default())
        .unwrap()
}

fn name(s: &str) -> PersonName {
    PersonName::new(s).unwrap()
}

/// A person's face: one direction of space, disturbed a little by the shot.
fn face(model: ModelId, person: usize, shot: usize) -> Template {
    let mut v = [0.0f32; 32];
    v[person] = 1.0;
    v[16 + (person * 5 + shot * 3) % 16] += 0.4;
    Template::from_embedding(&v, model).unwrap()
}

fn quality(yaw: f32) -> Quality {
    Quality {
        eye_distance: 60.0,
        sharpness: 0.3,
        luma: LumaStats { mean: 120.0, deviation: 40.0, dark: 0.0, bright: 0.0 },
        pose: Pose { yaw, pitch: 0.0, roll: 0.0 },
        nme: 0.02,
        landmark_score: 0.8,
        outside: 0.0,
        reasons: Reasons::NONE,
    }
}

struct Booth {
    session: Session,
    now: u64,
    points: Points5,
}

impl Booth {
    fn new() -> Self {
        Booth { session: Session::new(EnrolRules::new(0.5)).unwrap(), now: 1, points: TEMPLATE_112 }
    }

    fn show(&mut self, template: &Template, quality: &Quality) -> Guidance {
        self.now += STEP;
        self.session.step(self.now, View::Face { template, quality, points: &self.points }).unwrap()
    }

    /// A person who does what is asked; gives all that was said on the way.
    fn cooperate(&mut self, person: usize) -> Vec<Guidance> {
        let (mut said, mut yaw) = (vec![], 0.0);
        for i in 0..200 {
            let guidance = self.show(&face(OLD, person, i), &quality(yaw));
            said.push(guidance);
            match guidance {
                Guidance::LookStraight => yaw = 0.0,
                Guidance::TurnLeft => yaw = -20.0,
                Guidance::TurnRight => yaw = 20.0,
                Guidance::Complete | Guidance::Failed => break,
                _ => {}
            }
        }
        said
    }
}

#[test]
fn a_person_is_guided_through_varied_views_and_stored_at_once() {
    let mut booth = Booth::new();
    let said = booth.cooperate(3);
    for wanted in [
        Guidance::Taken(4),
        Guidance::TurnLeft,
        Guidance::TurnRight,
        Guidance::LookStraight,
        Guidance::Taken(1),
    ] {
        assert!(said.contains(&wanted), "{wanted:?} in {said:?}");
    }
    assert_eq!(said.last(), Some(&Guidance::Complete));
    let mut store = store();
    let id = booth.session.commit(&mut store, &name("Ann"), 5).unwrap();
    let hit = store.search::<1>(&face(OLD, 3, 77)).unwrap()[0];
    assert!(hit.person == id && hit.score > 0.85);
    assert_eq!(store.counter(), 1, "one transaction");
}

#[test]
fn what_is_wrong_is_said() {
    let good = quality(0.0);
    let cases = [
        (Quality { eye_distance: 10.0, ..good }, Guidance::TooFar),
        (Quality { luma: LumaStats { mean: 5.0, ..good.luma }, ..good }, Guidance::TooDark),
        (Quality { luma: LumaStats { mean: 250.0, ..good.luma }, ..good }, Guidance::TooBright),
        (
            Quality { luma: LumaStats { deviation: 1.0, ..good.luma }, ..good },
            Guidance::LowContrast,
        ),
        (Quality { sharpness: 0.0, ..good }, Guidance::Blurred),
        (quality(60.0), Guidance::TurnedTooFar),
        (Quality { pose: Pose { roll: 50.0, ..good.pose }, ..good }, Guidance::Tilted),
        (Quality { outside: 0.5, ..good }, Guidance::PartlyOutside),
        (Quality { landmark_score: 0.1, ..good }, Guidance::Unclear),
        (Quality { sharpness: f32::NAN, ..good }, Guidance::Blurred),
    ];
    for (quality, guidance) in cases {
        let mut booth = Booth::new();
        for _ in 0..3 {
            assert_eq!(booth.show(&face(OLD, 1, 0), &quality), guidance);
        }
        assert_eq!(booth.session.taken(), 0);
    }
    let mut booth = Booth::new();
    assert_eq!(booth.session.step(10, View::Nobody).unwrap(), Guidance::Nobody);
    assert_eq!(booth.session.step(20, View::Several).unwrap(), Guidance::AnotherFace);
    for i in 0..5 {
        booth.points = TEMPLATE_112.map(|p| Point::new(p.x + 10.0 * (i % 2) as f32, p.y));
        assert_eq!(booth.show(&face(OLD, 1, 0), &good), Guidance::HoldStill);
    }
}

#[test]
fn nobody_else_gets_into_the_session() {
    let mut booth = Booth::new();
    while booth.session.taken() < 1 {
        booth.show(&face(OLD, 1, 0), &quality(0.0));
    }
    for _ in 0..4 {
        assert_eq!(booth.show(&face(OLD, 2, 0), &quality(-20.0)), Guidance::SomebodyElse);
    }
    assert_eq!(booth.show(&face(OLD, 2, 0), &quality(-20.0)), Guidance::Failed);
    assert_eq!(booth.show(&face(OLD, 1, 0), &quality(0.0)), Guidance::Failed);
    let mut store = store();
    let refused = booth.session.commit(&mut store, &name("Ann"), 0).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    assert!(store.is_empty() && store.counter() == 0);
}

#[test]
fn patience_ends_and_so_does_time() {
    // A person who never turns is enrolled all the same.
    let mut booth = Booth::new();
    let mut said = vec![];
    for i in 0..400 {
        said.push(booth.show(&face(OLD, 1, i), &quality(0.0)));
    }
    assert_eq!(said.last(), Some(&Guidance::Complete));
    // One who hides is not.
    let mut booth = Booth::new();
    booth.session.step(1, View::Nobody).unwrap();
    assert_eq!(booth.session.step(60_000_002, View::Nobody).unwrap(), Guidance::Failed);
    // An unfinished session has nothing to store.
    let mut booth = Booth::new();
    booth.show(&face(OLD, 1, 0), &quality(0.0));
    assert_eq!(booth.session.fused().unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn duplicates_and_look_alikes_are_refused() {
    let mut store = store();
    let enrol = |store: &mut Store, person: usize, who: &str, again: bool| {
        let mut booth = Booth::new();
        booth.cooperate(person);
        if again {
            booth.session.commit_again(store, &name(who), 9)
        } else {
            booth.session.commit(store, &name(who), 5)
        }
    };
    let ann = enrol(&mut store, 1, "Ann", false).unwrap();
    let counter = store.counter();
    assert_eq!(enrol(&mut store, 2, "Ann", false).unwrap_err().kind(), ErrorKind::Duplicate);
    assert_eq!(enrol(&mut store, 1, "Bob", false).unwrap_err().kind(), ErrorKind::Duplicate);
    assert_eq!(enrol(&mut store, 2, "Bob", true).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.counter(), counter, "a refusal writes nothing");
    enrol(&mut store, 2, "Bob", false).unwrap();
    assert_eq!(enrol(&mut store, 1, "Ann", true).unwrap(), ann);
    assert_eq!(enrol(&mut store, 2, "Ann", true).unwrap_err().kind(), ErrorKind::Duplicate);
    assert_eq!(store.export(&name("Ann")).unwrap()[0].at_ms, 9);
}

#[test]
fn outliers_are_left_out() {
    // Agreement is asked of each shot against the mean of those before; a chain of small steps can still stray.
    let rules =
        EnrolRules { agree: 0.2, shots: 3, interval_us: 0, patience_us: 0, ..EnrolRules::new(0.2) };
    let mut session = Session::new(rules).unwrap();
    let shots = [[1.0, 0.0, 0.0], [0.95, 0.05, 0.0], [0.4, 1.0, 0.0]];
    let mut now = 0;
    for shot in &shots {
        let template = Template::from_embedding(shot, OLD).unwrap();
        let view =
            View::Face { template: &template, quality: &quality(0.0), points: &TEMPLATE_112 };
        let taken = session.taken();
        while session.taken() == taken {
            now += 1;
            session.step(now, view).unwrap();
        }
    }
    assert!(session.fused().unwrap().as_slice()[0] > 0.8);
}

#[test]
fn debug_of_a_session_shows_no_values() {
    let mut booth = Booth::new();
    booth.cooperate(1);
    let text = format!(
        "{:?} {:?}",
        booth.session,
        View::Face { template: &face(OLD, 1, 0), quality: &quality(0.0), points: &TEMPLATE_112 }
    );
    assert!(!text.contains("0.92") && !text.contains("unit"), "{text}");
}

#[test]
fn people_move_to_a_new_model_as_they_pass() {
    let mut store = store();
    let ann = store.enrol(&name("Ann"), &[&face(OLD, 1, 0)], 0).unwrap();
    let bob = store.enrol(&name("Bob"), &[&face(OLD, 2, 0)], 0).unwrap();
    let mut move_on = Migration::begin(&mut store, NEW, 3, 0.7, 0.5).unwrap();
    assert_eq!(move_on.remaining(&store), 2);
    let mut offer = |store: &mut Store, id, score, shot: &Template| {
        move_on.offer(store, id, score, shot, 0.9, 7)
    };
    assert_eq!(offer(&mut store, ann, 0.69, &face(NEW, 1, 0)).unwrap(), Progress::Ignored);
    assert_eq!(
        offer(&mut store, ann, 0.8, &face(OLD, 1, 0)).unwrap_err().kind(),
        ErrorKind::ModelMismatch
    );
    assert_eq!(offer(&mut store, ann, 0.8, &face(NEW, 1, 0)).unwrap(), Progress::Wanted(2));
    assert_eq!(offer(&mut store, bob, 0.8, &face(NEW, 2, 0)).unwrap(), Progress::Wanted(2));
    assert_eq!(offer(&mut store, bob, 0.8, &face(NEW, 3, 0)).unwrap(), Progress::Disagreed);
    assert_eq!(offer(&mut store, ann, 0.8, &face(NEW, 1, 1)).unwrap(), Progress::Wanted(1));
    assert_eq!(offer(&mut store, ann, 0.8, &face(NEW, 1, 2)).unwrap(), Progress::Enrolled);
    assert_eq!(offer(&mut store, ann, 0.8, &face(NEW, 1, 3)).unwrap(), Progress::Ignored);
    assert_eq!(move_on.remaining(&store), 1);
    // Both models answer, each for its own.
    assert_eq!(store.search::<1>(&face(OLD, 2, 0)).unwrap()[0].person, bob);
    assert_eq!(store.search::<1>(&face(NEW, 1, 9)).unwrap()[0].person, ann);
    assert_eq!(
        move_on.finish(&mut store, OLD, false).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    let move_on = Migration::begin(&mut store, NEW, 3, 0.7, 0.5).unwrap();
    move_on.finish(&mut store, OLD, true).unwrap();
    assert_eq!(store.people().len(), 1);
    assert_eq!(store.search::<1>(&face(OLD, 2, 0)).unwrap_err().kind(), ErrorKind::ModelMismatch);
}
