//! A message as a text of its own: what alloc's `format!` makes.
//!
//! That one counts first how much there will be, which is a kilobyte and a
//! half of program for some dozens of short texts.
//!
//! Pure: knows no layer of this crate.

use alloc::string::String;
use core::fmt;

struct Text<'a>(&'a mut String);

/// Takes everything.
impl fmt::Write for Text<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.0.push_str(piece);
        Ok(())
    }
}

/// Adds a message to a text. Should a value within it refuse to show itself,
/// what is added is what came before it.
pub fn add(text: &mut String, message: fmt::Arguments<'_>) {
    let _ = fmt::write(&mut Text(text), message);
}

/// Composes a text of its own.
pub fn compose(message: fmt::Arguments<'_>) -> String {
    let mut text = String::new();
    add(&mut text, message);
    text
}

/// A number of things: `1 worker`, `2 workers`.
#[derive(Clone, Copy, Debug)]
pub struct Plural<'a>(pub u64, pub &'a str);

impl fmt::Display for Plural<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

/// The line of a text that has so many before it; nothing if there is none.
///
/// A list of words as one text: with a pointer and a length for each it would
/// be 16 bytes a word larger, and the standard library's way to take it apart a
/// quarter of a kilobyte.
pub fn line(text: &'static str, before: usize) -> &'static str {
    let mut start = 0;
    let mut left = before;
    for (place, byte) in text.bytes().enumerate() {
        if byte == b'\n' {
            if left == 0 {
                return text.get(start..place).unwrap_or_default();
            }
            (start, left) = (place + 1, left - 1);
        }
    }
    ""
}

/// An enumeration whose values have a word each.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $value:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$what])* $value,)*
        }

        #[allow(dead_code)]
        impl $name {
            /// All there are.
            pub(crate) const ALL: &[Self] = &[$(Self::$value),*];

            /// The word for it.
            pub(crate) fn name(self) -> &'static str {
                $crate::text::line(concat!($($word, "\n"),*), self as usize)
            }

            /// The one with this word.
            pub(crate) fn parse(word: &[u8]) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name().as_bytes() == word)
            }
        }

        impl $crate::persist::Persist for $name {
            fn empty_value() -> Self {
                Self::ALL[0]
            }

            fn persist(&mut self, codec: &mut $crate::persist::Codec) {
                let place = codec.number(*self as u64, Self::ALL.len() as u64 - 1);
                *self = Self::ALL[place as usize];
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::{Plural, compose};

    #[test]
    fn plural_of_one_is_singular() {
        let shown = |count| compose(format_args!("{}", Plural(count, "worker")));
        assert_eq!([shown(0), shown(1), shown(2)], ["0 workers", "1 worker", "2 workers"]);
    }
}
