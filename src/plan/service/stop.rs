//! How main's plan ends: everyone has one deadline, and main leaves last.

use super::member::{Life, Step};
use super::words::{Action, Report, Rules};
use super::{Service, Stop};
use crate::types::{Millis, Tick};
use alloc::vec::Vec;

impl Service {
    /// The rules of the generation that serves, which are those of a stop; where
    /// none does, of the newest.
    fn kept(&self) -> Rules {
        let serves = self.members.iter().find(|member| member.life == Life::Current);
        serves.or(self.members.last()).map_or(self.rules, |member| member.rules)
    }

    /// Asks for the final stop. A second one moves no deadline.
    pub(super) fn stop(&mut self, now: Tick, actions: &mut Vec<Action>) {
        if self.stop != Stop::No {
            return;
        }
        self.wanted = Tick::NEVER;
        let delay = self.kept().drain_delay;
        if delay == Millis(0) || self.current().is_none() {
            return self.begin_stop(now, 0, actions);
        }
        self.stop = Stop::Lingering { until: now.after(delay) };
        actions.push(Action::Tell(Report::Lingering(delay)));
        for member in &mut self.members {
            if member.is_starting() {
                member.ask(now.after(member.rules.timeout), actions);
            }
        }
    }

    /// Everybody leaves, and main with `status` unless somebody must be killed.
    pub(super) fn begin_stop(&mut self, now: Tick, status: u8, actions: &mut Vec<Action>) {
        match self.stop {
            Stop::No | Stop::Lingering { .. } => {}
            Stop::Asked { .. } | Stop::Now { .. } | Stop::Finished => return,
        }
        let interrupt = now.after(self.kept().timeout);
        self.wanted = Tick::NEVER;
        self.stop = Stop::Asked { interrupt, status };
        actions.push(Action::CloseListeners);
        for member in &mut self.members {
            member.ask(interrupt, actions);
        }
    }

    /// Everybody leaves at once.
    pub(super) fn stop_now(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let status = match self.stop {
            Stop::No | Stop::Lingering { .. } => {
                actions.push(Action::CloseListeners);
                0
            }
            Stop::Asked { status, .. } => status,
            Stop::Now { .. } | Stop::Finished => return,
        };
        self.wanted = Tick::NEVER;
        self.stop = Stop::Now { status };
        for member in &mut self.members {
            member.press(now, actions);
        }
    }

    /// Somebody had to be killed on the way out, which the exit status tells.
    pub(super) const fn forced(&mut self) {
        if let Stop::Asked { status: status @ 0, .. } | Stop::Now { status: status @ 0 } =
            &mut self.stop
        {
            *status = 1;
        }
    }

    /// Leaves once nobody is left, or nobody for whom anything can be done.
    pub(super) fn finish(&mut self, actions: &mut Vec<Action>) {
        let (Stop::Asked { status, .. } | Stop::Now { status }) = self.stop else { return };
        if self.members.iter().all(|it| it.life == Life::Leaving(Step::Abandoned)) {
            self.stop = Stop::Finished;
            actions.push(Action::Finish { status });
        }
    }
}
