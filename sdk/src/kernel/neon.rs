//! The `neon` level: widening multiplies, for AArch64 without SDOT (Cortex-A53, A57, A72).
//!
//! Two products fit into 16 bits when one factor is in -127..=127 (`2 * 127 * 128 < 2^15`), so 16 values of `k` take one
//! SMULL, one SMLAL2 and one SADALP. Activations have that range by construction; gallery rows need not, see `dot`.
//! Mostly eight products fit and nearly always four, which saves most SADALPs. That is not guessed but verified: tiles and
//! panels hold [`norms`] of every [`BLOCK`] values, and [`fit`] says what they allow.

use std::arch::aarch64::*;
use std::arch::asm;

use super::isa::{float_methods, Isa, Prepared, Tile};
use super::weights::{GROUP, PANEL};

/// AArch64 with Advanced SIMD.
pub(super) struct Neon;

/// Rows per tile: 4 x 4 sums of four lanes, eight weights, four activations, two products.
const ROWS: usize = 4;
/// Values of `k` per register.
const STEP: usize = 16;
/// Channels per pass over `k`.
const CHANNELS: usize = 4;
/// Values of `k` whose products may meet in 16 bits: four registers, eight products per lane.
const BLOCK: usize = 4 * STEP;
/// Bytes of a block's norms, which precede it.
const NORMS: usize = 2 * 16;

/// Bytes of four rows or channels.
const fn bytes_of_four(kp: usize) -> usize {
    kp / BLOCK * NORMS + 4 * kp.next_multiple_of(STEP)
}

/// Norms of a block of 64 values, of each row or channel of which 16-bit lane `l` meets the values `l, l + 8, ..`: the sums of
/// squares of the eight values of a lane, and the larger sum of the first or the last four of them; each the largest of
/// lanes `l` and `l + 4` and of all rows or channels. Exact: whole numbers up to 2^17.
type Norms = [float32x4_t; 2];

/// Whether no sum of products of what these are the norms of leaves 16 bits. By the Cauchy-Schwarz inequality the square of
/// such a sum is at most the product of the norms; rounding does not carry it below 2^30.
#[inline]
#[target_feature(enable = "neon")]
fn fit(activations: float32x4_t, weights: float32x4_t) -> bool {
    vmaxvq_f32(vmulq_f32(activations, weights)) < 1_073_741_824.0
}

/// The norms of one row's block.
#[inline]
#[target_feature(enable = "neon")]
fn norms(x: [int8x16_t; 4]) -> Norms {
    // Two squares are at most 2^15: unsigned, they fit into 16 bits.
    let squares = |x| {
        let low = vmull_s8(vget_low_s8(x), vget_low_s8(x));
        vreinterpretq_u16_s16(vmlal_high_s8(low, x, x))
    };
    let low = |a, b| vaddl_u16(vget_low_u16(a), vget_low_u16(b));
    let (a, b, c, d) = (squares(x[0]), squares(x[1]), squares(x[2]), squares(x[3]));
    let (low0, low1, high0, high1) =
        (low(a, b), low(c, d), vaddl_high_u16(a, b), vaddl_high_u16(c, d));
    let eight = vmaxq_u32(vaddq_u32(low0, low1), vaddq_u32(high0, high1));
    let four = vmaxq_u32(vmaxq_u32(low0, low1), vmaxq_u32(high0, high1));
    [vcvtq_f32_u32(eight), vcvtq_f32_u32(four)]
}

/// Lane by lane the larger.
#[inline]
#[target_feature(enable = "neon")]
fn larger(a: Norms, b: Norms) -> Norms {
    [vmaxq_f32(a[0], b[0]), vmaxq_f32(a[1], b[1])]
}

/// # Safety
/// The CPU has NEON; 32 bytes can be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load_norms(from: *const u8) -> Norms {
    // SAFETY: the caller's promise.
    unsafe { [vld1q_f32(from.cast()), vld1q_f32(from.add(16).cast())] }
}

/// # Safety
/// The CPU has NEON; 32 bytes can be written.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store_norms(to: *mut u8, norms: Norms) {
    // SAFETY: the caller's promise.
    unsafe {
        vst1q_f32(to.cast(), norms[0]);
        vst1q_f32(to.add(16).cast(), norms[1]);
    }
}

// SAFETY: each function stays within the documented sizes and needs no more than NEON.
unsafe impl Isa for Neon {
    type Lanes = super::lanes::arm::Neon4;
    const ROWS: usize = ROWS;
    const DIRECT_ROWS: usize = 2;

    /// For each block norms and `[ROWS][64]`, then `[ROWS][16]` for each 16 values that are left.
    fn tile_bytes(kp: usize) -> usize {
        bytes_of_four(kp)
    }

    /// For each four channels the same as for four rows.
    fn prepared_bytes(kp: usize) -> usize {
        PANEL / CHANNELS * bytes_of_four(kp)
    }

