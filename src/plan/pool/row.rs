//! One slot of a pool: who is in it, and how often it has failed.
//!
//! A row knows what may happen to one worker; what is to happen to all of them
//! is the pool's business.

use crate::plan::backoff::Streak;
use crate::plan::pool::Action;
use crate::types::{Backoff, Pid, Signal, Slot, Tick};
use alloc::vec::Vec;

/// A slot and its deaths in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) slot: Slot,
    pub(super) place: Place,
    pub(super) streak: Streak,
}

/// What is in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// Nobody until `due`.
    Empty { due: Tick },
    /// [`Action::Fork`] is not answered yet.
    Forking,
    /// A process that was not reaped yet.
    Taken(Worker),
    /// Nobody, for good.
    Closed,
}

/// A process between its fork and its reaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) pid: Pid,
    pub(super) since: Tick,
    pub(super) stage: Stage,
}

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// It has not said yet that it is ready.
    Starting,
    /// It serves.
    Ready { at: Tick },
    /// It was told to go, last by this.
    Leaving { told: Told },
}

/// The signals that a worker is sent, in the order of their coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Told {
    Term,
    Int,
    Kill,
}

impl Told {
    const fn signal(self) -> Signal {
        match self {
            Self::Term => Signal::Term,
            Self::Int => Signal::Int,
            Self::Kill => Signal::Kill,
        }
    }
}

impl Row {
    /// Nobody is here until `due`; `seed` sets its jitter apart.
    pub(super) const fn new(slot: Slot, seed: u32, due: Tick) -> Self {
        Self { slot, place: Place::Empty { due }, streak: Streak::new(seed) }
    }

    /// The worker in this slot, if there is one.
    pub(super) const fn worker(&self) -> Option<Worker> {
        match self.place {
            Place::Taken(worker) => Some(worker),
            Place::Empty { .. } | Place::Forking | Place::Closed => None,
        }
    }

    /// When the slot is to be filled; `None` unless it is empty.
    pub(super) const fn due(&self) -> Option<Tick> {
        match self.place {
            Place::Empty { due } => Some(due),
            Place::Forking | Place::Taken(_) | Place::Closed => None,
        }
    }

    /// Whether a worker here has said that it serves, and was not told to go.
    pub(super) fn is_ready(&self) -> bool {
        self.worker().is_some_and(|worker| matches!(worker.stage, Stage::Ready { .. }))
    }

    /// Makes the worker here ready, if it is this one; says whether that is new.
    pub(super) fn welcome(&mut self, now: Tick, pid: Pid) -> bool {
        let Place::Taken(worker) = &mut self.place else { return false };
        let is_new = worker.pid == pid && worker.stage == Stage::Starting;
        if is_new {
            worker.stage = Stage::Ready { at: now };
        }
        is_new
    }

    /// Sends the worker here `told`, unless it was told that or worse before.
    pub(super) fn tell(&mut self, told: Told, actions: &mut Vec<Action>) {
        let Place::Taken(worker) = &mut self.place else { return };
        let is_news = match worker.stage {
            Stage::Starting | Stage::Ready { .. } => true,
            Stage::Leaving { told: before } => before < told,
        };
        if is_news {
            worker.stage = Stage::Leaving { told };
            actions.push(Action::Signal { pid: worker.pid, signal: told.signal() });
        }
    }

    /// Counts a death or a failed fork and says when the slot is filled again.
    pub(super) fn vacate(&mut self, now: Tick, ready_at: Option<Tick>, rules: Backoff) -> Tick {
        let due = self.streak.died(now, ready_at, rules);
        self.place = Place::Empty { due };
        due
    }

    /// Lets nobody in any more.
    pub(super) const fn close(&mut self) {
        self.place = Place::Closed;
    }
}
