//! A new generation takes over.

use std::fs;
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::client::{Held, ask};
use crate::harness::expect_passed;
use crate::harness::panzer::stop_process;
use crate::harness::place::{Place, example, open_gate};
use crate::harness::setup::Setup;
use crate::serving::Serving;

/// RATIONALE 1.18
#[test]
fn sigusr1_and_sighup_replace_the_generation_under_the_same_main() {
    let mut serving = Serving::start(&[]);
    let (panzer, address) = (&mut serving.panzer, serving.address);
    for (generation, signal) in [(2, Signal::Usr1), (3, Signal::Hup), (4, Signal::Usr1)] {
        panzer.signal(signal);
        panzer.expect_current(generation);
        // The old one is gone, so only the new one can answer.
        panzer.expect_event("its end", |event| event.is("died", generation - 1) && event.slot == 0);
        assert_eq!(ask(address).expect("it serves").generation, generation);
    }
    serving.panzer.stop();
}

/// RATIONALE 3.5
#[test]
fn what_is_in_hand_is_finished_by_the_old_generation() {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n2"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, answer) = Held::hold(address).expect("it serves");
    assert_eq!(answer.generation, 1);
    panzer.reload(2);
    // The other one of the old had nothing in hand: nobody of them accepts now.
    panzer.expect_line("of generation 1 exited with status 0");
    let (other, answer) = Held::hold(address).expect("it serves");
    assert_eq!(answer.generation, 2);
    held.finish().expect("the old one goes on with it");
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    other.finish().expect("the new one serves");
    panzer.stop();
}

/// RATIONALE 1.40
#[test]
fn the_queue_of_a_stopped_generation_is_answered_by_the_new_one() {
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

/// RATIONALE 1.18
#[test]
fn the_old_generation_is_kept_for_the_whole_probation() {
    let mut serving = Serving::start(&["--probation=0.4"]);
    let begun = Instant::now();
    serving.panzer.signal(Signal::Usr1);
    serving.panzer.expect("probation", 2);
    serving.panzer.expect("current", 2);
    expect_passed(begun, Duration::from_millis(400));
    serving.panzer.expect("draining", 1);
    serving.panzer.stop();
}

/// RATIONALE 1.20
#[test]
fn reloads_asked_for_while_one_runs_are_one_more_and_of_the_newest_version() {
    let place = Place::new();
    let gate = place.gate("gate");
    let wait = format!("wait={}", gate.display());
    let witness = example("witness");
    let app = place.app(&witness, &["say=version one", "run=idle"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1"]).start();
    panzer.expect_current(1);
    place.app(&witness, &["say=version two", &wait, "run=idle"]);
    panzer.signal(Signal::Usr1);
    panzer.expect_line("version two");
    for version in ["three", "four", "five"] {
        place.app(&witness, &[&format!("say=version {version}"), "run=idle"]);
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

/// RATIONALE 1.38
#[test]
fn a_stop_asked_for_while_a_generation_starts_ends_both() {
    let mut serving = Serving::start(&["--timeout=0.2"]);
    serving.place.script("app", "echo it starts; exec sleep 1000");
    serving.panzer.signal(Signal::Usr1);
    serving.panzer.expect_line("it starts");
    let mut panzer = serving.panzer.stop();
    assert_eq!((panzer.count("started"), panzer.count("current")), (2, 1));
}

/// RATIONALE 1.10
#[test]
fn the_link_to_the_current_release_is_followed_at_every_start() {
    let place = Place::new();
    for release in ["one", "two"] {
        fs::create_dir(place.join(release)).expect("it is a new place");
        let name = format!("{release}/app");
        place.script(
            &name,
            &format!("echo release {release}; kill -s VTALRM $PPID; exec sleep 1000"),
        );
    }
    let link = |release: &str| {
        std::os::unix::fs::symlink(release, place.join("next")).expect("it is not there");
        fs::rename(place.join("next"), place.join("current")).expect("it can be replaced");
    };
    link("one");
    let setup = Setup::new(std::path::Path::new("./app"), &[]);
    // Started in the link itself, whose name the shell has kept in PWD.
    let mut panzer = setup.directory(&place.join("current")).start();
    panzer.expect_line("release one");
    panzer.expect_current(1);
    link("two");
    fs::remove_dir_all(place.join("one")).expect("nobody needs it");
    panzer.signal(Signal::Usr1);
    panzer.expect_line("release two");
    panzer.expect_current(2);
    panzer.stop();
}

/// RATIONALE 1.16
#[test]
fn only_who_is_ready_beside_another_is_on_probation() {
    for (probation, is_tried) in [("--probation=1000", true), ("--probation=0", false)] {
        let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1", probation]);
        let mut panzer = setup.start();
        panzer.expect_current(1);
        panzer.signal(Signal::Usr1);
        panzer.expect(if is_tried { "probation" } else { "current" }, 2);
        assert_eq!(panzer.count("probation"), usize::from(is_tried));
        assert_eq!(panzer.count("current"), if is_tried { 1 } else { 2 });
        panzer.stop();
    }
}
