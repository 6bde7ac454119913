//! A walk through the reachable states of main's supervisor.
//!
//! A small model of the world answers the supervisor: it knows which monitors and orphans
//! live, which signals they got, and what the operator has asked for. From every state
//! every event is tried, and after every step the invariants are asserted by name. Times
//! are kept relative to now and generation numbers relative to the next one, so that the
//! number of states is finite.

use super::{
    Command, Event, ExecResult, Failure, Past, Readiness, Report, Session, Shutdown, Supervisor,
    SupervisorRules,
};
use super::{GenerationState, Leader};
use crate::backoff::BackoffState;
use crate::persist::tests as codec;
use crate::types::{Backoff, Generation, Millis, Pid, Signal, Tick};
use alloc::vec::Vec;
use std::collections::{HashSet, VecDeque};
use std::println;

/// Now, in every canonical state.
const NOW: Tick = Tick(1_000_000);
/// The number of states that one walk visits, in the order of the number of events that
/// lead there: this model keeps the times of three generations and has too many states to
/// visit all. The walk of `strict` visits all of its states.
const MOST_STATES: usize = 100_000;
/// How far back moments are distinguished: longer than every time limit of the rules.
const PAST: u64 = 3_000;
/// The number of the next generation in every canonical state.
const NEXT: u32 = 100;

/// A generation in the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Truth {
    number: u32,
    /// Its monitor is not reaped.
    monitor: bool,
    /// Processes of its group have outlived the monitor.
    orphans: bool,
    ready: bool,
    promoted: bool,
    failed: bool,
    /// When it was first asked to stop.
    asked: Option<Tick>,
    interrupted: Option<Tick>,
    killed: bool,
    /// When its drain was cut short for a fourth generation.
    cut_short: Option<Tick>,
    /// The signals sent to the monitor, and to its group.
    monitor_got: Vec<Signal>,
    group_got: Vec<Signal>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Request {
    Serve,
    Stop { at: Tick },
    StopNow,
}

#[derive(Clone, Debug)]
struct World {
    rules: SupervisorRules,
    plan: Supervisor,
    now: Tick,
    generations: Vec<Truth>,
    /// The generation whose `Spawn` has no answer yet.
    spawning: Option<u32>,
    /// A reload was requested, and no generation has started since.
    reload_pending: bool,
    request: Request,
    closed: bool,
    killed_in_stop: bool,
    finished: Option<u8>,
}

fn pid(number: u32) -> Pid {
    Pid::new(1_000 + number.cast_signed()).expect("positive")
}

/// The same generation with its times relative to now.
fn seen_from_now(entry: &mut super::GenerationEntry, shift: impl Fn(Tick) -> Tick) {
    let own = pid(entry.generation.0);
    entry.since = NOW;
    entry.due = shift(entry.due);
    entry.place_by = shift(entry.place_by);
    if let GenerationState::Refilling { ends: at } | GenerationState::Starting { slow: at } =
        &mut entry.state
    {
        *at = shift(*at);
    }
    if let Some(Leader::Monitor(leader) | Leader::Session(leader)) = &mut entry.leader {
        *leader = own;
    }
}

impl World {
    fn new(rules: SupervisorRules) -> Self {
        Self {
            rules,
            plan: Supervisor::new(rules, NOW),
            now: NOW,
            generations: Vec::new(),
            spawning: None,
            reload_pending: false,
            request: Request::Serve,
            closed: false,
            killed_in_stop: false,
            finished: None,
        }
    }

    fn truth(&mut self, generation: Generation) -> &mut Truth {
        let found = self.generations.iter_mut().find(|truth| truth.number == generation.0);
        found.unwrap_or_else(|| {
            panic!("invariant (only living generations are signalled): {generation} is gone")
        })
    }

