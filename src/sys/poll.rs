//! The one place where a role waits: poll(2).

use super::{Errno, SysResult, check, clock};
use crate::sys::fd::Borrowed;
use crate::types::Tick;
use core::marker::PhantomData;

/// A descriptor to wait for, and what came of the waiting.
///
/// Laid out as poll(2) wants it, so that a slice of them goes there as it is.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Source<'fd> {
    entry: libc::pollfd,
    owner: PhantomData<Borrowed<'fd>>,
}

impl<'fd> Source<'fd> {
    /// Waits for `read`, for `write`, for both, or with neither for an error or a hang-up.
    #[must_use]
    pub const fn new(fd: Borrowed<'fd>, read: bool, write: bool) -> Self {
        let events = if read { libc::POLLIN } else { 0 } | if write { libc::POLLOUT } else { 0 };
        let entry = libc::pollfd { fd: fd.number(), events, revents: 0 };
        Self { entry, owner: PhantomData }
    }

    /// Waits until something can be read, or nothing more can come.
    #[must_use]
    pub const fn readable(fd: Borrowed<'fd>) -> Self {
        Self::new(fd, true, false)
    }

    /// Waits until something can be written, or nothing more can go.
    #[must_use]
    pub const fn writable(fd: Borrowed<'fd>) -> Self {
        Self::new(fd, false, true)
    }

    /// Whether anything happened, errors and hang-ups included.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.entry.revents != 0
    }

    /// Whether a read would not wait, if only to be told of an error or the end.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.entry.revents & (libc::POLLIN | libc::POLLERR | libc::POLLHUP) != 0
    }

    /// Whether a write would not wait, if only to be told of an error.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.entry.revents & (libc::POLLOUT | libc::POLLERR | libc::POLLHUP) != 0
    }
}

/// Blocks until a source is ready or `deadline` passes; `None` waits for ever.
///
/// Returns `false` when the deadline came first. A signal ends the wait early,
/// with `true` and no source ready: its handler has had its reason.
///
/// # Errors
///
/// `ENOMEM`, or `EINVAL` when there are more sources than `RLIMIT_NOFILE` allows descriptors.
pub fn wait(sources: &mut [Source<'_>], deadline: Option<Tick>) -> SysResult<bool> {
    let timeout = deadline.map_or(-1, |deadline| {
        // Longer than the call can express: it is asked again.
        libc::c_int::try_from(deadline.since(clock::now()).0).unwrap_or(libc::c_int::MAX)
    });
    let count = sources.len() as libc::nfds_t;
    // SAFETY: a `Source` is a pollfd in memory, and `sources` is writable for
    // `count` of them. Their descriptors are open while borrowed.
    match check(unsafe { libc::poll(sources.as_mut_ptr().cast(), count, timeout) }) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno(libc::EINTR)) => {
            for source in sources {
                source.entry.revents = 0;
            }
            Ok(true)
        }
        Err(errno) => Err(errno),
    }
}
