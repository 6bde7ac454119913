//! A restart to a broken program is refused, and changes nothing.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use panzer::sys::Signal;

use super::restartable::{RestartableMain, other_version};
use crate::harness::client::Held;
use crate::harness::ctl::finish;
use crate::harness::files;
use crate::harness::panzer::End;
use crate::harness::strace::Attached;
use crate::harness::{procfs, spawn_lock};

const HOLD: [&str; 2] = ["listen=127.0.0.1:0", "run=hold"];

/// A main with a serving generation.
fn start() -> RestartableMain {
    let mut main = RestartableMain::start(&HOLD, &["-n2", "--probation=1000"]);
    main.panzer.expect_current(1);
    main.panzer.signal(Signal::Usr1);
    main.panzer.expect("probation", 2);
    main.panzer.rest();
    main
}

/// Each of these programs is refused with a reason that contains the first text.
fn refuses(programs: &[(&str, &[&str])]) {
    let mut main = start();
    for (reason, how) in programs {
        main.install_impostor(how);
        main.expect_refusal(&format!("{how:?}"), reason);
    }
    main.expect_recovery();
}

/// rule: restart.not-executable
#[test]
fn missing_program_is_refused() {
    let mut main = start();
    fs::remove_file(&main.program).expect("it was there");
    main.expect_refusal("a missing file", "ENOENT");
    main.expect_recovery();
}

/// rule: restart.not-executable
#[test]
fn program_without_execute_permission_is_refused() {
    let mut main = start();
    let set = |main: &RestartableMain, mode| {
        fs::set_permissions(&main.program, Permissions::from_mode(mode)).expect("it is ours");
    };
    set(&main, 0o644);
    main.expect_refusal("not executable", "EACCES");
    set(&main, 0o755);
    main.restart();
    main.expect_recovery();
}

/// rule: restart.not-executable
#[test]
fn truncated_program_is_refused() {
    let whole = fs::read(files::panzer()).expect("it was built");
    let mut main = start();
    // The rest of the file may be for debuggers, and not needed to run.
    for length in [0, 1, 40, 1_000, whole.len() / 100, whole.len() / 20] {
        main.install(&whole[..length]);
        main.expect_refusal(&format!("the first {length} bytes"), "");
    }
    main.expect_recovery();
}

/// rule: restart.not-executable
#[test]
fn program_that_ends_in_zeroes_is_refused() {
    let whole = fs::read(files::panzer()).expect("it was built");
    let mut main = start();
    for length in [whole.len() / 100, whole.len() / 20] {
        let mut half = whole.clone();
        half[length..].fill(0);
        main.install(&half);
        main.expect_refusal(&format!("zeroes after {length} bytes"), "");
    }
    main.expect_recovery();
}

/// rule: restart.not-executable
#[test]
fn pipe_directory_or_device_as_program_is_refused_without_blocking() {
    let mut main = start();
    fs::remove_file(&main.program).expect("it was there");
    main.dir.gate("panzer");
    // The open did not wait for a writer.
    main.expect_refusal("a named pipe", "EACCES");
    fs::remove_file(&main.program).expect("it was there");
    fs::create_dir(&main.program).expect("the directory is ours");
    main.expect_refusal("a directory", "EACCES");
    fs::remove_dir(&main.program).expect("it was there");
    std::os::unix::fs::symlink("panzer", &main.program).expect("the directory is ours");
    main.expect_refusal("a link to itself", "ELOOP");
    fs::remove_file(&main.program).expect("it was there");
    std::os::unix::fs::symlink("/dev/zero", &main.program).expect("the directory is ours");
    main.expect_refusal("a device", "EACCES");
    fs::remove_file(&main.program).expect("it was there");
    main.expect_recovery();
}

/// rule: restart.not-executable
#[test]
fn program_open_for_writing_is_refused() {
    let mut main = start();
    main.install(&other_version());
    let file = OpenOptions::new().append(true).open(&main.program).expect("it is ours");
    main.expect_refusal("it is open for writing", "ETXTBSY");
    drop(file);
    // A child that another test forks meanwhile has the file open until its exec.
    drop(spawn_lock());
    main.restart();
    main.expect_recovery();
}

/// rule: restart.no-reply
#[test]
fn program_that_exits_in_its_probe_is_refused() {
    let mut main = start();
    for name in ["/bin/true", "/bin/false", "/bin/echo", "/bin/cat"] {
        main.install(&fs::read(name).expect("it is there"));
        main.expect_refusal(name, "");
    }
    main.expect_recovery();
}

