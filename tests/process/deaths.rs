//! Workers, monitors and main are killed.

use std::net::SocketAddr;

use panzer::sys::Signal;

use crate::harness::client::{Held, ask, is_refused};
use crate::harness::look;
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::place::example;
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
