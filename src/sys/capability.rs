//! Capabilities of this process: capget(2), capset(2), capabilities(7).

use super::{SysResult, check};
use core::ffi::c_int;

/// `_LINUX_CAPABILITY_VERSION_3`: two words for each set.
const VERSION: u32 = 0x2008_0522;
/// To signal processes of any user.
const KILL: u32 = 5;
/// To have other groups, and to become another user.
const SETGID: u32 = 6;
const SETUID: u32 = 7;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn sets() -> SysResult<[Sets; 2]> {
    let mut header = CapabilityHeader { version: VERSION, pid: 0 };
    let mut sets = [Sets::default(); 2];
    let (head, place) = (&raw mut header, sets.as_mut_ptr());
    // SAFETY: the header is whole, and `sets` has room for the two that this
    // version stores.
    check(unsafe { libc::syscall(libc::SYS_capget, head, place) } as c_int)?;
    Ok(sets)
}

/// Whether this process may signal those of every user.
///
/// # Errors
///
/// `EPERM` or `ENOSYS` where a sandbox forbids the question.
pub fn may_signal_all() -> SysResult<bool> {
    Ok(sets()?[0].effective & 1 << KILL != 0)
}

/// Whether this process may become any group.
///
/// # Errors
///
/// Those of [`may_signal_all`].
pub fn may_become_groups() -> SysResult<bool> {
    Ok(sets()?[0].effective & 1 << SETGID != 0)
}

/// Whether this process may become any user.
///
/// # Errors
///
/// Those of [`may_signal_all`].
pub fn may_become_users() -> SysResult<bool> {
    Ok(sets()?[0].effective & 1 << SETUID != 0)
}

/// Leaves no capability to what this process executes: an inheritable one would
/// come back with a file that has it. Async-signal-safe.
///
/// # Errors
///
/// `EPERM` or `ENOSYS` where a sandbox forbids it and there was one.
pub(super) fn clear_inheritable() -> SysResult<()> {
    let mut sets = sets()?;
    if sets.iter().all(|set| set.inheritable == 0) {
        return Ok(());
    }
    sets.iter_mut().for_each(|set| set.inheritable = 0);
    let header = CapabilityHeader { version: VERSION, pid: 0 };
    let (head, place) = (&raw const header, sets.as_ptr());
    // SAFETY: the header is whole, and `sets` are the two that this version reads.
    check(unsafe { libc::syscall(libc::SYS_capset, head, place) } as c_int)?;
    Ok(())
}
