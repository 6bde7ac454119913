//! A child that reads files for us, so that a file server that is away holds up the
//! child alone.
//!
//! It sends back what it has read over a pipe. When it takes too long it is ended,
//! which may take until the file server is back; it holds nothing of ours.

use crate::error::{Error, Result, cannot};
use crate::persist::persisted;
use crate::sys::fd::{self, Blocking, Fd};
use crate::sys::poll::Source;
use crate::sys::{Errno, process, receiver, signal, would_block};
use crate::text;
use crate::types::{Millis, Pid, Signal, Tick};
use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;

/// How long a child may read.
pub const PATIENCE: Millis = Millis(3_000);
/// The most that one may have to say.
const MOST: usize = 1 << 24;

/// A child that reads.
#[derive(Debug)]
pub struct Load {
    pid: Pid,
    pipe: Fd,
    said: Vec<u8>,
    due: Tick,
    is_reaped: bool,
}

persisted! { struct Load { pid, pipe, said, due, is_reaped } }

/// What has come of a child.
pub enum Read {
    /// Nothing yet.
    Open,
    /// This is what it has read, or why it could not.
    Done(Result<Vec<u8>>),
    /// It took too long.
    Late,
}

impl Load {
    /// Has a child read, which sends back what `read` gives.
    ///
    /// The child makes no use of what is open, and is ended with us. It may take
    /// memory: fork with one thread.
    ///
    /// # Errors
    ///
    /// `EAGAIN` and `ENOMEM` of fork(2), `EMFILE` and `ENFILE` for the pipe.
    pub fn begin(now: Tick, read: impl FnOnce() -> Result<Vec<u8>>) -> Result<Self> {
        let (pipe, theirs) = fd::pipe(Blocking::No).map_err(cannot("create a pipe"))?;
        let blocked = signal::block_all();
        let made = process::fork(|| {
            process::die_with_parent();
            process::set_name(c"panzer:loader");
            match answer(&theirs, read) {
                Ok(()) => 0,
                Err(_) => 1,
            }
        });
        drop(blocked);
        let pid = made.map_err(cannot("fork"))?;
        Ok(Self { pid, pipe, said: Vec::new(), due: now.after(PATIENCE), is_reaped: false })
    }

    /// Takes in what it has said, without waiting.
    pub fn look(&mut self, now: Tick) -> Read {
        let mut piece = [0; 4_096];
        loop {
            match fd::read(self.pipe.borrow(), &mut piece) {
                Ok(_) if self.said.len() > MOST => return Read::Late,
                Ok(0) => return Read::Done(self.outcome()),
                Ok(read) if self.said.try_reserve(read).is_err() => {
                    return Read::Done(Err(cannot("read from panzer:loader")(Errno(libc::ENOMEM))));
                }
                Ok(read) => self.said.extend_from_slice(piece.get(..read).unwrap_or_default()),
                Err(errno) if would_block(errno) && now < self.due => return Read::Open,
                Err(errno) if would_block(errno) => return Read::Late,
                Err(errno) => {
                    return Read::Done(Err(cannot("read from panzer:loader")(errno)));
                }
            }
        }
    }

    /// The child.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// What to wait for.
    pub const fn source(&self) -> Source<'_> {
        Source::readable(self.pipe.borrow())
    }

    /// When it is late.
    pub const fn due(&self) -> Tick {
        self.due
    }

    /// A child of ours was reaped, perhaps this one.
    pub fn note_death(&mut self, pid: Pid) {
        self.is_reaped |= self.pid == pid;
    }

    /// Sends it SIGKILL, if it is still our child; says whether it is.
    pub fn end(&self) -> bool {
        if !self.is_reaped {
            let _ = signal::send(self.pid, Signal::Kill);
        }
        !self.is_reaped
    }

    fn outcome(&self) -> Result<Vec<u8>> {
        match &self.said[..] {
            [0, read @ ..] => Ok(read.to_owned()),
            [_, reason @ ..] => {
                Err(Error::plain(format_args!("{}", String::from_utf8_lossy(reason))))
            }
            [] => Err(Error::plain(format_args!("panzer:loader, which reads the file, died"))),
        }
    }
}

/// The child's work: one byte that says whether it could, and what it has read or why not.
fn answer(pipe: &Fd, read: impl FnOnce() -> Result<Vec<u8>>) -> crate::sys::SysResult<()> {
    fd::set_blocking(pipe.borrow(), Blocking::Yes)?;
    let way_back = receiver::keep_alone(pipe.borrow())?;
    let said = match read() {
        Ok(bytes) => [&[0], &bytes[..]].concat(),
        Err(reason) => [&[1], text::compose(format_args!("{reason}")).as_bytes()].concat(),
    };
    let mut rest = &said[..];
    while !rest.is_empty() {
        rest = rest.get(fd::write(way_back, rest)?..).unwrap_or_default();
    }
    Ok(())
}
