//! Whatever it is doing, and whatever two things its operator asks for, the
//! second at once after the first: a stop ends everybody, by one deadline, and
//! nothing is started afterwards.

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

/// What an operator may ask for; twice the second of them stops now.
const ASKED: [Signal; 4] = [Signal::Term, Signal::Int, Signal::Usr1, Signal::Usr2];

/// A panzer that does something, and what keeps it doing that.
struct Moment {
    panzer: Panzer,
    _held: Option<Held>,
    _place: Place,
}

/// A program `app` that becomes a witness, and options with which nothing but
/// the deadline of a stop is ever waited for.
fn begin(words: &[&str], options: &[&str]) -> (Place, Panzer) {
    let place = Place::new();
    let app = place.app(&example("witness"), words);
    let setup = Setup::new(&app, &[]).options(&["-n1", "--timeout=0.1", "--delay=60"]);
    (place, setup.options(options).start())
}

/// The next version starts, and is never ready.
fn never_ready(place: &Place) {
    place.app(&example("witness"), &["say=it hangs", "hang"]);
}

/// In this moment every pair of things is asked for, each of a new panzer.
fn ends_whatever_is_asked_for(moment: impl Fn() -> Moment) {
    for first in ASKED {
        for second in ASKED {
            let mut moment = moment();
            moment.panzer.signal(first);
            moment.panzer.signal(second);
            moment.panzer.signal(Signal::Term);
            moment.expect_end(&format!("{first:?}, {second:?}"));
        }
    }
}

impl Moment {
    fn new((place, panzer): (Place, Panzer)) -> Self {
        Self { panzer, _held: None, _place: place }
    }

    fn expect_end(&mut self, asked: &str) {
        let panzer = &mut self.panzer;
        assert_eq!(panzer.end(), End::Status(0), "{asked}");
        let events = panzer.events();
        let stopping = events.iter().position(|event| event.name == "stopping");
        let stopping = stopping.unwrap_or_else(|| panzer.fail(&format!("{asked}: no stop")));
        let late = events[stopping..].iter().find(|event| event.name == "started");
        assert!(late.is_none(), "{asked}: {late:?}");
        assert_eq!(panzer.count("stopping"), 1, "{asked}");
        for generation in 1..=events.len() {
            let line = format!("generation {generation} is sent SIGINT");
            assert!(panzer.count_lines(&line) <= 1, "{asked}: {line}");
        }
    }
}

/// RATIONALE 1.38
#[test]
fn a_stop_ends_the_first_start_whatever_else_is_asked_for() {
    ends_whatever_is_asked_for(|| {
        let (place, mut panzer) = begin(&["say=it hangs", "hang"], &[]);
        panzer.expect_line("it hangs");
        Moment::new((place, panzer))
    });
}

/// RATIONALE 1.38
#[test]
fn a_stop_ends_whoever_serves_whatever_else_is_asked_for() {
    ends_whatever_is_asked_for(|| {
        let (place, mut panzer) = begin(&["run=idle"], &[]);
        panzer.expect_current(1);
        Moment::new((place, panzer))
    });
}

/// RATIONALE 1.38
#[test]
fn a_stop_ends_a_reload_whatever_else_is_asked_for() {
    ends_whatever_is_asked_for(|| {
        let (place, mut panzer) = begin(&["run=idle"], &[]);
        panzer.expect_current(1);
        never_ready(&place);
        panzer.signal(Signal::Usr1);
        panzer.expect_line("it hangs");
        Moment::new((place, panzer))
    });
}

/// RATIONALE 1.38
#[test]
fn a_stop_ends_a_probation_whatever_else_is_asked_for() {
    ends_whatever_is_asked_for(|| {
        let (place, mut panzer) = begin(&["run=idle"], &["--probation=1000"]);
        panzer.expect_current(1);
        panzer.signal(Signal::Usr1);
        panzer.expect("probation", 2);
        Moment::new((place, panzer))
    });
}

/// RATIONALE 1.38
#[test]
fn a_stop_ends_a_drain_whatever_else_is_asked_for() {
    ends_whatever_is_asked_for(|| {
        let (place, mut panzer) = begin(&["listen=127.0.0.1:0", "run=hold"], &[]);
        let address = panzer.expect_address();
        panzer.expect_current(1);
        let (held, _) = Held::hold(address).expect("it serves");
        panzer.reload(2);
        panzer.expect("draining", 1);
        Moment { panzer, _held: Some(held), _place: place }
    });
}

/// RATIONALE 1.38
#[test]
fn a_stop_ends_a_wait_for_the_next_start_whatever_else_is_asked_for() {
    ends_whatever_is_asked_for(|| {
        let (place, mut panzer) = begin(&["exit=1"], &["--give-up=0"]);
        panzer.expect("failed", 1);
        panzer.expect("failed", 2);
        Moment::new((place, panzer))
    });
}

/// RATIONALE 1.38
#[test]
fn a_stop_ends_what_follows_a_crash_whatever_else_is_asked_for() {
    ends_whatever_is_asked_for(|| {
        let (place, mut panzer) = begin(&["run=idle"], &[]);
        let monitor = panzer.expect_current(1);
        never_ready(&place);
        send(monitor, Signal::Kill);
        panzer.expect_line("it hangs");
        Moment::new((place, panzer))
    });
}
