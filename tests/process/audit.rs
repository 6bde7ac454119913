//! What they ask the kernel for in a whole life, and what never.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::harness::client::{Held, ask};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::strace::Call;

/// A whole life: a start, a client, a reload, a client, a stop.
struct Life {
    calls: Vec<Call>,
    /// Where its Unix listener was, if it had one.
    path: PathBuf,
    main: u32,
    /// Of both generations.
    monitors: [u32; 2],
    workers: [Vec<u32>; 2],
}

/// What a client does, once.
type Visit = fn(SocketAddr);

/// A life of the witness, which blocks in accept, on a socket that main has
/// bound and on two of its own.
fn blocking(calls: &str) -> Life {
    let place = Place::new();
    let path = place.join("socket");
    let unix = format!("listen=unix:{}", path.display());
    let words = ["listen=127.0.0.1:0", "listen=web=127.0.0.1:1", &unix, "run=hold"];
    let setup = Setup::new(&example("witness"), &words).options(&["--bind=web=127.0.0.1:0"]);
    let visit = |address| {
        let (held, _) = Held::hold(address).expect("it serves");
        held.finish().expect("it is served");
    };
    live(&place, path, setup, calls, visit)
}

/// A life of the HTTP example, which has an event loop.
fn nonblocking(calls: &str) -> Life {
    let place = Place::new();
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]);
    let visit = |address| {
        ask(address).expect("it serves");
    };
    live(&place, place.join("none"), setup, calls, visit)
}

fn live(place: &Place, path: PathBuf, setup: Setup, calls: &str, visit: Visit) -> Life {
    let select = format!("trace={calls}");
    let options = ["-yy", "-e", &select];
    let (setup, trace) = setup.options(&["-n2"]).traced(place.path(), "life", &options);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    let first = panzer.expect_current(1);
    let workers = panzer.workers(first);
    visit(address);
    let second = panzer.reload(2);
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    let workers = [workers, panzer.workers(second)];
    visit(address);
    let main = panzer.pid();
    panzer.stop();
    Life { calls: trace.calls(), path, main, monitors: [first, second], workers }
}

/// Whether the call is on a socket that listens: one that has an address and
/// nobody at the other end, as in `accept4(6<TCP:[127.0.0.1:8080]>, …`.
fn is_on_listener(call: &Call) -> bool {
    let object = call.words.split_once('<').map_or("", |(_, rest)| rest);
    let object = object.split_once(']').map_or(object, |(object, _)| object);
    let has_address = match object.split_once('[') {
        Some(("TCP:", end)) => end.contains(':'),
        Some(("UNIX-STREAM:", end)) => end.contains('"'),
        Some(_) | None => false,
    };
    has_address && !object.contains("->")
}

/// Whether the call has a listener block or not block. It belongs to the
/// description, so to everybody who has it.
fn is_switch(call: &Call) -> bool {
    let is_set = call.words.contains("F_SETFL") || call.words.contains("FIONBIO");
    is_set && is_on_listener(call)
}

impl Life {
    fn named(&self, name: &str) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.name == name).collect()
    }

    /// What a process asked for before it asked for this the first time.
    fn before<'a>(&'a self, pid: u32, end: impl Fn(&Call) -> bool + 'a) -> Vec<&'a Call> {
        let own = self.calls.iter().filter(move |call| call.pid == pid);
        own.take_while(move |call| !end(call)).collect()
    }
}

/// RATIONALE 1.40
#[test]
fn nobody_ever_shuts_a_listening_socket_down() {
    for life in [blocking("shutdown,listen"), nonblocking("shutdown,listen")] {
        assert!(life.named("listen").iter().any(|call| is_on_listener(call)), "{:?}", life.calls);
        assert!(
            !life.named("shutdown").iter().any(|call| is_on_listener(call)),
            "{:?}",
            life.calls
        );
    }
}

/// RATIONALE 3.12
#[test]
fn a_listener_that_blocks_is_switched_by_a_worker_in_the_final_stop_alone() {
    let life = blocking("fcntl,ioctl,accept4");
    let switches: Vec<_> = life.calls.iter().filter(|call| is_switch(call)).collect();
    assert!(!switches.is_empty(), "{:?}", life.calls);
    for switch in switches {
        assert!(life.workers[1].contains(&switch.pid), "{switch:?}");
        assert!(switch.words.contains("F_SETFL, O_RDWR|O_NONBLOCK"), "{switch:?}");
        // Its own duplicate, and not the number that it has waited on.
        let number = |call: &Call| call.words.split('<').next().map(str::to_string);
        let before = life.before(switch.pid, is_switch);
        let mut waits = before.iter().filter(|call| call.name == "accept4");
        assert!(waits.all(|call| number(call) != number(switch)), "{before:?}");
    }
}

