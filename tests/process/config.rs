//! The configuration file, at the start and at every reload.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use panzer::sys::Signal;

use crate::harness::alone;
use crate::harness::client::ask_unix;
use crate::harness::panzer::{End, Panzer, continue_process, stop_process};
use crate::harness::place::{self, Place, example};
use crate::harness::setup::Setup;

/// A panzer that idles with the options of this file in `place`.
fn start(place: &Place, file: &str) -> Panzer {
    place.write("panzer.yml", file);
    Setup::new(&example("witness"), &["run=idle"])
        .options(&["-v", "--config=panzer.yml"])
        .directory(place.path())
        .start()
}

/// Sends main this signal and waits until `generation` is the only one.
fn replace(panzer: &mut Panzer, signal: Signal, generation: u32) -> u32 {
    panzer.signal(signal);
    let monitor = panzer.expect_current(generation);
    panzer.expect_line(&format!("nobody of generation {} is left", generation - 1));
    panzer.settle();
    monitor
}

/// What `panzer` with these options says, and its status.
fn ask(directory: &Path, options: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(place::panzer());
    command.args(options).current_dir(directory);
    let said = {
        let _alone = alone();
        command.output().expect("it runs")
    };
    let text = [said.stdout, said.stderr].concat();
    (said.status.code(), String::from_utf8(text).expect("it is text"))
}

/// RATIONALE 12.1
#[test]
fn the_file_sets_what_the_command_line_does_not() {
    let place = Place::new();
    place.write("panzer.yml", "count: 3\nquiet: true\ncommand:\n- ./nothing\n");
    let setup = Setup::new(&example("witness"), &["run=idle"]).directory(place.path());
    let mut panzer = setup.options(&["--config", "panzer.yml"]).start();
    let monitor = panzer.expect_current(1);
    assert_eq!(panzer.workers(monitor).len(), 3);
    let mut panzer = panzer.stop();
    assert!(panzer.lines().is_empty(), "{:?}", panzer.lines());
    let setup = Setup::new(&example("witness"), &["run=idle"]).directory(place.path());
    let mut panzer = setup.options(&["-cpanzer.yml", "--count=1"]).start();
    let monitor = panzer.expect_current(1);
    assert_eq!(panzer.workers(monitor).len(), 1);
    panzer.stop();
}

/// RATIONALE 12.2
#[test]
fn a_reload_reads_the_file_again() {
    let place = Place::new();
    let mut panzer = start(&place, "count: 1\n");
    panzer.expect_current(1);
    place.write("panzer.yml", "count: 2\n");
    let monitor = replace(&mut panzer, Signal::Usr1, 2);
    assert_eq!(panzer.workers(monitor).len(), 2);
    place.write("panzer.yml", "count: 3\n");
    let monitor = replace(&mut panzer, Signal::Hup, 3);
    assert_eq!(panzer.workers(monitor).len(), 3);
    panzer.stop();
}

/// RATIONALE 12.2
#[test]
fn a_reload_opens_what_was_added_and_closes_what_was_removed() {
    let place = Place::new();
    let (one, two) = (place.join("one"), place.join("two"));
    let bind = |name: &str| format!("bind: unix:{name}\n");
    place.write("panzer.yml", &bind("one"));
    let setup = Setup::new(&example("http"), &["unix:one"]).directory(place.path());
    let mut panzer = setup.options(&["-vn1", "--config=panzer.yml"]).start();
    panzer.expect_current(1);
    assert_eq!(ask_unix(&one).expect("it serves").generation, 1);
    place.write("panzer.yml", "bind:\n- unix:one\n- unix:two\n");
    replace(&mut panzer, Signal::Usr1, 2);
    assert!(one.exists() && two.exists());
    assert_eq!(ask_unix(&one).expect("it serves").generation, 2);
    place.write("panzer.yml", &bind("one"));
    replace(&mut panzer, Signal::Usr1, 3);
    assert!(one.exists() && !two.exists());
    assert_eq!(ask_unix(&one).expect("it serves").generation, 3);
    panzer.stop();
    assert!(!one.exists());
}

