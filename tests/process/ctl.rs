//! What panzerctl does, and its exit status.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use crate::harness::client::Held;
use crate::harness::ctl::{begin, ctl, finish, python};
use crate::harness::files::{TempDir, example, panzerctl};
use crate::harness::panzer::{End, Panzer, continue_process, stop_process};
use crate::harness::setup::Setup;
use crate::harness::stream::Stream;
use crate::harness::{procfs, skip, spawn_lock};

const IDLE: [&str; 2] = ["listen=web=127.0.0.1:0", "run=idle"];

/// A directory, the pid file in it, and a panzer that uses it.
fn start(words: &[&str], options: &[&str]) -> (TempDir, PathBuf, Panzer) {
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), words);
    let (pid_file, panzer) = start_in(&dir, &app, options);
    (dir, pid_file, panzer)
}

fn start_in(dir: &TempDir, app: &Path, options: &[&str]) -> (PathBuf, Panzer) {
    let pid_file = dir.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let panzer = Setup::new(app, &[]).options(&[&option]).options(options).start();
    (pid_file, panzer)
}

/// The same without a control socket: another file is at its path.
fn start_without_socket(words: &[&str]) -> (TempDir, PathBuf, Panzer) {
    let dir = TempDir::new();
    dir.write("panzer.sock", "not a socket");
    let app = dir.app(&example("witness"), words);
    let (pid_file, mut panzer) = start_in(&dir, &app, &["-n1"]);
    panzer.expect_current(1);
    (dir, pid_file, panzer)
}

/// rule: ctl.exit-status
#[test]
fn reload_exits_with_0_when_new_generation_is_current() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1", "--probation=0.01"]);
    panzer.expect_current(1);
    let outcome = ctl(&pid_file, &["reload"]);
    assert_eq!((outcome.status, &*outcome.stdout), (0, "generation 2 is current\n"));
    panzer.expect_current(2);
    let progress = "panzerctl: generation 2 is started\n\
                    panzerctl: generation 2 is ready\n\
                    panzerctl: generation 2 is on probation\n";
    assert_eq!(outcome.stderr, progress);
    panzer.stop();
}

/// rule: ctl.exit-status
#[test]
fn failed_reload_exits_with_1_and_prints_the_reason() {
    let (dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    dir.script("app", "exit 7");
    let outcome = ctl(&pid_file, &["reload"]);
    assert_eq!((outcome.status, &*outcome.stdout), (1, ""));
    let last = outcome.stderr.lines().last().expect("the reason is printed");
    assert_eq!(last, "panzerctl: generation 2 failed: its monitor exited with status 7");
    let status = ctl(&pid_file, &["status"]).stdout;
    assert!(status.contains("last reload: generation 2 failed "), "{status}");
    assert!(status.contains("\n  its monitor exited with status 7\n"), "{status}");
    panzer.stop();
}

/// rule: ctl.exit-status
#[test]
fn commands_exit_with_4_if_main_does_not_answer_in_time() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    stop_process(panzer.pid());
    for command in ["reload", "status", "ready"] {
        let outcome = ctl(&pid_file, &["--timeout=0.01", command]);
        let message = "panzerctl: no reply from main within 10 ms (--timeout)\n";
        assert_eq!((outcome.status, &*outcome.stderr), (4, message), "{command}");
    }
    // A command that does not wait needs no answer.
    assert_eq!(ctl(&pid_file, &["reload", "--no-wait"]).status, 0);
    continue_process(panzer.pid());
    panzer.expect_current(2);
    panzer.stop();
}

/// rule: ctl.exit-status
#[test]
fn ready_exits_with_0_only_while_main_is_ready() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    let app = dir.app(&example("witness"), &[&*wait, IDLE[0], IDLE[1]]);
    let (pid_file, mut panzer) = start_in(&dir, &app, &["-n1"]);
    panzer.expect("started", 1);
    assert_eq!(ctl(&pid_file, &["ready"]).status, 1);
    crate::harness::files::open_gate(&gate);
    panzer.expect_current(1);
    assert_eq!(ctl(&pid_file, &["ready"]).status, 0);
    panzer.stop();
    assert_eq!(ctl(&pid_file, &["ready"]).status, 3);
}

