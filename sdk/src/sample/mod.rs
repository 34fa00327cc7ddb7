//! Pixels straight from a camera frame, without converting the frame.
//!
//! - [`downscale_bytes_into`], [`downscale_into`]: the whole picture, small, for the detector;
//! - [`warp_into`] and [`Crop`]: an aligned crop, for the recogniser;
//! - [`luma_stats`]: brightness of a rectangle, for quality.
//!
//! All of them read any [`PixelFormat`](crate::frame::PixelFormat) in its own memory layout, honour rotation and
//! mirroring, and convert colours (BT.601) only for the pixels they write. The arithmetic is integer, or `f64`
//! additions, multiplications and divisions in a fixed order, so the bytes are the same on every CPU. Nothing is
//! allocated but by [`Crop::new`]; any thread.

mod axis;
mod crop;
mod downscale;
mod luma;
mod source;
mod warp;

#[cfg(test)]
mod tests;

pub use crop::{normalised, Crop, CROP_SIDE};
pub use downscale::{downscale_bytes_into, downscale_into, Fit, MAX_NETWORK_SIDE};
pub use luma::{luma_stats, LumaStats};
pub use warp::{warp_into, MAX_CROP_SIDE};
