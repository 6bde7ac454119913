//! Every event in every reachable state of the pool's state machine.
//!
//! The pool meets a small model of the world: it knows which processes are alive, which
//! signals they got, which forks are outstanding and whether main lives. From each state
//! every event is tried, and after each step the invariants are asserted by name. States
//! that differ only in the time of day are one state.
//!
//! Time moves to the deadline, to a moment before or after it, or by a fixed step if there
//! is none; deadlines that are past are handled before more time passes, unless the whole
//! machine was stalled.

use super::Remaining;
use super::{Authority, Command, Event, Group, Pool, PoolRules, Report, StopSender};
use super::{SlotRow, SlotState, WorkerStage};
use crate::types::{Backoff, Exit, ExitReason, Losses, Millis, Pid, Signal, Slot, Tick};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use std::collections::HashSet;

mod pool_waits;

/// Now, in every state that is kept.
const NOW: Tick = Tick(1_000_000);
/// Times further back than this are equal.
const MEMORY: Millis = Millis(10_000);
/// More consecutive deaths than this count as this many.
const MOST_DEATHS: u32 = 3;
const TIMEOUT: Millis = Millis(4_000);
const BACKOFF: Backoff = Backoff { delay: Millis(400), max_delay: Millis(800) };
/// For two slots, which multiply the states: one delay, too short for any jitter.
const SHORT_BACKOFF: Backoff = Backoff { delay: Millis(3), max_delay: Millis(3) };
/// For a changing number of slots: no delay.
const NO_BACKOFF: Backoff = Backoff { delay: Millis(0), max_delay: Millis(0) };
/// The time between two events there, so that there are few moments.
const STEP: Millis = Millis(2_000);
const OVERSLEPT: Millis = Millis(3_000);
/// With this seed the lifetime has no jitter.
const LIFETIME: Millis = STEP;
const UNSPREAD: u32 = 19959;
const HANG: Millis = STEP;
/// The age at which a worker counts as ready, if it sends no message.
const LIFE: Millis = Millis(2_000);
/// How long a worker may take to be ready, in the walks with such a limit.
const READY_TIMEOUT: Millis = STEP;
/// How long a slot waits at most for a worker that drains.
const HELD: Millis = Millis(1_000);
/// The number of rows beyond the slots, for workers that drain beside the next one.
const BESIDE: usize = 2;
/// A new slot.
const NEW: Truth =
    Truth { forking: false, odd: false, deaths: 0, died_at: NOW, wait: 0, recycled: false };

/// The signals of a stop, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Sent {
    Nothing,
    Term,
    Abrt,
    Int,
    Kill,
}

impl Sent {
    fn of(signal: Signal) -> Self {
        match signal {
            Signal::Term => Sent::Term,
            Signal::Abrt => Sent::Abrt,
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
            | Signal::Xfsz => {
                panic!("invariant (only SIGTERM, SIGABRT, SIGINT and SIGKILL are sent): {signal:?}")
            }
        }
    }
}

/// A living process, or the rest of the group of a reaped one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Process {
    pid: Pid,
    slot: Slot,
    /// Whether it was reaped, and other processes of its group are left.
    rest: bool,
    /// Whether it is to replace another worker, which still serves in its slot.
    replaces: bool,
    sent: Sent,
    /// When it became ready.
    ready_at: Option<Tick>,
    /// When it is old enough to count as ready.
    lives_until: Option<Tick>,
    /// When its ready timeout ends.
    late_at: Option<Tick>,
    /// When it was told to stop without a stop of the whole pool.
    alone: Option<Tick>,
    reason: StopReason,
    /// When it is old enough to be recycled.
    until: Option<Tick>,
    /// Since when it is busy: by the scoreboard, and as counted without lost time.
    busy: Option<(Tick, Tick)>,
}

/// The reason why it was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum StopReason {
    Asked,
    Hung,
    Late,
    Recycled,
    Orphaned,
}

impl Process {
    /// A process that was just forked.
    fn new(pid: Pid, slot: Slot, replaces: bool, late_at: Option<Tick>) -> Self {
        let (sent, ready_at, lives_until, alone) = (Sent::Nothing, None, None, None);
        let (reason, until, busy) = (StopReason::Asked, None, None);
        let rest = false;
        Self {
            pid,
            slot,
            rest,
            replaces,
            sent,
            ready_at,
            lives_until,
            late_at,
            alone,
            reason,
            until,
            busy,
        }
    }

    /// Whether it was not told to stop.
    fn stays(&self) -> bool {
        self.sent == Sent::Nothing
    }

    /// Whether it is not ready yet, and may become ready.
    fn is_starting(&self) -> bool {
        self.ready_at.is_none() && self.stays()
    }

    /// When its next signal is due if it was told to stop alone.
    fn next_signal_at(self) -> Option<Tick> {
        match (self.alone, self.sent) {
            (Some(at), Sent::Abrt | Sent::Int) if self.reason == StopReason::Hung => {
                Some(at.after(Millis(1_000)))
            }
            (Some(at), Sent::Nothing | Sent::Term) => Some(at.after(TIMEOUT)),
            (Some(at), Sent::Int) => Some(at.after(Millis(TIMEOUT.0 + 2_000))),
            (Some(_), Sent::Abrt | Sent::Kill) | (None, _) => None,
        }
    }

    fn begin_to_serve(&mut self, now: Tick, lifetime: Millis) {
        self.ready_at = Some(now);
        self.until = (lifetime.0 > 0).then_some(now.after(lifetime));
    }

    /// Makes times relative to `now`, the same moment in every state.
    fn forget_the_time(&mut self, now: Tick, stops: bool) {
        let stays = !stops && self.stays();
        let ready_at = self.ready_at.filter(|_| stays);
        self.ready_at = ready_at.map(|at| young_or_old(at, now));
        let is_starting = self.is_starting();
        let starting = |at: &Tick| is_starting && *at != Tick::NEVER;
        self.lives_until = self.lives_until.filter(starting).map(|at| kept(at, now));
        self.late_at = self.late_at.filter(starting).map(|at| kept(at, now));
        let alone = self.alone.filter(|_| self.sent < Sent::Kill);
        self.alone = alone.map(|at| kept(at, now));
        self.until = self.until.filter(|_| stays).map(|at| due_or_later(at, now));
        let old = Tick(now.0 - HANG.0);
        let kept = |at: Tick| kept(at.max(old), now);
        self.busy = self.busy.filter(|_| stays).map(|(on, since)| (kept(on), kept(since)));
    }

    /// Whether it is ready and was not told to stop.
    fn serves(self) -> bool {
        self.ready_at.is_some() && self.stays()
    }

    /// Whether it has been busy for so long that SIGABRT is due.
    fn hangs(self, now: Tick) -> bool {
        self.stays() && self.busy.is_some_and(|(_, since)| since.after(HANG) <= now)
    }
}

/// A slot in the model, independent of the pool's own view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Truth {
    forking: bool,
    /// Which of its two pids the next process of this slot gets.
    odd: bool,
    deaths: u32,
    /// When the last worker failed, and the delay before the next one, without jitter.
    died_at: Tick,
    wait: u64,
    /// Whether the last worker was ready and exited with status 0.
    recycled: bool,
}

/// Main in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum MainState {
    NoMain,
    Main { escalates: bool },
    Gone,
}

/// The stop, as requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Order {
    /// The strongest signal that was requested.
    level: Sent,
    began: Tick,
    /// When an immediate stop was first requested.
    now_at: Option<Tick>,
    /// When the pool must send SIGKILL at the latest.
    kill_by: Option<Tick>,
    /// Whether an immediate stop came from outside, so that the pool escalates by itself and
    /// not main.
    taken_over: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    pool: Pool,
    slots: Vec<Truth>,
    /// The slot in which a worker is being replaced, and the state of that.
    replacement: Option<(Slot, Truth)>,
    /// Sorted by their pids.
    processes: Vec<Process>,
    /// Whether workers leave other processes of their group behind.
    has_groups: bool,
    /// The wanted number of slots, and the greatest number that is ever requested.
    count: usize,
    most: u16,
    /// Whether a new number was requested and is not reached yet.
    scaling: bool,
    above: MainState,
    order: Option<Order>,
    announced: bool,
    killed: bool,
    finished: bool,
    /// Whether the pool has asked which workers are busy.
    looking: bool,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Choice {
    /// An event, after this much time.
    After(Millis, Event),
    /// Only time passes.
    Pass(Millis),
    /// A worker becomes busy, or idle.
    Work(Pid),
    Rest(Pid),
}

