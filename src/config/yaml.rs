//! The configuration file's language: a strict subset of YAML.
//!
//! A file is UTF-8 without tabs or carriage returns, of lines that are blank,
//! comments, `key: value`, or `key:` with lines `- item` below it, all of them
//! indented alike or not at all. A key is of small letters, digits and dashes,
//! and stands at the beginning of its line. A value or an item
//! is one scalar on the same line: plain, `'single-quoted'` (where `''` is a
//! quote) or `"double-quoted"` (where `\\ \" \/ \n \r \t \0` and `\xHH` below 80
//! are escapes). A comment begins with `#`, at the beginning of a line or after
//! a space.
//!
//! A plain scalar that YAML 1.1 or 1.2 reads as anything but a string, a decimal
//! number, `true` or `false` is refused: [`plain`] knows which those are.
//! Everything else of YAML is refused too, with its place. So whatever is taken
//! means to every YAML parser what it means here.

use crate::error::{Error, Result};
use crate::printable::nibble;
use alloc::vec::Vec;

/// What stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A key.
    Key,
    /// The scalar behind the last key.
    Alone,
    /// An item of the list below the last key.
    Item,
}

/// Called with each piece of a file, in its order. Its objection is an error at that
/// place.
pub type PieceVisitor<'v> = dyn FnMut(Piece, &[u8]) -> Result<()> + 'v;

/// A place in a file. At its end everything reads as the end of a line. Where
/// something is wrong, this is the place of it.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The byte that is so many behind this one.
    fn ahead(&self, by: usize) -> u8 {
        *self.file.get(self.at + by).unwrap_or(&b'\n')
    }

    fn byte(&self) -> u8 {
        self.ahead(0)
    }

    /// Goes behind all bytes like this, and says how many there are.
    fn skip(&mut self, is_it: fn(u8) -> bool) -> usize {
        let before = self.at;
        while is_it(self.byte()) {
            self.at += 1;
        }
        self.at - before
    }

    /// Goes to what is behind these spaces.
    fn skip_spaces(&mut self) -> usize {
        self.skip(|byte| byte == b' ')
    }

    /// Whether a line ends here, or goes on after a space.
    fn is_apart(&self, by: usize) -> bool {
        matches!(self.ahead(by), b' ' | b'\n')
    }

    /// What stands from `start` to here.
    fn since(&self, start: usize) -> &'a [u8] {
        self.file.get(start..self.at).unwrap_or_default()
    }

    /// What is wrong, and that it is here: `3:14: invalid UTF-8`. Columns
    /// are counted from 1, in characters.
    #[cold]
    fn wrong(&self, reason: &Error) -> Error {
        let (mut line, mut column) = (1_u64, 1_u64);
        for byte in self.file.iter().take(self.at) {
            match byte {
                b'\n' => (line, column) = (line + 1, 1),
                0x80..0xc0 => {}
                _ => column += 1,
            }
        }
        Error::plain(format_args!("{line}:{column}: {reason}"))
    }
}

/// What is wrong, without its place.
#[cold]
fn wrong<T>(reason: &str) -> Result<T> {
    Err(Error::plain(format_args!("{reason}")))
}

/// What may stand on the next line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NextLine {
    /// No item: the last key has its value.
    Key,
    /// The first item: the key that begins there has none yet.
    First(usize),
    /// A further item, indented by this much, or a key.
    More(usize),
}

/// Reads a whole file.
///
/// # Errors
///
/// The first thing that is wrong, and where: `3:14: value missing`. What is
/// no text comes before everything else.
pub fn parse(file: &[u8], visitor: &mut PieceVisitor<'_>) -> Result<()> {
    let mut cursor = Cursor { file, at: 0 };
    take_all(&mut cursor, visitor).map_err(|reason| cursor.wrong(&reason))
}

fn take_all(cursor: &mut Cursor<'_>, visitor: &mut PieceVisitor<'_>) -> Result<()> {
    check_text(cursor)?;
    let mut next = NextLine::Key;
    while cursor.at < cursor.file.len() {
        next = take_line(cursor, next, visitor)?;
        cursor.skip(|byte| byte != b'\n');
        cursor.at += 1;
    }
    check_filled(cursor, next)
}

