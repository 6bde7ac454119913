//! Main: keeps sockets and generations, loads nothing, never changes.
//!
//! One loop: wait, tell the supervisor what happened, do what it says. From the
//! moment the first generation is started nothing but its operator ends main.
//!
//! Main owns few parts, each with data and methods of its own that do not know main.
//! What happened they return; main alone tells the supervisor, and carries out what it
//! orders.
//!
//! * `Supervisor`: all decisions, [`supervisor`], with [`supervisor_events`].
//! * `Generations`: [`generations`] is the list, of a [`generation`] each; [`health`]
//!   judges one, [`reap`] ends what is left of one; each has a [`notify_socket`].
//! * `Listeners`: [`open_listeners`] opens sockets, [`listener_store`] keeps them.
//! * `Reporter`: [`reporter`] tells the log, tools ([`event_writer`]) and the
//!   [`service_manager`], as [`announcements`] and the [`situation`] decide;
//!   [`complaints`] are bounded.
//! * `Control`: [`control`] has the [`pidfile`], the [`control_socket`] (a
//!   [`private_socket`]) and the clients that wait; [`status_reply`] shows them what
//!   runs, [`log_status`] does so in the log.
//! * `Loads` in [`load_config`]: children that read files (a [`file_reader`] each).
//! * `Reexec` in [`reexec`]: the restart, with its [`probe`].
//! * `OwnProgram` in [`executable`]: how main was started. [`read_options`] reads what
//!   it is to do, [`resources`] are what it needs of the kernel.
//!
//! What needs three of these or more at once is `impl MainProcess`: here the loop, the
//! signals and the supervisor's commands; in [`startup`] the making of them all; in
//! [`launch`] a monitor's process, which is given something of each; in
//! [`notifications`] what generations say, which stores sockets, counts as news and
//! makes steps; in [`load_config`] and [`reexec`] a reload and a restart, from the
//! request to the reply; in [`control_requests`] what an operator asks of any of them;
//! in [`report_above`] what a service manager is told of all that; and in [`saved_state`]
//! all that is handed down.
//!
//! Without data of main's: [`check_command`], and [`embed`], main in another program.

mod announcements;
mod check_command;
mod complaints;
mod control;
mod control_requests;
mod control_socket;
pub mod embed;
mod event_writer;
mod executable;
mod file_reader;
#[cfg(any(test, feature = "internals"))]
#[path = "../../tests/fuzz/state.rs"]
pub mod fuzz_state;
mod generation;
mod generations;
mod health;
mod launch;
mod listener_store;
mod load_config;
mod log_status;
mod notifications;
mod notify_socket;
mod open_listeners;
mod pidfile;
mod private_socket;
mod probe;
mod read_options;
mod reap;
mod reexec;
mod report_above;
mod reporter;
mod resources;
mod saved_state;
mod service_manager;
mod situation;
mod startup;
mod status_reply;
pub mod supervisor;
mod supervisor_events;

#[cfg(any(test, feature = "internals"))]
pub use crate::main_process::control_socket::fuzz_control;
pub use crate::main_process::startup::program;

use crate::config::option_table::Options;
use crate::main_process::control::Control;
use crate::main_process::executable::OwnProgram;
use crate::main_process::generation::GenerationEnd;
use crate::main_process::generations::Generations;
use crate::main_process::listener_store::Listeners;
use crate::main_process::load_config::Loads;
use crate::main_process::reexec::Reexec;
use crate::main_process::reporter::{FailedGeneration, Reporter, Setback};
use crate::main_process::resources::has_terminal;
use crate::main_process::supervisor::{Command, Event, Failure, Report, Supervisor};
use crate::shared::closer::Closing;
use crate::shared::listening_socket::{self, Fallback};
use crate::shared::scoreboard::Flags;
use crate::sys::fd::Fd;
use crate::sys::poll::{self, Source};
use crate::sys::process::{self, Reaped};
use crate::sys::signal::{self, Blocked, Hangup, PendingSignals, Wake};
use crate::sys::{self, Errno, clock};
use crate::types::{ExitReason, Generation, Level, Millis, Pid, Signal, Stage, Tick};
use crate::{log, stall};
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

