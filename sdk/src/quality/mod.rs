//! Is this view of a face good enough, and if not, why not.
//!
//! [`assess`] measures size, sharpness, exposure, pose and how face-like the five points lie, and names what falls
//! outside [`QualityLimits`]. Poor quality is a value, not an error. Angles use the platform's arctangent, so their
//! last digits may differ between machines; all else is the same everywhere.

mod pose;
mod reasons;
mod sharpness;

#[cfg(test)]
mod tests;

pub use pose::{pose, Pose};
pub use reasons::Reasons;
pub use sharpness::sharpness;

use crate::frame::Frame;
use crate::geometry::{Point, Points5, Rect, Similarity, TEMPLATE_112};
use crate::sample::{luma_stats, Crop, LumaStats, CROP_SIDE};

/// What [`assess`] measured. No pixels, no embedding: it may be logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Distance between the eyes in frame pixels.
    pub eye_distance: f32,
    /// [`sharpness`] of the crop: about 0 where blurred, above 1 for noise.
    pub sharpness: f32,
    /// Brightness of the face, [`inner_face`], as the camera delivered it; all 0 where it lies outside the frame.
    pub luma: LumaStats,
    /// Direction of the head.
    pub pose: Pose,
    /// Mean distance of the aligned points from the template, over the crop's side: [`nme`].
    pub nme: f32,
    /// 0..=1, [`landmark_score`]: the weight of this view where several are fused.
    pub landmark_score: f32,
    /// Share of the face that lies outside the frame, 0..=1.
    pub outside: f32,
    /// What lies beyond the limits; empty where the view is good.
    pub reasons: Reasons,
}

/// Where a view stops being good. All limits are inclusive: a view at the limit is good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QualityLimits {
    /// Smallest distance between the eyes in frame pixels.
    pub min_eye_distance: f32,
    /// Darkest mean luma of the face, 0..=255.
    pub min_mean: f32,
    /// Brightest mean luma of the face, 0..=255.
    pub max_mean: f32,
    /// Largest share of the face clipped to black, 0..=1.
    pub max_dark: f32,
    /// Largest share of the face clipped to white, 0..=1.
    pub max_bright: f32,
    /// Smallest standard deviation of the face's luma.
    pub min_deviation: f32,
    /// Smallest [`sharpness`].
    pub min_sharpness: f32,
    /// Largest turn to either side in degrees.
    pub max_yaw: f32,
    /// Largest nod up or down in degrees.
    pub max_pitch: f32,
    /// Largest in-plane rotation to either side in degrees.
    pub max_roll: f32,
    /// Smallest [`landmark_score`].
    pub min_landmark_score: f32,
    /// Largest share of the face outside the frame, 0..=1.
    pub max_outside: f32,
}

impl QualityLimits {
    /// For recognition at a door: refuses what would only give a random score.
    pub const RECOGNITION: QualityLimits = QualityLimits {
        min_eye_distance: 18.0,
        min_mean: 30.0,
        max_mean: 225.0,
        max_dark: 0.5,
        max_bright: 0.3,
        min_deviation: 8.0,
        min_sharpness: 0.02,
        max_yaw: 50.0,
        max_pitch: 40.0,
        max_roll: 50.0,
        min_landmark_score: 0.3,
        max_outside: 0.15,
    };

    /// For enrolment, where a person can be asked for a better view.
    pub const ENROLMENT: QualityLimits = QualityLimits {
        min_eye_distance: 30.0,
        min_mean: 45.0,
        max_mean: 210.0,
        max_dark: 0.3,
        max_bright: 0.15,
        min_deviation: 12.0,
        min_sharpness: 0.04,
        max_yaw: 35.0,
        max_pitch: 30.0,
        max_roll: 30.0,
        min_landmark_score: 0.5,
        max_outside: 0.05,
    };
}

impl Default for QualityLimits {
    /// [`QualityLimits::RECOGNITION`].
    fn default() -> Self {
        QualityLimits::RECOGNITION
    }
}

/// Judges one view of a face: its five points and the detector's `score` (0..=1) in `frame`, its similarity
/// `to_crop`, and the `crop` that was cut with it.
///
/// A measurement that is not a number counts as beyond its limit. Pure; allocates nothing.
#[must_use]
pub fn assess(
    frame: &Frame<'_>,
    points: &Points5,
    score: f32,
    to_crop: &Similarity,
    crop: &Crop,
    limits: &QualityLimits,
) -> Quality {
    let nme = nme(&to_crop.apply5(points));
    let mut quality = Quality {
        eye_distance: points[0].distance(points[1]),
        sharpness: sharpness(crop, to_crop.scale()),
        luma: luma_stats(frame, &inner_face(points)).unwrap_or(LumaStats {
            mean: 0.0,
            deviation: 0.0,
            dark: 0.0,
            bright: 0.0,
        }),
        pose: pose(points),
        nme,
        landmark_score: landmark_score(nme, score),
        outside: outside(frame.upright_size(), to_crop),
        reasons: Reasons::NONE,
    };
    quality.reasons = quality.beyond(limits);
    quality
}

