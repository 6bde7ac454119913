//! What a monitor decides about its workers: the whole state machine.
//!
//! Every slot has a worker until a stop begins; then all workers end: SIGTERM at
//! once, SIGINT when the timeout is over, SIGKILL two seconds after that. A worker is
//! sent each of the three at most once, and nothing once it was reaped.
//!
//! Pure: no system call, no clock, no log. The monitor's loop performs each
//! [`Command`] in order and reports what came of it. It sends [`Event::Timer`] when the
//! deadline has passed, and after everything else that woke it: only the timer forks,
//! so a worker that dies by the stop that is about to be read is not replaced. An event of
//! one worker costs the same whatever the number of slots, and the deadline a look at each
//! [`BlockDeadlines`]. Both are linear in what was told to leave.
//!
//! # A slot: [`SlotState`], and [`WorkerStage`] of the worker in it
//!
//! ```text
//! Empty ── due: Fork ──► Forking ── Forked ──► Taken ── told to leave ──► Leaving (below)
//!   ▲ ▲                     │                    │                           │
//!   │ └───── ForkFailed ────┘                    │                           │ the slot is
//!   │                                            │                           │ wanted
//!   ├──────────────── Exited, unasked ───────────┘                           │
//!   └────────────────────────────────────────────────────────────────────────┘
//!
//! Taken:   Starting ── Runs ──► MinUptime ── has lived so long ──► Ready
//!             └───────────────────────┴─── Ready: it says so ────────┘
//!
//! Retired: not wanted, by a smaller number or a stop. A larger number makes it Empty.
//! ```
//!
//! An empty slot is due after its back-off ([`BackoffState`], one for each slot). A
//! worker that ends unasked is replaced, whatever its status; one that was ready and
//! ends with status 0 has recycled itself, which is no failure.
//!
//! These are told to leave while their slot is wanted: a worker that is not ready in
//! time, one that hangs, and one whose replacement is ready. The number of slots may
//! change: those beyond it retire, and their workers are told to leave.
//!
//! # A worker that was told to leave: [`Leaving`]
//!
//! ```text
//! Process ── Exited, Group::Members ──► Rest ── GroupEmpty ──► gone
//!    └────── Exited, Group::Empty ───────────────────────────► gone
//!
//! sent last:  Term ── timeout ──► Int ── 2 s ──► Kill      Abrt (hung) ── 1 s ──► Kill
//! ```
//!
//! It is in no slot. It has a time of its own for the next signal, or that of the
//! stop. The slot waits a second at most beyond its back-off for it, then the next
//! worker is started beside it: a start that is wanted never waits for a drain.
//!
//! # The pool: [`Course`]
//!
//! ```text
//! Serving ── Stop, MainGone ──► Draining ── timeout ──► Interrupted ── 2 s ──► Killed
//!    │                             └────── StopNow ──────►▲    │ 1 s after StopNow ▲
//!    └──────────────────────────────────── StopNow ───────┘    └───────────────────┘
//!
//! from each of these but Serving, when nothing is left ──► Finished
//! ```
//!
//! By which clock that goes on [`Authority`] says. Under main it is main's: the times
//! run here too, but nothing acts on them unless the pool's timeout is shorter than
//! main's, another process than main orders to stop now, or main is gone. A worker that
//! leaves alone has the monitor's clock always: main does not know of it.

use crate::backoff::BackoffState;
use crate::types::{Exit, ExitReason, Losses, Millis, Pid, Signal, Slot, Tick};
use alloc::vec::Vec;
use core::mem;

pub use crate::monitor::pool_events::{
    Authority, Command, Event, Group, PoolRules, Report, StopSender,
};

/// From the SIGINT of a graceful stop to its SIGKILL.
const KILL_AFTER_TIMEOUT: Millis = Millis(2_000);
/// From the SIGINT of a stop-now to its SIGKILL.
const KILL_AFTER_STOP_NOW: Millis = Millis(1_000);
/// From the SIGABRT of a worker that hangs to its SIGKILL.
const KILL_AFTER_ABORT: Millis = Millis(1_000);
/// How long a slot waits, beyond its back-off, for what was told to leave it.
const HELD_AT_MOST: Millis = Millis(1_000);
/// The longest wait, before jitter, in a row of workers that each left with status 0
/// before they had lived long enough to be ready: under load a server reaches its
/// number of requests sooner than that.
const EARLY_RECYCLING: Millis = Millis(1_000);
/// The most forks between two looks at the world: with thousands of slots to
/// fill, a stop must not wait for the last of them. So many are noted together, too.
pub const FORKS_AT_ONCE: usize = 32;
/// So many slots have their deadlines in one place.
const BLOCK: usize = if cfg!(test) { 2 } else { 64 };

/// What all slots are about. The times are kept whatever the clock that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Course {
    /// Every slot is to be full.
    Serving,
    /// Everything was sent SIGTERM.
    Draining { interrupt_at: Tick },
    /// Everything was sent SIGINT.
    Interrupted { kill_at: Tick },
    /// Everything was sent SIGKILL.
    Killed,
    /// Nothing is left.
    Finished,
}

