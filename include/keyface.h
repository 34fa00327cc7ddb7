/*
 * Keyface: embedded face recognition. Camera frame in, ALLOW / DENY / WAIT out.
 * Made from ffi/src by `KEYFACE_WRITE_HEADER=1 cargo test --release -p keyface-ffi --test header`: do not edit.
 *
 * Handles are opaque. A function that takes `const kf_x *` may run on several threads at once with the same handle;
 * one that takes `kf_x *` needs the handle for itself. A handle that is in use is refused, not corrupted; freeing one
 * that is in use is the caller's mistake. Handles may be freed in any order: what one needs of another stays alive.
 *
 * Functions return a kf_status. Out-parameters come last and are written only on KF_STATUS_OK. No function keeps a
 * pointer it is given, except the log callback's. Strings are UTF-8 with a length, and need no NUL at the end.
 *
 * A function that fills a buffer takes its capacity in elements and says how many there are. Capacity 0 (the buffer
 * may then be NULL) only asks for that count; too small a capacity is KF_STATUS_CAPACITY_EXCEEDED.
 *
 * A defect inside (a panic) gives KF_STATUS_INTERNAL and poisons the handles in use: from then on they answer
 * KF_STATUS_POISONED until they are freed. A door terminal keeps the door shut then and starts anew.
 *
 * Structs that begin with struct_size are filled by their _init function; another size is KF_STATUS_INVALID_ARGUMENT.
 */

#ifndef KEYFACE_H
#define KEYFACE_H

#include <stddef.h>
#include <stdint.h>


/**
 * Major version of this header. While it is 0, a change of the minor version may change the ABI, and with it the SONAME.
 */
#define KF_VERSION_MAJOR 0

/**
 * Minor version of this header.
 */
#define KF_VERSION_MINOR 1

/**
 * Patch version of this header.
 */
#define KF_VERSION_PATCH 0

/**
 * Number in the SONAME: programs and libraries with the same number fit each other.
 */
#define KF_ABI_VERSION 0

/**
 * The most faces reported per frame.
 */
#define KF_MAX_FACES 32

/**
 * The most matches that a search gives.
 */
#define KF_MAX_MATCHES 16

/**
 * The longest name of a person, in bytes of UTF-8.
 */
#define KF_MAX_NAME 64

/**
 * The most components of an embedding.
 */
#define KF_MAX_DIMENSION 512

/**
 * What a call came to. Numbers are fixed for ever; later versions may add some.
 */
enum kf_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Done.
     */
    KF_STATUS_OK = 0,
    /**
     * An argument is NULL, misaligned, of the wrong size or out of its range, or the handle is in use elsewhere: a defect of
     * the calling program.
     */
    KF_STATUS_INVALID_ARGUMENT = 1,
    /**
     * A frame's size, stride or plane length do not fit its pixel format.
     */
    KF_STATUS_INVALID_FRAME = 2,
    /**
     * Not a model pack, or its bytes are damaged: fetch the file again.
     */
    KF_STATUS_DAMAGED_PACK = 3,
    /**
     * A sound pack that this version cannot run.
     */
    KF_STATUS_UNSUPPORTED_PACK = 4,
    /**
     * The pack's signature is missing or does not verify under the given key.
     */
    KF_STATUS_BAD_SIGNATURE = 5,
    /**
     * Templates, engines or galleries of different models met: enrol again or migrate.
     */
    KF_STATUS_MODEL_MISMATCH = 6,
    /**
     * A fixed capacity is exhausted, or the caller's buffer is too small.
     */
    KF_STATUS_CAPACITY_EXCEEDED = 7,
    /**
     * The gallery's bytes are damaged or were tampered with.
     */
    KF_STATUS_DAMAGED_GALLERY = 8,
    /**
     * Another process writes this gallery.
     */
    KF_STATUS_LOCKED = 9,
    /**
     * The key does not open this gallery.
     */
    KF_STATUS_WRONG_KEY = 10,
    /**
     * The gallery is older than the host's counter says it should be.
     */
    KF_STATUS_ROLLED_BACK = 11,
    /**
     * The calibration data do not reach the requested error rate.
     */
    KF_STATUS_UNSUPPORTED_RATE = 12,
    /**
     * The operating system refused a file operation.
     */
    KF_STATUS_IO = 13,
    /**
     * The environment variable KEYFACE_CPU names an unknown level or one that this CPU lacks.
     */
    KF_STATUS_UNSUPPORTED_CPU = 14,
    /**
     * The model would need more memory than the caller allows.
     */
    KF_STATUS_MEMORY_LIMIT = 15,
    /**
     * The person is already enrolled, or too alike to another person.
     */
    KF_STATUS_DUPLICATE = 16,
    /**
     * No such person or record.
     */
    KF_STATUS_NOT_FOUND = 17,
    /**
     * An earlier failure left the handle unusable: free it and start anew.
     */
    KF_STATUS_POISONED = 18,
    /**
     * A defect in the library.
     */
    KF_STATUS_INTERNAL = 19,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_status kf_status;
#else
typedef int32_t kf_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How pixels lie in memory. Names follow V4L2.
 */
enum kf_pixel_format
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * One plane, 3 bytes a pixel: red, green, blue. V4L2: RGB3.
     */
    KF_PIXEL_FORMAT_RGB8 = 1,
    /**
     * One plane, 3 bytes a pixel: blue, green, red. V4L2: BGR3; OpenCV's usual order.
     */
    KF_PIXEL_FORMAT_BGR8 = 2,
    /**
     * One plane, 1 byte a pixel: luma. V4L2: GREY.
     */
    KF_PIXEL_FORMAT_GREY8 = 3,
    /**
     * One plane, 4:2:2, even width: Y U Y V.
     */
    KF_PIXEL_FORMAT_YUYV = 4,
    /**
     * One plane, 4:2:2, even width: U Y V Y.
     */
    KF_PIXEL_FORMAT_UYVY = 5,
    /**
     * Two planes, 4:2:0: luma, then U and V interleaved.
     */
    KF_PIXEL_FORMAT_NV12 = 6,
    /**
     * Two planes, 4:2:0: luma, then V and U interleaved.
     */
    KF_PIXEL_FORMAT_NV21 = 7,
    /**
     * Three planes, 4:2:0: luma, U, V. V4L2: YU12.
     */
    KF_PIXEL_FORMAT_I420 = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_pixel_format kf_pixel_format;
#else
typedef uint32_t kf_pixel_format;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The rotation that makes the stored picture upright, clockwise.
 */
enum kf_rotation
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The picture is upright as stored.
     */
    KF_ROTATION_NONE = 0,
    /**
     * A quarter turn clockwise.
     */
    KF_ROTATION_CW90 = 1,
    /**
     * Half a turn.
     */
    KF_ROTATION_CW180 = 2,
    /**
     * Three quarter turns clockwise.
     */
    KF_ROTATION_CW270 = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_rotation kf_rotation;
#else
typedef uint32_t kf_rotation;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The BT.601 code range of luma and chroma.
 */
enum kf_range
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Limited for YUV formats, full for RGB and grey.
     */
    KF_RANGE_USUAL = 0,
    /**
     * Luma 16..=235, chroma 16..=240: what cameras send.
     */
    KF_RANGE_LIMITED = 1,
    /**
     * 0..=255, as in JPEG.
     */
    KF_RANGE_FULL = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_range kf_range;
#else
typedef uint32_t kf_range;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Instructions that the kernels use. Results are the same bytes at every level.
 */
enum kf_cpu_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Portable code.
     */
    KF_CPU_LEVEL_SCALAR = 0,
    /**
     * AArch64 with widening multiplies: Cortex-A53, A57, A72.
     */
    KF_CPU_LEVEL_NEON = 1,
    /**
     * AArch64 with SDOT: Cortex-A55, A76, A78AE.
     */
    KF_CPU_LEVEL_DOTPROD = 2,
    /**
     * AArch64 with SDOT and SMMLA.
     */
    KF_CPU_LEVEL_I8MM = 3,
    /**
     * x86-64 with AVX2 and FMA.
     */
    KF_CPU_LEVEL_AVX2 = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_cpu_level kf_cpu_level;
#else
typedef uint32_t kf_cpu_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How grave a message is.
 */
enum kf_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Nothing.
     */
    KF_LOG_LEVEL_OFF = 0,
    /**
     * Something failed that should not have.
     */
    KF_LOG_LEVEL_ERROR = 1,
    /**
     * A call was refused, or something odd was mended.
     */
    KF_LOG_LEVEL_WARN = 2,
    /**
     * Milestones.
     */
    KF_LOG_LEVEL_INFO = 3,
    /**
     * For whoever looks for a fault.
     */
    KF_LOG_LEVEL_DEBUG = 4,
    /**
     * Everything.
     */
    KF_LOG_LEVEL_TRACE = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_log_level kf_log_level;
#else
typedef uint32_t kf_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What this library was built with, as bits of kf_build_info.features.
 */
enum kf_feature
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Users' own ONNX models can be run.
     */
    KF_FEATURE_ONNX = 1,
    /**
     * Cameras can be opened (kf_camera).
     */
    KF_FEATURE_BOARDS = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_feature kf_feature;
#else
typedef uint32_t kf_feature;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Why a view is poor, as bits of kf_quality.reasons.
 */
enum kf_quality_reason
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The face is too far away.
     */
    KF_QUALITY_REASON_TOO_SMALL = 1,
    /**
     * Too little light on the face.
     */
    KF_QUALITY_REASON_TOO_DARK = 2,
    /**
     * Too much light on the face.
     */
    KF_QUALITY_REASON_TOO_BRIGHT = 4,
    /**
     * The face is flat: fog, a dirty lens, light from behind.
     */
    KF_QUALITY_REASON_LOW_CONTRAST = 8,
    /**
     * Out of focus, or moving.
     */
    KF_QUALITY_REASON_BLURRED = 16,
    /**
     * The head is turned to a side, up or down.
     */
    KF_QUALITY_REASON_TURNED_AWAY = 32,
    /**
     * The head is tilted towards a shoulder, or the camera is mounted askew.
     */
    KF_QUALITY_REASON_TILTED = 64,
    /**
     * The five points do not lie as in a face, or the detector doubts it.
     */
    KF_QUALITY_REASON_LOW_LANDMARK_SCORE = 128,
    /**
     * Part of the face lies outside the frame.
     */
    KF_QUALITY_REASON_PARTLY_OUTSIDE = 256,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_quality_reason kf_quality_reason;
#else
typedef uint32_t kf_quality_reason;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Why not, as bits of kf_decision.reasons that never change their meaning.
 */
