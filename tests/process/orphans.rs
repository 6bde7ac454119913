//! No process outlives the one above it: monitors end with main, workers with their monitor.

use std::path::Path;

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::files::example;
use crate::harness::panzer::{End, Panzer, send, stop_process};
use crate::harness::procfs;
use crate::harness::setup::Setup;

const SIGKILL: End = End::Signal(9);

/// Two workers that wait in accept.
fn accepting() -> Setup {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    Setup::new(&example("witness"), &words).options(&["-n2"])
}

/// Runs all processes under strace with this injection, and drops the trace.
pub fn tampered(setup: Setup, tampering: &str) -> Setup {
    let call = tampering.split([':', '=']).next().unwrap_or_default();
    let (trace, inject) = (format!("trace={call}"), format!("inject={tampering}"));
    let words = ["-D", "-f", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    setup.through(Path::new("strace"), &words)
}

/// Runs all processes without /proc, so that no process can open its lifeline.
pub fn without_proc(setup: Setup) -> Setup {
    let hide = r#"mount -t tmpfs none /proc && exec "$@""#;
    setup.through(Path::new("unshare"), &["-rm", "sh", "-c", hide, "sh"])
}

/// Kills main and its monitor together; afterwards no process may be left.
fn kill_both(panzer: &mut Panzer, monitor: u32) {
    [panzer.pid(), monitor].into_iter().for_each(|pid| send(pid, Signal::Kill));
    assert_eq!(panzer.end(), SIGKILL);
}

/// Waits until `pid` has a child, which may not have set itself up yet.
fn expect_child(panzer: &mut Panzer, pid: u32) {
    panzer.eventually("it has forked", || !procfs::children(pid).is_empty());
}

/// rule: spawn.child
#[test]
fn foreign_monitor_is_ended_by_the_kernel_when_main_is_killed() {
    let setup = Setup::new(&example("witness"), &["hang"]).options(&["--ready=0"]);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), SIGKILL);
}

/// rule: spawn.child
#[test]
fn command_is_not_executed_if_main_dies_before_pdeathsig_is_set() {
    let setup = Setup::new(&example("witness"), &["hang"]).options(&["--ready=0"]);
    let mut panzer = tampered(setup, "prctl:delay_enter=300000:when=1").start();
    panzer.expect("started", 1);
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), SIGKILL);
}

/// rule: pool.main-lost
#[test]
fn monitor_notices_the_end_of_main_without_pdeathsig() {
    let mut panzer = tampered(accepting(), "prctl:retval=0").start();
    panzer.expect_current(1);
    panzer.signal(Signal::Kill);
    panzer.expect_line("lost main process, shutting down");
    assert_eq!(panzer.end(), SIGKILL);
}

/// rule: worker.monitor-lost
#[test]
fn idle_worker_ends_when_main_and_monitor_are_killed() {
    let mut panzer = accepting().start();
    let monitor = panzer.expect_current(1);
    kill_both(&mut panzer, monitor);
}

/// rule: worker.setup
#[test]
fn worker_ends_if_its_monitor_dies_before_its_set_up() {
    let mut panzer = tampered(accepting(), "pipe2:delay_enter=300000:when=1").start();
    let monitor = panzer.expect("started", 1).pid;
    expect_child(&mut panzer, monitor);
    kill_both(&mut panzer, monitor);
}

/// A busy worker ends itself after main and its monitor were killed.
fn ends_itself(setup: Setup) {
    let mut panzer = setup.options(&["--timeout=0.1"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    kill_both(&mut panzer, monitor);
    assert!(held.ends_without_reply());
}

/// rule: worker.monitor-lost
#[test]
fn busy_worker_ends_itself_after_the_timeout_when_main_and_monitor_are_killed() {
    ends_itself(accepting());
}

/// rule: worker.monitor-lost
#[test]
fn busy_worker_ends_itself_where_no_timer_can_be_made() {
    ends_itself(tampered(accepting(), "timer_create:error=EAGAIN"));
}

/// rule: worker.monitor-lost
#[test]
fn busy_worker_whose_program_blocks_sigalrm_ends_itself_where_no_timer_can_be_made() {
    let witness = example("witness");
    let words = ["smother", &witness.display().to_string(), "listen=127.0.0.1:0", "run=hold"];
    let setup = Setup::new(&witness, &words).options(&["-n2"]);
    ends_itself(tampered(setup, "timer_create:error=EAGAIN"));
}

/// rule: worker.monitor-lost
#[test]
fn idle_worker_keeps_no_timer() {
    let mut panzer = accepting().start();
    let monitor = panzer.expect_current(1);
    for worker in panzer.workers(monitor) {
        let timers = std::fs::read_to_string(format!("/proc/{worker}/timers"));
        assert_eq!(timers.ok().as_deref(), Some(""));
    }
    panzer.stop();
}

/// A worker that ignores SIGTERM and SIGINT, with its main and monitor.
fn deaf() -> (Panzer, u32) {
    let setup = Setup::new(&example("witness"), &["run=deaf"]);
    let mut panzer = setup.options(&["-n2", "--timeout=0.1"]).start();
    let monitor = panzer.expect_current(1);
    (panzer, monitor)
}

/// rule: worker.monitor-lost
#[test]
fn worker_that_ignores_sigterm_is_killed_by_its_monitor_when_main_is_killed() {
    let (mut panzer, _) = deaf();
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), SIGKILL);
}

/// rule: worker.monitor-lost
#[test]
fn worker_that_ignores_sigterm_is_killed_by_main_when_its_monitor_is_killed() {
    let (mut panzer, monitor) = deaf();
    let workers = panzer.workers(monitor);
    send(monitor, Signal::Kill);
    panzer.eventually("they are gone", || workers.iter().all(|pid| !procfs::is_alive(*pid)));
    panzer.signal(Signal::Term);
    panzer.end();
}

/// rule: worker.setup
#[test]
fn worker_leads_a_group_of_its_own_in_the_session_of_its_monitor() {
    let mut panzer = accepting().start();
    let monitor = panzer.expect_current(1);
    let session = procfs::row(monitor).expect("it is there").session;
    for worker in panzer.workers(monitor) {
        let row = procfs::row(worker).expect("it is there");
        assert_eq!((row.group, row.session), (worker, session));
    }
    panzer.stop();
}

/// Main leads a session of its own, so that its parent is outside the session, as
/// under a service manager.
///
/// rule: stopped.sigcont
#[test]
fn stopped_worker_does_not_outlive_main_and_monitor() {
    let mut panzer = accepting().through(Path::new("setsid"), &[]).start();
    let monitor = panzer.expect_current(1);
    panzer.workers(monitor).into_iter().for_each(stop_process);
    kill_both(&mut panzer, monitor);
}

/// rule: stopped.sigcont
#[test]
fn stopped_monitor_does_not_outlive_main() {
    let mut panzer = accepting().through(Path::new("setsid"), &[]).start();
    let monitor = panzer.expect_current(1);
    stop_process(monitor);
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), SIGKILL);
}
