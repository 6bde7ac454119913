//! What a monitor tells: its board, the log, and main above it.

use super::pool::{Kind, Running};
use crate::keep::board::Desk;
use crate::keep::log;
use crate::plan::pool::Report;
use crate::roles::listen::given;
use crate::types::{Activity, Level, Pid, Slot, Tick, Why};
use crate::words::death::{Cause, Death};
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
    /// A slot is filled, or has an heir: the board says so.
    pub(super) fn welcome(&mut self, now: Tick, slot: Slot, pid: Pid, heir: bool) {
        if heir {
            self.sheet.forked_heir(slot, pid, now);
            return log::log(Level::Debug, format_args!("worker {slot} is to be {pid}"));
        }
        let again = self.sheet.forked(slot, pid, now);
        log::log(Level::Debug, format_args!("worker {slot} is {pid}"));
        if again {
            self.untold.push(Untold::Replaced { slot, pid });
        }
    }

    /// Takes note of what the plan tells; the board shows it at once.
    pub(super) fn note(&mut self, now: Tick, report: Report) {
        let known = match report {
            Report::Ready { pid, .. } => K::note(self, now, pid, Activity::Idle),
            Report::Died { slot, pid, exit, why, .. } => {
                self.sheet.died(slot, pid, exit, why, now);
                K::note(self, now, pid, Activity::Empty)
            }
            Report::Inherited { slot, pid } => {
                self.sheet.inherit(slot);
                return self.untold.push(Untold::Replaced { slot, pid });
            }
            Report::Hung { .. } | Report::ForkFailed { .. } | Report::Scaled { .. } => None,
        };
        self.untold.push(Untold::Report(report, known));
    }

    /// Tells the log and main of the turn that has begun at `now`.
    pub(super) fn tell(&mut self, now: Tick) {
        let all = mem::take(&mut self.untold);
        let starved = self.starved(&all);
        for untold in all {
            match untold {
                Untold::Report(report, known) => {
                    self.report(now, report, known.as_deref(), starved);
                }
                Untold::Replaced { slot, pid } => {
                    self.mention(format_args!("X_PANZER=respawn {slot} {pid}"));
                }
            }
        }
    }

    /// Whether the kernel has killed for want of memory everybody of these whom
    /// nobody is known to have killed. Looked at whenever there is anything to
    /// tell, so that what it has killed before does not count.
    fn starved(&mut self, untold: &[Untold]) -> bool {
        let is_killed = |untold: &&Untold| match untold {
            Untold::Report(Report::Died { exit, why, .. }, _) => {
                *why == Why::Unknown && exit.is_sigkill()
            }
            Untold::Report(..) | Untold::Replaced { .. } => false,
        };
        let killed = untold.iter().filter(is_killed).count();
        !untold.is_empty() && self.kills.explain(killed)
    }

    fn report(&mut self, now: Tick, report: Report, known: Option<&str>, starved: bool) {
        let generation = self.generation;
        match report {
            Report::Ready { slot, pid } => {
                log::log(Level::Debug, format_args!("worker {slot} ({pid}) is ready"));
            }
            Report::Died { slot, pid, exit, lived, mut why, next } => {
                if starved && why == Why::Unknown && exit.is_sigkill() {
                    why = Why::Memory;
                    self.sheet.explain(slot, exit, why);
                }
                let is_asked = known.is_none() && why == Why::Asked;
                let level = if is_asked { Level::Info } else { Level::Warn };
                let (death, reason) = (Death(exit), known.unwrap_or(why.name()));
                let next = Next { next, now };
                log::log(
                    level,
                    format_args!(
                        "worker {slot} ({pid}) of generation {generation} {death} after {lived}: {reason}{next}"
                    ),
                );
                if why != Why::Asked {
                    self.mention(format_args!("X_PANZER=lost {slot} {pid} {}", Cause(exit, why)));
                }
            }
            Report::Inherited { .. } => {}
            Report::Hung { slot, pid, busy } => log::log(
                Level::Warn,
                format_args!(
                    "worker {slot} ({pid}) of generation {generation} is busy for {busy} and has \
                     hung: sent SIGABRT"
                ),
            ),
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
            let (state, since) = self.sheet.state(Desk::of(slot));
            let (pid, state, since) = (self.plan.worker(slot), state.name(), now.since(since));
            match pid {
                Some(pid) => {
                    log::log(Level::Info, format_args!("worker {slot} ({pid}) {state} for {since}"))
                }
                None => log::log(Level::Info, format_args!("worker {slot} {state} for {since}")),
            }
        }
        if let Some((slot, pid)) = self.plan.heir() {
            log::log(Level::Info, format_args!("worker {slot} is to be {pid}"));
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
