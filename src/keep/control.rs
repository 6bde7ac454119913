//! The control socket: who asks over it, and what he is answered.
//!
//! Nobody is waited for. A client has so long to send his one line, and so
//! long to take each part of what he is told; there are so many of them, and
//! so much is kept for each. Whoever does not keep to that is dropped, and
//! nobody else notices.
//!
//! The socket stands beside the pid file, and is made while that file's lock
//! is held. One at which nobody listens is a dead main's, and is replaced. It is
//! born with mode 0600 under another name, so there is no moment in which
//! anybody else could connect. All the same the kernel is asked who it is.

use super::log::log;
use super::pidfile::{beside, name, remove};
use super::socket::Path;
use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::file::{self, Kind};
use crate::sys::message::{self, Patience};
use crate::sys::poll::Source;
use crate::sys::socket::{self, control as kernel};
use crate::sys::{self, Errno, process, would_block};
use crate::tape::taped;
use crate::types::{Generation, Level, Millis, Tick};
use crate::words::control::{LONGEST_REQUEST, Request, Word, answer};
use crate::words::pieces::cut;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt;

/// The most clients there are at the same time.
const MOST: usize = 32;
/// The most who wait at the same time.
const MOST_WAITING: usize = 24;
/// How long a client may take to send his line, and to take what he is told.
const SLOWEST: Millis = Millis(5_000);
/// How long nobody has to make room for others: long enough to send a line.
const PROMPT: Millis = Millis(100);
/// How much is kept for a client until he takes it, beside his last line.
const ROOM: usize = 14 << 10;
/// How long to let others wait when the kernel has no more descriptors, and
/// between two lines about strangers.
const PAUSE: Millis = Millis(1_000);

/// Where a client stands in the row, until [`Control::attend`] is called again.
pub type Place = usize;

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// What becomes of this generation.
    Generation(Generation),
    /// So many workers.
    Workers(u16),
    /// Main to be replaced the so manieth time.
    Restart(u32),
    /// The end of main.
    End,
}

/// The socket and its clients.
#[derive(Debug)]
pub struct Control {
    listener: Fd,
    path: Path,
    /// In the order in which they came.
    clients: Vec<Client>,
    /// Nobody is let in until then.
    pause: Option<Tick>,
    /// Nothing is said about strangers until then.
    strangers: Tick,
}

#[derive(Debug)]
struct Client {
    fd: Fd,
    /// What has come of the request.
    request: Vec<u8>,
    has_asked: bool,
    waits: Option<Waits>,
    /// What he was told and has not taken yet.
    owed: Vec<u8>,
    /// Whether he was told his last line.
    is_answered: bool,
    /// When he is dropped.
    due: Option<Tick>,
    /// Whether he is dropped now.
    is_gone: bool,
}

taped! { enum Waits { 0 = End, 1 = Generation(generation), 2 = Workers(count), 3 = Restart(number) } }
taped! { struct Control { listener, path, clients, pause, strangers } }
taped! { struct Client { fd, request, has_asked, waits, owed, is_answered, due, is_gone } }

impl Control {
    /// Makes the socket. The pid file's lock is held.
    ///
    /// # Errors
    ///
    /// `EEXIST` when something else than a socket stands at `path`, `EADDRINUSE`
    /// when somebody listens there, `ENAMETOOLONG`, and those of bind(2) and
    /// rename(2).
    #[inline(never)]
    pub fn open(path: &CStr) -> sys::Result<Self> {
        if file::identity_at(path).is_ok_and(|there| there.kind() != Kind::Socket) {
            return Err(Errno(libc::EEXIST));
        }
        if socket::answers(path)? {
            return Err(Errno(libc::EADDRINUSE));
        }
        let beside = beside(path);
        let listener = kernel::listen_private(&beside)?;
        let path = name(&beside, path).inspect_err(|_| remove(&beside))?;
        let (clients, strangers) = (Vec::new(), Tick(0));
        Ok(Self { listener, path, clients, pause: None, strangers })
    }

    /// Takes the socket away if it is still ours. Whoever is connected stays so.
    pub fn remove(&self) {
        self.path.remove();
    }

