//! Main is restarted in place, under clients, at random moments of whatever it
//! does: its pid, its descriptors and everybody below it stay, and nobody notices.
//!
//! And under a storm of signals, each of which would end a process that has no
//! handlers at that moment: what was asked for comes about, and nobody dies.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Error};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::life::PROBATION;
use super::reload::{Crowds, wait_for_last};
use super::{Program, Scene, Times, Trial};
use crate::load::{Load, PATIENCE, Plan, Target};
use crate::server::{self, Event, Place, Seen, Server, Watch, process};

const OPTIONS: &[&str] = &[
    "--count",
    "2",
    "--probation",
    PROBATION,
    "--delay",
    "0.05",
    "--max-delay",
    "0.05",
    "--timeout",
    "5",
    "--give-up",
    "0",
    "--quiet",
];
const CLIENTS: usize = 4;
/// How long a request may wait while nobody can be started.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait from what is done to the restart that meets it.
const LONGEST: Duration = Duration::from_millis(25);
/// From one signal of a storm to the next.
const GAP: Duration = Duration::from_micros(2_500);
/// How long nothing must be told for it to be quiet.
const QUIET: Duration = Duration::from_millis(50);
/// What main's memory may have grown by, in KiB: what is freed has gaps, and
/// each program begins with what the kernel has laid out for it.
const SLACK: u64 = 32;
/// What is tried has a process group of its own.
pub(super) const A_TRIAL: usize = 1;
/// Main, a monitor and two workers.
const AT_REST: usize = 4;

/// What main is doing when it is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// Nothing.
    Rest,
    /// It starts a generation.
    Reload,
    /// The new generation is on probation.
    Probation,
    /// The old one leaves.
    Drain,
    /// The next start waits: nothing can be started, and nobody serves.
    Backoff,
    /// A reload comes to nothing.
    Failure,
    /// A worker has left, and another one comes.
    Refill,
}

const ALL: [Doing; 7] = [
    Doing::Rest,
    Doing::Reload,
    Doing::Probation,
    Doing::Drain,
    Doing::Backoff,
    Doing::Failure,
    Doing::Refill,
];

/// Runs the rest of its words unless the file of the first one is there.
const UNLESS: &str = r#"[ -e "$0" ] && exit 1; exec "$@""#;

/// A server whose next start can be made to fail, and its clients.
struct Patient {
    scene: Scene,
    fault: PathBuf,
    load: Load,
}

/// A thousand restarts, each at a random moment of something.
pub fn random(trial: &mut Trial) -> io::Result<()> {
    let times: u32 = trial.choose(1_000, 40);
    let mut patient = Patient::new()?;
    // The first program was started by another's hand, in another memory.
    patient.restart()?;
    patient.settle()?;
    let first = patient.weigh()?;
    let watch = Watch::start(patient.scene.server.pid());
    let (mut took, mut met) = (Times::default(), BTreeMap::<Doing, u32>::new());
    for _ in 0..times {
        let doing = trial.pick(&ALL);
        patient.bring(trial, doing)?;
        *met.entry(doing).or_default() += 1;
        let asked = Instant::now();
        patient.restart()?;
        took.push(asked.elapsed());
        // Nothing but a failure comes while nothing can be started.
        if matches!(doing, Doing::Backoff | Doing::Failure) || trial.below(2) == 0 {
            patient.settle()?;
        }
    }
    patient.settle()?;
    let last = patient.weigh()?;
    let seen = watch.finish();
    let (report, told) = (patient.load.finish()?, patient.scene.server.told());
    let mut crowds = Crowds::default();
    crowds.watch(told);
    trial.note(format_args!("{times} restarts {met:?}, each {took}"));
    trial.note(format_args!("{} answers", report.answers()));
    trial.none("failed", report.failures());
    if report.failures() > 0 {
        trial.note(report.summary());
    }
    weigh_against(trial, first, last);
    crowds.judge(trial);
    trial.watched_beside(&seen, A_TRIAL);
    let killed = told.iter().filter(|event| event.name == "died" && event.line.contains("SIGKILL"));
    let (killed, expected) = (killed.count(), met.get(&Doing::Backoff).copied().unwrap_or(0));
    trial.require(killed == expected as usize, format_args!("{killed} of {expected} killed"));
    let status = patient.scene.server.stop()?;
    trial.require(status.success(), status);
    Ok(())
}

fn weigh_against(trial: &mut Trial, first: process::Weight, last: process::Weight) {
    let (from, to) = (first.descriptors, last.descriptors);
    trial.require(from == to, format_args!("descriptors {from} -> {to}"));
    trial.require(last.threads == 1, format_args!("threads {}", last.threads));
    let (from, to) = (first.anonymous, last.anonymous);
    trial.require(to <= from + SLACK, format_args!("own memory {from} -> {to} KiB"));
    trial.note(format_args!("resident {} -> {} KiB", first.resident, last.resident));
}

