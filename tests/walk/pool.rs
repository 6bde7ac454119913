//! Every event in every reachable state of the pool's plan.
//!
//! The plan meets a small truthful world: it knows who is alive, who was sent
//! what, which forks are outstanding and whether main lives. From each state
//! everything that can happen happens, and after each step the invariants are
//! asserted by name. States that differ only in the time of day are one state.
//!
//! Time moves to the deadline, to a moment before or after it, or on by a while
//! when there is none; deadlines that are past are served before more time goes
//! by, unless the whole machine stood still.

use super::row::{Place, Row, Stage};
use super::{Action, Authority, Event, Pool, Report, Rules, Sender};
use crate::types::{Backoff, Exit, Millis, Pid, Signal, Slot, Tick, Why};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use std::collections::HashSet;

/// Now, in every state that is kept.
const NOW: Tick = Tick(1_000_000);
/// What lies further back than this is equally far back.
const MEMORY: Millis = Millis(10_000);
/// How far the deaths in a row are told apart.
const MOST_DEATHS: u32 = 3;
const TIMEOUT: Millis = Millis(4_000);
const BACKOFF: Backoff = Backoff { delay: Millis(400), max_delay: Millis(800) };
/// Where two slots multiply the states: one wait, too short for any jitter.
const SHORT_BACKOFF: Backoff = Backoff { delay: Millis(3), max_delay: Millis(3) };
/// Where the number of slots changes too: nobody waits.
const NO_BACKOFF: Backoff = Backoff { delay: Millis(0), max_delay: Millis(0) };
/// What passes there between two events: all moments are then few.
const STEP: Millis = Millis(2_000);
const OVERSLEPT: Millis = Millis(3_000);
/// Without any jitter, of these seeds.
const LIFETIME: Millis = STEP;
const UNSPREAD: u32 = 19959;
const HANG: Millis = STEP;
/// How long a worker lives until it is ready, where it does not have to say so.
const LIFE: Millis = Millis(2_000);
/// A slot that is new.
const NOBODY: Truth =
    Truth { process: None, forking: false, odd: false, deaths: 0, died_at: Tick(NOW.0 - MEMORY.0) };

/// The signals of a stop, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Heard {
    Nothing,
    Term,
    Abrt,
    Int,
    Kill,
}

/// A process that is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Process {
    pid: Pid,
    heard: Heard,
    /// When it became ready.
    ready_at: Option<Tick>,
    /// When it has lived long enough to be ready.
    lives_until: Option<Tick>,
    /// When it was asked to leave without a stop of all, or was aborted.
    alone: Option<Tick>,
    /// Whether it was aborted.
    hung: bool,
    /// When it is old enough to be recycled.
    until: Option<Tick>,
    /// Since when it is busy: as the board says, and as it counts.
    busy: Option<(Tick, Tick)>,
}

impl Process {
    /// One that was just forked.
    const fn new(pid: Pid) -> Self {
        let (heard, ready_at, lives_until, alone) = (Heard::Nothing, None, None, None);
        let (hung, until, busy) = (false, None, None);
        Self { pid, heard, ready_at, lives_until, alone, hung, until, busy }
    }

    /// Whether it is not ready yet, and may become so.
    fn is_starting(&self) -> bool {
        self.ready_at.is_none() && self.heard == Heard::Nothing
    }

    /// When it is to hear the next thing if it leaves alone.
    const fn pressed_at(self) -> Option<Tick> {
        match (self.alone, self.heard) {
            (Some(at), Heard::Abrt | Heard::Int) if self.hung => Some(at.after(Millis(1_000))),
            (Some(at), Heard::Nothing | Heard::Term) => Some(at.after(TIMEOUT)),
            (Some(at), Heard::Int) => Some(at.after(Millis(TIMEOUT.0 + 2_000))),
            (Some(_), Heard::Abrt | Heard::Kill) | (None, _) => None,
        }
    }

    fn begin_to_serve(&mut self, now: Tick, lifetime: Millis) {
        self.ready_at = Some(now);
        self.until = (lifetime.0 > 0).then_some(now.after(lifetime));
    }

    /// Makes `now` the one moment that all states are kept at.
    fn forget_the_time(&mut self, now: Tick, stops: bool) {
        let stays = !stops && self.heard == Heard::Nothing;
        let ready_at = self.ready_at.filter(|_| !stops);
        self.ready_at = ready_at.map(|at| young_or_old(at, now));
        let lives_until = self.lives_until.filter(|_| self.is_starting());
        self.lives_until = lives_until.map(|until| kept(until, now));
        let alone = self.alone.filter(|_| self.heard < Heard::Kill);
        self.alone = alone.map(|at| kept(at, now));
        self.until = self.until.filter(|_| stays).map(|at| due_or_later(at, now));
        let old = Tick(now.0 - HANG.0);
        let kept = |at: Tick| kept(at.max(old), now);
        self.busy = self.busy.filter(|_| !stops).map(|(on, since)| (kept(on), kept(since)));
    }

    /// Whether it serves and stays.
    fn serves(self) -> bool {
        self.ready_at.is_some() && self.heard == Heard::Nothing
    }

    /// Whether it is aborted by now, if it is still at the same thing.
    fn hangs(self, now: Tick) -> bool {
        self.heard == Heard::Nothing && self.busy.is_some_and(|(_, since)| since.after(HANG) <= now)
    }
}

/// What is true of a slot, whatever the plan believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Truth {
    process: Option<Process>,
    forking: bool,
    /// Which of its two numbers the next process of this slot gets.
    odd: bool,
    deaths: u32,
    died_at: Tick,
}

/// Main, as the world sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Above {
    Nobody,
    Main { escalates: bool },
    Gone,
}

/// The stop as it was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Order {
    /// The worst that was ordered.
    level: Heard,
    began: Tick,
    /// When stop-now was ordered first, by whomever.
    now_at: Option<Tick>,
    /// When a kill is owed by us at the latest.
    kill_by: Option<Tick>,
    /// Whether a stranger has ordered what main will not see through, so that
    /// none of main's times counts any more.
    taken_over: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    pool: Pool,
    slots: Vec<Truth>,
    /// The slot in which somebody is to be followed, and by whom.
    heir: Option<(Slot, Truth)>,
    /// How many slots there are to be, and the most that anybody asks for.
    count: usize,
    most: u16,
    /// Whether a new number was asked for and is not reached.
    scaling: bool,
    above: Above,
    order: Option<Order>,
    announced: bool,
    killed: bool,
    finished: bool,
    /// Whether somebody is to look who is busy.
    looking: bool,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Choice {
    /// An event, so long after the last one.
    After(Millis, Event),
    /// Only time passes.
    Pass(Millis),
    /// A worker is busy from now on, or is not any more.
    Work(Pid),
    Rest(Pid),
}

