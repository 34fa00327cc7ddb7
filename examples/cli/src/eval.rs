//! `keyface eval`: verification accuracy on a list of pairs, with intervals.

use crate::args::EvalArgs;
use crate::embed;
use crate::faces::{self, Choice};
use crate::model;
use crate::report::{Exit, Failure, Outcome, Output};
use crate::source::Source;
use crate::verification::{embed_all, percent, read_pairs, score, tell_failures, Embedded};
use keyface::pipeline::Pipeline;
use keyface_boards::picture::Picture;
use keyface_cli::stats::{auc, cross_validated, equal_error_rate, tar_at_far, OperatingPoint};
use serde::Serialize;
use std::collections::BTreeMap;

/// The false-accept rates reported, with their names in JSON.
const RATES: [(&str, f64); 4] = [("1e-1", 1e-1), ("1e-2", 1e-2), ("1e-3", 1e-3), ("1e-4", 1e-4)];

/// The result. A rate that the pairs are too few for is null.
#[derive(Serialize)]
struct Line {
    pairs: usize,
    genuine: usize,
    failed: usize,
    failed_pictures: usize,
    accuracy: f64,
    accuracy_interval: (f64, f64),
    fold_accuracies: Vec<f64>,
    fold_thresholds: Vec<f32>,
    auc: f64,
    equal_error_rate: f64,
    tar_at_far: BTreeMap<&'static str, Option<f64>>,
    roc: Vec<RocPoint>,
}

#[derive(Serialize)]
struct RocPoint {
    far: f64,
    threshold: f32,
    far_observed: f64,
    far_interval: (f64, f64),
    tar: f64,
    tar_interval: (f64, f64),
}

impl RocPoint {
    fn new(far: f64, p: &OperatingPoint) -> RocPoint {
        RocPoint {
            far,
            threshold: p.threshold,
            far_observed: p.far.rate(),
            far_interval: p.far.clopper_pearson(),
            tar: p.tar.rate(),
            tar_interval: p.tar.wilson(),
        }
    }
}

/// Runs the command.
pub fn run(args: &EvalArgs, out: Output) -> Outcome {
    let list = read_pairs(&args.pairs)?;
    let source = Source::open(&args.root)?;
    let loaded = model::load(&args.model)?;
    let choice = if args.find_points {
        Way::PointsFound
    } else if args.aligned {
        Way::Aligned
    } else {
        Way::Whole
    };
    let templates =
        embed_all(list.pictures.len(), usize::from(args.jobs), &loaded, |pipeline, i| {
            let name = &list.pictures[i];
            let bytes = source.read(name)?;
            let picture = Picture::decode(&bytes).map_err(|cause| format!("{name}: {cause}"))?;
            choice.embed(pipeline, &picture).map_err(|cause| format!("{name}: {cause}"))
        })?;
    let failed_pictures = tell_failures(&templates);
    if failed_pictures == templates.len() {
        return Err(Failure::new(
            Exit::Input,
            format!("{}: no picture could be used", args.root.display()),
        ));
    }
    let (scores, failed) = score(&list, &templates)?;
    let Some(accuracy) = cross_validated(&scores, usize::from(args.folds)) else {
        return Err(Failure::new(
            Exit::Input,
            format!(
                "{}: too few pairs of either kind for {} folds",
                args.pairs.display(),
                args.folds
            ),
        ));
    };
    let points: Vec<_> = RATES.map(|(name, far)| (name, far, tar_at_far(&scores, far))).into();
    let line = Line {
        pairs: scores.len(),
        genuine: scores.iter().filter(|s| s.same).count(),
        failed,
        failed_pictures,
        accuracy: accuracy.correct.rate(),
        accuracy_interval: accuracy.correct.wilson(),
        fold_accuracies: accuracy.folds,
        fold_thresholds: accuracy.thresholds,
        auc: auc(&scores),
        equal_error_rate: equal_error_rate(&scores),
        tar_at_far: points.iter().map(|(name, _, p)| (*name, p.map(|p| p.tar.rate()))).collect(),
        roc: points
            .iter()
            .filter_map(|(_, far, p)| Some(RocPoint::new(*far, p.as_ref()?)))
            .collect(),
    };
    out.object(&line)?;
    out.text(in_words(&line))?;
    Ok(Exit::Done)
}

/// How a picture of the list becomes an embedding.
#[derive(Clone, Copy)]
enum Way {
    /// Detect, align, embed.
    Whole,
    /// It is a crop; the alignment template's points.
    Aligned,
    /// It is a crop; the detector's points in it, or the template's where it finds none.
    PointsFound,
}

impl Way {
    fn embed(self, pipeline: &mut Pipeline, picture: &Picture) -> Embedded {
        match self {
            Way::Whole => Ok(faces::describe(pipeline, picture, Choice::Central)?.template),
            Way::Aligned => embed::aligned(pipeline, picture, None),
            Way::PointsFound => {
                let found = faces::find(pipeline, picture, Choice::Central).ok();
                embed::aligned(pipeline, picture, found.map(|d| d.points).as_ref())
            }
        }
    }
}

fn in_words(line: &Line) -> String {
    let mut text = format!(
        "{} pairs, {} of one person; {} failed ({} pictures could not be used)\n\
         accuracy   {:6.2} %  (95 %: {}), threshold from the other folds\n\
         area       {:8.4}\n\
         equal err. {:6.2} %",
        line.pairs,
        line.genuine,
        line.failed,
        line.failed_pictures,
        100.0 * line.accuracy,
        percent(line.accuracy_interval),
        line.auc,
        100.0 * line.equal_error_rate,
    );
    text += "\nFAR aimed at  threshold  accepted impostors          accepted genuine";
    for p in &line.roc {
        text += &format!(
            "\n{:12}  {:9.3}  {:6.2} % ({:14})  {:6.2} % ({})",
            format!("{:.0e}", p.far),
            p.threshold,
            100.0 * p.far_observed,
            percent(p.far_interval),
            100.0 * p.tar,
            percent(p.tar_interval),
        );
    }
    for (name, tar) in &line.tar_at_far {
        if tar.is_none() {
            text += &format!("\n{name:12}  needs more impostor pairs than the list has");
        }
    }
    text
}
