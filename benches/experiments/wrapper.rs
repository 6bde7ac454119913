//! Wrappers under `-x`: the children of a dead wrapper are ended, and no other process is.

use std::ffi::OsStr;
use std::io::{self, Error};
use std::time::{Duration, Instant};

use super::Trial;
use crate::server::{self, Server, Watch, process};

const COUNT: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(1);
const OPTIONS: &[&str] = &[
    "--exec",
    "--count",
    "8",
    "--timeout",
    "1",
    "--delay",
    "0",
    "--ready",
    "0",
    "--probation",
    "0",
];
/// How long children of a dead wrapper may live: SIGTERM at once, SIGINT at the timeout,
/// SIGKILL two seconds later; and the delays of a busy machine.
const LIMIT: Duration = TIMEOUT.saturating_add(Duration::from_millis(2_500));
/// A wrapper that starts its server, waits for it and exits with its status. In every fourth
/// slot the server ignores SIGTERM and SIGINT.
const WRAPPER: &str = r#"[ $((PANZER_SLOT % 4)) = 0 ] && trap "" TERM INT; sleep 1000; exit $?"#;
/// The longest from one death to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// The ways of dying.
#[derive(Clone, Copy)]
enum Death {
    WrapperKilled,
    WrapperAsked,
    ServerKilled,
}

/// A thousand deaths.
pub fn deaths(trial: &mut Trial) -> io::Result<()> {
    let times = trial.choose(1_000, 60);
    let words: [&OsStr; 3] = ["sh".as_ref(), "-c".as_ref(), WRAPPER.as_ref()];
    let mut server = Server::start(OPTIONS, &words)?;
    server.wait_for("a current generation", |event| event.name == "current")?;
    let monitor = server.monitor(1).ok_or_else(|| Error::other("it names no monitor"))?;
    let watch = Watch::start(server.pid());
    let mut struck = 0;
    while struck < times {
        let ways = [Death::WrapperKilled, Death::WrapperAsked, Death::ServerKilled];
        let way = trial.pick(&ways);
        struck += u32::from(strike(trial, monitor, way));
        let pause = trial.moment(PAUSE);
        server.listen_until(Instant::now() + pause);
    }
    server.listen_until(Instant::now() + LIMIT);
    let (wanted, there) = (wrappers(monitor).len(), process::tree(server.pid()).len());
    let seen = watch.finish();
    trial.note(format_args!("{times} deaths"));
    let outlived = format_args!("what they left was there for {} ms", seen.left.as_millis());
    trial.require(seen.left <= LIMIT, outlived);
    trial.require(seen.looks > 0, format_args!("in {} looks", seen.looks));
    trial.require(wanted == COUNT, format_args!("{wanted} wrappers in the end"));
    // Main, the monitor, and each wrapper with its server.
    trial.require(there == 2 + 2 * COUNT, format_args!("{there} processes in the end"));
    let asked = Instant::now();
    server.signal("TERM")?;
    let over = server.wait_for_end()?.saturating_duration_since(asked);
    trial.require(over <= LIMIT, format_args!("stop {} ms", over.as_millis()));
    Ok(())
}

/// The living wrappers that lead their group.
fn wrappers(monitor: u32) -> Vec<u32> {
    let leads =
        |pid: &u32| process::look(*pid).is_some_and(|look| look.group == *pid && look.state != 'Z');
    process::children(monitor).into_iter().filter(leads).collect()
}

/// Kills one; returns whether there was one.
fn strike(trial: &mut Trial, monitor: u32, way: Death) -> bool {
    let wrappers = wrappers(monitor);
    if wrappers.is_empty() {
        return false;
    }
    let wrapper = trial.pick(&wrappers);
    let (victim, signal) = match way {
        Death::WrapperKilled => (Some(wrapper), "KILL"),
        Death::WrapperAsked => (Some(wrapper), "TERM"),
        Death::ServerKilled => (process::listed_children(wrapper).first().copied(), "KILL"),
    };
    // It may have just died because of the previous death.
    victim.is_some_and(|victim| server::kill(victim, signal).is_ok())
}
