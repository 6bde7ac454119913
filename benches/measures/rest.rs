//! What a server is at rest: the memory of each of its processes, and its system calls.

use std::fs;
use std::io::{self, Error};
use std::time::{Duration, Instant};

use super::Table;
use super::pool::Pool;
use super::site::{Site, WORKERS};
use super::table::Target;
use crate::load::Dialect;
use crate::server::{self, Place, Strace, process};

/// How long it is left alone.
const SPAN: Duration = Duration::from_secs(5);
/// Time for what a start leaves to do.
const REST: Duration = Duration::from_millis(1_500);
/// How many reloads there are before the second look.
const RELOADS: usize = 100;

/// Memory of main, monitor and worker, of programs and of the library; beside the parent of a
/// bare loop and its worker.
pub fn footprint(table: &mut Table) -> io::Result<()> {
    let (programs, bare) = (Pool::programs(WORKERS)?, Pool::c("bare", WORKERS)?);
    let parent = bare.processes();
    let [main, monitor] = programs.processes()[..] else {
        return Err(Error::other("no main and monitor"));
    };
    let bare_parent = parent.first().copied().unwrap_or(0);
    weigh(table, "main", (main, bare_parent), (256.0, 64.0))?;
    weigh(table, "monitor of -x", (monitor, bare_parent), (f64::INFINITY, f64::INFINITY))?;
    programs.drain()?;
    let basic = server::example("basic")?;
    let mut site = Site::panzer(&[basic.as_ref()], Dialect::Line, 0)?;
    let tree = process::tree(site.server()?.pid());
    let no_limit = (f64::INFINITY, f64::INFINITY);
    if let [_, monitor, worker, ..] = tree[..] {
        let bare_worker = process::children(bare_parent).first().copied().unwrap_or(0);
        weigh(table, "monitor, basic", (monitor, bare_parent), no_limit)?;
        weigh(table, "worker, basic", (worker, bare_worker), no_limit)?;
    }
    bare.drain()?;
    site.stop()
}

fn weigh(
    table: &mut Table,
    name: &str,
    (pid, bare): (u32, u32),
    (resident, private): (f64, f64),
) -> io::Result<()> {
    let gone = || Error::other("a process is gone");
    let (ours, theirs) =
        (process::kibibytes(pid).ok_or_else(gone)?, process::kibibytes(bare).ok_or_else(gone)?);
    let limits = [resident, f64::INFINITY, private, f64::INFINITY];
    for (index, what) in
        ["resident", "proportional", "private", "private, dirty"].into_iter().enumerate()
    {
        let target =
            if limits[index].is_finite() { Target::AtMost(limits[index]) } else { Target::None };
        let (our, their) = ([ours[index] as f64], [theirs[index] as f64]);
        table.compare(&format!("{name}: {what}"), "KiB", &our, ("bare", &their), target);
    }
    Ok(())
}

/// System calls of the whole tree in some seconds, before and after reloads, and what main
/// has grown by.
pub fn idle(table: &mut Table) -> io::Result<()> {
    let basic = server::example("basic")?;
    let mut site = Site::panzer(&[basic.as_ref()], Dialect::Line, 0)?;
    let first = calls(&mut site)?;
    let before = process::kibibytes(site.server()?.pid());
    for _ in 0..RELOADS {
        super::reload::reload(site.server()?)?;
    }
    let second = calls(&mut site)?;
    let after = process::kibibytes(site.server()?.pid());
    site.stop()?;
    let what = format!("idle tree, {} s", SPAN.as_secs());
    table.figure(&what, "calls", &[first], Target::AtMost(0.0));
    let what = format!("the same after {RELOADS} reloads");
    table.figure(&what, "calls", &[second], Target::AtMost(0.0));
    if let (Some([_, _, before, _]), Some([_, _, after, _])) = (before, after) {
        let grown = after as f64 - before as f64;
        table.figure("main's private memory, grown by", "KiB", &[grown], Target::AtMost(0.0));
    }
    Ok(())
}

/// The calls that return while nothing happens.
fn calls(site: &mut Site) -> io::Result<f64> {
    let server = site.server()?;
    server.listen_until(Instant::now() + REST);
    let place = Place::new()?;
    let strace = Strace::attach(&process::tree(server.pid()), &[], place.join("trace"))?;
    let strace = strace.ok_or_else(|| Error::other("no strace"))?;
    server.listen_until(Instant::now() + SPAN);
    let trace = fs::read_to_string(strace.detach()?)?;
    let has_returned = |line: &&str| line.contains(") = ") || line.contains(" --- ");
    Ok(trace.lines().filter(has_returned).count() as f64)
}
