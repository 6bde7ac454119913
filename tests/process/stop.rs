//! How main stops.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::assert_elapsed_at_least;
use crate::harness::client::{Held, ask, is_refused};
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::setup::Setup;
use crate::harness::{TIMEOUT, procfs};

/// Two witnesses that hold the connections they accept.
fn holding(options: &[&str]) -> (Panzer, std::net::SocketAddr) {
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = setup.options(&["-n2"]).options(options).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    (panzer, address)
}

#[test]
fn processes_are_named_by_their_role() {
    let mut panzer = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]).start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    assert_eq!(procfs::name(panzer.pid()), "panzer:main");
    assert_eq!(procfs::name(monitor), "panzer:monitor");
    let names: Vec<_> = workers.iter().map(|worker| procfs::name(*worker)).collect();
    assert_eq!(names, ["panzer:worker", "panzer:worker"]);
    panzer.stop();
}

#[test]
fn graceful_stop_leaves_no_process_and_no_port() {
    let mut panzer = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    ask(address).expect("it serves");
    panzer.stop();
    assert!(is_refused(address));
}

#[test]
fn sigterm_and_the_first_sigint_let_requests_finish() {
    for signal in [Signal::Term, Signal::Int] {
        let (mut panzer, address) = holding(&[]);
        let (held, _) = Held::hold(address).expect("it serves");
        panzer.signal(signal);
        panzer.expect_event("stopping", |event| event.name == "stopping");
        held.finish().expect("the request in hand is finished");
        assert_eq!(panzer.end(), End::Status(0), "{signal:?}");
    }
}

#[test]
fn second_sigint_stops_immediately() {
    let (mut panzer, address) = holding(&[]);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Int);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    panzer.signal(Signal::Int);
    assert_eq!(panzer.end(), End::Status(0));
    assert!(held.ends_without_reply());
}

#[test]
fn two_sigints_after_a_sigterm_stop_immediately() {
    let (mut panzer, address) = holding(&[]);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Term);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    panzer.signal(Signal::Int);
    panzer.settle();
    panzer.signal(Signal::Int);
    assert_eq!(panzer.end(), End::Status(0));
    assert!(held.ends_without_reply());
}

#[test]
fn sigquit_stops_immediately() {
    let (mut panzer, address) = holding(&[]);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Quit);
    assert_eq!(panzer.end(), End::Status(0));
    assert!(held.ends_without_reply());
}

/// rule: main.turn-order
#[test]
fn monitor_that_exits_on_the_same_sigterm_counts_as_stopped() {
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1", "--delay=0"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    // All processes get SIGTERM together, and main runs after its monitor has exited.
    stop_process(panzer.pid());
    panzer.signal(Signal::Usr1);
    panzer.signal(Signal::Term);
    send(monitor, Signal::Term);
    assert!(procfs::until(|| !procfs::is_alive(monitor)), "the monitor does not end");
    continue_process(panzer.pid());
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!((panzer.count("started"), panzer.count_lines("exited unexpectedly")), (1, 0));
}

/// rule: stop.escalation
#[test]
fn stopped_worker_is_killed_2s_after_the_timeout() {
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n2", "--timeout=0"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    stop_process(panzer.workers(monitor)[0]);
    let asked = Instant::now();
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(4));
    assert_elapsed_at_least(asked, Duration::from_secs(2));
    assert_eq!(panzer.count_lines(": sent SIGKILL"), 1);
    assert_eq!(panzer.count_lines("still alive after SIGKILL"), 0);
}

/// rule: stop.immediate
#[test]
fn signals_do_not_move_the_deadlines_of_a_stop() {
    let setup = Setup::new(&example("witness"), &["run=deaf"]).options(&["-n1", "--timeout=1"]);
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
    // If each signal moved the deadline, it would not pass before this loop ends. What
    // main writes is read elsewhere, so that no wait for it makes a pause in the storm.
    // Without a pause at all two of these loops take every processor from the others.
    let (main, (over, is_over)) = (panzer.pid(), mpsc::channel());
    thread::scope(|scope| {
        scope.spawn(move || {
            let pause = Duration::from_millis(1);
            while is_over.recv_timeout(pause).is_err() && asked.elapsed() < TIMEOUT {
                storm.into_iter().for_each(|signal| send(main, signal));
            }
        });
        panzer.expect_event("the end of main", |event| event.name == "stopped");
        over.send(()).expect("the storm waits for it");
    });
    assert_elapsed_at_least(asked, Duration::from_millis(3_000));
    assert_eq!(panzer.end(), End::Status(4));
    assert_eq!(panzer.count_lines(": sent SIGINT"), 1);
    assert_eq!(panzer.count_lines(": sent SIGKILL"), 1);
}

