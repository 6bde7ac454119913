//! Another number of workers, which main wants.
//!
//! Main writes the number onto the board and sends SIGWINCH. A signal without a number
//! is not from main, perhaps from a terminal that was resized.

use crate::monitor::monitor_loop::{MonitorLoop, PoolKind};
use crate::monitor::pool::Event;
use crate::types::Tick;

impl<K: PoolKind> MonitorLoop<K> {
    /// Has as many workers as main wants, if it has said.
    pub(super) fn scale(&mut self, now: Tick) {
        if let Some(count) = self.scoreboard.wanted()
            && !self.pool.is_stopping()
        {
            self.rules.count = count;
            self.step(now, Event::Scale { count });
        }
    }
}
