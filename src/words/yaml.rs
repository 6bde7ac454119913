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
//! number, `true` or `false` is refused: [`scalar`] knows which those are.
//! Everything else of YAML is refused too, with its place. So whatever is taken
//! means to every YAML parser what it means here.

mod scalar;

use crate::error::{Error, Result};
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

/// Who is told what stands in a file, in its order. What he objects to is an
/// error at that place.
pub type Visitor<'v> = dyn FnMut(Piece, &[u8]) -> Result<()> + 'v;

/// A place in a file. At its end everything reads as the end of a line. Where
/// something is wrong, this is the place of it.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The byte that is so many behind this one.
    #[inline(never)]
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
    #[inline(never)]
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

    /// What is wrong, and that it is here: `3:14: this is not UTF-8`. Columns
    /// are counted from 1, in characters.
    #[cold]
    fn wrong(&self, why: &Error) -> Error {
        let (mut line, mut column) = (1_u64, 1_u64);
        for byte in self.file.iter().take(self.at) {
            match byte {
                b'\n' => (line, column) = (line + 1, 1),
                0x80..0xc0 => {}
                _ => column += 1,
            }
        }
        Error::plain(format_args!("{line}:{column}: {why}"))
    }
}

/// What is wrong, without its place.
#[cold]
#[inline(never)]
fn wrong<T>(why: &str) -> Result<T> {
    Err(Error::plain(format_args!("{why}")))
}

/// What may stand on the next line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
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
/// The first thing that is wrong, and where: `3:14: a value is missing`. What is
/// no text comes before everything else.
pub fn parse(file: &[u8], visitor: &mut Visitor<'_>) -> Result<()> {
    let mut cursor = Cursor { file, at: 0 };
    take_all(&mut cursor, visitor).map_err(|why| cursor.wrong(&why))
}

fn take_all(cursor: &mut Cursor<'_>, visitor: &mut Visitor<'_>) -> Result<()> {
    check_text(cursor)?;
    let mut next = Next::Key;
    while cursor.at < cursor.file.len() {
        next = take_line(cursor, next, visitor)?;
        cursor.skip(|byte| byte != b'\n');
        cursor.at += 1;
    }
    check_filled(cursor, next)
}

