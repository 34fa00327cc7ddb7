//! `keyface identify`: who in a gallery is this?

use crate::args::IdentifyArgs;
use crate::faces::{self, Choice};
use crate::gallery_file;
use crate::model;
use crate::report::{Exit, Outcome, Output};
use serde::Serialize;

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
    let loaded = model::load(&args.model)?;
    let people = reader.people();
    let templates = people.iter().map(|p| p.templates).sum();
    let threshold = loaded.threshold(&args.threshold, templates)?;
    let mut pipeline = loaded.pipeline()?;
    let face =
        faces::from_file(&mut pipeline, &args.picture, Choice::largest_if(args.one.largest))?;
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
    let file = args.picture.display().to_string();
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
