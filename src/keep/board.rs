//! The board: one table in shared memory for each generation.
//!
//! A header of 64 bytes and a row of 64 bytes for each slot, all in words of
//! eight bytes, each written by one process with one atomic store. Main makes
//! it, as a sealed file in memory, and reads it with pread(2): what stands
//! there is a stranger's, so it is checked and never trusted. The monitor and
//! its workers have it mapped and write it.
//!
//! | word | header                             | row                              |
//! | ---- | ---------------------------------- | -------------------------------- |
//! | 0    | version of this layout             | pid, and restarts above bit 32   |
//! | 1    | number of slots                    | when it was forked               |
//! | 2    | deaths, and slots hit above bit 32 | the last exit                    |
//! | 3    | what main wants (bits of [`Wish`]) | state, and since when below it   |
//! | 4    | 1: the monitor's handlers are in place | connections or requests handled |
//! | 5    | 1: a worker had to be killed       | 1: the slot has lost a worker badly |
//! | 6    | the workers that main wants, or 0  | of the last row: the slot        |
//! | 7    | 1: who becomes busy tells the monitor | -                             |
//!
//! The header's words 3 and 6 are main's; the row's words 3 and 4 are the worker's;
//! all others are the monitor's, but for a 0 in its last that a worker writes.
//!
//! One row more than there can be slots is that of the heir, a worker that
//! follows another one in its slot. It writes there as long as its pid stands
//! there, and in the row of the slot from then on.

mod heir;

pub use heir::Desk;

use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::memory::{self, Shared};
use crate::sys::{self};
use crate::tape::taped;
pub use crate::types::Activity as State;
use crate::types::{Exit, Pid, Slot, Tick, Why};
use crate::words::picture::Worker;
use core::sync::atomic::{AtomicU64, Ordering};

/// What stands in the header's first word: "PNZR" and the version.
pub(super) const VERSION: u64 = 0x504E_5A52_0000_0001;
/// Words in the header and in a row.
pub(super) const ROW: usize = 8;
/// The size of every board: sparse, so only what is used takes up memory.
const SIZE: usize = HEIR_AT + ROW * size_of::<u64>();
/// The row of an heir, and where it stands.
pub(super) const HEIR: u16 = Slot::LAST + 1;
const HEIR_AT: usize = HEIR as usize * ROW * size_of::<u64>();
/// What stands in the row's word 4 where nobody counts.
const UNKNOWN: u64 = u64::MAX;
/// Where the state stands in the row's word 3.
const STATE_SHIFT: u32 = 56;

/// What main wants of a generation: bits of the header's word 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The port goes away with this generation: hand over the last of the queue.
    Final = 1,
    /// A service manager above main has the sockets: their queue outlives us.
    Held = 2,
}

/// What main has read from a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number of slots; 0 as long as no monitor has written it.
    pub count: u16,
    /// Workers that died unasked, badly.
    pub deaths: u32,
    /// Slots that have lost one so.
    pub slots_hit: u32,
    /// Whether the monitor's handlers are in place.
    pub handlers: bool,
    /// Whether the monitor had to kill a worker.
    pub killed: bool,
}

/// Main's end of a board.
#[derive(Debug)]
pub struct Board {
    file: Fd,
}

taped! { struct Board { file } }

impl Board {
    /// A new board, on which nobody has written.
    ///
    /// # Errors
    ///
    /// Those of [`memory::sealed_file`].
    pub fn create() -> sys::Result<Self> {
        memory::sealed_file(c"panzer-board", SIZE).map(|file| Self { file })
    }