/// Takes a line, or so much of it as is not a comment.
fn take_line(
    cursor: &mut Cursor<'_>,
    next: NextLine,
    visitor: &mut PieceVisitor<'_>,
) -> Result<NextLine> {
    let indent = cursor.skip_spaces();
    let start = cursor.at;
    match cursor.byte() {
        b'\n' | b'#' => return Ok(next),
        b'-' if cursor.is_apart(1) => {
            match next {
                NextLine::Key => return wrong("list item without a key above it"),
                NextLine::More(before) if before != indent => {
                    return wrong("all items of a list must have the same indentation");
                }
                NextLine::First(_) | NextLine::More(_) => {}
            }
            cursor.at += 1;
            if !take_value(cursor, Piece::Item, visitor)? {
                check_filled(cursor, NextLine::First(start))?;
            }
            return Ok(NextLine::More(indent));
        }
        _ if indent > 0 => return wrong("only list items may be indented"),
        _ => {}
    }
    check_filled(cursor, next)?;
    cursor.skip(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let (key, end) = (cursor.since(start), cursor.at);
    let is_key = !key.is_empty() && cursor.byte() == b':' && cursor.is_apart(1);
    cursor.at = start;
    if !is_key {
        return wrong("expected 'key: value', 'key:' before a list, '- item' or '# comment'");
    }
    visitor(Piece::Key, key)?;
    cursor.at = end + 1;
    let is_alone = take_value(cursor, Piece::Alone, visitor)?;
    Ok(if is_alone { NextLine::Key } else { NextLine::First(start) })
}

/// Takes the scalar that stands here, if there is one.
fn take_value(
    cursor: &mut Cursor<'_>,
    piece: Piece,
    visitor: &mut PieceVisitor<'_>,
) -> Result<bool> {
    cursor.skip_spaces();
    if matches!(cursor.byte(), b'\n' | b'#') {
        return Ok(false);
    }
    let start = cursor.at;
    let mut text = Vec::new();
    read_scalar(cursor, &mut text).or_else(wrong)?;
    cursor.at = start;
    visitor(piece, &text).map(|()| true)
}

/// Refuses a key below which no list has come.
fn check_filled(cursor: &mut Cursor<'_>, next: NextLine) -> Result<()> {
    match next {
        NextLine::First(key) => {
            cursor.at = key;
            wrong("value missing")
        }
        NextLine::Key | NextLine::More(_) => Ok(()),
    }
}

/// Refuses what is no text, what YAML does not allow in one, and what some parser takes
/// for the end of a line.
fn check_text(cursor: &mut Cursor<'_>) -> Result<()> {
    let valid = cursor.file.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
    while cursor.at < valid {
        match [cursor.byte(), cursor.ahead(1), cursor.ahead(2)] {
            [0..=9 | 11..=31 | 0x7f, ..]
            | [0xc2, 0x80..=0xa0, _]
            | [0xe2, 0x80, 0xa8 | 0xa9]
            | [0xef, 0xbb, 0xbf]
            | [0xef, 0xbf, 0xbe | 0xbf] => {
                return wrong("tab or other control character, not allowed in YAML");
            }
            _ => cursor.at += 1,
        }
    }
    if valid < cursor.file.len() {
        return wrong("invalid UTF-8");
    }
    cursor.at = 0;
    Ok(())
}

// ----------------------------------------------------------------------------
// Scalars
// One scalar of a line.
//
// The plain ones that are refused are those that any YAML parser may read as a
// null, a boolean, a number in another notation, a date, a merge or a time:
// `yes`, `~`, `012`, `1_000`, `0x1f`, `1e3`, `.inf`, `1:30`, `2001-12-14`, `<<`.
// Whatever is like those is refused with them: quotes are cheap.
// ----------------------------------------------------------------------------

/// Words that some parser reads as no string, in any case of their letters.
const SPECIAL: &[u8] = b"y n yes no on off true false null ~ << = .inf +.inf -.inf .nan";

/// Reads the scalar that begins here, behind which only a comment may follow on
/// its line.
///
/// # Errors
///
/// What is wrong where the cursor is then.
fn read_scalar(
    cursor: &mut Cursor<'_>,
    text: &mut Vec<u8>,
) -> core::result::Result<(), &'static str> {
    match cursor.byte() {
        quote @ (b'\'' | b'"') => quoted(cursor, quote, text),
        _ => plain(cursor, text),
    }
}

