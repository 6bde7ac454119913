//! Crash loops: a crashing program is restarted with growing delays, uses no processor
//! time, and disturbs no other worker.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Error};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Times, Trial, fixture};
use crate::server::{Event, Place, Server, process};

/// The documented delay after the second death, and the longest delay.
const DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(30);
/// How late a start may be.
const SLACK: Duration = Duration::from_millis(300);
/// How much of one processor a crash loop may use, in percent.
const CPU: f64 = 2.0;

/// A program that exits at once, and beside it another with one worker of eight that dies
/// at once.
pub fn both(trial: &mut Trial) -> io::Result<()> {
    let span = trial.choose(Duration::from_secs(60), Duration::from_secs(5));
    let place = Place::new()?;
    let marker = place.join("was-ready");
    let marker = marker.to_str().ok_or_else(|| Error::other("an odd path"))?;
    let mut leaving = start(&["--count", "1"], &["once", marker])?;
    leaving.wait_for("its only readiness", |event| event.name == "ready")?;
    let gate = place.join("gate");
    let made = Command::new("mkfifo").arg(&gate).status()?;
    trial.require(made.success(), format_args!("a gate"));
    let name = gate.to_str().ok_or_else(|| Error::other("an odd path"))?;
    let mut failing = start(&["--count", "8"], &["failing", name])?;
    failing.wait_for("a current generation", |event| event.name == "current")?;
    let monitor = failing.monitor(1).ok_or_else(|| Error::other("nameless"))?;
    let before = process::children(monitor);

    // Its first worker waits for this gate; later ones find no gate.
    let passed = File::options().write(true).open(&gate)?;
    fs::remove_file(&gate)?;
    drop(passed);
    let begun = Instant::now();
    let used = [used(&leaving), used(&failing)];
    leaving.listen_until(begun + span);
    failing.listen_until(begun + span);
    let after = process::children(monitor);
    let share = |server: &Server, used: Duration| {
        100.0 * self::used(server).saturating_sub(used).as_secs_f64() / span.as_secs_f64()
    };
    let shares = [share(&leaving, used[0]), share(&failing, used[1])];

    trial.note(format_args!("{} s", span.as_secs()));
    judge_starts(trial, "program", &moments(&leaving, "died"), &moments(&leaving, "started"));
    judge_starts(trial, "worker", &moments(&failing, "died"), &moments(&failing, "respawn"));
    for share in shares {
        trial.require(share < CPU, format_args!("{share:.2} % CPU"));
    }
    let others = failing.events().iter().filter(|event| event.slot.is_some_and(|slot| slot != 1));
    trial.none("others that died", others.count());
    let kept = before.iter().filter(|pid| after.contains(pid)).count();
    trial.require(kept >= 7, format_args!("{kept} of 8 as before"));
    let mut took = Times::default();
    took.push(stop(leaving)?);
    took.push(stop(failing)?);
    trial.within(Duration::from_secs(1), "SIGTERM to the end", &took);
    Ok(())
}

fn start(options: &[&str], words: &[&str]) -> io::Result<Server> {
    let words = fixture::command(words)?;
    let words: Vec<&OsStr> = words.iter().map(|word| word.as_os_str()).collect();
    Server::start(options, &words)
}

/// The processor time of a tree, including reaped processes.
fn used(server: &Server) -> Duration {
    process::tree(server.pid()).into_iter().map(process::processor_time).sum()
}

/// The times of these events.
fn moments(server: &Server, name: &str) -> Vec<Instant> {
    let is_it = |event: &&Event| event.name == name;
    server.events().iter().filter(is_it).map(|event| event.at).collect()
}

/// Compares the delay after each death with the documented one.
fn judge_starts(trial: &mut Trial, what: &str, deaths: &[Instant], starts: &[Instant]) {
    let mut off = Vec::new();
    for (place, death) in deaths.iter().enumerate() {
        let Some(start) = starts.iter().find(|start| *start >= death) else { continue };
        let waited = start.saturating_duration_since(*death);
        let due = match u32::try_from(place) {
            Ok(0) | Err(_) => Duration::ZERO,
            Ok(place) => (DELAY * 2_u32.saturating_pow(place - 1)).min(MAX_DELAY),
        };
        let (least, most) = (due.mul_f64(0.75), due.mul_f64(1.25) + SLACK);
        if waited + Duration::from_millis(5) < least || waited > most {
            off.push(format!("{} ms for {} ms", waited.as_millis(), due.as_millis()));
        }
    }
    trial.note(format_args!("{what} died {} times", deaths.len()));
    trial.none("off schedule", off.len());
    off.iter().for_each(|wait| trial.note(wait));
    trial.require(deaths.len() >= 4, format_args!("{} starts", starts.len()));
}

/// Stops a server and says how long that took.
fn stop(mut server: Server) -> io::Result<Duration> {
    let asked = Instant::now();
    server.signal("TERM")?;
    Ok(server.wait_for_end()?.saturating_duration_since(asked))
}