    /// The descriptor that the monitor inherits.
    pub const fn descriptor(&self) -> Borrowed<'_> {
        self.file.borrow()
    }

    /// Writes what main wants.
    ///
    /// # Errors
    ///
    /// Those of [`fd::write_at`]; none for a board of our own making.
    pub fn wish(&self, wish: Wish) -> sys::Result<()> {
        let old = words(self.file.borrow(), 0).map_or(0, |words| words[3]);
        let new = old | wish as u64;
        fd::write_at(self.file.borrow(), &new.to_ne_bytes(), 3 * size_of::<u64>()).map(drop)
    }

    /// Writes how many workers the operator wants.
    ///
    /// # Errors
    ///
    /// Those of [`fd::write_at`]; none for a board of our own making.
    pub fn scale(&self, count: u16) -> sys::Result<()> {
        let word = u64::from(count).to_ne_bytes();
        fd::write_at(self.file.borrow(), &word, 6 * size_of::<u64>()).map(drop)
    }

    /// A copy that nobody can change any more: the header, the rows of the slots
    /// there are, and that of the heir.
    ///
    /// # Errors
    ///
    /// Those of [`memory::snapshot`] and [`fd::read_at`].
    pub fn snapshot(&self, count: u16) -> sys::Result<Fd> {
        let rows = 1 + usize::from(count.min(Slot::LAST));
        let size = rows * ROW * size_of::<u64>();
        // First, for an heir that inherits meanwhile is found in its slot then.
        let mut heir = [0; ROW * size_of::<u64>()];
        fd::read_at(self.file.borrow(), &mut heir, HEIR_AT)?;
        memory::snapshot(c"panzer-board", self.file.borrow(), size, &heir)
    }

    /// Reads the header; `None` when it is not one of this version.
    pub fn header(&self) -> Option<Header> {
        let words = words(self.file.borrow(), 0)?;
        if words[0] != VERSION {
            return None;
        }
        Some(Header {
            count: count(&words),
            deaths: low(words[2]),
            slots_hit: high(words[2]),
            handlers: words[4] == 1,
            killed: words[5] != 0,
        })
    }

    /// The worker of `slot`; `None` when nobody was ever there.
    pub fn worker(&self, slot: Slot) -> Option<Worker> {
        worker(self.file.borrow(), slot)
    }

    /// The heir, if there is one.
    pub fn heir(&self) -> Option<Worker> {
        heir(self.file.borrow(), HEIR)
    }
}

/// A row of a board, or its header, which is the first one; in one read.
pub(super) fn words(file: Borrowed<'_>, row: u16) -> Option<[u64; ROW]> {
    let mut bytes = [0; ROW * size_of::<u64>()];
    let place = usize::from(row) * bytes.len();
    let read = fd::read_at(file, &mut bytes, place);
    let mut words = [0; ROW];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    (read == Ok(bytes.len())).then_some(words)
}

/// What stands in a row; `None` when nobody was ever there.
pub(super) fn worker(file: Borrowed<'_>, slot: Slot) -> Option<Worker> {
    let worker = take_down(slot, &words(file, slot.number())?);
    (worker.pid.is_some() || worker.restarts > 0).then_some(worker)
}

/// The heir in the row `row`, if there is one.
pub(super) fn heir(file: Borrowed<'_>, row: u16) -> Option<Worker> {
    let words = words(file, row)?;
    let slot = Slot::new(u16::try_from(words[6]).ok()?)?;
    let heir = Worker { is_heir: true, ..take_down(slot, &words) };
    heir.pid.map(|_| heir)
}

fn take_down(slot: Slot, words: &[u64; ROW]) -> Worker {
    let (activity, active_since) = state(words[3]);
    let (exit, why) = decode(words[2]);
    Worker {
        slot,
        is_heir: false,
        pid: Pid::new(low(words[0]).cast_signed()),
        restarts: high(words[0]),
        since: Tick(words[1]),
        activity,
        active_since,
        exit,
        why,
        handled: (words[4] != UNKNOWN).then_some(words[4]),
    }
}

/// The number of slots that a header speaks of.
pub(super) fn count(header: &[u64; ROW]) -> u16 {
    u16::try_from(header[1]).unwrap_or(Slot::LAST).min(Slot::LAST)
}

/// A state, and since when, out of one word.
fn state(word: u64) -> (Option<State>, Tick) {
    let state = State::ALL.get((word >> STATE_SHIFT) as usize).copied();
    (state, Tick(word & ((1 << STATE_SHIFT) - 1)))
}

const fn low(word: u64) -> u32 {
    (word & u32::MAX as u64) as u32
}

pub(super) const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

