//! One scenario, two products: the same body runs on the Rust API and on the C ABI, and both must say the same, to the last bit
//! of a score. The C programs of `tests/c` add what only C can do wrong.

#[path = "../common/mod.rs"]
mod common;

mod c;
mod rust;

use image::RgbImage;
use keyface::decide::challenge::{Action, Failure, Stage};
use keyface::decide::{Decision, Liveness, Reasons, Verdict};
use keyface::enrol::{Guidance, Progress};
use keyface::gallery::{Hit, PersonId};
use keyface::geometry::{Point, Points5, TEMPLATE_112};
use keyface::template::ModelId;
use keyface::ErrorKind;
use std::path::Path;

type Result<T> = std::result::Result<T, ErrorKind>;

/// A stored template as the person gets it: model, time, components.
type Stored = (ModelId, u64, Vec<i8>);

/// What a frame shows the decider.
#[derive(Debug, Clone, Copy)]
enum Shown {
    Failed,
    Nobody,
    Several,
    Poor,
    /// The face that was seen last, and what the gallery says of it.
    Present(Liveness),
}

/// What the scenario needs of a product. Times are microseconds, except `at_ms`.
trait Product: Sized {
    /// A door on the first pack with an empty gallery of ten templates; the second pack is the model of tomorrow.
    fn open(packs: [&Path; 2], gallery: &Path) -> Self;
    /// The score from which on faces match.
    fn threshold(&self) -> f32;
    /// Looks at a picture by both models; the best face is the present one. Gives the number of faces, its landmark score, its reasons.
    fn see(&mut self, picture: &RgbImage) -> (usize, f32, u32);

    fn begin_enrolment(&mut self, shots: usize);
    /// Shows the present face.
    fn guide(&mut self, time: u64) -> Guidance;
    fn commit(&mut self, name: &str, at_ms: u64) -> Result<PersonId>;

    /// The two people most like the present face.
    fn search(&self) -> Result<Vec<Hit>>;
    fn people(&self) -> Vec<(PersonId, String, usize)>;
    fn export(&self, name: &str) -> Result<Vec<Stored>>;
    fn remove(&mut self, name: &str) -> Result<usize>;
    fn wipe(&mut self) -> Result<()>;
    fn counter(&self) -> u64;
    /// Closes the gallery and opens it again.
    fn reopen(&mut self, min_counter: u64) -> Result<()>;

    /// One vote opens, two failed attempts of anybody lock the door.
    fn begin_decisions(&mut self, need_liveness: bool);
    /// Decides, and writes the decision to the audit log.
    fn decide(&mut self, time: u64, shown: Shown) -> Decision;
    fn locked_until(&self, time: u64) -> Option<u64>;
    fn unlock(&mut self);
    fn audit_log(&self) -> String;

    fn begin_challenge(&mut self, seed: u64);
    /// Shows the present face with these points.
    fn challenge(&mut self, time: u64, points: Option<&Points5>) -> Stage;
    /// What a passive model says of a picture that is all face.
    fn passive(&self, onnx: &[u8], picture: &RgbImage) -> Result<Liveness>;

    fn begin_migration(&mut self, shots: usize);
    fn offer(&mut self, hit: Hit, at_ms: u64) -> Result<Progress>;
    fn remaining(&self) -> usize;
    fn finish_migration(&mut self, abandon: bool) -> Result<()>;
    /// As [`Product::search`], by the model of tomorrow.
    fn search_anew(&self) -> Result<Vec<Hit>>;
}

fn picture(name: &str) -> RgbImage {
    let path = common::root().join(format!("examples/cli/pictures/{name}.jpg"));
    image::open(path).expect("a picture").into_rgb8()
}

/// The whole life of a door. The lines are what both products must agree on beyond what is asserted here.
fn scenario<P: Product>(work: &Path) -> Vec<String> {
    let mut said = Vec::new();
    let next = work.join("other.kfpack");
    let mut door = P::open([&common::pack(), &next], &work.join("gallery"));
    enrolment(&mut door, &mut said);
    decisions(&mut door, &mut said);
    challenges(&mut door, &mut said);
    passive(&door);
    migration(&mut door, &mut said);
    gallery(&mut door);
    said
}

const NAME: &str = "Portrait of 2012";

