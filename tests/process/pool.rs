//! What the workers of one monitor do.

use std::path::Path;
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::expect_passed;
use crate::harness::panzer::{End, Panzer};
use crate::harness::place::{Place, example, open_gate};
use crate::harness::setup::Setup;

fn witness(words: &[&str], options: &[&str]) -> Panzer {
    Setup::new(&example("witness"), words).options(options).start()
}

/// RATIONALE 2.2
#[test]
fn there_is_a_worker_for_each_processor_unless_a_number_was_set() {
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

/// RATIONALE 2.2
#[test]
fn what_the_operator_has_set_wins_for_the_times_too() {
    let mut panzer = witness(&["delay=1000", "run=fail"], &["-n1", "--delay=0"]);
    for _ in 0..3 {
        panzer.expect_event("another", |event| event.name == "respawn");
    }
    panzer.stop();
    let mut panzer = witness(&["timeout=1000", "run=deaf"], &["-n1", "--timeout=0.1"]);
    panzer.expect_current(1);
    // Without main the monitor ends its workers by its own clock.
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), End::Signal(9));
}

#[test]
fn what_is_before_the_pool_runs_once_and_what_is_in_it_once_a_worker() {
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
fn what_the_monitor_has_buffered_is_written_by_the_monitor_alone() {
    let mut panzer = witness(&["show=once;", "run=return", "say="], &["-n2"]);
    // The second of each slot proves that the first has left.
    for slot in [1, 2] {
        panzer.expect_event("a worker in its place", |event| {
            event.name == "respawn" && event.slot == slot
        });
    }
    let mut panzer = panzer.stop();
    let text: String = panzer.lines().concat();
    assert_eq!(text.matches("once;").count(), 1, "{text}");
}

/// A worker that leaves like this is logged with `death`, and replaced.
fn is_replaced(how: &str, deaths: &[&str]) {
    let run = format!("run={how}");
    let mut panzer = witness(&[&run], &["-n1", "--delay=0.05"]);
    for _ in 0..2 {
        let died = panzer.expect_event("its end", |event| event.name == "died" && event.slot == 1);
        assert!(deaths.contains(&&*died.why), "{died:?}");
        let next = panzer.expect_event("another", |event| event.name == "respawn");
        assert!((next.slot == 1) && next.pid != died.pid, "{next:?}");
    }
    let mut panzer = panzer.stop();
    let lines = panzer.count_lines("worker 1 (");
    assert!(lines >= 2, "each death is a line: {lines}");
    assert_eq!(panzer.count_lines("run has returned"), 1, "only the monitor comes back");
}

#[test]
fn a_worker_that_returns_is_replaced() {
    is_replaced("return", &["exited with status 0"]);
}

#[test]
fn a_worker_that_fails_is_replaced_and_says_why() {
    is_replaced("fail", &["exited with status 1"]);
    let mut panzer = witness(&["run=fail"], &["-n1"]);
    panzer.expect_line("worker 1 failed: it was told to fail");
    panzer.stop();
}

#[test]
fn a_worker_that_exits_is_replaced() {
    is_replaced("exit", &["exited with status 3"]);
}

#[test]
fn a_worker_that_panics_is_replaced_and_never_runs_the_monitors_code() {
    is_replaced(
        "panic",
        &["exited with status 101", "killed by SIGABRT", "killed by SIGABRT (core dumped)"],
    );
}

/// RATIONALE 2.1
#[test]
fn a_program_with_threads_is_refused_with_their_number() {
    let mut panzer = witness(&["threads=2", "run=idle"], &["--give-up=1"]);
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count_lines("the program has 3 threads"), 1);
    assert_eq!(panzer.count_lines("run in worker"), 0);
}