enum kf_decision_reason
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * No face in the frame.
     */
    KF_DECISION_REASON_NOBODY = 1,
    /**
     * More than one face.
     */
    KF_DECISION_REASON_SEVERAL_FACES = 2,
    /**
     * The face is too small, dark, blurred, turned ...
     */
    KF_DECISION_REASON_QUALITY = 4,
    /**
     * Not enough good frames yet.
     */
    KF_DECISION_REASON_COLLECTING = 8,
    /**
     * The face matches nobody, or not the person claimed.
     */
    KF_DECISION_REASON_NO_MATCH = 16,
    /**
     * Two people are about as alike.
     */
    KF_DECISION_REASON_AMBIGUOUS = 32,
    /**
     * Frames within the window matched different people.
     */
    KF_DECISION_REASON_DISAGREE = 64,
    /**
     * A picture, a screen or a mask.
     */
    KF_DECISION_REASON_SPOOF = 128,
    /**
     * Liveness is asked for and was not shown.
     */
    KF_DECISION_REASON_LIVENESS = 256,
    /**
     * This person was let in a moment ago.
     */
    KF_DECISION_REASON_COOL_DOWN = 512,
    /**
     * This person is locked out.
     */
    KF_DECISION_REASON_PERSON_LOCKED = 1024,
    /**
     * Everybody is locked out.
     */
    KF_DECISION_REASON_DOOR_LOCKED = 2048,
    /**
     * Not at this time.
     */
    KF_DECISION_REASON_SCHEDULE = 4096,
    /**
     * A timestamp was repeated or ran backwards.
     */
    KF_DECISION_REASON_BAD_TIME = 8192,
    /**
     * A stage failed.
     */
    KF_DECISION_REASON_ERROR = 16384,
    /**
     * More people have cool-downs or lock-outs than can be remembered.
     */
    KF_DECISION_REASON_BUSY = 32768,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_decision_reason kf_decision_reason;
#else
typedef uint32_t kf_decision_reason;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a frame showed.
 */
enum kf_view
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * No face.
     */
    KF_VIEW_NOBODY = 0,
    /**
     * More than one face.
     */
    KF_VIEW_SEVERAL = 1,
    /**
     * One face.
     */
    KF_VIEW_FACE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_view kf_view;
#else
typedef uint32_t kf_view;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What to tell the person.
 */
enum kf_guidance_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Step in front of the camera.
     */
    KF_GUIDANCE_KIND_NOBODY = 0,
    /**
     * One person at a time.
     */
    KF_GUIDANCE_KIND_ANOTHER_FACE = 1,
    /**
     * Come closer.
     */
    KF_GUIDANCE_KIND_TOO_FAR = 2,
    /**
     * More light on the face.
     */
    KF_GUIDANCE_KIND_TOO_DARK = 3,
    /**
     * Less light on the face.
     */
    KF_GUIDANCE_KIND_TOO_BRIGHT = 4,
    /**
     * Turn away from the light behind, clean the lens.
     */
    KF_GUIDANCE_KIND_LOW_CONTRAST = 5,
    /**
     * Out of focus or moving.
     */
    KF_GUIDANCE_KIND_BLURRED = 6,
    /**
     * Face the camera.
     */
    KF_GUIDANCE_KIND_TURNED_TOO_FAR = 7,
    /**
     * Hold the head upright.
     */
    KF_GUIDANCE_KIND_TILTED = 8,
    /**
     * Come into the middle of the picture.
     */
    KF_GUIDANCE_KIND_PARTLY_OUTSIDE = 9,
    /**
     * Take off what covers the face.
     */
    KF_GUIDANCE_KIND_UNCLEAR = 10,
    /**
     * Hold still.
     */
    KF_GUIDANCE_KIND_HOLD_STILL = 11,
    /**
     * Look straight ahead.
     */
    KF_GUIDANCE_KIND_LOOK_STRAIGHT = 12,
    /**
     * Turn a little to the left of the picture.
     */
    KF_GUIDANCE_KIND_TURN_LEFT = 13,
    /**
     * Turn a little to the right of the picture.
     */
    KF_GUIDANCE_KIND_TURN_RIGHT = 14,
    /**
     * This is not the person of the shots before.
     */
    KF_GUIDANCE_KIND_SOMEBODY_ELSE = 15,
    /**
     * A shot was taken; more are wanted.
     */
    KF_GUIDANCE_KIND_TAKEN = 16,
    /**
     * All shots are there: commit.
     */
    KF_GUIDANCE_KIND_COMPLETE = 17,
    /**
     * The session ended without a result, for lack of time or of agreement: start again.
     */
    KF_GUIDANCE_KIND_FAILED = 18,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_guidance_kind kf_guidance_kind;
#else
typedef uint32_t kf_guidance_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What was seen in a frame.
 */
enum kf_seen
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * A stage failed: the frame was bad, the camera is lost, a call gave an error. Zero, so that what was never filled in
     * keeps the door shut.
     */
    KF_SEEN_FAILED = 0,
    /**
     * Nobody.
     */
    KF_SEEN_NOBODY = 1,
    /**
     * More than one face that could be meant.
     */
    KF_SEEN_SEVERAL = 2,
    /**
     * One face that is not good enough to compare.
     */
    KF_SEEN_POOR = 3,
    /**
     * One good face; `matches` say what the gallery knows of it.
     */
    KF_SEEN_FACE = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_seen kf_seen;
#else
typedef uint32_t kf_seen;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a presentation-attack check says of a face.
 */
enum kf_liveness
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * No check was made.
     */
    KF_LIVENESS_NOT_CHECKED = 0,
    /**
     * A live face.
     */
    KF_LIVENESS_REAL = 1,
    /**
     * A picture, a screen, a mask.
     */
    KF_LIVENESS_SPOOF = 2,
    /**
     * The check cannot tell.
     */
    KF_LIVENESS_UNSURE = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_liveness kf_liveness;
#else
typedef uint32_t kf_liveness;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What to do.
 */
enum kf_verdict
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Keep shut.
     */
    KF_VERDICT_DENY = 0,
    /**
     * Keep shut, and look at the next frame: somebody is being recognised.
     */
    KF_VERDICT_WAIT = 1,
    /**
     * Open for kf_decision.person. Given once for an attempt.
     */
    KF_VERDICT_ALLOW = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_verdict kf_verdict;
#else
typedef uint32_t kf_verdict;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What an installer asks for: a rate, never a cosine.
 */
enum kf_policy
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Verification: at most this share of comparisons with another person's template may match.
     */
    KF_POLICY_TARGET_FMR = 0,
    /**
     * Identification: at most this share of strangers' searches may return somebody, whatever the gallery's size.
     */
    KF_POLICY_TARGET_FPIR = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_policy kf_policy;
#else
typedef uint32_t kf_policy;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What an offered face led to.
 */
enum kf_progress
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The accept was not confident enough, or the person has the new template already.
     */
    KF_PROGRESS_IGNORED = 0,
    /**
     * Kept; more are wanted.
     */
    KF_PROGRESS_WANTED = 1,
    /**
     * The shot does not agree with those before it: the person starts again.
     */
    KF_PROGRESS_DISAGREED = 2,
    /**
     * The new template is stored.
     */
    KF_PROGRESS_ENROLLED = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_progress kf_progress;
#else
typedef uint32_t kf_progress;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Where a challenge stands; left and right as in the picture.
 */
enum kf_challenge_stage
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Ask the person to look straight into the camera.
     */
    KF_CHALLENGE_STAGE_LOOK_STRAIGHT = 0,
    /**
     * Ask to turn the head to the left of the picture.
     */
    KF_CHALLENGE_STAGE_TURN_LEFT = 1,
    /**
     * Ask to turn it to the right of the picture.
     */
    KF_CHALLENGE_STAGE_TURN_RIGHT = 2,
    /**
     * Ask to nod, up or down.
     */
    KF_CHALLENGE_STAGE_NOD = 3,
    /**
     * Ask to come closer.
     */
    KF_CHALLENGE_STAGE_COME_CLOSER = 4,
    /**
     * All was done.
     */
    KF_CHALLENGE_STAGE_PASSED = 5,
    /**
     * It is over: start another, with other actions.
     */
    KF_CHALLENGE_STAGE_FAILED = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_challenge_stage kf_challenge_stage;
#else
typedef uint32_t kf_challenge_stage;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Why a challenge failed.
 */
enum kf_challenge_failure
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * It has not failed.
     */
    KF_CHALLENGE_FAILURE_NONE = 0,
    /**
     * It took too long.
     */
    KF_CHALLENGE_FAILURE_TIMEOUT = 1,
    /**
     * The face was lost, or a second one came.
     */
    KF_CHALLENGE_FAILURE_FACE_LOST = 2,
    /**
     * The face jumped: another was put in its place.
     */
    KF_CHALLENGE_FAILURE_JUMPED = 3,
    /**
     * The face became somebody else's.
     */
    KF_CHALLENGE_FAILURE_SOMEBODY_ELSE = 4,
    /**
     * Another action than the one asked for.
     */
    KF_CHALLENGE_FAILURE_WRONG_ACTION = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_challenge_failure kf_challenge_failure;
#else
typedef uint32_t kf_challenge_failure;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Events beside decisions.
 */
enum kf_event
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Somebody was enrolled.
     */
    KF_EVENT_ENROLLED = 1,
    /**
     * Somebody was removed.
     */
    KF_EVENT_REMOVED = 2,
    /**
     * All were removed.
     */
    KF_EVENT_WIPED = 3,
    /**
     * An operator ended the lock-outs.
     */
    KF_EVENT_UNLOCKED = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_event kf_event;
#else
typedef uint32_t kf_event;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Texts of a pack.
 */
enum kf_pack_field
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Name for people.
     */
    KF_PACK_FIELD_NAME = 0,
    /**
     * Licence of the weights and what they may be used for.
     */
    KF_PACK_FIELD_LICENCE = 1,
    /**
     * Where the training data came from.
     */
    KF_PACK_FIELD_PROVENANCE = 2,
    /**
     * Lowest version of the library that runs it.
     */
    KF_PACK_FIELD_MIN_SDK = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_pack_field kf_pack_field;
#else
typedef uint32_t kf_pack_field;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What is wrong with a frame of the test card, as bits that never change their meaning.
 */
enum kf_fault
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Red and blue are swapped: RGB was taken for BGR.
     */
    KF_FAULT_RED_BLUE_SWAPPED = 1,
    /**
     * U and V are swapped: NV12 was taken for NV21.
     */
    KF_FAULT_UV_SWAPPED = 2,
    /**
     * Rows are read at the wrong distance: the stride is not the one of the buffer.
     */
    KF_FAULT_STRIDE_IGNORED = 4,
    /**
     * Mirrored left to right.
     */
    KF_FAULT_MIRRORED = 8,
    /**
     * Turned by a quarter, a half or three quarters.
     */
    KF_FAULT_ROTATED = 16,
    /**
     * Washed out: limited-range luma was taken for full range.
     */
    KF_FAULT_LIMITED_AS_FULL = 32,
    /**
     * Crushed: full-range luma was taken for limited range.
     */
    KF_FAULT_FULL_AS_LIMITED = 64,
    /**
     * This is not the card, or something else is wrong with it.
     */
    KF_FAULT_NOT_THE_CARD = 128,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_fault kf_fault;
#else
typedef uint32_t kf_fault;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How a source is.
 */
enum kf_camera_state
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * At its end, or not opened yet.
     */
    KF_CAMERA_STATE_CLOSED = 0,
    /**
     * Opened, format agreed; no frame so far.
     */
    KF_CAMERA_STATE_CONFIGURED = 1,
    /**
     * Frames come.
     */
    KF_CAMERA_STATE_STREAMING = 2,
    /**
     * Opened, but no frame came within the stall time; it is being restarted.
     */
    KF_CAMERA_STATE_STALLED = 3,
    /**
     * The camera, file or process is gone; it is being searched for.
     */
    KF_CAMERA_STATE_LOST = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_camera_state kf_camera_state;
