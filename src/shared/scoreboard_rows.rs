//! Which row of the board is whose: the monitor's own book, which no other process
//! needs.

use crate::shared::scoreboard::{ROWS, RowRef, ScoreboardMap, State, encode, low, pack};
use crate::types::{Exit, ExitReason, Pid, Slot, Tick};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// A process, or what is left of its group, that has a row.
#[derive(Clone, Copy, Debug)]
pub struct RowOwner {
    /// The process; of a rest, the one that led the group.
    pub pid: Pid,
    /// Its slot.
    pub slot: Slot,
    /// Its row.
    pub row: RowRef,
    /// Whether the process was reaped, and others of its group are left.
    pub is_rest: bool,
}

/// What is known of a slot, whatever is in it.
#[derive(Clone, Copy, Debug, Default)]
struct SlotRecord {
    /// Workers that it has lost.
    restarts: u32,
    /// How the last of these ended, as a word of its row.
    exit: u64,
    /// Its row without a process.
    vacant: Option<RowRef>,
    /// Whether it had a worker before.
    was_filled: bool,
    /// How many processes, and rests of groups, have a row of it.
    owners: u16,
}

/// The rows of a board, as its monitor gives them out.
#[derive(Debug)]
pub struct Rows {
    scoreboard: ScoreboardMap,
    /// By their pids.
    owners: Vec<RowOwner>,
    slots: Vec<SlotRecord>,
    free: Vec<RowRef>,
    /// The rows that were ever used.
    used: u16,
}

impl Rows {
    /// All rows of `scoreboard` are free.
    pub const fn new(scoreboard: ScoreboardMap) -> Self {
        Self { scoreboard, owners: Vec::new(), slots: Vec::new(), free: Vec::new(), used: 0 }
    }

    /// All processes that have a row, by their pids, and what is left of groups.
    pub fn owners(&self) -> &[RowOwner] {
        &self.owners
    }

    /// The process `pid`, if it has a row and was not reaped.
    pub fn process(&self, pid: Pid) -> Option<&RowOwner> {
        self.owner(pid).filter(|owner| !owner.is_rest)
    }

    fn owner(&self, pid: Pid) -> Option<&RowOwner> {
        self.owners.get(self.place(pid).ok()?)
    }

    /// Where `pid` stands, or would stand.
    fn place(&self, pid: Pid) -> Result<usize, usize> {
        self.owners.binary_search_by_key(&pid, |owner| owner.pid)
    }

    fn record(&mut self, slot: Slot) -> &mut SlotRecord {
        if self.slots.len() <= slot.index() {
            // Several at once: see `fork` in the monitor's loop.
            self.slots.resize((slot.index() | 63) + 1, SlotRecord::default());
        }
        &mut self.slots[slot.index()]
    }

    /// A row for the next worker of a slot, which writes there from its fork on;
    /// [`Rows::forked`] or [`Rows::give_back`] is to follow. `None`: none is free.
    pub fn reserve(&mut self, slot: Slot) -> Option<RowRef> {
        let record = self.record(slot);
        if record.vacant.is_some() {
            return record.vacant.take();
        }
        let row = self.free.pop().or_else(|| {
            self.used = self.used.checked_add(1).filter(|&used| used <= ROWS)?;
            Some(RowRef(self.used))
        });
        self.scoreboard.header(4).fetch_max(self.used_word(), Ordering::SeqCst);
        row
    }

    /// The header's word 4 is the monitor's alone, and its other bits are never
    /// taken back.
    fn used_word(&self) -> u64 {
        let flags = low(self.scoreboard.header(4).load(Ordering::SeqCst));
        pack(flags, self.used.into())
    }

    /// A worker of `slot` has this row; says whether the slot had one before.
    pub fn forked(&mut self, slot: Slot, row: RowRef, pid: Pid, now: Tick) -> bool {
        // The kernel gives no number out whose group is not empty.
        self.emptied(pid, now);
        let SlotRecord { restarts, exit, .. } = *self.record(slot);
        let raw = pid.raw().cast_unsigned();
        for (index, word) in
            [(1, now.0), (2, exit), (0, pack(raw, restarts)), (5, slot.number().into())]
        {
            self.scoreboard.row(row, index).store(word, Ordering::SeqCst);
        }
        let owner = RowOwner { pid, slot, row, is_rest: false };
        let place = self.place(pid).unwrap_or_else(|place| place);
        self.owners.insert(place, owner);
        self.record(slot).owners += 1;
        core::mem::replace(&mut self.record(slot).was_filled, true)
    }

    /// Nothing was forked for this row of `slot`.
    pub fn give_back(&mut self, slot: Slot, row: RowRef) {
        if self.record(slot).owners > 0 {
            self.free.push(row);
        } else {
            self.record(slot).vacant = Some(row);
        }
    }

