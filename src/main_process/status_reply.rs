//! What runs, as records for a client that asks over the control socket.
//!
//! No process is asked for it: the workers stand on the boards, of which copies go
//! along. So a monitor that hangs, or is stopped, holds up no answer.

use super::MainProcess;
use crate::log;
use crate::main_process::control_socket::ClientIndex;
use crate::main_process::generation::RunningGeneration;
use crate::main_process::listener_store::{ListenerInfo, Origin as Source};
use crate::protocol::address::{Address, Bind};
use crate::protocol::control_protocol::AnswerWord;
use crate::protocol::fdnames;
use crate::protocol::status_records::{self, Life, Listener, Origin, Phase, RecordText};
use crate::shared::listening_socket::address_of;
use crate::sys::process;
use crate::sys::socket::unix_server as kernel;
use crate::text::{self, Plural};
use crate::types::Stage;
use alloc::string::String;

/// How much is gathered before it is sent.
const ENOUGH: usize = 4_096;
/// How much of a path is told; a line has room for a name too.
const LONGEST_PATH: usize = 600;

impl MainProcess {
    /// Answers `status`.
    pub(super) fn show_status(&mut self, client: ClientIndex) {
        let mut out = String::new();
        self.add_main(&mut out);
        self.add_outage(&mut out);
        self.add_reload(&mut out);
        for kept in self.listeners.each() {
            add_listener(&kept, &mut out);
            if out.len() >= ENOUGH {
                self.control.show(client, &out, None);
                out.clear();
            }
        }
        for run in self.generations.iter() {
            let Some(stage) = self.supervisor.stage_of(run.generation) else { continue };
            let header = run.board.header();
            let board = header.and_then(|header| run.board.snapshot(header.rows).ok());
            if board.is_some() {
                // The copy goes with the first byte of its own line.
                self.control.show(client, &out, None);
                out.clear();
            }
            add_life(run, stage, board.is_some(), &mut out);
            self.control.show(client, &out, board);
            out.clear();
        }
        self.control.show(client, &out, None);
        let count = Plural(self.generations.count() as u64, "generation");
        self.control.say(client, AnswerWord::Done, format_args!("{count}"));
    }

    fn add_main(&self, out: &mut String) {
        let main = status_records::Main {
            version: RecordText::Borrowed(env!("CARGO_PKG_VERSION").as_bytes()),
            pid: process::id(),
            now: self.now,
            up: self.now.since(self.since),
            state: match (self.supervisor.is_stopping(), self.supervisor.is_new()) {
                (true, _) => Phase::Stopping,
                (false, true) => Phase::Starting,
                (false, false) => Phase::Running,
            },
            count: self.control.wanted_count(&self.options),
            program: Some(RecordText::Borrowed(self.binary.to_bytes())),
            dropped: log::dropped(),
        };
        main.write(out);
    }

    /// Says that nothing serves, where that is so.
    fn add_outage(&self, out: &mut String) {
        if self.generations.has_ready_worker(&self.supervisor) {
            return;
        }
        let why = match self.supervisor.is_stopping() {
            true => Some(String::from("main is stopping")),
            false => self.generations.last_loss().or_else(|| self.control.last_failure()),
        };
        let why = why.as_ref().map(|why| RecordText::Borrowed(why.as_bytes()));
        status_records::Outage { due: self.supervisor.next_start(), why }.write(out);
    }

    fn add_reload(&self, out: &mut String) {
        let Some(last) = self.control.last_reload() else { return };
        let why = last.why.as_ref().map(|why| RecordText::Borrowed(why.as_bytes()));
        let (generation, outcome, at) = (last.generation, last.outcome, last.at);
        status_records::Reload { generation, outcome, at, why }.write(out);
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

fn add_life(run: &RunningGeneration, stage: Stage, board: bool, out: &mut String) {
    let life = Life {
        number: run.generation,
        state: stage,
        leader: run.leader,
        monitor: run.monitor,
        since: run.since,
        says: run.status.as_ref().map(|says| RecordText::Borrowed(says.as_bytes())),
        board,
    };
    life.write(out);
}
