//! The library monitor's decisions about its workers.
//!
//! Keeps every slot filled until told to stop, then empties them all: SIGTERM
//! at once, SIGINT when the timeout is over, SIGKILL two seconds after that. A
//! worker gets each of the three at most once, and never one that was reaped.
//!
//! Who escalates a stop is the [`Authority`]'s question. Under main the outer
//! clock is main's: the times run here too, but nobody acts on them unless they
//! are shorter than main's, a stranger orders the stop, or main is gone.
//!
//! Pure: no system call, no clock, no log. The monitor performs what this
//! decides, in order, and reports back what came of it. It sends
//! [`Event::Timer`] when the deadline has passed, and after everything else that
//! woke it: only the timer forks, so whoever dies by the stop that is about to
//! be read is not replaced.
//!
//! Every worker that leaves unasked is replaced, with whatever status it left,
//! and its slot alone waits by its own [`Streak`](crate::plan::backoff::Streak).
//!
//! The number of slots may change. Whoever is in one too many leaves alone, by
//! the times of a stop that concerns nobody else, and we act on these whoever
//! is above: main knows nothing of it. A stop of all brings these times forward
//! and never moves them back. A slot that is wanted again waits for who leaves.
//!
//! Every event costs time linear in the number of slots, most of them less.
//!
//! * `row`: one slot.
//! * `heir`: who takes the place of a worker that is recycled.
//! * `hang`: who is busy for too long.
//! * `ready`: who serves, by his word or because he has lived so long.
//! * `stop`: how it ends.

mod hang;
mod heir;
mod ready;
mod row;
mod stop;
mod words;

pub use words::{Action, Authority, Event, Report, Rules, Sender};

use crate::types::{Exit, Millis, Pid, Slot, Tick, Why};
use alloc::vec::Vec;
use hang::Watch;
use row::{Place, Row, Stage, Told, Worker};

/// From the SIGINT of a graceful stop to its SIGKILL.
const KILL_AFTER_TIMEOUT: Millis = Millis(2_000);
/// From the SIGINT of a stop-now to its SIGKILL.
const KILL_AFTER_STOP_NOW: Millis = Millis(1_000);
/// From the SIGABRT of a worker that hangs to its SIGKILL.
const KILL_AFTER_ABORT: Millis = Millis(1_000);
/// The most forks between two looks at the world: with thousands of slots to
/// fill, a stop must not wait for the last of them.
const FORKS_AT_ONCE: usize = 32;

/// What all slots are about. The times are kept whoever's clock counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Course {
    /// Every slot is to be full.
    Serving,
    /// Everybody was sent SIGTERM.
    Draining { interrupt_at: Tick },
    /// Everybody was sent SIGINT.
    Interrupted { kill_at: Tick },
    /// Everybody was sent SIGKILL.
    Killed,
    /// Nobody is left.
    Finished,
}

impl Course {
    /// What a worker that appears only now is sent at once.
    const fn told(self) -> Option<Told> {
        match self {
            Self::Serving | Self::Finished => None,
            Self::Draining { .. } => Some(Told::Term),
            Self::Interrupted { .. } => Some(Told::Int),
            Self::Killed => Some(Told::Kill),
        }
    }
}

/// Whose clock escalates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Clock {
    Ours,
    Mains,
}

/// The workers of one monitor, and what becomes of them.
///
/// There is a row for every slot that there ever was; those beyond the number
/// of now are closed, or empty themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    rules: Rules,
    rows: Vec<Row>,
    /// Who is to follow whoever is in its slot; there is somebody there then.
    heir: Option<Row>,
    watch: Watch,
    course: Course,
    clock: Clock,
    announced: bool,
    /// Whether it is still to be told that a new number is reached.
    scaling: bool,
    killed: bool,
}

impl Pool {
    /// A pool whose slots are all empty and due: its deadline is `now`.
    pub fn new(rules: Rules, authority: Authority, now: Tick) -> Self {
        let clock = match authority {
            Authority::Main { timeout } if rules.timeout >= timeout => Clock::Mains,
            Authority::Main { .. } | Authority::Own => Clock::Ours,
        };
        let mut pool = Self {
            rules,
            rows: Vec::new(),
            heir: None,
            watch: Watch::new(now),
            course: Course::Serving,
            clock,
            announced: false,
            scaling: false,
            killed: false,
        };
        pool.lengthen(now);
        pool
    }

    /// Adds the rows that are missing, empty and due.
    fn lengthen(&mut self, now: Tick) {
        let seed = self.rules.seed;
        let missing = Slot::first(self.rules.count).skip(self.rows.len());
        self.rows.extend(
            missing.map(|slot| Row::new(slot, seed.wrapping_add(u32::from(slot.number())), now)),
        );
    }

