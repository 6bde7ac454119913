//! The file of `--env-file`.

use super::{assert_shown, with_lines_between};
use crate::config::env_file::parse;
use alloc::string::ToString as _;
use alloc::vec::Vec;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The pairs before the first error, and that: its line and its reason.
fn pairs(file: &[u8]) -> (Pairs, Option<(usize, alloc::string::String)>) {
    let mut pairs = Vec::new();
    let parsed = parse(file, &mut |key, value| pairs.push((key.to_vec(), value.to_vec())));
    let wrong = parsed.err().map(|error| {
        let text = error.to_string();
        assert_shown(&text);
        let (line, reason) = text
            .strip_prefix("line ")
            .and_then(|rest| rest.split_once(": "))
            .expect("an error begins with its line");
        (line.parse().expect("a line is a number"), reason.to_string())
    });
    (pairs, wrong)
}

/// What a file of these pairs looks like.
fn composed(pairs: &Pairs) -> Vec<u8> {
    let mut file = Vec::new();
    for (key, value) in pairs {
        file.extend_from_slice(key);
        if value.contains(&b'\'') {
            file.extend_from_slice(b"=\"");
            for &byte in value {
                if b"\"\\$`".contains(&byte) {
                    file.push(b'\\');
                }
                file.push(byte);
            }
            file.extend_from_slice(b"\"\n");
        } else {
            file.extend_from_slice(b"='");
            file.extend_from_slice(value);
            file.extend_from_slice(b"'\n");
        }
    }
    file
}

pub fn read(file: &[u8]) {
    let (read, wrong) = pairs(file);
    for (key, value) in &read {
        assert!(!key.is_empty() && !key[0].is_ascii_digit());
        assert!(key.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'));
        assert!(!value.iter().any(|byte| b"\0\r\n".contains(byte)));
    }
    let size: usize = read.iter().map(|(key, value)| key.len() + 1 + value.len()).sum();
    assert!(size <= file.len(), "what was read is larger than the file");
    assert_eq!(pairs(&composed(&read)), (read.clone(), None));
    // Comments move the place of an error and change nothing else.
    let moved = wrong.as_ref().map(|(line, reason)| (2 * line, reason.clone()));
    assert_eq!(pairs(&with_lines_between(file, b" # x='")), (read.clone(), moved));
    let Some((line, _)) = wrong else { return };
    let lines: Vec<_> = file.split(|&byte| byte == b'\n').collect();
    assert!((1..=lines.len()).contains(&line), "line {line} of {}", lines.len());
    assert_eq!(pairs(&lines[..line - 1].join(&b'\n')), (read, None), "nothing was wrong before");
}
