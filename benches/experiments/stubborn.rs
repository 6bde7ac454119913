//! A worker that ignores signals, while panzer gets many: the worker gets each of SIGTERM,
//! SIGINT and SIGKILL once, and in time.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::start::Stream;
use super::{Times, Trial};
use crate::server::{self, Place, Server, process};

/// From one step of the escalation to the next: the example's timeout, and main's option.
const STEP: Duration = Duration::from_secs(2);
/// How much earlier or later a step may come.
const SLACK: Duration = Duration::from_millis(500);
/// None of these signals moves a deadline.
const RAIN: &[&str] = &["TTIN", "WINCH", "CHLD", "USR1", "HUP", "VTALRM"];
/// Signals without effect on a monitor.
const DRIZZLE: &[&str] = &["TTIN", "WINCH", "CHLD"];

/// The signals of the worker, and when.
#[derive(Default)]
struct Sum {
    interrupted: Times,
    killed: Times,
    wrong: Vec<String>,
    off: usize,
    traced: u32,
    signals: u32,
}

pub fn stop(trial: &mut Trial) -> io::Result<()> {
    let (times, mut sum) = (trial.choose(5, 1), Sum::default());
    for round in 0..times {
        // Once main escalates, and once the monitor, whose timeout is shorter.
        let options: &[&str] = if round % 2 == 0 { &["--timeout", "2"] } else { &[] };
        one(options, &mut sum)?;
    }
    let Sum { interrupted, killed, traced, signals, .. } = &sum;
    trial.note(format_args!("{times} stops under {signals} signals at 1 kHz, {traced} traced"));
    trial.note(format_args!("SIGINT after {interrupted}, the end after {killed}"));
    trial.none("early or late", sum.off);
    let wrong = sum.wrong.len();
    trial.none("not TERM, INT, KILL once each", wrong);
    sum.wrong.iter().for_each(|seen| trial.note(seen));
    Ok(())
}

fn one(options: &[&str], sum: &mut Sum) -> io::Result<()> {
    let place = Place::new()?;
    let mut server = Server::start(options, &[server::example("stubborn")?.as_ref()])?;
    server.wait_for("a current generation", |event| event.name == "current")?;
    let monitor = server.monitor(1).ok_or_else(|| io::Error::other("nameless"))?;
    let [worker] = process::children(monitor)[..] else {
        return Err(io::Error::other("there is not exactly one worker"));
    };
    let trace = Trace::start(worker, &place)?;
    let rain = Stream::start(vec![server.pid()], RAIN.to_vec(), Duration::from_millis(1));
    let drizzle = Stream::start(vec![monitor], DRIZZLE.to_vec(), Duration::from_millis(1));

    let asked = Instant::now();
    server.signal("TERM")?;
    let gone = server.wait_for_end();
    sum.signals += rain.finish() + drizzle.finish();
    let killed = gone?.saturating_duration_since(asked);
    sum.off += usize::from(is_off(killed, 2 * STEP));
    sum.killed.push(killed);
    if let Some(trace) = trace {
        trace.judge(sum)?;
    }
    let status = server.status()?.code();
    if status != Some(4) {
        sum.wrong.push(format!("status {status:?} although a worker was killed"));
    }
    Ok(())
}

fn is_off(time: Duration, expected: Duration) -> bool {
    time.abs_diff(expected) > SLACK
}

/// strace on the worker, if it is installed.
struct Trace {
    strace: server::Strace,
}

impl Trace {
    fn start(worker: u32, place: &Place) -> io::Result<Option<Self>> {
        let strace = server::Strace::attach(&[worker], &["-ttt"], place.join("trace"))?;
        Ok(strace.map(|strace| Self { strace }))
    }

    /// Checks the signals of the worker until its end.
    fn judge(self, sum: &mut Sum) -> io::Result<()> {
        let path = self.strace.wait()?;
        let text = fs::read_to_string(path)?;
        let mut seen: Vec<_> = text.lines().filter_map(Delivery::parse).collect();
        // Main kills the monitor first; the kernel then sends the worker its PR_SET_PDEATHSIG
        // signal once more, just before main kills the worker: prctl(2).
        if let [.., before, last] = &seen[..]
            && (before.signal, last.signal) == ("SIGTERM", "SIGKILL")
            && last.at - before.at < SLACK.as_secs_f64()
        {
            seen.remove(seen.len() - 2);
        }
        let names: Vec<_> = seen.iter().map(|delivery| delivery.signal).collect();
        if names != ["SIGTERM", "SIGINT", "SIGKILL"] {
            sum.wrong.push(format!("{names:?}"));
            return Ok(());
        }
        let interrupted = Duration::from_secs_f64(seen[1].at - seen[0].at);
        sum.off += usize::from(is_off(interrupted, STEP));
        sum.interrupted.push(interrupted);
        sum.traced += 1;
        Ok(())
    }
}

/// One signal that strace saw arrive.
struct Delivery<'a> {
    at: f64,
    signal: &'a str,
}

impl<'a> Delivery<'a> {
    /// Reads `PID 123.456 --- SIGTERM {...} ---` or `... +++ killed by SIGKILL +++`.
    fn parse(line: &'a str) -> Option<Self> {
        let (at, rest) = line.split_once(" --- ").or_else(|| line.split_once(" +++ killed by "))?;
        let at = at.split_whitespace().last()?.parse().ok()?;
        Some(Self { at, signal: rest.split_whitespace().next()? })
    }
}
