//! Descriptors: owned by exactly one [`Fd`], or borrowed.
//!
//! Every descriptor is born close-on-exec. A number appears only where a
//! system call is made, and where a handler must keep it in an atomic.

use super::{SysResult, call, check, check_size, insist, retry_eintr};
use crate::persist::{Codec, Direction, Persist};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicI32, Ordering};

/// An open descriptor; dropping it closes it.
#[derive(Debug)]
pub struct Fd(libc::c_int);

/// A descriptor that its owner keeps open for `'fd`.
#[derive(Clone, Copy, Debug)]
pub struct Borrowed<'fd> {
    number: libc::c_int,
    owner: PhantomData<&'fd Fd>,
}

impl Fd {
    /// Takes over a number that a system call has just made, or that was inherited and
    /// has no other owner.
    pub(super) const fn own(number: libc::c_int) -> Self {
        Self(number)
    }

    /// Lends it out.
    #[must_use]
    pub const fn borrow(&self) -> Borrowed<'_> {
        Borrowed { number: self.0, owner: PhantomData }
    }

    /// The number, for a message or an environment variable.
    #[must_use]
    pub const fn number(&self) -> libc::c_int {
        self.0
    }

    /// Gives the descriptor away, and owns nothing from then on.
    pub(crate) const fn take(&mut self) -> Self {
        core::mem::replace(self, Self(-1))
    }

    /// Gives up ownership without closing.
    #[cfg(feature = "std")]
    fn release(self) -> libc::c_int {
        core::mem::ManuallyDrop::new(self).0
    }
}

/// Read, it is taken over: the program that executed us has let it through.
impl Persist for Fd {
    fn empty_value() -> Self {
        Self(-1)
    }

    fn persist(&mut self, codec: &mut Codec) {
        let number = codec.number(u64::from(self.0.unsigned_abs()), i32::MAX as u64) as u32;
        match codec.way() {
            Direction::Write => codec.keep(self.0),
            Direction::Read => match adopt(number) {
                Some(fd) => *self = fd,
                None => codec.fail(),
            },
            Direction::Try => self.0 = number.cast_signed(),
            #[cfg(any(test, feature = "internals"))]
            Direction::Disown => self.0 = -1,
        }
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // A blank owns nothing.
        if self.0 >= 0 {
            // SAFETY: the number is open and ours alone, and is not used again.
            // close(2) frees it even when it reports an error.
            unsafe { libc::close(self.0) };
        }
    }
}

/// A place for a descriptor that is made later, at most once at a time, by a part of
/// the process that has the place only lent. Dropping it closes the descriptor.
#[derive(Debug)]
pub struct LateFd(AtomicI32);

impl LateFd {
    /// An empty place.
    pub(crate) const fn new() -> Self {
        Self(AtomicI32::new(-1))
    }

    /// What stands there. Only a `put` or a `take` by the one worker that has the
    /// listener, which are not made while this is in use, change it.
    pub(crate) fn get(&self) -> Option<Borrowed<'_>> {
        let number = self.0.load(Ordering::SeqCst);
        // SAFETY: `put` has made the number ours, and the code that changes it waits for the
        // end of what borrows it here.
        (number >= 0).then_some(unsafe { Borrowed::trusted(number) })
    }

    /// Puts `fd` there, and gives back what stood there.
    pub(crate) fn put(&self, fd: Option<Fd>) -> Option<Fd> {
        let number = fd.map_or(-1, |fd| core::mem::ManuallyDrop::new(fd).0);
        let before = self.0.swap(number, Ordering::SeqCst);
        (before >= 0).then_some(Fd(before))
    }
}

impl Drop for LateFd {
    fn drop(&mut self) {
        drop(self.put(None));
    }
}

