//! What happens between a fork and what follows it, on the real program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::alone;
use crate::harness::look;
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::strace::Call;

/// All that the way to another program may take: none of it needs memory, and
/// none of it waits for anybody.
const ON_THE_WAY: [&str; 14] = [
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
];

/// What each process did before it became another program, if it did.
fn on_the_way(calls: Vec<Call>) -> BTreeMap<u32, Vec<Call>> {
    let mut processes: BTreeMap<u32, Vec<Call>> = BTreeMap::new();
    for call in calls {
        processes.entry(call.pid).or_default().push(call);
    }
    let became = |call: &Call| call.name == "execve" && call.is_done();
    processes.retain(|_, calls| calls.iter().position(became).is_some_and(|place| place > 0));
    for calls in processes.values_mut() {
        calls.truncate(calls.iter().position(became).unwrap_or_default());
    }
    processes
}

/// RATIONALE 1.52
#[test]
fn between_fork_and_exec_nothing_is_asked_for_that_could_wait_or_take_memory() {
    let place = Place::new();
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1"]);
    let (setup, trace) = setup.traced(place.path(), "life", &[]);
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

/// Aborts whoever asks the C library for memory in a forked process.
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

/// A library to preload that is made of this.
fn library(place: &Place, source: &str) -> PathBuf {
    let (source, made) = (place.write("library.c", source), place.join("library.so"));
    let _alone = alone();
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&made, &source]).status();
    assert!(status.expect("a C linker is there").success(), "cc {}", source.display());
    made
}

/// The program built with std takes its memory from the C library, and goes
/// the same way from fork to exec as the one that ships.
///
/// RATIONALE 1.52
#[test]
fn between_fork_and_exec_nobody_asks_for_memory_or_gives_any_back() {
    let place = Place::new();
    let preload = format!("LD_PRELOAD={}", library(&place, ABSTINENCE).display());
    let instead = r#"shift; exec env "$PRELOAD" "$0" "$@""#;
    let words = ["-c", instead, env!("CARGO_BIN_EXE_panzer")];
    // Only who has been executed can say that he is ready.
    let setup = Setup::new(&example("witness"), &["notify=READY=1", "hang"]);
    let mut panzer = setup.variable("PRELOAD", &preload).through(Path::new("sh"), &words).start();
    let main = panzer.pid();
    panzer.expect_current(1);
    assert!(look::maps(main).contains("library.so"), "it is watched");
    panzer.reload(2);
    panzer.stop();
}
