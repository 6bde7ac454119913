//! The notify socket of a generation: a path that its user alone can reach.
//!
//! Each generation has a directory of its own, with mode 0700 and its user's:
//! beside the pid file, named like it with main's pid and the generation's
//! number, or under a name that cannot be guessed in the first of
//! `$RUNTIME_DIRECTORY`, `$XDG_RUNTIME_DIR`, `/dev/shm` and `/tmp` that will do.
//! The socket of main stands in it as `notify`; a pool puts one for each of its
//! programs beside it, named as [`is_ours`] says. The socket is given away before
//! its directory is, so that there is no moment in which its user could have put
//! something else there.
//!
//! Main takes a directory away when its generation is over, and at a start those
//! of mains that are dead: a directory that is named so, private, and has nothing
//! in it but sockets named so, at which no process listens. Anything else stays.
//! What stands at such a path may be a stranger's by then, on a file server that
//! does not answer: main opens it only when it knows whose it is.

use crate::error::{Result, cannot};
use crate::persist::persisted;
use crate::sys::directory::{self, Owner};
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::file::{self, Identity};
use crate::sys::{self, Errno, env, host, process, socket};
use crate::types::{Account, Generation};
use crate::{decimal, text};
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

/// The socket of main, in the directory.
const NAME: &[u8] = b"notify";
/// What a socket of a pool begins with; a number follows.
const WORKER: &[u8] = b"worker.";
/// How many bytes the longest name in the directory has, with a slash before it:
/// the socket of a pool, with a number of ten digits.
const LONGEST: usize = 18;
/// The longest path of a socket.
const MOST: usize = 107;
/// About how many entries of a directory are looked at: more than a pool has sockets,
/// which is one for each of the 32,768 rows of a board.
const ENTRIES: usize = 65_536;

/// A directory that main has made for a generation, which goes with this. It has
/// no path where the socket is an abstract one.
#[derive(Debug)]
pub(super) struct SocketDirectory {
    path: CString,
    identity: Option<Identity>,
}

persisted! { struct SocketDirectory { path, identity } }

impl SocketDirectory {
    /// Takes it away, if it is still what was made; says whether it stands because
    /// no descriptor is free. What is in it and none of ours stays, and the
    /// directory with it.
    pub fn remove(&mut self) -> bool {
        let Some(identity) = self.identity else { return false };
        match open_if(&self.path, &|there, _| there == identity) {
            Err(Errno(libc::EMFILE | libc::ENFILE)) => return true,
            Err(_) => {}
            Ok(directory) => {
                let _ = empty(directory.borrow(), &self.path);
            }
        }
        self.identity = None;
        false
    }
}

