//! Whether the program on disk is the one that main runs.
//!
//! Main does not look: its file may be on a file server that is away, which holds up
//! every process that asks. So a child looks, and is given up when it takes too long.

use crate::protocol::status_records::Binary;
use crate::sys::fd::{self, Blocking};
use crate::sys::poll::{self, Source};
use crate::sys::{Errno, clock, file, pidfd, process, receiver, signal};
use crate::text;
use crate::types::{Millis, Pid, Signal};
use alloc::ffi::CString;
use core::ffi::CStr;

/// How long the child may take.
const PATIENCE: Millis = Millis(300);

/// What stands at `path`, from which the process `main` runs; `None` when that is
/// not known in time, or to us.
pub fn look(main: Pid, path: &[u8]) -> Option<Binary> {
    let path = CString::new(path).ok().filter(|path| path.to_bytes().starts_with(b"/"))?;
    let answer = |binary: Option<Binary>| match binary {
        Some(Binary::Same) => 0,
        Some(Binary::Differs) => 1,
        Some(Binary::Missing) => 2,
        None => 3,
    };
    let (_read, write) = fd::pipe(Blocking::No).ok()?;
    let child = process::fork(|| match receiver::keep_alone(write.borrow()) {
        // A reader of what we print does not wait for it.
        Ok(_) => answer(compare(main, &path)),
        Err(_) => answer(None),
    })
    .ok()?;
    let held = pidfd::open(child).ok()?;
    let end = clock::now().after(PATIENCE);
    while poll::wait(&mut [Source::readable(held.borrow())], Some(end)).is_ok() {
        match process::reap(child) {
            Ok(process::Reaped::Dead(_, crate::types::Exit::Status(status))) => {
                return [Binary::Same, Binary::Differs, Binary::Missing]
                    .get(usize::from(status))
                    .copied();
            }
            Ok(process::Reaped::NoneDead) if clock::now() < end => {}
            Ok(_) | Err(_) => break,
        }
    }
    let _ = signal::send(child, Signal::Kill);
    None
}

/// Looks, however long that takes.
fn compare(main: Pid, path: &CStr) -> Option<Binary> {
    let of_main = |what: &str| {
        let path = text::compose(format_args!("/proc/{main}/{what}"));
        file::identity_behind(&CString::new(path).ok()?).ok()
    };
    // In another root the path says nothing.
    if of_main("root")? != file::identity_behind(c"/").ok()? {
        return None;
    }
    let runs = of_main("exe")?;
    match file::identity_behind(path) {
        Ok(there) if there == runs => Some(Binary::Same),
        Ok(_) => Some(Binary::Differs),
        Err(Errno(libc::ENOENT | libc::ENOTDIR)) => Some(Binary::Missing),
        Err(_) => None,
    }
}
