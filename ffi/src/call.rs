//! The border: pointers in, statuses out, and no panic across it.

#[cfg(panic = "abort")]
compile_error!("the C ABI turns panics into a status: build with panic = \"unwind\"");

use crate::status::{self, kf_status};
use keyface::{Error, ErrorKind, Result};
use std::cell::Cell;
use std::panic::{catch_unwind, set_hook, take_hook, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Panics of ours go to the log instead of the standard error stream: place only, since a text might hold data.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            let worker = std::thread::current().name() == Some("keyface-kernel");
            if !worker && !INSIDE.get() {
                return before(info);
            }
            match info.location() {
                Some(place) => log::error!("a defect at {}:{}", place.file(), place.line()),
                None => log::error!("a defect"),
            }
        }));
    });
}

/// Runs the body of an exported function. Errors are logged by the function's name.
pub(crate) fn call(name: &str, body: impl FnOnce() -> Result<()>) -> kf_status {
    quiet_panics();
    let outer = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(body));
    let status = match result {
        Ok(Ok(())) => kf_status::Ok,
        Ok(Err(e)) => {
            log::warn!("{name}: {e}");
            status::of(e.kind())
        }
        Err(payload) => {
            // Its drop may panic too; what that throws is not dropped any more.
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(again);
            }
            log::error!("{name}: internal error, the handle is poisoned");
            kf_status::Internal
        }
    };
    INSIDE.set(outer);
    status
}

pub(crate) const fn invalid(detail: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, detail)
}

/// What a pointer from C refers to.
///
/// # Safety
/// If not NULL, it points to a live value that nobody changes during `'a`.
pub(crate) unsafe fn borrow<'a, T>(pointer: *const T) -> Result<&'a T> {
    if !pointer.is_aligned() {
        return Err(invalid("a pointer is misaligned"));
    }
    // SAFETY: aligned; the rest is the caller's promise.
    unsafe { pointer.as_ref() }.ok_or(invalid("a pointer is NULL"))
}

/// An array from C; NULL only if empty.
///
/// # Safety
/// `pointer` is NULL or valid for reads of `len` elements that nobody changes during `'a`.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, len: usize) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(invalid("an array is NULL or misaligned"));
    }
    if len > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(invalid("an array is longer than memory"));
    }
    // SAFETY: not null, aligned, not too long; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// A string from C.
///
/// # Safety
/// As [`slice`].
pub(crate) unsafe fn text<'a>(pointer: *const std::ffi::c_char, len: usize) -> Result<&'a str> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { slice(pointer.cast::<u8>(), len) }?;
    std::str::from_utf8(bytes).map_err(|_| invalid("a string is not UTF-8"))
}

/// A place for a result. It is checked before the work and written after it.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// `pointer` is NULL or valid for a write until the value is dropped.
    pub(crate) unsafe fn new(pointer: *mut T) -> Result<Self> {
        if pointer.is_null() || !pointer.is_aligned() {
            return Err(invalid("an out-parameter is NULL or misaligned"));
        }
        Ok(Out(pointer))
    }

    pub(crate) fn write(self, value: T) {
        // SAFETY: checked and promised in `new`.
        unsafe { self.0.write(value) }
    }
}

/// A caller's buffer and the place of its count.
pub(crate) struct Buffer<T> {
    data: *mut T,
    capacity: usize,
    count: Out<usize>,
}

impl<T: Copy> Buffer<T> {
    /// # Safety
    /// `data` is valid for writes of `capacity` elements (or NULL if that is 0), `count` as for [`Out::new`].
    pub(crate) unsafe fn new(data: *mut T, capacity: usize, count: *mut usize) -> Result<Self> {
        // SAFETY: the caller's promise.
        let count = unsafe { Out::new(count) }?;
        if capacity > 0 && (data.is_null() || !data.is_aligned()) {
            return Err(invalid("a buffer is NULL or misaligned"));
        }
        Ok(Buffer { data, capacity, count })
    }

    /// Whether only the count is asked for.
    pub(crate) fn asks_for_count(&self) -> bool {
        self.capacity == 0
    }

    /// Writes all of `items` and their number, or, for capacity 0, the number alone.
    pub(crate) fn write(self, items: &[T]) -> Result<()> {
        if !self.asks_for_count() {
            if items.len() > self.capacity {
                return Err(Error::new(ErrorKind::CapacityExceeded, "the buffer is too small"));
            }
            // SAFETY: the buffer has room, checked above, and cannot overlap a borrowed slice of ours.
            unsafe { std::ptr::copy_nonoverlapping(items.as_ptr(), self.data, items.len()) };
        }
        self.count.write(items.len());
        Ok(())
    }

    /// As [`Buffer::write`], each item converted in its place in the buffer: no copy stays behind.
    pub(crate) fn write_each<S>(self, items: &[S], convert: impl Fn(&S) -> T) -> Result<()> {
        if !self.asks_for_count() {
            if items.len() > self.capacity {
                return Err(Error::new(ErrorKind::CapacityExceeded, "the buffer is too small"));
            }
            for (i, item) in items.iter().enumerate() {
                // SAFETY: the buffer has room, checked above.
                unsafe { self.data.add(i).write(convert(item)) };
            }
        }
        self.count.write(items.len());
        Ok(())
    }

    /// Writes as many of `items` as fit, and their number; for capacity 0 the number of all.
    pub(crate) fn write_some(self, items: &[T]) -> Result<()> {
        let fit = if self.asks_for_count() { items.len() } else { items.len().min(self.capacity) };
        self.write(&items[..fit])
    }
}

/// Hands a new handle to C.
pub(crate) fn give<T>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

/// Takes a handle back and drops it. NULL is allowed.
///
/// # Safety
/// `pointer` is NULL, or came from [`give`] and is not used again.
pub(crate) unsafe fn release<T>(name: &str, pointer: *mut T) {
    if pointer.is_null() {
        return;
    }
    call(name, || {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(pointer) });
        Ok(())
    });
}

/// Checks the first field of a struct that may grow.
pub(crate) fn check_size<T>(struct_size: u32) -> Result<()> {
    if struct_size as usize == size_of::<T>() {
        return Ok(());
    }
    Err(invalid("struct_size is not the size of the struct: use its _init function"))
}

/// A C truth value: 0 or 1.
pub(crate) fn flag(value: u32) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(invalid("a flag is neither 0 nor 1")),
    }
}
