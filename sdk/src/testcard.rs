//! A picture whose arrival shows what is wrong with a camera path: order of colours, stride, mirror, rotation, range.
//!
//! Feed [`render`]'s picture in place of the sensor's, or film it filling the view, and let [`inspect`] look at the frame as your
//! code hands it to the SDK. It compares the frame with the card under every combination of faults that it knows, and names
//! those of the best fit.

use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, PixelFormat, MAX_SIDE};
use crate::geometry::Similarity;
use crate::sample::warp_into;
use std::ops::{BitOr, BitOrAssign};

/// The smallest width and height of a card in pixels.
pub const MIN_SIDE: usize = 64;

/// The card: no part of it looks like another when turned, mirrored or moved.
const CELLS: [&[u8; 8]; 6] =
    [b"rkwgybnc", b"bywkrmog", b"wrncpkby", b"gmkowrwb", b"knybgcrp", b"owrpkyng"];

/// Samples across and down: off the borders of cells, dense enough to see a shear.
const ACROSS: usize = 40;
const DOWN: usize = 30;

/// Largest mean error per colour channel, 0..=255, at which the frame still counts as the card.
const LIMIT: f32 = 24.0;
/// What each fault must better the fit by.
const PENALTY: f32 = 1.0;
/// Wrong strides looked for, in bytes to either side.
const STRIDES: i64 = 1024;

/// What is wrong with a frame, as bits that never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Faults(u32);

impl Faults {
    /// The card arrived as it should.
    pub const NONE: Faults = Faults(0);
    /// Red and blue are swapped: RGB was taken for BGR.
    pub const RED_BLUE_SWAPPED: Faults = Faults(1);
    /// U and V are swapped: NV12 was taken for NV21.
    pub const UV_SWAPPED: Faults = Faults(1 << 1);
    /// Rows are read at the wrong distance: the stride is not the one of the buffer.
    pub const STRIDE_IGNORED: Faults = Faults(1 << 2);
    /// Mirrored left to right.
    pub const MIRRORED: Faults = Faults(1 << 3);
    /// Turned by a quarter, a half or three quarters.
    pub const ROTATED: Faults = Faults(1 << 4);
    /// Washed out: limited-range luma was taken for full range.
    pub const LIMITED_AS_FULL: Faults = Faults(1 << 5);
    /// Crushed: full-range luma was taken for limited range.
    pub const FULL_AS_LIMITED: Faults = Faults(1 << 6);
    /// This is not the card, or something else is wrong with it.
    pub const NOT_THE_CARD: Faults = Faults(1 << 7);

    /// Every fault and its name, in order of bits.
    pub const ALL: [(Faults, &'static str); 8] = [
        (Faults::RED_BLUE_SWAPPED, "red and blue swapped"),
        (Faults::UV_SWAPPED, "U and V swapped"),
        (Faults::STRIDE_IGNORED, "stride ignored"),
        (Faults::MIRRORED, "mirrored"),
        (Faults::ROTATED, "rotated"),
        (Faults::LIMITED_AS_FULL, "limited-range luma taken for full range"),
        (Faults::FULL_AS_LIMITED, "full-range luma taken for limited range"),
        (Faults::NOT_THE_CARD, "not the test card"),
    ];

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Faults) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names, in order of bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Faults::ALL.into_iter().filter(move |(f, _)| self.contains(*f)).map(|(_, name)| name)
    }
}

impl BitOr for Faults {
    type Output = Faults;

    fn bitor(self, other: Faults) -> Faults {
        Faults(self.0 | other.0)
    }
}

impl BitOrAssign for Faults {
    fn bitor_assign(&mut self, other: Faults) {
        self.0 |= other.0;
    }
}

type Colour = [f32; 3];

fn paint(letter: u8) -> [u8; 3] {
    match letter {
        b'k' => [0, 0, 0],
        b'w' => [255, 255, 255],
        b'n' => [128, 128, 128],
        b'r' => [220, 30, 30],
        b'g' => [30, 190, 60],
        b'b' => [40, 60, 220],
        b'y' => [240, 220, 40],
        b'c' => [60, 210, 220],
        b'm' => [220, 50, 200],
        b'o' => [240, 130, 20],
        _ => [110, 40, 160],
    }
}

/// The card's colour at a place, both coordinates in 0..1.
fn card(u: f32, v: f32) -> [u8; 3] {
    let cell = |t: f32, n: usize| ((t * n as f32) as usize).min(n - 1);
    paint(CELLS[cell(v, 6)][cell(u, 8)])
}

