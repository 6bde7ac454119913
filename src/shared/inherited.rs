//! What a monitor was given by the process above it.
//!
//! Read from the environment once, at the first call of this library, and taken out of
//! it, so that no process below a worker speaks or listens in our name. Above is main
//! (`PANZER_MAIN` is our parent), or a service manager, or nothing: then the library
//! runs alone, and signals no process above it.

use crate::protocol::{fdnames, sd_notify};
use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::message::{self, MOST_BYTES, SendWait};
use crate::sys::{self, Errno, clock, env, poll, process, socket};
use crate::types::{Level, Millis, Pid, Role, Slot, StopSignal};
use crate::{decimal, log, seconds};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem;

/// What each line of news begins with.
const NEWS: &[u8] = b"X_PANZER=";
/// The most datagrams that news may wait in: more than all workers of a pool that die.
const MOST_OWED: usize = 512;

/// How long to leave alone a kernel that has no memory, and how long in all.
const BREATHER: Millis = Millis(20);
const PATIENCE: Millis = Millis(10_000);

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
pub struct MainAbove {
    /// The number of our generation.
    pub generation: u32,
    /// The board, until it is mapped.
    pub board: Option<Fd>,
    /// Ends with main; the pool takes it.
    pub lifeline: Option<Fd>,
}

/// What the operator has set, or the application; a new one is an option too, see
/// docs/design.md, "Adding an option".
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolSettings {
    /// `--count`
    pub count: Option<u16>,
    pub timeout: Option<Millis>,
    /// `--delay`
    pub delay: Option<Millis>,
    /// `--max-delay`
    pub max_delay: Option<Millis>,
    /// `--hang-timeout`
    pub hang_timeout: Option<Millis>,
    /// `--lifetime`
    pub lifetime: Option<Millis>,
    /// `--ready-timeout`
    pub ready_timeout: Option<Millis>,
    /// `--ready` of programs that do not say it themselves.
    pub ready_after: Option<Millis>,
    /// `--stop-signal`, for programs that are not of this library.
    pub stop_signal: Option<StopSignal>,
}

/// All that was handed down.
#[derive(Debug)]
pub struct Inherited {
    /// Main, if it did; else there is none, or a service manager.
    pub main: Option<MainAbove>,
    /// Whether main has started us, itself or through a wrapper.
    pub is_below_main: bool,
    /// The sockets that were not claimed.
    pub sockets: Vec<Socket>,
    /// The names of those that were let go of, until they are given back.
    unclaimed: Vec<Vec<u8>>,
    /// What is to be said, and what has found no room: it is said again.
    owed: Vec<Vec<u8>>,
    /// How much news was lost since that was told: too much was owed.
    lost: u32,
    /// Where to say that we are ready.
    pub notify: Option<&'static Fd>,
    /// Whether the process that listens there keeps sockets for us. Main does not
    /// behind a wrapper: what it hands down then is not taken, and a port that it kept
    /// could not be opened again.
    pub keeps: bool,
    /// What the operator has set.
    pub settings: PoolSettings,
}

/// What the log is told of it: writing to a file may take long, so it is done when
/// no other thread waits for what was read.
#[derive(Clone, Copy, Debug)]
pub struct ToLog {
    level: Level,
    stranger: Option<Pid>,
}