    /// The process `pid` was reaped. One that was asked to leave is no restart. If
    /// something is left of its group, that keeps the row.
    pub fn died(&mut self, pid: Pid, exit: Exit, reason: ExitReason, is_rest: bool, now: Tick) {
        let Ok(place) = self.place(pid) else { return };
        let owner = self.owners[place];
        let RowOwner { slot, row, .. } = owner;
        if reason != ExitReason::Requested {
            let record = self.record(slot);
            record.restarts = record.restarts.saturating_add(1);
            record.exit = encode(exit, reason);
            match record.owners {
                1 => self.show_losses(&owner),
                _ => self.explain(slot, exit, reason),
            }
        }
        if is_rest {
            self.owners[place].is_rest = true;
            self.scoreboard.enter(row, State::Draining, now);
        } else {
            self.leave(place, now);
        }
    }

    /// Nothing is left of the group that `pid` led.
    pub fn emptied(&mut self, pid: Pid, now: Tick) {
        if let Ok(place) = self.place(pid)
            && self.owners[place].is_rest
        {
            self.leave(place, now);
        }
    }

    /// A row has no process any more. It is free, unless it is the last of its slot.
    fn leave(&mut self, place: usize, now: Tick) {
        let RowOwner { slot, row, .. } = self.owners.remove(place);
        let record = self.record(slot);
        record.owners -= 1;
        let SlotRecord { restarts, owners, .. } = *record;
        self.scoreboard.row(row, 0).store(pack(0, restarts), Ordering::SeqCst);
        self.scoreboard.enter(row, State::Empty, now);
        if owners > 0 {
            self.scoreboard.row(row, 5).store(0, Ordering::SeqCst);
        }
        self.give_back(slot, row);
    }

    /// How and why the last worker of a slot ended that nothing had asked to: every
    /// row of the slot shows it.
    pub fn explain(&mut self, slot: Slot, exit: Exit, reason: ExitReason) {
        self.record(slot).exit = encode(exit, reason);
        for owner in self.owners.iter().filter(|owner| owner.slot == slot) {
            self.show_losses(owner);
        }
        let SlotRecord { exit, vacant, .. } = *self.record(slot);
        if let Some(row) = vacant {
            self.scoreboard.row(row, 2).store(exit, Ordering::SeqCst);
        }
    }

