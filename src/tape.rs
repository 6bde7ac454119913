//! A value as bytes and back, by one description for both.
//!
//! Main that replaces itself writes what it knows, and its successor reads it.
//! A type says once which fields it has, in which order; so what is written and
//! what is read cannot differ. Whatever the bytes are, reading ends, takes no
//! more memory than a few times their length, and never panics: a tape that is
//! wrong is [broken](Tape::is_whole), and what was read from it is worth nothing.
//!
//! Pure: knows no layer of this crate.

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;

/// What is done with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They are made of the values.
    Write,
    /// The values are made of them, and descriptors are taken over.
    Read,
    /// The same, but descriptors are numbers of another process: whatever is
    /// read must never be dropped.
    Try,
}

/// Bytes that are written or read.
#[derive(Debug)]
pub struct Tape {
    way: Way,
    bytes: Vec<u8>,
    /// How many were read.
    at: usize,
    is_broken: bool,
    /// The numbers of the descriptors that were written.
    kept: Vec<i32>,
}

/// What can be written and read.
pub trait Taped {
    /// A value to be read over.
    fn blank() -> Self;
    /// Writes the value, or reads over it.
    fn tape(&mut self, tape: &mut Tape);
}

impl Tape {
    /// An empty one to be written.
    pub const fn blank() -> Self {
        Self { way: Way::Write, bytes: Vec::new(), at: 0, is_broken: false, kept: Vec::new() }
    }

    /// One to be read.
    pub fn of(bytes: Vec<u8>, way: Way) -> Self {
        Self { way, bytes, ..Self::blank() }
    }

    /// What is done with it.
    pub const fn way(&self) -> Way {
        self.way
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Notes that a descriptor was written, which the reader is to find open.
    pub fn keep(&mut self, number: i32) {
        self.kept.push(number);
    }

    /// The descriptors that were written.
    pub fn kept(&self) -> &[i32] {
        &self.kept
    }

    /// What stands there makes no sense; what follows is not read.
    pub const fn fail(&mut self) {
        self.is_broken = true;
    }

    /// Whether everything was read, and made sense.
    pub fn is_whole(&self) -> bool {
        !self.is_broken && self.at == self.bytes.len()
    }

    /// A number that says whether somebody has the same bytes: FNV-1a.
    pub fn digest(&self) -> u64 {
        self.bytes.iter().fold(0xCBF2_9CE4_8422_2325, |digest, &byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        })
    }

    /// Writes a number and gives it back, or reads one, which is at most `most`.
    #[inline(never)]
    pub fn number(&mut self, number: u64, most: u64) -> u64 {
        if self.way == Way::Write {
            self.bytes.extend_from_slice(&number.to_le_bytes());
            return number;
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match rest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) {
            Some(number) if number <= most && !self.is_broken => {
                self.at += size_of::<u64>();
                number
            }
            Some(_) | None => {
                self.is_broken = true;
                0
            }
        }
    }

    /// Writes or reads a length, which is at most that of what follows.
    fn length(&mut self, length: usize) -> usize {
        let rest = self.bytes.len().saturating_sub(self.at);
        self.number(length as u64, rest as u64) as usize
    }

    /// Writes bytes, or reads them over those that are there.
    #[inline(never)]
    fn text(&mut self, text: &mut Vec<u8>) {
        let length = self.length(text.len());
        if self.way == Way::Write {
            return self.bytes.extend_from_slice(text);
        }
        // The length was too, so there may be fewer by now.
        match self.bytes.get(self.at..self.at + length) {
            Some(bytes) => {
                *text = bytes.into();
                self.at += length;
            }
            None => self.is_broken = true,
        }
    }
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Taped for $type {
            fn blank() -> Self {
                0
            }

            fn tape(&mut self, tape: &mut Tape) {
                *self = tape.number(u64::from(*self), u64::from(<$type>::MAX)) as $type;
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64);

impl Taped for bool {
    fn blank() -> Self {
        false
    }

    fn tape(&mut self, tape: &mut Tape) {
        *self = tape.number(u64::from(*self), 1) != 0;
    }
}

impl Taped for String {
    fn blank() -> Self {
        Self::new()
    }

    fn tape(&mut self, tape: &mut Tape) {
        let mut bytes = core::mem::take(self).into_bytes();
        tape.text(&mut bytes);
        // As what is shown is read: the other way would be here alone.
        for chunk in bytes.utf8_chunks() {
            self.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                return tape.fail();
            }
        }
    }
}

impl Taped for CString {
    fn blank() -> Self {
        Self::default()
    }

