//! The control socket: the clients that ask over it, and the replies.
//!
//! Main waits for no client. Each has so long to send its one line, and so long to take
//! each part of the reply; there are so many of them, and so much is kept for each. One
//! that does not keep to that is dropped, and the others do not notice.
//!
//! The socket stands beside the pid file, and is made while that file's lock is held. A
//! private one of our own user at which nothing listens is a dead main's, and makes
//! room; whatever else stands there is left alone. It is born with mode 0600, so there
//! is no moment in which another user could connect. All the same the kernel is asked
//! for the peer's user.

use super::private_socket;
use crate::log::log;
use crate::persist::persisted;
use crate::protocol::control_protocol::{AnswerWord, LONGEST_REQUEST, Request, answer};
use crate::shared::closer::Closing;
use crate::shared::listening_socket::SocketPath;
use crate::shared::rate_limit::RateLimit;
use crate::split::cut;
use crate::sys::fd::{self, Fd};
use crate::sys::message::{self, Credentials, SendWait};
use crate::sys::poll::Source;
use crate::sys::socket::unix_server as kernel;
use crate::sys::{self, Errno, process, would_block};
use crate::types::{Generation, Level, Millis, Tick};
use alloc::borrow::ToOwned as _;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::{fmt, mem};

/// The most clients there are at the same time.
const MOST: usize = 32;
/// The most clients that wait at the same time.
const MOST_WAITING: usize = 24;
/// How long a client may take to send its line, and to take the reply.
const SLOWEST: Millis = Millis(5_000);
/// For how long a client is not dropped to make room for others: long enough to send a
/// line.
const PROMPT: Millis = Millis(100);
/// How much is kept for a client until it takes it, beside its last line.
const ROOM: usize = 14 << 10;
/// How long to let others wait when the kernel has no more descriptors, and
/// between two lines about strangers.
const PAUSE: Millis = Millis(1_000);

/// Where a client stands in the row, until [`ControlSocket::serve_clients`] is called again.
pub type ClientIndex = usize;

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// What becomes of this generation.
    Generation(Generation),
    /// So many workers.
    Workers(u16),
    /// The load of the configuration with this number.
    Load(u32),
    /// The restart of main with this number.
    Restart(u32),
    /// The end of main.
    End,
}

/// The socket and its clients.
#[derive(Debug)]
pub struct ControlSocket {
    listener: Fd,
    path: SocketPath,
    /// In the order in which they came.
    clients: Vec<Client>,
    /// No client is accepted until then.
    pause: Option<Tick>,
    /// What is said about strangers.
    strangers: RateLimit,
}

#[derive(Debug)]
struct Client {
    fd: Fd,
    /// What has come of the request.
    request: Vec<u8>,
    has_asked: bool,
    waits: Option<Waits>,
    /// What it was told and has not taken yet.
    owed: Vec<u8>,
    /// Whether it was told its last line.
    is_answered: bool,
    /// When it is dropped.
    due: Option<Tick>,
    /// Whether it is dropped now.
    is_gone: bool,
}

persisted! { enum Waits { 0 = End, 1 = Generation(generation), 2 = Workers(count), 3 = Restart(number), 4 = Load(number) } }
persisted! { struct ControlSocket { listener, path, clients, pause, strangers } }
persisted! { struct Client { fd, request, has_asked, waits, owed, is_answered, due, is_gone } }

impl ControlSocket {
    /// Makes the socket. The pid file's lock is held.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE` when something stands at `path` that is not a dead main's,
    /// `ENAMETOOLONG`, and those of bind(2).
    pub fn open(path: &CStr) -> sys::SysResult<Self> {
        let (listener, path) = private_socket::listen(path)?;
        let (clients, strangers) = (Vec::new(), RateLimit::new());
        Ok(Self { listener, path, clients, pause: None, strangers })
    }

    /// Makes it anew where nothing of ours stands any more: a cleaner may have taken
    /// it away. Clients stay. Says whether that was so.
    ///
    /// # Errors
    ///
    /// Those of [`ControlSocket::open`]; the old one stays then.
    pub fn renew(&mut self, closing: &mut Closing) -> sys::SysResult<bool> {
        if !self.path.is_lost() {
            return Ok(false);
        }
        let name = self.path.name().to_owned();
        let (listener, path) = private_socket::listen(&name)?;
        // A client that waits there may have sent what hangs the process that closes
        // it.
        closing.close_shared(mem::replace(&mut self.listener, listener));
        self.path = path;
        Ok(true)
    }

