//! What operators ask over the control socket, and what main does about it.

use super::Main;
use super::operator::LastReload;
use crate::keep::control::{Place, Waits};
use crate::keep::log::log;
use crate::keep::processors;
use crate::plan::service::Event;
use crate::sys::poll::Source;
use crate::sys::signal;
use crate::types::{Generation, Level, Signal, Stage};
use crate::words::control::{Request, Scale, Word};
use crate::words::options::Count;
use crate::words::status::Outcome;
use alloc::vec::Vec;
use core::fmt;

/// The most requests that are granted in one turn: there is other work.
const MOST: u32 = 32;

impl Main {
    /// Adds what operators may do to what main waits for.
    pub(super) fn add_control<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        if let Some(control) = &self.operator.control {
            control.add_sources(sources);
        }
    }

    /// Takes in what operators have asked, and begins to do it.
    #[inline(never)]
    pub(super) fn attend(&mut self) {
        for _ in 0..MOST {
            let Some(control) = &mut self.operator.control else { return };
            let Some((client, request)) = control.attend(self.now) else { break };
            control.note(client, request);
            self.grant(client, request);
        }
        if let Some(control) = &mut self.operator.control {
            control.sweep();
        }
    }

    /// Tells one operator something.
    pub(super) fn say(&mut self, client: Place, word: Word, text: fmt::Arguments<'_>) {
        if let Some(control) = &mut self.operator.control {
            control.say(client, word, text);
        }
    }

    #[inline(never)]
    fn grant(&mut self, client: Place, request: Request) {
        let stopping = self.plan.is_stopping();
        let (word, text) = match request {
            Request::Status => return self.show_status(client),
            Request::Shutdown => return self.grant_stop(client, Event::Stop),
            Request::Exit => return self.grant_stop(client, Event::StopNow),
            Request::Ready | Request::Reload | Request::Scale(_) if stopping => {
                (Word::Failed, format_args!("main is stopping"))
            }
            Request::Ready if self.plan.is_ready() => (Word::Done, format_args!("ready")),
            Request::Ready => (Word::Failed, format_args!("no generation is ready")),
            Request::Restart => return self.restart(Some(client)),
            Request::Reload => return self.grant_reload(client),
            Request::Scale(scale) => return self.scale(client, scale),
        };
        self.say(client, word, text);
    }

    /// Notes what an operator waits for.
    pub(super) fn wait_for(&mut self, client: Place, waits: Waits) {
        if let Some(control) = &mut self.operator.control {
            control.wait(client, waits);
        }
    }

    fn grant_stop(&mut self, client: Place, event: Event) {
        self.wait_for(client, Waits::End);
        self.say(client, Word::Progress, format_args!("main is stopping"));
        self.step(event);
    }

    fn grant_reload(&mut self, client: Place) {
        match self.renew() {
            Ok(()) => {
                self.wait_for(client, Waits::Generation(self.plan.next()));
                self.begin_reload();
            }
            Err(why) => self.say(client, Word::Failed, format_args!("{why}")),
        }
    }

    /// A reload that an operator asks for by a signal.
    pub(super) fn reload(&mut self) {
        if !self.plan.is_stopping() && self.renew().is_ok() {
            self.begin_reload();
        }
    }

    fn begin_reload(&mut self) {
        let (generation, outcome) = (Some(self.plan.next()), Outcome::Running);
        self.operator.reload = Some(LastReload { generation, outcome, at: self.now, why: None });
        self.step(Event::Reload);
    }

    /// How many workers the operator wants, if it is not the application's to say.
    pub(super) fn wanted_count(&self) -> Option<u16> {
        self.operator.scaled.or(self.options.count().map(|count| match count {
            Count::Fixed(count) => count,
            Count::Auto => processors::usable(),
        }))
    }

    /// Has the generations of now, and those to come, have another number of
    /// workers.
    fn scale(&mut self, client: Place, scale: Scale) {
        let has = self.current_count();
        let count = has.and_then(|has| scale.of(self.operator.scaled.unwrap_or(has)));
        let Some(count) = count else {
            let why = match has {
                Some(_) => "there may be 1 to 16383 workers",
                None => "no workers of panzer's are running",
            };
            return self.say(client, Word::Refused, format_args!("{why}"));
        };
        self.operator.scaled = Some(count);
        let shown = u32::from(count);
        log(Level::Info, format_args!("scaled to {shown} workers"));
        self.fail_scale(format_args!("now there are to be {shown}"));
        self.wait_for(client, Waits::Workers(count));
        self.tell_count();
    }

    /// Whoever waits for a number of workers waits in vain.
    fn fail_scale(&mut self, why: fmt::Arguments<'_>) {
        self.answer(Word::Failed, why, &|waits| matches!(waits, Waits::Workers(_)));
    }

    /// The configured number is another one, which counts from now on.
    pub(super) fn forget_scale(&mut self) {
        self.operator.scaled = None;
        self.fail_scale(format_args!("the configured number has changed"));
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

    /// Writes the number that was asked for onto the boards, and has those look
    /// who can. Whoever is current only now has perhaps said before that he has
    /// so many workers, and says it again.
    #[inline(never)]
    pub(super) fn tell_count(&self) {
        let Some(count) = self.operator.scaled else { return };
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
    pub(super) fn scaled(&mut self, generation: Generation, count: u16) {
        if generation == self.current {
            let shown = u32::from(count);
            self.answer(Word::Done, format_args!("{shown} workers"), &|waits| {
                waits == Waits::Workers(count)
            });
        }
    }
}
