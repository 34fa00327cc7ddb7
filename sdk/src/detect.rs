//! Finding faces: one pass of the landmark network over the whole picture.

use crate::engine::OnnxModel;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::geometry::{Point, Points5, Rect};
use crate::pack::{LandmarkManifest, Pack, SectionKind};
use crate::sample::{downscale_into, Fit};

/// The most faces reported per picture; the best ones are kept.
pub const MAX_FACES: usize = 32;

/// The most cells above the threshold that enter non-maximum suppression.
const MAX_CANDIDATES: usize = 1024;

/// Cells whose box overlaps a face's best one by more than this share in its points.
const SAME_FACE_IOU: f32 = 0.7;

/// Numbers per cell of the network's output: score logit, centre offset, log size, five points.
const CHANNELS: usize = 15;

/// A face in the picture. Coordinates are pixels of the upright frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// The face's box; it may reach outside the picture.
    pub rect: Rect,
    /// Left eye, right eye, nose, left and right mouth corner, as seen in the picture.
    pub points: Points5,
    /// Confidence in 0..1.
    pub score: f32,
}

/// The faces of one picture, best first.
pub type Detections = heapless::Vec<Detection, MAX_FACES>;

/// The landmark network with its buffers. One thread at a time.
pub struct Detector {
    model: OnnxModel,
    manifest: LandmarkManifest,
    long_side: usize,
    threshold: f32,
    input: Vec<f32>,
    candidates: Vec<Detection>,
}

impl Detector {
    /// The detector of `pack`. Pictures are sampled down so that their long side is at most `long_side` pixels
    /// (64..=1920); faces must then be at least some 20 pixels wide. `threshold` overrides the pack's lowest score.
    ///
    /// # Errors
    /// `UnsupportedPack` without a landmark network, `InvalidArgument` for a value out of range.
    pub fn new(pack: &Pack, long_side: usize, threshold: Option<f32>) -> Result<Detector> {
        let Some(manifest) = pack.manifest().landmark.clone() else {
            return Err(Error::new(
                ErrorKind::UnsupportedPack,
                "the pack holds no landmark network",
            ));
        };
        let threshold = threshold.unwrap_or(manifest.score_threshold);
        if !(64..=1920).contains(&long_side) || !(0.0..=1.0).contains(&threshold) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "detector size or threshold is out of range",
            ));
        }
        let Some(section) = pack.section(&manifest.onnx).filter(|s| s.kind == SectionKind::Onnx)
        else {
            return Err(Error::new(ErrorKind::DamagedPack, "the landmark network is missing"));
        };
        let model = OnnxModel::new(pack.bytes(section))?;
        let candidates = Vec::with_capacity(MAX_CANDIDATES);
        Ok(Detector { model, manifest, long_side, threshold, input: Vec::new(), candidates })
    }

    /// How an upright picture of this size is laid into the network's input.
    fn fit(&self, picture: (usize, usize)) -> Result<Fit> {
        let stride = self.manifest.strides.iter().copied().max().unwrap_or(32);
        Fit::long_side(picture, self.long_side.min(picture.0.max(picture.1)), stride)
    }

    /// Multiply-adds of the network for an upright picture of this size. For reports: it analyses the graph anew.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    pub fn macs(&self, picture: (usize, usize)) -> Result<u64> {
        let (width, height) = self.fit(picture)?.network_size();
        self.model.macs(&[1, 3, height, width])
    }

    /// All faces of `frame`, best first. Allocates only when the frame's size changes (and inside tract).
    ///
    /// # Errors
    /// `Internal` if the engine fails or the network's output has an unexpected shape.
    pub fn detect(&mut self, frame: &Frame<'_>, found: &mut Detections) -> Result<()> {
        found.clear();
        let fit = self.fit(frame.upright_size())?;
        let (width, height) = fit.network_size();
        self.input.resize(3 * width * height, 0.0);
        downscale_into(frame, &fit, &mut self.input)?;
        let Detector { model, manifest, threshold, candidates, input, .. } = self;
        candidates.clear();
        let mut sound = false;
        model.run(&[1, 3, height, width], input, |i, _, values| {
            if i == 0 {
                sound = decode(manifest, (width, height), *threshold, values, candidates);
            }
        })?;
        if !sound {
            return Err(Error::new(
                ErrorKind::Internal,
                "the landmark network's output has an unexpected shape",
            ));
        }
        suppress(candidates, manifest.nms_iou, found);
        let to_frame = fit.to_picture();
        let scale = to_frame.scale() as f32;
        for face in found.iter_mut() {
            let corner = to_frame.apply(Point::new(face.rect.x, face.rect.y));
            face.rect = Rect::new(corner.x, corner.y, face.rect.w * scale, face.rect.h * scale);
            face.points = to_frame.apply5(&face.points);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").field("long_side", &self.long_side).finish_non_exhaustive()
    }
}

/// Reads all cells whose score reaches `threshold`; false if `values` does not have the shape that the strides imply.
fn decode(
    manifest: &LandmarkManifest,
    (width, height): (usize, usize),
    threshold: f32,
    values: &[f32],
    out: &mut Vec<Detection>,
) -> bool {
    let mut rest = values;
    for &stride in &manifest.strides {
        let (columns, rows) = (width / stride, height / stride);
        let Some((level, tail)) = rest.split_at_checked(columns * rows * CHANNELS) else {
            return false;
        };
        rest = tail;
        let size = stride as f32;
        for (i, cell) in level.chunks_exact(CHANNELS).enumerate() {
            let score = 1.0 / (1.0 + (-cell[0]).exp());
            if score < threshold
                || out.len() == MAX_CANDIDATES
                || cell.iter().any(|v| !v.is_finite())
            {
                continue;
            }
            let (x, y) = ((i % columns) as f32 + 0.5, (i / columns) as f32 + 0.5);
            // The network counts from the picture's edge, the SDK from the first pixel's centre.
            let pixel = |x: f32, y: f32| Point::new(x * size - 0.5, y * size - 0.5);
            let (w, h) = (cell[3].min(8.0).exp() * size, cell[4].min(8.0).exp() * size);
            let centre = pixel(x + cell[1], y + cell[2]);
            let points = std::array::from_fn(|p| {
                let (px, py) = (cell[5 + 2 * p], cell[6 + 2 * p]);
                pixel(x + px * manifest.point_scale, y + py * manifest.point_scale)
            });
            let rect = Rect::new(centre.x - w / 2.0, centre.y - h / 2.0, w, h);
            out.push(Detection { rect, points, score });
        }
    }
    rest.is_empty()
}

