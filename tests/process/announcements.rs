//! What main tells a service manager above it. sd_notify(3)

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use panzer::sys::{Signal, clock};

use super::restartable::RestartableMain;
use crate::harness::client::Held;
use crate::harness::ctl::ctl;
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::notify::ServiceManager;
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::setup::Setup;
use crate::harness::{assert_elapsed_at_least, procfs};

const READY: &str = "READY=1";
const RELOADING: &str = "RELOADING=1";
const STOPPING: &str = "STOPPING=1";
const EXTEND: &str = "EXTEND_TIMEOUT_USEC=15000000";
const WATCHDOG: &str = "WATCHDOG=1";

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

/// Waits for this status.
fn expect_status(above: &mut ServiceManager, text: &str) {
    above.expect(text, |message| message.strip_prefix("STATUS=") == Some(text));
}

/// rule: notify.status
#[test]
fn status_says_what_serves_and_why_a_reload_failed() {
    let mut below = Below::start(&["run=idle"], &["-n2"]);
    expect_status(&mut below.above, "generation 1: 2 of 2 workers ready");
    below.dir.app(&example("witness"), &["exit=7"]);
    below.panzer.signal(Signal::Usr1);
    let failed = "generation 2 failed: its monitor exited with status 7; generation 1 serves on";
    expect_status(&mut below.above, failed);
    let gate = below.begin_reload();
    let starting = "generation 3 starting; generation 1: 2 of 2 workers ready";
    expect_status(&mut below.above, starting);
    open_gate(&gate);
    expect_status(&mut below.above, "generation 3: 2 of 2 workers ready");
    let (held, _) = {
        below.dir.app(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
        below.panzer.signal(Signal::Usr1);
        let address = below.panzer.expect_address();
        below.panzer.expect_current(4);
        Held::hold(address).expect("it serves")
    };
    below.panzer.signal(Signal::Term);
    expect_status(&mut below.above, "stopping: 1 generation draining");
    held.finish().expect("it is served");
    assert_eq!(below.panzer.end(), End::Status(0));
}

/// rule: notify.status
#[test]
fn status_says_that_a_reload_failed_while_another_was_running() {
    let dir = TempDir::new();
    let config = dir.write("panzer.yml", "timeout: 60\n");
    let option = format!("--config={}", config.display());
    let mut below = Below::start(&["run=idle"], &[&option]);
    let gate = below.begin_reload();
    dir.write("panzer.yml", "nonsense: 1\n");
    below.panzer.signal(Signal::Usr1);
    below.panzer.expect_line("reload failed");
    open_gate(&gate);
    below.panzer.expect_current(2);
    let end = "; generation 2 serves on";
    below.above.expect(end, |message| {
        message.starts_with("STATUS=reload failed: ") && message.ends_with(end)
    });
    below.panzer.stop();
}

/// rule: notify.status
#[test]
fn status_of_an_outage_says_that_its_monitor_stopped() {
    let mut below = Below::start(&["listen=127.0.0.1:0", "run=hold"], &[]);
    // Else it might be gone before main has heard of it.
    let (held, _) = Held::hold(below.panzer.expect_address()).expect("it serves");
    let gate = below.dir.gate("gate");
    below.dir.app(&example("witness"), &[&format!("wait={}", gate.display()), "run=idle"]);
    let monitor = procfs::children(below.panzer.pid())[0];
    send(monitor, Signal::Term);
    expect_status(
        &mut below.above,
        "no worker ready: generation 2 starting; generation 1: shut down, not requested by main",
    );
    held.finish().expect("it is served");
    open_gate(&gate);
    below.panzer.expect_current(2);
    expect_status(&mut below.above, "generation 2: 1 of 1 worker ready");
    below.panzer.stop();
}

/// rule: notify.status
#[test]
fn status_of_an_outage_says_when_the_next_start_is() {
    let mut above = ServiceManager::bind();
    let options = ["--give-up=0", "--delay=60", "--max-delay=60"];
    let setup = Setup::new(Path::new("sh"), &["-c", "exit 7"]).options(&options);
    let mut panzer = setup.variable("NOTIFY_SOCKET", above.name()).start();
    let start = "STATUS=no worker ready: next start in ";
    let status = above.expect(start, |message| message.starts_with(start));
    assert!(
        status.ends_with("s; generation 2 failed: its monitor exited with status 7"),
        "{status}"
    );
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: notify.status
#[test]
fn last_status_of_a_first_start_that_failed_is_the_reason() {
    let mut above = ServiceManager::bind();
    let setup = Setup::new(Path::new("./missing"), &[]);
    let mut panzer = setup.variable("NOTIFY_SOCKET", above.name()).start();
    assert_eq!(panzer.end(), End::Status(127));
    let last = above.heard().iter().rfind(|message| message.starts_with("STATUS="));
    let last = last.expect("a status was sent");
    let reason = "STATUS=stopping; generation 1 failed: cannot execute './missing': ";
    assert!(last.starts_with(reason), "{last}");
}

/// rule: notify.status
#[test]
fn status_is_sent_after_ready_and_else_four_times_a_second_at_most() {
    let begun = Instant::now();
    let mut below = Below::start(&["run=idle"], &[]);
    for generation in 2..=20 {
        below.panzer.reload(generation);
        // So that there is room.
        below.above.heard();
    }
    let current =
        |message: &&String| message.ends_with(": 1 of 1 worker ready") && !message.contains(';');
    let Below { above, panzer, .. } = &mut below;
    panzer.eventually("each status is told", || above.heard().iter().filter(current).count() == 20);
    let quarters = usize::try_from(begun.elapsed().as_millis() / 250).expect("a short time");
    below.panzer.stop();
    let is_status = |message: &&String| message.starts_with("STATUS=");
    let mut all: Vec<_> = below.above.heard().iter().filter(is_status).collect();
    // One for each READY=1, and the last may be that of the stop.
    assert!(all.len() <= 20 + quarters + 2, "{all:?}");
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count);
}

/// rule: notify.extend
#[test]
fn timeouts_are_extended_while_a_start_a_reload_or_a_stop_takes_long() {
    let (mut above, dir) = (ServiceManager::bind(), TempDir::new());
    let gate = dir.gate("gate");
    let words = [&*format!("wait={}", gate.display()), "listen=127.0.0.1:0", "run=hold"];
    let app = dir.app(&example("witness"), &words);
    let setup = Setup::new(&app, &[]).options(&["-n1"]);
    let begun = Instant::now();
    let mut panzer = setup.variable("NOTIFY_SOCKET", above.name()).start();
    above.expect("at the start", |message| message == EXTEND);
    above.expect("again", |message| message == EXTEND);
    assert_elapsed_at_least(begun, Duration::from_secs(5));
    open_gate(&gate);
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    above.expect(READY, |message| message == READY);
    panzer.signal(Signal::Usr1);
    above.expect("for the reload", |message| message == EXTEND);
    open_gate(&gate);
    panzer.expect_current(2);
    above.expect("the end of the reload", |message| message == READY);
    panzer.settle();
    panzer.settle();
    // The old generation drains, and nothing above waits for that.
    let after = above.heard().iter().rev().take_while(|message| *message != READY);
    assert_eq!(after.filter(|message| *message == EXTEND).count(), 0);
    panzer.signal(Signal::Term);
    above.expect(STOPPING, |message| message == STOPPING);
    above.expect("for the stop", |message| message == EXTEND);
    held.finish().expect("it is served");
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: notify.extend
#[test]
fn timeouts_are_not_extended_at_rest() {
    let mut below = Below::start(&["run=idle"], &[]);
    below.panzer.rest();
    let count = |above: &mut ServiceManager| {
        above.heard().iter().filter(|message| *message == EXTEND).count()
    };
    let before = count(&mut below.above);
    for _ in 0..5 {
        below.panzer.settle();
    }
    assert_eq!((before, count(&mut below.above)), (1, 1));
    below.panzer.stop();
}

/// How many times it has heard by now that main is well.
fn watchdogs(above: &mut ServiceManager) -> usize {
    above.heard().iter().filter(|message| *message == WATCHDOG).count()
}

/// A panzer that is to say every 10 ms that it is well.
fn watched(above: &ServiceManager, setup: Setup) -> Panzer {
    let setup = setup.options(&["-n1"]).variable("NOTIFY_SOCKET", above.name());
    setup.variable("WATCHDOG_USEC", "20000").start()
}

/// Whether it says so now: main answers ten times a second at most.
fn is_well(above: &mut ServiceManager, panzer: &mut Panzer) -> bool {
    panzer.settle();
    let before = watchdogs(above);
    panzer.settle();
    panzer.settle();
    watchdogs(above) > before
}

/// rule: notify.watchdog
#[test]
fn watchdog_is_told_until_every_worker_hangs() {
    let mut above = ServiceManager::bind();
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let setup = Setup::new(&example("witness"), &words).options(&["--hang-timeout=0.3"]);
    let mut panzer = watched(&above, setup);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    assert!(is_well(&mut above, &mut panzer));
    // A monitor that runs would end the worker.
    stop_process(monitor);
    let (held, _) = Held::hold(address).expect("it serves");
    let (mut last, main) = (0, panzer.pid());
    panzer.eventually_at(main, "nothing more is told", || {
        let count = watchdogs(&mut above);
        std::mem::replace(&mut last, count) == count
    });
    assert!(!is_well(&mut above, &mut panzer));
    held.finish().expect("it is served");
    assert!(is_well(&mut above, &mut panzer));
    continue_process(monitor);
    panzer.stop();
}

/// rule: notify.watchdog
#[test]
fn watchdog_goes_by_the_limits_of_the_generation_that_serves() {
    let (mut above, dir) = (ServiceManager::bind(), TempDir::new());
    let config = dir.write("panzer.yml", "hang-timeout: 0\n");
    let option = format!("--config={}", config.display());
    let app = dir.app(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = watched(&above, Setup::new(&app, &[]).options(&[&option]));
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    dir.write("panzer.yml", "hang-timeout: 0.001\n");
    dir.app(&example("witness"), &["exit=7"]);
    panzer.signal(Signal::Usr1);
    panzer.expect_event("the failed reload", |event| event.is("failed", 2));
    assert!(is_well(&mut above, &mut panzer));
    held.finish().expect("it is served");
    panzer.stop();
}

/// rule: notify.watchdog
#[test]
fn watchdog_is_told_while_a_start_is_waited_for_and_of_a_program_without_board() {
    let mut above = ServiceManager::bind();
    let options = ["--give-up=0", "--delay=60", "--max-delay=60"];
    let setup = Setup::new(Path::new("sh"), &["-c", "exit 7"]).options(&options);
    let mut panzer = watched(&above, setup);
    panzer.expect_line("restarting in");
    assert!(is_well(&mut above, &mut panzer));
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    let setup = Setup::new(Path::new("sleep"), &["1000"]).options(&["--ready=0"]);
    let mut panzer = watched(&above, setup);
    panzer.expect_current(1);
    assert!(is_well(&mut above, &mut panzer));
    panzer.stop();
}

/// rule: notify.watchdog
#[test]
fn watchdog_of_another_process_is_not_told() {
    let mut above = ServiceManager::bind();
    let setup = Setup::new(&example("witness"), &["run=idle"]).variable("WATCHDOG_PID", "1");
    let mut panzer = watched(&above, setup);
    panzer.expect_current(1);
    panzer.reload(2);
    panzer.stop();
    assert_eq!(watchdogs(&mut above), 0);
}

/// rule: notify.watchdog
#[test]
fn watchdog_is_told_after_a_restart() {
    let (mut above, dir) = (ServiceManager::bind(), TempDir::new());
    let app = dir.app(&example("witness"), &["run=idle"]);
    let setup = Setup::new(&app, &[]).options(&["-n1"]).variable("NOTIFY_SOCKET", above.name());
    let mut main = RestartableMain::begin(dir, setup.variable("WATCHDOG_USEC", "20000"));
    main.panzer.expect_current(1);
    main.restart();
    assert!(is_well(&mut above, &mut main.panzer));
    main.panzer.stop();
}

/// rules: given.monitor, notify.service-manager
#[test]
fn variables_of_a_service_manager_do_not_reach_any_process_below() {
    let mut above = ServiceManager::bind();
    let show = "env | sed 's/^/has /' >&2; echo looked >&2; exec sleep 1000";
    for options in [&["-x", "--ready=0"][..], &["--ready=0"]] {
        let setup = Setup::new(Path::new("sh"), &["-c", show]).options(options);
        let own = above.name().to_string();
        let setup = setup.variable("FDSTORE", "64").variable("LISTEN_PIDFDID", "1");
        let mut panzer = watched(&above, setup);
        panzer.expect_line("looked");
        panzer.expect_current(1);
        let mut panzer = panzer.stop();
        for name in ["WATCHDOG_", "FDSTORE=", "LISTEN_", &format!("NOTIFY_SOCKET={own}")] {
            assert_eq!(panzer.count_lines(&format!("has {name}")), 0, "{name}");
        }
    }
    assert!(watchdogs(&mut above) > 0);
}
