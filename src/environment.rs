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
