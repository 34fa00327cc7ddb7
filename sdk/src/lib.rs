//! Keyface: camera frame in, ALLOW / DENY / WAIT out.
//!
//! The crate is layered; a file imports only from layers below its own:
//!
//! | layer | modules | what |
//! |---|---|---|
//! | 0 | [`error`], [`geometry`] | plain values |
//! | 1 | [`frame`], [`kernel`] | borrowed pictures, SIMD kernels |
//! | 2 | [`pack`], [`sample`], [`template`], [`calibration`], [`memory`] | model file, pixel sampling, embeddings, rates, memory estimate |
//! | 3 | [`engine`] | networks on tract: the only module that names it |
//! | 4 | [`detect`], [`align`], [`quality`], [`embed`], [`liveness`], [`testcard`] | one step of the pipeline each; a check of the camera path |
//! | 5 | [`gallery`] | enrolled templates and search |
//! | 6 | [`pipeline`], [`enrol`], [`decide`] | frame to observation, observations to a decision |
//!
//! "No face", "poor quality" and "no match" are values, not errors.

pub mod align;
pub mod calibration;
pub mod decide;
pub mod detect;
pub mod embed;
pub mod engine;
pub mod enrol;
pub mod error;
pub mod frame;
pub mod gallery;
pub mod geometry;
pub mod kernel;
pub mod liveness;
pub mod memory;
pub mod pack;
pub mod pipeline;
pub mod quality;
pub mod sample;
pub mod template;
pub mod testcard;

pub use error::{Error, ErrorKind, Result};

/// Version of this SDK, `major.minor.patch`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Version of alignment and pixel sampling. Templates made under another version do not match.
pub const PREPROCESSING_VERSION: u32 = 1;
