//! A new generation takes over, or nothing has happened.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::client::{Held, ask};
use crate::harness::panzer::{Panzer, send, stop_process};
use crate::harness::place::{Place, example, open_gate};
use crate::harness::setup::Setup;

/// A program `app` that serves, and may be replaced by a worse one.
struct Serving {
    place: Place,
    panzer: Panzer,
    address: SocketAddr,
    monitor: u32,
    workers: Vec<u32>,
}

impl Serving {
    fn start(options: &[&str]) -> Self {
        let place = Place::new();
        let app = place.app(&example("http"), &["127.0.0.1:0"]);
        fs::create_dir(place.join("here")).expect("it is a new place");
        fs::write(place.join("env"), "COLOUR=blue\n").expect("it is a new place");
        let here = format!("--chdir={}", place.join("here").display());
        let env = format!("--env-file={}", place.join("env").display());
        let setup = Setup::new(&app, &[]).options(&["-n2", &here, &env]);
        let mut panzer = setup.options(options).start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_current(1);
        let workers = panzer.workers(monitor);
        assert_eq!(workers.len(), 2);
        Self { place, panzer, address, monitor, workers }
    }

    /// Asks for a reload that must fail, and leave everything as it was.
    fn expect_failure(&mut self, what: &str) {
        self.panzer.signal(Signal::Usr1);
        let failed = self
            .panzer
            .expect_event("failure", |event| matches!(&*event.name, "failed" | "current"));
        assert_eq!((&*failed.name, failed.generation), ("failed", 2), "{what}");
        assert!(!failed.why.is_empty() && !failed.why.contains("no known reason"), "{failed:?}");
        self.panzer.expect_line("generation 2 failed: ");
        self.expect_untouched(what);
    }

    /// The first generation serves with the processes it had.
    fn expect_untouched(&mut self, what: &str) {
        let answer = ask(self.address).expect(what);
        assert_eq!(answer.generation, 1, "{what}");
        assert_eq!(self.panzer.workers(self.monitor), self.workers, "{what}");
    }

    /// The next reload of a good version works, and the old one is gone.
    fn expect_recovery(mut self) {
        self.place.app(&example("http"), &["127.0.0.1:0"]);
        self.panzer.reload(3);
        let monitor = self.monitor;
        self.panzer.expect_event("the end of the first", |event| {
            event.is("died", 1) && event.pid == monitor
        });
        assert_eq!(ask(self.address).expect("it serves").generation, 3);
        let mut panzer = self.panzer.stop();
        assert_eq!(panzer.count_lines("generation 2 failed: "), 1);
    }

    /// A version whose `app` is this script fails and is recovered from.
    fn fails_with(mut self, body: &str) {
        self.place.script("app", body);
        self.expect_failure(body);
        self.expect_recovery();
    }
}

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

#[test]
fn a_version_that_exits_with_0_has_failed() {
    Serving::start(&[]).fails_with("exit 0");
}

#[test]
fn a_version_that_exits_with_1_has_failed() {
    Serving::start(&[]).fails_with("exit 1");
}

#[test]
fn a_version_that_crashes_has_failed() {
    Serving::start(&[]).fails_with("kill -s SEGV $$");
}

#[test]
fn a_version_that_hangs_has_failed_after_the_ready_timeout() {
    let options = ["--ready-timeout=0.3", "--timeout=0.1"];
    Serving::start(&options).fails_with("exec sleep 1000");
}

#[test]
fn a_version_that_is_missing_has_failed() {
    let mut serving = Serving::start(&[]);
    fs::remove_file(serving.place.join("app")).expect("it was there");
    serving.expect_failure("a missing file");
    serving.expect_recovery();
}

#[test]
fn a_version_that_is_not_executable_has_failed() {
    let mut serving = Serving::start(&[]);
    fs::remove_file(serving.place.join("app")).expect("it was there");
    serving.place.write("app", "#!/bin/sh\nexit 0\n");
    serving.expect_failure("not executable");
    serving.expect_recovery();
}

#[test]
fn a_version_that_is_half_copied_has_failed() {
    let whole = fs::read(example("http")).expect("it is there");
    // What is behind is not needed to run: it is for debuggers.
    for length in [whole.len() / 100, 1_000, 40, 0] {
        let mut serving = Serving::start(&[]);
        serving.place.program("app", &whole[..length]);
        serving.expect_failure(&format!("the first {length} bytes"));
        serving.expect_recovery();
    }
}

