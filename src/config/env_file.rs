//! The file of `--env-file`: one `KEY=VALUE` a line.
//!
//! What is taken means the same to systemd's `EnvironmentFile=`; what that
//! would read in a way that surprises is refused with its line. In detail:
//!
//! - Spaces and tabs at both ends of a line do not count. A line that is then
//!   empty, or begins with `#`, is skipped. There is no comment after a value.
//!   A `#` behind a space or a tab in an unquoted value is refused: systemd takes
//!   it as part of the value, docker and shells as a comment.
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
//! The same KEY may stand twice; both are told in their order, and the
//! last is the one to use. Reading bounds the file, not this.

use crate::error::{Error, Result};
use crate::split::cut;
use alloc::vec::Vec;

/// Called with every KEY and its VALUE, neither with a NUL in it.
pub type VariableVisitor<'v> = dyn FnMut(&[u8], &[u8]) + 'v;

/// Reads a whole file.
///
/// # Errors
///
/// The first line that is wrong, and what is wrong with it: `line 3: there is
/// no =`. Of what stands before it `visitor` was told.
pub fn parse(file: &[u8], visitor: &mut VariableVisitor<'_>) -> Result<()> {
    for (number, line) in (1_u64..).zip(file.split(|&byte| byte == b'\n')) {
        take_line(line, visitor)
            .map_err(|reason| Error::plain(format_args!("line {number}: {reason}")))?;
    }
    Ok(())
}

/// Takes one line, unless it is blank or a comment.
fn take_line(
    line: &[u8],
    visitor: &mut VariableVisitor<'_>,
) -> core::result::Result<(), &'static str> {
    if line.contains(&b'\r') {
        return Err("carriage return; lines must end with \\n alone");
    }
    if line.contains(&0) {
        return Err("NUL byte");
    }
    let line = trim(line);
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(());
    }
    let (key, value) = cut(line, b'=').ok_or("'=' missing")?;
    let is_fit = |&byte: &u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if key.first().is_none_or(u8::is_ascii_digit) || !key.iter().all(is_fit) {
        return Err("the name must be letters, digits and _, and not begin with a digit");
    }
    if looks_commented(value) {
        return Err(
            "' #' in a value is ambiguous: quote the value, or move the comment to a line of \
             its own",
        );
    }
    visitor(key, &parse_value(trim(value))?);
    Ok(())
}

/// Whether an unquoted value has what some readers take for a comment. What
/// stands behind `=` is not trimmed yet.
fn looks_commented(text: &[u8]) -> bool {
    let is_quoted = matches!(trim(text), [b'\'' | b'"', ..]);
    !is_quoted && text.windows(2).any(|pair| matches!(pair, [b' ' | b'\t', b'#']))
}

/// Takes spaces and tabs away at both ends.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Reads a value without the space around it.
fn parse_value(text: &[u8]) -> core::result::Result<Vec<u8>, &'static str> {
    // No value has a NUL, which stands for no quote.
    let (quote, mut rest) = match text {
        [quote @ (b'\'' | b'"'), rest @ ..] => (*quote, rest),
        _ => (0, text),
    };
    let mut value = Vec::new();
    while let [byte, after @ ..] = rest {
        let (byte, after) = match after {
            [] if *byte == quote => return Ok(value),
            _ if *byte == quote => return Err("unexpected text after the closing quote"),
            _ if *byte == b'\\' && quote == 0 => {
                return Err("put a value with a backslash into single quotes");
            }
            [escaped @ (b'"' | b'\\' | b'$' | b'`'), after @ ..]
                if *byte == b'\\' && quote == b'"' =>
            {
                (*escaped, after)
            }
            _ => (*byte, after),
        };
        value.push(byte);
        rest = after;
    }
    if quote == 0 { Ok(value) } else { Err("closing quote missing on this line") }
}

#[cfg(test)]
mod tests {
    use super::Result;
    use alloc::string::{String, ToString as _};
    use alloc::vec::Vec;

    /// All pairs of a file.
    fn parse(file: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut pairs = Vec::new();
        super::parse(file, &mut |key, value| pairs.push((key.to_vec(), value.to_vec())))?;
        Ok(pairs)
    }

    /// The value in a file of one line.
    fn value(line: &[u8]) -> core::result::Result<Vec<u8>, String> {
        let mut pairs = parse(line).map_err(|wrong| wrong.to_string())?;
        assert_eq!(pairs.len(), 1, "{line:?}");
        Ok(pairs.remove(0).1)
    }

