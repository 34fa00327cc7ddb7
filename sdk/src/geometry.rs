//! Points, rectangles and the similarity transform that aligns a face.
//!
//! Coordinates are pixels of the upright picture: x to the right, y down. **An integer coordinate is the centre of a
//! pixel**, as in OpenCV and in the five-point template, so the picture covers -0.5 ..= size - 0.5.
//! Everything here is plain arithmetic: no allocation, any thread.

use nalgebra::Vector2;

/// A position in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Down.
    pub y: f32,
}

impl Point {
    /// The point (x, y).
    #[must_use]
    pub const fn new(x: f32, y: f32) -> Self {
        Point { x, y }
    }

    /// Neither coordinate is infinite or NaN.
    #[must_use]
    pub fn is_finite(self) -> bool {
        self.x.is_finite() && self.y.is_finite()
    }

    /// Distance to `other` in pixels.
    #[must_use]
    pub fn distance(self, other: Point) -> f32 {
        let (dx, dy) = (self.x - other.x, self.y - other.y);
        (dx * dx + dy * dy).sqrt()
    }

    fn vector(self) -> Vector2<f64> {
        Vector2::new(f64::from(self.x), f64::from(self.y))
    }
}

/// The five key points of a face: left eye, right eye, nose tip, left and right mouth corner, where left means the
/// smaller x in an upright picture (the person's right side).
pub type Points5 = [Point; 5];

/// Where the five points lie in an aligned 112x112 crop: the template of the public ArcFace alignment, which the
/// published KP-RPE weights expect.
pub const TEMPLATE_112: Points5 = [
    Point::new(38.2946, 51.6963),
    Point::new(73.5318, 51.5014),
    Point::new(56.0252, 71.7366),
    Point::new(41.5493, 92.3655),
    Point::new(70.7299, 92.2041),
];

/// An upright rectangle: top-left corner and size, in pixels. A negative or NaN size means empty.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Rect {
    /// The rectangle with top-left corner (x, y) and size w x h.
    #[must_use]
    pub const fn new(x: f32, y: f32, w: f32, h: f32) -> Self {
        Rect { x, y, w, h }
    }

    /// Area in square pixels, 0 for an empty rectangle.
    #[must_use]
    pub fn area(&self) -> f32 {
        if self.w > 0.0 && self.h > 0.0 {
            self.w * self.h
        } else {
            0.0
        }
    }

    /// The middle of the rectangle.
    #[must_use]
    pub fn centre(&self) -> Point {
        Point::new(self.x + self.w * 0.5, self.y + self.h * 0.5)
    }

    /// Whether `p` lies inside; the left and top edges belong to the rectangle, the others do not.
    #[must_use]
    pub fn contains(&self, p: Point) -> bool {
        p.x >= self.x && p.x < self.x + self.w && p.y >= self.y && p.y < self.y + self.h
    }

    /// What both rectangles cover; empty (size 0) where they are apart.
    #[must_use]
    pub fn intersection(&self, other: &Rect) -> Rect {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let right = (self.x + self.w).min(other.x + other.w);
        let bottom = (self.y + self.h).min(other.y + other.h);
        Rect::new(x, y, (right - x).max(0.0), (bottom - y).max(0.0))
    }

    /// Intersection over union, 0..=1; 0 where either is empty.
    #[must_use]
    pub fn iou(&self, other: &Rect) -> f32 {
        let (a, b) = (self.area(), other.area());
        let both = if a > 0.0 && b > 0.0 { self.intersection(other).area() } else { 0.0 };
        if both > 0.0 {
            (both / (a + b - both)).min(1.0)
        } else {
            0.0
        }
    }
}

/// A rotation, a uniform scale and a translation, without reflection:
/// `x' = a x - b y + tx`, `y' = b x + a y + ty`.
///
/// Every value is finite and invertible: the scale lies in 1e-6 ..= 1e6 by construction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    a: f64,
    b: f64,
    tx: f64,
    ty: f64,
}

impl Similarity {
    /// The transform that changes nothing.
    pub const IDENTITY: Similarity = Similarity { a: 1.0, b: 0.0, tx: 0.0, ty: 0.0 };

    /// The transform with these coefficients; `None` where one is not finite, the scale lies outside
    /// 1e-6 ..= 1e6, or the translation beyond 1e9.
    #[must_use]
    pub fn new(a: f64, b: f64, tx: f64, ty: f64) -> Option<Self> {
        let scale = (a * a + b * b).sqrt();
        let sound = (1e-6..=1e6).contains(&scale) && tx.abs() <= 1e9 && ty.abs() <= 1e9;
        sound.then_some(Similarity { a, b, tx, ty })
    }

