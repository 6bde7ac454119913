//! The configuration file, at the start and at every reload.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use panzer::sys::Signal;

use crate::harness::client::ask_unix;
use crate::harness::files::{self, TempDir, example};
use crate::harness::panzer::{End, Panzer, continue_process, stop_process};
use crate::harness::setup::Setup;
use crate::harness::spawn_lock;

/// A panzer that idles with the options of this file in `dir`.
fn start(dir: &TempDir, file: &str) -> Panzer {
    dir.write("panzer.yml", file);
    Setup::new(&example("witness"), &["run=idle"])
        .options(&["-v", "--config=panzer.yml"])
        .directory(dir.path())
        .start()
}

/// Sends main this signal and waits until only `generation` is left.
fn replace(panzer: &mut Panzer, signal: Signal, generation: u32) -> u32 {
    panzer.signal(signal);
    let monitor = panzer.expect_current(generation);
    panzer.expect_line(&format!("generation {}: all processes exited", generation - 1));
    panzer.settle();
    monitor
}

/// The output of `panzer` with these options, and its status.
fn ask(directory: &Path, options: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(files::panzer());
    command.args(options).current_dir(directory);
    let output = {
        let _lock = spawn_lock();
        command.output().expect("it runs")
    };
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("it is text"))
}

/// rule: config.precedence
#[test]
fn command_line_overrides_file() {
    let dir = TempDir::new();
    dir.write("panzer.yml", "count: 3\nquiet: true\ncommand:\n- ./nothing\n");
    let setup = Setup::new(&example("witness"), &["run=idle"]).directory(dir.path());
    let mut panzer = setup.options(&["--config", "panzer.yml"]).start();
    let monitor = panzer.expect_current(1);
    assert_eq!(panzer.workers(monitor).len(), 3);
    let mut panzer = panzer.stop();
    assert!(panzer.lines().is_empty(), "{:?}", panzer.lines());
    let setup = Setup::new(&example("witness"), &["run=idle"]).directory(dir.path());
    let mut panzer = setup.options(&["-cpanzer.yml", "--count=1"]).start();
    let monitor = panzer.expect_current(1);
    assert_eq!(panzer.workers(monitor).len(), 1);
    panzer.stop();
}

/// rule: config.reload
#[test]
fn reload_reads_file_again() {
    let dir = TempDir::new();
    let mut panzer = start(&dir, "count: 1\n");
    panzer.expect_current(1);
    dir.write("panzer.yml", "count: 2\n");
    let monitor = replace(&mut panzer, Signal::Usr1, 2);
    assert_eq!(panzer.workers(monitor).len(), 2);
    dir.write("panzer.yml", "count: 3\n");
    let monitor = replace(&mut panzer, Signal::Hup, 3);
    assert_eq!(panzer.workers(monitor).len(), 3);
    panzer.stop();
}

/// rule: config.reload
#[test]
fn reload_opens_added_binds_and_closes_removed_ones() {
    let dir = TempDir::new();
    let (one, two) = (dir.join("one"), dir.join("two"));
    let bind = |name: &str| format!("bind: unix:{name}\n");
    dir.write("panzer.yml", &bind("one"));
    let setup = Setup::new(&example("http"), &["unix:one"]).directory(dir.path());
    let mut panzer = setup.options(&["-vn1", "--config=panzer.yml"]).start();
    panzer.expect_current(1);
    assert_eq!(ask_unix(&one).expect("it serves").generation, 1);
    dir.write("panzer.yml", "bind:\n- unix:one\n- unix:two\n");
    replace(&mut panzer, Signal::Usr1, 2);
    assert!(one.exists() && two.exists());
    assert_eq!(ask_unix(&one).expect("it serves").generation, 2);
    dir.write("panzer.yml", &bind("one"));
    replace(&mut panzer, Signal::Usr1, 3);
    assert!(one.exists() && !two.exists());
    assert_eq!(ask_unix(&one).expect("it serves").generation, 3);
    panzer.stop();
    assert!(!one.exists());
}

/// rule: config.reload
#[test]
fn bad_file_fails_reload_and_changes_nothing() {
    let dir = TempDir::new();
    let mut panzer = start(&dir, "count: 1\n");
    let monitor = panzer.expect_current(1);
    let workers = panzer.workers(monitor);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = format!("bind:\n- unix:new\n- {}\n", taken.local_addr().expect("it is bound"));
    for (file, reason) in [
        ("count: 2\n\tquiet: true", "panzer.yml:2:1: tab or other"),
        ("count: 2\nbind: 80", "panzer.yml:2:7: bind: '80': an address is HOST:PORT"),
        (&taken, "EADDRINUSE"),
        ("bind:\n- one=unix:new\n- two=unix:new\n", "/new twice"),
        (
            "bind:\n- 0.0.0.0:1\n- 127.0.0.1:1\n",
            "127.0.0.1:1 and 0.0.0.0:1: one includes the other",
        ),
    ] {
        dir.write("panzer.yml", file);
        panzer.signal(Signal::Usr1);
        let line = panzer.expect_line("reload failed");
        assert!(line.contains(reason), "{line}");
    }
    panzer.settle();
    assert_eq!(panzer.workers(monitor), workers);
    assert_eq!((panzer.count("started"), panzer.count("failed")), (1, 5));
    assert!(!dir.join("new").exists());
    dir.write("panzer.yml", "count: 2\n");
    let monitor = replace(&mut panzer, Signal::Usr1, 2);
    assert_eq!(panzer.workers(monitor).len(), 2);
    panzer.stop();
}

