//! What comes from outside, as any bytes, into what reads it.
//!
//! A target is a function of bytes that asserts what holds whatever they are: that
//! what is taken is written and read back the same, that an error names a place that
//! is there, that nothing is larger than it may be. `make fuzz` looks for bytes that
//! break one, guided by what of the code they reach; those that reach more than the
//! others stand in `fuzz/corpus`, and the test below reads them all.

pub mod address;
pub mod board;
pub mod ctl;
pub mod env_file;
pub mod json;
pub mod lines;
pub mod names;
pub mod notify;
pub mod options;
pub mod passwd;
pub mod values;
pub mod yaml;

pub use crate::ctl::fuzz_reply as reply;
pub use crate::main_process::fuzz_control as control;
pub use crate::main_process::fuzz_state as state;

use crate::log_line::LogLine;
use crate::persist::{Codec, Direction, Persist};
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::vec::Vec;

/// The name of a target's folder in `fuzz/corpus`, and what reads the files of it.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("address", address::read),
    ("board", board::read),
    ("control", control::read),
    ("ctl", ctl::read),
    ("env_file", env_file::read),
    ("lines", lines::read),
    ("names", names::read),
    ("notify", notify::read),
    ("options", options::read),
    ("passwd", passwd::read),
    ("reply", reply::read),
    ("state", state::read),
    ("values", values::read),
    ("yaml", yaml::read),
];

/// That `text` is fit for one line of a terminal, and not too long for the log.
pub fn assert_shown(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(!text.is_empty() && text.len() < LogLine::SIZE, "{text:?}");
}

/// What is read of the bytes that are written of a value, and these.
fn rewritten<T: Persist>(value: &mut T) -> (Option<T>, Vec<u8>) {
    let mut codec = Codec::empty_value();
    value.persist(&mut codec);
    (reread(codec.bytes()), codec.bytes().to_owned())
}

/// The value that these bytes are, if they are one.
fn reread<T: Persist>(bytes: &[u8]) -> Option<T> {
    let mut codec = Codec::of(bytes.to_owned(), Direction::Read);
    let mut value = T::empty_value();
    value.persist(&mut codec);
    codec.is_whole().then_some(value)
}

/// The words of a command line: a NUL is between two.
fn words(bytes: &[u8]) -> Vec<CString> {
    let words = bytes.split(|&byte| byte == 0);
    words.map(|word| CString::new(word).expect("no NUL is left")).collect()
}

/// The same bytes with this line above each of them.
fn with_lines_between(file: &[u8], between: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for line in file.split_inclusive(|&byte| byte == b'\n') {
        all.extend_from_slice(between);
        all.push(b'\n');
        all.extend_from_slice(line);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::TARGETS;
    use alloc::vec::Vec;
    use std::path::Path;
    use std::{fs, panic};

    #[test]
    fn corpora_of_the_fuzzer_break_no_property() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, read) in TARGETS {
            let files: Vec<_> = fs::read_dir(corpora.join(name)).expect(name).collect();
            assert!(!files.is_empty(), "{name} has no corpus");
            for file in files {
                let path = file.expect(name).path();
                let bytes = fs::read(&path).expect("it is ours");
                let outcome = panic::catch_unwind(|| read(&bytes));
                assert!(outcome.is_ok(), "{}", path.display());
            }
        }
    }
}
