//! Main: keeps sockets and generations, loads nothing, never changes.
//!
//! One loop: wait, tell the plan what happened, do what it says. From the
//! moment the first generation is started nothing but its operator ends main.

mod config;
mod control;
pub mod embed;
mod hear;
mod operator;
mod records;
mod restart;
mod run;
mod setup;
mod spawn;
mod state;
mod status;
mod tell;
mod trial;
mod waiters;

pub(in crate::roles) use run::{class, why};
pub use setup::program;
pub(in crate::roles) use spawn::add;

use crate::keep::kills::Kills;
use crate::keep::listeners::Listeners;
use crate::keep::log::{self, Events};
use crate::plan::pause;
use crate::plan::service::{Action, Event, Service};
use crate::sys::fd::Fd;
use crate::sys::poll::{self, Source};
use crate::sys::signal::{self, Hangup, Inherited, Wake};
use crate::sys::{self, Errno, clock, process};
use crate::types::{Generation, Level, Millis, Pid, Signal, Tick};
use crate::words::event::{Event as Tidings, Kind};
use crate::words::options::Options;
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem;
use operator::Operator;
use restart::Restart;
use run::Run;
use setup::has_terminal;

/// How long to leave alone what has failed.
const BREATHER: Millis = Millis(100);
/// The least time between two answers to SIGTTIN.
const STATUS: Millis = Millis(100);

/// The main process.
struct Main {
    /// This process.
    id: Pid,
    options: Options,
    /// The words of this process, for a restart.
    own: &'static [&'static CStr],
    /// The command line of panzer(1), for the next reload: the same, unless a
    /// program of one's own has made it.
    words: &'static [&'static CStr],
    /// Where main was started, and where its image stands.
    start: CString,
    binary: CString,
    inherited: Inherited,
    directory: CString,
    plan: Service,
    listeners: Listeners,
    runs: Vec<Run>,
    /// The one that was promoted last.
    current: Generation,
    wake: Wake,
    /// The read end goes to every monitor; the write end ends with us.
    lifeline: (Fd, Fd),
    /// Where a service manager wants to hear of us.
    above: Option<Fd>,
    /// Whether there was a terminal that SIGHUP could tell the end of.
    terminal: bool,
    since: Tick,
    /// When this turn began.
    now: Tick,
    status_at: Tick,
    /// Whether the final stop has begun: nothing is stored any more.
    closed: bool,
    /// How many SIGINT have come.
    interrupts: u32,
    /// Why the last process could not be made, or has left, until it is told.
    reason: Option<String>,
    events: Events,
    kills: Kills,
    dropped_told: u32,
    /// Messages that were refused and not yet told, and when one may be told.
    refused: (u32, Tick),
    finished: Option<u8>,
    operator: Operator,
    restart: Restart,
}

impl Main {
    /// Runs until the plan says with which status to leave.
    fn run(&mut self) -> u8 {
        loop {
            if let Some(status) = self.finished {
                return status;
            }
            self.turn();
        }
    }

    /// Waits once and takes in all that has happened.
    fn turn(&mut self) {
        let deadlines = [self.plan.deadline(), self.operator.deadline(), self.restart.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        self.wait(deadline);
        // What arrives from here on is for the image that takes our place.
        let blocked = self.restart.begin_turn().then(signal::block_all);
        let before = mem::replace(&mut self.now, clock::now());
        if let Some(by) = pause::lost(before, deadline, self.now) {
            self.step(Event::Overslept { by });
        }
        self.wake.empty();
        // The dead first, so that nobody is signalled who is not pinned any
        // more; but what they had said before counts before their death.
        self.reap();
        let caught = signal::take();
        // A stop before all that could start a generation: who has died of the
        // same signal to the whole tree was asked to.
        self.obey_stop(&caught);
        self.hear();
        if let Some(leader) = caught.ready {
            self.ready_by_signal(leader);
        }
        self.bury();
        self.check_losses();
        self.look_at_trial();
        self.obey(&caught);
        if self.plan.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.step(Event::Timer);
        }
        // The last of all, so that everybody has what he was told before.
        self.attend();
        if let Some(blocked) = blocked {
            self.replace(blocked);
        }
    }

    fn wait(&self, deadline: Option<Tick>) {
        let mut sources = Vec::with_capacity(1 + 2 * self.runs.len());
        sources.push(Source::readable(self.wake.source()));
        for run in &self.runs {
            sources.push(Source::readable(run.notify.borrow()));
            if let Some(fate) = &run.fate {
                sources.push(Source::readable(fate.source()));
            }
        }
        sources.extend(self.restart.source());
        self.add_control(&mut sources);
        if let Err(errno) = poll::wait(&mut sources, deadline) {
            self.breathe("wait for everything", errno);
        }
    }

