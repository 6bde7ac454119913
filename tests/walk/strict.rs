//! Every event in every reachable state of main's plan, with the stricter
//! promises: the exact exit status, the latest moment of each signal, no reload
//! lost, the probation served, and no deadline moved by anything else.
//!
//! `service.rs` walks further (longer waits, every memory of what was sent);
//! this walk looks closer, and ends in seconds.
//!
//! The plan meets a small truthful world: it knows which monitors are alive,
//! which have left members of their group behind, who was sent what and when,
//! and what the operator asked for. From each state everything that can happen
//! happens, and after each step the invariants are asserted by name. States
//! that differ only in the time of day, or in the numbers of the generations,
//! are one state.
//!
//! Time moves in whole seconds, and every length here is of whole seconds: the
//! plan only asks whether a moment has come, so what lies between two of them
//! tells nothing new. Deadlines that are past are served within a second.

use super::member::{Leader, Life, Member, Step};
use super::{Action, Event, Exec, Failure, Left, Past, Readiness, Report, Rules, Service, Stop};
use crate::plan::backoff::Streak;
use crate::types::{Backoff, Generation, Millis, Pid, Signal, Tick};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use std::collections::HashSet;

/// Now, in every state that is kept.
const NOW: Tick = Tick(1_000_000);
/// What lies further back than this is equally far back, but for health.
const MEMORY: Millis = Millis(5_000);
const HEALTHY: Millis = Millis(10_000);
const SECOND: Millis = Millis(1_000);
const BACKOFF: Backoff = Backoff { delay: SECOND, max_delay: SECOND };
/// How far the deaths in a row are told apart.
const MOST_DEATHS: u32 = 1;
/// What INT and KILL wait for.
const TIMEOUT: Millis = SECOND;
const KILL_AFTER_TIMEOUT: Millis = Millis(2_000);
const KILL_AFTER_STOP_NOW: Millis = SECOND;
/// How many generations may be alive, and how many the world can hold with
/// those that were killed and do not die.
const MOST_ALIVE: usize = 3;
const MOST_KEPT: usize = 4;

/// The signals of a stop, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Heard {
    Nothing,
    Term,
    Int,
    Kill,
}

/// Who is left of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Alive {
    /// The spawn is not answered yet.
    Spawning,
    /// The monitor, which was not reaped.
    Monitor(Pid),
    /// Members of its group alone.
    Group(Pid),
    /// Nobody.
    Nobody,
}

/// What is true of a generation, whatever the plan believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Truth {
    generation: Generation,
    alive: Alive,
    heard: Heard,
    /// When it said that it is ready, or was taken to be.
    ready_at: Option<Tick>,
    /// When its monitor was made.
    since: Tick,
    /// Whether its program is known to run.
    runs: bool,
    /// When it last heard something.
    heard_at: Tick,
    /// Whether it appeared after the stop had begun.
    late: bool,
}

/// The final stop as it was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Order {
    /// Not yet.
    None,
    /// Go on serving, and begin then.
    Linger { until: Tick },
    /// Everybody is asked.
    Graceful { began: Tick },
    /// Everybody is pressed.
    Now { began: Tick },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    plan: Service,
    truths: Vec<Truth>,
    current: Option<Generation>,
    /// A reload was asked for, and nothing was spawned since.
    reload_owed: bool,
    order: Order,
    /// What main has to say when it leaves.
    status: u8,
    ever_ready: bool,
    failed: u32,
    closed: bool,
    finished: bool,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Choice {
    /// An event, so long after the last one.
    After(Millis, Event),
    /// Only time passes.
    Pass(Millis),
}

/// When one that leaves and is not killed gets SIGINT; now, if it has had it.
const fn pressed_at(member: &Member, now: Tick) -> Option<Tick> {
    match member.life {
        Life::Leaving(Step::Asked) => Some(member.due),
        Life::Leaving(Step::Pressed) => Some(now),
        Life::Leaving(Step::Killed | Step::Abandoned)
        | Life::Spawning
        | Life::Starting
        | Life::Living
        | Life::Probation
        | Life::Current => None,
    }
}

const fn kept(time: Tick, now: Tick) -> Tick {
    if time.0 == Tick::NEVER.0 {
        return time;
    }
    let oldest = now.0.saturating_sub(MEMORY.0);
    let time = if time.0 < oldest { oldest } else { time.0 };
    Tick(NOW.0 + time - now.0)
}

