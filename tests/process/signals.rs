//! Signals: many at once, and at bad moments.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::assert_elapsed_at_least;
use crate::harness::files::{TempDir, example, open_gate, pass_gate};
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::pipe::fill;
use crate::harness::procfs;
use crate::harness::setup::Setup;
use crate::harness::strace::Attached;

/// rule: reload.coalesced
#[test]
fn thousand_reload_requests_never_run_two_reloads_at_once() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]).start();
    panzer.expect_current(1);
    for _ in 0..1_000 {
        panzer.signal(Signal::Usr1);
    }
    panzer.settle();
    // All reloads so far are running or done; one more follows.
    let asked = panzer.count("started");
    panzer.signal(Signal::Usr1);
    panzer.expect_event("a start after the last", |event| {
        event.name == "started" && event.generation as usize > asked
    });
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    let mut starting = 0;
    for event in panzer.events() {
        match &*event.name {
            "started" => starting += 1,
            "current" | "failed" => starting -= 1,
            _ => {}
        }
        assert!((0..=1).contains(&starting), "{event:?}");
    }
}

/// rules: main.reap, pool.reap
#[test]
fn worker_or_monitor_stopped_and_continued_is_not_replaced() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n2"]).start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    for pid in workers.iter().copied().chain([monitor]) {
        for _ in 0..10 {
            stop_process(pid);
            continue_process(pid);
        }
    }
    panzer.settle();
    assert_eq!(panzer.workers(monitor), workers);
    assert_eq!((panzer.count("died"), panzer.count("started")), (0, 1));
    panzer.stop();
}

/// rule: signal.handler
#[test]
fn main_can_stop_after_a_storm_of_signals() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]).start();
    let monitor = panzer.expect_current(1);
    let storm = [Signal::Ttin, Signal::Vtalrm, Signal::Winch, Signal::Chld, Signal::Usr2];
    for _ in 0..20_000 {
        storm.into_iter().for_each(|signal| panzer.signal(signal));
    }
    panzer.settle();
    assert!(procfs::is_alive(monitor));
    assert_eq!((panzer.count("died"), panzer.count("started")), (0, 1));
    panzer.stop();
}

/// rules: stop.drain-delay, stop.immediate, stop.completes
///
/// Every pair of an operator's signals, the second at once after the first: a stop then
/// ends all processes, and no generation is started after it began.
#[test]
fn stop_after_any_two_signals_ends_all_processes() {
    let all = [Signal::Term, Signal::Int, Signal::Quit, Signal::Usr1, Signal::Usr2, Signal::Hup];
    for first in all {
        for second in all {
            let setup = Setup::new(&example("witness"), &["run=idle"]);
            let mut panzer = setup.options(&["-n1", "--timeout=5"]).start();
            panzer.expect_current(1);
            panzer.signal(first);
            panzer.signal(second);
            panzer.signal(Signal::Term);
            assert_eq!(panzer.end(), End::Status(0), "{first:?} {second:?}");
            let events = panzer.events();
            let stopping = events.iter().position(|event| event.name == "stopping");
            let stopping = stopping.expect("it has stopped");
            let late = events[stopping..].iter().find(|event| event.name == "started");
            assert!(late.is_none(), "{first:?} {second:?}: {late:?}");
        }
    }
}

/// rule: stop.escalation
#[test]
fn stop_reaches_a_generation_that_is_not_ready() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    let setup = Setup::new(&example("witness"), &["say=here", &wait, "run=idle"]);
    let mut panzer = setup.options(&["-n1"]).start();
    panzer.expect_line("here");
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count("ready"), 0);
}

/// The write end of the pipe that wakes main: of the pipes after the standard
/// descriptors and the events, the first with both ends in main.
fn wake_pipe(main: u32) -> String {
    let ours = procfs::descriptors(main);
    let mut pipes: Vec<(u32, &str)> = ours
        .iter()
        .filter_map(|fd| fd.split_once(' '))
        .filter(|(_, target)| target.starts_with("pipe:"))
        .map(|(number, target)| (number.parse().expect("it is a number"), target))
        .filter(|(number, _)| *number > 3)
        .collect();
    pipes.sort_unstable();
    let is_second = |at: usize| pipes[..at].iter().any(|(_, before)| *before == pipes[at].1);
    let at = (0..pipes.len()).find(|at| is_second(*at)).expect("main has a pipe to itself");
    format!("/proc/{main}/fd/{}", pipes[at].0)
}

