//! Main, as `src/main_process` has it: the same order of the same steps, and nothing of what
//! has no part in a decision. Each function names the one that it stands for.

use crate::kernel::{Kind, MAIN, Number, Set, State, Taken, bit, each, number, pid};
use crate::main_truth::MainTruth;
use crate::world::{Board, ExecFate, MonitorKind, Note, Shared, Word, World};
use panzer::machines::{
    Codec, Direction, ExecResult, Exit, Generation, Persist as _, Signal, Slot, Stage, over,
    pool::PoolRules,
    supervisor::{Command, Event, Session, Supervisor, SupervisorRules, is_losing},
};
use panzer::{Millis, Tick};
use std::cell::Cell;
use std::mem;

/// How long the last part of a handshake may take.
const HANDSHAKE: Millis = Millis(300);
/// The least time between two sweeps where there are many children.
const REST: Millis = Millis(50);
/// How often a board is looked at that has a slot without a ready worker.
const AGAIN: Millis = Millis(500);

/// What an operator asks for over the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Scale(u16),
    Reload,
}

/// What the next generations are.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub rules: SupervisorRules,
    pub pool: PoolRules,
    pub kind: MonitorKind,
}

/// `RunningGeneration`
#[derive(Clone, Debug)]
struct Running {
    generation: Generation,
    leader: Number,
    monitor: Option<Number>,
    exec_open: bool,
    exec: ExecResult,
    exit: Option<Exit>,
    /// The groups of its session that have had the last signal.
    told: Set,
    empty: bool,
}

#[derive(Debug)]
pub struct MainLoop {
    pub supervisor: Supervisor,
    pub truth: MainTruth,
    pub settings: Settings,
    /// With what a reload replaces these.
    pub next_settings: Settings,
    pub requests: Vec<Request>,
    pub finished: Option<u8>,
    running: Vec<Running>,
    current: Generation,
    /// `Sweep`
    sweep_due: Option<Tick>,
    rested: Tick,
    /// The environment file of this generation is read until then.
    reading: Option<(Generation, Tick)>,
    scaled: Option<u16>,
    interrupts: u32,
    is_refusing: bool,
    restart_wanted: bool,
    /// When the wait began that the next turn ends.
    waits_since: Tick,
    commands: Vec<Command>,
}

impl MainLoop {
    pub fn new(settings: Settings, now: Tick) -> Self {
        Self {
            supervisor: Supervisor::new(settings.rules, now),
            truth: MainTruth::new(now, settings.rules),
            settings,
            next_settings: settings,
            requests: Vec::new(),
            finished: None,
            running: Vec::new(),
            current: Generation(0),
            sweep_due: Some(Tick(0)),
            rested: Tick(0),
            reading: None,
            scaled: None,
            interrupts: 0,
            is_refusing: false,
            restart_wanted: false,
            waits_since: now,
            commands: Vec::new(),
        }
    }

    pub const fn current(&self) -> Generation {
        self.current
    }

    /// `deadline`
    pub fn deadline(&self, now: Tick) -> Option<Tick> {
        let refilling = self.supervisor.is_refilling().then(|| now.after(AGAIN));
        let reading = self.reading.map(|(_, until)| until);
        [self.supervisor.deadline(), self.sweep_due, reading, refilling].into_iter().flatten().min()
    }

    /// By when it has to have a turn, if it is not to have stalled.
    pub fn latest_turn(&self) -> Tick {
        let due = self.deadline(self.waits_since).unwrap_or(Tick::NEVER);
        due.max(self.waits_since).after(Millis(1_000))
    }

    /// Whether poll(2) would return.
    pub fn wakes(&self, world: &World) -> bool {
        let now = world.now();
        self.deadline(self.waits_since).is_some_and(|due| due <= now)
            || world.kernel.has_pending(MAIN)
            || !self.requests.is_empty()
            || self.restart_wanted && self.supervisor.is_settled()
            || world
                .shared
                .iter()
                .any(|shared| !shared.inbox.is_empty() && shared.settled_at <= now)
            || self.running.iter().any(|running| running.exit.is_some())
    }