impl Drop for SocketDirectory {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Opens the directory at `path` if `is_it`, which is asked before.
fn open_if(path: &CStr, is_it: &dyn Fn(Identity, Owner) -> bool) -> sys::SysResult<Fd> {
    let (identity, owner) = directory::look(path)?;
    if is_it(identity, owner) {
        let directory = file::open(path, file::Mode::Directory)?;
        if file::identity(directory.borrow())? == identity {
            return Ok(directory);
        }
    }
    Err(Errno(libc::ENOENT))
}

/// Takes the sockets of ours out of a directory, and the directory away.
fn empty(directory: Borrowed<'_>, path: &CStr) -> sys::SysResult<()> {
    for name in directory::entries(directory, ENTRIES, &is_ours)? {
        if directory::is_socket_in(directory, &name) {
            directory::unlink_in(directory, &name)?;
        }
    }
    directory::remove_directory(path)
}

/// Whether a socket in such a directory is one of Panzer's: `notify`, or `worker.`
/// and a number.
fn is_ours(name: &[u8]) -> bool {
    let number = name.strip_prefix(WORKER);
    name == NAME || number.is_some_and(|number| decimal::parse(number, u32::MAX).is_some())
}

/// Makes the notify socket of a generation: the socket, its directory, and what
/// `NOTIFY_SOCKET` says of it. A path `beside` the pid file is the best place; where
/// there is none, it is an abstract one, and is told why.
///
/// # Errors
///
/// When not even an abstract one can be made.
pub(super) fn open(
    generation: Generation,
    beside: Option<&CStr>,
    user: Option<&Account>,
    tell_abstract: impl FnOnce(Errno),
) -> Result<(Fd, SocketDirectory, CString)> {
    let mut reason = Errno(libc::ENOENT);
    for path in candidates(generation, beside) {
        match make(&path, user) {
            Ok((socket, home, name)) => return Ok((socket, home, name)),
            Err(errno) => reason = errno,
        }
    }
    tell_abstract(reason);
    let (socket, name) = socket::notify_socket().map_err(cannot("create a notify socket"))?;
    let home = SocketDirectory { path: CString::default(), identity: None };
    Ok((socket, home, joined(&[b"@", &name])))
}

/// Where the directory of a generation may stand, the best place first.
fn candidates(generation: Generation, beside: Option<&CStr>) -> Vec<CString> {
    let own = text::compose(format_args!(".{}.{generation}", process::id()));
    let mut paths: Vec<_> =
        beside.iter().map(|stem| joined(&[stem.to_bytes(), own.as_bytes()])).collect();
    if let Ok(random) = host::random() {
        let name = text::compose(format_args!("/panzer{own}.{random:016x}"));
        let places = places();
        paths.extend(places.iter().map(|place| joined(&[place.to_bytes(), name.as_bytes()])));
    }
    paths
}

/// Takes away what mains that are dead have left behind. The pid file is ours.
pub(super) fn remove_leftovers(beside: Option<&CStr>, user: Option<&Account>) {
    let mut places = places();
    let mut stems: Vec<CString> = places.iter().map(|_| joined(&[b"panzer"])).collect();
    if let Some(stem) = beside
        && let Some(slash) = stem.to_bytes().iter().rposition(|&byte| byte == b'/')
    {
        let (place, name) = stem.to_bytes().split_at(slash + 1);
        places.push(joined(&[place]));
        stems.push(joined(&[name]));
    }
    let users = [process::user(), user.map_or(0, |account| account.user)];
    for (place, stem) in places.iter().zip(&stems) {
        let Ok(directory) = file::open(place, file::Mode::Directory) else { continue };
        let is_leftover = |name: &[u8]| is_leftover(name, stem.to_bytes());
        let found = directory::entries(directory.borrow(), ENTRIES, &is_leftover);
        for name in found.unwrap_or_default() {
            remove_dead(&joined(&[place.to_bytes(), b"/", name.to_bytes()]), users);
        }
    }
}

/// The directories in which every user may have one of its own, as far as they are
/// named.
fn places() -> Vec<CString> {
    let first = |name: &CStr| {
        let value = env::var(name)?;
        let first = value.to_bytes().split(|&byte| byte == b':').next()?;
        first.starts_with(b"/").then(|| joined(&[first]))
    };
    let named = [first(c"RUNTIME_DIRECTORY"), first(c"XDG_RUNTIME_DIR")];
    let usual = [c"/dev/shm", c"/tmp"].map(CString::from);
    named.into_iter().flatten().chain(usual).collect()
}

/// Whether `name` is `stem`, a pid and a generation, and perhaps a random number.
fn is_leftover(name: &[u8], stem: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix(b".")) else {
        return false;
    };
    let mut parts = rest.split(|&byte| byte == b'.');
    let is_number = |part: Option<&[u8]>| {
        part.is_some_and(|part| decimal::parse(part, i32::MAX.unsigned_abs()).is_some())
    };
    let is_random = |part: &[u8]| part.len() == 16 && part.iter().all(u8::is_ascii_hexdigit);
    is_number(parts.next())
        && is_number(parts.next())
        && parts.next().is_none_or(is_random)
        && parts.next().is_none()
}

