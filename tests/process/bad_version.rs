//! A new version does not start, or fails on probation: the old one keeps serving.

use std::fs;
use std::path::Path;

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::panzer::send;
use crate::harness::setup::Setup;
use crate::serving::Serving;

/// rule: crash.monitor
#[test]
fn version_that_exits_with_0_fails() {
    Serving::start(&[]).fails_with("exit 0");
}

/// rule: probation.promotion
#[test]
fn version_that_exits_with_1_fails() {
    Serving::start(&[]).fails_with("exit 1");
}

/// rule: probation.promotion
#[test]
fn version_that_crashes_fails() {
    Serving::start(&[]).fails_with("kill -s SEGV $$");
}

/// rule: ready.timeout
#[test]
fn version_that_hangs_fails_after_ready_timeout() {
    let options = ["--ready-timeout=0.3", "--timeout=0.1"];
    Serving::start(&options).fails_with("exec sleep 1000");
}

/// rule: spawn.not-found
#[test]
fn missing_executable_fails_reload() {
    let mut serving = Serving::start(&[]);
    fs::remove_file(serving.dir.join("app")).expect("it was there");
    serving.expect_failure("a missing file");
    serving.expect_recovery();
}

/// rule: spawn.not-found
#[test]
fn non_executable_file_fails_reload() {
    let mut serving = Serving::start(&[]);
    fs::remove_file(serving.dir.join("app")).expect("it was there");
    serving.dir.write("app", "#!/bin/sh\nexit 0\n");
    serving.expect_failure("not executable");
    serving.expect_recovery();
}

/// rule: spawn.not-found
#[test]
fn truncated_executable_fails_reload() {
    let whole = fs::read(example("http")).expect("it is there");
    // Only lengths that matter: the end of the file is debug information.
    for length in [whole.len() / 100, 1_000, 40, 0] {
        let mut serving = Serving::start(&[]);
        serving.dir.program("app", &whole[..length]);
        serving.expect_failure(&format!("the first {length} bytes"));
        serving.expect_recovery();
    }
}

/// rule: spawn.directory
#[test]
fn missing_directory_fails_reload() {
    let mut serving = Serving::start(&[]);
    fs::remove_dir(serving.dir.join("here")).expect("it was there");
    serving.expect_failure("a missing directory");
    fs::create_dir(serving.dir.join("here")).expect("it was removed");
    serving.expect_recovery();
}

/// rule: spawn.env-file
#[test]
fn bad_or_missing_env_file_fails_reload() {
    for content in [Some("no equals sign\n"), None] {
        let mut serving = Serving::start(&[]);
        match content {
            Some(content) => fs::write(serving.dir.join("env"), content),
            None => fs::remove_file(serving.dir.join("env")),
        }
        .expect("it was there");
        serving.expect_failure("a bad environment file");
        serving.dir.write("env", "COLOUR=red\n");
        serving.expect_recovery();
    }
}

/// rule: probation.rollback
#[test]
fn version_is_rolled_back_if_monitor_dies_on_probation() {
    let mut serving = Serving::start(&["--probation=1000", "-v"]);
    serving.panzer.signal(Signal::Usr1);
    let monitor = serving.panzer.expect("ready", 2).pid;
    send(monitor, Signal::Kill);
    serving.expect_rollback();
}

/// rule: probation.rollback
#[test]
fn version_is_rolled_back_if_every_slot_loses_a_worker_on_probation() {
    let mut serving = Serving::start(&["--probation=1000", "-v"]);
    serving.panzer.signal(Signal::Usr1);
    let monitor = serving.panzer.expect("ready", 2).pid;
    for worker in serving.panzer.workers(monitor) {
        send(worker, Signal::Kill);
    }
    serving.expect_rollback();
}

/// rule: probation.rollback
#[test]
fn version_is_rolled_back_if_workers_die_right_after_ready() {
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &["run=idle"]);
    // With two slots one may lose two workers before the other is ready.
    let setup = Setup::new(&app, &[]).options(&["-n1", "--probation=1000", "--delay=0"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    dir.app(&example("witness"), &["delay=0", "run=fail"]);
    panzer.signal(Signal::Usr1);
    panzer.expect("rolled_back", 2);
    assert_eq!(panzer.workers(monitor), workers);
    assert_eq!(panzer.count_lines("generation 1: draining"), 0);
    panzer.stop();
}

/// rule: probation.rollback
#[test]
fn rollback_suggests_ready_notify_if_a_program_exited_with_0() {
    for (end, is_named) in [("exit 0", true), ("kill -s KILL $$", false), ("exit 1", false)] {
        let dir = TempDir::new();
        let gate = dir.gate("gate");
        let app = dir.script("app", "exec sleep 1000");
        let options = ["-x", "-n1", "--ready=0.05", "--probation=1000"];
        let mut panzer = Setup::new(&app, &[]).options(&options).start();
        panzer.expect_current(1);
        dir.script("app", &format!("read line <{}\n{end}", gate.display()));
        panzer.signal(Signal::Usr1);
        panzer.expect("ready", 2);
        open_gate(&gate);
        let reason = panzer.expect("rolled_back", 2).reason;
        assert_eq!(reason.contains("use --ready notify or --probation 0"), is_named, "{reason}");
        panzer.stop();
    }
}

/// rule: probation.rollback
#[test]
fn one_lost_worker_on_probation_does_not_roll_back() {
    let mut serving = Serving::start(&["--probation=1.5"]);
    serving.panzer.signal(Signal::Usr1);
    let monitor = serving.panzer.expect("ready", 2).pid;
    let worker = serving.panzer.workers(monitor)[0];
    send(worker, Signal::Kill);
    serving.panzer.expect_current(2);
    assert_eq!(serving.panzer.count("rolled_back"), 0);
    serving.panzer.stop();
}

/// A first start whose workers all die fails at once, with their reason.
#[test]
fn first_start_fails_before_ready_timeout_if_workers_die() {
    let setup = Setup::new(Path::new("false"), &[]);
    let mut panzer = setup.options(&["-x", "-n2", "--ready-timeout=1000"]).start();
    let reason = panzer.expect("failed", 1).reason;
    assert!(reason.contains("exited with status 1"), "{reason}");
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// Main did not request it, so it counts as a crash; the drain is not waited for.
#[test]
fn monitor_that_gets_sigterm_from_outside_is_replaced_while_it_drains() {
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = setup.options(&["-n1", "--timeout=1000"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    send(monitor, Signal::Term);
    panzer.expect_current(2);
    assert_eq!(panzer.count("died"), 0, "it drains");
    drop(held);
    panzer.stop();
}

/// A wanted start waits at most for its back-off plus a second, whatever drains.
#[test]
fn restart_after_crash_does_not_wait_for_three_draining_generations() {
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = setup.options(&["-n1", "--timeout=1000", "--probation=0"]).start();
    let address = panzer.expect_address();
    let mut monitor = panzer.expect_current(1);
    let mut held = Vec::new();
    for generation in 2..=5 {
        held.push(Held::hold(address).expect("it serves"));
        send(monitor, Signal::Kill);
        monitor = panzer.expect_current(generation);
    }
    panzer.signal(Signal::Quit);
    panzer.end();
}
