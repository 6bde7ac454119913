//! Reloads under load: not one request may fail.
//!
//! ```text
//! cargo bench --bench reload              # all runs
//! cargo bench --bench reload -- unix      # those whose name contains "unix"
//! ```
//!
//! Sixteen closed-loop clients send requests to the `http` example under panzer. In four runs
//! panzer reloads a hundred times, each time as soon as the generation before is current; in
//! two more the monitor is killed twenty times instead, and its workers finish their
//! requests. TCP and Unix sockets, one connection for each request and one for ten. In a last
//! run the `supervise` example, which is its own main, reloads a hundred times.
//!
//! Prints a table. Failures are counted on new and on reused connections (`fresh/reused`),
//! latencies in milliseconds (`p50/p99/max`) for requests that were in progress between a
//! reload's signal and its end, and for all others. Exits with 1 if a request failed or panzer
//! did not exit with 0.
//!
//! `PANZER_BIN` names another panzer, `HTTP_BIN` and `SUPERVISE_BIN` other
//! programs to run.

// Each bench uses only part of the shared modules.
#[allow(dead_code, unused_imports)]
mod load;
#[allow(dead_code, unused_imports)]
mod server;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Error, Write};
use std::ops::Range;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use load::{Dialect, Failure, Load, Plan, Report, TIMEOUT, Target};
use server::{Event, Place, Server};

/// The number of clients.
const CLIENTS: usize = 16;
/// The least number of requests in a run.
const REQUESTS: u64 = 10_000;
/// How many requests come before the first change, for comparison.
const WARM_UP: u64 = 2_000;

/// Four workers that start at once, without delays between two generations.
const OPTIONS: &[&str] = &["--count", "4", "--probation", "0", "--delay", "0"];

/// The same as a file.
const FILE: &str = "event-fd: 3\ncount: 4\nprobation: 0\ndelay: 0\n";

/// What happens to panzer under the load.
#[derive(Clone, Copy)]
enum Change {
    /// It reloads.
    Reload,
    /// Its monitor is killed.
    KillMonitor,
}

/// The kinds of addresses.
#[derive(Clone, Copy)]
enum Family {
    Tcp,
    Unix,
    /// TCP, to a program that is its own main.
    Itself,
}

/// One line of the table.
struct Run {
    name: &'static str,
    family: Family,
    requests_per_connection: u32,
    change: Change,
    changes: u32,
}

const RUNS: &[Run] = &[
    Run::new("tcp", Family::Tcp, 1, Change::Reload, 100),
    Run::new("tcp keep-alive", Family::Tcp, 10, Change::Reload, 100),
    Run::new("unix", Family::Unix, 1, Change::Reload, 100),
    Run::new("unix keep-alive", Family::Unix, 10, Change::Reload, 100),
    Run::new("tcp kill", Family::Tcp, 1, Change::KillMonitor, 20),
    Run::new("tcp keep-alive kill", Family::Tcp, 10, Change::KillMonitor, 20),
    Run::new("supervise", Family::Itself, 1, Change::Reload, 100),
];

/// The result of a run.
struct Outcome {
    report: Report,
    windows: Vec<Range<Instant>>,
    status: ExitStatus,
}

