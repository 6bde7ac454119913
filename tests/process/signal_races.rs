//! Signals that arrive between two chosen system calls.
//!
//! strace(1) injects the signal when a chosen process makes a chosen call, so the moment
//! is the same in every run. The kernel sends it to the thread that makes the call: if
//! it is blocked it stays pending, else it is handled before the call returns to the
//! program.

use std::path::{Path, PathBuf};

use panzer::sys::Signal;

use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::procfs;
use crate::harness::setup::Setup;
use crate::harness::strace::{Attached, Trace};

/// When a signal arrives: at this call, made for the n-th time by a process.
#[derive(Clone, Copy)]
struct Moment(&'static str, usize);

impl Moment {
    /// The arguments of strace that inject `signal` then.
    fn words(self, signal: Signal) -> [String; 2] {
        let Self(call, time) = self;
        [
            format!("-etrace={call}"),
            format!("-einject={call}:signal={}:when={time}", signal.number()),
        ]
    }

    /// Sends `signal` to main then, and to no other process.
    fn strike_main(self, dir: &TempDir, setup: Setup, signal: Signal) -> Setup {
        let output = dir.join("trace").display().to_string();
        let [trace, inject] = self.words(signal);
        setup.through(Path::new("strace"), &["-D", "-qqq", "-o", &output, &trace, &inject])
    }

    /// Sends `signal` then to main and to every process below it.
    fn strike_all(self, dir: &TempDir, setup: Setup, signal: Signal) -> Setup {
        let [trace, inject] = self.words(signal);
        setup.traced(dir.path(), "trace", &[&trace, &inject]).0
    }

    /// A COMMAND whose process gets `signal` then.
    /// Its tracer is in a session of its own.
    fn strike_command(self, dir: &TempDir, signal: Signal) -> PathBuf {
        let [trace, inject] = self.words(signal);
        let (output, witness) = (dir.join("trace"), example("witness"));
        dir.script(
            "app",
            &format!(
                "exec strace -DDD -qqq -o '{}' {trace} {inject} '{}' run=idle",
                output.display(),
                witness.display()
            ),
        )
    }
}

/// One worker that idles.
fn idle() -> Setup {
    Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"])
}

/// Requires that the signal has had no effect.
fn lives_on(mut panzer: Panzer) {
    panzer.expect_current(1);
    panzer.settle();
    panzer.stop();
}

/// Two calls of main before it installs its handlers: the first after it has blocked
/// all signals, and the one before it looks for its sockets.
const BEFORE_MAINS_HANDLERS: [Moment; 2] = [Moment("rt_sigaction", 1), Moment("prctl", 2)];

/// rule: start.signals-blocked
#[test]
fn stop_signal_before_main_has_handlers_ends_it_before_any_start() {
    for moment in BEFORE_MAINS_HANDLERS {
        for signal in [Signal::Term, Signal::Int, Signal::Quit, Signal::Hup] {
            let dir = TempDir::new();
            let mut panzer = moment.strike_main(&dir, idle(), signal).start();
            assert_eq!(panzer.end(), End::Status(0), "{signal:?} at {}", moment.0);
            assert_eq!(panzer.count("started"), 0, "{signal:?} at {}", moment.0);
        }
    }
}

/// rule: start.signals-blocked
#[test]
fn request_signals_before_main_has_handlers_are_handled_later() {
    for moment in BEFORE_MAINS_HANDLERS {
        let answers = [
            (Signal::Usr2, "now running panzer "),
            (Signal::Ttin, "status: panzer "),
            (Signal::Usr1, ""),
        ];
        for (signal, answer) in answers {
            let dir = TempDir::new();
            let mut panzer = moment.strike_main(&dir, idle(), signal).start();
            panzer.expect_line(answer);
            lives_on(panzer);
        }
    }
}

/// rule: start.signals-blocked
#[test]
fn other_signals_before_main_has_handlers_are_ignored() {
    for moment in BEFORE_MAINS_HANDLERS {
        for signal in [Signal::Vtalrm, Signal::Chld, Signal::Ttou, Signal::Winch, Signal::Pipe] {
            let dir = TempDir::new();
            lives_on(moment.strike_main(&dir, idle(), signal).start());
        }
    }
}

/// The first time a library monitor reads a signal's disposition: by then all signals are
/// blocked. The earlier such calls, made by the runtime, are counted in a run without an
/// injected signal.
fn before_a_monitors_handlers() -> Moment {
    let dir = TempDir::new();
    let (setup, trace) = idle().traced(dir.path(), "count", &["-etrace=rt_sigaction,execve"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    panzer.stop();
    // Calls before the exec were made by main's child, and do not count.
    Moment("rt_sigaction", looks_before(&trace, monitor) + 1)
}

fn looks_before(trace: &Trace, monitor: u32) -> usize {
    let calls = trace.calls();
    let looks: Vec<_> = calls.iter().filter(|call| call.pid == monitor).collect();
    let exec = looks.iter().rposition(|call| call.name == "execve");
    let own = &looks[exec.expect("main's child executes it") + 1..];
    own.iter()
        .position(|call| call.words.starts_with("SIGTERM, NULL"))
        .expect("it looks at SIGTERM")
}

/// rule: monitor.handlers
#[test]
fn stop_signal_before_a_monitor_has_handlers_stops_it_gracefully() {
    let moment = before_a_monitors_handlers();
    for signal in [Signal::Term, Signal::Int] {
        let dir = TempDir::new();
        let app = moment.strike_command(&dir, signal);
        let mut panzer = Setup::new(&app, &[]).options(&["-n1", "--give-up=1"]).start();
        panzer.expect_line("run has returned");
        let died = panzer.expect("died", 1);
        assert_eq!((died.slot, &*died.reason), (0, "exited with status 0"), "{}", died.line);
        assert_eq!(panzer.end(), End::Status(1), "the start has failed");
    }
}

/// rule: monitor.handlers
#[test]
fn sigttin_before_a_monitor_has_handlers_does_not_stop_it() {
    let dir = TempDir::new();
    let app = before_a_monitors_handlers().strike_command(&dir, Signal::Ttin);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1"]).start();
    panzer.expect_line("worker 1: empty");
    lives_on(panzer);
}

/// rule: spawn.child
#[test]
fn signal_between_fork_and_exec_ends_the_child_and_not_main() {
    // Before the child has closed main's pipe, and after.
    for moment in [Moment("close_range", 1), Moment("chdir", 1)] {
        let dir = TempDir::new();
        let setup = idle().options(&["--give-up=1"]);
        let mut panzer = moment.strike_all(&dir, setup, Signal::Term).start();
        let monitor = panzer.expect("started", 1).pid;
        panzer.expect_event("its end", |event| event.name == "died" && event.pid == monitor);
        panzer.expect_line("killed by SIGTERM");
        panzer.expect_line("giving up");
        assert_eq!(panzer.end(), End::Status(1));
    }
}

/// A monitor leads a session, where such a signal stops nothing: its group is an orphan.
/// The group of a program of `-x` is none.
///
/// rule: spawn.terminal-stop
#[test]
fn terminal_stop_of_the_monitors_group_does_not_stop_a_new_program() {
    for signal in [Signal::Ttin, Signal::Ttou] {
        let dir = TempDir::new();
        let program = Setup::new(Path::new("sleep"), &["1000"]).options(&["-xn1", "--ready=0.1"]);
        lives_on(Moment("setpgid", 1).strike_all(&dir, program, signal).start());
    }
}

/// rule: spawn.child
#[test]
fn signal_to_main_while_it_forks_is_handled_by_main() {
    let moment = Moment("clone", 1);
    let dir = TempDir::new();
    let mut panzer = moment.strike_main(&dir, idle(), Signal::Term).start();
    assert_eq!(panzer.end(), End::Status(0));
    let dir = TempDir::new();
    let mut panzer = moment.strike_main(&dir, idle(), Signal::Usr1).start();
    panzer.expect_current(2);
    panzer.stop();
}

/// rule: worker.setup
#[test]
fn signal_between_fork_and_set_up_ends_the_worker_and_not_the_monitor() {
    // While it still has its monitor's handlers, and with its own ones.
    for moment in [Moment("pipe2", 1), Moment("setpgid", 1)] {
        let dir = TempDir::new();
        let mut panzer = idle().options(&["--delay=30"]).start();
        let monitor = panzer.expect_current(1);
        let worker = panzer.workers(monitor)[0];
        let [trace, inject] = moment.words(Signal::Term);
        // From now on the monitor makes neither call.
        let _tracer = Attached::to(monitor, &dir.join("trace"), &["-f", &trace, &inject]);
        send(worker, Signal::Term);
        // The first replacement starts at once, the second half a minute later.
        for _ in 0..2 {
            let died = panzer.expect("died", 1);
            assert_eq!((died.slot, &*died.reason), (1, "exited with status 0"), "{}", died.line);
        }
        panzer.settle();
        assert_eq!((panzer.count("died"), panzer.count("started")), (2, 1));
        panzer.stop();
    }
}

/// The pipes of a process, by their inodes.
fn pipes(pid: u32) -> Vec<String> {
    let all = procfs::descriptors(pid).into_iter();
    let targets = all.filter_map(|fd| fd.split_once(' ').map(|(_, target)| target.to_string()));
    targets.filter(|target| target.starts_with("pipe:")).collect()
}

/// rule: worker.setup
#[test]
fn worker_and_monitor_have_separate_wake_pipes() {
    let mut panzer = idle().start();
    let monitor = panzer.expect_current(1);
    let worker = panzer.workers(monitor)[0];
    let shared = pipes(monitor);
    let own = pipes(worker).into_iter().filter(|pipe| !shared.contains(pipe)).count();
    // Both ends: an application may watch the one that is read.
    assert_eq!(own, 2, "{:?}", procfs::descriptors(worker));
    panzer.stop();
}

/// Both have come from one signal to all processes, as of a terminal or of a service.
///
/// rule: main.turn-order
#[test]
fn stop_signal_counts_before_a_stopping_message_read_after_it() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let words = [&*format!("wait={}", gate.display()), "notify=STOPPING=1", "run=idle"];
    let setup = || Setup::new(&example("witness"), &words).options(&["-n1", "-v", "--delay=0"]);
    // The line is written when the message was read, before anything is made of it.
    let line = "generation 1: sent STOPPING=1";
    let (traced, trace) = setup().traced(dir.path(), "lines", &["-e", "trace=pwritev2"]);
    let mut panzer = traced.start();
    panzer.expect("started", 1);
    let main = panzer.pid();
    open_gate(&gate);
    panzer.expect_line(line);
    panzer.signal(Signal::Quit);
    panzer.end();
    let calls = trace.calls();
    let mut writes = calls.iter().filter(|call| call.pid == main);
    let place = writes.position(|call| call.words.contains("STOPPING=1")).expect("it was written");
    let struck = Moment("pwritev2", place + 1).strike_main(&dir, setup(), Signal::Term);
    let mut panzer = struck.start();
    panzer.expect("started", 1);
    open_gate(&gate);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count("started"), 1);
}

/// rule: signal.handler
#[test]
fn signal_after_main_has_read_its_signals_wakes_it_again() {
    // Main sends SIGTTIN on after it has read its signals; then it would wait.
    let dir = TempDir::new();
    let mut panzer = Moment("kill", 1).strike_main(&dir, idle(), Signal::Term).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Ttin);
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: signal.handler
#[test]
fn signal_after_a_monitor_has_read_its_signals_wakes_it_again() {
    // The status is the only line that this monitor logs.
    let dir = TempDir::new();
    let app = Moment("pwritev2", 1).strike_command(&dir, Signal::Term);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1"]).start();
    let monitor = panzer.expect_current(1);
    panzer.signal(Signal::Ttin);
    // The order of these two is not defined: the tracer may exit late.
    panzer.expect_current(2);
    panzer.eventually("its end", || procfs::state(monitor).is_none());
    panzer.stop();
}

/// rule: pool.fork-last
#[test]
fn stop_that_arrives_during_reaping_prevents_replacements() {
    let dir = TempDir::new();
    let app = Moment("waitid", 1).strike_command(&dir, Signal::Term);
    let mut panzer = Setup::new(&app, &[]).options(&["-n2", "--delay=0"]).start();
    let monitor = panzer.expect_current(1);
    send(panzer.workers(monitor)[0], Signal::Kill);
    panzer.expect_current(2);
    panzer.eventually("its end", || procfs::state(monitor).is_none());
    assert_eq!(panzer.count("respawn"), 0);
    panzer.stop();
}
