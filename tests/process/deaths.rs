//! Workers, monitors and main are killed.

use std::net::SocketAddr;

use panzer::sys::Signal;

use crate::harness::client::{Held, ask, is_refused};
use crate::harness::look;
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

const SIGKILL: End = End::Signal(9);

/// Two workers that keep what they have accepted in hand; their monitor.
fn holding(options: &[&str]) -> (Panzer, SocketAddr, u32) {
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = setup.options(&["-n2"]).options(options).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    (panzer, address, monitor)
}

/// RATIONALE 5.4
#[test]
fn a_killed_worker_is_replaced_and_is_one_line() {
    let mut panzer = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let worker = panzer.workers(monitor)[0];
    send(worker, Signal::Kill);
    panzer.expect_event("its end", |event| event.name == "died" && event.pid == worker);
    panzer.expect_event("another", |event| event.name == "respawn");
    ask(address).expect("it serves");
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines(&format!("({worker})")), 1);
    assert_eq!(panzer.count_lines("killed by SIGKILL"), 1);
    assert_eq!(panzer.count("started"), 1, "the monitor is the same");
}

#[test]
fn many_workers_killed_at_once_are_all_replaced_and_each_is_one_line() {
    let setup = Setup::new(&example("witness"), &["run=idle"]);
    let mut panzer = setup.options(&["-n50", "--delay=0"]).start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    assert_eq!(workers.len(), 50);
    for worker in &workers {
        send(*worker, Signal::Kill);
    }
    for _ in &workers {
        panzer.expect_line("killed by SIGKILL");
    }
    // The events of it may be dropped, the lines of the workers themselves are not.
    while panzer.count_lines("run in worker ") < 2 * workers.len() {
        panzer.expect_line("run in worker ");
    }
    let now = panzer.workers(monitor);
    assert!(now.len() == 50 && now.iter().all(|pid| !workers.contains(pid)), "{now:?}");
    assert_eq!(panzer.count_lines("killed by SIGKILL"), 50);
    panzer.stop();
}

#[test]
fn when_the_monitor_is_killed_its_workers_drain_and_a_new_generation_comes() {
    let (mut panzer, address, monitor) = holding(&["-v"]);
    let (held, _) = Held::hold(address).expect("it serves");
    let workers = panzer.workers(monitor);
    send(monitor, Signal::Kill);
    panzer.expect_current(2);
    assert!(workers.iter().any(|worker| look::is_alive(*worker)), "one has work in hand");
    held.finish().expect("it is finished all the same");
    let (other, _) = Held::hold(address).expect("the port was never closed");
    other.finish().expect("it serves");
    panzer.expect_line("nobody of generation 1 is left");
    assert!(!workers.iter().any(|worker| look::is_alive(*worker)));
    panzer.stop();
}

#[test]
fn a_monitor_that_is_killed_again_and_again_never_closes_the_port() {
    let mut panzer =
        Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2", "--delay=0"]).start();
    let address = panzer.expect_address();
    let mut monitor = panzer.expect_current(1);
    for generation in 2..12 {
        send(monitor, Signal::Kill);
        ask(address).expect("whoever it is, it is answered");
        monitor = panzer.expect_current(generation);
    }
    panzer.stop();
}

/// RATIONALE 1.22
#[test]
fn a_monitor_that_leaves_with_status_0_has_crashed() {
    let (mut panzer, _, monitor) = holding(&[]);
    // Somebody else's SIGTERM: main has asked for nothing.
    send(monitor, Signal::Term);
    panzer.expect_event("its end", |event| event.pid == monitor && event.name == "died");
    panzer.expect_current(2);
    panzer.stop();
}

#[test]
fn when_main_is_killed_nobody_is_left_and_the_port_is_free() {
    let (mut panzer, address, _) = holding(&[]);
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), SIGKILL);
    assert!(is_refused(address));
}

#[test]
fn when_main_is_killed_what_is_in_hand_is_finished() {
    let (mut panzer, address, _) = holding(&[]);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Kill);
    panzer.expect_line("main is gone: stopping");
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), SIGKILL);
}

