//! The walk through every state that main's plan can reach.
//!
//! A small truthful world answers the plan: it knows which monitors and which
//! orphans live, who was sent what, and what the operator has asked for. From
//! every state every event is tried; after every step the invariants are
//! asserted by number and name. Times are kept relative to now and generation
//! numbers relative to the next one, so that the walk comes to an end.

use super::member::Leader;
use super::{Action, Event, Exec, Left, Past, Readiness, Report, Rules, Service, Stop};
use crate::plan::backoff::Streak;
use crate::tape::tests as tape;
use crate::types::{Backoff, Generation, Millis, Pid, Signal, Tick};
use alloc::vec::Vec;
use std::collections::HashSet;
use std::println;

/// Now, in every canonical state.
const NOW: Tick = Tick(1_000_000);
/// How far back a moment is told from another: past every limit of the rules.
const PAST: u64 = 3_000;
/// The number of the next generation in every canonical state.
const NEXT: u32 = 100;

/// A generation as the world knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Truth {
    number: u32,
    /// Not reaped.
    monitor: bool,
    /// Somebody of its group outlived the monitor.
    orphans: bool,
    ready: bool,
    promoted: bool,
    failed: bool,
    /// When it was first told to leave.
    asked: Option<Tick>,
    interrupted: Option<Tick>,
    killed: bool,
    /// Had to leave before its time: a fourth was waiting.
    hurried: Option<Tick>,
    /// What the monitor, and what its group, was sent.
    monitor_got: Vec<Signal>,
    group_got: Vec<Signal>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Wish {
    Serve,
    Stop { at: Tick },
    StopNow,
}

#[derive(Clone, Debug)]
struct World {
    rules: Rules,
    plan: Service,
    now: Tick,
    members: Vec<Truth>,
    /// `Spawn` was ordered and not answered.
    spawning: Option<u32>,
    /// A reload was asked for, and nothing was started since.
    owed: bool,
    wish: Wish,
    closed: bool,
    killed_in_stop: bool,
    finished: Option<u8>,
}

fn pid(number: u32) -> Pid {
    Pid::new(1_000 + number.cast_signed()).expect("positive")
}

/// The same generation, seen from now.
fn seen_from_now(member: &mut super::member::Member, shift: impl Fn(Tick) -> Tick) {
    let own = pid(member.generation.0);
    member.since = NOW;
    member.due = shift(member.due);
    if let Some(Leader::Monitor(leader) | Leader::Group(leader)) = &mut member.leader {
        *leader = own;
    }
}

