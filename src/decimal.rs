//! Whole numbers as people write them: decimal digits and nothing else.
//!
//! Stricter than the standard parser, which takes a sign: `+80` is no port.

/// The number that `text` spells with digits alone; `None` if it is empty,
/// holds anything else, or is larger than `most`.
///
/// Leading zeros change nothing, and never mean octal.
pub fn parse(text: &[u8], most: u32) -> Option<u32> {
    parse_long(text, most.into()).map(|number| number as u32)
}

/// The same for numbers that may be larger.
pub fn parse_long(text: &[u8], most: u64) -> Option<u64> {
    let mut number: Option<u64> = None;
    for &byte in text {
        let digit = if byte.is_ascii_digit() { byte - b'0' } else { return None };
        number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(digit))?);
    }
    number.filter(|&number| number <= most)
}

/// The same for numbers that are small.
pub fn parse_short(text: &[u8], most: u16) -> Option<u16> {
    parse_long(text, most.into()).map(|number| number as u16)
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_long};

    #[test]
    fn digits_are_parsed_up_to_the_limit() {
        assert_eq!(parse(b"0", 9), Some(0));
        assert_eq!(parse(b"0080", 80), Some(80));
        assert_eq!(parse(b"81", 80), None);
        assert_eq!(parse(b"4294967295", u32::MAX), Some(u32::MAX));
    }

    #[test]
    fn overflow_is_refused() {
        assert_eq!(parse(b"4294967296", u32::MAX), None);
        assert_eq!(parse(b"42949672960", u32::MAX), None);
        assert_eq!(parse_long(b"18446744073709551615", u64::MAX), Some(u64::MAX));
        assert_eq!(parse_long(b"18446744073709551616", u64::MAX), None);
        assert_eq!(parse_long(b"184467440737095516150", u64::MAX), None);
    }

    #[test]
    fn signs_spaces_and_empty_text_are_refused() {
        for text in [&b""[..], b"+1", b"-1", b" 1", b"1 ", b"0x1", b"1.0", b"\xd9\xa1"] {
            assert_eq!(parse(text, u32::MAX), None, "{text:?}");
        }
    }
}
