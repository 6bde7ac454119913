//! Somebody cannot be ended, not even by SIGKILL: main names him, and goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use panzer::sys::Signal;

use crate::harness::panzer::{End, Panzer};
use crate::harness::place::example;
use crate::harness::setup::Setup;
use crate::harness::{PATIENCE, look, skip};

/// Processes in here do not run, not even to die: the freezer of cgroups(7).
struct Freezer {
    path: PathBuf,
}

impl Freezer {
    /// One for `test`; none where the machine has no freezer for us.
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

    /// Freezes these processes, and waits until they are.
    fn freeze(&self, pids: &[u32]) {
        pids.iter().for_each(|pid| self.write("cgroup.procs", &pid.to_string()));
        self.write("freezer.state", "FROZEN");
        self.wait_until("they are frozen", |state| state == "FROZEN\n");
    }

    /// Lets them go on.
    fn thaw(&self) {
        self.write("freezer.state", "THAWED");
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let state = || fs::read_to_string(self.path.join("freezer.state")).unwrap_or_default();
        while !is_so(&state()) {
            assert!(Instant::now() < deadline, "it never came that {what}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.thaw();
        let deadline = Instant::now() + PATIENCE;
        // Whoever has just been killed needs a moment to leave the group.
        while fs::remove_dir(&self.path).is_err() && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }
}

/// Waits until main is gone, although its log is still open.
fn expect_no_main(panzer: &mut Panzer) {
    panzer.expect_event("stopped", |event| event.name == "stopped");
    let main = panzer.pid();
    panzer.eventually("main is gone", || !look::is_alive(main));
}

/// RATIONALE 1.38
#[test]
fn a_worker_that_not_even_sigkill_ends_is_named_and_left_behind() {
    let test = "a_worker_that_not_even_sigkill_ends_is_named_and_left_behind";
    let Some(freezer) = Freezer::new(test) else { return };
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n2"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    freezer.freeze(&workers[..1]);
    panzer.signal(Signal::Quit);
    panzer.expect_line("generation 1 does not end, not even by SIGKILL: left behind");
    expect_no_main(&mut panzer);
    assert!(look::is_alive(workers[0]) && !look::is_alive(workers[1]));
    freezer.thaw();
    assert_eq!(panzer.end(), End::Status(1));
}

/// RATIONALE 1.21
#[test]
fn reloads_go_on_past_workers_that_not_even_sigkill_ends() {
    let test = "reloads_go_on_past_workers_that_not_even_sigkill_ends";
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
    panzer.expect_line("generation 1 does not end, not even by SIGKILL: left behind");
    assert!(frozen.iter().all(|worker| look::is_alive(*worker)));
    panzer.signal(Signal::Term);
    expect_no_main(&mut panzer);
    freezer.thaw();
    assert_eq!(panzer.end(), End::Status(1));
}

/// As if nobody could be ended: what main sends comes never.
///
/// RATIONALE 1.38
#[test]
fn a_generation_that_no_signal_of_mains_reaches_is_named_and_left_behind() {
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n2"]);
    let words = ["-D", "-qqq", "-o", "/dev/null", "-e", "trace=kill", "-e", "inject=kill:retval=0"];
    let mut panzer = setup.through(Path::new("strace"), &words).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Quit);
    panzer.expect_line("generation 1 is sent SIGKILL");
    panzer.expect_line("generation 1 does not end, not even by SIGKILL: left behind");
    // With main gone the kernel asks it to stop, and it does.
    assert_eq!(panzer.end(), End::Status(1));
}
