//! A monitor with a pool, as `src/monitor` has it: the loop of a library monitor, whose workers
//! are copies of it, and that of `-x`. Each function names the one that it stands for.

use crate::kernel::{Kind, Number, Progress, Set, State, bit, each, number, pid};
use crate::main_loop::slot;
use crate::pool_truth::PoolTruth;
use crate::world::{Board, MonitorKind, Note, Said, Word, World};
use panzer::machines::{
    ExecResult, Exit, Generation, Signal, Slot, over,
    pool::{Authority, Command, Event, Group, Pool, Report, StopSender},
};
use panzer::{Millis, Pid, Tick};
use std::cell::Cell;
use std::mem;

/// How often what is left of groups is looked at, though nothing in it has ended.
const REST_PACE: Millis = Millis(1_000);
/// From a death to the look at all workers.
const AFTER_FORK: Millis = Millis(1);

/// `RowOwner`
#[derive(Clone, Copy, Debug)]
struct Owner {
    pid: Number,
    slot: Slot,
    is_rest: bool,
}

#[derive(Debug)]
pub struct PoolLoop {
    pub monitor: Number,
    pub generation: Generation,
    pub pool: Pool,
    pub truth: PoolTruth,
    is_programs: bool,
    has_main: bool,
    owners: Vec<Owner>,
    sweep: Option<Tick>,
    waits_since: Tick,
    finished: Option<bool>,
    /// What to leave with because there is nothing to run.
    unusable: Option<u8>,
    events: Vec<Event>,
    commands: Vec<Command>,
}

impl PoolLoop {
    /// `MonitorLoop::new` and the beginning of `run`
    pub fn new(world: &mut World, monitor: Number) -> Option<Self> {
        let (now, has_main) = (world.now(), world.has_main());
        let shared = world.of_monitor(monitor)?;
        shared.board = Some(Board::default());
        let authority = Authority::Main { timeout: shared.timeout };
        let (rules, generation, timeout) = (shared.rules, shared.generation, shared.timeout);
        let is_programs = shared.kind == MonitorKind::Programs;
        let mut made = Self {
            monitor,
            generation,
            pool: Pool::new(rules, authority, now),
            truth: PoolTruth::new(rules, timeout, now),
            is_programs,
            has_main,
            owners: Vec::new(),
            sweep: None,
            waits_since: now,
            finished: None,
            unusable: None,
            events: Vec::new(),
            commands: Vec::new(),
        };
        let process = world.kernel.get_mut(monitor);
        (process.catches, process.adopts) = (true, is_programs);
        made.count(world);
        made.scale(world);
        Some(made)
    }

    fn deadline(&self) -> Option<Tick> {
        self.pool.deadline().into_iter().chain(self.sweep).min()
    }

    /// By when it has to have a turn, if it is not to have stalled.
    pub fn latest_turn(&self) -> Tick {
        let due = self.deadline().unwrap_or(Tick::NEVER);
        due.max(self.waits_since).after(Millis(1_000))
    }

    /// Whether poll(2) would return.
    pub fn wakes(&self, world: &World) -> bool {
        self.deadline().is_some_and(|due| due <= world.now())
            || world.kernel.has_pending(self.monitor)
            || self.has_main && !world.has_main()
            || world
                .shared
                .iter()
                .any(|shared| shared.generation == self.generation && !shared.pipe.is_empty())
    }

    /// With what the monitor leaves, once it does: the end of `run`.
    pub fn status(&self) -> Option<u8> {
        self.finished.map(|killed| self.unusable.unwrap_or(killed.into()))
    }

    /// `turn`
    pub fn turn(&mut self, world: &mut World) {
        let clock = Cell::new(self.waits_since);
        let (_, now, lost) = over(|| clock.get(), self.deadline(), || clock.set(world.now()));
        if let Some(by) = lost {
            self.truth.lose_time(by);
            self.step(world, Event::Stalled { by });
        }
        world.kernel.deliver(self.monitor);
        let died = world.kernel.take_one(self.monitor, Signal::Chld);
        self.take_notifications(world);
        self.reap(world, died);
        let pending = world.kernel.take(self.monitor);
        if self.has_main && !world.has_main() {
            self.lose_main(world);
        }
        if pending.has(Signal::Winch) {
            self.scale(world);
        }
        if pending.has(Signal::Term) {
            self.stop(world);
        }
        self.act_on_interrupts(world, pending.interrupts, pending.by_parent);
        if self.pool.deadline().is_some_and(|deadline| deadline <= now) {
            self.step(world, Event::Timer);
        }
        if died {
            self.reap_unnamed(world);
        }
        self.watch_for_hangs(world);
        self.waits_since = now;
        self.truth.after_turn(world, &self.pool);
    }