/// The card as 8-bit RGB without padding, `3 * width * height` bytes. Allocates them.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a side below [`MIN_SIDE`] or above [`MAX_SIDE`].
pub fn render(width: usize, height: usize) -> Result<Vec<u8>> {
    if !(MIN_SIDE..=MAX_SIDE).contains(&width) || !(MIN_SIDE..=MAX_SIDE).contains(&height) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "a test card has 64 to 16384 pixels a side",
        ));
    }
    let mut rgb = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            rgb.extend(card(centre(x, width), centre(y, height)));
        }
    }
    Ok(rgb)
}

fn centre(x: usize, width: usize) -> f32 {
    (x as f32 + 0.5) / width as f32
}

/// A sample: where it lies in the upright frame, in pixels, and its colour.
struct Sample {
    x: usize,
    y: usize,
    rgb: Colour,
}

/// Compares a frame, its rotation and mirror applied, with the card that fills it.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a side below [`MIN_SIDE`].
pub fn inspect(frame: &Frame<'_>) -> Result<Faults> {
    let (width, height) = frame.upright_size();
    if width.min(height) < MIN_SIDE {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "the frame is smaller than a test card",
        ));
    }
    let samples = samples(frame)?;
    let grey = frame.format() == PixelFormat::Grey8;
    let mut best = (f32::INFINITY, Faults::NOT_THE_CARD);
    let mut offer = |error: f32, faults: Faults| {
        let score = error + PENALTY * faults.0.count_ones() as f32;
        if error <= LIMIT && score < best.0 {
            best = (score, faults);
        }
    };
    for (turn, turned) in
        [Faults::NONE, Faults::ROTATED, Faults::ROTATED, Faults::ROTATED].into_iter().enumerate()
    {
        for mirror in [Faults::NONE, Faults::MIRRORED] {
            for colour in [Faults::NONE, Faults::RED_BLUE_SWAPPED, Faults::UV_SWAPPED] {
                for range in [Faults::NONE, Faults::LIMITED_AS_FULL, Faults::FULL_AS_LIMITED] {
                    if grey && colour != Faults::NONE {
                        continue;
                    }
                    let faults = turned | mirror | colour | range;
                    let expect = |s: &Sample| {
                        let (u, v) = (centre(s.x, width), centre(s.y, height));
                        let (u, v) = turned_back(turn, mirror != Faults::NONE, u, v);
                        distorted(card(u, v), faults)
                    };
                    offer(mean_error(&samples, grey, |s| Some(expect(s))), faults);
                }
            }
        }
    }
    let bytes = frame.format().plane_size(0, frame.width(), 1).0 as i64 / frame.width() as i64;
    let o = frame.orientation();
    let (stride, stored) =
        (frame.planes()[0].stride as i64, (frame.width() as i64, frame.height() as i64));
    for wrong in (-STRIDES..=STRIDES).filter(|d| *d != 0 && stride + d >= stored.0 * bytes) {
        let expect = |s: &Sample| {
            let (u, v) = (s.x as i64, s.y as i64);
            let (du, dv) =
                ((i64::from(o.du.0), i64::from(o.du.1)), (i64::from(o.dv.0), i64::from(o.dv.1)));
            let origin = (i64::from(o.origin.0), i64::from(o.origin.1));
            let (x, y) = (origin.0 + u * du.0 + v * dv.0, origin.1 + u * du.1 + v * dv.1);
            // The byte that was read, and where it belongs.
            let at = y * stride + x * bytes;
            let (x, y) =
                (at % (stride + wrong) / bytes - origin.0, at / (stride + wrong) - origin.1);
            let (u, v) = (x * du.0 + y * du.1, x * dv.0 + y * dv.1);
            let inside = (0..width as i64).contains(&u) && (0..height as i64).contains(&v);
            inside.then(|| {
                distorted(card(centre(u as usize, width), centre(v as usize, height)), Faults::NONE)
            })
        };
        // Chroma planes shear by other amounts: luma alone speaks.
        offer(mean_error(&samples, true, expect), Faults::STRIDE_IGNORED);
    }
    Ok(best.1)
}

fn samples(frame: &Frame<'_>) -> Result<Vec<Sample>> {
    let (width, height) = frame.upright_size();
    let mut samples = Vec::with_capacity(ACROSS * DOWN);
    for row in 0..DOWN {
        for column in 0..ACROSS {
            let (x, y) =
                ((2 * column + 1) * width / (2 * ACROSS), (2 * row + 1) * height / (2 * DOWN));
            let place = Similarity::new(1.0, 0.0, x as f64, y as f64);
            let place =
                place.ok_or(Error::new(ErrorKind::Internal, "a translation is a transform"))?;
            let mut rgb = [0; 3];
            warp_into(frame, &place, 1, &mut rgb)?;
            samples.push(Sample { x, y, rgb: rgb.map(f32::from) });
        }
    }
    Ok(samples)
}