/// Takes a line, or so much of it as is not a comment.
#[inline(never)]
fn take_line(cursor: &mut Cursor<'_>, next: Next, visitor: &mut Visitor<'_>) -> Result<Next> {
    let indent = cursor.skip_spaces();
    let start = cursor.at;
    match cursor.byte() {
        b'\n' | b'#' => return Ok(next),
        b'-' if cursor.is_apart(1) => {
            match next {
                Next::Key => return wrong("an item has to stand below the key of a list"),
                Next::More(before) if before != indent => {
                    return wrong("the items of a list have to be indented alike");
                }
                Next::First(_) | Next::More(_) => {}
            }
            cursor.at += 1;
            if !take_value(cursor, Piece::Item, visitor)? {
                check_filled(cursor, Next::First(start))?;
            }
            return Ok(Next::More(indent));
        }
        _ if indent > 0 => return wrong("this line is indented, and no item of a list"),
        _ => {}
    }
    check_filled(cursor, next)?;
    cursor.skip(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    let (key, end) = (cursor.since(start), cursor.at);
    let is_key = !key.is_empty() && cursor.byte() == b':' && cursor.is_apart(1);
    cursor.at = start;
    if !is_key {
        return wrong("a line is 'key: value', 'key:' before a list, '- item' or '# comment'");
    }
    visitor(Piece::Key, key)?;
    cursor.at = end + 1;
    let is_alone = take_value(cursor, Piece::Alone, visitor)?;
    Ok(if is_alone { Next::Key } else { Next::First(start) })
}

/// Takes the scalar that stands here, if there is one.
fn take_value(cursor: &mut Cursor<'_>, piece: Piece, visitor: &mut Visitor<'_>) -> Result<bool> {
    cursor.skip_spaces();
    if matches!(cursor.byte(), b'\n' | b'#') {
        return Ok(false);
    }
    let start = cursor.at;
    let mut text = Vec::new();
    scalar::read(cursor, &mut text).or_else(wrong)?;
    cursor.at = start;
    visitor(piece, &text).map(|()| true)
}

/// Refuses a key below which no list has come.
fn check_filled(cursor: &mut Cursor<'_>, next: Next) -> Result<()> {
    match next {
        Next::First(key) => {
            cursor.at = key;
            wrong("a value is missing")
        }
        Next::Key | Next::More(_) => Ok(()),
    }
}

/// Refuses what is no text, and what YAML does not take in one, or somebody
/// takes for the end of a line.
fn check_text(cursor: &mut Cursor<'_>) -> Result<()> {
    let valid = cursor.file.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
    while cursor.at < valid {
        match [cursor.byte(), cursor.ahead(1), cursor.ahead(2)] {
            [0..=9 | 11..=31 | 0x7f, ..]
            | [0xc2, 0x80..=0xa0, _]
            | [0xe2, 0x80, 0xa8 | 0xa9]
            | [0xef, 0xbb, 0xbf]
            | [0xef, 0xbf, 0xbe | 0xbf] => {
                return wrong("a tab or another control character, which YAML does not take");
            }
            _ => cursor.at += 1,
        }
    }
    if valid < cursor.file.len() {
        return wrong("this is not UTF-8");
    }
    cursor.at = 0;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Piece, parse};
    use crate::error::{Error, Result};
    use alloc::string::{String, ToString as _};

    /// Everything that stands there: `key=value` and `key[item][item]`.
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
    fn scalars_and_lists_and_comments_are_taken() {
        let file = "# first\n\ncount: 4   # four\nbind:\n  - :80  # web\n# between\n  - 'a=b # c'\n\
                    command: # what to run\n- ./app\n- --port\n-   \"8\\x30\\\"\\\\ \"\nquiet: true\n";
        let all = r#" count=4 bind[:80][a=b # c] command[./app][--port][80"\ ] quiet=true"#;
        assert_eq!(read(file.as_bytes()), Ok(all.into()));
        assert_eq!(read(b"a: 'it''s'"), Ok(" a=it's".into()));
        assert_eq!(read(b""), Ok(String::new()));
    }

    /// What is refused, and how what is said begins.
    const REFUSED: &[(&str, &str)] = &[
        ("a: 1\n\tb: 2", "2:1: a tab or"),
        ("a: 1\r\n", "1:5: a tab or"),
        ("a: é\u{85}", "1:5: a tab or"),
        ("---\na: 1", "1:1: a line is"),
        ("%YAML 1.2", "1:1: a line is"),
        ("{a: 1}", "1:1: a line is"),
        ("a:1", "1:1: a line is"),
        ("a : 1", "1:1: a line is"),
        ("'a': 1", "1:1: a line is"),
        ("? a", "1:1: a line is"),
        ("a: 1\n  b: 2", "2:3: this line is indented"),
        ("a: b\n  c", "2:3: this line is indented"),
        ("- a", "1:1: an item has"),
        ("a: 1\n- b", "2:1: an item has"),
        ("a:\n  - b\n - c", "3:2: the items of"),
        ("a:\n- b\n  - c", "3:3: the items of"),
        ("a:\nb: 1", "1:1: a value is missing"),
        ("a:", "1:1: a value is missing"),
        ("a:\n-", "2:1: a value is missing"),
        ("a:\n- # b", "2:1: a value is missing"),
        ("a: [b]", "1:4: quote a value that"),
        ("a: &b c", "1:4: quote a value that"),
        ("a: *b", "1:4: quote a value that"),
        ("a: !b c", "1:4: quote a value that"),
        ("a: |", "1:4: quote a value that"),
        ("a:\n- - b", "2:3: quote a value that"),
        ("a: - b", "1:4: quote a value that"),
        ("a:\n- b: c", "2:3: quote a value with"),
        ("a: b:", "1:4: quote a value with"),
        ("a: 'b", "1:6: the quote is not"),
        ("a: \"b\\\"", "1:8: the quote is not"),
        ("a: \"b\" c", "1:8: something follows"),
        ("a: \"\\u00e9\"", "1:5: this escape"),
        ("a: \"\\x80\"", "1:5: this escape"),
        ("a:\n- bad", "2:3: it is bad"),
        ("a: b\nbad: c", "2:1: it is bad"),
    ];

    /// RATIONALE 12.4
    #[test]
    fn everything_else_is_refused_with_its_place() {
        for (file, why) in REFUSED {
            let said = read(file.as_bytes()).expect_err(file);
            assert!(said.starts_with(why), "{file:?}: {said}");
        }
        assert_eq!(read(b"a: \xff"), Err("1:4: this is not UTF-8".into()));
    }

    /// What some parser reads as no string.
    const AMBIGUOUS: &str = "\
        yes|No|ON|off|True|FALSE|null|Null|~|y|N|<<|=|.inf|-.Inf|+.INF|.NaN|012|\
        0o14|0x1F|-0b1|1_000|-_|+_1|1e3|1.5E+3|1.|+1|-0|-.5|00.5|1:30|190:20:30.15|\
        2001-12-14|2001-12-14t21:59:43.10-05:00|2001-1-1 1:1:1|._1|.5_";

    /// What every parser reads as it stands.
    const PLAIN: &str = "\
        0|42|-3|0.1|.5|true|false|127.0.0.1:8080|:80|unix:/run/a|1.2.3|.|..|./app|\
        -v|--port|a,b|x y|a#b|60s|notify|web=localhost:0|truely|0xyz|12-monkeys|é🦀";

    /// RATIONALE 12.4
    #[test]
    fn what_yaml_may_read_as_something_else_is_refused() {
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