    /// `Programs::hear` and `hear_ready`
    fn take_notifications(&mut self, world: &mut World) {
        let Some(shared) = world.shared(self.generation) else { return };
        for said in mem::take(&mut shared.pipe) {
            match said {
                Said::Runs(worker) => {
                    let owner = self.owners.iter().find(|one| one.pid == worker && !one.is_rest);
                    if let Some(&Owner { slot, pid: number, .. }) = owner {
                        self.step(world, Event::Runs { slot, pid: pid(number) });
                    }
                }
                Said::CannotRun(worker, result) => self.note_unusable(world, worker, result),
                Said::Ready(number, worker) => {
                    self.step(world, Event::Ready { slot: slot(number), pid: pid(worker) });
                }
                Said::Busy(number, worker) => {
                    let owner = self.owners.iter().find(|one| one.pid == worker && !one.is_rest);
                    if let Some(&owner) = owner.filter(|owner| owner.slot.number() == number) {
                        self.tell_busy(world, owner);
                    }
                }
            }
        }
    }

    /// `poll_exec_status`, of a program that cannot be executed
    fn note_unusable(&mut self, world: &mut World, worker: Number, result: ExecResult) {
        let status = match result {
            ExecResult::NotFound => 127,
            ExecResult::NotExecutable => 126,
            ExecResult::Ran | ExecResult::Retryable => 0,
        };
        if status == 0
            || self.pool.was_ready()
            || self.unusable.is_some()
            || !self.is_worker(worker)
        {
            return;
        }
        self.unusable = Some(status);
        if let Some(shared) = world.shared(self.generation) {
            shared.inbox.push((self.monitor, Word::Unusable(result)));
        }
        self.step(world, Event::StopNow { by: StopSender::Stranger });
    }

    fn tell_busy(&mut self, world: &mut World, owner: Owner) {
        if let Some(since) = world.kernel.get(owner.pid).busy_since {
            self.step(world, Event::Busy { slot: owner.slot, pid: pid(owner.pid), since });
        }
    }

    /// `act_on_signals`
    fn act_on_interrupts(&mut self, world: &mut World, interrupts: u32, by_parent: u32) {
        let now = world.shared(self.generation).is_some_and(|shared| shared.now);
        if interrupts > 0 && self.has_main && (now || by_parent > 0) {
            return self.step(world, Event::StopNow { by: StopSender::Main });
        }
        for _ in 0..interrupts.min(2) {
            if self.pool.is_stopping() {
                self.step(world, Event::StopNow { by: StopSender::Stranger });
            } else {
                self.stop(world);
            }
        }
    }

    /// `stop`
    fn stop(&mut self, world: &mut World) {
        if self.has_main && !world.has_main() {
            return self.lose_main(world);
        }
        if !self.pool.is_stopping()
            && let Some(shared) = world.shared(self.generation)
        {
            shared.inbox.push((self.monitor, Word::Stopping));
        }
        self.step(world, Event::Stop);
    }

    /// `lose_main`
    fn lose_main(&mut self, world: &mut World) {
        if mem::replace(&mut self.has_main, false) {
            self.step(world, Event::MainGone);
        }
    }

    /// `scale`
    fn scale(&mut self, world: &mut World) {
        if let Some(count) = world.shared(self.generation).and_then(|shared| shared.wanted)
            && !self.pool.is_stopping()
        {
            self.step(world, Event::Scale { count });
        }
    }

    /// `watch_for_hangs` and `look`
    fn watch_for_hangs(&mut self, world: &mut World) {
        let Some(shared) = world.shared(self.generation) else { return };
        if self.pool.is_watching() || shared.asks_for_busy {
            return;
        }
        shared.asks_for_busy = true;
        for place in 0..self.owners.len() {
            let owner = self.owners[place];
            if !owner.is_rest {
                self.tell_busy(world, owner);
            }
        }
        if self.pool.is_watching()
            && let Some(shared) = world.shared(self.generation)
        {
            shared.asks_for_busy = false;
        }
    }

