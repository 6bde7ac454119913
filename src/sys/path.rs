//! What stands at a path: statx(2), access(2), realpath(3).

use super::{SysResult, check, file, last_errno};
use crate::sys::file::Identity;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

/// Which file `path` leads to, links followed.
///
/// # Errors
///
/// `ENOENT` when there is none, `EACCES` when the way there is barred.
pub fn identity(path: &CStr) -> SysResult<Identity> {
    file::stat(libc::AT_FDCWD, path, 0).map(|stat| Identity::of(&stat))
}

/// Whether both paths lead to the same file, links followed.
pub fn same(one: &CStr, other: &CStr) -> bool {
    identity(one).is_ok_and(|one| identity(other) == Ok(one))
}

fn is(path: &CStr, flags: libc::c_int, kind: libc::mode_t) -> SysResult<bool> {
    let stat = file::stat(libc::AT_FDCWD, path, flags)?;
    Ok(libc::mode_t::from(stat.stx_mode) & libc::S_IFMT == kind)
}

/// Whether a directory stands there, links followed.
///
/// # Errors
///
/// Those of [`identity`].
pub fn is_directory(path: &CStr) -> SysResult<bool> {
    is(path, 0, libc::S_IFDIR)
}

/// Whether a symbolic link stands there.
pub fn is_link(path: &CStr) -> bool {
    is(path, libc::AT_SYMLINK_NOFOLLOW, libc::S_IFLNK) == Ok(true)
}

/// Whether our real user may execute what stands there.
pub fn is_executable(path: &CStr) -> bool {
    // SAFETY: the path is a C string; access touches no other memory.
    check(unsafe { libc::access(path.as_ptr(), libc::X_OK) }).is_ok()
}

/// The absolute path to the same file, without links on the way.
///
/// # Errors
///
/// Those of [`identity`]; `ENAMETOOLONG`.
pub fn resolve(path: &CStr) -> SysResult<CString> {
    let mut real: Vec<u8> = alloc::vec![0; libc::PATH_MAX as usize];
    // SAFETY: the path is a C string, `real` writable for the PATH_MAX bytes that
    // realpath stores at most.
    if unsafe { libc::realpath(path.as_ptr(), real.as_mut_ptr().cast()) }.is_null() {
        return Err(last_errno());
    }
    real.truncate(real.iter().position(|&byte| byte == 0).unwrap_or(real.len()));
    CString::new(real).map_err(|_| super::Errno(libc::EINVAL))
}
