//! How workers become ready: by their own word, or because they have lived so
//! long; and what is told once every slot has a ready one.

use super::row::{Stage, Worker};
use super::{Action, Pool, Report};
use crate::types::{Pid, Slot, Tick};
use alloc::vec::Vec;

impl Pool {
    /// The program of the worker `pid` runs, which is perhaps all that it is to do.
    pub(super) fn begin_to_live(&mut self, now: Tick, slot: Slot, pid: Pid) {
        let span = self.rules.ready_after;
        if let (Some(row), Some(span)) = (self.row_of(slot, pid), span) {
            row.live(pid, now.after(span));
        }
    }

    /// The worker `pid` serves, by its own word or because it has lived so long.
    pub(super) fn welcome(&mut self, now: Tick, slot: Slot, pid: Pid, actions: &mut Vec<Action>) {
        let rules = self.rules;
        let Some(row) = self.row_of(slot, pid) else { return };
        if row.welcome(now, pid, &rules) {
            actions.push(Action::Tell(Report::Ready { slot, pid }));
            self.let_inherit(now, actions);
            self.tell_if_ready(actions);
        }
    }

    /// Whoever has lived long enough is ready.
    pub(super) fn welcome_living(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let rules = self.rules;
        for row in self.all_rows_mut() {
            if let Some(Worker { pid, stage: Stage::Living { until }, .. }) = row.worker()
                && until <= now
            {
                row.welcome(now, pid, &rules);
                actions.push(Action::Tell(Report::Ready { slot: row.slot, pid }));
            }
        }
        self.let_inherit(now, actions);
        self.tell_if_ready(actions);
    }

    /// Says what is still to be said once every slot has a ready worker.
    pub(super) fn tell_if_ready(&mut self, actions: &mut Vec<Action>) {
        if self.announced && !self.scaling || !self.wanted().iter().all(|row| self.is_served(row)) {
            return;
        }
        if !self.announced {
            self.announced = true;
            actions.push(Action::AnnounceReady);
        }
        if self.scaling {
            self.scaling = false;
            actions.push(Action::Tell(Report::Scaled { count: self.rules.count }));
        }
    }
}
