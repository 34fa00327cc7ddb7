//! The `avx2` level: exact integer products on x86-64 with AVX2 and FMA but without VNNI.
//!
//! AVX2 multiplies 16-bit pairs exactly (`vpmaddwd`), and bytes twice as fast but into saturating 16-bit sums
//! (`vpmaddubsw`). Two forms of the product avoid the limit of one 16-bit multiply per two products:
//!
//! - *wide*, for any activations: Winograd's inner product, `x0 y0 + x1 y1 = (x0 + y1)(x1 + y0) - x0 x1 - y0 y1`. One
//!   multiplication and two additions of 16 bits do the work of two multiplications; the corrections depend on one row or
//!   one channel only and are made once. All sums wrap modulo 2^32, and the result fits, so it is exact.
//! - *narrow*, for activations in 0..=127 (behind ReLU6, and attention weights): `vpmaddubsw` on bytes, four products
//!   meeting in 16 bits. Where four weights could overflow them, `prepare` moves the excess of a weight to a short list
//!   that is multiplied separately; a panel with too many such weights takes the wide form.

use std::arch::x86_64::*;

use super::isa::{float_methods, Isa, Prepared, Tile, NARROW_SUM};
use super::weights::{GROUP, PANEL};

/// x86-64 with AVX2 and FMA.
pub(super) struct Avx2;

/// Rows per tile: 4 x 16 sums in eight registers, four of weights, two of activations, two of sums.
const ROWS: usize = 4;
/// Bytes of a group of four in the wide form: `x0 x2 | x1 x3` (or `y0 y2`, `y1 y3` of eight channels each), in i16.
const WIDE_GROUP: usize = 8;
/// Where a tile's rows begin: behind the rows' corrections.
const HEADER: usize = ROWS * 4;
/// Where a tile's rows in the narrow form begin.
const fn narrow_rows(kp: usize) -> usize {
    HEADER + ROWS * kp / GROUP * WIDE_GROUP
}
/// Where a wide panel's groups begin: behind the channels' corrections.
const PANEL_HEADER: usize = PANEL * 4;

// SAFETY: each function stays within the documented sizes and needs no more than AVX2.
unsafe impl Isa for Avx2 {
    type Lanes = super::lanes::x86::Ymm;
    const ROWS: usize = ROWS;
    const DIRECT_ROWS: usize = 2;
    const KNOWS_SIGNS: bool = true;

    /// Corrections, then the wide form `[kp / 4][ROWS]` groups, then the narrow form `[kp / 8][ROWS][8]` in bytes.
    fn tile_bytes(kp: usize) -> usize {
        HEADER + ROWS * (kp / GROUP * WIDE_GROUP + kp)
    }

    /// Corrections, then the wide form `[kp / 4][y of 8, y' of 8, y of 8, y' of 8]`; the narrow form needs less.
    fn prepared_bytes(kp: usize) -> usize {
        PANEL_HEADER + PANEL * kp * 2
    }

    #[inline(always)]
    unsafe fn put_row(tile: *mut u8, r: usize, q: &[i8], nonnegative: bool) {
        // SAFETY: the caller's promise.
        unsafe { put_row(tile, r, q, nonnegative) }
    }