fn main() -> ExitCode {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted =
        |run: &&Run| wanted.is_empty() || wanted.iter().any(|word| run.name.contains(word));
    let mut lines = vec![heading()];
    let mut is_clean = true;
    for run in RUNS.iter().filter(is_wanted) {
        match run.perform() {
            Ok(outcome) => {
                is_clean &= outcome.report.failures() == 0 && outcome.status.success();
                lines.push(run.line(&outcome));
            }
            Err(error) => {
                is_clean = false;
                lines.push(format!("{}: {error}", run.name));
            }
        }
    }
    // A closed standard output does not change the exit status.
    let _ = writeln!(io::stdout(), "{}", lines.join("\n"));
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Run {
    const fn new(
        name: &'static str,
        family: Family,
        requests_per_connection: u32,
        change: Change,
        changes: u32,
    ) -> Self {
        Self { name, family, requests_per_connection, change, changes }
    }

    /// Starts a server and the load, changes the server, stops both.
    fn perform(&self) -> io::Result<Outcome> {
        let place = Place::new()?;
        let target = match self.family {
            Family::Tcp | Family::Itself => Target::Tcp(server::free_address()?),
            Family::Unix => Target::Unix(place.join("http.sock")),
        };
        let mut server = self.start(&place, &target)?;
        let first = server.wait_for("a current generation", |event| event.name == "current")?;

        let requests_per_connection = self.requests_per_connection;
        let plan = Plan {
            target,
            dialect: Dialect::Http,
            timeout: TIMEOUT,
            clients: CLIENTS,
            requests_per_connection,
            limit: None,
            rest: Duration::ZERO,
        };
        let load = Load::start(&plan);
        load.wait_for(WARM_UP)?;
        let windows = self.change_all(&mut server, &first)?;
        load.wait_for(REQUESTS.max(load.done() + WARM_UP))?;
        let report = load.finish()?;
        let status = server.stop()?;
        Ok(Outcome { report, windows, status })
    }

    fn start(&self, place: &Place, target: &Target) -> io::Result<Server> {
        let address = target.address();
        match self.family {
            Family::Tcp | Family::Unix => {
                let http = server::example("http")?;
                Server::start(OPTIONS, &[http.as_ref(), OsStr::new(&address)])
            }
            Family::Itself => {
                let supervise = server::example("supervise")?;
                fs::create_dir(place.join("config"))?;
                fs::write(place.join("config/panzer.yml"), FILE)?;
                Server::start_itself(place.path(), &[supervise.as_ref(), OsStr::new(&address)])
            }
        }
    }

    /// Makes each change as soon as the one before is complete; returns the times.
    fn change_all(&self, server: &mut Server, first: &Event) -> io::Result<Vec<Range<Instant>>> {
        let nameless = || Error::other("an event names no generation");
        let mut generation = first.generation.ok_or_else(nameless)?;
        let mut windows = Vec::new();
        for _ in 0..self.changes {
            let asked = Instant::now();
            self.ask(server, generation)?;
            let what = format!("what follows generation {generation}");
            let is_over = |event: &Event| match event.name.as_str() {
                "failed" | "rolled_back" => true,
                "current" => event.generation > Some(generation),
                _ => false,
            };
            let event = server.wait_for(&what, is_over)?;
            if event.name != "current" {
                return Err(Error::other(event.line));
            }
            generation = event.generation.ok_or_else(nameless)?;
            windows.push(asked..Instant::now());
        }
        Ok(windows)
    }

    /// Asks for one change of the current generation.
    fn ask(&self, server: &Server, generation: u32) -> io::Result<()> {
        match self.change {
            Change::Reload => server.signal("USR1"),
            Change::KillMonitor => {
                let nameless = || Error::other(format!("no event names monitor {generation}"));
                server::kill(server.monitor(generation).ok_or_else(nameless)?, "KILL")
            }
        }
    }

    /// The run's line of the table.
    fn line(&self, outcome: &Outcome) -> String {
        let report = &outcome.report;
        let (requests, generations) = (report.records().len(), report.generations());
        let mut line = format!("{:20}{generations:>11}{requests:>9}", self.name);
        for (failure, heading) in Failure::ALL {
            let (fresh, reused) = (report.failed(failure, false), report.failed(failure, true));
            line += &format!("{:>width$}", format!("{fresh}/{reused}"), width = width(heading));
        }
        let (inside, outside) = report.latency(&outcome.windows);
        line += &format!("{inside:>20}{outside:>20}");
        if !outcome.status.success() {
            line += &format!("  panzer: {}", outcome.status);
        }
        line
    }
}

/// The first line of the table.
fn heading() -> String {
    let mut line = format!("{:20}{:>11}{:>9}", "run", "generations", "requests");
    for (_, heading) in Failure::ALL {
        line += &format!("{heading:>width$}", width = width(heading));
    }
    line + &format!("{:>20}{:>20}", "inside, ms", "outside, ms")
}

/// The width of a column of failures.
const fn width(heading: &str) -> usize {
    if heading.len() > 9 { heading.len() + 2 } else { 11 }
}
