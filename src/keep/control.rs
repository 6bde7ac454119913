//! The control socket: who asks over it, and what he is answered.
//!
//! Nobody is waited for. A client has so long to send his one line, and so
//! long to take each part of what he is told; there are so many of them, and
//! so much is kept for each. Whoever does not keep to that is dropped, and
//! nobody else notices.
//!
//! The socket stands beside the pid file, and is made while that file's lock
//! is held: whatever socket stands there is a dead main's, and is replaced. It
//! is born with mode 0600 under another name, so there is no moment in which
//! anybody else could connect. All the same the kernel is asked who it is.

use super::log::log;
use super::pidfile::beside;
use super::socket::Path;
use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::file::{self, Kind};
use crate::sys::message::{self, Patience};
use crate::sys::poll::Source;
use crate::sys::socket::control as kernel;
use crate::sys::{self, Errno, lock, process, would_block};
use crate::types::{Level, Millis, Tick};
use crate::words::control::{LONGEST_REQUEST, Request, Word, answer};
use alloc::borrow::ToOwned as _;
use alloc::vec::Vec;
use core::ffi::CStr;

/// The most clients there are at the same time.
const MOST: usize = 32;
/// How long a client may take to send his line, and to take what he is told.
const PATIENCE_OF_MAIN: Millis = Millis(5_000);
/// How much is kept for a client until he takes it, beside his last line.
const ROOM: usize = 14 << 10;
/// How long to let others wait when the kernel has no more descriptors, and
/// between two lines about strangers.
const PAUSE: Millis = Millis(1_000);

/// Tells one client from all that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u32);

/// The socket and its clients; dropping it takes the socket away, if it is
/// still ours.
#[derive(Debug)]
pub struct Control {
    listener: Fd,
    path: Path,
    /// In the order in which they came.
    clients: Vec<Client>,
    came: u32,
    /// Nobody is let in until then.
    pause: Option<Tick>,
    /// Nothing is said about strangers until then.
    strangers: Tick,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.path.remove();
    }
}

/// A part of an answer that was not taken yet.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    taken: usize,
    /// Goes with the first byte.
    board: Option<Fd>,
}

#[derive(Debug)]
struct Client {
    id: Id,
    fd: Fd,
    request: [u8; LONGEST_REQUEST],
    /// How much of the request has come.
    come: usize,
    has_asked: bool,
    pieces: Vec<Piece>,
    /// Whether his last line is among the pieces, or was taken.
    is_answered: bool,
    /// When he is dropped.
    due: Option<Tick>,
}

impl Control {
    /// Makes the socket. The pid file's lock is held.
    ///
    /// # Errors
    ///
    /// `EEXIST` when no socket stands at `path`, `ENAMETOOLONG`, and those of
    /// bind(2) and rename(2).
    pub fn open(path: &CStr) -> sys::Result<Self> {
        match file::identity_at(path) {
            Ok(there) if there.kind() != Kind::Socket => return Err(Errno(libc::EEXIST)),
            Ok(_) | Err(_) => {}
        }
        let fresh = beside(path, b".new");
        let _ = file::unlink(&fresh);
        let listener = kernel::listen_private(&fresh)?;
        let identity = file::identity_at(&fresh);
        let named = identity.and_then(|identity| lock::rename(&fresh, path).map(|()| identity));
        if named.is_err() {
            let _ = file::unlink(&fresh);
        }
        let path = Path::named(path.to_owned(), named?);
        let (clients, strangers) = (Vec::new(), Tick(0));
        Ok(Self { listener, path, clients, came: 0, pause: None, strangers })
    }

