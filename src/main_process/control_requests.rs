//! What operators ask over the control socket, and what main does about it.

use super::MainProcess;
use crate::log;
use crate::main_process::control_socket::{ClientIndex, Waits};
use crate::main_process::status_reply::StatusReply;
use crate::main_process::supervisor::Event;
use crate::protocol::control_protocol::{AnswerWord, Request, Scale};
use crate::protocol::status_records::{self, Phase, RecordText};
use crate::sys::process;
use alloc::string::String;

/// The most requests that are granted in one turn: there is other work.
const MOST: u32 = 32;

impl MainProcess {
    /// Takes in what operators have asked, and begins to do it.
    pub(super) fn serve_clients(&mut self) {
        for _ in 0..MOST {
            let Some((client, request)) = self.control.next_request(self.now, &mut self.closing)
            else {
                break;
            };
            self.answer_request(client, request);
        }
        self.control.sweep(&mut self.closing);
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
            Request::Ready if self.generations.has_ready_worker(&self.supervisor) => {
                (AnswerWord::Done, format_args!("ready"))
            }
            Request::Ready => (AnswerWord::Failed, format_args!("no worker is ready")),
            Request::Restart => return self.restart(Some(client)),
            Request::Reload => return self.reload(Some(client)),
            Request::Scale(scale) => return self.scale(client, scale),
        };
        self.control.say(client, word, text);
    }

    fn answer_stop(&mut self, client: ClientIndex, event: Event) {
        self.control.wait_for(client, Waits::End);
        self.control.say(client, AnswerWord::Progress, format_args!("main is stopping"));
        self.step(event);
    }

    /// Answers `status`.
    fn show_status(&mut self, client: ClientIndex) {
        let main = status_records::Main {
            version: RecordText::Borrowed(env!("CARGO_PKG_VERSION").as_bytes()),
            pid: process::id(),
            now: self.now,
            up: self.now.since(self.since),
            state: match (self.supervisor.is_stopping(), self.supervisor.is_new()) {
                (true, _) => Phase::Stopping,
                (false, true) => Phase::Starting,
                (false, false) => Phase::Running,
            },
            count: self.control.wanted_count(&self.options),
            program: Some(RecordText::Borrowed(self.program.binary.to_bytes())),
            dropped: log::dropped(),
        };
        let mut reply = StatusReply { control: &mut self.control, client, text: String::new() };
        reply.add_main(&main);
        reply.add_outage(&self.generations, &self.supervisor);
        reply.add_reload();
        reply.add_listeners(&self.listeners);
        reply.add_generations(&self.generations, &self.supervisor);
        reply.end(self.generations.count());
    }

    /// Has the generations of now, and those to come, have another number of
    /// workers.
    fn scale(&mut self, client: ClientIndex, scale: Scale) {
        let has = self.generations.current_count(&self.supervisor);
        if self.control.scale(client, scale, has) {
            self.control.tell_count(&self.generations, &self.supervisor);
        }
    }
}
