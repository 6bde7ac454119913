//! A datagram socket that strangers write to, read so that none of them can hang or
//! starve the process that reads it.
//!
//! ```text
//! empty ──peek──► no descriptors: taken, given to the caller
//!    ▲            descriptors: a child receives ──answer──► given to the caller
//!    │                             │                            │
//!    ├─────────────── reaped ◄─────┴──── reaped ◄───────────────┤
//!    └──── left: SIGKILL at the deadline, and the socket goes on without it
//! ```
//!
//! Closing a stranger's descriptor can take for ever, beyond SIGKILL. So the
//! caller never has one: a child receives it, hands back what the caller accepts,
//! and ends with the rest. There is one child a socket at a time; what was sent
//! after its message waits, so that the order stays. One that hangs is left, at
//! most [`MOST_LEFT`] of them a socket: then its messages with descriptors wait
//! until one of them has ended.
//!
//! How to use it: add [`Inbox::source`] to what you wait for and
//! [`Inbox::deadline`] to your deadlines; tell [`Inbox::note_death`] of every
//! child that you reap (you have to reap all of them); and once a turn ask
//! [`Inbox::next`] until it says [`Received::Nothing`], but no more than a few dozen
//! times, so that others have their turn. Before you act on the death of the
//! sender, ask [`Inbox::is_settled`]. The socket needs `SO_PASSCRED`. Where no
//! descriptor is ever wanted, accept `|_| false`; `BARRIER=1` works all the same,
//! for the child closes what came with it. Let go of the socket by
//! [`Inbox::close`].

use crate::persist::persisted;
use crate::shared::closer::Closing;
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::message::{self, Credentials, Message, Sender};
use crate::sys::poll::Source;
use crate::sys::receiver::Receiver;
use crate::sys::{Errno, signal, would_block};
use crate::types::{Millis, Pid, Signal, Tick};
use alloc::vec::Vec;

/// How long a child may take to receive a message and to end.
const PATIENCE: Millis = Millis(1_000);
/// How long one that was sent SIGKILL may take: a process that runs has ended
/// by then, and one that hangs will never read from the socket again.
const GRACE: Millis = Millis(200);
/// How long the socket is left alone when no child can be made.
const PAUSE: Millis = Millis(200);
/// How many children of one socket may hang at the same time.
pub const MOST_LEFT: usize = 4;

/// The socket, and the child that receives from it.
#[derive(Debug)]
pub struct Inbox {
    socket: Fd,
    receiving: Option<Receiving>,
    /// Children that hang and were not reaped yet.
    left: Vec<Pid>,
    /// Nothing is read until then.
    pause: Option<Tick>,
    /// Until when the death of the sender waits for a child.
    settled_at: Option<Tick>,
}

/// A child at work.
#[derive(Debug)]
struct Receiving {
    child: Receiver,
    sender: Option<Sender>,
    step: Progress,
    due: Tick,
    is_reaped: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It has not answered.
    Receiving,
    /// It has answered and has not ended.
    Ending,
    /// It was sent SIGKILL.
    Killed,
}

persisted! { struct Inbox { socket, receiving, left, pause, settled_at } }
persisted! { struct Receiving { child, sender, step, due, is_reaped } }
persisted! { enum Progress { 0 = Receiving, 1 = Ending, 2 = Killed } }

/// What is next.
#[derive(Debug)]
pub enum Received {
    /// Nothing that can be had now.
    Nothing,
    /// This message. Its descriptors are those that were accepted.
    Message(Message),
    /// A message is lost: this child, which received it, hangs. It is not waited for
    /// any longer.
    ReceiverHangs(Pid),
    /// A message could not be received, which is tried again where it can be.
    Failed(Errno),
}

impl Inbox {
    /// Reads from `socket`, a bound one that tells the sender (`SO_PASSCRED`).
    pub const fn new(socket: Fd) -> Self {
        Self { socket, receiving: None, left: Vec::new(), pause: None, settled_at: None }
    }

