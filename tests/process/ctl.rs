//! What panzerctl does, and with which status it ends.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::client::Held;
use crate::harness::ctl::{begin, command, ctl, finish, python};
use crate::harness::panzer::{End, Panzer, continue_process, stop_process};
use crate::harness::place::{Place, example, panzerctl};
use crate::harness::setup::Setup;
use crate::harness::skip;

const IDLE: [&str; 2] = ["listen=web=127.0.0.1:0", "run=idle"];

/// A place, the pid file in it, and a panzer that has it.
fn start(words: &[&str], options: &[&str]) -> (Place, PathBuf, Panzer) {
    let place = Place::new();
    let app = place.app(&example("witness"), words);
    let (pid_file, panzer) = start_in(&place, &app, options);
    (place, pid_file, panzer)
}

fn start_in(place: &Place, app: &Path, options: &[&str]) -> (PathBuf, Panzer) {
    let pid_file = place.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let panzer = Setup::new(app, &[]).options(&[&option]).options(options).start();
    (pid_file, panzer)
}

/// The same without a control socket: something else stands in its place.
fn start_without_socket(words: &[&str]) -> (Place, PathBuf, Panzer) {
    let place = Place::new();
    place.write("panzer.sock", "not a socket");
    let app = place.app(&example("witness"), words);
    let (pid_file, mut panzer) = start_in(&place, &app, &["-n1"]);
    panzer.expect_current(1);
    (place, pid_file, panzer)
}

/// RATIONALE 11.31
#[test]
fn panzerctl_reload_ends_with_0_when_the_new_generation_serves() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n1", "--probation=0.01"]);
    panzer.expect_current(1);
    let outcome = ctl(&pid_file, &["reload"]);
    assert_eq!((outcome.status, &*outcome.shown), (0, "generation 2 is current\n"));
    panzer.expect_current(2);
    let progress = "panzerctl: generation 2 is started\n\
                    panzerctl: generation 2 is ready\n\
                    panzerctl: generation 2 is on probation\n";
    assert_eq!(outcome.told, progress);
    panzer.stop();
}

/// RATIONALE 11.31
#[test]
fn panzerctl_reload_ends_with_1_and_the_reason_when_it_failed() {
    let (place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    place.script("app", "exit 7");
    let outcome = ctl(&pid_file, &["reload"]);
    assert_eq!((outcome.status, &*outcome.shown), (1, ""));
    let last = outcome.told.lines().last().expect("it tells why");
    assert_eq!(last, "panzerctl: generation 2 failed: its monitor exited with status 7");
    let status = ctl(&pid_file, &["status"]).shown;
    assert!(status.contains("last reload: generation 2 failed "), "{status}");
    assert!(status.contains("\n  its monitor exited with status 7\n"), "{status}");
    panzer.stop();
}

/// RATIONALE 11.31
#[test]
fn panzerctl_ends_with_4_when_main_does_not_answer_in_time() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    stop_process(panzer.pid());
    for command in ["reload", "status", "ready"] {
        let outcome = ctl(&pid_file, &["--timeout=0.01", command]);
        let told = "panzerctl: main has not answered within 10 ms\n";
        assert_eq!((outcome.status, &*outcome.told), (4, told), "{command}");
    }
    // One that does not wait needs no answer.
    assert_eq!(ctl(&pid_file, &["reload", "--no-wait"]).status, 0);
    continue_process(panzer.pid());
    panzer.expect_current(2);
    panzer.stop();
}

/// RATIONALE 11.31
#[test]
fn panzerctl_ready_ends_with_0_only_while_main_is_ready() {
    let place = Place::new();
    let gate = place.gate("gate");
    let wait = format!("wait={}", gate.display());
    let app = place.app(&example("witness"), &[&*wait, IDLE[0], IDLE[1]]);
    let (pid_file, mut panzer) = start_in(&place, &app, &["-n1"]);
    panzer.expect("started", 1);
    assert_eq!(ctl(&pid_file, &["ready"]).status, 1);
    crate::harness::place::open_gate(&gate);
    panzer.expect_current(1);
    assert_eq!(ctl(&pid_file, &["ready"]).status, 0);
    panzer.stop();
    assert_eq!(ctl(&pid_file, &["ready"]).status, 3);
}

