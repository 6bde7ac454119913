//! Panzerctl and a process that only pretends to be main: no other process is
//! signalled, and no reply does any harm.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::harness::control_client::socket_of;
use crate::harness::ctl::{CommandResult, FakeMain, begin, ctl, finish, python};
use crate::harness::files::TempDir;
use crate::harness::panzer::send;
use panzer::sys::Signal;

const COMMANDS: [&[&str]; 7] =
    [&["status"], &["reload"], &["restart"], &["shutdown"], &["exit"], &["scale", "2"], &["ready"]];

fn pid_file() -> (TempDir, PathBuf) {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    (dir, path)
}

/// rule: ctl.find
#[test]
fn process_without_the_lock_is_never_signalled() {
    let (dir, path) = pid_file();
    let other = FakeMain::start(&dir.join("other.pid"), "own", "none", &[]);
    let own = fs::read_to_string(dir.join("other.pid")).expect("it was written");
    let megabyte = "1".repeat(1 << 20);
    for content in [&*own, "", "-1\n", "0\n", "junk\n", "99999999999999\n", &megabyte] {
        fs::write(&path, content).expect("the directory is ours");
        for words in COMMANDS {
            let outcome = ctl(&path, words);
            assert_eq!(outcome.status, 3, "{:.20} {words:?} {}", content, outcome.stderr);
            assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        }
    }
    assert_eq!(other.end(), [""; 0]);
}

/// rule: ctl.find
#[test]
fn lock_holder_whose_pid_is_not_in_the_file_is_never_signalled() {
    let (dir, path) = pid_file();
    let other = FakeMain::start(&dir.join("other.pid"), "own", "none", &[]);
    let own = fs::read_to_string(dir.join("other.pid")).expect("it was written");
    for content in [&*own, "", "-1\n", "0\n", "junk\n"] {
        let holder = FakeMain::start(&path, &content.escape_default().to_string(), "none", &[]);
        for words in COMMANDS {
            let outcome = ctl(&path, words);
            assert!([1, 3].contains(&outcome.status), "{words:?} {}", outcome.stderr);
        }
        assert_eq!(holder.end(), [""; 0], "{content:?}");
    }
    assert_eq!(other.end(), [""; 0]);
}

/// rule: ctl.by-signal
#[test]
fn lock_holder_whose_pid_is_in_the_file_is_signalled() {
    let (_dir, path) = pid_file();
    let mut main = FakeMain::start(&path, "own", "none", &[]);
    for (command, signals) in
        [("status", &["SIGTTIN"][..]), ("reload", &["SIGUSR1"]), ("restart", &["SIGUSR2"])]
    {
        assert_eq!(ctl(&path, &[command]).status, 0);
        signals.iter().for_each(|signal| main.expect(signal));
    }
    for (command, last) in [("shutdown", "SIGTERM"), ("exit", "SIGQUIT")] {
        assert_eq!(ctl(&path, &["--timeout=0.05", command]).status, 4);
        main.expect(last);
        assert_eq!(ctl(&path, &[command, "--no-wait"]).status, 0);
        main.expect(last);
    }
    let waits = begin(&path, &["shutdown"]);
    main.expect("SIGTERM");
    main.end();
    assert_eq!(finish(waits).status, 0);
}

/// rule: ctl.find
#[test]
fn fifo_symlink_or_directory_is_not_a_pid_file() {
    let (dir, path) = pid_file();
    dir.gate("panzer.pid");
    assert_eq!(ctl(&path, &["shutdown"]).status, 3, "a FIFO");
    fs::remove_file(&path).expect("the directory is ours");
    let main = FakeMain::start(&dir.join("real.pid"), "own", "none", &[]);
    symlink(dir.join("real.pid"), &path).expect("the directory is ours");
    assert_eq!(ctl(&path, &["shutdown"]).status, 3, "a link");
    assert_eq!(ctl(dir.path(), &["shutdown"]).status, 3, "a directory");
    assert_eq!(ctl(&dir.join("nothing"), &["shutdown"]).status, 3, "nothing");
    assert_eq!(main.end(), [""; 0]);
}

