//! System calls that are needed to start a process fail, at the first start, a
//! replacement, a restart after a crash and a reload: what serves keeps serving,
//! and once the cause is gone everything works again.

use std::fs;
use std::path::Path;

use panzer::sys::Signal;

use crate::harness::client::{Held, ask};
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer, continue_process, send};
use crate::harness::procfs;
use crate::harness::setup::Setup;
use crate::harness::strace::Attached;

/// The system calls that the C library may use for fork(3).
const FORK: &str = "?fork,?vfork,?clone,?clone3";

/// Runs main, and with `-f` all its descendants, under strace with these faults.
fn faulty(setup: Setup, dir: &TempDir, options: &[&str]) -> Setup {
    let output = dir.join("trace").display().to_string();
    let words = [&["-D", "-qqq", "-o", &output], options].concat();
    setup.through(Path::new("strace"), &words)
}

fn http(options: &[&str]) -> Setup {
    Setup::new(&example("http"), &["127.0.0.1:0"]).options(options)
}

/// Waits until any generation is current; returns its number.
fn expect_any_current(panzer: &mut Panzer) -> u32 {
    panzer.expect_event("current", |event| event.name == "current").generation
}

/// Makes main's calls fail from now on; `when=` counts from now on.
fn fail_from_now(panzer: &Panzer, dir: &TempDir, fault: &str) -> Attached {
    let inject = format!("inject={fault}");
    Attached::to(panzer.pid(), &dir.join("trace"), &["-e", &inject])
}

/// How many processes main makes by clone(2) for a reload, the last of which is the
/// monitor: strace counts each call by itself, and fork(3), which makes the one that
/// reads the configuration, is fork(2) with musl.
fn clones_of_a_reload() -> usize {
    let dir = TempDir::new();
    let mut panzer = http(&["-n1"]).start();
    let monitor = panzer.expect_current(1);
    at_rest(&mut panzer, monitor);
    let trace = dir.join("trace");
    let calls = Attached::to(panzer.pid(), &trace, &["-e", "trace=clone"]);
    panzer.signal(Signal::Usr1);
    panzer.expect("started", 2);
    drop(calls);
    panzer.stop();
    let calls = fs::read_to_string(&trace).expect("strace has written it");
    calls.lines().filter(|line| line.starts_with("clone(")).count()
}

/// rules: probation.promotion, reload.failed, fork.fails
#[test]
fn reload_without_resources_fails_and_old_generation_serves() {
    // The first pipe and the first process are those of reading the configuration;
    // for a notify socket main tries several directories.
    let (second, always) = (":when=2", "");
    let last = format!(":when={}", clones_of_a_reload());
    let calls = [
        ("socket", "EMFILE", always, "create a notify socket"),
        ("socket", "ENFILE", always, "create a notify socket"),
        ("memfd_create", "ENFILE", always, "create a scoreboard"),
        ("ftruncate", "ENOMEM", always, "create a scoreboard"),
        ("pipe2", "EMFILE", second, "fork"),
        ("clone", "EAGAIN", &last, "fork"),
        ("clone", "ENOMEM", &last, "fork"),
    ];
    for (call, error, when, step) in calls {
        let dir = TempDir::new();
        let mut panzer = http(&["-n1"]).start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_current(1);
        let descriptors = at_rest(&mut panzer, monitor);
        let fault = format!("{call}:error={error}{when}");
        let faults = fail_from_now(&panzer, &dir, &fault);
        panzer.signal(Signal::Usr1);
        let reason = panzer.expect("failed", 2).reason;
        drop(faults);
        assert!(reason.contains(&format!("cannot {step}")) && reason.contains(error), "{reason}");
        assert_eq!(ask(address).expect("it serves").generation, 1);
        assert_eq!(at_rest(&mut panzer, monitor), descriptors);
        panzer.reload(3);
        ask(address).expect("it serves");
        panzer.stop();
    }
}

