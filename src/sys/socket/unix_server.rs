//! What the control socket and `status` need: umask(2), accept4(2), unix(7), tcp(7).

use super::{bind_with_mode, listen, open, unbind};
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::socket::unix_path::UnixPath;
use crate::sys::{SysResult, check, file};
use crate::types::Pid;
use core::ffi::CStr;
use core::mem::size_of_val;
use core::ptr;

/// A non-blocking listening stream socket at `name` that none but its owner
/// and root can ever connect to: it is born with mode 0600.
///
/// # Errors
///
/// `EADDRINUSE` when something stands there, `ENOENT`, `EACCES` and `EROFS` for
/// the way there, `ENAMETOOLONG` for a path past 107 bytes that no directory leads to
/// (see `unix_path`).
pub fn listen_private(name: &CStr) -> SysResult<Fd> {
    let path = UnixPath::of(name)?;
    let fd = open(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK)?;
    bind_with_mode(&fd, &path.address, 0o600)?;
    let made = file::own_socket_at(name);
    listen(fd).inspect_err(|_| unbind(name, made))
}

/// A non-blocking connection to the process that listens at `path`: connect(2).
///
/// # Errors
///
/// `ENOENT` and `ECONNREFUSED` when none does, `EAGAIN` when too many wait already,
/// `EACCES` when we may not.
pub fn connect(path: &CStr) -> SysResult<Fd> {
    let path = UnixPath::of(path)?;
    let address = &path.address;
    let fd = open(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK)?;
    // SAFETY: `address` is readable for its length.
    check(unsafe { libc::connect(fd.number(), address.pointer(), address.length) })?;
    Ok(fd)
}

/// Takes a connection out of the queue, non-blocking and close-on-exec.
///
/// # Errors
///
/// `EAGAIN` when no connection waits; `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`.
pub fn accept(listener: Borrowed<'_>) -> SysResult<Fd> {
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
) -> SysResult<[u32; N]> {
    let mut words = [0; N];
    let mut size = size_of_val(&words) as libc::socklen_t;
    let place = words.as_mut_ptr().cast();
    // SAFETY: `words` are writable for as many bytes as `size` says.
    check(unsafe { libc::getsockopt(fd.number(), level, option, place, &raw mut size) })?;
    Ok(words)
}

/// The process at the other end of a Unix connection, and its user: those of its
/// connect(2), or listen(2). `SO_PEERCRED`.
///
/// No process when this pid namespace does not know it.
///
/// # Errors
///
/// `ENOTSOCK`.
pub fn peer(fd: Borrowed<'_>) -> SysResult<(Option<Pid>, u32)> {
    let [pid, user, _group] = ask::<3>(fd, libc::SOL_SOCKET, libc::SO_PEERCRED)?;
    Ok((Pid::new(pid.cast_signed()), user))
}

/// How many connections wait in the queue of a listening TCP socket, and how
/// many may: `tcpi_unacked` and `tcpi_sacked` of `TCP_INFO`.
///
/// # Errors
///
/// `EOPNOTSUPP` or `ENOPROTOOPT` for a socket that is not TCP's.
pub fn queue(fd: Borrowed<'_>) -> SysResult<(u32, u32)> {
    // Behind the first eight bytes of the kernel's struct come 32-bit words.
    let [.., queue, backlog] = ask::<8>(fd, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Ok((queue, backlog))
}
