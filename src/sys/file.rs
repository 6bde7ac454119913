//! Files by their path: open(2), statx(2), unlink(2).

use super::fd::{Borrowed, Fd};
use super::{Errno, Result, check, check_size, retry_eintr};
use crate::sys::call;
use crate::tape::taped;
use crate::text;
use crate::types::Account;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::MaybeUninit;

/// What makes a file this one and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    kind: Kind,
}

/// What a descriptor or a path is, as far as Panzer cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    Regular,
    /// A socket.
    Socket,
    /// A pipe or FIFO.
    Pipe,
    /// A terminal or another character device.
    Character,
    /// Anything else.
    Other,
}

taped! { struct Identity { device, inode, kind } }
taped! { enum Kind { 0 = Other, 1 = Regular, 2 = Socket, 3 = Pipe, 4 = Character } }

impl Identity {
    fn of(stat: &libc::statx) -> Self {
        let kind = match libc::mode_t::from(stat.stx_mode) & libc::S_IFMT {
            libc::S_IFREG => Kind::Regular,
            libc::S_IFSOCK => Kind::Socket,
            libc::S_IFIFO => Kind::Pipe,
            libc::S_IFCHR => Kind::Character,
            _ => Kind::Other,
        };
        let device = libc::makedev(stat.stx_dev_major, stat.stx_dev_minor);
        Self { device, inode: stat.stx_ino, kind }
    }

    /// What it is.
    pub const fn kind(self) -> Kind {
        self.kind
    }

    /// Whether `JOURNAL_STREAM`'s `device:inode` names this one.
    pub const fn matches(self, device: u64, inode: u64) -> bool {
        self.device == device && self.inode == inode
    }
}

/// What the kernel knows of the file at `path`, or of `directory` if that is empty.
fn stat(directory: libc::c_int, path: &CStr, flags: libc::c_int) -> Result<libc::statx> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let mask = libc::STATX_BASIC_STATS;
    // The system call, for the C library's fstatat(3) has a way for each
    // kernel since the first.
    // SAFETY: `path` is a C string, `stat` writable for the one struct that is stored.
    check(unsafe {
        libc::syscall(libc::SYS_statx, directory, path.as_ptr(), flags, mask, stat.as_mut_ptr())
    } as _)?;
    // SAFETY: all zeroes are a valid statx, and the kernel filled it.
    Ok(unsafe { stat.assume_init() })
}

/// Which file a descriptor means.
///
/// # Errors
///
/// `EBADF` when `fd` is closed.
pub fn identity(fd: Borrowed<'_>) -> Result<Identity> {
    stat(fd.number(), c"", libc::AT_EMPTY_PATH).map(|stat| Identity::of(&stat))
}

/// Which file stands at `path`, links not followed.
///
/// # Errors
///
/// `ENOENT` when there is none, `EACCES` when the way there is barred.
pub fn identity_at(path: &CStr) -> Result<Identity> {
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    stat(libc::AT_FDCWD, path, flags).map(|stat| Identity::of(&stat))
}

/// Whether this file stands at `path`.
pub fn is_at(path: &CStr, identity: Identity) -> bool {
    identity_at(path) == Ok(identity)
}

/// How to open a file.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// To read what is there, never waiting: neither for a FIFO's writer nor
    /// for a terminal's line.
    Read,
    /// To read and write.
    ReadWrite,
    /// To write, never waiting: neither for a FIFO's reader nor for room.
    WriteNonblocking,
    /// For nothing but to have hold of it, links not followed.
    Hold,
    /// To be executed, links followed.
    Execute,
}

/// Opens `path`, close-on-exec and never as the controlling terminal.
///
/// # Errors
///
/// Those of open(2): `ENOENT`, `EACCES`, `EMFILE`, `ENXIO` for a FIFO without a reader.
pub fn open(path: &CStr, mode: Mode) -> Result<Fd> {
    let flags = match mode {
        Mode::Read => libc::O_RDONLY | libc::O_NONBLOCK,
        Mode::ReadWrite => libc::O_RDWR,
        Mode::WriteNonblocking => libc::O_WRONLY | libc::O_NONBLOCK,
        Mode::Hold => libc::O_PATH | libc::O_NOFOLLOW,
        Mode::Execute => libc::O_PATH,
    } | libc::O_CLOEXEC
        | libc::O_NOCTTY;
    // SAFETY: `path` is a C string; open touches no other memory.
    retry_eintr(|| check(unsafe { call::open(path.as_ptr(), flags, 0) })).map(Fd::own)
}