/// rules: probation.promotion, reload.failed, fork.fails
#[test]
fn reload_fails_if_config_reader_cannot_be_forked_and_next_one_works() {
    let calls =
        [("pipe2", "EMFILE", "create a pipe"), (FORK, "EAGAIN", "fork"), (FORK, "ENOMEM", "fork")];
    for (call, error, step) in calls {
        let dir = TempDir::new();
        let mut panzer = http(&["-n1"]).start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_current(1);
        let descriptors = at_rest(&mut panzer, monitor);
        let fault = format!("{call}:error={error}");
        let faults = fail_from_now(&panzer, &dir, &fault);
        panzer.signal(Signal::Usr1);
        let line = panzer.expect_line(&format!("reload failed: cannot {step}"));
        drop(faults);
        assert!(line.contains(error), "{line}");
        assert_eq!(ask(address).expect("it serves").generation, 1);
        assert_eq!(at_rest(&mut panzer, monitor), descriptors);
        panzer.reload(2);
        ask(address).expect("it serves");
        panzer.stop();
    }
}

/// Waits until this monitor is main's only child; returns main's descriptors.
fn at_rest(panzer: &mut Panzer, monitor: u32) -> Vec<String> {
    let main = panzer.pid();
    panzer.eventually("the monitor alone is left", || procfs::children(main) == [monitor]);
    // By then main has read the result of the exec and closed its pipe.
    panzer.settle();
    procfs::descriptors(main)
}

/// rules: start.give-up, backoff.delay, pool.respawn
#[test]
fn first_start_is_retried_until_fork_succeeds() {
    let dir = TempDir::new();
    // Main and then the monitor each fail twice.
    let fault = format!("inject={FORK}:error=EAGAIN:when=1..2");
    let setup = faulty(http(&["-n2"]), &dir, &["-f", "-e", &fault]);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    panzer.expect_current(3);
    ask(address).expect("it serves");
    let mut panzer = panzer.stop();
    assert_eq!((panzer.count("failed"), panzer.count("started")), (2, 1));
    assert_eq!(panzer.count_lines("failed: cannot fork: "), 2);
    assert_eq!(panzer.count_lines(": cannot fork: "), 4, "two of main, two of the monitor");
}

/// rule: pool.respawn
#[test]
fn worker_replacement_is_retried_until_fork_succeeds() {
    let dir = TempDir::new();
    let fault = format!("inject={FORK}:error=EAGAIN:when=3..4");
    let setup = faulty(http(&["-n2"]), &dir, &["-f", "-e", &fault]);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let [lost, other] = panzer.workers(monitor)[..] else { panzer.fail("no two workers") };
    send(lost, Signal::Kill);
    panzer.expect_line(": cannot fork: ");
    assert_eq!(ask(address).expect("the other one serves").pid, other);
    panzer.expect_event("a respawn", |event| event.name == "respawn");
    let mut panzer = panzer.stop();
    assert_eq!((panzer.count_lines(": cannot fork: "), panzer.count("started")), (2, 1));
    assert_eq!(panzer.count_lines(": fork failed, retrying in "), 2, "each waits");
}

#[test]
fn program_that_cannot_be_forked_leaves_no_notify_socket() {
    let dir = TempDir::new();
    let pid_file = format!("--pid={}", dir.join("web.pid").display());
    // Main and then the monitor each fail twice. Before Linux 6.16 one of these is
    // of the child which is to close the socket.
    let fault = format!("inject={FORK}:error=EAGAIN:when=1..2");
    let setup = Setup::new(Path::new("sleep"), &["600"]).options(&["-x", "-n1", &pid_file]);
    let mut panzer = faulty(setup, &dir, &["-f", "-e", &fault]).start();
    let generation = expect_any_current(&mut panzer);
    let failed = panzer.count_lines("worker 1: start failed: ");
    assert!([1, 2].contains(&failed));
    let home = dir.join(&format!("web.{}.{generation}", panzer.pid()));
    let names = std::fs::read_dir(home).expect("it is there").map_while(Result::ok);
    let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["notify", &*format!("worker.{}", failed + 1)]);
    panzer.stop();
}