    /// What to wait for.
    pub fn add_sources<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        if self.pause.is_none() {
            sources.push(Source::readable(self.listener.borrow()));
        }
        for client in &self.clients {
            let (asking, owed) = (!client.has_asked, !client.owed.is_empty());
            sources.push(Source::new(client.fd.borrow(), asking, owed));
        }
    }

    /// When [`Control::attend`] has something to do at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        self.clients.iter().filter_map(|client| client.due).chain(self.pause).min()
    }

    /// Lets newcomers in, takes what clients have sent, gives them what they
    /// take, and drops who is late. Says what one of them asks: there may be more.
    // Inlined into its one caller it would make that frame larger, and with it
    // every access to the frame. So it is with the others.
    #[inline(never)]
    pub fn attend(&mut self, now: Tick) -> Option<(Place, Request)> {
        self.sweep();
        self.admit_all(now);
        for (place, client) in self.clients.iter_mut().enumerate() {
            let heard = client.hear();
            client.give(now);
            match heard {
                None => {}
                Some(Ok(request)) => return Some((place, request)),
                Some(Err(why)) => client.tell(
                    Some(Word::Refused),
                    answer(Word::Refused, format_args!("{why}")).as_bytes(),
                    None,
                ),
            }
        }
        None
    }

    /// Lets go of those who are done or gone.
    #[inline(never)]
    pub fn sweep(&mut self) {
        for place in (0..self.clients.len()).rev() {
            let client = &self.clients[place];
            if client.is_gone || client.is_answered && client.owed.is_empty() {
                self.clients.remove(place);
            }
        }
    }

    #[inline(never)]
    fn admit_all(&mut self, now: Tick) {
        self.pause = self.pause.filter(|pause| *pause > now);
        for _ in 0..MOST {
            let silent = self.oldest_silent().filter(|_| self.clients.len() >= MOST);
            let young = Some(now.after(Millis(SLOWEST.0 - PROMPT.0)));
            if silent.is_some_and(|oldest| self.clients[oldest].due > young) {
                self.pause = Some(now.after(PROMPT));
            }
            if self.pause.is_some() {
                return;
            }
            match kernel::accept(self.listener.borrow()) {
                Ok(fd) => self.admit(now, fd),
                Err(errno) if would_block(errno) => return,
                // Out of descriptors or memory, which may pass.
                Err(_) => self.pause = Some(now.after(PAUSE)),
            }
        }
    }

    /// Who makes room if there is none.
    fn oldest_silent(&self) -> Option<Place> {
        self.clients.iter().position(|client| !client.has_asked)
    }

    fn admit(&mut self, now: Tick, fd: Fd) {
        let user = kernel::peer(fd.borrow()).map_or(u32::MAX, |(_, user)| user);
        if user != 0 && user != process::user() {
            if now >= self.strangers {
                self.strangers = now.after(PAUSE);
                log(Level::Warn, format_args!("user {user} may not ask over the control socket"));
            }
            return refuse(fd.borrow(), b"refused another user may not ask\n");
        }
        if self.clients.len() >= MOST {
            let Some(oldest) = self.oldest_silent() else {
                return refuse(fd.borrow(), b"refused too many clients\n");
            };
            self.clients.remove(oldest);
        }
        self.clients.push(Client {
            fd,
            request: Vec::new(),
            has_asked: false,
            waits: None,
            owed: Vec::new(),
            is_answered: false,
            due: Some(now.after(SLOWEST)),
            is_gone: false,
        });
    }

    /// Tells a client something; after a last line nothing more comes.
    #[inline(never)]
    pub fn say(&mut self, place: Place, word: Word, text: fmt::Arguments<'_>) {
        self.clients[place].tell(Some(word), answer(word, text).as_bytes(), None);
    }

    /// Tells a client records, and passes a board with the first byte of them.
    /// One who leaves no room for them is dropped: half an answer is none.
    pub fn show(&mut self, place: Place, records: &str, board: Option<Fd>) {
        if !records.is_empty() {
            self.clients[place].tell(None, records.as_bytes(), board);
        }
    }

    /// Notes what a client waits for. Of too many who wait the first one waits no
    /// longer, so that others may ask.
    pub fn wait(&mut self, place: Place, waits: Waits) {
        self.clients[place].waits = Some(waits);
        let is_patient = |client: &&mut Client| client.waits.is_some();
        if self.clients.iter_mut().filter(is_patient).count() > MOST_WAITING
            && let Some(first) = self.clients.iter_mut().find(is_patient)
        {
            let why = answer(Word::Failed, format_args!("too many wait; it goes on all the same"));
            first.tell(Some(Word::Failed), why.as_bytes(), None);
        }
    }

    /// Logs who asks for what changes anything.
    pub fn note(&self, place: Place, request: Request) {
        if matches!(request, Request::Status | Request::Ready) {
            return;
        }
        match kernel::peer(self.clients[place].fd.borrow()) {
            Ok((Some(pid), user)) => {
                log(Level::Info, format_args!("process {pid} of user {user} asks: {request}"));
            }
            // In another pid namespace.
            Ok((None, user)) => log(Level::Info, format_args!("user {user} asks: {request}")),
            Err(_) => log(Level::Info, format_args!("somebody asks: {request}")),
        }
    }

    /// Tells all who wait for this.
    #[inline(never)]
    pub fn announce(
        &mut self,
        word: Word,
        text: fmt::Arguments<'_>,
        is_it: &dyn Fn(Waits) -> bool,
    ) {
        let line = answer(word, text);
        for client in &mut self.clients {
            if client.waits.is_some_and(is_it) {
                client.tell(Some(word), line.as_bytes(), None);
            }
        }
    }
}

