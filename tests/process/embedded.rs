//! Main embedded in an application, and a program that is both main and monitor.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use panzer::sys::Signal;

use crate::harness::client::{Clients, ask};
use crate::harness::ctl::ctl;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer};
use crate::harness::procfs;
use crate::harness::setup::Setup;

/// The one argument of the example.
const ADDRESS: &str = "127.0.0.1:0";

/// A directory with a configuration file, whose `app` is the example itself.
fn directory(more: &str) -> TempDir {
    let dir = TempDir::new();
    fs::create_dir(dir.join("config")).expect("the directory is empty");
    let options = "event-fd: 3\nprobation: 0\ncount: 2\npid: panzer.pid\n";
    dir.write("config/panzer.yml", &format!("{options}{more}"));
    deploy(&dir);
    dir
}

/// Replaces `app` by a link to the example.
fn deploy(dir: &TempDir) {
    symlink(example("supervise"), dir.join("next")).expect("it is not there");
    fs::rename(dir.join("next"), dir.join("app")).expect("it can be replaced");
}

/// The example, started as `./app` in this directory.
fn start(dir: &TempDir) -> (Panzer, PathBuf) {
    let setup = Setup::embedded(Path::new("./app"), &[ADDRESS]).directory(dir.path());
    (setup.start(), dir.join("panzer.pid"))
}

/// rules: restart.path, embed.path
#[test]
fn embedded_main_restarts_in_place_and_reloads_itself() {
    let dir = directory("chdir: here\n");
    fs::create_dir(dir.join("here")).expect("the directory is empty");
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    let setup = Setup::embedded(Path::new("app"), &[ADDRESS]).variable("PATH", &path);
    let mut panzer = setup.directory(dir.path()).start();
    let (address, pid_file) = (panzer.expect_address(), dir.join("panzer.pid"));
    let monitor = panzer.expect_current(1);
    for _ in 0..2 {
        let outcome = ctl(&pid_file, &["restart"]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    }
    assert_eq!(procfs::name(panzer.pid()), "panzer:main");
    let main = panzer.pid();
    panzer.eventually("the monitor is its only child", || procfs::children(main) == [monitor]);
    assert_eq!(ctl(&pid_file, &["reload"]).status, 0);
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    assert_eq!(ask(address).expect("it serves").generation, 2);
    assert_eq!(panzer.count("restarted"), 2);
    dir.script("app", "exit 7");
    assert_eq!(ctl(&pid_file, &["restart"]).status, 1);
    assert_eq!(ask(address).expect("it serves on").generation, 2);
    assert_eq!(ctl(&pid_file, &["shutdown"]).status, 0);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count_lines("listening on "), 2);
}

/// rule: embed.supervise
#[test]
fn embedded_main_starts_itself_as_monitor_and_runs_no_application_code() {
    let dir = directory("");
    let (mut panzer, pid_file) = start(&dir);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    assert_ne!(address.port(), 8080, "the argument is not passed to the monitor");
    assert_eq!(procfs::name(panzer.pid()), "panzer:main");
    let main = panzer.pid();
    panzer.eventually("the monitor is its only child", || procfs::children(main) == [monitor]);
    assert_eq!(procfs::name(monitor), "panzer:monitor");
    assert_eq!(panzer.workers(monitor).len(), 2);
    assert_eq!(ctl(&pid_file, &["reload"]).status, 0);
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    assert_eq!(ask(address).expect("it serves").generation, 2);
    let status = ctl(&pid_file, &["status"]).stdout;
    assert!(status.contains("127.0.0.1:") && status.contains("generation 2"), "{status}");
    assert_eq!(ctl(&pid_file, &["shutdown"]).status, 0);
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count_lines("listening on "), 2);
    assert!(!pid_file.exists());
}

/// rule: embed.path
#[test]
fn reload_executes_the_path_that_main_was_started_from() {
    let dir = directory("chdir: here\n");
    fs::create_dir(dir.join("here")).expect("the directory is empty");
    for is_searched_for in [false, true] {
        deploy(&dir);
        let setup = if is_searched_for {
            let path = format!("{}:/usr/bin:/bin", dir.path().display());
            Setup::embedded(Path::new("app"), &[ADDRESS]).variable("PATH", &path)
        } else {
            Setup::embedded(Path::new("./app"), &[ADDRESS])
        };
        let mut panzer = setup.directory(dir.path()).start();
        let (address, pid_file) = (panzer.expect_address(), dir.join("panzer.pid"));
        panzer.expect_current(1);
        dir.script("app", "exit 7");
        let outcome = ctl(&pid_file, &["reload"]);
        assert_eq!(outcome.status, 1);
        assert!(outcome.stderr.contains("its monitor exited with status 7"), "{}", outcome.stderr);
        assert_eq!(ask(address).expect("it serves on").generation, 1);
        deploy(&dir);
        assert_eq!(ctl(&pid_file, &["reload"]).status, 0);
        panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
        assert_eq!(ask(address).expect("it serves").generation, 3);
        panzer.stop();
    }
}

/// rule: embed.supervise
#[test]
fn embedded_program_under_panzer_is_only_the_monitor() {
    let setup = Setup::new(&example("supervise"), &[ADDRESS]).options(&["-n2"]);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    for generation in 1..=2 {
        let monitor = panzer.expect_current(generation);
        let names = panzer.workers(monitor).into_iter().map(procfs::name);
        assert_eq!(names.collect::<Vec<_>>(), ["panzer:worker", "panzer:worker"]);
        if generation == 1 {
            panzer.signal(Signal::Usr1);
        }
    }
    ask(address).expect("it serves");
    panzer.stop();
}

