//! Workers are recycled: another one is ready before one is asked to leave.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::client::{Clients, Held};
use crate::harness::ctl::ctl;
use crate::harness::event::Event;
use crate::harness::look;
use crate::harness::operator::ask_briefly;
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::place::{Place, example, open_gate};
use crate::harness::setup::Setup;
use panzer::sys::Signal;

/// A pid file in `place`, and a witness whose workers are recycled.
fn witness(place: &Place, words: &[&str], options: &[&str]) -> (PathBuf, Panzer) {
    let pid_file = place.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let setup = Setup::new(&example("witness"), words).options(&[&option, "-v"]);
    (pid_file, setup.options(options).start())
}

/// The slot and the process that a line of the log tells of.
fn told(line: &str, before: &str, after: &str) -> Option<(String, String)> {
    let (_, rest) = line.split_once(before)?;
    let (slot, rest) = rest.split_once(" (")?;
    let (pid, rest) = rest.split_once(')')?;
    rest.starts_with(after).then(|| (slot.to_string(), pid.to_string()))
}

/// RATIONALE 2.21
#[test]
fn workers_are_recycled_under_load_without_a_failed_request() {
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]);
    let mut panzer = setup.options(&["-n2", "-v", "--lifetime=0.2"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let clients = Clients::begin(address);
    for _ in 0..6 {
        panzer.expect_event("another", |event| event.name == "respawn");
    }
    assert!(clients.end() > 0);
    let mut panzer = panzer.stop();
    assert_eq!((panzer.count("started"), panzer.count_lines(" WARN ")), (1, 0));
    let lost = |event: &Event| event.name == "died" && event.slot > 0;
    assert!(!panzer.events().iter().any(lost), "nobody is lost");
    // In each slot there is always somebody ready, until the stop.
    let mut ready = [0_i32; 2];
    for line in panzer.lines().iter().take_while(|line| !line.contains("is draining")) {
        let born = told(line, ": worker ", " is ready");
        let died = told(line, ": worker ", " of generation");
        for (who, by) in [(born, 1), (died, -1)] {
            if let Some((slot, _)) = who {
                let slot = slot.parse::<usize>().expect("a slot") - 1;
                ready[slot] += by;
                assert!(ready[slot] > 0, "nobody is ready in slot {}: {line}", slot + 1);
            }
        }
    }
}

/// RATIONALE 2.21, 11.8
#[test]
fn both_are_seen_in_one_slot_while_one_leaves_and_the_other_serves() {
    let place = Place::new();
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let (pid_file, mut panzer) =
        witness(&place, &words, &["-n1", "--lifetime=0.3", "--timeout=60"]);
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, old) = Held::hold(address).expect("it serves");
    panzer.expect_line("worker 1 is to be ");
    panzer.expect_line(") is ready");
    let (other, new) = Held::hold(address).expect("it serves");
    assert!(old.slot == 1 && new.slot == 1 && old.pid != new.pid);
    let show = |words: &[&str]| ctl(&pid_file, words).shown;
    let json = show(&["status", "--json"]);
    let row = |pid, heir: &str| {
        let rows: Vec<_> = json.split(r#"{"slot":1,"#).skip(1).collect();
        let is_it = |row: &&&str| row.starts_with(&format!(r#""pid":{pid},"#));
        let row = rows.iter().find(is_it).expect("it has a row");
        row.contains(r#""state":"busy""#) && row.contains(&format!(r#""heir":{heir}}}"#))
    };
    assert!(row(old.pid, "false") && row(new.pid, "true"), "{json}");
    let tree = show(&["status"]);
    assert_eq!((tree.matches("worker 1 ").count(), tree.matches("heir").count()), (2, 1), "{tree}");
    let metrics = show(&["status", "--metrics"]);
    assert_eq!(metrics.matches("panzer_worker_handled_total{").count(), 1, "{metrics}");
    other.finish().expect("it serves");
    held.finish().expect("it is finished");
    panzer.expect_event("it has followed", |event| {
        event.name == "respawn" && event.slot == 1 && event.pid == new.pid
    });
    let json = show(&["status", "--json"]);
    let row = format!(r#"{{"slot":1,"pid":{},"state":"idle""#, new.pid);
    assert!(json.contains(&row) && json.contains(r#""handled":1"#), "{json}");
    panzer.stop();
}

/// RATIONALE 2.22
#[test]
fn an_heir_that_dies_is_tried_again_while_the_old_one_serves() {
    let place = Place::new();
    let bad = place.join("bad");
    let unless = format!("unless={}", bad.display());
    let words = ["listen=127.0.0.1:0", &unless, "run=hold"];
    let options = ["-n1", "--lifetime=0.3", "--delay=0.05", "--max-delay=0.1"];
    let (_, mut panzer) = witness(&place, &words, &options);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let old = panzer.workers(monitor);
    fs::write(&bad, "").expect("a file can be written");
    for _ in 0..3 {
        panzer.expect_line("exited with status 1");
    }
    let (held, answer) = Held::hold(address).expect("it serves");
    held.finish().expect("it serves");
    assert_eq!(old, [answer.pid]);
    fs::remove_file(&bad).expect("it is there");
    panzer.expect_event("it has followed", |event| event.name == "respawn" && event.slot == 1);
    panzer.stop();
}

/// RATIONALE 2.22
#[test]
fn who_dies_while_its_heir_starts_is_replaced_by_it() {
    let place = Place::new();
    let (gate, mut panzer) = with_heir_at_the_gate(&place, &["--timeout=60"]);
    let monitor = panzer.expect_monitor(1);
    let both = panzer.workers(monitor);
    let old = both[0].min(both[1]);
    send(old, Signal::Kill);
    let line = panzer.expect_line("killed by SIGKILL");
    assert!(line.ends_with(": unknown"), "somebody is on the way: {line}");
    panzer.expect_event("it has followed", |event| event.name == "respawn" && event.slot == 1);
    assert_eq!(panzer.workers(monitor), [both[0].max(both[1])]);
    open_gate(&gate);
    panzer.expect_line(") is ready");
    panzer.stop();
}

/// RATIONALE 2.22
#[test]
fn a_stop_reaches_an_heir_that_is_not_ready() {
    let place = Place::new();
    let (gate, mut panzer) = with_heir_at_the_gate(&place, &["--timeout=60"]);
    panzer.signal(Signal::Term);
    panzer.expect_line(": asked");
    // It finds that it was told to leave once it comes to look.
    open_gate(&gate);
    assert_eq!(panzer.end(), End::Status(0));
}

/// A worker that serves, and its heir, which waits at the gate.
fn with_heir_at_the_gate(place: &Place, options: &[&str]) -> (PathBuf, Panzer) {
    let gate = place.gate("gate");
    let word = format!("gate={}", gate.display());
    let options = [&["-n1", "--lifetime=0.2"], options].concat();
    let (_, mut panzer) = witness(place, &[&word, "run=idle"], &options);
    open_gate(&gate);
    panzer.expect_current(1);
    panzer.expect_line("worker 1 is to be ");
    (gate, panzer)
}

/// RATIONALE 2.22
#[test]
fn a_slot_too_many_loses_both() {
    let place = Place::new();
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let options = ["-n2", "--lifetime=0.3", "--timeout=60"];
    let (pid_file, mut panzer) = witness(&place, &words, &options);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    // Both slots are kept by who does not leave, until one has an heir.
    let held = [(); 2].map(|()| Held::hold(address).expect("it serves"));
    panzer.expect_line(" is to be ");
    panzer.expect_line(") is ready");
    assert_eq!(ask_briefly(&pid_file, "scale 1"), "done 1 workers");
    for (held, _) in held {
        held.finish().expect("it is finished");
    }
    panzer.eventually("one worker is left", || look::children(monitor).len() == 1);
    panzer.stop();
}

/// RATIONALE 2.21
#[test]
fn programs_that_know_nothing_of_it_are_recycled_too() {
    let options = ["-x", "-n2", "--ready=0.1", "--lifetime=0.2"];
    let setup = Setup::new(Path::new("/bin/sleep"), &["1000"]).options(&options);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    for _ in 0..4 {
        panzer.expect_event("another", |event| event.name == "respawn");
    }
    let mut panzer = panzer.stop();
    assert_eq!((panzer.count("started"), panzer.count_lines(" WARN ")), (1, 0));
}
