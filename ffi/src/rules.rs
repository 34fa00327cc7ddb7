//! Limits of quality, which pipelines and enrolments share.

use crate::call::{call, invalid, Out};
use crate::status::kf_status;
use keyface::quality::QualityLimits;
use keyface::Result;

/// Where a view stops being good. All limits are inclusive.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct kf_quality_limits {
    /// Smallest distance between the eyes in pixels.
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
    /// Smallest sharpness.
    pub min_sharpness: f32,
    /// Largest turn to either side in degrees.
    pub max_yaw: f32,
    /// Largest nod up or down in degrees.
    pub max_pitch: f32,
    /// Largest in-plane rotation to either side in degrees.
    pub max_roll: f32,
    /// Smallest landmark score, 0..=1.
    pub min_landmark_score: f32,
    /// Largest share of the face outside the frame, 0..=1.
    pub max_outside: f32,
}

pub(crate) fn limits_from(l: &QualityLimits) -> kf_quality_limits {
    kf_quality_limits {
        min_eye_distance: l.min_eye_distance,
        min_mean: l.min_mean,
        max_mean: l.max_mean,
        max_dark: l.max_dark,
        max_bright: l.max_bright,
        min_deviation: l.min_deviation,
        min_sharpness: l.min_sharpness,
        max_yaw: l.max_yaw,
        max_pitch: l.max_pitch,
        max_roll: l.max_roll,
        min_landmark_score: l.min_landmark_score,
        max_outside: l.max_outside,
    }
}

pub(crate) fn limits(l: &kf_quality_limits) -> Result<QualityLimits> {
    let limits = QualityLimits {
        min_eye_distance: l.min_eye_distance,
        min_mean: l.min_mean,
        max_mean: l.max_mean,
        max_dark: l.max_dark,
        max_bright: l.max_bright,
        min_deviation: l.min_deviation,
        min_sharpness: l.min_sharpness,
        max_yaw: l.max_yaw,
        max_pitch: l.max_pitch,
        max_roll: l.max_roll,
        min_landmark_score: l.min_landmark_score,
        max_outside: l.max_outside,
    };
    let numbers = [
        l.min_eye_distance,
        l.min_mean,
        l.max_mean,
        l.max_dark,
        l.max_bright,
        l.min_deviation,
        l.min_sharpness,
        l.max_yaw,
        l.max_pitch,
        l.max_roll,
        l.min_landmark_score,
        l.max_outside,
    ];
    if numbers.iter().any(|v| v.is_nan()) {
        return Err(invalid("a limit of quality is not a number"));
    }
    Ok(limits)
}

/// The limits for recognition at a door.
///
/// - Ownership: `limits` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_quality_limits_for_recognition(
    limits: *mut kf_quality_limits,
) -> kf_status {
    call("kf_quality_limits_for_recognition", || {
        // SAFETY: as the header asks.
        unsafe { Out::new(limits) }?.write(limits_from(&QualityLimits::RECOGNITION));
        Ok(())
    })
}

/// The stricter limits for enrolment, where a person can be asked for a better view.
///
/// - Ownership: `limits` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_quality_limits_for_enrolment(
    limits: *mut kf_quality_limits,
) -> kf_status {
    call("kf_quality_limits_for_enrolment", || {
        // SAFETY: as the header asks.
        unsafe { Out::new(limits) }?.write(limits_from(&QualityLimits::ENROLMENT));
        Ok(())
    })
}