impl Course {
    /// What a worker that appears only now is sent at once.
    const fn told(self) -> Option<LastSignal> {
        match self {
            Self::Serving | Self::Finished => None,
            Self::Draining { .. } => Some(LastSignal::Term),
            Self::Interrupted { .. } => Some(LastSignal::Int),
            Self::Killed => Some(LastSignal::Kill),
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    rules: PoolRules,
    /// Every slot that there ever was; those beyond the number of now are retired.
    slots: Vec<SlotRow>,
    /// What of these is due when: one for every [`BLOCK`] of them.
    deadlines: Vec<BlockDeadlines>,
    /// How many of the wanted slots have a ready worker.
    ready: u16,
    /// What is to take over from the worker in its slot.
    replacement: Option<SlotRow>,
    /// What leaves because its replacement has taken over.
    recycled: Option<Pid>,
    /// What was told to leave and is still there.
    leaving: Vec<Leaving>,
    watch: Watch,
    course: Course,
    clock: Clock,
    announced: bool,
    /// Whether every slot has a ready worker, as far as was told.
    full: bool,
    /// Whether it is still to be told that a new number is reached.
    scaling: bool,
    killed: bool,
    /// What the slots have lost: before every one had a ready worker for the first
    /// time, and lately.
    before_ready: Losses,
    lost: Losses,
}

impl Pool {
    /// A pool whose slots are all empty and due: its deadline is `now`.
    pub fn new(rules: PoolRules, authority: Authority, now: Tick) -> Self {
        let clock = match authority {
            Authority::Main { timeout } if rules.timeout >= timeout => Clock::Mains,
            Authority::Main { .. } | Authority::Own => Clock::Ours,
        };
        let mut pool = Self {
            rules,
            slots: Vec::new(),
            deadlines: Vec::new(),
            ready: 0,
            replacement: None,
            recycled: None,
            leaving: Vec::new(),
            watch: Watch::new(now),
            course: Course::Serving,
            clock,
            announced: false,
            full: false,
            scaling: false,
            killed: false,
            before_ready: Losses::default(),
            lost: Losses::default(),
        };
        pool.add_missing_slots(now);
        pool
    }

    /// Takes in what happened at `now` and appends what is to be done.
    ///
    /// # Panics
    ///
    /// When a fork is reported that was not asked for.
    pub fn step(&mut self, now: Tick, event: Event, commands: &mut Vec<Command>) {
        match event {
            Event::Forked { slot, pid } => self.on_forked(now, slot, pid, commands),
            Event::ForkFailed { slot } => self.on_fork_failed(now, slot, commands),
            Event::Runs { slot, pid } => self.on_runs(now, slot, pid),
            Event::Ready { slot, pid } => self.on_ready(now, slot, pid, commands),
            Event::Busy { slot, pid, since } => self.on_busy(now, slot, pid, since, commands),
            Event::Exited { slot, pid, exit, group } => {
                self.on_exit(now, slot, pid, exit, group, commands);
            }
            Event::GroupEmpty { pid } => self.on_group_empty(pid),
            Event::Scale { count } => self.scale(now, count, commands),
            Event::Stop => self.drain(now, commands),
            Event::StopNow { by } => self.interrupt(now, by, commands),
            Event::MainGone => {
                self.clock = Clock::Ours;
                self.drain(now, commands);
            }
            Event::Stalled { by } => self.postpone(now, by),
            Event::Timer => self.on_timer(now, commands),
        }
        self.tell_if_ready(commands);
        self.finish_if_empty(commands);
    }

    /// When [`Event::Timer`] is due; `None`: only another event can wake us.
    pub fn deadline(&self) -> Option<Tick> {
        let of_all = [self.escalates_at(), self.recycles_at(), self.looks_at()];
        let has_room = self.has_room();
        let of_block =
            |due: &BlockDeadlines| if has_room { due.starts.min(due.changes) } else { due.changes };
        let blocks = self.deadlines.iter().map(of_block).min().filter(|&at| at != Tick::NEVER);
        let replacement = self.replacement.iter();
        let replacement = replacement
            .flat_map(|row| self.starts_at(row).into_iter().chain(row.becomes_ready_or_late_at()));
        let leaves = self.leaving.iter().filter_map(Leaving::escalates_at);
        of_all.into_iter().flatten().chain(blocks).chain(replacement).chain(leaves).min()
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

    /// All slots, and the replacement, to change.
    fn all_slots_mut(&mut self) -> impl Iterator<Item = &mut SlotRow> {
        self.slots.iter_mut().chain(&mut self.replacement)
    }

    /// The slots that are wanted.
    fn wanted(&self) -> &[SlotRow] {
        &self.slots[..usize::from(self.rules.count)]
    }

    /// Whether this slot is to have a worker.
    const fn is_wanted(&self, slot: Slot) -> bool {
        slot.number() <= self.rules.count && matches!(self.course, Course::Serving)
    }

    /// Whether a stop has begun: the next SIGINT then means now.
    pub const fn is_stopping(&self) -> bool {
        !matches!(self.course, Course::Serving)
    }

    /// Whether every slot had a ready worker once.
    pub const fn was_ready(&self) -> bool {
        self.announced
    }

    /// Puts something else into a slot.
    fn put(&mut self, slot: Slot, state: SlotState) {
        let is_counted = slot.number() <= self.rules.count;
        let row = &mut self.slots[slot.index()];
        let was_ready = row.is_ready();
        row.state = state;
        if is_counted {
            self.ready -= u16::from(was_ready);
            self.ready += u16::from(row.is_ready());
        }
        self.note_deadlines(slot);
    }

    /// A slot has changed, so its deadlines may have.
    fn note_deadlines(&mut self, slot: Slot) {
        let block = slot.index() / BLOCK;
        if let (Some(due), Some(rows)) =
            (self.deadlines.get_mut(block), self.slots.chunks(BLOCK).nth(block))
        {
            *due = BlockDeadlines::of(rows);
        }
    }

    /// Many slots have changed.
    fn note_all_deadlines(&mut self) {
        self.deadlines.clear();
        self.deadlines.extend(self.slots.chunks(BLOCK).map(BlockDeadlines::of));
    }

    /// The slots of all blocks in which something of that kind is due, and the
    /// replacement.
    fn due_slots(
        &self,
        now: Tick,
        kind: impl Fn(&BlockDeadlines) -> Tick,
    ) -> impl Iterator<Item = &SlotRow> {
        let blocks = self.slots.chunks(BLOCK).zip(&self.deadlines);
        let due = blocks.filter(move |(_, due)| kind(due) <= now);
        due.flat_map(|(rows, _)| rows).chain(&self.replacement)
    }

    /// The worker `pid` was reaped: reports it and has its slot filled again.
    fn on_exit(
        &mut self,
        now: Tick,
        slot: Slot,
        pid: Pid,
        exit: Exit,
        group: Group,
        commands: &mut Vec<Command>,
    ) {
        let has_leavers = self.slots.get(slot.index()).is_some_and(|row| row.leaving > 0);
        let mut leaving = self.leaving.iter().filter(|_| has_leavers);
        if let Some(place) = leaving.position(|one| one.is_process(pid)) {
            return self.on_exit_of_leaving(now, place, exit, group, commands);
        }
        let Some(worker) = self.row_of(slot, pid).and_then(|row| row.worker()) else { return };
        self.count_loss(slot, worker.stage, exit);
        let is_replacement = self.replacement.is_some_and(|row| row.employs(pid));
        let mut follower = None;
        if is_replacement {
            self.retry_replacement(now);
        } else {
            self.free_slot_by(now, slot, worker.stage, exit);
            follower = self.take_over(slot);
        }
        if group == Group::Members {
            let interrupt_at = now.after(self.rules.timeout);
            let rest = Leaving::rest(slot, pid, now, interrupt_at);
            self.begin_to_leave(rest, commands);
        }
        let next = match self.replacement.as_ref().filter(|_| is_replacement) {
            Some(row) => self.starts_at(row),
            None => self.starts_at(&self.slots[slot.index()]),
        };
        let (lived, reason) = (now.since(worker.since), ExitReason::Unknown);
        commands.push(Command::Tell(Report::Died { slot, pid, exit, lived, reason, group, next }));
        if let Some(pid) = follower {
            commands.push(Command::Tell(Report::TookOver { slot, pid }));
        }
    }

    /// Empties the slot of a worker that has left unasked. One that was ready and
    /// left with status 0 has recycled itself. So may have one that left with status
    /// 0 before it had lived long enough to be ready, in a pool that was ready once:
    /// that is a death, whose wait is bounded.
    fn free_slot_by(&mut self, now: Tick, slot: Slot, stage: WorkerStage, exit: Exit) {
        let (ready_at, may_be_recycled) = match stage {
            WorkerStage::Starting { .. } => (None, false),
            WorkerStage::MinUptime { .. } => (None, exit.is_success() && self.announced),
            WorkerStage::Ready { at, .. } => (Some(at), false),
        };
        let recycled = ready_at.filter(|_| exit.is_success());
        let row = &mut self.slots[slot.index()];
        let again = mem::replace(&mut row.has_recycled, recycled.is_some());
        if let Some(ready_at) = recycled {
            let due = row.backoff.recycled(now, ready_at, again, self.rules.backoff);
            self.put(slot, SlotState::Empty { due });
        } else if may_be_recycled {
            let due = row.backoff.died(now, None, self.rules.backoff.at_most(EARLY_RECYCLING));
            self.put(slot, SlotState::Empty { due });
        } else {
            self.free_slot(now, slot, ready_at);
        }
    }

    /// Has another number of slots: empties those beyond it, each by itself, and
    /// opens those that are missing.
    fn scale(&mut self, now: Tick, count: u16, commands: &mut Vec<Command>) {
        if self.is_stopping() {
            return;
        }
        self.rules.count = count;
        self.add_missing_slots(now);
        for row in &mut self.slots[..usize::from(count)] {
            row.open_if_retired(now);
        }
        let interrupt_at = Some(now.after(self.rules.timeout));
        for slot in Slot::first(Slot::LAST).take(self.slots.len()).skip(count.into()) {
            self.dismiss(slot, LastSignal::Term, ExitReason::Requested, interrupt_at, commands);
        }
        self.recount();
        self.note_all_deadlines();
        self.scaling = true;
    }

    /// Moves every deadline back.
    fn postpone(&mut self, now: Tick, by: Millis) {
        match &mut self.course {
            Course::Draining { interrupt_at: at } | Course::Interrupted { kill_at: at } => {
                *at = at.after(by);
            }
            Course::Serving | Course::Killed | Course::Finished => {}
        }
        self.all_slots_mut().for_each(|row| row.postpone(by));
        self.note_all_deadlines();
        self.leaving.iter_mut().for_each(|one| one.postpone(by));
        self.watch.postpone(now, by);
    }

    /// Does what is due at `now`, if the deadline has passed.
    fn on_timer(&mut self, now: Tick, commands: &mut Vec<Command>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let escalates = self.escalates_at().is_some_and(|at| at <= now);
        self.escalate_leaving(now, commands);
        match self.course {
            Course::Serving => {
                self.welcome_living(now, commands);
                self.end_late(now, commands);
                self.recycle(now);
                self.start_due_workers(now, commands);
                self.look(now, commands);
            }
            Course::Draining { interrupt_at } if escalates => {
                let kill_at = interrupt_at.after(KILL_AFTER_TIMEOUT);
                self.course = Course::Interrupted { kill_at };
                self.tell_all(LastSignal::Int, commands);
            }
            Course::Interrupted { .. } if escalates => {
                self.course = Course::Killed;
                self.tell_all(LastSignal::Kill, commands);
            }
            Course::Draining { .. }
            | Course::Interrupted { .. }
            | Course::Killed
            | Course::Finished => {}
        }
    }
}

// ----------------------------------------------------------------------------
// Starts: which slot is due, and what came of a fork
//
// A start that is wanted waits for its back-off, and a second at most for what
// leaves its slot; then it is made beside that. Only where there is no row left on
// the scoreboard it waits for an end.
// ----------------------------------------------------------------------------

impl Pool {
    /// Adds the slots that are missing, empty and due.
    pub(super) fn add_missing_slots(&mut self, now: Tick) {
        let seed = self.rules.seed;
        let missing = Slot::first(self.rules.count).skip(self.slots.len());
        self.slots.extend(
            missing
                .map(|slot| SlotRow::new(slot, seed.wrapping_add(u32::from(slot.number())), now)),
        );
        self.note_all_deadlines();
    }

    /// When a worker is to be started here: when the back-off is over, or a second
    /// later as long as something leaves the slot. `None` unless the slot is empty,
    /// and while there is no room for one more process.
    pub(super) fn starts_at(&self, row: &SlotRow) -> Option<Tick> {
        let leaving = self.slots[row.slot.index()].leaving;
        SlotRow { leaving, ..*row }.starts_at().filter(|_| self.has_room())
    }

    /// Whether one more process can be started: each slot, and each process beside
    /// it, has a row on the scoreboard.
    const fn has_room(&self) -> bool {
        self.slots.len() + self.leaving.len() < self.rules.rows
    }

    /// A fork made `pid`. One that comes after the stop hears of it at once, and
    /// so does one whose slot is not wanted any more.
    pub(super) fn on_forked(
        &mut self,
        now: Tick,
        slot: Slot,
        pid: Pid,
        commands: &mut Vec<Command>,
    ) {
        // The kernel gives no number out whose group is not empty.
        self.on_group_empty(pid);
        let late_at = match self.rules.ready_timeout {
            Millis(0) => Tick::NEVER,
            limit => now.after(limit),
        };
        let worker = SlotWorker { pid, since: now, stage: WorkerStage::Starting { late_at } };
        if let Some(row) = self.replacement.as_mut().filter(|row| row.is_forking(slot)) {
            row.state = SlotState::Taken(worker);
            return;
        }
        let is_asked_for = self.slots[slot.index()].is_forking(slot);
        assert!(is_asked_for, "slot {slot} is not being filled");
        self.put(slot, SlotState::Taken(worker));
        if let Some(told) = self.course.told() {
            self.dismiss(slot, told, ExitReason::Requested, None, commands);
        } else if !self.is_wanted(slot) {
            let interrupt_at = Some(now.after(self.rules.timeout));
            self.dismiss(slot, LastSignal::Term, ExitReason::Requested, interrupt_at, commands);
        }
    }

    /// A fork made nothing, which counts as a death without health.
    pub(super) fn on_fork_failed(&mut self, now: Tick, slot: Slot, commands: &mut Vec<Command>) {
        let next = if self.replacement.is_some_and(|row| row.is_forking(slot)) {
            self.retry_replacement(now)
        } else {
            let is_asked_for = self.slots[slot.index()].is_forking(slot);
            assert!(is_asked_for, "slot {slot} is not being filled");
            self.free_slot(now, slot, None)
        };
        commands.push(Command::Tell(Report::ForkFailed { slot, next }));
    }

    /// Empties a slot whose worker has failed, and says when it is filled again.
    pub(super) fn free_slot(
        &mut self,
        now: Tick,
        slot: Slot,
        ready_at: Option<Tick>,
    ) -> Option<Tick> {
        let is_wanted = self.is_wanted(slot);
        let SlotRow { backoff, has_recycled, .. } = &mut self.slots[slot.index()];
        *has_recycled = false;
        let due = is_wanted.then(|| backoff.died(now, ready_at, self.rules.backoff));
        self.put(slot, SlotState::empty(due));
        self.starts_at(&self.slots[slot.index()])
    }

    /// Forks for the slots that are due, a limited number at a time.
    pub(super) fn start_due_workers(&mut self, now: Tick, commands: &mut Vec<Command>) {
        let is_due = |row: &SlotRow| self.starts_at(row).is_some_and(|at| at <= now);
        let blocks = self.slots.chunks(BLOCK).zip(&self.deadlines);
        let due = blocks.filter(|(_, due)| due.starts <= now).flat_map(|(rows, _)| rows);
        let due = due.filter(|row| is_due(row)).map(|row| row.slot);
        for slot in due.take(FORKS_AT_ONCE).collect::<Vec<_>>() {
            self.put(slot, SlotState::Forking);
            commands.push(Command::Fork { slot });
        }
        if let Some(row) = self.replacement.filter(|row| is_due_at(self.starts_at(row), now)) {
            self.replacement = Some(SlotRow { state: SlotState::Forking, ..row });
            commands.push(Command::Fork { slot: row.slot });
        }
    }
}

/// Whether that moment has come.
fn is_due_at(at: Option<Tick>, now: Tick) -> bool {
    at.is_some_and(|at| at <= now)
}

// ----------------------------------------------------------------------------
// Readiness: by its own word, or because it has lived for so long
//
// Once every slot has a ready worker, that is reported.
// ----------------------------------------------------------------------------

impl Pool {
    /// The row of this worker, if it is in that slot and is to stay.
    pub(super) fn row_of(&mut self, slot: Slot, pid: Pid) -> Option<&mut SlotRow> {
        let own = self.slots.get_mut(slot.index());
        own.into_iter()
            .chain(&mut self.replacement)
            .find(|row| row.slot == slot && row.employs(pid))
    }

    /// The program of the worker `pid` runs, which is perhaps all that it is to do.
    pub(super) fn on_runs(&mut self, now: Tick, slot: Slot, pid: Pid) {
        let span = self.rules.ready_after;
        if let (Some(row), Some(span)) = (self.row_of(slot, pid), span) {
            row.begin_to_live(now.after(span));
            self.note_deadlines(slot);
        }
    }

    /// The worker `pid` says that it serves.
    pub(super) fn on_ready(
        &mut self,
        now: Tick,
        slot: Slot,
        pid: Pid,
        commands: &mut Vec<Command>,
    ) {
        self.make_ready(now, slot, pid, ReadyWord::Said, commands);
    }

    /// What has lived long enough is ready.
    pub(super) fn welcome_living(&mut self, now: Tick, commands: &mut Vec<Command>) {
        let has_lived = |row: &&SlotRow| row.lives_until().is_some_and(|until| until <= now);
        let due = self.due_slots(now, |due| due.changes);
        let living: Vec<_> = due.filter(has_lived).copied().collect();
        for row in living {
            if let Some(worker) = row.worker() {
                self.make_ready(now, row.slot, worker.pid, ReadyWord::Lived, commands);
            }
        }
    }

    /// The worker `pid` of this slot serves, for that reason.
    fn make_ready(
        &mut self,
        now: Tick,
        slot: Slot,
        pid: Pid,
        word: ReadyWord,
        commands: &mut Vec<Command>,
    ) {
        let rules = self.rules;
        let Some(worker) = self.row_of(slot, pid).and_then(|row| row.made_ready(now, word, &rules))
        else {
            return;
        };
        commands.push(Command::Tell(Report::Ready { slot, pid }));
        if self.replacement.is_some_and(|row| row.employs(pid)) {
            self.promote(now, slot, SlotState::Taken(worker), commands);
        } else {
            self.put(slot, SlotState::Taken(worker));
        }
    }

    /// Says what is still to be said whenever every slot has a ready worker.
    pub(super) fn tell_if_ready(&mut self, commands: &mut Vec<Command>) {
        let was_full = self.full;
        self.full = self.ready == self.rules.count && !self.is_stopping();
        if !self.full {
            return;
        }
        if !self.announced {
            self.announced = true;
            self.count_anew();
            commands.push(Command::AnnounceReady);
        } else if !was_full {
            commands.push(Command::Tell(Report::AllReady));
        }
        if self.scaling {
            self.scaling = false;
            commands.push(Command::Tell(Report::Scaled { count: self.rules.count }));
        }
    }
}

// ----------------------------------------------------------------------------
// Losses: workers that ended unasked, or had to be ended
//
// Those that were lost before every slot had a ready worker for the first time are
// counted apart from those since.
//
// Status 0 is a loss too, but for a worker that had said itself that it was ready,
// in a pool that was ready once: such a one has recycled itself. One that is taken
// as ready because it has lived for some time may have failed as well.
// ----------------------------------------------------------------------------

impl Pool {
    /// Slots that have a ready worker which was not told to leave.
    pub const fn ready(&self) -> u16 {
        self.ready
    }

    /// The number of slots.
    pub const fn count(&self) -> u16 {
        self.rules.count
    }

    /// What the slots have lost before every one had a ready worker for the first
    /// time.
    pub const fn before_ready(&self) -> Losses {
        if self.announced { self.before_ready } else { self.lost }
    }

    /// What they have lost since then.
    pub fn since_ready(&self) -> Losses {
        if self.announced { self.lost } else { Losses::default() }
    }

    /// Every slot has a ready worker for the first time.
    pub(super) fn count_anew(&mut self) {
        self.before_ready = self.lost;
        self.lost = Losses::default();
        self.slots.iter_mut().for_each(|row| row.lost = 0);
    }

    /// There is another number of slots. What was lost in those that are not wanted
    /// any more does not speak against the others, nor does what was lost of another
    /// number before all of them were ready.
    pub(super) fn recount(&mut self) {
        if self.announced {
            self.before_ready = Losses::default();
        }
        self.lost = Losses::of(self.wanted().iter().map(|row| row.lost));
        let ready = self.wanted().iter().filter(|row| row.is_ready()).count();
        self.ready = u16::try_from(ready).unwrap_or(u16::MAX);
    }

    /// A worker of `slot` has left unasked at this stage, which may be a loss.
    pub(super) fn count_loss(&mut self, slot: Slot, stage: WorkerStage, exit: Exit) {
        let had_said_ready = matches!(stage, WorkerStage::Ready { word: ReadyWord::Said, .. });
        if !(exit.is_success() && had_said_ready && self.announced) {
            self.count_failure(slot);
        }
    }

    /// A worker of `slot` is lost.
    pub(super) fn count_failure(&mut self, slot: Slot) {
        let row: &mut SlotRow = &mut self.slots[slot.index()];
        row.lost = row.lost.saturating_add(1);
        if slot.number() <= self.rules.count {
            self.lost.slots += u32::from(row.lost == 1);
            self.lost.worst = self.lost.worst.max(row.lost);
        }
    }
}

// ----------------------------------------------------------------------------
// Hangs: a worker is busy with one thing for too long (--hang-timeout)
//
// Only what a worker writes on the scoreboard counts, so a look asks no process.
// A look is due when the worker that has been busy for longest could be over its
// time. If none is busy there is no look at all, and no worker wakes the monitor
// while it is idle: the next one that becomes busy reports it (`Event::Busy`).
// Under steady load that is one look in each hang timeout.
// ----------------------------------------------------------------------------

/// When to look which workers are busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watch {
    /// The next look, if a worker was busy at the last one.
    pub(super) at: Option<Tick>,
    /// No time before this counts: no process could run then.
    pub(super) from: Tick,
}

impl Watch {
    pub(super) const fn new(now: Tick) -> Self {
        Self { at: None, from: now }
    }

    /// After a stall every worker begins anew.
    pub(super) fn postpone(&mut self, now: Tick, by: Millis) {
        self.from = now;
        self.at = self.at.map(|at| at.after(by));
    }
}

impl Pool {
    /// When to look next.
    pub(super) fn looks_at(&self) -> Option<Tick> {
        self.watch.at.filter(|_| self.course == Course::Serving)
    }

    /// Whether a look is due some time, or none is needed: then a worker that becomes
    /// busy need not be reported.
    pub fn is_watching(&self) -> bool {
        self.watch.at.is_some() || self.rules.hang_timeout == Millis(0) || self.is_stopping()
    }

    /// Orders a look if it is time.
    pub(super) fn look(&mut self, now: Tick, commands: &mut Vec<Command>) {
        if self.looks_at().is_some_and(|at| at <= now) {
            self.watch.at = None;
            commands.push(Command::Look);
        }
    }

    /// This worker is busy: for too long, or another look is due. One that was
    /// told to leave has a clock of its own.
    pub(super) fn on_busy(
        &mut self,
        now: Tick,
        slot: Slot,
        pid: Pid,
        since: Tick,
        commands: &mut Vec<Command>,
    ) {
        if self.rules.hang_timeout == Millis(0) || self.is_stopping() {
            return;
        }
        let since = since.max(self.watch.from);
        let due = since.after(self.rules.hang_timeout);
        if self.row_of(slot, pid).is_none() {
            return;
        }
        if due <= now {
            let busy = now.since(since);
            self.fail(now, slot, pid, LastSignal::Abrt, ExitReason::Hung, commands);
            commands.push(Command::Tell(Report::Hung { slot, pid, busy }));
        } else {
            self.watch.at = Some(self.watch.at.map_or(due, |at| at.min(due)));
        }
    }
}

// ----------------------------------------------------------------------------
// Replacement of workers that are recycled (--lifetime)
//
// Only what is told of here is called a replacement; a slot whose worker has died
// gets its next worker.
//
// A worker that has served for so long gets a replacement, which is forked for the
// same slot while the worker serves on. Once the replacement is ready it takes the
// slot over, and the worker is told to leave, by the times of one that leaves
// alone. So there are never fewer ready workers because of it, and one more at
// most: the next one is recycled when this one is gone.
//
// A replacement that dies is tried again, by the waits of a slot that fails, and
// the worker serves on meanwhile. If the worker dies, or hangs, before its
// replacement is ready, what is on its way takes the slot over as it is.
// ----------------------------------------------------------------------------

impl Pool {
    /// When the next worker is to be recycled.
    pub(super) fn recycles_at(&self) -> Option<Tick> {
        let is_busy = self.replacement.is_some() || self.recycled.is_some();
        if is_busy || self.course != Course::Serving {
            return None;
        }
        self.deadlines.iter().map(|due| due.recycles).min().filter(|&at| at != Tick::NEVER)
    }

    /// Has the worker that is due for longest replaced.
    pub(super) fn recycle(&mut self, now: Tick) {
        if let Some(at) = self.recycles_at().filter(|&at| at <= now) {
            let row = self.due_slots(now, |due| due.recycles).find(|row| row.recycled_at() == at);
            self.replacement = row.copied().map(|row| {
                let mut backoff = row.backoff;
                backoff.reset();
                SlotRow { state: SlotState::Empty { due: now }, backoff, ..row }
            });
        }
    }

    /// Whether the worker in `slot` is being replaced.
    pub fn is_replaced(&self, slot: Slot) -> bool {
        self.replacement.is_some_and(|row| row.slot == slot)
    }

    /// The replacement is ready: it takes its slot over, and the worker there is
    /// told to leave.
    pub(super) fn promote(
        &mut self,
        now: Tick,
        slot: Slot,
        state: SlotState,
        commands: &mut Vec<Command>,
    ) {
        self.replacement = None;
        let interrupt_at = Some(now.after(self.rules.timeout));
        self.recycled =
            self.dismiss(slot, LastSignal::Term, ExitReason::Requested, interrupt_at, commands);
        self.put(slot, state);
        let pid = self.slots[slot.index()].worker().map(|worker| worker.pid);
        commands.extend(pid.map(|pid| Command::Tell(Report::TookOver { slot, pid })));
    }

    /// The replacement has failed: it is tried again later. Says when.
    pub(super) fn retry_replacement(&mut self, now: Tick) -> Option<Tick> {
        let backoff = self.rules.backoff;
        let row = self.replacement.as_mut()?;
        let due = row.backoff.died(now, None, backoff);
        row.state = SlotState::Empty { due };
        self.replacement.as_ref().and_then(|row| self.starts_at(row))
    }

    /// The worker of `slot` is not there any more: what is on its way there takes
    /// over as it is. Says which process that is, if it was forked.
    pub(super) fn take_over(&mut self, slot: Slot) -> Option<Pid> {
        let replacement = self.replacement.take_if(|row| row.slot == slot)?;
        match replacement.state {
            SlotState::Taken(_) | SlotState::Forking => {
                self.put(slot, replacement.state);
            }
            SlotState::Empty { .. } | SlotState::Retired => {}
        }
        Some(replacement.worker()?.pid)
    }

    /// The worker of `slot` was told to leave, and so is what was to replace it.
    /// One that is only being forked is told when it is there.
    pub(super) fn dismiss_replacement(
        &mut self,
        slot: Slot,
        told: LastSignal,
        next_at: Option<Tick>,
        commands: &mut Vec<Command>,
    ) {
        let Some(row) = self.replacement.take_if(|row| row.slot == slot) else { return };
        match row.state {
            SlotState::Taken(worker) => {
                let (pid, since, reason) = (worker.pid, worker.since, ExitReason::Requested);
                let (remaining, last) = (Remaining::Process, told);
                let leaver = Leaving { slot, pid, since, remaining, last, reason, next_at };
                self.begin_to_leave(leaver, commands);
            }
            SlotState::Forking => {
                self.put(slot, SlotState::Forking);
            }
            SlotState::Empty { .. } | SlotState::Retired => {}
        }
    }
}

// ----------------------------------------------------------------------------
// Leaving: a process until it was reaped, then the rest of its group
//
// It is in no slot any more. One that leaves alone has a time of its own for the
// next signal; in a stop of all that time still counts, if it is the earlier one.
// ----------------------------------------------------------------------------

/// A process, or the rest of its group, on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leaving {
    pub(super) slot: Slot,
    pub(super) pid: Pid,
    /// When the process was forked.
    pub(super) since: Tick,
    pub(super) remaining: Remaining,
    pub(super) last: LastSignal,
    pub(super) reason: ExitReason,
    /// When it is sent the next signal, if it has a clock of its own.
    pub(super) next_at: Option<Tick>,
}

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Remaining {
    /// A process that was not reaped.
    Process,
    /// What is left of the group that a process led which was reaped.
    Rest,
}

/// The signals that a worker is sent, in the order of their coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum LastSignal {
    Term,
    Abrt,
    Int,
    Kill,
}

