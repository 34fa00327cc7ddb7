//! Networks on tract: the only module that names it.
//!
//! tract holds the graph, orders it and owns the activations. The recogniser is wired by hand from a few fused
//! operators of our own ([`ops`]), the landmark network from one ([`convnet`]); other models run as plain ONNX in f32, where
//! the SDK is built with the feature `onnx`.
//!
//! A [`Recogniser`] is the immutable, shared part: the mapped pack and tables derived from it. A [`Session`] is what
//! one thread runs: a plan, its scratch and its pool of threads.

mod build;
mod convnet;
mod irpe;
#[cfg_attr(not(feature = "onnx"), path = "no_onnx.rs")]
mod onnx;
mod ops;
mod session;
mod stem;
mod weights;

pub use convnet::ConvNet;
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
