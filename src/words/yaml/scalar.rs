//! One scalar of a line.
//!
//! The plain ones that are refused are those that any YAML parser may read as a
//! null, a boolean, a number in another notation, a date, a merge or a time:
//! `yes`, `~`, `012`, `1_000`, `0x1f`, `1e3`, `.inf`, `1:30`, `2001-12-14`, `<<`.
//! Whatever is like those is refused with them: quotes are cheap.

use super::Cursor;
use crate::error::Result;
use crate::words::pieces::cut;
use crate::words::printable::nibble;
use alloc::vec::Vec;

/// Words that some parser reads as no string, in any case of their letters.
const SPECIAL: &[u8] = b"y n yes no on off true false null ~ << = .inf +.inf -.inf .nan";

/// Reads the scalar that begins here, behind which only a comment may follow on
/// its line.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Vec<u8>> {
    match cursor.byte() {
        quote @ (b'\'' | b'"') => quoted(cursor, quote),
        _ => plain(cursor),
    }
}

/// Takes a plain scalar.
fn plain(cursor: &mut Cursor<'_>) -> Result<Vec<u8>> {
    let start = cursor.at;
    let first = cursor.byte();
    if b",?[]{}#&*!|>%@`".contains(&first) || matches!(first, b'-' | b':') && cursor.is_apart(1) {
        return cursor.wrong("a value that begins so is quoted");
    }
    // Spaces at its end do not belong to it.
    let mut end = start;
    loop {
        match cursor.byte() {
            b'\n' => break,
            b' ' if cursor.ahead(1) == b'#' => break,
            b' ' => cursor.at += 1,
            b':' if cursor.is_apart(1) => {
                let why = "a colon before a space or at the end is quoted";
                return Err(cursor.wrong_at(start, &why));
            }
            _ => {
                cursor.at += 1;
                end = cursor.at;
            }
        }
    }
    cursor.at = end;
    let text = cursor.since(start);
    if is_ambiguous(text) {
        let why = "YAML may read this as something else than a string: quote it";
        return Err(cursor.wrong_at(start, &why));
    }
    Ok(text.to_vec())
}

/// Whether it is neither a string to everybody, nor a number or a boolean to
/// everybody and the same one.
fn is_ambiguous(text: &[u8]) -> bool {
    let is_known = text == b"true" || text == b"false" || is_decimal(text);
    let mut specials = SPECIAL.split(|&byte| byte == b' ');
    !is_known
        && (is_like_a_number(text) || specials.any(|special| text.eq_ignore_ascii_case(special)))
}

/// Whether it is a number to everybody, and the same one.
fn is_decimal(text: &[u8]) -> bool {
    let (whole, fraction) = cut(text, b'.').unwrap_or((text, b"0"));
    let digits = match whole {
        // YAML 1.1 knows no negative number without a digit before the point.
        [] | [b'0'] => b"",
        [b'-', b'1'..=b'9', rest @ ..] | [b'1'..=b'9', rest @ ..] => rest,
        _ => return false,
    };
    let mut all = digits.iter().chain(fraction);
    !fraction.is_empty() && all.all(u8::is_ascii_digit)
}

/// Whether any parser could think of a number, a time or a date: it begins as
/// one, and has nothing that none of them has. Two points are in none.
fn is_like_a_number(text: &[u8]) -> bool {
    let digits = match text {
        [b'-' | b'+', digits @ ..] => digits,
        digits => digits,
    };
    let mut points = 0;
    matches!(digits, [b'0'..=b'9', ..] | [b'.', b'0'..=b'9' | b'_', ..])
        && digits.iter().all(|byte| {
            points += u32::from(*byte == b'.');
            byte.is_ascii_hexdigit() || b"._:+- oOxXtTzZ".contains(byte)
        })
        && points < 2
}

/// Takes what stands between two quotes.
fn quoted(cursor: &mut Cursor<'_>, quote: u8) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    cursor.at += 1;
    loop {
        let byte = match (cursor.byte(), cursor.ahead(1)) {
            (b'\n', _) => return cursor.wrong("the quote is not closed on its line"),
            (b'\'', b'\'') if quote == b'\'' => {
                cursor.at += 1;
                b'\''
            }
            (b'\\', escape) if quote == b'"' => {
                let Some(byte) = unescape(cursor, escape) else {
                    return cursor
                        .wrong(r#"this escape is none of \\ \" \/ \n \r \t \0 and \xHH below 80"#);
                };
                byte
            }
            (byte, _) if byte == quote => break,
            (byte, _) => byte,
        };
        text.push(byte);
        cursor.at += 1;
    }
    cursor.at += 1;
    let spaces = cursor.skip_spaces();
    match cursor.byte() {
        b'\n' => Ok(text),
        b'#' if spaces > 0 => Ok(text),
        _ => cursor.wrong("something follows the closing quote"),
    }
}

/// What an escape stands for; goes to its last byte.
fn unescape(cursor: &mut Cursor<'_>, escape: u8) -> Option<u8> {
    let (byte, length) = match escape {
        b'\\' | b'"' | b'/' => (escape, 1),
        b'n' => (b'\n', 1),
        b'r' => (b'\r', 1),
        b't' => (b'\t', 1),
        b'0' => (0, 1),
        b'x' => (nibble(cursor.ahead(2))? << 4 | nibble(cursor.ahead(3))?, 3),
        _ => return None,
    };
    if byte >= 0x80 {
        return None;
    }
    cursor.at += length;
    Some(byte)
}