    /// Its path.
    pub fn name(&self) -> &CStr {
        self.path.name()
    }

    /// Takes the socket away if it is still ours. Connected clients stay so.
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

    /// When [`ControlSocket::serve_clients`] has something to do at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        let others = [self.pause, self.strangers.deadline()];
        self.clients
            .iter()
            .filter_map(|client| client.due)
            .chain(others.into_iter().flatten())
            .min()
    }

    /// Lets newcomers in, takes what clients have sent, gives them what they take, and
    /// drops those that are late. Says what one of them asks: there may be more.
    pub fn serve_clients(
        &mut self,
        now: Tick,
        closing: &mut Closing,
    ) -> Option<(ClientIndex, Request)> {
        self.sweep(closing);
        self.strangers.settle(now, Level::Warn, format_args!("control: refused uid"));
        self.admit_all(now, closing);
        for (place, client) in self.clients.iter_mut().enumerate() {
            let heard = client.read_request();
            client.give(now);
            match heard {
                None => {}
                Some(Ok(request)) => return Some((place, request)),
                Some(Err(reason)) => client.tell(
                    Some(AnswerWord::Refused),
                    answer(AnswerWord::Refused, format_args!("{reason}")).as_bytes(),
                    None,
                ),
            }
        }
        None
    }

    /// Lets go of those that are done or gone.
    pub fn sweep(&mut self, closing: &mut Closing) {
        for place in (0..self.clients.len()).rev() {
            let client = &self.clients[place];
            if client.is_gone || client.is_answered && client.owed.is_empty() {
                let fd = self.clients.remove(place).fd;
                closing.close_inbox(fd, Credentials::Untold);
            }
        }
    }

    fn admit_all(&mut self, now: Tick, closing: &mut Closing) {
        self.pause = self.pause.filter(|pause| *pause > now);
        for _ in 0..MOST {
            let silent = self.oldest_silent().filter(|_| self.clients.len() >= MOST);
            let young = Some(now.after(Millis(SLOWEST.0 - PROMPT.0)));
            if silent.is_some_and(|oldest| self.clients[oldest].due > young) || closing.is_full() {
                self.pause = Some(now.after(PROMPT));
            }
            if self.pause.is_some() {
                return;
            }
            match kernel::accept(self.listener.borrow()) {
                Ok(fd) => self.admit(now, fd, closing),
                Err(errno) if would_block(errno) => return,
                // Out of descriptors or memory, which may pass.
                Err(_) => self.pause = Some(now.after(PAUSE)),
            }
        }
    }

    /// The client that makes room if there is none.
    fn oldest_silent(&self) -> Option<ClientIndex> {
        self.clients.iter().position(|client| !client.has_asked)
    }

    fn admit(&mut self, now: Tick, fd: Fd, closing: &mut Closing) {
        let user = kernel::peer(fd.borrow()).map_or(u32::MAX, |(_, user)| user);
        if user != 0 && user != process::user() {
            self.strangers.log(
                now,
                Level::Warn,
                format_args!(
                    "control: refused uid {user}, only root and main's own user may use the \
                     socket"
                ),
            );
            return refuse(
                fd,
                b"refused only root and main's own user may use the control socket\n",
                closing,
            );
        }
        if self.clients.len() >= MOST {
            let Some(oldest) = self.oldest_silent() else {
                return refuse(fd, b"refused too many clients\n", closing);
            };
            let fd = self.clients.remove(oldest).fd;
            closing.close_inbox(fd, Credentials::Untold);
        }
        self.clients.push(Client::new(fd, now));
    }

    /// Tells a client something; after a last line nothing more comes.
    pub fn say(&mut self, place: ClientIndex, word: AnswerWord, text: fmt::Arguments<'_>) {
        self.clients[place].tell(Some(word), answer(word, text).as_bytes(), None);
    }

    /// Tells a client records, and passes a board with the first byte of them. One that
    /// leaves no room for them is dropped: half a reply is none.
    pub fn show(&mut self, place: ClientIndex, records: &str, board: Option<Fd>) {
        if !records.is_empty() {
            self.clients[place].tell(None, records.as_bytes(), board);
        }
    }

    /// Notes what a client waits for. Of too many that wait the first one waits no
    /// longer, so that others may ask.
    pub fn wait(&mut self, place: ClientIndex, waits: Waits) {
        self.clients[place].waits = Some(waits);
        let is_patient = |client: &&mut Client| client.waits.is_some();
        if self.clients.iter_mut().filter(is_patient).count() > MOST_WAITING
            && let Some(first) = self.clients.iter_mut().find(is_patient)
        {
            let reason = answer(
                AnswerWord::Failed,
                format_args!("too many clients are waiting; the request goes on without a reply"),
            );
            first.tell(Some(AnswerWord::Failed), reason.as_bytes(), None);
        }
    }

    /// Clients that wait for `one` wait for `other` from now on.
    pub fn wait_on(&mut self, one: Waits, other: Waits) {
        for client in self.clients.iter_mut().filter(|client| client.waits == Some(one)) {
            client.waits = Some(other);
        }
    }

    /// Logs each request that changes anything, and its sender.
    pub fn note(&self, place: ClientIndex, request: Request) {
        if matches!(request, Request::Status | Request::Ready) {
            return;
        }
        match kernel::peer(self.clients[place].fd.borrow()) {
            Ok((Some(pid), user)) => {
                log(
                    Level::Info,
                    format_args!("control: {request} requested by pid {pid} (uid {user})"),
                );
            }
            // In another pid namespace.
            Ok((None, user)) => {
                log(Level::Info, format_args!("control: {request} requested by uid {user}"))
            }
            Err(_) => {
                log(Level::Info, format_args!("control: {request} requested by an unknown process"))
            }
        }
    }

    /// Tells all that wait for this.
    pub fn announce(
        &mut self,
        word: AnswerWord,
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

/// One line for a client that is not let in.
fn refuse(fd: Fd, line: &[u8], closing: &mut Closing) {
    // A new connection has room; a client that is gone has nothing to hear.
    let _ = message::send(fd.borrow(), line, None, SendWait::Never);
    closing.close_inbox(fd, Credentials::Untold);
}

impl Client {
    /// One that has connected now.
    fn new(fd: Fd, now: Tick) -> Self {
        Self {
            fd,
            request: Vec::new(),
            has_asked: false,
            waits: None,
            owed: Vec::new(),
            is_answered: false,
            due: Some(now.after(SLOWEST)),
            is_gone: false,
        }
    }

    /// Reads what has come of the request; the request, or what to refuse it with, once
    /// it is whole.
    fn read_request(&mut self) -> Option<Result<Request, &'static str>> {
        if self.has_asked {
            return None;
        }
        // A line mostly comes whole, and then nothing of it is kept.
        let mut room = [0; LONGEST_REQUEST];
        let before = self.request.len().min(room.len());
        room[..before].copy_from_slice(&self.request[..before]);
        let piece = message::peek(self.fd.borrow(), Credentials::Untold).and_then(|head| {
            if head.has_descriptors {
                // It could hang us. It is closed with what it stands in.
                return Err(Errno(libc::EBADMSG));
            }
            let end = room.len().min(before + head.length);
            fd::read(self.fd.borrow(), &mut room[before..end])
        });
        let come = match piece {
            Err(errno) if would_block(errno) => return None,
            Ok(more @ 1..) => &room[..before + more],
            Ok(0) | Err(_) => {
                self.is_gone = true;
                return None;
            }
        };
        let line = cut(come, b'\n').map(|(line, _)| line);
        if line.is_none() && come.len() < LONGEST_REQUEST {
            self.request = come.to_vec();
            return None;
        }
        self.has_asked = true;
        self.due = None;
        Some(line.ok_or("request line too long").and_then(Request::parse))
    }

    /// Gives it what it takes, and asks whether it is still there if there is nothing
    /// to give.
    fn give(&mut self, now: Tick) {
        match message::send(self.fd.borrow(), &self.owed, None, SendWait::Never) {
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

    /// Tells it something. `word` is how it begins; records have none.
    fn tell(&mut self, word: Option<AnswerWord>, bytes: &[u8], board: Option<Fd>) {
        let mut taken = 0;
        if self.owed.is_empty() {
            let board = board.as_ref().map(Fd::borrow);
            // Whatever is wrong is found when the rest is given.
            taken = message::send(self.fd.borrow(), bytes, board, SendWait::Never).unwrap_or(0);
        }
        let is_last = word.is_some_and(AnswerWord::is_last);
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

#[cfg(any(test, feature = "internals"))]
#[path = "../../tests/fuzz/control.rs"]
pub mod fuzz_control;
