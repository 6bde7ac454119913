//! The configuration file's language: a strict subset of YAML.
//!
//! A file is UTF-8 without tabs or carriage returns, of lines that are blank,
//! comments, `key: value`, or `key:` with lines `- item` below it, all of them
//! indented alike or not at all. A key is of small letters, digits and dashes,
//! stands at the beginning of its line, and once in a file. A value or an item
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

use alloc::vec::Vec;
use core::fmt;

/// Where something stands in a file: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Reads as `3:14`.
impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.line, self.column)
    }
}

/// One scalar without its quotes, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// What it says.
    pub text: Vec<u8>,
    /// Where it stands.
    pub place: Place,
}

/// What stands under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A scalar behind it.
    One(Scalar),
    /// A list below it, of at least one item.
    List(Vec<Scalar>),
}

/// A key and what stands under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Where it stands.
    pub place: Place,
    /// Its value.
    pub value: Value,
}

/// What is wrong with a file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where it is.
    pub place: Place,
    /// What it is.
    pub why: Why,
}

/// What is wrong at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Bytes that are no UTF-8.
    Text,
    /// A tab, a carriage return, or another character that YAML does not take.
    Control,
    /// A line that is none of those that are taken.
    Line,
    /// A key for the second time.
    Duplicate,
    /// A line that is indented and no item.
    Indented,
    /// An item that is not below a key.
    Item,
    /// An item that is not indented as the first one.
    Uneven,
    /// Nothing where a value should be.
    Empty,
    /// A plain scalar that begins with a character that means something.
    Indicator,
    /// A colon within a plain scalar.
    Nested,
    /// A plain scalar that YAML does not read as a string.
    Ambiguous,
    /// A quote that is not closed on its line.
    Unterminated,
    /// Something behind the closing quote.
    AfterQuote,
    /// An escape that is not taken.
    Escape,
}

impl Why {
    /// One clause that says what is wrong.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Text => "this is not UTF-8",
            Self::Control => "a tab, a carriage return or another control character",
            Self::Line => "a line is 'key: value', 'key:' before a list, '- item' or '# comment'",
            Self::Duplicate => "this key stands here for the second time",
            Self::Indented => "this line is indented, and no item of a list",
            Self::Item => "an item of a list has to stand below its key",
            Self::Uneven => "the items of a list have to be indented alike",
            Self::Empty => "a value is missing",
            Self::Indicator => "a value that begins like this needs quotes",
            Self::Nested => "a value with a colon before a space or at its end needs quotes",
            Self::Ambiguous => "YAML may read this as something else than a string: quote it",
            Self::Unterminated => "the quote is not closed on its line",
            Self::AfterQuote => "something follows the closing quote",
            Self::Escape => {
                "this escape is not one of \\\\ \\\" \\/ \\n \\r \\t \\0 \\xHH below 80"
            }
        }
    }
}

/// A line of a file.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    text: &'a [u8],
}

impl<'a> Line<'a> {
    /// The place of the byte at `offset`.
    fn place(self, offset: usize) -> Place {
        let before = self.text.iter().take(offset);
        let begun = before.filter(|&&byte| byte & 0xc0 != 0x80).count();
        Place { line: self.number, column: begun + 1 }
    }

    fn wrong(self, offset: usize, why: Why) -> Wrong {
        Wrong { place: self.place(offset), why }
    }

    /// What stands from `offset` on.
    fn rest(self, offset: usize) -> &'a [u8] {
        self.text.get(offset..).unwrap_or_default()
    }

    /// The offset of what is behind the spaces from `offset` on.
    fn skip(self, offset: usize) -> usize {
        offset + self.rest(offset).iter().take_while(|&&byte| byte == b' ').count()
    }
}

/// Reads a whole file.
///
/// # Errors
///
/// The first thing that is wrong, and where.
pub fn parse(file: &[u8]) -> Result<Vec<Entry<'_>>, Wrong> {
    let mut entries = Vec::new();
    // How the items of the last list are indented, once there is one.
    let mut indent = None;
    for (before, text) in file.split(|&byte| byte == b'\n').enumerate() {
        let line = Line { number: before + 1, text };
        check_text(line)?;
        let at = line.skip(0);
        match line.rest(at) {
            [] | [b'#', ..] => {}
            [b'-'] | [b'-', b' ', ..] => take_item(line, at, &mut indent, &mut entries)?,
            _ if at > 0 => return Err(line.wrong(at, Why::Indented)),
            _ => {
                check_filled(entries.last())?;
                indent = None;
                take_key(line, &mut entries)?;
            }
        }
    }
    check_filled(entries.last())?;
    Ok(entries)
}

