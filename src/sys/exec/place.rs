//! The descriptors of a child that is to become another program: dup2(2),
//! close_range(2).

use super::StartStep;
use crate::sys::fd::{self, Borrowed, Fd, Standard};
use crate::sys::{Errno, SysResult, call, check};
use alloc::vec::Vec;

/// The child's descriptors before they are in place.
pub(super) struct ChildDescriptors<'fd> {
    pub(super) report: Borrowed<'fd>,
    /// What is to be executed, if it is open.
    pub(super) file: Option<Borrowed<'fd>>,
    pub(super) nowhere: Borrowed<'fd>,
    pub(super) descriptors: &'fd [Borrowed<'fd>],
}

impl ChildDescriptors<'_> {
    /// The number behind the last descriptor of the program, where the report
    /// pipe goes, and behind that the file.
    const fn end(&self) -> libc::c_int {
        3 + self.descriptors.len() as libc::c_int
    }

    /// Puts everything in place: first out of the way, then where it belongs.
    pub(super) fn arrange(&mut self, moved: &mut Vec<Fd>) -> SysResult<()> {
        let beyond = self.end() + 2;
        let report = copy_from(self.report, beyond)?;
        let file = self.file.map(|file| copy_from(file, beyond)).transpose()?;
        for descriptor in self.descriptors {
            moved.push(copy_from(*descriptor, beyond)?);
        }
        put(self.nowhere, Standard::Input as libc::c_int)?;
        for (number, descriptor) in (3..).zip(moved.iter()) {
            put(descriptor.borrow(), number)?;
        }
        // SAFETY: the next call opens it, or fails and nothing borrows it any more; this
        // process executes another program, or ends, before anything closes it.
        let last = unsafe { Borrowed::trusted(self.end()) };
        fd::replace(last, report.borrow())?;
        self.report = last;
        if let Some(file) = &file {
            // SAFETY: as of the number before.
            let behind = unsafe { Borrowed::trusted(self.end() + 1) };
            fd::replace(behind, file.borrow())?;
            self.file = Some(behind);
        }
        drop((report, file));
        let last = self.file.unwrap_or(last);
        close_between(last.number() + 1, libc::c_int::MAX);
        Ok(())
    }

    /// Says what failed, to the process that reads the [`ExecStatus`](super::ExecStatus).
    pub(super) fn tell(&self, stage: StartStep, errno: Errno) -> u8 {
        let [a, b, c, d] = errno.0.to_le_bytes();
        let report = [stage as u8, a, b, c, d];
        // The reader may be gone; the status is all that is left then.
        let _ = fd::write(self.report, &report);
        let missing = stage == StartStep::Execute && errno == Errno(libc::ENOENT);
        if missing { 127 } else { 126 }
    }
}

/// A copy of `fd`, close-on-exec, at `least` or above.
fn copy_from(fd: Borrowed<'_>, least: libc::c_int) -> SysResult<Fd> {
    // SAFETY: `fd` is open while borrowed; F_DUPFD_CLOEXEC touches no memory.
    check(unsafe { call::fcntl(fd.number(), libc::F_DUPFD_CLOEXEC, least as _) }).map(Fd::own)
}

/// Makes `number` mean what `fd` means, open over exec.
fn put(fd: Borrowed<'_>, number: libc::c_int) -> SysResult<()> {
    // SAFETY: `fd` is open while borrowed; dup2 touches no memory.
    check(unsafe { libc::dup2(fd.number(), number) })?;
    Ok(())
}

/// Closes every descriptor from `first` to `last`, in a forked child that never
/// comes to use or to drop them: close_range(2), Linux 5.9.
pub(in crate::sys) fn close_between(first: libc::c_int, last: libc::c_int) {
    if first > last {
        return;
    }
    // SAFETY: close_range takes three numbers; in this child nothing uses
    // these descriptors any more.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        return;
    }
    // A sandbox that does not know the call: one by one, as far as is usual.
    for number in first..=last.min(65_535) {
        // SAFETY: in this child nothing uses the number any more.
        unsafe { libc::close(number) };
    }
}
