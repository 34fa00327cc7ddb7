//! The direction of a head, from five points.

use crate::geometry::Points5;

/// How far the nose tip stands before the plane of eyes and mouth, in distances between the eyes.
const NOSE_DEPTH: f32 = 0.45;

/// Where the nose tip lies on the way from the eyes to the mouth: the median of the hand labels in the training
/// set `net2` (the alignment template says 0.495, but people's noses say otherwise).
const NOSE_HEIGHT: f32 = 0.58;

/// The distance from the eyes to the mouth, in distances between the eyes: the same labels' median where the nose
/// lies within 0.06 of the midline.
const FACE_HEIGHT: f32 = 1.02;

/// Estimated angles in degrees, each -90..=90 but roll, -180..=180. Coarse: shape differs between people by some
/// ten degrees of yaw and more of pitch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pose {
    /// Positive where the face looks to the right of the picture.
    pub yaw: f32,
    /// Positive where it looks down.
    pub pitch: f32,
    /// Positive where the picture has to be turned counter-clockwise to make the face upright.
    pub roll: f32,
}

/// The pose under orthographic projection of a flat face with a nose.
///
/// With `u` the direction from the left eye and mouth corner to the right ones, `v` at a right angle to it (down),
/// `e`, `m` the midpoints of eyes and mouth, `n` the nose tip, `d` the distance of the eyes along `u`:
///
/// - roll is the angle of `u`;
/// - turning moves the nose against the midline by `NOSE_DEPTH * sin(yaw)` and narrows the eyes by `cos(yaw)`, so
///   `tan(yaw) = ((n - (e + m) / 2) . u / d) / 0.45`;
/// - nodding moves it against its place between eyes and mouth, so
///   `tan(pitch) = ((n - e) . v / ((m - e) . v) - 0.58) * 1.02 / 0.45`.
///
/// Where eyes or mouth collapse or are not numbers, the angles that depend on them are 90.
#[must_use]
pub fn pose(points: &Points5) -> Pose {
    let [left_eye, right_eye, nose, left_mouth, right_mouth] = points.map(|p| (p.x, p.y));
    let minus = |p: (f32, f32), q: (f32, f32)| (p.0 - q.0, p.1 - q.1);
    let middle = |p: (f32, f32), q: (f32, f32)| ((p.0 + q.0) * 0.5, (p.1 + q.1) * 0.5);
    let dot = |p: (f32, f32), q: (f32, f32)| p.0 * q.0 + p.1 * q.1;
    let (eyes, mouth) = (minus(right_eye, left_eye), minus(right_mouth, left_mouth));
    let across = (eyes.0 + mouth.0, eyes.1 + mouth.1);
    let length = dot(across, across).sqrt();
    if !(length > 1e-3 && length.is_finite()) {
        return Pose { yaw: 90.0, pitch: 90.0, roll: 90.0 };
    }
    let u = (across.0 / length, across.1 / length);
    let v = (-u.1, u.0);
    let (e, m) = (middle(left_eye, right_eye), middle(left_mouth, right_mouth));
    let side = dot(minus(nose, middle(e, m)), u);
    let (width, height) = (dot(eyes, u), dot(minus(m, e), v));
    let yaw = if width > 1e-3 { (side / width / NOSE_DEPTH).atan().to_degrees() } else { 90.0 };
    let pitch = if height > 1e-3 {
        let along = dot(minus(nose, e), v) / height;
        ((along - NOSE_HEIGHT) * FACE_HEIGHT / NOSE_DEPTH).atan().to_degrees()
    } else {
        90.0
    };
    let number = |angle: f32| if angle.is_nan() { 90.0 } else { angle };
    Pose { yaw: number(yaw), pitch: number(pitch), roll: number(u.1.atan2(u.0).to_degrees()) }
}
