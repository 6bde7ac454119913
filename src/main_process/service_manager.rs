//! The service manager above main, where there is one: sd_notify(3).
//!
//! What is announced arrives: what finds no room, or a kernel that is short of memory,
//! is told again, in its order. Of the status the newest counts. Nothing here waits.

use crate::decimal;
use crate::log::log;
use crate::main_process::announcements::{Announcement, Announcements};
use crate::main_process::listener_store::StoreRequest;
use crate::main_process::situation::{Failures, Situation, StopProgress, Wait};
use crate::persist::{Codec, Persist as _, persisted};
use crate::printable::{self, Quoted};
use crate::protocol::sd_notify;
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::message::{self, SendWait};
use crate::sys::socket::SocketKind;
use crate::sys::{Errno, clock, env, process, socket};
use crate::types::{Generation, Level, Millis, Tick};
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

/// How long to leave alone what had no room.
const BREATHER: Millis = Millis(100);
/// The most announcements that wait; of more the oldest is lost.
const MOST: usize = 64;
/// The least time from one status to the next.
const STATUS_GAP: Millis = Millis(250);
/// What the timeouts are extended to, and how often.
const EXTENSION: &[u8] = b"EXTEND_TIMEOUT_USEC=15000000";
const EXTENSION_GAP: Millis = Millis(5_000);
/// How often to look again whether main is well, once it was not.
const SICK: Millis = Millis(100);
/// The most sockets that it may keep.
const MOST_STORED: u32 = 65_536;
/// The most bytes of a status.
const LONGEST: usize = 1_000;

/// Where the service manager listens, what it was told, and what it has not taken yet.
pub(super) struct ServiceManager {
    socket: Option<Fd>,
    said: Announcements,
    owed: Vec<Vec<u8>>,
    /// When to tell it again.
    due: Option<Tick>,
    /// The status that it has, and the one that it is to have from then on.
    shown: String,
    status: Option<String>,
    status_at: Tick,
    /// What the status was made of last; `None` if that has changed since.
    situation: Option<Situation>,
    /// What has failed since a generation became current, and the first generation that
    /// makes up for it.
    setback: String,
    setback_until: Generation,
    /// Whether main stops before any generation was current.
    never_current: bool,
    /// What it extends its timeouts for, and when it is asked to again.
    wait: Option<(Wait, Tick)>,
    /// Half the time within which it wants to hear that main is well, if it does, and when.
    watchdog: Option<Millis>,
    watchdog_at: Tick,
    /// How many sockets it keeps for us, and when it is asked again to.
    stores: u32,
    store_at: Option<Tick>,
    /// Whether it was said that it takes nothing.
    is_lost_told: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// It was taken.
    Done,
    /// It can never be.
    Lost,
    /// It is to be sent again.
    NoRoom,
}

/// Half of `WATCHDOG_USEC`, if that is for this process.
fn watchdog() -> Option<Millis> {
    let number = |name: &CStr| decimal::parse_long(env::var(name)?.to_bytes(), u64::MAX);
    let is_ours = match env::var(c"WATCHDOG_PID") {
        Some(_) => number(c"WATCHDOG_PID") == Some(process::id().raw().unsigned_abs().into()),
        None => true,
    };
    let limit = number(c"WATCHDOG_USEC").filter(|&limit| is_ours && limit > 0)?;
    Some(Millis((limit / 2_000).max(1)))
}

impl ServiceManager {
    /// What is there where nothing above listens.
    pub const fn none() -> Self {
        Self {
            socket: None,
            said: Announcements::new(),
            owed: Vec::new(),
            due: None,
            shown: String::new(),
            status: None,
            status_at: Tick(0),
            situation: None,
            setback: String::new(),
            setback_until: Generation(0),
            never_current: false,
            wait: None,
            watchdog: None,
            watchdog_at: Tick(0),
            stores: 0,
            store_at: None,
            is_lost_told: false,
        }
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
        let stores =
            env::var(c"FDSTORE").and_then(|most| decimal::parse(most.to_bytes(), MOST_STORED));
        let (watchdog, stores) = (watchdog(), stores.unwrap_or(0));
        Self { socket: connected.ok(), watchdog, stores, ..Self::none() }
    }

