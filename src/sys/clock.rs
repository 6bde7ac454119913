//! Clocks: clock_gettime(2).
//!
//! Deadlines come from the monotonic clock alone. The wall clock is for the stamps of
//! log lines.

use super::{call, check, insist};
use crate::types::Tick;

/// A time of day for the log, in UTC.
#[derive(Clone, Copy, Debug)]
pub struct Wall {
    /// Whole seconds since 1970.
    pub secs: u64,
    /// Milliseconds of the second, below 1,000.
    pub millis: u16,
}

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // Fails for an unknown clock only, and both of ours are known since Linux 2.6.
    // SAFETY: `time` is writable for the one timespec that is stored.
    let _ = insist(|| check(unsafe { call::clock_gettime(clock, &raw mut time) }));
    time
}

/// The present moment; never goes back, stands still while the machine sleeps.
#[must_use]
pub fn now() -> Tick {
    let time = read(libc::CLOCK_MONOTONIC);
    // Rounded down, so that a computed wait is rounded up and no loop spins
    // through the last millisecond.
    Tick(time.tv_sec.unsigned_abs() * 1_000 + time.tv_nsec.unsigned_abs() / 1_000_000)
}

/// The same moment in whole microseconds, as service managers count it.
#[must_use]
pub fn micros() -> u64 {
    let time = read(libc::CLOCK_MONOTONIC);
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000
}

/// The time of day.
#[must_use]
pub fn wall() -> Wall {
    let time = read(libc::CLOCK_REALTIME);
    let millis = u16::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
    Wall { secs: u64::try_from(time.tv_sec).unwrap_or(0), millis }
}
