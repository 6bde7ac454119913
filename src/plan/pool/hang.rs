//! Who is busy with one thing for too long: `hang_timeout`.
//!
//! Only what a worker says of itself counts, on the board, so a look costs no
//! question. Somebody has to look at the right time, and nobody is to wake for
//! workers that are idle. So there is a look when the one that has been busy for
//! longest could be over its time, and none at all when nobody is busy: then the
//! next one to become busy is told to us ([`Event::Busy`](super::Event::Busy)).
//! Under steady load that is one look in so long.

use super::row::Stage;
use super::{Action, Course, Pool, Report};
use crate::types::{Millis, Pid, Slot, Tick};
use alloc::vec::Vec;

/// When to look who is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watch {
    /// The next look, if anybody was busy at the last one.
    pub(super) at: Option<Tick>,
    /// No time before this counts: nobody could run then.
    pub(super) from: Tick,
}

impl Watch {
    pub(super) const fn new(now: Tick) -> Self {
        Self { at: None, from: now }
    }

    /// After a pause of everybody all begin anew.
    pub(super) fn postpone(&mut self, now: Tick, by: Millis) {
        self.from = now;
        self.at = self.at.map(|at| at.after(by));
    }
}

impl Pool {
    /// When to look next.
    pub(super) fn looks_at(&self) -> Option<Tick> {
        self.watch.at.filter(|_| self.course == Course::Serving)
    }

    /// Whether a look is due some time, or nobody has to look: then whoever
    /// becomes busy needs not be told.
    pub fn is_watching(&self) -> bool {
        self.watch.at.is_some() || self.rules.hang == Millis(0) || self.is_stopping()
    }

    /// Orders a look if it is time.
    pub(super) fn look(&mut self, now: Tick, actions: &mut Vec<Action>) {
        if self.looks_at().is_some_and(|at| at <= now) {
            self.watch.at = None;
            actions.push(Action::Look);
        }
    }

    /// This worker is busy: for too long, or another look is due. One that was
    /// told to leave has a clock of its own.
    pub(super) fn see(
        &mut self,
        now: Tick,
        slot: Slot,
        pid: Pid,
        since: Tick,
        actions: &mut Vec<Action>,
    ) {
        if self.rules.hang == Millis(0) || self.is_stopping() {
            return;
        }
        let since = since.max(self.watch.from);
        let due = since.after(self.rules.hang);
        let Some(row) = self.row_of(slot, pid) else { return };
        match row.worker().map(|worker| worker.stage) {
            Some(Stage::Starting | Stage::Living { .. } | Stage::Ready { .. }) => {}
            Some(Stage::Leaving { .. }) | None => return,
        }
        if due <= now {
            row.abort(now, actions);
            let busy = now.since(since);
            actions.push(Action::Tell(Report::Hung { slot, pid, busy }));
        } else {
            self.watch.at = Some(self.watch.at.map_or(due, |at| at.min(due)));
        }
    }
}
