//! Main as process 1: of everybody who has no parent any more.

use std::path::Path;

use panzer::sys::Signal;

use crate::harness::panzer::{End, Panzer, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::{look, skip};
use crate::surroundings::may_be_process_1;

/// A shell's own words for a thousand processes that nobody waits for, each
/// with a group of its own.
const ORPHANS: &str = "set -m; i=0; while [ $i -lt 1000 ]; do (: &); i=$((i + 1)); done; set +m";

/// Process 1 of a pid namespace, and what it is called outside.
fn first(program: &Path, options: &[&str]) -> (Panzer, u32) {
    let setup = Setup::new(program, &[]).options(options);
    let words = ["-pf", "--kill-child", "--mount-proc"];
    let mut panzer = setup.through(Path::new("unshare"), &words).start();
    panzer.expect("started", 1);
    let first = look::children(panzer.pid())[0];
    (panzer, first)
}

/// RATIONALE 1.4, 1.27
#[test]
fn process_1_reaps_a_thousand_orphans_in_silence_and_leaves_no_zombie() {
    if !may_be_process_1() {
        let name = "process_1_reaps_a_thousand_orphans_in_silence_and_leaves_no_zombie";
        return skip(name, "no unshare");
    }
    let place = Place::new();
    let body = format!("{ORPHANS}\nexec '{}' run=idle", example("witness").display());
    let app = place.script("app", &body);
    let (mut panzer, main) = first(&app, &["-n1"]);
    panzer.expect_current(1);
    panzer.eventually("all orphans are reaped", || look::children(main).len() == 1);
    assert_eq!(look::name(main), "panzer:main");
    send(main, Signal::Int);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!((panzer.count("died"), panzer.count_lines("WARN")), (1, 0));
}

/// RATIONALE 1.29, 1.39
#[test]
fn process_1_obeys_its_signals_and_its_exit_status_goes_out() {
    if !may_be_process_1() {
        let name = "process_1_obeys_its_signals_and_its_exit_status_goes_out";
        return skip(name, "no unshare");
    }
    let place = Place::new();
    let cases = [
        ("run=idle", Signal::Term, 0),
        ("run=idle", Signal::Int, 0),
        ("run=idle", Signal::Quit, 0),
        ("run=deaf", Signal::Quit, 1),
    ];
    for (run, signal, status) in cases {
        let app = place.app(&example("witness"), &[run]);
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