    #[target_feature(enable = "neon")]
    unsafe fn put_row(tile: *mut u8, r: usize, q: &[i8], _nonnegative: bool) {
        // SAFETY: every block of row `r` and its norms lie within the tile, and so do the steps of a last one.
        unsafe {
            let mut at = tile;
            let (blocks, rest) = q.as_chunks::<BLOCK>();
            for block in blocks {
                let from = block.as_ptr();
                let x = [
                    vld1q_s8(from),
                    vld1q_s8(from.add(16)),
                    vld1q_s8(from.add(32)),
                    vld1q_s8(from.add(48)),
                ];
                store_block(at.add(NORMS + r * BLOCK), x);
                let norms = norms(x);
                store_norms(at, if r == 0 { norms } else { larger(norms, load_norms(at)) });
                at = at.add(NORMS + ROWS * BLOCK);
            }
            let mut to = at.add(r * STEP).cast::<i8>();
            for rest in rest.chunks(STEP) {
                let mut step = [0; STEP];
                step[..rest.len()].copy_from_slice(rest);
                vst1q_s8(to, vld1q_s8(step.as_ptr()));
                to = to.wrapping_add(ROWS * STEP);
            }
        }
    }

    #[target_feature(enable = "neon")]
    unsafe fn prepare(panel: *const i8, kp: usize, _nonnegative: bool, out: *mut u8) -> Prepared {
        let mut to = out;
        for v in 0..PANEL / CHANNELS {
            // SAFETY: `kp / 4` groups of the panel are read; `out` has norms, blocks and steps for four channels each.
            unsafe {
                let mut from = panel.add(v * CHANNELS * GROUP);
                for _ in 0..kp / BLOCK {
                    let a = four_channels(from, 4);
                    let b = four_channels(from.add(STEP * PANEL), 4);
                    let c = four_channels(from.add(2 * STEP * PANEL), 4);
                    let d = four_channels(from.add(3 * STEP * PANEL), 4);
                    let mut most = [vdupq_n_f32(0.0); 2];
                    for i in 0..CHANNELS {
                        let x = [a[i], b[i], c[i], d[i]];
                        store_block(to.add(NORMS + i * BLOCK), x);
                        most = larger(most, norms(x));
                    }
                    store_norms(to, most);
                    from = from.add(BLOCK * PANEL);
                    to = to.add(NORMS + CHANNELS * BLOCK);
                }
                for s in 0..(kp % BLOCK).div_ceil(STEP) {
                    let groups = kp % BLOCK / GROUP - 4 * s;
                    for x in four_channels(from.add(s * STEP * PANEL), groups) {
                        vst1q_s8(to.cast(), x);
                        to = to.add(STEP);
                    }
                }
            }
        }
        Prepared::new(out)
    }

    #[inline(always)]
    unsafe fn tile(a: *const u8, panel: Prepared, kp: usize, rows: usize, sums: &mut Tile) {
        let panel = panel.panel;
        // SAFETY: the caller's promise, and `rows` is the number of rows that are read.
        unsafe {
            match rows {
                4 => tile::<4>(a, panel, kp, sums),
                3 => tile::<3>(a, panel, kp, sums),
                2 => tile::<2>(a, panel, kp, sums),
                _ => tile::<1>(a, panel, kp, sums),
            }
        }
    }

    #[target_feature(enable = "neon")]
    unsafe fn direct(q: *const i8, panel: *const i8, kp: usize, sums: &mut [i32; PANEL]) {
        // SAFETY: `kp` is a multiple of 8: four groups of activations and 256 bytes of the panel per step, then half of that.
        unsafe {
            let mut acc = [vdupq_n_s32(0); 8];
            let mut w = panel;
            macro_rules! two_groups {
                ($q:expr, $g:literal) => {
                    let quad = vreinterpretq_s32_s8($q);
                    let q0 = vreinterpretq_s8_s32(vdupq_laneq_s32::<{ $g }>(quad));
                    let q1 = vreinterpretq_s8_s32(vdupq_laneq_s32::<{ $g + 1 }>(quad));
                    for v in 0..4 {
                        let (w0, w1) = (vld1q_s8(w.add(v * 16)), vld1q_s8(w.add(64 + v * 16)));
                        let low = vmull_s8(vget_low_s8(w0), vget_low_s8(q0));
                        let low = vmlal_s8(low, vget_low_s8(w1), vget_low_s8(q1));
                        let high = vmlal_high_s8(vmull_high_s8(w0, q0), w1, q1);
                        acc[2 * v] = vpadalq_s16(acc[2 * v], low);
                        acc[2 * v + 1] = vpadalq_s16(acc[2 * v + 1], high);
                    }
                    w = w.add(2 * PANEL * GROUP);
                };
            }
            for s in 0..kp / 16 {
                let q = vld1q_s8(q.add(s * 16));
                two_groups!(q, 0);
                two_groups!(q, 2);
            }
            if kp % 16 != 0 {
                let q = vld1_s8(q.add(kp - 8));
                two_groups!(vcombine_s8(q, q), 0);
            }
            _ = w;
            for v in 0..4 {
                vst1q_s32(sums.as_mut_ptr().add(4 * v), vpaddq_s32(acc[2 * v], acc[2 * v + 1]));
            }
        }
    }

