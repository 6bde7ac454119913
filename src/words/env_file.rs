//! The file of `--env-file`: one `KEY=VALUE` a line.
//!
//! What is taken means the same to systemd's `EnvironmentFile=`; what that
//! would read in a way that surprises is refused with its line. In detail:
//!
//! - Spaces and tabs at both ends of a line do not count. A line that is then
//!   empty, or begins with `#`, is skipped. There is no comment after a value.
//! - KEY is a letter or `_`, then letters, digits and `_`, all of ASCII. `=`
//!   follows at once: neither `export` nor a space before `=` is taken.
//! - VALUE, after spaces and tabs, is one of three:
//!   `'…'`, every byte between the quotes as it stands;
//!   `"…"`, where `\"`, `\\`, `\$` and `` \` `` stand for their second
//!   character and every other backslash for itself;
//!   or anything else, as it stands. A quote that is not its first character
//!   is part of it; a backslash is refused, because systemd would take it away.
//!   Nothing may follow a closing quote, and no value goes on in the next line.
//! - Nothing is expanded: `$HOME` is five characters. VALUE may be empty.
//! - A carriage return or a NUL anywhere is an error. Other bytes need not be
//!   UTF-8. The last line may lack its newline.
//!
//! The same KEY may stand twice; both are returned in their order, and the
//! last is the one to use. Reading bounds the file, not this.

use super::pieces::cut;
use alloc::vec::Vec;
use core::fmt;

/// A key and its value, neither with a NUL in it.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What is wrong with a file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has no `=`.
    NoEquals,
    /// What is before `=` is no KEY.
    Key,
    /// A quote that is never closed.
    Unterminated,
    /// Something behind the closing quote.
    AfterQuote,
    /// A backslash outside of quotes.
    Backslash,
    /// A carriage return: the file has the line ends of another system.
    CarriageReturn,
    /// A NUL, which no environment can hold.
    Nul,
}

impl Why {
    /// One clause that says what is wrong.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoEquals => "there is no =",
            Self::Key => "the name is not of letters, digits and _ alone",
            Self::Unterminated => "the quote is not closed on its line",
            Self::AfterQuote => "something follows the closing quote",
            Self::Backslash => "a backslash needs single quotes around the value",
            Self::CarriageReturn => "there is a carriage return (line ends must be \\n alone)",
            Self::Nul => "there is a NUL",
        }
    }
}

/// Reads as `line 3: there is no =`.
impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.why.words())
    }
}

/// Reads a whole file.
///
/// # Errors
///
/// The first line that is wrong, and what is wrong with it.
pub fn parse(file: &[u8]) -> Result<Vec<Pair>, Wrong> {
    let mut pairs = Vec::new();
    for (before, line) in file.split(|&byte| byte == b'\n').enumerate() {
        parse_line(line, &mut pairs).map_err(|why| Wrong { line: before + 1, why })?;
    }
    Ok(pairs)
}

/// Reads one line and adds its pair, unless it is blank or a comment.
fn parse_line(line: &[u8], pairs: &mut Vec<Pair>) -> Result<(), Why> {
    if line.contains(&b'\r') {
        return Err(Why::CarriageReturn);
    }
    if line.contains(&0) {
        return Err(Why::Nul);
    }
    let line = trim(line);
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(());
    }
    let (key, value) = cut(line, b'=').ok_or(Why::NoEquals)?;
    if !is_key(key) {
        return Err(Why::Key);
    }
    pairs.push((key.to_vec(), parse_value(trim(value))?));
    Ok(())
}

