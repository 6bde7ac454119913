//! Reloads and restarts in place under load: what is lost, and how long requests take meanwhile.
//!
//! A change lasts from its signal until the last process of the old generation is gone, or
//! until main says that it is another program. Then comes as long a time without one, so that
//! requests inside and outside are of the same minute. Sixteen clients, without a pause, or paced
//! so that all together they take about a third of a processor.

use std::io::{self, Error};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::Table;
use super::site::Site;
use super::table::Target;
use crate::load::{Dialect, Load};
use crate::server::{self, Server};

/// How many rounds there are, and changes in each.
const ROUNDS: usize = 5;
const CHANGES: usize = 20;
const CLIENTS: usize = 16;
/// How long a paced client rests before each request.
pub const PACE: Duration = Duration::from_millis(6);
/// How many requests come before the first change.
const WARM_UP: u64 = 500;

/// What is done to a server.
#[derive(Clone, Copy)]
enum Change {
    Reload,
    Restart,
}

/// Workers of one connection.
pub fn one_connection(table: &mut Table, rest: Duration) -> io::Result<()> {
    let program = ("basic", Dialect::Line, 1);
    under_load(table, "reload, one-connection", program, Change::Reload, rest)
}

/// Event loops, a connection for each request.
pub fn http(table: &mut Table, rest: Duration) -> io::Result<()> {
    under_load(table, "reload, http", ("http", Dialect::Http, 1), Change::Reload, rest)
}

/// The same, ten requests on a connection.
pub fn http_kept(table: &mut Table, rest: Duration) -> io::Result<()> {
    under_load(table, "reload, http kept", ("http", Dialect::Http, 10), Change::Reload, rest)
}

/// The same while main executes itself.
pub fn restart(table: &mut Table, rest: Duration) -> io::Result<()> {
    let program = ("http", Dialect::Http, 10);
    under_load(table, "restart in place, http kept", program, Change::Restart, rest)
}

fn under_load(
    table: &mut Table,
    name: &str,
    (program, dialect, requests): (&str, Dialect, u32),
    change: Change,
    rest: Duration,
) -> io::Result<()> {
    let path = server::example(program)?;
    let mut site = Site::panzer(&[path.as_ref()], dialect, 0)?;
    let (mut inside, mut outside, mut lost) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let load = site.load(CLIENTS, requests, rest);
        let windows = change.several(site.server()?, &load)?;
        let report = load.finish()?;
        let (within, without) = report.latency(&windows);
        inside.push(within.p99.as_secs_f64() * 1e3);
        outside.push(without.p99.as_secs_f64() * 1e3);
        lost += report.failures();
    }
    site.stop()?;
    let limit = match change {
        Change::Reload => 1.1,
        Change::Restart => 1.2,
    };
    let name = if rest.is_zero() { name.into() } else { format!("{name}, paced") };
    let what = format!("{name}: p99 inside");
    table.compare(&what, "ms", &inside, ("outside", &outside), Target::RatioAtMost(limit));
    let what = format!("{name}: lost of {}", ROUNDS * CHANGES);
    table.figure(&what, "requests", &[lost as f64], Target::AtMost(0.0));
    Ok(())
}

impl Change {
    /// Makes so many, each followed by as long a rest; returns when they were.
    fn several(self, server: &mut Server, load: &Load) -> io::Result<Vec<Range<Instant>>> {
        load.wait_for(WARM_UP)?;
        let mut windows = Vec::new();
        for _ in 0..CHANGES {
            let asked = Instant::now();
            match self {
                Self::Reload => reload(server)?,
                Self::Restart => restart_in_place(server)?,
            }
            let over = Instant::now();
            windows.push(asked..over);
            server.listen_until(over + (over - asked));
        }
        Ok(windows)
    }
}

/// Reloads, and waits until the old generation is gone.
pub(super) fn reload(server: &mut Server) -> io::Result<()> {
    let is_current = |event: &&server::Event| event.name == "current";
    let last = server.events().iter().rfind(is_current);
    let old = last.and_then(|event| event.pid).ok_or_else(|| Error::other("no generation"))?;
    server.signal("USR1")?;
    server.wait_for("a new generation", |event| event.name == "current")?;
    server.wait_for("the old one's end", |event| event.is_of("died", old)).map(drop)
}

fn restart_in_place(server: &mut Server) -> io::Result<()> {
    server.signal("USR2")?;
    server.wait_for("a restart", |event| event.name == "restarted").map(drop)
}