/// What the walk is about besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Nothing,
    Lifetime,
    Hang,
    Both,
}

const fn kept(time: Tick, now: Tick) -> Tick {
    // The one moment that everything is further back than.
    if now.0 == u64::MAX {
        return Tick(NOW.0 - MEMORY.0);
    }
    let oldest = now.0.saturating_sub(MEMORY.0);
    let time = if time.0 < oldest { oldest } else { time.0 };
    Tick(NOW.0 + time - now.0)
}

/// Health is old or it is not: its milliseconds would only multiply the states.
const fn young_or_old(ready_at: Tick, now: Tick) -> Tick {
    let is_old = now.since(ready_at).0 >= MEMORY.0;
    if is_old { Tick(NOW.0 - MEMORY.0) } else { NOW }
}

/// How long ago somebody was due is nobody's business.
fn due_or_later(until: Tick, now: Tick) -> Tick {
    if until == Tick::NEVER { until } else { kept(until.max(now), now) }
}

impl World {
    fn new(
        count: u16,
        most: u16,
        authority: Authority,
        about: About,
        ready_after: Option<Millis>,
    ) -> Self {
        let backoff = match (most, count) {
            _ if about != About::Nothing => NO_BACKOFF,
            (1.., _) => NO_BACKOFF,
            (0, 1) => BACKOFF,
            (0, _) => SHORT_BACKOFF,
        };
        let lifetime = matches!(about, About::Lifetime | About::Both).then_some(LIFETIME);
        let hang = matches!(about, About::Hang | About::Both).then_some(HANG);
        let (lifetime, hang) = (lifetime.unwrap_or_default(), hang.unwrap_or_default());
        let seed = if lifetime.0 > 0 { UNSPREAD } else { 3 };
        let rules = Rules { count, timeout: TIMEOUT, backoff, ready_after, hang, lifetime, seed };
        let above = match authority {
            Authority::Own => Above::Nobody,
            Authority::Main { timeout } => Above::Main { escalates: TIMEOUT >= timeout },
        };
        Self {
            pool: Pool::new(rules, authority, NOW),
            slots: vec![NOBODY; usize::from(count)],
            heir: None,
            count: usize::from(count),
            most,
            scaling: false,
            above,
            order: None,
            announced: false,
            killed: false,
            finished: false,
            looking: false,
        }
    }

    /// Whether the plan has to escalate by itself.
    fn is_ours(&self) -> bool {
        match self.above {
            Above::Nobody | Above::Gone | Above::Main { escalates: false } => true,
            Above::Main { escalates: true } => self.order.is_some_and(|order| order.taken_over),
        }
    }

    /// Whether the number of slots may change, in place of much else.
    const fn is_scaled(&self) -> bool {
        self.most > 0
    }

    /// Whether few moments are told apart.
    fn is_brief(&self) -> bool {
        let Rules { hang, lifetime, .. } = self.pool.rules;
        self.is_scaled() || lifetime.0 > 0 || hang.0 > 0
    }

    fn all_slots(&self) -> impl Iterator<Item = &Truth> {
        self.slots.iter().chain(self.heir.iter().map(|(_, truth)| truth))
    }

    fn all_slots_mut(&mut self) -> impl Iterator<Item = &mut Truth> {
        self.slots.iter_mut().chain(self.heir.iter_mut().map(|(_, truth)| truth))
    }

    fn alive(&self) -> impl Iterator<Item = Process> {
        self.all_slots().filter_map(|slot| slot.process)
    }

    fn process_mut(&mut self, pid: Pid) -> &mut Process {
        let mut all = self.all_slots_mut().filter_map(|slot| slot.process.as_mut());
        all.find(|process| process.pid == pid).expect("it is alive")
    }

    /// The slot in which a process is.
    fn slot_of(&self, pid: Pid) -> Option<Slot> {
        let slots = Slot::first(Slot::LAST).zip(&self.slots);
        let mut all = slots.chain(self.heir.iter().map(|(slot, truth)| (*slot, truth)));
        all.find(|(_, truth)| truth.holds(pid)).map(|(slot, _)| slot)
    }

    /// Who follows in `slot`, if anybody does.
    fn heir_of(&self, slot: Slot) -> Option<&Truth> {
        self.heir.as_ref().filter(|(of, _)| *of == slot).map(|(_, truth)| truth)
    }

    /// Where a fork for `slot` is outstanding.
    fn forking(&mut self, slot: Slot) -> &mut Truth {
        if self.slots[slot.index()].forking {
            return &mut self.slots[slot.index()];
        }
        &mut self.heir.as_mut().expect("nobody else is being forked").1
    }

    /// An heir that is not there is not wanted any more by then.
    fn drop_vacant_heir(&mut self) {
        self.heir = self.heir.filter(|(_, heir)| !heir.is_vacant());
    }

    /// Whether SIGINT was ordered, or has come by itself.
    fn has_pressed(&self) -> bool {
        matches!(self.pool.course, super::Course::Interrupted { .. } | super::Course::Killed)
    }

    fn is_empty(&self) -> bool {
        self.slots.iter().all(Truth::is_vacant)
    }

    /// The number that the next process of a slot gets: never that of the one
    /// before, so that a stale number is noticed.
    fn next_pid(&self, slot: Slot) -> Pid {
        let odd = if self.slots[slot.index()].odd { 100 } else { 0 };
        let pid = |more| Pid::new(i32::from(slot.number()) + more).expect("it is positive");
        let own = pid(odd);
        if self.alive().any(|process| process.pid == own) { pid(200) } else { own }
    }

    fn choices(&self) -> Vec<Choice> {
        let mut events = vec![
            Event::Stop,
            Event::StopNow { by: Sender::Stranger },
            Event::Timer,
            // Gossip about nobody.
            Event::Exited { pid: Pid::new(999).expect("it is positive"), exit: Exit::Status(0) },
        ];
        if self.is_scaled() {
            events.extend((1..=self.most).map(|count| Event::Scale { count }));
        }
        if matches!(self.above, Above::Main { .. }) {
            events.extend([Event::StopNow { by: Sender::Main }, Event::MainGone]);
        }
        let heir = self.heir.iter().map(|(slot, truth)| (*slot, truth));
        for (slot, truth) in Slot::first(Slot::LAST).zip(&self.slots).chain(heir) {
            events.push(Event::Ready { slot, pid: self.next_pid(slot) });
            if truth.forking {
                let pid = self.next_pid(slot);
                events.extend([Event::Forked { slot, pid }, Event::ForkFailed { slot }]);
            }
            if let Some(Process { pid, .. }) = truth.process {
                let killed = Exit::Signal { number: 9, core: false };
                events.extend([Event::Ready { slot, pid }, Event::Runs { slot, pid }]);
                events.push(Event::Exited { pid, exit: killed });
                events.push(Event::Exited { pid, exit: Exit::Status(0) });
            }
        }
        let mut choices: Vec<_> =
            events.into_iter().map(|event| Choice::After(Millis(0), event)).collect();
        let by = if self.is_brief() { STEP } else { OVERSLEPT };
        choices.push(Choice::After(by, Event::Overslept { by }));
        if self.is_scaled() && self.pool.rules.lifetime.0 > 0 {
            // Together these are too many; the other walks have them one by one.
            choices.retain(|choice| {
                !matches!(
                    choice,
                    Choice::After(
                        _,
                        Event::StopNow { .. } | Event::MainGone | Event::Overslept { .. },
                    )
                )
            });
        }
        choices.extend(self.waits().into_iter().map(Choice::Pass));
        if self.pool.rules.hang.0 > 0 {
            choices.extend(self.alive().map(|process| match process.busy {
                Some(_) => Choice::Rest(process.pid),
                None => Choice::Work(process.pid),
            }));
        }
        choices
    }

