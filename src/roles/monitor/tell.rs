//! What a monitor tells: its board, the log, and main above it.

use super::pool::{Kind, Running};
use crate::keep::log;
use crate::plan::pool::Report;
use crate::roles::listen::given;
use crate::types::{Activity, Level, Pid, Slot, Tick};
use crate::words::death::Death;
use alloc::string::String;
use core::{fmt, mem};

/// What has happened in a turn and is to be told at its end: whoever is to be
/// replaced waits for no log and no datagram.
pub(super) enum Untold {
    /// What the plan tells, and what it does not know of a death.
    Report(Report, Option<String>),
    /// A slot is filled, and not for the first time.
    Replaced { slot: Slot, pid: Pid },
}

impl<K: Kind> Running<K> {
    /// A slot is filled: the board says so.
    pub(super) fn welcome(&mut self, now: Tick, slot: Slot, pid: Pid) {
        let again = self.sheet.forked(slot, pid, now);
        log::log(Level::Debug, format_args!("worker {slot} is {pid}"));
        if again {
            self.untold.push(Untold::Replaced { slot, pid });
        }
    }

    /// Takes note of what the plan tells; the board shows it at once.
    pub(super) fn note(&mut self, now: Tick, report: Report) {
        let why = match report {
            Report::Ready { pid, .. } => K::note(self, now, pid, Activity::Idle),
            Report::Died { slot, pid, exit, asked, .. } => {
                self.sheet.died(slot, exit, asked, now);
                K::note(self, now, pid, Activity::Empty)
            }
            Report::ForkFailed { .. } | Report::Scaled { .. } => None,
        };
        self.untold.push(Untold::Report(report, why));
    }

    /// Tells the log and main of the turn that has begun at `now`.
    pub(super) fn tell(&mut self, now: Tick) {
        for untold in mem::take(&mut self.untold) {
            match untold {
                Untold::Report(report, why) => self.report(now, report, why.as_deref()),
                Untold::Replaced { slot, pid } => {
                    self.mention(format_args!("X_PANZER=respawn {slot} {pid}"));
                }
            }
        }
    }

    fn report(&mut self, now: Tick, report: Report, known: Option<&str>) {
        match report {
            Report::Ready { slot, pid } => {
                log::log(Level::Debug, format_args!("worker {slot} ({pid}) is ready"));
            }
            Report::Died { slot, pid, exit, lived, asked, next } => {
                let (level, why) = match known {
                    None if asked => (Level::Info, "asked"),
                    known => (Level::Warn, known.unwrap_or("unknown")),
                };
                let (death, generation) = (Death(exit), self.generation);
                let next = Next { next, now };
                log::log(
                    level,
                    format_args!(
                        "worker {slot} ({pid}) of generation {generation} {death} after {lived}: {why}{next}"
                    ),
                );
                if !asked {
                    self.mention(format_args!("X_PANZER=lost {slot} {pid} {death}"));
                }
            }
            Report::ForkFailed { slot, next } => {
                let next = Next { next, now };
                log::log(Level::Warn, format_args!("worker {slot} is missing{next}"));
            }
            Report::Scaled { count } => {
                let shown = u32::from(count);
                log::log(Level::Info, format_args!("{shown} workers are ready"));
                self.scaled = Some(count);
            }
        }
    }

    /// Tells main, unless it has no room; it looks at the board in any case.
    pub(super) fn mention(&self, words: fmt::Arguments<'_>) -> bool {
        let words = alloc::fmt::format(words);
        self.above.is_none() || given(|given| given.inherited.mention(words.as_bytes()))
    }

    pub(super) fn log_status(&self, now: Tick) {
        for slot in Slot::first(self.rules.count) {
            let (state, since) = self.sheet.state(slot);
            let (pid, state, since) = (self.plan.worker(slot), state.name(), now.since(since));
            match pid {
                Some(pid) => {
                    log::log(Level::Info, format_args!("worker {slot} ({pid}) {state} for {since}"))
                }
                None => log::log(Level::Info, format_args!("worker {slot} {state} for {since}")),
            }
        }
    }
}

/// When a slot is filled again, as the end of a line.
struct Next {
    next: Option<Tick>,
    now: Tick,
}

impl fmt::Display for Next {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.next {
            Some(due) if due > self.now => write!(out, "; next start in {}", due.since(self.now)),
            Some(_) | None => Ok(()),
        }
    }
}