/// USR1, USR2, TTIN and HUP in any order and very close.
pub fn storm(trial: &mut Trial) -> io::Result<()> {
    const SIGNALS: [&str; 4] = ["USR1", "USR2", "TTIN", "HUP"];
    let (lives, signals) = trial.choose((20, 1_000), (2, 150));
    let (mut restarts, mut reloads, mut answers, mut failed) = (0, 0, 0, 0);
    let (mut late, mut left) = (0, 0);
    let (mut crowds, mut seen) = (Crowds::default(), Seen::default());
    for _ in 0..lives {
        let mut patient = Patient::new()?;
        let watch = Watch::start(patient.scene.server.pid());
        let mut last = BTreeMap::new();
        for number in 0..signals {
            let signal =
                if number < signals - 3 { trial.pick(&SIGNALS) } else { SIGNALS[number % 3] };
            last.insert(signal, Instant::now());
            patient.scene.server.signal(signal)?;
            patient.scene.server.listen_until(Instant::now() + trial.moment(GAP));
        }
        let reload = last["USR1"].max(last["HUP"]);
        wait_for_last(&mut patient.scene, reload)?;
        let is_late = |event: &Event| event.name == "restarted" && event.at >= last["USR2"];
        late += usize::from(!patient.scene.server.told().iter().any(is_late));
        patient.settle()?;
        left += process::tree(patient.scene.server.pid()).len().abs_diff(AT_REST);
        let report = patient.load.finish()?;
        (answers, failed) = (answers + report.answers(), failed + report.failures());
        let told = patient.scene.server.told();
        let count = |name: &str| told.iter().filter(|event| event.name == name).count();
        (restarts, reloads) = (restarts + count("restarted"), reloads + count("started") - 1);
        crowds.watch(told);
        seen.absorb(watch.finish());
        let status = patient.scene.server.stop()?;
        trial.require(status.success(), status);
    }
    trial.note(format_args!(
        "{lives} times {signals} signals: {restarts} restarts, {reloads} reloads"
    ));
    trial.note(format_args!("{answers} answers"));
    trial.none("failed", failed);
    trial.none("without a restart after the last SIGUSR2", late);
    trial.none("too many or too few at rest", left);
    trial.require(restarts > 0, "some restarts");
    crowds.judge(trial);
    trial.watched_beside(&seen, A_TRIAL);
    Ok(())
}

impl Patient {
    fn new() -> io::Result<Self> {
        let place = Place::new()?;
        let fault = place.join("fault");
        let target = Target::Tcp(server::free_address()?);
        let (http, address) = (server::example("http")?, target.address());
        let words: [&OsStr; 7] = [
            "sh".as_ref(),
            "-c".as_ref(),
            UNLESS.as_ref(),
            fault.as_ref(),
            "env".as_ref(),
            http.as_ref(),
            address.as_ref(),
        ];
        let mut server = Server::start(&[OPTIONS, &["--bind", &address]].concat(), &words)?;
        server.wait_for("a current generation", |event| event.name == "current")?;
        let scene = Scene { server, target, program: Program::Http(0), _place: place };
        let load = Load::start(&Plan {
            target: scene.target.clone(),
            dialect: scene.dialect(),
            patience: CONNECT,
            clients: CLIENTS,
            requests_per_connection: 1,
            limit: None,
        });
        load.wait_for(4)?;
        Ok(Self { scene, fault, load })
    }

    /// Has main do something, and comes to a random moment of it.
    fn bring(&mut self, trial: &mut Trial, doing: Doing) -> io::Result<()> {
        let server = &mut self.scene.server;
        match doing {
            Doing::Rest => {}
            Doing::Reload => server.signal("USR1")?,
            Doing::Probation | Doing::Drain => {
                server.signal("USR1")?;
                let name = if doing == Doing::Drain { "draining" } else { "probation" };
                server.wait_for(name, |event| event.name == name)?;
            }
            Doing::Backoff => {
                let monitor = self.settle()?;
                File::create(&self.fault)?;
                server::kill(monitor, "KILL")?;
                // The first repair comes at once, and the next one waits.
                self.scene.server.wait_for("a failure", |event| event.name == "failed")?;
            }
            Doing::Failure => {
                self.settle()?;
                File::create(&self.fault)?;
                self.scene.server.signal("USR1")?;
            }
            Doing::Refill => {
                let workers = process::children(self.settle()?);
                server::kill(workers[trial.place(workers.len())], "TERM")?;
            }
        }
        self.scene.server.listen_until(Instant::now() + trial.moment(LONGEST));
        Ok(())
    }

    /// Restarts main, and waits until it says so.
    fn restart(&mut self) -> io::Result<()> {
        self.scene.server.signal("USR2")?;
        let is_it = |event: &Event| event.name == "restarted";
        self.scene.server.wait_for("a restart", is_it)?;
        Ok(())
    }

    /// Lets the next start succeed, and waits until one generation alone is
    /// left: its monitor.
    fn settle(&mut self) -> io::Result<u32> {
        match fs::remove_file(&self.fault) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let before = self.resting();
            self.scene.server.listen_until(Instant::now() + QUIET);
            if let Some(monitor) = before
                && self.resting() == before
            {
                return Ok(monitor);
            }
        }
        let count = process::tree(self.scene.server.pid()).len();
        Err(Error::other(format!("{count} processes come to no rest")))
    }

    /// The monitor that serves, if nobody starts or leaves.
    fn resting(&self) -> Option<u32> {
        let (mut current, mut starting) = (None, None);
        for event in self.scene.server.told().iter().filter(|event| event.slot.is_none()) {
            match event.name.as_str() {
                "started" => starting = event.generation,
                "current" => (current, starting) = (event.pid, None),
                "failed" | "rolled_back" => starting = None,
                "died" if event.pid == current => current = None,
                _ => {}
            }
        }
        let is_alone = process::tree(self.scene.server.pid()).len() == AT_REST;
        current.filter(|_| starting.is_none() && is_alone)
    }

    /// What main weighs at rest.
    fn weigh(&self) -> io::Result<process::Weight> {
        process::weigh(self.scene.server.pid()).ok_or_else(|| Error::other("main is gone"))
    }
}