impl ToLog {
    /// Begins the log of this process.
    pub fn begin(self) {
        log::begin(Role::Monitor, self.level);
        if let Some(pid) = self.stranger {
            log::log(
                Level::Warn,
                format_args!(
                    "PANZER_MAIN={pid} is not the parent process (a wrapper script without \
                     exec?); running alone: in the script, write exec before the command"
                ),
            );
        }
    }
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
    pub fn take() -> (Self, ToLog) {
        let level = match (env::take(c"PANZER_QUIET"), env::take(c"PANZER_VERBOSE")) {
            (Some(_), _) => Level::Warn,
            (None, Some(_)) => Level::Debug,
            (None, None) => Level::Info,
        };
        let count = number(c"PANZER_COUNT", u32::from(Slot::LAST));
        let settings = PoolSettings {
            count: count.and_then(|count| Slot::new(u16::try_from(count).ok()?)).map(Slot::number),
            timeout: span(c"PANZER_TIMEOUT"),
            delay: span(c"PANZER_DELAY"),
            max_delay: span(c"PANZER_MAX_DELAY"),
            hang_timeout: span(c"PANZER_HANG_TIMEOUT"),
            lifetime: span(c"PANZER_LIFETIME"),
            ready_timeout: span(c"PANZER_READY_TIMEOUT"),
            ready_after: span(c"PANZER_READY"),
            stop_signal: env::take(c"PANZER_STOP_SIGNAL")
                .and_then(|name| StopSignal::named(name.to_bytes())),
        };
        let sockets = take_sockets();
        let notify = env::take(c"NOTIFY_SOCKET")
            .and_then(|name| socket::connect_notify(name.to_bytes()).ok())
            .map(|notify| &*Box::leak(Box::new(notify)));
        let is_below_main = env::var(c"PANZER_MAIN").is_some();
        let (main, stranger) = take_main();
        let keeps = notify.is_some() && main.is_some() == is_below_main;
        let (unclaimed, owed) = (Vec::new(), Vec::new());
        let lost = 0;
        let inherited =
            Self { main, is_below_main, sockets, unclaimed, owed, lost, notify, keeps, settings };
        (inherited, ToLog { level, stranger })
    }

    /// Where something can be said that has to arrive, without this value.
    pub fn speaker(&self) -> Option<Speaker> {
        let notify = self.notify?;
        Some(Speaker(notify.borrow()))
    }

    /// Says something that has to arrive to what is above, if that listens; never
    /// waits. What finds no room is said by [`Inherited::pay`].
    ///
    /// Main may be gone, which the lifeline tells; a service manager that is gone
    /// has nothing to hear.
    pub fn say(&mut self, words: &[u8]) {
        // What is said again before there is room is one thing.
        if self.notify.is_some() && self.owed.last().is_none_or(|last| last != words) {
            self.owed.push(words.to_vec());
        }
        self.send_owed();
    }

    /// Adds a line of news, which [`Inherited::pay`] says: of all that happens at once as
    /// much as fits goes in one datagram, for the queue of main has room for few.
    pub fn add_news(&mut self, line: &[u8]) {
        if self.notify.is_none() {
            return;
        }
        let is_full = self.owed.len() >= MOST_OWED;
        match self.owed.last_mut() {
            Some(last) if last.starts_with(NEWS) && last.len() + line.len() < MOST_BYTES => {
                last.push(b'\n');
                last.extend_from_slice(line);
            }
            Some(_) if is_full => self.lost = self.lost.saturating_add(1),
            Some(_) | None => self.owed.push(line.to_vec()),
        }
    }

    /// Says what is owed, as far as there is room. Says how much news was lost, once
    /// nothing is owed any more.
    pub fn pay(&mut self) -> u32 {
        self.send_owed();
        if self.owes() { 0 } else { mem::take(&mut self.lost) }
    }

    /// Sends what is owed in its order, until there is no room.
    fn send_owed(&mut self) {
        let Some(notify) = &self.notify else { return };
        let is_sent = |words: &&Vec<u8>| {
            let sent = message::send(notify.borrow(), words, None, SendWait::Never);
            !sent.is_err_and(has_no_room)
        };
        let count = self.owed.iter().take_while(is_sent).count();
        self.owed.drain(..count);
        if self.owed.is_empty() {
            // It may have been large.
            self.owed = Vec::new();
        }
    }

    /// Whether something waits for room.
    pub const fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Gives out the sockets that were not claimed, to be closed before the first fork:
    /// a worker that had them would keep them open.
    pub fn let_go_of_unclaimed(&mut self) -> Vec<Socket> {
        let sockets = mem::take(&mut self.sockets);
        self.unclaimed.extend(sockets.iter().map(|socket| socket.name.clone()));
        sockets
    }

    /// Gives back the sockets that were not claimed: main may close them. A name that a
    /// claimed socket has too is left to both.
    pub fn give_back(&mut self, claimed: &[Vec<u8>]) {
        let unclaimed = mem::take(&mut self.unclaimed);
        if self.main.is_none() {
            return;
        }
        for name in unclaimed.iter().filter(|name| !claimed.contains(name)) {
            if let Some(words) = sd_notify::remove(name) {
                self.say(&words);
            }
        }
    }
}

