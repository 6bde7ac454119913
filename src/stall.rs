//! A stall: a time in which no process could run, as of a suspended machine.
//!
//! A process that waits for a deadline wakes at it. If it wakes much later it could
//! not run, and neither could the processes that the deadline is about.

use crate::types::{Millis, Tick};

/// Waking this much later than asked for is a stall.
const LATE: Millis = Millis(1_000);
/// What is given at most beyond the lateness itself. When the stall began is not
/// known, so what was left of a deadline before is left after, but not more than
/// this: a machine that is late again and again must come to an end.
const GRACE: Millis = Millis(10_000);

/// Waits, and says when that ended and by how much every deadline moves back, if at
/// all. What counts is when the wait began, and not the turn: a long turn is no stall.
pub fn over<R>(
    clock: impl Fn() -> Tick,
    deadline: Option<Tick>,
    wait: impl FnOnce() -> R,
) -> (R, Tick, Option<Millis>) {
    let before = clock();
    let woken = wait();
    let now = clock();
    (woken, now, lost(before, deadline, now))
}

/// By how much every deadline moves back, if at all: `now` is when the wait
/// ended that began at `before` and was to end at `deadline`.
fn lost(before: Tick, deadline: Option<Tick>, now: Tick) -> Option<Millis> {
    let late = now.since(deadline?.max(before));
    let most = Millis(late.0.saturating_add(GRACE.0));
    (late > LATE).then(|| now.since(before).min(most))
}

#[cfg(test)]
mod tests {
    use super::{lost, over};
    use crate::types::{Millis, Tick};
    use core::cell::Cell;

    #[test]
    fn long_turn_before_the_wait_is_no_stall() {
        let time = Cell::new(0);
        let clock = || Tick(time.get());
        // The turn began at 0. It should have ended at 1 s, and has taken 5 s.
        time.set(5_000);
        let (_, now, lost) = over(clock, Some(Tick(1_000)), || time.set(5_001));
        assert_eq!((now, lost), (Tick(5_001), None));
        let (_, _, lost) = over(clock, Some(Tick(6_000)), || time.set(9_000));
        assert_eq!(lost, Some(Millis(3_999)), "the wait itself took too long");
    }

    #[test]
    fn wait_that_ends_in_time_is_no_stall() {
        assert_eq!(lost(Tick(0), None, Tick(99_999)), None);
        assert_eq!(lost(Tick(0), Some(Tick(5_000)), Tick(6_000)), None);
        // The deadline had passed before the wait began.
        assert_eq!(lost(Tick(50_000), Some(Tick(5_000)), Tick(50_500)), None);
    }

    #[test]
    fn stall_keeps_the_remaining_time_of_deadlines() {
        // Stalled from any moment of 0 to 5 s on until 30 s.
        assert_eq!(lost(Tick(0), Some(Tick(5_000)), Tick(30_000)), Some(Millis(30_000)));
    }

    #[test]
    fn stall_adds_at_most_10s_beyond_the_certain_loss() {
        assert_eq!(lost(Tick(0), Some(Tick(60_000)), Tick(62_000)), Some(Millis(12_000)));
    }
}
