//! Every event in every reachable state of main's supervisor, with stricter checks: the
//! exact exit status, the latest moment of each signal, no reload lost, the probation
//! served, and no deadline moved by anything else.
//!
//! `service.rs` walks further (longer waits, all signals remembered); this walk checks
//! more, visits all of its states, and ends in seconds.
//!
//! The supervisor meets a small model of the world: it knows which monitors are alive,
//! which have left processes of their group behind, which signal each got when, and what
//! the operator asked for. From each state every event is tried, and after each step the
//! invariants are asserted by name. States that differ only in the time of day, or in the
//! numbers of the generations, are one state.
//!
//! Time moves in whole seconds, and every duration here is in whole seconds: the
//! supervisor only compares times, so moments between two seconds add nothing. Deadlines
//! that are past are handled within a second.

use super::{
    Command, Event, ExecResult, Failure, Past, Readiness, Report, Session, Shutdown, Supervisor,
    SupervisorRules,
};
use super::{Escalation, GenerationEntry, GenerationState, Leader};
use crate::backoff::BackoffState;
use crate::types::{Backoff, Generation, Millis, Pid, Signal, Tick};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use std::collections::HashSet;

/// Now, in every state that is kept.
const NOW: Tick = Tick(1_000_000);
/// Times further back than this are equal, except those that decide whether a generation
/// is healthy.
const MEMORY: Millis = Millis(5_000);
const HEALTHY: Millis = Millis(10_000);
const SECOND: Millis = Millis(1_000);
const BACKOFF: Backoff = Backoff { delay: SECOND, max_delay: SECOND };
/// More consecutive deaths than this count as this many.
const MOST_DEATHS: u32 = 1;
/// From SIGTERM to SIGINT, and from SIGINT to SIGKILL.
const TIMEOUT: Millis = Millis(3_000);
const KILL_AFTER_TIMEOUT: Millis = Millis(2_000);
const KILL_AFTER_STOP_NOW: Millis = SECOND;
/// The longest that a start waits for another generation to make room.
const CROWDED_TO_KILL: Millis = SECOND;
/// How many generations may be alive, and how many the model can hold including those
/// that got SIGKILL and are still there.
const MOST_ALIVE: usize = 3;
const MOST_KEPT: usize = 4;

/// The signals of a stop, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Sent {
    Nothing,
    Term,
    Int,
    Kill,
}

/// What is left of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Alive {
    /// The `Spawn` has no answer yet.
    Spawning,
    /// The monitor, which is not reaped.
    Monitor(Pid),
    /// Only other processes of its group.
    Group(Pid),
    /// No process.
    Nothing,
}

/// A generation in the model, independent of the supervisor's own view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Truth {
    generation: Generation,
    alive: Alive,
    sent: Sent,
    /// When it became ready.
    ready_at: Option<Tick>,
    /// When its monitor was forked.
    since: Tick,
    /// Whether its exec has succeeded.
    runs: bool,
    /// Whether it was told that it is not ready yet.
    slow_told: bool,
    /// When it got its last signal.
    sent_at: Tick,
    /// Whether it appeared after the stop had begun.
    late: bool,
    /// Since when one of its slots has no ready worker, while it is on probation.
    short_since: Option<Tick>,
    /// When its drain was cut short for another generation.
    cut_short_at: Option<Tick>,
}

/// The final stop, as requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Order {
    /// Not yet.
    None,
    /// Serve until then (--drain-delay), and stop then.
    Linger { until: Tick },
    /// A graceful stop: SIGTERM first.
    Graceful { began: Tick },
    /// An immediate stop: SIGINT first.
    Now { began: Tick },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    plan: Supervisor,
    truths: Vec<Truth>,
    current: Option<Generation>,
    /// A reload was requested, and no generation was spawned since.
    reload_owed: bool,
    /// When the next start is due, if one is wanted and none is under way.
    start_due: Option<Tick>,
    /// When the first start was wanted.
    begun: Tick,
    order: Order,
    /// The exit status that main must have.
    status: u8,
    ever_ready: bool,
    failed: u32,
    closed: bool,
    finished: bool,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Choice {
    /// An event, after this much time.
    After(Millis, Event),
    /// Only time passes.
    Pass(Millis),
}

const fn kept(time: Tick, now: Tick) -> Tick {
    if time.0 == Tick::NEVER.0 {
        return time;
    }
    let oldest = now.0.saturating_sub(MEMORY.0);
    let time = if time.0 < oldest { oldest } else { time.0 };
    Tick(NOW.0 + time - now.0)
}

/// A generation is healthy or it is not: the seconds would only multiply the states.
const fn young_or_old(ready_at: Tick, now: Tick) -> Tick {
    let is_old = now.since(ready_at).0 >= HEALTHY.0;
    if is_old { Tick(NOW.0 - HEALTHY.0) } else { NOW }
}

/// A seed that gives delays of whole seconds; the jitter has unit tests of its own.
fn even_seed() -> u32 {
    let waits_a_second = |seed: &u32| {
        let mut backoff = BackoffState::new(*seed);
        backoff.died(NOW, None, BACKOFF);
        backoff.died(NOW, None, BACKOFF) == NOW.after(SECOND)
    };
    (0..).find(waits_a_second).expect("one in five hundred does")
}

impl World {
    fn new(rules: SupervisorRules) -> Self {
        Self {
            plan: Supervisor::new(rules, NOW),
            truths: Vec::new(),
            current: None,
            reload_owed: false,
            start_due: Some(NOW),
            begun: NOW,
            order: Order::None,
            status: 0,
            ever_ready: false,
            failed: 0,
            closed: false,
            finished: false,
        }
    }

    fn truth(&self, generation: Generation) -> Option<&Truth> {
        self.truths.iter().find(|truth| truth.generation == generation)
    }

    fn truth_mut(&mut self, generation: Generation) -> Option<&mut Truth> {
        self.truths.iter_mut().find(|truth| truth.generation == generation)
    }

    /// Whether its monitor lives, has no signal, and is not the current one.
    fn is_attempt(&self, truth: &Truth) -> bool {
        let there = matches!(truth.alive, Alive::Spawning | Alive::Monitor(_));
        there && truth.sent == Sent::Nothing && self.current != Some(truth.generation)
    }

