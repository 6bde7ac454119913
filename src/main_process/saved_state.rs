//! What main knows, for its successor: everything that is not found anew.
//!
//! The numbers of a process stay what they are when it is executed anew, so
//! descriptors, pids and moments of the monotonic clock mean the same to both.

use super::MainProcess;
use crate::error::{Error, Result};
use crate::log;
use crate::persist::{Codec, Direction, Persist as _, persisted};
use crate::sys::process;
use alloc::vec::Vec;

/// The version of what is written. A change of what any of these types has changes it
/// too, for nothing else tells one layout from another.
pub(super) const VERSION: u64 = 12;

impl MainProcess {
    /// Writes all of it.
    pub(super) fn state(&mut self) -> Codec {
        let mut codec = Codec::empty_value();
        codec.number(VERSION, u64::MAX);
        self.persist(&mut codec);
        codec
    }

    /// Reads all of it: what another image of this process has written, or, to
    /// try whether we could, what our parent has.
    ///
    /// # Errors
    ///
    /// What is wrong with it. No process has been signalled then.
    pub(super) fn take_state(&mut self, bytes: Vec<u8>, way: Direction) -> Result<()> {
        let mut codec = Codec::of(bytes, way);
        let version = codec.number(0, u64::MAX);
        if version != VERSION {
            return Err(Error::plain(format_args!(
                "saved state has version {version}, this panzer reads version {VERSION}; \
                 stop and start panzer instead"
            )));
        }
        self.persist(&mut codec);
        if !codec.is_whole() {
            return Err(Error::plain(format_args!("saved state is corrupt")));
        }
        if way == Direction::Read && !self.is_possible() {
            return Err(Error::plain(format_args!("the saved state belongs to another process")));
        }
        Ok(())
    }

    /// The order is that of the version, whatever owner has a value by now.
    pub(super) fn persist(&mut self, codec: &mut Codec) {
        // All are named, so that none is forgotten.
        let Self {
            program,
            options,
            supervisor,
            listeners,
            generations,
            wake,
            lifeline,
            terminal,
            since,
            now,
            status_at,
            interrupts,
            reporter,
            closing,
            reads,
            control,
            restart,
            finished: _,
            sources: _,
        } = self;
        persisted! {
            each codec;
            program, options, supervisor, listeners, generations, wake, lifeline,
            reporter.above, terminal, since, now, status_at, listeners.is_closed, interrupts,
            reporter, closing, reporter.complaints, reads, control, restart,
        }
        let mut dropped = log::dropped();
        dropped.persist(codec);
        if !codec.is_written() {
            log::begin_dropped(dropped);
        }
    }

    /// Whether every monitor is a child of ours, and leads another session than ours:
    /// then no other process can be signalled. And main writes nothing in the middle of
    /// a turn.
    pub(super) fn is_possible(&self) -> bool {
        let own = [process::group_of(process::id()), process::session_of(None).unwrap_or(None)];
        self.program.id == process::id()
            && self.supervisor.is_settled()
            && self.generations.are_ours(&own)
    }
}
