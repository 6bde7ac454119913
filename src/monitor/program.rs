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
//!
//! All notify sockets, and the pipes that say whether a program was executed, stand in
//! one epoll set, which names the workers that there is something to hear of: a turn
//! costs what has happened, however many workers there are. A worker whose inbox has a
//! child at work, or that there was no room for in the set, stands
//! [apart](Programs::apart).

use crate::environment::add;
use crate::error::{Result, cannot};
use crate::exec_result::{self, ExecResult};
use crate::monitor::monitor_loop::{MonitorLoop, PoolKind, cannot_set_up};
use crate::monitor::pool::{Authority, Event, FORKS_AT_ONCE, Group, PoolRules, StopSender};
use crate::monitor::program_socket::{ProgramSocket, ProgramSockets};
use crate::printable::Quoted;
use crate::protocol::{fdnames, sd_notify};
use crate::shared::inbox::Received;
use crate::shared::inherited::PoolSettings;
use crate::shared::listener::given;
use crate::shared::listening_socket::Fallback;
use crate::shared::scoreboard::RowRef;
use crate::sys::epoll::{self, Epoll};
use crate::sys::exec::{ExecOutcome, ExecStatus, Launcher, Program};
use crate::sys::fd::Fd;
use crate::sys::message::Message;
use crate::sys::poll::Source;
use crate::sys::release::Release;
use crate::sys::signal::{self, OriginalDispositions};
use crate::sys::{self, env, process};
use crate::types::{Activity, Level, Pid, Signal, Slot, StopSignal, Tick};
use crate::{log, text};
use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem;

/// From so many programs on the next one is forked without their descriptors. Where the
/// processors are busy that start waits for one three times and not once.
const MANY: usize = 2_048;
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
    /// Those that were not reaped, by their pids.
    #[expect(clippy::vec_box, reason = "a death at 10,000 workers would move a megabyte")]
    running: Vec<Box<ProgramWorker>>,
    /// What there is to hear of them, by their pids.
    heard: Epoll,
    /// Those that are waited for and asked one by one.
    apart: Vec<Pid>,
    launcher: Option<Launcher>,
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
    let ended = Epoll::new().map_err(cannot_set_up).and_then(|heard| {
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
            heard,
            apart: Vec::new(),
            launcher: None,
            unusable: None,
        };
        run(programs, super::rules(settings, PoolSettings::default()), authority)
    });
    Some(ended.unwrap_or_else(|error| {
        log::log(Level::Error, format_args!("monitor: {error}"));
        1
    }))
}

