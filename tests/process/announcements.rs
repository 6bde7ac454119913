//! What main tells a service manager above it. sd_notify(3)

use std::path::PathBuf;

use panzer::sys::{Signal, clock};

use super::restartable::RestartableMain;
use crate::harness::ctl::ctl;
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::notify::ServiceManager;
use crate::harness::panzer::{End, Panzer};
use crate::harness::setup::Setup;

const READY: &str = "READY=1";
const RELOADING: &str = "RELOADING=1";
const STOPPING: &str = "STOPPING=1";

/// A panzer below a service manager, whose program a test can replace.
struct Below {
    above: ServiceManager,
    dir: TempDir,
    pid_file: PathBuf,
    panzer: Panzer,
}

impl Below {
    /// Starts the witness with these words, and waits until it is current.
    fn start(words: &[&str], options: &[&str]) -> Self {
        let (above, dir) = (ServiceManager::bind(), TempDir::new());
        let app = dir.app(&example("witness"), words);
        let pid_file = dir.join("panzer.pid");
        let option = format!("--pid={}", pid_file.display());
        let setup = Setup::new(&app, &[]).options(&["-n1", &option]).options(options);
        let mut panzer = setup.variable("NOTIFY_SOCKET", above.name()).start();
        panzer.expect_current(1);
        Self { above, dir, pid_file, panzer }
    }

    /// Replaces its program by one that waits for a gate, and has it started by a reload.
    fn begin_reload(&mut self) -> PathBuf {
        let gate = self.dir.gate("gate");
        let wait = format!("wait={}", gate.display());
        self.dir.app(&example("witness"), &["say=waits", &wait, "run=idle"]);
        self.panzer.signal(Signal::Usr1);
        self.panzer.expect_line("waits");
        gate
    }
}

/// The moment of the next reload that is announced.
fn moment_of_reload(above: &mut ServiceManager) -> u64 {
    let start = "RELOADING=1\nMONOTONIC_USEC=";
    let message = above.expect(RELOADING, |message| message.starts_with(RELOADING));
    let moment = message.strip_prefix(start).unwrap_or_else(|| panic!("{message:?}"));
    moment.parse().expect("it is a number")
}

/// rule: notify.reloading
#[test]
fn every_reload_is_announced_with_its_moment_and_followed_by_ready() {
    let dir = TempDir::new();
    let config = dir.write("panzer.yml", "timeout: 60\n");
    let option = format!("--config={}", config.display());
    let mut below = Below::start(&["run=idle"], &[&option]);
    let witness = example("witness");
    type Reload<'a> = &'a dyn Fn(&mut Below);
    let by_signal: Reload<'_> = &|below| below.panzer.signal(Signal::Hup);
    let by_ctl: Reload<'_> = &|below| drop(ctl(&below.pid_file, &["reload", "--no-wait"]));
    let bad_version: Reload<'_> = &|below| {
        below.dir.app(&example("witness"), &["exit=7"]);
        below.panzer.signal(Signal::Usr1);
    };
    let bad_configuration: Reload<'_> = &|below| {
        dir.write("panzer.yml", "timeout: never\n");
        below.panzer.signal(Signal::Usr1);
    };
    below.above.expect(READY, |message| message == READY);
    for reload in [by_signal, by_ctl, bad_version, bad_configuration] {
        let before = clock::micros();
        reload(&mut below);
        let moment = moment_of_reload(&mut below.above);
        below.above.expect(READY, |message| message == READY);
        assert!((before..=clock::micros()).contains(&moment), "{before} {moment}");
        below.dir.app(&witness, &["run=idle"]);
    }
    below.panzer.stop();
    let expected = [[READY, RELOADING].repeat(4), [READY, STOPPING].to_vec()].concat();
    assert_eq!(below.above.transitions(), expected);
}

