//! What stands where std would: the entry point, the allocator, the end.
//!
//! The C library calls `main`; nothing of Rust's runs before it. Without std
//! the memory comes from `sys::heap`, and a panic is one line and SIGABRT.

#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int};

/// Where the C library enters the program.
#[unsafe(no_mangle)]
pub extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    #[cfg(not(feature = "std"))]
    without_std::prepare();
    let count = usize::try_from(count).unwrap_or(0);
    let mut args: Vec<&'static CStr> = Vec::new();
    for index in 0..count {
        // SAFETY: the C library gives `count` pointers, and `index` is below.
        let place = unsafe { words.add(index) };
        // SAFETY: `place` is within the array, which lives as long as the process.
        let word = unsafe { place.read() };
        // SAFETY: each word is a C string that lives as long as the process.
        args.push(unsafe { CStr::from_ptr(word) });
    }
    c_int::from(super::program(args.leak()))
}

#[cfg(not(feature = "std"))]
mod without_std {
    use core::alloc::{GlobalAlloc, Layout};
    use core::fmt::Write as _;
    use core::ptr::{self, NonNull};
    use panzer::sys::global::Global;
    use panzer::sys::heap::Heap;
    use panzer::sys::signal;

    /// A heap of our own: the C library's malloc(3) would be a tenth of the
    /// program, made for threads that are not there.
    struct Memory(Global<Heap>);

    fn pointer(block: Option<NonNull<u8>>) -> *mut u8 {
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    // SAFETY: the heap gives each block to one owner, as large and aligned as
    // its layout says, or nothing; `Global` lets nobody else in meanwhile.
    unsafe impl GlobalAlloc for Memory {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            pointer(self.0.with(|heap| heap.take(layout)))
        }

        // SAFETY: what `alloc` and `realloc` gave goes back to the same heap.
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: the caller gives back what is not null.
            let block = unsafe { NonNull::new_unchecked(block) };
            // SAFETY: the caller gives back what this heap gave for this layout.
            self.0.with(|heap| unsafe { heap.give(block, layout) });
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: the caller gives back what is not null.
            let block = unsafe { NonNull::new_unchecked(block) };
            // SAFETY: the block came from this heap for this layout, and the
            // caller keeps `size` within what a layout may have.
            pointer(self.0.with(|heap| unsafe { heap.resize(block, layout, size) }))
        }
    }

    #[global_allocator]
    static MEMORY: Memory = Memory(Global::new(Heap::new()));

    /// More blocks of 64 KiB than main fills with any environment that is usual.
    const RESERVE: usize = 8;

    /// Memory for the time when the kernel has none: main must not die of that.
    pub fn prepare() {
        MEMORY.0.with(|heap| heap.reserve(RESERVE));
    }

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
        let _ = last.write_str(concat!(env!("CARGO_BIN_NAME"), ": "));
        // The static program leaves the place and the reason to its core: they
        // would be a fortieth of it.
        #[cfg(target_env = "musl")]
        let _ = (info, last.write_str("panicked"));
        #[cfg(not(target_env = "musl"))]
        let _ = write!(last, "{info}");
        let _ = last.write_str("\n");
        // SAFETY: the bytes are readable for their length. What cannot be
        // written has nobody to be told to.
        unsafe { libc::write(2, last.bytes.as_ptr().cast(), last.length) };
        signal::abort()
    }

    /// The prebuilt `alloc` refers to it; nothing unwinds here.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() -> ! {
        signal::abort()
    }

    /// The prebuilt `alloc` refers to it; nothing unwinds here.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() -> ! {
        signal::abort()
    }
}
