//! Main's store of listening sockets, open from their bind to the final stop.
//!
//! A socket comes from `--bind`, from a service manager above main, or up from
//! a generation (`FDSTORE=1`). Every generation inherits all of them. What a
//! new generation gives back is closed once the older ones are gone; what only
//! a failed one had stored is closed with it.
//!
//! A service manager may keep main's own ones too, so that a main that was killed loses
//! no queue: which it is to keep or to forget is known here, and `report_above` tells it.

use crate::log::log;
use crate::persist::{Codec, Persist as _, persisted};
use crate::protocol::address::{Address, Bind};
use crate::protocol::fdnames;
use crate::shared::listening_socket::{self, Fallback, SocketPath};
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::file::{self, Identity};
use crate::sys::socket::{Name, SocketKind, Standing};
use crate::sys::{self, socket as kernel};
use crate::types::{Generation, Level};
use crate::{printable, text};
use alloc::string::String;
use alloc::vec::Vec;

/// The most sockets that are kept.
const MOST: usize = 128;
/// What the names begin with under which a service manager keeps main's own sockets.
const PREFIX: &str = "panzer/";
/// As if stored by this generation counts what a main before us had opened or kept, until
/// a `--bind` means it.
const BEFORE: Generation = Generation(0);
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
    /// Where one listens that was adopted: the probe of a restart has no descriptor to ask.
    adopted_at: Option<Address>,
    /// Whether `--bind` has asked for it, and does not any more; or its path does
    /// not lead to it any more, and another one has taken its place.
    unwanted: bool,
    /// Whether its path was found not to lead to it: no `--bind` means it any more.
    lost: bool,
    /// The generation that does not want it.
    given_back: Option<Generation>,
    /// The name under which the service manager above keeps it.
    above: Option<String>,
}

/// What a service manager above is to do.
#[derive(Debug)]
pub enum StoreRequest<'a> {
    /// Keep this socket under that name.
    Keep(Borrowed<'a>, String, SocketKind),
    /// Forget what it keeps under that name.
    Forget(String),
}

impl StoredListener {
    /// The name under which a service manager is to keep it: main's own, that is handed
    /// down. A name that is too long cannot be carried there.
    fn name_above(&self) -> Option<String> {
        let is_own = match self.origin {
            Origin::Bound(_) | Origin::Stored(_) => !self.unwanted && !self.lost,
            Origin::Adopted => false,
        };
        let name = [PREFIX, &fdnames::to_kept(&self.name)].concat();
        (is_own && fdnames::is_valid(name.as_bytes())).then_some(name)
    }

    /// Whether a main before us had it, and no `--bind` has meant it yet.
    const fn is_from_before(&self) -> bool {
        matches!(self.origin, Origin::Stored(BEFORE))
    }

    /// Whether a main before us has opened it for this.
    fn was_bound_for(&self, bind: &Bind) -> bool {
        let socket = self.fd.borrow();
        self.is_from_before()
            && self.listens()
            && match &bind.address {
                Address::Unix(path) => {
                    // The kernel does not know a long path, and none that is gone.
                    let is_there = SocketPath::at(path.clone());
                    let is_it = |at: &SocketPath| {
                        listening_socket::listens_at(socket, &bind.address)
                            || at.is_long() && self.name == bind.carried()
                    };
                    is_there.is_some_and(|at| is_it(&at))
                }
                // Whichever port the kernel has chosen for that name.
                Address::Inet(_) | Address::Scoped(..) if bind.chooses() => {
                    self.name == bind.carried()
                        && listening_socket::is_at_host(socket, &bind.address)
                }
                Address::Inet(_) | Address::Scoped(..) => {
                    listening_socket::listens_at(socket, &bind.address)
                }
            }
    }

