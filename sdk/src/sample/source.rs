//! One description for all pixel formats: each channel is a lattice of bytes, and a colour rule joins them.

use crate::frame::{Frame, PixelFormat, YuvRange};

/// One channel: the byte of pixel (x, y) is `data[(y >> shift_y) * stride + (x >> shift_x) * step]`.
#[derive(Clone, Copy)]
pub(super) struct Lattice<'a> {
    data: &'a [u8],
    stride: usize,
    step: usize,
    /// Halvings of the horizontal and vertical resolution, 0 or 1.
    pub(super) shift: (u32, u32),
}

impl Lattice<'_> {
    #[inline(always)]
    pub(super) fn at(&self, x: usize, y: usize) -> u32 {
        u32::from(self.data[(y >> self.shift.1) * self.stride + (x >> self.shift.0) * self.step])
    }

    /// The channel's row `row`, counted in its own rows, from its first sample on; and the bytes between samples.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> (&[u8], usize) {
        (&self.data[row * self.stride..], self.step)
    }
}

/// How raw channel values become red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    Rgb,
    Grey(YuvRange),
    Yuv(YuvRange),
}

/// BT.601 in 16-bit fixed point: luma black and gain, then red from V, green from U and V, blue from U.
struct Bt601 {
    black: i64,
    luma: i64,
    rv: i64,
    gu: i64,
    gv: i64,
    bu: i64,
}

const fn bt601(range: YuvRange) -> Bt601 {
    match range {
        YuvRange::Limited => {
            Bt601 { black: 16, luma: 76_309, rv: 104_597, gu: 25_675, gv: 53_279, bu: 132_201 }
        }
        YuvRange::Full => {
            Bt601 { black: 0, luma: 65_536, rv: 91_881, gu: 22_554, gv: 46_802, bu: 116_130 }
        }
    }
}

