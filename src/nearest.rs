//! Which of some names a word was meant to be, for the error that it is none of them.
//!
//! Pure: `panzerctl` has it too.

use crate::printable::Quoted;
use crate::text;
use alloc::string::String;

/// Longer words are near to nothing.
const LONGEST: usize = 24;
/// Of fewer letters a beginning says nothing.
const BEGINNING: usize = 3;

/// The error that `word`, in which `name` stands behind dashes or alone, is none of `names`,
/// which the help of `program` lists.
pub fn unknown(
    what: &str,
    (word, name): (&[u8], &[u8]),
    names: &mut dyn Iterator<Item = &'static str>,
    program: &str,
) -> String {
    let dashes = if name.len() < word.len() { "--" } else { "" };
    let word = Quoted(word);
    match nearest(name, names) {
        Some(name) => {
            text::compose(format_args!("unknown {what} {word}, did you mean {dashes}{name}?"))
        }
        None => text::compose(format_args!("unknown {what} {word}; {program} --help lists them")),
    }
}

/// The first of the nearest `names`, if one is near: at most a third of the letters are others,
/// missing or too many, or else one of both is how the other begins.
fn nearest(word: &[u8], names: &mut dyn Iterator<Item = &'static str>) -> Option<&'static str> {
    let most = (word.len() / 3).max(1);
    let near = |name: &'static str| match distance(word, name.as_bytes()) {
        far if far <= most => Some((far, name)),
        _ => begins(word, name.as_bytes()).then_some((most + 1, name)),
    };
    names.filter_map(near).min_by_key(|(far, _)| *far).map(|(_, name)| name)
}

/// Whether one is how the other begins.
fn begins(word: &[u8], name: &[u8]) -> bool {
    let (short, long) = if word.len() < name.len() { (word, name) } else { (name, word) };
    short.len() >= BEGINNING && long.starts_with(short)
}

/// How many letters have to be changed, added or left out (Levenshtein's distance).
fn distance(word: &[u8], name: &[u8]) -> usize {
    let mut room: [usize; LONGEST] = core::array::from_fn(|place| place + 1);
    let Some(row) = room.get_mut(..word.len()) else { return usize::MAX };
    for (place, letter) in name.iter().enumerate() {
        let (mut corner, mut left) = (place, place + 1);
        for (above, other) in row.iter_mut().zip(word) {
            left = (corner + usize::from(letter != other)).min(left + 1).min(*above + 1);
            corner = core::mem::replace(above, left);
        }
    }
    row.last().map_or(name.len(), |far| *far)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    fn of(word: &str) -> Option<&'static str> {
        let mut names =
            ["bind", "timeout", "ready", "ready-timeout", "delay", "max-delay"].into_iter();
        nearest(word.as_bytes(), &mut names)
    }

    #[test]
    fn distance_counts_changed_added_and_missing_letters() {
        for (word, name, far) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "", 2),
            ("ab", "ab", 0),
            ("xb", "ab", 1),
            ("ab", "axb", 1),
            ("axb", "ab", 1),
            ("ba", "ab", 2),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(distance(word.as_bytes(), name.as_bytes()), far, "{word} {name}");
        }
    }

    #[test]
    fn mistyped_name_has_its_nearest() {
        for (word, name) in [
            ("tmeout", "timeout"),
            ("timeuot", "timeout"),
            ("Bind", "bind"),
            ("bnd", "bind"),
            ("ready_timeout", "ready-timeout"),
            ("maxdelay", "max-delay"),
            ("delayed", "delay"),
            ("read", "ready"),
            ("max", "max-delay"),
        ] {
            assert_eq!(of(word), Some(name), "{word}");
        }
    }

    #[test]
    fn word_that_is_like_no_name_has_none() {
        for word in
            ["", "b", "workers", "tmout-x", "re", "time-to-live", "a-word-that-is-long-enough"]
        {
            assert_eq!(of(word), None, "{word}");
        }
    }

    #[test]
    fn exact_name_is_nearer_than_a_beginning() {
        assert_eq!(nearest(b"ready", &mut ["ready-timeout", "ready"].into_iter()), Some("ready"));
    }

    #[test]
    fn name_that_is_near_comes_before_one_that_is_begun() {
        let mut names = ["ready-timeout", "reads"].into_iter();
        assert_eq!(nearest(b"ready", &mut names), Some("reads"));
    }
}
