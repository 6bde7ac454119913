//! SIGUSR2: another image of main takes its place, in the same process.
//!
//! It is tried first, in a child: it reads what main knows, says so, and leaves.
//! Only then, with every signal held back, it is executed in main's place, by
//! the descriptor that was tried. Whatever fails before that leaves main as it
//! was. Monitors and workers notice nothing: their parent, their lifeline and
//! their sockets are the same.

use super::{MainProcess, probe};
use crate::error::{Error, Result};
use crate::log::log;
use crate::main_process::control_socket::{ClientIndex, Waits};
use crate::main_process::probe::Probe;
use crate::persist::{Codec, Persist as _, persisted};
use crate::printable::Quoted;
use crate::sys::Errno;
use crate::sys::exec::Program;
use crate::sys::fd::{self, Borrowed};
use crate::sys::poll::Source;
use crate::types::{Exit, Level, Pid, Tick};
use alloc::vec::Vec;
use core::fmt;

/// How many processes of probes may hang before no other one is begun.
const MOST_LEFT: usize = 4;

/// What is known of main's images.
#[derive(Default)]
pub(super) struct Reexec {
    /// How many were tried, by those before us too.
    pub tried: u32,
    /// Whether it was asked for since the last one was opened.
    pub is_wanted_again: bool,
    probe: Option<Probe>,
    /// Processes of probes that were killed and have not ended yet: a file server
    /// that is away keeps them.
    left: Vec<Pid>,
    /// Whether the image that was probed takes our place in the next turn.
    is_due: bool,
    /// Whether we are a new one that has not looked at the world yet.
    is_new: bool,
}

impl Reexec {
    /// Writes or reads what one image leaves to the next.
    pub fn persist(&mut self, codec: &mut Codec) {
        persisted! { in self, codec; { tried, is_wanted_again, left } without { probe, is_due, is_new } }
    }

    /// When there is something to do here at the latest. As long as a start reads its
    /// environment nothing is replaced.
    pub fn deadline(&self, is_starting: bool) -> Option<Tick> {
        match &self.probe {
            _ if self.is_new => Some(Tick(0)),
            Some(_) if self.is_due => (!is_starting).then_some(Tick(0)),
            probe => probe.as_ref().map(Probe::due),
        }
    }

    /// What to wait for.
    pub fn source(&self) -> Option<Source<'_>> {
        self.probe.as_ref().and_then(Probe::source)
    }

    /// Whether our place is taken at the end of this turn, in which the world is
    /// looked at in any case.
    pub const fn begin_turn(&mut self) -> bool {
        self.is_new = false;
        self.is_due
    }

    /// The number of the next one.
    pub const fn next(&self) -> u32 {
        self.tried.saturating_add(1)
    }

    /// Whether another one is wanted, and none is being tried.
    pub const fn is_due_again(&self) -> bool {
        self.is_wanted_again && self.probe.is_none()
    }

    /// Takes the next number, if not too many probes hang already.
    fn begin(&mut self) -> Result<()> {
        self.tried = self.next();
        if self.left.len() >= MOST_LEFT {
            let left = self.left.len();
            return Err(Error::plain(format_args!(
                "{left} earlier probes still hang: is the file server of the binary unreachable?"
            )));
        }
        Ok(())
    }

    /// Looks how the probe goes; says why it has failed, if it has.
    fn poll(&mut self, now: Tick) -> Option<Error> {
        match self.probe.as_mut()?.result(now) {
            None => None,
            Some(Ok(_)) => {
                self.is_due = true;
                None
            }
            Some(Err(reason)) => Some(reason),
        }
    }

    /// The image that takes our place now.
    fn take_due(&mut self) -> Option<Probe> {
        self.is_due = false;
        self.probe.take()
    }

    /// Lets go of a probe.
    fn give_up(&mut self) {
        // Killed when it is dropped.
        let probe = self.take_due();
        self.left.extend(probe.as_ref().and_then(Probe::process));
    }

    /// A child was reaped, which may have been a probe.
    pub fn note_death(&mut self, pid: Pid, exit: Exit) {
        self.left.retain(|&left| left != pid);
        if let Some(probe) = &mut self.probe {
            probe.note_death(pid, exit);
        }
    }
}

