//! What main decides about its generations.
//!
//! Keeps one generation current. A reload starts another beside it, which has
//! to be ready and to live through its probation before the old one is asked
//! to leave; until then nothing that happens to the new one touches the old
//! one. A current monitor that dies is replaced, with a growing wait when it
//! keeps dying. A stop ends all of them, and main leaves last.
//!
//! Pure: no system call, no clock, no log. `roles::main` performs what is
//! decided here and reports what came of it.
//!
//! Generations are kept in the order of their numbers. At most one of them is
//! an attempt (starting or on probation) and at most one is current; all
//! others are on their way out. At most three are alive, which does not count
//! those that were sent SIGKILL: a fourth waits, and the oldest that is
//! leaving has to hurry.

mod death;
mod look;
mod member;
mod stop;
mod words;

pub use words::{Action, Event, Exec, Failure, Left, Readiness, Report, Rules};

use super::backoff::Streak;
use crate::tape::taped;
use crate::types::{Generation, Millis, Pid, Tick};
use alloc::vec::Vec;
use member::{Leader, Life, Member, Step};

/// How many generations may be alive.
const MOST_ALIVE: usize = 3;

/// The decisions of main.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    rules: Rules,
    members: Vec<Member>,
    next: Generation,
    /// When the next generation is wanted.
    wanted: Tick,
    /// The monitor's deaths in a row.
    streak: Streak,
    past: Past,
    stop: Stop,
}

/// Whether anything has ever been ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Past {
    /// Nothing has; so many starts have failed.
    NeverReady { failed: u32 },
    /// Something has.
    Ready,
}

/// Whether main is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stop {
    /// It is not.
    No,
    /// It is, and goes on serving until then.
    Lingering { until: Tick },
    /// Everybody was asked to leave.
    Asked { interrupt: Tick, status: u8 },
    /// Everybody was told to leave at once.
    Now { status: u8 },
    /// `Finish` was ordered.
    Finished,
}

taped! { struct Service { rules, members, next, wanted, streak, past, stop } }
taped! { enum Past { 0 = NeverReady { failed }, 1 = Ready } }
taped! {
    enum Stop {
        0 = No, 1 = Lingering { until }, 2 = Asked { interrupt, status }, 3 = Now { status },
        4 = Finished,
    }
}

impl Service {
    /// A plan that wants its first generation now.
    pub fn new(rules: Rules, now: Tick) -> Self {
        Self {
            rules,
            members: Vec::new(),
            next: Generation(1),
            wanted: now,
            streak: Streak::new(rules.seed),
            past: Past::NeverReady { failed: 0 },
            stop: Stop::No,
        }
    }

    /// Keeps to other rules from the next generation on; those that there are
    /// keep to what they were started with.
    pub const fn configure(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Takes note of `event` and orders what follows from it.
    // Inlined into its one caller it would make that frame larger, and with it
    // every access to the frame.
    #[inline(never)]
    pub fn step(&mut self, now: Tick, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Reload => self.reload(now),
            Event::Stop => self.stop(now, actions),
            Event::StopNow => self.stop_now(now, actions),
            Event::Spawned { generation, monitor } => {
                self.spawned(now, generation, monitor, actions)
            }
            Event::SpawnFailed { generation } => self.spawn_failed(now, generation, actions),
            Event::Runs { generation } => self.runs(now, generation),
            Event::Ready { generation } => self.ready(now, generation, actions),
            Event::Losing { generation } => self.roll_back(now, generation, actions),
            Event::Gone { generation, exec, left } => {
                self.gone(now, generation, exec, left, actions)
            }
            Event::Empty { generation } => self.forget(generation, actions),
            Event::Forced => self.forced(),
            // Nothing is started before what came meanwhile is known.
            Event::Overslept { by } => return self.postpone(by),
            Event::Timer => self.expire(now, actions),
        }
        self.settle(now, actions);
    }

    /// When to come back with [`Event::Timer`] at the latest; `None` when only
    /// something that happens can change anything.
    pub fn deadline(&self) -> Option<Tick> {
        let first = match self.stop {
            Stop::Lingering { until } => until,
            Stop::No if self.can_start() => self.wanted,
            Stop::No | Stop::Asked { .. } | Stop::Now { .. } | Stop::Finished => Tick::NEVER,
        };
        let due = self.members.iter().fold(first, |due, member| due.min(member.due));
        (due != Tick::NEVER).then_some(due)
    }

    /// The generation that is on probation, if one is.
    pub fn probationer(&self) -> Option<Generation> {
        self.members.iter().find(|member| member.life == Life::Probation).map(|it| it.generation)
    }

