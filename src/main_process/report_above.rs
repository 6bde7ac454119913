//! What main has for a service manager above at the end of each turn.

use super::MainProcess;
use crate::main_process::generation::RunningGeneration;
use crate::main_process::listener_store::StoreRequest;
use crate::main_process::situation::{self, Serving, Situation, StartPatience, StopProgress};
use crate::types::{Generation, Stage};

impl MainProcess {
    /// Tells the service manager above what is due. Without one nothing is looked at.
    pub(super) fn report_above(&mut self) {
        if !self.reporter.above.is_there() {
            return;
        }
        let (now, situation) = (self.now, self.situation());
        let has_none = situation.current.is_some_and(|current| !current.is_ready());
        let loss = || self.generations.last_loss().filter(|_| has_none).unwrap_or_default();
        self.reporter.above.tell_due(now, situation, loss);
        self.store_above();
        if self.reporter.above.awaits_watchdog(now) {
            let is_well = situation.is_starting(now) || self.has_live_worker(&situation);
            self.reporter.above.tell_watchdog(now, is_well);
        }
    }

    /// Has the service manager above keep main's own sockets, and forget those that main
    /// has given up, as far as it has room.
    pub(super) fn store_above(&mut self) {
        let Some(most) = self.reporter.above.begin_storing(self.now) else { return };
        while let Some(request) = self.listeners.next_above(most) {
            let is_sent = self.reporter.above.ask(&request);
            if !is_sent {
                return;
            }
            match request {
                StoreRequest::Keep(_, name, _) => self.listeners.kept_above(&name),
                StoreRequest::Forget(name) => self.listeners.forgotten_above(&name),
            }
        }
    }

    /// Has the service manager above forget the sockets that main has given up.
    pub(super) fn forget_above(&mut self) {
        if self.reporter.above.begin_storing(self.now).is_none() {
            return;
        }
        while let Some(StoreRequest::Forget(name)) = self.listeners.next_above(0) {
            if !self.reporter.above.ask(&StoreRequest::Forget(name.clone())) {
                return;
            }
            self.listeners.forgotten_above(&name);
        }
    }

    fn situation(&self) -> Situation {
        let supervisor = &self.supervisor;
        let stage_of =
            |generation: Generation| Some((generation, supervisor.stage_of(generation)?));
        let current = stage_of(self.generations.current());
        let current = current.filter(|(_, stage)| *stage == Stage::Current);
        Situation {
            stop: match (supervisor.serves_until(), supervisor.is_stopping()) {
                (Some(until), _) if !self.listeners.is_refusing => StopProgress::Delayed(until),
                (Some(_), _) | (None, true) => StopProgress::Begun,
                (None, false) => StopProgress::No,
            },
            current: current.map(|(generation, _)| Serving {
                generation,
                workers: self.generations.get(generation).and_then(RunningGeneration::workers),
            }),
            attempt: supervisor.attempt().and_then(stage_of),
            next_start: supervisor.next_start(),
            draining: supervisor.draining(),
            patience: match supervisor.gives_up() {
                true => StartPatience::Limited,
                false => StartPatience::Endless,
            },
        }
    }

    /// Whether the current generation has a worker that is ready and does not hang, or one
    /// that is to be there within its limits. A program without a board is alive as long as
    /// it is current.
    fn has_live_worker(&self, situation: &Situation) -> bool {
        let Some(current) = situation.current else { return false };
        self.generations.get(current.generation).is_some_and(|running| {
            let limits = running.limits;
            running.any_worker(&|worker| situation::is_well(worker, limits, self.now))
        })
    }
}