/// rule: signal.handler
#[test]
fn full_wake_pipe_neither_loses_signals_nor_blocks() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]).start();
    panzer.expect_current(1);
    let path = wake_pipe(panzer.pid());
    for signal in [Signal::Usr1, Signal::Term] {
        // Main is stopped and does not empty the pipe.
        stop_process(panzer.pid());
        let mut pipe = File::options().write(true).open(&path).expect("it is main's");
        fill(&mut pipe);
        drop(pipe);
        panzer.signal(signal);
        continue_process(panzer.pid());
        if signal == Signal::Usr1 {
            panzer.expect_current(2);
        }
    }
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: signal.ignored
#[test]
fn ignored_signals_neither_end_nor_stop_main() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]).start();
    panzer.expect_current(1);
    for signal in [Signal::Ttou, Signal::Winch, Signal::Pipe, Signal::Xfsz] {
        panzer.signal(signal);
        panzer.settle();
    }
    assert_eq!((panzer.count("died"), panzer.count("started")), (0, 1));
    panzer.stop();
}

/// Up to 64 the kernel is asked for any that is dead, beyond that for each.
///
/// rule: pool.reap
#[test]
fn many_workers_that_die_while_their_monitor_is_stopped_are_all_replaced() {
    for count in [50, 70] {
        let setup = Setup::new(&example("witness"), &["run=idle"]);
        let mut panzer = setup.options(&[&format!("-n{count}"), "--delay=0"]).start();
        let monitor = panzer.expect_current(1);
        let workers = panzer.workers(monitor);
        assert_eq!(workers.len(), count);
        stop_process(monitor);
        workers.iter().for_each(|worker| send(*worker, Signal::Kill));
        let is_alive = |pid: &u32| procfs::is_alive(*pid);
        panzer.eventually("all are dead", || !workers.iter().any(is_alive));
        continue_process(monitor);
        panzer.eventually("all are replaced and reaped", || {
            let now = procfs::children(monitor);
            now.len() == count && now.iter().all(|pid| is_alive(pid) && !workers.contains(pid))
        });
        let mut panzer = panzer.stop();
        assert_eq!(panzer.count_lines("killed by SIGKILL"), count, "each is one line");
        assert_eq!(panzer.count("started"), 1, "the monitor is the same");
    }
}

/// rule: main.reap
#[test]
fn fifty_orphans_that_die_while_main_is_stopped_are_all_reaped() {
    let dir = TempDir::new();
    let (ready, gate, done) = (dir.gate("ready"), dir.gate("gate"), dir.gate("done"));
    let body = format!(
        "echo here >'{}'; cat '{}' >/dev/null; {} echo over >'{}'; exec '{}' run=idle",
        ready.display(),
        gate.display(),
        "(true &); ".repeat(50),
        done.display(),
        example("witness").display()
    );
    let mut panzer = Setup::new(&dir.script("app", &body), &[]).options(&["-n1"]).start();
    let main = panzer.pid();
    pass_gate(&ready);
    stop_process(main);
    open_gate(&gate);
    pass_gate(&done);
    panzer.eventually("all are dead", || {
        procfs::children(main).iter().filter(|pid| !procfs::is_alive(**pid)).count() == 50
    });
    continue_process(main);
    panzer.expect_current(1);
    panzer.eventually("all are reaped", || procfs::children(main).len() == 1);
    panzer.stop();
}

/// Makes 1500 orphans that have exited.
const ORPHANS: &str = r"
import os
for _ in range(50):
    child = os.fork()
    if child == 0:
        for _ in range(30):
            if os.fork() == 0:
                os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
";

