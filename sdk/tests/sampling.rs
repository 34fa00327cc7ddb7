//! Sampling through the public interface: any frame that is accepted can be sampled, and the bytes are pinned.

use keyface::frame::{Frame, PixelFormat, Plane, Rotation, YuvRange};
use keyface::geometry::{Point, Rect, Similarity};
use keyface::sample::{downscale_into, luma_stats, warp_into, Fit};
use proptest::prelude::*;

const TURNS: [Rotation; 4] = [Rotation::None, Rotation::Cw90, Rotation::Cw180, Rotation::Cw270];

/// FNV-1a, 64 bits.
fn fnv(hash: u64, bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(hash, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Every output of the samplers on `frame`, hashed to the bit.
fn digest(frame: &Frame<'_>, mut hash: u64) -> u64 {
    for long_side in [40, 61, 200] {
        let fit = Fit::long_side(frame.upright_size(), long_side, 32).unwrap();
        let mut out = vec![0.0; 3 * fit.network_size().0 * fit.network_size().1];
        downscale_into(frame, &fit, &mut out).unwrap();
        hash = fnv(hash, out.iter().flat_map(|v| v.to_bits().to_le_bytes()));
    }
    for (a, b, x, y) in [(0.71, -0.23, 4.9, 30.2), (1.9, 0.4, -9.0, 3.0), (4.3, 0.8, -100.0, -80.0)]
    {
        let mut out = vec![0; 3 * 48 * 48];
        warp_into(frame, &Similarity::new(a, b, x, y).unwrap(), 48, &mut out).unwrap();
        hash = fnv(hash, out);
    }
    let luma = luma_stats(frame, &Rect::new(3.5, 7.25, 90.0, 55.5)).unwrap();
    let values = [luma.mean, luma.deviation, luma.dark, luma.bright];
    fnv(hash, values.iter().flat_map(|v| v.to_bits().to_le_bytes()))
}

/// The same on every CPU and operating system. A change of these numbers changes every template: it needs a new
/// `PREPROCESSING_VERSION`.
#[test]
fn the_samples_are_pinned_to_the_bit() {
    let data: Vec<u8> = (0..110u32 * 83 * 3)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 27) as u8 * 5 + (i / 411 % 97) as u8)
        .collect();
    let mut got = Vec::new();
    for format in PixelFormat::ALL {
        let frame = Frame::packed(format, 110, 83, &data).unwrap();
        let turned = |hash, rotation| {
            digest(&frame.with_rotation(rotation).with_mirror(rotation == Rotation::Cw90), hash)
        };
        got.push(TURNS.into_iter().fold(0xcbf2_9ce4_8422_2325, turned));
    }
    let want: [u64; 8] = [
        0xaef2_2650_acc4_1c77,
        0xa91b_e1ec_fbdc_b4e8,
        0xcc3f_392e_74c5_d7c2,
        0x1b4b_65ef_f6f4_c636,
        0x8a4e_e9d9_5063_9875,
        0x2384_045b_0467_500b,
        0x027d_8589_8570_dfe1,
        0xf659_6e57_95b5_5404,
    ];
    assert_eq!(got, want, "{got:#018x?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// `Frame::new` is the only guard: whatever it lets through is sampled without a panic.
    #[test]
    fn what_is_accepted_can_be_sampled(
        format in 0usize..8, turn in 0usize..4, mirrored: bool, full: bool,
        width in 1usize..40, height in 1usize..40, pads in proptest::array::uniform3(0usize..9), cuts in proptest::array::uniform3(0usize..4),
        long_side in 1usize..70, a in -9.0f64..9.0, b in -9.0f64..9.0, x in -60.0f64..60.0, y in -60.0f64..60.0,
    ) {
        let format = PixelFormat::ALL[format];
        let data = vec![0xa5u8; 8192];
        let planes: Vec<Plane<'_>> = (0..format.planes()).map(|i| {
            let (row, rows) = format.plane_size(i, width, height);
            let stride = row + pads[i];
            // Cut by 0 to 3 bytes from one more than the minimum: half of them are a byte or two short.
            Plane { data: &data[..(stride * (rows - 1) + row + 1).saturating_sub(cuts[i])], stride }
        }).collect();
        let odd = width % 2 == 1 && matches!(format, PixelFormat::Yuyv | PixelFormat::Uyvy);
        let short = (0..planes.len()).any(|i| cuts[i] > 1);
        let frame = Frame::new(format, width, height, &planes);
        prop_assert_eq!(frame.is_err(), odd || short);
        if let Ok(frame) = frame {
            let range = if full { YuvRange::Full } else { YuvRange::Limited };
            let frame = frame.with_rotation(TURNS[turn]).with_mirror(mirrored).with_range(range);
            let fit = Fit::long_side(frame.upright_size(), long_side, 8).unwrap();
            let mut out = vec![f32::NAN; 3 * fit.network_size().0 * fit.network_size().1];
            downscale_into(&frame, &fit, &mut out).unwrap();
            prop_assert!(out.iter().all(|v| (-1.0..=1.0).contains(v)));
            let corner = fit.to_picture().apply(Point::new(0.0, 0.0));
            prop_assert!(corner.is_finite());
            if let Some(t) = Similarity::new(a, b, x, y) {
                warp_into(&frame, &t, 16, &mut [0; 3 * 256]).unwrap();
            }
            let _ = luma_stats(&frame, &Rect::new(x as f32, y as f32, a as f32 * 9.0, b as f32 * 9.0));
        }
    }
}
