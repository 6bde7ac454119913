//! The number of workers: as many as the processors, or as somebody asks for.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use panzer::sys::{Signal, host};

use crate::harness::client::{Clients, Held};
use crate::harness::operator::{ask, ask_briefly, begin, rest_of};
use crate::harness::panzer::{Panzer, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::{look, skip};

/// A place, the pid file in it, and a panzer that has it.
fn start(setup: Setup, options: &[&str]) -> (Place, PathBuf, Panzer) {
    let place = Place::new();
    let pid_file = place.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let panzer = setup.options(&[&option]).options(options).start();
    (place, pid_file, panzer)
}

fn witness(words: &[&str], options: &[&str]) -> (Place, PathBuf, Panzer) {
    start(Setup::new(&example("witness"), words), options)
}

/// RATIONALE 2.14, 2.17
#[test]
fn the_number_of_workers_changes_under_load_without_a_failed_request() {
    let http = Setup::new(&example("http"), &["127.0.0.1:0"]);
    let (_place, pid_file, mut panzer) = start(http, &["-n4"]);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let clients = Clients::begin(address);
    for (request, count) in [("scale 1", 1), ("scale +7", 8), ("scale 4", 4), ("scale -1", 3)] {
        let answer = ask_briefly(&pid_file, request);
        assert_eq!(answer, format!("done {count} workers"), "{request}");
        panzer.eventually("so many workers", || look::children(monitor).len() == count);
    }
    assert!(clients.end() > 0);
    panzer.stop();
}

/// RATIONALE 2.17
#[test]
fn a_number_that_was_asked_for_holds_over_a_reload() {
    let (_place, pid_file, mut panzer) = witness(&["count=1", "run=idle"], &["-n2"]);
    panzer.expect_current(1);
    assert_eq!(ask_briefly(&pid_file, "scale 3"), "done 3 workers");
    let monitor = panzer.reload(2);
    assert_eq!(panzer.workers(monitor).len(), 3);
    assert_eq!(ask_briefly(&pid_file, "scale +1"), "done 4 workers");
    assert_eq!(panzer.workers(monitor).len(), 4);
    panzer.stop();
}

/// RATIONALE 2.17
#[test]
fn a_number_that_was_asked_for_holds_until_the_configured_one_changes() {
    let place = Place::new();
    let config = place.write("panzer.yml", "count: 2\n");
    let option = format!("--config={}", config.display());
    let (_other, pid_file, mut panzer) = witness(&["run=idle"], &[&option]);
    panzer.expect_current(1);
    assert_eq!(ask_briefly(&pid_file, "scale 3"), "done 3 workers");
    place.write("panzer.yml", "count: 2\ntimeout: 5\n");
    let monitor = panzer.reload(2);
    assert_eq!(panzer.workers(monitor).len(), 3, "another option has changed");
    place.write("panzer.yml", "count: 4\n");
    let monitor = panzer.reload(3);
    assert_eq!(panzer.workers(monitor).len(), 4);
    panzer.stop();
}

/// RATIONALE 2.17
#[test]
fn a_number_that_is_there_already_is_reached_at_once() {
    let (_place, pid_file, mut panzer) = witness(&["run=idle"], &["-n2"]);
    let monitor = panzer.expect_current(1);
    let before = panzer.workers(monitor);
    assert_eq!(ask(&pid_file, "scale 2"), ["done 2 workers"]);
    assert_eq!(panzer.workers(monitor), before);
    panzer.stop();
}

/// RATIONALE 2.17
#[test]
fn whoever_asks_while_a_new_generation_starts_is_answered_by_one_of_them() {
    let place = Place::new();
    let gate = place.gate("gate");
    let wait = format!("wait={}", gate.display());
    let app = place.app(&example("witness"), &["run=idle"]);
    let (_other, pid_file, mut panzer) = start(Setup::new(&app, &[]), &["-n2"]);
    panzer.expect_current(1);
    place.app(&example("witness"), &[&wait, "run=idle"]);
    panzer.signal(Signal::Usr1);
    panzer.expect("started", 2);
    assert_eq!(ask_briefly(&pid_file, "scale 3"), "done 3 workers");
    crate::harness::place::open_gate(&gate);
    let monitor = panzer.expect_current(2);
    panzer.eventually("as many in the new one", || look::children(monitor).len() == 3);
    panzer.stop();
}

/// RATIONALE 2.18
#[test]
fn a_removed_worker_finishes_and_its_slot_waits_for_it() {
    let (_place, pid_file, mut panzer) =
        witness(&["listen=127.0.0.1:0", "run=hold"], &["-n2", "--timeout=60"]);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let held: Vec<_> = (0..2).map(|_| Held::hold(address).expect("it serves")).collect();
    assert_eq!(ask_briefly(&pid_file, "scale 1"), "done 1 workers");
    let workers = panzer.workers(monitor);
    assert_eq!(workers.len(), 2, "who has work in hand is still there");
    let asked = begin(&pid_file, "scale 2").into_stream();
    assert_eq!(ask_briefly(&pid_file, "ready"), "done ready");
    // The monitor's second answer comes after all that the first turn has said.
    for _ in 0..2 {
        send(monitor, Signal::Ttin);
        panzer.expect_line("worker 1 (");
    }
    assert_eq!(ask_briefly(&pid_file, "ready"), "done ready");
    asked.set_nonblocking(true).expect("it is a socket");
    let early = (&asked).read(&mut [0]).expect_err("the slot waits for who leaves it");
    assert_eq!(early.kind(), ErrorKind::WouldBlock);
    asked.set_nonblocking(false).expect("it is a socket");
    assert_eq!(panzer.workers(monitor), workers);
    for (held, _) in held {
        held.finish().expect("what is in hand is served");
    }
    assert_eq!(rest_of(asked).pop().as_deref(), Some("done 2 workers"));
    let now = panzer.workers(monitor);
    assert_eq!(now.len(), 2);
    assert_ne!(now, workers);
    panzer.stop();
}

/// RATIONALE 2.17
#[test]
fn a_number_that_only_the_next_generation_reaches_is_reached() {
    let (_place, pid_file, mut panzer) =
        witness(&["listen=127.0.0.1:0", "run=hold"], &["-n2", "--timeout=60"]);
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let held: Vec<_> = (0..2).map(|_| Held::hold(address).expect("it serves")).collect();
    assert_eq!(ask_briefly(&pid_file, "scale 1"), "done 1 workers");
    // The second slot waits for who has work in hand.
    let asked = begin(&pid_file, "scale 2");
    assert_eq!(ask_briefly(&pid_file, "reload"), "done generation 2 is current");
    assert_eq!(asked.rest().pop().as_deref(), Some("done 2 workers"));
    drop(held);
    panzer.stop();
}

/// RATIONALE 2.18
#[test]
fn a_removed_worker_that_goes_on_is_interrupted_by_its_monitor() {
    let (_place, pid_file, mut panzer) =
        witness(&["listen=127.0.0.1:0", "run=hold"], &["-n2", "--timeout=0.1"]);
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let held: Vec<_> = (0..2).map(|_| Held::hold(address).expect("it serves")).collect();
    assert_eq!(ask_briefly(&pid_file, "scale 1"), "done 1 workers");
    let line = panzer.expect_line("worker 2 (");
    assert!(line.contains("killed by SIGINT") && line.contains("asked"), "{line}");
    drop(held);
    panzer.stop();
}

/// RATIONALE 2.17
#[test]
fn a_sigwinch_of_a_stranger_changes_nothing() {
    let (_place, pid_file, mut panzer) = witness(&["run=idle"], &["-n2"]);
    let monitor = panzer.expect_current(1);
    let before = panzer.workers(monitor);
    send(monitor, Signal::Winch);
    send(panzer.pid(), Signal::Winch);
    // It comes later, and is obeyed.
    assert_eq!(ask_briefly(&pid_file, "scale 3"), "done 3 workers");
    let after = panzer.workers(monitor);
    assert!(before.iter().all(|worker| after.contains(worker)), "{before:?} {after:?}");
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("workers are ready"), 1);
}

