//! One synthetic picture in all formats, sizes, strides and rotations.

use super::*;
use crate::frame::{Frame, PixelFormat, Plane, Rotation, YuvRange};
use crate::geometry::{Point, Rect, Similarity};

/// A smooth colourful picture: neighbouring chroma differs little, so 4:2:0 loses little.
fn rgb_at(x: usize, y: usize) -> [u8; 3] {
    let (x, y) = (x as f32, y as f32);
    let wave = |fx: f32, fy: f32, p: f32| (128.0 + 80.0 * (x * fx + y * fy + p).sin()) as u8;
    [wave(0.025, 0.015, 0.0), wave(-0.02, 0.025, 1.0), wave(0.015, -0.03, 2.0)]
}

fn yuv(rgb: [f32; 3], range: YuvRange) -> [f32; 3] {
    let [r, g, b] = rgb;
    let y = 0.299 * r + 0.587 * g + 0.114 * b;
    let (u, v) = ((b - y) / 1.772, (r - y) / 1.402);
    match range {
        YuvRange::Full => [y, u + 128.0, v + 128.0],
        YuvRange::Limited => {
            [y * 219.0 / 255.0 + 16.0, u * 224.0 / 255.0 + 128.0, v * 224.0 / 255.0 + 128.0]
        }
    }
}

/// An owned picture whose planes are cut to the last byte a frame may read, padding filled with noise.
struct Picture {
    format: PixelFormat,
    size: (usize, usize),
    range: YuvRange,
    planes: Vec<(Vec<u8>, usize)>,
}

impl Picture {
    fn new(
        format: PixelFormat,
        size: (usize, usize),
        pad: usize,
        range: YuvRange,
        rgb: impl Fn(usize, usize) -> [u8; 3],
    ) -> Self {
        let (w, h) = size;
        let mut planes: Vec<(Vec<u8>, usize)> = (0..format.planes())
            .map(|i| {
                let (row, rows) = format.plane_size(i, w, h);
                let noise = |k: usize| (k * 89 + 31) as u8;
                ((0..(row + pad) * (rows - 1) + row).map(noise).collect(), row + pad)
            })
            .collect();
        // Mean over the pixels that share a chroma sample.
        let mean = |x0: usize, y0: usize, nx: usize, ny: usize| -> [u8; 3] {
            let mut sum = [0.0; 3];
            let mut n = 0.0;
            for y in y0..(y0 + ny).min(h) {
                for x in x0..(x0 + nx).min(w) {
                    let v = yuv(rgb(x, y).map(f32::from), range);
                    (0..3).for_each(|c| sum[c] += v[c]);
                    n += 1.0;
                }
            }
            sum.map(|s| (s / n).round() as u8)
        };
        for y in 0..h {
            for x in 0..w {
                let [r, g, b] = rgb(x, y);
                let luma = mean(x, y, 1, 1)[0];
                let mut put = |plane: usize, y: usize, at: usize, v: u8| {
                    let (data, stride) = &mut planes[plane];
                    data[y * *stride + at] = v;
                };
                let [_, u2, v2] = mean(x & !1, y, 2, 1);
                let [_, u4, v4] = mean(x & !1, y & !1, 2, 2);
                match format {
                    PixelFormat::Rgb8 => {
                        [r, g, b].into_iter().enumerate().for_each(|(c, v)| put(0, y, 3 * x + c, v))
                    }
                    PixelFormat::Bgr8 => {
                        [b, g, r].into_iter().enumerate().for_each(|(c, v)| put(0, y, 3 * x + c, v))
                    }
                    PixelFormat::Grey8 => put(0, y, x, luma),
                    PixelFormat::Yuyv => {
                        put(0, y, 2 * x, luma);
                        put(0, y, 4 * (x / 2) + 1, u2);
                        put(0, y, 4 * (x / 2) + 3, v2);
                    }
                    PixelFormat::Uyvy => {
                        put(0, y, 2 * x + 1, luma);
                        put(0, y, 4 * (x / 2), u2);
                        put(0, y, 4 * (x / 2) + 2, v2);
                    }
                    PixelFormat::Nv12 | PixelFormat::Nv21 => {
                        let (first, second) =
                            if format == PixelFormat::Nv12 { (u4, v4) } else { (v4, u4) };
                        put(0, y, x, luma);
                        put(1, y / 2, 2 * (x / 2), first);
                        put(1, y / 2, 2 * (x / 2) + 1, second);
                    }
                    PixelFormat::I420 => {
                        put(0, y, x, luma);
                        put(1, y / 2, x / 2, u4);
                        put(2, y / 2, x / 2, v4);
                    }
                }
            }
        }
        Picture { format, size, range, planes }
    }