    /// All events that can happen next.
    fn choices(&self) -> Vec<Event> {
        if let Some(number) = self.spawning {
            let generation = Generation(number);
            return [
                Event::Spawned { generation, monitor: pid(number) },
                Event::SpawnFailed { generation },
            ]
            .into();
        }
        let killed: Vec<_> = self.generations.iter().filter(|truth| truth.killed).collect();
        if let [first, _, ..] = killed[..] {
            // The kernel may be slow to end one killed generation, not two.
            return Vec::from([first.end()]);
        }
        let mut events = Vec::from([
            Event::Reload,
            Event::Stop,
            Event::StopNow,
            Event::Stalled { by: Millis(1_000) },
            Event::Ready { generation: Generation(9_999) },
            Event::Timer,
        ]);
        for truth in &self.generations {
            let generation = Generation(truth.number);
            if truth.monitor {
                events.push(Event::Runs { generation });
                events.push(Event::Ready { generation });
                events.push(Event::Losing { generation });
                events.push(Event::SlotUnready { generation });
                events.push(Event::AllReady { generation });
                events.push(Event::MonitorStopping { generation });
                for session in [Session::Empty, Session::Members] {
                    events.push(Event::Gone { generation, exec: ExecResult::Ran, session });
                }
                if !truth.ready {
                    for exec in
                        [ExecResult::NotFound, ExecResult::NotExecutable, ExecResult::Retryable]
                    {
                        events.push(Event::Gone { generation, exec, session: Session::Empty });
                    }
                }
                if matches!(self.request, Request::Stop { .. } | Request::StopNow) {
                    events.push(Event::Forced);
                }
            } else if truth.orphans {
                events.push(Event::Empty { generation });
            }
        }
        events
    }

    /// The world after `event`. A timer advances time by a second, or to the deadline if that
    /// is earlier; the supervisor gets the event only when the deadline has passed.
    fn after(&self, event: Event) -> Self {
        let mut world = self.clone();
        let before = world.plan.deadline();
        let mut commands = Vec::new();
        if event == Event::Timer {
            let second = world.now.after(Millis(1_000));
            world.now = before.map_or(second, |deadline| deadline.clamp(world.now, second));
            if before.is_none_or(|deadline| deadline > world.now) {
                return world;
            }
        }
        world.apply_event(event);
        world.plan.step(world.now, event, &mut commands);
        if !commands.iter().any(|command| matches!(command, Command::Spawn { .. })) {
            world.check_clock(event, before);
        }
        for command in commands {
            world.act(event, command);
        }
        world.check();
        world
    }