/// Opens the same file as `fd` anew, as a description that nobody shares.
///
/// Needs `/proc`.
///
/// # Errors
///
/// `ENOENT` without `/proc`, `EACCES` when the file may not be opened that way.
pub fn reopen(fd: Borrowed<'_>, mode: Mode) -> Result<Fd> {
    let path = text::compose(format_args!("/proc/self/fd/{}", fd.number().unsigned_abs()));
    open(&CString::new(path).map_err(|_| Errno(libc::EINVAL))?, mode)
}

/// Takes the name `path` away: unlink(2).
///
/// # Errors
///
/// `ENOENT` when it is not there, `EACCES`, `EPERM`, `EROFS` when it may not be.
pub fn unlink(path: &CStr) -> Result<()> {
    // SAFETY: `path` is a C string; unlink touches no other memory.
    check(unsafe { libc::unlink(path.as_ptr()) })?;
    Ok(())
}

/// Gives the socket at `path` to another owner: fchownat(2).
///
/// Whoever may write in that directory may have put something else there: what is
/// no socket, or has another name too, is never given away.
///
/// # Errors
///
/// `EPERM` when it is no socket, or has another name too, or when we may not.
pub fn give_socket(path: &CStr, owner: &Account) -> Result<()> {
    let fd = open(path, Mode::Hold)?;
    let stat = stat(fd.number(), c"", libc::AT_EMPTY_PATH)?;
    if Identity::of(&stat).kind != Kind::Socket || stat.stx_nlink != 1 {
        return Err(Errno(libc::EPERM));
    }
    let (flags, this) = (libc::AT_EMPTY_PATH, c"".as_ptr());
    // SAFETY: `this` is a C string; fchownat touches no other memory.
    check(unsafe { libc::fchownat(fd.number(), this, owner.user, owner.group, flags) })?;
    Ok(())
}

/// How many links the file at `path` has; 0 when it cannot be told.
pub fn links(path: &CStr) -> u64 {
    stat(libc::AT_FDCWD, path, 0).map_or(0, |stat| stat.stx_nlink.into())
}

/// The working directory: getcwd(2).
///
/// # Errors
///
/// `ENOENT` when it has been removed or cannot be reached from our root,
/// `ERANGE` past 4,096 bytes.
pub fn current_directory() -> Result<CString> {
    let mut path = alloc::vec![0_u8; libc::PATH_MAX as usize];
    // The system call, for the C library's getcwd(3) may call malloc(3).
    // SAFETY: `path` is writable for as many bytes as its length says.
    let result = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    // The closing NUL counts.
    path.truncate(check_size(result as _)?.saturating_sub(1));
    match CString::new(path) {
        Ok(path) if path.to_bytes().starts_with(b"/") => Ok(path),
        Ok(_) | Err(_) => Err(Errno(libc::ENOENT)),
    }
}

/// Whether both paths lead to the same file, links followed.
pub fn same(one: &CStr, other: &CStr) -> bool {
    let identity = |path| stat(libc::AT_FDCWD, path, 0).map(|stat| Identity::of(&stat));
    identity(one).is_ok_and(|one| identity(other) == Ok(one))
}

/// Reads a whole file of at most `most` bytes. Never waits for a writer.
///
/// # Errors
///
/// Those of [`open`] and read(2); `ESPIPE` for a pipe, which cannot be read
/// again; `EFBIG` when it is larger.
pub fn read(path: &CStr, most: usize) -> Result<Vec<u8>> {
    let file = open(path, Mode::Read)?;
    if identity(file.borrow())?.kind() == Kind::Pipe {
        return Err(Errno(libc::ESPIPE));
    }
    whole(most, &mut |piece, _| super::fd::read(file.borrow(), piece))
}

/// All that `read` gives, which is told how much there was before; at most `most`.
pub(super) fn whole(
    most: usize,
    read: &mut dyn FnMut(&mut [u8], usize) -> Result<usize>,
) -> Result<Vec<u8>> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 1_024]);
    loop {
        match read(&mut piece, bytes.len())? {
            0 => return Ok(bytes),
            read if bytes.len() + read > most => return Err(Errno(libc::EFBIG)),
            read => {
                bytes.try_reserve(read).map_err(|_| Errno(libc::ENOMEM))?;
                bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
            }
        }
    }
}