/// Where on the card a place of the frame lies, if the card arrived mirrored after a number of quarter turns clockwise.
fn turned_back(turns: usize, mirrored: bool, u: f32, v: f32) -> (f32, f32) {
    let u = if mirrored { 1.0 - u } else { u };
    match turns {
        0 => (u, v),
        1 => (v, 1.0 - u),
        2 => (1.0 - u, 1.0 - v),
        _ => (1.0 - v, u),
    }
}

/// What a colour becomes by the faults of colour and range.
fn distorted(rgb: [u8; 3], faults: Faults) -> Colour {
    let [mut r, g, mut b] = rgb.map(f32::from);
    let mut colour = [r, g, b];
    if faults.contains(Faults::RED_BLUE_SWAPPED) {
        std::mem::swap(&mut r, &mut b);
        colour = [r, g, b];
    }
    if faults.contains(Faults::UV_SWAPPED) {
        // BT.601.
        let y = luma(colour);
        let (u, v) = ((b - y) / 1.772, (r - y) / 1.402);
        colour = [y + 1.402 * u, y - 0.344_136 * v - 0.714_136 * u, y + 1.772 * v];
    }
    if faults.contains(Faults::LIMITED_AS_FULL) {
        colour = colour.map(|c| 16.0 + c * 219.0 / 255.0);
    }
    if faults.contains(Faults::FULL_AS_LIMITED) {
        colour = colour.map(|c| (c - 16.0) * 255.0 / 219.0);
    }
    colour.map(|c| c.clamp(0.0, 255.0))
}

fn luma([r, g, b]: Colour) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