    /// `turn`
    pub fn turn(&mut self, world: &mut World) {
        let clock = Cell::new(self.waits_since);
        let deadline = self.deadline(self.waits_since);
        let (_, now, lost) = over(|| clock.get(), deadline, || clock.set(world.now()));
        let is_due = self.restart_wanted;
        if let Some(by) = lost {
            self.truth.lose_time(by);
            self.step(world, Event::Stalled { by });
        }
        world.kernel.deliver(MAIN);
        self.reap(world);
        let mut pending = Taken::default();
        self.look_for_stop(world, &mut pending);
        self.take_notifications(world, &mut pending);
        if pending.ready != 0 {
            self.ready_by_signal(world, pending.ready);
        }
        self.on_exits(world);
        self.check_scoreboards(world);
        self.check_reads(world);
        self.act_on_signals(world, &pending);
        if self.supervisor.deadline().is_some_and(|deadline| deadline <= now) {
            self.step(world, Event::Timer);
        }
        self.serve_clients(world);
        if is_due && self.supervisor.is_settled() && self.reading.is_none() {
            self.replace(world);
        }
        self.waits_since = now;
        self.truth.after_turn(world, &self.supervisor);
    }

    /// `reap`, `Generations::note_death` and `end_reaping`
    fn reap(&mut self, world: &mut World) {
        let now = world.now();
        for child in each(world.kernel.dead_children(MAIN)) {
            let Some(exit) = world.reap(MAIN, child) else { continue };
            self.sweep_due = self.sweep_due.or(Some(now.max(self.rested)));
            if let Some(running) = self.running.iter_mut().find(|one| one.monitor == Some(child)) {
                (running.monitor, running.exit) = (None, Some(exit));
                self.sweep_due = Some(Tick(0));
            }
        }
        if self.sweep_due.is_some_and(|due| due <= now) {
            self.sweep(world);
        }
    }

    /// `Sweep::run`
    fn sweep(&mut self, world: &mut World) {
        self.sweep_due = None;
        if self.running.iter().all(|running| running.monitor.is_some() || running.empty) {
            return;
        }
        let children = self.children(world);
        for place in 0..self.running.len() {
            let running = &mut self.running[place];
            if running.monitor.is_some() || running.empty {
                continue;
            }
            let groups = groups_in(world, running.leader, children);
            running.empty = groups == 0;
            if let Some(signal) = self.supervisor.sent_to_session(running.generation) {
                signal_groups(world, &mut self.running[place], groups, signal);
            }
        }
    }

    /// `Sweep::children`
    fn children(&mut self, world: &World) -> Set {
        let children = world.kernel.children(MAIN);
        let rest = if children.count_ones() as usize > world.few { REST } else { Millis(0) };
        self.rested = world.now().after(rest);
        children
    }

    /// `look_for_stop` and `act_on_stop_signals`
    fn look_for_stop(&mut self, world: &mut World, pending: &mut Taken) {
        world.kernel.deliver(MAIN);
        let new = world.kernel.take(MAIN);
        self.interrupts = self.interrupts.saturating_add(new.interrupts);
        let again = new.interrupts > 0 && self.interrupts > 1;
        if new.has(Signal::Quit) || again {
            self.step(world, Event::StopNow);
        } else if new.interrupts > 0 || new.has(Signal::Term) {
            self.step(world, Event::Stop);
        }
        pending.add(&new);
    }

    /// `take_notifications`
    fn take_notifications(&mut self, world: &mut World, pending: &mut Taken) {
        for place in 0..self.running.len() {
            let Running { generation, monitor, .. } = self.running[place];
            let now = world.now();
            let Some(shared) = world.shared(generation).filter(|one| one.settled_at <= now) else {
                continue;
            };
            for (sender, word) in mem::take(&mut shared.inbox) {
                match word {
                    Word::Ready => self.step(world, Event::Ready { generation }),
                    Word::Stopping if monitor == Some(sender) => {
                        self.look_for_stop(world, pending);
                        self.step(world, Event::MonitorStopping { generation });
                    }
                    Word::Stopping => {}
                    // `note_unusable`
                    Word::Unusable(result) => self.running[place].exec = result,
                }
            }
        }
        for place in 0..self.running.len() {
            if self.poll_exec_status(world, place) {
                let generation = self.running[place].generation;
                self.step(world, Event::Runs { generation });
            }
        }
    }

