//! Finding main by its pid file.
//!
//! The lock says whether there is one: the kernel takes it from the dead. Signalled is
//! only the process that has the lock by the kernel's word *and* stands in the file; it
//! is held by a descriptor from then on, so that its number cannot become another
//! process's.

use super::{CtlFailure, Status};
use crate::decimal;
use crate::printable::Quoted;
use crate::protocol::control_protocol::socket_beside;
use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::file::{self, FileKind};
use crate::sys::{Errno, lock, pidfd};
use crate::types::Pid;
use alloc::ffi::CString;
use core::ffi::CStr;

/// More bytes than a pid and its newline have.
const LONGEST: usize = 16;
/// How often to look again while mains come and go.
const ROUNDS: u32 = 100;

/// A pid file that a process has locked.
pub struct Found {
    /// Main, if the kernel and the file agree on which process that is.
    pub process: Option<Process>,
    /// Where its control socket would be.
    pub socket: CString,
}

/// A process that no other one can take the place of.
pub struct Process {
    pub pid: Pid,
    pub fd: Fd,
}

/// Finds the process that has the pid file.
pub fn find(path: &CStr) -> Result<Found, CtlFailure> {
    for _ in 0..ROUNDS {
        let file = lock::look(path).map_err(|errno| missing(path, errno))?;
        let identity = file::identity(file.borrow());
        let identity = identity.map_err(|errno| missing(path, errno))?;
        if identity.kind() != FileKind::Regular {
            return Err(not_running(path, "is not a pid file"));
        }
        let file = file.borrow();
        let is_held = lock::is_held(file);
        let process = if is_held { pinned(file) } else { None };
        // One that is replaced by a main that starts says nothing.
        if process.is_some() || file::is_at(path, identity) {
            if !is_held {
                return Err(not_running(path, "is not locked by any process"));
            }
            let socket = CString::new(socket_beside(path.to_bytes())).unwrap_or_default();
            return Ok(Found { process, socket });
        }
    }
    Err(not_running(path, "keeps changing"))
}

/// The process that has the lock and stands in the file.
fn pinned(file: Borrowed<'_>) -> Option<Process> {
    let mut text = [0; LONGEST];
    let length = fd::read_at(file, &mut text, 0).unwrap_or(0);
    let digits = text[..length].strip_suffix(b"\n")?;
    let number = decimal::parse(digits, i32::MAX.unsigned_abs())?;
    let pid = Pid::new(number.cast_signed())?;
    if lock::holder(file) != Some(pid) {
        return None;
    }
    let fd = pidfd::open(pid).ok()?;
    // The one that we hold now is the one that has the lock, unless it died
    // in between and its number was given away: then the lock is free.
    (lock::holder(file) == Some(pid)).then_some(Process { pid, fd })
}

/// What it means that there is no pid file to look at.
fn missing(path: &CStr, errno: Errno) -> CtlFailure {
    match errno.0 {
        libc::ENOENT | libc::ENOTDIR => not_running(
            path,
            "does not exist; main says at its start which pid file it has: name that with --pid",
        ),
        libc::ELOOP | libc::ENXIO => not_running(path, "is not a pid file"),
        _ => CtlFailure::system("open", path, errno),
    }
}

/// There is no main, as the pid file says.
pub fn not_running(path: &CStr, what: &str) -> CtlFailure {
    let path = Quoted(path.to_bytes());
    CtlFailure::new(Status::NotRunning, format_args!("main is not running: {path} {what}"))
}
