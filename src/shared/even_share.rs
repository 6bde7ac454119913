//! Even shares: which of the workers that wait for one socket takes the next connection.
//!
//! The kernel wakes them all, and the first one could take whatever waits, again and again. So
//! one that holds more connections than a sibling leaves the queue to that for a moment. It
//! does so only as long as the sibling can be expected to come:
//!
//! ```text
//! ahead of no sibling ─────────────────────────────────► take one
//! ahead of one ──► leave the queue alone for PAUSE, and ask again
//!                      │ a sibling has taken one ──────► begin to wait anew
//!                      │ none has, for BOUND ──────────► take one; one that has not looked at
//!                      │                                 the queue meanwhile is passed over
//!                      ▼ one has waited at each question, for BOUND, and none has looked since
//!                        the last one; or for LONGEST ───► take one
//! ```
//!
//! Where none waits there is nothing to leave, and no wait goes on. Each listener has a wait of
//! its own: what comes of one prolongs none of another's.
//!
//! Until it looks again, a sibling that was passed over counts for none of them: one that
//! hangs, or is stopped, delays one connection by [`BOUND`], and no more. What siblings take
//! may be out of another queue: so they are not waited for longer than [`LONGEST`]. And one that
//! serves each connection before it takes the next may never come to hold as many: where
//! connections wait all the time, it is waited for only while it looks, at each question anew.
//!
//! All of it stands on the board, in each worker's own row: no system call, nothing to be
//! woken for, and nothing that is wrong once a worker has died.

use crate::shared::scoreboard::{RowRef, ScoreboardMap, State};
use crate::types::{Millis, Tick};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const ORDER: Ordering = Ordering::SeqCst;

/// How many connections a worker may be ahead of a sibling and still take one. With one,
/// all of them end within one of the mean, and short connections are never left alone.
const AHEAD: u32 = 1;
/// How long a connection is left to the others before the next look.
const PAUSE: Millis = Millis(1);
/// How long a connection that no worker takes is left to the others: longer than a worker
/// that runs needs to look at the queue.
const BOUND: Millis = Millis(10);
/// How long the queue is left to the others though they take one after the other.
const LONGEST: Millis = Millis(100);
/// No wait has begun.
const NEVER: u64 = u64::MAX;

/// Whether a worker is to take the next connection, so that all workers of its generation
/// hold nearly the same number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayAccept {
    /// Take one.
    Yes,
    /// Another worker holds fewer. Leave the listener alone for so long, then ask again.
    LeaveFor(Millis),
}

/// Since when a worker has left the queue of a listener to its siblings.
#[derive(Debug)]
pub struct EvenShare {
    /// Since when a connection has waited at each question, whatever they have taken.
    begun: AtomicU64,
    /// Since when without one that they took.
    since: AtomicU64,
    /// When it has asked last. As long as a connection waits, it soon asks again.
    asked: AtomicU64,
    /// How many connections these had taken then.
    taken: AtomicU32,
}

impl EvenShare {
    pub const fn new() -> Self {
        let [begun, since, asked] = [const { AtomicU64::new(NEVER) }; 3];
        Self { begun, since, asked, taken: AtomicU32::new(0) }
    }

