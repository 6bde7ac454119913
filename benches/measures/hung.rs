//! One worker of four hangs: how long new connections wait for another.

use std::io::{self, Error, Write as _};
use std::time::Instant;

use super::Table;
use super::fixture;
use super::site::{Site, WORKERS};
use super::table::{Spread, Target};
use crate::load::{Dialect, Question, TIMEOUT};
use crate::server::{self, process};

/// Connections that are held when the worker stops, and those that come then.
const HELD: usize = 8;
const TIMES: usize = 40;
const ROUNDS: usize = 5;

/// The worker that holds the fewest is stopped, so that it is the one to take the next.
pub fn stopped(table: &mut Table) -> io::Result<()> {
    let http = server::example("http")?;
    let mut ours = Site::panzer(&[http.as_ref()], Dialect::Http, 0)?;
    let mut theirs = Site::c("events", &["4", "one", "timer", "0"], Dialect::Http)?;
    let monitor = ours.server()?.monitor(1).ok_or_else(|| Error::other("no monitor"))?;
    let (mut our, mut their) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our.push(longest(&mut ours, monitor)?);
        let parent = theirs.pid()?;
        their.push(longest(&mut theirs, parent)?);
    }
    ours.stop()?;
    theirs.stop()?;
    let what = "one of 4 stopped: longest wait";
    table.compare(what, "ms", &our, ("one socket", &their), Target::AtMost(20.0));
    Ok(())
}

/// A handler of one of them never ends, and uses its processor up. The others then take all that
/// comes, so that it holds the fewest.
pub fn busy(table: &mut Table) -> io::Result<()> {
    let own = std::env::current_exe()?;
    let command = [own.as_os_str(), fixture::WORD.as_ref(), "loop".as_ref()];
    let site = Site::panzer(&command, Dialect::Http, 0)?;
    let mut longest = Vec::new();
    for _ in 0..ROUNDS {
        let (mut held, mut waits) = (Vec::new(), Vec::new());
        for _ in 0..HELD + TIMES {
            let begun = Instant::now();
            let mut stream = site.target.connect(TIMEOUT)?;
            let answer = site.dialect.ask(&mut stream, false);
            answer.map_err(|failure| Error::other(format!("{failure:?}")))?;
            waits.push(begun.elapsed().as_secs_f64() * 1e3);
            held.push(stream);
            if held.len() == HELD {
                held[0].write_all(b"GET /hang HTTP/1.1\r\n\r\n")?;
            }
        }
        longest.push(Spread::of(&waits[HELD..]).most);
    }
    site.stop()?;
    table.figure("one of 4 busy for ever: longest wait", "ms", &longest, Target::AtMost(20.0));
    Ok(())
}

/// The longest of many, each asked and answered on a connection of its own, while others stay
/// open.
fn longest(site: &mut Site, parent: u32) -> io::Result<f64> {
    let open = |_| site.target.connect(TIMEOUT);
    let held = (0..HELD).map(open).collect::<io::Result<Vec<_>>>()?;
    // Every one of them is held by now: one that came later is answered.
    ask(site)?;
    let workers = process::children(parent);
    if workers.len() != WORKERS {
        return Err(Error::other(format!("{} workers", workers.len())));
    }
    let idlest = workers.iter().min_by_key(|pid| process::descriptors(**pid)).copied();
    let idlest = idlest.ok_or_else(|| Error::other("no worker"))?;
    server::kill(idlest, "STOP")?;
    let waits = (0..TIMES).map(|_| ask(site)).collect::<io::Result<Vec<_>>>();
    server::kill(idlest, "CONT")?;
    drop(held);
    Ok(Spread::of(&waits?).most)
}

/// How long it takes from connecting to the answer, in milliseconds.
fn ask(site: &Site) -> io::Result<f64> {
    let begun = Instant::now();
    let question = Question::ask(&site.target, site.dialect)?;
    question.answer().map_err(|failure| Error::other(format!("{failure:?}")))?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}
