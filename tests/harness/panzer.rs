//! The process under test, and what it tells.
//!
//! Its events come through a pipe that main alone has: the end of it is main's
//! end. Its log comes through a pipe that every process of the tree has as
//! standard error: the end of that is the end of all of them, so nothing was
//! left behind.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use panzer::Pid;
use panzer::sys::{Signal, signal};

use super::event::Event;
use super::told::{Nothing, Told};
use super::{PATIENCE, alone, look};

/// Main may leave a question for its status unanswered, but not after this.
const AGAIN: Duration = Duration::from_millis(150);

/// A panzer that was started and is always ended.
pub struct Panzer {
    child: Child,
    events: Told<Event>,
    log: Told<String>,
    /// What everybody of it has in his environment.
    mark: String,
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

/// Signals a process that is known to be there, or to have been a child that
/// nobody has reaped.
pub fn send(pid: u32, signal: Signal) {
    let pid = Pid::new(pid.cast_signed()).expect("a process has a positive number");
    signal::send(pid, signal).expect("it may be signalled");
}

/// Stops a process with a signal that Panzer itself never sends, and waits
/// until it has stopped: until then it may take one more connection. One that
/// is traced stops for its tracer.
pub fn stop_process(pid: u32) {
    send_other(pid, "STOP");
    let stops = look::until(|| matches!(look::state(pid), Some('T' | 't' | 'Z')));
    assert!(stops, "{pid} does not stop");
}

/// Lets a stopped process go on.
pub fn continue_process(pid: u32) {
    send_other(pid, "CONT");
}

fn send_other(pid: u32, name: &str) {
    let _alone = alone();
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(sent.expect("kill is there").success(), "SIG{name} to {pid}");
}

impl Panzer {
    /// Takes charge of a process with these two streams.
    pub fn new(child: Child, events: Told<Event>, log: Told<String>, mark: String) -> Self {
        Self { child, events, log, mark }
    }

    /// Main's pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Signals main.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for the event `name` of a generation, passing over all others.
    pub fn expect(&mut self, name: &str, generation: u32) -> Event {
        let what = format!("event {name} of generation {generation}");
        self.expect_event(&what, |event| event.is(name, generation))
    }

    /// Waits for an event that `is_it`, passing over all others.
    pub fn expect_event(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        match self.events.find(is_it) {
            Ok(event) => event.clone(),
            Err(nothing) => self.fail(&format!("no {what}: {nothing:?}")),
        }
    }

    /// Waits for a line of the log that contains `text`, passing over others.
    pub fn expect_line(&mut self, text: &str) -> String {
        match self.log.find(|line| line.contains(text)) {
            Ok(line) => line.clone(),
            Err(nothing) => self.fail(&format!("no line {text:?}: {nothing:?}")),
        }
    }

    /// Waits until a first generation serves; says whether one does before the
    /// end.
    pub fn begins(&mut self) -> bool {
        match self.events.find(|event| event.is("current", 1)) {
            Ok(_) => true,
            Err(Nothing::Ended) => false,
            Err(Nothing::Late) => self.fail("it neither serves nor ends"),
        }
    }

    /// Where the fixture says that it listens, the next time that it does.
    pub fn expect_address(&mut self) -> SocketAddr {
        let line = self.expect_line("listening on ");
        let (_, address) = line.split_once("listening on ").expect("it was found");
        address.parse().expect("the fixture says where")
    }

    /// Waits until this generation serves alone; its monitor.
    pub fn expect_current(&mut self, generation: u32) -> u32 {
        self.expect("current", generation).pid
    }

    /// The monitor of a generation that is there. It may speak before main has
    /// told that it was started.
    pub fn expect_monitor(&mut self, generation: u32) -> u32 {
        let started = self.events().into_iter().find(|event| event.is("started", generation));
        started.unwrap_or_else(|| self.expect("started", generation)).pid
    }

    /// Asks for a reload and waits until this generation serves; its monitor.
    pub fn reload(&mut self, generation: u32) -> u32 {
        self.signal(Signal::Usr1);
        self.expect_current(generation)
    }

    /// Waits until main has answered a question for its status: everything
    /// that came to it before is dealt with.
    pub fn settle(&mut self) {
        self.settle_at(self.pid());
    }

    /// The same when main is not the process that was started.
    pub fn settle_at(&mut self, main: u32) {
        self.log.pass();
        let deadline = Instant::now() + PATIENCE;
        let is_answer = |line: &String| line.contains(": status: panzer ");
        while deadline > Instant::now() {
            send(main, Signal::Ttin);
            if self.log.find_within(AGAIN, is_answer).is_ok() {
                return self.log.pass();
            }
        }
        self.fail("main answers no question for its status");
    }

    /// Waits for what nobody is told of, not even main.
    pub fn eventually(&mut self, what: &str, is_so: impl FnMut() -> bool) {
        if !look::until(is_so) {
            self.fail(&format!("it never came that {what}"));
        }
    }

    /// Looks again at what `main` tells nobody each time that it has come round.
    pub fn eventually_at(&mut self, main: u32, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            if deadline < Instant::now() {
                self.fail(&format!("it never came that {what}"));
            }
            self.settle_at(main);
        }
    }

    /// The workers of a monitor.
    pub fn workers(&self, monitor: u32) -> Vec<u32> {
        let mut workers = look::children(monitor);
        workers.retain(|pid| look::is_alive(*pid));
        workers.sort_unstable();
        workers
    }

    /// How often an event was told until now.
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

    /// Waits until main and everybody below it is gone, and says how main went.
    pub fn end(&mut self) -> End {
        if !self.events.hear_out() {
            self.fail("main does not end");
        }
        if !self.log.hear_out() {
            self.fail("main is gone, and somebody of it is left");
        }
        let status = self.child.wait().expect("it is our child");
        match (status.code(), status.signal()) {
            (Some(code), _) => End::Status(code),
            (None, Some(signal)) => End::Signal(signal),
            (None, None) => self.fail("it neither exited nor was killed"),
        }
    }

    /// Stops gracefully, with status 0 and nobody left.
    pub fn stop(mut self) -> Self {
        self.signal(Signal::Term);
        let end = self.end();
        if end != End::Status(0) {
            self.fail(&format!("the stop ended with {end:?}"));
        }
        self
    }

    /// Fails the test, with everything seen.
    pub fn fail(&mut self, what: &str) -> ! {
        let below = look::descendants(self.pid());
        let show = |pid: &u32| format!("{pid} {} {:?}", look::name(*pid), look::state(*pid));
        let below: Vec<_> = below.iter().map(show).collect();
        let events: Vec<_> = self.events.all().iter().map(|event| event.line.clone()).collect();
        let (events, log, below) = (tail(&events), tail(self.log.all()), tail(&below));
        panic!("{what}\nevents:\n  {events}\nlog:\n  {log}\nbelow main:\n  {below}");
    }
}

/// Whoever is not ended by its test is ended now, with everybody below it, and
/// with whom it has left behind.
impl Drop for Panzer {
    fn drop(&mut self) {
        let is_over = self.log.is_over();
        if matches!(self.child.try_wait(), Ok(None)) {
            // A stopped main reaps nobody, so that every number stays whose it is.
            stop_process(self.pid());
            let below = look::descendants(self.pid());
            for pid in below.into_iter().chain([self.pid()]) {
                send(pid, Signal::Kill);
            }
            let _ = self.child.wait();
        } else if is_over {
            return;
        }
        for pid in look::marked(&self.mark) {
            send(pid, Signal::Kill);
        }
    }
}
