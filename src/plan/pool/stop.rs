//! How a pool ends: everybody is told, and it is over when nobody is left.

use super::row::{Place, Told};
use super::{Action, Clock, Course, KILL_AFTER_STOP_NOW, KILL_AFTER_TIMEOUT, Pool, Sender};
use crate::types::Tick;
use alloc::vec::Vec;

impl Pool {
    /// Begins a graceful stop; a stop that has begun goes on as it was.
    pub(super) fn drain(&mut self, now: Tick, actions: &mut Vec<Action>) {
        if !self.is_stopping() {
            self.course = Course::Draining { interrupt_at: now.after(self.rules.timeout) };
            self.tell_all(Told::Term, actions);
        }
    }

    /// Stops now. That never moves a deadline back.
    pub(super) fn interrupt(&mut self, now: Tick, by: Sender, actions: &mut Vec<Action>) {
        let before = match self.course {
            Course::Serving => None,
            Course::Draining { interrupt_at } => Some(interrupt_at.after(KILL_AFTER_TIMEOUT)),
            Course::Interrupted { kill_at } => Some(kill_at),
            Course::Killed | Course::Finished => return,
        };
        let due = now.after(KILL_AFTER_STOP_NOW);
        let kill_at = match (self.clock, by) {
            // Main will not see this order through. The times so far were
            // main's to act on, so they limit nothing.
            (Clock::Mains, Sender::Stranger) => {
                self.clock = Clock::Ours;
                due
            }
            (Clock::Mains, Sender::Main) | (Clock::Ours, Sender::Main | Sender::Stranger) => {
                before.map_or(due, |before| before.min(due))
            }
        };
        self.course = Course::Interrupted { kill_at };
        self.tell_all(Told::Int, actions);
    }

    /// Sends everybody `told` who has not heard it, and lets no empty slot be
    /// filled again.
    pub(super) fn tell_all(&mut self, told: Told, actions: &mut Vec<Action>) {
        for row in self.all_rows_mut() {
            match row.place {
                Place::Empty { .. } => row.close(),
                Place::Taken(_) => row.tell(told, actions),
                Place::Forking | Place::Closed => {}
            }
        }
        self.heir = self.heir.filter(|heir| heir.place != Place::Closed);
    }

    /// Ends the stop when nobody is left and nobody is on the way.
    pub(super) fn finish_if_empty(&mut self, actions: &mut Vec<Action>) {
        let over = self.is_stopping() && self.course != Course::Finished;
        if over && self.rows.iter().all(|row| row.place == Place::Closed) {
            self.course = Course::Finished;
            actions.push(Action::Finish { killed: self.killed });
        }
    }
}
