//! Busy workers: what the pool asks for when a worker may hang.
//!
//! Everything stands on the board. Where no worker is busy we ask there to be told
//! which one becomes so, and sleep: idle workers wake no process.

use crate::monitor::monitor_loop::{MonitorLoop, PoolKind};
use crate::monitor::pool::Event;
use crate::shared::scoreboard::State;
use crate::shared::scoreboard_rows::RowOwner;
use alloc::vec::Vec;

impl<K: PoolKind> MonitorLoop<K> {
    /// Every worker that is busy, and since when.
    pub(super) fn look(&self) -> Vec<Event> {
        self.rows.owners().iter().filter_map(|owner| self.busy(owner)).collect()
    }

    /// That this worker is busy, if it is.
    pub(super) fn busy(&self, owner: &RowOwner) -> Option<Event> {
        let RowOwner { slot, pid, row, .. } = *owner;
        let (state, since) = self.scoreboard.state(row);
        (state == State::Busy).then_some(Event::Busy { slot, pid, since })
    }

    /// Sees to it that a worker that becomes busy is watched. Asked first and looked
    /// then: one that became busy before we asked is seen.
    pub(super) fn watch_for_hangs(&mut self) {
        if self.pool.is_watching() || self.scoreboard.is_asked_for_busy() {
            return;
        }
        self.scoreboard.ask_for_busy(true);
        for event in self.look() {
            self.step(self.woke, event);
        }
        if self.pool.is_watching() {
            self.scoreboard.ask_for_busy(false);
        }
    }
}
