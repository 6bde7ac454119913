//! Reloads: bursts, and status requests while they end.

use std::collections::BTreeSet;
use std::io::{self, Error};
use std::time::{Duration, Instant};

use super::{Family, Program, Scene, Trial};
use crate::server::{Event, Seen, Watch};

const OPTIONS: &[&str] = &["--count", "2", "--probation", "0", "--delay", "0", "--quiet"];
/// How long no start may follow the last one.
const QUIET: Duration = Duration::from_millis(50);
/// More than the least time between two answers to SIGTTIN.
const BETWEEN_ANSWERS: Duration = Duration::from_millis(110);
/// How long an old generation needs to exit.
const LEAVING: Duration = Duration::from_millis(2);
/// How many more starts may come after that.
const MOST_ROUNDS: u32 = 10;

/// A thousand SIGUSR1 in a second.
pub fn burst(trial: &mut Trial) -> io::Result<()> {
    const SIGNALS: u32 = 1_000;
    let times = trial.choose(10, 2);
    let (mut reloads, mut concurrency, mut seen) = (0, Concurrency::default(), Seen::default());
    for _ in 0..times {
        let mut scene = Scene::open(Program::Basic, Family::Tcp, OPTIONS)?;
        let watch = Watch::start(scene.server.pid());
        let begun = Instant::now();
        let mut last = begun;
        for number in 1..=SIGNALS {
            last = Instant::now();
            scene.server.signal("USR1")?;
            scene.server.listen_until(begun + Duration::from_millis(number.into()));
        }
        wait_for_last(&mut scene, last)?;
        scene.server.signal("TERM")?;
        scene.server.wait_for_end()?;
        seen.absorb(watch.finish());
        concurrency.watch(scene.server.events());
        reloads += scene.server.events().iter().filter(|event| event.name == "started").count() - 1;
    }
    trial.note(format_args!("{times} times {SIGNALS} SIGUSR1 in a second made {reloads} reloads"));
    trial.note("each time one started after the last");
    concurrency.judge(trial);
    trial.watched(&seen);
    trial.require(concurrency.left == 1, format_args!("alive in the end {}", concurrency.left));
    Ok(())
}

/// Waits until a generation started after `last` is current, the newest, and alone.
pub fn wait_for_last(scene: &mut Scene, last: Instant) -> io::Result<()> {
    let is_newer = |event: &Event| event.name == "started" && event.at >= last;
    if !scene.server.events().iter().any(is_newer) {
        scene.server.wait_for("a start after the last signal", is_newer)?;
    }
    for _ in 0..MOST_ROUNDS {
        let newest = scene.monitor()?;
        wait_until_alone(scene, newest)?;
        scene.server.listen_until(Instant::now() + QUIET);
        if scene.monitor()? == newest {
            return Ok(());
        }
    }
    Err(Error::other("the reloads do not end"))
}

/// Waits until the generation of this monitor is current and all earlier ones are gone.
fn wait_until_alone(scene: &mut Scene, newest: u32) -> io::Result<()> {
    let is_current = |event: &Event| event.is_of("current", newest);
    if !scene.server.events().iter().any(is_current) {
        scene.server.wait_for("the last generation", is_current)?;
    }
    let events = scene.server.events().iter();
    let started = events.filter(|event| event.name == "started").filter_map(|event| event.pid);
    for monitor in started.take_while(|pid| *pid != newest).collect::<Vec<_>>() {
        scene.wait_for_death(monitor)?;
    }
    Ok(())
}

/// How many generations there were at once, by the events.
#[derive(Default)]
pub struct Concurrency {
    starting: usize,
    alive: usize,
    left: usize,
}

impl Concurrency {
    /// Counts the events of one more server.
    pub fn watch(&mut self, events: &[Event]) {
        let (mut starting, mut alive) = (BTreeSet::new(), BTreeSet::new());
        for event in events {
            match event.name.as_str() {
                "started" => {
                    starting.insert(event.generation);
                    alive.insert(event.generation);
                }
                "current" | "failed" | "rolled_back" => {
                    starting.remove(&event.generation);
                }
                "died" if event.slot.is_none() => {
                    alive.remove(&event.generation);
                }
                "stopping" => self.left = self.left.max(alive.len()),
                _ => {}
            }
            self.starting = self.starting.max(starting.len());
            self.alive = self.alive.max(alive.len());
        }
    }

    /// Checks what must hold for every server.
    pub fn judge(&self, trial: &mut Trial) {
        trial.require(self.starting <= 1, format_args!("starting at once {}", self.starting));
        trial.require(self.alive <= 3, format_args!("alive at once {}", self.alive));
    }
}

/// Status requests while an old monitor exits: main sends SIGTTIN on to it, which must not
/// stop a monitor that has just removed its handlers.
pub fn status(trial: &mut Trial) -> io::Result<()> {
    let times = trial.choose(300, 20);
    let options = &[OPTIONS, &["--timeout", "2"]].concat();
    let mut scene = Scene::open(Program::Basic, Family::Tcp, options)?;
    for _ in 0..times {
        let old = scene.monitor()?;
        scene.server.listen_until(Instant::now() + BETWEEN_ANSWERS);
        scene.reload()?;
        scene.server.listen_until(Instant::now() + trial.moment(LEAVING));
        scene.server.signal("TTIN")?;
        scene.wait_for_death(old)?;
    }
    let events = scene.server.events().iter().filter(|event| event.name == "died");
    let killed = events.filter(|event| event.line.contains("SIGKILL")).count();
    trial.note(format_args!("{times} reloads with a SIGTTIN just after"));
    trial.none("monitors stopped until they were killed", killed);
    let status = scene.server.stop()?;
    trial.require(status.success(), status);
    Ok(())
}
