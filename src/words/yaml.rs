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

use crate::error::{Error, Result};
use alloc::vec::Vec;
use core::fmt::Display;

/// Who is told what stands in a file, in its order. What it objects to is an
/// error at that place.
pub trait Visitor {
    /// A key, which was not there before.
    fn key(&mut self, key: &[u8]) -> Result<()>;
    /// The scalar behind the last key, or an item of the list below it.
    fn value(&mut self, text: &[u8], shape: Shape) -> Result<()>;
}

/// How a scalar stands under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Behind it, by itself.
    Alone,
    /// In a list below it.
    Item,
}

/// A line of a file.
#[derive(Clone, Copy)]
struct Line<'a> {
    /// From 1.
    number: usize,
    text: &'a [u8],
}

impl<'a> Line<'a> {
    /// What is wrong at the byte at `offset`: `3:14: this is not UTF-8`.
    /// Columns are counted from 1, in characters.
    #[cold]
    #[inline(never)]
    fn wrong(self, offset: usize, why: &dyn Display) -> Error {
        let before = self.text.iter().take(offset);
        let column = before.filter(|&&byte| byte & 0xc0 != 0x80).count() + 1;
        let (line, column) = (self.number as u64, column as u64);
        Error::plain(format_args!("{line}:{column}: {why}"))
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

/// What may stand on the next line.
#[derive(Clone, Copy)]
enum Next {
    /// No item: the last key has its value.
    Key,
    /// The first item: the key on this line has none yet.
    First(usize),
    /// A further item, indented by this much, or a key.
    More(usize),
}

/// A file that is being read.
struct Reader<'a, 'v> {
    visitor: &'v mut dyn Visitor,
    keys: Vec<&'a [u8]>,
    next: Next,
}

/// Reads a whole file.
///
/// # Errors
///
/// The first thing that is wrong, and where: `3:14: a value is missing`.
pub fn parse(file: &[u8], visitor: &mut dyn Visitor) -> Result<()> {
    let mut reader = Reader { visitor, keys: Vec::new(), next: Next::Key };
    for (before, text) in file.split(|&byte| byte == b'\n').enumerate() {
        reader.take(Line { number: before + 1, text })?;
    }
    reader.check_filled()
}

impl<'a> Reader<'a, '_> {
    fn take(&mut self, line: Line<'a>) -> Result<()> {
        check_text(line)?;
        let at = line.skip(0);
        match line.rest(at) {
            [] | [b'#', ..] => Ok(()),
            [b'-'] | [b'-', b' ', ..] => self.take_item(line, at),
            _ if at > 0 => Err(line.wrong(at, &"this line is indented, and no item of a list")),
            _ => {
                self.check_filled()?;
                self.take_key(line)
            }
        }
    }

    /// Takes a line that begins with `- ` at `at`.
    fn take_item(&mut self, line: Line<'a>, at: usize) -> Result<()> {
        match self.next {
            Next::Key => {
                return Err(line.wrong(at, &"an item has to stand below the key of a list"));
            }
            Next::More(indent) if indent != at => {
                return Err(line.wrong(at, &"the items of a list have to be indented alike"));
            }
            Next::First(_) | Next::More(_) => {}
        }
        self.next = Next::More(at);
        if self.take_value(line, at + 1, Shape::Item)? {
            return Ok(());
        }
        Err(line.wrong(at, &"a value is missing"))
    }

    /// Takes a line that begins with a key.
    fn take_key(&mut self, line: Line<'a>) -> Result<()> {
        let is_key = |&&byte: &&u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let length = line.text.iter().take_while(is_key).count();
        let (key, after) = line.text.split_at(length);
        if key.is_empty() || !matches!(after, [b':'] | [b':', b' ', ..]) {
            let why = "a line is 'key: value', 'key:' before a list, '- item' or '# comment'";
            return Err(line.wrong(0, &why));
        }
        if self.keys.contains(&key) {
            return Err(line.wrong(0, &"this key stands here for the second time"));
        }
        self.keys.push(key);
        self.visitor.key(key).map_err(|why| line.wrong(0, &why))?;
        let is_alone = self.take_value(line, length + 1, Shape::Alone)?;
        self.next = if is_alone { Next::Key } else { Next::First(line.number) };
        Ok(())
    }

    /// Takes the scalar behind `at`, if there is one.
    fn take_value(&mut self, line: Line<'a>, at: usize, shape: Shape) -> Result<bool> {
        let at = line.skip(at);
        let mut text = Vec::new();
        if !scalar::read(line, at, &mut text)? {
            return Ok(false);
        }
        self.visitor.value(&text, shape).map_err(|why| line.wrong(at, &why))?;
        Ok(true)
    }

    /// Refuses a key below which no list has come.
    fn check_filled(&self) -> Result<()> {
        match self.next {
            Next::First(number) => Err(Line { number, text: b"" }.wrong(0, &"a value is missing")),
            Next::Key | Next::More(_) => Ok(()),
        }
    }
}

/// Refuses what is no text, and what YAML does not take in one.
fn check_text(line: Line<'_>) -> Result<()> {
    let valid = line.text.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    if let Some((at, _)) = valid.char_indices().find(|(_, letter)| !is_printable(*letter)) {
        return Err(line.wrong(at, &"a tab or another control character, which YAML does not take"));
    }
    if valid.len() < line.text.len() {
        return Err(line.wrong(valid.len(), &"this is not UTF-8"));
    }
    Ok(())
}

/// Whether YAML takes this character, and nobody takes it for the end of a line.
const fn is_printable(letter: char) -> bool {
    !matches!(
        letter,
        '\0'..' ' | '\x7f'..'\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::{Shape, Visitor, parse};
    use crate::error::{Error, Result};
    use alloc::string::{String, ToString as _};

    /// Notes everything: `key=value` and `key[item][item]`.
    #[derive(Default)]
    struct Notes(String);

    impl Visitor for Notes {
        fn key(&mut self, key: &[u8]) -> Result<()> {
            self.0 += " ";
            self.0 += &String::from_utf8_lossy(key);
            if key == b"bad" { Err(Error::plain(format_args!("a bad key"))) } else { Ok(()) }
        }

        fn value(&mut self, text: &[u8], shape: Shape) -> Result<()> {
            let text = String::from_utf8_lossy(text);
            self.0 += &match shape {
                Shape::Alone => alloc::format!("={text}"),
                Shape::Item => alloc::format!("[{text}]"),
            };
            if text == "bad" { Err(Error::plain(format_args!("a bad value"))) } else { Ok(()) }
        }
    }

    fn read(file: &[u8]) -> core::result::Result<String, String> {
        let mut notes = Notes::default();
        parse(file, &mut notes).map(|()| notes.0).map_err(|error| error.to_string())
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
        ("a: 1\na: 2", "2:1: this key stands"),
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
        ("a: [b]", "1:4: a value that begins"),
        ("a: &b c", "1:4: a value that begins"),
        ("a: *b", "1:4: a value that begins"),
        ("a: !b c", "1:4: a value that begins"),
        ("a: |", "1:4: a value that begins"),
        ("a:\n- - b", "2:3: a value that begins"),
        ("a: - b", "1:4: a value that begins"),
        ("a:\n- b: c", "2:3: a colon before"),
        ("a: b:", "1:4: a colon before"),
        ("a: 'b", "1:6: the quote is not"),
        ("a: \"b\\\"", "1:8: the quote is not"),
        ("a: \"b\" c", "1:8: something follows"),
        ("a: \"\\u00e9\"", "1:5: this escape"),
        ("a: \"\\x80\"", "1:5: this escape"),
        ("a:\n- bad", "2:3: a bad value"),
        ("a: b\nbad: c", "2:1: a bad key"),
    ];

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
        0o14|0x1F|-0b1|1_000|1e3|1.5E+3|1.|+1|-0|-.5|00.5|1:30|190:20:30.15|\
        2001-12-14|2001-12-14t21:59:43.10-05:00|2001-1-1 1:1:1|._1|.5_";

    /// What every parser reads as it stands.
    const PLAIN: &str = "\
        0|42|-3|0.1|.5|true|false|127.0.0.1:8080|:80|unix:/run/a|1.2.3|.|..|./app|\
        -v|--port|a,b|x y|a#b|60s|notify|web=localhost:0|truely|0xyz|12-monkeys|é🦀";

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
