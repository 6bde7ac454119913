//! One descriptor that stands for several: epoll(7), timerfd_create(2).
//!
//! Nothing waits here: a loop waits until the one descriptor is readable, as it is while
//! one of those in it is. In a worker that loop is the application's, whichever it is; a
//! monitor's then asks [which](Epoll::ready) are.

use super::{SysResult, check};
use crate::sys::fd::{self, Blocking, Borrowed, Fd};
use crate::types::Millis;
use core::ptr;

/// How many [`Epoll::ready`] names at once.
pub const AT_ONCE: usize = 64;

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
        self.add_as(fd, 0)
    }

    /// Adds one that [`Epoll::ready`] names by `number`, which several may have.
    ///
    /// # Errors
    ///
    /// Those of [`Epoll::add`].
    pub fn add_as(&self, fd: Borrowed<'_>, number: u64) -> SysResult<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, Watched::Yes, number)
    }

    /// Writes the numbers of those that are ready, at most as many as there is room for,
    /// and says how many, without waiting: epoll_wait(2). One that stays ready is named
    /// again only after all others that are.
    pub fn ready(&self, numbers: &mut [u64; AT_ONCE]) -> usize {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; AT_ONCE];
        let (number, most) = (self.0.number(), AT_ONCE as libc::c_int);
        // SAFETY: `events` is writable for as many events as `most` says.
        let count = unsafe { libc::epoll_wait(number, events.as_mut_ptr(), most, 0) };
        for (number, event) in numbers.iter_mut().zip(events) {
            *number = event.u64;
        }
        // It does not wait, so no signal interrupts it.
        count.max(0) as usize
    }

    /// Whether one of them is to count. If it is ready, the event loop learns of it anew.
    pub fn watch(&self, fd: Borrowed<'_>, watched: Watched) {
        // ENOENT: it was taken out.
        let _ = self.control(libc::EPOLL_CTL_MOD, fd, watched, 0);
    }

    /// Takes one out.
    pub fn remove(&self, fd: Borrowed<'_>) {
        // ENOENT or EPERM: it was out.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, Watched::No, 0);
    }

    fn control(
        &self,
        what: libc::c_int,
        fd: Borrowed<'_>,
        watched: Watched,
        number: u64,
    ) -> SysResult<()> {
        let events = match watched {
            Watched::Yes => libc::EPOLLIN as u32,
            Watched::No => 0,
        };
        let mut event = libc::epoll_event { events, u64: number };
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

#[cfg(test)]
mod tests {
    use super::{AT_ONCE, Epoll};
    use crate::sys::fd::{self, Blocking};
    use alloc::vec::Vec;

    #[test]
    fn ready_descriptor_is_named_again_only_after_all_others() {
        let epoll = Epoll::new().expect("there is a descriptor");
        let pipes: Vec<_> =
            (0..AT_ONCE + 2).map(|_| fd::pipe(Blocking::No).expect("a pipe")).collect();
        for (number, (read, _)) in (7..).zip(&pipes) {
            epoll.add_as(read.borrow(), number).expect("there is room");
        }
        let mut numbers = [0; AT_ONCE];
        assert_eq!(epoll.ready(&mut numbers), 0);
        for (_, write) in &pipes {
            fd::write(write.borrow(), b"!").expect("there is room");
        }
        assert_eq!(epoll.ready(&mut numbers), AT_ONCE);
        let mut seen: Vec<_> = numbers.to_vec();
        assert_eq!(epoll.ready(&mut numbers), AT_ONCE);
        seen.extend(&numbers[..2]);
        let expected: Vec<_> = (7..).take(AT_ONCE + 2).collect();
        assert_eq!(seen, expected);
        for (read, _) in &pipes {
            epoll.remove(read.borrow());
        }
        assert_eq!(epoll.ready(&mut numbers), 0);
    }
}