    /// Leaves alone for a moment what the kernel has no memory for, or a
    /// sandbox no patience; the wake-up pipe still works.
    fn breathe(&self, what: &str, errno: Errno) {
        log::log(Level::Error, format_args!("cannot {what}: {errno}"));
        let soon = clock::now().after(BREATHER);
        let _ = poll::wait(&mut [Source::readable(self.wake.source())], Some(soon));
    }

    /// Whether a SIGHUP says that the terminal is gone.
    fn terminal_gone(&self, caught: &signal::Caught) -> bool {
        caught.hung_up(Hangup::Kernel)
            || caught.hung_up(Hangup::Session) && self.terminal && !has_terminal()
    }

    /// Does what the signals say about the end: the first SIGINT stops
    /// gracefully, the second one at once.
    fn obey_stop(&mut self, caught: &signal::Caught) {
        self.interrupts = self.interrupts.saturating_add(caught.interrupts);
        let again = caught.interrupts > 0 && self.interrupts > 1;
        if caught.has(Signal::Quit) || again {
            self.step(Event::StopNow);
        } else if caught.interrupts > 0 || caught.has(Signal::Term) || self.terminal_gone(caught) {
            self.step(Event::Stop);
        }
    }

    /// Does what the other signals say. After a stop a reload is nothing more.
    fn obey(&mut self, caught: &signal::Caught) {
        if caught.has(Signal::Usr2) {
            self.restart(None);
        }
        let by_hangup = caught.hung_up(Hangup::Stranger) || caught.hung_up(Hangup::Session);
        if caught.has(Signal::Usr1) || by_hangup {
            self.reload();
        }
        // Last, so that it shows what has come of all that was asked before.
        if caught.has(Signal::Ttin) && self.now >= self.status_at {
            self.status_at = self.now.after(STATUS);
            self.log_status();
        }
    }

    /// Tells the plan, and does what it orders until it orders nothing more.
    fn step(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let mut actions = Vec::new();
            self.plan.step(self.now, event, &mut actions);
            for action in actions {
                // Only a spawn has an answer, and a plan orders one at a time.
                next = self.act(action).or(next);
            }
        }
    }

    /// Does one thing; says what came of it if the plan has to know.
    // Inlined into its one caller it would make that frame larger, and with it
    // every access to the frame.
    #[inline(never)]
    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Spawn { generation } => return Some(self.spawn(generation)),
            // One that was reaped in this turn is not pinned any more.
            Action::Signal { generation, monitor, signal } => {
                if self.run_of(generation).is_some_and(|run| run.monitor == Some(monitor)) {
                    complain("monitor", monitor, signal::send(monitor, signal));
                }
            }
            // A group is pinned while a child of ours is in it.
            Action::SignalGroup { generation, leader, signal } => {
                let is_its = self.run_of(generation).is_some_and(|run| run.leader == leader);
                if is_its && process::has_child_in_group(leader) == Ok(true) {
                    complain("the group of", leader, signal::send_group(leader, signal));
                }
            }
            Action::Promote { generation } => {
                self.tell_current(generation);
                self.current = generation;
                self.release();
            }
            Action::Discard { generation, was_ready, why } => {
                self.tell_failed(generation, was_ready, why);
                self.listeners.discard(generation);
            }
            Action::Forget { generation } => {
                self.runs.retain(|run| run.generation != generation);
                self.release();
                log::log(Level::Debug, format_args!("nobody of generation {generation} is left"));
            }
            Action::CloseListeners => self.close_listeners(),
            Action::Finish { status } => self.finish(status),
            Action::Tell(report) => self.tell(report),
        }
        None
    }

    fn run_of(&mut self, generation: Generation) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.generation == generation)
    }

    /// Closes what the current generation does not want, if nobody else is left.
    fn release(&mut self) {
        if self.runs.iter().all(|run| run.generation == self.current) {
            self.listeners.release(self.current);
        }
    }

    /// The final stop, before anybody is told: nobody new comes into a queue
    /// of ours, and every generation knows that it serves the last of it.
    fn close_listeners(&mut self) {
        log::log(Level::Info, format_args!("stopping"));
        self.events.tell(&Tidings::new(Kind::Stopping));
        self.give_up_waiting();
        if !self.listeners.any_adopted() {
            for run in &self.runs {
                run.wish_final();
            }
        }
        self.listeners.close_all();
        self.closed = true;
        self.tell_above(b"STOPPING=1");
    }
}

fn complain(whom: &str, pid: Pid, sent: sys::Result<()>) {
    if let Err(errno) = sent {
        log::log(Level::Error, format_args!("cannot signal {whom} {pid}: {errno}"));
    }
}
