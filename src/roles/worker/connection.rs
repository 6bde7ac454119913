//! What accept4(2) gives to a worker, and what it may say instead.

use crate::sys::Errno;
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::socket::Name;
use core::net::SocketAddr;

/// A connection that a worker has accepted. Blocking, and close-on-exec.
#[derive(Debug)]
pub struct Connection(pub(super) Fd);

/// Who is at the other end of a connection.
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

/// What accept4(2) can say besides a connection.
pub(super) enum Trouble {
    /// It concerns one connection, which is gone; or a signal came.
    Passing,
    /// Nobody waits.
    Nothing,
    /// Descriptors or memory are short.
    Shortage(Errno),
    /// The listener is no listener.
    Broken(Errno),
}

impl Trouble {
    pub(super) const fn of(errno: Errno) -> Self {
        match errno.0 {
            libc::EAGAIN => Self::Nothing,
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => Self::Shortage(errno),
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
            | libc::ETIMEDOUT => Self::Passing,
            _ => Self::Broken(errno),
        }
    }
}
