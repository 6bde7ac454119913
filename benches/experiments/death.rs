//! Workers that die: each is noticed and replaced.

use std::io;
use std::time::{Duration, Instant};

use super::{Family, Program, Scene, Times, Trial};
use crate::load::Question;
use crate::server::{self, Event, Watch, process};

const OPTIONS: &[&str] = &["--count", "4", "--delay", "0", "--quiet"];
/// How long a death, or noticing it, may take.
const LIMIT: Duration = Duration::from_millis(100);
/// How long after a connection a worker is surely back in accept, minus the delay of a
/// signal.
const SPIN: Duration = Duration::from_micros(100);
/// The longest wait before a random moment.
const WAIT: Duration = Duration::from_micros(1_500);

/// SIGTERM at any moment of a worker's life: while it is set up, while it waits,
/// and around a connection.
pub fn term(trial: &mut Trial) -> io::Result<()> {
    let times = trial.choose(10_000, 600);
    let (took, lost) = one_by_one(trial, "TERM", times)?;
    trial.note(format_args!("{times} SIGTERM at random moments, all gone and replaced"));
    trial.within(LIMIT, "to die", &took);
    trial.none("connections lost", lost);
    Ok(())
}

/// SIGTERM to the only worker just when it waits in accept again: no other connection would
/// wake a worker that misses its stop there.
pub fn term_at_accept(trial: &mut Trial) -> io::Result<()> {
    let times = trial.choose(10_000, 600);
    let options = &["--count", "1", "--delay", "0", "--quiet"];
    let mut scene = Scene::open(Program::Basic, Family::Tcp, options)?;
    let (mut took, mut lost) = (Times::default(), 0);
    let mut victim = scene.workers()?.first().copied();
    for _ in 0..times {
        let worker = victim.ok_or_else(|| io::Error::other("there is no worker"))?;
        // Its first answer shows that it is set up; after the second it goes back to accept,
        // about when the signal arrives.
        let question = Question::ask(&scene.target, scene.dialect())?;
        lost += usize::from(question.answer().is_err());
        let question = Question::ask(&scene.target, scene.dialect())?;
        spin_until(Instant::now() + trial.moment(SPIN));
        let asked = Instant::now();
        server::kill(worker, "TERM")?;
        let died = scene.server.wait_for("a death", |event| event.is_of("died", worker))?;
        took.push(died.at.saturating_duration_since(asked));
        victim = scene.server.wait_for("a replacement", |event| event.name == "respawn")?.pid;
        lost += usize::from(question.answer().is_err());
    }
    scene.server.stop()?;
    trial.note(format_args!("{times} SIGTERM just before accept, all gone and replaced"));
    trial.within(LIMIT, "to die", &took);
    trial.none("connections lost", lost);
    Ok(())
}

/// SIGKILL at a random instant: the monitor, which waits without a deadline,
/// is woken.
pub fn kill(trial: &mut Trial) -> io::Result<()> {
    let times = trial.choose(2_000, 200);
    let (took, _) = one_by_one(trial, "KILL", times)?;
    trial.note(format_args!("{times} SIGKILL at random moments, all replaced"));
    trial.within(LIMIT, "noticed after", &took);
    Ok(())
}

/// Waits for a moment more exact than a timer.
fn spin_until(moment: Instant) {
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}

/// Signals one random worker after another, and waits for each replacement; returns how
/// long the deaths took and how many connections were lost.
fn one_by_one(trial: &mut Trial, signal: &str, times: u32) -> io::Result<(Times, usize)> {
    let mut scene = Scene::open(Program::Basic, Family::Tcp, OPTIONS)?;
    let mut workers = scene.workers()?;
    let watch = Watch::start(scene.server.pid());
    let (mut took, mut lost) = (Times::default(), 0);
    for _ in 0..times {
        let question = match trial.below(2) {
            0 => None,
            _ => Some(Question::ask(&scene.target, scene.dialect())?),
        };
        scene.server.listen_until(Instant::now() + trial.moment(WAIT));
        let place = trial.place(workers.len());
        let victim = workers[place];
        let asked = Instant::now();
        server::kill(victim, signal)?;
        let died = scene.server.wait_for("a death", |event| event.is_of("died", victim))?;
        took.push(died.at.saturating_duration_since(asked));
        let is_replacement = |event: &Event| event.name == "respawn" && event.slot == died.slot;
        let replacement = scene.server.wait_for("a replacement", is_replacement)?;
        workers[place] = replacement.pid.ok_or_else(|| io::Error::other(replacement.line))?;
        lost += usize::from(question.is_some_and(|question| question.answer().is_err()));
    }
    let mut living = scene.workers()?;
    living.retain(|pid| process::state(*pid) != Some('Z'));
    trial.require(living.len() == 4, format_args!("{} of 4 workers", living.len()));
    trial.watched(&watch.finish());
    scene.server.stop()?;
    Ok((took, lost))
}

/// Fifty deaths at once, which may be one SIGCHLD; also while the monitor is stopped.
pub fn kill_all(trial: &mut Trial) -> io::Result<()> {
    const COUNT: usize = 50;
    let times = trial.choose(40, 6);
    let options = &["--count", "50", "--delay", "0", "--verbose"];
    let mut scene = Scene::open(Program::Basic, Family::Tcp, options)?;
    let monitor = scene.monitor()?;
    scene.server.wait_for_line("the workers", |line| line.ends_with("workers ready"))?;
    let (mut took, mut zombies, mut missing, mut survivors) = (Times::default(), 0, 0, 0);
    for round in 0..times {
        let old = scene.workers()?;
        let asked = Instant::now();
        if round % 2 == 0 {
            server::kill_all(&old, "KILL")?;
        } else {
            server::kill(monitor, "STOP")?;
            server::kill_all(&old, "KILL")?;
            server::kill(monitor, "CONT")?;
        }
        let (mut died, mut forked) = (0, 0);
        while died < COUNT || forked < COUNT {
            let line = scene.server.next_line("deaths and forks")?.text;
            died += usize::from(line.contains("killed by SIGKILL"));
            // `worker 1 (pid 123): started`, also as a replacement.
            forked += usize::from(line.contains("): started"));
        }
        took.push(asked.elapsed());
        let new = scene.workers()?;
        missing += COUNT.abs_diff(new.len());
        zombies += new.iter().filter(|pid| process::state(**pid) == Some('Z')).count();
        survivors += new.iter().filter(|pid| old.contains(pid)).count();
    }
    trial.note(format_args!("{times} times 50 SIGKILL at once, each one logged and replaced"));
    trial.none("missing", missing);
    trial.none("zombies", zombies);
    trial.none("not replaced", survivors);
    trial.within(Duration::from_secs(1), "all replaced after", &took);
    scene.server.stop()?;
    Ok(())
}
