//! Another number of workers, which main wants.
//!
//! Main writes the number onto the board and sends SIGWINCH. A signal without a
//! number is somebody else's, perhaps of a terminal that was resized.

use super::pool::{BREATHER, Kind, Running};
use crate::plan::pool::Event;
use crate::sys::clock;
use crate::types::Tick;

impl<K: Kind> Running<K> {
    /// Has as many workers as main wants, if it has said.
    pub(super) fn scale(&mut self, now: Tick) {
        if let Some(count) = self.sheet.wanted()
            && !self.plan.is_stopping()
        {
            self.rules.count = count;
            self.sheet.resize(count);
            self.step(now, Event::Scale { count });
        }
    }

    /// Tells main that the new number is reached, for which somebody waits
    /// there; later, if it has no room now.
    pub(super) fn tell_scaled(&mut self) {
        if let Some(count) = self.scaled
            && self.mention(format_args!("X_PANZER=scaled {}", u32::from(count)))
        {
            self.scaled = None;
        }
    }

    /// When to tell it again; `None` when it was told.
    pub(super) fn tells_again_at(&self) -> Option<Tick> {
        self.scaled.map(|_| clock::now().after(BREATHER))
    }
}
