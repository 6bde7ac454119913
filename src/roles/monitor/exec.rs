//! `--exec`: the monitor of a pool of programs that know nothing of this library.
//!
//! Main starts its own image as this monitor, with the command of each worker as
//! its words. It is a monitor like an application's, with the same plan and the
//! same loop; only its workers are no copies of it but programs of their own.
//! Each is given the listening sockets and a notify socket, and is ready when it
//! says so there, or when it has lived as long as main says.
//!
//! What comes over a notify socket is bounded, and counts for the worker alone
//! that the socket was made for: it is closed when that one is reaped.

use super::fork::GRACE;
use super::keeper;
use super::pool::{Kind, Running};
use crate::error::Result;
use crate::keep::board::Desk;
use crate::keep::listeners;
use crate::keep::log;
use crate::plan::pool::{Authority, Event, Rules, Sender};
use crate::plan::service::Exec;
use crate::roles::listen::given;
use crate::roles::main::{add, class, why};
use crate::sys::exec::{Fate, Outcome, Program};
use crate::sys::fd::Fd;
use crate::sys::message::{self, Message};
use crate::sys::poll::Source;
use crate::sys::signal::{self, Inherited};
use crate::sys::{self, env, process, socket};
use crate::text;
use crate::types::{Activity, Backoff, Level, Millis, Pid, Slot, Tick};
use crate::words::{fdname, notify};
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

/// The most datagrams of one worker that are read in one turn.
const MOST: usize = 64;

/// The workers of a pool, which are programs.
pub(super) struct Programs {
    command: Vec<CString>,
    /// What each finds in its environment; behind `shared`, what one alone does.
    environment: Vec<CString>,
    shared: usize,
    sockets: Vec<Fd>,
    /// What main was started to ignore.
    inherited: Inherited,
    /// Those that were not reaped.
    running: Vec<Worker>,
    /// What to leave with because there is nothing to run.
    unusable: Option<u8>,
}

/// One of them.
struct Worker {
    slot: Slot,
    pid: Pid,
    notify: Fd,
    /// Open until it is known whether the program runs.
    fate: Option<Fate>,
    /// Why it does not.
    why: Option<String>,
}

/// Runs the monitor of a pool of programs, if main has started this process for
/// that, and returns its exit status: what the panzer program does first. The
/// `words` are this program's name and the command. Every signal is held back.
pub(in crate::roles) fn program(words: &[&CStr], inherited: Inherited) -> Option<u8> {
    env::var(c"PANZER_MAIN")?;
    env::take(c"PANZER_EXEC")?;
    let sockets = given(|given| given.inherited.main.is_some().then(|| given.claim_all()));
    // Main is gone already, which was said.
    let Some(sockets) = sockets else { return Some(1) };
    let names = sockets.iter().map(|(_, name)| name.as_str());
    let mut environment = env::all();
    add(&mut environment, "LISTEN_FDS", &sockets.len());
    add(&mut environment, "LISTEN_FDNAMES", &fdname::join(names));
    let programs = Programs {
        command: words.iter().skip(1).map(|&word| word.to_owned()).collect(),
        shared: environment.len(),
        environment,
        sockets: sockets.into_iter().map(|(fd, _)| fd).collect(),
        inherited,
        running: Vec::new(),
        unusable: None,
    };
    let (settings, authority) = super::above();
    let rules = super::rules(settings, None, super::TIMEOUT, Backoff::USUAL);
    Some(run(programs, rules, authority).unwrap_or_else(|error| {
        log::log(Level::Error, format_args!("{error}"));
        1
    }))
}

fn run(programs: Programs, rules: Rules, authority: Authority) -> Result<u8> {
    let mut pool = Running::new(programs, rules, authority)?;
    let _keeper = pool.start_keeper();
    let ended = pool.run();
    pool.kind.unusable.map_or(ended.map(|()| 0), Ok)
}

impl Kind for Programs {
    fn make(pool: &mut Running<Self>, slot: Slot, heir: bool) -> Event {
        match pool.start(slot) {
            Ok(pid) => {
                let desk = if heir { Desk::of_heir(slot, pid) } else { Desk::of(slot) };
                pool.sheet.begin_worker(desk, sys::clock::now());
                pool.sheet.counts_nothing(desk);
                Event::Forked { slot, pid }
            }
            Err(errno) => {
                log::log(Level::Error, format_args!("cannot start worker {slot}: {errno}"));
                Event::ForkFailed { slot }
            }
        }
    }

