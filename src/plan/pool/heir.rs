//! Who takes the place of a worker that is recycled: `lifetime`.
//!
//! A worker that has served for so long gets an heir, which is forked for the
//! same slot while the worker serves on. Once the heir is ready the worker is
//! asked to leave, by the times of one that leaves alone; when it is gone, the
//! heir is the slot's worker. So there are never fewer ready workers because of
//! it, and one more at most: there is one heir at a time in the whole pool.
//!
//! An heir that dies is tried again, by the waits of a slot that fails, and the
//! worker serves on meanwhile. A worker that dies before its heir is ready has
//! died as any other; whoever is on the way already is then its replacement.

use super::row::{Place, Row};
use super::{Action, Course, Pool};
use crate::types::{Pid, Slot, Tick};
use alloc::vec::Vec;

impl Pool {
    /// When the next worker is to be recycled.
    pub(super) fn recycles_at(&self) -> Option<Tick> {
        if self.heir.is_some() || self.course != Course::Serving {
            return None;
        }
        self.wanted().iter().map(Row::until).min().filter(|&at| at != Tick::NEVER)
    }

    /// Has the worker that is due for longest followed by an heir.
    pub(super) fn recycle(&mut self, now: Tick) {
        if let Some(at) = self.recycles_at().filter(|&at| at <= now) {
            let row = self.wanted().iter().find(|row| row.until() == at);
            self.heir = row.map(|row| row.heir(now));
        }
    }

    /// The worker that is to follow the one in its slot.
    pub fn heir(&self) -> Option<(Slot, Pid)> {
        let heir = self.heir?;
        Some((heir.slot, heir.worker()?.pid))
    }

    /// Whether somebody serves in this slot and stays.
    pub(super) fn is_served(&self, row: &Row) -> bool {
        row.is_ready() || self.heir.is_some_and(|heir| heir.slot == row.slot && heir.is_ready())
    }

    /// Asks whoever is to be followed to leave, if the heir serves.
    pub(super) fn let_inherit(&mut self, now: Tick, actions: &mut Vec<Action>) {
        if let Some(heir) = self.heir.filter(Row::is_ready) {
            self.rows[heir.slot.index()].remove(now.after(self.rules.timeout), actions);
        }
    }

    /// The heir is dead, or could not be made; says when it is tried again.
    pub(super) fn lose_heir(
        &mut self,
        now: Tick,
        ready_at: Option<Tick>,
        asked: bool,
    ) -> Option<Tick> {
        let is_over = self.is_stopping() || asked;
        let heir =
            self.heir.as_mut().filter(|heir| !is_over && heir.slot.number() <= self.rules.count);
        match heir {
            Some(heir) => heir.vacate(now, ready_at, self.rules.backoff),
            None => self.heir = None,
        }
        self.heir.as_ref().and_then(Row::due)
    }

    /// Nobody is left in `slot` but its heir, if there is one. One who was asked
    /// to leave is followed by an heir that is only to be forked as well: that one
    /// has failed after it was ready, and waits.
    pub(super) fn succeed(&mut self, slot: Slot, asked: bool) -> Option<Pid> {
        let heir = self.heir.take_if(|heir| heir.slot == slot)?;
        let row = &mut self.rows[slot.index()];
        match heir.place {
            Place::Taken(_) | Place::Forking => row.place = heir.place,
            Place::Empty { .. } if asked => *row = heir,
            Place::Empty { .. } | Place::Closed => {}
        }
        Some(heir.worker()?.pid)
    }

    /// Has the heir leave whose slot is one too many.
    pub(super) fn remove_heir(&mut self, interrupt_at: Tick, actions: &mut Vec<Action>) {
        if let Some(heir) = &mut self.heir
            && heir.slot.number() > self.rules.count
        {
            heir.remove(interrupt_at, actions);
        }
        self.heir = self.heir.filter(|heir| heir.place != Place::Closed);
    }
}
