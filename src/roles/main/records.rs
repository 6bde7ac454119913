//! What runs, as records for whoever asks over the control socket.
//!
//! Nobody is asked for it: the workers stand on the boards, of which copies go
//! along. So a monitor that hangs, or is stopped, holds up no answer.

use super::Main;
use super::run::Run;
use crate::keep::control::Place;
use crate::keep::listeners::Origin as Source;
use crate::keep::log;
use crate::plan::service::Stage;
use crate::sys::socket::{self, Name, control as kernel};
use crate::sys::{env, fd::Borrowed, file, process};
use crate::types::Tick;
use crate::words::address::Address;
use crate::words::control::Word;
use crate::words::fdname;
use crate::words::status::{self, Binary, Life, Listener, Origin, Phase, State, Text};
use alloc::string::{String, ToString as _};

/// How much is gathered before it is sent.
const ENOUGH: usize = 4_096;

impl Main {
    /// Answers `status`.
    #[inline(never)]
    pub(super) fn show_status(&mut self, now: Tick, client: Place) {
        let mut out = String::new();
        self.main_record(now).write(&mut out);
        if let Some(reload) = self.reload_record() {
            reload.write(&mut out);
        }
        let Some(control) = &mut self.operator.control else { return };
        for (fd, name, origin) in self.listeners.each() {
            listener_record(fd, name, origin).write(&mut out);
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
            life_record(run, stage, board.is_some()).write(&mut out);
            control.show(client, &out, board);
            out.clear();
        }
        control.show(client, &out, None);
        let count = self.runs.len() as u64;
        control.say(client, Word::Done, format_args!("{count} generations"));
    }

    fn main_record(&self, now: Tick) -> status::Main<'static> {
        status::Main {
            version: Text::Borrowed(env!("CARGO_PKG_VERSION").as_bytes()),
            pid: process::id(),
            now,
            up: now.since(self.since),
            state: match (self.plan.is_stopping(), self.plan.is_new()) {
                (true, _) => Phase::Stopping,
                (false, true) => Phase::Starting,
                (false, false) => Phase::Running,
            },
            count: self.wanted_count(),
            binary: binary(),
            dropped: log::dropped(),
        }
    }

    fn reload_record(&self) -> Option<status::Reload<'_>> {
        let last = self.operator.reload.as_ref()?;
        let why = last.why.as_ref().map(|why| Text::Borrowed(why.as_bytes()));
        Some(status::Reload {
            generation: last.generation,
            outcome: last.outcome,
            at: last.at,
            why,
        })
    }
}

fn listener_record(fd: Borrowed<'_>, name: &str, origin: &Source) -> Listener<'static> {
    let address = match socket::local_name(fd) {
        Ok(Name::Inet(address)) => Address::Inet(address).to_string(),
        Ok(Name::Unix(path)) => Address::Unix(path).to_string(),
        Ok(Name::Other) | Err(_) => String::new(),
    };
    let queue = kernel::queue(fd).ok();
    Listener {
        name: fdname::unescape(name.as_bytes()).into(),
        address: address.into_bytes().into(),
        origin: match origin {
            Source::Bound(_) => Origin::Bound,
            Source::Adopted => Origin::Adopted,
            Source::Stored(_) => Origin::Stored,
        },
        queue: queue.map(|(queue, _)| queue),
        backlog: queue.map(|(_, backlog)| backlog),
    }
}

fn life_record(run: &Run, stage: Stage, board: bool) -> Life<'_> {
    Life {
        number: run.generation,
        state: match stage {
            Stage::Starting => State::Starting,
            Stage::Probation => State::Probation,
            Stage::Current => State::Current,
            Stage::Draining => State::Draining,
        },
        leader: run.leader,
        monitor: run.monitor,
        since: run.since,
        says: run.status.as_ref().map(|says| Text::Borrowed(says.as_bytes())),
        board,
    }
}

/// What stands at the path that main was executed by.
fn binary() -> Binary {
    match env::executed() {
        Some(path) if file::same(c"/proc/self/exe", path) => Binary::Same,
        Some(path) if file::links(path) > 0 => Binary::Differs,
        Some(_) | None => Binary::Missing,
    }
}
