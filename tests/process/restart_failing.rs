//! What a restart is made with fails, one call after the other: main goes on
//! with the program that it has, and the next restart works.

use std::fs;
use std::path::Path;
use std::process::Command;

use panzer::sys::Signal;

use super::orphans::{tampered, without_proc};
use super::restarting::Restarting;
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::{alone, look};

const IDLE: [&str; 2] = ["listen=127.0.0.1:0", "run=idle"];

/// Calls that cannot fail, and those after whose failure no program goes on.
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

/// A panzer of which main alone is traced, with these words more.
fn traced(words: &[&str]) -> Restarting {
    let place = Place::new();
    let app = place.app(&example("witness"), &IDLE);
    let output = place.join("trace").display().to_string();
    let words = [&["-D", "-qqq", "-o", &output][..], words].concat();
    let setup = Setup::new(&app, &[]).options(&["-n1"]).through(Path::new("strace"), &words);
    let mut main = Restarting::begin(place, setup);
    main.panzer.expect_current(1);
    main.panzer.settle();
    main
}

/// Every call that main makes from a SIGUSR2 until it has executed itself, and
/// which one of that name it is in its life.
fn calls() -> Vec<(String, usize)> {
    let mut main = traced(&[]);
    main.restart();
    let trace = main.place.join("trace");
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
    for place in begun..=exec {
        let Some(name) = name(lines[place]) else { continue };
        if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            || BEYOND.contains(&&*name)
        {
            continue;
        }
        let same = |line: &&&str| line.starts_with(&format!("{name}("));
        let which = lines[..=place].iter().filter(same).count();
        made.push((name, which));
    }
    made
}

/// RATIONALE 13.16
#[test]
fn whatever_main_cannot_do_on_its_way_to_the_new_program_it_goes_on_with_the_old() {
    let calls = calls();
    let (all, mut met) = (calls.len(), 0);
    for (name, which) in calls {
        let what = format!("{name} for the {which}th time");
        let fault = format!("-einject={name}:error=ENOMEM:when={which}");
        let main = traced(&[&fault]);
        let before = everybody(&main);
        // It is done, or refused with a reason; the one after the next is done.
        main.panzer.signal(Signal::Usr2);
        drop(main.ctl(&["restart"]));
        let outcome = main.ctl(&["restart"]);
        if is_beyond_the_exec(&main) {
            continue;
        }
        met += 1;
        assert_eq!(outcome.status, 0, "{what}: {}", outcome.told);
        assert!(look::until(|| everybody(&main) == before), "{what}: {:?}", everybody(&main));
        main.panzer.stop();
    }
    assert!(met > all / 2, "{met} of {all} calls were main's");
}

/// Whether the call that failed was one of the new program: no two lives make the
/// same number of calls, and what the loader of programs cannot do ends anybody.
fn is_beyond_the_exec(main: &Restarting) -> bool {
    let text = fs::read_to_string(main.place.join("trace")).expect("strace has written it");
    let place = |is_it: &dyn Fn(&str) -> bool| text.lines().position(is_it);
    let exec = place(&|line| line.starts_with("execveat(") && line.trim_end().ends_with("= 0"));
    let failed = place(&|line| line.contains("(INJECTED)"));
    exec.is_some() && failed > exec
}

/// Who is there: main, and everybody below it, but for who is tried.
fn everybody(main: &Restarting) -> Vec<(u32, u64, String)> {
    let mut all: Vec<_> = look::descendants(main.panzer.pid())
        .into_iter()
        .chain([main.panzer.pid()])
        .filter_map(look::row)
        .map(|row| (row.pid, row.born, row.name))
        .collect();
    all.sort_unstable();
    all
}

/// RATIONALE 13.16
#[test]
fn an_exec_that_fails_after_a_good_trial_is_told_and_changes_nothing() {
    for error in ["ENOMEM", "E2BIG", "ENOEXEC", "EACCES", "ETXTBSY"] {
        let fault = format!("-einject=execveat:error={error}:when=1");
        let mut main = traced(&[&fault]);
        main.expect_refusal(error, error);
        // Handlers and mask are as before: everything still works.
        main.panzer.reload(2);
        main.restart();
        main.expect_recovery();
    }
}

/// How large a file may become that the process writes.
fn limit_files(pid: u32, most: &str) {
    let _alone = alone();
    let (pid, limit) = (pid.to_string(), format!("--fsize={most}:"));
    let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(set.expect("prlimit is there").success(), "{most} of {pid}");
}

/// RATIONALE 1.31, 13.16
#[test]
fn main_that_may_write_no_file_refuses_a_reload_and_a_restart() {
    let mut main = Restarting::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    main.panzer.settle();
    let pid = main.panzer.pid();
    limit_files(pid, "1");
    let refused = main.ctl(&["reload"]);
    assert_eq!(refused.status, 1, "{}", refused.told);
    assert!(refused.told.contains("EFBIG"), "{}", refused.told);
    main.expect_refusal("a limit of sizes", "EFBIG");
    limit_files(pid, "unlimited");
    main.expect_recovery();
}

/// RATIONALE 13.3, 13.8
#[test]
fn where_nobody_counts_threads_one_restart_follows_the_other() {
    let place = Place::new();
    let setup = Setup::new(Path::new("sleep"), &["1000"]).options(&["-x", "-n1", "--ready=0"]);
    // The first call is that of unshare(1).
    let setup = tampered(setup, "unshare:error=EPERM:when=2+");
    let mut main = Restarting::begin(place, without_proc(setup));
    main.panzer.expect_current(1);
    for _ in 0..3 {
        let outcome = main.ctl(&["restart"]);
        assert_eq!(outcome.status, 0, "{}", outcome.told);
    }
    main.expect_recovery();
}
