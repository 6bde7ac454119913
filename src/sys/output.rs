//! Writing that never waits, to a description that other processes share.
//!
//! `O_NONBLOCK` would concern all of them, so it is never set. A socket takes
//! `MSG_DONTWAIT`; a pipe takes `RWF_NOWAIT` (pwritev2(2), since Linux 6.4); a
//! terminal, and a pipe before that, is opened anew for ourselves; a regular file does
//! not wait for a reader.

use super::{Errno, SysResult, check_size, fd, file, poll, signal};
use crate::persist::{Codec, Direction, Persist};
use crate::sys::fd::{Borrowed, Fd, Standard};
use crate::sys::file::{FileKind, Mode};
use crate::sys::poll::Source;
use crate::types::{Signal, Tick};

/// `RWF_NOWAIT` of linux/fs.h.
const RWF_NOWAIT: libc::c_int = 8;

/// A descriptor to write lines to.
#[derive(Debug)]
pub struct Output {
    number: libc::c_int,
    way: WriteWay,
    /// Whether what was written last is a part of a line, which has no end.
    is_torn: bool,
}

#[derive(Debug)]
enum WriteWay {
    Socket,
    File,
    NoWait,
    Reopened(Fd),
    /// Ask for room before; a small write into a pipe with room does not wait.
    Ask,
}

/// Read, it is the descriptor that the operator named, once more.
impl Persist for Output {
    fn empty_value() -> Self {
        Self { number: 0, way: WriteWay::NoWait, is_torn: false }
    }

    fn persist(&mut self, codec: &mut Codec) {
        let number = u64::from(self.number.unsigned_abs());
        let number = codec.number(number, i32::MAX as u64) as libc::c_int;
        match codec.way() {
            Direction::Write if number > Standard::Error as libc::c_int => codec.keep(number),
            Direction::Write => {}
            Direction::Read => match Self::named(number) {
                Ok(output) => *self = output,
                Err(_) => codec.fail(),
            },
            Direction::Try => self.number = number,
            #[cfg(any(test, feature = "internals"))]
            Direction::Disown => {}
        }
        self.is_torn.persist(codec);
    }
}

/// Writes a line break to `fd`, if that does not wait, and closes it.
pub fn end(fd: Fd) {
    // SAFETY: `fd` is closed below, when what borrows it here is gone.
    let open = unsafe { Borrowed::trusted(fd.number()) };
    let _ = Output::new(open).write(b"\n");
    drop(fd);
}

impl Output {
    /// Finds the way to write to `fd`.
    pub fn new(fd: Borrowed<'static>) -> Self {
        let way = match file::identity(fd).map(file::Identity::kind) {
            Ok(FileKind::Socket) => WriteWay::Socket,
            Ok(FileKind::Regular) => WriteWay::File,
            Ok(FileKind::Pipe | FileKind::Character | FileKind::Other) | Err(_) => WriteWay::NoWait,
        };
        Self { number: fd.number(), way, is_torn: false }
    }

    /// The same after a line of which a part [was written](Self::is_torn).
    #[must_use]
    pub const fn after(mut self, is_torn: bool) -> Self {
        self.is_torn = is_torn;
        self
    }

    /// Whether a part of a line was written and nothing behind it: that line is lost,
    /// and the next one begins with the end of it, so that the two are two.
    #[must_use]
    pub const fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// For the descriptor that the operator named, which is ours as long as we live.
    ///
    /// # Errors
    ///
    /// `EBADF` when it is not open, or is one of our own by now.
    pub fn named(number: libc::c_int) -> SysResult<Self> {
        if !fd::is_inherited(number) {
            return Err(Errno(libc::EBADF));
        }
        // SAFETY: it is open, nothing of ours has the number, and nothing here ever
        // closes it.
        let fd = unsafe { Borrowed::trusted(number) };
        file::identity(fd)?;
        if number > Standard::Error as libc::c_int {
            // Ours from now on, though other processes may name this number too.
            fd::close_on_exec(number)?;
        }
        Ok(Self::new(fd))
    }

    /// Writes `line`, which ends with a line break, at once or not at all, with SIGPIPE,
    /// SIGXFSZ and SIGTTOU held back. Of a full disk a part of it may be written all
    /// the same, which is as lost as none.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when there is no room now, or not enough; `EPIPE` when no reader is
    /// left; `EFBIG` when the file is as large as it may be.
    pub fn write(&mut self, line: &[u8]) -> SysResult<()> {
        let whole = if self.is_torn { &[b"\n", line].concat() } else { line };
        let written = self.put(whole)?;
        if written == whole.len() {
            self.is_torn = false;
            return Ok(());
        }
        // The line break alone ends the line before.
        self.is_torn = !self.is_torn || written > 1;
        Err(Errno(libc::EAGAIN))
    }

