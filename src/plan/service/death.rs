//! How main's plan takes a death: of an attempt, of the current generation, or
//! of one that is leaving.

use super::member::Life;
use super::words::{Action, Exec, Failure, Left, Report};
use super::{Past, Service, Stop};
use crate::types::{Generation, Tick};
use alloc::vec::Vec;

impl Service {
    /// Notes that a start has come to nothing. Where nobody serves it has to be
    /// made again; a reload that failed is the operator's to repeat.
    pub(super) fn failed(
        &mut self,
        now: Tick,
        generation: Generation,
        why: Failure,
        actions: &mut Vec<Action>,
    ) {
        actions.push(Action::Discard { generation, was_ready: false, why });
        if let Past::NeverReady { failed } = &mut self.past {
            *failed = failed.saturating_add(1);
        }
        if self.current().is_none() {
            self.repair(now, None, actions);
        }
    }

    /// Wants a new start after a death, unless a stop or giving up forbids it.
    fn repair(&mut self, now: Tick, healthy_since: Option<Tick>, actions: &mut Vec<Action>) {
        let due = self.streak.died(now, healthy_since, self.rules.backoff);
        if self.stop != Stop::No {
            return;
        }
        let most = self.rules.give_up;
        match self.past {
            Past::NeverReady { failed } if most != 0 && failed >= most => {
                actions.push(Action::Tell(Report::GaveUp(failed)));
                self.begin_stop(now, 1, actions);
            }
            Past::NeverReady { .. } | Past::Ready => {
                self.want(due);
                if due > now {
                    actions.push(Action::Tell(Report::Waiting(due)));
                }
            }
        }
    }

    pub(super) fn gone(
        &mut self,
        now: Tick,
        generation: Generation,
        exec: Exec,
        left: Left,
        actions: &mut Vec<Action>,
    ) {
        let Some(member) = self.member(generation) else { return };
        let Some(monitor) = member.monitor() else { return };
        let (before, since) = (member.life, member.since);
        if before == Life::Current {
            actions.push(Action::Tell(Report::Crashed(generation)));
        }
        match left {
            Left::Members => member.orphan(now, monitor, actions),
            Left::Nobody => self.forget(generation, actions),
        }
        match before {
            Life::Starting | Life::Living => self.never_ran(now, generation, exec, actions),
            Life::Probation => {
                let why = Failure::Left;
                actions.push(Action::Discard { generation, was_ready: true, why });
            }
            Life::Current => self.crashed(now, since, actions),
            Life::Spawning | Life::Leaving(_) => {}
        }
    }

    /// A start whose monitor is gone. A first program that is not there, or is
    /// none, will not be there in a second either.
    fn never_ran(
        &mut self,
        now: Tick,
        generation: Generation,
        exec: Exec,
        actions: &mut Vec<Action>,
    ) {
        let why = if exec == Exec::Done { Failure::Left } else { Failure::NotSpawned };
        let status = match exec {
            Exec::Missing => Some(127),
            Exec::Unusable => Some(126),
            Exec::Done | Exec::Hindered => None,
        };
        match (status, self.past) {
            (Some(status), Past::NeverReady { .. }) => {
                actions.push(Action::Discard { generation, was_ready: false, why });
                self.begin_stop(now, status, actions);
            }
            (Some(_) | None, Past::NeverReady { .. } | Past::Ready) => {
                self.failed(now, generation, why, actions);
            }
        }
    }

    /// The current monitor left unasked. The one on probation takes its place;
    /// one that is starting is waited for; else a new one is wanted.
    fn crashed(&mut self, now: Tick, since: Tick, actions: &mut Vec<Action>) {
        let attempt = self.members.iter().find(|member| member.is_attempt());
        match attempt.map(|attempt| (attempt.generation, attempt.life)) {
            Some((next, Life::Probation)) => self.promote(now, next, actions),
            Some(_) => {
                self.streak.died(now, Some(since), self.rules.backoff);
            }
            None => self.repair(now, Some(since), actions),
        }
        if matches!(self.stop, Stop::Lingering { .. }) && self.current().is_none() {
            self.begin_stop(now, 0, actions);
        }
    }

    pub(super) fn forget(&mut self, generation: Generation, actions: &mut Vec<Action>) {
        let before = self.members.len();
        self.members.retain(|member| member.generation != generation);
        if self.members.len() != before {
            actions.push(Action::Forget { generation });
        }
    }
}
