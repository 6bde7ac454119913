//! The application's listening sockets: inherited, or bound and kept by main.

use super::listening_socket;
use crate::error::{Error, Result};
use crate::log::log;
use crate::printable;
use crate::protocol::address::{Address, Bind};
use crate::protocol::{fdnames, sd_notify};
use crate::shared::even_share::EvenShare;
use crate::shared::inherited::{Inherited, Socket};
use crate::shared::listening_socket::{Access, Fallback, SocketPath};
use crate::sys::fd::{self, Blocking, Borrowed, Fd, LateFd};
use crate::sys::global::{Global, Held};
use crate::sys::poll::{self, Source};
use crate::sys::socket::is_long;
#[cfg(feature = "std")]
use crate::sys::socket::{self, Name};
use crate::sys::{self, env, file, process};
use crate::types::{Level, Pid, Tick};
use alloc::ffi::CString;
use alloc::string::{String, ToString as _};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// What this process was given, and which listeners it has made of that.
pub(crate) struct ListenTable {
    pub inherited: Inherited,
    open: Vec<Open>,
}

/// A listener of the application.
struct Open {
    /// Open as long as its owner, or the code that lets go of it at this moment, has
    /// it.
    fd: Weak<Fd>,
    name: Vec<u8>,
    /// Where it stands, if this process bound it, or main does not know.
    path: Option<SocketPath>,
    /// Whether main, or a service manager, keeps it open when this generation
    /// is gone; else the port goes away with us.
    is_held: bool,
}

/// Another thread of the application may wait for this lock, so no call under it waits
/// for another process: fcntl(2) and getsockname(2) of descriptors that we have, prctl(2),
/// sendmsg(2) with MSG_DONTWAIT, and at the first call connect(2) of a datagram socket,
/// whose path is main's or a service manager's. The log, bind(2), and the sendmsg(2) that
/// waits for room come after it; a fork comes under it, so that the child finds it free.
static GIVEN: Global<Option<ListenTable>> = Global::new(None);

/// Gives access to what was handed down, reading it at the first call.
pub(crate) fn given<R>(access: impl FnOnce(&mut ListenTable) -> R) -> R {
    let mut to_log = None;
    let answer = GIVEN.with(|given| {
        let table = given.get_or_insert_with(|| {
            let (inherited, first) = Inherited::take();
            to_log = Some(first);
            ListenTable { inherited, open: Vec::new() }
        });
        access(table)
    });
    if let Some(to_log) = to_log {
        to_log.begin();
    }
    answer
}

/// Whether what was handed down has been read.
pub(crate) fn is_given() -> bool {
    GIVEN.with(|given| given.is_some())
}

/// Whether main has started us, itself or through a wrapper. If not, what was handed
/// down is left for a program that this process may execute.
pub(crate) fn is_below_main() -> bool {
    let may_be = is_given() || env::var(c"PANZER_MAIN").is_some();
    may_be && given(|given| given.inherited.is_below_main)
}

/// A listening socket.
///
/// It is the same socket in every generation and in every worker; dropping it
/// closes this process's number for it.
#[derive(Debug)]
pub struct Listener {
    fd: Arc<Fd>,
    blocking: Blocking,
    /// A worker's second number for it: a stop puts /dev/null under the first one.
    second: LateFd,
    /// How long a worker has left its queue to others.
    share: EvenShare,
}

/// Opens the listening socket `address` for the application.
///
/// Takes what `panzer --bind` takes: `HOST:PORT`, `[V6]:PORT`, `:PORT`,
/// `unix:/PATH`, each with `NAME=` in front if it is to have a name. A socket
/// of that name that was inherited is taken first, then one of that address;
/// so a port 0 keeps its number over reloads. If there is none it is bound,
/// with `SO_REUSEADDR` and the longest queue the kernel allows, and main keeps
/// a duplicate for the generations to come. A stale Unix path is taken over.
///
/// Call it before [`Monitor::run`](crate::Monitor::run). It does not block,
/// except while main has no time to take the duplicate.
///
/// # Errors
///
/// What is wrong with the address; or bind(2)'s and listen(2)'s, such as
/// `cannot listen on 0.0.0.0:80: permission denied (EACCES)`.
pub fn listen(address: &str) -> Result<Listener> {
    let mut bind = Bind::parse(address.as_bytes())
        .map_err(|wrong| Error::plain(format_args!("cannot listen on {address}: {wrong}")))?;
    let name = bind.name.take().unwrap_or_else(|| bind.address.to_string());
    let carried = fdnames::escape(name.as_bytes()).ok_or_else(|| {
        Error::plain(format_args!(
            "cannot listen on {address}: too long for a name, put a short one before it, as in \
                 web=unix:/PATH"
        ))
    })?;
    let address = from_root(bind.address);
    open(&address, carried)
}

