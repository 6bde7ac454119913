//! Text from outside, made fit for one line of a terminal or a log.
//!
//! Control characters would break a line in two, or drive the reader's terminal; they
//! are shown as `\x1b`. Everything else is left alone.

use alloc::string::String;
use core::fmt;

/// The most characters of a value that [`Quoted`] shows.
const MOST: usize = 120;

/// A byte as `\xHH`, in lower case.
pub const fn escape(byte: u8) -> [u8; 4] {
    [b'\\', b'x', hex_digit(byte >> 4), hex_digit(byte & 15)]
}

/// One hexadecimal digit; `nibble` is below 16.
const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) }
}

/// The value of one hexadecimal digit, in either case; `None` if it is none.
pub const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Whether a terminal would act on `c` instead of showing it.
pub const fn is_control(c: char) -> bool {
    matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}')
}

/// What to show for `c`: itself, or `\xHH` for a control character.
pub fn show(c: char, room: &mut [u8; 4]) -> &str {
    show_without(c, room, b"")
}

/// The same, with `\xHH` for those in `others` too.
fn show_without<'a>(c: char, room: &'a mut [u8; 4], others: &[u8]) -> &'a str {
    match u8::try_from(c) {
        Ok(byte) if is_control(c) || others.contains(&byte) => {
            *room = escape(byte);
            valid(room)
        }
        Ok(_) | Err(_) => c.encode_utf8(room),
    }
}

/// What to write for `c` in a string of JSON: RFC 8259, 7.
pub fn json(c: char, room: &mut [u8; 6]) -> &str {
    match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\n' => "\\n",
        // JSON knows no \x1b; its \u001b has the same two digits at the end.
        _ if is_control(c) => {
            let [_, _, high, low] = escape(c as u8);
            *room = [b'\\', b'u', b'0', b'0', high, low];
            valid(room)
        }
        _ => c.encode_utf8(room),
    }
}

/// The text of bytes that are one.
fn valid(bytes: &[u8]) -> &str {
    bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// Adds bytes, with `\xHH` for those that are not plain.
pub fn push_escaped(out: &mut String, bytes: &[u8], is_plain: fn(u8) -> bool) {
    for &byte in bytes {
        let escaped = escape(byte);
        let single = [byte];
        out.push_str(valid(if is_plain(byte) { &single } else { &escaped }));
    }
}

/// The text of `bytes`, with `�` for what is no UTF-8.
///
/// The standard library's `from_utf8_lossy` saves a copy, which takes half a
/// kilobyte of program more.
pub fn lossy(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.push_str(if chunk.invalid().is_empty() { "" } else { "\u{fffd}" });
    }
    text
}

/// The text of `bytes` for one line of a terminal: control characters are shown
/// as `\x1b`, and what is no UTF-8 as `�`.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for c in lossy(bytes).chars() {
        text.push_str(show(c, &mut [0; 4]));
    }
    text
}

/// Shows a value in single quotes within one line, whatever it contains.
///
/// Bytes that are no UTF-8 are shown as `�`, and after 120 characters there is
/// `…`: this is for people, not for reading back.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("'")?;
        write_text(out, self.0, MOST)?;
        out.write_str("'")
    }
}

/// Writes at most `most` characters of `text`, and `…` in place of the rest.
///
/// # Errors
///
/// Only those of `out`.
pub fn write_text(out: &mut dyn fmt::Write, text: &[u8], most: usize) -> fmt::Result {
    write_escaped(out, text, most, b"")
}

/// The same, with the characters of `others` as `\xHH` too.
///
/// # Errors
///
/// Only those of `out`.
pub fn write_escaped(
    out: &mut dyn fmt::Write,
    text: &[u8],
    most: usize,
    others: &[u8],
) -> fmt::Result {
    let mut left = most;
    for chunk in text.utf8_chunks() {
        let replacement = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        for c in chunk.valid().chars().chain(replacement) {
            if left == 0 {
                return out.write_str("…");
            }
            left -= 1;
            out.write_str(show_without(c, &mut [0; 4], others))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Quoted, escape, lossy, show, shown};
    use alloc::string::ToString;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(Quoted(b"a\n\x1b[2J\x7f").to_string(), r"'a\x0a\x1b[2J\x7f'");
        assert_eq!(show('\u{9b}', &mut [0; 4]), r"\x9b");
        assert_eq!(shown(b"a\x1b]0;b\x07 \xc2\x9b5n\xff"), "a\\x1b]0;b\\x07 \\x9b5n\u{fffd}");
    }

    #[test]
    fn other_characters_are_unchanged() {
        assert_eq!(Quoted("é…🦀".as_bytes()).to_string(), "'é…🦀'");
        assert_eq!(show('\u{a0}', &mut [0; 4]), "\u{a0}");
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(Quoted(b"a\xffb").to_string(), "'a\u{fffd}b'");
        assert_eq!(lossy(b"a\xffb\xc3"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn long_value_is_cut() {
        let shown = Quoted(&[b'x'; 500]).to_string();
        assert_eq!(shown.chars().count(), 120 + 3);
        assert!(shown.ends_with("x…'"));
        assert!(!Quoted(&[b'x'; 120]).to_string().contains('…'));
    }

    #[test]
    fn escapes_have_two_lower_case_digits() {
        assert_eq!(&escape(0xaf), br"\xaf");
        assert_eq!(&escape(0x09), br"\x09");
    }
}