/// RATIONALE 3.12
#[test]
fn a_listener_that_does_not_block_is_switched_once_and_before_the_first_fork() {
    let life = nonblocking("fcntl,ioctl,clone,clone3,fork,vfork");
    let switches: Vec<_> = life.calls.iter().filter(|call| is_switch(call)).collect();
    assert_eq!(switches.len(), 1, "{switches:?}");
    assert_eq!(switches[0].pid, life.monitors[0]);
    let is_fork = |call: &Call| matches!(&*call.name, "clone" | "clone3" | "fork" | "vfork");
    let before = life.before(life.monitors[0], is_fork);
    assert!(before.iter().any(|call| is_switch(call)), "{before:?}");
}

/// RATIONALE 1.40, 4.1, 4.2
#[test]
fn a_socket_is_bound_once_in_its_life_and_has_the_longest_queue_there_is() {
    let life = blocking("bind,listen");
    let [first, _] = life.monitors;
    let bound: Vec<_> = life.named("bind");
    let inet: Vec<_> = bound.iter().filter(|call| call.words.contains("AF_INET")).collect();
    let path: Vec<_> = bound
        .iter()
        .filter(|call| call.words.contains(life.path.to_str().expect("it is ASCII")))
        .collect();
    let pids = |calls: &[&&Call]| calls.iter().map(|call| call.pid).collect::<Vec<_>>();
    let mut by = pids(&inet);
    by.sort_unstable();
    let mut expected = vec![life.main, first];
    expected.sort_unstable();
    assert_eq!((by, pids(&path)), (expected, vec![first]), "{bound:?}");
    let listened = life.named("listen");
    assert_eq!(listened.len(), 3, "{listened:?}");
    let longest = format!(", {}", i32::MAX);
    assert!(listened.iter().all(|call| call.words.ends_with(&longest)), "{listened:?}");
}

/// RATIONALE 1.35, 4.3
#[test]
fn a_unix_path_is_taken_away_once_and_by_main() {
    let life = blocking("unlink,unlinkat,rename,renameat,renameat2");
    let path = life.path.to_str().expect("it is ASCII");
    let about: Vec<_> = life.calls.iter().filter(|call| call.words.contains(path)).collect();
    assert_eq!(about.len(), 1, "{about:?}");
    assert_eq!((about[0].pid, about[0].is_done()), (life.main, true), "{about:?}");
}

/// RATIONALE 3.3
#[test]
fn a_worker_that_waits_is_woken_by_its_own_connections_alone() {
    let place = Place::new();
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let setup = Setup::new(&example("witness"), &words).options(&["-n4"]);
    let options = ["-e", "trace=accept4,poll,ppoll,select,epoll_wait"];
    let (setup, trace) = setup.traced(place.path(), "calls", &options);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    for _ in 0..40 {
        let (held, _) = Held::hold(address).expect("it serves");
        held.finish().expect("it is served");
    }
    // Before the stop, which wakes everybody. Who waits has no answer yet.
    let calls = trace.calls();
    panzer.stop();
    let of_a_worker = |call: &&Call| workers.contains(&call.pid) && call.answer != "?";
    let own: Vec<_> = calls.iter().filter(of_a_worker).collect();
    assert!(own.iter().all(|call| call.name == "accept4" && call.is_done()), "{own:?}");
    assert_eq!(own.len(), 40);
}

/// RATIONALE 1.35
#[test]
fn the_final_stop_is_written_down_before_newcomers_are_kept_out_and_anybody_is_told() {
    let life = blocking("pwrite64,setsockopt,close,kill");
    let first = life.monitors[0];
    let own: Vec<_> = life.calls.iter().filter(|call| call.pid == life.main).collect();
    // The first generation was told in the reload.
    let told = |pid: u32| format!("{pid}, SIGTERM");
    let reload = own.iter().position(|call| call.name == "kill" && call.words == told(first));
    let stop = &own[reload.expect("it was told") + 1..];
    let place = |what: &str, is_it: &dyn Fn(&Call) -> bool| {
        let found = stop.iter().position(|call| call.is_done() && is_it(call));
        found.unwrap_or_else(|| panic!("no {what}: {stop:#?}"))
    };
    let last = |is_it: &dyn Fn(&Call) -> bool| stop.iter().rposition(|call| is_it(call));
    let is_filter = |call: &Call| call.words.contains("SO_ATTACH_FILTER");
    let is_close = |call: &Call| call.name == "close" && is_on_listener(call);
    let written = place("flag", &|call| call.name == "pwrite64" && call.words.contains("board"));
    let filtered = place("filter", &is_filter);
    let closed = place("end of the sockets", &is_close);
    let told = place("signal", &|call| call.name == "kill" && call.words.ends_with("SIGTERM"));
    assert!(written < filtered && filtered < closed, "{stop:#?}");
    assert!(last(&is_filter) < last(&is_close) && last(&is_close) < Some(told), "{stop:#?}");
}
