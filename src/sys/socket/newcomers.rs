//! Keeping new connections out of a listener's queue: socket(7), ip(7), ipv6(7).

use super::{Name, local_name, set};
use crate::sys::fd::Borrowed;
use crate::sys::{SysResult, check};
use core::mem::size_of_val;
use core::net::SocketAddr;

/// The largest TTL there is; what comes from the loopback has 64.
const NO_TTL: u8 = u8::MAX;

/// Has a listening TCP socket take no new connection, while those in its
/// queue stay: drops what is SYN and not ACK before TCP sees it. socket(7), `SO_ATTACH_FILTER`
///
/// A client sends its SYN again, and finds the next server or a closed port.
///
/// # Errors
///
/// `EPERM` where an ordinary user may attach no filter, `ENOMEM` when the kernel
/// has no room for one.
pub fn refuse_newcomers(fd: Borrowed<'_>) -> SysResult<()> {
    const FLAGS: u32 = 13; // of the TCP header, where the filter's data begins
    const SYN: u32 = 0x02;
    const SYN_OR_ACK: u32 = 0x12;
    let load = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    let and = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let give = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(load, 0, 0, FLAGS),
        step(and, 0, 0, SYN_OR_ACK),
        step(equal, 0, 1, SYN),
        step(give, 0, 0, 0),
        step(give, 0, 0, u32::MAX),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    let size = size_of_val(&program) as libc::socklen_t;
    let value = (&raw const program).cast();
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    // SAFETY: `value` is readable for the one sock_fprog, whose filter is
    // readable for the steps it counts; the kernel copies both.
    check(unsafe { libc::setsockopt(fd.number(), level, option, value, size) })?;
    Ok(())
}

/// The same for any user: a listening TCP socket drops every packet with a TTL
/// (IPv6: hop limit) below 255. `IP_MINTTL`, `IPV6_MINHOPCOUNT`
///
/// A connection whose handshake is already under way still comes into the queue,
/// and inherits the option: nothing of its client arrives until it is accepted and
/// [`take_any_ttl`] has been called for it. What was dropped the client sends again.
///
/// # Errors
///
/// `ENOPROTOOPT` where a sandbox does not know the options.
pub fn refuse_newcomers_by_ttl(fd: Borrowed<'_>) -> SysResult<()> {
    set_least_ttl(fd, &local_name(fd)?, NO_TTL)
}

/// Has a connection with this peer take every packet: what it may have
/// inherited from a listener after [`refuse_newcomers_by_ttl`] is undone.
pub fn take_any_ttl(fd: Borrowed<'_>, peer: &Name) {
    // A socket that knows no such option has not inherited it.
    let _ = set_least_ttl(fd, peer, 0);
}

/// Undoes [`refuse_newcomers`] and [`refuse_newcomers_by_ttl`], whichever process has
/// done them: a listener is to take new connections.
pub fn admit_newcomers(fd: Borrowed<'_>) {
    if let Ok(name) = local_name(fd) {
        take_any_ttl(fd, &name);
    }
    // ENOENT where there is no filter, EPERM where it was locked on purpose.
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0);
}

/// Sets the least TTL of a socket with an end called `name`. A socket of IPv6
/// may have clients of IPv4 too.
fn set_least_ttl(fd: Borrowed<'_>, name: &Name, least: u8) -> SysResult<()> {
    let Name::Inet(address) = name else { return Ok(()) };
    set(fd, libc::IPPROTO_IP, libc::IP_MINTTL, least.into())?;
    match address {
        SocketAddr::V4(_) => Ok(()),
        SocketAddr::V6(_) => set(fd, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, least.into()),
    }
}
