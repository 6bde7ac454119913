//! Sockets: socket(2), bind(2), listen(2), accept(2), ip(7), unix(7).

pub mod control;

use super::fd::{Borrowed, Fd};
use super::{Errno, Result, check, file};
use crate::sys::call;
use crate::types::Account;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::{MaybeUninit, size_of, size_of_val};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The address of one end of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// An IPv4 or IPv6 address and port.
    Inet(SocketAddr),
    /// A path in the file system.
    Unix(CString),
    /// None, an abstract one, or one of another family.
    Other,
}

/// A kernel's address buffer of any family.
struct Raw {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl Raw {
    fn empty() -> Self {
        // SAFETY: all zeroes are a valid sockaddr_storage.
        let storage = unsafe { MaybeUninit::zeroed().assume_init() };
        Self { storage, length: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    /// Copies `address`, a sockaddr of some family, to the front.
    fn with<T: Copy>(address: T) -> Self {
        let mut raw = Self::empty();
        let place = (&raw mut raw.storage).cast::<T>();
        // SAFETY: sockaddr_storage is as large as, and aligned for, any sockaddr.
        unsafe { place.write(address) };
        raw.length = size_of_val(&address) as libc::socklen_t;
        raw
    }

    fn inet(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::with(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => Self::with(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }

    /// `name` is a path, or begins with NUL for the abstract namespace.
    fn unix(name: &[u8]) -> Result<Self> {
        let mut sun_path = [0; 108];
        if name.len() >= sun_path.len() {
            return Err(Errno(libc::ENAMETOOLONG));
        }
        for (place, byte) in sun_path.iter_mut().zip(name) {
            *place = libc::c_char::from_ne_bytes([*byte]);
        }
        let sun_family = libc::AF_UNIX as libc::sa_family_t;
        let mut raw = Self::with(libc::sockaddr_un { sun_family, sun_path });
        // A path ends in its NUL; an abstract name is as long as it is.
        let ending = usize::from(name.first() != Some(&0));
        raw.length = (size_of_val(&sun_family) + name.len() + ending) as libc::socklen_t;
        Ok(raw)
    }

    const fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    fn name(&self) -> Name {
        match libc::c_int::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the kernel said AF_INET, so a sockaddr_in is there.
                let v4 = unsafe { self.pointer().cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Name::Inet(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 => {
                // SAFETY: the kernel said AF_INET6, so a sockaddr_in6 is there.
                let v6 = unsafe { self.pointer().cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Name::Inet(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id)))
            }
            libc::AF_UNIX => self.unix_path().map_or(Name::Other, Name::Unix),
            _ => Name::Other,
        }
    }

    fn unix_path(&self) -> Option<CString> {
        let bytes = self.unix_name();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        (end > 0).then(|| CString::new(&bytes[..end]).ok())?
    }

    /// The bytes behind the family, as many as the kernel said.
    fn unix_name(&self) -> Vec<u8> {
        // SAFETY: sockaddr_storage is larger than a sockaddr_un, and was zeroed.
        let address = unsafe { self.pointer().cast::<libc::sockaddr_un>().read() };
        let length = (self.length as usize).saturating_sub(size_of_val(&address.sun_family));
        address.sun_path.iter().take(length).map(|byte| byte.to_ne_bytes()[0]).collect()
    }
}

fn open(family: libc::c_int, kind: libc::c_int) -> Result<Fd> {
    // SAFETY: socket takes three numbers and touches no memory.
    check(unsafe { call::socket(family, kind | libc::SOCK_CLOEXEC, 0) }).map(Fd::own)
}

fn bind(fd: &Fd, address: &Raw) -> Result<()> {
    // SAFETY: `address` is readable for its length.
    check(unsafe { libc::bind(fd.number(), address.pointer(), address.length) })?;
    Ok(())
}

fn set(
    fd: Borrowed<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> Result<()> {
    let size = size_of_val(&value) as libc::socklen_t;
    let value = (&raw const value).cast();
    // SAFETY: `value` is readable for the one int that the option takes.
    check(unsafe { libc::setsockopt(fd.number(), level, option, value, size) })?;
    Ok(())
}

fn ask(fd: Borrowed<'_>, option: libc::c_int) -> Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut size = size_of_val(&value) as libc::socklen_t;
    let place = (&raw mut value).cast();
    // SAFETY: `place` is writable for the one int, and `size` says so.
    check(unsafe {
        libc::getsockopt(fd.number(), libc::SOL_SOCKET, option, place, &raw mut size)
    })?;
    Ok(value)
}

/// Listens with the largest backlog there is; the kernel caps it at
/// `net.core.somaxconn`. listen(2)
fn listen(fd: Fd) -> Result<Fd> {
    // SAFETY: listen takes two numbers and touches no memory.
    check(unsafe { libc::listen(fd.number(), libc::c_int::MAX) })?;
    Ok(fd)
}

/// A listening TCP socket with `SO_REUSEADDR`, and `IPV6_V6ONLY` where that applies.
///
/// # Errors
///
/// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` for a low port, `EAFNOSUPPORT`, `EMFILE`.
pub fn listen_inet(address: &SocketAddr) -> Result<Fd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let fd = open(family, libc::SOCK_STREAM)?;
    set(fd.borrow(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if address.is_ipv6() {
        set(fd.borrow(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    bind(&fd, &Raw::inet(address))?;
    listen(fd)
}

/// A listening stream socket at `path`, made under the process's umask, and of
/// this owner, if there is one: nobody can connect before it is.
///
/// # Errors
///
/// `EADDRINUSE` when something stands there, `ENOENT` and `EACCES` for the way
/// there, `ENAMETOOLONG` past 107 bytes, `EPERM` when it may not be given away.
pub fn listen_unix(path: &CStr, owner: Option<&Account>) -> Result<Fd> {
    let fd = open(libc::AF_UNIX, libc::SOCK_STREAM)?;
    bind(&fd, &Raw::unix(path.to_bytes())?)?;
    if let Some(owner) = owner {
        file::give_socket(path, owner).inspect_err(|_| {
            let _ = file::unlink(path);
        })?;
    }
    listen(fd)
}

/// Whether somebody listens at `path`; never waits for him.
///
/// # Errors
///
/// `EACCES` and the like, when that cannot be told.
pub fn answers(path: &CStr) -> Result<bool> {
    let fd = open(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK)?;
    let address = Raw::unix(path.to_bytes())?;
    // SAFETY: `address` is readable for its length.
    match check(unsafe { libc::connect(fd.number(), address.pointer(), address.length) }) {
        Ok(_) | Err(Errno(libc::EAGAIN)) => Ok(true),
        Err(Errno(libc::ECONNREFUSED | libc::ENOENT)) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A bound datagram socket in the abstract namespace, under a name that the
/// kernel chose, which tells who sent each message: unix(7), `SO_PASSCRED`.
///
/// Returns the name too, without its leading NUL.
///
/// # Errors
///
/// `EMFILE` or `ENFILE`.
pub fn notify_socket() -> Result<(Fd, Vec<u8>)> {
    let fd = open(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK)?;
    set(fd.borrow(), libc::SOL_SOCKET, libc::SO_PASSCRED, 1)?;
    let mut family_alone = Raw::unix(b"\0")?;
    family_alone.length = size_of::<libc::sa_family_t>() as libc::socklen_t;
    bind(&fd, &family_alone)?;
    let name = local(fd.borrow())?.unix_name();
    Ok((fd, name.get(1..).unwrap_or_default().to_vec()))
}

/// A datagram socket connected to `name`, a path or `@` and an abstract name
/// as `NOTIFY_SOCKET` gives it: sd_notify(3).
///
/// # Errors
///
/// `ECONNREFUSED` or `ENOENT` when nobody is there.
pub fn connect_notify(name: &[u8]) -> Result<Fd> {
    let fd = open(libc::AF_UNIX, libc::SOCK_DGRAM)?;
    let mut bytes = name.to_vec();
    if let Some(first @ b'@') = bytes.first_mut() {
        *first = 0;
    }
    let address = Raw::unix(&bytes)?;
    // SAFETY: `address` is readable for its length.
    check(unsafe { libc::connect(fd.number(), address.pointer(), address.length) })?;
    Ok(fd)
}

/// Takes a connection out of the queue: accept4(2). The connection is
/// close-on-exec and blocking, whatever the listener is.
///
/// # Errors
///
/// `EAGAIN` when the listener is non-blocking and nobody waits; `EINTR` when a
/// signal came first; `ENOTSOCK` when a stop put /dev/null there; `EMFILE`,
/// `ENFILE`, `ENOBUFS`, `ENOMEM`; and what had befallen the connection itself.
pub fn accept(listener: Borrowed<'_>) -> Result<(Fd, Name)> {
    let mut peer = Raw::empty();
    let place = (&raw mut peer.storage).cast();
    let length = &raw mut peer.length;
    // SAFETY: `place` is writable for as many bytes as `length` says.
    let fd = check(unsafe { libc::accept4(listener.number(), place, length, libc::SOCK_CLOEXEC) })?;
    Ok((Fd::own(fd), peer.name()))
}

fn local(fd: Borrowed<'_>) -> Result<Raw> {
    let mut raw = Raw::empty();
    let place = (&raw mut raw.storage).cast();
    // SAFETY: `place` is writable for as many bytes as the length says.
    check(unsafe { libc::getsockname(fd.number(), place, &raw mut raw.length) })?;
    Ok(raw)
}

/// The address that a socket is bound to: getsockname(2).
///
/// # Errors
///
/// `ENOTSOCK`, `EBADF`.
pub fn local_name(fd: Borrowed<'_>) -> Result<Name> {
    Ok(local(fd)?.name())
}

/// What a stored descriptor may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A listening socket.
    Listening,
    /// A datagram socket with an address.
    BoundDatagram,
    /// Anything else, be it a socket or not.
    Other,
}

/// What `fd` is.
pub fn kind(fd: Borrowed<'_>) -> Kind {
    if ask(fd, libc::SO_ACCEPTCONN) == Ok(1) {
        return Kind::Listening;
    }
    let bound = || match local(fd).map(|raw| (raw.name(), raw.length)) {
        Ok((Name::Inet(address), _)) => address.port() != 0,
        Ok((Name::Unix(_), _)) => true,
        Ok((Name::Other, length)) => length as usize > size_of::<libc::sa_family_t>(),
        Err(_) => false,
    };
    let datagram = ask(fd, libc::SO_TYPE) == Ok(libc::SOCK_DGRAM);
    if datagram && bound() { Kind::BoundDatagram } else { Kind::Other }
}

/// Makes closing `fd` a matter of no time, whatever its owner asked for: a
/// TCP socket with `SO_LINGER` can hold close(2) for as long as that says.
pub fn never_linger(fd: Borrowed<'_>) {
    let off = libc::linger { l_onoff: 0, l_linger: 0 };
    let size = size_of_val(&off) as libc::socklen_t;
    let value = (&raw const off).cast();
    // SAFETY: `value` is readable for the one linger. What is no socket says
    // ENOTSOCK, and does not linger.
    unsafe { libc::setsockopt(fd.number(), libc::SOL_SOCKET, libc::SO_LINGER, value, size) };
}

/// Has a listening TCP socket take no new connection, while those in its
/// queue stay: drops what is SYN and not ACK before TCP sees it. socket(7), `SO_ATTACH_FILTER`
///
/// A client sends its SYN again, and finds the next server or a closed port.
///
/// # Errors
///
/// `ENOMEM` when the kernel has no room for the filter.
pub fn refuse_newcomers(fd: Borrowed<'_>) -> Result<()> {
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
