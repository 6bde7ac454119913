//! Workers with a short lifetime, under load.

use std::collections::BTreeSet;
use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{CONNECT, Family, Program, Scene, Trial};
use crate::server::{self, Place};

const WORKERS: usize = 4;
/// The interval between two status requests.
const PERIOD: Duration = Duration::from_millis(20);

/// Every worker lives for two seconds, for a minute.
pub fn short(trial: &mut Trial) -> io::Result<()> {
    let span = trial.choose(Duration::from_secs(60), Duration::from_secs(5));
    let place = Place::new()?;
    let pid_file = place.join("panzer.pid").display().to_string();
    let count = WORKERS.to_string();
    let options =
        &["--count", &count, "--lifetime", "2", "--probation", "0", "--quiet", "--pid", &pid_file];
    let mut scene = Scene::open(Program::Http(1), Family::Tcp, options)?;
    let load = scene.load(4, CONNECT);
    let (mut looks, mut fewest, mut most) = (0, WORKERS, 0);
    let end = Instant::now() + span;
    while Instant::now() < end {
        let (ready, rows) = look(&pid_file)?;
        (looks, fewest, most) = (looks + 1, fewest.min(ready), most.max(rows));
        scene.server.listen_until(Instant::now() + PERIOD);
    }
    let report = load.finish()?;
    let events = scene.server.events().iter();
    let recycled = events.filter(|event| event.name == "respawn").count();
    trial.note(format_args!("{} s: {recycled} workers were recycled", span.as_secs()));
    trial.require(recycled >= WORKERS, "which is all of them");
    trial.note(format_args!("{} requests", report.answers()));
    trial.none("failed", report.failures());
    let ready = format_args!("in {looks} looks never fewer than {fewest} of {WORKERS} ready");
    trial.require(fewest == WORKERS && looks > 0, ready);
    let rows = format_args!("never more than {most} workers");
    trial.require(most <= WORKERS + 1, rows);
    let lost = scene.server.events().iter().filter(|event| event.name == "died").count();
    trial.none("lost", lost);
    let status = scene.server.stop()?;
    trial.require(status.success(), status);
    Ok(())
}

/// The number of slots with a ready worker, and the number of workers.
fn look(pid_file: &str) -> io::Result<(usize, usize)> {
    let mut command = Command::new(server::panzerctl());
    command.args(["--pid", pid_file, "status", "--json"]).stdin(Stdio::null());
    let shown = String::from_utf8_lossy(&command.output()?.stdout).into_owned();
    let rows: Vec<_> = shown.split(r#"{"slot":"#).skip(1).collect();
    let serves = |row: &&&str| {
        [r#""state":"idle""#, r#""state":"busy""#].iter().any(|state| row.contains(state))
    };
    let slots: BTreeSet<_> = rows.iter().filter(serves).map(|row| row.split(',').next()).collect();
    let there = rows.iter().filter(|row| !row.contains(r#""pid":null"#)).count();
    Ok((slots.len(), there))
}
