//! The notify sockets of programs: each has a path of its own in the directory of
//! its generation, which main has made and takes away.
//!
//! What is sent there may hang the process that closes it, so the pool only peeks at
//! it; see [`inbox`](crate::shared::inbox).

use crate::error::{Result, cannot};
use crate::shared::closer::Closing;
use crate::shared::inbox::Inbox;
use crate::shared::listening_socket::SocketPath;
use crate::sys::socket;
use crate::text;
use alloc::ffi::CString;
use core::ffi::CStr;

/// Where the sockets of a pool stand.
pub(super) struct ProgramSockets {
    /// `None` where main's own socket is an abstract one.
    directory: Option<CString>,
    made: u32,
    pub(super) closing: Closing,
}

/// The socket of one program.
pub(super) struct ProgramSocket {
    pub(super) inbox: Inbox,
    path: Option<SocketPath>,
}

impl ProgramSockets {
    /// Beside the socket that `NOTIFY_SOCKET` names.
    pub(super) fn beside(socket: Option<&CStr>) -> Self {
        let directory = socket.and_then(|path| {
            let bytes = path.to_bytes();
            let slash = bytes.iter().rposition(|&byte| byte == b'/')?;
            CString::new(bytes.get(..slash)?).ok()
        });
        Self { directory, made: 0, closing: Closing::new() }
    }

    /// Makes the socket of the next program, and says what `NOTIFY_SOCKET` is to be.
    /// An abstract one where there is no path for it.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENFILE`.
    pub(super) fn make(&mut self) -> Result<(ProgramSocket, CString)> {
        self.made = self.made.wrapping_add(1);
        let path = self.directory.as_ref().and_then(|directory| {
            let name = text::compose(format_args!("/worker.{}", self.made));
            CString::new([directory.to_bytes(), name.as_bytes()].concat()).ok()
        });
        if let Some(path) = path
            && let Ok(socket) = socket::notify_socket_at(&path)
        {
            let inbox = Inbox::new(socket);
            return Ok((ProgramSocket { inbox, path: SocketPath::at(path.clone()) }, path));
        }
        let (socket, name) = socket::notify_socket().map_err(cannot("create a notify socket"))?;
        let name = CString::new([b"@", &*name].concat()).unwrap_or_default();
        Ok((ProgramSocket { inbox: Inbox::new(socket), path: None }, name))
    }

    /// Takes a socket away with its program, or where that could not be started. What
    /// waits in it may hang its closer.
    pub(super) fn remove(&mut self, socket: ProgramSocket) {
        if let Some(path) = &socket.path {
            path.remove();
        }
        socket.inbox.close(&mut self.closing);
    }
}