/// RATIONALE 11.32
#[test]
fn panzerctl_shutdown_waits_until_the_last_request_is_finished() {
    let (_place, pid_file, mut panzer) = start(&["listen=127.0.0.1:0", "run=hold"], &["-n1"]);
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let held = Held::hold(address).expect("it serves").0;
    let asked = begin(&pid_file, &["shutdown"]);
    panzer.expect_event("stop", |event| event.name == "stopping");
    assert_eq!(ctl(&pid_file, &["ready"]).status, 1);
    drop(held);
    let outcome = finish(asked);
    assert_eq!((outcome.status, &*outcome.shown), (0, "main leaves with status 0\n"));
    assert!(!pid_file.exists(), "main is gone, and its file with it");
    assert_eq!(panzer.end(), End::Status(0));
}

/// RATIONALE 11.33
#[test]
fn without_a_socket_panzerctl_sends_the_signals() {
    let (_place, pid_file, mut panzer) = start_without_socket(&IDLE);
    let outcome = ctl(&pid_file, &["status"]);
    assert_eq!((outcome.status, &*outcome.shown), (0, ""));
    assert!(outcome.told.contains("its log has the answer"), "{}", outcome.told);
    panzer.expect_line(": status: panzer ");
    assert_eq!(ctl(&pid_file, &["reload"]).status, 0);
    panzer.expect_current(2);
    assert_eq!(ctl(&pid_file, &["restart"]).status, 0);
    panzer.expect_line("main is panzer ");
    for words in [&["ready"][..], &["scale", "2"], &["status", "--json"], &["status", "--watch"]] {
        let outcome = ctl(&pid_file, words);
        assert_eq!(outcome.status, 1, "{words:?}");
        assert!(outcome.told.contains("there is no control socket"), "{}", outcome.told);
    }
    assert_eq!(ctl(&pid_file, &["shutdown"]).status, 0);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(ctl(&pid_file, &["shutdown"]).status, 3);
}

/// RATIONALE 11.33
#[test]
fn panzerctl_looks_twice_before_it_says_that_there_is_no_socket() {
    let (_place, pid_file, panzer) = start_without_socket(&IDLE);
    let since = panzer::now();
    assert_eq!(ctl(&pid_file, &["ready"]).status, 1);
    assert!(panzer::now().since(since).0 >= 50, "it may be about to be made");
    panzer.stop();
}

/// RATIONALE 11.33
#[test]
fn without_a_socket_panzerctl_exit_stops_now() {
    let (_place, pid_file, mut panzer) = start_without_socket(&["listen=127.0.0.1:0", "run=hold"]);
    let address = panzer.expect_address();
    let held = Held::hold(address).expect("it serves").0;
    // The graceful stop would take a minute: the client stays.
    assert_eq!(ctl(&pid_file, &["exit"]).status, 0);
    assert!(matches!(panzer.end(), End::Status(_)));
    drop(held);
}

/// RATIONALE 11.31
#[test]
fn a_wrong_command_line_of_panzerctl_is_named_and_asks_nobody() {
    let place = Place::new();
    let pid_file = place.join("panzer.pid");
    for words in
        [&[][..], &["stop"], &["scale", "0"], &["status", "--bogus"], &["-t", "x", "ready"]]
    {
        let outcome = ctl(&pid_file, words);
        assert_eq!((outcome.status, outcome.told.lines().count()), (2, 1), "{words:?}");
    }
    assert_eq!(ctl(&pid_file, &["--help"]).status, 0);
    assert_eq!(ctl(&pid_file, &["--version"]).shown, "panzerctl 0.1.0\n");
}

/// RATIONALE 11.35
#[test]
fn the_status_is_a_tree_of_80_columns_and_plain_in_a_pipe() {
    let long = format!("--bind={}=127.0.0.1:0", "n".repeat(100));
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n2", &long]);
    let monitor = panzer.expect_current(1);
    let shown = ctl(&pid_file, &["status"]).shown;
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let begins = format!("panzer 0.1.0, pid {}, running, up ", panzer.pid());
    assert!(shown.starts_with(&begins), "{shown}");
    assert!(shown.contains("└─ generation 1   current "), "{shown}");
    assert!(shown.contains(&format!("monitor {monitor}\n")), "{shown}");
    for (slot, pid) in panzer.workers(monitor).into_iter().enumerate() {
        let line = shown.lines().find(|line| line.contains(&format!("pid {pid}, 0 handled")));
        assert!(line.is_some_and(|line| line.contains(&format!("worker {}", slot + 1))), "{shown}");
    }
    panzer.stop();
}

