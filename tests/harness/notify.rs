//! Messages to and from a notify socket. sd_notify(3)

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};

use panzer::sys::{clock, message, poll};
use panzer::{Borrowed, Source, Tick};

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

/// The notify socket that a process was started with.
pub fn socket_of(pid: u32) -> String {
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("it runs");
    let environment = String::from_utf8_lossy(&environment);
    let name = environment.split('\0').find_map(|entry| entry.strip_prefix("NOTIFY_SOCKET="));
    name.expect("it was given one").to_string()
}

/// Leaves no room for another message there, until one is read.
pub fn fill(name: &str) {
    let socket = UnixDatagram::unbound().expect("there are descriptors");
    socket.set_nonblocking(true).expect("it is ours");
    while socket.send_to_addr(b"X=1", &address(name)).is_ok() {}
}

/// How many service managers there were: each one's name.
static BOUND: AtomicU32 = AtomicU32::new(0);

/// What a service manager above main hears.
pub struct ServiceManager {
    socket: UnixDatagram,
    name: String,
    heard: Vec<String>,
    /// The sockets that it keeps, by their names.
    kept: Vec<(String, OwnedFd)>,
}

impl ServiceManager {
    /// One that listens at a name of its own.
    pub fn bind() -> Self {
        let number = BOUND.fetch_add(1, Ordering::Relaxed);
        let name = format!("@above-{}-{number}", std::process::id());
        let socket = UnixDatagram::bind_addr(&address(&name)).expect("the name is free");
        Self { socket, name, heard: Vec::new(), kept: Vec::new() }
    }

    /// The value of `NOTIFY_SOCKET` for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes in the next message; says whether one was there.
    fn take(&mut self) -> bool {
        let Ok(message) = message::receive(Borrowed::from(self.socket.as_fd())) else {
            return false;
        };
        let words = String::from_utf8_lossy(&message.bytes).into_owned();
        let name = words.lines().find_map(|line| line.strip_prefix("FDNAME="));
        // systemd takes them out of what it reads.
        let name = name.unwrap_or_default().replace('\\', "");
        if words.starts_with("FDSTORE=1") {
            let given = message.descriptors.into_iter();
            self.kept.extend(given.map(|fd| (name.clone(), OwnedFd::from(fd))));
        } else if words.starts_with("FDSTOREREMOVE=1") {
            self.kept.retain(|(other, _)| *other != name);
        }
        self.heard.push(words);
        true
    }

    /// Waits until one is there.
    fn wait(&self, due: Tick) -> bool {
        let mut source = [Source::readable(Borrowed::from(self.socket.as_fd()))];
        poll::wait(&mut source, Some(due)).expect("there is memory")
    }

    /// Waits for a message that `matches` accepts, and skips all others.
    pub fn expect(&mut self, what: &str, matches: impl Fn(&str) -> bool) -> String {
        let due = clock::now().after(TIMEOUT.into());
        loop {
            if self.take() {
                let last = self.heard.last().filter(|message| matches(message));
                if let Some(message) = last {
                    return message.clone();
                }
            } else if clock::now() >= due || !self.wait(due) {
                panic!("no {what}; heard {:?}", self.heard);
            }
        }
    }

    /// Leaves no room for another message, until it is read.
    pub fn fill(&self) {
        fill(&self.name);
    }

    /// All messages until now.
    pub fn heard(&mut self) -> &[String] {
        while self.take() {}
        &self.heard
    }

    /// The names of the sockets that it keeps by now, sorted.
    pub fn kept(&mut self) -> Vec<&str> {
        self.heard();
        let mut names: Vec<_> = self.kept.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Closes what it keeps under this name.
    pub fn forget(&mut self, name: &str) {
        self.kept.retain(|(other, _)| other != name);
    }

    /// The one that it keeps under this name, as it would hand it down.
    pub fn hand_down(&self, name: &str) -> OwnedFd {
        let (_, fd) = self.kept.iter().find(|(other, _)| other == name).expect("it is kept");
        fd.try_clone().expect("there are descriptors")
    }

    /// The first line of each until now that is about a start, a reload or a stop.
    pub fn transitions(&mut self) -> Vec<&str> {
        let first = self.heard().iter().filter_map(|message| message.lines().next());
        first.filter(|line| ["READY=1", "RELOADING=1", "STOPPING=1"].contains(line)).collect()
    }
}