impl World {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            plan: Service::new(rules, NOW),
            now: NOW,
            members: Vec::new(),
            spawning: None,
            owed: false,
            wish: Wish::Serve,
            closed: false,
            killed_in_stop: false,
            finished: None,
        }
    }

    fn truth(&mut self, generation: Generation) -> &mut Truth {
        let found = self.members.iter_mut().find(|truth| truth.number == generation.0);
        found.unwrap_or_else(|| {
            panic!("invariant 7 (only what lives is told): {generation} is gone")
        })
    }

    /// Everything that could happen next.
    fn choices(&self) -> Vec<Event> {
        if let Some(number) = self.spawning {
            let generation = Generation(number);
            return [
                Event::Spawned { generation, monitor: pid(number) },
                Event::SpawnFailed { generation },
            ]
            .into();
        }
        let doomed: Vec<_> = self.members.iter().filter(|truth| truth.killed).collect();
        if let [first, _, ..] = doomed[..] {
            // The kernel may be slow to end one that was killed, not two.
            return Vec::from([first.end()]);
        }
        let mut events = Vec::from([
            Event::Reload,
            Event::Stop,
            Event::StopNow,
            Event::Overslept { by: Millis(1_000) },
            Event::Ready { generation: Generation(9_999) },
            Event::Timer,
        ]);
        for truth in &self.members {
            let generation = Generation(truth.number);
            if truth.monitor {
                events.push(Event::Runs { generation });
                events.push(Event::Ready { generation });
                events.push(Event::Losing { generation });
                for left in [Left::Nobody, Left::Members] {
                    events.push(Event::Gone { generation, exec: Exec::Done, left });
                }
                if !truth.ready {
                    for exec in [Exec::Missing, Exec::Unusable, Exec::Hindered] {
                        events.push(Event::Gone { generation, exec, left: Left::Nobody });
                    }
                }
                if matches!(self.wish, Wish::Stop { .. } | Wish::StopNow) {
                    events.push(Event::Forced);
                }
            } else if truth.orphans {
                events.push(Event::Empty { generation });
            }
        }
        events
    }

    /// The world after `event`. A timer brings the next second, or the
    /// deadline if that comes first; it is told only when it has passed.
    fn after(&self, event: Event) -> Self {
        let mut world = self.clone();
        let before = world.plan.deadline();
        let mut actions = Vec::new();
        if event == Event::Timer {
            let second = world.now.after(Millis(1_000));
            world.now = before.map_or(second, |deadline| deadline.clamp(world.now, second));
            if before.is_none_or(|deadline| deadline > world.now) {
                return world;
            }
        }
        world.happen(event);
        world.plan.step(world.now, event, &mut actions);
        if !actions.iter().any(|action| matches!(action, Action::Spawn { .. })) {
            world.check_clock(event, before);
        }
        for action in actions {
            world.act(event, action);
        }
        world.check();
        world
    }

    /// What the event means for the truth.
    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Reload => self.owed |= self.wish == Wish::Serve,
            Event::Stop => {
                if self.wish == Wish::Serve {
                    self.wish = Wish::Stop { at: now };
                    self.owed = false;
                }
            }
            Event::StopNow => {
                self.wish = Wish::StopNow;
                self.owed = false;
            }
            Event::Spawned { generation, .. } => {
                self.spawning = None;
                self.members.push(Truth {
                    number: generation.0,
                    monitor: true,
                    orphans: false,
                    ready: false,
                    promoted: false,
                    failed: false,
                    asked: None,
                    interrupted: None,
                    killed: false,
                    hurried: None,
                    monitor_got: Vec::new(),
                    group_got: Vec::new(),
                });
            }
            Event::SpawnFailed { .. } => self.spawning = None,
            Event::Gone { generation, left, .. } => {
                let truth = self.truth(generation);
                truth.monitor = false;
                truth.orphans = left == Left::Members;
            }
            Event::Empty { generation } => self.truth(generation).orphans = false,
            Event::Forced => self.killed_in_stop |= self.closed,
            Event::Overslept { by } => self.lose_time(by),
            Event::Runs { .. } | Event::Ready { .. } | Event::Losing { .. } | Event::Timer => {}
        }
    }

    /// Nobody could run for so long: what was to come by then comes later.
    fn lose_time(&mut self, by: Millis) {
        self.now = self.now.after(by);
        for truth in &mut self.members {
            truth.asked = truth.asked.map(|at| at.after(by));
            truth.hurried = truth.hurried.map(|at| at.after(by));
            truth.interrupted = truth.interrupted.map(|at| at.after(by));
        }
        if let Wish::Stop { at } = &mut self.wish {
            *at = at.after(by);
        }
    }

    fn check_clock(&self, event: Event, before: Option<Tick>) {
        let after = self.plan.deadline();
        let stopping = self.plan.stop != Stop::No;
        if let Event::Overslept { by } = event {
            let expected = before.map(|before| before.after(by));
            assert_eq!(after, expected, "invariant 9 (only lost time moves a deadline back)");
        } else if stopping && self.closed && matches!(event, Event::Reload | Event::Stop) {
            assert_eq!(after, before, "invariant 9 (a second stop moves no deadline)");
        } else if event == (Event::Ready { generation: Generation(9_999) }) {
            assert_eq!(after, before, "invariant 9 (unrelated events move no deadline)");
        }
    }

    fn act(&mut self, event: Event, action: Action) {
        assert!(self.finished.is_none(), "invariant 6 (main leaves last): {action:?} after Finish");
        match action {
            Action::Spawn { generation } => self.spawn(generation),
            Action::Signal { generation, monitor, signal } => {
                assert_eq!(monitor, pid(generation.0), "invariant 7 (the monitor's own pid)");
                self.signal_monitor(generation, signal);
            }
            Action::SignalGroup { generation, leader, signal } => {
                assert_eq!(leader, pid(generation.0), "invariant 7 (the group's own leader)");
                self.signal_group(generation, signal);
            }
            Action::Promote { generation } => {
                let truth = self.truth(generation);
                assert!(
                    truth.ready && !truth.failed,
                    "invariant 1 (only what is ready is promoted)"
                );
                truth.promoted = true;
            }
            Action::Discard { generation, .. } => {
                for truth in self.members.iter_mut().filter(|truth| truth.number == generation.0) {
                    assert!(!truth.promoted, "invariant 4 (what was promoted is not discarded)");
                    truth.failed = true;
                }
            }
            Action::Forget { generation } => {
                let lives = |truth: &Truth| truth.monitor || truth.orphans;
                let alive =
                    self.members.iter().any(|truth| truth.number == generation.0 && lives(truth));
                assert!(
                    !alive,
                    "invariant 10 (nobody alive is forgotten): {generation} by {event:?}"
                );
                self.members.retain(|truth| truth.number != generation.0);
            }
            Action::CloseListeners => {
                assert!(!self.closed, "invariant 2 (the sockets are closed once)");
                self.closed = true;
            }
            Action::Finish { status } => self.finish(status),
            Action::Tell(report) => self.hear(report),
        }
    }

    fn spawn(&mut self, generation: Generation) {
        assert!(
            !self.closed && self.wish == Wish::Serve,
            "invariant 6 (nothing starts after a stop)"
        );
        let serves = self
            .members
            .iter()
            .any(|truth| truth.promoted && truth.monitor && truth.asked.is_none());
        assert!(self.owed || !serves, "invariant 5 (one reload starts one generation)");
        let alive = self.members.iter().filter(|truth| truth.counts()).count();
        assert!(alive < 3, "invariant 3 (at most three are alive): {generation} is the fourth");
        self.owed = false;
        self.spawning = Some(generation.0);
    }

    fn signal_monitor(&mut self, generation: Generation, signal: Signal) {
        let now = self.now;
        let stop = self.closed || self.wish != Wish::Serve;
        let other_ready = self.members.iter().any(|truth| {
            truth.number != generation.0
                && truth.ready
                && truth.monitor
                && truth.asked.is_none()
                && !truth.failed
        });
        let limits = self.rules;
        let now_wanted = self.wish == Wish::StopNow;
        let truth = self.truth(generation);
        assert!(
            truth.monitor,
            "invariant 7 (nobody reaped is signalled): {signal:?} to {generation}"
        );
        assert!(!truth.monitor_got.contains(&signal), "invariant 9 (each signal once): {signal:?}");
        if truth.asked.is_none() && truth.ready && !truth.failed && !stop {
            assert!(other_ready, "invariant 1 (the last ready generation is never ended)");
            if truth.promoted {
                assert!(signal == Signal::Term, "invariant 4 (the old one is asked, not pressed)");
            }
        }
        if signal == Signal::Term {
            truth.asked = Some(now);
        } else {
            assert_eq!(signal, Signal::Int, "invariant 7 (a monitor gets TERM and INT alone)");
            let due = truth.asked.is_some_and(|at| now >= at.after(limits.timeout));
            assert!(
                due || now_wanted || truth.had_to_hurry(now),
                "invariant 9 (SIGINT is never early)"
            );
            truth.asked.get_or_insert(now);
            truth.interrupted = Some(now);
        }
        truth.monitor_got.push(signal);
    }

    fn signal_group(&mut self, generation: Generation, signal: Signal) {
        let now = self.now;
        let stopping = self.closed;
        let now_wanted = self.wish == Wish::StopNow;
        let timeout = self.rules.timeout;
        let truth = self.truth(generation);
        if signal == Signal::Kill {
            let grace = Millis(if now_wanted { 1_000 } else { 2_000 });
            let due = truth.interrupted.is_some_and(|at| now >= at.after(grace));
            assert!(due, "invariant 9 (SIGKILL is never early)");
            let first = !core::mem::replace(&mut truth.killed, true);
            self.killed_in_stop |= stopping && first;
            return;
        }
        assert!(!truth.monitor, "invariant 7 (a living monitor passes the signals on itself)");
        assert!(!truth.group_got.contains(&signal), "invariant 9 (each signal once): {signal:?}");
        if signal == Signal::Int && truth.interrupted.is_none() {
            let due = truth.asked.is_some_and(|at| now >= at.after(timeout));
            assert!(
                due || now_wanted || truth.had_to_hurry(now),
                "invariant 9 (SIGINT is never early)"
            );
        }
        truth.asked.get_or_insert(now);
        if signal == Signal::Int {
            truth.interrupted.get_or_insert(now);
        }
        truth.group_got.push(signal);
    }

    fn hear(&mut self, report: Report) {
        if let Report::Ready(generation, _) = report {
            self.truth(generation).ready = true;
        } else if let Report::Crowded(generation) = report {
            let now = self.now;
            self.truth(generation).hurried = Some(now);
        }
    }

    fn finish(&mut self, status: u8) {
        assert!(self.closed, "invariant 6 (nobody leaves without a stop)");
        assert!(self.spawning.is_none(), "invariant 6 (main leaves last): a process is being made");
        for truth in &self.members {
            assert!(truth.killed, "invariant 6 (main leaves last): {truth:?} is left");
        }
        if self.killed_in_stop {
            assert_ne!(status, 0, "invariant 6 (the status tells that somebody was killed)");
        }
        self.finished = Some(status);
    }

    /// What must hold between any two events.
    fn check(&self) {
        let attempt = |truth: &&Truth| {
            truth.monitor && !truth.promoted && !truth.failed && truth.asked.is_none()
        };
        let attempts =
            self.members.iter().filter(attempt).count() + usize::from(self.spawning.is_some());
        assert!(attempts <= 1, "invariant 3 (one attempt at a time): {:?}", self.members);
        let alive = self.members.iter().filter(|truth| truth.counts()).count()
            + usize::from(self.spawning.is_some());
        assert!(alive <= 3, "invariant 3 (at most three are alive): {:?}", self.members);
        if self.finished.is_some() || self.spawning.is_some() {
            return;
        }
        let wakes = self.plan.deadline().is_some();
        if self.owed {
            assert!(attempts == 1 || wakes, "invariant 5 (no reload is lost)");
        }
        if self.wish == Wish::Serve && !self.closed {
            let serves = self
                .members
                .iter()
                .any(|truth| truth.promoted && truth.monitor && truth.asked.is_none());
            assert!(serves || attempts == 1 || wakes, "invariant 1 (somebody serves, or will)");
        }
        for truth in self.members.iter().filter(|truth| truth.orphans || truth.monitor) {
            if self.closed {
                assert!(truth.asked.is_some(), "invariant 6 (everybody is told): {truth:?}");
            }
            if truth.asked.is_some() && !truth.killed {
                assert!(wakes, "invariant 6 (something escalates): {truth:?}");
            }
            if truth.orphans {
                assert!(
                    !truth.group_got.is_empty() || truth.killed,
                    "invariant 6 (orphans are told): {truth:?}"
                );
            }
        }
        if let (Wish::Stop { at }, Some(deadline)) = (&self.wish, self.plan.deadline()) {
            let rules = self.rules;
            let all = rules.drain_delay.0 + rules.timeout.0 + 3_000;
            assert!(
                deadline <= at.after(Millis(all)).max(self.now.after(Millis(3_000))),
                "invariant 6 (the timeout is counted once)"
            );
        }
    }

    /// The same state, seen from now: what happens next does not depend on
    /// how long ago it began, or on how many there were before.
    fn canonical(&self) -> Self {
        let mut world = self.clone();
        let shift = |tick: Tick| match tick {
            Tick::NEVER => tick,
            Tick(tick) => Tick((tick + NOW.0).saturating_sub(self.now.0).max(NOW.0 - PAST)),
        };
        let mut numbers: Vec<_> =
            self.plan.members.iter().map(|member| member.generation.0).collect();
        numbers.sort_unstable();
        let rank = |old: u32| numbers.iter().rev().position(|number| *number == old);
        let number = |old: u32| {
            NEXT - 1 - u32::try_from(rank(old).expect("known to the plan")).expect("few")
        };
        let moved = |tick: Option<Tick>| tick.map(shift);
        world.now = NOW;
        world.spawning = world.spawning.map(number);
        if let Wish::Stop { at } = &mut world.wish {
            *at = shift(*at);
        }
        for truth in &mut world.members {
            truth.number = number(truth.number);
            truth.asked = moved(truth.asked);
            truth.hurried = moved(truth.hurried);
            truth.interrupted = moved(truth.interrupted);
            truth.forget();
        }
        let plan = &mut world.plan;
        plan.next = Generation(NEXT);
        plan.wanted = shift(plan.wanted);
        plan.streak.forget_beyond(0);
        forget_failures_beyond(4, &mut plan.past);
        match &mut plan.stop {
            Stop::Lingering { until: at } | Stop::Asked { interrupt: at, .. } => *at = shift(*at),
            Stop::No | Stop::Now { .. } | Stop::Finished => {}
        }
        for member in &mut plan.members {
            member.generation = Generation(number(member.generation.0));
            seen_from_now(member, shift);
        }
        world
    }

    #[expect(clippy::type_complexity, reason = "the whole state, and only here")]
    fn key(
        self,
    ) -> (
        Vec<super::member::Member>,
        Tick,
        Streak,
        Past,
        Stop,
        Vec<Truth>,
        Option<u32>,
        (bool, Wish, bool, bool),
    ) {
        let Self { plan, members, spawning, owed, wish, closed, killed_in_stop, .. } = self;
        let rest = (owed, wish, closed, killed_in_stop);
        (plan.members, plan.wanted, plan.streak, plan.past, plan.stop, members, spawning, rest)
    }
}

