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

/// A number that cannot be guessed: getrandom(2). Never waits.
///
/// # Errors
///
/// `EAGAIN` when the machine has only just begun, `ENOSYS` in a sandbox.
pub fn random() -> super::SysResult<u64> {
    let mut number = [0_u8; 8];
    let (place, size, flags) = (number.as_mut_ptr(), number.len(), libc::GRND_NONBLOCK);
    // SAFETY: `place` is writable for `size` bytes.
    let read = unsafe { libc::syscall(libc::SYS_getrandom, place, size, flags) };
    match super::check_size(read as _)? {
        8 => Ok(u64::from_ne_bytes(number)),
        _ => Err(super::Errno(libc::EAGAIN)),
    }
}
