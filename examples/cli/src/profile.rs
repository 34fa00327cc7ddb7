//! `keyface bench --profile`: where the time of a detection and of an embedding goes, beside the roofline of this CPU.

use crate::model::Loaded;
use crate::report::{Exit, Failure, Outcome, Output};
use keyface::detect::Detector;
use keyface::engine::Step;
use keyface::frame::Frame;
use keyface::geometry::TEMPLATE_112;
use keyface::kernel::Kernels;
use keyface::sample::normalised;
use serde::Serialize;
use std::time::{Duration, Instant};

/// One kind of node over all blocks.
#[derive(Serialize)]
struct Row {
    network: &'static str,
    name: String,
    operator: String,
    nodes: usize,
    ms: f64,
    mmac: f64,
    gmac_per_s: f64,
    roofline_percent: Option<f64>,
}

/// The last line of a network.
#[derive(Serialize)]
struct Summary {
    network: &'static str,
    cpu: &'static str,
    threads: usize,
    repeat: usize,
    roofline_gmac_per_s: Option<f64>,
    ms: f64,
    mmac: f64,
}

/// Profiles `repeat` detections of `frame` and embeddings of a grey crop and reports each node's fastest run.
pub fn run(loaded: &Loaded, frame: &Frame<'_>, repeat: usize, out: Output) -> Outcome {
    let recogniser = loaded.model.recogniser();
    let failed = |e| Failure::sdk(&loaded.name, e);
    let threads = loaded.options.threads;
    let kernels = Kernels::for_level(recogniser.cpu_level()).map_err(failed)?;
    let roofline = roofline(kernels).map(|one| one * threads as f64);
    let report = Report { kernels, threads, repeat, roofline, out };

    // A pack of a recogniser alone has nothing to detect with.
    if loaded.model.pack().manifest().landmark.is_some() {
        let (long_side, least) = (loaded.options.long_side, loaded.options.score_threshold);
        let mut detector =
            Detector::new(loaded.model.pack(), long_side, least, threads).map_err(failed)?;
        let steps = fastest(repeat, || detector.profile(frame)).map_err(failed)?;
        if !steps.is_empty() {
            report.print("landmark", &steps)?;
        }
    }

    let mut session = recogniser.session(threads).map_err(failed)?;
    let image = vec![128; 3 * session.input_size() * session.input_size()];
    let mut embedding = vec![0.0; session.output_dim()];
    let keypoints = TEMPLATE_112.map(normalised);
    let steps = fastest(repeat, || session.profile(&image, &keypoints, &mut embedding));
    report.print("recogniser", &steps.map_err(failed)?)?;
    Ok(Exit::Done)
}

/// Every node's fastest of `repeat` runs.
fn fastest(
    repeat: usize,
    mut profile: impl FnMut() -> keyface::Result<Vec<Step>>,
) -> keyface::Result<Vec<Step>> {
    let mut best = profile()?;
    for _ in 1..repeat {
        for (best, step) in best.iter_mut().zip(profile()?) {
            best.elapsed = best.elapsed.min(step.elapsed);
        }
    }
    Ok(best)
}

/// What all lines of the report share.
struct Report {
    kernels: &'static Kernels,
    threads: usize,
    repeat: usize,
    roofline: Option<f64>,
    out: Output,
}

impl Report {
    fn print(&self, network: &'static str, steps: &[Step]) -> Result<(), Failure> {
        let mut rows: Vec<Row> = Vec::new();
        for step in steps {
            let name = kind(&step.name);
            let ms = step.elapsed.as_secs_f64() * 1e3;
            let at = rows.iter().position(|r| r.name == name).unwrap_or_else(|| {
                let operator = step.operator.clone();
                rows.push(Row {
                    network,
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
            row.roofline_percent = self.roofline.map(|top| 100.0 * row.gmac_per_s / top);
            self.out.object(&*row)?;
            let share = row.roofline_percent.map_or(String::new(), |p| format!("{p:6.1} %"));
            self.out.text(format_args!(
                "{:14} {:16} x{:<3} {:9.3} ms {:9.2} MMAC {:8.2} GMAC/s {share}",
                row.name, row.operator, row.nodes, row.ms, row.mmac, row.gmac_per_s
            ))?;
        }
        let sum = |of: fn(&Row) -> f64| rows.iter().map(of).sum::<f64>();
        let line = Summary {
            network,
            cpu: self.kernels.level().name(),
            threads: self.threads,
            repeat: self.repeat,
            roofline_gmac_per_s: self.roofline,
            ms: sum(|r| r.ms),
            mmac: sum(|r| r.mmac),
        };
        self.out.object(&line)?;
        let top = self
            .roofline
            .map_or("no roofline at this level".to_owned(), |v| format!("roofline {v:.1} GMAC/s"));
        self.out.text(format_args!(
            "{network} on {}, {} thread(s): {:.3} ms, {:.2} MMAC; {top}; each node's best of {}",
            line.cpu, line.threads, line.ms, line.mmac, line.repeat
        ))
    }
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