/// Health is old or it is not: its seconds would only multiply the states.
const fn young_or_old(ready_at: Tick, now: Tick) -> Tick {
    let is_old = now.since(ready_at).0 >= HEALTHY.0;
    if is_old { Tick(NOW.0 - HEALTHY.0) } else { NOW }
}

/// A seed whose waits are whole seconds: the jitter is the back-off's own, and
/// tested there.
fn even_seed() -> u32 {
    let waits_a_second = |seed: &u32| {
        let mut streak = Streak::new(*seed);
        streak.died(NOW, None, BACKOFF);
        streak.died(NOW, None, BACKOFF) == NOW.after(SECOND)
    };
    (0..).find(waits_a_second).expect("one in five hundred does")
}

impl World {
    fn new(rules: Rules) -> Self {
        Self {
            plan: Service::new(rules, NOW),
            truths: Vec::new(),
            current: None,
            reload_owed: false,
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

    /// Whether its monitor lives, was told nothing, and is not the current one.
    fn is_attempt(&self, truth: &Truth) -> bool {
        let there = matches!(truth.alive, Alive::Spawning | Alive::Monitor(_));
        there && truth.heard == Heard::Nothing && self.current != Some(truth.generation)
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
        // Gossip about nobody.
        let nobody = Generation(99);
        events.push(Event::Ready { generation: nobody });
        events.push(Event::Gone { generation: nobody, exec: Exec::Done, left: Left::Nobody });
        for truth in &self.truths {
            events.extend(self.fates(truth));
        }
        if self.truths.iter().any(|truth| matches!(truth.alive, Alive::Monitor(_))) {
            events.push(Event::Forced);
        }
        let at_once = |event| Choice::After(Millis(0), event);
        let mut choices: Vec<_> = events.into_iter().map(at_once).collect();
        let by = Millis(3_000);
        choices.push(Choice::After(by, Event::Overslept { by }));
        choices.extend(self.wait().map(Choice::Pass));
        choices
    }

    /// What can become of one generation.
    fn fates(&self, truth: &Truth) -> Vec<Event> {
        let generation = truth.generation;
        let gone = |exec, left| Event::Gone { generation, exec, left };
        let said = [Event::Ready { generation }, Event::Losing { generation }];
        let mut fates = match truth.alive {
            Alive::Spawning => {
                let monitor = truth.pid();
                vec![Event::Spawned { generation, monitor }, Event::SpawnFailed { generation }]
            }
            Alive::Monitor(_) => {
                let runs = Event::Runs { generation };
                vec![runs, gone(Exec::Done, Left::Nobody), gone(Exec::Done, Left::Members)]
            }
            Alive::Group(_) => vec![Event::Empty { generation }],
            Alive::Nobody => Vec::new(),
        };
        if matches!(truth.alive, Alive::Monitor(_)) && truth.ready_at.is_none() {
            let failures = [Exec::Missing, Exec::Unusable, Exec::Hindered];
            fates.extend(failures.map(|exec| gone(exec, Left::Nobody)));
        }
        fates.extend(said);
        fates
    }

    /// How much time can pass before something else happens.
    fn wait(&self) -> Option<Millis> {
        // Main answers a spawn before it waits again.
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
                let mut actions = Vec::new();
                world.plan.step(now, event, &mut actions);
                Check { before: self, event, now, actions: &actions }.run(&mut world);
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
        let (alive, heard) = (Alive::Spawning, Heard::Nothing);
        let long_ago = Tick(NOW.0 - MEMORY.0);
        let (since, heard_at) = (long_ago, long_ago);
        Self { generation, alive, heard, ready_at: None, since, runs: false, heard_at, late: false }
    }

    /// The number of its monitor.
    fn pid(&self) -> Pid {
        let number = i32::try_from(self.generation.0).expect("there are few generations");
        Pid::new(number).expect("generations are numbered from 1")
    }

    /// Whether it is ready, and nobody has told it to go.
    fn serves(&self) -> bool {
        matches!(self.alive, Alive::Monitor(_))
            && self.ready_at.is_some()
            && self.heard == Heard::Nothing
    }

    /// Whether it counts against the three that may be alive.
    fn counts(&self) -> bool {
        self.alive != Alive::Nobody && self.heard < Heard::Kill
    }

    fn is_there(&self) -> bool {
        matches!(self.alive, Alive::Monitor(_) | Alive::Group(_))
    }
}

/// Making equal what differs only in time or in numbers.
impl World {
    fn forget_the_time(&mut self, now: Tick) {
        self.plan.streak.forget_beyond(if self.is_stopping() { 0 } else { MOST_DEATHS });
        self.plan.wanted = kept(self.plan.wanted, now);
        match &mut self.plan.stop {
            Stop::Lingering { until: due } | Stop::Asked { interrupt: due, .. } => {
                *due = kept(*due, now);
            }
            Stop::No | Stop::Now { .. } | Stop::Finished => {}
        }
        match &mut self.order {
            Order::Linger { until: at }
            | Order::Graceful { began: at }
            | Order::Now { began: at } => {
                *at = kept(*at, now);
            }
            Order::None => {}
        }
        // Health only matters to who has died before.
        let nobody_died = self.plan.streak == Streak::new(self.plan.rules.seed);
        let oldest = if nobody_died { now } else { Tick(0) };
        for member in &mut self.plan.members {
            forget_the_time_of(member, now, oldest);
        }
        let current = self.current;
        for truth in &mut self.truths {
            let is_starting = truth.heard == Heard::Nothing && truth.ready_at.is_none();
            truth.since = kept(if is_starting { truth.since } else { Tick(0) }, now);
            truth.runs &= is_starting;
            truth.heard_at = match truth.heard {
                Heard::Nothing => kept(Tick(0), now),
                Heard::Term | Heard::Int => kept(truth.heard_at, now),
                Heard::Kill => kept(truth.heard_at, now).max(Tick(NOW.0 - SECOND.0)),
            };
            truth.ready_at = truth.ready_at.map(|at| match truth.heard {
                Heard::Nothing if current == Some(truth.generation) => NOW,
                Heard::Nothing | Heard::Term | Heard::Int | Heard::Kill => kept(at, now),
            });
            truth.ready_at = truth.ready_at.filter(|_| truth.heard == Heard::Nothing);
        }
        self.current = current.filter(|current| self.serves(*current));
        if self.ever_ready {
            self.failed = 0;
        }
        if let Past::NeverReady { failed } = &mut self.plan.past {
            let most = self.plan.rules.give_up.max(1);
            (*failed, self.failed) = ((*failed).min(most), self.failed.min(most));
        }
    }

    /// Numbers the generations from 1 again: only their order means anything.
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
        for member in &mut self.plan.members {
            member.generation = new(member.generation);
            let number = i32::try_from(member.generation.0).expect("it is small");
            let pid = Pid::new(number).expect("generations are numbered from 1");
            if let Some(Leader::Monitor(leader) | Leader::Group(leader)) = &mut member.leader {
                *leader = pid;
            }
        }
        self.current = self.current.map(new);
        let next = u32::try_from(old.len()).expect("it is small") + 1;
        self.plan.next = Generation(next);
    }
}

fn forget_the_time_of(member: &mut Member, now: Tick, oldest: Tick) {
    member.due = kept(member.due, now);
    member.since = match member.life {
        Life::Probation | Life::Current => young_or_old(member.since.max(oldest), now),
        // Only a report tells of it.
        Life::Spawning | Life::Starting | Life::Living | Life::Leaving(_) => NOW,
    };
}

/// One step, and everything that must be true of it.
struct Check<'a> {
    before: &'a World,
    event: Event,
    now: Tick,
    actions: &'a [Action],
}

