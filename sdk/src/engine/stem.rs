//! Image to rows of a matrix: patches, and the 3x3 windows of a convolution.

use super::ops::{f32_input, operator};
use std::fmt;
use std::sync::Arc;
use tract_core::internal::*;

/// `(x / 255 - 0.5) / 0.5`, the published input convention.
fn normalised(x: u8) -> f32 {
    (f32::from(x) / 255.0 - 0.5) / 0.5
}

/// Cuts a planar u8 image `[3][size][size]` into rows `[tokens][3 * patch * patch]`, in the order channel, y, x.
pub(super) struct PatchesOp {
    pub(super) size: usize,
    pub(super) patch: usize,
}

operator!(Patches, PatchesOp, "KfPatches");

impl Patches {
    fn output_shape(&self) -> [usize; 2] {
        let PatchesOp { size, patch } = *self.params;
        [(size / patch) * (size / patch), 3 * patch * patch]
    }

    fn macs(&self) -> usize {
        0
    }

    fn run(&self, inputs: &[TValue], out: &mut [f32]) -> TractResult<()> {
        let PatchesOp { size, patch } = *self.params;
        let image = inputs[0].try_as_plain_ram()?.as_slice::<u8>()?;
        let side = size / patch;
        for (t, row) in out.chunks_exact_mut(3 * patch * patch).enumerate() {
            let (top, left) = (t / side * patch, t % side * patch);
            for (i, run) in row.chunks_exact_mut(patch).enumerate() {
                let (channel, y) = (i / patch, top + i % patch);
                let source = &image[(channel * size + y) * size + left..][..patch];
                run.iter_mut().zip(source).for_each(|(o, x)| *o = normalised(*x));
            }
        }
        Ok(())
    }
}

/// The windows of a 3x3 convolution with stride 2 and padding 1: rows `[(size / 2)^2][9 * channels]`, in the order
/// window row, window column, channel. Outside the picture is 0.
pub(super) struct WindowsOp {
    /// Side of the input.
    pub(super) size: usize,
    pub(super) channels: usize,
    /// The input is a planar u8 image instead of rows `[size * size][channels]` of f32.
    pub(super) image: bool,
}

operator!(Windows, WindowsOp, "KfWindows");

impl Windows {
    fn output_shape(&self) -> [usize; 2] {
        let half = self.params.size.div_ceil(2);
        [half * half, 9 * self.params.channels]
    }

    fn macs(&self) -> usize {
        0
    }

    fn run(&self, inputs: &[TValue], out: &mut [f32]) -> TractResult<()> {
        let WindowsOp { size, channels, image } = *self.params;
        if image {
            let pixels = inputs[0].try_as_plain_ram()?.as_slice::<u8>()?;
            windows(size, channels, out, |y, x, cell| {
                for (c, v) in cell.iter_mut().enumerate() {
                    *v = normalised(pixels[(c * size + y) * size + x]);
                }
            });
        } else {
            let rows = f32_input(inputs, 0)?;
            windows(size, channels, out, |y, x, cell| {
                cell.copy_from_slice(&rows[(y * size + x) * channels..][..channels]);
            });
        }
        Ok(())
    }
}

/// Calls `read(y, x, cell)` for every cell of every window that lies inside the picture.
fn windows(size: usize, channels: usize, out: &mut [f32], read: impl Fn(usize, usize, &mut [f32])) {
    let half = size.div_ceil(2);
    for (t, window) in out.chunks_exact_mut(9 * channels).enumerate() {
        for (i, cell) in window.chunks_exact_mut(channels).enumerate() {
            // One more than the coordinate, so that the padding's -1 stays unsigned.
            let (y, x) = (t / half * 2 + i / 3, t % half * 2 + i % 3);
            if (1..=size).contains(&y) && (1..=size).contains(&x) {
                read(y - 1, x - 1, cell);
            }
        }
    }
}
