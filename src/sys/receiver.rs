//! Receiving descriptors of strangers in a child, and closing them there:
//! unix(7), close_range(2), close(2).
//!
//! What comes with a stranger's message may hang the process that closes it. So
//! a child with a table of descriptors of its own receives it, and first closes
//! whatever it was forked with, so that it holds up no lock, no port and no
//! pipe when it hangs. It makes system calls alone, no memory and no locks, so it
//! may be forked in a process with threads.

use super::{SysResult, fd, message, process, socket};
use crate::persist::persisted;
use crate::sys::exec::place::close_between;
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::message::{
    HEAD, KernelMessage, MOST_BYTES, MOST_DESCRIPTORS, Message, Part, SendWait,
};
use crate::sys::signal::Blocked;
use crate::types::Pid;
use alloc::vec::Vec;

/// The numbers of the child's two descriptors.
// SAFETY: `keep_only` opens it before anything uses it, and the child keeps it to its end.
const WAY_BACK: Borrowed<'static> = unsafe { Borrowed::trusted(0) };
// SAFETY: as of the other one.
const SOCKET: Borrowed<'static> = unsafe { Borrowed::trusted(1) };

/// A child that receives one message. It is a child like any other: its owner reaps it.
/// Dropping this leaves the child alone.
#[derive(Debug)]
pub struct Receiver {
    pid: Pid,
    way_back: Fd,
}

persisted! { struct Receiver { pid, way_back } }

impl Receiver {
    /// Forks a child that takes the first message of `socket`, sends back its text
    /// and those of its descriptors that `accept` answers yes to, and leaves. It
    /// takes nothing when nothing is there.
    ///
    /// Nothing else may read from `socket` until the child was reaped: what it takes
    /// then would not be what was peeked at. `accept` runs in the child and may make
    /// system calls alone that no file system has a part in. Does not wait.
    ///
    /// # Errors
    ///
    /// `EAGAIN` and `ENOMEM` of fork(2), `EMFILE` and `ENFILE` for the way back.
    pub fn begin(
        socket: Borrowed<'_>,
        accept: fn(Borrowed<'_>) -> bool,
        _blocked: &Blocked,
    ) -> SysResult<Self> {
        let (way_back, theirs) = socket::pair()?;
        let parent = process::id();
        let pid = process::fork_to_exec(|| {
            process::die_with_parent();
            process::set_name(c"panzer:receiver");
            leave_generation(parent);
            match keep_only(theirs.borrow(), socket).and_then(|()| receive(accept)) {
                Ok(_) => 0,
                Err(_) => 1,
            }
        })?;
        Ok(Self { pid, way_back })
    }

    /// The child.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Its way back, in which an answer may stand.
    pub fn into_way_back(self) -> Fd {
        self.way_back
    }

    /// Readable when the answer is there, or never will be.
    pub const fn source(&self) -> Borrowed<'_> {
        self.way_back.borrow()
    }

    /// What it has received, with the descriptors that were accepted, without waiting;
    /// `None` when the child has ended without an answer, or has given it before.
    ///
    /// # Errors
    ///
    /// `EAGAIN` as long as nothing has come of it.
    pub fn result(&self) -> SysResult<Option<Message>> {
        let back = message::receive(self.way_back.borrow())?;
        let [a, b, c, d, cut, text @ ..] = &back.bytes[..] else { return Ok(None) };
        Ok(Some(Message {
            bytes: text.to_vec(),
            // The child's, which says nothing.
            sender: None,
            descriptors: back.descriptors,
            refused: u32::from_le_bytes([*a, *b, *c, *d]),
            cut: *cut != 0 || back.cut,
        }))
    }
}

/// A child that closes what is given to it, whatever that takes. It begins when this
/// is dropped: the last one that closes a description may hang, which is to be the child.
#[derive(Debug)]
pub struct Closer {
    pid: Pid,
    _gate: Fd,
}

