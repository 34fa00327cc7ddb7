//! `keyface detect`: boxes, points and scores of all faces in pictures.

use crate::args::DetectArgs;
use crate::draw::{Canvas, GREEN};
use crate::model;
use crate::report::{Exit, Failure, Outcome, Output};
use keyface::detect::Detection;
use keyface_boards::picture::Picture;
use serde::Serialize;
use std::path::Path;

/// One picture's line; coordinates are pixels of the upright picture.
#[derive(Serialize)]
struct Line<'a> {
    file: String,
    faces: Vec<FaceJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// One face.
#[derive(Serialize)]
pub struct FaceJson {
    #[serde(rename = "box")]
    rect: [f32; 4],
    points: [[f32; 2]; 5],
    score: f32,
}

impl From<&Detection> for FaceJson {
    fn from(d: &Detection) -> FaceJson {
        let r = &d.rect;
        FaceJson {
            rect: [r.x, r.y, r.w, r.h],
            points: d.points.map(|p| [p.x, p.y]),
            score: d.score,
        }
    }
}

/// Runs the command.
pub fn run(args: &DetectArgs, out: Output) -> Outcome {
    if args.draw.is_some() && args.pictures.len() != 1 {
        return Err(Failure::new(Exit::Usage, "--draw takes exactly one picture"));
    }
    let mut pipeline = model::load(&args.model)?.pipeline()?;
    let (mut any, mut failed) = (false, None);
    for path in &args.pictures {
        let file = path.display().to_string();
        let picture = match Picture::open(path).map_err(Failure::from) {
            Ok(picture) => picture,
            Err(failure) => {
                out.object(&Line { file, faces: Vec::new(), error: Some(&failure.message) })?;
                // The last failure ends the command; earlier ones are told as they come.
                if let Some(earlier) = failed.replace(failure) {
                    eprintln!("keyface: {}", earlier.message);
                }
                continue;
            }
        };
        let found = pipeline.detect(&picture.frame()).map_err(|e| Failure::sdk(&file, e))?;
        any |= !found.is_empty();
        out.object(&Line {
            file: file.clone(),
            faces: found.iter().map(FaceJson::from).collect(),
            error: None,
        })?;
        out.text(format_args!("{file}: {}", faces_in_words(found)))?;
        if let Some(path) = &args.draw {
            draw(&picture, found, path)?;
            out.text(format_args!("drawn into {}", path.display()))?;
        }
    }
    match failed {
        Some(failure) => Err(failure),
        None if any => Ok(Exit::Done),
        None => Ok(Exit::NoMatch),
    }
}

fn faces_in_words(found: &[Detection]) -> String {
    let mut text = match found.len() {
        0 => "no face".to_owned(),
        1 => "1 face".to_owned(),
        n => format!("{n} faces"),
    };
    for d in found {
        let r = &d.rect;
        text += &format!(
            "\n  {:.0}x{:.0} pixels at ({:.0}, {:.0}), score {:.3}; points",
            r.w, r.h, r.x, r.y, d.score
        );
        for p in &d.points {
            text += &format!(" ({:.1}, {:.1})", p.x, p.y);
        }
    }
    text
}

/// Writes the picture with every face's box, points and score.
pub fn draw(picture: &Picture, found: &[Detection], path: &Path) -> Result<(), Failure> {
    let mut canvas = Canvas::new(picture.upright());
    for d in found {
        canvas.rect(&d.rect, GREEN);
        canvas.points(&d.points);
        canvas.label(d.rect.x, d.rect.y - canvas.label_height(), &format!("{:.2}", d.score), GREEN);
    }
    canvas.save(path)
}
