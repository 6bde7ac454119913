//! The board: one table in shared memory for each generation.
//!
//! A header of 64 bytes and a row of 64 bytes for each process, all in words of
//! eight bytes, each written by one process with one atomic operation. Main makes
//! it, as a sealed file in memory, and reads it with pread(2): what stands
//! there is a stranger's, so it is checked and never trusted. The monitor and
//! its workers have it mapped and write it.
//!
//! | word | header                                  | row                            |
//! | ---- | --------------------------------------- | ------------------------------ |
//! | 0    | version of this layout                  | pid, and the slot's restarts above bit 32 |
//! | 1    | slots, and ready ones above bit 32      | when it was forked             |
//! | 2    | [`Losses`] before ready: slots, and worst above bit 32 | the slot's last exit |
//! | 3    | what main wants (bits of [`Flags`])      | state, and since when below it |
//! | 4    | 1: the monitor's handlers are in place; 2: a worker had to be killed; above bit 32, the rows that were ever used | connections or requests handled |
//! | 5    | [`Losses`] since ready                  | the slot; 0: the row is free   |
//! | 6    | the workers that main wants, or 0       | connections held, and taken so far above bit 32 |
//! | 7    | 1: a worker that gets busy reports it   | when it looked at the queue; bit 63: passed over |
//!
//! The header's words 3 and 6 are main's; the row's words 3, 4, 6 and 7 are the worker's;
//! all others are the monitor's. Two bits are others' too: a worker takes the header's last
//! one back, and sets the last one of a sibling's row.
//!
//! A row belongs to one process from its fork to its end, so nothing moves. A slot
//! has several rows while its worker is replaced, or leaves beside the next one. The
//! last row of a slot stays when its process is gone, without a pid: it says since
//! when the slot is empty, and the next process of the slot has it.

use crate::persist::persisted;
use crate::protocol::status_report::WorkerReport;
use crate::sys;
use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::memory::{self, Shared};
pub use crate::types::Activity as State;
use crate::types::{Exit, ExitReason, Losses, Pid, Slot, Tick};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// What stands in the header's first word: "PNZR" and the version.
pub(super) const VERSION: u64 = 0x504E_5A52_0000_0002;
/// Words in the header and in a row.
pub(super) const ROW: usize = 8;
const ROW_BYTES: usize = ROW * size_of::<u64>();
/// The rows that are read at once.
const BLOCK: usize = 64;
/// The rows of every board: as many processes can there be at once.
pub const ROWS: u16 = 32_768;
/// The size of every board: sparse, so only what is used takes up memory.
const SIZE: usize = (1 + ROWS as usize) * ROW_BYTES;
/// What stands in the row's word 4 where nothing is counted.
const UNKNOWN: u64 = u64::MAX;
/// The bits of the header's word 4.
const HANDLERS: u64 = 1;
const KILLED: u64 = 2;
/// Where the state stands in the row's word 3.
const STATE_SHIFT: u32 = 56;
/// The bit of the row's word 7.
const PASSED_OVER: u64 = 1 << 63;
/// How many rows a worker compares itself with: what that costs does not grow with the pool.
const SIBLINGS: u16 = 64;

/// A row of the board, from 1 on: as long as its process lives, that one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRef(pub(super) u16);

impl RowRef {
    /// The row at this place.
    pub const fn at(number: u16) -> Self {
        Self(number)
    }

    /// Its place on the board, from 1.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// What a worker says of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Those that it holds now.
    pub held: u32,
    /// Those that it has begun to hold, ever; it wraps around.
    pub taken: u32,
}

/// What main wants of a generation: bits of the header's word 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// The port goes away with this generation: hand over the last of the queue.
    Final = 1,
    /// A service manager above main has the sockets: their queue outlives us. Taken back
    /// by `Final`.
    Held = 2,
    /// A SIGINT of main's is on its way: stop at once.
    Now = 4,
}

/// What main has read from a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreboardHeader {
    /// The number of slots; 0 as long as no monitor has written it.
    pub count: u16,
    /// Slots that have a ready worker now; at most `count`.
    pub ready: u16,
    /// What the slots have lost before every one had a ready worker once.
    pub before_ready: Losses,
    /// What they have lost since.
    pub since_ready: Losses,
    /// Whether the monitor's handlers are in place.
    pub handlers: bool,
    /// Whether the monitor had to kill a worker.
    pub killed: bool,
    /// The rows that were ever used, from the first one.
    pub rows: u16,
}

