//! The `avx2` level: exact i8 products as i16 pairs (`vpmaddwd`), for x86-64 with AVX2 and FMA.
//!
//! `vpmaddubsw` would multiply twice as many bytes but saturates its 16-bit sums; `vpmaddwd` on sign-extended bytes is
//! exact. Activations are widened once per layer and panels once per panel, so the inner loop only multiplies and adds.

use std::arch::x86_64::*;

use super::isa::{Isa, Tile};
use super::weights::{GROUP, PANEL};

/// x86-64 with AVX2 and FMA.
pub(super) struct Avx2;

/// Rows per tile: 6 x 16 sums in twelve registers, two for weights, one broadcast, one product.
const ROWS: usize = 6;

// SAFETY: each function stays within the documented sizes and needs no more than AVX2.
unsafe impl Isa for Avx2 {
    const ROWS: usize = ROWS;
    const DIRECT_ROWS: usize = 2;

    /// `[kp / 2][ROWS][2]` in i16: a pair of one row is one 32-bit broadcast.
    fn tile_bytes(kp: usize) -> usize {
        ROWS * kp * 2
    }

    /// `[kp / 2][PANEL][2]` in i16: a pair of eight channels is one register.
    fn prepared_bytes(kp: usize) -> usize {
        PANEL * kp * 2
    }

    #[inline(always)]
    unsafe fn put_row(tile: *mut u8, r: usize, q: &[i8]) {
        for (i, pair) in q.chunks_exact(2).enumerate() {
            let pair = [i16::from(pair[0]), i16::from(pair[1])];
            // SAFETY: pair `i` of row `r` lies within the tile.
            unsafe { tile.cast::<[i16; 2]>().add(i * ROWS + r).write_unaligned(pair) }
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn prepare(panel: *const i8, kp: usize, out: *mut u8) {
        for g in 0..kp / GROUP {
            // SAFETY: group `g` is 64 bytes of the panel and 128 of `out`.
            unsafe {
                let from = panel.add(g * PANEL * GROUP).cast::<__m128i>();
                let to = out.add(g * PANEL * GROUP * 2).cast::<__m256i>();
                for half in 0..2 {
                    // Channels 8 * half ..: dwords are c0k01 c0k23 c1k01 c1k23 | c2k01 ..., then c4 .. c7.
                    let low = _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(half * 2)));
                    let high = _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(half * 2 + 1)));
                    let (low, high) = (_mm256_castsi256_ps(low), _mm256_castsi256_ps(high));
                    let k01 = _mm256_castps_si256(_mm256_shuffle_ps::<0x88>(low, high));
                    let k23 = _mm256_castps_si256(_mm256_shuffle_ps::<0xdd>(low, high));
                    _mm256_storeu_si256(to.add(half), _mm256_permute4x64_epi64::<0xd8>(k01));
                    _mm256_storeu_si256(to.add(2 + half), _mm256_permute4x64_epi64::<0xd8>(k23));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile(a: *const u8, panel: *const u8, kp: usize, rows: usize, sums: &mut Tile) {
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

/// # Safety
/// As [`Isa::tile`] for `M` rows.
#[target_feature(enable = "avx2")]
unsafe fn tile<const M: usize>(a: *const u8, panel: *const u8, kp: usize, sums: &mut Tile) {
    // SAFETY: pair `i` of the tile's rows and of the panel exist for `i < kp / 2`.
    unsafe {
        let mut acc = [[_mm256_setzero_si256(); 2]; M];
        let (mut a, mut w) = (a.cast::<i32>(), panel.cast::<__m256i>());
        for _ in 0..kp / 4 {
            for _ in 0..2 {
                let (w0, w1) = (_mm256_loadu_si256(w), _mm256_loadu_si256(w.add(1)));
                for (r, acc) in acc.iter_mut().enumerate() {
                    let x = _mm256_set1_epi32(a.add(r).read_unaligned());
                    acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(x, w0));
                    acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(x, w1));
                }
                a = a.add(ROWS);
                w = w.add(2);
            }
        }
        let out = sums.0.as_mut_ptr().cast::<__m256i>();
        for (r, acc) in acc.iter().enumerate() {
            _mm256_storeu_si256(out.add(2 * r), acc[0]);
            _mm256_storeu_si256(out.add(2 * r + 1), acc[1]);
        }
    }
}
