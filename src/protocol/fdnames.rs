//! Names of descriptors, as `LISTEN_FDNAMES` and `FDNAME=` carry them.
//!
//! systemd takes at most 255 characters of ASCII without control characters
//! and without `:`, which separates names (sd_listen_fds_with_names(3),
//! sd_pid_notify_with_fds(3)); a name may be empty. Whatever else a name has
//! is escaped as `\xHH`, and so is the backslash itself.
//!
//! A name has three forms: what the operator wrote, what is escaped, and what a service
//! manager keeps. systemd takes backslashes out of a notification, so the escape of that third
//! form is `%HH`. Only [`escape`], [`unescape`], [`to_kept`] and [`from_kept`] turn one into another;
//! [`join`] and [`split`] know the escaped form alone.

use crate::types::Pid;
use crate::{decimal, printable, text};
use alloc::string::String;
use alloc::vec::Vec;
use core::iter;

/// The most bytes that an escaped name has.
pub const LONGEST: usize = 255;
/// The first descriptor that is handed down.
const FIRST: u32 = 3;
/// More than are ever handed down.
const MOST: u32 = 1_024;

/// The escaped form of `name`; `None` if that has more than 255 bytes.
pub fn escape(name: &[u8]) -> Option<String> {
    let mut escaped = String::new();
    printable::push_escaped(&mut escaped, name, |byte| is_allowed(byte) && byte != b'\\');
    (escaped.len() <= LONGEST).then_some(escaped)
}

/// The name of an escaped form.
///
/// A backslash that begins no `\xHH` stands for itself: systemd allows it in a name,
/// and such a name was chosen without knowing of our escapes.
pub fn unescape(escaped: &[u8]) -> Vec<u8> {
    decode(escaped, b"\\x")
}

/// The form in which a service manager keeps an escaped name.
pub fn to_kept(escaped: &str) -> String {
    let mut kept = String::new();
    for byte in unescape(escaped.as_bytes()) {
        if is_allowed(byte) && !matches!(byte, b'%' | b'\\') {
            kept.push(byte.into());
        } else {
            text::add(&mut kept, format_args!("%{byte:02x}"));
        }
    }
    kept
}

/// The escaped form of a name that a service manager has kept; `None` if that has more
/// than 255 bytes.
pub fn from_kept(kept: &[u8]) -> Option<String> {
    escape(&decode(kept, b"%"))
}

/// The bytes of a name in which `start` and two digits are a byte.
fn decode(escaped: &[u8], start: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    let mut rest = escaped;
    while let Some((&first, after)) = rest.split_first() {
        if let Some([high, low, after_escape @ ..]) = rest.strip_prefix(start)
            && let (Some(high), Some(low)) = (printable::nibble(*high), printable::nibble(*low))
        {
            name.push(high << 4 | low);
            rest = after_escape;
        } else {
            name.push(first);
            rest = after;
        }
    }
    name
}

/// Whether systemd would carry `name` as it is.
pub fn is_valid(name: &[u8]) -> bool {
    name.len() <= LONGEST && name.iter().all(|&byte| is_allowed(byte))
}

/// Whether an escaped name may contain `byte`.
const fn is_allowed(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b':'
}

/// The value of `LISTEN_FDNAMES` for these escaped names, in their order.
pub fn join<'a>(escaped: impl Iterator<Item = &'a str>) -> String {
    let mut value = String::new();
    for (index, name) in escaped.enumerate() {
        value.push_str(if index == 0 { "" } else { ":" });
        value.push_str(name);
    }
    value
}

/// The escaped names in a value of `LISTEN_FDNAMES`, in their order.
///
/// An empty value is one empty name, because a name may be empty: how many
/// there are is for `LISTEN_FDS` to say.
pub fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b':')
}

