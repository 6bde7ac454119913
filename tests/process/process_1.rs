//! Main as process 1, which becomes the parent of all orphans.

use std::path::Path;

use panzer::sys::Signal;

use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::setup::Setup;
use crate::harness::{procfs, skip};
use crate::start_conditions::may_be_process_1;

/// A shell script that starts a thousand processes without waiting for them, each
/// in a process group of its own.
const ORPHANS: &str = "set -m; i=0; while [ $i -lt 1000 ]; do (: &); i=$((i + 1)); done; set +m";

/// Main as process 1 of a pid namespace, and its pid outside.
fn first(program: &Path, options: &[&str]) -> (Panzer, u32) {
    let setup = Setup::new(program, &[]).options(options);
    let words = ["-pf", "--kill-child", "--mount-proc"];
    let mut panzer = setup.through(Path::new("unshare"), &words).start();
    panzer.expect("started", 1);
    let first = procfs::children(panzer.pid())[0];
    (panzer, first)
}

/// rules: main.subreaper, main.reap
#[test]
fn process_1_reaps_1000_orphans_without_warnings() {
    if !may_be_process_1() {
        let name = "process_1_reaps_1000_orphans_without_warnings";
        return skip(name, "no unshare");
    }
    let dir = TempDir::new();
    let body = format!("{ORPHANS}\nexec '{}' run=idle", example("witness").display());
    let app = dir.script("app", &body);
    let (mut panzer, main) = first(&app, &["-n1"]);
    panzer.expect_current(1);
    panzer.eventually("all orphans are reaped", || procfs::children(main).len() == 1);
    assert_eq!(procfs::name(main), "panzer:main");
    send(main, Signal::Int);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!((panzer.count("died"), panzer.count_lines("WARN")), (1, 0));
}

/// rules: signal.sigterm, stop.exit-status
#[test]
fn process_1_obeys_signals_and_returns_exit_status() {
    if !may_be_process_1() {
        let name = "process_1_obeys_signals_and_returns_exit_status";
        return skip(name, "no unshare");
    }
    let dir = TempDir::new();
    let cases = [
        ("run=idle", Signal::Term, 0),
        ("run=idle", Signal::Int, 0),
        ("run=idle", Signal::Quit, 0),
        ("run=deaf", Signal::Quit, 4),
    ];
    for (run, signal, status) in cases {
        let app = dir.app(&example("witness"), &[run]);
        let (mut panzer, main) = first(&app, &["-n1"]);
        panzer.expect_current(1);
        send(main, signal);
        assert_eq!(panzer.end(), End::Status(status), "{run} {signal:?}");
    }
    let setup = Setup::new(Path::new("/bin/false"), &[]).options(&["--give-up=1"]);
    let words = ["-pf", "--kill-child", "--mount-proc"];
    let mut panzer = setup.through(Path::new("unshare"), &words).start();
    assert_eq!(panzer.end(), End::Status(1), "main has given up");
}
