//! The children of this process: /proc/thread-self/children, proc_pid_children(5).

use super::{Errno, SysResult, file};
use crate::types::Pid;
use alloc::vec::Vec;

/// The longest list that is read: that of two million children.
const MOST: usize = 1 << 24;

/// Every child of the calling thread, dead ones that are not reaped too. In a
/// process of one thread these are all children, orphans that came to it included.
///
/// Reap nothing while this runs: the kernel finds its place in the list by the
/// child that was told last, and passes over others when that one is gone.
///
/// # Errors
///
/// Those of [`file::read`]: `ENOENT` without `/proc`, or in a kernel without that
/// file; `EIO` when what stands there is no list of pids.
pub fn list() -> SysResult<Vec<Pid>> {
    parse(&file::read(c"/proc/thread-self/children", MOST)?).ok_or(Errno(libc::EIO))
}

/// Numbers with a blank behind each.
fn parse(list: &[u8]) -> Option<Vec<Pid>> {
    let numbers = list.split(u8::is_ascii_whitespace).filter(|number| !number.is_empty());
    numbers.map(|number| Pid::new(str::from_utf8(number).ok()?.parse().ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::{list, parse};
    use crate::types::Pid;
    use alloc::vec::Vec;
    use std::process::Command;

    fn numbers(list: &[u8]) -> Option<Vec<i32>> {
        parse(list).map(|pids| pids.into_iter().map(Pid::raw).collect())
    }

    #[test]
    fn malformed_list_of_children_is_refused() {
        assert_eq!(numbers(b""), Some(Vec::new()));
        assert_eq!(numbers(b"12 7 4194304 "), Some(Vec::from([12, 7, 4_194_304])));
        assert_eq!(numbers(b"12 x "), None);
        assert_eq!(numbers(b"12 0 "), None);
        assert_eq!(numbers(b"99999999999 "), None);
    }

    #[test]
    fn child_is_listed_until_it_is_reaped() {
        let mut child = Command::new("true").spawn().expect("true is there");
        let pid = Pid::new(child.id().cast_signed()).expect("positive");
        assert!(list().expect("/proc is there").contains(&pid));
        child.wait().expect("it is our child");
        assert!(!list().expect("/proc is there").contains(&pid));
    }
}
