//! Messages with descriptors and credentials: sendmsg(2), recvmsg(2), unix(7).
//!
//! A descriptor that another process sends can hang the process that closes it, for
//! ever and beyond SIGKILL: a file of FUSE, a socket that lingers, a terminal that
//! drains. It is ours as soon as it is received, with room for it or without. So what
//! strangers write to is only [peeked](peek) at, which installs nothing. A message
//! without descriptors is then [taken](take); one with descriptors is for a
//! [`Receiver`](super::receiver::Receiver), a child of its own. `shared::inbox` does
//! all of it.

use super::{SysResult, call, check_size, retry_eintr};
use crate::persist::persisted;
use crate::sys::fd::{Borrowed, Fd};
use crate::types::Pid;
use alloc::vec::Vec;
use core::mem::{MaybeUninit, size_of};
use core::ptr;

/// As many descriptors as one message can carry: `SCM_MAX_FD`.
pub(super) const MOST_DESCRIPTORS: usize = 253;

/// What stands before the text on its way back: how many descriptors were
/// refused, and whether the message was cut.
pub(super) const HEAD: usize = 5;

/// The longest datagram that is read whole; what is longer is refused.
pub const MOST_BYTES: usize = 4_096;

/// Room for the control messages of one datagram, aligned as cmsg(3) wants.
type Control = [u64; 160];

/// A datagram that came in.
#[derive(Debug)]
pub struct Message {
    /// What it says.
    pub bytes: Vec<u8>,
    /// The sender, as the kernel says; `None` when it did not.
    pub sender: Option<Sender>,
    /// The descriptors that came with it, close-on-exec.
    pub descriptors: Vec<Fd>,
    /// How many others came, which were not received.
    pub refused: u32,
    /// Whether the kernel had to cut off a part of it.
    pub cut: bool,
}

/// The sender of a datagram: `SCM_CREDENTIALS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its process, which may be gone by now.
    pub pid: Option<Pid>,
    /// Its user.
    pub user: u32,
}

fn header(bytes: &mut libc::iovec, control: &mut Control, length: usize) -> libc::msghdr {
    // SAFETY: all zeroes are a valid msghdr: no address, no data.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = bytes;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = length as _;
    header
}

/// Room for the credentials of a datagram and for nothing else. With more room the
/// kernel would put descriptors of the sender into this process.
const CREDENTIALS: usize = 32;

/// What stands first in the queue of a socket. It still stands there.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// How many bytes of it there are; those of a stream may be of several
    /// messages. 0 is the end of a stream.
    pub length: usize,
    /// The sender, as the kernel says; `None` when it did not.
    pub sender: Option<Sender>,
    /// Whether descriptors came with it.
    pub has_descriptors: bool,
}

/// Whether the kernel tells the sender of a message: `SO_PASSCRED` is set on the
/// socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// It does.
    Told,
    /// It does not.
    Untold,
}

persisted! { struct Sender { pid, user } }

impl Credentials {
    /// The room that is for them alone.
    const fn room(self) -> usize {
        match self {
            Self::Told => CREDENTIALS,
            // Where there is room and no credentials, there is room for descriptors.
            Self::Untold => 0,
        }
    }
}

/// Looks at what stands first in the queue, without waiting, without taking it,
/// and without having any descriptor installed: `MSG_PEEK`, and `MSG_CTRUNC`
/// for what found no room.
///
/// `credentials` has to be what is set on the socket.
///
/// # Errors
///
/// `EAGAIN` when nothing is there; `ECONNRESET` of a stream.
pub fn peek(socket: Borrowed<'_>, credentials: Credentials) -> SysResult<Head> {
    let mut message = KernelMessage::new();
    let flags = libc::MSG_PEEK | libc::MSG_TRUNC;
    // With `MSG_TRUNC` a datagram says how long it is, not how much found room.
    let length = message.fill(socket, MOST_BYTES, credentials.room(), flags)?;
    let (mut sender, mut has_descriptors) = (None, message.flags & libc::MSG_CTRUNC != 0);
    message.each(&mut |part| match part {
        Part::Sender(from) => sender = Some(from),
        // It cannot be: there was no room. The kernel's word counts.
        Part::Descriptor(_) => has_descriptors = true,
    });
    Ok(Head { length, sender, has_descriptors })
}

