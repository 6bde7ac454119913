//! The self-pipe: what a handler writes to, so that poll(2) returns.
//!
//! The byte only wakes; the meaning is in the flags of `caught`. So a pipe
//! that is full loses nothing.

use crate::persist::{Codec, Direction, Persist};
use crate::sys::SysResult;
use crate::sys::fd::{self, Blocking, Borrowed, Fd};
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// The write end, for the handler; -1 while there is none.
static WRITE: AtomicI32 = AtomicI32::new(-1);

/// How many handlers are about to write there.
static WAKING: AtomicU32 = AtomicU32::new(0);

/// The two ends of the pipe. There is one in a process.
#[derive(Debug)]
pub struct Wake {
    read: Fd,
    write: Fd,
}

impl Wake {
    /// Opens the pipe and tells the handler.
    ///
    /// # Errors
    ///
    /// Those of [`fd::pipe`].
    pub fn open() -> SysResult<Self> {
        let (read, write) = fd::pipe(Blocking::No)?;
        WRITE.store(write.number(), Ordering::SeqCst);
        Ok(Self { read, write })
    }

    /// In a forked child: lets go of its parent's pipe and opens its own, so that neither
    /// process can wake the other. Gives away where that is read.
    ///
    /// # Errors
    ///
    /// Those of [`fd::pipe`].
    pub fn renew(&mut self) -> SysResult<Fd> {
        // A thread that was in a handler at the fork is not here.
        WAKING.store(0, Ordering::SeqCst);
        drop((self.read.take(), self.write.take()));
        let (read, write) = fd::pipe(Blocking::No)?;
        WRITE.store(write.number(), Ordering::SeqCst);
        self.write = write;
        Ok(read)
    }

    /// Readable once a handler has run.
    pub const fn source(&self) -> Borrowed<'_> {
        self.read.borrow()
    }

    /// Empties the pipe. Look at the flags after this, never before: a signal
    /// in between then wakes once too often instead of never.
    pub fn empty(&self) {
        let mut bytes = [0; 64];
        while fd::read(self.read.borrow(), &mut bytes).is_ok_and(|read| read == bytes.len()) {}
    }
}

/// Read, it is the pipe of the image before us, and the handler is told.
impl Persist for Wake {
    fn empty_value() -> Self {
        Self { read: Fd::empty_value(), write: Fd::empty_value() }
    }

    fn persist(&mut self, codec: &mut Codec) {
        self.read.persist(codec);
        self.write.persist(codec);
        if codec.way() == Direction::Read {
            WRITE.store(self.write.number(), Ordering::SeqCst);
        }
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        WRITE.store(-1, Ordering::SeqCst);
        // A handler in another thread may just be writing there; that never waits.
        while WAKING.load(Ordering::SeqCst) > 0 {
            core::hint::spin_loop();
        }
    }
}

/// Wakes the loop that polls. Async-signal-safe: one write that never waits.
pub(super) fn wake() {
    WAKING.fetch_add(1, Ordering::SeqCst);
    // SAFETY: it is -1, or the end of a pipe whose `Wake` closes it when nothing is in
    // here any more.
    let write = unsafe { Borrowed::trusted(WRITE.load(Ordering::SeqCst)) };
    // A pipe that is full, or not there, has nothing to be told.
    let _ = fd::write(write, b"!");
    WAKING.fetch_sub(1, Ordering::SeqCst);
}
