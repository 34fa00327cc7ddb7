//! Enrolment: guide a person to some varied good views, fuse and store them.

use crate::call::{borrow, call, check_size, flag, give, invalid, release, Out};
use crate::gallery::{kf_gallery, name};
use crate::handle::Handle;
use crate::pipeline::{detection, kf_face, kf_quality, quality};
use crate::rules::{kf_quality_limits, limits, limits_from};
use crate::status::kf_status;
use crate::template::kf_template;
use keyface::enrol::{EnrolRules, Guidance, Session, View};
use keyface::Error;
use std::ffi::c_char;

/// One person's enrolment. It writes nothing before kf_enrolment_commit; freeing it leaves no trace.
pub struct kf_enrolment(Handle<Option<Session>>);

/// How to enrol. Fill it by kf_enrolment_rules_init. Times are microseconds.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct kf_enrolment_rules {
    /// sizeof(kf_enrolment_rules).
    pub struct_size: u32,
    /// Shots to collect, 1..=8: straight, left, right, and so on in turn. Default 5.
    pub shots: u32,
    /// Shortest time between two shots. Default 0.4 s.
    pub interval_us: u64,
    /// After this long without the wanted view any other good view will do. Default 4 s.
    pub patience_us: u64,
    /// The session ends without a result after this long. Default 60 s.
    pub timeout_us: u64,
    /// Shots of one person are at least so alike: the operating point.
    pub agree: f32,
    /// A person who scores so high against somebody enrolled is refused: the operating point too.
    pub duplicate: f32,
    /// What a good view is. Default: the limits for enrolment.
    pub quality: kf_quality_limits,
}

/// What a frame showed.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_view {
    /// No face.
    Nobody = 0,
    /// More than one face.
    Several = 1,
    /// One face.
    Face = 2,
}

/// What to tell the person.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_guidance_kind {
    /// Step in front of the camera.
    Nobody = 0,
    /// One person at a time.
    AnotherFace = 1,
    /// Come closer.
    TooFar = 2,
    /// More light on the face.
    TooDark = 3,
    /// Less light on the face.
    TooBright = 4,
    /// Turn away from the light behind, clean the lens.
    LowContrast = 5,
    /// Out of focus or moving.
    Blurred = 6,
    /// Face the camera.
    TurnedTooFar = 7,
    /// Hold the head upright.
    Tilted = 8,
    /// Come into the middle of the picture.
    PartlyOutside = 9,
    /// Take off what covers the face.
    Unclear = 10,
    /// Hold still.
    HoldStill = 11,
    /// Look straight ahead.
    LookStraight = 12,
    /// Turn a little to the left of the picture.
    TurnLeft = 13,
    /// Turn a little to the right of the picture.
    TurnRight = 14,
    /// This is not the person of the shots before.
    SomebodyElse = 15,
    /// A shot was taken; more are wanted.
    Taken = 16,
    /// All shots are there: commit.
    Complete = 17,
    /// The session ended without a result, for lack of time or of agreement: start again.
    Failed = 18,
}

/// What to tell the person, and how far the enrolment is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kf_guidance {
    /// A kf_guidance_kind.
    pub kind: u32,
    /// Shots taken so far.
    pub taken: u32,
}

fn kind(guidance: Guidance) -> kf_guidance_kind {
    match guidance {
        Guidance::Nobody => kf_guidance_kind::Nobody,
        Guidance::AnotherFace => kf_guidance_kind::AnotherFace,
        Guidance::TooFar => kf_guidance_kind::TooFar,
        Guidance::TooDark => kf_guidance_kind::TooDark,
        Guidance::TooBright => kf_guidance_kind::TooBright,
        Guidance::LowContrast => kf_guidance_kind::LowContrast,
        Guidance::Blurred => kf_guidance_kind::Blurred,
        Guidance::TurnedTooFar => kf_guidance_kind::TurnedTooFar,
        Guidance::Tilted => kf_guidance_kind::Tilted,
        Guidance::PartlyOutside => kf_guidance_kind::PartlyOutside,
        Guidance::Unclear => kf_guidance_kind::Unclear,
        Guidance::HoldStill => kf_guidance_kind::HoldStill,
        Guidance::LookStraight => kf_guidance_kind::LookStraight,
        Guidance::TurnLeft => kf_guidance_kind::TurnLeft,
        Guidance::TurnRight => kf_guidance_kind::TurnRight,
        Guidance::SomebodyElse => kf_guidance_kind::SomebodyElse,
        Guidance::Taken(_) => kf_guidance_kind::Taken,
        Guidance::Complete => kf_guidance_kind::Complete,
        Guidance::Failed => kf_guidance_kind::Failed,
    }
}

/// Fills in the defaults for an operating point: the threshold from kf_pack_get_threshold.
///
/// - Ownership: `rules` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_enrolment_rules_init(
    threshold: f32,
    rules: *mut kf_enrolment_rules,
) -> kf_status {
    call("kf_enrolment_rules_init", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(rules) }?;
        let usual = EnrolRules::new(threshold);
        out.write(kf_enrolment_rules {
            struct_size: size_of::<kf_enrolment_rules>() as u32,
            shots: usual.shots as u32,
            interval_us: usual.interval_us,
            patience_us: usual.patience_us,
            timeout_us: usual.timeout_us,
            agree: usual.agree,
            duplicate: usual.duplicate,
            quality: limits_from(&usual.quality),
        });
        Ok(())
    })
}

