//! An heir on the board: from its fork until it is all that is left in its slot.

use super::{HEIR, Sheet, high, low, pack};
use crate::types::{Pid, Slot, Tick};
use core::sync::atomic::Ordering;

/// What stands in the first word of its row from before its fork until its pid
/// does: no pid.
pub(super) const EXPECTED: u64 = pack(0, 1);

impl Sheet {
    /// An heir is about to be made. What the one before it did is not its doing.
    pub fn expect_heir(self) {
        self.at(HEIR, 3).store(0, Ordering::SeqCst);
        self.at(HEIR, 0).store(EXPECTED, Ordering::SeqCst);
    }

    /// The monitor has made the heir of a slot.
    pub fn forked_heir(self, slot: Slot, pid: Pid, now: Tick) {
        self.at(HEIR, 1).store(now.0, Ordering::SeqCst);
        self.at(HEIR, 6).store(slot.number().into(), Ordering::SeqCst);
        self.at(HEIR, 0).store(pid.raw().cast_unsigned().into(), Ordering::SeqCst);
    }

    /// The heir is all that is left in its slot: its row is free again.
    pub fn inherit(self, slot: Slot) {
        let restarts = high(self.row(slot, 0).load(Ordering::SeqCst));
        let heir = low(self.at(HEIR, 0).load(Ordering::SeqCst));
        self.row(slot, 1).store(self.at(HEIR, 1).load(Ordering::SeqCst), Ordering::SeqCst);
        self.row(slot, 0).store(pack(heir, restarts), Ordering::SeqCst);
        self.row(slot, 4).store(0, Ordering::SeqCst);
        let before = [3, 4].map(|index| self.row(slot, index).load(Ordering::SeqCst));
        // From here on it writes where we are about to: what it has written there
        // is newer than what we bring.
        self.at(HEIR, 0).store(0, Ordering::SeqCst);
        for (index, before) in [3, 4].into_iter().zip(before) {
            let brought = self.at(HEIR, index).load(Ordering::SeqCst);
            let word = self.row(slot, index);
            let _ = word.compare_exchange(before, brought, Ordering::SeqCst, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Desk, HEIR, Sheet, State, high, low};
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
}
