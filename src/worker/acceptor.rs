//! Accepting in an event loop: one descriptor to wait for, and what a worker owes the
//! queue at a stop.
//!
//! The descriptor stands for the listener, the order to stop, and the end of a pause.

use crate::error::Result;
use crate::shared::even_share::{EvenShare, MayAccept};
use crate::shared::listener::address_of;
use crate::sys::epoll::{Epoll, Timer, Watched};
use crate::sys::fd::{Blocking, Borrowed, Fd};
use crate::sys::{SysResult, signal};
use crate::types::Millis;
use crate::worker::connection::{self, AcceptError, Connection, Peer};
use crate::worker::counter::Counter;
use crate::worker::stop_handle::{StopHandle, StopOrder};
use crate::worker::{BREATHER, cannot_accept};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Poll;

const ORDER: Ordering = Ordering::SeqCst;

/// Takes connections for an event loop or an async runtime, and knows when to stop.
///
/// Made by [`Context::acceptor`](crate::Context::acceptor). Its descriptor is readable when
/// there may be something to take, and from the stop on; then take until it says that
/// nothing waits. It works in loops that tell of changes alone (mio, tokio), and in those
/// that tell of states (poll(2)). Several threads and tasks may take from one.
///
/// In tokio a `UnixStream` waits for a clone of the descriptor, of which nothing is read or
/// written; `AsyncFd` is unsafe to make. smol has `Async::new_nonblocking`, and mio `SourceFd`.
///
/// ```text
/// let acceptor = context.acceptor(&listener)?;
/// let queue = UnixStream::from_std(acceptor.as_fd().try_clone_to_owned()?.into())?;
/// while let Some((connection, _peer)) =
///     queue.async_io(Interest::READABLE, || acceptor.accept()).await?
/// {
///     let held = counter.connection(); // here, not in the task
///     let stream = TcpStream::from_std(connection.into())?;
///     tokio::spawn(async move {
///         serve(stream).await;
///         drop(held);
///     });
/// }
/// ```
///
/// Even shares: where each connection has a guard of
/// [`Counter::connection`](crate::Counter::connection), a worker that holds more than another
/// leaves the next one to that, so that all hold nearly the same number. Without guards the
/// kernel decides, and one worker may hold most of them.
///
/// The waiting may be cancelled at any time: no connection is lost by that.
#[derive(Debug)]
pub struct Acceptor {
    listener: Arc<Fd>,
    readable: Epoll,
    pause: Timer,
    stop: StopHandle,
    counter: Counter,
    share: EvenShare,
    is_short: AtomicBool,
    is_over: AtomicBool,
}

