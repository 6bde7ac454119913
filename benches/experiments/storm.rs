//! TERM, INT, USR1 and HUP at random moments of starts, reloads, probations, drains and
//! stops, under clients.
//!
//! All generations end; none is started after a stop; never two start at once and never more
//! than three are alive; no process stays a zombie or is stopped; after the last reload main
//! and the monitor have as many descriptors as before the first; no request fails while a
//! generation serves, and a graceful stop loses none. Only requests that a second SIGINT cuts
//! short may be lost.

use std::io;
use std::time::{Duration, Instant};

use super::phases::{self, Hits, PHASES, PROBATION, Phase};
use super::reload::{Concurrency, wait_for_last};
use super::{CONNECT, Family, Program, Scene, Times, Trial};
use crate::load::{Load, Report};
use crate::server::{Event, Seen, Watch, process};

const OPTIONS: &[&str] =
    &["--count", "2", "--probation", PROBATION, "--delay", "0", "--timeout", "5", "--quiet"];
const SIGNALS: &[&str] = &["TERM", "INT", "USR1", "HUP"];
/// How long a server without a stop signal takes to come to rest.
const RELOADS: &[&str] = &["USR1", "HUP"];
const CLIENTS: usize = 4;
/// The longest wait from one signal to the next.
const GAP: Duration = Duration::from_millis(12);
/// The most signals in a run.
const MOST: u64 = 4;

/// The signals that were sent, and their meaning.
#[derive(Default)]
struct Sent {
    /// When the first stop signal was sent.
    stop: Option<Instant>,
    interrupts: u32,
    /// When the last reload signal was sent.
    reload: Option<Instant>,
}

/// The sum of all runs.
#[derive(Default)]
struct Sum {
    runs: u32,
    sent: u32,
    hits: Hits,
    concurrency: Concurrency,
    seen: Seen,
    started_late: usize,
    left: usize,
    grown: usize,
    rests: usize,
    answers: usize,
    failed: usize,
    lost: usize,
    remarks: Vec<String>,
    bad_ends: usize,
    stops: Times,
    slowest: Times,
}

pub fn all(trial: &mut Trial) -> io::Result<()> {
    let (wanted, mut sum) = (trial.choose(1_000, 40), Sum::default());
    while sum.sent < wanted {
        let phase = trial.pick(&PHASES);
        one(trial, phase, &mut sum)?;
    }
    let Sum { runs, sent, hits, answers, rests, .. } = &sum;
    trial.note(format_args!("{sent} signals in {runs} runs {hits}, {answers} answers"));
    trial.none("failed while served", sum.failed);
    trial.none("lost in graceful stops", sum.lost);
    trial.note(format_args!("slowest answer of a run {}", sum.slowest));
    trial.none("started after a stop", sum.started_late);
    trial.none("generations left", sum.left);
    sum.concurrency.judge(trial);
    trial.watched(&sum.seen);
    trial.require(sum.grown == 0, format_args!("{} of {rests} rests with more", sum.grown));
    trial.none("odd statuses", sum.bad_ends);
    trial.note(format_args!("SIGTERM to the end {}", sum.stops));
    sum.remarks.iter().for_each(|remark| trial.note(remark));
    Ok(())
}

/// One run: a moment of a phase, the signals, the end, and the checks.
fn one(trial: &mut Trial, phase: Phase, sum: &mut Sum) -> io::Result<()> {
    let mut scene = Scene::begin(Program::Http(10), Family::Bound, OPTIONS)?;
    let main = scene.server.pid();
    phases::wait_for_first_line(main)?;
    let watch = Watch::start(main);
    let (mut sent, mut load, mut before) = (Sent::default(), None, None);
    if phase != Phase::Start {
        scene.server.wait_for("a current generation", |event| event.name == "current")?;
        before = Some(descriptors(&scene)?);
        let clients = scene.load(CLIENTS, CONNECT);
        clients.wait_for(4)?;
        load = Some(clients);
    }
    let asked = Instant::now();
    phases::bring(trial, &mut scene, phase, load.is_some())?;
    if phase == Phase::Stop {
        sent.stop = Some(asked);
    }
    storm(trial, &mut scene, &mut sent, sum);
    if sent.stop.is_none() {
        if let Some(last) = sent.reload {
            wait_for_last(&mut scene, last)?;
        }
        rest(&mut scene, before, sum)?;
        sent.stop = Some(Instant::now());
        scene.server.signal("TERM")?;
    }
    let gone = scene.server.wait_for_end()?;
    sum.seen.absorb(watch.finish());
    judge(&mut scene, &sent, gone, load, sum)
}

