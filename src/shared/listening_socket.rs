//! Opening a listening socket, and letting it go for good.
//!
//! The same for main's `--bind` and for the library's `listen`.

use crate::error::{Error, Result};
use crate::log::log;
use crate::persist::{Codec, Persist, persisted};
use crate::protocol::address::Address;
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::file::{self, FileKind, Identity};
use crate::sys::socket::{self, Name, Standing, interface};
use crate::sys::{self, Errno, process};
use crate::types::{Account, Level};
use alloc::boxed::Box;
use alloc::ffi::CString;
use core::ffi::CStr;
use core::net::SocketAddr;

/// What a Unix socket's path is to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access<'a> {
    /// Its owner; without one it is ours.
    pub owner: Option<&'a Account>,
    /// Its permissions; without them they are what the umask leaves.
    pub mode: Option<u32>,
}

/// Opens a listening socket at `address`; a Unix path is made with this `access`.
///
/// A Unix path with a socket of our user, or of that owner, at which nothing listens
/// any more is taken over; anything else that stands there is refused.
///
/// # Errors
///
/// `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`, `ENOENT` and the like; `ENODEV` for an
/// interface that is not there. No path is left behind.
pub fn open(address: &Address, access: Access<'_>) -> Result<Fd> {
    try_open(address, access).map_err(|errno| cannot_listen(address, errno))
}

/// What [`open`] says.
pub fn cannot_listen(address: &Address, errno: Errno) -> Error {
    let is_path = matches!(address, Address::Unix(_));
    let advice = match errno.0 {
        libc::EADDRINUSE if is_path => {
            "a process listens there, which 'ss -lxp' may show, or it is no socket: remove it, or \
             choose another path"
        }
        libc::EADDRINUSE => {
            "another process, perhaps another panzer, listens there: 'ss -ltnp' shows which"
        }
        libc::EACCES if is_path => "its directory has to be writable for this user",
        libc::EACCES => {
            "a port below 1024 needs root or CAP_NET_BIND_SERVICE: start panzer as root with \
             --bind and --user, or choose another port"
        }
        _ => "",
    };
    Error::system(format_args!("cannot listen on {address}"), errno).advise(advice)
}

/// [`open`] without words.
///
/// # Errors
///
/// The same.
pub fn try_open(address: &Address, access: Access<'_>) -> sys::SysResult<Fd> {
    match address {
        Address::Unix(path) => open_unix(path, access),
        Address::Inet(_) | Address::Scoped(..) => {
            socket::listen_inet(&inet(address).ok_or(Errno(libc::ENODEV))?)
        }
    }
}

/// The kernel's form of an address; `None` for a path, and for an interface that is
/// not there.
pub fn inet(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::Inet(address) => Some(*address),
        Address::Scoped(address, name) => {
            let mut scoped = *address;
            scoped.set_scope_id(interface::index_of(name).ok()?);
            Some(SocketAddr::V6(scoped))
        }
        Address::Unix(_) => None,
    }
}

/// Where a socket listens, as it would be written for `--bind`; `None` for what has no
/// such address. A long Unix path is not known to the kernel.
pub fn address_of(socket: Borrowed<'_>) -> Option<Address> {
    match socket::local_name(socket).ok()? {
        Name::Inet(SocketAddr::V6(mut v6)) if v6.scope_id() != 0 => {
            let Some(name) = interface::name_of(v6.scope_id()) else {
                return Some(Address::Inet(SocketAddr::V6(v6)));
            };
            v6.set_scope_id(0);
            Some(Address::Scoped(v6, name))
        }
        Name::Inet(address) => Some(Address::Inet(address)),
        Name::Unix(path) => (!is_way(&path)).then_some(Address::Unix(path)),
        Name::Other => None,
    }
}

/// Whether `socket` listens at `address`.
pub fn listens_at(socket: Borrowed<'_>, address: &Address) -> bool {
    match socket::local_name(socket) {
        Ok(Name::Inet(there)) => inet(address) == Some(there),
        Ok(Name::Unix(there)) => *address == Address::Unix(there),
        Ok(Name::Other) | Err(_) => false,
    }
}

/// Whether two addresses are one, whatever they call its interface.
pub fn is_same(one: &Address, other: &Address) -> bool {
    one == other || inet(one).is_some_and(|one| inet(other) == Some(one))
}

/// Whether the path that the kernel knows of `socket`, from the root, leads to it.
pub fn standing(socket: Borrowed<'_>) -> Standing {
    match address_of(socket) {
        Some(Address::Unix(path)) if path.to_bytes().starts_with(b"/") => {
            socket::standing(socket, &path)
        }
        Some(_) | None => Standing::Unknown,
    }
}

/// Whether `socket` listens at the host of `address`, at any port.
pub fn is_at_host(socket: Borrowed<'_>, address: &Address) -> bool {
    match (socket::local_name(socket), inet(address)) {
        (Ok(Name::Inet(mut there)), Some(host)) => {
            there.set_port(host.port());
            there == host
        }
        (Ok(_) | Err(_), _) => false,
    }
}

/// Whether a socket at one of these keeps another one from listening at the other.
pub fn overlap(one: &Address, other: &Address) -> bool {
    let (one, other) = (inet(one).map(Name::Inet), inet(other));
    one.zip(other).is_some_and(|(one, other)| socket::overlap(&one, &other))
}

/// Whether a path led through a descriptor of the process that bound it: it means
/// something else here.
fn is_way(path: &CStr) -> bool {
    path.to_bytes().starts_with(b"/proc/self/fd/")
}

