//! What the control socket and `status` need: umask(2), accept4(2), unix(7), tcp(7).

use super::{Raw, bind, listen, open};
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::{Result, check};
use crate::types::Pid;
use core::ffi::CStr;
use core::mem::size_of_val;
use core::ptr;

/// A non-blocking listening stream socket at `path` that none but its owner
/// and root can ever connect to: it is born with mode 0600.
///
/// # Errors
///
/// `EADDRINUSE` when something stands there, `ENOENT`, `EACCES` and `EROFS` for
/// the way there, `ENAMETOOLONG` past 107 bytes.
pub fn listen_private(path: &CStr) -> Result<Fd> {
    let address = Raw::unix(path.to_bytes())?;
    let fd = open(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK)?;
    // SAFETY: umask takes a number, always succeeds and touches no memory.
    let before = unsafe { libc::umask(0o177) };
    let bound = bind(&fd, &address);
    // SAFETY: umask takes a number, always succeeds and touches no memory.
    unsafe { libc::umask(before) };
    bound?;
    listen(fd)
}

/// A non-blocking connection to whoever listens at `path`: connect(2).
///
/// # Errors
///
/// `ENOENT` and `ECONNREFUSED` when nobody does, `EAGAIN` when too many wait
/// already, `EACCES` when we may not.
pub fn connect(path: &CStr) -> Result<Fd> {
    let address = Raw::unix(path.to_bytes())?;
    let fd = open(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK)?;
    // SAFETY: `address` is readable for its length.
    check(unsafe { libc::connect(fd.number(), address.pointer(), address.length) })?;
    Ok(fd)
}

/// Takes a connection out of the queue, non-blocking and close-on-exec.
///
/// # Errors
///
/// `EAGAIN` when nobody waits; `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`.
pub fn accept(listener: Borrowed<'_>) -> Result<Fd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let (number, nowhere) = (listener.number(), ptr::null_mut::<u8>());
    // The system call, for it never waits: the C library's way is made to.
    // SAFETY: with no place for it the kernel stores no address.
    check(unsafe { libc::syscall(libc::SYS_accept4, number, nowhere, nowhere, flags) } as _)
        .map(Fd::own)
}

/// Reads an option that is so many words of 32 bits, or begins with them.
fn ask<const N: usize>(
    fd: Borrowed<'_>,
    level: libc::c_int,
    option: libc::c_int,
) -> Result<[u32; N]> {
    let mut words = [0; N];
    let mut size = size_of_val(&words) as libc::socklen_t;
    let place = words.as_mut_ptr().cast();
    // SAFETY: `words` are writable for as many bytes as `size` says.
    check(unsafe { libc::getsockopt(fd.number(), level, option, place, &raw mut size) })?;
    Ok(words)
}

/// The process at the other end of a Unix connection, and its user: who has
/// called connect(2), or listen(2). `SO_PEERCRED`.
///
/// No process when this pid namespace does not know it.
///
/// # Errors
///
/// `ENOTSOCK`.
pub fn peer(fd: Borrowed<'_>) -> Result<(Option<Pid>, u32)> {
    let [pid, user, _group] = ask::<3>(fd, libc::SOL_SOCKET, libc::SO_PEERCRED)?;
    Ok((Pid::new(pid.cast_signed()), user))
}

/// How many connections wait in the queue of a listening TCP socket, and how
/// many may: `tcpi_unacked` and `tcpi_sacked` of `TCP_INFO`.
///
/// # Errors
///
/// `EOPNOTSUPP` or `ENOPROTOOPT` for a socket that is not TCP's.
pub fn queue(fd: Borrowed<'_>) -> Result<(u32, u32)> {
    // Behind the first eight bytes of the kernel's struct come 32-bit words.
    let [.., queue, backlog] = ask::<8>(fd, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Ok((queue, backlog))
}