    /// Says how much of it was written.
    fn put(&mut self, line: &[u8]) -> SysResult<usize> {
        let blocked = signal::block_output_signals();
        let mut outcome = self.attempt(line);
        if self.must_reopen(outcome) {
            self.way = file::reopen(self.fd(), Mode::WriteNonblocking)
                .map_or(WriteWay::Ask, WriteWay::Reopened);
            outcome = self.attempt(line);
        }
        match outcome {
            Err(Errno(libc::EPIPE)) => blocked.swallow(Signal::Pipe),
            Err(Errno(libc::EFBIG)) => blocked.swallow(Signal::Xfsz),
            Ok(_) | Err(_) => {}
        }
        outcome
    }

    const fn fd(&self) -> Borrowed<'static> {
        // SAFETY: it is the number of what was borrowed for the life of this process.
        unsafe { Borrowed::trusted(self.number) }
    }

    fn must_reopen(&self, outcome: SysResult<usize>) -> bool {
        let refused = [libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL, libc::ESPIPE, libc::EPERM];
        matches!(self.way, WriteWay::NoWait)
            && outcome.is_err_and(|Errno(number)| refused.contains(&number))
    }

    fn attempt(&self, line: &[u8]) -> SysResult<usize> {
        match &self.way {
            WriteWay::Socket => send(self.fd(), line),
            WriteWay::File => fd::write(self.fd(), line),
            WriteWay::NoWait => write_if_room(self.fd(), line),
            WriteWay::Reopened(own) => fd::write(own.borrow(), line),
            WriteWay::Ask => {
                let mut source = [Source::writable(self.fd())];
                // A signal ends the wait too, and says nothing about room.
                poll::wait(&mut source, Some(Tick(0)))?;
                let room = source.iter().any(Source::is_writable);
                if room { fd::write(self.fd(), line) } else { Err(Errno(libc::EAGAIN)) }
            }
        }
    }
}

fn send(fd: Borrowed<'_>, line: &[u8]) -> SysResult<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `line` is readable for its whole length.
    check_size(unsafe { libc::send(fd.number(), line.as_ptr().cast(), line.len(), flags) })
}

fn write_if_room(fd: Borrowed<'_>, line: &[u8]) -> SysResult<usize> {
    let part = libc::iovec { iov_base: line.as_ptr().cast_mut().cast(), iov_len: line.len() };
    // Position -1, in two halves: where the description stands.
    let (one, here): (libc::c_long, libc::c_long) = (1, -1);
    // SAFETY: `part` is readable, and so is the line it names, for its length.
    check_size(unsafe {
        libc::syscall(libc::SYS_pwritev2, fd.number(), &raw const part, one, here, here, RWF_NOWAIT)
    } as isize)
}

#[cfg(test)]
mod tests {
    use super::Output;
    use crate::sys::fd;
    use crate::sys::fd::Borrowed;
    use crate::sys::socket;
    use alloc::vec::Vec;

    #[test]
    fn partly_written_line_is_ended_before_the_next() {
        let (ours, theirs) = socket::stream_pair().expect("there are descriptors");
        // SAFETY: `ours` lives longer than the output.
        let mut output = Output::new(unsafe { Borrowed::trusted(ours.number()) });
        let large = alloc::vec![b'x'; 1 << 22];
        assert!(output.write(&large).is_err(), "there is room for a part of it");
        assert!(output.is_torn());
        assert!(output.write(b"none\n").is_err(), "there is no room");
        assert!(output.is_torn());
        let (mut seen, mut piece) = (Vec::new(), alloc::vec![0; 1 << 22]);
        while !seen.ends_with(b"next\n") {
            if output.is_torn() && output.write(b"next\n").is_ok() {
                assert!(!output.is_torn());
            }
            let read = fd::read(theirs.borrow(), &mut piece).expect("both are open");
            seen.extend_from_slice(&piece[..read]);
        }
        let lines: Vec<_> = seen.split(|&byte| byte == b'\n').collect();
        assert_eq!(lines.len(), 3, "the part, the next one and nothing");
        assert!(lines[0].iter().all(|&byte| byte == b'x'));
        assert_eq!(lines[1], b"next");
    }
}
