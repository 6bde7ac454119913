//! What main is to do: its command line over its configuration file, at the
//! start and again at every reload.

use super::Main;
use super::operator::LastReload;
use crate::error::{Error, Result};
use crate::keep::log::log;
use crate::sys::{Errno, file};
use crate::text;
use crate::types::Level;
use crate::words::cli::{self, Request};
use crate::words::config;
use crate::words::event::{Event as Tidings, Kind};
use crate::words::options::{Number, Options, Path};
use crate::words::printable;
use crate::words::status::Outcome;
use alloc::borrow::ToOwned as _;
use core::ffi::CStr;

/// The file that is read when none is named, if it is there.
const USUAL: &CStr = c"config/panzer.yml";
/// The largest file that is read.
const MOST: usize = 1 << 16;

/// What the words of the command line ask for, with what the file adds.
///
/// # Errors
///
/// One line: what is wrong, and where.
#[inline(never)]
pub(super) fn read(args: &[&CStr], options: &mut Options) -> Result<Request> {
    let mut request = cli::parse(args, options)?;
    if !matches!(request, Request::Run | Request::Check) {
        return Ok(request);
    }
    let named = options.path(Path::Config).map(CStr::to_owned);
    if read_file(named.as_deref(), options)? {
        request = cli::parse(args, options)?;
    }
    if options.command.is_empty() {
        return Err(Error::plain(format_args!("there is no COMMAND to run; see --help")));
    }
    Ok(request)
}

/// Has the options be what the file says; says whether there is one, which
/// there is not when none is named and the usual one is not there.
fn read_file(named: Option<&CStr>, options: &mut Options) -> Result<bool> {
    let path = named.unwrap_or(USUAL);
    let shown = printable::lossy(path.to_bytes());
    let text = match file::read(path, MOST) {
        Ok(text) => text,
        Err(Errno(libc::ENOENT | libc::ENOTDIR)) if named.is_none() => return Ok(false),
        Err(errno) => return Err(Error::system(format_args!("cannot read '{shown}'"), errno)),
    };
    *options = Options::default();
    let applied = config::apply(&text, options);
    applied.map_err(|why| Error::plain(format_args!("{shown}:{why}")))?;
    Ok(true)
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
        self.read_again().inspect_err(|why| {
            log(Level::Error, format_args!("nothing is reloaded: {why}"));
            let why = text::compose(format_args!("{why}"));
            self.event(&Tidings { why: Some(&why), ..Tidings::new(Kind::Failed) });
            let (generation, outcome) = (None, Outcome::Failed);
            self.operator.reload =
                Some(LastReload { generation, outcome, at: self.now, why: Some(why) });
        })
    }

    fn read_again(&mut self) -> Result<()> {
        let mut options = Options::default();
        read(self.words, &mut options)?;
        let fixed = [
            ("event-fd", options.number(Number::EventFd) == self.options.number(Number::EventFd)),
            ("pid", options.path(Path::Pid) == self.options.path(Path::Pid)),
        ];
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
