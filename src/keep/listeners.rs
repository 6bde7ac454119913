//! Main's store of listening sockets, open from their bind to the final stop.
//!
//! A socket comes from `--bind`, from a service manager above main, or up from
//! a generation (`FDSTORE=1`). Every generation inherits all of them. What a
//! new generation gives back is closed once the older ones are gone; what only
//! a failed one had stored is closed with it.

use super::socket::{self, Path};
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::file::{self, Identity};
use crate::sys::socket::{self as kernel, Kind};
use crate::types::Generation;
use crate::words::address::Bind;
use alloc::string::String;
use alloc::vec::Vec;

/// The most sockets that are kept.
const MOST: usize = 128;

/// Where a socket came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Main bound it to this: `--bind`.
    Bound(Bind),
    /// A service manager above main has it too.
    Adopted,
    /// This generation stored it.
    Stored(Generation),
}

#[derive(Debug)]
struct Entry {
    fd: Fd,
    /// As `LISTEN_FDNAMES` carries it.
    name: String,
    identity: Identity,
    origin: Origin,
    path: Option<Path>,
    /// Whether `--bind` has asked for it, and does not any more.
    unwanted: bool,
    /// The generation that does not want it.
    given_back: Option<Generation>,
}

impl Entry {
    fn is_for(&self, bind: &Bind) -> bool {
        matches!(&self.origin, Origin::Bound(own) if own == bind)
    }
}

/// What became of a descriptor that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is in the store now.
    New,
    /// It was there already.
    Known,
    /// It is neither a listening nor a bound datagram socket; it was closed.
    NoListener,
    /// The store is full; it was closed.
    Full,
}

impl Kept {
    /// What is wrong with a descriptor that was closed; `None` for one that is
    /// in the store.
    #[must_use]
    pub const fn objection(self) -> Option<&'static str> {
        match self {
            Self::New | Self::Known => None,
            Self::NoListener => Some("does not listen"),
            Self::Full => Some("is one too many"),
        }
    }
}

/// The store.
#[derive(Debug, Default)]
pub struct Listeners {
    entries: Vec<Entry>,
}

/// Closes what was not asked for, at once, whatever its owner had in mind.
pub fn dispose(fd: Fd) {
    kernel::never_linger(fd.borrow());
    drop(fd);
}

/// Closes all that came along with what did not ask for it.
pub fn dispose_all(descriptors: Vec<Fd>) {
    descriptors.into_iter().for_each(dispose);
}

impl Listeners {
    /// Keeps `fd` under a name that is already escaped, or closes it.
    pub fn keep(&mut self, fd: Fd, name: String, origin: Origin) -> Kept {
        let Ok(identity) = file::identity(fd.borrow()) else { return Kept::NoListener };
        if let Some(known) = self.entries.iter_mut().find(|entry| entry.identity == identity) {
            known.given_back = None;
            dispose(fd);
            return Kept::Known;
        }
        if kernel::kind(fd.borrow()) == Kind::Other {
            dispose(fd);
            return Kept::NoListener;
        }
        if self.entries.len() >= MOST {
            dispose(fd);
            return Kept::Full;
        }
        let path = Path::of(fd.borrow());
        self.entries.push(Entry {
            fd,
            name,
            identity,
            origin,
            path,
            unwanted: false,
            given_back: None,
        });
        Kept::New
    }

    /// Whether one of the first `count` was bound for `bind`.
    #[must_use]
    pub fn has(&self, bind: &Bind, count: usize) -> bool {
        self.entries.iter().take(count).any(|entry| entry.is_for(bind))
    }

    /// The sockets of `--bind` are to be these from the next generation on;
    /// all of them are open.
    pub fn want(&mut self, binds: &[Bind]) {
        for entry in &mut self.entries {
            let is_wanted = binds.iter().any(|bind| entry.is_for(bind));
            entry.unwanted = !is_wanted && matches!(entry.origin, Origin::Bound(_));
            if is_wanted {
                entry.given_back = None;
            }
        }
    }

    /// `generation` has been started without what is not wanted any more.
    pub fn leave_out(&mut self, generation: Generation) {
        for entry in self.entries.iter_mut().filter(|entry| entry.unwanted) {
            entry.given_back = Some(generation);
        }
    }

    /// How many are kept.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.entries.len()
    }

    /// Closes all but the first `count`, which nobody has inherited yet.
    pub fn close_from(&mut self, count: usize) {
        for entry in self.entries.drain(count..) {
            if let Some(path) = &entry.path {
                path.remove();
            }
        }
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

    /// A generation came to nothing: closes what it alone had stored, and
    /// keeps what it had given back.
    pub fn discard(&mut self, generation: Generation) {
        self.close(&|entry| entry.origin == Origin::Stored(generation));
        for entry in &mut self.entries {
            entry.given_back = entry.given_back.filter(|by| *by != generation);
        }
    }

    /// Closes what `generation` has given back. It is current, and no other is
    /// left that could have taken what it does not want.
    pub fn release(&mut self, generation: Generation) {
        self.close(&|entry| entry.given_back == Some(generation));
    }

    fn close(&mut self, unwanted: &dyn Fn(&Entry) -> bool) {
        self.entries.retain(|entry| {
            let keep = !unwanted(entry);
            if let (false, Some(path)) = (keep, &entry.path) {
                path.remove();
            }
            keep
        });
    }

    /// The final stop: no new connection comes into the queues of our own
    /// sockets, and main lets go of all of them.
    pub fn close_all(&mut self) {
        for entry in self.entries.drain(..) {
            if entry.origin != Origin::Adopted {
                socket::refuse_newcomers(entry.fd.borrow(), entry.path.as_ref());
            }
        }
    }

    /// Whether a service manager above main has any of them.
    #[must_use]
    pub fn any_adopted(&self) -> bool {
        self.entries.iter().any(|entry| entry.origin == Origin::Adopted)
    }

    /// The sockets, in the order in which they are handed down.
    #[must_use]
    pub fn descriptors(&self) -> Vec<Borrowed<'_>> {
        let mut all = Vec::new();
        for entry in self.handed_down() {
            all.push(entry.fd.borrow());
        }
        all
    }

    /// Each socket with its name as it is carried, and where it came from.
    pub fn each(&self) -> impl Iterator<Item = (Borrowed<'_>, &str, &Origin)> {
        self.entries.iter().map(|entry| (entry.fd.borrow(), entry.name.as_str(), &entry.origin))
    }

    /// Their names, in the same order, as they are carried.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.handed_down().map(|entry| entry.name.as_str())
    }

    fn handed_down(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.unwanted)
    }
}