impl Borrowed<'_> {
    /// One of the descriptors 0, 1 and 2, which stay open as long as we live.
    #[must_use]
    pub const fn standard(number: Standard) -> Borrowed<'static> {
        Borrowed { number: number as libc::c_int, owner: PhantomData }
    }

    /// The number, for the argument of a system call.
    #[must_use]
    pub const fn number(self) -> libc::c_int {
        self.number
    }

    /// A number of which only the caller knows that it is open and stays so: one kept
    /// in an atomic for a handler, or named by the operator.
    ///
    /// # Safety
    ///
    /// As long as what borrows it lives, the number is open and no other code closes it or
    /// opens something else there; or it is -1, which every call refuses with `EBADF`.
    pub(super) const unsafe fn trusted(number: libc::c_int) -> Self {
        Self { number, owner: PhantomData }
    }
}

/// The three descriptors every process has.
#[derive(Clone, Copy, Debug)]
pub enum Standard {
    /// 0
    Input = 0,
    /// 1
    Output = 1,
    /// 2
    Error = 2,
}

#[cfg(feature = "std")]
impl From<Fd> for std::os::fd::OwnedFd {
    fn from(fd: Fd) -> Self {
        use std::os::fd::FromRawFd as _;
        // SAFETY: the number is open and was ours alone until `release`.
        unsafe { Self::from_raw_fd(fd.release()) }
    }
}

#[cfg(feature = "std")]
impl From<std::os::fd::OwnedFd> for Fd {
    fn from(fd: std::os::fd::OwnedFd) -> Self {
        use std::os::fd::IntoRawFd as _;
        Self(fd.into_raw_fd())
    }
}

#[cfg(feature = "std")]
impl<'fd> From<std::os::fd::BorrowedFd<'fd>> for Borrowed<'fd> {
    fn from(fd: std::os::fd::BorrowedFd<'fd>) -> Self {
        use std::os::fd::AsRawFd as _;
        Self { number: fd.as_raw_fd(), owner: PhantomData }
    }
}

#[cfg(feature = "std")]
impl<'fd> From<Borrowed<'fd>> for std::os::fd::BorrowedFd<'fd> {
    fn from(fd: Borrowed<'fd>) -> Self {
        // SAFETY: the number is open as long as it is borrowed.
        unsafe { Self::borrow_raw(fd.number) }
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsFd for Fd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        // SAFETY: the number is open as long as `self` is borrowed.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(self.0) }
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsFd for Borrowed<'_> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        (*self).into()
    }
}

/// Creates a pipe as (read end, write end): pipe2(2).
///
/// Both ends are close-on-exec; with `Blocking::No` neither ever waits.
///
/// # Errors
///
/// `EMFILE` or `ENFILE` when the process or the machine is out of descriptors.
pub fn pipe(blocking: Blocking) -> SysResult<(Fd, Fd)> {
    let flags = match blocking {
        Blocking::Yes => libc::O_CLOEXEC,
        Blocking::No => libc::O_CLOEXEC | libc::O_NONBLOCK,
    };
    let mut ends = [-1; 2];
    // SAFETY: `ends` is writable for the two ints that pipe2 stores.
    check(unsafe { call::pipe2(ends.as_mut_ptr(), flags) })?;
    let [read, write] = ends;
    Ok((Fd::own(read), Fd::own(write)))
}

/// Whether a call on the descriptor may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// It waits until it can be done.
    Yes,
    /// It answers `EAGAIN` at once.
    No,
}

/// A second number for what `fd` means, at 3 or above: `F_DUPFD_CLOEXEC` of fcntl(2).
///
/// # Errors
///
/// `EMFILE` when the process is out of descriptors, `EBADF` when `fd` is closed.
pub fn duplicate(fd: Borrowed<'_>) -> SysResult<Fd> {
    // SAFETY: `fd` is open while borrowed; F_DUPFD_CLOEXEC touches no memory.
    check(unsafe { call::fcntl(fd.number, libc::F_DUPFD_CLOEXEC, 3) }).map(Fd::own)
}