    #[inline(always)]
    unsafe fn put_narrow(tile: *mut u8, kp: usize, r: usize, step: usize, q: &[i8]) {
        // SAFETY: the caller's promise: these steps of row `r` of the narrow form lie within the tile.
        unsafe {
            let rows = tile.add(narrow_rows(kp)).cast::<[i8; 8]>();
            let mut to = rows.wrapping_add(step * ROWS + r);
            for eight in q.chunks_exact(8) {
                to.write(eight.try_into().expect("8 values"));
                to = to.wrapping_add(ROWS);
            }
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn prepare(panel: *const i8, kp: usize, nonnegative: bool, out: *mut u8) -> Prepared {
        // SAFETY: group `g` is 64 bytes of the panel and 128 behind the header of `out`.
        unsafe {
            if nonnegative && prepare_narrow(panel, kp, out) {
                return Prepared { panel: out, narrow: true };
            }
            let mut corrections = [_mm256_setzero_si256(); 2];
            let groups = out.add(PANEL_HEADER).cast::<__m256i>();
            for g in 0..kp / GROUP {
                for (half, correction) in corrections.iter_mut().enumerate() {
                    let w = _mm256_loadu_si256(
                        panel.add(g * PANEL * GROUP).cast::<__m256i>().add(half),
                    );
                    let (even, odd) = split(w);
                    *correction = _mm256_add_epi32(*correction, _mm256_madd_epi16(even, odd));
                    _mm256_storeu_si256(groups.add(4 * g + 2 * half), even);
                    _mm256_storeu_si256(groups.add(4 * g + 2 * half + 1), odd);
                }
            }
            _mm256_storeu_si256(out.cast(), corrections[0]);
            _mm256_storeu_si256(out.cast::<__m256i>().add(1), corrections[1]);
            Prepared::new(out)
        }
    }

    #[inline(always)]
    unsafe fn tile(a: *const u8, panel: Prepared, kp: usize, rows: usize, sums: &mut Tile) {
        // SAFETY: the caller's promise, and `rows` is the number of rows that are read.
        unsafe {
            match (panel.narrow, rows) {
                (false, 4) => wide::<4>(a, panel.panel, kp, sums),
                (false, 3) => wide::<3>(a, panel.panel, kp, sums),
                (false, 2) => wide::<2>(a, panel.panel, kp, sums),
                (false, _) => wide::<1>(a, panel.panel, kp, sums),
                (true, 4) => narrow::<4>(a, panel.panel, kp, sums),
                (true, 3) => narrow::<3>(a, panel.panel, kp, sums),
                (true, 2) => narrow::<2>(a, panel.panel, kp, sums),
                (true, _) => narrow::<1>(a, panel.panel, kp, sums),
            }
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn direct(q: *const i8, panel: *const i8, kp: usize, sums: &mut [i32; PANEL]) {
        // SAFETY: the caller's promise; every access is within `kp` activations or the panel.
        unsafe {
            let mut acc = [_mm256_setzero_si256(); 4];
            for g in 0..kp / GROUP {
                let quad = _mm256_broadcastq_epi64(_mm_cvtepi8_epi16(_mm_loadu_si32(
                    q.add(g * GROUP).cast(),
                )));
                let from = panel.add(g * PANEL * GROUP);
                _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(2048));
                for (c, acc) in acc.iter_mut().enumerate() {
                    let w = _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(c * 16).cast()));
                    *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(w, quad));
                }
            }
            // Each accumulator holds 4 channels x 2 halves; hadd gives c0 c1 c4 c5 | c2 c3 c6 c7.
            let out = sums.as_mut_ptr().cast::<__m256i>();
            for half in 0..2 {
                let pairs = _mm256_hadd_epi32(acc[2 * half], acc[2 * half + 1]);
                _mm256_storeu_si256(out.add(half), _mm256_permute4x64_epi64::<0xd8>(pairs));
            }
        }
    }

    float_methods!("avx2,fma");

    #[target_feature(enable = "avx2")]
    unsafe fn dot(a: *const i8, b: *const i8, len: usize) -> i32 {
        // SAFETY: the caller's promise; every access is within `len`.
        unsafe {
            let widen = |p: *const i8| _mm256_cvtepi8_epi16(_mm_loadu_si128(p.cast()));
            let mut acc = [_mm256_setzero_si256(); 4];
            let mut i = 0;
            while i + 64 <= len {
                for (c, acc) in acc.iter_mut().enumerate() {
                    let product =
                        _mm256_madd_epi16(widen(a.add(i + 16 * c)), widen(b.add(i + 16 * c)));
                    *acc = _mm256_add_epi32(*acc, product);
                }
                i += 64;
            }
            while i + 16 <= len {
                acc[0] =
                    _mm256_add_epi32(acc[0], _mm256_madd_epi16(widen(a.add(i)), widen(b.add(i))));
                i += 16;
            }
            let sum = _mm256_add_epi32(
                _mm256_add_epi32(acc[0], acc[1]),
                _mm256_add_epi32(acc[2], acc[3]),
            );
            let sum =
                _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0x4e>(sum));
            let mut sum = _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<0xb1>(sum)));
            while i < len {
                sum += i32::from(*a.add(i)) * i32::from(*b.add(i));
                i += 1;
            }
            sum
        }
    }
}

/// The even and the odd bytes, sign-extended in place: of each four bytes, (0, 2) and (1, 3).
#[inline]
#[target_feature(enable = "avx2")]
fn split(bytes: __m256i) -> (__m256i, __m256i) {
    (_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes)), _mm256_srai_epi16::<8>(bytes))
}

