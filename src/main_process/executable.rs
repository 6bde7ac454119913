//! Where main was started, and what relative paths are relative to.

use crate::config::option_table::{Options, PathOption};
use crate::environment::joined;
use crate::error::{Result, cannot};
use crate::persist::{Codec, Persist as _, persisted};
use crate::protocol::address::Address;
use crate::sys::fd::Fd;
use crate::sys::signal::OriginalDispositions;
use crate::sys::{env, file, process};
use crate::text;
use crate::types::Pid;
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

/// How main was started, and what it is executed as: for its restart, and for the
/// generations that it starts.
pub(super) struct OwnProgram {
    /// This process.
    pub id: Pid,
    /// Where its image stands.
    pub binary: CString,
    /// Where main was started.
    pub start: CString,
    /// Where COMMAND is executed, as seen from there.
    pub directory: CString,
    pub inherited: OriginalDispositions,
    /// The words of this process, for a restart.
    own: &'static [&'static CStr],
    /// The command line of panzer(1), for the next reload: the same, unless a
    /// program of one's own has made it.
    pub words: &'static [&'static CStr],
}

impl OwnProgram {
    /// This process, which was started in `start`.
    pub fn new(
        own: &'static [&'static CStr],
        words: &'static [&'static CStr],
        start: CString,
        inherited: OriginalDispositions,
    ) -> Self {
        let (id, binary) = (process::id(), path_of_image(own, &start));
        Self { id, binary, start, directory: CString::default(), inherited, own, words }
    }

    /// Writes or reads what one image leaves to the next, which has words of its own.
    pub fn persist(&mut self, codec: &mut Codec) {
        persisted! {
            in self, codec; { id, binary, start, directory, inherited } without { own, words }
        }
    }

    /// The words with which another image is executed: ours, but that the first names
    /// the file, for the kernel does not tell the path of a descriptor.
    pub fn own_words(&self) -> Vec<CString> {
        let mut words: Vec<_> = self.own.iter().map(|&word| word.to_owned()).collect();
        if let Some(first) = words.first_mut() {
            first.clone_from(&self.binary);
        }
        words
    }

    /// The image of this process, whatever stands at its path by now.
    pub fn open_binary(&self) -> Result<Fd> {
        file::open(c"/proc/self/exe", file::Mode::Execute)
            .or_else(|_| file::open(&self.binary, file::Mode::Execute))
            .map_err(cannot("open panzer's own binary"))
    }
}

/// Where main was started: `$PWD` when it names that directory, so that links
/// on the way are kept.
pub(super) fn start_directory() -> Result<CString> {
    if let Some(pwd) = env::var(c"PWD")
        && pwd.to_bytes().starts_with(b"/")
        && file::same(&pwd, c".")
    {
        return Ok(pwd);
    }
    file::current_directory().map_err(cannot("find the working directory"))
}

/// `path` as seen from `start`.
pub(super) fn from(start: &CStr, path: Option<&CStr>) -> CString {
    let Some(path) = path else { return start.to_owned() };
    if path.to_bytes().starts_with(b"/") {
        return path.to_owned();
    }
    joined(&[start.to_bytes(), b"/", path.to_bytes()])
}

/// Has the options' relative paths be as seen from `start`.
pub(super) fn look_from(start: &CStr, options: &mut Options) {
    if let Some(file) = options.path(PathOption::EnvFile) {
        let file = from(start, Some(file));
        options.set_path(PathOption::EnvFile, file);
    }
    for bind in &mut options.bind {
        let carried = text::compose(format_args!("{}", bind.address));
        if let Address::Unix(path) = &mut bind.address {
            *path = from(start, Some(path));
            // The application knows it as it was written.
            bind.name.get_or_insert(carried);
        }
    }
}

/// Where the image of this process stands, as seen from `start`: as it was
/// called, or, where a shell has searched for it, as the kernel was told.
pub(super) fn path_of_image(words: &[&'static CStr], start: &CStr) -> CString {
    let called = words.first().copied().filter(|name| name.to_bytes().contains(&b'/'));
    from(start, called.or_else(env::executed))
}
