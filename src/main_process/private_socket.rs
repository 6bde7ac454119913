//! A listening Unix socket that only main's own user and root may connect to.

use crate::shared::listening_socket::SocketPath;
use crate::sys::fd::Fd;
use crate::sys::socket::{self, unix_server as kernel};
use crate::sys::{self, Errno, file, process};
use alloc::borrow::ToOwned as _;
use core::ffi::CStr;

/// Listens at `path`. What a dead main has left there makes room.
///
/// # Errors
///
/// `EADDRINUSE` for anything else that stands there, and those of bind(2).
pub(super) fn listen(path: &CStr) -> sys::SysResult<(Fd, SocketPath)> {
    let listener = match kernel::listen_private(path) {
        Err(in_use @ Errno(libc::EADDRINUSE)) => {
            let stale = file::private_socket_at(path, process::user()).ok_or(in_use)?;
            if socket::answers(path)? {
                return Err(in_use);
            }
            file::remove(path, stale)?;
            kernel::listen_private(path)?
        }
        listener => listener?,
    };
    // A request has none. Older kernels do not know it.
    let _ = socket::refuse_descriptors(listener.borrow());
    // Another one's, if it was replaced in between: then it is not ours to remove.
    let identity = file::private_socket_at(path, process::user()).ok_or(Errno(libc::EADDRINUSE))?;
    Ok((listener, SocketPath::named(path.to_owned(), identity)))
}
