//! What a program without std brings itself: the entry point, memory, the end of a panic, and
//! two names that the prebuilt `alloc` asks for. A program that embeds Panzer may copy this,
//! or have other ones: the library sets none of them.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{CStr, c_char, c_int};
use core::panic::PanicInfo;
use panzer::Level;

/// Where the C library enters the program: with its name and, perhaps, an address.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    let word = (count > 1).then(|| {
        // SAFETY: the C library gives `count` pointers to C strings, which stay.
        let word = unsafe { words.add(1).read() };
        // SAFETY: as above.
        unsafe { CStr::from_ptr(word) }
    });
    c_int::from(crate::program(word.and_then(|word| word.to_str().ok())))
}

/// The process's id.
pub fn pid() -> i32 {
    // SAFETY: it touches no memory and cannot fail.
    unsafe { libc::getpid() }
}

/// The memory of the C library.
struct Malloc;

#[global_allocator]
static MALLOC: Malloc = Malloc;

// SAFETY: the C library gives each block to one owner, as large and aligned as asked for.
unsafe impl GlobalAlloc for Malloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the alignment is a power of two.
        unsafe { libc::aligned_alloc(layout.align(), layout.size()).cast() }
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller gives back what `alloc` gave.
        unsafe { libc::free(block.cast()) }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if let Some(place) = info.location() {
        panzer::log(Level::Error, format_args!("panicked at {place}: {}", info.message()));
    }
    abort()
}

fn abort() -> ! {
    // SAFETY: it does not return and touches no memory of ours.
    unsafe { libc::abort() }
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
