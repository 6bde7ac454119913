//! In every state, and after any two other requests in quick succession: a stop ends
//! all processes by one deadline, and nothing is started afterwards.

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::setup::Setup;

/// The requests that an operator may make; SIGINT twice stops immediately.
const REQUESTS: [Signal; 4] = [Signal::Term, Signal::Int, Signal::Usr1, Signal::Usr2];

/// A panzer in some state, and what keeps it in that state.
struct State {
    panzer: Panzer,
    _held: Option<Held>,
    _dir: TempDir,
}

/// A program `app` that executes the witness, and options with which only the
/// deadline of a stop is short.
fn begin(words: &[&str], options: &[&str]) -> (TempDir, Panzer) {
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), words);
    let setup = Setup::new(&app, &[]).options(&["-n1", "--timeout=0.1", "--delay=60"]);
    (dir, setup.options(options).start())
}

/// The next version starts, and is never ready.
fn never_ready(dir: &TempDir) {
    dir.app(&example("witness"), &["say=it hangs", "hang"]);
}

/// Makes every pair of requests in this state, each pair to a new panzer.
fn ends_after_any_requests(state: impl Fn() -> State) {
    for first in REQUESTS {
        for second in REQUESTS {
            let mut state = state();
            state.panzer.signal(first);
            state.panzer.signal(second);
            state.panzer.signal(Signal::Term);
            state.expect_end(&format!("{first:?}, {second:?}"));
        }
    }
}

impl State {
    fn new((dir, panzer): (TempDir, Panzer)) -> Self {
        Self { panzer, _held: None, _dir: dir }
    }

    fn expect_end(&mut self, requests: &str) {
        let panzer = &mut self.panzer;
        assert_eq!(panzer.end(), End::Status(0), "{requests}");
        let events = panzer.events();
        let stopping = events.iter().position(|event| event.name == "stopping");
        let stopping = stopping.unwrap_or_else(|| panzer.fail(&format!("{requests}: no stop")));
        let late = events[stopping..].iter().find(|event| event.name == "started");
        assert!(late.is_none(), "{requests}: {late:?}");
        assert_eq!(panzer.count("stopping"), 1, "{requests}");
        for generation in 1..=events.len() {
            let line = format!("generation {generation}: sent SIGINT");
            assert!(panzer.count_lines(&line) <= 1, "{requests}: {line}");
        }
    }
}

/// rule: stop.completes
#[test]
fn stop_during_first_start_completes() {
    ends_after_any_requests(|| {
        let (dir, mut panzer) = begin(&["say=it hangs", "hang"], &[]);
        panzer.expect_line("it hangs");
        State::new((dir, panzer))
    });
}

/// rule: stop.completes
#[test]
fn stop_while_serving_completes() {
    ends_after_any_requests(|| {
        let (dir, mut panzer) = begin(&["run=idle"], &[]);
        panzer.expect_current(1);
        State::new((dir, panzer))
    });
}

/// rule: stop.completes
#[test]
fn stop_during_reload_completes() {
    ends_after_any_requests(|| {
        let (dir, mut panzer) = begin(&["run=idle"], &[]);
        panzer.expect_current(1);
        never_ready(&dir);
        panzer.signal(Signal::Usr1);
        panzer.expect_line("it hangs");
        State::new((dir, panzer))
    });
}

/// rule: stop.completes
#[test]
fn stop_during_probation_completes() {
    ends_after_any_requests(|| {
        let (dir, mut panzer) = begin(&["run=idle"], &["--probation=1000"]);
        panzer.expect_current(1);
        panzer.signal(Signal::Usr1);
        panzer.expect("probation", 2);
        State::new((dir, panzer))
    });
}

/// rule: stop.completes
#[test]
fn stop_during_drain_completes() {
    ends_after_any_requests(|| {
        let (dir, mut panzer) = begin(&["listen=127.0.0.1:0", "run=hold"], &[]);
        let address = panzer.expect_address();
        panzer.expect_current(1);
        let (held, _) = Held::hold(address).expect("it serves");
        panzer.reload(2);
        panzer.expect("draining", 1);
        State { panzer, _held: Some(held), _dir: dir }
    });
}

/// rule: stop.completes
#[test]
fn stop_during_backoff_completes() {
    ends_after_any_requests(|| {
        let (dir, mut panzer) = begin(&["exit=1"], &["--give-up=0"]);
        panzer.expect("failed", 1);
        panzer.expect("failed", 2);
        State::new((dir, panzer))
    });
}

/// rule: stop.completes
#[test]
fn stop_during_restart_after_crash_completes() {
    ends_after_any_requests(|| {
        let (dir, mut panzer) = begin(&["run=idle"], &[]);
        let monitor = panzer.expect_current(1);
        never_ready(&dir);
        send(monitor, Signal::Kill);
        panzer.expect_line("it hangs");
        State::new((dir, panzer))
    });
}
