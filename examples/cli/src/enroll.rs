//! `keyface enroll`: several shots of a person become one template in a gallery.

use crate::args::EnrollArgs;
use crate::faces::{self, Choice};
use crate::gallery_file;
use crate::live::{self, Live};
use crate::model;
use crate::progress;
use crate::report::{counted, now_ms, Exit, Failure, Outcome, Output};
use keyface::enrol::{EnrolRules, Session};
use keyface::gallery::{PersonId, PersonName, Store};
use keyface::pipeline::{Face, Pipeline};
use keyface::quality::QualityLimits;
use keyface::template::Template;
use keyface_boards::selection::Selection;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The result.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    shots: usize,
    templates: usize,
}

/// Runs the command.
pub fn run(args: &EnrollArgs, out: Output) -> Outcome {
    let name = gallery_file::name(&args.name)?;
    let mut loaded = model::load(&args.model)?;
    let threshold = loaded.threshold(&args.threshold, 1)?;
    loaded.options.quality = QualityLimits::ENROLMENT;
    if let Some(camera) = live::selection(&args.live)? {
        loaded.fit_camera(&args.model, &camera)?;
        return at_the_camera(args, &camera, &name, &mut loaded.pipeline()?, threshold, out);
    }
    let mut pipeline = loaded.pipeline()?;
    let choice = Choice::largest_if(args.one.largest);
    let bar = progress::bar(args.pictures.len(), "shots");
    let mut shots = Vec::new();
    for path in &args.pictures {
        shots.push(shot(&mut pipeline, path, choice, args.force)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !args.force {
        check_one_person(args, &shots, threshold)?;
    }
    let weighted: Vec<(&Template, f32)> =
        shots.iter().map(|s| (&s.template, s.quality.landmark_score)).collect();
    let template = Template::fuse(&weighted)
        .map_err(|e| Failure::sdk("the shots", e).with_exit(Exit::Input))?;

    let (mut store, new_key) = gallery_file::writer_or_new(&args.gallery)?;
    let gallery_failed = |e| gallery_file::failed(&args.gallery, e);
    if !args.force && !store.is_empty() {
        let hits = store.search::<2>(&template).map_err(gallery_failed)?;
        let people = store.people();
        for hit in hits.iter().filter(|hit| hit.score >= threshold) {
            if let Some(other) = people.iter().find(|p| p.id == hit.person && p.name != name) {
                return Err(Failure::new(
                    Exit::Gallery,
                    format!("{}: {} is enrolled already and looks like this person (--force enrols anyway)", args.gallery.gallery.display(), other.name),
                ));
            }
        }
    }
    let id = store.enrol(&name, &[&template], now_ms()).map_err(gallery_failed)?;
    finish(args, &store, id, &name, (shots.len(), new_key), out)
}

/// Tells what was stored, from how many shots, and of a new key file.
fn finish(
    args: &EnrollArgs,
    store: &Store,
    id: PersonId,
    name: &PersonName,
    (shots, new_key): (usize, Option<PathBuf>),
    out: Output,
) -> Outcome {
    let templates = store.people().iter().find(|p| p.id == id).map_or(0, |p| p.templates);
    if let Some(path) = new_key {
        eprintln!(
            "keyface: made the key file {}: whoever has it can read the gallery",
            path.display()
        );
    }
    out.text(format_args!(
        "{name} enrolled in {} from {}",
        args.gallery.gallery.display(),
        counted(shots, "shot")
    ))?;
    out.object(&Line { name: name.as_str(), shots, templates })?;
    Ok(Exit::Done)
}

/// Guides the person before the camera, and stores what comes of it.
fn at_the_camera(
    args: &EnrollArgs,
    camera: &Selection,
    name: &PersonName,
    pipeline: &mut Pipeline,
    threshold: f32,
    out: Output,
) -> Outcome {
    let mut rules = EnrolRules::new(threshold);
    rules.shots = usize::from(args.shots);
    if args.force {
        // No score is above 1, so nobody is too alike.
        rules.duplicate = 2.0;
    }
    let mut session = Session::new(rules).map_err(|e| Failure::sdk("--shots", e))?;
    let mut live = Live::open(&args.live, camera, Choice::largest_if(args.one.largest))?;
    live::enrol(&mut live, pipeline, &mut session, rules.shots)?;
    drop(live);
    let (mut store, new_key) = gallery_file::writer_or_new(&args.gallery)?;
    let known = store.find(name).is_some();
    let stored = match known && args.force {
        true => session.commit_again(&mut store, name, now_ms()),
        false => session.commit(&mut store, name, now_ms()),
    };
    let id = stored.map_err(|e| gallery_file::failed(&args.gallery, e))?;
    finish(args, &store, id, name, (rules.shots, new_key), out)
}

/// One shot, good enough for enrolment unless `force`.
fn shot(
    pipeline: &mut Pipeline,
    path: &Path,
    choice: Choice,
    force: bool,
) -> Result<Face, Failure> {
    let face = faces::from_file(pipeline, path, choice)?;
    if !force && !face.quality.reasons.is_empty() {
        return Err(Failure::new(
            Exit::Input,
            format!(
                "{}: not good enough to enrol: {} (--force enrols anyway)",
                path.display(),
                face.quality.reasons
            ),
        ));
    }
    Ok(face)
}

/// Refuses a set of shots in which one does not match the first.
fn check_one_person(args: &EnrollArgs, shots: &[Face], threshold: f32) -> Result<(), Failure> {
    let Some((first, others)) = shots.split_first() else { return Ok(()) };
    for (other, path) in others.iter().zip(&args.pictures[1..]) {
        let score = first
            .template
            .similarity(&other.template)
            .map_err(|e| Failure::sdk(path.display(), e))?;
        if score < threshold {
            return Err(Failure::new(
                Exit::Input,
                format!(
                    "{}: does not look like the person in {} (--force enrols anyway)",
                    path.display(),
                    args.pictures[0].display()
                ),
            ));
        }
    }
    Ok(())
}
