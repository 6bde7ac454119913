//! Lines that other processes can cause, one a second of each kind.
//!
//! Every process that can send a message, or connect, can cause a line. So of each kind
//! the first is written at once, and what came in the second after it as one number.

use crate::log::log;
use crate::persist::persisted;
use crate::text::Plural;
use crate::types::{Level, Millis, Tick};
use core::fmt;

/// The least time between two lines of one kind.
const PACE: Millis = Millis(1_000);

/// The lines of one kind.
#[derive(Debug)]
pub struct RateLimit {
    /// When the next line may be written.
    due: Tick,
    left_out: u32,
}

persisted! { struct RateLimit { due, left_out } }

impl RateLimit {
    /// Of which nothing was written yet.
    pub const fn new() -> Self {
        Self { due: Tick(0), left_out: 0 }
    }

    /// Whether something may be written now; if not, it is counted.
    pub fn admits(&mut self, now: Tick) -> bool {
        if now < self.due {
            self.left_out = self.left_out.saturating_add(1);
            return false;
        }
        self.due = now.after(PACE);
        true
    }

    /// Writes a line, or counts it.
    pub fn log(&mut self, now: Tick, level: Level, line: fmt::Arguments<'_>) {
        if self.admits(now) {
            log(level, line);
        }
    }

    /// When [`RateLimit::settle`] has something to tell.
    pub fn deadline(&self) -> Option<Tick> {
        (self.left_out > 0).then_some(self.due)
    }

    /// Tells how many lines were left out, once that may be told; `what` they were
    /// about stands behind the number.
    pub fn settle(&mut self, now: Tick, level: Level, what: fmt::Arguments<'_>) {
        if self.left_out > 0 && self.due <= now {
            let count = core::mem::take(&mut self.left_out);
            self.due = now.after(PACE);
            let lines = Plural(count.into(), "line");
            log(level, format_args!("log: {lines} suppressed: {what}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_passes_and_the_others_are_counted() {
        let mut limit = RateLimit::new();
        assert!(limit.admits(Tick(5_000)) && limit.deadline().is_none());
        assert!(!limit.admits(Tick(5_001)) && !limit.admits(Tick(5_999)));
        assert_eq!((limit.left_out, limit.deadline()), (2, Some(Tick(6_000))));
        limit.settle(Tick(5_999), Level::Debug, format_args!("it"));
        assert_eq!(limit.left_out, 2);
        limit.settle(Tick(6_000), Level::Debug, format_args!("it"));
        assert_eq!((limit.left_out, limit.deadline()), (0, None));
        assert!(!limit.admits(Tick(6_999)), "the number was a line too");
        assert!(limit.admits(Tick(8_000)));
    }
}
