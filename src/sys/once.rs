//! A value that a process has once and keeps, in its image rather than on its heap.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};

/// Room for one value.
pub struct Once<T> {
    is_taken: AtomicBool,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: `keep` writes the value before it lends it, and nothing writes it again.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Once<T> {
    /// Room that is empty.
    #[must_use]
    pub const fn new() -> Self {
        Self { is_taken: AtomicBool::new(false), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Keeps `value` for as long as the process lives. A second one comes to the heap.
    pub fn keep(&'static self, value: T) -> &'static T {
        if self.is_taken.swap(true, Ordering::SeqCst) {
            return Box::leak(Box::new(value));
        }
        // SAFETY: only the first comes here, so there is no other reference.
        let room = unsafe { &mut *self.value.get() };
        room.write(value)
    }
}
