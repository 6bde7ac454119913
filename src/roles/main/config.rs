//! What main is to do: its command line over its configuration file, at the
//! start and again at every reload.

use super::operator::LastReload;
use super::{Main, spawn};
use crate::error::{Error, Result};
use crate::keep::log::log;
use crate::sys::{Errno, file};
use crate::text;
use crate::types::Level;
use crate::words::cli::{self, Request};
use crate::words::event::{Event as Tidings, Kind};
use crate::words::options::{Number, Options, Path};
use crate::words::printable::{self, Quoted};
use crate::words::status::Outcome;
use crate::words::{account, config};
use alloc::borrow::ToOwned as _;
use alloc::vec::Vec;
use core::ffi::CStr;

/// The file that is read when none is named, if it is there.
const USUAL: &CStr = c"config/panzer.yml";
/// The largest file that is read.
const MOST: usize = 1 << 20;

/// What a command line, its first word included, asks for, with what the file
/// adds. Main was started in `start`. The options have the file that was read
/// before, if one was, and are given the one that is read now.
///
/// # Errors
///
/// One line: what is wrong, and where.
#[inline(never)]
pub(super) fn read(args: &[&CStr], start: &CStr, options: &mut Options) -> Result<Request> {
    let args = args.get(1..).unwrap_or_default();
    let mut request = cli::parse(args, options)?;
    if !matches!(request, Request::Run | Request::Check) {
        return Ok(request);
    }
    read_file(start, options)?;
    request = cli::parse(args, options)?;
    if let Some(user) = options.path(Path::User) {
        let passwd = text_of(start, c"/etc/passwd", true)?.unwrap_or_default();
        let group = text_of(start, c"/etc/group", true)?.unwrap_or_default();
        options.account = Some(account::find(user.to_bytes(), &passwd, &group)?);
    }
    if options.command.is_empty() {
        return Err(Error::plain(format_args!("there is no COMMAND to run; see --help")));
    }
    Ok(request)
}

/// Options to be read again: they have the file that was read before.
pub(super) fn again(before: &Options) -> Options {
    let mut options = Options::default();
    if let Some(file) = before.path(Path::Config) {
        options.set_path(Path::Config, file.to_owned());
    }
    options
}

/// Has the options be what the file says, and nothing where there is none. One
/// that was read before has to be there again.
fn read_file(start: &CStr, options: &mut Options) -> Result<()> {
    let named = options.path(Path::Config).map(CStr::to_owned);
    let path = named.as_deref().unwrap_or(USUAL).to_owned();
    let text = text_of(start, &path, named.is_none())?;
    *options = Options::default();
    let Some(text) = text else { return Ok(()) };
    let name = printable::lossy(path.to_bytes());
    config::apply(&text, options).map_err(|why| Error::plain(format_args!("{name}:{why}")))?;
    options.set_path(Path::Config, path);
    Ok(())
}

/// What stands in a file as seen from `start`; `None` where there is none, and
/// that `may_be`.
fn text_of(start: &CStr, path: &CStr, may_be: bool) -> Result<Option<Vec<u8>>> {
    match file::read(&spawn::from(start, Some(path)), MOST) {
        Err(Errno(libc::ENOENT | libc::ENOTDIR)) if may_be => Ok(None),
        read => read.map(Some).map_err(|errno| {
            Error::system(format_args!("cannot read {}", Quoted(path.to_bytes())), errno)
        }),
    }
}

impl Main {
    /// Reads the file again: what it says counts from the next generation on.
    /// A file that is bad changes nothing, and is told.
    ///
    /// # Errors
    ///
    /// Why nothing can be reloaded.
    #[inline(never)]
    pub(super) fn renew(&mut self) -> Result<()> {
        let read = self.read_again();
        self.operator.hold();
        read.inspect_err(|why| {
            log(Level::Error, format_args!("nothing is reloaded: {why}"));
            let why = text::compose(format_args!("{why}"));
            self.event(&Tidings { why: Some(&why), ..Tidings::new(Kind::Failed) });
            let (generation, outcome) = (None, Outcome::Failed);
            self.operator.reload =
                Some(LastReload { generation, outcome, at: self.now, why: Some(why) });
        })
    }

    pub(super) fn read_again(&mut self) -> Result<()> {
        let mut options = again(&self.options);
        read(self.words, &self.start, &mut options)?;
        let fixed = [
            ("event-fd", options.number(Number::EventFd) == self.options.number(Number::EventFd)),
            ("pid", options.path(Path::Pid) == self.options.path(Path::Pid)),
            ("exec", options.exec() == self.options.exec()),
        ];
        options.keep_exec(&self.options);
        let is_counted_anew = options.count() != self.options.count();
        self.keep_to(options)?;
        for (name, _) in fixed.iter().filter(|(_, is_same)| !is_same) {
            log(Level::Warn, format_args!("{name} stays as it is until main is started anew"));
        }
        if is_counted_anew {
            self.forget_scale();
        }
        Ok(())
    }
}
