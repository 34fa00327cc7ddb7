//! What differs between CPU levels: the integer tile and the order in which it likes its operands.

use super::weights::PANEL;

/// Most rows of any level's tile.
pub(super) const MAX_ROWS: usize = 8;

/// Sums of one tile: `rows` x [`PANEL`], row-major.
#[repr(align(64))]
pub(super) struct Tile(pub(super) [i32; MAX_ROWS * PANEL]);

impl Tile {
    pub(super) const ZERO: Tile = Tile([0; MAX_ROWS * PANEL]);

    /// The 16 sums of row `r`.
    #[inline(always)]
    pub(super) fn row(&self, r: usize) -> &[i32; PANEL] {
        self.0[r * PANEL..(r + 1) * PANEL].try_into().expect("a row has PANEL sums")
    }
}

/// A panel as a level's tile reads it.
#[derive(Clone, Copy)]
pub(super) struct Prepared {
    pub(super) panel: *const u8,
    /// The panel's weights allow four products with activations in 0..=127 to meet in 16 bits, and the tile may do so.
    pub(super) narrow: bool,
}

/// Four products `a * w` with `0 <= a <= 127` fit into 16 bits when neither the positive nor the negative weights among
/// the four add up to more than this: `127 * 258 < 2^15`.
pub(super) const NARROW_SUM: i16 = 258;

/// Integer matrix kernels of one CPU level. All sizes are in bytes; `kp` is a multiple of `K_STEP`.
///
/// # Safety
/// The functions may use instructions of their level: the CPU must have them. Each reads and writes only what its
/// comment says, and its sums are the exact i32 sums.
pub(super) unsafe trait Isa {
    /// Rows per tile, at most [`MAX_ROWS`].
    const ROWS: usize;
    /// Linear layers of at most this many rows read the stored weights directly, without `prepare`.
    const DIRECT_ROWS: usize;

    /// Size of a tile of `ROWS` rows of activations.
    fn tile_bytes(kp: usize) -> usize;

    /// Size of the memory that `prepare` may write.
    fn prepared_bytes(kp: usize) -> usize;

    /// Writes row `r` (`q.len()` = kp values in -127..=127) into a tile. `nonnegative` promises that no value is
    /// below 0.
    ///
    /// # Safety
    /// The CPU has the level, `tile` is valid for `tile_bytes(kp)` bytes and `r < ROWS`.
    unsafe fn put_row(tile: *mut u8, r: usize, q: &[i8], nonnegative: bool);

    /// Brings a stored panel of `PANEL * kp` bytes into the order that `tile` reads; the result points to `out` or to
    /// the panel itself. `nonnegative` promises that all rows of all tiles to come are.
    ///
    /// # Safety
    /// The CPU has the level; `panel` is valid for `PANEL * kp` and `out` for `prepared_bytes(kp)` bytes.
    unsafe fn prepare(panel: *const i8, kp: usize, nonnegative: bool, out: *mut u8) -> Prepared;

    /// `sums[r][c] = sum_k a[r][k] * w[c][k]` for the first `rows` rows; other sums are left undefined but initialised.
    ///
    /// # Safety
    /// The CPU has the level; `a` is a tile whose first `rows` rows are written, `panel` comes from `prepare`, both for
    /// this `kp`, and what was promised there holds; `1 <= rows <= ROWS`.
    unsafe fn tile(a: *const u8, panel: Prepared, kp: usize, rows: usize, sums: &mut Tile);

    /// One row of plain int8 activations in -127..=127 times a stored panel.
    ///
    /// # Safety
    /// The CPU has the level; `q` is valid for `kp` and `panel` for `PANEL * kp` bytes.
    unsafe fn direct(q: *const i8, panel: *const i8, kp: usize, sums: &mut [i32; PANEL]);

    /// `sum_i a[i] * b[i]` over all of -128..=127.
    ///
    /// # Safety
    /// The CPU has the level; both are valid for `len` bytes.
    unsafe fn dot(a: *const i8, b: *const i8, len: usize) -> i32;
}
