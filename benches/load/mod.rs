//! A load of closed-loop clients that records every failure.
//!
//! Each client is a thread that sends a request, waits for the whole answer, and sends the
//! next one. It retries nothing: an unanswered request is a failure and is counted by its kind
//! ([`Failure`]) and by whether its connection was new. A `Connection: close` in an answer is
//! honoured.
//!
//! For every bench that needs clients of the `http` or the `basic` example: start a [`Load`],
//! wait until enough is done, finish it, and read the [`Report`]. A single [`Question`] can be
//! sent now and its answer read later.

mod answer;
mod question;
mod report;

use std::io::{self, Error, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use answer::Answer;
pub use question::{Dialect, Question};
pub use report::Report;

/// Long enough for any machine; only a failing run waits that long.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A client stops after so many failures.
const ENOUGH_FAILURES: u32 = 1_000;

/// The address of the server.
#[derive(Clone, Debug)]
pub enum Target {
    /// An address on the loopback.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Target {
    /// The address as `panzer::listen` takes it.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Connects. To a Unix socket this blocks while the queue is full.
    ///
    /// # Errors
    ///
    /// If there is no connection within `timeout`.
    pub fn connect(&self, timeout: Duration) -> io::Result<TcpStream> {
        let stream = match self {
            Self::Tcp(address) => TcpStream::connect_timeout(address, timeout)?,
            // std's stream calls are those of any stream socket.
            Self::Unix(path) => TcpStream::from(OwnedFd::from(UnixStream::connect(path)?)),
        };
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        if let Self::Tcp(_) = self {
            stream.set_nodelay(true)?;
        }
        Ok(stream)
    }
}

/// The plan of the clients.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub target: Target,
    /// The protocol.
    pub dialect: Dialect,
    /// How long to try to connect.
    pub timeout: Duration,
    /// The number of clients.
    pub clients: usize,
    /// The number of requests on a connection; the last one has `Connection: close`.
    pub requests_per_connection: u32,
    /// The total number of requests; `None` goes on until finished.
    pub limit: Option<u64>,
    /// How long a client rests before each request.
    pub rest: Duration,
}

/// A failed request, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection was refused.
    Refused,
    /// There was no connection for another reason.
    Unconnected,
    /// The connection was reset before the first byte of the answer.
    ResetEarly,
    /// The connection was reset within the answer.
    ResetLate,
    /// The connection ended before the first byte of the answer.
    Closed,
    /// The connection ended within the answer.
    Short,
    /// The answer is not the expected one.
    Wrong,
    /// The answer did not come in time.
    TimedOut,
}

impl Failure {
    /// All of them, with the heading of each in a table.
    pub const ALL: [(Self, &str); 8] = [
        (Self::Refused, "refused"),
        (Self::Unconnected, "unconnected"),
        (Self::ResetEarly, "reset-0"),
        (Self::ResetLate, "reset-n"),
        (Self::Closed, "closed"),
        (Self::Short, "short"),
        (Self::Wrong, "wrong"),
        (Self::TimedOut, "timed-out"),
    ];

    /// The failure for an error of connect.
    fn of_connecting(error: &Error) -> Self {
        if error.kind() == ErrorKind::ConnectionRefused { Self::Refused } else { Self::Unconnected }
    }

    /// Whether the connection had been accepted by the kernel.
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::Refused | Self::Unconnected)
    }

    /// The failure for an error of read or write after `received` bytes.
    fn of(error: &Error, received: usize) -> Self {
        match (error.kind(), received) {
            (ErrorKind::WouldBlock | ErrorKind::TimedOut, _) => Self::TimedOut,
            (_, 0) => Self::ResetEarly,
            (_, _) => Self::ResetLate,
        }
    }
}

/// One request and its result.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it began; on a fresh connection, before connecting.
    pub start: Instant,
    /// How long it took until the whole answer, or the failure.
    pub latency: Duration,
    /// Whether its connection had been used before.
    pub is_reused: bool,
    /// Its result.
    pub outcome: Result<Answer, Failure>,
}

/// Running clients.
pub struct Load {
    progress: Arc<Progress>,
    records: Receiver<Vec<Record>>,
    clients: usize,
}

/// The progress of all clients.
#[derive(Default)]
struct Progress {
    count: Mutex<Count>,
    has_moved: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Count {
    done: u64,
    is_over: bool,
}

impl Load {
    /// Starts the clients.
    pub fn start(plan: &Plan) -> Self {
        Self::start_on(plan, (0..plan.clients).map(|_| None).collect())
    }

