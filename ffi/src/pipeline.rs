//! Pipelines: frame to faces to templates.

use crate::call::{borrow, call, check_size, give, invalid, release, slice, Buffer, Out};
use crate::engine::kf_engine;
use crate::frame::{kf_frame, lent};
use crate::handle::Handle;
use crate::rules::{kf_quality_limits, limits, limits_from};
use crate::status::kf_status;
use crate::template::kf_template;
use keyface::detect::Detection;
use keyface::geometry::{Point, Rect};
use keyface::pipeline::{Options, Pipeline};
use keyface::quality::{Pose, Quality, Reasons};
use keyface::sample::LumaStats;
use keyface::Result;

/// The steps from frame to template with their buffers. One thread at a time; make one per camera.
pub struct kf_pipeline(pub(crate) Handle<Pipeline>);

/// The most faces reported per frame.
pub const KF_MAX_FACES: u32 = 32;

/// A point in pixels of the upright frame; an integer is a pixel's centre.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct kf_point {
    /// To the right.
    pub x: f32,
    /// Down.
    pub y: f32,
}

/// A face in the picture.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct kf_face {
    /// Left edge of the box in pixels of the upright frame; it may reach outside.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
    /// Left eye, right eye, nose, left and right mouth corner, as seen in the picture.
    pub points: [kf_point; 5],
    /// Confidence, 0..1.
    pub score: f32,
}

/// What was measured of a face. No pixels, no embedding: it may be logged.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct kf_quality {
    /// Bits of kf_quality_reason: what lies beyond the pipeline's limits; 0 where the view is good.
    pub reasons: u32,
    /// Distance between the eyes in pixels.
    pub eye_distance: f32,
    /// About 0 where blurred, above 1 for noise.
    pub sharpness: f32,
    /// Mean luma of the face, 0..=255.
    pub luma_mean: f32,
    /// Standard deviation of the face's luma.
    pub luma_deviation: f32,
    /// Share of the face clipped to black, 0..=1.
    pub luma_dark: f32,
    /// Share of the face clipped to white, 0..=1.
    pub luma_bright: f32,
    /// Turn to the side in degrees.
    pub yaw: f32,
    /// Nod in degrees.
    pub pitch: f32,
    /// In-plane rotation in degrees.
    pub roll: f32,
    /// Normalised mean error of the aligned points.
    pub nme: f32,
    /// 0..=1: the weight of this view where several are fused.
    pub landmark_score: f32,
    /// Share of the face outside the frame, 0..=1.
    pub outside: f32,
}

/// Why a view is poor, as bits of kf_quality.reasons.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_quality_reason {
    /// The face is too far away.
    TooSmall = 1,
    /// Too little light on the face.
    TooDark = 2,
    /// Too much light on the face.
    TooBright = 4,
    /// The face is flat: fog, a dirty lens, light from behind.
    LowContrast = 8,
    /// Out of focus, or moving.
    Blurred = 16,
    /// The head is turned to a side, up or down.
    TurnedAway = 32,
    /// The head is tilted towards a shoulder, or the camera is mounted askew.
    Tilted = 64,
    /// The five points do not lie as in a face, or the detector doubts it.
    LowLandmarkScore = 128,
    /// Part of the face lies outside the frame.
    PartlyOutside = 256,
}

/// How a pipeline works. Fill it by kf_pipeline_options_init.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct kf_pipeline_options {
    /// sizeof(kf_pipeline_options).
    pub struct_size: u32,
    /// Threads of both networks, the calling one included; lowered to the CPUs that the process may use. Default 1.
    pub threads: u32,
    /// Frames are sampled down for the detector so that their long side is at most this, 64..=1920. Default 320.
    pub long_side: u32,
    /// Lowest detection score, 0..=1; negative for the pack's own. Default -1.
    pub score_threshold: f32,
    /// What counts as good enough. Default: for recognition.
    pub quality: kf_quality_limits,
}

fn options_from(options: &Options) -> kf_pipeline_options {
    kf_pipeline_options {
        struct_size: size_of::<kf_pipeline_options>() as u32,
        threads: options.threads as u32,
        long_side: options.long_side as u32,
        score_threshold: options.score_threshold.unwrap_or(-1.0),
        quality: limits_from(&options.quality),
    }
}

/// # Safety
/// `options` is NULL or points to readable options.
pub(crate) unsafe fn options_or_default(options: *const kf_pipeline_options) -> Result<Options> {
    if options.is_null() {
        return Ok(Options::default());
    }
    // SAFETY: the caller's promise.
    let options = unsafe { borrow(options) }?;
    check_size::<kf_pipeline_options>(options.struct_size)?;
    if options.score_threshold.is_nan() {
        return Err(invalid("the score threshold is not a number"));
    }
    Ok(Options {
        threads: options.threads as usize,
        long_side: options.long_side as usize,
        score_threshold: (options.score_threshold >= 0.0).then_some(options.score_threshold),
        quality: limits(&options.quality)?,
    })
}

