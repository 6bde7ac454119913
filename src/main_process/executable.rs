//! Where main was started, and what relative paths are relative to.

use crate::config::option_table::{Options, PathOption};
use crate::environment::joined;
use crate::error::{Result, cannot};
use crate::protocol::address::Address;
use crate::sys::{env, file};
use crate::text;
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use core::ffi::CStr;

/// Where main was started: `$PWD` when it names that directory, so that links
/// on the way are kept.
pub(super) fn start_directory() -> Result<CString> {
    if let Some(pwd) = env::var(c"PWD")
        && pwd.to_bytes().starts_with(b"/")
        && file::same(&pwd, c".")
    {
        return Ok(pwd);
    }
    file::current_directory().map_err(cannot("find the working directory"))
}

/// `path` as seen from `start`.
pub(super) fn from(start: &CStr, path: Option<&CStr>) -> CString {
    let Some(path) = path else { return start.to_owned() };
    if path.to_bytes().starts_with(b"/") {
        return path.to_owned();
    }
    joined(&[start.to_bytes(), b"/", path.to_bytes()])
}

/// Has the options' relative paths be as seen from `start`.
pub(super) fn look_from(start: &CStr, options: &mut Options) {
    if let Some(file) = options.path(PathOption::EnvFile) {
        let file = from(start, Some(file));
        options.set_path(PathOption::EnvFile, file);
    }
    for bind in &mut options.bind {
        let carried = text::compose(format_args!("{}", bind.address));
        if let Address::Unix(path) = &mut bind.address {
            *path = from(start, Some(path));
            // The application knows it as it was written.
            bind.name.get_or_insert(carried);
        }
    }
}