#[test]
fn a_directory_that_is_missing_fails_the_reload() {
    let mut serving = Serving::start(&[]);
    fs::remove_dir(serving.place.join("here")).expect("it was there");
    serving.expect_failure("a missing directory");
    fs::create_dir(serving.place.join("here")).expect("it was removed");
    serving.expect_recovery();
}

#[test]
fn an_environment_file_that_is_bad_or_missing_fails_the_reload() {
    for content in [Some("no equals sign\n"), None] {
        let mut serving = Serving::start(&[]);
        match content {
            Some(content) => fs::write(serving.place.join("env"), content),
            None => fs::remove_file(serving.place.join("env")),
        }
        .expect("it was there");
        serving.expect_failure("a bad environment file");
        serving.place.write("env", "COLOUR=red\n");
        serving.expect_recovery();
    }
}

#[test]
fn a_version_whose_monitor_dies_on_probation_is_rolled_back() {
    let mut serving = Serving::start(&["--probation=1000", "-v"]);
    serving.panzer.signal(Signal::Usr1);
    let monitor = serving.panzer.expect("ready", 2).pid;
    send(monitor, Signal::Kill);
    serving.expect_rollback();
}

#[test]
fn a_version_that_loses_a_worker_in_every_slot_on_probation_is_rolled_back() {
    let mut serving = Serving::start(&["--probation=1000", "-v"]);
    serving.panzer.signal(Signal::Usr1);
    let monitor = serving.panzer.expect("ready", 2).pid;
    for worker in serving.panzer.workers(monitor) {
        send(worker, Signal::Kill);
    }
    serving.expect_rollback();
}

#[test]
fn a_version_that_dies_right_after_it_was_ready_is_rolled_back() {
    let place = Place::new();
    let app = place.app(&example("witness"), &["run=idle"]);
    let setup = Setup::new(&app, &[]).options(&["-n2", "--probation=1000", "--delay=0"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    place.app(&example("witness"), &["delay=0", "run=fail"]);
    panzer.signal(Signal::Usr1);
    panzer.expect("rolled_back", 2);
    assert_eq!(panzer.workers(monitor), workers);
    assert_eq!(panzer.count_lines("generation 1 is draining"), 0);
    panzer.stop();
}

impl Serving {
    /// The second generation is rolled back, and the first was never touched.
    fn expect_rollback(mut self) {
        self.panzer.expect("rolled_back", 2);
        self.panzer.expect_line("nobody of generation 2 is left");
        self.expect_untouched("a rollback");
        assert_eq!(self.panzer.count_lines("generation 1 is draining"), 0);
        // Whoever is on probation when all is to end is no reason to wait.
        self.panzer.signal(Signal::Usr1);
        self.panzer.expect("ready", 3);
        self.panzer.stop();
    }
}

#[test]
fn one_lost_worker_on_probation_is_forgiven() {
    let mut serving = Serving::start(&["--probation=1.5"]);
    serving.panzer.signal(Signal::Usr1);
    let monitor = serving.panzer.expect("ready", 2).pid;
    let worker = serving.panzer.workers(monitor)[0];
    send(worker, Signal::Kill);
    serving.panzer.expect_current(2);
    assert_eq!(serving.panzer.count("rolled_back"), 0);
    serving.panzer.stop();
}

#[test]
fn the_old_generation_is_kept_for_the_whole_probation() {
    let mut serving = Serving::start(&["--probation=0.4"]);
    let begun = Instant::now();
    serving.panzer.signal(Signal::Usr1);
    serving.panzer.expect("probation", 2);
    serving.panzer.expect("current", 2);
    assert!(begun.elapsed() >= Duration::from_millis(400), "after {:?}", begun.elapsed());
    serving.panzer.expect("draining", 1);
    serving.panzer.stop();
}

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

#[test]
fn a_stop_asked_for_while_a_generation_starts_ends_both() {
    let mut serving = Serving::start(&["--timeout=0.2"]);
    serving.place.script("app", "echo it starts; exec sleep 1000");
    serving.panzer.signal(Signal::Usr1);
    serving.panzer.expect_line("it starts");
    let mut panzer = serving.panzer.stop();
    assert_eq!((panzer.count("started"), panzer.count("current")), (2, 1));
}

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
