//! What accept4(2) gives to a worker, and what it may say instead.

use crate::sys::Errno;
use crate::sys::fd::{self, Blocking, Borrowed, Fd};
use crate::sys::message::{self, SendWait};
use crate::sys::socket::{self, Name, SocketKind};
use core::net::SocketAddr;

/// A connection that a worker has accepted. Close-on-exec; blocking, but one of an
/// [`Acceptor`](crate::Acceptor).
///
/// It takes packets of any TTL: `IP_MINTTL` and `IPV6_MINHOPCOUNT` are 0 on it,
/// whatever they are on its listener. ip(7), ipv6(7)
#[derive(Debug)]
pub struct Connection(pub(super) Fd);

/// The peer of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An IPv4 or IPv6 address and port.
    Inet(SocketAddr),
    /// A process on this machine.
    Unix,
}

impl Connection {
    /// The descriptor.
    #[must_use]
    pub const fn as_fd(&self) -> Borrowed<'_> {
        self.0.borrow()
    }

    /// Gives the descriptor away.
    #[must_use]
    pub fn into_fd(self) -> Fd {
        self.0
    }

    /// Reads what has come, at most as much as `buffer` holds; 0 at the end. Blocks while
    /// nothing has come, and no signal ends that: [`wait`](crate::wait) for it with a
    /// deadline first. read(2)
    ///
    /// For programs without std, as is `write_all`.
    ///
    /// # Errors
    ///
    /// `ECONNRESET` when the peer has reset the connection, `EAGAIN` on a connection of an
    /// [`Acceptor`](crate::Acceptor) when nothing has come.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        fd::read(self.as_fd(), buffer)
    }

    /// Writes all of `bytes`. Blocks while the peer takes nothing. No SIGPIPE comes of a
    /// peer that is gone. send(2)
    ///
    /// # Errors
    ///
    /// `EPIPE` and `ECONNRESET` when the peer is gone, `EAGAIN` on a connection of an
    /// [`Acceptor`](crate::Acceptor) when there is no room; a part may be written then.
    pub fn write_all(&self, bytes: &[u8]) -> Result<(), Errno> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent = message::send(self.as_fd(), rest, None, SendWait::Wait)?;
            rest = &rest[sent..];
        }
        Ok(())
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsFd for Connection {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.borrow().into()
    }
}

#[cfg(feature = "std")]
impl From<Connection> for std::os::fd::OwnedFd {
    fn from(connection: Connection) -> Self {
        connection.0.into()
    }
}

#[cfg(feature = "std")]
impl From<Connection> for std::net::TcpStream {
    fn from(connection: Connection) -> Self {
        std::os::fd::OwnedFd::from(connection).into()
    }
}

#[cfg(feature = "std")]
impl From<Connection> for std::os::unix::net::UnixStream {
    fn from(connection: Connection) -> Self {
        std::os::fd::OwnedFd::from(connection).into()
    }
}

impl Peer {
    pub(super) const fn of(name: &Name) -> Self {
        match name {
            Name::Inet(address) => Self::Inet(*address),
            Name::Unix(_) | Name::Other => Self::Unix,
        }
    }
}

/// Takes a connection out of the queue. It takes every packet, though a listener in
/// the final stop may have given it a least TTL.
pub(super) fn take(listener: Borrowed<'_>, blocking: Blocking) -> Result<(Fd, Name), AcceptError> {
    let (fd, peer) = socket::accept(listener, blocking).map_err(|errno| match errno.0 {
        // A network's error of the one connection, unless this is no listener.
        libc::EOPNOTSUPP if socket::kind(listener) == SocketKind::Listening => AcceptError::Retry,
        _ => AcceptError::of(errno),
    })?;
    socket::take_any_ttl(fd.borrow(), &peer);
    Ok((fd, peer))
}

/// What accept4(2) can say besides a connection.
pub(super) enum AcceptError {
    /// It concerns one connection, which is gone; or a signal came.
    Retry,
    /// No connection waits.
    WouldBlock,
    /// Descriptors or memory are short.
    OutOfResources(Errno),
    /// The listener is no listener.
    Fatal(Errno),
}

impl AcceptError {
    pub(super) const fn of(errno: Errno) -> Self {
        match errno.0 {
            libc::EAGAIN => Self::WouldBlock,
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => {
                Self::OutOfResources(errno)
            }
            libc::EINTR
            | libc::ECONNABORTED
            | libc::EPROTO
            | libc::EPERM
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::ETIMEDOUT => Self::Retry,
            _ => Self::Fatal(errno),
        }
    }
}
