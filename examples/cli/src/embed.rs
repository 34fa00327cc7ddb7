//! `keyface embed`: the embedding of one face.

use crate::args::EmbedArgs;
use crate::faces::{self, Choice};
use crate::model;
use crate::report::{write_file, Exit, Failure, Outcome, Output};
use keyface::detect::Detection;
use keyface::geometry::{Points5, Rect};
use keyface::pipeline::Pipeline;
use keyface::sample::CROP_SIDE;
use keyface::template::Template;
use keyface_boards::picture::Picture;
use serde::Serialize;

/// The result.
#[derive(Serialize)]
struct Line<'a> {
    file: String,
    embedding: &'a [f32],
    model: String,
}

/// Runs the command.
pub fn run(args: &EmbedArgs, out: Output) -> Outcome {
    let mut pipeline = model::load(&args.model)?.pipeline()?;
    let picture = Picture::open(&args.picture)?;
    let file = args.picture.display().to_string();
    let failed = |cause: String| Failure::new(Exit::Input, format!("{file}: {cause}"));
    let template = if args.aligned {
        aligned(&mut pipeline, &picture, args.keypoints.as_ref()).map_err(failed)?
    } else if let Some(points) = &args.keypoints {
        at_points(&mut pipeline, &picture, points).map_err(failed)?
    } else {
        let choice = Choice::largest_if(args.one.largest);
        faces::describe(&mut pipeline, &picture, choice).map_err(failed)?.template
    };
    let embedding = template.as_slice();
    if let Some(path) = &args.out {
        write_file(path, &npy(embedding))?;
        out.text(format_args!(
            "{file}: {} numbers written to {}",
            embedding.len(),
            path.display()
        ))?;
    } else {
        let numbers: Vec<String> = embedding.iter().map(f32::to_string).collect();
        out.text(numbers.join(" "))?;
    }
    out.object(&Line { file: file.clone(), embedding, model: template.model().to_string() })?;
    Ok(Exit::Done)
}

/// Embeds a picture that is a 112x112 crop; the error is the cause in words.
pub fn aligned(
    pipeline: &mut Pipeline,
    picture: &Picture,
    points: Option<&Points5>,
) -> Result<Template, String> {
    let (w, h) = picture.size();
    if (w, h) != (CROP_SIDE, CROP_SIDE) {
        return Err(format!(
            "an aligned crop is {CROP_SIDE}x{CROP_SIDE} pixels, this picture is {w}x{h}"
        ));
    }
    pipeline.embed_aligned(&picture.frame(), points).map_err(|e| e.to_string())
}

/// Embeds the face that has these points in the picture.
fn at_points(
    pipeline: &mut Pipeline,
    picture: &Picture,
    points: &Points5,
) -> Result<Template, String> {
    let detection = Detection { rect: Rect::new(0.0, 0.0, 0.0, 0.0), points: *points, score: 1.0 };
    match pipeline.describe(&picture.frame(), &detection) {
        Ok(Some(face)) => Ok(face.template.clone()),
        Ok(None) => Err("the five points do not form a face".into()),
        Err(e) => Err(e.to_string()),
    }
}

/// A NumPy file, format 1.0, of one row of little-endian float32.
fn npy(values: &[f32]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", values.len());
    // Magic, version, length and header together fill a multiple of 64 bytes, the last of which is a line feed.
    let total = (10 + header.len() + 1).next_multiple_of(64);
    header.extend(std::iter::repeat_n(' ', total - 10 - header.len() - 1));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn npy_is_laid_out_as_numpy_does() {
        let bytes = super::npy(&[1.0, -2.5]);
        assert_eq!(bytes.len(), 128 + 8);
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert!(
            bytes[10..].starts_with(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }  ")
        );
        assert_eq!(bytes[127], b'\n');
        assert_eq!(bytes[128..], [0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]);
    }
}