    fn member(&mut self, generation: Generation) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.generation == generation)
    }

    fn current(&mut self) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.life == Life::Current)
    }

    fn can_start(&self) -> bool {
        let alive = self.members.iter().filter(|member| member.is_alive()).count();
        self.stop == Stop::No && alive < MOST_ALIVE && !self.members.iter().any(Member::is_attempt)
    }

    /// One more generation is wanted, at `due` or at an earlier wish.
    fn want(&mut self, due: Tick) {
        self.wanted = self.wanted.min(due);
    }

    fn reload(&mut self, now: Tick) {
        if self.stop == Stop::No {
            self.want(now);
        }
    }

    fn spawned(
        &mut self,
        now: Tick,
        generation: Generation,
        monitor: Pid,
        actions: &mut Vec<Action>,
    ) {
        let stop = self.stop;
        let Some(member) = self.member(generation) else { return };
        if member.life != Life::Spawning {
            return;
        }
        (member.life, member.due) = (Life::Starting, now.after(member.rules.ready_timeout));
        (member.leader, member.since) = (Some(Leader::Monitor(monitor)), now);
        actions.push(Action::Tell(Report::Started(generation, monitor)));
        match stop {
            Stop::No => {}
            Stop::Lingering { .. } => member.ask(now.after(member.rules.timeout), actions),
            Stop::Asked { interrupt, .. } => member.ask(interrupt, actions),
            Stop::Now { .. } | Stop::Finished => member.press(now, actions),
        }
    }

    fn spawn_failed(&mut self, now: Tick, generation: Generation, actions: &mut Vec<Action>) {
        if self.member(generation).is_some_and(|member| member.life == Life::Spawning) {
            self.failed(now, generation, Failure::NotSpawned, actions);
            self.forget(generation, actions);
        }
    }

    /// What is to live for some time lives from here on, if that is over in time.
    fn runs(&mut self, now: Tick, generation: Generation) {
        let Some(member) = self.member(generation) else { return };
        if let (Life::Starting, Readiness::After(span)) = (member.life, member.rules.readiness)
            && now.after(span) <= member.due
        {
            (member.life, member.due) = (Life::Living, now.after(span));
        }
    }

    fn ready(&mut self, now: Tick, generation: Generation, actions: &mut Vec<Action>) {
        let beside = self.current().is_some();
        let Some(member) = self.member(generation) else { return };
        if !member.is_starting() {
            return;
        }
        let probation = member.rules.probation;
        actions.push(Action::Tell(Report::Ready(generation, now.since(member.since))));
        (member.life, member.since, member.due) = (Life::Probation, now, now.after(probation));
        self.past = Past::Ready;
        if beside && probation > Millis(0) {
            actions.push(Action::Tell(Report::Probation(generation, probation)));
        } else {
            self.promote(now, generation, actions);
        }
    }

    /// Makes the one on probation current, and asks the old one to leave.
    fn promote(&mut self, now: Tick, generation: Generation, actions: &mut Vec<Action>) {
        let old = self.current().map(|old| old.generation);
        let Some(member) = self.member(generation) else { return };
        if member.life != Life::Probation {
            return;
        }
        (member.life, member.due) = (Life::Current, Tick::NEVER);
        actions.push(Action::Promote { generation });
        if let Some(old) = old.and_then(|old| self.member(old)) {
            old.ask(now.after(old.rules.timeout), actions);
        }
    }

    /// Ends an attempt on probation; the current generation goes on.
    fn roll_back(&mut self, now: Tick, generation: Generation, actions: &mut Vec<Action>) {
        let Some(member) = self.member(generation) else { return };
        if member.life != Life::Probation {
            return;
        }
        actions.push(Action::Discard { generation, was_ready: true, why: Failure::Losing });
        member.ask(now.after(member.rules.timeout), actions);
    }

    fn postpone(&mut self, by: Millis) {
        for member in &mut self.members {
            member.due = member.due.after(by);
        }
        self.wanted = self.wanted.after(by);
        match &mut self.stop {
            Stop::Lingering { until: due } | Stop::Asked { interrupt: due, .. } => {
                *due = due.after(by);
            }
            Stop::No | Stop::Now { .. } | Stop::Finished => {}
        }
    }

    /// Everything whose time has come.
    fn expire(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let mut next = 0;
        while let Some(member) = self.members.get_mut(next) {
            next += 1;
            if member.due > now {
                continue;
            }
            let generation = member.generation;
            match member.life {
                Life::Spawning | Life::Current => {}
                Life::Living => self.ready(now, generation, actions),
                Life::Starting => {
                    member.ask(now.after(member.rules.timeout), actions);
                    let why = Failure::Late(member.rules.ready_timeout);
                    self.failed(now, generation, why, actions);
                }
                Life::Probation => self.promote(now, generation, actions),
                Life::Leaving(step) => {
                    member.escalate(step, now, actions);
                    if step == Step::Pressed {
                        self.forced();
                    }
                }
            }
        }
        if matches!(self.stop, Stop::Lingering { until } if until <= now) {
            self.begin_stop(now, 0, actions);
        }
    }

    /// Starts what is wanted, makes room for it, or leaves.
    fn settle(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let due = self.wanted <= now;
        if due && self.can_start() {
            let generation = self.next;
            self.next = generation.next();
            self.wanted = Tick::NEVER;
            self.members.push(Member::new(generation, self.rules, now));
            actions.push(Action::Spawn { generation });
        } else if due && self.stop == Stop::No && !self.members.iter().any(Member::is_attempt) {
            self.make_room(now, actions);
        }
        self.finish(actions);
    }

    /// The oldest that is leaving has to be gone before the fourth can come.
    fn make_room(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let leaving = |member: &&mut Member| {
            matches!(member.life, Life::Leaving(Step::Asked | Step::Pressed))
        };
        if let Some(oldest) = self.members.iter_mut().find(leaving) {
            oldest.hurry(now, actions);
        }
    }
}

#[cfg(test)]
#[path = "../../../tests/walk/service.rs"]
mod walk;

#[cfg(test)]
#[path = "../../../tests/walk/strict.rs"]
mod strict_walk;