/// Refuses what is no text, and what YAML does not take in one.
fn check_text(line: Line<'_>) -> Result<(), Wrong> {
    let text = core::str::from_utf8(line.text)
        .map_err(|error| line.wrong(error.valid_up_to(), Why::Text))?;
    match text.char_indices().find(|(_, letter)| !is_printable(*letter)) {
        Some((at, _)) => Err(line.wrong(at, Why::Control)),
        None => Ok(()),
    }
}

/// Whether YAML takes this character, and nobody takes it for the end of a line.
const fn is_printable(letter: char) -> bool {
    !matches!(
        letter,
        '\0'..' ' | '\x7f'..'\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

/// Refuses a key below which no list has come.
fn check_filled(last: Option<&Entry<'_>>) -> Result<(), Wrong> {
    match last {
        Some(Entry { value: Value::List(items), place, .. }) if items.is_empty() => {
            Err(Wrong { place: *place, why: Why::Empty })
        }
        Some(_) | None => Ok(()),
    }
}

/// Takes a line that begins with `- ` at `at`.
fn take_item(
    line: Line<'_>,
    at: usize,
    indent: &mut Option<usize>,
    entries: &mut [Entry<'_>],
) -> Result<(), Wrong> {
    let Some(Entry { value: Value::List(items), .. }) = entries.last_mut() else {
        return Err(line.wrong(at, Why::Item));
    };
    if *indent.get_or_insert(at) != at {
        return Err(line.wrong(at, Why::Uneven));
    }
    match scalar::read(line, line.skip(at + 1))? {
        Some(item) => items.push(item),
        None => return Err(line.wrong(at, Why::Empty)),
    }
    Ok(())
}

/// Takes a line that begins with a key.
fn take_key<'a>(line: Line<'a>, entries: &mut Vec<Entry<'a>>) -> Result<(), Wrong> {
    let is_key = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let length = line.text.iter().take_while(|byte| is_key(byte)).count();
    let (key, after) = line.text.split_at(length);
    if key.is_empty() || !matches!(after, [b':'] | [b':', b' ', ..]) {
        return Err(line.wrong(0, Why::Line));
    }
    if entries.iter().any(|entry| entry.key == key) {
        return Err(line.wrong(0, Why::Duplicate));
    }
    let one = scalar::read(line, line.skip(length + 1))?;
    let value = one.map_or_else(|| Value::List(Vec::new()), Value::One);
    entries.push(Entry { key, place: line.place(0), value });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Entry, Place, Value, Why, Wrong, parse};
    use alloc::string::{String, ToString as _};
    use alloc::vec::Vec;

    /// Everything that is taken, as `key=value` and `key[item|item]`.
    fn read(file: &str) -> Result<String, Wrong> {
        let show = |entry: &Entry<'_>| {
            let text = |scalar: &super::Scalar| String::from_utf8_lossy(&scalar.text).into_owned();
            let key = String::from_utf8_lossy(entry.key);
            match &entry.value {
                Value::One(scalar) => alloc::format!("{key}={}", text(scalar)),
                Value::List(items) => {
                    alloc::format!(
                        "{key}[{}]",
                        items.iter().map(text).collect::<Vec<_>>().join("|")
                    )
                }
            }
        };
        parse(file.as_bytes()).map(|all| all.iter().map(show).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn scalars_and_lists_and_comments_are_taken() {
        let file = "# first\n\ncount: 4   # four\nbind:\n  - :80  # web\n# between\n  - 'a=b # c'\n\
                    command: # what to run\n- ./app\n- --port\n-   \"8\\x30\\\"\\\\ \"\nquiet: true\n";
        let all = r#"count=4 bind[:80|a=b # c] command[./app|--port|80"\ ] quiet=true"#;
        assert_eq!(read(file), Ok(all.into()));
        assert_eq!(read("a: 'it''s'#"), Err(wrong(1, 11, Why::AfterQuote)));
        assert_eq!(read(""), Ok(String::new()));
    }

    fn wrong(line: usize, column: usize, why: Why) -> Wrong {
        Wrong { place: Place { line, column }, why }
    }

    #[test]
    fn everything_else_is_refused_with_its_place() {
        for (file, line, column, why) in [
            ("a: 1\n\tb: 2", 2, 1, Why::Control),
            ("a: 1\r\n", 1, 5, Why::Control),
            ("a: é\u{85}", 1, 5, Why::Control),
            ("---\na: 1", 1, 1, Why::Line),
            ("%YAML 1.2", 1, 1, Why::Line),
            ("{a: 1}", 1, 1, Why::Line),
            ("a:1", 1, 1, Why::Line),
            ("a : 1", 1, 1, Why::Line),
            ("'a': 1", 1, 1, Why::Line),
            ("? a", 1, 1, Why::Line),
            ("a: 1\na: 2", 2, 1, Why::Duplicate),
            ("a: 1\n  b: 2", 2, 3, Why::Indented),
            ("a: b\n  c", 2, 3, Why::Indented),
            ("- a", 1, 1, Why::Item),
            ("a: 1\n- b", 2, 1, Why::Item),
            ("a:\n  - b\n - c", 3, 2, Why::Uneven),
            ("a:\n- b\n  - c", 3, 3, Why::Uneven),
            ("a:\nb: 1", 1, 1, Why::Empty),
            ("a:", 1, 1, Why::Empty),
            ("a:\n-", 2, 1, Why::Empty),
            ("a:\n- # b", 2, 1, Why::Empty),
            ("a: [b]", 1, 4, Why::Indicator),
            ("a: &b c", 1, 4, Why::Indicator),
            ("a: *b", 1, 4, Why::Indicator),
            ("a: !b c", 1, 4, Why::Indicator),
            ("a: |", 1, 4, Why::Indicator),
            ("a:\n- - b", 2, 3, Why::Indicator),
            ("a: - b", 1, 4, Why::Indicator),
            ("a:\n- b: c", 2, 3, Why::Nested),
            ("a: b:", 1, 4, Why::Nested),
            ("a: 'b", 1, 6, Why::Unterminated),
            ("a: \"b\\\"", 1, 8, Why::Unterminated),
            ("a: \"b\" c", 1, 8, Why::AfterQuote),
            ("a: \"\\u00e9\"", 1, 5, Why::Escape),
            ("a: \"\\x80\"", 1, 5, Why::Escape),
        ] {
            assert_eq!(read(file), Err(wrong(line, column, why)), "{file:?}");
        }
        assert_eq!(parse(b"a: \xff").map(drop), Err(wrong(1, 4, Why::Text)));
        assert_eq!(wrong(3, 14, Why::Text).place.to_string(), "3:14");
    }

    #[test]
    fn what_yaml_may_read_as_something_else_is_refused() {
        for text in [
            "yes",
            "No",
            "ON",
            "off",
            "True",
            "FALSE",
            "null",
            "Null",
            "~",
            "y",
            "N",
            "<<",
            "=",
            ".inf",
            "-.Inf",
            "+.INF",
            ".NaN",
            "012",
            "0o14",
            "0x1F",
            "-0b1",
            "1_000",
            "1e3",
            "1.5E+3",
            "1.",
            "+1",
            "-0",
            "-.5",
            "00.5",
            "1:30",
            "190:20:30.15",
            "2001-12-14",
            "2001-12-14t21:59:43.10-05:00",
            "2001-1-1 1:1:1",
            "._1",
            ".5_",
        ] {
            let file = alloc::format!("a: {text}");
            assert_eq!(read(&file), Err(wrong(1, 4, Why::Ambiguous)), "{text}");
        }
        for text in [
            "0",
            "42",
            "-3",
            "0.1",
            ".5",
            "true",
            "false",
            "127.0.0.1:8080",
            ":80",
            "unix:/run/a",
            "1.2.3",
            ".",
            "..",
            "./app",
            "-v",
            "--port",
            "a,b",
            "x y",
            "a#b",
            "60s",
            "notify",
            "web=localhost:0",
            "truely",
            "0xyz",
            "12-monkeys",
            "é🦀",
        ] {
            let file = alloc::format!("a: {text}");
            assert_eq!(read(&file), Ok(alloc::format!("a={text}")), "{text}");
        }
    }
}