/// The additional subject of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Nothing,
    Lifetime,
    Hang,
    Both,
    /// Workers leave other processes of their group behind.
    Groups,
    /// Workers that are not ready in time are ended.
    Late,
}

const fn kept(time: Tick, now: Tick) -> Tick {
    // A moment that is later than all others.
    if now.0 == u64::MAX {
        return Tick(NOW.0 - MEMORY.0);
    }
    let oldest = now.0.saturating_sub(MEMORY.0);
    let time = if time.0 < oldest { oldest } else { time.0 };
    Tick(NOW.0 + time - now.0)
}

/// A worker is healthy or it is not: the milliseconds would only multiply the states.
const fn young_or_old(ready_at: Tick, now: Tick) -> Tick {
    let is_old = now.since(ready_at).0 >= MEMORY.0;
    if is_old { Tick(NOW.0 - MEMORY.0) } else { NOW }
}

/// How long something has been overdue does not matter.
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
        let late = (about == About::Late).then_some(READY_TIMEOUT);
        let (lifetime, hang) = (lifetime.unwrap_or_default(), hang.unwrap_or_default());
        let ready_timeout = late.unwrap_or_default();
        // With two slots there is only one more row: there are too many states.
        let beside = if count.max(most) > 1 { 1 } else { BESIDE };
        let rows = usize::from(count.max(most)) + beside;
        let seed = if lifetime.0 > 0 { UNSPREAD } else { 3 };
        let rules = PoolRules {
            count,
            timeout: TIMEOUT,
            backoff,
            ready_after,
            hang_timeout: hang,
            lifetime,
            ready_timeout,
            rows,
            seed,
        };
        let above = match authority {
            Authority::Own => MainState::NoMain,
            Authority::Main { timeout } => MainState::Main { escalates: TIMEOUT >= timeout },
        };
        Self {
            pool: Pool::new(rules, authority, NOW),
            slots: vec![NEW; usize::from(count)],
            replacement: None,
            processes: Vec::new(),
            has_groups: about == About::Groups,
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

    /// Whether the pool has to escalate by itself.
    fn is_ours(&self) -> bool {
        match self.above {
            MainState::NoMain | MainState::Gone | MainState::Main { escalates: false } => true,
            MainState::Main { escalates: true } => self.order.is_some_and(|order| order.taken_over),
        }
    }

    /// Whether the number of slots may change; then other things do not.
    const fn is_scaled(&self) -> bool {
        self.most > 0
    }

    /// Whether this walk has few moments.
    fn is_brief(&self) -> bool {
        let PoolRules { hang_timeout: hang, lifetime, ready_timeout, .. } = self.pool.rules;
        let is_timed = lifetime.0 > 0 || hang.0 > 0 || ready_timeout.0 > 0;
        self.is_scaled() || is_timed || self.has_groups
    }

    fn all_slots_mut(&mut self) -> impl Iterator<Item = &mut Truth> {
        self.slots.iter_mut().chain(self.replacement.iter_mut().map(|(_, truth)| truth))
    }

    /// All processes that are not reaped, and the rests of groups.
    fn all(&self) -> impl Iterator<Item = Process> {
        self.processes.iter().copied()
    }

    fn alive(&self) -> impl Iterator<Item = Process> {
        self.all().filter(|it| !it.rest)
    }

    /// The processes of a slot that were not told to stop: its worker, and perhaps the
    /// replacement.
    fn staying(&self, slot: Slot) -> impl Iterator<Item = Process> {
        self.alive().filter(move |it| it.slot == slot && it.stays())
    }

    /// The worker of a slot.
    fn worker(&self, slot: Slot) -> Option<Process> {
        self.staying(slot).find(|it| !it.replaces)
    }

    /// The number of processes that were told to stop and are still there.
    fn leaving(&self) -> usize {
        self.all().filter(|it| !it.stays()).count()
    }

    fn process_mut(&mut self, pid: Pid) -> &mut Process {
        let mut all = self.processes.iter_mut();
        all.find(|process| process.pid == pid).expect("it is there")
    }

    fn find(&self, pid: Pid) -> Option<Process> {
        self.alive().find(|it| it.pid == pid)
    }

    fn remove(&mut self, pid: Pid) {
        self.processes.retain(|it| it.pid != pid);
    }

    /// The slot of a process.
    fn slot_of(&self, pid: Pid) -> Option<Slot> {
        Some(self.find(pid)?.slot)
    }

    /// The slot or replacement for which a fork is outstanding.
    fn forking(&mut self, slot: Slot) -> &mut Truth {
        if self.slots[slot.index()].forking {
            return &mut self.slots[slot.index()];
        }
        &mut self.replacement.as_mut().expect("nothing else is being forked").1
    }

    /// Whether a slot has neither a worker nor an outstanding fork.
    fn is_vacant(&self, slot: Slot) -> bool {
        self.worker(slot).is_none() && !self.slots[slot.index()].forking
    }

    /// Whether a process of this slot is stopping.
    fn is_left(&self, slot: Slot) -> bool {
        self.all().any(|it| it.slot == slot && !it.stays())
    }

    /// Whether there is a row for one more process.
    fn has_room(&self) -> bool {
        self.slots.len() + self.leaving() < self.pool.rules.rows
    }

    /// Whether the pool is past SIGINT.
    fn is_past_sigint(&self) -> bool {
        matches!(self.pool.course, super::Course::Interrupted { .. } | super::Course::Killed)
    }

    fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.slots.iter().all(|truth| !truth.forking)
    }

    /// The pid of the next process of a slot: never that of the one before, so that a stale
    /// pid is noticed.
    fn next_pid(&self, slot: Slot) -> Pid {
        let odd = if self.slots[slot.index()].odd { 100 } else { 0 };
        let pid = |more| Pid::new(i32::from(slot.number()) + more).expect("it is positive");
        let mut numbers = [odd, 200, 300, 400, 500, 600].map(pid).into_iter();
        let is_free = |pid: &Pid| self.all().all(|process| process.pid != *pid);
        numbers.find(is_free).expect("there are few processes")
    }

    /// The events of all processes, and of the rests of groups.
    fn events_of_processes(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let killed = Exit::Signal { number: 9, core: false };
        for Process { pid, slot, rest, .. } in self.all() {
            if rest {
                events.push(Event::GroupEmpty { pid });
                continue;
            }
            events.extend([Event::Ready { slot, pid }, Event::Runs { slot, pid }]);
            let groups = [Group::Empty, Group::Members];
            for group in groups.into_iter().take(1 + usize::from(self.has_groups)) {
                for exit in [killed, Exit::Status(0)] {
                    events.push(Event::Exited { slot, pid, exit, group });
                }
            }
        }
        events
    }

    fn choices(&self) -> Vec<Choice> {
        let mut events = vec![
            Event::Stop,
            Event::StopNow { by: StopSender::Stranger },
            Event::Timer,
            // Events of unknown processes.
            Event::Exited {
                slot: Slot::new(1).expect("it is a slot"),
                pid: Pid::new(999).expect("it is positive"),
                exit: Exit::Status(0),
                group: Group::Members,
            },
            Event::GroupEmpty { pid: Pid::new(999).expect("it is positive") },
        ];
        if self.is_scaled() {
            events.extend((1..=self.most).map(|count| Event::Scale { count }));
        }
        if matches!(self.above, MainState::Main { .. }) {
            events.extend([Event::StopNow { by: StopSender::Main }, Event::MainGone]);
        }
        let replacement = self.replacement.iter().map(|(slot, truth)| (*slot, truth));
        for (slot, truth) in Slot::first(Slot::LAST).zip(&self.slots).chain(replacement) {
            events.push(Event::Ready { slot, pid: self.next_pid(slot) });
            if truth.forking {
                let pid = self.next_pid(slot);
                events.extend([Event::Forked { slot, pid }, Event::ForkFailed { slot }]);
            }
        }
        events.extend(self.events_of_processes());
        let mut choices: Vec<_> =
            events.into_iter().map(|event| Choice::After(Millis(0), event)).collect();
        let by = if self.is_brief() { STEP } else { OVERSLEPT };
        choices.push(Choice::After(by, Event::Stalled { by }));
        if self.is_scaled() && self.pool.rules.lifetime.0 > 0 {
            // Together these make too many states; the other walks have them one by one.
            choices.retain(|choice| {
                !matches!(
                    choice,
                    Choice::After(
                        _,
                        Event::StopNow { .. } | Event::MainGone | Event::Stalled { .. },
                    )
                )
            });
        }
        choices.extend(self.waits().into_iter().map(Choice::Pass));
        if self.pool.rules.hang_timeout.0 > 0 {
            choices.extend(self.alive().map(|process| match process.busy {
                Some(_) => Choice::Rest(process.pid),
                None => Choice::Work(process.pid),
            }));
        }
        choices
    }

    /// How much time can pass without an event.
    fn waits(&self) -> Vec<Millis> {
        if self.is_brief() {
            let left = self.pool.deadline().map(|deadline| deadline.since(NOW));
            let leaving = self.order.is_some() || self.all().any(is_alone);
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
        if left >= 1_000 && (self.order.is_some() || self.leaving() > 0) {
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
        let (mut world, mut commands) = (self.clone(), Vec::new());
        world.pool.step(now, event, &mut commands);
        Check { before: self, event, now, commands: &commands }.run(&mut world);
        world
    }

    fn set_busy(&mut self, pid: Pid, busy: Option<(Tick, Tick)>) {
        self.process_mut(pid).busy = busy;
    }

    /// The monitor reads the scoreboard when it is asked to, or when the pool does not watch.
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

    /// A busy worker is always watched.
    fn assert_watched(&self, now: Tick) {
        let deadline = self.pool.deadline();
        for it in self.alive().filter(|it| self.order.is_none() && it.stays()) {
            let Some((_, since)) = it.busy else { continue };
            let is_seen = deadline.is_some_and(|deadline| deadline <= since.after(HANG));
            assert!(is_seen, "invariant (a hung worker is ended): after {now:?}\nin {self:?}");
        }
    }

    /// Makes times relative to `now`, the same moment in every state.
    fn forget_the_time(&mut self, now: Tick) {
        // After a stop no worker is replaced, and after SIGKILL nothing is due.
        let most_deaths = match self.slots.len() {
            _ if self.order.is_some() || self.is_brief() => 0,
            1 => MOST_DEATHS,
            _ => MOST_DEATHS - 1,
        };
        let all_killed = self.all().all(|process| process.sent == Sent::Kill);
        self.forget_the_watch(now);
        self.forget_losses();
        self.pool.leaving.sort_by_key(|one| one.pid);
        for one in &mut self.pool.leaving {
            // Only reports show it, and those have been checked.
            one.since = NOW;
            one.next_at = one.next_at.map(|at| kept(at, now));
        }
        for row in self.pool.slots.iter_mut().chain(&mut self.pool.replacement) {
            row.backoff.forget_beyond(most_deaths);
            row.has_recycled &= self.order.is_none();
            forget_the_time_of(row, now);
        }
        self.pool.note_all_deadlines();
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
        let stops = self.order.is_some();
        let slots = Slot::first(Slot::LAST).take(self.slots.len());
        let is_waiting = |slot: Slot| slot.index() < self.count && self.is_vacant(slot);
        let vacant: Vec<_> = slots.map(is_waiting).collect();
        let replaced = self
            .replacement
            .map(|(slot, truth)| !truth.forking && self.staying(slot).all(|it| !it.replaces));
        let all = vacant.into_iter().chain(replaced);
        for (truth, vacant) in self.all_slots_mut().zip(all) {
            truth.deaths = truth.deaths.min(most_deaths);
            let is_kept = vacant && !stops;
            truth.died_at = kept(if is_kept { truth.died_at } else { Tick(0) }, now);
            truth.wait = if is_kept { truth.wait } else { 0 };
            truth.recycled &= !stops;
        }
        for process in &mut self.processes {
            process.forget_the_time(now, stops);
        }
        self.processes.sort_unstable();
        let is_over = self.finished || self.pool.course == super::Course::Killed && all_killed;
        if let Some(order) = &mut self.order {
            let now = if is_over { Tick(u64::MAX) } else { now };
            order.began = kept(order.began, now);
            order.now_at = order.now_at.map(|at| kept(at, now));
            order.kill_by = order.kill_by.map(|at| kept(at, now));
        }
    }

    /// Losses are checked at once, and not kept.
    fn forget_losses(&mut self) {
        self.pool.slots.iter_mut().for_each(|row| row.lost = 0);
        self.pool.replacement.iter_mut().for_each(|row| row.lost = 0);
        self.pool.before_ready = Losses::default();
        self.pool.lost = Losses::default();
    }

    /// A pause that ended before all current requests began does not matter.
    fn forget_the_watch(&mut self, now: Tick) {
        let watch = self.pool.watch;
        let is_later =
            |it: Process| !it.stays() || it.busy.is_none_or(|(since, _)| since >= watch.from);
        let from = if self.alive().all(is_later) { Tick(0) } else { watch.from };
        self.pool.watch.from = kept(from.max(Tick(now.0 - HANG.0)), now);
        let at = watch.at.filter(|_| self.order.is_none());
        self.pool.watch.at = at.map(|at| kept(at, now));
    }
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
        self.begin_replacement(world);
        for command in self.commands {
            self.take_in_action(world, *command);
        }
        self.assert_population(world);
        self.assert_stop(world);
        self.assert_leaving(world);
        self.assert_replacements(world);
        self.assert_counts(world);
        self.assert_escalation(world);
        self.assert_deadline(world);
        self.assert_blocks(world);
        self.assert_refills(world);
        self.assert_readiness(world);
        self.assert_reports(world);
    }

    fn expect(&self, holds: bool, name: &str) {
        let Self { before, event, now, commands } = self;
        let ago = now.since(NOW);
        assert!(holds, "{name}: {event:?} after {ago}\nin {before:?}\nled to {commands:?}");
    }

    /// The effect of the event on the model.
    fn take_in_event(&self, world: &mut World) {
        let now = self.now;
        match self.event {
            Event::Forked { slot, pid } => {
                let alone = world.slots.len() == 1 && !world.is_brief();
                let limit = world.pool.rules.ready_timeout;
                let late_at = (limit.0 > 0).then_some(now.after(limit));
                let replaces = !world.slots[slot.index()].forking;
                let truth = world.forking(slot);
                // Pids are reused, and stale ones noticed, only in walks with few states.
                (truth.forking, truth.odd) = (false, alone && !truth.odd);
                world.processes.push(Process::new(pid, slot, replaces, late_at));
            }
            Event::ForkFailed { slot } => {
                let wait = world.pool.rules.backoff;
                world.forking(slot).fail(now, None, wait);
            }
            Event::Runs { slot, pid } => {
                let life = world.pool.rules.ready_after;
                if let Some(process) = world.process_of(slot, pid) {
                    process.lives_until = process.lives_until.or(life.map(|life| now.after(life)));
                }
            }
            Event::Ready { slot, pid } => {
                let lifetime = world.pool.rules.lifetime;
                if let Some(process) = world.process_of(slot, pid).filter(|it| it.is_starting()) {
                    process.begin_to_serve(now, lifetime);
                }
            }
            Event::GroupEmpty { pid } => {
                let rest = world.processes.iter().find(|it| it.pid == pid && it.rest);
                let killed = rest.is_some_and(|it| it.sent == Sent::Kill);
                world.killed |= world.order.is_some() && killed;
                world.processes.retain(|it| it.pid != pid || !it.rest);
            }
            Event::Busy { .. } => {}
            Event::Exited { pid, exit, group, .. } => self.reap(world, pid, exit, group),
            Event::Scale { count } => world.scale(now, usize::from(count)),
            Event::Stop => world.ordered(Sent::Term, now),
            Event::StopNow { by } => self.order_now(world, by),
            Event::MainGone => self.lose_main(world),
            Event::Stalled { by } => world.postpone(now, by),
            Event::Timer => {
                let lifetime = world.pool.rules.lifetime;
                if world.order.is_some() {
                    return;
                }
                for process in world.processes.iter_mut().filter(|it| it.is_starting()) {
                    if process.lives_until.is_some_and(|until| until <= now) {
                        process.begin_to_serve(now, lifetime);
                    }
                }
            }
        }
    }

    /// The pool begins to recycle a worker: not early, and one at a time.
    fn begin_replacement(&self, world: &mut World) {
        let Some(SlotRow { slot, .. }) = world.pool.replacement else { return };
        if world.replacement.is_some() {
            return;
        }
        let worker = world.worker(slot).filter(|it| it.serves());
        let is_due = worker.is_some_and(|it| it.until.is_some_and(|until| until <= self.now));
        let is_time = is_due && self.event == Event::Timer;
        self.expect(is_time, "invariant (no worker is recycled early)");
        let recycled = world.alive().any(|it| it.reason == StopReason::Recycled && !it.stays());
        self.expect(!recycled, "invariant (one worker is recycled at a time)");
        world.replacement = Some((slot, Truth { died_at: self.now, ..NEW }));
    }

    fn reap(&self, world: &mut World, pid: Pid, exit: Exit, group: Group) {
        let stopping = world.order.is_some();
        let Some(process) = world.find(pid) else { return };
        let backoff = world.pool.rules.backoff;
        if process.stays() {
            let truth = match &mut world.replacement {
                Some((_, truth)) if process.replaces => truth,
                Some(_) | None => &mut world.slots[process.slot.index()],
            };
            match process.ready_at {
                Some(ready_at) if exit == Exit::Status(0) => {
                    truth.recycle(self.now, ready_at, backoff);
                }
                ready_at => truth.fail(self.now, ready_at, backoff),
            }
            if !process.replaces {
                world.take_over(process.slot);
            }
        }
        world.killed |= stopping && process.sent == Sent::Kill && exit != Exit::Status(0);
        match group {
            Group::Empty => world.remove(pid),
            Group::Members => {
                let rest = world.process_mut(pid);
                rest.rest = true;
                if rest.stays() {
                    // It gets a signal at once, which is checked below.
                    rest.reason = StopReason::Orphaned;
                }
            }
        }
    }

    fn order_now(&self, world: &mut World, by: StopSender) {
        if world.finished {
            return;
        }
        let now = self.now;
        world.ordered(Sent::Int, now);
        let takes_over = by == StopSender::Stranger && !world.is_ours();
        let order = world.order.as_mut().expect("it was just given");
        order.now_at = order.now_at.or(Some(now));
        order.taken_over |= takes_over;
        if world.is_ours() {
            world.set_kill_deadline(now.after(Millis(1_000)));
        }
    }

    fn lose_main(&self, world: &mut World) {
        let was_ours = world.is_ours();
        world.above = MainState::Gone;
        world.ordered(Sent::Term, self.now);
        let now_at = world.order.and_then(|order| order.now_at);
        if let Some(now_at) = now_at.filter(|_| !was_ours) {
            world.set_kill_deadline(now_at.after(Millis(1_000)));
        }
    }

    /// Applies a command of the pool, which must be possible in the model.
    fn take_in_action(&self, world: &mut World, command: Command) {
        let finished = self.before.finished;
        self.expect(!finished, "invariant (after Finish nothing is done)");
        match command {
            Command::Look => world.looking = true,
            Command::Fork { slot } => {
                let stopping = world.order.is_some();
                self.expect(!stopping, "invariant (no worker is started after a stop)");
                let wanted = slot.index() < world.count;
                self.expect(wanted, "invariant (a retired slot is not filled)");
                let has_room = world.has_room();
                self.expect(has_room, "invariant (there is a row for every process)");
                if !world.is_vacant(slot) {
                    return self.fork_replacement(world, slot);
                }
                self.begin_start(&mut world.slots[slot.index()], self.before.is_left(slot));
            }
            Command::SignalGroup { pid, signal } => {
                let is_rest = world.processes.iter().any(|it| it.pid == pid && it.rest);
                self.expect(is_rest, "invariant (only existing groups are signalled)");
                self.signal(world, pid, signal);
            }
            Command::Signal { pid, signal } => {
                let lives = world.find(pid).is_some();
                self.expect(lives, "invariant (only living workers are signalled)");
                self.signal(world, pid, signal);
            }
            Command::AnnounceReady => {
                self.expect(!world.announced, "invariant (ready is announced once)");
                world.announced = true;
            }
            Command::Finish { killed } => {
                self.expect(!world.finished, "invariant (Finish comes once)");
                let over = world.order.is_some() && world.is_empty();
                self.expect(over, "invariant (Finish comes when no process is left)");
                self.expect(
                    killed == world.killed,
                    "invariant (Finish says whether a worker was killed)",
                );
                world.finished = true;
            }
            Command::Tell(Report::Scaled { count }) => {
                let reached = world.is_ready() && usize::from(count) == world.count;
                let is_news = world.scaling;
                self.expect(
                    is_news && reached,
                    "invariant (a new number is reported once it is reached)",
                );
                world.scaling = false;
            }
            Command::Tell(
                Report::Ready { .. }
                | Report::Died { .. }
                | Report::ForkFailed { .. }
                | Report::TookOver { .. }
                | Report::Late { .. }
                | Report::AllReady
                | Report::Hung { .. },
            ) => {}
        }
    }

    /// A start, after its back-off, and a second later if its slot still has a draining worker.
    fn begin_start(&self, truth: &mut Truth, is_left: bool) {
        let waited = self.now.since(truth.died_at).0;
        let held = if is_left { HELD.0 } else { 0 };
        let early = waited < truth.wait * 3 / 4 + held;
        self.expect(
            !early,
            "invariant (a start waits for its back-off and for the draining worker)",
        );
        truth.forking = true;
    }

    /// A replacement is forked, perhaps not for the first time.
    fn fork_replacement(&self, world: &mut World, slot: Slot) {
        let is_starting = world.staying(slot).any(|it| it.replaces);
        let one_there = world.replacement.is_some();
        self.expect(one_there, "invariant (only an old worker is replaced)");
        let Some((of, truth)) = &mut world.replacement else { return };
        let one = *of == slot && !is_starting && !truth.forking;
        self.expect(one, "invariant (there is at most one replacement)");
        self.begin_start(truth, self.before.is_left(slot));
    }

    fn signal(&self, world: &mut World, pid: Pid, signal: Signal) {
        let sent = Sent::of(signal);
        let count = world.count;
        let is_stopping = world.order.is_some();
        let Some(process) = world.all().find(|it| it.pid == pid) else { return };
        let slot = process.slot;
        let is_followed = world.staying(slot).any(|it| it.replaces && it.serves());
        let rises = process.sent < sent;
        self.expect(
            rises,
            "invariant (SIGTERM, SIGABRT, SIGINT and SIGKILL are sent once and in order)",
        );
        let pressed = process.next_signal_at().is_some_and(|at| at <= self.now);
        let hangs = process.hangs(self.now);
        let is_late = process.is_starting() && process.late_at.is_some_and(|at| at <= self.now);
        world.process_mut(pid).sent = sent;
        let because = match sent {
            Sent::Term if is_stopping => None,
            Sent::Term if process.rest => Some(StopReason::Orphaned),
            Sent::Term if slot.index() >= count => Some(StopReason::Asked),
            Sent::Term if is_followed && !process.replaces => Some(StopReason::Recycled),
            Sent::Term if is_late => Some(StopReason::Late),
            Sent::Nothing | Sent::Term | Sent::Abrt | Sent::Int | Sent::Kill => None,
        };
        if let Some(because) = because {
            return world.leave_alone(pid, because, self.now);
        }
        if sent == Sent::Abrt {
            self.expect(hangs && !is_stopping, "invariant (only a hung worker gets SIGABRT)");
            return world.leave_alone(pid, StopReason::Hung, self.now);
        }
        if pressed {
            return;
        }
        self.expect(world.order.is_some(), "invariant (no worker is signalled without a reason)");
        let Some(order) = world.order else { return };
        let early = match sent {
            Sent::Nothing | Sent::Term | Sent::Abrt => false,
            Sent::Int => order.level < Sent::Int && self.now < order.began.after(TIMEOUT),
            Sent::Kill => {
                let graceful = order.began.after(Millis(TIMEOUT.0 + 2_000));
                let soon = order.now_at.map_or(graceful, |at| at.after(Millis(1_000)));
                self.now < graceful.min(soon)
            }
        };
        self.expect(!early, "invariant (no signal is early)");
        let may = sent < Sent::Kill || world.is_ours();
        self.expect(may, "invariant (under main only main sends SIGKILL)");
    }

    fn assert_population(&self, world: &World) {
        let pool = &world.pool;
        let rows = pool.slots.iter().map(|row| (row, false));
        let rows = rows.chain(pool.replacement.iter().map(|row| (row, true)));
        let staying = rows.filter_map(|(row, replaces)| {
            Some((row.worker()?.pid, row.slot, replaces, false, true))
        });
        let leaving = pool.leaving.iter();
        let leaving =
            leaving.map(|it| (it.pid, it.slot, false, it.remaining == Remaining::Rest, false));
        let mut known_to_pool: Vec<_> = staying.chain(leaving).collect();
        let known = |it: Process| (it.pid, it.slot, it.replaces && it.stays(), it.rest, it.stays());
        let mut known: Vec<_> = world.all().map(known).collect();
        known_to_pool.sort_unstable();
        known.sort_unstable();
        self.expect(known_to_pool == known, "invariant (the pool knows all processes)");
        let forking = pool.slots.iter().map(|row| row.state == SlotState::Forking);
        let same = forking.eq(world.slots.iter().map(|truth| truth.forking));
        self.expect(same, "invariant (the pool knows all outstanding forks)");
        let slots = pool.slots.iter().zip(Slot::first(Slot::LAST));
        let counted = slots.into_iter().all(|(row, slot)| {
            let leaving = world.all().filter(|it| it.slot == slot && !it.stays()).count();
            row.leaving as usize == leaving
        });
        self.expect(counted, "invariant (the pool counts the draining workers of a slot)");
        for slot in Slot::first(Slot::LAST).take(world.slots.len()) {
            let few = world.staying(slot).filter(|it| !it.replaces).count() <= 1;
            self.expect(few, "invariant (a slot has at most one worker that stays)");
            let signalled = slot.index() < world.count || world.staying(slot).next().is_none();
            self.expect(signalled, "invariant (workers of removed slots are told to stop)");
        }
    }

    /// The slots with a ready worker and the losses are counted right.
    fn assert_counts(&self, world: &World) {
        let wanted = Slot::first(Slot::LAST).take(world.count);
        let ready = wanted.filter(|slot| world.staying(*slot).any(Process::serves)).count();
        let same = world.pool.ready as usize == ready;
        self.expect(same, "invariant (the ready slots are counted)");
        let wanted = &world.pool.slots[..world.count];
        let same = world.pool.lost == Losses::of(wanted.iter().map(|row| row.lost));
        self.expect(same, "invariant (the losses of the slots are counted)");
        if world.announced != self.before.announced || matches!(self.event, Event::Scale { .. }) {
            return;
        }
        let sum = |world: &World| -> u32 { world.pool.slots.iter().map(|row| row.lost).sum() };
        let counted = (sum(world) - sum(self.before)) as usize;
        let expected = match self.event {
            Event::Exited { pid, exit, .. } => {
                let one = self.before.find(pid).filter(Process::stays);
                let is_said = one.is_some_and(|it| {
                    it.ready_at.is_some() && world.pool.rules.ready_after.is_none()
                });
                let forgiven = exit == Exit::Status(0) && is_said && self.before.announced;
                let lived = one.is_some_and(|it| it.ready_at.is_some()) && !is_said;
                // The model does not keep how it became ready; without a message it is a loss.
                if lived && exit == Exit::Status(0) && self.before.announced {
                    return;
                }
                usize::from(one.is_some() && !forgiven)
            }
            Event::Forked { .. }
            | Event::ForkFailed { .. }
            | Event::Runs { .. }
            | Event::Ready { .. }
            | Event::Busy { .. }
            | Event::GroupEmpty { .. }
            | Event::Scale { .. }
            | Event::Stop
            | Event::StopNow { .. }
            | Event::MainGone
            | Event::Stalled { .. }
            | Event::Timer => {
                let is_ended = |command: &&Command| {
                    matches!(command, Command::Tell(Report::Hung { .. } | Report::Late { .. }))
                };
                self.commands.iter().filter(is_ended).count()
            }
        };
        self.expect(counted == expected, "invariant (every death without a request is a loss)");
    }

    /// The pool escalates for a worker that stops alone, with or without main.
    fn assert_leaving(&self, world: &World) {
        let deadline = world.pool.deadline();
        for latest in world.all().filter_map(Process::next_signal_at) {
            let kept = deadline.is_some_and(|deadline| deadline <= latest);
            self.expect(kept, "invariant (a worker that stops alone has a deadline)");
        }
        if self.event == Event::Timer {
            for before in self.before.all() {
                let after = world.all().find(|it| it.pid == before.pid);
                let due = before.next_signal_at().is_some_and(|at| at <= self.now);
                let done = !due || after.is_some_and(|after| after.sent > before.sent);
                self.expect(done, "invariant (what is due is done)");
            }
        }
    }

    /// Recycling never reduces the number of ready workers, and it makes progress.
    fn assert_replacements(&self, world: &World) {
        if world.order.is_some() {
            return;
        }
        let served = |world: &World, slot: Slot| world.staying(slot).any(Process::serves);
        let died = matches!(self.event, Event::Exited { .. });
        let hung = self
            .commands
            .iter()
            .any(|command| matches!(command, Command::Signal { signal: Signal::Abrt, .. }));
        for slot in Slot::first(u16::try_from(self.before.count.min(world.count)).unwrap_or(0)) {
            let kept = !served(self.before, slot) || served(world, slot);
            self.expect(kept || died || hung, "invariant (recycling loses no ready worker)");
        }
        let wanted = Slot::first(Slot::LAST).take(world.count);
        let due = wanted.filter_map(|slot| world.worker(slot)).filter(|it| it.serves());
        let next = due.filter_map(|it| it.until).min();
        let recycled = world.alive().any(|it| it.reason == StopReason::Recycled && !it.stays());
        match world.pool.replacement {
            None if recycled => {}
            None => {
                let deadline = world.pool.deadline();
                let kept = next.is_none_or(|next| deadline.is_some_and(|at| at <= next));
                self.expect(kept, "invariant (no deadline is lost)");
                let overdue = self.event == Event::Timer && next.is_some_and(|at| at <= self.now);
                self.expect(!overdue, "invariant (what is due is done)");
            }
            Some(row) => {
                let is_there = world.worker(row.slot).is_some();
                self.expect(is_there, "invariant (a replacement has a worker to replace)");
                self.expect(!recycled, "invariant (one worker is recycled at a time)");
                let waits = world.staying(row.slot).any(|it| it.replaces && it.serves());
                self.expect(!waits, "invariant (a ready replacement takes over)");
            }
        }
    }

    fn assert_stop(&self, world: &World) {
        let Some(order) = world.order else {
            return self.expect(!world.finished, "invariant (the pool ends only after a stop)");
        };
        let signalled = world.all().all(|process| process.sent >= order.level);
        self.expect(signalled, "invariant (a stop signals every living process)");
        let due = world.is_empty();
        self.expect(world.finished == due, "invariant (Finish comes when no process is left)");
    }

    /// The pool escalates whenever main does not.
    fn assert_escalation(&self, world: &World) {
        let Some(order) = world.order.filter(|_| !world.finished) else { return };
        let all_killed = world.all().all(|process| process.sent == Sent::Kill);
        let is_empty = world.all().next().is_none();
        if !world.is_ours() || all_killed || is_empty {
            return;
        }
        let name = "invariant (a stop has a deadline)";
        let Some(deadline) = world.pool.deadline() else { return self.expect(false, name) };
        let all_interrupted = world.all().all(|process| process.sent >= Sent::Int);
        let graceful = order.began.after(TIMEOUT);
        let graceful = if all_interrupted { graceful.after(Millis(2_000)) } else { graceful };
        let latest = match order.kill_by {
            Some(by) if order.taken_over => by,
            Some(by) => by.min(graceful),
            None => graceful,
        };
        self.expect(deadline <= latest, "invariant (no deadline of a stop is too late)");
        if self.event == Event::Timer {
            let level = if self.before.is_past_sigint() { Sent::Kill } else { Sent::Int };
            let served = self.before.pool.escalates_at().is_none_or(|due| due > self.now)
                || world.all().all(|process| process.sent >= level);
            self.expect(served, "invariant (what is due is done)");
        }
    }

    /// A forked worker gets its ready timeout.
    fn assert_time_to_be_ready(&self, world: &World) {
        let (before, after) = (self.before.pool.deadline(), world.pool.deadline());
        let limit = world.pool.rules.ready_timeout;
        let stopping = self.before.order.is_some();
        let late = (limit.0 > 0 && !stopping).then_some(self.now.after(limit));
        let kept = after == before.into_iter().chain(late).min();
        self.expect(kept, "invariant (a fork moves no other deadline)");
    }

    /// The earliest deadline is found among those of the blocks.
    fn assert_blocks(&self, world: &World) {
        let mut pool = world.pool.clone();
        pool.note_all_deadlines();
        let same = pool.deadlines == world.pool.deadlines;
        self.expect(same, "invariant (the deadlines of a block are those of its slots)");
    }

    /// Which events may move the next deadline, and where to.
    fn assert_deadline(&self, world: &World) {
        let (before, after) = (self.before.pool.deadline(), world.pool.deadline());
        let name = "invariant (deadlines move only for a stop and lost time)";
        let stopping = self.before.order.is_some() && !world.finished;
        match self.event {
            Event::Stop if stopping => self.expect(before == after, name),
            Event::Stalled { by } => {
                self.expect(after == before.map(|due| due.after(by)), name);
            }
            // A worker forked into a removed slot has a deadline of its own.
            Event::Forked { slot, .. } if slot.index() >= world.count => {
                let kept = before.is_none_or(|before| after.is_some_and(|now| now <= before));
                self.expect(kept || !world.has_room(), name);
            }
            // A ready worker has a lifetime, or takes over from another one.
            Event::Ready { .. } if world.pool.rules.lifetime.0 > 0 => {
                let PoolRules { ready_after, ready_timeout, .. } = self.before.pool.rules;
                let has_lived = ready_after.is_some() || ready_timeout.0 > 0;
                let kept = before.is_none_or(|before| after.is_some_and(|now| now <= before));
                self.expect(kept || has_lived || !world.has_room(), name);
            }
            Event::Forked { .. } => self.assert_time_to_be_ready(world),
            // A worker that is ready by its message needs no deadline for its age.
            Event::Ready { .. } => {
                let kept = before.is_none_or(|before| after.is_none_or(|now| now >= before));
                self.expect(kept, name);
            }
            Event::Runs { .. } => {
                self.expect(before == after || after == Some(self.now.after(LIFE)), name);
            }
            Event::Scale { .. } if stopping => self.expect(before == after, name),
            // The deadline of a worker that stopped alone ends with it.
            Event::Exited { .. } | Event::GroupEmpty { .. }
                if stopping && self.before.all().any(is_alone) =>
            {
                let kept = before.is_none_or(|before| after.is_none_or(|now| now >= before));
                self.expect(kept, name);
            }
            Event::ForkFailed { .. } | Event::Exited { .. } | Event::GroupEmpty { .. }
                if stopping =>
            {
                self.expect(before == after, name);
            }
            Event::MainGone if stopping => {
                let kept = before.is_none_or(|before| after.is_some_and(|now| now <= before));
                self.expect(kept, name);
            }
            // SIGINT was sent, so its deadline is gone.
            Event::StopNow { .. } if self.before.is_past_sigint() => {
                let kept = before.is_none_or(|before| after.is_none_or(|now| now <= before));
                self.expect(kept, name);
            }
            Event::Timer if before.is_none_or(|before| before > self.now) => {
                self.expect(before == after && self.commands.is_empty(), name);
            }
            Event::Stop
            | Event::StopNow { .. }
            | Event::MainGone
            | Event::Scale { .. }
            | Event::ForkFailed { .. }
            | Event::Busy { .. }
            | Event::Exited { .. }
            | Event::GroupEmpty { .. }
            | Event::Timer => {}
        }
    }

    /// Every empty slot is refilled neither early nor late.
    fn assert_refills(&self, world: &World) {
        if world.order.is_some() {
            return;
        }
        let pool = &world.pool;
        for (slot, row) in Slot::first(Slot::LAST).zip(&pool.slots) {
            if slot.index() >= world.count {
                self.expect(row.due().is_none(), "invariant (a retired slot is not filled)");
            } else if world.is_vacant(slot) {
                self.assert_refill(world, row, &world.slots[slot.index()]);
            }
        }
        if let (Some(row), Some((slot, truth))) = (&pool.replacement, &world.replacement)
            && !truth.forking
            && world.staying(*slot).all(|it| !it.replaces)
        {
            self.assert_refill(world, row, truth);
        }
        self.assert_neighbours(world);
    }

    /// A wanted start waits for its back-off, and at most a second for the draining worker of
    /// its slot; other draining workers do not matter.
    fn assert_refill(&self, world: &World, row: &SlotRow, truth: &Truth) {
        let Truth { died_at, wait, .. } = *truth;
        let Some(due) = row.due() else {
            return self.expect(false, "invariant (a wanted start has a time)");
        };
        let is_exact = self.now.since(died_at) < MEMORY;
        let early = is_exact && due < died_at.after(Millis(wait * 3 / 4));
        let late = due > died_at.after(Millis(wait * 5 / 4));
        self.expect(!early && !late, "invariant (the back-off is kept)");
        if !world.has_room() {
            return;
        }
        let held = if world.is_left(row.slot) { HELD } else { Millis(0) };
        let latest = died_at.after(Millis(wait * 5 / 4)).after(held);
        let next = world.pool.deadline();
        self.expect(
            next.is_some_and(|next| next <= latest),
            "invariant (a wanted start waits at most for its back-off and a second)",
        );
        let overdue = self.event == Event::Timer && latest <= self.now;
        self.expect(!overdue, "invariant (what is due is done)");
    }

    /// An event of one slot leaves the others as they were.
    fn assert_neighbours(&self, world: &World) {
        let stay = self.before.count.min(world.count);
        let concerned = match self.event {
            Event::Scale { .. } => None,
            Event::Forked { slot, .. }
            | Event::ForkFailed { slot }
            | Event::Runs { slot, .. }
            | Event::Ready { slot, .. }
            | Event::Busy { slot, .. }
            | Event::Exited { slot, .. } => Some(slot),
            Event::GroupEmpty { pid } => {
                self.before.all().find(|it| it.pid == pid).map(|it| it.slot)
            }
            Event::Stop
            | Event::StopNow { .. }
            | Event::MainGone
            | Event::Stalled { .. }
            | Event::Timer => return,
        };
        let replacement = self.before.pool.replacement;
        let mut kept = replacement.iter().filter(|row| Some(row.slot) != concerned);
        let untouched =
            kept.all(|row| row.slot.index() >= stay || world.pool.replacement == Some(*row));
        self.expect(untouched, "invariant (a worker never disturbs another slot)");
        let rows = self.before.pool.slots.iter().zip(&world.pool.slots);
        let rows = rows.take(if concerned.is_none() { stay } else { usize::MAX });
        let others = rows.filter(|(row, _)| Some(row.slot) != concerned);
        let is_announcing = world.announced != self.before.announced;
        let untouched = others
            .into_iter()
            .all(|(before, after)| before == after || is_announcing && before.state == after.state);
        self.expect(untouched, "invariant (a worker never disturbs another slot)");
    }

    fn assert_readiness(&self, world: &World) {
        let all = world.order.is_none() && world.is_ready();
        let name = "invariant (ready is announced when every slot is ready)";
        if world.announced && !self.before.announced {
            self.expect(all, name);
        }
        self.expect(world.announced || !all, name);
        let owed = world.scaling && all;
        self.expect(!owed, "invariant (a new number is reported once it is reached)");
        let full = self.commands.contains(&Command::Tell(Report::AllReady));
        let is_full = all && self.before.announced && !self.before.is_ready();
        self.expect(
            full == is_full,
            "invariant (AllReady is reported when all slots are ready again)",
        );
        let next = world.pool.deadline();
        let is_kept = |at: Tick| next.is_some_and(|next| next <= at);
        for process in world.alive().filter(|it| it.is_starting() && world.order.is_none()) {
            let is_due = process.lives_until.is_none_or(is_kept);
            self.expect(is_due, "invariant (no deadline is lost)");
            let is_due = process.late_at.is_none_or(is_kept);
            self.expect(is_due, "invariant (a worker not ready in time is ended)");
            let late = process.late_at.is_some_and(|at| at <= self.now);
            let overdue = late && self.event == Event::Timer;
            self.expect(!overdue, "invariant (a worker not ready in time is ended)");
        }
        let reported = self.commands.iter().filter_map(|command| match command {
            Command::Tell(Report::Ready { slot, pid }) => Some((*slot, *pid)),
            Command::Tell(_)
            | Command::Fork { .. }
            | Command::Look
            | Command::Signal { .. }
            | Command::SignalGroup { .. }
            | Command::AnnounceReady
            | Command::Finish { .. } => None,
        });
        let was_starting = |pid: Pid| self.before.find(pid).is_some_and(|it| it.is_starting());
        let ready = world.alive().filter(|it| it.ready_at.is_some() && was_starting(it.pid));
        let ready = ready.map(|it| (it.slot, it.pid));
        let (mut reported, mut ready): (Vec<_>, Vec<_>) = (reported.collect(), ready.collect());
        reported.sort_unstable();
        ready.sort_unstable();
        self.expect(reported == ready, "invariant (each ready worker is reported once)");
    }

    /// Every death and every failed fork is reported correctly.
    fn assert_reports(&self, world: &World) {
        let reported = self.commands.iter().filter_map(|command| match command {
            Command::Tell(report @ (Report::Died { .. } | Report::ForkFailed { .. })) => {
                Some(*report)
            }
            Command::Tell(
                Report::Ready { .. }
                | Report::Scaled { .. }
                | Report::TookOver { .. }
                | Report::Late { .. }
                | Report::AllReady
                | Report::Hung { .. },
            )
            | Command::Fork { .. }
            | Command::Look
            | Command::Signal { .. }
            | Command::SignalGroup { .. }
            | Command::AnnounceReady
            | Command::Finish { .. } => None,
        });
        let reported: Vec<_> = reported.collect();
        let pool = &world.pool;
        let due = |slot: Slot, replaced: bool| {
            let row = if replaced { pool.replacement } else { Some(pool.slots[slot.index()]) };
            row.and_then(|row| pool.starts_at(&row))
        };
        let is_right = match (self.event, reported.as_slice()) {
            (
                Event::Exited { pid, exit, group, .. },
                [
                    Report::Died {
                        slot, pid: of, exit: how, reason: said, next, group: left, ..
                    },
                ],
            ) => {
                let dead = self.before.find(pid);
                let reason = dead.map_or(ExitReason::Unknown, |it| match it.reason {
                    _ if it.stays() => ExitReason::Unknown,
                    StopReason::Hung => ExitReason::Hung,
                    StopReason::Late => ExitReason::Late,
                    // A SIGKILL that the pool did not send has no known reason.
                    _ if exit.is_sigkill() && it.sent < Sent::Kill => ExitReason::Unknown,
                    StopReason::Asked | StopReason::Recycled | StopReason::Orphaned => {
                        ExitReason::Requested
                    }
                });
                let replaced = dead.is_some_and(|it| it.stays() && it.replaces);
                (pid, exit, reason, group) == (*of, *how, *said, *left)
                    && due(*slot, replaced) == *next
            }
            (Event::Exited { pid, .. }, []) => self.before.find(pid).is_none(),
            (Event::ForkFailed { slot }, [Report::ForkFailed { slot: of, next }]) => {
                let replaced = !self.before.slots[slot.index()].forking;
                slot == *of && due(slot, replaced) == *next
            }
            (Event::Exited { .. } | Event::ForkFailed { .. }, _) => false,
            (_, reported) => reported.is_empty(),
        };
        self.expect(is_right, "invariant (every death is reported once and correctly)");
        self.assert_news(world);
    }

    /// SIGABRT, a missed ready timeout and a takeover are reported.
    fn assert_news(&self, world: &World) {
        let aborted = self.commands.iter().filter_map(|command| {
            let Command::Signal { pid, signal: Signal::Abrt } = command else { return None };
            Some(*pid)
        });
        let hung = self.commands.iter().filter_map(|command| {
            let Command::Tell(Report::Hung { pid, .. }) = command else { return None };
            Some(*pid)
        });
        self.expect(aborted.eq(hung), "invariant (every SIGABRT is reported)");
        let reported = self.commands.iter().filter_map(|command| {
            let Command::Tell(Report::Late { pid, .. }) = command else { return None };
            Some(*pid)
        });
        let late = world.all().filter(|it| it.reason == StopReason::Late);
        let late = late.filter(|it| self.before.find(it.pid).is_some_and(|it| it.stays()));
        let (mut reported, late): (Vec<_>, Vec<_>) =
            (reported.collect(), late.map(|it| it.pid).collect());
        reported.sort_unstable();
        self.expect(reported == late, "invariant (every missed ready timeout is reported)");
        let reported = self.commands.iter().filter_map(|command| {
            let Command::Tell(Report::TookOver { slot, pid }) = command else { return None };
            Some((*slot, *pid))
        });
        let replaced = |it: &Process| {
            it.stays() && !it.replaces && self.before.find(it.pid).is_some_and(|it| it.replaces)
        };
        let took_over = world.all().filter(replaced).map(|it| (it.slot, it.pid));
        self.expect(reported.eq(took_over), "invariant (every takeover is reported)");
    }
}