/// RATIONALE 12.2
#[test]
fn a_file_that_is_bad_fails_the_reload_and_changes_nothing() {
    let place = Place::new();
    let mut panzer = start(&place, "count: 1\n");
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let taken = format!("bind:\n- unix:new\n- {}\n", taken.local_addr().expect("it is bound"));
    for (file, why) in [
        ("count: 2\n\tquiet: true", "panzer.yml:2:1: a tab"),
        ("count: 2\nbind: 80", "panzer.yml:2:7: bind: '80': the port is missing"),
        (&taken, "EADDRINUSE"),
        ("bind:\n- one=unix:new\n- two=unix:new\n", "/new twice"),
    ] {
        place.write("panzer.yml", file);
        panzer.signal(Signal::Usr1);
        let line = panzer.expect_line("nothing is reloaded");
        assert!(line.contains(why), "{line}");
    }
    panzer.settle();
    assert_eq!(panzer.workers(monitor), workers);
    assert_eq!((panzer.count("started"), panzer.count("failed")), (1, 4));
    assert!(!place.join("new").exists());
    place.write("panzer.yml", "count: 2\n");
    let monitor = replace(&mut panzer, Signal::Usr1, 2);
    assert_eq!(panzer.workers(monitor).len(), 2);
    panzer.stop();
}

/// RATIONALE 12.1, 12.4
#[test]
fn a_file_that_is_bad_or_missing_is_status_2_at_the_start() {
    let place = Place::new();
    place.write("panzer.yml", "count: yes\n");
    for (config, why) in [
        ("panzer.yml", "panzer.yml:1:8: YAML may read this as something else"),
        ("nothing.yml", "cannot read 'nothing.yml': no such file or directory (ENOENT)"),
    ] {
        let setup = Setup::new(&example("witness"), &["run=idle"]).directory(place.path());
        let mut panzer = setup.options(&["-c", config]).start();
        assert_eq!((panzer.end(), panzer.count("started")), (End::Status(2), 0));
        assert_eq!(panzer.count_lines(why), 1, "{:?}", panzer.lines());
        assert_eq!(panzer.lines().len(), 1);
    }
}

/// RATIONALE 12.3
#[test]
fn check_shows_what_it_all_comes_to_and_starts_nothing() {
    let place = Place::new();
    std::fs::create_dir(place.join("config")).expect("it is ours");
    let file = "bind:\n- :80\ntimeout: 5\ncommand:\n- ./app\n";
    place.write("config/panzer.yml", file);
    let (status, shown) = ask(place.path(), &["--check", "-b", "web=:81", "-t", "1.5"]);
    assert_eq!(status, Some(0), "{shown}");
    for line in ["  - \"web=0.0.0.0:81\"", "timeout: 1.5", "# delay: 0.1", "  - \"./app\""] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
    }
    assert!(!shown.contains(":80\""), "{shown}");
    // What is shown is a file that means the same.
    place.write("config/panzer.yml", &shown);
    assert_eq!(ask(place.path(), &["--check"]), (Some(0), shown));
    place.write("config/panzer.yml", "command: ./app\n");
    let (status, said) = ask(place.path(), &["--check"]);
    let why = "panzer: config/panzer.yml:1:10: command: has to be a list";
    assert!(status == Some(2) && said.starts_with(why), "{said}");
    assert_eq!(said.lines().count(), 1);
}

