//! Event-driven workers on one socket: which of them takes a connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::ctl::ctl;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer, continue_process, stop_process};
use crate::harness::setup::Setup;
use crate::keep_alive::Client;

/// How long a connection is left to a worker that holds fewer, in whole milliseconds of
/// which the first one has begun before.
const LEFT: Duration = Duration::from_millis(9);

/// Two workers of the HTTP example, of which the second one is stopped.
struct Server {
    panzer: Panzer,
    address: SocketAddr,
    stopped: u32,
}

impl Server {
    fn start() -> Self {
        let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]);
        let mut panzer = setup.start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_current(1);
        let stopped = panzer.workers(monitor)[1];
        stop_process(stopped);
        Self { panzer, address, stopped }
    }

    /// A client whose connection is kept, and how long it has waited for its first answer.
    fn client(&self) -> (Client, Duration) {
        let begun = Instant::now();
        let mut client = Client::connect(self.address);
        client.ask();
        (client, begun.elapsed())
    }

    fn end(mut self) {
        continue_process(self.stopped);
        self.panzer.signal(Signal::Term);
        assert_eq!(self.panzer.end(), End::Status(0));
    }
}

#[test]
fn worker_that_is_two_ahead_leaves_a_connection_to_the_other_for_ten_ms() {
    let server = Server::start();
    let kept = [server.client(), server.client()];
    let (last, waited) = server.client();
    assert!(waited >= LEFT, "it was taken after {waited:?}");
    drop((kept, last));
    server.end();
}

#[test]
fn stopped_worker_keeps_no_client_of_the_others_waiting_for_ever() {
    let server = Server::start();
    let clients: Vec<_> = (0..20).map(|_| server.client().0).collect();
    drop(clients);
    server.end();
}

#[test]
fn status_shows_the_connections_of_a_worker_that_counts_them() {
    let dir = TempDir::new();
    let pid_file = dir.join("panzer.pid");
    let pid = format!("--pid={}", pid_file.display());
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2", &pid]);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let shows = |words: &[&str], what: &str| ctl(&pid_file, words).stdout.contains(what);
    let mut client = Client::connect(address);
    client.ask();
    panzer.eventually("one is held", || shows(&["status", "--json"], r#""connections":1,"#));
    assert!(shows(&["status"], " handled, 1 open"));
    assert!(shows(&["status", "--json"], r#""connections":null,"#), "the other has held none");
    drop(client);
    panzer.eventually("none is held", || shows(&["status", "--json"], r#""connections":0,"#));
    panzer.stop();
}

#[test]
fn worker_that_has_closed_its_connections_is_not_ahead_any_more() {
    let server = Server::start();
    let (mut first, _) = server.client();
    let (mut second, _) = server.client();
    for client in [&mut first, &mut second] {
        client.send("GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        client.answer();
    }
    first.expect_end();
    second.expect_end();
    let kept = [server.client(), server.client()];
    let (last, waited) = server.client();
    assert!(waited >= LEFT, "it was taken after {waited:?}");
    drop((kept, last));
    server.end();
}