#[test]
fn repairs_of_a_slot_wait_longer_and_longer_and_never_too_short() {
    let begun = Instant::now();
    let mut panzer = witness(&["run=fail"], &["-n1", "--delay=0.1", "--max-delay=0.2"]);
    for _ in 0..5 {
        panzer.expect_event("another", |event| event.name == "respawn");
    }
    // The first repair is at once; then 100 ms, and then 200 at most, each by
    // up to a quarter less.
    let least = Duration::from_millis(75 + 3 * 150);
    expect_passed(begun, least);
    panzer.stop();
}

/// RATIONALE 2.6
#[test]
fn one_bad_worker_never_disturbs_the_others() {
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

/// RATIONALE 2.6
#[test]
fn of_eight_workers_one_that_always_fails_never_disturbs_the_seven() {
    let mut panzer = witness(&["run=one"], &["-n8", "--delay=0"]);
    for _ in 0..50 {
        panzer.expect_event("another", |event| event.name == "respawn");
    }
    let mut panzer = panzer.stop();
    let others = panzer.events().into_iter().filter(|event| event.slot > 1).count();
    assert_eq!(others, 0, "nobody but the first has died or was replaced");
    for slot in 2..=8 {
        assert_eq!(panzer.count_lines(&format!("run in worker {slot}")), 1);
    }
}

/// RATIONALE 1.23
#[test]
fn workers_that_fail_together_do_not_come_back_together() {
    let mut panzer = witness(&["run=fail"], &["-n8", "--delay=30", "--max-delay=30"]);
    let mut waits = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let line = panzer.expect_line("; next start in ");
        waits.extend(line.rsplit(' ').nth(1).map(str::to_string));
    }
    assert!(waits.len() > 1, "all wait {waits:?}");
    panzer.stop();
}

/// RATIONALE 2.9
#[test]
fn a_stop_waits_for_no_slot_that_waits_for_its_next_worker() {
    let mut panzer = witness(&["run=fail"], &["-n2", "--delay=60", "--max-delay=60"]);
    for _ in 0..2 {
        panzer.expect_line("; next start in ");
    }
    panzer.stop();
}

/// RATIONALE 2.7
#[test]
fn the_application_gets_the_status_of_each_of_its_children_while_workers_die() {
    let place = Place::new();
    let gates: Vec<_> = (1..=20).map(|number| place.gate(&format!("gate{number}"))).collect();
    let waits = (1..).zip(&gates);
    let mut words: Vec<_> = waits
        .map(|(number, gate)| format!("start=wait={},exit={number}", gate.display()))
        .collect();
    words.push("run=fail".to_string());
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut panzer = witness(&words, &["-n2", "--delay=0"]);
    for gate in &gates {
        open_gate(gate);
        panzer.expect_event("a death between", |event| event.name == "died" && event.slot > 0);
    }
    let mut panzer = panzer.stop();
    for number in 1..=20 {
        let line = format!("a child of the application: exit status: {number}");
        assert_eq!(panzer.lines().iter().filter(|seen| seen.ends_with(&line)).count(), 1);
    }
    let others = |event: &&crate::harness::event::Event| {
        event.name == "died" && event.slot > 0 && event.why != "exited with status 1"
    };
    assert_eq!(panzer.events().iter().find(others).map(|event| event.line.clone()), None);
}

/// RATIONALE 2.9
#[test]
fn a_worker_that_will_not_go_gets_each_signal_once_and_is_killed() {
    let mut panzer = witness(&["run=deaf"], &["-n1", "--timeout=0.3"]);
    panzer.expect_current(1);
    let asked = Instant::now();
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(1));
    expect_passed(asked, Duration::from_millis(2_300));
    assert_eq!(panzer.count_lines("is sent SIGINT"), 1);
    assert_eq!(panzer.count_lines("is sent SIGKILL"), 1);
}

/// RATIONALE 1.39, 2.10, 2.13
#[test]
fn the_stubborn_example_is_ended_by_its_own_shorter_timeout() {
    let mut panzer = Setup::new(Path::new(&example("stubborn")), &[]).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count_lines("is sent SIGINT"), 0);
    assert_eq!(panzer.count_lines("killed by SIGKILL"), 1);
}