    /// How much time can pass before something else happens.
    fn waits(&self) -> Vec<Millis> {
        if self.is_brief() {
            let left = self.pool.deadline().map(|deadline| deadline.since(NOW));
            let leaving = self.order.is_some() || self.alive().any(is_alone);
            let is_busy = self.alive().any(|process| process.busy.is_some());
            let step = Millis(if is_busy { HANG.0 / 2 } else { STEP.0 });
            let waits = left.into_iter().chain((leaving || is_busy).then_some(step));
            let fits = |wait: &Millis| wait.0 > 0 && left.is_none_or(|left| *wait <= left);
            return waits.filter(fits).collect();
        }
        let Some(deadline) = self.pool.deadline() else {
            let while_stopping = self.order.map(|_| Millis(1_500));
            return [MEMORY].into_iter().chain(while_stopping).collect();
        };
        let left = deadline.since(NOW).0;
        let mut waits = Vec::new();
        if left > 0 {
            waits.push(Millis(left));
        }
        if left > 1 {
            waits.push(Millis(left - 1));
        }
        if left >= 1_000 && self.order.is_some() {
            waits.extend([Millis(left / 2), Millis(left + 1)]);
        }
        waits
    }

    fn after(&self, choice: Choice) -> Self {
        let mut world = self.clone();
        let mut now = NOW;
        match choice {
            Choice::Pass(span) => now = NOW.after(span),
            Choice::After(span, event) => {
                now = NOW.after(span);
                world = self.stepped(now, event);
            }
            Choice::Work(pid) => world.set_busy(pid, Some((NOW, NOW))),
            Choice::Rest(pid) => world.set_busy(pid, None),
        }
        world.watch(now);
        world.assert_watched(now);
        world.forget_the_time(now);
        world
    }

    fn stepped(&self, now: Tick, event: Event) -> Self {
        let (mut world, mut actions) = (self.clone(), Vec::new());
        world.pool.step(now, event, &mut actions);
        Check { before: self, event, now, actions: &actions }.run(&mut world);
        world
    }

    fn set_busy(&mut self, pid: Pid, busy: Option<(Tick, Tick)>) {
        self.process_mut(pid).busy = busy;
    }

    /// What the monitor does who is asked to look, or finds that nobody has to.
    fn watch(&mut self, now: Tick) {
        if !self.looking && self.pool.is_watching() {
            return;
        }
        self.looking = false;
        let busy: Vec<_> = self.alive().filter_map(|it| Some((it.pid, it.busy?.0))).collect();
        for (pid, since) in busy {
            let slot = self.slot_of(pid).expect("it is alive");
            *self = self.stepped(now, Event::Busy { slot, pid, since });
        }
    }

    /// Nobody is busy whom nobody watches.
    fn assert_watched(&self, now: Tick) {
        let deadline = self.pool.deadline();
        for it in self.alive().filter(|it| self.order.is_none() && it.heard == Heard::Nothing) {
            let Some((_, since)) = it.busy else { continue };
            let is_seen = deadline.is_some_and(|deadline| deadline <= since.after(HANG));
            assert!(is_seen, "invariant (who hangs is ended): after {now:?}\nin {self:?}");
        }
    }

    /// Makes `now` the one moment that all states are kept at.
    fn forget_the_time(&mut self, now: Tick) {
        // Nobody is replaced after a stop, and after SIGKILL nothing is due.
        let most_deaths = match self.slots.len() {
            _ if self.order.is_some() || self.is_brief() => 0,
            1 => MOST_DEATHS,
            _ => MOST_DEATHS - 1,
        };
        let all_killed = self.alive().all(|process| process.heard == Heard::Kill);
        self.forget_the_watch(now);
        for row in self.pool.rows.iter_mut().chain(&mut self.pool.heir) {
            row.streak.forget_beyond(most_deaths);
            match &mut row.place {
                Place::Empty { due } => *due = kept(*due, now),
                Place::Taken(worker) => {
                    // Only reports tell of it, and those have been checked.
                    worker.since = NOW;
                    match &mut worker.stage {
                        Stage::Living { until } => *until = kept(*until, now),
                        Stage::Ready { at, until } => {
                            *at = young_or_old(*at, now);
                            *until = due_or_later(*until, now);
                        }
                        Stage::Leaving { next_at, .. } => {
                            *next_at = next_at.map(|at| kept(at, now));
                        }
                        Stage::Starting => {}
                    }
                }
                Place::Forking | Place::Closed => {}
            }
        }
        self.pool.course = match self.pool.course {
            super::Course::Draining { interrupt_at } => {
                super::Course::Draining { interrupt_at: kept(interrupt_at, now) }
            }
            super::Course::Interrupted { kill_at } => {
                super::Course::Interrupted { kill_at: kept(kill_at, now) }
            }
            course @ (super::Course::Serving | super::Course::Killed | super::Course::Finished) => {
                course
            }
        };
        let (stops, is_brief) = (self.order.is_some(), self.is_brief());
        for truth in self.all_slots_mut() {
            truth.deaths = truth.deaths.min(most_deaths);
            let vacant = truth.is_vacant() && !stops && !is_brief;
            truth.died_at = kept(if vacant { truth.died_at } else { Tick(0) }, now);
            if let Some(process) = &mut truth.process {
                process.forget_the_time(now, stops);
            }
        }
        let is_over = self.finished || self.pool.course == super::Course::Killed && all_killed;
        if let Some(order) = &mut self.order {
            let now = if is_over { Tick(u64::MAX) } else { now };
            order.began = kept(order.began, now);
            order.now_at = order.now_at.map(|at| kept(at, now));
            order.kill_by = order.kill_by.map(|at| kept(at, now));
        }
    }