    fn serves(&self, generation: Generation) -> bool {
        self.truth(generation).is_some_and(Truth::serves)
    }

    fn has_attempt(&self) -> bool {
        self.truths.iter().any(|truth| self.is_attempt(truth))
    }

    fn alive(&self) -> usize {
        self.truths.iter().filter(|truth| truth.counts()).count()
    }

    fn is_stopping(&self) -> bool {
        self.order != Order::None
    }

    fn choices(&self) -> Vec<Choice> {
        let mut events = vec![Event::Reload, Event::Stop, Event::StopNow, Event::Timer];
        // Events of a generation that does not exist.
        let unknown = Generation(99);
        events.push(Event::Ready { generation: unknown });
        events.push(Event::Gone {
            generation: unknown,
            exec: ExecResult::Ran,
            session: Session::Empty,
        });
        for truth in &self.truths {
            events.extend(self.events_of(truth));
        }
        if self.truths.iter().any(|truth| matches!(truth.alive, Alive::Monitor(_))) {
            events.push(Event::Forced);
        }
        let at_once = |event| Choice::After(Millis(0), event);
        let mut choices: Vec<_> = events.into_iter().map(at_once).collect();
        let by = Millis(3_000);
        choices.push(Choice::After(by, Event::Stalled { by }));
        choices.extend(self.wait().map(Choice::Pass));
        choices
    }

    /// The events that one generation can have.
    fn events_of(&self, truth: &Truth) -> Vec<Event> {
        let generation = truth.generation;
        let gone = |exec, session| Event::Gone { generation, exec, session };
        let said = [
            Event::Ready { generation },
            Event::Losing { generation },
            Event::SlotUnready { generation },
            Event::AllReady { generation },
        ];
        let mut events_of = match truth.alive {
            Alive::Spawning => {
                let monitor = truth.pid();
                vec![Event::Spawned { generation, monitor }, Event::SpawnFailed { generation }]
            }
            Alive::Monitor(_) => {
                let (runs, stops) =
                    (Event::Runs { generation }, Event::MonitorStopping { generation });
                vec![
                    runs,
                    stops,
                    gone(ExecResult::Ran, Session::Empty),
                    gone(ExecResult::Ran, Session::Members),
                ]
            }
            Alive::Group(_) => vec![Event::Empty { generation }],
            Alive::Nothing => Vec::new(),
        };
        if matches!(truth.alive, Alive::Monitor(_)) && truth.ready_at.is_none() {
            let failures = [ExecResult::NotFound, ExecResult::NotExecutable, ExecResult::Retryable];
            events_of.extend(failures.map(|exec| gone(exec, Session::Empty)));
        }
        events_of.extend(said);
        events_of
    }

    /// How much time can pass without an event.
    fn wait(&self) -> Option<Millis> {
        // Main answers `Spawn` before it waits again.
        if self.truths.iter().any(|truth| truth.alive == Alive::Spawning) {
            return None;
        }
        match self.plan.deadline() {
            None => Some(HEALTHY),
            Some(deadline) if deadline > NOW => Some(SECOND),
            Some(_) => None,
        }
    }

    fn after(&self, choice: Choice) -> Self {
        let mut world = self.clone();
        let now = match choice {
            Choice::Pass(span) => NOW.after(span),
            Choice::After(span, event) => {
                let now = NOW.after(span);
                let mut commands = Vec::new();
                world.plan.step(now, event, &mut commands);
                Check { before: self, event, now, commands: &commands }.run(&mut world);
                now
            }
        };
        world.forget_the_time(now);
        world.renumber();
        world
    }
}

impl Truth {
    const fn new(generation: Generation) -> Self {
        let (alive, sent) = (Alive::Spawning, Sent::Nothing);
        let long_ago = Tick(NOW.0 - MEMORY.0);
        let (since, sent_at) = (long_ago, long_ago);
        let [ready_at, short_since, cut_short_at] = [None; 3];
        let (runs, slow_told, late) = (false, false, false);
        Self {
            generation,
            alive,
            sent,
            ready_at,
            since,
            runs,
            slow_told,
            sent_at,
            late,
            short_since,
            cut_short_at,
        }
    }

    /// The pid of its monitor.
    fn pid(&self) -> Pid {
        let number = i32::try_from(self.generation.0).expect("there are few generations");
        Pid::new(number).expect("generations are numbered from 1")
    }

    /// Whether it is ready, and was not told to stop.
    fn serves(&self) -> bool {
        matches!(self.alive, Alive::Monitor(_))
            && self.ready_at.is_some()
            && self.sent == Sent::Nothing
    }

    /// Whether it counts as one of the three that may be alive.
    fn counts(&self) -> bool {
        self.alive != Alive::Nothing && self.sent < Sent::Kill
    }

    fn is_there(&self) -> bool {
        matches!(self.alive, Alive::Monitor(_) | Alive::Group(_))
    }
}