    fn add_sources<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        for worker in &self.running {
            sources.push(Source::readable(worker.notify.borrow()));
            sources.extend(worker.fate.iter().map(|fate| Source::readable(fate.source())));
        }
    }

    fn hear(pool: &mut Running<Self>, now: Tick) {
        // What is heard removes nobody, and whoever is started comes last.
        for place in 0..pool.kind.running.len() {
            pool.learn_fate(now, place);
            pool.hear_one(now, place);
        }
    }

    fn note(pool: &mut Running<Self>, now: Tick, pid: Pid, activity: Activity) -> Option<String> {
        let running = &mut pool.kind.running;
        let place = running.iter().position(|worker| worker.pid == pid)?;
        if activity == Activity::Empty {
            return running.swap_remove(place).why;
        }
        pool.sheet.enter(Desk::of_heir(running[place].slot, pid), activity, now);
        None
    }
}

impl Running<Programs> {
    /// Has somebody see to the programs when main and monitor are both killed, as
    /// long as what is returned lives. Without it they hear of that all the same.
    fn start_keeper(&self) -> Option<Fd> {
        let lifeline = self.above.as_ref()?.lifeline.borrow();
        let grace = Millis(self.rules.timeout.0.saturating_add(GRACE.0));
        let started = keeper::start(self.sheet, lifeline, grace);
        if let Err(errno) = started {
            log::log(Level::Warn, format_args!("nobody watches over the programs: {errno}"));
        }
        started.ok()
    }

    /// Starts the program of a slot.
    fn start(&mut self, slot: Slot) -> sys::Result<Pid> {
        let (notify, name) = socket::notify_socket()?;
        let programs = &mut self.kind;
        let environment = &mut programs.environment;
        environment.truncate(programs.shared);
        environment.extend(CString::new([b"NOTIFY_SOCKET=@", &*name].concat()));
        add(environment, "PANZER_GENERATION", &self.generation);
        add(environment, "PANZER_SLOT", &slot);
        let sockets: Vec<_> = programs.sockets.iter().map(Fd::borrow).collect();
        let blocked = signal::block_all();
        let (pid, fate) = Program::new(&programs.command, environment, c".").beside_us().spawn(
            &sockets,
            programs.inherited,
            None,
            &blocked,
        )?;
        drop(blocked);
        programs.running.push(Worker { slot, pid, notify, fate: Some(fate), why: None });
        Ok(pid)
    }

    /// Reads whether the program of a worker runs, if that is known by now.
    fn learn_fate(&mut self, now: Tick, place: usize) {
        let programs = &mut self.kind;
        let Some(worker) = programs.running.get_mut(place) else { return };
        let (slot, pid) = (worker.slot, worker.pid);
        let (stage, errno) = match worker.fate.as_ref().map(Fate::outcome) {
            None | Some(Outcome::Open) => return,
            Some(Outcome::Running) => {
                worker.fate = None;
                return self.step(now, Event::Runs { slot, pid });
            }
            Some(Outcome::Failed(stage, errno)) => (stage, errno),
        };
        worker.fate = None;
        let command = programs.command.first().map_or(c"", |command| command);
        let why = why(stage, errno, command, c".", c"");
        let status = match class(stage, errno) {
            Exec::Missing => 127,
            Exec::Unusable => 126,
            Exec::Done | Exec::Hindered => 0,
        };
        if status > 0 && !self.plan.was_ready() && programs.unusable.is_none() {
            programs.unusable = Some(status);
            let shown = u32::from(status);
            let words = text::compose(format_args!("X_PANZER=unusable {shown} {why}"));
            given(|given| given.inherited.say(words.as_bytes(), None));
            self.step(now, Event::StopNow { by: Sender::Stranger });
        }
        if let Some(worker) = self.kind.running.get_mut(place) {
            worker.why = Some(why);
        }
    }

    /// Takes in what a worker says.
    fn hear_one(&mut self, now: Tick, place: usize) {
        for _ in 0..MOST {
            let Some(worker) = self.kind.running.get(place) else { return };
            let (slot, pid) = (worker.slot, worker.pid);
            let Ok(Message { bytes, sender, descriptors, cut }) =
                message::receive(worker.notify.borrow())
            else {
                return;
            };
            listeners::dispose_all(descriptors);
            let trusted = sender.is_some_and(|sender| [0, process::user()].contains(&sender.user));
            if trusted && !cut && notify::parse(&bytes).ready {
                self.step(now, Event::Ready { slot, pid });
            }
        }
    }
}
