//! What main hears of its generations: over their notify sockets, by SIGVTALRM,
//! from the fate of an exec, and from the kernel when somebody dies.
//!
//! All of it but the kernel's word is a claim. Each generation has a notify
//! socket of its own, so the socket tells who speaks, and whoever speaks is
//! bounded: a full queue is read once a turn, and what is not understood is
//! dropped.

use super::Main;
use super::run::Run;
use crate::keep::listeners::{self, Origin};
use crate::keep::log;
use crate::plan::service::{Event, Exec, Left};
use crate::sys::Errno;
use crate::sys::fd::Fd;
use crate::sys::message::{self, Message};
use crate::sys::process::{self, Reaped};
use crate::text;
use crate::types::{Exit, Generation, Level, Millis, Pid, Stage, Why};
use crate::words::death::Cause;
use crate::words::event::{Event as Tidings, Kind};
use crate::words::notify::{self, News, Notice, Store};
use crate::words::printable;
use alloc::string::String;
use alloc::vec::Vec;

/// The most datagrams of one generation that are read in one turn.
const MOST: usize = 1_024;

/// The status that says that a file is not there.
const MISSING: u8 = 127;

/// The least time between two lines about messages that were refused.
const REFUSED: Millis = Millis(1_000);

impl Main {
    /// Reads what every generation has said.
    pub(super) fn hear(&mut self) {
        // What is heard removes nobody, and whoever is started comes last.
        for place in 0..self.runs.len() {
            self.hear_one(place);
        }
        for place in 0..self.runs.len() {
            if let Some(run) = self.runs.get_mut(place)
                && run.learn_fate()
            {
                let generation = run.generation;
                self.step(Event::Runs { generation });
            }
        }
    }

    fn hear_one(&mut self, place: usize) {
        for _ in 0..MOST {
            let Some(run) = self.runs.get(place) else { return };
            match message::receive(run.notify.borrow()) {
                Ok(message) => {
                    let (generation, user) = (run.generation, run.user_id);
                    self.understand(generation, user, message);
                }
                Err(Errno(libc::EAGAIN)) => return,
                Err(errno) => return self.breathe("hear a generation", errno),
            }
        }
    }

    /// Takes in a message to a generation that runs as `user`.
    fn understand(&mut self, generation: Generation, user: u32, message: Message) {
        let Message { bytes, sender, descriptors, cut } = message;
        let trusted =
            sender.is_some_and(|sender| [0, process::user(), user].contains(&sender.user));
        if cut || !trusted {
            let why = if cut { "is too large" } else { "comes from another user" };
            self.refuse(generation, why);
            return listeners::dispose_all(descriptors);
        }
        let notice = notify::parse(&bytes);
        self.keep(generation, &notice, descriptors);
        self.note(generation, &notice);
        if notice.ready {
            self.step(Event::Ready { generation });
        }
    }

    /// Tells of a message that is ignored. Anybody on this machine can send as
    /// many as he likes, so there is one line for all of a second.
    fn refuse(&mut self, generation: Generation, why: &str) {
        let (before, due) = self.refused;
        self.refused = (before.saturating_add(1), due);
        if self.now < due {
            return;
        }
        self.refused = (0, self.now.after(REFUSED));
        log::log(
            Level::Warn,
            format_args!(
                "a message to generation {generation} {why}: ignored, as {before} since the last \
                 such line"
            ),
        );
    }

    /// The store's part of a message. Whatever it does not keep it closes.
    fn keep(&mut self, generation: Generation, notice: &Notice<'_>, descriptors: Vec<Fd>) {
        match notice.store {
            Store::Nothing => listeners::dispose_all(descriptors),
            Store::Remove(name) => {
                self.listeners.give_back(name, generation);
                listeners::dispose_all(descriptors);
            }
            Store::Keep(name) => {
                let name = printable::lossy(name);
                for fd in descriptors {
                    self.keep_one(generation, &name, fd);
                }
            }
        }
    }

    fn keep_one(&mut self, generation: Generation, name: &str, fd: Fd) {
        if self.closed {
            return listeners::dispose(fd);
        }
        let user = self.run_of(generation).map_or(0, |run| run.user_id);
        let is_ours = user == 0 || user == process::user();
        match self.listeners.keep(fd, String::from(name), Origin::Stored(generation), is_ours) {
            Ok(true) => {
                log::log(Level::Debug, format_args!("generation {generation} stored {name}"));
                let stored = Tidings::about(Kind::Stored, generation);
                self.event(&Tidings { why: Some(name), ..stored });
            }
            Ok(false) => {}
            Err(what) => log::log(
                Level::Warn,
                format_args!("generation {generation} stored {name}, which {what}: closed"),
            ),
        }
    }

