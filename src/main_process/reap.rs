//! What main reaps, and how it ends what is left of a generation whose monitor
//! is gone.
//!
//! A monitor leads a session, so what it leaves behind is found by session, in
//! whatever process group it is: main is the reaper of orphans, and the kernel
//! lists its children. A sweep reads that list whole, reaping nothing meanwhile,
//! and for each child in the session notes the group that it is in. Such a group
//! is pinned by that child, dead or alive, until main reaps again, so it may be
//! signalled. What was a grandchild shows only when its parent is gone, so there
//! is a sweep at each step of the escalation and after each reap, until no child
//! is left in the session. A group gets the signal of a step once.
//!
//! The kernel itself sends the first signal to each worker at the death of its
//! monitor. So main leaves out the groups that a worker on the board still leads.
//! What a worker has started may lead a group too, and has had no signal.
//!
//! A process that calls setsid(2) has left the generation: it is reaped, and
//! never signalled.
//!
//! One sweep takes about 10 ms where there are 10,000 children. There the next one
//! waits for 50 ms, and what dies meanwhile is seen with it.

use super::MainProcess;
use crate::log;
use crate::main_process::generation::RunningGeneration;
use crate::main_process::reporter::MonitorDeath;
use crate::main_process::supervisor::{Event, Left};
use crate::sys::process::{self, Reaped};
use crate::sys::{Errno, children, signal};
use crate::types::{Exit, ExitReason, Generation, Level, Millis, Pid, Signal, Stage, Tick};
use alloc::vec::Vec;

/// The most dead that are reaped in one turn: there is other work.
const MOST: usize = 256;
/// The least time between two sweeps where there are many children.
const REST: Millis = Millis(50);
/// How many children are not many.
const FEW: usize = 64;

/// When main looks again for what dead monitors have left.
pub(super) struct Sweep {
    /// When the next one is due, if one is wanted.
    due: Option<Tick>,
    /// The earliest moment of the next one.
    rested: Tick,
    /// Whether it was said that the kernel does not list our children.
    is_blind: bool,
    /// Whether more may be dead than were reaped in this turn.
    is_cut: bool,
}

impl Sweep {
    /// One is wanted at once: what has happened before is not known.
    pub const fn new() -> Self {
        Self { due: Some(Tick(0)), rested: Tick(0), is_blind: false, is_cut: false }
    }

    /// When there is something to do here at the latest.
    pub const fn deadline(&self) -> Option<Tick> {
        if self.is_cut { Some(Tick(0)) } else { self.due }
    }

    /// Something was reaped: what it had below it may be ours now.
    fn want(&mut self, now: Tick) {
        self.due = self.due.or(Some(now.max(self.rested)));
    }

    /// Every child of ours; `None` where the kernel does not list them.
    fn children(&mut self, now: Tick) -> Option<Vec<Pid>> {
        match children::list() {
            Ok(children) => {
                let rest = if children.len() > FEW { REST } else { Millis(0) };
                self.rested = now.after(rest);
                Some(children)
            }
            Err(errno) => {
                self.say_blind(errno);
                None
            }
        }
    }

    fn say_blind(&mut self, errno: Errno) {
        if !core::mem::replace(&mut self.is_blind, true) {
            log::log(
                Level::Warn,
                format_args!(
                    "cannot list main's child processes: {errno}; what a dead monitor leaves is \
                     found by its scoreboard alone"
                ),
            );
        }
    }
}

impl RunningGeneration {
    /// The groups in its session that are pinned by a child of ours, each once, in
    /// the order of their numbers. `children` is every child of ours, where that is
    /// known.
    fn groups(&self, children: Option<&[Pid]>) -> Vec<Pid> {
        let session = self.leader;
        let is_in_it = |pid: &Pid| process::session_of(Some(*pid)) == Ok(Some(session));
        let group_of = |pid: Pid| process::group_of(pid);
        let mut groups: Vec<_> = match children {
            Some(children) => {
                children.iter().copied().filter(is_in_it).filter_map(group_of).collect()
            }
            None => self.groups_on_board().collect(),
        };
        groups.sort_unstable_by_key(|group| group.raw());
        groups.dedup();
        groups
    }

    /// The groups of the workers on the board that are children of ours, and that
    /// of the monitor.
    fn groups_on_board(&self) -> impl Iterator<Item = Pid> {
        let session = self.leader;
        let is_its = move |pid: &Pid| {
            process::is_child(*pid) == Ok(true)
                && process::session_of(Some(*pid)) == Ok(Some(session))
        };
        let own = (process::has_child_in_group(session) == Ok(true)).then_some(session);
        let workers = self.board_pids().into_iter().filter(is_its);
        workers.filter_map(process::group_of).chain(own)
    }

    fn board_pids(&self) -> Vec<Pid> {
        let header = self.board.header();
        let workers = header.map_or(Vec::new(), |header| self.board.workers(&header));
        workers.into_iter().filter_map(|worker| worker.pid).collect()
    }

    /// Sends `signal` to those of `groups` that have not had it yet.
    fn signal_groups(&mut self, groups: &[Pid], signal: Signal) {
        let is_first = !matches!(signal, Signal::Int | Signal::Kill);
        let workers = if is_first { self.board_pids() } else { Vec::new() };
        for &group in groups {
            // The kernel has sent it to the leader.
            let had_it = workers.contains(&group) && process::group_of(group) == Some(group);
            let place = self.told.binary_search_by_key(&group.raw(), |told| told.raw());
            if let (Err(place), false) = (place, had_it) {
                self.told.insert(place, group);
                super::complain("process group", group, signal::send_group(group, signal));
            }
        }
    }
}