fn open_unix(path: &CStr, access: Access<'_>) -> sys::SysResult<Fd> {
    let listen = || socket::listen_unix(path, access.owner, access.mode);
    match listen() {
        Err(in_use @ Errno(libc::EADDRINUSE)) => {
            // Held, so that no other file has its number before it is taken away.
            let held = file::open(path, file::Mode::Hold)?;
            let stale = file::identity(held.borrow())?;
            let owner = file::owner(held.borrow())?;
            let is_ours = owner == process::user()
                || access.owner.is_some_and(|account| account.user == owner);
            if stale.kind() != FileKind::Socket || !is_ours || socket::answers(path)? {
                return Err(in_use);
            }
            file::remove(path, stale)?;
            listen()
        }
        opened => opened,
    }
}

/// The file that a Unix socket of ours stands at.
// One pointer: what is kept beside it is moved often.
#[derive(Clone, Debug)]
pub struct SocketPath(Box<Named>);

#[derive(Clone, Debug)]
struct Named {
    path: CString,
    identity: Identity,
}

persisted! { struct Named { path, identity } }

impl Persist for SocketPath {
    fn empty_value() -> Self {
        Self(Box::new(Named::empty_value()))
    }

    fn persist(&mut self, codec: &mut Codec) {
        self.0.persist(codec);
    }
}

impl SocketPath {
    /// Where `socket` stands, if that is a path from the root which is there and
    /// which the kernel knows.
    pub fn of(socket: Borrowed<'_>) -> Option<Self> {
        match address_of(socket)? {
            Address::Unix(path) if path.to_bytes().starts_with(b"/") => Self::at(path),
            Address::Unix(_) | Address::Inet(_) | Address::Scoped(..) => None,
        }
    }

    /// The socket that stands at `path`, if one does.
    pub fn at(path: CString) -> Option<Self> {
        let identity = file::identity_at(&path).ok()?;
        (identity.kind() == FileKind::Socket).then(|| Self::named(path, identity))
    }

    /// Whether an address has no room for it, so that its socket does not tell it.
    pub fn is_long(&self) -> bool {
        socket::is_long(&self.0.path)
    }

    /// Which file it was given to.
    pub const fn identity(&self) -> Identity {
        self.0.identity
    }

    /// Whether it leads to nothing, or to something else, by now. Where that cannot be
    /// told it counts as unchanged.
    pub fn is_lost(&self) -> bool {
        match file::identity_at(&self.0.path) {
            Ok(there) => there != self.0.identity,
            Err(errno) => matches!(errno, Errno(libc::ENOENT | libc::ENOTDIR)),
        }
    }

    /// What has been given the name `path`.
    pub fn named(path: CString, identity: Identity) -> Self {
        Self(Box::new(Named { path, identity }))
    }

    pub fn name(&self) -> &CStr {
        &self.0.path
    }

    /// Takes the name away if it still is what it was.
    pub fn remove(&self) {
        // In a directory that is read-only by now it stays, and the next one that
        // listens there takes it over.
        let _ = file::remove(&self.0.path, self.0.identity);
    }
}

/// What keeps new connections out in the final stop where the kernel lets an
/// ordinary user attach no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The least TTL, which is undone for each accepted connection, as this library's
    /// workers do.
    LeastTtl,
    /// Nothing: a program that accepts would not undo it.
    Nothing,
}

/// Has `socket` take no new connection: drops SYN, and takes the path away.
/// Those in the queue stay.
///
/// # Errors
///
/// Why the filter was refused, when nothing was done instead.
pub fn refuse_newcomers(
    socket: Borrowed<'_>,
    path: Option<&SocketPath>,
    fallback: Fallback,
) -> sys::SysResult<()> {
    if let Some(path) = path {
        path.remove();
        return Ok(());
    }
    let is_tcp = matches!(socket::local_name(socket), Ok(Name::Inet(_)));
    if !is_tcp || socket::kind(socket) != socket::SocketKind::Listening {
        return Ok(());
    }
    socket::refuse_newcomers(socket).or_else(|errno| match fallback {
        Fallback::LeastTtl => socket::refuse_newcomers_by_ttl(socket),
        Fallback::Nothing => Err(errno),
    })
}

/// Warns that new connections could not be kept out in the final stop.
pub fn warn_of_newcomers(refused: sys::SysResult<()>) {
    if let Err(errno) = refused {
        log(
            Level::Warn,
            format_args!(
                "listeners: cannot refuse new connections: {errno}; clients that connect during \
                 this shutdown may be reset"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{SocketPath, is_same};
    use crate::protocol::address;
    use crate::sys::file;
    use alloc::ffi::CString;
    use alloc::vec;

    #[test]
    fn addresses_are_the_same_whether_the_interface_is_named_or_numbered() {
        let at = |text: &str| address::parse(text.as_bytes()).expect(text);
        assert!(is_same(&at("[fe80::1%lo]:80"), &at("[fe80::1%1]:80")));
        assert!(!is_same(&at("[fe80::1%lo]:80"), &at("[fe80::1%2]:80")));
        assert!(is_same(&at("unix:/a"), &at("unix:/a")));
        assert!(!is_same(&at("unix:/a"), &at("unix:/b")));
    }

    #[test]
    fn path_counts_as_lost_only_if_it_surely_leads_elsewhere() {
        let root = file::identity_at(c"/").expect("it is there");
        // A path that cannot be examined: no file name is that long.
        let long = CString::new(vec![b'a'; 300]).expect("no byte is zero");
        let paths = [(c"/".into(), false), (c"/dev".into(), true), (long, false)];
        for (path, is_lost) in paths {
            assert_eq!(SocketPath::named(path, root).is_lost(), is_lost);
        }
        assert!(SocketPath::named(c"/proc/0/nothing".into(), root).is_lost());
    }
}