/// Takes a plain scalar.
fn plain(cursor: &mut Cursor<'_>, text: &mut Vec<u8>) -> core::result::Result<(), &'static str> {
    let start = cursor.at;
    if matches!(cursor.byte(), b'[' | b'{') {
        return Err("no list or map in one line: below the key, write each item as '- item'");
    }
    let is_meant = match cursor.byte() {
        b'-' | b':' => cursor.is_apart(1),
        first => b",?]}#&*!|>%@`".contains(&first),
    };
    if is_meant {
        return Err("the value begins with a special character: quote it");
    }
    loop {
        match cursor.byte() {
            b'\n' => break,
            b' ' if cursor.ahead(1) == b'#' => break,
            b':' if cursor.is_apart(1) => {
                cursor.at = start;
                return Err("the value has a colon before a space or at its end: quote it");
            }
            byte => text.push(byte),
        }
        cursor.at += 1;
    }
    cursor.at = start;
    // Spaces at its end do not belong to it.
    text.truncate(text.trim_ascii_end().len());
    if is_ambiguous(text) {
        return Err("YAML may read this value as something other than a string: quote it");
    }
    Ok(())
}

/// Whether two versions of YAML may read it differently, or as something else
/// than a string, a decimal number or a boolean.
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
fn quoted(
    cursor: &mut Cursor<'_>,
    quote: u8,
    text: &mut Vec<u8>,
) -> core::result::Result<(), &'static str> {
    loop {
        cursor.at += 1;
        let byte = match (cursor.byte(), cursor.ahead(1)) {
            (b'\n', _) => return Err("closing quote missing on this line"),
            (b'\'', b'\'') if quote == b'\'' => {
                cursor.at += 1;
                b'\''
            }
            (b'\\', escape) if quote == b'"' => unescape(cursor, escape)
                .ok_or(r#"unknown escape, expected \\ \" \/ \n \r \t \0 or \xHH below 80"#)?,
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
        _ => Err("unexpected text after the closing quote"),
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

#[cfg(test)]
mod tests {
    use super::{Piece, parse};
    use crate::error::{Error, Result};
    use alloc::string::{String, ToString as _};

    /// The whole file as `key=value` and `key[item][item]`.
    fn read(file: &[u8]) -> core::result::Result<String, String> {
        let mut notes = String::new();
        let mut note = |piece, text: &[u8]| {
            let text = String::from_utf8_lossy(text);
            notes += &match piece {
                Piece::Key => alloc::format!(" {text}"),
                Piece::Alone => alloc::format!("={text}"),
                Piece::Item => alloc::format!("[{text}]"),
            };
            if text == "bad" { Err(Error::plain(format_args!("it is bad"))) } else { Ok(()) }
        };
        let done: Result<()> = parse(file, &mut note);
        done.map(|()| notes).map_err(|error| error.to_string())
    }

    #[test]
    fn scalars_lists_and_comments_are_parsed() {
        let file = "# first\n\ncount: 4   # four\nbind:\n  - :80  # web\n# between\n  - 'a=b # c'\n\
                    command: # what to run\n- ./app\n- --port\n-   \"8\\x30\\\"\\\\ \"\nquiet: true\n";
        let all = r#" count=4 bind[:80][a=b # c] command[./app][--port][80"\ ] quiet=true"#;
        assert_eq!(read(file.as_bytes()), Ok(all.into()));
        assert_eq!(read(b"a: 'it''s'"), Ok(" a=it's".into()));
        assert_eq!(read(b"a: \"it''s\""), Ok(" a=it''s".into()));
        assert_eq!(read(br"a: '\n'"), Ok(r" a=\n".into()));
        assert_eq!(read(b"a: 'b' # c"), Ok(" a=b".into()));
        assert_eq!(read(b"a: 'b'  # c"), Ok(" a=b".into()));
        assert_eq!(read(b""), Ok(String::new()));
    }

    /// Refused files, and the beginning of each error.
    const REFUSED: &[(&str, &str)] = &[
        ("a: 1\n\tb: 2", "2:1: tab or other"),
        ("a: 1\r\n", "1:5: tab or other"),
        ("a: é\u{85}", "1:5: tab or other"),
        ("---\na: 1", "1:1: expected 'key"),
        ("%YAML 1.2", "1:1: expected 'key"),
        ("{a: 1}", "1:1: expected 'key"),
        ("a:1", "1:1: expected 'key"),
        ("a : 1", "1:1: expected 'key"),
        ("'a': 1", "1:1: expected 'key"),
        ("? a", "1:1: expected 'key"),
        ("a: 1\n  b: 2", "2:3: only list items may"),
        ("a: b\n  c", "2:3: only list items may"),
        ("- a", "1:1: list item without"),
        ("a: 1\n- b", "2:1: list item without"),
        ("a:\n  - b\n - c", "3:2: all items of"),
        ("a:\n- b\n  - c", "3:3: all items of"),
        ("a:\nb: 1", "1:1: value missing"),
        ("a:", "1:1: value missing"),
        ("a:\n-", "2:1: value missing"),
        ("a:\n- # b", "2:1: value missing"),
        ("a: [b]", "1:4: no list or map in one line"),
        ("a: {b: c}", "1:4: no list or map in one line"),
        ("a: &b c", "1:4: the value begins"),
        ("a: *b", "1:4: the value begins"),
        ("a: !b c", "1:4: the value begins"),
        ("a: |", "1:4: the value begins"),
        ("a:\n- - b", "2:3: the value begins"),
        ("a: - b", "1:4: the value begins"),
        ("a:\n- b: c", "2:3: the value has a colon"),
        ("a: b:", "1:4: the value has a colon"),
        ("a: 'b", "1:6: closing quote missing"),
        ("a: \"b\\\"", "1:8: closing quote missing"),
        ("a: \"b\" c", "1:8: unexpected text"),
        ("a: 'b'#c", "1:7: unexpected text"),
        ("a: \"\\u00e9\"", "1:5: unknown escape"),
        ("a: \"\\x80\"", "1:5: unknown escape"),
        ("a:\n- bad", "2:3: it is bad"),
        ("a: b\nbad: c", "2:1: it is bad"),
    ];

    /// rule: config.yaml
    #[test]
    fn other_yaml_is_refused_with_line_and_column() {
        for (file, reason) in REFUSED {
            let said = read(file.as_bytes()).expect_err(file);
            assert!(said.starts_with(reason), "{file:?}: {said}");
        }
        assert_eq!(read(b"a: \xff"), Err("1:4: invalid UTF-8".into()));
    }

    /// Scalars that some parser does not read as strings.
    const AMBIGUOUS: &str = "\
        yes|No|ON|off|True|FALSE|null|Null|~|y|N|<<|=|.inf|-.Inf|+.INF|.NaN|012|\
        0o14|0x1F|-0b1|1_000|-_|+_1|1e3|1.5E+3|1.|+1|-0|-.5|00.5|1:30|190:20:30.15|\
        2001-12-14|2001-12-14t21:59:43.10-05:00|2001-1-1 1:1:1|._1|.5_";

    /// Scalars that every parser reads unchanged.
    const PLAIN: &str = "\
        0|42|-3|0.1|.5|true|false|127.0.0.1:8080|:80|unix:/run/a|1.2.3|01.2.3|_1|.|..|./app|\
        -v|--port|a,b|x y|a#b|60s|notify|web=localhost:0|truely|0xyz|12-monkeys|é🦀";

    /// rule: config.yaml
    #[test]
    fn ambiguous_yaml_scalars_are_refused() {
        for text in AMBIGUOUS.split('|') {
            let said = read(alloc::format!("a: {text}").as_bytes()).expect_err(text);
            assert!(said.starts_with("1:4: YAML may"), "{text}: {said}");
        }
        for text in PLAIN.split('|') {
            let file = alloc::format!("a: {text}");
            assert_eq!(read(file.as_bytes()), Ok([" a=", text].concat()));
        }
    }
}
