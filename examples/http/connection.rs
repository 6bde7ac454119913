//! One client: its phase, and the deadline of that.
//!
//! It never blocks. The server's loop calls it when the socket is ready or a deadline has
//! passed; everything else follows from the [`Phase`].
//!
//! How no answer is lost at the end of a connection: closing a socket with unread bytes
//! resets it, and a reset destroys what the peer has not read yet. So after the last answer
//! only the sending direction is shut down, and all further input is read and thrown away
//! until the peer has hung up too.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;

use panzer::{Borrowed, Context, Millis, Tick};

use crate::request::{self, Parsed, Refusal, Request};

/// How long an idle connection is kept, as every answer promises.
const KEEP_ALIVE: Millis = Millis(5_000);
/// How long a head may take, a body may pause, and an answer may wait.
const PATIENCE: Millis = Millis(30_000);
/// How long the peer may take to hang up after the last answer.
const LINGER: Millis = Millis(1_000);

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for the first byte of a request.
    Idle,
    /// Reading a head.
    Head,
    /// Reading a body, of which so many bytes are missing.
    Body { request: Request, missing: u64 },
    /// Working on a request; the answer is due at the deadline.
    InHand(Request),
    /// Sending an answer.
    Answering { is_last: bool },
    /// The last answer is sent; waiting for the peer to hang up.
    Lingering,
    /// Closed.
    Closed,
}

/// What a connection needs of its worker.
pub struct Moment<'a> {
    /// The worker's context.
    pub ctx: &'a mut Context,
    /// The time, the same for a whole round of the loop.
    pub now: Tick,
    /// How long the handler takes.
    pub delay: Millis,
}

