//! The generations of which a process is left: which one is current, how they are
//! signalled, and how their monitors ended.
//!
//! Nothing here decides, and nothing tells the supervisor: what has happened is
//! returned, and main steps.

use super::complain;
use crate::main_process::generation::{
    GenerationEnd, MonitorDeath, RunningGeneration, WorkerDeath,
};
use crate::main_process::notify_socket::SocketDirectory;
use crate::main_process::reap::Sweep;
use crate::main_process::supervisor::{Session, Supervisor};
use crate::persist::{Codec, Persist as _, persisted};
use crate::shared::closer::Closing;
use crate::shared::inbox::Received;
use crate::shared::oom_kills::OomKills;
use crate::shared::scoreboard::Flags;
use crate::sys::fd::Borrowed;
use crate::sys::poll::Source;
use crate::sys::{process, signal};
use crate::text;
use crate::types::{Exit, ExitReason, Generation, Pid, Signal, Slot, Stage, Tick};
use alloc::vec::Vec;
use core::slice;

/// All of them, in the order in which they were started.
pub(super) struct Generations {
    running: Vec<RunningGeneration>,
    /// Of those that are over: they stand until a descriptor is free.
    left: Vec<SocketDirectory>,
    /// The one that was promoted last.
    current: Generation,
    sweep: Sweep,
    kills: OomKills,
    /// What was reaped in this turn, sorted.
    dead: Vec<(Pid, Exit)>,
    /// Workers among them whose monitor was gone, until they are told of.
    dead_workers: Vec<WorkerDeath>,
}

/// The list.
impl Generations {
    /// None yet.
    pub fn new() -> Self {
        Self {
            running: Vec::new(),
            left: Vec::new(),
            current: Generation(0),
            sweep: Sweep::new(),
            kills: OomKills::new(),
            dead: Vec::new(),
            dead_workers: Vec::new(),
        }
    }

    /// Writes or reads what one image leaves to the next.
    pub fn persist(&mut self, codec: &mut Codec) {
        persisted! {
            in self, codec;
            { running, left, current } without { sweep, kills, dead, dead_workers }
        }
    }

    pub fn iter(&self) -> slice::Iter<'_, RunningGeneration> {
        self.running.iter()
    }

    pub const fn count(&self) -> usize {
        self.running.len()
    }

    pub fn get(&self, generation: Generation) -> Option<&RunningGeneration> {
        self.running.iter().find(|running| running.generation == generation)
    }

    pub fn get_mut(&mut self, generation: Generation) -> Option<&mut RunningGeneration> {
        self.running.iter_mut().find(|running| running.generation == generation)
    }

    /// The one whose session this process leads. A monitor may have the number of one that
    /// is gone and was not told of yet: what that has said is still being received.
    pub fn led_by(&self, leader: Pid) -> Option<Generation> {
        let newest = self.running.iter().rev().find(|running| running.leader == leader);
        newest.map(|running| running.generation)
    }

    /// The leader of the one that was started last.
    pub fn newest_leader(&self) -> Option<Pid> {
        self.running.last().map(|running| running.leader)
    }

    pub fn add(&mut self, running: RunningGeneration) {
        self.running.push(running);
    }

    /// Lets go of one of which no process is left.
    pub fn forget(&mut self, generation: Generation, closing: &mut Closing) {
        let is_it = |running: &RunningGeneration| running.generation == generation;
        if let Some(place) = self.running.iter().position(is_it) {
            let over = self.running.remove(place);
            // It frees the descriptor that taking the directory away may need.
            over.notify.close(closing);
            self.remove_directory(over.home);
        }
    }

    /// Takes the directory of one that is over away, and those of others that could not be
    /// taken away before; one that still cannot be stands until the next is over.
    pub fn remove_directory(&mut self, home: SocketDirectory) {
        self.left.push(home);
        self.left.retain_mut(SocketDirectory::remove);
    }

    /// Lets go of all of them: main ends.
    pub fn forget_all(&mut self, closing: &mut Closing) {
        for running in self.running.drain(..) {
            running.notify.close(closing);
        }
    }

    /// Takes the directories of all notify sockets away.
    pub fn remove_directories(&mut self) {
        let running = self.running.iter_mut().map(|running| &mut running.home);
        running.chain(&mut self.left).for_each(|home| _ = home.remove());
    }

    pub const fn current(&self) -> Generation {
        self.current
    }

    pub const fn promote(&mut self, generation: Generation) {
        self.current = generation;
    }

    /// Whether no other one is left beside the current one.
    pub fn is_current_alone(&self) -> bool {
        self.running.iter().all(|running| running.generation == self.current)
    }

    /// Whether every monitor is a child of ours, and leads another session than one of
    /// `own`: then no other process can be signalled.
    pub fn are_ours(&self, own: &[Option<Pid>]) -> bool {
        self.running.iter().all(|running| {
            let leads = running.monitor.is_none_or(|monitor| {
                monitor == running.leader && process::is_child(monitor) != Ok(false)
            });
            leads && running.leader.raw() > 1 && !own.contains(&Some(running.leader))
        })
    }

    /// Whether one of them may accept without this library.
    pub fn any_foreign(&self, supervisor: &Supervisor) -> bool {
        self.running.iter().any(|running| {
            let has_pool = running.board.header().is_some_and(|header| header.handlers);
            // One that starts has a pool before it accepts, or says ready without.
            !has_pool && supervisor.stage_of(running.generation) != Some(Stage::Starting)
        })
    }

    /// When there is something to do here at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        let inboxes = self.running.iter().filter_map(|running| running.notify.deadline());
        inboxes.chain(self.sweep.deadline()).min()
    }

    /// Adds what they may say to what main waits for.
    pub fn add_sources<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        for running in &self.running {
            sources.extend(running.notify.source());
            sources.extend(
                running
                    .exec_status
                    .as_ref()
                    .map(|exec_status| Source::readable(exec_status.source())),
            );
        }
    }
}