/// rule: restart.no-reply
#[test]
fn program_that_prints_something_and_exits_is_refused() {
    refuses(&[
        ("", &["exit=0"]),
        ("", &["exit=1"]),
        ("", &["exit=7"]),
        ("", &["say=panzer 9.9.9", "exit=0"]),
        ("", &["say=Usage: panzer [OPTIONS] [--] COMMAND [ARGS...]", "exit=2"]),
        ("", &["say=panzer: unknown option", "exit=2"]),
    ]);
}

/// rule: restart.no-reply
#[test]
fn program_that_crashes_in_its_probe_is_refused() {
    refuses(&[("SIGABRT", &["abort"]), ("SIGSEGV", &["segv"])]);
}

/// rule: restart.no-reply
#[test]
fn program_with_a_malformed_reply_is_refused() {
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

/// rule: restart.reply
#[test]
fn program_that_misreads_the_state_or_declines_is_refused() {
    refuses(&[
        ("panzer 9.9.9 read the saved state differently", &["answer=1,9.9.9,", "exit=0"]),
        (
            "panzer 9.9.9 replied: I would rather not",
            &["answer=1,9.9.9,I would rather not", "exit=0"],
        ),
        ("panzer  read the saved state differently", &["answer=0,,", "exit=0"]),
    ]);
}

/// rule: restart.timeout
#[test]
fn probe_that_hangs_is_killed_after_its_timeout() {
    refuses(&[
        ("", &["hang"]),
        ("", &["unhear", "close", "hang"]),
        ("", &["random=65536", "unhear", "hang"]),
    ]);
}

/// rule: restart.timeout
#[test]
fn processes_started_by_a_probe_are_killed_with_it() {
    refuses(&[("", &["child", "exit=0"]), ("", &["child", "hang"])]);
}

/// rule: restart.timeout
#[test]
fn probe_that_does_not_lead_its_group_yet_is_killed() {
    let mut main = start();
    main.install_impostor(&["unhear", "hang"]);
    // It stays where it was forked.
    let words = ["-f", "-e", "trace=setsid", "-e", "inject=setsid:retval=0"];
    let tracer = Attached::to(main.panzer.pid(), &main.dir.join("trace"), &words);
    main.expect_refusal("a probe in main's group", "probe timed out");
    drop(tracer);
    main.expect_recovery();
}

/// rule: restart.not-executable
#[test]
fn script_as_program_is_refused() {
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

/// rule: restart.serves
#[test]
fn probe_that_hangs_delays_neither_clients_nor_a_stop() {
    let mut main = start();
    main.install_impostor(&["unhear", "hang"]);
    let address =
        main.panzer.lines().into_iter().find_map(|line| {
            line.split_once("listening on ").map(|(_, address)| address.to_string())
        });
    let address = address.expect("the fixture says where").parse().expect("it says where");
    let asked = main.ask(&["restart"]);
    let pid = main.panzer.pid();
    main.panzer.eventually("it is probed", || procfs::children(pid).len() == 3);
    main.panzer.settle();
    let (held, _) = Held::hold(address).expect("it serves");
    held.finish().expect("it serves");
    assert_eq!(main.ctl(&["ready"]).status, 0);
    // A stop does not wait for the probe, and no process is left.
    main.panzer.signal(Signal::Term);
    main.panzer.expect_event("stopping", |event| event.name == "stopping");
    let outcome = finish(asked);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("main is stopping"), "{}", outcome.stderr);
    assert_eq!(main.panzer.end(), End::Status(0));
    assert_eq!(main.panzer.count("restarted"), 0);
}

/// rule: restart.coalesced
#[test]
fn stop_cancels_a_probe_and_stopped_is_the_last_event() {
    let mut main = RestartableMain::start(&["exit=1"], &["--give-up=0", "--delay=60"]);
    main.panzer.expect("failed", 2);
    main.install_impostor(&["hang"]);
    let asked = main.ask(&["restart"]);
    // There is no generation, so main exits at once.
    main.panzer.signal(Signal::Term);
    assert_eq!(main.panzer.end(), End::Status(0));
    assert_eq!(finish(asked).status, 1);
    let events = main.panzer.events();
    assert_eq!(events.last().map(|event| &*event.name), Some("stopped"), "{events:?}");
}

/// rule: restart.coalesced
#[test]
fn clients_that_ask_for_a_restart_during_a_probe_are_answered() {
    let mut main = start();
    main.install_impostor(&["hang"]);
    let first = main.ask(&["restart"]);
    let second = main.ask(&["restart"]);
    main.panzer.signal(Signal::Usr2);
    for outcome in [first, second].map(finish) {
        assert_eq!(outcome.status, 1, "{}", outcome.stderr);
    }
    main.repair();
    main.expect_recovery();
}
