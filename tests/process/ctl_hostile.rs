//! Panzerctl and who only says that he is main: nobody is signalled who is
//! not, and nothing that is answered does any harm.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::harness::ctl::{Outcome, Pretender, begin, ctl, finish, python};
use crate::harness::operator::socket_of;
use crate::harness::panzer::send;
use crate::harness::place::Place;
use panzer::sys::Signal;

const COMMANDS: [&[&str]; 7] =
    [&["status"], &["reload"], &["restart"], &["shutdown"], &["exit"], &["scale", "2"], &["ready"]];

fn pid_file() -> (Place, PathBuf) {
    let place = Place::new();
    let path = place.join("panzer.pid");
    (place, path)
}

/// RATIONALE 11.30
#[test]
fn whoever_has_no_lock_is_never_signalled() {
    let (place, path) = pid_file();
    let other = Pretender::start(&place.join("other.pid"), "own", "none", &[]);
    let own = fs::read_to_string(place.join("other.pid")).expect("it was written");
    let megabyte = "1".repeat(1 << 20);
    for content in [&*own, "", "-1\n", "0\n", "junk\n", "99999999999999\n", &megabyte] {
        fs::write(&path, content).expect("the place is ours");
        for words in COMMANDS {
            let outcome = ctl(&path, words);
            assert_eq!(outcome.status, 3, "{:.20} {words:?} {}", content, outcome.told);
            assert_eq!(outcome.told.lines().count(), 1, "{}", outcome.told);
        }
    }
    assert_eq!(other.end(), [""; 0]);
}

/// RATIONALE 11.30
#[test]
fn whoever_has_the_lock_and_is_not_in_the_file_is_never_signalled() {
    let (place, path) = pid_file();
    let other = Pretender::start(&place.join("other.pid"), "own", "none", &[]);
    let own = fs::read_to_string(place.join("other.pid")).expect("it was written");
    for content in [&*own, "", "-1\n", "0\n", "junk\n"] {
        let holder = Pretender::start(&path, &content.escape_default().to_string(), "none", &[]);
        for words in COMMANDS {
            let outcome = ctl(&path, words);
            assert!([1, 3].contains(&outcome.status), "{words:?} {}", outcome.told);
        }
        assert_eq!(holder.end(), [""; 0], "{content:?}");
    }
    assert_eq!(other.end(), [""; 0]);
}