    fn frame(&self) -> Frame<'_> {
        let planes: Vec<Plane<'_>> =
            self.planes.iter().map(|(data, stride)| Plane { data, stride: *stride }).collect();
        Frame::new(self.format, self.size.0, self.size.1, &planes).unwrap().with_range(self.range)
    }
}

const TURNS: [Rotation; 4] = [Rotation::None, Rotation::Cw90, Rotation::Cw180, Rotation::Cw270];

fn small(frame: &Frame<'_>, long_side: usize) -> (Fit, Vec<f32>) {
    let fit = Fit::long_side(frame.upright_size(), long_side, 32).unwrap();
    let (w, h) = fit.network_size();
    let mut out = vec![f32::NAN; 3 * w * h];
    downscale_into(frame, &fit, &mut out).unwrap();
    assert!(out.iter().all(|v| (-1.0..=1.0).contains(v)), "every value is written");
    (fit, out)
}

fn crop(frame: &Frame<'_>, to_frame: &Similarity, side: usize) -> Vec<u8> {
    let mut out = vec![77; 3 * side * side];
    warp_into(frame, to_frame, side, &mut out).unwrap();
    out
}

fn as_bytes(small: &[f32]) -> Vec<u8> {
    small.iter().map(|v| ((v + 1.0) * 127.5).round() as u8).collect()
}

/// Largest difference; for grey the expected colours are first turned into luma.
fn worst(format: PixelFormat, got: &[u8], rgb: &[u8]) -> i32 {
    let n = rgb.len() / 3;
    let luma = |i: usize| {
        let c = |k: usize| f32::from(rgb[k * n + i]);
        (0.299 * c(0) + 0.587 * c(1) + 0.114 * c(2)).round() as i32
    };
    let want =
        |i: usize| if format == PixelFormat::Grey8 { luma(i % n) } else { i32::from(rgb[i]) };
    got.iter().enumerate().map(|(i, &v)| (i32::from(v) - want(i)).abs()).max().unwrap()
}

#[test]
fn all_formats_show_the_same_picture() {
    let tilt = Similarity::new(0.9, 0.3, 11.0, 5.0).unwrap();
    let far = Similarity::new(2.6, -0.4, 3.0, 20.0).unwrap();
    for size in [(96, 64), (95, 63), (64, 97)] {
        let reference = Picture::new(PixelFormat::Rgb8, size, 0, YuvRange::Full, rgb_at);
        for format in PixelFormat::ALL {
            let size = if matches!(format, PixelFormat::Yuyv | PixelFormat::Uyvy) {
                (size.0 & !1, size.1)
            } else {
                size
            };
            let reference = if size == reference.size {
                &reference
            } else {
                &Picture::new(PixelFormat::Rgb8, size, 0, YuvRange::Full, rgb_at)
            };
            for range in [YuvRange::Full, YuvRange::Limited] {
                for pad in [0, 13] {
                    let picture = Picture::new(format, size, pad, range, rgb_at);
                    let (got, want) = (picture.frame(), reference.frame());
                    for long_side in [32, 41, 160] {
                        let (got, want) = (small(&got, long_side).1, small(&want, long_side).1);
                        let worst = worst(format, &as_bytes(&got), &as_bytes(&want));
                        assert!(
                            worst <= 4,
                            "{format:?} {size:?} {range:?} to {long_side}: {worst}"
                        );
                    }
                    for to_frame in [&tilt, &far] {
                        let worst =
                            worst(format, &crop(&got, to_frame, 48), &crop(&want, to_frame, 48));
                        assert!(worst <= 4, "{format:?} {size:?} {range:?} {to_frame:?}: {worst}");
                    }
                    let rect = Rect::new(10.0, 8.0, 40.0, 30.0);
                    let (got, want) =
                        (luma_stats(&got, &rect).unwrap(), luma_stats(&want, &rect).unwrap());
                    assert!(
                        (got.mean - want.mean).abs() < 1.0
                            && (got.deviation - want.deviation).abs() < 1.0
                    );
                }
            }
        }
    }
}

