//! The account that `USER[:GROUP]` names: passwd(5), group(5).
//!
//! The two files alone are asked. What else getpwnam(3) may know comes from
//! libraries that it loads (nsswitch.conf(5)), of which a static program has none.

use crate::decimal;
use crate::error::{Error, Result};
use crate::printable::Quoted;
use crate::split::{cut, take};
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
    let reason = match (user.number, own, wanted) {
        (NONE, _, _) => "no such user",
        (_, NONE, Some(_)) => "no such group",
        (_, NONE, None) => "/etc/passwd has no group of this user: add one, as in USER:GROUP",
        (number, own, _) => {
            return Ok(Account { user: number, group: own, groups: groups(&user, own, group) });
        }
    };
    Err(Error::plain(format_args!("user {}: {reason}", Quoted(word))))
}

fn groups(user: &PasswdLine<'_>, own: u32, group: &[u8]) -> Vec<u32> {
    let mut groups = Vec::new();
    if !user.name.is_empty() {
        groups.push(own);
        for mut line in Lines(group) {
            while !line.rest.is_empty() {
                let is_it = take(&mut line.rest, b',') == user.name;
                if is_it && !groups.contains(&line.number) {
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
struct PasswdLine<'f> {
    name: &'f [u8],
    number: u32,
    /// The group of a user, or the members of a group.
    rest: &'f [u8],
}

/// The lines that have a name and a number, whatever else stands there.
struct Lines<'f>(&'f [u8]);

impl<'f> Iterator for Lines<'f> {
    type Item = PasswdLine<'f>;

    fn next(&mut self) -> Option<PasswdLine<'f>> {
        while !self.0.is_empty() {
            let mut line = take(&mut self.0, b'\n');
            let [name, _, number, rest] = [(); 4].map(|()| take(&mut line, b':'));
            let number = id(number);
            if number != NONE && !name.is_empty() {
                return Some(PasswdLine { name, number, rest });
            }
        }
        None
    }
}

/// The first line of this name, else of this number, else the number alone.
fn line_of<'f>(file: &'f [u8], word: &[u8]) -> PasswdLine<'f> {
    let mut found = PasswdLine { name: b"", number: id(word), rest: b"" };
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

#[cfg(test)]
mod tests {
    use super::find;
    use alloc::string::{String, ToString as _};
    use alloc::vec::Vec;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\n# www:x:1:1\nwww:x:33:34::/:\n\
                          33:x:35:36::/:\nhalf:x:37\nodd:x:-1:1::/:\nall:x:4294967295:1::/:\n\
                          www:x:38:39::/:\n+::::::\n:x:40:40:::";
    const GROUP: &str = "www:x:34:\nlogs:x:41:root,www\nwwwx:x:42:wwwx,xwww\nlate:x:43:www,\n\
                         logs:x:44:33\nagain:x:41:www\nown:x:34:www\nempty:x:45:,,";

    fn found(word: &str) -> Result<(u32, u32, Vec<u32>), String> {
        let account = find(word.as_bytes(), PASSWD.as_bytes(), GROUP.as_bytes());
        let account = account.map_err(|reason| reason.to_string())?;
        Ok((account.user, account.group, account.groups))
    }

    #[test]
    fn user_name_is_its_first_line_with_all_groups_that_list_it() {
        assert_eq!(found("www"), Ok((33, 34, [34, 41, 43].into())));
        assert_eq!(found("root"), Ok((0, 0, [0, 41].into())));
        assert_eq!(found("www:logs"), Ok((33, 41, [41, 43, 34].into())));
        assert_eq!(found("www:7"), Ok((33, 7, [7, 41, 43, 34].into())));
    }

    #[test]
    fn number_is_tried_as_a_name_then_as_a_uid_then_as_itself() {
        assert_eq!(found("33"), Ok((35, 36, [36, 44].into())));
        assert_eq!(found("0"), found("root"));
        assert_eq!(found("38"), Ok((38, 39, [39, 41, 43, 34].into())));
        assert_eq!(found("99:logs"), Ok((99, 41, [].into())));
        assert_eq!(found("4294967294:4294967294"), Ok((u32::MAX - 1, u32::MAX - 1, [].into())));
    }

    #[test]
    fn unknown_user_or_group_is_refused() {
        let no_user = ["", "Www", "ww", "odd", "all", "-1", "4294967295", "+", ":0", " 0"];
        for word in no_user {
            let reason = alloc::format!("user '{word}': no such user");
            assert_eq!(found(word), Err(reason));
        }
        for word in ["99", "40", "half", "www:", "www:x", "www:4294967295", "www:logs:x"] {
            let what = match word.contains(':') {
                true => "no such group",
                false => "/etc/passwd has no group of this user: add one, as in USER:GROUP",
            };
            let reason = alloc::format!("user '{word}': {what}");
            assert_eq!(found(word), Err(reason));
        }
    }

    #[test]
    fn numeric_user_works_without_passwd_and_group() {
        let account = find(b"1:2", b"", b"").expect("both are numbers");
        assert_eq!((account.user, account.group, account.groups.len()), (1, 2, 0));
        assert!(find(b"root", b"", b"").is_err());
    }
}