/// Makes the number of `fd` mean what `with` means, closing what it meant.
///
/// This is how a forked child lets go of a descriptor that its memory still
/// owns: the owner stays valid, and dropping it later harms nothing. dup3(2)
///
/// # Errors
///
/// `EBUSY` in a race with open(2), `EBADF` when `with` is closed.
pub fn replace(fd: Borrowed<'_>, with: Borrowed<'_>) -> SysResult<()> {
    // SAFETY: both are open while borrowed; dup3 touches no memory.
    retry_eintr(|| check(unsafe { call::dup3(with.number, fd.number, libc::O_CLOEXEC) }))?;
    Ok(())
}

/// Reads what is there into `buffer`; 0 means that no writer is left.
///
/// # Errors
///
/// `EAGAIN` when `fd` is non-blocking and nothing is there.
pub fn read(fd: Borrowed<'_>, buffer: &mut [u8]) -> SysResult<usize> {
    retry_eintr(|| {
        // SAFETY: `buffer` is writable for its whole length.
        check_size(unsafe { libc::read(fd.number, buffer.as_mut_ptr().cast(), buffer.len()) })
    })
}

/// Writes as much of `bytes` as fits; at most `PIPE_BUF` of them go into a pipe whole or not at all.
///
/// # Errors
///
/// `EAGAIN` when `fd` is non-blocking and has no room, `EPIPE` when no reader is left.
pub fn write(fd: Borrowed<'_>, bytes: &[u8]) -> SysResult<usize> {
    retry_eintr(|| {
        // SAFETY: `bytes` is readable for its whole length.
        check_size(unsafe { libc::write(fd.number, bytes.as_ptr().cast(), bytes.len()) })
    })
}

/// Reads at an offset, which leaves the description's own alone: pread(2).
///
/// # Errors
///
/// `EINVAL` for an offset past what off_t holds, `ESPIPE` for a pipe.
pub fn read_at(fd: Borrowed<'_>, buffer: &mut [u8], offset: usize) -> SysResult<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| super::Errno(libc::EINVAL))?;
    let (number, length) = (fd.number, buffer.len());
    retry_eintr(|| {
        // SAFETY: `buffer` is writable for its whole length.
        check_size(unsafe { libc::pread(number, buffer.as_mut_ptr().cast(), length, offset) })
    })
}

/// Writes at an offset, which leaves the description's own alone: pwrite(2).
///
/// # Errors
///
/// `EPERM` for a sealed memfd that would have to grow.
pub fn write_at(fd: Borrowed<'_>, bytes: &[u8], offset: usize) -> SysResult<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| super::Errno(libc::EINVAL))?;
    let (number, length) = (fd.number, bytes.len());
    retry_eintr(|| {
        // SAFETY: `bytes` is readable for its whole length.
        check_size(unsafe { libc::pwrite(number, bytes.as_ptr().cast(), length, offset) })
    })
}

/// Sets or clears `O_NONBLOCK` on the *description*, which all processes share that
/// have it.
///
/// # Errors
///
/// `EBADF` when `fd` is closed.
pub fn set_blocking(fd: Borrowed<'_>, blocking: Blocking) -> SysResult<()> {
    // SAFETY: `fd` is open while borrowed; F_GETFL touches no memory.
    let old = check(unsafe { call::fcntl(fd.number, libc::F_GETFL, 0) })?;
    let new = match blocking {
        Blocking::Yes => old & !libc::O_NONBLOCK,
        Blocking::No => old | libc::O_NONBLOCK,
    };
    if new != old {
        // SAFETY: `fd` is open while borrowed; F_SETFL touches no memory.
        check(unsafe { call::fcntl(fd.number, libc::F_SETFL, new as _) })?;
    }
    Ok(())
}

/// Whether calls on the description wait.
///
/// # Errors
///
/// `EBADF` when `fd` is closed.
pub fn blocking(fd: Borrowed<'_>) -> SysResult<Blocking> {
    // SAFETY: `fd` is open while borrowed; F_GETFL touches no memory.
    let flags = check(unsafe { call::fcntl(fd.number, libc::F_GETFL, 0) })?;
    Ok(if flags & libc::O_NONBLOCK == 0 { Blocking::Yes } else { Blocking::No })
}

