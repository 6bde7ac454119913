//! Files by their path: open(2), statx(2), unlink(2).

use super::{Errno, SysResult, call, check, check_size, insist, process, retry_eintr};
use crate::persist::persisted;
use crate::sys::fd::{Borrowed, Fd};
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
    kind: FileKind,
}

/// What a descriptor or a path is, as far as Panzer cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
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

persisted! { struct Identity { device, inode, kind } }
persisted! { enum FileKind { 0 = Other, 1 = Regular, 2 = Socket, 3 = Pipe, 4 = Character } }

impl Identity {
    pub(super) fn of(stat: &libc::statx) -> Self {
        let kind = match libc::mode_t::from(stat.stx_mode) & libc::S_IFMT {
            libc::S_IFREG => FileKind::Regular,
            libc::S_IFSOCK => FileKind::Socket,
            libc::S_IFIFO => FileKind::Pipe,
            libc::S_IFCHR => FileKind::Character,
            _ => FileKind::Other,
        };
        let device = libc::makedev(stat.stx_dev_major, stat.stx_dev_minor);
        Self { device, inode: stat.stx_ino, kind }
    }

    /// The number of its device.
    pub const fn device(self) -> u64 {
        self.device
    }

    /// The number of its inode.
    pub const fn inode(self) -> u64 {
        self.inode
    }

    /// What it is.
    pub const fn kind(self) -> FileKind {
        self.kind
    }

    /// Whether `JOURNAL_STREAM`'s `device:inode` names this one.
    pub const fn matches(self, device: u64, inode: u64) -> bool {
        self.device == device && self.inode == inode
    }
}

