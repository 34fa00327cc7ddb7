//! How much heap a pack needs, before it is loaded, and a bound on it.
//!
//! Upper estimates from the manifest: `tests/memory.rs` holds them against what is really allocated. The pack's own file is
//! mapped, so its pages are the system's to drop, and are not counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::pack::{links, LandmarkNetwork, Pack, Precision};

/// Heap in bytes: upper estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Of a loaded model.
    pub model: u64,
    /// Of each pipeline on it, at its highest.
    pub pipeline: u64,
}

/// What a node of a graph and its bookkeeping take.
const PER_BLOCK: u64 = 64 << 10;
/// What does not depend on the networks.
const FIXED: u64 = 1 << 20;
/// An ONNX graph while it is read, per byte of its section.
const PER_GRAPH_BYTE: u64 = 12;
/// The activations of a landmark network in ONNX, per pixel of its input.
const PER_PIXEL: u64 = 48;
/// The picture that convolutions read, and its quantised copies, per pixel.
const PER_PICTURE_PIXEL: u64 = 16;
/// A value of a convolution: f32 and its quantised copy.
const PER_VALUE: u64 = 5;

/// What `pack` needs, with pipelines of `threads` threads whose detector sees at most `long_side` pixels a side.
///
/// # Errors
/// [`ErrorKind::UnsupportedPack`] if the pack lacks a recogniser or a landmark network.
pub fn estimate(pack: &Pack, threads: usize, long_side: usize) -> Result<MemoryEstimate> {
    let manifest = pack.manifest();
    let (Some(net), Some(landmark)) = (&manifest.recogniser, &manifest.landmark) else {
        return Err(Error::new(ErrorKind::UnsupportedPack, "the pack lacks a network"));
    };
    let of = |n: usize| n as u64;
    let tokens = of(net.tokens());
    let widest = of(net.embed_dim.max(net.mlp_dim).max(3 * net.embed_dim));
    // Queries, keys and values, the hidden layer, the residual, their quantised copies.
    let activations = tokens * (widest * 4 * 3 + of(net.embed_dim) * 4 * 3);
    let scratch = tokens * (tokens + widest) * 5 + (1 << 18);
    let size = of(net.input_size);
    // A first convolution keeps the widest pictures.
    let stem = size * size * 4 * 16;
    let blocks = of(net.depth) * PER_BLOCK;
    let derived = match net.precision {
        Precision::Int8 => 0,
        // Panels of the f32 matrix product are packed anew.
        Precision::F32 => pack.len() as u64 / 4,
    };
    let side = of(long_side.next_multiple_of(64));
    let detector = match &landmark.network {
        LandmarkNetwork::Onnx { onnx } => {
            let graph = pack.section(onnx).map_or(0, |s| pack.bytes(s).len() as u64);
            graph * PER_GRAPH_BYTE + side * side * PER_PIXEL
        }
        LandmarkNetwork::Convolutions { layers, .. } => {
            let links =
                links(layers).map_err(|what| Error::new(ErrorKind::UnsupportedPack, what))?;
            let places = layers.iter().zip(links);
            let values: u64 =
                places.map(|(l, at)| side * side / of(at.shrink * at.shrink) * of(l.outputs)).sum();
            of(layers.len()) * PER_BLOCK + side * side * PER_PICTURE_PIXEL + values * PER_VALUE
        }
    };
    Ok(MemoryEstimate {
        model: FIXED + blocks + derived,
        pipeline: FIXED + blocks + activations + stem + scratch * of(threads.max(1)) + detector,
    })
}

/// A bound shared by a model and its pipelines.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Budget> {
        Arc::new(Budget { limit, used: AtomicU64::new(0) })
    }

    /// Takes `bytes` until the reservation is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::MemoryLimit`] if they do not fit beside what is taken.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation> {
        let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(Reservation { budget: Arc::clone(self), bytes }),
            Err(_) => Err(Error::new(
                ErrorKind::MemoryLimit,
                "the estimate is above the memory that the caller allows",
            )),
        }
    }
}

/// A part of a [`Budget`], given back on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_given_out_once() {
        let budget = Budget::new(100);
        let first = budget.reserve(60).unwrap();
        assert_eq!(budget.reserve(41).unwrap_err().kind(), ErrorKind::MemoryLimit);
        assert_eq!(budget.reserve(u64::MAX).unwrap_err().kind(), ErrorKind::MemoryLimit);
        let second = budget.reserve(40).unwrap();
        drop(first);
        assert!(budget.reserve(60).is_ok());
        drop(second);
    }
}