    /// The least-squares fit of `from` onto `to`: minimises the sum of |T(from_i) - to_i|^2 over all similarities
    /// without reflection. In the plane this is the closed form of Umeyama (IEEE PAMI 13, 1991) restricted to
    /// proper rotations.
    ///
    /// `None` where the slices differ in length or hold fewer than two points, a coordinate is not finite, all
    /// points of one side coincide, or the best fit has no usable scale.
    #[must_use]
    pub fn from_points(from: &[Point], to: &[Point]) -> Option<Self> {
        if from.len() != to.len() || from.len() < 2 {
            return None;
        }
        if !from.iter().chain(to).all(|p| p.is_finite()) {
            return None;
        }
        let n = from.len() as f64;
        let mean = |points: &[Point]| points.iter().map(|p| p.vector()).sum::<Vector2<f64>>() / n;
        let (mf, mt) = (mean(from), mean(to));
        let (mut dot, mut cross, mut spread, mut spread_to) = (0.0, 0.0, 0.0, 0.0);
        for (p, q) in from.iter().zip(to) {
            let (p, q) = (p.vector() - mf, q.vector() - mt);
            dot += p.dot(&q);
            cross += p.perp(&q);
            spread += p.norm_squared();
            spread_to += q.norm_squared();
        }
        // Rounding leaves about 1e-32 of |mean|^2 where the points coincide.
        let coincide = |spread: f64, mean: Vector2<f64>| spread <= 1e-20 * mean.norm_squared();
        if coincide(spread, mf) || coincide(spread_to, mt) {
            return None;
        }
        let (a, b) = (dot / spread, cross / spread);
        Similarity::new(a, b, mt.x - (a * mf.x - b * mf.y), mt.y - (b * mf.x + a * mf.y))
    }

