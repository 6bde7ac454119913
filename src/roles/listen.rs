//! The application's listening sockets: inherited, or bound and kept by main.

use crate::error::{Error, Result};
use crate::keep::inherited::{Inherited, Socket};
use crate::keep::socket::{self, Path};
use crate::sys::fd::{self, Blocking, Borrowed, Fd};
use crate::sys::global::Global;
use crate::sys::poll::{self, Source};
use crate::sys::socket::{self as kernel, Name};
use crate::sys::{env, file};
use crate::types::Tick;
use crate::words::address::{Address, Bind};
use crate::words::{fdname, notify, printable};
use alloc::ffi::CString;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// What this process was given, and which listeners it has made of that.
pub(super) struct Given {
    pub inherited: Inherited,
    open: Vec<Open>,
}

/// A listener of the application.
struct Open {
    number: i32,
    name: Vec<u8>,
    /// Where it stands, if this process bound it.
    path: Option<Path>,
    /// Whether main, or a service manager, keeps it open when this generation
    /// is gone; else the port goes away with us.
    is_held: bool,
}

static GIVEN: Global<Option<Given>> = Global::new(None);

/// Gives access to what was handed down, reading it at the first call.
pub(super) fn given<R>(access: impl FnOnce(&mut Given) -> R) -> R {
    GIVEN.with(|given| {
        let given =
            given.get_or_insert_with(|| Given { inherited: Inherited::take(), open: Vec::new() });
        access(given)
    })
}

/// Whether what was handed down has been read.
pub(super) fn is_given() -> bool {
    GIVEN.with(|given| given.is_some())
}

/// Whether main has started us, itself or through a wrapper. If not, what was
/// handed down is left for whom this process may become.
pub(super) fn is_below_main() -> bool {
    let may_be = is_given() || env::var(c"PANZER_MAIN").is_some();
    may_be && given(|given| given.inherited.is_below_main)
}

/// A listening socket.
///
/// It is the same socket in every generation and in every worker; dropping it
/// closes this process's number for it.
#[derive(Debug)]
pub struct Listener {
    fd: Fd,
    blocking: Blocking,
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
    let carried = fdname::escape(name.as_bytes()).ok_or_else(|| {
        Error::plain(format_args!("cannot listen on {address}: the name is too long"))
    })?;
    let address = from_root(bind.address);
    given(|given| given.open(&address, carried))
}

/// Makes a relative Unix path absolute if it still fits into an address.
fn from_root(address: Address) -> Address {
    match address {
        Address::Unix(path) if !path.to_bytes().starts_with(b"/") => {
            let whole = file::current_directory()
                .map(|directory| [directory.to_bytes(), b"/", path.to_bytes()].concat())
                .ok()
                .filter(|whole| whole.len() < 108)
                .and_then(|whole| CString::new(whole).ok());
            Address::Unix(whole.unwrap_or(path))
        }
        Address::Unix(_) | Address::Inet(_) => address,
    }
}

fn is_at(fd: Borrowed<'_>, address: &Address) -> bool {
    match (kernel::local_name(fd), address) {
        (Ok(Name::Inet(there)), Address::Inet(wanted)) => there == *wanted,
        (Ok(Name::Unix(there)), Address::Unix(wanted)) => there == *wanted,
        (Ok(Name::Inet(_) | Name::Unix(_) | Name::Other) | Err(_), _) => false,
    }
}

impl Given {
    fn open(&mut self, address: &Address, name: String) -> Result<Listener> {
        let sockets = &mut self.inherited.sockets;
        let found = sockets
            .iter()
            .position(|socket| socket.name == name.as_bytes())
            .or_else(|| sockets.iter().position(|socket| is_at(socket.fd.borrow(), address)));
        let (fd, name, path, is_held) = match found {
            Some(index) => {
                let socket = sockets.remove(index);
                (socket.fd, socket.name, None, true)
            }
            None => {
                let fd = socket::open(address, None)?;
                let is_held = self.inherited.keeps;
                if let (true, Some(words)) = (is_held, notify::keep(name.as_bytes())) {
                    self.inherited.say(&words, Some(fd.borrow()));
                }
                let path = Path::of(fd.borrow());
                (fd, name.into_bytes(), path, is_held)
            }
        };
        self.open.push(Open { number: fd.number(), name, path, is_held });
        let blocking = fd::blocking(fd.borrow()).unwrap_or(Blocking::Yes);
        Ok(Listener { fd, blocking })
    }

    /// Everything that was handed down, with its name as it is carried, for
    /// programs that take it or leave it.
    pub fn claim_all(&mut self) -> Vec<(Fd, String)> {
        let sockets = core::mem::take(&mut self.inherited.sockets);
        let claimed = sockets.into_iter().map(|Socket { fd, name }| {
            let carried = printable::lossy(&name);
            self.open.push(Open { number: fd.number(), name, path: None, is_held: true });
            (fd, carried)
        });
        claimed.collect()
    }

    /// Gives back what the application did not claim, and says that it is ready.
    pub fn announce_ready(&mut self) {
        let claimed: Vec<_> = self.open.iter().map(|open| open.name.clone()).collect();
        self.inherited.give_back(&claimed);
        self.inherited.say(notify::READY, None);
    }

    /// The final stop, in the monitor: lets go of the listeners. The numbers
    /// mean `nowhere` from then on; their owners are still the application's.
    ///
    /// `ours` says that nobody above does what belongs to it: taking no new
    /// connection.
    pub fn let_go(&mut self, ours: bool, nowhere: Borrowed<'_>) {
        for open in self.open.drain(..) {
            let number = Borrowed::trusted(open.number);
            if ours {
                socket::refuse_newcomers(number, open.path.as_ref());
            }
            let _ = fd::replace(number, nowhere);
        }
    }

    /// Whether somebody above keeps a socket open when we are gone.
    pub fn any_held(&self) -> bool {
        self.inherited.main.is_none() && self.open.iter().any(|open| open.is_held)
    }
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
        match kernel::local_name(self.fd.borrow()) {
            Ok(Name::Inet(address)) => address.to_string(),
            Ok(Name::Unix(path)) => Address::Unix(path).to_string(),
            Ok(Name::Other) | Err(_) => String::from("a socket without an address"),
        }
    }

    /// The descriptor.
    #[must_use]
    pub const fn as_fd(&self) -> Borrowed<'_> {
        self.fd.borrow()
    }

    pub(super) const fn fd(&self) -> &Fd {
        &self.fd
    }

    pub(super) const fn blocking(&self) -> Blocking {
        self.blocking
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let number = self.fd.number();
        given(|given| given.open.retain(|open| open.number != number));
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
