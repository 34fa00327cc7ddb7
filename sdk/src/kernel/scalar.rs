//! The `scalar` level: plain loops, the truth that every other level is compared with.

use super::isa::{float_methods, Isa, Prepared, Tile};
use super::weights::{GROUP, PANEL};

/// Portable Rust, any architecture.
pub(super) struct Scalar;

// SAFETY: no special instructions; the loops stay within the documented sizes.
unsafe impl Isa for Scalar {
    type Lanes = super::lanes::Plain;
    const ROWS: usize = 4;
    const DIRECT_ROWS: usize = 1;

    /// Rows of plain int8, one after the other.
    fn tile_bytes(kp: usize) -> usize {
        Self::ROWS * kp
    }

    fn prepared_bytes(_kp: usize) -> usize {
        0
    }

    unsafe fn put_row(tile: *mut u8, r: usize, q: &[i8], _nonnegative: bool) {
        // SAFETY: row `r` of a tile of `ROWS * kp` bytes.
        unsafe { std::ptr::copy_nonoverlapping(q.as_ptr(), tile.add(r * q.len()).cast(), q.len()) }
    }

    unsafe fn prepare(panel: *const i8, _kp: usize, _nonnegative: bool, _out: *mut u8) -> Prepared {
        Prepared::new(panel.cast())
    }

    unsafe fn tile(a: *const u8, panel: Prepared, kp: usize, rows: usize, sums: &mut Tile) {
        for r in 0..rows {
            let row = &mut sums.0[r * PANEL..(r + 1) * PANEL];
            // SAFETY: `a` holds `rows` rows of `kp` bytes, `panel` is a stored panel.
            unsafe {
                Self::direct(
                    a.add(r * kp).cast(),
                    panel.panel.cast(),
                    kp,
                    row.try_into().expect("PANEL sums"),
                );
            }
        }
    }

    unsafe fn direct(q: *const i8, panel: *const i8, kp: usize, sums: &mut [i32; PANEL]) {
        // SAFETY: the caller promises these lengths.
        let (q, panel) = unsafe {
            (std::slice::from_raw_parts(q, kp), std::slice::from_raw_parts(panel, PANEL * kp))
        };
        *sums = [0; PANEL];
        for (q, block) in q.chunks_exact(GROUP).zip(panel.chunks_exact(PANEL * GROUP)) {
            for (sum, w) in sums.iter_mut().zip(block.chunks_exact(GROUP)) {
                for (&q, &w) in q.iter().zip(w) {
                    *sum += i32::from(q) * i32::from(w);
                }
            }
        }
    }

    float_methods!();

    unsafe fn dot(a: *const i8, b: *const i8, len: usize) -> i32 {
        // SAFETY: the caller promises these lengths.
        let (a, b) =
            unsafe { (std::slice::from_raw_parts(a, len), std::slice::from_raw_parts(b, len)) };
        a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
    }
}