/// Whether it was told to stop without a stop of the whole pool.
const fn is_alone(process: Process) -> bool {
    process.alone.is_some()
}

impl Truth {
    /// A fork or a worker has failed.
    fn fail(&mut self, now: Tick, ready_at: Option<Tick>, backoff: Backoff) {
        let healthy = ready_at.is_some_and(|at| now.since(at) >= Millis(10_000));
        self.deaths = if healthy { 1 } else { self.deaths + 1 };
        self.wait = match self.deaths {
            0 | 1 => 0,
            2 => backoff.delay.0,
            3.. => backoff.max_delay.0,
        };
        (self.died_at, self.forking) = (now, false);
        self.recycled = false;
    }

    /// A ready worker has exited with status 0, which is no failure.
    fn recycle(&mut self, now: Tick, ready_at: Tick, backoff: Backoff) {
        let healthy = now.since(ready_at) >= Millis(10_000);
        self.deaths = if healthy { 0 } else { self.deaths };
        let again = core::mem::replace(&mut self.recycled, true);
        self.wait = if healthy || !again { 0 } else { backoff.delay.0 };
        self.died_at = now;
    }
}

/// Makes times relative to `now`, the same moment in every state.
fn forget_the_time_of(row: &mut SlotRow, now: Tick) {
    match &mut row.state {
        SlotState::Empty { due } => *due = kept(*due, now),
        SlotState::Taken(worker) => {
            // Only reports show it, and those have been checked.
            worker.since = NOW;
            match &mut worker.stage {
                WorkerStage::MinUptime { until, late_at } => {
                    *until = kept(*until, now);
                    *late_at = due_or_later(*late_at, now);
                }
                WorkerStage::Ready { at, until, .. } => {
                    *at = young_or_old(*at, now);
                    *until = due_or_later(*until, now);
                }
                WorkerStage::Starting { late_at } => *late_at = due_or_later(*late_at, now),
            }
        }
        SlotState::Forking | SlotState::Retired => {}
    }
}