impl LastSignal {
    const fn signal(self) -> Signal {
        match self {
            Self::Term => Signal::Term,
            Self::Abrt => Signal::Abrt,
            Self::Int => Signal::Int,
            Self::Kill => Signal::Kill,
        }
    }
}

impl Leaving {
    /// What a worker that died unasked has left of its group.
    pub(super) const fn rest(slot: Slot, pid: Pid, now: Tick, interrupt_at: Tick) -> Self {
        let (remaining, last, next_at) = (Remaining::Rest, LastSignal::Term, Some(interrupt_at));
        Self { slot, pid, since: now, remaining, last, reason: ExitReason::Unknown, next_at }
    }

    /// Whether it is this process, not reaped.
    pub(super) fn is_process(&self, pid: Pid) -> bool {
        self.pid == pid && self.remaining == Remaining::Process
    }

    /// When it is to be sent the next signal by its own clock.
    pub(super) const fn escalates_at(&self) -> Option<Tick> {
        self.next_at
    }

    /// Sends the last signal that it is to have had.
    fn signal(&self) -> Command {
        let (pid, signal) = (self.pid, self.last.signal());
        match self.remaining {
            Remaining::Process => Command::Signal { pid, signal },
            Remaining::Rest => Command::SignalGroup { pid, signal },
        }
    }