fn enrolment<P: Product>(door: &mut P, said: &mut Vec<String>) {
    said.push(format!("{:?}", door.see(&picture("portrait-2012"))));
    for (name, wanted) in [(NAME, Ok(PersonId(1))), ("Somebody else", Err(ErrorKind::Duplicate))] {
        door.begin_enrolment(3);
        let mut guidance = Guidance::Nobody;
        for time in (1_000_000..20_000_000).step_by(500_000) {
            guidance = door.guide(time);
            said.push(format!("{guidance:?}"));
            if matches!(guidance, Guidance::Complete | Guidance::Failed) {
                break;
            }
        }
        assert_eq!(guidance, Guidance::Complete);
        assert_eq!(door.commit(name, 5), wanted);
    }
    assert_eq!(door.people(), [(PersonId(1), NAME.to_owned(), 1)]);
    for (visitor, known) in [("address-2009", true), ("astronaut", false), ("admiral", false)] {
        said.push(format!("{visitor}: {:?}", door.see(&picture(visitor))));
        let hits = door.search().unwrap();
        assert_eq!((hits.len(), hits[0].person), (1, PersonId(1)));
        assert_eq!(hits[0].score >= door.threshold(), known, "{visitor}");
        said.push(format!("{:08x}", hits[0].score.to_bits()));
    }
}