#else
typedef uint32_t kf_camera_state;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What kf_camera_take came to.
 */
enum kf_camera_next
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * No frame within the time allowed; the source works on it, so ask again.
     */
    KF_CAMERA_NEXT_NOTHING = 0,
    /**
     * A frame is lent: give it back.
     */
    KF_CAMERA_NEXT_FRAME = 1,
    /**
     * The source has come to its end, which only files played once have.
     */
    KF_CAMERA_NEXT_END = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kf_camera_next kf_camera_next;
#else
typedef uint32_t kf_camera_next;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * An audit log: one JSON object a line, with a running number, the host's time, the event, the person's number and reasons.
 * No score, no name, no picture. A door that cannot write its log should stay shut: write an ALLOW, then open.
 */
typedef struct kf_audit kf_audit;

/**
 * A source of frames: a camera, files, a program's output. One thread at a time. Only in libraries whose
 * kf_build_info.features say KF_FEATURE_BOARDS.
 */
typedef struct kf_camera kf_camera;

/**
 * One challenge to one person. It stops what has no depth and no ears: a photograph held, moved, tilted. It does not stop
 * a video chosen to fit, a live deepfake or a mask that is worn.
 */
typedef struct kf_challenge kf_challenge;

/**
 * The state machine of one door. It starts at DENY, and every failure leads back there.
 */
typedef struct kf_decider kf_decider;

/**
 * The loaded networks of one pack: immutable, shared by all pipelines.
 */
typedef struct kf_engine kf_engine;

/**
 * One person's enrolment. It writes nothing before kf_enrolment_commit; freeing it leaves no trace.
 */
typedef struct kf_enrolment kf_enrolment;

/**
 * Enrolled people: the single writer of a gallery's file, or one of its many readers. If a sync fails nobody knows what is
 * on the disk: from then on changes answer KF_STATUS_POISONED, searches go on, and opening the gallery again settles it.
 */
typedef struct kf_gallery kf_gallery;

/**
 * The host's key: it opens a gallery. Wiped when freed.
 */
typedef struct kf_key kf_key;

/**
 * A change to a new model. Both models run for a while, each with an engine and a pipeline of its own: whoever is let in
 * under the old one with a wide margin lends the same face, described by the new one, to a new template. Shots live in
 * memory only and are wiped when freed; what is stored survives restarts.
 */
typedef struct kf_migration kf_migration;

/**
 * A verified model pack: one file with networks, manifest, calibration and golden vectors.
 */
typedef struct kf_pack kf_pack;

/**
 * A passive check: your own ONNX classifier of face crops. Keyface ships no such model and claims nothing for one;
 * `keyface pad-report` measures yours. Only in libraries whose kf_build_info.features say KF_FEATURE_ONNX.
 */
typedef struct kf_passive kf_passive;

/**
 * The steps from frame to template with their buffers. One thread at a time; make one per camera.
 */
typedef struct kf_pipeline kf_pipeline;

/**
 * An embedding of one face, or of several shots fused, bound to its model. Biometric data: wiped when freed.
 */
typedef struct kf_template kf_template;

/**
 * What this library is.
 */
typedef struct kf_build_info {
    /**
     * Major version of the library that runs; compare with KF_VERSION_MAJOR.
     */
    uint32_t version_major;
    /**
     * Minor version.
     */
    uint32_t version_minor;
    /**
     * Patch version.
     */
    uint32_t version_patch;
    /**
     * ABI number; equals KF_ABI_VERSION of a header that fits.
     */
    uint32_t abi_version;
    /**
     * Version of alignment and pixel sampling. Templates made under another one do not match.
     */
    uint32_t preprocessing_version;
    /**
     * Bits of kf_feature.
     */
    uint32_t features;
} kf_build_info;

/**
 * Receives one message: its kf_log_level, `length` bytes of UTF-8 (not NUL-terminated, valid during the call only), and
 * what was given to kf_set_log. It may be called from any thread that uses the library, from several at once, and from
 * threads of the library's own. It must not call kf_set_log, throw or longjmp. Messages never hold biometric data.
 */
typedef void (*kf_log_callback)(uint32_t level, const char *message, size_t length, void *userdata);

/**
 * Bytes of one plane.
 */
typedef struct kf_plane {
    /**
     * First byte of the first row. The caller's; read only during the call.
     */
    const uint8_t *data;
    /**
     * Bytes that may be read from there.
     */
    size_t length;
    /**
     * Bytes from the start of a row to the start of the next.
     */
    size_t stride;
} kf_plane;

/**
 * A camera picture, lent for the length of a call. Nothing is copied.
 */
typedef struct kf_frame {
    /**
     * sizeof(kf_frame).
     */
    uint32_t struct_size;
    /**
     * A kf_pixel_format.
     */
    uint32_t format;
    /**
     * Width as stored, in pixels, 1..=16384.
     */
    uint32_t width;
    /**
     * Height as stored, in pixels, 1..=16384.
     */
    uint32_t height;
    /**
     * A kf_rotation.
     */
    uint32_t rotation;
    /**
     * 1 if the picture, once turned, is mirrored left to right; otherwise 0.
     */
    uint32_t mirrored;
    /**
     * A kf_range.
     */
    uint32_t range;
    /**
     * Planes in use: as many as the format has, or 1 for planes that follow each other in one buffer, as V4L2's
     * single-planar formats lay them.
     */
    uint32_t plane_count;
    /**
     * The planes; unused ones are ignored.
     */
    struct kf_plane planes[3];
    /**
     * Time of capture in microseconds of a clock that never goes back.
     */
    uint64_t timestamp_us;
} kf_frame;

/**
 * Where a view stops being good. All limits are inclusive.
 */
typedef struct kf_quality_limits {
    /**
     * Smallest distance between the eyes in pixels.
     */
    float min_eye_distance;
    /**
     * Darkest mean luma of the face, 0..=255.
     */
    float min_mean;
    /**
     * Brightest mean luma of the face, 0..=255.
     */
    float max_mean;
    /**
     * Largest share of the face clipped to black, 0..=1.
     */
    float max_dark;
    /**
     * Largest share of the face clipped to white, 0..=1.
     */
    float max_bright;
    /**
     * Smallest standard deviation of the face's luma.
     */
    float min_deviation;
    /**
     * Smallest sharpness.
     */
    float min_sharpness;
    /**
     * Largest turn to either side in degrees.
     */
    float max_yaw;
    /**
     * Largest nod up or down in degrees.
     */
    float max_pitch;
    /**
     * Largest in-plane rotation to either side in degrees.
     */
    float max_roll;
    /**
     * Smallest landmark score, 0..=1.
     */
    float min_landmark_score;
    /**
     * Largest share of the face outside the frame, 0..=1.
     */
    float max_outside;
} kf_quality_limits;

/**
 * What a pack says of itself in figures.
 */
typedef struct kf_pack_info {
    /**
     * SHA-256 over the whole content.
     */
    uint8_t digest[32];
    /**
     * What templates of the pack's recogniser carry; all zero without one.
     */
    uint8_t model_id[32];
    /**
     * The ed25519 public key that signed the pack; all zero if `is_signed` is 0.
     */
    uint8_t signer[32];
    /**
     * Size of the file in bytes.
     */
    uint64_t bytes;
    /**
     * Impostor pairs behind the calibration table; 0 without one.
     */
    uint64_t impostor_pairs;
    /**
     * Whether the pack is signed.
     */
    uint32_t is_signed;
    /**
     * Whether it holds a recogniser.
     */
    uint32_t has_recogniser;
    /**
     * Whether it holds a landmark network.
     */
    uint32_t has_landmark;
    /**
     * Components of an embedding, 1..=512; 0 without a recogniser.
     */
    uint32_t dimension;
    /**
     * Golden vectors for the self-test.
     */
    uint32_t vectors;
    /**
     * Zero.
     */
    uint32_t reserved;
} kf_pack_info;

/**
 * How a pipeline works. Fill it by kf_pipeline_options_init.
 */
typedef struct kf_pipeline_options {
    /**
     * sizeof(kf_pipeline_options).
     */
    uint32_t struct_size;
    /**
     * Threads of both networks, the calling one included; lowered to the CPUs that the process may use. Default 1.
     */
    uint32_t threads;
    /**
     * Frames are sampled down for the detector so that their long side is at most this, 64..=1920. Default 320.
     */
    uint32_t long_side;
    /**
     * Lowest detection score, 0..=1; negative for the pack's own. Default -1.
     */
    float score_threshold;
    /**
     * What counts as good enough. Default: for recognition.
     */
    struct kf_quality_limits quality;
} kf_pipeline_options;

/**
 * Memory that a pack needs, in bytes: upper estimates of the heap. The pack's file is mapped and not counted.
 */
typedef struct kf_memory_estimate {
    /**
     * Of an engine.
     */
    uint64_t engine;
    /**
     * Of each pipeline, at its highest.
     */
    uint64_t pipeline;
} kf_memory_estimate;

/**
 * What an engine is.
 */
typedef struct kf_engine_info {
    /**
     * What its templates carry.
     */
    uint8_t model_id[32];
    /**
     * Components of an embedding, 1..=512.
     */
    uint32_t dimension;
    /**
     * The kf_cpu_level in use.
     */
    uint32_t cpu_level;
} kf_engine_info;

/**
 * A point in pixels of the upright frame; an integer is a pixel's centre.
 */
typedef struct kf_point {
    /**
     * To the right.
     */
    float x;
    /**
     * Down.
     */
    float y;
} kf_point;

/**
 * A face in the picture.
 */
typedef struct kf_face {
    /**
     * Left edge of the box in pixels of the upright frame; it may reach outside.
     */
    float x;
    /**
     * Top edge.
     */
    float y;
    /**
     * Width.
     */
    float width;
    /**
     * Height.
     */
    float height;
    /**
     * Left eye, right eye, nose, left and right mouth corner, as seen in the picture.
     */
    struct kf_point points[5];
    /**
     * Confidence, 0..1.
     */
    float score;
} kf_face;

/**
 * What was measured of a face. No pixels, no embedding: it may be logged.
 */
typedef struct kf_quality {
    /**
     * Bits of kf_quality_reason: what lies beyond the pipeline's limits; 0 where the view is good.
     */
    uint32_t reasons;
    /**
     * Distance between the eyes in pixels.
     */
    float eye_distance;
    /**
     * About 0 where blurred, above 1 for noise.
     */
    float sharpness;
    /**
     * Mean luma of the face, 0..=255.
     */
    float luma_mean;
    /**
     * Standard deviation of the face's luma.
     */
    float luma_deviation;
    /**
     * Share of the face clipped to black, 0..=1.
     */
    float luma_dark;
    /**
     * Share of the face clipped to white, 0..=1.
     */
    float luma_bright;
    /**
     * Turn to the side in degrees.
     */
    float yaw;
    /**
     * Nod in degrees.
     */
    float pitch;
    /**
     * In-plane rotation in degrees.
     */
    float roll;
    /**
     * Normalised mean error of the aligned points.
     */
    float nme;
    /**
     * 0..=1: the weight of this view where several are fused.
     */
    float landmark_score;
    /**
     * Share of the face outside the frame, 0..=1.
     */
    float outside;
} kf_quality;

