//! What the machine has: sysconf(3), sched_getaffinity(2).

/// The processors that are online, at least 1.
///
/// The C library answers: under `taskset -c 0` on two processors glibc says 2
/// and musl says 1.
pub fn processors() -> u16 {
    // SAFETY: sysconf takes a number and touches no memory of ours.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    u16::try_from(online).unwrap_or(1).max(1)
}

/// The processors that are online and that this thread may run on; `None` when
/// it cannot be told.
pub fn affinity() -> Option<u16> {
    // Twice as many as the kernel can be built for: with too few it refuses.
    let mut mask = [0_u64; 16_384 / 64];
    let size = size_of_val(&mask);
    // SAFETY: `mask` is writable for `size` bytes, and any bytes are a valid mask.
    let result = unsafe { libc::sched_getaffinity(0, size, mask.as_mut_ptr().cast()) };
    let count: u32 = mask.iter().map(|word| word.count_ones()).sum();
    u16::try_from(count).ok().filter(|&count| result == 0 && count > 0)
}
