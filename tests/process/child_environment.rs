//! The descriptors, variables and signal state that a monitor and a worker's child get.

use std::path::Path;

use panzer::sys::Signal;

use crate::harness::files::{TempDir, example};
use crate::harness::panzer::Panzer;
use crate::harness::procfs;
use crate::harness::setup::Setup;

/// What the witness reports about itself under this name.
struct Report(Vec<String>);

impl Report {
    fn of(panzer: &mut Panzer, role: &str) -> Self {
        panzer.expect_line(&format!("{role} end"));
        let lines = panzer.lines();
        let own = lines.iter().filter_map(|line| line.strip_prefix(&format!("{role} ")));
        Self(own.map(str::to_string).collect())
    }

    /// The lines that begin with `start`, without it.
    fn all(&self, start: &str) -> Vec<&str> {
        self.0.iter().filter_map(|line| line.strip_prefix(start)).collect()
    }

    /// The value of a variable.
    fn variable(&self, name: &str) -> Option<&str> {
        self.all(&format!("env {name}=")).first().copied()
    }

    /// The kind of each descriptor, from 0 on; fails if there is a gap.
    fn descriptors(&self) -> Vec<&str> {
        let mut found: Vec<(usize, &str)> = self
            .all("fd ")
            .into_iter()
            .filter_map(|line| line.split_once(' '))
            .map(|(number, target)| (number.parse().expect("it is a number"), target))
            .collect();
        found.sort_unstable();
        let numbers: Vec<_> = found.iter().map(|(number, _)| *number).collect();
        let expected: Vec<_> = (0..numbers.len()).collect();
        assert_eq!(numbers, expected, "{found:?}");
        found.into_iter().map(|(_, target)| target.split(':').next().unwrap_or(target)).collect()
    }
}

/// rule: given.monitor
#[test]
fn monitor_has_stdio_listeners_scoreboard_and_lifeline() {
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let bind = ["--bind=127.0.0.1:0", "--bind=a b:c=127.0.0.1:0", "-n1"];
    let mut panzer = setup.options(&bind).start();
    let report = Report::of(&mut panzer, "monitor");
    let expected = ["/dev/null", "pipe", "pipe", "socket", "socket", "/memfd", "pipe"];
    assert_eq!(report.descriptors(), expected);
    assert_eq!(report.variable("LISTEN_FDS"), Some("2"));
    assert_eq!(report.variable("LISTEN_FDNAMES"), Some("127.0.0.1\\x3a0:a b\\x3ac"));
    assert_eq!(report.variable("PANZER_BOARD"), Some("5"));
    assert_eq!(report.variable("PANZER_LIFELINE"), Some("6"));
    assert_eq!(report.variable("PANZER_MAIN"), Some(&*panzer.pid().to_string()));
    assert_eq!(report.variable("PANZER_GENERATION"), Some("1"));
    assert_eq!(report.variable("PANZER_COUNT"), Some("1"));
    let monitor = panzer.expect_current(1).to_string();
    assert_eq!(report.variable("LISTEN_PID"), Some(&*monitor));
    assert!(report.variable("NOTIFY_SOCKET").is_some_and(|name| name.ends_with("/notify")));
    panzer.stop();
}

/// rule: given.monitor
#[test]
fn monitor_gets_no_descriptors_that_main_was_started_with() {
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let open = "5</dev/zero 6</dev/zero 7</dev/zero 8</dev/zero";
    let mut panzer = setup.options(&["-n1"]).redirect(open).start();
    let report = Report::of(&mut panzer, "monitor");
    assert_eq!(report.descriptors(), ["/dev/null", "pipe", "pipe", "/memfd", "pipe"]);
    panzer.stop();
}

