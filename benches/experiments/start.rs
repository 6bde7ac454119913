//! Signals while panzer starts: none of them ends or stops a process.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::phases::wait_for_first_line;
use super::restart::A_TRIAL;
use super::{Family, Program, Scene, Times, Trial};
use crate::server::{self, Seen, Watch, process};

const OPTIONS: &[&str] = &["--count", "2", "--probation", "0", "--delay", "0"];
/// How many more sockets main binds before its handlers are in place: the longer that takes,
/// the more signals arrive meanwhile.
const SOCKETS: usize = 16;
/// All signals that do not request a stop.
const HARMLESS: &[&str] =
    &["USR1", "HUP", "USR2", "TTIN", "TTOU", "VTALRM", "WINCH", "PIPE", "CHLD"];

/// A stream of all signals that do not request a stop; then SIGTERM.
pub fn signals(trial: &mut Trial) -> io::Result<()> {
    let times = trial.choose(1_000, 25);
    let (mut sent, mut stopped, mut bad_ends) = (0, 0, 0);
    let (mut took, mut seen) = (Times::default(), Seen::default());
    for _ in 0..times {
        let options = [OPTIONS, &["--bind", "127.0.0.1:0"].repeat(SOCKETS)].concat();
        let mut scene = Scene::begin(Program::Basic, Family::Tcp, &options)?;
        let main = scene.server.pid();
        wait_for_first_line(main)?;
        let watch = Watch::start(main);
        // The first one at once, before a thread could be started for more.
        server::kill(main, trial.pick(HARMLESS))?;
        let shuffled = (0..64).map(|_| trial.pick(HARMLESS)).collect();
        let stream = Stream::start(vec![main], shuffled, Duration::from_micros(50));
        scene.server.wait_for("a current generation", |event| event.name == "current")?;
        stopped += count_stopped(main);
        sent += stream.finish();
        let asked = Instant::now();
        scene.server.signal("TERM")?;
        let gone = scene.server.wait_for_end()?;
        seen.absorb(watch.finish());
        took.push(gone.saturating_duration_since(asked));
        bad_ends += usize::from(!scene.server.status()?.success());
    }
    trial.note(format_args!("{times} starts under {sent} signals, all served"));
    trial.none("stopped", stopped);
    // SIGUSR2 is among the signals.
    trial.watched_beside(&seen, A_TRIAL);
    trial.none("status not 0:", bad_ends);
    trial.note(format_args!("SIGTERM to the end {took}"));
    Ok(())
}

/// Status requests in a loop while panzer starts: SIGTTIN would stop a process without a
/// handler.
pub fn status(trial: &mut Trial) -> io::Result<()> {
    let wanted = trial.choose(1_000, 200);
    let (mut sent, mut starts, mut stopped) = (0, 0, 0);
    while sent < wanted {
        let mut scene = Scene::begin(Program::Basic, Family::Tcp, OPTIONS)?;
        let main = scene.server.pid();
        wait_for_first_line(main)?;
        let stream = Stream::start(vec![main], vec!["TTIN"], Duration::from_millis(1));
        scene.server.wait_for("a start", |event| event.name == "started")?;
        stopped += count_stopped(main);
        scene.server.wait_for("a current generation", |event| event.name == "current")?;
        // The least time between two answers, so that one reaches the monitor.
        scene.server.listen_until(Instant::now() + Duration::from_millis(110));
        stopped += count_stopped(main);
        sent += stream.finish();
        starts += 1;
        scene.server.stop()?;
    }
    trial.note(format_args!("{sent} SIGTTIN in {starts} starts"));
    trial.none("stopped", stopped);
    Ok(())
}

/// The number of stopped processes in the tree.
fn count_stopped(main: u32) -> usize {
    let tree = process::tree(main).into_iter();
    tree.filter(|pid| process::state(*pid) == Some('T')).count()
}

/// A stream of signals until it is finished.
pub struct Stream {
    enough: Sender<()>,
    thread: JoinHandle<u32>,
}

impl Stream {
    /// Sends the signals in turn to each of the processes, one per `pause`; skips those that
    /// are gone.
    pub fn start(pids: Vec<u32>, signals: Vec<&'static str>, pause: Duration) -> Self {
        let (enough, is_enough) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            for signal in signals.iter().cycle() {
                for pid in &pids {
                    sent += u32::from(server::kill(*pid, signal).is_ok());
                }
                if is_enough.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            sent
        });
        Self { enough, thread }
    }

    /// Ends the stream and returns how many signals were sent. None is sent after this.
    pub fn finish(self) -> u32 {
        drop(self.enough);
        self.thread.join().unwrap_or(0)
    }
}