/**
 * A gallery in figures.
 */
typedef struct kf_gallery_info {
    /**
     * Templates, of all models.
     */
    uint64_t templates;
    /**
     * People.
     */
    uint64_t people;
    /**
     * Grows with every change and never falls: save it where the file's thief cannot write, and hand it to
     * kf_gallery_open as `min_counter`.
     */
    uint64_t counter;
    /**
     * Bytes of an unfinished change that opening threw away; 0 for a reader.
     */
    uint64_t discarded;
    /**
     * 1 for the writer, 0 for a reader.
     */
    uint32_t is_writer;
    /**
     * Zero.
     */
    uint32_t reserved;
} kf_gallery_info;

/**
 * A person who is like the probe.
 */
typedef struct kf_match {
    /**
     * Number of the person.
     */
    uint64_t person;
    /**
     * Number of the template that is most alike.
     */
    uint64_t record;
    /**
     * Its score: the cosine, -1..=1.
     */
    float score;
    /**
     * Zero.
     */
    uint32_t reserved;
} kf_match;

/**
 * A person in a gallery.
 */
typedef struct kf_person {
    /**
     * Number: given once, never reused, never 0.
     */
    uint64_t id;
    /**
     * How many templates.
     */
    uint64_t templates;
    /**
     * Length of the name in bytes.
     */
    uint64_t name_length;
    /**
     * The name, UTF-8, filled up with zeros: the last byte is always zero, so it is a C string too.
     */
    uint8_t name[72];
} kf_person;

/**
 * A template as the gallery stores it, for the person who asks what is stored of them. Biometric data: wipe it after use.
 */
typedef struct kf_stored_template {
    /**
     * Number of the template.
     */
    uint64_t record;
    /**
     * Number of the person.
     */
    uint64_t person;
    /**
     * When it was enrolled, by the host's clock: milliseconds since 1970.
     */
    uint64_t at_ms;
    /**
     * The model that made it.
     */
    uint8_t model_id[32];
    /**
     * Components in use.
     */
    uint32_t dimension;
    /**
     * Zero.
     */
    uint32_t reserved;
    /**
     * The components, quantised: divided by their length they are the embedding. Unused ones are zero.
     */
    int8_t components[512];
} kf_stored_template;

/**
 * How to enrol. Fill it by kf_enrolment_rules_init. Times are microseconds.
 */
typedef struct kf_enrolment_rules {
    /**
     * sizeof(kf_enrolment_rules).
     */
    uint32_t struct_size;
    /**
     * Shots to collect, 1..=8: straight, left, right, and so on in turn. Default 5.
     */
    uint32_t shots;
    /**
     * Shortest time between two shots. Default 0.4 s.
     */
    uint64_t interval_us;
    /**
     * After this long without the wanted view any other good view will do. Default 4 s.
     */
    uint64_t patience_us;
    /**
     * The session ends without a result after this long. Default 60 s.
     */
    uint64_t timeout_us;
    /**
     * Shots of one person are at least so alike: the operating point.
     */
    float agree;
    /**
     * A person who scores so high against somebody enrolled is refused: the operating point too.
     */
    float duplicate;
    /**
     * What a good view is. Default: the limits for enrolment.
     */
    struct kf_quality_limits quality;
} kf_enrolment_rules;

/**
 * What to tell the person, and how far the enrolment is.
 */
typedef struct kf_guidance {
    /**
     * A kf_guidance_kind.
     */
    uint32_t kind;
    /**
     * Shots taken so far.
     */
    uint32_t taken;
} kf_guidance;

/**
 * What a door's operator decides. Fill it by kf_rules_init. Times are microseconds.
 */
typedef struct kf_rules {
    /**
     * sizeof(kf_rules).
     */
    uint32_t struct_size;
    /**
     * Score from which on a comparison counts, from kf_pack_get_threshold.
     */
    float threshold;
    /**
     * How far the best person must lie above the second, in score. Default 0.05.
     */
    float margin;
    /**
     * Good frames that must agree, 1..=16. Default 3.
     */
    uint32_t votes;
    /**
     * Good frames that match nobody before an attempt has failed, 1..=16. Default 5.
     */
    uint32_t misses;
    /**
     * Failed attempts of one person before that person is locked out; 0 for never. Default 5.
     */
    uint32_t person_failures;
    /**
     * Failed attempts of anybody before the door is locked; 0 for never. Default 10.
     */
    uint32_t door_failures;
    /**
     * 1 if "unsure" and "not checked" are not enough, otherwise 0. Default 0.
     */
    uint32_t need_liveness;
    /**
     * Within which time the votes must come. Default 2 s.
     */
    uint64_t window_us;
    /**
     * How long a person who was allowed in is not allowed again. Default 5 s.
     */
    uint64_t cooldown_us;
    /**
     * Length of the first lock-out; each further one is twice as long. Default 30 s.
     */
    uint64_t lockout_us;
    /**
     * Length that lock-outs do not exceed. Default 1 h.
     */
    uint64_t longest_lockout_us;
    /**
     * Failures are forgotten after this long without another. Default 15 min.
     */
    uint64_t forget_us;
} kf_rules;

/**
 * One frame, as the decider sees it. Zero it, then fill in what is known.
 */
typedef struct kf_observation {
    /**
     * sizeof(kf_observation).
     */
    uint32_t struct_size;
    /**
     * A kf_seen.
     */
    uint32_t seen;
    /**
     * A kf_liveness.
     */
    uint32_t liveness;
    /**
     * How many matches, 0..=16.
     */
    uint32_t match_count;
    /**
     * The frame's timestamp in microseconds, of a clock that never runs backwards.
     */
    uint64_t time_us;
    /**
     * Number of the person whom a badge or a PIN claims this to be; 0 for none.
     */
    uint64_t claim;
    /**
     * What kf_gallery_search gave; two are enough. The caller's, read during the call. NULL if there are none.
     */
    const struct kf_match *matches;
} kf_observation;

/**
 * The schedule: whether a person may pass at a frame's time, 1 or 0; asked just before an ALLOW, on the calling thread.
 * It must not use the same decider, throw or longjmp.
 */
typedef uint32_t (*kf_permitted_callback)(uint64_t person, uint64_t time_us, void *userdata);

/**
 * A verdict and why.
 */
typedef struct kf_decision {
    /**
     * A kf_verdict. Anything but KF_VERDICT_ALLOW keeps the door shut.
     */
    uint32_t verdict;
    /**
     * Bits of kf_decision_reason; 0 for ALLOW.
     */
    uint32_t reasons;
    /**
     * Who may pass; 0 unless the verdict is ALLOW.
     */
    uint64_t person;
} kf_decision;

/**
 * How strict a challenge is. Fill it by kf_challenge_rules_init.
 */
typedef struct kf_challenge_rules {
    /**
     * sizeof(kf_challenge_rules).
     */
    uint32_t struct_size;
    /**
     * Number of actions, 1..=8. Default 3: one of 36 orders.
     */
    uint32_t actions;
    /**
     * Time for each, in microseconds. Default 5 s.
     */
    uint64_t timeout_us;
    /**
     * Every frame is at least so alike to the first: below the operating point, since heads turn.
     */
    float identity;
    /**
     * Zero.
     */
    uint32_t reserved;
} kf_challenge_rules;

/**
 * Where a challenge stands.
 */
typedef struct kf_challenge_state {
    /**
     * A kf_challenge_stage. Only KF_CHALLENGE_STAGE_PASSED is KF_LIVENESS_REAL for the decider.
     */
    uint32_t stage;
    /**
     * A kf_challenge_failure.
     */
    uint32_t failure;
} kf_challenge_state;

/**
 * How a passive model is fed and read. Fill it by kf_passive_rules_init.
 */
typedef struct kf_passive_rules {
    /**
     * sizeof(kf_passive_rules).
     */
    uint32_t struct_size;
    /**
     * Side of the model's square input in pixels, 16..=512; planar RGB, -1..1. Default 80.
     */
    uint32_t side;
    /**
     * The crop is a square around the face's box, this many times its longer side, 0.5..=4. Default 1.5.
     */
    float expand;
    /**
     * Which of the model's outputs stands for a live face, from 0; all outputs are logits of one softmax. Default 1.
     */
    uint32_t real_class;
    /**
     * From this probability of a live face on the answer is KF_LIVENESS_REAL. Default 0.8.
     */
    float real_from;
    /**
     * Up to this one it is KF_LIVENESS_SPOOF; between the two KF_LIVENESS_UNSURE. Default 0.2.
     */
    float spoof_to;
} kf_passive_rules;

/**
 * Takes one line, `length` bytes of UTF-8 that end with a newline, valid during the call only. 1 if it is kept safely, 0 if
 * not. It must not use the same log, throw or longjmp.
 */
typedef uint32_t (*kf_audit_callback)(const char *line, size_t length, void *userdata);

/**
 * How frames are wanted. Fill it by kf_camera_settings_init; what is not named here has the defaults of `keyface-boards`.
 */
typedef struct kf_camera_settings {
    /**
     * sizeof(kf_camera_settings).
     */
    uint32_t struct_size;
    /**
     * Width in pixels; a camera that lacks this size gives its nearest. Default 640.
     */
    uint32_t width;
    /**
     * Height in pixels. Default 480.
     */
    uint32_t height;
    /**
     * Frames per second, 1..=240. Default 15.
     */
    uint32_t fps;
    /**
     * A kf_rotation: what makes the camera's pictures upright.
     */
    uint32_t rotation;
    /**
     * 1 if pictures are mirrored left to right after that, otherwise 0.
     */
    uint32_t mirrored;
    /**
     * 1 for files that come as fast as they are asked for, stamped by their number: for tests. Default 0.
     */
    uint32_t virtual_time;
    /**
     * Zero.
     */
    uint32_t reserved;
} kf_camera_settings;

/**
 * What a source has met since it was opened.
 */
typedef struct kf_camera_health {
    /**
     * Frames lent.
     */
    uint64_t frames;
    /**
     * Frames refused: damaged, cut short, or marked so by the driver.
     */
    uint64_t damaged;
    /**
     * Sound frames passed over because a newer one was there.
     */
    uint64_t skipped;
    /**
     * Times that no frame came within the stall time.
     */
    uint64_t stalls;
    /**
     * Times that streaming was stopped and started again.
     */
    uint64_t restarts;
    /**
     * Times that the camera, file or process was lost.
     */
    uint64_t losses;
    /**
     * A kf_camera_state.
     */
    uint32_t state;
    /**
     * Zero.
     */
    uint32_t reserved;
} kf_camera_health;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Says which library runs.
 *
 * - Ownership: `info` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_get_build_info(struct kf_build_info *info);

/**
 * The best CPU level here, or the one that the environment variable KEYFACE_CPU lowers it to.
 *
 * - Ownership: `level` is the caller's; it becomes a kf_cpu_level.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: may allocate a little to read the environment.
 * - Blocks: no.
 * - Status: KF_STATUS_UNSUPPORTED_CPU.
 */