/// Makes states equal that differ only in times or in numbers.
impl World {
    fn forget_the_time(&mut self, now: Tick) {
        self.plan.backoff.forget_beyond(if self.is_stopping() { 0 } else { MOST_DEATHS });
        self.plan.wanted = kept(self.plan.wanted, now);
        self.start_due = self.start_due.map(|due| kept(due, now));
        // Times longer ago than `give_up_after` are equal.
        let rules = self.plan.rules;
        let begun = |at| match rules.give_up {
            0 => NOW,
            _ => kept(at, now).max(Tick(NOW.0 - rules.give_up_after.0)),
        };
        self.begun = if self.ever_ready { NOW } else { begun(self.begun) };
        match &mut self.plan.stop {
            Shutdown::Delayed { until: due } | Shutdown::Graceful { interrupt: due, .. } => {
                *due = kept(*due, now);
            }
            Shutdown::No | Shutdown::Immediate { .. } | Shutdown::Finished => {}
        }
        match &mut self.order {
            Order::Linger { until: at }
            | Order::Graceful { began: at }
            | Order::Now { began: at } => {
                *at = kept(*at, now);
            }
            Order::None => {}
        }
        // Health only matters after a death.
        let nobody_died = self.plan.backoff == BackoffState::new(self.plan.rules.seed);
        let oldest = if nobody_died { now } else { Tick(0) };
        for entry in &mut self.plan.generations {
            forget_the_time_of(entry, now, oldest);
        }
        let current = self.current;
        for truth in &mut self.truths {
            let is_starting = truth.sent == Sent::Nothing && truth.ready_at.is_none();
            truth.since = kept(if is_starting { truth.since } else { Tick(0) }, now);
            truth.runs &= is_starting;
            truth.slow_told &= is_starting;
            truth.sent_at = match truth.sent {
                Sent::Nothing => kept(Tick(0), now),
                Sent::Term | Sent::Int => kept(truth.sent_at, now),
                Sent::Kill => kept(truth.sent_at, now).max(Tick(NOW.0 - SECOND.0)),
            };
            truth.ready_at = truth.ready_at.map(|at| match truth.sent {
                Sent::Nothing if current == Some(truth.generation) => NOW,
                Sent::Nothing | Sent::Term | Sent::Int | Sent::Kill => kept(at, now),
            });
            truth.ready_at = truth.ready_at.filter(|_| truth.sent == Sent::Nothing);
            let is_on_probation = truth.ready_at.is_some() && current != Some(truth.generation);
            truth.short_since = truth.short_since.filter(|_| is_on_probation);
            truth.short_since = truth.short_since.map(|at| kept(at, now));
            truth.cut_short_at = truth.cut_short_at.filter(|_| truth.sent < Sent::Kill);
            truth.cut_short_at = truth.cut_short_at.map(|at| kept(at, now));
        }
        self.current = current.filter(|current| self.serves(*current));
        if self.ever_ready {
            self.failed = 0;
        }
        if let Past::NeverReady { failed, since } = &mut self.plan.past {
            *since = begun(*since);
            let most = self.plan.rules.give_up.max(1);
            (*failed, self.failed) = ((*failed).min(most), self.failed.min(most));
        }
    }

    /// Numbers the generations from 1 again: only their order matters.
    fn renumber(&mut self) {
        let old: Vec<_> = self.truths.iter().map(|truth| truth.generation).collect();
        let new = |generation: Generation| {
            let place = old.iter().position(|old| *old == generation);
            let number = u32::try_from(place.map_or(98, |place| place)).expect("it is small");
            Generation(number + 1)
        };
        for truth in &mut self.truths {
            truth.generation = new(truth.generation);
            let pid = truth.pid();
            if let Alive::Monitor(monitor) | Alive::Group(monitor) = &mut truth.alive {
                *monitor = pid;
            }
        }
        for entry in &mut self.plan.generations {
            entry.generation = new(entry.generation);
            let number = i32::try_from(entry.generation.0).expect("it is small");
            let pid = Pid::new(number).expect("generations are numbered from 1");
            if let Some(Leader::Monitor(leader) | Leader::Session(leader)) = &mut entry.leader {
                *leader = pid;
            }
        }
        self.current = self.current.map(new);
        let next = u32::try_from(old.len()).expect("it is small") + 1;
        self.plan.next = Generation(next);
    }
}

fn forget_the_time_of(entry: &mut GenerationEntry, now: Tick, oldest: Tick) {
    entry.due = kept(entry.due, now);
    entry.place_by = kept(entry.place_by, now);
    if let GenerationState::Refilling { ends: at } | GenerationState::Starting { slow: at } =
        &mut entry.state
    {
        *at = kept(*at, now);
    }
    entry.since = match entry.state {
        GenerationState::Probation
        | GenerationState::Refilling { .. }
        | GenerationState::Current => young_or_old(entry.since.max(oldest), now),
        // Only a report shows it.
        GenerationState::Spawning
        | GenerationState::Starting { .. }
        | GenerationState::MinUptime
        | GenerationState::Leaving(_) => NOW,
    };
}

/// One step, and the checks that it must pass.
struct Check<'a> {
    before: &'a World,
    event: Event,
    now: Tick,
    commands: &'a [Command],
}

