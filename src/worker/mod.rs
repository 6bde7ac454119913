//! A worker: a process forked from a monitor, which serves until it is told
//! to stop.
//!
//! What a worker may call, its [`Context`] has. SIGTERM drains it, SIGINT ends
//! it. When its monitor dies the kernel sends it SIGTERM.

mod acceptor;
mod connection;
mod counter;
mod stop_handle;

pub use crate::shared::even_share::MayAccept;
pub use crate::worker::acceptor::Acceptor;
pub use crate::worker::connection::{Connection, Peer};
pub(super) use crate::worker::counter::BUSY;
pub use crate::worker::counter::{BusyGuard, ConnectionGuard, Counter};
pub use crate::worker::stop_handle::StopHandle;

use crate::error::{Error, Result};
use crate::shared::listener::Listener;
use crate::shared::scoreboard::{RowRef, ScoreboardMap};
use crate::sys::fd::{self, Blocking, Borrowed, Fd};
use crate::sys::poll::{self, Source};
use crate::sys::signal::{self, Guard};
use crate::sys::socket::Name;
use crate::sys::{Errno, clock};
use crate::types::{Millis, Slot, Tick};
use crate::worker::connection::AcceptError;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::marker::PhantomData;

/// How long a worker that is out of descriptors or memory leaves its queue alone.
const BREATHER: Millis = Millis(100);

/// What a worker's run comes to. An error ends the worker with status 1 and is
/// logged; whatever it was, the worker is replaced unless it was told to stop.
pub type Outcome = core::result::Result<(), Box<dyn core::error::Error>>;

/// What runs in each forked process.
///
/// A closure `FnMut(&mut Context) -> Outcome` is one too.
pub trait Worker {
    /// Serves until told to stop; called once in each forked process.
    ///
    /// When it returns before that, with whatever outcome, the worker is
    /// replaced. When it panics the process ends with status 101, or by
    /// SIGABRT where panics abort. The process ends without running the
    /// destructors or atexit(3) handlers that the monitor had set up.
    ///
    /// A fresh worker is a copy of its monitor, so it must itself
    /// * open its own connections to databases and the like: one that was
    ///   opened before the fork would be shared by all workers;
    /// * reseed generators of random numbers: every worker starts with equal
    ///   seeds;
    /// * expect that what the monitor had buffered for standard output is in
    ///   its buffer too.
    ///
    /// SIGTERM and SIGINT are the library's in a worker. SIGTERM, by which a
    /// stop, a reload and a recycling begin, interrupts what the worker is doing:
    /// * a system call with a timeout ends with `EINTR`
    ///   ([`ErrorKind::Interrupted`](https://doc.rust-lang.org/std/io/enum.ErrorKind.html)),
    ///   however the handler was installed: a read or write on a socket with
    ///   `set_read_timeout` or `set_write_timeout`, connect(2) with one, poll(2),
    ///   epoll_wait(2), nanosleep(2). signal(7) has the list;
    /// * other reads and writes go on;
    /// * `read_exact`, `read_to_end`, `read_line`, `lines`, `write_all` and
    ///   `copy` of std go on in any case. A bare `read` or `write` does not: repeat
    ///   it when it was interrupted. The connection is as good as before, and
    ///   giving it up loses a request at every reload.
    ///
    /// Under `panzer` each worker leads a process group, so `kill(0, …)` reaches it and
    /// what it has started. A worker that ignores SIGTERM and SIGINT is killed after
    /// the timeout. If main and monitor are both killed, no process is left to do that:
    /// one that ignores or blocks SIGTERM, replaces its handler, or changes its user
    /// may then stay.
    ///
    /// # Errors
    ///
    /// Whatever ended the run; it is logged.
    fn run(&mut self, context: &mut Context) -> Outcome;
}

impl<F: FnMut(&mut Context) -> Outcome> Worker for F {
    fn run(&mut self, context: &mut Context) -> Outcome {
        self(context)
    }
}

/// What a worker knows and may do. It cannot leave the thread it was given to;
/// [`Context::stop_handle`] and [`Context::counter`] make what can.
#[derive(Debug)]
pub struct Context {
    slot: Slot,
    generation: u32,
    stop: StopHandle,
    counter: Counter,
    said_ready: bool,
    busy: bool,
    /// Which of several listeners is looked at first.
    turn: usize,
    _here: PhantomData<*const ()>,
}

