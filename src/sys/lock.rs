//! Files that are locked: open(2), fcntl(2).
//!
//! A lock of fcntl(2) belongs to the process. It ends with it, and also when the
//! process closes *any* descriptor of that file: a process that has locked a file never
//! opens it a second time. Only a process that may write a file can lock it, where with
//! flock(2) any reader could.

use super::{Errno, SysResult, call, check, retry_eintr};
use crate::sys::fd::{Borrowed, Fd};
use crate::types::Pid;
use core::ffi::CStr;
use core::mem::MaybeUninit;

/// Opens a file that is there, to read, write and lock it, close-on-exec. Follows no
/// link at the end of `path`, and does not wait: what is there may be a FIFO.
///
/// # Errors
///
/// `ENOENT`, `ELOOP` for a link, `EISDIR`, `EACCES`, `EROFS`.
pub fn open(path: &CStr) -> SysResult<Fd> {
    open_with(path, libc::O_RDWR)
}

fn open_with(path: &CStr, flags: libc::c_int) -> SysResult<Fd> {
    let flags = flags | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    // SAFETY: `path` is a C string; open touches no other memory.
    retry_eintr(|| check(unsafe { call::open(path.as_ptr(), flags, 0) })).map(Fd::own)
}

/// Opens a file that is there, to read it and to ask which process has it locked,
/// close-on-exec. Follows no link at the end of `path`, and does not wait.
///
/// # Errors
///
/// `ENOENT`, `ELOOP` for a link, `EACCES`.
pub fn look(path: &CStr) -> SysResult<Fd> {
    open_with(path, libc::O_RDONLY)
}

/// The whole file, to be written by one alone.
fn whole() -> libc::flock {
    // SAFETY: all zeroes are a valid flock: from the beginning to the end.
    let mut lock: libc::flock = unsafe { MaybeUninit::zeroed().assume_init() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// Locks the file for this process, unless another one has; says whether it is
/// locked now. Never waits.
///
/// # Errors
///
/// `ENOLCK` where a file system knows no locks.
pub fn lock(file: Borrowed<'_>) -> SysResult<bool> {
    let lock = whole();
    // SAFETY: `lock` is a whole flock, which F_SETLK reads.
    match check(unsafe { call::fcntl(file.number(), libc::F_SETLK, (&raw const lock) as _) }) {
        Ok(_) => Ok(true),
        Err(Errno(libc::EACCES | libc::EAGAIN)) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The lock that keeps this process from locking the file, as the kernel says.
fn against(file: Borrowed<'_>) -> Option<libc::flock> {
    let mut lock = whole();
    // SAFETY: `lock` is a whole flock, which F_GETLK reads and overwrites.
    check(unsafe { call::fcntl(file.number(), libc::F_GETLK, (&raw mut lock) as _) }).ok()?;
    (libc::c_int::from(lock.l_type) != libc::F_UNLCK).then_some(lock)
}

/// The process that has the file locked, as the kernel says; `None` when no
/// other one has, or one that this pid namespace does not know.
pub fn holder(file: Borrowed<'_>) -> Option<Pid> {
    against(file).and_then(|lock| Pid::new(lock.l_pid))
}

/// Whether another process has the file locked, known here or not.
pub fn is_held(file: Borrowed<'_>) -> bool {
    against(file).is_some()
}