/// RATIONALE 11.35
#[test]
fn the_status_as_json_is_one_object_and_as_metrics_what_prometheus_reads() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n512", r#"--bind=a"b\c=127.0.0.1:0"#]);
    panzer.expect_current(1);
    let json = ctl(&pid_file, &["status", "--json"]).shown;
    assert_eq!(json.lines().count(), 1);
    let read = "import json,sys; o=json.load(sys.stdin); g=o['generations'][0]; \
                print(o['main']['pid'], o['listeners'][0]['name'], len(g['workers']), \
                len({w['pid'] for w in g['workers']}), g['workers'][511]['slot'])";
    let expected = format!("{} a\"b\\c 512 512 512\n", panzer.pid());
    assert_eq!(python(read, &[], &json).shown, expected);
    let metrics = ctl(&pid_file, &["status", "--metrics"]).shown;
    assert!(metrics.ends_with("\n# EOF\n"));
    let read = "import sys; from prometheus_client.openmetrics import parser\n\
                m={f.name: f for f in parser.text_string_to_metric_families(sys.stdin.read())}\n\
                print(len(m['panzer_worker_handled'].samples), \
                m['panzer_listener_queue'].samples[0].labels['name'])";
    let outcome = python(read, &[], &metrics);
    if outcome.told.contains("ModuleNotFoundError") {
        skip("metrics", "prometheus-client is not installed");
    } else {
        assert_eq!(outcome.shown, "512 a\"b\\c\n", "{}", outcome.told);
    }
    panzer.stop();
}

/// Runs the words on a terminal of their own; at the second picture, or at the
/// end, the terminal's user presses Ctrl-C. Prints the status and what the
/// terminal was sent.
const TERMINAL: &str = r"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
seen, pressed = b'', False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    seen += piece
    if not pressed and seen.count(b'\x1b[J') == 2:
        pressed = os.write(terminal, b'\x03')
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), repr(seen))
";

fn on_a_terminal(pid_file: &Path, environment: &str, words: &[&str]) -> String {
    let (program, pid_file) = (panzerctl(), pid_file.display().to_string());
    let program = program.to_string_lossy();
    let start = ["env", "TERM=xterm", environment, &program, "--pid", &pid_file];
    let words: Vec<_> = start.into_iter().chain(words.iter().copied()).collect();
    python(TERMINAL, &words, "").shown
}

/// RATIONALE 11.35
#[test]
fn the_status_has_colours_on_a_terminal_unless_they_are_not_wanted() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let seen = on_a_terminal(&pid_file, "NO_COLOR=", &["status"]);
    assert!(seen.starts_with("0 ") && seen.contains(r"\x1b[32mcurrent\x1b[0m"), "{seen}");
    for environment in ["NO_COLOR=1", "TERM=dumb"] {
        let seen = on_a_terminal(&pid_file, environment, &["status"]);
        assert!(seen.contains("current") && !seen.contains(r"\x1b"), "{seen}");
    }
    panzer.stop();
}

/// RATIONALE 11.36
#[test]
fn a_watch_leaves_the_terminal_as_it_was() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let seen = on_a_terminal(&pid_file, "NO_COLOR=1", &["status", "--watch"]);
    let enter = r"b'\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[Hpanzer 0.1.0, pid ";
    assert!(seen.starts_with(&format!("0 {enter}")), "{seen}");
    assert_eq!(seen.matches(r"\x1b[Hpanzer").count(), 2, "{seen}");
    assert!(seen.trim_end().ends_with(r"\x1b[?7h\x1b[?25h\x1b[?1049l'"), "{seen}");
    panzer.stop();
}

/// RATIONALE 11.36
#[test]
fn a_watch_ends_when_main_does() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let mut watch = {
        let _alone = crate::harness::alone();
        command(&pid_file, &["status", "--watch", "--json"]).spawn().expect("timeout is there")
    };
    let out = watch.stdout.take().expect("it was asked for");
    let mut told = crate::harness::told::Told::read(out, |line| line);
    told.find(|line| line.ends_with('}')).expect("a first object");
    panzer.stop();
    assert_eq!(finish(watch).status, 3);
}

/// RATIONALE 11.30
#[test]
fn the_default_pid_file_is_the_one_of_panzer() {
    let place = Place::new();
    fs::create_dir(place.join("tmp")).expect("the place is ours");
    let app = place.app(&example("witness"), &IDLE);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1"]).directory(place.path()).start();
    panzer.expect_current(1);
    let output = {
        let _alone = crate::harness::alone();
        let mut command = std::process::Command::new(panzerctl());
        command.arg("ready").current_dir(place.path()).output().expect("it runs")
    };
    assert_eq!(output.status.code(), Some(0));
    panzer.stop();
}
