//! What a signal does to us: sigaction(2).

use super::mask;
use crate::persist::persisted;
use crate::sys::{check, insist};
use crate::types::Signal;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

/// The highest signal number; musl keeps three for itself below 35, which
/// answers `EINVAL` and is left alone.
const LAST: libc::c_int = 64;

/// The signals that have had their default effect since [`OriginalDispositions::capture`]:
/// a bit for each, and none before that.
static AT_DEFAULT: AtomicU64 = AtomicU64::new(0);

const fn bit(number: libc::c_int) -> u64 {
    1 << (number - 1)
}

/// The type of a handler that is told the sender of the signal.
pub(super) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Whether a system call that the handler interrupted is made again.
#[derive(Clone, Copy)]
pub(super) enum InterruptedCalls {
    /// It is.
    Yes,
    /// It answers `EINTR`.
    No,
}

/// Which signals the process ignored when it was started.
///
/// Only *ignored* passes through execve(2); handlers never do.
#[derive(Clone, Copy, Debug)]
pub struct OriginalDispositions {
    ignored: u64,
}

persisted! { struct OriginalDispositions { ignored } }

fn query(number: libc::c_int) -> Option<libc::sigaction> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null pointer changes nothing; `action` is writable for one sigaction.
    let ask = || check(unsafe { libc::sigaction(number, ptr::null(), action.as_mut_ptr()) });
    let asked = insist(ask);
    // SAFETY: sigaction succeeded, so it filled `action`.
    asked.is_ok().then(|| unsafe { action.assume_init() })
}

fn assign(number: libc::c_int, action: &libc::sigaction) {
    AT_DEFAULT.fetch_and(!bit(number), Ordering::SeqCst);
    // Fails only for numbers that cannot be caught.
    // SAFETY: `action` is readable, and its handler, if any, is one of ours or
    // one that stood there before.
    let _ = insist(|| check(unsafe { libc::sigaction(number, action, ptr::null_mut()) }));
}

pub(super) fn simple(number: libc::c_int, disposition: libc::sighandler_t) {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeroes are a valid sigaction: default, no flags, empty mask.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = disposition;
    assign(number, action);
}

/// Has `handler` called for `signal`, with every other signal held back meanwhile.
pub(super) fn install(signal: Signal, handler: Handler, restart: InterruptedCalls) {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeroes are a valid sigaction: default, no flags, empty mask.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO
        | match restart {
            InterruptedCalls::Yes => libc::SA_RESTART,
            InterruptedCalls::No => 0,
        };
    action.sa_mask = mask::full();
    assign(signal.number(), action);
}

/// Ignores `signal` from now on.
pub fn ignore(signal: Signal) {
    simple(signal.number(), libc::SIG_IGN);
}

/// Gives `signal` back the effect it has by default.
pub fn reset(signal: Signal) {
    simple(signal.number(), libc::SIG_DFL);
}

/// The same for a signal that is none of ours. Async-signal-safe.
pub(in crate::sys) fn reset_number(number: libc::c_int) {
    simple(number, libc::SIG_DFL);
}

impl OriginalDispositions {
    /// Notes what is ignored now: the first thing a program does.
    pub fn capture() -> Self {
        let (mut ignored, mut at_default) = (0, 0);
        for number in 1..=LAST {
            match query(number).map(|action| action.sa_sigaction) {
                Some(libc::SIG_IGN) => ignored |= bit(number),
                Some(libc::SIG_DFL) => at_default |= bit(number),
                // A handler of the application's, or no signal.
                Some(_) | None => {}
            }
        }
        AT_DEFAULT.store(at_default, Ordering::SeqCst);
        Self { ignored }
    }

    /// Whether `signal` was ignored.
    pub const fn ignored(self, signal: Signal) -> bool {
        self.ignored & bit(signal.number()) != 0
    }

    /// Puts every signal back to what it was, and SIGCHLD to its default: a
    /// program that inherits it ignored could not wait for its own children.
    ///
    /// Async-signal-safe, for the child between fork and exec.
    pub fn restore(self) {
        // Most are where they belong, and it is a system call for each.
        let at_default = AT_DEFAULT.load(Ordering::SeqCst);
        for number in
            (1..=LAST).filter(|&number| number != libc::SIGKILL && number != libc::SIGSTOP)
        {
            let ignored = self.ignored & bit(number) != 0 && number != libc::SIGCHLD;
            if ignored {
                simple(number, libc::SIG_IGN);
            } else if at_default & bit(number) == 0 {
                simple(number, libc::SIG_DFL);
            }
        }
    }
}

/// What a signal did before we changed it.
pub struct Saved {
    signal: Signal,
    action: libc::sigaction,
}

/// Notes what `signal` does now, to be put back later.
///
/// # Panics
///
/// Never: all of [`Signal`] can be asked about.
pub fn save(signal: Signal) -> Saved {
    let action = query(signal.number()).expect("sigaction(2) knows all of our signals");
    Saved { signal, action }
}

impl Saved {
    /// Whose disposition it is.
    pub const fn signal(&self) -> Signal {
        self.signal
    }

    /// Puts it back.
    pub fn restore(&self) {
        assign(self.signal.number(), &self.action);
    }
}
