//! Who waits for what, and how he is told.
//!
//! Whoever asks for a reload waits for the generation that will be started
//! next, whatever it is started for: it is of what is installed now. So two who
//! ask at the same time wait for the same one, and one who asks while another
//! one's generation is starting waits for the one after.

use super::Main;
use crate::keep::control::Waits;
use crate::types::Generation;
use crate::words::control::Word;
use crate::words::status::Outcome;
use alloc::string::String;
use core::fmt;

impl Main {
    /// Tells all who wait for this; with a last line they wait no longer.
    pub(super) fn answer(
        &mut self,
        word: Word,
        text: fmt::Arguments<'_>,
        is_it: &dyn Fn(Waits) -> bool,
    ) {
        if let Some(control) = &mut self.operator.control {
            control.announce(word, text, is_it);
        }
    }

    /// What has become of a generation, and why if it came to nothing.
    #[inline(never)]
    pub(super) fn settle(
        &mut self,
        generation: Generation,
        outcome: Outcome,
        how: &str,
        why: &str,
    ) {
        if self.operator.reload.as_ref().is_some_and(|last| last.generation == Some(generation)) {
            self.note_outcome(outcome, why);
        }
        let word = match outcome {
            Outcome::Running => Word::Progress,
            Outcome::Current => Word::Done,
            Outcome::Failed | Outcome::RolledBack => Word::Failed,
        };
        self.answer(word, format_args!("generation {generation} {how}{why}"), &|waits| {
            waits == Waits::Generation(generation)
        });
    }

    /// Keeps what came of the last reload, unless that is known already.
    #[inline(never)]
    fn note_outcome(&mut self, outcome: Outcome, why: &str) {
        if let Some(last) = &mut self.operator.reload
            && last.outcome == Outcome::Running
            && outcome != Outcome::Running
        {
            (last.outcome, last.at) = (outcome, self.now);
            last.why = (!why.is_empty()).then(|| String::from(why));
        }
    }

    /// Whoever waits for anything but the end waits in vain.
    pub(super) fn give_up_waiting(&mut self) {
        self.note_outcome(Outcome::Failed, "main is stopping");
        self.answer(Word::Failed, format_args!("main is stopping"), &|waits| waits != Waits::End);
        // What is on trial is given up now: it would take the place of a main that
        // has ended, and at the end nothing more is told.
        self.look_at_trial();
    }

    /// The last words before main leaves; then there is nobody to ask.
    pub(super) fn say_goodbye(&mut self, status: u8) {
        let word = if status == 0 { Word::Done } else { Word::Failed };
        let status = u32::from(status);
        self.answer(word, format_args!("main leaves with status {status}"), &|_| true);
        self.operator.leave();
    }
}
