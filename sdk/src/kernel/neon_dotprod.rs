//! The `dotprod` level: SDOT by element, for Cortex-A55, A76, A78AE and later.
//!
//! The intrinsics are not stable yet, so SDOT is one line of inline assembly that leaves registers and order to the compiler.

use std::arch::aarch64::*;
use std::arch::asm;

use super::isa::{float_methods, Isa, Prepared, Tile};
use super::weights::{GROUP, PANEL};

/// AArch64 with FEAT_DotProd.
pub(super) struct DotProd;

/// Rows per tile: 6 x 16 sums in 24 registers, three of activations, four of weights: then one LD1 reads all weights of four
/// values of `k`, and another all activations of eight.
const ROWS: usize = 6;

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

    /// `[kp / 4][6][4]`: four values of `k` of six rows.
    fn tile_bytes(kp: usize) -> usize {
        ROWS * kp
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
            // SAFETY: both groups of row `r` lie within the tile, which has `ROWS` rows per group.
            unsafe {
                to.write(two[0]);
                to.wrapping_add(ROWS).write(two[1]);
            }
            to = to.wrapping_add(2 * ROWS);
        }
    }

    #[inline(always)]
    unsafe fn prepare(panel: *const i8, _kp: usize, _nonnegative: bool, _out: *mut u8) -> Prepared {
        Prepared::new(panel.cast())
    }

    #[inline(always)]
    unsafe fn tile(a: *const u8, panel: Prepared, kp: usize, rows: usize, sums: &mut Tile) {
        let panel = panel.panel;
        // SAFETY: the caller's promise, and `rows` is the number of rows that are used.
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

/// One row's four values of `k`, quad `$a[$lane]`, times those of 16 channels in v27 to v30.
///
/// Registers are named because those of one LD1 follow each other; nothing is pure, because the compiler would load ahead
/// and have to move them.
macro_rules! row_sums {
    ($acc:expr, $w:ident, $reg:tt, $a:expr, $lane:literal) => {
        asm!(
            concat!("sdot {0:v}.4s, v27.16b, ", $reg, ".4b[", $lane, "]"),
            concat!("sdot {1:v}.4s, v28.16b, ", $reg, ".4b[", $lane, "]"),
            concat!("sdot {2:v}.4s, v29.16b, ", $reg, ".4b[", $lane, "]"),
            concat!("sdot {3:v}.4s, v30.16b, ", $reg, ".4b[", $lane, "]"),
            inout(vreg) $acc[0], inout(vreg) $acc[1], inout(vreg) $acc[2], inout(vreg) $acc[3],
            in("v27") $w[0], in("v28") $w[1], in("v29") $w[2], in("v30") $w[3], in($reg) $a,
            options(nomem, nostack, preserves_flags)
        )
    };
}

/// # Safety
/// As [`Isa::tile`] for `M` rows.
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const M: usize>(a: *const u8, panel: *const u8, kp: usize, sums: &mut Tile) {
    // SAFETY: eight values of `k` of `ROWS` rows and of 16 channels exist `kp / 8` times.
    unsafe {
        let mut acc = [[vdupq_n_s32(0); 4]; M];
        let (mut a, mut w) = (a, panel);
        macro_rules! weights {
            () => {{
                let mut x = [vdupq_n_s8(0); 4];
                asm!(
                    "ld1 {{v27.16b, v28.16b, v29.16b, v30.16b}}, [{w}], #64",
                    w = inout(reg) w,
                    out("v27") x[0], out("v28") x[1], out("v29") x[2], out("v30") x[3],
                    options(readonly, nostack, preserves_flags)
                );
                x
            }};
        }
        macro_rules! row {
            ($r:literal, $w:ident, $reg:tt, $a:expr, $lane:literal) => {
                if $r < M {
                    row_sums!(acc[$r], $w, $reg, $a, $lane);
                }
            };
        }
        macro_rules! eight {
            () => {
                let mut x = [vdupq_n_s8(0); 3];
                asm!(
                    "ld1 {{v24.16b, v25.16b, v26.16b}}, [{a}], #48",
                    a = inout(reg) a, out("v24") x[0], out("v25") x[1], out("v26") x[2],
                    options(readonly, nostack, preserves_flags)
                );
                let y = weights!();
                row!(0, y, "v24", x[0], "0");
                row!(1, y, "v24", x[0], "1");
                row!(2, y, "v24", x[0], "2");
                row!(3, y, "v24", x[0], "3");
                row!(4, y, "v25", x[1], "0");
                row!(5, y, "v25", x[1], "1");
                let y = weights!();
                row!(0, y, "v25", x[1], "2");
                row!(1, y, "v25", x[1], "3");
                row!(2, y, "v26", x[2], "0");
                row!(3, y, "v26", x[2], "1");
                row!(4, y, "v26", x[2], "2");
                row!(5, y, "v26", x[2], "3");
            };
        }
        for _ in 0..kp / 32 {
            eight!();
            eight!();
            eight!();
            eight!();
        }
        for _ in 0..kp % 32 / 8 {
            eight!();
        }
        for (r, acc) in acc.iter().enumerate() {
            for (v, &acc) in acc.iter().enumerate() {
                vst1q_s32(sums.0.as_mut_ptr().add(r * PANEL + v * 4), acc);
            }
        }
    }
}
