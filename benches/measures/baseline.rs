//! The programs of `benches/baseline`, compiled when they are first needed.

use std::ffi::OsString;
use std::io::{self, Error};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of the baseline `name`.
///
/// # Errors
///
/// If there is no C compiler, or it has complained.
pub fn program(name: &str) -> io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/baseline");
    let own = std::env::current_exe()?;
    let path = own.with_file_name(format!("baseline-{name}"));
    let compiler = std::env::var_os("CC").unwrap_or_else(|| OsString::from("cc"));
    let mut command = Command::new(&compiler);
    command.args(["-O2", "-static", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-o"]);
    let status = command.arg(&path).arg(folder.join(format!("{name}.c"))).status();
    match status {
        Ok(status) if status.success() => Ok(path),
        Ok(status) => Err(Error::other(format!("{name}.c: the C compiler left with {status}"))),
        Err(error) => Err(Error::other(format!("no C compiler ({error}), so no baseline {name}"))),
    }
}
