//! Synthetic faces: a texture and five points; each defect must give its reason and no other.

use super::*;
use crate::frame::YuvRange;
use proptest::prelude::*;

const SIDE: usize = 240;

/// Skin-like base of low frequency, and fine detail.
fn texture(x: usize, y: usize, detail: f32) -> f32 {
    let (x, y) = (x as f32, y as f32);
    25.0 * (0.09 * x + 0.05 * y).sin()
        + 25.0 * (0.04 * x - 0.1 * y).cos()
        + detail * (1.3 * x).sin() * (1.1 * y).sin()
}

fn picture(value: impl Fn(usize, usize) -> f32) -> Vec<u8> {
    (0..SIDE * SIDE).map(|i| value(i % SIDE, i / SIDE).round().clamp(0.0, 255.0) as u8).collect()
}

/// A frontal face: the template with the nose where people have it, `size` between the eyes.
fn face(size: f32, degrees: f64, centre: Point) -> Points5 {
    let mut points = TEMPLATE_112;
    points[2].y = 75.2;
    let scale = f64::from(size) / 35.238;
    let angle = degrees.to_radians();
    let turn = Similarity::new(scale * angle.cos(), scale * angle.sin(), 0.0, 0.0).unwrap();
    let middle = turn.apply(Point::new(56.0, 72.0));
    points.map(|p| {
        let q = turn.apply(p);
        Point::new(q.x - middle.x + centre.x, q.y - middle.y + centre.y)
    })
}

fn judge(data: &[u8], points: &Points5, score: f32, limits: &QualityLimits) -> Quality {
    let frame = Frame::grey8(data, SIDE, SIDE).unwrap().with_range(YuvRange::Full);
    let to_crop = Similarity::from_points(points, &TEMPLATE_112).unwrap();
    let mut crop = Crop::new();
    crop.warp(&frame, &to_crop.inverse()).unwrap();
    assess(&frame, points, score, &to_crop, &crop, limits)
}

#[test]
fn every_defect_gives_its_reason_and_no_other() {
    let middle = Point::new(120.0, 120.0);
    let (good, frontal) = (picture(|x, y| 125.0 + texture(x, y, 25.0)), face(44.0, 0.0, middle));
    let moved = |head: Points5| head.map(|p| Point::new(p.x - 80.0, p.y - 50.0));
    let (turned, nodding) = (moved(head(57.0, 0.0, 0.0)), moved(head(0.0, -46.0, 0.0)));
    let mut scrambled = frontal;
    scrambled.swap(0, 4);
    let clipped = |light: f32| {
        picture(move |x, y| if (x / 3 + y / 3) % 4 < 3 { light } else { 255.0 - light } + texture(x, y, 0.0) * 0.05)
    };
    let cases: [(&str, Vec<u8>, Points5, f32, Reasons); 14] = [
        ("good", good.clone(), frontal, 0.9, Reasons::NONE),
        ("tilted a little", good.clone(), face(44.0, 25.0, middle), 0.9, Reasons::NONE),
        (
            "dark skin",
            picture(|x, y| 55.0 + 0.5 * texture(x, y, 25.0)),
            frontal,
            0.9,
            Reasons::NONE,
        ),
        ("small", good.clone(), face(12.0, 0.0, middle), 0.9, Reasons::TOO_SMALL),
        ("dark", picture(|x, y| 24.0 + 0.4 * texture(x, y, 25.0)), frontal, 0.9, Reasons::TOO_DARK),
        (
            "bright",
            picture(|x, y| 236.0 + 0.3 * texture(x, y, 25.0)),
            frontal,
            0.9,
            Reasons::TOO_BRIGHT,
        ),
        ("clipped to black", clipped(0.0), frontal, 0.9, Reasons::TOO_DARK),
        ("clipped to white", clipped(255.0), frontal, 0.9, Reasons::TOO_BRIGHT),
        (
            "flat",
            picture(|x, y| 125.0 + 0.12 * texture(x, y, 60.0)),
            frontal,
            0.9,
            Reasons::LOW_CONTRAST,
        ),
        ("blurred", picture(|x, y| 125.0 + texture(x, y, 0.0)), frontal, 0.9, Reasons::BLURRED),
        ("turned", good.clone(), turned, 0.9, Reasons::TURNED_AWAY),
        ("nodding", good.clone(), nodding, 0.9, Reasons::TURNED_AWAY),
        ("tilted", good.clone(), face(44.0, 65.0, middle), 0.9, Reasons::TILTED),
        ("doubtful", good.clone(), frontal, 0.2, Reasons::LOW_LANDMARK_SCORE),
    ];
    for (name, data, points, score, reasons) in cases {
        let quality = judge(&data, &points, score, &QualityLimits::default());
        assert_eq!(quality.reasons, reasons, "{name}: {quality:?}");
    }
    let quality =
        judge(&good, &face(44.0, 0.0, Point::new(25.0, 120.0)), 0.9, &QualityLimits::default());
    assert_eq!(quality.reasons, Reasons::PARTLY_OUTSIDE, "{quality:?}");
    let quality = judge(&good, &scrambled, 0.9, &QualityLimits::default());
    assert!(quality.reasons.contains(Reasons::LOW_LANDMARK_SCORE), "{quality:?}");
    assert_eq!(
        judge(&good, &face(24.0, 0.0, middle), 0.9, &QualityLimits::ENROLMENT).reasons,
        Reasons::TOO_SMALL
    );
}

