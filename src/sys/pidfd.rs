//! Processes held by a descriptor: pidfd_open(2), pidfd_send_signal(2).
//!
//! A number is given to another process as soon as its owner was reaped; a
//! descriptor never means another one.

use super::{SysResult, check};
use crate::sys::fd::{Borrowed, Fd};
use crate::types::{Pid, Signal};
use core::ptr;

/// A descriptor of `pid`, readable once that process has ended.
///
/// It is the process that had the number when this was called: ask again which that is
/// before it is signalled.
///
/// # Errors
///
/// `ESRCH` when no process has the number, `EMFILE`, `ENFILE`, `ENOMEM`; `ENOSYS`
/// before Linux 5.3.
pub fn open(pid: Pid) -> SysResult<Fd> {
    // SAFETY: pidfd_open takes two numbers and touches no memory.
    check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.raw(), 0) } as _).map(Fd::own)
}

/// Signals the process behind `process`, and never another one.
///
/// # Errors
///
/// `ESRCH` when it has ended, `EPERM` when it may not be signalled.
pub fn send(process: Borrowed<'_>, signal: Signal) -> SysResult<()> {
    let (number, signal) = (process.number(), signal.number());
    let nothing = ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo the kernel fills in what kill(2) would.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, number, signal, nothing, 0) } as _)?;
    Ok(())
}
