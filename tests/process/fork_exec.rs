//! What happens between fork and exec, on the real program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use panzer::sys::Signal;

use crate::harness::files::{TempDir, example};
use crate::harness::panzer::send;
use crate::harness::procfs;
use crate::harness::setup::Setup;
use crate::harness::spawn_lock;
use crate::harness::strace::Call;

/// All system calls that are allowed between fork and exec: none needs memory, and
/// none waits for another process.
const ON_THE_WAY: [&str; 15] = [
    "chdir",
    "close",
    "close_range",
    "dup2",
    "dup3",
    "execve",
    "fcntl",
    "getpid",
    "getppid",
    "kill",
    "prctl",
    "rt_sigaction",
    "rt_sigprocmask",
    "setpgid",
    "setsid",
];

/// The calls of each process before its exec; processes without one are left out.
fn on_the_way(calls: Vec<Call>) -> BTreeMap<u32, Vec<Call>> {
    let mut processes: BTreeMap<u32, Vec<Call>> = BTreeMap::new();
    for call in calls {
        processes.entry(call.pid).or_default().push(call);
    }
    let became = |call: &Call| call.name == "execve" && call.is_done();
    processes.retain(|_, calls| calls.iter().position(became).is_some_and(|index| index > 0));
    for calls in processes.values_mut() {
        calls.truncate(calls.iter().position(became).unwrap_or_default());
    }
    processes
}

/// rule: spawn.no-allocation
#[test]
fn only_calls_that_cannot_block_or_allocate_between_fork_and_exec() {
    let dir = TempDir::new();
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]);
    let (setup, trace) = setup.traced(dir.path(), "life", &[]);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    panzer.reload(2);
    panzer.stop();
    let processes = on_the_way(trace.calls());
    assert_eq!(processes.len(), 2, "two monitors were started");
    for call in processes.values().flatten() {
        assert!(ON_THE_WAY.contains(&&*call.name), "{call:?}");
    }
}

/// Aborts a forked process that calls malloc or free.
const ABSTINENCE: &str = r#"
#include <stdlib.h>
#include <unistd.h>
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void __libc_free(void *);
static pid_t first;
__attribute__((constructor)) static void begin(void) { first = getpid(); }
static void refuse(void) { if (first && getpid() != first) abort(); }
void *malloc(size_t n) { refuse(); return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { refuse(); return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { refuse(); return __libc_realloc(p, n); }
void free(void *p) { refuse(); __libc_free(p); }
"#;

/// Compiles a library to preload.
fn library(dir: &TempDir, source: &str) -> PathBuf {
    let (source, made) = (dir.write("library.c", source), dir.join("library.so"));
    let _lock = spawn_lock();
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&made, &source]).status();
    assert!(status.expect("a C linker is there").success(), "cc {}", source.display());
    made
}

/// A program with an embedded main takes its memory from the C library, and runs the same
/// code between fork and exec as the one that ships.
///
/// rule: spawn.no-allocation
#[test]
fn no_malloc_or_free_between_fork_and_exec() {
    let dir = TempDir::new();
    let preload = format!("LD_PRELOAD={}", library(&dir, ABSTINENCE).display());
    let instead = r#"exec env "$PRELOAD" "$0" "$@""#;
    // A process can send READY=1 only after its exec has succeeded.
    let witness = example("witness").display().to_string();
    let setup = Setup::embedded(&example("embedded"), &[&witness, "notify=READY=1", "hang"]);
    let setup = setup.variable("PRELOAD", &preload).through(Path::new("sh"), &["-c", instead]);
    let mut panzer = setup.start();
    let main = panzer.pid();
    let monitor = panzer.expect_current(1);
    assert!(procfs::maps(main).contains("library.so"), "the library is loaded");
    // Not by a reload, which reads the configuration in a child that may take memory.
    send(monitor, Signal::Kill);
    panzer.expect_current(2);
    panzer.stop();
}