    /// Takes in what happened at `now` and appends what is to be done.
    ///
    /// # Panics
    ///
    /// When a fork is reported that was not asked for.
    pub fn step(&mut self, now: Tick, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Forked { slot, pid } => self.adopt(now, slot, pid, actions),
            Event::ForkFailed { slot } => self.miss(now, slot, actions),
            Event::Runs { slot, pid } => self.begin_to_live(now, slot, pid),
            Event::Ready { slot, pid } => self.welcome(now, slot, pid, actions),
            Event::Busy { slot, pid, since } => self.see(now, slot, pid, since, actions),
            Event::Exited { pid, exit } => self.bury(now, pid, exit, actions),
            Event::Scale { count } => self.scale(now, count, actions),
            Event::Stop => self.drain(now, actions),
            Event::StopNow { by } => self.interrupt(now, by, actions),
            Event::MainGone => {
                self.clock = Clock::Ours;
                self.drain(now, actions);
            }
            Event::Overslept { by } => self.postpone(now, by),
            Event::Timer => self.wake(now, actions),
        }
        self.finish_if_empty(actions);
    }

    /// When [`Event::Timer`] is due; `None`: only another event can wake us.
    pub fn deadline(&self) -> Option<Tick> {
        let of_all = [self.escalates_at(), self.recycles_at(), self.looks_at()];
        let first = of_all.into_iter().flatten().min();
        self.all_rows().filter_map(Row::deadline).chain(first).min()
    }

    /// When a stop goes one step further by our clock.
    const fn escalates_at(&self) -> Option<Tick> {
        match self.course {
            Course::Draining { interrupt_at: at } | Course::Interrupted { kill_at: at }
                if matches!(self.clock, Clock::Ours) =>
            {
                Some(at)
            }
            Course::Serving
            | Course::Draining { .. }
            | Course::Interrupted { .. }
            | Course::Killed
            | Course::Finished => None,
        }
    }

    /// The rows of everybody that there is.
    fn all_rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().chain(&self.heir)
    }

    /// The same, to change.
    fn all_rows_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.rows.iter_mut().chain(&mut self.heir)
    }

    /// The rows of the slots that are wanted.
    fn wanted(&self) -> &[Row] {
        &self.rows[..usize::from(self.rules.count)]
    }

    /// Whether a stop has begun: the next SIGINT then means now.
    pub const fn is_stopping(&self) -> bool {
        !matches!(self.course, Course::Serving)
    }

    /// Whether every slot had a ready worker once.
    pub const fn was_ready(&self) -> bool {
        self.announced
    }

    /// The worker in `slot`; `None` when nobody is there.
    pub fn worker(&self, slot: Slot) -> Option<Pid> {
        Some(self.rows.get(slot.index())?.worker()?.pid)
    }

    /// The number of slots that there ever were.
    pub const fn slots(&self) -> usize {
        self.rows.len()
    }

    /// All workers that were not reaped.
    pub fn pids(&self) -> Vec<Pid> {
        self.all_rows().filter_map(|row| Some(row.worker()?.pid)).collect()
    }

    /// Whether `pid` is one of them.
    pub fn employs(&self, pid: Pid) -> bool {
        self.all_rows().any(|row| row.employs(pid))
    }

    /// A fork made `pid`. One that comes after the stop hears of it at once, and
    /// so does one whose slot is not wanted any more.
    fn adopt(&mut self, now: Tick, slot: Slot, pid: Pid, actions: &mut Vec<Action>) {
        let told = self.course.told();
        let (is_wanted, timeout) = (slot.number() <= self.rules.count, self.rules.timeout);
        let row = self.forking(slot);
        row.place = Place::Taken(Worker { pid, since: now, stage: Stage::Starting });
        if let Some(told) = told {
            row.tell(told, actions);
        } else if !is_wanted {
            row.remove(now.after(timeout), actions);
        }
    }

    /// A fork made nothing, which counts as a death without health.
    fn miss(&mut self, now: Tick, slot: Slot, actions: &mut Vec<Action>) {
        let is_heir = self.rows[slot.index()].place != Place::Forking;
        self.forking(slot);
        let next = if is_heir {
            self.lose_heir(now, None, false)
        } else {
            self.vacate(slot.index(), now, None, false)
        };
        actions.push(Action::Tell(Report::ForkFailed { slot, next }));
    }

    /// The row of a slot whose fork is outstanding.
    fn forking(&mut self, slot: Slot) -> &mut Row {
        let is_it = |row: &&mut Row| row.slot == slot && row.place == Place::Forking;
        let row = self.all_rows_mut().find(is_it);
        row.unwrap_or_else(|| panic!("slot {slot} is not being filled"))
    }

    /// The row of this worker, if it is in that slot.
    fn row_of(&mut self, slot: Slot, pid: Pid) -> Option<&mut Row> {
        let own = self.rows.get_mut(slot.index());
        own.into_iter().chain(&mut self.heir).find(|row| row.slot == slot && row.employs(pid))
    }

    /// The worker `pid` was reaped: reports it and has its slot filled again.
    fn bury(&mut self, now: Tick, pid: Pid, exit: Exit, actions: &mut Vec<Action>) {
        let Some(row) = self.all_rows().find(|row| row.employs(pid)).copied() else { return };
        let (slot, Some(worker)) = (row.slot, row.worker()) else { return };
        let (ready_at, told, why) = match worker.stage {
            Stage::Starting | Stage::Living { .. } => (None, None, Why::Unknown),
            Stage::Ready { at, .. } => (Some(at), None, Why::Unknown),
            Stage::Leaving { told, why, .. } => (None, Some(told), why),
        };
        // One that left by itself while SIGKILL was on its way needed none.
        self.killed |= self.is_stopping() && told == Some(Told::Kill) && exit.is_sigkill();
        let asked = why == Why::Asked;
        let is_heir = self.heir.is_some_and(|heir| heir.employs(pid));
        let (next, follower) = if is_heir {
            (self.lose_heir(now, ready_at, asked), None)
        } else {
            self.vacate(slot.index(), now, ready_at, asked);
            let follower = self.succeed(slot, asked);
            (self.rows[slot.index()].due(), follower)
        };
        let lived = now.since(worker.since);
        actions.push(Action::Tell(Report::Died { slot, pid, exit, lived, why, next }));
        if let Some(pid) = follower {
            actions.push(Action::Tell(Report::Inherited { slot, pid }));
        }
    }

    /// Empties a slot and says when it will be filled again.
    fn vacate(
        &mut self,
        index: usize,
        now: Tick,
        ready_at: Option<Tick>,
        asked: bool,
    ) -> Option<Tick> {
        let is_wanted = !self.is_stopping() && index < usize::from(self.rules.count);
        let row = &mut self.rows[index];
        if !is_wanted {
            row.close();
        } else if asked {
            row.open(now);
        } else {
            row.vacate(now, ready_at, self.rules.backoff);
        }
        row.due()
    }

    /// Has another number of slots: empties those beyond it, each by itself, and
    /// opens those that are missing.
    fn scale(&mut self, now: Tick, count: u16, actions: &mut Vec<Action>) {
        if self.is_stopping() {
            return;
        }
        self.rules.count = count;
        self.lengthen(now);
        let interrupt_at = now.after(self.rules.timeout);
        let (wanted, others) = self.rows.split_at_mut(usize::from(count));
        for row in wanted.iter_mut().filter(|row| row.place == Place::Closed) {
            row.open(now);
        }
        others.iter_mut().for_each(|row| row.remove(interrupt_at, actions));
        self.remove_heir(interrupt_at, actions);
        self.scaling = true;
        self.tell_if_ready(actions);
    }

    /// Moves every deadline back.
    fn postpone(&mut self, now: Tick, by: Millis) {
        match &mut self.course {
            Course::Draining { interrupt_at: at } | Course::Interrupted { kill_at: at } => {
                *at = at.after(by);
            }
            Course::Serving | Course::Killed | Course::Finished => {}
        }
        self.all_rows_mut().for_each(|row| row.postpone(by));
        self.watch.postpone(now, by);
    }

    /// Does what is due at `now`, if the deadline has passed.
    fn wake(&mut self, now: Tick, actions: &mut Vec<Action>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let escalates = self.escalates_at().is_some_and(|at| at <= now);
        self.all_rows_mut().for_each(|row| row.press(now, actions));
        self.welcome_living(now, actions);
        match self.course {
            Course::Serving => {
                self.recycle(now);
                self.refill(now, actions);
                self.look(now, actions);
            }
            Course::Draining { interrupt_at } if escalates => {
                let kill_at = interrupt_at.after(KILL_AFTER_TIMEOUT);
                self.course = Course::Interrupted { kill_at };
                self.tell_all(Told::Int, actions);
            }
            Course::Interrupted { .. } if escalates => {
                self.course = Course::Killed;
                self.tell_all(Told::Kill, actions);
            }
            Course::Draining { .. }
            | Course::Interrupted { .. }
            | Course::Killed
            | Course::Finished => {}
        }
    }

    /// Forks for the slots that are due, a limited number at a time.
    fn refill(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let rows = self.rows.iter_mut().map(|row| (row, false));
        let all = rows.chain(self.heir.iter_mut().map(|row| (row, true)));
        let due = all.filter(|(row, _)| row.due().is_some_and(|due| due <= now));
        for (row, heir) in due.take(FORKS_AT_ONCE) {
            row.place = Place::Forking;
            actions.push(Action::Fork { slot: row.slot, heir });
        }
    }
}

