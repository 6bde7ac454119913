//! The errors of accept4(2), and the queue of connections that wait for it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use panzer::sys::Signal;

use crate::harness::client::{Held, Request, ask};
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::setup::Setup;
use crate::harness::strace::{Call, Trace};
use crate::harness::{procfs, spawn_lock};

/// Errors that concern one connection only, and EINTR.
const PASSING: [&str; 12] = [
    "ECONNABORTED",
    "EPROTO",
    "EPERM",
    "ENETDOWN",
    "ENETUNREACH",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "ENONET",
    "ENOPROTOOPT",
    "EOPNOTSUPP",
    "ETIMEDOUT",
    "EINTR",
];
/// Errors that say that descriptors or memory are short.
const SHORTAGES: [&str; 4] = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"];

/// A server of one worker, and its system calls.
struct Traced {
    _dir: TempDir,
    panzer: Panzer,
    trace: Trace,
    address: SocketAddr,
    worker: u32,
}

/// The witness, which blocks in accept4.
const WITNESS: (&str, &[&str]) = ("witness", &["listen=127.0.0.1:0", "run=hold"]);
/// The witness that accepts on whichever listener is ready.
const ANY: (&str, &[&str]) = ("witness", &["listen=127.0.0.1:0", "nonblocking", "run=any"]);
/// The witness that accepts as an event loop does.
const TASKS: (&str, &[&str]) = ("witness", &["listen=127.0.0.1:0", "nonblocking", "run=tasks"]);
/// The HTTP example, which waits in poll.
const HTTP: (&str, &[&str]) = ("http", &["127.0.0.1:0"]);

impl Traced {
    fn start(program: (&str, &[&str]), inject: Option<&str>) -> Self {
        let mut server = Self::begin(program, inject);
        server.panzer.expect_current(1);
        server
    }

    /// The same, without waiting until it is ready.
    fn begin((program, words): (&str, &[&str]), inject: Option<&str>) -> Self {
        let dir = TempDir::new();
        let mut options = vec!["-e", "trace=accept4,poll"];
        let inject = inject.map(|error| format!("inject=accept4:error={error}:when=1..3"));
        options.extend(inject.iter().flat_map(|inject| ["-e", inject]));
        let setup = Setup::new(&example(program), words).options(&["-n1"]);
        let (setup, trace) = setup.traced(dir.path(), "calls", &options);
        let mut panzer = setup.start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_monitor(1);
        panzer.eventually("it has a worker", || !procfs::children(monitor).is_empty());
        let worker = panzer.workers(monitor)[0];
        Self { _dir: dir, panzer, trace, address, worker }
    }

    /// Stops; the worker was always the same, and never logged `complaint`.
    fn stop(self, complaint: &str) -> Vec<Call> {
        let Self { _dir, panzer, trace, worker, .. } = self;
        let mut panzer = panzer.stop();
        assert_eq!((panzer.count("died"), panzer.count_lines(complaint)), (1, 0));
        let mut calls = trace.calls();
        calls.retain(|call| call.pid == worker);
        calls
    }

    /// Waits until the worker waits in accept4, for which it has a duplicate of
    /// the listener.
    fn expect_waiting(&mut self) {
        let worker = self.worker;
        let has_second = || {
            let all = procfs::descriptors(worker);
            let sockets: Vec<_> =
                all.iter().filter_map(|shown| shown.split_once(" socket:")).collect();
            let is_twice =
                |socket: &str| sockets.iter().filter(|(_, other)| *other == socket).count() > 1;
            sockets.iter().any(|(_, socket)| is_twice(socket))
        };
        self.panzer.eventually("it waits in accept4", || {
            has_second() && procfs::state(worker) == Some('S')
        });
    }

