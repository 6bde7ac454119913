//! What main hears of its generations: over their notify sockets, by SIGVTALRM,
//! and from the fate of an exec.
//!
//! All of it is a claim. Each generation has a notify socket of its own, so the socket
//! tells which generation speaks, and each is bounded: a full queue is read once a
//! turn, and what is not understood is dropped.

use super::{MainProcess, TurnSignals};
use crate::main_process::complaints::About;
use crate::main_process::listener_store::{Kept, Origin};
use crate::main_process::supervisor::Event;
use crate::printable::Quoted;
use crate::protocol::event_lines::{EventLine, EventName};
use crate::protocol::fdnames;
use crate::protocol::sd_notify::{self, News, Notice, Store};
use crate::shared::inbox::Received;
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::message::{MOST_BYTES, Message};
use crate::sys::process;
use crate::sys::socket::{self, SocketKind};
use crate::text::Plural;
use crate::types::{Generation, Level};
use crate::{log, printable};
use alloc::vec::Vec;

/// The most datagrams of one generation that are read in one turn.
const MOST: usize = 256;
/// A datagram counts as one more for each so many bytes: about eight lines of news.
const SHORT: usize = 256;
// What the kernel's queue holds by default is read before a death is acted on: unix(7).
const _: () = assert!(11 * (1 + MOST_BYTES / SHORT) <= MOST);

impl MainProcess {
    /// Reads what every generation has said.
    pub(super) fn take_notifications(&mut self, signals: &mut TurnSignals<'_>) {
        // What is received removes no entry, and a new one is added at the end.
        for place in 0..self.generations.count() {
            self.take_from(place, signals);
        }
        for place in 0..self.generations.count() {
            if let Some(generation) = self.generations.poll_exec_status(place) {
                self.step(Event::Runs { generation });
            }
        }
    }