/// A picture stored turned and shown upright equals the picture stored upright.
#[test]
fn rotations_and_mirrors_are_undone_exactly() {
    let (w, h) = (46, 30);
    let plain = Picture::new(PixelFormat::Rgb8, (w, h), 0, YuvRange::Full, rgb_at);
    let tilt = Similarity::new(0.9, 0.3, -4.0, 5.5).unwrap();
    for rotation in TURNS {
        for mirrored in [false, true] {
            let turned = matches!(rotation, Rotation::Cw90 | Rotation::Cw270);
            let size = if turned { (h, w) } else { (w, h) };
            // Where stored pixel (x, y) comes from in the upright picture, from the definition of the rotation.
            let upright = |x: usize, y: usize| {
                let (u, v) = match rotation {
                    Rotation::None => (x, y),
                    Rotation::Cw90 => (size.1 - 1 - y, x),
                    Rotation::Cw180 => (size.0 - 1 - x, size.1 - 1 - y),
                    Rotation::Cw270 => (y, size.0 - 1 - x),
                };
                rgb_at(if mirrored { w - 1 - u } else { u }, v)
            };
            let stored = Picture::new(PixelFormat::Rgb8, size, 7, YuvRange::Full, upright);
            let frame = stored.frame().with_rotation(rotation).with_mirror(mirrored);
            let name = format!("{rotation:?} {mirrored}");
            for long_side in [17, 23, 46, 90] {
                assert_eq!(
                    small(&frame, long_side),
                    small(&plain.frame(), long_side),
                    "{name} to {long_side}"
                );
            }
            let differ = |t: &Similarity| {
                worst(PixelFormat::Rgb8, &crop(&frame, t, 32), &crop(&plain.frame(), t, 32))
            };
            assert_eq!(differ(&Similarity::new(1.0, 0.0, 3.0, 2.0).unwrap()), 0, "{name}");
            // Positions round the other way when mirrored: 1/256 of a pixel.
            assert!(differ(&tilt) <= 1, "{name}: {}", differ(&tilt));
            let rect = Rect::new(3.0, 2.0, 20.0, 11.0);
            assert_eq!(luma_stats(&frame, &rect), luma_stats(&plain.frame(), &rect), "{name}");
        }
    }
}

#[test]
fn black_and_white_reach_the_ends_of_the_scale() {
    for format in PixelFormat::ALL {
        for range in [YuvRange::Limited, YuvRange::Full] {
            for (level, value) in [(0u8, -1.0f32), (255, 1.0)] {
                let picture = Picture::new(format, (20, 20), 3, range, |_, _| [level; 3]);
                let frame = picture.frame();
                for long_side in [10, 40] {
                    let (fit, out) = small(&frame, long_side);
                    let (w, h) = fit.network_size();
                    let (cw, ch) = fit.content_size();
                    for (i, v) in out.iter().enumerate() {
                        let (x, y) = (i % w, i / w % h);
                        assert_eq!(
                            *v,
                            if x < cw && y < ch { value } else { -1.0 },
                            "{format:?} {range:?} {level}"
                        );
                    }
                }
                let shifted = crop(&frame, &Similarity::new(1.0, 0.0, 5.0, 5.0).unwrap(), 30);
                for (i, v) in shifted.iter().enumerate() {
                    let inside = i % 30 < 15 && i / 30 % 30 < 15;
                    assert_eq!(*v, if inside { level } else { 0 }, "{format:?} {range:?}");
                }
                let stats = luma_stats(&frame, &Rect::new(0.0, 0.0, 20.0, 20.0)).unwrap();
                assert_eq!((stats.mean, stats.deviation), (f32::from(level), 0.0));
                assert_eq!(
                    (stats.dark, stats.bright),
                    if level == 0 { (1.0, 0.0) } else { (0.0, 1.0) }
                );
            }
        }
    }
}

