//! Writing that never waits, to a description that belongs to everybody.
//!
//! `O_NONBLOCK` would be everybody's, so it is never set. A socket takes
//! `MSG_DONTWAIT`; a pipe takes `RWF_NOWAIT` (pwritev2(2), since Linux 6.4); a
//! terminal, and a pipe before that, is opened anew for ourselves; a regular
//! file does not wait for anybody.

use super::fd::{self, Borrowed, Fd, Standard};
use super::file::{self, Kind, Mode};
use super::poll::{self, Source};
use super::signal;
use super::{Errno, Result, check_size};
use crate::tape::{Tape, Taped, Way as TapeWay};
use crate::types::{Signal, Tick};

/// `RWF_NOWAIT` of linux/fs.h.
const RWF_NOWAIT: libc::c_int = 8;

/// A descriptor to write lines to.
#[derive(Debug)]
pub struct Output {
    number: libc::c_int,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Socket,
    File,
    NoWait,
    Reopened(Fd),
    /// Ask for room before; a small write into a pipe with room does not wait.
    Ask,
}

/// Read, it is the descriptor that the operator named, once more.
impl Taped for Output {
    fn blank() -> Self {
        Self { number: 0, way: Way::NoWait }
    }

    fn tape(&mut self, tape: &mut Tape) {
        let number = u64::from(self.number.unsigned_abs());
        let number = tape.number(number, i32::MAX as u64) as libc::c_int;
        match tape.way() {
            TapeWay::Write if number > Standard::Error as libc::c_int => tape.keep(number),
            TapeWay::Write => {}
            TapeWay::Read => match Self::named(number) {
                Ok(output) => *self = output,
                Err(_) => tape.fail(),
            },
            TapeWay::Try => self.number = number,
        }
    }
}

impl Output {
    /// Finds the way to write to `fd`.
    pub fn new(fd: Borrowed<'static>) -> Self {
        let way = match file::identity(fd).map(file::Identity::kind) {
            Ok(Kind::Socket) => Way::Socket,
            Ok(Kind::Regular) => Way::File,
            Ok(Kind::Pipe | Kind::Character | Kind::Other) | Err(_) => Way::NoWait,
        };
        Self { number: fd.number(), way }
    }

    /// For the descriptor that the operator named, which is ours as long as we live.
    ///
    /// # Errors
    ///
    /// `EBADF` when it is not open, or is one of our own by now.
    pub fn named(number: libc::c_int) -> Result<Self> {
        let fd = Borrowed::trusted(number);
        if !fd::is_inherited(number) {
            return Err(Errno(libc::EBADF));
        }
        file::identity(fd)?;
        if number > Standard::Error as libc::c_int {
            // Ours from now on, whoever else names this number.
            fd::close_on_exec(fd)?;
        }
        Ok(Self::new(fd))
    }

    /// Writes `line` at once or not at all, with SIGPIPE, SIGXFSZ and SIGTTOU
    /// held back.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when there is no room now; `EPIPE` when nobody reads; `EFBIG` when
    /// the file is as large as it may be.
    pub fn write(&mut self, line: &[u8]) -> Result<()> {
        let blocked = signal::block_output_signals();
        let mut outcome = self.attempt(line);
        if self.must_reopen(outcome) {
            self.way =
                file::reopen(self.fd(), Mode::WriteNonblocking).map_or(Way::Ask, Way::Reopened);
            outcome = self.attempt(line);
        }
        match outcome {
            Err(Errno(libc::EPIPE)) => blocked.swallow(Signal::Pipe),
            Err(Errno(libc::EFBIG)) => blocked.swallow(Signal::Xfsz),
            Ok(_) | Err(_) => {}
        }
        outcome.map(drop)
    }

    const fn fd(&self) -> Borrowed<'static> {
        Borrowed::trusted(self.number)
    }

    fn must_reopen(&self, outcome: Result<usize>) -> bool {
        let refused = [libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL, libc::ESPIPE, libc::EPERM];
        matches!(self.way, Way::NoWait)
            && outcome.is_err_and(|Errno(number)| refused.contains(&number))
    }

    fn attempt(&self, line: &[u8]) -> Result<usize> {
        match &self.way {
            Way::Socket => send(self.fd(), line),
            Way::File => fd::write(self.fd(), line),
            Way::NoWait => write_if_room(self.fd(), line),
            Way::Reopened(own) => fd::write(own.borrow(), line),
            Way::Ask => {
                let mut source = [Source::writable(self.fd())];
                // A signal ends the wait too, and says nothing about room.
                poll::wait(&mut source, Some(Tick(0)))?;
                let room = source.iter().any(Source::is_writable);
                if room { fd::write(self.fd(), line) } else { Err(Errno(libc::EAGAIN)) }
            }
        }
    }
}

fn send(fd: Borrowed<'_>, line: &[u8]) -> Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `line` is readable for its whole length.
    check_size(unsafe { libc::send(fd.number(), line.as_ptr().cast(), line.len(), flags) })
}

fn write_if_room(fd: Borrowed<'_>, line: &[u8]) -> Result<usize> {
    let part = libc::iovec { iov_base: line.as_ptr().cast_mut().cast(), iov_len: line.len() };
    // Position -1, in two halves: where the description stands.
    let (one, here): (libc::c_long, libc::c_long) = (1, -1);
    // SAFETY: `part` is readable, and so is the line it names, for its length.
    check_size(unsafe {
        libc::syscall(libc::SYS_pwritev2, fd.number(), &raw const part, one, here, here, RWF_NOWAIT)
    } as isize)
}