impl World {
    fn ordered(&mut self, level: Sent, now: Tick) {
        if self.finished {
            return;
        }
        let fresh = Order { level, began: now, now_at: None, kill_by: None, taken_over: false };
        let order = self.order.get_or_insert(fresh);
        order.level = order.level.max(level);
        self.end_replacement();
    }

    /// Whether every slot has a ready worker that stays.
    fn is_ready(&self) -> bool {
        let mut slots = Slot::first(Slot::LAST).take(self.count);
        slots.all(|slot| self.staying(slot).any(Process::serves))
    }

    /// The process of this slot, if it has this pid.
    fn process_of(&mut self, slot: Slot, pid: Pid) -> Option<&mut Process> {
        (self.slot_of(pid) == Some(slot)).then(|| self.process_mut(pid))
    }

    /// The replacement is given up; an outstanding fork becomes the slot's own.
    fn end_replacement(&mut self) {
        if let Some((slot, truth)) = self.replacement.take() {
            self.slots[slot.index()].forking |= truth.forking;
        }
    }

    /// The worker of a slot is gone: its replacement becomes the slot's worker.
    fn take_over(&mut self, slot: Slot) {
        if self.replacement.is_none_or(|(of, _)| of != slot) {
            return;
        }
        self.end_replacement();
        let replaces = |it: &&mut Process| it.slot == slot && it.replaces && it.stays();
        if let Some(it) = self.processes.iter_mut().find(replaces) {
            it.replaces = false;
        }
    }

