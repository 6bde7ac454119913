//! Main is restarted in place again and again: whatever is due at a time comes
//! neither earlier than that, nor later by any number of restarts.

use std::time::{Duration, Instant};

use panzer::sys::Signal;

use super::restarting::Restarting;
use crate::harness::client::Held;
use crate::harness::expect_passed;
use crate::harness::panzer::{End, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

const IDLE: [&str; 2] = ["listen=127.0.0.1:0", "run=idle"];
const HOLD: [&str; 2] = ["listen=127.0.0.1:0", "run=hold"];

/// Long enough for many restarts.
const SPAN: Duration = Duration::from_millis(600);
const SECONDS: &str = "0.6";

/// RATIONALE 13.2
#[test]
fn a_probation_ends_when_it_would_have_ended() {
    let mut main = Restarting::start(&IDLE, &["-n1", &format!("--probation={SECONDS}")]);
    let old = main.panzer.expect_current(1);
    let begun = Instant::now();
    main.panzer.signal(Signal::Usr1);
    main.panzer.expect("probation", 2);
    main.restart_until("the end of the old one", |event| event.name == "died" && event.pid == old);
    expect_passed(begun, SPAN);
    main.panzer.stop();
}

/// RATIONALE 13.2
#[test]
fn a_probation_is_failed_after_a_restart_as_before() {
    let mut main = Restarting::start(&IDLE, &["-n2", "--probation=1000", "-v"]);
    main.panzer.expect_current(1);
    main.panzer.signal(Signal::Usr1);
    let monitor = main.panzer.expect("probation", 2).pid;
    let workers = main.panzer.workers(monitor);
    // One before, and one after.
    send(workers[0], Signal::Kill);
    main.panzer.expect("respawn", 2);
    main.restart();
    assert_eq!(main.panzer.count("rolled_back"), 0);
    send(workers[1], Signal::Kill);
    main.panzer.expect("rolled_back", 2);
    main.panzer.expect_line("nobody of generation 2 is left");
    assert_eq!(main.panzer.count_lines("generation 1 is draining"), 0);
    main.panzer.stop();
}

/// RATIONALE 13.2
#[test]
fn a_drain_is_cut_short_when_it_would_have_been() {
    let mut main = Restarting::start(&HOLD, &["-n1", &format!("--timeout={SECONDS}")]);
    let address = main.panzer.expect_address();
    let old = main.panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    let begun = Instant::now();
    main.panzer.reload(2);
    let is_dead = |event: &crate::harness::event::Event| event.name == "died" && event.pid == old;
    main.restart_until("the end of a drain", is_dead);
    expect_passed(begun, SPAN);
    assert!(held.ends_without_a_word());
    let mut panzer = main.panzer.stop();
    assert_eq!(panzer.count_lines("generation 1 is sent SIGINT"), 1);
    assert_eq!(panzer.count_lines("is sent SIGKILL"), 0);
}

/// RATIONALE 13.2
#[test]
fn whoever_takes_no_signal_is_killed_when_he_would_have_been() {
    let mut main = Restarting::start(&["run=deaf"], &["-n1", "--timeout=0.1"]);
    let old = main.panzer.expect_current(1);
    main.panzer.reload(2);
    main.panzer.expect_line("generation 1 is sent SIGINT");
    // A library monitor kills its workers a second after that.
    let begun = Instant::now();
    let is_dead = |event: &crate::harness::event::Event| event.name == "died" && event.pid == old;
    main.restart_until("the end of who is deaf", is_dead);
    expect_passed(begun, Duration::from_millis(900));
    main.panzer.signal(Signal::Quit);
    assert_eq!(main.panzer.end(), End::Status(1));
    assert_eq!(main.panzer.count_lines("generation 1 is sent SIGINT"), 1);
}

/// RATIONALE 13.2
#[test]
fn a_foreign_monitor_that_takes_no_signal_is_killed_when_it_would_have_been() {
    let place = Place::new();
    let gate = place.gate("gate");
    let body = format!("trap '' TERM INT; kill -s VTALRM $PPID; read x <>'{}'", gate.display());
    place.script("app", &body);
    let setup = Setup::new(&place.join("app"), &[]).options(&["--timeout=0.1"]);
    let mut main = Restarting::begin(place, setup);
    let old = main.panzer.expect_current(1);
    let begun = Instant::now();
    main.panzer.reload(2);
    let is_dead = |event: &crate::harness::event::Event| event.name == "died" && event.pid == old;
    main.restart_until("the end of who is deaf", is_dead);
    // The timeout, and two seconds from SIGINT to SIGKILL.
    expect_passed(begun, Duration::from_millis(2_100));
    assert_eq!(main.panzer.count_lines("generation 1 is sent SIGINT"), 1);
    assert_eq!(main.panzer.count_lines("generation 1 is sent SIGKILL"), 1);
    main.panzer.signal(Signal::Quit);
    main.panzer.end();
}

/// RATIONALE 13.2
#[test]
fn a_start_has_failed_when_it_would_have_failed() {
    let options = ["-n1", &format!("--ready-timeout={SECONDS}"), "--timeout=0"];
    let mut main = Restarting::start(&IDLE, &options);
    main.panzer.expect_current(1);
    main.place.app(&example("witness"), &["hang"]);
    let begun = Instant::now();
    main.panzer.signal(Signal::Usr1);
    main.panzer.expect("started", 2);
    let failed = main.restart_until("the end of a start", |event| event.is("failed", 2));
    expect_passed(begun, SPAN);
    assert!(failed.why.contains("it was not ready within"), "{}", failed.why);
    main.panzer.stop();
}

/// RATIONALE 13.2
#[test]
fn what_is_ready_when_it_has_lived_for_a_time_lives_on() {
    let place = Place::new();
    place.script("app", "exec sleep 1000");
    let options = [&format!("--ready={SECONDS}"), "--timeout=0"];
    let setup = Setup::new(&place.join("app"), &[]).options(&options);
    let mut main = Restarting::begin(place, setup);
    let begun = Instant::now();
    main.panzer.expect("started", 1);
    main.restart_until("readiness", |event| event.is("current", 1));
    expect_passed(begun, SPAN - Duration::from_millis(100));
    main.panzer.stop();
}

/// RATIONALE 13.2
#[test]
fn a_wait_for_the_next_start_ends_when_it_would_have_ended_and_the_row_goes_on() {
    let options = ["-n1", "--give-up=0", "--delay=0.4", "--max-delay=60"];
    let mut main = Restarting::start(&["exit=1"], &options);
    // The first is repaired at once, the second after 0.4 s or a quarter less.
    main.panzer.expect("failed", 2);
    let begun = Instant::now();
    main.restart_until("the third failure", |event| event.is("failed", 3));
    expect_passed(begun, Duration::from_millis(250));
    // And now twice that.
    let begun = Instant::now();
    main.restart_until("the fourth start", |event| event.is("started", 4));
    expect_passed(begun, Duration::from_millis(550));
    main.panzer.signal(Signal::Term);
    assert_eq!(main.panzer.end(), End::Status(0));
}

/// RATIONALE 13.2
#[test]
fn failed_starts_are_counted_over_restarts() {
    let options = ["-n1", "--give-up=3", "--delay=0"];
    let place = Place::new();
    let gate = place.gate("gate");
    place.script("app", &format!("cat '{}'; exit 1", gate.display()));
    let setup = Setup::new(&place.join("app"), &[]).options(&options);
    let mut main = Restarting::begin(place, setup);
    for generation in 1..=3 {
        main.panzer.expect("started", generation);
        main.restart();
        crate::harness::place::open_gate(&gate);
        main.panzer.expect("failed", generation);
    }
    main.panzer.expect_line("giving up: 3 starts failed");
    assert_eq!(main.panzer.end(), End::Status(1));
}

/// RATIONALE 13.2
#[test]
fn a_stop_that_still_serves_is_not_restarted_and_ends_when_it_would_have_ended() {
    let mut main = Restarting::start(&IDLE, &["-n1", &format!("--drain-delay={SECONDS}")]);
    main.panzer.expect_current(1);
    let begun = Instant::now();
    main.panzer.signal(Signal::Term);
    main.panzer.expect_line("serving for ");
    while main.panzer.count("stopping") == 0 {
        assert!(begun.elapsed() < crate::harness::PATIENCE, "it goes on for ever");
        main.panzer.signal(Signal::Usr2);
        main.panzer.signal(Signal::Ttin);
        main.panzer.expect_line("");
    }
    expect_passed(begun, SPAN);
    assert_eq!(main.panzer.end(), End::Status(0));
    assert_eq!(main.panzer.count("restarted"), 0);
}

/// RATIONALE 13.2
#[test]
fn each_generation_keeps_the_times_that_it_was_started_with() {
    let place = Place::new();
    let file = place.write("panzer.yml", "timeout: 0.1\n");
    let option = format!("--config={}", file.display());
    let app = place.app(&example("witness"), &HOLD);
    let mut main = Restarting::begin(place, Setup::new(&app, &[]).options(&["-n1", &option]));
    let address = main.panzer.expect_address();
    main.panzer.expect_current(1);
    std::fs::write(&file, "timeout: 1000\n").expect("it is ours");
    main.restart();
    let (first, _) = Held::hold(address).expect("it serves");
    main.panzer.reload(2);
    main.panzer.expect_line("generation 1 is sent SIGINT");
    assert!(first.ends_without_a_word());
    let (second, _) = Held::hold(address).expect("it serves");
    main.restart();
    main.panzer.reload(3);
    main.restart();
    main.panzer.settle();
    assert_eq!(main.panzer.count_lines("generation 2 is sent SIGINT"), 0);
    second.finish().expect("it has its time");
    main.panzer.stop();
}
