//! How many workers wake up for each connection, and how often.

use std::io::{self, Error};
use std::time::{Duration, Instant};

use super::Table;
use super::site::{Site, WORKERS};
use super::table::Target;
use crate::load::{Dialect, Question};
use crate::server::{self, process};

/// How many idle workers wait in `accept`; one of them serves a connection.
const IDLE: usize = 64;
const LIMIT: f64 = 1.05;
/// How many rounds there are, and connections in each.
const ROUNDS: usize = 5;
const TIMES: u32 = 200;
/// The interval between connections, so that all workers wait again.
const PAUSE: Duration = Duration::from_micros(500);

/// Workers that wait in a blocking accept, beside as many in C.
pub fn one_connection(table: &mut Table) -> io::Result<()> {
    let basic = server::example("basic")?;
    let count = IDLE.to_string();
    let ours = Site::with(&[basic.as_ref()], Dialect::Line, 0, &["--count", &count])?;
    let theirs = Site::c("accept", &[&count], Dialect::Line)?;
    let what = format!("wake-ups a connection, {IDLE} in accept");
    compare(table, &what, IDLE, ("accept", ours, theirs), Target::AtMost(LIMIT))
}

/// Event loops on one socket, beside loops that have a listener each.
pub fn event_driven(table: &mut Table) -> io::Result<()> {
    let http = server::example("http")?;
    let ours = Site::panzer(&[http.as_ref()], Dialect::Http, 0)?;
    let theirs = Site::c("events", &["4", "reuseport", "timer", "0"], Dialect::Http)?;
    let what = format!("wake-ups a connection, {WORKERS} http");
    compare(table, &what, WORKERS, ("reuseport", ours, theirs), Target::None)
}

fn compare(
    table: &mut Table,
    what: &str,
    workers: usize,
    (name, mut ours, mut theirs): (&str, Site, Site),
    target: Target,
) -> io::Result<()> {
    let nameless = || Error::other("no event names the monitor");
    let monitor = ours.server()?.monitor(1).ok_or_else(nameless)?;
    let parent = theirs.pid()?;
    let (mut our, mut their) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our.push(count(&mut ours, monitor, workers)?);
        their.push(count(&mut theirs, parent, workers)?);
    }
    ours.stop()?;
    theirs.stop()?;
    table.compare(what, "switches", &our, (name, &their), target);
    Ok(())
}

/// The voluntary context switches of all workers for a connection.
fn count(site: &mut Site, parent: u32, expected: usize) -> io::Result<f64> {
    let workers = process::children(parent);
    if workers.len() != expected {
        return Err(Error::other(format!("{} workers", workers.len())));
    }
    let switches =
        || workers.iter().filter_map(|pid| process::voluntary_switches(*pid)).sum::<u64>();
    let before = switches();
    for _ in 0..TIMES {
        let question = Question::ask(&site.target, site.dialect)?;
        question.answer().map_err(|failure| Error::other(format!("{failure:?}")))?;
        site.pause(Instant::now() + PAUSE);
    }
    // Both are small enough for an exact double.
    Ok((switches() - before) as f64 / f64::from(TIMES))
}
