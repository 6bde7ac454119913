//! Workers that make no progress are ended.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::harness::client::Held;
use crate::harness::control_client::ask_result;
use crate::harness::ctl::ctl;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::Panzer;
use crate::harness::procfs;
use crate::harness::setup::Setup;

/// Workers that hold the connections they accept, with a --hang-timeout in `options`.
fn holding(dir: &TempDir, options: &[&str]) -> (Panzer, SocketAddr, u32) {
    start(dir, &["listen=127.0.0.1:0", "run=hold"], options)
}

fn start(dir: &TempDir, words: &[&str], options: &[&str]) -> (Panzer, SocketAddr, u32) {
    let setup = Setup::new(&example("witness"), words);
    let pid_file = format!("--pid={}", pid_file(dir).display());
    let mut panzer = setup.options(&[&pid_file, "-n2"]).options(options).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    (panzer, address, monitor)
}

fn pid_file(dir: &TempDir) -> PathBuf {
    dir.join("panzer.pid")
}

/// rules: hang.timeout, log.death
#[test]
fn hanging_worker_gets_sigabrt_and_siblings_keep_running() {
    let dir = TempDir::new();
    let (mut panzer, address, monitor) = holding(&dir, &["--hang-timeout=0.3"]);
    let before = panzer.workers(monitor);
    let (mut held, hung) = Held::hold(address).expect("it serves");
    held.send("loop").expect("it reads");
    let name = format!("worker {} (pid {}) of generation 1: ", hung.slot, hung.pid);
    let line = panzer.expect_line("(--hang-timeout), sent SIGABRT");
    assert!(line.contains(&format!("worker {}", hung.slot)), "{line}");
    let line = panzer.expect_line("killed by SIGABRT");
    assert!(line.contains(&name) && line.contains("(hung)"), "{line}");
    assert!(held.ends_without_reply());
    panzer.expect_event("a death", |event| {
        event.name == "died" && event.pid == hung.pid && event.reason.ends_with("(hung)")
    });
    panzer.expect_event("a respawn", |event| event.name == "respawn" && event.slot == hung.slot);
    let mut after = panzer.workers(monitor);
    after.retain(|pid| before.contains(pid));
    assert_eq!(after, before.into_iter().filter(|pid| *pid != hung.pid).collect::<Vec<_>>());
    // Its worker hangs too if this client is slow.
    drop(Held::hold(address).expect("it serves"));
    panzer.stop();
}

/// rule: hang.timeout
#[test]
fn hanging_worker_that_ignores_sigabrt_is_killed() {
    let dir = TempDir::new();
    let words = ["numb", "listen=127.0.0.1:0", "run=hold"];
    let (mut panzer, address, _) = start(&dir, &words, &["--hang-timeout=0.3"]);
    let (_held, hung) = Held::hold(address).expect("it serves");
    panzer.expect_line("(--hang-timeout), sent SIGABRT");
    let line =
        panzer.expect_line(&format!("(pid {}) of generation 1: killed by SIGKILL", hung.pid));
    assert!(line.contains("(hung)"), "{line}");
    panzer.stop();
}

/// rules: hang.timeout, control.status
#[test]
fn status_shows_that_a_worker_has_hung() {
    let dir = TempDir::new();
    let (mut panzer, address, _) = holding(&dir, &["--hang-timeout=0.3"]);
    let (mut held, hung) = Held::hold(address).expect("it serves");
    held.send("loop").expect("it reads");
    panzer.expect_event("a respawn", |event| event.name == "respawn" && event.slot == hung.slot);
    let tree = ctl(&pid_file(&dir), &["status"]).stdout;
    let lines: Vec<_> = tree.lines().filter(|line| line.contains("last exit: ")).collect();
    assert!(lines.len() == 1 && lines[0].ends_with("(hung)"), "{tree}");
    let json = ctl(&pid_file(&dir), &["status", "--json"]).stdout;
    assert_eq!(json.matches(r#""last_reason":"hung""#).count(), 1, "{json}");
    panzer.stop();
}

/// rule: hang.timeout
#[test]
fn draining_worker_is_not_killed_as_hanging() {
    let dir = TempDir::new();
    let (mut panzer, address, _) = holding(&dir, &["--hang-timeout=1", "--timeout=60"]);
    let both = [(); 2].map(|()| Held::hold(address).expect("it serves"));
    assert_eq!(ask_result(&pid_file(&dir), "scale 1"), "done 1 worker");
    // The worker that stays has been busy for no longer than the one that drains.
    panzer.expect_line("(--hang-timeout), sent SIGABRT");
    for (held, answer) in both {
        match answer.slot {
            1 => assert!(held.ends_without_reply()),
            _ => held.finish().expect("it is still alive"),
        }
    }
    panzer.expect_line("(hung)");
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("no progress for "), 1);
}

/// rule: hang.timeout
#[test]
fn monitor_does_not_wake_for_idle_workers() {
    let dir = TempDir::new();
    let (mut panzer, address, monitor) = holding(&dir, &["--hang-timeout=1"]);
    panzer.eventually("it waits without a timeout", || procfs::waits_for_ever(monitor));
    let poll = procfs::call(monitor).map(|(number, _)| number);
    let (held, _) = Held::hold(address).expect("it serves");
    // In the same call, but with a timeout.
    let is_watching = || {
        let call = procfs::call(monitor);
        call.is_some_and(|(number, timeout)| Some(number) == poll && !timeout.ends_with("ffffffff"))
    };
    panzer.eventually("the busy worker is watched", &is_watching);
    // Idle again, or hung and replaced if this client is slow.
    drop(held);
    panzer.eventually("it waits without a timeout", || procfs::waits_for_ever(monitor));
    // The next busy worker is watched as well.
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.eventually("the next busy worker is watched", &is_watching);
    drop(held);
    panzer.stop();
}
