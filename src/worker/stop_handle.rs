//! The order to stop, for the threads and tasks of a worker.

use crate::shared::scoreboard::{Flags, ScoreboardMap};
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::once::Once;
use crate::sys::signal;
use crate::types::{Millis, Tick};

/// In the image, of which a worker has pages of its own anyway.
static STOP: Once<Fd> = Once::new();

/// Tells any thread or task of a worker that this was told to stop.
///
/// Made by [`Context::stop_handle`](crate::Context::stop_handle). It may outlive the
/// context and be sent to other threads; a clone is the same descriptor.
#[derive(Clone, Debug)]
pub struct StopHandle {
    /// Readable once the handler of SIGTERM has run.
    fd: &'static Fd,
    scoreboard: ScoreboardMap,
    timeout: Millis,
}

/// What a worker was told, at one moment: asked in two questions, a stop that comes between
/// them would be taken for one of the other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopOrder {
    /// To serve.
    NotGiven,
    /// To stop; others serve the queue.
    LeaveQueue,
    /// To stop; the port goes away with the generation.
    EmptyQueue,
}

impl StopHandle {
    pub(super) fn new(fd: Fd, scoreboard: ScoreboardMap, timeout: Millis) -> Self {
        Self { fd: STOP.keep(fd), scoreboard, timeout }
    }

    /// Whether this worker was told to stop. Costs no system call.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        signal::is_stopping()
    }

    /// Whether, once stopping, the port goes away with this worker's generation. A program
    /// that accepts by other means than [`Context`](crate::Context) and
    /// [`Acceptor`](crate::Acceptor), which look here themselves, then accepts until nothing
    /// waits, and drops the listener. Otherwise others serve the queue, and the listener is
    /// dropped at once. Ask this after [`StopHandle::is_stopping`], not before.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.order() == StopOrder::EmptyQueue
    }

    pub(super) fn order(&self) -> StopOrder {
        if !signal::is_stopping() {
            return StopOrder::NotGiven;
        }
        // It was written before the signal was sent.
        match self.scoreboard.wants(Flags::Final) {
            true => StopOrder::EmptyQueue,
            false => StopOrder::LeaveQueue,
        }
    }

    /// When a worker that was told to stop is interrupted by SIGINT; `None` as long as it
    /// was not told.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        signal::stopping_since().map(|since| since.after(self.timeout))
    }

    /// Readable once this worker was told to stop, and from then on; an event loop waits
    /// for that. Do not read from it. It is a pipe: in tokio
    /// `pipe::Receiver::from_owned_fd(stop.as_fd().try_clone_to_owned()?)?.readable()` waits.
    #[must_use]
    pub fn descriptor(&self) -> Borrowed<'_> {
        self.fd.borrow()
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsFd for StopHandle {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.borrow().into()
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsRawFd for StopHandle {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.number()
    }
}