    float_methods!("neon");

    #[target_feature(enable = "neon")]
    unsafe fn dot(a: *const i8, b: *const i8, len: usize) -> i32 {
        // SAFETY: the caller's promise; every access is within `len`.
        unsafe {
            let mut acc = [vdupq_n_s32(0); 2];
            let mut i = 0;
            while i + 16 <= len {
                // (-128)^2 twice does not fit into 16 bits: each product is widened before it meets another.
                let (a, b) = (vld1q_s8(a.add(i)), vld1q_s8(b.add(i)));
                acc[0] = vpadalq_s16(acc[0], vmull_s8(vget_low_s8(a), vget_low_s8(b)));
                acc[1] = vpadalq_s16(acc[1], vmull_high_s8(a, b));
                i += 16;
            }
            let mut sum = vaddvq_s32(vaddq_s32(acc[0], acc[1]));
            while i < len {
                sum += i32::from(*a.add(i)) * i32::from(*b.add(i));
                i += 1;
            }
            sum
        }
    }
}

/// Two channels' sums over 16 values: `acc += x . w`.
///
/// One block, because the compiler would hoist the multiplications of a whole tile and spill.
macro_rules! widening_sums {
    ($acc0:expr, $acc1:expr, $x:expr, $w0:expr, $w1:expr) => {
        asm!(
            "smull {p0:v}.8h, {x:v}.8b, {w0:v}.8b",
            "smull {p1:v}.8h, {x:v}.8b, {w1:v}.8b",
            "smlal2 {p0:v}.8h, {x:v}.16b, {w0:v}.16b",
            "smlal2 {p1:v}.8h, {x:v}.16b, {w1:v}.16b",
            "sadalp {a0:v}.4s, {p0:v}.8h",
            "sadalp {a1:v}.4s, {p1:v}.8h",
            x = in(vreg) $x, w0 = in(vreg) $w0, w1 = in(vreg) $w1, p0 = out(vreg) _, p1 = out(vreg) _,
            a0 = inout(vreg) $acc0, a1 = inout(vreg) $acc1,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
}

/// 16 values of four channels out of the stored order; only `groups` groups of four can be read, the rest is zeros.
///
/// # Safety
/// The CPU has NEON; the groups can be read, 16 bytes each.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn four_channels(from: *const i8, groups: usize) -> [int8x16_t; 4] {
    let group = |g: usize| match g < groups {
        // SAFETY: the caller's promise.
        true => vreinterpretq_s32_s8(unsafe { vld1q_s8(from.add(g * PANEL * GROUP)) }),
        false => vdupq_n_s32(0),
    };
    let (a, b, c, d) = (group(0), group(1), group(2), group(3));
    let even = |a, b| vreinterpretq_s64_s32(vtrn1q_s32(a, b));
    let odd = |a, b| vreinterpretq_s64_s32(vtrn2q_s32(a, b));
    let (ab0, cd0, ab1, cd1) = (even(a, b), even(c, d), odd(a, b), odd(c, d));
    [
        vreinterpretq_s8_s64(vtrn1q_s64(ab0, cd0)),
        vreinterpretq_s8_s64(vtrn1q_s64(ab1, cd1)),
        vreinterpretq_s8_s64(vtrn2q_s64(ab0, cd0)),
        vreinterpretq_s8_s64(vtrn2q_s64(ab1, cd1)),
    ]
}

/// # Safety
/// The CPU has NEON; 64 bytes can be written.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store_block(to: *mut u8, x: [int8x16_t; 4]) {
    for (i, x) in x.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { vst1q_s8(to.add(i * STEP).cast(), x) }
    }
}

/// Assembly: products of 16 values of a row with those of two channels into v28 and v29, `$first` being SMULL or SMLAL.
macro_rules! products {
    ($first:literal, $x:literal, $w0:literal, $w1:literal) => {
        concat!(
            $first,
            " v28.8h, ",
            $x,
            ".8b, ",
            $w0,
            ".8b\n",
            $first,
            " v29.8h, ",
            $x,
            ".8b, ",
            $w1,
            ".8b\n",
            "smlal2 v28.8h, ",
            $x,
            ".16b, ",
            $w0,
            ".16b\n",
            "smlal2 v29.8h, ",
            $x,
            ".16b, ",
            $w1,
            ".16b"
        )
    };
}

