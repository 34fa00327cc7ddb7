//! The door on the Rust API.

use crate::{Product, Result, Shown, Stored};
use image::RgbImage;
use keyface::calibration::Calibration;
use keyface::decide::audit::{self, Audit, Event};
use keyface::decide::challenge::{Challenge, ChallengeRules, Stage};
use keyface::decide::{Decider, Decision, Liveness, Observation, Rules, Seen};
use keyface::enrol::{EnrolRules, Guidance, Migration, Progress, Session, View};
use keyface::frame::Frame;
use keyface::gallery::{Hit, HostKey, PersonId, PersonName, Store, StoreOptions};
use keyface::geometry::{Points5, Rect};
use keyface::liveness::{PassiveCheck, PassiveRules};
use keyface::pack::{Pack, Trust};
use keyface::pipeline::{Face, Model, Options, Pipeline};
use keyface::template::ModelId;
use keyface::Error;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A loaded pack and the present face by it.
struct Looking {
    id: ModelId,
    pipeline: Pipeline,
    face: Option<Face>,
}

impl Looking {
    fn on(pack: &Path) -> Looking {
        let model = Model::load(Pack::open(pack, Trust::Anyone).unwrap()).unwrap();
        let pipeline = Pipeline::new(&model, &Options::default()).unwrap();
        Looking { id: model.id(), pipeline, face: None }
    }

    fn see(&mut self, frame: &Frame<'_>) -> usize {
        let found = self.pipeline.detect(frame).unwrap().to_vec();
        self.face = self.pipeline.describe(frame, &found[0]).unwrap().cloned();
        found.len()
    }

    fn face(&self) -> &Face {
        self.face.as_ref().expect("a face was seen")
    }
}

pub struct Door {
    old: Looking,
    new: Looking,
    threshold: f32,
    path: PathBuf,
    /// None while it is opened anew.
    store: Option<Store>,
    audit: Audit<File>,
    session: Option<Session>,
    decider: Option<Decider>,
    challenge: Option<Challenge>,
    migration: Option<Migration>,
}

fn kind(e: Error) -> keyface::ErrorKind {
    e.kind()
}

fn name(name: &str) -> PersonName {
    PersonName::new(name).unwrap()
}

fn store(path: &Path, min_counter: u64) -> Result<Store> {
    let options = StoreOptions { capacity: 10, min_counter };
    Store::open(path, &HostKey::new(&[7; 32]), options).map_err(kind)
}

impl Door {
    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    fn store_mut(&mut self) -> &mut Store {
        self.store.as_mut().expect("it is open")
    }
}

impl Product for Door {
    fn open(packs: [&Path; 2], gallery: &Path) -> Door {
        let pack = Pack::open(packs[0], Trust::Anyone).unwrap();
        let table = pack.bytes(pack.section("calibration").unwrap());
        let threshold = Calibration::parse(table).unwrap().threshold_for_fpir(1e-3, 1).unwrap();
        let (file, first) = audit::open(&gallery.with_extension("audit")).unwrap();
        Door {
            old: Looking::on(packs[0]),
            new: Looking::on(packs[1]),
            threshold,
            path: gallery.to_owned(),
            store: Some(store(gallery, 0).unwrap()),
            audit: Audit::new(file, first),
            session: None,
            decider: None,
            challenge: None,
            migration: None,
        }
    }

    fn threshold(&self) -> f32 {
        self.threshold
    }

    fn see(&mut self, picture: &RgbImage) -> (usize, f32, u32) {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let frame = Frame::rgb8(picture.as_raw(), width, height).unwrap();
        let faces = self.old.see(&frame);
        self.new.see(&frame);
        let quality = &self.old.face().quality;
        (faces, quality.landmark_score, quality.reasons.bits())
    }

    fn begin_enrolment(&mut self, shots: usize) {
        let rules = EnrolRules { shots, ..EnrolRules::new(self.threshold) };
        self.session = Some(Session::new(rules).unwrap());
    }

    fn guide(&mut self, time: u64) -> Guidance {
        let Face { detection, quality, template } = self.old.face.as_ref().expect("a face");
        let view = View::Face { template, quality, points: &detection.points };
        self.session.as_mut().expect("it runs").step(time, view).unwrap()
    }

    fn commit(&mut self, who: &str, at_ms: u64) -> Result<PersonId> {
        let session = self.session.take().expect("it runs");
        session.commit(self.store_mut(), &name(who), at_ms).map_err(kind)
    }