    /// The effect of the event on the model.
    fn apply_event(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Reload => self.reload_pending |= self.request == Request::Serve,
            Event::Stop => {
                if self.request == Request::Serve {
                    self.request = Request::Stop { at: now };
                    self.reload_pending = false;
                }
            }
            Event::StopNow => {
                self.request = Request::StopNow;
                self.reload_pending = false;
            }
            Event::Spawned { generation, .. } => {
                self.spawning = None;
                self.generations.push(Truth {
                    number: generation.0,
                    monitor: true,
                    orphans: false,
                    ready: false,
                    promoted: false,
                    failed: false,
                    asked: None,
                    interrupted: None,
                    killed: false,
                    cut_short: None,
                    monitor_got: Vec::new(),
                    group_got: Vec::new(),
                });
            }
            Event::SpawnFailed { .. } => self.spawning = None,
            Event::Gone { generation, session, .. } => {
                let truth = self.truth(generation);
                truth.monitor = false;
                truth.orphans = session == Session::Members;
            }
            Event::Empty { generation } => self.truth(generation).orphans = false,
            Event::Forced => self.killed_in_stop |= self.closed,
            Event::Stalled { by } => self.lose_time(by),
            Event::MonitorStopping { generation } => {
                self.truth(generation).asked.get_or_insert(now);
            }
            Event::Runs { .. }
            | Event::Ready { .. }
            | Event::Losing { .. }
            | Event::SlotUnready { .. }
            | Event::AllReady { .. }
            | Event::Timer => {}
        }
    }

    /// No process could run for this time: all deadlines move by it.
    fn lose_time(&mut self, by: Millis) {
        self.now = self.now.after(by);
        for truth in &mut self.generations {
            truth.asked = truth.asked.map(|at| at.after(by));
            truth.cut_short = truth.cut_short.map(|at| at.after(by));
            truth.interrupted = truth.interrupted.map(|at| at.after(by));
        }
        if let Request::Stop { at } = &mut self.request {
            *at = at.after(by);
        }
    }

    fn check_clock(&self, event: Event, before: Option<Tick>) {
        let after = self.plan.deadline();
        let stopping = self.plan.stop != Shutdown::No;
        if let Event::Stalled { by } = event {
            let expected = before.map(|before| before.after(by));
            assert_eq!(after, expected, "invariant (only lost time moves a deadline back)");
        } else if stopping && self.closed && matches!(event, Event::Reload | Event::Stop) {
            assert_eq!(after, before, "invariant (a second stop moves no deadline)");
        } else if event == (Event::Ready { generation: Generation(9_999) }) {
            assert_eq!(after, before, "invariant (unrelated events move no deadline)");
        }
    }

    fn act(&mut self, event: Event, command: Command) {
        assert!(self.finished.is_none(), "invariant (main exits last): {command:?} after Finish");
        match command {
            Command::Spawn { generation } => self.spawn(generation),
            Command::Signal { generation, monitor, signal } => {
                assert_eq!(
                    monitor,
                    pid(generation.0),
                    "invariant (signals go to the monitor's own pid)"
                );
                self.signal_monitor(generation, signal);
            }
            Command::SignalSession { generation, leader, signal } => {
                assert_eq!(
                    leader,
                    pid(generation.0),
                    "invariant (signals go to the session of the monitor)"
                );
                self.signal_group(generation, signal);
            }
            Command::Promote { generation } => {
                let truth = self.truth(generation);
                assert!(
                    truth.ready && !truth.failed,
                    "invariant (only a ready generation is promoted)"
                );
                truth.promoted = true;
            }
            Command::FailStart { generation, .. } | Command::RollBack { generation, .. } => {
                for truth in
                    self.generations.iter_mut().filter(|truth| truth.number == generation.0)
                {
                    assert!(!truth.promoted, "invariant (a promoted generation is not discarded)");
                    truth.failed = true;
                }
            }
            Command::Forget { generation } => {
                let lives = |truth: &Truth| truth.monitor || truth.orphans;
                let alive = self
                    .generations
                    .iter()
                    .any(|truth| truth.number == generation.0 && lives(truth));
                assert!(
                    !alive,
                    "invariant (no living generation is forgotten): {generation} by {event:?}"
                );
                self.generations.retain(|truth| truth.number != generation.0);
            }
            Command::CloseListeners => {
                assert!(!self.closed, "invariant (the listeners are closed once)");
                self.closed = true;
            }
            Command::Finish { status } => self.finish(status),
            Command::Tell(report) => self.on_report(report),
        }
    }

    fn spawn(&mut self, generation: Generation) {
        assert!(
            !self.closed && self.request == Request::Serve,
            "invariant (nothing starts after a stop)"
        );
        let serves = self
            .generations
            .iter()
            .any(|truth| truth.promoted && truth.monitor && truth.asked.is_none());
        assert!(self.reload_pending || !serves, "invariant (one reload starts one generation)");
        let alive = self.generations.iter().filter(|truth| truth.counts()).count();
        assert!(
            alive < 3,
            "invariant (at most three generations are alive): {generation} is the fourth"
        );
        self.reload_pending = false;
        self.spawning = Some(generation.0);
    }

    fn signal_monitor(&mut self, generation: Generation, signal: Signal) {
        let now = self.now;
        let stop = self.closed || self.request != Request::Serve;
        let other_ready = self.generations.iter().any(|truth| {
            truth.number != generation.0
                && truth.ready
                && truth.monitor
                && truth.asked.is_none()
                && !truth.failed
        });
        let limits = self.rules;
        let now_wanted = self.request == Request::StopNow;
        let truth = self.truth(generation);
        assert!(
            truth.monitor,
            "invariant (no reaped monitor is signalled): {signal:?} to {generation}"
        );
        assert!(
            !truth.monitor_got.contains(&signal),
            "invariant (each signal is sent once): {signal:?}"
        );
        if truth.asked.is_none() && truth.ready && !truth.failed && !stop {
            assert!(other_ready, "invariant (the last ready generation is never ended)");
            if truth.promoted {
                assert!(
                    signal == Signal::Term,
                    "invariant (a replaced generation first gets SIGTERM)"
                );
            }
        }
        if signal == Signal::Term {
            truth.asked = Some(now);
        } else {
            assert_eq!(signal, Signal::Int, "invariant (a monitor gets SIGTERM and SIGINT only)");
            let due = truth.asked.is_some_and(|at| now >= at.after(limits.timeout));
            let due = due || now_wanted || truth.cut_short.is_some();
            assert!(due, "invariant (SIGINT is never early)");
            truth.asked.get_or_insert(now);
            truth.interrupted = Some(now);
        }
        truth.monitor_got.push(signal);
    }

    fn signal_group(&mut self, generation: Generation, signal: Signal) {
        let now = self.now;
        let stopping = self.closed;
        let now_wanted = self.request == Request::StopNow;
        let timeout = self.rules.timeout;
        let truth = self.truth(generation);
        if signal == Signal::Kill {
            let grace = Millis(if now_wanted { 1_000 } else { 2_000 });
            let due = truth.interrupted.is_some_and(|at| now >= at.after(grace))
                || truth.has_blocked_a_start(now);
            assert!(due, "invariant (SIGKILL is never early)");
            let first = !core::mem::replace(&mut truth.killed, true);
            self.killed_in_stop |= stopping && first;
            return;
        }
        assert!(!truth.monitor, "invariant (the group of a living monitor is not signalled)");
        assert!(
            !truth.group_got.contains(&signal),
            "invariant (each signal is sent once): {signal:?}"
        );
        if signal == Signal::Int && truth.interrupted.is_none() {
            let due = truth.asked.is_some_and(|at| now >= at.after(timeout));
            let due = due || now_wanted || truth.cut_short.is_some();
            assert!(due, "invariant (SIGINT is never early)");
        }
        truth.asked.get_or_insert(now);
        if signal == Signal::Int {
            truth.interrupted.get_or_insert(now);
        }
        truth.group_got.push(signal);
    }

    fn on_report(&mut self, report: Report) {
        if let Report::Ready(generation, _) = report {
            self.truth(generation).ready = true;
        } else if let Report::Crowded(generation) = report {
            let now = self.now;
            self.truth(generation).cut_short = Some(now);
        }
    }

    fn finish(&mut self, status: u8) {
        assert!(self.closed, "invariant (main exits only after a stop)");
        assert!(self.spawning.is_none(), "invariant (main exits last): a process is being forked");
        for truth in &self.generations {
            assert!(truth.killed, "invariant (main exits last): {truth:?} is left");
        }
        if self.killed_in_stop {
            assert_ne!(status, 0, "invariant (the exit status shows a SIGKILL in the stop)");
        }
        self.finished = Some(status);
    }

    /// What must hold between any two events.
    fn check(&self) {
        let attempt = |truth: &&Truth| {
            truth.monitor && !truth.promoted && !truth.failed && truth.asked.is_none()
        };
        let attempts =
            self.generations.iter().filter(attempt).count() + usize::from(self.spawning.is_some());
        assert!(
            attempts <= 1,
            "invariant (at most one generation is starting): {:?}",
            self.generations
        );
        let alive = self.generations.iter().filter(|truth| truth.counts()).count()
            + usize::from(self.spawning.is_some());
        assert!(
            alive <= 3,
            "invariant (at most three generations are alive): {:?}",
            self.generations
        );
        if self.finished.is_some() || self.spawning.is_some() {
            return;
        }
        let wakes = self.plan.deadline().is_some();
        if self.reload_pending {
            assert!(attempts == 1 || wakes, "invariant (no reload is lost)");
        }
        if self.request == Request::Serve && !self.closed {
            let serves = self
                .generations
                .iter()
                .any(|truth| truth.promoted && truth.monitor && truth.asked.is_none());
            assert!(serves || attempts == 1 || wakes, "invariant (a generation serves, or will)");
        }
        for truth in self.generations.iter().filter(|truth| truth.orphans || truth.monitor) {
            if self.closed {
                assert!(
                    truth.asked.is_some(),
                    "invariant (a stop signals every generation): {truth:?}"
                );
            }
            if truth.asked.is_some() && !truth.killed {
                assert!(wakes, "invariant (a stopping generation has a deadline): {truth:?}");
            }
            if truth.orphans {
                assert!(
                    !truth.group_got.is_empty() || truth.killed,
                    "invariant (orphans are signalled): {truth:?}"
                );
            }
        }
        if let (Request::Stop { at }, Some(deadline)) = (&self.request, self.plan.deadline()) {
            let rules = self.rules;
            let all = rules.drain_delay.0 + rules.timeout.0 + 3_000;
            assert!(
                deadline <= at.after(Millis(all)).max(self.now.after(Millis(3_000))),
                "invariant (the timeout is counted once)"
            );
        }
    }

    /// The same state with times relative to now and renumbered generations: what happens
    /// next depends neither on the time of day nor on the number of past generations.
    fn canonical(&self) -> Self {
        let mut world = self.clone();
        let shift = |tick: Tick| match tick {
            Tick::NEVER => tick,
            Tick(tick) => Tick((tick + NOW.0).saturating_sub(self.now.0).max(NOW.0 - PAST)),
        };
        let mut numbers: Vec<_> =
            self.plan.generations.iter().map(|entry| entry.generation.0).collect();
        numbers.sort_unstable();
        let rank = |old: u32| numbers.iter().rev().position(|number| *number == old);
        let number = |old: u32| {
            NEXT - 1 - u32::try_from(rank(old).expect("known to the plan")).expect("few")
        };
        let moved = |tick: Option<Tick>| tick.map(shift);
        world.now = NOW;
        world.spawning = world.spawning.map(number);
        if let Request::Stop { at } = &mut world.request {
            *at = shift(*at);
        }
        for truth in &mut world.generations {
            truth.number = number(truth.number);
            truth.asked = moved(truth.asked);
            truth.cut_short = moved(truth.cut_short);
            truth.interrupted = moved(truth.interrupted);
            truth.on_empty();
        }
        let plan = &mut world.plan;
        plan.next = Generation(NEXT);
        plan.wanted = shift(plan.wanted);
        plan.backoff.forget_beyond(0);
        if let Past::NeverReady { since, .. } = &mut plan.past {
            *since = shift(*since);
        }
        forget_failures_beyond(4, &mut plan.past);
        match &mut plan.stop {
            Shutdown::Delayed { until: at } | Shutdown::Graceful { interrupt: at, .. } => {
                *at = shift(*at)
            }
            Shutdown::No | Shutdown::Immediate { .. } | Shutdown::Finished => {}
        }
        for entry in &mut plan.generations {
            entry.generation = Generation(number(entry.generation.0));
            seen_from_now(entry, shift);
        }
        world
    }

    #[expect(clippy::type_complexity, reason = "the whole state, and only here")]
    fn key(
        self,
    ) -> (
        Vec<super::GenerationEntry>,
        Tick,
        BackoffState,
        Past,
        Shutdown,
        Vec<Truth>,
        Option<u32>,
        (bool, Request, bool, bool),
    ) {
        let Self {
            plan,
            generations,
            spawning,
            reload_pending,
            request,
            closed,
            killed_in_stop,
            ..
        } = self;
        let rest = (reload_pending, request, closed, killed_in_stop);
        (
            plan.generations,
            plan.wanted,
            plan.backoff,
            plan.past,
            plan.stop,
            generations,
            spawning,
            rest,
        )
    }
}