/// rule: ctl.shutdown
#[test]
fn shutdown_returns_only_after_main_has_exited() {
    let (_dir, path) = pid_file();
    let mut main = FakeMain::start(&path, "own", "progress main is stopping\\ndone\\n", &[]);
    // It has replied "done" and closed the connection, but has not exited.
    assert_eq!(ctl(&path, &["--timeout=0.05", "shutdown"]).status, 4);
    let pid = fs::read_to_string(&path).expect("it was written").trim().parse();
    send(pid.expect("a number"), Signal::Hup);
    main.expect("SIGHUP");
    assert_eq!(main.end(), ["SIGHUP"]);
}

/// rule: ctl.shutdown
#[test]
fn shutdown_is_asked_by_signal_when_main_closes_without_a_word() {
    for (command, signal) in [("shutdown", "SIGTERM"), ("exit", "SIGQUIT")] {
        let (_dir, path) = pid_file();
        let mut main = FakeMain::start(&path, "own", "", &[]);
        let waits = begin(&path, &[command]);
        main.expect(signal);
        main.end();
        assert_eq!(finish(waits).status, 0);
    }
}

/// rule: ctl.shutdown
#[test]
fn shutdown_returns_when_main_exits_even_if_connection_stays_open() {
    let (_dir, path) = pid_file();
    let main = FakeMain::start(&path, "own", "progress soon\\ndone\\n", &["kept"]);
    let mut client = begin(&path, &["shutdown"]);
    let mut stderr = BufReader::new(client.stderr.take().expect("it is a pipe"));
    stderr.read_line(&mut String::new()).expect("its first reply has arrived");
    assert_eq!(main.end(), [""; 0]);
    assert_eq!(finish(client).status, 0);
}

/// rule: ctl.shutdown
#[test]
fn unanswered_shutdown_succeeds_when_main_has_exited() {
    let (_dir, path) = pid_file();
    for (command, status) in [("shutdown", 0), ("reload", 1)] {
        let main = FakeMain::start(&path, "own", "progress soon\\n", &[]);
        let mut client = begin(&path, &[command]);
        let mut stderr = BufReader::new(client.stderr.take().expect("it is a pipe"));
        stderr.read_line(&mut String::new()).expect("its first reply has arrived");
        assert_eq!(main.end(), [""; 0]);
        assert_eq!(finish(client).status, status, "{command}");
        fs::remove_file(socket_of(&path)).expect("it was not removed");
    }
}

/// rule: ctl.find
#[test]
fn socket_of_another_process_is_sent_no_request() {
    let (_dir, path) = pid_file();
    let listener = UnixListener::bind(socket_of(&path)).expect("the directory is ours");
    let mut main = FakeMain::start(&path, "own", "none", &[]);
    assert_eq!(ctl(&path, &["ready"]).status, 1);
    assert_eq!(ctl(&path, &["reload"]).status, 0);
    main.expect("SIGUSR1");
    for _ in 0..2 {
        let mut received = Vec::new();
        let (mut stream, _) =
            listener.accept().expect("both have connected to see whose socket it is");
        stream.read_to_end(&mut received).expect("they have closed it");
        assert!(received.is_empty());
    }
    assert_eq!(main.end(), ["SIGUSR1"]);
}

const MAIN: &str = "main version=9.9 pid=7 now=100 up=50 state=running binary=same dropped=0\\n";
const GENERATION: &str = "generation number=1 state=current leader=8 since=1 board=yes\\n";

/// The result of `status` with this reply.
fn status_of(answer: &str, boards: &[&str], form: &[&str]) -> CommandResult {
    let (_dir, path) = pid_file();
    let main = FakeMain::start(&path, "own", answer, boards);
    let words: Vec<_> = ["status"].into_iter().chain(form.iter().copied()).collect();
    let outcome = ctl(&path, &words);
    assert_eq!(main.end(), [""; 0], "no signal where there is a socket");
    outcome
}

