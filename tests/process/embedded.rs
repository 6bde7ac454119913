//! Main in a program of one's own, and one program that is both.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use panzer::sys::Signal;

use crate::harness::client::{Clients, ask};
use crate::harness::ctl::ctl;
use crate::harness::look;
use crate::harness::panzer::{End, Panzer};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

/// The one argument of the example.
const ADDRESS: &str = "127.0.0.1:0";

/// A place with a configuration file, whose `app` is the example itself.
fn place(more: &str) -> Place {
    let place = Place::new();
    fs::create_dir(place.join("config")).expect("it is a new place");
    let options = "event-fd: 3\nprobation: 0\ncount: 2\npid: panzer.pid\n";
    place.write("config/panzer.yml", &format!("{options}{more}"));
    deploy(&place);
    place
}

/// Has the example stand at the path of `app`, whatever stands there.
fn deploy(place: &Place) {
    symlink(example("supervise"), place.join("next")).expect("it is not there");
    fs::rename(place.join("next"), place.join("app")).expect("it can be replaced");
}

/// The example, started by the name `app` in its place.
fn start(place: &Place) -> (Panzer, PathBuf) {
    let setup = Setup::itself(Path::new("./app"), &[ADDRESS]).directory(place.path());
    (setup.start(), place.join("panzer.pid"))
}

/// RATIONALE 13.5, 14.5
#[test]
fn one_program_replaces_main_in_place_and_starts_itself_as_before() {
    let place = place("chdir: here\n");
    fs::create_dir(place.join("here")).expect("it is a new place");
    let path = format!("{}:/usr/bin:/bin", place.path().display());
    let setup = Setup::itself(Path::new("app"), &[ADDRESS]).variable("PATH", &path);
    let mut panzer = setup.directory(place.path()).start();
    let (address, pid_file) = (panzer.expect_address(), place.join("panzer.pid"));
    let monitor = panzer.expect_current(1);
    for _ in 0..2 {
        let outcome = ctl(&pid_file, &["restart"]);
        assert_eq!(outcome.status, 0, "{}", outcome.told);
    }
    assert_eq!(look::name(panzer.pid()), "panzer:main");
    assert_eq!(look::children(panzer.pid()), [monitor]);
    assert_eq!(ctl(&pid_file, &["reload"]).status, 0);
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    assert_eq!(ask(address).expect("it serves").generation, 2);
    assert_eq!(panzer.count("restarted"), 2);
    place.script("app", "exit 7");
    assert_eq!(ctl(&pid_file, &["restart"]).status, 1);
    assert_eq!(ask(address).expect("it serves on").generation, 2);
    assert_eq!(ctl(&pid_file, &["shutdown"]).status, 0);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count_lines("listening on "), 2);
}

/// RATIONALE 14.4
#[test]
fn one_program_is_main_and_monitor_and_main_runs_nothing_of_the_application() {
    let place = place("");
    let (mut panzer, pid_file) = start(&place);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    assert_ne!(address.port(), 8080, "the argument is not handed on");
    assert_eq!(look::name(panzer.pid()), "panzer:main");
    assert_eq!(look::children(panzer.pid()), [monitor]);
    assert_eq!(look::name(monitor), "panzer:monitor");
    assert_eq!(panzer.workers(monitor).len(), 2);
    assert_eq!(ctl(&pid_file, &["reload"]).status, 0);
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    assert_eq!(ask(address).expect("it serves").generation, 2);
    let status = ctl(&pid_file, &["status"]).shown;
    assert!(status.contains("127.0.0.1:") && status.contains("generation 2"), "{status}");
    assert_eq!(ctl(&pid_file, &["shutdown"]).status, 0);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count_lines("listening on "), 2);
    assert!(!pid_file.exists());
}

/// RATIONALE 14.5
#[test]
fn a_reload_runs_what_stands_at_the_path_that_main_was_started_from() {
    let place = place("chdir: here\n");
    fs::create_dir(place.join("here")).expect("it is a new place");
    for is_searched_for in [false, true] {
        deploy(&place);
        let setup = if is_searched_for {
            let path = format!("{}:/usr/bin:/bin", place.path().display());
            Setup::itself(Path::new("app"), &[ADDRESS]).variable("PATH", &path)
        } else {
            Setup::itself(Path::new("./app"), &[ADDRESS])
        };
        let mut panzer = setup.directory(place.path()).start();
        let (address, pid_file) = (panzer.expect_address(), place.join("panzer.pid"));
        panzer.expect_current(1);
        place.script("app", "exit 7");
        let outcome = ctl(&pid_file, &["reload"]);
        assert_eq!(outcome.status, 1);
        assert!(outcome.told.contains("its monitor exited with status 7"), "{}", outcome.told);
        assert_eq!(ask(address).expect("it serves on").generation, 1);
        deploy(&place);
        assert_eq!(ctl(&pid_file, &["reload"]).status, 0);
        panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
        assert_eq!(ask(address).expect("it serves").generation, 3);
        panzer.stop();
    }
}

/// RATIONALE 14.4
#[test]
fn below_panzer_it_is_just_the_monitor() {
    let setup = Setup::new(&example("supervise"), &[ADDRESS]).options(&["-n2"]);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    for generation in 1..=2 {
        let monitor = panzer.expect_current(generation);
        let names = panzer.workers(monitor).into_iter().map(look::name);
        assert_eq!(names.collect::<Vec<_>>(), ["panzer:worker", "panzer:worker"]);
        if generation == 1 {
            panzer.signal(Signal::Usr1);
        }
    }
    ask(address).expect("it serves");
    panzer.stop();
}

