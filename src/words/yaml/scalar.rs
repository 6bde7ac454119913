//! One scalar of a line.
//!
//! The plain ones that are refused are those that any YAML parser may read as a
//! null, a boolean, a number in another notation, a date, a merge or a time:
//! `yes`, `~`, `012`, `1_000`, `0x1f`, `1e3`, `.inf`, `1:30`, `2001-12-14`, `<<`.
//! Whatever is like those is refused with them: quotes are cheap.

use super::Cursor;
use crate::words::printable::nibble;
use alloc::vec::Vec;

/// Words that some parser reads as no string, in any case of their letters.
const SPECIAL: &[u8] = b"y n yes no on off true false null ~ << = .inf +.inf -.inf .nan";

/// Reads the scalar that begins here, behind which only a comment may follow on
/// its line.
///
/// # Errors
///
/// What is wrong where the cursor is then.
pub(super) fn read(cursor: &mut Cursor<'_>, text: &mut Vec<u8>) -> Result<(), &'static str> {
    match cursor.byte() {
        quote @ (b'\'' | b'"') => quoted(cursor, quote, text),
        _ => plain(cursor, text),
    }
}

/// Takes a plain scalar.
fn plain(cursor: &mut Cursor<'_>, text: &mut Vec<u8>) -> Result<(), &'static str> {
    let start = cursor.at;
    let is_meant = match cursor.byte() {
        b'-' | b':' => cursor.is_apart(1),
        first => b",?[]{}#&*!|>%@`".contains(&first),
    };
    if is_meant {
        return Err("quote a value that begins like this");
    }
    loop {
        match cursor.byte() {
            b'\n' => break,
            b' ' if cursor.ahead(1) == b'#' => break,
            b':' if cursor.is_apart(1) => {
                cursor.at = start;
                return Err("quote a value with a colon before a space or at its end");
            }
            byte => text.push(byte),
        }
        cursor.at += 1;
    }
    cursor.at = start;
    // Spaces at its end do not belong to it.
    text.truncate(text.trim_ascii_end().len());
    if is_ambiguous(text) {
        return Err("YAML may read this as something else than a string: quote it");
    }
    Ok(())
}

/// Whether two versions of YAML may read it differently, or as something else
/// than a string, a decimal number or a boolean.
#[inline(never)]
fn is_ambiguous(text: &[u8]) -> bool {
    let mut specials = SPECIAL.split(|&byte| byte == b' ');
    if specials.any(|special| is_in_any_case(text, special)) {
        return text != b"true" && text != b"false";
    }
    let digits = match text {
        [b'-' | b'+', digits @ ..] => digits,
        digits => digits,
    };
    // It has to begin as a number does, and have nothing that no number, time
    // or date of any version has. Two points are in none.
    let rest = match digits {
        [b'0', b'x' | b'X' | b'o' | b'O', rest @ ..] => rest,
        [b'0'..=b'9', ..] | [b'.', b'0'..=b'9' | b'_', ..] => digits,
        [b'_', ..] if digits.len() < text.len() => digits,
        _ => return false,
    };
    let (mut points, mut is_decimal) = (0, true);
    for byte in rest {
        match byte {
            b'0'..=b'9' => {}
            b'.' => points += 1,
            _ if b"abcdefABCDEFtTzZ_:+- ".contains(byte) => is_decimal = false,
            _ => return false,
        }
    }
    // YAML 1.1 knows no negative number without a digit before the point.
    let begins_well = matches!(
        text,
        [b'0'] | [b'0', b'.', ..] | [b'.' | b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..]
    );
    points < 2 && !(is_decimal && begins_well && !text.ends_with(b"."))
}

/// Whether `text` is this in small letters. The standard library's way is made
/// for long texts, and a quarter of a kilobyte.
fn is_in_any_case(text: &[u8], small: &[u8]) -> bool {
    let mut pairs = text.iter().zip(small);
    text.len() == small.len() && pairs.all(|(one, other)| one.to_ascii_lowercase() == *other)
}

/// Takes what stands between two quotes.
fn quoted(cursor: &mut Cursor<'_>, quote: u8, text: &mut Vec<u8>) -> Result<(), &'static str> {
    loop {
        cursor.at += 1;
        let byte = match (cursor.byte(), cursor.ahead(1)) {
            (b'\n', _) => return Err("the quote is not closed on its line"),
            (b'\'', b'\'') if quote == b'\'' => {
                cursor.at += 1;
                b'\''
            }
            (b'\\', escape) if quote == b'"' => unescape(cursor, escape)
                .ok_or(r#"this escape is none of \\ \" \/ \n \r \t \0 and \xHH below 80"#)?,
            (byte, _) if byte == quote => break,
            (byte, _) => byte,
        };
        text.push(byte);
    }
    cursor.at += 1;
    let spaces = cursor.skip_spaces();
    match cursor.byte() {
        b'\n' => Ok(()),
        b'#' if spaces > 0 => Ok(()),
        _ => Err("something follows the closing quote"),
    }
}

/// Letters of escapes, each before what it stands for.
const ESCAPES: &[u8] = b"\\\\\"\"//n\nr\rt\t0\0";

/// What an escape stands for; goes to its last byte.
fn unescape(cursor: &mut Cursor<'_>, escape: u8) -> Option<u8> {
    if escape == b'x' {
        let (high, low) = (nibble(cursor.ahead(2))?, nibble(cursor.ahead(3))?);
        cursor.at += if high < 8 { 3 } else { return None };
        return Some(high << 4 | low);
    }
    let known = ESCAPES.as_chunks().0.iter().find(|[letter, _]| *letter == escape)?;
    cursor.at += 1;
    Some(known[1])
}
