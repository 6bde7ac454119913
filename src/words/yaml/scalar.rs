//! One scalar of a line.
//!
//! The plain ones that are refused are those that any YAML parser may read as a
//! null, a boolean, a number in another notation, a date, a merge or a time:
//! `yes`, `~`, `012`, `1_000`, `0x1f`, `1e3`, `.inf`, `1:30`, `2001-12-14`, `<<`.
//! Whatever is like those is refused with them: quotes are cheap.

use super::Line;
use crate::error::Result;
use crate::words::pieces::cut;
use crate::words::printable::nibble;
use alloc::vec::Vec;

/// Words that some parser reads as no string, in any case of their letters.
const SPECIAL: &[u8] = b"y n yes no on off true false null ~ << = .inf +.inf -.inf .nan";

/// Reads the scalar at `at`, behind which only a comment may follow, to the end
/// of `text`; says whether there is one.
pub(super) fn read(line: Line<'_>, at: usize, text: &mut Vec<u8>) -> Result<bool> {
    match line.rest(at) {
        [] | [b'#', ..] => return Ok(false),
        [quote @ (b'\'' | b'"'), ..] => quoted(line, at + 1, *quote, text)?,
        rest => text.extend_from_slice(plain(rest).map_err(|why| line.wrong(at, &why))?),
    }
    Ok(true)
}

/// Takes a plain scalar off the end of a line.
fn plain(rest: &[u8]) -> core::result::Result<&[u8], &'static str> {
    let comment = place_of(rest, b" #").unwrap_or(rest.len());
    let mut text = rest.get(..comment).unwrap_or_default();
    while let [before @ .., b' '] = text {
        text = before;
    }
    match text {
        [b'-' | b':'] | [b'-' | b':', b' ', ..] => return Err("a value that begins so is quoted"),
        [first, ..] if b",?[]{}#&*!|>%@`".contains(first) => {
            return Err("a value that begins so is quoted");
        }
        _ => {}
    }
    if text.ends_with(b":") || place_of(text, b": ").is_some() {
        return Err("a colon before a space or at the end is quoted");
    }
    let is_known = text == b"true" || text == b"false" || is_decimal(text);
    if !is_known && (is_special(text) || is_like_a_number(text)) {
        return Err("YAML may read this as something else than a string: quote it");
    }
    Ok(text)
}

/// Where the first of these two bytes in a row are.
fn place_of(text: &[u8], two: &[u8; 2]) -> Option<usize> {
    text.windows(2).position(|place| place == two)
}

fn is_special(text: &[u8]) -> bool {
    SPECIAL.split(|&byte| byte == b' ').any(|special| text.eq_ignore_ascii_case(special))
}

/// Whether it is a number to everybody, and the same one.
fn is_decimal(text: &[u8]) -> bool {
    let (whole, fraction) = match cut(text, b'.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let is_whole = match whole {
        // YAML 1.1 knows no negative number without a digit before the point.
        [] => fraction.is_some(),
        [b'0'] => true,
        [b'-', b'1'..=b'9', rest @ ..] | [b'1'..=b'9', rest @ ..] => all_digits(rest),
        _ => false,
    };
    is_whole && fraction.is_none_or(|digits| !digits.is_empty() && all_digits(digits))
}

fn all_digits(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

/// Whether any parser could think of a number, a time or a date.
fn is_like_a_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    match text {
        [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', digits @ ..] => {
            digits.iter().all(|digit| digit.is_ascii_hexdigit() || *digit == b'_')
        }
        [b'0'..=b'9', ..] | [b'.', b'0'..=b'9' | b'_', ..] => is_date(text) || is_float(text),
        _ => false,
    }
}

/// Whether it begins with a year and a month.
fn is_date(text: &[u8]) -> bool {
    let year = cut(text, b'-');
    year.is_some_and(|(year, rest)| {
        year.len() == 4 && all_digits(year) && rest.first().is_some_and(u8::is_ascii_digit)
    })
}

/// Whether it is digits with at most one point, perhaps in groups of sixty,
/// and perhaps with an exponent.
fn is_float(text: &[u8]) -> bool {
    let (digits, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b"0"[..]),
    };
    let exponent = exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'_' | b':' | b'.');
    let points = digits.iter().filter(|byte| **byte == b'.').count();
    digits.iter().all(is_part) && points <= 1 && all_digits(exponent)
}

/// Takes what stands between two quotes; `at` is behind the first of them.
fn quoted(line: Line<'_>, mut at: usize, quote: u8, text: &mut Vec<u8>) -> Result<()> {
    loop {
        let (byte, length) = match line.rest(at) {
            [] => return Err(line.wrong(at, &"the quote is not closed on its line")),
            [b'\'', b'\'', ..] if quote == b'\'' => (b'\'', 2),
            [b'\\', escape @ ..] if quote == b'"' => unescape(escape).ok_or_else(|| {
                line.wrong(at, &r#"this escape is none of \\ \" \/ \n \r \t \0 and \xHH below 80"#)
            })?,
            [byte, ..] if *byte == quote => return check_end(line, at + 1),
            [byte, ..] => (*byte, 1),
        };
        text.push(byte);
        at += length;
    }
}

/// What an escape stands for, and how long it is with its backslash.
fn unescape(escape: &[u8]) -> Option<(u8, usize)> {
    Some(match escape {
        [byte @ (b'\\' | b'"' | b'/'), ..] => (*byte, 2),
        [b'n', ..] => (b'\n', 2),
        [b'r', ..] => (b'\r', 2),
        [b't', ..] => (b'\t', 2),
        [b'0', ..] => (0, 2),
        [b'x', high @ b'0'..=b'7', low, ..] => (nibble(*high)? << 4 | nibble(*low)?, 4),
        _ => return None,
    })
}

/// Refuses whatever is behind a closing quote and no comment.
fn check_end(line: Line<'_>, at: usize) -> Result<()> {
    let end = line.skip(at);
    match line.rest(end) {
        [] => Ok(()),
        [b'#', ..] if end > at => Ok(()),
        _ => Err(line.wrong(end, &"something follows the closing quote")),
    }
}
