//! `--stop-signal`: the first signal of a stop for programs without this library.

use std::path::Path;

use panzer::sys::Signal;

use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::setup::Setup;

/// Waits for a terminating signal, prints its name, and exits.
const PROGRAM: &str = "
import signal, sys
all = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGWINCH}
signal.pthread_sigmask(signal.SIG_BLOCK, all)
sys.stderr.write('program waits\\n')
sys.stderr.write('program got %s\\n' % signal.Signals(signal.sigwait(all)).name)
";

/// Waits until one program has its signal and the next one waits, in any order.
fn expect_both(panzer: &mut Panzer, got: &str) {
    let lines = [panzer.expect_line("program "), panzer.expect_line("program ")];
    for text in [got, "program waits"] {
        assert!(lines.iter().any(|line| line.contains(text)), "{text}: {lines:?}");
    }
}

fn foreign(option: &[&str]) -> Panzer {
    let options = [&["-n1", "--ready=0.1"], option].concat();
    let mut panzer = Setup::new(Path::new("python3"), &["-c", PROGRAM]).options(&options).start();
    panzer.expect_line("program waits");
    panzer.expect_current(1);
    panzer
}

/// rule: stop.signal
#[test]
fn foreign_monitor_gets_the_stop_signal_at_a_stop_and_a_reload() {
    for (option, name) in [
        (&["--stop-signal=QUIT"][..], "SIGQUIT"),
        (&["--stop-signal", "SIGWINCH"], "SIGWINCH"),
        (&[], "SIGTERM"),
    ] {
        let mut panzer = foreign(option);
        panzer.reload(2);
        expect_both(&mut panzer, &format!("program got {name}"));
        let mut panzer = panzer.stop();
        assert_eq!(panzer.count_lines(&format!("program got {name}")), 2, "{:?}", panzer.lines());
        assert_eq!(panzer.count_lines("program got"), 2, "{:?}", panzer.lines());
    }
}

/// rule: stop.signal
#[test]
fn programs_of_a_pool_get_the_stop_signal() {
    let options = ["-n2", "--exec", "--ready=0.1", "--stop-signal=QUIT"];
    let setup = || Setup::new(Path::new("python3"), &["-c", PROGRAM]).options(&options);
    let up = || {
        let mut panzer = setup().start();
        panzer.expect_line("program waits");
        panzer.expect_line("program waits");
        let monitor = panzer.expect_current(1);
        (panzer, monitor)
    };
    let mut panzer = up().0.stop();
    assert_eq!(panzer.count_lines("program got SIGQUIT"), 2, "{:?}", panzer.lines());
    // Programs of a dead monitor get it too, from the kernel or from main.
    let (mut panzer, monitor) = up();
    send(monitor, Signal::Kill);
    for _ in 0..4 {
        panzer.expect_line("program ");
    }
    panzer.expect_current(2);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("program got SIGQUIT"), 4, "{:?}", panzer.lines());
    assert_eq!(panzer.count_lines("program got SIGTERM"), 0, "{:?}", panzer.lines());
}

/// The kernel signals the wrapper alone (PR_SET_PDEATHSIG); when the wrapper exits, its
/// children become main's.
/// rule: stop.signal
#[test]
fn children_of_a_wrapper_of_a_dead_pool_get_the_stop_signal() {
    let wrapped = "python3 -c \"$0\" & trap 'exit 0' QUIT; wait";
    let options = ["-n1", "--exec", "--ready=0.1", "--stop-signal=QUIT"];
    let setup = Setup::new(Path::new("sh"), &["-c", wrapped, PROGRAM]).options(&options);
    let mut panzer = setup.start();
    panzer.expect_line("program waits");
    let monitor = panzer.expect_current(1);
    send(monitor, Signal::Kill);
    // A shell lets background jobs ignore SIGQUIT until it waits.
    expect_both(&mut panzer, "program got SIGQUIT");
    panzer.expect_current(2);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("program got SIGTERM"), 0, "{:?}", panzer.lines());
}

/// The kernel signals the worker alone (PR_SET_PDEATHSIG), and none of its children.
/// rule: stop.signal
#[test]
fn descendant_in_its_own_group_gets_sigterm_when_the_monitor_dies() {
    let forks =
        format!("import os, time\nif os.fork():\n    time.sleep(600)\nos.setpgid(0, 0)\n{PROGRAM}");
    let options = ["-n1", "--exec", "--ready=0.1"];
    let setup = Setup::new(Path::new("python3"), &["-c", &forks]).options(&options);
    let mut panzer = setup.start();
    panzer.expect_line("program waits");
    let monitor = panzer.expect_current(1);
    send(monitor, Signal::Kill);
    panzer.expect_line("program got SIGTERM");
    panzer.expect_current(2);
    panzer.stop();
}

/// rule: stop.signal
#[test]
fn kernel_sends_the_stop_signal_when_main_is_killed() {
    let mut panzer = foreign(&["--stop-signal=QUIT"]);
    send(panzer.pid(), Signal::Kill);
    panzer.expect_line("program got SIGQUIT");
    assert_eq!(panzer.end(), End::Signal(9));
}

/// rule: stop.signal
#[test]
fn library_monitor_gets_sigterm_whatever_the_stop_signal() {
    let words = ["listen=127.0.0.1:0", "run=idle"];
    let setup = Setup::new(&example("witness"), &words);
    let mut panzer = setup.options(&["-n2", "--stop-signal=QUIT"]).start();
    let monitor = panzer.expect_current(1);
    panzer.reload(2);
    panzer.expect_line(&format!("monitor (pid {monitor}) of generation 1: exited with status 0"));
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("SIGQUIT"), 0, "{:?}", panzer.lines());
}

/// The configuration file has the same option, and a reload reads it again.
/// rule: stop.signal
#[test]
fn reload_can_change_the_stop_signal() {
    let dir = TempDir::new();
    dir.write("panzer.yml", "stop-signal: INT\nready: 0.1\n");
    let setup = Setup::new(Path::new("python3"), &["-c", PROGRAM]).directory(dir.path());
    let mut panzer = setup.options(&["-n1", "--config=panzer.yml"]).start();
    panzer.expect_line("program waits");
    panzer.expect_current(1);
    dir.write("panzer.yml", "stop-signal: 'SIGQUIT'\nready: 0.1\n");
    panzer.reload(2);
    expect_both(&mut panzer, "program got SIGINT");
    panzer.signal(Signal::Term);
    panzer.expect_line("program got SIGQUIT");
    assert_eq!(panzer.end(), End::Status(0));
}
