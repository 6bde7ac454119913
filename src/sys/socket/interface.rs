//! Names of network interfaces: if_nametoindex(3), netdevice(7).

use crate::sys::{Errno, SysResult};
use alloc::ffi::CString;
use core::ffi::{CStr, c_char};

/// The index of the interface called `name`.
///
/// # Errors
///
/// `ENODEV` when there is none of that name.
pub fn index_of(name: &CStr) -> SysResult<u32> {
    // SAFETY: `name` is a C string; if_nametoindex touches no other memory.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(Errno(libc::ENODEV)),
        index => Ok(index),
    }
}

/// The name of the interface with this index; `None` when there is none.
pub fn name_of(index: u32) -> Option<CString> {
    let mut name: [c_char; libc::IF_NAMESIZE] = [0; libc::IF_NAMESIZE];
    // SAFETY: `name` is writable for the IF_NAMESIZE bytes that may be stored.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if found.is_null() {
        return None;
    }
    let bytes = name.iter().map(|byte| byte.to_ne_bytes()[0]).take_while(|&byte| byte != 0);
    CString::new(bytes.collect::<alloc::vec::Vec<_>>()).ok()
}