impl Closer {
    /// Forks a child that closes `all`. Close your own before you drop this.
    ///
    /// # Errors
    ///
    /// `EAGAIN` and `ENOMEM` of fork(2), `EMFILE` and `ENFILE` for a pipe.
    pub fn begin(all: &[Fd], _blocked: &Blocked) -> SysResult<Self> {
        let (gate, ours) = fd::pipe(fd::Blocking::Yes)?;
        let mut kept: Vec<_> = all.iter().chain([&gate]).map(Fd::number).collect();
        kept.sort_unstable();
        let parent = process::id();
        let pid = process::fork_to_exec(|| {
            process::set_name(c"panzer:closer");
            leave_generation(parent);
            keep_these(&kept);
            // Its end says that the parent has closed its own. They go with the process.
            let _ = fd::read(gate.borrow(), &mut [0]);
            0
        })?;
        Ok(Self { pid, _gate: ours })
    }

    /// The child.
    pub const fn pid(&self) -> Pid {
        self.pid
    }
}

/// Leaves the session that a monitor leads: a child of it that hangs would be
/// waited for as the last of its generation. The `parent` may have ended by now.
fn leave_generation(parent: Pid) {
    if process::session_of(None) == Ok(Some(parent)) {
        process::lead_session();
    }
}

/// Has a forked child keep nothing but `fd`, and gives it at the number that it
/// has then. The child never comes to use or to drop what else is open.
///
/// # Errors
///
/// None that dup3(2) knows for open descriptors.
pub fn keep_alone(fd: Borrowed<'_>) -> SysResult<Borrowed<'static>> {
    keep_only(fd, fd)?;
    Ok(WAY_BACK)
}

/// Has the child keep nothing but these, at the numbers 0 and 1. What it was
/// forked with goes in the order of what would hurt most if closing it hangs:
/// the log, which may be on a file server, comes last.
fn keep_only(way_back: Borrowed<'_>, socket: Borrowed<'_>) -> SysResult<()> {
    let (one, other) = (way_back.number(), socket.number());
    let (low, high) = (one.min(other), one.max(other));
    close_between(high + 1, libc::c_int::MAX);
    close_between(low + 1, high - 1);
    // 0 to 2 are open in every role, so both are above them.
    close_between(3, low - 1);
    fd::replace(WAY_BACK, way_back)?;
    fd::replace(SOCKET, socket)?;
    close_between(2, libc::c_int::MAX);
    Ok(())
}

/// Has the child keep nothing but these, which are sorted. The log comes last, as
/// for [`keep_only`].
fn keep_these(kept: &[libc::c_int]) {
    let mut last = libc::c_int::MAX;
    for &number in kept.iter().rev() {
        close_between(number + 1, last);
        last = number - 1;
    }
    // 0 to 2 are open in every role, so all of them are above.
    close_between(3, last);
    close_between(0, 2);
}

/// The child's work. What it does not send back ends with it.
fn receive(accept: fn(Borrowed<'_>) -> bool) -> SysResult<usize> {
    let mut message = KernelMessage::new();
    let length = message.fill_all(SOCKET)?;
    let (mut accepted, mut count, mut refused) = ([0; MOST_DESCRIPTORS], 0, 0_u32);
    message.each(&mut |part| match part {
        Part::Sender(_) => {}
        Part::Descriptor(number) => {
            // SAFETY: the kernel has just opened it, and the child keeps it to its end.
            let received = unsafe { Borrowed::trusted(number) };
            let place = accepted.get_mut(count).filter(|_| accept(received));
            match place {
                Some(place) => {
                    *place = number;
                    count += 1;
                }
                None => refused += 1,
            }
        }
    });
    let cut = message.flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    let [a, b, c, d] = refused.to_le_bytes();
    let head: [u8; HEAD] = [a, b, c, d, cut.into()];
    let text = message.bytes.get(..length.min(MOST_BYTES)).unwrap_or_default();
    let accepted = accepted.get(..count).unwrap_or_default();
    message::send_all(WAY_BACK, [&head, text], accepted, SendWait::Wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd::Blocking;
    use crate::sys::message::Credentials;
    use crate::sys::process::Reaped;
    use crate::sys::{clock, file, poll, signal};
    use crate::types::Millis;

    /// Only a failing test waits that long.
    fn timeout() -> Option<crate::types::Tick> {
        Some(clock::now().after(Millis(20_000)))
    }

    fn ended(pid: Pid) {
        let due = timeout();
        while process::reap(pid) == Ok(Reaped::NoneDead) {
            assert!(due > Some(clock::now()), "{pid} does not end");
            let _ = poll::wait(&mut [], Some(clock::now().after(Millis(1))));
        }
    }

    fn has_ended(pipe: Borrowed<'_>) -> bool {
        poll::wait(&mut [poll::Source::readable(pipe)], timeout()) == Ok(true)
            && fd::read(pipe, &mut [0]) == Ok(0)
    }

    #[test]
    fn peeking_installs_no_descriptor() {
        let (ours, theirs) = socket::pair().expect("a pair");
        let (read, write) = fd::pipe(Blocking::No).expect("a pipe");
        message::send(theirs.borrow(), b"x", Some(write.borrow()), SendWait::Never).expect("sent");
        drop(write);
        for _ in 0..3 {
            let head = message::peek(ours.borrow(), Credentials::Untold).expect("it is there");
            assert!(head.has_descriptors && head.length == 1, "{head:?}");
        }
        // Only the queued message has the write end.
        drop(message::receive(ours.borrow()).expect("it is still there"));
        assert!(has_ended(read.borrow()));
    }

    #[test]
    fn peeking_with_room_for_credentials_installs_no_descriptor() {
        let (socket, name) = socket::notify_socket().expect("a socket");
        let sender = socket::connect_notify(&[b"@", &name[..]].concat()).expect("connected");
        let (read, write) = fd::pipe(Blocking::No).expect("a pipe");
        message::send(sender.borrow(), b"x", Some(write.borrow()), SendWait::Never).expect("sent");
        drop(write);
        let head = message::peek(socket.borrow(), Credentials::Told).expect("it is there");
        assert!(head.has_descriptors);
        assert_eq!(head.sender.map(|from| from.user), Some(process::user()));
        drop(message::receive(socket.borrow()).expect("it is still there"));
        assert!(has_ended(read.borrow()));
    }

    #[test]
    fn read_of_a_stream_ends_before_a_descriptor() {
        let (ours, theirs) = socket::stream_pair().expect("a pair");
        let nothing = file::open(c"/dev/null", file::Mode::Read).expect("/dev/null");
        message::send(theirs.borrow(), b"plain", None, SendWait::Never).expect("sent");
        let head = message::peek(ours.borrow(), Credentials::Untold).expect("it is there");
        assert!(!head.has_descriptors && head.length == 5, "{head:?}");
        message::send(theirs.borrow(), b"x", Some(nothing.borrow()), SendWait::Never)
            .expect("sent");
        let taken = message::take(ours.borrow(), head, Credentials::Untold).expect("it is there");
        assert_eq!((&taken.bytes[..], taken.cut), (&b"plain"[..], false));
        assert!(
            message::peek(ours.borrow(), Credentials::Untold)
                .is_ok_and(|message| message.has_descriptors)
        );
    }

    #[test]
    fn receiver_returns_text_and_accepted_descriptors_and_keeps_the_rest() {
        let (ours, theirs) = socket::pair().expect("a pair");
        let (read, write) = fd::pipe(Blocking::No).expect("a pipe");
        let (bound, _) = socket::notify_socket().expect("a socket");
        let numbers = [write.number(), bound.number(), write.number()];
        message::send_all(theirs.borrow(), [b"te", b"xt"], &numbers, SendWait::Never)
            .expect("sent");
        drop(write);
        let blocked = signal::block_all();
        let accept = |fd: Borrowed<'_>| socket::kind(fd) == socket::SocketKind::BoundDatagram;
        let child = Receiver::begin(ours.borrow(), accept, &blocked).expect("a child");
        let waited = poll::wait(&mut [poll::Source::readable(child.source())], timeout());
        assert_eq!(waited, Ok(true));
        let message = child.result().expect("it has answered").expect("it has received");
        assert_eq!((&message.bytes[..], message.refused, message.cut), (&b"text"[..], 2, false));
        let [accepted] = &message.descriptors[..] else { panic!("{message:?}") };
        assert_eq!(file::identity(accepted.borrow()), file::identity(bound.borrow()));
        assert!(has_ended(read.borrow()));
        ended(child.pid());
    }

    #[test]
    fn longest_message_is_returned_whole() {
        let (ours, theirs) = socket::pair().expect("a pair");
        let nothing = file::open(c"/dev/null", file::Mode::Read).expect("/dev/null");
        let text = [b'x'; MOST_BYTES];
        message::send(theirs.borrow(), &text, Some(nothing.borrow()), SendWait::Never)
            .expect("sent");
        let blocked = signal::block_all();
        let child = Receiver::begin(ours.borrow(), |_| false, &blocked).expect("a child");
        let waited = poll::wait(&mut [poll::Source::readable(child.source())], timeout());
        assert_eq!(waited, Ok(true));
        let message = child.result().expect("it has answered").expect("it has received");
        assert_eq!((message.bytes.len(), message.cut), (MOST_BYTES, false));
        ended(child.pid());
    }

    #[test]
    fn receiver_without_a_message_ends_without_result() {
        let (ours, theirs) = socket::pair().expect("a pair");
        let blocked = signal::block_all();
        let child = Receiver::begin(ours.borrow(), |_| false, &blocked).expect("a child");
        let waited = poll::wait(&mut [poll::Source::readable(child.source())], timeout());
        assert_eq!(waited, Ok(true));
        assert!(matches!(child.result(), Ok(None)));
        ended(child.pid());
        drop(theirs);
    }

    #[test]
    fn receiver_leaves_the_session_of_a_monitor_that_has_exited() {
        let blocked = signal::block_all();
        let (read, write) = fd::pipe(Blocking::No).expect("a pipe");
        let monitor = process::fork_to_exec(|| {
            process::lead_session();
            let leader = process::id();
            let child = process::fork_to_exec(|| {
                let due = timeout();
                while process::parent() == Some(leader) && due > Some(clock::now()) {
                    let _ = poll::wait(&mut [], Some(clock::now().after(Millis(1))));
                }
                leave_generation(leader);
                let has_left = process::session_of(None) == Ok(Some(process::id()));
                let _ = fd::write(write.borrow(), if has_left { b"y" } else { b"n" });
                0
            });
            u8::from(child.is_err())
        });
        drop((blocked, write));
        ended(monitor.expect("there is room for a process"));
        let mut said = [0];
        assert_eq!(poll::wait(&mut [poll::Source::readable(read.borrow())], timeout()), Ok(true));
        assert_eq!((fd::read(read.borrow(), &mut said), &said), (Ok(1), b"y"));
    }

    #[test]
    fn closer_closes_all_its_descriptors_after_its_parent() {
        let pipes = [(); 3].map(|()| fd::pipe(Blocking::No).expect("a pipe"));
        let (read, write): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
        let blocked = signal::block_all();
        let closer = Closer::begin(&write, &blocked).expect("a child");
        drop(blocked);
        let pid = closer.pid();
        // It waits for its parent; otherwise it would exit at once.
        let stat = std::format!("/proc/{pid}/stat");
        let due = timeout();
        loop {
            let stat = std::fs::read_to_string(&stat).expect("it is not reaped");
            if stat.contains("(panzer:closer) S") {
                break;
            }
            assert!(due > Some(clock::now()) && !stat.contains(") Z"), "{stat}");
            let _ = poll::wait(&mut [], Some(clock::now().after(Millis(1))));
        }
        drop(write);
        drop(closer);
        for read in &read {
            assert!(has_ended(read.borrow()));
        }
        ended(pid);
    }
}
