//! The same door on the C ABI: the exported functions, called as C calls them, and their numbers read as the header names them.

#![allow(unsafe_code)]

use crate::{Product, Result, Shown, Stored};
use image::RgbImage;
use keyface::decide::challenge::{Action, Failure, Stage};
use keyface::decide::{Decision, Liveness, Reasons, Verdict};
use keyface::enrol::{Guidance, Progress};
use keyface::gallery::{Hit, PersonId, RecordId};
use keyface::geometry::Points5;
use keyface::template::ModelId;
use keyface::ErrorKind;
use keyface_ffi::audit::*;
use keyface_ffi::challenge::*;
use keyface_ffi::decider::*;
use keyface_ffi::engine::*;
use keyface_ffi::enrolment::*;
use keyface_ffi::frame::*;
use keyface_ffi::gallery::*;
use keyface_ffi::key::*;
use keyface_ffi::migration::*;
use keyface_ffi::pack::*;
use keyface_ffi::passive::*;
use keyface_ffi::people::*;
use keyface_ffi::pipeline::*;
use keyface_ffi::status::kf_status;
use keyface_ffi::template::*;
use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};

/// A call across the ABI.
macro_rules! c {
    ($call:expr) => {{
        // SAFETY: handles are live and used by this thread alone, and every other pointer is to a live value of its type.
        unsafe { $call }
    }};
}

fn done(status: kf_status) -> Result<()> {
    match status {
        kf_status::Ok => Ok(()),
        other => {
            let code = other as i32;
            Err(ErrorKind::ALL.into_iter().find(|k| k.code() == code).expect("a known status"))
        }
    }
}

/// The value that a call writes to its out-parameter.
fn get<T>(call: impl FnOnce(*mut T) -> kf_status) -> Result<T> {
    let mut value = MaybeUninit::uninit();
    done(call(value.as_mut_ptr()))?;
    // SAFETY: on KF_STATUS_OK the out-parameter is written.
    Ok(unsafe { value.assume_init() })
}

fn text(text: &str) -> (*const c_char, usize) {
    (text.as_ptr().cast(), text.len())
}

fn frame_of(picture: &RgbImage) -> kf_frame {
    let (width, height, bytes) = (picture.width(), picture.height(), picture.as_raw());
    let format = kf_pixel_format::Rgb8 as u32;
    let stride = 3 * width as usize;
    get(|f| c!(kf_frame_init(format, width, height, stride, bytes.as_ptr(), bytes.len(), f)))
        .unwrap()
}

fn hits(gallery: *const kf_gallery, probe: *const kf_template) -> Result<Vec<kf_match>> {
    let mut list = [kf_match { person: 0, record: 0, score: 0.0, reserved: 0 }; 2];
    let count = get(|n| c!(kf_gallery_search(gallery, probe, list.as_mut_ptr(), 2, n)))?;
    Ok(list[..count].to_vec())
}

fn hits_read(gallery: *const kf_gallery, probe: *const kf_template) -> Result<Vec<Hit>> {
    let read = |m: kf_match| Hit {
        person: PersonId(m.person),
        record: RecordId(m.record),
        score: m.score,
    };
    Ok(hits(gallery, probe)?.into_iter().map(read).collect())
}

/// A loaded pack and the present face by it.
struct Looking {
    id: [u8; 32],
    pipeline: *mut kf_pipeline,
    probe: *mut kf_template,
    face: Option<(kf_face, kf_quality)>,
}

impl Looking {
    fn on(pack: *mut kf_pack) -> Looking {
        let engine = get(|e| c!(kf_engine_load(pack, 0, e))).unwrap();
        let looking = Looking {
            id: get(|i| c!(kf_engine_get_info(engine, i))).unwrap().model_id,
            pipeline: get(|p| c!(kf_pipeline_new(engine, null(), p))).unwrap(),
            probe: get(|t| c!(kf_template_new(engine, t))).unwrap(),
            face: None,
        };
        c!(kf_engine_free(engine));
        looking
    }

