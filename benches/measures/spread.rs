//! How many short connections each of four workers accepts.

use std::ffi::OsStr;
use std::io;

use super::Table;
use crate::load::{Dialect, Load, Plan, Report, TIMEOUT, Target};
use crate::server::{self, Server};

const WORKERS: usize = 4;
/// The least and the greatest share of a worker, compared with the mean.
const LEAST: f64 = 0.5;
const MOST: f64 = 2.0;
/// The number of concurrent clients: one, and many.
const CLIENTS: [usize; 2] = [1, 16];

/// Workers that wait in `ctx.accept`.
pub fn accept(table: &mut Table) -> io::Result<()> {
    CLIENTS.iter().try_for_each(|clients| one(table, "basic", Dialect::Line, *clients))
}

/// Workers with an event loop of their own.
pub fn http(table: &mut Table) -> io::Result<()> {
    CLIENTS.iter().try_for_each(|clients| one(table, "http", Dialect::Http, *clients))
}

fn one(table: &mut Table, program: &str, dialect: Dialect, clients: usize) -> io::Result<()> {
    let connections = table.choose(10_000, 2_000);
    let target = Target::Tcp(server::free_address()?);
    let (path, address) = (server::example(program)?, target.address());
    let options = &["--count", "4", "--probation", "0", "--quiet"];
    let mut server = Server::start(options, &[path.as_ref(), OsStr::new(&address)])?;
    server.wait_for("a current generation", |event| event.name == "current")?;
    let load = Load::start(&Plan {
        target,
        dialect,
        timeout: TIMEOUT,
        clients,
        requests_per_connection: 1,
        limit: Some(connections.into()),
    });
    load.wait_for(connections.into())?;
    let report = load.finish()?;
    server.stop()?;
    judge(table, &format!("spread, {program}, {clients} clients"), &report);
    Ok(())
}

fn judge(table: &mut Table, what: &str, report: &Report) {
    let mut taken = [0_u32; WORKERS];
    for answer in report.records().iter().filter_map(|record| record.outcome.ok()) {
        if let Some(count) = taken.get_mut(usize::from(answer.slot).wrapping_sub(1)) {
            *count += 1;
        }
    }
    let mean = f64::from(taken.iter().sum::<u32>()) / 4.0;
    let share = |count: Option<&u32>| f64::from(*count.unwrap_or(&0)) / mean;
    let (_, latency) = report.latency(&[]);
    table.note(&format!("{what}: each took"), format_args!("{taken:?}, {latency} ms"));
    table.at_least(&format!("{what}: least, of the mean"), share(taken.iter().min()), LEAST);
    table.at_most(&format!("{what}: most, of the mean"), share(taken.iter().max()), MOST);
    table.at_most(&format!("{what}: failures"), report.failures() as f64, 0.0);
}