#[test]
fn the_landmark_score_is_the_published_one() {
    let close = |a: f32, b: f32| (a - b).abs() < 1e-6;
    assert!(close(landmark_score(0.0, 0.9), 0.9));
    assert!(close(landmark_score(0.05, 0.8), 0.6));
    assert!(close(landmark_score(0.15, 1.0), 0.25));
    assert_eq!(landmark_score(0.2, 1.0), 0.0);
    assert_eq!(landmark_score(7.0, 1.0), 0.0);
    assert_eq!(landmark_score(0.0, -1.0), 0.0);
    assert!(close(landmark_score(0.0, 3.0), 1.0));
    assert_eq!(landmark_score(f32::NAN, 1.0), 0.0);
    assert_eq!(landmark_score(0.0, f32::NAN), 0.0);
    assert_eq!(nme(&TEMPLATE_112), 0.0);
    // All points 11.2 pixels away; then one of five 56 pixels away.
    assert!(close(nme(&TEMPLATE_112.map(|p| Point::new(p.x + 11.2, p.y))), 0.1));
    let mut one = TEMPLATE_112;
    one[3].y += 56.0;
    assert!(close(nme(&one), 0.1));
}

/// Eyes and mouth in a plane, the nose before it, turned and projected along the line of sight.
fn head(yaw: f32, pitch: f32, roll: f32) -> Points5 {
    let (sy, cy) = yaw.to_radians().sin_cos();
    let (sp, cp) = pitch.to_radians().sin_cos();
    let (sr, cr) = roll.to_radians().sin_cos();
    let points = [
        (-0.5, 0.0, 0.0),
        (0.5, 0.0, 0.0),
        (0.0, 0.5916, 0.45),
        (-0.4, 1.02, 0.0),
        (0.4, 1.02, 0.0),
    ];
    points.map(|(x, y, z): (f32, f32, f32)| {
        let (y, z) = (y * cp + z * sp, z * cp - y * sp);
        let x = x * cy + z * sy;
        Point::new(200.0 + 50.0 * (x * cr - y * sr), 150.0 + 50.0 * (x * sr + y * cr))
    })
}

#[test]
fn the_pose_of_a_projected_head_comes_back() {
    for angle in [-50.0, -20.0, 0.0, 10.0, 45.0] {
        let close = |got: f32, want: f32| (got - want).abs() < 0.5;
        let (yaw, pitch, roll) = (
            pose(&head(angle, 0.0, 0.0)),
            pose(&head(0.0, angle, 0.0)),
            pose(&head(0.0, 0.0, angle)),
        );
        assert!(
            close(yaw.yaw, angle) && close(yaw.pitch, 0.0) && close(yaw.roll, 0.0),
            "{angle}: {yaw:?}"
        );
        assert!(
            close(pitch.pitch, angle) && close(pitch.yaw, 0.0) && close(pitch.roll, 0.0),
            "{angle}: {pitch:?}"
        );
        assert!(
            close(roll.roll, angle) && close(roll.yaw, 0.0) && close(roll.pitch, 0.0),
            "{angle}: {roll:?}"
        );
    }
    // Together the angles are an estimate.
    let all = pose(&head(25.0, 10.0, 15.0));
    assert!(
        (all.yaw - 25.0).abs() < 8.0
            && (all.pitch - 10.0).abs() < 8.0
            && (all.roll - 15.0).abs() < 8.0,
        "{all:?}"
    );
    let collapsed = pose(&[Point::new(3.0, 3.0); 5]);
    assert_eq!((collapsed.yaw, collapsed.pitch, collapsed.roll), (90.0, 90.0, 90.0));
}

