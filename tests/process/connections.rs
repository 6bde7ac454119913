//! Every way in which accept4(2) can disappoint, and how many wait for it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use panzer::sys::Signal;

use crate::harness::client::{Held, Request, ask};
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::place::{Place, example, open_gate};
use crate::harness::setup::Setup;
use crate::harness::strace::{Call, Trace};
use crate::harness::{alone, look};

/// What says that a connection is gone already, or that a signal came.
const PASSING: [&str; 11] = [
    "ECONNABORTED",
    "EPROTO",
    "EPERM",
    "ENETDOWN",
    "ENETUNREACH",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "ENONET",
    "ENOPROTOOPT",
    "ETIMEDOUT",
    "EINTR",
];
/// What says that descriptors or memory are short.
const SHORTAGES: [&str; 4] = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"];

/// A server of one worker, and what it asks the kernel for.
struct Traced {
    _place: Place,
    panzer: Panzer,
    trace: Trace,
    address: SocketAddr,
    worker: u32,
}

/// The witness, which blocks in accept4.
const WITNESS: (&str, &[&str]) = ("witness", &["listen=127.0.0.1:0", "run=hold"]);
/// The witness that accepts on whatever is ready.
const ANY: (&str, &[&str]) = ("witness", &["listen=127.0.0.1:0", "nonblocking", "run=any"]);
/// The HTTP example, which waits in poll.
const HTTP: (&str, &[&str]) = ("http", &["127.0.0.1:0"]);

impl Traced {
    fn start(program: (&str, &[&str]), inject: Option<&str>) -> Self {
        let mut server = Self::begin(program, inject);
        server.panzer.expect_current(1);
        server
    }

    /// The same, and nobody is ready yet.
    fn begin((program, words): (&str, &[&str]), inject: Option<&str>) -> Self {
        let place = Place::new();
        let mut options = vec!["-e", "trace=accept4,poll"];
        let inject = inject.map(|error| format!("inject=accept4:error={error}:when=1..3"));
        options.extend(inject.iter().flat_map(|inject| ["-e", inject]));
        let setup = Setup::new(&example(program), words).options(&["-n1"]);
        let (setup, trace) = setup.traced(place.path(), "calls", &options);
        let mut panzer = setup.start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_monitor(1);
        panzer.eventually("it has a worker", || !look::children(monitor).is_empty());
        let worker = panzer.workers(monitor)[0];
        Self { _place: place, panzer, trace, address, worker }
    }

    /// Stops; the worker was always the same, and never had a `complaint`.
    fn stop(self, complaint: &str) -> Vec<Call> {
        let Self { _place, panzer, trace, worker, .. } = self;
        let mut panzer = panzer.stop();
        assert_eq!((panzer.count("died"), panzer.count_lines(complaint)), (1, 0));
        let mut calls = trace.calls();
        calls.retain(|call| call.pid == worker);
        calls
    }

    /// Waits until the worker waits in accept4, where it has a second number for
    /// the listener.
    fn expect_waiting(&mut self) {
        let worker = self.worker;
        let has_second = || {
            let all = look::descriptors(worker);
            let sockets: Vec<_> =
                all.iter().filter_map(|shown| shown.split_once(" socket:")).collect();
            let is_twice =
                |what: &str| sockets.iter().filter(|(_, other)| *other == what).count() > 1;
            sockets.iter().any(|(_, what)| is_twice(what))
        };
        self.panzer
            .eventually("it waits in accept4", || has_second() && look::state(worker) == Some('S'));
    }

    /// Has no descriptor left for the worker, once it has accepted one more
    /// connection: while it waits in accept4 the kernel keeps a number for it.
    fn take_descriptors(&self) {
        let used: BTreeSet<u32> = look::descriptors(self.worker)
            .iter()
            .filter_map(|shown| shown.split(' ').next()?.parse().ok())
            .collect();
        let free = (0..).find(|number| !used.contains(number)).expect("some are free");
        self.limit(free);
    }

    fn limit(&self, descriptors: u32) {
        let _alone = alone();
        let limit = format!("--nofile={descriptors}:");
        let pid = self.worker.to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(set.expect("prlimit is there").success(), "{limit} of {pid}");
    }

    /// Waits until the worker was told so often that there is no descriptor.
    fn expect_refusals(&mut self, least: usize) {
        let (trace, worker) = (&self.trace, self.worker);
        let refusals = || refusals(&trace.calls(), worker).len();
        self.panzer.eventually("it tries again and again", || refusals() >= least);
    }
}

/// Each time that a process was told that descriptors or memory are short, with
/// what it asked for after that.
fn refusals(calls: &[Call], pid: u32) -> Vec<(Call, Option<Call>)> {
    let own: Vec<_> = calls.iter().filter(|call| call.pid == pid).collect();
    let is_short = |call: &Call| SHORTAGES.iter().any(|error| call.answer.contains(error));
    let after = |place: usize| own.get(place + 1).map(|next| (*next).clone());
    let refused = own.iter().enumerate().filter(|(_, call)| is_short(call));
    refused.map(|(place, call)| ((*call).clone(), after(place))).collect()
}

