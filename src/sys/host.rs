//! What the machine has: sysconf(3).

/// The processors that are online, at least 1.
///
/// The C library answers: under `taskset -c 0` on two processors glibc says 2
/// and musl says 1.
#[must_use]
pub fn processors() -> u16 {
    // SAFETY: sysconf takes a number and touches no memory of ours.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    u16::try_from(online).unwrap_or(1).max(1)
}