    /// Whether the worker of `row` is to take a connection, if one `waits`.
    pub fn ask(
        &self,
        board: ScoreboardMap,
        row: RowRef,
        now: Tick,
        waits: impl FnOnce() -> bool,
    ) -> MayAccept {
        board.look_at_queue(row, now);
        let mine = board.connections(row).held;
        let behind = || board.siblings(row).filter(|&sibling| is_behind(board, sibling, mine));
        if mine <= AHEAD || behind().next().is_none() {
            self.since.store(NEVER, ORDER);
            return MayAccept::Yes;
        }
        if !waits() {
            return self.end_wait();
        }
        let taken = taken_by_siblings(board, row);
        let has_moved = self.taken.swap(taken, ORDER) != taken;
        let (since, (begun, asked)) = (self.since.load(ORDER), self.note_question(now));
        let is_new = has_moved || since == NEVER;
        if is_new {
            self.since.store(now.0, ORDER);
        }
        let looks = || behind().any(|sibling| board.has_looked(sibling, asked));
        let takes = is_new || now < Tick(since).after(BOUND);
        let is_over = !takes || now >= begun.after(LONGEST);
        // Between two questions of one moment none could look.
        let may_come = now < begun.after(BOUND) || now < asked.after(PAUSE) || looks();
        if may_come && !is_over {
            return MayAccept::LeaveFor(PAUSE);
        }
        self.since.store(NEVER, ORDER);
        if is_over {
            self.begun.store(now.0, ORDER);
        }
        if !takes {
            behind().for_each(|sibling| board.pass_over(sibling, Tick(since)));
        }
        MayAccept::Yes
    }

    /// No wait goes on where no connection waits.
    fn end_wait(&self) -> MayAccept {
        self.since.store(NEVER, ORDER);
        self.asked.store(NEVER, ORDER);
        MayAccept::Yes
    }

    /// Since when a connection has waited at each question, and when it has asked before.
    fn note_question(&self, now: Tick) -> (Tick, Tick) {
        let asked = self.asked.swap(now.0, ORDER);
        if asked == NEVER || now > Tick(asked).after(BOUND) {
            self.begun.store(now.0, ORDER);
        }
        (Tick(self.begun.load(ORDER)), Tick(asked))
    }
}

/// How many connections they have taken, ever; it wraps around.
fn taken_by_siblings(board: ScoreboardMap, row: RowRef) -> u32 {
    board.siblings(row).fold(0, |sum, row| sum.wrapping_add(board.connections(row).taken))
}

/// Whether the worker of this row serves, holds too few beside one that holds `mine`, and
/// looks at the queue.
fn is_behind(board: ScoreboardMap, row: RowRef, mine: u32) -> bool {
    let serves = match board.state(row).0 {
        State::Idle | State::Busy => true,
        State::Empty | State::Starting | State::Draining => false,
    };
    serves && board.connections(row).held.saturating_add(AHEAD) < mine && !board.is_passed_over(row)
}

#[cfg(test)]
mod tests {
    use super::{EvenShare, MayAccept, PAUSE, RowRef, ScoreboardMap, State, Tick};
    use crate::shared::scoreboard::Connections;
    use crate::shared::scoreboard_rows::Rows;
    use crate::types::{Pid, Slot};
    use alloc::vec::Vec;

    const LEAVE: MayAccept = MayAccept::LeaveFor(PAUSE);

    /// Workers that serve, each with so many connections.
    struct Workers {
        board: ScoreboardMap,
        all: Vec<(RowRef, EvenShare)>,
    }

    impl Workers {
        fn holding(connections: &[u32]) -> Self {
            let board = ScoreboardMap::alone().expect("there is memory");
            let mut rows = Rows::new(board);
            let count = u16::try_from(connections.len()).expect("tests have few workers");
            let of_slot = |(slot, &held): (Slot, &u32)| {
                let row = rows.reserve(slot).expect("it is free");
                board.begin_worker(row, Tick(0));
                let pid = Pid::new(slot.number().into()).expect("it is positive");
                rows.forked(slot, row, pid, Tick(0));
                board.enter(row, State::Idle, Tick(0));
                board.hold_connections(row, held);
                (row, EvenShare::new())
            };
            let all = Slot::first(count).zip(connections).map(of_slot).collect();
            Self { board, all }
        }

        /// What the worker at this place, from 0, is told at that time.
        fn ask(&self, place: usize, now: u64) -> MayAccept {
            let (row, share) = &self.all[place];
            share.ask(self.board, *row, Tick(now), || true)
        }

        fn take(&self, place: usize) {
            self.board.add_connection(self.all[place].0);
        }

