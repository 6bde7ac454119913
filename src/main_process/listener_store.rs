//! Main's store of listening sockets, open from their bind to the final stop.
//!
//! A socket comes from `--bind`, from a service manager above main, or up from
//! a generation (`FDSTORE=1`). Every generation inherits all of them. What a
//! new generation gives back is closed once the older ones are gone; what only
//! a failed one had stored is closed with it.

use crate::log::log;
use crate::persist::{Codec, Persist as _, persisted};
use crate::protocol::address::{Address, Bind};
use crate::protocol::fdnames;
use crate::shared::listening_socket::{self, Fallback, SocketPath};
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::file::{self, Identity};
use crate::sys::socket::{Name, SocketKind};
use crate::sys::{self, socket as kernel};
use crate::types::{Generation, Level};
use crate::{printable, text};
use alloc::string::String;
use alloc::vec::Vec;

/// The most sockets that are kept.
const MOST: usize = 128;
/// What is wrong with one more.
pub const FULL: &str = "limit of 128 sockets reached";

/// Where a socket came from.
#[derive(Debug)]
pub enum Origin {
    /// Main bound it to this: `--bind`.
    Bound(Bind),
    /// A service manager above main has it too.
    Adopted,
    /// This generation stored it.
    Stored(Generation),
}

/// One socket of the store.
#[derive(Clone, Copy, Debug)]
pub struct ListenerInfo<'a> {
    /// The socket.
    pub fd: Borrowed<'a>,
    /// Its name as it is carried.
    pub name: &'a str,
    /// Where it came from.
    pub origin: &'a Origin,
    /// The path that main has given it.
    pub path: Option<&'a SocketPath>,
}

#[derive(Debug)]
struct StoredListener {
    fd: Fd,
    /// As `LISTEN_FDNAMES` carries it.
    name: String,
    identity: Identity,
    origin: Origin,
    path: Option<SocketPath>,
    /// Whether `--bind` has asked for it, and does not any more; or its path does
    /// not lead to it any more, and another one has taken its place.
    unwanted: bool,
    /// Whether its path was found not to lead to it: no `--bind` means it any more.
    lost: bool,
    /// The generation that does not want it.
    given_back: Option<Generation>,
}

impl StoredListener {
    const fn is_adopted(&self) -> bool {
        matches!(self.origin, Origin::Adopted)
    }

    /// Whether it is what this asks for. What main has bound may change its name;
    /// but the kernel chooses a port for each name that asks for one. What was adopted
    /// has to have the name too, if there is one.
    fn is_for(&self, bind: &Bind) -> bool {
        if self.lost {
            return false;
        }
        match &self.origin {
            Origin::Bound(own) => {
                own.address == bind.address && (own.name == bind.name || !bind.chooses())
            }
            Origin::Adopted => {
                (bind.is_unnamed() || self.name == bind.carried())
                    && listening_socket::listens_at(self.fd.borrow(), &bind.address)
            }
            Origin::Stored(_) => false,
        }
    }

    /// Whether its path leads to something else, or nowhere.
    fn has_lost_its_path(&self) -> bool {
        let is_bound = matches!(self.origin, Origin::Bound(_));
        is_bound && !self.lost && self.path.as_ref().is_some_and(SocketPath::is_lost)
    }
}

/// The store.
#[derive(Debug, Default)]
pub struct Listeners {
    entries: Vec<StoredListener>,
    /// Whether the final stop has begun: nothing is stored any more.
    pub is_closed: bool,
}

persisted! { struct StoredListener { fd, name, identity, origin, path, unwanted, lost, given_back } }
persisted! { enum Origin { 0 = Adopted, 1 = Bound(bind), 2 = Stored(generation) } }

/// What became of a socket that was to be kept.
#[derive(Debug)]
pub enum Kept {
    /// It is kept.
    Anew,
    /// It was kept already; this one is to be closed.
    Known(Fd),
}

/// The path that is removed with a socket from `origin`.
fn path_of(fd: Borrowed<'_>, origin: &Origin, is_ours: bool) -> Option<SocketPath> {
    match origin {
        // The kernel does not tell a long one.
        Origin::Bound(Bind { address: Address::Unix(path), .. }) => SocketPath::at(path.clone()),
        Origin::Bound(_) | Origin::Adopted | Origin::Stored(_) => {
            is_ours.then(|| SocketPath::of(fd)).flatten()
        }
    }
}