/// Has the kernel let this process go on, should it be stopped, when the other end
/// of this pipe is gone: `O_ASYNC` of open(2), with SIGCONT by `F_SETSIG` of fcntl(2).
///
/// It belongs to the description, so `fd` must be one that is not shared.
///
/// # Errors
///
/// `EBADF` when `fd` is closed.
pub fn go_on_at_hangup(fd: Borrowed<'_>) -> SysResult<()> {
    /// The number that fcntl(2) has for it, which the libc crate does not name.
    const F_SETSIG: libc::c_int = 10;
    // SAFETY: getpid always succeeds and touches no memory.
    let myself = unsafe { libc::getpid() };
    // SAFETY: `fd` is open while borrowed; F_SETOWN takes a number.
    check(unsafe { call::fcntl(fd.number, libc::F_SETOWN, myself as _) })?;
    // SAFETY: `fd` is open while borrowed; F_SETSIG takes a number.
    check(unsafe { call::fcntl(fd.number, F_SETSIG, libc::SIGCONT as _) })?;
    // SAFETY: `fd` is open while borrowed; F_SETFL takes a number.
    check(unsafe { call::fcntl(fd.number, libc::F_SETFL, libc::O_ASYNC as _) })?;
    Ok(())
}

/// Whether something is open at `number` that came to us through an exec.
///
/// Exec closes what is close-on-exec, and all that we open ourselves is: so a number
/// that another process says is not ours is told apart from one that became ours
/// meanwhile.
#[must_use]
pub fn is_inherited(number: libc::c_int) -> bool {
    // SAFETY: F_GETFD touches no memory; a closed number is EBADF.
    insist(|| check(unsafe { call::fcntl(number, libc::F_GETFD, 0) }))
        .is_ok_and(|flags| flags & libc::FD_CLOEXEC == 0)
}

/// Takes over a descriptor that was inherited, and makes it close-on-exec.
///
/// `None` when nothing is open there, or something that was not inherited. The
/// caller names each number once: what was inherited is named by its
/// environment, which is taken out when read.
pub fn adopt(number: u32) -> Option<Fd> {
    let number = libc::c_int::try_from(number).ok().filter(|number| *number > 2)?;
    if !is_inherited(number) {
        return None;
    }
    close_on_exec(number).ok()?;
    Some(Fd::own(number))
}

/// Closes the descriptor `number` in whatever this process, or a child of it, executes.
///
/// # Errors
///
/// `EBADF` when it is closed.
pub fn close_on_exec(number: libc::c_int) -> SysResult<()> {
    // SAFETY: F_SETFD takes a number and touches no memory; a closed one is EBADF.
    insist(|| check(unsafe { call::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC as _) }))?;
    Ok(())
}

/// Leaves the descriptor `number` open in what this process executes, which is to take
/// it over.
///
/// # Errors
///
/// `EBADF` when it is closed.
pub fn open_on_exec(number: libc::c_int) -> SysResult<()> {
    // SAFETY: F_SETFD takes a number and touches no memory; a closed one is EBADF.
    check(unsafe { call::fcntl(number, libc::F_SETFD, 0) })?;
    Ok(())
}

/// Opens `/dev/null` on those of the descriptors 0, 1 and 2 that are closed,
/// so that nothing of ours ever becomes one of them.
pub fn fill_standard() {
    for number in 0..=2 {
        // SAFETY: F_GETFD touches no memory; a closed number is EBADF.
        let there = insist(|| check(unsafe { call::fcntl(number, libc::F_GETFD, 0) }));
        if there == Err(super::Errno(libc::EBADF)) {
            // Those below are open, so it has this number.
            // SAFETY: the path is a C string; open touches no other memory.
            unsafe { call::open(c"/dev/null".as_ptr(), libc::O_RDWR, 0) };
        }
    }
}