    /// A pause before everybody who is busy now has begun changes nothing.
    fn forget_the_watch(&mut self, now: Tick) {
        let watch = self.pool.watch;
        let is_later = |it: Process| it.busy.is_none_or(|(since, _)| since >= watch.from);
        let from = if self.alive().all(is_later) { Tick(0) } else { watch.from };
        self.pool.watch.from = kept(from.max(Tick(now.0 - HANG.0)), now);
        let at = watch.at.filter(|_| self.order.is_none());
        self.pool.watch.at = at.map(|at| kept(at, now));
    }
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
        self.assert_stop(world);
        self.assert_leaving(world);
        self.assert_heirs(world);
        self.assert_escalation(world);
        self.assert_deadline(world);
        self.assert_refills(world);
        self.assert_readiness(world);
        self.assert_reports(world);
        self.assert_news();
    }

    fn expect(&self, holds: bool, name: &str) {
        let Self { before, event, now, actions } = self;
        let ago = now.since(NOW);
        assert!(holds, "{name}: {event:?} after {ago}\nin {before:?}\nled to {actions:?}");
    }

    /// What the event itself makes true.
    fn take_in_event(&self, world: &mut World) {
        let now = self.now;
        match self.event {
            Event::Forked { slot, pid } => {
                let alone = world.slots.len() == 1 && !world.is_brief();
                let truth = world.forking(slot);
                // Stale numbers are looked for where there are few states.
                (truth.forking, truth.odd) = (false, alone && !truth.odd);
                truth.process = Some(Process::new(pid));
            }
            Event::ForkFailed { slot } => {
                let is_heir = !world.slots[slot.index()].forking;
                world.forking(slot).die(now);
                if is_heir && (world.order.is_some() || slot.index() >= world.count) {
                    world.heir = None;
                }
            }
            Event::Runs { slot, pid } => {
                let life = world.pool.rules.ready_after;
                if let Some(process) = world.claimant(slot, pid) {
                    process.lives_until = process.lives_until.or(life.map(|life| now.after(life)));
                }
            }
            Event::Ready { slot, pid } => {
                let lifetime = world.pool.rules.lifetime;
                if let Some(process) = world.claimant(slot, pid)
                    && process.ready_at.is_none()
                    && !process.hung
                {
                    process.begin_to_serve(now, lifetime);
                }
            }
            Event::Busy { .. } => {}
            Event::Exited { pid, exit } => self.reap(world, pid, exit),
            Event::Scale { count } => world.scale(usize::from(count)),
            Event::Stop => world.ordered(Heard::Term, now),
            Event::StopNow { by } => self.order_now(world, by),
            Event::MainGone => self.lose_main(world),
            Event::Overslept { by } => world.postpone(now, by),
            Event::Timer => {
                let lifetime = world.pool.rules.lifetime;
                let processes = world.all_slots_mut().filter_map(|truth| truth.process.as_mut());
                for process in processes.filter(|process| process.is_starting()) {
                    if process.lives_until.is_some_and(|until| until <= now) {
                        process.begin_to_serve(now, lifetime);
                    }
                }
            }
        }
    }

    fn reap(&self, world: &mut World, pid: Pid, exit: Exit) {
        let stopping = world.order.is_some();
        let Some(slot) = world.slot_of(pid) else { return };
        let Some(truth) = world.all_slots_mut().find(|truth| truth.holds(pid)) else { return };
        let process = truth.process.expect("it was just found");
        truth.die(self.now);
        let asked = process.heard > Heard::Nothing && !process.hung;
        if asked && !stopping {
            // It was asked to, so that is no failure.
            truth.deaths = 0;
        }
        world.killed |= stopping && process.heard == Heard::Kill && exit != Exit::Status(0);
        let gone = world.heir.filter(|(of, _)| *of == slot);
        let Some((_, heir)) = gone else { return };
        if self.before.heir_of(slot).is_some_and(|heir| heir.holds(pid)) {
            let is_over = stopping || asked || slot.index() >= world.count;
            world.heir = world.heir.filter(|_| !is_over);
            return;
        }
        let truth = &mut world.slots[slot.index()];
        (truth.process, truth.forking) = (heir.process, heir.forking);
        if asked && heir.is_vacant() {
            (truth.deaths, truth.died_at) = (heir.deaths, heir.died_at);
        }
        world.heir = None;
    }

    fn order_now(&self, world: &mut World, by: Sender) {
        if world.finished {
            return;
        }
        let now = self.now;
        world.ordered(Heard::Int, now);
        let takes_over = by == Sender::Stranger && !world.is_ours();
        let order = world.order.as_mut().expect("it was just given");
        order.now_at = order.now_at.or(Some(now));
        order.taken_over |= takes_over;
        if world.is_ours() {
            world.owe_kill(now.after(Millis(1_000)));
        }
    }

    fn lose_main(&self, world: &mut World) {
        let was_ours = world.is_ours();
        world.above = Above::Gone;
        world.ordered(Heard::Term, self.now);
        let now_at = world.order.and_then(|order| order.now_at);
        if let Some(now_at) = now_at.filter(|_| !was_ours) {
            world.owe_kill(now_at.after(Millis(1_000)));
        }
    }

    /// What the plan has done, which must be possible in the world.
    fn take_in_action(&self, world: &mut World, action: Action) {
        let finished = self.before.finished;
        self.expect(!finished, "invariant (after Finish nothing is done)");
        match action {
            Action::Look => world.looking = true,
            Action::Fork { slot, heir } => {
                let stopping = world.order.is_some();
                self.expect(!stopping, "invariant 6 (no refill outlives the stop)");
                let wanted = slot.index() < world.count;
                self.expect(wanted, "invariant (a closed slot is not filled)");
                if heir {
                    return self.fork_heir(world, slot);
                }
                let truth = &mut world.slots[slot.index()];
                let vacant = truth.is_vacant();
                self.expect(vacant, "invariant (never more processes than slots)");
                truth.forking = true;
            }
            Action::Signal { pid, signal } => self.signal(world, pid, signal),
            Action::AnnounceReady => {
                self.expect(!world.announced, "invariant (ready is announced once)");
                world.announced = true;
            }
            Action::Finish { killed } => {
                self.expect(!world.finished, "invariant (Finish comes once)");
                let over = world.order.is_some() && world.is_empty();
                self.expect(over, "invariant 6 (Finish comes when nobody is left)");
                self.expect(killed == world.killed, "invariant (Finish tells of a kill)");
                world.finished = true;
            }
            Action::Tell(Report::Scaled { count }) => {
                let reached = world.is_ready() && usize::from(count) == world.count;
                let is_news = world.scaling;
                self.expect(
                    is_news && reached,
                    "invariant (a new number is told once it is reached)",
                );
                world.scaling = false;
            }
            Action::Tell(
                Report::Ready { .. }
                | Report::Died { .. }
                | Report::ForkFailed { .. }
                | Report::Inherited { .. }
                | Report::Hung { .. },
            ) => {}
        }
    }

    /// Somebody is recycled, in time, and one at a time; or that is tried again.
    fn fork_heir(&self, world: &mut World, slot: Slot) {
        let followed = self.before.slots[slot.index()].process;
        let is_there = followed.is_some();
        self.expect(is_there, "invariant (an heir follows somebody who is there)");
        if world.heir.is_none() {
            let is_due = followed
                .is_some_and(|it| it.serves() && it.until.is_some_and(|until| until <= self.now));
            self.expect(is_due, "invariant 9 (nobody is recycled before its time)");
        }
        let (of, truth) = world.heir.get_or_insert((slot, NOBODY));
        let one = *of == slot && truth.is_vacant();
        self.expect(one, "invariant (there is one heir at most)");
        truth.forking = true;
    }

    fn signal(&self, world: &mut World, pid: Pid, signal: Signal) {
        let heard = match signal {
            Signal::Term => Heard::Term,
            Signal::Abrt => Heard::Abrt,
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
            | Signal::Io
            | Signal::Xfsz => {
                panic!("invariant (only TERM, ABRT, INT and KILL are sent): {signal:?}")
            }
        };
        let slot = world.slot_of(pid);
        self.expect(slot.is_some(), "invariant 7 (only living workers are signalled)");
        let Some(slot) = slot else { return };
        let (count, is_stopping) = (world.count, world.order.is_some());
        let heir = world.heir_of(slot).and_then(|heir| heir.process);
        let is_followed = heir.is_some_and(|heir| heir.pid != pid && heir.serves());
        let process = world.process_mut(pid);
        let rises = process.heard < heard;
        self.expect(rises, "invariant (TERM, ABRT, INT and KILL come once and in order)");
        let pressed = process.pressed_at().is_some_and(|at| at <= self.now);
        let hangs = process.hangs(self.now);
        process.heard = heard;
        let leaves_alone = slot.index() >= count || is_followed;
        if heard == Heard::Term && leaves_alone && !is_stopping {
            process.alone = Some(self.now);
            return;
        }
        if heard == Heard::Abrt {
            self.expect(hangs && !is_stopping, "invariant (only who hangs is aborted)");
            return world.abort(pid, self.now);
        }
        if pressed {
            return;
        }
        self.expect(world.order.is_some(), "invariant (nobody is signalled without a stop)");
        let Some(order) = world.order else { return };
        let early = match heard {
            Heard::Nothing | Heard::Term | Heard::Abrt => false,
            Heard::Int => order.level < Heard::Int && self.now < order.began.after(TIMEOUT),
            Heard::Kill => {
                let graceful = order.began.after(Millis(TIMEOUT.0 + 2_000));
                let soon = order.now_at.map_or(graceful, |at| at.after(Millis(1_000)));
                self.now < graceful.min(soon)
            }
        };
        self.expect(!early, "invariant 9 (no signal before its time)");
        let may = heard < Heard::Kill || world.is_ours();
        self.expect(may, "invariant (under main the kill is main's)");
    }

    fn assert_population(&self, world: &World) {
        let believed: Vec<_> = world.pool.rows.iter().map(Row::worker).collect();
        let same = world.slots.iter().zip(&believed).all(|(truth, worker)| {
            truth.process.map(|process| process.pid) == worker.map(|worker| worker.pid)
        });
        self.expect(same, "invariant (the plan knows who is alive)");
        let same = world.pool.heir.map(|heir| (heir.slot, heir.worker().map(|it| it.pid)));
        let heir = world.heir.map(|(slot, heir)| (slot, heir.process.map(|it| it.pid)));
        self.expect(
            same == heir || heir.is_none() && same.is_some_and(|(_, pid)| pid.is_none()),
            "invariant (the plan knows who is alive)",
        );
        let serving = world.slots.iter().filter_map(|slot| slot.process);
        let serving = serving.filter(|process| process.heard == Heard::Nothing).count();
        let few = serving <= world.count && world.pool.rows.len() == world.slots.len();
        self.expect(few, "invariant (never more processes than slots)");
        for truth in world.slots.iter().skip(world.count) {
            let told = truth.process.is_none_or(|process| process.heard > Heard::Nothing);
            self.expect(told, "invariant (who is in a slot too many is told to leave)");
        }
    }

    /// Whoever leaves alone is pressed by us, whoever is above.
    fn assert_leaving(&self, world: &World) {
        let deadline = world.pool.deadline();
        for latest in world.alive().filter_map(Process::pressed_at) {
            let kept = deadline.is_some_and(|deadline| deadline <= latest);
            self.expect(kept, "invariant 6 (who leaves alone is pressed)");
        }
        if self.event == Event::Timer {
            for (before, after) in self.before.alive().zip(world.alive()) {
                let due = before.pressed_at().is_some_and(|at| at <= self.now);
                let done = !due || after.heard > before.heard;
                self.expect(done, "invariant 9 (what is due is done)");
            }
        }
    }

    /// There are never fewer ready workers for a recycling, and it goes on.
    fn assert_heirs(&self, world: &World) {
        if world.order.is_some() {
            return;
        }
        let served = |world: &World, slot: Slot| {
            let own = world.slots[slot.index()].process;
            let heir = world.heir_of(slot).and_then(|heir| heir.process);
            own.into_iter().chain(heir).any(Process::serves)
        };
        let died = matches!(self.event, Event::Exited { .. });
        let hung = self
            .actions
            .iter()
            .any(|action| matches!(action, Action::Signal { signal: Signal::Abrt, .. }));
        for slot in Slot::first(u16::try_from(self.before.count.min(world.count)).unwrap_or(0)) {
            let kept = !served(self.before, slot) || served(world, slot);
            self.expect(kept || died || hung, "invariant (nobody ready is lost by a recycling)");
        }
        let wanted = world.slots.iter().take(world.count);
        let due = wanted.filter_map(|slot| slot.process).filter(|it| it.serves());
        let next = due.filter_map(|it| it.until).min();
        match world.pool.heir {
            None => {
                let deadline = world.pool.deadline();
                let kept = next.is_none_or(|next| deadline.is_some_and(|at| at <= next));
                self.expect(kept, "invariant (no deadline is lost)");
                let overdue = self.event == Event::Timer && next.is_some_and(|at| at <= self.now);
                self.expect(!overdue, "invariant 9 (what is due is done)");
            }
            Some(heir) => {
                let followed = world.slots[heir.slot.index()].process;
                self.expect(
                    followed.is_some(),
                    "invariant (an heir follows somebody who is there)",
                );
                let ready = world.heir_of(heir.slot).and_then(|heir| heir.process);
                let asked = followed.is_some_and(|it| it.heard > Heard::Nothing);
                let is_ready = ready.is_some_and(Process::serves);
                self.expect(asked || !is_ready, "invariant (who is followed is asked to leave)");
            }
        }
    }

    fn assert_stop(&self, world: &World) {
        let Some(order) = world.order else {
            return self.expect(!world.finished, "invariant (nothing ends without a stop)");
        };
        let told = world.alive().all(|process| process.heard >= order.level);
        self.expect(told, "invariant 6 (everyone alive has been told)");
        let due = world.is_empty();
        self.expect(world.finished == due, "invariant 6 (Finish comes when nobody is left)");
    }

    /// Somebody escalates: we, whenever main does not.
    fn assert_escalation(&self, world: &World) {
        let Some(order) = world.order.filter(|_| !world.finished) else { return };
        let all_killed = world.alive().all(|process| process.heard == Heard::Kill);
        let nobody = world.alive().next().is_none();
        if !world.is_ours() || all_killed || nobody {
            return;
        }
        let name = "invariant 6 (something will escalate)";
        let Some(deadline) = world.pool.deadline() else { return self.expect(false, name) };
        let all_pressed = world.alive().all(|process| process.heard >= Heard::Int);
        let graceful = order.began.after(TIMEOUT);
        let graceful = if all_pressed { graceful.after(Millis(2_000)) } else { graceful };
        let latest = match order.kill_by {
            Some(by) if order.taken_over => by,
            Some(by) => by.min(graceful),
            None => graceful,
        };
        self.expect(deadline <= latest, "invariant 9 (nobody is given more time)");
        if self.event == Event::Timer {
            let level = if self.before.has_pressed() { Heard::Kill } else { Heard::Int };
            let served = self.before.pool.escalates_at().is_none_or(|due| due > self.now)
                || world.alive().all(|process| process.heard >= level);
            self.expect(served, "invariant 9 (what is due is done)");
        }
    }

    /// Who may move the next deadline, and where to.
    fn assert_deadline(&self, world: &World) {
        let (before, after) = (self.before.pool.deadline(), world.pool.deadline());
        let name = "invariant 9 (deadlines move only by a stop, stop-now and lost time)";
        let stopping = self.before.order.is_some() && !world.finished;
        match self.event {
            Event::Stop if stopping => {
                self.expect(before == after, "invariant 9 (a second stop moves no deadline)");
            }
            Event::Overslept { by } => {
                self.expect(after == before.map(|due| due.after(by)), name);
            }
            // Whoever comes into a slot too many has a time of his own.
            Event::Forked { slot, .. } if slot.index() >= world.count => {
                let kept = before.is_none_or(|before| after.is_some_and(|now| now <= before));
                self.expect(kept, name);
            }
            // Whoever is ready is to be recycled some day, or follows somebody.
            Event::Ready { .. } if world.pool.rules.lifetime.0 > 0 => {
                let has_lived = self.before.pool.rules.ready_after.is_some();
                let kept = before.is_none_or(|before| after.is_some_and(|now| now <= before));
                self.expect(kept || has_lived, name);
            }
            Event::Forked { .. } => self.expect(before == after, name),
            // Who was to live for some time has its time no longer.
            Event::Ready { .. } => {
                let kept = before.is_none_or(|before| after.is_none_or(|now| now >= before));
                self.expect(kept, name);
            }
            Event::Runs { .. } => {
                let life = self.now.after(LIFE);
                self.expect(before == after || after == Some(life), name);
            }
            Event::Scale { .. } if stopping => self.expect(before == after, name),
            // Whoever leaves alone takes his time with him.
            Event::Exited { .. } if stopping && self.before.alive().any(is_alone) => {
                let kept = before.is_none_or(|before| after.is_none_or(|now| now >= before));
                self.expect(kept, name);
            }
            Event::ForkFailed { .. } | Event::Exited { .. } if stopping => {
                self.expect(before == after, name);
            }
            Event::MainGone if stopping => {
                let kept = before.is_none_or(|before| after.is_some_and(|now| now <= before));
                self.expect(kept, name);
            }
            // The SIGINT that was due is sent, and its time with it is past.
            Event::StopNow { .. } if self.before.has_pressed() => {
                let kept = before.is_none_or(|before| after.is_none_or(|now| now <= before));
                self.expect(kept, name);
            }
            Event::Timer if before.is_none_or(|before| before > self.now) => {
                self.expect(before == after && self.actions.is_empty(), name);
            }
            Event::Stop
            | Event::StopNow { .. }
            | Event::MainGone
            | Event::Scale { .. }
            | Event::ForkFailed { .. }
            | Event::Busy { .. }
            | Event::Exited { .. }
            | Event::Timer => {}
        }
    }

    /// Every empty slot is filled in time, and never sooner than it may.
    fn assert_refills(&self, world: &World) {
        if world.order.is_some() {
            return;
        }
        let heir = world.pool.heir.iter().zip(world.heir.iter().map(|(_, truth)| truth));
        for (row, truth) in world.pool.rows.iter().zip(&world.slots).chain(heir) {
            if !truth.is_vacant() {
                continue;
            }
            let due = row.due();
            if row.slot.index() >= world.count {
                self.expect(due.is_none(), "invariant (a closed slot is not filled)");
                continue;
            }
            self.expect(due.is_some(), "invariant (no deadline is lost)");
            let next = world.pool.deadline();
            self.expect(next.is_some() && next <= due, "invariant (no deadline is lost)");
            let wait = truth.wait(world);
            let waited = due.map(|due| due.since(truth.died_at).0);
            let held = waited.is_some_and(|ms| (wait * 3 / 4..=wait * 5 / 4).contains(&ms));
            let first = truth.deaths == 0;
            self.expect(first || held, "invariant (the back-off is kept)");
            let at_once = !first || due <= Some(self.now);
            self.expect(at_once, "invariant (a new slot is filled at once)");
            let overdue = self.event == Event::Timer && due <= Some(self.now);
            self.expect(!overdue, "invariant 9 (what is due is done)");
        }
        let actions = self.actions.iter();
        let forked = actions.filter_map(|action| match action {
            Action::Fork { slot, heir } => Some((*slot, *heir)),
            Action::Signal { .. }
            | Action::AnnounceReady
            | Action::Look
            | Action::Finish { .. }
            | Action::Tell(_) => None,
        });
        for (slot, heir) in forked {
            let own = &self.before.slots[slot.index()];
            let truth = if heir { self.before.heir_of(slot).unwrap_or(&NOBODY) } else { own };
            let early = self.now.since(truth.died_at).0 < truth.wait(world) * 3 / 4;
            self.expect(!early, "invariant (the back-off is kept)");
        }
        self.assert_neighbours(world);
    }

    /// What concerns one slot leaves the others as they were.
    fn assert_neighbours(&self, world: &World) {
        let stay = self.before.count.min(world.count);
        let concerned = match self.event {
            Event::Scale { .. } => None,
            Event::Forked { slot, .. }
            | Event::ForkFailed { slot }
            | Event::Runs { slot, .. }
            | Event::Ready { slot, .. }
            | Event::Busy { slot, .. } => Some(slot),
            Event::Exited { pid, .. } => self.before.slot_of(pid),
            Event::Stop
            | Event::StopNow { .. }
            | Event::MainGone
            | Event::Overslept { .. }
            | Event::Timer => return,
        };
        let heir = self.before.pool.heir.iter().filter(|heir| Some(heir.slot) != concerned);
        let mut kept = heir.filter(|heir| heir.slot.index() < stay);
        let untouched = kept.all(|heir| world.pool.heir == Some(*heir));
        self.expect(untouched, "invariant (one worker never disturbs another slot)");
        let rows = self.before.pool.rows.iter().zip(&world.pool.rows);
        let rows = rows.take(if concerned.is_none() { stay } else { usize::MAX });
        let others = rows.filter(|(row, _)| Some(row.slot) != concerned);
        let untouched = others.into_iter().all(|(before, after)| before == after);
        self.expect(untouched, "invariant (one worker never disturbs another slot)");
    }

    fn assert_readiness(&self, world: &World) {
        let all = world.order.is_none() && world.is_ready();
        let name = "invariant (ready is announced when every slot is)";
        if world.announced && !self.before.announced {
            self.expect(all, name);
        }
        self.expect(world.announced || !all, name);
        let owed = world.scaling && all;
        self.expect(!owed, "invariant (a new number is told once it is reached)");
        for process in world.alive().filter(Process::is_starting) {
            let next = world.pool.deadline();
            let is_due = process.lives_until.is_none_or(|until| next.is_some_and(|at| at <= until));
            self.expect(is_due, "invariant (no deadline is lost)");
        }
        let told = self.actions.iter().filter_map(|action| match action {
            Action::Tell(Report::Ready { slot, pid }) => Some((*slot, *pid)),
            Action::Tell(_)
            | Action::Fork { .. }
            | Action::Look
            | Action::Signal { .. }
            | Action::AnnounceReady
            | Action::Finish { .. } => None,
        });
        let was_starting = |pid: Pid| {
            let mut before = self.before.alive();
            before.any(|process| process.pid == pid && process.is_starting())
        };
        let ready = world.alive().filter(|it| it.ready_at.is_some() && was_starting(it.pid));
        let ready = ready.map(|it| (world.slot_of(it.pid).expect("it is alive"), it.pid));
        self.expect(told.eq(ready), "invariant (whoever becomes ready is told of once)");
    }

    /// Every death and every failed fork is told, truthfully.
    fn assert_reports(&self, world: &World) {
        let told = self.actions.iter().filter_map(|action| match action {
            Action::Tell(report @ (Report::Died { .. } | Report::ForkFailed { .. })) => {
                Some(*report)
            }
            Action::Tell(
                Report::Ready { .. }
                | Report::Scaled { .. }
                | Report::Inherited { .. }
                | Report::Hung { .. },
            )
            | Action::Fork { .. }
            | Action::Look
            | Action::Signal { .. }
            | Action::AnnounceReady
            | Action::Finish { .. } => None,
        });
        let told: Vec<_> = told.collect();
        let deceased = |pid: Pid| self.before.alive().find(|process| process.pid == pid);
        let due = |slot: Slot, was_heir: bool| {
            let row = &world.pool.rows[slot.index()];
            if was_heir { world.pool.heir.and_then(|heir| heir.due()) } else { row.due() }
        };
        let truthful = match (self.event, told.as_slice()) {
            (
                Event::Exited { pid, exit },
                [Report::Died { slot, pid: of, exit: how, why: told, next, .. }],
            ) => {
                let why = match deceased(pid) {
                    Some(it) if it.hung => Why::Hung,
                    Some(it) if it.heard > Heard::Nothing => Why::Asked,
                    Some(_) | None => Why::Unknown,
                };
                let was_heir = self.before.heir_of(*slot).is_some_and(|heir| heir.holds(pid));
                (pid, exit, why) == (*of, *how, *told) && due(*slot, was_heir) == *next
            }
            (Event::Exited { pid, .. }, []) => deceased(pid).is_none(),
            (Event::ForkFailed { slot }, [Report::ForkFailed { slot: of, next }]) => {
                let was_heir = !self.before.slots[slot.index()].forking;
                slot == *of && due(slot, was_heir) == *next
            }
            (Event::Exited { .. } | Event::ForkFailed { .. }, _) => false,
            (_, told) => told.is_empty(),
        };
        self.expect(truthful, "invariant (every death is told once and truly)");
    }

    /// Who is aborted is told of, and so is who inherits.
    fn assert_news(&self) {
        let aborted = self.actions.iter().filter_map(|action| {
            let Action::Signal { pid, signal: Signal::Abrt } = action else { return None };
            Some(*pid)
        });
        let hung = self.actions.iter().filter_map(|action| {
            let Action::Tell(Report::Hung { pid, .. }) = action else { return None };
            Some(*pid)
        });
        self.expect(aborted.eq(hung), "invariant (who is aborted is told of)");
        let told = self.actions.iter().find_map(|action| {
            let Action::Tell(Report::Inherited { slot, pid }) = action else { return None };
            Some((*slot, *pid))
        });
        let dead = if let Event::Exited { pid, .. } = self.event { Some(pid) } else { None };
        let followed = self
            .before
            .heir
            .filter(|(slot, _)| dead.is_some_and(|pid| self.before.slots[slot.index()].holds(pid)));
        let follower = followed.and_then(|(slot, heir)| Some((slot, heir.process?.pid)));
        self.expect(told == follower, "invariant (who inherits is told of)");
    }
}