impl Quality {
    /// What of these measurements lies beyond `limits`.
    #[must_use]
    pub fn beyond(&self, limits: &QualityLimits) -> Reasons {
        // `least` and `most` are false for NaN.
        let least = |value: f32, limit: f32| value >= limit;
        let most = |value: f32, limit: f32| value <= limit;
        let (luma, pose) = (&self.luma, &self.pose);
        let good = [
            (Reasons::TOO_SMALL, least(self.eye_distance, limits.min_eye_distance)),
            (
                Reasons::TOO_DARK,
                least(luma.mean, limits.min_mean) && most(luma.dark, limits.max_dark),
            ),
            (
                Reasons::TOO_BRIGHT,
                most(luma.mean, limits.max_mean) && most(luma.bright, limits.max_bright),
            ),
            (Reasons::LOW_CONTRAST, least(luma.deviation, limits.min_deviation)),
            (Reasons::BLURRED, least(self.sharpness, limits.min_sharpness)),
            (
                Reasons::TURNED_AWAY,
                most(pose.yaw.abs(), limits.max_yaw) && most(pose.pitch.abs(), limits.max_pitch),
            ),
            (Reasons::TILTED, most(pose.roll.abs(), limits.max_roll)),
            (Reasons::LOW_LANDMARK_SCORE, least(self.landmark_score, limits.min_landmark_score)),
            (Reasons::PARTLY_OUTSIDE, most(self.outside, limits.max_outside)),
        ];
        good.iter().filter(|(_, good)| !good).fold(Reasons::NONE, |all, (reason, _)| all | *reason)
    }
}

/// Normalised mean error: the mean distance of five points in crop pixels from [`TEMPLATE_112`], over the crop's
/// side of 112 pixels, as the published KP-RPE pipeline normalises it. There the points are measured as they lie in
/// the picture; here after the best similarity fit, so a face may stand anywhere in the frame.
#[must_use]
pub fn nme(crop_points: &Points5) -> f32 {
    let sum: f32 = crop_points.iter().zip(&TEMPLATE_112).map(|(p, t)| p.distance(*t)).sum();
    sum / (5.0 * CROP_SIDE as f32)
}

/// The landmark score of the KP-RPE paper (arXiv 2403.14852): `clip((0.2 - NME) / 0.2, 0, 1)` times the detector's
/// score (clipped to 0..=1). 0 where either is not a number.
#[must_use]
pub fn landmark_score(nme: f32, score: f32) -> f32 {
    let shape = ((0.2 - nme) / 0.2).clamp(0.0, 1.0);
    let product = shape * score.clamp(0.0, 1.0);
    if product.is_nan() {
        0.0
    } else {
        product
    }
}

/// The rectangle around the five points, widened by 0.3 eye distances on each side: skin, brows and mouth, without
/// hair or background.
#[must_use]
pub fn inner_face(points: &Points5) -> Rect {
    let margin = 0.3 * points[0].distance(points[1]);
    let (mut low, mut high) = (points[0], points[0]);
    for p in points {
        low = Point::new(low.x.min(p.x), low.y.min(p.y));
        high = Point::new(high.x.max(p.x), high.y.max(p.y));
    }
    Rect::new(
        low.x - margin,
        low.y - margin,
        high.x - low.x + 2.0 * margin,
        high.y - low.y + 2.0 * margin,
    )
}

/// Share of the face, from the brows to the chin, that lies outside a frame of this size: of a grid of 10 x 10
/// positions in the middle of the crop.
fn outside((width, height): (usize, usize), to_crop: &Similarity) -> f32 {
    let to_frame = to_crop.inverse();
    let picture = Rect::new(-0.5, -0.5, width as f32, height as f32);
    let mut count = 0u16;
    for row in 0..10u8 {
        for column in 0..10u8 {
            let p = Point::new(20.0 + 8.0 * f32::from(column), 30.0 + 8.0 * f32::from(row));
            count += u16::from(!picture.contains(to_frame.apply(p)));
        }
    }
    f32::from(count) / 100.0
}
