//! Closing what others had in their hands.
//!
//! A socket that another process has, or can send to, may hang the process that closes
//! it last: it lingers, or in its queue stand descriptors that do. So such a one is
//! closed by a child, unless it is certain that it does nothing of the kind.
//!
//! There is one child at a time, which closes all that waits. One that hangs is left
//! and said, at most [`MOST_LEFT`] of them; then what waits stays open until one of
//! them has ended.
//!
//! How to use it: once a turn, after all that could close anything, call
//! [`Closing::turn`]; add [`Closing::deadline`] to your deadlines; tell
//! [`Closing::note_death`] of every child that you reap; take in no descriptor of a
//! stranger while it [is full](Closing::is_full); and in a stop and at your end call
//! [`Closing::finish`].

use crate::persist::persisted;
use crate::shared::rate_limit::RateLimit;
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::message::{self, Credentials};
use crate::sys::receiver::Closer;
use crate::sys::socket::{Name, SocketKind};
use crate::sys::{Errno, SysResult, signal, socket as kernel};
use crate::types::{Level, Millis, Pid, Signal, Tick};
use alloc::vec::Vec;

/// How long a child may take.
const PATIENCE: Millis = Millis(1_000);
/// How soon to try again to make a child.
const AGAIN: Millis = Millis(200);
/// The most messages that are thrown away before a child has to.
const MOST: usize = 64;
/// How many children may hang at the same time.
const MOST_LEFT: usize = 4;
/// With so many descriptors that wait no more are to be taken in.
const MOST_WAITING: usize = 256;

/// What is to be closed.
#[derive(Debug)]
pub struct Closing {
    waiting: Vec<Fd>,
    /// No child is made until then.
    pause: Option<Tick>,
    /// The child that closes, and until when it may.
    child: Option<(Pid, Tick)>,
    /// Children that hang and were not reaped yet.
    left: Vec<Pid>,
    /// What is said of those.
    lines: RateLimit,
}

persisted! { struct Closing { waiting, pause, child, left, lines } }

impl Closing {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            waiting: Vec::new(),
            pause: None,
            child: None,
            left: Vec::new(),
            lines: RateLimit::new(),
        }
    }

    /// Closes a listening or datagram socket that others have, or had.
    pub fn close_shared(&mut self, fd: Fd) {
        kernel::never_linger(fd.borrow());
        // Its owner may have made a connection of it. And a process that has connected
        // to a path may have sent descriptors before it was accepted.
        let is_unix = !matches!(kernel::local_name(fd.borrow()), Ok(Name::Inet(_)));
        if kernel::kind(fd.borrow()) == SocketKind::Other || is_unix {
            self.waiting.push(fd);
        }
    }

    /// The same for several.
    pub fn close_each(&mut self, descriptors: Vec<Fd>) {
        descriptors.into_iter().for_each(|fd| self.close_shared(fd));
    }

    /// Closes a Unix socket that others send to. `credentials` as for
    /// [`message::peek`].
    pub fn close_inbox(&mut self, fd: Fd, credentials: Credentials) {
        let is_safe = kernel::refuse_descriptors(fd.borrow()).is_ok()
            && has_no_descriptors(fd.borrow(), credentials);
        if !is_safe {
            self.waiting.push(fd);
        }
    }

    /// Sees to the child, and has another one close what waits by now.
    pub fn turn(&mut self, now: Tick) {
        self.lines.settle(now, Level::Warn, format_args!("children that hang closing descriptors"));
        if let Some((pid, due)) = self.child
            && due <= now
        {
            self.leave(pid, now);
        }
        self.pause = self.pause.filter(|pause| *pause > now);
        if self.child.is_some() || self.pause.is_some() || self.waiting.is_empty() {
            return;
        }
        if self.left.len() >= MOST_LEFT {
            self.pause = Some(Tick::NEVER);
            let (left, count) = (self.left.len(), self.waiting.len());
            return self.lines.log(
                now,
                Level::Warn,
                format_args!(
                    "{left} children hang closing descriptors; {count} descriptors stay open \
                     until one of them exits"
                ),
            );
        }
        match self.close_waiting() {
            Ok(pid) => self.child = Some((pid, now.after(PATIENCE))),
            Err(_) => self.pause = Some(now.after(AGAIN)),
        }
    }

    /// The child's time is over. It is ours until it is reaped.
    fn leave(&mut self, pid: Pid, now: Tick) {
        let _ = signal::send(pid, Signal::Kill);
        self.child = None;
        self.left.push(pid);
        self.lines.log(
            now,
            Level::Warn,
            format_args!("closing received descriptors hangs, no longer waiting for child {pid}"),
        );
    }

    /// Has a child close all that waits, which is gone here before the child begins.
    fn close_waiting(&mut self) -> SysResult<Pid> {
        let blocked = signal::block_all();
        let closer = Closer::begin(&self.waiting, &blocked)?;
        self.waiting.clear();
        Ok(closer.pid())
    }

    /// A stop begins, or this process ends, which must not hang either: one more child
    /// closes what waits, however many hang.
    pub fn finish(&mut self) {
        if !self.waiting.is_empty() {
            let _ = self.close_waiting();
        }
    }

    /// A child of ours was reaped, perhaps one of these.
    pub fn note_death(&mut self, pid: Pid) {
        self.child = self.child.filter(|(child, _)| *child != pid);
        if self.left.contains(&pid) {
            self.left.retain(|left| *left != pid);
            self.pause = None;
        }
    }

    /// Whether so much waits that no more is to be taken in.
    pub const fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_WAITING
    }

    /// When [`Closing::turn`] has something to do.
    pub fn deadline(&self) -> Option<Tick> {
        let work = match self.child {
            Some((_, due)) => Some(due),
            None if self.waiting.is_empty() => None,
            None => Some(self.pause.unwrap_or(Tick(0))),
        };
        work.into_iter().chain(self.lines.deadline()).filter(|due| *due != Tick::NEVER).min()
    }
}

