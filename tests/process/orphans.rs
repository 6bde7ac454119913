//! Nobody outlives whoever he works for: each belt by itself, with the other
//! one undone. strace(1) has `prctl` do nothing; without /proc a worker has no
//! lifeline of its own.

use std::path::Path;

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::look;
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::place::example;
use crate::harness::setup::Setup;

const SIGKILL: End = End::Signal(9);

/// Two workers that wait in accept.
fn accepting() -> Setup {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    Setup::new(&example("witness"), &words).options(&["-n2"])
}

/// Everybody is traced like this, and the trace is of no interest.
pub fn tampered(setup: Setup, tampering: &str) -> Setup {
    let call = tampering.split([':', '=']).next().unwrap_or_default();
    let (trace, inject) = (format!("trace={call}"), format!("inject={tampering}"));
    let words = ["-D", "-f", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    setup.through(Path::new("strace"), &words)
}

/// Nobody finds a /proc, without which a lifeline cannot be had.
pub fn without_proc(setup: Setup) -> Setup {
    let hide = r#"mount -t tmpfs none /proc && exec "$@""#;
    setup.through(Path::new("unshare"), &["-rm", "sh", "-c", hide, "sh"])
}

/// Main and its monitor die at once; afterwards nobody may be left.
fn kill_both(panzer: &mut Panzer, monitor: u32) {
    [panzer.pid(), monitor].into_iter().for_each(|pid| send(pid, Signal::Kill));
    assert_eq!(panzer.end(), SIGKILL);
}

/// Waits until somebody below `pid` is there, who may not know yet who he is.
fn expect_child(panzer: &mut Panzer, pid: u32) {
    panzer.eventually("somebody is forked", || !look::children(pid).is_empty());
}

/// RATIONALE 1.8
#[test]
fn a_program_without_the_library_is_ended_by_the_kernel_when_main_is_killed() {
    let setup = Setup::new(&example("witness"), &["hang"]).options(&["--ready=0"]);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), SIGKILL);
}

/// RATIONALE 1.8
#[test]
fn a_program_whose_main_dies_before_it_is_tied_to_it_is_never_executed() {
    let setup = Setup::new(&example("witness"), &["hang"]).options(&["--ready=0"]);
    let mut panzer = tampered(setup, "prctl:delay_enter=300000:when=1").start();
    panzer.expect("started", 1);
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), SIGKILL);
}

/// RATIONALE 2.11
#[test]
fn a_monitor_sees_the_end_of_main_without_the_help_of_the_kernel() {
    let mut panzer = tampered(accepting(), "prctl:retval=0").start();
    panzer.expect_current(1);
    panzer.signal(Signal::Kill);
    panzer.expect_line("main is gone: stopping");
    assert_eq!(panzer.end(), SIGKILL);
}

/// RATIONALE 3.10
#[test]
fn a_worker_whose_parent_death_signal_is_cleared_has_its_lifeline() {
    let mut panzer = tampered(accepting(), "prctl:retval=0").start();
    let monitor = panzer.expect_current(1);
    kill_both(&mut panzer, monitor);
}

/// RATIONALE 3.1
#[test]
fn a_worker_whose_program_holds_everything_back_has_its_lifeline() {
    let witness = example("witness");
    let words = ["smother", &witness.display().to_string(), "listen=127.0.0.1:0", "run=hold"];
    let setup = Setup::new(&witness, &words).options(&["-n2"]);
    let mut panzer = tampered(setup, "prctl:retval=0").start();
    let monitor = panzer.expect_current(1);
    kill_both(&mut panzer, monitor);
}

/// RATIONALE 3.10
#[test]
fn a_worker_without_a_lifeline_has_its_parent_death_signal() {
    let mut panzer = without_proc(accepting()).start();
    let monitor = panzer.expect_current(1);
    kill_both(&mut panzer, monitor);
}

/// RATIONALE 3.1
#[test]
fn a_worker_whose_monitor_dies_before_it_is_tied_to_it_ends() {
    // A lifeline that had ended before tells of it too.
    let belts: [fn(Setup) -> Setup; 2] = [|setup| setup, without_proc];
    for belts in belts {
        let setup = belts(tampered(accepting(), "pipe2:delay_enter=300000:when=1"));
        let mut panzer = setup.start();
        let monitor = panzer.expect("started", 1).pid;
        expect_child(&mut panzer, monitor);
        kill_both(&mut panzer, monitor);
    }
}

/// A worker that has something in hand when it is left alone.
fn ends_itself(setup: Setup) {
    let mut panzer = setup.options(&["--timeout=0.1"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    kill_both(&mut panzer, monitor);
    assert!(held.ends_without_a_word());
}

/// RATIONALE 3.10
#[test]
fn a_worker_that_is_left_alone_and_busy_ends_itself_after_the_timeout() {
    ends_itself(accepting());
}

/// RATIONALE 3.10
#[test]
fn a_busy_worker_that_has_only_its_lifeline_ends_itself_after_the_timeout() {
    ends_itself(tampered(accepting(), "prctl:retval=0"));
}

/// RATIONALE 3.10
#[test]
fn a_busy_worker_that_has_no_lifeline_ends_itself_after_the_timeout() {
    ends_itself(without_proc(accepting()));
}

/// RATIONALE 3.10
#[test]
fn a_worker_that_is_left_alone_and_ignores_sigterm_is_ended_all_the_same() {
    let setup = Setup::new(&example("witness"), &["run=deaf"]);
    let mut panzer = setup.options(&["-n2", "--timeout=0.1"]).start();
    let monitor = panzer.expect_current(1);
    kill_both(&mut panzer, monitor);
}

/// In a session of its own, so that nobody in the session is above main, as
/// under a service manager.
///
/// RATIONALE 7.29
#[test]
fn a_worker_that_is_stopped_does_not_outlive_main_and_monitor() {
    let mut panzer = accepting().through(Path::new("setsid"), &[]).start();
    let monitor = panzer.expect_current(1);
    panzer.workers(monitor).into_iter().for_each(stop_process);
    kill_both(&mut panzer, monitor);
}

/// RATIONALE 7.29
#[test]
fn a_monitor_that_is_stopped_does_not_outlive_main() {
    let mut panzer = accepting().through(Path::new("setsid"), &[]).start();
    let monitor = panzer.expect_current(1);
    stop_process(monitor);
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), SIGKILL);
}

/// RATIONALE 3.10
#[test]
fn a_sigio_that_is_not_of_its_lifeline_drains_no_worker() {
    let mut panzer = accepting().start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    workers.iter().for_each(|pid| send(*pid, Signal::Io));
    // Each is shown at work, or not, after it has taken the signal.
    for pid in &workers {
        stop_process(*pid);
        continue_process(*pid);
    }
    panzer.settle();
    assert_eq!((panzer.workers(monitor), panzer.count("died")), (workers, 0));
    panzer.stop();
}
