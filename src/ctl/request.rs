//! Asking over the control socket.
//!
//! What answers says that it is main; no more is believed of it than can be
//! kept: so much of a line, so many boards.

use super::{CtlFailure, Deadline, Status, connect, print, tell};
use crate::ctl::args::Args;
use crate::ctl::connect::Found;
use crate::ctl::signal_fallback;
use crate::printable;
use crate::protocol::control_protocol::{Answer, AnswerWord, LONGEST_ANSWER, Request};
use crate::split::cut;
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::message::{self, Credentials, Message, SendWait as Sending};
use crate::sys::process::{self, Reaped};
use crate::sys::receiver::Receiver;
use crate::sys::socket::unix_server as kernel;
use crate::sys::{self, Errno, clock, memory, pidfd, signal, would_block};
use crate::types::{Millis, Pid, Signal, Tick};
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

/// How many boards are taken: main has no more than a few generations.
const MOST_BOARDS: usize = 16;
/// How long the child may take that receives a board, until it has ended.
const LONGEST_RECEIVING: Millis = Millis(2_000);
/// How soon to try again when too many connections wait to be accepted, or when nothing
/// listens.
const AGAIN: Millis = Millis(50);

/// A connection to main.
pub struct ControlConnection {
    fd: Fd,
    /// What has come and is no whole line yet.
    bytes: Vec<u8>,
    /// Copies of boards, in the order of their lines; none for what was refused.
    boards: Vec<Option<Fd>>,
    has_ended: bool,
}

/// Finds main and connects; no connection when it does not listen.
///
/// One that begins has its pid file before its socket, and one that leaves has
/// it for longer: without a socket it is looked for twice.
pub fn reach(
    pid_file: &CStr,
    patience: &Deadline<'_>,
) -> Result<(Found, Option<ControlConnection>), CtlFailure> {
    let found = connect::find(pid_file)?;
    if let Some(connection) = connect(&found, patience)? {
        return Ok((found, Some(connection)));
    }
    let process = found.process.as_ref().map(|process| process.fd.borrow());
    // However short `--timeout` is: what is asked for takes place.
    let pause = Deadline::begin(None, patience.wake);
    pause.wait(process, Some(clock::now().after(AGAIN)))?;
    let found = connect::find(pid_file)?;
    let connection = connect(&found, patience)?;
    Ok((found, connection))
}

/// Connects; `None` when nothing listens, or a process that is not main.
fn connect(
    found: &Found,
    patience: &Deadline<'_>,
) -> Result<Option<ControlConnection>, CtlFailure> {
    let path = &found.socket;
    loop {
        match kernel::connect(path) {
            Ok(fd) if !found.is_main(fd.borrow()) => return Ok(None),
            Ok(fd) => {
                let (bytes, boards) = (Vec::new(), Vec::new());
                return Ok(Some(ControlConnection { fd, bytes, boards, has_ended: false }));
            }
            Err(errno) if would_block(errno) => {
                patience.wait(None, Some(clock::now().after(AGAIN)))?;
            }
            Err(errno) => match errno.0 {
                libc::ENOENT | libc::ECONNREFUSED | libc::ENAMETOOLONG => return Ok(None),
                _ => return Err(CtlFailure::system("connect to", path, errno)),
            },
        }
    }
}

impl ControlConnection {
    pub fn send(&self, request: Request) {
        // A new connection has room for it. One that is closed already has
        // something to read.
        let line = request.line();
        let _ = message::send(self.fd.borrow(), line.as_bytes(), None, Sending::Never);
    }

    /// Waits for a line; `None` when there are no more.
    pub fn line(&mut self, patience: &Deadline<'_>) -> Result<Option<Vec<u8>>, CtlFailure> {
        loop {
            if let Some((line, rest)) = cut(&self.bytes, b'\n')
                && line.len() < LONGEST_ANSWER
            {
                let (line, rest) = (line.to_vec(), rest.to_vec());
                self.bytes = rest;
                return Ok(Some(line));
            }
            if self.bytes.len() >= LONGEST_ANSWER {
                let reason = format_args!("protocol error: reply line too long");
                return Err(CtlFailure::new(Status::Failed, reason));
            }
            if self.has_ended {
                return Ok(None);
            }
            patience.wait(Some(self.fd.borrow()), None)?;
            self.receive(patience)?;
        }
    }

    /// Takes what has come. A process that says that it is main may send a descriptor
    /// that hangs us when we close it: a child receives those, and keeps what is no
    /// board.
    fn receive(&mut self, patience: &Deadline<'_>) -> Result<(), CtlFailure> {
        let fd = self.fd.borrow();
        let message = match message::peek(fd, Credentials::Untold) {
            Ok(head) if head.has_descriptors => receive_boards(fd, patience)?,
            Ok(head) => message::take(fd, head, Credentials::Untold),
            Err(errno) => Err(errno),
        };
        match message {
            Ok(message) => {
                // Of a message with both, which line has lost its board is unknown.
                let is_mixed = message.refused > 0 && !message.descriptors.is_empty();
                self.has_ended = message.bytes.is_empty() || message.cut || is_mixed;
                self.bytes.extend_from_slice(&message.bytes);
                let room = MOST_BOARDS.saturating_sub(self.boards.len());
                let refused = (0..message.refused).map(|_| None);
                let all = message.descriptors.into_iter().map(Some).chain(refused);
                self.boards.extend(all.take(room));
            }
            Err(errno) if would_block(errno) => {}
            Err(_) => self.has_ended = true,
        }
        Ok(())
    }