/// Throws away what stands in the queue; says whether no descriptor is among it.
fn has_no_descriptors(fd: Borrowed<'_>, credentials: Credentials) -> bool {
    for _ in 0..MOST {
        match message::peek(fd, credentials) {
            Ok(head) if head.has_descriptors => return false,
            // The end of a stream, behind which nothing can come.
            Ok(head) if head.length == 0 && credentials == Credentials::Untold => return true,
            Ok(head) => {
                if message::take(fd, head, credentials).is_err() {
                    return false;
                }
            }
            Err(Errno(libc::EAGAIN | libc::ECONNRESET)) => return true,
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::inbox::{Inbox, Received};
    use crate::sys::message::SendWait;
    use crate::sys::process;
    use crate::sys::process::Reaped;
    use crate::sys::{clock, fd, poll, socket};

    /// Only a failing test waits that long.
    const LONGEST: Millis = Millis(20_000);

    /// A descriptor to close, and its other end.
    fn pipe() -> (Fd, Fd) {
        fd::pipe(fd::Blocking::No).expect("a pipe")
    }

    fn is_closed(read: &Fd) -> bool {
        let due = Some(clock::now().after(LONGEST));
        poll::wait(&mut [poll::Source::readable(read.borrow())], due) == Ok(true)
    }

    fn reap(pid: Pid) {
        let due = clock::now().after(LONGEST);
        while process::reap(pid) == Ok(Reaped::NoneDead) {
            assert!(due > clock::now(), "{pid} does not end");
            let _ = poll::wait(&mut [], Some(clock::now().after(Millis(1))));
        }
    }

    #[test]
    fn one_child_at_a_time_closes_all_pending_descriptors() {
        let mut closing = Closing::new();
        let (read, write): (Vec<_>, Vec<_>) = (0..20).map(|_| pipe()).unzip();
        closing.waiting.extend(write);
        assert_eq!(closing.deadline(), Some(Tick(0)));
        closing.turn(Tick(5));
        let first = closing.child.expect("it closes").0;
        assert!(read.iter().all(is_closed));
        // The child was not reaped.
        let (other, write) = pipe();
        closing.waiting.push(write);
        closing.turn(Tick(6));
        assert_eq!(closing.child.map(|(pid, _)| pid), Some(first));
        assert_eq!(closing.deadline(), Some(Tick(5).after(PATIENCE)));
        reap(first);
        closing.note_death(first);
        closing.turn(Tick(7));
        let second = closing.child.expect("it closes").0;
        assert!(is_closed(&other));
        reap(second);
        closing.note_death(second);
        assert!(closing.deadline().is_none() && closing.left.is_empty());
    }

    #[test]
    fn late_closers_are_abandoned_up_to_four() {
        let (mut closing, mut now) = (Closing::new(), Tick(0));
        for left in 0..MOST_LEFT {
            assert_eq!(closing.left.len(), left);
            closing.waiting.push(pipe().1);
            closing.turn(now);
            assert!(closing.child.is_some() && closing.waiting.is_empty());
            // A child that is not reaped counts as one that hangs.
            now = now.after(PATIENCE);
            closing.turn(now);
        }
        let (read, write) = pipe();
        closing.waiting.push(write);
        closing.turn(now);
        closing.turn(now.after(PATIENCE));
        assert_eq!((closing.left.len(), closing.waiting.len()), (MOST_LEFT, 1));
        assert_eq!(closing.deadline().filter(|due| *due <= now), None);
        let all = closing.left.clone();
        closing.note_death(all[0]);
        closing.turn(now);
        assert!(is_closed(&read));
        all.into_iter().chain(closing.child.map(|(pid, _)| pid)).for_each(reap);
    }

    #[test]
    fn descriptors_from_a_receiver_are_closed_in_another_process() {
        let (socket, name) = socket::notify_socket().expect("a socket");
        let sender = socket::connect_notify(&[b"@", &name[..]].concat()).expect("connected");
        let (other, _) = socket::notify_socket().expect("a socket");
        let sent = message::send(sender.borrow(), b"x", Some(other.borrow()), SendWait::Never);
        assert_eq!(sent, Ok(1));
        let (mut inbox, mut closing) = (Inbox::new(socket), Closing::new());
        assert!(matches!(inbox.next(clock::now(), |_| true), Received::Nothing));
        let due = Some(clock::now().after(LONGEST));
        let mut answer = [inbox.source().expect("a child receives")];
        assert_eq!(poll::wait(&mut answer, due), Ok(true));
        inbox.close(&mut closing);
        assert!(!closing.waiting.is_empty());
    }
}