/// A frame's pixels in stored orientation.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    channels: [Lattice<'a>; 3],
    colour: Colour,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(frame: &Frame<'a>) -> Self {
        let planes = frame.planes();
        let lattice = |plane: usize, offset: usize, step: usize, shift: (u32, u32)| Lattice {
            data: &planes[plane].data[offset..],
            stride: planes[plane].stride,
            step,
            shift,
        };
        let (full, half, quarter) = ((0, 0), (1, 0), (1, 1));
        let channels = match frame.format() {
            PixelFormat::Rgb8 => {
                [lattice(0, 0, 3, full), lattice(0, 1, 3, full), lattice(0, 2, 3, full)]
            }
            PixelFormat::Bgr8 => {
                [lattice(0, 2, 3, full), lattice(0, 1, 3, full), lattice(0, 0, 3, full)]
            }
            PixelFormat::Grey8 => [lattice(0, 0, 1, full); 3],
            PixelFormat::Yuyv => {
                [lattice(0, 0, 2, full), lattice(0, 1, 4, half), lattice(0, 3, 4, half)]
            }
            PixelFormat::Uyvy => {
                [lattice(0, 1, 2, full), lattice(0, 0, 4, half), lattice(0, 2, 4, half)]
            }
            PixelFormat::Nv12 => {
                [lattice(0, 0, 1, full), lattice(1, 0, 2, quarter), lattice(1, 1, 2, quarter)]
            }
            PixelFormat::Nv21 => {
                [lattice(0, 0, 1, full), lattice(1, 1, 2, quarter), lattice(1, 0, 2, quarter)]
            }
            PixelFormat::I420 => {
                [lattice(0, 0, 1, full), lattice(1, 0, 1, quarter), lattice(2, 0, 1, quarter)]
            }
        };
        let colour = match frame.format() {
            PixelFormat::Rgb8 | PixelFormat::Bgr8 => Colour::Rgb,
            PixelFormat::Grey8 => Colour::Grey(frame.range()),
            _ => Colour::Yuv(frame.range()),
        };
        Source { channels, colour, width: frame.width(), height: frame.height() }
    }

    /// The channels that hold anything: one for grey, else three.
    #[inline(always)]
    pub(super) fn channels(&self) -> &[Lattice<'a>] {
        match self.colour {
            Colour::Grey(_) => &self.channels[..1],
            _ => &self.channels,
        }
    }

    /// The raw values of black.
    pub(super) fn black(&self) -> [u32; 3] {
        match self.colour {
            Colour::Rgb => [0; 3],
            Colour::Grey(range) | Colour::Yuv(range) => [bt601(range).black as u32, 128, 128],
        }
    }

    /// Red, green, blue of raw values in 1/65536; rounds to nearest, clips.
    #[inline(always)]
    pub(super) fn rgb(&self, raw: [u32; 3]) -> [u8; 3] {
        match self.colour {
            Colour::Rgb => raw.map(|v| ((v + 0x8000) >> 16) as u8),
            Colour::Grey(range) => [luma(raw[0], &bt601(range)); 3],
            Colour::Yuv(range) => {
                let k = bt601(range);
                let y = k.luma * (i64::from(raw[0]) - (k.black << 16)) + (1 << 31);
                let (u, v) = (i64::from(raw[1]) - (128 << 16), i64::from(raw[2]) - (128 << 16));
                let clip = |v: i64| (v >> 32).clamp(0, 255) as u8;
                [clip(y + k.rv * v), clip(y - k.gu * u - k.gv * v), clip(y + k.bu * u)]
            }
        }
    }

    /// Luma 0..=255, full range, of stored pixel (x, y).
    pub(super) fn luma_at(&self, x: usize, y: usize) -> u8 {
        let raw = |c: usize| self.channels[c].at(x, y);
        match self.colour {
            Colour::Rgb => ((77 * raw(0) + 150 * raw(1) + 29 * raw(2) + 128) >> 8) as u8,
            Colour::Grey(range) | Colour::Yuv(range) => luma(raw(0) << 16, &bt601(range)),
        }
    }

    /// Adds the bilinear sample at (x, y), in 1/256 pixels, to `sum` in 1/65536. Outside is black.
    #[inline(always)]
    pub(super) fn add_bilinear(&self, x: i64, y: i64, sum: &mut [u32; 3]) {
        let (fx, fy) = ((x & 255) as u32, (y & 255) as u32);
        let (x, y) = (x >> 8, y >> 8);
        let inside = x >= 0 && y >= 0 && x + 1 < self.width as i64 && y + 1 < self.height as i64;
        if !inside {
            return self.add_border(x, y, fx, fy, sum);
        }
        let (x, y) = (x as usize, y as usize);
        for (channel, sum) in self.channels().iter().zip(sum) {
            let top = channel.at(x, y) * (256 - fx) + channel.at(x + 1, y) * fx;
            let bottom = channel.at(x, y + 1) * (256 - fx) + channel.at(x + 1, y + 1) * fx;
            *sum += top * (256 - fy) + bottom * fy;
        }
    }

    #[cold]
    fn add_border(&self, x: i64, y: i64, fx: u32, fy: u32, sum: &mut [u32; 3]) {
        if x < -1 || y < -1 || x >= self.width as i64 || y >= self.height as i64 {
            for (black, sum) in self.black().iter().zip(sum) {
                *sum += black << 16;
            }
            return;
        }
        let taps = [
            (0, 0, (256 - fx) * (256 - fy)),
            (1, 0, fx * (256 - fy)),
            (0, 1, (256 - fx) * fy),
            (1, 1, fx * fy),
        ];
        for (dx, dy, weight) in taps {
            let (x, y) = (x + dx, y + dy);
            let inside = x >= 0 && y >= 0 && x < self.width as i64 && y < self.height as i64;
            for ((channel, black), sum) in
                self.channels().iter().zip(self.black()).zip(sum.iter_mut())
            {
                *sum += weight * if inside { channel.at(x as usize, y as usize) } else { black };
            }
        }
    }
}

#[inline(always)]
fn luma(raw: u32, k: &Bt601) -> u8 {
    ((k.luma * (i64::from(raw) - (k.black << 16)) + (1 << 31)) >> 32).clamp(0, 255) as u8
}
