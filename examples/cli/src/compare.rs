//! `keyface compare`: do two pictures show the same person?

use crate::args::CompareArgs;
use crate::faces::{self, Choice};
use crate::model;
use crate::report::{Exit, Failure, Outcome, Output};
use serde::Serialize;

/// The result.
#[derive(Serialize)]
struct Line {
    score: Option<f32>,
    #[serde(rename = "match")]
    is_match: bool,
    threshold: f32,
}

/// Runs the command.
pub fn run(args: &CompareArgs, out: Output) -> Outcome {
    let loaded = model::load(&args.model)?;
    let threshold = loaded.threshold(&args.threshold, 1)?;
    let mut pipeline = loaded.pipeline()?;
    let choice = Choice::largest_if(args.one.largest);
    let a = faces::from_file(&mut pipeline, &args.a, choice)?;
    let b = faces::from_file(&mut pipeline, &args.b, choice)?;
    let score =
        a.template.similarity(&b.template).map_err(|e| Failure::sdk("the two pictures", e))?;
    let is_match = score >= threshold;
    let verdict = if is_match { "the same person" } else { "different people" };
    for (path, face) in [(&args.a, &a), (&args.b, &b)] {
        if !face.quality.reasons.is_empty() {
            out.text(format_args!("{}: poor view: {}", path.display(), face.quality.reasons))?;
        }
    }
    let score = args.threshold.shown(score);
    let detail =
        score.map_or(String::new(), |s| format!(": score {s:.3}, match from {threshold:.3}"));
    out.text(format_args!("{verdict}{detail}"))?;
    out.object(&Line { score, is_match, threshold })?;
    Ok(if is_match { Exit::Done } else { Exit::NoMatch })
}