    /// `step`
    fn step(&mut self, world: &mut World, event: Event) {
        let mut events = mem::take(&mut self.events);
        events.push(event);
        let mut next = 0;
        while let Some(&event) = events.get(next) {
            next += 1;
            world.note(Note::Pool(self.generation.0, event));
            if let Event::Forked { slot, pid } = event {
                // `Rows::forked`: the kernel gives no number out whose group is not empty.
                let worker = number(pid);
                self.owners.retain(|owner| owner.pid != worker);
                self.owners.push(Owner { pid: worker, slot, is_rest: false });
            }
            self.truth.before(world, event);
            let mut commands = mem::take(&mut self.commands);
            self.pool.step(world.now(), event, &mut commands);
            for command in commands.drain(..) {
                self.act(world, command, &mut events);
            }
            self.commands = commands;
            self.count(world);
            self.truth.after(world, &self.pool);
        }
        events.clear();
        self.events = events;
    }

    /// `act`
    fn act(&mut self, world: &mut World, command: Command, events: &mut Vec<Event>) {
        world.note(Note::PoolDoes(self.generation.0, command));
        self.truth.on_command(world, command);
        match command {
            Command::Fork { slot } => events.push(self.fork(world, slot)),
            Command::Signal { pid, signal } => self.signal(world, pid, signal),
            Command::SignalGroup { pid, signal } => {
                // `signal_rest`
                if self.left_in_group(world, number(pid)) == Group::Members {
                    world.kill_group(self.monitor, number(pid), self.generation.0, signal);
                }
            }
            Command::AnnounceReady => {
                if let Some(shared) = world.shared(self.generation) {
                    shared.inbox.push((self.monitor, Word::Ready));
                }
            }
            Command::Look => {
                for owner in self.owners.iter().filter(|owner| !owner.is_rest) {
                    if let Some(since) = world.kernel.get(owner.pid).busy_since {
                        events.push(Event::Busy { slot: owner.slot, pid: pid(owner.pid), since });
                    }
                }
            }
            Command::Finish { killed } => {
                self.finished = Some(killed);
                if let Some(board) =
                    world.shared(self.generation).and_then(|one| one.board.as_mut())
                {
                    board.killed |= killed;
                }
            }
            Command::Tell(Report::Died { pid, group, .. }) => self.on_died(number(pid), group),
            Command::Tell(_) => {}
        }
    }

    /// `Rows::died`
    fn on_died(&mut self, worker: Number, group: Group) {
        match group {
            Group::Empty => self.owners.retain(|owner| owner.pid != worker),
            Group::Members => {
                for owner in self.owners.iter_mut().filter(|owner| owner.pid == worker) {
                    owner.is_rest = true;
                }
            }
        }
    }

    /// `K::signal`
    fn signal(&self, world: &mut World, to: Pid, signal: Signal) {
        let worker = number(to);
        let leads = world.kernel.get(worker).group == worker;
        if (self.is_programs || signal == Signal::Kill) && leads {
            // `send_program`: it is not reaped, so it pins its group.
            world.kill_group(self.monitor, worker, self.generation.0, signal);
        } else {
            world.kill(self.monitor, to, signal);
        }
    }

    /// `fork` and `K::make`
    fn fork(&mut self, world: &mut World, slot: Slot) -> Event {
        let kind = if self.is_programs { Kind::Program } else { Kind::Worker };
        let fails = world.dice.hits(world.chaos.fork_fails);
        let dice = &mut world.dice;
        let made = (!fails).then(|| world.kernel.fork(self.monitor, kind, dice)).flatten();
        let Some(worker) = made else { return Event::ForkFailed { slot } };
        world.kernel.lead_group(worker);
        let stubborn = [0, bit(Signal::Term), bit(Signal::Term) | bit(Signal::Int)];
        let ignores =
            if world.dice.hits(world.chaos.stubborn) { world.dice.one_of(&stubborn) } else { 0 };
        let process = world.kernel.get_mut(worker);
        (process.slot, process.ignores) = (slot.number(), ignores);
        process.parent_death = Some(Signal::Term);
        process.progress = if self.is_programs { Progress::Forked } else { Progress::Starting };
        Event::Forked { slot, pid: pid(worker) }
    }