impl MainProcess {
    /// Main is to be replaced; an operator may wait for it. An image that is probed
    /// already may be older than what stands at our path now.
    pub(super) fn restart(&mut self, client: Option<ClientIndex>) {
        let number = self.restart.next();
        if let Some(client) = client {
            self.control.wait_for(client, Waits::Restart(number));
        }
        if self.supervisor.is_stopping() {
            self.stay(format_args!("main is stopping"), number);
        } else if self.restart.probe.is_some() {
            self.restart.is_wanted_again = true;
        } else {
            self.probe_binary();
        }
    }

    fn probe_binary(&mut self) {
        // No image would take a state in which a start is half done. And the number of
        // a restart stays the last one until its client was answered.
        self.restart.is_wanted_again = self.reads.is_starting() || self.reads.is_after_restart();
        if self.restart.is_wanted_again {
            return;
        }
        match self.restart.begin().and_then(|()| self.begin_probe()) {
            Ok(probe) => self.restart.probe = Some(probe),
            Err(reason) => self.stay(format_args!("{reason}"), self.restart.tried),
        }
    }

    /// Has what stands at our path read our state. That no image would take it is better
    /// known before than after the exec.
    fn begin_probe(&mut self) -> Result<Probe> {
        if !self.is_possible() {
            return Err(Error::plain(format_args!(
                "the state of main is inconsistent (a bug): no binary could take it over"
            )));
        }
        let state = self.state();
        Probe::begin(&self.program, &state)
    }

    /// Looks how the probe goes.
    pub(super) fn check_probe(&mut self) {
        if self.restart.probe.is_none() {
            return;
        }
        if self.supervisor.is_stopping() {
            return self.give_up_restart(format_args!("main is stopping"));
        }
        if let Some(reason) = self.restart.poll(self.now) {
            let binary = self.program.binary.clone();
            let name = Quoted(binary.to_bytes());
            self.give_up_restart(format_args!("{name} failed its probe: {reason}"));
        }
    }

    /// Main goes on as it is.
    fn give_up_restart(&mut self, reason: fmt::Arguments<'_>) {
        self.restart.give_up();
        self.stay(reason, self.restart.tried);
        if self.restart.is_wanted_again && !self.supervisor.is_stopping() {
            self.probe_binary();
        }
    }

    /// Tells that main was not replaced, and the clients that wait for that number.
    fn stay(&mut self, reason: fmt::Arguments<'_>, number: u32) {
        self.reporter.tell_restart_failed(number, reason, &mut self.control);
    }

    /// Has the image that was tried take our place: comes back only if that
    /// fails. Signals are held back, as in all of a turn, so what has arrived since the
    /// last look reaches the other image.
    pub(super) fn replace(&mut self) {
        let Some(probe) = self.restart.take_due() else { return };
        let state = self.state();
        let Err(errno) = match probe.binary() {
            Some(binary) => self.execute(binary.borrow(), &state),
            None => Err(Errno(libc::ENOENT)),
        };
        for &number in state.kept() {
            // It is open: it was a moment ago.
            let _ = fd::close_on_exec(number);
        }
        self.give_up_restart(format_args!("cannot execute the probed binary: {errno}"));
    }

    fn execute(
        &self,
        binary: Borrowed<'_>,
        state: &Codec,
    ) -> core::result::Result<core::convert::Infallible, Errno> {
        let written = probe::state_file(state)?;
        let words = self.program.own_words();
        let environment = probe::environment(&[("PANZER_STATE", written.number().unsigned_abs())]);
        let program = Program::new(&words, &environment, c".").open(binary);
        for &number in state.kept().iter().chain([&written.number()]) {
            fd::open_on_exec(number)?;
        }
        Err(program.replace())
    }

    /// We are the new image, and everything is in its place.
    pub(super) fn after_restart(&mut self) {
        self.restart.is_new = true;
        let version = env!("CARGO_PKG_VERSION");
        log(Level::Info, format_args!("restart complete, now running panzer {version}"));
        self.load_after_restart();
    }

    /// The configuration was read again, or could not be: the restart is over.
    pub(super) fn told_restarted(&mut self) {
        self.reporter.tell_restarted(self.restart.tried, &mut self.control);
        self.try_again();
    }

    /// Tries another image if one is wanted and nothing is in its way any more.
    pub(super) fn try_again(&mut self) {
        if self.restart.is_due_again() && !self.supervisor.is_stopping() {
            self.probe_binary();
        }
    }
}
