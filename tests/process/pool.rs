//! A library monitor and its workers.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::assert_elapsed_at_least;
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::setup::Setup;

fn witness(words: &[&str], options: &[&str]) -> Panzer {
    Setup::new(&example("witness"), words).options(options).start()
}

/// rule: monitor.settings
#[test]
fn default_number_of_workers_is_the_number_of_processors() {
    let processors = usize::from(panzer::sys::host::processors());
    let cases: [(&[&str], &[&str], usize); 4] = [
        (&["run=idle"], &[], processors),
        (&["count=3", "run=idle"], &[], 3),
        (&["count=3", "run=idle"], &["--count=1"], 1),
        (&["run=idle"], &["-n", "5"], 5),
    ];
    for (words, options, expected) in cases {
        let mut panzer = witness(words, options);
        let monitor = panzer.expect_current(1);
        assert_eq!(panzer.workers(monitor).len(), expected, "{words:?} {options:?}");
        panzer.stop();
    }
}

/// rule: monitor.settings
#[test]
fn operator_settings_override_the_times_of_the_application() {
    let mut panzer = witness(&["delay=1000", "run=fail"], &["-n1", "--delay=0"]);
    for _ in 0..3 {
        panzer.expect_event("another", |event| event.name == "respawn");
    }
    panzer.stop();
    let mut panzer = witness(&["timeout=1000", "run=deaf"], &["-n1", "--timeout=0.1"]);
    panzer.expect_current(1);
    // When main is gone, the monitor applies its own timeout to its workers.
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), End::Signal(9));
}

#[test]
fn code_before_the_pool_runs_once_and_its_closure_once_per_worker() {
    let mut panzer = witness(&["say=constructed", "run=idle"], &["-n4"]);
    panzer.expect_current(1);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("constructed"), 1);
    assert_eq!(panzer.count_lines("run in worker "), 4);
    for slot in 1..=4 {
        assert_eq!(panzer.count_lines(&format!("run in worker {slot}")), 1);
    }
    assert_eq!(panzer.count_lines("run has returned"), 1);
}

#[test]
fn buffered_output_of_the_monitor_is_written_once() {
    // With two slots one worker may exit before the other is ready: the start would fail.
    let mut panzer = witness(&["show=once;", "run=return", "say="], &["-n1"]);
    // The next worker proves that the first one has exited.
    panzer.expect_event("the next worker", |event| event.name == "respawn");
    let mut panzer = panzer.stop();
    let text: String = panzer.lines().concat();
    assert_eq!(text.matches("once;").count(), 1, "{text}");
}

/// A worker that ends like this is logged with one of `deaths`, and replaced.
fn is_replaced(how: &str, deaths: &[&str]) {
    let run = format!("run={how}");
    let mut panzer = witness(&[&run], &["-n1", "--delay=0.05"]);
    for _ in 0..2 {
        let died = panzer.expect_event("its end", |event| event.name == "died" && event.slot == 1);
        assert!(deaths.contains(&&*died.reason), "{died:?}");
        let next = panzer.expect_event("another", |event| event.name == "respawn");
        assert!((next.slot == 1) && next.pid != died.pid, "{next:?}");
    }
    let mut panzer = panzer.stop();
    let lines = panzer.count_lines("worker 1 (");
    assert!(lines >= 2, "one line for each death: {lines}");
    assert_eq!(panzer.count_lines("run has returned"), 1, "run returns in the monitor alone");
}

#[test]
fn a_worker_that_returns_is_replaced() {
    is_replaced("return", &["exited with status 0"]);
}

#[test]
fn failed_worker_is_replaced_and_its_error_is_logged() {
    is_replaced("fail", &["exited with status 1"]);
    let mut panzer = witness(&["run=fail"], &["-n1"]);
    panzer.expect_line("worker 1: failed: it was told to fail");
    panzer.stop();
}

#[test]
fn a_worker_that_exits_is_replaced() {
    is_replaced("exit", &["exited with status 3"]);
}

#[test]
fn panicked_worker_is_replaced_and_never_runs_the_monitors_code() {
    is_replaced(
        "panic",
        &["exited with status 101", "killed by SIGABRT", "killed by SIGABRT (core dumped)"],
    );
}

/// rule: monitor.one-thread
#[test]
fn a_program_with_threads_is_refused_with_their_number() {
    let mut panzer = witness(&["threads=2", "run=idle"], &["--give-up=1"]);
    assert_eq!(panzer.end(), End::Status(1));
    assert!(panzer.count_lines("this process has 3 threads") > 0);
    assert_eq!(panzer.count_lines("run in worker"), 0);
}

#[test]
fn respawn_delay_of_a_slot_grows_up_to_its_maximum() {
    let begun = Instant::now();
    let mut panzer = witness(&["run=fail"], &["-n1", "--delay=0.1", "--max-delay=0.2"]);
    for _ in 0..5 {
        panzer.expect_event("another", |event| event.name == "respawn");
    }
    // The first of them starts at once, the second after 100 ms, later ones after
    // 200 ms; each delay may be shorter by up to a quarter.
    let least = Duration::from_millis(75 + 3 * 150);
    assert_elapsed_at_least(begun, least);
    panzer.stop();
}