impl Check<'_> {
    fn run(&self, world: &mut World) {
        self.take_in_event(world);
        for command in self.commands {
            self.take_in_action(world, *command);
        }
        self.assert_population(world);
        self.assert_start(world);
        self.assert_service(world);
        self.assert_health(world);
        self.assert_stop(world);
        self.assert_escalation(world);
        self.assert_deadlines(world);
    }

    fn expect(&self, holds: bool, name: &str) {
        let Self { before, event, now, commands } = self;
        let ago = now.since(NOW);
        assert!(holds, "{name}: {event:?} after {ago}\nin {before:?}\nled to {commands:?}");
    }

    /// The effect of the event on the model.
    fn take_in_event(&self, world: &mut World) {
        match self.event {
            Event::Reload => self.order_reload(world),
            Event::Stop => self.order_stop(world),
            Event::StopNow => self.order_stop_now(world),
            Event::Spawned { generation, monitor } => {
                let late = matches!(world.order, Order::Now { .. });
                if let Some(truth) = world.truth_mut(generation) {
                    (truth.alive, truth.since) = (Alive::Monitor(monitor), self.now);
                    truth.late = late;
                }
            }
            Event::SpawnFailed { generation } => {
                self.on_monitor_gone(world, generation, None, Alive::Nothing)
            }
            Event::Runs { generation } => {
                if let Some(truth) = world.truth_mut(generation) {
                    truth.runs = true;
                }
            }
            Event::Ready { generation } => self.on_ready(world, generation),
            Event::Gone { generation, exec, session } => {
                let Some(pid) = world.truth(generation).map(Truth::pid) else { return };
                let alive = match session {
                    Session::Empty => Alive::Nothing,
                    Session::Members => Alive::Group(pid),
                };
                self.on_monitor_gone(world, generation, Some(exec), alive);
            }
            Event::Empty { generation } => {
                if let Some(truth) = world.truth_mut(generation) {
                    truth.alive = Alive::Nothing;
                }
            }
            Event::Forced => world.force(),
            Event::Stalled { by } => world.on_stalled(by),
            Event::Losing { generation } => self.on_losses(world, generation),
            Event::SlotUnready { generation } => {
                if let Some(truth) = world.truth_mut(generation).filter(|truth| truth.serves()) {
                    truth.short_since.get_or_insert(self.now);
                }
            }
            Event::AllReady { generation } => {
                if let Some(truth) = world.truth_mut(generation) {
                    truth.short_since = None;
                }
            }
            Event::MonitorStopping { generation } => self.on_stopping(world, generation),
            Event::Timer => self.end_lingering(world),
        }
    }

    fn order_reload(&self, world: &mut World) {
        if !world.is_stopping() {
            world.reload_owed = true;
            world.want(self.now);
        }
    }

    /// A start that loses its workers fails.
    fn on_losses(&self, world: &mut World, generation: Generation) {
        let Some(truth) = world.truth(generation) else { return };
        let there = matches!(truth.alive, Alive::Monitor(_)) && truth.sent == Sent::Nothing;
        if there && truth.ready_at.is_none() {
            self.fail(world, None);
        }
    }

    /// It was told to stop from outside, which counts as if main had told it.
    fn on_stopping(&self, world: &mut World, generation: Generation) {
        let Some(truth) = world.truth_mut(generation) else { return };
        if !matches!(truth.alive, Alive::Monitor(_)) || truth.sent != Sent::Nothing {
            return;
        }
        let was_starting = truth.ready_at.is_none();
        (truth.sent, truth.sent_at) = (Sent::Term, self.now);
        if was_starting {
            self.fail(world, None);
        }
        self.end_lingering_without(world, generation);
    }

    /// A drain delay ends when the last serving generation is gone.
    fn end_lingering_without(&self, world: &mut World, of: Generation) {
        let serving = world.current.is_some_and(|current| world.serves(current));
        let lingers = matches!(world.order, Order::Linger { .. });
        let replacement = world.truths.iter().any(Truth::serves);
        if lingers && !serving && !replacement && world.current == Some(of) {
            world.order = Order::Graceful { began: self.now };
        }
    }

    fn on_ready(&self, world: &mut World, generation: Generation) {
        let Some(truth) = world.truth_mut(generation) else { return };
        let counts = matches!(truth.alive, Alive::Monitor(_)) && truth.sent == Sent::Nothing;
        if counts && truth.ready_at.is_none() {
            truth.ready_at = Some(self.now);
            world.ever_ready = true;
        }
    }

    /// A monitor has exited, or could not be forked.
    fn on_monitor_gone(
        &self,
        world: &mut World,
        of: Generation,
        exec: Option<ExecResult>,
        alive: Alive,
    ) {
        let Some(truth) = world.truth_mut(of) else { return };
        let was_starting = truth.ready_at.is_none() && truth.sent == Sent::Nothing;
        truth.alive = alive;
        if was_starting {
            self.fail(world, exec);
        }
        if exec.is_some() {
            self.end_lingering_without(world, of);
        }
    }

    /// A start has failed, perhaps the last one that is tried.
    fn fail(&self, world: &mut World, exec: Option<ExecResult>) {
        if world.ever_ready {
            return;
        }
        world.failed += 1;
        if world.is_stopping() {
            return;
        }
        let most = world.plan.rules.give_up;
        let long_enough = self.now >= world.begun.after(world.plan.rules.give_up_after);
        let gives_up = most != 0 && world.failed >= most && long_enough;
        let status = match exec {
            Some(ExecResult::NotFound) => 127,
            Some(ExecResult::NotExecutable) => 126,
            Some(ExecResult::Ran | ExecResult::Retryable) | None if gives_up => 1,
            Some(ExecResult::Ran | ExecResult::Retryable) | None => return,
        };
        world.status = status;
        world.reload_owed = false;
        world.order = Order::Graceful { began: self.now };
    }

    fn order_stop(&self, world: &mut World) {
        if world.is_stopping() {
            return;
        }
        let delay = world.plan.rules.drain_delay;
        let serving = world.current.is_some_and(|current| world.serves(current));
        world.reload_owed = false;
        world.order = if serving && delay > Millis(0) {
            Order::Linger { until: self.now.after(delay) }
        } else {
            Order::Graceful { began: self.now }
        };
    }

    fn order_stop_now(&self, world: &mut World) {
        world.reload_owed = false;
        match world.order {
            Order::None | Order::Linger { .. } | Order::Graceful { .. } => {
                world.order = Order::Now { began: self.now };
            }
            Order::Now { .. } => {}
        }
    }

    fn end_lingering(&self, world: &mut World) {
        if matches!(world.order, Order::Linger { until } if until <= self.now) {
            world.order = Order::Graceful { began: self.now };
        }
    }

    /// Applies a command of the supervisor, which must be possible in the model.
    fn take_in_action(&self, world: &mut World, command: Command) {
        // An abandoned generation may still exit before main does.
        let harmless = match command {
            Command::Tell(_) | Command::Forget { .. } => true,
            Command::SignalSession { signal, .. } => signal == Signal::Kill,
            Command::Spawn { .. }
            | Command::Signal { .. }
            | Command::Promote { .. }
            | Command::FailStart { .. }
            | Command::RollBack { .. }
            | Command::CloseListeners
            | Command::Finish { .. } => false,
        };
        let idle = !self.before.finished || harmless;
        self.expect(idle, "invariant (after Finish nothing is done)");
        match command {
            Command::Spawn { generation } => self.spawn(world, generation),
            Command::Signal { generation, monitor, signal } => {
                let truth = world.truth(generation);
                let pinned = truth.is_some_and(|truth| truth.alive == Alive::Monitor(monitor));
                self.expect(pinned, "invariant (only pinned processes are signalled)");
                self.signal(world, generation, signal);
            }
            Command::SignalSession { generation, leader, signal } => {
                let truth = world.truth(generation);
                let pinned = truth.is_some_and(|truth| truth.is_there() && truth.pid() == leader);
                self.expect(pinned, "invariant (only pinned processes are signalled)");
                self.signal(world, generation, signal);
            }
            Command::Promote { generation } => self.promote(world, generation),
            Command::FailStart { generation, reason }
            | Command::RollBack { generation, reason } => {
                // It may have been forgotten in the same step.
                let truth = self.before.truth(generation);
                let was_ready = truth.is_some_and(|truth| truth.ready_at.is_some());
                let is_rollback = matches!(command, Command::RollBack { .. });
                self.expect(
                    was_ready == is_rollback,
                    "invariant (a rollback is the end of a generation that was ready)",
                );
                self.on_failure(world, generation, reason);
                let current = world.current == Some(generation);
                self.expect(!current, "invariant (listeners of the current generation are kept)");
            }
            Command::Forget { generation } => {
                let left = world.truth(generation).map(|truth| truth.alive);
                let is_gone = left == Some(Alive::Nothing);
                self.expect(is_gone, "invariant (no living generation is forgotten)");
                world.truths.retain(|truth| truth.generation != generation);
            }
            Command::CloseListeners => {
                let once = world.is_stopping() && !world.closed;
                self.expect(once, "invariant (listeners close once, at the final stop)");
                world.closed = true;
            }
            Command::Finish { status } => self.finish(world, status),
            Command::Tell(report) => self.on_report(world, report),
        }
    }

    fn spawn(&self, world: &mut World, generation: Generation) {
        let stopping = world.is_stopping();
        self.expect(!stopping, "invariant (no generation is started after a stop)");
        let fresh = world.truths.iter().all(|truth| truth.generation < generation);
        self.expect(fresh, "invariant (generation numbers rise)");
        self.expect(!world.has_attempt(), "invariant (at most one generation is starting)");
        let room = world.alive() < MOST_ALIVE;
        self.expect(room, "invariant (at most three generations are alive)");
        let serving = world.current.is_some_and(|current| world.serves(current));
        let wanted = world.reload_owed || !serving;
        self.expect(wanted, "invariant (a reload leads to exactly one generation)");
        let early = world.start_due.is_some_and(|due| self.now < due);
        self.expect(!early, "invariant (no start before its back-off is over)");
        world.reload_owed = false;
        world.start_due = None;
        world.truths.push(Truth::new(generation));
    }

    fn signal(&self, world: &mut World, generation: Generation, signal: Signal) {
        let sent = match signal {
            Signal::Term => Sent::Term,
            Signal::Int => Sent::Int,
            Signal::Kill => Sent::Kill,
            Signal::Hup
            | Signal::Quit
            | Signal::Usr1
            | Signal::Usr2
            | Signal::Chld
            | Signal::Ttin
            | Signal::Ttou
            | Signal::Vtalrm
            | Signal::Winch
            | Signal::Pipe
            | Signal::Abrt
            | Signal::Xfsz => {
                panic!("invariant (only SIGTERM, SIGINT and SIGKILL are sent): {signal:?}")
            }
        };
        self.assert_may_end(world, generation);
        self.assert_not_early(world, generation, sent);
        let orphaned = matches!(self.event, Event::Gone { generation: of, .. } if of == generation);
        let Some(truth) = world.truth_mut(generation) else { return };
        // Processes of a group did not get the last signal of their monitor.
        let again = orphaned && truth.sent == sent;
        let rises = truth.sent < sent;
        if rises {
            (truth.sent, truth.sent_at) = (sent, self.now);
        }
        // A SIGKILL before the stop does not count for its exit status.
        let lingers = matches!(self.before.order, Order::Linger { .. });
        if rises && sent == Sent::Kill && !lingers {
            world.force();
        }
        self.expect(
            rises || again,
            "invariant (SIGTERM, SIGINT and SIGKILL are sent once and in order)",
        );
    }

    /// Whether the stop has begun, after any delay.
    fn is_leaving(&self, world: &World) -> bool {
        matches!(world.order, Order::Graceful { .. } | Order::Now { .. })
    }

    /// Panzer never ends the last serving generation.
    fn assert_may_end(&self, world: &World, generation: Generation) {
        let Some(truth) = world.truth(generation) else { return };
        if world.is_stopping() || !truth.serves() {
            return;
        }
        let others = world.truths.iter().filter(|other| other.generation != generation);
        let another = others.into_iter().any(Truth::serves);
        self.expect(another, "invariant (the last ready generation is never ended)");
        let current = world.current == Some(generation);
        self.expect(!current, "invariant (before the promotion the old generation is untouched)");
    }

    fn assert_not_early(&self, world: &World, generation: Generation, sent: Sent) {
        let Some(truth) = world.truth(generation) else { return };
        let again = truth.sent == sent;
        // Another generation waits for its place.
        let crowded = truth.cut_short_at.is_some_and(|at| match sent {
            Sent::Nothing | Sent::Term | Sent::Int => true,
            Sent::Kill => self.now >= at.after(CROWDED_TO_KILL),
        });
        let in_time = match (sent, world.order) {
            (Sent::Nothing | Sent::Term, _) => true,
            (Sent::Int, Order::Now { .. }) => true,
            (Sent::Int, Order::Graceful { began }) => {
                self.now >= truth.sent_at.min(began).after(TIMEOUT)
            }
            (Sent::Int, Order::None | Order::Linger { .. }) => {
                self.now >= truth.sent_at.after(TIMEOUT)
            }
            (Sent::Kill, Order::Now { began }) => {
                self.now >= truth.sent_at.max(began).after(KILL_AFTER_STOP_NOW)
                    || self.now >= truth.sent_at.after(KILL_AFTER_STOP_NOW)
            }
            (Sent::Kill, Order::Graceful { began }) => {
                let graceful = began.after(TIMEOUT).after(KILL_AFTER_TIMEOUT);
                self.now >= truth.sent_at.after(KILL_AFTER_TIMEOUT).min(graceful)
            }
            (Sent::Kill, Order::None | Order::Linger { .. }) => {
                // A late SIGINT does not shorten the time to SIGKILL.
                self.now >= truth.sent_at.after(KILL_AFTER_TIMEOUT)
            }
        };
        self.expect(again || in_time || crowded, "invariant (no signal is early)");
    }

    fn promote(&self, world: &mut World, generation: Generation) {
        let serves = world.serves(generation);
        self.expect(serves, "invariant (only a ready generation is promoted)");
        let Some(ready_at) = world.truth(generation).and_then(|truth| truth.ready_at) else {
            return;
        };
        let alone = !world.current.is_some_and(|current| world.serves(current));
        let served = self.now >= ready_at.after(world.plan.rules.probation);
        self.expect(alone || served, "invariant (the promotion waits for the probation)");
        let short = world.truth(generation).is_some_and(|truth| truth.short_since.is_some());
        self.expect(alone || !short, "invariant (the promotion waits for every slot)");
        world.current = Some(generation);
    }

    fn finish(&self, world: &mut World, status: u8) {
        self.expect(!world.finished, "invariant (main exits once)");
        let stopping = self.is_leaving(world);
        self.expect(stopping, "invariant (main exits only after a stop)");
        // The kernel has a second to end a process after SIGKILL.
        let given_up =
            |truth: &Truth| truth.sent == Sent::Kill && self.now >= truth.sent_at.after(SECOND);
        let last = world.truths.iter().all(|truth| match truth.alive {
            Alive::Spawning => false,
            Alive::Monitor(_) | Alive::Group(_) => given_up(truth),
            Alive::Nothing => true,
        });
        self.expect(last, "invariant (main exits last)");
        self.expect(world.closed, "invariant (listeners close once, at the final stop)");
        self.expect(status == world.status, "invariant (the exit status is right)");
        world.finished = true;
    }

    /// A generation fails its ready timeout only when that has passed.
    fn on_failure(&self, world: &mut World, generation: Generation, reason: Failure) {
        if let Failure::SlotUnready(limit) = reason {
            let since = world.truth(generation).and_then(|truth| truth.short_since);
            let waited = since.is_some_and(|since| self.now >= since.after(limit));
            self.expect(waited, "invariant (a slot may take as long as a start)");
        }
        if matches!(reason, Failure::Late(_)) {
            let since = world.truth(generation).map(|truth| truth.since);
            let limit = world.plan.rules.ready_timeout;
            let late = since.is_some_and(|since| self.now >= since.after(limit));
            self.expect(late, "invariant (no start fails before the ready timeout)");
            // What the losses of a late start come to was taken in with them.
            if !matches!(self.event, Event::Losing { .. }) {
                self.fail(world, None);
            }
        }
    }

    /// Checks reports of the supervisor's own decisions.
    fn on_report(&self, world: &mut World, report: Report) {
        match report {
            Report::Ready(generation, _) => {
                let assumed = match (self.event, world.plan.rules.readiness) {
                    (Event::Timer, Readiness::After(span)) => {
                        let truth = world.truth(generation).filter(|truth| truth.runs);
                        truth.is_some_and(|truth| self.now >= truth.since.after(span))
                    }
                    (event, Readiness::Notify | Readiness::After(_)) => {
                        event == Event::Ready { generation }
                    }
                };
                self.expect(
                    assumed,
                    "invariant (a generation is ready by its message or by its age)",
                );
                self.on_ready(world, generation);
            }
            Report::Slow(generation, _, limit) => self.on_slow(world, generation, limit),
            Report::Waiting(due) => world.want(due),
            Report::Crowded(generation) => {
                let wanted = world.start_due.is_none_or(|due| due <= self.now);
                let crowded = world.alive() >= MOST_ALIVE && !world.has_attempt();
                self.expect(
                    wanted && crowded,
                    "invariant (a drain is cut short only for a fourth generation)",
                );
                if let Some(truth) = world.truth_mut(generation) {
                    truth.cut_short_at.get_or_insert(self.now);
                }
            }
            Report::Started(..)
            | Report::Probation(..)
            | Report::Draining(_)
            | Report::Crashed(_)
            | Report::MonitorStopping(_)
            | Report::Interrupted(_)
            | Report::Killed(_)
            | Report::Abandoned(_)
            | Report::GaveUp(_)
            | Report::Lingering(_) => {}
        }
    }

    /// A start that is not ready is told of once, with the time that it has in all.
    fn on_slow(&self, world: &mut World, generation: Generation, limit: Millis) {
        let rules = world.plan.rules;
        let now = self.now;
        let is_slow = world.truth(generation).is_some_and(|truth| {
            world.is_attempt(truth)
                && truth.ready_at.is_none()
                && !truth.slow_told
                && now >= truth.since.after(rules.slow_start)
                && now < truth.since.after(rules.ready_timeout)
                && limit == rules.ready_timeout
        });
        self.expect(is_slow, "invariant (a slow start is told of once, while it is one)");
        if let Some(truth) = world.truth_mut(generation) {
            truth.slow_told = true;
        }
    }

    fn assert_population(&self, world: &World) {
        let known_to_supervisor = world.plan.generations.iter().map(|entry| entry.generation);
        let known = known_to_supervisor.eq(world.truths.iter().map(|truth| truth.generation));
        self.expect(known, "invariant (the supervisor knows exactly the living generations)");
        let alive = world.truths.iter().all(|truth| truth.alive != Alive::Nothing);
        self.expect(alive, "invariant (the supervisor knows exactly the living generations)");
        let monitors = world.plan.generations.iter().map(GenerationEntry::monitor);
        let same = world.truths.iter().zip(monitors).all(|(truth, monitor)| match truth.alive {
            Alive::Monitor(pid) => monitor == Some(pid),
            Alive::Spawning | Alive::Group(_) | Alive::Nothing => monitor.is_none(),
        });
        self.expect(same, "invariant (the supervisor knows which monitors are alive)");
        let attempts = world.truths.iter().filter(|truth| world.is_attempt(truth)).count();
        let few = attempts <= 1;
        self.expect(few || world.is_stopping(), "invariant (at most one generation is starting)");
        let room = world.alive() <= MOST_ALIVE;
        self.expect(room, "invariant (at most three generations are alive)");
    }

    /// A wanted start begins when its back-off is over, or within a second after that if
    /// another generation has to make room for it.
    fn assert_start(&self, world: &mut World) {
        let serving = world.current.is_some_and(|current| world.serves(current));
        if world.is_stopping() {
            world.start_due = None;
        } else if world.has_attempt() {
            // A reload requested meanwhile is due after that start.
            world.start_due = world.reload_owed.then_some(self.now);
        } else if !serving || world.reload_owed {
            world.start_due.get_or_insert(self.now);
        }
        if self.before.has_attempt() {
            world.start_due = world.start_due.map(|due| due.max(self.now));
        }
        let Some(due) = world.start_due.filter(|_| !world.has_attempt()) else { return };
        let latest = if self.now < due { due } else { due.after(CROWDED_TO_KILL) };
        let wakes = world.plan.deadline().is_some_and(|deadline| deadline <= latest);
        self.expect(wakes, "invariant (a wanted start has a deadline)");
        let crowded = world.alive() >= MOST_ALIVE;
        // After a stall, pending events are handled before anything is started.
        let overslept = matches!(self.event, Event::Stalled { .. });
        let waits = self.now < due || crowded || overslept;
        self.expect(waits, "invariant (only missing room delays a start)");
    }

    /// Checks what operator and clients rely on.
    fn assert_service(&self, world: &World) {
        if world.is_stopping() {
            return;
        }
        let free = !world.has_attempt() && world.alive() < MOST_ALIVE;
        self.expect(!(world.reload_owed && free), "invariant (no reload is lost)");
        let serving = world.current.is_some_and(|current| world.serves(current));
        let ready = world.truths.iter().filter(|truth| truth.serves()).count();
        self.expect(
            serving || ready == 0,
            "invariant (a ready generation is promoted if none serves)",
        );
        let waits = world.has_attempt() || world.plan.deadline().is_some();
        self.expect(serving || waits, "invariant (a generation serves, or will)");
        // A failure of the new generation does not touch the old one.
        let concerned = match self.event {
            Event::Gone { generation, .. }
            | Event::SpawnFailed { generation }
            | Event::MonitorStopping { generation }
            | Event::Losing { generation, .. } => Some(generation),
            Event::Reload
            | Event::Stop
            | Event::StopNow
            | Event::Spawned { .. }
            | Event::Runs { .. }
            | Event::Ready { .. }
            | Event::SlotUnready { .. }
            | Event::AllReady { .. }
            | Event::Empty { .. }
            | Event::Forced
            | Event::Stalled { .. }
            | Event::Timer => None,
        };
        let served = self.before.current.filter(|current| self.before.serves(*current));
        let kept =
            served.is_none_or(|current| world.serves(current) && world.current == Some(current));
        let other = concerned.is_some() && concerned != served;
        self.expect(
            kept || !other,
            "invariant (before the promotion the old generation is untouched)",
        );
    }

    /// A new generation that loses its workers is ended, and one with a slot without a ready
    /// worker has as much time as a start.
    fn assert_health(&self, world: &World) {
        if let Event::Losing { generation } = self.event {
            let truth = world.truth(generation);
            let is_new = truth.is_some_and(|truth| {
                matches!(truth.alive, Alive::Monitor(_))
                    && truth.sent == Sent::Nothing
                    && world.current != Some(generation)
            });
            self.expect(!is_new, "invariant (a new generation that loses its workers is ended)");
        }
        self.assert_slow_starts(world);
        let limit = world.plan.rules.ready_timeout;
        for truth in world.truths.iter().filter(|truth| truth.serves()) {
            let is_new = world.current != Some(truth.generation);
            let Some(since) = truth.short_since.filter(|_| is_new) else { continue };
            let in_time = world.plan.deadline().is_some_and(|due| due <= since.after(limit));
            self.expect(in_time, "invariant (a slot may take as long as a start)");
        }
    }

    /// One that has not lived yet for what would make it ready is told of in time.
    fn assert_slow_starts(&self, world: &World) {
        let rules = world.plan.rules;
        let waits = |truth: &&Truth| {
            world.is_attempt(truth)
                && matches!(truth.alive, Alive::Monitor(_))
                && !truth.runs
                && truth.ready_at.is_none()
                && !truth.slow_told
        };
        if rules.slow_start < rules.ready_timeout {
            for truth in world.truths.iter().filter(waits) {
                let at = truth.since.after(rules.slow_start);
                let in_time = world.plan.deadline().is_some_and(|due| due <= at);
                self.expect(in_time, "invariant (a slow start is told of in time)");
            }
        }
    }

    /// After a stop every generation has been signalled, and main exits when all are gone.
    fn assert_stop(&self, world: &World) {
        let level = match world.order {
            Order::None | Order::Linger { .. } => {
                return self.expect(!world.finished, "invariant (main exits only after a stop)");
            }
            Order::Graceful { .. } => Sent::Term,
            Order::Now { .. } => Sent::Int,
        };
        self.expect(world.closed, "invariant (listeners close once, at the final stop)");
        let signalled =
            world.truths.iter().filter(|truth| truth.is_there()).all(|it| it.sent >= level);
        self.expect(signalled, "invariant (a stop signals every living generation)");
        let over = world.finished || !world.truths.is_empty();
        self.expect(over, "invariant (main exits when no process is left)");
    }

    /// Every stopping generation has a deadline for its next signal.
    fn assert_escalation(&self, world: &World) {
        if world.finished {
            return;
        }
        let deadline = world.plan.deadline();
        for truth in world.truths.iter().filter(|truth| truth.is_there()) {
            let latest = match (truth.sent, world.order) {
                (Sent::Nothing, _) => continue,
                (Sent::Kill, Order::None | Order::Linger { .. }) => continue,
                (Sent::Kill, Order::Graceful { .. } | Order::Now { .. }) => None,
                (Sent::Term, _) => Some(truth.sent_at.after(TIMEOUT)),
                (Sent::Int, Order::Now { .. }) => Some(truth.sent_at.after(KILL_AFTER_TIMEOUT)),
                (Sent::Int, _) => Some(truth.sent_at.after(KILL_AFTER_TIMEOUT)),
            };
            let of_stop = match (world.order, truth.sent) {
                (Order::Graceful { began }, Sent::Term) => Some(began.after(TIMEOUT)),
                (Order::Graceful { began }, Sent::Int) => {
                    Some(began.after(TIMEOUT).after(KILL_AFTER_TIMEOUT))
                }
                (Order::Now { began }, Sent::Term | Sent::Int) if !truth.late => {
                    Some(began.after(KILL_AFTER_STOP_NOW))
                }
                (
                    Order::None | Order::Linger { .. } | Order::Graceful { .. } | Order::Now { .. },
                    Sent::Nothing | Sent::Term | Sent::Int | Sent::Kill,
                ) => None,
            };
            let killed = truth.sent == Sent::Kill;
            let session = world.plan.sent_to_session(truth.generation);
            self.expect(
                !killed || session == Some(Signal::Kill),
                "invariant (what a reaped monitor leaves is sent SIGKILL at once)",
            );
            let waits = killed && self.awaits_spawn(world);
            let escalates = deadline.is_some() || waits;
            self.expect(escalates, "invariant (a stopping generation has a deadline)");
            let latest = latest.into_iter().chain(of_stop).min();
            let kept = killed || deadline <= latest;
            self.expect(kept, "invariant (no deadline of a stop is too late)");
        }
    }

    fn awaits_spawn(&self, world: &World) -> bool {
        world.truths.iter().any(|truth| truth.alive == Alive::Spawning)
    }

    /// Deadlines move only for known reasons.
    fn assert_deadlines(&self, world: &World) {
        let name = "invariant (deadlines move only for a stop, missing room and lost time)";
        let second = self.event == Event::Stop && self.before.is_stopping();
        let (before, after) = (self.before.plan.deadline(), world.plan.deadline());
        self.expect(!second || before == after, "invariant (a second stop moves no deadline)");
        if let Event::Stalled { by } = self.event {
            let wanted = before.map(|before| before.after(by));
            // A start that had to wait is tried at once.
            self.expect(after == wanted || !self.commands.is_empty(), name);
        }
        let ordered = world.order != self.before.order;
        for old in &self.before.plan.generations {
            let new = world.plan.generations.iter().find(|new| new.generation == old.generation);
            let Some(new) = new.filter(|new| is_same_step(old, new)) else { continue };
            let (old, new) = (old.due, new.due);
            let held = match self.event {
                Event::Stalled { by } => new == old.after(by),
                Event::Timer if old <= self.now && before == Some(old) => false,
                Event::Timer
                | Event::Stop
                | Event::StopNow
                | Event::Gone { .. }
                | Event::Losing { .. }
                | Event::MonitorStopping { .. }
                | Event::SpawnFailed { .. }
                    if ordered =>
                {
                    new <= old
                }
                Event::Reload
                | Event::Stop
                | Event::StopNow
                | Event::Spawned { .. }
                | Event::SpawnFailed { .. }
                | Event::Runs { .. }
                | Event::Ready { .. }
                | Event::Losing { .. }
                | Event::SlotUnready { .. }
                | Event::AllReady { .. }
                | Event::MonitorStopping { .. }
                | Event::Gone { .. }
                | Event::Empty { .. }
                | Event::Forced
                | Event::Timer => new == old,
            };
            self.expect(held, name);
        }
        if self.event == Event::Timer && before.is_some_and(|before| before <= self.now) {
            let moved = after != before || !self.commands.is_empty();
            self.expect(moved, "invariant (what is due is done)");
        }
        let idle =
            world.truths.iter().all(|truth| !truth.is_there() && truth.alive != Alive::Spawning);
        let woken = world.finished || !idle || after.is_some();
        self.expect(woken, "invariant (something always wakes the supervisor)");
    }
}