/// # Safety
/// As [`Isa::put_row`].
#[target_feature(enable = "avx2")]
unsafe fn put_row(tile: *mut u8, r: usize, q: &[i8], nonnegative: bool) {
    let kp = q.len();
    let mut correction = _mm256_setzero_si256();
    // SAFETY: group `g` of row `r` lies within the tile; a last step of less than 32 bytes is copied first.
    unsafe {
        let wide = tile.add(HEADER).cast::<u64>();
        for start in (0..kp).step_by(32) {
            let groups = (kp - start).min(32) / GROUP;
            let mut bytes = [0i8; 32];
            let from = if groups == 8 {
                q.as_ptr().add(start)
            } else {
                bytes[..groups * GROUP].copy_from_slice(&q[start..]);
                bytes.as_ptr()
            };
            let (even, odd) = split(_mm256_loadu_si256(from.cast()));
            correction = _mm256_add_epi32(correction, _mm256_madd_epi16(even, odd));
            // Groups 0 1 | 4 5 and 2 3 | 6 7, two to a register of 128 bits.
            let (low, high) = (_mm256_unpacklo_epi32(even, odd), _mm256_unpackhi_epi32(even, odd));
            let pairs = [
                _mm256_castsi256_si128(low),
                _mm256_castsi256_si128(high),
                _mm256_extracti128_si256::<1>(low),
                _mm256_extracti128_si256::<1>(high),
            ];
            // `kp` is a multiple of 8, so groups come in pairs.
            for (i, pair) in pairs.into_iter().enumerate().take(groups / 2) {
                let to = wide.add((start / GROUP + 2 * i) * ROWS + r);
                to.write_unaligned(_mm_cvtsi128_si64(pair) as u64);
                to.add(ROWS).write_unaligned(_mm_extract_epi64::<1>(pair) as u64);
            }
        }
        let sum = _mm_add_epi32(
            _mm256_castsi256_si128(correction),
            _mm256_extracti128_si256::<1>(correction),
        );
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0x4e>(sum));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0xb1>(sum));
        tile.cast::<i32>().add(r).write_unaligned(_mm_cvtsi128_si32(sum));
        if nonnegative {
            Avx2::put_narrow(tile, kp, r, 0, q);
        }
    }
}

/// What a weight of the narrow form lacks.
#[derive(Clone, Copy)]
#[repr(C)]
struct Excess {
    k: u32,
    channel: u16,
    weight: i16,
}

/// Most excesses per panel: beyond this the wide form is faster.
const fn max_excesses(kp: usize) -> usize {
    kp / 16
}

/// Where the weights of a narrow panel begin: behind a count and the excesses.
const fn narrow_header(kp: usize) -> usize {
    8 + max_excesses(kp) * size_of::<Excess>()
}

/// Copies a panel in the stored order with weights cut so that four of them fit; false when too many do not.
///
/// # Safety
/// As [`Isa::prepare`].
#[target_feature(enable = "avx2")]
unsafe fn prepare_narrow(panel: *const i8, kp: usize, out: *mut u8) -> bool {
    let (ones, zero, limit) =
        (_mm256_set1_epi8(1), _mm256_setzero_si256(), _mm256_set1_epi16(NARROW_SUM));
    let mut count = 0;
    // SAFETY: step `s` is 128 bytes of the panel and of the copy: two groups of two halves of 32 bytes.
    unsafe {
        let weights = out.add(narrow_header(kp)).cast::<i8>();
        let excesses = out.add(8).cast::<Excess>();
        for s in 0..kp / 8 {
            for half in 0..2 {
                let at = s * PANEL * 8 + half * 32;
                let a = _mm256_loadu_si256(panel.add(at).cast());
                let b = _mm256_loadu_si256(panel.add(at + PANEL * GROUP).cast());
                _mm256_storeu_si256(weights.add(at).cast(), a);
                _mm256_storeu_si256(weights.add(at + PANEL * GROUP).cast(), b);
                let sum = |a, b| {
                    _mm256_add_epi16(_mm256_maddubs_epi16(ones, a), _mm256_maddubs_epi16(ones, b))
                };
                let most = sum(_mm256_max_epi8(a, zero), _mm256_max_epi8(b, zero));
                let least = sum(_mm256_min_epi8(a, zero), _mm256_min_epi8(b, zero));
                let over = _mm256_cmpgt_epi16(
                    _mm256_max_epi16(most, _mm256_sub_epi16(zero, least)),
                    limit,
                );
                let mut mask = _mm256_movemask_epi8(over) as u32;
                while mask != 0 {
                    let lane = mask.trailing_zeros() as usize / 2;
                    mask &= !(3 << (2 * lane));
                    // The four weights of 16-bit lane `lane`: two of each group.
                    for sign in [1, -1] {
                        let places =
                            [0, 1, PANEL * GROUP, PANEL * GROUP + 1].map(|o| at + 2 * lane + o);
                        let part = |p: usize| (i16::from(*weights.add(p)) * sign).max(0);
                        let mut over = places.iter().map(|&p| part(p)).sum::<i16>() - NARROW_SUM;
                        for (i, p) in places.into_iter().enumerate() {
                            let cut = over.min(part(p));
                            if cut <= 0 {
                                continue;
                            }
                            if count == max_excesses(kp) {
                                return false;
                            }
                            over -= cut;
                            let k = s * 8 + (i / 2) * GROUP + (lane % 2) * 2 + i % 2;
                            let channel = (half * 8 + lane / 2) as u16;
                            *weights.add(p) = (i16::from(*weights.add(p)) - sign * cut) as i8;
                            let excess = Excess { k: k as u32, channel, weight: sign * cut };
                            excesses.add(count).write_unaligned(excess);
                            count += 1;
                        }
                    }
                }
            }
        }
        out.cast::<u64>().write_unaligned(count as u64);
    }
    true
}

