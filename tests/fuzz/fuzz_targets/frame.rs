//! Any layout of a frame, through the C ABI's check and the Rust one: an error, or every stage reads it without leaving its planes.
#![no_main]

use keyface::frame::{Frame, PixelFormat, Plane, Rotation, YuvRange};
use keyface::geometry::{Rect, Similarity};
use keyface::sample::{downscale_bytes_into, luma_stats, warp_into, Fit};
use keyface_ffi::frame::{kf_frame, kf_frame_check, kf_plane};
use keyface_ffi::status::kf_status;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    /// The ABI takes any number here.
    struct_size: Option<u32>,
    format: u32,
    width: u32,
    height: u32,
    rotation: u32,
    mirrored: u32,
    range: u32,
    plane_count: u32,
    strides: [usize; 3],
    split: [u16; 2],
    map: [f32; 4],
    rect: [f32; 4],
    pixels: &'a [u8],
}

fuzz_target!(|case: Case<'_>| {
    // Mostly small numbers, so that frames are found; now and then the raw ones.
    let small = |v: u32, most: u32| if v >> 28 == 15 { v } else { v % most };
    let stride = |v: usize| if v >> 60 == 15 { v } else { v % 256 };
    let (width, height) = (small(case.width, 65), small(case.height, 65));
    let (format, count) = (small(case.format, 10), small(case.plane_count, 4));
    let rest = case.pixels;
    // The planes own their bytes, so that a read past any end is seen.
    let (first, rest) = rest.split_at(usize::from(case.split[0]).min(rest.len()));
    let (second, third) = rest.split_at(usize::from(case.split[1]).min(rest.len()));
    let owned: [Box<[u8]>; 3] = [first.into(), second.into(), third.into()];
    let plane = |i: usize| kf_plane {
        data: owned[i].as_ptr(),
        length: owned[i].len(),
        stride: stride(case.strides[i]),
    };
    let lent = kf_frame {
        struct_size: case.struct_size.unwrap_or(size_of::<kf_frame>() as u32),
        format,
        width,
        height,
        rotation: small(case.rotation, 5),
        mirrored: small(case.mirrored, 3),
        range: small(case.range, 4),
        plane_count: count,
        planes: [plane(0), plane(1), plane(2)],
        timestamp_us: 0,
    };
    // SAFETY: the planes are readable for their lengths.
    let status = unsafe { kf_frame_check(&lent) };

    let Some(&pixels) = PixelFormat::ALL.get((format as usize).wrapping_sub(1)) else {
        return assert_ne!(status, kf_status::Ok);
    };
    let planes: Vec<Plane<'_>> = (0..3)
        .map(|i| Plane { data: &owned[i], stride: stride(case.strides[i]) })
        .take(count as usize)
        .collect();
    let (w, h) = (width as usize, height as usize);
    let frame = match planes.as_slice() {
        [one] if pixels.planes() > 1 => Frame::contiguous(pixels, w, h, one.stride, one.data),
        planes => Frame::new(pixels, w, h, planes),
    };
    let Ok(frame) = frame else { return assert_ne!(status, kf_status::Ok) };
    let turn = [Rotation::None, Rotation::Cw90, Rotation::Cw180, Rotation::Cw270];
    let range = if case.range & 1 == 0 { YuvRange::Limited } else { YuvRange::Full };
    let frame = frame
        .with_rotation(turn[case.rotation as usize & 3])
        .with_mirror(case.mirrored & 1 == 1)
        .with_range(range);

    let [x, y, w, h] = case.rect;
    let _ = luma_stats(&frame, &Rect { x, y, w, h });
    let [a, b, tx, ty] = case.map.map(f64::from);
    if let Some(map) = Similarity::new(a, b, tx, ty) {
        let _ = warp_into(&frame, &map, 24, &mut [0; 3 * 24 * 24]);
    }
    if let Ok(fit) = Fit::long_side(frame.upright_size(), 64, 32) {
        let (w, h) = fit.network_size();
        downscale_bytes_into(&frame, &fit, &mut vec![0; 3 * w * h]).expect("the buffer fits");
    }
});
