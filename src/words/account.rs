//! Who `USER[:GROUP]` is: passwd(5), group(5).
//!
//! The two files alone are asked. What else getpwnam(3) may know comes from
//! libraries that it loads (nsswitch.conf(5)), of which a static program has none.

use super::decimal;
use super::pieces::{cut, piece};
use super::printable::Quoted;
use crate::error::{Error, Result};
use crate::types::Account;
use alloc::vec::Vec;

/// What is no number of a user or group, to the kernel too.
const NONE: u32 = u32::MAX;

/// The account that `word` names: a name, or a number, of a user, and perhaps
/// of a group. What is a name there is no number.
///
/// The groups are those that initgroups(3) gives; a number that `passwd` does
/// not know has none.
///
/// # Errors
///
/// One clause that shows the word and says what there is not.
pub fn find(word: &[u8], passwd: &[u8], group: &[u8]) -> Result<Account> {
    let (user, wanted) = cut(word, b':').map_or((word, None), |(user, group)| (user, Some(group)));
    let user = line_of(passwd, user);
    let own = wanted.map_or_else(|| id(user.rest), |wanted| line_of(group, wanted).number);
    let why = match (user.number, own) {
        (NONE, _) => "there is no such user",
        (_, NONE) => "its group is not known",
        (number, own) => {
            return Ok(Account { user: number, group: own, groups: groups(&user, own, group) });
        }
    };
    Err(Error::plain(format_args!("user {}: {why}", Quoted(word))))
}

fn groups(user: &Line<'_>, own: u32, group: &[u8]) -> Vec<u32> {
    let mut groups = Vec::new();
    if !user.name.is_empty() {
        groups.push(own);
        for mut line in Lines(group) {
            while !line.rest.is_empty() {
                if piece(&mut line.rest, b',') == user.name {
                    groups.push(line.number);
                }
            }
        }
    }
    groups
}

fn id(word: &[u8]) -> u32 {
    decimal::parse(word, NONE).unwrap_or(NONE)
}

/// A line of either file.
struct Line<'f> {
    name: &'f [u8],
    number: u32,
    /// The group of a user, or the members of a group.
    rest: &'f [u8],
}

/// The lines that have a name and a number, whatever else stands there.
struct Lines<'f>(&'f [u8]);

impl<'f> Iterator for Lines<'f> {
    type Item = Line<'f>;

    #[inline(never)]
    fn next(&mut self) -> Option<Line<'f>> {
        while !self.0.is_empty() {
            let mut line = piece(&mut self.0, b'\n');
            let [name, _, number, rest] = [(); 4].map(|()| piece(&mut line, b':'));
            let number = id(number);
            if number != NONE && !name.is_empty() {
                return Some(Line { name, number, rest });
            }
        }
        None
    }
}

/// The first line of this name, else of this number, else the number alone.
#[inline(never)]
fn line_of<'f>(file: &'f [u8], word: &[u8]) -> Line<'f> {
    let mut found = Line { name: b"", number: id(word), rest: b"" };
    for line in Lines(file) {
        if line.name == word {
            return line;
        }
        if found.name.is_empty() && line.number == found.number {
            found = line;
        }
    }
    found
}
