//! Frames for [`keyface`] from cameras, pipes and files, and what is known of each board.
//!
//! | module | what |
//! |---|---|
//! | [`source`] | [`source::Source`]: one borrowed frame at a time, a state instead of errors, counters |
//! | [`selection`] | `v4l2:`, `pipe:`, `file:`, `dir:`, `loop:`: which source, as a string |
//! | [`settings`] | how frames are wanted: size, rate, formats, rotation, controls |
//! | [`v4l2`], [`y4m`], [`file`] | the sources |
//! | [`profile`], [`board`] | what is known of each board, and which one this is |
//! | [`selftest`] | is this camera fit for faces? |
//! | [`picture`] | JPEG and PNG files, checked before they are decoded |
//!
//! A file imports only from modules above it in this order: `sys`, `error`, `jpeg`, `scan`, `mjpeg`, `settings`, `clock`, `picture`, `source`, the sources,
//! `selection`, `profile`, `board`. Where a text names a source, the arrow turns back: [`source::Source::open`] goes through `selection`, and
//! `board:` there through `board`.
//!
//! Threads: a source belongs to one thread at a time and may move. [`y4m`] reads its pipe on a thread of its own; no other module starts one.
//! Nothing here keeps, logs or writes pixels.

pub mod board;
mod clock;
pub mod error;
#[cfg(any(test, feature = "testing"))]
pub mod fault;
pub mod file;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod gpio;
mod jpeg;
mod mjpeg;
#[cfg(any(test, feature = "testing"))]
pub mod pattern;
pub mod picture;
pub mod profile;
mod scan;
pub mod selection;
pub mod selftest;
pub mod settings;
pub mod source;
pub mod sys;
pub mod v4l2;
pub mod y4m;