/// rule: pool.respawn
#[test]
fn failing_worker_does_not_disturb_the_others() {
    let mut panzer = witness(&["run=idle"], &["-n4", "--delay=0"]);
    let monitor = panzer.expect_current(1);
    let before = panzer.workers(monitor);
    let victim = before[0];
    crate::harness::panzer::send(victim, Signal::Kill);
    let next = panzer.expect_event("another", |event| event.name == "respawn").pid;
    let mut expected: Vec<_> = before.into_iter().filter(|pid| *pid != victim).collect();
    expected.push(next);
    expected.sort_unstable();
    assert_eq!(panzer.workers(monitor), expected);
    panzer.stop();
}

/// rule: pool.respawn
#[test]
fn fifty_failures_of_one_slot_do_not_disturb_the_other_seven() {
    let mut panzer = witness(&["run=idle"], &["-n8", "--delay=0"]);
    let monitor = panzer.expect_current(1);
    let before = panzer.workers(monitor);
    let mut victim = before[0];
    for _ in 0..50 {
        crate::harness::panzer::send(victim, Signal::Kill);
        victim = panzer.expect_event("another", |event| event.name == "respawn").pid;
    }
    let after = panzer.workers(monitor);
    assert!(before[1..].iter().all(|pid| after.contains(pid)), "{before:?} became {after:?}");
    assert_eq!(panzer.count("died"), 50);
    panzer.stop();
}

/// rule: backoff.delay
#[test]
fn respawn_delays_of_different_slots_differ() {
    let dir = TempDir::new();
    let bad = dir.join("bad");
    let unless = format!("unless={}", bad.display());
    let options = ["-n8", "--delay=30", "--max-delay=30"];
    let mut panzer = witness(&[&unless, "run=idle"], &options);
    // Ready first: a start whose workers exit before that would fail.
    let monitor = panzer.expect_current(1);
    fs::write(&bad, "").expect("a file can be written");
    panzer.workers(monitor).into_iter().for_each(|worker| send(worker, Signal::Kill));
    let mut waits = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let line = panzer.expect_line("; restarting within ");
        waits.extend(line.rsplit(' ').nth(1).map(str::to_string));
    }
    assert!(waits.len() > 1, "all wait {waits:?}");
    panzer.stop();
}

/// rule: pool.stop
#[test]
fn stop_does_not_wait_for_a_slot_in_back_off() {
    let dir = TempDir::new();
    let bad = dir.join("bad");
    let unless = format!("unless={}", bad.display());
    let options = ["-n1", "--delay=60", "--max-delay=60", "--probation=0"];
    let mut panzer = witness(&[&unless, "run=idle"], &options);
    let monitor = panzer.expect_current(1);
    fs::write(&bad, "").expect("a file can be written");
    send(panzer.workers(monitor)[0], Signal::Kill);
    panzer.expect_line("; restarting within ");
    panzer.stop();
}

/// rule: pool.reap
#[test]
fn application_can_wait_for_its_own_children_while_workers_die() {
    let dir = TempDir::new();
    let gates: Vec<_> = (1..=20).map(|number| dir.gate(&format!("gate{number}"))).collect();
    let waits = (1..).zip(&gates);
    let mut words: Vec<_> = waits
        .map(|(number, gate)| format!("start=wait={},exit={number}", gate.display()))
        .collect();
    words.push("run=fail".to_string());
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut panzer = witness(&words, &["-n1", "--delay=0"]);
    for gate in &gates {
        open_gate(gate);
        panzer.expect_event("a worker's death", |event| event.name == "died" && event.slot > 0);
    }
    let mut panzer = panzer.stop();
    for number in 1..=20 {
        let line = format!("a child of the application: exit status: {number}");
        assert_eq!(panzer.lines().iter().filter(|seen| seen.ends_with(&line)).count(), 1);
    }
    let others = |event: &&crate::harness::event::Event| {
        event.name == "died" && event.slot > 0 && event.reason != "exited with status 1"
    };
    assert_eq!(panzer.events().iter().find(others).map(|event| event.line.clone()), None);
}

/// rule: pool.stop
#[test]
fn worker_that_ignores_signals_gets_each_once_and_is_killed() {
    let mut panzer = witness(&["run=deaf"], &["-n1", "--timeout=0.3"]);
    panzer.expect_current(1);
    let asked = Instant::now();
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(4));
    assert_elapsed_at_least(asked, Duration::from_millis(2_300));
    assert_eq!(panzer.count_lines(": sent SIGINT"), 1);
    assert_eq!(panzer.count_lines(": sent SIGKILL"), 1);
}

/// rules: stop.exit-status, pool.stop-clock, pool.result
#[test]
fn the_stubborn_example_is_ended_by_its_own_shorter_timeout() {
    let mut panzer = Setup::new(Path::new(&example("stubborn")), &[]).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(4));
    assert_eq!(panzer.count_lines(": sent SIGINT"), 0);
    assert_eq!(panzer.count_lines("killed by SIGKILL"), 1);
}
