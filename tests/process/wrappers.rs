//! Programs of `--exec` that start other processes end together with them.

use std::path::Path;
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::ctl::ctl;
use crate::harness::files::TempDir;
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::setup::Setup;
use crate::harness::{assert_elapsed_at_least, procfs};

/// One copy of a shell that runs this, counted as ready at once.
fn wrapper(shell: &str, body: &str, options: &[&str]) -> Panzer {
    let all = ["--exec", "-n1", "--ready=0", "--delay=0"];
    let all: Vec<_> = all.iter().chain(options).copied().collect();
    let mut panzer = Setup::new(Path::new(shell), &["-c", body]).options(&all).start();
    panzer.expect_current(1);
    panzer
}

/// The pid of the next process that a wrapper reports as started.
fn started(panzer: &mut Panzer) -> u32 {
    let line = panzer.expect_line("begun ");
    let pid = line.rsplit(' ').next().and_then(|word| word.parse().ok());
    pid.expect("it is a number")
}

fn leader(panzer: &Panzer) -> u32 {
    let monitor = procfs::children(panzer.pid())[0];
    // A child that closes descriptors for the monitor leads a group too.
    let below =
        procfs::children(monitor).into_iter().filter(|pid| procfs::name(*pid) != "panzer:closer");
    let mut leaders = below.filter(|pid| procfs::row(*pid).is_some_and(|row| row.group == *pid));
    leaders.next().expect("there is one")
}

const WRAPPER: &str = "sleep 1000 & echo begun $! >&2; wait";
const DEAF: &str = "(trap '' TERM INT; exec sh -c 'echo begun $$ >&2; exec sleep 1000') & wait";

/// rule: exec.group
#[test]
fn children_of_a_wrapper_get_its_signals() {
    let dir = TempDir::new();
    let file = dir.join("pid");
    let option = format!("--pid={}", file.display());
    // A child, a member of a pipeline, and an orphan.
    let bodies = [
        ("sh", WRAPPER),
        ("bash", "sleep 1000 | (echo begun $BASHPID >&2; exec sleep 1000); true"),
        ("sh", "(sleep 1000 & echo begun $! >&2); exec sleep 1000"),
    ];
    for (shell, body) in bodies {
        let mut panzer = wrapper(shell, body, &["-n2", &option]);
        let both = [started(&mut panzer), started(&mut panzer)];
        assert_eq!(ctl(&file, &["scale", "1"]).status, 0);
        let alive = || both.iter().filter(|pid| procfs::is_alive(**pid)).count();
        panzer.eventually("one is left", || alive() < 2);
        assert_eq!(alive(), 1);
        panzer.reload(2);
        panzer.eventually("none is left", || alive() == 0);
        panzer.stop();
    }
}

/// rule: exec.group
#[test]
fn children_of_a_killed_wrapper_get_the_stop_signal_at_once() {
    let mut panzer = wrapper("sh", WRAPPER, &[]);
    for _ in 0..3 {
        let child = started(&mut panzer);
        send(leader(&panzer), Signal::Kill);
        panzer.eventually("it is gone", || !procfs::is_alive(child));
    }
    panzer.stop();
}

/// rule: exec.group
#[test]
fn children_of_a_killed_wrapper_are_killed_after_the_timeout_beside_its_replacement() {
    let mut panzer = wrapper("sh", DEAF, &["--timeout=0.3"]);
    let child = started(&mut panzer);
    let begun = Instant::now();
    send(leader(&panzer), Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn");
    assert!(procfs::is_alive(child), "the replacement waited for it");
    panzer.eventually("it is gone", || !procfs::is_alive(child));
    assert_elapsed_at_least(begun, Duration::from_millis(2_300));
    let other = started(&mut panzer);
    assert!(procfs::is_alive(other));
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// rule: exec.group
#[test]
fn wrapper_that_ignores_the_stop_signal_is_killed_with_its_children() {
    let body = format!("trap '' TERM INT; {DEAF}; wait; wait");
    let mut panzer = wrapper("sh", &body, &["--timeout=0.1"]);
    let child = started(&mut panzer);
    panzer.signal(Signal::Term);
    assert!(matches!(panzer.end(), End::Status(1 | 4)));
    assert!(!procfs::is_alive(child));
}

/// rule: exec.group
#[test]
fn process_that_left_its_group_ends_with_the_generation() {
    let mut panzer =
        wrapper("bash", "set -m; sleep 1000 & echo begun $! >&2; wait", &["--timeout=0.3"]);
    let child = started(&mut panzer);
    assert_eq!(procfs::row(child).map(|row| row.group), Some(child));
    send(leader(&panzer), Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn");
    assert!(procfs::is_alive(child));
    // Panzer ends when the last process is gone, which had no signal from the kernel.
    panzer.signal(Signal::Term);
    panzer.end();
}

/// rule: exec.group
#[test]
fn orphans_of_programs_are_reaped() {
    let body = "(setsid true &); (true &); echo begun $$ >&2; exec sleep 1000";
    let mut panzer = wrapper("sh", body, &[]);
    let worker = started(&mut panzer);
    let monitor = procfs::children(panzer.pid())[0];
    panzer.eventually("none is a zombie", || procfs::children(monitor) == [worker]);
    panzer.stop();
}

/// rule: exec.group
#[test]
fn kill_0_in_a_program_reaches_only_its_group() {
    let body = "echo begun $$ >&2; trap 'trap - TERM; kill 0' TERM; sleep 1000 & wait";
    let mut panzer = wrapper("sh", body, &["-n2", "--timeout=0.3"]);
    let [one, other] = [started(&mut panzer), started(&mut panzer)];
    let monitor = procfs::children(panzer.pid())[0];
    send(one, Signal::Term);
    panzer.expect_event("another", |event| event.name == "respawn");
    assert!(procfs::is_alive(monitor) && procfs::is_alive(other));
    // A shell that has just forked may lose a signal meant for its child.
    panzer.signal(Signal::Term);
    panzer.end();
}

/// rule: exec.ready
#[test]
fn notify_socket_of_a_program_is_private_and_removed_with_it() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    let dir = TempDir::new();
    let option = format!("--pid={}", dir.join("it.pid").display());
    let body = "echo socket $NOTIFY_SOCKET >&2; echo begun $$ >&2; exec sleep 1000";
    let mut panzer = wrapper("sh", body, &[&option]);
    let line = panzer.expect_line("socket ");
    let path = line.rsplit(' ').next().expect("it has words").to_string();
    let home = dir.join(&format!("it.{}.1", panzer.pid()));
    assert_eq!(Path::new(&path).parent(), Some(&*home));
    let metadata = std::fs::symlink_metadata(&path).expect("it is there");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let worker = started(&mut panzer);
    send(worker, Signal::Kill);
    panzer.expect_line("socket ");
    assert!(!Path::new(&path).exists());
    panzer.stop();
    assert!(!home.exists());
}
