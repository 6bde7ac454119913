//! A time in which nobody could run: a suspended machine, a stopped tree.
//!
//! Whoever waits for a deadline wakes at it. One who wakes much later could not
//! run, and neither could those whom the deadline is about.

use crate::types::{Millis, Tick};

/// Waking this much later than asked for means that nobody could run.
const LATE: Millis = Millis(1_000);
/// What is given at most beyond the lateness itself. When the pause began nobody
/// knows, so what was left of a deadline before is left after, but not more than
/// this: a machine that is late again and again must come to an end.
const GRACE: Millis = Millis(10_000);

/// By how much every deadline moves back, if at all: `now` is when the wait
/// ended that began at `before` and was to end at `deadline`.
pub fn lost(before: Tick, deadline: Option<Tick>, now: Tick) -> Option<Millis> {
    let late = now.since(deadline?.max(before));
    let most = Millis(late.0.saturating_add(GRACE.0));
    (late > LATE).then(|| now.since(before).min(most))
}

#[cfg(test)]
mod tests {
    use super::lost;
    use crate::types::{Millis, Tick};

    #[test]
    fn a_wait_that_ends_in_time_has_lost_nothing() {
        assert_eq!(lost(Tick(0), None, Tick(99_999)), None);
        assert_eq!(lost(Tick(0), Some(Tick(5_000)), Tick(6_000)), None);
        // The deadline had passed before the wait began.
        assert_eq!(lost(Tick(50_000), Some(Tick(5_000)), Tick(50_500)), None);
    }

    #[test]
    fn what_was_left_before_a_pause_is_left_after_it() {
        // Paused from any moment of 0 to 5 s on until 30 s.
        assert_eq!(lost(Tick(0), Some(Tick(5_000)), Tick(30_000)), Some(Millis(30_000)));
    }

    #[test]
    fn at_most_ten_seconds_more_are_given_than_were_lost_for_certain() {
        assert_eq!(lost(Tick(0), Some(Tick(60_000)), Tick(62_000)), Some(Millis(12_000)));
    }
}
