//! What main has for its operator: the pid file, the control socket, who waits
//! for an answer, and what he has asked for.

use super::waiters::Waiter;
use crate::error::{Error, Result};
use crate::keep::control::Control;
use crate::keep::log::log;
use crate::keep::pidfile::{self, PidFile, Taken};
use crate::sys::file;
use crate::types::{Generation, Level, Tick};
use crate::words::control::socket_beside;
use crate::words::options::Options;
use crate::words::printable::Quoted;
use crate::words::status::Outcome;
use alloc::ffi::CString;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::ffi::CStr;

/// Where the pid file is when nobody says where, if the directory is there.
const DEFAULT: &CStr = c"tmp/panzer.pid";

/// The exit status of a main that finds another one.
const RUNS_ALREADY: u8 = 3;

/// Why main cannot begin, and with which status it leaves.
pub(super) struct Refused {
    pub status: u8,
    pub why: String,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { status: 1, why: error.to_string() }
    }
}

/// The last reload that was asked for.
pub(super) struct LastReload {
    /// Its generation; `None` when it came to nothing before.
    pub generation: Option<Generation>,
    pub outcome: Outcome,
    /// When it was asked for, or when its outcome was known.
    pub at: Tick,
    pub why: Option<String>,
}

/// The operator's side of main. What stands first is dropped first: the socket
/// is taken away while the pid file is still locked.
#[derive(Default)]
pub(super) struct Operator {
    pub control: Option<Control>,
    pid_file: Option<PidFile>,
    pub waiters: Vec<Waiter>,
    pub reload: Option<LastReload>,
    /// How many workers there are to be, since somebody asked for a number.
    pub scaled: Option<u16>,
}

impl Operator {
    /// Takes the pid file and makes the control socket beside it. Without a pid
    /// file there is no socket; without either everything else works.
    pub fn begin(options: &Options) -> core::result::Result<Self, Refused> {
        let is_default = options.pid.is_none();
        // A directory, be it behind a link.
        if is_default && file::links(c"tmp/.") == 0 {
            log(Level::Info, format_args!("there is no pid file: there is no directory tmp/"));
            return Ok(Self::default());
        }
        let path = options.pid.as_deref().unwrap_or(DEFAULT);
        match pidfile::take(path) {
            Ok(Taken::Ours(file)) => {
                let control = open_control(path);
                Ok(Self { pid_file: Some(file), control, ..Self::default() })
            }
            Ok(Taken::Held(holder)) => {
                Err(Refused { status: RUNS_ALREADY, why: held(path, holder) })
            }
            // Nobody has asked for it.
            Err(error) if is_default => {
                log(Level::Warn, format_args!("{error}; there is no control socket either"));
                Ok(Self::default())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the socket and the pid file away: main is about to leave.
    pub fn leave(&mut self) {
        self.control = None;
        self.pid_file = None;
    }

    /// When somebody has to be looked after at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        self.control.as_ref().and_then(Control::deadline)
    }
}

fn held(path: &CStr, holder: Option<crate::types::Pid>) -> String {
    let path = Quoted(path.to_bytes());
    match holder {
        Some(pid) => alloc::format!("it runs already, as {pid}: {path} is locked"),
        None => alloc::format!("it runs already: {path} is locked"),
    }
}

fn open_control(pid_file: &CStr) -> Option<Control> {
    let path = CString::new(socket_beside(pid_file.to_bytes())).ok()?;
    let opened: Result<_> = Control::open(&path).map_err(|errno| {
        let path = Quoted(path.to_bytes());
        Error::system(format_args!("cannot make the control socket {path}"), errno)
    });
    opened.inspect_err(|error| log(Level::Warn, format_args!("{error}"))).ok()
}
