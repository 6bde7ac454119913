//! How it ends.

use panzer::sys::Signal;

use crate::harness::client::{Held, ask, is_refused};
use crate::harness::look;
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::place::example;
use crate::harness::setup::Setup;

/// Two witnesses that keep what they have accepted in hand.
fn holding(options: &[&str]) -> (Panzer, std::net::SocketAddr) {
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = setup.options(&["-n2"]).options(options).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    (panzer, address)
}

#[test]
fn the_three_roles_have_their_names() {
    let mut panzer = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]).start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    assert_eq!(look::name(panzer.pid()), "panzer:main");
    assert_eq!(look::name(monitor), "panzer:monitor");
    let names: Vec<_> = workers.iter().map(|worker| look::name(*worker)).collect();
    assert_eq!(names, ["panzer:worker", "panzer:worker"]);
    panzer.stop();
}

#[test]
fn a_graceful_stop_leaves_nobody_and_no_port() {
    let mut panzer = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    ask(address).expect("it serves");
    panzer.stop();
    assert!(is_refused(address));
}

#[test]
fn sigterm_and_a_first_sigint_let_what_is_in_hand_finish() {
    for signal in [Signal::Term, Signal::Int] {
        let (mut panzer, address) = holding(&[]);
        let (held, _) = Held::hold(address).expect("it serves");
        panzer.signal(signal);
        panzer.expect_event("stopping", |event| event.name == "stopping");
        held.finish().expect("what is in hand is finished");
        assert_eq!(panzer.end(), End::Status(0), "{signal:?}");
    }
}

#[test]
fn a_second_sigint_stops_now() {
    let (mut panzer, address) = holding(&[]);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Int);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    panzer.signal(Signal::Int);
    assert_eq!(panzer.end(), End::Status(0));
    assert!(held.ends_without_a_word());
}

#[test]
fn two_sigints_after_a_sigterm_stop_now() {
    let (mut panzer, address) = holding(&[]);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Term);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    panzer.signal(Signal::Int);
    panzer.settle();
    panzer.signal(Signal::Int);
    assert_eq!(panzer.end(), End::Status(0));
    assert!(held.ends_without_a_word());
}

#[test]
fn sigquit_stops_now() {
    let (mut panzer, address) = holding(&[]);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Quit);
    assert_eq!(panzer.end(), End::Status(0));
    assert!(held.ends_without_a_word());
}

#[test]
fn a_monitor_that_ended_of_the_same_sigterm_was_asked_and_nothing_is_started() {
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1", "--delay=0"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    // The whole tree is sent SIGTERM at once, and main has to wait for a processor.
    stop_process(panzer.pid());
    panzer.signal(Signal::Usr1);
    panzer.signal(Signal::Term);
    send(monitor, Signal::Term);
    assert!(look::until(|| !look::is_alive(monitor)), "the monitor does not end");
    continue_process(panzer.pid());
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!((panzer.count("started"), panzer.count_lines("unasked")), (1, 0));
}