/// # Safety
/// As [`Isa::tile`] for `M` rows and the wide form.
#[target_feature(enable = "avx2")]
unsafe fn wide<const M: usize>(a: *const u8, panel: *const u8, kp: usize, sums: &mut Tile) {
    // SAFETY: group `g` of the tile's rows and of the panel exist for `g < kp / 4`.
    unsafe {
        let corrections = panel.cast::<__m256i>();
        let mut acc = [[_mm256_setzero_si256(); 2]; M];
        let mut x = a.add(HEADER);
        let mut y = panel.add(PANEL_HEADER).cast::<__m256i>();
        for _ in 0..kp / GROUP {
            let (even0, odd0) = (_mm256_loadu_si256(y), _mm256_loadu_si256(y.add(1)));
            let (even1, odd1) = (_mm256_loadu_si256(y.add(2)), _mm256_loadu_si256(y.add(3)));
            for (r, acc) in acc.iter_mut().enumerate() {
                let pair = x.add(r * WIDE_GROUP).cast::<i32>();
                let even = _mm256_set1_epi32(pair.read_unaligned());
                let odd = _mm256_set1_epi32(pair.add(1).read_unaligned());
                let product = |y_even, y_odd| {
                    _mm256_madd_epi16(_mm256_add_epi16(even, y_odd), _mm256_add_epi16(odd, y_even))
                };
                acc[0] = _mm256_add_epi32(acc[0], product(even0, odd0));
                acc[1] = _mm256_add_epi32(acc[1], product(even1, odd1));
            }
            x = x.add(ROWS * WIDE_GROUP);
            y = y.add(4);
        }
        let out = sums.0.as_mut_ptr().cast::<__m256i>();
        for (r, acc) in acc.iter().enumerate() {
            let row = _mm256_set1_epi32(a.cast::<i32>().add(r).read_unaligned());
            for half in 0..2 {
                let both = _mm256_add_epi32(row, _mm256_loadu_si256(corrections.add(half)));
                _mm256_store_si256(out.add(2 * r + half), _mm256_sub_epi32(acc[half], both));
            }
        }
    }
}

/// # Safety
/// As [`Isa::tile`] for `M` rows and the narrow form.
#[target_feature(enable = "avx2")]
unsafe fn narrow<const M: usize>(a: *const u8, panel: *const u8, kp: usize, sums: &mut Tile) {
    // SAFETY: step `s` of the tile's rows and of the panel exist for `s < kp / 8`.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let mut acc = [[_mm256_setzero_si256(); 2]; M];
        let rows = a.add(HEADER + ROWS * kp / GROUP * WIDE_GROUP);
        let mut x = rows;
        let mut w = panel.add(narrow_header(kp)).cast::<__m256i>();
        for _ in 0..kp / 8 {
            let (w0, w1) = (_mm256_loadu_si256(w), _mm256_loadu_si256(w.add(1)));
            let (w2, w3) = (_mm256_loadu_si256(w.add(2)), _mm256_loadu_si256(w.add(3)));
            for (r, acc) in acc.iter_mut().enumerate() {
                let quads = x.add(r * 8).cast::<i32>();
                let x0 = _mm256_set1_epi32(quads.read_unaligned());
                let x1 = _mm256_set1_epi32(quads.add(1).read_unaligned());
                let product = |w0, w1| {
                    let four = _mm256_add_epi16(
                        _mm256_maddubs_epi16(x0, w0),
                        _mm256_maddubs_epi16(x1, w1),
                    );
                    _mm256_madd_epi16(four, ones)
                };
                acc[0] = _mm256_add_epi32(acc[0], product(w0, w2));
                acc[1] = _mm256_add_epi32(acc[1], product(w1, w3));
            }
            x = x.add(ROWS * 8);
            w = w.add(4);
        }
        let out = sums.0.as_mut_ptr().cast::<__m256i>();
        for (r, acc) in acc.iter().enumerate() {
            _mm256_store_si256(out.add(2 * r), acc[0]);
            _mm256_store_si256(out.add(2 * r + 1), acc[1]);
        }
        let count = panel.cast::<u64>().read_unaligned() as usize;
        for i in 0..count {
            let Excess { k, channel, weight } =
                panel.add(8).cast::<Excess>().add(i).read_unaligned();
            let (k, channel) = (k as usize, usize::from(channel));
            for r in 0..M {
                let x = i32::from(*rows.add((k / 8 * ROWS + r) * 8 + k % 8));
                sums.0[r * PANEL + channel] += x * i32::from(weight);
            }
        }
    }
}
