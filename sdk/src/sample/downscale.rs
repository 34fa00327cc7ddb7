//! The whole picture for the detector: scaled and padded.

use super::axis::Axis;
use super::source::Source;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, MAX_SIDE};
use crate::geometry::Similarity;

/// The largest width and height of a network input that [`Fit`] makes.
pub const MAX_NETWORK_SIDE: usize = 1024;

/// The strongest shrink: with it, area sums in 1/16 x 1/16 pixels fit 32 bits.
const MAX_SHRINK: usize = 255;

const fn bad(detail: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, detail)
}

/// How a picture fits into a network's input: scaled uniformly into the top-left corner, black elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    picture: (usize, usize),
    content: (usize, usize),
    network: (usize, usize),
    /// Network pixels per picture pixel: `scale.0 / scale.1`.
    pub(super) scale: (usize, usize),
}

impl Fit {
    /// Fits an upright picture of `picture` = (width, height) so that its long side becomes exactly `long_side`;
    /// the input's sides are rounded up to a multiple of `multiple`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where a size is 0, the picture above [`MAX_SIDE`] or more than 255 times the
    /// input, or the input above [`MAX_NETWORK_SIDE`].
    pub fn long_side(picture: (usize, usize), long_side: usize, multiple: usize) -> Result<Self> {
        if long_side == 0 || multiple == 0 || long_side.max(multiple) > MAX_NETWORK_SIDE {
            return Err(bad("network input size out of range"));
        }
        let scale = (long_side, picture.0.max(picture.1));
        let content = content_size(picture, scale)?;
        let network = (content.0.next_multiple_of(multiple), content.1.next_multiple_of(multiple));
        if network.0.max(network.1) > MAX_NETWORK_SIDE {
            return Err(bad("network input size out of range"));
        }
        Ok(Fit { picture, content, network, scale })
    }

    /// Fits an upright picture of `picture` = (width, height) into an input of exactly `network` = (width, height),
    /// as large as it goes.
    ///
    /// # Errors
    /// As [`Fit::long_side`].
    pub fn canvas(picture: (usize, usize), network: (usize, usize)) -> Result<Self> {
        if network.0.min(network.1) == 0 || network.0.max(network.1) > MAX_NETWORK_SIDE {
            return Err(bad("network input size out of range"));
        }
        if picture.0.max(picture.1) > MAX_SIDE {
            return Err(bad("picture size out of range"));
        }
        let wide = network.0 * picture.1 <= network.1 * picture.0;
        let scale = if wide { (network.0, picture.0) } else { (network.1, picture.1) };
        let content = content_size(picture, scale)?;
        Ok(Fit { picture, content, network, scale })
    }

    /// Width and height of the network's input; it takes `3 * width * height` floats.
    #[must_use]
    pub fn network_size(&self) -> (usize, usize) {
        self.network
    }

    /// Width and height of the part of the input that shows the picture.
    #[must_use]
    pub fn content_size(&self) -> (usize, usize) {
        self.content
    }

    /// From pixels of the network's input to pixels of the upright picture.
    #[must_use]
    pub fn to_picture(&self) -> Similarity {
        let k = self.scale.1 as f64 / self.scale.0 as f64;
        // Pixel centres are integers: edges, half a pixel away, are what scales. The ratio lies within 1 / 16384 and 1024.
        Similarity::new(k, 0.0, 0.5 * k - 0.5, 0.5 * k - 0.5).unwrap_or(Similarity::IDENTITY)
    }
}

/// The scaled picture, partly covered pixels included.
fn content_size(picture: (usize, usize), scale: (usize, usize)) -> Result<(usize, usize)> {
    if picture.0.min(picture.1) == 0 || picture.0.max(picture.1) > MAX_SIDE {
        return Err(bad("picture size out of range"));
    }
    if scale.1 > scale.0 * MAX_SHRINK {
        return Err(bad("picture more than 255 times the network input"));
    }
    Ok(((picture.0 * scale.0).div_ceil(scale.1), (picture.1 * scale.0).div_ceil(scale.1)))
}

/// Writes `frame`, upright and scaled as `fit` says, into `out`: planar red, green, blue `[3][height][width]` of
/// [`Fit::network_size`], padding black (0).
///
/// Shrinking averages the area under each pixel, so every pixel of the frame counts; enlarging is bilinear.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] where `fit` was made for another size or `out` has another length.
pub fn downscale_bytes_into(frame: &Frame<'_>, fit: &Fit, out: &mut [u8]) -> Result<()> {
    scale_into(frame, fit, out, |x| x)
}

/// As [`downscale_bytes_into`], each value as `(x / 255 - 0.5) / 0.5`; black is -1.
///
/// # Errors
/// As [`downscale_bytes_into`].
pub fn downscale_into(frame: &Frame<'_>, fit: &Fit, out: &mut [f32]) -> Result<()> {
    scale_into(frame, fit, out, |x| f32::from(x) * (2.0 / 255.0) - 1.0)
}

fn scale_into<T: Copy>(
    frame: &Frame<'_>,
    fit: &Fit,
    out: &mut [T],
    value: impl Fn(u8) -> T,
) -> Result<()> {
    if fit.picture != frame.upright_size() {
        return Err(bad("the fit was made for another picture size"));
    }
    let (width, height) = fit.network;
    if out.len() != 3 * width * height {
        return Err(bad("the network input has another length"));
    }
    for plane in out.chunks_exact_mut(width * height) {
        blacken_padding(plane, width, fit.content, value(0));
    }
    let (red, rest) = out.split_at_mut(width * height);
    let (green, blue) = rest.split_at_mut(width * height);
    let source = Source::new(frame);
    let o = frame.orientation();
    // Stored columns follow upright columns, or upright rows where the frame is turned by a quarter.
    let turned = o.du.0 == 0;
    let (along_x, along_y) = if turned {
        (
            Axis::new(fit, source.width, fit.content.1, o.dv.0),
            Axis::new(fit, source.height, fit.content.0, o.du.1),
        )
    } else {
        (
            Axis::new(fit, source.width, fit.content.0, o.du.0),
            Axis::new(fit, source.height, fit.content.1, o.dv.1),
        )
    };
    let mut line = [[0u32; MAX_NETWORK_SIDE]; 3];
    for iy in 0..along_y.count {
        source.scale_line(&along_x, &along_y, iy, &mut line);
        let jy = along_y.upright(iy);
        let [a, b, c] = &line;
        let raw = a.iter().zip(b).zip(c).take(along_x.count).map(|((&a, &b), &c)| [a, b, c]);
        if !turned && !along_x.reversed() {
            let row = jy * width..jy * width + along_x.count;
            let row = red[row.clone()].iter_mut().zip(&mut green[row.clone()]).zip(&mut blue[row]);
            for (((r, g), b), raw) in row.zip(raw) {
                let rgb = source.rgb(raw);
                (*r, *g, *b) = (value(rgb[0]), value(rgb[1]), value(rgb[2]));
            }
            continue;
        }
        for (ix, raw) in raw.enumerate() {
            let jx = along_x.upright(ix);
            let at = if turned { jx * width + jy } else { jy * width + jx };
            [red[at], green[at], blue[at]] = source.rgb(raw).map(&value);
        }
    }
    Ok(())
}

fn blacken_padding<T: Copy>(plane: &mut [T], width: usize, content: (usize, usize), black: T) {
    let (shown, below) = plane.split_at_mut(content.1 * width);
    below.fill(black);
    if content.0 < width {
        for row in shown.chunks_exact_mut(width) {
            row[content.0..].fill(black);
        }
    }
}
