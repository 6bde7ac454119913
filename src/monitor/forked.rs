//! The workers of a library pool: copies of their monitor, each from its fork
//! to its end.

use crate::error::Result;
use crate::log;
use crate::monitor::monitor_loop::{MonitorLoop, PoolKind, cannot_set_up};
use crate::monitor::pool::{Event, FORKS_AT_ONCE};
use crate::shared::listener::{Forks, given};
use crate::shared::listening_socket::Fallback;
use crate::shared::scoreboard::RowRef;
use crate::sys::fd::{self, Blocking, Fd};
use crate::sys::poll::Source;
use crate::sys::process::{self, Alive};
use crate::sys::signal::{self, Blocked};
use crate::sys::{self, clock};
use crate::types::{Activity, Level, Millis, Pid, Role, Signal, Slot, Tick};
use crate::worker::{BUSY, Context, Worker};
use alloc::string::String;
use alloc::vec::Vec;

/// From the timeout of a stop to the last resort of a worker that is left alone.
const GRACE: Millis = Millis(2_000);
/// The status of a worker that could not be set up.
const NOT_SET_UP: u8 = 111;

/// What a worker writes into the ready pipe: its slot and its pid.
const RECORD: usize = 6;

/// What an application's workers run, and what ties them to their monitor.
pub(super) struct ForkedWorkers<'w> {
    worker: &'w mut dyn Worker,
    /// Whether the monitor has no other thread.
    is_alone: bool,
    ready_read: Fd,
    ready_write: Fd,
}

impl<'w> ForkedWorkers<'w> {
    /// Copies that run `worker`, of a process that has one thread where it `is_alone`.
    pub(super) fn new(worker: &'w mut dyn Worker, is_alone: bool) -> Result<Self> {
        let (ready_read, ready_write) = fd::pipe(Blocking::Yes).map_err(cannot_set_up)?;
        fd::set_blocking(ready_read.borrow(), Blocking::No).map_err(cannot_set_up)?;
        Ok(Self { worker, is_alone, ready_read, ready_write })
    }
}

impl PoolKind for ForkedWorkers<'_> {
    const FALLBACK: Fallback = Fallback::LeastTtl;
    const ADOPTS: bool = false;

    fn make(
        pool: &mut MonitorLoop<Self>,
        places: &[(Slot, RowRef)],
    ) -> [Option<Pid>; FORKS_AT_ONCE] {
        pool.fork_copies(places)
    }

    fn signal(_: &MonitorLoop<Self>, pid: Pid, signal: Signal) {
        // Not reaped, so it is ours; one that is dead is as good. What it has started
        // itself is left to it until it has to be killed.
        let send = if signal == Signal::Kill { signal::send_program } else { signal::send };
        let _ = send(pid, signal);
    }

    fn add_sources<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        sources.push(Source::readable(self.ready_read.borrow()));
    }

    fn deadline(&self) -> Option<Tick> {
        None
    }

    fn waits_alone(&self) -> bool {
        self.is_alone
    }

    fn note_orphan(&mut self, _: Pid) {}

    fn take_notifications(pool: &mut MonitorLoop<Self>, now: Tick) {
        pool.hear_ready(now);
    }

    fn take_last_words(pool: &mut MonitorLoop<Self>, now: Tick, _: Pid) {
        pool.hear_ready(now);
    }

    /// They write on the board themselves, and say why they cannot be set up.
    fn note(_: &mut MonitorLoop<Self>, _: Tick, _: Pid, _: Activity) -> Option<String> {
        None
    }
}

impl MonitorLoop<ForkedWorkers<'_>> {
    /// Forks a worker for each of these slots. Between two forks nothing is written but
    /// the stack.
    fn fork_copies(&mut self, places: &[(Slot, RowRef)]) -> [Option<Pid>; FORKS_AT_ONCE] {
        let (mut made, mut failed) = ([None; FORKS_AT_ONCE], [None; FORKS_AT_ONCE]);
        let mut in_child = Some(signal::block_all());
        // No handler of the application's comes while the lock is held.
        let (monitor, mut forks) = (process::id(), Forks::begin());
        let results = made.iter_mut().zip(&mut failed);
        for (&(slot, row), (made, failed)) in places.iter().zip(results) {
            let forked = forks.fork(|| {
                let blocked = in_child.take().expect("the child runs once");
                match self.become_worker(slot, row, monitor, blocked) {
                    Ok(context) => self.serve(context),
                    Err(errno) => {
                        log::log(
                            Level::Error,
                            format_args!("worker {slot}: setup failed: {errno}"),
                        );
                        NOT_SET_UP
                    }
                }
            });
            match forked {
                Ok(pid) => *made = Some(pid),
                Err(errno) => *failed = Some(errno),
            }
        }
        // Other threads wait for the lock, and the log may be a slow file.
        drop(forks);
        for (&(slot, _), errno) in places.iter().zip(failed) {
            if let Some(errno) = errno {
                log::log(Level::Error, format_args!("worker {slot}: cannot fork: {errno}"));
            }
        }
        made
    }

    /// In the child: everything that must be its own, before a signal may come.
    fn become_worker(
        &mut self,
        slot: Slot,
        row: RowRef,
        monitor: Pid,
        blocked: Blocked,
    ) -> sys::SysResult<Context> {
        let stop = self.wake.renew()?;
        let last_resort = Millis(self.rules.timeout.0.saturating_add(GRACE.0));
        signal::install_worker_handlers(monitor, self.dev_null, last_resort);
        self.scoreboard.begin_worker(row, clock::now());
        self.restore_other_dispositions();
        if self.above.is_some() {
            process::lead_group();
        }
        let alive = process::follow_parent(monitor, Signal::Term)?;
        let ready = self.kind.ready_write.take();
        drop(self.kind.ready_read.take());
        self.let_go_of_above()?;
        process::set_name(c"panzer:worker");
        log::become_role(Role::Worker);
        drop(blocked);
        if alive == Alive::No {
            process::exit_now(0);
        }
        let (generation, timeout) = (self.generation, self.rules.timeout);
        Ok(Context::new(slot, generation, timeout, (self.scoreboard, row), stop, ready))
    }

    /// Lets go of what ties the monitor to main: it stays open there alone.
    fn let_go_of_above(&mut self) -> sys::SysResult<()> {
        drop(self.above.take());
        match given(|given| given.inherited.notify) {
            Some(notify) => fd::replace(notify.borrow(), self.dev_null),
            None => Ok(()),
        }
    }

    fn serve(&mut self, mut context: Context) -> u8 {
        match self.kind.worker.run(&mut context) {
            Ok(()) => 0,
            Err(error) => {
                log::log(Level::Error, format_args!("worker {}: failed: {error}", context.slot()));
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
                let owner = self.rows.process(pid).filter(|owner| owner.slot == slot);
                if let Some(event) = ready.or_else(|| self.busy(owner?)) {
                    self.step(now, event);
                }
            }
            if length < records.len() {
                return;
            }
        }
    }
}
