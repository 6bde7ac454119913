//! One slot of a pool: who is in it, and how often it has failed.
//!
//! A row knows what may happen to one worker; what is to happen to all of them
//! is the pool's business.

use super::{Action, KILL_AFTER_ABORT, KILL_AFTER_TIMEOUT, Rules};
use crate::plan::backoff::Streak;
use crate::types::{Backoff, Millis, Pid, Signal, Slot, Tick, Why};
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
    /// Nobody, unless the pool grows again.
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
    /// The same, and once it has lived until then it is taken as ready.
    Living { until: Tick },
    /// It serves, and is recycled at `until`.
    Ready { at: Tick, until: Tick },
    /// It was told to go, last by this. If it leaves alone, and the pool did not
    /// stop before, it has a time of its own for what comes next.
    Leaving { told: Told, why: Why, next_at: Option<Tick> },
}

/// The signals that a worker is sent, in the order of their coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Told {
    Term,
    Abrt,
    Int,
    Kill,
}

impl Told {
    const fn signal(self) -> Signal {
        match self {
            Self::Term => Signal::Term,
            Self::Abrt => Signal::Abrt,
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

    /// Whether it is this one.
    pub(super) fn employs(&self, pid: Pid) -> bool {
        self.worker().is_some_and(|worker| worker.pid == pid)
    }

    /// Another one for this slot, to be filled now.
    pub(super) fn heir(&self, now: Tick) -> Self {
        let mut heir = *self;
        heir.open(now);
        heir
    }

    /// When the slot is to be filled; `None` unless it is empty.
    pub(super) const fn due(&self) -> Option<Tick> {
        match self.place {
            Place::Empty { due } => Some(due),
            Place::Forking | Place::Taken(_) | Place::Closed => None,
        }
    }

    /// When a worker that leaves alone is to be told the next thing.
    fn pressed_at(&self) -> Option<Tick> {
        match self.worker()?.stage {
            Stage::Leaving { next_at, .. } => next_at,
            Stage::Starting | Stage::Living { .. } | Stage::Ready { .. } => None,
        }
    }

    /// When something is to happen here, but that its worker may be recycled.
    pub(super) fn deadline(&self) -> Option<Tick> {
        self.due().or_else(|| self.pressed_at()).or_else(|| self.lives_until())
    }

    /// When the worker here is to be recycled; never, unless it serves.
    pub(super) fn until(&self) -> Tick {
        match self.worker().map(|worker| worker.stage) {
            Some(Stage::Ready { until, .. }) => until,
            Some(Stage::Starting | Stage::Living { .. } | Stage::Leaving { .. }) | None => {
                Tick::NEVER
            }
        }
    }

    /// Whether a worker here has said that it serves, and was not told to go.
    pub(super) fn is_ready(&self) -> bool {
        self.worker().is_some_and(|worker| matches!(worker.stage, Stage::Ready { .. }))
    }

    /// The worker here, if it is this one, has until then to live to be ready.
    pub(super) fn live(&mut self, pid: Pid, until: Tick) {
        if let Place::Taken(worker) = &mut self.place
            && worker.pid == pid
            && worker.stage == Stage::Starting
        {
            worker.stage = Stage::Living { until };
        }
    }

    /// When the worker here has lived long enough.
    fn lives_until(&self) -> Option<Tick> {
        match self.worker()?.stage {
            Stage::Living { until } => Some(until),
            Stage::Starting | Stage::Ready { .. } | Stage::Leaving { .. } => None,
        }
    }

    /// Makes the worker here ready, if it is this one; says whether that is new.
    pub(super) fn welcome(&mut self, now: Tick, pid: Pid, rules: &Rules) -> bool {
        let until = match rules.lifetime {
            Millis(0) => Tick::NEVER,
            lifetime => now.after(self.streak.spread(lifetime)),
        };
        let Place::Taken(worker) = &mut self.place else { return false };
        let is_starting = matches!(worker.stage, Stage::Starting | Stage::Living { .. });
        let is_new = worker.pid == pid && is_starting;
        if is_new {
            worker.stage = Stage::Ready { at: now, until };
        }
        is_new
    }

    /// Sends the worker here `told`, unless it was told that or worse before.
    pub(super) fn tell(&mut self, told: Told, actions: &mut Vec<Action>) {
        let Place::Taken(worker) = &mut self.place else { return };
        let (before, why, mut next_at) = match worker.stage {
            Stage::Starting | Stage::Living { .. } | Stage::Ready { .. } => {
                (None, Why::Asked, None)
            }
            Stage::Leaving { told, why, next_at } => (Some(told), why, next_at),
        };
        if before < Some(told) {
            if before == Some(Told::Term) {
                next_at = next_at.map(|at| at.after(KILL_AFTER_TIMEOUT));
            }
            let next_at = next_at.filter(|_| told < Told::Kill);
            worker.stage = Stage::Leaving { told, why, next_at };
            actions.push(Action::Signal { pid: worker.pid, signal: told.signal() });
        }
    }

    /// Asks whoever is here to leave alone, with SIGINT at that time, and lets
    /// nobody else in. Who leaves already keeps the time he has.
    pub(super) fn remove(&mut self, interrupt_at: Tick, actions: &mut Vec<Action>) {
        match &mut self.place {
            Place::Empty { .. } => self.close(),
            Place::Taken(worker) if !matches!(worker.stage, Stage::Leaving { .. }) => {
                let (told, why, next_at) = (Told::Term, Why::Asked, Some(interrupt_at));
                worker.stage = Stage::Leaving { told, why, next_at };
                actions.push(Action::Signal { pid: worker.pid, signal: Signal::Term });
            }
            Place::Taken(_) | Place::Forking | Place::Closed => {}
        }
    }

    /// Has the worker here end that hangs. It was healthy until now.
    pub(super) fn abort(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let Place::Taken(worker) = &mut self.place else { return };
        if let Stage::Ready { at, .. } = worker.stage {
            self.streak.rest(now, at);
        }
        let (why, next_at) = (Why::Hung, Some(now.after(KILL_AFTER_ABORT)));
        worker.stage = Stage::Leaving { told: Told::Abrt, why, next_at };
        actions.push(Action::Signal { pid: worker.pid, signal: Signal::Abrt });
    }

    /// Tells whoever leaves alone the next thing, if it is time.
    pub(super) fn press(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let Place::Taken(Worker { stage: Stage::Leaving { told, .. }, .. }) = self.place else {
            return;
        };
        if self.pressed_at().is_some_and(|at| at <= now) {
            self.tell(if told == Told::Term { Told::Int } else { Told::Kill }, actions);
        }
    }

    /// The slot is to be filled at `due`, as if it were new.
    pub(super) const fn open(&mut self, due: Tick) {
        self.streak.reset();
        self.place = Place::Empty { due };
    }

    /// Counts a death or a failed fork, which says when the slot is filled again.
    pub(super) fn vacate(&mut self, now: Tick, ready_at: Option<Tick>, rules: Backoff) {
        self.place = Place::Empty { due: self.streak.died(now, ready_at, rules) };
    }

    /// Moves what is due back.
    pub(super) fn postpone(&mut self, by: Millis) {
        match &mut self.place {
            Place::Empty { due: at }
            | Place::Taken(Worker {
                stage:
                    Stage::Living { until: at }
                    | Stage::Ready { until: at, .. }
                    | Stage::Leaving { next_at: Some(at), .. },
                ..
            }) => {
                *at = at.after(by);
            }
            Place::Taken(_) | Place::Forking | Place::Closed => {}
        }
    }

    /// Lets nobody in any more.
    pub(super) const fn close(&mut self) {
        self.place = Place::Closed;
    }
}
