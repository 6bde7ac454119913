//! Workers, monitors and main are killed.

use std::net::SocketAddr;

use panzer::sys::Signal;

use crate::harness::client::{Held, ask, is_refused};
use crate::harness::files::{TempDir, example};
use crate::harness::notify::{fill, socket_of};
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::procfs;
use crate::harness::setup::Setup;

const SIGKILL: End = End::Signal(9);

/// Two workers that hold the connections they accept; their monitor.
fn holding(options: &[&str]) -> (Panzer, SocketAddr, u32) {
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = setup.options(&["-n2"]).options(options).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    (panzer, address, monitor)
}

/// rule: log.death
#[test]
fn killed_worker_is_replaced_and_logged_once() {
    let mut panzer = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let worker = panzer.workers(monitor)[0];
    send(worker, Signal::Kill);
    panzer.expect_event("a death", |event| event.name == "died" && event.pid == worker);
    panzer.expect_event("a respawn", |event| event.name == "respawn");
    ask(address).expect("it serves");
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines(&format!("(pid {worker})")), 1);
    assert_eq!(panzer.count_lines("killed by SIGKILL"), 1);
    assert_eq!(panzer.count("started"), 1, "the monitor is the same");
}

/// rules: log.death, notify.news
#[test]
fn many_workers_killed_at_once_are_replaced_and_reported_once_each() {
    let setup = Setup::new(&example("witness"), &["run=idle"]);
    let mut panzer = setup.options(&["-n70", "--delay=0"]).start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    assert_eq!(workers.len(), 70);
    for worker in &workers {
        send(*worker, Signal::Kill);
    }
    for _ in &workers {
        panzer.expect_line("killed by SIGKILL");
    }
    for _ in &workers {
        panzer.expect_event("a respawn", |event| event.name == "respawn");
    }
    assert_eq!(panzer.count("died"), 70);
    let now = panzer.workers(monitor);
    assert!(now.len() == 70 && now.iter().all(|pid| !workers.contains(pid)), "{now:?}");
    assert_eq!(panzer.count_lines("killed by SIGKILL"), 70);
    panzer.stop();
}

/// rule: pool.reap
#[test]
fn every_death_is_found_behind_a_dead_child_of_the_application() {
    let setup = Setup::new(&example("witness"), &["start=exit=3", "run=idle"]);
    let mut panzer = setup.options(&["-n4", "--delay=0"]).start();
    let monitor = panzer.expect_current(1);
    let is_dead = |pid: &u32| procfs::state(*pid) == Some('Z');
    assert!(procfs::until(|| procfs::children(monitor).iter().any(is_dead)));
    let workers = panzer.workers(monitor);
    assert_eq!(workers.len(), 4);
    // Of the four signals to one that is stopped there is one left.
    stop_process(monitor);
    for worker in &workers {
        send(*worker, Signal::Kill);
    }
    continue_process(monitor);
    for _ in &workers {
        panzer.expect_event("a respawn", |event| event.name == "respawn");
    }
    assert_eq!(panzer.count("died"), 4);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("a child of the application: exit status: 3"), 1);
}

/// rule: notify.news
#[test]
fn deaths_are_reported_when_main_has_room_again() {
    let setup = Setup::new(&example("witness"), &["run=idle"]);
    let mut panzer = setup.options(&["-n4", "--delay=0"]).start();
    let monitor = panzer.expect_current(1);
    let main = panzer.pid();
    stop_process(main);
    fill(&socket_of(monitor));
    let workers = panzer.workers(monitor);
    for worker in &workers {
        send(*worker, Signal::Kill);
        panzer.expect_line(&format!("(pid {worker}) of generation 1: killed by SIGKILL"));
    }
    continue_process(main);
    for _ in &workers {
        panzer.expect_event("a respawn", |event| event.name == "respawn");
    }
    let died: Vec<_> = panzer
        .events()
        .iter()
        .filter(|event| event.name == "died")
        .map(|event| event.pid)
        .collect();
    assert_eq!(died, workers);
    panzer.stop();
}

/// rule: log.death
#[test]
fn death_of_each_worker_is_told_once_after_its_monitor_was_killed() {
    let (mut panzer, address, monitor) = holding(&["--delay=0"]);
    let (_held, answer) = Held::hold(address).expect("it serves");
    let holds = answer.pid;
    let idle = panzer.workers(monitor).into_iter().find(|pid| *pid != holds).expect("two workers");
    send(monitor, Signal::Kill);
    panzer.expect_line(&format!("(pid {idle}) of generation 1: exited with status 0 after"));
    panzer.expect_current(2);
    send(holds, Signal::Kill);
    panzer.expect_event("a death", |event| event.name == "died" && event.pid == holds);
    let mut panzer = panzer.stop();
    for pid in [monitor, idle, holds] {
        assert_eq!(panzer.count_lines(&format!("(pid {pid})")), 1, "{pid}");
    }
    assert_eq!(panzer.count_lines("WARN panzer:main["), 2, "the monitor and the worker");
}

#[test]
fn workers_of_killed_monitor_drain_and_new_generation_starts() {
    let (mut panzer, address, monitor) = holding(&["-v"]);
    let (held, _) = Held::hold(address).expect("it serves");
    let workers = panzer.workers(monitor);
    send(monitor, Signal::Kill);
    panzer.expect_current(2);
    assert!(workers.iter().any(|worker| procfs::is_alive(*worker)), "one holds a connection");
    held.finish().expect("it is finished");
    let (other, _) = Held::hold(address).expect("the port stays open");
    other.finish().expect("it serves");
    panzer.expect_line("generation 1: all processes exited");
    assert!(!workers.iter().any(|worker| procfs::is_alive(*worker)));
    panzer.stop();
}

