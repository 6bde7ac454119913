//! How it ends.

use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::client::{Held, ask, is_refused};
use crate::harness::expect_passed;
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::{PATIENCE, look};

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

/// RATIONALE 1.6
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

/// RATIONALE 1.24
#[test]
fn a_stopped_worker_is_killed_two_seconds_after_the_timeout_and_not_before() {
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n2", "--timeout=0"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    stop_process(panzer.workers(monitor)[0]);
    let asked = Instant::now();
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(1));
    expect_passed(asked, Duration::from_secs(2));
    assert_eq!(panzer.count_lines("is sent SIGKILL"), 1);
    assert_eq!(panzer.count_lines("left behind"), 0);
}

/// RATIONALE 1.37
#[test]
fn no_signal_moves_the_deadlines_of_a_stop() {
    let setup = Setup::new(&example("witness"), &["run=deaf"]).options(&["-n1", "--timeout=0.3"]);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    let asked = Instant::now();
    panzer.signal(Signal::Term);
    let storm = [
        Signal::Chld,
        Signal::Hup,
        Signal::Term,
        Signal::Ttin,
        Signal::Usr1,
        Signal::Vtalrm,
        Signal::Winch,
    ];
    // A deadline that moved with any of them would not come before this ends.
    while panzer.count("stopped") == 0 && asked.elapsed() < PATIENCE {
        storm.into_iter().for_each(|signal| panzer.signal(signal));
        std::thread::yield_now();
    }
    assert!(asked.elapsed() < PATIENCE, "main does not end while it is signalled");
    expect_passed(asked, Duration::from_millis(2_300));
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count_lines("is sent SIGINT"), 1);
    assert_eq!(panzer.count_lines("is sent SIGKILL"), 1);
}

/// RATIONALE 1.27
#[test]
fn nobody_ever_waits_for_a_child_to_die() {
    let place = Place::new();
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n2"]);
    let (setup, trace) = setup.traced(place.path(), "waits", &["-e", "trace=wait4,waitid"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    send(panzer.workers(monitor)[0], Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn");
    panzer.reload(2);
    panzer.stop();
    let calls = trace.calls();
    assert!(!calls.is_empty());
    let patient = calls.iter().find(|call| !call.words.contains("WNOHANG"));
    assert!(patient.is_none(), "{patient:?}");
}

/// A program in two processes, of which the first says that it is ready; both
/// tell of each signal and stay.
const STUBBORN: &str = r#"
import os, signal, socket
both = [signal.SIGTERM, signal.SIGINT]
signal.pthread_sigmask(signal.SIG_BLOCK, both)
if os.fork():
    main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    main.sendto(b"READY=1", "\0" + os.environ["NOTIFY_SOCKET"][1:])
while True:
    os.write(1, f"got {signal.sigwait(both).name}\n".encode())
"#;

/// RATIONALE 1.25
#[test]
fn a_group_takes_the_place_of_its_monitor_that_is_gone() {
    let setup = Setup::new("python3".as_ref(), &["-c", STUBBORN]);
    let mut panzer = setup.options(&["--timeout=0.1", "-v"]).start();
    let monitor = panzer.expect_current(1);
    send(monitor, Signal::Kill);
    for line in ["got SIGTERM", "got SIGINT", "generation 1 is sent SIGKILL"] {
        panzer.expect_line(line);
    }
    panzer.expect_line("nobody of generation 1 is left");
    // Each was sent once, and to whom was left.
    let told = (panzer.count_lines("got SIGTERM"), panzer.count_lines("got SIGINT"));
    assert_eq!(told, (1, 1));
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// RATIONALE 1.34
#[test]
fn with_a_drain_delay_main_serves_on_as_long_as_somebody_serves() {
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n1"]);
    let mut panzer = setup.options(&["--drain-delay=1000"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    panzer.signal(Signal::Term);
    panzer.expect_line("stopping: serving for ");
    panzer.signal(Signal::Usr1);
    panzer.settle();
    ask(address).expect("it serves on");
    assert_eq!((panzer.count("stopping"), panzer.count("started")), (0, 1));
    send(monitor, Signal::Kill);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!((panzer.count("stopping"), panzer.count("started")), (1, 1));
}

/// RATIONALE 1.34
#[test]
fn a_drain_delay_is_waited_for_and_then_it_stops() {
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]);
    let mut panzer = setup.options(&["--drain-delay=0.3"]).start();
    panzer.expect_current(1);
    let asked = Instant::now();
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    expect_passed(asked, Duration::from_millis(300));
}
