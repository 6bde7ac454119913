//! The row of an heir, beyond those of the slots: whose it is, and how what stands
//! there comes to the slot.

use super::{HEIR, Sheet, State, high, low, pack};
use crate::types::{Pid, Slot, Tick};
use core::sync::atomic::Ordering;

/// What stands in the row's first word from before the fork until whose row it is: no pid.
const EXPECTED: u64 = pack(0, 1);

/// Where a worker writes: its slot's row, or as long as it is that of the heir,
/// that one.
#[derive(Clone, Copy, Debug)]
pub struct Desk {
    slot: Slot,
    /// Who was forked as an heir.
    born: Option<Pid>,
}

impl Desk {
    /// That of the worker in `slot`.
    pub const fn of(slot: Slot) -> Self {
        Self { slot, born: None }
    }

    /// That of `pid`, which was forked as the heir of `slot`.
    pub const fn of_heir(slot: Slot, pid: Pid) -> Self {
        Self { slot, born: Some(pid) }
    }
}

impl Sheet {
    /// The row at which a worker is to be found now.
    pub(super) fn row_of(self, desk: Desk) -> u16 {
        let heir = low(self.at(HEIR, 0).load(Ordering::SeqCst));
        match desk.born {
            Some(pid) if pid.raw().cast_unsigned() == heir => HEIR,
            Some(_) | None => desk.slot.number(),
        }
    }

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

    /// A worker has just been forked. An heir may write before its monitor does, or
    /// not before it has inherited.
    pub fn begin_worker(self, desk: Desk, now: Tick) {
        if let Some(pid) = desk.born {
            let (row, pid) = (self.at(HEIR, 0), pid.raw().cast_unsigned().into());
            let _ = row.compare_exchange(EXPECTED, pid, Ordering::SeqCst, Ordering::SeqCst);
        }
        self.write(desk, 4, 0);
        self.enter(desk, State::Starting, now);
    }
}