/// What they say, and are told.
impl Generations {
    /// What the one at this place says next, and who may say it: its user.
    pub fn next_message(
        &mut self,
        place: usize,
        now: Tick,
        accept: fn(Borrowed<'_>) -> bool,
    ) -> Option<(Generation, u32, Received)> {
        let running = self.running.get_mut(place)?;
        Some((running.generation, running.user_id, running.notify.next(now, accept)))
    }

    /// Whether it is new that the program of the one at this place runs.
    pub fn poll_exec_status(&mut self, place: usize) -> Option<Generation> {
        let running = self.running.get_mut(place)?;
        running.poll_exec_status().then_some(running.generation)
    }

    /// A worker of a generation died unasked, the last of some.
    pub fn note_loss(&mut self, generation: Generation, slot: Slot, reason: &str) {
        // What has killed it is not to explain another death.
        self.kills.explain(0);
        if let Some(running) = self.get_mut(generation) {
            running.lost = Some(text::compose(format_args!("worker {slot} {reason}")));
        }
    }

    /// Whether this process is the monitor of a generation, and not a worker that has
    /// found its socket.
    pub fn is_monitor(&self, generation: Generation, pid: Option<Pid>) -> bool {
        self.get(generation)
            .is_some_and(|running| running.monitor.is_some() && running.monitor == pid)
    }

    /// Tells all monitors what main wants.
    pub fn set_flag(&self, wish: Flags) {
        self.running.iter().for_each(|running| running.set_flag(wish));
    }

    /// Signals a monitor, unless it was reaped in this turn: then it is not pinned any
    /// more.
    pub fn signal_monitor(&self, generation: Generation, monitor: Pid, signal: Signal) {
        let Some(running) = self.get(generation).filter(|running| running.monitor == Some(monitor))
        else {
            return;
        };
        if signal == Signal::Int {
            running.set_flag(Flags::Now);
        }
        let signal = running.for_monitor(signal);
        complain("monitor", monitor, signal::send(monitor, signal));
    }

    /// Sends what is left of a generation the signal of the next step.
    pub fn signal_session(
        &mut self,
        generation: Generation,
        leader: Pid,
        signal: Signal,
        now: Tick,
    ) {
        let is_it = |running: &&mut RunningGeneration| running.generation == generation;
        if let Some(running) = self.running.iter_mut().find(is_it)
            && running.leader == leader
        {
            self.sweep.signal_session(running, signal, now);
        }
    }
}

/// How they end.
impl Generations {
    /// A child was reaped.
    pub fn note_death(&mut self, pid: Pid, exit: Exit, now: Tick) {
        self.running.iter_mut().for_each(|running| running.notify.note_death(pid));
        self.sweep.want(now);
        if let Some(running) = self.running.iter_mut().find(|running| running.monitor == Some(pid))
        {
            (running.monitor, running.exit) = (None, Some(exit));
            self.sweep.want_at_once();
        } else {
            let place = self.dead.partition_point(|(other, _)| other.raw() < pid.raw());
            self.dead.insert(place, (pid, exit));
        }
    }

