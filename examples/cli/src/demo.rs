//! `keyface demo`: the whole job on photographs that ship with the tool, every step with its figures.

use crate::args::{DemoArgs, ThresholdArgs};
use crate::draw::{Canvas, GREEN, RED};
use crate::model;
use crate::report::{Exit, Failure, Outcome, Output};
use keyface::gallery::{Gallery, PersonName};
use keyface::pipeline::{Face, Pipeline};
use keyface_boards::picture::Picture;
use serde::Serialize;
use std::time::Instant;

/// A portrait that is also the picture of `keyface bench`. Sources: pictures/SOURCES.md.
pub static ASTRONAUT: &[u8] = include_bytes!("../pictures/astronaut.jpg");
static PORTRAIT: &[u8] = include_bytes!("../pictures/portrait-2012.jpg");
static ADDRESS: &[u8] = include_bytes!("../pictures/address-2009.jpg");
static ADMIRAL: &[u8] = include_bytes!("../pictures/admiral.jpg");

/// Who is enrolled.
const NAME: &str = "President, portrait of 2012";

/// The people who come to the door: title, picture, whether it is the enrolled person.
const VISITORS: [(&str, &[u8], bool); 3] = [
    ("the same man three years earlier", ADDRESS, true),
    ("an astronaut", ASTRONAUT, false),
    ("an admiral", ADMIRAL, false),
];

/// The result.
#[derive(Serialize)]
struct Line<'a> {
    threshold: f32,
    visitors: Vec<VisitorJson<'a>>,
    ok: bool,
}

#[derive(Serialize)]
struct VisitorJson<'a> {
    visitor: &'a str,
    expected: bool,
    #[serde(rename = "match")]
    is_match: bool,
    score: f32,
}

/// A face found in a picture of the demo, and how long it took.
struct Seen {
    picture: Picture,
    face: Face,
    detect_ms: f64,
    describe_ms: f64,
}

/// Runs the command.
pub fn run(args: &DemoArgs, out: Output) -> Outcome {
    let start = Instant::now();
    let loaded = model::load(&args.model)?;
    let mut pipeline = loaded.pipeline()?;
    let recogniser = loaded.model.recogniser();
    out.text(format_args!(
        "1. load      {}: {:?} KP-RPE recogniser, {:.1} MB; CPU level {}, {} thread(s); {:.0} ms",
        loaded.name,
        recogniser.manifest().precision,
        loaded.model.pack().len() as f64 / 1e6,
        recogniser.cpu_level(),
        loaded.options.threads,
        start.elapsed().as_secs_f64() * 1e3,
    ))?;

    let enrolled = see(&mut pipeline, "portrait-2012.jpg", PORTRAIT)?;
    tell(out, &enrolled, "portrait-2012.jpg")?;
    let template = &enrolled.face.template;
    let sdk = |e| Failure::sdk("demo", e);
    let mut gallery = Gallery::new(template.model(), template.dim(), 16).map_err(sdk)?;
    gallery.add(&PersonName::new(NAME).map_err(sdk)?, template).map_err(sdk)?;
    out.text(format_args!(
        "6. enrol     1 person, 1 template of {} numbers in the gallery",
        template.dim()
    ))?;

    let threshold = loaded.threshold(&ThresholdArgs::default(), gallery.len())?;
    let mut visitors = Vec::new();
    let mut pictures = vec![(enrolled, None)];
    for (title, bytes, expected) in VISITORS {
        let seen = see(&mut pipeline, title, bytes)?;
        let start = Instant::now();
        let hits = gallery.search::<1>(&seen.face.template).map_err(sdk)?;
        let search_us = start.elapsed().as_secs_f64() * 1e6;
        let score = hits.first().map_or(-1.0, |hit| hit.score);
        let is_match = score >= threshold;
        out.text(format_args!(
            "7. visitor   {title}: score {score:.3}, match from {threshold:.2}: {} (search {search_us:.0} us, quality {})",
            if is_match { "ALLOW" } else { "refused" },
            seen.face.quality.reasons,
        ))?;
        pictures.push((seen, Some((score, is_match))));
        visitors.push(VisitorJson { visitor: title, expected, is_match, score });
    }
    draw(&pictures, &args.draw)?;
    out.text(format_args!("8. drawn     {}", args.draw.display()))?;
    let ok = visitors.iter().all(|v| v.is_match == v.expected);
    out.object(&Line { threshold, visitors, ok })?;
    if !ok {
        return Err(Failure::new(Exit::NoMatch, "this pack does not tell the demo's people apart"));
    }
    out.text(
        "The enrolled person was recognised in another photograph, the strangers were refused.",
    )?;
    Ok(Exit::Done)
}

