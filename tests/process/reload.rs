//! A reload: a new generation replaces the old one.

use std::fs;
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::assert_elapsed_at_least;
use crate::harness::client::{Held, ask};
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::panzer::stop_process;
use crate::harness::setup::Setup;
use crate::serving::Serving;

/// rule: probation.promotion
#[test]
fn sigusr1_and_sighup_replace_the_generation_under_the_same_main() {
    let mut serving = Serving::start(&[]);
    let (panzer, address) = (&mut serving.panzer, serving.address);
    for (generation, signal) in [(2, Signal::Usr1), (3, Signal::Hup), (4, Signal::Usr1)] {
        panzer.signal(signal);
        panzer.expect_current(generation);
        // The old monitor is gone, so only the new generation can answer.
        panzer.expect_event("its end", |event| event.is("died", generation - 1) && event.slot == 0);
        assert_eq!(ask(address).expect("it serves").generation, generation);
    }
    serving.panzer.stop();
}

/// rule: worker.drain
#[test]
fn request_in_hand_is_finished_by_the_old_generation() {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n2"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, answer) = Held::hold(address).expect("it serves");
    assert_eq!(answer.generation, 1);
    panzer.reload(2);
    // The other old worker was idle and has exited: the old generation accepts no more.
    panzer.expect_line("of generation 1: exited with status 0");
    let (other, answer) = Held::hold(address).expect("it serves");
    assert_eq!(answer.generation, 2);
    held.finish().expect("the old worker finishes it");
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    other.finish().expect("the new one serves");
    panzer.stop();
}

/// rule: store.kept
#[test]
fn queued_connections_of_a_stopped_generation_are_served_by_the_new_one() {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let options = ["-n2", "--timeout=0"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&options).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    for worker in panzer.workers(monitor) {
        stop_process(worker);
    }
    let queued: Vec<_> = (0..100).map(|_| Held::queue(address).expect("there is room")).collect();
    panzer.reload(2);
    for mut held in queued {
        assert_eq!(held.greeting().expect("it is answered").generation, 2);
        held.finish().expect("it is served");
    }
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    panzer.stop();
}

/// rule: probation.promotion
#[test]
fn old_generation_serves_until_the_probation_ends() {
    let mut serving = Serving::start(&["--probation=0.4"]);
    let begun = Instant::now();
    serving.panzer.signal(Signal::Usr1);
    serving.panzer.expect("probation", 2);
    serving.panzer.expect("current", 2);
    assert_elapsed_at_least(begun, Duration::from_millis(400));
    serving.panzer.expect("draining", 1);
    serving.panzer.stop();
}

/// rule: reload.coalesced
#[test]
fn reloads_requested_during_a_reload_become_one_of_the_newest_version() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    let witness = example("witness");
    let app = dir.app(&witness, &["say=version one", "run=idle"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1"]).start();
    panzer.expect_current(1);
    dir.app(&witness, &["say=version two", &wait, "run=idle"]);
    panzer.signal(Signal::Usr1);
    panzer.expect_line("version two");
    for version in ["three", "four", "five"] {
        dir.app(&witness, &[&format!("say=version {version}"), "run=idle"]);
        panzer.signal(Signal::Usr1);
        panzer.settle();
    }
    open_gate(&gate);
    panzer.expect_current(2);
    panzer.expect_current(3);
    panzer.settle();
    let mut panzer = panzer.stop();
    assert_eq!((panzer.count("started"), panzer.count("current")), (3, 3));
    let says = |version| usize::from(version == "version five");
    for version in ["version three", "version four", "version five"] {
        assert_eq!(panzer.count_lines(version), says(version), "{version}");
    }
}

/// rule: stop.completes
#[test]
fn stop_during_a_start_ends_both_generations() {
    let mut serving = Serving::start(&["--timeout=0.2"]);
    serving.dir.script("app", "echo it starts; exec sleep 1000");
    serving.panzer.signal(Signal::Usr1);
    serving.panzer.expect_line("it starts");
    let mut panzer = serving.panzer.stop();
    assert_eq!((panzer.count("started"), panzer.count("current")), (2, 1));
}

/// rule: spawn.directory
#[test]
fn link_to_the_current_release_is_followed_at_every_start() {
    let dir = TempDir::new();
    for release in ["one", "two"] {
        fs::create_dir(dir.join(release)).expect("the directory is empty");
        let name = format!("{release}/app");
        dir.script(
            &name,
            &format!("echo release {release}; kill -s VTALRM $PPID; exec sleep 1000"),
        );
    }
    let link = |release: &str| {
        std::os::unix::fs::symlink(release, dir.join("next")).expect("it is not there");
        fs::rename(dir.join("next"), dir.join("current")).expect("it can be replaced");
    };
    link("one");
    let setup = Setup::new(std::path::Path::new("./app"), &[]);
    // Started in the link itself, which the shell keeps in PWD.
    let mut panzer = setup.directory(&dir.join("current")).start();
    panzer.expect_line("release one");
    panzer.expect_current(1);
    link("two");
    fs::remove_dir_all(dir.join("one")).expect("it can be removed");
    panzer.signal(Signal::Usr1);
    panzer.expect_line("release two");
    panzer.expect_current(2);
    panzer.stop();
}

/// rule: probation.begins
#[test]
fn reload_without_probation_promotes_at_once() {
    for (probation, has_probation) in [("--probation=1000", true), ("--probation=0", false)] {
        let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1", probation]);
        let mut panzer = setup.start();
        panzer.expect_current(1);
        panzer.signal(Signal::Usr1);
        panzer.expect(if has_probation { "probation" } else { "current" }, 2);
        assert_eq!(panzer.count("probation"), usize::from(has_probation));
        assert_eq!(panzer.count("current"), if has_probation { 1 } else { 2 });
        panzer.stop();
    }
}
