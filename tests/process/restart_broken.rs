//! The program that main is to become is a bad one, and nothing has happened.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use panzer::sys::Signal;

use super::restarting::{Restarting, other_version};
use crate::harness::client::Held;
use crate::harness::ctl::finish;
use crate::harness::look;
use crate::harness::panzer::End;
use crate::harness::place;

const HOLD: [&str; 2] = ["listen=127.0.0.1:0", "run=hold"];

/// A main at work, that a bad program would harm.
fn start() -> Restarting {
    let mut main = Restarting::start(&HOLD, &["-n2", "--probation=1000"]);
    main.panzer.expect_current(1);
    main.panzer.signal(Signal::Usr1);
    main.panzer.expect("probation", 2);
    main
}

/// Each of these programs is refused for a reason that contains the first text.
fn refuses(programs: &[(&str, &[&str])]) {
    let mut main = start();
    for (why, how) in programs {
        main.impose(how);
        main.expect_refusal(&format!("{how:?}"), why);
    }
    main.expect_recovery();
}

/// RATIONALE 13.10
#[test]
fn a_program_that_is_missing_is_refused() {
    let mut main = start();
    fs::remove_file(&main.program).expect("it was there");
    main.expect_refusal("a missing file", "ENOENT");
    main.expect_recovery();
}

/// RATIONALE 13.10
#[test]
fn a_program_that_is_not_executable_is_refused() {
    let mut main = start();
    let set = |main: &Restarting, mode| {
        fs::set_permissions(&main.program, Permissions::from_mode(mode)).expect("it is ours");
    };
    set(&main, 0o644);
    main.expect_refusal("not executable", "EACCES");
    set(&main, 0o755);
    main.restart();
    main.expect_recovery();
}

/// RATIONALE 13.10
#[test]
fn a_program_that_is_half_copied_is_refused() {
    let whole = fs::read(place::panzer()).expect("it was built");
    let mut main = start();
    // What is behind is perhaps not needed to run: it is for debuggers.
    for length in [0, 1, 40, 1_000, whole.len() / 100, whole.len() / 20] {
        main.install(&whole[..length]);
        main.expect_refusal(&format!("the first {length} bytes"), "");
    }
    main.expect_recovery();
}

/// RATIONALE 13.10
#[test]
fn a_program_whose_end_is_zeroes_is_refused() {
    let whole = fs::read(place::panzer()).expect("it was built");
    let mut main = start();
    for length in [whole.len() / 100, whole.len() / 20] {
        let mut half = whole.clone();
        half[length..].fill(0);
        main.install(&half);
        main.expect_refusal(&format!("zeroes after {length} bytes"), "");
    }
    main.expect_recovery();
}

/// RATIONALE 13.10
#[test]
fn what_is_no_file_is_refused_and_nobody_waits_for_it() {
    let mut main = start();
    fs::remove_file(&main.program).expect("it was there");
    main.place.gate("panzer");
    main.expect_refusal("a named pipe", "");
    fs::remove_file(&main.program).expect("it was there");
    fs::create_dir(&main.program).expect("the place is ours");
    main.expect_refusal("a directory", "");
    fs::remove_dir(&main.program).expect("it was there");
    std::os::unix::fs::symlink("panzer", &main.program).expect("the place is ours");
    main.expect_refusal("a link to itself", "ELOOP");
    fs::remove_file(&main.program).expect("it was there");
    std::os::unix::fs::symlink("/dev/zero", &main.program).expect("the place is ours");
    main.expect_refusal("a device", "");
    fs::remove_file(&main.program).expect("it was there");
    main.expect_recovery();
}

/// RATIONALE 13.10
#[test]
fn a_program_that_is_being_written_is_refused() {
    let mut main = start();
    main.install(&other_version());
    let file = OpenOptions::new().append(true).open(&main.program).expect("it is ours");
    main.expect_refusal("somebody writes it", "ETXTBSY");
    drop(file);
    main.restart();
    main.expect_recovery();
}

/// RATIONALE 13.11
#[test]
fn a_program_that_leaves_with_any_status_is_refused() {
    let mut main = start();
    for name in ["/bin/true", "/bin/false", "/bin/echo", "/bin/cat"] {
        main.install(&fs::read(name).expect("it is there"));
        main.expect_refusal(name, "");
    }
    main.expect_recovery();
}

/// RATIONALE 13.11
#[test]
fn a_program_that_says_something_and_leaves_is_refused() {
    refuses(&[
        ("", &["exit=0"]),
        ("", &["exit=1"]),
        ("", &["exit=7"]),
        ("", &["say=panzer 9.9.9", "exit=0"]),
        ("", &["say=Usage: panzer [OPTIONS] [--] COMMAND [ARGS...]", "exit=2"]),
        ("", &["say=panzer: unknown option", "exit=2"]),
    ]);
}