/// One client.
pub struct Connection {
    stream: TcpStream,
    phase: Phase,
    /// The deadline of the phase.
    until: Tick,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Connection {
    /// A connection from an accepted stream; `None` if that is dead.
    pub fn new(connection: panzer::Connection, now: Tick) -> Option<Self> {
        // std's calls are those of any stream socket, so this type works for Unix sockets as
        // well, which only have no TCP_NODELAY.
        let stream = TcpStream::from(connection);
        stream.set_nonblocking(true).ok()?;
        let _ = stream.set_nodelay(true);
        let (input, output) = (Vec::new(), Vec::new());
        Some(Self { stream, phase: Phase::Idle, until: now.after(KEEP_ALIVE), input, output })
    }

    /// What to wait for: the socket, and whether to read or to write. While a request is in
    /// progress it is neither, and ready means that the peer is gone.
    pub fn interest(&self) -> (Borrowed<'_>, bool, bool) {
        let is_answering = matches!(self.phase, Phase::Answering { .. });
        (self.stream.as_fd().into(), self.is_reading(), is_answering)
    }

    /// Whether to read more input: not while it still holds an earlier request, so that a
    /// client cannot fill the memory by sending faster than it is answered.
    const fn is_reading(&self) -> bool {
        match self.phase {
            Phase::Idle => self.input.is_empty(),
            Phase::Head | Phase::Body { .. } | Phase::Lingering => true,
            Phase::InHand(_) | Phase::Answering { .. } | Phase::Closed => false,
        }
    }

    /// When to call [`Connection::expire`]; from `limit` on a drain does not wait for requests.
    pub fn due(&self, limit: Option<Tick>) -> Tick {
        match (self.phase, limit) {
            (Phase::Idle | Phase::Head | Phase::Body { .. }, Some(limit)) => self.until.min(limit),
            (Phase::Idle | Phase::Head | Phase::Body { .. }, None)
            | (Phase::InHand(_) | Phase::Answering { .. } | Phase::Lingering | Phase::Closed, _) => {
                self.until
            }
        }
    }

    /// Whether a request is being worked on or answered.
    pub const fn is_in_hand(&self) -> bool {
        matches!(self.phase, Phase::InHand(_) | Phase::Answering { .. })
    }

    /// Whether it is closed and can be dropped.
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The socket is ready for [`Connection::interest`].
    pub fn proceed(&mut self, moment: &mut Moment<'_>) {
        if self.is_reading() && self.receive().is_err() {
            self.phase = Phase::Closed;
        }
        if matches!(self.phase, Phase::InHand(_)) {
            self.finish(moment, Phase::Closed);
        }
        self.advance(moment);
    }

    /// The deadline has passed.
    pub fn expire(&mut self, moment: &mut Moment<'_>) {
        match self.phase {
            // A request that arrived at the last moment is served.
            Phase::Idle => match self.has_more() {
                Ok(true) => {}
                Ok(false) => self.hang_up(moment.now),
                Err(Gone) => self.phase = Phase::Closed,
            },
            Phase::Head | Phase::Body { .. } => self.refuse(Refusal::Late, moment),
            Phase::InHand(request) => self.answer(request, moment),
            Phase::Answering { .. } => self.finish(moment, Phase::Closed),
            Phase::Lingering | Phase::Closed => self.phase = Phase::Closed,
        }
        self.advance(moment);
    }

    /// Goes on as far as the received bytes allow, and at most to the end of one answer, so
    /// that a client with many requests does not delay the others.
    fn advance(&mut self, moment: &mut Moment<'_>) {
        if matches!(self.phase, Phase::Idle | Phase::Head) {
            self.take_head(moment);
        }
        if let Phase::Body { request, missing } = self.phase {
            self.take_body(request, missing, moment);
        }
        if let Phase::Answering { is_last } = self.phase {
            self.send(is_last, moment);
        }
        if self.phase == Phase::Lingering {
            self.input.clear();
        }
    }

    /// Reads once; an error if the peer is gone or has closed its side.
    fn receive(&mut self) -> Result<(), Gone> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(Gone),
            Ok(length) => {
                self.input.extend_from_slice(&bytes[..length]);
                Ok(())
            }
            Err(error) if is_passing(&error) => Ok(()),
            Err(_) => Err(Gone),
        }
    }

    /// Looks for a whole head in the input.
    fn take_head(&mut self, moment: &mut Moment<'_>) {
        match request::parse(&self.input) {
            Parsed::Partial if self.input.is_empty() || self.phase == Phase::Head => {}
            Parsed::Partial => self.enter(Phase::Head, moment.now.after(PATIENCE)),
            Parsed::Complete(request, length) => {
                self.input.drain(..length);
                let phase = Phase::Body { request, missing: request.body };
                self.enter(phase, moment.now.after(PATIENCE));
            }
            Parsed::Refused(refusal) => self.refuse(refusal, moment),
        }
    }

    /// Throws away the received part of a body, which is not needed.
    fn take_body(&mut self, request: Request, missing: u64, moment: &mut Moment<'_>) {
        let here = self.input.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
        self.input.drain(..here);
        match missing - here as u64 {
            0 => {
                moment.ctx.busy();
                self.enter(Phase::InHand(request), moment.now.after(moment.delay));
                if moment.delay == Millis(0) {
                    self.answer(request, moment);
                }
            }
            _ if here == 0 => {}
            missing => self.enter(Phase::Body { request, missing }, moment.now.after(PATIENCE)),
        }
    }

    /// Writes the answer.
    fn answer(&mut self, request: Request, moment: &mut Moment<'_>) {
        let (generation, slot) = (moment.ctx.generation(), moment.ctx.slot());
        let body = format!("gen={generation} slot={slot} pid={}\n", std::process::id());
        // In the drain the last received request gets the last answer. A client that has only
        // closed its own side still gets its answer.
        let is_last =
            !request.keep_alive || (moment.ctx.is_stopping() && !self.has_more().unwrap_or(false));
        self.respond(
            "200 OK",
            if request.is_head { None } else { Some(&body) },
            body.len(),
            is_last,
        );
        self.enter(Phase::Answering { is_last }, moment.now.after(PATIENCE));
    }

    /// Writes an error as the last answer.
    fn refuse(&mut self, refusal: Refusal, moment: &mut Moment<'_>) {
        moment.ctx.busy();
        let body = format!("{}\n", refusal.status());
        self.input.clear();
        self.respond(refusal.status(), Some(&body), body.len(), true);
        self.enter(Phase::Answering { is_last: true }, moment.now.after(PATIENCE));
    }

    /// Whether part of another request has arrived.
    fn has_more(&mut self) -> Result<bool, Gone> {
        if self.input.is_empty() {
            self.receive()?;
        }
        Ok(!self.input.is_empty())
    }

    /// Puts an answer into the output; `length` is the body's, sent or not.
    fn respond(&mut self, status: &str, body: Option<&str>, length: usize, is_last: bool) {
        let goes_on = if is_last {
            "Connection: close\r\n".into()
        } else {
            format!("Connection: keep-alive\r\nKeep-Alive: timeout={}\r\n", KEEP_ALIVE.0 / 1_000)
        };
        let mut text = String::new();
        let _ = write!(
            text,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{goes_on}\r\n{}",
            body.unwrap_or_default()
        );
        self.output = text.into_bytes();
    }

    /// Sends as much of the answer as possible, and continues after its end.
    fn send(&mut self, is_last: bool, moment: &mut Moment<'_>) {
        match self.stream.write(&self.output) {
            Ok(length) => drop(self.output.drain(..length)),
            Err(error) if is_passing(&error) => return,
            Err(_) => return self.finish(moment, Phase::Closed),
        }
        if self.output.is_empty() {
            self.finish(moment, Phase::Idle);
            if is_last {
                self.hang_up(moment.now);
            } else if !self.input.is_empty() {
                // The next request has arrived already: it is served in the next round.
                self.until = moment.now;
            }
        }
    }

    /// The request is finished.
    fn finish(&mut self, moment: &mut Moment<'_>, phase: Phase) {
        // Another connection may have reported idle for both; reporting busy again is cheap, and
        // each request is counted.
        moment.ctx.busy();
        moment.ctx.idle();
        self.enter(phase, moment.now.after(KEEP_ALIVE));
    }

    /// Closes the sending direction, and waits for the peer to do the same.
    fn hang_up(&mut self, now: Tick) {
        match self.stream.shutdown(Shutdown::Write) {
            Ok(()) => self.enter(Phase::Lingering, now.after(LINGER)),
            Err(_) => self.phase = Phase::Closed,
        }
    }

    const fn enter(&mut self, phase: Phase, until: Tick) {
        self.phase = phase;
        self.until = until;
    }
}

/// The peer is gone, or has closed its side.
struct Gone;

/// Whether the call can be repeated when the socket is ready.
fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