fn face_from(found: &Detection) -> kf_face {
    let Rect { x, y, w, h } = found.rect;
    let points = found.points.map(|p| kf_point { x: p.x, y: p.y });
    kf_face { x, y, width: w, height: h, points, score: found.score }
}

pub(crate) fn detection(face: &kf_face) -> Result<Detection> {
    let numbers = [face.x, face.y, face.width, face.height, face.score];
    if !numbers.iter().all(|v| v.is_finite())
        || !face.points.iter().all(|p| (p.x + p.y).is_finite())
    {
        return Err(invalid("a face holds a number that is not finite"));
    }
    Ok(Detection {
        rect: Rect::new(face.x, face.y, face.width, face.height),
        points: face.points.map(|p| Point::new(p.x, p.y)),
        score: face.score,
    })
}

fn quality_from(q: &Quality) -> kf_quality {
    kf_quality {
        reasons: q.reasons.bits(),
        eye_distance: q.eye_distance,
        sharpness: q.sharpness,
        luma_mean: q.luma.mean,
        luma_deviation: q.luma.deviation,
        luma_dark: q.luma.dark,
        luma_bright: q.luma.bright,
        yaw: q.pose.yaw,
        pitch: q.pose.pitch,
        roll: q.pose.roll,
        nme: q.nme,
        landmark_score: q.landmark_score,
        outside: q.outside,
    }
}

/// The measurements; the reasons are judged anew by whoever takes them.
pub(crate) fn quality(q: &kf_quality) -> Quality {
    Quality {
        eye_distance: q.eye_distance,
        sharpness: q.sharpness,
        luma: LumaStats {
            mean: q.luma_mean,
            deviation: q.luma_deviation,
            dark: q.luma_dark,
            bright: q.luma_bright,
        },
        pose: Pose { yaw: q.yaw, pitch: q.pitch, roll: q.roll },
        nme: q.nme,
        landmark_score: q.landmark_score,
        outside: q.outside,
        reasons: Reasons::NONE,
    }
}

/// Fills in the defaults.
///
/// - Ownership: `options` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_pipeline_options_init(options: *mut kf_pipeline_options) -> kf_status {
    call("kf_pipeline_options_init", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(options) }?;
        out.write(options_from(&Options::default()));
        Ok(())
    })
}

/// Makes a pipeline.
///
/// - Ownership: the caller frees `*pipeline` by kf_pipeline_free; `engine` may be freed before it.
/// - NULL: `options` may be NULL for the defaults.
/// - Threads: any number at once.
/// - Memory: allocates buffers and starts `threads - 1` threads.
/// - Blocks: plans the networks: up to a second on a slow core.
/// - Status: KF_STATUS_UNSUPPORTED_PACK, KF_STATUS_MEMORY_LIMIT, KF_STATUS_IO if the system refuses a thread.
#[no_mangle]
pub unsafe extern "C" fn kf_pipeline_new(
    engine: *const kf_engine,
    options: *const kf_pipeline_options,
    pipeline: *mut *mut kf_pipeline,
) -> kf_status {
    call("kf_pipeline_new", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(pipeline) }?;
        // SAFETY: as the header asks.
        let engine = unsafe { borrow(engine) }?.0.shared()?;
        // SAFETY: as the header asks.
        let options = unsafe { options_or_default(options) }?;
        let made = Pipeline::new(&engine, &options)?;
        out.write(give(kf_pipeline(Handle::new("pipeline", made))));
        Ok(())
    })
}

/// Frees a pipeline and ends its threads.
///
/// - Ownership: takes `pipeline`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: waits for its threads, which are idle.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_pipeline_free(pipeline: *mut kf_pipeline) {
    // SAFETY: as the header asks.
    unsafe { release("kf_pipeline_free", pipeline) }
}

