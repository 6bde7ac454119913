//! The log and its levels, the status on SIGTTIN, events, the notify descriptor.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::ctl::ctl;
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::pipe::fill;
use crate::harness::procfs;
use crate::harness::setup::Setup;

/// The whole log of a start, a reload, a death and a stop.
fn life(options: &[&str]) -> Vec<String> {
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]);
    let mut panzer = setup.options(&["-n2"]).options(options).start();
    panzer.expect_current(1);
    panzer.reload(2);
    panzer.signal(Signal::Ttin);
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    panzer.stop().lines()
}

/// rule: log.level
#[test]
fn quiet_logs_nothing_and_verbose_logs_more() {
    let quiet = life(&["--quiet"]);
    assert_eq!(quiet, [""; 0]);
    let (usual, verbose) = (life(&[]), life(&["--verbose"]));
    assert!(usual.len() > 5, "{usual:#?}");
    assert!(verbose.len() > usual.len(), "{} and {}", usual.len(), verbose.len());
}

/// rule: log.line
#[test]
fn every_line_has_its_time_level_role_and_pid() {
    let levels = ["ERROR", "WARN", "INFO", "DEBUG"];
    let lines = life(&["-v"]);
    assert!(lines.len() > 5, "{lines:#?}");
    for line in lines {
        let mut words = line.split(' ');
        let time = words.next().unwrap_or_default();
        assert!(time.len() == 24 && time.ends_with('Z') && time.contains('T'), "{line}");
        assert!(words.next().is_some_and(|level| levels.contains(&level)), "{line}");
        let sender = words.next().unwrap_or_default();
        let (role, rest) = sender.split_once('[').unwrap_or_default();
        assert!(["panzer:main", "panzer:monitor", "panzer:worker"].contains(&role), "{line}");
        let pid = rest.strip_suffix("]:").unwrap_or_default();
        assert!(pid.parse::<u32>().is_ok_and(|pid| pid > 0), "{line}");
    }
}

/// rule: log.journal
#[test]
fn journal_gets_priorities_and_no_time() {
    // The journal would have set JOURNAL_STREAM to the pipe's device and inode.
    let script = r#"JOURNAL_STREAM="$(stat -L -c %d:%i /dev/fd/2)" exec "$0" "$@""#;
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]);
    let mut panzer = setup.through("sh".as_ref(), &["-c", script]).start();
    panzer.expect_current(1);
    let lines = panzer.stop().lines();
    assert!(lines.len() > 2, "{lines:#?}");
    for line in lines {
        let (priority, rest) = line.split_at(3);
        assert!(["<3>", "<4>", "<6>", "<7>"].contains(&priority), "{line}");
        assert!(rest.starts_with("panzer:"), "{line}");
    }
}

/// The pids of the workers that are logged as idle, in the order of their slots.
fn idle_workers(panzer: &mut Panzer, slots: u32, before: &str, idle: &str) -> Vec<u32> {
    let mut pids: Vec<u32> = (1..=slots)
        .map(|slot| {
            let line = panzer.expect_line(&format!("{before}{slot} ("));
            assert!(line.contains(&format!("){idle}")), "{line}");
            let (_, rest) = line.rsplit_once('(').expect("it was found");
            let pid = rest.trim_start_matches("pid ").split(')').next();
            pid.and_then(|pid| pid.parse().ok()).expect("the line has a pid")
        })
        .collect();
    pids.sort_unstable();
    pids
}

/// rule: signal.sigttin
#[test]
fn sigttin_logs_main_and_each_generation_and_worker() {
    let mut panzer = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n3"]).start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    panzer.signal(Signal::Ttin);
    let main = panzer.expect_line(": status: panzer ");
    assert!(main.contains(&format!("pid {}, up ", panzer.pid())), "{main}");
    let line = panzer.expect_line(": status: generation 1: ");
    assert!(line.contains(&format!("current, monitor pid {monitor}, up ")), "{line}");
    assert_eq!(
        idle_workers(&mut panzer, 3, ": status: generation 1: worker ", ": idle, up "),
        workers
    );
    panzer.stop();
}

/// Main sends it if it has read the scoreboard a moment before.
///
/// rule: monitor.handlers
#[test]
fn monitor_under_main_ignores_sigttin_after_the_end_of_its_workers() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    let words = ["count=1", "run=idle", "say=it is over", &wait];
    let mut panzer = Setup::new(&example("witness"), &words).start();
    let monitor = panzer.expect_current(1);
    panzer.signal(Signal::Term);
    panzer.expect_line("it is over");
    let ignored = procfs::status(monitor, "SigIgn");
    let ignored = u64::from_str_radix(&ignored, 16).expect("it is a mask");
    assert_ne!(ignored & 1 << (Signal::Ttin.number() - 1), 0, "{ignored:x}");
    open_gate(&gate);
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: events.lines
#[test]
fn every_event_is_one_json_object_with_a_monotonic_time() {
    let mut panzer = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]).start();
    panzer.expect_current(1);
    panzer.reload(2);
    let mut panzer = panzer.stop();
    let events = panzer.events();
    assert!(events.is_sorted_by_key(|event| event.at));
    for event in &events {
        assert!(event.line.starts_with("{\"t\":") && event.line.ends_with('}'), "{event:?}");
        assert_eq!(event.line.matches('\n').count(), 0);
    }
    let names: Vec<_> = events.iter().map(|event| &*event.name).collect();
    assert_eq!(names.first(), Some(&"started"));
    assert_eq!(names.last(), Some(&"stopped"));
}

