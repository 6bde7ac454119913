//! SIGTTIN: what runs, in the log.

use crate::log::log;
use crate::main_process::generation::RunningGeneration;
use crate::main_process::generations::Generations;
use crate::main_process::supervisor::Supervisor;
use crate::protocol::status_report::{Handled, WorkerReport};
use crate::sys::{process, signal};
use crate::text::Plural;
use crate::types::{Generation, Level, Pid, Signal, Slot, Tick};

/// Logs main, every generation, and its workers as their board shows them.
pub(super) fn log_status(
    generations: &Generations,
    supervisor: &Supervisor,
    since: Tick,
    now: Tick,
) {
    let version = env!("CARGO_PKG_VERSION");
    let (id, up) = (process::id(), now.since(since));
    log(Level::Info, format_args!("status: panzer {version}, pid {id}, up {up}"));
    for running in generations.iter() {
        let Some(stage) = supervisor.stage_of(running.generation) else { continue };
        let (generation, leader, up) =
            (running.generation, running.leader, now.since(running.since));
        let exited = if running.monitor.is_some() { "" } else { " (exited)" };
        let state = stage.name();
        log(
            Level::Info,
            format_args!(
                "status: generation {generation}: {state}, monitor pid {leader}{exited}, up \
                 {up}"
            ),
        );
        if let Some(status) = &running.status {
            log(Level::Info, format_args!("status: generation {generation}: STATUS={status}"));
        }
        log_workers(running, now);
    }
}

/// A library monitor logs what it knows too; no other process is sent a signal that it
/// may take for another request.
fn log_workers(running: &RunningGeneration, now: Tick) {
    let Some(header) = running.board.header() else { return };
    let mut workers = running.board.workers(&header).into_iter().peekable();
    for slot in Slot::first(Slot::LAST) {
        let mut is_missing = slot.number() <= header.count;
        while let Some(worker) = workers.next_if(|worker| worker.slot == slot) {
            if let Some(pid) = worker.pid {
                is_missing = false;
                log_worker(running.generation, &worker, pid, now);
            }
        }
        if is_missing {
            let generation = running.generation;
            log(
                Level::Info,
                format_args!("status: generation {generation}: worker {slot}: no process"),
            );
        }
    }
    if let (true, Some(monitor)) = (header.handlers, running.monitor) {
        let _ = signal::send(monitor, Signal::Ttin);
    }
}

fn log_worker(generation: Generation, worker: &WorkerReport, pid: Pid, now: Tick) {
    let (slot, state, up) = (worker.slot, worker.state(), now.since(worker.since));
    let handled = Handled(worker.handled);
    let restarts = Plural(worker.restarts.into(), "restart");
    let role = if worker.is_replacement { ", replacement" } else { "" };
    log(
        Level::Info,
        format_args!(
            "status: generation {generation}: worker {slot} (pid {pid}): {state}, up {up}, \
             {restarts}{handled}{role}"
        ),
    );
}
