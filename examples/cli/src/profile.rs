//! `keyface bench --profile`: where the time of an embedding goes, beside the roofline of this CPU.

use crate::model::Loaded;
use crate::report::{Exit, Failure, Outcome, Output};
use keyface::engine::Step;
use keyface::geometry::TEMPLATE_112;
use keyface::kernel::Kernels;
use keyface::sample::normalised;
use serde::Serialize;
use std::time::{Duration, Instant};

/// One kind of node over all blocks.
#[derive(Serialize)]
struct Row {
    name: String,
    operator: String,
    nodes: usize,
    ms: f64,
    mmac: f64,
    gmac_per_s: f64,
    roofline_percent: Option<f64>,
}

/// The last line.
#[derive(Serialize)]
struct Summary {
    cpu: &'static str,
    threads: usize,
    repeat: usize,
    roofline_gmac_per_s: Option<f64>,
    ms: f64,
    mmac: f64,
}

/// Profiles `repeat` embeddings of a grey crop and reports each node's fastest run.
pub fn run(loaded: &Loaded, repeat: usize, out: Output) -> Outcome {
    let recogniser = loaded.model.recogniser();
    let failed = |e| Failure::sdk(&loaded.name, e);
    let threads = loaded.options.threads;
    let mut session = recogniser.session(threads).map_err(failed)?;
    let image = vec![128; 3 * session.input_size() * session.input_size()];
    let mut embedding = vec![0.0; session.output_dim()];
    let keypoints = TEMPLATE_112.map(normalised);
    let mut best: Vec<Step> = Vec::new();
    for _ in 0..repeat {
        let steps = session.profile(&image, &keypoints, &mut embedding).map_err(failed)?;
        if best.is_empty() {
            best.clone_from(&steps);
        }
        for (best, step) in best.iter_mut().zip(&steps) {
            best.elapsed = best.elapsed.min(step.elapsed);
        }
    }
    let kernels = Kernels::for_level(recogniser.cpu_level()).map_err(failed)?;
    let roofline = roofline(kernels).map(|one| one * threads as f64);
    let mut rows: Vec<Row> = Vec::new();
    for step in &best {
        let name = kind(&step.name);
        let ms = step.elapsed.as_secs_f64() * 1e3;
        let at = rows.iter().position(|r| r.name == name).unwrap_or_else(|| {
            let operator = step.operator.clone();
            rows.push(Row {
                name,
                operator,
                nodes: 0,
                ms: 0.0,
                mmac: 0.0,
                gmac_per_s: 0.0,
                roofline_percent: None,
            });
            rows.len() - 1
        });
        rows[at].nodes += 1;
        rows[at].ms += ms;
        rows[at].mmac += step.macs as f64 / 1e6;
    }
    for row in &mut rows {
        row.gmac_per_s = row.mmac / row.ms;
        row.roofline_percent = roofline.map(|top| 100.0 * row.gmac_per_s / top);
        out.object(&*row)?;
        let share = row.roofline_percent.map_or(String::new(), |p| format!("{p:6.1} %"));
        out.text(format_args!(
            "{:14} {:16} x{:<3} {:9.3} ms {:9.2} MMAC {:8.2} GMAC/s {share}",
            row.name, row.operator, row.nodes, row.ms, row.mmac, row.gmac_per_s
        ))?;
    }
    let sum = |of: fn(&Row) -> f64| rows.iter().map(of).sum::<f64>();
    let line = Summary {
        cpu: recogniser.cpu_level().name(),
        threads,
        repeat,
        roofline_gmac_per_s: roofline,
        ms: sum(|r| r.ms),
        mmac: sum(|r| r.mmac),
    };
    out.object(&line)?;
    let top = roofline
        .map_or("no roofline at this level".to_owned(), |v| format!("roofline {v:.1} GMAC/s"));
    out.text(format_args!(
        "{} on {} thread(s): {:.3} ms, {:.2} MMAC; {top}; each node's best of {repeat}",
        line.cpu, threads, line.ms, line.mmac
    ))?;
    Ok(Exit::Done)
}

/// `blocks.3.fc1` is one of the `fc1`.
fn kind(name: &str) -> String {
    match name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        Some((_, leaf)) => leaf.to_owned(),
        None => name.to_owned(),
    }
}

/// Multiply-adds a second, in thousands of millions, of the level's multiply instruction alone on one thread.
fn roofline(kernels: &Kernels) -> Option<f64> {
    let mut best = Duration::MAX;
    let mut products = 0;
    for _ in 0..50 {
        let start = Instant::now();
        products = std::hint::black_box(kernels.multiply_only(20_000));
        best = best.min(start.elapsed());
    }
    (products > 0).then(|| products as f64 / best.as_secs_f64() / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_all_blocks_are_one_kind() {
        assert_eq!(kind("blocks.11.attention"), "attention");
        assert_eq!(kind("stem.0.rows"), "stem.0.rows");
        assert_eq!(kind("head.0"), "head.0");
    }

    #[test]
    fn a_cpu_with_simd_has_a_roofline() {
        for kernels in Kernels::available() {
            let found = roofline(kernels);
            assert_eq!(found.is_some(), kernels.level() != keyface::kernel::CpuLevel::Scalar);
        }
    }
}
