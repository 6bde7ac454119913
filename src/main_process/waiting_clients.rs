//! Which client waits for what, and how it is told.
//!
//! A client that asks for a reload waits for the generation that will be started next,
//! whatever it is started for: it is of what is installed now. So two that ask at the
//! same time wait for the same one, and one that asks while another one's generation is
//! starting waits for the one after.

use super::MainProcess;
use crate::main_process::control_socket::Waits;
use crate::protocol::control_protocol::AnswerWord;
use crate::protocol::status_records::ReloadOutcome;
use crate::types::Generation;
use alloc::string::String;
use core::fmt;

impl MainProcess {
    /// Tells all that wait for this; with a last line they wait no longer.
    pub(super) fn answer(
        &mut self,
        word: AnswerWord,
        text: fmt::Arguments<'_>,
        is_it: &dyn Fn(Waits) -> bool,
    ) {
        if let Some(control) = &mut self.control.control {
            control.announce(word, text, is_it);
        }
    }

    /// What has become of a generation, and why if it came to nothing.
    pub(super) fn settle(
        &mut self,
        generation: Generation,
        outcome: ReloadOutcome,
        how: &str,
        why: &str,
    ) {
        if self.control.reload.as_ref().is_some_and(|last| last.generation == Some(generation)) {
            self.note_outcome(outcome, why);
        }
        let word = match outcome {
            ReloadOutcome::Running => AnswerWord::Progress,
            ReloadOutcome::Current => AnswerWord::Done,
            ReloadOutcome::Failed | ReloadOutcome::RolledBack => AnswerWord::Failed,
        };
        self.answer(word, format_args!("generation {generation} {how}{why}"), &|waits| {
            waits == Waits::Generation(generation)
        });
    }

    /// Keeps what came of the last reload, unless that is known already.
    fn note_outcome(&mut self, outcome: ReloadOutcome, why: &str) {
        if let Some(last) = &mut self.control.reload
            && last.outcome == ReloadOutcome::Running
            && outcome != ReloadOutcome::Running
        {
            (last.outcome, last.at) = (outcome, self.now);
            last.why = (!why.is_empty()).then(|| String::from(why));
        }
    }

    /// Tells the clients that wait for anything but the end that it will not come.
    pub(super) fn fail_waiting_clients(&mut self) {
        self.note_outcome(ReloadOutcome::Failed, "main is stopping");
        self.answer(AnswerWord::Failed, format_args!("main is stopping"), &|waits| {
            waits != Waits::End
        });
        // A probe is given up now: its image would take the place of a main that
        // has ended, and at the end nothing more is told.
        self.check_probe();
    }

    /// The last replies before main leaves.
    pub(super) fn answer_at_exit(&mut self, status: u8) {
        let word = if status == 0 { AnswerWord::Done } else { AnswerWord::Failed };
        let status = u32::from(status);
        self.answer(word, format_args!("main exits with status {status}"), &|_| true);
        self.control.leave();
    }
}
