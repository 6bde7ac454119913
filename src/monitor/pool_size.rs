//! Another number of workers, which main wants.
//!
//! Main writes the number onto the board and sends SIGWINCH. A signal without a number
//! is not from main, perhaps from a terminal that was resized.

use crate::monitor::monitor_loop::{BREATHER, MonitorLoop, PoolKind};
use crate::monitor::pool::Event;
use crate::shared::listener::given;
use crate::sys::clock;
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

    /// Tells main and a service manager what they had no room for before.
    pub(super) fn tell_again(&mut self) {
        self.reports.tell_scaled();
        given(|given| given.inherited.pay());
    }

    /// When to tell again what main, or a service manager, had no room for; `None`
    /// when it was told.
    pub(super) fn tells_again_at(&self) -> Option<Tick> {
        let owes = self.reports.owes_scaled() || given(|given| given.inherited.owes());
        owes.then(|| clock::now().after(BREATHER))
    }
}
