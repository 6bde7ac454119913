//! Who waits for what, and how he is told.
//!
//! Whoever asks for a reload waits for the generation that will be started
//! next, whatever it is started for: it is of what is installed now. So two who
//! ask at the same time wait for the same one, and one who asks while another
//! one's generation is starting waits for the one after.

use super::Main;
use super::control::STOPPING;
use crate::keep::control::Id;
use crate::sys::clock;
use crate::types::{Generation, Tick};
use crate::words::control::Word;
use crate::words::status::Outcome;
use alloc::string::String;
use core::fmt;

/// An operator who waits for his last line.
pub(super) struct Waiter {
    pub client: Id,
    pub waits: Waits,
}

/// What he waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// What becomes of this generation.
    Generation(Generation),
    /// So many workers.
    Workers(u16),
    /// The end of main.
    End,
}

impl Main {
    pub(super) fn wait_for(&mut self, client: Id, waits: Waits) {
        self.operator.waiters.push(Waiter { client, waits });
    }

    /// Tells all who wait for this; with a last line they wait no longer.
    pub(super) fn answer(
        &mut self,
        now: Tick,
        word: Word,
        text: fmt::Arguments<'_>,
        is_it: impl Fn(Waits) -> bool,
    ) {
        let Some(control) = &mut self.operator.control else { return };
        self.operator.waiters.retain(|waiter| {
            let is_told = is_it(waiter.waits);
            if is_told {
                control.say(now, waiter.client, word, text);
            }
            !(is_told && word.is_last())
        });
    }

    /// How far a generation is.
    pub(super) fn progress(&mut self, now: Tick, generation: Generation, how: &str) {
        let text = format_args!("generation {generation} {how}");
        self.answer(now, Word::Progress, text, |waits| waits == Waits::Generation(generation));
    }

    /// What has become of a generation, and why if it came to nothing.
    pub(super) fn settle(
        &mut self,
        now: Tick,
        generation: Generation,
        outcome: Outcome,
        why: Option<&str>,
    ) {
        self.note_outcome(now, Some(generation), outcome, why);
        let (word, how) = match outcome {
            Outcome::Running => return,
            Outcome::Current => (Word::Done, "is current"),
            Outcome::Failed => (Word::Failed, "failed: "),
            Outcome::RolledBack => (Word::Failed, "is rolled back: "),
        };
        let text = format_args!("generation {generation} {how}{}", why.unwrap_or_default());
        self.answer(now, word, text, |waits| waits == Waits::Generation(generation));
    }

    /// Keeps the outcome of the last reload, if it is that of `generation`;
    /// with none, whichever it is.
    fn note_outcome(
        &mut self,
        now: Tick,
        generation: Option<Generation>,
        outcome: Outcome,
        why: Option<&str>,
    ) {
        let Some(last) = &mut self.operator.reload else { return };
        let is_it = generation.is_none() || last.generation == generation;
        if is_it && last.outcome == Outcome::Running {
            (last.outcome, last.at, last.why) = (outcome, now, why.map(String::from));
        }
    }

    /// Whoever waits for anything but the end waits in vain.
    pub(super) fn give_up_waiting(&mut self, now: Tick) {
        self.note_outcome(now, None, Outcome::Failed, Some(STOPPING));
        self.stop_waiting(now, STOPPING, |waits| waits != Waits::End);
    }

    pub(super) fn stop_waiting(&mut self, now: Tick, why: &str, is_it: impl Fn(Waits) -> bool) {
        self.answer(now, Word::Failed, format_args!("{why}"), is_it);
    }

    /// The last words before main leaves; then there is nobody to ask.
    pub(super) fn say_goodbye(&mut self, status: u8) {
        let word = if status == 0 { Word::Done } else { Word::Failed };
        self.answer(clock::now(), word, format_args!("main leaves with status {status}"), |_| true);
        self.operator.leave();
    }
}