    /// Makes it what main has bound for this. Where another socket stands at its path by
    /// now it stays as it is: by its name it is in the way then.
    fn reclaim(&mut self, bind: &Bind) {
        let origin = Origin::Bound(bind.clone());
        // First the file, then who answers there.
        let path = path_of(self.fd.borrow(), &origin, true);
        let standing = match &path {
            Some(path) => kernel::standing(self.fd.borrow(), path.name()),
            None => Standing::Itself,
        };
        self.path = match standing {
            Standing::Itself => path,
            Standing::Another => return,
            // It would be removed in the end.
            Standing::Unknown => None,
        };
        (self.origin, self.name) = (origin, bind.carried());
    }

    /// Whether it is in the way of what is to be opened for this, or has its name.
    fn is_in_the_way_of(&self, bind: &Bind) -> bool {
        self.name == bind.carried()
            || self.listens()
                && listening_socket::inet(&bind.address).is_some_and(|address| {
                    let name = kernel::local_name(self.fd.borrow());
                    name.is_ok_and(|name| kernel::overlap(&name, &address))
                })
    }

    /// Whether it is one that a `--bind` could be. A datagram socket may have the same
    /// address beside it.
    fn listens(&self) -> bool {
        kernel::kind(self.fd.borrow()) == SocketKind::Listening
    }

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
                    && self
                        .adopted_at
                        .as_ref()
                        .is_some_and(|at| listening_socket::is_same(at, &bind.address))
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
    /// What the service manager above is to forget, by its names.
    forgotten: Vec<String>,
    /// Whether the final stop has begun: nothing is stored any more.
    pub is_closed: bool,
    /// Whether a stop was asked for and new connections are kept out already.
    pub is_refusing: bool,
}

persisted! {
    struct StoredListener {
        fd, name, identity, origin, path, adopted_at, unwanted, lost, given_back, above,
    }
}
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

/// Where a socket from `origin` listens, if that was adopted.
fn adopted_at(fd: Borrowed<'_>, origin: &Origin) -> Option<Address> {
    match origin {
        Origin::Adopted if kernel::kind(fd) == SocketKind::Listening => {
            listening_socket::address_of(fd)
        }
        Origin::Bound(_) | Origin::Adopted | Origin::Stored(_) => None,
    }
}

impl Listeners {
    /// Writes or reads the sockets; whether it is closed has another place in the saved
    /// state, and a main that is restarted keeps new connections out anew.
    pub fn persist(&mut self, codec: &mut Codec) {
        persisted! { in self, codec; { entries, forgotten } without { is_closed, is_refusing } }
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
        if matches!(origin, Origin::Adopted | Origin::Stored(BEFORE)) {
            kernel::admit_newcomers(fd.borrow());
        }
        let path = path_of(fd.borrow(), &origin, is_ours);
        let adopted_at = adopted_at(fd.borrow(), &origin);
        let (unwanted, lost, given_back, above) = (false, false, None, None);
        self.entries.push(StoredListener {
            fd,
            name,
            identity,
            origin,
            path,
            adopted_at,
            unwanted,
            lost,
            given_back,
            above,
        });
        Ok(Kept::Anew)
    }

    /// Keeps a socket that a service manager hands down under this name. One that a main
    /// before us had it keep is main's own again; its path `is_ours` if programs run as
    /// main's user.
    ///
    /// # Errors
    ///
    /// Those of [`keep`](Self::keep).
    pub fn adopt(
        &mut self,
        fd: Fd,
        name: &[u8],
        is_ours: bool,
    ) -> Result<Kept, (Fd, &'static str)> {
        let carried = |name| fdnames::escape(&fdnames::unescape(name)).unwrap_or_default();
        let Some(own) = name.strip_prefix(PREFIX.as_bytes()) else {
            return self.keep(fd, carried(name), Origin::Adopted, true);
        };
        let above = printable::lossy(name);
        let standing = listening_socket::standing(fd.borrow());
        if standing == Standing::Another {
            self.forgotten.push(above);
            return Err((fd, "its path does not lead to it any more"));
        }
        let is_ours = is_ours && standing == Standing::Itself;
        let own = fdnames::from_kept(own).unwrap_or_default();
        match self.keep(fd, own, Origin::Stored(BEFORE), is_ours) {
            Ok(Kept::Anew) => {
                self.entries
                    .last_mut()
                    .into_iter()
                    .for_each(|entry| entry.above = Some(above.clone()));
                Ok(Kept::Anew)
            }
            Ok(Kept::Known(fd)) => Ok(Kept::Known(fd)),
            Err(refused) => {
                self.forgotten.push(above);
                Err(refused)
            }
        }
    }

