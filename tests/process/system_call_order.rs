//! The order of the system calls that the processes make.

use crate::harness::client::Held;
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::panzer::{Panzer, continue_process, send, stop_process};
use crate::harness::procfs;
use crate::harness::setup::Setup;
use crate::harness::strace::{Call, Trace};
use panzer::sys::Signal;

/// The system calls in which a process can wait, each by a part of its name.
const WAITS: &str = "trace=/poll,/select,/nanosl,/pause,/suspend,/timedwait,/futex";
/// The calls that fork, and those that write a line or send a message.
const SAYS: &str = "trace=clone,clone3,fork,vfork,write,writev,pwritev2,sendto,sendmsg,bind,poll";

/// A witness whose processes are traced.
fn traced(words: &[&str], options: &[&str], calls: &str) -> (TempDir, Panzer, Trace) {
    let dir = TempDir::new();
    let setup = Setup::new(&example("witness"), words).options(options);
    let (setup, trace) = setup.traced(dir.path(), "calls", &["-e", calls]);
    (dir, setup.start(), trace)
}

/// The calls of this process, in their order.
fn of(trace: &Trace, pid: u32) -> Vec<Call> {
    trace.calls().into_iter().filter(|call| call.pid == pid).collect()
}

fn is_fork(call: &Call) -> bool {
    matches!(&*call.name, "clone" | "clone3" | "fork" | "vfork")
}

/// The index of the first call that contains these words.
fn place_of(calls: &[Call], words: &str) -> usize {
    let found = calls.iter().position(|call| call.words.contains(words));
    found.unwrap_or_else(|| panic!("no {words}: {calls:#?}"))
}

/// rule: main.turn-order
#[test]
fn main_waits_in_poll_without_timeout_when_nothing_is_due() {
    let (_dir, mut panzer, trace) = traced(&["run=idle"], &["-n1"], WAITS);
    panzer.expect_current(1);
    panzer.settle();
    let main = panzer.pid();
    // A call that still blocks has no result.
    let waits = |call: &Call| call.answer == "?" && call.words.contains("], 2, NULL, ");
    panzer
        .eventually("main waits without a timeout", || of(&trace, main).last().is_some_and(waits));
    panzer.stop();
    let calls = of(&trace, main);
    assert!(calls.iter().all(|call| call.name == "ppoll"), "{calls:#?}");
}

/// rule: start.signals-blocked
#[test]
fn main_unblocks_signals_only_while_it_waits() {
    let (_dir, mut panzer, trace) = traced(&["run=idle"], &["-n1"], "trace=rt_sigprocmask");
    panzer.expect_current(1);
    panzer.reload(2);
    // Before the stop: when it leaves it puts the earlier mask back.
    let calls = of(&trace, panzer.pid());
    panzer.stop();
    assert!(
        calls.first().is_some_and(|call| call.words.starts_with("SIG_BLOCK, ~[RTMIN")),
        "{calls:#?}"
    );
    let unblocks = |call: &Call| call.words.starts_with("SIG_SETMASK, []");
    assert!(!calls.iter().any(unblocks), "{calls:#?}");
}

/// A death after the reaping wakes main again; one before it is not acted on before the
/// signal that was sent to main and its monitor alike; and who has sent a signal is asked
/// before that process is reaped.
///
/// rule: main.turn-order
#[test]
fn main_empties_its_pipe_takes_signals_reaps_and_takes_signals_again() {
    let (_dir, mut panzer, trace) = traced(&["run=idle"], &["-n1"], "trace=ppoll,read,waitid");
    panzer.expect_current(1);
    panzer.reload(2);
    let main = panzer.pid();
    panzer.stop();
    let calls = of(&trace, main);
    let waits = |call: &Call| call.name == "ppoll" && call.words.starts_with("[{");
    // Before the first wait there is no turn.
    let turns: Vec<_> = calls.split(waits).skip(1).collect();
    assert!(turns.len() > 2, "{calls:#?}");
    let is_right = |calls: &&[Call]| {
        let mut names: Vec<_> = calls.iter().map(|call| &*call.name).collect();
        names.dedup();
        // What a dead monitor has left is read in between.
        names.starts_with(&["read", "ppoll", "waitid"]) && names[3..].contains(&"ppoll")
    };
    assert!(turns.iter().all(is_right), "{calls:#?}");
}

