//! Working memory that grows during warm-up and is reused for ever after.

/// One cache line; the unit of growth keeps every carved slice aligned to it.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

const LINE: usize = 64;

/// A reusable block of bytes, aligned to 64 and always initialised.
#[derive(Default)]
pub(super) struct Scratch {
    lines: Vec<Line>,
}

/// Element types that may be carved from raw bytes.
///
/// # Safety
/// Every bit pattern must be a value of the type, and its alignment at most 64.
pub(super) unsafe trait Plain: Copy {}
// SAFETY: all four are integers or floats without invalid bit patterns.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for i32 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}

impl Scratch {
    /// A cursor over at least `bytes` bytes; grows (and allocates) only when the block is smaller.
    pub(super) fn carve(&mut self, bytes: usize) -> Carve<'_> {
        let lines = bytes.div_ceil(LINE);
        if self.lines.len() < lines {
            self.lines.resize(lines, Line([0; LINE]));
        }
        let len = self.lines.len() * LINE;
        // SAFETY: the vector holds `lines.len()` initialised 64-byte lines without padding, borrowed for the
        // lifetime of the cursor.
        let rest = unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) };
        Carve { rest }
    }
}

/// Hands out disjoint slices of one [`Scratch`], each starting on a cache line.
pub(super) struct Carve<'a> {
    rest: &'a mut [u8],
}

impl<'a> Carve<'a> {
    /// The next `count` elements; their contents are whatever an earlier use left there.
    ///
    /// # Panics
    /// When the block given to [`Scratch::carve`] is used up.
    pub(super) fn take<T: Plain>(&mut self, count: usize) -> &'a mut [T] {
        let rest = std::mem::take(&mut self.rest);
        let (head, tail) = rest.split_at_mut(carved_bytes::<T>(count));
        self.rest = tail;
        // SAFETY: `head` starts on a cache line (the block does, and every slice is rounded up to whole lines), it
        // holds at least `count` elements, and `Plain` promises that any bytes are valid.
        unsafe { std::slice::from_raw_parts_mut(head.as_mut_ptr().cast(), count) }
    }
}

/// What `take::<T>(count)` consumes, for adding up the argument of [`Scratch::carve`].
pub(super) const fn carved_bytes<T>(count: usize) -> usize {
    (count * size_of::<T>()).div_ceil(LINE) * LINE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_disjoint_aligned_and_kept() {
        let mut scratch = Scratch::default();
        let total = carved_bytes::<f32>(3) + carved_bytes::<i8>(70);
        let mut carve = scratch.carve(total);
        let a = carve.take::<f32>(3);
        let b = carve.take::<i8>(70);
        a.fill(1.5);
        b.fill(-1);
        assert_eq!(a, [1.5; 3]);
        assert_eq!(a.as_ptr() as usize % LINE, 0);
        assert_eq!(b.as_ptr() as usize % LINE, 0);
        let before = scratch.lines.as_ptr();
        scratch.carve(total).take::<u8>(1);
        assert_eq!(scratch.lines.as_ptr(), before, "a second use must not allocate");
    }
}
