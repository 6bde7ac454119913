//! Files that are whole before they have a name: open(2) with `O_TMPFILE`,
//! fdatasync(2), linkat(2), rename(2), renameat2(2), getrandom(2).
//!
//! Where the file system can do it, the file has no name at all until it gets
//! its own, so a crash leaves nothing of it behind. Elsewhere it stands in the
//! same directory under a name of 64 random bits, made with `O_EXCL`. To replace
//! another file it needs such a name too, from one system call to the next.

use super::{Errno, SysResult, call, check, clock, fd, file, process, retry_eintr};
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::file::Identity;
use crate::text;
use alloc::ffi::CString;
use core::ffi::CStr;

/// How often another random name is tried.
const ROUNDS: u32 = 8;
/// Only its owner may read or write it.
const OWNER: libc::c_int = 0o600;

/// A file that is to stand at a path, and does not yet. Dropped, it is gone.
#[derive(Debug)]
pub struct NewFile {
    fd: Fd,
    /// The name that it has meanwhile, if it needs one.
    provisional: Option<Provisional>,
}

/// A name that is taken away again while it is still this file's.
#[derive(Debug)]
struct Provisional {
    path: CString,
    identity: Identity,
}

impl Drop for Provisional {
    fn drop(&mut self) {
        // Where that fails by now, it is one small file with a telling name.
        let _ = file::remove(&self.path, self.identity);
    }
}

impl NewFile {
    /// Makes a file of mode 0600 in the directory of `path`, with this in it, and has
    /// the disk store that: what has a name is whole even after a loss of power.
    /// Nothing at `path` is touched.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`, `EROFS` for the directory, `ENOSPC`, `EMFILE`; nothing is
    /// left behind then.
    pub fn create(path: &CStr, bytes: &[u8]) -> SysResult<Self> {
        let directory = directory_of(path);
        let new = match Self::nameless(&directory) {
            Ok(new) => new,
            Err(_) => Self::provisional(&directory)?,
        };
        if fd::write(new.fd.borrow(), bytes)? != bytes.len() {
            return Err(Errno(libc::ENOSPC));
        }
        store(new.fd())?;
        Ok(new)
    }

    /// The file, open to read, write and lock it.
    pub const fn fd(&self) -> Borrowed<'_> {
        self.fd.borrow()
    }

    fn nameless(directory: &CStr) -> SysResult<Self> {
        // It is given its name by way of /proc.
        file::identity_at(c"/proc/self/fd")?;
        let flags = libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC;
        Ok(Self { fd: open(directory, flags)?, provisional: None })
    }

    fn provisional(directory: &CStr) -> SysResult<Self> {
        for _ in 0..ROUNDS {
            let path = joined(directory, random());
            let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
            match open(&path, flags | libc::O_RDWR | libc::O_CLOEXEC) {
                Err(Errno(libc::EEXIST)) => {}
                opened => {
                    let fd = opened?;
                    let identity = file::identity(fd.borrow())?;
                    return Ok(Self { fd, provisional: Some(Provisional { path, identity }) });
                }
            }
        }
        Err(Errno(libc::EEXIST))
    }

    /// Gives it the name `path`, in the directory that it was made for, and leaves it
    /// open.
    ///
    /// # Errors
    ///
    /// `EEXIST` when something stands there, `EACCES`, `EROFS`; the file is gone then.
    pub fn name(self, path: &CStr) -> SysResult<Fd> {
        match &self.provisional {
            None => link(&self.way()?, path)?,
            // The first is not known to every network file system, the other to
            // none that has no second names.
            Some(Provisional { path: from, .. }) => match rename_to_free(from, path) {
                Err(Errno(libc::EINVAL | libc::ENOSYS)) => link(from, path)?,
                renamed => renamed?,
            },
        }
        Ok(self.fd)
    }

    /// Puts it in the place of the file at `path`, in the directory that it was made
    /// for, and leaves it open: at every moment the path leads to one of the two.
    ///
    /// # Errors
    ///
    /// `EACCES`, `EROFS`, `ENOSPC`; the file is gone then, and `path` as it was.
    pub fn replace(mut self, path: &CStr) -> SysResult<Fd> {
        let from = match self.provisional.take() {
            Some(provisional) => provisional,
            None => self.link_beside(path)?,
        };
        rename(&from.path, path)?;
        Ok(self.fd)
    }

    /// Gives a file without a name one of 64 random bits beside `path`.
    fn link_beside(&self, path: &CStr) -> SysResult<Provisional> {
        let identity = file::identity(self.fd())?;
        let path = joined(&directory_of(path), random());
        link(&self.way()?, &path)?;
        Ok(Provisional { path, identity })
    }

    /// The path that leads to a file without a name.
    fn way(&self) -> SysResult<CString> {
        let number = self.fd().number().unsigned_abs();
        let way = text::compose(format_args!("/proc/self/fd/{number}"));
        CString::new(way).map_err(|_| Errno(libc::EINVAL))
    }
}

