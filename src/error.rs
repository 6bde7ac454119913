//! Errors: what we were doing, to what, and what the system said.
//!
//! [`Errno`] is what a system call answers and all that `sys` knows;
//! [`Error`] adds the sentence, at the place that can tell it.
//!
//! Pure: knows no layer of this crate.

use crate::text;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

/// The reason that a system call gave: errno(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

/// The errors that a server meets, with the words of the manual pages.
const KNOWN: &[(i32, &str)] = &[
    (libc::EACCES, "permission denied (EACCES)"),
    (libc::EADDRINUSE, "address already in use (EADDRINUSE)"),
    (libc::EADDRNOTAVAIL, "address not available on this machine (EADDRNOTAVAIL)"),
    (libc::EAFNOSUPPORT, "address family not supported (EAFNOSUPPORT)"),
    (libc::EAGAIN, "resource temporarily unavailable (EAGAIN)"),
    (libc::EBADF, "bad file descriptor (EBADF)"),
    (libc::EBUSY, "device or resource busy (EBUSY)"),
    (libc::ECHILD, "no child processes (ECHILD)"),
    (libc::ECONNABORTED, "connection aborted (ECONNABORTED)"),
    (libc::ECONNREFUSED, "connection refused (ECONNREFUSED)"),
    (libc::ECONNRESET, "connection reset by peer (ECONNRESET)"),
    (libc::EEXIST, "file exists (EEXIST)"),
    (libc::EFBIG, "file too large (EFBIG)"),
    (libc::EINVAL, "invalid argument (EINVAL)"),
    (libc::EIO, "input/output error (EIO)"),
    (libc::EISDIR, "is a directory (EISDIR)"),
    (libc::ELOOP, "too many levels of symbolic links (ELOOP)"),
    (libc::EMFILE, "too many open files in this process (EMFILE)"),
    (libc::ENAMETOOLONG, "name too long (ENAMETOOLONG)"),
    (libc::ENFILE, "too many open files on this machine (ENFILE)"),
    (libc::ENOBUFS, "no buffer space available (ENOBUFS)"),
    (libc::ENOENT, "no such file or directory (ENOENT)"),
    (libc::ENOEXEC, "not an executable format (ENOEXEC)"),
    (libc::ENOMEM, "out of memory (ENOMEM)"),
    (libc::ENOSPC, "no space left on device (ENOSPC)"),
    (libc::ENOSYS, "not known to this kernel (ENOSYS)"),
    (libc::ENOTDIR, "not a directory (ENOTDIR)"),
    (libc::ENOTSOCK, "not a socket (ENOTSOCK)"),
    (libc::EPERM, "operation not permitted (EPERM)"),
    (libc::EPIPE, "broken pipe (EPIPE)"),
    (libc::EROFS, "read-only file system (EROFS)"),
    (libc::ESRCH, "no such process (ESRCH)"),
    (libc::ETIMEDOUT, "timed out (ETIMEDOUT)"),
    (libc::ETXTBSY, "file is being written (ETXTBSY)"),
    (libc::E2BIG, "arguments too long (E2BIG)"),
];

/// The words of all of them in one text, and where each one's end: without a
/// pointer for each, the table is 700 bytes smaller.
const LENGTH: usize = {
    let (mut length, mut next) = (0, 0);
    while next < KNOWN.len() {
        (length, next) = (length + KNOWN[next].1.len(), next + 1);
    }
    length
};

const WORDS: &str = {
    const BYTES: [u8; LENGTH] = {
        let mut bytes = [0; LENGTH];
        let (mut at, mut next) = (0, 0);
        while next < KNOWN.len() {
            let words = KNOWN[next].1.as_bytes();
            bytes.split_at_mut(at).1.split_at_mut(words.len()).0.copy_from_slice(words);
            (at, next) = (at + words.len(), next + 1);
        }
        bytes
    };
    match core::str::from_utf8(&BYTES) {
        Ok(words) => words,
        Err(_) => unreachable!(),
    }
};

static ENDS: [(u16, u16); KNOWN.len()] = {
    let mut ends = [(0, 0); KNOWN.len()];
    let (mut at, mut next) = (0, 0);
    while next < KNOWN.len() {
        at += KNOWN[next].1.len();
        ends[next] = (KNOWN[next].0 as u16, at as u16);
        next += 1;
    }
    ends
};

impl fmt::Display for Errno {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut start = 0;
        for (number, end) in &ENDS {
            let end = usize::from(*end);
            if i32::from(*number) == self.0 {
                return out.write_str(WORDS.get(start..end).unwrap_or_default());
            }
            start = end;
        }
        write!(out, "error {} of errno(3)", self.0.unsigned_abs())
    }
}

impl core::error::Error for Errno {}

/// Something that could not be done, told in one line.
///
/// Shown as `cannot listen on 0.0.0.0:80: permission denied (EACCES)`.
// One pointer: it passes through many hands, and each would move all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Told>);

#[derive(Clone, PartialEq, Eq)]
struct Told {
    what: String,
    errno: Option<Errno>,
}

/// What most of this crate's functions return.
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// What could not be done and to what, with the system's answer.
    #[must_use]
    pub fn system(what: fmt::Arguments<'_>, errno: Errno) -> Self {
        Self::new(what, Some(errno))
    }

    /// What is wrong, where the system was not asked.
    #[must_use]
    pub fn plain(what: fmt::Arguments<'_>) -> Self {
        Self::new(what, None)
    }

    fn new(what: fmt::Arguments<'_>, errno: Option<Errno>) -> Self {
        Self(Box::new(Told { what: text::compose(what), errno }))
    }

    /// The system's answer; `None` if the system was not asked.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        self.0.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.errno {
            Some(errno) => write!(out, "{}: {errno}", self.0.what),
            None => out.write_str(&self.0.what),
        }
    }
}

/// The same words: this is what a `main` that returns the error shows.
impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl core::error::Error for Error {}

#[cfg(feature = "std")]
impl From<Error> for std::io::Error {
    /// Keeps the kind that std gives to the system's answer, and our words.
    fn from(error: Error) -> Self {
        let kind = error
            .errno()
            .map_or(std::io::ErrorKind::Other, |errno| Self::from_raw_os_error(errno.0).kind());
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::{Errno, Error};
    use alloc::format;

    #[test]
    fn an_error_that_main_returns_is_shown_in_its_own_words() {
        let error = Error::system(format_args!("cannot listen on 0.0.0.0:80"), Errno(libc::EACCES));
        let words = "cannot listen on 0.0.0.0:80: permission denied (EACCES)";
        assert_eq!(format!("{error:?}"), words);
        assert_eq!(format!("{error}"), words);
    }
}