/// After each refusal the worker waited, and nothing but time or a signal has
/// woken it, or once the stop.
fn assert_breathes(calls: &[Call], pid: u32) {
    let refusals = refusals(calls, pid);
    assert!(!refusals.is_empty(), "{calls:?}");
    let mut woken = 0;
    for (refusal, next) in refusals {
        let next = next.expect("it goes on");
        let is_patient = next.answer == "0 (Timeout)" || next.answer.contains("by signal");
        woken += u32::from(!is_patient);
        assert!(next.name == "poll" && woken <= 1, "{refusal:?}, and then {next:?}");
    }
}

/// Every one of `errors` comes three times, and then a client is served.
fn expect_served(program: (&str, &[&str]), errors: &[&str], visit: fn(SocketAddr)) {
    // All at once: each spends its time in waiting for others.
    let servers: Vec<_> = errors.iter().map(|error| Traced::start(program, Some(error))).collect();
    for (server, error) in servers.into_iter().zip(errors) {
        let (address, worker) = (server.address, server.worker);
        visit(address);
        let is_short = SHORTAGES.contains(error);
        let complaint = if is_short { "failed: cannot accept" } else { "cannot accept" };
        let calls = server.stop(complaint);
        let told = calls.iter().filter(|call| call.answer.contains(error)).count();
        assert!(told >= 3, "{error}: {calls:?}");
        if is_short {
            assert_breathes(&calls, worker);
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

/// RATIONALE 3.8
#[test]
fn what_befalls_one_connection_never_ends_a_worker() {
    expect_served(WITNESS, &PASSING, hold_once);
    expect_served(ANY, &PASSING, hold_once);
}

/// RATIONALE 3.8
#[test]
fn what_befalls_one_connection_never_ends_an_event_loop() {
    expect_served(HTTP, &PASSING, ask_once);
}

/// RATIONALE 3.8
#[test]
fn a_shortage_of_any_kind_passes() {
    expect_served(WITNESS, &SHORTAGES, hold_once);
    expect_served(ANY, &SHORTAGES, hold_once);
    expect_served(HTTP, &SHORTAGES, ask_once);
}

/// RATIONALE 3.8
#[test]
fn a_worker_without_descriptors_tries_again_every_100_ms_and_recovers() {
    let mut server = Traced::start(WITNESS, None);
    server.expect_waiting();
    server.take_descriptors();
    let (held, _) = Held::hold(server.address).expect("the kernel kept a number for it");
    let mut queued = Held::queue(server.address).expect("there is room in the queue");
    held.finish().expect("it is served");
    server.expect_refusals(3);
    server.limit(1024);
    queued.greeting().expect("there are descriptors again");
    queued.finish().expect("it is served");
    let worker = server.worker;
    assert_breathes(&server.stop("cannot accept"), worker);
}

/// RATIONALE 3.8
#[test]
fn an_event_loop_without_descriptors_says_so_once_and_recovers() {
    let mut server = Traced::start(HTTP, None);
    server.take_descriptors();
    let request = Request::send(server.address).expect("there is room in the queue");
    server.panzer.expect_line("clients have to wait");
    server.expect_refusals(3);
    server.limit(1024);
    request.answer().expect("there are descriptors again");
    let panzer = &mut server.panzer;
    assert_eq!(panzer.count_lines("clients have to wait"), 1);
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    assert_breathes(&server.trace.calls(), server.worker);
}

/// One whose worker has no descriptor for the second number of its listener,
/// which it makes at its first accept; and one client.
fn short_from_the_beginning() -> (Place, Traced, Held) {
    let place = Place::new();
    let gate = place.gate("gate");
    let wait = format!("gate={}", gate.display());
    let words = ["listen=127.0.0.1:0", &wait, "run=hold"];
    let mut server = Traced::begin(("witness", &words), None);
    // It waits for the gate to open, for which the kernel keeps a number; that
    // one is too large once it is free.
    let worker = server.worker;
    server.panzer.expect_line("run in worker 1");
    server.panzer.eventually("it waits at the gate", || look::state(worker) == Some('S'));
    server.take_descriptors();
    open_gate(&gate);
    server.panzer.expect_current(1);
    let client = Held::queue(server.address).expect("there is room in the queue");
    (place, server, client)
}

impl Traced {
    /// Waits until the worker has tried again and again for a second number.
    fn expect_breathers(&mut self) {
        let (trace, worker) = (&self.trace, self.worker);
        let breathers = || {
            let calls = trace.calls();
            calls.iter().filter(|call| call.pid == worker && call.name == "poll").count()
        };
        let before = breathers();
        self.panzer.eventually("it tries again and again", || breathers() >= before + 3);
    }
}

/// While it had none it waited, each time for a while.
fn assert_patient(calls: &[Call]) {
    let waits: Vec<_> = calls.iter().take_while(|call| call.name == "poll").collect();
    let woken = waits.iter().filter(|wait| wait.answer != "0 (Timeout)").count();
    assert!(waits.len() > 2 && woken <= 1, "{waits:?}");
}

/// RATIONALE 3.8
#[test]
fn a_worker_that_is_without_descriptors_from_the_beginning_waits_and_recovers() {
    let (_place, mut server, mut client) = short_from_the_beginning();
    server.expect_breathers();
    server.limit(1024);
    client.greeting().expect("there are descriptors again");
    client.finish().expect("it is served");
    assert_patient(&server.stop("cannot accept"));
}

/// RATIONALE 3.5, 3.8
#[test]
fn a_stop_ends_a_worker_that_is_without_descriptors_from_the_beginning() {
    let (place, mut server, mut client) = short_from_the_beginning();
    server.expect_breathers();
    send(server.worker, Signal::Term);
    let worker = server.worker;
    let died = server.panzer.expect_event("its end", |event| event.name == "died");
    assert_eq!((died.pid, &*died.why), (worker, "exited with status 0"));
    open_gate(&place.join("gate"));
    client.greeting().expect("the next one has descriptors");
    client.finish().expect("it is served");
    server.panzer.stop();
}

/// RATIONALE 3.5, 3.8
#[test]
fn a_final_stop_waits_for_who_is_without_descriptors_from_the_beginning() {
    let (_place, mut server, mut client) = short_from_the_beginning();
    server.expect_breathers();
    server.panzer.signal(Signal::Term);
    let monitor = server.panzer.expect_monitor(1);
    let is_socket = |shown: &String| shown.contains(" socket:");
    // With its listener it has let go of its workers; one socket is main's.
    server.panzer.eventually("its monitor has told it", || {
        look::descriptors(monitor).into_iter().filter(is_socket).count() == 1
    });
    server.expect_breathers();
    server.limit(1024);
    client.greeting().expect("it was in the queue");
    client.finish().expect("it is served");
    assert_eq!(server.panzer.end(), End::Status(0));
    let mut calls = server.trace.calls();
    calls.retain(|call| call.pid == server.worker);
    assert_patient(&calls);
}

/// RATIONALE 3.5, 3.8
#[test]
fn a_final_stop_without_descriptors_waits_for_them_and_loses_nobody() {
    let mut server = Traced::start(WITNESS, None);
    server.expect_waiting();
    server.take_descriptors();
    let (held, _) = Held::hold(server.address).expect("the kernel kept a number for it");
    let queued: Vec<_> =
        (0..3).map(|_| Held::queue(server.address).expect("there is room")).collect();
    server.panzer.signal(Signal::Term);
    server.panzer.expect_event("stopping", |event| event.name == "stopping");
    held.finish().expect("it is finished");
    server.expect_refusals(2);
    server.limit(1024);
    for mut held in queued {
        held.greeting().expect("it was in the queue");
        held.finish().expect("it is served");
    }
    assert_eq!(server.panzer.end(), End::Status(0));
    assert_breathes(&server.trace.calls(), server.worker);
}

/// RATIONALE 3.8
#[test]
fn a_listener_that_is_none_ends_the_worker_and_says_so() {
    for error in ["EINVAL", "ENOTSOCK", "EBADF"] {
        let (place, (program, words)) = (Place::new(), WITNESS);
        let inject = format!("inject=accept4:error={error}");
        let setup = Setup::new(&example(program), words).options(&["-n1", "--delay=0.05"]);
        let (setup, _) = setup.traced(place.path(), "calls", &["-e", &inject]);
        let mut panzer = setup.start();
        let line = panzer.expect_line("worker 1 failed: cannot accept on 127.0.0.1:");
        assert!(line.contains(error), "{line}");
        panzer.stop();
    }
}

/// RATIONALE 3.4
#[test]
fn a_stop_between_the_look_at_the_flag_and_the_accept_is_not_lost() {
    let place = Place::new();
    let library = place.join("term_in_accept.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/term_in_accept.c");
    let compiled = {
        let _alone = alone();
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status()
    };
    assert!(compiled.expect("cargo has needed cc too").success());
    let (program, words) = WITNESS;
    let setup = Setup::new(&example(program), words).options(&["-n1", "--delay=0"]);
    let mut panzer = setup.variable("LD_PRELOAD", &library.display().to_string()).start();
    for _ in 0..10 {
        let died = panzer.expect_event("its end", |event| event.name == "died" && event.slot == 1);
        assert_eq!(died.why, "exited with status 0");
    }
    panzer.stop();
}

/// RATIONALE 4.2
#[test]
fn three_hundred_wait_in_the_queue_while_nobody_accepts() {
    let mut panzer = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    workers.iter().for_each(|worker| stop_process(*worker));
    // std's listeners have room for 128, and whoever is one too many waits for
    // a second before he tries again.
    let requests: Vec<_> =
        (0..300).map(|_| Request::send(address).expect("there is room")).collect();
    workers.iter().for_each(|worker| continue_process(*worker));
    for request in requests {
        request.answer().expect("it was in the queue");
    }
    panzer.stop();
}
