//! `keyface affine`: accuracy on crops that are turned, scaled and shifted, the changes that KP-RPE is made for.

use crate::args::AffineArgs;
use crate::draw::Canvas;
use crate::embed;
use crate::faces::{self, Choice};
use crate::model::{self, Loaded};
use crate::report::{Exit, Failure, Outcome, Output};
use crate::source::Source;
use crate::verification::{embed_all, percent, read_pairs, score, tell_failures, Embedded};
use image::{Rgb, RgbImage};
use keyface::geometry::{Similarity, TEMPLATE_112};
use keyface::pipeline::Pipeline;
use keyface::sample::{Crop, CROP_SIDE};
use keyface_boards::picture::Picture;
use keyface_cli::pairs::PairList;
use keyface_cli::stats::{cross_validated, tar_at_far};
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How far a crop is moved: uniform within plus and minus these.
struct Level {
    name: &'static str,
    /// Degrees.
    rotation: f64,
    /// Share of the size.
    scale: f64,
    /// Share of the side, in x and in y.
    shift: f64,
}

const LEVELS: [Level; 4] = [
    Level { name: "aligned", rotation: 0.0, scale: 0.0, shift: 0.0 },
    Level { name: "light", rotation: 10.0, scale: 0.10, shift: 0.05 },
    Level { name: "medium", rotation: 20.0, scale: 0.20, shift: 0.10 },
    Level { name: "heavy", rotation: 30.0, scale: 0.25, shift: 0.12 },
];

/// Whose key points the recogniser gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Points {
    Found,
    Carried,
}

const WAYS: [(Points, &str, Rgb<u8>); 2] = [
    (Points::Found, "found", Rgb([200, 60, 40])),
    (Points::Carried, "carried", Rgb([40, 90, 200])),
];

/// One level with one kind of points.
#[derive(Serialize)]
struct Line {
    level: &'static str,
    points: &'static str,
    rotation_degrees: f64,
    scale: f64,
    shift: f64,
    pairs: usize,
    failed: usize,
    /// Crops in which the landmark network found a face; null for carried points.
    faces_found: Option<usize>,
    crops: usize,
    accuracy: f64,
    accuracy_interval: (f64, f64),
    tar_at_1e2: Option<f64>,
    tar_interval: Option<(f64, f64)>,
}

/// Runs the command.
pub fn run(args: &AffineArgs, out: Output) -> Outcome {
    let list = read_pairs(&args.pairs)?;
    let source = Source::open(&args.root)?;
    let loaded = model::load(&args.model)?;
    out.text(
        "level    points   accuracy (95 %)            accepted genuine at FAR 1e-2    faces found",
    )?;
    let mut lines = Vec::new();
    for (l, level) in LEVELS.iter().enumerate() {
        for (points, name, _) in WAYS {
            let run = Run {
                args,
                list: &list,
                source: &source,
                loaded: &loaded,
                level,
                salt: l as u64,
                points,
                name,
            };
            let line = run.measure()?;
            out.text(in_words(&line))?;
            out.object(&line)?;
            lines.push(line);
        }
    }
    if let Some(path) = &args.plot {
        plot(&lines, path)?;
        out.text(format_args!("plotted into {}", path.display()))?;
    }
    Ok(Exit::Done)
}

/// Everything that one line of the table depends on.
struct Run<'a> {
    args: &'a AffineArgs,
    list: &'a PairList,
    source: &'a Source,
    loaded: &'a Loaded,
    level: &'a Level,
    salt: u64,
    points: Points,
    name: &'static str,
}

