//! A load of closed-loop clients that notices everything that goes wrong.
//!
//! Each client is a thread that asks, waits for the whole answer, and asks
//! again. It repeats nothing: a request that was not answered is a failure and
//! is counted by what the client saw ([`Failure`]) and by whether its connection
//! was fresh. A `Connection: close` in an answer is honoured.
//!
//! Reusable by every bench that needs clients of the `http` or the `basic`
//! example: start a [`Load`], wait until enough is done, finish it, and ask the
//! [`Report`]. A single [`Question`] can be asked now and answered later.

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
use std::time::{Duration, Instant};

pub use answer::Answer;
pub use question::{Dialect, Question};
pub use report::Report;

/// Long enough for any machine; only a failing run ever waits it out.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A client that has failed so often has shown enough, and leaves.
const ENOUGH_FAILURES: u32 = 1_000;

/// Where the server is.
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
    fn connect(&self, patience: Duration) -> io::Result<TcpStream> {
        let stream = match self {
            Self::Tcp(address) => TcpStream::connect_timeout(address, patience)?,
            // std's stream calls are those of any stream socket.
            Self::Unix(path) => TcpStream::from(OwnedFd::from(UnixStream::connect(path)?)),
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        if let Self::Tcp(_) = self {
            stream.set_nodelay(true)?;
        }
        Ok(stream)
    }
}

/// What the clients are to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to ask.
    pub target: Target,
    /// How to ask.
    pub dialect: Dialect,
    /// How long to try to connect.
    pub patience: Duration,
    /// How many ask at the same time.
    pub clients: usize,
    /// How many requests a connection is used for; the last one of them says
    /// `Connection: close`.
    pub requests_per_connection: u32,
    /// How many requests to make in all; `None` goes on until finished.
    pub limit: Option<u64>,
}

/// What a client saw instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens.
    Refused,
    /// There was no connection, for another reason.
    Unconnected,
    /// The connection was reset before the first byte of the answer.
    ResetEarly,
    /// The connection was reset within the answer.
    ResetLate,
    /// The connection ended before the first byte of the answer.
    Closed,
    /// The connection ended within the answer.
    Short,
    /// The answer is not the one that was to be expected.
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

    /// What it means that there is no connection.
    fn of_connecting(error: &Error) -> Self {
        if error.kind() == ErrorKind::ConnectionRefused { Self::Refused } else { Self::Unconnected }
    }

    /// Whether the kernel had accepted what then was not answered.
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::Refused | Self::Unconnected)
    }

    /// What a read or write that failed after `received` bytes means.
    fn of(error: &Error, received: usize) -> Self {
        match (error.kind(), received) {
            (ErrorKind::WouldBlock | ErrorKind::TimedOut, _) => Self::TimedOut,
            (_, 0) => Self::ResetEarly,
            (_, _) => Self::ResetLate,
        }
    }
}

/// One request and what came of it.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it began; on a fresh connection, before connecting.
    pub start: Instant,
    /// How long it took until the whole answer, or the failure, was there.
    pub latency: Duration,
    /// Whether its connection had been used before.
    pub is_reused: bool,
    /// What came of it.
    pub outcome: Result<Answer, Failure>,
}

/// Clients at work.
pub struct Load {
    progress: Arc<Progress>,
    records: Receiver<Vec<Record>>,
    clients: usize,
}

/// How far the clients are, all together.
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
        let progress = Arc::new(Progress::default());
        let (sender, records) = mpsc::channel();
        for _ in 0..plan.clients {
            let progress = Arc::clone(&progress);
            let (plan, sender) = (plan.clone(), sender.clone());
            std::thread::spawn(move || Client { plan, progress, records: Vec::new() }.run(&sender));
        }
        Self { progress, records, clients: plan.clients }
    }

    /// How many requests have been answered or have failed.
    pub fn done(&self) -> u64 {
        self.progress.with(|count| count.done)
    }

    /// Blocks until `done` requests are done.
    ///
    /// # Errors
    ///
    /// When there are not so many after [`PATIENCE`].
    pub fn wait_for(&self, done: u64) -> io::Result<()> {
        let guard = self.progress.count.lock().unwrap_or_else(PoisonError::into_inner);
        let is_short = |count: &mut Count| count.done < done;
        let (count, _) = self
            .progress
            .has_moved
            .wait_timeout_while(guard, PATIENCE, is_short)
            .unwrap_or_else(PoisonError::into_inner);
        if count.done >= done {
            return Ok(());
        }
        let got = count.done;
        Err(Error::other(format!("only {got} of {done} requests within {PATIENCE:?}")))
    }

    /// Lets every client finish its request, and collects what they have seen.
    ///
    /// # Errors
    ///
    /// When a client hangs for longer than [`PATIENCE`].
    pub fn finish(self) -> io::Result<Report> {
        self.progress.with(|count| count.is_over = true);
        let mut records = Vec::new();
        for _ in 0..self.clients {
            let some = self.records.recv_timeout(PATIENCE);
            records.extend(some.map_err(|_| Error::other("a client hangs"))?);
        }
        Ok(Report::new(records))
    }
}

/// A load that is dropped, on whatever path, stops.
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
}

impl Client {
    /// Asks until it is enough, and hands over what it has seen.
    fn run(mut self, records: &Sender<Vec<Record>>) {
        let mut failures = 0;
        while failures < ENOUGH_FAILURES && !self.is_over() {
            failures += u32::from(self.converse().is_err());
        }
        // Nobody listens any more: the load was dropped and not finished.
        let _ = records.send(self.records);
    }

    fn is_over(&self) -> bool {
        let limit = self.plan.limit.unwrap_or(u64::MAX);
        self.progress.with(|count| count.is_over || count.done >= limit)
    }

    /// Uses one connection up.
    fn converse(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        let mut stream = match self.plan.target.connect(self.plan.patience) {
            Ok(stream) => stream,
            Err(error) => {
                let failure = Failure::of_connecting(&error);
                return self.note(start, false, Err(failure)).map(drop);
            }
        };
        for used in 0..self.plan.requests_per_connection {
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

    /// Remembers what came of a request, and hands it on.
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