#[cfg(test)]
#[path = "../../tests/walk/pool.rs"]
mod walk;

#[cfg(test)]
mod tests {
    use super::{Action, Authority, Event, Pool, Report, Rules, Sender};
    use crate::types::{Backoff, Exit, Millis, Pid, Signal, Slot, Tick, Why};
    use alloc::vec::Vec;

    const MAIN: Authority = Authority::Main { timeout: Millis(60_000) };

    const fn pid(raw: i32) -> Pid {
        Pid::new(raw).expect("tests use positive numbers")
    }

    const fn slot(number: u16) -> Slot {
        Slot::new(number).expect("tests use slots from 1")
    }

    /// A pool of empty slots, made at 0.
    fn pool_of(count: u16, authority: Authority, timeout: Millis) -> Pool {
        Pool::new(rules(count, timeout), authority, Tick(0))
    }

    fn rules(count: u16, timeout: Millis) -> Rules {
        let backoff = Backoff { delay: Millis(100), max_delay: Millis(30_000) };
        Rules {
            count,
            timeout,
            backoff,
            ready_after: None,
            hang: Millis(0),
            lifetime: Millis(0),
            seed: 1,
        }
    }

    const fn fork(number: u16) -> Action {
        Action::Fork { slot: slot(number), heir: false }
    }

    const fn fork_heir(number: u16) -> Action {
        Action::Fork { slot: slot(number), heir: true }
    }

    /// A pool with these workers, forked at 0 and ready at 100, in slots from 1.
    fn serving(workers: &[i32], authority: Authority, timeout: Millis) -> Pool {
        let count = u16::try_from(workers.len()).expect("tests have few workers");
        let mut pool = pool_of(count, authority, timeout);
        at(&mut pool, 0, Event::Timer);
        for (slot, worker) in Slot::first(count).zip(workers) {
            at(&mut pool, 0, Event::Forked { slot, pid: pid(*worker) });
            at(&mut pool, 100, Event::Ready { slot, pid: pid(*worker) });
        }
        pool
    }

    /// What the pool does about one event at this moment.
    fn at(pool: &mut Pool, now: u64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        pool.step(Tick(now), event, &mut actions);
        actions
    }

    /// What the pool sends when its deadline comes, which must be at `now`.
    fn at_deadline(pool: &mut Pool, now: u64) -> Vec<Action> {
        assert_eq!(pool.deadline(), Some(Tick(now)));
        assert_eq!(at(pool, now - 1, Event::Timer), [], "too early");
        at(pool, now, Event::Timer)
    }

    const fn signal(worker: i32, signal: Signal) -> Action {
        Action::Signal { pid: pid(worker), signal }
    }

    const fn tell_ready(number: u16, worker: i32) -> Action {
        Action::Tell(Report::Ready { slot: slot(number), pid: pid(worker) })
    }

