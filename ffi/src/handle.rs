//! What every handle is made of: a value behind a lock that never waits, and a mark of poison.

use keyface::{Error, ErrorKind, Result};
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};

const EXCLUSIVE: u32 = 1 << 30;
const POISONED: u32 = 1 << 31;

/// A value that C code holds by pointer. Misuse from two threads is refused instead of being a data race.
pub(crate) struct Handle<T> {
    /// Number of shared borrows, or `EXCLUSIVE`; `POISONED` beside either.
    state: AtomicU32,
    /// Panic at the first use: proves in the shipped build what the header says of defects.
    fault: bool,
    value: UnsafeCell<T>,
}

// SAFETY: `state` gives out either shared references or one exclusive reference, as a lock does.
unsafe impl<T: Send + Sync> Sync for Handle<T> {}

fn in_use() -> Error {
    Error::new(ErrorKind::InvalidArgument, "the handle is in use by another call")
}

impl<T> Handle<T> {
    /// `kind` is what the hidden environment variable KEYFACE_FAULT names, such as `pipeline`.
    pub(crate) fn new(kind: &str, value: T) -> Self {
        let fault = std::env::var_os("KEYFACE_FAULT").is_some_and(|name| name == kind);
        Handle { state: AtomicU32::new(0), fault, value: UnsafeCell::new(value) }
    }

    fn acquire(&self, next: impl Fn(u32) -> Option<u32>) -> Result<()> {
        let mut now = self.state.load(Ordering::Relaxed);
        loop {
            if now & POISONED != 0 {
                return Err(Error::new(
                    ErrorKind::Poisoned,
                    "an earlier failure left the handle unusable",
                ));
            }
            let wanted = next(now).ok_or(in_use())?;
            match self.state.compare_exchange_weak(
                now,
                wanted,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(changed) => now = changed,
            }
        }
    }

    /// For a call that takes the handle by `const`: any number at once, none beside an exclusive one.
    pub(crate) fn shared(&self) -> Result<Shared<'_, T>> {
        self.acquire(|now| (now < EXCLUSIVE - 1).then_some(now + 1))?;
        let guard = Shared { handle: self, panicking: std::thread::panicking() };
        self.fail_on_order();
        Ok(guard)
    }

    /// For a call that needs the handle for itself.
    pub(crate) fn exclusive(&self) -> Result<Exclusive<'_, T>> {
        self.acquire(|now| (now == 0).then_some(EXCLUSIVE))?;
        let guard = Exclusive { handle: self, panicking: std::thread::panicking() };
        self.fail_on_order();
        Ok(guard)
    }

    fn fail_on_order(&self) {
        assert!(!self.fault, "fault injected");
    }

    /// Lets go, and poisons if a panic began under the guard.
    fn release(&self, held: u32, panicking: bool) {
        if !panicking && std::thread::panicking() {
            self.state.fetch_or(POISONED, Ordering::Relaxed);
        }
        self.state.fetch_sub(held, Ordering::Release);
    }
}

/// A shared borrow.
pub(crate) struct Shared<'a, T> {
    handle: &'a Handle<T>,
    panicking: bool,
}

impl<T> Deref for Shared<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: while this guard lives no exclusive one is given out.
        unsafe { &*self.handle.value.get() }
    }
}

impl<T> Drop for Shared<'_, T> {
    fn drop(&mut self) {
        self.handle.release(1, self.panicking);
    }
}

/// The only borrow.
pub(crate) struct Exclusive<'a, T> {
    handle: &'a Handle<T>,
    panicking: bool,
}

impl<T> Deref for Exclusive<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: while this guard lives no other is given out.
        unsafe { &*self.handle.value.get() }
    }
}

impl<T> DerefMut for Exclusive<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: while this guard lives no other is given out, and it is borrowed for as long as the reference lives.
        unsafe { &mut *self.handle.value.get() }
    }
}

impl<T> Drop for Exclusive<'_, T> {
    fn drop(&mut self) {
        self.handle.release(EXCLUSIVE, self.panicking);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{catch_unwind, AssertUnwindSafe};

    fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
        result.err().map(|e| e.kind())
    }

    #[test]
    fn shared_or_exclusive_never_both() {
        let handle = Handle::new("test", 1);
        let (a, b) = (handle.shared().unwrap(), handle.shared().unwrap());
        assert_eq!(*a + *b, 2);
        assert_eq!(kind(handle.exclusive()), Some(ErrorKind::InvalidArgument));
        drop((a, b));
        let mut only = handle.exclusive().unwrap();
        *only = 5;
        assert_eq!(kind(handle.shared()), Some(ErrorKind::InvalidArgument));
        assert_eq!(kind(handle.exclusive()), Some(ErrorKind::InvalidArgument));
        drop(only);
        assert_eq!(*handle.shared().unwrap(), 5);
    }

    #[test]
    fn a_panic_under_a_guard_poisons_for_ever() {
        for exclusive in [false, true] {
            let handle = Handle::new("test", 1);
            let result = catch_unwind(AssertUnwindSafe(|| {
                if exclusive {
                    let _guard = handle.exclusive().unwrap();
                    panic!("on purpose");
                }
                let _guard = handle.shared().unwrap();
                panic!("on purpose");
            }));
            assert!(result.is_err());
            for _ in 0..2 {
                assert_eq!(kind(handle.shared()), Some(ErrorKind::Poisoned));
                assert_eq!(kind(handle.exclusive()), Some(ErrorKind::Poisoned));
            }
        }
    }

    #[test]
    fn many_threads_never_see_a_torn_value() {
        let handle = Handle::new("test", (0u64, 0u64));
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for i in 0..2000 {
                        if let Ok(mut pair) = handle.exclusive() {
                            pair.0 += 1;
                            pair.1 = pair.0;
                        }
                        if let Ok(pair) = handle.shared() {
                            assert_eq!(pair.0, pair.1, "{i}");
                        }
                    }
                });
            }
        });
        assert!(handle.shared().unwrap().0 > 0);
    }
}
