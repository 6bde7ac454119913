//! Opening a listening socket, and letting it go for good.
//!
//! The same for main's `--bind` and for the library's `listen`.

use crate::error::{Error, Result};
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::file::{self, Identity, Kind};
use crate::sys::socket::{self, Name};
use crate::sys::{self, Errno};
use crate::tape::{Tape, Taped, taped};
use crate::types::Account;
use crate::words::address::Address;
use alloc::boxed::Box;
use alloc::ffi::CString;
use core::ffi::CStr;

/// Opens a listening socket at `address`; a Unix path is given to `owner`, if
/// that is not who we are.
///
/// A Unix path at which nobody listens any more is taken over; one at which
/// somebody does is refused.
///
/// # Errors
///
/// `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`, `ENOENT` and the like.
pub fn open(address: &Address, owner: Option<&Account>) -> Result<Fd> {
    let opened = match address {
        Address::Inet(address) => socket::listen_inet(address),
        Address::Unix(path) => open_unix(path, owner),
    };
    opened.map_err(|errno| Error::system(format_args!("cannot listen on {address}"), errno))
}

fn open_unix(path: &CStr, owner: Option<&Account>) -> sys::Result<Fd> {
    match socket::listen_unix(path, owner) {
        Err(in_use @ Errno(libc::EADDRINUSE)) => {
            let stale = file::identity_at(path).is_ok_and(|there| there.kind() == Kind::Socket);
            if !stale || socket::answers(path)? {
                return Err(in_use);
            }
            file::unlink(path)?;
            socket::listen_unix(path, owner)
        }
        opened => opened,
    }
}

/// The file that a Unix socket of ours stands at.
// One pointer: what is kept beside it is moved often.
#[derive(Clone, Debug)]
pub struct Path(Box<Named>);

#[derive(Clone, Debug)]
struct Named {
    path: CString,
    identity: Identity,
}

taped! { struct Named { path, identity } }

impl Taped for Path {
    fn blank() -> Self {
        Self(Box::new(Named::blank()))
    }

    fn tape(&mut self, tape: &mut Tape) {
        self.0.tape(tape);
    }
}

impl Path {
    /// Where `socket` stands, if that is a path from the root which is there.
    pub fn of(socket: Borrowed<'_>) -> Option<Self> {
        match socket::local_name(socket) {
            Ok(Name::Unix(path)) if path.to_bytes().starts_with(b"/") => {
                let identity = file::identity_at(&path).ok()?;
                (identity.kind() == Kind::Socket).then(|| Self::named(path, identity))
            }
            Ok(Name::Unix(_) | Name::Inet(_) | Name::Other) | Err(_) => None,
        }
    }

    /// What has been given the name `path`.
    #[inline(never)]
    pub fn named(path: CString, identity: Identity) -> Self {
        Self(Box::new(Named { path, identity }))
    }

    /// Takes the name away if it still is what it was.
    pub fn remove(&self) {
        if file::is_at(&self.0.path, self.0.identity) {
            // In a directory that is read-only by now it stays, and is taken
            // over by the next one who listens there.
            let _ = file::unlink(&self.0.path);
        }
    }
}

/// Has `socket` take no new connection: drops SYN, and takes the path away.
/// Those in the queue stay.
pub fn refuse_newcomers(socket: Borrowed<'_>, path: Option<&Path>) {
    if let Some(path) = path {
        return path.remove();
    }
    let tcp = matches!(socket::local_name(socket), Ok(Name::Inet(_)));
    if tcp && socket::kind(socket) == socket::Kind::Listening {
        // Without the filter the last clients may be reset, as with any other
        // server that stops; there is nothing better to do.
        let _ = socket::refuse_newcomers(socket);
    }
}
