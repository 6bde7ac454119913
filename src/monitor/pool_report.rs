//! What a monitor tells: its board, the log, and main above it.

use crate::exit_status::{Cause, Ended};
use crate::log;
use crate::monitor::pool::Report;
use crate::shared::listener::given;
use crate::shared::oom_kills::OomKills;
use crate::shared::scoreboard_rows::Rows;
use crate::text::Plural;
use crate::types::{ExitReason, Level, Millis, Pid, Slot, Tick};
use alloc::string::String;
use alloc::vec::Vec;
use core::{fmt, mem};

/// How long it may wait to be told: so long a worker that was just forked has the
/// processor to itself.
const WAIT: Millis = Millis(1);

/// Something that is to be told when no worker waits for it: not for the log, not for a
/// datagram.
enum PendingReport {
    /// What the pool tells, and what it does not know of a death.
    Report(Report, Option<String>),
    /// A slot is filled, and not for the first time.
    Respawned { slot: Slot, pid: Pid },
}

/// What has happened and is still to be told, in its order.
pub(super) struct PoolReports {
    /// With the time at which it happened.
    pending: Vec<(Tick, PendingReport)>,
    kills: OomKills,
    /// The number of our generation; 0 when the program runs alone.
    generation: u32,
    /// Whether main is above us.
    has_main: bool,
}

impl PoolReports {
    /// Nothing has happened yet.
    pub fn new(generation: u32, has_main: bool) -> Self {
        Self { pending: Vec::new(), kills: OomKills::new(), generation, has_main }
    }

    /// What the pool tells, and what it does not know of a death.
    pub fn add(&mut self, now: Tick, report: Report, known: Option<String>) {
        self.pending.push((now, PendingReport::Report(report, known)));
    }

    /// A slot is filled, and not for the first time.
    pub fn add_respawned(&mut self, now: Tick, slot: Slot, pid: Pid) {
        self.pending.push((now, PendingReport::Respawned { slot, pid }));
    }

    /// When the oldest is told at the latest; `None` if there is none.
    pub fn due(&self) -> Option<Tick> {
        self.pending.first().map(|(since, _)| since.after(WAIT))
    }

    /// Main is gone: nothing is told any more but the log.
    pub const fn lose_main(&mut self) {
        self.has_main = false;
    }

    /// Tells the log all of it, and main when the turn ends.
    pub fn tell(&mut self, rows: &mut Rows) {
        let all = mem::take(&mut self.pending);
        let starved = self.starved(&all);
        for (now, pending) in all {
            match pending {
                PendingReport::Report(report, known) => {
                    self.report(now, rows, report, known.as_deref(), starved);
                }
                PendingReport::Respawned { slot, pid } => {
                    self.add_news(format_args!("X_PANZER=respawn {slot} {pid}"));
                }
            }
        }
    }

    /// Whether the kernel has killed for want of memory all of these that are not known
    /// to have been killed otherwise. Looked at whenever there is anything to tell, so
    /// that what it has killed before does not count.
    fn starved(&mut self, pending: &[(Tick, PendingReport)]) -> bool {
        let is_killed = |(_, pending): &&(Tick, PendingReport)| match pending {
            PendingReport::Report(Report::Died { exit, reason, .. }, _) => {
                *reason == ExitReason::Unknown && exit.is_sigkill()
            }
            PendingReport::Report(..) | PendingReport::Respawned { .. } => false,
        };
        let killed = pending.iter().filter(is_killed).count();
        !pending.is_empty() && self.kills.explain(killed)
    }

    fn report(
        &mut self,
        now: Tick,
        rows: &mut Rows,
        report: Report,
        known: Option<&str>,
        starved: bool,
    ) {
        match report {
            Report::Died { .. } => self.report_death(now, rows, report, known, starved),
            Report::Ready { slot, pid } => {
                log::log(Level::Debug, format_args!("worker {slot} (pid {pid}): ready"));
            }
            Report::TookOver { .. } => {}
            Report::Late { slot, pid, waited } => log_late(self.generation, slot, pid, waited),
            Report::Hung { slot, pid, busy } => log_hung(self.generation, slot, pid, busy),
            Report::ForkFailed { slot, next } => log_fork_failed(now, slot, next),
            Report::AllReady => self.add_news(format_args!("X_PANZER=full")),
            Report::Scaled { count } => {
                let shown = Plural(count.into(), "worker");
                log::log(Level::Info, format_args!("pool: scaled, {shown} ready"));
                self.say(format_args!("X_PANZER=scaled {}", u32::from(count)));
            }
        }
    }

    /// Tells of a worker that is dead.
    fn report_death(
        &mut self,
        now: Tick,
        rows: &mut Rows,
        report: Report,
        known: Option<&str>,
        starved: bool,
    ) {
        let Report::Died { slot, pid, exit, lived, mut reason, next, .. } = report else { return };
        let generation = self.generation;
        if starved && reason == ExitReason::Unknown && exit.is_sigkill() {
            reason = ExitReason::Memory;
            rows.explain(slot, exit, reason);
        }
        let is_asked = known.is_none() && reason == ExitReason::Requested;
        let level = if is_asked { Level::Info } else { Level::Warn };
        let ended = Ended { exit, lived, reason: known.or(reason.known()) };
        let next = NextStart { next, now };
        log::log(
            level,
            format_args!("worker {slot} (pid {pid}) of generation {generation}: {ended}{next}"),
        );
        if reason != ExitReason::Requested {
            self.add_news(format_args!("X_PANZER=lost {slot} {pid} {}", Cause(exit, reason)));
        }
    }

    /// Tells main with all else of this turn.
    fn add_news(&self, line: fmt::Arguments<'_>) {
        if self.has_main {
            let line = alloc::fmt::format(line);
            given(|given| given.inherited.add_news(line.as_bytes()));
        }
    }

    /// Tells main something that it waits for.
    pub fn say(&self, words: fmt::Arguments<'_>) {
        if self.has_main {
            let words = alloc::fmt::format(words);
            given(|given| given.inherited.say(words.as_bytes()));
        }
    }
}

fn log_late(generation: u32, slot: Slot, pid: Pid, waited: Millis) {
    log::log(
        Level::Warn,
        format_args!(
            "worker {slot} (pid {pid}) of generation {generation}: not ready after {waited} \
             (--ready-timeout), stopping it"
        ),
    );
}

fn log_hung(generation: u32, slot: Slot, pid: Pid, busy: Millis) {
    log::log(
        Level::Warn,
        format_args!(
            "worker {slot} (pid {pid}) of generation {generation}: no progress for {busy} \
             (--hang-timeout), sent SIGABRT"
        ),
    );
}

fn log_fork_failed(now: Tick, slot: Slot, next: Option<Tick>) {
    match next {
        Some(due) => {
            let wait = due.since(now);
            log::log(Level::Warn, format_args!("worker {slot}: fork failed, retrying in {wait}"));
        }
        None => log::log(Level::Warn, format_args!("worker {slot}: fork failed")),
    }
}

/// When a slot is filled again at the latest, as the end of a line: it is sooner when
/// all that leaves the slot has ended before.
struct NextStart {
    next: Option<Tick>,
    now: Tick,
}

impl fmt::Display for NextStart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.next {
            Some(due) if due > self.now => {
                write!(out, "; restarting within {}", due.since(self.now))
            }
            Some(_) | None => Ok(()),
        }
    }
}
