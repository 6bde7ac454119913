//! Main is restarted in place again and again: no deadline comes earlier than without
//! a restart, nor later by any number of restarts.

use std::time::{Duration, Instant};

use panzer::sys::Signal;

use super::restartable::RestartableMain;
use crate::harness::assert_elapsed_at_least;
use crate::harness::client::Held;
use crate::harness::event::Event;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, send};
use crate::harness::setup::Setup;

const IDLE: [&str; 2] = ["listen=127.0.0.1:0", "run=idle"];
const HOLD: [&str; 2] = ["listen=127.0.0.1:0", "run=hold"];

/// Long enough for many restarts.
const SPAN: Duration = Duration::from_millis(600);
const SECONDS: &str = "0.6";

/// Fails if one event came less than so many milliseconds after the other, by main's
/// clock: how late this test sees them does not matter.
fn assert_apart(first: &Event, second: &Event, least: u32) {
    // Each is rounded to a millisecond.
    assert!(second.at + 1 >= first.at + least, "{} {}", first.line, second.line);
}

/// rule: restart.deadlines
#[test]
fn restarts_do_not_move_the_end_of_a_probation() {
    let mut main = RestartableMain::start(&IDLE, &["-n1", &format!("--probation={SECONDS}")]);
    let old = main.panzer.expect_current(1);
    let begun = Instant::now();
    main.panzer.signal(Signal::Usr1);
    main.panzer.expect("probation", 2);
    main.restart_until("the end of the old monitor", |event| {
        event.name == "died" && event.pid == old
    });
    assert_elapsed_at_least(begun, SPAN);
    main.panzer.stop();
}

/// rule: restart.deadlines
#[test]
fn losses_before_and_after_a_restart_count_for_one_probation() {
    let mut main = RestartableMain::start(&IDLE, &["-n2", "--probation=1000", "-v"]);
    main.panzer.expect_current(1);
    main.panzer.signal(Signal::Usr1);
    let monitor = main.panzer.expect("probation", 2).pid;
    let workers = main.panzer.workers(monitor);
    // One worker dies before the restart, one after it.
    send(workers[0], Signal::Kill);
    main.panzer.expect("respawn", 2);
    main.restart();
    assert_eq!(main.panzer.count("rolled_back"), 0);
    send(workers[1], Signal::Kill);
    main.panzer.expect("rolled_back", 2);
    main.panzer.expect_line("generation 2: all processes exited");
    assert_eq!(main.panzer.count_lines("generation 1: draining"), 0);
    main.panzer.stop();
}

/// rule: restart.deadlines
#[test]
fn restarts_do_not_move_the_deadline_of_a_drain() {
    let mut main = RestartableMain::start(&HOLD, &["-n1", &format!("--timeout={SECONDS}")]);
    let address = main.panzer.expect_address();
    let old = main.panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    let begun = Instant::now();
    main.panzer.reload(2);
    let is_dead = |event: &Event| event.name == "died" && event.pid == old;
    main.restart_until("the end of a drain", is_dead);
    assert_elapsed_at_least(begun, SPAN);
    assert!(held.ends_without_reply());
    let mut panzer = main.panzer.stop();
    assert_eq!(panzer.count_lines("generation 1: sent SIGINT"), 1);
    assert_eq!(panzer.count_lines(": sent SIGKILL"), 0);
}

/// rule: restart.deadlines
#[test]
fn restarts_do_not_delay_the_sigkill_of_a_library_monitor() {
    let mut main = RestartableMain::start(&["run=deaf"], &["-n1", "--timeout=0.1"]);
    let old = main.panzer.expect_current(1);
    let begun = Instant::now();
    main.panzer.reload(2);
    let is_dead = |event: &Event| event.name == "died" && event.pid == old;
    main.restart_until("the end of the monitor", is_dead);
    // SIGINT after the timeout; a library monitor kills its workers one second later.
    assert_elapsed_at_least(begun, Duration::from_millis(1_100));
    main.panzer.signal(Signal::Quit);
    assert_eq!(main.panzer.end(), End::Status(4));
    assert_eq!(main.panzer.count_lines("generation 1: sent SIGINT"), 1);
}

/// rule: restart.deadlines
#[test]
fn restarts_do_not_delay_the_sigkill_of_a_foreign_monitor() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let body = format!("trap '' TERM INT; kill -s VTALRM $PPID; read x <>'{}'", gate.display());
    dir.script("app", &body);
    let setup = Setup::new(&dir.join("app"), &[]).options(&["--timeout=0.1"]);
    let mut main = RestartableMain::begin(dir, setup);
    let old = main.panzer.expect_current(1);
    let begun = Instant::now();
    main.panzer.reload(2);
    let is_dead = |event: &Event| event.name == "died" && event.pid == old;
    main.restart_until("the end of the monitor", is_dead);
    // SIGINT after the timeout, SIGKILL two seconds later.
    assert_elapsed_at_least(begun, Duration::from_millis(2_100));
    assert_eq!(main.panzer.count_lines("generation 1: sent SIGINT"), 1);
    assert_eq!(main.panzer.count_lines("generation 1: sent SIGKILL"), 1);
    main.panzer.signal(Signal::Quit);
    main.panzer.end();
}