/// Treats more than `most` failed starts as `most`.
fn forget_failures_beyond(most: u32, past: &mut Past) {
    if let Past::NeverReady { failed, .. } = past {
        *failed = (*failed).min(most);
    }
}

impl Truth {
    /// The event of the end of its last process.
    fn end(&self) -> Event {
        let generation = Generation(self.number);
        if self.monitor {
            Event::Gone { generation, exec: ExecResult::Ran, session: Session::Empty }
        } else {
            Event::Empty { generation }
        }
    }

    /// Resets what no assertion will read any more.
    fn on_empty(&mut self) {
        let long_ago = Some(Tick(NOW.0 - PAST));
        if self.interrupted.is_some() {
            self.asked = long_ago;
        }
        if self.killed {
            (self.interrupted, self.cut_short) = (long_ago, None);
            (self.monitor_got, self.group_got) = Default::default();
        }
        if !self.monitor {
            self.monitor_got.clear();
        }
    }

    /// Whether another generation has waited for its place for a second.
    fn has_blocked_a_start(&self, now: Tick) -> bool {
        self.cut_short.is_some_and(|at| now >= at.after(Millis(1_000)))
    }

    /// Whether it counts as one of the three that may be alive.
    fn counts(&self) -> bool {
        (self.monitor || self.orphans) && !self.killed
    }
}

