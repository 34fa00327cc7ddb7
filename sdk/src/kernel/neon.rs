//! The `neon` level: widening multiplies, for AArch64 without SDOT (Cortex-A53, A57, A72).
//!
//! Two products fit into 16 bits when one factor is in -127..=127 (`2 * 127 * 128 < 2^15`), so 16 values of `k` take one
//! SMULL, one SMLAL2 and one SADALP. Activations have that range by construction; gallery rows need not, see `dot`.
//! Nearly always four products fit, which saves every other SADALP. That is not guessed but verified, see
//! [`super::isa::fits`]: tiles and panels hold the norms of every [`BLOCK`] values.

use std::arch::aarch64::*;
use std::arch::asm;

use super::isa::{fits, float_methods, Isa, Prepared, Tile};
use super::weights::{GROUP, PANEL};

/// AArch64 with Advanced SIMD.
pub(super) struct Neon;

/// Rows per tile: 4 x 4 sums of four lanes, eight weights, two activations, two products.
const ROWS: usize = 4;
/// Values of `k` per register.
const STEP: usize = 16;
/// Channels per pass over `k`.
const CHANNELS: usize = 4;
/// Values of `k` whose products meet in 16 bits: two registers, four products per lane.
const PAIR: usize = 2 * STEP;
/// Values of `k` per norm, that of the larger pair.
const BLOCK: usize = 2 * PAIR;

/// Bytes of the norms of a row, or of four channels: they come first in a tile and in a panel.
const fn header(kp: usize) -> usize {
    (kp / BLOCK * size_of::<u32>()).next_multiple_of(16)
}

// SAFETY: each function stays within the documented sizes and needs no more than NEON.
unsafe impl Isa for Neon {
    type Lanes = super::lanes::arm::Neon4;
    const ROWS: usize = ROWS;
    const DIRECT_ROWS: usize = 2;

    /// Norms, then for each block `[2][ROWS][32]`, then `[ROWS][16]` for each 16 values that are left.
    fn tile_bytes(kp: usize) -> usize {
        header(kp) + ROWS * kp.next_multiple_of(STEP)
    }

    /// For each four channels norms and `[kp / 16][4][16]`: 16 values of one channel are one register.
    fn prepared_bytes(kp: usize) -> usize {
        PANEL / CHANNELS * header(kp) + PANEL * kp.next_multiple_of(STEP)
    }

