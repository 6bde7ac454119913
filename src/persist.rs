//! A value as bytes and back, by one description for both.
//!
//! Main that replaces itself writes what it knows, and its successor reads it.
//! A type says once which fields it has, in which order; so what is written and
//! what is read cannot differ. Whatever the bytes are, reading ends, takes no
//! more memory than a few times their length, and never panics: where
//! [`Codec::is_whole`] says no, the bytes were wrong, and what was read is not used.
//!
//! Pure: knows no layer of this crate.

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;

/// What is done with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// They are made of the values.
    Write,
    /// The values are made of them, and descriptors are taken over.
    Read,
    /// The same, but descriptors are numbers of another process: whatever is
    /// read must never be dropped.
    Try,
    /// The bytes are made of the values, and descriptors of these are given up without
    /// being closed: a test may drop then what it has tried to read.
    #[cfg(any(test, feature = "internals"))]
    Disown,
}

/// Bytes that are written or read.
#[derive(Debug)]
pub struct Codec {
    way: Direction,
    bytes: Vec<u8>,
    /// How many were read.
    at: usize,
    is_broken: bool,
    /// The numbers of the descriptors that were written.
    kept: Vec<i32>,
}

/// What can be written and read.
pub trait Persist {
    /// A value to be read over.
    fn empty_value() -> Self;
    /// Writes the value, or reads over it.
    fn persist(&mut self, codec: &mut Codec);
}

impl Codec {
    /// An empty one to be written.
    pub const fn empty_value() -> Self {
        Self { way: Direction::Write, bytes: Vec::new(), at: 0, is_broken: false, kept: Vec::new() }
    }

    /// One to be read.
    pub fn of(bytes: Vec<u8>, way: Direction) -> Self {
        Self { way, bytes, ..Self::empty_value() }
    }

    /// What is done with it.
    pub const fn way(&self) -> Direction {
        self.way
    }

    /// Whether it is made of the values.
    pub const fn is_written(&self) -> bool {
        !matches!(self.way, Direction::Read | Direction::Try)
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

    /// A number by which two processes can compare their bytes: FNV-1a.
    pub fn digest(&self) -> u64 {
        self.bytes.iter().fold(0xCBF2_9CE4_8422_2325, |digest, &byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        })
    }

    /// Writes a number and gives it back, or reads one, which is at most `most`.
    pub fn number(&mut self, number: u64, most: u64) -> u64 {
        if self.is_written() {
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
    fn text(&mut self, text: &mut Vec<u8>) {
        let length = self.length(text.len());
        if self.is_written() {
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
        impl Persist for $type {
            fn empty_value() -> Self {
                0
            }

            fn persist(&mut self, codec: &mut Codec) {
                *self = codec.number(u64::from(*self), u64::from(<$type>::MAX)) as $type;
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64);

impl Persist for bool {
    fn empty_value() -> Self {
        false
    }

    fn persist(&mut self, codec: &mut Codec) {
        *self = codec.number(u64::from(*self), 1) != 0;
    }
}

impl Persist for String {
    fn empty_value() -> Self {
        Self::new()
    }

    fn persist(&mut self, codec: &mut Codec) {
        let mut bytes = core::mem::take(self).into_bytes();
        codec.text(&mut bytes);
        // As what is shown is read: the other way would be here alone.
        for chunk in bytes.utf8_chunks() {
            self.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                return codec.fail();
            }
        }
    }
}

impl Persist for CString {
    fn empty_value() -> Self {
        Self::default()
    }

    fn persist(&mut self, codec: &mut Codec) {
        let mut bytes = core::mem::take(self).into_bytes();
        codec.text(&mut bytes);
        match Self::new(bytes) {
            Ok(text) => *self = text,
            Err(_) => codec.fail(),
        }
    }
}

impl<T: Persist> Persist for Option<T> {
    fn empty_value() -> Self {
        None
    }

    fn persist(&mut self, codec: &mut Codec) {
        let mut is_some = self.is_some();
        is_some.persist(codec);
        if is_some {
            self.get_or_insert_with(T::empty_value).persist(codec);
        }
    }
}

impl<T: Persist> Persist for Vec<T> {
    fn empty_value() -> Self {
        Self::new()
    }

    fn persist(&mut self, codec: &mut Codec) {
        let length = codec.length(self.len());
        for place in 0..length {
            if codec.is_broken {
                return;
            }
            if place >= self.len() {
                self.push(T::empty_value());
            }
            self[place].persist(codec);
        }
        self.truncate(length);
    }
}

impl<T: Persist, const N: usize> Persist for [T; N] {
    fn empty_value() -> Self {
        core::array::from_fn(|_| T::empty_value())
    }

    fn persist(&mut self, codec: &mut Codec) {
        self.iter_mut().for_each(|item| item.persist(codec));
    }
}

impl<A: Persist, B: Persist> Persist for (A, B) {
    fn empty_value() -> Self {
        (A::empty_value(), B::empty_value())
    }

    fn persist(&mut self, codec: &mut Codec) {
        self.0.persist(codec);
        self.1.persist(codec);
    }
}

/// Says which parts a type has: `persisted! { struct Name { field, other } }`,
/// `persisted! { struct Name(0) }`, `persisted! { enum Name { 0 = One, 1 = Two(part) } }`.
/// An enumeration is written as the number of its value; the first is the blank.
/// `persisted! { in self, tape; { field } without { other } }` writes or reads a value
/// that has no blank, and names all of its fields, so that none is forgotten.
/// `persisted! { each codec; one, other.part }` writes or reads values that are there.
macro_rules! persisted {
    (each $codec:expr; $($value:expr),* $(,)?) => {
        $($value.persist($codec);)*
    };
    (in $this:expr, $codec:expr; { $($field:ident),* $(,)? } without { $($other:ident),* $(,)? }) => {
        let Self { $($field,)* $($other: _),* } = $this;
        $($field.persist($codec);)*
    };
    (struct $name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::persist::Persist for $name {
            fn empty_value() -> Self {
                Self { $($field: $crate::persist::Persist::empty_value()),* }
            }

            fn persist(&mut self, codec: &mut $crate::persist::Codec) {
                $(self.$field.persist(codec);)*
            }
        }
    };
    (struct $name:ident($($place:tt),*)) => {
        impl $crate::persist::Persist for $name {
            fn empty_value() -> Self {
                Self { $($place: $crate::persist::Persist::empty_value()),* }
            }

            fn persist(&mut self, codec: &mut $crate::persist::Codec) {
                $(self.$place.persist(codec);)*
            }
        }
    };
    (enum $name:ident {
        $($number:literal = $value:ident $(($($part:ident),*))? $({$($field:ident),*})?),* $(,)?
    }) => {
        impl $crate::persist::Persist for $name {
            fn empty_value() -> Self {
                Self::numbered(0).expect("the first value has the number 0")
            }

            fn persist(&mut self, codec: &mut $crate::persist::Codec) {
                let number = match self {
                    $(Self::$value { .. } => $number,)*
                };
                let read = codec.number(number, u64::MAX);
                if read != number {
                    match Self::numbered(read) {
                        Some(value) => *self = value,
                        None => return codec.fail(),
                    }
                }
                match self {
                    $(Self::$value $(($($part),*))? $({$($field),*})? => {
                        $($($part.persist(codec);)*)?
                        $($($field.persist(codec);)*)?
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
                            let $part = $crate::persist::Persist::empty_value();
                            $part
                        }),*))?
                        $({$($field: $crate::persist::Persist::empty_value()),*})?,)*
                    _ => return None,
                })
            }
        }
    };
}

pub(crate) use persisted;

#[cfg(test)]
pub(crate) mod tests {
    use super::{Codec, Direction, Persist};
    use alloc::borrow::ToOwned as _;
    use alloc::ffi::CString;
    use alloc::string::String;
    use alloc::vec::Vec;
    use core::fmt::Debug;

