//! From five points in a frame to an aligned crop with the points in it.
//!
//! The crop is where a least-squares similarity puts the five points nearest to
//! [`TEMPLATE_112`](crate::geometry::TEMPLATE_112). The recogniser also takes the points themselves, so what the fit
//! leaves over is not lost.

use crate::frame::Frame;
use crate::geometry::{Points5, Similarity, TEMPLATE_112};
use crate::sample::{normalised, Crop};

/// Faces are refused where a crop pixel would span less or more than this many frame pixels.
const CROP_PIXEL: std::ops::RangeInclusive<f64> = 0.01..=200.0;

/// How a face lies in its crop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    to_crop: Similarity,
    points: Points5,
}

impl Alignment {
    /// The alignment of a face with these five points (upright frame pixels).
    ///
    /// `None` where the points make no face: a coordinate not finite or beyond 1e5, all points equal, or a size
    /// outside what a frame can hold (a crop pixel of 0.01 to 200 frame pixels).
    #[must_use]
    pub fn of(points: &Points5) -> Option<Self> {
        if points.iter().any(|p| p.x.abs() > 1e5 || p.y.abs() > 1e5) {
            return None;
        }
        let to_crop = Similarity::from_points(points, &TEMPLATE_112)?;
        CROP_PIXEL
            .contains(&to_crop.inverse().scale())
            .then(|| Alignment { to_crop, points: to_crop.apply5(points) })
    }

    /// The alignment of a picture that is aligned already and whose points nobody knows: the template's.
    #[must_use]
    pub const fn template() -> Self {
        Alignment { to_crop: Similarity::IDENTITY, points: TEMPLATE_112 }
    }

    /// From upright frame pixels to crop pixels.
    #[must_use]
    pub fn to_crop(&self) -> &Similarity {
        &self.to_crop
    }

    /// The five points in crop pixels.
    #[must_use]
    pub fn points(&self) -> &Points5 {
        &self.points
    }

    /// The five points as the recogniser takes them: crop pixels over 112, `[x, y]` each.
    #[must_use]
    pub fn normalised(&self) -> [[f32; 2]; 5] {
        self.points.map(normalised)
    }
}

/// Aligns the face with these five points (upright frame pixels) and fills `crop` with it; outside the frame is
/// black. Allocates nothing.
///
/// `None`, and an untouched crop, where [`Alignment::of`] gives none.
#[must_use]
pub fn align(frame: &Frame<'_>, points: &Points5, crop: &mut Crop) -> Option<Alignment> {
    let alignment = Alignment::of(points)?;
    crop.warp(frame, &alignment.to_crop.inverse()).ok()?;
    Some(alignment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Point;
    use crate::sample::CROP_SIDE;
    use proptest::prelude::*;

    /// A red spot with soft edges at each of the five points.
    fn spots(width: usize, height: usize, points: &Points5, radius: f32) -> Vec<u8> {
        let mut data = vec![0u8; 3 * width * height];
        for (i, pixel) in data.chunks_exact_mut(3).enumerate() {
            let here = Point::new((i % width) as f32, (i / width) as f32);
            let nearest = points.iter().map(|p| p.distance(here)).fold(f32::MAX, f32::min);
            pixel[0] = (255.0 * (-(nearest / radius).powi(2)).exp()) as u8;
        }
        data
    }

    #[test]
    fn the_points_land_on_the_template_whatever_the_pose() {
        for (scale, degrees, x, y) in
            [(1.0, 0.0, 90.0, 60.0), (0.6, 40.0, 150.0, 40.0), (1.7, -35.0, 20.0, 150.0)]
        {
            let angle: f64 = f64::to_radians(degrees);
            let pose = Similarity::new(scale * angle.cos(), scale * angle.sin(), x, y).unwrap();
            let points = pose.apply5(&TEMPLATE_112);
            let data = spots(320, 320, &points, 3.0 * scale as f32);
            let mut crop = Crop::new();
            let alignment =
                align(&Frame::rgb8(&data, 320, 320).unwrap(), &points, &mut crop).unwrap();
            for (p, t) in alignment.points().iter().zip(&TEMPLATE_112) {
                assert!(p.distance(*t) < 1e-3);
                // The crop is brightest there, and only in red.
                let at = t.y.round() as usize * CROP_SIDE + t.x.round() as usize;
                assert!(crop.pixels()[at] > 190, "{degrees} {}", crop.pixels()[at]);
                assert_eq!(crop.pixels()[CROP_SIDE * CROP_SIDE + at], 0);
            }
            let n = alignment.normalised();
            assert!(
                (n[0][0] - 38.2946 / 112.0).abs() < 1e-5
                    && (n[4][1] - 92.2041 / 112.0).abs() < 1e-5
            );
        }
    }

    #[test]
    fn what_is_no_face_is_a_value() {
        let data = vec![9u8; 64 * 64];
        let frame = Frame::grey8(&data, 64, 64).unwrap();
        let mut crop = Crop::new();
        let mut refuse = |points: Points5| {
            assert_eq!(align(&frame, &points, &mut crop), None);
            assert!(crop.pixels().iter().all(|&v| v == 0), "an untouched crop");
        };
        refuse([Point::new(5.0, 5.0); 5]);
        refuse(TEMPLATE_112.map(|p| Point::new(p.x * 1e-3, p.y * 1e-3)));
        refuse(TEMPLATE_112.map(|p| Point::new(p.x * 1e3, p.y * 1e3)));
        refuse(TEMPLATE_112.map(|p| Point::new(p.x + 2e5, p.y)));
        for bad in [f32::NAN, f32::INFINITY] {
            let mut points = TEMPLATE_112;
            points[3].x = bad;
            refuse(points);
        }
    }

    #[test]
    fn an_aligned_picture_is_copied_bit_for_bit() {
        let data: Vec<u8> = (0..3 * 112 * 112).map(|i| (i * 31 % 251) as u8).collect();
        let frame = Frame::rgb8(&data, 112, 112).unwrap();
        let mut crop = Crop::new();
        crop.copy_aligned(&frame).unwrap();
        for (i, pixel) in data.chunks_exact(3).enumerate() {
            assert_eq!(
                pixel,
                [crop.pixels()[i], crop.pixels()[12_544 + i], crop.pixels()[25_088 + i]]
            );
        }
        assert!(crop.copy_aligned(&Frame::rgb8(&data, 56, 112).unwrap()).is_err());
        assert_eq!(Alignment::template().points(), &TEMPLATE_112);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_points_give_an_alignment_or_none(bits in proptest::array::uniform10(any::<u32>()), small in any::<bool>()) {
            let value = |b: u32| if small { (b % 4096) as f32 / 8.0 - 100.0 } else { f32::from_bits(b) };
            let points: Points5 = std::array::from_fn(|i| Point::new(value(bits[2 * i]), value(bits[2 * i + 1])));
            let data = [200u8; 32 * 32];
            let mut crop = Crop::new();
            if let Some(a) = align(&Frame::grey8(&data, 32, 32).unwrap(), &points, &mut crop) {
                prop_assert!(a.points().iter().all(|p| p.is_finite()));
            }
        }
    }
}
