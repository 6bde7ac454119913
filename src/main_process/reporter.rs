//! What main tells: the log for people, the events for tools, and a service
//! manager above if there is one. The clients that wait are told from here too.

use crate::error::Error;
use crate::exit_status::{Cause, Ended};
use crate::log::{self, log};
use crate::main_process::complaints::Complaints;
use crate::main_process::control::{Control, GenerationProgress};
use crate::main_process::event_writer::Events;
use crate::main_process::generation::{MonitorDeath, WorkerDeath};
use crate::main_process::generations::Generations;
use crate::main_process::service_manager::ServiceManager;
use crate::main_process::supervisor::Report;
use crate::persist::{Codec, Persist as _, persisted};
use crate::protocol::control_protocol::AnswerWord;
use crate::protocol::event_lines::{EventLine, EventName};
use crate::protocol::status_records::ReloadOutcome;
use crate::sys::fd::Fd;
use crate::sys::{Errno, output};
use crate::text::{self, Plural};
use crate::types::{ExitReason, Generation, Level, Millis, Pid, Slot, Tick};
use alloc::string::String;
use core::fmt;

/// Where main tells what happens.
pub(super) struct Reporter {
    /// Where a service manager wants to hear of us.
    pub above: ServiceManager,
    /// What was said of strangers and generations in this second.
    pub complaints: Complaints,
    /// Why the last process could not be made, or has left, until it is told.
    reason: Option<String>,
    events: Events,
    /// When this turn of main began. Its events say that time: what is due later counts
    /// from it.
    now: Tick,
    /// The descriptor of `--notify-fd`, until the first generation is current.
    readiness: Option<Fd>,
    dropped_told: u32,
    /// Whether it was said that notify sockets are abstract ones.
    is_abstract_told: bool,
}

/// A generation came to nothing.
pub(super) struct FailedGeneration {
    pub generation: Generation,
    pub setback: Setback,
    pub reason: String,
}

/// How a generation comes to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// It was never ready.
    FailedStart,
    /// It was on probation, and the one before it serves on.
    Rollback,
}

impl Reporter {
    /// One that has told nothing.
    pub fn new(events: Events, readiness: Option<Fd>, now: Tick) -> Self {
        Self {
            above: ServiceManager::none(),
            complaints: Complaints::new(),
            reason: None,
            events,
            now,
            readiness,
            dropped_told: 0,
            is_abstract_told: false,
        }
    }

    /// Writes or reads what the saved state has of it in one place; what is above, and
    /// the complaints, have others.
    pub fn persist(&mut self, codec: &mut Codec) {
        persisted! {
            in self, codec;
            { reason, events, readiness, dropped_told, is_abstract_told } without { above, complaints, now }
        }
    }

    /// A turn of main begins.
    pub const fn begin_turn(&mut self, now: Tick) {
        self.now = now;
    }

    /// One event, and what was dropped before it.
    pub fn event(&mut self, event: &EventLine<'_>) {
        self.events.tell(event, self.now);
        self.tell_dropped();
    }

    /// An event of the worker with this slot and pid.
    pub fn worker_event(
        &mut self,
        kind: EventName,
        generation: Generation,
        (slot, pid): (Slot, Pid),
        reason: Option<&str>,
    ) {
        let (slot, pid) = (Some(slot), Some(pid));
        self.event(&EventLine { slot, pid, reason, ..EventLine::about(kind, generation) });
    }

    /// Lines of the log that found no room are an event too.
    fn tell_dropped(&mut self) {
        let dropped = log::dropped();
        if dropped > self.dropped_told {
            let mut event = EventLine::new(EventName::Dropped);
            event.count = Some(dropped);
            self.events.tell(&event, self.now);
        }
        self.dropped_told = dropped;
    }

    /// Keeps why a process could not be made, or has left.
    pub fn note_reason(&mut self, reason: String) {
        self.reason = Some(reason);
    }

    /// The reason that is kept, and forgets it.
    pub fn take_reason(&mut self) -> String {
        self.reason.take().unwrap_or_else(|| String::from("reason unknown"))
    }

    /// Puts into words what the supervisor has to tell.
    pub fn tell(
        &mut self,
        report: Report,
        generations: &Generations,
        control: &mut Control,
        now: Tick,
    ) {
        log_report(report, now);
        let (kind, generation, how) = match report {
            Report::Started(generation, _) => (EventName::Started, generation, "is started"),
            Report::Ready(generation, _) => (EventName::Ready, generation, "is ready"),
            Report::Probation(generation, _) => {
                (EventName::Probation, generation, "is on probation")
            }
            Report::Draining(generation) => {
                return self.event(&EventLine::about(EventName::Draining, generation));
            }
            // Before the drain delay, and not at its end.
            Report::Lingering(_) => return self.above.on_stop(),
            Report::Crashed(generation) => return self.set_back(generation),
            Report::MonitorStopping(generation) => {
                let what =
                    format_args!("generation {generation}: shut down, not requested by main");
                return self.above.set_back(generation.next(), text::compose(what));
            }
            Report::Slow(..)
            | Report::Crowded(_)
            | Report::Interrupted(_)
            | Report::Killed(_)
            | Report::Abandoned(_)
            | Report::GaveUp(_)
            | Report::Waiting(_) => return,
        };
        self.reached(kind, generation, generations);
        let outcome = ReloadOutcome::Running;
        control.settle(&GenerationProgress { generation, outcome, how, reason: "" }, now);
    }