/// rule: main.reap
#[test]
fn no_process_blocks_in_wait() {
    let dir = TempDir::new();
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n2"]);
    let (setup, trace) = setup.traced(dir.path(), "waits", &["-e", "trace=wait4,waitid"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    send(panzer.workers(monitor)[0], Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn");
    panzer.reload(2);
    panzer.stop();
    let calls = trace.calls();
    assert!(!calls.is_empty());
    let blocking = calls.iter().find(|call| !call.words.contains("WNOHANG"));
    assert!(blocking.is_none(), "{blocking:?}");
}

/// A program of two processes. The first sends READY=1; both print each signal, and
/// ignore it.
const STUBBORN: &str = r#"
import os, signal, socket
both = [signal.SIGTERM, signal.SIGINT]
signal.pthread_sigmask(signal.SIG_BLOCK, both)
if os.fork():
    main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    main.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    os.write(1, f"got {signal.sigwait(both).name}\n".encode())
"#;

/// rule: stop.session
#[test]
fn group_of_a_dead_monitor_gets_all_signals_of_the_escalation() {
    let setup = Setup::new("python3".as_ref(), &["-c", STUBBORN]);
    let mut panzer = setup.options(&["--timeout=2", "-v"]).start();
    let monitor = panzer.expect_current(1);
    send(monitor, Signal::Kill);
    for line in ["got SIGTERM", "got SIGINT", "generation 1: sent SIGKILL"] {
        panzer.expect_line(line);
    }
    panzer.expect_line("generation 1: all processes exited");
    // Each was sent once, and only to the process that was left.
    let counts = (panzer.count_lines("got SIGTERM"), panzer.count_lines("got SIGINT"));
    assert_eq!(counts, (1, 1));
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// rule: stop.drain-delay
#[test]
fn drain_delay_ends_early_when_the_last_generation_exits() {
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n1"]);
    let mut panzer = setup.options(&["--drain-delay=1000"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    panzer.signal(Signal::Term);
    panzer.expect_line("serving for another ");
    panzer.signal(Signal::Usr1);
    panzer.settle();
    ask(address).expect("it serves on");
    assert_eq!((panzer.count("stopping"), panzer.count("started")), (0, 1));
    send(monitor, Signal::Kill);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!((panzer.count("stopping"), panzer.count("started")), (1, 1));
}

/// rule: stop.drain-delay
#[test]
fn stop_begins_after_the_drain_delay() {
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]);
    let mut panzer = setup.options(&["--drain-delay=0.3"]).start();
    panzer.expect_current(1);
    let asked = Instant::now();
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    assert_elapsed_at_least(asked, Duration::from_millis(300));
}

/// While another process's SIGINT is pending, main's merges with it, and the kernel
/// shows the first sender alone.
#[test]
fn sigint_of_main_that_merges_with_a_foreign_one_stops_immediately() {
    // The monitor has one second for this, which may be too short on a busy machine.
    let stops_now = || {
        let words = ["listen=127.0.0.1:0", "run=hold"];
        let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_current(1);
        let _held = Held::hold(address).expect("it serves");
        stop_process(monitor);
        send(monitor, Signal::Int);
        panzer.signal(Signal::Quit);
        panzer.expect_line("generation 1: sent SIGINT");
        continue_process(monitor);
        panzer.end() == End::Status(0)
    };
    assert!((0..3).any(|_| stops_now()));
}

/// A SIGKILL that Panzer has not sent is a warning, and its reason is not `requested`.
#[test]
fn foreign_sigkill_in_a_drain_is_a_warning() {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n2"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let (_held, answer) = Held::hold(address).expect("it serves");
    let (_held, other) = Held::hold(address).expect("it serves");
    panzer.reload(2);
    panzer.expect("draining", 1);
    send(answer.pid, Signal::Kill);
    let line = panzer.expect_line("of generation 1: killed by SIGKILL");
    assert!(line.contains(" WARN ") && !line.contains("(requested)"), "{line}");
    send(monitor, Signal::Kill);
    let line = panzer.expect_line("of generation 1: killed by SIGKILL");
    assert!(line.contains(" WARN ") && !line.contains("(requested)"), "{line}");
    send(other.pid, Signal::Kill);
    panzer.stop();
}

/// A child in a process group of its own, in the session of its monitor.
const HIDDEN: &str = r#"
import os, signal, socket
if os.fork() == 0:
    os.setpgid(0, 0)
    main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = os.environ["NOTIFY_SOCKET"]
    main.sendto(b"READY=1", "\0" + name[1:] if name[0] == "@" else name)
signal.pause()
"#;

/// Processes of a dead monitor are ended whatever their process group is.
#[test]
fn processes_of_a_dead_monitor_in_another_group_are_ended() {
    let setup = Setup::new("python3".as_ref(), &["-c", HIDDEN]);
    let mut panzer = setup.options(&["--timeout=0.1", "-v"]).start();
    let monitor = panzer.expect_current(1);
    send(monitor, Signal::Kill);
    panzer.expect_line("generation 1: all processes exited");
    panzer.expect_current(2);
    panzer.signal(Signal::Quit);
    panzer.end();
}
