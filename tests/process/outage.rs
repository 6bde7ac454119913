//! What `panzerctl status` shows in an outage, and of programs without the library.

use std::path::{Path, PathBuf};

use panzer::sys::Signal;

use crate::harness::ctl::ctl;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer};
use crate::harness::setup::Setup;

fn start(command: &[&str], options: &[&str]) -> (TempDir, PathBuf, Panzer) {
    let dir = TempDir::new();
    let pid_file = dir.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let setup = Setup::new(Path::new(command[0]), &command[1..]).options(&[&option]);
    let panzer = setup.options(options).start();
    (dir, pid_file, panzer)
}

/// The metric `panzer_serving`.
fn serving(pid_file: &Path) -> String {
    let metrics = ctl(pid_file, &["status", "--metrics"]).stdout;
    let line = metrics.lines().find(|line| line.starts_with("panzer_serving "));
    line.expect("it is a metric").to_string()
}

#[test]
fn first_line_of_status_in_an_outage_has_the_reason_and_the_next_start() {
    let options = ["-n1", "--ready=5", "--give-up=0", "--delay=60", "--max-delay=60"];
    let (_dir, pid_file, mut panzer) = start(&["sh", "-c", "exit 7"], &options);
    panzer.expect_line("restarting in");
    panzer.settle();
    let shown = ctl(&pid_file, &["status"]).stdout;
    let first = shown.lines().next().expect("there is one");
    assert!(first.starts_with("not serving; next start in "), "{shown}");
    assert!(shown.replace('\n', " ").contains("exited with status 7"), "{shown}");
    let json = ctl(&pid_file, &["status", "--json"]).stdout;
    assert!(json.contains(r#""outage":{"next_start_ms":"#), "{json}");
    assert_eq!(serving(&pid_file), "panzer_serving 0");
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
}

#[test]
fn status_without_outage_shows_the_memory_of_each_process() {
    let witness = example("witness").display().to_string();
    let command = [witness.as_str(), "listen=127.0.0.1:0", "run=idle"];
    let (_dir, pid_file, mut panzer) = start(&command, &["-n2"]);
    panzer.expect_current(1);
    let shown = ctl(&pid_file, &["status"]).stdout;
    assert!(shown.starts_with("panzer ") && !shown.contains("not serving"), "{shown}");
    assert_eq!(shown.matches(" KiB").count() + shown.matches(" MiB").count(), 4, "{shown}");
    let json = ctl(&pid_file, &["status", "--json"]).stdout;
    assert!(json.contains(r#""outage":null"#), "{json}");
    assert_eq!(json.matches(r#""pss_bytes":"#).count(), 4, "{json}");
    assert!(!json.contains(r#""pss_bytes":null"#), "{json}");
    assert_eq!(serving(&pid_file), "panzer_serving 1");
    let metrics = ctl(&pid_file, &["status", "--metrics"]).stdout;
    assert_eq!(metrics.matches("panzer_pss_bytes{").count(), 4, "{metrics}");
    panzer.stop();
}

#[test]
fn status_of_programs_has_no_activity_and_no_request_count() {
    let (_dir, pid_file, mut panzer) = start(&["sleep", "600"], &["-n2", "--exec", "--ready=0.1"]);
    panzer.expect_current(1);
    for form in [&["status"][..], &["status", "--json"], &["status", "--metrics"]] {
        let shown = ctl(&pid_file, form).stdout;
        for word in ["idle", "busy", " handled"] {
            assert!(!shown.contains(word), "{word}: {shown}");
        }
        assert!(shown.contains("ready"), "{shown}");
    }
    // Main and its pool, in the log.
    panzer.signal(Signal::Ttin);
    for line in [": ready, up ", "ready for "] {
        panzer.expect_line(line);
        panzer.expect_line(line);
    }
    assert_eq!(panzer.count_lines(" idle") + panzer.count_lines(" handled"), 0);
    panzer.stop();
}
