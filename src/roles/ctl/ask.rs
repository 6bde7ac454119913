//! Asking over the control socket.
//!
//! What answers says that it is main; no more is believed of it than can be
//! kept: so much of a line, so many boards.

use super::find::{self, Found};
use super::{Bad, Patience, Status, print, tell};
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::message::{self, Patience as Sending};
use crate::sys::socket::control as kernel;
use crate::sys::{clock, would_block};
use crate::types::Millis;
use crate::words::control::{Answer, LONGEST_ANSWER, Request, Word};
use crate::words::ctl_cli::Asking;
use crate::words::pieces::cut;
use crate::words::printable;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

/// How many boards are taken: main has no more than a few generations.
const MOST_BOARDS: usize = 16;
/// How soon to try again when there are too many who wait to be let in, or when
/// nobody listens.
const AGAIN: Millis = Millis(50);

/// A connection to main.
pub struct Connection {
    fd: Fd,
    /// What has come and is no whole line yet.
    bytes: Vec<u8>,
    /// Copies of boards, in the order of their lines.
    boards: Vec<Fd>,
    has_ended: bool,
}

/// Finds main and connects; no connection when it does not listen.
///
/// One that begins has its pid file before its socket, and one that leaves has
/// it for longer: without a socket it is looked for twice.
pub fn reach(pid_file: &CStr, patience: &Patience<'_>) -> Result<(Found, Option<Connection>), Bad> {
    let found = find::find(pid_file)?;
    if let Some(connection) = connect(&found, patience)? {
        return Ok((found, Some(connection)));
    }
    let process = found.process.as_ref().map(|process| process.fd.borrow());
    // However short `--timeout` is: what is asked for takes place.
    let pause = Patience::begin(None, patience.wake);
    pause.wait(process, Some(clock::now().after(AGAIN)))?;
    let found = find::find(pid_file)?;
    let connection = connect(&found, patience)?;
    Ok((found, connection))
}

/// Connects; `None` when nobody listens, or somebody who is not main.
fn connect(found: &Found, patience: &Patience<'_>) -> Result<Option<Connection>, Bad> {
    let path = &found.socket;
    loop {
        match kernel::connect(path) {
            Ok(fd) if !found.is_main(fd.borrow()) => return Ok(None),
            Ok(fd) => {
                let (bytes, boards) = (Vec::new(), Vec::new());
                return Ok(Some(Connection { fd, bytes, boards, has_ended: false }));
            }
            Err(errno) if would_block(errno) => {
                patience.wait(None, Some(clock::now().after(AGAIN)))?;
            }
            Err(errno) => match errno.0 {
                libc::ENOENT | libc::ECONNREFUSED | libc::ENAMETOOLONG => return Ok(None),
                _ => return Err(Bad::system("connect to", path, errno)),
            },
        }
    }
}

impl Connection {
    /// Sends the one line.
    pub fn send(&self, request: Request) {
        // A new connection has room for it. One that is closed already has
        // something to read.
        let line = request.line();
        let _ = message::send(self.fd.borrow(), line.as_bytes(), None, Sending::Never);
    }

    /// Waits for a line; `None` when there are no more.
    pub fn line(&mut self, patience: &Patience<'_>) -> Result<Option<Vec<u8>>, Bad> {
        loop {
            if let Some((line, rest)) = cut(&self.bytes, b'\n')
                && line.len() < LONGEST_ANSWER
            {
                let (line, rest) = (line.to_vec(), rest.to_vec());
                self.bytes = rest;
                return Ok(Some(line));
            }
            if self.bytes.len() >= LONGEST_ANSWER {
                let why = format_args!("what answers there is no main: its line has no end");
                return Err(Bad::new(Status::Failed, why));
            }
            if self.has_ended {
                return Ok(None);
            }
            patience.wait(Some(self.fd.borrow()), None)?;
            self.receive();
        }
    }

    fn receive(&mut self) {
        match message::receive(self.fd.borrow()) {
            Ok(message) => {
                // Without one of its boards the others belong to wrong lines.
                self.has_ended = message.bytes.is_empty() || message.cut;
                self.bytes.extend_from_slice(&message.bytes);
                let room = MOST_BOARDS.saturating_sub(self.boards.len());
                self.boards.extend(message.descriptors.into_iter().take(room));
            }
            Err(errno) if would_block(errno) => {}
            Err(_) => self.has_ended = true,
        }
    }

    /// The boards that have come along, in the order of their lines.
    pub fn boards(&self) -> impl Iterator<Item = Borrowed<'_>> {
        self.boards.iter().map(Fd::borrow)
    }
}

/// Asks for anything but the status, and waits for what comes of it.
pub fn ask(
    asking: &Asking,
    mut connection: Connection,
    found: &Found,
    patience: &Patience<'_>,
) -> Result<(), Bad> {
    connection.send(asking.request);
    if !asking.wait && asking.request != Request::Ready {
        return Ok(());
    }
    let outcome = last_line(&mut connection, patience);
    let is_end = matches!(asking.request, Request::Shutdown | Request::Exit);
    let is_over = outcome.as_ref().map_or_else(|refused| refused.is_answer, |_| true);
    if is_end && is_over {
        while connection.line(patience)?.is_some() {}
        found.wait_for_end(patience)?;
    }
    match outcome.map_err(|refused| refused.bad)? {
        Some(done) => print(&done),
        // Main left before it let us in: that is what was asked for.
        None if is_end && found.process.is_some() => Ok(()),
        None => {
            let why = format_args!("main has closed the connection without an answer");
            Err(Bad::new(Status::Failed, why))
        }
    }
}

/// An answer that is not `done`.
struct Refused {
    bad: Bad,
    /// Whether main has tried: not when it refused, or when we cannot wait.
    is_answer: bool,
}

/// Shows the progress, and waits for the last line; `None` when the connection
/// ends without one.
fn last_line(
    connection: &mut Connection,
    patience: &Patience<'_>,
) -> Result<Option<String>, Refused> {
    let refused = |bad, is_answer| Refused { bad, is_answer };
    loop {
        let line = connection.line(patience).map_err(|bad| refused(bad, false))?;
        let Some(line) = line else { return Ok(None) };
        match Answer::parse(&line) {
            Answer::Says(Word::Progress, text) => tell(text),
            Answer::Says(Word::Done, text) => {
                let mut shown = printable::lossy(text);
                shown.push('\n');
                return Ok(Some(shown));
            }
            Answer::Says(word @ (Word::Failed | Word::Refused), text) => {
                let why = printable::lossy(text);
                let bad = Bad { status: Status::Failed, why };
                return Err(refused(bad, word == Word::Failed));
            }
            Answer::Record(_) => {}
        }
    }
}

impl Found {
    /// Whether it is main that listens at the other end, as far as is known.
    fn is_main(&self, connection: Borrowed<'_>) -> bool {
        let listens = kernel::peer(connection).ok().and_then(|(pid, _)| pid);
        self.process.as_ref().is_none_or(|process| listens == Some(process.pid))
    }

    /// Waits until main is gone, if it is known who that is.
    pub fn wait_for_end(&self, patience: &Patience<'_>) -> Result<(), Bad> {
        match &self.process {
            Some(process) => patience.wait(Some(process.fd.borrow()), None),
            None => Ok(()),
        }
    }
}