fn crop_of(value: impl Fn(usize, usize) -> f32) -> Crop {
    let data: Vec<u8> = (0..CROP_SIDE * CROP_SIDE)
        .map(|i| value(i % CROP_SIDE, i / CROP_SIDE).round().clamp(0.0, 255.0) as u8)
        .collect();
    let mut crop = Crop::new();
    crop.copy_aligned(&Frame::grey8(&data, CROP_SIDE, CROP_SIDE).unwrap()).unwrap();
    crop
}

#[test]
fn sharpness_follows_blur_and_not_light() {
    let mut state = 7u32;
    let noise: Vec<f32> = (0..CROP_SIDE * CROP_SIDE)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32 - 127.5
        })
        .collect();
    let blurred = |x: usize, y: usize, radius: isize| {
        let at = |x: isize, y: isize| noise[(y.rem_euclid(112) * 112 + x.rem_euclid(112)) as usize];
        let (mut sum, mut n) = (0.0, 0.0);
        for dy in -radius..=radius {
            for dx in -radius..=radius {
                sum += at(x as isize + dx, y as isize + dy);
                n += 1.0;
            }
        }
        // As much contrast as before the blur.
        sum / f32::sqrt(n)
    };
    let of = |radius: isize, gain: f32, light: f32| {
        sharpness(&crop_of(|x, y| light + gain * blurred(x, y, radius)), 1.0)
    };
    let white = of(0, 0.5, 128.0);
    assert!((17.0..23.0).contains(&white), "{white}");
    let series = [white, of(1, 0.5, 128.0), of(2, 0.5, 128.0), of(4, 0.5, 128.0)];
    assert!(series.windows(2).all(|w| w[1] < 0.7 * w[0]), "{series:?}");
    let (dim, light) = (of(2, 0.25, 70.0), of(2, 0.5, 150.0));
    assert!((dim / light - 1.0).abs() < 0.15, "{dim} {light}");
    assert_eq!(sharpness(&crop_of(|_, _| 90.0), 1.0), 0.0);
    // A sharp face seen small and enlarged three times is sharp for its size, not at single crop pixels.
    let enlarged = crop_of(|x, y| 128.0 + 0.5 * noise[(y / 3) * 112 + x / 3]);
    assert!(sharpness(&enlarged, 3.0) > 1.3 * sharpness(&enlarged, 1.0));
}

#[test]
fn reasons_have_fixed_bits_and_names() {
    for (i, (reason, name)) in Reasons::ALL.iter().enumerate() {
        assert_eq!(reason.bits(), 1 << i);
        assert_eq!(reason.to_string(), *name);
    }
    let mut two = Reasons::BLURRED | Reasons::TOO_SMALL;
    assert_eq!(two.to_string(), "too small, blurred");
    assert!(two.contains(Reasons::BLURRED) && !two.contains(Reasons::BLURRED | Reasons::TILTED));
    two |= Reasons::TILTED;
    assert_eq!(two.names().count(), 3);
    assert_eq!((Reasons::NONE.to_string(), Reasons::NONE.is_empty()), ("good".to_owned(), true));
}

#[test]
fn what_is_not_a_number_is_beyond_every_limit() {
    let nan = f32::NAN;
    let luma = LumaStats { mean: nan, deviation: nan, dark: nan, bright: nan };
    let pose = Pose { yaw: nan, pitch: nan, roll: nan };
    let quality = Quality {
        eye_distance: nan,
        sharpness: nan,
        luma,
        pose,
        nme: nan,
        landmark_score: nan,
        outside: nan,
        reasons: Reasons::NONE,
    };
    assert_eq!(quality.beyond(&QualityLimits::default()).names().count(), Reasons::ALL.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_points_give_numbers(bits in proptest::array::uniform10(any::<u32>()), score in any::<f32>(), small in any::<bool>()) {
        let value = |b: u32| if small { (b % 4096) as f32 / 8.0 - 100.0 } else { f32::from_bits(b) };
        let points: Points5 = std::array::from_fn(|i| Point::new(value(bits[2 * i]), value(bits[2 * i + 1])));
        let p = pose(&points);
        prop_assert!(p.yaw.abs() <= 90.0 && p.pitch.abs() <= 90.0 && p.roll.abs() <= 180.0, "{:?}", p);
        let data = [130u8; 64 * 64];
        let frame = Frame::grey8(&data, 64, 64).unwrap();
        let to_crop = Similarity::from_points(&points, &TEMPLATE_112).unwrap_or(Similarity::IDENTITY);
        let quality = assess(&frame, &points, score, &to_crop, &Crop::new(), &QualityLimits::default());
        prop_assert!((0.0..=1.0).contains(&quality.landmark_score) && (0.0..=1.0).contains(&quality.outside));
    }
}
