//! `--exec`: the monitor of a pool of programs that know nothing of this library.
//!
//! Main starts its own image as this monitor, with the command of each worker as
//! its words. It is a monitor like an application's, with the same pool and the
//! same loop; only its workers are no copies of it but programs of their own.
//! Each is given the listening sockets and a notify socket, and is ready when it
//! says so there, or when it has lived as long as main says.
//!
//! What comes over a notify socket is bounded, and counts for the worker alone
//! that the socket was made for: it is closed when that one is reaped.

use crate::environment::add;
use crate::error::{Result, cannot};
use crate::exec_result::{self, ExecResult};
use crate::monitor::monitor_loop::{MonitorLoop, PoolKind};
use crate::monitor::pool::{Authority, Event, Group, PoolRules, StopSender};
use crate::monitor::program_socket::{ProgramSocket, ProgramSockets};
use crate::printable::Quoted;
use crate::protocol::{fdnames, sd_notify};
use crate::shared::inbox::Received;
use crate::shared::inherited::PoolSettings;
use crate::shared::listener::given;
use crate::shared::listening_socket::Fallback;
use crate::shared::scoreboard::RowRef;
use crate::sys::exec::{DevNull, ExecOutcome, ExecStatus, Program};
use crate::sys::fd::Fd;
use crate::sys::message::Message;
use crate::sys::poll::Source;
use crate::sys::release::Release;
use crate::sys::signal::{self, OriginalDispositions};
use crate::sys::{self, env, process};
use crate::types::{Activity, Level, Pid, Signal, Slot, StopSignal, Tick};
use crate::{log, text};
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem;

/// The most datagrams of one worker that are read in one turn.
const MOST: usize = 64;

/// The workers of a pool, which are programs.
pub(super) struct Programs {
    command: Vec<CString>,
    /// What each finds in its environment; behind `shared`, what one alone does.
    environment: Vec<CString>,
    shared: usize,
    sockets: Vec<Arc<Fd>>,
    /// The file of the command, and the directory, when this generation started.
    release: Option<Release>,
    /// Whether it was said that they are others by now.
    said_moved: bool,
    /// Whether it was said that a descriptor that was sent hangs its closer.
    said_hang: bool,
    /// What main was started to ignore.
    inherited: OriginalDispositions,
    /// The first signal of a stop.
    stop_signal: StopSignal,
    notify: ProgramSockets,
    /// Those that were not reaped.
    running: Vec<ProgramWorker>,
    /// What to leave with because there is nothing to run.
    unusable: Option<u8>,
}

/// One of them.
struct ProgramWorker {
    slot: Slot,
    pid: Pid,
    notify: ProgramSocket,
    /// Open until it is known whether the program runs.
    exec_status: Option<ExecStatus>,
    /// Why it does not.
    reason: Option<String>,
}

/// Runs the monitor of a pool of programs, if main has started this process for
/// that, and returns its exit status: what the panzer program does first. The
/// `words` are this program's name and the command. Every signal is held back.
pub(crate) fn program(words: &[&CStr], inherited: OriginalDispositions) -> Option<u8> {
    env::var(c"PANZER_MAIN")?;
    env::take(c"PANZER_EXEC")?;
    let notify = ProgramSockets::beside(env::var(c"NOTIFY_SOCKET").as_deref());
    let sockets = given(|given| given.inherited.main.is_some().then(|| given.claim_all()));
    // Main is gone already, which was said.
    let Some(sockets) = sockets else { return Some(1) };
    let names = sockets.iter().map(|(_, name)| name.as_str());
    let mut environment = env::all();
    if !sockets.is_empty() {
        add(&mut environment, "LISTEN_FDS", &sockets.len());
        add(&mut environment, "LISTEN_FDNAMES", &fdnames::join(names));
    }
    let command: Vec<_> = words.iter().skip(1).map(|&word| word.to_owned()).collect();
    let (settings, authority) = super::above();
    let programs = Programs {
        // A file server that is away delays no serving process yet.
        release: Release::open(&command, &environment, env::var(c"PWD")),
        said_moved: false,
        said_hang: false,
        command,
        shared: environment.len(),
        environment,
        sockets: sockets.into_iter().map(|(fd, _)| fd).collect(),
        inherited,
        stop_signal: settings.stop_signal.unwrap_or(StopSignal::Term),
        notify,
        running: Vec::new(),
        unusable: None,
    };
    let rules = super::rules(settings, PoolSettings::default());
    Some(run(programs, rules, authority).unwrap_or_else(|error| {
        log::log(Level::Error, format_args!("monitor: {error}"));
        1
    }))
}

