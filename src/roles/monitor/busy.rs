//! Who is busy: what the plan asks for when a worker may hang.
//!
//! Everything stands on the board. Where nobody is busy we ask there to be told
//! who becomes so, and sleep: idle workers wake nobody.

use super::pool::{Kind, Running};
use crate::keep::board::{Desk, State};
use crate::plan::pool::Event;
use crate::types::{Pid, Slot};
use alloc::vec::Vec;

impl<K: Kind> Running<K> {
    /// Everybody who is busy, and since when.
    pub(super) fn look(&self) -> Vec<Event> {
        let mut found = Vec::new();
        for slot in Slot::first(Slot::LAST).take(self.plan.slots()) {
            found.extend(self.plan.worker(slot).and_then(|pid| self.busy(slot, pid)));
        }
        found.extend(self.plan.heir().and_then(|(slot, pid)| self.busy(slot, pid)));
        found
    }

    /// That this worker is busy, if it is.
    pub(super) fn busy(&self, slot: Slot, pid: Pid) -> Option<Event> {
        let (state, since) = self.sheet.state(Desk::of_heir(slot, pid));
        (state == State::Busy).then_some(Event::Busy { slot, pid, since })
    }

    /// Sees to it that somebody who becomes busy is watched. Asked first and
    /// looked then: who has become busy before we asked is seen.
    pub(super) fn watch(&mut self) {
        if self.plan.is_watching() || self.sheet.is_asked_for_busy() {
            return;
        }
        self.sheet.ask_for_busy(true);
        for event in self.look() {
            self.step(self.woke, event);
        }
        if self.plan.is_watching() {
            self.sheet.ask_for_busy(false);
        }
    }
}
