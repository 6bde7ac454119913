//! SIGKILL to main, to a monitor, or to both: nobody is left behind.
//!
//! At a random moment of a life: from before anything is ready to the middle of
//! a reload, idle and under load. That nobody is left is proved by the end of
//! the pipe that every process of the tree has as its standard error.

use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::{CONNECT, Family, Program, Scene, Times, Trial};
use crate::load::{PATIENCE, Report, Target};
use crate::server::{self, Event};

const OPTIONS: &[&str] =
    &["--count", "2", "--probation", "0", "--delay", "0", "--timeout", "5", "--quiet"];
/// What the end of an idle tree may take.
const IDLE: Duration = Duration::from_secs(2);
/// What the end of a busy one may take: the timeout, and what is killed after.
const BUSY: Duration = Duration::from_secs(7);
const CLIENTS: usize = 8;
/// From the start of a life to some time after it is ready.
const YOUTH: Duration = Duration::from_millis(60);

/// Who is killed.
#[derive(Clone, Copy)]
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
    ports: usize,
    failures: usize,
    losses: usize,
    seen: Vec<String>,
    bad_ends: usize,
}

pub fn main(trial: &mut Trial) -> io::Result<()> {
    let sum = many(trial, &[Victim::Main])?;
    trial.within(IDLE, "idle", &sum.idle);
    trial.within(BUSY, "busy", &sum.busy);
    trial.none("ports left", sum.ports);
    trial.note(format_args!("accepted and not answered {}", sum.losses));
    Ok(())
}

pub fn both(trial: &mut Trial) -> io::Result<()> {
    let sum = many(trial, &[Victim::MainThenMonitor, Victim::MonitorThenMain])?;
    trial.within(IDLE, "idle", &sum.idle);
    trial.within(BUSY, "busy", &sum.busy);
    trial.none("ports left", sum.ports);
    trial.note(format_args!("accepted and not answered {}", sum.losses));
    Ok(())
}

pub fn monitor(trial: &mut Trial) -> io::Result<()> {
    let sum = many(trial, &[Victim::Monitor])?;
    trial.note(format_args!("next current after {} idle, {} busy", sum.idle, sum.busy));
    trial.none("requests failed", sum.failures);
    if sum.failures > 0 {
        trial.note(sum.seen.join("; "));
    }
    trial.none("ports left", sum.ports);
    trial.none("status not 0:", sum.bad_ends);
    Ok(())
}

fn many(trial: &mut Trial, victims: &[Victim]) -> io::Result<Sum> {
    let (times, mut sum) = (trial.choose(100, 6), Sum::default());
    for _ in 0..times {
        let victim = trial.pick(victims);
        idle(trial, victim, &mut sum)?;
        let victim = trial.pick(victims);
        busy(trial, victim, &mut sum)?;
    }
    trial.note(format_args!("{times} idle and {times} busy lives"));
    Ok(sum)
}

/// A life without clients, ended at any moment of it.
fn idle(trial: &mut Trial, victim: Victim, sum: &mut Sum) -> io::Result<()> {
    let mut scene = Scene::begin(Program::Basic, Family::Tcp, OPTIONS)?;
    scene.server.wait_for("a start", |event| event.name == "started")?;
    scene.server.listen_until(Instant::now() + trial.moment(YOUTH));
    if trial.below(2) == 0 {
        scene.server.signal("USR1")?;
        scene.server.listen_until(Instant::now() + trial.moment(YOUTH));
    }
    let killed = strike(&scene, victim)?;
    let over = aftermath(&mut scene, victim, sum)?;
    sum.idle.push(over.saturating_duration_since(killed));
    finish(scene, victim, sum)
}

/// A life under load, ended at any moment after it was ready.
fn busy(trial: &mut Trial, victim: Victim, sum: &mut Sum) -> io::Result<()> {
    let mut scene = Scene::open(Program::Http(2), Family::Tcp, OPTIONS)?;
    let patience = match victim {
        Victim::Main | Victim::MainThenMonitor | Victim::MonitorThenMain => CONNECT,
        Victim::Monitor => PATIENCE,
    };
    let load = scene.load(CLIENTS, patience);
    load.wait_for(50)?;
    if trial.below(2) == 0 {
        scene.server.signal("USR1")?;
    }
    scene.server.listen_until(Instant::now() + trial.moment(YOUTH));
    let killed = strike(&scene, victim)?;
    let over = aftermath(&mut scene, victim, sum)?;
    sum.busy.push(over.saturating_duration_since(killed));
    let report = load.finish()?;
    note_failures(&report, sum);
    finish(scene, victim, sum)
}

fn note_failures(report: &Report, sum: &mut Sum) {
    sum.failures += report.failures();
    sum.losses += report.losses();
    if report.failures() > 0 {
        sum.seen.push(report.summary());
    }
}

/// Kills, and says when.
fn strike(scene: &Scene, victim: Victim) -> io::Result<Instant> {
    let (main, monitor) = (scene.server.pid(), scene.monitor()?);
    let killed = Instant::now();
    match victim {
        Victim::Main => server::kill(main, "KILL")?,
        Victim::Monitor => server::kill(monitor, "KILL")?,
        Victim::MainThenMonitor => server::kill_all(&[main, monitor], "KILL")?,
        Victim::MonitorThenMain => server::kill_all(&[monitor, main], "KILL")?,
    }
    Ok(killed)
}

/// Waits until what follows is over: nobody is left, or somebody new serves.
fn aftermath(scene: &mut Scene, victim: Victim, sum: &mut Sum) -> io::Result<Instant> {
    match victim {
        Victim::Main | Victim::MainThenMonitor | Victim::MonitorThenMain => {
            let over = scene.server.wait_for_nobody()?;
            sum.ports += usize::from(is_taken(&scene.target));
            Ok(over)
        }
        Victim::Monitor => {
            let monitor = scene.monitor()?;
            scene.wait_for_death(monitor)?;
            wait_for_heir(scene, monitor)
        }
    }
}

/// Waits until a generation is current that is not the killed one's: it is
/// already when the one that was killed was a reload under way.
fn wait_for_heir(scene: &mut Scene, killed: u32) -> io::Result<Instant> {
    let is_heir = |event: &Event| event.name == "current" && event.pid != Some(killed);
    let told = scene.server.told();
    let is_dead = |pid| told.iter().any(|event| pid == event.pid && event.name == "died");
    let last = told.iter().rev().find(|event| event.name == "current");
    match last.filter(|last| is_heir(last) && !is_dead(last.pid)) {
        Some(_) => Ok(Instant::now()),
        None => Ok(scene.server.wait_for("an heir", is_heir)?.at),
    }
}

/// A life whose main still lives is ended gracefully.
fn finish(mut scene: Scene, victim: Victim, sum: &mut Sum) -> io::Result<()> {
    if let Victim::Monitor = victim {
        scene.server.signal("TERM")?;
        scene.server.wait_for_nobody()?;
        sum.bad_ends += usize::from(!scene.server.status()?.success());
        sum.ports += usize::from(is_taken(&scene.target));
    }
    Ok(())
}

/// Whether somebody still listens.
fn is_taken(target: &Target) -> bool {
    match target {
        Target::Tcp(address) => TcpListener::bind(address).is_err(),
        Target::Unix(path) => path.exists(),
    }
}