    const fn exited(worker: i32) -> Event {
        Event::Exited { pid: pid(worker), exit: Exit::Status(0) }
    }

    const fn shot(worker: i32, number: u8) -> Event {
        Event::Exited { pid: pid(worker), exit: Exit::Signal { number, core: false } }
    }

    fn next_of(actions: &[Action]) -> Option<Tick> {
        let [Action::Tell(Report::Died { next, .. } | Report::ForkFailed { next, .. })] = actions
        else {
            panic!("expected one report: {actions:?}")
        };
        *next
    }

    /// RATIONALE 2.5
    #[test]
    fn every_slot_is_filled_at_once_and_readiness_is_announced_once() {
        let mut pool = pool_of(2, Authority::Own, Millis(60_000));
        let forks = [fork(1), fork(2)];
        assert_eq!(pool.deadline(), Some(Tick(0)));
        assert_eq!(at(&mut pool, 0, Event::Timer), forks);
        assert_eq!(pool.deadline(), None);

        at(&mut pool, 6, Event::Forked { slot: slot(1), pid: pid(11) });
        at(&mut pool, 6, Event::Forked { slot: slot(2), pid: pid(12) });
        let ready = Event::Ready { slot: slot(1), pid: pid(11) };
        assert_eq!(at(&mut pool, 50, ready), [tell_ready(1, 11)]);
        let ready = Event::Ready { slot: slot(2), pid: pid(12) };
        assert_eq!(at(&mut pool, 60, ready), [tell_ready(2, 12), Action::AnnounceReady]);
        assert_eq!(at(&mut pool, 61, ready), []);
    }

    /// A pool of two workers, 11 and 12, forked at 0, that have to live for a second.
    fn living() -> Pool {
        let mut pool = pool_of(2, Authority::Own, Millis(60_000));
        pool.rules.ready_after = Some(Millis(1_000));
        at(&mut pool, 0, Event::Timer);
        at(&mut pool, 0, Event::Forked { slot: slot(1), pid: pid(11) });
        at(&mut pool, 0, Event::Forked { slot: slot(2), pid: pid(12) });
        pool
    }

    #[test]
    fn who_has_to_live_for_some_time_is_ready_that_long_after_its_exec() {
        let mut pool = living();
        assert_eq!(pool.deadline(), None);
        assert_eq!(at(&mut pool, 300, Event::Runs { slot: slot(1), pid: pid(11) }), []);
        assert_eq!(at(&mut pool, 700, Event::Runs { slot: slot(2), pid: pid(12) }), []);
        assert_eq!(at(&mut pool, 900, Event::Runs { slot: slot(1), pid: pid(11) }), []);
        assert_eq!(at_deadline(&mut pool, 1_300), [tell_ready(1, 11)]);
        assert_eq!(at_deadline(&mut pool, 1_700), [tell_ready(2, 12), Action::AnnounceReady]);
        assert_eq!(pool.deadline(), None);
    }

    #[test]
    fn who_dies_before_that_was_never_ready_and_who_says_so_need_not_wait() {
        let mut pool = living();
        at(&mut pool, 300, Event::Runs { slot: slot(1), pid: pid(11) });
        at(&mut pool, 300, Event::Runs { slot: slot(2), pid: pid(12) });
        let ready = Event::Ready { slot: slot(2), pid: pid(12) };
        assert_eq!(at(&mut pool, 400, ready), [tell_ready(2, 12)]);
        assert_eq!(next_of(&at(&mut pool, 1_299, exited(11))), Some(Tick(1_299)));
        assert_eq!(at_deadline(&mut pool, 1_299), [fork(1)]);
        at(&mut pool, 1_299, Event::Forked { slot: slot(1), pid: pid(13) });
        assert_eq!(at(&mut pool, 1_299, Event::Runs { slot: slot(1), pid: pid(11) }), []);
        assert_eq!(pool.deadline(), None);
        at(&mut pool, 1_300, Event::Runs { slot: slot(1), pid: pid(13) });
        assert_eq!(at_deadline(&mut pool, 2_300), [tell_ready(1, 13), Action::AnnounceReady]);
    }

    #[test]
    fn who_is_told_to_leave_has_nothing_to_live_for() {
        let mut pool = living();
        at(&mut pool, 300, Event::Runs { slot: slot(1), pid: pid(11) });
        at(&mut pool, 400, Event::Stop);
        at(&mut pool, 500, Event::Runs { slot: slot(2), pid: pid(12) });
        assert_eq!(pool.deadline(), Some(Tick(60_400)));
    }

    #[test]
    fn readiness_is_believed_only_of_the_worker_in_that_slot() {
        let mut pool = pool_of(1, Authority::Own, Millis(60_000));
        at(&mut pool, 0, Event::Timer);
        at(&mut pool, 0, Event::Forked { slot: slot(1), pid: pid(11) });
        for (number, worker) in [(1, 12), (2, 11), (16_383, 11)] {
            let gossip = Event::Ready { slot: slot(number), pid: pid(worker) };
            assert_eq!(at(&mut pool, 1, gossip), []);
        }
    }

    #[test]
    fn a_worker_that_leaves_unasked_is_replaced_at_once_and_then_later_and_later() {
        let mut pool = serving(&[11, 12], Authority::Own, Millis(60_000));
        let died = Report::Died {
            slot: slot(2),
            pid: pid(12),
            exit: Exit::Status(0),
            lived: Millis(5_000),
            why: Why::Unknown,
            next: Some(Tick(5_000)),
        };
        assert_eq!(at(&mut pool, 5_000, exited(12)), [Action::Tell(died)]);
        assert_eq!(at_deadline(&mut pool, 5_000), [fork(2)]);

        at(&mut pool, 5_000, Event::Forked { slot: slot(2), pid: pid(13) });
        let next = next_of(&at(&mut pool, 5_010, shot(13, 11))).expect("it is replaced");
        assert!((Tick(5_085)..=Tick(5_135)).contains(&next), "{next:?}");
        assert_eq!(at_deadline(&mut pool, next.0), [fork(2)]);
    }