    /// The bytes that are written.
    pub fn written<T: Persist>(value: &mut T) -> Vec<u8> {
        let mut codec = Codec::empty_value();
        value.persist(&mut codec);
        codec.bytes().to_owned()
    }

    /// The value that is read, if the bytes are valid.
    pub fn read<T: Persist>(bytes: &[u8]) -> Option<T> {
        let mut codec = Codec::of(bytes.to_owned(), Direction::Read);
        let mut value = T::empty_value();
        value.persist(&mut codec);
        codec.is_whole().then_some(value)
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

    persisted! { enum Kind { 0 = Plain, 1 = Pair(one, other), 5 = Named { name, path } } }
    persisted! { struct All { number, kinds, array, both } }

    fn all() -> All {
        let named = Kind::Named { name: "größer".into(), path: c"/a\xff".into() };
        All {
            number: u64::MAX,
            kinds: alloc::vec![Kind::Pair(7, Some(1)), Kind::Plain, named, Kind::Pair(0, None)],
            array: [None, Some(u32::MAX)],
            both: (true, 9),
        }
    }

    fn comes_back<T: Persist + Clone + PartialEq + Debug>(value: &T) {
        let bytes = written(&mut value.clone());
        assert_eq!(read::<T>(&bytes).as_ref(), Some(value));
    }

    /// rule: restart.reply
    #[test]
    fn every_value_reads_back_the_same() {
        comes_back(&all());
        comes_back(&Kind::Plain);
        comes_back(&Vec::<Kind>::new());
        comes_back(&String::new());
    }

    #[test]
    fn written_descriptors_are_listed() {
        let mut codec = Codec::empty_value();
        codec.keep(3);
        codec.keep(7);
        assert_eq!(codec.kept(), [3, 7]);
    }

    #[test]
    fn digest_is_fnv_1a() {
        let digest = |bytes: &[u8]| Codec::of(bytes.to_owned(), Direction::Read).digest();
        assert_eq!(digest(b"a"), 0xAF63_DC4C_8601_EC8C);
        assert_eq!(digest(b"foobar"), 0x8594_4171_F739_67E8);
    }

    /// rule: restart.corrupt-state
    #[test]
    fn truncated_or_longer_data_is_refused() {
        let bytes = written(&mut all());
        for length in 0..bytes.len() {
            assert_eq!(read::<All>(&bytes[..length]), None, "cut at {length}");
        }
        assert_eq!(read::<All>(&[bytes, [0].to_vec()].concat()), None);
    }

    /// rule: restart.corrupt-state
    #[test]
    fn changed_bit_is_another_value_or_refused() {
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
    fn length_beyond_the_end_allocates_nothing() {
        let bytes = [u64::MAX.to_le_bytes(), 1_u64.to_le_bytes()].concat();
        assert_eq!(read::<Vec<u64>>(&bytes), None);
        assert_eq!(read::<String>(&bytes), None);
        let many = [3_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat();
        assert_eq!(read::<Vec<u64>>(&many), None);
    }

    #[test]
    fn overflow_and_unknown_variant_are_refused() {
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
