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

/// The numbers of errors, and their words in the same order, in one text:
/// without a pointer for each, the table is 700 bytes smaller.
macro_rules! known {
    ($($name:ident $words:literal,)*) => {
        const NUMBERS: &[u8] = &[$(libc::$name as u8),*];
        const WORDS: &str = concat!($($words, " (", stringify!($name), ")\n"),*);
    };
}

// The errors that a server meets, with the words of the manual pages.
known! {
    EACCES "permission denied",
    EADDRINUSE "address already in use",
    EADDRNOTAVAIL "address not available on this machine",
    EAFNOSUPPORT "address family not supported",
    EAGAIN "resource temporarily unavailable",
    EBADF "bad file descriptor",
    EBUSY "device or resource busy",
    ECHILD "no child processes",
    ECONNABORTED "connection aborted",
    ECONNREFUSED "connection refused",
    ECONNRESET "connection reset by peer",
    EDQUOT "disk quota exceeded",
    EEXIST "file exists",
    EFBIG "file too large",
    EINVAL "invalid argument",
    EIO "input/output error",
    EISDIR "is a directory",
    ELOOP "too many levels of symbolic links",
    EMFILE "too many open files in this process",
    ENAMETOOLONG "name too long",
    ENFILE "too many open files on this machine",
    ENOBUFS "no buffer space available",
    ENODEV "no such device",
    ENOENT "no such file or directory",
    ENOEXEC "unknown executable format",
    ENOLCK "no locks available",
    ENOMEM "out of memory",
    ENOSPC "no space left on device",
    ENOSYS "not supported by this kernel",
    ENOTCONN "not connected",
    ENOTDIR "not a directory",
    ENOTSOCK "not a socket",
    ENXIO "no such device or address",
    EOPNOTSUPP "not supported",
    EPERM "operation not permitted",
    EPIPE "broken pipe",
    EROFS "read-only file system",
    ESPIPE "cannot seek in a pipe",
    ESRCH "no such process",
    ESTALE "stale file handle",
    ETIMEDOUT "timed out",
    ETXTBSY "file is being written",
    E2BIG "arguments too long",
}

impl fmt::Display for Errno {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NUMBERS.iter().position(|number| i32::from(*number) == self.0) {
            Some(place) => out.write_str(text::line(WORDS, place)),
            None => write!(out, "errno {}", self.0.unsigned_abs()),
        }
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
    message: String,
    errno: Option<Errno>,
    /// What to do about it; empty where that is plain.
    advice: &'static str,
}

/// What most of this crate's functions return.
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// What could not be done and to what, with the system's answer.
    #[must_use]
    pub fn system(message: fmt::Arguments<'_>, errno: Errno) -> Self {
        Self::new(message, Some(errno))
    }

    /// What is wrong, where the system was not asked.
    #[must_use]
    pub fn plain(message: fmt::Arguments<'_>) -> Self {
        Self::new(message, None)
    }

    fn new(message: fmt::Arguments<'_>, errno: Option<Errno>) -> Self {
        Self(Box::new(Told { message: text::compose(message), errno, advice: "" }))
    }

    /// The same, and what to do about it.
    pub(crate) fn advise(mut self, advice: &'static str) -> Self {
        self.0.advice = advice;
        self
    }

    /// The system's answer; `None` if the system was not asked.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        self.0.errno
    }
}

/// Makes of the system's answer that this could not be done.
pub(crate) fn cannot(message: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::system(format_args!("cannot {message}"), errno)
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.message)?;
        if let Some(errno) = self.0.errno {
            write!(out, ": {errno}")?;
        }
        if !self.0.advice.is_empty() {
            write!(out, "; {}", self.0.advice)?;
        }
        Ok(())
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
    fn debug_of_an_error_is_its_message() {
        let error = Error::system(format_args!("cannot listen on 0.0.0.0:80"), Errno(libc::EACCES));
        let words = "cannot listen on 0.0.0.0:80: permission denied (EACCES)";
        assert_eq!(format!("{error:?}"), words);
        assert_eq!(format!("{error}"), words);
        let advice = "ports below 1024 are root's";
        assert_eq!(format!("{}", error.advise(advice)), format!("{words}; {advice}"));
    }
}