/// Waits until the disk has what was written to a file: fdatasync(2).
fn store(fd: Borrowed<'_>) -> SysResult<()> {
    // SAFETY: fdatasync takes a number and touches no memory.
    match retry_eintr(|| check(unsafe { libc::fdatasync(fd.number()) })) {
        // A file system that stores nothing.
        Ok(_) | Err(Errno(libc::EINVAL)) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn open(path: &CStr, flags: libc::c_int) -> SysResult<Fd> {
    // SAFETY: `path` is a C string; open touches no other memory.
    retry_eintr(|| check(unsafe { call::open(path.as_ptr(), flags, OWNER) })).map(Fd::own)
}

/// Gives the file that `from` leads to another name.
fn link(from: &CStr, to: &CStr) -> SysResult<()> {
    let (here, flags) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
    // SAFETY: both are C strings; linkat touches no other memory.
    check(unsafe { libc::linkat(here, from.as_ptr(), here, to.as_ptr(), flags) })?;
    Ok(())
}

/// Moves a file to a path, and takes away what stands there.
fn rename(from: &CStr, to: &CStr) -> SysResult<()> {
    // SAFETY: both are C strings; rename touches no other memory.
    check(unsafe { libc::rename(from.as_ptr(), to.as_ptr()) })?;
    Ok(())
}

/// Moves a file to a path at which nothing stands.
fn rename_to_free(from: &CStr, to: &CStr) -> SysResult<()> {
    let (here, flags) = (libc::AT_FDCWD, libc::RENAME_NOREPLACE);
    // The system call, for not every C library has a function for it.
    // SAFETY: both are C strings; renameat2 touches no other memory.
    check(unsafe {
        libc::syscall(libc::SYS_renameat2, here, from.as_ptr(), here, to.as_ptr(), flags)
    } as _)?;
    Ok(())
}

/// The directory that `path` stands in, with its slash.
fn directory_of(path: &CStr) -> CString {
    let bytes = path.to_bytes();
    let end = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let directory = bytes.get(..end).filter(|bytes| !bytes.is_empty()).unwrap_or(b"./");
    CString::new(directory).unwrap_or_default()
}

/// A name for a file that is not finished, in `directory`.
fn joined(directory: &CStr, number: u64) -> CString {
    let name = text::compose(format_args!(".panzer-unfinished-{number:016x}"));
    CString::new([directory.to_bytes(), name.as_bytes()].concat()).unwrap_or_default()
}

/// A number that cannot be guessed, where the kernel has one already.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let (place, length) = (bytes.as_mut_ptr(), bytes.len());
    // SAFETY: `bytes` is writable for as many bytes as its length says.
    let read = unsafe { libc::syscall(libc::SYS_getrandom, place, length, libc::GRND_NONBLOCK) };
    if read == bytes.len() as libc::c_long {
        return u64::from_ne_bytes(bytes);
    }
    // O_EXCL sees to it that a name that is taken is no harm.
    clock::now().0 << 32 | u64::from(process::id().raw().unsigned_abs())
}