    fn see(&mut self, frame: &kf_frame) -> usize {
        let mut faces = MaybeUninit::<[kf_face; KF_MAX_FACES as usize]>::uninit();
        let list = faces.as_mut_ptr().cast::<kf_face>();
        let found =
            get(|n| c!(kf_pipeline_detect(self.pipeline, frame, list, KF_MAX_FACES as usize, n)))
                .unwrap();
        assert!(found > 0);
        let mut described = 0;
        let quality = get(|q| {
            c!(kf_pipeline_describe(self.pipeline, frame, list, self.probe, q, &mut described))
        })
        .unwrap();
        assert_eq!(described, 1);
        // SAFETY: one face at least was written.
        self.face = Some((unsafe { *list }, quality));
        found
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        c!(kf_pipeline_free(self.pipeline));
        c!(kf_template_free(self.probe));
    }
}

pub struct Door {
    old: Looking,
    new: Looking,
    threshold: f32,
    path: PathBuf,
    key: *mut kf_key,
    gallery: *mut kf_gallery,
    audit: *mut kf_audit,
    enrolment: *mut kf_enrolment,
    decider: *mut kf_decider,
    challenge: *mut kf_challenge,
    migration: *mut kf_migration,
}

impl Drop for Door {
    fn drop(&mut self) {
        c!(kf_migration_free(self.migration));
        c!(kf_challenge_free(self.challenge));
        c!(kf_decider_free(self.decider));
        c!(kf_enrolment_free(self.enrolment));
        c!(kf_audit_free(self.audit));
        c!(kf_gallery_free(self.gallery));
        c!(kf_key_free(self.key));
    }
}

fn open_gallery(path: &Path, key: *const kf_key, min_counter: u64) -> Result<*mut kf_gallery> {
    let (path, length) = text(path.to_str().expect("UTF-8"));
    get(|g| c!(kf_gallery_open(path, length, key, 10, min_counter, g)))
}

impl Product for Door {
    fn open(packs: [&Path; 2], gallery: &Path) -> Door {
        let [old, new] = packs.map(|pack| {
            let (path, length) = text(pack.to_str().expect("UTF-8"));
            get(|p| c!(kf_pack_open(path, length, null(), p))).unwrap()
        });
        let policy = kf_policy::TargetFpir as u32;
        let threshold = get(|t| c!(kf_pack_get_threshold(old, policy, 1e-3, 1, t))).unwrap();
        let key = get(|k| c!(kf_key_from_bytes([7; 32].as_ptr(), 32, k))).unwrap();
        let log = gallery.with_extension("audit");
        let (log, length) = text(log.to_str().expect("UTF-8"));
        let door = Door {
            old: Looking::on(old),
            new: Looking::on(new),
            threshold,
            path: gallery.to_owned(),
            key,
            gallery: open_gallery(gallery, key, 0).unwrap(),
            audit: get(|a| c!(kf_audit_open(log, length, a))).unwrap(),
            enrolment: null_mut(),
            decider: null_mut(),
            challenge: null_mut(),
            migration: null_mut(),
        };
        c!(kf_pack_free(old));
        c!(kf_pack_free(new));
        door
    }

    fn threshold(&self) -> f32 {
        self.threshold
    }

    fn see(&mut self, picture: &RgbImage) -> (usize, f32, u32) {
        let frame = frame_of(picture);
        let faces = self.old.see(&frame);
        self.new.see(&frame);
        let (_, quality) = self.old.face.expect("a face was seen");
        (faces, quality.landmark_score, quality.reasons)
    }

    fn begin_enrolment(&mut self, shots: usize) {
        let mut rules = get(|r| c!(kf_enrolment_rules_init(self.threshold, r))).unwrap();
        rules.shots = shots as u32;
        c!(kf_enrolment_free(self.enrolment));
        self.enrolment = get(|e| c!(kf_enrolment_new(&rules, e))).unwrap();
    }