/// Sends some signals at random moments from now on.
fn storm(trial: &mut Trial, scene: &mut Scene, sent: &mut Sent, sum: &mut Sum) {
    let signals = if trial.below(2) == 0 { SIGNALS } else { RELOADS };
    for _ in 0..=trial.below(MOST) {
        let (signal, at) = (trial.pick(signals), Instant::now());
        // A stop may be over by now.
        if scene.server.signal(signal).is_ok() {
            sum.sent += 1;
            sum.hits.count(phases::phase_at(scene.server.events(), at));
            match signal {
                "USR1" | "HUP" => sent.reload = Some(at),
                _ => _ = sent.stop.get_or_insert(at),
            }
            sent.interrupts += u32::from(signal == "INT");
        }
        scene.server.listen_until(Instant::now() + trial.moment(GAP));
    }
}

/// The number of descriptors of main and the newest monitor.
fn descriptors(scene: &Scene) -> io::Result<[usize; 2]> {
    Ok([scene.server.pid(), scene.monitor()?].map(process::descriptors))
}

/// Compares the descriptors after the last reload with those before the first.
fn rest(scene: &mut Scene, before: Option<[usize; 2]>, sum: &mut Sum) -> io::Result<()> {
    let Some(before) = before else { return Ok(()) };
    let newest = scene.monitor()?;
    let pids = scene.server.events().iter().filter(|event| event.name == "started");
    let older: Vec<_> = pids.filter_map(|event| event.pid).filter(|pid| *pid != newest).collect();
    for monitor in older {
        scene.wait_for_death(monitor)?;
    }
    let after = descriptors(scene)?;
    sum.rests += 1;
    // The first count may include descriptors that a start holds for a moment.
    if after.iter().zip(before).any(|(after, before)| *after > before) {
        sum.grown += 1;
        sum.remarks.push(format!("descriptors {before:?} -> {after:?}"));
    }
    Ok(())
}

/// Checks a run that is over.
fn judge(
    scene: &mut Scene,
    sent: &Sent,
    gone: Instant,
    load: Option<Load>,
    sum: &mut Sum,
) -> io::Result<()> {
    sum.runs += 1;
    let status = scene.server.status()?;
    let events = scene.server.events();
    sum.concurrency.watch(events);
    let after_stop = events.iter().skip_while(|event| event.name != "stopping");
    sum.started_late += after_stop.filter(|event| event.name == "started").count();
    sum.left += alive_in_the_end(events);
    let was_cut_short = sent.interrupts > 1;
    if !status.success() && !was_cut_short {
        sum.bad_ends += 1;
        let names: Vec<_> = events.iter().map(|event| event.line.as_str()).collect();
        sum.remarks.push(format!("{status}: {}", names.join(" ")));
    }
    if let (Some(stop), false) = (sent.stop, was_cut_short) {
        sum.stops.push(gone.saturating_duration_since(stop));
    }
    if let Some(load) = load {
        judge_load(&load.finish()?, sent, was_cut_short, sum);
    }
    Ok(())
}

fn judge_load(report: &Report, sent: &Sent, was_cut_short: bool, sum: &mut Sum) {
    sum.answers += report.answers();
    let (_, latency) = report.latency(&[]);
    sum.slowest.push(latency.max);
    let is_before_stop = |end: Instant| sent.stop.is_none_or(|stop| end < stop);
    let ends = report.records().iter().filter(|record| record.outcome.is_err());
    let failed = ends.filter(|record| is_before_stop(record.start + record.latency)).count();
    let lost = if was_cut_short { 0 } else { report.losses() };
    sum.failed += failed;
    sum.lost += lost;
    if failed + lost > 0 {
        sum.remarks.push(report.summary());
    }
}

/// How many generations were started and never reported as exited.
fn alive_in_the_end(events: &[Event]) -> usize {
    let started = events.iter().filter(|event| event.name == "started");
    let is_dead =
        |pid: Option<u32>| events.iter().any(|event| event.name == "died" && event.pid == pid);
    started.filter(|event| !is_dead(event.pid)).count()
}