    /// Leaves the worker no descriptor, once it has accepted one more connection:
    /// while it waits in accept4 the kernel has reserved a number for it.
    fn take_descriptors(&self) {
        let used: BTreeSet<u32> = procfs::descriptors(self.worker)
            .iter()
            .filter_map(|shown| shown.split(' ').next()?.parse().ok())
            .collect();
        let free = (0..).find(|number| !used.contains(number)).expect("some are free");
        self.limit(free);
    }

    fn limit(&self, descriptors: u32) {
        let _lock = spawn_lock();
        let limit = format!("--nofile={descriptors}:");
        let pid = self.worker.to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(set.expect("prlimit is there").success(), "{limit} of {pid}");
    }

    /// Waits until so many calls of the worker have failed for want of a descriptor.
    fn expect_failures(&mut self, least: usize) {
        let (trace, worker) = (&self.trace, self.worker);
        let failures = || failures(&trace.calls(), worker).len();
        self.panzer.eventually("it retries", || failures() >= least);
    }
}

/// The calls of a process that failed for want of descriptors or memory, each with
/// the call after it.
fn failures(calls: &[Call], pid: u32) -> Vec<(Call, Option<Call>)> {
    let own: Vec<_> = calls.iter().filter(|call| call.pid == pid).collect();
    let is_short = |call: &Call| SHORTAGES.iter().any(|error| call.answer.contains(error));
    let after = |index: usize| own.get(index + 1).map(|next| (*next).clone());
    let refused = own.iter().enumerate().filter(|(_, call)| is_short(call));
    refused.map(|(index, call)| ((*call).clone(), after(index))).collect()
}

/// After each failure the worker waited, and was woken only by the timeout or a
/// signal, or once by the stop.
fn assert_pauses(calls: &[Call], pid: u32) {
    let failures = failures(calls, pid);
    assert!(!failures.is_empty(), "{calls:?}");
    let mut woken = 0;
    for (failure, next) in failures {
        let next = next.expect("it goes on");
        let is_timeout = next.answer == "0 (Timeout)" || next.answer.contains("by signal");
        woken += u32::from(!is_timeout);
        assert!(next.name == "poll" && woken <= 1, "{failure:?}, and then {next:?}");
    }
}

/// Each of `errors` occurs three times, and then a client is served.
fn expect_served(program: (&str, &[&str]), errors: &[&str], visit: fn(SocketAddr)) {
    // All at once, since each mostly waits.
    let servers: Vec<_> = errors.iter().map(|error| Traced::start(program, Some(error))).collect();
    for (server, error) in servers.into_iter().zip(errors) {
        let (address, worker) = (server.address, server.worker);
        visit(address);
        let is_short = SHORTAGES.contains(error);
        let complaint = if is_short { "failed: cannot accept" } else { "cannot accept" };
        let calls = server.stop(complaint);
        let count = calls.iter().filter(|call| call.answer.contains(error)).count();
        assert!(count >= 3, "{error}: {calls:?}");
        if is_short {
            assert_pauses(&calls, worker);
        }
    }
}

fn hold_once(address: SocketAddr) {
    let (held, _) = Held::hold(address).expect("it serves");
    held.finish().expect("it is served");
}

fn ask_once(address: SocketAddr) {
    ask(address).expect("it serves");
}

/// rule: worker.accept-error
#[test]
fn errors_of_one_connection_do_not_end_worker() {
    expect_served(WITNESS, &PASSING, hold_once);
    expect_served(ANY, &PASSING, hold_once);
    expect_served(TASKS, &PASSING, hold_once);
}

/// rule: worker.accept-error
#[test]
fn errors_of_one_connection_do_not_end_event_loop() {
    expect_served(HTTP, &PASSING, ask_once);
}

/// rule: worker.accept-error
#[test]
fn worker_survives_shortage_of_descriptors_and_memory() {
    expect_served(WITNESS, &SHORTAGES, hold_once);
    expect_served(ANY, &SHORTAGES, hold_once);
    expect_served(TASKS, &SHORTAGES, hold_once);
    expect_served(HTTP, &SHORTAGES, ask_once);
}

