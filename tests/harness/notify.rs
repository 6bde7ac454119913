//! Messages to a notify socket. sd_notify(3)

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The address that `NOTIFY_SOCKET` says: a path, or `@` and an abstract name.
pub fn address(name: &str) -> SocketAddr {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    };
    address.expect("it is short enough")
}

/// Sends a message there.
pub fn notify(name: &str, words: &str) {
    let socket = UnixDatagram::unbound().expect("there are descriptors");
    socket.send_to_addr(words.as_bytes(), &address(name)).expect("main listens");
}