    fn search(&self) -> Result<Vec<Hit>> {
        let hits = self.store().search::<2>(&self.old.face().template).map_err(kind)?;
        Ok(hits.to_vec())
    }

    fn people(&self) -> Vec<(PersonId, String, usize)> {
        let people = self.store().people();
        people.iter().map(|p| (p.id, p.name.as_str().to_owned(), p.templates)).collect()
    }

    fn export(&self, who: &str) -> Result<Vec<Stored>> {
        let stored = self.store().export(&name(who)).map_err(kind)?;
        Ok(stored.iter().map(|s| (s.model, s.at_ms, s.q.to_vec())).collect())
    }

    fn remove(&mut self, who: &str) -> Result<usize> {
        self.store_mut().remove(&name(who)).map_err(kind)
    }

    fn wipe(&mut self) -> Result<()> {
        self.store_mut().wipe().map_err(kind)
    }

    fn counter(&self) -> u64 {
        self.store().counter()
    }

    fn reopen(&mut self, min_counter: u64) -> Result<()> {
        self.store = None;
        self.store = Some(store(&self.path, min_counter)?);
        Ok(())
    }

    fn begin_decisions(&mut self, need_liveness: bool) {
        let usual = Rules::new(self.threshold);
        let rules = Rules { votes: 1, misses: 2, door_failures: 2, need_liveness, ..usual };
        self.decider = Some(Decider::new(rules).unwrap());
    }

    fn decide(&mut self, time_us: u64, shown: Shown) -> Decision {
        let hits = self.search().unwrap();
        let seen = match shown {
            Shown::Failed => Seen::Failed,
            Shown::Nobody => Seen::Nobody,
            Shown::Several => Seen::Several,
            Shown::Poor => Seen::Poor,
            Shown::Present(liveness) => Seen::Face { hits: &hits, liveness },
        };
        let decider = self.decider.as_mut().expect("it runs");
        let decision = decider.step(&Observation { time_us, claim: None, seen }, |_, _| true);
        self.audit.write(time_us, Event::Decided(decision)).unwrap();
        decision
    }

    fn locked_until(&self, time: u64) -> Option<u64> {
        self.decider.as_ref().expect("it runs").locked_until(time)
    }

    fn unlock(&mut self) {
        self.decider.as_mut().expect("it runs").unlock();
        self.audit.write(0, Event::Unlocked).unwrap();
    }

    fn audit_log(&self) -> String {
        std::fs::read_to_string(self.path.with_extension("audit")).unwrap()
    }

    fn begin_challenge(&mut self, seed: u64) {
        let rules = ChallengeRules::new(self.threshold - 0.1);
        self.challenge = Some(Challenge::new(seed, rules).unwrap());
    }

    fn challenge(&mut self, time: u64, points: Option<&Points5>) -> Stage {
        let face = points.map(|points| (points, &self.old.face().template));
        self.challenge.as_mut().expect("it runs").step(time, face).unwrap()
    }

    fn passive(&self, onnx: &[u8], picture: &RgbImage) -> Result<Liveness> {
        let rules = PassiveRules { side: 32, real_class: 0, ..PassiveRules::USUAL };
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let frame = Frame::rgb8(picture.as_raw(), width, height).unwrap();
        let all = Rect::new(0.0, 0.0, width as f32, height as f32);
        PassiveCheck::new(onnx, rules).and_then(|mut check| check.check(&frame, &all)).map_err(kind)
    }

    fn begin_migration(&mut self, shots: usize) {
        let (new, bar) = (self.new.id, self.threshold);
        self.migration = Some(Migration::begin(self.store_mut(), new, shots, bar, bar).unwrap());
    }

    fn offer(&mut self, hit: Hit, at_ms: u64) -> Result<Progress> {
        let Face { quality, template, .. } = self.new.face.as_ref().expect("a face");
        let store = self.store.as_mut().expect("it is open");
        let migration = self.migration.as_mut().expect("it runs");
        migration
            .offer(store, hit.person, hit.score, template, quality.landmark_score, at_ms)
            .map_err(kind)
    }

    fn remaining(&self) -> usize {
        self.migration.as_ref().expect("it runs").remaining(self.store())
    }

    fn finish_migration(&mut self, abandon: bool) -> Result<()> {
        let (migration, old) = (self.migration.take().expect("it runs"), self.old.id);
        migration.finish(self.store_mut(), old, abandon).map_err(kind)
    }

    fn search_anew(&self) -> Result<Vec<Hit>> {
        let hits = self.store().search::<2>(&self.new.face().template).map_err(kind)?;
        Ok(hits.to_vec())
    }
}
