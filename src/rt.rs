//! What stands where std would: the entry point, the allocator, the end.
//!
//! The C library calls `main`; nothing of Rust's runs before it. Without std
//! the memory comes from malloc(3), and a panic is one line and abort(3).

#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int};

/// Where the C library enters the program.
#[unsafe(no_mangle)]
pub extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    let args: Vec<&CStr> = (1..count)
        .map(|index| {
            // SAFETY: the C library gives `count` pointers, and `index` is below.
            let place = unsafe { words.add(index) };
            // SAFETY: `place` is within the array, which lives as long as the process.
            let word = unsafe { place.read() };
            // SAFETY: each word is a C string that lives as long as the process.
            unsafe { CStr::from_ptr(word) }
        })
        .collect();
    c_int::from(super::program(&args))
}

#[cfg(not(feature = "std"))]
mod without_std {
    use core::alloc::{GlobalAlloc, Layout};
    use core::fmt::Write as _;

    /// malloc(3): this program is one thread that lives long and allocates little.
    struct Malloc;

    // SAFETY: malloc, realloc and free keep the contract of an allocator, for
    // alignments up to that of max_align_t; larger ones are refused.
    unsafe impl GlobalAlloc for Malloc {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            if layout.align() > align_of::<libc::max_align_t>() {
                return core::ptr::null_mut();
            }
            // SAFETY: malloc takes any size; null says that there is no memory.
            unsafe { libc::malloc(layout.size()) }.cast()
        }

        unsafe fn dealloc(&self, pointer: *mut u8, _: Layout) {
            // SAFETY: the caller gives back what `alloc` or `realloc` gave it.
            unsafe { libc::free(pointer.cast()) };
        }

        unsafe fn realloc(&self, pointer: *mut u8, _: Layout, size: usize) -> *mut u8 {
            // SAFETY: `pointer` came from malloc or realloc, with an alignment
            // that malloc gives to every block.
            unsafe { libc::realloc(pointer.cast(), size) }.cast()
        }
    }

    #[global_allocator]
    static MEMORY: Malloc = Malloc;

    /// One line on standard error, in a buffer of its own.
    struct Last {
        bytes: [u8; 256],
        length: usize,
    }

    impl core::fmt::Write for Last {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            for (place, byte) in self.bytes[self.length..].iter_mut().zip(text.bytes()) {
                *place = byte;
                self.length += 1;
            }
            Ok(())
        }
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        let mut last = Last { bytes: [0; 256], length: 0 };
        let _ = writeln!(last, "panzer: {info}");
        // SAFETY: the bytes are readable for their length. What cannot be
        // written has nobody to be told to.
        unsafe { libc::write(2, last.bytes.as_ptr().cast(), last.length) };
        // SAFETY: abort does not return.
        unsafe { libc::abort() }
    }

    /// The prebuilt `alloc` refers to it; nothing unwinds here.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() -> ! {
        // SAFETY: abort does not return.
        unsafe { libc::abort() }
    }

    /// The prebuilt `alloc` refers to it; nothing unwinds here.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() -> ! {
        // SAFETY: abort does not return.
        unsafe { libc::abort() }
    }
}
