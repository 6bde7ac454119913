//! In which order they ask the kernel for what they do.

use crate::harness::client::Held;
use crate::harness::look;
use crate::harness::panzer::{Panzer, continue_process, send, stop_process};
use crate::harness::place::{Place, example, open_gate};
use crate::harness::setup::Setup;
use crate::harness::strace::{Call, Trace};
use panzer::sys::Signal;

/// Whatever a process can wait in, by a part of its name.
const WAITS: &str = "trace=/poll,/select,/nanosl,/pause,/suspend,/timedwait,/futex";
/// Forks, and whatever a line or a message is sent by.
const SAYS: &str = "trace=clone,clone3,fork,vfork,write,writev,pwritev2,sendto,sendmsg,bind,poll";

/// A witness whose processes are traced.
fn traced(words: &[&str], options: &[&str], calls: &str) -> (Place, Panzer, Trace) {
    let place = Place::new();
    let setup = Setup::new(&example("witness"), words).options(options);
    let (setup, trace) = setup.traced(place.path(), "calls", &["-e", calls]);
    (place, setup.start(), trace)
}

/// What this process has asked for, in its order.
fn of(trace: &Trace, pid: u32) -> Vec<Call> {
    trace.calls().into_iter().filter(|call| call.pid == pid).collect()
}

fn is_fork(call: &Call) -> bool {
    matches!(&*call.name, "clone" | "clone3" | "fork" | "vfork")
}

/// The place of the first call that has these words.
fn place_of(calls: &[Call], words: &str) -> usize {
    let found = calls.iter().position(|call| call.words.contains(words));
    found.unwrap_or_else(|| panic!("no {words}: {calls:#?}"))
}

/// RATIONALE 1.6
#[test]
fn main_waits_in_poll_alone_and_without_a_limit_when_nothing_is_due() {
    let (_place, mut panzer, trace) = traced(&["run=idle"], &["-n1"], WAITS);
    panzer.expect_current(1);
    panzer.settle();
    let main = panzer.pid();
    // Who waits has no answer yet.
    let waits = |call: &Call| call.answer == "?" && call.words.ends_with(", -1");
    panzer.eventually("it waits for ever", || of(&trace, main).last().is_some_and(waits));
    panzer.stop();
    let calls = of(&trace, main);
    assert!(calls.iter().all(|call| call.name == "poll"), "{calls:#?}");
}

/// RATIONALE 1.6
#[test]
fn what_a_monitor_has_said_before_its_death_counts() {
    let place = Place::new();
    let gate = place.gate("gate");
    let wait = format!("wait={}", gate.display());
    let setup = Setup::new(&example("witness"), &[&wait, "notify=READY=1", "exit=0"]);
    let mut panzer = setup.options(&["--delay=60", "--max-delay=60"]).start();
    let monitor = panzer.expect("started", 1).pid;
    // Main finds the message and the death at once.
    stop_process(panzer.pid());
    open_gate(&gate);
    panzer.eventually("it is dead", || !look::is_alive(monitor));
    continue_process(panzer.pid());
    panzer.expect("ready", 1);
    panzer.expect_event("its end", |event| event.is("died", 1) && event.pid == monitor);
    panzer.stop();
}

/// RATIONALE 2.4
#[test]
fn a_monitor_looks_at_the_world_after_32_forks_at_most() {
    let (_place, mut panzer, trace) = traced(&["run=idle"], &["-n70"], SAYS);
    let monitor = panzer.expect_current(1);
    let calls = of(&trace, monitor);
    panzer.stop();
    let looks = calls.split(|call| call.name == "poll");
    let forks: Vec<_> =
        looks.map(|calls| calls.iter().filter(|call| is_fork(call)).count()).collect();
    assert_eq!(forks.iter().sum::<usize>(), 70, "{forks:?}");
    assert!(forks.iter().all(|count| *count <= 32), "{forks:?}");
}

/// RATIONALE 2.5
#[test]
fn a_monitor_is_ready_when_every_slot_has_a_ready_worker_and_not_before() {
    let place = Place::new();
    let gate = place.gate("gate");
    let words = [&*format!("gate={}", gate.display()), "run=idle"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n2"]).start();
    // The monitor hears of whoever is ready before it learns of a death.
    let line = panzer.expect_line("run in worker 2");
    let (_, pid) = line.split_once('[').expect("it has said who it is");
    let pid = pid.split(']').next().and_then(|pid| pid.parse().ok()).expect("it is a number");
    panzer.eventually("it is idle", || look::state(pid) == Some('S'));
    send(pid, Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn" && event.slot == 2);
    panzer.settle();
    assert_eq!(panzer.count("ready"), 0);
    open_gate(&gate);
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 2.16
#[test]
fn a_worker_is_replaced_before_anybody_is_told_of_its_death() {
    let (_place, mut panzer, trace) = traced(&["run=idle"], &["-n1"], SAYS);
    let monitor = panzer.expect_current(1);
    send(panzer.workers(monitor)[0], Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn");
    panzer.stop();
    let calls = of(&trace, monitor);
    let forks: Vec<_> = (0..calls.len()).filter(|place| is_fork(&calls[*place])).collect();
    assert_eq!(forks.len(), 2, "{calls:#?}");
    for told in ["killed by SIGKILL", "X_PANZER=lost"] {
        assert!(forks[1] < place_of(&calls, told), "{told}: {calls:#?}");
    }
}

/// RATIONALE 3.2
#[test]
fn a_worker_says_once_that_it_is_ready_in_six_bytes_and_before_it_waits() {
    let listen = "listen=127.0.0.1:0";
    let ways: [&[&str]; 3] =
        [&[listen, "run=hold"], &[listen, "nonblocking", "run=any"], &["run=idle"]];
    for words in ways {
        let calls = "trace=write,accept4,poll";
        let (_place, mut panzer, trace) = traced(words, &["-n1"], calls);
        let address = words.contains(&listen).then(|| panzer.expect_address());
        let monitor = panzer.expect_current(1);
        let worker = panzer.workers(monitor)[0];
        for address in [address, address].into_iter().flatten() {
            let (held, _) = Held::hold(address).expect("it serves");
            held.finish().expect("it is served");
        }
        panzer.stop();
        let calls = of(&trace, worker);
        let said: Vec<_> =
            (0..calls.len()).filter(|place| calls[*place].words.ends_with(", 6")).collect();
        let waited = calls.iter().position(|call| call.name != "write").expect("it has waited");
        assert!(said.len() == 1 && said[0] < waited, "{words:?}: {calls:#?}");
    }
}

/// RATIONALE 4.4
#[test]
fn a_socket_is_offered_to_main_before_listen_returns() {
    let (_place, mut panzer, trace) = traced(&["listen=127.0.0.1:0", "run=hold"], &["-n1"], SAYS);
    let monitor = panzer.expect_current(1);
    panzer.reload(2);
    panzer.stop();
    let calls = of(&trace, monitor);
    let (bound, returned) = (place_of(&calls, "AF_INET"), place_of(&calls, "listening on "));
    let offered = place_of(&calls, "FDSTORE=1");
    assert!(calls[offered].words.contains("SCM_RIGHTS"), "{calls:#?}");
    assert!(bound < offered && offered < returned, "{calls:#?}");
}
