//! Servers that are measured beside each other: examples under panzer, and those in C.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Error};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::baseline;
use crate::load::{Answer, Dialect, Load, Plan, Report, TIMEOUT, Target};
use crate::server::{self, REDIRECT, Server};

/// How many workers each has.
pub const WORKERS: usize = 4;

/// What every panzer here is started with.
const OPTIONS: &[&str] = &["--count", "4", "--delay", "0", "--probation", "0"];

/// A server on the loopback that is ready.
pub struct Site {
    pub target: Target,
    pub dialect: Dialect,
    parent: Parent,
}

enum Parent {
    Panzer(Box<Server>),
    C(Child),
}

impl Site {
    /// This command under panzer, with its address at its end, and perhaps with a handler that
    /// takes so many milliseconds.
    pub fn panzer(command: &[&OsStr], dialect: Dialect, delay: u32) -> io::Result<Self> {
        Self::with(command, dialect, delay, &[])
    }

    /// The same with more options.
    pub fn with(
        command: &[&OsStr],
        dialect: Dialect,
        delay: u32,
        options: &[&str],
    ) -> io::Result<Self> {
        let target = Target::Tcp(server::free_address()?);
        let address = target.address();
        let script = format!("export HTTP_DELAY_MS={delay}; {REDIRECT}");
        let command = [command, &[OsStr::new(&address)]].concat();
        let mut server = Server::start_by(&script, &[OPTIONS, options].concat(), &command)?;
        server.wait_for("a current generation", |event| event.name == "current")?;
        Ok(Self { target, dialect, parent: Parent::Panzer(Box::new(server)) })
    }

    /// A program of `benches/baseline`, whose first argument is the port.
    pub fn c(name: &str, arguments: &[&str], dialect: Dialect) -> io::Result<Self> {
        let address = server::free_address()?;
        let mut command = Command::new(baseline::program(name)?);
        let mut child = command
            .arg(address.port().to_string())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or_else(|| Error::other("no output"))?;
        BufReader::new(output).read_line(&mut String::new())?;
        Ok(Self { target: Target::Tcp(address), dialect, parent: Parent::C(child) })
    }

    /// The panzer of it.
    pub fn server(&mut self) -> io::Result<&mut Server> {
        match &mut self.parent {
            Parent::Panzer(server) => Ok(server),
            Parent::C(_) => Err(Error::other("no panzer")),
        }
    }

    /// The process whose children are the workers in C.
    pub fn pid(&self) -> io::Result<u32> {
        match &self.parent {
            Parent::Panzer(_) => Err(Error::other("no C")),
            Parent::C(child) => Ok(child.id()),
        }
    }

    /// Does nothing until `moment`; of panzer, reads the events.
    pub fn pause(&mut self, moment: Instant) {
        match &mut self.parent {
            Parent::Panzer(server) => server.listen_until(moment),
            Parent::C(_) => {
                // Nothing is ever sent.
                let (_sender, never) = mpsc::channel::<()>();
                let _ = never.recv_timeout(moment.saturating_duration_since(Instant::now()));
            }
        }
    }

    fn plan(&self, clients: usize, requests: u32, limit: Option<u64>, rest: Duration) -> Plan {
        Plan {
            target: self.target.clone(),
            dialect: self.dialect,
            timeout: TIMEOUT,
            clients,
            requests_per_connection: requests,
            limit,
            rest,
        }
    }

    /// Starts clients, each with so many requests on a connection, and a rest before each.
    pub fn load(&self, clients: usize, requests: u32, rest: Duration) -> Load {
        Load::start(&self.plan(clients, requests, None, rest))
    }

    /// So many requests in all, one on a connection.
    pub fn round(&self, clients: usize, limit: u64) -> io::Result<Report> {
        let plan = self.plan(clients, 1, Some(limit), Duration::ZERO);
        Self::finish(Load::start(&plan), limit)
    }

    /// So many requests in all, on connections that are all opened before the first.
    pub fn round_kept(&self, connections: usize, limit: u64) -> io::Result<Report> {
        let open = |_| self.target.connect(TIMEOUT).map(Some);
        let opened = (0..connections).map(open).collect::<io::Result<_>>()?;
        let plan = self.plan(connections, u32::MAX, Some(limit), Duration::ZERO);
        Self::finish(Load::start_on(&plan, opened), limit)
    }

    fn finish(load: Load, limit: u64) -> io::Result<Report> {
        load.wait_for(limit)?;
        let report = load.finish()?;
        if report.failures() > 0 {
            return Err(Error::other(format!("failed: {}", report.summary())));
        }
        Ok(report)
    }

    /// Stops it.
    pub fn stop(self) -> io::Result<()> {
        match self.parent {
            Parent::Panzer(server) => server.stop().map(drop),
            Parent::C(mut child) => {
                child.kill()?;
                child.wait().map(drop)
            }
        }
    }
}

/// Answered requests in a second.
pub fn throughput(report: &Report) -> f64 {
    let records = report.records();
    let first = records.iter().map(|record| record.start).min();
    let last = records.iter().map(|record| record.start + record.latency).max();
    let span = first.zip(last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    report.answers() as f64 / span
}

/// What each worker did, as far as `is_meant`: the connections that it has begun to hold, and the
/// requests that it answered.
pub fn shares(
    report: &Report,
    is_meant: impl Fn(&Answer) -> bool,
) -> ([f64; WORKERS], [f64; WORKERS]) {
    let (mut held, mut answered) = ([0.0; WORKERS], [0.0; WORKERS]);
    for record in report.records() {
        let answer = record.outcome.ok().filter(&is_meant);
        let slot = answer.map_or(0, |answer| usize::from(answer.slot));
        if let Some(index) = slot.checked_sub(1).filter(|index| *index < WORKERS) {
            answered[index] += 1.0;
            held[index] += f64::from(u8::from(!record.is_reused));
        }
    }
    (held, answered)
}

/// How far the one that is furthest from the mean is from it.
pub fn furthest(shares: [f64; WORKERS]) -> f64 {
    let mean = shares.iter().sum::<f64>() / WORKERS as f64;
    shares.iter().map(|share| (share - mean).abs()).fold(0.0, f64::max)
}