/// rule: restart.deadlines
#[test]
fn restarts_do_not_move_the_ready_timeout() {
    let options = ["-n1", &format!("--ready-timeout={SECONDS}"), "--timeout=0"];
    let mut main = RestartableMain::start(&IDLE, &options);
    main.panzer.expect_current(1);
    main.dir.app(&example("witness"), &["hang"]);
    let begun = Instant::now();
    main.panzer.signal(Signal::Usr1);
    main.panzer.expect("started", 2);
    let failed = main.restart_until("the end of a start", |event| event.is("failed", 2));
    assert_elapsed_at_least(begun, SPAN);
    assert!(failed.reason.contains("not ready within"), "{}", failed.reason);
    main.panzer.stop();
}

/// rule: restart.deadlines
#[test]
fn restarts_do_not_reset_the_age_that_counts_as_ready() {
    let dir = TempDir::new();
    dir.script("app", "exec sleep 1000");
    let options = [&format!("--ready={SECONDS}"), "--timeout=0"];
    let setup = Setup::new(&dir.join("app"), &[]).options(&options);
    let mut main = RestartableMain::begin(dir, setup);
    let started = main.panzer.expect("started", 1);
    let current = main.restart_until("readiness", |event| event.is("current", 1));
    assert_apart(&started, &current, 600);
    main.panzer.stop();
}

/// rule: restart.deadlines
#[test]
fn restarts_do_not_reset_the_back_off_of_a_generation() {
    let options = ["-n1", "--give-up=0", "--delay=0.4", "--max-delay=60"];
    let mut main = RestartableMain::start(&["exit=1"], &options);
    // The first retry is immediate, the second after 0.3 s to 0.4 s.
    let second = main.panzer.expect("failed", 2);
    let third = main.restart_until("the third failure", |event| event.is("failed", 3));
    assert_apart(&second, &third, 300);
    // The next delay is twice as long.
    let fourth = main.restart_until("the fourth start", |event| event.is("started", 4));
    assert_apart(&third, &fourth, 600);
    main.panzer.signal(Signal::Term);
    assert_eq!(main.panzer.end(), End::Status(0));
}

/// rule: restart.deadlines
#[test]
fn restarts_do_not_reset_the_count_of_failed_starts() {
    let options = ["-n1", "--give-up=3", "--delay=8", "--max-delay=8"];
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    dir.script("app", &format!("cat '{}'; exit 1", gate.display()));
    let setup = Setup::new(&dir.join("app"), &[]).options(&options);
    let mut main = RestartableMain::begin(dir, setup);
    for generation in 1..=3 {
        main.panzer.expect("started", generation);
        main.restart();
        crate::harness::files::open_gate(&gate);
        main.panzer.expect("failed", generation);
    }
    main.panzer.expect_line("giving up: 3 starts failed");
    assert_eq!(main.panzer.end(), End::Status(1));
}

/// rule: restart.deadlines
#[test]
fn restart_is_refused_in_a_drain_delay_and_does_not_prolong_it() {
    let mut main = RestartableMain::start(&IDLE, &["-n1", &format!("--drain-delay={SECONDS}")]);
    main.panzer.expect_current(1);
    let begun = Instant::now();
    main.panzer.signal(Signal::Term);
    main.panzer.expect_line("serving for another ");
    while main.panzer.count("stopping") == 0 {
        assert!(begun.elapsed() < crate::harness::TIMEOUT, "the stop never ends");
        main.panzer.signal(Signal::Usr2);
        main.panzer.signal(Signal::Ttin);
        main.panzer.expect_line("");
    }
    assert_elapsed_at_least(begun, SPAN);
    assert_eq!(main.panzer.end(), End::Status(0));
    assert_eq!(main.panzer.count("restarted"), 0);
}

/// rule: restart.deadlines
#[test]
fn each_generation_keeps_the_timeouts_of_its_start() {
    let dir = TempDir::new();
    let file = dir.write("panzer.yml", "timeout: 0.1\n");
    let option = format!("--config={}", file.display());
    let app = dir.app(&example("witness"), &HOLD);
    let mut main = RestartableMain::begin(dir, Setup::new(&app, &[]).options(&["-n1", &option]));
    let address = main.panzer.expect_address();
    main.panzer.expect_current(1);
    std::fs::write(&file, "timeout: 1000\n").expect("it is ours");
    main.restart();
    let (first, _) = Held::hold(address).expect("it serves");
    main.panzer.reload(2);
    main.panzer.expect_line("generation 1: sent SIGINT");
    assert!(first.ends_without_reply());
    let (second, _) = Held::hold(address).expect("it serves");
    main.restart();
    main.panzer.reload(3);
    main.restart();
    main.panzer.settle();
    assert_eq!(main.panzer.count_lines("generation 2: sent SIGINT"), 0);
    second.finish().expect("its timeout is the longer one");
    main.panzer.stop();
}