    #[test]
    fn a_worker_that_was_healthy_for_long_is_replaced_at_once_again() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 200, exited(11));
        at(&mut pool, 200, Event::Timer);
        at(&mut pool, 200, Event::Forked { slot: slot(1), pid: pid(12) });
        at(&mut pool, 300, Event::Ready { slot: slot(1), pid: pid(12) });
        assert_eq!(next_of(&at(&mut pool, 10_300, exited(12))), Some(Tick(10_300)));
    }

    #[test]
    fn one_bad_worker_never_delays_another_slot() {
        let mut pool = serving(&[11, 12], Authority::Own, Millis(60_000));
        for (now, worker) in [(200, 21), (300, 22), (500, 23), (900, 24)] {
            let previous = if worker == 21 { 12 } else { worker - 1 };
            let next = next_of(&at(&mut pool, now, exited(previous))).expect("it is replaced");
            at(&mut pool, next.0, Event::Timer);
            at(&mut pool, next.0, Event::Forked { slot: slot(2), pid: pid(worker) });
        }
        assert_eq!(next_of(&at(&mut pool, 1_500, exited(11))), Some(Tick(1_500)));
    }

    #[test]
    fn a_fork_that_fails_is_tried_again_at_once_and_then_waits() {
        let mut pool = pool_of(1, Authority::Own, Millis(60_000));
        let failed = Event::ForkFailed { slot: slot(1) };
        assert_eq!(at(&mut pool, 0, Event::Timer), [fork(1)]);
        assert_eq!(next_of(&at(&mut pool, 0, failed)), Some(Tick(0)));
        assert_eq!(at(&mut pool, 0, Event::Timer), [fork(1)]);
        let next = next_of(&at(&mut pool, 0, failed)).expect("it is tried again");
        assert!(next >= Tick(75), "{next:?}");
    }

    /// RATIONALE 2.4
    #[test]
    fn many_forks_leave_room_for_a_stop_between_them() {
        let mut pool = pool_of(100, Authority::Own, Millis(60_000));
        assert_eq!(at(&mut pool, 0, Event::Timer).len(), 32);
        assert_eq!(pool.deadline(), Some(Tick(0)));
        assert_eq!(at(&mut pool, 1, Event::Stop), []);
        assert_eq!(pool.deadline(), Some(Tick(60_001)));
        assert_eq!(at(&mut pool, 1, Event::Timer), []);
    }

    #[test]
    fn a_stubborn_worker_is_interrupted_when_its_minute_is_up_and_killed_two_seconds_later() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        assert_eq!(at(&mut pool, 5_000, Event::Stop), [signal(11, Signal::Term)]);
        assert_eq!(at_deadline(&mut pool, 65_000), [signal(11, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 67_000), [signal(11, Signal::Kill)]);
        assert_eq!(pool.deadline(), None);
        let report = Report::Died {
            slot: slot(1),
            pid: pid(11),
            exit: Exit::Signal { number: 9, core: false },
            lived: Millis(67_001),
            why: Why::Asked,
            next: None,
        };
        let end = [Action::Tell(report), Action::Finish { killed: true }];
        assert_eq!(at(&mut pool, 67_001, shot(11, 9)), end);
    }

    #[test]
    fn who_leaves_by_itself_before_the_kill_arrives_was_not_killed() {
        let mut pool = serving(&[11], Authority::Own, Millis(0));
        at(&mut pool, 200, Event::Stop);
        at(&mut pool, 200, Event::Timer);
        assert_eq!(at_deadline(&mut pool, 2_200), [signal(11, Signal::Kill)]);
        let end = at(&mut pool, 2_201, exited(11));
        assert_eq!(end.last(), Some(&Action::Finish { killed: false }));
    }

    #[test]
    fn a_second_stop_gives_nobody_more_time() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, Event::Stop);
        assert_eq!(at(&mut pool, 40_000, Event::Stop), []);
        assert_eq!(pool.deadline(), Some(Tick(61_000)));
    }

    #[test]
    fn the_stop_is_complete_when_the_last_worker_is_reaped() {
        let mut pool = serving(&[11, 12], Authority::Own, Millis(60_000));
        let terms = [signal(11, Signal::Term), signal(12, Signal::Term)];
        assert_eq!(at(&mut pool, 1_000, Event::Stop), terms);
        assert_eq!(next_of(&at(&mut pool, 1_001, exited(12))), None);
        let end = at(&mut pool, 1_002, exited(11));
        assert_eq!(end.last(), Some(&Action::Finish { killed: false }));
        assert_eq!(at(&mut pool, 1_003, Event::Stop), []);
        assert_eq!(at(&mut pool, 1_003, Event::StopNow { by: Sender::Stranger }), []);
    }

    #[test]
    fn nobody_is_forked_for_a_slot_that_was_waiting_when_the_stop_came() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, exited(11));
        assert_eq!(at(&mut pool, 1_000, Event::Stop), [Action::Finish { killed: false }]);
        assert_eq!(at(&mut pool, 1_000, Event::Timer), []);
        assert_eq!(pool.deadline(), None);
    }

    #[test]
    fn a_worker_that_appears_during_the_stop_is_told_at_once() {
        let mut pool = pool_of(2, Authority::Own, Millis(60_000));
        at(&mut pool, 0, Event::Timer);
        assert_eq!(at(&mut pool, 0, Event::Stop), []);
        let forked = Event::Forked { slot: slot(1), pid: pid(11) };
        assert_eq!(at(&mut pool, 1, forked), [signal(11, Signal::Term)]);
        assert_eq!(next_of(&at(&mut pool, 1, Event::ForkFailed { slot: slot(2) })), None);
    }

    #[test]
    fn stop_now_interrupts_at_once_and_kills_a_second_later() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, Event::Stop);
        let stop_now = Event::StopNow { by: Sender::Stranger };
        assert_eq!(at(&mut pool, 3_000, stop_now), [signal(11, Signal::Int)]);
        assert_eq!(at(&mut pool, 3_500, stop_now), []);
        assert_eq!(at_deadline(&mut pool, 4_000), [signal(11, Signal::Kill)]);
    }

    #[test]
    fn stop_now_needs_no_stop_before() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        let stop_now = Event::StopNow { by: Sender::Stranger };
        assert_eq!(at(&mut pool, 3_000, stop_now), [signal(11, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 4_000), [signal(11, Signal::Kill)]);
    }

    #[test]
    fn stop_now_never_moves_the_kill_back() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 0, Event::Stop);
        at(&mut pool, 60_000, Event::Timer);
        at(&mut pool, 61_500, Event::StopNow { by: Sender::Stranger });
        assert_eq!(pool.deadline(), Some(Tick(62_000)));
    }

    /// RATIONALE 2.10
    #[test]
    fn under_main_the_escalation_is_left_to_main() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        assert_eq!(at(&mut pool, 1_000, Event::Stop), [signal(11, Signal::Term)]);
        assert_eq!(pool.deadline(), None);
        let ordered = Event::StopNow { by: Sender::Main };
        assert_eq!(at(&mut pool, 61_000, ordered), [signal(11, Signal::Int)]);
        assert_eq!(pool.deadline(), None);
        assert_eq!(at(&mut pool, 99_000, Event::Timer), []);
    }

    /// RATIONALE 2.10
    #[test]
    fn a_timeout_shorter_than_mains_is_kept_here() {
        let mut pool = serving(&[11], MAIN, Millis(59_999));
        at(&mut pool, 1_000, Event::Stop);
        assert_eq!(at_deadline(&mut pool, 60_999), [signal(11, Signal::Int)]);
    }

    /// RATIONALE 2.10
    #[test]
    fn a_strangers_stop_now_is_seen_through_under_main_too() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        at(&mut pool, 1_000, Event::Stop);
        at(&mut pool, 2_000, Event::StopNow { by: Sender::Main });
        assert_eq!(at(&mut pool, 9_000, Event::StopNow { by: Sender::Stranger }), []);
        assert_eq!(at_deadline(&mut pool, 10_000), [signal(11, Signal::Kill)]);
    }

    /// RATIONALE 2.10
    #[test]
    fn when_main_is_gone_the_workers_leave_by_our_own_clock() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        assert_eq!(at(&mut pool, 1_000, Event::MainGone), [signal(11, Signal::Term)]);
        assert_eq!(at_deadline(&mut pool, 61_000), [signal(11, Signal::Int)]);
    }

    #[test]
    fn when_main_goes_during_a_stop_the_time_counts_from_its_beginning() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        at(&mut pool, 1_000, Event::Stop);
        assert_eq!(at(&mut pool, 31_000, Event::MainGone), []);
        assert_eq!(at_deadline(&mut pool, 61_000), [signal(11, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 63_000), [signal(11, Signal::Kill)]);
    }

    #[test]
    fn time_in_which_we_could_not_run_is_given_back_to_everybody() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, Event::Stop);
        at(&mut pool, 500_000, Event::Overslept { by: Millis(439_000) });
        assert_eq!(at_deadline(&mut pool, 500_000), [signal(11, Signal::Int)]);
        at(&mut pool, 600_000, Event::Overslept { by: Millis(98_000) });
        assert_eq!(at_deadline(&mut pool, 600_000), [signal(11, Signal::Kill)]);
    }

    #[test]
    fn a_lost_hour_delays_a_refill_too() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, exited(11));
        at(&mut pool, 3_601_000, Event::Overslept { by: Millis(3_600_000) });
        assert_eq!(pool.deadline(), Some(Tick(3_601_000)));
    }

    #[test]
    fn slots_that_are_added_are_filled_at_once_and_told_of_when_all_are_ready() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        assert_eq!(at(&mut pool, 500, Event::Scale { count: 3 }), []);
        let forks = [fork(2), fork(3)];
        assert_eq!(at_deadline(&mut pool, 500), forks);
        for (number, worker) in [(2, 12), (3, 13)] {
            at(&mut pool, 500, Event::Forked { slot: slot(number), pid: pid(worker) });
        }
        let ready = Event::Ready { slot: slot(3), pid: pid(13) };
        assert_eq!(at(&mut pool, 600, ready), [tell_ready(3, 13)]);
        let scaled = Action::Tell(Report::Scaled { count: 3 });
        let ready = Event::Ready { slot: slot(2), pid: pid(12) };
        assert_eq!(at(&mut pool, 600, ready), [tell_ready(2, 12), scaled]);
    }

    #[test]
    fn a_removed_worker_is_pressed_by_us_even_under_main_and_ends_nothing_else() {
        let mut pool = serving(&[11, 12], MAIN, Millis(60_000));
        let scaled = Action::Tell(Report::Scaled { count: 1 });
        let down = at(&mut pool, 1_000, Event::Scale { count: 1 });
        assert_eq!(down, [signal(12, Signal::Term), scaled]);
        assert_eq!(at_deadline(&mut pool, 61_000), [signal(12, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 63_000), [signal(12, Signal::Kill)]);
        assert_eq!(next_of(&at(&mut pool, 63_001, shot(12, 9))), None);
        assert_eq!(pool.deadline(), None);
        at(&mut pool, 70_000, Event::Stop);
        let end = at(&mut pool, 70_001, exited(11));
        assert_eq!(end.last(), Some(&Action::Finish { killed: false }));
    }

    #[test]
    fn a_slot_that_is_wanted_again_waits_for_who_leaves_it_and_not_longer() {
        let mut pool = serving(&[11, 12], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, Event::Scale { count: 1 });
        assert_eq!(at(&mut pool, 2_000, Event::Scale { count: 2 }), []);
        assert_eq!(pool.deadline(), Some(Tick(61_000)));
        assert_eq!(next_of(&at(&mut pool, 5_000, exited(12))), Some(Tick(5_000)));
        assert_eq!(at_deadline(&mut pool, 5_000), [fork(2)]);
    }

    #[test]
    fn a_stop_gives_who_was_removed_before_no_more_time_and_no_signal_twice() {
        let mut pool = serving(&[11, 12], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, Event::Scale { count: 1 });
        assert_eq!(at(&mut pool, 31_000, Event::Stop), [signal(11, Signal::Term)]);
        assert_eq!(at_deadline(&mut pool, 61_000), [signal(12, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 63_000), [signal(12, Signal::Kill)]);
        assert_eq!(at_deadline(&mut pool, 91_000), [signal(11, Signal::Int)]);
        assert_eq!(at(&mut pool, 91_001, Event::Scale { count: 9 }), []);
    }

    #[test]
    fn a_slot_that_was_waiting_is_not_filled_once_it_is_one_too_many() {
        let mut pool = serving(&[11, 12], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, exited(12));
        at(&mut pool, 1_000, Event::Scale { count: 1 });
        assert_eq!(pool.deadline(), None);
    }

    #[test]
    fn who_was_being_forked_for_a_slot_too_many_is_asked_to_leave() {
        let mut pool = pool_of(2, Authority::Own, Millis(60_000));
        at(&mut pool, 0, Event::Timer);
        at(&mut pool, 0, Event::Scale { count: 1 });
        let forked = Event::Forked { slot: slot(2), pid: pid(12) };
        assert_eq!(at(&mut pool, 7, forked), [signal(12, Signal::Term)]);
        assert_eq!(at_deadline(&mut pool, 60_007), [signal(12, Signal::Int)]);
    }

    /// Two workers that are recycled after ten seconds, forked at 0 and ready at
    /// 100; the jitter makes that of slot 1 the first.
    fn recycling() -> (Pool, u64) {
        let rules = Rules { lifetime: Millis(10_000), ..rules(2, Millis(60_000)) };
        let mut pool = Pool::new(rules, MAIN, Tick(0));
        at(&mut pool, 0, Event::Timer);
        for (number, worker, ready) in [(1, 11, 100), (2, 12, 5_000)] {
            at(&mut pool, 0, Event::Forked { slot: slot(number), pid: pid(worker) });
            at(&mut pool, ready, Event::Ready { slot: slot(number), pid: pid(worker) });
        }
        let Some(Tick(due)) = pool.deadline() else { panic!("somebody is recycled") };
        assert!((10_100..=11_100).contains(&due), "{due}");
        (pool, due)
    }

    /// RATIONALE 2.21
    #[test]
    fn a_worker_is_asked_to_leave_when_its_heir_is_ready_and_not_before() {
        let (mut pool, due) = recycling();
        assert_eq!(at_deadline(&mut pool, due), [fork_heir(1)]);
        assert_eq!(at(&mut pool, due, Event::Forked { slot: slot(1), pid: pid(21) }), []);
        assert_eq!(pool.deadline(), None, "one at a time");
        let ready = Event::Ready { slot: slot(1), pid: pid(21) };
        let asked = [tell_ready(1, 21), signal(11, Signal::Term)];
        assert_eq!(at(&mut pool, 12_000, ready), asked);
        assert_eq!(at_deadline(&mut pool, 72_000), [signal(11, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 74_000), [signal(11, Signal::Kill)]);
        let end = at(&mut pool, 74_001, shot(11, 9));
        let inherited = Action::Tell(Report::Inherited { slot: slot(1), pid: pid(21) });
        assert_eq!(end.last(), Some(&inherited));
        assert_eq!(next_of(&end[..1]), None);
        // The other one has waited.
        assert_eq!(at(&mut pool, 74_001, Event::Timer), [fork_heir(2)]);
    }

    /// RATIONALE 2.22
    #[test]
    fn an_heir_that_dies_is_tried_again_later_and_later_while_the_old_one_serves() {
        let (mut pool, due) = recycling();
        at(&mut pool, due, Event::Timer);
        at(&mut pool, due, Event::Forked { slot: slot(1), pid: pid(21) });
        assert_eq!(next_of(&at(&mut pool, 12_000, exited(21))), Some(Tick(12_000)));
        assert_eq!(at_deadline(&mut pool, 12_000), [fork_heir(1)]);
        let next = next_of(&at(&mut pool, 12_000, Event::ForkFailed { slot: slot(1) }));
        assert!(next.is_some_and(|next| (12_075..=12_125).contains(&next.0)), "{next:?}");
        assert_eq!(pool.worker(slot(1)), Some(pid(11)));
    }

    /// RATIONALE 2.22
    #[test]
    fn an_heir_replaces_a_worker_that_dies_unasked_meanwhile() {
        let (mut pool, due) = recycling();
        at(&mut pool, due, Event::Timer);
        at(&mut pool, due, Event::Forked { slot: slot(1), pid: pid(21) });
        let told = at(&mut pool, 12_000, shot(11, 9));
        assert_eq!(next_of(&told[..1]), None, "it is on the way");
        assert_eq!(pool.worker(slot(1)), Some(pid(21)));
        let ready = Event::Ready { slot: slot(1), pid: pid(21) };
        assert_eq!(at(&mut pool, 12_001, ready), [tell_ready(1, 21)]);
    }

    /// RATIONALE 2.22
    #[test]
    fn a_stop_a_stop_now_and_a_scale_reach_an_heir() {
        let with_heir = || {
            let (mut pool, due) = recycling();
            at(&mut pool, due, Event::Timer);
            at(&mut pool, due, Event::Forked { slot: slot(1), pid: pid(21) });
            pool
        };
        let told = [11, 12, 21].map(|worker| signal(worker, Signal::Term));
        assert_eq!(at(&mut with_heir(), 12_000, Event::Stop), told);
        let told = [11, 12, 21].map(|worker| signal(worker, Signal::Int));
        let now = Event::StopNow { by: Sender::Main };
        assert_eq!(at(&mut with_heir(), 12_000, now), told);

        let (mut pool, _) = recycling();
        at(&mut pool, 5_001, exited(11));
        at(&mut pool, 5_001, Event::Timer);
        at(&mut pool, 5_001, Event::Forked { slot: slot(1), pid: pid(13) });
        at(&mut pool, 5_002, Event::Ready { slot: slot(1), pid: pid(13) });
        let Some(Tick(due)) = pool.deadline() else { panic!("somebody is recycled") };
        let Some(Action::Fork { slot: which, heir: true }) = at(&mut pool, due, Event::Timer).pop()
        else {
            panic!("somebody is recycled")
        };
        at(&mut pool, due, Event::Forked { slot: which, pid: pid(22) });
        let told = at(&mut pool, due, Event::Scale { count: 1 });
        assert_eq!(told.contains(&signal(22, Signal::Term)), which == slot(2), "{told:?}");
    }

    /// A worker that hangs after two seconds, forked at 0 and ready at 100.
    fn watched() -> Pool {
        let rules = Rules { hang: Millis(2_000), ..rules(1, Millis(60_000)) };
        let mut pool = Pool::new(rules, MAIN, Tick(0));
        at(&mut pool, 0, Event::Timer);
        at(&mut pool, 0, Event::Forked { slot: slot(1), pid: pid(11) });
        at(&mut pool, 100, Event::Ready { slot: slot(1), pid: pid(11) });
        pool
    }

    const fn busy(since: u64) -> Event {
        Event::Busy { slot: slot(1), pid: pid(11), since: Tick(since) }
    }

    /// RATIONALE 2.20
    #[test]
    fn a_worker_that_is_busy_for_too_long_is_aborted_and_killed_a_second_later() {
        let mut pool = watched();
        assert!(!pool.is_watching());
        assert_eq!(at(&mut pool, 1_000, busy(990)), []);
        assert!(pool.is_watching());
        assert_eq!(at_deadline(&mut pool, 2_990), [Action::Look]);
        let hung = Report::Hung { slot: slot(1), pid: pid(11), busy: Millis(2_000) };
        let abort = [signal(11, Signal::Abrt), Action::Tell(hung)];
        assert_eq!(at(&mut pool, 2_990, busy(990)), abort);
        assert_eq!(at(&mut pool, 2_991, busy(990)), [], "once");
        assert_eq!(at_deadline(&mut pool, 3_990), [signal(11, Signal::Kill)]);
        let told = at(&mut pool, 3_991, shot(11, 9));
        let [Action::Tell(Report::Died { why: Why::Hung, next: Some(Tick(3_991)), .. })] =
            told.as_slice()
        else {
            panic!("{told:?}")
        };
    }

    /// RATIONALE 2.20
    #[test]
    fn workers_that_go_on_to_something_else_are_looked_at_once_in_so_long() {
        let mut pool = watched();
        at(&mut pool, 1_000, busy(1_000));
        for now in [3_000, 4_999, 6_998] {
            assert_eq!(at_deadline(&mut pool, now), [Action::Look]);
            assert_eq!(at(&mut pool, now, busy(now - 1)), []);
        }
        assert_eq!(at_deadline(&mut pool, 8_997), [Action::Look]);
        assert_eq!(pool.deadline(), None, "nobody is busy");
        assert!(!pool.is_watching());
    }

    /// RATIONALE 2.20
    #[test]
    fn who_was_told_to_leave_may_be_busy_as_long_as_its_own_clock_says() {
        let mut pool = watched();
        at(&mut pool, 1_000, busy(1_000));
        at(&mut pool, 2_000, Event::Stop);
        assert!(pool.is_watching(), "nobody needs to be told");
        assert_eq!(pool.deadline(), None);
        assert_eq!(at(&mut pool, 9_000, busy(1_000)), []);
    }

    /// RATIONALE 1.7, 2.20
    #[test]
    fn a_pause_of_everybody_lets_every_worker_begin_anew() {
        let mut pool = watched();
        at(&mut pool, 1_000, busy(1_000));
        at(&mut pool, 90_000, Event::Overslept { by: Millis(87_500) });
        assert_eq!(at_deadline(&mut pool, 90_500), [Action::Look]);
        assert_eq!(at(&mut pool, 90_500, busy(1_000)), []);
        assert_eq!(at_deadline(&mut pool, 92_000), [Action::Look]);
        assert_eq!(at(&mut pool, 92_000, busy(1_000)).len(), 2);
    }

    #[test]
    fn a_stranger_that_was_reaped_changes_nothing() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        assert_eq!(at(&mut pool, 1_000, exited(99)), []);
    }
}