/// rules: crash.monitor, backoff.delay, stop.session
#[test]
fn restart_after_crash_is_retried_until_fork_succeeds() {
    let dir = TempDir::new();
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = setup.options(&["-n1"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    let _faults = fail_from_now(&panzer, &dir, &format!("{FORK}:error=EAGAIN:when=1..2"));
    send(monitor, Signal::Kill);
    panzer.expect("failed", 2);
    let mut queued = Held::queue(address).expect("the port stays open");
    panzer.expect("failed", 3);
    panzer.expect_current(4);
    assert_eq!(queued.greeting().expect("it waited in the queue").generation, 4);
    held.finish().expect("it is finished");
    queued.finish().expect("it serves");
    panzer.stop();
}

/// rules: spawn.not-found, reload.failed
#[test]
fn retryable_exec_error_is_a_failed_start() {
    for error in ["EAGAIN", "ENOMEM", "ETXTBSY"] {
        let dir = TempDir::new();
        let good = example("http");
        let good = good.parent().expect("it is in a directory");
        std::fs::create_dir(dir.join("bad")).expect("the directory is ours");
        let bad = dir.script("bad/http", "exit 1");
        // Replaced whole: main may read it at any moment.
        let look_in =
            |path: &Path| dir.program("env", format!("PATH={}\n", path.display()).as_bytes());
        let env = look_in(&dir.join("bad")).display().to_string();
        let options = ["-n1", "--give-up=0", "--delay=0.05", "--env-file", &env];
        let setup = Setup::new(Path::new("http"), &["127.0.0.1:0"]).options(&options);
        let (path, fault) = (bad.display().to_string(), format!("inject=execve:error={error}"));
        let mut panzer = faulty(setup, &dir, &["-f", "-P", &path, "-e", &fault]).start();
        let reason = panzer.expect("failed", 1).reason;
        assert!(reason.contains("cannot execute") && reason.contains(error), "{reason}");
        panzer.expect("failed", 2);
        look_in(good);
        let address = panzer.expect_address();
        let first = expect_any_current(&mut panzer);
        look_in(&dir.join("bad"));
        panzer.signal(Signal::Usr1);
        let reason = panzer.expect("failed", first + 1).reason;
        assert!(reason.contains("cannot execute") && reason.contains(error), "{reason}");
        assert_eq!(ask(address).expect("it serves").generation, first);
        look_in(good);
        panzer.reload(first + 2);
        ask(address).expect("it serves");
        panzer.stop();
    }
}

/// rules: spawn.exec-status, spawn.not-found
#[test]
fn failed_step_before_exec_is_named_and_fails_the_start() {
    let steps = [
        ("dup2", "EMFILE", "cannot pass the descriptors to"),
        // Main's own first call only sets its name, so it may fail.
        ("prctl", "EINVAL", "cannot set the parent-death signal of"),
        ("chdir", "EIO", "cannot enter"),
    ];
    for (call, error, step) in steps {
        let dir = TempDir::new();
        let fault = format!("inject={call}:error={error}:when=1");
        let setup = http(&["-n1", "--give-up=2", "--delay=3"]);
        let mut panzer = faulty(setup, &dir, &["-f", "-e", &fault]).start();
        assert_eq!(panzer.end(), End::Status(1));
        let failures: Vec<_> =
            panzer.events().into_iter().filter(|event| event.name == "failed").collect();
        assert!(failures.len() >= 2, "{failures:?}");
        for event in failures {
            assert!(event.reason.contains(step) && event.reason.contains(error), "{event:?}");
        }
    }
}

/// rule: spawn.exec-status
#[test]
fn main_does_not_wait_for_exec() {
    let dir = TempDir::new();
    // The child stops there, as it would wait for a file server that is away.
    let words = ["-f", "-e", "trace=chdir", "-e", "inject=chdir:signal=STOP:when=1"];
    let mut panzer = faulty(http(&["-n1"]), &dir, &words).start();
    let child = panzer.expect("started", 1).pid;
    panzer.settle();
    assert_eq!(procfs::name(child), "panzer:main", "it is not executed yet");
    // A traced process appears stopped at every call, so it is continued repeatedly.
    panzer.eventually("it goes on", || {
        continue_process(child);
        procfs::name(child) != "panzer:main"
    });
    panzer.expect_current(1);
    panzer.stop();
}

/// rules: monitor.one-thread, worker.monitor-lost
#[test]
fn workers_serve_if_timer_create_and_unshare_fail() {
    let dir = TempDir::new();
    let faults = ["inject=timer_create:error=EAGAIN", "inject=unshare:error=EPERM"];
    let words = ["-f", "-e", faults[0], "-e", faults[1]];
    let mut panzer = faulty(http(&["-n1"]), &dir, &words).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    ask(address).expect("it serves");
    panzer.reload(2);
    panzer.stop();
}