    /// Sends it `told`, unless it was told that or worse before.
    pub(super) fn tell(&mut self, told: LastSignal, commands: &mut Vec<Command>) {
        if self.last >= told {
            return;
        }
        if self.last == LastSignal::Term {
            self.next_at = self.next_at.map(|at| at.after(KILL_AFTER_TIMEOUT));
        }
        self.next_at = self.next_at.filter(|_| told < LastSignal::Kill);
        self.last = told;
        commands.push(self.signal());
    }

    /// Moves what is due back.
    pub(super) fn postpone(&mut self, by: Millis) {
        self.next_at = self.next_at.map(|at| at.after(by));
    }
}

impl Pool {
    /// Has the worker in `slot` leave, if there is one, and no other come there
    /// unless the slot is wanted: it is retired then. With `next_at` it leaves by a
    /// clock of its own. Says which one that was.
    pub(super) fn dismiss(
        &mut self,
        slot: Slot,
        told: LastSignal,
        reason: ExitReason,
        next_at: Option<Tick>,
        commands: &mut Vec<Command>,
    ) -> Option<Pid> {
        let row = self.slots[slot.index()];
        if row.state != SlotState::Forking {
            self.put(slot, SlotState::Retired);
        }
        let leaver = row.worker().map(|worker| Leaving {
            slot,
            pid: worker.pid,
            since: worker.since,
            remaining: Remaining::Process,
            last: told,
            reason,
            next_at,
        });
        if let Some(leaver) = leaver {
            self.begin_to_leave(leaver, commands);
        }
        self.dismiss_replacement(slot, told, next_at, commands);
        leaver.map(|leaver| leaver.pid)
    }

    /// Adds what is on its way out from now on, and sends it its first signal.
    pub(super) fn begin_to_leave(&mut self, leaver: Leaving, commands: &mut Vec<Command>) {
        commands.push(leaver.signal());
        self.slots[leaver.slot.index()].leaving += 1;
        self.note_deadlines(leaver.slot);
        self.leaving.push(leaver);
    }

    /// It is gone.
    fn remove_leaving(&mut self, place: usize) {
        let gone = self.leaving.swap_remove(place);
        self.slots[gone.slot.index()].leaving -= 1;
        self.note_deadlines(gone.slot);
    }

    /// Sends whatever leaves alone the next signal, if it is time.
    pub(super) fn escalate_leaving(&mut self, now: Tick, commands: &mut Vec<Command>) {
        for one in &mut self.leaving {
            if one.escalates_at().is_some_and(|at| at <= now) {
                let is_first = one.last == LastSignal::Term;
                one.tell(if is_first { LastSignal::Int } else { LastSignal::Kill }, commands);
            }
        }
    }

    /// A process that was told to leave was reaped. What is left of its group has
    /// had the same signals, and keeps its time.
    pub(super) fn on_exit_of_leaving(
        &mut self,
        now: Tick,
        place: usize,
        exit: Exit,
        group: Group,
        commands: &mut Vec<Command>,
    ) {
        let Leaving { slot, pid, since, last, reason, .. } = self.leaving[place];
        // One that left by itself while SIGKILL was on its way needed none.
        self.killed |= self.is_stopping() && last == LastSignal::Kill && exit.is_sigkill();
        self.recycled = self.recycled.filter(|&recycled| recycled != pid);
        match group {
            Group::Empty => self.remove_leaving(place),
            Group::Members => self.leaving[place].remaining = Remaining::Rest,
        }
        let next = self.starts_at(&self.slots[slot.index()]);
        let lived = now.since(since);
        // What was asked to leave was not asked to be killed.
        let is_strange =
            reason == ExitReason::Requested && exit.is_sigkill() && last < LastSignal::Kill;
        let reason = if is_strange { ExitReason::Unknown } else { reason };
        commands.push(Command::Tell(Report::Died { slot, pid, exit, lived, reason, group, next }));
    }

    /// Nothing is left of the group that `pid` led.
    pub(super) fn on_group_empty(&mut self, pid: Pid) {
        let is_it = |one: &Leaving| one.pid == pid && one.remaining == Remaining::Rest;
        if let Some(place) = self.leaving.iter().position(is_it) {
            self.killed |= self.is_stopping() && self.leaving[place].last == LastSignal::Kill;
            self.remove_leaving(place);
        }
    }

    /// Has a worker leave that has had its time to become ready: its slot fails.
    pub(super) fn end_late(&mut self, now: Tick, commands: &mut Vec<Command>) {
        let is_late = |row: &&SlotRow| row.late_at().is_some_and(|at| at <= now);
        let due = self.due_slots(now, |due| due.changes);
        let late: Vec<_> = due.filter(is_late).copied().collect();
        for row in late {
            let Some(worker) = row.worker() else { continue };
            let (slot, pid) = (row.slot, worker.pid);
            let waited = now.since(worker.since);
            commands.push(Command::Tell(Report::Late { slot, pid, waited }));
            self.fail(now, slot, pid, LastSignal::Term, ExitReason::Late, commands);
        }
    }

    /// Ends the worker `pid` of this slot, which counts as its death.
    pub(super) fn fail(
        &mut self,
        now: Tick,
        slot: Slot,
        pid: Pid,
        told: LastSignal,
        reason: ExitReason,
        commands: &mut Vec<Command>,
    ) {
        let Some(worker) = self.row_of(slot, pid).and_then(|row| row.worker()) else { return };
        self.count_failure(slot);
        let ready_at = match worker.stage {
            WorkerStage::Ready { at, .. } => Some(at),
            WorkerStage::Starting { .. } | WorkerStage::MinUptime { .. } => None,
        };
        if self.replacement.is_some_and(|row| row.employs(pid)) {
            self.retry_replacement(now);
        } else {
            self.free_slot(now, slot, ready_at);
            let follower = self.take_over(slot);
            commands.extend(follower.map(|pid| Command::Tell(Report::TookOver { slot, pid })));
        }
        let wait = match told {
            LastSignal::Abrt => KILL_AFTER_ABORT,
            LastSignal::Term | LastSignal::Int | LastSignal::Kill => self.rules.timeout,
        };
        let (remaining, since, next_at) = (Remaining::Process, worker.since, Some(now.after(wait)));
        let leaver = Leaving { slot, pid, since, remaining, last: told, reason, next_at };
        self.begin_to_leave(leaver, commands);
    }
}

// ----------------------------------------------------------------------------
// The end: everything is told to leave, and it is over when nothing is left
// ----------------------------------------------------------------------------

impl Pool {
    /// Begins a graceful stop; a stop that has begun goes on as it was.
    pub(super) fn drain(&mut self, now: Tick, commands: &mut Vec<Command>) {
        if !self.is_stopping() {
            self.course = Course::Draining { interrupt_at: now.after(self.rules.timeout) };
            self.tell_all(LastSignal::Term, commands);
        }
    }

    /// Stops now. That never moves a deadline back.
    pub(super) fn interrupt(&mut self, now: Tick, by: StopSender, commands: &mut Vec<Command>) {
        let before = match self.course {
            Course::Serving => None,
            Course::Draining { interrupt_at } => Some(interrupt_at.after(KILL_AFTER_TIMEOUT)),
            Course::Interrupted { kill_at } => Some(kill_at),
            Course::Killed | Course::Finished => return,
        };
        let due = now.after(KILL_AFTER_STOP_NOW);
        let kill_at = match (self.clock, by) {
            // Main will not see this order through. The times so far were
            // main's to act on, so they limit nothing.
            (Clock::Mains, StopSender::Stranger) => {
                self.clock = Clock::Ours;
                due
            }
            (Clock::Mains, StopSender::Main)
            | (Clock::Ours, StopSender::Main | StopSender::Stranger) => {
                before.map_or(due, |before| before.min(due))
            }
        };
        self.course = Course::Interrupted { kill_at };
        self.tell_all(LastSignal::Int, commands);
    }

    /// Sends `told` to everything that has not heard it, and lets no empty slot be
    /// filled again.
    pub(super) fn tell_all(&mut self, told: LastSignal, commands: &mut Vec<Command>) {
        self.leaving.iter_mut().for_each(|one| one.tell(told, commands));
        for slot in Slot::first(Slot::LAST).take(self.slots.len()) {
            self.dismiss(slot, told, ExitReason::Requested, None, commands);
        }
    }

    /// Ends the stop when nothing is left and nothing is on the way.
    pub(super) fn finish_if_empty(&mut self, commands: &mut Vec<Command>) {
        let over = self.is_stopping() && self.course != Course::Finished;
        let is_retired = |row: &SlotRow| row.state == SlotState::Retired;
        if over && self.leaving.is_empty() && self.slots.iter().all(is_retired) {
            self.course = Course::Finished;
            commands.push(Command::Finish { killed: self.killed });
        }
    }
}

// ----------------------------------------------------------------------------
// One slot: the process in it that is to stay, and its deaths in a row
//
// A row knows what may happen to one worker; what is to happen to all of them
// is decided in the pool.
// ----------------------------------------------------------------------------

/// A slot, its deaths in a row, and what it has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SlotRow {
    pub(super) slot: Slot,
    pub(super) state: SlotState,
    pub(super) backoff: BackoffState,
    /// How many workers it has lost.
    pub(super) lost: u32,
    /// Whether its last worker was ready and left with status 0.
    pub(super) has_recycled: bool,
    /// How many were told to leave it and are still there.
    pub(super) leaving: u32,
}

