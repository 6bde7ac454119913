//! A pipe that is full.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;

use panzer::sys::fd::{Blocking, Borrowed, set_blocking};

/// Fills a pipe, and leaves it blocking.
pub fn fill(writer: &mut (impl Write + AsFd)) {
    set(writer, Blocking::No);
    // The last page takes single bytes when it has no room for more.
    for size in [4_096, 1] {
        while let Some(written) = put(writer, size) {
            assert_ne!(written, 0, "a pipe takes something or nothing");
        }
    }
    set(writer, Blocking::Yes);
}

fn set(writer: &impl AsFd, blocking: Blocking) {
    set_blocking(Borrowed::from(writer.as_fd()), blocking).expect("it is open");
}

/// How many bytes were written; `None` if the pipe is full.
fn put(writer: &mut impl Write, size: usize) -> Option<usize> {
    match writer.write(&[b'.'; 4_096][..size]) {
        Ok(written) => Some(written),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("cannot write to a pipe: {error}"),
    }
}