impl MainProcess {
    /// Reaps the dead: our monitors, and whatever orphans there are. Of very many
    /// the rest is for the next turn, which comes at once.
    pub(super) fn reap(&mut self) {
        let (mut count, mut monitors) = (0, false);
        while count < MOST
            && let Ok(Reaped::Dead(pid, exit)) = process::reap_any()
        {
            count += 1;
            self.restart.note_death(pid, exit);
            self.generations.iter_mut().for_each(|run| run.notify.note_death(pid));
            self.reads.note_death(pid);
            self.closing.note_death(pid);
            if let Some(run) = self.generations.iter_mut().find(|run| run.monitor == Some(pid)) {
                (run.monitor, run.exit) = (None, Some(exit));
                monitors = true;
            }
        }
        self.sweep.is_cut = count == MOST;
        if count > 0 {
            self.sweep.want(self.now);
        }
        if monitors || self.sweep.due.is_some_and(|due| due <= self.now) {
            self.sweep();
        }
    }

    /// Finds out what is left of the generations whose monitor is gone, and sends
    /// to it what the others had. To be called before anything is started, too,
    /// which could have the number of a session in which nothing is left.
    pub(super) fn sweep(&mut self) {
        self.sweep.due = None;
        if self.generations.iter().all(|run| run.monitor.is_some() || run.empty) {
            return;
        }
        let children = self.sweep.children(self.now);
        for run in self.generations.iter_mut().filter(|run| run.monitor.is_none() && !run.empty) {
            let groups = run.groups(children.as_deref());
            run.empty = groups.is_empty();
            if let Some(signal) = self.supervisor.sent_to_session(run.generation) {
                run.signal_groups(&groups, run.for_the_rest(signal));
            }
        }
    }

    /// Sends what is left of a generation the signal of the next step.
    pub(super) fn signal_session(&mut self, generation: Generation, signal: Signal) {
        let children = self.sweep.children(self.now);
        let Some(run) = self.generation_mut(generation).filter(|run| !run.empty) else { return };
        let signal = run.for_the_rest(signal);
        run.told.clear();
        if let (Some(monitor), Signal::Kill) = (run.monitor, signal)
            && process::session_of(Some(monitor)) != Ok(Some(run.leader))
        {
            super::complain("monitor", monitor, signal::send(monitor, signal));
        }
        let groups = run.groups(children.as_deref());
        run.signal_groups(&groups, signal);
    }

    /// Tells the supervisor which monitors are dead, after all that they had said
    /// before. The newest first, so that none takes a place that is dead itself.
    pub(super) fn on_exits(&mut self) {
        let now = self.now;
        // What still waits, or a child receives, was said before the death.
        let mut heard = Vec::new();
        for run in self.generations.iter_mut().rev() {
            if (run.exit.is_some() || run.empty) && run.notify.is_settled(now) {
                heard.push(run.generation);
            }
        }
        let starved = self.starved(&heard);
        for generation in heard {
            let Some(run) = self.generation_mut(generation) else { continue };
            if let Some(exit) = run.exit.take() {
                self.on_monitor_exit(generation, exit, starved);
            } else if run.empty {
                self.step(Event::Empty { generation });
            }
        }
    }

    /// Whether the kernel has killed for want of memory all the monitors of these
    /// generations that got a SIGKILL that was not main's.
    fn starved(&mut self, generations: &[Generation]) -> bool {
        let exits =
            |run: &&RunningGeneration| run.exit.is_some() && generations.contains(&run.generation);
        let is_killed = |run: &&RunningGeneration| {
            let was_ours = self.supervisor.was_killed(run.generation);
            run.exit.is_some_and(Exit::is_sigkill) && !was_ours
        };
        let killed = self.generations.iter().filter(exits).filter(is_killed).count();
        self.generations.iter().any(|run| exits(&run)) && self.kills.explain(killed)
    }

    fn on_monitor_exit(&mut self, generation: Generation, exit: Exit, starved: bool) {
        let Some(run) = self.generation_mut(generation) else { return };
        let (pid, exec) = (run.leader, run.exec);
        let left = if run.empty { Left::Nothing } else { Left::Members };
        let forced = run.board.header().is_some_and(|header| header.killed);
        let since = run.since;
        let why = run.why.take();
        let is_draining = self.supervisor.stage_of(generation) == Some(Stage::Draining);
        // Main asks for no SIGKILL before it sends one.
        let is_asked =
            is_draining && (!exit.is_sigkill() || self.supervisor.was_killed(generation));
        let cause = match is_asked {
            true => ExitReason::Requested,
            false if starved && exit.is_sigkill() => ExitReason::Memory,
            false => ExitReason::Unknown,
        };
        let lived = self.now.since(since);
        let death = MonitorDeath { generation, pid, exit, lived, known: why, cause };
        self.reporter.tell_death(death, &mut self.control);
        if forced {
            self.step(Event::Forced);
        }
        self.step(Event::Gone { generation, exec, left });
    }
}