    fn guide(&mut self, time: u64) -> Guidance {
        let (face, quality) = self.old.face.expect("a face was seen");
        let (view, probe) = (kf_view::Face as u32, self.old.probe);
        let said =
            get(|g| c!(kf_enrolment_step(self.enrolment, time, view, &face, &quality, probe, g)))
                .unwrap();
        // Three shots are asked for.
        let more = 3 - said.taken as usize;
        let words = [
            (kf_guidance_kind::Nobody, Guidance::Nobody),
            (kf_guidance_kind::HoldStill, Guidance::HoldStill),
            (kf_guidance_kind::LookStraight, Guidance::LookStraight),
            (kf_guidance_kind::TurnLeft, Guidance::TurnLeft),
            (kf_guidance_kind::TurnRight, Guidance::TurnRight),
            (kf_guidance_kind::Taken, Guidance::Taken(more)),
            (kf_guidance_kind::Complete, Guidance::Complete),
            (kf_guidance_kind::Failed, Guidance::Failed),
        ];
        words.into_iter().find(|(k, _)| *k as u32 == said.kind).expect("a word for it").1
    }

    fn commit(&mut self, who: &str, at_ms: u64) -> Result<PersonId> {
        let (name, length) = text(who);
        let (session, gallery) = (self.enrolment, self.gallery);
        get(|p| c!(kf_enrolment_commit(session, gallery, name, length, at_ms, 0, p))).map(PersonId)
    }

    fn search(&self) -> Result<Vec<Hit>> {
        hits_read(self.gallery, self.old.probe)
    }

    fn people(&self) -> Vec<(PersonId, String, usize)> {
        let mut list = MaybeUninit::<[kf_person; 10]>::uninit();
        let people = list.as_mut_ptr().cast::<kf_person>();
        let count = get(|n| c!(kf_gallery_get_people(self.gallery, 0, people, 10, n))).unwrap();
        // SAFETY: so many were written.
        let people = unsafe { std::slice::from_raw_parts(people, count) };
        let name = |p: &kf_person| {
            String::from_utf8(p.name[..p.name_length as usize].to_vec()).expect("UTF-8")
        };
        people.iter().map(|p| (PersonId(p.id), name(p), p.templates as usize)).collect()
    }

    fn export(&self, who: &str) -> Result<Vec<Stored>> {
        let (name, length) = text(who);
        let mut list = MaybeUninit::<[kf_stored_template; 10]>::uninit();
        let stored = list.as_mut_ptr().cast::<kf_stored_template>();
        let count = get(|n| c!(kf_gallery_export(self.gallery, name, length, stored, 10, n)))?;
        // SAFETY: so many were written.
        let stored = unsafe { std::slice::from_raw_parts(stored, count) };
        let read = |s: &kf_stored_template| {
            (ModelId(s.model_id), s.at_ms, s.components[..s.dimension as usize].to_vec())
        };
        Ok(stored.iter().map(read).collect())
    }

    fn remove(&mut self, who: &str) -> Result<usize> {
        let (name, length) = text(who);
        get(|n| c!(kf_gallery_remove(self.gallery, name, length, n)))
    }

    fn wipe(&mut self) -> Result<()> {
        done(c!(kf_gallery_wipe(self.gallery)))
    }

    fn counter(&self) -> u64 {
        get(|i| c!(kf_gallery_get_info(self.gallery, i))).unwrap().counter
    }

    fn reopen(&mut self, min_counter: u64) -> Result<()> {
        c!(kf_gallery_free(std::mem::replace(&mut self.gallery, null_mut())));
        self.gallery = open_gallery(&self.path, self.key, min_counter)?;
        Ok(())
    }