/// rule: ctl.shutdown
#[test]
fn shutdown_waits_until_last_request_is_finished() {
    let (_dir, pid_file, mut panzer) = start(&["listen=127.0.0.1:0", "run=hold"], &["-n1"]);
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let held = Held::hold(address).expect("it serves").0;
    let shutdown = begin(&pid_file, &["shutdown"]);
    panzer.expect_event("stop", |event| event.name == "stopping");
    assert_eq!(ctl(&pid_file, &["ready"]).status, 1);
    drop(held);
    let outcome = finish(shutdown);
    assert_eq!((outcome.status, &*outcome.stdout), (0, "main exits with status 0\n"));
    assert!(!pid_file.exists(), "main has exited and removed its pid file");
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: ctl.by-signal
#[test]
fn without_control_socket_commands_are_sent_as_signals() {
    let (_dir, pid_file, mut panzer) = start_without_socket(&IDLE);
    let outcome = ctl(&pid_file, &["status"]);
    assert_eq!((outcome.status, &*outcome.stdout), (0, ""));
    assert!(outcome.stderr.contains("see its log for the result"), "{}", outcome.stderr);
    panzer.expect_line(": status: panzer ");
    assert_eq!(ctl(&pid_file, &["reload"]).status, 0);
    panzer.expect_current(2);
    assert_eq!(ctl(&pid_file, &["restart"]).status, 0);
    panzer.expect_line("now running panzer ");
    for words in [&["ready"][..], &["scale", "2"], &["status", "--json"], &["status", "--watch"]] {
        let outcome = ctl(&pid_file, words);
        assert_eq!(outcome.status, 1, "{words:?}");
        assert!(outcome.stderr.contains("no control socket"), "{}", outcome.stderr);
    }
    assert_eq!(ctl(&pid_file, &["shutdown"]).status, 0);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(ctl(&pid_file, &["shutdown"]).status, 3);
}

/// rule: ctl.by-signal
#[test]
fn missing_control_socket_is_retried_before_it_is_reported() {
    let (_dir, pid_file, panzer) = start_without_socket(&IDLE);
    let since = panzer::now();
    assert_eq!(ctl(&pid_file, &["ready"]).status, 1);
    assert!(panzer::now().since(since).0 >= 50, "the socket might be about to be created");
    panzer.stop();
}

/// rule: ctl.by-signal
#[test]
fn without_control_socket_exit_stops_at_once() {
    let (_dir, pid_file, mut panzer) = start_without_socket(&["listen=127.0.0.1:0", "run=hold"]);
    let address = panzer.expect_address();
    let held = Held::hold(address).expect("it serves").0;
    // A graceful stop would take a minute, since the client stays connected.
    assert_eq!(ctl(&pid_file, &["exit"]).status, 0);
    assert!(matches!(panzer.end(), End::Status(_)));
    drop(held);
}

/// rule: ctl.exit-status
#[test]
fn wrong_command_line_exits_with_2_and_one_line() {
    let dir = TempDir::new();
    let pid_file = dir.join("panzer.pid");
    for words in
        [&[][..], &["stop"], &["scale", "0"], &["status", "--bogus"], &["-t", "x", "ready"]]
    {
        let outcome = ctl(&pid_file, words);
        assert_eq!((outcome.status, outcome.stderr.lines().count()), (2, 1), "{words:?}");
    }
    assert_eq!(ctl(&pid_file, &["--help"]).status, 0);
    assert_eq!(ctl(&pid_file, &["--version"]).stdout, "panzerctl 0.1.0\n");
}

/// rule: ctl.output
#[test]
fn status_is_80_columns_wide_and_has_no_colours_in_a_pipe() {
    let long = format!("--bind={}=127.0.0.1:0", "n".repeat(100));
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n2", &long]);
    let monitor = panzer.expect_current(1);
    let shown = ctl(&pid_file, &["status"]).stdout;
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let begins = format!("panzer 0.1.0, pid {}, running, up ", panzer.pid());
    assert!(shown.starts_with(&begins), "{shown}");
    assert!(shown.contains("└─ generation 1   current "), "{shown}");
    assert!(shown.contains(&format!("monitor {monitor}")), "{shown}");
    for (slot, pid) in panzer.workers(monitor).into_iter().enumerate() {
        let line = shown.lines().find(|line| line.contains(&format!("pid {pid}, 0 handled")));
        assert!(line.is_some_and(|line| line.contains(&format!("worker {}", slot + 1))), "{shown}");
    }
    panzer.stop();
}

/// rule: ctl.output
#[test]
fn status_json_is_one_object_and_metrics_parse_as_openmetrics() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n512", r#"--bind=a"b\c=127.0.0.1:0"#]);
    panzer.expect_current(1);
    let json = ctl(&pid_file, &["status", "--json"]).stdout;
    assert_eq!(json.lines().count(), 1);
    let read = "import json,sys; o=json.load(sys.stdin); g=o['generations'][0]; \
                print(o['main']['pid'], o['listeners'][0]['name'], len(g['workers']), \
                len({w['pid'] for w in g['workers']}), g['workers'][511]['slot'])";
    let expected = format!("{} a\"b\\c 512 512 512\n", panzer.pid());
    assert_eq!(python(read, &[], &json).stdout, expected);
    let metrics = ctl(&pid_file, &["status", "--metrics"]).stdout;
    assert!(metrics.ends_with("\n# EOF\n"));
    let read = "import sys; from prometheus_client.openmetrics import parser\n\
                m={f.name: f for f in parser.text_string_to_metric_families(sys.stdin.read())}\n\
                print(len(m['panzer_worker_handled'].samples), \
                m['panzer_listener_queue'].samples[0].labels['name'])";
    let outcome = python(read, &[], &metrics);
    if outcome.stderr.contains("ModuleNotFoundError") {
        skip("metrics", "prometheus-client is not installed");
    } else {
        assert_eq!(outcome.stdout, "512 a\"b\\c\n", "{}", outcome.stderr);
    }
    panzer.stop();
}

