//! Networks on tract: the only module that names it.
//!
//! tract holds the graph, orders it and owns the activations. The recogniser is wired by hand from a few fused
//! operators of our own ([`ops`]); other models run as plain ONNX in f32 ([`onnx`]).
//!
//! A [`Recogniser`] is the immutable, shared part: the mapped pack and tables derived from it. A [`Session`] is what
//! one thread runs: a plan, its scratch and its pool of threads.

mod build;
mod irpe;
mod onnx;
mod ops;
mod session;
mod stem;
mod weights;

pub use onnx::OnnxModel;
pub use session::{Recogniser, Session, Step};

use crate::error::{Error, ErrorKind};

/// Reports a tract failure in the log and gives the caller a plain error.
fn engine_error(detail: &'static str) -> impl FnOnce(tract_core::internal::TractError) -> Error {
    move |e| {
        log::error!("{detail}: {e:#}");
        Error::new(ErrorKind::Internal, detail)
    }
}