/// RATIONALE 13.11
#[test]
fn a_program_that_crashes_is_refused() {
    refuses(&[("SIGABRT", &["abort"]), ("SIGSEGV", &["segv"])]);
}

/// RATIONALE 13.11
#[test]
fn a_program_that_answers_nonsense_is_refused() {
    refuses(&[
        ("", &["reply=ok", "exit=0"]),
        ("", &["reply=9.9.9 0000000000000000", "exit=0"]),
        ("", &["random=1", "exit=0"]),
        ("", &["random=16", "exit=0"]),
        ("", &["random=17", "exit=0"]),
        ("", &["random=400", "exit=0"]),
        ("", &["random=100000", "exit=0"]),
        ("", &["echo", "exit=0"]),
        ("", &["spoil", "exit=0"]),
        ("", &["close", "exit=0"]),
    ]);
}

/// RATIONALE 13.9
#[test]
fn a_program_that_has_not_understood_or_says_why_it_cannot_is_refused() {
    refuses(&[
        ("panzer 9.9.9 misunderstands the state", &["answer=1,9.9.9,", "exit=0"]),
        ("panzer 9.9.9 says: I would rather not", &["answer=1,9.9.9,I would rather not", "exit=0"]),
        ("panzer  misunderstands the state", &["answer=0,,", "exit=0"]),
    ]);
}

/// RATIONALE 13.12
#[test]
fn a_program_that_hangs_is_ended_after_its_time() {
    refuses(&[
        ("", &["hang"]),
        ("", &["unhear", "close", "hang"]),
        ("", &["random=65536", "unhear", "hang"]),
    ]);
}

/// RATIONALE 13.12
#[test]
fn what_a_trial_leaves_behind_is_ended_with_it() {
    refuses(&[("", &["child", "exit=0"]), ("", &["child", "hang"]), ("", &["unhear", "defect"])]);
}

/// RATIONALE 13.10
#[test]
fn a_script_is_no_panzer() {
    let mut main = start();
    for body in ["exit 0", "exit 1", "echo 'Usage: panzer'; exit 2", "exec true"] {
        main.install(format!("#!/bin/sh\n{body}\n").as_bytes());
        main.expect_refusal(body, "");
    }
    main.install(b"#!/no/such/interpreter\n");
    main.expect_refusal("no interpreter", "");
    main.install(b"echo hello\n");
    main.expect_refusal("no program", "ENOEXEC");
    main.expect_recovery();
}

/// RATIONALE 13.13
#[test]
fn a_trial_that_hangs_holds_nobody_up() {
    let mut main = start();
    main.impose(&["unhear", "hang"]);
    let address =
        main.panzer.lines().into_iter().find_map(|line| {
            line.split_once("listening on ").map(|(_, address)| address.to_string())
        });
    let address = address.expect("the fixture says where").parse().expect("it says where");
    let asked = main.ask(&["restart"]);
    let pid = main.panzer.pid();
    main.panzer.eventually("it is tried", || look::children(pid).len() == 3);
    main.panzer.settle();
    let (held, _) = Held::hold(address).expect("it serves");
    held.finish().expect("it serves");
    assert_eq!(main.ctl(&["ready"]).status, 0);
    // A stop does not wait for it, and nobody is left.
    main.panzer.signal(Signal::Term);
    main.panzer.expect_event("stopping", |event| event.name == "stopping");
    let outcome = finish(asked);
    assert_eq!(outcome.status, 1);
    assert!(outcome.told.contains("main is stopping"), "{}", outcome.told);
    assert_eq!(main.panzer.end(), End::Status(0));
    assert_eq!(main.panzer.count("restarted"), 0);
}

/// RATIONALE 13.7
#[test]
fn a_stop_gives_a_trial_up_before_the_last_thing_is_told() {
    let mut main = Restarting::start(&["exit=1"], &["--give-up=0", "--delay=60"]);
    main.panzer.expect("failed", 2);
    main.impose(&["hang"]);
    let asked = main.ask(&["restart"]);
    // Nobody else is there, so that main leaves at once.
    main.panzer.signal(Signal::Term);
    assert_eq!(main.panzer.end(), End::Status(0));
    assert_eq!(finish(asked).status, 1);
    let events = main.panzer.events();
    assert_eq!(events.last().map(|event| &*event.name), Some("stopped"), "{events:?}");
}

/// RATIONALE 13.7
#[test]
fn whoever_asks_while_one_is_tried_has_the_answer_of_a_trial_of_his_own_or_of_that() {
    let mut main = start();
    main.impose(&["hang"]);
    let first = main.ask(&["restart"]);
    let second = main.ask(&["restart"]);
    main.panzer.signal(Signal::Usr2);
    for outcome in [first, second].map(finish) {
        assert_eq!(outcome.status, 1, "{}", outcome.told);
    }
    main.repair();
    main.expect_recovery();
}