#[expect(clippy::print_stdout, reason = "a walk prints the number of its states")]
fn walk(name: &str, rules: SupervisorRules) -> usize {
    let mut seen = HashSet::new();
    let mut queue = VecDeque::from([World::new(rules)]);
    let (mut finished, mut steps) = (0_usize, 0_usize);
    while let Some(world) = queue.pop_front() {
        if seen.len() >= MOST_STATES {
            break;
        }
        let world = world.canonical();
        if world.finished.is_some() {
            finished += 1;
            continue;
        }
        if !seen.insert(world.clone().key()) {
            continue;
        }
        let restored = codec::read(&codec::written(&mut world.plan.clone()));
        // rule: restart.deadlines
        assert_eq!(restored.as_ref(), Some(&world.plan), "the saved state is complete");
        for event in world.choices() {
            steps += 1;
            queue.push_back(world.after(event));
        }
    }
    println!("walked {} states of the supervisor ({name}), {steps} steps", seen.len());
    assert!(finished > 0, "the walk never reached the end of main");
    seen.len()
}

const RULES: SupervisorRules = SupervisorRules {
    timeout: Millis(1_000),
    readiness: Readiness::Notify,
    ready_timeout: Millis(1_000),
    slow_start: Millis(1_000),
    probation: Millis(1_000),
    drain_delay: Millis(0),
    backoff: Backoff { delay: Millis(0), max_delay: Millis(0) },
    give_up: 2,
    give_up_after: Millis(1_000),
    seed: 1,
};

