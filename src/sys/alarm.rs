//! The last resort of a worker that has neither monitor nor main left.
//!
//! A POSIX timer that sends SIGKILL works with every signal blocked and every
//! thread busy. It is created only when it is needed, in the handler of SIGTERM:
//! each timer that is there counts against the user's `RLIMIT_SIGPENDING`, whether
//! it runs or not. timer_create(2), timer_settime(2), alarm(2)
//!
//! The C library's functions are not async-signal-safe, so these are the system
//! calls themselves.

use super::{Errno, check};
use crate::sys::signal::disposition::reset_number;
use crate::types::Millis;
use core::ffi::{c_int, c_long};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

const ORDER: Ordering = Ordering::SeqCst;

/// In milliseconds; 0 once the timer runs, and where there is to be none.
static SPAN: AtomicU64 = AtomicU64::new(0);

/// How long the process lives after its first SIGTERM. Makes no timer yet.
pub fn prepare(span: Millis) {
    SPAN.store(span.0, ORDER);
}

/// Starts the timer: SIGKILL ends the process when the span of [`prepare`] is over. A
/// second call does nothing.
///
/// Where the kernel makes no timer, alarm(2) takes its place, in whole seconds, rounded
/// up: SIGALRM ends the process. It is taken out of the mask in `context`, so that it is
/// not blocked when the handler has returned. Async-signal-safe.
///
/// # Safety
///
/// `context` is the third argument of a running signal handler.
pub(super) unsafe fn arm(context: *mut libc::c_void) {
    let span = match SPAN.swap(0, ORDER) {
        0 => return,
        span => span,
    };
    if start_timer(span).is_ok() {
        return;
    }
    reset_number(libc::SIGALRM);
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: `context` is what the kernel gave the handler: a whole ucontext.
    let mask = unsafe { &raw mut (*context).uc_sigmask };
    // SAFETY: `mask` points into that ucontext, which stands until the handler
    // returns; sigdelset is async-signal-safe.
    unsafe { libc::sigdelset(mask, libc::SIGALRM) };
    let seconds = u32::try_from(span.div_ceil(1_000)).unwrap_or(u32::MAX);
    // SAFETY: alarm touches no memory.
    unsafe { libc::alarm(seconds) };
}

fn start_timer(span: u64) -> Result<(), Errno> {
    let mut event = MaybeUninit::<libc::sigevent>::zeroed();
    // SAFETY: all zeroes are a valid sigevent.
    let event = unsafe { event.assume_init_mut() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGKILL;
    let mut timer: c_int = 0;
    let (clock, event) = (libc::CLOCK_MONOTONIC, ptr::from_mut(event));
    // SAFETY: `event` is readable, `timer` writable for the kernel's number.
    let made = unsafe { libc::syscall(libc::SYS_timer_create, clock, event, &raw mut timer) };
    check(made as c_int)?;
    let seconds = c_long::try_from(span / 1_000).unwrap_or(i32::MAX as c_long);
    let nanoseconds = (span % 1_000 * 1_000_000) as c_long;
    // No repetition; then when it expires.
    let when: [c_long; 4] = [0, 0, seconds, nanoseconds];
    let (when, before) = (when.as_ptr(), ptr::null_mut::<c_long>());
    // SAFETY: `timer` was made just now; `when` is readable for the two times of
    // the kernel's itimerspec; a null pointer asks for nothing.
    let started = unsafe { libc::syscall(libc::SYS_timer_settime, timer, 0, when, before) };
    check(started as c_int).map(drop)
}
