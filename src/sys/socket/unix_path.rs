//! Unix sockets at paths of any length: unix(7), proc(5).
//!
//! An address holds a path of at most 107 bytes. A longer one is reached through
//! a descriptor of its directory, as `/proc/self/fd/N/NAME`.

use super::KernelAddress;
use crate::sys::fd::Fd;
use crate::sys::file::{self, Mode};
use crate::sys::{Errno, SysResult};
use crate::text;
use alloc::ffi::CString;
use core::ffi::CStr;

/// The most bytes of a path that fit into an address, beside its final NUL.
const LONGEST: usize = 107;

/// Whether an address holds no path as long as this one, so that bind(2) and
/// connect(2) go by a directory, and getsockname(2) does not tell the path.
pub const fn is_long(path: &CStr) -> bool {
    path.count_bytes() > LONGEST
}

/// The address of a path, and what it needs to stay one.
///
/// Use it at once for bind(2) or connect(2): a long path means a descriptor of
/// this process, which is closed with this value. A directory that is renamed
/// meanwhile is still the one that was meant.
pub(super) struct UnixPath {
    pub(super) address: KernelAddress,
    /// Open as long as the address of a long path is used.
    _directory: Option<Fd>,
}

impl UnixPath {
    /// The address of `path`, which is not opened.
    ///
    /// Blocks as open(2) of the directory does, and that only for a long path.
    ///
    /// # Errors
    ///
    /// `ENAMETOOLONG` when the last part of a long path is longer than about 85
    /// bytes, and for any long path where /proc is not mounted; `ENOENT`,
    /// `EACCES`, `ENOTDIR`, `EMFILE` when its directory cannot be opened.
    pub(super) fn of(path: &CStr) -> SysResult<Self> {
        if !is_long(path) {
            return Ok(Self { address: KernelAddress::unix(path.to_bytes())?, _directory: None });
        }
        let bytes = path.to_bytes();
        let end = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (directory, name) = bytes.split_at(end);
        if directory.is_empty() {
            return Err(Errno(libc::ENAMETOOLONG));
        }
        // It ends in a slash, so the last link on the way is followed too.
        let directory = CString::new(directory).map_err(|_| Errno(libc::EINVAL))?;
        let directory = file::open(&directory, Mode::Hold)?;
        let number = directory.borrow().number().unsigned_abs();
        let way = text::compose(format_args!("/proc/self/fd/{number}/"));
        let address = KernelAddress::unix(&[way.as_bytes(), name].concat())?;
        let way = CString::new(way).map_err(|_| Errno(libc::EINVAL))?;
        if file::identity_at(&way) != file::identity(directory.borrow()) {
            return Err(Errno(libc::ENAMETOOLONG));
        }
        Ok(Self { address, _directory: Some(directory) })
    }
}
