//! Signals: sigaction(2), sigprocmask(2), kill(2), signal(7).
//!
//! * `mask`: everything blocked, for as long as a guard lives.
//! * `disposition`: what a signal does, and what it did when we were started.
//! * `wake`: the pipe that a handler writes, so that poll(2) returns.
//! * `caught`: the handler of main and monitor, and what it has noted.
//! * `drain`: the handlers of a worker.
//!
//! Signals are for people; between our own processes only the few of kill(2)
//! travel, and each is sent to a child that the kernel still knows.

mod caught;
pub(super) mod disposition;
mod drain;
mod mask;
mod wake;

pub(super) use caught::noted;
pub use caught::{Hangup, PendingSignals, catch, expect_ready, noted_deaths, take, take_pending};
pub use disposition::{OriginalDispositions, Saved, ignore, reset, save};
pub use drain::{
    Guard, install_worker_handlers, is_stopping, replace_with_dev_null, stopping_since,
};
pub(super) use mask::mask_of;
pub use mask::{Blocked, block_all, block_output_signals, unblock_all};
pub use wake::Wake;

use super::{Errno, SysResult, check, process};
use crate::types::{Pid, Signal};

impl Signal {
    /// The kernel's number.
    pub const fn number(self) -> libc::c_int {
        match self {
            Self::Hup => libc::SIGHUP,
            Self::Int => libc::SIGINT,
            Self::Quit => libc::SIGQUIT,
            Self::Usr1 => libc::SIGUSR1,
            Self::Usr2 => libc::SIGUSR2,
            Self::Term => libc::SIGTERM,
            Self::Chld => libc::SIGCHLD,
            Self::Ttin => libc::SIGTTIN,
            Self::Ttou => libc::SIGTTOU,
            Self::Vtalrm => libc::SIGVTALRM,
            Self::Winch => libc::SIGWINCH,
            Self::Pipe => libc::SIGPIPE,
            Self::Xfsz => libc::SIGXFSZ,
            Self::Abrt => libc::SIGABRT,
            Self::Kill => libc::SIGKILL,
        }
    }
}

/// Ends this process by SIGABRT, whatever became of that signal.
///
/// abort(3) signals the thread that the C library remembers, which in a child
/// of `fork_to_exec` is the parent's.
pub fn abort() -> ! {
    disposition::simple(libc::SIGABRT, libc::SIG_DFL);
    unblock_all();
    // SAFETY: kill touches no memory, and the id is our own.
    unsafe { libc::kill(process::id().raw(), libc::SIGABRT) };
    process::exit_now(134)
}

/// A process that is gone already is as good as a signal that is on its way.
fn sent(result: libc::c_int) -> SysResult<()> {
    match check(result) {
        Ok(_) | Err(Errno(libc::ESRCH)) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Signals one process: kill(2). The caller knows that `pid` is pinned: its
/// own child, not yet reaped.
///
/// # Errors
///
/// `EPERM` when it runs as another user.
pub fn send(pid: Pid, signal: Signal) -> SysResult<()> {
    // SAFETY: kill touches no memory, and `pid` is positive: one process.
    sent(unsafe { libc::kill(pid.raw(), signal.number()) })
}

/// Signals a whole process group: killpg(3). The caller knows that the group
/// is pinned by a child of its own in it.
///
/// # Errors
///
/// `EPERM` when no process in it may be signalled.
pub fn send_group(leader: Pid, signal: Signal) -> SysResult<()> {
    // SAFETY: killpg touches no memory. A leader of 1 would mean every process to
    // kill(2), and no child of ours is process 1.
    sent(unsafe { libc::killpg(leader.raw(), signal.number()) })
}

/// Signals a child that leads a process group, and its whole group. The caller has
/// not reaped it, so that the number is pinned as a process's and as a group's.
///
/// One that has not come to lead its group yet, or has left it, is signalled alone
/// too.
///
/// # Errors
///
/// `EPERM` when none of them may be signalled.
pub fn send_program(leader: Pid, signal: Signal) -> SysResult<()> {
    // Asked before and after: a signal to its group has not come to it for certain if it
    // came to lead the group, or left it, in between.
    let leads = || process::group_of(leader) == Some(leader);
    let led = leads();
    let to_group = send_group(leader, signal);
    if led && leads() { to_group } else { send(leader, signal) }
}

/// Forgets what would stop this process when it is let through: SIGCONT takes
/// away every stop that is still held back. signal(7) Async-signal-safe.
pub fn forget_stops() {
    // SAFETY: getpid touches no memory. Not raise(3), which may know only the
    // thread that has forked us.
    let own = unsafe { libc::getpid() };
    // SAFETY: kill is async-signal-safe and touches no memory. SIGCONT does nothing to
    // a process that runs already and has no handler for it.
    unsafe { libc::kill(own, libc::SIGCONT) };
}