/// rule: given.settings
#[test]
fn only_options_that_were_set_are_passed_to_monitor() {
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let mut panzer = setup.start();
    let report = Report::of(&mut panzer, "monitor");
    let mut names: Vec<_> =
        report.all("env PANZER_").iter().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    let bin = names.iter().position(|name| *name == "BIN");
    bin.map(|index| names.remove(index));
    assert_eq!(names, ["BOARD", "GENERATION", "LIFELINE", "MAIN"]);
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: store.kept
#[test]
fn later_generation_gets_stored_sockets() {
    let words = ["report=monitor", "listen=web=127.0.0.1:0", "run=idle"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    panzer.expect_current(1);
    panzer.reload(2);
    let mut panzer = panzer.stop();
    let counts: Vec<_> =
        panzer.lines().iter().filter(|line| line.contains("LISTEN_FDS=")).cloned().collect();
    assert_eq!(counts, ["monitor env LISTEN_FDS=1"]);
    assert_eq!(panzer.count_lines("LISTEN_FDNAMES=web"), 1);
}

/// In LISTEN_FDNAMES its name is escaped: `127.0.0.1\x3a0`.
#[test]
fn stored_event_shows_unescaped_socket_name() {
    let words = ["listen=127.0.0.1:0", "run=idle"];
    let setup = Setup::new(&example("witness"), &words).options(&["-n1", "-v"]);
    let mut panzer = setup.start();
    assert_eq!(panzer.expect("stored", 1).reason, "127.0.0.1:0");
    panzer.expect_line("generation 1: stored socket '127.0.0.1:0'");
    panzer.stop();
}

#[test]
fn no_listen_variables_without_sockets() {
    let words = ["report=monitor", "run=idle"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    panzer.expect_current(1);
    assert_eq!(panzer.stop().count_lines("env LISTEN_"), 0);
    let script = "env | grep LISTEN_ >&2; echo looked >&2; exec sleep 600";
    let words = ["-n1", "-x", "--ready=0"];
    let mut panzer = Setup::new(Path::new("sh"), &["-c", script]).options(&words).start();
    panzer.expect_line("looked");
    panzer.expect_current(1);
    assert_eq!(panzer.stop().count_lines("LISTEN_"), 0);
}

/// rules: listen.environment, listen.cloexec
#[test]
fn workers_child_has_no_panzer_descriptors_or_variables() {
    let words = ["listen=127.0.0.1:0", "run=child"];
    let setup = Setup::new(&example("witness"), &words);
    let options = ["-n1", "--timeout=5", "--delay=0.1", "--bind=other=127.0.0.1:0"];
    let mut panzer = setup.options(&options).start();
    let report = Report::of(&mut panzer, "child");
    assert_eq!(report.descriptors(), ["/dev/null", "pipe", "pipe"]);
    let ours = ["env PANZER_", "env LISTEN_", "env NOTIFY_SOCKET"];
    let mut found: Vec<_> = ours.iter().flat_map(|start| report.all(start)).collect();
    // PANZER_BIN is a variable of the tests.
    found.retain(|line| !line.starts_with("BIN="));
    assert_eq!(found, [""; 0]);
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: spawn.env-file
#[test]
fn env_file_is_read_at_every_start() {
    let dir = TempDir::new();
    let file = dir.write("env", "COLOUR=blue\nPANZER_MAIN=1\nPWD=/nowhere\n");
    let option = format!("--env-file={}", file.display());
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let setup = setup.variable("COLOUR", "grey").variable("SHAPE", "round");
    let mut panzer = setup.options(&["-n1", &option]).directory(dir.path()).start();
    let report = Report::of(&mut panzer, "monitor");
    assert_eq!(report.variable("COLOUR"), Some("blue"));
    assert_eq!(report.variable("SHAPE"), Some("round"));
    assert_eq!(report.variable("PANZER_MAIN"), Some(&*panzer.pid().to_string()));
    assert_eq!(report.variable("PWD"), dir.path().to_str());
    panzer.expect_current(1);
    dir.write("env", "COLOUR=red\n");
    panzer.reload(2);
    panzer.expect_line("monitor env COLOUR=red");
    panzer.stop();
}

/// rule: given.monitor
#[test]
fn monitor_has_empty_signal_mask_and_original_dispositions() {
    // A shell script, because a Rust program ignores SIGPIPE from its start; std
    // has reset SIGPIPE in what this test starts.
    let dir = TempDir::new();
    let show = "echo \"monitor $(grep SigBlk /proc/self/status)\"";
    let show = format!("{show}\n{}", show.replace("Blk", "Ign"));
    let script = dir
        .script("app", &format!("{show}\necho monitor end\nkill -s VTALRM $PPID\nexec sleep 1000"));
    let mut panzer = Setup::new(&script, &[]).start();
    let report = Report::of(&mut panzer, "monitor");
    // The signals from 32 on are the C library's own.
    let mask = |text: &str| u64::from_str_radix(text, 16).expect("it is a mask") & 0x7fff_ffff;
    let own = mask(&procfs::status(std::process::id(), "SigIgn"));
    let pipe = 1 << (Signal::Pipe.number() - 1);
    assert_eq!(mask(report.all("SigBlk:\t")[0]), 0);
    assert_eq!(mask(report.all("SigIgn:\t")[0]), own & !pipe);
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: worker.setup
#[test]
fn workers_child_has_empty_signal_mask_and_original_dispositions() {
    let words = ["report=monitor", "run=child"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    let monitor = Report::of(&mut panzer, "monitor");
    let child = Report::of(&mut panzer, "child");
    assert_eq!(child.all("SigBlk: "), ["0000000000000000"]);
    assert_eq!(child.all("SigIgn: "), monitor.all("SigIgn: "));
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: spawn.env-file
#[test]
fn env_file_that_is_a_pipe_fails_reload_without_blocking_main() {
    let dir = TempDir::new();
    let file = dir.write("env", "COLOUR=blue\n");
    let option = format!("--env-file={}", file.display());
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1", &option]);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    std::fs::remove_file(&file).expect("it is ours");
    dir.gate("env");
    panzer.signal(Signal::Usr1);
    panzer.expect("failed", 2);
    dir.program("env", b"COLOUR=green\n");
    panzer.reload(3);
    panzer.stop();
}
