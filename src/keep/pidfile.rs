//! The pid file: which process is main, for as long as it is.
//!
//! It is locked for main's life, and the lock is what counts: the kernel names
//! its holder, and takes it away from the dead. What stands in the file is for
//! people, and for a check.
//!
//! A file that is there is locked first, then replaced by one that was written
//! and locked beside it. So nobody ever reads half a number, and of two that
//! start at once one finds the other's lock, or a file that is not the one at
//! the path any more, and looks again.
//!
//! Only a pid file is replaced: an empty one, or one with a number in it.
//! Whatever else stands at the path is somebody else's.

use super::socket::Path;
use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::file::{self, Kind};
use crate::sys::lock::{self, Which};
use crate::sys::{self, Errno, process};
use crate::tape::taped;
use crate::text;
use crate::types::Pid;
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use core::ffi::CStr;

/// More bytes than a pid and its newline have.
const LONGEST: usize = 16;
/// How often to look again when others come and go at the same path.
const ROUNDS: u32 = 100;

/// The pid file of this process, locked until it is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: Path,
    file: Fd,
}

taped! { struct PidFile { path, file } }

impl PidFile {
    /// Locks it again. Whoever has read and closed the same file, which an option
    /// may name too, has ended the lock with it.
    pub fn hold(&self) {
        // One that another main has by now is its.
        let _ = lock::lock(self.file.borrow());
    }

    /// Takes it away if it is still ours.
    pub fn remove(&self) {
        self.path.remove();
    }
}

/// What came of wanting the pid file.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Ours(PidFile),
    /// It is another main's, which runs; nothing was touched.
    Held(Option<Pid>),
    /// What stands there is no pid file; nothing was touched.
    Strange,
}

/// Makes `path` the pid file of this process.
///
/// # Errors
///
/// What is wrong with the path or the disk; nothing was changed then.
pub fn take(path: &CStr) -> sys::Result<Taken> {
    for _ in 0..ROUNDS {
        let old = match lock::open(path, Which::Old) {
            // Two that start at once have to compete for the lock of one file.
            Err(Errno(libc::ENOENT)) => lock::open(path, Which::New),
            opened => opened,
        };
        let taken = match old {
            Ok(old) => take_over(path, old.borrow()),
            Err(Errno(libc::EEXIST)) => Ok(None),
            Err(Errno(libc::ELOOP | libc::EISDIR | libc::ENXIO)) => return Ok(Taken::Strange),
            Err(errno) => return Err(errno),
        };
        if let Some(taken) = taken? {
            return Ok(taken);
        }
    }
    Err(Errno(libc::EBUSY))
}

/// Locks what is there and replaces it; `None` when it is not there any more.
fn take_over(path: &CStr, old: Borrowed<'_>) -> sys::Result<Option<Taken>> {
    let there = file::identity(old)?;
    if there.kind() != Kind::Regular {
        return Ok(Some(Taken::Strange));
    }
    if !lock::lock(old)? {
        // One that has gone meanwhile holds nothing any more: look again.
        return Ok(lock::is_held(old).then(|| Taken::Held(lock::holder(old))));
    }
    if !file::is_at(path, there) {
        return Ok(None);
    }
    let text = &mut [0; LONGEST];
    let length = fd::read_at(old, text, 0)?;
    if !is_pid_file(&text[..length]) {
        return Ok(Some(Taken::Strange));
    }
    let written = replace(path);
    if written.is_err() && length == 0 {
        // Nothing is lost with it, and perhaps it is of our own making.
        let _ = file::unlink(path);
    }
    written.map(|file| Some(Taken::Ours(file)))
}

/// Whether this is nothing, or a number.
fn is_pid_file(text: &[u8]) -> bool {
    let is_fit = |byte: &u8| byte.is_ascii_digit() || *byte == b'\n';
    text.len() < LONGEST && text.iter().all(is_fit)
}

/// Writes and locks a file beside `path`, and gives it that name.
fn replace(path: &CStr) -> sys::Result<PidFile> {
    let beside = beside(path);
    let new = lock::open(&beside, Which::New)?;
    let filled = fill(new.borrow());
    let named = filled.and_then(|()| name(&beside, path));
    Ok(PidFile { path: named.inspect_err(|_| remove(&beside))?, file: new })
}

fn fill(file: Borrowed<'_>) -> sys::Result<()> {
    let text = text::compose(format_args!("{}\n", process::id()));
    if fd::write(file, text.as_bytes())? != text.len() {
        return Err(Errno(libc::ENOSPC));
    }
    // Nobody else can have opened it to write: it is ours, and a moment old.
    lock::lock(file).map(drop)
}

/// Takes away what did not come to be the file it was made for.
pub(super) fn remove(beside: &CStr) {
    // Nobody is harmed by it but who looks into the directory.
    let _ = file::unlink(beside);
}

/// Gives a file beside `path` that name.
pub(super) fn name(beside: &CStr, path: &CStr) -> sys::Result<Path> {
    let identity = file::identity_at(beside)?;
    lock::rename(beside, path)?;
    Ok(Path::named(path.to_owned(), identity))
}

/// The path of a file beside `path`, where nothing stands now. What stood there
/// was left by a main that died: only the holder of the lock makes this file.
pub(super) fn beside(path: &CStr) -> CString {
    let beside = CString::new([path.to_bytes(), b".new"].concat()).unwrap_or_default();
    remove(&beside);
    beside
}