    #[target_feature(enable = "neon")]
    unsafe fn put_row(tile: *mut u8, r: usize, q: &[i8], _nonnegative: bool) {
        // SAFETY: every block of row `r` and its norm lie within the tile, and so do the steps of a last one.
        unsafe {
            let norms = tile.cast::<u32>();
            let rows = tile.add(header(q.len())).cast::<i8>();
            let (blocks, rest) = q.as_chunks::<BLOCK>();
            for (b, block) in blocks.iter().enumerate() {
                let to = rows.add(b * ROWS * BLOCK + r * PAIR);
                let mut most = vdupq_n_u32(0);
                for p in 0..2 {
                    let at = block.as_ptr().add(p * PAIR);
                    let x = [vld1q_s8(at), vld1q_s8(at.add(STEP))];
                    let to = to.add(p * ROWS * PAIR);
                    vst1q_s8(to, x[0]);
                    vst1q_s8(to.add(STEP), x[1]);
                    most = vmaxq_u32(most, squares(x));
                }
                let norm = vmaxvq_u32(most);
                *norms.add(b) = if r == 0 { norm } else { norm.max(*norms.add(b)) };
            }
            let mut to = rows.add(blocks.len() * ROWS * BLOCK + r * STEP);
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
        let groups = kp / GROUP;
        let steps = kp.div_ceil(STEP);
        for v in 0..PANEL / CHANNELS {
            // SAFETY: group `4 s + i` exists where it is read; `out` has norms and `4 * steps * 16` bytes for four channels.
            unsafe {
                let out = out.add(v * (header(kp) + CHANNELS * steps * STEP));
                let to = out.add(header(kp));
                for s in 0..steps {
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
                    let to = to.cast::<i64>().add(s * CHANNELS * 2);
                    vst1q_s64(to, vtrn1q_s64(ab0, cd0));
                    vst1q_s64(to.add(2), vtrn1q_s64(ab1, cd1));
                    vst1q_s64(to.add(4), vtrn2q_s64(ab0, cd0));
                    vst1q_s64(to.add(6), vtrn2q_s64(ab1, cd1));
                }
                for b in 0..kp / BLOCK {
                    let block = to.cast::<i8>().add(b * CHANNELS * BLOCK);
                    let mut most = vdupq_n_u32(0);
                    for c in 0..CHANNELS {
                        let step = |s| vld1q_s8(block.add((s * CHANNELS + c) * STEP));
                        most = vmaxq_u32(most, squares([step(0), step(1)]));
                        most = vmaxq_u32(most, squares([step(2), step(3)]));
                    }
                    *out.cast::<u32>().add(b) = vmaxvq_u32(most);
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

/// Four channels' sums over 32 values whose products fit into 16 bits four at a time: `acc += x . w`, row `x` read here.
///
/// Reads stay in the order in which they are written: the compiler would do them early, and spill.
macro_rules! narrow_sums {
    ($acc:expr, $x:expr, $offset:expr, $w:expr) => {
        asm!(
            "ldp {x:q}, {y:q}, [{from}, #{offset}]",
            "smull {p:v}.8h, {x:v}.8b, {w0:v}.8b",
            "smull {q:v}.8h, {x:v}.8b, {w1:v}.8b",
            "smlal2 {p:v}.8h, {x:v}.16b, {w0:v}.16b",
            "smlal2 {q:v}.8h, {x:v}.16b, {w1:v}.16b",
            "smlal {p:v}.8h, {y:v}.8b, {z0:v}.8b",
            "smlal {q:v}.8h, {y:v}.8b, {z1:v}.8b",
            "smlal2 {p:v}.8h, {y:v}.16b, {z0:v}.16b",
            "smlal2 {q:v}.8h, {y:v}.16b, {z1:v}.16b",
            "sadalp {a0:v}.4s, {p:v}.8h",
            "sadalp {a1:v}.4s, {q:v}.8h",
            "smull {p:v}.8h, {x:v}.8b, {w2:v}.8b",
            "smull {q:v}.8h, {x:v}.8b, {w3:v}.8b",
            "smlal2 {p:v}.8h, {x:v}.16b, {w2:v}.16b",
            "smlal2 {q:v}.8h, {x:v}.16b, {w3:v}.16b",
            "smlal {p:v}.8h, {y:v}.8b, {z2:v}.8b",
            "smlal {q:v}.8h, {y:v}.8b, {z3:v}.8b",
            "smlal2 {p:v}.8h, {y:v}.16b, {z2:v}.16b",
            "smlal2 {q:v}.8h, {y:v}.16b, {z3:v}.16b",
            "sadalp {a2:v}.4s, {p:v}.8h",
            "sadalp {a3:v}.4s, {q:v}.8h",
            from = in(reg) $x, offset = const $offset,
            w0 = in(vreg) $w[0], w1 = in(vreg) $w[1], w2 = in(vreg) $w[2], w3 = in(vreg) $w[3],
            z0 = in(vreg) $w[4], z1 = in(vreg) $w[5], z2 = in(vreg) $w[6], z3 = in(vreg) $w[7],
            x = out(vreg) _, y = out(vreg) _, p = out(vreg) _, q = out(vreg) _,
            a0 = inout(vreg) $acc[0], a1 = inout(vreg) $acc[1], a2 = inout(vreg) $acc[2], a3 = inout(vreg) $acc[3],
            options(readonly, nostack, preserves_flags)
        )
    };
}

/// 32 values of four channels, the first 16 of each before the others.
///
/// # Safety
/// The CPU has NEON; 128 bytes can be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load_pair(from: *const i8) -> [int8x16_t; 8] {
    let mut w = [vdupq_n_s8(0); 8];
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "ldp {a:q}, {b:q}, [{from}]", "ldp {c:q}, {d:q}, [{from}, #32]",
            "ldp {e:q}, {f:q}, [{from}, #64]", "ldp {g:q}, {h:q}, [{from}, #96]",
            from = in(reg) from, a = out(vreg) w[0], b = out(vreg) w[1], c = out(vreg) w[2], d = out(vreg) w[3],
            e = out(vreg) w[4], f = out(vreg) w[5], g = out(vreg) w[6], h = out(vreg) w[7],
            options(readonly, nostack, preserves_flags)
        );
    }
    w
}

/// Sums of squares of the four values that share a lane of 16 bits: the larger of lanes `l` and `l + 4`.
#[inline]
#[target_feature(enable = "neon")]
fn squares(x: [int8x16_t; 2]) -> uint32x4_t {
    // Two squares are at most 2^15: unsigned, they fit into 16 bits.
    let [a, b] = x.map(|x| {
        let low = vmull_s8(vget_low_s8(x), vget_low_s8(x));
        vreinterpretq_u16_s16(vmlal_high_s8(low, x, x))
    });
    vmaxq_u32(vaddl_u16(vget_low_u16(a), vget_low_u16(b)), vaddl_high_u16(a, b))
}

/// # Safety
/// As [`Isa::tile`] for `M` rows.
#[target_feature(enable = "neon")]
unsafe fn tile<const M: usize>(a: *const u8, panel: *const u8, kp: usize, sums: &mut Tile) {
    let steps = kp.div_ceil(STEP);
    for v in 0..PANEL / CHANNELS {
        // SAFETY: every block, and every step after the last, of `M` rows and of four channels exists.
        unsafe {
            let mut acc = [[vdupq_n_s32(0); CHANNELS]; M];
            let panel = panel.add(v * (header(kp) + CHANNELS * steps * STEP));
            let (norms, limits) = (a.cast::<u32>(), panel.cast::<u32>());
            let mut x = a.add(header(kp)).cast::<i8>();
            let mut w = panel.add(header(kp)).cast::<i8>();
            // 16 values of all rows, which lie `stride` apart, and of four channels.
            macro_rules! step {
                ($x:expr, $stride:expr, $w:expr) => {
                    let (x, w) = ($x, $w);
                    let w = [0, 16, 32, 48].map(|at| vld1q_s8(w.add(at)));
                    macro_rules! row {
                        ($r:literal) => {
                            if $r < M {
                                let x = vld1q_s8(x.add($r * $stride));
                                widening_sums!(acc[$r][0], acc[$r][1], x, w[0], w[1]);
                                widening_sums!(acc[$r][2], acc[$r][3], x, w[2], w[3]);
                            }
                        };
                    }
                    row!(0);
                    row!(1);
                    row!(2);
                    row!(3);
                };
            }
            macro_rules! pair {
                ($p:literal) => {
                    let w = load_pair(w.add($p * CHANNELS * PAIR));
                    macro_rules! row {
                        ($r:literal) => {
                            if $r < M {
                                narrow_sums!(acc[$r], x, ($p * ROWS + $r) * PAIR, w);
                            }
                        };
                    }
                    row!(0);
                    row!(1);
                    row!(2);
                    row!(3);
                };
            }
            for b in 0..kp / BLOCK {
                if fits(*norms.add(b), *limits.add(b)) {
                    pair!(0);
                    pair!(1);
                } else {
                    for p in 0..2 {
                        let (x, w) = (x.add(p * ROWS * PAIR), w.add(p * CHANNELS * PAIR));
                        step!(x, PAIR, w);
                        step!(x.add(STEP), PAIR, w.add(CHANNELS * STEP));
                    }
                }
                x = x.add(ROWS * BLOCK);
                w = w.add(CHANNELS * BLOCK);
            }
            for _ in kp / BLOCK * (BLOCK / STEP)..steps {
                step!(x, STEP, w);
                x = x.add(ROWS * STEP);
                w = w.add(CHANNELS * STEP);
            }
            for (r, acc) in acc.iter().enumerate() {
                let (low, high) = (vpaddq_s32(acc[0], acc[1]), vpaddq_s32(acc[2], acc[3]));
                vst1q_s32(sums.0.as_mut_ptr().add(r * PANEL + v * CHANNELS), vpaddq_s32(low, high));
            }
        }
    }
}