/// Main's end of a board.
#[derive(Debug)]
pub struct Scoreboard {
    file: Fd,
}

persisted! { struct Scoreboard { file } }

impl Scoreboard {
    /// A new, empty board.
    ///
    /// # Errors
    ///
    /// Those of [`memory::sealed_file`].
    pub fn create() -> sys::SysResult<Self> {
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
    pub fn set_flag(&self, wish: Flags) -> sys::SysResult<()> {
        let old = words(self.file.borrow(), 0).map_or(0, |words| words[3]);
        let kept = match wish {
            Flags::Final => old & !(Flags::Held as u64),
            Flags::Held | Flags::Now => old,
        };
        let new = kept | wish as u64;
        fd::write_at(self.file.borrow(), &new.to_ne_bytes(), 3 * size_of::<u64>()).map(drop)
    }

    /// Writes how many workers the operator wants.
    ///
    /// # Errors
    ///
    /// Those of [`fd::write_at`]; none for a board of our own making.
    pub fn scale(&self, count: u16) -> sys::SysResult<()> {
        let word = u64::from(count).to_ne_bytes();
        fd::write_at(self.file.borrow(), &word, 6 * size_of::<u64>()).map(drop)
    }

    /// A copy that cannot be changed any more: the header, and the rows of which it
    /// says that they were used.
    ///
    /// # Errors
    ///
    /// Those of [`memory::snapshot`].
    pub fn snapshot(&self, rows: u16) -> sys::SysResult<Fd> {
        let size = (1 + usize::from(rows.min(ROWS))) * ROW_BYTES;
        memory::snapshot(c"panzer-board", self.file.borrow(), size)
    }

    /// Reads the header; `None` when it is not one of this version.
    pub fn header(&self) -> Option<ScoreboardHeader> {
        let words = words(self.file.borrow(), 0)?;
        if words[0] != VERSION {
            return None;
        }
        Some(ScoreboardHeader {
            count: count(&words),
            ready: u16::try_from(high(words[1])).unwrap_or(u16::MAX).min(count(&words)),
            before_ready: losses(words[2]),
            since_ready: losses(words[5]),
            handlers: words[4] & HANDLERS != 0,
            killed: words[4] & KILLED != 0,
            rows: rows(&words),
        })
    }

    /// What stands in the rows, as [`read_rows`] has it.
    pub fn workers(&self, header: &ScoreboardHeader) -> Vec<WorkerReport> {
        read_rows(self.file.borrow(), header.count, header.rows)
    }

    /// Whether there is such a worker, or such an empty slot; looks no further than the
    /// first.
    pub fn any_worker(
        &self,
        header: &ScoreboardHeader,
        is_it: &dyn Fn(&WorkerReport) -> bool,
    ) -> bool {
        any_row(self.file.borrow(), header.count, header.rows, &mut |worker| is_it(&worker))
    }
}

/// The workers in the first `rows` rows, by their slots, in each the oldest first;
/// and each of the first `count` slots that had one and has none. Those that are in
/// one slot with an older one are shown as replacements.
pub(super) fn read_rows(file: Borrowed<'_>, count: u16, rows: u16) -> Vec<WorkerReport> {
    let mut workers = Vec::new();
    any_row(file, count, rows, &mut |worker| {
        workers.push(worker);
        false
    });
    workers.sort_unstable_by_key(|worker| {
        (worker.slot, worker.pid.is_none(), worker.since, worker.pid.map(Pid::raw))
    });
    // A process that began or ended between two reads has left a row for each.
    workers.dedup_by(|later, first| {
        later.slot == first.slot && (later.pid.is_none() || later.pid == first.pid)
    });
    let mut before = None;
    for worker in &mut workers {
        worker.is_replacement = before.replace(worker.slot) == Some(worker.slot);
    }
    workers
}

/// Whether `is_it` says yes to one of the first `rows` rows, in their order, and looks no
/// further than that. Those that are free are left out, and the vacant ones of slots behind
/// the first `count`.
fn any_row(
    file: Borrowed<'_>,
    count: u16,
    rows: u16,
    is_it: &mut dyn FnMut(WorkerReport) -> bool,
) -> bool {
    let rows = usize::from(rows.min(ROWS));
    let mut bytes = [0; BLOCK * ROW_BYTES];
    for first in (1..=rows).step_by(BLOCK) {
        let block = &mut bytes[..BLOCK.min(rows + 1 - first) * ROW_BYTES];
        let read = fd::read_at(file, block, first * ROW_BYTES).unwrap_or(0);
        for row in block[..read].as_chunks().0 {
            if let Some(worker) = take_down(&words_of(row))
                && (worker.pid.is_some() || worker.slot.number() <= count)
                && is_it(worker)
            {
                return true;
            }
        }
    }
    false
}

/// A row of a board, or its header, which is the first one; in one read.
pub(super) fn words(file: Borrowed<'_>, row: u16) -> Option<[u64; ROW]> {
    let mut bytes = [0; ROW_BYTES];
    let read = fd::read_at(file, &mut bytes, usize::from(row) * ROW_BYTES);
    (read == Ok(ROW_BYTES)).then(|| words_of(&bytes))
}

fn words_of(bytes: &[u8; ROW_BYTES]) -> [u64; ROW] {
    let mut words = [0; ROW];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}

/// What stands in a row, unless it is free.
fn take_down(words: &[u64; ROW]) -> Option<WorkerReport> {
    let slot = Slot::new(u16::try_from(words[5]).ok()?)?;
    let (activity, active_since) = state(words[3]);
    let (exit, reason) = decode(words[2]);
    Some(WorkerReport {
        slot,
        is_replacement: false,
        pid: Pid::new(low(words[0]).cast_signed()),
        restarts: high(words[0]),
        since: Tick(words[1]),
        activity,
        active_since,
        exit,
        reason,
        handled: (words[4] != UNKNOWN).then_some(words[4]),
        connections: (high(words[6]) > 0).then_some(low(words[6])),
    })
}

/// The rows that were ever used, as a header has it.
pub(super) fn rows(header: &[u64; ROW]) -> u16 {
    u16::try_from(high(header[4])).unwrap_or(ROWS).min(ROWS)
}

/// The number of slots that a header speaks of.
pub(super) fn count(header: &[u64; ROW]) -> u16 {
    u16::try_from(low(header[1])).unwrap_or(Slot::LAST).min(Slot::LAST)
}

/// The losses that a word of the header speaks of.
const fn losses(word: u64) -> Losses {
    Losses { slots: low(word), worst: high(word) }
}

/// A state, and since when, out of one word.
fn state(word: u64) -> (Option<State>, Tick) {
    let state = State::ALL.get((word >> STATE_SHIFT) as usize).copied();
    (state, Tick(word & ((1 << STATE_SHIFT) - 1)))
}

pub(super) const fn low(word: u64) -> u32 {
    (word & u32::MAX as u64) as u32
}

pub(super) const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

pub(super) const fn pack(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The board as a monitor and its workers have it.
#[derive(Clone, Copy, Debug)]
pub struct ScoreboardMap {
    words: Shared,
}

impl ScoreboardMap {
    /// Maps the board that main made.
    ///
    /// # Errors
    ///
    /// Those of [`Shared::map`].
    pub fn map(file: Borrowed<'_>) -> sys::SysResult<Self> {
        Shared::map(file, SIZE).map(|words| Self { words })
    }

    /// A board of our own, for a program that runs alone.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn alone() -> sys::SysResult<Self> {
        Shared::anonymous(SIZE).map(|words| Self { words })
    }

    pub(super) fn header(self, index: usize) -> &'static AtomicU64 {
        self.words.word(index)
    }

