//! The configuration file.

use super::{assert_shown, options, with_lines_between};
use crate::config::config_file::apply;
use crate::config::option_table::Options;
use crate::config::yaml::{Piece, parse};
use crate::error::Error;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// What is wrong with a file: its line, its column, and the reason.
type Wrong = (usize, usize, String);

/// Takes an error apart.
fn place(error: &Error) -> Wrong {
    let text = error.to_string();
    assert_shown(&text);
    let mut parts = text.splitn(3, ':');
    let mut number = || parts.next()?.parse().ok();
    let (line, column) = (number().expect("its line"), number().expect("its column"));
    (line, column, parts.next().expect("a reason").to_string())
}

/// The pieces before the first error, and that.
fn pieces(file: &[u8]) -> (Vec<(Piece, Vec<u8>)>, Option<Wrong>) {
    let mut pieces = Vec::new();
    let parsed = parse(file, &mut |piece, text| {
        pieces.push((piece, text.to_vec()));
        Ok(())
    });
    (pieces, parsed.err().as_ref().map(place))
}

/// A file of these pieces, each in double quotes.
fn composed(pieces: &[(Piece, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    for (piece, text) in pieces {
        file.extend_from_slice(match piece {
            Piece::Key => b"\n",
            Piece::Alone => b" \"",
            Piece::Item => b"\n- \"",
        });
        if *piece == Piece::Key {
            file.extend_from_slice(text);
            file.push(b':');
            continue;
        }
        for &byte in text {
            if byte.is_ascii_control() || b"\"\\".contains(&byte) {
                file.extend_from_slice(&crate::printable::escape(byte));
            } else {
                file.push(byte);
            }
        }
        file.push(b'"');
    }
    file
}

/// That this place is in the file: in a line, or just behind its end.
fn assert_inside(file: &[u8], (line, column, _): &Wrong) {
    let lines: Vec<_> = file.split(|&byte| byte == b'\n').collect();
    assert!((1..=lines.len()).contains(line), "line {line} of {}", lines.len());
    let characters = lines[line - 1].iter().filter(|byte| !(0x80..0xc0).contains(*byte)).count();
    assert!((1..=characters + 1).contains(column), "column {column} of {characters}");
}

pub fn read(file: &[u8]) {
    let (read, wrong) = pieces(file);
    let size: usize = read.iter().map(|(_, text)| text.len()).sum();
    assert!(size <= file.len(), "what was read is larger than the file");
    if let Some(wrong) = &wrong {
        assert_inside(file, wrong);
    } else {
        assert_eq!(pieces(&composed(&read)), (read.clone(), None));
    }
    // Comments move the place of an error and change nothing else.
    let moved = |wrong: &Wrong| (2 * wrong.0, wrong.1, wrong.2.clone());
    let between = with_lines_between(file, b"  # - 'x: ");
    assert_eq!(pieces(&between), (read, wrong.as_ref().map(moved)));
    let mut taken = Options::default();
    match apply(file, &mut taken) {
        Ok(()) => {
            assert_eq!(wrong, None);
            options::assert_taken(&taken);
        }
        Err(error) => assert_inside(file, &place(&error)),
    }
}
