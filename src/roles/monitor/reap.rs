//! Whom a monitor reaps: its own workers, each by its pid.

use super::pool::{Kind, Running};
use crate::plan::pool::Event;
use crate::sys::process::{self, Reaped};
use crate::sys::signal;
use crate::types::{Exit, Millis, Pid, Tick};

/// The least time between two looks at all workers, where these are many: one
/// look costs 0.6 µs a worker.
const SWEEP: Millis = Millis(50);
/// So many workers are looked at whenever one has died.
const FEW: u16 = 64;

impl<K: Kind> Running<K> {
    /// Reaps our own dead: those that a signal has named at once, and those that
    /// it may have stood for at once too, or within 50 ms where workers are many.
    pub(super) fn reap(&mut self, now: Tick, died: bool) {
        for pid in signal::noted_deaths() {
            if self.plan.employs(pid) {
                self.reap_one(now, pid);
            }
        }
        if died {
            self.want_sweep(now);
        }
        if self.sweep.is_some_and(|due| due <= now) {
            (self.swept, self.sweep) = (now, None);
            for pid in self.plan.pids() {
                self.reap_one(now, pid);
            }
        }
    }

    /// All workers are to be looked at soon.
    pub(super) fn want_sweep(&mut self, now: Tick) {
        let rest = if self.rules.count > FEW { SWEEP } else { Millis(0) };
        self.sweep = self.sweep.or(Some(now.max(self.swept.after(rest))));
    }

    fn reap_one(&mut self, now: Tick, pid: Pid) {
        match process::reap(pid) {
            Ok(Reaped::Dead(pid, exit)) => self.step(now, Event::Exited { pid, exit }),
            // Somebody else in this process has waited for it: it is gone all
            // the same, and how it ended is lost.
            Ok(Reaped::NoChild) => self.step(now, Event::Exited { pid, exit: Exit::Status(0) }),
            Ok(Reaped::NoneDead) | Err(_) => {}
        }
    }
}