/// Whether this one leaves without a stop of all.
const fn is_alone(process: Process) -> bool {
    process.alone.is_some()
}

impl Truth {
    /// Whether nobody is here, and nobody is on the way.
    const fn is_vacant(&self) -> bool {
        self.process.is_none() && !self.forking
    }

    /// Whether this one is here.
    fn holds(&self, pid: Pid) -> bool {
        self.process.is_some_and(|process| process.pid == pid)
    }

    /// Whoever was here, or was to be, is not.
    fn die(&mut self, now: Tick) {
        let ready_at = self.process.and_then(|process| process.ready_at);
        let healthy = ready_at.is_some_and(|at| now.since(at) >= Millis(10_000));
        self.deaths = if healthy { 1 } else { self.deaths + 1 };
        self.died_at = now;
        self.process = None;
        self.forking = false;
    }

    /// How long the slot stays empty after its last death, but for the jitter.
    const fn wait(&self, world: &World) -> u64 {
        match self.deaths {
            0 | 1 => 0,
            2 => world.pool.rules.backoff.delay.0,
            3.. => world.pool.rules.backoff.max_delay.0,
        }
    }
}

impl World {
    fn ordered(&mut self, level: Heard, now: Tick) {
        if self.finished {
            return;
        }
        let fresh = Order { level, began: now, now_at: None, kill_by: None, taken_over: false };
        let order = self.order.get_or_insert(fresh);
        order.level = order.level.max(level);
        self.drop_vacant_heir();
    }