    #[test]
    fn lines_are_pairs_in_order() {
        let pairs = parse(b"A=1\n_b2=x=y z\nA=\n  C\t=3").map_err(|wrong| wrong.to_string());
        let reason = "line 4: the name must be letters, digits and _, and not begin with a digit";
        assert_eq!(pairs, Err(reason.into()));
        let pairs = parse(b"A=1\n_b2=x=y z\nA=\n  C= 3 \n").expect("it is right");
        let expected: [(&[u8], &[u8]); 4] =
            [(b"A", b"1"), (b"_b2", b"x=y z"), (b"A", b""), (b"C", b"3")];
        assert!(pairs.iter().map(|(key, value)| (&key[..], &value[..])).eq(expected));
    }

    #[test]
    fn blank_lines_and_comments_are_skipped() {
        assert_eq!(parse(b""), Ok(Vec::new()));
        assert_eq!(parse(b"\n \t\n# A=1\n  #\n"), Ok(Vec::new()));
    }

    #[test]
    fn unquoted_value_with_a_trailing_comment_is_refused() {
        let reason = "line 1: ' #' in a value is ambiguous: quote the value, or move the comment to a line of its own";
        for line in [&b"A=1 # one"[..], b"A= # one", b"A=1\t#", b"A=a b #c d", b"A=it's #1 'x'"] {
            assert_eq!(value(line), Err(reason.to_string()), "{line:?}");
        }
        for (line, read) in [
            (&b"A=#1"[..], &b"#1"[..]),
            (b"A=a#b", b"a#b"),
            (b"A='1 # one'", b"1 # one"),
            (b"A= \"1 # one\"", b"1 # one"),
        ] {
            assert_eq!(value(line), Ok(read.to_vec()), "{line:?}");
        }
    }

    #[test]
    fn quotes_around_a_value_are_removed() {
        assert_eq!(value(b"A='x \"y\" \\n $Z'"), Ok(b"x \"y\" \\n $Z".to_vec()));
        assert_eq!(value(b"A=\" x 'y' \""), Ok(b" x 'y' ".to_vec()));
        assert_eq!(value(b"A=\"\\\"\\\\\\$\\`\\n\""), Ok(b"\"\\$`\\n".to_vec()));
        assert_eq!(value(b"A=''"), Ok(Vec::new()));
        assert_eq!(value(b"A=\"x\"  "), Ok(b"x".to_vec()));
    }

    #[test]
    fn quote_inside_a_value_is_kept() {
        assert_eq!(value(b"A=it's"), Ok(b"it's".to_vec()));
        assert_eq!(value(b"A=a\"b\""), Ok(b"a\"b\"".to_vec()));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept() {
        assert_eq!(value(b"A=\xff\x01"), Ok(b"\xff\x01".to_vec()));
    }

    #[test]
    fn malformed_lines_are_refused_with_a_reason() {
        for (line, reason) in [
            (&b"A"[..], "'=' missing"),
            (b"=1", "the name must be letters, digits and _, and not begin with a digit"),
            (b"1A=1", "the name must be letters, digits and _, and not begin with a digit"),
            (b"export A=1", "the name must be letters, digits and _, and not begin with a digit"),
            (b"A =1", "the name must be letters, digits and _, and not begin with a digit"),
            (b"A-B=1", "the name must be letters, digits and _, and not begin with a digit"),
            (b"\xc3\xa9=1", "the name must be letters, digits and _, and not begin with a digit"),
            (
                b"\xef\xbb\xbfA=1",
                "the name must be letters, digits and _, and not begin with a digit",
            ),
            (b"A='x", "closing quote missing on this line"),
            (b"A=\"x", "closing quote missing on this line"),
            (b"A=\"x\\\"", "closing quote missing on this line"),
            (b"A='", "closing quote missing on this line"),
            (b"A='x'y", "unexpected text after the closing quote"),
            (b"A=\"x\"y", "unexpected text after the closing quote"),
            (b"A='x' # one", "unexpected text after the closing quote"),
            (b"A=C:\\x", "put a value with a backslash into single quotes"),
            (b"A=x\\", "put a value with a backslash into single quotes"),
            (b"A=1\r", "carriage return; lines must end with \\n alone"),
            (b"# one\r", "carriage return; lines must end with \\n alone"),
            (b"A='\r'", "carriage return; lines must end with \\n alone"),
            (b"A=\0", "NUL byte"),
        ] {
            assert_eq!(value(line), Err("line 1: ".to_string() + reason), "{line:?}");
        }
    }

    #[test]
    fn error_has_the_line_number() {
        let wrong = parse(b"A=1\n\n# x\nB\nC").expect_err("B has no value");
        assert_eq!(wrong.to_string(), "line 4: '=' missing");
    }
}