/// Whether a generation is in the same state, and so must keep its deadline.
fn is_same_step(old: &GenerationEntry, new: &GenerationEntry) -> bool {
    let starts = |entry: &GenerationEntry| matches!(entry.state, GenerationState::Starting { .. });
    (old.state == new.state || starts(old) && starts(new))
        && match old.state {
            GenerationState::Starting { .. }
            | GenerationState::MinUptime
            | GenerationState::Probation
            | GenerationState::Refilling { .. }
            | GenerationState::Leaving(
                Escalation::Term
                | Escalation::TermCrowded
                | Escalation::Int
                | Escalation::IntCrowded
                | Escalation::Kill,
            ) => true,
            GenerationState::Spawning
            | GenerationState::Current
            | GenerationState::Leaving(Escalation::GaveUp) => false,
        }
}

impl World {
    /// A process had to be killed in the stop.
    const fn force(&mut self) {
        if matches!(self.order, Order::Graceful { .. } | Order::Now { .. }) && self.status == 0 {
            self.status = 4;
        }
    }

    /// A start is wanted at `due`, or earlier if it was already wanted then.
    fn want(&mut self, due: Tick) {
        self.start_due = Some(self.start_due.map_or(due, |before| before.min(due)));
    }

    /// All deadlines move by the time that was lost.
    fn on_stalled(&mut self, by: Millis) {
        self.start_due = self.start_due.map(|due| due.after(by));
        self.begun = self.begun.after(by);
        match &mut self.order {
            Order::Linger { until: at }
            | Order::Graceful { began: at }
            | Order::Now { began: at } => {
                *at = at.after(by);
            }
            Order::None => {}
        }
        for truth in &mut self.truths {
            truth.since = truth.since.after(by);
            truth.sent_at = truth.sent_at.after(by);
            truth.short_since = truth.short_since.map(|at| at.after(by));
            truth.cut_short_at = truth.cut_short_at.map(|at| at.after(by));
            let serving = self.current == Some(truth.generation);
            // The end of the probation is a deadline; health is not.
            truth.ready_at = truth.ready_at.map(|at| if serving { at } else { at.after(by) });
        }
    }
}