/// Mean distance of the samples from what is expected, per channel; samples that the card does not reach are left out.
fn mean_error(samples: &[Sample], grey: bool, expect: impl Fn(&Sample) -> Option<Colour>) -> f32 {
    let (mut sum, mut count) = (0.0, 0usize);
    for sample in samples {
        let Some(expected) = expect(sample) else { continue };
        count += 1;
        sum += if grey {
            (luma(sample.rgb) - luma(expected)).abs()
        } else {
            sample.rgb.iter().zip(expected).map(|(a, b)| (a - b).abs()).sum::<f32>() / 3.0
        };
    }
    // A card that is hardly in the picture says nothing.
    if count * 4 < samples.len() {
        return f32::INFINITY;
    }
    sum / count as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Plane, Rotation, YuvRange};

    const W: usize = 320;
    const H: usize = 240;

    /// Luma and interleaved chroma of the card, `pad` bytes behind each row.
    fn nv12(range: YuvRange, pad: usize) -> (Vec<u8>, Vec<u8>) {
        let rgb = render(W, H).unwrap();
        let at = |x: usize, y: usize| -> Colour {
            std::array::from_fn(|c| f32::from(rgb[3 * (y * W + x) + c]))
        };
        let (scale_y, offset, scale_c) = match range {
            YuvRange::Full => (1.0, 0.0, 1.0),
            YuvRange::Limited => (219.0 / 255.0, 16.0, 224.0 / 255.0),
        };
        let (mut luma_plane, mut chroma) = (Vec::new(), Vec::new());
        for y in 0..H {
            luma_plane.extend((0..W).map(|x| (offset + scale_y * luma(at(x, y))).round() as u8));
            luma_plane.extend(std::iter::repeat_n(99, pad));
        }
        for y in 0..H / 2 {
            for x in 0..W / 2 {
                let [r, g, b] = at(2 * x, 2 * y);
                let l = luma([r, g, b]);
                for c in [(b - l) / 1.772, (r - l) / 1.402] {
                    chroma.push((128.0 + scale_c * c).round().clamp(0.0, 255.0) as u8);
                }
            }
            chroma.extend(std::iter::repeat_n(99, pad));
        }
        (luma_plane, chroma)
    }

    fn frame<'a>(format: PixelFormat, planes: &'a (Vec<u8>, Vec<u8>), stride: usize) -> Frame<'a> {
        let plane = |data| Plane { data, stride };
        Frame::new(format, W, H, &[plane(&planes.0[..]), plane(&planes.1[..])]).unwrap()
    }

    #[test]
    fn a_sound_path_has_no_fault() {
        let rgb = render(W, H).unwrap();
        assert_eq!(inspect(&Frame::rgb8(&rgb, W, H).unwrap()), Ok(Faults::NONE));
        let grey: Vec<u8> =
            rgb.chunks(3).map(|p| luma([p[0], p[1], p[2]].map(f32::from)) as u8).collect();
        assert_eq!(inspect(&Frame::grey8(&grey, W, H).unwrap()), Ok(Faults::NONE));
        for pad in [0, 64] {
            let planes = nv12(YuvRange::Limited, pad);
            assert_eq!(inspect(&frame(PixelFormat::Nv12, &planes, W + pad)), Ok(Faults::NONE));
        }
    }

    #[test]
    fn swapped_colours_are_named() {
        let rgb = render(W, H).unwrap();
        let bgr = Frame::packed(PixelFormat::Bgr8, W, H, &rgb).unwrap();
        assert_eq!(inspect(&bgr), Ok(Faults::RED_BLUE_SWAPPED));
        let planes = nv12(YuvRange::Limited, 0);
        assert_eq!(inspect(&frame(PixelFormat::Nv21, &planes, W)), Ok(Faults::UV_SWAPPED));
    }

    #[test]
    fn a_wrong_stride_is_named() {
        for pad in [4, 64, 192] {
            let planes = nv12(YuvRange::Limited, pad);
            assert_eq!(
                inspect(&frame(PixelFormat::Nv12, &planes, W)),
                Ok(Faults::STRIDE_IGNORED),
                "{pad}"
            );
        }
        // Rows without padding, read as if there were some.
        let rgb = render(W, H + 40).unwrap();
        let plane = Plane { data: &rgb, stride: 3 * W + 64 };
        let padded = Frame::new(PixelFormat::Rgb8, W, H, &[plane]).unwrap();
        let faults = inspect(&padded).unwrap();
        assert!(
            faults.contains(Faults::STRIDE_IGNORED) || faults == Faults::NOT_THE_CARD,
            "{faults:?}"
        );
    }

    #[test]
    fn a_wrong_stride_is_named_in_a_turned_frame_too() {
        let planes = nv12(YuvRange::Limited, 32);
        // The stored card is upright, so a rotation that is declared is a fault; with the stride it cannot be told.
        let turned = frame(PixelFormat::Nv12, &planes, W + 32).with_rotation(Rotation::Cw180);
        assert_eq!(inspect(&turned), Ok(Faults::ROTATED));
    }

    #[test]
    fn turns_and_mirrors_are_named() {
        let rgb = render(W, H).unwrap();
        let sound = Frame::rgb8(&rgb, W, H).unwrap();
        assert_eq!(inspect(&sound.with_mirror(true)), Ok(Faults::MIRRORED));
        for rotation in [Rotation::Cw90, Rotation::Cw180, Rotation::Cw270] {
            assert_eq!(inspect(&sound.with_rotation(rotation)), Ok(Faults::ROTATED));
            let both = inspect(&sound.with_rotation(rotation).with_mirror(true));
            assert_eq!(both, Ok(Faults::ROTATED | Faults::MIRRORED));
        }
    }

    #[test]
    fn wrong_ranges_are_named() {
        let (limited, full) = (nv12(YuvRange::Limited, 0), nv12(YuvRange::Full, 0));
        let washed = frame(PixelFormat::Nv12, &limited, W).with_range(YuvRange::Full);
        assert_eq!(inspect(&washed), Ok(Faults::LIMITED_AS_FULL));
        let crushed = frame(PixelFormat::Nv12, &full, W).with_range(YuvRange::Limited);
        assert_eq!(inspect(&crushed), Ok(Faults::FULL_AS_LIMITED));
    }

    #[test]
    fn faults_combine() {
        let planes = nv12(YuvRange::Limited, 0);
        let all = frame(PixelFormat::Nv21, &planes, W).with_range(YuvRange::Full).with_mirror(true);
        let want = Faults::UV_SWAPPED | Faults::LIMITED_AS_FULL | Faults::MIRRORED;
        assert_eq!(inspect(&all), Ok(want));
    }

    #[test]
    fn other_pictures_are_not_the_card() {
        for value in [0, 128, 255] {
            let flat = vec![value; 3 * W * H];
            assert_eq!(inspect(&Frame::rgb8(&flat, W, H).unwrap()), Ok(Faults::NOT_THE_CARD));
        }
        let noise: Vec<u8> = (0..3 * W * H as u32 as usize)
            .map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        assert_eq!(inspect(&Frame::rgb8(&noise, W, H).unwrap()), Ok(Faults::NOT_THE_CARD));
        assert!(inspect(&Frame::rgb8(&noise, 63, 64).unwrap()).is_err());
        assert!(render(63, 64).is_err());
    }

    #[test]
    fn bits_are_dense_and_named() {
        for (i, (fault, name)) in Faults::ALL.into_iter().enumerate() {
            assert_eq!(fault.bits(), 1 << i);
            assert_eq!(fault.names().collect::<Vec<_>>(), [name]);
        }
    }
}
