//! The first start, and starts that are refused.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::assert_elapsed_at_least;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer};
use crate::harness::setup::Setup;

/// Waits for a panzer that cannot start; returns its end and its log.
fn end_of(mut panzer: Panzer) -> (End, Vec<String>) {
    let end = panzer.end();
    (end, panzer.lines())
}

/// rule: spawn.not-found
#[test]
fn missing_command_exits_with_127() {
    let dir = TempDir::new();
    // Not even `--ready=0` counts it as ready.
    for options in [&[][..], &["--ready=0"]] {
        let setup = Setup::new(&dir.join("nothing"), &[]).options(options);
        let (end, lines) = end_of(setup.start());
        assert_eq!(end, End::Status(127), "{lines:#?}");
    }
}

/// rule: spawn.not-found
#[test]
fn command_that_is_not_executable_exits_with_126() {
    let dir = TempDir::new();
    let (end, lines) = end_of(Setup::new(&dir.write("text", "hello\n"), &[]).start());
    assert_eq!(end, End::Status(126), "{lines:#?}");
    let (end, lines) = end_of(Setup::new(dir.path(), &[]).start());
    assert_eq!(end, End::Status(126), "{lines:#?}");
}

/// rule: start.give-up
#[test]
fn main_gives_up_after_failed_starts_of_5s_together() {
    let begun = Instant::now();
    let setup = Setup::new(&example("witness"), &["exit=0"]);
    let mut panzer = setup.options(&["--give-up=3", "--delay=1.2"]).start();
    assert_eq!(panzer.end(), End::Status(1));
    assert_elapsed_at_least(begun, Duration::from_secs(5));
    let counts = (panzer.count("started"), panzer.count("failed"));
    assert!(counts.0 == counts.1 && (4..=6).contains(&counts.0), "{counts:?}");
    assert_eq!(panzer.count_lines("giving up"), 1);
}

/// rule: ready.timeout
#[test]
fn first_start_not_ready_in_time_fails() {
    let setup = Setup::new(&example("witness"), &["hang"]);
    let options = ["--give-up=1", "--ready-timeout=0.1", "--timeout=0"];
    let mut panzer = setup.options(&options).start();
    assert_eq!(panzer.end(), End::Status(1));
    assert!(panzer.count_lines("not ready within 100 ms") > 0);
}

/// rule: start.bad-option
#[test]
fn bad_option_exits_with_2_and_one_line_before_any_start() {
    let dir = TempDir::new();
    let touched = dir.join("touched");
    let touch = format!("touch={}", touched.display());
    for wrong in ["--no-such", "--count=0", "--timeout=soon", "--bind=80", "-z"] {
        let setup = Setup::new(&example("witness"), &[&touch]);
        let mut panzer = setup.options(&[wrong]).start();
        assert_eq!(panzer.end(), End::Status(2), "{wrong}");
        let lines = panzer.lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let name = wrong.split('=').next().unwrap_or(wrong).trim_start_matches('-');
        assert!(lines[0].contains(name), "{wrong}: {}", lines[0]);
        assert_eq!(panzer.count("started"), 0);
    }
    assert!(!touched.exists());
}

/// rule: start.bad-option
#[test]
fn address_in_use_exits_with_1_before_any_start() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let bind = format!("--bind={}", other.local_addr().expect("it is bound"));
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&[&bind]).start();
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count("started"), 0);
    assert_eq!(panzer.count_lines("EADDRINUSE"), 1);
}

/// rule: store.kept
#[test]
fn more_than_128_sockets_exit_with_1_before_any_start() {
    let binds: Vec<_> = (0..129).map(|_| "--bind=127.0.0.1:0").collect();
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&binds).start();
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count("started"), 0);
    assert_eq!(panzer.count_lines("limit of 128 sockets reached"), 1);
}

/// rule: start.bad-option
#[test]
fn closed_event_or_notify_descriptor_exits_with_1() {
    for number in 3..10 {
        let option = format!("--event-fd={number}");
        let setup = Setup::new(&example("witness"), &["run=idle"]).options(&[&option]);
        let mut panzer = setup.redirect("3>&-").start();
        assert_eq!(panzer.end(), End::Status(1), "{number}");
        assert_eq!(panzer.count_lines(&format!("--event-fd {number}: ")), 1);
    }
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["--notify-fd=9"]);
    let mut panzer = setup.start();
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count_lines("--notify-fd 9 is not an open descriptor above 2: bad file"), 1);
}

/// rule: start.listen-fds
#[test]
fn wrong_listen_fds_closes_none_of_mains_descriptors() {
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=30 exec "$0" "$@""#;
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=idle"]);
    let setup = setup.options(&["-n1", "--bind=127.0.0.1:0"]);
    let mut panzer = setup.through("sh".as_ref(), &["-c", script]).start();
    panzer.expect_current(1);
    panzer.reload(2);
    panzer.stop();
}

/// rule: spawn.directory
#[test]
fn command_is_relative_to_chdir() {
    let dir = TempDir::new();
    dir.app(&example("witness"), &["run=idle"]);
    let chdir = format!("--chdir={}", dir.path().display());
    let mut panzer = Setup::new(Path::new("./app"), &[]).options(&[&chdir]).start();
    panzer.expect_current(1);
    panzer.stop();
}