fn decisions<P: Product>(door: &mut P, said: &mut Vec<String>) {
    let allow = Decision { verdict: Verdict::Allow(PersonId(1)), reasons: Reasons::NONE };
    let deny = |reasons| Decision { verdict: Verdict::Deny, reasons };
    let wait = |reasons| Decision { verdict: Verdict::Wait, reasons };
    let here = Shown::Present(Liveness::NotChecked);
    door.begin_decisions(false);
    door.see(&picture("address-2009"));
    for (time, shown, wanted) in [
        (1, Shown::Failed, deny(Reasons::ERROR)),
        (2, Shown::Nobody, deny(Reasons::NOBODY)),
        (3, Shown::Nobody, deny(Reasons::NOBODY)),
        (4, Shown::Several, deny(Reasons::SEVERAL_FACES)),
        (5, Shown::Poor, wait(Reasons::QUALITY)),
        (5, here, deny(Reasons::BAD_TIME)),
        (6, Shown::Present(Liveness::Spoof), deny(Reasons::SPOOF)),
        (7, here, allow),
        (8, here, wait(Reasons::COOL_DOWN)),
    ] {
        assert_eq!(door.decide(time, shown), wanted, "at {time}");
    }
    // Strangers lock the door; time or an operator opens it again.
    door.see(&picture("astronaut"));
    for (time, wanted) in [
        (9, wait(Reasons::NO_MATCH)),
        (10, deny(Reasons::NO_MATCH)),
        (11, wait(Reasons::NO_MATCH)),
        (12, deny(Reasons::NO_MATCH | Reasons::DOOR_LOCKED)),
        (13, deny(Reasons::DOOR_LOCKED)),
    ] {
        assert_eq!(door.decide(time, here), wanted, "at {time}");
    }
    assert_eq!(door.locked_until(13), Some(30_000_012));
    door.unlock();
    assert_eq!(door.locked_until(13), None);
    assert_eq!(door.decide(14, here), wait(Reasons::NO_MATCH));
    let log = door.audit_log();
    assert_eq!(log.lines().count(), 10, "{log}");
    assert!(log.contains(r#""event":"allow","person":1,"reasons":[]}"#), "{log}");
    said.push(log);
}

/// Five points of a head that does what is asked.
fn obey(stage: Stage) -> Points5 {
    let mut points = TEMPLATE_112.map(|p| Point::new(p.x * 2.0, p.y * 2.0));
    let unit = points[0].distance(points[1]);
    match stage {
        Stage::Do(Action::TurnLeft) => points[2].x -= 0.3 * unit,
        Stage::Do(Action::TurnRight) => points[2].x += 0.3 * unit,
        Stage::Do(Action::Nod) => points[2].y += 0.3 * unit,
        Stage::Do(Action::ComeCloser) => points = points.map(|p| Point::new(p.x * 1.3, p.y * 1.3)),
        _ => {}
    }
    points
}

fn challenges<P: Product>(door: &mut P, said: &mut Vec<String>) {
    let run = |door: &mut P, seed, obedient: bool, said: &mut Vec<String>| {
        door.begin_challenge(seed);
        let mut stage = Stage::LookStraight;
        for time in (1..100).map(|frame| frame * 200_000) {
            let points = obey(if obedient { stage } else { Stage::LookStraight });
            stage = door.challenge(time, Some(&points));
            said.push(format!("{stage:?}"));
            if matches!(stage, Stage::Passed | Stage::Failed(_)) {
                break;
            }
        }
        stage
    };
    door.see(&picture("address-2009"));
    assert_eq!(run(door, 1, true, said), Stage::Passed);
    assert_eq!(run(door, 2, false, said), Stage::Failed(Failure::Timeout));
    door.begin_challenge(3);
    assert_eq!(door.challenge(1, None), Stage::Failed(Failure::FaceLost));
    // The one who passed gets in where liveness is needed, the photograph does not.
    door.begin_decisions(true);
    let photograph = door.decide(1, Shown::Present(Liveness::Unsure));
    assert_eq!(photograph, Decision { verdict: Verdict::Wait, reasons: Reasons::LIVENESS });
    let passed = door.decide(2, Shown::Present(Liveness::Real));
    assert_eq!(passed.verdict, Verdict::Allow(PersonId(1)));
}

fn passive<P: Product>(door: &P) {
    let onnx = std::fs::read(common::root().join("sdk/tests/data/mean_rgb.onnx")).expect("a model");
    let all = |rgb| RgbImage::from_pixel(64, 64, image::Rgb(rgb));
    if cfg!(feature = "onnx") {
        assert_eq!(door.passive(&onnx, &all([255, 0, 0])), Ok(Liveness::Real));
        assert_eq!(door.passive(&onnx, &all([0, 0, 255])), Ok(Liveness::Spoof));
        assert_eq!(door.passive(&onnx, &all([255, 255, 0])), Ok(Liveness::Unsure));
    }
    let refused = Err(ErrorKind::UnsupportedPack);
    assert_eq!(door.passive(&onnx[..16], &all([255, 0, 0])), refused);
}

fn migration<P: Product>(door: &mut P, said: &mut Vec<String>) {
    let before = door.export(NAME).unwrap();
    assert_eq!((before.len(), before[0].1), (1, 5));
    door.begin_migration(2);
    assert_eq!(door.remaining(), 1);
    for (visitor, wanted) in [
        ("portrait-2012", Progress::Wanted(1)),
        ("astronaut", Progress::Ignored),
        ("address-2009", Progress::Enrolled),
        ("portrait-2012", Progress::Ignored),
    ] {
        door.see(&picture(visitor));
        let hit = door.search().unwrap()[0];
        assert_eq!(door.offer(hit, 6), Ok(wanted), "{visitor}");
    }
    assert_eq!(door.remaining(), 0);
    let both = door.export(NAME).unwrap();
    assert_eq!((both.len(), both[1].1), (2, 6));
    assert!(both[0] == before[0] && both[1].0 != both[0].0);
    said.push(format!("{both:?}"));
    assert_eq!(door.finish_migration(false), Ok(()));
    assert_eq!(door.search().err(), Some(ErrorKind::ModelMismatch));
    assert_eq!(door.search_anew().unwrap()[0].person, PersonId(1));
    assert_eq!(door.export("Nobody"), Err(ErrorKind::NotFound));
}

fn gallery<P: Product>(door: &mut P) {
    let counter = door.counter();
    assert_eq!(door.reopen(counter + 1), Err(ErrorKind::RolledBack));
    assert_eq!(door.reopen(counter), Ok(()));
    assert_eq!(door.people(), [(PersonId(1), NAME.to_owned(), 1)]);
    assert_eq!(door.remove("Nobody"), Err(ErrorKind::NotFound));
    assert_eq!(door.remove(NAME), Ok(1));
    assert_eq!(door.search_anew().unwrap().len(), 0);
    assert_eq!(door.wipe(), Ok(()));
    assert!(door.counter() > counter && door.people().is_empty());
}

#[test]
fn the_rust_api_and_the_c_abi_live_the_same_life() {
    let work = || {
        let dir = tempfile::tempdir().expect("a folder");
        common::write_inputs(dir.path());
        dir
    };
    let rust = scenario::<rust::Door>(work().path());
    let c = scenario::<c::Door>(work().path());
    assert!(rust.len() > 50, "{rust:#?}");
    assert_eq!(rust, c);
}