/// RATIONALE 2.17
#[test]
fn the_workers_of_a_foreign_monitor_cannot_be_scaled() {
    let place = Place::new();
    let app = place.script("app", "exec sleep 1000");
    let (_other, pid_file, mut panzer) = start(Setup::new(&app, &[]), &["--ready=0"]);
    panzer.expect_current(1);
    let answer = ask_briefly(&pid_file, "scale 2");
    assert!(answer.starts_with("refused "), "{answer}");
    assert_eq!(ask_briefly(&pid_file, "ready"), "done ready");
    panzer.stop();
}

/// RATIONALE 2.19
#[test]
fn auto_counts_the_processors_that_may_be_used() {
    let setup = Setup::new(&example("witness"), &["count=5", "run=idle"]);
    let setup = setup.through(Path::new("taskset"), &["-c", "0"]);
    let (_place, _, mut panzer) = start(setup, &["--count=auto"]);
    let monitor = panzer.expect_current(1);
    assert_eq!(panzer.workers(monitor).len(), 1);
    panzer.stop();
}

/// A control group of our own, gone when dropped.
struct Group(PathBuf);

impl Group {
    /// Makes one in which time on processors can be limited, if we may.
    fn new() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("panzer-test-{}-{number}", std::process::id());
        ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"].iter().find_map(|hierarchy| {
            let group = Self(Path::new(hierarchy).join(&name));
            fs::create_dir(&group.0).ok()?;
            group.allow(1).then_some(group)
        })
    }

    /// Allows the time of so many processors; says whether that can be done.
    fn allow(&self, processors: u32) -> bool {
        let quota = processors * 100_000;
        fs::write(self.0.join("cpu.max"), format!("{quota} 100000")).is_ok()
            || fs::write(self.0.join("cpu.cfs_quota_us"), quota.to_string()).is_ok()
    }

    /// Starts a panzer in it.
    fn start(&self, words: &[&str], options: &[&str]) -> (Place, PathBuf, Panzer) {
        let enter = format!("echo $$ > '{}/cgroup.procs'; exec \"$0\" \"$@\"", self.0.display());
        let setup = Setup::new(&example("witness"), words);
        start(setup.through(Path::new("sh"), &["-c", &enter]), options)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group in which nobody is left can be removed.
        let _ = fs::remove_dir(&self.0);
    }
}