fn run(programs: Programs, rules: PoolRules, authority: Authority) -> Result<u8> {
    // A program that takes its parent for main may say by it that it is ready.
    signal::ignore(Signal::Vtalrm);
    let mut pool = MonitorLoop::new(programs, rules, authority)?;
    process::adopt_orphans().map_err(cannot("become the reaper of orphaned programs"))?;
    let ended = pool.run();
    for worker in mem::take(&mut pool.kind.running) {
        pool.kind.notify.remove(worker.notify);
    }
    pool.kind.notify.closing.finish();
    pool.kind.unusable.map_or(ended.map(|()| 0), Ok)
}

impl PoolKind for Programs {
    const FALLBACK: Fallback = Fallback::Nothing;
    const ADOPTS: bool = true;

    fn make(pool: &mut MonitorLoop<Self>, slot: Slot, row: RowRef) -> Event {
        match pool.start(slot) {
            Ok(pid) => {
                pool.scoreboard.begin_worker(row, sys::clock::now());
                pool.scoreboard.counts_nothing(row);
                Event::Forked { slot, pid }
            }
            Err(error) => {
                log::log(Level::Error, format_args!("worker {slot}: start failed: {error}"));
                Event::ForkFailed { slot }
            }
        }
    }

    fn signal(pool: &MonitorLoop<Self>, pid: Pid, signal: Signal) {
        // Not reaped, so it is ours with its group; one that is dead is as good.
        let _ = signal::send_program(pid, pool.kind.in_place_of(signal));
    }

    fn group(pool: &MonitorLoop<Self>, pid: Pid) -> Group {
        pool.left_in_group(pid)
    }

    fn signal_group(pool: &MonitorLoop<Self>, pid: Pid, signal: Signal) {
        pool.signal_rest(pid, pool.kind.in_place_of(signal));
    }

    fn add_sources<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        for worker in &self.running {
            sources.extend(worker.notify.inbox.source());
            sources.extend(
                worker.exec_status.iter().map(|exec_status| Source::readable(exec_status.source())),
            );
        }
    }

    fn deadline(&self) -> Option<Tick> {
        let inboxes = self.running.iter().filter_map(|worker| worker.notify.inbox.deadline());
        inboxes.chain(self.notify.closing.deadline()).min()
    }

    fn note_orphan(&mut self, pid: Pid) {
        self.notify.closing.note_death(pid);
        self.running.iter_mut().for_each(|worker| worker.notify.inbox.note_death(pid));
    }

    fn take_notifications(pool: &mut MonitorLoop<Self>, now: Tick) {
        // What is received removes no entry, and a new one is added at the end.
        for place in 0..pool.kind.running.len() {
            pool.poll_exec_status(now, place);
            pool.take_from(now, place);
        }
        pool.kind.notify.closing.turn(now);
    }

    fn note(
        pool: &mut MonitorLoop<Self>,
        now: Tick,
        pid: Pid,
        activity: Activity,
    ) -> Option<String> {
        let running = &mut pool.kind.running;
        let place = running.iter().position(|worker| worker.pid == pid)?;
        if activity == Activity::Empty {
            let worker = running.swap_remove(place);
            pool.kind.notify.remove(worker.notify);
            return worker.reason;
        }
        if let Some(owner) = pool.rows.process(pid) {
            pool.scoreboard.enter(owner.row, activity, now);
        }
        None
    }

    /// Whether a program is busy or idle is not known.
    fn shown(activity: Activity) -> &'static str {
        match activity {
            Activity::Idle | Activity::Busy => "ready",
            Activity::Empty | Activity::Starting | Activity::Draining => activity.name(),
        }
    }
}

impl Programs {
    /// What to send in place of `signal`.
    fn in_place_of(&self, signal: Signal) -> Signal {
        if signal == Signal::Term { self.stop_signal.signal() } else { signal }
    }
}

impl MonitorLoop<Programs> {
    /// Starts the program of a slot, with a notify socket of its own.
    fn start(&mut self, slot: Slot) -> Result<Pid> {
        let (notify, name) = self.kind.notify.make()?;
        match self.spawn(slot, &name) {
            Ok((pid, exec_status)) => {
                let exec_status = Some(exec_status);
                self.kind.running.push(ProgramWorker {
                    slot,
                    pid,
                    notify,
                    exec_status,
                    reason: None,
                });
                Ok(pid)
            }
            Err(error) => {
                self.kind.notify.remove(notify);
                Err(error)
            }
        }
    }

