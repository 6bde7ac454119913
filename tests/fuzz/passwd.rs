//! `USER[:GROUP]` in the first line, and then passwd and group, a NUL between them.

use super::assert_shown;
use crate::config::passwd::find;
use crate::split::take;
use alloc::string::ToString as _;
use alloc::vec::Vec;

/// The name, the number and the fourth field of each line that has the first two.
fn lines(file: &[u8]) -> Vec<(&[u8], u32, &[u8])> {
    let mut all = Vec::new();
    for line in file.split(|&byte| byte == b'\n') {
        let fields: Vec<_> = line.split(|&byte| byte == b':').collect();
        let field = |place: usize| fields.get(place).copied().unwrap_or_default();
        if let (name @ [_, ..], Some(number)) = (field(0), number(field(2))) {
            all.push((name, number, field(3)));
        }
    }
    all
}

/// A number of a user or a group; the largest one is none.
fn number(word: &[u8]) -> Option<u32> {
    let digits = word.iter().all(u8::is_ascii_digit) && word.len() < 10_000;
    let text = core::str::from_utf8(word).ok().filter(|_| digits)?;
    text.parse().ok().filter(|&number| number != u32::MAX)
}

pub fn read(bytes: &[u8]) {
    let mut rest = bytes;
    let word = take(&mut rest, b'\n');
    let passwd = take(&mut rest, 0);
    let group = rest;
    let account = match find(word, passwd, group) {
        Ok(account) => account,
        Err(reason) => return assert_shown(&reason.to_string()),
    };
    let mut wanted = word;
    let user = take(&mut wanted, b':');
    let users = lines(passwd);
    let by_name = users.iter().find(|(name, ..)| *name == user);
    let known = by_name.or_else(|| users.iter().find(|(_, id, _)| Some(*id) == number(user)));
    assert_eq!(Some(account.user), known.map(|(_, id, _)| *id).or_else(|| number(user)));
    if !word.contains(&b':') {
        let (.., own) = known.expect("a number alone has no group");
        assert_eq!(Some(account.group), number(own));
    } else {
        let groups = lines(group);
        let named = groups.iter().find(|(name, ..)| *name == wanted);
        assert_eq!(Some(account.group), named.map(|(_, id, _)| *id).or_else(|| number(wanted)));
    }
    let mut groups = Vec::new();
    if let Some((name, ..)) = known {
        groups.push(account.group);
        for (_, id, members) in lines(group) {
            let is_member = members.split(|&byte| byte == b',').any(|member| member == *name);
            if is_member && !groups.contains(&id) {
                groups.push(id);
            }
        }
    }
    assert_eq!(account.groups, groups);
}