    fn take_from(&mut self, place: usize, signals: &mut TurnSignals<'_>) {
        let mut count = 0;
        while count < MOST {
            count += 1;
            let accept = if self.closing.is_full() { |_: Borrowed<'_>| false } else { is_listener };
            let Some((generation, user, received)) =
                self.generations.next_message(place, self.now, accept)
            else {
                return;
            };
            match received {
                Received::Nothing => return,
                Received::Message(message) => {
                    count += message.bytes.len() / SHORT;
                    self.act_on_message(generation, user, message, signals);
                }
                Received::ReceiverHangs(pid) => self.reporter.complaints.complain(
                    About::Hangs,
                    format_args!(
                        "generation {generation}: closing a descriptor sent to its \
                         NOTIFY_SOCKET hangs, no longer waiting for child {pid}"
                    ),
                    self.now,
                ),
                Received::Failed(errno) => self.reporter.complaints.complain(
                    About::Failures,
                    format_args!(
                        "generation {generation}: cannot receive from its NOTIFY_SOCKET: \
                         {errno}"
                    ),
                    self.now,
                ),
            }
        }
    }

    /// Takes in a message to a generation that runs as `user`.
    fn act_on_message(
        &mut self,
        generation: Generation,
        user: u32,
        message: Message,
        signals: &mut TurnSignals<'_>,
    ) {
        let Message { bytes, sender, descriptors, refused, cut } = message;
        let trusted =
            sender.is_some_and(|sender| [0, process::user(), user].contains(&sender.user));
        if cut || !trusted {
            let reason = if cut { "too large" } else { "sent by another user" };
            self.reporter.complaints.complain(
                About::Messages,
                format_args!(
                    "generation {generation}: ignored a message to its NOTIFY_SOCKET: {reason}"
                ),
                self.now,
            );
            return self.closing.close_each(descriptors);
        }
        let notice = sd_notify::parse(&bytes);
        // What comes with other messages is to be closed, which it is.
        if let (Store::Keep(name), 1..) = (notice.store, refused) {
            self.note_refused(generation, name, refused);
        }
        self.keep(generation, &notice, descriptors);
        self.note_news(generation, &bytes);
        self.note(generation, &notice);
        // Only its monitor knows that: a worker that has found the socket speaks for
        // itself.
        let pid = sender.and_then(|sender| sender.pid);
        if notice.stopping && self.generations.is_monitor(generation, pid) {
            self.look_for_stop(signals);
            self.step(Event::MonitorStopping { generation });
        }
        if notice.ready {
            self.step(Event::Ready { generation });
        }
    }

    /// Descriptors for the store were closed by the child that received them.
    fn note_refused(&mut self, generation: Generation, name: &[u8], refused: u32) {
        let name = fdnames::unescape(name);
        let (name, refused) = (Quoted(&name), Plural(refused.into(), "descriptor"));
        let reason = match self.closing.is_full() {
            true => "too many descriptors wait to be closed",
            false => "not a listening socket",
        };
        self.reporter.complaints.complain(
            About::Descriptors,
            format_args!("generation {generation}: refused FDSTORE {name}: {reason} ({refused})"),
            self.now,
        );
    }

    /// The store's part of a message. Whatever it does not keep it closes.
    fn keep(&mut self, generation: Generation, notice: &Notice<'_>, descriptors: Vec<Fd>) {
        match notice.store {
            Store::Nothing => self.closing.close_each(descriptors),
            Store::Remove(name) => {
                self.listeners.give_back(name, generation);
                self.closing.close_each(descriptors);
            }
            Store::Keep(name) => {
                for fd in descriptors {
                    self.keep_one(generation, name, fd);
                }
            }
        }
    }

    fn keep_one(&mut self, generation: Generation, name: &[u8], fd: Fd) {
        if self.listeners.is_closed {
            return self.closing.close_shared(fd);
        }
        let user = self.generations.get(generation).map_or(0, |running| running.user_id);
        let is_ours = user == 0 || user == process::user();
        let carried = printable::lossy(name);
        // Not escaped: the log and the events do that, each in its own way.
        let name = printable::lossy(&fdnames::unescape(name));
        match self.listeners.keep(fd, carried, Origin::Stored(generation), is_ours) {
            Ok(Kept::Anew) => {
                let shown = Quoted(name.as_bytes());
                log::log(
                    Level::Debug,
                    format_args!("generation {generation}: stored socket {shown}"),
                );
                let stored = EventLine::about(EventName::Stored, generation);
                self.reporter.event(&EventLine { reason: Some(&name), ..stored });
            }
            Ok(Kept::Known(fd)) => self.closing.close_shared(fd),
            Err((fd, what)) => {
                let name = Quoted(name.as_bytes());
                self.reporter.complaints.complain(
                    About::Descriptors,
                    format_args!("generation {generation}: refused FDSTORE {name}: {what}"),
                    self.now,
                );
                self.closing.close_shared(fd);
            }
        }
    }

    /// The news of a message: for the events, and for those who wait.
    fn note_news(&mut self, generation: Generation, message: &[u8]) {
        let mut lost = None;
        for news in sd_notify::news(message) {
            match news {
                News::Scaled { count } => {
                    if generation == self.generations.current() {
                        self.control.settle_scale(count);
                    }
                }
                News::Lost { slot, pid, reason } => {
                    let reason = printable::lossy(reason);
                    let (kind, worker) = (EventName::Died, (slot, pid));
                    self.reporter.worker_event(kind, generation, worker, Some(&reason));
                    lost = Some((slot, reason));
                }
                News::Unusable { status, reason } => {
                    if self.options.exec()
                        && let Some(running) = self.generations.get_mut(generation)
                    {
                        running.note_unusable(status, reason);
                    }
                }
                News::Respawned { slot, pid } => {
                    self.reporter.worker_event(EventName::Respawn, generation, (slot, pid), None);
                }
            }
        }
        if let Some((slot, reason)) = lost {
            self.generations.note_loss(generation, slot, &reason);
        }
    }

    /// What else it says, for the log and the status.
    fn note(&mut self, generation: Generation, notice: &Notice<'_>) {
        if notice.stopping {
            self.reporter.complaints.complain(
                About::Claims,
                format_args!("generation {generation}: sent STOPPING=1"),
                self.now,
            );
        }
        if let (Some(status), Some(running)) = (notice.status, self.generations.get_mut(generation))
        {
            running.status = Some(printable::lossy(status));
        }
    }
}

/// Whether a descriptor may be stored. Runs in the child that receives it, which
/// takes off the linger too: main closes what it does not keep.
fn is_listener(fd: Borrowed<'_>) -> bool {
    let is_listener = socket::kind(fd) != SocketKind::Other;
    if is_listener {
        socket::never_linger(fd);
    }
    is_listener
}