/// Takes what was [peeked](peek) at and came without descriptors, without waiting.
///
/// `head` says how much: of a stream not a byte more, for what follows may have
/// descriptors.
///
/// # Errors
///
/// `EAGAIN` when another process has taken it.
pub fn take(socket: Borrowed<'_>, head: Head, credentials: Credentials) -> SysResult<Message> {
    let mut message = KernelMessage::new();
    let room = head.length.min(MOST_BYTES);
    let length = message.fill(socket, room, credentials.room(), 0)?;
    let cut = message.flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    let bytes = message.bytes.get(..length).unwrap_or_default().to_vec();
    Ok(Message { bytes, sender: head.sender, descriptors: Vec::new(), refused: 0, cut })
}

/// Takes one message without waiting, its descriptors too: for what only we, or a child
/// of ours, can have written.
///
/// # Errors
///
/// `EAGAIN` when none is there.
pub fn receive(socket: Borrowed<'_>) -> SysResult<Message> {
    let mut message = KernelMessage::new();
    let length = message.fill(socket, MOST_BYTES + HEAD, size_of::<Control>(), 0)?;
    let cut = message.flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    let bytes = message.bytes.get(..length).unwrap_or_default().to_vec();
    let (mut sender, mut descriptors) = (None, Vec::new());
    message.each(&mut |part| match part {
        Part::Sender(from) => sender = Some(from),
        Part::Descriptor(number) => descriptors.push(Fd::own(number)),
    });
    Ok(Message { bytes, sender, descriptors, refused: 0, cut })
}

/// A message as the kernel stores it, without any memory of the heap.
pub(super) struct KernelMessage {
    pub bytes: [u8; MOST_BYTES + HEAD],
    control: Control,
    /// How much of `control` the kernel has filled.
    filled: usize,
    pub flags: libc::c_int,
}

/// A part of what came with a message.
pub(super) enum Part {
    Sender(Sender),
    /// Open, close-on-exec, and without an owner yet.
    Descriptor(libc::c_int),
}

impl KernelMessage {
    pub const fn new() -> Self {
        Self { bytes: [0; MOST_BYTES + HEAD], control: [0; 160], filled: 0, flags: 0 }
    }

    /// Reads into it without waiting: so many bytes, and so much control.
    pub fn fill(
        &mut self,
        socket: Borrowed<'_>,
        most: usize,
        room: usize,
        flags: libc::c_int,
    ) -> SysResult<usize> {
        let iov_len = most.min(self.bytes.len());
        let mut place = libc::iovec { iov_base: self.bytes.as_mut_ptr().cast(), iov_len };
        let mut header = header(&mut place, &mut self.control, room);
        if room == 0 {
            header.msg_control = ptr::null_mut();
        }
        let flags = flags | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let length = retry_eintr(|| {
            // SAFETY: the header's buffers are writable for the lengths it gives.
            check_size(unsafe { call::recvmsg(socket.number(), &raw mut header, flags) })
        })?;
        self.flags = header.msg_flags;
        self.filled = if room == 0 { 0 } else { header.msg_controllen as _ };
        Ok(length)
    }

    /// Reads all there is room for.
    pub fn fill_all(&mut self, socket: Borrowed<'_>) -> SysResult<usize> {
        self.fill(socket, MOST_BYTES, size_of::<Control>(), 0)
    }

    /// Goes through what came along.
    pub fn each(&mut self, see: &mut dyn FnMut(Part)) {
        let mut none = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let header = header(&mut none, &mut self.control, self.filled);
        walk(&header, see);
    }
}