    /// Writes or reads what one image leaves to the next.
    pub fn persist(&mut self, codec: &mut Codec) {
        persisted! {
            in self, codec;
            {
                socket, said, owed, due, shown, status, status_at, setback,
                setback_until, wait, watchdog, watchdog_at, stores, store_at, is_lost_told,
            } without { situation, never_current }
        }
    }

    /// Whether anything above listens.
    pub const fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// When it is to be told something at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        self.socket.as_ref()?;
        let status = self.status.as_ref().map(|_| self.status_at);
        let watchdog = self.watchdog.map(|_| self.watchdog_at);
        let extension = self.wait.map(|(_, due)| due);
        [self.due, status, watchdog, extension, self.store_at].into_iter().flatten().min()
    }

    /// Sends it something now, if there is room.
    fn send(&mut self, words: &[u8]) -> Sent {
        self.send_with(words, None)
    }

    /// The same, with a descriptor.
    fn send_with(&mut self, words: &[u8], descriptor: Option<Borrowed<'_>>) -> Sent {
        let Some(socket) = &self.socket else { return Sent::Done };
        match message::send(socket.borrow(), words, descriptor, SendWait::Never) {
            Ok(_) => {
                self.is_lost_told = false;
                Sent::Done
            }
            // The last while too many descriptors of ours are on their way.
            Err(Errno(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::ETOOMANYREFS)) => {
                Sent::NoRoom
            }
            Err(errno) => {
                if !core::mem::replace(&mut self.is_lost_told, true) {
                    let words = Quoted(words);
                    log(
                        Level::Warn,
                        format_args!("service manager: cannot send it {words}: {errno}"),
                    );
                }
                Sent::Lost
            }
        }
    }
}

/// The sockets that it keeps for main.
impl ServiceManager {
    /// How many sockets it keeps for us, so that their queues outlive a main that is killed.
    pub const fn most_kept(&self) -> u32 {
        if self.socket.is_some() { self.stores } else { 0 }
    }

    /// How many it keeps; `None` where there is none, and as long as it has no room.
    pub fn begin_storing(&mut self, now: Tick) -> Option<u32> {
        self.socket.as_ref()?;
        self.store_at.take_if(|due| *due <= now);
        self.store_at.is_none().then_some(self.stores)
    }

    /// Asks it to do this; says whether that is done. Once a socket cannot be sent at all,
    /// none is any more.
    pub fn ask(&mut self, request: &StoreRequest<'_>) -> bool {
        let sent = match request {
            StoreRequest::Keep(socket, name, kind) => {
                let mut words = sd_notify::keep(name.as_bytes()).unwrap_or_default();
                if *kind == SocketKind::BoundDatagram {
                    // An error that waits on it is no reason to forget it.
                    words.extend_from_slice(b"\nFDPOLL=0");
                }
                let sent = self.send_with(&words, Some(*socket));
                if sent == Sent::Lost {
                    self.stores = 0;
                    return false;
                }
                sent
            }
            StoreRequest::Forget(name) => {
                self.send(&sd_notify::remove(name.as_bytes()).unwrap_or_default())
            }
        };
        self.store_at = (sent == Sent::NoRoom).then(|| clock::now().after(BREATHER));
        sent != Sent::NoRoom
    }
}

/// What it is told of starts, reloads and the stop.
impl ServiceManager {
    /// A reload was asked for: the load of the configuration with this number.
    pub fn on_reload(&mut self, load: u32) {
        if self.socket.is_some() {
            self.announce(|said, out| said.on_reload(clock::micros(), load, out));
        }
    }

    /// The load with this number is over, for this generation; `None` if the configuration
    /// was refused.
    pub fn on_load(&mut self, load: u32, target: Option<Generation>) {
        self.announce(|said, out| said.on_load(load, target, out));
    }

    /// This generation is current: what has failed before it is of no interest any more.
    pub fn on_current(&mut self, generation: Generation) {
        if self.setback_until <= generation {
            self.set_back(generation, String::new());
        }
        self.announce(|said, out| said.on_current(generation, out));
    }

    /// This generation has failed, or was rolled back.
    pub fn on_failed(&mut self, generation: Generation) {
        self.announce(|said, out| said.on_failed(generation, out));
    }