/// rule: main.turn-order
#[test]
fn messages_sent_before_a_monitor_dies_count() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    let setup = Setup::new(&example("witness"), &[&wait, "notify=READY=1", "exit=0"]);
    let mut panzer = setup.options(&["--delay=60", "--max-delay=60"]).start();
    let monitor = panzer.expect("started", 1).pid;
    // Main finds the message and the death in one turn.
    stop_process(panzer.pid());
    open_gate(&gate);
    panzer.eventually("the monitor is dead", || !procfs::is_alive(monitor));
    continue_process(panzer.pid());
    panzer.expect("ready", 1);
    panzer.expect_event("its end", |event| event.is("died", 1) && event.pid == monitor);
    panzer.stop();
}

/// rule: pool.batches
#[test]
fn monitor_forks_at_most_32_workers_per_turn() {
    let (_dir, mut panzer, trace) = traced(&["run=idle"], &["-n70"], SAYS);
    let monitor = panzer.expect_current(1);
    let calls = of(&trace, monitor);
    panzer.stop();
    let looks = calls.split(|call| call.name == "poll");
    let forks: Vec<_> =
        looks.map(|calls| calls.iter().filter(|call| is_fork(call)).count()).collect();
    assert_eq!(forks.iter().sum::<usize>(), 70, "{forks:?}");
    assert!(forks.iter().all(|count| *count <= 32), "{forks:?}");
}

/// rule: pool.ready
#[test]
fn monitor_is_ready_only_when_every_slot_has_a_ready_worker() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let words = [&*format!("gate={}", gate.display()), "run=idle"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n2"]).start();
    // The monitor reads which workers are ready before it reaps.
    let line = panzer.expect_line("run in worker 2");
    let (_, pid) = line.split_once('[').expect("the line has a pid");
    let pid = pid.split(']').next().and_then(|pid| pid.parse().ok()).expect("it is a number");
    panzer.eventually("it is idle", || procfs::state(pid) == Some('S'));
    send(pid, Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn" && event.slot == 2);
    panzer.settle();
    assert_eq!(panzer.count("ready"), 0);
    open_gate(&gate);
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: pool.report-last
#[test]
fn worker_is_replaced_before_its_death_is_reported() {
    let (_dir, mut panzer, trace) = traced(&["run=idle"], &["-n1"], SAYS);
    let monitor = panzer.expect_current(1);
    send(panzer.workers(monitor)[0], Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn");
    panzer.stop();
    let calls = of(&trace, monitor);
    let forks: Vec<_> = (0..calls.len()).filter(|index| is_fork(&calls[*index])).collect();
    assert_eq!(forks.len(), 2, "{calls:#?}");
    for report in ["killed by SIGKILL", "X_PANZER=lost"] {
        let between = &calls[forks[1]..place_of(&calls, report)];
        let waits = between.iter().any(|call| call.name == "poll");
        assert!(waits, "{report}: {calls:#?}");
    }
}

/// rule: worker.ready
#[test]
fn worker_reports_ready_once_in_six_bytes_before_it_waits() {
    let listen = "listen=127.0.0.1:0";
    let ways: [&[&str]; 3] =
        [&[listen, "run=hold"], &[listen, "nonblocking", "run=any"], &["run=idle"]];
    for words in ways {
        let calls = "trace=write,accept4,poll";
        let (_dir, mut panzer, trace) = traced(words, &["-n1"], calls);
        let address = words.contains(&listen).then(|| panzer.expect_address());
        let monitor = panzer.expect_current(1);
        let worker = panzer.workers(monitor)[0];
        for address in [address, address].into_iter().flatten() {
            let (held, _) = Held::hold(address).expect("it serves");
            held.finish().expect("it is served");
        }
        let has_waited = || of(&trace, worker).iter().any(|call| call.name != "write");
        panzer.eventually("the worker waits", has_waited);
        panzer.stop();
        let calls = of(&trace, worker);
        let said: Vec<_> =
            (0..calls.len()).filter(|index| calls[*index].words.ends_with(", 6")).collect();
        let waited = calls.iter().position(|call| call.name != "write").expect("it has waited");
        assert!(said.len() == 1 && said[0] < waited, "{words:?}: {calls:#?}");
    }
}

/// rule: listen.offered
#[test]
fn a_socket_is_offered_to_main_before_listen_returns() {
    let (_dir, mut panzer, trace) = traced(&["listen=127.0.0.1:0", "run=hold"], &["-n1"], SAYS);
    let monitor = panzer.expect_current(1);
    panzer.reload(2);
    panzer.stop();
    let calls = of(&trace, monitor);
    let (bound, returned) = (place_of(&calls, "AF_INET"), place_of(&calls, "listening on "));
    let offered = place_of(&calls, "FDSTORE=1");
    assert!(calls[offered].words.contains("SCM_RIGHTS"), "{calls:#?}");
    assert!(bound < offered && offered < returned, "{calls:#?}");
}
