//! A value that the whole process shares, where a function of the public
//! interface has no object to keep it in.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A value behind a lock that spins; held for moments, and never by a handler nor
/// over a system call that can wait.
pub struct Global<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through `with` alone, by one thread at a time.
unsafe impl<T: Send> Sync for Global<T> {}

/// The lock of a [`Global`].
pub struct Held<'lock> {
    _release: Unlock<'lock>,
}

/// Lets go of the lock, also when the closure unwinds.
struct Unlock<'lock>(&'lock AtomicBool);

impl Drop for Unlock<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<T> Global<T> {
    /// A global with this value.
    pub const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Keeps every other thread out until the answer is dropped. Held over a fork and
    /// dropped on both sides of it, it leaves the value whole in the child and the lock
    /// free: the thread that would let go of it does not exist there.
    pub fn hold(&self) -> Held<'_> {
        while self.taken.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        Held { _release: Unlock(&self.taken) }
    }

    /// Gives the value to `access`, which must not come back here.
    pub fn with<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        let _held = self.hold();
        // SAFETY: `taken` was false and is ours now, so no other reference
        // exists until `_held` is dropped.
        access(unsafe { &mut *self.value.get() })
    }
}
