//! How the HTTP example drains: no request that was sent in time is lost, and no
//! client delays the drain for ever.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use panzer::sys::Signal;

use crate::harness::files::example;
use crate::harness::panzer::{End, Panzer};
use crate::harness::setup::Setup;
use crate::harness::{TIMEOUT, procfs};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";

/// A client with a keep-alive connection.
pub struct Client(BufReader<TcpStream>);

/// An answer.
pub struct Answer {
    /// The head, every line of it.
    head: String,
    /// `gen=G slot=S pid=P`.
    body: String,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("it is a socket");
        Self(BufReader::new(stream))
    }

    pub fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("the server reads it");
    }

    pub fn answer(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let length = self.0.read_line(&mut head).expect("an answer is sent, and no reset");
            assert!(length > 0, "the end after {head:?}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize =
            length.and_then(|length| length.parse().ok()).expect("the head has a length");
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the whole body is sent");
        Answer { head, body: String::from_utf8_lossy(&body).into_owned() }
    }

    pub fn ask(&mut self) -> Answer {
        self.send(REQUEST);
        self.answer()
    }

    /// The server closes the connection; a reset is an error.
    pub fn expect_end(mut self) {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("an end, and no reset");
        assert_eq!(rest, "");
    }
}

impl Answer {
    fn is_last(&self) -> bool {
        assert!(self.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", self.head);
        let has = |line: &str| self.head.lines().any(|other| other == line);
        assert_ne!(has("Connection: close"), has("Connection: keep-alive"), "{}", self.head);
        has("Connection: close")
    }
}

/// One worker of the HTTP example.
struct Server {
    panzer: Panzer,
    address: SocketAddr,
    worker: u32,
}

/// What makes a worker drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// The final stop: the port is closed.
    Stop,
    /// A reload: another generation serves the port.
    Reload,
}

const BOTH: [Drain; 2] = [Drain::Stop, Drain::Reload];

impl Server {
    fn start(options: &[&str]) -> Self {
        let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n1"]);
        let mut panzer = setup.options(options).start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_current(1);
        let worker = panzer.workers(monitor)[0];
        Self { panzer, address, worker }
    }

    fn sockets(&self) -> usize {
        procfs::descriptors(self.worker).iter().filter(|fd| fd.contains("socket:")).count()
    }

    /// Connects, and waits until the worker has accepted the connection.
    fn accepted(&mut self) -> Client {
        let before = self.sockets();
        let client = Client::connect(self.address);
        let (worker, panzer) = (self.worker, &mut self.panzer);
        let sockets =
            || procfs::descriptors(worker).iter().filter(|fd| fd.contains("socket:")).count();
        panzer.eventually("it is accepted", || sockets() > before);
        client
    }

    /// Makes the worker drain, and waits until it has closed its listener.
    fn drain(&mut self, how: Drain) {
        let (before, worker) = (self.sockets(), self.worker);
        match how {
            Drain::Stop => self.panzer.signal(Signal::Term),
            Drain::Reload => {
                self.panzer.reload(2);
            }
        }
        let sockets =
            || procfs::descriptors(worker).iter().filter(|fd| fd.contains("socket:")).count();
        self.panzer.eventually("it drains", || sockets() < before);
    }

    /// The first generation ends by itself, without a second signal.
    fn expect_gone(mut self, how: Drain) {
        if how == Drain::Reload {
            self.panzer.expect_event("the end of the first", |event| {
                event.is("died", 1) && event.slot == 0
            });
            self.panzer.signal(Signal::Term);
        }
        assert_eq!(self.panzer.end(), End::Status(0));
        assert_eq!(self.panzer.count_lines(": sent SIGINT"), 0);
    }
}

#[test]
fn idle_connection_gets_one_more_answer_with_connection_close() {
    for how in BOTH {
        let mut server = Server::start(&[]);
        let mut client = server.accepted();
        let first = client.ask();
        assert!(!first.is_last() && first.body.starts_with("gen=1 "), "{}", first.head);
        server.drain(how);
        let last = client.ask();
        assert!(last.is_last() && last.body.starts_with("gen=1 "), "{}", last.head);
        client.expect_end();
        server.expect_gone(how);
    }
}

#[test]
fn request_that_begins_after_stop_is_answered() {
    for how in BOTH {
        // How many bytes are sent before the stop; the rest is sent after it.
        for cut in [0, 1, 20, REQUEST.len() - 1] {
            let mut server = Server::start(&[]);
            let mut client = server.accepted();
            let (before, after) = REQUEST.split_at(cut);
            client.send(before);
            server.drain(how);
            client.send(after);
            assert!(client.answer().is_last(), "{how:?}, {cut} bytes before");
            client.expect_end();
            server.expect_gone(how);
        }
    }
}

#[test]
fn request_on_connection_in_backlog_at_stop_is_answered() {
    let mut server = Server::start(&[]);
    crate::harness::panzer::stop_process(server.worker);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(server.address)).collect();
    server.panzer.signal(Signal::Term);
    server.panzer.expect_event("stopping", |event| event.name == "stopping");
    clients.iter_mut().take(10).for_each(|client| client.send(REQUEST));
    crate::harness::panzer::continue_process(server.worker);
    clients.iter_mut().skip(10).for_each(|client| client.send(REQUEST));
    for mut client in clients {
        assert!(client.answer().body.starts_with("gen=1 "));
        client.expect_end();
    }
    server.expect_gone(Drain::Stop);
}

#[test]
fn pipelined_requests_are_all_answered_and_last_has_connection_close() {
    for how in BOTH {
        let mut server = Server::start(&[]);
        let mut client = server.accepted();
        server.drain(how);
        client.send(&REQUEST.repeat(3));
        let lasts = [client.answer(), client.answer(), client.answer()].map(|one| one.is_last());
        assert_eq!(lasts, [false, false, true]);
        client.expect_end();
        server.expect_gone(how);
    }
}

#[test]
fn request_in_progress_at_stop_is_answered() {
    for how in BOTH {
        let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n1"]);
        let mut panzer = setup.variable("HTTP_DELAY_MS", "300").start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_current(1);
        let worker = panzer.workers(monitor)[0];
        let mut server = Server { panzer, address, worker };
        let mut client = server.accepted();
        client.send(REQUEST);
        server.drain(how);
        let answer = client.answer();
        assert!(answer.is_last() && answer.body.starts_with("gen=1 "));
        client.expect_end();
        server.expect_gone(how);
    }
}

#[test]
fn silent_client_is_disconnected_before_timeout() {
    // One second before the timeout the example closes idle connections.
    for sent in ["", "GET / HT", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1234"] {
        let mut server = Server::start(&["--timeout=2"]);
        let mut client = server.accepted();
        client.send(sent);
        server.drain(Drain::Stop);
        if sent.is_empty() {
            client.expect_end();
        } else {
            let head = client.answer().head;
            assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
            client.expect_end();
        }
        server.expect_gone(Drain::Stop);
    }
}

#[test]
fn client_that_never_disconnects_does_not_delay_drain() {
    let mut server = Server::start(&["--timeout=1.1"]);
    let idle = server.accepted();
    let mut served = server.accepted();
    served.ask();
    server.panzer.signal(Signal::Term);
    assert_eq!(server.panzer.end(), End::Status(0));
    assert_eq!(server.panzer.count_lines(": sent SIGKILL"), 0);
    idle.expect_end();
    served.expect_end();
}
