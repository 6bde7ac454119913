//! Signals in numbers and in bad moments.

use std::fs::File;
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::expect_passed;
use crate::harness::look;
use crate::harness::panzer::{End, continue_process, send, stop_process};
use crate::harness::pipe::fill;
use crate::harness::place::{Place, example, open_gate, pass_gate};
use crate::harness::setup::Setup;

/// RATIONALE 1.20
#[test]
fn a_thousand_reloads_asked_for_at_once_never_start_two_at_once() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]).start();
    panzer.expect_current(1);
    for _ in 0..1_000 {
        panzer.signal(Signal::Usr1);
    }
    panzer.settle();
    // Whatever was asked for is under way or done; one more is the last.
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

/// RATIONALE 1.27, 2.7
#[test]
fn a_worker_or_monitor_that_was_stopped_and_goes_on_is_not_replaced() {
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

/// RATIONALE 1.33
#[test]
fn a_storm_of_signals_leaves_main_able_to_stop() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]).start();
    let monitor = panzer.expect_current(1);
    let storm = [Signal::Ttin, Signal::Vtalrm, Signal::Winch, Signal::Chld, Signal::Usr2];
    for _ in 0..20_000 {
        storm.into_iter().for_each(|signal| panzer.signal(signal));
    }
    panzer.settle();
    assert!(look::is_alive(monitor));
    assert_eq!((panzer.count("died"), panzer.count("started")), (0, 1));
    panzer.stop();
}

/// RATIONALE 1.34, 1.37, 1.38
///
/// Every pair of what an operator may ask for, the second at once after the
/// first: in the end everybody is gone, and nothing is started afterwards.
#[test]
fn whatever_is_asked_for_during_whatever_else_a_stop_ends_everything() {
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

/// RATIONALE 1.24
#[test]
fn a_stop_reaches_a_generation_that_is_not_ready_yet() {
    let place = Place::new();
    let gate = place.gate("gate");
    let wait = format!("wait={}", gate.display());
    let setup = Setup::new(&example("witness"), &["say=here", &wait, "run=idle"]);
    let mut panzer = setup.options(&["-n1"]).start();
    panzer.expect_line("here");
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count("ready"), 0);
}

/// The write end of the pipe that wakes main: the first of which main has both
/// behind the standard descriptors and the events.
fn wake_pipe(main: u32) -> String {
    let ours = look::descriptors(main);
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

/// RATIONALE 1.33
#[test]
fn a_pipe_that_many_signals_have_filled_loses_none_and_blocks_nobody() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]).start();
    panzer.expect_current(1);
    let path = wake_pipe(panzer.pid());
    for signal in [Signal::Usr1, Signal::Term] {
        // Main sleeps, so that nobody empties the pipe.
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

/// RATIONALE 1.31
#[test]
fn what_main_ignores_neither_ends_nor_stops_it() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]).start();
    panzer.expect_current(1);
    for signal in [Signal::Ttou, Signal::Winch, Signal::Pipe, Signal::Xfsz] {
        panzer.signal(signal);
        panzer.settle();
    }
    assert_eq!((panzer.count("died"), panzer.count("started")), (0, 1));
    panzer.stop();
}

/// RATIONALE 2.7
#[test]
fn fifty_workers_that_die_while_their_monitor_is_stopped_are_all_replaced() {
    let setup = Setup::new(&example("witness"), &["run=idle"]);
    let mut panzer = setup.options(&["-n50", "--delay=0"]).start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    assert_eq!(workers.len(), 50);
    stop_process(monitor);
    workers.iter().for_each(|worker| send(*worker, Signal::Kill));
    panzer.eventually("all are dead", || !workers.iter().any(|worker| look::is_alive(*worker)));
    continue_process(monitor);
    panzer.eventually("all are replaced, and nobody is left unreaped", || {
        let now = look::children(monitor);
        now.len() == 50 && now.iter().all(|pid| look::is_alive(*pid) && !workers.contains(pid))
    });
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("killed by SIGKILL"), 50, "each is one line");
    assert_eq!(panzer.count("started"), 1, "the monitor is the same");
}

/// RATIONALE 1.27
#[test]
fn fifty_orphans_that_die_while_main_is_stopped_are_all_reaped() {
    let place = Place::new();
    let (ready, gate, done) = (place.gate("ready"), place.gate("gate"), place.gate("done"));
    let body = format!(
        "echo here >'{}'; cat '{}' >/dev/null; {} echo over >'{}'; exec '{}' run=idle",
        ready.display(),
        gate.display(),
        "(true &); ".repeat(50),
        done.display(),
        example("witness").display()
    );
    let mut panzer = Setup::new(&place.script("app", &body), &[]).options(&["-n1"]).start();
    let main = panzer.pid();
    pass_gate(&ready);
    stop_process(main);
    open_gate(&gate);
    pass_gate(&done);
    panzer.eventually("all are dead", || {
        look::children(main).iter().filter(|pid| !look::is_alive(**pid)).count() == 50
    });
    continue_process(main);
    panzer.expect_current(1);
    panzer.eventually("all are reaped", || look::children(main).len() == 1);
    panzer.stop();
}

/// RATIONALE 1.30
#[test]
fn a_thousand_questions_for_the_status_during_a_start_stop_nobody() {
    let place = Place::new();
    let (here, gate) = (place.gate("here"), place.gate("gate"));
    let body = format!(
        "echo here >'{}'; exec '{}' wait='{}' run=idle",
        here.display(),
        example("witness").display(),
        gate.display()
    );
    let mut panzer = Setup::new(&place.script("app", &body), &[]).options(&["-n1"]).start();
    let monitor = panzer.expect("started", 1).pid;
    pass_gate(&here);
    for _ in 0..1_000 {
        panzer.signal(Signal::Ttin);
    }
    panzer.settle();
    assert_ne!(look::state(monitor), Some('T'));
    open_gate(&gate);
    assert_eq!(panzer.expect_current(1), monitor);
    panzer.stop();
}

/// A session with a terminal, in whose background main is in one group with a
/// process that, once its gate is open, reads from the terminal and takes no
/// SIGTTIN for an answer.
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

/// RATIONALE 1.30
#[test]
fn a_background_read_that_sends_sigttin_without_an_end_floods_nothing() {
    let place = Place::new();
    let gate = place.gate("gate");
    let words = ["-c", BACKGROUND, &gate.display().to_string()];
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]);
    let mut panzer = setup.through("python3".as_ref(), &words).start();
    panzer.expect_current(1);
    let main = look::children(panzer.pid())[0];
    assert_eq!(look::name(main), "panzer:main");
    let begun = Instant::now();
    open_gate(&gate);
    for _ in 0..6 {
        panzer.expect_line(": status: panzer ");
    }
    // Between two answers are 100 ms, and the first was not before the gate.
    expect_passed(begun, Duration::from_millis(500));
    send(main, Signal::Usr1);
    panzer.expect_current(2);
    send(main, Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
}
