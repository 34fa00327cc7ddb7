//! The `dotprod` level: SDOT by element, for Cortex-A55, A76, A78AE and later.
//!
//! The intrinsics are not stable yet, so SDOT is one line of inline assembly that leaves registers and order to the compiler.

use std::arch::aarch64::*;
use std::arch::asm;

use super::isa::{float_methods, Isa, Prepared, Tile};
use super::weights::{GROUP, PANEL};

/// AArch64 with FEAT_DotProd.
pub(super) struct DotProd;

/// Rows per tile: 7 x 16 sums in 28 registers, two of activations, two of weights; 196 and 49 tokens are whole tiles.
const ROWS: usize = 7;
/// Rows that a tile has room for: two registers of four quads.
const SLOTS: usize = 8;

/// `acc += w . a[LANE]` in each of four lanes.
macro_rules! sdot {
    ($acc:expr, $w:expr, $a:expr, $lane:literal) => {
        asm!(
            concat!("sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[", $lane, "]"),
            inout(vreg) $acc, in(vreg) $w, in(vreg) $a,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
}

// SAFETY: each function stays within the documented sizes and needs no more than NEON and SDOT.
unsafe impl Isa for DotProd {
    type Lanes = super::lanes::arm::Neon4;
    const ROWS: usize = ROWS;
    const DIRECT_ROWS: usize = 2;

    /// `[kp / 4][8][4]`: four values of `k` of eight rows.
    fn tile_bytes(kp: usize) -> usize {
        SLOTS * kp
    }

    /// The stored order is what SDOT reads.
    fn prepared_bytes(_kp: usize) -> usize {
        0
    }

    #[inline(always)]
    unsafe fn put_row(tile: *mut u8, r: usize, q: &[i8], _nonnegative: bool) {
        let mut to = tile.cast::<[i8; GROUP]>().wrapping_add(r);
        for two in q.chunks_exact(2 * GROUP) {
            let two: [[i8; GROUP]; 2] =
                [*two.first_chunk().expect("8 values"), *two.last_chunk().expect("8 values")];
            // SAFETY: both groups of row `r` lie within the tile, which has room for `SLOTS` rows per group.
            unsafe {
                to.write(two[0]);
                to.wrapping_add(SLOTS).write(two[1]);
            }
            to = to.wrapping_add(2 * SLOTS);
        }
    }

    #[inline(always)]
    unsafe fn prepare(panel: *const i8, _kp: usize, _nonnegative: bool, _out: *mut u8) -> Prepared {
        Prepared { panel: panel.cast(), narrow: false }
    }

    #[inline(always)]
    unsafe fn tile(a: *const u8, panel: Prepared, kp: usize, rows: usize, sums: &mut Tile) {
        let panel = panel.panel;
        // SAFETY: the caller's promise, and `rows` is the number of rows that are used.
        unsafe {
            match rows {
                7 => tile::<7>(a, panel, kp, sums),
                6 => tile::<6>(a, panel, kp, sums),
                5 => tile::<5>(a, panel, kp, sums),
                4 => tile::<4>(a, panel, kp, sums),
                3 => tile::<3>(a, panel, kp, sums),
                2 => tile::<2>(a, panel, kp, sums),
                _ => tile::<1>(a, panel, kp, sums),
            }
        }
    }

    #[target_feature(enable = "neon,dotprod")]
    unsafe fn direct(q: *const i8, panel: *const i8, kp: usize, sums: &mut [i32; PANEL]) {
        // SAFETY: `kp` is a multiple of 8: two groups of activations and 128 bytes of the panel per step.
        unsafe {
            let mut even = [vdupq_n_s32(0); 4];
            let mut odd = [vdupq_n_s32(0); 4];
            for s in 0..kp / 8 {
                let x = vld1_s8(q.add(s * 8));
                let x = vcombine_s8(x, x);
                let from = panel.add(s * 2 * PANEL * GROUP);
                for v in 0..4 {
                    sdot!(even[v], vld1q_s8(from.add(v * 16)), x, "0");
                    sdot!(odd[v], vld1q_s8(from.add(64 + v * 16)), x, "1");
                }
            }
            for v in 0..4 {
                vst1q_s32(sums.as_mut_ptr().add(4 * v), vaddq_s32(even[v], odd[v]));
            }
        }
    }

    float_methods!("neon,dotprod");

    #[target_feature(enable = "neon,dotprod")]
    unsafe fn dot(a: *const i8, b: *const i8, len: usize) -> i32 {
        // SAFETY: the caller's promise; every access is within `len`.
        unsafe {
            let mut acc = [vdupq_n_s32(0); 4];
            let mut i = 0;
            while i + 64 <= len {
                for (c, acc) in acc.iter_mut().enumerate() {
                    *acc = sdot(*acc, vld1q_s8(a.add(i + 16 * c)), vld1q_s8(b.add(i + 16 * c)));
                }
                i += 64;
            }
            while i + 16 <= len {
                acc[0] = sdot(acc[0], vld1q_s8(a.add(i)), vld1q_s8(b.add(i)));
                i += 16;
            }
            let mut sum =
                vaddvq_s32(vaddq_s32(vaddq_s32(acc[0], acc[1]), vaddq_s32(acc[2], acc[3])));
            while i < len {
                sum += i32::from(*a.add(i)) * i32::from(*b.add(i));
                i += 1;
            }
            sum
        }
    }
}

/// `acc + w . a` lane by lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut acc: int32x4_t, w: int8x16_t, a: int8x16_t) -> int32x4_t {
    // SAFETY: one SDOT on registers; the CPU has it.
    unsafe {
        asm!(
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) acc, in(vreg) w, in(vreg) a,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}

/// # Safety
/// As [`Isa::tile`] for `M` rows.
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const M: usize>(a: *const u8, panel: *const u8, kp: usize, sums: &mut Tile) {
    // SAFETY: group `g` of the tile and of the panel exist for `g < kp / 4`, an even number of groups.
    unsafe {
        let mut acc = [[vdupq_n_s32(0); 4]; M];
        let (mut a, mut w) = (a.cast::<i8>(), panel.cast::<i8>());
        macro_rules! row {
            ($r:literal, $w:expr, $a:expr, $lane:literal, $v:literal) => {
                if $r < M {
                    sdot!(acc[$r][$v], $w, $a, $lane);
                }
            };
        }
        macro_rules! channels {
            ($v:literal, $at:expr, $low:expr, $high:expr) => {
                let x = vld1q_s8(w.add($at + $v * 16));
                row!(0, x, $low, "0", $v);
                row!(1, x, $low, "1", $v);
                row!(2, x, $low, "2", $v);
                row!(3, x, $low, "3", $v);
                row!(4, x, $high, "0", $v);
                row!(5, x, $high, "1", $v);
                row!(6, x, $high, "2", $v);
            };
        }
        macro_rules! group {
            ($g:literal) => {
                let low = vld1q_s8(a.add($g * SLOTS * GROUP));
                let high = vld1q_s8(a.add($g * SLOTS * GROUP + 16));
                channels!(0, $g * PANEL * GROUP, low, high);
                channels!(1, $g * PANEL * GROUP, low, high);
                channels!(2, $g * PANEL * GROUP, low, high);
                channels!(3, $g * PANEL * GROUP, low, high);
            };
        }
        for _ in 0..kp / 16 {
            group!(0);
            group!(1);
            group!(2);
            group!(3);
            a = a.add(4 * SLOTS * GROUP);
            w = w.add(4 * PANEL * GROUP);
        }
        if kp % 16 != 0 {
            group!(0);
            group!(1);
        }
        for (r, acc) in acc.iter().enumerate() {
            for (v, &acc) in acc.iter().enumerate() {
                vst1q_s32(sums.0.as_mut_ptr().add(r * PANEL + v * 4), acc);
            }
        }
    }
}
