//! Main's store of listening sockets, open from their bind to the final stop.
//!
//! A socket comes from `--bind`, from a service manager above main, or up from
//! a generation (`FDSTORE=1`). Every generation inherits all of them. What a
//! new generation gives back is closed once the older ones are gone; what only
//! a failed one had stored is closed with it.

use super::log::log;
use super::socket::{self, Path};
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::file::{self, Identity};
use crate::sys::socket::{self as kernel, Kind};
use crate::tape::taped;
use crate::types::{Generation, Level};
use crate::words::address::Bind;
use alloc::string::String;
use alloc::vec::Vec;

/// The most sockets that are kept.
const MOST: usize = 128;

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
    const fn is_adopted(&self) -> bool {
        matches!(self.origin, Origin::Adopted)
    }

    /// Whether it was bound for this. What it is called may change; but the
    /// kernel chooses a port for each name that asks for one.
    fn is_for(&self, bind: &Bind) -> bool {
        let Origin::Bound(own) = &self.origin else { return false };
        own.address == bind.address && (own.name == bind.name || !bind.chooses())
    }
}

/// The store.
#[derive(Debug, Default)]
pub struct Listeners {
    entries: Vec<Entry>,
}

taped! { struct Listeners { entries } }
taped! { struct Entry { fd, name, identity, origin, path, unwanted, given_back } }
taped! { enum Origin { 0 = Adopted, 1 = Bound(bind), 2 = Stored(generation) } }

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
    /// Keeps `fd` under a name that is already escaped, and says whether it was
    /// not there yet. Its path goes with it only if it `is_ours`: another user
    /// could have anybody's file stand there by then.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the end of a sentence; it was closed.
    pub fn keep(
        &mut self,
        fd: Fd,
        name: String,
        origin: Origin,
        is_ours: bool,
    ) -> Result<bool, &'static str> {
        let Ok(identity) = file::identity(fd.borrow()) else { return Err("does not listen") };
        if let Some(known) = self.entries.iter_mut().find(|entry| entry.identity == identity) {
            known.given_back = None;
            dispose(fd);
            return Ok(false);
        }
        let why = if kernel::kind(fd.borrow()) == Kind::Other {
            "does not listen"
        } else if self.entries.len() >= MOST {
            "exceeds the limit of 128 sockets"
        } else {
            let path = if is_ours { Path::of(fd.borrow()) } else { None };
            let (unwanted, given_back) = (false, None);
            self.entries.push(Entry { fd, name, identity, origin, path, unwanted, given_back });
            return Ok(true);
        };
        dispose(fd);
        Err(why)
    }

    /// Whether one of the first `count` was bound for `bind`.
    pub fn has(&self, bind: &Bind, count: usize) -> bool {
        self.entries.iter().take(count).any(|entry| entry.is_for(bind))
    }

    /// The sockets of `--bind` are to be these from the next generation on;
    /// all of them are open.
    pub fn want(&mut self, binds: &[Bind]) {
        for entry in &mut self.entries {
            let wanted = binds.iter().find(|bind| entry.is_for(bind));
            let Origin::Bound(own) = &mut entry.origin else { continue };
            if let Some(bind) = wanted {
                (entry.given_back, entry.name) = (None, bind.carried());
                *own = bind.clone();
            } else if !entry.unwanted {
                log(Level::Info, format_args!("{own} is not handed down any more"));
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

    /// Closes all but the first `count`, which nobody has inherited yet.
    pub fn close_from(&mut self, count: usize) {
        self.close(&|place, _| place >= count);
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
        self.close(&|_, entry| matches!(entry.origin, Origin::Stored(by) if by == generation));
        for entry in &mut self.entries {
            entry.given_back = entry.given_back.filter(|by| *by != generation);
        }
    }

    /// Closes what `generation` has given back. It is current, and no other is
    /// left that could have taken what it does not want.
    pub fn release(&mut self, generation: Generation) {
        self.close(&|_, entry| entry.given_back == Some(generation));
    }

    /// Closes some of them, each chosen with its place.
    fn close(&mut self, unwanted: &dyn Fn(usize, &Entry) -> bool) {
        for place in (0..self.entries.len()).rev() {
            if unwanted(place, &self.entries[place])
                && let Some(path) = self.entries.remove(place).path
            {
                path.remove();
            }
        }
    }

    /// The final stop: no new connection comes into the queues of our own
    /// sockets, and main lets go of all of them.
    pub fn close_all(&mut self) {
        for entry in self.entries.iter().filter(|entry| !entry.is_adopted()) {
            socket::refuse_newcomers(entry.fd.borrow(), entry.path.as_ref());
        }
        self.entries.clear();
    }

    /// Whether a service manager above main has any of them.
    pub fn any_adopted(&self) -> bool {
        self.entries.iter().any(Entry::is_adopted)
    }

    /// The sockets, in the order in which they are handed down.
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