/// What is due in a block of slots: among few of these the earliest is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct BlockDeadlines {
    /// When the next worker is to be started, if there is room.
    starts: Tick,
    /// When the next one has lived long enough to be ready, or is late.
    changes: Tick,
    /// When the next one is to be recycled.
    recycles: Tick,
}

impl BlockDeadlines {
    fn of(rows: &[SlotRow]) -> Self {
        let mut due = Self { starts: Tick::NEVER, changes: Tick::NEVER, recycles: Tick::NEVER };
        for row in rows {
            match row.state {
                SlotState::Empty { .. } => {
                    due.starts = due.starts.min(row.starts_at().unwrap_or(Tick::NEVER));
                }
                SlotState::Taken(SlotWorker { stage, .. }) => match stage {
                    WorkerStage::Starting { late_at } => due.changes = due.changes.min(late_at),
                    WorkerStage::MinUptime { until, late_at } => {
                        due.changes = due.changes.min(until).min(late_at);
                    }
                    WorkerStage::Ready { until, .. } => due.recycles = due.recycles.min(until),
                },
                SlotState::Forking | SlotState::Retired => {}
            }
        }
        due
    }
}

/// What is in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SlotState {
    /// Nothing until `due`, or a little longer while something leaves the slot.
    Empty { due: Tick },
    /// [`Command::Fork`] is not answered yet.
    Forking,
    /// A process that was not reaped, and not told to leave.
    Taken(SlotWorker),
    /// Nothing, unless the pool grows again.
    Retired,
}

/// A process between its fork and its reaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SlotWorker {
    pub(super) pid: Pid,
    pub(super) since: Tick,
    pub(super) stage: WorkerStage,
}

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WorkerStage {
    /// It has not said that it is ready, and is to do so before it is late.
    Starting { late_at: Tick },
    /// The same, and once it has lived until then it is taken as ready.
    MinUptime { until: Tick, late_at: Tick },
    /// It serves, and is recycled at `until`.
    Ready { at: Tick, until: Tick, word: ReadyWord },
}

/// What a worker is taken as ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ReadyWord {
    /// It has said so.
    Said,
    /// It has lived long enough.
    Lived,
}

impl SlotState {
    /// Nothing until `due`; for ever, if that is `None`.
    pub(super) const fn empty(due: Option<Tick>) -> Self {
        match due {
            Some(due) => Self::Empty { due },
            None => Self::Retired,
        }
    }
}

impl SlotRow {
    /// An empty slot, due then; `seed` sets its jitter apart.
    pub(super) const fn new(slot: Slot, seed: u32, due: Tick) -> Self {
        let (state, backoff) = (SlotState::Empty { due }, BackoffState::new(seed));
        Self { slot, state, backoff, lost: 0, has_recycled: false, leaving: 0 }
    }

    /// The worker in this slot, if there is one.
    pub(super) const fn worker(&self) -> Option<SlotWorker> {
        match self.state {
            SlotState::Taken(worker) => Some(worker),
            SlotState::Empty { .. } | SlotState::Forking | SlotState::Retired => None,
        }
    }

    /// Whether that is `pid`.
    pub(super) fn employs(&self, pid: Pid) -> bool {
        self.worker().is_some_and(|worker| worker.pid == pid)
    }

    /// Whether a fork for `slot` is outstanding here.
    pub(super) fn is_forking(&self, slot: Slot) -> bool {
        self.slot == slot && self.state == SlotState::Forking
    }

    /// When the back-off is over; `None` unless the slot is empty.
    pub(super) const fn due(&self) -> Option<Tick> {
        match self.state {
            SlotState::Empty { due } => Some(due),
            SlotState::Forking | SlotState::Taken(_) | SlotState::Retired => None,
        }
    }

    /// When a worker is to be started here, if there is room for it.
    const fn starts_at(&self) -> Option<Tick> {
        match self.due() {
            Some(due) if self.leaving > 0 => Some(due.after(HELD_AT_MOST)),
            due => due,
        }
    }

    /// Whether a worker here serves.
    pub(super) fn is_ready(&self) -> bool {
        self.worker().is_some_and(|worker| matches!(worker.stage, WorkerStage::Ready { .. }))
    }

    /// When the worker here is to be recycled; never, unless it serves.
    pub(super) fn recycled_at(&self) -> Tick {
        match self.worker().map(|worker| worker.stage) {
            Some(WorkerStage::Ready { until, .. }) => until,
            Some(WorkerStage::Starting { .. } | WorkerStage::MinUptime { .. }) | None => {
                Tick::NEVER
            }
        }
    }

    /// When the worker here has lived long enough to be ready.
    pub(super) fn lives_until(&self) -> Option<Tick> {
        match self.worker()?.stage {
            WorkerStage::MinUptime { until, .. } => Some(until),
            WorkerStage::Starting { .. } | WorkerStage::Ready { .. } => None,
        }
    }

    /// When the worker here has had its time to become ready.
    pub(super) fn late_at(&self) -> Option<Tick> {
        match self.worker()?.stage {
            WorkerStage::Starting { late_at } | WorkerStage::MinUptime { late_at, .. } => {
                (late_at != Tick::NEVER).then_some(late_at)
            }
            WorkerStage::Ready { .. } => None,
        }
    }

    /// When the one or the other happens.
    pub(super) fn becomes_ready_or_late_at(&self) -> Option<Tick> {
        self.lives_until().into_iter().chain(self.late_at()).min()
    }

    /// The program of the worker here runs, which is to live until then.
    pub(super) fn begin_to_live(&mut self, until: Tick) {
        if let SlotState::Taken(worker) = &mut self.state
            && let WorkerStage::Starting { late_at } = worker.stage
        {
            worker.stage = WorkerStage::MinUptime { until, late_at };
        }
    }

    /// The worker here as it is once it is ready, unless it is already.
    pub(super) fn made_ready(
        &self,
        now: Tick,
        word: ReadyWord,
        rules: &PoolRules,
    ) -> Option<SlotWorker> {
        let until = match rules.lifetime {
            Millis(0) => Tick::NEVER,
            lifetime => now.after(self.backoff.spread(lifetime)),
        };
        let stage = WorkerStage::Ready { at: now, until, word };
        self.worker().filter(|_| !self.is_ready()).map(|worker| SlotWorker { stage, ..worker })
    }

    /// The slot is wanted again, as if it were new.
    pub(super) const fn open_if_retired(&mut self, now: Tick) {
        if matches!(self.state, SlotState::Retired) {
            self.backoff.reset();
            self.has_recycled = false;
            self.state = SlotState::Empty { due: now };
        }
    }

    /// Moves what is due back.
    pub(super) fn postpone(&mut self, by: Millis) {
        match &mut self.state {
            SlotState::Empty { due: at } => *at = at.after(by),
            SlotState::Taken(worker) => match &mut worker.stage {
                WorkerStage::Starting { late_at: at } | WorkerStage::Ready { until: at, .. } => {
                    *at = at.after(by);
                }
                WorkerStage::MinUptime { until, late_at } => {
                    (*until, *late_at) = (until.after(by), late_at.after(by));
                }
            },
            SlotState::Forking | SlotState::Retired => {}
        }
    }
}

#[cfg(test)]
#[path = "../../tests/walk/pool.rs"]
mod walk;

#[cfg(test)]
mod tests {
    use super::{Authority, Command, Event, Group, Pool, PoolRules, Report, StopSender};
    use crate::types::{Backoff, Exit, ExitReason, Losses, Millis, Pid, Signal, Slot, Tick};
    use alloc::vec::Vec;

    const FULL: Command = Command::Tell(Report::AllReady);
    const MAIN: Authority = Authority::Main { timeout: Millis(60_000) };

    const fn pid(raw: i32) -> Pid {
        Pid::new(raw).expect("tests use positive numbers")
    }

    const fn slot(number: u16) -> Slot {
        Slot::new(number).expect("tests use slots from 1")
    }

    /// A pool of empty slots, created at 0.
    fn pool_of(count: u16, authority: Authority, timeout: Millis) -> Pool {
        Pool::new(rules(count, timeout), authority, Tick(0))
    }

    fn rules(count: u16, timeout: Millis) -> PoolRules {
        let backoff = Backoff { delay: Millis(100), max_delay: Millis(30_000) };
        PoolRules {
            count,
            timeout,
            backoff,
            ready_after: None,
            hang_timeout: Millis(0),
            lifetime: Millis(0),
            ready_timeout: Millis(0),
            rows: 999,
            seed: 1,
        }
    }

