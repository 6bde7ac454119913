//! The number of workers: the processors by default, or as set by `scale`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use panzer::sys::{Signal, host};

use crate::harness::client::{Clients, Held};
use crate::harness::control_client::{ask, ask_result, begin};
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{Panzer, send};
use crate::harness::setup::Setup;
use crate::harness::strace::Attached;
use crate::harness::{procfs, skip};

/// A directory, a pid file in it, and a panzer that uses it.
fn start(setup: Setup, options: &[&str]) -> (TempDir, PathBuf, Panzer) {
    let dir = TempDir::new();
    let pid_file = dir.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let panzer = setup.options(&[&option]).options(options).start();
    (dir, pid_file, panzer)
}

fn witness(words: &[&str], options: &[&str]) -> (TempDir, PathBuf, Panzer) {
    start(Setup::new(&example("witness"), words), options)
}

/// rules: pool.sigttin, scale.count
#[test]
fn the_number_of_workers_changes_under_load_without_a_failed_request() {
    let http = Setup::new(&example("http"), &["127.0.0.1:0"]);
    let (_dir, pid_file, mut panzer) = start(http, &["-n4"]);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let clients = Clients::begin(address);
    for (request, count) in [("scale 1", 1), ("scale +7", 8), ("scale 4", 4), ("scale -1", 3)] {
        let answer = ask_result(&pid_file, request);
        let plural = if count == 1 { "" } else { "s" };
        assert_eq!(answer, format!("done {count} worker{plural}"), "{request}");
        panzer.eventually("the requested number of workers", || {
            procfs::children(monitor).len() == count
        });
    }
    assert!(clients.end() > 0);
    panzer.stop();
}

/// rules: scale.count, call.fails
#[test]
fn scale_fails_at_once_where_the_monitor_cannot_be_told() {
    let (dir, pid_file, mut panzer) = witness(&["run=idle"], &["-n1"]);
    panzer.expect_current(1);
    for (call, error) in [("kill", "EPERM"), ("pwrite64", "ENOSPC")] {
        let inject = format!("inject={call}:error={error}:when=1");
        let strace = Attached::to(panzer.pid(), &dir.join(call), &["-e", &inject]);
        let answer = ask_result(&pid_file, "scale 2");
        assert!(answer.starts_with("failed cannot tell generation 1: "), "{call}: {answer}");
        drop(strace);
    }
    panzer.expect_line("scale 2: cannot tell generation 1: ");
    assert_eq!(ask_result(&pid_file, "scale 2"), "done 2 workers");
    panzer.stop();
}

/// rule: scale.count
#[test]
fn scaled_count_survives_a_reload() {
    let (_dir, pid_file, mut panzer) = witness(&["count=1", "run=idle"], &["-n2"]);
    panzer.expect_current(1);
    assert_eq!(ask_result(&pid_file, "scale 3"), "done 3 workers");
    let monitor = panzer.reload(2);
    assert_eq!(panzer.workers(monitor).len(), 3);
    assert_eq!(ask_result(&pid_file, "scale +1"), "done 4 workers");
    assert_eq!(panzer.workers(monitor).len(), 4);
    panzer.stop();
}

/// rule: scale.count
#[test]
fn scaled_count_holds_until_the_configured_count_changes() {
    let dir = TempDir::new();
    let config = dir.write("panzer.yml", "count: 2\n");
    let option = format!("--config={}", config.display());
    let (_other, pid_file, mut panzer) = witness(&["run=idle"], &[&option]);
    panzer.expect_current(1);
    assert_eq!(ask_result(&pid_file, "scale 3"), "done 3 workers");
    dir.write("panzer.yml", "count: 2\ntimeout: 5\n");
    let monitor = panzer.reload(2);
    assert_eq!(panzer.workers(monitor).len(), 3, "only another option has changed");
    dir.write("panzer.yml", "count: 4\n");
    let monitor = panzer.reload(3);
    assert_eq!(panzer.workers(monitor).len(), 4);
    panzer.stop();
}

