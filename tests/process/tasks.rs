//! A worker that accepts as an event loop does, and works in threads.

use std::net::SocketAddr;

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::files::example;
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::procfs;
use crate::harness::setup::Setup;

/// A panzer with one such worker, which does not run until it is continued, and clients
/// that it has not accepted.
struct Server {
    panzer: Panzer,
    address: SocketAddr,
    worker: u32,
}

fn start(options: &[&str]) -> Server {
    start_with("run=tasks", options)
}

fn start_with(run: &str, options: &[&str]) -> Server {
    let words = ["listen=127.0.0.1:0", "nonblocking", run];
    let mut panzer =
        Setup::new(&example("witness"), &words).options(&["-n1"]).options(options).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let worker = panzer.workers(monitor)[0];
    Server { panzer, address, worker }
}

impl Server {
    fn queue(&self) -> Vec<Held> {
        stop_process(self.worker);
        (0..3).map(|_| Held::queue(self.address).expect("there is room")).collect()
    }

    /// Continues the worker once SIGTERM waits for it.
    fn go_on(&mut self) {
        let worker = self.worker;
        self.panzer.eventually("SIGTERM waits for the worker", || {
            let waits = u64::from_str_radix(&procfs::status(worker, "ShdPnd"), 16);
            waits.is_ok_and(|bits| bits & 1 << (15 - 1) != 0)
        });
        continue_process(worker);
    }
}

/// The worker that has accepted each of them, when all are.
fn served_by(clients: &mut [Held]) -> Vec<u32> {
    clients.iter_mut().map(|client| client.greeting().expect("it is accepted").pid).collect()
}

/// rules: worker.drain, worker.acceptor
#[test]
fn acceptor_serves_its_queue_in_the_final_stop() {
    let mut server = start_with("run=watched-tasks", &[]);
    let mut clients = server.queue();
    server.panzer.signal(Signal::Term);
    server.go_on();
    assert_eq!(served_by(&mut clients), [server.worker; 3]);
    server.panzer.expect_line("a thread sees the stop");
    for client in clients {
        client.finish().expect("it is served to its end");
    }
    assert_eq!(server.panzer.end(), End::Status(0));
}

/// rules: worker.drain, worker.acceptor
#[test]
fn acceptor_leaves_its_queue_to_others_in_any_other_stop() {
    let mut server = start(&[]);
    let mut clients = server.queue();
    send(server.worker, Signal::Term);
    server.go_on();
    let died = server.panzer.expect_event("a death", |event| event.is("died", 1));
    assert_eq!((died.pid, &*died.reason), (server.worker, "exited with status 0"));
    let by = served_by(&mut clients);
    assert!(!by.contains(&server.worker), "{by:?}");
    for client in clients {
        client.finish().expect("it is served to its end");
    }
    server.panzer.stop();
}

/// rules: worker.drain, worker.acceptor
#[test]
fn acceptor_closes_its_listener_before_its_last_answer() {
    let mut server = start(&[]);
    let (held, _) = Held::hold(server.address).expect("it serves");
    let worker = server.worker;
    let sockets = || {
        let all = procfs::descriptors(worker);
        all.iter().filter(|shown| shown.contains(" socket:")).count()
    };
    assert_eq!(sockets(), 2);
    server.panzer.reload(2);
    server.panzer.eventually("it has let go of the queue", || sockets() == 1);
    held.finish().expect("it is served to its end");
    server.panzer.stop();
}

/// rules: hang.timeout, worker.counter
#[test]
fn worker_whose_task_hangs_gets_sigabrt() {
    let mut server = start(&["--hang-timeout=0.3"]);
    let (held, _) = Held::hold(server.address).expect("it serves");
    server.panzer.expect_line("(--hang-timeout), sent SIGABRT");
    assert!(held.ends_without_reply());
    server.panzer.stop();
}

/// rules: worker.try-accept, worker.acceptor
#[test]
fn acceptor_of_a_blocking_listener_is_refused_by_name() {
    let words = ["listen=127.0.0.1:0", "run=tasks"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    let address = panzer.expect_address();
    panzer.expect_line(&format!("cannot accept on {address}: the listener blocks"));
    panzer.stop();
}