#[test]
fn shrinking_counts_every_pixel() {
    let mut state = 1u32;
    for (w, h, long_side) in
        [(60, 40, 30), (61, 43, 17), (50, 50, 50), (64, 1, 8), (47, 90, 89), (31, 300, 2)]
    {
        let data: Vec<u8> = (0..w * h)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let (fit, out) = small(&Frame::grey8(&data, w, h).unwrap(), long_side);
        // The mean over real areas, in floating point.
        let k = w.max(h) as f64 / long_side as f64;
        let cover = |i: usize, j: usize| {
            (((j + 1) as f64 * k).min(i as f64 + 1.0) - (j as f64 * k).max(i as f64)).max(0.0)
        };
        // Results are rounded to whole steps; edges, where fractional, to 1/16 pixel on either axis.
        let bound = if k.fract() == 0.0 { 0.51 } else { 0.51 + 2.0 * 255.0 / 16.0 / k };
        for y in 0..fit.content_size().1 {
            for x in 0..fit.content_size().0 {
                let (mut sum, mut area) = (0.0, 0.0);
                for (i, &v) in data.iter().enumerate() {
                    let weight = cover(i % w, x) * cover(i / w, y);
                    sum += weight * f64::from(v);
                    area += weight;
                }
                let got = f64::from(out[y * fit.network_size().0 + x] + 1.0) * 127.5;
                let error = (got - sum / area).abs();
                assert!(error < bound, "{w}x{h} to {long_side} at {x}, {y}: {error}");
            }
        }
    }
    // In the interior, exactly: every source pixel of a 2x2 box counts a quarter.
    let data: Vec<u8> = (0..16).map(|i| i * 10).collect();
    let (_, out) = small(&Frame::grey8(&data, 4, 4).unwrap(), 2);
    assert_eq!(as_bytes(&out[..2]), [25, 45]);
    assert_eq!(as_bytes(&out[32..34]), [105, 125]);
}

#[test]
fn points_map_back_to_where_they_were() {
    for (size, long_side, spot) in
        [((640, 480), 320, (301, 177)), ((90, 120), 320, (44, 80)), ((333, 77), 96, (200, 40))]
    {
        let (w, h) = size;
        // A soft round spot, located again by its centre of mass.
        let data: Vec<u8> = (0..w * h)
            .map(|i| {
                let d = ((i % w) as f32 - spot.0 as f32).hypot((i / w) as f32 - spot.1 as f32);
                (255.0 * (-d * d / 50.0).exp()) as u8
            })
            .collect();
        let frame = Frame::grey8(&data, w, h).unwrap();
        let (fit, out) = small(&frame, long_side);
        let (nw, nh) = fit.network_size();
        let mass = |values: &[f32], w: usize| {
            let sum: f32 = values.iter().sum();
            let x = values.iter().enumerate().map(|(i, v)| v * (i % w) as f32).sum::<f32>() / sum;
            let y = values.iter().enumerate().map(|(i, v)| v * (i / w) as f32).sum::<f32>() / sum;
            Point::new(x, y)
        };
        let seen = mass(&out[..nw * nh].iter().map(|v| v + 1.0).collect::<Vec<_>>(), nw);
        let back = fit.to_picture().apply(seen);
        let truth = Point::new(spot.0 as f32, spot.1 as f32);
        assert!(back.distance(truth) < 0.15, "{size:?}: {back:?} for {truth:?}");

        let to_crop = Similarity::new(0.4, 0.2, 3.0, -50.0).unwrap();
        let expected = to_crop.apply(truth);
        let move_in =
            Similarity::new(1.0, 0.0, 40.0 - f64::from(expected.x), 40.0 - f64::from(expected.y))
                .unwrap();
        let to_crop = to_crop.then(&move_in).unwrap();
        let values: Vec<f32> =
            crop(&frame, &to_crop.inverse(), 80)[..6400].iter().map(|&v| f32::from(v)).collect();
        assert!(
            mass(&values, 80).distance(Point::new(40.0, 40.0)) < 0.15,
            "{size:?}: {:?}",
            mass(&values, 80)
        );
    }
}

#[test]
fn a_strong_shrink_does_not_alias() {
    // Stripes of one pixel, seen 8 times smaller, are grey; single samples would be black or white.
    let data: Vec<u8> = (0..400 * 400).map(|i| if i % 400 % 2 == 0 { 255 } else { 0 }).collect();
    let frame = Frame::grey8(&data, 400, 400).unwrap();
    for scale in [3.0, 8.0, 24.0] {
        let out = crop(&frame, &Similarity::new(scale, 0.0, 60.3, 60.3).unwrap(), 12);
        assert!(out.iter().all(|v| (90..=165).contains(v)), "{scale}: {out:?}");
    }
}