    /// `RunningGeneration::poll_exec_status`
    fn poll_exec_status(&mut self, world: &mut World, place: usize) -> bool {
        let running = &mut self.running[place];
        let Some(shared) = world.shared(running.generation) else { return false };
        if !running.exec_open || shared.exec == ExecFate::Open {
            return false;
        }
        running.exec_open = false;
        match shared.exec {
            ExecFate::Failed(result) => {
                running.exec = result;
                false
            }
            ExecFate::Open | ExecFate::Runs => true,
        }
    }

    /// `ready_by_signal` and `Generations::led_by`
    fn ready_by_signal(&mut self, world: &mut World, leader: Number) {
        let led = self.running.iter().rev().find(|running| running.leader == leader);
        if let Some(generation) = led.map(|running| running.generation) {
            self.truth.on_ready_by_signal(world, generation, leader);
            self.step(world, Event::Ready { generation });
        }
    }

    /// `on_exits`, `Generations::ended` and `take_end`
    fn on_exits(&mut self, world: &mut World) {
        let now = world.now();
        for place in (0..self.running.len()).rev() {
            // What is told of one may have removed others.
            let Some(running) = self.running.get_mut(place) else { continue };
            let generation = running.generation;
            let is_settled = world.shared(generation).is_none_or(|shared| shared.settled_at <= now);
            if !is_settled || !(running.exit.is_some() || running.empty) {
                continue;
            }
            if running.exit.take().is_none() {
                self.step(world, Event::Empty { generation });
                continue;
            }
            let session = if running.empty { Session::Empty } else { Session::Members };
            let exec = running.exec;
            let board = world.shared(generation).and_then(|shared| shared.board.as_ref());
            if board.is_some_and(|board| board.killed) {
                self.step(world, Event::Forced);
            }
            self.step(world, Event::Gone { generation, exec, session });
        }
    }

    /// `Generations::judge_attempt`
    fn check_scoreboards(&mut self, world: &mut World) {
        let Some(generation) = self.supervisor.attempt() else { return };
        let Some(Board { count, ready, before, since, .. }) =
            world.shared(generation).and_then(|shared| shared.board.as_ref())
        else {
            return;
        };
        let event = if is_losing(*count, *before) || is_losing(*count, *since) {
            Event::Losing { generation }
        } else if ready < count {
            Event::SlotUnready { generation }
        } else {
            Event::AllReady { generation }
        };
        self.step(world, event);
    }

    /// `check_reads`: `look_at_environment` and `give_up_loads`
    fn check_reads(&mut self, world: &mut World) {
        let Some((generation, until)) = self.reading else { return };
        if self.supervisor.is_stopping() {
            self.reading = None;
            self.step(world, Event::SpawnFailed { generation });
        } else if until <= world.now() {
            self.reading = None;
            let event = self.spawn(world, generation);
            self.step(world, event);
        }
    }

    /// `act_on_signals`
    fn act_on_signals(&mut self, world: &mut World, pending: &Taken) {
        if pending.has(Signal::Usr2) && !self.supervisor.is_stopping() {
            self.restart_wanted = true;
        }
        if pending.has(Signal::Usr1) {
            self.reload(world);
        }
    }

    fn reload(&mut self, world: &mut World) {
        if !self.supervisor.is_stopping() {
            self.settings = self.next_settings;
            self.supervisor.configure(self.settings.rules);
            self.truth.configure(self.settings.rules);
            self.step(world, Event::Reload);
        }
    }

    /// `serve_clients`
    fn serve_clients(&mut self, world: &mut World) {
        for request in mem::take(&mut self.requests) {
            match request {
                Request::Reload => self.reload(world),
                Request::Scale(count) => {
                    let has_pool = self.supervisor.stage_of(self.current) == Some(Stage::Current)
                        && world.shared(self.current).is_some_and(|shared| shared.board.is_some());
                    if has_pool {
                        self.scaled = Some(count);
                        self.tell_count(world);
                    }
                }
            }
        }
    }

    /// `Control::tell_count` and `RunningGeneration::tell_count`
    fn tell_count(&mut self, world: &mut World) {
        for running in self.running.iter().filter(|_| self.scaled.is_some()) {
            if self.supervisor.stage_of(running.generation) == Some(Stage::Draining) {
                continue;
            }
            let Some(shared) = world.shared(running.generation) else { continue };
            shared.wanted = self.scaled;
            if let (true, Some(monitor)) = (shared.board.is_some(), running.monitor) {
                world.kill(MAIN, pid(monitor), Signal::Winch);
            }
        }
    }

