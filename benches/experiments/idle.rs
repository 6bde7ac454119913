//! An idle server: no system calls, and little memory.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::{CONNECT, Family, Program, Scene, Trial};
use crate::server::{Place, Strace, process};

/// How long the load before it lasts.
const WORK: Duration = Duration::from_secs(1);

pub fn nothing(trial: &mut Trial) -> io::Result<()> {
    rest(trial, 4, &["--count", "4", "--probation", "0", "--quiet"])
}

/// The same with a hang timeout, after workers were busy.
pub fn watched(trial: &mut Trial) -> io::Result<()> {
    rest(trial, 8, &["--count", "8", "--hang-timeout", "1", "--probation", "0", "--quiet"])
}

fn rest(trial: &mut Trial, workers: usize, options: &[&str]) -> io::Result<()> {
    let span = trial.choose(Duration::from_secs(60), Duration::from_secs(5));
    let mut scene = Scene::open(Program::Basic, Family::Tcp, options)?;
    for _ in 0..10 {
        let old = scene.monitor()?;
        scene.reload()?;
        scene.wait_for_death(old)?;
    }
    let load = scene.load(4, CONNECT);
    scene.server.listen_until(Instant::now() + WORK);
    let report = load.finish()?;
    trial.none("failed", report.failures());
    // A monitor that watches busy workers may check once more.
    scene.server.listen_until(Instant::now() + 2 * WORK);
    let tree = process::tree(scene.server.pid());
    let resident = |place: usize| process::weigh(tree[place]).map_or(0, |weight| weight.resident);
    trial.note(format_args!("after 10 reloads and {} requests", report.answers()));
    trial.require(tree.len() == 2 + workers, format_args!("{} processes", tree.len()));
    trial.note(format_args!("main {} KiB resident", resident(0)));
    trial.note(format_args!("monitor {}, worker {}", resident(1), resident(tree.len() - 1)));
    let used =
        |tree: &[u32]| -> Duration { tree.iter().copied().map(process::processor_time).sum() };
    let before = used(&tree);
    let place = Place::new()?;
    let strace = Strace::attach(&tree, &[], place.join("trace"))?;
    scene.server.listen_until(Instant::now() + span);
    trial.note(format_args!("{} s: {:?} CPU", span.as_secs(), used(&tree).saturating_sub(before)));
    match strace {
        Some(strace) => {
            let calls = count_calls(&fs::read_to_string(strace.detach()?)?);
            trial.none("system calls", calls);
        }
        None => trial.note("no strace to count system calls"),
    }
    let status = scene.server.stop()?;
    trial.require(status.success(), status);
    Ok(())
}

/// The number of system calls that have returned; those that blocked all the time have not.
fn count_calls(trace: &str) -> usize {
    trace.lines().filter(|line| line.contains(") = ") || line.contains(" --- ")).count()
}
