//! What comes from outside, as any bytes, into what reads it.
//!
//! A target is a function of bytes that asserts what holds whatever they are: that
//! what is taken is written and read back the same, that an error names a place that
//! is there, that nothing is larger than it may be. `make fuzz` looks for bytes that
//! break one, guided by what of the code they reach; those that reach more than the
//! others stand in `fuzz/corpus`, and the test below reads them all.

pub mod env_file;

/// The name of a target's folder in `fuzz/corpus`, and what reads the files of it.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[("env_file", env_file::read)];

/// That `text` is fit for one line of a terminal, and not too long for the log.
fn assert_shown(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(!text.is_empty() && text.len() < crate::log_line::LogLine::SIZE, "{text:?}");
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
