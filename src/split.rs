//! Taking a text apart.

/// What stands before and behind the first `at`; `None` if there is none.
///
/// The standard library's `split_once` for bytes is not stable yet, and its
/// `splitn` is a hundred bytes of program for every closure it is given.
pub fn cut(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|&byte| byte == at)?;
    Some((text.get(..place)?, text.get(place + 1..)?))
}

/// Takes away what stands before the first `at`, and that too; everything if
/// there is none.
pub fn take<'a>(text: &mut &'a [u8], at: u8) -> &'a [u8] {
    let (piece, rest) = cut(text, at).unwrap_or((text, b""));
    *text = rest;
    piece
}

#[cfg(test)]
mod tests {
    use super::{cut, take};

    #[test]
    fn split_is_at_the_first_separator() {
        assert_eq!(cut(b"a=b=c", b'='), Some((&b"a"[..], &b"b=c"[..])));
        assert_eq!(cut(b"=", b'='), Some((&b""[..], &b""[..])));
        assert_eq!(cut(b"abc", b'='), None);
    }

    #[test]
    fn pieces_are_taken_until_the_text_is_empty() {
        let mut text = &b"a  b"[..];
        assert_eq!([(); 5].map(|()| take(&mut text, b' ')), [&b"a"[..], b"", b"b", b"", b""]);
    }
}