    /// The boards that have come along, in the order of their lines; none for
    /// something else that came in the place of one.
    pub fn boards(&self) -> impl Iterator<Item = Option<Borrowed<'_>>> {
        self.boards.iter().map(|board| board.as_ref().map(Fd::borrow))
    }
}

/// Has a child receive the first message, with the boards that came with it.
fn receive_boards(
    socket: Borrowed<'_>,
    patience: &Deadline<'_>,
) -> Result<sys::SysResult<Message>, CtlFailure> {
    let blocked = signal::block_all();
    let made = Receiver::begin(socket, memory::is_settled, &blocked);
    drop(blocked);
    let child = match made {
        Ok(child) => child,
        Err(errno) => return Ok(Err(errno)),
    };
    let until = clock::now().after(LONGEST_RECEIVING);
    let message = loop {
        match child.result() {
            Err(errno) if would_block(errno) && clock::now() < until => {
                patience.wait(Some(child.source()), Some(until))?;
            }
            Ok(message) => break message,
            Err(_) => break None,
        }
    };
    // One that hangs over what it was sent is not followed by another one.
    let has_ended = has_ended(child.pid(), patience, until)?;
    Ok(message.filter(|_| has_ended).ok_or(Errno(libc::EIO)))
}

/// Ends a child that has done its work or is late, and reaps it. Says whether that
/// could be done by then.
fn has_ended(child: Pid, patience: &Deadline<'_>, until: Tick) -> Result<bool, CtlFailure> {
    // It is ours until it is reaped.
    let _ = signal::send(child, Signal::Kill);
    let Ok(process) = pidfd::open(child) else {
        // The kernel knows no pidfd, or has no room: it stays a zombie until we leave.
        return Ok(true);
    };
    patience.wait(Some(process.borrow()), Some(until))?;
    Ok(matches!(process::reap(child), Ok(Reaped::Dead(..))))
}

/// Asks for anything but the status, and waits for what comes of it.
pub fn ask(
    asking: &Args,
    mut connection: ControlConnection,
    found: &Found,
    patience: &Deadline<'_>,
) -> Result<(), CtlFailure> {
    connection.send(asking.request);
    if !asking.wait && asking.request != Request::Ready {
        return Ok(());
    }
    let outcome = last_line(&mut connection, patience);
    let is_end = matches!(asking.request, Request::Shutdown | Request::Exit);
    if is_end && found.process.is_some() && matches!(outcome, Ok(LastLine::Silence)) {
        // Main is leaving, or has dropped us before it read the request.
        return signal_fallback::ask(asking, found, patience);
    }
    let is_over = outcome.as_ref().map_or_else(|refused| refused.is_answer, |_| true);
    if is_end && is_over {
        // Where the end of main can be seen that counts: the process that closes the
        // connection for it may hang.
        if found.process.is_none() {
            while connection.line(patience)?.is_some() {}
        }
        found.wait_for_end(patience)?;
    }
    match outcome.map_err(|refused| refused.bad)? {
        LastLine::Done(done) => print(&done),
        LastLine::Cut if is_end && found.process.is_some() => Ok(()),
        LastLine::Cut | LastLine::Silence => {
            let reason = format_args!("main closed the connection without a reply");
            Err(CtlFailure::new(Status::Failed, reason))
        }
    }
}

/// How the answer to a request that main has not refused ended.
enum LastLine {
    /// With `done`, and this.
    Done(String),
    /// Without a last line.
    Cut,
    /// Without any line.
    Silence,
}

/// An answer that is not `done`.
struct Refused {
    bad: CtlFailure,
    /// Whether main has tried: not when it refused, or when we cannot wait.
    is_answer: bool,
}

/// Shows the progress, and waits for the last line, or for the end of the connection.
fn last_line(
    connection: &mut ControlConnection,
    patience: &Deadline<'_>,
) -> Result<LastLine, Refused> {
    let refused = |bad, is_answer| Refused { bad, is_answer };
    let mut end = LastLine::Silence;
    loop {
        let line = connection.line(patience).map_err(|bad| refused(bad, false))?;
        let Some(line) = line else { return Ok(end) };
        end = LastLine::Cut;
        match Answer::parse(&line) {
            Answer::Says(AnswerWord::Progress, text) => tell(text),
            Answer::Says(AnswerWord::Done, text) => {
                let mut line = printable::shown(text);
                line.push('\n');
                return Ok(LastLine::Done(line));
            }
            Answer::Says(word @ (AnswerWord::Failed | AnswerWord::Refused), text) => {
                let reason = printable::lossy(text);
                let bad = CtlFailure { status: Status::Failed, reason };
                return Err(refused(bad, word == AnswerWord::Failed));
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

    /// Waits until main is gone, if its pid is known.
    pub fn wait_for_end(&self, patience: &Deadline<'_>) -> Result<(), CtlFailure> {
        match &self.process {
            Some(process) => patience.wait(Some(process.fd.borrow()), None),
            None => Ok(()),
        }
    }
}

#[cfg(any(test, feature = "internals"))]
#[path = "../../tests/fuzz/reply.rs"]
pub mod fuzz_reply;