kf_status kf_get_cpu_level(uint32_t *level);

/**
 * The name of a CPU level, such as `neon`, as KEYFACE_CPU takes it.
 *
 * - Ownership: the result lives for ever and ends with a NUL; do not free it.
 * - NULL: the result is never NULL; an unknown number gives `unknown`.
 * - Threads: any.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: none.
 */
const char *kf_cpu_level_name(uint32_t level);

/**
 * A status in a few English words.
 *
 * - Ownership: the result lives for ever and ends with a NUL; do not free it.
 * - NULL: the result is never NULL; an unknown number gives `unknown status`.
 * - Threads: any.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: none.
 */
const char *kf_status_text(int32_t status);

/**
 * Sends messages of `level` (a kf_log_level) and graver ones to `callback`, in place of the one before. Until the first
 * call the library is silent; it never prints.
 *
 * - Ownership: `userdata` stays the caller's and is handed to `callback`; on return the callback before is not running
 *   and will not be called again.
 * - NULL: `callback` NULL, or level KF_LOG_LEVEL_OFF, turns the log off; `userdata` may be NULL.
 * - Threads: any, but not from inside the callback. One log for the whole process.
 * - Memory: allocates nothing; each message that is sent allocates its text.
 * - Blocks: until callbacks that run on other threads return.
 * - Status: no other.
 */
kf_status kf_set_log(uint32_t level,
                     kf_log_callback callback,
                     void *userdata);

/**
 * Fills a frame for one buffer: upright, not mirrored, usual range, time 0. `stride` is the first plane's; planes follow
 * each other in the buffer. Checks nothing yet.
 *
 * - Ownership: `frame` is the caller's and keeps `data`, which must outlive its use.
 * - NULL: `frame` may not be NULL; `data` is checked when the frame is used.
 * - Threads: any.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_frame_init(uint32_t format,
                        uint32_t width,
                        uint32_t height,
                        size_t stride,
                        const uint8_t *data,
                        size_t length,
                        struct kf_frame *frame);

/**
 * Whether a frame is sound: what every function that takes one checks first.
 *
 * - Ownership: `frame` and its planes are the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates nothing; reads no pixel.
 * - Blocks: no.
 * - Status: KF_STATUS_INVALID_FRAME.
 */
kf_status kf_frame_check(const struct kf_frame *frame);

/**
 * The limits for recognition at a door.
 *
 * - Ownership: `limits` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_quality_limits_for_recognition(struct kf_quality_limits *limits);

/**
 * The stricter limits for enrolment, where a person can be asked for a better view.
 *
 * - Ownership: `limits` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_quality_limits_for_enrolment(struct kf_quality_limits *limits);

/**
 * Maps the file at `path` and verifies digest, signature and structure. The file must not be changed while any handle
 * made from it lives: replace packs by renaming a new file over the old one.
 *
 * - Ownership: the caller frees `*pack` by kf_pack_free; `path` and `key` are read during the call.
 * - NULL: `key`, 32 bytes of an ed25519 public key that must have signed the pack, may be NULL for "anyone, or nobody".
 * - Threads: any.
 * - Memory: allocates the handle and a table of sections; the file is mapped.
 * - Blocks: reads the whole file once.
 * - Status: KF_STATUS_IO, KF_STATUS_DAMAGED_PACK, KF_STATUS_UNSUPPORTED_PACK, KF_STATUS_BAD_SIGNATURE.
 */
kf_status kf_pack_open(const char *path,
                       size_t path_length,
                       const uint8_t *key,
                       struct kf_pack **pack);

/**
 * As kf_pack_open, from memory: the bytes are copied.
 *
 * - Ownership: the caller frees `*pack` by kf_pack_free; `bytes` and `key` are read during the call.
 * - NULL: `key` may be NULL, see kf_pack_open.
 * - Threads: any.
 * - Memory: allocates the handle, a table of sections and a copy of the bytes.
 * - Blocks: no.
 * - Status: KF_STATUS_DAMAGED_PACK, KF_STATUS_UNSUPPORTED_PACK, KF_STATUS_BAD_SIGNATURE.
 */
kf_status kf_pack_from_memory(const uint8_t *bytes, size_t length, const uint8_t *key, struct kf_pack **pack);

/**
 * Frees a pack. Engines made from it go on.
 *
 * - Ownership: takes `pack`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: no.
 * - Status: none.
 */
void kf_pack_free(struct kf_pack *pack);

/**
 * What the pack says of itself in figures.
 *
 * - Ownership: `info` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: may allocate to read the calibration table; nothing stays allocated.
 * - Blocks: no.
 * - Status: KF_STATUS_DAMAGED_PACK if the calibration table is damaged.
 */
kf_status kf_pack_get_info(const struct kf_pack *pack, struct kf_pack_info *info);

/**
 * A text of the pack; `field` is a kf_pack_field. `count` becomes its length in bytes; no NUL is written.
 *
 * - Ownership: `buffer` is the caller's.
 * - NULL: `buffer` may be NULL if `capacity` is 0.
 * - Threads: any number at once.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: KF_STATUS_CAPACITY_EXCEEDED.
 */
kf_status kf_pack_get_text(const struct kf_pack *pack,
                           uint32_t field,
                           char *buffer,
                           size_t capacity,
                           size_t *count);

/**
 * The score from which on a comparison counts as a match, for a policy (a kf_policy) and a rate (0 < rate < 1), in a
 * gallery of `templates` templates. Ask again when the gallery has grown.
 *
 * - Ownership: `threshold` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates to read the calibration table; nothing stays allocated.
 * - Blocks: no.
 * - Status: KF_STATUS_UNSUPPORTED_RATE if the pack's data do not reach the rate, or it holds no calibration;
 *   KF_STATUS_DAMAGED_PACK.
 */
kf_status kf_pack_get_threshold(const struct kf_pack *pack,
                                uint32_t policy,
                                double rate,
                                size_t templates,
                                float *threshold);

/**
 * How much memory an engine on this pack and each pipeline with these options need, before either is made.
 *
 * - Ownership: all is the caller's.
 * - NULL: `options` may be NULL for the defaults.
 * - Threads: any number at once.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: KF_STATUS_UNSUPPORTED_PACK if the pack lacks a network.
 */
kf_status kf_pack_estimate_memory(const struct kf_pack *pack,
                                  const struct kf_pipeline_options *options,
                                  struct kf_memory_estimate *estimate);

/**
 * Loads the networks; weights stay in the mapped pack. `memory_limit`, in bytes, bounds the engine and all pipelines on
 * it together, by the figures of kf_pack_estimate_memory; 0 is no bound.
 *
 * - Ownership: the caller frees `*engine` by kf_engine_free; `pack` may be freed before it.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates.
 * - Blocks: reads the weights once.
 * - Status: KF_STATUS_UNSUPPORTED_PACK, KF_STATUS_DAMAGED_PACK, KF_STATUS_UNSUPPORTED_CPU, KF_STATUS_MEMORY_LIMIT.
 */
kf_status kf_engine_load(const struct kf_pack *pack,
                         uint64_t memory_limit,
                         struct kf_engine **engine);

/**
 * Frees an engine. Pipelines and templates made from it go on.
 *
 * - Ownership: takes `engine`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: no.
 * - Status: none.
 */
void kf_engine_free(struct kf_engine *engine);

/**
 * What the engine is.
 *
 * - Ownership: `info` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_engine_get_info(const struct kf_engine *engine, struct kf_engine_info *info);

/**
 * Runs the pack's golden vectors on this machine: `worst_cosine` becomes the lowest cosine between stored and computed
 * embeddings. Below 0.999 something is wrong with memory, CPU or pack: do not open doors.
 *
 * - Ownership: `worst_cosine` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates a pipeline's worth, frees it.
 * - Blocks: computes some embeddings: up to seconds on a slow core.
 * - Status: KF_STATUS_DAMAGED_PACK if the vectors are missing or misshapen.
 */
kf_status kf_engine_self_test(const struct kf_engine *engine,
                              float *worst_cosine);

/**
 * Makes an empty template for embeddings of `engine`: kf_pipeline_describe and others fill it, as often as you like.
 *
 * - Ownership: the caller frees `*result` by kf_template_free; `engine` may be freed before it.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_template_new(const struct kf_engine *engine,
                          struct kf_template **result);

/**
 * Wipes and frees a template.
 *
 * - Ownership: takes `value`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: no.
 * - Status: none.
 */
void kf_template_free(struct kf_template *value);

/**
 * A copy of a template.
 *
 * - Ownership: the caller frees `*result` by kf_template_free.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_template_copy(const struct kf_template *value, struct kf_template **result);

/**
 * Cosine of the angle between two templates, -1..=1.
 *
 * - Ownership: all is the caller's; `a` and `b` may be the same.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: KF_STATUS_MODEL_MISMATCH.
 */
kf_status kf_template_similarity(const struct kf_template *a, const struct kf_template *b, float *cosine);

/**
 * Fuses 1 to 64 shots of one person: the weighted sum of the unit vectors, brought back to unit length. The natural
 * weight is kf_quality.landmark_score.
 *
 * - Ownership: all is the caller's; `result`, from kf_template_new, is overwritten and may not be among the shots.
 * - NULL: nothing may be NULL.
 * - Threads: `result` needs to be yours alone.
 * - Memory: allocates the sum and frees it.
 * - Blocks: no.
 * - Status: KF_STATUS_MODEL_MISMATCH.
 */
kf_status kf_template_fuse(const struct kf_template *const *shots,
                           const float *weights,
                           size_t shot_count,
                           struct kf_template *result);

/**
 * Takes an embedding that was made elsewhere with the same model, such as by a server: `count` finite numbers of any
 * length but zero.
 *
 * - Ownership: all is the caller's; `result`, from kf_template_new, is overwritten.
 * - NULL: nothing may be NULL.
 * - Threads: `result` needs to be yours alone.
 * - Memory: may allocate.
 * - Blocks: no.
 * - Status: KF_STATUS_MODEL_MISMATCH if `count` is not the engine's dimension.
 */
kf_status kf_template_import(const float *values,
                             size_t count,
                             struct kf_template *result);

/**
 * The components of a template; their squares sum to one. Biometric data: do not log them, wipe them after use.
 *
 * - Ownership: `buffer` is the caller's.
 * - NULL: `buffer` may be NULL if `capacity` is 0.
 * - Threads: any number at once.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: KF_STATUS_CAPACITY_EXCEEDED.
 */
kf_status kf_template_export(const struct kf_template *value,
                             float *buffer,
                             size_t capacity,
                             size_t *count);

/**
 * Fills in the defaults.
 *
 * - Ownership: `options` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_pipeline_options_init(struct kf_pipeline_options *options);

/**
 * Makes a pipeline.
 *
 * - Ownership: the caller frees `*pipeline` by kf_pipeline_free; `engine` may be freed before it.
 * - NULL: `options` may be NULL for the defaults.
 * - Threads: any number at once.
 * - Memory: allocates buffers and starts `threads - 1` threads.
 * - Blocks: plans the networks: up to a second on a slow core.
 * - Status: KF_STATUS_UNSUPPORTED_PACK, KF_STATUS_MEMORY_LIMIT, KF_STATUS_IO if the system refuses a thread.
 */
