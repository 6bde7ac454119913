//! Handshakes under way: sock_diag(7).

use super::{Name, local_name};
use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::{Errno, SysResult, call, check};
use core::net::SocketAddr;

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `SYN_RECV` of the states of TCP, as a bit.
const SYN_RECV: u32 = 1 << 3;
/// The sizes of struct nlmsghdr, and of that with struct inet_diag_req_v2 behind it.
const HEADER: usize = 16;
const QUESTION: usize = HEADER + 56;

/// Whether a client is in the middle of its handshake with a listening TCP socket: its SYN
/// was answered, so it may take the connection for made, but that is in no queue yet. Never
/// waits.
///
/// # Errors
///
/// `EAFNOSUPPORT`, `ENOENT` and others where the kernel or a sandbox does not tell.
pub fn has_half_open(listener: Borrowed<'_>) -> SysResult<bool> {
    match local_name(listener)? {
        Name::Inet(SocketAddr::V4(address)) => ask(libc::AF_INET, address.port()),
        // A client of IPv4 shows as one of IPv6 there.
        Name::Inet(SocketAddr::V6(address)) => ask(libc::AF_INET6, address.port()),
        Name::Unix(_) | Name::Other => Ok(false),
    }
}

fn ask(family: libc::c_int, port: u16) -> SysResult<bool> {
    let socket = open()?;
    fd::write(socket.borrow(), &question(family as u8, port))?;
    let mut answer = [0; 4096];
    let length = fd::read(socket.borrow(), &mut answer)?;
    // The first message tells: a socket, the end of none, or an error.
    let half =
        |at: usize| answer.get(at..at + 2).map_or(0, |two| u16::from_ne_bytes([two[0], two[1]]));
    match libc::c_int::from(half(4)) {
        _ if length < HEADER + 4 => Err(Errno(libc::EBADMSG)),
        kind if kind == BY_FAMILY.into() => Ok(true),
        libc::NLMSG_DONE => Ok(false),
        _ => Err(Errno(libc::EOPNOTSUPP)),
    }
}

fn open() -> SysResult<Fd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes three numbers and touches no memory.
    check(unsafe { call::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG) }).map(Fd::own)
}

/// All sockets of that port in that state.
fn question(family: u8, port: u16) -> [u8; QUESTION] {
    let mut bytes = [0; QUESTION];
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    bytes[0..4].copy_from_slice(&(QUESTION as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes[HEADER] = family;
    bytes[HEADER + 1] = libc::IPPROTO_TCP as u8;
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&SYN_RECV.to_ne_bytes());
    bytes[HEADER + 8..HEADER + 10].copy_from_slice(&port.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::has_half_open;
    use crate::sys::fd::Borrowed;
    use crate::sys::socket::admit_newcomers;
    use crate::sys::{Errno, SysResult, check};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::println;

    /// Has a listener drop all that is not SYN: clients take their connection for made.
    fn drop_acknowledgements(fd: Borrowed<'_>) -> SysResult<()> {
        let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let mut steps = [
            step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 13),
            step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 1, 0, 2),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        ];
        let program = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
        let (value, size) = ((&raw const program).cast(), size_of::<libc::sock_fprog>());
        // SAFETY: `program` and its four steps are readable.
        check(unsafe {
            libc::setsockopt(
                fd.number(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                value,
                size as libc::socklen_t,
            )
        })?;
        Ok(())
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "what is not tested is said")]
    fn handshake_is_under_way_until_the_client_has_the_last_word() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).expect("the loopback is up");
            let fd: Borrowed<'_> = listener.as_fd().into();
            assert_eq!(has_half_open(fd), Ok(false), "{address}");
            if drop_acknowledgements(fd) == Err(Errno(libc::EPERM)) {
                return println!("skipped: handshakes: an ordinary user may attach no filter");
            }
            let name = listener.local_addr().expect("it is bound");
            let _client = TcpStream::connect(name).expect("it has SYN-ACK");
            assert_eq!(has_half_open(fd), Ok(true), "{address}");
            admit_newcomers(fd);
            // SYN-ACK is sent again after a second.
            listener.accept().expect("the handshake is over");
            assert_eq!(has_half_open(fd), Ok(false), "{address}");
        }
    }
}