impl Check<'_> {
    fn run(&self, world: &mut World) {
        self.take_in_event(world);
        for action in self.actions {
            self.take_in_action(world, *action);
        }
        self.assert_population(world);
        self.assert_service(world);
        self.assert_stop(world);
        self.assert_escalation(world);
        self.assert_deadlines(world);
    }

    fn expect(&self, holds: bool, name: &str) {
        let Self { before, event, now, actions } = self;
        let ago = now.since(NOW);
        assert!(holds, "{name}: {event:?} after {ago}\nin {before:?}\nled to {actions:?}");
    }

    /// What the event itself makes true.
    fn take_in_event(&self, world: &mut World) {
        match self.event {
            Event::Reload => world.reload_owed |= !world.is_stopping(),
            Event::Stop => self.order_stop(world),
            Event::StopNow => self.order_stop_now(world),
            Event::Spawned { generation, monitor } => {
                let late = matches!(world.order, Order::Now { .. });
                if let Some(truth) = world.truth_mut(generation) {
                    (truth.alive, truth.since) = (Alive::Monitor(monitor), self.now);
                    truth.late = late;
                }
            }
            Event::SpawnFailed { generation } => self.bury(world, generation, None, Alive::Nobody),
            Event::Runs { generation } => {
                if let Some(truth) = world.truth_mut(generation) {
                    truth.runs = true;
                }
            }
            Event::Ready { generation } => self.hear_ready(world, generation),
            Event::Gone { generation, exec, left } => {
                let Some(pid) = world.truth(generation).map(Truth::pid) else { return };
                let alive = match left {
                    Left::Nobody => Alive::Nobody,
                    Left::Members => Alive::Group(pid),
                };
                self.bury(world, generation, Some(exec), alive);
            }
            Event::Empty { generation } => {
                if let Some(truth) = world.truth_mut(generation) {
                    truth.alive = Alive::Nobody;
                }
            }
            Event::Forced => world.force(),
            Event::Overslept { by } => world.postpone(by),
            Event::Losing { .. } => {}
            Event::Timer => self.end_lingering(world),
        }
    }

    fn hear_ready(&self, world: &mut World, generation: Generation) {
        let Some(truth) = world.truth_mut(generation) else { return };
        let counts = matches!(truth.alive, Alive::Monitor(_)) && truth.heard == Heard::Nothing;
        if counts && truth.ready_at.is_none() {
            truth.ready_at = Some(self.now);
            world.ever_ready = true;
        }
    }

    /// A monitor is gone, or has never come.
    fn bury(&self, world: &mut World, of: Generation, exec: Option<Exec>, alive: Alive) {
        let Some(truth) = world.truth_mut(of) else { return };
        let was_starting = truth.ready_at.is_none() && truth.heard == Heard::Nothing;
        truth.alive = alive;
        if was_starting {
            self.fail(world, exec);
        }
        let serving = world.current.is_some_and(|current| world.serves(current));
        let lingers = matches!(world.order, Order::Linger { .. });
        let heir = world.truths.iter().any(Truth::serves);
        if lingers && !serving && !heir && exec.is_some() && world.current == Some(of) {
            world.order = Order::Graceful { began: self.now };
        }
    }

    /// A start has come to nothing, which may be the last that is tried.
    fn fail(&self, world: &mut World, exec: Option<Exec>) {
        if world.ever_ready {
            return;
        }
        world.failed += 1;
        if world.is_stopping() {
            return;
        }
        let most = world.plan.rules.give_up;
        let status = match exec {
            Some(Exec::Missing) => 127,
            Some(Exec::Unusable) => 126,
            Some(Exec::Done | Exec::Hindered) | None if most != 0 && world.failed >= most => 1,
            Some(Exec::Done | Exec::Hindered) | None => return,
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

    /// What the plan has done, which must be possible in the world.
    fn take_in_action(&self, world: &mut World, action: Action) {
        // Who was abandoned may still be seen to go before main is gone itself.
        let harmless = match action {
            Action::Tell(_) | Action::Forget { .. } => true,
            Action::SignalGroup { signal, .. } => signal == Signal::Kill,
            Action::Spawn { .. }
            | Action::Signal { .. }
            | Action::Promote { .. }
            | Action::Discard { .. }
            | Action::CloseListeners
            | Action::Finish { .. } => false,
        };
        let idle = !self.before.finished || harmless;
        self.expect(idle, "invariant 6 (main does nothing after it has left)");
        match action {
            Action::Spawn { generation } => self.spawn(world, generation),
            Action::Signal { generation, monitor, signal } => {
                let truth = world.truth(generation);
                let pinned = truth.is_some_and(|truth| truth.alive == Alive::Monitor(monitor));
                self.expect(pinned, "invariant 7 (only who is pinned is signalled)");
                self.signal(world, generation, signal);
            }
            Action::SignalGroup { generation, leader, signal } => {
                let truth = world.truth(generation);
                let pinned = truth.is_some_and(|truth| truth.is_there() && truth.pid() == leader);
                self.expect(pinned, "invariant 7 (only who is pinned is signalled)");
                self.signal(world, generation, signal);
            }
            Action::Promote { generation } => self.promote(world, generation),
            Action::Discard { generation, why, .. } => {
                self.hear_failure(world, generation, why);
                let current = world.current == Some(generation);
                self.expect(!current, "invariant 2 (what the current generation uses is kept)");
            }
            Action::Forget { generation } => {
                let left = world.truth(generation).map(|truth| truth.alive);
                let nobody = left == Some(Alive::Nobody);
                self.expect(nobody, "invariant (nobody is forgotten who is alive)");
                world.truths.retain(|truth| truth.generation != generation);
            }
            Action::CloseListeners => {
                let once = world.is_stopping() && !world.closed;
                self.expect(once, "invariant 2 (listeners close once, at the final stop)");
                world.closed = true;
            }
            Action::Finish { status } => self.finish(world, status),
            Action::Tell(report) => self.hear_report(world, report),
        }
    }

    fn spawn(&self, world: &mut World, generation: Generation) {
        let stopping = world.is_stopping();
        self.expect(!stopping, "invariant 6 (no generation is started after a stop)");
        let fresh = world.truths.iter().all(|truth| truth.generation < generation);
        self.expect(fresh, "invariant (numbers of generations rise)");
        self.expect(!world.has_attempt(), "invariant 3 (at most one generation is starting)");
        let room = world.alive() < MOST_ALIVE;
        self.expect(room, "invariant 3 (at most three generations are alive)");
        let serving = world.current.is_some_and(|current| world.serves(current));
        let wanted = world.reload_owed || !serving;
        self.expect(wanted, "invariant 5 (a reload leads to exactly one generation)");
        world.reload_owed = false;
        world.truths.push(Truth::new(generation));
    }

    fn signal(&self, world: &mut World, generation: Generation, signal: Signal) {
        let heard = match signal {
            Signal::Term => Heard::Term,
            Signal::Int => Heard::Int,
            Signal::Kill => Heard::Kill,
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
            | Signal::Io
            | Signal::Xfsz => panic!("invariant (only TERM, INT and KILL are sent): {signal:?}"),
        };
        self.assert_may_end(world, generation);
        self.assert_not_early(world, generation, heard);
        let orphaned = matches!(self.event, Event::Gone { generation: of, .. } if of == generation);
        let Some(truth) = world.truth_mut(generation) else { return };
        // The members of a group have not heard what their monitor was told last.
        let again = orphaned && truth.heard == heard;
        let rises = truth.heard < heard;
        if rises {
            (truth.heard, truth.heard_at) = (heard, self.now);
        }
        // Who was killed before the stop was not killed on the way out.
        let lingers = matches!(self.before.order, Order::Linger { .. });
        if rises && heard == Heard::Kill && !lingers {
            world.force();
        }
        self.expect(rises || again, "invariant (TERM, INT and KILL come once and in order)");
    }

    /// Whether the stop has begun, after any delay.
    fn is_leaving(&self, world: &World) -> bool {
        matches!(world.order, Order::Graceful { .. } | Order::Now { .. })
    }

    /// Panzer ends nobody whom anything depends on.
    fn assert_may_end(&self, world: &World, generation: Generation) {
        let Some(truth) = world.truth(generation) else { return };
        if world.is_stopping() || !truth.serves() {
            return;
        }
        let others = world.truths.iter().filter(|other| other.generation != generation);
        let another = others.into_iter().any(Truth::serves);
        self.expect(another, "invariant 1 (the last ready generation is never ended)");
        let current = world.current == Some(generation);
        self.expect(!current, "invariant 4 (before the swap the old generation is untouched)");
    }

    fn assert_not_early(&self, world: &World, generation: Generation, heard: Heard) {
        let Some(truth) = world.truth(generation) else { return };
        let crowded = world.alive() >= MOST_ALIVE && !world.has_attempt();
        let again = truth.heard == heard;
        let in_time = match (heard, world.order) {
            (Heard::Nothing | Heard::Term, _) => true,
            (Heard::Int, Order::Now { .. }) => true,
            (Heard::Int, Order::Graceful { began }) => {
                self.now >= truth.heard_at.min(began).after(TIMEOUT)
            }
            (Heard::Int, Order::None | Order::Linger { .. }) => {
                crowded || self.now >= truth.heard_at.after(TIMEOUT)
            }
            (Heard::Kill, Order::Now { began }) => {
                self.now >= truth.heard_at.max(began).after(KILL_AFTER_STOP_NOW)
                    || self.now >= truth.heard_at.after(KILL_AFTER_STOP_NOW)
            }
            (Heard::Kill, Order::Graceful { began }) => {
                let graceful = began.after(TIMEOUT).after(KILL_AFTER_TIMEOUT);
                self.now >= truth.heard_at.after(KILL_AFTER_TIMEOUT).min(graceful)
            }
            (Heard::Kill, Order::None | Order::Linger { .. }) => {
                // A SIGINT that came a moment late takes nothing from the rest.
                self.now >= truth.heard_at.after(KILL_AFTER_TIMEOUT)
            }
        };
        self.expect(again || in_time, "invariant 9 (no signal before its time)");
    }

    fn promote(&self, world: &mut World, generation: Generation) {
        let serves = world.serves(generation);
        self.expect(serves, "invariant 1 (only a ready generation takes over)");
        let Some(ready_at) = world.truth(generation).and_then(|truth| truth.ready_at) else {
            return;
        };
        let alone = !world.current.is_some_and(|current| world.serves(current));
        let served = self.now >= ready_at.after(world.plan.rules.probation);
        self.expect(alone || served, "invariant 4 (the swap waits for the probation)");
        world.current = Some(generation);
    }

    fn finish(&self, world: &mut World, status: u8) {
        self.expect(!world.finished, "invariant 6 (main leaves once)");
        let stopping = self.is_leaving(world);
        self.expect(stopping, "invariant 6 (main leaves only by a stop)");
        // The kernel has a second to end whom nobody can refuse to end.
        let given_up =
            |truth: &Truth| truth.heard == Heard::Kill && self.now >= truth.heard_at.after(SECOND);
        let last = world.truths.iter().all(|truth| match truth.alive {
            Alive::Spawning => false,
            Alive::Monitor(_) | Alive::Group(_) => given_up(truth),
            Alive::Nobody => true,
        });
        self.expect(last, "invariant 6 (main leaves last)");
        self.expect(world.closed, "invariant 2 (listeners close once, at the final stop)");
        self.expect(status == world.status, "invariant (the exit status is true)");
        world.finished = true;
    }

    /// Nobody is late before it is time.
    fn hear_failure(&self, world: &mut World, generation: Generation, why: Failure) {
        if matches!(why, Failure::Late(_)) {
            let since = world.truth(generation).map(|truth| truth.since);
            let limit = world.plan.rules.ready_timeout;
            let late = since.is_some_and(|since| self.now >= since.after(limit));
            self.expect(late, "invariant 9 (nobody fails before the ready timeout)");
            self.fail(world, None);
        }
    }

    /// Reports that say what only the plan decides.
    fn hear_report(&self, world: &mut World, report: Report) {
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
                self.expect(assumed, "invariant (ready is who says so, or has lived long enough)");
                self.hear_ready(world, generation);
            }
            Report::Started(..)
            | Report::Probation(..)
            | Report::Draining(_)
            | Report::Crashed(_)
            | Report::Waiting(_)
            | Report::Crowded(_)
            | Report::Interrupted(_)
            | Report::Killed(_)
            | Report::Abandoned(_)
            | Report::GaveUp(_)
            | Report::Lingering(_) => {}
        }
    }

    fn assert_population(&self, world: &World) {
        let believed = world.plan.members.iter().map(|member| member.generation);
        let known = believed.eq(world.truths.iter().map(|truth| truth.generation));
        self.expect(known, "invariant 10 (the plan remembers who is there, and nobody else)");
        let alive = world.truths.iter().all(|truth| truth.alive != Alive::Nobody);
        self.expect(alive, "invariant 10 (the plan remembers who is there, and nobody else)");
        let monitors = world.plan.members.iter().map(Member::monitor);
        let same = world.truths.iter().zip(monitors).all(|(truth, monitor)| match truth.alive {
            Alive::Monitor(pid) => monitor == Some(pid),
            Alive::Spawning | Alive::Group(_) | Alive::Nobody => monitor.is_none(),
        });
        self.expect(same, "invariant 7 (the plan knows which monitors are alive)");
        let attempts = world.truths.iter().filter(|truth| world.is_attempt(truth)).count();
        let few = attempts <= 1;
        self.expect(few || world.is_stopping(), "invariant 3 (at most one generation is starting)");
        let room = world.alive() <= MOST_ALIVE;
        self.expect(room, "invariant 3 (at most three generations are alive)");
    }

    /// What the operator and the clients are owed.
    fn assert_service(&self, world: &World) {
        if world.is_stopping() {
            return;
        }
        let free = !world.has_attempt() && world.alive() < MOST_ALIVE;
        self.expect(!(world.reload_owed && free), "invariant 5 (no reload is lost)");
        if world.reload_owed && !world.has_attempt() {
            let due = |member: &Member| pressed_at(member, self.now);
            let oldest = world.plan.members.iter().find_map(due);
            let hurried = oldest.is_some_and(|due| due <= self.now.after(Millis(1_000)));
            self.expect(hurried, "invariant 3 (for a fourth generation the oldest hurries)");
        }
        let serving = world.current.is_some_and(|current| world.serves(current));
        let ready = world.truths.iter().filter(|truth| truth.serves()).count();
        self.expect(serving || ready == 0, "invariant 1 (who is ready takes over)");
        let waits = world.has_attempt() || world.plan.deadline().is_some();
        self.expect(serving || waits, "invariant 1 (somebody will serve again)");
        // A failure of the new one is no business of the old one.
        let concerned = match self.event {
            Event::Gone { generation, .. }
            | Event::SpawnFailed { generation }
            | Event::Losing { generation, .. } => Some(generation),
            Event::Reload
            | Event::Stop
            | Event::StopNow
            | Event::Spawned { .. }
            | Event::Runs { .. }
            | Event::Ready { .. }
            | Event::Empty { .. }
            | Event::Forced
            | Event::Overslept { .. }
            | Event::Timer => None,
        };
        let served = self.before.current.filter(|current| self.before.serves(*current));
        let kept =
            served.is_none_or(|current| world.serves(current) && world.current == Some(current));
        let other = concerned.is_some() && concerned != served;
        self.expect(
            kept || !other,
            "invariant 4 (before the swap the old generation is untouched)",
        );
    }

    /// After a stop everybody has been told, and main leaves when all are gone.
    fn assert_stop(&self, world: &World) {
        let level = match world.order {
            Order::None | Order::Linger { .. } => {
                return self.expect(!world.finished, "invariant 6 (main leaves only by a stop)");
            }
            Order::Graceful { .. } => Heard::Term,
            Order::Now { .. } => Heard::Int,
        };
        self.expect(world.closed, "invariant 2 (listeners close once, at the final stop)");
        let told = world.truths.iter().filter(|truth| truth.is_there()).all(|it| it.heard >= level);
        self.expect(told, "invariant 6 (everyone alive has been told)");
        let over = world.finished || !world.truths.is_empty();
        self.expect(over, "invariant 6 (main leaves when nobody is left)");
    }

    /// While somebody leaves, something presses him.
    fn assert_escalation(&self, world: &World) {
        if world.finished {
            return;
        }
        let deadline = world.plan.deadline();
        for truth in world.truths.iter().filter(|truth| truth.is_there()) {
            let latest = match (truth.heard, world.order) {
                (Heard::Nothing, _) => continue,
                (Heard::Kill, Order::None | Order::Linger { .. }) => continue,
                (Heard::Kill, Order::Graceful { .. } | Order::Now { .. }) => None,
                (Heard::Term, _) => Some(truth.heard_at.after(TIMEOUT)),
                (Heard::Int, Order::Now { .. }) => Some(truth.heard_at.after(KILL_AFTER_TIMEOUT)),
                (Heard::Int, _) => Some(truth.heard_at.after(KILL_AFTER_TIMEOUT)),
            };
            let of_stop = match (world.order, truth.heard) {
                (Order::Graceful { began }, Heard::Term) => Some(began.after(TIMEOUT)),
                (Order::Graceful { began }, Heard::Int) => {
                    Some(began.after(TIMEOUT).after(KILL_AFTER_TIMEOUT))
                }
                (Order::Now { began }, Heard::Term | Heard::Int) if !truth.late => {
                    Some(began.after(KILL_AFTER_STOP_NOW))
                }
                (
                    Order::None | Order::Linger { .. } | Order::Graceful { .. } | Order::Now { .. },
                    Heard::Nothing | Heard::Term | Heard::Int | Heard::Kill,
                ) => None,
            };
            let killed = truth.heard == Heard::Kill;
            let waits = killed && self.awaits_spawn(world);
            let escalates = deadline.is_some() || waits;
            self.expect(escalates, "invariant 6 (something will escalate)");
            let latest = latest.into_iter().chain(of_stop).min();
            let kept = killed || deadline <= latest;
            self.expect(kept, "invariant 6 (everyone has one deadline)");
        }
    }

    fn awaits_spawn(&self, world: &World) -> bool {
        world.truths.iter().any(|truth| truth.alive == Alive::Spawning)
    }

    /// Deadlines move only as they may.
    fn assert_deadlines(&self, world: &World) {
        let name = "invariant 9 (deadlines move only by a stop, a crowd and lost time)";
        let second = self.event == Event::Stop && self.before.is_stopping();
        let (before, after) = (self.before.plan.deadline(), world.plan.deadline());
        self.expect(!second || before == after, "invariant 9 (a second stop moves no deadline)");
        if let Event::Overslept { by } = self.event {
            let wanted = before.map(|before| before.after(by));
            // A start that could not be tried before is tried at once.
            self.expect(after == wanted || !self.actions.is_empty(), name);
        }
        let ordered = world.order != self.before.order;
        for old in &self.before.plan.members {
            let new = world.plan.members.iter().find(|new| new.generation == old.generation);
            let Some(new) = new.filter(|new| is_same_step(old, new)) else { continue };
            let (old, new) = (old.due, new.due);
            let held = match self.event {
                Event::Overslept { by } => new == old.after(by),
                Event::Timer if old <= self.now && before == Some(old) => false,
                Event::Timer | Event::Stop | Event::StopNow | Event::Gone { .. } if ordered => {
                    new <= old
                }
                Event::SpawnFailed { .. } if ordered => new <= old,
                Event::Reload
                | Event::Stop
                | Event::StopNow
                | Event::Spawned { .. }
                | Event::SpawnFailed { .. }
                | Event::Runs { .. }
                | Event::Ready { .. }
                | Event::Losing { .. }
                | Event::Gone { .. }
                | Event::Empty { .. }
                | Event::Forced
                | Event::Timer => new == old,
            };
            self.expect(held, name);
        }
        if self.event == Event::Timer && before.is_some_and(|before| before <= self.now) {
            let moved = after != before || !self.actions.is_empty();
            self.expect(moved, "invariant 9 (what is due is done)");
        }
        let idle =
            world.truths.iter().all(|truth| !truth.is_there() && truth.alive != Alive::Spawning);
        let woken = world.finished || !idle || after.is_some();
        self.expect(woken, "invariant (some event can always wake a live plan)");
    }
}