/// How long to leave alone what has failed.
const BREATHER: Millis = Millis(100);
/// How long the last part of a handshake may take: a way to the client and back.
const HANDSHAKE: Millis = Millis(300);
/// The most dead that are reaped in one turn: there is other work.
const MOST_DEAD: usize = 256;
/// The least time between two answers to SIGTTIN.
const STATUS: Millis = Millis(100);

/// The main process.
struct MainProcess {
    program: OwnProgram,
    options: Options,
    supervisor: Supervisor,
    generations: Generations,
    listeners: Listeners,
    reporter: Reporter,
    control: Control,
    reads: Loads,
    restart: Reexec,
    /// What is to be closed and may hang the process that does it.
    closing: Closing,
    wake: Wake,
    /// The read end goes to every monitor; the write end ends with us.
    lifeline: (Fd, Fd),
    /// Whether there was a terminal that SIGHUP could tell the end of.
    terminal: bool,
    since: Tick,
    /// When this turn began.
    now: Tick,
    status_at: Tick,
    /// How many SIGINT have come.
    interrupts: u32,
    /// The status with which main leaves, when it does.
    finished: Option<u8>,
    /// Empty: what the next wait is for.
    sources: Vec<Source<'static>>,
}

/// The signals of a turn: those that are held back still, and those that have come.
struct TurnSignals<'a> {
    blocked: &'a Blocked,
    pending: PendingSignals,
}

impl MainProcess {
    /// Runs until the supervisor says with which status to leave. Signals are held back
    /// in each turn, and let through in its wait alone.
    fn run(&mut self, blocked: &Blocked) -> u8 {
        loop {
            if let Some(status) = self.finished {
                // Closing these may hang, which must not hold up the end of main.
                self.generations.forget_all(&mut self.closing);
                self.closing.finish();
                return status;
            }
            self.turn(blocked);
        }
    }