/// Takes a directory away that is certainly a dead main's: one of these users',
/// private, and with a `notify` in it and nothing but sockets of ours at which no
/// process listens.
fn remove_dead(path: &CStr, users: [u32; 2]) {
    let is_private = |_, owner: Owner| owner.mode == 0o700 && users.contains(&owner.user);
    let Ok(directory) = open_if(path, &is_private) else { return };
    let directory = directory.borrow();
    let names = directory::entries(directory, ENTRIES, &|_| true).unwrap_or_default();
    // Of more names than are looked at, the others may be anything.
    let is_all_ours = names.len() < ENTRIES
        && names
            .iter()
            .all(|name| is_ours(name.to_bytes()) && directory::is_socket_in(directory, name));
    // The pool of a dead main may still be draining.
    let is_refused = |name: &CString| {
        let socket = joined(&[path.to_bytes(), b"/", name.to_bytes()]);
        socket::connect_notify(socket.to_bytes())
            .is_err_and(|errno| errno == Errno(libc::ECONNREFUSED))
    };
    let is_dead =
        || names.iter().any(|name| name.to_bytes() == NAME) && names.iter().all(is_refused);
    if is_all_ours && is_dead() {
        // Whatever fails is left behind once more.
        let _ = empty(directory, path);
    }
}

/// Makes the directory `path` with the socket in it, and gives them to `user`.
fn make(path: &CStr, user: Option<&Account>) -> sys::SysResult<(Fd, SocketDirectory, CString)> {
    if path.to_bytes().len() + LONGEST > MOST {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    if let Some(user) = user
        && !may_reach(path, user)
    {
        return Err(Errno(libc::EACCES));
    }
    directory::make_directory(path)?;
    let directory = file::open(path, file::Mode::Directory)
        .inspect_err(|_| directory::remove_directory(path).unwrap_or_default())?;
    // What was made goes by the descriptor that is open: there may be no other.
    let (socket, identity, name) = furnish(directory.borrow(), path, user)
        .inspect_err(|_| empty(directory.borrow(), path).unwrap_or_default())?;
    Ok((socket, SocketDirectory { path: path.into(), identity: Some(identity) }, name))
}

/// Puts the socket into a directory that is new, and gives both to `user`.
fn furnish(
    directory: Borrowed<'_>,
    path: &CStr,
    user: Option<&Account>,
) -> sys::SysResult<(Fd, Identity, CString)> {
    let identity = file::identity(directory)?;
    directory::make_private(directory)?;
    let name = joined(&[path.to_bytes(), b"/", NAME]);
    // Where what follows fails, it is closed here: no other process can reach it yet.
    let socket = socket::notify_socket_at(&name)?;
    if let Some(user) = user {
        file::give_socket(&name, user)?;
        directory::give(directory, user)?;
    }
    Ok((socket, identity, name))
}

/// Whether `user` may search every directory on the way to `path`, as far as
/// their modes say.
fn may_reach(path: &CStr, user: &Account) -> bool {
    let bytes = path.to_bytes();
    let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    user.user == 0
        || slashes.map(|(at, _)| joined(&[&bytes[..at], b"/"])).all(|directory| {
            directory::ownership_at(&directory).is_ok_and(|owner| {
                let shift = match () {
                    () if owner.user == user.user => 6,
                    () if owner.group == user.group || user.groups.contains(&owner.group) => 3,
                    () => 0,
                };
                owner.mode >> shift & 1 != 0
            })
        })
}

/// Parts of which none holds a NUL, one after the other.
fn joined(parts: &[&[u8]]) -> CString {
    CString::new(parts.concat()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_made_by_main_are_leftovers() {
        for name in [&b"web.12.3"[..], b"web.1.1", b"web.12.3.0123456789abcdef"] {
            assert!(is_leftover(name, b"web"), "{name:?}");
        }
        for name in [
            &b"web"[..],
            b"web.12",
            b"web.12.",
            b"web.12.x",
            b"web..3",
            b"web.12.3.4",
            b"webs.12.3",
            b"web.12.3.0123456789abcdef.1",
            b"web.12.3.0123456789abcdeg",
            b"web-12.3",
            b"",
        ] {
            assert!(!is_leftover(name, b"web"), "{name:?}");
        }
    }

    #[test]
    fn only_notify_and_worker_sockets_are_panzers() {
        assert!(is_ours(b"notify") && is_ours(b"worker.7"));
        assert!(!is_ours(b"notify2") && !is_ours(b"worker.") && !is_ours(b"worker.x"));
    }
}
