//! The service manager above main, where there is one: sd_notify(3).
//!
//! What is told arrives: what finds no room, or a kernel that is short of memory,
//! is told again, in its order. Nothing here waits.

use crate::log::log;
use crate::main_process::announcements::{Announcement, Announcements};
use crate::persist::persisted;
use crate::printable::Quoted;
use crate::sys::fd::Fd;
use crate::sys::message::{self, SendWait};
use crate::sys::{Errno, clock, env, socket};
use crate::types::{Generation, Level, Millis, Tick};
use alloc::vec::Vec;

/// How long to leave alone what had no room.
const BREATHER: Millis = Millis(100);
/// The most messages that wait; of more the oldest is lost.
const MOST: usize = 64;

/// Where the service manager listens, and what it has not taken yet.
pub(super) struct ServiceManager {
    socket: Option<Fd>,
    said: Announcements,
    owed: Vec<Vec<u8>>,
    /// When to tell it again.
    due: Option<Tick>,
}

persisted! { struct ServiceManager { socket, said, owed, due } }

impl ServiceManager {
    /// None.
    pub const fn none() -> Self {
        Self { socket: None, said: Announcements::new(), owed: Vec::new(), due: None }
    }

    /// Connects to the one that `NOTIFY_SOCKET` names, if there is one.
    pub fn connect() -> Self {
        let Some(name) = env::var(c"NOTIFY_SOCKET") else { return Self::none() };
        let connected = socket::connect_notify(name.to_bytes());
        if let Err(errno) = connected {
            let name = Quoted(name.to_bytes());
            log(
                Level::Warn,
                format_args!("service manager: cannot connect to NOTIFY_SOCKET {name}: {errno}"),
            );
        }
        Self { socket: connected.ok(), ..Self::none() }
    }

    /// When it is told again what it has not taken.
    pub const fn deadline(&self) -> Option<Tick> {
        self.due
    }

    /// A reload was asked for, which reads the configuration the so manieth time.
    pub fn on_reload(&mut self, load: u32) {
        if self.socket.is_some() {
            self.announce(|said, out| said.on_reload(clock::micros(), load, out));
        }
    }

    /// The configuration was read the so manieth time, for this generation; `None` if it
    /// was refused.
    pub fn on_load(&mut self, load: u32, target: Option<Generation>) {
        self.announce(|said, out| said.on_load(load, target, out));
    }

    /// This generation is current.
    pub fn on_current(&mut self, generation: Generation) {
        self.announce(|said, out| said.on_current(generation, out));
    }

    /// This generation has failed, or was rolled back.
    pub fn on_failed(&mut self, generation: Generation) {
        self.announce(|said, out| said.on_failed(generation, out));
    }

    /// A stop was asked for, or has begun.
    pub fn on_stop(&mut self) {
        self.announce(Announcements::on_stop);
    }

    fn announce(&mut self, event: impl FnOnce(&mut Announcements, &mut Vec<Announcement>)) {
        if self.socket.is_none() {
            return;
        }
        let mut out = Vec::new();
        event(&mut self.said, &mut out);
        out.into_iter().for_each(|announcement| self.tell(announcement.words().as_bytes()));
    }

    /// Says something to it.
    fn tell(&mut self, words: &[u8]) {
        if self.owed.len() >= MOST {
            self.owed.remove(0);
        }
        self.owed.push(words.to_vec());
        self.tell_owed();
    }

    /// Says again what it had no room for, if that is due.
    pub fn tell_again(&mut self, now: Tick) {
        if self.due.is_some_and(|due| due <= now) {
            self.tell_owed();
        }
    }

    fn tell_owed(&mut self) {
        let Some(socket) = &self.socket else { return };
        while let Some(words) = self.owed.first() {
            match message::send(socket.borrow(), words, None, SendWait::Never) {
                Ok(_) => {}
                Err(Errno(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM)) => {
                    self.due = Some(clock::now().after(BREATHER));
                    return;
                }
                Err(errno) => {
                    let words = Quoted(words);
                    log(
                        Level::Warn,
                        format_args!("service manager: cannot send it {words}: {errno}"),
                    );
                }
            }
            self.owed.remove(0);
        }
        self.due = None;
    }
}