/// rule: scale.count
#[test]
fn scale_to_the_present_number_is_done_at_once() {
    let (_dir, pid_file, mut panzer) = witness(&["run=idle"], &["-n2"]);
    let monitor = panzer.expect_current(1);
    let before = panzer.workers(monitor);
    assert_eq!(ask(&pid_file, "scale 2"), ["done 2 workers"]);
    assert_eq!(panzer.workers(monitor), before);
    panzer.stop();
}

/// rule: scale.count
#[test]
fn scale_during_a_reload_is_answered_and_holds_for_the_new_generation() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    let app = dir.app(&example("witness"), &["run=idle"]);
    let (_other, pid_file, mut panzer) = start(Setup::new(&app, &[]), &["-n2"]);
    panzer.expect_current(1);
    dir.app(&example("witness"), &[&wait, "run=idle"]);
    panzer.signal(Signal::Usr1);
    panzer.expect("started", 2);
    assert_eq!(ask_result(&pid_file, "scale 3"), "done 3 workers");
    crate::harness::files::open_gate(&gate);
    let monitor = panzer.expect_current(2);
    panzer.eventually("the new generation has 3 workers", || procfs::children(monitor).len() == 3);
    panzer.stop();
}

/// rule: scale.shrink
#[test]
fn removed_worker_finishes_its_request_and_its_slot_is_filled_again() {
    let (_dir, pid_file, mut panzer) =
        witness(&["listen=127.0.0.1:0", "run=hold"], &["-n2", "--timeout=60"]);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let held: Vec<_> = (0..2).map(|_| Held::hold(address).expect("it serves")).collect();
    assert_eq!(ask_result(&pid_file, "scale 1"), "done 1 worker");
    let workers = panzer.workers(monitor);
    assert_eq!(workers.len(), 2, "the removed worker is busy and still there");
    let asked = begin(&pid_file, "scale 2");
    for (held, _) in held {
        held.finish().expect("the request in hand is finished");
    }
    assert_eq!(asked.rest().pop().as_deref(), Some("done 2 workers"));
    // After a second the new one is started beside the removed one.
    panzer.eventually("two are left", || procfs::children(monitor).len() == 2);
    assert_ne!(panzer.workers(monitor), workers);
    panzer.stop();
}

/// rule: scale.count
#[test]
fn scale_that_waits_for_a_slot_is_done_by_the_next_generation() {
    let (_dir, pid_file, mut panzer) =
        witness(&["listen=127.0.0.1:0", "run=hold"], &["-n2", "--timeout=60"]);
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let held: Vec<_> = (0..2).map(|_| Held::hold(address).expect("it serves")).collect();
    assert_eq!(ask_result(&pid_file, "scale 1"), "done 1 worker");
    // The second slot waits for its busy worker.
    let asked = begin(&pid_file, "scale 2");
    assert_eq!(ask_result(&pid_file, "reload"), "done generation 2 is current");
    assert_eq!(asked.rest().pop().as_deref(), Some("done 2 workers"));
    drop(held);
    panzer.stop();
}

/// rule: scale.shrink
#[test]
fn removed_worker_gets_sigint_after_the_timeout() {
    let (_dir, pid_file, mut panzer) =
        witness(&["listen=127.0.0.1:0", "run=hold"], &["-n2", "--timeout=0.1"]);
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let held: Vec<_> = (0..2).map(|_| Held::hold(address).expect("it serves")).collect();
    assert_eq!(ask_result(&pid_file, "scale 1"), "done 1 worker");
    let line = panzer.expect_line("worker 2 (");
    assert!(line.contains("killed by SIGINT") && line.contains("(requested)"), "{line}");
    drop(held);
    panzer.stop();
}