/// RATIONALE 14.6
#[test]
fn behind_a_wrapper_it_runs_alone_and_never_becomes_another_main() {
    let place = Place::new();
    let body = format!("'{}' {ADDRESS}", example("supervise").display());
    // A second command keeps the shell from executing the first in its place.
    let script = place.script("app", &format!("{body}\nexit 0"));
    let mut panzer = Setup::new(&script, &[]).options(&["-n1"]).start();
    panzer.expect_line("which is not our parent");
    panzer.expect_current(1);
    let below = look::descendants(panzer.pid());
    let mains = below.into_iter().filter(|pid| look::name(*pid) == "panzer:main");
    assert_eq!(mains.count(), 0);
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// RATIONALE 14.1
#[test]
fn its_exit_statuses_are_those_of_panzer() {
    let place = place("");
    let (mut panzer, pid_file) = start(&place);
    panzer.expect_current(1);
    let (mut other, _) = start(&place);
    assert_eq!(other.end(), End::Status(3));
    panzer.signal(Signal::Quit);
    assert_eq!(panzer.end(), End::Status(0));
    assert!(!pid_file.exists());
    place.write("config/panzer.yml", "event-fd: 3\ncolour: red\n");
    let (mut panzer, _) = start(&place);
    assert_eq!(panzer.end(), End::Status(2));
    assert_eq!(panzer.count_lines("panzer: config/panzer.yml:2:1: there is no option 'colour'"), 1);
}

/// RATIONALE 14.4
#[test]
fn reloads_of_one_program_under_load_lose_no_request() {
    let place = place("delay: 0\n");
    let (mut panzer, pid_file) = start(&place);
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let clients = Clients::begin(address);
    for _ in 0..5 {
        assert_eq!(ctl(&pid_file, &["reload"]).status, 0);
    }
    assert!(clients.end() > 0);
    panzer.expect_current(6);
    panzer.stop();
}

/// The fixture with these words, and what it says until its end.
fn embedded(words: &[&str]) -> Panzer {
    Setup::itself(&example("embedded"), words).start()
}

/// RATIONALE 14.4
#[test]
fn main_leaves_without_what_the_application_does_at_its_end() {
    let mut panzer = embedded(&["+supervise"]);
    panzer.expect_current(1);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("the application leaves"), 1, "{:?}", panzer.lines());
}

/// RATIONALE 14.1, 14.5
#[test]
fn a_program_with_main_in_it_is_panzer() {
    let witness = example("witness").display().to_string();
    let words = ["+count=1", "+delay=0", "+verbose", &witness, "report=monitor", "run=idle"];
    let mut panzer = embedded(&words);
    panzer.expect_line("monitor env PANZER_COUNT=1");
    let monitor = panzer.expect_current(1);
    assert_eq!(look::name(panzer.pid()), "panzer:main");
    assert_eq!(panzer.workers(monitor).len(), 1);
    panzer.signal(Signal::Usr2);
    panzer.expect_event("another image", |event| event.name == "restarted");
    panzer.reload(2);
    assert_eq!(panzer.count_lines("monitor env PANZER_COUNT=1"), 2);
    panzer.stop();
    let mut panzer = embedded(&["./nothing"]);
    assert_eq!(panzer.end(), End::Status(127));
    for (words, line) in [
        (["+colour=red", "./app"], "panzer: there is no option '--colour'"),
        (["+timeout=soon", "./app"], "panzer: --timeout: 'soon' is "),
        (["+quiet=yes", "./app"], "panzer: --quiet takes no value, not 'yes'"),
        (["+quiet", "+verbose"], "panzer: there is no COMMAND to run; see --help"),
    ] {
        let mut panzer = embedded(&words);
        assert_eq!(panzer.end(), End::Status(2), "{words:?}");
        assert_eq!(panzer.count_lines(line), 1, "{:?}", panzer.lines());
    }
}

/// RATIONALE 14.2
#[test]
fn main_is_refused_where_it_is_not_alone() {
    for (word, line) in [
        ("+thread", "cannot fork: the program has 2 threads, and main has to be the only one"),
        ("+listen", "cannot become main: the program has opened a listener or run a pool before"),
    ] {
        let mut panzer = embedded(&[word, &example("witness").display().to_string(), "run=idle"]);
        assert_eq!(panzer.end(), End::Status(1), "{word}");
        assert_eq!(panzer.count_lines(line), 1, "{:?}", panzer.lines());
        assert_eq!(panzer.count("started"), 0);
    }
}

/// RATIONALE 14.3
#[test]
fn what_rusts_runtime_ignores_a_command_of_main_does_not() {
    let place = Place::new();
    let script = place.script("app", "kill -s PIPE $$; exit 7");
    let mut panzer = embedded(&["+give-up=1", &script.display().to_string()]);
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(
        panzer.count_lines("failed: its monitor killed by SIGPIPE"),
        1,
        "{:?}",
        panzer.lines()
    );
}

/// RATIONALE 14.7
#[test]
fn a_program_with_main_in_it_runs_a_pool_of_programs_too() {
    let words = ["+exec", "+count=2", "+ready=0", "/bin/sleep", "1000"];
    let mut panzer = embedded(&words);
    let monitor = panzer.expect_current(1);
    assert_eq!(look::name(monitor), "panzer:monitor");
    let below = panzer.workers(monitor).into_iter().map(look::name);
    assert_eq!(below.filter(|name| name == "sleep").count(), 2);
    panzer.reload(2);
    panzer.stop();
}

/// RATIONALE 14.7
#[test]
fn one_program_is_no_pool_of_itself() {
    let place = place("exec: true\ngive-up: 1\n");
    let (mut panzer, _) = start(&place);
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count_lines("cannot supervise a pool of programs"), 1);
    assert_eq!(panzer.count_lines("listening on "), 0);
}
