//! Processes held by a descriptor: pidfd_open(2), pidfd_send_signal(2).
//!
//! A number is given to another process as soon as its owner was reaped; a
//! descriptor never means another one.

use super::fd::{Borrowed, Fd};
use super::{Result, check};
use crate::types::{Pid, Signal};
use core::ptr;

/// A descriptor of `pid`, readable once that process has ended.
///
/// Whoever had the number when this was called: ask again who that is before
/// it is signalled.
///
/// # Errors
///
/// `ESRCH` when nobody has the number, `EMFILE`, `ENFILE`, `ENOMEM`; `ENOSYS`
/// before Linux 5.3.
pub fn open(pid: Pid) -> Result<Fd> {
    // SAFETY: pidfd_open takes two numbers and touches no memory.
    check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.raw(), 0) } as _).map(Fd::own)
}

/// Signals the process behind `process`, and never another one.
///
/// # Errors
///
/// `ESRCH` when it has ended, `EPERM` when it may not be signalled.
pub fn send(process: Borrowed<'_>, signal: Signal) -> Result<()> {
    let (number, signal) = (process.number(), signal.number());
    let nothing = ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo the kernel fills in what kill(2) would.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, number, signal, nothing, 0) } as _)?;
    Ok(())
}