/// rules: config.precedence, config.yaml
#[test]
fn bad_or_missing_file_exits_with_status_2_at_start() {
    let dir = TempDir::new();
    dir.write("panzer.yml", "count: yes\n");
    for (config, reason) in [
        ("panzer.yml", "panzer.yml:1:8: YAML may read this value as something other"),
        ("nothing.yml", "cannot read 'nothing.yml': no such file or directory (ENOENT)"),
    ] {
        let setup = Setup::new(&example("witness"), &["run=idle"]).directory(dir.path());
        let mut panzer = setup.options(&["-c", config]).start();
        assert_eq!((panzer.end(), panzer.count("started")), (End::Status(2), 0));
        assert_eq!(panzer.count_lines(reason), 1, "{:?}", panzer.lines());
        assert_eq!(panzer.lines().len(), 1);
    }
}

/// rule: config.check
#[test]
fn check_prints_effective_config_and_starts_nothing() {
    let dir = TempDir::new();
    std::fs::create_dir(dir.join("config")).expect("it is ours");
    dir.script("app", "exit 1");
    let file = "bind:\n- :80\ntimeout: 5\ncommand:\n- ./app\n";
    dir.write("config/panzer.yml", file);
    let (status, shown) = ask(dir.path(), &["--check", "-b", "web=:58081", "-t", "1.5"]);
    assert_eq!(status, Some(0), "{shown}");
    for line in ["  - \"web=0.0.0.0:58081\"", "timeout: 1.5", "# delay: 0.1", "  - \"./app\""] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
    }
    assert!(!shown.contains(":80\""), "{shown}");
    // The output is a file with the same meaning.
    dir.write("config/panzer.yml", &shown);
    assert_eq!(ask(dir.path(), &["--check"]), (Some(0), shown));
    dir.write("config/panzer.yml", "command: ./app\n");
    let (status, output) = ask(dir.path(), &["--check"]);
    let reason = "panzer: config/panzer.yml:1:10: command: must be a list";
    assert!(status == Some(2) && output.starts_with(reason), "{output}");
    assert_eq!(output.lines().count(), 1);
}

/// Each reason is one line, and the values are printed too.
#[test]
fn check_reports_what_would_prevent_start() {
    let dir = TempDir::new();
    dir.write("plain", "no program");
    dir.write("env", "A=b # c\n");
    dir.script("app", "exit 1");
    std::fs::create_dir(dir.join("directory")).expect("it is ours");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let bind = format!("--bind={}", taken.local_addr().expect("it is bound"));
    let unix = format!("--bind=unix:{}/nothing/socket", dir.path().display());
    let file = format!("--bind=unix:{}/plain", dir.path().display());
    for (words, reason) in [
        (&["./nothing"][..], "cannot execute './nothing': no such file or directory (ENOENT)"),
        (&["no-such-program"], "cannot execute 'no-such-program': no such file"),
        (&["./plain"], "cannot execute './plain': permission denied (EACCES)"),
        (&["./directory"], "cannot execute './directory': permission denied (EACCES)"),
        (&["-C", "nowhere", "./app"], "nowhere': no such file or directory (ENOENT)"),
        (&["-e", "env", "./app"], "line 1: ' #' in a value is ambiguous"),
        (&[&bind, "./app"], "address already in use (EADDRINUSE)"),
        (&[&unix, "./app"], "no such file or directory (ENOENT)"),
        (&[&file, "./app"], "address already in use (EADDRINUSE)"),
        (&["-b", "unix:one", "-b", "two=unix:one", "./app"], "/one twice"),
        (&["-b", "192.0.2.1:1", "./app"], "cannot listen on 192.0.2.1:1: "),
        (&["-b", "[fe80::1%none]:1", "./app"], "cannot listen on [fe80::1%none]:1: no such device"),
    ] {
        let (status, output) = ask(dir.path(), &[&["--check"], words].concat());
        assert!(status == Some(2) && output.contains(reason), "{words:?}: {output}");
        assert!(output.contains("\n  - \""), "the values are shown too: {output}");
        assert_eq!(output.matches("panzer: ").count(), 1, "{output}");
    }
    let before = std::fs::read_dir(dir.path()).expect("it is there").count();
    let unix = format!("--bind=unix:{}/socket", dir.path().display());
    assert_eq!(ask(dir.path(), &["--check", &unix, "./app"]).0, Some(0));
    assert_eq!(std::fs::read_dir(dir.path()).expect("it is there").count(), before);
}

