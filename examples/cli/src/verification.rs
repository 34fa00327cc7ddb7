//! What measurements on pair lists share: embedding every picture once, and scoring the pairs.

use crate::model::Loaded;
use crate::progress;
use crate::report::{Exit, Failure};
use keyface::pipeline::Pipeline;
use keyface::template::Template;
use keyface_cli::pairs::PairList;
use keyface_cli::stats::Scored;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many failures are told one by one.
const TOLD: usize = 10;

/// A picture's embedding, or why there is none.
pub type Embedded = Result<Template, String>;

/// Reads a list of pairs; errors name the file and the line.
pub fn read_pairs(path: &Path) -> Result<PairList, Failure> {
    let bad = |cause: String| Failure::new(Exit::Input, format!("{}: {cause}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    PairList::parse(&text).map_err(|e| bad(e.to_string()))
}

/// Embeds pictures 0 to `total`, `jobs` at a time, each thread on a pipeline of its own. An item that fails holds the cause.
pub fn embed_all(
    total: usize,
    jobs: usize,
    loaded: &Loaded,
    embed: impl Fn(&mut Pipeline, usize) -> Embedded + Sync,
) -> Result<Vec<Embedded>, Failure> {
    let next = AtomicUsize::new(0);
    let bar = progress::bar(total, "embedding");
    let work = || -> Result<Vec<(usize, Embedded)>, Failure> {
        let mut pipeline = loaded.pipeline()?;
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= total {
                return Ok(done);
            }
            done.push((i, embed(&mut pipeline, i)));
            bar.inc(1);
        }
    };
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.min(total)).map(|_| scope.spawn(work)).collect();
        let results: Result<Vec<_>, Failure> = threads
            .into_iter()
            .map(|t| {
                t.join()
                    .unwrap_or_else(|_| Err(Failure::new(Exit::Internal, "a worker thread failed")))
            })
            .collect();
        results.map(|parts| parts.into_iter().flatten().collect())
    })?;
    bar.finish_and_clear();
    all.sort_unstable_by_key(|(i, _)| *i);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

/// Tells which pictures failed and why, the first few of them; returns how many.
pub fn tell_failures(templates: &[Embedded]) -> usize {
    let causes: Vec<&String> = templates.iter().filter_map(|t| t.as_ref().err()).collect();
    for cause in causes.iter().take(TOLD) {
        eprintln!("keyface: {cause}");
    }
    if causes.len() > TOLD {
        eprintln!("keyface: and {} more pictures that could not be used", causes.len() - TOLD);
    }
    causes.len()
}

/// The score of every pair, and how many pairs had none.
pub fn score(list: &PairList, templates: &[Embedded]) -> Result<(Vec<Scored>, usize), Failure> {
    let mut failed = 0;
    let mut scores = Vec::with_capacity(list.pairs.len());
    for pair in &list.pairs {
        let score = match (&templates[pair.a], &templates[pair.b]) {
            (Ok(a), Ok(b)) => a.similarity(b).map_err(|e| Failure::sdk("a pair", e))?,
            _ => {
                failed += 1;
                -1.0
            }
        };
        scores.push(Scored { score, same: pair.same });
    }
    Ok((scores, failed))
}

/// An interval in per cent.
pub fn percent((low, high): (f64, f64)) -> String {
    format!("{:.2} .. {:.2}", 100.0 * low, 100.0 * high)
}
