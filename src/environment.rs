//! Edits of an environment before it is handed to a program: environ(7).

use crate::text;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::fmt::Display;

/// Adds a variable whose value is of our own making.
pub fn add(entries: &mut Vec<CString>, name: &str, value: &dyn Display) {
    entries.push(joined(&[text::compose(format_args!("{name}={value}")).as_bytes()]));
}

/// Takes out every variable that begins in one of these ways.
pub fn remove(entries: &mut Vec<CString>, starts: &[&[u8]]) {
    entries.retain(|entry| !starts.iter().any(|start| entry.to_bytes().starts_with(start)));
}

/// Parts of which none holds a NUL, one after the other.
pub fn joined(parts: &[&[u8]]) -> CString {
    CString::new(parts.concat()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{add, joined, remove};
    use alloc::vec::Vec;

    #[test]
    fn variables_are_added_and_removed_by_their_beginning() {
        let mut entries: Vec<_> = [c"HOME=/", c"PANZER_COUNT=1"].map(Into::into).into();
        add(&mut entries, "LISTEN_FDS", &2);
        assert_eq!(entries, [c"HOME=/", c"PANZER_COUNT=1", c"LISTEN_FDS=2"]);
        remove(&mut entries, &[b"PANZER_", b"PWD="]);
        assert_eq!(entries, [c"HOME=/", c"LISTEN_FDS=2"]);
    }

    #[test]
    fn parts_are_joined() {
        assert_eq!(&*joined(&[b"PWD=", b"/srv"]), c"PWD=/srv");
    }
}