/// Runs a command on a terminal of its own, and presses Ctrl-C when the screen is
/// drawn for the second time. Prints the exit status and what the terminal
/// received.
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
    python(TERMINAL, &words, "").stdout
}

/// rule: ctl.output
#[test]
fn status_has_colours_on_a_terminal_unless_disabled() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let seen = on_a_terminal(&pid_file, "NO_COLOR=", &["status"]);
    assert!(seen.starts_with("0 ") && seen.contains(r"\x1b[32mcurrent\x1b[0m"), "{seen}");
    for environment in ["NO_COLOR=1", "TERM=dumb"] {
        let seen = on_a_terminal(&pid_file, environment, &["status"]);
        assert!(seen.contains("current") && !seen.contains(r"\x1b"), "{seen}");
    }
    panzer.stop();
}

/// rule: ctl.watch
#[test]
fn watch_restores_the_terminal() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let seen = on_a_terminal(&pid_file, "NO_COLOR=1", &["status", "--watch"]);
    let enter = r"b'\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[Hpanzer 0.1.0, pid ";
    assert!(seen.starts_with(&format!("0 {enter}")), "{seen}");
    assert_eq!(seen.matches(r"\x1b[Hpanzer").count(), 2, "{seen}");
    assert!(seen.trim_end().ends_with(r"\x1b[?7h\x1b[?25h\x1b[?1049l'"), "{seen}");
    panzer.stop();
}

/// rule: ctl.watch
#[test]
fn watch_exits_with_3_when_main_exits() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let (mut watch, mut lines) = watch(&pid_file);
    lines.find(|line| line.ends_with('}')).expect("a first object");
    // A main that is about to exit might leave its next request without a reply.
    stop_process(watch.id());
    panzer.stop();
    continue_process(watch.id());
    assert_eq!(watch.wait().expect("it is our child").code(), Some(3));
}

/// A panzerctl that prints the status again and again, and what it prints.
fn watch(pid_file: &Path) -> (Child, Stream<String>) {
    let mut watch = {
        let _lock = spawn_lock();
        let mut command = std::process::Command::new(panzerctl());
        let words = [&format!("--pid={}", pid_file.display()), "status", "--watch", "--json"];
        command.args(words).stdout(std::process::Stdio::piped()).spawn().expect("it runs")
    };
    let out = watch.stdout.take().expect("it is a pipe");
    (watch, Stream::read(out, |line| line))
}

#[test]
fn watch_reaps_its_receiver_children() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let (mut watch, mut lines) = watch(&pid_file);
    for _ in 0..3 {
        lines.find(|line| line.ends_with('}')).expect("one more object");
    }
    // The next request may have begun already.
    let pid = watch.id();
    panzer.eventually("a watch has no child", || procfs::children(pid).is_empty());
    watch.kill().and_then(|()| watch.wait()).expect("it is ours");
    panzer.stop();
}

/// rule: ctl.find
#[test]
fn default_pid_file_is_the_same_as_panzers() {
    let dir = TempDir::new();
    fs::create_dir(dir.join("tmp")).expect("the directory is ours");
    let app = dir.app(&example("witness"), &IDLE);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1"]).directory(dir.path()).start();
    panzer.expect_current(1);
    let output = {
        let _lock = spawn_lock();
        let mut command = std::process::Command::new(panzerctl());
        command.arg("ready").current_dir(dir.path()).output().expect("it runs")
    };
    assert_eq!(output.status.code(), Some(0));
    panzer.stop();
}
