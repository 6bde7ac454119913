//! What a monitor was given by the process above it.
//!
//! Read from the environment once, at the first call of this library, and
//! taken out of it, so that no process below a worker speaks or listens in our
//! name. Above is main (`PANZER_MAIN` is our parent), or a service manager, or
//! nobody: then the library runs alone, and signals nobody above it.

use super::log;
use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::message::{self, Patience};
use crate::sys::{env, process, socket, would_block};
use crate::types::{Level, Millis, Pid, Role, Slot};
use crate::words::{decimal, fdname, notify, seconds};
use alloc::vec::Vec;
use core::ffi::CStr;

/// The first descriptor of the socket-activation convention: sd_listen_fds(3).
const FIRST: u32 = 3;
/// More sockets than anybody hands down.
const MOST: u32 = 1_024;

/// A listening socket that was handed down and not yet claimed.
#[derive(Debug)]
pub struct Socket {
    /// Its descriptor.
    pub fd: Fd,
    /// Its name as it is carried.
    pub name: Vec<u8>,
}

/// Panzer's main process, above us.
#[derive(Debug)]
pub struct Main {
    /// Its pid.
    pub pid: Pid,
    /// The number of our generation.
    pub generation: u32,
    /// The board, until it is mapped.
    pub board: Option<Fd>,
    /// Ends with main; the pool takes it.
    pub lifeline: Option<Fd>,
}

/// What the operator has set, which wins over what the application has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// `--count`
    pub count: Option<u16>,
    /// `--timeout`
    pub timeout: Option<Millis>,
    /// `--delay`
    pub delay: Option<Millis>,
    /// `--max-delay`
    pub max_delay: Option<Millis>,
    /// `--hang-timeout`
    pub hang_timeout: Option<Millis>,
    /// `--lifetime`
    pub lifetime: Option<Millis>,
    /// `--ready` of programs that do not say it themselves.
    pub ready_after: Option<Millis>,
}

/// All that was handed down.
#[derive(Debug)]
pub struct Inherited {
    /// Main, if it did; else nobody, or a service manager.
    pub main: Option<Main>,
    /// Whether main has started us, itself or through a wrapper.
    pub is_below_main: bool,
    /// The sockets nobody has claimed.
    pub sockets: Vec<Socket>,
    /// The names of those that were let go of, until they are given back.
    unclaimed: Vec<Vec<u8>>,
    /// Where to say that we are ready.
    pub notify: Option<Fd>,
    /// Whether whoever listens there keeps sockets for us. Main does not
    /// behind a wrapper: what it hands down then is not taken, and a port that
    /// it kept could not be opened again.
    pub keeps: bool,
    /// What the operator has set.
    pub settings: Settings,
}

fn number(name: &CStr, most: u32) -> Option<u32> {
    decimal::parse(env::take(name)?.to_bytes(), most)
}

fn descriptor(name: &CStr) -> Option<Fd> {
    fd::adopt(number(name, i32::MAX.unsigned_abs())?)
}

fn span(name: &CStr) -> Option<Millis> {
    seconds::parse(env::take(name)?.to_bytes())
}

impl Inherited {
    /// Reads and takes out all of it.
    pub fn take() -> Self {
        let level = match (env::take(c"PANZER_QUIET"), env::take(c"PANZER_VERBOSE")) {
            (Some(_), _) => Level::Warn,
            (None, Some(_)) => Level::Debug,
            (None, None) => Level::Info,
        };
        log::begin(Role::Monitor, level);
        let count = number(c"PANZER_COUNT", u32::from(Slot::LAST));
        let settings = Settings {
            count: count.and_then(|count| Slot::new(u16::try_from(count).ok()?)).map(Slot::number),
            timeout: span(c"PANZER_TIMEOUT"),
            delay: span(c"PANZER_DELAY"),
            max_delay: span(c"PANZER_MAX_DELAY"),
            hang_timeout: span(c"PANZER_HANG_TIMEOUT"),
            lifetime: span(c"PANZER_LIFETIME"),
            ready_after: span(c"PANZER_READY"),
        };
        let sockets = take_sockets();
        let notify = env::take(c"NOTIFY_SOCKET")
            .and_then(|name| socket::connect_notify(name.to_bytes()).ok());
        let is_below_main = env::var(c"PANZER_MAIN").is_some();
        let main = take_main();
        let keeps = notify.is_some() && main.is_some() == is_below_main;
        Self { main, is_below_main, sockets, unclaimed: Vec::new(), notify, keeps, settings }
    }

    /// Says something to whoever is above, if anybody listens; waits for room.
    ///
    /// Whoever is above may be gone, which the lifeline tells; a service
    /// manager that is gone has nothing to hear.
    pub fn say(&self, words: &[u8], descriptor: Option<Borrowed<'_>>) {
        if let Some(notify) = &self.notify {
            let _ = message::send(notify.borrow(), words, descriptor, Patience::Wait);
        }
    }

    /// Says something unless there is no room; says whether there was.
    pub fn mention(&self, words: &[u8]) -> bool {
        let Some(notify) = &self.notify else { return true };
        let sent = message::send(notify.borrow(), words, None, Patience::Never);
        !sent.is_err_and(would_block)
    }

    /// Closes the sockets that nobody has claimed, before the first fork: a
    /// worker that had them would keep them open.
    pub fn let_go_of_unclaimed(&mut self) {
        self.unclaimed.extend(self.sockets.drain(..).map(|socket| socket.name));
    }

    /// Gives back the sockets that nobody has claimed: main may close them.
    /// A name that a claimed socket has too is left to both.
    pub fn give_back(&mut self, claimed: &[Vec<u8>]) {
        let unclaimed = core::mem::take(&mut self.unclaimed);
        if self.main.is_none() {
            return;
        }
        for name in unclaimed.iter().filter(|name| !claimed.contains(name)) {
            if let Some(words) = notify::remove(name) {
                self.say(&words, None);
            }
        }
    }
}

fn take_sockets() -> Vec<Socket> {
    let count = number(c"LISTEN_FDS", MOST);
    let pid = number(c"LISTEN_PID", i32::MAX.unsigned_abs());
    let names = env::take(c"LISTEN_FDNAMES").unwrap_or_default();
    if pid != Some(process::id().raw().unsigned_abs()) {
        return Vec::new();
    }
    let mut names = fdname::split(names.to_bytes());
    let mut sockets = Vec::new();
    for number in FIRST..FIRST + count.unwrap_or(0) {
        let name = names.next().unwrap_or_default().to_vec();
        if let Some(fd) = fd::adopt(number) {
            sockets.push(Socket { fd, name });
        }
    }
    sockets
}

fn take_main() -> Option<Main> {
    let pid = number(c"PANZER_MAIN", i32::MAX.unsigned_abs());
    let generation = number(c"PANZER_GENERATION", u32::MAX).unwrap_or(0);
    let board = descriptor(c"PANZER_BOARD");
    let lifeline = descriptor(c"PANZER_LIFELINE");
    let pid = Pid::new(pid?.cast_signed())?;
    if process::parent() == Some(pid) {
        return Some(Main { pid, generation, board, lifeline });
    }
    log::log(
        Level::Warn,
        format_args!(
            "PANZER_MAIN is {pid}, which is not our parent: a wrapper that starts the program \
             without exec stands between; running alone"
        ),
    );
    None
}
