//! Messages to and from a notify socket. sd_notify(3)

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};

use super::TIMEOUT;

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

/// How many service managers there were: each one's name.
static BOUND: AtomicU32 = AtomicU32::new(0);

/// What a service manager above main hears.
pub struct ServiceManager {
    socket: UnixDatagram,
    name: String,
    heard: Vec<String>,
}

impl ServiceManager {
    /// One that listens at a name of its own.
    pub fn bind() -> Self {
        let number = BOUND.fetch_add(1, Ordering::Relaxed);
        let name = format!("@above-{}-{number}", std::process::id());
        let socket = UnixDatagram::bind_addr(&address(&name)).expect("the name is free");
        socket.set_read_timeout(Some(TIMEOUT)).expect("it has a limit");
        Self { socket, name, heard: Vec::new() }
    }

    /// The value of `NOTIFY_SOCKET` for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn take(&mut self) -> Option<&str> {
        let mut message = [0; 4_096];
        let length = self.socket.recv(&mut message).ok()?;
        self.heard.push(String::from_utf8_lossy(&message[..length]).into_owned());
        self.heard.last().map(String::as_str)
    }

    /// Waits for a message that `matches` accepts, and skips all others.
    pub fn expect(&mut self, what: &str, matches: impl Fn(&str) -> bool) -> String {
        loop {
            match self.take() {
                Some(message) if matches(message) => return message.to_string(),
                Some(_) => {}
                None => panic!("no {what}; heard {:?}", self.heard),
            }
        }
    }

    /// Leaves no room for another message, until it is read.
    pub fn fill(&self) {
        let other = UnixDatagram::unbound().expect("there are descriptors");
        other.set_nonblocking(true).expect("it is ours");
        while other.send_to_addr(b"X=1", &address(&self.name)).is_ok() {}
    }

    /// All messages until now.
    pub fn heard(&mut self) -> &[String] {
        self.socket.set_nonblocking(true).expect("it is open");
        while self.take().is_some() {}
        self.socket.set_nonblocking(false).expect("it is open");
        &self.heard
    }

    /// The first line of each until now that is about a start, a reload or a stop.
    pub fn transitions(&mut self) -> Vec<&str> {
        let first = self.heard().iter().filter_map(|message| message.lines().next());
        first.filter(|line| ["READY=1", "RELOADING=1", "STOPPING=1"].contains(line)).collect()
    }
}