/// Forks while no other thread is at what was handed down, which one that drops a
/// listener is. The children find the lock free.
pub(crate) struct Forks(Option<Held<'static>>);

impl Forks {
    /// From now on no other thread is.
    pub(crate) fn begin() -> Self {
        Self(Some(GIVEN.hold()))
    }

    /// Forks once.
    pub(crate) fn fork(&mut self, child: impl FnOnce() -> u8) -> sys::SysResult<Pid> {
        process::fork(|| {
            drop(self.0.take());
            child()
        })
    }
}

/// The socket of that name or address that was handed down, or one that is bound
/// now, which what is above us is to keep.
fn open(address: &Address, name: String) -> Result<Listener> {
    let path = hidden_path(address);
    let found = given(|given| given.claim(address, name.as_bytes(), path));
    let fd = match found {
        Some(fd) => fd,
        None => bind(address, name)?,
    };
    let blocking = fd::blocking(fd.borrow()).unwrap_or(Blocking::Yes);
    Ok(Listener { fd, blocking, second: LateFd::new(), share: EvenShare::new() })
}

/// Binds a socket and has what is above us keep it. All that may take its time
/// happens without the lock.
fn bind(address: &Address, name: String) -> Result<Arc<Fd>> {
    let fd = Arc::new(listening_socket::open(address, Access::default())?);
    let (is_held, speaker) = given(|given| (given.inherited.keeps, given.inherited.speaker()));
    if let (true, Some(speaker), Some(words)) = (is_held, speaker, sd_notify::keep(name.as_bytes()))
        && let Err(errno) = speaker.say(&words, fd.borrow())
    {
        log(
            Level::Error,
            format_args!(
                "listener {address}: cannot store it in main: {errno}; it closes with this \
                 generation"
            ),
        );
    }
    let path = match address {
        Address::Unix(path) => SocketPath::at(path.clone()),
        Address::Inet(_) | Address::Scoped(..) => None,
    };
    let (open, name) = (Arc::downgrade(&fd), name.into_bytes());
    given(|given| given.open.push(Open { fd: open, name, path, is_held }));
    Ok(fd)
}

/// Makes a relative Unix path absolute.
fn from_root(address: Address) -> Address {
    match address {
        Address::Unix(path) if !path.to_bytes().starts_with(b"/") => {
            let whole = file::current_directory()
                .map(|directory| [directory.to_bytes(), b"/", path.to_bytes()].concat())
                .ok()
                .and_then(|whole| CString::new(whole).ok());
            Address::Unix(whole.unwrap_or(path))
        }
        Address::Unix(_) | Address::Inet(_) | Address::Scoped(..) => address,
    }
}

/// The path of a socket that does not tell it, so that main does not know it either.
fn hidden_path(address: &Address) -> Option<SocketPath> {
    match address {
        Address::Unix(path) if is_long(path) => SocketPath::at(path.clone()),
        Address::Unix(_) | Address::Inet(_) | Address::Scoped(..) => None,
    }
}

/// What becomes of listeners when their monitor lets go of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// A service manager keeps them.
    Held,
    /// Main ends them.
    Mains,
    /// Nothing above does: that is ours, with this fallback.
    Ours(Fallback),
}

impl Ending {
    /// What becomes of them where a service manager `holds` them or not, and where main
    /// is above or not.
    pub(crate) const fn of(holds: bool, has_main: bool, fallback: Fallback) -> Self {
        match (holds, has_main) {
            (true, _) => Self::Held,
            (false, true) => Self::Mains,
            (false, false) => Self::Ours(fallback),
        }
    }
}

impl ListenTable {
    /// Takes the socket of that name, or else of that address, if it was handed down.
    fn claim(
        &mut self,
        address: &Address,
        name: &[u8],
        path: Option<SocketPath>,
    ) -> Option<Arc<Fd>> {
        let sockets = &mut self.inherited.sockets;
        let named = sockets.iter().position(|socket| socket.name == name);
        let is_there = |socket: &Socket| listening_socket::listens_at(socket.fd.borrow(), address);
        let Socket { fd, name } =
            sockets.remove(named.or_else(|| sockets.iter().position(is_there))?);
        let fd = Arc::new(fd);
        self.open.push(Open { fd: Arc::downgrade(&fd), name, path, is_held: true });
        Some(fd)
    }

    /// Everything that was handed down, with its name as it is carried, for
    /// programs that take it or leave it.
    pub fn claim_all(&mut self) -> Vec<(Arc<Fd>, String)> {
        let sockets = core::mem::take(&mut self.inherited.sockets);
        let claimed = sockets.into_iter().map(|Socket { fd, name }| {
            let carried = printable::lossy(&name);
            let fd = Arc::new(fd);
            self.open.push(Open { fd: Arc::downgrade(&fd), name, path: None, is_held: true });
            (fd, carried)
        });
        claimed.collect()
    }