    /// It was told to stop without a stop of the whole pool, with deadlines of its own.
    fn leave_alone(&mut self, pid: Pid, reason: StopReason, now: Tick) {
        let backoff = self.pool.rules.backoff;
        let process = self.process_mut(pid);
        let (slot, replaces, ready_at) = (process.slot, process.replaces, process.ready_at);
        (process.alone, process.reason, process.ready_at) = (Some(now), reason, None);
        match reason {
            StopReason::Asked | StopReason::Orphaned => {}
            StopReason::Recycled => self.take_over(slot),
            StopReason::Hung | StopReason::Late if replaces => {
                let Some((_, truth)) = &mut self.replacement else { return };
                truth.fail(now, ready_at, backoff);
            }
            StopReason::Hung | StopReason::Late => {
                self.slots[slot.index()].fail(now, ready_at, backoff);
                self.take_over(slot);
            }
        }
    }

    /// Changes the wanted number of slots; after a stop it does nothing.
    fn scale(&mut self, now: Tick, count: usize) {
        if self.order.is_some() {
            return;
        }
        for truth in self.slots.iter_mut().skip(self.count).filter(|truth| !truth.forking) {
            *truth = Truth { odd: truth.odd, died_at: now, ..NEW };
        }
        let length = self.slots.len().max(count);
        self.slots.resize(length, Truth { died_at: now, ..NEW });
        self.count = count;
        self.scaling = true;
        if self.replacement.is_some_and(|(slot, _)| slot.index() >= count) {
            self.end_replacement();
        }
    }