const fn pack(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The board as a monitor and its workers have it.
#[derive(Clone, Copy, Debug)]
pub struct Sheet {
    words: Shared,
}

impl Sheet {
    /// Maps the board that main made.
    ///
    /// # Errors
    ///
    /// Those of [`Shared::map`].
    pub fn map(file: Borrowed<'_>) -> sys::Result<Self> {
        Shared::map(file, SIZE).map(|words| Self { words })
    }

    /// A board that nobody above us reads.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn alone() -> sys::Result<Self> {
        Shared::anonymous(SIZE).map(|words| Self { words })
    }

    fn header(self, index: usize) -> &'static AtomicU64 {
        self.words.word(index)
    }

    fn row(self, slot: Slot, index: usize) -> &'static AtomicU64 {
        self.at(slot.number(), index)
    }

    fn at(self, row: u16, index: usize) -> &'static AtomicU64 {
        self.words.word(usize::from(row) * ROW + index)
    }

    /// Every worker that stands here; numbers of who has ended since whoever writes
    /// here has may be others' by now.
    pub fn pids(self) -> impl Iterator<Item = Pid> {
        let pid_of = move |row| Pid::new(low(self.at(row, 0).load(Ordering::SeqCst)).cast_signed());
        (1..=HEIR).filter_map(pid_of)
    }

    /// A worker writes a word of its own, and once more if it was moved just now:
    /// whoever moved it may have looked before.
    fn write(self, desk: Desk, index: usize, word: u64) {
        let row = self.row_of(desk);
        self.at(row, index).store(word, Ordering::SeqCst);
        let now = self.row_of(desk);
        if now != row {
            self.at(now, index).store(word, Ordering::SeqCst);
        }
    }

    /// The monitor's handlers are in place, and it has that many slots.
    pub fn begin(self, count: u16) {
        self.header(1).store(u64::from(count), Ordering::SeqCst);
        self.header(4).store(1, Ordering::SeqCst);
        self.header(0).store(VERSION, Ordering::SeqCst);
    }

    /// How many workers main wants; `None` when it has not said.
    pub fn wanted(self) -> Option<u16> {
        let count = u16::try_from(self.header(6).load(Ordering::SeqCst)).ok()?;
        Slot::new(count).map(Slot::number)
    }

    /// The monitor has another number of slots. What was lost in those that are
    /// not wanted any more does not speak against the others.
    pub fn resize(self, count: u16) {
        self.header(1).store(u64::from(count), Ordering::SeqCst);
        let old = self.header(2).load(Ordering::SeqCst);
        let hit = Slot::first(count).filter(|&slot| self.is_hit(slot)).count();
        let hit = u32::try_from(hit).unwrap_or(u32::MAX);
        self.header(2).store(pack(low(old), hit), Ordering::SeqCst);
    }

    /// Whether a slot has lost a worker badly.
    fn is_hit(self, slot: Slot) -> bool {
        self.row(slot, 5).load(Ordering::SeqCst) != 0
    }

    /// Whether main, or the monitor that is alone, wants this.
    pub fn wants(self, wish: Wish) -> bool {
        self.header(3).load(Ordering::SeqCst) & wish as u64 != 0
    }

    /// What main would write if it could.
    pub fn wish(self, wish: Wish) {
        self.header(3).fetch_or(wish as u64, Ordering::SeqCst);
    }

    /// A worker had to be killed.
    pub fn killed(self) {
        self.header(5).store(1, Ordering::SeqCst);
    }

    /// The monitor has filled a slot; says whether somebody was there before.
    pub fn forked(self, slot: Slot, pid: Pid, now: Tick) -> bool {
        let restarts = high(self.row(slot, 0).load(Ordering::SeqCst));
        let before = self.row(slot, 1).swap(now.0, Ordering::SeqCst);
        self.row(slot, 0).store(pack(pid.raw().cast_unsigned(), restarts), Ordering::SeqCst);
        before > 0
    }

    /// A worker of a slot has died. One that was asked to is no loss; one that
    /// left unasked, by a signal or a status other than 0, is a bad one, and so is
    /// one that hung, however it took its end.
    pub fn died(self, slot: Slot, pid: Pid, exit: Exit, why: Why, now: Tick) {
        let asked = why == Why::Asked;
        let row = self.row(slot, 0).load(Ordering::SeqCst);
        let lost = high(row).saturating_add(u32::from(!asked));
        if self.row_of(Desk::of_heir(slot, pid)) == HEIR {
            self.at(HEIR, 0).store(0, Ordering::SeqCst);
            self.row(slot, 0).store(pack(low(row), lost), Ordering::SeqCst);
        } else {
            self.row(slot, 0).store(pack(0, lost), Ordering::SeqCst);
            self.enter(Desk::of(slot), State::Empty, now);
        }
        if asked {
            return;
        }
        self.explain(slot, exit, why);
        if !exit.is_success() || why == Why::Hung {
            let first = !self.is_hit(slot);
            self.row(slot, 5).store(1, Ordering::SeqCst);
            let old = self.header(2).load(Ordering::SeqCst);
            let hit = high(old).saturating_add(u32::from(first));
            self.header(2).store(pack(low(old).saturating_add(1), hit), Ordering::SeqCst);
        }
    }

    /// How and why the last worker of a slot ended that nobody had asked to.
    pub fn explain(self, slot: Slot, exit: Exit, why: Why) {
        self.row(slot, 2).store(encode(exit, why), Ordering::SeqCst);
    }

    /// A worker says what it does now.
    pub fn enter(self, desk: Desk, state: State, now: Tick) {
        let since = now.0 & ((1 << STATE_SHIFT) - 1);
        self.write(desk, 3, (state as u64) << STATE_SHIFT | since);
    }

    /// Nobody counts what a worker does.
    pub fn counts_nothing(self, desk: Desk) {
        self.handled(desk, UNKNOWN);
    }

    /// A worker has done so many things.
    pub fn handled(self, desk: Desk, count: u64) {
        self.write(desk, 4, count);
    }

    /// What a worker does, and since when.
    pub fn state(self, desk: Desk) -> (State, Tick) {
        let (state, since) = state(self.at(self.row_of(desk), 3).load(Ordering::SeqCst));
        (state.unwrap_or(State::Empty), since)
    }

    /// Whether the monitor is to be told who becomes busy. To ask for it, ask
    /// before a look at what they do; who becomes busy looks here after it has
    /// said so. One of the two sees the other.
    pub fn ask_for_busy(self, is_asked: bool) -> bool {
        self.header(7).swap(is_asked.into(), Ordering::SeqCst) == 1
    }

    /// The same, without changing it.
    pub fn is_asked_for_busy(self) -> bool {
        self.header(7).load(Ordering::SeqCst) == 1
    }
}