impl Listeners {
    /// Writes or reads the sockets; whether it is closed has another place in the saved
    /// state.
    pub fn persist(&mut self, codec: &mut Codec) {
        persisted! { in self, codec; { entries } without { is_closed } }
    }

    /// Keeps `fd` under a name that is already escaped, unless it is there already.
    /// Its path goes with it only if it `is_ours`: another user could have put
    /// another file there by then.
    ///
    /// # Errors
    ///
    /// It, and what is wrong with it, as the end of a sentence.
    pub fn keep(
        &mut self,
        fd: Fd,
        name: String,
        origin: Origin,
        is_ours: bool,
    ) -> Result<Kept, (Fd, &'static str)> {
        let Ok(identity) = file::identity(fd.borrow()) else {
            return Err((fd, "not a listening socket"));
        };
        if let Some(known) = self.entries.iter_mut().find(|entry| entry.identity == identity) {
            known.given_back = None;
            return Ok(Kept::Known(fd));
        }
        if let Some(reason) = self.refusal(fd.borrow()) {
            return Err((fd, reason));
        }
        if matches!(origin, Origin::Adopted) {
            kernel::admit_newcomers(fd.borrow());
        }
        let path = path_of(fd.borrow(), &origin, is_ours);
        let (unwanted, lost, given_back) = (false, false, None);
        self.entries.push(StoredListener {
            fd,
            name,
            identity,
            origin,
            path,
            unwanted,
            lost,
            given_back,
        });
        Ok(Kept::Anew)
    }

    /// Why a socket that is not known yet cannot be kept, if it cannot.
    fn refusal(&self, fd: Borrowed<'_>) -> Option<&'static str> {
        if kernel::kind(fd) == SocketKind::Other {
            return Some("not a listening socket");
        }
        self.is_full().then_some(FULL)
    }

    /// Whether there is no room for one more; [`FULL`] says so.
    pub const fn is_full(&self) -> bool {
        self.entries.len() >= MOST
    }

    /// Looks whether the paths of what main has bound still lead there. What has lost
    /// its own is to be bound again: it serves on for the processes that have it, and
    /// is not handed down any more. One line for each.
    pub fn look_at_paths(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.has_lost_its_path()) {
            entry.lost = true;
            if let Origin::Bound(bind) = &entry.origin {
                log(
                    Level::Warn,
                    format_args!(
                        "listener {bind}: its path was removed or replaced, binding it again \
                         for the next generation"
                    ),
                );
            }
        }
    }

    /// The socket of ours that is in the way of one at `address`.
    pub fn in_the_way_of(&self, address: &Address) -> Option<String> {
        let wanted = listening_socket::inet(address)?;
        let entry = self.entries.iter().find(|entry| {
            kernel::local_name(entry.fd.borrow()).is_ok_and(|name| kernel::overlap(&name, &wanted))
        })?;
        let at = listening_socket::address_of(entry.fd.borrow())?;
        let name = printable::lossy(&fdnames::unescape(entry.name.as_bytes()));
        let at = text::compose(format_args!("{at}"));
        Some(if name == at { at } else { text::compose(format_args!("{name}={at}")) })
    }

    /// A generation was promoted: gives listeners the largest backlog again, which a
    /// program may have made smaller. Those that main has bound, and TCP ones that a
    /// generation stored; what a service manager has opened is its own.
    pub fn restore_backlogs(&self) {
        for entry in &self.entries {
            let is_ours = match entry.origin {
                Origin::Bound(_) => true,
                Origin::Adopted => false,
                Origin::Stored(_) => {
                    matches!(kernel::local_name(entry.fd.borrow()), Ok(Name::Inet(_)))
                }
            };
            if is_ours {
                // What does not listen any more has no queue.
                let _ = kernel::restore_backlog(entry.fd.borrow());
            }
        }
    }

    /// Whether one of the first `count` is what `bind` asks for.
    pub fn has(&self, bind: &Bind, count: usize) -> bool {
        self.entries.iter().take(count).any(|entry| entry.is_for(bind))
    }

    /// The sockets of `--bind` are to be these from the next generation on;
    /// all of them are open.
    pub fn want(&mut self, binds: &[Bind]) {
        for entry in &mut self.entries {
            let wanted = binds.iter().find(|bind| entry.is_for(bind));
            let Origin::Bound(own) = &mut entry.origin else { continue };
            if entry.lost {
                entry.unwanted = true;
                continue;
            }
            if let Some(bind) = wanted {
                (entry.given_back, entry.name) = (None, bind.carried());
                *own = bind.clone();
            } else if !entry.unwanted {
                log(
                    Level::Info,
                    format_args!(
                        "listener {own} removed; closed when older generations have exited"
                    ),
                );
            }
            entry.unwanted = wanted.is_none();
        }
    }