/// Assembly: adds v28 and v29 to the sums.
macro_rules! take {
    () => {
        "sadalp {a0:v}.4s, v28.8h\nsadalp {a1:v}.4s, v29.8h"
    };
}

/// A block of one row, read from `$x` on, times two channels in v16 to v23: `acc += x . w`. `$text` is assembly that leaves
/// the row in v24 to v27.
///
/// One piece, because the compiler would hoist the multiplications of a whole tile and spill; the registers are named,
/// because those of one LD1 follow each other.
macro_rules! row_sums {
    ($acc:expr, $x:ident, $w:ident, $($text:expr),+) => {
        asm!(
            "ld1 {{v24.16b, v25.16b, v26.16b, v27.16b}}, [{x}], #64",
            $($text),+,
            x = inout(reg) $x, a0 = inout(vreg) $acc[0], a1 = inout(vreg) $acc[1],
            in("v16") $w[0], in("v17") $w[1], in("v18") $w[2], in("v19") $w[3],
            in("v20") $w[4], in("v21") $w[5], in("v22") $w[6], in("v23") $w[7],
            out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _,
            options(readonly, nostack, preserves_flags)
        )
    };
}

/// A block of two channels.
macro_rules! two_channels {
    ($from:ident) => {{
        let mut w = [vdupq_n_s8(0); 8];
        asm!(
            "ld1 {{v16.16b, v17.16b, v18.16b, v19.16b}}, [{w}], #64",
            "ld1 {{v20.16b, v21.16b, v22.16b, v23.16b}}, [{w}], #64",
            w = inout(reg) $from,
            out("v16") w[0], out("v17") w[1], out("v18") w[2], out("v19") w[3],
            out("v20") w[4], out("v21") w[5], out("v22") w[6], out("v23") w[7],
            options(readonly, nostack, preserves_flags)
        );
        w
    }};
}

/// # Safety
/// As [`Isa::tile`] for `M` rows.
#[target_feature(enable = "neon")]
unsafe fn tile<const M: usize>(a: *const u8, panel: *const u8, kp: usize, sums: &mut Tile) {
    let mut w = panel;
    for v in 0..PANEL / CHANNELS {
        // SAFETY: every block, and every step after the last, of `M` rows and of four channels exists.
        unsafe {
            // Of two channels each, `M` rows.
            let mut acc = [[[vdupq_n_s32(0); 2]; M]; 2];
            let mut x = a;
            macro_rules! block {
                ($($text:expr),+) => {
                    for acc in &mut acc {
                        let weights = two_channels!(w);
                        let mut row = x.add(NORMS);
                        for acc in acc {
                            row_sums!(acc, row, weights, $($text),+);
                        }
                    }
                };
            }
            for _ in 0..kp / BLOCK {
                let (row, channel) = (load_norms(x), load_norms(w));
                w = w.add(NORMS);
                if fit(row[0], channel[0]) {
                    block!(
                        products!("smull", "v24", "v16", "v20"),
                        products!("smlal", "v25", "v17", "v21"),
                        products!("smlal", "v26", "v18", "v22"),
                        products!("smlal", "v27", "v19", "v23"),
                        take!()
                    );
                } else if fit(row[1], channel[1]) {
                    block!(
                        products!("smull", "v24", "v16", "v20"),
                        products!("smlal", "v25", "v17", "v21"),
                        take!(),
                        products!("smull", "v26", "v18", "v22"),
                        products!("smlal", "v27", "v19", "v23"),
                        take!()
                    );
                } else {
                    block!(
                        products!("smull", "v24", "v16", "v20"),
                        take!(),
                        products!("smull", "v25", "v17", "v21"),
                        take!(),
                        products!("smull", "v26", "v18", "v22"),
                        take!(),
                        products!("smull", "v27", "v19", "v23"),
                        take!()
                    );
                }
                x = x.add(NORMS + ROWS * BLOCK);
            }
            for _ in 0..(kp % BLOCK).div_ceil(STEP) {
                for acc in &mut acc {
                    let y = (vld1q_s8(w.cast()), vld1q_s8(w.add(STEP).cast()));
                    w = w.add(2 * STEP);
                    for (r, acc) in acc.iter_mut().enumerate() {
                        let x = vld1q_s8(x.add(r * STEP).cast());
                        widening_sums!(acc[0], acc[1], x, y.0, y.1);
                    }
                }
                x = x.add(ROWS * STEP);
            }
            for r in 0..M {
                let low = vpaddq_s32(acc[0][r][0], acc[0][r][1]);
                let high = vpaddq_s32(acc[1][r][0], acc[1][r][1]);
                vst1q_s32(sums.0.as_mut_ptr().add(r * PANEL + v * CHANNELS), vpaddq_s32(low, high));
            }
        }
    }
}