/// RATIONALE 12.2
#[test]
fn a_file_that_was_read_has_to_be_there_again() {
    let place = Place::new();
    std::fs::create_dir(place.join("config")).expect("it is ours");
    let file = place.write("config/panzer.yml", "count: 2\nbind: unix:socket\n");
    let setup = Setup::new(&example("witness"), &["run=idle"]).directory(place.path());
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    std::fs::remove_file(&file).expect("it is ours");
    panzer.signal(Signal::Usr1);
    panzer.expect_line("nothing is reloaded: cannot read 'config/panzer.yml': no such file");
    assert_eq!(panzer.workers(monitor).len(), 2);
    place.write("config/panzer.yml", "count: 1\n");
    let monitor = panzer.reload(2);
    panzer.expect_line("unix:");
    assert_eq!(panzer.count_lines("is not handed down any more"), 1);
    assert_eq!(panzer.workers(monitor).len(), 1);
    panzer.stop();
}

/// RATIONALE 12.1
#[test]
fn the_file_is_found_by_the_name_of_the_directory_that_main_was_started_in() {
    let place = Place::new();
    for (release, count) in [("1", "1"), ("2", "3")] {
        std::fs::create_dir(place.join(release)).expect("it is ours");
        place.write(&format!("{release}/panzer.yml"), &format!("count: {count}\n"));
    }
    let current = place.join("current");
    std::os::unix::fs::symlink("1", &current).expect("it is ours");
    let setup = Setup::new(&example("witness"), &["run=idle"]).directory(&current);
    let mut panzer = setup.options(&["--config=panzer.yml"]).start();
    let monitor = panzer.expect_current(1);
    assert_eq!(panzer.workers(monitor).len(), 1);
    std::fs::remove_file(&current).expect("it is ours");
    std::os::unix::fs::symlink("2", &current).expect("it is ours");
    let monitor = panzer.reload(2);
    assert_eq!(panzer.workers(monitor).len(), 3);
    panzer.stop();
}

/// RATIONALE 12.2
#[test]
fn a_generation_keeps_the_times_that_it_was_started_with() {
    let place = Place::new();
    let mut panzer = start(&place, "timeout: 60\n");
    let monitor = panzer.expect_current(1);
    // A reload that comes to nothing, with other times.
    place.write("panzer.yml", "timeout: 0\nchdir: nowhere\n");
    panzer.signal(Signal::Usr1);
    panzer.expect("failed", 2);
    let worker = panzer.workers(monitor)[0];
    stop_process(worker);
    panzer.signal(Signal::Term);
    panzer.expect_line("generation 1 is draining");
    panzer.settle();
    assert_eq!(panzer.count_lines("is sent SIGINT"), 0);
    continue_process(worker);
    assert_eq!(panzer.end(), End::Status(0));
}

/// RATIONALE 12.2
#[test]
fn a_socket_may_be_given_another_name() {
    let place = Place::new();
    let mut panzer = start(&place, "bind: one=unix:socket\n");
    panzer.expect_current(1);
    let inode = std::fs::metadata(place.join("socket")).expect("it is bound").ino();
    place.write("panzer.yml", "bind: two=unix:socket\n");
    replace(&mut panzer, Signal::Usr1, 2);
    assert_eq!(std::fs::metadata(place.join("socket")).expect("it is bound").ino(), inode);
    panzer.stop();
}

/// RATIONALE 12.2
#[test]
fn a_generation_that_starts_keeps_its_times_too() {
    let place = Place::new();
    place.write("panzer.yml", "timeout: 60\n");
    let setup = Setup::new(&example("witness"), &["say=starts", "hang"]).directory(place.path());
    let mut panzer = setup.options(&["--config=panzer.yml"]).start();
    let monitor = panzer.expect("started", 1).pid;
    panzer.expect_line("starts");
    place.write("panzer.yml", "timeout: 0\n");
    panzer.signal(Signal::Usr1);
    panzer.settle();
    stop_process(monitor);
    panzer.signal(Signal::Term);
    panzer.expect_line("generation 1 is draining");
    panzer.settle();
    assert_eq!(panzer.count_lines("is sent SIGINT"), 0);
    continue_process(monitor);
    assert_eq!(panzer.end(), End::Status(0));
}