/// RATIONALE 2.19
#[test]
fn auto_asks_for_the_quota_at_every_start_of_a_generation() {
    let Some(group) = Group::new().filter(|_| host::processors() > 1) else {
        return skip("auto_asks_for_the_quota", "no control group, or one processor");
    };
    let (_place, _, mut panzer) = group.start(&["run=idle"], &["-n", "auto"]);
    let monitor = panzer.expect_current(1);
    assert_eq!(panzer.workers(monitor).len(), 1);
    assert!(group.allow(2), "it was allowed before");
    let monitor = panzer.reload(2);
    assert_eq!(panzer.workers(monitor).len(), 2);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("the control group allows"), 0);
}

/// RATIONALE 2.19
#[test]
fn a_quota_below_the_default_is_one_warning_and_nothing_for_who_has_chosen() {
    let Some(group) = Group::new().filter(|_| host::processors() > 1) else {
        return skip("a_quota_below_the_default", "no control group, or one processor");
    };
    for (words, options, warnings) in [
        (&["run=idle"][..], &[][..], 1),
        (&["run=idle"], &["-n2"], 0),
        (&["count=2", "run=idle"], &[], 0),
    ] {
        let (_place, _, mut panzer) = group.start(words, options);
        panzer.expect_current(1);
        let mut panzer = panzer.stop();
        assert_eq!(panzer.count_lines("the control group allows 1 of "), warnings, "{words:?}");
    }
}
