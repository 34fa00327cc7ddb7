//! A pipeline's threads: one pool for both networks, started once, idle when nothing is asked, without effect on results.
//!
//! One test, because it counts the threads and the CPU time of its process.
#![cfg(target_os = "linux")]

use keyface::detect::Detection;
use keyface::frame::{Frame, Plane};
use keyface::geometry::{Rect, Similarity, TEMPLATE_112};
use keyface::kernel::Pool;
use keyface::pack::{Pack, Trust};
use keyface::pipeline::{Model, Options, Pipeline};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// Threads of pools in this process.
fn kernel_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("procfs");
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm"));
    tasks.filter_map(|task| name(task.ok()?).ok()).filter(|n| n.trim() == "keyface-kernel").count()
}

/// CPU time of all threads of this process, in ticks of a hundredth of a second.
fn cpu_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("procfs");
    let (_, fields) = stat.rsplit_once(')').expect("the name of the program");
    fields.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().expect("ticks")).sum()
}

/// What a pipeline makes of a picture: every bit.
fn results(pipeline: &mut Pipeline, frame: &Frame<'_>, face: &Detection) -> Vec<u32> {
    let mut bits = Vec::new();
    for found in pipeline.detect(frame).expect("detection") {
        bits.push(found.score.to_bits());
        bits.extend(found.points.iter().flat_map(|p| [p.x.to_bits(), p.y.to_bits()]));
    }
    let face = pipeline.describe(frame, face).expect("embedding").expect("a face");
    bits.extend(face.template.as_slice().iter().map(|v| v.to_bits()));
    bits
}

#[test]
fn pipelines_share_threads_that_start_once_and_idle() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/default.kfpack");
    let pack = Pack::open(path.as_ref(), Trust::Anyone).expect("the default pack");
    let model = Model::load(pack).expect("a sound pack");
    // A lowest score that lets the detector report what it sees in a pattern.
    let options = Options { score_threshold: Some(0.001), ..Options::default() };
    let luma: Vec<u8> = (0..640 * 480).map(|i| (i / 640 * 7 + i % 640 * i % 251) as u8).collect();
    let chroma = vec![128u8; 640 * 240];
    let plane = |data| Plane { data, stride: 640 };
    let frame = Frame::nv12(plane(&luma), plane(&chroma), 640, 480).expect("a sound frame");
    let place = Similarity::new(1.5, 0.1, 200.0, 150.0).expect("a sound transform");
    let face = Detection {
        rect: Rect::new(200.0, 150.0, 170.0, 170.0),
        points: place.apply5(&TEMPLATE_112),
        score: 0.9,
    };
    let truth = results(&mut Pipeline::new(&model, &options).expect("a pipeline"), &frame, &face);
    assert_eq!(kernel_threads(), 0, "one thread is the caller's own");

    let pool = Arc::new(Pool::with_exactly(3).expect("threads"));
    let mut pipelines: Vec<Pipeline> =
        (0..2).map(|_| Pipeline::on(&model, &options, pool.clone()).expect("a pipeline")).collect();
    drop(pool);
    std::thread::scope(|scope| {
        for pipeline in &mut pipelines {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(results(pipeline, &frame, &face), truth);
                }
            });
        }
    });
    assert_eq!(kernel_threads(), 2, "two pipelines, each of two networks, on one pool of three");

    let before = cpu_ticks();
    std::thread::sleep(Duration::from_millis(500));
    let spent = cpu_ticks() - before;
    assert!(spent <= 5, "idle threads used {spent} hundredths of a second of 50");

    drop(pipelines);
    assert_eq!(kernel_threads(), 0, "a pool ends with its last user");
}
