//! What main tells: the log for people, the events for tools, and a service
//! manager above if there is one.

use super::MainProcess;
use crate::exit_status::{Cause, Ended};
use crate::log::{self, log};
use crate::main_process::control::GenerationProgress;
use crate::main_process::supervisor::{Failure, Report};
use crate::protocol::event_lines::{EventLine, EventName};
use crate::protocol::status_records::ReloadOutcome;
use crate::sys::output;
use crate::text::{self, Plural};
use crate::types::{Exit, ExitReason, Generation, Level, Millis, Pid};

impl MainProcess {
    /// One event, and what was dropped before it.
    pub(super) fn event(&mut self, event: &EventLine<'_>) {
        self.events.tell(event);
        self.tell_dropped();
    }

    /// Lines of the log that found no room are an event too.
    fn tell_dropped(&mut self) {
        let dropped = log::dropped();
        if dropped > self.dropped_told {
            let mut event = EventLine::new(EventName::Dropped);
            event.count = Some(dropped);
            self.events.tell(&event);
        }
        self.dropped_told = dropped;
    }

    /// Puts into words what the supervisor has to tell.
    pub(super) fn tell(&mut self, report: Report) {
        match report {
            Report::Started(generation, pid) => {
                log(
                    Level::Info,
                    format_args!("generation {generation}: started, monitor pid {pid}"),
                );
                self.reached(EventName::Started, generation, "is started");
            }
            Report::Ready(generation, took) => {
                log(Level::Info, format_args!("generation {generation}: ready in {took}"));
                self.reached(EventName::Ready, generation, "is ready");
                self.tell_above(b"READY=1");
            }
            Report::Probation(generation, span) => {
                log(Level::Info, format_args!("generation {generation}: on probation for {span}"));
                self.reached(EventName::Probation, generation, "is on probation");
            }
            Report::Draining(generation) => {
                log(Level::Info, format_args!("generation {generation}: draining"));
                self.event(&EventLine::about(EventName::Draining, generation));
            }
            Report::Crashed(it)
            | Report::Stops(it)
            | Report::Crowded(it)
            | Report::Interrupted(it)
            | Report::Killed(it)
            | Report::Abandoned(it) => log_trouble(report, it),
            Report::GaveUp(starts) => {
                let starts = Plural(starts.into(), "start");
                log(
                    Level::Error,
                    format_args!("giving up: {starts} failed, no generation was ever ready"),
                );
            }
            Report::Waiting(due) => {
                log(Level::Warn, format_args!("restarting in {}", due.since(self.now)));
            }
            Report::Lingering(span) => {
                log(
                    Level::Info,
                    format_args!("shutdown requested, serving for another {span} (--drain-delay)"),
                );
                self.fail_waiting_clients();
            }
        }
    }

    /// A generation has come so far.
    fn reached(&mut self, kind: EventName, generation: Generation, how: &str) {
        let pid = self.generation_mut(generation).map(|run| run.leader);
        self.event(&EventLine { pid, ..EventLine::about(kind, generation) });
        let is_over = kind == EventName::Current;
        let outcome = if is_over { ReloadOutcome::Current } else { ReloadOutcome::Running };
        self.control.settle(&GenerationProgress { generation, outcome, how, why: "" }, self.now);
    }

    /// A generation is the one that serves.
    pub(super) fn tell_current(&mut self, generation: Generation) {
        log(Level::Info, format_args!("generation {generation}: current"));
        if let Some(fd) = self.readiness.take() {
            output::end(fd);
        }
        self.reached(EventName::Current, generation, "is current");
        self.control.tell_count(&self.generations, &self.supervisor);
    }

    /// A generation came to nothing.
    pub(super) fn tell_failed(
        &mut self,
        generation: Generation,
        was_ready: bool,
        failure: Failure,
    ) {
        let why = self.reason_of(generation, was_ready, failure);
        let (kind, what, outcome) = if was_ready {
            (EventName::RolledBack, "was rolled back: ", ReloadOutcome::RolledBack)
        } else {
            (EventName::Failed, "failed: ", ReloadOutcome::Failed)
        };
        if was_ready {
            log(Level::Error, format_args!("generation {generation}: rolled back: {why}"));
        } else {
            log(Level::Error, format_args!("generation {generation}: failed: {why}"));
        }
        self.event(&EventLine { why: Some(&why), ..EventLine::about(kind, generation) });
        self.control
            .settle(&GenerationProgress { generation, outcome, how: what, why: &why }, self.now);
        let failure = text::compose(format_args!("generation {generation} {what}{why}"));
        self.control.note_failure(failure);
    }

    /// Every death is one line, with the reason as far as it is known.
    pub(super) fn tell_death(
        &mut self,
        generation: Generation,
        pid: Pid,
        exit: Exit,
        lived: Millis,
        known: Option<&str>,
        cause: ExitReason,
    ) {
        let is_asked = known.is_none() && cause == ExitReason::Requested;
        let level = if is_asked { Level::Info } else { Level::Warn };
        let ended = Ended { exit, lived, reason: known.or(cause.known()) };
        log(level, format_args!("monitor (pid {pid}) of generation {generation}: {ended}"));
        let why = text::compose(format_args!("{}", Cause(exit, cause)));
        if !is_asked {
            let what = known.unwrap_or(&why);
            let failure = format_args!("monitor (pid {pid}) of generation {generation}: {what}");
            self.control.note_failure(text::compose(failure));
        }
        let (pid, why) = (Some(pid), Some(why.as_str()));
        self.event(&EventLine { pid, why, ..EventLine::about(EventName::Died, generation) });
    }

    /// The last line.
    pub(super) fn finish(&mut self, status: u8) {
        self.finished = Some(status);
        log(Level::Info, format_args!("shutdown complete, exit status {}", u32::from(status)));
        self.events.tell(&EventLine::new(EventName::Stopped));
        self.generations.iter_mut().for_each(|run| run.home.remove());
        self.control.answer_at_exit(status);
    }
}

/// Logs what an operator has to know of a generation, beside its progress.
fn log_trouble(report: Report, it: Generation) {
    match report {
        Report::Crashed(_) => {
            log(Level::Error, format_args!("generation {it}: monitor exited unexpectedly"));
        }
        Report::Stops(_) => log(
            Level::Warn,
            format_args!("generation {it}: shutting down, not requested by main; replacing it"),
        ),
        Report::Crowded(_) => log(
            Level::Warn,
            format_args!("generation {it}: cutting drain short, 3 generations alive"),
        ),
        Report::Interrupted(_) => log(Level::Warn, format_args!("generation {it}: sent SIGINT")),
        Report::Killed(_) => log(Level::Warn, format_args!("generation {it}: sent SIGKILL")),
        Report::Abandoned(_) => log(
            Level::Error,
            format_args!("generation {it}: still alive after SIGKILL, not waiting any longer"),
        ),
        Report::Started(..)
        | Report::Ready(..)
        | Report::Probation(..)
        | Report::Draining(_)
        | Report::Waiting(_)
        | Report::GaveUp(_)
        | Report::Lingering(_) => {}
    }
}