    /// The transform that undoes this one.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let norm = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / norm, -self.b / norm);
        let (tx, ty) = (-(a * self.tx - b * self.ty), -(b * self.tx + a * self.ty));
        Similarity { a, b, tx, ty }
    }

    /// This transform first, then `next`. `None` where the product leaves the range of [`Similarity::new`].
    #[must_use]
    pub fn then(&self, next: &Similarity) -> Option<Self> {
        let (tx, ty) = next.apply_f64(self.tx, self.ty);
        Similarity::new(
            next.a * self.a - next.b * self.b,
            next.b * self.a + next.a * self.b,
            tx,
            ty,
        )
    }

    /// Where `p` goes.
    #[must_use]
    pub fn apply(&self, p: Point) -> Point {
        let (x, y) = self.apply_f64(f64::from(p.x), f64::from(p.y));
        Point::new(x as f32, y as f32)
    }

    /// Where five points go.
    #[must_use]
    pub fn apply5(&self, points: &Points5) -> Points5 {
        points.map(|p| self.apply(p))
    }

    /// The uniform scale: how many pixels after the transform one pixel before it spans.
    #[must_use]
    pub fn scale(&self) -> f64 {
        (self.a * self.a + self.b * self.b).sqrt()
    }

    /// The angle in radians, -pi ..= pi; positive turns from x towards y: clockwise on the screen.
    #[must_use]
    pub fn rotation(&self) -> f64 {
        self.b.atan2(self.a)
    }

    /// The coefficients (a, b, tx, ty).
    #[must_use]
    pub fn coefficients(&self) -> (f64, f64, f64, f64) {
        (self.a, self.b, self.tx, self.ty)
    }

    fn apply_f64(&self, x: f64, y: f64) -> (f64, f64) {
        (self.a * x - self.b * y + self.tx, self.b * x + self.a * y + self.ty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(p: Point, q: Point, eps: f32) -> bool {
        p.distance(q) <= eps
    }

    #[test]
    fn rect_iou_and_contains() {
        let a = Rect::new(0.0, 0.0, 10.0, 10.0);
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&Rect::new(5.0, 0.0, 10.0, 10.0)), 1.0 / 3.0);
        assert_eq!(a.iou(&Rect::new(20.0, 0.0, 10.0, 10.0)), 0.0);
        assert_eq!(a.iou(&Rect::new(0.0, 0.0, -1.0, -1.0)), 0.0);
        assert_eq!(a.iou(&Rect::new(f32::NAN, 0.0, 10.0, f32::NAN)), 0.0);
        assert!(a.contains(Point::new(0.0, 9.9)) && !a.contains(Point::new(10.0, 5.0)));
        assert!(!a.contains(Point::new(f32::NAN, 5.0)));
        assert_eq!(a.centre(), Point::new(5.0, 5.0));
    }

    #[test]
    fn a_reflected_face_is_not_reflected_back() {
        let mirrored = TEMPLATE_112.map(|p| Point::new(111.0 - p.x, p.y));
        let fit = Similarity::from_points(&mirrored, &TEMPLATE_112).unwrap();
        let (a, b, _, _) = fit.coefficients();
        assert!(a * a + b * b > 0.0, "a proper rotation by construction");
        let worst = fit
            .apply5(&mirrored)
            .iter()
            .zip(&TEMPLATE_112)
            .map(|(p, q)| p.distance(*q))
            .fold(0.0, f32::max);
        assert!(worst > 10.0, "a reflection would have fitted within a pixel: {worst}");
    }

    #[test]
    fn the_fit_is_the_least_squares_optimum() {
        let from = [
            Point::new(3.0, 1.0),
            Point::new(90.0, 7.0),
            Point::new(40.0, 55.0),
            Point::new(8.0, 99.0),
        ];
        let to = [
            Point::new(10.0, 20.0),
            Point::new(70.0, 12.0),
            Point::new(50.0, 61.0),
            Point::new(15.0, 80.0),
        ];
        let cost = |t: &Similarity| -> f64 {
            from.iter()
                .zip(&to)
                .map(|(p, q)| (t.apply(*p).vector() - q.vector()).norm_squared())
                .sum()
        };
        let fit = Similarity::from_points(&from, &to).unwrap();
        let (a, b, tx, ty) = fit.coefficients();
        for (da, db, dx, dy) in [
            (1e-2, 0.0, 0.0, 0.0),
            (0.0, 1e-2, 0.0, 0.0),
            (0.0, 0.0, 0.5, 0.0),
            (0.0, 0.0, 0.0, 0.5),
        ] {
            for s in [-1.0, 1.0] {
                let other =
                    Similarity::new(a + s * da, b + s * db, tx + s * dx, ty + s * dy).unwrap();
                assert!(cost(&other) > cost(&fit));
            }
        }
    }

    #[test]
    fn degenerate_points_are_refused() {
        let same = [Point::new(7.25, 9.1); 5];
        assert_eq!(Similarity::from_points(&same, &TEMPLATE_112), None);
        assert_eq!(Similarity::from_points(&TEMPLATE_112, &same), None);
        assert_eq!(Similarity::from_points(&[Point::new(1e30, 1e30); 5], &TEMPLATE_112), None);
        assert_eq!(Similarity::from_points(&[Point::default(); 5], &TEMPLATE_112), None);
        assert_eq!(Similarity::from_points(&TEMPLATE_112[..4], &TEMPLATE_112), None);
        assert_eq!(Similarity::from_points(&TEMPLATE_112[..1], &TEMPLATE_112[..1]), None);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for i in 0..5 {
                let mut points = TEMPLATE_112;
                points[i].y = bad;
                assert_eq!(Similarity::from_points(&points, &TEMPLATE_112), None);
                assert_eq!(Similarity::from_points(&TEMPLATE_112, &points), None);
            }
        }
        assert_eq!(Similarity::new(0.0, 0.0, 0.0, 0.0), None);
        assert_eq!(Similarity::new(f64::NAN, 0.0, 0.0, 0.0), None);
        assert_eq!(Similarity::new(1.0, 0.0, f64::NAN, 0.0), None);
    }

    proptest! {
        #[test]
        fn a_known_similarity_is_recovered(angle in -3.1f64..3.1, scale in 0.05f64..50.0, tx in -4e3f64..4e3, ty in -4e3f64..4e3) {
            let t = Similarity::new(scale * angle.cos(), scale * angle.sin(), tx, ty).unwrap();
            prop_assert!((t.scale() - scale).abs() < 1e-9 * scale);
            prop_assert!((t.rotation() - angle).abs() < 1e-9);
            let moved = t.apply5(&TEMPLATE_112);
            let back = Similarity::from_points(&moved, &TEMPLATE_112).unwrap();
            for (p, q) in moved.iter().zip(&TEMPLATE_112) {
                prop_assert!(near(back.apply(*p), *q, 0.02));
                prop_assert!(near(t.inverse().apply(*p), *q, 0.02));
            }
            let both = t.then(&t.inverse()).unwrap();
            prop_assert!(near(both.apply(Point::new(5.0, 6.0)), Point::new(5.0, 6.0), 1e-3));
        }

        #[test]
        fn no_input_gives_a_nan(bits in proptest::array::uniform20(any::<u32>())) {
            let p = |i: usize| Point::new(f32::from_bits(bits[2 * i]), f32::from_bits(bits[2 * i + 1]));
            let (from, to) = ([p(0), p(1), p(2), p(3), p(4)], [p(5), p(6), p(7), p(8), p(9)]);
            for t in [Similarity::from_points(&from, &to), Similarity::from_points(&from, &TEMPLATE_112)].into_iter().flatten() {
                for t in [t, t.inverse()] {
                    prop_assert!(t.apply(Point::new(100.0, 100.0)).is_finite());
                }
            }
        }
    }
}