fn see(pipeline: &mut Pipeline, title: &str, bytes: &[u8]) -> Result<Seen, Failure> {
    let failed = |cause: String| Failure::new(Exit::Input, format!("{title}: {cause}"));
    let picture = Picture::decode(bytes).map_err(failed)?;
    let start = Instant::now();
    let found = pipeline.detect(&picture.frame()).map_err(|e| Failure::sdk(title, e))?;
    let best = found.first().copied().ok_or_else(|| failed("no face found".into()))?;
    let detect_ms = start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let face = match pipeline.describe(&picture.frame(), &best) {
        Ok(Some(face)) => face.clone(),
        Ok(None) => return Err(failed("the five points do not form a face".into())),
        Err(e) => return Err(Failure::sdk(title, e)),
    };
    Ok(Seen { picture, face, detect_ms, describe_ms: start.elapsed().as_secs_f64() * 1e3 })
}

/// Steps 2 to 5 in figures.
fn tell(out: Output, seen: &Seen, file: &str) -> Result<(), Failure> {
    let (w, h) = seen.picture.size();
    let (d, q) = (&seen.face.detection, &seen.face.quality);
    out.text(format_args!(
        "2. detect    {file}, {w}x{h}: a face of {:.0}x{:.0} pixels at ({:.0}, {:.0}), score {:.3}; {:.1} ms",
        d.rect.w, d.rect.h, d.rect.x, d.rect.y, d.score, seen.detect_ms
    ))?;
    let names = ["left eye", "right eye", "nose", "left mouth", "right mouth"];
    let points: Vec<String> =
        names.iter().zip(&d.points).map(|(n, p)| format!("{n} ({:.1}, {:.1})", p.x, p.y)).collect();
    out.text(format_args!("3. points    {}", points.join(", ")))?;
    out.text(format_args!(
        "4. quality   {}: eyes {:.0} px apart, brightness {:.0}, sharpness {:.2}, yaw {:.0}, pitch {:.0}, roll {:.0} degrees, landmark score {:.2}",
        q.reasons, q.eye_distance, q.luma.mean, q.sharpness, q.pose.yaw, q.pose.pitch, q.pose.roll, q.landmark_score
    ))?;
    out.text(format_args!(
        "5. embed     aligned to 112x112, {} numbers of unit length, model {}; {:.1} ms",
        seen.face.template.dim(),
        seen.face.template.model(),
        seen.describe_ms
    ))
}

/// All pictures of the demo side by side: the enrolled one, then the visitors with their scores.
fn draw(pictures: &[(Seen, Option<(f32, bool)>)], path: &std::path::Path) -> Result<(), Failure> {
    let sizes = || pictures.iter().map(|(seen, _)| seen.picture.size());
    let (width, height) =
        (sizes().map(|s| s.0).sum::<usize>(), sizes().map(|s| s.1).max().unwrap_or(1));
    let mut sheet = image::RgbImage::new(width as u32, height as u32);
    let mut left = 0i64;
    for (seen, result) in pictures {
        let mut canvas = Canvas::new(seen.picture.upright());
        let d = &seen.face.detection;
        let (text, colour) = match result {
            None => ("enrolled".to_owned(), GREEN),
            Some((score, true)) => (format!("ALLOW {score:.2}"), GREEN),
            Some((score, false)) => (format!("refused {score:.2}"), RED),
        };
        canvas.rect(&d.rect, colour);
        canvas.points(&d.points);
        canvas.label(d.rect.x, d.rect.y - canvas.label_height(), &text, colour);
        let image = canvas.into_image();
        image::imageops::overlay(&mut sheet, &image, left, 0);
        left += i64::from(image.width());
    }
    Canvas::new(sheet).save(path)
}
