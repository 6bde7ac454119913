//! One client: what it is in the middle of, and until when.
//!
//! Never blocks. The server's loop says when the socket is ready and when time
//! is up; everything else follows from the [`Phase`].
//!
//! How no answer is lost when the connection ends: closing a socket that has
//! unread bytes resets it, and a reset destroys what the peer has not read yet.
//! So after the last answer only our direction is shut, and the rest is read
//! and thrown away until the peer has hung up too.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;

use panzer::{Borrowed, Context, Millis, Tick};

use crate::request::{self, Parsed, Refusal, Request};

/// How long an idle connection is kept; every answer promises it.
const KEEP_ALIVE: Millis = Millis(5_000);
/// How long a head may take, a body may pause, and an answer may wait.
const PATIENCE: Millis = Millis(30_000);
/// How long the peer may take to hang up after the last answer.
const LINGER: Millis = Millis(1_000);

/// What a connection is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for a request of which nothing is here.
    Idle,
    /// Reading a head.
    Head,
    /// Reading a body, of which so much is missing.
    Body { request: Request, missing: u64 },
    /// Working on a request; the answer is due when time is up.
    InHand(Request),
    /// Sending an answer.
    Answering { is_last: bool },
    /// All is said; waiting for the peer to hang up.
    Lingering,
    /// Over.
    Closed,
}

/// What a connection may know of the worker that serves it.
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
    /// When the phase is over, whatever has happened.
    until: Tick,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Connection {
    /// Takes over a stream that was accepted just now; `None` if it is dead.
    pub fn new(connection: panzer::Connection, now: Tick) -> Option<Self> {
        // std's stream calls are those of any stream socket, so this type does
        // for Unix sockets as well. They know no delay that could be turned off.
        let stream = TcpStream::from(connection);
        stream.set_nonblocking(true).ok()?;
        let _ = stream.set_nodelay(true);
        let (input, output) = (Vec::new(), Vec::new());
        Some(Self { stream, phase: Phase::Idle, until: now.after(KEEP_ALIVE), input, output })
    }

    /// What to wait for: the socket, and whether to read or to write. While a
    /// request is in hand it is neither, and ready means that the peer is gone.
    pub fn interest(&self) -> (Borrowed<'_>, bool, bool) {
        let is_answering = matches!(self.phase, Phase::Answering { .. });
        (self.stream.as_fd().into(), self.is_reading(), is_answering)
    }

    /// Whether more input is wanted: not while an earlier request waits in it,
    /// so that nobody can fill our memory by asking faster than we answer.
    const fn is_reading(&self) -> bool {
        match self.phase {
            Phase::Idle => self.input.is_empty(),
            Phase::Head | Phase::Body { .. } | Phase::Lingering => true,
            Phase::InHand(_) | Phase::Answering { .. } | Phase::Closed => false,
        }
    }

    /// When to call [`Connection::expire`]; `limit` is when a drain must not
    /// wait for requests any longer.
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

    /// Whether it is over; then drop it.
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The socket is ready for what [`Connection::interest`] named.
    pub fn proceed(&mut self, moment: &mut Moment<'_>) {
        if self.is_reading() && self.receive().is_err() {
            self.phase = Phase::Closed;
        }
        if matches!(self.phase, Phase::InHand(_)) {
            self.finish(moment, Phase::Closed);
        }
        self.advance(moment);
    }

    /// Time is up.
    pub fn expire(&mut self, moment: &mut Moment<'_>) {
        match self.phase {
            // What arrived in the last moment is a request, and not too late.
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

    /// Goes on as far as the bytes that are here allow, and at most to the end
    /// of one answer: who asks for many at once waits for the others between.
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

    /// Reads once; an error when the peer is gone or has said everything.
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

    /// Looks for a whole head in what has arrived.
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

    /// Throws away what has arrived of a body; nobody here wants it.
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

    /// Writes the answer that everybody gets.
    fn answer(&mut self, request: Request, moment: &mut Moment<'_>) {
        let (generation, slot) = (moment.ctx.generation(), moment.ctx.slot());
        let body = format!("gen={generation} slot={slot} pid={}\n", std::process::id());
        // In the drain the last request that is here gets the last answer. The
        // end of the input is not the end of the answer: half a hang-up is none.
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

    /// Writes that there will be no other answer, and why.
    fn refuse(&mut self, refusal: Refusal, moment: &mut Moment<'_>) {
        moment.ctx.busy();
        let body = format!("{}\n", refusal.status());
        self.input.clear();
        self.respond(refusal.status(), Some(&body), body.len(), true);
        self.enter(Phase::Answering { is_last: true }, moment.now.after(PATIENCE));
    }

    /// Whether anything of another request has arrived.
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

    /// Sends what it can of the answer, and goes on behind it.
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
                // The next request is here already: its turn is the next round.
                self.until = moment.now;
            }
        }
    }

    /// The request in hand is done with.
    fn finish(&mut self, moment: &mut Moment<'_>, phase: Phase) {
        // Another one that was in hand may have said idle for both; saying busy
        // again costs nothing otherwise, and lets each be counted.
        moment.ctx.busy();
        moment.ctx.idle();
        self.enter(phase, moment.now.after(KEEP_ALIVE));
    }

    /// Says that nothing more will come, and waits for the peer to do the same.
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

/// The peer is gone, or has said everything.
struct Gone;

/// Whether a call may just be made again when the socket is ready.
fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
