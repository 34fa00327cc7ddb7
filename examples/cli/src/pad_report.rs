//! `keyface pad-report`: how a passive check does on labelled pictures, in the words of ISO/IEC 30107-3.

use crate::args::PadReportArgs;
use crate::faces::{self, Choice};
use crate::model;
use crate::progress;
use crate::report::{Exit, Failure, Outcome, Output};
use keyface::decide::pad::{worst_apcer, Counts};
use keyface::liveness::{Liveness, PassiveCheck, PassiveRules};
use keyface_boards::picture::Picture;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The folder of bona fide presentations; every other folder is a species of attack.
const BONA_FIDE: &str = "bona-fide";

/// One folder's line: a rate and its upper 95 % bound.
#[derive(Serialize)]
struct Line {
    folder: String,
    presentations: u64,
    real: u64,
    spoof: u64,
    unsure: u64,
    apcer: Option<(f64, f64)>,
    bpcer: Option<(f64, f64)>,
    non_response: Option<(f64, f64)>,
}

/// The last line.
#[derive(Serialize)]
struct Summary {
    worst_apcer: Option<(f64, f64)>,
}

/// Runs the command.
pub fn run(args: &PadReportArgs, out: Output) -> Outcome {
    let bytes = std::fs::read(&args.onnx)
        .map_err(|e| Failure::new(Exit::Input, format!("{}: {e}", args.onnx.display())))?;
    let rules = PassiveRules {
        side: usize::from(args.side),
        expand: args.expand,
        real_class: usize::from(args.real_class),
        real_from: args.real_from,
        spoof_to: args.spoof_to,
    };
    let mut check =
        PassiveCheck::new(&bytes, rules).map_err(|e| Failure::sdk(args.onnx.display(), e))?;
    let mut pipeline = model::load(&args.model)?.pipeline()?;
    let folders = folders(&args.folder)?;
    let bar = progress::bar(folders.iter().map(|(_, files)| files.len()).sum(), "checking");
    let mut attacks = Vec::new();
    for (name, files) in &folders {
        let mut counts = Counts::default();
        for file in files {
            let picture = Picture::open(file)?;
            // Where no face is found there is nothing to take for real: no answer.
            let answer = match faces::find(&mut pipeline, &picture, Choice::largest_if(true)) {
                Ok(face) => check
                    .check(&picture.frame(), &face.rect)
                    .map_err(|e| Failure::sdk(file.display(), e))?,
                Err(_) => Liveness::Unsure,
            };
            counts.add(answer);
            bar.inc(1);
        }
        let attack = name != BONA_FIDE;
        if attack {
            attacks.push(counts);
        }
        let line = Line {
            folder: name.clone(),
            presentations: counts.presentations,
            real: counts.real,
            spoof: counts.spoof,
            unsure: counts.unsure,
            apcer: counts.apcer().filter(|_| attack),
            bpcer: counts.bpcer().filter(|_| !attack),
            non_response: counts.non_response(),
        };
        bar.suspend(|| {
            out.object(&line)?;
            out.text(in_words(&line))
        })?;
    }
    bar.finish_and_clear();
    let worst = worst_apcer(&attacks);
    out.object(&Summary { worst_apcer: worst })?;
    if let Some(rate) = worst {
        out.text(format_args!("APCER of the worst species: {}", percent(rate)))?;
    }
    Ok(Exit::Done)
}

/// Sub-folders by name with their pictures by name.
fn folders(root: &Path) -> Result<Vec<(String, Vec<PathBuf>)>, Failure> {
    let entries = |folder: &Path| -> Result<Vec<PathBuf>, Failure> {
        let failed =
            |e: std::io::Error| Failure::new(Exit::Input, format!("{}: {e}", folder.display()));
        let all: Result<Vec<_>, _> = std::fs::read_dir(folder).map_err(failed)?.collect();
        let mut paths: Vec<PathBuf> = all.map_err(failed)?.into_iter().map(|e| e.path()).collect();
        paths.sort();
        Ok(paths)
    };
    let mut found = Vec::new();
    for folder in entries(root)?.into_iter().filter(|p| p.is_dir()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files = entries(&folder)?.into_iter().filter(|p| p.is_file()).collect::<Vec<_>>();
        found.push((name, files));
    }
    if !found.iter().any(|(name, _)| name == BONA_FIDE) || found.len() < 2 {
        return Err(Failure::new(
            Exit::Input,
            format!(
                "{}: needs a folder {BONA_FIDE} and one folder for each species of attack",
                root.display()
            ),
        ));
    }
    Ok(found)
}

fn percent((rate, bound): (f64, f64)) -> String {
    format!("{:.2} % (at most {:.2} %)", rate * 100.0, bound * 100.0)
}

fn in_words(line: &Line) -> String {
    let rates = [("APCER", line.apcer), ("BPCER", line.bpcer), ("no answer", line.non_response)];
    let rates: Vec<String> = rates
        .iter()
        .filter_map(|(name, rate)| rate.map(|r| format!("{name} {}", percent(r))))
        .collect();
    format!("{:20} {:6} presentations  {}", line.folder, line.presentations, rates.join("  "))
}
