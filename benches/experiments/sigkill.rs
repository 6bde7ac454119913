//! SIGKILL to main, to a monitor, or to both: no process is left.
//!
//! At a random moment of a start, a reload, a probation, a drain and a final stop, idle and
//! under load. The end of the pipe that all processes of the tree have as standard error
//! proves that no process is left.

use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::phases::{self, Hits, PHASES, PROBATION, Phase};
use super::{CONNECT, Family, Program, Scene, Times, Trial};
use crate::load::{Report, TIMEOUT, Target};
use crate::server::{self, Event, Seen, Watch};

const OPTIONS: &[&str] =
    &["--count", "2", "--probation", PROBATION, "--delay", "0", "--timeout", "5", "--quiet"];
/// How long the end of an idle tree may take.
const IDLE: Duration = Duration::from_secs(2);
/// How long the end of a busy tree may take: the timeout and the escalation.
const BUSY: Duration = Duration::from_secs(7);
const CLIENTS: usize = 8;

/// The process that is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Main,
    Monitor,
    MainThenMonitor,
    MonitorThenMain,
}

/// The sum of all runs.
#[derive(Default)]
struct Sum {
    idle: Times,
    busy: Times,
    idle_hits: Hits,
    busy_hits: Hits,
    too_late: usize,
    ports: usize,
    failures: usize,
    losses: usize,
    failed: Vec<String>,
    seen: Seen,
    bad_ends: usize,
}

pub fn main(trial: &mut Trial) -> io::Result<()> {
    let sum = many(trial, &[Victim::Main])?;
    judge_end(trial, &sum);
    Ok(())
}

pub fn both(trial: &mut Trial) -> io::Result<()> {
    let sum = many(trial, &[Victim::MainThenMonitor, Victim::MonitorThenMain])?;
    judge_end(trial, &sum);
    Ok(())
}

pub fn monitor(trial: &mut Trial) -> io::Result<()> {
    let sum = many(trial, &[Victim::Monitor])?;
    trial.note(format_args!("serves on or is gone after {} idle, {} busy", sum.idle, sum.busy));
    trial.none("requests failed", sum.failures);
    sum.failed.iter().for_each(|failed| trial.note(failed));
    trial.watched(&sum.seen);
    trial.none("ports left", sum.ports);
    trial.none("status not 0:", sum.bad_ends);
    Ok(())
}

fn judge_end(trial: &mut Trial, sum: &Sum) {
    trial.within(IDLE, "idle", &sum.idle);
    trial.within(BUSY, "busy", &sum.busy);
    trial.none("ports left", sum.ports);
    trial.note(format_args!("accepted and not answered {}", sum.losses));
}

fn many(trial: &mut Trial, victims: &[Victim]) -> io::Result<Sum> {
    let (times, mut sum) = (trial.choose(100, 10), Sum::default());
    for phase in PHASES.iter().copied().cycle().take(times) {
        let victim = trial.pick(victims);
        idle(trial, victim, phase, &mut sum)?;
        let victim = trial.pick(victims);
        busy(trial, victim, phase, &mut sum)?;
    }
    let Sum { idle_hits, busy_hits, too_late, .. } = &sum;
    trial.note(format_args!("{times} idle {idle_hits} and {times} busy runs {busy_hits}"));
    trial.note(format_args!("{too_late} were over before"));
    Ok(sum)
}

/// A run without clients.
fn idle(trial: &mut Trial, victim: Victim, phase: Phase, sum: &mut Sum) -> io::Result<()> {
    let mut scene = Scene::begin(Program::Basic, Family::Tcp, OPTIONS)?;
    let watch = watch(&scene, victim);
    match victim {
        Victim::Main => phases::wait_for_first_line(scene.server.pid())?,
        Victim::Monitor | Victim::MainThenMonitor | Victim::MonitorThenMain => {
            scene.server.wait_for("a start", |event| event.name == "started")?;
        }
    }
    phases::bring(trial, &mut scene, phase, false)?;
    let killed = strike(trial, &scene, victim, sum);
    let over = wait_until_over(&mut scene, &killed, victim, phase, sum)?;
    sum.idle.push(over.saturating_duration_since(killed.at));
    sum.idle_hits.count(phases::phase_at(scene.server.events(), killed.at));
    finish(scene, watch, phase, sum)
}

