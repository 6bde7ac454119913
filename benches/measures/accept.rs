//! Workers of one connection at a time, in a blocking accept on the one shared socket.

use std::io;

use super::Table;
use super::site::{Site, furthest, shares, throughput};
use super::table::Target;
use crate::load::Dialect;
use crate::server;

const ROUNDS: usize = 21;
/// Connections in a round, of many clients and of one.
const MANY: u64 = 8_000;
const FEW: u64 = 400;
const CLIENTS: usize = 16;

/// What was seen, round by round.
#[derive(Default)]
struct Seen {
    throughput: Vec<f64>,
    off: Vec<f64>,
    alone: Vec<f64>,
}

/// `examples/basic` beside the same in C.
pub fn one_connection(table: &mut Table) -> io::Result<()> {
    let basic = server::example("basic")?;
    let ours = Site::panzer(&[basic.as_ref()], Dialect::Line, 0)?;
    let theirs = Site::c("accept", &["4"], Dialect::Line)?;
    let (mut our, mut their) = (Seen::default(), Seen::default());
    for _ in 0..ROUNDS {
        our.look(&ours)?;
        their.look(&theirs)?;
    }
    ours.stop()?;
    theirs.stop()?;
    let target = Target::RatioAtLeast(0.98);
    let baseline = ("accept", &their.throughput[..]);
    table.compare("one-connection, 16 clients", "1/s", &our.throughput, baseline, target);
    let (what, baseline) = ("one-connection, furthest of mean", ("accept", &their.off[..]));
    table.compare(what, "%", &our.off, baseline, Target::None);
    let (what, baseline) = ("wake latency: connect to answer", ("accept", &their.alone[..]));
    table.compare(what, "µs", &our.alone, baseline, Target::None);
    Ok(())
}

impl Seen {
    fn look(&mut self, site: &Site) -> io::Result<()> {
        let report = site.round(CLIENTS, MANY)?;
        self.throughput.push(throughput(&report));
        let (_, answered) = shares(&report, |_| true);
        self.off.push(furthest(answered) / (MANY as f64 / 4.0) * 100.0);
        let (_, alone) = site.round(1, FEW)?.latency(&[]);
        self.alone.push(alone.p50.as_secs_f64() * 1e6);
        Ok(())
    }
}