        fn held(&self) -> Vec<u32> {
            self.all.iter().map(|(row, _)| self.board.connections(*row).held).collect()
        }
    }

    #[test]
    fn worker_may_be_one_ahead_and_leaves_the_queue_at_two() {
        let workers = Workers::holding(&[3, 2, 3, 4]);
        assert_eq!(workers.ask(0, 1), MayAccept::Yes);
        assert_eq!(workers.ask(3, 1), LEAVE);
        workers.take(1);
        assert_eq!(workers.ask(3, 1), MayAccept::Yes);
    }

    #[test]
    fn worker_whose_connections_are_not_counted_takes_everything() {
        let workers = Workers::holding(&[0, 0]);
        assert_eq!(workers.ask(0, 1), MayAccept::Yes);
        assert_eq!(Workers::holding(&[50_000]).ask(0, 1), MayAccept::Yes);
    }

    #[test]
    fn workers_end_within_one_of_the_mean_in_whatever_order_they_wake() {
        let mut random = 20_261_201_u32;
        for connections in [16, 64, 65, 400] {
            let workers = Workers::holding(&[0; 4]);
            let mut waiting = connections;
            while waiting > 0 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // The first one wakes far more often than the last.
                let place = [0, 0, 0, 0, 1, 1, 2, 3][(random >> 29) as usize];
                if workers.ask(place, 1) == MayAccept::Yes {
                    workers.take(place);
                    waiting -= 1;
                }
            }
            let mean = connections as f64 / 4.0;
            let held = workers.held();
            assert!(held.iter().all(|&held| (f64::from(held) - mean).abs() <= 1.25), "{held:?}");
        }
    }

    #[test]
    fn sibling_that_does_not_look_is_passed_over_after_ten_ms_until_it_looks() {
        let workers = Workers::holding(&[5, 0, 5]);
        assert_eq!([workers.ask(0, 100), workers.ask(0, 109)], [LEAVE, LEAVE]);
        assert_eq!(workers.ask(0, 110), MayAccept::Yes);
        // None of the others waits for it any more.
        assert_eq!([workers.ask(0, 110), workers.ask(2, 110)], [MayAccept::Yes; 2]);
        assert_eq!(workers.ask(1, 120), MayAccept::Yes);
        assert_eq!([workers.ask(0, 120), workers.ask(2, 120)], [LEAVE; 2]);
    }

    #[test]
    fn sibling_that_looks_and_takes_nothing_delays_each_connection_by_ten_ms_at_most() {
        let workers = Workers::holding(&[5, 0]);
        for begun in [100, 200] {
            assert_eq!(workers.ask(0, begun), LEAVE);
            assert_eq!(workers.ask(1, begun + 1), MayAccept::Yes);
            assert_eq!(workers.ask(0, begun + 9), LEAVE);
            assert_eq!(workers.ask(0, begun + 10), MayAccept::Yes);
        }
    }

    #[test]
    fn connection_that_a_sibling_takes_is_the_end_of_the_wait_for_it() {
        let workers = Workers::holding(&[5, 0]);
        assert_eq!(workers.ask(0, 100), LEAVE);
        workers.take(1);
        // Another one came much later.
        assert_eq!(workers.ask(0, 5_000), LEAVE);
        assert_eq!(workers.ask(0, 5_009), LEAVE);
    }

    #[test]
    fn queue_is_left_for_100_ms_at_most_to_a_sibling_that_takes_one_after_the_other() {
        let workers = Workers::holding(&[5, 0]);
        let ask = |now| {
            workers.take(1);
            workers.board.remove_connection(workers.all[1].0);
            workers.ask(1, now);
            workers.ask(0, now)
        };
        let taken: Vec<_> =
            (1_000..1_250).step_by(5).filter(|&now| ask(now) == MayAccept::Yes).collect();
        assert_eq!(taken, [1_100, 1_200]);
        // One every 20 ms was taken by the other each time.
        assert!((2_000..4_000).step_by(20).all(|now| ask(now) == LEAVE));
    }

    #[test]
    fn sibling_that_serves_each_connection_before_the_next_is_not_left_all_of_them() {
        let workers = Workers::holding(&[5, 0]);
        let mut taken = 0;
        for now in 1_000..1_100 {
            if now % 5 == 0 {
                workers.ask(1, now);
                workers.take(1);
                workers.board.remove_connection(workers.all[1].0);
            }
            // The next question of the same moment would make it two.
            taken += (0..2).filter(|_| workers.ask(0, now) == MayAccept::Yes).count();
        }
        // After the first 10 ms in each moment but that in which the other looks and the next.
        assert_eq!(taken, 54);
    }

    #[test]
    fn queue_that_was_empty_meanwhile_is_no_reason_to_take_one() {
        let workers = Workers::holding(&[5, 0]);
        let (row, share) = &workers.all[0];
        for now in 1_000..1_100 {
            workers.take(1);
            workers.board.remove_connection(workers.all[1].0);
            assert_eq!(workers.ask(0, now), LEAVE, "{now}");
            if now % 5 == 0 {
                share.ask(workers.board, *row, Tick(now), || false);
            }
        }
    }

    #[test]
    fn sibling_is_passed_over_by_a_worker_that_seldom_asks() {
        let workers = Workers::holding(&[5, 0]);
        assert_eq!([workers.ask(0, 100), workers.ask(0, 150)], [LEAVE, MayAccept::Yes]);
    }

    #[test]
    fn connection_that_ends_after_another_number_was_said_leaves_none() {
        let workers = Workers::holding(&[1, 0]);
        let (board, (row, _)) = (workers.board, &workers.all[0]);
        board.hold_connections(*row, 0);
        board.remove_connection(*row);
        assert_eq!(board.connections(*row), Connections { held: 0, taken: 1 });
        board.hold_connections(*row, u32::MAX);
        assert_eq!(workers.ask(1, 1), MayAccept::Yes);
        workers.board.hold_connections(workers.all[1].0, 5);
        assert_eq!(workers.ask(1, 1), MayAccept::Yes);
    }

    #[test]
    fn queue_that_is_empty_is_left_to_no_sibling() {
        let workers = Workers::holding(&[5, 0]);
        let (row, share) = &workers.all[0];
        assert_eq!(share.ask(workers.board, *row, Tick(1), || false), MayAccept::Yes);
        // Nor has a wait begun.
        assert_eq!(workers.ask(0, 5_000), LEAVE);
    }

    #[test]
    fn queue_that_is_emptied_by_none_of_the_siblings_ends_the_wait_for_them() {
        let workers = Workers::holding(&[5, 0]);
        let (row, share) = &workers.all[0];
        assert_eq!(workers.ask(0, 100), LEAVE);
        // A worker of another generation has taken it.
        assert_eq!(share.ask(workers.board, *row, Tick(101), || false), MayAccept::Yes);
        assert_eq!(workers.ask(0, 5_000), LEAVE);
    }

    #[test]
    fn workers_that_start_drain_or_are_gone_are_not_waited_for() {
        for state in [State::Empty, State::Starting, State::Draining] {
            let workers = Workers::holding(&[5, 0]);
            workers.board.enter(workers.all[1].0, state, Tick(0));
            assert_eq!(workers.ask(0, 1), MayAccept::Yes, "{state:?}");
        }
        let workers = Workers::holding(&[5, 0]);
        workers.board.enter(workers.all[1].0, State::Busy, Tick(0));
        assert_eq!(workers.ask(0, 1), LEAVE);
    }

    #[test]
    fn row_of_a_new_worker_holds_nothing() {
        let workers = Workers::holding(&[5, 5]);
        workers.board.begin_worker(workers.all[1].0, Tick(9));
        assert_eq!(workers.held(), [5, 0]);
    }
}
