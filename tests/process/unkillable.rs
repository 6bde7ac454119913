//! Processes that not even SIGKILL ends: main logs them, and goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use panzer::sys::Signal;

use crate::harness::files::example;
use crate::harness::panzer::{End, Panzer};
use crate::harness::setup::Setup;
use crate::harness::{TIMEOUT, procfs, skip};

/// Processes in here cannot run, not even to exit: the freezer of cgroups(7).
struct Freezer {
    path: PathBuf,
}

impl Freezer {
    /// A freezer for `test`; `None` where the machine has none that we may use.
    fn new(test: &str) -> Option<Self> {
        let name = format!("panzer-test-{}-{test}", std::process::id());
        let path = Path::new("/sys/fs/cgroup/freezer").join(name);
        match fs::create_dir(&path) {
            Ok(()) => Some(Self { path }),
            Err(error) => {
                skip(test, &format!("no freezer: {error}"));
                None
            }
        }
    }

    fn write(&self, file: &str, word: &str) {
        fs::write(self.path.join(file), word).expect("it is our own group");
    }

    /// Freezes these processes, and waits until they are frozen.
    fn freeze(&self, pids: &[u32]) {
        pids.iter().for_each(|pid| self.write("cgroup.procs", &pid.to_string()));
        self.write("freezer.state", "FROZEN");
        self.wait_until("they are frozen", |state| state == "FROZEN\n");
    }

    /// Lets them go on.
    fn thaw(&self) {
        self.write("freezer.state", "THAWED");
    }

    fn wait_until(&self, description: &str, condition: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        let state = || fs::read_to_string(self.path.join("freezer.state")).unwrap_or_default();
        while !condition(&state()) {
            assert!(Instant::now() < deadline, "timed out waiting until {description}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.thaw();
        let deadline = Instant::now() + TIMEOUT;
        // A process that was just killed needs a moment to leave the group.
        while fs::remove_dir(&self.path).is_err() && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }
}

/// Waits until main has exited, although its log is still open.
fn expect_no_main(panzer: &mut Panzer) {
    panzer.expect_event("stopped", |event| event.name == "stopped");
    let main = panzer.pid();
    panzer.eventually("main is gone", || !procfs::is_alive(main));
}

/// rule: stop.completes
#[test]
fn unkillable_worker_is_logged_and_left_behind() {
    let test = "unkillable_worker_is_logged_and_left_behind";
    let Some(freezer) = Freezer::new(test) else { return };
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n2"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    freezer.freeze(&workers[..1]);
    panzer.signal(Signal::Quit);
    panzer.expect_line("generation 1: still alive after SIGKILL, not waiting any longer");
    expect_no_main(&mut panzer);
    assert!(procfs::is_alive(workers[0]) && !procfs::is_alive(workers[1]));
    freezer.thaw();
    assert_eq!(panzer.end(), End::Status(4));
}

/// rule: stop.session
#[test]
fn workers_of_an_unkillable_monitor_are_killed() {
    let test = "workers_of_an_unkillable_monitor_are_killed";
    let Some(freezer) = Freezer::new(test) else { return };
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n2"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    freezer.freeze(&[monitor]);
    panzer.signal(Signal::Quit);
    panzer.expect_line("generation 1: still alive after SIGKILL, not waiting any longer");
    expect_no_main(&mut panzer);
    assert!(procfs::until(|| !workers.iter().any(|worker| procfs::is_alive(*worker))));
    assert!(procfs::is_alive(monitor));
    freezer.thaw();
    assert_eq!(panzer.end(), End::Status(4));
}

/// rule: reload.three-alive
#[test]
fn unkillable_workers_do_not_block_reloads() {
    let test = "unkillable_workers_do_not_block_reloads";
    let Some(freezer) = Freezer::new(test) else { return };
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1", "--timeout=0"]);
    let mut panzer = setup.start();
    let mut monitor = panzer.expect_current(1);
    let mut frozen = Vec::new();
    for generation in 2..=5 {
        frozen.extend(panzer.workers(monitor));
        freezer.freeze(&frozen);
        monitor = panzer.reload(generation);
    }
    panzer.expect_line("generation 1: still alive after SIGKILL, not waiting any longer");
    assert!(frozen.iter().all(|worker| procfs::is_alive(*worker)));
    panzer.signal(Signal::Term);
    expect_no_main(&mut panzer);
    freezer.thaw();
    assert_eq!(panzer.end(), End::Status(4));
}

/// As if no process could be killed: main's signals are not delivered.
///
/// rule: stop.completes
#[test]
fn generation_that_gets_no_signals_is_logged_and_left_behind() {
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n2"]);
    let words = ["-D", "-qqq", "-o", "/dev/null", "-e", "trace=kill", "-e", "inject=kill:retval=0"];
    let mut panzer = setup.through(Path::new("strace"), &words).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Quit);
    panzer.expect_line("generation 1: sent SIGKILL");
    panzer.expect_line("generation 1: still alive after SIGKILL, not waiting any longer");
    // When main has exited the kernel sends the monitor a signal, and it stops.
    assert_eq!(panzer.end(), End::Status(4));
}