/// An exit as one word: 1 and the status, or 2, the signal and 256 for a core;
/// and the reason above bit 16.
const fn encode(exit: Exit, why: Why) -> u64 {
    let why = (why as u32) << 16;
    match exit {
        Exit::Status(status) => pack(status as u32 | why, 1),
        Exit::Signal { number, core } => pack(number as u32 | (core as u32) << 8 | why, 2),
    }
}

/// The exit that a word stands for, if it stands for one, and the reason.
fn decode(word: u64) -> (Option<Exit>, Why) {
    let [first, second, third, _] = low(word).to_le_bytes();
    let exit = match high(word) {
        1 => Some(Exit::Status(first)),
        2 => Some(Exit::Signal { number: first, core: second & 1 != 0 }),
        _ => None,
    };
    (exit, Why::ALL.get(usize::from(third)).copied().unwrap_or(Why::Unknown))
}

#[cfg(test)]
mod tests {
    use super::{Desk, HEIR, Sheet, State, high, low};
    use crate::types::{Exit, Pid, Slot, Tick, Why};
    use core::sync::atomic::Ordering;

    fn pid(raw: i32) -> Pid {
        Pid::new(raw).expect("tests use positive numbers")
    }

    /// RATIONALE 2.21
    #[test]
    fn an_heir_has_a_row_of_its_own_until_it_inherits_and_nothing_it_wrote_is_lost() {
        let sheet = Sheet::alone().expect("there is memory");
        let slot = Slot::new(2).expect("a slot");
        sheet.begin(2);
        sheet.forked(slot, pid(7), Tick(1));
        let (old, heir) = (Desk::of(slot), Desk::of_heir(slot, pid(8)));
        sheet.enter(old, State::Busy, Tick(2));
        sheet.handled(old, 5);
        sheet.expect_heir();
        sheet.begin_worker(heir, Tick(3));
        sheet.forked_heir(slot, pid(8), Tick(3));
        sheet.enter(heir, State::Idle, Tick(4));
        sheet.handled(heir, 1);
        assert_eq!(sheet.state(old), (State::Busy, Tick(2)));
        sheet.died(slot, pid(7), Exit::Status(0), Why::Asked, Tick(5));
        sheet.inherit(slot);
        let row = [0, 1, 4].map(|index| sheet.row(slot, index).load(Ordering::SeqCst));
        assert_eq!((row, sheet.state(heir)), ([8, 3, 1], (State::Idle, Tick(4))));
        sheet.enter(heir, State::Busy, Tick(6));
        assert_eq!(sheet.state(Desk::of(slot)), (State::Busy, Tick(6)));
        assert_eq!(sheet.at(HEIR, 0).load(Ordering::SeqCst), 0);
    }

    /// RATIONALE 2.21
    #[test]
    fn what_an_heir_did_before_it_inherited_is_not_what_the_next_one_does() {
        let sheet = Sheet::alone().expect("there is memory");
        let slot = Slot::new(1).expect("a slot");
        for raw in [8, 9] {
            let heir = Desk::of_heir(slot, pid(raw));
            sheet.expect_heir();
            sheet.forked_heir(slot, pid(raw), Tick(3));
            assert_eq!(sheet.state(heir).0, State::Empty);
            sheet.begin_worker(heir, Tick(3));
            sheet.enter(heir, State::Busy, Tick(4));
            sheet.inherit(slot);
            assert_eq!(sheet.state(heir), (State::Busy, Tick(4)));
        }
    }

