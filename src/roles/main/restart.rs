//! SIGUSR2: another image of main takes its place, in the same process.
//!
//! It is tried first, in a child: it reads what main knows, says so, and leaves.
//! Only then, with every signal held back, it is executed in main's place, by
//! the descriptor that was tried. Whatever fails before that leaves main as it
//! was. Monitors and workers notice nothing: their parent, their lifeline and
//! their sockets are the same.

use super::trial::{self, Trial};
use super::{Main, spawn};
use crate::keep::control::{Place, Waits};
use crate::keep::log::log;
use crate::sys::exec::Program;
use crate::sys::fd::{self, Borrowed};
use crate::sys::poll::Source;
use crate::sys::signal::Blocked;
use crate::sys::{Errno, env};
use crate::tape::{Tape, Taped as _, taped};
use crate::text;
use crate::types::{Exit, Level, Pid, Tick};
use crate::words::control::Word;
use crate::words::event::{Event as Tidings, Kind};
use crate::words::printable::Quoted;
use alloc::ffi::CString;
use core::ffi::CStr;
use core::{fmt, mem};

/// What is known of main's images.
#[derive(Default)]
pub(super) struct Restart {
    /// How many were tried, by those before us too.
    pub tried: u32,
    /// Whether somebody has asked since the last one was opened.
    pub is_wanted_again: bool,
    trial: Option<Trial>,
    /// Whether the one on trial takes our place in the next turn.
    is_due: bool,
    /// Whether we are a new one that has not looked at the world yet.
    is_new: bool,
}

impl Restart {
    /// Writes or reads what one image leaves to the next.
    pub fn tape(&mut self, tape: &mut Tape) {
        taped! { in self, tape; { tried, is_wanted_again } without { trial, is_due, is_new } }
    }

    /// When there is something to do here at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        let trial = self.trial.as_ref().map(Trial::due);
        if self.is_due || self.is_new { Some(Tick(0)) } else { trial }
    }

    /// What to wait for.
    pub fn source(&self) -> Option<Source<'_>> {
        self.trial.as_ref().and_then(Trial::source)
    }

    /// Whether our place is taken at the end of this turn, in which the world is
    /// looked at in any case.
    pub const fn begin_turn(&mut self) -> bool {
        self.is_new = false;
        self.is_due
    }

    /// A child was reaped, which may have been on trial.
    pub fn note_death(&mut self, pid: Pid, exit: Exit) {
        if let Some(trial) = &mut self.trial {
            trial.note_death(pid, exit);
        }
    }
}

impl Main {
    /// Somebody wants main to be replaced; an operator waits for it. What is on
    /// trial by then may be older than what stands at our path now.
    pub(super) fn restart(&mut self, client: Option<Place>) {
        let is_running = self.restart.trial.is_some();
        let number = self.restart.tried.saturating_add(1);
        if let Some(client) = client {
            self.wait_for(client, Waits::Restart(number));
        }
        if self.plan.is_stopping() {
            self.stay(format_args!("main is stopping"), number);
        } else if is_running {
            self.restart.is_wanted_again = true;
        } else {
            self.try_image();
        }
    }

    fn try_image(&mut self) {
        self.restart.is_wanted_again = false;
        self.restart.tried = self.restart.tried.saturating_add(1);
        match Trial::begin(self) {
            Ok(trial) => self.restart.trial = Some(trial),
            Err(why) => self.stay(format_args!("{why}"), self.restart.tried),
        }
    }

    /// Looks how the trial goes.
    #[inline(never)]
    pub(super) fn look_at_trial(&mut self) {
        let Some(trial) = &mut self.restart.trial else { return };
        if self.plan.is_stopping() {
            return self.give_up_restart(format_args!("main is stopping"));
        }
        match trial.verdict(self.now) {
            None => {}
            Some(Ok(_)) => self.restart.is_due = true,
            Some(Err(why)) => {
                let binary = self.binary.clone();
                let name = Quoted(binary.to_bytes());
                self.give_up_restart(format_args!("{name} was tried: {why}"));
            }
        }
    }

    /// Main goes on as it is.
    fn give_up_restart(&mut self, why: fmt::Arguments<'_>) {
        (self.restart.trial, self.restart.is_due) = (None, false);
        self.stay(why, self.restart.tried);
        if self.restart.is_wanted_again && !self.plan.is_stopping() {
            self.try_image();
        }
    }

    /// Tells that main was not replaced, and whoever waits for that number.
    fn stay(&mut self, why: fmt::Arguments<'_>, number: u32) {
        let why = text::compose(why);
        log(Level::Error, format_args!("main is not restarted: {why}"));
        self.event(&Tidings { why: Some(&why), ..Tidings::new(Kind::Failed) });
        self.answer_restart(Word::Failed, format_args!("{why}"), number);
    }

    fn answer_restart(&mut self, word: Word, text: fmt::Arguments<'_>, number: u32) {
        self.answer(word, text, &|waits| waits == Waits::Restart(number));
    }

    /// Has the image that was tried take our place: comes back only if that
    /// fails. Every signal is held back since before the last look at what has
    /// arrived, and what arrives from now on reaches the other image.
    #[inline(never)]
    pub(super) fn replace(&mut self, blocked: Blocked) {
        let Some(trial) = self.restart.trial.take() else { return };
        self.restart.is_due = false;
        let state = self.state();
        let Err(errno) = self.execute(trial.image(), &state);
        for &number in state.kept() {
            // It is open: it was a moment ago.
            let _ = fd::close_on_exec(Borrowed::trusted(number));
        }
        drop(blocked);
        self.give_up_restart(format_args!("cannot execute what was tried: {errno}"));
    }

    fn execute(
        &self,
        image: Borrowed<'_>,
        state: &Tape,
    ) -> Result<core::convert::Infallible, Errno> {
        let written = trial::state_file(state)?;
        let words = self.own_words();
        let environment = trial::environment(&[("PANZER_STATE", written.number().unsigned_abs())]);
        let program = Program::new(&words, &environment, c".").open(image);
        for &number in state.kept().iter().chain([&written.number()]) {
            fd::open_on_exec(Borrowed::trusted(number))?;
        }
        Err(program.replace())
    }

    /// We are the new image, and everything is in its place.
    pub(super) fn begin_anew(&mut self) {
        self.restart.is_new = true;
        let version = env!("CARGO_PKG_VERSION");
        log(Level::Info, format_args!("main is panzer {version} now"));
        self.event(&Tidings::new(Kind::Restarted));
        if let Err(why) = self.read_again() {
            log(Level::Error, format_args!("the configuration stays as it was: {why}"));
        }
        self.operator.hold();
        let number = self.restart.tried;
        self.answer_restart(Word::Done, format_args!("main is panzer {version} now"), number);
        if mem::take(&mut self.restart.is_wanted_again) {
            self.try_image();
        }
    }
}

/// Where the image of this process stands, as seen from `start`: as it was
/// called, or, where a shell has searched for it, as the kernel was told.
pub(super) fn path_of_image(words: &[&'static CStr], start: &CStr) -> CString {
    let called = words.first().copied().filter(|name| name.to_bytes().contains(&b'/'));
    spawn::from(start, called.or_else(env::executed))
}
