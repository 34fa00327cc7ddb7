//! `keyface migrate`: to a new model pack, people being enrolled again as they pass.

use crate::args::{MigrateArgs, ModelArgs};
use crate::faces::{self, Choice};
use crate::gallery_file;
use crate::model;
use crate::report::{now_ms, Exit, Failure, Outcome, Output};
use keyface::enrol::{Migration, Progress};
use keyface::gallery::Store;
use keyface::pipeline::Pipeline;
use keyface_boards::picture::Picture;
use serde::Serialize;
use std::path::Path;

/// One picture's line.
#[derive(Serialize)]
struct Line<'a> {
    file: String,
    name: Option<&'a str>,
    score: Option<f32>,
    progress: &'static str,
}

/// The last line.
#[derive(Serialize)]
struct Summary {
    people: usize,
    remaining: usize,
    finished: bool,
}

/// A pipeline on each model.
struct Pipelines {
    old: Pipeline,
    new: Pipeline,
}

/// Runs the command.
pub fn run(args: &MigrateArgs, out: Output) -> Outcome {
    let old_args = ModelArgs { pack: Some(args.from.clone()), ..args.model.clone() };
    let (old, new) = (model::load(&old_args)?, model::load(&args.model)?);
    if old.model.id() == new.model.id() {
        return Err(Failure::new(Exit::Usage, "--from and --pack hold the same recogniser"));
    }
    let mut store = gallery_file::writer(&args.gallery)?;
    let failed = |e| gallery_file::failed(&args.gallery, e);
    let templates = store.people().iter().map(|p| p.templates).sum();
    let confident = old.threshold(&args.threshold, templates)? + args.margin;
    let agree = new.threshold(&args.threshold, 1)?;
    let shots = usize::from(args.shots);
    let mut migration =
        Migration::begin(&mut store, new.model.id(), shots, confident, agree).map_err(failed)?;
    let old_id = old.model.id();
    let mut pipelines = Pipelines { old: old.pipeline()?, new: new.pipeline()? };
    for path in &args.pictures {
        visit(path, args, &mut pipelines, &mut store, &mut migration, out)?;
    }
    let (people, remaining) = (store.people().len(), migration.remaining(&store));
    if args.finish {
        migration.finish(&mut store, old_id, args.abandon).map_err(failed)?;
    }
    out.object(&Summary { people, remaining, finished: args.finish })?;
    let end = if args.finish { "; the old model's templates are gone" } else { "" };
    out.text(format_args!(
        "{remaining} of {people} people still have no template of the new model{end}"
    ))?;
    Ok(Exit::Done)
}

/// One visit: whoever is recognised with a margin under the old model lends the picture to the new one.
fn visit(
    path: &Path,
    args: &MigrateArgs,
    pipelines: &mut Pipelines,
    store: &mut Store,
    migration: &mut Migration,
    out: Output,
) -> Result<(), Failure> {
    let picture = Picture::open(path)?;
    let file = path.display().to_string();
    let choice = Choice::largest_if(args.one.largest);
    let refuse = |cause: String| Failure::new(Exit::Input, format!("{file}: {cause}"));
    let seen = faces::describe(&mut pipelines.old, &picture, choice).map_err(refuse)?;
    let failed = |e| gallery_file::failed(&args.gallery, e);
    let hit = store.search::<1>(&seen.template).map_err(failed)?.first().copied();
    let people = store.people();
    let person = hit.and_then(|hit| people.iter().find(|p| p.id == hit.person));
    let progress = match (hit, person) {
        (Some(hit), Some(_)) => {
            let face = faces::describe(&mut pipelines.new, &picture, choice).map_err(refuse)?;
            let weight = face.quality.landmark_score;
            migration
                .offer(store, hit.person, hit.score, &face.template, weight, now_ms())
                .map_err(failed)?
        }
        _ => Progress::Ignored,
    };
    let (word, text) = match progress {
        Progress::Ignored => {
            ("ignored", "not a confident accept, or enrolled anew already".to_owned())
        }
        Progress::Wanted(more) => {
            ("wanted", format!("kept; {more} more like it enrol the person anew"))
        }
        Progress::Disagreed => {
            ("disagreed", "does not agree with the shots before it; starting again".to_owned())
        }
        Progress::Enrolled => ("enrolled", "enrolled under the new model".to_owned()),
    };
    let name = person.map(|p| p.name.as_str());
    out.text(format_args!("{file}: {}: {text}", name.unwrap_or("nobody")))?;
    out.object(&Line {
        file,
        name,
        score: hit.and_then(|h| args.threshold.shown(h.score)),
        progress: word,
    })
}