    /// Gives back what the application did not claim, and says that it is ready.
    pub fn announce_ready(&mut self) {
        let claimed: Vec<_> = self.open.iter().map(|open| open.name.clone()).collect();
        self.inherited.give_back(&claimed);
        self.inherited.say(sd_notify::READY);
    }

    /// Whether a process above keeps a socket open when we are gone.
    pub fn any_held(&self) -> bool {
        self.inherited.main.is_none() && self.open.iter().any(|open| open.is_held)
    }
}

/// The final stop, in the monitor: lets go of the listeners. The numbers mean
/// `dev_null` from then on; their owners are still the application's.
///
/// An [`Ending`] says which process does what belongs to it: taking no new connection.
pub(crate) fn replace_with_dev_null(ending: Ending, dev_null: Borrowed<'_>) {
    let all = given(|given| core::mem::take(&mut given.open));
    let mut refused = Ok(());
    for open in all {
        // Another thread may have dropped it.
        let Some(fd) = open.fd.upgrade() else { continue };
        let fd = fd.borrow();
        match (ending, &open.path) {
            (Ending::Ours(fallback), path) => {
                let done = listening_socket::refuse_newcomers(fd, path.as_ref(), fallback);
                refused = done.and(refused);
            }
            (Ending::Mains, Some(path)) if path.is_long() => path.remove(),
            (Ending::Mains | Ending::Held, _) => {}
        }
        let _ = fd::replace(fd, dev_null);
    }
    listening_socket::warn_of_newcomers(refused);
}

impl Listener {
    /// Makes the socket non-blocking, for a worker with an event loop of its
    /// own. Call it before the first fork: it is every process's setting.
    ///
    /// # Errors
    ///
    /// None that fcntl(2) knows for an open descriptor.
    pub fn nonblocking(mut self) -> Result<Self> {
        fd::set_blocking(self.fd.borrow(), Blocking::No).map_err(|errno| {
            Error::system(format_args!("cannot make {} non-blocking", self.address()), errno)
        })?;
        self.blocking = Blocking::No;
        Ok(self)
    }

    /// Where it listens: `127.0.0.1:8080` with its real port, or `unix:/PATH`.
    #[must_use]
    pub fn address(&self) -> String {
        address_of(self.fd.borrow())
    }

    /// The descriptor.
    #[must_use]
    pub fn as_fd(&self) -> Borrowed<'_> {
        self.fd.borrow()
    }

    /// A second number for the same socket, if `is_wanted` is true of its name.
    #[cfg(feature = "std")]
    fn second_number(&self, is_wanted: fn(&Name) -> bool, wanted: &str) -> Result<Fd> {
        let what = format_args!("cannot make a {wanted} of {}", self.address());
        if self.blocking == Blocking::Yes {
            return Err(Error::plain(format_args!(
                "{what}: the listener blocks; call nonblocking() on it before the first fork"
            )));
        }
        if !socket::local_name(self.fd.borrow()).is_ok_and(|name| is_wanted(&name)) {
            return Err(Error::plain(format_args!("{what}: it is of another family")));
        }
        fd::duplicate(self.fd.borrow()).map_err(|errno| Error::system(what, errno))
    }

    pub(crate) fn fd(&self) -> &Arc<Fd> {
        &self.fd
    }

    pub(crate) const fn share(&self) -> &EvenShare {
        &self.share
    }

    pub(crate) const fn second(&self) -> &LateFd {
        &self.second
    }

    pub(crate) const fn blocking(&self) -> Blocking {
        self.blocking
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsFd for Listener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.borrow().into()
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsRawFd for Listener {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.number()
    }
}

/// A listener of std, for a server that takes nothing else: the same socket under a number
/// of its own, close-on-exec, and non-blocking as the [`Listener`] is. Dropping it closes
/// that number alone.
///
/// It knows of no stop: SIGTERM interrupts no call on it, and as long as it is there, its
/// worker has the queue. So make it in the worker, and drop it when a
/// [`StopHandle`](crate::StopHandle) says that this is stopping; if that
/// [is final](crate::StopHandle::is_final), when `accept` has said `WouldBlock`. Where main
/// may attach no filter, a connection whose handshake ends in that moment may not be heard;
/// an [`Acceptor`](crate::Acceptor) does all of this.
///
/// # Errors
///
/// When the listener is not [non-blocking](Listener::nonblocking), is of the other family,
/// or the process is out of descriptors.
#[cfg(feature = "std")]
impl TryFrom<&Listener> for std::net::TcpListener {
    type Error = Error;

    fn try_from(listener: &Listener) -> Result<Self> {
        let fd = listener.second_number(|name| matches!(name, Name::Inet(_)), "TcpListener")?;
        Ok(std::os::fd::OwnedFd::from(fd).into())
    }
}