    fn tape(&mut self, tape: &mut Tape) {
        let mut bytes = core::mem::take(self).into_bytes();
        tape.text(&mut bytes);
        match Self::new(bytes) {
            Ok(text) => *self = text,
            Err(_) => tape.fail(),
        }
    }
}

impl<T: Taped> Taped for Option<T> {
    fn blank() -> Self {
        None
    }

    fn tape(&mut self, tape: &mut Tape) {
        let mut is_some = self.is_some();
        is_some.tape(tape);
        if is_some {
            self.get_or_insert_with(T::blank).tape(tape);
        }
    }
}

impl<T: Taped> Taped for Vec<T> {
    fn blank() -> Self {
        Self::new()
    }

    fn tape(&mut self, tape: &mut Tape) {
        let length = tape.length(self.len());
        for place in 0..length {
            if tape.is_broken {
                return;
            }
            if place >= self.len() {
                self.push(T::blank());
            }
            self[place].tape(tape);
        }
        self.truncate(length);
    }
}

impl<T: Taped, const N: usize> Taped for [T; N] {
    fn blank() -> Self {
        core::array::from_fn(|_| T::blank())
    }

    fn tape(&mut self, tape: &mut Tape) {
        self.iter_mut().for_each(|item| item.tape(tape));
    }
}

impl<A: Taped, B: Taped> Taped for (A, B) {
    fn blank() -> Self {
        (A::blank(), B::blank())
    }

    fn tape(&mut self, tape: &mut Tape) {
        self.0.tape(tape);
        self.1.tape(tape);
    }
}

/// Says which parts a type has: `taped! { struct Name { field, other } }`,
/// `taped! { struct Name(0) }`, `taped! { enum Name { 0 = One, 1 = Two(part) } }`.
/// An enumeration is written as the number of its value; the first is the blank.
/// `taped! { in self, tape; { field } without { other } }` writes or reads a value
/// that has no blank, and names all of its fields, so that none is forgotten.
macro_rules! taped {
    (in $this:expr, $tape:expr; { $($field:ident),* $(,)? } without { $($other:ident),* $(,)? }) => {
        let Self { $($field,)* $($other: _),* } = $this;
        $($field.tape($tape);)*
    };
    (struct $name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::tape::Taped for $name {
            fn blank() -> Self {
                Self { $($field: $crate::tape::Taped::blank()),* }
            }

            fn tape(&mut self, tape: &mut $crate::tape::Tape) {
                $(self.$field.tape(tape);)*
            }
        }
    };
    (struct $name:ident($($place:tt),*)) => {
        impl $crate::tape::Taped for $name {
            fn blank() -> Self {
                Self { $($place: $crate::tape::Taped::blank()),* }
            }

            fn tape(&mut self, tape: &mut $crate::tape::Tape) {
                $(self.$place.tape(tape);)*
            }
        }
    };
    (enum $name:ident {
        $($number:literal = $value:ident $(($($part:ident),*))? $({$($field:ident),*})?),* $(,)?
    }) => {
        impl $crate::tape::Taped for $name {
            fn blank() -> Self {
                Self::numbered(0).expect("the first value has the number 0")
            }

            fn tape(&mut self, tape: &mut $crate::tape::Tape) {
                let number = match self {
                    $(Self::$value { .. } => $number,)*
                };
                let read = tape.number(number, u64::MAX);
                if read != number {
                    match Self::numbered(read) {
                        Some(value) => *self = value,
                        None => return tape.fail(),
                    }
                }
                match self {
                    $(Self::$value $(($($part),*))? $({$($field),*})? => {
                        $($($part.tape(tape);)*)?
                        $($($field.tape(tape);)*)?
                    })*
                }
            }
        }

        impl $name {
            /// The value with this number, its parts blank.
            fn numbered(number: u64) -> Option<Self> {
                Some(match number {
                    $($number => Self::$value
                        $(($({
                            let $part = $crate::tape::Taped::blank();
                            $part
                        }),*))?
                        $({$($field: $crate::tape::Taped::blank()),*})?,)*
                    _ => return None,
                })
            }
        }
    };
}

pub(crate) use taped;

#[cfg(test)]
pub(crate) mod tests {
    use super::{Tape, Taped, Way};
    use alloc::borrow::ToOwned as _;
    use alloc::ffi::CString;
    use alloc::string::String;
    use alloc::vec::Vec;
    use core::fmt::Debug;