/// rule: worker.accept-error
#[test]
fn worker_without_descriptors_retries_and_recovers() {
    let mut server = Traced::start(WITNESS, None);
    server.expect_waiting();
    server.take_descriptors();
    let (held, _) = Held::hold(server.address).expect("the kernel kept a number for it");
    let mut queued = Held::queue(server.address).expect("there is room in the queue");
    held.finish().expect("it is served");
    server.expect_failures(3);
    server.limit(1024);
    queued.greeting().expect("there are descriptors again");
    queued.finish().expect("it is served");
    let worker = server.worker;
    assert_pauses(&server.stop("cannot accept"), worker);
}

/// rule: worker.accept-error
#[test]
fn event_loop_without_descriptors_logs_once_and_recovers() {
    let mut server = Traced::start(HTTP, None);
    server.take_descriptors();
    let request = Request::send(server.address).expect("there is room in the queue");
    server.panzer.expect_line("clients have to wait");
    server.expect_failures(3);
    server.limit(1024);
    request.answer().expect("there are descriptors again");
    let panzer = &mut server.panzer;
    assert_eq!(panzer.count_lines("clients have to wait"), 1);
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    assert_pauses(&server.trace.calls(), server.worker);
}

/// A server whose worker has no descriptor to duplicate its listener, as it does
/// at its first accept; and one client.
fn start_without_descriptors() -> (TempDir, Traced, Held) {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("gate={}", gate.display());
    let words = ["listen=127.0.0.1:0", &wait, "run=hold"];
    let mut server = Traced::begin(("witness", &words), None);
    // While it opens the gate the kernel has reserved a number for it, which is
    // over the limit when it is free again.
    let worker = server.worker;
    server.panzer.expect_line("run in worker 1");
    server.panzer.eventually("it waits at the gate", || procfs::state(worker) == Some('S'));
    server.take_descriptors();
    open_gate(&gate);
    server.panzer.expect_current(1);
    let client = Held::queue(server.address).expect("there is room in the queue");
    (dir, server, client)
}

impl Traced {
    /// Waits until the worker has tried three more times to duplicate the listener.
    fn expect_pauses(&mut self) {
        let (trace, worker) = (&self.trace, self.worker);
        let pauses = || {
            let calls = trace.calls();
            calls.iter().filter(|call| call.pid == worker && call.name == "poll").count()
        };
        let before = pauses();
        self.panzer.eventually("it retries", || pauses() >= before + 3);
    }
}

/// While it had no descriptor it waited after each try.
fn assert_waited(calls: &[Call]) {
    let waits: Vec<_> = calls.iter().take_while(|call| call.name == "poll").collect();
    let woken = waits.iter().filter(|wait| wait.answer != "0 (Timeout)").count();
    assert!(waits.len() > 2 && woken <= 1, "{waits:?}");
}

/// rule: worker.accept-error
#[test]
fn worker_without_descriptors_at_first_accept_retries_and_recovers() {
    let (_dir, mut server, mut client) = start_without_descriptors();
    server.expect_pauses();
    server.limit(1024);
    client.greeting().expect("there are descriptors again");
    client.finish().expect("it is served");
    assert_waited(&server.stop("cannot accept"));
}

/// rules: worker.drain, worker.accept-error
#[test]
fn sigterm_ends_worker_without_descriptors_at_first_accept() {
    let (dir, mut server, mut client) = start_without_descriptors();
    server.expect_pauses();
    send(server.worker, Signal::Term);
    let worker = server.worker;
    let died = server.panzer.expect_event("a death", |event| event.name == "died");
    assert_eq!((died.pid, &*died.reason), (worker, "exited with status 0"));
    open_gate(&dir.join("gate"));
    client.greeting().expect("the next one has descriptors");
    client.finish().expect("it is served");
    server.panzer.stop();
}