    const fn fork(number: u16) -> Command {
        Command::Fork { slot: slot(number) }
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

    /// The pool's commands for one event at this moment.
    fn at(pool: &mut Pool, now: u64, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        pool.step(Tick(now), of_its_slot(pool, event), &mut commands);
        commands
    }

    /// An exit as that of the slot which the process fills, or was told to leave.
    fn of_its_slot(pool: &Pool, event: Event) -> Event {
        let Event::Exited { pid, exit, group, .. } = event else { return event };
        let leaving = pool.leaving.iter().filter(|one| one.is_process(pid)).map(|one| one.slot);
        let staying = pool.slots.iter().chain(&pool.replacement);
        let staying = staying.filter(|row| row.employs(pid)).map(|row| row.slot);
        let slot = leaving.chain(staying).next().unwrap_or(slot(1));
        Event::Exited { slot, pid, exit, group }
    }

    /// The pool's commands at its deadline, which must be `now`.
    fn at_deadline(pool: &mut Pool, now: u64) -> Vec<Command> {
        assert_eq!(pool.deadline(), Some(Tick(now)));
        assert_eq!(at(pool, now - 1, Event::Timer), [], "too early");
        at(pool, now, Event::Timer)
    }

    const fn signal(worker: i32, signal: Signal) -> Command {
        Command::Signal { pid: pid(worker), signal }
    }

    const fn tell_ready(number: u16, worker: i32) -> Command {
        Command::Tell(Report::Ready { slot: slot(number), pid: pid(worker) })
    }

    const fn exited(worker: i32) -> Event {
        left(worker, Exit::Status(0))
    }

    /// A worker that exits, and was the last of its group.
    const fn left(worker: i32, exit: Exit) -> Event {
        Event::Exited { slot: slot(1), pid: pid(worker), exit, group: Group::Empty }
    }

    /// A worker that fails.
    const fn failed(worker: i32) -> Event {
        left(worker, Exit::Status(1))
    }

    /// A worker that fails and leaves other processes of its group.
    const fn left_members(worker: i32) -> Event {
        Event::Exited {
            slot: slot(1),
            pid: pid(worker),
            exit: Exit::Status(1),
            group: Group::Members,
        }
    }

    const fn signal_group(worker: i32, signal: Signal) -> Command {
        Command::SignalGroup { pid: pid(worker), signal }
    }

    const fn shot(worker: i32, number: u8) -> Event {
        left(worker, Exit::Signal { number, core: false })
    }

    fn next_of(commands: &[Command]) -> Option<Tick> {
        let [Command::Tell(Report::Died { next, .. } | Report::ForkFailed { next, .. })] = commands
        else {
            panic!("expected one report: {commands:?}")
        };
        *next
    }

    /// rule: pool.ready
    #[test]
    fn slots_fill_at_once_and_ready_is_announced_once() {
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
        assert_eq!(at(&mut pool, 60, ready), [tell_ready(2, 12), Command::AnnounceReady]);
        assert_eq!(at(&mut pool, 61, ready), []);
    }

    /// A pool of two workers, 11 and 12, forked at 0, that are ready after a second.
    fn living() -> Pool {
        let mut pool = pool_of(2, Authority::Own, Millis(60_000));
        pool.rules.ready_after = Some(Millis(1_000));
        at(&mut pool, 0, Event::Timer);
        at(&mut pool, 0, Event::Forked { slot: slot(1), pid: pid(11) });
        at(&mut pool, 0, Event::Forked { slot: slot(2), pid: pid(12) });
        pool
    }

    #[test]
    fn ready_after_counts_from_the_exec() {
        let mut pool = living();
        assert_eq!(pool.deadline(), None);
        assert_eq!(at(&mut pool, 300, Event::Runs { slot: slot(1), pid: pid(11) }), []);
        assert_eq!(at(&mut pool, 700, Event::Runs { slot: slot(2), pid: pid(12) }), []);
        assert_eq!(at(&mut pool, 900, Event::Runs { slot: slot(1), pid: pid(11) }), []);
        assert_eq!(at_deadline(&mut pool, 1_300), [tell_ready(1, 11)]);
        assert_eq!(at_deadline(&mut pool, 1_700), [tell_ready(2, 12), Command::AnnounceReady]);
        assert_eq!(pool.deadline(), None);
    }

    #[test]
    fn death_before_ready_after_is_not_ready_and_a_message_ends_the_wait() {
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
        assert_eq!(at_deadline(&mut pool, 2_300), [tell_ready(1, 13), Command::AnnounceReady]);
    }

    #[test]
    fn exit_0_before_ready_after_waits_at_most_about_1s() {
        let mut pool = living();
        for (number, worker) in [(1, 11), (2, 12)] {
            at(&mut pool, 300, Event::Runs { slot: slot(number), pid: pid(worker) });
        }
        at_deadline(&mut pool, 1_300);
        let mut now = 1_400;
        at(&mut pool, now, exited(11));
        for worker in 13..25 {
            now = pool.deadline().expect("the slot is due").0;
            at(&mut pool, now, Event::Timer);
            at(&mut pool, now, Event::Forked { slot: slot(1), pid: pid(worker) });
            at(&mut pool, now, Event::Runs { slot: slot(1), pid: pid(worker) });
            let (pid, exit) = (pid(worker), Exit::Status(0));
            let left =
                at(&mut pool, now, Event::Exited { slot: slot(1), pid, exit, group: Group::Empty });
            let due = next_of(&left).expect("the slot is due again");
            assert!(due.since(Tick(now)) <= Millis(1_250), "{left:?}");
        }
        assert!(pool.deadline().is_some_and(|due| due.since(Tick(now)) >= Millis(750)));
    }

    #[test]
    fn stopping_worker_has_no_ready_after_deadline() {
        let mut pool = living();
        at(&mut pool, 300, Event::Runs { slot: slot(1), pid: pid(11) });
        at(&mut pool, 400, Event::Stop);
        at(&mut pool, 500, Event::Runs { slot: slot(2), pid: pid(12) });
        assert_eq!(pool.deadline(), Some(Tick(60_400)));
    }

    #[test]
    fn ready_counts_only_with_matching_slot_and_pid() {
        let mut pool = pool_of(1, Authority::Own, Millis(60_000));
        at(&mut pool, 0, Event::Timer);
        at(&mut pool, 0, Event::Forked { slot: slot(1), pid: pid(11) });
        for (number, worker) in [(1, 12), (2, 11), (16_383, 11)] {
            let event = Event::Ready { slot: slot(number), pid: pid(worker) };
            assert_eq!(at(&mut pool, 1, event), []);
        }
    }

    #[test]
    fn crashed_worker_is_replaced_with_growing_back_off() {
        let mut pool = serving(&[11, 12], Authority::Own, Millis(60_000));
        let died = Report::Died {
            slot: slot(2),
            pid: pid(12),
            exit: Exit::Status(1),
            lived: Millis(5_000),
            reason: ExitReason::Unknown,
            group: Group::Empty,
            next: Some(Tick(5_000)),
        };
        assert_eq!(at(&mut pool, 5_000, failed(12)), [Command::Tell(died)]);
        assert_eq!(at_deadline(&mut pool, 5_000), [fork(2)]);

        at(&mut pool, 5_000, Event::Forked { slot: slot(2), pid: pid(13) });
        let next = next_of(&at(&mut pool, 5_010, shot(13, 11))).expect("it is replaced");
        assert!((Tick(5_085)..=Tick(5_135)).contains(&next), "{next:?}");
        assert_eq!(at_deadline(&mut pool, next.0), [fork(2)]);
    }

    #[test]
    fn worker_healthy_for_10s_is_replaced_at_once() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 200, failed(11));
        at(&mut pool, 200, Event::Timer);
        at(&mut pool, 200, Event::Forked { slot: slot(1), pid: pid(12) });
        at(&mut pool, 300, Event::Ready { slot: slot(1), pid: pid(12) });
        assert_eq!(next_of(&at(&mut pool, 10_300, failed(12))), Some(Tick(10_300)));
    }

    #[test]
    fn back_off_of_one_slot_does_not_delay_another() {
        let mut pool = serving(&[11, 12], Authority::Own, Millis(60_000));
        for (now, worker) in [(200, 21), (300, 22), (500, 23), (900, 24)] {
            let previous = if worker == 21 { 12 } else { worker - 1 };
            let next = next_of(&at(&mut pool, now, failed(previous))).expect("it is replaced");
            at(&mut pool, next.0, Event::Timer);
            at(&mut pool, next.0, Event::Forked { slot: slot(2), pid: pid(worker) });
        }
        assert_eq!(next_of(&at(&mut pool, 1_500, failed(11))), Some(Tick(1_500)));
    }

    #[test]
    fn failed_fork_is_retried_with_back_off() {
        let mut pool = pool_of(1, Authority::Own, Millis(60_000));
        let failed = Event::ForkFailed { slot: slot(1) };
        assert_eq!(at(&mut pool, 0, Event::Timer), [fork(1)]);
        assert_eq!(next_of(&at(&mut pool, 0, failed)), Some(Tick(0)));
        assert_eq!(at(&mut pool, 0, Event::Timer), [fork(1)]);
        let next = next_of(&at(&mut pool, 0, failed)).expect("the fork is retried");
        assert!(next >= Tick(75), "{next:?}");
    }

    /// rule: pool.batches
    #[test]
    fn forks_come_in_batches() {
        let mut pool = pool_of(100, Authority::Own, Millis(60_000));
        assert_eq!(at(&mut pool, 0, Event::Timer).len(), 32);
        assert_eq!(pool.deadline(), Some(Tick(0)));
        assert_eq!(at(&mut pool, 1, Event::Stop), []);
        assert_eq!(pool.deadline(), Some(Tick(60_001)));
        assert_eq!(at(&mut pool, 1, Event::Timer), []);
    }

    #[test]
    fn stubborn_worker_gets_sigint_at_the_timeout_and_sigkill_2s_later() {
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
            reason: ExitReason::Requested,
            group: Group::Empty,
            next: None,
        };
        let end = [Command::Tell(report), Command::Finish { killed: true }];
        assert_eq!(at(&mut pool, 67_001, shot(11, 9)), end);
    }

    #[test]
    fn exit_0_after_sigkill_was_sent_is_not_killed() {
        let mut pool = serving(&[11], Authority::Own, Millis(0));
        at(&mut pool, 200, Event::Stop);
        at(&mut pool, 200, Event::Timer);
        assert_eq!(at_deadline(&mut pool, 2_200), [signal(11, Signal::Kill)]);
        let end = at(&mut pool, 2_201, exited(11));
        assert_eq!(end.last(), Some(&Command::Finish { killed: false }));
    }

    #[test]
    fn second_stop_moves_no_deadline() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, Event::Stop);
        assert_eq!(at(&mut pool, 40_000, Event::Stop), []);
        assert_eq!(pool.deadline(), Some(Tick(61_000)));
    }

    #[test]
    fn stop_is_complete_when_the_last_worker_is_reaped() {
        let mut pool = serving(&[11, 12], Authority::Own, Millis(60_000));
        let terms = [signal(11, Signal::Term), signal(12, Signal::Term)];
        assert_eq!(at(&mut pool, 1_000, Event::Stop), terms);
        assert_eq!(next_of(&at(&mut pool, 1_001, exited(12))), None);
        let end = at(&mut pool, 1_002, exited(11));
        assert_eq!(end.last(), Some(&Command::Finish { killed: false }));
        assert_eq!(at(&mut pool, 1_003, Event::Stop), []);
        assert_eq!(at(&mut pool, 1_003, Event::StopNow { by: StopSender::Stranger }), []);
    }

    #[test]
    fn slot_in_back_off_is_not_filled_after_a_stop() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, exited(11));
        assert_eq!(at(&mut pool, 1_000, Event::Stop), [Command::Finish { killed: false }]);
        assert_eq!(at(&mut pool, 1_000, Event::Timer), []);
        assert_eq!(pool.deadline(), None);
    }

    #[test]
    fn worker_forked_during_a_stop_is_signalled_at_once() {
        let mut pool = pool_of(2, Authority::Own, Millis(60_000));
        at(&mut pool, 0, Event::Timer);
        assert_eq!(at(&mut pool, 0, Event::Stop), []);
        let forked = Event::Forked { slot: slot(1), pid: pid(11) };
        assert_eq!(at(&mut pool, 1, forked), [signal(11, Signal::Term)]);
        assert_eq!(next_of(&at(&mut pool, 1, Event::ForkFailed { slot: slot(2) })), None);
    }

    #[test]
    fn immediate_stop_sends_sigint_and_sigkill_1s_later() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, Event::Stop);
        let stop_now = Event::StopNow { by: StopSender::Stranger };
        assert_eq!(at(&mut pool, 3_000, stop_now), [signal(11, Signal::Int)]);
        assert_eq!(at(&mut pool, 3_500, stop_now), []);
        assert_eq!(at_deadline(&mut pool, 4_000), [signal(11, Signal::Kill)]);
    }

    #[test]
    fn immediate_stop_works_without_a_graceful_one() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        let stop_now = Event::StopNow { by: StopSender::Stranger };
        assert_eq!(at(&mut pool, 3_000, stop_now), [signal(11, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 4_000), [signal(11, Signal::Kill)]);
    }

    #[test]
    fn immediate_stop_does_not_delay_sigkill() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 0, Event::Stop);
        at(&mut pool, 60_000, Event::Timer);
        at(&mut pool, 61_500, Event::StopNow { by: StopSender::Stranger });
        assert_eq!(pool.deadline(), Some(Tick(62_000)));
    }

    /// rule: pool.stop-clock
    #[test]
    fn pool_under_main_leaves_the_escalation_to_main() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        assert_eq!(at(&mut pool, 1_000, Event::Stop), [signal(11, Signal::Term)]);
        assert_eq!(pool.deadline(), None);
        let ordered = Event::StopNow { by: StopSender::Main };
        assert_eq!(at(&mut pool, 61_000, ordered), [signal(11, Signal::Int)]);
        assert_eq!(pool.deadline(), None);
        assert_eq!(at(&mut pool, 99_000, Event::Timer), []);
    }

    /// rule: pool.stop-clock
    #[test]
    fn pool_escalates_itself_with_a_timeout_shorter_than_mains() {
        let mut pool = serving(&[11], MAIN, Millis(59_999));
        at(&mut pool, 1_000, Event::Stop);
        assert_eq!(at_deadline(&mut pool, 60_999), [signal(11, Signal::Int)]);
    }

    /// rule: pool.stop-clock
    #[test]
    fn pool_under_main_escalates_a_foreign_sigint_itself() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        at(&mut pool, 1_000, Event::Stop);
        at(&mut pool, 2_000, Event::StopNow { by: StopSender::Main });
        assert_eq!(at(&mut pool, 9_000, Event::StopNow { by: StopSender::Stranger }), []);
        assert_eq!(at_deadline(&mut pool, 10_000), [signal(11, Signal::Kill)]);
    }

    /// rule: pool.stop-clock
    #[test]
    fn pool_without_main_escalates_itself() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        assert_eq!(at(&mut pool, 1_000, Event::MainGone), [signal(11, Signal::Term)]);
        assert_eq!(at_deadline(&mut pool, 61_000), [signal(11, Signal::Int)]);
    }

    #[test]
    fn timeout_counts_from_the_stop_if_main_is_lost_later() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        at(&mut pool, 1_000, Event::Stop);
        assert_eq!(at(&mut pool, 31_000, Event::MainGone), []);
        assert_eq!(at_deadline(&mut pool, 61_000), [signal(11, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 63_000), [signal(11, Signal::Kill)]);
    }

    #[test]
    fn stall_postpones_the_deadlines_of_a_stop() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, Event::Stop);
        at(&mut pool, 500_000, Event::Stalled { by: Millis(439_000) });
        assert_eq!(at_deadline(&mut pool, 500_000), [signal(11, Signal::Int)]);
        at(&mut pool, 600_000, Event::Stalled { by: Millis(98_000) });
        assert_eq!(at_deadline(&mut pool, 600_000), [signal(11, Signal::Kill)]);
    }

    #[test]
    fn stall_postpones_a_refill() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, failed(11));
        at(&mut pool, 3_601_000, Event::Stalled { by: Millis(3_600_000) });
        assert_eq!(pool.deadline(), Some(Tick(3_601_000)));
    }

    #[test]
    fn added_slots_fill_at_once_and_scaled_is_reported_when_ready() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        assert_eq!(at(&mut pool, 500, Event::Scale { count: 3 }), []);
        let forks = [fork(2), fork(3)];
        assert_eq!(at_deadline(&mut pool, 500), forks);
        for (number, worker) in [(2, 12), (3, 13)] {
            at(&mut pool, 500, Event::Forked { slot: slot(number), pid: pid(worker) });
        }
        let ready = Event::Ready { slot: slot(3), pid: pid(13) };
        assert_eq!(at(&mut pool, 600, ready), [tell_ready(3, 13)]);
        let scaled = Command::Tell(Report::Scaled { count: 3 });
        let ready = Event::Ready { slot: slot(2), pid: pid(12) };
        assert_eq!(at(&mut pool, 600, ready), [tell_ready(2, 12), FULL, scaled]);
    }

    #[test]
    fn pool_escalates_for_a_removed_worker_even_under_main() {
        let mut pool = serving(&[11, 12], MAIN, Millis(60_000));
        let scaled = Command::Tell(Report::Scaled { count: 1 });
        let down = at(&mut pool, 1_000, Event::Scale { count: 1 });
        assert_eq!(down, [signal(12, Signal::Term), scaled]);
        assert_eq!(at_deadline(&mut pool, 61_000), [signal(12, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 63_000), [signal(12, Signal::Kill)]);
        assert_eq!(next_of(&at(&mut pool, 63_001, shot(12, 9))), None);
        assert_eq!(pool.deadline(), None);
        at(&mut pool, 70_000, Event::Stop);
        let end = at(&mut pool, 70_001, exited(11));
        assert_eq!(end.last(), Some(&Command::Finish { killed: false }));
    }

    #[test]
    fn slot_added_again_waits_at_most_1s_for_its_draining_worker() {
        let mut pool = serving(&[11, 12], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, Event::Scale { count: 1 });
        assert_eq!(at(&mut pool, 2_000, Event::Scale { count: 2 }), []);
        let beside = pool.clone();
        assert_eq!(next_of(&at(&mut pool, 2_500, exited(12))), Some(Tick(2_000)));
        assert_eq!(at(&mut pool, 2_500, Event::Timer), [fork(2)]);
        let mut pool = beside;
        assert_eq!(at_deadline(&mut pool, 3_000), [fork(2)]);
        at(&mut pool, 3_000, Event::Forked { slot: slot(2), pid: pid(13) });
        assert_eq!(at_deadline(&mut pool, 61_000), [signal(12, Signal::Int)]);
    }

    #[test]
    fn stop_neither_delays_nor_repeats_signals_of_a_removed_worker() {
        let mut pool = serving(&[11, 12], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, Event::Scale { count: 1 });
        assert_eq!(at(&mut pool, 31_000, Event::Stop), [signal(11, Signal::Term)]);
        assert_eq!(at_deadline(&mut pool, 61_000), [signal(12, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 63_000), [signal(12, Signal::Kill)]);
        assert_eq!(at_deadline(&mut pool, 91_000), [signal(11, Signal::Int)]);
        assert_eq!(at(&mut pool, 91_001, Event::Scale { count: 9 }), []);
    }

    #[test]
    fn removed_slot_in_back_off_is_not_filled() {
        let mut pool = serving(&[11, 12], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, failed(12));
        at(&mut pool, 1_000, Event::Scale { count: 1 });
        assert_eq!(pool.deadline(), None);
    }

    #[test]
    fn worker_forked_into_a_removed_slot_gets_sigterm() {
        let mut pool = pool_of(2, Authority::Own, Millis(60_000));
        at(&mut pool, 0, Event::Timer);
        at(&mut pool, 0, Event::Scale { count: 1 });
        let forked = Event::Forked { slot: slot(2), pid: pid(12) };
        assert_eq!(at(&mut pool, 7, forked), [signal(12, Signal::Term)]);
        assert_eq!(at_deadline(&mut pool, 60_007), [signal(12, Signal::Int)]);
    }

    /// Two workers that are recycled after ten seconds, forked at 0 and ready at 100; by the
    /// jitter, that of slot 1 comes first.
    fn recycling() -> (Pool, u64) {
        let rules = PoolRules { lifetime: Millis(10_000), ..rules(2, Millis(60_000)) };
        let mut pool = Pool::new(rules, MAIN, Tick(0));
        at(&mut pool, 0, Event::Timer);
        for (number, worker, ready) in [(1, 11, 100), (2, 12, 5_000)] {
            at(&mut pool, 0, Event::Forked { slot: slot(number), pid: pid(worker) });
            at(&mut pool, ready, Event::Ready { slot: slot(number), pid: pid(worker) });
        }
        let Some(Tick(due)) = pool.deadline() else { panic!("a worker is due to be recycled") };
        assert!((10_100..=11_100).contains(&due), "{due}");
        (pool, due)
    }

    /// rule: lifetime.recycled
    #[test]
    fn recycled_worker_is_stopped_when_its_replacement_is_ready() {
        let (mut pool, due) = recycling();
        assert_eq!(at_deadline(&mut pool, due), [fork(1)]);
        assert_eq!(at(&mut pool, due, Event::Forked { slot: slot(1), pid: pid(21) }), []);
        assert_eq!(pool.deadline(), None, "one at a time");
        let ready = Event::Ready { slot: slot(1), pid: pid(21) };
        let took_over = Command::Tell(Report::TookOver { slot: slot(1), pid: pid(21) });
        let asked = [tell_ready(1, 21), signal(11, Signal::Term), took_over];
        assert_eq!(at(&mut pool, 12_000, ready), asked);
        assert_eq!(pool.ready(), 2);
        assert_eq!(at_deadline(&mut pool, 72_000), [signal(11, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 74_000), [signal(11, Signal::Kill)]);
        let end = at(&mut pool, 74_001, shot(11, 9));
        assert_eq!(next_of(&end), None);
        // The other worker has waited for its turn.
        assert_eq!(at(&mut pool, 74_001, Event::Timer), [fork(2)]);
    }

    /// rule: lifetime.replacement
    #[test]
    fn failed_replacement_is_retried_with_back_off_while_the_old_worker_serves() {
        let (mut pool, due) = recycling();
        at(&mut pool, due, Event::Timer);
        at(&mut pool, due, Event::Forked { slot: slot(1), pid: pid(21) });
        assert_eq!(next_of(&at(&mut pool, 12_000, exited(21))), Some(Tick(12_000)));
        assert_eq!(at_deadline(&mut pool, 12_000), [fork(1)]);
        let next = next_of(&at(&mut pool, 12_000, Event::ForkFailed { slot: slot(1) }));
        assert!(next.is_some_and(|next| (12_075..=12_125).contains(&next.0)), "{next:?}");
        assert!(pool.slots[0].employs(pid(11)));
    }

    /// rule: lifetime.replacement
    #[test]
    fn replacement_takes_over_if_the_old_worker_dies() {
        let (mut pool, due) = recycling();
        at(&mut pool, due, Event::Timer);
        at(&mut pool, due, Event::Forked { slot: slot(1), pid: pid(21) });
        let commands = at(&mut pool, 12_000, shot(11, 9));
        assert_eq!(next_of(&commands[..1]), None, "the replacement is already there");
        assert!(pool.slots[0].employs(pid(21)));
        let ready = Event::Ready { slot: slot(1), pid: pid(21) };
        assert_eq!(at(&mut pool, 12_001, ready), [tell_ready(1, 21), FULL]);
    }

    /// rule: lifetime.replacement
    #[test]
    fn replacement_is_stopped_by_stop_immediate_stop_and_scale() {
        let with_replacement = || {
            let (mut pool, due) = recycling();
            at(&mut pool, due, Event::Timer);
            at(&mut pool, due, Event::Forked { slot: slot(1), pid: pid(21) });
            pool
        };
        let commands = [11, 21, 12].map(|worker| signal(worker, Signal::Term));
        assert_eq!(at(&mut with_replacement(), 12_000, Event::Stop), commands);
        let commands = [11, 21, 12].map(|worker| signal(worker, Signal::Int));
        let now = Event::StopNow { by: StopSender::Main };
        assert_eq!(at(&mut with_replacement(), 12_000, now), commands);

        let (mut pool, _) = recycling();
        at(&mut pool, 5_001, failed(11));
        at(&mut pool, 5_001, Event::Timer);
        at(&mut pool, 5_001, Event::Forked { slot: slot(1), pid: pid(13) });
        at(&mut pool, 5_002, Event::Ready { slot: slot(1), pid: pid(13) });
        let Some(Tick(due)) = pool.deadline() else { panic!("a worker is due to be recycled") };
        let Some(Command::Fork { slot: which }) = at(&mut pool, due, Event::Timer).pop() else {
            panic!("a worker is due to be recycled")
        };
        at(&mut pool, due, Event::Forked { slot: which, pid: pid(22) });
        let commands = at(&mut pool, due, Event::Scale { count: 1 });
        assert_eq!(commands.contains(&signal(22, Signal::Term)), which == slot(2), "{commands:?}");
    }

    /// A worker that hangs after two seconds, forked at 0 and ready at 100.
    fn watched() -> Pool {
        let rules = PoolRules { hang_timeout: Millis(2_000), ..rules(1, Millis(60_000)) };
        let mut pool = Pool::new(rules, MAIN, Tick(0));
        at(&mut pool, 0, Event::Timer);
        at(&mut pool, 0, Event::Forked { slot: slot(1), pid: pid(11) });
        at(&mut pool, 100, Event::Ready { slot: slot(1), pid: pid(11) });
        pool
    }

    const fn busy(since: u64) -> Event {
        Event::Busy { slot: slot(1), pid: pid(11), since: Tick(since) }
    }

    /// rule: hang.timeout
    #[test]
    fn hung_worker_gets_sigabrt_and_sigkill_1s_later() {
        let mut pool = watched();
        assert!(!pool.is_watching());
        assert_eq!(at(&mut pool, 1_000, busy(990)), []);
        assert!(pool.is_watching());
        assert_eq!(at_deadline(&mut pool, 2_990), [Command::Look]);
        let hung = Report::Hung { slot: slot(1), pid: pid(11), busy: Millis(2_000) };
        let abort = [signal(11, Signal::Abrt), Command::Tell(hung)];
        assert_eq!(at(&mut pool, 2_990, busy(990)), abort);
        assert_eq!(at(&mut pool, 2_991, busy(990)), [], "once");
        assert_eq!(at_deadline(&mut pool, 3_990), [signal(11, Signal::Kill), fork(1)]);
        let commands = at(&mut pool, 3_991, shot(11, 9));
        let [Command::Tell(Report::Died { reason: ExitReason::Hung, next: None, .. })] =
            commands.as_slice()
        else {
            panic!("{commands:?}")
        };
    }

    /// rule: hang.timeout
    #[test]
    fn busy_workers_are_checked_once_per_hang_timeout() {
        let mut pool = watched();
        at(&mut pool, 1_000, busy(1_000));
        for now in [3_000, 4_999, 6_998] {
            assert_eq!(at_deadline(&mut pool, now), [Command::Look]);
            assert_eq!(at(&mut pool, now, busy(now - 1)), []);
        }
        assert_eq!(at_deadline(&mut pool, 8_997), [Command::Look]);
        assert_eq!(pool.deadline(), None, "no worker is busy");
        assert!(!pool.is_watching());
    }

    /// rule: hang.timeout
    #[test]
    fn stopping_worker_has_no_hang_timeout() {
        let mut pool = watched();
        at(&mut pool, 1_000, busy(1_000));
        at(&mut pool, 2_000, Event::Stop);
        assert!(pool.is_watching(), "no worker needs to be watched");
        assert_eq!(pool.deadline(), None);
        assert_eq!(at(&mut pool, 9_000, busy(1_000)), []);
    }

    /// rules: clock.stall, hang.timeout
    #[test]
    fn stall_restarts_the_hang_timeout() {
        let mut pool = watched();
        at(&mut pool, 1_000, busy(1_000));
        at(&mut pool, 90_000, Event::Stalled { by: Millis(87_500) });
        assert_eq!(at_deadline(&mut pool, 90_500), [Command::Look]);
        assert_eq!(at(&mut pool, 90_500, busy(1_000)), []);
        assert_eq!(at_deadline(&mut pool, 92_000), [Command::Look]);
        assert_eq!(at(&mut pool, 92_000, busy(1_000)).len(), 2);
    }

    #[test]
    fn exit_0_of_a_ready_worker_waits_for_the_delay_and_adds_no_back_off() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        let mut now = 200;
        for worker in 12..30 {
            let next = if worker == 12 { now } else { now + 100 };
            assert_eq!(next_of(&at(&mut pool, now, exited(worker - 1))), Some(Tick(next)));
            assert_eq!(at_deadline(&mut pool, next), [fork(1)]);
            at(&mut pool, now + 100, Event::Forked { slot: slot(1), pid: pid(worker) });
            at(&mut pool, now + 150, Event::Ready { slot: slot(1), pid: pid(worker) });
            now += 200;
        }
        assert_eq!(next_of(&at(&mut pool, now, failed(29))), Some(Tick(now)));
    }

    #[test]
    fn worker_not_ready_in_time_is_ended_and_replaced_within_1s() {
        let rules = PoolRules { ready_timeout: Millis(5_000), ..rules(1, Millis(60_000)) };
        let mut pool = Pool::new(rules, MAIN, Tick(0));
        at(&mut pool, 0, Event::Timer);
        at(&mut pool, 0, Event::Forked { slot: slot(1), pid: pid(11) });
        let (slot_1, waited) = (slot(1), Millis(5_000));
        let late = Report::Late { slot: slot_1, pid: pid(11), waited };
        let ended = [Command::Tell(late), signal(11, Signal::Term)];
        assert_eq!(at_deadline(&mut pool, 5_000), ended);
        assert_eq!(pool.before_ready(), Losses { slots: 1, worst: 1 });
        let ready = Event::Ready { slot: slot(1), pid: pid(11) };
        assert_eq!(at(&mut pool, 5_500, ready), [], "it is too late");
        assert_eq!(at_deadline(&mut pool, 6_000), [fork(1)]);
        at(&mut pool, 6_000, Event::Forked { slot: slot(1), pid: pid(12) });
        let ready = Event::Ready { slot: slot(1), pid: pid(12) };
        assert_eq!(at(&mut pool, 6_100, ready), [tell_ready(1, 12), Command::AnnounceReady]);
        assert_eq!(at_deadline(&mut pool, 65_000), [signal(11, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 67_000), [signal(11, Signal::Kill)]);
        let commands = at(&mut pool, 67_001, shot(11, 9));
        let [Command::Tell(Report::Died { reason: ExitReason::Late, next: None, .. })] =
            commands.as_slice()
        else {
            panic!("{commands:?}")
        };
    }

    #[test]
    fn rest_of_a_group_is_ended_and_its_slot_refilled_within_1s() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        let commands = at(&mut pool, 1_000, left_members(11));
        assert_eq!(commands.first(), Some(&signal_group(11, Signal::Term)));
        assert_eq!(next_of(&commands[1..]), Some(Tick(2_000)));
        let mut empty = pool.clone();
        assert_eq!(at(&mut empty, 1_400, Event::GroupEmpty { pid: pid(11) }), []);
        assert_eq!(at(&mut empty, 1_400, Event::Timer), [fork(1)]);
        assert_eq!(at_deadline(&mut pool, 2_000), [fork(1)]);
        at(&mut pool, 2_000, Event::Forked { slot: slot(1), pid: pid(12) });
        at(&mut pool, 2_100, Event::Ready { slot: slot(1), pid: pid(12) });
        assert_eq!(at_deadline(&mut pool, 61_000), [signal_group(11, Signal::Int)]);
        assert_eq!(at_deadline(&mut pool, 63_000), [signal_group(11, Signal::Kill)]);
        assert_eq!(at(&mut pool, 70_000, Event::Stop), [signal(12, Signal::Term)]);
        assert_eq!(at(&mut pool, 70_001, exited(12)).len(), 1, "the rest of its group is left");
        let end = at(&mut pool, 70_002, Event::GroupEmpty { pid: pid(11) });
        assert_eq!(end, [Command::Finish { killed: true }]);
    }

    #[test]
    fn rest_of_the_group_of_a_stopped_worker_gets_no_signal_twice() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        at(&mut pool, 1_000, Event::Stop);
        let left = Event::Exited {
            slot: slot(1),
            pid: pid(11),
            exit: Exit::Status(0),
            group: Group::Members,
        };
        assert_eq!(at(&mut pool, 1_500, left).len(), 1);
        assert_eq!(at_deadline(&mut pool, 61_000), [signal_group(11, Signal::Int)]);
        let end = at(&mut pool, 61_500, Event::GroupEmpty { pid: pid(11) });
        assert_eq!(end, [Command::Finish { killed: false }]);
    }

    #[test]
    fn start_without_a_free_row_waits_for_an_exit() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        pool.rules.rows = 2;
        at(&mut pool, 1_000, left_members(11));
        assert_eq!(pool.deadline(), Some(Tick(61_000)));
        at(&mut pool, 5_000, Event::GroupEmpty { pid: pid(11) });
        assert_eq!(at(&mut pool, 5_000, Event::Timer), [fork(1)]);
    }

    #[test]
    fn losses_count_by_slot_and_reset_when_all_were_ready() {
        let mut pool = pool_of(2, MAIN, Millis(60_000));
        at(&mut pool, 0, Event::Timer);
        for (number, worker) in [(1, 11), (2, 12)] {
            at(&mut pool, 0, Event::Forked { slot: slot(number), pid: pid(worker) });
        }
        at(&mut pool, 1, Event::Ready { slot: slot(1), pid: pid(11) });
        // Before every slot was ready, exit 0 counts too, even of a ready worker.
        for (worker, next) in [(11, 13), (13, 14)] {
            at(&mut pool, 10, exited(worker));
            at(&mut pool, 500, Event::Timer);
            at(&mut pool, 500, Event::Forked { slot: slot(1), pid: pid(next) });
        }
        assert_eq!((pool.ready(), pool.before_ready()), (0, Losses { slots: 1, worst: 2 }));
        at(&mut pool, 600, Event::Ready { slot: slot(1), pid: pid(14) });
        at(&mut pool, 600, Event::Ready { slot: slot(2), pid: pid(12) });
        assert_eq!((pool.ready(), pool.since_ready()), (2, Losses::default()));
        at(&mut pool, 700, exited(14));
        assert_eq!((pool.ready(), pool.since_ready()), (1, Losses::default()));
        at(&mut pool, 700, failed(12));
        assert_eq!((pool.ready(), pool.since_ready()), (0, Losses { slots: 1, worst: 1 }));
        assert_eq!(pool.before_ready(), Losses { slots: 1, worst: 2 });
        at(&mut pool, 800, Event::Scale { count: 1 });
        assert_eq!((pool.before_ready(), pool.since_ready()), Default::default());
    }

    #[test]
    fn exit_0_is_a_loss_with_ready_after() {
        let mut pool = living();
        for (number, worker) in [(1, 11), (2, 12)] {
            at(&mut pool, 0, Event::Runs { slot: slot(number), pid: pid(worker) });
        }
        assert_eq!(at(&mut pool, 1_000, Event::Timer).last(), Some(&Command::AnnounceReady));
        at(&mut pool, 1_400, exited(11));
        assert_eq!(pool.since_ready(), Losses { slots: 1, worst: 1 });
    }

    #[test]
    fn full_is_reported_whenever_all_slots_are_ready_again() {
        let mut pool = serving(&[11], MAIN, Millis(60_000));
        for (worker, now) in [(12, 1_000), (13, 20_000)] {
            at(&mut pool, now, failed(worker - 1));
            at(&mut pool, now, Event::Timer);
            at(&mut pool, now, Event::Forked { slot: slot(1), pid: pid(worker) });
            let ready = Event::Ready { slot: slot(1), pid: pid(worker) };
            let full = [tell_ready(1, worker), FULL];
            assert_eq!(at(&mut pool, now + 10, ready), full);
        }
    }

    #[test]
    fn exit_of_an_unknown_process_changes_nothing() {
        let mut pool = serving(&[11], Authority::Own, Millis(60_000));
        assert_eq!(at(&mut pool, 1_000, exited(99)), []);
    }
}