fn run(programs: Programs, rules: PoolRules, authority: Authority) -> Result<u8> {
    // A program that takes its parent for main may say by it that it is ready.
    signal::ignore(Signal::Vtalrm);
    let mut pool = MonitorLoop::new(programs, rules, authority)?;
    process::adopt_orphans().map_err(cannot("become the reaper of orphaned programs"))?;
    // Before the first worker: it is to have a low number.
    pool.kind.launcher = Launcher::new(pool.dev_null).ok();
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

    fn make(
        pool: &mut MonitorLoop<Self>,
        places: &[(Slot, RowRef)],
    ) -> [Option<Pid>; FORKS_AT_ONCE] {
        let mut made = [None; FORKS_AT_ONCE];
        for (&(slot, row), made) in places.iter().zip(&mut made) {
            match pool.start(slot) {
                Ok(pid) => {
                    pool.scoreboard.begin_worker(row, sys::clock::now());
                    pool.scoreboard.counts_nothing(row);
                    *made = Some(pid);
                }
                Err(error) => {
                    log::log(Level::Error, format_args!("worker {slot}: start failed: {error}"));
                }
            }
        }
        made
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
        sources.push(Source::readable(self.heard.descriptor()));
        for worker in self.apart() {
            sources.extend(worker.notify.inbox.source());
            sources.extend(
                worker.exec_status.iter().map(|exec_status| Source::readable(exec_status.source())),
            );
        }
    }

    fn deadline(&self) -> Option<Tick> {
        let inboxes = self.apart().filter_map(|worker| worker.notify.inbox.deadline());
        inboxes.chain(self.notify.closing.deadline()).min()
    }

    fn note_orphan(&mut self, pid: Pid) {
        self.notify.closing.note_death(pid);
        for &apart in &self.apart {
            if let Ok(place) = place_of(&self.running, apart) {
                self.running[place].notify.inbox.note_death(pid);
            }
        }
    }

    fn take_notifications(pool: &mut MonitorLoop<Self>, now: Tick) {
        for pid in pool.kind.apart.clone() {
            pool.hear(now, pid);
        }
        // Before the dead are reaped all is heard that was said by now: a worker that says
        // something all the time has no second turn before each of the others had one.
        let mut numbers = [0; epoll::AT_ONCE];
        for _ in 0..=2 * pool.kind.running.len() / epoll::AT_ONCE {
            let count = pool.kind.heard.ready(&mut numbers);
            for &number in numbers.iter().take(count) {
                if let Some(pid) = Pid::new(number as i32) {
                    pool.hear(now, pid);
                }
            }
            if count < epoll::AT_ONCE {
                break;
            }
        }
        pool.kind.notify.closing.turn(now);
    }

    fn take_last_words(pool: &mut MonitorLoop<Self>, now: Tick, pid: Pid) {
        let mut numbers = [0; epoll::AT_ONCE];
        let count = pool.kind.heard.ready(&mut numbers);
        let is_named = numbers.iter().take(count).any(|&number| number == number_of(pid));
        // Where as many are ready as are named at once, it may be one of the others.
        if is_named || count == epoll::AT_ONCE || pool.kind.apart.contains(&pid) {
            pool.hear(now, pid);
        }
    }

    fn note(
        pool: &mut MonitorLoop<Self>,
        now: Tick,
        pid: Pid,
        activity: Activity,
    ) -> Option<String> {
        if activity == Activity::Empty {
            return pool.kind.forget(pid);
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

/// Where the worker `pid` stands, or would.
fn place_of(running: &[Box<ProgramWorker>], pid: Pid) -> core::result::Result<usize, usize> {
    running.binary_search_by_key(&pid, |worker| worker.pid)
}

impl Programs {
    /// What to send in place of `signal`.
    fn in_place_of(&self, signal: Signal) -> Signal {
        if signal == Signal::Term { self.stop_signal.signal() } else { signal }
    }

    fn worker(&mut self, pid: Pid) -> Option<&mut ProgramWorker> {
        let place = place_of(&self.running, pid).ok()?;
        self.running.get_mut(place).map(|worker| &mut **worker)
    }

    /// Those that stand apart: as a rule there are none.
    fn apart(&self) -> impl Iterator<Item = &ProgramWorker> {
        let place = |pid: &Pid| place_of(&self.running, *pid).ok();
        self.apart.iter().filter_map(place).map(|place| &*self.running[place])
    }

    /// A worker was started, of which there is something to hear from now on.
    fn remember(&mut self, worker: ProgramWorker) {
        let (pid, exec_status) = (worker.pid, worker.exec_status.as_ref());
        let number = number_of(pid);
        let is_heard = self.heard.add_as(worker.notify.inbox.socket(), number).is_ok()
            && exec_status.is_none_or(|status| self.heard.add_as(status.source(), number).is_ok());
        if !is_heard {
            self.apart.push(pid);
        }
        let place = place_of(&self.running, pid).unwrap_or_else(|place| place);
        self.running.insert(place, Box::new(worker));
    }

    /// A worker was reaped; says why it was none, if that is known.
    fn forget(&mut self, pid: Pid) -> Option<String> {
        let worker = self.running.remove(place_of(&self.running, pid).ok()?);
        self.apart.retain(|apart| *apart != pid);
        // A child that was forked meanwhile has a copy of each for a moment.
        self.heard.remove(worker.notify.inbox.socket());
        if let Some(exec_status) = &worker.exec_status {
            self.heard.remove(exec_status.source());
        }
        self.notify.remove(worker.notify);
        worker.reason
    }

    /// It is known whether the program of a worker runs.
    fn close_exec_status(&mut self, pid: Pid) {
        let known = self.worker(pid).and_then(|worker| worker.exec_status.take());
        if let Some(exec_status) = known {
            self.heard.remove(exec_status.source());
        }
    }

    /// Has a worker stand apart as long as it has to.
    fn arrange(&mut self, pid: Pid) {
        let Ok(place) = place_of(&self.running, pid) else { return };
        let worker = &self.running[place];
        let inbox = &worker.notify.inbox;
        let is_apart = self.apart.contains(&pid);
        if !inbox.is_at_rest() && !is_apart {
            self.heard.remove(inbox.socket());
            self.apart.push(pid);
        } else if inbox.is_at_rest() && is_apart && worker.exec_status.is_none() {
            // It is in already, or there is no room for it: then it stays.
            self.heard.remove(inbox.socket());
            if self.heard.add_as(inbox.socket(), number_of(pid)).is_ok() {
                self.apart.retain(|apart| *apart != pid);
            }
        }
    }
}

/// What stands for the worker `pid` among those that are heard.
fn number_of(pid: Pid) -> u64 {
    u64::from(pid.raw().cast_unsigned())
}

impl MonitorLoop<Programs> {
    /// Starts the program of a slot, with a notify socket of its own.
    fn start(&mut self, slot: Slot) -> Result<Pid> {
        let (notify, name) = self.kind.notify.make()?;
        match self.spawn(slot, &name) {
            Ok((pid, exec_status)) => {
                let exec_status = Some(exec_status);
                let worker = ProgramWorker { slot, pid, notify, exec_status, reason: None };
                self.kind.remember(worker);
                Ok(pid)
            }
            Err(error) => {
                self.kind.notify.remove(notify);
                Err(error)
            }
        }
    }

    fn spawn(&mut self, slot: Slot, notify: &CStr) -> Result<(Pid, ExecStatus)> {
        let programs = &mut self.kind;
        let environment = &mut programs.environment;
        environment.truncate(programs.shared);
        environment.extend(CString::new([b"NOTIFY_SOCKET=", notify.to_bytes()].concat()));
        add(environment, "PANZER_GENERATION", &self.generation);
        add(environment, "PANZER_SLOT", &slot);
        let sockets: Vec<_> = programs.sockets.iter().map(|fd| fd.borrow()).collect();
        let has_many = programs.running.len() >= MANY;
        let blocked = signal::block_all();
        let mut program = Program::new(&programs.command, environment, c".").in_our_session();
        program = program.dies_by(programs.stop_signal.signal());
        if let Some(release) = &programs.release {
            program = program.of(release);
        }
        program
            .spawn(
                self.dev_null,
                &sockets,
                programs.inherited,
                None,
                programs.launcher.as_mut().filter(|_| has_many),
                &blocked,
            )
            .map_err(cannot("fork"))
    }

    /// Takes in all that there is to hear of a worker.
    fn hear(&mut self, now: Tick, pid: Pid) {
        self.poll_exec_status(now, pid);
        self.take_from(now, pid);
        self.kind.arrange(pid);
    }

    /// Reads whether the program of a worker runs, if that is known by now.
    fn poll_exec_status(&mut self, now: Tick, pid: Pid) {
        let Some(worker) = self.kind.worker(pid) else { return };
        let slot = worker.slot;
        let outcome = worker.exec_status.as_ref().map(ExecStatus::outcome);
        let (stage, errno) = match outcome {
            None | Some(ExecOutcome::Open) => return,
            Some(ExecOutcome::Moved) => {
                self.say_moved();
                return self.poll_exec_status(now, pid);
            }
            Some(ExecOutcome::Running) => {
                self.kind.close_exec_status(pid);
                return self.step(now, Event::Runs { slot, pid });
            }
            Some(ExecOutcome::Failed(stage, errno)) => (stage, errno),
        };
        self.kind.close_exec_status(pid);
        let programs = &mut self.kind;
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
        if let Some(worker) = self.kind.worker(pid) {
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
    fn take_from(&mut self, now: Tick, pid: Pid) {
        for _ in 0..MOST {
            let Some(worker) = self.kind.worker(pid) else { return };
            let slot = worker.slot;
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
