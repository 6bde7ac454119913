//! What operators' questions cost, and how soon they are answered.

use std::io::{self, BufRead as _, BufReader, Error};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::Table;
use super::baseline;
use super::pool::{Filling, Pool};
use super::table::{Spread, Target};
use crate::server::{self, Place};

const ROUNDS: usize = 9;
/// How often each is asked in a round.
const TIMES: usize = 10;
/// How often each is asked at most while a pool fills.
const PROBES: usize = 200;
const FILLS: usize = 3;

/// `panzerctl status` of 1,000 workers, and one worker more or less, from the start of the
/// program to its end, beside a program that does nothing.
pub fn cost(table: &mut Table) -> io::Result<()> {
    let pool = Pool::library(1_000)?;
    let nothing = baseline::program("responder")?;
    for (what, words, target) in [
        ("panzerctl status, 1000 workers", &["status"][..], Target::AtMost(1.0)),
        ("panzerctl status --json", &["status", "--json"], Target::None),
        ("panzerctl status --metrics", &["status", "--metrics"], Target::None),
        ("panzerctl ready", &["ready"], Target::None),
    ] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(median(|| took(control(pool.pid_file(), words)))?);
            theirs.push(median(|| took(Command::new(&nothing)))?);
        }
        table.compare(what, "ms", &ours, ("empty program", &theirs), target);
    }
    for words in [["scale", "+1"], ["scale", "-1"]] {
        let figures = [took(control(pool.pid_file(), &words))?];
        table.figure(&format!("panzerctl {}", words.join(" ")), "ms", &figures, Target::None);
    }
    pool.drain().map(drop)
}

/// `panzerctl ready` while 10,000 workers start, in turns with a client of a bare responder.
pub fn ready(table: &mut Table) -> io::Result<()> {
    let place = Place::new()?;
    let socket = place.join("socket");
    let mut responder = Responder::start(&socket)?;
    let (mut ours, mut theirs, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..FILLS {
        let mut filling = Pool::begin(10_000)?;
        let (our, their) = probe(&mut filling, &socket)?;
        filling.finish()?.drain()?;
        ours.push(percentile(&our));
        theirs.push(percentile(&their));
        asked.push(our.len() as f64);
    }
    responder.stop()?;
    let target = Target::EitherAtMost(10.0, 2.0);
    let what = "panzerctl ready while 10000 start, p99";
    table.compare(what, "ms", &ours, ("responder", &theirs), target);
    table.figure("asked so often meanwhile", "times", &asked, Target::None);
    Ok(())
}

/// Asks both in turns until all workers are ready.
fn probe(filling: &mut Filling, socket: &Path) -> io::Result<(Vec<f64>, Vec<f64>)> {
    let client = baseline::program("responder")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    while ours.len() < PROBES && filling.is_going_on() {
        ours.push(took(control(filling.pid_file(), &["ready"]))?);
        let mut ask = Command::new(&client);
        ask.arg(socket).arg("ask");
        theirs.push(took(ask)?);
    }
    Ok((ours, theirs))
}

fn control(pid_file: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(server::panzerctl());
    command.arg("--pid").arg(pid_file).args(words);
    command
}

/// How long a command takes, in milliseconds; it may say no.
fn took(mut command: Command) -> io::Result<f64> {
    let begun = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    match status.code() {
        Some(0 | 1) => Ok(begun.elapsed().as_secs_f64() * 1e3),
        Some(_) | None => Err(Error::other(format!("{command:?}: {status}"))),
    }
}

fn median(once: impl Fn() -> io::Result<f64>) -> io::Result<f64> {
    let times = (0..TIMES).map(|_| once()).collect::<io::Result<Vec<_>>>()?;
    Ok(Spread::of(&times).median)
}

/// The 99th percentile.
fn percentile(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let index = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// The bare responder.
struct Responder(Child);

impl Responder {
    fn start(socket: &Path) -> io::Result<Self> {
        let mut command = Command::new(baseline::program("responder")?);
        let mut child = command.arg(socket).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or_else(|| Error::other("no output"))?;
        BufReader::new(output).read_line(&mut String::new())?;
        Ok(Self(child))
    }

    fn stop(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}