    /// `generation` has been started without what is not wanted any more.
    pub fn leave_out(&mut self, generation: Generation) {
        for entry in self.entries.iter_mut().filter(|entry| entry.unwanted) {
            entry.given_back = Some(generation);
        }
    }

    /// How many are kept.
    pub const fn count(&self) -> usize {
        self.entries.len()
    }

    /// Gives up all but the first `count`, which no generation has inherited yet, and
    /// gives those that are to be closed. So do the others.
    pub fn close_from(&mut self, count: usize) -> Vec<Fd> {
        self.give_up(&|place, _| place >= count)
    }

    /// `generation` does not want the sockets of this name. What the operator
    /// or a service manager has opened stays all the same.
    pub fn give_back(&mut self, name: &[u8], generation: Generation) {
        for entry in &mut self.entries {
            if entry.name.as_bytes() == name && matches!(entry.origin, Origin::Stored(_)) {
                entry.given_back = Some(generation);
            }
        }
    }

    /// A generation came to nothing: gives up what it alone had stored, and
    /// keeps what it had given back.
    pub fn discard(&mut self, generation: Generation) -> Vec<Fd> {
        let is_its = |_, entry: &StoredListener| matches!(entry.origin, Origin::Stored(by) if by == generation);
        let closed = self.give_up(&is_its);
        for entry in &mut self.entries {
            entry.given_back = entry.given_back.filter(|by| *by != generation);
        }
        closed
    }

    /// Gives up what `generation` has given back. It is current, and no other is
    /// left that could have taken what it does not want.
    pub fn release(&mut self, generation: Generation) -> Vec<Fd> {
        self.give_up(&|_, entry| entry.given_back == Some(generation))
    }

    /// Gives up some of them, each chosen with its place.
    fn give_up(&mut self, unwanted: &dyn Fn(usize, &StoredListener) -> bool) -> Vec<Fd> {
        let mut closed = Vec::new();
        for place in (0..self.entries.len()).rev() {
            if unwanted(place, &self.entries[place]) {
                let StoredListener { fd, path, .. } = self.entries.remove(place);
                if let Some(path) = path {
                    path.remove();
                }
                closed.push(fd);
            }
        }
        closed
    }

    /// The final stop: no new connection comes into the queues of our own
    /// sockets, and main lets go of all of them.
    ///
    /// Gives them, to be closed, and says why new connections could not be kept out
    /// of one of them: the last reason.
    pub fn close_all(&mut self, fallback: Fallback) -> (Vec<Fd>, sys::SysResult<()>) {
        let mut refused = Ok(());
        for entry in self.entries.iter().filter(|entry| !entry.is_adopted()) {
            let done = listening_socket::refuse_newcomers(
                entry.fd.borrow(),
                entry.path.as_ref(),
                fallback,
            );
            refused = done.and(refused);
        }
        self.is_closed = true;
        (self.entries.drain(..).map(|entry| entry.fd).collect(), refused)
    }

    /// Whether a service manager above main has any of them.
    pub fn any_adopted(&self) -> bool {
        self.entries.iter().any(StoredListener::is_adopted)
    }

    /// The sockets, in the order in which they are handed down.
    pub fn descriptors(&self) -> Vec<Borrowed<'_>> {
        let mut all = Vec::new();
        for entry in self.handed_down() {
            all.push(entry.fd.borrow());
        }
        all
    }

    /// Each socket with what there is to show of it.
    pub fn each(&self) -> impl Iterator<Item = ListenerInfo<'_>> {
        self.entries.iter().map(|StoredListener { fd, name, origin, path, .. }| {
            // A path that a generation has named is its own.
            let path = path.as_ref().filter(|_| matches!(origin, Origin::Bound(_)));
            ListenerInfo { fd: fd.borrow(), name, origin, path }
        })
    }

    /// Their names, in the same order, as they are carried.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.handed_down().map(|entry| entry.name.as_str())
    }

    fn handed_down(&self) -> impl Iterator<Item = &StoredListener> {
        self.entries.iter().filter(|entry| !entry.unwanted)
    }
}