/// rule: embed.wrapper
#[test]
fn embedded_program_behind_a_wrapper_does_not_become_main() {
    let dir = TempDir::new();
    let body = format!("'{}' {ADDRESS}", example("supervise").display());
    // A second command keeps the shell from executing the first without a fork.
    let script = dir.script("app", &format!("{body}\nexit 0"));
    let mut panzer = Setup::new(&script, &[]).options(&["-n1"]).start();
    panzer.expect_line("is not the parent process");
    panzer.expect_current(1);
    let below = procfs::descendants(panzer.pid());
    let mains = below.into_iter().filter(|pid| procfs::name(*pid) == "panzer:main");
    assert_eq!(mains.count(), 0);
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// rule: embed.options
#[test]
fn embedded_exit_statuses_are_those_of_panzer() {
    let dir = directory("");
    let (mut panzer, pid_file) = start(&dir);
    panzer.expect_current(1);
    let (mut other, _) = start(&dir);
    assert_eq!(other.end(), End::Status(3));
    panzer.signal(Signal::Quit);
    assert_eq!(panzer.end(), End::Status(0));
    assert!(!pid_file.exists());
    dir.write("config/panzer.yml", "event-fd: 3\ncolour: red\n");
    let (mut panzer, _) = start(&dir);
    assert_eq!(panzer.end(), End::Status(2));
    assert_eq!(panzer.count_lines("panzer: config/panzer.yml:2:1: unknown key 'colour'"), 1);
}

/// rule: embed.supervise
#[test]
fn reloads_of_embedded_program_under_load_lose_no_request() {
    let dir = directory("delay: 0\n");
    let (mut panzer, pid_file) = start(&dir);
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

/// The fixture with these arguments.
fn embedded(words: &[&str]) -> Panzer {
    Setup::embedded(&example("embedded"), words).start()
}

/// rule: embed.supervise
#[test]
fn embedded_main_exits_without_running_application_destructors() {
    let mut panzer = embedded(&["+supervise"]);
    panzer.expect_current(1);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("the application leaves"), 1, "{:?}", panzer.lines());
}

/// rules: embed.options, embed.path
#[test]
fn embedded_main_takes_options_and_restarts_like_panzer() {
    let witness = example("witness").display().to_string();
    let words = ["+count=1", "+delay=0", "+verbose", &witness, "report=monitor", "run=idle"];
    let mut panzer = embedded(&words);
    panzer.expect_line("monitor env PANZER_COUNT=1");
    let monitor = panzer.expect_current(1);
    assert_eq!(procfs::name(panzer.pid()), "panzer:main");
    assert_eq!(panzer.workers(monitor).len(), 1);
    panzer.signal(Signal::Usr2);
    panzer.expect_event("a restart", |event| event.name == "restarted");
    panzer.reload(2);
    assert_eq!(panzer.count_lines("monitor env PANZER_COUNT=1"), 2);
    panzer.stop();
    let mut panzer = embedded(&["./nothing"]);
    assert_eq!(panzer.end(), End::Status(127));
    for (words, line) in [
        (["+colour=red", "./app"], "panzer: unknown option '--colour'"),
        (["+timeout=soon", "./app"], "panzer: --timeout: invalid value 'soon', "),
        (["+quiet=yes", "./app"], "panzer: --quiet: takes no value, got 'yes'"),
        (
            ["+quiet", "+verbose"],
            "panzer: no COMMAND given; usage: panzer [OPTIONS] [--] COMMAND [ARGS...]",
        ),
    ] {
        let mut panzer = embedded(&words);
        assert_eq!(panzer.end(), End::Status(2), "{words:?}");
        assert_eq!(panzer.count_lines(line), 1, "{:?}", panzer.lines());
    }
}

/// rule: embed.one-thread
#[test]
fn embedded_main_is_refused_with_other_threads_or_listeners() {
    for (word, line) in [
        (
            "+thread",
            "cannot fork: this process has 2 threads, and the main process must have only one",
        ),
        (
            "+listen",
            "the program has opened a listener or run a pool before Main::run or supervise",
        ),
    ] {
        let mut panzer = embedded(&[word, &example("witness").display().to_string(), "run=idle"]);
        assert_eq!(panzer.end(), End::Status(1), "{word}");
        assert_eq!(panzer.count_lines(line), 1, "{:?}", panzer.lines());
        assert_eq!(panzer.count("started"), 0);
    }
}

/// rule: embed.sigpipe
#[test]
fn command_of_embedded_main_has_default_sigpipe() {
    let dir = TempDir::new();
    let script = dir.script("app", "kill -s PIPE $$; exit 7");
    let mut panzer = embedded(&["+give-up=1", &script.display().to_string()]);
    assert_eq!(panzer.end(), End::Status(1));
    assert_ne!(
        panzer.count_lines("failed: its monitor killed by SIGPIPE"),
        0,
        "{:?}",
        panzer.lines()
    );
}

/// rule: embed.exec
#[test]
fn embedded_main_runs_a_pool_of_programs() {
    let words = ["+exec", "+count=2", "+ready=0", "/bin/sleep", "1000"];
    let mut panzer = embedded(&words);
    let monitor = panzer.expect_current(1);
    assert_eq!(procfs::name(monitor), "panzer:monitor");
    let below = panzer.workers(monitor).into_iter().map(procfs::name);
    assert_eq!(below.filter(|name| name == "sleep").count(), 2);
    panzer.reload(2);
    panzer.stop();
}

/// rule: embed.exec
#[test]
fn supervise_refuses_option_exec() {
    let dir = directory("exec: true\ngive-up: 1\n");
    let (mut panzer, _) = start(&dir);
    assert_eq!(panzer.end(), End::Status(1));
    assert!(panzer.count_lines("supervise cannot be used with 'exec'") > 0);
    assert_eq!(panzer.count_lines("listening on "), 0);
}
