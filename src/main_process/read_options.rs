//! What main is to do: its command line over its configuration file, at the
//! start and again at every reload.

use crate::config::command_line::{self, Invocation};
use crate::config::option_table::{Number, Options, PathOption};
use crate::config::{config_file, passwd};
use crate::error::{Error, Result};
use crate::main_process::executable;
use crate::printable::{self, Quoted};
use crate::sys::{Errno, file};
use crate::text;
use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

/// The file that is read when none is named, if it is there.
pub(super) const USUAL: &CStr = c"config/panzer.yml";
/// The largest file that is read.
const MOST: usize = 1 << 20;

/// What a command line, its first word included, asks for, with what the file
/// adds. Main was started in `start`. The options have the file that was read
/// before, if one was, and are given the one that is read now. What is to be said
/// as a warning comes to `notes`.
///
/// Waits for the files, which may take for ever: only a start does it here.
///
/// # Errors
///
/// One line: what is wrong, and where.
pub(super) fn read(
    args: &[&CStr],
    start: &CStr,
    options: &mut Options,
    notes: &mut Vec<String>,
) -> Result<Invocation> {
    let args = args.get(1..).unwrap_or_default();
    let mut request = command_line::parse(args, options)?;
    if !matches!(request, Invocation::Run | Invocation::Check) {
        return Ok(request);
    }
    read_file(start, options, notes)?;
    request = command_line::parse(args, options)?;
    if let Some(user) = options.path(PathOption::User) {
        let passwd = text_of(start, c"/etc/passwd", Some(notes))?.unwrap_or_default();
        let group = text_of(start, c"/etc/group", Some(notes))?.unwrap_or_default();
        options.account = Some(passwd::find(user.to_bytes(), &passwd, &group)?);
    }
    if options.exec() && options.effective(Number::HangTimeout) > 0 {
        notes.push(String::from(
            "--hang-timeout does nothing with --exec: whether a program is busy is not known",
        ));
    }
    if options.command.is_empty() {
        return Err(Error::plain(format_args!(
            "no COMMAND given; usage: panzer [OPTIONS] [--] COMMAND [ARGS...], or command: in the \
             configuration file; see --help"
        )));
    }
    Ok(request)
}

/// Options to be read again: they have the file that was read before.
pub(super) fn again(before: &Options) -> Options {
    let mut options = Options::default();
    if let Some(file) = before.path(PathOption::Config) {
        options.set_path(PathOption::Config, file.to_owned());
    }
    options
}

/// Has the options be what the file says, and nothing where there is none. One
/// that was read before has to be there again.
fn read_file(start: &CStr, options: &mut Options, notes: &mut Vec<String>) -> Result<()> {
    let named = options.path(PathOption::Config).map(CStr::to_owned);
    let path = named.as_deref().unwrap_or(USUAL).to_owned();
    let text = text_of(start, &path, named.is_none().then_some(notes))
        .map_err(|error| error.advise("--config names it, or main has read it before"))?;
    *options = Options::default();
    let Some(text) = text else { return Ok(()) };
    let name = printable::lossy(path.to_bytes());
    config_file::apply(&text, options)
        .map_err(|reason| Error::plain(format_args!("{name}:{reason}")))?;
    options.set_path(PathOption::Config, path);
    Ok(())
}

/// What stands in a file as seen from `start`; `None` where there is none, and
/// that may be: then there are `notes` for it.
fn text_of(start: &CStr, path: &CStr, notes: Option<&mut Vec<String>>) -> Result<Option<Vec<u8>>> {
    let name = Quoted(path.to_bytes());
    match (file::read(&executable::from(start, Some(path)), MOST), notes) {
        (Ok(text), _) => Ok(Some(text)),
        (Err(Errno(libc::ENOENT | libc::ENOTDIR)), Some(_)) => Ok(None),
        (Err(errno @ Errno(libc::EACCES | libc::EPERM)), Some(notes)) => {
            let note = format_args!("cannot read {name}: {errno}; continuing without it");
            notes.push(text::compose(note));
            Ok(None)
        }
        (Err(errno), _) => Err(Error::system(format_args!("cannot read {name}"), errno)),
    }
}