#[test]
fn when_main_and_the_monitor_are_killed_nobody_is_left() {
    for main_first in [true, false] {
        let (mut panzer, address, monitor) = holding(&[]);
        let order = if main_first { [panzer.pid(), monitor] } else { [monitor, panzer.pid()] };
        order.into_iter().for_each(|pid| send(pid, Signal::Kill));
        assert_eq!(panzer.end(), SIGKILL);
        assert!(is_refused(address));
    }
}

#[test]
fn a_worker_whose_main_and_monitor_are_killed_finishes_what_is_in_hand() {
    let (mut panzer, address, monitor) = holding(&[]);
    let (held, _) = Held::hold(address).expect("it serves");
    [panzer.pid(), monitor].into_iter().for_each(|pid| send(pid, Signal::Kill));
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), SIGKILL);
}

#[test]
fn deaf_workers_do_not_outlive_main_by_more_than_the_timeout() {
    let setup = Setup::new(&example("witness"), &["run=deaf"]);
    let mut panzer = setup.options(&["-n2", "--timeout=0.1"]).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), SIGKILL);
}

#[test]
fn term_to_the_whole_tree_at_once_is_graceful_and_no_refill_outlives_it() {
    let (mut panzer, address, monitor) = holding(&[]);
    let (held, _) = Held::hold(address).expect("it serves");
    let everybody = look::descendants(panzer.pid());
    assert_eq!((everybody.len(), everybody[0]), (3, monitor));
    // From below, so that each finds the others in the worst order.
    for pid in everybody.into_iter().rev() {
        send(pid, Signal::Term);
    }
    panzer.signal(Signal::Term);
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count("started"), 1);
}

/// One worker of two dies after this, while the other one has work in hand:
/// nobody takes its place.
fn is_not_replaced_after(ask: impl Fn(&mut Panzer)) {
    let (mut panzer, address, _) = holding(&["--delay=0"]);
    let (lost, one) = Held::hold(address).expect("it serves");
    let (held, other) = Held::hold(address).expect("it serves");
    assert_ne!(one.pid, other.pid);
    ask(&mut panzer);
    // Main has told the monitor when it has answered.
    panzer.settle();
    send(one.pid, Signal::Kill);
    panzer.expect_line(&format!("({}) of generation 1 killed by SIGKILL", one.pid));
    assert!(lost.ends_without_a_word());
    panzer.settle();
    held.finish().expect("it is finished");
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    assert_eq!(panzer.count("respawn"), 0);
    let started = panzer.count("started");
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count_lines("run in worker"), 2 * started);
}

/// RATIONALE 2.8
#[test]
fn a_worker_that_dies_while_its_generation_drains_is_not_replaced() {
    is_not_replaced_after(|panzer| {
        panzer.reload(2);
        panzer.expect("draining", 1);
    });
}

/// RATIONALE 2.8
#[test]
fn a_worker_that_dies_in_the_stop_is_not_replaced() {
    is_not_replaced_after(|panzer| {
        panzer.signal(Signal::Term);
        panzer.expect_event("stopping", |event| event.name == "stopping");
    });
}

/// RATIONALE 1.23
#[test]
fn repairs_of_a_monitor_wait_longer_and_longer_and_never_too_short() {
    let place = Place::new();
    let app = place.script("app", "kill -s VTALRM $PPID; exit 1");
    let options = ["--delay=0.1", "--max-delay=0.2"];
    let mut panzer = Setup::new(&app, &[]).options(&options).start();
    let mut died = panzer.expect("died", 1).at;
    // The first repair is at once; then 100 ms, and then 200 at most, each by
    // up to a quarter less.
    for (generation, least) in (2..).zip([0, 75, 150, 150]) {
        let started = panzer.expect("started", generation).at;
        assert!(started >= died + least, "generation {generation}: {:?}", panzer.events());
        died = panzer.expect("died", generation).at;
    }
    panzer.stop();
}
