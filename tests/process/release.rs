//! Replacements under `--exec` run the program of their generation's start, whatever
//! stands at its path by then.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use panzer::sys::Signal;

use crate::harness::files::TempDir;
use crate::harness::panzer::{Panzer, send};
use crate::harness::procfs;
use crate::harness::setup::Setup;

const DUE: &str = "reload to run the new one";

/// A pool of this program, whose workers count as ready at once.
fn pool(program: &Path, words: &[&str], options: &[&str]) -> Panzer {
    let options: Vec<_> =
        ["--exec", "-n1", "--ready=0", "--delay=0"].iter().chain(options).copied().collect();
    let mut panzer = Setup::new(program, words).options(&options).start();
    panzer.expect_current(1);
    panzer
}

/// A script that prints its release.
fn release(dir: &TempDir, name: &str) {
    fs::create_dir(dir.join(name)).expect("it is not there");
    dir.script(&format!("{name}/app"), &format!("echo \"this is {name}\" >&2\nexec sleep 600"));
}

/// Two releases, and `current`, which is the first.
fn releases(dir: &TempDir) -> PathBuf {
    release(dir, "one");
    release(dir, "two");
    let current = dir.join("current");
    symlink("one", &current).expect("it is not there");
    current
}

/// Moves `current` to this release, as a deployment does.
fn deploy(dir: &TempDir, name: &str) {
    let fresh = dir.join("fresh");
    symlink(name, &fresh).expect("it is not there");
    fs::rename(fresh, dir.join("current")).expect("it can be renamed");
}

/// Kills the only worker; returns the pid of its replacement.
fn replace(panzer: &mut Panzer) -> u32 {
    let monitor = panzer.expect_monitor(1);
    let before = panzer.workers(monitor);
    send(before[0], Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn").pid
}

/// A replacement runs the first release although `current` is the second, one
/// warning says so, and a reload starts the second.
fn keeps_its_release(dir: &TempDir, mut panzer: Panzer) {
    panzer.expect_line("this is one");
    replace(&mut panzer);
    panzer.expect_line("this is one");
    assert_eq!(panzer.count_lines(DUE), 0);
    deploy(dir, "two");
    for _ in 0..3 {
        replace(&mut panzer);
        panzer.expect_line("this is one");
    }
    // What the first two have reported was read before their deaths.
    assert_eq!((panzer.count_lines(DUE), panzer.count_lines("this is two")), (1, 0));
    panzer.reload(2);
    panzer.expect_line("this is two");
    panzer.stop();
}

/// rule: exec.release
#[test]
fn replacement_of_a_script_runs_its_generations_release() {
    let dir = TempDir::new();
    let program = releases(&dir).join("app");
    let panzer = pool(&program, &[], &[]);
    keeps_its_release(&dir, panzer);
}

/// By a descriptor it would be told a path in /dev/fd, and its name would be a number
/// before Linux 6.14.
///
/// rule: exec.release
#[test]
fn program_is_executed_by_its_path_while_that_leads_to_it() {
    let setup = Setup::new(Path::new("sleep"), &["600"]).options(&["-xn1", "--ready=0"]);
    // The dynamic linker of each process prints what the kernel has told it.
    let mut panzer = setup.variable("LD_SHOW_AUXV", "1").start();
    let monitor = panzer.expect_current(1);
    while !panzer.expect_line("AT_EXECFN:").ends_with("/sleep") {}
    assert_eq!(procfs::name(panzer.workers(monitor)[0]), "sleep");
    panzer.stop();
}

/// rule: exec.release
#[test]
fn replacement_of_an_interpreter_runs_its_generations_script() {
    let dir = TempDir::new();
    let script = releases(&dir).join("app").display().to_string();
    let panzer = pool(Path::new("sh"), &[&script], &[]);
    keeps_its_release(&dir, panzer);
}

/// rule: exec.release
#[test]
fn replacement_starts_in_its_generations_directory() {
    let dir = TempDir::new();
    let current = releases(&dir).display().to_string();
    let panzer = pool(Path::new("./app"), &[], &["--chdir", &current]);
    keeps_its_release(&dir, panzer);
}

/// rule: exec.release
#[test]
fn replacement_finds_a_release_that_is_given_as_a_directory() {
    let dir = TempDir::new();
    let current = releases(&dir).display().to_string();
    let panzer = pool(Path::new("sh"), &["-c", "exec \"$0/app\"", &current], &[]);
    keeps_its_release(&dir, panzer);
}

/// rule: exec.release
#[test]
fn replacement_runs_the_new_release_if_the_old_one_is_deleted() {
    let dir = TempDir::new();
    let script = releases(&dir).join("app").display().to_string();
    let mut panzer = pool(Path::new("sh"), &[&script], &[]);
    // The shell opens its script after its exec, which is what counts as ready.
    panzer.expect_line("this is one");
    deploy(&dir, "two");
    fs::remove_dir_all(dir.join("one")).expect("it is ours");
    replace(&mut panzer);
    panzer.expect_line("this is two");
    // The output of the first was read before its death.
    replace(&mut panzer);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines(DUE), 1);
}

/// What a process was started as: its file, its name and its first word.
fn started_as(pid: u32) -> (PathBuf, String, String) {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).expect("it is there");
    let file = fs::read_link(format!("/proc/{pid}/exe")).expect("it is there");
    let first = read("cmdline").split('\0').next().unwrap_or_default().to_string();
    (file, read("comm").trim_end().to_string(), first)
}

/// rule: exec.release
#[test]
fn replacement_executes_its_generations_file_although_the_path_was_replaced() {
    let dir = TempDir::new();
    let sleep = fs::read("/bin/sleep").expect("it is there");
    let program = dir.program("server", &sleep);
    let mut panzer = pool(&program, &["600"], &[]);
    let monitor = panzer.expect_monitor(1);
    let before = panzer.workers(monitor)[0];
    let (name, path) = (String::from("server"), program.display().to_string());
    // The pool knows of the exec before the kernel has set the name and the words.
    panzer.eventually("it runs", || started_as(before).2 == path);
    assert_eq!(started_as(before), (program.clone(), name.clone(), path.clone()));
    dir.program("server", b"#!/bin/sh\necho another >&2\nexec sleep 600\n");
    let worker = replace(&mut panzer);
    panzer.expect_line(DUE);
    let deleted = PathBuf::from(format!("{path} (deleted)"));
    let is_it = || started_as(worker) == (deleted.clone(), name.clone(), path.clone());
    panzer.eventually("it runs under the same name", is_it);
    assert_eq!(panzer.count_lines("another"), 0);
    panzer.stop();
}

/// rule: exec.release
#[test]
fn replacement_of_a_file_in_another_release_has_its_usual_name() {
    let dir = TempDir::new();
    let current = releases(&dir);
    let sleep = fs::read("/bin/sleep").expect("it is there");
    for name in ["one", "two"] {
        dir.program(&format!("{name}/server"), &sleep);
    }
    let program = current.join("server");
    let mut panzer = pool(&program, &["600"], &[]);
    deploy(&dir, "two");
    let worker = replace(&mut panzer);
    panzer.expect_line(DUE);
    let old = dir.join("one/server");
    panzer.eventually("it runs under its usual name", || {
        let (file, name, _) = started_as(worker);
        file == old && name == "server"
    });
    panzer.stop();
}
