//! Signals in the moments between two system calls.
//!
//! strace(1) sends one as a chosen process makes a chosen call, so that the
//! moment is the same in every run. The signal comes to the thread that makes
//! the call, from the kernel: blocked, it stays pending; else it is taken
//! before the call returns to the program.

use std::path::{Path, PathBuf};

use panzer::sys::Signal;

use crate::harness::look;
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::strace::Trace;

/// When a signal is to come: as somebody makes this call for this time.
#[derive(Clone, Copy)]
struct Moment(&'static str, usize);

impl Moment {
    /// The words of strace that send `signal` then.
    fn words(self, signal: Signal) -> [String; 2] {
        let Self(call, time) = self;
        [
            format!("-etrace={call}"),
            format!("-einject={call}:signal={}:when={time}", signal.number()),
        ]
    }

    /// Has `signal` come to main then, and to nobody else.
    fn strike_main(self, place: &Place, setup: Setup, signal: Signal) -> Setup {
        let output = place.join("trace").display().to_string();
        let [trace, inject] = self.words(signal);
        setup.through(Path::new("strace"), &["-D", "-qqq", "-o", &output, &trace, &inject])
    }

    /// Has `signal` come then to every process below main, and to main.
    fn strike_all(self, place: &Place, setup: Setup, signal: Signal) -> Setup {
        let [trace, inject] = self.words(signal);
        setup.traced(place.path(), "trace", &[&trace, &inject]).0
    }

    /// A COMMAND to whose process, or with `all` to everybody below it too,
    /// `signal` comes then. Its tracer is in a session of its own.
    fn strike_command(self, place: &Place, all: bool, signal: Signal) -> PathBuf {
        let [trace, inject] = self.words(signal);
        let (witness, follow) = (example("witness"), if all { "-f" } else { "" });
        let (output, witness) = (place.join("trace"), witness.display());
        place.script(
            "app",
            &format!(
                "exec strace -DDD -qqq {follow} -o '{}' {trace} {inject} '{witness}' run=idle",
                output.display()
            ),
        )
    }
}

/// One worker that idles.
fn idle() -> Setup {
    Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"])
}

/// It lives as if nothing had happened to it.
fn lives_on(mut panzer: Panzer) {
    panzer.expect_current(1);
    panzer.settle();
    panzer.stop();
}

/// The calls of main before it has handlers: its first one after everything is
/// blocked, and the one before it looks for its sockets.
const BEFORE_MAINS_HANDLERS: [Moment; 2] = [Moment("rt_sigaction", 1), Moment("prctl", 2)];

/// RATIONALE 1.1
#[test]
fn a_stop_that_comes_before_main_has_handlers_stops_it_before_anything_is_started() {
    for moment in BEFORE_MAINS_HANDLERS {
        for signal in [Signal::Term, Signal::Int, Signal::Quit, Signal::Hup] {
            let place = Place::new();
            let mut panzer = moment.strike_main(&place, idle(), signal).start();
            assert_eq!(panzer.end(), End::Status(0), "{signal:?} at {}", moment.0);
            assert_eq!(panzer.count("started"), 0, "{signal:?} at {}", moment.0);
        }
    }
}

/// RATIONALE 1.1
#[test]
fn whatever_else_comes_before_main_has_handlers_is_answered_when_it_has() {
    for moment in BEFORE_MAINS_HANDLERS {
        let answers = [
            (Signal::Usr2, "main is panzer "),
            (Signal::Ttin, "status: panzer "),
            (Signal::Usr1, ""),
        ];
        for (signal, answer) in answers {
            let place = Place::new();
            let mut panzer = moment.strike_main(&place, idle(), signal).start();
            panzer.expect_line(answer);
            lives_on(panzer);
        }
    }
}

/// RATIONALE 1.1
#[test]
fn what_means_nothing_before_main_has_handlers_does_nothing() {
    for moment in BEFORE_MAINS_HANDLERS {
        for signal in [Signal::Vtalrm, Signal::Chld, Signal::Ttou, Signal::Winch, Signal::Pipe] {
            let place = Place::new();
            lives_on(moment.strike_main(&place, idle(), signal).start());
        }
    }
}

/// The first look of a library monitor at what a signal did before: by then
/// everything is blocked. What the runtime has looked at before is counted in
/// a life without a signal.
fn before_a_monitors_handlers() -> Moment {
    let place = Place::new();
    let (setup, trace) = idle().traced(place.path(), "count", &["-etrace=rt_sigaction"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    panzer.stop();
    // What this process did before its exec was main's child's to do.
    Moment("rt_sigaction", looks_before(&trace, monitor) + 1)
}

fn looks_before(trace: &Trace, monitor: u32) -> usize {
    let calls = trace.calls();
    let looks: Vec<_> = calls.iter().filter(|call| call.pid == monitor).collect();
    // Main's child puts back the signals up to the last there is.
    let exec = looks.iter().rposition(|call| call.words.starts_with("SIGRT_32"));
    let own = &looks[exec.expect("main's child puts all signals back") + 1..];
    own.iter()
        .position(|call| call.words.starts_with("SIGTERM, NULL"))
        .expect("it looks at SIGTERM")
}

/// RATIONALE 2.3
#[test]
fn a_stop_that_comes_before_a_monitor_has_handlers_stops_it_gracefully() {
    let moment = before_a_monitors_handlers();
    for signal in [Signal::Term, Signal::Int] {
        let place = Place::new();
        let app = moment.strike_command(&place, false, signal);
        let mut panzer = Setup::new(&app, &[]).options(&["-n1", "--give-up=1"]).start();
        panzer.expect_line("run has returned");
        let died = panzer.expect("died", 1);
        assert_eq!((died.slot, &*died.why), (0, "exited with status 0"), "{}", died.line);
        assert_eq!(panzer.end(), End::Status(1), "the start has failed");
    }
}

/// RATIONALE 2.3
#[test]
fn a_question_that_comes_before_a_monitor_has_handlers_does_not_stop_it() {
    let place = Place::new();
    let app = before_a_monitors_handlers().strike_command(&place, false, Signal::Ttin);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1"]).start();
    panzer.expect_line("worker 1 empty");
    lives_on(panzer);
}

/// RATIONALE 1.8
#[test]
fn a_signal_between_the_fork_and_the_exec_ends_the_child_and_not_main() {
    // Before the child has let go of main's pipe, and after.
    for moment in [Moment("close_range", 1), Moment("chdir", 1)] {
        let place = Place::new();
        let setup = idle().options(&["--give-up=1"]);
        let mut panzer = moment.strike_all(&place, setup, Signal::Term).start();
        let monitor = panzer.expect("started", 1).pid;
        panzer.expect_event("its end", |event| event.name == "died" && event.pid == monitor);
        panzer.expect_line("killed by SIGTERM");
        panzer.expect_line("giving up");
        assert_eq!(panzer.end(), End::Status(1));
    }
}

/// RATIONALE 1.49
#[test]
fn what_stops_mains_group_while_it_forks_does_not_stop_the_child() {
    for signal in [Signal::Ttin, Signal::Ttou] {
        let place = Place::new();
        lives_on(Moment("setpgid", 1).strike_all(&place, idle(), signal).start());
    }
}

/// RATIONALE 1.8
#[test]
fn a_signal_to_main_while_it_forks_is_mains() {
    let moment = Moment("setpgid", 1);
    let place = Place::new();
    let mut panzer = moment.strike_main(&place, idle(), Signal::Term).start();
    assert_eq!(panzer.end(), End::Status(0));
    let place = Place::new();
    let mut panzer = moment.strike_main(&place, idle(), Signal::Usr1).start();
    panzer.expect_current(2);
    panzer.stop();
}

/// RATIONALE 3.1
#[test]
fn a_signal_between_the_fork_and_the_set_up_ends_the_worker_and_not_the_monitor() {
    // While it still has its monitor's pipe and handlers, and with its own.
    for moment in [Moment("dup3", 1), Moment("timer_create", 1)] {
        let place = Place::new();
        let app = moment.strike_command(&place, true, Signal::Term);
        let mut panzer = Setup::new(&app, &[]).options(&["-n1", "--delay=30"]).start();
        // The first death is repaired at once, the second half a minute later.
        for _ in 0..2 {
            let died = panzer.expect("died", 1);
            assert_eq!((died.slot, &*died.why), (1, "exited with status 0"), "{}", died.line);
        }
        panzer.settle();
        assert_eq!((panzer.count("died"), panzer.count("started")), (2, 1));
        panzer.stop();
    }
}

/// The pipes of a process, by what they are.
fn pipes(pid: u32) -> Vec<String> {
    let all = look::descriptors(pid).into_iter();
    let targets = all.filter_map(|fd| fd.split_once(' ').map(|(_, target)| target.to_string()));
    targets.filter(|target| target.starts_with("pipe:")).collect()
}

/// RATIONALE 3.1
#[test]
fn a_worker_and_its_monitor_cannot_wake_each_other() {
    let mut panzer = idle().start();
    let monitor = panzer.expect_current(1);
    let worker = panzer.workers(monitor)[0];
    let shared = pipes(monitor);
    let own = pipes(worker).into_iter().filter(|pipe| !shared.contains(pipe)).count();
    // Both ends, and the second number that an application may watch.
    assert_eq!(own, 3, "{:?}", look::descriptors(worker));
    panzer.stop();
}

/// RATIONALE 1.33
#[test]
fn a_signal_after_main_has_looked_wakes_it_again() {
    // It passes the question on after it has looked; then nothing is due.
    let place = Place::new();
    let mut panzer = Moment("kill", 1).strike_main(&place, idle(), Signal::Term).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Ttin);
    assert_eq!(panzer.end(), End::Status(0));
}

/// RATIONALE 1.33
#[test]
fn a_signal_after_a_monitor_has_looked_wakes_it_again() {
    // The answer to the question is all that it ever logs.
    let place = Place::new();
    let app = Moment("pwritev2", 1).strike_command(&place, false, Signal::Term);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1"]).start();
    let monitor = panzer.expect_current(1);
    panzer.signal(Signal::Ttin);
    panzer.expect_event("its end", |event| event.name == "died" && event.pid == monitor);
    panzer.expect_current(2);
    panzer.stop();
}

/// RATIONALE 2.8
#[test]
fn a_stop_that_comes_while_the_dead_are_looked_for_lets_nobody_be_replaced() {
    let place = Place::new();
    let app = Moment("waitid", 1).strike_command(&place, false, Signal::Term);
    let mut panzer = Setup::new(&app, &[]).options(&["-n2", "--delay=0"]).start();
    let monitor = panzer.expect_current(1);
    send(panzer.workers(monitor)[0], Signal::Kill);
    panzer.expect_event("its end", |event| event.name == "died" && event.pid == monitor);
    assert_eq!(panzer.count("respawn"), 0);
    panzer.expect_current(2);
    panzer.stop();
}