    /// Waits once and takes in all that has happened.
    fn turn(&mut self, blocked: &Blocked) {
        let deadline = self.deadline();
        let mut sources = poll::reuse(mem::take(&mut self.sources));
        self.add_sources(&mut sources);
        let wait = || self.wait(&mut sources, deadline, blocked);
        let (_, now, lost) = stall::over(clock::now, deadline, wait);
        self.sources = poll::reuse(sources);
        self.now = now;
        self.reporter.begin_turn(now);
        let is_due = self.restart.begin_turn() && !self.reads.is_starting();
        if let Some(by) = lost {
            self.step(Event::Stalled { by });
        }
        // Before the dead: one that dies after that wakes us again.
        self.wake.empty();
        // The sender of a signal may be among them, and is asked for its session.
        poll::let_signals_through(blocked);
        // The dead first, so that no pid is signalled that is not pinned any more; but
        // what they had said before counts before their death, and so does a signal that
        // was sent to us before, or to all of us.
        self.reap();
        let mut signals = TurnSignals { blocked, pending: PendingSignals::default() };
        // A stop before all that could start a generation: a monitor that has died of
        // the same signal to the whole tree was asked to.
        self.look_for_stop(&mut signals);
        self.take_notifications(&mut signals);
        let TurnSignals { pending, .. } = signals;
        if let Some(leader) = pending.ready {
            self.ready_by_signal(leader);
        }
        self.on_exits();
        self.check_scoreboards();
        self.check_probe();
        self.check_reads();
        self.act_on_signals(&pending);
        if self.supervisor.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.step(Event::Timer);
        }
        self.reporter.complaints.settle(self.now);
        // The last of all, so that every client has what it was told before.
        self.serve_clients();
        self.closing.turn(self.now);
        self.report_above();
        // What happened in this turn may have begun a start, which is in no state that
        // can be handed down: then the next turn replaces.
        if is_due && self.supervisor.is_settled() {
            self.replace();
        }
    }

    /// Reaps the dead: our monitors, and whatever orphans there are. Of very many
    /// the rest is for the next turn, which comes at once.
    fn reap(&mut self) {
        let mut count = 0;
        while count < MOST_DEAD
            && let Ok(Reaped::Dead(pid, exit)) = process::reap_any()
        {
            count += 1;
            self.restart.note_death(pid, exit);
            self.generations.note_death(pid, exit, self.now);
            self.reads.note_death(pid);
            self.closing.note_death(pid);
        }
        self.generations.end_reaping(count == MOST_DEAD, self.now, &self.supervisor);
    }

    /// Tells the supervisor which monitors are dead, after all that they had said
    /// before.
    fn on_exits(&mut self) {
        let (ended, is_starved) = self.generations.ended(self.now, &self.supervisor);
        self.tell_dead_workers(is_starved);
        for generation in ended {
            match self.generations.take_end(generation, is_starved, self.now, &self.supervisor) {
                None => {}
                Some(GenerationEnd::Last) => self.step(Event::Empty { generation }),
                Some(GenerationEnd::Monitor { death, exec, session, forced }) => {
                    let advice = match self.supervisor.stage_of(generation) {
                        Some(Stage::Starting) => health::advice(death.exit, &self.options),
                        Some(_) | None => String::new(),
                    };
                    self.reporter.tell_death(death, &advice, &mut self.control);
                    self.tell_dead_workers(is_starved);
                    if forced {
                        self.step(Event::Forced);
                    }
                    self.step(Event::Gone { generation, exec, session });
                }
            }
        }
    }

    /// Tells of workers that were reaped in place of a monitor that is dead. The kernel has
    /// asked each of them to stop.
    fn tell_dead_workers(&mut self, is_starved: bool) {
        while let Some(worker) = self.generations.next_dead_worker() {
            let was_killed = self.supervisor.was_killed(worker.generation);
            let cause = match worker.exit.is_sigkill() && !was_killed {
                false => ExitReason::Requested,
                true if is_starved => ExitReason::Memory,
                true => ExitReason::Unknown,
            };
            self.reporter.tell_worker_death(&worker, cause);
        }
    }

    /// SIGVTALRM from the session of a generation that starts.
    fn ready_by_signal(&mut self, leader: Pid) {
        if let Some(generation) = self.generations.led_by(leader) {
            self.step(Event::Ready { generation });
        }
    }

    /// Tells the supervisor what the board of a new generation shows.
    fn check_scoreboards(&mut self) {
        if let Some(event) = self.generations.judge_attempt(&self.supervisor) {
            self.step(event);
        }
    }

    /// When there is something to do at the latest.
    fn deadline(&self) -> Option<Tick> {
        let deadlines = [
            self.supervisor.deadline(),
            self.generations.deadline(),
            health::next_check(&self.supervisor, self.now),
            self.control.deadline(),
            self.restart.deadline(self.reads.is_starting()),
            self.reads.deadline(),
            self.reporter.above.deadline(),
            self.closing.deadline(),
            self.reporter.complaints.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn add_sources<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        sources.push(Source::readable(self.wake.source()));
        self.generations.add_sources(sources);
        sources.extend(self.restart.source());
        sources.extend(self.reads.sources());
        self.control.add_sources(sources);
    }

    fn wait(&self, sources: &mut [Source<'_>], deadline: Option<Tick>, blocked: &Blocked) {
        if let Err(errno) = poll::wait_for_signals(sources, deadline, blocked) {
            self.pause_after_error("wait for events", errno, blocked);
        }
    }

    /// Leaves alone for a moment what the kernel has no memory for, or a
    /// sandbox no patience; the wake-up pipe still works.
    fn pause_after_error(&self, what: &str, errno: Errno, blocked: &Blocked) {
        log::log(Level::Error, format_args!("cannot {what}: {errno}; retrying in {BREATHER}"));
        let soon = clock::now().after(BREATHER);
        let mut wake = [Source::readable(self.wake.source())];
        let _ = poll::wait_for_signals(&mut wake, Some(soon), blocked);
    }

    /// Whether a SIGHUP says that the terminal is gone.
    fn terminal_gone(&self, pending: &PendingSignals) -> bool {
        pending.hung_up(Hangup::Kernel)
            || pending.hung_up(Hangup::Session) && self.terminal && !has_terminal()
    }

    /// Takes in what signals have come, and stops if one of them says so. What comes later is
    /// for the next turn, or for the image that takes our place. To be called before anything
    /// is made of an end that the same signal may have caused.
    fn look_for_stop(&mut self, signals: &mut TurnSignals<'_>) {
        poll::let_signals_through(signals.blocked);
        let new = signal::take();
        self.act_on_stop_signals(&new);
        signals.pending.add(&new);
    }

    /// Does what the signals say about the end: the first SIGINT stops
    /// gracefully, the second one at once.
    fn act_on_stop_signals(&mut self, pending: &PendingSignals) {
        self.interrupts = self.interrupts.saturating_add(pending.interrupts);
        let again = pending.interrupts > 0 && self.interrupts > 1;
        if pending.has(Signal::Quit) || again {
            self.step(Event::StopNow);
        } else if pending.interrupts > 0 || pending.has(Signal::Term) || self.terminal_gone(pending)
        {
            self.step(Event::Stop);
        }
    }

    /// Does what the other signals say. After a stop a reload is nothing more.
    fn act_on_signals(&mut self, pending: &PendingSignals) {
        if pending.has(Signal::Usr2) {
            self.restart(None);
        }
        let by_hangup = pending.hung_up(Hangup::Stranger) || pending.hung_up(Hangup::Session);
        if pending.has(Signal::Usr1) || by_hangup {
            self.reload(None);
        }
        // Last, so that it shows what has come of all that was asked before.
        if pending.has(Signal::Ttin) && self.now >= self.status_at {
            self.status_at = self.now.after(STATUS);
            log_status::log_status(&self.generations, &self.supervisor, self.since, self.now);
        }
    }

    /// Tells the supervisor, and does what it orders until it orders nothing more.
    fn step(&mut self, event: Event) {
        if self.begins_stop(&event) {
            self.refuse_newcomers();
        }
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let mut commands = Vec::new();
            self.supervisor.step(self.now, event, &mut commands);
            for command in commands {
                // Only a spawn has an answer, and a supervisor orders one at a time.
                next = self.act(command).or(next);
            }
        }
    }

    /// Does one thing; says what came of it if the supervisor has to know.
    fn act(&mut self, command: Command) -> Option<Event> {
        match command {
            Command::Spawn { generation } => return self.begin_start(generation),
            Command::Signal { generation, monitor, signal } => {
                self.generations.signal_monitor(generation, monitor, signal);
            }
            Command::SignalSession { generation, leader, signal } => {
                self.generations.signal_session(generation, leader, signal, self.now);
            }
            Command::Promote { generation } => {
                self.promote(generation);
                self.release();
                self.listeners.restore_backlogs();
            }
            Command::FailStart { generation, reason } => {
                self.discard(generation, Setback::FailedStart, reason);
            }
            Command::RollBack { generation, reason } => {
                self.discard(generation, Setback::Rollback, reason);
            }
            Command::Forget { generation } => {
                self.generations.forget(generation, &mut self.closing);
                self.release();
                log::log(
                    Level::Debug,
                    format_args!("generation {generation}: all processes exited"),
                );
            }
            Command::CloseListeners => self.close_listeners(),
            Command::Finish { status } => self.finish(status),
            Command::Tell(report) => self.tell(report),
        }
        None
    }

    /// Tells what the supervisor reports.
    fn tell(&mut self, report: Report) {
        if let Report::Slow(generation, took, limit) = report {
            let waits = self.generations.waits_for(generation, &self.options);
            self.reporter.tell_slow(generation, (took, limit), &waits, &mut self.control);
        }
        self.reporter.tell(report, &self.generations, &mut self.control, self.now);
        if let Report::Lingering(_) = report {
            self.fail_waiting_clients();
        }
    }

    fn promote(&mut self, generation: Generation) {
        let (running, control) = (&self.generations, &mut self.control);
        self.reporter.tell_current(generation, running, control, self.now);
        self.control.tell_count(&self.generations, &self.supervisor);
        self.generations.promote(generation);
    }

    /// The last that main does.
    fn finish(&mut self, status: u8) {
        self.finished = Some(status);
        self.reporter.tell_finished(status);
        self.generations.remove_directories();
        self.control.answer_at_exit(status);
    }

    /// A generation came to nothing: tells that, and closes what it alone had stored.
    fn discard(&mut self, generation: Generation, setback: Setback, failure: Failure) {
        let reason = self.generations.reason_of(generation, setback, failure, &self.options);
        let reason = reason.unwrap_or_else(|| self.reporter.take_reason());
        let failed = FailedGeneration { generation, setback, reason };
        self.reporter.tell_failed(&failed, &mut self.control, self.now);
        let given_up = self.listeners.discard(generation);
        self.closing.close_each(given_up);
    }

    /// Closes what the current generation does not want, if no other one is left.
    fn release(&mut self) {
        if self.generations.is_current_alone() {
            let given_up = self.listeners.release(self.generations.current());
            self.closing.close_each(given_up);
        }
    }

    /// Tells the clients that wait for anything but the end that it will not come.
    fn fail_waiting_clients(&mut self) {
        self.control.fail_waiting_clients(self.now);
        // A probe is given up now: its image would take the place of a main that
        // has ended, and at the end nothing more is told.
        self.check_probe();
    }

    /// Says that a stop was asked for, or has begun.
    fn announce_stop(&mut self) {
        self.fail_waiting_clients();
        self.reporter.above.on_stop();
    }

    /// Whether a graceful stop would begin with that.
    fn begins_stop(&self, event: &Event) -> bool {
        let is_over = || self.supervisor.serves_until().is_some_and(|until| until <= self.now);
        (matches!(event, Event::Stop) && self.supervisor.would_stop_at_once())
            || (matches!(event, Event::Timer) && !self.listeners.is_refusing && is_over())
    }

    /// No new connection is begun from here on, and the stop begins when the handshakes are
    /// over that are under way: their clients take the connections for made, and those are in
    /// no queue yet.
    fn refuse_newcomers(&mut self) {
        self.listeners.is_refusing = true;
        self.say_final();
        if self.listeners.refuse_newcomers(self.fallback()) {
            let mut commands = Vec::new();
            self.supervisor.linger(self.now, HANDSHAKE, &mut commands);
            for command in commands {
                self.act(command);
            }
            self.announce_stop();
        }
    }

    /// Every generation knows that it serves the last of the queues: those of adopted sockets
    /// outlive main.
    fn say_final(&self) {
        if !self.listeners.any_adopted() {
            self.generations.set_flag(Flags::Final);
        }
    }

    /// The least TTL is for library generations alone: only their workers undo it for what
    /// they accept.
    fn fallback(&self) -> Fallback {
        match self.options.exec() || self.generations.any_foreign(&self.supervisor) {
            true => Fallback::Nothing,
            false => Fallback::LeastTtl,
        }
    }

    /// The final stop, before any process is told: no new connection comes into a queue
    /// of ours, and every generation knows that it serves the last of it.
    fn close_listeners(&mut self) {
        self.reporter.tell_stopping();
        self.announce_stop();
        // First, so that what follows is about the last of them.
        self.listeners.is_closed = true;
        self.store_above();
        self.say_final();
        let (given_up, refused) = self.listeners.close_all(self.fallback());
        listening_socket::warn_of_newcomers(refused);
        self.closing.close_each(given_up);
        // None of them is open here any more when the generations are told.
        self.closing.finish();
    }
}

fn complain(role: &str, pid: Pid, sent: sys::SysResult<()>) {
    if let Err(errno) = sent {
        log::log(Level::Error, format_args!("cannot signal {role} {pid}: {errno}"));
    }
}