#[test]
fn repeatedly_killed_monitor_never_closes_the_port() {
    let mut panzer =
        Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2", "--delay=0"]).start();
    let address = panzer.expect_address();
    let mut monitor = panzer.expect_current(1);
    for generation in 2..12 {
        send(monitor, Signal::Kill);
        ask(address).expect("a worker of either generation answers");
        monitor = panzer.expect_current(generation);
    }
    panzer.stop();
}

/// rule: crash.monitor
#[test]
fn monitor_exit_with_status_0_counts_as_crash() {
    let (mut panzer, _, monitor) = holding(&[]);
    // A SIGTERM that main has not sent.
    send(monitor, Signal::Term);
    panzer.expect_current(2);
    panzer.expect_line(&format!("monitor (pid {monitor}) of generation 1: exited with status 0"));
    panzer.stop();
}

#[test]
fn all_processes_exit_and_port_is_free_after_main_is_killed() {
    let (mut panzer, address, _) = holding(&[]);
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), SIGKILL);
    assert!(is_refused(address));
}

#[test]
fn connections_are_finished_after_main_is_killed() {
    let (mut panzer, address, _) = holding(&[]);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Kill);
    panzer.expect_line("lost main process, shutting down");
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), SIGKILL);
}

#[test]
fn all_processes_exit_after_main_and_monitor_are_killed() {
    for main_first in [true, false] {
        let (mut panzer, address, monitor) = holding(&[]);
        let order = if main_first { [panzer.pid(), monitor] } else { [monitor, panzer.pid()] };
        order.into_iter().for_each(|pid| send(pid, Signal::Kill));
        assert_eq!(panzer.end(), SIGKILL);
        assert!(is_refused(address));
    }
}

#[test]
fn worker_finishes_its_connection_after_main_and_monitor_are_killed() {
    let (mut panzer, address, monitor) = holding(&[]);
    let (held, _) = Held::hold(address).expect("it serves");
    [panzer.pid(), monitor].into_iter().for_each(|pid| send(pid, Signal::Kill));
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), SIGKILL);
}

#[test]
fn workers_ignoring_sigterm_end_within_timeout_after_main_is_killed() {
    let setup = Setup::new(&example("witness"), &["run=deaf"]);
    let mut panzer = setup.options(&["-n2", "--timeout=0.1"]).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), SIGKILL);
}

#[test]
fn sigterm_to_all_processes_at_once_is_graceful() {
    let (mut panzer, address, monitor) = holding(&[]);
    let (held, _) = Held::hold(address).expect("it serves");
    let processes = procfs::descendants(panzer.pid());
    assert_eq!((processes.len(), processes[0]), (3, monitor));
    // Children first: the worst order, since their parents see them exit unasked. Main
    // is stopped meanwhile: else it may replace a monitor before it gets its own signal.
    stop_process(panzer.pid());
    for pid in processes.into_iter().rev() {
        send(pid, Signal::Term);
    }
    panzer.signal(Signal::Term);
    continue_process(panzer.pid());
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count("started"), 1);
}

/// One of two workers dies after `ask`, while the other one holds a connection:
/// it is not replaced.
fn is_not_replaced_after(ask: impl Fn(&mut Panzer)) {
    let (mut panzer, address, _) = holding(&["--delay=0"]);
    let (lost, one) = Held::hold(address).expect("it serves");
    let (held, other) = Held::hold(address).expect("it serves");
    assert_ne!(one.pid, other.pid);
    ask(&mut panzer);
    // When main has answered, it has signalled the monitor.
    panzer.settle();
    send(one.pid, Signal::Kill);
    panzer.expect_line(&format!("(pid {}) of generation 1: killed by SIGKILL", one.pid));
    assert!(lost.ends_without_reply());
    panzer.settle();
    held.finish().expect("it is finished");
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    assert_eq!(panzer.count("respawn"), 0);
    let started = panzer.count("started");
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count_lines("run in worker"), 2 * started);
}

/// rule: pool.fork-last
#[test]
fn worker_that_dies_while_its_generation_drains_is_not_replaced() {
    is_not_replaced_after(|panzer| {
        panzer.reload(2);
        panzer.expect("draining", 1);
    });
}

/// rule: pool.fork-last
#[test]
fn worker_that_dies_during_stop_is_not_replaced() {
    is_not_replaced_after(|panzer| {
        panzer.signal(Signal::Term);
        panzer.expect_event("stopping", |event| event.name == "stopping");
    });
}

/// rule: backoff.delay
#[test]
fn restart_delays_after_monitor_crashes_grow_to_max_delay() {
    let dir = TempDir::new();
    let app = dir.script("app", "kill -s VTALRM $PPID; exit 1");
    let options = ["--delay=0.1", "--max-delay=0.2"];
    let mut panzer = Setup::new(&app, &[]).options(&options).start();
    let mut died = panzer.expect("died", 1).at;
    // The first restart is immediate; the next wait is 100 ms, then at most 200,
    // each shortened by up to a quarter.
    for (generation, least) in (2..).zip([0, 75, 150, 150]) {
        let started = panzer.expect("started", generation).at;
        assert!(started >= died + least, "generation {generation}: {:?}", panzer.events());
        died = panzer.expect("died", generation).at;
    }
    panzer.stop();
}