impl Run<'_> {
    fn measure(&self) -> Result<Line, Failure> {
        let found = AtomicUsize::new(0);
        let crops = self.list.pictures.len();
        let templates =
            embed_all(crops, usize::from(self.args.jobs), self.loaded, |pipeline, i| {
                let name = &self.list.pictures[i];
                let bytes = self.source.read(name)?;
                let picture =
                    Picture::decode(&bytes).map_err(|cause| format!("{name}: {cause}"))?;
                let warp = self.level.draw(self.args.seed, self.salt, i as u64);
                self.embed(pipeline, &picture, &warp, &found)
                    .map_err(|cause| format!("{name}: {cause}"))
            })?;
        if tell_failures(&templates) == crops {
            return Err(Failure::new(
                Exit::Input,
                format!("{}: no picture could be used", self.args.root.display()),
            ));
        }
        let (scores, failed) = score(self.list, &templates)?;
        let Some(accuracy) = cross_validated(&scores, usize::from(self.args.folds)) else {
            let file = self.args.pairs.display();
            return Err(Failure::new(
                Exit::Input,
                format!("{file}: too few pairs of either kind for {} folds", self.args.folds),
            ));
        };
        let tar = tar_at_far(&scores, 1e-2).map(|p| p.tar);
        Ok(Line {
            level: self.level.name,
            points: self.name,
            rotation_degrees: self.level.rotation,
            scale: self.level.scale,
            shift: self.level.shift,
            pairs: scores.len(),
            failed,
            faces_found: (self.points == Points::Found).then(|| found.into_inner()),
            crops,
            accuracy: accuracy.correct.rate(),
            accuracy_interval: accuracy.correct.wilson(),
            tar_at_1e2: tar.map(|p| p.rate()),
            tar_interval: tar.map(|p| p.wilson()),
        })
    }

    /// Warps a crop and embeds it with the key points that this run asks for.
    fn embed(
        &self,
        pipeline: &mut Pipeline,
        picture: &Picture,
        warp: &Similarity,
        found: &AtomicUsize,
    ) -> Embedded {
        let side = CROP_SIDE;
        if picture.size() != (side, side) {
            return embed::aligned(pipeline, picture, None); // which says what is wrong with it
        }
        let mut crop = Crop::new();
        crop.warp(&picture.frame(), &warp.inverse()).map_err(|e| e.to_string())?;
        let planes = crop.pixels();
        let rgb = (0..side * side)
            .flat_map(|i| [planes[i], planes[side * side + i], planes[2 * side * side + i]]);
        let warped = Picture::from_rgb(rgb.collect(), side, side);
        let points = match self.points {
            Points::Carried => warp.apply5(&TEMPLATE_112),
            Points::Found => match faces::find(pipeline, &warped, Choice::Central) {
                Ok(detection) => {
                    found.fetch_add(1, Ordering::Relaxed);
                    detection.points
                }
                Err(_) => TEMPLATE_112,
            },
        };
        embed::aligned(pipeline, &warped, Some(&points))
    }
}

