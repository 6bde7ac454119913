//! Datagrams with descriptors and credentials: sendmsg(2), recvmsg(2), unix(7).

use super::fd::{Borrowed, Fd};
use super::{Result, check_size, retry_eintr};
use crate::sys::call;
use crate::types::Pid;
use alloc::vec::Vec;
use core::mem::{MaybeUninit, size_of};
use core::ptr;

/// As many descriptors as one message can carry: `SCM_MAX_FD`.
const MOST_DESCRIPTORS: usize = 253;

/// The longest datagram that is read whole; what is longer is refused.
pub const MOST_BYTES: usize = 4_096;

/// Room for the control messages of one datagram, aligned as cmsg(3) wants.
type Control = [u64; 160];

/// A datagram that came in.
#[derive(Debug)]
pub struct Message {
    /// What it says.
    pub bytes: Vec<u8>,
    /// Who sent it, as the kernel says; `None` when it did not.
    pub sender: Option<Sender>,
    /// The descriptors that came with it, close-on-exec.
    pub descriptors: Vec<Fd>,
    /// Whether the kernel had to cut off a part of it.
    pub cut: bool,
}

/// The sender of a datagram: `SCM_CREDENTIALS`.
#[derive(Clone, Copy, Debug)]
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

/// Takes one datagram without waiting.
///
/// # Errors
///
/// `EAGAIN` when none is there.
// Inlined into its one caller it would make that frame larger, and with it
// every access to the frame.
#[inline(never)]
pub fn receive(socket: Borrowed<'_>) -> Result<Message> {
    let mut bytes = alloc::vec![0; MOST_BYTES];
    let mut control: Control = [0; 160];
    let mut place = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut header = header(&mut place, &mut control, size_of::<Control>());
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the header's buffers are writable for the lengths it gives.
    let call = || check_size(unsafe { call::recvmsg(socket.number(), &raw mut header, flags) });
    let length = retry_eintr(call)?;
    bytes.truncate(length);
    let cut = header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    let mut message = Message { bytes, sender: None, descriptors: Vec::new(), cut };
    collect(&header, &mut message);
    Ok(message)
}

fn collect(header: &libc::msghdr, message: &mut Message) {
    // SAFETY: recvmsg has filled the header and its control buffer.
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
                    message.descriptors.push(Fd::own(unsafe { place.read_unaligned() }));
                }
            }
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                // SAFETY: the data holds a whole ucred; it may be unaligned.
                let from = unsafe { data.cast::<libc::ucred>().read_unaligned() };
                message.sender = Some(Sender { pid: Pid::new(from.pid), user: from.uid });
            }
            _ => {}
        }
        // SAFETY: `next` is a header within the control buffer of `header`.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
}

/// Whether sending may wait for room in the receiver's queue.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
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
    patience: Patience,
) -> Result<usize> {
    let mut control: Control = [0; 160];
    let mut place =
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let room = if descriptor.is_some() { space_for_one() } else { 0 };
    let mut header = header(&mut place, &mut control, room);
    match descriptor {
        Some(descriptor) => attach(&header, descriptor),
        None => header.msg_control = ptr::null_mut(),
    }
    let flags = libc::MSG_NOSIGNAL
        | match patience {
            Patience::Wait => 0,
            Patience::Never => libc::MSG_DONTWAIT,
        };
    retry_eintr(|| {
        // SAFETY: the header's buffers are readable for the lengths it gives.
        check_size(unsafe { call::sendmsg(socket.number(), &raw const header, flags) })
    })
}

const ONE: libc::c_uint = size_of::<libc::c_int>() as libc::c_uint;

fn space_for_one() -> usize {
    // SAFETY: CMSG_SPACE is a sum.
    unsafe { libc::CMSG_SPACE(ONE) as usize }
}

fn attach(header: &libc::msghdr, descriptor: Borrowed<'_>) {
    // SAFETY: the header's control buffer is larger than one header.
    let first = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: CMSG_LEN is a sum.
    let length = unsafe { libc::CMSG_LEN(ONE) };
    // SAFETY: all zeroes are a valid cmsghdr.
    let mut control: libc::cmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    control.cmsg_level = libc::SOL_SOCKET;
    control.cmsg_type = libc::SCM_RIGHTS;
    control.cmsg_len = length as _;
    // SAFETY: `first` is the aligned beginning of the control buffer.
    unsafe { first.write(control) };
    // SAFETY: `first` is a header with room for one descriptor behind it.
    let data = unsafe { libc::CMSG_DATA(first) };
    // SAFETY: the data has room for one descriptor; it may be unaligned.
    unsafe { data.cast::<libc::c_int>().write_unaligned(descriptor.number()) };
}

const _: () = assert!(
    size_of::<Control>() >= MOST_DESCRIPTORS * size_of::<libc::c_int>() + 128,
    "a full message and the credentials fit"
);
