//! Lengths of time as an operator writes them: seconds, with a fraction or not.
//!
//! `60`, `0.1`, `.5` and `1.` are lengths: a digit on one side of the point is enough.
//! A sign, an exponent, a unit or a space is not part of one. More than three digits
//! after the point are rounded up to a millisecond, because 0 switches many things off,
//! and `0.0001` does not mean that.
//!
//! What [`Seconds`] prints, [`parse`] reads back as the same length.

use crate::decimal;
use crate::split::take;
use crate::types::Millis;
use core::fmt;

/// The longest length that is taken: a thousand million seconds, 31 years.
const LONGEST: Millis = Millis::from_secs(1_000_000_000);

/// The length that `text` spells; `None` if it spells none, or one of more
/// than a thousand million seconds.
pub fn parse(text: &[u8]) -> Option<Millis> {
    let mut fraction = text;
    let whole = take(&mut fraction, b'.');
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let secs = if whole.is_empty() { 0 } else { decimal::parse_long(whole, LONGEST.0 / 1_000)? };
    let (mut ms, mut worth, mut is_rounded_up) = (0, 100, false);
    for byte in fraction {
        let digit = decimal::parse_long(&[*byte], 9)?;
        ms += digit * worth;
        is_rounded_up |= worth == 0 && digit > 0;
        worth /= 10;
    }
    let total = Millis(secs * 1_000 + ms + u64::from(is_rounded_up));
    Some(total).filter(|&length| length <= LONGEST)
}

/// Prints a length as the shortest text that [`parse`] reads back: `60`, `0.1`.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub Millis);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Millis(ms)) = *self;
        let (secs, mut rest) = (ms / 1_000, ms % 1_000);
        let mut digits = 3;
        while digits > 0 && rest % 10 == 0 {
            (rest, digits) = (rest / 10, digits - 1);
        }
        match digits {
            0 => write!(out, "{secs}"),
            1.. => write!(out, "{secs}.{rest:0digits$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Seconds, parse};
    use crate::types::Millis;
    use alloc::string::ToString;

    #[test]
    fn whole_and_decimal_seconds_are_parsed() {
        for (text, ms) in [
            (&b"0"[..], 0),
            (b"60", 60_000),
            (b"0.1", 100),
            (b".5", 500),
            (b"1.", 1_000),
            (b"007.25", 7_250),
            (b"0.001", 1),
            (b"0.0000", 0),
            (b"1.999", 1_999),
        ] {
            assert_eq!(parse(text), Some(Millis(ms)), "{text:?}");
        }
    }

    #[test]
    fn positive_seconds_never_become_0() {
        assert_eq!(parse(b"0.0001"), Some(Millis(1)));
        assert_eq!(parse(b"0.00000000000000000000000000000001"), Some(Millis(1)));
        assert_eq!(parse(b"0.9991"), Some(Millis(1_000)));
    }

    #[test]
    fn malformed_seconds_are_refused() {
        for text in [
            &b""[..],
            b".",
            b"-1",
            b"+1",
            b"1e3",
            b"1s",
            b" 1",
            b"1 ",
            b"1.2.3",
            b"1..2",
            b"1,5",
            b"inf",
            b"nan",
            b"0x10",
            b"1_000",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn more_than_1000000000_seconds_are_refused() {
        assert_eq!(parse(b"1000000000"), Some(LONGEST));
        assert_eq!(parse(b"1000000000.0001"), None);
        assert_eq!(parse(b"18446744073709551616"), None);
        assert_eq!(parse(b"18446744073709551620"), None);
        assert_eq!(parse(b"18446744073709551615.999"), None);
    }

    #[test]
    fn printed_seconds_read_back_the_same() {
        for ms in (0..3_000).chain([60_000, LONGEST.0 - 1, LONGEST.0]) {
            let text = Seconds(Millis(ms)).to_string();
            assert_eq!(parse(text.as_bytes()), Some(Millis(ms)), "{text}");
        }
    }

    #[test]
    fn seconds_are_printed_in_the_shortest_form() {
        let shown = [100, 60_000, 50, 1, 1_250].map(|ms| Seconds(Millis(ms)).to_string());
        assert_eq!(shown, ["0.1", "60", "0.05", "0.001", "1.25"]);
    }
}
