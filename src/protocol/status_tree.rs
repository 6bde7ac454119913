//! `panzerctl status`: what runs, for people.
//!
//! ```text
//! panzer 0.1.0, pid 1234, running, up 26 h, 2 workers wanted
//! last reload: generation 8 became current 12 s ago
//!
//! web               127.0.0.1:8080        bound, queue 0 of 4096
//!
//! ├─ generation 7   draining    120 min   monitor 1300
//! │  └─ worker 2    busy        118 min   pid 1302, 12345 handled, 2 open
//! └─ generation 8   current     13 s      monitor 1400
//!    ├─ worker 1    idle        13 s      pid 1401, 7 handled
//!    └─ worker 2    idle        2 s       pid 1409, 0 handled, 1 restart
//!                                         before: killed by SIGSEGV
//! ```

use crate::exit_status::Cause;
use crate::printable;
use crate::protocol::status_records::{
    Binary, Listener, Main, Outage, Phase, Reload, ReloadOutcome, Standing,
};
use crate::protocol::status_report::{
    GenerationReport, Handled, MemoryUse, StatusReport, WorkerReport,
};
use crate::protocol::text_table::{Colour, TextTable};
use crate::text::{self, Plural};
use crate::types::{Activity, Stage};
use alloc::string::String;

/// Where the columns begin.
const STATE: usize = 18;
const AGE: usize = 30;
const REST: usize = 40;

/// Draws everything.
pub fn render(picture: &StatusReport, is_coloured: bool) -> String {
    let mut page = TextTable::new(is_coloured);
    if let Some(outage) = &picture.outage {
        draw_outage(&mut page, picture, outage);
    }
    if let Some(main) = &picture.main {
        draw_main(&mut page, main, picture);
    }
    if let Some(reload) = &picture.reload {
        draw_reload(&mut page, picture, reload);
    }
    if !picture.listeners.is_empty() {
        page.end();
    }
    for listener in &picture.listeners {
        draw_listener(&mut page, listener);
    }
    if !picture.generations.is_empty() {
        page.end();
    }
    let mut generations = picture.generations.iter().peekable();
    while let Some(generation) = generations.next() {
        draw_generation(&mut page, picture, generation, generations.peek().is_none());
    }
    page.into_text()
}

/// The first line of all, whatever else there is to see.
fn draw_outage(page: &mut TextTable, picture: &StatusReport, outage: &Outage<'_>) {
    page.paint(Colour::Bad, format_args!("not serving;"));
    let mut text = String::new();
    if let (Some(due), Some(main)) = (outage.due, &picture.main) {
        text::add(&mut text, format_args!("next start in {}; ", due.since(main.now)));
    }
    match &outage.why {
        Some(reason) => {
            text::add(&mut text, format_args!("last failure: {}", printable::lossy(reason)))
        }
        None => text.push_str("no failure so far"),
    }
    page.wrap("", text.as_bytes());
}

fn draw_main(page: &mut TextTable, main: &Main<'_>, picture: &StatusReport) {
    let version = printable::lossy(&main.version);
    page.paint(Colour::Bold, format_args!("panzer {version}"));
    page.put(format_args!(", pid {}, ", main.pid));
    let colour = match main.state {
        Phase::Running => Colour::Good,
        Phase::Starting | Phase::Stopping => Colour::Busy,
    };
    page.paint(colour, format_args!("{}", main.state.name()));
    page.put(format_args!(", up {}", main.up));
    if let Some(count) = main.count {
        page.put(format_args!(", {} wanted", Plural(count.into(), "worker")));
    }
    page.put(format_args!("{}", MemoryUse(picture.memory_of(main.pid))));
    page.end();
    let warning = match picture.binary {
        None | Some(Binary::Same) => None,
        Some(Binary::Differs) => {
            Some("the panzer on disk is not the one that runs: restart to run it")
        }
        Some(Binary::Missing) => Some("the panzer that runs is not on disk any more"),
    };
    if let Some(warning) = warning {
        page.paint(Colour::Busy, format_args!("{warning}"));
        page.end();
    }
    if main.dropped > 0 {
        let lines = Plural(main.dropped.into(), "line");
        page.paint(Colour::Bad, format_args!("{lines} of the log dropped"));
        page.end();
    }
}

fn draw_reload(page: &mut TextTable, picture: &StatusReport, reload: &Reload<'_>) {
    page.put(format_args!("last reload: "));
    if let Some(generation) = reload.generation {
        page.put(format_args!("generation {generation} "));
    }
    let (colour, what) = match reload.outcome {
        ReloadOutcome::Running => (Colour::Busy, "in progress, requested"),
        ReloadOutcome::Current => (Colour::Good, "became current"),
        ReloadOutcome::Failed => (Colour::Bad, "failed"),
        ReloadOutcome::RolledBack => (Colour::Bad, "was rolled back"),
    };
    page.paint(colour, format_args!("{what}"));
    page.put(format_args!(" {} ago", picture.age(reload.at)));
    page.end();
    if let Some(reason) = &reload.why {
        page.wrap("  ", reason);
    }
}