    pub(crate) fn row(self, row: RowRef, index: usize) -> &'static AtomicU64 {
        self.words.word(usize::from(row.number()) * ROW + index)
    }

    /// The monitor's handlers are in place, and it has that many slots.
    pub fn begin(self, count: u16) {
        self.header(1).store(u64::from(count), Ordering::SeqCst);
        self.header(4).fetch_or(HANDLERS, Ordering::SeqCst);
        self.header(0).store(VERSION, Ordering::SeqCst);
    }

    /// How many workers main wants; `None` when it has not said.
    pub fn wanted(self) -> Option<u16> {
        let count = u16::try_from(self.header(6).load(Ordering::SeqCst)).ok()?;
        Slot::new(count).map(Slot::number)
    }

    /// How the slots of the monitor are: how many there are, how many have a ready
    /// worker, and what they have lost before all had one and since.
    pub fn count(self, count: u16, ready: u16, before_ready: Losses, since_ready: Losses) {
        let slots = pack(count.into(), ready.into());
        let [before, since] =
            [before_ready, since_ready].map(|losses| pack(losses.slots, losses.worst));
        for (index, word) in [(1, slots), (2, before), (5, since)] {
            self.header(index).store(word, Ordering::SeqCst);
        }
    }

    /// Whether main, or the monitor that is alone, wants this.
    pub fn wants(self, wish: Flags) -> bool {
        self.header(3).load(Ordering::SeqCst) & wish as u64 != 0
    }

    /// What main would write if it could.
    pub fn set_flag(self, wish: Flags) {
        self.header(3).fetch_or(wish as u64, Ordering::SeqCst);
    }

    /// A worker had to be killed.
    pub fn killed(self) {
        self.header(4).fetch_or(KILLED, Ordering::SeqCst);
    }

    /// A worker has just been forked.
    pub fn begin_worker(self, row: RowRef, now: Tick) {
        self.handled(row, 0);
        for index in [6, 7] {
            self.row(row, index).store(0, Ordering::SeqCst);
        }
        self.enter(row, State::Starting, now);
    }

    /// A worker says what it does now.
    pub fn enter(self, row: RowRef, state: State, now: Tick) {
        let since = now.0 & ((1 << STATE_SHIFT) - 1);
        self.row(row, 3).store((state as u64) << STATE_SHIFT | since, Ordering::SeqCst);
    }

    /// Nothing counts what a worker does.
    pub fn counts_nothing(self, row: RowRef) {
        self.handled(row, UNKNOWN);
    }

    /// A worker has done one thing more.
    pub fn add_handled(self, row: RowRef) {
        self.row(row, 4).fetch_add(1, Ordering::SeqCst);
    }

    fn handled(self, row: RowRef, count: u64) {
        self.row(row, 4).store(count, Ordering::SeqCst);
    }

    /// What a worker says of its connections.
    pub fn connections(self, row: RowRef) -> Connections {
        let word = self.row(row, 6).load(Ordering::SeqCst);
        Connections { held: low(word), taken: high(word) }
    }

    /// A worker holds one connection more.
    pub fn add_connection(self, row: RowRef) {
        self.row(row, 6).fetch_add(pack(1, 1), Ordering::SeqCst);
    }

    /// A worker holds one connection less. Where it has said another number meanwhile there may
    /// be none, and one less would be more than any other worker has.
    pub fn remove_connection(self, row: RowRef) {
        let one_less = |word| (low(word) > 0).then(|| word - 1);
        let _ = self.row(row, 6).try_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
    }

    /// A worker holds so many connections.
    pub fn hold_connections(self, row: RowRef, held: u32) {
        let before = self.connections(row);
        let taken = before.taken.wrapping_add(held.saturating_sub(before.held));
        self.row(row, 6).store(pack(held, taken), Ordering::SeqCst);
    }

    /// The rows that stand behind that of a worker, at most 64; the first one follows the last.
    pub fn siblings(self, row: RowRef) -> impl Iterator<Item = RowRef> {
        let used = high(self.header(4).load(Ordering::SeqCst)).min(ROWS.into()) as u16;
        let rows = (row.number() + 1..=used).chain(1..row.number());
        rows.take(SIBLINGS.into()).map(RowRef)
    }

    /// A worker looks whether a connection waits: nothing passes it over now.
    pub fn look_at_queue(self, row: RowRef, now: Tick) {
        self.row(row, 7).store(now.0 & !PASSED_OVER, Ordering::SeqCst);
    }

    /// Has a sibling count for nothing until it looks at the queue again, unless it has
    /// looked since then.
    pub fn pass_over(self, row: RowRef, since: Tick) {
        let word = self.row(row, 7);
        let looked = word.load(Ordering::SeqCst);
        if looked < since.0 {
            let passed = looked | PASSED_OVER;
            // Otherwise it has looked just now.
            let _ = word.compare_exchange(looked, passed, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// Whether a worker has looked at the queue at this time or later.
    pub fn has_looked(self, row: RowRef, since: Tick) -> bool {
        self.row(row, 7).load(Ordering::SeqCst) & !PASSED_OVER >= since.0
    }

    /// Whether a worker was passed over and has not looked since then.
    pub fn is_passed_over(self, row: RowRef) -> bool {
        self.row(row, 7).load(Ordering::SeqCst) & PASSED_OVER != 0
    }

    /// The number of the process that has a row, or had the group that has it; 0: none.
    pub fn pid(self, row: RowRef) -> u32 {
        low(self.row(row, 0).load(Ordering::SeqCst))
    }

    /// What a worker does, and since when.
    pub fn state(self, row: RowRef) -> (State, Tick) {
        let (state, since) = state(self.row(row, 3).load(Ordering::SeqCst));
        (state.unwrap_or(State::Empty), since)
    }

    /// Whether the monitor is to be told which worker becomes busy. To ask for it, ask
    /// before a look at what they do; a worker that becomes busy looks here after it
    /// has said so. One of the two sees the other.
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
pub(super) const fn encode(exit: Exit, reason: ExitReason) -> u64 {
    let reason = (reason as u32) << 16;
    match exit {
        Exit::Status(status) => pack(status as u32 | reason, 1),
        Exit::Signal { number, core } => pack(number as u32 | (core as u32) << 8 | reason, 2),
    }
}

/// The exit that a word stands for, if it stands for one, and the reason.
fn decode(word: u64) -> (Option<Exit>, ExitReason) {
    let [first, second, third, _] = low(word).to_le_bytes();
    let exit = match high(word) {
        1 => Some(Exit::Status(first)),
        2 => Some(Exit::Signal { number: first, core: second & 1 != 0 }),
        _ => None,
    };
    (exit, ExitReason::ALL.get(usize::from(third)).copied().unwrap_or(ExitReason::Unknown))
}

#[cfg(test)]
mod tests {
    use super::{Flags, Scoreboard, ScoreboardMap};
    use crate::types::Losses;
    use core::sync::atomic::Ordering;

    #[test]
    fn header_keeps_slots_and_losses_separately() {
        let scoreboard = ScoreboardMap::alone().expect("there is memory");
        scoreboard.begin(3);
        let [before, since] = [(2, 5), (1, 1)].map(|(slots, worst)| Losses { slots, worst });
        scoreboard.count(3, 2, before, since);
        scoreboard.killed();
        let words = [1, 2, 4, 5].map(|index| scoreboard.header(index).load(Ordering::SeqCst));
        assert_eq!(words, [2 << 32 | 3, 5 << 32 | 2, 3, 1 << 32 | 1]);
    }

    #[test]
    fn final_stop_takes_back_that_a_service_manager_has_the_sockets() {
        let scoreboard = Scoreboard::create().expect("there is memory");
        let map = ScoreboardMap::map(scoreboard.descriptor()).expect("there is memory");
        let wants = || [Flags::Held, Flags::Final, Flags::Now].map(|flag| map.wants(flag));
        for (flag, all) in [
            (Flags::Held, [true, false, false]),
            (Flags::Final, [false, true, false]),
            (Flags::Now, [false, true, true]),
        ] {
            scoreboard.set_flag(flag).expect("it is ours");
            assert_eq!(wants(), all);
        }
    }

    #[test]
    fn wanted_count_must_be_a_valid_number_of_slots() {
        let scoreboard = ScoreboardMap::alone().expect("there is memory");
        for (word, wanted) in [(0, None), (1, Some(1)), (16_383, Some(16_383)), (16_384, None)] {
            scoreboard.header(6).store(word, Ordering::SeqCst);
            assert_eq!(scoreboard.wanted(), wanted);
        }
        scoreboard.header(6).store(u64::MAX, Ordering::SeqCst);
        assert_eq!(scoreboard.wanted(), None);
    }
}