/// What the kernel knows of the file at `path`, or of `directory` if that is empty.
pub(super) fn stat(
    directory: libc::c_int,
    path: &CStr,
    flags: libc::c_int,
) -> SysResult<libc::statx> {
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
pub fn identity(fd: Borrowed<'_>) -> SysResult<Identity> {
    // Of a descriptor the answer is there.
    let ask = || stat(fd.number(), c"", libc::AT_EMPTY_PATH);
    insist(ask).map(|stat| Identity::of(&stat))
}

/// Which file stands at `path`, links not followed.
///
/// # Errors
///
/// `ENOENT` when there is none, `EACCES` when the way there is barred.
pub fn identity_at(path: &CStr) -> SysResult<Identity> {
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    stat(libc::AT_FDCWD, path, flags).map(|stat| Identity::of(&stat))
}

/// The user whose file a descriptor means.
///
/// # Errors
///
/// `EBADF` when `fd` is closed.
pub fn owner(fd: Borrowed<'_>) -> SysResult<u32> {
    stat(fd.number(), c"", libc::AT_EMPTY_PATH).map(|stat| stat.stx_uid)
}

/// Whether only `owner` may use this file: of mode 0600, and under one name.
fn is_private_to(stat: &libc::statx, owner: u32) -> bool {
    let mode = u32::from(stat.stx_mode) & 0o7777;
    stat.stx_uid == owner && mode == 0o600 && stat.stx_nlink == 1
}

/// Whether only `owner` may use the file that a descriptor means, and it has
/// one name.
pub fn is_private(fd: Borrowed<'_>, owner: u32) -> bool {
    let stat = stat(fd.number(), c"", libc::AT_EMPTY_PATH);
    stat.is_ok_and(|stat| is_private_to(&stat, owner))
}

/// Which socket stands at `path`, links not followed, if it is one that only
/// `owner` may connect to, and has one name.
pub fn private_socket_at(path: &CStr, owner: u32) -> Option<Identity> {
    let stat = stat(libc::AT_FDCWD, path, libc::AT_SYMLINK_NOFOLLOW).ok()?;
    let identity = Identity::of(&stat);
    (identity.kind == FileKind::Socket && is_private_to(&stat, owner)).then_some(identity)
}

/// Which socket stands at `path`, links not followed, if it can be one that we have
/// just bound: our user's, with one name.
pub(super) fn own_socket_at(path: &CStr) -> Option<Identity> {
    let stat = stat(libc::AT_FDCWD, path, libc::AT_SYMLINK_NOFOLLOW).ok()?;
    let identity = Identity::of(&stat);
    let is_own = stat.stx_uid == process::user() && stat.stx_nlink == 1;
    (identity.kind == FileKind::Socket && is_own).then_some(identity)
}

/// Which file `path` leads to, links followed.
///
/// # Errors
///
/// `ENOENT` when there is none, `EACCES` when the way there is barred.
pub fn identity_behind(path: &CStr) -> SysResult<Identity> {
    stat(libc::AT_FDCWD, path, 0).map(|stat| Identity::of(&stat))
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
    /// To read the names in a directory, which is no link.
    Directory,
}

/// Opens `path`, close-on-exec and never as the controlling terminal.
///
/// # Errors
///
/// Those of open(2): `ENOENT`, `EACCES`, `EMFILE`, `ENXIO` for a FIFO without a reader.
pub fn open(path: &CStr, mode: Mode) -> SysResult<Fd> {
    let flags = match mode {
        Mode::Read => libc::O_RDONLY | libc::O_NONBLOCK,
        Mode::ReadWrite => libc::O_RDWR,
        Mode::WriteNonblocking => libc::O_WRONLY | libc::O_NONBLOCK,
        Mode::Hold => libc::O_PATH | libc::O_NOFOLLOW,
        Mode::Execute => libc::O_PATH,
        Mode::Directory => libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW,
    } | libc::O_CLOEXEC
        | libc::O_NOCTTY;
    // SAFETY: `path` is a C string; open touches no other memory.
    retry_eintr(|| check(unsafe { call::open(path.as_ptr(), flags, 0) })).map(Fd::own)
}

/// Opens the same file as `fd` again, as a description that is not shared.
///
/// Needs `/proc`.
///
/// # Errors
///
/// `ENOENT` without `/proc`, `EACCES` when the file may not be opened that way.
pub fn reopen(fd: Borrowed<'_>, mode: Mode) -> SysResult<Fd> {
    let path = text::compose(format_args!("/proc/self/fd/{}", fd.number().unsigned_abs()));
    open(&CString::new(path).map_err(|_| Errno(libc::EINVAL))?, mode)
}

/// Takes the name `path` away: unlink(2).
///
/// # Errors
///
/// `ENOENT` when it is not there, `EACCES`, `EPERM`, `EROFS` when it may not be.
pub fn unlink(path: &CStr) -> SysResult<()> {
    // SAFETY: `path` is a C string; unlink touches no other memory.
    check(unsafe { libc::unlink(path.as_ptr()) })?;
    Ok(())
}

/// Takes the name `path` away if it is still this file's.
///
/// # Errors
///
/// Those of [`unlink`].
pub fn remove(path: &CStr, identity: Identity) -> SysResult<()> {
    if is_at(path, identity) { unlink(path) } else { Ok(()) }
}

/// Gives the socket at `path` to another owner: fchownat(2).
///
/// Another process that may write in that directory may have put something else there:
/// what is no socket, or has another name too, is never given away.
///
/// # Errors
///
/// `EPERM` when it is no socket, or has another name too, or when we may not.
pub fn give_socket(path: &CStr, owner: &Account) -> SysResult<()> {
    let fd = open(path, Mode::Hold)?;
    let stat = stat(fd.number(), c"", libc::AT_EMPTY_PATH)?;
    if Identity::of(&stat).kind != FileKind::Socket || stat.stx_nlink != 1 {
        return Err(Errno(libc::EPERM));
    }
    let (flags, this) = (libc::AT_EMPTY_PATH, c"".as_ptr());
    // SAFETY: `this` is a C string; fchownat touches no other memory.
    check(unsafe { libc::fchownat(fd.number(), this, owner.user, owner.group, flags) })?;
    Ok(())
}

/// Says whether the way to `path` is open, links followed: statx(2).
///
/// # Errors
///
/// `ENOENT`, `ENOTDIR`, and `EACCES` when a directory may not be entered.
pub fn enters(path: &CStr) -> SysResult<()> {
    stat(libc::AT_FDCWD, path, 0).map(drop)
}

/// Gives a pipe or a socket that we have to another user: fchown(2). Anything
/// else stays whose it is.
///
/// # Errors
///
/// `EPERM` when we may not, `EROFS`.
pub fn give_stream(fd: Borrowed<'_>, user: u32) -> SysResult<()> {
    if matches!(identity(fd)?.kind, FileKind::Pipe | FileKind::Socket) {
        // SAFETY: fchown takes three numbers and touches no memory.
        check(unsafe { libc::fchown(fd.number(), user, libc::gid_t::MAX) })?;
    }
    Ok(())
}

fn access(path: &CStr, mode: libc::c_int) -> SysResult<()> {
    // The system call, for older C libraries work AT_EACCESS out by themselves.
    let (here, flags) = (libc::AT_FDCWD, libc::AT_EACCESS);
    // SAFETY: `path` is a C string; faccessat2 touches no other memory.
    let asked = unsafe { libc::syscall(libc::SYS_faccessat2, here, path.as_ptr(), mode, flags) };
    check(asked as _)?;
    Ok(())
}

/// Whether the file at `path` is a regular one that we may execute: faccessat2(2).
///
/// # Errors
///
/// `ENOENT`, `ENOTDIR`, and `EACCES` when it is none or we may not.
pub fn may_execute(path: &CStr) -> SysResult<()> {
    let there = stat(libc::AT_FDCWD, path, 0)?;
    if Identity::of(&there).kind != FileKind::Regular {
        return Err(Errno(libc::EACCES));
    }
    access(path, libc::X_OK)
}

/// Whether we may make a file at `path`, where none is.
///
/// # Errors
///
/// `ENOENT` and `EACCES` for the directory, `EROFS`.
pub fn may_add_beside(path: &CStr) -> SysResult<()> {
    let bytes = path.to_bytes();
    let end = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let directory = bytes.get(..end).filter(|bytes| !bytes.is_empty()).unwrap_or(b"./");
    let directory = CString::new(directory).map_err(|_| Errno(libc::EINVAL))?;
    access(&directory, libc::W_OK | libc::X_OK)
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
pub fn current_directory() -> SysResult<CString> {
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
    identity_behind(one).is_ok_and(|one| identity_behind(other) == Ok(one))
}

/// Reads a whole file of at most `most` bytes. Never waits for a writer.
///
/// # Errors
///
/// Those of [`open`] and read(2); `ESPIPE` for a pipe, which cannot be read
/// again; `EFBIG` when it is larger.
pub fn read(path: &CStr, most: usize) -> SysResult<Vec<u8>> {
    let file = open(path, Mode::Read)?;
    if identity(file.borrow())?.kind() == FileKind::Pipe {
        return Err(Errno(libc::ESPIPE));
    }
    whole(most, &mut |piece, _| super::fd::read(file.borrow(), piece))
}

/// All that `read` gives, which is told how much there was before; at most `most`.
pub(super) fn whole(
    most: usize,
    read: &mut dyn FnMut(&mut [u8], usize) -> SysResult<usize>,
) -> SysResult<Vec<u8>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::{self, Reaped};
    use crate::sys::{clock, poll};
    use crate::types::Millis;

    /// Only a failing test waits that long.
    const LONGEST: Millis = Millis(20_000);

    /// Lets this process map nothing more.
    fn map_no_more() {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: setrlimit reads the limits and touches no other memory.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const none) }, 0);
    }

    #[test]
    fn file_larger_than_the_memory_is_an_error() {
        let pid = process::fork(|| {
            map_no_more();
            let read = whole(usize::MAX, &mut |piece, _| Ok(piece.len()));
            u8::from(read != Err(Errno(libc::ENOMEM)))
        });
        let (pid, due) = (pid.expect("there is room for a process"), clock::now().after(LONGEST));
        let exit = loop {
            match process::reap(pid).expect("it is our child") {
                Reaped::Dead(_, exit) => break exit,
                Reaped::NoneDead => assert!(due > clock::now(), "{pid} does not end"),
                Reaped::NoChild => panic!("it was reaped elsewhere"),
            }
            let _ = poll::wait(&mut [], Some(clock::now().after(Millis(1))));
        };
        assert!(exit.is_success(), "{exit:?}");
    }
}
