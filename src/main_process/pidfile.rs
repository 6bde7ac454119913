//! The pid file: which process is main, for as long as it is.
//!
//! It is locked for main's life, and the lock is what counts: the kernel names
//! its holder, and takes it away from the dead. What stands in the file is for
//! people, and for a check.
//!
//! A new file is written, on the disk and locked before it has a name. At a free
//! path it is given the name, which fails if a file stands there by then. A file
//! that a dead main has left is locked first, then it is checked that the path
//! still leads to it, then the new file is renamed over it, and only then is the
//! old one let go. So there is never a moment without a locked file, half a number
//! is never read, and of two that start at once one finds the other's lock.
//!
//! Only what a main of this user can have left is replaced: a regular file of our
//! user with mode 0600, one name, and a process number in the form that main
//! writes. Everything else is refused. An empty file is refused too: main leaves
//! none, not even when the machine loses its power.
//!
//! The lock would end if main closed any other descriptor of the file. What an
//! operator names, which may be this file, is read by children of main alone.

use crate::persist::persisted;
use crate::shared::listening_socket::SocketPath;
use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::file::{self, FileKind};
use crate::sys::new_file::NewFile;
use crate::sys::{self, Errno, lock, process};
use crate::types::Pid;
use crate::{decimal, text};
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use core::ffi::CStr;

/// More bytes than a pid and its newline have.
const LONGEST: usize = 16;
/// How often to look again when others come and go at the same path.
const ROUNDS: u32 = 100;
/// How the name of a main's process begins, as the kernel has it.
const MAIN: &[u8] = b"panzer";

/// The pid file of this process, locked until it is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: SocketPath,
    file: Fd,
}

persisted! { struct PidFile { path, file } }

impl PidFile {
    /// Its path.
    pub fn name(&self) -> &CStr {
        self.path.name()
    }

    /// Takes it away if it is still ours.
    pub fn remove(&self) {
        self.path.remove();
    }

    /// Makes it anew where it does not stand any more: a cleaner may have taken it
    /// away. Says whether that was so. Blocks where the file system does.
    ///
    /// # Errors
    ///
    /// `EEXIST` when something else stands there by now, and those of [`take`].
    pub fn renew(&mut self) -> sys::SysResult<bool> {
        if !self.path.is_lost() {
            return Ok(false);
        }
        match take(self.path.name())? {
            Taken::Ours(file) => *self = file,
            Taken::Held(_) | Taken::Strange => return Err(Errno(libc::EEXIST)),
        }
        Ok(true)
    }
}

/// What came of wanting the pid file.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Ours(PidFile),
    /// Another process has it locked; nothing was touched.
    Held(Holder),
    /// What stands there is nothing that a main of this user has left; nothing was
    /// touched.
    Strange,
}

/// Another process that has the pid file locked.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    /// Its number, if this pid namespace has one for it.
    pub pid: Option<Pid>,
    /// Whether it may be a main of ours: the file is our user's or root's, and the
    /// process has a main's name, or one that cannot be read. What stands in the
    /// file does not count: a main that starts locks the file of a dead one.
    pub is_main: bool,
}

/// Makes `path` the pid file of this process. Blocks as long as the disk needs to
/// store a few bytes.
///
/// # Errors
///
/// What is wrong with the path or the disk.
pub fn take(path: &CStr) -> sys::SysResult<Taken> {
    for _ in 0..ROUNDS {
        let taken = match lock::open(path) {
            Err(Errno(libc::ENOENT)) => make(path, NewFile::name).map(Some),
            Err(Errno(libc::ELOOP | libc::EISDIR | libc::ENXIO)) => return Ok(Taken::Strange),
            Err(errno) => return Err(errno),
            Ok(file) => take_over(path, &file),
        };
        match taken {
            Ok(Some(taken)) => return Ok(taken),
            Ok(None) | Err(Errno(libc::EEXIST)) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno(libc::EBUSY))
}

/// Locks the `old` file that is there, and puts a new one in its place if a main
/// that is dead has left it. `None`: look again.
fn take_over(path: &CStr, old: &Fd) -> sys::SysResult<Option<Taken>> {
    let old = old.borrow();
    let identity = file::identity(old)?;
    if identity.kind() != FileKind::Regular {
        return Ok(Some(Taken::Strange));
    }
    let is_locked = lock::lock(old)?;
    if !is_locked {
        // A lock that is gone by now holds nothing any more: look again.
        return Ok(lock::is_held(old).then(|| Taken::Held(holder(old))));
    }
    if !file::is_at(path, identity) {
        return Ok(None);
    }
    if !file::is_private(old, process::user()) || !has_form(old)? {
        return Ok(Some(Taken::Strange));
    }
    make(path, NewFile::replace).map(Some)
}

/// Writes a file with our number and locks it, and has `place` put it at `path`.
fn make(path: &CStr, place: fn(NewFile, &CStr) -> sys::SysResult<Fd>) -> sys::SysResult<Taken> {
    let new = NewFile::create(path, content(process::id()).as_bytes())?;
    if !lock::lock(new.fd())? {
        return Err(Errno(libc::EBUSY));
    }
    let identity = file::identity(new.fd())?;
    let file = place(new, path)?;
    Ok(Taken::Ours(PidFile { path: SocketPath::named(path.to_owned(), identity), file }))
}

/// The process that has locked the file.
fn holder(file: Borrowed<'_>) -> Holder {
    let pid = lock::holder(file);
    let owner = file::owner(file);
    let is_trusted = owner.is_ok_and(|owner| owner == 0 || owner == process::user());
    Holder { pid, is_main: is_trusted && pid.is_none_or(looks_like_main) }
}

/// Whether a process has a main's name, or one that cannot be read.
fn looks_like_main(pid: Pid) -> bool {
    let path = CString::new(text::compose(format_args!("/proc/{pid}/comm")));
    let name = path.ok().and_then(|path| file::read(&path, LONGEST).ok());
    name.is_none_or(|name| name.starts_with(MAIN))
}

/// Whether the file has what a main writes into it, and nothing else.
fn has_form(file: Borrowed<'_>) -> sys::SysResult<bool> {
    let room = &mut [0; LONGEST];
    let length = fd::read_at(file, room, 0)?;
    let text = room.get(..length).unwrap_or_default();
    let digits = text.strip_suffix(b"\n").unwrap_or_default();
    let number = decimal::parse(digits, i32::MAX.unsigned_abs());
    let pid = number.and_then(|number| Pid::new(number.cast_signed()));
    Ok(pid.is_some_and(|pid| text == content(pid).as_bytes()))
}

/// What stands in the pid file of a process.
fn content(pid: Pid) -> alloc::string::String {
    text::compose(format_args!("{pid}\n"))
}