/// Greedy non-maximum suppression: keeps the best, drops what overlaps it by more than `iou`, and so on; then gives each
/// kept face the [`mean_points`] of all cells that see it.
fn suppress(candidates: &mut [Detection], iou: f32, found: &mut Detections) {
    candidates.sort_unstable_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then(a.rect.y.total_cmp(&b.rect.y))
            .then(a.rect.x.total_cmp(&b.rect.x))
    });
    for candidate in candidates.iter() {
        if found.iter().all(|kept| kept.rect.iou(&candidate.rect) <= iou)
            && found.push(*candidate).is_err()
        {
            break;
        }
    }
    for face in found.iter_mut() {
        face.points = mean_points(candidates, face);
    }
}

/// The points of all candidates whose box overlaps that of `face` by more than [`SAME_FACE_IOU`], averaged with the
/// squares of their scores as weights. `face` is one of the candidates, so the weights add up to more than 0 unless
/// its score is 0.
fn mean_points(candidates: &[Detection], face: &Detection) -> Points5 {
    let mut sum = [[0.0f32; 2]; 5];
    let mut total = 0.0;
    for other in candidates.iter().filter(|c| c.rect.iou(&face.rect) > SAME_FACE_IOU) {
        let weight = other.score * other.score;
        total += weight;
        for (sum, point) in sum.iter_mut().zip(&other.points) {
            sum[0] += weight * point.x;
            sum[1] += weight * point.y;
        }
    }
    if total > 0.0 {
        sum.map(|[x, y]| Point::new(x / total, y / total))
    } else {
        face.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::InputConvention;

    fn manifest() -> LandmarkManifest {
        LandmarkManifest {
            onnx: "x".into(),
            input: InputConvention::RgbHalf,
            strides: vec![8, 16],
            point_scale: 2.0,
            score_threshold: 0.5,
            nms_iou: 0.45,
        }
    }

    #[test]
    fn cells_become_boxes_and_points() {
        let mut values = vec![0.0; (8 * 4 + 4 * 2) * CHANNELS];
        values.chunks_exact_mut(CHANNELS).for_each(|c| c[0] = -20.0);
        let cell = &mut values[(32 + 4 + 1) * CHANNELS..][..CHANNELS]; // stride 16, row 1, column 1
        cell[0] = 20.0;
        cell[1] = 0.5;
        cell[3] = 2.0f32.ln();
        cell[5] = -0.25;
        let mut out = Vec::new();
        assert!(decode(&manifest(), (64, 32), 0.5, &values, &mut out));
        assert_eq!(out.len(), 1);
        let close = |a: f32, b: f32| (a - b).abs() < 1e-3;
        assert!(
            close(out[0].rect.x, 15.5) && close(out[0].rect.w, 32.0) && close(out[0].rect.h, 16.0)
        );
        assert!(close(out[0].points[0].x, 15.5) && close(out[0].points[0].y, 23.5));
        assert!(!decode(&manifest(), (64, 32), 0.5, &values[1..], &mut out), "one number short");
        assert!(!decode(&manifest(), (64, 64), 0.5, &values, &mut out), "another picture size");
    }

    #[test]
    fn not_a_number_is_no_face() {
        let values = vec![f32::NAN; (8 * 4 + 4 * 2) * CHANNELS];
        let mut out = Vec::new();
        assert!(decode(&manifest(), (64, 32), 0.5, &values, &mut out));
        assert!(out.is_empty());
    }

    fn face(x: f32, score: f32) -> Detection {
        Detection { rect: Rect::new(x, 0.0, 10.0, 10.0), points: [Point::new(x, 1.0); 5], score }
    }

    #[test]
    fn the_best_of_overlapping_boxes_is_kept() {
        let mut found = Detections::new();
        suppress(&mut [face(3.0, 0.6), face(0.0, 0.9), face(30.0, 0.7)], 0.45, &mut found);
        assert_eq!(found.iter().map(|f| f.score).collect::<Vec<_>>(), [0.9, 0.7]);
        assert_eq!((found[0].points[0].x, found[1].points[4].x), (0.0, 30.0), "nobody else's");
    }

    #[test]
    fn points_are_averaged_over_the_cells_of_one_face() {
        // Boxes 10 wide: 1 aside overlaps by 9/11, 2 aside by 8/12, which is another opinion of the face but not its average's.
        let mut found = Detections::new();
        let mut cells = [face(1.0, 0.4), face(-2.0, 0.7), face(0.0, 0.8), face(40.0, 0.0)];
        suppress(&mut cells, 0.45, &mut found);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].rect, Rect::new(0.0, 0.0, 10.0, 10.0), "the best cell's box");
        assert!((found[0].points[2].x - 0.16 / 0.8).abs() < 1e-6, "{:?}", found[0].points);
        assert_eq!(found[0].points[2].y, 1.0);
        assert_eq!(found[1].points[0].x, 40.0, "a score of 0 divides nothing");
    }
}