    /// Nothing more is reaped in this turn, but more may be dead if that `is_cut` short.
    pub fn end_reaping(&mut self, is_cut: bool, now: Tick, supervisor: &Supervisor) {
        self.sweep.note_cut(is_cut);
        self.find_dead_workers(now);
        if self.sweep.is_due(now) {
            self.sweep.run(&mut self.running, now, supervisor);
        }
    }

    /// Finds those among the dead of this turn that no monitor can tell of any more.
    fn find_dead_workers(&mut self, now: Tick) {
        let dead = core::mem::take(&mut self.dead);
        if dead.is_empty() {
            return;
        }
        for running in self.running.iter().filter(|running| running.monitor.is_none()) {
            running.find_dead_workers(&dead, now, &mut self.dead_workers);
        }
    }

    /// One of the dead workers whose monitor's death was told before.
    pub fn next_dead_worker(&mut self) -> Option<WorkerDeath> {
        let is_told = |worker: &WorkerDeath| {
            self.get(worker.generation).is_none_or(|running| running.exit.is_none())
        };
        let place = self.dead_workers.iter().position(is_told)?;
        Some(self.dead_workers.remove(place))
    }

    /// Finds out what is left of those that are over, before anything is started that
    /// could have the number of a session in which nothing is left.
    pub fn prepare_start(&mut self, now: Tick, supervisor: &Supervisor) {
        // What the kernel has killed before is not to explain how this one ends.
        self.kills.explain(0);
        self.sweep.run(&mut self.running, now, supervisor);
    }

    /// Those whose monitor, or last process, was reaped, and who have said all that they
    /// had to say. The newest first, so that none takes a place that is dead itself.
    /// And whether the kernel has killed for want of memory all of these monitors, and of
    /// the workers that are not told of, that got a SIGKILL that was not main's.
    pub fn ended(&mut self, now: Tick, supervisor: &Supervisor) -> (Vec<Generation>, bool) {
        let mut heard = Vec::new();
        let is_foreign = |generation| !supervisor.was_killed(generation);
        let mut killed = self
            .dead_workers
            .iter()
            .filter(|worker| worker.exit.is_sigkill() && is_foreign(worker.generation))
            .count();
        let mut exits = killed > 0;
        for running in self.running.iter_mut().rev() {
            // What still waits, or a child receives, was said before the death.
            if (running.exit.is_some() || running.empty) && running.notify.is_settled(now) {
                heard.push(running.generation);
                exits |= running.exit.is_some();
                let is_sigkill = running.exit.is_some_and(Exit::is_sigkill);
                killed += usize::from(is_sigkill && is_foreign(running.generation));
            }
        }
        (heard, exits && self.kills.explain(killed))
    }

    /// How one of these has ended, if nothing that was told since has changed that.
    pub fn take_end(
        &mut self,
        generation: Generation,
        is_starved: bool,
        now: Tick,
        supervisor: &Supervisor,
    ) -> Option<GenerationEnd> {
        let running = self.get_mut(generation)?;
        let Some(exit) = running.exit.take() else {
            return running.empty.then_some(GenerationEnd::Last);
        };
        let is_draining = supervisor.stage_of(generation) == Some(Stage::Draining);
        // Main asks for no SIGKILL before it sends one.
        let is_asked = is_draining && (!exit.is_sigkill() || supervisor.was_killed(generation));
        let cause = match is_asked {
            true => ExitReason::Requested,
            false if is_starved && exit.is_sigkill() => ExitReason::Memory,
            false => ExitReason::Unknown,
        };
        let (pid, lived, known) = (running.leader, now.since(running.since), running.reason.take());
        Some(GenerationEnd::Monitor {
            death: MonitorDeath { generation, pid, exit, lived, known, cause },
            exec: running.exec,
            session: if running.empty { Session::Empty } else { Session::Members },
            forced: running.board.header().is_some_and(|header| header.killed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Generations;
    use crate::main_process::generation::RunningGeneration;
    use crate::persist::Persist as _;
    use crate::types::{Generation, Pid};

    /// rule: ready.sigvtalrm
    #[test]
    fn number_of_a_dead_monitor_stands_for_the_newest_generation() {
        let mut generations = Generations::new();
        let leader = Pid::new(7).expect("positive");
        for number in [3, 4] {
            let mut running = RunningGeneration::empty_value();
            (running.generation, running.leader) = (Generation(number), leader);
            generations.add(running);
        }
        assert_eq!(generations.led_by(leader), Some(Generation(4)));
    }
}