/// RATIONALE 11.33
#[test]
fn whoever_has_the_lock_and_is_in_the_file_gets_the_signals() {
    let (_place, path) = pid_file();
    let mut main = Pretender::start(&path, "own", "none", &[]);
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

/// RATIONALE 11.30
#[test]
fn what_is_no_pid_file_is_no_main() {
    let (place, path) = pid_file();
    place.gate("panzer.pid");
    assert_eq!(ctl(&path, &["shutdown"]).status, 3, "a FIFO");
    fs::remove_file(&path).expect("the place is ours");
    let main = Pretender::start(&place.join("real.pid"), "own", "none", &[]);
    symlink(place.join("real.pid"), &path).expect("the place is ours");
    assert_eq!(ctl(&path, &["shutdown"]).status, 3, "a link");
    assert_eq!(ctl(place.path(), &["shutdown"]).status, 3, "a directory");
    assert_eq!(ctl(&place.join("nothing"), &["shutdown"]).status, 3, "nothing");
    assert_eq!(main.end(), [""; 0]);
}

/// RATIONALE 11.32
#[test]
fn panzerctl_shutdown_ends_no_sooner_than_main() {
    let (_place, path) = pid_file();
    let mut main = Pretender::start(&path, "own", "progress main is stopping\\ndone\\n", &[]);
    // It has said that it is done, and closed the connection; yet it is there.
    assert_eq!(ctl(&path, &["--timeout=0.05", "shutdown"]).status, 4);
    let pid = fs::read_to_string(&path).expect("it was written").trim().parse();
    send(pid.expect("a number"), Signal::Hup);
    main.expect("SIGHUP");
    assert_eq!(main.end(), ["SIGHUP"]);
}

/// RATIONALE 11.32
#[test]
fn a_shutdown_that_main_does_not_answer_any_more_is_done_when_main_is_gone() {
    let (_place, path) = pid_file();
    for (command, status) in [("shutdown", 0), ("reload", 1)] {
        let main = Pretender::start(&path, "own", "progress soon\\n", &[]);
        let mut asked = begin(&path, &[command]);
        let mut told = BufReader::new(asked.stderr.take().expect("it was asked for"));
        told.read_line(&mut String::new()).expect("it has been let in");
        assert_eq!(main.end(), [""; 0]);
        assert_eq!(finish(asked).status, status, "{command}");
        fs::remove_file(socket_of(&path)).expect("nobody has taken it away");
    }
}

/// RATIONALE 11.30
#[test]
fn whoever_listens_in_the_place_of_main_is_asked_nothing() {
    let (_place, path) = pid_file();
    let listener = UnixListener::bind(socket_of(&path)).expect("the place is ours");
    let mut main = Pretender::start(&path, "own", "none", &[]);
    assert_eq!(ctl(&path, &["ready"]).status, 1);
    assert_eq!(ctl(&path, &["reload"]).status, 0);
    main.expect("SIGUSR1");
    for _ in 0..2 {
        let mut said = Vec::new();
        let (mut stream, _) = listener.accept().expect("both have looked who is there");
        stream.read_to_end(&mut said).expect("they are gone");
        assert!(said.is_empty());
    }
    assert_eq!(main.end(), ["SIGUSR1"]);
}

const MAIN: &str = "main version=9.9 pid=7 now=100 up=50 state=running binary=same dropped=0\\n";
const GENERATION: &str = "generation number=1 state=current leader=8 since=1 board=yes\\n";

/// What a status comes to that is answered so.
fn status_of(answer: &str, boards: &[&str], form: &[&str]) -> Outcome {
    let (_place, path) = pid_file();
    let main = Pretender::start(&path, "own", answer, boards);
    let words: Vec<_> = ["status"].into_iter().chain(form.iter().copied()).collect();
    let outcome = ctl(&path, &words);
    assert_eq!(main.end(), [""; 0], "no signal where there is a socket");
    outcome
}

/// RATIONALE 11.34
#[test]
fn an_answer_that_is_none_fails_with_one_line() {
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
        assert_eq!((outcome.status, &*outcome.shown), (1, ""), "{answer:.40}");
        assert_eq!(outcome.told.lines().count(), 1, "{}", outcome.told);
        assert!(!outcome.told.contains('\u{1b}'), "{}", outcome.told);
    }
}

/// RATIONALE 11.34
#[test]
fn a_board_of_another_version_is_refused_politely() {
    let answer = format!("{MAIN}{GENERATION}done\\n");
    for (board, shown) in [
        ("good", "pid 77, 12345 handled, 2 restarts"),
        ("other", "its board is of another version"),
        ("none", "its board is not one of Panzer's"),
        ("short", "its board is too short"),
        ("open", "its board is not sealed"),
        ("zero", "its board is not sealed"),
    ] {
        let outcome = status_of(&answer, &[board], &[]);
        assert!(outcome.status == 0 && outcome.shown.contains(shown), "{board}: {}", outcome.shown);
    }
    let outcome = status_of(&answer, &[], &[]);
    assert!(outcome.shown.contains("its board has not come along"), "{}", outcome.shown);
    assert!(status_of(&answer, &["good"], &[]).shown.contains("before: killed by SIGKILL"));
}

/// RATIONALE 11.34
#[test]
fn no_board_breaks_what_is_shown() {
    let answer = format!("{MAIN}{}done\\n", GENERATION.repeat(3));
    let names: Vec<_> = (0..3).map(|number| format!("random{number}")).collect();
    let boards: Vec<_> = names.iter().map(String::as_str).chain(["cut"; 2]).collect();
    for boards in boards.windows(3) {
        let tree = status_of(&answer, boards, &[]);
        assert!(tree.status == 0 && tree.shown.lines().all(|line| line.chars().count() <= 80));
        let json = status_of(&answer, boards, &["--json"]);
        let read = python(
            "import json,sys; print(len(json.load(sys.stdin)['generations']))",
            &[],
            &json.shown,
        );
        assert_eq!(read.shown, "3\n", "{}", read.told);
    }
}
