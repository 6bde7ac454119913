//! `panzerctl status`: what runs, for people.
//!
//! ```text
//! panzer 0.1.0, pid 1234, running, up 26 h, 2 workers wanted
//! last reload: generation 8 became current 12 s ago
//!
//! web               127.0.0.1:8080        bound, queue 0 of 4096
//!
//! ├─ generation 7   draining    120 min   monitor 1300
//! │  └─ worker 2    busy        118 min   pid 1302, 12345 handled
//! └─ generation 8   current     13 s      monitor 1400
//!    ├─ worker 1    idle        13 s      pid 1401, 7 handled
//!    └─ worker 2    idle        2 s       pid 1409, 0 handled, 1 restart
//!                                         before: killed by SIGSEGV
//! ```

use super::death::Cause;
use super::page::{Colour, Page};
use super::picture::{Generation, Handled, Picture, Worker};
use super::printable;
use super::status::{Binary, Listener, Main, Outcome, Phase, Reload};
use crate::types::{Activity, Stage};
use alloc::string::String;

/// Where the columns begin.
const STATE: usize = 18;
const AGE: usize = 30;
const REST: usize = 40;

/// Draws everything.
pub fn render(picture: &Picture, is_coloured: bool) -> String {
    let mut page = Page::new(is_coloured);
    if let Some(main) = &picture.main {
        draw_main(&mut page, main);
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

fn draw_main(page: &mut Page, main: &Main<'_>) {
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
        page.put(format_args!(", {} wanted", Count(count.into(), "worker")));
    }
    page.end();
    let warning = match main.binary {
        Binary::Same => None,
        Binary::Differs => Some("the panzer on disk is not the one that runs"),
        Binary::Missing => Some("the panzer that runs is not on disk any more"),
    };
    if let Some(warning) = warning {
        page.paint(Colour::Busy, format_args!("{warning}"));
        page.end();
    }
    if main.dropped > 0 {
        let lines = Count(main.dropped.into(), "line");
        page.paint(Colour::Bad, format_args!("{lines} of the log could not be written"));
        page.end();
    }
}

fn draw_reload(page: &mut Page, picture: &Picture, reload: &Reload<'_>) {
    page.put(format_args!("last reload: "));
    if let Some(generation) = reload.generation {
        page.put(format_args!("generation {generation} "));
    }
    let (colour, what) = match reload.outcome {
        Outcome::Running => (Colour::Busy, "is on its way, asked for"),
        Outcome::Current => (Colour::Good, "became current"),
        Outcome::Failed => (Colour::Bad, "failed"),
        Outcome::RolledBack => (Colour::Bad, "was rolled back"),
    };
    page.paint(colour, format_args!("{what}"));
    page.put(format_args!(" {} ago", picture.age(reload.at)));
    page.end();
    if let Some(why) = &reload.why {
        page.wrap("  ", why);
    }
}

fn draw_listener(page: &mut Page, listener: &Listener<'_>) {
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
    page.end();
}

fn draw_generation(page: &mut Page, picture: &Picture, generation: &Generation, is_last: bool) {
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
        Some(monitor) => page.put(format_args!("monitor {monitor}")),
        None => page.paint(Colour::Bad, format_args!("monitor {} is gone", life.leader)),
    }
    if let Some(says) = &life.says {
        page.put(format_args!(": {}", printable::lossy(says)));
    }
    page.end();
    draw_workers(page, picture, generation, if is_last { "  " } else { "│ " });
}

/// What a generation's board says.
fn draw_workers(page: &mut Page, picture: &Picture, generation: &Generation, branch: &str) {
    match &generation.workers {
        None => {}
        Some(Err(why)) => {
            page.put(format_args!("{branch} └─ {why}"));
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

fn draw_worker(page: &mut Page, picture: &Picture, worker: &Worker, place: (&str, bool)) {
    let (branch, is_last) = place;
    page.put(format_args!("{branch} {} worker {}", if is_last { "└─" } else { "├─" }, worker.slot));
    page.column(STATE);
    let colour = match worker.activity {
        Some(Activity::Idle) => Colour::Good,
        Some(Activity::Busy) => Colour::Plain,
        Some(Activity::Starting | Activity::Draining) => Colour::Busy,
        Some(Activity::Empty) | None => Colour::Bad,
    };
    page.paint(colour, format_args!("{}", worker.state()));
    page.column(AGE);
    match worker.pid {
        Some(pid) => {
            page.put(format_args!("{}", picture.age(worker.since)));
            page.column(REST);
            page.put(format_args!("pid {pid}{}", Handled(worker.handled)));
        }
        None => page.column(REST),
    }
    if worker.is_heir {
        page.put(format_args!(", heir"));
    }
    if worker.restarts > 0 {
        let comma = if worker.pid.is_some() { ", " } else { "" };
        page.put(format_args!("{comma}{}", Count(worker.restarts.into(), "restart")));
    }
    page.end();
    if let Some(exit) = worker.exit {
        page.put(format_args!("{branch} {}", if is_last { " " } else { "│" }));
        page.column(REST);
        page.paint(Colour::Dim, format_args!("before: {}", Cause(exit, worker.why)));
        page.end();
    }
}

/// A number of things: `1 worker`, `2 workers`.
struct Count<'a>(u64, &'a str);

impl core::fmt::Display for Count<'_> {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}