/// As for [`TcpListener`](std::net::TcpListener), of a Unix socket.
///
/// # Errors
///
/// The same.
#[cfg(feature = "std")]
impl TryFrom<&Listener> for std::os::unix::net::UnixListener {
    type Error = Error;

    fn try_from(listener: &Listener) -> Result<Self> {
        let fd = listener.second_number(|name| !matches!(name, Name::Inet(_)), "UnixListener")?;
        Ok(std::os::fd::OwnedFd::from(fd).into())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let ours = Arc::as_ptr(&self.fd);
        given(|given| given.open.retain(|open| open.fd.as_ptr() != ours));
    }
}

/// [`Listener::address`].
pub(crate) fn address_of(listener: Borrowed<'_>) -> String {
    match listening_socket::address_of(listener) {
        Some(address) => address.to_string(),
        None => String::from("a socket without an address"),
    }
}

/// Blocks until a source is ready or `deadline` passes; `None` waits for ever.
///
/// Says `false` when the deadline came first. A signal ends the wait early,
/// with `true` and perhaps no source ready. poll(2)
///
/// # Errors
///
/// `ENOMEM`, or `EINVAL` when there are more sources than the process may have
/// descriptors.
pub fn wait(sources: &mut [Source<'_>], deadline: Option<Tick>) -> Result<bool> {
    poll::wait(sources, deadline)
        .map_err(|errno| Error::system(format_args!("cannot wait for descriptors"), errno))
}

#[cfg(test)]
mod tests {
    use super::{Forks, given};
    #[cfg(feature = "std")]
    use super::{Listener, listen};
    #[cfg(feature = "std")]
    use crate::sys::fd;
    use crate::sys::process;
    use crate::sys::process::Reaped;
    use crate::sys::{clock, signal};
    use crate::types::{Millis, Signal};
    #[cfg(feature = "std")]
    use std::io::ErrorKind;
    #[cfg(feature = "std")]
    use std::net::{TcpListener, TcpStream};
    #[cfg(feature = "std")]
    use std::os::fd::AsRawFd as _;
    #[cfg(feature = "std")]
    use std::os::unix::net::UnixListener;
    #[cfg(feature = "std")]
    use std::string::ToString as _;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    /// Only a failing test waits that long.
    const TIMEOUT: Millis = Millis(20_000);

    #[cfg(feature = "std")]
    #[test]
    fn listener_of_std_is_the_same_socket_under_a_number_of_its_own() {
        let ours = listen("127.0.0.1:0").and_then(Listener::nonblocking).expect("there are ports");
        let listener = TcpListener::try_from(&ours).expect("there are descriptors");
        assert_ne!(listener.as_raw_fd(), ours.as_raw_fd());
        assert!(!fd::is_inherited(listener.as_raw_fd()), "a program would inherit it");
        let nothing = listener.accept().expect_err("nothing waits");
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        let address = ours.address();
        drop(ours);
        let _client = TcpStream::connect(address).expect("it listens still");
        listener.accept().expect("it waits");
    }

    #[cfg(feature = "std")]
    #[test]
    fn listener_of_std_is_refused_if_it_would_block_or_is_of_another_family() {
        let blocking = listen("127.0.0.1:0").expect("there are ports");
        let refused = TcpListener::try_from(&blocking).expect_err("it blocks").to_string();
        assert!(refused.ends_with("call nonblocking() on it before the first fork"), "{refused}");
        let ours = blocking.nonblocking().expect("it is ours");
        let refused = UnixListener::try_from(&ours).expect_err("it is TCP").to_string();
        let address = ours.address();
        assert_eq!(
            refused,
            std::format!("cannot make a UnixListener of {address}: it is of another family")
        );
    }

    #[test]
    fn lock_held_by_another_thread_before_fork_is_free_in_the_child() {
        let (sender, holds) = mpsc::channel();
        let (forked, is_forked) = mpsc::channel();
        let other = thread::spawn(move || {
            given(|_| {
                sender.send(()).expect("the test waits for it");
                // A fork that waits for the lock comes after it.
                let _ = is_forked.recv_timeout(Duration::from_millis(20));
            });
        });
        holds.recv().expect("the thread has the lock");
        let child = Forks::begin().fork(|| given(|_| 0)).expect("there is room for a process");
        let _ = forked.send(());
        let due = clock::now().after(TIMEOUT);
        let exit = loop {
            match process::reap(child).expect("it is our child") {
                Reaped::NoneDead if clock::now() < due => thread::yield_now(),
                Reaped::NoneDead => {
                    let _ = signal::send(child, Signal::Kill);
                }
                Reaped::Dead(_, exit) => break exit,
                Reaped::NoChild => panic!("it was reaped elsewhere"),
            }
        };
        other.join().expect("it has not panicked");
        assert!(exit.is_success(), "it waits for the lock: {exit:?}");
    }
}
