//! The process under test, its events and its log.
//!
//! Its events come through a pipe that only main has open: when that ends, main
//! has exited. Its log comes through a pipe that every process of the tree has as
//! standard error: when that ends, all of them have exited and none was left.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use panzer::Pid;
use panzer::sys::{Signal, signal};

use super::event::Event;
use super::files::TempDir;
use super::stream::{NotFound, Stream};
use super::{TIMEOUT, procfs, spawn_lock};

/// Main may leave a status request unanswered that comes sooner than this after the last.
const AGAIN: Duration = Duration::from_millis(150);

/// A panzer that was started and is always ended.
pub struct Panzer {
    child: Child,
    events: Stream<Event>,
    log: Stream<String>,
    /// An environment entry by which all its processes are found.
    mark: String,
    /// The directory that it was started in, if that was made for it.
    _home: Option<TempDir>,
}

/// How it ended: a status, or a signal's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this.
    Status(i32),
    /// This killed it.
    Signal(i32),
}

/// The last lines, of which the rest is more of the same.
fn tail(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(60)..].join("\n  ")
}

/// Signals a process that is known to be alive, or to be a child that was not
/// reaped yet.
pub fn send(pid: u32, signal: Signal) {
    let pid = Pid::new(pid.cast_signed()).expect("a process has a positive number");
    signal::send(pid, signal).expect("it may be signalled");
}

/// Stops a process with a signal that Panzer itself never sends, and waits
/// until it has stopped: until then it may take one more connection. One that
/// is traced stops for its tracer.
pub fn stop_process(pid: u32) {
    send_other(pid, "STOP");
    let stops = procfs::until(|| matches!(procfs::state(pid), Some('T' | 't' | 'Z')));
    assert!(stops, "{pid} does not stop");
}

/// Lets a stopped process go on.
pub fn continue_process(pid: u32) {
    send_other(pid, "CONT");
}

/// Lets stopped processes go on, one after the other in this order, without one more
/// process for each.
pub fn continue_all(pids: &[u32]) {
    send_all(pids, "CONT");
}

fn send_other(pid: u32, name: &str) {
    send_all(&[pid], name);
}

fn send_all(pids: &[u32], name: &str) {
    let _lock = spawn_lock();
    let pids = pids.iter().map(ToString::to_string);
    let sent = Command::new("kill").args(["-s", name]).args(pids.clone()).status();
    assert!(sent.expect("kill is there").success(), "SIG{name} to {:?}", pids.collect::<Vec<_>>());
}

impl Panzer {
    /// Takes ownership of a process with these two streams, and of its directory
    /// if that was made for it.
    pub fn new(
        child: Child,
        events: Stream<Event>,
        log: Stream<String>,
        mark: String,
        home: Option<TempDir>,
    ) -> Self {
        Self { child, events, log, mark, _home: home }
    }

    /// Main's pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Signals main.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for the event `name` of a generation, skipping all others.
    pub fn expect(&mut self, name: &str, generation: u32) -> Event {
        let description = format!("event {name} of generation {generation}");
        self.expect_event(&description, |event| event.is(name, generation))
    }

    /// Waits for an event that `matches` accepts, skipping all others.
    pub fn expect_event(&mut self, description: &str, matches: impl Fn(&Event) -> bool) -> Event {
        match self.events.find(matches) {
            Ok(event) => event.clone(),
            Err(nothing) => self.fail(&format!("no {description}: {nothing:?}")),
        }
    }

    /// Waits for a log line that contains `text`, skipping all others.
    pub fn expect_line(&mut self, text: &str) -> String {
        match self.log.find(|line| line.contains(text)) {
            Ok(line) => line.clone(),
            Err(nothing) => self.fail(&format!("no line {text:?}: {nothing:?}")),
        }
    }

    /// Waits until the first generation is current; false if main exits before.
    pub fn starts_serving(&mut self) -> bool {
        match self.events.find(|event| event.is("current", 1)) {
            Ok(_) => true,
            Err(NotFound::Ended) => false,
            Err(NotFound::Late) => self.fail("it neither serves nor ends"),
        }
    }

    /// Waits for the next line in which the fixture logs its address.
    pub fn expect_address(&mut self) -> SocketAddr {
        let line = self.expect_line("listening on ");
        let (_, address) = line.split_once("listening on ").expect("it was found");
        address.parse().expect("the fixture logs its address")
    }

    /// Waits until this generation is current; returns its monitor.
    pub fn expect_current(&mut self, generation: u32) -> u32 {
        self.expect("current", generation).pid
    }

    /// The monitor of a generation that was started. It may log something before
    /// main has reported the event.
    pub fn expect_monitor(&mut self, generation: u32) -> u32 {
        let started = self.events().into_iter().find(|event| event.is("started", generation));
        started.unwrap_or_else(|| self.expect("started", generation)).pid
    }

    /// Requests a reload and waits until this generation is current; returns its monitor.
    pub fn reload(&mut self, generation: u32) -> u32 {
        self.signal(Signal::Usr1);
        self.expect_current(generation)
    }

    /// Waits until main has answered a status request: by then it has processed
    /// everything that came before.
    pub fn settle(&mut self) {
        self.settle_at(self.pid());
    }

