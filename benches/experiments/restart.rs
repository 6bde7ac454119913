//! Main is restarted in place, under clients, at random moments of its work: its pid, its
//! descriptors and all processes below it stay, and no client notices.
//!
//! And under a storm of signals, each of which would end a process without handlers: all
//! requests are performed, and no process dies.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Error};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::phases::PROBATION;
use super::reload::{Concurrency, wait_for_last};
use super::{Program, Scene, Times, Trial};
use crate::load::{Load, Plan, TIMEOUT, Target};
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
/// How long a request may wait while no generation can be started.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait from an action to the restart.
const LONGEST: Duration = Duration::from_millis(25);
/// From one signal of a storm to the next.
const GAP: Duration = Duration::from_micros(2_500);
/// How long without an event counts as quiet.
const QUIET: Duration = Duration::from_millis(50);
/// How much main's memory may grow, in KiB: because of fragmentation, and because each
/// program begins with a new memory layout.
const SLACK: u64 = 32;
/// A probed program has a process group of its own.
pub(super) const A_TRIAL: usize = 1;
/// Main, a monitor and two workers.
const AT_REST: usize = 4;

/// What main does when it is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// Nothing.
    Rest,
    /// It starts a generation.
    Reload,
    /// The new generation is on probation.
    Probation,
    /// The old generation drains.
    Drain,
    /// The next start waits: no generation can be started, and none serves.
    Backoff,
    /// A reload fails.
    Failure,
    /// A worker has exited, and is being replaced.
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

/// Runs the rest of its arguments unless the file of the first one exists.
const UNLESS: &str = r#"[ -e "$0" ] && exit 1; exec "$@""#;

/// A server whose next start can be made to fail, and its clients.
struct Subject {
    scene: Scene,
    fault: PathBuf,
    load: Load,
}

/// A thousand restarts, each at a random moment of something.
pub fn random(trial: &mut Trial) -> io::Result<()> {
    let times: u32 = trial.choose(1_000, 40);
    let mut subject = Subject::new()?;
    // The first program was started differently, with another memory layout.
    subject.restart()?;
    subject.settle()?;
    let first = subject.weigh()?;
    let watch = Watch::start(subject.scene.server.pid());
    let (mut took, mut met) = (Times::default(), BTreeMap::<Doing, u32>::new());
    for _ in 0..times {
        let doing = trial.pick(&ALL);
        subject.bring(trial, doing)?;
        *met.entry(doing).or_default() += 1;
        let asked = Instant::now();
        subject.restart()?;
        took.push(asked.elapsed());
        // Only failures come while no generation can be started.
        if matches!(doing, Doing::Backoff | Doing::Failure) || trial.below(2) == 0 {
            subject.settle()?;
        }
    }
    subject.settle()?;
    let last = subject.weigh()?;
    let seen = watch.finish();
    let (report, events) = (subject.load.finish()?, subject.scene.server.events());
    let mut concurrency = Concurrency::default();
    concurrency.watch(events);
    trial.note(format_args!("{times} restarts {met:?}, each {took}"));
    trial.note(format_args!("{} answers", report.answers()));
    trial.none("failed", report.failures());
    if report.failures() > 0 {
        trial.note(report.summary());
    }
    weigh_against(trial, first, last);
    concurrency.judge(trial);
    trial.watched_beside(&seen, A_TRIAL);
    let killed =
        events.iter().filter(|event| event.name == "died" && event.line.contains("SIGKILL"));
    let (killed, expected) = (killed.count(), met.get(&Doing::Backoff).copied().unwrap_or(0));
    trial.require(killed == expected as usize, format_args!("{killed} of {expected} killed"));
    let status = subject.scene.server.stop()?;
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
    let (runs, signals) = trial.choose((20, 1_000), (2, 150));
    let (mut restarts, mut reloads, mut answers, mut failed) = (0, 0, 0, 0);
    let (mut late, mut left) = (0, 0);
    let (mut concurrency, mut seen) = (Concurrency::default(), Seen::default());
    for _ in 0..runs {
        let mut subject = Subject::new()?;
        let watch = Watch::start(subject.scene.server.pid());
        let mut last = BTreeMap::new();
        for number in 0..signals {
            let signal =
                if number < signals - 3 { trial.pick(&SIGNALS) } else { SIGNALS[number % 3] };
            last.insert(signal, Instant::now());
            subject.scene.server.signal(signal)?;
            subject.scene.server.listen_until(Instant::now() + trial.moment(GAP));
        }
        let reload = last["USR1"].max(last["HUP"]);
        wait_for_last(&mut subject.scene, reload)?;
        let is_late = |event: &Event| event.name == "restarted" && event.at >= last["USR2"];
        late += usize::from(!subject.scene.server.events().iter().any(is_late));
        subject.settle()?;
        left += process::tree(subject.scene.server.pid()).len().abs_diff(AT_REST);
        let report = subject.load.finish()?;
        (answers, failed) = (answers + report.answers(), failed + report.failures());
        let events = subject.scene.server.events();
        let count = |name: &str| events.iter().filter(|event| event.name == name).count();
        (restarts, reloads) = (restarts + count("restarted"), reloads + count("started") - 1);
        concurrency.watch(events);
        seen.absorb(watch.finish());
        let status = subject.scene.server.stop()?;
        trial.require(status.success(), status);
    }
    trial.note(format_args!(
        "{runs} times {signals} signals: {restarts} restarts, {reloads} reloads"
    ));
    trial.note(format_args!("{answers} answers"));
    trial.none("failed", failed);
    trial.none("without a restart after the last SIGUSR2", late);
    trial.none("too many or too few at rest", left);
    trial.require(restarts > 0, "some restarts");
    concurrency.judge(trial);
    trial.watched_beside(&seen, A_TRIAL);
    Ok(())
}

impl Subject {
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
            timeout: CONNECT,
            clients: CLIENTS,
            requests_per_connection: 1,
            limit: None,
            rest: Duration::ZERO,
        });
        load.wait_for(4)?;
        Ok(Self { scene, fault, load })
    }

    /// Starts an action of main, and waits for a random moment of it.
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
                // The first retry comes at once, and the next one waits.
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

    /// Restarts main, and waits for its event.
    fn restart(&mut self) -> io::Result<()> {
        self.scene.server.signal("USR2")?;
        let is_it = |event: &Event| event.name == "restarted";
        self.scene.server.wait_for("a restart", is_it)?;
        Ok(())
    }

    /// Lets the next start succeed, and waits until only one generation is left; returns its
    /// monitor.
    fn settle(&mut self) -> io::Result<u32> {
        match fs::remove_file(&self.fault) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        let deadline = Instant::now() + TIMEOUT;
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
        Err(Error::other(format!("{count} processes do not come to rest")))
    }

    /// The monitor that serves, if no other generation starts or drains.
    fn resting(&self) -> Option<u32> {
        let (mut current, mut starting) = (None, None);
        for event in self.scene.server.events().iter().filter(|event| event.slot.is_none()) {
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

    /// The descriptors, threads and memory of main at rest.
    fn weigh(&self) -> io::Result<process::Weight> {
        process::weigh(self.scene.server.pid()).ok_or_else(|| Error::other("main is gone"))
    }
}