/// A run under load, which begins as soon as main has bound the port.
fn busy(trial: &mut Trial, victim: Victim, phase: Phase, sum: &mut Sum) -> io::Result<()> {
    let mut scene = Scene::begin(Program::Http(10), Family::Bound, OPTIONS)?;
    let watch = watch(&scene, victim);
    scene.server.wait_for("a start", |event| event.name == "started")?;
    let serves_on = victim == Victim::Monitor && phase != Phase::Stop;
    let load = scene.load(CLIENTS, if serves_on { TIMEOUT } else { CONNECT });
    if phase != Phase::Start {
        load.wait_for(16)?;
    }
    phases::bring(trial, &mut scene, phase, true)?;
    let killed = strike(trial, &scene, victim, sum);
    let over = wait_until_over(&mut scene, &killed, victim, phase, sum)?;
    sum.busy.push(over.saturating_duration_since(killed.at));
    sum.busy_hits.count(phases::phase_at(scene.server.events(), killed.at));
    let report = load.finish()?;
    note_failures(&report, serves_on, sum);
    finish(scene, watch, phase, sum)
}

/// If a generation goes on serving, no request may fail; if the port is closed, a connection
/// that was not accepted does not count.
fn note_failures(report: &Report, serves_on: bool, sum: &mut Sum) {
    let failures = if serves_on { report.failures() } else { report.losses() };
    sum.failures += failures;
    sum.losses += report.losses();
    if failures > 0 {
        sum.failed.push(report.summary());
    }
}

/// The killed monitor, and when.
struct Killed {
    at: Instant,
    monitor: Option<u32>,
}

/// Kills the process; of several monitors a random one.
fn strike(trial: &mut Trial, scene: &Scene, victim: Victim, sum: &mut Sum) -> Killed {
    let (main, monitors) = (scene.server.pid(), scene.monitors());
    let monitor = (!monitors.is_empty()).then(|| trial.pick(&monitors));
    let victims: Vec<u32> = match victim {
        Victim::Main => vec![main],
        Victim::Monitor => monitor.into_iter().collect(),
        Victim::MainThenMonitor => [Some(main), monitor].into_iter().flatten().collect(),
        Victim::MonitorThenMain => [monitor, Some(main)].into_iter().flatten().collect(),
    };
    let at = Instant::now();
    // A process that has just exited, at the end of a drain, cannot be killed.
    sum.too_late += usize::from(server::kill_all(&victims, "KILL").is_err());
    Killed { at, monitor }
}

/// Waits until no process is left, or a new generation serves.
fn wait_until_over(
    scene: &mut Scene,
    killed: &Killed,
    victim: Victim,
    phase: Phase,
    sum: &mut Sum,
) -> io::Result<Instant> {
    match (victim, killed.monitor) {
        (Victim::Monitor, Some(monitor)) if phase != Phase::Stop => {
            scene.wait_for_death(monitor)?;
            wait_for_next(scene)
        }
        _ => {
            let over = scene.server.wait_for_end()?;
            sum.ports += usize::from(is_taken(&scene.target));
            Ok(over)
        }
    }
}

/// Waits until a generation with a living monitor is current; that is so at once if the
/// killed monitor was starting or draining.
fn wait_for_next(scene: &mut Scene) -> io::Result<Instant> {
    let monitors = scene.monitors();
    let is_alive = |event: &&Event| event.pid.is_some_and(|pid| monitors.contains(&pid));
    let mut events = scene.server.events().iter().filter(|event| event.name == "current");
    match events.rfind(is_alive) {
        Some(_) => Ok(Instant::now()),
        None => {
            Ok(scene.server.wait_for("the next generation", |event| event.name == "current")?.at)
        }
    }
}

/// Watches a run whose main goes on; without main, its orphans are reaped by another process.
fn watch(scene: &Scene, victim: Victim) -> Option<Watch> {
    (victim == Victim::Monitor).then(|| Watch::start(scene.server.pid()))
}

/// Stops a run gracefully if its main is still there.
fn finish(mut scene: Scene, watch: Option<Watch>, phase: Phase, sum: &mut Sum) -> io::Result<()> {
    let Some(watch) = watch else { return Ok(()) };
    if phase != Phase::Stop {
        scene.server.signal("TERM")?;
        scene.server.wait_for_end()?;
    }
    sum.seen.absorb(watch.finish());
    sum.bad_ends += usize::from(!scene.server.status()?.success());
    sum.ports += usize::from(is_taken(&scene.target));
    Ok(())
}

/// Whether a process still listens.
fn is_taken(target: &Target) -> bool {
    match target {
        Target::Tcp(address) => TcpListener::bind(address).is_err(),
        Target::Unix(path) => path.exists(),
    }
}
