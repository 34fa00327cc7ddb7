//! `keyface bench`: how long every step takes on this machine.

use crate::args::BenchArgs;
use crate::demo::ASTRONAUT;
use crate::model;
use crate::profile;
use crate::progress;
use crate::report::{Exit, Failure, Outcome, Output};
use keyface::align::align;
use keyface::detect::{Detection, Detections, Detector};
use keyface::embed::Embedder;
use keyface::frame::{Frame, PixelFormat};
use keyface::pipeline::Pipeline;
use keyface::sample::Crop;
use keyface_boards::picture::Picture;
use serde::Serialize;
use std::time::Instant;

/// Size of the measured frame.
const FRAME: (usize, usize) = (640, 480);

/// The result. Times are medians.
#[derive(Serialize)]
struct Line {
    cpu: &'static str,
    threads: usize,
    frame: [usize; 2],
    repeat: usize,
    load_ms: f64,
    detect_ms: f64,
    align_ms: f64,
    embed_ms: f64,
    frame_ms: f64,
    detect_mmac: f64,
    embed_mmac: f64,
}

/// Runs the command.
pub fn run(args: &BenchArgs, out: Output) -> Outcome {
    let pixels = frame_bytes()?;
    let frame = Frame::packed(PixelFormat::Yuyv, FRAME.0, FRAME.1, &pixels)
        .map_err(|e| Failure::sdk("frame", e))?;
    let start = Instant::now();
    let loaded = model::load(&args.model)?;
    if args.profile {
        return profile::run(&loaded, &frame, usize::from(args.repeat), out);
    }
    let mut pipeline = loaded.pipeline()?;
    let load_ms = milliseconds(start);
    let face = first_face(&mut pipeline, &frame)?;
    let sdk = |e| Failure::sdk(&loaded.name, e);
    let recogniser = loaded.model.recogniser();
    let mut detector = Detector::new(
        loaded.model.pack(),
        loaded.options.long_side,
        loaded.options.score_threshold,
        loaded.options.threads,
    )
    .map_err(sdk)?;
    let mut embedder = Embedder::new(recogniser, loaded.options.threads).map_err(sdk)?;
    let mut crop = Crop::new();
    let Some(alignment) = align(&frame, &face.points, &mut crop) else {
        return Err(Failure::new(Exit::Internal, "the built-in picture could not be aligned"));
    };
    let mut template = embedder.embed(&crop, &alignment.normalised()).map_err(sdk)?;
    let mut found = Detections::new();

    let repeat = usize::from(args.repeat);
    let bar = progress::bar(4 * repeat, "measuring");
    let time = |step: &mut dyn FnMut() -> keyface::Result<()>| -> Result<f64, Failure> {
        step().map_err(sdk)?;
        let mut times = Vec::with_capacity(repeat);
        for _ in 0..repeat {
            let start = Instant::now();
            step().map_err(sdk)?;
            times.push(milliseconds(start));
            bar.inc(1);
        }
        times.sort_unstable_by(f64::total_cmp);
        Ok(times[repeat / 2])
    };
    let detect_ms = time(&mut || detector.detect(&frame, &mut found))?;
    let align_ms = time(&mut || {
        std::hint::black_box(align(&frame, &face.points, &mut crop));
        Ok(())
    })?;
    let embed_ms =
        time(&mut || embedder.embed_into(&crop, &alignment.normalised(), &mut template))?;
    let frame_ms = time(&mut || {
        let best = pipeline.detect(&frame)?.first().copied();
        best.map_or(Ok(()), |best| pipeline.describe(&frame, &best).map(|_| ()))
    })?;
    bar.finish_and_clear();
    let line = Line {
        cpu: recogniser.cpu_level().name(),
        threads: loaded.options.threads,
        frame: [FRAME.0, FRAME.1],
        repeat,
        load_ms,
        detect_ms,
        align_ms,
        embed_ms,
        frame_ms,
        detect_mmac: detector.macs(FRAME).map_err(sdk)? as f64 / 1e6,
        embed_mmac: recogniser.session(1).map_err(sdk)?.macs() as f64 / 1e6,
    };
    out.object(&line)?;
    out.text(in_words(&line))?;
    Ok(Exit::Done)
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// A photograph in the middle of a camera frame, as YUYV: what most USB cameras send.
fn frame_bytes() -> Result<Vec<u8>, Failure> {
    let picture = Picture::decode(ASTRONAUT).map_err(|e| Failure::new(Exit::Internal, e))?;
    let upright = picture.upright();
    let mut canvas =
        image::RgbImage::from_pixel(FRAME.0 as u32, FRAME.1 as u32, image::Rgb([128; 3]));
    let left = (i64::from(canvas.width()) - i64::from(upright.width())) / 2;
    image::imageops::overlay(&mut canvas, &upright, left, 0);
    // BT.601, limited range.
    let yuv = |p: &[u8]| {
        let [r, g, b] = [p[0], p[1], p[2]].map(f32::from);
        let (y, u, v) = (
            16.0 + 0.2568 * r + 0.5041 * g + 0.0979 * b,
            128.0 - 0.1482 * r - 0.2910 * g + 0.4392 * b,
            128.0 + 0.4392 * r - 0.3678 * g - 0.0714 * b,
        );
        [y as u8, u as u8, v as u8]
    };
    Ok(canvas
        .as_raw()
        .chunks_exact(6)
        .flat_map(|two| {
            let (a, b) = (yuv(&two[..3]), yuv(&two[3..]));
            [a[0], a[1], b[0], a[2]]
        })
        .collect())
}

fn first_face(pipeline: &mut Pipeline, frame: &Frame<'_>) -> Result<Detection, Failure> {
    let found = pipeline.detect(frame).map_err(|e| Failure::sdk("frame", e))?;
    found
        .first()
        .copied()
        .ok_or_else(|| Failure::new(Exit::Pack, "the pack finds no face in the built-in picture"))
}

fn in_words(line: &Line) -> String {
    format!(
        "CPU level {}, {} thread(s), one {}x{} YUYV frame, median of {}\n\
         load   {:9.2} ms\n\
         detect {:9.2} ms {:8.1} MMAC\n\
         align  {:9.2} ms\n\
         embed  {:9.2} ms {:8.1} MMAC\n\
         frame  {:9.2} ms   detect, align, quality, embed",
        line.cpu,
        line.threads,
        line.frame[0],
        line.frame[1],
        line.repeat,
        line.load_ms,
        line.detect_ms,
        line.detect_mmac,
        line.align_ms,
        line.embed_ms,
        line.embed_mmac,
        line.frame_ms,
    )
}
