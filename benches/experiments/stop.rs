//! The final stop: every connection that the kernel had accepted is answered.
//!
//! Each time SIGSTOP stops the workers, so that 100 connections are queued, behind 16 clients
//! that send requests in a loop. One more client keeps connecting without waiting for
//! answers; then panzer is told to stop, and the workers continue at a random moment around
//! that.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{CONNECT, Family, Program, Scene, Times, Trial};
use crate::load::{Failure, Question, TIMEOUT};
use crate::server;

const OPTIONS: &[&str] = &["--count", "4", "--delay", "0", "--quiet"];
const QUEUED: usize = 100;
const CLIENTS: usize = 16;
/// From one arrival to the next, and the most of them.
const PACE: Duration = Duration::from_micros(100);
const MOST: usize = 500;

pub fn basic_tcp(trial: &mut Trial) -> io::Result<()> {
    many(trial, Program::Basic, Family::Tcp)
}

pub fn basic_unix(trial: &mut Trial) -> io::Result<()> {
    many(trial, Program::Basic, Family::Unix)
}

pub fn http_tcp(trial: &mut Trial) -> io::Result<()> {
    many(trial, Program::Http(5), Family::Tcp)
}

pub fn http_unix(trial: &mut Trial) -> io::Result<()> {
    many(trial, Program::Http(5), Family::Unix)
}

/// The sum of all stops.
#[derive(Default)]
struct Sum {
    queued: usize,
    queued_lost: usize,
    arriving: usize,
    arriving_lost: usize,
    failures: Vec<String>,
    bad_ends: usize,
    took: Times,
}

fn many(trial: &mut Trial, program: Program, family: Family) -> io::Result<()> {
    let (times, mut sum) = (trial.choose(50, 2), Sum::default());
    for _ in 0..times {
        one(trial, program, family, &mut sum)?;
    }
    let Sum { queued, arriving, failures, .. } = &sum;
    trial.note(format_args!("{times} stops: {queued} queued and {arriving} arriving answered"));
    trial.none("queued lost", sum.queued_lost);
    trial.none("arriving lost", sum.arriving_lost);
    trial.none("status not 0:", sum.bad_ends);
    trial.note(format_args!("stop {}", sum.took));
    if sum.queued_lost + sum.arriving_lost > 0 {
        trial.note(format_args!("seen: {}", failures.join("; ")));
    }
    Ok(())
}

fn one(trial: &mut Trial, program: Program, family: Family, sum: &mut Sum) -> io::Result<()> {
    let mut scene = Scene::open(program, family, OPTIONS)?;
    let load = scene.load(CLIENTS, CONNECT);
    load.wait_for(200)?;
    let workers = scene.workers()?;
    server::kill_all(&workers, "STOP")?;
    let questions: Vec<_> = (0..QUEUED)
        .map(|_| Question::ask(&scene.target, scene.dialect()))
        .collect::<io::Result<_>>()?;

    let arrivals = Arrivals::start(&scene);
    scene.server.listen_until(Instant::now() + trial.moment(Duration::from_millis(5)));
    let asked = Instant::now();
    scene.server.signal("TERM")?;
    scene.server.listen_until(asked + trial.moment(Duration::from_millis(5)));
    server::kill_all(&workers, "CONT")?;
    for question in questions {
        match question.answer() {
            Ok(_) => sum.queued += 1,
            Err(failure) => {
                sum.queued_lost += 1;
                sum.failures.push(format!("queued {failure:?}"));
            }
        }
    }
    let gone = scene.server.wait_for_end()?;
    arrivals.finish(sum);
    sum.took.push(gone.saturating_duration_since(asked).min(TIMEOUT));
    sum.bad_ends += usize::from(!scene.server.status()?.success());
    let report = load.finish()?;
    sum.arriving += report.answers();
    sum.arriving_lost += report.losses();
    if report.losses() > 0 {
        sum.failures.push(format!("arriving {}", report.summary()));
    }
    Ok(())
}

/// A client that keeps connecting until it is refused.
struct Arrivals {
    enough: Sender<()>,
    thread: JoinHandle<Vec<Result<Question, Failure>>>,
}

impl Arrivals {
    fn start(scene: &Scene) -> Self {
        let (enough, is_enough) = mpsc::channel();
        let (target, dialect) = (scene.target.clone(), scene.dialect());
        let thread = std::thread::spawn(move || {
            let mut asked = Vec::new();
            while asked.len() < MOST
                && asked.last().is_none_or(Result::is_ok)
                && is_enough.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout)
            {
                asked.push(Question::try_ask(&target, dialect, CONNECT));
            }
            asked
        });
        Self { enough, thread }
    }

    /// Reads the answers of all its connections that were not refused.
    fn finish(self, sum: &mut Sum) {
        drop(self.enough);
        for asked in self.thread.join().unwrap_or_default() {
            match asked.and_then(Question::answer) {
                Ok(_) => sum.arriving += 1,
                Err(failure) if failure.is_loss() => {
                    sum.arriving_lost += 1;
                    sum.failures.push(format!("arriving {failure:?}"));
                }
                Err(_) => {}
            }
        }
    }
}