/// Finds all faces of a frame, best first. No face is a count of 0. `capacity` must not be 0; KF_MAX_FACES fits all, and
/// of more faces than fit the best are given.
///
/// - Ownership: `frame` is lent for the call; `faces` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: the pipeline needs to be yours alone.
/// - Memory: once warm, allocates only inside the network engine, the same at every frame.
/// - Blocks: computes: milliseconds to tens of milliseconds.
/// - Status: KF_STATUS_INVALID_FRAME.
#[no_mangle]
pub unsafe extern "C" fn kf_pipeline_detect(
    pipeline: *mut kf_pipeline,
    frame: *const kf_frame,
    faces: *mut kf_face,
    capacity: usize,
    count: *mut usize,
) -> kf_status {
    call("kf_pipeline_detect", || {
        // SAFETY: as the header asks.
        let out = unsafe { Buffer::new(faces, capacity, count) }?;
        if out.asks_for_count() {
            return Err(invalid("no room for a face"));
        }
        // SAFETY: as the header asks.
        let mut pipeline = unsafe { borrow(pipeline) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let frame = unsafe { lent(frame) }?;
        let found = pipeline.detect(&frame)?;
        let none = kf_face {
            x: 0.0,
            y: 0.0,
            width: 0.0,
            height: 0.0,
            points: [kf_point { x: 0.0, y: 0.0 }; 5],
            score: 0.0,
        };
        let mut list = [none; KF_MAX_FACES as usize];
        for (to, from) in list.iter_mut().zip(found) {
            *to = face_from(from);
        }
        out.write_some(&list[..found.len().min(list.len())])
    })
}

/// Aligns, judges and embeds one face of a frame. `described` becomes 1, or 0 if the points do not form a face: then
/// `embedding` and `quality` stay as they are.
///
/// - Ownership: `frame` is lent for the call; `embedding`, from kf_template_new, is overwritten; all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: pipeline and template need to be yours alone.
/// - Memory: once warm, allocates only inside the network engine, the same at every frame.
/// - Blocks: computes one embedding: tens of milliseconds to a second, by model and core.
/// - Status: KF_STATUS_INVALID_FRAME, KF_STATUS_MODEL_MISMATCH if the template is another model's.
#[no_mangle]
pub unsafe extern "C" fn kf_pipeline_describe(
    pipeline: *mut kf_pipeline,
    frame: *const kf_frame,
    face: *const kf_face,
    embedding: *mut kf_template,
    quality: *mut kf_quality,
    described: *mut u32,
) -> kf_status {
    call("kf_pipeline_describe", || {
        // SAFETY: as the header asks.
        let (out, done) = unsafe { (Out::new(quality)?, Out::new(described)?) };
        // SAFETY: as the header asks.
        let mut pipeline = unsafe { borrow(pipeline) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let mut to = unsafe { borrow(embedding.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let frame = unsafe { lent(frame) }?;
        // SAFETY: as the header asks.
        let face = detection(unsafe { borrow(face) }?)?;
        let described = pipeline.describe(&frame, &face)?;
        if let Some(face) = described {
            to.set(&face.template)?;
            out.write(quality_from(&face.quality));
        }
        done.write(u32::from(described.is_some()));
        Ok(())
    })
}

/// Embeds a picture that is aligned already: a frame of 112x112 pixels. `points` are its five points in pixels.
///
/// - Ownership: `frame` is lent for the call; `embedding`, from kf_template_new, is overwritten; all is the caller's.
/// - NULL: `points`, five of them, may be NULL for those of the alignment template.
/// - Threads: pipeline and template need to be yours alone.
/// - Memory: allocates the embedding.
/// - Blocks: computes one embedding.
/// - Status: KF_STATUS_INVALID_FRAME, KF_STATUS_MODEL_MISMATCH.
#[no_mangle]
pub unsafe extern "C" fn kf_pipeline_embed_aligned(
    pipeline: *mut kf_pipeline,
    frame: *const kf_frame,
    points: *const kf_point,
    embedding: *mut kf_template,
) -> kf_status {
    call("kf_pipeline_embed_aligned", || {
        // SAFETY: as the header asks.
        let mut pipeline = unsafe { borrow(pipeline.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let mut to = unsafe { borrow(embedding.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let frame = unsafe { lent(frame) }?;
        let points = match points.is_null() {
            true => None,
            false => {
                // SAFETY: as the header asks.
                let list = unsafe { slice(points, 5) }?;
                Some(std::array::from_fn(|i| Point::new(list[i].x, list[i].y)))
            }
        };
        to.set(&pipeline.embed_aligned(&frame, points.as_ref())?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_the_sdk_s_bits() {
        let ours = [
            kf_quality_reason::TooSmall,
            kf_quality_reason::TooDark,
            kf_quality_reason::TooBright,
            kf_quality_reason::LowContrast,
            kf_quality_reason::Blurred,
            kf_quality_reason::TurnedAway,
            kf_quality_reason::Tilted,
            kf_quality_reason::LowLandmarkScore,
            kf_quality_reason::PartlyOutside,
        ];
        assert_eq!(Reasons::ALL.map(|(r, _)| r.bits()), ours.map(|r| r as u32));
    }

    #[test]
    fn defaults_come_back_as_they_went() {
        let options = options_from(&Options::default());
        // SAFETY: the options live.
        assert_eq!(unsafe { options_or_default(&options) }.unwrap(), Options::default());
    }
}
