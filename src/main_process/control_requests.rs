//! What operators ask over the control socket, and what main does about it.

use super::MainProcess;
use crate::config::option_table::Count;
use crate::cpus;
use crate::log::log;
use crate::main_process::control::LastReload;
use crate::main_process::control_socket::{ClientIndex, Waits};
use crate::main_process::supervisor::Event;
use crate::protocol::control_protocol::{AnswerWord, Request, Scale};
use crate::protocol::status_records::ReloadOutcome;
use crate::sys::poll::Source;
use crate::sys::signal;
use crate::text::Plural;
use crate::types::{Generation, Level, Signal, Stage};
use alloc::vec::Vec;
use core::fmt;

/// The most requests that are granted in one turn: there is other work.
const MOST: u32 = 32;

impl MainProcess {
    /// Adds what operators may do to what main waits for.
    pub(super) fn add_control<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        if let Some(control) = &self.control.control {
            control.add_sources(sources);
        }
    }

    /// Takes in what operators have asked, and begins to do it.
    pub(super) fn serve_clients(&mut self) {
        for _ in 0..MOST {
            let Some(control) = &mut self.control.control else { return };
            let Some((client, request)) = control.serve_clients(self.now, &mut self.closing) else {
                break;
            };
            control.note(client, request);
            self.answer_request(client, request);
        }
        if let Some(control) = &mut self.control.control {
            control.sweep(&mut self.closing);
        }
    }

    /// Tells one operator something.
    pub(super) fn say(&mut self, client: ClientIndex, word: AnswerWord, text: fmt::Arguments<'_>) {
        if let Some(control) = &mut self.control.control {
            control.say(client, word, text);
        }
    }

    fn answer_request(&mut self, client: ClientIndex, request: Request) {
        let stopping = self.supervisor.is_stopping();
        let (word, text) = match request {
            Request::Status => return self.show_status(client),
            Request::Shutdown => return self.answer_stop(client, Event::Stop),
            Request::Exit => return self.answer_stop(client, Event::StopNow),
            Request::Ready | Request::Reload | Request::Scale(_) if stopping => {
                (AnswerWord::Failed, format_args!("main is stopping"))
            }
            Request::Ready if !self.supervisor.is_ready() => {
                (AnswerWord::Failed, format_args!("no generation is ready"))
            }
            Request::Ready if self.has_ready_worker() => (AnswerWord::Done, format_args!("ready")),
            Request::Ready => (AnswerWord::Failed, format_args!("no worker is ready")),
            Request::Restart => return self.restart(Some(client)),
            Request::Reload => return self.reload(Some(client)),
            Request::Scale(scale) => return self.scale(client, scale),
        };
        self.say(client, word, text);
    }

    /// Notes what an operator waits for.
    pub(super) fn wait_for(&mut self, client: ClientIndex, waits: Waits) {
        if let Some(control) = &mut self.control.control {
            control.wait(client, waits);
        }
    }

    fn answer_stop(&mut self, client: ClientIndex, event: Event) {
        self.wait_for(client, Waits::End);
        self.say(client, AnswerWord::Progress, format_args!("main is stopping"));
        self.step(event);
    }

    /// The configuration that was read anew is to count.
    pub(super) fn begin_reload(&mut self) {
        self.control.renew_files(&mut self.closing);
        let (generation, outcome) = (Some(self.supervisor.next()), ReloadOutcome::Running);
        self.control.reload = Some(LastReload { generation, outcome, at: self.now, why: None });
        self.step(Event::Reload);
    }

    /// How many workers the operator wants, if it is not the application's to say.
    pub(super) fn wanted_count(&self) -> Option<u16> {
        self.control.scaled.or(self.options.count().map(|count| match count {
            Count::Fixed(count) => count,
            Count::Auto => cpus::usable(),
        }))
    }

    /// Has the generations of now, and those to come, have another number of
    /// workers.
    fn scale(&mut self, client: ClientIndex, scale: Scale) {
        let has = self.current_count();
        let count = has.and_then(|has| scale.of(self.control.scaled.unwrap_or(has)));
        let Some(count) = count else {
            let why = match has {
                Some(_) => "the number of workers must be from 1 to 16383",
                None => "the current generation has no pool of workers",
            };
            return self.say(client, AnswerWord::Refused, format_args!("{why}"));
        };
        self.control.scaled = Some(count);
        let shown = Plural(count.into(), "worker");
        log(Level::Info, format_args!("scaling to {shown}"));
        self.fail_scale(format_args!("superseded by scale {}", u32::from(count)));
        self.wait_for(client, Waits::Workers(count));
        self.tell_count();
    }

    /// Tells the clients that wait for a number of workers that it will not be reached.
    fn fail_scale(&mut self, why: fmt::Arguments<'_>) {
        self.answer(AnswerWord::Failed, why, &|waits| matches!(waits, Waits::Workers(_)));
    }

    /// The configured number is another one, which counts from now on.
    pub(super) fn forget_scale(&mut self) {
        self.control.scaled = None;
        self.fail_scale(format_args!("superseded, the configured count has changed"));
    }

    /// The workers of the current generation, if a library monitor that takes
    /// signals keeps them.
    fn current_count(&mut self) -> Option<u16> {
        let current = self.current;
        if self.supervisor.stage_of(current) != Some(Stage::Current) {
            return None;
        }
        let run = self.generation_mut(current).filter(|run| run.monitor.is_some())?;
        run.board.header().filter(|header| header.handlers).map(|header| header.count)
    }

    /// Writes the number that was asked for onto the boards, and has those monitors
    /// look that can. One that is current only now has perhaps said before that it has
    /// so many workers, and says it again.
    pub(super) fn tell_count(&self) {
        let Some(count) = self.control.scaled else { return };
        for run in &self.generations {
            if self.supervisor.stage_of(run.generation) == Some(Stage::Draining) {
                continue;
            }
            if let Err(errno) = run.board.scale(count) {
                let generation = run.generation;
                log(
                    Level::Warn,
                    format_args!("generation {generation}: cannot write its scoreboard: {errno}"),
                );
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
            let shown = Plural(count.into(), "worker");
            self.answer(AnswerWord::Done, format_args!("{shown}"), &|waits| {
                waits == Waits::Workers(count)
            });
        }
    }
}