    /// A generation is not ready after that long, and has this long in all.
    pub fn tell_slow(
        &mut self,
        generation: Generation,
        (took, limit): (Millis, Millis),
        waits: &str,
        control: &mut Control,
    ) {
        log(
            Level::Warn,
            format_args!(
                "generation {generation}: not ready after {took}: {waits}; fails after {limit}"
            ),
        );
        let (outcome, how) = (ReloadOutcome::Running, "is not ready yet: ");
        let progress = GenerationProgress { generation, outcome, how, reason: waits };
        control.settle(&progress, self.now);
    }

    /// The monitor of the current generation is gone: the reason was noted just now.
    fn set_back(&mut self, generation: Generation) {
        let reason = self.reason.as_deref().unwrap_or("its monitor exited");
        let failure = text::compose(format_args!("generation {generation}: {reason}"));
        self.above.set_back(generation.next(), failure);
    }

    /// The event of a generation that has come so far.
    fn reached(&mut self, kind: EventName, generation: Generation, generations: &Generations) {
        let pid = generations.get(generation).map(|running| running.leader);
        self.event(&EventLine { pid, ..EventLine::about(kind, generation) });
    }

    /// A generation is the one that serves.
    pub fn tell_current(
        &mut self,
        generation: Generation,
        generations: &Generations,
        control: &mut Control,
        now: Tick,
    ) {
        log(Level::Info, format_args!("generation {generation}: current"));
        if let Some(fd) = self.readiness.take() {
            output::end(fd);
        }
        self.reached(EventName::Current, generation, generations);
        self.above.on_current(generation);
        let (outcome, how) = (ReloadOutcome::Current, "is current");
        control.settle(&GenerationProgress { generation, outcome, how, reason: "" }, now);
    }

    /// A generation came to nothing.
    pub fn tell_failed(&mut self, failed: &FailedGeneration, control: &mut Control, now: Tick) {
        let FailedGeneration { generation, setback, reason } = failed;
        let (kind, how, outcome) = match setback {
            Setback::Rollback => {
                log(Level::Error, format_args!("generation {generation}: rolled back: {reason}"));
                (EventName::RolledBack, "was rolled back: ", ReloadOutcome::RolledBack)
            }
            Setback::FailedStart => {
                log(Level::Error, format_args!("generation {generation}: failed: {reason}"));
                (EventName::Failed, "failed: ", ReloadOutcome::Failed)
            }
        };
        self.event(&EventLine { reason: Some(reason), ..EventLine::about(kind, *generation) });
        let failure = text::compose(format_args!("generation {generation} {how}{reason}"));
        self.above.set_back(generation.next(), failure.clone());
        self.above.on_failed(*generation);
        control.settle(&GenerationProgress { generation: *generation, outcome, how, reason }, now);
        control.note_failure(failure);
    }

    /// Every death is one line, with the reason as far as it is known.
    pub fn tell_death(&mut self, death: MonitorDeath, advice: &str, control: &mut Control) {
        let MonitorDeath { generation, pid, exit, lived, known, cause } = death;
        let is_asked = known.is_none() && cause == ExitReason::Requested;
        let level = if is_asked { Level::Info } else { Level::Warn };
        let ended = Ended { exit, lived, reason: known.as_deref().or(cause.known()) };
        log(level, format_args!("monitor (pid {pid}) of generation {generation}: {ended}"));
        let reason = text::compose(format_args!("{}", Cause(exit, cause)));
        if !is_asked {
            let what = known.as_ref().unwrap_or(&reason);
            let failure = format_args!("monitor (pid {pid}) of generation {generation}: {what}");
            control.note_failure(text::compose(failure));
        }
        let (pid, shown) = (Some(pid), Some(reason.as_str()));
        self.event(&EventLine {
            pid,
            reason: shown,
            ..EventLine::about(EventName::Died, generation)
        });
        self.note_reason(
            known.unwrap_or_else(|| text::compose(format_args!("its monitor {reason}{advice}"))),
        );
    }

    /// A worker is dead whose monitor is gone.
    pub fn tell_worker_death(&mut self, worker: &WorkerDeath, cause: ExitReason) {
        let &WorkerDeath { generation, slot, pid, exit, lived } = worker;
        let ended = Ended { exit, lived, reason: cause.known() };
        let is_asked = cause == ExitReason::Requested;
        log(
            if is_asked { Level::Info } else { Level::Warn },
            format_args!("worker {slot} (pid {pid}) of generation {generation}: {ended}"),
        );
        if !is_asked {
            let reason = text::compose(format_args!("{}", Cause(exit, cause)));
            self.worker_event(EventName::Died, generation, (slot, pid), Some(&reason));
        }
    }

