//! What runs, as records for a client that asks over the control socket.
//!
//! No process is asked for it: the workers stand on the boards, of which copies go
//! along. So a monitor that hangs, or is stopped, holds up no answer.

use crate::main_process::control::Control;
use crate::main_process::control_socket::ClientIndex;
use crate::main_process::generation::RunningGeneration;
use crate::main_process::generations::Generations;
use crate::main_process::listener_store::{ListenerInfo, Listeners, Origin as Source};
use crate::main_process::supervisor::Supervisor;
use crate::protocol::address::{Address, Bind};
use crate::protocol::control_protocol::AnswerWord;
use crate::protocol::fdnames;
use crate::protocol::status_records::{self, Life, Listener, Origin, RecordText};
use crate::shared::listening_socket::address_of;
use crate::sys::fd::Fd;
use crate::sys::socket::unix_server as kernel;
use crate::text::{self, Plural};
use crate::types::Stage;
use alloc::string::String;

/// How much is gathered before it is sent.
const ENOUGH: usize = 4_096;
/// How much of a path is told; a line has room for a name too.
const LONGEST_PATH: usize = 600;

/// A reply that is being written.
pub(super) struct StatusReply<'a> {
    pub control: &'a mut Control,
    pub client: ClientIndex,
    /// What was not sent yet.
    pub text: String,
}

impl StatusReply<'_> {
    /// Begins with main itself.
    pub fn add_main(&mut self, main: &status_records::Main<'_>) {
        main.write(&mut self.text);
    }

    /// Says that nothing serves, where that is so.
    pub fn add_outage(&mut self, generations: &Generations, supervisor: &Supervisor) {
        if generations.has_ready_worker(supervisor) {
            return;
        }
        let reason = match supervisor.is_stopping() {
            true => Some(String::from("main is stopping")),
            false => generations.last_loss().or_else(|| self.control.last_failure()),
        };
        let reason = reason.as_ref().map(|reason| RecordText::Borrowed(reason.as_bytes()));
        status_records::Outage { due: supervisor.next_start(), why: reason }.write(&mut self.text);
    }

    pub fn add_reload(&mut self) {
        let Some(last) = self.control.last_reload() else { return };
        let reason = last.reason.as_ref().map(|reason| RecordText::Borrowed(reason.as_bytes()));
        let (generation, outcome, at) = (last.generation, last.outcome, last.at);
        status_records::Reload { generation, outcome, at, why: reason }.write(&mut self.text);
    }

    pub fn add_listeners(&mut self, listeners: &Listeners) {
        for kept in listeners.each() {
            add_listener(&kept, &mut self.text);
            if self.text.len() >= ENOUGH {
                self.send(None);
            }
        }
    }

    pub fn add_generations(&mut self, generations: &Generations, supervisor: &Supervisor) {
        for running in generations.iter() {
            let Some(stage) = supervisor.stage_of(running.generation) else { continue };
            let header = running.board.header();
            let board = header.and_then(|header| running.board.snapshot(header.rows).ok());
            if board.is_some() {
                // The copy goes with the first byte of its own line.
                self.send(None);
            }
            add_life(running, stage, board.is_some(), &mut self.text);
            self.send(board);
        }
    }

    /// The last line, with the number of generations.
    pub fn end(mut self, count: usize) {
        self.send(None);
        let count = Plural(count as u64, "generation");
        self.control.say(self.client, AnswerWord::Done, format_args!("{count}"));
    }

    fn send(&mut self, board: Option<Fd>) {
        self.control.show(self.client, &self.text, board);
        self.text.clear();
    }
}

fn add_listener(kept: &ListenerInfo<'_>, out: &mut String) {
    let ListenerInfo { fd, name, origin, path } = *kept;
    let address = match origin {
        // The kernel does not tell a long one.
        Source::Bound(Bind { address: path @ Address::Unix(_), .. }) => Some(path.clone()),
        Source::Bound(_) | Source::Adopted | Source::Stored(_) => address_of(fd),
    };
    let mut shown = String::new();
    if let Some(address) = address {
        text::add(&mut shown, format_args!("{address}"));
    }
    let queue = kernel::queue(fd).ok();
    let name = fdnames::unescape(name.as_bytes());
    let listener = Listener {
        name: RecordText::Borrowed(&name),
        address: RecordText::Borrowed(
            shown.as_bytes().get(..LONGEST_PATH).unwrap_or(shown.as_bytes()),
        ),
        origin: match origin {
            Source::Bound(_) => Origin::Bound,
            Source::Adopted => Origin::Adopted,
            Source::Stored(_) => Origin::Stored,
        },
        queue: queue.map(|(queue, _)| queue),
        backlog: queue.map(|(_, backlog)| backlog),
        device: path.map(|path| path.identity().device()),
        inode: path.map(|path| path.identity().inode()),
        path: None,
    };
    listener.write(out);
}

fn add_life(running: &RunningGeneration, stage: Stage, board: bool, out: &mut String) {
    let life = Life {
        number: running.generation,
        state: stage,
        leader: running.leader,
        monitor: running.monitor,
        since: running.since,
        says: running.status.as_ref().map(|says| RecordText::Borrowed(says.as_bytes())),
        board,
    };
    life.write(out);
}
