//! Which system calls are made from start to stop, and which never.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::harness::client::{Held, ask};
use crate::harness::files::{TempDir, example};
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
    let dir = TempDir::new();
    let path = dir.join("socket");
    let unix = format!("listen=unix:{}", path.display());
    let words = ["listen=127.0.0.1:0", "listen=web=127.0.0.1:1", &unix, "run=hold"];
    let setup = Setup::new(&example("witness"), &words).options(&["--bind=web=127.0.0.1:0"]);
    let visit = |address| {
        let (held, _) = Held::hold(address).expect("it serves");
        held.finish().expect("it is served");
    };
    live(&dir, path, setup, calls, visit)
}

/// A life of the HTTP example, which has an event loop.
fn nonblocking(calls: &str) -> Life {
    let dir = TempDir::new();
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]);
    let visit = |address| {
        ask(address).expect("it serves");
    };
    live(&dir, dir.join("none"), setup, calls, visit)
}

fn live(dir: &TempDir, path: PathBuf, setup: Setup, calls: &str, visit: Visit) -> Life {
    let select = format!("trace={calls}");
    let options = ["-yy", "-e", &select];
    let (setup, trace) = setup.options(&["-n2"]).traced(dir.path(), "life", &options);
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

/// What a call is on, without the number of its descriptor.
fn object(call: &Call) -> &str {
    call.words
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or("", |(object, _)| object)
}

/// Whether the call is on a listening socket: one that has an address and no
/// peer, as in `accept4(6<TCP:[127.0.0.1:8080]>, …`.
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

/// Whether the call changes O_NONBLOCK of a listener. The flag belongs to the open
/// file description, so it changes for all processes that have it.
fn is_switch(call: &Call) -> bool {
    let is_set = call.words.contains("F_SETFL") || call.words.contains("FIONBIO");
    is_set && is_on_listener(call)
}

impl Life {
    fn named(&self, name: &str) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.name == name).collect()
    }

    /// The calls of a process before the first one for which `end` is true.
    fn before<'a>(&'a self, pid: u32, end: impl Fn(&Call) -> bool + 'a) -> Vec<&'a Call> {
        let own = self.calls.iter().filter(move |call| call.pid == pid);
        own.take_while(move |call| !end(call)).collect()
    }
}

/// rule: store.kept
#[test]
fn no_process_calls_shutdown_on_a_listener() {
    for life in [blocking("shutdown,listen"), nonblocking("shutdown,listen")] {
        assert!(life.named("listen").iter().any(|call| is_on_listener(call)), "{:?}", life.calls);
        assert!(
            !life.named("shutdown").iter().any(|call| is_on_listener(call)),
            "{:?}",
            life.calls
        );
    }
}

/// rule: worker.nonblocking
#[test]
fn blocking_listener_becomes_nonblocking_only_in_final_stop() {
    let life = blocking("fcntl,ioctl,accept4");
    let switches: Vec<_> = life.calls.iter().filter(|call| is_switch(call)).collect();
    assert!(!switches.is_empty(), "{:?}", life.calls);
    for switch in switches {
        assert!(life.workers[1].contains(&switch.pid), "{switch:?}");
        assert!(switch.words.contains("F_SETFL, O_RDWR|O_NONBLOCK"), "{switch:?}");
        // On its own duplicate, not on the descriptor that it has waited on.
        let number = |call: &Call| call.words.split('<').next().map(str::to_string);
        let before = life.before(switch.pid, is_switch);
        let mut waits = before.iter().filter(|call| call.name == "accept4");
        assert!(waits.all(|call| number(call) != number(switch)), "{before:?}");
    }
}

/// rule: worker.nonblocking
#[test]
fn nonblocking_listener_is_set_once_before_first_fork() {
    let life = nonblocking("fcntl,ioctl,clone,clone3,fork,vfork");
    let switches: Vec<_> = life.calls.iter().filter(|call| is_switch(call)).collect();
    assert_eq!(switches.len(), 1, "{switches:?}");
    assert_eq!(switches[0].pid, life.monitors[0]);
    let is_fork = |call: &Call| matches!(&*call.name, "clone" | "clone3" | "fork" | "vfork");
    let before = life.before(life.monitors[0], is_fork);
    assert!(before.iter().any(|call| is_switch(call)), "{before:?}");
}