/// Tells no more failed starts apart than `most`.
fn forget_failures_beyond(most: u32, past: &mut Past) {
    if let Past::NeverReady { failed } = past {
        *failed = (*failed).min(most);
    }
}

impl Truth {
    /// The event of its last process's end.
    fn end(&self) -> Event {
        let generation = Generation(self.number);
        if self.monitor {
            Event::Gone { generation, exec: Exec::Done, left: Left::Nobody }
        } else {
            Event::Empty { generation }
        }
    }

    /// Lets go of what no assertion will ask about any more.
    fn forget(&mut self) {
        let long_ago = Some(Tick(NOW.0 - PAST));
        if self.interrupted.is_some() {
            self.asked = long_ago;
            self.hurried = None;
        }
        if self.killed {
            self.interrupted = long_ago;
            (self.monitor_got, self.group_got) = Default::default();
        }
        if !self.monitor {
            self.monitor_got.clear();
        }
    }

    /// Whether another has waited for its place for a second.
    fn had_to_hurry(&self, now: Tick) -> bool {
        self.hurried.is_some_and(|at| now >= at.after(Millis(1_000)))
    }

    /// Whether it counts against the three.
    fn counts(&self) -> bool {
        (self.monitor || self.orphans) && !self.killed
    }
}

#[expect(clippy::print_stdout, reason = "a walk says how far it went")]
fn walk(name: &str, rules: Rules) -> usize {
    let mut seen = HashSet::new();
    let mut queue = Vec::from([World::new(rules)]);
    let (mut finished, mut steps) = (0_usize, 0_usize);
    while let Some(world) = queue.pop() {
        let world = world.canonical();
        if world.finished.is_some() {
            finished += 1;
            continue;
        }
        if !seen.insert(world.clone().key()) {
            continue;
        }
        assert!(seen.len() < 1_000_000, "the walk does not end");
        let successor = tape::read(&tape::written(&mut world.plan.clone()));
        assert_eq!(successor.as_ref(), Some(&world.plan), "RATIONALE 13.2 (all is kept)");
        for event in world.choices() {
            steps += 1;
            queue.push(world.after(event));
        }
    }
    println!("walked {} states of main's plan ({name}), {steps} steps", seen.len());
    assert!(finished > 0, "the walk never came to the end of main");
    seen.len()
}

const RULES: Rules = Rules {
    timeout: Millis(1_000),
    readiness: Readiness::Notify,
    ready_timeout: Millis(1_000),
    probation: Millis(1_000),
    drain_delay: Millis(0),
    backoff: Backoff { delay: Millis(0), max_delay: Millis(0) },
    give_up: 2,
    seed: 1,
};

#[test]
fn every_state_of_main_with_probation_is_sound() {
    assert!(walk("probation", RULES) > 1_000, "the walk was trivial");
}

#[test]
fn every_state_of_main_without_probation_is_sound() {
    // Longer than the second that a generation has when another waits for its place.
    let rules = Rules { probation: Millis(0), timeout: Millis(2_000), ..RULES };
    assert!(walk("no probation", rules) > 1_000, "the walk was trivial");
}

#[test]
fn every_state_of_main_with_a_drain_delay_is_sound() {
    let readiness = Readiness::After(Millis(1_000));
    let ready_timeout = Millis(2_000);
    let rules = Rules {
        drain_delay: Millis(1_000),
        probation: Millis(0),
        readiness,
        ready_timeout,
        ..RULES
    };
    assert!(walk("drain delay", rules) > 1_000, "the walk was trivial");
}
