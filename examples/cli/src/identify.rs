//! `keyface identify`: who in a gallery is this?

use crate::args::IdentifyArgs;
use crate::faces::{self, Choice};
use crate::gallery_file;
use crate::live::{self, Live, Seen};
use crate::model;
use crate::report::{Exit, Failure, Outcome, Output};
use keyface::gallery::Reader;
use keyface::pipeline::{Face, Pipeline};
use serde::Serialize;
use std::time::{Duration, Instant};

/// The result: `name` is null for a stranger; `candidates` are the nearest people, best first.
#[derive(Serialize)]
struct Line<'a> {
    file: String,
    #[serde(rename = "match")]
    is_match: bool,
    name: Option<&'a str>,
    score: Option<f32>,
    threshold: f32,
    candidates: Vec<Candidate<'a>>,
}

#[derive(Clone, Copy, Serialize)]
struct Candidate<'a> {
    name: &'a str,
    score: f32,
}

/// Runs the command.
pub fn run(args: &IdentifyArgs, out: Output) -> Outcome {
    let reader = gallery_file::reader(&args.gallery)?;
    let mut loaded = model::load(&args.model)?;
    let people = reader.people();
    let templates = people.iter().map(|p| p.templates).sum();
    let threshold = loaded.threshold(&args.threshold, templates)?;
    let camera = live::selection(&args.live)?;
    if let Some(camera) = &camera {
        loaded.fit_camera(&args.model, camera)?;
    }
    let mut pipeline = loaded.pipeline()?;
    let choice = Choice::largest_if(args.one.largest);
    let (file, face) = match (&camera, &args.picture) {
        (Some(camera), _) => {
            let mut live = Live::open(&args.live, camera, choice)?;
            let best = |face: &Face| best_score(&reader, face, args);
            let face = at_the_camera(args, &mut live, &mut pipeline, threshold, best)?;
            (live.describe(), face)
        }
        (None, Some(path)) => {
            (path.display().to_string(), faces::from_file(&mut pipeline, path, choice)?)
        }
        // The command line asks for one of them.
        (None, None) => return Err(Failure::new(Exit::Usage, "neither a picture nor a camera")),
    };
    let hits =
        reader.search::<5>(&face.template).map_err(|e| gallery_file::failed(&args.gallery, e))?;
    let candidates: Vec<Candidate<'_>> = hits
        .iter()
        .filter_map(|hit| {
            let person = people.iter().find(|p| p.id == hit.person)?;
            Some(Candidate { name: person.name.as_str(), score: hit.score })
        })
        .collect();
    let best = candidates.first().copied();
    let name = best.filter(|c| c.score >= threshold).map(|c| c.name);
    if !face.quality.reasons.is_empty() {
        out.text(format_args!("{file}: poor view: {}", face.quality.reasons))?;
    }
    let shown = best.and_then(|best| args.threshold.shown(best.score));
    let detail = |what: &str| {
        shown.map_or(String::new(), |s| format!("{what} {s:.3}, match from {threshold:.3}"))
    };
    out.text(match (name, best) {
        (Some(name), _) => format!("{file}: {name}{}", detail(", score")),
        (None, Some(_)) => {
            format!("{file}: nobody in the gallery{}", detail("; the nearest scores"))
        }
        (None, None) => format!("{file}: nobody in the gallery; it is empty"),
    })?;
    let is_match = name.is_some();
    // The order of the others is a score too.
    let candidates = if args.threshold.hide_scores { Vec::new() } else { candidates };
    out.object(&Line { file, is_match, name, score: shown, threshold, candidates })?;
    Ok(if is_match { Exit::Done } else { Exit::NoMatch })
}

/// The score of the nearest person, -1 in an empty gallery.
fn best_score(reader: &Reader, face: &Face, args: &IdentifyArgs) -> Result<f32, Failure> {
    let hits = reader.search::<1>(&face.template);
    let hits = hits.map_err(|e| gallery_file::failed(&args.gallery, e))?;
    Ok(hits.first().map_or(-1.0, |hit| hit.score))
}

/// Looks until two good frames match somebody, or the time is over: the best face of all. Poor views count only where there is nothing else.
fn at_the_camera(
    args: &IdentifyArgs,
    live: &mut Live,
    pipeline: &mut Pipeline,
    threshold: f32,
    score: impl Fn(&Face) -> Result<f32, Failure>,
) -> Result<Face, Failure> {
    let until = Instant::now() + Duration::from_secs(u64::from(args.seconds));
    let (mut best, mut votes) = (None::<(bool, f32, Box<Face>)>, 0);
    while votes < 2 && Instant::now() < until {
        match live.look(pipeline)? {
            Seen::Nothing => {}
            Seen::End => break,
            Seen::Nobody => live.hint("step in front of the camera"),
            Seen::Several => live.hint("one person at a time, please"),
            Seen::Face(face, _) => {
                let good = face.quality.reasons.is_empty();
                let hint = match good {
                    true => "looking".to_owned(),
                    false => face.quality.reasons.to_string(),
                };
                live.hint(&hint);
                let score = score(&face)?;
                votes += usize::from(good && score >= threshold);
                if best.as_ref().is_none_or(|(g, s, _)| (good, score) > (*g, *s)) {
                    best = Some((good, score, face));
                }
            }
        }
    }
    let none = || Failure::new(Exit::Input, format!("{}: no face was seen", live.describe()));
    best.map(|(_, _, face)| *face).ok_or_else(none)
}