    fn set_kill_deadline(&mut self, by: Tick) {
        if let Some(order) = &mut self.order {
            order.kill_by = Some(order.kill_by.map_or(by, |before| before.min(by)));
        }
    }

    /// All deadlines move by the time that was lost.
    fn postpone(&mut self, now: Tick, by: Millis) {
        if let Some(order) = &mut self.order {
            order.began = order.began.after(by);
            order.now_at = order.now_at.map(|at| at.after(by));
            order.kill_by = order.kill_by.map(|at| at.after(by));
        }
        for truth in self.all_slots_mut() {
            truth.died_at = truth.died_at.after(by);
        }
        for process in &mut self.processes {
            process.alone = process.alone.map(|at| at.after(by));
            process.until = process.until.map(|at| at.after(by));
            process.busy = process.busy.map(|(on, _)| (on, now));
            process.lives_until = process.lives_until.map(|until| until.after(by));
            process.late_at = process.late_at.map(|at| at.after(by));
        }
    }
}

/// Walks from one initial state and returns the number of states.
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
fn pool_keeps_all_invariants() {
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
fn scaled_pool_keeps_all_invariants() {
    let equal = Authority::Main { timeout: TIMEOUT };
    let mut beside = World::new(2, 2, equal, About::Nothing, None);
    beside.pool.rules.rows += 1;
    let states = walk(2, 2, Authority::Own) + walk_from(beside);
    assert!(states > 20_000, "the walk was trivial: {states} states");
    std::println!("scaled pool: walked {states} states");
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of states is the result")]
fn pool_with_ready_after_keeps_all_invariants() {
    let equal = Authority::Main { timeout: TIMEOUT };
    let both = [Authority::Own, equal];
    let world =
        |count, most, authority, about| World::new(count, most, authority, about, Some(LIFE));
    let alone = both.map(|authority| world(1, 0, authority, About::Nothing));
    let scaled = [world(2, 2, equal, About::Nothing)];
    let recycled = [world(1, 0, equal, About::Lifetime)];
    let states: usize = alone.into_iter().chain(scaled).chain(recycled).map(walk_from).sum();
    assert!(states > 20_000, "the walk was trivial: {states} states");
    std::println!("living pool: walked {states} states");
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of states is the result")]
fn pool_with_lifetime_keeps_all_invariants() {
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
fn pool_with_hanging_workers_keeps_all_invariants() {
    let about = About::Hang;
    let equal = Authority::Main { timeout: TIMEOUT };
    let states = walk_about(1, 0, Authority::Own, about) + walk_about(1, 0, equal, about);
    let states = states + walk_about(2, 0, Authority::Own, about);
    let states = states + walk_about(1, 0, equal, About::Both);
    assert!(states > 20_000, "the walk was trivial: {states} states");
    std::println!("hanging pool: walked {states} states");
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of states is the result")]
fn pool_with_process_groups_keeps_all_invariants() {
    let about = About::Groups;
    let equal = Authority::Main { timeout: TIMEOUT };
    let states = walk_about(1, 0, Authority::Own, about) + walk_about(1, 0, equal, about);
    assert!(states > 1_000, "the walk was trivial: {states} states");
    std::println!("pool with groups: walked {states} states");
}

#[test]
#[expect(clippy::print_stdout, reason = "the number of states is the result")]
fn pool_with_late_workers_keeps_all_invariants() {
    let about = About::Late;
    let equal = Authority::Main { timeout: TIMEOUT };
    let states = walk_about(1, 0, Authority::Own, about) + walk_about(1, 0, equal, about);
    assert!(states > 1_000, "the walk was trivial: {states} states");
    std::println!("late pool: walked {states} states");
}