    /// The socket itself, to be waited for in place of [`Inbox::source`] while the inbox
    /// [is at rest](Inbox::is_at_rest).
    pub const fn socket(&self) -> Borrowed<'_> {
        self.socket.borrow()
    }

    /// Whether no child is at work or left, and nothing is put off: then it has no
    /// deadline, no death is of interest, and there is nothing to ask
    /// [`Inbox::next`] for but what the socket has.
    pub const fn is_at_rest(&self) -> bool {
        self.receiving.is_none()
            && self.left.is_empty()
            && self.pause.is_none()
            && self.settled_at.is_none()
    }

    /// What to wait for, if anything can be read before [`Inbox::deadline`] or
    /// the end of a child.
    pub fn source(&self) -> Option<Source<'_>> {
        match &self.receiving {
            Some(at_work) if at_work.step == Progress::Ending || at_work.is_reaped => None,
            Some(at_work) => Some(Source::readable(at_work.child.source())),
            None if self.pause.is_some() => None,
            None => Some(Source::readable(self.socket.borrow())),
        }
    }

    /// When [`Inbox::next`] has something to do at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        let due = self.receiving.as_ref().map(|at_work| match at_work.is_reaped {
            true => Tick(0),
            false => at_work.due,
        });
        let all = due.into_iter().chain(self.settled_at).chain(self.pause);
        all.filter(|due| *due != Tick::NEVER).min()
    }

    /// A child of ours was reaped; perhaps one of this socket.
    pub fn note_death(&mut self, pid: Pid) {
        if let Some(at_work) =
            self.receiving.as_mut().filter(|receiving| receiving.child.pid() == pid)
        {
            at_work.is_reaped = true;
        }
        if self.left.contains(&pid) {
            self.left.retain(|left| *left != pid);
            self.pause = None;
        }
    }

    /// Whether all that was sent before a death was heard: nothing waits and no child
    /// is at work, or so long has passed since this was first asked that it waits no
    /// longer. Ask once a turn until it says so.
    pub fn is_settled(&mut self, now: Tick) -> bool {
        let end = *self.settled_at.get_or_insert(now.after(PATIENCE));
        let is_settled = end <= now || self.receiving.is_none() && self.is_empty();
        if is_settled {
            self.settled_at = None;
        }
        is_settled
    }

    fn is_empty(&self) -> bool {
        message::peek(self.socket.borrow(), Credentials::Told).is_err()
    }

    /// What is next, without waiting. `accept` says in a child which descriptors
    /// are wanted, and has to be one that [`Receiver::begin`] can do with.
    pub fn next(&mut self, now: Tick, accept: fn(Borrowed<'_>) -> bool) -> Received {
        if let Some(next) = self.look_at_child(now) {
            return next;
        }
        self.pause = self.pause.filter(|pause| *pause > now);
        if self.receiving.is_some() || self.pause.is_some() {
            return Received::Nothing;
        }
        let head = match message::peek(self.socket.borrow(), Credentials::Told) {
            Ok(head) => head,
            Err(errno) if would_block(errno) => return Received::Nothing,
            Err(errno) => return Received::Failed(errno),
        };
        if !head.has_descriptors {
            return match message::take(self.socket.borrow(), head, Credentials::Told) {
                Ok(message) => Received::Message(message),
                Err(errno) if would_block(errno) => Received::Nothing,
                Err(errno) => Received::Failed(errno),
            };
        }
        if self.left.len() >= MOST_LEFT {
            // Until one of them has ended.
            self.pause = Some(Tick::NEVER);
            return Received::Nothing;
        }
        let blocked = signal::block_all();
        match Receiver::begin(self.socket.borrow(), accept, &blocked) {
            Ok(child) => {
                let (step, due) = (Progress::Receiving, now.after(PATIENCE));
                let sender = head.sender;
                self.receiving = Some(Receiving { child, sender, step, due, is_reaped: false });
                Received::Nothing
            }
            Err(errno) => {
                self.pause = Some(now.after(PAUSE));
                Received::Failed(errno)
            }
        }
    }

    /// Sees to the child; says what is next if that comes of it.
    fn look_at_child(&mut self, now: Tick) -> Option<Received> {
        let at_work = self.receiving.as_mut()?;
        if at_work.step != Progress::Ending {
            match at_work.child.result() {
                Ok(Some(received)) => {
                    at_work.step = Progress::Ending;
                    let sender = at_work.sender;
                    if at_work.is_reaped {
                        self.receiving = None;
                    }
                    return Some(Received::Message(Message { sender, ..received }));
                }
                // It ends without a word. The message may still be there.
                Ok(None) => {
                    let was_killed = at_work.step == Progress::Killed;
                    at_work.step = Progress::Ending;
                    self.pause = Some(now.after(PAUSE));
                    let errno = if was_killed { libc::ETIMEDOUT } else { libc::EIO };
                    return Some(Received::Failed(Errno(errno)));
                }
                Err(errno) if would_block(errno) => {}
                Err(errno) => {
                    at_work.step = Progress::Ending;
                    self.pause = Some(now.after(PAUSE));
                    return Some(Received::Failed(errno));
                }
            }
        }
        if at_work.is_reaped {
            self.receiving = None;
        } else if at_work.due <= now {
            return self.give_up(now);
        }
        None
    }

    /// The child's time is over.
    fn give_up(&mut self, now: Tick) -> Option<Received> {
        let at_work = self.receiving.as_mut()?;
        let pid = at_work.child.pid();
        if at_work.step == Progress::Receiving {
            // It is ours until it is reaped. What is at fault is told below.
            let _ = signal::send(pid, Signal::Kill);
            (at_work.step, at_work.due) = (Progress::Killed, now.after(GRACE));
            return None;
        }
        self.left.push(pid);
        // Nothing stands in its way back: that was read, or it was killed long ago.
        self.receiving = None;
        Some(Received::ReceiverHangs(pid))
    }

    /// Gives up reading. A child at work is left alone. What it has handed back, or
    /// will, may hang its closer, as what waits in the socket may.
    pub fn close(self, closing: &mut Closing) {
        if let Some(at_work) = self.receiving {
            closing.close_inbox(at_work.child.into_way_back(), Credentials::Untold);
        }
        closing.close_inbox(self.socket, Credentials::Told);
    }
}