/// Takes spaces and tabs away at both ends.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Whether `key` may name a variable.
fn is_key(key: &[u8]) -> bool {
    key.first().is_some_and(|first| !first.is_ascii_digit())
        && key.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Reads a value without the space around it.
fn parse_value(text: &[u8]) -> Result<Vec<u8>, Why> {
    match text {
        [b'\'', rest @ ..] => parse_single_quoted(rest),
        [b'"', rest @ ..] => parse_double_quoted(rest),
        _ if text.contains(&b'\\') => Err(Why::Backslash),
        _ => Ok(text.to_vec()),
    }
}

/// Reads what follows an opening single quote.
fn parse_single_quoted(text: &[u8]) -> Result<Vec<u8>, Why> {
    match cut(text, b'\'') {
        None => Err(Why::Unterminated),
        Some((value, [])) => Ok(value.to_vec()),
        Some(_) => Err(Why::AfterQuote),
    }
}

/// Reads what follows an opening double quote.
fn parse_double_quoted(text: &[u8]) -> Result<Vec<u8>, Why> {
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        let (byte, after) = match rest {
            [] => return Err(Why::Unterminated),
            [b'"'] => return Ok(value),
            [b'"', ..] => return Err(Why::AfterQuote),
            [b'\\', escaped @ (b'"' | b'\\' | b'$' | b'`'), after @ ..] => (*escaped, after),
            [byte, after @ ..] => (*byte, after),
        };
        value.push(byte);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::{Why, Wrong, parse};
    use alloc::string::ToString;
    use alloc::vec::Vec;

    /// The one value in a file of one line.
    fn value(line: &[u8]) -> Result<Vec<u8>, Why> {
        let mut pairs = parse(line).map_err(|wrong| wrong.why)?;
        assert_eq!(pairs.len(), 1, "{line:?}");
        Ok(pairs.remove(0).1)
    }

    #[test]
    fn every_line_is_a_pair_in_its_order() {
        let pairs = parse(b"A=1\n_b2=x=y z\nA=\n  C\t=3").map_err(|wrong| wrong.line);
        assert_eq!(pairs, Err(4));
        let pairs = parse(b"A=1\n_b2=x=y z\nA=\n  C= 3 \n").expect("it is right");
        let expected: [(&[u8], &[u8]); 4] =
            [(b"A", b"1"), (b"_b2", b"x=y z"), (b"A", b""), (b"C", b"3")];
        assert!(pairs.iter().map(|(key, value)| (&key[..], &value[..])).eq(expected));
    }

    #[test]
    fn blank_lines_and_comments_are_skipped() {
        assert_eq!(parse(b""), Ok(Vec::new()));
        assert_eq!(parse(b"\n \t\n# A=1\n  #\n"), Ok(Vec::new()));
        assert_eq!(value(b"A=1 # one"), Ok(b"1 # one".to_vec()));
    }

    #[test]
    fn quotes_around_a_value_are_taken_away() {
        assert_eq!(value(b"A='x \"y\" \\n $Z'"), Ok(b"x \"y\" \\n $Z".to_vec()));
        assert_eq!(value(b"A=\" x 'y' \""), Ok(b" x 'y' ".to_vec()));
        assert_eq!(value(b"A=\"\\\"\\\\\\$\\`\\n\""), Ok(b"\"\\$`\\n".to_vec()));
        assert_eq!(value(b"A=''"), Ok(Vec::new()));
        assert_eq!(value(b"A=\"x\"  "), Ok(b"x".to_vec()));
    }

    #[test]
    fn a_quote_within_a_value_is_part_of_it() {
        assert_eq!(value(b"A=it's"), Ok(b"it's".to_vec()));
        assert_eq!(value(b"A=a\"b\""), Ok(b"a\"b\"".to_vec()));
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        assert_eq!(value(b"A=\xff\x01"), Ok(b"\xff\x01".to_vec()));
    }

    #[test]
    fn every_wrong_line_is_refused_for_its_reason() {
        for (line, why) in [
            (&b"A"[..], Why::NoEquals),
            (b"=1", Why::Key),
            (b"1A=1", Why::Key),
            (b"export A=1", Why::Key),
            (b"A =1", Why::Key),
            (b"A-B=1", Why::Key),
            (b"\xc3\xa9=1", Why::Key),
            (b"\xef\xbb\xbfA=1", Why::Key),
            (b"A='x", Why::Unterminated),
            (b"A=\"x", Why::Unterminated),
            (b"A=\"x\\\"", Why::Unterminated),
            (b"A='", Why::Unterminated),
            (b"A='x'y", Why::AfterQuote),
            (b"A=\"x\"y", Why::AfterQuote),
            (b"A='x' # one", Why::AfterQuote),
            (b"A=C:\\x", Why::Backslash),
            (b"A=x\\", Why::Backslash),
            (b"A=1\r", Why::CarriageReturn),
            (b"# one\r", Why::CarriageReturn),
            (b"A='\r'", Why::CarriageReturn),
            (b"A=\0", Why::Nul),
        ] {
            assert_eq!(value(line), Err(why), "{line:?}");
        }
    }

    #[test]
    fn the_line_that_is_wrong_is_named() {
        let wrong = parse(b"A=1\n\n# x\nB\nC").expect_err("B has no value");
        assert_eq!(wrong, Wrong { line: 4, why: Why::NoEquals });
        assert_eq!(wrong.to_string(), "line 4: there is no =");
    }
}
