//! The `i8mm` level: SMMLA, a 2 x 8 by 8 x 2 product per instruction, for Cortex-A510, A710, Neoverse V1 and later.
//!
//! Layers of one row and dot products have nothing to pair up and use SDOT.

use std::arch::aarch64::*;
use std::arch::asm;

use super::isa::{float_methods, Isa, Prepared, Tile};
use super::neon_dotprod::DotProd;
use super::weights::{GROUP, PANEL};

/// AArch64 with FEAT_I8MM and FEAT_DotProd.
pub(super) struct I8mm;

/// Rows per tile: 3 pairs of rows x 8 pairs of channels in 24 registers, three of activations, four of weights.
const ROWS: usize = 6;
/// Values of `k` per SMMLA.
const STEP: usize = 8;

// SAFETY: each function stays within the documented sizes and needs no more than NEON, SDOT and SMMLA.
unsafe impl Isa for I8mm {
    type Lanes = super::lanes::arm::Neon4;
    const ROWS: usize = ROWS;
    const DIRECT_ROWS: usize = 1;

    /// `[kp / 8][3][2][8]`: eight values of two rows are one register.
    fn tile_bytes(kp: usize) -> usize {
        ROWS * kp
    }

    /// `[kp / 8][8][2][8]`: eight values of two channels are one register.
    fn prepared_bytes(kp: usize) -> usize {
        PANEL * kp
    }

    #[inline(always)]
    unsafe fn put_row(tile: *mut u8, r: usize, q: &[i8], _nonnegative: bool) {
        let mut to = tile.cast::<[i8; STEP]>().wrapping_add(r);
        for eight in q.chunks_exact(STEP) {
            let eight: [i8; STEP] = eight.try_into().expect("STEP values");
            // SAFETY: this step of row `r` lies within the tile.
            unsafe { to.write(eight) };
            to = to.wrapping_add(ROWS);
        }
    }

    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn prepare(panel: *const i8, kp: usize, _nonnegative: bool, out: *mut u8) -> Prepared {
        for s in 0..kp / STEP {
            // SAFETY: step `s` is 128 bytes of the panel and of `out`.
            unsafe {
                let from = panel.add(s * PANEL * STEP);
                let to = out.add(s * PANEL * STEP).cast::<i32>();
                for v in 0..4 {
                    let low = vreinterpretq_s32_s8(vld1q_s8(from.add(v * 16)));
                    let high = vreinterpretq_s32_s8(vld1q_s8(from.add(PANEL * GROUP + v * 16)));
                    vst1q_s32(to.add(v * 8), vzip1q_s32(low, high));
                    vst1q_s32(to.add(v * 8 + 4), vzip2q_s32(low, high));
                }
            }
        }
        Prepared::new(out)
    }

    #[inline(always)]
    unsafe fn tile(a: *const u8, panel: Prepared, kp: usize, rows: usize, sums: &mut Tile) {
        let panel = panel.panel;
        // SAFETY: the caller's promise; the partner of an odd last row only fills sums that nobody reads.
        unsafe {
            match rows {
                5 | 6 => tile::<3>(a, panel, kp, sums),
                3 | 4 => tile::<2>(a, panel, kp, sums),
                _ => tile::<1>(a, panel, kp, sums),
            }
        }
    }

    #[inline(always)]
    unsafe fn direct(q: *const i8, panel: *const i8, kp: usize, sums: &mut [i32; PANEL]) {
        // SAFETY: the same promise, and this level has SDOT.
        unsafe { DotProd::direct(q, panel, kp, sums) }
    }

    float_methods!("neon,dotprod,i8mm");

    #[inline(always)]
    unsafe fn dot(a: *const i8, b: *const i8, len: usize) -> i32 {
        // SAFETY: the same promise, and this level has SDOT.
        unsafe { DotProd::dot(a, b, len) }
    }
}

/// A pair of rows, `$a`, times the pairs of channels in v27 to v30, over eight values of `k`.
///
/// Registers are named because those of one LD1 follow each other; nothing is pure, because the compiler would load ahead
/// and have to move them.
macro_rules! pair_sums {
    ($acc:expr, $w:ident, $reg:tt, $a:expr) => {
        asm!(
            concat!("smmla {0:v}.4s, ", $reg, ".16b, v27.16b"),
            concat!("smmla {1:v}.4s, ", $reg, ".16b, v28.16b"),
            concat!("smmla {2:v}.4s, ", $reg, ".16b, v29.16b"),
            concat!("smmla {3:v}.4s, ", $reg, ".16b, v30.16b"),
            inout(vreg) $acc[0], inout(vreg) $acc[1], inout(vreg) $acc[2], inout(vreg) $acc[3],
            in("v27") $w[0], in("v28") $w[1], in("v29") $w[2], in("v30") $w[3], in($reg) $a,
            options(nomem, nostack, preserves_flags)
        )
    };
}

/// # Safety
/// As [`Isa::tile`] for `M` pairs of rows.
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn tile<const M: usize>(a: *const u8, panel: *const u8, kp: usize, sums: &mut Tile) {
    // SAFETY: step `s` of the tile and of the panel exist for `s < kp / 8`.
    unsafe {
        let mut acc = [[[vdupq_n_s32(0); 4]; 2]; M];
        let (mut a, mut w) = (a, panel);
        macro_rules! half {
            ($h:literal, $x:ident) => {
                let mut y = [vdupq_n_s8(0); 4];
                asm!(
                    "ld1 {{v27.16b, v28.16b, v29.16b, v30.16b}}, [{w}], #64",
                    w = inout(reg) w,
                    out("v27") y[0], out("v28") y[1], out("v29") y[2], out("v30") y[3],
                    options(readonly, nostack, preserves_flags)
                );
                pair_sums!(acc[0][$h], y, "v24", $x[0]);
                if M > 1 {
                    pair_sums!(acc[1][$h], y, "v25", $x[1]);
                }
                if M > 2 {
                    pair_sums!(acc[2][$h], y, "v26", $x[2]);
                }
            };
        }
        macro_rules! step {
            () => {
                let mut x = [vdupq_n_s8(0); 3];
                asm!(
                    "ld1 {{v24.16b, v25.16b, v26.16b}}, [{a}], #48",
                    a = inout(reg) a, out("v24") x[0], out("v25") x[1], out("v26") x[2],
                    options(readonly, nostack, preserves_flags)
                );
                half!(0, x);
                half!(1, x);
            };
        }
        for _ in 0..kp / (4 * STEP) {
            step!();
            step!();
            step!();
            step!();
        }
        for _ in 0..kp % (4 * STEP) / STEP {
            step!();
        }
        let out = sums.0.as_mut_ptr().cast::<i64>();
        for (m, acc) in acc.iter().enumerate() {
            // A register holds row 0 of two channels, then row 1.
            for (v, two) in acc.as_flattened().chunks_exact(2).enumerate() {
                let (x, y) = (vreinterpretq_s64_s32(two[0]), vreinterpretq_s64_s32(two[1]));
                vst1q_s64(out.add(m * PANEL + v * 2), vtrn1q_s64(x, y));
                vst1q_s64(out.add(m * PANEL + PANEL / 2 + v * 2), vtrn2q_s64(x, y));
            }
        }
    }
}
