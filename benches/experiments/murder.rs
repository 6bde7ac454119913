//! SIGKILL to main, to a monitor, or to both: nobody is left behind.
//!
//! At a random moment of a start, a reload, a probation, a drain and a final
//! stop, idle and under load. That nobody is left is proved by the end of the
//! pipe that every process of the tree has as its standard error.

use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::life::{self, Hits, PHASES, PROBATION, Phase};
use super::{CONNECT, Family, Program, Scene, Times, Trial};
use crate::load::{PATIENCE, Report, Target};
use crate::server::{self, Event, Seen, Watch};

const OPTIONS: &[&str] =
    &["--count", "2", "--probation", PROBATION, "--delay", "0", "--timeout", "5", "--quiet"];
/// What the end of an idle tree may take.
const IDLE: Duration = Duration::from_secs(2);
/// What the end of a busy one may take: the timeout, and what is killed after.
const BUSY: Duration = Duration::from_secs(7);
const CLIENTS: usize = 8;

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Main,
    Monitor,
    MainThenMonitor,
    MonitorThenMain,
}

/// What all lives came to.
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
    trial.note(format_args!("{times} idle {idle_hits} and {times} busy lives {busy_hits}"));
    trial.note(format_args!("{too_late} were over before"));
    Ok(sum)
}

/// A life without clients.
fn idle(trial: &mut Trial, victim: Victim, phase: Phase, sum: &mut Sum) -> io::Result<()> {
    let mut scene = Scene::begin(Program::Basic, Family::Tcp, OPTIONS)?;
    let watch = watch(&scene, victim);
    match victim {
        Victim::Main => life::wait_for_first_line(scene.server.pid())?,
        Victim::Monitor | Victim::MainThenMonitor | Victim::MonitorThenMain => {
            scene.server.wait_for("a start", |event| event.name == "started")?;
        }
    }
    life::bring(trial, &mut scene, phase, false)?;
    let killed = strike(trial, &scene, victim, sum);
    let over = aftermath(&mut scene, &killed, victim, phase, sum)?;
    sum.idle.push(over.saturating_duration_since(killed.at));
    sum.idle_hits.count(life::phase_at(scene.server.told(), killed.at));
    finish(scene, watch, phase, sum)
}

/// A life under load, which begins as soon as main has bound the port.
fn busy(trial: &mut Trial, victim: Victim, phase: Phase, sum: &mut Sum) -> io::Result<()> {
    let mut scene = Scene::begin(Program::Http(10), Family::Bound, OPTIONS)?;
    let watch = watch(&scene, victim);
    scene.server.wait_for("a start", |event| event.name == "started")?;
    let serves_on = victim == Victim::Monitor && phase != Phase::Stop;
    let load = scene.load(CLIENTS, if serves_on { PATIENCE } else { CONNECT });
    if phase != Phase::Start {
        load.wait_for(16)?;
    }
    life::bring(trial, &mut scene, phase, true)?;
    let killed = strike(trial, &scene, victim, sum);
    let over = aftermath(&mut scene, &killed, victim, phase, sum)?;
    sum.busy.push(over.saturating_duration_since(killed.at));
    sum.busy_hits.count(life::phase_at(scene.server.told(), killed.at));
    let report = load.finish()?;
    note_failures(&report, serves_on, sum);
    finish(scene, watch, phase, sum)
}

/// Where a generation serves on nobody may fail; where the port goes away, who
/// was not accepted has not failed.
fn note_failures(report: &Report, serves_on: bool, sum: &mut Sum) {
    let failures = if serves_on { report.failures() } else { report.losses() };
    sum.failures += failures;
    sum.losses += report.losses();
    if failures > 0 {
        sum.failed.push(report.summary());
    }
}

/// Who was killed, and when.
struct Killed {
    at: Instant,
    monitor: Option<u32>,
}

/// Kills; where there are several monitors, any of them.
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
    // Who has ended just now, in the end of a drain, cannot be killed.
    sum.too_late += usize::from(server::kill_all(&victims, "KILL").is_err());
    Killed { at, monitor }
}

/// Waits until what follows is over: nobody is left, or somebody serves.
fn aftermath(
    scene: &mut Scene,
    killed: &Killed,
    victim: Victim,
    phase: Phase,
    sum: &mut Sum,
) -> io::Result<Instant> {
    match (victim, killed.monitor) {
        (Victim::Monitor, Some(monitor)) if phase != Phase::Stop => {
            scene.wait_for_death(monitor)?;
            wait_for_heir(scene)
        }
        _ => {
            let over = scene.server.wait_for_nobody()?;
            sum.ports += usize::from(is_taken(&scene.target));
            Ok(over)
        }
    }
}

/// Waits until a generation is current whose monitor lives: it is already when
/// the one that was killed was on its way in or out.
fn wait_for_heir(scene: &mut Scene) -> io::Result<Instant> {
    let monitors = scene.monitors();
    let is_alive = |event: &&Event| event.pid.is_some_and(|pid| monitors.contains(&pid));
    let mut told = scene.server.told().iter().filter(|event| event.name == "current");
    match told.rfind(is_alive) {
        Some(_) => Ok(Instant::now()),
        None => Ok(scene.server.wait_for("an heir", |event| event.name == "current")?.at),
    }
}

/// Somebody to watch a life whose main lives on: where it does not, its orphans
/// are the business of another.
fn watch(scene: &Scene, victim: Victim) -> Option<Watch> {
    (victim == Victim::Monitor).then(|| Watch::start(scene.server.pid()))
}

/// A life whose main still lives is ended gracefully.
fn finish(mut scene: Scene, watch: Option<Watch>, phase: Phase, sum: &mut Sum) -> io::Result<()> {
    let Some(watch) = watch else { return Ok(()) };
    if phase != Phase::Stop {
        scene.server.signal("TERM")?;
        scene.server.wait_for_nobody()?;
    }
    sum.seen.absorb(watch.finish());
    sum.bad_ends += usize::from(!scene.server.status()?.success());
    sum.ports += usize::from(is_taken(&scene.target));
    Ok(())
}

/// Whether somebody still listens.
fn is_taken(target: &Target) -> bool {
    match target {
        Target::Tcp(address) => TcpListener::bind(address).is_err(),
        Target::Unix(path) => path.exists(),
    }
}
