//! How the slots of a pool are refilled: when, and beside which other workers.

use std::fs;
use std::path::Path;

use crate::harness::control_client::ask_result;
use crate::harness::ctl::ctl;
use crate::harness::event::Event;
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::panzer::{Panzer, send};
use crate::harness::procfs;
use crate::harness::setup::Setup;
use panzer::sys::Signal;

fn witness(words: &[&str], options: &[&str]) -> Panzer {
    Setup::new(&example("witness"), words).options(options).start()
}

fn expect_respawn(panzer: &mut Panzer) -> Event {
    panzer.expect_event("another", |event| event.name == "respawn")
}

/// A worker that says nothing wakes no process.
///
/// rule: pool.report-last
#[test]
fn respawn_is_reported_although_the_worker_says_nothing() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let words = [&*format!("gate={}", gate.display()), "run=idle"];
    let mut panzer = witness(&words, &["-n1", "--delay=0.2", "--probation=0"]);
    open_gate(&gate);
    let monitor = panzer.expect_current(1);
    let mut worker = panzer.workers(monitor)[0];
    // The first is made at once, the second when its time has come.
    for _ in 0..2 {
        send(worker, Signal::Kill);
        worker = expect_respawn(&mut panzer).pid;
    }
    open_gate(&gate);
    panzer.stop();
}

/// rule: pool.respawn
#[test]
fn respawn_delay_does_not_grow_for_workers_that_recycle_themselves() {
    let mut panzer = witness(&["run=return"], &["-n1", "--delay=0.02", "--probation=0"]);
    for _ in 0..12 {
        expect_respawn(&mut panzer);
    }
    let mut panzer = panzer.stop();
    for line in panzer.lines().iter().filter(|line| line.contains("; restarting within ")) {
        assert!(line.ends_with("; restarting within 20 ms"), "{line}");
    }
}

/// It is reaped in that turn, too, and what it has said is heard before.
///
/// rule: pool.respawn
#[test]
fn worker_that_dies_in_the_turn_of_its_fork_was_ready() {
    let dir = TempDir::new();
    let options = ["-n1", "--delay=0", "--probation=0", "-v"];
    let setup = Setup::new(&example("witness"), &["run=return"]).options(&options);
    // Before it asks who is dead, the next worker is.
    let slow = ["-e", "trace=waitid", "-e", "inject=waitid:delay_enter=20000"];
    let (setup, _trace) = setup.traced(dir.path(), "calls", &slow);
    let mut panzer = setup.start();
    let all: Vec<_> = (0..8).map(|_| expect_respawn(&mut panzer).pid).collect();
    let mut panzer = panzer.stop();
    for pid in &all[..7] {
        let is_ready = |line: &String| line.contains(&format!("(pid {pid}): ready"));
        assert!(panzer.lines().iter().any(is_ready), "{pid}: {:#?}", panzer.lines());
    }
}

/// rules: pool.respawn, pool.start-beside
#[test]
fn next_worker_not_ready_in_time_is_ended_and_replaced() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let word = format!("gate={}", gate.display());
    let options = ["-n1", "--ready-timeout=0.5", "--timeout=60", "--delay=0"];
    let mut panzer = witness(&[&word, "run=idle"], &options);
    open_gate(&gate);
    let monitor = panzer.expect_current(1);
    send(panzer.workers(monitor)[0], Signal::Kill);
    let hangs = expect_respawn(&mut panzer).pid;
    let line = panzer.expect_line("(--ready-timeout), stopping it");
    assert!(line.contains(&format!("worker 1 (pid {hangs}) of generation 1: not ready")), "{line}");
    // It ignores the signal, so the next one is started beside it.
    let next = expect_respawn(&mut panzer).pid;
    assert_ne!(next, hangs);
    assert!(panzer.workers(monitor).contains(&hangs));
    send(hangs, Signal::Kill);
    let died = panzer.expect_event("its end", |event| event.name == "died" && event.pid == hangs);
    assert!(died.reason.ends_with("(not ready in time)"), "{}", died.line);
    // There may be one more by now, which has not come to the gate.
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// rule: pool.start-beside
#[test]
fn slot_added_again_is_filled_beside_its_draining_worker() {
    let dir = TempDir::new();
    let pid_file = dir.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let mut panzer = witness(&["run=deaf"], &["-n2", "--timeout=60", &option]);
    let monitor = panzer.expect_current(1);
    assert_eq!(ask_result(&pid_file, "scale 1"), "done 1 worker");
    assert_eq!(ask_result(&pid_file, "scale 2"), "done 2 workers");
    let workers = panzer.workers(monitor);
    assert_eq!(workers.len(), 3, "one drains, two serve");
    let json = ctl(&pid_file, &["status", "--json"]).stdout;
    assert_eq!(json.matches(r#"{"slot":2,"#).count(), 2, "{json}");
    assert_eq!(json.matches(r#""replacement":true"#).count(), 1, "{json}");
    for worker in workers {
        send(worker, Signal::Kill);
    }
    panzer.eventually("two workers serve again", || {
        let alive = |pid: &u32| procfs::state(*pid) == Some('S');
        procfs::children(monitor).iter().filter(|pid| alive(pid)).count() == 2
    });
    for worker in panzer.workers(monitor) {
        send(worker, Signal::Kill);
    }
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// rule: pool.losses
#[test]
fn lost_worker_makes_main_unready_until_its_slot_is_refilled() {
    let dir = TempDir::new();
    let (pid_file, bad) = (dir.join("panzer.pid"), dir.join("bad"));
    let option = format!("--pid={}", pid_file.display());
    let unless = format!("unless={}", bad.display());
    let options = ["-n1", "--delay=0.05", "--max-delay=0.05", "--probation=0", &option];
    let mut panzer = witness(&[&unless, "run=idle"], &options);
    let monitor = panzer.expect_current(1);
    let is_ready = |path: &Path| ctl(path, &["ready"]).status == 0;
    assert!(is_ready(&pid_file));
    fs::write(&bad, "").expect("a file can be written");
    send(panzer.workers(monitor)[0], Signal::Kill);
    for _ in 0..3 {
        expect_respawn(&mut panzer);
    }
    assert!(!is_ready(&pid_file));
    fs::remove_file(&bad).expect("it is there");
    panzer.eventually("it is ready again", || is_ready(&pid_file));
    panzer.stop();
}