impl Level {
    /// The warp of crop number `index`, from crop pixels to warped pixels: turned and scaled about the middle, then shifted.
    fn draw(&self, seed: u64, salt: u64, index: u64) -> Similarity {
        // SplitMix64 (Steele, Lea, Flood 2014): every crop has a stream of its own.
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (salt << 56)
            ^ index.wrapping_mul(0xD134_2543_DE82_EF95);
        let mut uniform = |half_width: f64| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            half_width * ((z >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
        };
        let angle = uniform(self.rotation).to_radians();
        let scale = 1.0 + uniform(self.scale);
        let shift =
            (uniform(self.shift) * CROP_SIDE as f64, uniform(self.shift) * CROP_SIDE as f64);
        let (a, b) = (scale * angle.cos(), scale * angle.sin());
        let middle = (CROP_SIDE as f64 - 1.0) / 2.0;
        let tx = middle - (a * middle - b * middle) + shift.0;
        let ty = middle - (b * middle + a * middle) + shift.1;
        Similarity::new(a, b, tx, ty).unwrap_or(Similarity::IDENTITY)
    }
}

fn in_words(line: &Line) -> String {
    let tar = match (line.tar_at_1e2, line.tar_interval) {
        (Some(tar), Some(interval)) => format!("{:6.2} % ({})", 100.0 * tar, percent(interval)),
        _ => "too few impostors".to_owned(),
    };
    let found = line.faces_found.map_or("-".to_owned(), |n| format!("{n} of {}", line.crops));
    format!(
        "{:8} {:8} {:6.2} % ({:14})  {tar:27} {found}",
        line.level,
        line.points,
        100.0 * line.accuracy,
        percent(line.accuracy_interval),
    )
}

/// Accuracy by level, a colour per kind of points, with intervals as bars.
fn plot(lines: &[Line], path: &Path) -> Result<(), Failure> {
    const SIZE: (i32, i32) = (720, 460);
    const AREA: (i32, i32, i32, i32) = (80, 50, 690, 400); // left, top, right, bottom
    let (black, grey) = (Rgb([0, 0, 0]), Rgb([215, 215, 215]));
    let white = Rgb([255, 255, 255]);
    let lowest = lines.iter().map(|l| l.accuracy_interval.0).fold(1.0, f64::min);
    let floor = ((lowest * 20.0).floor() / 20.0).clamp(0.0, 0.95);
    let y =
        |v: f64| AREA.3 - ((v - floor) / (1.0 - floor) * f64::from(AREA.3 - AREA.1)).round() as i32;
    let x = |level: usize| {
        AREA.0 + (AREA.2 - AREA.0) * (2 * level as i32 + 1) / (2 * LEVELS.len() as i32)
    };
    let mut canvas = Canvas::new(RgbImage::from_pixel(SIZE.0 as u32, SIZE.1 as u32, white));
    let steps = if 1.0 - floor > 0.25 { 10 } else { 20 };
    for tick in (0..=steps).map(|i| f64::from(i) / f64::from(steps)).filter(|t| *t >= floor - 1e-9)
    {
        canvas.fill(AREA.0, y(tick), AREA.2 - AREA.0, 1, grey);
        canvas.small(4, y(tick) - 8, &format!("{:3.0} %", 100.0 * tick), black);
    }
    canvas.fill(AREA.0, AREA.1, 2, AREA.3 - AREA.1, black);
    canvas.fill(AREA.0, AREA.3, AREA.2 - AREA.0, 2, black);
    for (i, level) in LEVELS.iter().enumerate() {
        canvas.small(x(i) - level.name.len() as i32 * 8, AREA.3 + 12, level.name, black);
    }
    canvas.small(AREA.0, 8, "accuracy, 95 % intervals:", black);
    for (w, (_, name, colour)) in WAYS.iter().enumerate() {
        canvas.small(AREA.0 + 416 + w as i32 * 96, 8, name, *colour);
        for line in lines.iter().filter(|l| l.points == *name) {
            let Some(level) = LEVELS.iter().position(|l| l.name == line.level) else { continue };
            let centre = x(level) - 14 + 28 * w as i32;
            let (low, high) = line.accuracy_interval;
            canvas.fill(centre - 1, y(high), 3, y(low) - y(high), *colour);
            canvas.fill(centre - 6, y(high), 13, 2, *colour);
            canvas.fill(centre - 6, y(low), 13, 2, *colour);
            canvas.fill(centre - 5, y(line.accuracy) - 5, 11, 11, *colour);
        }
    }
    canvas.save(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyface::geometry::Point;

    #[test]
    fn warps_stay_within_their_level_and_fill_it() {
        let middle = Point::new(55.5, 55.5);
        for level in &LEVELS {
            let (mut most_turned, mut most_moved) = (0.0f64, 0.0f32);
            for i in 0..2000 {
                let warp = level.draw(1, 0, i);
                let moved = warp.apply(middle);
                most_turned = most_turned.max(warp.rotation().to_degrees().abs());
                most_moved = most_moved.max((moved.x - 55.5).abs()).max((moved.y - 55.5).abs());
                assert!((warp.scale() - 1.0).abs() <= level.scale + 1e-9);
            }
            let shift = level.shift as f32 * 112.0;
            assert!(most_turned <= level.rotation + 1e-6 && most_turned >= 0.98 * level.rotation);
            assert!(most_moved <= shift + 1e-3 && most_moved >= 0.98 * shift);
        }
    }

    #[test]
    fn warps_depend_on_seed_level_and_crop() {
        let level = &LEVELS[3];
        let base = level.draw(1, 3, 5);
        assert_eq!(base, level.draw(1, 3, 5));
        for other in [level.draw(2, 3, 5), level.draw(1, 2, 5), level.draw(1, 3, 6)] {
            assert_ne!(base, other);
        }
    }
}
