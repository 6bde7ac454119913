//! Memory that processes share: memfd_create(2), mmap(2).

use super::{SysResult, call, check, check_size, insist, last_errno, retry_eintr};
use crate::sys::fd::{Borrowed, Fd};
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicU64;

/// A sparse file in memory of `size` zeroes, whose size cannot be changed.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn sealed_file(name: &CStr, size: usize) -> SysResult<Fd> {
    let file = file(name)?;
    // SAFETY: ftruncate takes two numbers and touches no memory.
    check(unsafe { libc::ftruncate(file.number(), size.cast_signed() as libc::off_t) })?;
    seal(&file, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL)?;
    Ok(file)
}

/// A file in memory that can still be changed.
fn file(name: &CStr) -> SysResult<Fd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: `name` is a C string; memfd_create touches no other memory.
    check(unsafe { libc::memfd_create(name.as_ptr(), flags) }).map(Fd::own)
}

fn seal(file: &Fd, seals: libc::c_int) -> SysResult<()> {
    // SAFETY: F_ADD_SEALS takes a number and touches no memory.
    check(unsafe { call::fcntl(file.number(), libc::F_ADD_SEALS, seals as _) })?;
    Ok(())
}

/// Nothing can be changed any more.
const SETTLED: libc::c_int =
    libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// A copy of the first `size` bytes of `original`, that cannot be changed any more.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`; `EINVAL` when `original` is shorter.
pub fn snapshot(name: &CStr, original: Borrowed<'_>, size: usize) -> SysResult<Fd> {
    let copy = file(name)?;
    let mut offset: libc::off_t = 0;
    let mut left = size;
    while left > 0 {
        let place = &raw mut offset;
        let send = || {
            // SAFETY: `place` is writable for the one offset that sendfile moves.
            check_size(unsafe { libc::sendfile(copy.number(), original.number(), place, left) })
        };
        match retry_eintr(send)? {
            0 => return Err(super::Errno(libc::EINVAL)),
            sent => left -= sent,
        }
    }
    seal(&copy, SETTLED)?;
    Ok(copy)
}

/// A file with these bytes, which cannot be changed any more.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn settled_file(name: &CStr, bytes: &[u8]) -> SysResult<Fd> {
    let file = file(name)?;
    let mut written = 0;
    while let Some(rest @ [_, ..]) = bytes.get(written..) {
        written += super::fd::write(file.borrow(), rest)?;
    }
    seal(&file, SETTLED)?;
    Ok(file)
}

/// The bytes of a file that cannot be changed any more, at most `most` of them.
///
/// # Errors
///
/// `EINVAL` when `file` is another one, `EFBIG` when it is larger, `ENOMEM`.
pub fn read_settled(file: Borrowed<'_>, most: usize) -> SysResult<Vec<u8>> {
    if !is_settled(file) {
        return Err(super::Errno(libc::EINVAL));
    }
    // A file in memory has all of it: reading waits for nothing and needs nothing.
    let mut read = |piece: &mut [u8], before| insist(|| super::fd::read_at(file, piece, before));
    super::file::whole(most, &mut read)
}

/// Whether this is a file in memory that cannot be changed any more: reading it never
/// waits, and twice gives the same.
pub fn is_settled(file: Borrowed<'_>) -> bool {
    let all = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
    // SAFETY: F_GET_SEALS touches no memory; what has no seals says EINVAL.
    let ask = || check(unsafe { call::fcntl(file.number(), libc::F_GET_SEALS, 0) });
    insist(ask).is_ok_and(|seals| seals & all == all)
}

/// Words of shared memory; mapped as long as the process lives.
///
/// Only pages that were written take up memory.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    words: &'static [AtomicU64],
}

impl Shared {
    /// Maps the first `size` bytes of `file`, a sealed one at least that large.
    ///
    /// # Errors
    ///
    /// `EACCES` or `EPERM` when `file` may not be mapped to write, `ENOMEM`, `EINVAL`
    /// when it is no file, too small, or its size is not sealed: a file that another
    /// process shrinks ends every process that has it mapped.
    pub fn map(file: Borrowed<'_>, size: usize) -> SysResult<Self> {
        let sealed = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
        // SAFETY: F_GET_SEALS touches no memory.
        let seals = check(unsafe { call::fcntl(file.number(), libc::F_GET_SEALS, 0) })?;
        let mut last = [0];
        let whole = super::fd::read_at(file, &mut last, size - 1)? == 1;
        if seals & sealed != sealed || !whole {
            return Err(super::Errno(libc::EINVAL));
        }
        Self::of(libc::MAP_SHARED, file.number(), size)
    }

    /// Memory that this process will share with those it forks.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn anonymous(size: usize) -> SysResult<Self> {
        Self::of(libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, size)
    }

    fn of(flags: libc::c_int, number: libc::c_int, size: usize) -> SysResult<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = flags | libc::MAP_NORESERVE;
        // SAFETY: the kernel chooses the place, so nothing mapped is replaced.
        let start = unsafe { call::mmap(ptr::null_mut(), size, access, flags, number, 0) };
        if start == libc::MAP_FAILED {
            return Err(last_errno());
        }
        let start = NonNull::new(start).expect("mmap(2) gives no null").cast();
        let count = size / size_of::<AtomicU64>();
        // SAFETY: the mapping is page-aligned, `size` bytes of zeroes or of a
        // file whose size is sealed, is never unmapped, and every process
        // touches it by atomic operations alone.
        let words = unsafe { core::slice::from_raw_parts(start.as_ptr(), count) };
        Ok(Self { words })
    }

    /// The word at `index`.
    ///
    /// # Panics
    ///
    /// When `index` is beyond the size.
    pub const fn word(&self, index: usize) -> &'static AtomicU64 {
        &self.words[index]
    }
}