    fn begin_decisions(&mut self, need_liveness: bool) {
        let mut rules = get(|r| c!(kf_rules_init(self.threshold, r))).unwrap();
        (rules.votes, rules.misses, rules.door_failures) = (1, 2, 2);
        rules.need_liveness = u32::from(need_liveness);
        c!(kf_decider_free(self.decider));
        self.decider = get(|d| c!(kf_decider_new(&rules, d))).unwrap();
    }

    fn decide(&mut self, time_us: u64, shown: Shown) -> Decision {
        let matches = hits(self.gallery, self.old.probe).unwrap();
        let (seen, liveness) = match shown {
            Shown::Failed => (kf_seen::Failed, Liveness::NotChecked),
            Shown::Nobody => (kf_seen::Nobody, Liveness::NotChecked),
            Shown::Several => (kf_seen::Several, Liveness::NotChecked),
            Shown::Poor => (kf_seen::Poor, Liveness::NotChecked),
            Shown::Present(liveness) => (kf_seen::Face, liveness),
        };
        let observation = kf_observation {
            struct_size: size_of::<kf_observation>() as u32,
            seen: seen as u32,
            liveness: LIVENESS.into_iter().find(|l| l.1 == liveness).expect("all are there").0
                as u32,
            match_count: matches.len() as u32,
            time_us,
            claim: 0,
            matches: matches.as_ptr(),
        };
        let decider = self.decider;
        let said =
            get(|d| c!(kf_decider_step(decider, &observation, None, null_mut(), d))).unwrap();
        get(|w| c!(kf_audit_write_decision(self.audit, time_us, &said, w))).unwrap();
        let known = Reasons::ALL.into_iter().filter(|(r, _)| said.reasons & r.bits() != 0);
        let verdict = [
            (kf_verdict::Deny, Verdict::Deny),
            (kf_verdict::Wait, Verdict::Wait),
            (kf_verdict::Allow, Verdict::Allow(PersonId(said.person))),
        ];
        Decision {
            verdict: verdict.into_iter().find(|v| v.0 as u32 == said.verdict).expect("known").1,
            reasons: known.fold(Reasons::NONE, |all, (r, _)| all | r),
        }
    }

    fn locked_until(&self, time: u64) -> Option<u64> {
        let until = get(|u| c!(kf_decider_locked_until(self.decider, 0, time, u))).unwrap();
        (until != 0).then_some(until)
    }

    fn unlock(&mut self) {
        done(c!(kf_decider_unlock(self.decider))).unwrap();
        let event = kf_event::Unlocked as u32;
        get(|w| c!(kf_audit_write_event(self.audit, 0, event, 0, w))).unwrap();
    }

    fn audit_log(&self) -> String {
        std::fs::read_to_string(self.path.with_extension("audit")).unwrap()
    }

    fn begin_challenge(&mut self, seed: u64) {
        let rules = get(|r| c!(kf_challenge_rules_init(self.threshold - 0.1, r))).unwrap();
        c!(kf_challenge_free(self.challenge));
        self.challenge = get(|h| c!(kf_challenge_new(seed, &rules, h))).unwrap();
    }

    fn challenge(&mut self, time: u64, points: Option<&Points5>) -> Stage {
        let (mut face, _) = self.old.face.expect("a face was seen");
        for (to, from) in face.points.iter_mut().zip(points.into_iter().flatten()) {
            *to = kf_point { x: from.x, y: from.y };
        }
        let shown =
            points.map_or((null(), null()), |_| (&raw const face, self.old.probe.cast_const()));
        let (asked, (face, probe)) = (self.challenge, shown);
        let state = get(|s| c!(kf_challenge_step(asked, time, face, probe, s))).unwrap();
        let failure = [
            (kf_challenge_failure::Timeout, Failure::Timeout),
            (kf_challenge_failure::FaceLost, Failure::FaceLost),
            (kf_challenge_failure::Jumped, Failure::Jumped),
            (kf_challenge_failure::SomebodyElse, Failure::SomebodyElse),
            (kf_challenge_failure::WrongAction, Failure::WrongAction),
        ];
        if let Some((_, why)) = failure.into_iter().find(|f| f.0 as u32 == state.failure) {
            assert_eq!(state.stage, kf_challenge_stage::Failed as u32);
            return Stage::Failed(why);
        }
        let stage = [
            (kf_challenge_stage::LookStraight, Stage::LookStraight),
            (kf_challenge_stage::TurnLeft, Stage::Do(Action::TurnLeft)),
            (kf_challenge_stage::TurnRight, Stage::Do(Action::TurnRight)),
            (kf_challenge_stage::Nod, Stage::Do(Action::Nod)),
            (kf_challenge_stage::ComeCloser, Stage::Do(Action::ComeCloser)),
            (kf_challenge_stage::Passed, Stage::Passed),
        ];
        stage.into_iter().find(|s| s.0 as u32 == state.stage).expect("a known stage").1
    }