kf_status kf_pipeline_new(const struct kf_engine *engine,
                          const struct kf_pipeline_options *options,
                          struct kf_pipeline **pipeline);

/**
 * Frees a pipeline and ends its threads.
 *
 * - Ownership: takes `pipeline`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: waits for its threads, which are idle.
 * - Status: none.
 */
void kf_pipeline_free(struct kf_pipeline *pipeline);

/**
 * Finds all faces of a frame, best first. No face is a count of 0. `capacity` must not be 0; KF_MAX_FACES fits all, and
 * of more faces than fit the best are given.
 *
 * - Ownership: `frame` is lent for the call; `faces` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: the pipeline needs to be yours alone.
 * - Memory: once warm, allocates only inside the network engine, the same at every frame.
 * - Blocks: computes: milliseconds to tens of milliseconds.
 * - Status: KF_STATUS_INVALID_FRAME.
 */
kf_status kf_pipeline_detect(struct kf_pipeline *pipeline,
                             const struct kf_frame *frame,
                             struct kf_face *faces,
                             size_t capacity,
                             size_t *count);

/**
 * Aligns, judges and embeds one face of a frame. `described` becomes 1, or 0 if the points do not form a face: then
 * `embedding` and `quality` stay as they are.
 *
 * - Ownership: `frame` is lent for the call; `embedding`, from kf_template_new, is overwritten; all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: pipeline and template need to be yours alone.
 * - Memory: once warm, allocates only inside the network engine, the same at every frame.
 * - Blocks: computes one embedding: tens of milliseconds to a second, by model and core.
 * - Status: KF_STATUS_INVALID_FRAME, KF_STATUS_MODEL_MISMATCH if the template is another model's.
 */
kf_status kf_pipeline_describe(struct kf_pipeline *pipeline,
                               const struct kf_frame *frame,
                               const struct kf_face *face,
                               struct kf_template *embedding,
                               struct kf_quality *quality,
                               uint32_t *described);

/**
 * Embeds a picture that is aligned already: a frame of 112x112 pixels. `points` are its five points in pixels.
 *
 * - Ownership: `frame` is lent for the call; `embedding`, from kf_template_new, is overwritten; all is the caller's.
 * - NULL: `points`, five of them, may be NULL for those of the alignment template.
 * - Threads: pipeline and template need to be yours alone.
 * - Memory: allocates the embedding.
 * - Blocks: computes one embedding.
 * - Status: KF_STATUS_INVALID_FRAME, KF_STATUS_MODEL_MISMATCH.
 */
kf_status kf_pipeline_embed_aligned(struct kf_pipeline *pipeline,
                                    const struct kf_frame *frame,
                                    const struct kf_point *points,
                                    struct kf_template *embedding);

/**
 * Takes a key of 32 random bytes, from a secure element or a TPM. Wipe your copy.
 *
 * - Ownership: the caller frees `*key` by kf_key_free; `bytes` is read during the call.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates.
 * - Blocks: no.
 * - Status: no other. `length` must be 32.
 */
kf_status kf_key_from_bytes(const uint8_t *bytes, size_t length, struct kf_key **key);

/**
 * Reads a key file: 32 bytes that nobody but this process's user may read or write.
 *
 * - Ownership: the caller frees `*key` by kf_key_free.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates.
 * - Blocks: reads a file.
 * - Status: KF_STATUS_IO; KF_STATUS_INVALID_ARGUMENT also for a file of the wrong size or mode.
 */
kf_status kf_key_from_file(const char *path, size_t path_length, struct kf_key **key);

/**
 * Makes a random key and a new key file of mode 0600 with it, durable on return. An old file is never overwritten.
 *
 * - Ownership: the caller frees `*key` by kf_key_free.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates.
 * - Blocks: writes and syncs a file.
 * - Status: KF_STATUS_IO, also if the file exists.
 */
kf_status kf_key_create_file(const char *path,
                             size_t path_length,
                             struct kf_key **key);

/**
 * Wipes and frees a key. Galleries that it opened keep a copy of their own.
 *
 * - Ownership: takes `key`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: no.
 * - Status: none.
 */
void kf_key_free(struct kf_key *key);

/**
 * Opens the gallery at `path` as its single writer, and makes it if there is none. At most `capacity` templates
 * (1..=100,000; 0 for 10,000): memory is reserved for that many. `min_counter` is the counter that the host saved after
 * its last change, 0 for none; an older file is refused.
 *
 * - Ownership: the caller frees `*gallery` by kf_gallery_free; `key` may be freed before it.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates some 28 bytes and a row of `dimension` bytes per template of `capacity`.
 * - Blocks: reads the whole file, syncs it.
 * - Status: KF_STATUS_LOCKED, KF_STATUS_WRONG_KEY, KF_STATUS_DAMAGED_GALLERY, KF_STATUS_ROLLED_BACK,
 *   KF_STATUS_CAPACITY_EXCEEDED, KF_STATUS_IO, KF_STATUS_UNSUPPORTED_CPU.
 */
kf_status kf_gallery_open(const char *path,
                          size_t path_length,
                          const struct kf_key *key,
                          size_t capacity,
                          uint64_t min_counter,
                          struct kf_gallery **gallery);

/**
 * Opens the gallery at `path` for reading, beside its writer: it shows the last change of the moment it was opened or
 * refreshed. Otherwise as kf_gallery_open.
 *
 * - Ownership: the caller frees `*gallery` by kf_gallery_free; `key` may be freed before it.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: as kf_gallery_open.
 * - Blocks: reads the whole file.
 * - Status: KF_STATUS_NOT_FOUND if there is none; otherwise as kf_gallery_open.
 */
kf_status kf_gallery_open_reader(const char *path,
                                 size_t path_length,
                                 const struct kf_key *key,
                                 size_t capacity,
                                 uint64_t min_counter,
                                 struct kf_gallery **gallery);

/**
 * Closes and frees a gallery; templates in memory are wiped.
 *
 * - Ownership: takes `gallery`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: no: every change was durable when its call returned.
 * - Status: none.
 */
void kf_gallery_free(struct kf_gallery *gallery);

/**
 * Reads a reader's file again; `changed` becomes 1 if anything did, otherwise 0. On failure the old view stays.
 *
 * - Ownership: all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: the gallery needs to be yours alone.
 * - Memory: allocates a second view for the time of the call.
 * - Blocks: reads the whole file.
 * - Status: as kf_gallery_open_reader; KF_STATUS_INVALID_ARGUMENT for the writer.
 */
kf_status kf_gallery_refresh(struct kf_gallery *gallery,
                             uint32_t *changed);

/**
 * The gallery in figures.
 *
 * - Ownership: `info` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates a list of people, frees it.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_gallery_get_info(const struct kf_gallery *gallery, struct kf_gallery_info *info);

/**
 * The model that people are enrolled under: 32 bytes, as kf_engine_info.model_id. During a change of model, the new one.
 *
 * - Ownership: `model_id`, 32 bytes, is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: KF_STATUS_NOT_FOUND before the first enrolment.
 */
kf_status kf_gallery_get_model(const struct kf_gallery *gallery,
                               uint8_t *model_id);

/**
 * The people most alike to `probe`, each with the best of their templates, most alike first. Nobody is a count of 0.
 * `capacity`, 1 to KF_MAX_MATCHES (2 are enough for a decision), is how many are wanted; fewer are given if fewer are
 * enrolled.
 *
 * - Ownership: `matches` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates nothing.
 * - Blocks: compares every template: some microseconds per thousand.
 * - Status: KF_STATUS_MODEL_MISMATCH if there are templates, but none of the probe's model.
 */
kf_status kf_gallery_search(const struct kf_gallery *gallery,
                            const struct kf_template *probe,
                            struct kf_match *matches,
                            size_t capacity,
                            size_t *count);

/**
 * Adds templates (1 to 32) of a person, new or known, in one durable step. `at_ms`, milliseconds since 1970, is kept with
 * them. kf_enrolment guides a person to good ones.
 *
 * - Ownership: all is the caller's; `name` is 1 to 64 bytes without control characters.
 * - NULL: nothing may be NULL.
 * - Threads: the gallery needs to be yours alone.
 * - Memory: allocates.
 * - Blocks: writes and syncs the file.
 * - Status: KF_STATUS_MODEL_MISMATCH, KF_STATUS_CAPACITY_EXCEEDED, KF_STATUS_IO.
 */
kf_status kf_gallery_enrol(struct kf_gallery *gallery,
                           const char *name,
                           size_t name_length,
                           const struct kf_template *const *templates,
                           size_t template_count,
                           uint64_t at_ms,
                           uint64_t *person);

/**
 * Puts new templates (1 to 32) in place of all old ones of a person, of whatever model, in one durable step.
 *
 * - Ownership: as kf_gallery_enrol.
 * - NULL: nothing may be NULL.
 * - Threads: the gallery needs to be yours alone.
 * - Memory: allocates.
 * - Blocks: writes and syncs the file, may rewrite it.
 * - Status: as kf_gallery_enrol; KF_STATUS_NOT_FOUND if nobody has that name.
 */
kf_status kf_gallery_replace(struct kf_gallery *gallery,
                             const char *name,
                             size_t name_length,
                             const struct kf_template *const *templates,
                             size_t template_count,
                             uint64_t at_ms,
                             uint64_t *person);

/**
 * Removes a person; `removed` becomes the number of templates there were. The bytes stay in the file, encrypted, until
 * kf_gallery_compact.
 *
 * - Ownership: all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: the gallery needs to be yours alone.
 * - Memory: allocates.
 * - Blocks: writes and syncs the file, may rewrite it.
 * - Status: KF_STATUS_NOT_FOUND, KF_STATUS_IO.
 */
kf_status kf_gallery_remove(struct kf_gallery *gallery,
                            const char *name,
                            size_t name_length,
                            size_t *removed);

/**
 * Removes one template, by the number that kf_match.record gives, and the person with the last one.
 *
 * - Ownership: all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: the gallery needs to be yours alone.
 * - Memory: allocates.
 * - Blocks: writes and syncs the file, may rewrite it.
 * - Status: KF_STATUS_NOT_FOUND, KF_STATUS_IO.
 */
kf_status kf_gallery_remove_record(struct kf_gallery *gallery, uint64_t record);

/**
 * Writes the file anew without what was removed, under a fresh data key, and from now on under `key`.
 *
 * - Ownership: all is the caller's.
 * - NULL: `key` may be NULL to keep the host's key.
 * - Threads: the gallery needs to be yours alone.
 * - Memory: allocates.
 * - Blocks: writes and syncs a whole file.
 * - Status: KF_STATUS_IO: the old file and key stay in use then.
 */
kf_status kf_gallery_compact(struct kf_gallery *gallery, const struct kf_key *key);

/**
 * Forgets everybody: destroys the data key, overwrites the file, starts an empty one. Change the host's key too.
 *
 * - Ownership: all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: the gallery needs to be yours alone.
 * - Memory: allocates.
 * - Blocks: overwrites and syncs the file.
 * - Status: KF_STATUS_IO: opening the gallery again completes the wipe if it had begun.
 */
kf_status kf_gallery_wipe(struct kf_gallery *gallery);

