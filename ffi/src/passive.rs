//! The slot for a passive check against presentation attacks: the host's own ONNX model.

use crate::call::{borrow, call, check_size, give, release, slice, Out};
use crate::decider::kf_liveness;
use crate::frame::{kf_frame, lent};
use crate::handle::Handle;
use crate::pipeline::{detection, kf_face};
use crate::status::kf_status;
use keyface::decide::Liveness;
use keyface::liveness::{PassiveCheck, PassiveRules};

/// A passive check: your own ONNX classifier of face crops. Keyface ships no such model and claims nothing for one;
/// `keyface pad-report` measures yours. Only in libraries whose kf_build_info.features say KF_FEATURE_ONNX.
pub struct kf_passive(Handle<PassiveCheck>);

/// How a passive model is fed and read. Fill it by kf_passive_rules_init.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct kf_passive_rules {
    /// sizeof(kf_passive_rules).
    pub struct_size: u32,
    /// Side of the model's square input in pixels, 16..=512; planar RGB, -1..1. Default 80.
    pub side: u32,
    /// The crop is a square around the face's box, this many times its longer side, 0.5..=4. Default 1.5.
    pub expand: f32,
    /// Which of the model's outputs stands for a live face, from 0; all outputs are logits of one softmax. Default 1.
    pub real_class: u32,
    /// From this probability of a live face on the answer is KF_LIVENESS_REAL. Default 0.8.
    pub real_from: f32,
    /// Up to this one it is KF_LIVENESS_SPOOF; between the two KF_LIVENESS_UNSURE. Default 0.2.
    pub spoof_to: f32,
}

/// Fills in the defaults of `keyface pad-report`. What a model needs is in its own description.
///
/// - Ownership: `rules` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_passive_rules_init(rules: *mut kf_passive_rules) -> kf_status {
    call("kf_passive_rules_init", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(rules) }?;
        let PassiveRules { side, expand, real_class, real_from, spoof_to } = PassiveRules::USUAL;
        out.write(kf_passive_rules {
            struct_size: size_of::<kf_passive_rules>() as u32,
            side: side as u32,
            expand,
            real_class: real_class as u32,
            real_from,
            spoof_to,
        });
        Ok(())
    })
}

/// Loads the ONNX model in `bytes`.
///
/// - Ownership: the caller frees `*passive` by kf_passive_free; `bytes` is read during the call.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates the model and its buffers.
/// - Blocks: reads and plans the model.
/// - Status: KF_STATUS_UNSUPPORTED_PACK if the model cannot be read or does not take the input, and in a library without
///   KF_FEATURE_ONNX.
#[no_mangle]
pub unsafe extern "C" fn kf_passive_new(
    bytes: *const u8,
    length: usize,
    rules: *const kf_passive_rules,
    passive: *mut *mut kf_passive,
) -> kf_status {
    call("kf_passive_new", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(passive) }?;
        // SAFETY: as the header asks.
        let (bytes, rules) = unsafe { (slice(bytes, length)?, borrow(rules)?) };
        check_size::<kf_passive_rules>(rules.struct_size)?;
        let made = PassiveCheck::new(
            bytes,
            PassiveRules {
                side: rules.side as usize,
                expand: rules.expand,
                real_class: rules.real_class as usize,
                real_from: rules.real_from,
                spoof_to: rules.spoof_to,
            },
        )?;
        out.write(give(kf_passive(Handle::new("passive", made))));
        Ok(())
    })
}

/// Frees a passive check.
///
/// - Ownership: takes `passive`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: no.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_passive_free(passive: *mut kf_passive) {
    // SAFETY: as the header asks.
    unsafe { release("kf_passive_free", passive) }
}

/// Judges one face of a frame: `liveness` becomes KF_LIVENESS_REAL, KF_LIVENESS_SPOOF or KF_LIVENESS_UNSURE, for
/// kf_observation.liveness. What no crop can be made of is KF_LIVENESS_UNSURE.
///
/// - Ownership: `frame` is lent for the call; all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: the check needs to be yours alone.
/// - Memory: allocates inside the network engine and frees it; the crop is wiped.
/// - Blocks: computes: as long as your model takes.
/// - Status: KF_STATUS_INVALID_FRAME; KF_STATUS_UNSUPPORTED_PACK if the model has no output `real_class`.
#[no_mangle]
pub unsafe extern "C" fn kf_passive_check(
    passive: *mut kf_passive,
    frame: *const kf_frame,
    face: *const kf_face,
    liveness: *mut u32,
) -> kf_status {
    call("kf_passive_check", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(liveness) }?;
        // SAFETY: as the header asks.
        let mut passive = unsafe { borrow(passive.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let frame = unsafe { lent(frame) }?;
        // SAFETY: as the header asks.
        let face = detection(unsafe { borrow(face) }?)?;
        let answer = match passive.check(&frame, &face.rect)? {
            Liveness::NotChecked => kf_liveness::NotChecked,
            Liveness::Real => kf_liveness::Real,
            Liveness::Spoof => kf_liveness::Spoof,
            Liveness::Unsure => kf_liveness::Unsure,
        };
        out.write(answer as u32);
        Ok(())
    })
}