    /// The sockets of a main before us that are for one of `binds` are of `--bind` again.
    /// Gives up those that are in the way of another, or all others if no program would
    /// ask for them: of what it stored itself only a program knows.
    pub fn reclaim(&mut self, binds: &[Bind], has_pool: bool) -> Vec<Fd> {
        for bind in binds {
            if !self.entries.iter().any(|entry| entry.is_for(bind))
                && let Some(entry) = self.entries.iter_mut().find(|entry| entry.was_bound_for(bind))
            {
                entry.reclaim(bind);
            }
        }
        self.give_up(&|_, entry| {
            entry.is_from_before()
                && (has_pool || binds.iter().any(|bind| entry.is_in_the_way_of(bind)))
        })
    }

    /// Has them handed down in the order of a first start: what was adopted, then `binds`,
    /// then what was stored.
    pub fn put_in_order(&mut self, binds: &[Bind]) {
        let rank = |entry: &StoredListener| match &entry.origin {
            Origin::Adopted => 0,
            Origin::Bound(own) => {
                1 + binds.iter().position(|bind| bind == own).unwrap_or(binds.len())
            }
            Origin::Stored(_) => usize::MAX,
        };
        // Those of one rank stay in order. They are few, and core's stable sort is 6 KB.
        for sorted in 1..self.entries.len() {
            let mut place = sorted;
            while place > 0 && rank(&self.entries[place - 1]) > rank(&self.entries[place]) {
                self.entries.swap(place - 1, place);
                place -= 1;
            }
        }
    }

