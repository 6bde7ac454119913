//! A value that the whole process shares, where a function of the public
//! interface has no object to keep it in.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A value behind a lock that spins; held for moments, and never by a handler.
pub struct Global<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through `with` alone, by one thread at a time.
unsafe impl<T: Send> Sync for Global<T> {}

/// Lets go of the lock, also when the closure unwinds.
struct Release<'lock>(&'lock AtomicBool);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<T> Global<T> {
    /// A global with this value.
    pub const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Gives the value to `access`, which must not come back here.
    pub fn with<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        while self.taken.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        let _release = Release(&self.taken);
        // SAFETY: `taken` was false and is ours now, so no other reference
        // exists until `_release` is dropped.
        access(unsafe { &mut *self.value.get() })
    }
}
