//! The kernel: one small file per facility, and all the `unsafe` there is.
//!
//! Each wrapper takes types, makes one call, and gives types: no policy, no
//! log, no retry but after EINTR. What is expected is a value (`None`: nothing
//! to reap); what is left over is an [`Errno`], to which the caller adds what
//! it was doing.

#![allow(unsafe_code)]

pub mod alarm;
mod call;
pub mod capability;
pub mod children;
pub mod clock;
pub mod directory;
pub mod env;
pub mod epoll;
pub mod exec;
pub mod fd;
pub mod file;
pub mod global;
pub mod heap;
pub mod host;
pub mod lock;
pub mod memory;
pub mod message;
pub mod new_file;
pub mod once;
pub mod output;
pub mod path;
pub mod pidfd;
pub mod poll;
pub mod process;
pub mod receiver;
pub mod release;
pub mod signal;
pub mod socket;
pub mod terminal;
pub mod threads;

pub use crate::error::Errno;
// Where tests and benches find it.
#[cfg(feature = "internals")]
pub use crate::types::Signal;

/// What a wrapper returns.
pub type SysResult<T> = Result<T, Errno>;

// Without std nothing else names the C library to the linker on musl.
#[cfg(all(not(feature = "std"), target_env = "musl"))]
#[link(name = "c")]
unsafe extern "C" {}

/// The reason of the last failure in this thread: errno(3).
pub fn last_errno() -> Errno {
    // SAFETY: returns this thread's `errno`, valid as long as the thread.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: `place` is valid and aligned, and no other thread writes it.
    Errno(unsafe { place.read() })
}

/// Puts back what a handler's own calls have overwritten.
fn restore_errno(errno: Errno) {
    // SAFETY: returns this thread's `errno`, valid as long as the thread.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: `place` is valid and aligned, and no other thread touches it.
    unsafe { place.write(errno.0) };
}

/// Takes -1 as the failure it is.
fn check(result: libc::c_int) -> SysResult<libc::c_int> {
    if result == -1 { Err(last_errno()) } else { Ok(result) }
}

/// Takes -1 as the failure it is, and anything else as a number of bytes.
fn check_size(result: isize) -> SysResult<usize> {
    usize::try_from(result).map_err(|_| last_errno())
}

/// Makes a call again as long as a signal interrupts it.
fn retry_eintr<T>(mut call: impl FnMut() -> SysResult<T>) -> SysResult<T> {
    loop {
        match call() {
            Err(Errno(libc::EINTR)) => {}
            outcome => return outcome,
        }
    }
}

/// How often a call is made again that has no reason to fail.
const INSISTENCE: u32 = 100;

/// Makes a call again that fails for want of something it does not need.
///
/// For calls that neither open nor take anything, on whose success a process
/// depends that cannot go back: a main that has just been executed in place. A
/// kernel that is short of everything, or a sandbox, may refuse them once.
fn insist<T>(mut call: impl FnMut() -> SysResult<T>) -> SysResult<T> {
    for _ in 0..INSISTENCE {
        match call() {
            Err(Errno(libc::EINTR | libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE)) => {
            }
            outcome => return outcome,
        }
    }
    call()
}

/// Whether `errno` says that the call would have had to wait.
pub const fn would_block(errno: Errno) -> bool {
    matches!(errno.0, libc::EAGAIN)
}
