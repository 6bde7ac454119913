//! Terminals: `TIOCGWINSZ` of ioctl_tty(2).

use super::check;
use crate::sys::fd::Borrowed;
use core::mem::MaybeUninit;

/// The lines and columns of a terminal, 0 where it does not know; `None` for
/// what is none.
pub fn size(fd: Borrowed<'_>) -> Option<(u16, u16)> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    let place = size.as_mut_ptr();
    // SAFETY: `place` is writable for the one winsize that is stored.
    check(unsafe { libc::ioctl(fd.number(), libc::TIOCGWINSZ, place) }).ok()?;
    // SAFETY: all zeroes are a valid winsize, and the kernel filled it.
    let size = unsafe { size.assume_init() };
    Some((size.ws_row, size.ws_col))
}