    /// What the service manager above, which keeps `most` of them, is to do next; what it
    /// was asked is noted by [`kept_above`](Self::kept_above) or
    /// [`forgotten_above`](Self::forgotten_above).
    pub fn next_above(&self, most: u32) -> Option<StoreRequest<'_>> {
        let is_kept = |entry: &&StoredListener| entry.above.is_some();
        let outdated = self.entries.iter().find(|entry| {
            entry.above.is_some() && (self.is_closed || entry.above != entry.name_above())
        });
        let outdated = outdated.and_then(|entry| entry.above.as_ref());
        if let Some(name) = self.forgotten.first().or(outdated) {
            return Some(StoreRequest::Forget(name.clone()));
        }
        if self.is_closed || self.entries.iter().filter(is_kept).count() >= most as usize {
            return None;
        }
        self.entries.iter().filter(|entry| entry.above.is_none()).find_map(|entry| {
            let socket = entry.fd.borrow();
            Some(StoreRequest::Keep(socket, entry.name_above()?, kernel::kind(socket)))
        })
    }

    /// Whether the service manager above, which keeps `most` of them, has room for all that
    /// a generation inherits.
    pub fn fit_above(&self, most: u32) -> bool {
        let is_to_be_kept = |entry: &&StoredListener| entry.name_above().is_some();
        let count =
            self.entries.iter().filter(|entry| entry.above.is_some() || is_to_be_kept(entry));
        count.count() <= most as usize
            && most > 0
            && self.handed_down().all(|entry| entry.is_adopted() || is_to_be_kept(&entry))
    }

    /// The service manager above keeps the first that is to have this name.
    pub fn kept_above(&mut self, name: &str) {
        let mut wait = self.entries.iter_mut().filter(|entry| entry.above.is_none());
        if let Some(entry) = wait.find(|entry| entry.name_above().as_deref() == Some(name)) {
            entry.above = Some(name.into());
        }
    }

    /// It has forgotten all that it has kept under this name.
    pub fn forgotten_above(&mut self, name: &str) {
        self.forgotten.retain(|other| other != name);
        for entry in &mut self.entries {
            entry.above.take_if(|above| above == name);
        }
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
        let entry = self.entries.iter().filter(|entry| entry.listens()).find(|entry| {
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
                let StoredListener { fd, path, above, .. } = self.entries.remove(place);
                self.forgotten.extend(above);
                if let Some(path) = path {
                    path.remove();
                }
                closed.push(fd);
            }
        }
        closed
    }

    /// No new connection is begun with our own sockets. Says whether the handshake of one is
    /// under way, or may be.
    pub fn refuse_newcomers(&self, fallback: Fallback) -> bool {
        let own = |entry: &&StoredListener| entry.path.is_none() && !entry.is_adopted();
        let mut is_under_way = false;
        for fd in self.entries.iter().filter(own).map(|entry| entry.fd.borrow()) {
            let is_refused = kernel::kind(fd) == SocketKind::Listening
                && listening_socket::refuse_newcomers(fd, None, fallback).is_ok();
            is_under_way |= is_refused && kernel::has_half_open(fd).unwrap_or(true);
        }
        is_under_way
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
        self.forgotten.extend(self.entries.iter_mut().filter_map(|entry| entry.above.take()));
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

#[cfg(test)]
mod tests {
    use super::{Listeners, Origin};
    use crate::protocol::address::Bind;
    use crate::sys::fd::Fd;
    use alloc::format;
    use std::net::UdpSocket;
    use std::os::fd::OwnedFd;

    /// A datagram socket, and a `--bind` of its address with this start.
    fn datagram(start: &str) -> (Fd, Bind) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let address = socket.local_addr().expect("it is bound");
        let bind = Bind::parse(format!("{start}{address}").as_bytes()).expect("it is one");
        (OwnedFd::from(socket).into(), bind)
    }

    /// rule: store.above
    #[test]
    fn sockets_count_as_held_only_if_there_is_room_for_each() {
        let (mut listeners, (socket, bind)) = (Listeners::default(), datagram("web="));
        assert!(!listeners.fit_above(0) && listeners.fit_above(1));
        listeners.keep(socket, bind.carried(), Origin::Bound(bind), true).expect("it is bound");
        assert!(!listeners.fit_above(0) && listeners.fit_above(1));
        let (socket, bind) = datagram("more=");
        listeners.keep(socket, bind.carried(), Origin::Bound(bind), true).expect("it is bound");
        assert!(!listeners.fit_above(1) && listeners.fit_above(2));
        // A name that cannot be carried with `panzer/`.
        let (socket, bind) = datagram("");
        listeners.keep(socket, "a".repeat(250), Origin::Bound(bind), true).expect("it is bound");
        assert!(!listeners.fit_above(64));
    }

    /// rules: store.kept, store.reclaimed
    #[test]
    fn datagram_socket_of_the_same_address_is_not_that_of_a_bind() {
        // Under the name of the bind it would be in its way.
        for (name, closed) in [("panzer/dns", 0), ("panzer/web", 1), ("web", 0)] {
            let (mut listeners, (socket, bind)) = (Listeners::default(), datagram("web="));
            listeners.adopt(socket, name.as_bytes(), true).expect("it is bound");
            let given_up = listeners.reclaim(core::slice::from_ref(&bind), false);
            assert_eq!(given_up.len(), closed, "{name}");
            assert!(!listeners.has(&bind, 1), "{name}");
            assert_eq!(listeners.in_the_way_of(&bind.address), None, "{name}");
        }
    }
}
