//! Started with blocked or ignored signals, closed descriptors, a full log, as process 1.

use std::fs::File;
use std::io::pipe;
use std::process::{Child, Command, Stdio};

use panzer::sys::Signal;

use crate::harness::client::ask_unix;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::pipe::fill;
use crate::harness::setup::Setup;
use crate::harness::stream::Stream;
use crate::harness::{procfs, skip, spawn_lock};

/// The HTTP example on a Unix socket in this directory.
fn http(dir: &TempDir) -> Setup {
    let address = format!("unix:{}", dir.join("socket").display());
    Setup::new(&example("http"), &[&address]).options(&["-n2"])
}

/// A whole life: it serves, reloads, loses a worker, and stops.
fn lives(dir: &TempDir, mut panzer: Panzer) -> Panzer {
    let path = dir.join("socket");
    panzer.expect_current(1);
    ask_unix(&path).expect("it serves");
    panzer.signal(Signal::Hup);
    let monitor = panzer.expect_current(2);
    let worker = panzer.workers(monitor)[0];
    send(worker, Signal::Kill);
    panzer.expect_event("its end", |event| event.name == "died" && event.pid == worker);
    panzer.expect_event("another", |event| event.name == "respawn" && event.generation == 2);
    ask_unix(&path).expect("it serves");
    panzer.reload(3);
    ask_unix(&path).expect("it serves");
    let panzer = panzer.stop();
    assert!(!path.exists());
    panzer
}

/// rules: start.signals-blocked, signal.sighup
#[test]
fn panzer_works_with_all_signals_blocked_and_ignored() {
    let dir = TempDir::new();
    let setup = http(&dir).through(&example("witness"), &["smother"]);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    // SIGHUP ignored at the start stays ignored, as under nohup.
    panzer.signal(Signal::Hup);
    // In one turn with the next signal it would be one reload.
    panzer.settle();
    panzer.signal(Signal::Usr1);
    let monitor = panzer.expect_current(2);
    panzer.settle();
    assert_eq!(panzer.count("started"), 2);
    let worker = panzer.workers(monitor)[0];
    send(worker, Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn");
    ask_unix(&dir.join("socket")).expect("it serves");
    panzer.stop();
}

/// A pool without main; drop kills all its processes.
pub struct StandalonePool(pub Child);

impl Drop for StandalonePool {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let below = procfs::descendants(self.0.id());
            below.into_iter().chain([self.0.id()]).for_each(|pid| send(pid, Signal::Kill));
            let _ = self.0.wait();
        }
    }
}

/// rule: monitor.handlers
#[test]
fn pool_without_main_works_with_all_signals_blocked_and_ignored() {
    let witness = example("witness");
    let words = ["smother", &witness.display().to_string(), "count=2", "run=idle"];
    let mut command = Command::new(&witness);
    command.args(words).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut pool = {
        let _lock = spawn_lock();
        StandalonePool(command.spawn().expect("it is built"))
    };
    let mut log = Stream::read(pool.0.stderr.take().expect("it was asked for"), |line| line);
    log.find(|line| line.contains("2 workers ready")).expect("both workers are ready");
    send(procfs::children(pool.0.id())[0], Signal::Term);
    // The new worker may log before the old one's death is logged.
    let is_either =
        |line: &String| line.contains("exited with status 0") || line.contains("run in worker");
    for line in ["the first line", "the second line"] {
        log.find(is_either).expect(line);
    }
    send(pool.0.id(), Signal::Term);
    log.find(|line| line.contains("run has returned")).expect("the stop is over");
    assert!(log.read_to_end(), "a process is left");
    assert!(pool.0.wait().expect("it is our child").success());
}

/// rule: signal.sighup
#[test]
fn panzer_works_under_nohup_and_ignores_sighup() {
    let dir = TempDir::new();
    let mut panzer = http(&dir).through("nohup".as_ref(), &[]).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Hup);
    panzer.settle();
    let monitor = panzer.reload(2);
    let worker = panzer.workers(monitor)[0];
    // Worker and monitor ignore SIGHUP too, as nohup wants.
    for pid in [worker, monitor] {
        send(pid, Signal::Hup);
    }
    panzer.settle();
    assert_eq!(panzer.count("started"), 2);
    assert!(!panzer.events().iter().any(|event| event.is("died", 2)));
    assert!(panzer.workers(monitor).contains(&worker));
    ask_unix(&dir.join("socket")).expect("it serves");
    panzer.stop();
}