    /// `replace`: another image reads what this one has written.
    fn replace(&mut self, world: &mut World) {
        self.restart_wanted = false;
        let mut codec = Codec::empty_value();
        self.supervisor.persist(&mut codec);
        let mut codec = Codec::of(codec.bytes().to_vec(), Direction::Read);
        let mut read = Supervisor::empty_value();
        read.persist(&mut codec);
        let is_same = codec.is_whole() && read == self.supervisor;
        let old = mem::replace(&mut self.supervisor, read);
        world.expect(is_same, "restart_forgets_nothing", || format!("it was {old:#?}"));
        world.note(Note::Says("main is replaced in place"));
        (self.sweep_due, self.rested) = (Some(Tick(0)), Tick(0));
        // As `signal::expect_ready` is called by the new image.
        world.kernel.expected = self.running.last().map_or(0, |running| running.leader);
        world.tally.restarts += 1;
    }
}

/// What the supervisor orders.
impl MainLoop {
    /// `step`
    fn step(&mut self, world: &mut World, event: Event) {
        if self.begins_stop(world, &event) {
            self.refuse_newcomers(world);
        }
        let mut next = Some(event);
        while let Some(event) = next.take() {
            world.note(Note::Main(event));
            self.truth.before(world, event);
            let mut commands = mem::take(&mut self.commands);
            self.supervisor.step(world.now(), event, &mut commands);
            for command in commands.drain(..) {
                next = self.act(world, command).or(next);
            }
            self.commands = commands;
            self.truth.after(world, &self.supervisor);
        }
    }

    /// `begins_stop`
    fn begins_stop(&self, world: &World, event: &Event) -> bool {
        let now = world.now();
        let is_over = || self.supervisor.serves_until().is_some_and(|until| until <= now);
        (matches!(event, Event::Stop) && self.supervisor.would_stop_at_once())
            || (matches!(event, Event::Timer) && !self.is_refusing && is_over())
    }

    /// `refuse_newcomers`: whether a handshake is under way is chance.
    fn refuse_newcomers(&mut self, world: &mut World) {
        self.is_refusing = true;
        if world.dice.coin() {
            let mut commands = Vec::new();
            self.supervisor.linger(world.now(), HANDSHAKE, &mut commands);
            self.truth.on_linger(world.now(), HANDSHAKE);
            for command in commands {
                self.act(world, command);
            }
        }
    }

    /// `act`
    fn act(&mut self, world: &mut World, command: Command) -> Option<Event> {
        world.note(Note::MainDoes(command));
        self.truth.on_command(world, command);
        match command {
            Command::Spawn { generation } => return self.begin_start(world, generation),
            Command::Signal { generation, monitor, signal } => {
                self.signal_monitor(world, generation, number(monitor), signal);
            }
            Command::SignalSession { generation, leader, signal } => {
                self.signal_session(world, generation, number(leader), signal);
            }
            Command::Promote { generation } => {
                self.tell_count(world);
                self.current = generation;
            }
            Command::Forget { generation } => {
                self.running.retain(|running| running.generation != generation);
                world.shared.retain(|shared| shared.generation != generation || shared.lives);
            }
            Command::Finish { status } => self.finished = Some(status),
            Command::FailStart { .. }
            | Command::RollBack { .. }
            | Command::CloseListeners
            | Command::Tell(_) => {}
        }
        None
    }

    /// `begin_start`: with an environment file, which a child reads first.
    fn begin_start(&mut self, world: &mut World, generation: Generation) -> Option<Event> {
        if world.dice.hits(world.chaos.slow_reads) {
            let until = world.now().after(Millis(world.dice.below(3_000) as u64));
            self.reading = Some((generation, until));
            return None;
        }
        Some(self.spawn(world, generation))
    }

