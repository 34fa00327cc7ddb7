//! Finding faces: one pass of the landmark network over the whole picture.

use crate::engine::{ConvNet, OnnxModel, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::geometry::{Point, Points5, Rect};
use crate::kernel::{exp, Pool};
use crate::pack::{LandmarkManifest, LandmarkNetwork, Pack, SectionKind, CELL_VALUES};
use crate::sample::{downscale_bytes_into, downscale_into, Fit};
use std::sync::Arc;

/// The most faces reported per picture; the best ones are kept.
pub const MAX_FACES: usize = 32;

/// The most cells above the threshold that enter non-maximum suppression.
const MAX_CANDIDATES: usize = 1024;

/// Cells whose box overlaps a face's best one by more than this share in its points.
const SAME_FACE_IOU: f32 = 0.7;

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
    network: Network,
    manifest: LandmarkManifest,
    long_side: usize,
    threshold: f32,
    picture: Vec<u8>,
    /// For an ONNX network only.
    input: Vec<f32>,
    candidates: Vec<Detection>,
}

enum Network {
    Convolutions(ConvNet),
    Onnx(OnnxModel),
}

impl Detector {
    /// The detector of `pack`, on `threads` threads of its own (1 = the calling thread alone). Pictures are sampled down
    /// so that their long side is at most `long_side` pixels (64..=1920); faces must then be at least some 20 pixels
    /// wide. `threshold` overrides the pack's lowest score.
    ///
    /// # Errors
    /// `UnsupportedPack` without a landmark network, or with one in ONNX when the SDK was built without the feature
    /// `onnx`; `DamagedPack` when a part of it is missing; `InvalidArgument` for a value out of range; otherwise as
    /// [`ConvNet::new`].
    pub fn new(
        pack: &Arc<Pack>,
        long_side: usize,
        threshold: Option<f32>,
        threads: usize,
    ) -> Result<Detector> {
        Self::on(pack, long_side, threshold, Arc::new(Pool::new(threads)?))
    }

    /// As [`Detector::new`], on threads that others may use too.
    ///
    /// # Errors
    /// As [`Detector::new`].
    pub fn on(
        pack: &Arc<Pack>,
        long_side: usize,
        threshold: Option<f32>,
        pool: Arc<Pool>,
    ) -> Result<Detector> {
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
        let network = match &manifest.network {
            LandmarkNetwork::Convolutions { .. } => Network::Convolutions(ConvNet::on(pack, pool)?),
            LandmarkNetwork::Onnx { onnx } => {
                let section = pack.section(onnx).filter(|s| s.kind == SectionKind::Onnx);
                let section = section
                    .ok_or(Error::new(ErrorKind::DamagedPack, "the landmark network is missing"))?;
                Network::Onnx(OnnxModel::new(pack.bytes(section))?)
            }
        };
        let candidates = Vec::with_capacity(MAX_CANDIDATES);
        let (picture, input) = (Vec::new(), Vec::new());
        Ok(Detector { network, manifest, long_side, threshold, picture, input, candidates })
    }

    /// How an upright picture of this size is laid into the network's input.
    fn fit(&self, picture: (usize, usize)) -> Result<Fit> {
        let stride = self.manifest.strides.iter().copied().max().unwrap_or(32);
        Fit::long_side(picture, self.long_side.min(picture.0.max(picture.1)), stride)
    }