fn walk(header: &libc::msghdr, see: &mut dyn FnMut(Part)) {
    // SAFETY: the control buffer is as long as the header says, and was filled
    // by recvmsg.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: a non-null answer of CMSG_FIRSTHDR or CMSG_NXTHDR is a whole header.
        let control = unsafe { next.read() };
        // SAFETY: `next` is a whole header, behind which its data begins.
        let data = unsafe { libc::CMSG_DATA(next) };
        // SAFETY: CMSG_LEN is a sum.
        let before = unsafe { libc::CMSG_LEN(0) } as usize;
        let length = (control.cmsg_len as usize).saturating_sub(before);
        match (control.cmsg_level, control.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                for index in 0..length / size_of::<libc::c_int>() {
                    // SAFETY: the data holds `length` bytes of descriptor numbers.
                    let place = unsafe { data.cast::<libc::c_int>().add(index) };
                    // SAFETY: `place` is within the data; it may be unaligned.
                    see(Part::Descriptor(unsafe { place.read_unaligned() }));
                }
            }
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                // SAFETY: the data holds a whole ucred; it may be unaligned.
                let from = unsafe { data.cast::<libc::ucred>().read_unaligned() };
                see(Part::Sender(Sender { pid: Pid::new(from.pid), user: from.uid }));
            }
            _ => {}
        }
        // SAFETY: `next` is a header within the control buffer of `header`.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
}

/// Whether sending may wait for room in the receiver's queue.
#[derive(Clone, Copy, Debug)]
pub enum SendWait {
    /// Waits until the datagram is queued.
    Wait,
    /// Answers `EAGAIN` when there is no room.
    Never,
}

/// Sends one datagram, or as much of a stream as there is room for, with at
/// most one descriptor, which goes with the first byte. Says how much.
///
/// # Errors
///
/// `EAGAIN` as `patience` says, `ECONNREFUSED` when the receiver is gone.
pub fn send(
    socket: Borrowed<'_>,
    bytes: &[u8],
    descriptor: Option<Borrowed<'_>>,
    patience: SendWait,
) -> SysResult<usize> {
    match descriptor {
        Some(descriptor) => send_all(socket, [bytes, b""], &[descriptor.number()], patience),
        None => send_all(socket, [bytes, b""], &[], patience),
    }
}

/// The same with two parts, which are one message, and up to 253 numbers of
/// descriptors; makes one system call and takes no memory.
pub(super) fn send_all(
    socket: Borrowed<'_>,
    parts: [&[u8]; 2],
    numbers: &[libc::c_int],
    patience: SendWait,
) -> SysResult<usize> {
    let mut control: Control = [0; 160];
    let mut places = parts
        .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
    let [first, second] = &mut places;
    let count = if second.iov_len == 0 { 1 } else { 2 };
    let numbers = numbers.get(..MOST_DESCRIPTORS).unwrap_or(numbers);
    let mut header = header(first, &mut control, space_for(numbers));
    header.msg_iovlen = count;
    match numbers {
        [] => header.msg_control = ptr::null_mut(),
        [..] => attach(&header, numbers),
    }
    let flags = libc::MSG_NOSIGNAL
        | match patience {
            SendWait::Wait => 0,
            SendWait::Never => libc::MSG_DONTWAIT,
        };
    retry_eintr(|| {
        // SAFETY: the header's buffers are readable for the lengths it gives.
        check_size(unsafe { call::sendmsg(socket.number(), &raw const header, flags) })
    })
}

fn space_for(numbers: &[libc::c_int]) -> usize {
    if numbers.is_empty() {
        return 0;
    }
    // SAFETY: CMSG_SPACE is a sum.
    unsafe { libc::CMSG_SPACE(size_of_val(numbers) as libc::c_uint) as usize }
}

fn attach(header: &libc::msghdr, numbers: &[libc::c_int]) {
    // SAFETY: the header's control buffer is larger than one header.
    let first = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: CMSG_LEN is a sum.
    let length = unsafe { libc::CMSG_LEN(size_of_val(numbers) as libc::c_uint) };
    // SAFETY: all zeroes are a valid cmsghdr.
    let mut control: libc::cmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    control.cmsg_level = libc::SOL_SOCKET;
    control.cmsg_type = libc::SCM_RIGHTS;
    control.cmsg_len = length as _;
    // SAFETY: `first` is the aligned beginning of the control buffer.
    unsafe { first.write(control) };
    // SAFETY: `first` is a header with room for the numbers behind it.
    let data = unsafe { libc::CMSG_DATA(first) };
    let bytes = size_of_val(numbers);
    // SAFETY: the data has room for so many bytes, and none of them is in `numbers`.
    unsafe { ptr::copy_nonoverlapping(numbers.as_ptr().cast::<u8>(), data, bytes) };
}

const _: () = assert!(
    size_of::<Control>() >= MOST_DESCRIPTORS * size_of::<libc::c_int>() + 128,
    "a full message and the credentials fit"
);
