//! The environment: environ(7).

use super::{SysResult, file};
use crate::sys::threads::{self, Threads};
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

/// The value of `name`, copied.
pub fn var(name: &CStr) -> Option<CString> {
    all().iter().find_map(|entry| {
        let value = entry.to_bytes().strip_prefix(name.to_bytes())?;
        CString::new(value.strip_prefix(b"=")?).ok()
    })
}

/// The value of `name`, which is taken away, so that no process below sees it.
///
/// With more than one thread it is left where it is: another one might be
/// reading the environment.
pub fn take(name: &CStr) -> Option<CString> {
    let value = var(name)?;
    if threads::threads() == Threads::One {
        // SAFETY: `name` is a C string, and no other thread reads meanwhile.
        unsafe { libc::unsetenv(name.as_ptr()) };
    }
    Some(value)
}

/// The path that this process was executed by, as it was given: `AT_EXECFN` of getauxval(3).
pub fn executed() -> Option<&'static CStr> {
    // SAFETY: getauxval takes a number and touches no memory of ours.
    let place = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    // SAFETY: the kernel has put a C string there, which stays.
    (!place.is_null()).then(|| unsafe { CStr::from_ptr(place) })
}

/// The words that this process was started with, the program's name first.
///
/// Needs `/proc`: the C library hands them to `main` alone.
///
/// # Errors
///
/// `ENOENT` without `/proc`, `EFBIG` when they are larger than any that execve(2) takes.
pub fn arguments() -> SysResult<Vec<CString>> {
    /// A quarter of the largest stack that execve(2) counts with.
    const MOST: usize = 6 << 20;
    let bytes = file::read(c"/proc/self/cmdline", MOST)?;
    // Each word ends with a NUL.
    Ok(bytes.split_inclusive(|&byte| byte == 0).filter_map(word).collect())
}

fn word(bytes: &[u8]) -> Option<CString> {
    CStr::from_bytes_with_nul(bytes).ok().map(CStr::to_owned)
}

/// Every `NAME=value`, copied.
pub fn all() -> Vec<CString> {
    let mut entries = Vec::new();
    // SAFETY: the C library keeps `environ` valid; we only read the pointer.
    let mut next = unsafe { environ };
    if next.is_null() {
        return entries;
    }
    loop {
        // SAFETY: `next` points into environ, at or before its closing null.
        let entry = unsafe { next.read() };
        if entry.is_null() {
            return entries;
        }
        // SAFETY: an entry of environ is a C string; it is copied at once.
        entries.push(unsafe { CStr::from_ptr(entry) }.to_owned());
        // SAFETY: the closing null was not reached, so one more follows.
        next = unsafe { next.add(1) };
    }
}