    /// The same, each client first on a connection that it is given: one that was opened
    /// before the load began.
    pub fn start_on(plan: &Plan, connections: Vec<Option<TcpStream>>) -> Self {
        let progress = Arc::new(Progress::default());
        let (sender, records) = mpsc::channel();
        let clients = connections.len();
        for first in connections {
            let (progress, plan, sender) = (Arc::clone(&progress), plan.clone(), sender.clone());
            let client = Client { plan, progress, records: Vec::new(), first };
            thread::spawn(move || client.run(&sender));
        }
        Self { progress, records, clients }
    }

    /// How many requests have been answered or have failed.
    pub fn done(&self) -> u64 {
        self.progress.with(|count| count.done)
    }

    /// Blocks until `done` requests are done.
    ///
    /// # Errors
    ///
    /// If there are not so many after [`TIMEOUT`].
    pub fn wait_for(&self, done: u64) -> io::Result<()> {
        let guard = self.progress.count.lock().unwrap_or_else(PoisonError::into_inner);
        let is_short = |count: &mut Count| count.done < done;
        let (count, _) = self
            .progress
            .has_moved
            .wait_timeout_while(guard, TIMEOUT, is_short)
            .unwrap_or_else(PoisonError::into_inner);
        if count.done >= done {
            return Ok(());
        }
        let got = count.done;
        Err(Error::other(format!("only {got} of {done} requests within {TIMEOUT:?}")))
    }

    /// Lets every client finish its request, and collects their records.
    ///
    /// # Errors
    ///
    /// If a client hangs for longer than [`TIMEOUT`].
    pub fn finish(self) -> io::Result<Report> {
        self.progress.with(|count| count.is_over = true);
        let mut records = Vec::new();
        for _ in 0..self.clients {
            let some = self.records.recv_timeout(TIMEOUT);
            records.extend(some.map_err(|_| Error::other("a client hangs"))?);
        }
        Ok(Report::new(records))
    }
}

/// Dropping a load stops it.
impl Drop for Load {
    fn drop(&mut self) {
        self.progress.with(|count| count.is_over = true);
    }
}

impl Progress {
    fn with<T>(&self, look: impl FnOnce(&mut Count) -> T) -> T {
        look(&mut self.count.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One client.
struct Client {
    plan: Plan,
    progress: Arc<Progress>,
    records: Vec<Record>,
    /// A connection that is open already.
    first: Option<TcpStream>,
}

impl Client {
    /// Sends requests until it is enough, and hands over its records.
    fn run(mut self, records: &Sender<Vec<Record>>) {
        let mut failures = 0;
        while failures < ENOUGH_FAILURES && !self.is_over() {
            failures += u32::from(self.converse().is_err());
        }
        // The receiver is gone: the load was dropped and not finished.
        let _ = records.send(self.records);
    }

    fn is_over(&self) -> bool {
        let limit = self.plan.limit.unwrap_or(u64::MAX);
        self.progress.with(|count| count.is_over || count.done >= limit)
    }

    /// Uses one connection up.
    fn converse(&mut self) -> Result<(), Failure> {
        self.rest();
        let start = Instant::now();
        let opened = self.first.take().map(Ok);
        let connect = || self.plan.target.connect(self.plan.timeout);
        let mut stream = match opened.unwrap_or_else(connect) {
            Ok(stream) => stream,
            Err(error) => {
                let failure = Failure::of_connecting(&error);
                return self.note(start, false, Err(failure)).map(drop);
            }
        };
        for used in 0..self.plan.requests_per_connection {
            if used > 0 {
                self.rest();
            }
            let start = if used == 0 { start } else { Instant::now() };
            let is_last = used + 1 == self.plan.requests_per_connection;
            let outcome = self.plan.dialect.ask(&mut stream, is_last);
            let answer = self.note(start, used > 0, outcome)?;
            if !answer.keeps_alive || self.is_over() {
                break;
            }
        }
        Ok(())
    }

    fn rest(&self) {
        if !self.plan.rest.is_zero() {
            thread::park_timeout(self.plan.rest);
        }
    }

    /// Records the result of a request.
    fn note(
        &mut self,
        start: Instant,
        is_reused: bool,
        outcome: Result<Answer, Failure>,
    ) -> Result<Answer, Failure> {
        self.records.push(Record { start, latency: start.elapsed(), is_reused, outcome });
        self.progress.with(|count| count.done += 1);
        self.progress.has_moved.notify_all();
        outcome
    }
}
