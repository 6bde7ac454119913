//! What main knows, for its successor: everything that is not found anew.
//!
//! The numbers of a process stay what they are when it is executed anew, so
//! descriptors, pids and moments of the monotonic clock mean the same to both.

use super::Main;
use crate::error::{Error, Result};
use crate::keep::log;
use crate::sys::process;
use crate::tape::{Tape, Taped as _, Way, taped};
use alloc::vec::Vec;

/// The version of what is written. Whoever changes what any of these types has
/// changes it too, for nothing else tells one layout from another.
pub(super) const VERSION: u64 = 1;

impl Main {
    /// Writes all of it.
    pub(super) fn state(&mut self) -> Tape {
        let mut tape = Tape::blank();
        tape.number(VERSION, u64::MAX);
        self.tape(&mut tape);
        tape
    }

    /// Reads all of it: what another image of this process has written, or, to
    /// try whether we could, what our parent has.
    ///
    /// # Errors
    ///
    /// What is wrong with it. Nobody has been signalled then.
    pub(super) fn take_state(&mut self, bytes: Vec<u8>, way: Way) -> Result<()> {
        let mut tape = Tape::of(bytes, way);
        let version = tape.number(0, u64::MAX);
        if version != VERSION {
            return Err(Error::plain(format_args!(
                "the state has version {version}, and this panzer knows version {VERSION}"
            )));
        }
        self.tape(&mut tape);
        if !tape.is_whole() {
            return Err(Error::plain(format_args!("the state makes no sense")));
        }
        if way == Way::Read && !self.is_possible() {
            return Err(Error::plain(format_args!("the state is another process's")));
        }
        Ok(())
    }

    fn tape(&mut self, tape: &mut Tape) {
        taped! {
            in self, tape;
            {
                id, binary, start, directory, inherited, options, plan, listeners, runs, current,
                lifeline, terminal, since, now, status_at, closed, interrupts, reason, events,
                dropped_told, refused, operator, restart,
            }
            without { own, words, wake, above, kills, finished }
        }
        let mut dropped = log::dropped();
        dropped.tape(tape);
        if tape.way() != Way::Write {
            log::begin_dropped(dropped);
        }
    }

    /// Whether every monitor is a child of ours, and leads another group than ours:
    /// then nobody else can be signalled. And main writes nothing in the middle of
    /// a turn.
    pub(super) fn is_possible(&self) -> bool {
        let own = process::group_of(process::id());
        self.id == process::id()
            && self.plan.is_settled()
            && self.runs.iter().all(|run| {
                let leads = run.monitor.is_none_or(|monitor| {
                    monitor == run.leader && process::is_child(monitor) != Ok(false)
                });
                leads && run.leader.raw() > 1 && Some(run.leader) != own
            })
    }
}