    /// A stop was asked for, or has begun.
    pub fn on_stop(&mut self) {
        self.never_current |= self.said.is_first_start();
        self.announce(Announcements::on_stop);
    }

    fn announce(&mut self, event: impl FnOnce(&mut Announcements, &mut Vec<Announcement>)) {
        if self.socket.is_none() {
            return;
        }
        let mut out = Vec::new();
        event(&mut self.said, &mut out);
        for announcement in out {
            match announcement {
                // Who has waited for that looks at the status next; after a stop there may be
                // no other.
                Announcement::Ready | Announcement::Stopping => self.status_at = Tick(0),
                Announcement::Reloading(_) => {}
            }
            self.tell(announcement.words().as_bytes());
        }
    }

    /// Says something to it that has to arrive.
    fn tell(&mut self, words: &[u8]) {
        if self.owed.len() >= MOST {
            self.owed.remove(0);
        }
        self.owed.push(words.to_vec());
        self.tell_owed();
    }

    fn tell_owed(&mut self) {
        while let Some(words) = self.owed.first().cloned() {
            if self.send(&words) == Sent::NoRoom {
                self.due = Some(clock::now().after(BREATHER));
                return;
            }
            self.owed.remove(0);
        }
        self.due = None;
    }
}

/// What it is told of the state that main is in.
impl ServiceManager {
    /// What has failed is part of the status until this generation or a later one is current.
    pub fn set_back(&mut self, until: Generation, failure: String) {
        self.setback_until = until;
        if self.setback != failure {
            (self.setback, self.situation) = (failure, None);
        }
    }

    /// Tells it what is due at the end of a turn. How the last worker ended is asked for
    /// where that matters.
    pub fn tell_due(&mut self, now: Tick, situation: Situation, loss: impl FnOnce() -> String) {
        if self.due.is_some_and(|due| due <= now) {
            self.tell_owed();
        }
        if self.situation.replace(situation) != Some(situation) {
            let loss = loss();
            let is_over = situation.stop != StopProgress::No && !self.never_current;
            let setback = if is_over { "" } else { &self.setback };
            let failures = Failures { setback, loss: &loss };
            let text = printable::shown(situation.text(failures, now).as_bytes());
            let text = text.chars().take(LONGEST).collect();
            self.status = (text != self.shown).then_some(text);
        }
        self.tell_status(now);
        self.extend(now, situation);
    }

    fn tell_status(&mut self, now: Tick) {
        if self.status_at > now {
            return;
        }
        let Some(text) = self.status.take() else { return };
        match self.send(&[b"STATUS=", text.as_bytes()].concat()) {
            Sent::Done | Sent::Lost => (self.shown, self.status_at) = (text, now.after(STATUS_GAP)),
            Sent::NoRoom => (self.status, self.status_at) = (Some(text), now.after(BREATHER)),
        }
    }

    /// Extends its timeouts, when something else is waited for and every five seconds.
    fn extend(&mut self, now: Tick, situation: Situation) {
        let is_first_start = self.said.is_first_start();
        let wait = situation.wait(is_first_start, self.said.is_reloading());
        let due = self.wait.filter(|&(before, _)| Some(before) == wait).map(|(_, due)| due);
        self.wait = wait.map(|wait| match due {
            Some(due) if due > now => (wait, due),
            Some(_) | None => match self.send(EXTENSION) {
                Sent::Done | Sent::Lost => (wait, now.after(EXTENSION_GAP)),
                Sent::NoRoom => (wait, now.after(BREATHER)),
            },
        });
    }

    /// Whether it wants to hear now that main is well.
    pub fn awaits_watchdog(&self, now: Tick) -> bool {
        self.socket.is_some() && self.watchdog.is_some() && self.watchdog_at <= now
    }

    /// Says so, if main is.
    pub fn tell_watchdog(&mut self, now: Tick, is_well: bool) {
        let Some(half) = self.watchdog else { return };
        let is_told = is_well && self.send(b"WATCHDOG=1") != Sent::NoRoom;
        self.watchdog_at = now.after(if is_told { half } else { half.min(SICK) });
    }
}
