//! The signal mask: sigprocmask(2).

use crate::sys::{check, insist};
use crate::types::Signal;
use core::mem::MaybeUninit;
use core::ptr;

/// Signals held back until this is dropped.
///
/// Dropping puts the earlier mask back, in whichever process that happens: in
/// the parent after a fork, and in the child once it has handlers of its own.
#[must_use = "the signals are let through again when this is dropped"]
pub struct Blocked {
    earlier: libc::sigset_t,
}

/// The earlier mask, from a call that cannot fail with these arguments.
fn change(how: libc::c_int, set: &libc::sigset_t) -> libc::sigset_t {
    let mut earlier = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is readable and `earlier` writable for one sigset_t each.
    let _ = insist(|| check(unsafe { libc::sigprocmask(how, set, earlier.as_mut_ptr()) }));
    // SAFETY: all zeroes are a valid sigset_t, and sigprocmask stores one.
    unsafe { earlier.assume_init() }
}

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is writable for the one sigset_t that is stored.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset filled it.
    unsafe { set.assume_init() }
}

/// The signals whose bits are set in `bits`, from that of signal 1, the second, on.
pub(in crate::sys) fn mask_of(bits: u64) -> libc::sigset_t {
    let mut set = empty();
    for number in (1..64).filter(|number| bits & 1 << number != 0) {
        // SAFETY: `set` was filled by sigemptyset; the number is a signal's.
        unsafe { libc::sigaddset(&raw mut set, number) };
    }
    set
}

/// Every signal that can be blocked.
pub(super) fn full() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is writable for the one sigset_t that is stored.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: sigfillset filled it.
    unsafe { set.assume_init() }
}

/// Holds back every signal that can be held back.
pub fn block_all() -> Blocked {
    Blocked { earlier: change(libc::SIG_BLOCK, &full()) }
}

/// Lets every signal through, whatever the process was started with.
pub fn unblock_all() {
    change(libc::SIG_SETMASK, &empty());
}

/// Holds back what writing brings to a closed pipe, to a file at its limit, or
/// from the background: SIGPIPE, SIGXFSZ and SIGTTOU. Blocked, the last one lets the
/// write through: tty_ioctl(4).
pub fn block_output_signals() -> Blocked {
    let mut set = empty();
    for signal in [libc::SIGPIPE, libc::SIGXFSZ, libc::SIGTTOU] {
        // SAFETY: `set` was filled by sigemptyset; the numbers are signals.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    Blocked { earlier: change(libc::SIG_BLOCK, &set) }
}

impl Blocked {
    /// Lets `signals` through, whatever was held back before; of the others
    /// only what was held back before is. Until this is dropped.
    pub fn let_through(&self, signals: &[Signal]) {
        let mut set = self.earlier;
        for signal in signals {
            // SAFETY: `set` was filled by sigprocmask; the number is a signal's.
            unsafe { libc::sigdelset(&raw mut set, signal.number()) };
        }
        change(libc::SIG_SETMASK, &set);
    }

    /// Takes away the `signal` that our own write has just caused, unless it
    /// was held back before us: then it is not ours to take. sigtimedwait(2)
    pub fn swallow(&self, signal: Signal) {
        // SAFETY: `earlier` was filled by sigprocmask; the number is a signal's.
        if unsafe { libc::sigismember(&raw const self.earlier, signal.number()) } == 1 {
            return;
        }
        let mut set = empty();
        // SAFETY: `set` was filled by sigemptyset; the number is a signal's.
        unsafe { libc::sigaddset(&raw mut set, signal.number()) };
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: both are readable; a null pointer says that no details are wanted.
        unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const at_once) };
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        change(libc::SIG_SETMASK, &self.earlier);
    }
}