    /// What to wait for.
    pub fn add_sources<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        if self.pause.is_none() {
            sources.push(Source::readable(self.listener.borrow()));
        }
        for client in &self.clients {
            let (asking, owed) = (!client.has_asked, !client.pieces.is_empty());
            sources.push(Source::new(client.fd.borrow(), asking, owed));
        }
    }

    /// When [`Control::attend`] has something to do at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        self.clients.iter().filter_map(|client| client.due).chain(self.pause).min()
    }

    /// Lets newcomers in, takes what clients have sent, gives them what they
    /// take, and drops who is late; the requests that have come.
    pub fn attend(&mut self, now: Tick) -> Vec<(Id, Request)> {
        self.admit_all(now);
        let mut requests = Vec::new();
        self.clients.retain_mut(|client| {
            let stays = match client.hear() {
                Heard::Nothing => true,
                Heard::Request(request) => {
                    client.due = None;
                    requests.push((client.id, request));
                    true
                }
                Heard::Nonsense(why) => {
                    client.due = None;
                    client.add(answer(Word::Refused, format_args!("{why}")).as_bytes(), None);
                    client.is_answered = true;
                    true
                }
                Heard::End => false,
            };
            stays && client.give(now) && client.due.is_none_or(|due| due > now)
        });
        requests
    }

    fn admit_all(&mut self, now: Tick) {
        self.pause = self.pause.filter(|pause| *pause > now);
        for _ in 0..MOST {
            if self.pause.is_some() {
                return;
            }
            match kernel::accept(self.listener.borrow()) {
                Ok(fd) => self.admit(now, fd),
                Err(errno) if would_block(errno) => return,
                // He is gone already.
                Err(Errno(libc::ECONNABORTED | libc::EINTR)) => {}
                Err(_) => self.pause = Some(now.after(PAUSE)),
            }
        }
    }

    fn admit(&mut self, now: Tick, fd: Fd) {
        let user = kernel::peer_user(fd.borrow()).unwrap_or(u32::MAX);
        if ![0, process::user()].contains(&user) {
            refuse(fd.borrow(), "another user may not ask");
            if now >= self.strangers {
                self.strangers = now.after(PAUSE);
                log(Level::Warn, format_args!("user {user} was refused at the control socket"));
            }
            return;
        }
        if self.clients.len() >= MOST {
            match self.clients.iter().position(|client| !client.has_asked) {
                Some(oldest) => drop(self.clients.remove(oldest)),
                None => return refuse(fd.borrow(), "too many clients"),
            }
        }
        self.came = self.came.wrapping_add(1);
        self.clients.push(Client {
            id: Id(self.came),
            fd,
            request: [0; LONGEST_REQUEST],
            come: 0,
            has_asked: false,
            pieces: Vec::new(),
            is_answered: false,
            due: Some(now.after(PATIENCE_OF_MAIN)),
        });
    }

    /// Whether this client is still there.
    #[must_use]
    pub fn has(&self, id: Id) -> bool {
        self.clients.iter().any(|client| client.id == id)
    }

    /// Tells a client something; after a last line nothing more comes.
    pub fn say(&mut self, now: Tick, id: Id, word: Word, text: core::fmt::Arguments<'_>) {
        self.send(now, id, answer(word, text).as_bytes(), None, Some(word));
    }

    /// Tells a client records, and passes a board with the first byte of them.
    /// One who leaves no room for them is dropped: half an answer is none.
    pub fn show(&mut self, now: Tick, id: Id, records: &str, board: Option<Fd>) {
        if !records.is_empty() {
            self.send(now, id, records.as_bytes(), board, None);
        }
    }

    /// `word` is how a line that is no record begins.
    fn send(&mut self, now: Tick, id: Id, bytes: &[u8], board: Option<Fd>, word: Option<Word>) {
        let Some(place) = self.clients.iter().position(|client| client.id == id) else { return };
        let client = &mut self.clients[place];
        let is_last = word.is_some_and(Word::is_last);
        let has_room = is_last || client.owed() + bytes.len() <= ROOM;
        if !has_room && word.is_some() {
            return;
        }
        client.add(bytes, board);
        client.is_answered |= is_last;
        if !has_room || !client.give(now) {
            self.clients.remove(place);
        }
    }
}

/// One line for somebody who is not let in.
fn refuse(fd: Borrowed<'_>, why: &str) {
    let line = answer(Word::Refused, format_args!("{why}"));
    // A new connection has room; a client that is gone has nothing to hear.
    let _ = message::send(fd, line.as_bytes(), None, Patience::Never);
}

/// What a client has sent.
enum Heard {
    Nothing,
    Request(Request),
    Nonsense(&'static str),
    /// He is gone, or has closed before he had asked.
    End,
}

impl Client {
    /// Reads what has come of the request.
    fn hear(&mut self) -> Heard {
        if self.has_asked {
            return Heard::Nothing;
        }
        let read = match fd::read(self.fd.borrow(), &mut self.request[self.come..]) {
            Ok(0) => return Heard::End,
            Ok(read) => read,
            Err(errno) if would_block(errno) => return Heard::Nothing,
            Err(_) => return Heard::End,
        };
        self.come += read;
        let line = self.request.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let is_whole = line.len() < self.come;
        if !is_whole && self.come < self.request.len() {
            return Heard::Nothing;
        }
        self.has_asked = true;
        if !is_whole {
            return Heard::Nonsense("the line is too long");
        }
        match Request::parse(line) {
            Ok(request) => Heard::Request(request),
            Err(why) => Heard::Nonsense(why),
        }
    }

    fn owed(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes.len() - piece.taken).sum()
    }

    fn add(&mut self, bytes: &[u8], board: Option<Fd>) {
        self.pieces.push(Piece { bytes: bytes.to_vec(), taken: 0, board });
    }

    /// Gives him what he takes; says whether he stays.
    fn give(&mut self, now: Tick) -> bool {
        let mut took = false;
        loop {
            // With nothing to give it is asked whether he is still there.
            let piece = self.pieces.first();
            let rest = piece.map_or(&[][..], |piece| &piece.bytes[piece.taken..]);
            let board = piece.and_then(|piece| piece.board.as_ref()).map(Fd::borrow);
            match message::send(self.fd.borrow(), rest, board, Patience::Never) {
                Ok(sent) => took |= sent > 0 && self.took(sent),
                Err(errno) if would_block(errno) => break,
                Err(_) => return false,
            }
            if self.pieces.is_empty() {
                break;
            }
        }
        if self.has_asked {
            let old = if took { None } else { self.due };
            let due = old.unwrap_or(now.after(PATIENCE_OF_MAIN));
            self.due = (!self.pieces.is_empty()).then_some(due);
        }
        !(self.is_answered && self.pieces.is_empty())
    }

    /// Notes that so much of the first piece was taken; always true.
    fn took(&mut self, sent: usize) -> bool {
        if let Some(piece) = self.pieces.first_mut() {
            piece.board = None;
            piece.taken += sent;
            if piece.taken >= piece.bytes.len() {
                self.pieces.remove(0);
            }
        }
        true
    }
}
