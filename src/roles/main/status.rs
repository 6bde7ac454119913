//! SIGTTIN: what runs, in the log.

use super::Main;
use super::run::Run;
use crate::keep::log::log;
use crate::sys::{process, signal};
use crate::types::{Level, Signal, Slot, Tick};
use crate::words::picture::Handled;

impl Main {
    /// Logs main, every generation, and its workers as their board shows them.
    pub(super) fn log_status(&self) {
        let version = env!("CARGO_PKG_VERSION");
        let (id, up) = (process::id(), self.now.since(self.since));
        log(Level::Info, format_args!("status: panzer {version} is {id}, up {up}"));
        for run in &self.runs {
            let Some(stage) = self.plan.stage_of(run.generation) else { continue };
            let (generation, leader, up) = (run.generation, run.leader, self.now.since(run.since));
            let whose = if run.monitor.is_some() { "monitor" } else { "left by monitor" };
            let state = stage.name();
            log(
                Level::Info,
                format_args!("status: generation {generation} {state}, {whose} {leader}, up {up}"),
            );
            if let Some(status) = &run.status {
                log(Level::Info, format_args!("status: generation {generation} says: {status}"));
            }
            log_workers(run, self.now);
        }
    }
}

/// A library monitor logs what it knows too; nobody else is sent a signal that
/// would stop him.
fn log_workers(run: &Run, now: Tick) {
    let Some(header) = run.board.header() else { return };
    for slot in Slot::first(header.count) {
        let worker = run.board.worker(slot);
        let Some((worker, pid)) = worker.and_then(|worker| Some((worker, worker.pid?))) else {
            log(Level::Info, format_args!("status: worker {slot} is missing"));
            continue;
        };
        let (state, up) = (worker.state(), now.since(worker.since));
        let (restarts, handled) = (worker.restarts, Handled(worker.handled));
        log(
            Level::Info,
            format_args!(
                "status: worker {slot} ({pid}) {state}, up {up}, {restarts} restarts{handled}"
            ),
        );
    }
    if let Some(heir) = run.board.heir() {
        let (slot, state, up) = (heir.slot, heir.state(), now.since(heir.since));
        log(Level::Info, format_args!("status: an heir of worker {slot} {state}, up {up}"));
    }
    if let (true, Some(monitor)) = (header.handlers, run.monitor) {
        let _ = signal::send(monitor, Signal::Ttin);
    }
}