    /// What is written.
    pub fn written<T: Taped>(value: &mut T) -> Vec<u8> {
        let mut tape = Tape::blank();
        value.tape(&mut tape);
        tape.bytes().to_owned()
    }

    /// What is read, if it makes sense.
    pub fn read<T: Taped>(bytes: &[u8]) -> Option<T> {
        let mut tape = Tape::of(bytes.to_owned(), Way::Read);
        let mut value = T::blank();
        value.tape(&mut tape);
        tape.is_whole().then_some(value)
    }

    #[derive(Clone, Debug, PartialEq)]
    enum Kind {
        Plain,
        Pair(u16, Option<u8>),
        Named { name: String, path: CString },
    }

    #[derive(Clone, Debug, PartialEq)]
    struct All {
        number: u64,
        kinds: Vec<Kind>,
        array: [Option<u32>; 2],
        both: (bool, u16),
    }

    taped! { enum Kind { 0 = Plain, 1 = Pair(one, other), 5 = Named { name, path } } }
    taped! { struct All { number, kinds, array, both } }

    fn all() -> All {
        let named = Kind::Named { name: "größer".into(), path: c"/a\xff".into() };
        All {
            number: u64::MAX,
            kinds: alloc::vec![Kind::Pair(7, Some(1)), Kind::Plain, named, Kind::Pair(0, None)],
            array: [None, Some(u32::MAX)],
            both: (true, 9),
        }
    }

    fn comes_back<T: Taped + Clone + PartialEq + Debug>(value: &T) {
        let bytes = written(&mut value.clone());
        assert_eq!(read::<T>(&bytes).as_ref(), Some(value));
    }

    /// RATIONALE 13.9
    #[test]
    fn whatever_was_written_is_read_again() {
        comes_back(&all());
        comes_back(&Kind::Plain);
        comes_back(&Vec::<Kind>::new());
        comes_back(&String::new());
    }

    /// RATIONALE 13.15
    #[test]
    fn what_is_cut_short_or_goes_on_makes_no_sense() {
        let bytes = written(&mut all());
        for length in 0..bytes.len() {
            assert_eq!(read::<All>(&bytes[..length]), None, "cut at {length}");
        }
        assert_eq!(read::<All>(&[bytes, [0].to_vec()].concat()), None);
    }

    /// RATIONALE 13.15
    #[test]
    fn what_is_changed_is_another_value_or_makes_no_sense() {
        let bytes = written(&mut all());
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                let value = read::<All>(&changed);
                assert_ne!(value, Some(all()), "bit {bit} of byte {place}");
                if let Some(mut value) = value {
                    assert_eq!(written(&mut value), changed, "bit {bit} of byte {place}");
                }
            }
        }
    }

    #[test]
    fn a_length_beyond_the_end_takes_no_memory() {
        let bytes = [u64::MAX.to_le_bytes(), 1_u64.to_le_bytes()].concat();
        assert_eq!(read::<Vec<u64>>(&bytes), None);
        assert_eq!(read::<String>(&bytes), None);
        let many = [3_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat();
        assert_eq!(read::<Vec<u64>>(&many), None);
    }

    #[test]
    fn a_number_that_does_not_fit_and_a_value_that_is_not_known_make_no_sense() {
        let bytes = 256_u64.to_le_bytes();
        assert_eq!(read::<u8>(&bytes), None);
        assert_eq!(read::<u16>(&bytes), Some(256));
        assert_eq!(read::<bool>(&2_u64.to_le_bytes()), None);
        assert_eq!(read::<Kind>(&4_u64.to_le_bytes()), None);
        let nul = [1_u64.to_le_bytes().to_vec(), [0].to_vec()].concat();
        assert_eq!(read::<CString>(&nul), None);
        let no_text = [1_u64.to_le_bytes().to_vec(), [0xFF].to_vec()].concat();
        assert_eq!(read::<String>(&no_text), None);
    }
}
