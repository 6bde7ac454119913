//! What a monitor, and what a worker's child, finds.

use panzer::sys::Signal;

use crate::harness::look;
use crate::harness::panzer::Panzer;
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

/// What the witness reports of itself under this name.
struct Report(Vec<String>);

impl Report {
    fn of(panzer: &mut Panzer, who: &str) -> Self {
        panzer.expect_line(&format!("{who} end"));
        let lines = panzer.lines();
        let own = lines.iter().filter_map(|line| line.strip_prefix(&format!("{who} ")));
        Self(own.map(str::to_string).collect())
    }

    /// The lines that begin like this, without that.
    fn all(&self, start: &str) -> Vec<&str> {
        self.0.iter().filter_map(|line| line.strip_prefix(start)).collect()
    }

    /// The value of a variable.
    fn variable(&self, name: &str) -> Option<&str> {
        self.all(&format!("env {name}=")).first().copied()
    }

    /// What each descriptor is, in the order of their numbers, from 0 on.
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

/// RATIONALE 6.1
#[test]
fn a_monitor_has_its_standard_descriptors_the_sockets_the_board_and_the_lifeline() {
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
    assert!(report.variable("NOTIFY_SOCKET").is_some_and(|name| name.starts_with('@')));
    panzer.stop();
}

/// RATIONALE 6.1
#[test]
fn a_monitor_has_nothing_of_what_was_open_when_main_was_started() {
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let open = "5</dev/zero 6</dev/zero 7</dev/zero 8</dev/zero";
    let mut panzer = setup.options(&["-n1"]).redirect(open).start();
    let report = Report::of(&mut panzer, "monitor");
    assert_eq!(report.descriptors(), ["/dev/null", "pipe", "pipe", "/memfd", "pipe"]);
    panzer.stop();
}

/// RATIONALE 6.2
#[test]
fn only_what_the_operator_has_set_is_handed_down() {
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let mut panzer = setup.start();
    let report = Report::of(&mut panzer, "monitor");
    let mut names: Vec<_> =
        report.all("env PANZER_").iter().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    let bin = names.iter().position(|name| *name == "BIN");
    bin.map(|place| names.remove(place));
    assert_eq!(names, ["BOARD", "GENERATION", "LIFELINE", "MAIN"]);
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 1.40
#[test]
fn a_later_generation_is_given_the_sockets_that_the_first_has_stored() {
    let words = ["report=monitor", "listen=web=127.0.0.1:0", "run=idle"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    panzer.expect_current(1);
    panzer.reload(2);
    let mut panzer = panzer.stop();
    let counts: Vec<_> =
        panzer.lines().iter().filter(|line| line.contains("LISTEN_FDS=")).cloned().collect();
    assert_eq!(counts, ["monitor env LISTEN_FDS=0", "monitor env LISTEN_FDS=1"]);
    assert_eq!(panzer.count_lines("LISTEN_FDNAMES=web"), 1);
}

/// RATIONALE 4.5, 4.7
#[test]
fn a_workers_child_has_nothing_of_ours() {
    let words = ["listen=127.0.0.1:0", "run=child"];
    let setup = Setup::new(&example("witness"), &words);
    let options = ["-n1", "--timeout=5", "--delay=0.1", "--bind=other=127.0.0.1:0"];
    let mut panzer = setup.options(&options).start();
    let report = Report::of(&mut panzer, "child");
    assert_eq!(report.descriptors(), ["/dev/null", "pipe", "pipe"]);
    let ours = ["env PANZER_", "env LISTEN_", "env NOTIFY_SOCKET"];
    let mut found: Vec<_> = ours.iter().flat_map(|start| report.all(start)).collect();
    // Where the tests find the program is for the tests.
    found.retain(|line| !line.starts_with("BIN="));
    assert_eq!(found, [""; 0]);
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 1.11
#[test]
fn the_environment_file_is_read_anew_at_every_start() {
    let place = Place::new();
    let file = place.write("env", "COLOUR=blue\nPANZER_MAIN=1\nPWD=/nowhere\n");
    let option = format!("--env-file={}", file.display());
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let setup = setup.variable("COLOUR", "grey").variable("SHAPE", "round");
    let mut panzer = setup.options(&["-n1", &option]).directory(place.path()).start();
    let report = Report::of(&mut panzer, "monitor");
    assert_eq!(report.variable("COLOUR"), Some("blue"));
    assert_eq!(report.variable("SHAPE"), Some("round"));
    assert_eq!(report.variable("PANZER_MAIN"), Some(&*panzer.pid().to_string()));
    assert_eq!(report.variable("PWD"), place.path().to_str());
    panzer.expect_current(1);
    place.write("env", "COLOUR=red\n");
    panzer.reload(2);
    panzer.expect_line("monitor env COLOUR=red");
    panzer.stop();
}

/// RATIONALE 6.1
#[test]
fn an_application_finds_an_empty_mask_and_the_dispositions_main_was_started_with() {
    // A script, because a Rust program ignores SIGPIPE from its start on, and a
    // shell, because std has reset it in what we start.
    let place = Place::new();
    let show = "echo \"monitor $(grep SigBlk /proc/self/status)\"";
    let show = format!("{show}\n{}", show.replace("Blk", "Ign"));
    let script = place
        .script("app", &format!("{show}\necho monitor end\nkill -s VTALRM $PPID\nexec sleep 1000"));
    let mut panzer = Setup::new(&script, &[]).start();
    let report = Report::of(&mut panzer, "monitor");
    // The signals from 32 on are the C library's own.
    let mask = |text: &str| u64::from_str_radix(text, 16).expect("it is a mask") & 0x7fff_ffff;
    let own = mask(&look::status(std::process::id(), "SigIgn"));
    let pipe = 1 << (Signal::Pipe.number() - 1);
    assert_eq!(mask(report.all("SigBlk:\t")[0]), 0);
    assert_eq!(mask(report.all("SigIgn:\t")[0]), own & !pipe);
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 3.1
#[test]
fn a_workers_child_finds_an_empty_mask_and_the_same_dispositions() {
    let words = ["report=monitor", "run=child"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    let monitor = Report::of(&mut panzer, "monitor");
    let child = Report::of(&mut panzer, "child");
    assert_eq!(child.all("SigBlk: "), ["0000000000000000"]);
    assert_eq!(child.all("SigIgn: "), monitor.all("SigIgn: "));
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 1.11
#[test]
fn an_environment_file_that_is_a_pipe_fails_the_reload_and_never_holds_main_up() {
    let place = Place::new();
    let file = place.write("env", "COLOUR=blue\n");
    let option = format!("--env-file={}", file.display());
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1", &option]);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    std::fs::remove_file(&file).expect("it is ours");
    place.gate("env");
    panzer.signal(Signal::Usr1);
    panzer.expect("failed", 2);
    place.program("env", b"COLOUR=green\n");
    panzer.reload(3);
    panzer.stop();
}