/// rule: scale.count
#[test]
fn foreign_sigwinch_does_not_change_the_number_of_workers() {
    let (_dir, pid_file, mut panzer) = witness(&["run=idle"], &["-n2"]);
    let monitor = panzer.expect_current(1);
    let before = panzer.workers(monitor);
    assert_eq!(before.len(), 2);
    send(monitor, Signal::Winch);
    send(panzer.pid(), Signal::Winch);
    // It is not to find the count of the later request.
    panzer.settle_monitor(monitor);
    // A later request is performed.
    assert_eq!(ask_result(&pid_file, "scale 3"), "done 3 workers");
    let after = panzer.workers(monitor);
    assert!(before.iter().all(|worker| after.contains(worker)), "{before:?} {after:?}");
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("workers ready"), 1);
}

/// rule: scale.count
#[test]
fn scale_is_refused_for_a_foreign_monitor() {
    let dir = TempDir::new();
    let app = dir.script("app", "exec sleep 1000");
    let (_other, pid_file, mut panzer) = start(Setup::new(&app, &[]), &["--ready=0"]);
    panzer.expect_current(1);
    let answer = ask_result(&pid_file, "scale 2");
    assert!(answer.starts_with("refused "), "{answer}");
    assert_eq!(ask_result(&pid_file, "ready"), "done ready");
    panzer.stop();
}

/// rule: scale.auto
#[test]
fn auto_counts_the_processors_of_the_affinity_mask() {
    let setup = Setup::new(&example("witness"), &["count=5", "run=idle"]);
    let setup = setup.through(Path::new("taskset"), &["-c", "0"]);
    let (_dir, _, mut panzer) = start(setup, &["--count=auto"]);
    let monitor = panzer.expect_current(1);
    assert_eq!(panzer.workers(monitor).len(), 1);
    panzer.stop();
}

/// A control group of its own, removed when dropped.
struct Group(PathBuf);

impl Group {
    /// Makes one with a quota of processor time, if that is permitted here.
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

    /// Sets a quota of so many processors; returns whether that worked.
    fn allow(&self, processors: u32) -> bool {
        let quota = processors * 100_000;
        fs::write(self.0.join("cpu.max"), format!("{quota} 100000")).is_ok()
            || fs::write(self.0.join("cpu.cfs_quota_us"), quota.to_string()).is_ok()
    }

    /// Starts a panzer in it.
    fn start(&self, words: &[&str], options: &[&str]) -> (TempDir, PathBuf, Panzer) {
        let enter = format!("echo $$ > '{}/cgroup.procs'; exec \"$0\" \"$@\"", self.0.display());
        let setup = Setup::new(&example("witness"), words);
        start(setup.through(Path::new("sh"), &["-c", &enter]), options)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group without processes can be removed.
        let _ = fs::remove_dir(&self.0);
    }
}

/// rule: scale.auto
#[test]
fn auto_reads_the_quota_at_every_start_of_a_generation() {
    let Some(group) = Group::new().filter(|_| host::processors() > 1) else {
        return skip(
            "auto_reads_the_quota_at_every_start_of_a_generation",
            "no control group, or one processor",
        );
    };
    let (_dir, _, mut panzer) = group.start(&["run=idle"], &["-n", "auto"]);
    let monitor = panzer.expect_current(1);
    assert_eq!(panzer.workers(monitor).len(), 1);
    assert!(group.allow(2), "it was allowed before");
    let monitor = panzer.reload(2);
    assert_eq!(panzer.workers(monitor).len(), 2);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("cgroup quota allows"), 0);
}

/// rule: scale.auto
#[test]
fn quota_below_the_default_is_one_warning_unless_a_count_was_set() {
    let Some(group) = Group::new().filter(|_| host::processors() > 1) else {
        return skip(
            "quota_below_the_default_is_one_warning_unless_a_count_was_set",
            "no control group, or one processor",
        );
    };
    for (words, options, warnings) in [
        (&["run=idle"][..], &[][..], 1),
        (&["run=idle"], &["-n2"], 0),
        (&["count=2", "run=idle"], &[], 0),
    ] {
        let (_dir, _, mut panzer) = group.start(words, options);
        panzer.expect_current(1);
        let mut panzer = panzer.stop();
        assert_eq!(panzer.count_lines("cgroup quota allows 1 of "), warnings, "{words:?}");
    }
}