/// Has 1500 orphans die while `reaper` is stopped, which then reaps all of them.
/// Returns its greatest number of waitid(2) between two waits.
fn orphans_at_once(options: &[&str], last: &str, reaper: fn(&mut Panzer) -> u32) -> usize {
    let dir = TempDir::new();
    let (ready, gate, done) = (dir.gate("ready"), dir.gate("gate"), dir.gate("done"));
    let body = format!(
        "echo here >'{}'; cat '{}' >/dev/null; python3 '{}'; echo over >'{}'; exec {last}",
        ready.display(),
        gate.display(),
        dir.write("orphans.py", ORPHANS).display(),
        done.display(),
    );
    let mut panzer = Setup::new(&dir.script("app", &body), &[]).options(options).start();
    let pid = reaper(&mut panzer);
    pass_gate(&ready);
    stop_process(pid);
    open_gate(&gate);
    pass_gate(&done);
    panzer.eventually("all are dead", || {
        procfs::children(pid).iter().filter(|pid| !procfs::is_alive(**pid)).count() == 1_500
    });
    let path = dir.join("trace");
    let tracer = Attached::to(pid, &path, &["-e", "trace=waitid,poll,ppoll"]);
    continue_process(pid);
    panzer.eventually("all are reaped", || procfs::children(pid).len() == 1);
    drop(tracer);
    panzer.expect_current(1);
    panzer.stop();
    let calls = fs::read_to_string(&path).expect("strace has written it");
    let turns = calls.split("poll(");
    turns.map(|turn| turn.matches("waitid(").count()).max().expect("there was one")
}

#[test]
fn main_reaps_1500_orphans_in_batches() {
    let witness = format!("'{}' run=idle", example("witness").display());
    let most = orphans_at_once(&["-n1"], &witness, |panzer| panzer.pid());
    assert!(most < 400, "{most}");
}

/// A pool calls waitid(2) twice for each: it looks, then reaps.
#[test]
fn pool_reaps_1500_orphans_in_batches() {
    let options = ["-n1", "--exec", "--ready=0"];
    let pool = |panzer: &mut Panzer| panzer.expect_monitor(1);
    let most = orphans_at_once(&options, "sleep 1000", pool);
    assert!(most < 800, "{most}");
}

/// A program that is not of the library, or not yet, may take it for another request.
///
/// rule: signal.sigttin
#[test]
fn no_sigttin_of_a_thousand_reaches_a_monitor_without_handlers() {
    let dir = TempDir::new();
    let (here, gate) = (dir.gate("here"), dir.gate("gate"));
    // The shell runs its traps once cat(1) has ended.
    let body = format!(
        "trap 'echo it was asked >&2' TTIN; echo here >'{}'; cat '{}' >/dev/null\n\
         exec '{}' run=idle",
        here.display(),
        gate.display(),
        example("witness").display()
    );
    let mut panzer = Setup::new(&dir.script("app", &body), &[]).options(&["-n1"]).start();
    let monitor = panzer.expect("started", 1).pid;
    pass_gate(&here);
    for _ in 0..1_000 {
        panzer.signal(Signal::Ttin);
    }
    panzer.settle();
    open_gate(&gate);
    assert_eq!(panzer.expect_current(1), monitor);
    assert_eq!(panzer.stop().count_lines("it was asked"), 0);
}

/// A session with a terminal. Main is in the background, in one group with a process
/// that, once its gate is open, reads from the terminal again after every SIGTTIN.
const BACKGROUND: &str = r"
import fcntl, os, signal, sys, termios
os.setsid()
_, terminal = os.openpty()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
main = os.fork()
if main == 0:
    os.setpgid(0, 0)
    if os.fork() == 0:
        signal.signal(signal.SIGTTIN, lambda *_: None)
        open(sys.argv[1]).read()
        while os.read(terminal, 1):
            pass
        os._exit(0)
    os.execvp(sys.argv[2], sys.argv[2:])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(main, 0)[1]))
";

/// rule: signal.sigttin
#[test]
fn endless_sigttin_of_a_background_read_does_not_flood_the_log() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let words = ["-c", BACKGROUND, &gate.display().to_string()];
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]);
    let mut panzer = setup.through("python3".as_ref(), &words).start();
    panzer.expect_current(1);
    let main = procfs::children(panzer.pid())[0];
    assert_eq!(procfs::name(main), "panzer:main");
    let begun = Instant::now();
    open_gate(&gate);
    for _ in 0..6 {
        panzer.expect_line(": status: panzer ");
    }
    // Two answers are at least 100 ms apart, and the first came after the gate opened.
    assert_elapsed_at_least(begun, Duration::from_millis(500));
    send(main, Signal::Usr1);
    panzer.expect_current(2);
    send(main, Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
}