/// rule: ctl.untrusted-reply
#[test]
fn malformed_reply_fails_with_one_line() {
    let long = format!("{MAIN}{}\\ndone\\n", "x".repeat(9_000));
    for answer in [
        "",
        "done\\n",
        MAIN,
        "failed no\\x1b[2J\\n",
        "refused this main speaks panzer/2\\n",
        "\\x00\\xff\\n",
        &long,
        "main version=1 pid=0 now=x up=50 state=running binary=same dropped=0\\ndone\\n",
    ] {
        let outcome = status_of(answer, &[], &[]);
        assert_eq!((outcome.status, &*outcome.stdout), (1, ""), "{answer:.40}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        assert!(!outcome.stderr.contains('\u{1b}'), "{}", outcome.stderr);
    }
}

/// rule: ctl.untrusted-reply
#[test]
fn unusable_scoreboard_is_named_in_status() {
    let answer = format!("{MAIN}{GENERATION}done\\n");
    for (board, shown) in [
        ("good", "pid 77, 12345 handled, 2 restarts"),
        ("other", "scoreboard rejected: unknown version"),
        ("none", "scoreboard rejected: not made by panzer"),
        ("short", "scoreboard rejected: too short"),
        ("open", "scoreboard rejected: not sealed"),
        ("zero", "scoreboard rejected: not sealed"),
    ] {
        let outcome = status_of(&answer, &[board], &[]);
        assert!(
            outcome.status == 0 && outcome.stdout.contains(shown),
            "{board}: {}",
            outcome.stdout
        );
    }
    let outcome = status_of(&answer, &[], &[]);
    assert!(outcome.stdout.contains("scoreboard missing in the reply"), "{}", outcome.stdout);
    assert!(status_of(&answer, &["good"], &[]).stdout.contains("last exit: killed by SIGKILL"));
}

/// rule: ctl.untrusted-reply
#[test]
fn corrupt_scoreboard_does_not_break_output() {
    let answer = format!("{MAIN}{}done\\n", GENERATION.repeat(3));
    let names: Vec<_> = (0..3).map(|number| format!("random{number}")).collect();
    let boards: Vec<_> = names.iter().map(String::as_str).chain(["cut"; 2]).collect();
    for boards in boards.windows(3) {
        let tree = status_of(&answer, boards, &[]);
        assert!(tree.status == 0 && tree.stdout.lines().all(|line| line.chars().count() <= 80));
        let json = status_of(&answer, boards, &["--json"]);
        let read = python(
            "import json,sys; print(len(json.load(sys.stdin)['generations']))",
            &[],
            &json.stdout,
        );
        assert_eq!(read.stdout, "3\n", "{}", read.stderr);
    }
}

/// The holder of the lock may send escape sequences, which a terminal would obey.
#[test]
fn control_characters_in_replies_are_escaped() {
    let raw = r"\x1b]0;owned\x07\x1b[2J\xc2\x9b5n";
    let status = r"main version=1\x1b pid=1 now=9 up=1 state=running binary=same dropped=0";
    for (command, answer) in [
        ("ready", format!("done {raw}\\n")),
        ("reload", format!("done {raw}\\n")),
        ("reload", format!("progress {raw}\\nfailed {raw}\\n")),
        ("scale", format!("refused {raw}\\n")),
        ("status", format!("failed {raw}\\n")),
        ("status", format!("{status}\\ndone {raw}\\n")),
    ] {
        let (_dir, path) = pid_file();
        let main = FakeMain::start(&path, "own", &answer, &[]);
        let words = if command == "scale" { vec![command, "2"] } else { vec![command] };
        let outcome = ctl(&path, &words);
        let all = [outcome.stdout, outcome.stderr].concat();
        let is_raw = |c: char| c.is_control() && c != '\n';
        assert!(!all.contains(is_raw), "{command}: {all:?}");
        assert!(all.contains(r"\x1b") || all.contains("panzer 1"), "{command}: {all:?}");
        main.end();
    }
}