#[test]
fn the_smallest_frames_and_wildest_transforms_stay_inside() {
    for format in PixelFormat::ALL {
        for size in [(1, 1), (2, 1), (2, 2), (3, 3), (2, 5)] {
            if matches!(format, PixelFormat::Yuyv | PixelFormat::Uyvy) && size.0 % 2 == 1 {
                continue;
            }
            let picture = Picture::new(format, size, 2, YuvRange::Full, rgb_at);
            for rotation in TURNS {
                for mirrored in [false, true] {
                    let frame = picture.frame().with_rotation(rotation).with_mirror(mirrored);
                    for long_side in [1, 2, 3, 5, 32] {
                        small(&frame, long_side);
                    }
                    for (a, b, tx, ty) in [
                        (1e-6, 0.0, 0.0, 0.0),
                        (0.1, 0.1, -0.9, 0.4),
                        (1.0, 0.0, -3.0, -3.0),
                        (-1e5, 0.0, 1e8, -1e8),
                        (0.0, 9e4, 0.0, 0.0),
                        (33.3, -21.0, -100.0, 7.0),
                    ] {
                        crop(&frame, &Similarity::new(a, b, tx, ty).unwrap(), 9);
                    }
                    luma_stats(&frame, &Rect::new(-1e30, -1e9, 2e30, 3e9)).unwrap();
                }
            }
        }
    }
}

#[test]
fn wrong_arguments_are_errors() {
    let data = [0u8; 64];
    let frame = Frame::grey8(&data, 8, 8).unwrap();
    let fit = Fit::long_side((8, 8), 32, 32).unwrap();
    assert!(downscale_into(&frame, &fit, &mut [0.0; 3 * 32 * 32 - 1]).is_err());
    let other = Fit::long_side((8, 7), 32, 32).unwrap();
    assert!(downscale_into(&frame, &other, &mut [0.0; 3 * 32 * 32]).is_err());
    for (size, long_side, multiple) in [
        ((0, 8), 32, 32),
        ((8, 0), 32, 32),
        ((8, 8), 0, 32),
        ((8, 8), 32, 0),
        ((8, 8), 1025, 1),
        ((8, 8), 1024, 1000),
        ((16_385, 8), 320, 1),
        ((2560, 8), 10, 1),
    ] {
        assert!(
            Fit::long_side(size, long_side, multiple).is_err(),
            "{size:?} {long_side} {multiple}"
        );
    }
    for (size, canvas) in
        [((0, 8), (32, 32)), ((8, 8), (0, 32)), ((8, 8), (1025, 32)), ((usize::MAX, 8), (32, 32))]
    {
        assert!(Fit::canvas(size, canvas).is_err(), "{size:?} {canvas:?}");
    }
    let identity = Similarity::IDENTITY;
    assert!(warp_into(&frame, &identity, 0, &mut []).is_err());
    assert!(warp_into(&frame, &identity, 4, &mut [0; 47]).is_err());
    assert!(warp_into(&frame, &identity, 1025, &mut vec![0; 3 * 1025 * 1025]).is_err());
    assert!(
        warp_into(&frame, &Similarity::new(2e5, 0.0, 0.0, 0.0).unwrap(), 4, &mut [0; 48]).is_err()
    );
    assert!(warp_into(
        &frame,
        &Similarity::new(1e-6, 0.0, 9.0, 0.0).unwrap().inverse(),
        4,
        &mut [0; 48]
    )
    .is_err());
    for rect in [
        Rect::new(8.0, 0.0, 4.0, 4.0),
        Rect::new(-9.0, 0.0, 9.0, 4.0),
        Rect::new(0.0, 0.0, 0.0, 4.0),
        Rect::new(f32::NAN, 0.0, 4.0, 4.0),
    ] {
        assert_eq!(luma_stats(&frame, &rect), None);
    }
}

#[test]
fn a_canvas_is_filled_along_one_side() {
    let fit = Fit::canvas((640, 480), (320, 320)).unwrap();
    assert_eq!((fit.content_size(), fit.network_size()), ((320, 240), (320, 320)));
    let fit = Fit::canvas((480, 640), (320, 256)).unwrap();
    assert_eq!(fit.content_size(), (192, 256));
    let fit = Fit::canvas((1920, 1079), (320, 192)).unwrap();
    assert_eq!(fit.content_size(), (320, 180));
}