/// A deployment runs the check while the old main is running.
#[test]
fn check_accepts_addresses_held_by_running_main_of_same_pid_file() {
    let dir = TempDir::new();
    let pid = format!("--pid={}", dir.join("panzer.pid").display());
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let bind = format!("--bind={}", free.local_addr().expect("it is bound"));
    drop(free);
    let unix = format!("--bind=unix:{}/socket", dir.path().display());
    let options = [pid.as_str(), &bind, &unix];
    let mut panzer = Setup::new(&example("witness"), &["run=idle"]).options(&options).start();
    panzer.expect_current(1);
    let words = ["--check", &pid, &bind, &unix, "true"];
    let (status, output) = ask(dir.path(), &words);
    assert_eq!(status, Some(0), "{output}");
    let other = format!("--pid={}", dir.join("other.pid").display());
    let (status, output) = ask(dir.path(), &["--check", &other, &bind, &unix, "true"]);
    assert_eq!(
        (status, output.matches("panzer: cannot listen on").count()),
        (Some(2), 2),
        "{output}"
    );
    panzer.stop();
}

/// rule: config.reload
#[test]
fn reload_fails_if_config_file_was_removed() {
    let dir = TempDir::new();
    std::fs::create_dir(dir.join("config")).expect("it is ours");
    let file = dir.write("config/panzer.yml", "count: 2\nbind: unix:socket\n");
    let setup = Setup::new(&example("witness"), &["run=idle"]).directory(dir.path());
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    std::fs::remove_file(&file).expect("it is ours");
    panzer.signal(Signal::Usr1);
    panzer.expect_line("reload failed: cannot read 'config/panzer.yml': no such file");
    assert_eq!(panzer.workers(monitor).len(), 2);
    dir.write("config/panzer.yml", "count: 1\n");
    let monitor = panzer.reload(2);
    panzer.expect_line("unix:");
    assert_eq!(panzer.count_lines("removed; closed when older generations have exited"), 1);
    assert_eq!(panzer.workers(monitor).len(), 1);
    panzer.stop();
}

/// rule: config.precedence
#[test]
fn config_file_is_found_through_symlinked_start_directory() {
    let dir = TempDir::new();
    for (release, count) in [("1", "1"), ("2", "3")] {
        std::fs::create_dir(dir.join(release)).expect("it is ours");
        dir.write(&format!("{release}/panzer.yml"), &format!("count: {count}\n"));
    }
    let current = dir.join("current");
    std::os::unix::fs::symlink("1", &current).expect("it is ours");
    let setup = Setup::new(&example("witness"), &["run=idle"]).directory(&current);
    let mut panzer = setup.options(&["--config=panzer.yml"]).start();
    let monitor = panzer.expect_current(1);
    assert_eq!(panzer.workers(monitor).len(), 1);
    std::fs::remove_file(&current).expect("it is ours");
    std::os::unix::fs::symlink("2", &current).expect("it is ours");
    let monitor = panzer.reload(2);
    assert_eq!(panzer.workers(monitor).len(), 3);
    panzer.stop();
}

/// rule: config.reload
#[test]
fn current_generation_keeps_its_timeout_after_failed_reload() {
    let dir = TempDir::new();
    let mut panzer = start(&dir, "timeout: 60\n");
    let monitor = panzer.expect_current(1);
    // A reload that fails, with another timeout.
    dir.write("panzer.yml", "timeout: 0\nchdir: nowhere\n");
    panzer.signal(Signal::Usr1);
    panzer.expect("failed", 2);
    let worker = panzer.workers(monitor)[0];
    stop_process(worker);
    panzer.signal(Signal::Term);
    panzer.expect_line("generation 1: draining");
    panzer.settle();
    assert_eq!(panzer.count_lines(": sent SIGINT"), 0);
    continue_process(worker);
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: config.reload
#[test]
fn listener_can_be_renamed_by_reload() {
    let dir = TempDir::new();
    let mut panzer = start(&dir, "bind: one=unix:socket\n");
    panzer.expect_current(1);
    let inode = std::fs::metadata(dir.join("socket")).expect("it is bound").ino();
    dir.write("panzer.yml", "bind: two=unix:socket\n");
    replace(&mut panzer, Signal::Usr1, 2);
    assert_eq!(std::fs::metadata(dir.join("socket")).expect("it is bound").ino(), inode);
    panzer.stop();
}

/// rule: config.reload
#[test]
fn starting_generation_keeps_its_timeout() {
    let dir = TempDir::new();
    dir.write("panzer.yml", "timeout: 60\n");
    let setup = Setup::new(&example("witness"), &["say=starts", "hang"]).directory(dir.path());
    let mut panzer = setup.options(&["--config=panzer.yml"]).start();
    let monitor = panzer.expect("started", 1).pid;
    panzer.expect_line("starts");
    dir.write("panzer.yml", "timeout: 0\n");
    panzer.signal(Signal::Usr1);
    // The file is read by a child.
    panzer.settle();
    panzer.rest();
    stop_process(monitor);
    panzer.signal(Signal::Term);
    panzer.expect_line("generation 1: draining");
    panzer.settle();
    assert_eq!(panzer.count_lines(": sent SIGINT"), 0);
    continue_process(monitor);
    assert_eq!(panzer.end(), End::Status(0));
}
