//! How many of 64 idle workers wake up for each connection.

use std::ffi::OsStr;
use std::io::{self, Error};
use std::time::{Duration, Instant};

use super::Table;
use super::table::Target;
use crate::load::{self, Dialect, Question};
use crate::server::{self, Server, process};

const WORKERS: usize = 64;
/// How many rounds there are, and connections in each.
const ROUNDS: usize = 5;
const TIMES: u32 = 200;
/// The limit of wake-ups per connection; one of them serves it.
const LIMIT: f64 = 1.05;
/// The interval between connections, so that all workers wait again.
const PAUSE: Duration = Duration::from_micros(500);

pub fn idle(table: &mut Table) -> io::Result<()> {
    let target = load::Target::Tcp(server::free_address()?);
    let (basic, address) = (server::example("basic")?, target.address());
    let options = &["--count", "64", "--probation", "0", "--quiet"];
    let mut server = Server::start(options, &[basic.as_ref(), OsStr::new(&address)])?;
    server.wait_for("a current generation", |event| event.name == "current")?;
    let monitor = server.monitor(1).ok_or_else(|| Error::other("no event names the monitor"))?;
    let workers = process::children(monitor);
    if workers.len() != WORKERS {
        return Err(Error::other(format!("{} workers", workers.len())));
    }

    let mut figures = Vec::new();
    for _ in 0..ROUNDS {
        let before = wakeups(&workers);
        for _ in 0..TIMES {
            let question = Question::ask(&target, Dialect::Line)?;
            question.answer().map_err(|failure| Error::other(format!("{failure:?}")))?;
            server.listen_until(Instant::now() + PAUSE);
        }
        // Both are small enough for an exact double.
        figures.push((wakeups(&workers) - before) as f64 / f64::from(TIMES));
    }
    server.stop()?;
    let what = format!("wake-ups a connection, {WORKERS} idle");
    table.figure(&what, "switches", &figures, Target::AtMost(LIMIT));
    Ok(())
}

/// The sum of the voluntary context switches of these processes.
fn wakeups(workers: &[u32]) -> u64 {
    workers.iter().filter_map(|pid| process::voluntary_switches(*pid)).sum()
}
