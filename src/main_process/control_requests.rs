//! What operators ask over the control socket, and what main does about it.

use super::MainProcess;
use crate::main_process::control_socket::{ClientIndex, Waits};
use crate::main_process::supervisor::Event;
use crate::protocol::control_protocol::{AnswerWord, Request, Scale};

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

    /// Has the generations of now, and those to come, have another number of
    /// workers.
    fn scale(&mut self, client: ClientIndex, scale: Scale) {
        let has = self.generations.current_count(&self.supervisor);
        if self.control.scale(client, scale, has) {
            self.control.tell_count(&self.generations, &self.supervisor);
        }
    }
}