    /// The load with this number was refused; `next` is the generation after all that were
    /// started.
    pub fn tell_reload_failed(
        &mut self,
        number: u32,
        (reason, next): (&Error, Generation),
        control: &mut Control,
        now: Tick,
    ) {
        log(Level::Error, format_args!("reload failed: {reason}"));
        let reason = text::compose(format_args!("{reason}"));
        self.event(&EventLine { reason: Some(&reason), ..EventLine::new(EventName::Failed) });
        self.above.set_back(next, text::compose(format_args!("reload failed: {reason}")));
        self.above.on_load(number, None);
        control.fail_reload(number, reason, now);
    }

    /// The restart with this number came to nothing: main goes on as it is.
    pub fn tell_restart_failed(
        &mut self,
        number: u32,
        reason: fmt::Arguments<'_>,
        control: &mut Control,
    ) {
        log(Level::Error, format_args!("restart failed: {reason}"));
        let reason = text::compose(reason);
        self.event(&EventLine { reason: Some(&reason), ..EventLine::new(EventName::Failed) });
        control.answer_restart(number, AnswerWord::Failed, format_args!("{reason}"));
    }

    /// The restart with this number is over: another image is main.
    pub fn tell_restarted(&mut self, number: u32, control: &mut Control) {
        let version = env!("CARGO_PKG_VERSION");
        self.event(&EventLine::new(EventName::Restarted));
        let shown = format_args!("now running panzer {version}");
        control.answer_restart(number, AnswerWord::Done, shown);
    }

    /// There is no directory for notify sockets: said once.
    pub fn tell_abstract(&mut self, reason: Errno) {
        if !core::mem::replace(&mut self.is_abstract_told, true) {
            log(
                Level::Warn,
                format_args!(
                    "no directory for notify sockets ({reason}), using abstract ones; only \
                     programs that support those can report ready"
                ),
            );
        }
    }

    /// The final stop begins.
    pub fn tell_stopping(&mut self) {
        log(Level::Info, format_args!("shutting down"));
        self.events.tell(&EventLine::new(EventName::Stopping), self.now);
    }

    /// The last line.
    pub fn tell_finished(&mut self, status: u8) {
        log(Level::Info, format_args!("shutdown complete, exit status {}", u32::from(status)));
        self.events.tell(&EventLine::new(EventName::Stopped), self.now);
    }
}

/// Puts into words what the supervisor has to tell.
fn log_report(report: Report, now: Tick) {
    match report {
        Report::Started(generation, pid) => {
            log(Level::Info, format_args!("generation {generation}: started, monitor pid {pid}"));
        }
        Report::Ready(generation, took) => {
            log(Level::Info, format_args!("generation {generation}: ready in {took}"));
        }
        Report::Probation(generation, span) => {
            log(Level::Info, format_args!("generation {generation}: on probation for {span}"));
        }
        Report::Draining(generation) => {
            log(Level::Info, format_args!("generation {generation}: draining"));
        }
        Report::Crashed(generation)
        | Report::MonitorStopping(generation)
        | Report::Crowded(generation)
        | Report::Interrupted(generation)
        | Report::Killed(generation)
        | Report::Abandoned(generation) => log_trouble(report, generation),
        Report::GaveUp(starts) => {
            let starts = Plural(starts.into(), "start");
            log(
                Level::Error,
                format_args!("giving up: {starts} failed, no generation was ever ready"),
            );
        }
        Report::Waiting(due) => {
            log(Level::Warn, format_args!("restarting in {}", due.since(now)));
        }
        // With what it waits for: `tell_slow`.
        Report::Slow(..) => {}
        Report::Lingering(span) => {
            log(
                Level::Info,
                format_args!("shutdown requested, serving for another {span} (--drain-delay)"),
            );
        }
    }
}

/// Logs what an operator has to know of a generation, beside its progress.
fn log_trouble(report: Report, generation: Generation) {
    match report {
        Report::Crashed(_) => {
            log(Level::Error, format_args!("generation {generation}: monitor exited unexpectedly"));
        }
        Report::MonitorStopping(_) => log(
            Level::Warn,
            format_args!(
                "generation {generation}: shutting down, not requested by main; replacing it"
            ),
        ),
        Report::Crowded(_) => log(
            Level::Warn,
            format_args!("generation {generation}: cutting drain short, 3 generations alive"),
        ),
        Report::Interrupted(_) => {
            log(Level::Warn, format_args!("generation {generation}: sent SIGINT"))
        }
        Report::Killed(_) => {
            log(Level::Warn, format_args!("generation {generation}: sent SIGKILL"))
        }
        Report::Abandoned(_) => log(
            Level::Error,
            format_args!(
                "generation {generation}: still alive after SIGKILL, not waiting any longer"
            ),
        ),
        Report::Started(..)
        | Report::Slow(..)
        | Report::Ready(..)
        | Report::Probation(..)
        | Report::Draining(_)
        | Report::Waiting(_)
        | Report::GaveUp(_)
        | Report::Lingering(_) => {}
    }
}