/// Begins an enrolment.
///
/// - Ownership: the caller frees `*enrolment` by kf_enrolment_free.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_enrolment_new(
    rules: *const kf_enrolment_rules,
    enrolment: *mut *mut kf_enrolment,
) -> kf_status {
    call("kf_enrolment_new", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(enrolment) }?;
        // SAFETY: as the header asks.
        let rules = unsafe { borrow(rules) }?;
        check_size::<kf_enrolment_rules>(rules.struct_size)?;
        let session = Session::new(EnrolRules {
            shots: rules.shots as usize,
            interval_us: rules.interval_us,
            patience_us: rules.patience_us,
            timeout_us: rules.timeout_us,
            agree: rules.agree,
            duplicate: rules.duplicate,
            quality: limits(&rules.quality)?,
        })?;
        out.write(give(kf_enrolment(Handle::new("enrolment", Some(session)))));
        Ok(())
    })
}

/// Ends an enrolment; what was collected is wiped.
///
/// - Ownership: takes `enrolment`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: no.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_enrolment_free(enrolment: *mut kf_enrolment) {
    // SAFETY: as the header asks.
    unsafe { release("kf_enrolment_free", enrolment) }
}

const OVER: Error = invalid("the enrolment was committed already");

/// Takes one frame of time `time_us`: what it showed (a kf_view) and, for KF_VIEW_FACE, what kf_pipeline_describe said.
/// A frame that is not later than the one before is ignored.
///
/// - Ownership: all is the caller's.
/// - NULL: `face`, `quality` and `embedding` may be NULL unless the view is KF_VIEW_FACE.
/// - Threads: the enrolment needs to be yours alone.
/// - Memory: allocates a template when a shot is taken.
/// - Blocks: no.
/// - Status: KF_STATUS_MODEL_MISMATCH.
#[no_mangle]
pub unsafe extern "C" fn kf_enrolment_step(
    enrolment: *mut kf_enrolment,
    time_us: u64,
    view: u32,
    face: *const kf_face,
    quality: *const kf_quality,
    embedding: *const kf_template,
    guidance: *mut kf_guidance,
) -> kf_status {
    call("kf_enrolment_step", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(guidance) }?;
        // SAFETY: as the header asks.
        let mut enrolment = unsafe { borrow(enrolment.cast_const()) }?.0.exclusive()?;
        let session = enrolment.as_mut().ok_or(OVER)?;
        let said = match view {
            0 => session.step(time_us, View::Nobody)?,
            1 => session.step(time_us, View::Several)?,
            2 => {
                // SAFETY: as the header asks.
                let face = detection(unsafe { borrow(face) }?)?;
                // SAFETY: as the header asks.
                let quality = self::quality(unsafe { borrow(quality) }?);
                // SAFETY: as the header asks.
                let embedding = unsafe { borrow(embedding) }?.0.shared()?;
                let view = View::Face {
                    template: embedding.get()?,
                    quality: &quality,
                    points: &face.points,
                };
                session.step(time_us, view)?
            }
            _ => return Err(invalid("an unknown view")),
        };
        out.write(kf_guidance { kind: kind(said) as u32, taken: session.taken() as u32 });
        Ok(())
    })
}

/// The shots fused by landmark score, without those that disagree with the rest: what kf_enrolment_commit would store. For a
/// host that keeps templates elsewhere, such as on a server.
///
/// - Ownership: all is the caller's; `result`, from kf_template_new, is overwritten.
/// - NULL: nothing may be NULL.
/// - Threads: `result` needs to be yours alone.
/// - Memory: allocates the sum and frees it.
/// - Blocks: no.
/// - Status: KF_STATUS_INVALID_ARGUMENT also unless all shots are taken and most of them agree;
///   KF_STATUS_MODEL_MISMATCH if `result` is another engine's.
#[no_mangle]
pub unsafe extern "C" fn kf_enrolment_get_template(
    enrolment: *const kf_enrolment,
    result: *mut kf_template,
) -> kf_status {
    call("kf_enrolment_get_template", || {
        // SAFETY: as the header asks.
        let enrolment = unsafe { borrow(enrolment) }?.0.shared()?;
        // SAFETY: as the header asks.
        let mut to = unsafe { borrow(result.cast_const()) }?.0.exclusive()?;
        to.set(&enrolment.as_ref().ok_or(OVER)?.fused()?)
    })
}

/// Stores the person; with `replace` 1 in place of all that is stored of a person of that name, with 0 as a new one.
/// Whatever it comes to, the enrolment is over and its shots are wiped: start another.
///
/// - Ownership: all is the caller's; `name` is 1 to 64 bytes without control characters.
/// - NULL: nothing may be NULL.
/// - Threads: enrolment and gallery need to be yours alone.
/// - Memory: allocates.
/// - Blocks: writes and syncs the gallery's file.
/// - Status: KF_STATUS_DUPLICATE if the name is taken, or the person is too alike to somebody enrolled;
///   KF_STATUS_NOT_FOUND if nobody has the name and `replace` is 1; as kf_gallery_enrol.
#[no_mangle]
pub unsafe extern "C" fn kf_enrolment_commit(
    enrolment: *mut kf_enrolment,
    gallery: *mut kf_gallery,
    name: *const c_char,
    name_length: usize,
    at_ms: u64,
    replace: u32,
    person: *mut u64,
) -> kf_status {
    call("kf_enrolment_commit", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(person) }?;
        // SAFETY: as the header asks.
        let mut enrolment = unsafe { borrow(enrolment.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let mut gallery = unsafe { borrow(gallery.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let name = unsafe { self::name(name, name_length) }?;
        let replace = flag(replace)?;
        let store = gallery.writer()?;
        let session = enrolment.take().ok_or(OVER)?;
        let id = match replace {
            true => session.commit_again(store, &name, at_ms)?,
            false => session.commit(store, &name, at_ms)?,
        };
        out.write(id.0);
        Ok(())
    })
}