impl Context {
    pub(super) fn new(
        slot: Slot,
        generation: u32,
        timeout: Millis,
        (scoreboard, row): (ScoreboardMap, RowRef),
        stop: Fd,
        ready: Fd,
    ) -> Self {
        Self {
            slot,
            generation,
            stop: StopHandle::new(stop, scoreboard, timeout),
            counter: Counter::new(slot, (scoreboard, row), ready),
            said_ready: false,
            busy: false,
            turn: 0,
            _here: PhantomData,
        }
    }

    /// The worker's place in the pool, from 1.
    #[must_use]
    pub const fn slot(&self) -> u16 {
        self.slot.number()
    }

    /// The number of the generation, from 1; 0 when the program runs alone.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Says that this worker is ready to serve.
    ///
    /// [`Context::accept`] says it by itself; a worker with an event loop of
    /// its own calls this once it is set up. Only the first call does anything.
    pub fn ready(&mut self) {
        if !core::mem::replace(&mut self.said_ready, true) {
            self.counter.say_ready();
        }
    }

    /// Whether this worker was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.is_stopping()
    }

    /// Whether, once stopping, the port goes away with this worker's
    /// generation: then accept what waits in the queue, until
    /// [`Context::try_accept`] says `None`, before letting go of the listener.
    ///
    /// Otherwise others serve the queue, and the listener can be let go at once.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.stop.is_final()
    }

    /// Readable once this worker was told to stop, for an event loop to wait
    /// for. Do not read from it.
    #[must_use]
    pub fn stop_fd(&self) -> Borrowed<'_> {
        self.stop.descriptor()
    }

    /// Tells other threads, and tasks, that this worker was told to stop.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// When a worker that was told to stop is interrupted by SIGINT; `None`
    /// as long as it was not told.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        self.stop.deadline()
    }

    /// Says that this worker has begun something, as [`Context::accept`] does
    /// when it returns a connection. From here on to [`Context::idle`] counts
    /// what [`Monitor::hang_timeout`](crate::Monitor::hang_timeout) allows; an
    /// event loop with several things in hand says both whenever it has finished
    /// one of them.
    pub fn busy(&mut self) {
        if !core::mem::replace(&mut self.busy, true) {
            self.counter.begin();
        }
    }

    /// Says that it is done, which counts as one thing handled;
    /// [`Context::accept`] does so when it is called again.
    pub fn idle(&mut self) {
        if core::mem::replace(&mut self.busy, false) {
            self.counter.end();
        }
    }

    /// Says how many connections this worker holds: an event loop does so whenever the number
    /// has changed. [`Counter::connection`] does the same for tasks; use one of the two. The
    /// number is for [`Context::may_accept`] and [`Acceptor`], in this worker and the others.
    pub fn connections(&mut self, held: u32) {
        self.counter.hold_connections(held);
    }

    /// Whether to take the next connection of `listener`, so that all workers that wait for it
    /// hold nearly the same number. Ask when it is readable, before each [`Context::try_accept`],
    /// or before a [`Context::accept`] that waits: while none waits the answer is yes. An
    /// [`Acceptor`] asks by itself: this is for a loop that waits for the listener.
    ///
    /// The kernel wakes every event loop that waits for the socket, and the first one could
    /// take all that there is. So a worker that holds two connections more than another of its
    /// generation is told to leave the queue to that. For so long do not wait for the listener;
    /// serve your connections, then ask again. A loop that is told of changes alone (mio) notes
    /// that the listener was readable, for it is not told again. If no other worker takes the
    /// connection within 10 ms, or whatever they take after 100 ms of asking, this one may. A
    /// worker that hangs delays one connection alone: from then on it is passed over. Several
    /// listeners are asked about one by one; all connections of a worker are one number.
    ///
    /// ```
    /// # use panzer::{Connection, Context, Listener, MayAccept, Millis};
    /// # fn keep(_: Connection) -> u32 { 1 }
    /// /// The listener was readable: takes what waits. `Some`: ask again after so long.
    /// fn take(context: &mut Context, listener: &Listener) -> panzer::Result<Option<Millis>> {
    ///     loop {
    ///         if let MayAccept::LeaveFor(time) = context.may_accept(listener) {
    ///             return Ok(Some(time)); // the timeout of the next poll, without the listener
    ///         }
    ///         let Some((connection, _peer)) = context.try_accept(listener)? else {
    ///             return Ok(None);
    ///         };
    ///         let held = keep(connection);
    ///         context.connections(held); // and so whenever one is closed
    ///     }
    /// }
    /// ```
    ///
    /// Needs [`Context::connections`]; without that the answer is always yes, as it is once
    /// this worker was told to stop. Costs no system call but for the clock and, where a worker
    /// holds fewer, one poll(2) that does not wait; compares with 64 other workers at most.
    pub fn may_accept(&mut self, listener: &Listener) -> MayAccept {
        self.counter.may_accept(listener.as_fd(), listener.share())
    }

    /// Says busy and idle for other threads, and tasks, several at a time.
    #[must_use]
    pub fn counter(&self) -> Counter {
        self.counter.clone()
    }

    /// Waits for a connection on `listener` and takes it.
    ///
    /// Blocks in accept4(2), which spreads connections evenly over the workers
    /// that wait, and wakes one of them for each. Returns `None` once this
    /// worker was told to stop and nothing is left for it: on a reload at
    /// once, for other workers go on with the queue; on the final stop when the
    /// queue is empty. The first call says that the worker is ready.
    ///
    /// # Errors
    ///
    /// What is wrong with the listener itself. A connection that its client
    /// has given up is passed over; while descriptors or memory are short, the
    /// queue is left alone for 100 ms at a time.
    pub fn accept(&mut self, listener: &Listener) -> Result<Option<(Connection, Peer)>> {
        self.idle();
        self.ready();
        if !self.make_second_number(listener)? {
            self.counter.note();
            signal::replace_with_dev_null(listener.fd());
            return Ok(None);
        }
        loop {
            let taken = {
                let _guard = Guard::new(listener.fd());
                if self.is_stopping() {
                    break;
                }
                connection::take(listener.as_fd(), Blocking::Yes)
            };
            match taken {
                Ok(taken) => return Ok(Some(self.begin(taken))),
                Err(AcceptError::Retry) => {}
                Err(AcceptError::WouldBlock) => self.wait(Some(listener.as_fd()), None)?,
                Err(AcceptError::OutOfResources(_)) => {
                    self.wait(None, Some(clock::now().after(BREATHER)))?
                }
                Err(AcceptError::Fatal(_)) if self.is_stopping() => {}
                Err(AcceptError::Fatal(errno)) => {
                    return Err(cannot_accept(&listener.address(), errno));
                }
            }
        }
        self.last(listener)
    }

    /// Waits for a connection on any of `listeners` and takes it; says on
    /// which, by its place in the slice.
    ///
    /// All of them must have been made [`nonblocking`](Listener::nonblocking)
    /// before the first fork. Otherwise as [`Context::accept`], but waiting in
    /// poll(2), which may wake several workers for one connection.
    ///
    /// # Errors
    ///
    /// As [`Context::accept`]; and when a listener is not non-blocking.
    pub fn accept_any(
        &mut self,
        listeners: &[Listener],
    ) -> Result<Option<(usize, Connection, Peer)>> {
        self.idle();
        self.ready();
        listeners.iter().try_for_each(refuse_blocking)?;
        loop {
            let mut is_short = false;
            for step in 0..listeners.len() {
                // Each has its turn to be the first: one whose queue is never
                // empty must not keep the others waiting for ever.
                let place = (self.turn + step) % listeners.len();
                match self.attempt(&listeners[place]) {
                    Ok(taken) => {
                        self.turn = place + 1;
                        let (connection, peer) = self.begin(taken);
                        return Ok(Some((place, connection, peer)));
                    }
                    Err(AcceptError::WouldBlock | AcceptError::Retry) => {}
                    Err(AcceptError::OutOfResources(_)) => is_short = true,
                    Err(AcceptError::Fatal(errno)) => {
                        return Err(cannot_accept(&listeners[place].address(), errno));
                    }
                }
            }
            if is_short {
                poll_breather()?;
                continue;
            }
            if self.is_stopping() {
                self.counter.note();
                return Ok(None);
            }
            let stop = Source::readable(self.stop_fd());
            let mut sources: Vec<_> =
                listeners.iter().map(|listener| Source::readable(listener.as_fd())).collect();
            sources.push(stop);
            poll::wait(&mut sources, None).map_err(cannot_wait)?;
        }
    }

    /// What an event loop or an async runtime accepts with.
    ///
    /// For a listener that was made [`nonblocking`](Listener::nonblocking) before the
    /// first fork. It does not say that this worker is ready: do so when all is set up.
    ///
    /// # Errors
    ///
    /// When the listener is not non-blocking; when descriptors or memory are short.
    pub fn acceptor(&self, listener: &Listener) -> Result<Acceptor> {
        refuse_blocking(listener)?;
        Acceptor::new(Arc::clone(listener.fd()), self.stop_handle(), self.counter())
            .map_err(|errno| cannot_accept(&listener.address(), errno))
    }

    /// Takes a connection if one waits; never blocks.
    ///
    /// For a listener that was made [`nonblocking`](Listener::nonblocking) before the
    /// first fork. `None` when no connection waits, and once this worker was told to
    /// stop, unless the stop [is final](Context::is_final).
    ///
    /// # Errors
    ///
    /// When descriptors or memory are short: wait for one of your connections
    /// to end, or a moment. When the listener is not non-blocking.
    pub fn try_accept(&mut self, listener: &Listener) -> Result<Option<(Connection, Peer)>> {
        refuse_blocking(listener)?;
        match self.attempt(listener) {
            Ok((fd, name)) => Ok(Some((Connection(fd), Peer::of(&name)))),
            Err(AcceptError::WouldBlock | AcceptError::Retry) => Ok(None),
            Err(AcceptError::OutOfResources(errno) | AcceptError::Fatal(errno)) => {
                Err(cannot_accept(&listener.address(), errno))
            }
        }
    }

    /// Takes a connection from a non-blocking listener that is still ours to
    /// serve, past those that are gone already.
    fn attempt(&self, listener: &Listener) -> core::result::Result<(Fd, Name), AcceptError> {
        loop {
            if self.is_stopping() && !self.is_final() {
                return Err(AcceptError::WouldBlock);
            }
            match connection::take(listener.as_fd(), Blocking::Yes) {
                Err(AcceptError::Retry) => {}
                outcome => return outcome,
            }
        }
    }

    fn begin(&mut self, (fd, name): (Fd, Name)) -> (Connection, Peer) {
        self.busy();
        (Connection(fd), Peer::of(&name))
    }

    /// Waits for the stop, for `also`, or until `deadline`.
    fn wait(&self, also: Option<Borrowed<'_>>, deadline: Option<Tick>) -> Result<()> {
        let stop = Source::readable(self.stop_fd());
        let mut sources = [stop, also.map_or(stop, Source::readable)];
        poll::wait(&mut sources, deadline).map_err(cannot_wait)?;
        Ok(())
    }

    /// Makes the second number for `listener`, for a stop puts /dev/null under the
    /// first one; says whether there is one. There is none when the stop came before
    /// there was a descriptor for it.
    fn make_second_number(&self, listener: &Listener) -> Result<bool> {
        if listener.second().get().is_some() {
            return Ok(true);
        }
        let second = loop {
            match fd::duplicate(listener.as_fd()).map_err(AcceptError::of) {
                Ok(second) => break second,
                Err(AcceptError::Fatal(errno)) => {
                    return Err(cannot_accept(&listener.address(), errno));
                }
                // A worker that is short of them cannot accept either, not even in a
                // final stop, in which the pipe of the stop would wake us for ever.
                Err(
                    AcceptError::OutOfResources(_) | AcceptError::Retry | AcceptError::WouldBlock,
                ) => {
                    poll_breather()?;
                }
            }
            if self.is_stopping() && !self.is_final() {
                return Ok(false);
            }
        };
        listener.second().put(Some(second));
        Ok(true)
    }

    /// The end of a listener: on the final stop the rest of its queue, one by
    /// one; then, or at once, this worker lets go of it.
    fn last(&mut self, listener: &Listener) -> Result<Option<(Connection, Peer)>> {
        self.counter.note();
        while self.is_final()
            && let Some(second) = listener.second().get()
        {
            fd::set_blocking(second, Blocking::No)
                .map_err(|errno| cannot_accept(&listener.address(), errno))?;
            match connection::take(second, Blocking::Yes) {
                Ok(taken) => return Ok(Some(self.begin(taken))),
                Err(AcceptError::Retry) => {}
                Err(AcceptError::OutOfResources(_)) => poll_breather()?,
                Err(AcceptError::WouldBlock | AcceptError::Fatal(_)) => break,
            }
        }
        drop(listener.second().put(None));
        // The stop has put nothing there if it came while we were at work.
        signal::replace_with_dev_null(listener.fd());
        Ok(None)
    }
}

/// Waits a moment for descriptors to be free again, or for a signal.
fn poll_breather() -> Result<()> {
    poll::wait(&mut [], Some(clock::now().after(BREATHER))).map_err(cannot_wait)?;
    Ok(())
}

fn refuse_blocking(listener: &Listener) -> Result<()> {
    match listener.blocking() {
        Blocking::No => Ok(()),
        Blocking::Yes => Err(Error::plain(format_args!(
            "cannot accept on {}: the listener blocks; call nonblocking() on it before the first fork",
            listener.address()
        ))),
    }
}

fn cannot_accept(address: &str, errno: Errno) -> Error {
    Error::system(format_args!("cannot accept on {address}"), errno)
}

fn cannot_wait(errno: Errno) -> Error {
    Error::system(format_args!("cannot wait for a connection"), errno)
}