    /// Whether every slot has a worker that is ready and stays.
    fn is_ready(&self) -> bool {
        Slot::first(Slot::LAST).zip(&self.slots).take(self.count).all(|(slot, truth)| {
            let heir = self.heir_of(slot).and_then(|heir| heir.process);
            truth.process.into_iter().chain(heir).any(Process::serves)
        })
    }

    /// The process of this slot, if it has this number.
    fn claimant(&mut self, slot: Slot, pid: Pid) -> Option<&mut Process> {
        (self.slot_of(pid) == Some(slot)).then(|| self.process_mut(pid))
    }

    /// Somebody hangs, who was healthy until now.
    fn abort(&mut self, pid: Pid, now: Tick) {
        let process = self.process_mut(pid);
        let was_healthy = process.ready_at.is_some_and(|at| now.since(at) >= MEMORY);
        (process.hung, process.alone, process.ready_at) = (true, Some(now), None);
        let slot = self.all_slots_mut().find(|truth| truth.holds(pid) && was_healthy);
        if let Some(slot) = slot {
            slot.deaths = 0;
        }
    }

    /// There are to be so many slots, which a stop does not hear.
    fn scale(&mut self, count: usize) {
        if self.order.is_some() {
            return;
        }
        for truth in self.slots.iter_mut().skip(self.count).filter(|truth| truth.is_vacant()) {
            (truth.deaths, truth.died_at) = (0, NOBODY.died_at);
        }
        let length = self.slots.len().max(count);
        self.slots.resize(length, NOBODY);
        self.count = count;
        self.scaling = true;
        if self.heir.is_some_and(|(slot, _)| slot.index() >= count) {
            self.drop_vacant_heir();
        }
    }