    /// The same when main is not the process that was started.
    pub fn settle_at(&mut self, main: u32) {
        self.log.skip_all();
        let deadline = Instant::now() + TIMEOUT;
        let is_answer = |line: &String| line.contains(": status: panzer ");
        while deadline > Instant::now() {
            send(main, Signal::Ttin);
            if self.log.find_within(AGAIN, is_answer).is_ok() {
                return self.log.skip_all();
            }
        }
        self.fail("main does not answer SIGTTIN");
    }

    /// Waits until this monitor has processed everything that came before, and then main:
    /// its second status comes after all that the turn of the first does. No other status
    /// of it may be on its way.
    pub fn settle_monitor(&mut self, monitor: u32) {
        for _ in 0..2 {
            send(monitor, Signal::Ttin);
            self.expect_line("status: worker 1");
        }
        self.settle();
    }

    /// Polls for something that no event reports.
    pub fn eventually(&mut self, description: &str, condition: impl FnMut() -> bool) {
        if !procfs::until(condition) {
            self.fail(&format!("timed out waiting until {description}"));
        }
    }

    /// Polls for something that no event reports, once in each turn of main's loop.
    pub fn eventually_at(
        &mut self,
        main: u32,
        description: &str,
        mut condition: impl FnMut() -> bool,
    ) {
        let deadline = Instant::now() + TIMEOUT;
        while !condition() {
            if deadline < Instant::now() {
                self.fail(&format!("timed out waiting until {description}"));
            }
            self.settle_at(main);
        }
    }

    /// Waits until main has no child that works for it for a moment, or that has main's
    /// name because it has not set or executed its own yet. In one turn it may reap one
    /// and fork the next, so it has to be without any before and after a turn.
    pub fn rest(&mut self) {
        let (main, mut is_alone) = (self.pid(), false);
        self.eventually_at(main, "main is at rest", || {
            let mut names = procfs::children(main).into_iter().map(procfs::name);
            let has_any = names.any(|name| procfs::is_helper(&name) || name == "panzer:main");
            std::mem::replace(&mut is_alone, !has_any) && !has_any
        });
    }

    /// The workers of a monitor, without a child that works for it for a moment. Waits
    /// until each child has its own name: at first it has its monitor's.
    pub fn workers(&self, monitor: u32) -> Vec<u32> {
        let mut workers = Vec::new();
        procfs::until(|| {
            workers = procfs::children(monitor);
            workers.retain(|pid| procfs::is_alive(*pid));
            !workers.iter().any(|pid| procfs::name(*pid) == "panzer:monitor")
        });
        workers.retain(|pid| !procfs::is_helper(&procfs::name(*pid)));
        workers.sort_unstable();
        workers
    }

    /// How many events of this name there were until now.
    pub fn count(&mut self, name: &str) -> usize {
        self.events.all().iter().filter(|event| event.name == name).count()
    }

    /// How many lines of the log until now contain `text`.
    pub fn count_lines(&mut self, text: &str) -> usize {
        self.log.all().iter().filter(|line| line.contains(text)).count()
    }

    /// Every event until now.
    pub fn events(&mut self) -> Vec<Event> {
        self.events.all().to_vec()
    }

    /// Everything logged until now.
    pub fn lines(&mut self) -> Vec<String> {
        self.log.all().to_vec()
    }

    /// Waits until main and all its descendants have exited; returns how main ended.
    pub fn end(&mut self) -> End {
        if !self.events.read_to_end() {
            self.fail("main does not end");
        }
        if !self.log.read_to_end() {
            self.fail("main has exited, but not all of its descendants");
        }
        let status = self.child.wait().expect("it is our child");
        match (status.code(), status.signal()) {
            (Some(code), _) => End::Status(code),
            (None, Some(signal)) => End::Signal(signal),
            (None, None) => self.fail("it neither exited nor was killed"),
        }
    }

    /// Stops gracefully; fails unless main exits with status 0 and no process is left.
    pub fn stop(mut self) -> Self {
        self.signal(Signal::Term);
        let end = self.end();
        if end != End::Status(0) {
            self.fail(&format!("the stop ended with {end:?}"));
        }
        self
    }

    /// Fails the test, showing the last events and log lines.
    pub fn fail(&mut self, message: &str) -> ! {
        let below = procfs::descendants(self.pid());
        let show = |pid: &u32| format!("{pid} {} {:?}", procfs::name(*pid), procfs::state(*pid));
        let below: Vec<_> = below.iter().map(show).collect();
        let events: Vec<_> = self.events.all().iter().map(|event| event.line.clone()).collect();
        let (events, log, below) = (tail(&events), tail(self.log.all()), tail(&below));
        panic!("{message}\nevents:\n  {events}\nlog:\n  {log}\nbelow main:\n  {below}");
    }
}

/// Kills what the test has not ended: main, its descendants, and the processes
/// that main has left behind.
impl Drop for Panzer {
    fn drop(&mut self) {
        let has_ended = self.log.has_ended();
        if matches!(self.child.try_wait(), Ok(None)) {
            // A stopped main does not reap, so no pid can be reused meanwhile.
            stop_process(self.pid());
            let below = procfs::descendants(self.pid());
            for pid in below.into_iter().chain([self.pid()]) {
                send(pid, Signal::Kill);
            }
            let _ = self.child.wait();
        } else if has_ended {
            return;
        }
        for pid in procfs::with_environment(&self.mark) {
            send(pid, Signal::Kill);
        }
    }
}
