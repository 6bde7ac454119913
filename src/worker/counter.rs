//! What a worker has in hand, counted from any of its threads and tasks.
//!
//! Several may begin and end things at the same time, and the row of the scoreboard has
//! one state. A thread that changes the number writes the state that follows from it, and
//! looks again: the last one to write has seen the last number.

use crate::shared::even_share::{EvenShare, MayAccept};
use crate::shared::scoreboard::{RowRef, ScoreboardMap, State};
use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::once::Once;
use crate::sys::poll::{self, Source};
use crate::sys::{clock, process, signal};
use crate::types::{Signal, Slot, Tick};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const ORDER: Ordering = Ordering::SeqCst;

/// In a record of the ready pipe, beside the slot: the worker is not ready, it is
/// busy, and the monitor has asked to be told.
pub(crate) const BUSY: u16 = 0x8000;

/// Counts what the threads and tasks of a worker have in hand.
///
/// Made by [`Context::counter`](crate::Context::counter). The worker is busy while there is
/// at least one [`BusyGuard`], or its [`Context`](crate::Context) is busy too. A clone
/// counts for the same worker.
///
/// ```no_run
/// # fn answer(_: &str) {}
/// # fn serve(counter: panzer::Counter, request: &str) {
/// let _busy = counter.busy(); // until the end of the block, also if the task is cancelled
/// answer(request);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Counter(&'static Tally);

/// In the image, of which a worker has pages of its own anyway.
static TALLY: Once<Tally> = Once::new();

#[derive(Debug)]
struct Tally {
    slot: Slot,
    scoreboard: ScoreboardMap,
    row: RowRef,
    /// Until then the board shows a worker that starts, whatever it has in hand.
    is_ready: AtomicBool,
    in_hand: AtomicU32,
    /// The write end of the monitor's ready pipe.
    ready: Fd,
}

/// One thing that a worker has in hand, from [`Counter::busy`] until this is dropped.
#[derive(Debug)]
#[must_use = "the thing is done as soon as this is dropped"]
pub struct BusyGuard(Counter);

/// One connection that a worker holds, from [`Counter::connection`] until this is dropped.
#[derive(Debug)]
#[must_use = "the connection is over as soon as this is dropped"]
pub struct ConnectionGuard(Counter);

impl Counter {
    pub(super) fn new(slot: Slot, (scoreboard, row): (ScoreboardMap, RowRef), ready: Fd) -> Self {
        let (is_ready, in_hand) = (AtomicBool::new(false), AtomicU32::new(0));
        Self(TALLY.keep(Tally { slot, scoreboard, row, is_ready, in_hand, ready }))
    }

    /// Says that something has begun, a request say; dropping the guard says that it is
    /// done, which counts as one thing handled.
    ///
    /// The clock of [`Monitor::hang_timeout`](crate::Monitor::hang_timeout) starts when the
    /// worker becomes busy, and anew whenever one of several things is done; that another one
    /// begins does not move it. So a worker has hung that has something in hand and has
    /// finished nothing for that long: set more than the longest thing takes.
    pub fn busy(&self) -> BusyGuard {
        self.begin();
        BusyGuard(self.clone())
    }

    /// Says that the worker holds one connection more, until the guard is dropped: keep it
    /// beside the connection. With guards all workers that wait for one socket hold nearly the
    /// same number: an [`Acceptor`](crate::Acceptor) leaves the next connection to a worker
    /// that holds fewer.
    ///
    /// Make the guard right after the accept, and move it into the task. A task that makes its
    /// own makes it too late: of a burst a runtime takes all connections before it runs the
    /// first task, and this worker counts none of them until then.
    ///
    /// ```text
    /// let held = counter.connection();
    /// tokio::spawn(async move {
    ///     serve(stream).await;
    ///     drop(held);
    /// });
    /// ```
    pub fn connection(&self) -> ConnectionGuard {
        self.0.scoreboard.add_connection(self.0.row);
        ConnectionGuard(self.clone())
    }

    pub(super) fn hold_connections(&self, held: u32) {
        self.0.scoreboard.hold_connections(self.0.row, held);
    }

    /// Whether this worker is to take the next connection of this listener: if none waits there
    /// is nothing that it could leave to others. One that was told to stop takes what it has to.
    pub(super) fn may_accept(&self, listener: Borrowed<'_>, share: &EvenShare) -> MayAccept {
        let Tally { scoreboard, row, .. } = self.0;
        let waits = || {
            let mut queue = [Source::readable(listener)];
            // A queue that cannot be asked is taken from.
            poll::wait(&mut queue, Some(Tick(0))).is_ok_and(|waits| waits)
        };
        match signal::is_stopping() {
            true => MayAccept::Yes,
            false => share.ask(*scoreboard, *row, clock::now(), waits),
        }
    }

    pub(super) fn begin(&self) {
        self.0.begin(clock::now);
    }

    pub(super) fn end(&self) {
        self.0.end(clock::now);
    }

    /// Writes what the worker does now.
    pub(super) fn note(&self) {
        self.0.note(clock::now);
    }

    /// Says that the worker is ready.
    pub(super) fn say_ready(&self) {
        self.0.is_ready.store(true, ORDER);
        self.note();
        self.0.tell(0);
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let tally = &self.0.0;
        tally.scoreboard.remove_connection(tally.row);
    }
}