impl Acceptor {
    pub(super) fn new(listener: Arc<Fd>, stop: StopHandle, counter: Counter) -> SysResult<Self> {
        let (readable, pause) = (Epoll::new()?, Timer::new()?);
        for source in [listener.borrow(), stop.descriptor(), pause.descriptor()] {
            readable.add(source)?;
        }
        let (is_short, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let share = EvenShare::new();
        Ok(Self { listener, readable, pause, stop, counter, share, is_short, is_over })
    }

    /// Takes a connection if one waits; never blocks. The connection is non-blocking.
    ///
    /// `Pending`: wait until the [descriptor](Acceptor::descriptor) is readable. `None`: this
    /// worker was told to stop and has let go of the queue, as [`Context::accept`] does: on
    /// a reload at once, on the final stop when the queue is empty. From then on the number
    /// of the [`Listener`](crate::Listener) means `/dev/null` in this process, and the
    /// answer stays `None`.
    ///
    /// # Errors
    ///
    /// What is wrong with the listener itself. A connection that its client has given up is
    /// passed over; while descriptors or memory are short, the queue is left alone for
    /// 100 ms at a time.
    ///
    /// [`Context::accept`]: crate::Context::accept
    pub fn try_accept(&self) -> Result<Poll<Option<(Connection, Peer)>>> {
        loop {
            // Looked at before the queue is: what came before the final stop is in there.
            let order = self.stop.order();
            if self.is_over.load(ORDER) || order == StopOrder::LeaveQueue {
                return Ok(self.let_go());
            }
            let queue = self.listener.borrow();
            if let MayAccept::LeaveFor(pause) = self.counter.may_accept(queue, &self.share) {
                self.leave_alone(pause);
                return Ok(Poll::Pending);
            }
            match connection::take(self.listener.borrow(), Blocking::No) {
                Ok((fd, name)) => {
                    self.go_on();
                    return Ok(Poll::Ready(Some((Connection(fd), Peer::of(&name)))));
                }
                Err(AcceptError::Retry) => {}
                Err(AcceptError::WouldBlock) if order == StopOrder::EmptyQueue => {
                    return Ok(self.let_go());
                }
                Err(AcceptError::WouldBlock) => {
                    self.go_on();
                    return Ok(Poll::Pending);
                }
                Err(AcceptError::OutOfResources(_)) => {
                    self.leave_alone(BREATHER);
                    return Ok(Poll::Pending);
                }
                // Another thread has let go of it.
                Err(AcceptError::Fatal(_)) if self.stop.is_stopping() => return Ok(self.let_go()),
                Err(AcceptError::Fatal(errno)) => {
                    return Err(cannot_accept(&address_of(self.listener.borrow()), errno));
                }
            }
        }
    }

    /// [`Acceptor::try_accept`] as std has it: the kind of the error is `WouldBlock` where
    /// that is pending.
    ///
    /// # Errors
    ///
    /// Of the kind `WouldBlock` while no connection waits; else what is wrong with the
    /// listener.
    #[cfg(feature = "std")]
    pub fn accept(&self) -> std::io::Result<Option<(Connection, Peer)>> {
        match self.try_accept()? {
            Poll::Ready(taken) => Ok(taken),
            Poll::Pending => Err(std::io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Readable when there may be something to take, and from the stop on. Do not read from
    /// it.
    #[must_use]
    pub const fn descriptor(&self) -> Borrowed<'_> {
        self.readable.descriptor()
    }

    /// Has no event of the queue, nor of a stop that is known already, wake the loop for a
    /// while.
    fn leave_alone(&self, pause: Millis) {
        self.readable.watch(self.listener.borrow(), Watched::No);
        if self.stop.is_stopping() {
            self.readable.watch(self.stop.descriptor(), Watched::No);
        }
        self.pause.set(pause);
        self.is_short.store(true, ORDER);
    }

    /// Ends a pause. The flag is the last thing that beginning one sets and the first that
    /// ending one takes back, so that no thread leaves the listener unwatched without a
    /// pause that ends.
    fn go_on(&self) {
        if self.is_short.swap(false, ORDER) {
            self.pause.set(Millis(0));
            self.readable.watch(self.listener.borrow(), Watched::Yes);
            // A stop that came before or during the pause is waited for again.
            self.readable.watch(self.stop.descriptor(), Watched::Yes);
        }
    }

    fn let_go<T>(&self) -> Poll<Option<T>> {
        if !self.is_over.swap(true, ORDER) {
            self.readable.remove(self.listener.borrow());
            signal::replace_with_dev_null(&self.listener);
            self.counter.note();
            // Every task that waits is to learn of it.
            self.readable.watch(self.stop.descriptor(), Watched::Yes);
        }
        Poll::Ready(None)
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsFd for Acceptor {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.readable.descriptor().into()
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsRawFd for Acceptor {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.readable.descriptor().number()
    }
}

#[cfg(test)]
mod tests {
    use super::{Acceptor, BREATHER, Poll};
    use crate::shared::scoreboard::{RowRef, ScoreboardMap, State};
    use crate::shared::scoreboard_rows::Rows;
    use crate::sys::clock;
    use crate::sys::fd::{self, Blocking, Fd};
    use crate::sys::poll::{self, Source};
    use crate::sys::socket::{self, Name};
    use crate::types::{Millis, Slot, Tick};
    use crate::worker::counter::Counter;
    use crate::worker::stop_handle::StopHandle;
    use alloc::sync::Arc;
    use core::net::SocketAddr;
    use std::net::TcpStream;

    /// Only a failing test waits that long.
    const TIMEOUT: Millis = Millis(20_000);

    fn listener() -> (Arc<Fd>, SocketAddr) {
        let listener = socket::listen_inet(&SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = Arc::new(listener.expect("there are ports"));
        fd::set_blocking(listener.borrow(), Blocking::No).expect("it is ours");
        let Ok(Name::Inet(address)) = socket::local_name(listener.borrow()) else {
            panic!("it has an address");
        };
        (listener, address)
    }

    /// An acceptor, the address of its listener, and the end of the pipe that tells it to
    /// stop.
    fn acceptor() -> (Acceptor, SocketAddr, Fd) {
        acceptor_on(ScoreboardMap::alone().expect("there is memory"), &[0])
    }

    /// That of the first of workers that hold so many connections.
    fn acceptor_on(scoreboard: ScoreboardMap, held: &[u32]) -> (Acceptor, SocketAddr, Fd) {
        let (listener, address) = listener();
        let mut rows = Rows::new(scoreboard);
        let mut row_with = |(slot, &held): (Slot, &u32)| {
            let row = rows.reserve(slot).expect("it is free");
            scoreboard.enter(row, State::Idle, Tick(0));
            scoreboard.hold_connections(row, held);
            (slot, row)
        };
        let mut all = Slot::first(2).zip(held).map(&mut row_with);
        let (slot, row) = all.next().expect("there is one");
        all.for_each(drop);
        let pipe = || fd::pipe(Blocking::No).expect("there are descriptors");
        let ((stop, told), (_, ready)) = (pipe(), pipe());
        let acceptor = Acceptor::new(
            listener,
            StopHandle::new(stop, scoreboard, Millis(1)),
            Counter::new(slot, (scoreboard, row), ready),
        );
        (acceptor.expect("there are descriptors"), address, told)
    }

    fn is_readable(acceptor: &Acceptor, deadline: Tick) -> bool {
        let mut source = [Source::readable(acceptor.descriptor())];
        poll::wait(&mut source, Some(deadline)).expect("it can be waited for")
    }

    fn accepts(acceptor: &Acceptor) -> bool {
        let taken = acceptor.try_accept().expect("it listens");
        let Poll::Ready(Some((connection, _))) = taken else { return false };
        assert_eq!(fd::blocking(connection.as_fd()), Ok(Blocking::No));
        true
    }

    #[test]
    fn what_tasks_are_given_may_be_shared_by_threads() {
        const fn is_shared<T: Send + Sync + 'static>() {}
        const { is_shared::<Acceptor>() };
        const { is_shared::<StopHandle>() };
        const { is_shared::<Counter>() };
    }

    #[test]
    fn pause_keeps_a_queue_from_waking_the_loop_and_ends_by_itself() {
        let (acceptor, address, _told) = acceptor();
        assert!(!is_readable(&acceptor, clock::now()));
        let _one = TcpStream::connect(address).expect("it listens");
        assert!(is_readable(&acceptor, clock::now()));
        acceptor.leave_alone(BREATHER);
        assert!(!is_readable(&acceptor, clock::now()));
        assert!(is_readable(&acceptor, clock::now().after(TIMEOUT)), "the pause does not end");
        assert!(accepts(&acceptor));
        assert!(!accepts(&acceptor));
        assert!(!is_readable(&acceptor, clock::now()), "the pause has not ended");
        let _two = TcpStream::connect(address).expect("it listens");
        assert!(is_readable(&acceptor, clock::now()), "the listener is not watched any more");
    }

    #[test]
    fn stop_that_comes_before_a_pause_is_readable_after_it() {
        let (acceptor, address, told) = acceptor();
        fd::write(told.borrow(), b"!").expect("there is room");
        let _one = TcpStream::connect(address).expect("it listens");
        acceptor.leave_alone(BREATHER);
        acceptor.readable.watch(acceptor.stop.descriptor(), super::Watched::No);
        assert!(accepts(&acceptor));
        assert!(is_readable(&acceptor, clock::now()), "the stop is not watched any more");
    }

    #[test]
    fn connection_is_left_to_a_worker_that_holds_fewer_and_taken_if_that_does_not_come() {
        let scoreboard = ScoreboardMap::alone().expect("there is memory");
        let (acceptor, address, _told) = acceptor_on(scoreboard, &[5, 0]);
        let _one = TcpStream::connect(address).expect("it listens");
        assert!(is_readable(&acceptor, clock::now()));
        let begun = clock::now();
        assert!(!accepts(&acceptor), "it is not left alone");
        while !accepts(&acceptor) {
            assert!(is_readable(&acceptor, clock::now().after(TIMEOUT)), "nothing wakes the loop");
        }
        assert!(clock::now().since(begun) >= Millis(10), "it was not left to the other");
        // The other one is passed over from now on.
        let _two = TcpStream::connect(address).expect("it listens");
        assert!(is_readable(&acceptor, clock::now().after(TIMEOUT)));
        assert!(accepts(&acceptor));
    }

    #[test]
    fn wait_for_one_listener_is_not_prolonged_by_what_comes_of_another() {
        let scoreboard = ScoreboardMap::alone().expect("there is memory");
        let (one, address, _told) = acceptor_on(scoreboard, &[5, 0]);
        let (other, other_address) = listener();
        let other = Acceptor::new(other, one.stop.clone(), one.counter.clone());
        let other = other.expect("there are descriptors");
        let _waits = TcpStream::connect(other_address).expect("it listens");
        for _ in 0..5 {
            let _next = TcpStream::connect(address).expect("it listens");
            loop {
                // The worker that holds none looks at both, and takes nothing.
                scoreboard.look_at_queue(RowRef::at(2), clock::now());
                if accepts(&one) {
                    break;
                }
                if accepts(&other) {
                    return;
                }
                let mut both = [&one, &other].map(|each| Source::readable(each.descriptor()));
                poll::wait(&mut both, Some(clock::now().after(TIMEOUT))).expect("it can");
            }
        }
        panic!("the other listener's is never taken");
    }

    #[test]
    fn worker_that_is_ahead_waits_without_a_timer_while_the_queue_is_empty() {
        let scoreboard = ScoreboardMap::alone().expect("there is memory");
        let (acceptor, _, _told) = acceptor_on(scoreboard, &[5, 0]);
        assert!(!accepts(&acceptor));
        assert!(!acceptor.is_short.load(super::ORDER), "a timer runs");
    }

    #[test]
    fn order_to_stop_makes_the_descriptor_readable() {
        let (acceptor, _, told) = acceptor();
        fd::write(told.borrow(), b"!").expect("there is room");
        assert!(is_readable(&acceptor, clock::now()));
    }
}
