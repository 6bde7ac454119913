//! A new version does not boot, or dies on probation: nothing has happened.

use std::fs;

use panzer::sys::Signal;

use crate::harness::panzer::send;
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::serving::Serving;

/// RATIONALE 1.22
#[test]
fn a_version_that_exits_with_0_has_failed() {
    Serving::start(&[]).fails_with("exit 0");
}

/// RATIONALE 1.18
#[test]
fn a_version_that_exits_with_1_has_failed() {
    Serving::start(&[]).fails_with("exit 1");
}

/// RATIONALE 1.18
#[test]
fn a_version_that_crashes_has_failed() {
    Serving::start(&[]).fails_with("kill -s SEGV $$");
}

/// RATIONALE 1.15
#[test]
fn a_version_that_hangs_has_failed_after_the_ready_timeout() {
    let options = ["--ready-timeout=0.3", "--timeout=0.1"];
    Serving::start(&options).fails_with("exec sleep 1000");
}

/// RATIONALE 1.12
#[test]
fn a_version_that_is_missing_has_failed() {
    let mut serving = Serving::start(&[]);
    fs::remove_file(serving.place.join("app")).expect("it was there");
    serving.expect_failure("a missing file");
    serving.expect_recovery();
}

/// RATIONALE 1.12
#[test]
fn a_version_that_is_not_executable_has_failed() {
    let mut serving = Serving::start(&[]);
    fs::remove_file(serving.place.join("app")).expect("it was there");
    serving.place.write("app", "#!/bin/sh\nexit 0\n");
    serving.expect_failure("not executable");
    serving.expect_recovery();
}

/// RATIONALE 1.12
#[test]
fn a_version_that_is_half_copied_has_failed() {
    let whole = fs::read(example("http")).expect("it is there");
    // What is behind is not needed to run: it is for debuggers.
    for length in [whole.len() / 100, 1_000, 40, 0] {
        let mut serving = Serving::start(&[]);
        serving.place.program("app", &whole[..length]);
        serving.expect_failure(&format!("the first {length} bytes"));
        serving.expect_recovery();
    }
}

/// RATIONALE 1.10
#[test]
fn a_directory_that_is_missing_fails_the_reload() {
    let mut serving = Serving::start(&[]);
    fs::remove_dir(serving.place.join("here")).expect("it was there");
    serving.expect_failure("a missing directory");
    fs::create_dir(serving.place.join("here")).expect("it was removed");
    serving.expect_recovery();
}

/// RATIONALE 1.11
#[test]
fn an_environment_file_that_is_bad_or_missing_fails_the_reload() {
    for content in [Some("no equals sign\n"), None] {
        let mut serving = Serving::start(&[]);
        match content {
            Some(content) => fs::write(serving.place.join("env"), content),
            None => fs::remove_file(serving.place.join("env")),
        }
        .expect("it was there");
        serving.expect_failure("a bad environment file");
        serving.place.write("env", "COLOUR=red\n");
        serving.expect_recovery();
    }
}

/// RATIONALE 1.17
#[test]
fn a_version_whose_monitor_dies_on_probation_is_rolled_back() {
    let mut serving = Serving::start(&["--probation=1000", "-v"]);
    serving.panzer.signal(Signal::Usr1);
    let monitor = serving.panzer.expect("ready", 2).pid;
    send(monitor, Signal::Kill);
    serving.expect_rollback();
}

/// RATIONALE 1.17
#[test]
fn a_version_that_loses_a_worker_in_every_slot_on_probation_is_rolled_back() {
    let mut serving = Serving::start(&["--probation=1000", "-v"]);
    serving.panzer.signal(Signal::Usr1);
    let monitor = serving.panzer.expect("ready", 2).pid;
    for worker in serving.panzer.workers(monitor) {
        send(worker, Signal::Kill);
    }
    serving.expect_rollback();
}

/// RATIONALE 1.17
#[test]
fn a_version_that_dies_right_after_it_was_ready_is_rolled_back() {
    let place = Place::new();
    let app = place.app(&example("witness"), &["run=idle"]);
    let setup = Setup::new(&app, &[]).options(&["-n2", "--probation=1000", "--delay=0"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    place.app(&example("witness"), &["delay=0", "run=fail"]);
    panzer.signal(Signal::Usr1);
    panzer.expect("rolled_back", 2);
    assert_eq!(panzer.workers(monitor), workers);
    assert_eq!(panzer.count_lines("generation 1 is draining"), 0);
    panzer.stop();
}

/// RATIONALE 1.17
#[test]
fn one_lost_worker_on_probation_is_forgiven() {
    let mut serving = Serving::start(&["--probation=1.5"]);
    serving.panzer.signal(Signal::Usr1);
    let monitor = serving.panzer.expect("ready", 2).pid;
    let worker = serving.panzer.workers(monitor)[0];
    send(worker, Signal::Kill);
    serving.panzer.expect_current(2);
    assert_eq!(serving.panzer.count("rolled_back"), 0);
    serving.panzer.stop();
}
