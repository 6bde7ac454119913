//! How main ends what is left of a generation whose monitor is gone.
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

use super::complain;
use crate::log;
use crate::main_process::generation::RunningGeneration;
use crate::main_process::supervisor::Supervisor;
use crate::sys::process;
use crate::sys::{Errno, children, pidfd, signal};
use crate::types::{Level, Millis, Pid, Signal, Tick};
use alloc::vec::Vec;

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
    pub fn want(&mut self, now: Tick) {
        self.due = self.due.or(Some(now.max(self.rested)));
    }

    /// A monitor was reaped: what it has left is to be found in this turn.
    pub const fn want_at_once(&mut self) {
        self.due = Some(Tick(0));
    }

    /// Whether more may be dead than were reaped in this turn.
    pub const fn note_cut(&mut self, is_cut: bool) {
        self.is_cut = is_cut;
    }

    /// Whether one is due in this turn.
    pub fn is_due(&self, now: Tick) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Finds out what is left of the generations whose monitor is gone, and sends
    /// to it what the others had. To be called before anything is started, too,
    /// which could have the number of a session in which nothing is left.
    pub fn run(&mut self, all: &mut [RunningGeneration], now: Tick, supervisor: &Supervisor) {
        self.due = None;
        if all.iter().all(|running| running.monitor.is_some() || running.empty) {
            return;
        }
        let children = self.children(now);
        for running in all.iter_mut().filter(|running| running.monitor.is_none() && !running.empty)
        {
            let groups = running.groups(children.as_deref());
            running.empty = groups.is_empty();
            if let Some(signal) = supervisor.sent_to_session(running.generation) {
                running.signal_groups(&groups, running.for_the_rest(signal));
            }
        }
    }

    /// Sends what is left of a generation the signal of the next step.
    pub fn signal_session(&mut self, running: &mut RunningGeneration, signal: Signal, now: Tick) {
        let children = self.children(now);
        if running.empty {
            return;
        }
        let signal = running.for_the_rest(signal);
        running.told.clear();
        if let (Some(monitor), Signal::Kill) = (running.monitor, signal)
            && process::session_of(Some(monitor)) != Ok(Some(running.leader))
        {
            complain("monitor", monitor, signal::send(monitor, signal));
        }
        let groups = running.groups(children.as_deref());
        running.signal_groups(&groups, signal);
        if running.monitor.is_some() && signal == Signal::Kill {
            running.kill_workers();
        }
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
        groups.sort_unstable();
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

    /// Sends SIGKILL to the workers of a monitor that may be unable to die, and would
    /// keep them. They are not children of ours, so what pins each is a descriptor: the
    /// number is asked for its session while that is open. Before Linux 5.3 there is
    /// none, and they are left to their monitor's death.
    fn kill_workers(&self) {
        for pid in self.board_pids() {
            if let Ok(worker) = pidfd::open(pid)
                && process::session_of(Some(pid)) == Ok(Some(self.leader))
            {
                // It may have died of its monitor's death by now.
                let _ = pidfd::send(worker.borrow(), Signal::Kill);
            }
        }
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
                complain("process group", group, signal::send_group(group, signal));
            }
        }
    }
}
