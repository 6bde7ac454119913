//! What the process tests are written with: a panzer of one's own, started,
//! listened to, signalled, and always ended with everything below it.
//!
//! A test knows what happens from events, lines and ends of pipes. Nobody naps
//! and nobody asserts how long something took: there is one [`PATIENCE`], which
//! only a test that fails ever spends. That something does not happen is shown
//! by an order: send X, then Y, and see Y alone.
//!
//! * `panzer`: the process under test, and what it tells.
//! * `setup`: with which options, command and surroundings it is started.
//! * `told`: a stream of lines, and the search in it.
//! * `event`: one line of `--event-fd`.
//! * `place`: a directory of the test's own, and the programs in it.
//! * `client`: who connects.
//! * `look`: what /proc says.
//! * `operator`: who asks over the control socket.
//! * `pipe`: a pipe that is full.
//! * `ctl`: who asks with panzerctl.
//! * `strace`: what they asked the kernel for.
//! * `watch`: what /proc has said meanwhile.

pub mod client;
pub mod ctl;
pub mod event;
pub mod look;
pub mod operator;
pub mod panzer;
pub mod pipe;
pub mod place;
pub mod setup;
pub mod strace;
pub mod told;
pub mod watch;

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use ::panzer::sys::{Signal, signal};

/// Long enough for any machine; only a failing test ever waits it out.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Panzer counts whole milliseconds, so each of a few waits in a row may be
/// over by so much too early.
const ROUNDING: Duration = Duration::from_millis(10);

/// Fails when something came before `least` was over.
pub fn expect_passed(begun: Instant, least: Duration) {
    let passed = begun.elapsed();
    assert!(passed + ROUNDING >= least, "after {passed:?} of {least:?}");
}

static SPAWNING: Mutex<()> = Mutex::new(());

/// Whoever starts a process, or writes a file that is to be executed, holds
/// this: between its fork and its exec a child has all descriptors of all
/// tests, which would keep pipes from ending and programs from running.
///
/// What is ignored here, under nohup(1) or in the background of a shell, would
/// be handed down to it; a test that wants that has it done.
pub fn alone() -> MutexGuard<'static, ()> {
    static USUAL: Once = Once::new();
    USUAL.call_once(|| {
        [Signal::Hup, Signal::Int, Signal::Quit].into_iter().for_each(signal::reset);
    });
    SPAWNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that this machine cannot do what a test needs, where it is seen even
/// though the test passes.
pub fn skip(name: &str, why: &str) {
    let line = format!("skipped: {name}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("the standard error is there");
}