/// rule: notify.refused
#[test]
fn flood_of_refused_messages_is_few_lines() {
    let large = format!("notify={}", "x".repeat(5_000));
    let words: Vec<_> = (0..60).map(|_| &*large).chain(["run=idle"]).collect();
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    panzer.expect_current(1);
    let mut panzer = panzer.stop();
    let lines = panzer.count_lines("NOTIFY_SOCKET: too large");
    assert!((1..30).contains(&lines), "{lines} lines");
}

/// rule: pool.sigttin
#[test]
fn sigttin_of_a_monitor_logs_its_workers() {
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n2"]).start();
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    send(monitor, Signal::Ttin);
    let before = format!("[{monitor}]: status: worker ");
    assert_eq!(idle_workers(&mut panzer, 2, &before, ": idle for "), workers);
    panzer.stop();
}

/// rule: worker.state
#[test]
fn status_shows_the_state_and_request_count_of_a_worker() {
    let dir = TempDir::new();
    let (gate, pid_file) = (dir.gate("gate"), dir.join("panzer.pid"));
    let (wait, pid) = (format!("gate={}", gate.display()), format!("--pid={}", pid_file.display()));
    let words = ["listen=127.0.0.1:0", &wait, "run=hold"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1", &pid]).start();
    let address = panzer.expect_address();
    panzer.expect_line("run in worker 1");
    let row = |state: &str, handled: u32| {
        let shown = ctl(&pid_file, &["status", "--json"]).stdout;
        let has = |key: &str, value: &str| shown.contains(&format!("\"{key}\":{value}"));
        has("state", &format!("\"{state}\"")) && has("handled", &handled.to_string())
    };
    panzer.eventually("it is starting", || row("starting", 0));
    open_gate(&gate);
    panzer.expect_current(1);
    panzer.eventually("it is idle", || row("idle", 0));
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.eventually("it is busy", || row("busy", 0));
    held.finish().expect("it is served");
    panzer.eventually("it is idle again", || row("idle", 1));
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Term);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    held.finish().expect("it is served");
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: events.descriptor
#[test]
fn events_dropped_by_a_full_pipe_are_counted() {
    let dir = TempDir::new();
    let path = dir.gate("events");
    // With both ends in one descriptor, open(2) does not block.
    let mut pipe = File::options().read(true).write(true).open(&path).expect("it was made");
    fill(&mut pipe);
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1", "-v"]);
    let mut panzer = setup.redirect(&format!("3<>'{}'", path.display())).start();
    panzer.expect_line("generation 1: current");
    panzer.signal(Signal::Usr1);
    panzer.expect_line("generation 2: current");
    panzer.expect_line("generation 1: all processes exited");
    panzer.settle();
    let mut filling = vec![0; 1 << 20];
    let read = pipe.read(&mut filling).expect("it is full");
    assert!(filling[..read].iter().all(|byte| *byte == b'.'));
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
    let read = pipe.read(&mut filling).expect("there are lines in it");
    let lines = String::from_utf8_lossy(&filling[..read]).into_owned();
    let mut lines = lines.lines();
    let dropped = lines.next().expect("there is one");
    // Started, ready and current, twice, and draining and died of generation 1.
    assert!(dropped.ends_with(r#","event":"dropped","count":8}"#), "{dropped}");
    for name in ["stopping", "draining", "died", "stopped"] {
        let line = lines.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(line.contains(&format!(r#""event":"{name}""#)), "{line}");
    }
    assert_eq!(lines.next(), None);
}

/// rule: events.descriptor
#[test]
fn notify_descriptor_gets_one_newline_at_the_first_current_generation() {
    let (mut reader, writer) = std::io::pipe().expect("there are descriptors");
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    let setup = Setup::new(&example("witness"), &[&wait, "run=idle"]).options(&["--notify-fd=4"]);
    let setup = setup.stdin(OwnedFd::from(writer).into()).redirect("4<&0 0</dev/null");
    let mut panzer = setup.start();
    panzer.expect("started", 1);
    // A restart keeps the descriptor, and does not write to it.
    panzer.signal(Signal::Usr2);
    panzer.expect_event("the restart", |event| event.name == "restarted");
    open_gate(&gate);
    panzer.expect_current(1);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("it is open");
    assert_eq!(bytes, b"\n");
    panzer.stop();
}
