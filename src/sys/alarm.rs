//! The last resort of a worker that has neither monitor nor main left.
//!
//! A POSIX timer that sends SIGKILL works with every signal blocked and every
//! thread busy. timer_create(2), timer_settime(2)

use super::{Result, check};
use crate::types::Millis;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

const ORDER: Ordering = Ordering::SeqCst;

static TIMER: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());
static MADE: AtomicBool = AtomicBool::new(false);
static SPAN: AtomicU64 = AtomicU64::new(0);

/// Makes the timer; it does not run until [`arm`]. A fork inherits none.
///
/// # Errors
///
/// `EAGAIN` or `ENOMEM` when the kernel has no room for one.
pub fn prepare(span: Millis) -> Result<()> {
    let mut event = MaybeUninit::<libc::sigevent>::zeroed();
    // SAFETY: all zeroes are a valid sigevent.
    let event = unsafe { event.assume_init_mut() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGKILL;
    let mut timer = ptr::null_mut();
    // SAFETY: `event` is readable, `timer` writable for the one id that is stored.
    check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, event, &raw mut timer) })?;
    TIMER.store(timer, ORDER);
    SPAN.store(span.0, ORDER);
    MADE.store(true, ORDER);
    Ok(())
}

/// Starts the timer: the process is killed once the span is over.
///
/// Async-signal-safe. Starting it again never gives more time.
pub fn arm() {
    if !MADE.swap(false, ORDER) {
        return;
    }
    let span = SPAN.load(ORDER).max(1);
    let mut when = MaybeUninit::<libc::itimerspec>::zeroed();
    // SAFETY: all zeroes are a valid itimerspec: no repetition, not running.
    let when = unsafe { when.assume_init_mut() };
    when.it_value.tv_sec = (span / 1_000).try_into().unwrap_or(i32::MAX.into());
    when.it_value.tv_nsec = (span % 1_000 * 1_000_000).cast_signed();
    let timer = TIMER.load(ORDER);
    // SAFETY: `timer` was made by timer_create in this process and never
    // deleted; `when` is readable; timer_settime is async-signal-safe.
    unsafe { libc::timer_settime(timer, 0, when, ptr::null_mut()) };
}
