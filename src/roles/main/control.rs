//! What operators ask over the control socket, and what main does about it.

use super::Main;
use super::operator::LastReload;
use super::waiters::Waits;
use crate::keep::control::{Control, Id};
use crate::keep::log::log;
use crate::plan::service::{Event, Stage};
use crate::sys::poll::Source;
use crate::sys::signal;
use crate::types::{Generation, Level, Signal, Tick};
use crate::words::control::{Request, Scale, Word};
use crate::words::status::Outcome;
use alloc::vec::Vec;
use core::fmt;

/// The reason that nothing is begun any more.
pub(super) const STOPPING: &str = "main is stopping";

impl Main {
    /// Adds what operators may do to what main waits for.
    pub(super) fn add_control<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        if let Some(control) = &self.operator.control {
            control.add_sources(sources);
        }
    }

    /// Takes in what operators have asked, and begins to do it.
    pub(super) fn attend(&mut self, now: Tick) {
        let requests = self.operator.control.as_mut().map(|control| control.attend(now));
        for (client, request) in requests.unwrap_or_default() {
            self.grant(now, client, request);
        }
        let control = self.operator.control.as_ref();
        let is_there = |client| control.is_some_and(|control: &Control| control.has(client));
        self.operator.waiters.retain(|waiter| is_there(waiter.client));
    }

    /// Tells one operator something.
    pub(super) fn say(&mut self, now: Tick, client: Id, word: Word, text: fmt::Arguments<'_>) {
        if let Some(control) = &mut self.operator.control {
            control.say(now, client, word, text);
        }
    }

    fn grant(&mut self, now: Tick, client: Id, request: Request) {
        let stopping = self.plan.is_stopping();
        match request {
            Request::Status => self.show_status(now, client),
            Request::Ready if self.plan.is_ready() => {
                self.say(now, client, Word::Done, format_args!("ready"));
            }
            Request::Ready if !stopping => {
                self.say(now, client, Word::Failed, format_args!("no generation is ready"));
            }
            Request::Shutdown => self.grant_stop(now, client, Event::Stop),
            Request::Exit => self.grant_stop(now, client, Event::StopNow),
            Request::Ready | Request::Reload | Request::Scale(_) if stopping => {
                self.say(now, client, Word::Failed, format_args!("{STOPPING}"));
            }
            Request::Ready => unreachable!("it is ready, or not, or stopping"),
            Request::Reload => {
                self.wait_for(client, Waits::Generation(self.plan.next()));
                self.reload(now);
            }
            Request::Restart => {
                self.say(now, client, Word::Failed, format_args!("not yet in this version"));
            }
            Request::Scale(scale) => self.scale(now, client, scale),
        }
    }

    fn grant_stop(&mut self, now: Tick, client: Id, event: Event) {
        self.wait_for(client, Waits::End);
        self.say(now, client, Word::Progress, format_args!("{STOPPING}"));
        self.step(now, event);
    }

    /// A reload that an operator asks for, over the socket or by a signal.
    pub(super) fn reload(&mut self, now: Tick) {
        if !self.plan.is_stopping() {
            let (generation, outcome) = (Some(self.plan.next()), Outcome::Running);
            self.operator.reload = Some(LastReload { generation, outcome, at: now, why: None });
        }
        self.step(now, Event::Reload);
    }

    /// How many workers the operator wants, if it is not the application's to say.
    pub(super) fn wanted_count(&self) -> Option<u16> {
        self.operator.scaled.or(self.options.count)
    }

    /// Has the generations of now, and those to come, have another number of
    /// workers.
    fn scale(&mut self, now: Tick, client: Id, scale: Scale) {
        let Some(has) = self.current_count() else {
            let why = format_args!("the workers of this generation are not panzer's");
            return self.say(now, client, Word::Refused, why);
        };
        let old = self.operator.scaled.unwrap_or(has);
        let Some(count) = scale.of(old) else {
            let why = format_args!("there are to be {old}, and may be 1 to 16383");
            return self.say(now, client, Word::Refused, why);
        };
        self.operator.scaled = Some(count);
        log(Level::Info, format_args!("scaled from {old} to {count} workers"));
        self.stop_waiting(now, "another number was asked for", |waits| {
            matches!(waits, Waits::Workers(_))
        });
        self.wait_for(client, Waits::Workers(count));
        self.say(now, client, Word::Progress, format_args!("{old} workers are to be {count}"));
        self.tell_count(count);
    }

    /// The workers of the current generation, if a library monitor that takes
    /// signals keeps them.
    fn current_count(&mut self) -> Option<u16> {
        let current = self.current;
        if self.plan.stage_of(current) != Some(Stage::Current) {
            return None;
        }
        let run = self.run_of(current).filter(|run| run.monitor.is_some())?;
        run.board.header().filter(|header| header.handlers).map(|header| header.count)
    }

    /// Writes the number onto the boards, and has those look who can.
    fn tell_count(&self, count: u16) {
        for run in &self.runs {
            if self.plan.stage_of(run.generation) == Some(Stage::Draining) {
                continue;
            }
            if let Err(errno) = run.board.scale(count) {
                log(Level::Warn, format_args!("cannot write a board: {errno}"));
            }
            let has_handlers = run.board.header().is_some_and(|header| header.handlers);
            if let (true, Some(monitor)) = (has_handlers, run.monitor) {
                let _ = signal::send(monitor, Signal::Winch);
            }
        }
    }

    /// A generation has so many workers now, all of them ready.
    pub(super) fn scaled(&mut self, now: Tick, generation: Generation, count: u16) {
        if generation == self.current {
            self.answer(now, Word::Done, format_args!("{count} workers"), |waits| {
                waits == Waits::Workers(count)
            });
        }
    }
}
