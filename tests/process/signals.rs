//! Signals in numbers and in bad moments.

use panzer::sys::Signal;

use crate::harness::look;
use crate::harness::panzer::{End, continue_process, stop_process};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

#[test]
fn a_thousand_reloads_asked_for_at_once_never_start_two_at_once() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]).start();
    panzer.expect_current(1);
    for _ in 0..1_000 {
        panzer.signal(Signal::Usr1);
    }
    panzer.settle();
    // Whatever was asked for is under way or done; one more is the last.
    let asked = panzer.count("started");
    panzer.signal(Signal::Usr1);
    panzer.expect_event("a start after the last", |event| {
        event.name == "started" && event.generation as usize > asked
    });
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    let mut starting = 0;
    for event in panzer.events() {
        match &*event.name {
            "started" => starting += 1,
            "current" | "failed" => starting -= 1,
            _ => {}
        }
        assert!((0..=1).contains(&starting), "{event:?}");
    }
}

#[test]
fn a_worker_or_monitor_that_was_stopped_and_goes_on_is_not_replaced() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n2"]).start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    for pid in workers.iter().copied().chain([monitor]) {
        for _ in 0..10 {
            stop_process(pid);
            continue_process(pid);
        }
    }
    panzer.settle();
    assert_eq!(panzer.workers(monitor), workers);
    assert_eq!((panzer.count("died"), panzer.count("started")), (0, 1));
    panzer.stop();
}

#[test]
fn a_storm_of_signals_leaves_main_able_to_stop() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]).start();
    let monitor = panzer.expect_current(1);
    let storm = [Signal::Ttin, Signal::Vtalrm, Signal::Winch, Signal::Chld, Signal::Usr2];
    for _ in 0..20_000 {
        storm.into_iter().for_each(|signal| panzer.signal(signal));
    }
    panzer.settle();
    assert!(look::is_alive(monitor));
    assert_eq!((panzer.count("died"), panzer.count("started")), (0, 1));
    panzer.stop();
}

/// Every pair of what an operator may ask for, the second at once after the
/// first: in the end everybody is gone, and nothing is started afterwards.
#[test]
fn whatever_is_asked_for_during_whatever_else_a_stop_ends_everything() {
    let all = [Signal::Term, Signal::Int, Signal::Quit, Signal::Usr1, Signal::Usr2, Signal::Hup];
    for first in all {
        for second in all {
            let setup = Setup::new(&example("witness"), &["run=idle"]);
            let mut panzer = setup.options(&["-n1", "--timeout=5"]).start();
            panzer.expect_current(1);
            panzer.signal(first);
            panzer.signal(second);
            panzer.signal(Signal::Term);
            assert_eq!(panzer.end(), End::Status(0), "{first:?} {second:?}");
            let events = panzer.events();
            let stopping = events.iter().position(|event| event.name == "stopping");
            let stopping = stopping.expect("it has stopped");
            let late = events[stopping..].iter().find(|event| event.name == "started");
            assert!(late.is_none(), "{first:?} {second:?}: {late:?}");
        }
    }
}

#[test]
fn a_stop_reaches_a_generation_that_is_not_ready_yet() {
    let place = Place::new();
    let gate = place.gate("gate");
    let wait = format!("wait={}", gate.display());
    let setup = Setup::new(&example("witness"), &["say=here", &wait, "run=idle"]);
    let mut panzer = setup.options(&["-n1"]).start();
    panzer.expect_line("here");
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count("ready"), 0);
}
