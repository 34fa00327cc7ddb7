//! From a picture file to the one face that a command needs.

use crate::report::{Exit, Failure};
use keyface::detect::Detection;
use keyface::pipeline::{Face, Pipeline};
use keyface_boards::picture::Picture;
use std::path::Path;

/// Which face to take where there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// None: the picture is refused.
    Only,
    /// The largest.
    Largest,
    /// The one that is large and near the middle.
    Central,
}

impl Choice {
    /// For the `--largest` flag.
    pub fn largest_if(flag: bool) -> Choice {
        if flag {
            Choice::Largest
        } else {
            Choice::Only
        }
    }

    /// The chosen face among `found` in a picture of this size; the error says why there is none.
    pub fn pick(self, found: &[Detection], size: (usize, usize)) -> Result<Detection, String> {
        let side = |d: &Detection| d.rect.area().sqrt();
        let centre = keyface::geometry::Point::new(size.0 as f32 / 2.0, size.1 as f32 / 2.0);
        let best = match self {
            _ if found.is_empty() => return Err("no face found".into()),
            Choice::Only if found.len() > 1 => {
                return Err(format!(
                    "{} faces where one is expected (--largest takes the largest)",
                    found.len()
                ))
            }
            Choice::Only => found.first(),
            Choice::Largest => found.iter().max_by(|a, b| side(a).total_cmp(&side(b))),
            Choice::Central => {
                let rank = |d: &Detection| side(d) - d.rect.centre().distance(centre);
                found.iter().max_by(|a, b| rank(a).total_cmp(&rank(b)))
            }
        };
        best.copied().ok_or_else(|| "no face found".into())
    }
}

/// The chosen face of a decoded picture; the error is the cause in words.
pub fn find(
    pipeline: &mut Pipeline,
    picture: &Picture,
    choice: Choice,
) -> Result<Detection, String> {
    let found = pipeline.detect(&picture.frame()).map_err(|e| e.to_string())?;
    choice.pick(found, picture.size())
}

/// The chosen face of a decoded picture, aligned, judged and embedded; the error is the cause in words.
pub fn describe(
    pipeline: &mut Pipeline,
    picture: &Picture,
    choice: Choice,
) -> Result<Face, String> {
    let detection = find(pipeline, picture, choice)?;
    match pipeline.describe(&picture.frame(), &detection) {
        Ok(Some(face)) => Ok(face.clone()),
        Ok(None) => Err("the five points do not form a face".into()),
        Err(e) => Err(e.to_string()),
    }
}

/// Reads a picture file and describes its face; fails with the file's name and the cause.
pub fn from_file(pipeline: &mut Pipeline, path: &Path, choice: Choice) -> Result<Face, Failure> {
    let picture = Picture::open(path)?;
    describe(pipeline, &picture, choice)
        .map_err(|cause| Failure::new(Exit::Input, format!("{}: {cause}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyface::geometry::{Point, Rect};

    fn face(x: f32, side: f32) -> Detection {
        Detection { rect: Rect::new(x, 0.0, side, side), points: [Point::default(); 5], score: 0.9 }
    }

    #[test]
    fn the_choice_is_what_its_name_says() {
        let found = [face(40.0, 20.0), face(80.0, 24.0), face(0.0, 10.0)];
        let size = (100, 20);
        assert!(Choice::Only.pick(&found, size).unwrap_err().contains("3 faces"));
        assert_eq!(Choice::Only.pick(&found[..1], size).unwrap(), found[0]);
        assert_eq!(Choice::Largest.pick(&found, size).unwrap(), found[1]);
        assert_eq!(Choice::Central.pick(&found, size).unwrap(), found[0]);
        for choice in [Choice::Only, Choice::Largest, Choice::Central] {
            assert_eq!(choice.pick(&[], size).unwrap_err(), "no face found");
        }
    }
}