/// One line for somebody who is not let in.
fn refuse(fd: Borrowed<'_>, line: &[u8]) {
    // A new connection has room; a client that is gone has nothing to hear.
    let _ = message::send(fd, line, None, Patience::Never);
}

impl Client {
    /// Reads what has come of the request; what he asks, or what to refuse
    /// him with, once it is whole.
    #[inline(never)]
    fn hear(&mut self) -> Option<Result<Request, &'static str>> {
        if self.has_asked {
            return None;
        }
        let mut piece = [0; LONGEST_REQUEST];
        match fd::read(self.fd.borrow(), &mut piece) {
            Err(errno) if would_block(errno) => return None,
            Ok(0) | Err(_) => {
                self.is_gone = true;
                return None;
            }
            Ok(read) => self.request.extend_from_slice(&piece[..read]),
        }
        let whole = self.request.get(..LONGEST_REQUEST);
        let line = cut(whole.unwrap_or(&self.request), b'\n').map(|(line, _)| line);
        if line.is_none() && whole.is_none() {
            return None;
        }
        self.has_asked = true;
        self.due = None;
        Some(line.ok_or("the line is too long").and_then(Request::parse))
    }

    /// Gives him what he takes, and asks whether he is still there if there is
    /// nothing to give.
    fn give(&mut self, now: Tick) {
        match message::send(self.fd.borrow(), &self.owed, None, Patience::Never) {
            Ok(0) => {}
            Ok(taken) => {
                self.owed.drain(..taken);
                self.due = None;
            }
            Err(errno) if would_block(errno) => {}
            Err(_) => self.is_gone = true,
        }
        if !self.owed.is_empty() {
            self.due = self.due.or(Some(now.after(SLOWEST)));
        }
        self.is_gone |= self.due.is_some_and(|due| due <= now);
    }

    /// Tells him something. `word` is how it begins; records have none.
    #[inline(never)]
    fn tell(&mut self, word: Option<Word>, bytes: &[u8], board: Option<Fd>) {
        let mut taken = 0;
        if self.owed.is_empty() {
            let board = board.as_ref().map(Fd::borrow);
            // Whatever is wrong is found when the rest is given.
            taken = message::send(self.fd.borrow(), bytes, board, Patience::Never).unwrap_or(0);
        }
        let is_last = word.is_some_and(Word::is_last);
        let has_room = is_last || self.owed.len() + bytes.len() <= ROOM;
        if has_room {
            self.owed.extend_from_slice(&bytes[taken..]);
        }
        // A record that is lost, or comes without its board, is half an answer.
        self.is_gone |= !has_room && word.is_none() || board.is_some() && taken == 0;
        if is_last {
            self.is_answered = true;
            self.waits = None;
        }
    }
}
