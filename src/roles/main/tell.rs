//! What main tells: the log for people, the events for tools, and a service
//! manager above if there is one.

use super::Main;
use crate::keep::log::{self, log};
use crate::plan::service::{Failure, Report};
use crate::sys::message::{self, Patience};
use crate::text;
use crate::types::{Exit, Generation, Level, Millis, Pid, Why};
use crate::words::death::{Cause, Death};
use crate::words::event::{Event, Kind};
use crate::words::printable::Quoted;
use crate::words::status::Outcome;
use alloc::string::String;

impl Main {
    /// One event, and what was dropped before it.
    pub(super) fn event(&mut self, event: &Event<'_>) {
        self.events.tell(event);
        self.tell_dropped();
    }

    /// Lines of the log that found no room are an event too.
    fn tell_dropped(&mut self) {
        let dropped = log::dropped();
        if dropped > self.dropped_told {
            let mut event = Event::new(Kind::Dropped);
            event.count = Some(dropped);
            self.events.tell(&event);
        }
        self.dropped_told = dropped;
    }

    /// Puts into words what the plan has to tell.
    // Inlined into its one caller it would make that frame larger, and with it
    // every access to the frame.
    #[inline(never)]
    pub(super) fn tell(&mut self, report: Report) {
        match report {
            Report::Started(generation, pid) => {
                log(Level::Info, format_args!("generation {generation} started as {pid}"));
                self.reached(Kind::Started, generation, "is started");
            }
            Report::Ready(generation, took) => {
                log(Level::Info, format_args!("generation {generation} ready in {took}"));
                self.reached(Kind::Ready, generation, "is ready");
                self.tell_above(b"READY=1");
            }
            Report::Probation(generation, span) => {
                log(Level::Info, format_args!("generation {generation} on probation for {span}"));
                self.reached(Kind::Probation, generation, "is on probation");
            }
            Report::Draining(generation) => {
                line(Level::Info, generation, "is draining");
                self.event(&Event::about(Kind::Draining, generation));
            }
            Report::Crashed(it) => line(Level::Error, it, "has lost its monitor unasked"),
            Report::Crowded(it) => {
                line(Level::Warn, it, "has to hurry: three generations are alive");
            }
            Report::Interrupted(it) => line(Level::Warn, it, "is sent SIGINT"),
            Report::Killed(it) => line(Level::Warn, it, "is sent SIGKILL"),
            Report::Abandoned(it) => {
                line(Level::Error, it, "does not end, not even by SIGKILL: left behind");
            }
            Report::GaveUp(starts) => {
                log(
                    Level::Error,
                    format_args!("giving up: {starts} starts failed and nothing was ever ready"),
                );
            }
            Report::Waiting(due) => {
                log(Level::Warn, format_args!("the next start waits {}", due.since(self.now)));
            }
            Report::Lingering(span) => {
                log(Level::Info, format_args!("stopping: serving for {span} more"));
                self.give_up_waiting();
            }
        }
    }

    /// A generation has come so far.
    fn reached(&mut self, kind: Kind, generation: Generation, how: &str) {
        let pid = self.run_of(generation).map(|run| run.leader);
        self.event(&Event { pid, ..Event::about(kind, generation) });
        let is_over = kind == Kind::Current;
        let outcome = if is_over { Outcome::Current } else { Outcome::Running };
        self.settle(generation, outcome, how, "");
    }

    /// A generation is the one that serves.
    pub(super) fn tell_current(&mut self, generation: Generation) {
        line(Level::Info, generation, "is current");
        self.reached(Kind::Current, generation, "is current");
        self.tell_count();
    }

    /// A generation came to nothing.
    pub(super) fn tell_failed(
        &mut self,
        generation: Generation,
        was_ready: bool,
        failure: Failure,
    ) {
        let why = match failure {
            Failure::NotSpawned | Failure::Left => self.reason.take(),
            Failure::Late(limit) => {
                Some(text::compose(format_args!("it was not ready within {limit}")))
            }
            Failure::Losing => Some(String::from("every slot has lost a worker")),
        };
        let why = why.unwrap_or_else(|| String::from("for no known reason"));
        let (kind, what, outcome) = if was_ready {
            (Kind::RolledBack, "is rolled back: ", Outcome::RolledBack)
        } else {
            (Kind::Failed, "failed: ", Outcome::Failed)
        };
        log(Level::Error, format_args!("generation {generation} {what}{why}"));
        self.event(&Event { why: Some(&why), ..Event::about(kind, generation) });
        self.settle(generation, outcome, what, &why);
    }

    /// Every death is one line, with the reason as far as it is known.
    pub(super) fn tell_death(
        &mut self,
        generation: Generation,
        pid: Pid,
        exit: Exit,
        lived: Millis,
        known: Option<&str>,
        cause: Why,
    ) {
        let is_asked = known.is_none() && cause == Why::Asked;
        let level = if is_asked { Level::Info } else { Level::Warn };
        let (reason, death) = (known.unwrap_or(cause.name()), Death(exit));
        log(
            level,
            format_args!(
                "monitor {pid} of generation {generation} {death} after {lived}: {reason}"
            ),
        );
        let why = text::compose(format_args!("{}", Cause(exit, cause)));
        let (pid, why) = (Some(pid), Some(why.as_str()));
        self.event(&Event { pid, why, ..Event::about(Kind::Died, generation) });
    }

    /// Says something to the service manager above, if there is one.
    pub(super) fn tell_above(&self, words: &[u8]) {
        if let Some(above) = &self.above
            && let Err(errno) = message::send(above.borrow(), words, None, Patience::Never)
        {
            let words = Quoted(words);
            log(Level::Warn, format_args!("cannot tell the service manager {words}: {errno}"));
        }
    }

    /// The last line.
    pub(super) fn finish(&mut self, status: u8) {
        self.finished = Some(status);
        log(Level::Info, format_args!("stopped with status {}", u32::from(status)));
        self.events.tell(&Event::new(Kind::Stopped));
        self.say_goodbye(status);
    }
}

/// One line about a generation.
fn line(level: Level, generation: Generation, what: &str) {
    log(level, format_args!("generation {generation} {what}"));
}
