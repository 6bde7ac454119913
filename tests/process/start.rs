//! The first start, and when there is none.

use std::path::Path;

use crate::harness::panzer::{End, Panzer};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

/// Starts what cannot be started; everything that was logged.
fn end_of(mut panzer: Panzer) -> (End, Vec<String>) {
    let end = panzer.end();
    (end, panzer.lines())
}

/// RATIONALE 1.12
#[test]
fn a_command_that_is_missing_is_status_127() {
    let place = Place::new();
    // Nor has it lived for any time, be that none.
    for options in [&[][..], &["--ready=0"]] {
        let setup = Setup::new(&place.join("nothing"), &[]).options(options);
        let (end, lines) = end_of(setup.start());
        assert_eq!(end, End::Status(127), "{lines:#?}");
    }
}

/// RATIONALE 1.12
#[test]
fn a_command_that_is_not_executable_is_status_126() {
    let place = Place::new();
    let (end, lines) = end_of(Setup::new(&place.write("text", "hello\n"), &[]).start());
    assert_eq!(end, End::Status(126), "{lines:#?}");
    let (end, lines) = end_of(Setup::new(place.path(), &[]).start());
    assert_eq!(end, End::Status(126), "{lines:#?}");
}

/// RATIONALE 1.13
#[test]
fn it_gives_up_after_the_number_of_failed_starts_that_was_set() {
    let setup = Setup::new(&example("witness"), &["exit=0"]);
    let mut panzer = setup.options(&["--give-up=3", "--delay=0"]).start();
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!((panzer.count("started"), panzer.count("failed")), (3, 3));
    assert_eq!(panzer.count_lines("giving up"), 1);
}

/// RATIONALE 1.15
#[test]
fn a_first_start_that_is_not_ready_in_time_has_failed() {
    let setup = Setup::new(&example("witness"), &["hang"]);
    let options = ["--give-up=1", "--ready-timeout=0.1", "--timeout=0"];
    let mut panzer = setup.options(&options).start();
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count_lines("it was not ready within 100 ms"), 1);
}

/// RATIONALE 1.3
#[test]
fn a_wrong_option_is_status_2_and_one_line_and_nothing_is_started() {
    let place = Place::new();
    let touched = place.join("touched");
    let touch = format!("touch={}", touched.display());
    for wrong in ["--no-such", "--count=0", "--timeout=soon", "--bind=80", "-z"] {
        let setup = Setup::new(&example("witness"), &[&touch]);
        let mut panzer = setup.options(&[wrong]).start();
        assert_eq!(panzer.end(), End::Status(2), "{wrong}");
        let lines = panzer.lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let name = wrong.split('=').next().unwrap_or(wrong).trim_start_matches('-');
        assert!(lines[0].contains(name), "{wrong}: {}", lines[0]);
        assert_eq!(panzer.count("started"), 0);
    }
    assert!(!touched.exists());
}

/// RATIONALE 1.3
#[test]
fn an_address_that_is_taken_is_status_1_and_nothing_is_started() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let bind = format!("--bind={}", other.local_addr().expect("it is bound"));
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&[&bind]).start();
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count("started"), 0);
    assert_eq!(panzer.count_lines("EADDRINUSE"), 1);
}

/// RATIONALE 1.40
#[test]
fn more_sockets_than_are_kept_are_status_1_and_nothing_is_started() {
    let binds: Vec<_> = (0..129).map(|_| "--bind=127.0.0.1:0").collect();
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&binds).start();
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count("started"), 0);
    assert_eq!(panzer.count_lines("it exceeds the limit of 128 sockets"), 1);
}

/// RATIONALE 1.3
#[test]
fn an_event_descriptor_that_is_closed_is_status_1_and_never_one_of_ours() {
    for number in 3..10 {
        let option = format!("--event-fd={number}");
        let setup = Setup::new(&example("witness"), &["run=idle"]).options(&[&option]);
        let mut panzer = setup.redirect("3>&-").start();
        assert_eq!(panzer.end(), End::Status(1), "{number}");
        assert_eq!(panzer.count_lines(&format!("descriptor {number}: ")), 1);
    }
}

/// RATIONALE 1.51
#[test]
fn a_wrong_word_about_inherited_sockets_costs_main_none_of_its_descriptors() {
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=30 exec "$0" "$@""#;
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=idle"]);
    let setup = setup.options(&["-n1", "--bind=127.0.0.1:0"]);
    let mut panzer = setup.through("sh".as_ref(), &["-c", script]).start();
    panzer.expect_current(1);
    panzer.reload(2);
    panzer.stop();
}

/// RATIONALE 1.10
#[test]
fn the_command_is_relative_to_the_directory_that_is_entered() {
    let place = Place::new();
    place.app(&example("witness"), &["run=idle"]);
    let chdir = format!("--chdir={}", place.path().display());
    let mut panzer = Setup::new(Path::new("./app"), &[]).options(&[&chdir]).start();
    panzer.expect_current(1);
    panzer.stop();
}
