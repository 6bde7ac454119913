//! The one place where a role waits: poll(2), and ppoll(2) in main.

use super::signal::{self, Blocked};
use super::{Errno, SysResult, check, clock};
use crate::sys::fd::Borrowed;
use crate::types::{Millis, Tick};
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ptr;

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

/// The memory of a list, empty, for what the next wait is for: a loop that keeps it takes
/// none in a turn. What is collected from a vector is put into its own place.
#[must_use]
pub fn reuse<'fd>(mut list: Vec<Source<'_>>) -> Vec<Source<'fd>> {
    list.clear();
    list.into_iter().map(|Source { entry, .. }| Source { entry, owner: PhantomData }).collect()
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
    let polled = check(unsafe { libc::poll(sources.as_mut_ptr().cast(), count, timeout) });
    is_ready(polled, sources)
}

/// Blocks as [`wait`] does, for a process that holds back its signals in all it does
/// between two waits, and lets them through here: ppoll(2). That ends with the first one;
/// where a source is ready at once none comes through.
///
/// # Errors
///
/// Those of [`wait`].
pub fn wait_for_signals(
    sources: &mut [Source<'_>],
    deadline: Option<Tick>,
    blocked: &Blocked,
) -> SysResult<bool> {
    let polled = blocked.poll(sources, deadline.map(|deadline| deadline.since(clock::now())));
    is_ready(polled, sources)
}

/// Lets through what waits of the signals that are held back, without waiting.
///
/// However fast signals arrive, each kind comes through once, so that a storm of them
/// keeps the process neither from its work nor from a signal that the kernel would choose
/// last. One that was noted and not yet [taken](super::signal::take) stays held back.
pub fn let_signals_through(blocked: &Blocked) {
    // A handler holds all others back while it runs, so each call lets one through; and
    // each notes another kind, so that there is an end.
    let mut before = None;
    while before != Some(signal::noted()) {
        before = Some(signal::noted());
        // EINTR, or nothing has come.
        let _ = blocked.poll(&mut [], Some(Millis(0)));
    }
}

impl Blocked {
    /// ppoll(2) with no signal held back but those that were noted already.
    fn poll(&self, sources: &mut [Source<'_>], timeout: Option<Millis>) -> SysResult<libc::c_int> {
        let timeout = timeout.map(|Millis(span)| libc::timespec {
            // Longer than the kernel can express: it is asked again.
            tv_sec: i64::try_from(span / 1_000).unwrap_or(i64::MAX),
            tv_nsec: (span % 1_000 * 1_000_000) as _,
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let (count, mask) = (sources.len() as libc::nfds_t, signal::mask_of(signal::noted()));
        // SAFETY: a `Source` is a pollfd in memory, and `sources` is writable for
        // `count` of them. Their descriptors are open while borrowed. The time and the
        // mask are readable or, of the time, null.
        check(unsafe { libc::ppoll(sources.as_mut_ptr().cast(), count, timeout, &raw const mask) })
    }
}

/// What a call has said about `sources`, none of which is ready if a signal ended it.
fn is_ready(polled: SysResult<libc::c_int>, sources: &mut [Source<'_>]) -> SysResult<bool> {
    match polled {
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
