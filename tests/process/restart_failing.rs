//! Each system call of a restart fails in turn: main keeps its running program, and
//! the next restart works.

use std::fs;
use std::path::Path;
use std::process::Command;

use panzer::sys::Signal;

use super::orphans::{tampered, without_proc};
use super::restartable::RestartableMain;
use crate::harness::files::{self, TempDir, example};
use crate::harness::setup::Setup;
use crate::harness::strace::Attached;
use crate::harness::{procfs, spawn_lock};

const IDLE: [&str; 2] = ["listen=127.0.0.1:0", "run=idle"];

/// Calls that cannot fail, and those without which no program can go on.
const BEYOND: [&str; 12] = [
    "rt_sigreturn",
    "restart_syscall",
    "getpid",
    "gettid",
    "geteuid",
    "getuid",
    "brk",
    "mmap",
    "munmap",
    "rt_sigprocmask",
    "rt_sigaction",
    "madvise",
];

/// A panzer whose main alone is traced from now on, with these arguments of strace: its
/// earlier calls depend on what else runs on this machine.
fn traced(words: &[&str]) -> (RestartableMain, Attached) {
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &IDLE);
    let mut main = RestartableMain::begin(dir, Setup::new(&app, &[]).options(&["-n1"]));
    main.panzer.expect_current(1);
    let pid = main.panzer.pid();
    main.panzer.eventually("main has only its monitor", || procfs::children(pid).len() == 1);
    main.panzer.settle();
    let attached = Attached::to(pid, &main.dir.join("trace"), words);
    (main, attached)
}

/// Every call that main makes from SIGUSR2 to its exec, numbered among the calls of its
/// name since tracing began.
fn calls() -> Vec<(String, usize)> {
    let (mut main, _attached) = traced(&[]);
    main.restart();
    let trace = main.dir.join("trace");
    main.panzer.settle();
    let text = fs::read_to_string(trace).expect("strace has written it");
    main.panzer.stop();
    let name = |line: &str| Some(line.split_once('(')?.0.to_string());
    let lines: Vec<_> = text.lines().collect();
    let begun = lines.iter().position(|line| line.starts_with("--- SIGUSR2"));
    let begun = begun.unwrap_or_else(|| panic!("no SIGUSR2: {text}"));
    let exec = lines[begun..]
        .iter()
        .position(|line| line.starts_with("execveat(") && line.trim_end().ends_with("= 0"));
    let exec = begun + exec.unwrap_or_else(|| panic!("no exec: {text}"));
    let mut made: Vec<(String, usize)> = Vec::new();
    for index in begun..=exec {
        let Some(name) = name(lines[index]) else { continue };
        if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            || BEYOND.contains(&&*name)
        {
            continue;
        }
        let same = |line: &&&str| line.starts_with(&format!("{name}("));
        let which = lines[..=index].iter().filter(same).count();
        made.push((name, which));
    }
    made
}

/// rule: restart.exec-fails
#[test]
fn failed_call_before_the_exec_keeps_main_running() {
    let calls = calls();
    let (all, mut met) = (calls.len(), 0);
    for (name, which) in calls {
        let description = format!("{name} for the {which}th time");
        let fault = format!("-einject={name}:error=ENOMEM:when={which}");
        let (main, _attached) = traced(&[&fault]);
        let before = processes(&main);
        // The restart is done, or refused with a reason; a later one is done.
        main.panzer.signal(Signal::Usr2);
        drop(main.ctl(&["restart"]));
        let outcome = main.ctl(&["restart"]);
        if is_beyond_the_exec(&main) {
            continue;
        }
        met += 1;
        assert_eq!(outcome.status, 0, "{description}: {}", outcome.stderr);
        assert!(
            procfs::until(|| processes(&main) == before),
            "{description}: {:?}",
            processes(&main)
        );
        main.panzer.stop();
    }
    assert!(met > all / 2, "{met} of {all} calls were main's");
}

/// Whether the failed call came after the exec: the number of calls before it varies,
/// and no program survives a failure in its loader.
fn is_beyond_the_exec(main: &RestartableMain) -> bool {
    let text = fs::read_to_string(main.dir.join("trace")).expect("strace has written it");
    let position = |matches: &dyn Fn(&str) -> bool| text.lines().position(matches);
    let exec = position(&|line| line.starts_with("execveat(") && line.trim_end().ends_with("= 0"));
    let failed = position(&|line| line.contains("(INJECTED)"));
    exec.is_some() && failed > exec
}

/// Main and all processes below it, except a probed program.
fn processes(main: &RestartableMain) -> Vec<(u32, u64, String)> {
    let mut all: Vec<_> = procfs::descendants(main.panzer.pid())
        .into_iter()
        .chain([main.panzer.pid()])
        .filter_map(procfs::row)
        .map(|row| (row.pid, row.born, row.name))
        .collect();
    all.sort_unstable();
    all
}

/// rule: restart.exec-fails
#[test]
fn failed_exec_after_probe_keeps_main_running() {
    for error in ["ENOMEM", "E2BIG", "ENOEXEC", "EACCES", "ETXTBSY"] {
        let fault = format!("-einject=execveat:error={error}:when=1");
        let (mut main, _attached) = traced(&[&fault]);
        main.expect_refusal(error, error);
        // Signal handlers and mask are as before.
        main.panzer.reload(2);
        main.restart();
        main.expect_recovery();
    }
}

/// After the exec there is no way back. `make faults-restart` lets every call fail.
#[test]
fn failed_call_after_the_exec_ends_no_generation() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/restart/calls");
    let calls = "statx,fcntl,openat,pread64,prctl,getpid,waitid,sendmsg";
    let outcome = Command::new(script)
        .args([files::panzer(), files::panzerctl()])
        .args(["--only", calls, "ENFILE"])
        .output()
        .expect("python3 is there");
    let (stdout, stderr) = (outcome.stdout, String::from_utf8_lossy(&outcome.stderr));
    let stdout = String::from_utf8_lossy(&stdout);
    assert!(outcome.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("mmap") && stdout.contains(" 0 wrong"), "{stdout}{stderr}");
}

/// Limits the size of the files that the process writes.
fn limit_files(pid: u32, most: &str) {
    let _lock = spawn_lock();
    let (pid, limit) = (pid.to_string(), format!("--fsize={most}:"));
    let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(set.expect("prlimit is there").success(), "{most} of {pid}");
}

/// rules: signal.ignored, restart.exec-fails
#[test]
fn reload_and_restart_are_refused_if_no_file_can_be_written() {
    let mut main = RestartableMain::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    main.panzer.settle();
    let pid = main.panzer.pid();
    limit_files(pid, "1");
    let refused = main.ctl(&["reload"]);
    assert_eq!(refused.status, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("EFBIG"), "{}", refused.stderr);
    main.expect_refusal("a limit of sizes", "EFBIG");
    limit_files(pid, "unlimited");
    main.expect_recovery();
}

/// rules: restart.environment, restart.probe
#[test]
fn restarts_work_without_proc() {
    let dir = TempDir::new();
    let setup = Setup::new(Path::new("sleep"), &["1000"]).options(&["-x", "-n1", "--ready=0"]);
    // The first call is that of unshare(1).
    let setup = tampered(setup, "unshare:error=EPERM:when=2+");
    let mut main = RestartableMain::begin(dir, without_proc(setup));
    main.panzer.expect_current(1);
    for _ in 0..3 {
        let outcome = main.ctl(&["restart"]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    }
    main.expect_recovery();
}