/// Walks from one initial state and returns the number of states.
fn walk(rules: SupervisorRules) -> usize {
    let beginning = World::new(rules);
    let mut seen = HashSet::from([beginning.clone()]);
    let mut queue = VecDeque::from([beginning]);
    while let Some(world) = queue.pop_front() {
        for choice in world.choices() {
            let next = world.after(choice);
            let fits = next.truths.len() <= MOST_KEPT;
            if fits && !seen.contains(&next) {
                seen.insert(next.clone());
                queue.push_back(next);
            }
        }
    }
    seen.len()
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of states is the result")]
fn supervisor_keeps_all_invariants_in_every_reachable_state() {
    let patient = SupervisorRules {
        timeout: TIMEOUT,
        readiness: Readiness::Notify,
        ready_timeout: SECOND,
        slow_start: SECOND,
        probation: SECOND,
        drain_delay: Millis(0),
        backoff: BACKOFF,
        give_up: 2,
        give_up_after: SECOND,
        seed: even_seed(),
    };
    let lingering = SupervisorRules {
        readiness: Readiness::After(SECOND),
        ready_timeout: Millis(2_000),
        probation: Millis(0),
        drain_delay: SECOND,
        give_up: 0,
        ..patient
    };
    let mut states = 0;
    for rules in [patient, lingering] {
        let walked = walk(rules);
        states += walked;
    }
    assert!(states > 10_000, "the walk was trivial: {states} states");
    std::println!("supervisor: walked {states} states");
}
