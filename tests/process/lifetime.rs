//! Workers are recycled: the replacement is ready before the old one is stopped.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::client::{Clients, Held};
use crate::harness::control_client::ask_result;
use crate::harness::ctl::ctl;
use crate::harness::event::Event;
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::procfs;
use crate::harness::setup::Setup;
use panzer::sys::Signal;

/// A pid file in `dir`, and a witness whose workers are recycled.
fn witness(dir: &TempDir, words: &[&str], options: &[&str]) -> (PathBuf, Panzer) {
    let pid_file = dir.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let setup = Setup::new(&example("witness"), words).options(&[&option, "-v"]);
    (pid_file, setup.options(options).start())
}

/// The slot and the pid that a log line names between `before` and `after`.
fn slot_and_pid(line: &str, before: &str, after: &str) -> Option<(String, String)> {
    let (_, rest) = line.split_once(before)?;
    let (slot, rest) = rest.split_once(" (pid ")?;
    let (pid, rest) = rest.split_once(')')?;
    rest.starts_with(after).then(|| (slot.to_string(), pid.to_string()))
}

/// rule: lifetime.recycled
#[test]
fn workers_are_recycled_under_load_without_a_failed_request() {
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]);
    let mut panzer = setup.options(&["-n2", "-v", "--lifetime=0.2"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let clients = Clients::begin(address);
    for _ in 0..6 {
        panzer.expect_event("a respawn", |event| event.name == "respawn");
    }
    assert!(clients.end() > 0);
    let mut panzer = panzer.stop();
    assert_eq!((panzer.count("started"), panzer.count_lines(" WARN ")), (1, 0));
    let lost = |event: &Event| event.name == "died" && event.slot > 0;
    assert!(!panzer.events().iter().any(lost), "no worker is lost");
    // Until the stop, each slot always has a worker that is ready.
    let mut ready = [0_i32; 2];
    for line in panzer.lines().iter().take_while(|line| !line.contains(": draining")) {
        let born = slot_and_pid(line, ": worker ", ": ready");
        let died = slot_and_pid(line, ": worker ", " of generation");
        for (event, change) in [(born, 1), (died, -1)] {
            if let Some((slot, _)) = event {
                let slot = slot.parse::<usize>().expect("a slot") - 1;
                ready[slot] += change;
                assert!(ready[slot] > 0, "no worker is ready in slot {}: {line}", slot + 1);
            }
        }
    }
}

/// rules: lifetime.recycled, control.status
#[test]
fn status_shows_worker_and_replacement_in_one_slot() {
    let dir = TempDir::new();
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let (pid_file, mut panzer) = witness(&dir, &words, &["-n1", "--lifetime=0.3", "--timeout=60"]);
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, old) = Held::hold(address).expect("it serves");
    panzer.expect_line("started as replacement");
    panzer.expect_line("): ready");
    let (other, new) = Held::hold(address).expect("it serves");
    assert!(old.slot == 1 && new.slot == 1 && old.pid != new.pid);
    let show = |words: &[&str]| ctl(&pid_file, words).stdout;
    let json = show(&["status", "--json"]);
    let row = |pid, replacement: &str| {
        let rows: Vec<_> = json.split(r#"{"slot":1,"#).skip(1).collect();
        let matches = |row: &&&str| row.starts_with(&format!(r#""pid":{pid},"#));
        let row = rows.iter().find(matches).expect("it has a row");
        row.contains(r#""state":"busy""#)
            && row.contains(&format!(r#""replacement":{replacement}}}"#))
    };
    assert!(row(old.pid, "false") && row(new.pid, "true"), "{json}");
    let tree = show(&["status"]);
    assert_eq!(
        (tree.matches("worker 1 ").count(), tree.matches("replacement").count()),
        (2, 1),
        "{tree}"
    );
    let metrics = show(&["status", "--metrics"]);
    assert_eq!(metrics.matches("panzer_worker_handled_total{").count(), 1, "{metrics}");
    other.finish().expect("it serves");
    held.finish().expect("it is finished");
    panzer.expect_event("the replacement to take over", |event| {
        event.name == "respawn" && event.slot == 1 && event.pid == new.pid
    });
    let json = show(&["status", "--json"]);
    let row = format!(r#"{{"slot":1,"pid":{},"state":"idle""#, new.pid);
    assert!(json.contains(&row) && json.contains(r#""handled":1"#), "{json}");
    panzer.stop();
}

/// rule: lifetime.replacement
#[test]
fn dead_replacement_is_retried_while_old_worker_serves() {
    let dir = TempDir::new();
    let bad = dir.join("bad");
    let unless = format!("unless={}", bad.display());
    let words = ["listen=127.0.0.1:0", &unless, "run=hold"];
    let options = ["-n1", "--lifetime=0.3", "--delay=0.05", "--max-delay=0.1"];
    let (_, mut panzer) = witness(&dir, &words, &options);
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
    panzer.expect_event("the replacement to take over", |event| {
        event.name == "respawn" && event.slot == 1
    });
    panzer.stop();
}

/// rule: lifetime.replacement
#[test]
fn starting_replacement_takes_over_if_old_worker_dies() {
    let dir = TempDir::new();
    let (gate, mut panzer) = with_replacement_at_the_gate(&dir, &["run=idle"]);
    let monitor = panzer.expect_monitor(1);
    let both = panzer.workers(monitor);
    let old = both[0].min(both[1]);
    send(old, Signal::Kill);
    let line = panzer.expect_line("killed by SIGKILL");
    assert!(!line.contains("; restarting"), "a replacement is starting already: {line}");
    panzer.expect_event("the replacement to take over", |event| {
        event.name == "respawn" && event.slot == 1
    });
    assert_eq!(panzer.workers(monitor), [both[0].max(both[1])]);
    open_gate(&gate);
    panzer.expect_line("): ready");
    panzer.stop();
}

/// rule: lifetime.replacement
#[test]
fn stop_reaches_replacement_that_is_not_ready() {
    let dir = TempDir::new();
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let (gate, mut panzer) = with_replacement_at_the_gate(&dir, &words);
    let monitor = panzer.expect_monitor(1);
    let both = panzer.workers(monitor);
    let old = both[0].min(both[1]);
    let lines = panzer.lines().into_iter();
    let mut places = lines.filter_map(|line| line.split_once("listening on ")?.1.parse().ok());
    // Until it is finished the old worker drains, and the stop is not over.
    let (held, _) = Held::hold(places.next().expect("it listens")).expect("it serves");
    panzer.signal(Signal::Term);
    panzer.settle();
    // The second status comes after all that the turn of the first does.
    for _ in 0..2 {
        send(monitor, Signal::Ttin);
        panzer.expect_line(&format!("status: worker 1 (pid {old})"));
    }
    // It sees that it was signalled once it has passed the gate.
    open_gate(&gate);
    panzer.expect_line("(requested)");
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), End::Status(0));
}

/// A worker that serves, and its replacement, which waits at the gate.
fn with_replacement_at_the_gate(dir: &TempDir, words: &[&str]) -> (PathBuf, Panzer) {
    let gate = dir.gate("gate");
    let word = format!("gate={}", gate.display());
    let words = [&[&*word], words].concat();
    let (_, mut panzer) = witness(dir, &words, &["-n1", "--lifetime=0.2", "--timeout=60"]);
    open_gate(&gate);
    panzer.expect_current(1);
    let line = panzer.expect_line("started as replacement");
    let (_, rest) = line.split_once("(pid ").expect("it has a pid");
    let pid = rest.split(')').next().and_then(|pid| pid.parse().ok()).expect("it is a number");
    let says = format!("[{pid}]: run in worker 1");
    let waits = || panzer.count_lines(&says) == 1 && procfs::state(pid) == Some('S');
    assert!(procfs::until(waits), "the replacement does not come to the gate");
    (gate, panzer)
}

/// rule: lifetime.replacement
#[test]
fn removed_slot_stops_worker_and_replacement() {
    let dir = TempDir::new();
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let options = ["-n2", "--lifetime=0.3", "--timeout=60"];
    let (pid_file, mut panzer) = witness(&dir, &words, &options);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    // Both workers hold a connection, so neither exits before one has a replacement.
    let held = [(); 2].map(|()| Held::hold(address).expect("it serves"));
    panzer.expect_line("started as replacement");
    panzer.expect_line("): ready");
    assert_eq!(ask_result(&pid_file, "scale 1"), "done 1 worker");
    for (held, _) in held {
        held.finish().expect("it is finished");
    }
    panzer.eventually("one worker is left", || procfs::children(monitor).len() == 1);
    panzer.stop();
}

/// rule: lifetime.recycled
#[test]
fn unmodified_programs_are_recycled() {
    let options = ["-x", "-n2", "--ready=0.1", "--lifetime=0.2"];
    let setup = Setup::new(Path::new("/bin/sleep"), &["1000"]).options(&options);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    for _ in 0..4 {
        panzer.expect_event("a respawn", |event| event.name == "respawn");
    }
    let mut panzer = panzer.stop();
    assert_eq!((panzer.count("started"), panzer.count_lines(" WARN ")), (1, 0));
}