    /// Multiply-adds of the network for an upright picture of this size. For reports: an ONNX graph is analysed anew.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    pub fn macs(&self, picture: (usize, usize)) -> Result<u64> {
        let (width, height) = self.fit(picture)?.network_size();
        match &self.network {
            Network::Convolutions(net) => Ok(net.macs((width, height))),
            Network::Onnx(model) => model.macs(&[1, 3, height, width]),
        }
    }

    /// Runs the network once on `frame` and says how long every layer took; empty for an ONNX network. Allocates.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    pub fn profile(&mut self, frame: &Frame<'_>) -> Result<Vec<Step>> {
        let fit = self.fit(frame.upright_size())?;
        self.sample(frame, &fit)?;
        match &mut self.network {
            Network::Convolutions(net) => net.profile(fit.network_size(), &self.picture),
            Network::Onnx(_) => Ok(Vec::new()),
        }
    }

    fn sample(&mut self, frame: &Frame<'_>, fit: &Fit) -> Result<()> {
        let (width, height) = fit.network_size();
        let len = 3 * width * height;
        match self.network {
            Network::Convolutions(_) => {
                self.picture.resize(len, 0);
                downscale_bytes_into(frame, fit, &mut self.picture)
            }
            Network::Onnx(_) => {
                self.input.resize(len, 0.0);
                downscale_into(frame, fit, &mut self.input)
            }
        }
    }

    /// All faces of `frame`, best first. Allocates only when the frame's size changes (and inside tract).
    ///
    /// The result is the same bytes on every CPU for a network of convolutions.
    ///
    /// # Errors
    /// `Internal` if the engine fails or the network's output has an unexpected shape.
    pub fn detect(&mut self, frame: &Frame<'_>, found: &mut Detections) -> Result<()> {
        found.clear();
        let fit = self.fit(frame.upright_size())?;
        self.sample(frame, &fit)?;
        let (width, height) = fit.network_size();
        let Detector { network, manifest, threshold, candidates, picture, input, .. } = self;
        candidates.clear();
        let mut cells = 0;
        let mut level = |stride: usize, values: &[f32]| {
            let width = width / stride;
            cells += values.len() / CELL_VALUES;
            decode(values, width, stride, manifest.point_scale, *threshold, candidates);
        };
        match network {
            Network::Convolutions(net) => net.run((width, height), picture, |i, values| {
                level(manifest.strides[i], values);
            })?,
            Network::Onnx(model) => model.run(&[1, 3, height, width], input, |i, _, values| {
                if i == 0 {
                    split_levels(&manifest.strides, (width, height), values, &mut level);
                }
            })?,
        }
        if cells != cell_count(&manifest.strides, (width, height)) {
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

fn cell_count(strides: &[usize], (width, height): (usize, usize)) -> usize {
    strides.iter().map(|s| (width / s) * (height / s)).sum()
}

/// Hands each level of an output that holds all of them to `level`; nothing if the length is not what the strides imply.
fn split_levels(
    strides: &[usize],
    (width, height): (usize, usize),
    values: &[f32],
    level: &mut impl FnMut(usize, &[f32]),
) {
    if values.len() != cell_count(strides, (width, height)) * CELL_VALUES {
        return;
    }
    let mut rest = values;
    for &stride in strides {
        let (own, tail) = rest.split_at((width / stride) * (height / stride) * CELL_VALUES);
        level(stride, own);
        rest = tail;
    }
}

/// Reads all cells of one level, `columns` to a row, whose score reaches `threshold`.
fn decode(
    cells: &[f32],
    columns: usize,
    stride: usize,
    point_scale: f32,
    threshold: f32,
    out: &mut Vec<Detection>,
) {
    let size = stride as f32;
    for (i, cell) in cells.chunks_exact(CELL_VALUES).enumerate() {
        let score = 1.0 / (1.0 + exp(-cell[0]));
        if score < threshold || out.len() == MAX_CANDIDATES || cell.iter().any(|v| !v.is_finite()) {
            continue;
        }
        let (x, y) = ((i % columns) as f32 + 0.5, (i / columns) as f32 + 0.5);
        // The network counts from the picture's edge, the SDK from the first pixel's centre.
        let pixel = |x: f32, y: f32| Point::new(x * size - 0.5, y * size - 0.5);
        let (w, h) = (exp(cell[3].min(8.0)) * size, exp(cell[4].min(8.0)) * size);
        let centre = pixel(x + cell[1], y + cell[2]);
        let points = std::array::from_fn(|p| {
            let (px, py) = (cell[5 + 2 * p], cell[6 + 2 * p]);
            pixel(x + px * point_scale, y + py * point_scale)
        });
        let rect = Rect::new(centre.x - w / 2.0, centre.y - h / 2.0, w, h);
        out.push(Detection { rect, points, score });
    }
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

    const STRIDES: [usize; 2] = [8, 16];

    /// Cells of a whole output for a picture of 64 x 32.
    fn read(values: &[f32], size: (usize, usize)) -> Vec<Detection> {
        let mut out = Vec::new();
        split_levels(&STRIDES, size, values, &mut |stride, cells: &[f32]| {
            decode(cells, size.0 / stride, stride, 2.0, 0.5, &mut out);
        });
        out
    }

    #[test]
    fn cells_become_boxes_and_points() {
        assert_eq!(cell_count(&STRIDES, (64, 32)), 8 * 4 + 4 * 2);
        let mut values = vec![0.0; (8 * 4 + 4 * 2) * CELL_VALUES];
        values.chunks_exact_mut(CELL_VALUES).for_each(|c| c[0] = -20.0);
        let cell = &mut values[(32 + 4 + 1) * CELL_VALUES..][..CELL_VALUES]; // stride 16, row 1, column 1
        cell[0] = 20.0;
        cell[1] = 0.5;
        cell[3] = 2.0f32.ln();
        cell[5] = -0.25;
        let out = read(&values, (64, 32));
        assert_eq!(out.len(), 1);
        let close = |a: f32, b: f32| (a - b).abs() < 1e-3;
        assert!(
            close(out[0].rect.x, 15.5) && close(out[0].rect.w, 32.0) && close(out[0].rect.h, 16.0)
        );
        assert!(close(out[0].points[0].x, 15.5) && close(out[0].points[0].y, 23.5));
        assert!(read(&values[1..], (64, 32)).is_empty(), "one number short");
        assert!(read(&values, (64, 64)).is_empty(), "another picture size");
    }

    #[test]
    fn not_a_number_is_no_face() {
        let values = vec![f32::NAN; (8 * 4 + 4 * 2) * CELL_VALUES];
        assert!(read(&values, (64, 32)).is_empty());
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