    /// The news of a message: for the log, the events, and the board's reader.
    fn note(&mut self, generation: Generation, notice: &Notice<'_>) {
        match notice.news {
            News::None => {}
            News::Scaled { count } => self.scaled(generation, count),
            News::Lost { slot, pid, why } => {
                // What has killed it is not to explain another death.
                self.kills.explain(0);
                let why = printable::lossy(why);
                let (slot, pid, why) = (Some(slot), Some(pid), Some(why.as_str()));
                self.event(&Tidings { slot, pid, why, ..Tidings::about(Kind::Died, generation) });
            }
            News::Unusable { status, why } => self.note_unusable(generation, status, why),
            News::Respawned { slot, pid } => {
                let (slot, pid) = (Some(slot), Some(pid));
                self.event(&Tidings { slot, pid, ..Tidings::about(Kind::Respawn, generation) });
            }
        }
        if notice.stopping {
            log::log(Level::Debug, format_args!("generation {generation} says that it stops"));
        }
        let Some(run) = self.run_of(generation) else { return };
        if let Some(status) = notice.status {
            run.status = Some(printable::lossy(status));
        }
    }

    /// A pool of programs has nothing that it could run. That is to us as if its
    /// monitor were what cannot be executed, which leaves for that.
    fn note_unusable(&mut self, generation: Generation, status: u8, why: &[u8]) {
        if !self.options.exec() {
            return;
        }
        let Some(run) = self.run_of(generation).filter(|run| run.why.is_none()) else { return };
        run.why = Some(printable::lossy(why));
        run.exec = if status == MISSING { Exec::Missing } else { Exec::Unusable };
    }

    /// Looks at the board of whoever is on probation.
    pub(super) fn check_losses(&mut self) {
        let Some(generation) = self.plan.probationer() else { return };
        if self.run_of(generation).is_some_and(|run| run.is_losing()) {
            self.step(Event::Losing { generation });
        }
    }

    /// SIGVTALRM from the group of a generation that starts.
    pub(super) fn ready_by_signal(&mut self, leader: Pid) {
        let said = self.runs.iter().find(|run| run.leader == leader).map(|run| run.generation);
        if let Some(generation) = said {
            self.step(Event::Ready { generation });
        }
    }

    /// Reaps all that are dead: our monitors, and whatever orphans there are.
    /// Finds out whose group is empty before anything is started, which could
    /// have the number of such a group.
    pub(super) fn reap(&mut self) {
        while let Ok(Reaped::Dead(pid, exit)) = process::reap_any() {
            self.restart.note_death(pid, exit);
            if let Some(run) = self.runs.iter_mut().find(|run| run.monitor == Some(pid)) {
                (run.monitor, run.exit) = (None, Some(exit));
            }
        }
        for run in self.runs.iter_mut().filter(|run| run.monitor.is_none()) {
            run.empty = process::has_child_in_group(run.leader) != Ok(true);
        }
    }

    /// Tells the plan who is dead, after all that they had said before. The
    /// newest first, so that nobody takes a place who is dead himself.
    pub(super) fn bury(&mut self) {
        let starved = self.starved();
        // Nobody but the one that is told is removed.
        for place in (0..self.runs.len()).rev() {
            let Some(run) = self.runs.get_mut(place) else { continue };
            let generation = run.generation;
            if let Some(exit) = run.exit.take() {
                self.bury_monitor(generation, exit, starved);
            } else if run.empty {
                self.step(Event::Empty { generation });
            }
        }
    }

    /// Whether the kernel has killed for want of memory all the monitors that
    /// were killed by nobody knows whom.
    fn starved(&mut self) -> bool {
        let is_asked = |run: &Run| self.plan.stage_of(run.generation) == Some(Stage::Draining);
        let is_killed = |run: &&Run| run.exit.is_some_and(Exit::is_sigkill) && !is_asked(run);
        let killed = self.runs.iter().filter(is_killed).count();
        self.runs.iter().any(|run| run.exit.is_some()) && self.kills.explain(killed)
    }

    fn bury_monitor(&mut self, generation: Generation, exit: Exit, starved: bool) {
        let Some(run) = self.run_of(generation) else { return };
        let (pid, exec) = (run.leader, run.exec);
        let left = if run.empty { Left::Nobody } else { Left::Members };
        let forced = run.board.header().is_some_and(|header| header.killed);
        let since = run.since;
        let why = run.why.take();
        let is_asked = self.plan.stage_of(generation) == Some(Stage::Draining);
        let cause = match is_asked {
            true => Why::Asked,
            false if starved && exit.is_sigkill() => Why::Memory,
            false => Why::Unknown,
        };
        self.tell_death(generation, pid, exit, self.now.since(since), why.as_deref(), cause);
        let cause = Cause(exit, cause);
        self.reason = why.or_else(|| Some(text::compose(format_args!("its monitor {cause}"))));
        if forced {
            self.step(Event::Forced);
        }
        self.step(Event::Gone { generation, exec, left });
    }
}