/// rule: signal.sigterm
#[test]
fn sigint_and_sigquit_stop_in_the_background_of_a_shell() {
    for signal in [Signal::Int, Signal::Quit] {
        let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
        let job = r#""$@" & wait "$!""#;
        let mut panzer = setup.options(&["-n2"]).through("sh".as_ref(), &["-c", job, "sh"]).start();
        let line = panzer.expect_line("monitor SigIgn: ");
        for given in [Signal::Int, Signal::Quit] {
            assert!(is_ignored(&line, given), "the shell ignores it: {line}");
        }
        panzer.expect_current(1);
        let main = procfs::children(panzer.pid())[0];
        send(main, signal);
        assert_eq!(panzer.end(), End::Status(0), "{signal:?}");
    }
}

/// Whether `signal` is in the set that this line of /proc/PID/status shows.
fn is_ignored(line: &str, signal: Signal) -> bool {
    let mask = line.split_whitespace().last().and_then(|mask| u64::from_str_radix(mask, 16).ok());
    mask.expect("it is a number") & 1 << (signal.number() - 1) != 0
}

/// rule: given.monitor
#[test]
fn signals_ignored_by_main_are_not_ignored_in_the_command() {
    // A shell would unblock signals for itself.
    let words = ["-e", "SigBlk", "-e", "SigIgn", "/proc/self/status"];
    let mut panzer = Setup::new("grep".as_ref(), &words).options(&["--give-up=1"]).start();
    let line = panzer.expect_line("SigBlk");
    assert!(line.ends_with("\t0000000000000000"), "{line}");
    let line = panzer.expect_line("SigIgn");
    for signal in [Signal::Ttou, Signal::Winch, Signal::Pipe, Signal::Xfsz] {
        assert!(!is_ignored(&line, signal), "{signal:?}: {line}");
    }
    panzer.end();
}