/// Whether a generation is where it was, so that its deadline is the same one.
fn is_same_step(old: &Member, new: &Member) -> bool {
    old.life == new.life
        && match old.life {
            Life::Starting
            | Life::Living
            | Life::Probation
            | Life::Leaving(Step::Asked | Step::Pressed | Step::Killed) => true,
            Life::Spawning | Life::Current | Life::Leaving(Step::Abandoned) => false,
        }
}

impl World {
    /// Somebody had to be killed on the way out.
    const fn force(&mut self) {
        if matches!(self.order, Order::Graceful { .. } | Order::Now { .. }) && self.status == 0 {
            self.status = 1;
        }
    }

    /// Lost time is nobody's fault: whatever is owed is owed later.
    fn postpone(&mut self, by: Millis) {
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
            truth.heard_at = truth.heard_at.after(by);
            let serving = self.current == Some(truth.generation);
            // Probation is a deadline; health is not.
            truth.ready_at = truth.ready_at.map(|at| if serving { at } else { at.after(by) });
        }
    }
}

/// Walks from one beginning and returns the number of states.
fn walk(rules: Rules) -> usize {
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
fn every_reachable_state_of_a_service_is_sound() {
    let patient = Rules {
        timeout: TIMEOUT,
        readiness: Readiness::Notify,
        ready_timeout: SECOND,
        probation: SECOND,
        drain_delay: Millis(0),
        backoff: BACKOFF,
        give_up: 2,
        seed: even_seed(),
    };
    let lingering = Rules {
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
    std::println!("service: walked {states} states");
}