/// Whether a message was not taken that may be later: the queue is full, or the
/// kernel is short of memory.
const fn has_no_room(errno: Errno) -> bool {
    matches!(errno.0, libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM)
}

/// What is above us, where it listens.
#[derive(Clone, Copy, Debug)]
pub struct Speaker(Borrowed<'static>);

impl Speaker {
    /// Says something, with a descriptor. Waits for room in the queue, and ten
    /// seconds for memory. A service manager that is gone has nothing to hear.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` or `ENOMEM` when the kernel has no memory all that time.
    pub fn say(self, words: &[u8], descriptor: Borrowed<'_>) -> sys::SysResult<()> {
        let due = clock::now().after(PATIENCE);
        loop {
            match message::send(self.0, words, Some(descriptor), SendWait::Wait) {
                Err(errno) if has_no_room(errno) && clock::now() >= due => return Err(errno),
                Err(errno) if has_no_room(errno) => {
                    let soon = clock::now().after(BREATHER);
                    let _ = poll::wait(&mut [], Some(soon));
                }
                Ok(_) | Err(_) => return Ok(()),
            }
        }
    }
}

fn take_sockets() -> Vec<Socket> {
    let [count, pid, names] = [c"LISTEN_FDS", c"LISTEN_PID", c"LISTEN_FDNAMES"]
        .map(|name| env::take(name).unwrap_or_default().into_bytes());
    // Newer systemd's second word for which process they are.
    let _ = env::take(c"LISTEN_PIDFDID");
    fdnames::handed_down(&count, &pid, &names, process::id())
        .filter_map(|(number, name)| Some(Socket { fd: fd::adopt(number)?, name: name.to_vec() }))
        .collect()
}

/// Main, or else the process that was said to be main and is not our parent.
fn take_main() -> (Option<MainAbove>, Option<Pid>) {
    let pid = number(c"PANZER_MAIN", i32::MAX.unsigned_abs());
    let generation = number(c"PANZER_GENERATION", u32::MAX).unwrap_or(0);
    let board = descriptor(c"PANZER_BOARD");
    let lifeline = descriptor(c"PANZER_LIFELINE");
    let pid = pid.and_then(|pid| Pid::new(pid.cast_signed()));
    if pid.is_some() && process::parent() == pid {
        return (Some(MainAbove { generation, board, lifeline }), None);
    }
    (None, pid)
}

#[cfg(test)]
mod tests {
    use super::{Inherited, MOST_OWED, PoolSettings};
    use crate::protocol::sd_notify;
    use crate::sys::{message, socket};
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    #[test]
    fn news_waits_in_few_datagrams_and_the_rest_is_counted() {
        let (main, name) = socket::notify_socket().expect("there are descriptors");
        let notify = socket::connect_notify(&[b"@", &name[..]].concat()).expect("it listens");
        let mut inherited = Inherited {
            main: None,
            is_below_main: true,
            sockets: Vec::new(),
            unclaimed: Vec::new(),
            owed: Vec::new(),
            lost: 0,
            notify: Some(Box::leak(Box::new(notify))),
            keeps: true,
            settings: PoolSettings::default(),
        };
        let news = 100_000;
        inherited.owed.push(sd_notify::READY.to_vec());
        (0..news).for_each(|_| inherited.add_news(b"X_PANZER=respawn 16383 4194304"));
        let (mut lost, mut heard) = (0, Vec::new());
        for _ in 0..MOST_OWED {
            lost += inherited.pay();
            assert!(lost == 0 || !inherited.owes());
            while let Ok(message) = message::receive(main.borrow()) {
                heard.push(message.bytes);
            }
        }
        assert_eq!((heard.len(), inherited.owed.capacity()), (MOST_OWED, 0));
        assert_eq!(heard[0], sd_notify::READY);
        let count: usize = heard.iter().map(|bytes| sd_notify::news(bytes).count()).sum();
        assert!(count > 100 * (MOST_OWED - 1) && lost > 0, "{count} were heard");
        assert_eq!(count + lost as usize, news);
    }
}