impl Tally {
    fn begin(&self, now: impl Fn() -> Tick) {
        if self.in_hand.fetch_add(1, ORDER) == 0 {
            self.note(now);
        }
    }

    fn end(&self, now: impl Fn() -> Tick) {
        self.scoreboard.add_handled(self.row);
        self.in_hand.fetch_sub(1, ORDER);
        self.note(now);
    }

    fn note(&self, now: impl Fn() -> Tick) {
        if !self.is_ready.load(ORDER) {
            return;
        }
        loop {
            let state = self.state();
            self.scoreboard.enter(self.row, state, now());
            if state == State::Busy
                && self.scoreboard.is_asked_for_busy()
                && self.scoreboard.ask_for_busy(false)
            {
                self.tell(BUSY);
            }
            if self.state() == state {
                return;
            }
        }
    }

    fn state(&self) -> State {
        match (signal::is_stopping(), self.in_hand.load(ORDER)) {
            (true, _) => State::Draining,
            (false, 0) => State::Idle,
            (false, _) => State::Busy,
        }
    }

    /// Writes a record for the monitor: see [`BUSY`].
    fn tell(&self, kind: u16) {
        let [a, b] = (self.slot.number() | kind).to_ne_bytes();
        let [c, d, e, f] = process::id().raw().to_ne_bytes();
        let blocked = signal::block_output_signals();
        // A monitor that is gone needs not be told; SIGTERM is on its way.
        if fd::write(self.ready.borrow(), &[a, b, c, d, e, f]).is_err() {
            blocked.swallow(Signal::Pipe);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, State, Tally};
    use crate::shared::scoreboard::ScoreboardMap;
    use crate::shared::scoreboard_rows::Rows;
    use crate::sys::fd::{self, Blocking, Fd};
    use crate::types::{Slot, Tick};
    use core::cell::Cell;
    use std::thread;

    /// The counter of the first worker on a board of its own, and the monitor's end of the
    /// ready pipe.
    fn counter() -> (Counter, Fd) {
        let (read, write) = fd::pipe(Blocking::No).expect("there are descriptors");
        let scoreboard = ScoreboardMap::alone().expect("there is memory");
        let slot = Slot::new(1).expect("it is one");
        let row = Rows::new(scoreboard).reserve(slot).expect("it is free");
        scoreboard.begin_worker(row, Tick(0));
        let counter = Counter::new(slot, (scoreboard, row), write);
        counter.0.is_ready.store(true, super::ORDER);
        (counter, read)
    }

    fn shown(tally: &Tally) -> (State, u64) {
        let (state, since) = tally.scoreboard.state(tally.row);
        (state, since.0)
    }

    #[test]
    fn task_before_ready_does_not_show_the_worker_as_ready() {
        let (counter, _read) = counter();
        counter.0.is_ready.store(false, super::ORDER);
        drop(counter.busy());
        assert_eq!(shown(counter.0).0, State::Starting);
        counter.say_ready();
        assert_eq!(shown(counter.0).0, State::Idle);
    }

    #[test]
    fn worker_is_busy_while_any_of_its_tasks_is() {
        let (counter, _read) = counter();
        let state = || shown(counter.0).0;
        let first = counter.busy();
        let second = counter.clone().busy();
        drop(first);
        assert_eq!(state(), State::Busy);
        drop(second);
        assert_eq!(state(), State::Idle);
    }

    #[test]
    fn end_of_a_task_starts_the_clock_anew_and_a_beginning_does_not() {
        let (counter, _read) = counter();
        let tally = counter.0;
        tally.begin(|| Tick(10));
        tally.begin(|| Tick(20));
        assert_eq!(shown(tally), (State::Busy, 10));
        tally.end(|| Tick(30));
        assert_eq!(shown(tally), (State::Busy, 30));
        tally.begin(|| Tick(40));
        assert_eq!(shown(tally), (State::Busy, 30));
    }

    #[test]
    fn task_that_begins_while_another_writes_idle_is_seen() {
        let (counter, _read) = counter();
        let tally = counter.0;
        tally.begin(|| Tick(1));
        let is_first = Cell::new(true);
        // Between the look at the number and the write.
        tally.end(|| {
            if is_first.replace(false) {
                tally.begin(|| Tick(2));
            }
            Tick(3)
        });
        assert_eq!(shown(tally), (State::Busy, 3));
    }

    #[test]
    fn tasks_of_several_threads_are_counted_once_each() {
        let (counter, _read) = counter();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| drop(counter.busy())));
            }
        });
        let tally = counter.0;
        assert_eq!(tally.scoreboard.row(tally.row, 4).load(super::ORDER), 40_000);
        assert_eq!(shown(tally).0, State::Idle);
    }

    #[test]
    fn monitor_that_asked_is_told_once() {
        let (counter, read) = counter();
        let told = || fd::read(read.borrow(), &mut [0; 64]).unwrap_or(0);
        drop(counter.busy());
        assert_eq!(told(), 0);
        counter.0.scoreboard.ask_for_busy(true);
        let _both = (counter.busy(), counter.busy());
        assert_eq!(told(), 6);
    }
}