    fn owe_kill(&mut self, by: Tick) {
        if let Some(order) = &mut self.order {
            order.kill_by = Some(order.kill_by.map_or(by, |before| before.min(by)));
        }
    }

    /// Lost time is nobody's fault: whatever is owed is owed later.
    fn postpone(&mut self, now: Tick, by: Millis) {
        if let Some(order) = &mut self.order {
            order.began = order.began.after(by);
            order.now_at = order.now_at.map(|at| at.after(by));
            order.kill_by = order.kill_by.map(|at| at.after(by));
        }
        for truth in self.all_slots_mut() {
            truth.died_at = truth.died_at.after(by);
            if let Some(process) = &mut truth.process {
                process.alone = process.alone.map(|at| at.after(by));
                process.until = process.until.map(|at| at.after(by));
                process.busy = process.busy.map(|(on, _)| (on, now));
                process.lives_until = process.lives_until.map(|until| until.after(by));
            }
        }
    }
}

/// Walks from one beginning and returns the number of states.
fn walk(count: u16, most: u16, authority: Authority) -> usize {
    walk_about(count, most, authority, About::Nothing)
}

fn walk_about(count: u16, most: u16, authority: Authority, about: About) -> usize {
    walk_from(World::new(count, most, authority, about, None))
}

fn walk_from(beginning: World) -> usize {
    let mut seen = HashSet::from([beginning.clone()]);
    let mut queue = VecDeque::from([beginning]);
    while let Some(world) = queue.pop_front() {
        for choice in world.choices() {
            let next = world.after(choice);
            if !seen.contains(&next) {
                seen.insert(next.clone());
                queue.push_back(next);
            }
        }
    }
    seen.len()
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of states is the result")]
fn every_reachable_state_of_a_pool_is_sound() {
    let longer = Authority::Main { timeout: Millis(TIMEOUT.0 + 1) };
    let equal = Authority::Main { timeout: TIMEOUT };
    let authorities = [Authority::Own, equal, longer];
    let states: usize =
        authorities.map(|authority| walk(1, 0, authority) + walk(2, 0, authority)).iter().sum();
    let states = states + walk(3, 0, Authority::Own);
    assert!(states > 20_000, "the walk was trivial: {states} states");
    std::println!("pool: walked {states} states");
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of states is the result")]
fn every_reachable_state_of_a_pool_that_is_scaled_is_sound() {
    let longer = Authority::Main { timeout: Millis(TIMEOUT.0 + 1) };
    let equal = Authority::Main { timeout: TIMEOUT };
    let authorities = [Authority::Own, equal, longer];
    let states: usize = authorities.map(|authority| walk(2, 2, authority)).iter().sum();
    assert!(states > 20_000, "the walk was trivial: {states} states");
    std::println!("scaled pool: walked {states} states");
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of states is the result")]
fn every_reachable_state_of_a_pool_whose_workers_have_to_live_for_a_while_is_sound() {
    let equal = Authority::Main { timeout: TIMEOUT };
    let both = [Authority::Own, equal];
    let world =
        |count, most, authority, about| World::new(count, most, authority, about, Some(LIFE));
    let alone = both.map(|authority| world(1, 0, authority, About::Nothing));
    let scaled = both.map(|authority| world(2, 2, authority, About::Nothing));
    let recycled = [world(1, 0, equal, About::Lifetime)];
    let states: usize = alone.into_iter().chain(scaled).chain(recycled).map(walk_from).sum();
    assert!(states > 20_000, "the walk was trivial: {states} states");
    std::println!("living pool: walked {states} states");
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of states is the result")]
fn every_reachable_state_of_a_pool_that_is_recycled_is_sound() {
    let about = About::Lifetime;
    let equal = Authority::Main { timeout: TIMEOUT };
    let states = walk_about(1, 0, Authority::Own, about) + walk_about(1, 0, equal, about);
    let states = states + walk_about(2, 0, equal, about);
    let states = states + walk_about(1, 2, equal, about);
    assert!(states > 20_000, "the walk was trivial: {states} states");
    std::println!("recycled pool: walked {states} states");
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of states is the result")]
fn every_reachable_state_of_a_pool_in_which_workers_hang_is_sound() {
    let about = About::Hang;
    let equal = Authority::Main { timeout: TIMEOUT };
    let states = walk_about(1, 0, Authority::Own, about) + walk_about(1, 0, equal, about);
    let states = states + walk_about(2, 0, Authority::Own, about);
    let states = states + walk_about(2, 0, equal, about) + walk_about(1, 0, equal, About::Both);
    assert!(states > 20_000, "the walk was trivial: {states} states");
    std::println!("pool that hangs: walked {states} states");
}
