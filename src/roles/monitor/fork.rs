//! The workers of a library pool: copies of their monitor, each from its fork
//! to its end.

use super::pool::{Kind, Running, cannot_set_up};
use crate::error::Result;
use crate::keep::board::Desk;
use crate::keep::log;
use crate::plan::pool::Event;
use crate::roles::listen::given;
use crate::roles::worker::{BUSY, Context, Worker};
use crate::sys::fd::{self, Blocking, Fd};
use crate::sys::file::{self, Mode};
use crate::sys::poll::Source;
use crate::sys::process::{self, Alive};
use crate::sys::signal::{self, Blocked};
use crate::sys::{self, alarm, clock};
use crate::types::{Activity, Level, Millis, Pid, Role, Signal, Slot, Tick};
use alloc::string::String;
use alloc::vec::Vec;

/// From the timeout of a stop to the last resort of a worker that is left alone.
pub(super) const GRACE: Millis = Millis(2_000);
/// The status of a worker that could not be set up.
const NOT_SET_UP: u8 = 111;

/// What a worker writes into the ready pipe: its slot and its pid.
const RECORD: usize = 6;

/// What an application's workers run, and what ties them to their monitor.
pub(super) struct Copies<'w> {
    worker: &'w mut dyn Worker,
    ready_read: Fd,
    ready_write: Fd,
    lifeline_read: Fd,
    lifeline_write: Fd,
}

impl<'w> Copies<'w> {
    /// Copies that run `worker`.
    pub(super) fn new(worker: &'w mut dyn Worker) -> Result<Self> {
        let (ready_read, ready_write) = fd::pipe(Blocking::Yes).map_err(cannot_set_up)?;
        fd::set_blocking(ready_read.borrow(), Blocking::No).map_err(cannot_set_up)?;
        let (lifeline_read, lifeline_write) = fd::pipe(Blocking::Yes).map_err(cannot_set_up)?;
        Ok(Self { worker, ready_read, ready_write, lifeline_read, lifeline_write })
    }
}

impl Kind for Copies<'_> {
    fn make(pool: &mut Running<Self>, slot: Slot, heir: bool) -> Event {
        pool.fork(slot, heir)
    }

    fn add_sources<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        sources.push(Source::readable(self.ready_read.borrow()));
    }

    fn hear(pool: &mut Running<Self>, now: Tick) {
        pool.hear_ready(now);
    }

    /// They write on the board themselves, and say why they cannot be set up.
    fn note(_: &mut Running<Self>, _: Tick, _: Pid, _: Activity) -> Option<String> {
        None
    }
}

impl Running<Copies<'_>> {
    /// Forks the worker of `slot`, or its heir, and says what came of it.
    fn fork(&mut self, slot: Slot, heir: bool) -> Event {
        let blocked = signal::block_all();
        let monitor = process::id();
        let mut in_child = Some(blocked);
        let forked = process::fork(|| {
            let blocked = in_child.take().expect("the child runs once");
            let desk = if heir { Desk::of_heir(slot, process::id()) } else { Desk::of(slot) };
            match self.become_worker(slot, desk, monitor, blocked) {
                Ok(context) => self.serve(context),
                Err(errno) => {
                    log::log(Level::Error, format_args!("cannot set up worker {slot}: {errno}"));
                    NOT_SET_UP
                }
            }
        });
        match forked {
            Ok(pid) => Event::Forked { slot, pid },
            Err(errno) => {
                log::log(Level::Error, format_args!("cannot fork worker {slot}: {errno}"));
                Event::ForkFailed { slot }
            }
        }
    }

    /// In the child: everything that must be its own, before a signal may come.
    fn become_worker(
        &mut self,
        slot: Slot,
        desk: Desk,
        monitor: Pid,
        blocked: Blocked,
    ) -> sys::Result<Context> {
        self.wake.renew()?;
        signal::serve(monitor, self.nowhere, self.kind.lifeline_read.borrow());
        self.sheet.begin_worker(desk, clock::now());
        self.restore_other_dispositions();
        self.hold_lifeline()?;
        let alive = process::follow_parent(monitor)?;
        let ready = fd::duplicate(self.kind.ready_write.borrow())?;
        self.let_go()?;
        // Without a timer the two other belts still hold.
        let _ = alarm::prepare(Millis(self.rules.timeout.0.saturating_add(GRACE.0)));
        // The lifeline must reach a worker whose program holds everything back.
        let blocked = blocked.without(Signal::Io);
        process::set_name(c"panzer:worker");
        log::become_role(Role::Worker);
        let stop = self.wake.second()?;
        drop(blocked);
        if alive == Alive::No {
            process::exit_now(0);
        }
        let (generation, timeout) = (self.generation, self.rules.timeout);
        Ok(Context::new(slot, generation, timeout, (self.sheet, desk), stop, ready))
    }

    /// Has SIGIO come when the monitor dies: a worker that waits in accept does
    /// not see the end of a pipe, and a program may have taken SIGTERM away. The
    /// description must be this worker's alone, which needs /proc; without it
    /// there is the SIGTERM of PR_SET_PDEATHSIG alone, which follows the thread
    /// that forked.
    ///
    /// The write end is let go after, so that opening the pipe never waits.
    fn hold_lifeline(&self) -> sys::Result<()> {
        let read = self.kind.lifeline_read.borrow();
        if let Ok(own) = file::reopen(read, Mode::Read) {
            fd::signal_on_hangup(own.borrow())?;
            fd::replace(read, own.borrow())?;
        }
        fd::replace(self.kind.lifeline_write.borrow(), self.nowhere)
    }

    /// Lets go of what is the monitor's: it stays open there alone.
    fn let_go(&self) -> sys::Result<()> {
        fd::replace(self.kind.ready_read.borrow(), self.nowhere)?;
        fd::replace(self.kind.ready_write.borrow(), self.nowhere)?;
        if let Some(above) = &self.above {
            fd::replace(above.lifeline.borrow(), self.nowhere)?;
        }
        given(|given| match &given.inherited.notify {
            Some(notify) => fd::replace(notify.borrow(), self.nowhere),
            None => Ok(()),
        })
    }

    fn serve(&mut self, mut context: Context) -> u8 {
        match self.kind.worker.run(&mut context) {
            Ok(()) => 0,
            Err(error) => {
                log::log(Level::Error, format_args!("worker {} failed: {error}", context.slot()));
                1
            }
        }
    }

    /// Takes in the workers that say that they are ready, or busy.
    fn hear_ready(&mut self, now: Tick) {
        let mut records = [0; 64 * RECORD];
        while let Ok(length) = fd::read(self.kind.ready_read.borrow(), &mut records) {
            for &[a, b, c, d, e, f] in records[..length].as_chunks::<RECORD>().0 {
                let said = u16::from_ne_bytes([a, b]);
                let (slot, is_busy) = (Slot::new(said & !BUSY), said & BUSY != 0);
                let pid = Pid::new(i32::from_ne_bytes([c, d, e, f]));
                let (Some(slot), Some(pid)) = (slot, pid) else { continue };
                let ready = (!is_busy).then_some(Event::Ready { slot, pid });
                if let Some(event) = ready.or_else(|| self.busy(slot, pid)) {
                    self.step(now, event);
                }
            }
            if length < records.len() {
                return;
            }
        }
    }
}
