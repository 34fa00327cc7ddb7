//! The `neon` level: widening multiplies, for AArch64 without SDOT (Cortex-A53, A57, A72).
//!
//! Two products fit into 16 bits when one factor is in -127..=127 (`2 * 127 * 128 < 2^15`), so 16 values of `k` take one
//! SMULL, one SMLAL2 and one SADALP. Activations have that range by construction; gallery rows need not, see `dot`.

use std::arch::aarch64::*;
use std::arch::asm;

use super::isa::{float_methods, Isa, Prepared, Tile};
use super::weights::{GROUP, PANEL};

/// AArch64 with Advanced SIMD.
pub(super) struct Neon;

/// Rows per tile: 6 x 4 sums of four lanes, four weights, one activation, two products.
const ROWS: usize = 6;
/// Values of `k` per step.
const STEP: usize = 16;
/// Channels per pass over `k`.
const CHANNELS: usize = 4;

// SAFETY: each function stays within the documented sizes and needs no more than NEON.
unsafe impl Isa for Neon {
    type Lanes = super::lanes::arm::Neon4;
    const ROWS: usize = ROWS;
    const DIRECT_ROWS: usize = 2;

    /// Plain rows, each padded to whole steps.
    fn tile_bytes(kp: usize) -> usize {
        ROWS * kp.next_multiple_of(STEP)
    }

    /// `[PANEL / 4][k / 16][4][16]`: 16 values of one channel are one register.
    fn prepared_bytes(kp: usize) -> usize {
        PANEL * kp.next_multiple_of(STEP)
    }

    #[inline(always)]
    unsafe fn put_row(tile: *mut u8, r: usize, q: &[i8], _nonnegative: bool) {
        let stride = q.len().next_multiple_of(STEP);
        // SAFETY: row `r` of a tile of `ROWS` rows of `stride` bytes.
        unsafe {
            let row = tile.add(r * stride);
            std::ptr::copy_nonoverlapping(q.as_ptr(), row.cast(), q.len());
            std::ptr::write_bytes(row.add(q.len()), 0, stride - q.len());
        }
    }

    #[target_feature(enable = "neon")]
    unsafe fn prepare(panel: *const i8, kp: usize, _nonnegative: bool, out: *mut u8) -> Prepared {
        let groups = kp / GROUP;
        let steps = kp.div_ceil(STEP);
        for s in 0..steps {
            for v in 0..PANEL / CHANNELS {
                // SAFETY: group `4 s + i` exists where it is read; `out` has `PANEL * steps * STEP` bytes.
                unsafe {
                    let group = |i: usize| match 4 * s + i {
                        g if g < groups => {
                            vreinterpretq_s32_s8(vld1q_s8(panel.add(g * PANEL * GROUP + v * 16)))
                        }
                        _ => vdupq_n_s32(0),
                    };
                    let (a, b, c, d) = (group(0), group(1), group(2), group(3));
                    let even = |a, b| vreinterpretq_s64_s32(vtrn1q_s32(a, b));
                    let odd = |a, b| vreinterpretq_s64_s32(vtrn2q_s32(a, b));
                    let (ab0, cd0, ab1, cd1) = (even(a, b), even(c, d), odd(a, b), odd(c, d));
                    let to = out.cast::<i64>().add((v * steps + s) * CHANNELS * 2);
                    vst1q_s64(to, vtrn1q_s64(ab0, cd0));
                    vst1q_s64(to.add(2), vtrn1q_s64(ab1, cd1));
                    vst1q_s64(to.add(4), vtrn2q_s64(ab0, cd0));
                    vst1q_s64(to.add(6), vtrn2q_s64(ab1, cd1));
                }
            }
        }
        Prepared { panel: out, narrow: false }
    }

    #[inline(always)]
    unsafe fn tile(a: *const u8, panel: Prepared, kp: usize, rows: usize, sums: &mut Tile) {
        let panel = panel.panel;
        // SAFETY: the caller's promise, and `rows` is the number of rows that are read.
        unsafe {
            match rows {
                6 => tile::<6>(a, panel, kp, sums),
                5 => tile::<5>(a, panel, kp, sums),
                4 => tile::<4>(a, panel, kp, sums),
                3 => tile::<3>(a, panel, kp, sums),
                2 => tile::<2>(a, panel, kp, sums),
                _ => tile::<1>(a, panel, kp, sums),
            }
        }
    }

    #[target_feature(enable = "neon")]
    unsafe fn direct(q: *const i8, panel: *const i8, kp: usize, sums: &mut [i32; PANEL]) {
        // SAFETY: `kp` is a multiple of 8: two groups of activations and 128 bytes of the panel per step.
        unsafe {
            let mut acc = [vdupq_n_s32(0); 8];
            for s in 0..kp / 8 {
                let quad =
                    |i: usize| vreinterpretq_s8_s32(vld1q_dup_s32(q.add(s * 8 + i * 4).cast()));
                let (q0, q1) = (quad(0), quad(1));
                let from = panel.add(s * 2 * PANEL * GROUP);
                for v in 0..4 {
                    let (w0, w1) = (vld1q_s8(from.add(v * 16)), vld1q_s8(from.add(64 + v * 16)));
                    let low = vmull_s8(vget_low_s8(w0), vget_low_s8(q0));
                    let low = vmlal_s8(low, vget_low_s8(w1), vget_low_s8(q1));
                    let high = vmlal_high_s8(vmull_high_s8(w0, q0), w1, q1);
                    acc[2 * v] = vpadalq_s16(acc[2 * v], low);
                    acc[2 * v + 1] = vpadalq_s16(acc[2 * v + 1], high);
                }
            }
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

/// # Safety
/// As [`Isa::tile`] for `M` rows.
#[target_feature(enable = "neon")]
unsafe fn tile<const M: usize>(a: *const u8, panel: *const u8, kp: usize, sums: &mut Tile) {
    let steps = kp.div_ceil(STEP);
    let stride = steps * STEP;
    for v in 0..PANEL / CHANNELS {
        // SAFETY: step `s` of `M` rows and of four channels exist for `s < steps`.
        unsafe {
            let mut acc = [[vdupq_n_s32(0); CHANNELS]; M];
            let mut x = a.cast::<i8>();
            let mut w = panel.cast::<i8>().add(v * steps * CHANNELS * STEP);
            for _ in 0..steps {
                let (w0, w1) = (vld1q_s8(w), vld1q_s8(w.add(16)));
                let (w2, w3) = (vld1q_s8(w.add(32)), vld1q_s8(w.add(48)));
                macro_rules! row {
                    ($r:literal) => {
                        if $r < M {
                            let x = vld1q_s8(x.add($r * stride));
                            widening_sums!(acc[$r][0], acc[$r][1], x, w0, w1);
                            widening_sums!(acc[$r][2], acc[$r][3], x, w2, w3);
                        }
                    };
                }
                row!(0);
                row!(1);
                row!(2);
                row!(3);
                row!(4);
                row!(5);
                x = x.add(STEP);
                w = w.add(CHANNELS * STEP);
            }
            for (r, acc) in acc.iter().enumerate() {
                let (low, high) = (vpaddq_s32(acc[0], acc[1]), vpaddq_s32(acc[2], acc[3]));
                vst1q_s32(sums.0.as_mut_ptr().add(r * PANEL + v * CHANNELS), vpaddq_s32(low, high));
            }
        }
    }
}