    fn passive(&self, onnx: &[u8], picture: &RgbImage) -> Result<Liveness> {
        let mut rules = get(|r| c!(kf_passive_rules_init(r))).unwrap();
        (rules.side, rules.real_class) = (32, 0);
        let passive = get(|p| c!(kf_passive_new(onnx.as_ptr(), onnx.len(), &rules, p)))?;
        let frame = frame_of(picture);
        let (mut face, _) = self.old.face.expect("a face was seen");
        (face.x, face.y, face.width, face.height) =
            (0.0, 0.0, picture.width() as f32, picture.height() as f32);
        let answer = get(|l| c!(kf_passive_check(passive, &frame, &face, l)));
        c!(kf_passive_free(passive));
        Ok(LIVENESS.into_iter().find(|l| l.0 as u32 == answer.unwrap()).expect("a known answer").1)
    }

    fn begin_migration(&mut self, shots: usize) {
        let (gallery, new, bar) = (self.gallery, self.new.id.as_ptr(), self.threshold);
        let begun = get(|m| c!(kf_migration_begin(gallery, new, shots as u32, bar, bar, m)));
        self.migration = begun.unwrap();
    }

    fn offer(&mut self, hit: Hit, at_ms: u64) -> Result<Progress> {
        let (_, quality) = self.new.face.expect("a face was seen");
        let (migration, gallery, probe) = (self.migration, self.gallery, self.new.probe);
        let (person, score, weight) = (hit.person.0, hit.score, quality.landmark_score);
        let mut wanted = 77;
        let progress = get(|p| {
            c!(kf_migration_offer(
                migration,
                gallery,
                person,
                score,
                probe,
                weight,
                at_ms,
                p,
                &mut wanted
            ))
        })?;
        let words = [
            (kf_progress::Ignored, Progress::Ignored),
            (kf_progress::Wanted, Progress::Wanted(wanted as usize)),
            (kf_progress::Disagreed, Progress::Disagreed),
            (kf_progress::Enrolled, Progress::Enrolled),
        ];
        Ok(words.into_iter().find(|w| w.0 as u32 == progress).expect("a known progress").1)
    }

    fn remaining(&self) -> usize {
        get(|n| c!(kf_migration_remaining(self.migration, self.gallery, n))).unwrap()
    }

    fn finish_migration(&mut self, abandon: bool) -> Result<()> {
        let (migration, gallery, old) = (self.migration, self.gallery, self.old.id.as_ptr());
        done(c!(kf_migration_finish(migration, gallery, old, u32::from(abandon))))
    }

    fn search_anew(&self) -> Result<Vec<Hit>> {
        hits_read(self.gallery, self.new.probe)
    }
}

const LIVENESS: [(kf_liveness, Liveness); 4] = [
    (kf_liveness::NotChecked, Liveness::NotChecked),
    (kf_liveness::Real, Liveness::Real),
    (kf_liveness::Spoof, Liveness::Spoof),
    (kf_liveness::Unsure, Liveness::Unsure),
];