#[test]
fn supervisor_with_probation_keeps_all_invariants() {
    assert!(walk("probation", RULES) > 1_000, "the walk was trivial");
}

#[test]
fn supervisor_without_probation_keeps_all_invariants() {
    // Longer than the second after which a drain is cut short for a fourth generation.
    let rules = SupervisorRules { probation: Millis(0), timeout: Millis(2_000), ..RULES };
    assert!(walk("no probation", rules) > 1_000, "the walk was trivial");
}

#[test]
fn supervisor_with_a_drain_delay_keeps_all_invariants() {
    let readiness = Readiness::After(Millis(1_000));
    let ready_timeout = Millis(2_000);
    let rules = SupervisorRules {
        drain_delay: Millis(1_000),
        probation: Millis(0),
        readiness,
        ready_timeout,
        ..RULES
    };
    assert!(walk("drain delay", rules) > 1_000, "the walk was trivial");
}

/// rule: ready.timeout
#[test]
fn workers_that_a_pool_ends_at_the_ready_timeout_count_as_late() {
    let (generation, due) = (Generation(1), NOW.after(RULES.ready_timeout));
    for (now, failure) in
        [(Tick(due.0 - 1), Failure::Losing), (due, Failure::Late(RULES.ready_timeout))]
    {
        let (mut plan, mut commands) = (Supervisor::new(RULES, NOW), Vec::new());
        plan.step(NOW, Event::Timer, &mut commands);
        plan.step(NOW, Event::Spawned { generation, monitor: pid(1) }, &mut commands);
        plan.step(now, Event::Losing { generation }, &mut commands);
        let failed = commands.iter().find(|command| matches!(command, Command::FailStart { .. }));
        assert_eq!(failed, Some(&Command::FailStart { generation, reason: failure }));
    }
}

/// rule: ready.timeout
#[test]
fn start_that_is_not_ready_is_told_of_once() {
    let rules = SupervisorRules { ready_timeout: Millis(9_000), ..RULES };
    let generation = Generation(1);
    let mut plan = Supervisor::new(rules, NOW);
    let mut told = |at: u64, event| {
        let mut commands = Vec::new();
        plan.step(NOW.after(Millis(at)), event, &mut commands);
        commands.retain(|command| matches!(command, Command::Tell(Report::Slow(..))));
        (commands, plan.deadline().map(|due| due.since(NOW)))
    };
    let slow = Command::Tell(Report::Slow(generation, Millis(1_000), rules.ready_timeout));
    told(0, Event::Timer);
    for (at, event, expected, due) in [
        (0, Event::Spawned { generation, monitor: pid(1) }, &[][..], 1_000),
        (900, Event::Timer, &[], 1_000),
        (900, Event::Stalled { by: Millis(500) }, &[], 1_500),
        (1_400, Event::Timer, &[], 1_500),
        (1_500, Event::Timer, &[slow], 9_500),
        (1_500, Event::Timer, &[], 9_500),
        (9_400, Event::Timer, &[], 9_500),
    ] {
        assert_eq!(told(at, event), (expected.to_vec(), Some(Millis(due))), "{at} {event:?}");
    }
}
