//! Event-driven workers with long-lived connections on one shared socket, beside SO_REUSEPORT.
//!
//! Every round has connections of its own, which are all opened before the first request: so
//! idle workers race for them. Each client has one, so the first answers tell how many each
//! worker holds.

use std::io::{self, Error};
use std::time::Duration;

use super::Table;
use super::fixture;
use super::site::{Site, WORKERS, furthest, shares, throughput};
use super::table::Target;
use crate::load::{Dialect, TIMEOUT};
use crate::server::{self, process};

const ROUNDS: usize = 9;
/// How long the handler takes, in milliseconds.
const DELAY: u32 = 2;
const RELOADS: u32 = 100;
/// How many connections each worker holds that ask for nothing, and how often one is killed.
const HELD: usize = 20;
const RESPAWNS: usize = 5;

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

/// A poll loop whose handler takes 5 ms; each worker holds connections that ask for nothing, and
/// one of them is killed and started again: how many connections of one request each are answered
/// before that, and after it.
pub fn respawned(table: &mut Table) -> io::Result<()> {
    let own = std::env::current_exe()?;
    let command = [own.as_os_str(), fixture::WORD.as_ref(), "loop".as_ref()];
    let mut site = Site::panzer(&command, Dialect::Http, 5)?;
    let monitor = site.server()?.monitor(1).ok_or_else(|| Error::other("no monitor"))?;
    let target = site.target.clone();
    let open = |_| target.connect(TIMEOUT);
    let mut held = (0..WORKERS * HELD).map(open).collect::<io::Result<Vec<_>>>()?;
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for _ in 0..RESPAWNS {
        before.push(throughput(&site.round(16, 600)?));
        let victim = process::children(monitor)[0];
        server::kill(victim, "KILL")?;
        site.server()?.wait_for("a replacement", |event| event.name == "respawn")?;
        after.push(throughput(&site.round(16, 600)?));
        held.extend((0..HELD).map(open).collect::<io::Result<Vec<_>>>()?);
    }
    drop(held);
    site.stop()?;
    table.compare("answers after a respawn", "1/s", &after, ("before", &before), Target::None);
    Ok(())
}

/// Reloads while clients keep their connections for as long as they may: what is lost, and what
/// the workers of each new generation hold once all clients are there.
pub fn reloads(table: &mut Table, connections: usize) -> io::Result<()> {
    let http = server::example("http")?;
    let mut site = Site::panzer(&[http.as_ref()], Dialect::Http, DELAY)?;
    let load = site.load(connections, u32::MAX, Duration::ZERO);
    for _ in 0..RELOADS {
        load.wait_for(load.done() + 4 * connections as u64)?;
        super::reload::reload(site.server()?)?;
    }
    load.wait_for(load.done() + 4 * connections as u64)?;
    let report = load.finish()?;
    site.stop()?;
    let of = |generation| shares(&report, |answer| answer.generation == generation).0;
    let off: Vec<_> = (2..RELOADS + 2).map(|generation| furthest(of(generation))).collect();
    let what = format!("http, {connections} kept, after each reload: furthest");
    table.figure(&what, "held", &off, Target::AtMost(even(connections)));
    let what = format!("http, {connections} kept: lost of {RELOADS} reloads");
    table.figure(&what, "requests", &[report.failures() as f64], Target::AtMost(0.0));
    Ok(())
}

/// How far from the mean a worker may be: 10 %, or one connection.
fn even(connections: usize) -> f64 {
    (connections as f64 / 40.0).max(1.0)
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
    line("answers", "1/s", &our.throughput, &their.throughput, Target::RatioAtLeast(0.95));
    line("furthest of mean", "held", &our.held, &their.held, Target::AtMost(even(connections)));
    line("furthest of mean", "% answered", &our.answered, &their.answered, Target::None);
    Ok(())
}

impl Seen {
    fn look(&mut self, site: &Site, connections: usize, limit: u64) -> io::Result<()> {
        let report = site.round_kept(connections, limit)?;
        self.throughput.push(throughput(&report));
        let (held, answered) = shares(&report, |_| true);
        self.held.push(furthest(held));
        self.answered.push(furthest(answered) / (limit as f64 / 4.0) * 100.0);
        Ok(())
    }
}
