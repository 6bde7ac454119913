//! One scalar of a line.
//!
//! The plain ones that are refused are those that any YAML parser may read as a
//! null, a boolean, a number in another notation, a date, a merge or a time:
//! `yes`, `~`, `012`, `1_000`, `0x1f`, `1e3`, `.inf`, `1:30`, `2001-12-14`, `<<`.
//! Whatever is like those is refused with them: quotes are cheap.

use super::{Line, Scalar, Why, Wrong};
use crate::words::pieces::cut;
use crate::words::printable::nibble;
use alloc::vec::Vec;

/// Words that some parser reads as no string, in any case of their letters.
const SPECIAL: [&[u8]; 16] = [
    b"y", b"n", b"yes", b"no", b"on", b"off", b"true", b"false", b"null", b"~", b"<<", b"=",
    b".inf", b"+.inf", b"-.inf", b".nan",
];

/// Reads the scalar at `at`, behind which only a comment may follow; `None`
/// when nothing is there.
pub(super) fn read(line: Line<'_>, at: usize) -> Result<Option<Scalar>, Wrong> {
    let text = match line.rest(at) {
        [] | [b'#', ..] => return Ok(None),
        [b'\'', ..] => single_quoted(line, at + 1)?,
        [b'"', ..] => double_quoted(line, at + 1)?,
        text => plain(text).map_err(|why| line.wrong(at, why))?.to_vec(),
    };
    Ok(Some(Scalar { text, place: line.place(at) }))
}

/// Takes a plain scalar off the end of a line.
fn plain(rest: &[u8]) -> Result<&[u8], Why> {
    let comment = rest.windows(2).position(|two| two == b" #");
    let mut text = &rest[..comment.unwrap_or(rest.len())];
    while let [before @ .., b' '] = text {
        text = before;
    }
    match text {
        [b'-' | b':'] | [b'-' | b':', b' ', ..] => return Err(Why::Indicator),
        [first, ..] if b",?[]{}#&*!|>%@`".contains(first) => return Err(Why::Indicator),
        _ => {}
    }
    if text.ends_with(b":") || text.windows(2).any(|two| two == b": ") {
        return Err(Why::Nested);
    }
    let is_known = matches!(text, b"true" | b"false") || is_decimal(text);
    if !is_known && (is_special(text) || is_like_a_number(text)) {
        return Err(Why::Ambiguous);
    }
    Ok(text)
}

fn is_special(text: &[u8]) -> bool {
    SPECIAL.iter().any(|special| text.eq_ignore_ascii_case(special))
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

/// Takes what stands between single quotes; `at` is behind the first.
fn single_quoted(line: Line<'_>, mut at: usize) -> Result<Vec<u8>, Wrong> {
    let mut text = Vec::new();
    loop {
        match line.rest(at) {
            [] => return Err(line.wrong(at, Why::Unterminated)),
            [b'\'', b'\'', ..] => {
                text.push(b'\'');
                at += 2;
            }
            [b'\'', ..] => return check_end(line, at + 1).map(|()| text),
            [byte, ..] => {
                text.push(*byte);
                at += 1;
            }
        }
    }
}

/// Takes what stands between double quotes; `at` is behind the first.
fn double_quoted(line: Line<'_>, mut at: usize) -> Result<Vec<u8>, Wrong> {
    let mut text = Vec::new();
    loop {
        match line.rest(at) {
            [] => return Err(line.wrong(at, Why::Unterminated)),
            [b'"', ..] => return check_end(line, at + 1).map(|()| text),
            [b'\\', escape @ ..] => {
                let (byte, length) = unescape(escape).ok_or_else(|| line.wrong(at, Why::Escape))?;
                text.push(byte);
                at += 1 + length;
            }
            [byte, ..] => {
                text.push(*byte);
                at += 1;
            }
        }
    }
}

/// What an escape stands for, and how long it is without its backslash.
fn unescape(escape: &[u8]) -> Option<(u8, usize)> {
    Some(match escape {
        [byte @ (b'\\' | b'"' | b'/'), ..] => (*byte, 1),
        [b'n', ..] => (b'\n', 1),
        [b'r', ..] => (b'\r', 1),
        [b't', ..] => (b'\t', 1),
        [b'0', ..] => (0, 1),
        [b'x', high @ b'0'..=b'7', low, ..] => (nibble(*high)? << 4 | nibble(*low)?, 3),
        _ => return None,
    })
}

/// Refuses whatever is behind a closing quote and no comment.
fn check_end(line: Line<'_>, at: usize) -> Result<(), Wrong> {
    let end = line.skip(at);
    match line.rest(end) {
        [] => Ok(()),
        [b'#', ..] if end > at => Ok(()),
        _ => Err(line.wrong(end, Why::AfterQuote)),
    }
}
