//! The handlers of a worker: SIGTERM drains it, SIGINT ends it now.
//!
//! A worker waits in a blocking accept4(2), whose fairness no poll(2) has. A
//! flag alone would leave the moment between the look at the flag and the
//! call, so the worker says where it is about to wait, and the handler puts
//! `/dev/null` under that number: the call then fails at once, whether it had
//! begun or not.

use super::{disposition, wake};
use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::signal::disposition::{InterruptedCalls, reset};
use crate::sys::{alarm, clock, last_errno, process, restore_errno};
use crate::types::{Millis, Pid, Signal, Tick};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

const ORDER: Ordering = Ordering::SeqCst;

static STOPPING: AtomicBool = AtomicBool::new(false);
/// When it was told, in ticks.
static SINCE: AtomicU64 = AtomicU64::new(0);
/// The listener's number while the worker may wait in accept; else -1.
static GUARDED: AtomicI32 = AtomicI32::new(-1);
/// A descriptor of /dev/null.
static NOWHERE: AtomicI32 = AtomicI32::new(-1);
/// The process that forked this worker.
static PARENT: AtomicI32 = AtomicI32::new(0);

/// Installs the worker's handlers. `nowhere` is `/dev/null`, open as long as the
/// process. A SIGTERM that comes when `parent` is gone has the process killed
/// `last_resort` later.
pub fn install_worker_handlers(parent: Pid, nowhere: Borrowed<'static>, last_resort: Millis) {
    NOWHERE.store(nowhere.number(), ORDER);
    PARENT.store(parent.raw(), ORDER);
    STOPPING.store(false, ORDER);
    alarm::prepare(last_resort);
    disposition::install(Signal::Term, drain, InterruptedCalls::Yes);
    disposition::install(Signal::Int, leave, InterruptedCalls::Yes);
}

/// Whether the worker was told to stop.
pub fn is_stopping() -> bool {
    STOPPING.load(ORDER)
}

/// When the worker was told to stop; `None` when it was not.
pub fn stopping_since() -> Option<Tick> {
    is_stopping().then(|| Tick(SINCE.load(ORDER)))
}

/// Makes the number of `listener` mean `/dev/null`, as the handler does.
pub fn replace_with_dev_null(listener: &Fd) {
    // SAFETY: `install_worker_handlers` has put there what is open as long as the
    // process, or -1 stands there.
    let nowhere = unsafe { Borrowed::trusted(NOWHERE.load(ORDER)) };
    // What cannot be replaced ends with the worker.
    let _ = fd::replace(listener.borrow(), nowhere);
}

/// While this lives, SIGTERM makes the listener's number mean `/dev/null`.
#[must_use = "the number is guarded until this is dropped"]
pub struct Guard<'fd>(PhantomData<&'fd Fd>);

impl<'fd> Guard<'fd> {
    /// Guards `listener`. Look at [`is_stopping`] after this and before the call that waits.
    pub fn new(listener: &'fd Fd) -> Self {
        GUARDED.store(listener.number(), ORDER);
        Self(PhantomData)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        GUARDED.store(-1, ORDER);
    }
}

extern "C" fn drain(number: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let errno = last_errno();
    if !STOPPING.load(ORDER) {
        SINCE.store(clock::now().0, ORDER);
    }
    STOPPING.store(true, ORDER);
    let guarded = GUARDED.load(ORDER);
    if guarded >= 0 {
        // SAFETY: the `Guard` that has put it there borrows its owner.
        let listener = unsafe { Borrowed::trusted(guarded) };
        // SAFETY: `install_worker_handlers` has put there what is open as long as the
        // process.
        let nowhere = unsafe { Borrowed::trusted(NOWHERE.load(ORDER)) };
        // What cannot be replaced ends at the deadline, with the worker.
        let _ = fd::replace(listener, nowhere);
    }
    // A program may have threads after the fork, and the kernel gives the
    // signal to any of them; it is the first one that may wait in accept. The
    // same signal once more, for the handler of another may not be ours.
    if !process::in_first_thread() {
        process::interrupt_first_thread(number);
    }
    wake::wake();
    if process::parent().is_none_or(|parent| parent.raw() != PARENT.load(ORDER)) {
        // SAFETY: `context` is what the kernel gave this handler.
        unsafe { alarm::arm(context) };
    }
    restore_errno(errno);
}

/// Dies of the signal, unless the terminal sent it: Ctrl-C goes to the whole
/// foreground, and what it means for a worker is its monitor's to say.
extern "C" fn leave(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel hands the handler a valid siginfo.
    if unsafe { (*info).si_code } != libc::SI_KERNEL {
        reset(Signal::Int);
        // SAFETY: raise is async-signal-safe; the signal is held back until
        // this handler returns, and then ends the process.
        unsafe { libc::raise(libc::SIGINT) };
    }
}