    fn spawn(&mut self, slot: Slot, notify: &CStr) -> Result<(Pid, ExecStatus)> {
        let null = DevNull::open().map_err(cannot("open /dev/null"))?;
        let programs = &mut self.kind;
        let environment = &mut programs.environment;
        environment.truncate(programs.shared);
        environment.extend(CString::new([b"NOTIFY_SOCKET=", notify.to_bytes()].concat()));
        add(environment, "PANZER_GENERATION", &self.generation);
        add(environment, "PANZER_SLOT", &slot);
        let sockets: Vec<_> = programs.sockets.iter().map(|fd| fd.borrow()).collect();
        let blocked = signal::block_all();
        let mut program = Program::new(&programs.command, environment, c".").in_our_session();
        program = program.dies_by(programs.stop_signal.signal());
        if let Some(release) = &programs.release {
            program = program.of(release);
        }
        program.spawn(&null, &sockets, programs.inherited, None, &blocked).map_err(cannot("fork"))
    }

    /// Reads whether the program of a worker runs, if that is known by now.
    fn poll_exec_status(&mut self, now: Tick, place: usize) {
        let programs = &mut self.kind;
        let Some(worker) = programs.running.get_mut(place) else { return };
        let (slot, pid) = (worker.slot, worker.pid);
        let (stage, errno) = match worker.exec_status.as_ref().map(ExecStatus::outcome) {
            None | Some(ExecOutcome::Open) => return,
            Some(ExecOutcome::Moved) => {
                self.say_moved();
                return self.poll_exec_status(now, place);
            }
            Some(ExecOutcome::Running) => {
                worker.exec_status = None;
                return self.step(now, Event::Runs { slot, pid });
            }
            Some(ExecOutcome::Failed(stage, errno)) => (stage, errno),
        };
        worker.exec_status = None;
        let command = programs.command.first().map_or(c"", |command| command);
        let reason = exec_result::explain(stage, errno, command, c".", c"");
        let status = match ExecResult::of(stage, errno) {
            ExecResult::NotFound => 127,
            ExecResult::NotExecutable => 126,
            ExecResult::Ran | ExecResult::Retryable => 0,
        };
        if status > 0 && !self.pool.was_ready() && programs.unusable.is_none() {
            programs.unusable = Some(status);
            let shown = u32::from(status);
            let words = text::compose(format_args!("X_PANZER=unusable {shown} {reason}"));
            given(|given| given.inherited.say(words.as_bytes()));
            self.step(now, Event::StopNow { by: StopSender::Stranger });
        }
        if let Some(worker) = self.kind.running.get_mut(place) {
            worker.reason = Some(reason);
        }
    }

    /// A release that is not the one of this generation is there.
    fn say_moved(&mut self) {
        if mem::replace(&mut self.kind.said_moved, true) {
            return;
        }
        let command = self.kind.command.first().map_or(&b""[..], |command| command.to_bytes());
        let (generation, command) = (self.generation, Quoted(command));
        log::log(
            Level::Warn,
            format_args!(
                "generation {generation}: {command} or its directory was replaced after the \
                 start; reload to run the new one"
            ),
        );
    }

    /// A descriptor that a program was sent hangs the child that closes it.
    fn say_receiver_hangs(&mut self, slot: Slot, receiver: Pid) {
        if !mem::replace(&mut self.kind.said_hang, true) {
            log::log(
                Level::Warn,
                format_args!(
                    "worker {slot}: closing a descriptor sent to its NOTIFY_SOCKET hangs, no \
                     longer waiting for child {receiver}"
                ),
            );
        }
    }

    /// Takes in what a worker says.
    fn take_from(&mut self, now: Tick, place: usize) {
        for _ in 0..MOST {
            let Some(worker) = self.kind.running.get_mut(place) else { return };
            let (slot, pid) = (worker.slot, worker.pid);
            // A descriptor is closed in the child that has received it.
            let Message { bytes, sender, cut, .. } = match worker.notify.inbox.next(now, |_| false)
            {
                Received::Message(message) => message,
                Received::ReceiverHangs(receiver) => {
                    return self.say_receiver_hangs(slot, receiver);
                }
                Received::Nothing | Received::Failed(_) => return,
            };
            let trusted = sender.is_some_and(|sender| [0, process::user()].contains(&sender.user));
            if trusted && !cut && sd_notify::parse(&bytes).ready {
                self.step(now, Event::Ready { slot, pid });
            }
        }
    }
}