/// rules: worker.drain, worker.accept-error
#[test]
fn final_stop_waits_for_worker_without_descriptors_at_first_accept() {
    let (_dir, mut server, mut client) = start_without_descriptors();
    server.expect_pauses();
    server.panzer.signal(Signal::Term);
    let monitor = server.panzer.expect_monitor(1);
    let is_socket = |shown: &String| shown.contains(" socket:");
    // It closes its listener after it has signalled its workers; one socket is main's.
    server.panzer.eventually("its monitor has signalled it", || {
        procfs::descriptors(monitor).into_iter().filter(is_socket).count() == 1
    });
    server.expect_pauses();
    server.limit(1024);
    client.greeting().expect("it was in the queue");
    client.finish().expect("it is served");
    assert_eq!(server.panzer.end(), End::Status(0));
    let mut calls = server.trace.calls();
    calls.retain(|call| call.pid == server.worker);
    assert_waited(&calls);
}

/// rules: worker.drain, worker.accept-error
#[test]
fn final_stop_without_descriptors_serves_all_queued_clients() {
    let mut server = Traced::start(WITNESS, None);
    server.expect_waiting();
    server.take_descriptors();
    let (held, _) = Held::hold(server.address).expect("the kernel kept a number for it");
    let queued: Vec<_> =
        (0..3).map(|_| Held::queue(server.address).expect("there is room")).collect();
    server.panzer.signal(Signal::Term);
    server.panzer.expect_event("stopping", |event| event.name == "stopping");
    held.finish().expect("it is finished");
    server.expect_failures(2);
    server.limit(1024);
    for mut held in queued {
        held.greeting().expect("it was in the queue");
        held.finish().expect("it is served");
    }
    assert_eq!(server.panzer.end(), End::Status(0));
    assert_pauses(&server.trace.calls(), server.worker);
}

/// rule: worker.accept-error
#[test]
fn accept_on_unusable_listener_ends_worker_with_reason() {
    for error in ["EINVAL", "ENOTSOCK", "EBADF"] {
        let (dir, (program, words)) = (TempDir::new(), WITNESS);
        let inject = format!("inject=accept4:error={error}");
        let setup = Setup::new(&example(program), words).options(&["-n1", "--delay=0.05"]);
        let (setup, _) = setup.traced(dir.path(), "calls", &["-e", &inject]);
        let mut panzer = setup.start();
        let line = panzer.expect_line("worker 1: failed: cannot accept on 127.0.0.1:");
        assert!(line.contains(error), "{line}");
        panzer.stop();
    }
}

/// rule: worker.sigterm
#[test]
fn sigterm_between_flag_check_and_accept_is_not_lost() {
    let dir = TempDir::new();
    let library = dir.join("term_in_accept.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/term_in_accept.c");
    let compiled = {
        let _lock = spawn_lock();
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status()
    };
    assert!(compiled.expect("a C compiler is there").success());
    let (program, words) = WITNESS;
    let setup = Setup::new(&example(program), words).options(&["-n1", "--delay=0"]);
    let mut panzer = setup.variable("LD_PRELOAD", &library.display().to_string()).start();
    for _ in 0..10 {
        let died = panzer.expect_event("a death", |event| event.name == "died" && event.slot == 1);
        assert_eq!(died.reason, "exited with status 0");
    }
    panzer.stop();
}

/// rule: listen.bind
#[test]
fn backlog_holds_300_connections_while_workers_are_stopped() {
    let mut panzer = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    workers.iter().for_each(|worker| stop_process(*worker));
    // std's listeners have room for 128, and a client beyond that retries after a
    // second.
    let requests: Vec<_> =
        (0..300).map(|_| Request::send(address).expect("there is room")).collect();
    workers.iter().for_each(|worker| continue_process(*worker));
    for request in requests {
        request.answer().expect("it was in the queue");
    }
    panzer.stop();
}
