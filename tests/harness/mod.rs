//! The harness of the process tests: it starts a panzer for each test, reads its
//! events and log, signals it, and always ends it with all its descendants.
//!
//! A test learns what happens from events, log lines and ends of pipes. No test
//! sleeps, and none asserts how long something took: there is one [`TIMEOUT`],
//! which only a failing test waits for. That something does not happen is shown
//! by order: send X, then Y, and see only Y's effect.
//!
//! * `panzer`: the process under test, its events and its log.
//! * `setup`: the options, command and environment with which it is started.
//! * `stream`: a stream of lines, and searching it.
//! * `event`: one line of `--event-fd`.
//! * `files`: a temporary directory for each test, and the programs in it.
//! * `client`: clients of the servers under test.
//! * `procfs`: what /proc says about processes.
//! * `notify`: messages to a notify socket.
//! * `control_client`: requests over the control socket.
//! * `pipe`: a pipe that is full.
//! * `ctl`: panzerctl, and a process that pretends to be main.
//! * `strace`: the system calls of the process under test and its descendants.
//! * `watch`: samples of /proc while a test does something else.

pub mod client;
pub mod control_client;
pub mod ctl;
pub mod event;
pub mod files;
pub mod notify;
pub mod panzer;
pub mod pipe;
pub mod procfs;
pub mod setup;
pub mod strace;
pub mod stream;
pub mod watch;

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use ::panzer::sys::{Signal, signal};

/// Long enough for any machine; only a failing test ever waits it out.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Panzer counts whole milliseconds, so each of a few waits in a row may end
/// up to this much early.
const ROUNDING: Duration = Duration::from_millis(10);

/// Fails if less than `least` has passed since `begun`.
pub fn assert_elapsed_at_least(begun: Instant, least: Duration) {
    let passed = begun.elapsed();
    assert!(passed + ROUNDING >= least, "after {passed:?} of {least:?}");
}

static SPAWNING: Mutex<()> = Mutex::new(());

/// To be held while starting a process or writing a file that will be executed:
/// between its fork and its exec a child has the descriptors of all tests, which
/// would keep pipes from ending and programs from running (ETXTBSY).
///
/// Signals that are ignored here, under nohup(1) or in the background of a
/// shell, would be inherited; so they are reset once.
pub fn spawn_lock() -> MutexGuard<'static, ()> {
    static USUAL: Once = Once::new();
    USUAL.call_once(|| {
        [Signal::Hup, Signal::Int, Signal::Quit].into_iter().for_each(signal::reset);
    });
    SPAWNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that this machine cannot do what a test needs, where it is seen even
/// though the test passes.
pub fn skip(name: &str, reason: &str) {
    let line = format!("skipped: {name}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("the standard error is there");
}
