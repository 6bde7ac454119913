//! Directories: mkdir(2), rmdir(2), getdents64(2), unlinkat(2), statx(2).

use super::{Errno, SysResult, check, check_size};
use crate::sys::fd::Borrowed;
use crate::sys::file::{FileKind, Identity, stat};
use crate::types::Account;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

/// What is asked of a name that may be a stranger's: neither links nor automounts are
/// followed, and no file server is asked, which might not answer.
const UNASKED: libc::c_int =
    libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT | libc::AT_STATX_DONT_SYNC;

/// The owner of a file, and what each user may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its user.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// The lowest twelve bits of its mode.
    pub mode: u32,
}

impl Owner {
    fn of(stat: &libc::statx) -> Self {
        Self { user: stat.stx_uid, group: stat.stx_gid, mode: u32::from(stat.stx_mode) & 0o7777 }
    }
}

/// Whose the file at `path` is, links followed.
///
/// # Errors
///
/// `ENOENT` when there is none, `EACCES` when the way there is barred.
pub fn ownership_at(path: &CStr) -> SysResult<Owner> {
    stat(libc::AT_FDCWD, path, 0).map(|stat| Owner::of(&stat))
}

/// Which directory stands at `path`, and whose it is: statx(2). Opens nothing, follows
/// no link at the end of `path`, and does not ask the file server of what stands there.
///
/// # Errors
///
/// `ENOTDIR` for anything else, `EXDEV` for the root of another file system; `ENOENT`,
/// `EACCES`.
pub fn look(path: &CStr) -> SysResult<(Identity, Owner)> {
    let stat = stat(libc::AT_FDCWD, path, UNASKED)?;
    if libc::mode_t::from(stat.stx_mode) & libc::S_IFMT != libc::S_IFDIR {
        return Err(Errno(libc::ENOTDIR));
    }
    if stat.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0 {
        return Err(Errno(libc::EXDEV));
    }
    Ok((Identity::of(&stat), Owner::of(&stat)))
}

/// Makes a directory of mode 0700: mkdir(2).
///
/// # Errors
///
/// `EEXIST`, `ENOENT`, `EACCES`, `EROFS`, `ENOSPC`.
pub fn make_directory(path: &CStr) -> SysResult<()> {
    // SAFETY: `path` is a C string; mkdir touches no other memory.
    check(unsafe { libc::mkdir(path.as_ptr(), 0o700) })?;
    Ok(())
}

/// Takes the empty directory at `path` away: rmdir(2).
///
/// # Errors
///
/// `ENOTEMPTY`, `ENOTDIR`, `ENOENT`, `EACCES`, `EPERM`, `EROFS`.
pub fn remove_directory(path: &CStr) -> SysResult<()> {
    // SAFETY: `path` is a C string; rmdir touches no other memory.
    check(unsafe { libc::rmdir(path.as_ptr()) })?;
    Ok(())
}

/// Gives a directory the mode 0700, whatever the umask was: fchmod(2).
///
/// # Errors
///
/// `EPERM` when it is another's.
pub fn make_private(directory: Borrowed<'_>) -> SysResult<()> {
    // SAFETY: fchmod takes two numbers and touches no memory.
    check(unsafe { libc::fchmod(directory.number(), 0o700) })?;
    Ok(())
}

/// Gives what is behind a descriptor to another owner: fchown(2).
///
/// # Errors
///
/// `EPERM` when we may not.
pub fn give(fd: Borrowed<'_>, owner: &Account) -> SysResult<()> {
    // SAFETY: fchown takes three numbers and touches no memory.
    check(unsafe { libc::fchown(fd.number(), owner.user, owner.group) })?;
    Ok(())
}

/// Whether `name` in `directory` is a socket, links not followed. Asks no file server.
pub fn is_socket_in(directory: Borrowed<'_>, name: &CStr) -> bool {
    stat(directory.number(), name, UNASKED)
        .is_ok_and(|stat| Identity::of(&stat).kind() == FileKind::Socket)
}

/// Takes `name` out of `directory`: unlinkat(2).
///
/// # Errors
///
/// Those of [`file::unlink`](super::file::unlink).
pub fn unlink_in(directory: Borrowed<'_>, name: &CStr) -> SysResult<()> {
    // SAFETY: `name` is a C string; unlinkat touches no other memory.
    check(unsafe { libc::unlinkat(directory.number(), name.as_ptr(), 0) })?;
    Ok(())
}

/// The names in a directory that are `wanted`, but `.` and `..`; about `most` names are
/// looked at, and at least as many: getdents64(2).
///
/// # Errors
///
/// `ENOTDIR`, `EIO`.
pub fn entries(
    directory: Borrowed<'_>,
    most: usize,
    wanted: &dyn Fn(&[u8]) -> bool,
) -> SysResult<Vec<CString>> {
    /// What stands before a name: inode, offset, length of the entry, type.
    const BEFORE: usize = 8 + 8 + 2 + 1;
    let (mut names, mut seen, mut buffer) = (Vec::new(), 0, [0_u8; 4_096]);
    // It may have been read before.
    // SAFETY: lseek takes three numbers and touches no memory.
    check_size(unsafe { libc::lseek(directory.number(), 0, libc::SEEK_SET) } as _)?;
    while seen < most {
        let (number, place, size) = (directory.number(), buffer.as_mut_ptr(), buffer.len());
        // SAFETY: `place` is writable for `size` bytes.
        let read = unsafe { libc::syscall(libc::SYS_getdents64, number, place, size) };
        let read = check_size(read as _)?;
        let mut rest = buffer.get(..read).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        while let [_, ..] = rest {
            let length = match rest.get(16..18) {
                Some(&[low, high]) => usize::from(u16::from_ne_bytes([low, high])),
                Some(_) | None => break,
            };
            let name = rest.get(BEFORE..length).unwrap_or_default();
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
            let name = name.get(..end).unwrap_or_default();
            if name != b"." && name != b".." {
                seen += 1;
                names.extend(wanted(name).then(|| CString::new(name)).into_iter().flatten());
            }
            rest = rest.get(length.max(BEFORE)..).unwrap_or_default();
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::entries;
    use crate::sys::file;
    use crate::sys::file::Mode;
    use alloc::ffi::CString;
    use std::fs;

    #[test]
    fn directory_listing_stops_at_its_limit() {
        const FILES: usize = 300;
        let name = std::format!("panzer-entries.{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("it can be made");
        for file in 0..FILES {
            fs::write(path.join(std::format!("{file:03}")), b"").expect("it can be made");
        }
        let name = CString::new(path.as_os_str().as_encoded_bytes()).expect("it holds no NUL");
        let directory = file::open(&name, Mode::Directory).expect("it is there");
        let few = (0..=FILES).find(|&most| {
            entries(directory.borrow(), most, &|_| true).is_ok_and(|names| names.len() < most)
        });
        fs::remove_dir_all(&path).expect("it is ours");
        assert_eq!(few, None);
    }
}
