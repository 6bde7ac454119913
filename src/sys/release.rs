//! What a program was when its generation started: the file, and the directories
//! that its words lead through. execveat(2), realpath(3)
//!
//! A path may name another release by now, most often because a symbolic link on
//! the way (`current`) was moved. What starts later runs the old release all the
//! same, and says that it had to look for it.

use super::{file, path};
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::file::{FileKind, Identity, Mode};
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

/// A program as it was.
pub struct Release {
    file: Fd,
    identity: Identity,
    path: ResolvedPath,
    /// Those of the program's words that are paths through a link.
    words: Vec<(usize, ResolvedPath)>,
    /// The name of the working directory.
    directory: Option<CString>,
}

/// A path, and where it led.
struct ResolvedPath {
    given: CString,
    /// The same, if a link was on the way.
    followed: Option<Followed>,
}

/// A path without links on the way to its last part.
struct Followed {
    path: CString,
    /// What the way up to the last part was called, and is.
    directory: [CString; 2],
}

impl Release {
    /// Takes hold of the file that is executed for `words` with this `environment`,
    /// and of what they lead to. `directory` is a name of the working directory.
    /// `None` when there is no such file.
    ///
    /// May wait for a file server.
    pub fn open(
        words: &[CString],
        environment: &[CString],
        directory: Option<CString>,
    ) -> Option<Self> {
        let take = |at: &CString| {
            let file = file::open(at, Mode::Execute).ok()?;
            let identity = file::identity(file.borrow()).ok()?;
            let is_program = identity.kind() == FileKind::Regular && path::is_executable(at);
            is_program.then(|| (file, identity, ResolvedPath::of(at)))
        };
        let (file, identity, path) = candidates(words, environment).iter().find_map(take)?;
        let directory = directory.filter(|name| path::same(name, c"."));
        let places = words.iter().map(|word| ResolvedPath::of(word)).enumerate();
        let words = places.filter(|(_, place)| place.followed.is_some()).collect();
        Some(Self { file, identity, path, words, directory })
    }

    pub(super) const fn file(&self) -> Borrowed<'_> {
        self.file.borrow()
    }

    /// Where to look for the file. Async-signal-safe, as all that follow; each may
    /// wait for a file server.
    pub(super) fn path(&self) -> &CStr {
        self.path.now()
    }

    /// Whether `at` leads to the file.
    pub(super) fn is_at(&self, at: &CStr) -> bool {
        path::identity(at) == Ok(self.identity)
    }

    /// The words that mean something else by now, each with what it meant.
    pub(super) fn words(&self) -> impl Iterator<Item = (usize, &CStr)> {
        let moved = self.words.iter().filter(|(_, place)| place.is_moved());
        moved.map(|(index, place)| (*index, place.now()))
    }

    /// Whether any path names something else by now.
    pub(super) fn is_moved(&self) -> bool {
        let has_left = |name: &CString| !path::same(name, c".");
        !self.is_at(&self.path.given)
            || self.words().next().is_some()
            || self.directory.as_ref().is_some_and(has_left)
    }
}

impl ResolvedPath {
    fn of(given: &CStr) -> Self {
        Self { given: given.to_owned(), followed: Followed::of(given) }
    }

    /// Whether the way leads elsewhere by now.
    fn is_moved(&self) -> bool {
        let leads_elsewhere = |one: &Followed| !path::same(&one.directory[0], &one.directory[1]);
        self.followed.as_ref().is_some_and(leads_elsewhere)
    }

    /// The path to what it was, as long as that is there: as it was given where it
    /// still leads there.
    fn now(&self) -> &CStr {
        match &self.followed {
            Some(followed) if self.is_moved() && path::identity(&followed.path).is_ok() => {
                &followed.path
            }
            Some(_) | None => &self.given,
        }
    }
}

impl Followed {
    /// `None` where nothing is there, or no link is on the way.
    ///
    /// The last part is followed only to a directory: a program may go by the name
    /// of the link that it was started by.
    fn of(given: &CStr) -> Option<Self> {
        let bytes = given.to_bytes();
        let last = bytes.iter().rposition(|&byte| byte == b'/')?;
        let is_directory = path::is_directory(given).ok()?;
        let end = if is_directory { bytes.len() } else { last.max(1) };
        let ends = (1..=end).filter(|&at| at == end || bytes[at] == b'/');
        let mut parts = ends.filter_map(|at| CString::new(&bytes[..at]).ok());
        if !parts.any(|part| path::is_link(&part)) {
            return None;
        }
        let directory = CString::new(&bytes[..end]).ok()?;
        let real = path::resolve(&directory).ok()?;
        let rest = if is_directory { &b""[..] } else { &bytes[last..] };
        let path = CString::new([real.to_bytes(), rest].concat()).ok()?;
        Some(Self { path, directory: [directory, real] })
    }
}

/// Which files execvpe(3) would try.
pub(super) fn candidates(words: &[CString], environment: &[CString]) -> Vec<CString> {
    let Some(command) = words.first() else { return Vec::new() };
    let name = command.to_bytes();
    if name.contains(&b'/') {
        return alloc::vec![command.clone()];
    }
    let mut entries = environment.iter().rev();
    let path = entries.find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    let path = path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin");
    let mut files = Vec::new();
    for directory in path.split(|&byte| byte == b':') {
        let directory = if directory.is_empty() { b"." } else { directory };
        files.extend(CString::new([directory, b"/", name].concat()));
    }
    files
}