fn draw_listener(page: &mut TextTable, listener: &Listener<'_>) {
    let (name, address) = (printable::lossy(&listener.name), printable::lossy(&listener.address));
    page.paint(Colour::Bold, format_args!("{name}"));
    page.column(STATE);
    page.put(format_args!("{}", if name == address { "" } else { &address }));
    page.column(REST);
    page.put(format_args!("{}", listener.origin.name()));
    if let (Some(queue), Some(backlog)) = (listener.queue, listener.backlog) {
        let colour = match queue {
            0 => Colour::Plain,
            _ if queue >= backlog => Colour::Bad,
            _ => Colour::Busy,
        };
        page.put(format_args!(", "));
        page.paint(colour, format_args!("queue {queue} of {backlog}"));
    }
    let remark = match listener.path {
        None | Some(Standing::There) => None,
        Some(Standing::Gone) => Some("path gone"),
        Some(Standing::Taken) => Some("path taken by another file"),
    };
    page.end();
    // A line of its own, since one that is too long loses its end.
    if let Some(remark) = remark {
        page.put(format_args!("  "));
        page.paint(Colour::Bad, format_args!("{remark}"));
        page.put(format_args!(": reload to bind it again"));
        page.end();
    }
}

fn draw_generation(
    page: &mut TextTable,
    picture: &StatusReport,
    generation: &GenerationReport,
    is_last: bool,
) {
    let life = &generation.life;
    page.put(format_args!("{} ", if is_last { "└─" } else { "├─" }));
    page.paint(Colour::Bold, format_args!("generation {}", life.number));
    page.column(STATE);
    let colour = match life.state {
        Stage::Current => Colour::Good,
        Stage::Starting | Stage::Probation | Stage::Draining => Colour::Busy,
    };
    page.paint(colour, format_args!("{}", life.state.name()));
    page.column(AGE);
    page.put(format_args!("{}", picture.age(life.since)));
    page.column(REST);
    match life.monitor {
        Some(monitor) => {
            page.put(format_args!("monitor {monitor}{}", MemoryUse(picture.memory_of(monitor))));
        }
        None => page.paint(Colour::Bad, format_args!("monitor {} is gone", life.leader)),
    }
    if let Some(says) = &life.says {
        page.put(format_args!(": {}", printable::lossy(says)));
    }
    page.end();
    draw_workers(page, picture, generation, if is_last { "  " } else { "│ " });
}

/// What a generation's board says.
fn draw_workers(
    page: &mut TextTable,
    picture: &StatusReport,
    generation: &GenerationReport,
    branch: &str,
) {
    match &generation.workers {
        None => {}
        Some(Err(reason)) => {
            page.put(format_args!("{branch} └─ {reason}"));
            page.end();
        }
        Some(Ok(workers)) => {
            let mut workers = workers.iter().peekable();
            while let Some(worker) = workers.next() {
                draw_worker(page, picture, worker, (branch, workers.peek().is_none()));
            }
        }
    }
}

fn colour_of(activity: Option<Activity>) -> Colour {
    match activity {
        Some(Activity::Idle) => Colour::Good,
        Some(Activity::Busy) => Colour::Plain,
        Some(Activity::Starting | Activity::Draining) => Colour::Busy,
        Some(Activity::Empty) | None => Colour::Bad,
    }
}

fn draw_worker(
    page: &mut TextTable,
    picture: &StatusReport,
    worker: &WorkerReport,
    place: (&str, bool),
) {
    let (branch, is_last) = place;
    page.put(format_args!("{branch} {} worker {}", if is_last { "└─" } else { "├─" }, worker.slot));
    page.column(STATE);
    page.paint(colour_of(worker.activity), format_args!("{}", worker.state()));
    page.column(AGE);
    match worker.pid {
        Some(pid) => {
            page.put(format_args!("{}", picture.age(worker.since)));
            page.column(REST);
            page.put(format_args!("pid {pid}{}", Handled(worker.handled)));
            if let Some(held) = worker.connections {
                page.put(format_args!(", {held} open"));
            }
        }
        None => page.column(REST),
    }
    if worker.is_replacement {
        page.put(format_args!(", replacement"));
    }
    if worker.restarts > 0 {
        let comma = if worker.pid.is_some() { ", " } else { "" };
        page.put(format_args!("{comma}{}", Plural(worker.restarts.into(), "restart")));
    }
    // Last, since a line that is too long loses its end.
    page.put(format_args!("{}", MemoryUse(worker.pid.and_then(|pid| picture.memory_of(pid)))));
    page.end();
    if let Some(exit) = worker.exit {
        page.put(format_args!("{branch} {}", if is_last { " " } else { "│" }));
        page.column(REST);
        page.paint(Colour::Dim, format_args!("last exit: {}", Cause(exit, worker.reason)));
        page.end();
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::protocol::status_report::StatusReport;

    #[test]
    fn queue_is_coloured_by_what_waits_in_it() {
        for (queue, colour) in [(0, ""), (1, "\x1b[33m"), (4, "\x1b[31m"), (5, "\x1b[31m")] {
            let mut report = StatusReport::default();
            let line = alloc::format!(
                "listener name=web address=127.0.0.1:80 origin=bound queue={queue} backlog=4"
            );
            report.take(line.as_bytes());
            let shown = render(&report, true);
            assert!(shown.contains(&alloc::format!(", {colour}queue {queue} of 4")), "{shown:?}");
        }
    }
}