    /// RATIONALE 2.22
    #[test]
    fn an_heir_that_begins_only_after_it_has_inherited_writes_in_its_slot() {
        let sheet = Sheet::alone().expect("there is memory");
        let slot = Slot::new(1).expect("a slot");
        let heir = Desk::of_heir(slot, pid(8));
        sheet.expect_heir();
        sheet.forked_heir(slot, pid(8), Tick(3));
        sheet.inherit(slot);
        sheet.begin_worker(heir, Tick(4));
        assert_eq!(sheet.at(HEIR, 0).load(Ordering::SeqCst), 0);
        assert_eq!(sheet.state(Desk::of(slot)), (State::Starting, Tick(4)));
    }

    /// RATIONALE 2.22
    #[test]
    fn an_heir_that_dies_is_a_loss_of_its_slot_and_leaves_who_is_there_alone() {
        let sheet = Sheet::alone().expect("there is memory");
        let slot = Slot::new(1).expect("a slot");
        sheet.forked(slot, pid(7), Tick(1));
        sheet.enter(Desk::of(slot), State::Idle, Tick(2));
        sheet.forked_heir(slot, pid(8), Tick(3));
        sheet.died(slot, pid(8), Exit::Status(1), Why::Unknown, Tick(4));
        let row = sheet.row(slot, 0).load(Ordering::SeqCst);
        assert_eq!((low(row), high(row)), (7, 1));
        assert_eq!(sheet.state(Desk::of(slot)), (State::Idle, Tick(2)));
        assert_eq!(sheet.at(HEIR, 0).load(Ordering::SeqCst), 0);
    }

    #[test]
    fn what_was_lost_in_slots_that_are_not_wanted_does_not_count() {
        let sheet = Sheet::alone().expect("there is memory");
        sheet.begin(3);
        for slot in Slot::first(3).skip(1) {
            sheet.died(slot, pid(7), Exit::Status(1), Why::Unknown, Tick(1));
        }
        let counts = || {
            let word = sheet.header(2).load(Ordering::SeqCst);
            (sheet.header(1).load(Ordering::SeqCst), low(word), high(word))
        };
        assert_eq!(counts(), (3, 2, 2));
        sheet.resize(2);
        assert_eq!(counts(), (2, 2, 1));
        sheet.resize(3);
        assert_eq!(counts(), (3, 2, 2));
    }

    /// RATIONALE 6.5
    #[test]
    fn who_was_asked_to_leave_is_no_loss_and_leaves_a_place_that_was_filled_before() {
        let sheet = Sheet::alone().expect("there is memory");
        let (slot, pid) = (Slot::new(1).expect("a slot"), pid(7));
        assert!(!sheet.forked(slot, pid, Tick(1)));
        sheet.died(slot, pid, Exit::Status(0), Why::Asked, Tick(2));
        assert!(sheet.forked(slot, pid, Tick(3)));
        let word = |index| sheet.row(slot, index).load(Ordering::SeqCst);
        assert_eq!((high(word(0)), word(2)), (0, 0));
        sheet.died(slot, pid, Exit::Status(0), Why::Unknown, Tick(4));
        assert_eq!((high(word(0)), word(5)), (1, 0));
    }

    /// RATIONALE 2.20
    #[test]
    fn who_hung_is_a_bad_loss_though_it_left_by_itself() {
        let sheet = Sheet::alone().expect("there is memory");
        let slot = Slot::new(1).expect("a slot");
        sheet.died(slot, pid(7), Exit::Status(0), Why::Hung, Tick(2));
        assert_eq!(sheet.header(2).load(Ordering::SeqCst), 1 << 32 | 1);
    }

    #[test]
    fn only_a_number_that_a_pool_can_have_is_wanted() {
        let sheet = Sheet::alone().expect("there is memory");
        for (word, wanted) in [(0, None), (1, Some(1)), (16_383, Some(16_383)), (16_384, None)] {
            sheet.header(6).store(word, Ordering::SeqCst);
            assert_eq!(sheet.wanted(), wanted);
        }
        sheet.header(6).store(u64::MAX, Ordering::SeqCst);
        assert_eq!(sheet.wanted(), None);
    }
}