    /// `count`: the board says how the slots are.
    fn count(&self, world: &mut World) {
        let Some(board) = world.shared(self.generation).and_then(|one| one.board.as_mut()) else {
            return;
        };
        (board.count, board.ready) = (self.pool.count(), self.pool.ready());
        (board.before, board.since) = (self.pool.before_ready(), self.pool.since_ready());
        board.workers.clear();
        board.workers.extend(self.owners.iter().map(|owner| owner.pid));
    }
}

/// `reap_workers.rs`
impl PoolLoop {
    /// `reap`
    fn reap(&mut self, world: &mut World, died: bool) {
        let now = world.now();
        let mut touched: Set = 0;
        while let Some(child) = world.kernel.take_named(self.monitor) {
            touched |= self.reap_child(world, child);
        }
        if died {
            self.want_sweep(now);
        }
        let is_due = self.sweep.is_some_and(|due| due <= now);
        if is_due {
            self.sweep = None;
            touched |= self.sweep_children(world);
        }
        self.look_at_rests(world, touched, is_due);
    }

    /// `want_sweep`
    fn want_sweep(&mut self, now: Tick) {
        let due = if self.is_programs { now } else { now.after(AFTER_FORK) };
        self.sweep = Some(self.sweep.map_or(due, |sweep| sweep.min(due)));
    }

    /// `sweep_children`
    fn sweep_children(&mut self, world: &mut World) -> Set {
        let mut touched = 0;
        for child in each(world.kernel.dead_children(self.monitor)) {
            if self.is_programs {
                self.take_notifications(world);
                touched |= self.reap_child(world, child);
            } else if self.is_worker(child) {
                self.take_notifications(world);
                self.reap_one(world, child);
            }
        }
        touched
    }

    fn is_worker(&self, child: Number) -> bool {
        self.owners.iter().any(|owner| owner.pid == child && !owner.is_rest)
    }

    /// `reap_unnamed`
    fn reap_unnamed(&mut self, world: &mut World) {
        if self.is_programs {
            return;
        }
        while let Some(child) = each(world.kernel.dead_children(self.monitor)).next() {
            if !self.is_worker(child) {
                return;
            }
            self.take_notifications(world);
            self.reap_one(world, child);
        }
    }

    /// `reap_child`
    fn reap_child(&mut self, world: &mut World, child: Number) -> Set {
        let is_worker = self.is_worker(child);
        if !is_worker && !self.is_programs {
            return 0;
        }
        let process = *world.kernel.get(child);
        let has_group = process.state != State::Free && process.group != child;
        let touched = if has_group { 1 << process.group } else { 0 };
        if is_worker {
            self.reap_one(world, child);
        } else if process.parent == self.monitor && world.kernel.is_dead(child) {
            world.reap(self.monitor, child);
        }
        touched
    }

    /// `reap_one`
    fn reap_one(&mut self, world: &mut World, child: Number) {
        let Some(owner) = self.owners.iter().find(|one| one.pid == child && !one.is_rest) else {
            return;
        };
        let slot = owner.slot;
        if !world.kernel.is_dead(child) {
            return;
        }
        let exit = world.reap(self.monitor, child).unwrap_or(Exit::Status(0));
        let group = if self.is_programs { self.left_in_group(world, child) } else { Group::Empty };
        self.step(world, Event::Exited { slot, pid: pid(child), exit, group });
    }

    /// `left_in_group`
    fn left_in_group(&self, world: &mut World, leader: Number) -> Group {
        let own = world.kernel.members(leader) & world.kernel.children(self.monitor);
        let mut left = Group::Empty;
        for member in each(own) {
            if world.kernel.is_dead(member) && !self.is_worker(member) {
                world.reap(self.monitor, member);
            } else {
                left = Group::Members;
            }
        }
        left
    }

    /// `look_at_rests`
    fn look_at_rests(&mut self, world: &mut World, touched: Set, is_sweep: bool) {
        if !self.is_programs {
            return;
        }
        let rests = self.owners.iter().filter(|owner| owner.is_rest);
        let rests = rests.fold(0, |set: Set, owner| set | 1 << owner.pid);
        for leader in each(if is_sweep { rests } else { rests & touched }) {
            if self.left_in_group(world, leader) == Group::Empty {
                self.owners.retain(|owner| !(owner.pid == leader && owner.is_rest));
                self.step(world, Event::GroupEmpty { pid: pid(leader) });
            }
        }
        if rests != 0 {
            self.sweep = self.sweep.or(Some(world.now().after(REST_PACE)));
        }
    }
}
