//! What runs, as records for whoever asks over the control socket.
//!
//! Nobody is asked for it: the workers stand on the boards, of which copies go
//! along. So a monitor that hangs, or is stopped, holds up no answer.

use super::Main;
use super::run::Run;
use crate::keep::control::Place;
use crate::keep::listeners::Origin as Source;
use crate::keep::log;
use crate::sys::socket::{self, Name, control as kernel};
use crate::sys::{fd::Borrowed, file, process};
use crate::text;
use crate::types::Stage;
use crate::words::address::Address;
use crate::words::control::Word;
use crate::words::fdname;
use crate::words::status::{self, Binary, Life, Listener, Origin, Phase, Text};
use alloc::string::String;
use core::ffi::CStr;

/// How much is gathered before it is sent.
const ENOUGH: usize = 4_096;

impl Main {
    /// Answers `status`.
    #[inline(never)]
    pub(super) fn show_status(&mut self, client: Place) {
        let mut out = String::new();
        self.add_main(&mut out);
        self.add_reload(&mut out);
        let Some(control) = &mut self.operator.control else { return };
        for (fd, name, origin) in self.listeners.each() {
            add_listener(fd, name, origin, &mut out);
            if out.len() >= ENOUGH {
                control.show(client, &out, None);
                out.clear();
            }
        }
        for run in &self.runs {
            let Some(stage) = self.plan.stage_of(run.generation) else { continue };
            let header = run.board.header();
            let board = header.and_then(|header| run.board.snapshot(header.count).ok());
            if board.is_some() {
                // The copy goes with the first byte of its own line.
                control.show(client, &out, None);
                out.clear();
            }
            add_life(run, stage, board.is_some(), &mut out);
            control.show(client, &out, board);
            out.clear();
        }
        control.show(client, &out, None);
        let count = self.runs.len() as u64;
        control.say(client, Word::Done, format_args!("{count} generations"));
    }

    // Each by itself: together they would make one large frame, and with it
    // every access to the frame.
    #[inline(never)]
    fn add_main(&self, out: &mut String) {
        let main = status::Main {
            version: Text::Borrowed(env!("CARGO_PKG_VERSION").as_bytes()),
            pid: process::id(),
            now: self.now,
            up: self.now.since(self.since),
            state: match (self.plan.is_stopping(), self.plan.is_new()) {
                (true, _) => Phase::Stopping,
                (false, true) => Phase::Starting,
                (false, false) => Phase::Running,
            },
            count: self.wanted_count(),
            binary: stands(&self.binary),
            dropped: log::dropped(),
        };
        main.write(out);
    }

    #[inline(never)]
    fn add_reload(&self, out: &mut String) {
        let Some(last) = &self.operator.reload else { return };
        let why = last.why.as_ref().map(|why| Text::Borrowed(why.as_bytes()));
        let (generation, outcome, at) = (last.generation, last.outcome, last.at);
        status::Reload { generation, outcome, at, why }.write(out);
    }
}

#[inline(never)]
fn add_listener(fd: Borrowed<'_>, name: &str, origin: &Source, out: &mut String) {
    let address = match socket::local_name(fd) {
        Ok(Name::Inet(address)) => Some(Address::Inet(address)),
        Ok(Name::Unix(path)) => Some(Address::Unix(path)),
        Ok(Name::Other) | Err(_) => None,
    };
    let mut shown = String::new();
    if let Some(address) = address {
        text::add(&mut shown, format_args!("{address}"));
    }
    let queue = kernel::queue(fd).ok();
    let name = fdname::unescape(name.as_bytes());
    let listener = Listener {
        name: Text::Borrowed(&name),
        address: Text::Borrowed(shown.as_bytes()),
        origin: match origin {
            Source::Bound(_) => Origin::Bound,
            Source::Adopted => Origin::Adopted,
            Source::Stored(_) => Origin::Stored,
        },
        queue: queue.map(|(queue, _)| queue),
        backlog: queue.map(|(_, backlog)| backlog),
    };
    listener.write(out);
}

#[inline(never)]
fn add_life(run: &Run, stage: Stage, board: bool, out: &mut String) {
    let life = Life {
        number: run.generation,
        state: stage,
        leader: run.leader,
        monitor: run.monitor,
        since: run.since,
        says: run.status.as_ref().map(|says| Text::Borrowed(says.as_bytes())),
        board,
    };
    life.write(out);
}

/// What stands at the path that a restart would execute.
fn stands(path: &CStr) -> Binary {
    if file::same(c"/proc/self/exe", path) {
        Binary::Same
    } else if file::links(path) > 0 {
        Binary::Differs
    } else {
        Binary::Missing
    }
}