/// rules: store.kept, listen.reuse, listen.bind
#[test]
fn socket_is_bound_once_with_maximum_backlog() {
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
    // The process that binds a socket calls listen on it once. Main calls it again
    // whenever a generation becomes current, twice here: on the socket that it has
    // bound, and on the stored TCP socket.
    let listened = life.named("listen");
    let by = |pid, family| {
        let is_by = |call: &&&Call| call.pid == pid && call.words.contains(family);
        let mut sockets: Vec<_> = listened.iter().filter(is_by).map(|call| object(call)).collect();
        sockets.sort_unstable();
        sockets.chunk_by(|a, b| a == b).map(<[_]>::len).collect::<Vec<_>>()
    };
    let mut by_main = by(life.main, "<TCP:");
    by_main.sort_unstable();
    assert_eq!(by_main, [2, 3], "{listened:?}");
    assert_eq!((by(first, "<TCP:"), by(first, "<UNIX-")), (vec![1], vec![1]), "{listened:?}");
    assert_eq!(listened.len(), 7, "{listened:?}");
    let longest = format!(", {}", i32::MAX);
    assert!(listened.iter().all(|call| call.words.ends_with(&longest)), "{listened:?}");
}

/// rules: stop.filter, listen.unix-path
#[test]
fn unix_path_is_unlinked_once_by_main() {
    let life = blocking("unlink,unlinkat,rename,renameat,renameat2");
    let path = life.path.to_str().expect("it is ASCII");
    let about: Vec<_> = life.calls.iter().filter(|call| call.words.contains(path)).collect();
    assert_eq!(about.len(), 1, "{about:?}");
    assert_eq!((about[0].pid, about[0].is_done()), (life.main, true), "{about:?}");
}

/// rule: worker.accept
#[test]
fn waiting_worker_wakes_only_for_its_own_connections() {
    let dir = TempDir::new();
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let setup = Setup::new(&example("witness"), &words).options(&["-n4"]);
    let options = ["-e", "trace=accept4,poll,ppoll,select,epoll_wait"];
    let (setup, trace) = setup.traced(dir.path(), "calls", &options);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    for _ in 0..40 {
        let (held, _) = Held::hold(address).expect("it serves");
        held.finish().expect("it is served");
    }
    // Before the stop, which wakes all workers. A call that waits has no result yet.
    let calls = trace.calls();
    panzer.stop();
    let of_a_worker = |call: &&Call| workers.contains(&call.pid) && call.answer != "?";
    let own: Vec<_> = calls.iter().filter(of_a_worker).collect();
    assert!(own.iter().all(|call| call.name == "accept4" && call.is_done()), "{own:?}");
    assert_eq!(own.len(), 40);
}

/// rule: stop.filter
#[test]
fn final_stop_writes_flag_then_attaches_filter_then_sends_sigterm() {
    let life = blocking("pwrite64,setsockopt,close,kill");
    let first = life.monitors[0];
    let own: Vec<_> = life.calls.iter().filter(|call| call.pid == life.main).collect();
    // The first generation was signalled in the reload.
    let sigterm = |pid: u32| format!("{pid}, SIGTERM");
    let reload = own.iter().position(|call| call.name == "kill" && call.words == sigterm(first));
    let stop = &own[reload.expect("it was signalled") + 1..];
    let position = |description: &str, matches: &dyn Fn(&Call) -> bool| {
        let found = stop.iter().position(|call| call.is_done() && matches(call));
        found.unwrap_or_else(|| panic!("no {description}: {stop:#?}"))
    };
    let last = |matches: &dyn Fn(&Call) -> bool| stop.iter().rposition(|call| matches(call));
    let is_filter = |call: &Call| call.words.contains("SO_ATTACH_FILTER");
    let is_close = |call: &Call| call.name == "close" && is_on_listener(call);
    let written = position("flag", &|call| call.name == "pwrite64" && call.words.contains("board"));
    let filtered = position("filter", &is_filter);
    let closed = position("end of the sockets", &is_close);
    let signalled =
        position("signal", &|call| call.name == "kill" && call.words.ends_with("SIGTERM"));
    assert!(written < filtered && filtered < closed, "{stop:#?}");
    assert!(last(&is_filter) < last(&is_close) && last(&is_close) < Some(signalled), "{stop:#?}");
}