    /// `spawn`, `prepare_start` and `try_spawn`
    fn spawn(&mut self, world: &mut World, generation: Generation) -> Event {
        self.sweep(world);
        let fails = world.dice.hits(world.chaos.fork_fails);
        let dice = &mut world.dice;
        let Some(monitor) =
            (!fails).then(|| world.kernel.fork(MAIN, Kind::Monitor, dice)).flatten()
        else {
            return Event::SpawnFailed { generation };
        };
        let stubborn = world.dice.hits(world.chaos.stubborn);
        world.kernel.lead_session(monitor);
        let process = world.kernel.get_mut(monitor);
        process.tree = generation.0;
        process.parent_death = Some(Signal::Term);
        process.ignores = if stubborn { bit(Signal::Term) } else { 0 };
        let Settings { rules, pool, kind } = self.settings;
        let count = self.scaled.unwrap_or(pool.count);
        let pool = PoolRules { count, ..pool };
        let given = Shared::given(generation, monitor, kind, pool, rules.timeout);
        world.shared.push(given);
        world.kernel.expected = monitor;
        self.running.push(Running {
            generation,
            leader: monitor,
            monitor: Some(monitor),
            exec_open: true,
            exec: ExecResult::Ran,
            exit: None,
            told: 0,
            empty: false,
        });
        Event::Spawned { generation, monitor: pid(monitor) }
    }

    /// `Generations::signal_monitor`
    fn signal_monitor(
        &mut self,
        world: &mut World,
        generation: Generation,
        monitor: Number,
        signal: Signal,
    ) {
        let is_it = |one: &Running| one.generation == generation && one.monitor == Some(monitor);
        if !self.running.iter().any(is_it) {
            return;
        }
        if let (Signal::Int, Some(shared)) = (signal, world.shared(generation)) {
            shared.now = true;
        }
        world.kill(MAIN, pid(monitor), signal);
    }

    /// `Sweep::signal_session`
    fn signal_session(
        &mut self,
        world: &mut World,
        generation: Generation,
        leader: Number,
        signal: Signal,
    ) {
        let children = self.children(world);
        let is_it = |one: &&mut Running| one.generation == generation && one.leader == leader;
        let Some(running) = self.running.iter_mut().find(is_it).filter(|one| !one.empty) else {
            return;
        };
        running.told = 0;
        if let (Some(monitor), Signal::Kill) = (running.monitor, signal)
            && world.kernel.get(monitor).session != leader
        {
            world.kill(MAIN, pid(monitor), signal);
        }
        let groups = groups_in(world, leader, children);
        signal_groups(world, running, groups, signal);
        if running.monitor.is_some() && signal == Signal::Kill {
            kill_workers(world, generation, leader);
        }
    }
}

/// `RunningGeneration::groups`
fn groups_in(world: &World, leader: Number, children: Set) -> Set {
    let own = each(children).filter(|&child| world.kernel.get(child).session == leader);
    own.fold(0, |groups, child| groups | 1 << world.kernel.get(child).group)
}

/// The processes on a generation's board: `board_pids`.
fn board_pids(world: &mut World, generation: Generation) -> Set {
    let board = world.shared(generation).and_then(|shared| shared.board.as_ref());
    board.map_or(0, |board| board.workers.iter().fold(0, |set, &worker| set | 1 << worker))
}

/// `RunningGeneration::signal_groups`
fn signal_groups(world: &mut World, running: &mut Running, groups: Set, signal: Signal) {
    let is_first = !matches!(signal, Signal::Int | Signal::Kill);
    let workers = if is_first { board_pids(world, running.generation) } else { 0 };
    for group in each(groups & !running.told) {
        let leads =
            world.kernel.get(group).state != State::Free && world.kernel.get(group).group == group;
        if workers & 1 << group != 0 && leads {
            continue;
        }
        running.told |= 1 << group;
        world.kill_group(MAIN, group, running.generation.0, signal);
    }
}

/// `RunningGeneration::kill_workers`, by descriptors of processes: the number is asked for its
/// session while it is pinned by that.
fn kill_workers(world: &mut World, generation: Generation, leader: Number) {
    for worker in each(board_pids(world, generation)) {
        if world.kernel.is_alive(worker) && world.kernel.get(worker).session == leader {
            world.kernel.post(MAIN, worker, Signal::Kill);
        }
    }
}

/// The slot of that number.
pub fn slot(number: u16) -> Slot {
    Slot::new(number).expect("slots are counted from 1")
}
