//! Event-driven workers with long-lived connections on one shared socket, beside SO_REUSEPORT.
//!
//! Every round has connections of its own, which are all opened before the first request: so
//! idle workers race for them. Each client has one, so the first answers tell how many each
//! worker holds.

use std::io;

use super::Table;
use super::fixture;
use super::site::{Site, furthest, shares, throughput};
use super::table::Target;
use crate::load::Dialect;
use crate::server;

const ROUNDS: usize = 9;
/// How long the handler takes, in milliseconds.
const DELAY: u32 = 2;

/// What was seen, round by round.
#[derive(Default)]
struct Seen {
    throughput: Vec<f64>,
    held: Vec<f64>,
    answered: Vec<f64>,
}

/// `examples/http`, whose loop goes on while a handler takes its time.
pub fn http(table: &mut Table, connections: usize) -> io::Result<()> {
    let http = server::example("http")?;
    let ours = Site::panzer(&[http.as_ref()], Dialect::Http, DELAY)?;
    let theirs = Site::c("events", &["4", "reuseport", "timer", "2"], Dialect::Http)?;
    compare(table, "http", connections, 3_000, (ours, theirs))
}

/// A loop that does nothing else while a handler takes its time: here a worker without
/// connections is lost.
pub fn poll_loop(table: &mut Table, connections: usize) -> io::Result<()> {
    let own = std::env::current_exe()?;
    let command = [own.as_os_str(), fixture::WORD.as_ref(), "loop".as_ref()];
    let ours = Site::panzer(&command, Dialect::Http, DELAY)?;
    let theirs = Site::c("events", &["4", "reuseport", "block", "2"], Dialect::Http)?;
    compare(table, "poll loop", connections, 800, (ours, theirs))
}

fn compare(
    table: &mut Table,
    name: &str,
    connections: usize,
    requests: u64,
    (ours, theirs): (Site, Site),
) -> io::Result<()> {
    let (mut our, mut their) = (Seen::default(), Seen::default());
    for _ in 0..ROUNDS {
        our.look(&ours, connections, requests)?;
        their.look(&theirs, connections, requests)?;
    }
    ours.stop()?;
    theirs.stop()?;
    let mut line = |what: &str, unit, our: &[f64], their: &[f64], target| {
        let what = format!("{name}, {connections} kept: {what}");
        table.compare(&what, unit, our, ("reuseport", their), target);
    };
    let even = (connections as f64 / 40.0).max(1.0);
    line("answers", "1/s", &our.throughput, &their.throughput, Target::RatioAtLeast(0.95));
    line("furthest of mean", "held", &our.held, &their.held, Target::AtMost(even));
    line("furthest of mean", "% answered", &our.answered, &their.answered, Target::None);
    Ok(())
}

impl Seen {
    fn look(&mut self, site: &Site, connections: usize, limit: u64) -> io::Result<()> {
        let report = site.round_kept(connections, limit)?;
        self.throughput.push(throughput(&report));
        let (held, answered) = shares(&report);
        self.held.push(furthest(held));
        self.answered.push(furthest(answered) / (limit as f64 / 4.0) * 100.0);
        Ok(())
    }
}