/// The descriptors that are handed to the process `own`, with their escaped names, by the
/// values of `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES`: sd_listen_fds(3).
pub fn handed_down<'n>(
    count: &[u8],
    pid: &[u8],
    names: &'n [u8],
    own: Pid,
) -> impl Iterator<Item = (u32, &'n [u8])> {
    let is_ours = decimal::parse(pid, u32::MAX) == Some(own.raw().unsigned_abs());
    let count = decimal::parse(count, MOST).filter(|_| is_ours).unwrap_or(0);
    (FIRST..FIRST + count).zip(split(names).chain(iter::repeat(&b""[..])))
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Pid, escape, from_kept, is_valid, join, split, to_kept, unescape};
    use alloc::vec::Vec;

    #[test]
    fn plain_name_is_not_escaped() {
        assert_eq!(escape(b"web-1 (tls)").as_deref(), Some("web-1 (tls)"));
        assert_eq!(escape(b"").as_deref(), Some(""));
    }

    #[test]
    fn bytes_that_systemd_forbids_are_escaped() {
        assert_eq!(escape(b"[::1]:80\n").as_deref(), Some(r"[\x3a\x3a1]\x3a80\x0a"));
        assert_eq!(escape("é\\\x7f".as_bytes()).as_deref(), Some(r"\xc3\xa9\x5c\x7f"));
    }

    #[test]
    fn every_byte_survives_escape_and_unescape() {
        for byte in 0..=u8::MAX {
            let escaped = escape(&[b'x', byte, b'4', b'1']).expect("it is short");
            assert!(is_valid(escaped.as_bytes()), "{escaped}");
            assert_eq!(unescape(escaped.as_bytes()), [b'x', byte, b'4', b'1']);
        }
    }

    #[test]
    fn kept_name_has_no_backslash_and_is_the_same_when_it_comes_back() {
        assert_eq!(to_kept(r"[\x3a\x3a1]\x3a80"), "[%3a%3a1]%3a80");
        for byte in 0..=u8::MAX {
            let escaped = escape(&[b'x', byte, b'4', b'1']).expect("it is short");
            let kept = to_kept(&escaped);
            assert!(is_valid(kept.as_bytes()) && !kept.contains('\\'), "{kept}");
            assert_eq!(from_kept(kept.as_bytes()), Some(escaped));
        }
    }

    #[test]
    fn escaped_escape_is_text() {
        let escaped = escape(br"\x41").expect("it is short");
        assert_eq!(unescape(escaped.as_bytes()), br"\x41");
    }

    #[test]
    fn escaped_name_is_limited_to_255_bytes() {
        assert_eq!(escape(&[b'a'; LONGEST]).map(|name| name.len()), Some(LONGEST));
        assert_eq!(escape(&[b'a'; LONGEST + 1]), None);
        assert_eq!(escape(&[b':'; 64]), None);
        assert!(!is_valid(&[b'a'; LONGEST + 1]));
    }

    #[test]
    fn backslash_of_another_program_is_text() {
        for escaped in [&br"a\b"[..], br"\", br"\x", br"\x4", br"\xg1", br"\X41"] {
            assert_eq!(unescape(escaped), escaped);
        }
        assert_eq!(unescape(br"\x4A\x4a"), b"JJ");
    }

    #[test]
    fn joined_names_split_again() {
        let value = join(["web", "", "admin"].into_iter());
        assert_eq!(value, "web::admin");
        let names: Vec<_> = split(value.as_bytes()).collect();
        assert_eq!(names, [&b"web"[..], b"", b"admin"]);
    }

    #[test]
    fn descriptors_of_another_process_are_not_handed_down() {
        let handed_down = |count: &str, pid: &str, names: &str| -> Vec<(u32, Vec<u8>)> {
            let (count, pid) = (count.as_bytes(), pid.as_bytes());
            let own = Pid::new(7).expect("it is positive");
            let all = super::handed_down(count, pid, names.as_bytes(), own);
            all.map(|(fd, name)| (fd, name.to_vec())).collect()
        };
        let both = [(3, b"web".to_vec()), (4, Vec::new())];
        assert_eq!(handed_down("2", "7", "web"), both);
        assert_eq!(handed_down("2", "7", "web::x"), both);
        assert_eq!(handed_down("1024", "7", "").len(), 1_024);
        for (count, pid) in
            [("2", "8"), ("2", ""), ("", "7"), ("0", "7"), ("-1", "7"), ("1025", "7"), ("2", "+7")]
        {
            assert_eq!(handed_down(count, pid, "web"), [], "{count} {pid}");
        }
    }

    #[test]
    fn empty_value_is_one_empty_name() {
        assert_eq!(split(b"").collect::<Vec<_>>(), [b""]);
    }
}