    /// What its slot has lost, in the row of a process.
    fn show_losses(&self, owner: &RowOwner) {
        let SlotRecord { restarts, exit, .. } = self.slots[owner.slot.index()];
        let words = [(0, pack(owner.pid.raw().cast_unsigned(), restarts)), (2, exit)];
        for (index, word) in words {
            self.scoreboard.row(owner.row, index).store(word, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RowRef, Rows};
    use crate::protocol::status_report::WorkerReport;
    use crate::shared::scoreboard::Scoreboard;
    use crate::shared::scoreboard::{ROWS, ScoreboardMap, State, count, read_rows, rows, words};
    use crate::types::{Activity, Exit, ExitReason, Losses, Pid, Slot, Tick};
    use alloc::vec::Vec;

    const FAILED: Exit = Exit::Status(1);

    fn pid(raw: i32) -> Pid {
        Pid::new(raw).expect("tests use positive numbers")
    }

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("a slot")
    }

    /// A scoreboard as main has it, and the rows as its monitor has them.
    fn board(slots: u16) -> (Scoreboard, Rows) {
        let board = Scoreboard::create().expect("there is memory");
        let scoreboard = ScoreboardMap::map(board.descriptor()).expect("there is memory");
        scoreboard.begin(slots);
        scoreboard.count(slots, 0, Losses::default(), Losses::default());
        (board, Rows::new(scoreboard))
    }

    fn fork(rows: &mut Rows, number: u16, raw: i32, now: u64) -> RowRef {
        let row = rows.reserve(slot(number)).expect("a row is free");
        rows.scoreboard.begin_worker(row, Tick(now));
        rows.forked(slot(number), row, pid(raw), Tick(now));
        row
    }

    /// The workers that main reads.
    fn read(board: &Scoreboard) -> Vec<WorkerReport> {
        let header = words(board.descriptor(), 0).expect("a header");
        read_rows(board.descriptor(), count(&header), rows(&header))
    }

    /// The slot and pid of each worker, and whether it is a replacement.
    fn shown(board: &Scoreboard) -> Vec<(u16, i32, bool)> {
        let show = |worker: &WorkerReport| {
            (worker.slot.number(), worker.pid.map_or(0, Pid::raw), worker.is_replacement)
        };
        read(board).iter().map(show).collect()
    }

    #[test]
    fn replacement_has_its_own_row_and_keeps_it() {
        let (board, mut rows) = board(2);
        let old = fork(&mut rows, 2, 7, 1);
        let new = fork(&mut rows, 2, 8, 5);
        fork(&mut rows, 1, 9, 6);
        assert_ne!(old, new);
        assert_eq!(shown(&board), [(1, 9, false), (2, 7, false), (2, 8, true)]);
        rows.scoreboard.enter(new, State::Busy, Tick(8));
        rows.died(pid(7), Exit::Status(0), ExitReason::Requested, false, Tick(9));
        assert_eq!(shown(&board), [(1, 9, false), (2, 8, false)]);
        assert_eq!(rows.scoreboard.state(new), (State::Busy, Tick(8)));
    }

    #[test]
    fn last_row_of_a_slot_is_shown_until_the_next_worker() {
        let (board, mut rows) = board(1);
        let row = fork(&mut rows, 1, 7, 1);
        rows.died(pid(7), FAILED, ExitReason::Unknown, false, Tick(4));
        let [worker] = read(&board)[..] else { panic!("one row") };
        assert_eq!((worker.pid, worker.restarts, worker.exit), (None, 1, Some(FAILED)));
        assert_eq!(worker.active_since, Tick(4));
        assert_eq!(fork(&mut rows, 1, 8, 5), row);
        let [worker] = read(&board)[..] else { panic!("one row") };
        assert_eq!((worker.pid, worker.restarts), (Some(pid(8)), 1));
        assert_eq!((worker.exit, worker.activity), (Some(FAILED), Some(Activity::Starting)));
    }

    #[test]
    fn losses_of_a_slot_are_in_all_its_rows() {
        let (board, mut rows) = board(1);
        fork(&mut rows, 1, 7, 1);
        fork(&mut rows, 1, 8, 2);
        rows.died(pid(8), FAILED, ExitReason::Unknown, false, Tick(4));
        fork(&mut rows, 1, 9, 5);
        let restarts: Vec<_> =
            read(&board).iter().map(|worker| (worker.restarts, worker.exit)).collect();
        assert_eq!(restarts, [(1, Some(FAILED)); 2]);
    }

    #[test]
    fn rest_of_a_group_keeps_its_row_until_it_is_empty() {
        let (board, mut rows) = board(1);
        let row = fork(&mut rows, 1, 7, 1);
        rows.died(pid(7), FAILED, ExitReason::Unknown, true, Tick(3));
        assert!(rows.process(pid(7)).is_none(), "it was reaped");
        assert_ne!(fork(&mut rows, 1, 8, 4), row);
        assert_eq!(shown(&board), [(1, 7, false), (1, 8, true)]);
        assert_eq!(read(&board)[0].activity, Some(Activity::Draining));
        rows.emptied(pid(7), Tick(5));
        assert_eq!(shown(&board), [(1, 8, false)]);
    }

    #[test]
    fn reused_pid_has_no_old_group() {
        let (board, mut rows) = board(1);
        fork(&mut rows, 1, 7, 1);
        rows.died(pid(7), FAILED, ExitReason::Unknown, true, Tick(3));
        fork(&mut rows, 1, 7, 4);
        assert_eq!(shown(&board), [(1, 7, false)]);
    }

    #[test]
    fn failed_fork_leaves_no_row() {
        let (board, mut rows) = board(1);
        let row = rows.reserve(slot(1)).expect("a row is free");
        rows.give_back(slot(1), row);
        assert_eq!(shown(&board), []);
        assert_eq!(fork(&mut rows, 1, 7, 2), row);
        let beside = rows.reserve(slot(1)).expect("a row is free");
        rows.give_back(slot(1), beside);
        assert_eq!(shown(&board), [(1, 7, false)]);
        assert_eq!(fork(&mut rows, 1, 8, 4), beside);
    }

    #[test]
    fn rows_of_all_blocks_are_read_and_none_behind_those_used() {
        let (board, mut rows) = board(200);
        for number in 1..=130 {
            fork(&mut rows, number, 1_000 + i32::from(number), 1);
        }
        let expected: Vec<_> =
            (1..=130).map(|slot| (slot, 1_000 + i32::from(slot), false)).collect();
        assert_eq!(shown(&board), expected);
        let mut header = board.header().expect("a header");
        for used in [0, 1, 64, 65, 128, 129] {
            header.rows = used;
            assert_eq!(board.workers(&header).len(), usize::from(used));
        }
        let is_last = |worker: &WorkerReport| worker.slot == slot(130);
        assert!(!board.any_worker(&header, &is_last));
        header.rows = ROWS;
        assert!(board.any_worker(&header, &is_last));
        let copy = board.snapshot(129).expect("there is memory");
        assert_eq!(read_rows(copy.borrow(), 200, ROWS).len(), 129);
    }

    #[test]
    fn every_row_is_reserved_once() {
        let mut rows = Rows::new(ScoreboardMap::alone().expect("there is memory"));
        for number in 1..=ROWS {
            let slot = slot(1 + number % Slot::LAST);
            let row = rows.reserve(slot).expect("a row is free");
            assert_eq!(row, RowRef(number));
        }
        assert_eq!(rows.reserve(slot(1)), None);
        assert_eq!(rows.used, ROWS);
    }

    #[test]
    fn requested_exit_is_not_counted_as_a_restart() {
        let (board, mut rows) = board(1);
        fork(&mut rows, 1, 7, 1);
        rows.died(pid(7), Exit::Status(0), ExitReason::Requested, false, Tick(2));
        let [worker] = read(&board)[..] else { panic!("one row") };
        assert_eq!((worker.restarts, worker.exit), (0, None));
        let row = rows.reserve(slot(1)).expect("a row is free");
        assert!(rows.forked(slot(1), row, pid(8), Tick(3)), "it was filled before");
    }
}