/**
 * The people from place `first` on, in order of enrolment: `capacity` of them at most.
 *
 * - Ownership: `people` is the caller's.
 * - NULL: `people` may be NULL if `capacity` is 0.
 * - Threads: any number at once.
 * - Memory: allocates a list of people, frees it.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_gallery_get_people(const struct kf_gallery *gallery,
                                size_t first,
                                struct kf_person *people,
                                size_t capacity,
                                size_t *count);

/**
 * The person of a number, as kf_match and kf_decision give it.
 *
 * - Ownership: `result` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates a list of people, frees it.
 * - Blocks: no.
 * - Status: KF_STATUS_NOT_FOUND.
 */
kf_status kf_gallery_get_person(const struct kf_gallery *gallery, uint64_t person, struct kf_person *result);

/**
 * The person of a name.
 *
 * - Ownership: `result` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates a list of people, frees it.
 * - Blocks: no.
 * - Status: KF_STATUS_NOT_FOUND.
 */
kf_status kf_gallery_find(const struct kf_gallery *gallery,
                          const char *name,
                          size_t name_length,
                          struct kf_person *result);

/**
 * All that is stored of a person: `count` templates, in order of enrolment.
 *
 * - Ownership: `templates` is the caller's; it holds biometric data then: wipe it after use.
 * - NULL: `templates` may be NULL if `capacity` is 0.
 * - Threads: any number at once.
 * - Memory: allocates a copy, wipes and frees it.
 * - Blocks: no.
 * - Status: KF_STATUS_NOT_FOUND, KF_STATUS_CAPACITY_EXCEEDED.
 */
kf_status kf_gallery_export(const struct kf_gallery *gallery,
                            const char *name,
                            size_t name_length,
                            struct kf_stored_template *templates,
                            size_t capacity,
                            size_t *count);

/**
 * Fills in the defaults for an operating point: the threshold from kf_pack_get_threshold.
 *
 * - Ownership: `rules` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_enrolment_rules_init(float threshold, struct kf_enrolment_rules *rules);

/**
 * Begins an enrolment.
 *
 * - Ownership: the caller frees `*enrolment` by kf_enrolment_free.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_enrolment_new(const struct kf_enrolment_rules *rules, struct kf_enrolment **enrolment);

/**
 * Ends an enrolment; what was collected is wiped.
 *
 * - Ownership: takes `enrolment`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: no.
 * - Status: none.
 */
void kf_enrolment_free(struct kf_enrolment *enrolment);

/**
 * Takes one frame of time `time_us`: what it showed (a kf_view) and, for KF_VIEW_FACE, what kf_pipeline_describe said.
 * A frame that is not later than the one before is ignored.
 *
 * - Ownership: all is the caller's.
 * - NULL: `face`, `quality` and `embedding` may be NULL unless the view is KF_VIEW_FACE.
 * - Threads: the enrolment needs to be yours alone.
 * - Memory: allocates a template when a shot is taken.
 * - Blocks: no.
 * - Status: KF_STATUS_MODEL_MISMATCH.
 */
kf_status kf_enrolment_step(struct kf_enrolment *enrolment,
                            uint64_t time_us,
                            uint32_t view,
                            const struct kf_face *face,
                            const struct kf_quality *quality,
                            const struct kf_template *embedding,
                            struct kf_guidance *guidance);

/**
 * The shots fused by landmark score, without those that disagree with the rest: what kf_enrolment_commit would store. For a
 * host that keeps templates elsewhere, such as on a server.
 *
 * - Ownership: all is the caller's; `result`, from kf_template_new, is overwritten.
 * - NULL: nothing may be NULL.
 * - Threads: `result` needs to be yours alone.
 * - Memory: allocates the sum and frees it.
 * - Blocks: no.
 * - Status: KF_STATUS_INVALID_ARGUMENT also unless all shots are taken and most of them agree;
 *   KF_STATUS_MODEL_MISMATCH if `result` is another engine's.
 */
kf_status kf_enrolment_get_template(const struct kf_enrolment *enrolment,
                                    struct kf_template *result);

/**
 * Stores the person; with `replace` 1 in place of all that is stored of a person of that name, with 0 as a new one.
 * Whatever it comes to, the enrolment is over and its shots are wiped: start another.
 *
 * - Ownership: all is the caller's; `name` is 1 to 64 bytes without control characters.
 * - NULL: nothing may be NULL.
 * - Threads: enrolment and gallery need to be yours alone.
 * - Memory: allocates.
 * - Blocks: writes and syncs the gallery's file.
 * - Status: KF_STATUS_DUPLICATE if the name is taken, or the person is too alike to somebody enrolled;
 *   KF_STATUS_NOT_FOUND if nobody has the name and `replace` is 1; as kf_gallery_enrol.
 */
kf_status kf_enrolment_commit(struct kf_enrolment *enrolment,
                              struct kf_gallery *gallery,
                              const char *name,
                              size_t name_length,
                              uint64_t at_ms,
                              uint32_t replace,
                              uint64_t *person);

/**
 * Begins, or after a restart goes on with, a change to the model `new_model_id`, 32 bytes as kf_engine_info.model_id, under
 * which new people are enrolled from now on. `shots` (1 to 8) confident accepts enrol a person again. Confident: a score of
 * at least `confident` under the old model, well above its threshold. The shots must be alike by at least `agree`, the
 * threshold of the new model.
 *
 * - Ownership: the caller frees `*migration` by kf_migration_free, and hands the same gallery to every call.
 * - NULL: nothing may be NULL.
 * - Threads: the gallery needs to be yours alone.
 * - Memory: allocates.
 * - Blocks: writes and syncs the gallery's file.
 * - Status: KF_STATUS_INVALID_ARGUMENT also while templates of two other models are stored; KF_STATUS_IO.
 */
kf_status kf_migration_begin(struct kf_gallery *gallery,
                             const uint8_t *new_model_id,
                             uint32_t shots,
                             float confident,
                             float agree,
                             struct kf_migration **migration);

/**
 * Frees a migration and wipes the shots under way. What is stored stays: kf_migration_begin goes on with it.
 *
 * - Ownership: takes `migration`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: no.
 * - Status: none.
 */
void kf_migration_free(struct kf_migration *migration);

/**
 * Offers the face of a person who was just let in under the old model with `score` (kf_match.score): its embedding by the
 * new model's pipeline and its kf_quality.landmark_score. `progress` becomes a kf_progress, `wanted` the number of shots
 * that are still wanted of the person, 0 unless it is KF_PROGRESS_WANTED.
 *
 * - Ownership: all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: migration and gallery need to be yours alone.
 * - Memory: allocates a template for a shot that is kept; of 256 people at most at a time.
 * - Blocks: with the last shot writes and syncs the gallery's file.
 * - Status: KF_STATUS_MODEL_MISMATCH if the embedding is not the new model's; otherwise as kf_gallery_enrol.
 */
kf_status kf_migration_offer(struct kf_migration *migration,
                             struct kf_gallery *gallery,
                             uint64_t person,
                             float score,
                             const struct kf_template *embedding,
                             float landmark_score,
                             uint64_t at_ms,
                             uint32_t *progress,
                             uint32_t *wanted);

/**
 * How many people have no template of the new model yet.
 *
 * - Ownership: `people` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates a list of people, frees it.
 * - Blocks: no.
 * - Status: KF_STATUS_INVALID_ARGUMENT also for a reader of the gallery.
 */
kf_status kf_migration_remaining(const struct kf_migration *migration,
                                 const struct kf_gallery *gallery,
                                 size_t *people);

/**
 * Ends the change: the templates of `old_model_id`, 32 bytes, go, and with `abandon` 1 whoever was not enrolled again with
 * them. Then the file is written anew without them. Whatever it comes to, the migration is over, and begun anew by
 * kf_migration_begin: ask kf_migration_remaining first.
 *
 * - Ownership: all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: migration and gallery need to be yours alone.
 * - Memory: allocates.
 * - Blocks: writes and syncs a whole file.
 * - Status: KF_STATUS_INVALID_ARGUMENT also if people remain and `abandon` is 0, and for the model that people are enrolled
 *   under; KF_STATUS_IO.
 */
kf_status kf_migration_finish(struct kf_migration *migration,
                              struct kf_gallery *gallery,
                              const uint8_t *old_model_id,
                              uint32_t abandon);

/**
 * Fills in the defaults for a threshold from kf_pack_get_threshold.
 *
 * - Ownership: `rules` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_rules_init(float threshold, struct kf_rules *rules);

/**
 * Makes a door that is shut.
 *
 * - Ownership: the caller frees `*decider` by kf_decider_free.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_decider_new(const struct kf_rules *rules, struct kf_decider **decider);

/**
 * Frees a decider.
 *
 * - Ownership: takes `decider`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: no.
 * - Status: none.
 */
void kf_decider_free(struct kf_decider *decider);

/**
 * Takes one frame. On any status but KF_STATUS_OK keep the door shut.
 *
 * - Ownership: all is the caller's; `userdata` goes to `permitted`.
 * - NULL: `permitted` may be NULL for "always"; `userdata` may be NULL.
 * - Threads: the decider needs to be yours alone.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_decider_step(struct kf_decider *decider,
                          const struct kf_observation *observation,
                          kf_permitted_callback permitted,
                          void *userdata,
                          struct kf_decision *decision);

/**
 * Changes the threshold, as after a change of the gallery's size; votes so far are void.
 *
 * - Ownership: all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: the decider needs to be yours alone.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other; the old threshold stays then.
 */
kf_status kf_decider_set_threshold(struct kf_decider *decider, float threshold);

/**
 * When the lock-out at `time_us` ends, of a person's number or, for `person` 0, of the door: a frame's time, or 0 if there
 * is none.
 *
 * - Ownership: `until_us` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_decider_locked_until(const struct kf_decider *decider,
                                  uint64_t person,
                                  uint64_t time_us,
                                  uint64_t *until_us);

/**
 * Tells that the frames' clock starts anew at `time_us`. Lock-outs and cool-downs keep their remaining length, votes are
 * void.
 *
 * - Ownership: all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: the decider needs to be yours alone.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_decider_clock_restarted(struct kf_decider *decider,
                                     uint64_t time_us);

/**
 * Ends all lock-outs and forgets failures: for an operator who is present.
 *
 * - Ownership: all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: the decider needs to be yours alone.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_decider_unlock(struct kf_decider *decider);

/**
 * Fills in the defaults. `identity`, as in kf_challenge_rules, lies below the threshold from kf_pack_get_threshold.
 *
 * - Ownership: `rules` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_challenge_rules_init(float identity,
                                  struct kf_challenge_rules *rules);

/**
 * Makes a challenge whose actions follow from `seed`: take it from the system's random numbers (getrandom), anew each time,
 * not from a clock: whoever can guess it has a video that fits.
 *
 * - Ownership: the caller frees `*challenge` by kf_challenge_free.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_challenge_new(uint64_t seed,
                           const struct kf_challenge_rules *rules,
                           struct kf_challenge **challenge);

/**
 * Ends a challenge; the embedding of its first frame is wiped.
 *
 * - Ownership: takes `challenge`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: no.
 * - Status: none.
 */
void kf_challenge_free(struct kf_challenge *challenge);

