//! One descriptor that stands for several: epoll(7), timerfd_create(2).
//!
//! Nothing waits here: an event loop of the application's, whichever it is, waits until
//! the one descriptor is readable, as it is while one of those in it is.

use super::{SysResult, check};
use crate::sys::fd::{self, Blocking, Borrowed, Fd};
use crate::types::Millis;
use core::ptr;

/// Descriptors to be waited for as one.
#[derive(Debug)]
pub struct Epoll(Fd);

/// Whether one of them counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// The whole is readable while it is.
    Yes,
    /// It stays in, and is not looked at.
    No,
}

impl Epoll {
    /// Without any: epoll_create1(2). It is non-blocking, which event loops ask for.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> SysResult<Self> {
        // SAFETY: epoll_create1 takes a number and touches no memory.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Fd::own)?;
        fd::set_blocking(fd.borrow(), Blocking::No)?;
        Ok(Self(fd))
    }

    /// Adds one, which counts. It is taken out by the kernel when the last number of what
    /// it means is closed.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENOSPC` when the user has too many; `EPERM` when it cannot be waited for.
    pub fn add(&self, fd: Borrowed<'_>) -> SysResult<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, Watched::Yes)
    }

    /// Whether one of them is to count. If it is ready, the event loop learns of it anew.
    pub fn watch(&self, fd: Borrowed<'_>, watched: Watched) {
        // ENOENT: it was taken out.
        let _ = self.control(libc::EPOLL_CTL_MOD, fd, watched);
    }

    /// Takes one out.
    pub fn remove(&self, fd: Borrowed<'_>) {
        // ENOENT or EPERM: it was out.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, Watched::No);
    }

    fn control(&self, what: libc::c_int, fd: Borrowed<'_>, watched: Watched) -> SysResult<()> {
        let events = match watched {
            Watched::Yes => libc::EPOLLIN as u32,
            Watched::No => 0,
        };
        let mut event = libc::epoll_event { events, u64: 0 };
        let event = &raw mut event;
        // SAFETY: both descriptors are open while borrowed; `event` is readable for one event.
        check(unsafe { libc::epoll_ctl(self.0.number(), what, fd.number(), event) })?;
        Ok(())
    }

    /// Readable while one that counts is.
    pub const fn descriptor(&self) -> Borrowed<'_> {
        self.0.borrow()
    }
}

/// Readable some time after it was started.
#[derive(Debug)]
pub struct Timer(Fd);

impl Timer {
    /// One that does not run.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> SysResult<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: timerfd_create takes numbers and touches no memory.
        check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) }).map(Fd::own).map(Self)
    }

    /// Makes it readable `after` that, and not before; 0: never. timerfd_settime(2)
    pub fn set(&self, after: Millis) {
        let once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::timespec {
            tv_sec: (after.0 / 1_000) as _,
            tv_nsec: (after.0 % 1_000 * 1_000_000) as _,
        };
        let time = libc::itimerspec { it_interval: once, it_value: value };
        let number = self.0.number();
        // Fails only for times that are none.
        // SAFETY: `time` is readable; a null pointer says that the old one is not wanted.
        unsafe { libc::timerfd_settime(number, 0, &raw const time, ptr::null_mut()) };
    }

    /// Readable once the time is over.
    pub const fn descriptor(&self) -> Borrowed<'_> {
        self.0.borrow()
    }
}
