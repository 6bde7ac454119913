//! What stands where std would: the entry point, the allocator, the end.
//!
//! The C library calls `main`; nothing of Rust's runs before it. The memory comes
//! from `sys::heap`. Without std a panic is one line, which says where and why, and
//! SIGABRT.

#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int};
use panzer::program::{Allocator, Reserve};

/// Where the C library enters the program.
#[unsafe(no_mangle)]
pub extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    MEMORY.reserve(&RESERVE);
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
    c_int::from(crate::program(args.leak()))
}

#[global_allocator]
static MEMORY: Allocator = Allocator::new();

/// 2 MiB for the time when the kernel has no memory: several times what main has with
/// 128 listeners and an environment that is usual.
static RESERVE: Reserve<128> = Reserve::new();

#[cfg(not(feature = "std"))]
mod without_std {
    use core::fmt::Write as _;
    use panzer::program::abort;

    /// The most bytes of a line, without its end.
    const LONGEST: usize = 511;

    /// One line on standard error, in a buffer of its own: there may be no memory.
    struct Last {
        bytes: [u8; LONGEST + 1],
        length: usize,
    }

    impl core::fmt::Write for Last {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            // The last byte is the line break's.
            for (place, byte) in self.bytes[self.length..LONGEST].iter_mut().zip(text.bytes()) {
                *place = byte;
                self.length += 1;
            }
            Ok(())
        }
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        let mut last = Last { bytes: [0; LONGEST + 1], length: 0 };
        let _ = last.write_str(concat!(env!("CARGO_BIN_NAME"), ": panicked at "));
        if let Some(place) = info.location() {
            let _ = write!(last, "{place}: ");
        }
        let _ = write!(last, "{}", info.message());
        last.bytes[last.length] = b'\n';
        // SAFETY: the bytes are readable for their length. What cannot be written
        // cannot be reported elsewhere.
        unsafe { libc::write(2, last.bytes.as_ptr().cast(), last.length + 1) };
        abort()
    }

    /// The prebuilt `alloc` refers to it; nothing unwinds here.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() -> ! {
        abort()
    }

    /// The prebuilt `alloc` refers to it; nothing unwinds here.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() -> ! {
        abort()
    }
}