/// rules: notify.reloading, reload.coalesced
#[test]
fn reload_during_a_reload_is_announced_after_it() {
    let mut below = Below::start(&["run=idle"], &[]);
    let gate = below.begin_reload();
    let first = moment_of_reload(&mut below.above);
    below.dir.app(&example("witness"), &["run=idle"]);
    let before = clock::micros();
    for _ in 0..3 {
        below.panzer.signal(Signal::Usr1);
        below.panzer.settle();
    }
    let after = clock::micros();
    assert_eq!(below.above.transitions(), [READY, RELOADING]);
    open_gate(&gate);
    let second = moment_of_reload(&mut below.above);
    assert!(first < before && (before..=after).contains(&second), "{second}");
    below.panzer.expect_current(3);
    below.panzer.stop();
    let expected = [READY, RELOADING, READY, RELOADING, READY, STOPPING];
    assert_eq!(below.above.transitions(), expected);
}

/// rule: notify.reloading
#[test]
fn first_ready_is_sent_when_the_first_generation_is_current() {
    let (mut above, dir) = (ServiceManager::bind(), TempDir::new());
    let gate = dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    let app = dir.app(&example("witness"), &["say=waits", &wait, "run=idle"]);
    let setup = Setup::new(&app, &[]).options(&["-n1"]);
    let mut panzer = setup.variable("NOTIFY_SOCKET", above.name()).start();
    // The script was executed by then.
    panzer.expect_line("waits");
    dir.app(&example("witness"), &["run=idle"]);
    panzer.signal(Signal::Usr1);
    panzer.settle();
    assert_eq!(above.transitions(), [""; 0]);
    open_gate(&gate);
    panzer.expect_current(2);
    panzer.stop();
    assert_eq!(above.transitions(), [READY, RELOADING, READY, STOPPING]);
}

/// rules: notify.stopping, notify.reloading
#[test]
fn stop_during_a_reload_is_announced_before_the_drain_delay_and_ends_the_reload() {
    let mut below = Below::start(&["run=idle"], &["--drain-delay=1000", "--timeout=0.2"]);
    below.begin_reload();
    below.panzer.signal(Signal::Usr1);
    below.panzer.settle();
    below.panzer.signal(Signal::Term);
    below.above.expect(STOPPING, |message| message == STOPPING);
    below.panzer.signal(Signal::Usr1);
    below.panzer.settle();
    below.panzer.signal(Signal::Quit);
    below.panzer.end();
    assert_eq!(below.above.transitions(), [READY, RELOADING, READY, STOPPING]);
}

/// rules: notify.reloading, restart.kept
#[test]
fn reload_announced_before_a_restart_ends_with_ready_after_it() {
    let (mut above, dir) = (ServiceManager::bind(), TempDir::new());
    let witness = example("witness");
    let app = dir.app(&witness, &["run=idle"]);
    let setup = Setup::new(&app, &[]).options(&["-n1"]).variable("NOTIFY_SOCKET", above.name());
    let mut main = RestartableMain::begin(dir, setup);
    main.panzer.expect_current(1);
    let gate = main.dir.gate("gate");
    main.dir.app(&witness, &["say=waits", &format!("wait={}", gate.display()), "run=idle"]);
    main.panzer.signal(Signal::Usr1);
    main.panzer.expect_line("waits");
    main.dir.app(&witness, &["run=idle"]);
    main.panzer.signal(Signal::Usr1);
    main.panzer.settle();
    main.restart();
    assert_eq!(above.transitions(), [READY, RELOADING]);
    open_gate(&gate);
    main.panzer.expect_current(3);
    main.panzer.stop();
    let expected = [READY, RELOADING, READY, RELOADING, READY, STOPPING];
    assert_eq!(above.transitions(), expected);
}

/// rule: notify.service-manager
#[test]
fn announcements_wait_for_room_and_keep_their_order() {
    let mut below = Below::start(&["run=idle"], &[]);
    below.above.fill();
    below.panzer.reload(2);
    below.panzer.reload(3);
    let expected = [READY, RELOADING, READY, RELOADING, READY];
    let Below { above, panzer, .. } = &mut below;
    panzer.eventually("all was sent", || above.transitions() == expected);
    below.panzer.signal(Signal::Term);
    assert_eq!(below.panzer.end(), End::Status(0));
}