/**
 * Takes one frame of time `time_us`: the one face in it and its embedding, or neither if there was none or more than one.
 * Frames come at most 0.7 s apart, from the first to the last.
 *
 * - Ownership: all is the caller's.
 * - NULL: `face` and `embedding` may both be NULL, which ends the challenge.
 * - Threads: the challenge needs to be yours alone.
 * - Memory: allocates a template when the straight look is complete.
 * - Blocks: no.
 * - Status: KF_STATUS_MODEL_MISMATCH: the challenge has failed then.
 */
kf_status kf_challenge_step(struct kf_challenge *challenge,
                            uint64_t time_us,
                            const struct kf_face *face,
                            const struct kf_template *embedding,
                            struct kf_challenge_state *state);

/**
 * Where a challenge stands.
 *
 * - Ownership: `state` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any number at once.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_challenge_get_state(const struct kf_challenge *challenge, struct kf_challenge_state *state);

/**
 * Fills in the defaults of `keyface pad-report`. What a model needs is in its own description.
 *
 * - Ownership: `rules` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_passive_rules_init(struct kf_passive_rules *rules);

/**
 * Loads the ONNX model in `bytes`.
 *
 * - Ownership: the caller frees `*passive` by kf_passive_free; `bytes` is read during the call.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates the model and its buffers.
 * - Blocks: reads and plans the model.
 * - Status: KF_STATUS_UNSUPPORTED_PACK if the model cannot be read or does not take the input, and in a library without
 *   KF_FEATURE_ONNX.
 */
kf_status kf_passive_new(const uint8_t *bytes,
                         size_t length,
                         const struct kf_passive_rules *rules,
                         struct kf_passive **passive);

/**
 * Frees a passive check.
 *
 * - Ownership: takes `passive`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: no.
 * - Status: none.
 */
void kf_passive_free(struct kf_passive *passive);

/**
 * Judges one face of a frame: `liveness` becomes KF_LIVENESS_REAL, KF_LIVENESS_SPOOF or KF_LIVENESS_UNSURE, for
 * kf_observation.liveness. What no crop can be made of is KF_LIVENESS_UNSURE.
 *
 * - Ownership: `frame` is lent for the call; all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: the check needs to be yours alone.
 * - Memory: allocates inside the network engine and frees it; the crop is wiped.
 * - Blocks: computes: as long as your model takes.
 * - Status: KF_STATUS_INVALID_FRAME; KF_STATUS_UNSUPPORTED_PACK if the model has no output `real_class`.
 */
kf_status kf_passive_check(struct kf_passive *passive,
                           const struct kf_frame *frame,
                           const struct kf_face *face,
                           uint32_t *liveness);

/**
 * Opens the log file at `path` to append to, and makes it if there is none; lines are numbered on from its last one.
 *
 * - Ownership: the caller frees `*audit` by kf_audit_free.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates.
 * - Blocks: reads the end of the file.
 * - Status: KF_STATUS_IO.
 */
kf_status kf_audit_open(const char *path,
                        size_t path_length,
                        struct kf_audit **audit);

/**
 * Makes a log whose lines go to `callback`, numbered from `first`: for a server, a journal, a signed file.
 *
 * - Ownership: the caller frees `*audit` by kf_audit_free; `userdata` goes to `callback` and must live as long as the log.
 * - NULL: `userdata` may be NULL.
 * - Threads: any; `callback` runs on the thread that writes.
 * - Memory: allocates.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_audit_new(kf_audit_callback callback,
                       void *userdata,
                       uint64_t first,
                       struct kf_audit **audit);

/**
 * Closes and frees a log.
 *
 * - Ownership: takes `audit`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: no.
 * - Status: none.
 */
void kf_audit_free(struct kf_audit *audit);

/**
 * Writes a decision. `written` becomes 1, or 0 for one that needs no line: WAIT, and a DENY that is the event before again,
 * so that an empty corridor fills no disk. `at_ms` is the host's clock, milliseconds since 1970.
 *
 * - Ownership: all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: the log needs to be yours alone.
 * - Memory: allocates the line, frees it.
 * - Blocks: writes to the file, without a sync, or runs the callback.
 * - Status: KF_STATUS_IO: keep the door shut if your rules ask for a record.
 */
kf_status kf_audit_write_decision(struct kf_audit *audit,
                                  uint64_t at_ms,
                                  const struct kf_decision *decided,
                                  uint32_t *written);

/**
 * Writes an `event`, a kf_event; `person` is who was enrolled or removed, otherwise 0. `written` becomes 1.
 *
 * - Ownership: all is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: the log needs to be yours alone.
 * - Memory: allocates the line, frees it.
 * - Blocks: as kf_audit_write_decision.
 * - Status: KF_STATUS_IO.
 */
kf_status kf_audit_write_event(struct kf_audit *audit,
                               uint64_t at_ms,
                               uint32_t event,
                               uint64_t person,
                               uint32_t *written);

/**
 * The reasons of a decision (kf_decision.reasons) in English words, such as `no match, door locked`: what the `keyface`
 * programs print. `count` becomes the length in bytes; no NUL is written. Nothing for 0.
 *
 * - Ownership: `buffer` is the caller's.
 * - NULL: `buffer` may be NULL if `capacity` is 0.
 * - Threads: any.
 * - Memory: allocates the text, frees it.
 * - Blocks: no.
 * - Status: KF_STATUS_CAPACITY_EXCEEDED; KF_STATUS_INVALID_ARGUMENT for a bit that has no meaning.
 */
kf_status kf_decision_reasons_text(uint32_t reasons,
                                   char *buffer,
                                   size_t capacity,
                                   size_t *count);

/**
 * The reasons of a poor view (kf_quality.reasons) in English words. Otherwise as kf_decision_reasons_text.
 *
 * - Ownership: `buffer` is the caller's.
 * - NULL: `buffer` may be NULL if `capacity` is 0.
 * - Threads: any.
 * - Memory: allocates the text, frees it.
 * - Blocks: no.
 * - Status: as kf_decision_reasons_text.
 */
kf_status kf_quality_reasons_text(uint32_t reasons, char *buffer, size_t capacity, size_t *count);

/**
 * The faults of a camera path (kf_selftest_frame) in English words. Otherwise as kf_decision_reasons_text.
 *
 * - Ownership: `buffer` is the caller's.
 * - NULL: `buffer` may be NULL if `capacity` is 0.
 * - Threads: any.
 * - Memory: allocates the text, frees it.
 * - Blocks: no.
 * - Status: as kf_decision_reasons_text.
 */
kf_status kf_faults_text(uint32_t faults, char *buffer, size_t capacity, size_t *count);

/**
 * The test card of `width` x `height` pixels (64..=16384 a side): 8-bit red, green, blue without padding. Feed it in place of
 * the sensor's picture, or film it filling the view.
 *
 * - Ownership: `rgb`, `capacity` bytes, is the caller's.
 * - NULL: `rgb` may be NULL if `capacity` is 0.
 * - Threads: any.
 * - Memory: allocates the picture, frees it.
 * - Blocks: no.
 * - Status: KF_STATUS_CAPACITY_EXCEEDED.
 */
kf_status kf_test_card(uint32_t width,
                       uint32_t height,
                       uint8_t *rgb,
                       size_t capacity,
                       size_t *count);

/**
 * Compares a frame, as your camera path hands it over, with the test card, and names what is wrong: `faults` becomes bits
 * of kf_fault, 0 if the card arrived as it should. Faults may combine.
 *
 * - Ownership: `frame` is lent for the call; `faults` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates some kilobytes, frees them.
 * - Blocks: some milliseconds.
 * - Status: KF_STATUS_INVALID_FRAME; KF_STATUS_INVALID_ARGUMENT for a side below 64.
 */
kf_status kf_selftest_frame(const struct kf_frame *frame,
                            uint32_t *faults);

/**
 * Fills in the defaults.
 *
 * - Ownership: `settings` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: any.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_camera_settings_init(struct kf_camera_settings *settings);

/**
 * Opens what `selection` names: `v4l2:..`, `file:PATH`, `dir:PATH`, `loop:PATH`, `pipe:COMMAND`.
 *
 * - Ownership: the caller frees `*camera` by kf_camera_free.
 * - NULL: `settings` may be NULL for the defaults.
 * - Threads: any.
 * - Memory: allocates; a camera's buffers are mapped.
 * - Blocks: opens the device.
 * - Status: KF_STATUS_IO, KF_STATUS_NOT_FOUND, KF_STATUS_INVALID_FRAME for a damaged picture. The log has the cause.
 */
kf_status kf_camera_open(const char *selection,
                         size_t selection_length,
                         const struct kf_camera_settings *settings,
                         struct kf_camera **camera);

/**
 * Closes and frees a source. A frame that is lent ends with it.
 *
 * - Ownership: takes `camera`.
 * - NULL: does nothing.
 * - Threads: any; no other call may use the handle then or later.
 * - Memory: frees.
 * - Blocks: closes the device, ends a program it started.
 * - Status: none.
 */
void kf_camera_free(struct kf_camera *camera);

/**
 * Waits at most `wait_ms` for the newest frame and lends it. `next` becomes a kf_camera_next; `frame` is written for
 * KF_CAMERA_NEXT_FRAME only. Until kf_camera_give_back the frame's planes stay as they are, and no other can be taken.
 *
 * - Ownership: the planes are the source's (for a camera, the driver's buffer); give them back.
 * - NULL: nothing may be NULL.
 * - Threads: the source needs to be yours alone. Any thread may read the frame while it is lent.
 * - Memory: after the first frame allocates nothing, except that files are read and decoded.
 * - Blocks: up to `wait_ms`.
 * - Status: KF_STATUS_INVALID_ARGUMENT while a frame is lent.
 */
kf_status kf_camera_take(struct kf_camera *camera,
                         uint32_t wait_ms,
                         struct kf_frame *frame,
                         uint32_t *next);

/**
 * Gives the lent frame back: its planes may not be read any more.
 *
 * - Ownership: the frame of the last kf_camera_take goes back to the source.
 * - NULL: nothing may be NULL.
 * - Threads: the source needs to be yours alone.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: KF_STATUS_INVALID_ARGUMENT if no frame is lent.
 */
kf_status kf_camera_give_back(struct kf_camera *camera);

/**
 * How the source is and what it has met.
 *
 * - Ownership: `health` is the caller's.
 * - NULL: nothing may be NULL.
 * - Threads: the source needs to be yours alone.
 * - Memory: allocates nothing.
 * - Blocks: no.
 * - Status: no other.
 */
kf_status kf_camera_get_health(struct kf_camera *camera, struct kf_camera_health *health);

/**
 * What the source is, for people: device or file, format, size. `count` becomes the length in bytes; no NUL is written.
 *
 * - Ownership: `buffer` is the caller's.
 * - NULL: `buffer` may be NULL if `capacity` is 0.
 * - Threads: the source needs to be yours alone.
 * - Memory: allocates the text, frees it.
 * - Blocks: no.
 * - Status: KF_STATUS_CAPACITY_EXCEEDED.
 */
kf_status kf_camera_describe(struct kf_camera *camera,
                             char *buffer,
                             size_t capacity,
                             size_t *count);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KEYFACE_H */