/// rule: given.monitor
#[test]
fn signals_ignored_at_the_start_are_ignored_in_the_command() {
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let mut panzer = setup.options(&["-n1"]).through(&example("witness"), &["smother"]).start();
    panzer.expect_line("monitor SigBlk: 0000000000000000");
    let line = panzer.expect_line("monitor SigIgn: ");
    for signal in [Signal::Hup, Signal::Int, Signal::Quit, Signal::Usr1, Signal::Term] {
        assert!(is_ignored(&line, signal), "{signal:?}");
    }
    assert!(!is_ignored(&line, Signal::Chld), "ignored, it would break waiting for children");
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: start.closed-descriptors
#[test]
fn panzer_works_with_any_standard_descriptors_closed() {
    for closed in 0..8 {
        let words = ["0<&-", "1>&-", "2>&-"];
        let some: Vec<_> =
            (0..3).filter(|number| closed >> number & 1 == 1).map(|number| words[number]).collect();
        let dir = TempDir::new();
        lives(&dir, http(&dir).redirect(&some.join(" ")).start());
    }
}

/// rule: start.closed-descriptors
#[test]
fn closed_standard_descriptors_become_dev_null() {
    let dir = TempDir::new();
    let mut panzer = http(&dir).redirect("0<&- 1>&- 2>&-").start();
    let monitor = panzer.expect_current(1);
    let worker = panzer.workers(monitor)[0];
    for pid in [panzer.pid(), monitor, worker] {
        let standard = procfs::descriptors(pid);
        let standard: Vec<_> = standard
            .iter()
            .filter(|fd| ["0 ", "1 ", "2 "].iter().any(|start| fd.starts_with(start)))
            .collect();
        assert_eq!(standard, ["0 /dev/null", "1 /dev/null", "2 /dev/null"]);
    }
    panzer.stop();
}

/// rule: log.never-waits
#[test]
fn full_pipe_as_log_blocks_no_process() {
    let (reader, mut writer) = pipe().expect("there are descriptors");
    fill(&mut writer);
    let dir = TempDir::new();
    let panzer = http(&dir).options(&["-v"]).stderr(writer.into()).start();
    let mut panzer = lives(&dir, panzer);
    assert!(panzer.count("dropped") > 0, "dropped lines are counted");
    drop(reader);
}

/// rule: log.never-waits
#[test]
fn log_pipe_without_reader_ends_no_process() {
    let (reader, writer) = pipe().expect("there are descriptors");
    drop(reader);
    let dir = TempDir::new();
    let panzer = http(&dir).options(&["-v"]).stderr(writer.into()).start();
    lives(&dir, panzer);
}

/// rule: log.never-waits
#[test]
fn log_at_the_file_size_limit_ends_no_process() {
    const LIMIT: u64 = 4 << 20;
    let dir = TempDir::new();
    let log = File::options().append(true).create(true).open(dir.join("log"));
    let log = log.expect("the directory is ours");
    log.set_len(LIMIT).expect("there is room");
    let limit = format!("--fsize={LIMIT}");
    let setup = http(&dir).options(&["-v"]).through("prlimit".as_ref(), &[&limit]);
    let mut panzer = lives(&dir, setup.stderr(log.into()).start());
    assert!(panzer.count("dropped") > 0, "dropped lines are counted");
}

/// Whether a pid namespace can be made here.
pub fn may_be_process_1() -> bool {
    let _lock = spawn_lock();
    let made = Command::new("unshare").args(["-pf", "--mount-proc", "true"]).output();
    made.is_ok_and(|made| made.status.success())
}

/// rule: main.reap
#[test]
fn process_1_reloads_stops_and_reaps_orphans() {
    if !may_be_process_1() {
        return skip("process_1_reloads_stops_and_reaps_orphans", "no unshare");
    }
    let dir = TempDir::new();
    let (witness, orphan) = (example("witness"), "(true &); ".repeat(50));
    let body = format!("{orphan} exec '{}' run=idle", witness.display());
    let setup = Setup::new(&dir.script("app", &body), &[]).options(&["-n1"]);
    let words = ["-pf", "--kill-child", "--mount-proc"];
    let mut panzer = setup.through("unshare".as_ref(), &words).start();
    panzer.expect_current(1);
    let main = procfs::children(panzer.pid())[0];
    assert_eq!(procfs::name(main), "panzer:main");
    send(main, Signal::Usr1);
    panzer.expect_current(2);
    panzer.eventually_at(main, "all orphans are reaped", || {
        let children = procfs::children(main);
        children.len() == 1 && children.iter().all(|pid| procfs::is_alive(*pid))
    });
    send(main, Signal::Term);
    assert_eq!(panzer.end(), End::Status(0), "the exit status goes out");
}

/// rule: main.reap
#[test]
fn orphans_are_reaped_without_a_line() {
    let dir = TempDir::new();
    let body =
        format!("{} exec '{}' run=idle", "(true &); ".repeat(50), example("witness").display());
    let mut panzer = Setup::new(&dir.script("app", &body), &[]).options(&["-n1"]).start();
    panzer.expect_current(1);
    let main = panzer.pid();
    panzer.eventually_at(main, "all orphans are reaped", || procfs::children(main).len() == 1);
    assert_eq!((panzer.count("died"), panzer.count_lines("WARN")), (0, 0));
    panzer.stop();
}

/// A container may lack the device, and `ENOENT` alone would not name it.
#[test]
fn missing_dev_null_is_named() {
    for exec in [&[][..], &["--exec"]] {
        let setup = Setup::new(&example("witness"), &["run=idle"]).options(exec);
        let hide = r#"mount -t tmpfs none /dev && exec "$0" "$@""#;
        let words = ["-rm", "sh", "-c", hide];
        let setup = setup.options(&["--give-up=1", "-n1"]).through("unshare".as_ref(), &words);
        let mut panzer = setup.start();
        panzer.expect_line("cannot open /dev/null: no such file or directory (ENOENT)");
        assert_eq!(panzer.end(), End::Status(1));
    }
}
