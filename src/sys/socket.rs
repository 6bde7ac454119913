//! Sockets: socket(2), bind(2), listen(2), accept(2), ip(7), unix(7).

mod half_open;
pub mod interface;
mod newcomers;
mod unix_path;
pub mod unix_server;

pub use half_open::has_half_open;
pub use newcomers::{admit_newcomers, refuse_newcomers, refuse_newcomers_by_ttl, take_any_ttl};
pub use unix_path::is_long;

use super::{Errno, SysResult, call, check, file};
use crate::sys::fd::{Blocking, Borrowed, Fd};
use crate::sys::file::Identity;
use crate::types::Account;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::{MaybeUninit, size_of, size_of_val};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use unix_path::UnixPath;

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
struct KernelAddress {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl KernelAddress {
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
    fn unix(name: &[u8]) -> SysResult<Self> {
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

fn open(family: libc::c_int, kind: libc::c_int) -> SysResult<Fd> {
    // SAFETY: socket takes three numbers and touches no memory.
    check(unsafe { call::socket(family, kind | libc::SOCK_CLOEXEC, 0) }).map(Fd::own)
}

fn bind(fd: &Fd, address: &KernelAddress) -> SysResult<()> {
    // SAFETY: `address` is readable for its length.
    check(unsafe { libc::bind(fd.number(), address.pointer(), address.length) })?;
    Ok(())
}

fn set(
    fd: Borrowed<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> SysResult<()> {
    let size = size_of_val(&value) as libc::socklen_t;
    let value = (&raw const value).cast();
    // SAFETY: `value` is readable for the one int that the option takes.
    check(unsafe { libc::setsockopt(fd.number(), level, option, value, size) })?;
    Ok(())
}

fn ask(fd: Borrowed<'_>, option: libc::c_int) -> SysResult<libc::c_int> {
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
fn listen(fd: Fd) -> SysResult<Fd> {
    ask_for_largest_backlog(fd.borrow())?;
    Ok(fd)
}

fn ask_for_largest_backlog(fd: Borrowed<'_>) -> SysResult<()> {
    // SAFETY: listen takes two numbers and touches no memory.
    check(unsafe { libc::listen(fd.number(), libc::c_int::MAX) })?;
    Ok(())
}

/// Has a listening socket have the largest backlog again, whatever a program that
/// shares it has made of it. listen(2)
///
/// # Errors
///
/// `EINVAL` when it does not listen any more.
pub fn restore_backlog(fd: Borrowed<'_>) -> SysResult<()> {
    if ask(fd, libc::SO_ACCEPTCONN)? != 1 {
        return Err(Errno(libc::EINVAL));
    }
    ask_for_largest_backlog(fd)
}

/// A listening TCP socket with `SO_REUSEADDR`, and `IPV6_V6ONLY` where that applies.
///
/// # Errors
///
/// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` for a low port, `EAFNOSUPPORT`, `EMFILE`.
pub fn listen_inet(address: &SocketAddr) -> SysResult<Fd> {
    listen(bind_inet(address)?)
}

/// The same, bound alone: while it is open nothing else may listen there.
///
/// # Errors
///
/// Those of [`listen_inet`].
pub fn bind_inet(address: &SocketAddr) -> SysResult<Fd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let fd = open(family, libc::SOCK_STREAM)?;
    set(fd.borrow(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if address.is_ipv6() {
        set(fd.borrow(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    bind(&fd, &KernelAddress::inet(address))?;
    Ok(fd)
}

/// A listening stream socket at `path`: of this mode, or made under the process's
/// umask where there is none, and of this owner, if there is one. Nothing can connect
/// before it is, and what fails leaves no path behind.
///
/// Call it with a mode while there is one thread: for a moment it changes the umask.
///
/// # Errors
///
/// `EADDRINUSE` when something stands there, `ENOENT` and `EACCES` for the way
/// there, `ENAMETOOLONG` for a path past 107 bytes that no directory leads to
/// (see `unix_path`), `EPERM` when it may not be given away.
pub fn listen_unix(path: &CStr, owner: Option<&Account>, mode: Option<u32>) -> SysResult<Fd> {
    let fd = open(libc::AF_UNIX, libc::SOCK_STREAM)?;
    let unix = UnixPath::of(path)?;
    match mode {
        None => bind(&fd, &unix.address)?,
        Some(mode) => bind_with_mode(&fd, &unix.address, mode)?,
    }
    let made = file::own_socket_at(path);
    let given = owner.map_or(Ok(()), |owner| file::give_socket(path, owner));
    given.and_then(|()| listen(fd)).inspect_err(|_| unbind(path, made))
}

/// Takes the path away that a socket was bound to a moment ago, if `made` was found
/// there then, and still is: anything else is another's.
fn unbind(path: &CStr, made: Option<Identity>) {
    if let Some(made) = made {
        let _ = file::remove(path, made);
    }
}

/// Binds so that the path has exactly these permissions from its first moment.
fn bind_with_mode(fd: &Fd, address: &KernelAddress, mode: u32) -> SysResult<()> {
    // SAFETY: umask takes a number, always succeeds and touches no memory.
    let before = unsafe { libc::umask(!mode & 0o777) };
    let bound = bind(fd, address);
    // SAFETY: umask takes a number, always succeeds and touches no memory.
    unsafe { libc::umask(before) };
    bound
}

/// Whether a process listens at `path`; never waits for it.
///
/// # Errors
///
/// `EACCES` and the like, when that cannot be told.
pub fn answers(path: &CStr) -> SysResult<bool> {
    match connect_at_once(path, libc::SOCK_STREAM) {
        Ok(_) | Err(Errno(libc::EAGAIN)) => Ok(true),
        Err(Errno(libc::ECONNREFUSED | libc::ENOENT)) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Connects a socket of this kind to `path`; `EAGAIN` when the queue there is full.
fn connect_at_once(path: &CStr, kind: libc::c_int) -> SysResult<Fd> {
    let fd = open(libc::AF_UNIX, kind | libc::SOCK_NONBLOCK)?;
    let path = UnixPath::of(path)?;
    let address = &path.address;
    // SAFETY: `address` is readable for its length.
    check(unsafe { libc::connect(fd.number(), address.pointer(), address.length) })?;
    Ok(fd)
}

/// What a Unix path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The socket that was asked for.
    Itself,
    /// Another one, or nothing that answers.
    Another,
    /// That cannot be told: its queue is full, or it does not listen.
    Unknown,
}

/// Whether `listener` is what listens at `path`: a client there sees the process that
/// called listen(2), and its user, as `listener` itself does. Never waits for it.
pub fn standing(listener: Borrowed<'_>, path: &CStr) -> Standing {
    if kind(listener) != SocketKind::Listening {
        return Standing::Unknown;
    }
    match ask(listener, libc::SO_TYPE).and_then(|kind| connect_at_once(path, kind)) {
        Ok(client) if unix_server::peer(client.borrow()) == unix_server::peer(listener) => {
            Standing::Itself
        }
        Err(Errno(libc::EAGAIN)) => Standing::Unknown,
        Ok(_) | Err(_) => Standing::Another,
    }
}

/// A bound datagram socket in the abstract namespace, under a name that the kernel
/// chose, which tells the sender of each message: unix(7), `SO_PASSCRED`.
///
/// Returns the name too, without its leading NUL.
///
/// # Errors
///
/// `EMFILE` or `ENFILE`.
pub fn notify_socket() -> SysResult<(Fd, Vec<u8>)> {
    let fd = open(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK)?;
    set(fd.borrow(), libc::SOL_SOCKET, libc::SO_PASSCRED, 1)?;
    let mut family_alone = KernelAddress::unix(b"\0")?;
    family_alone.length = size_of::<libc::sa_family_t>() as libc::socklen_t;
    bind(&fd, &family_alone)?;
    let name = local(fd.borrow())?.unix_name();
    Ok((fd, name.get(1..).unwrap_or_default().to_vec()))
}

/// The same at `path`, born with mode 0600: only its owner and root can ever send to
/// it.
///
/// # Errors
///
/// `EADDRINUSE` when something stands there, `ENOENT` and `EACCES` for the way
/// there, `ENAMETOOLONG` past 107 bytes, `EMFILE`, `ENFILE`.
pub fn notify_socket_at(path: &CStr) -> SysResult<Fd> {
    let address = KernelAddress::unix(path.to_bytes())?;
    let fd = open(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK)?;
    set(fd.borrow(), libc::SOL_SOCKET, libc::SO_PASSCRED, 1)?;
    // What is bound has the mode of the socket, less the umask.
    // SAFETY: fchmod takes two numbers and touches no memory.
    check(unsafe { libc::fchmod(fd.number(), 0o600) })?;
    bind(&fd, &address)?;
    Ok(fd)
}

/// Two ends of one connection, which keeps messages apart: socketpair(2).
///
/// # Errors
///
/// `EMFILE` or `ENFILE`.
pub fn pair() -> SysResult<(Fd, Fd)> {
    connected(libc::SOCK_SEQPACKET)
}

/// The same of one that does not.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn stream_pair() -> SysResult<(Fd, Fd)> {
    connected(libc::SOCK_STREAM)
}

fn connected(kind: libc::c_int) -> SysResult<(Fd, Fd)> {
    let (kind, mut ends) = (kind | libc::SOCK_CLOEXEC, [-1; 2]);
    // SAFETY: `ends` is writable for the two ints that socketpair stores.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
    let [one, other] = ends;
    Ok((Fd::own(one), Fd::own(other)))
}

/// Refuses descriptors from now on at `fd`, a Unix socket, and at what it accepts:
/// `SO_PASSRIGHTS`, Linux 6.16. What was sent before stays.
///
/// # Errors
///
/// `ENOPROTOOPT` where the kernel does not know it.
pub fn refuse_descriptors(fd: Borrowed<'_>) -> SysResult<()> {
    const SO_PASSRIGHTS: libc::c_int = if cfg!(target_arch = "sparc64") { 0x5c } else { 83 };
    set(fd, libc::SOL_SOCKET, SO_PASSRIGHTS, 0)
}

/// A datagram socket connected to `name`, a path or `@` and an abstract name
/// as `NOTIFY_SOCKET` gives it: sd_notify(3).
///
/// # Errors
///
/// `ECONNREFUSED` or `ENOENT` when nothing listens there.
pub fn connect_notify(name: &[u8]) -> SysResult<Fd> {
    let fd = open(libc::AF_UNIX, libc::SOCK_DGRAM)?;
    let mut bytes = name.to_vec();
    if let Some(first @ b'@') = bytes.first_mut() {
        *first = 0;
    }
    let address = KernelAddress::unix(&bytes)?;
    // SAFETY: `address` is readable for its length.
    check(unsafe { libc::connect(fd.number(), address.pointer(), address.length) })?;
    Ok(fd)
}

/// Takes a connection out of the queue: accept4(2). The connection is
/// close-on-exec, and blocking or not, whatever the listener is.
///
/// # Errors
///
/// `EAGAIN` when the listener is non-blocking and no connection waits; `EINTR` when a
/// signal came first; `ENOTSOCK` when a stop put /dev/null there; `EMFILE`, `ENFILE`,
/// `ENOBUFS`, `ENOMEM`; and what had befallen the connection itself.
pub fn accept(listener: Borrowed<'_>, blocking: Blocking) -> SysResult<(Fd, Name)> {
    let flags = match blocking {
        Blocking::Yes => libc::SOCK_CLOEXEC,
        Blocking::No => libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
    };
    let mut peer = KernelAddress::empty();
    let place = (&raw mut peer.storage).cast();
    let length = &raw mut peer.length;
    // SAFETY: `place` is writable for as many bytes as `length` says.
    let fd = check(unsafe { libc::accept4(listener.number(), place, length, flags) })?;
    Ok((Fd::own(fd), peer.name()))
}

fn local(fd: Borrowed<'_>) -> SysResult<KernelAddress> {
    let mut raw = KernelAddress::empty();
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
pub fn local_name(fd: Borrowed<'_>) -> SysResult<Name> {
    Ok(local(fd)?.name())
}

/// Whether a socket at `name` keeps another one from listening at `address`: the same
/// port, and the same address, or one of them is every address of its family.
pub fn overlap(name: &Name, address: &SocketAddr) -> bool {
    let Name::Inet(there) = name else { return false };
    let (ip, other) = (there.ip(), address.ip());
    there.port() == address.port()
        && ip.is_ipv4() == other.is_ipv4()
        && (ip == other || ip.is_unspecified() || other.is_unspecified())
}

/// What a stored descriptor may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// A listening socket.
    Listening,
    /// A datagram socket with an address.
    BoundDatagram,
    /// Anything else, be it a socket or not.
    Other,
}

/// What `fd` is.
pub fn kind(fd: Borrowed<'_>) -> SocketKind {
    if ask(fd, libc::SO_ACCEPTCONN) == Ok(1) {
        return SocketKind::Listening;
    }
    let bound = || match local(fd).map(|raw| (raw.name(), raw.length)) {
        Ok((Name::Inet(address), _)) => address.port() != 0,
        Ok((Name::Unix(_), _)) => true,
        Ok((Name::Other, length)) => length as usize > size_of::<libc::sa_family_t>(),
        Err(_) => false,
    };
    let datagram = ask(fd, libc::SO_TYPE) == Ok(libc::SOCK_DGRAM);
    if datagram && bound() { SocketKind::BoundDatagram } else { SocketKind::Other }
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
