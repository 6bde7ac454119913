//! What main has for its operator: the pid file, the control socket, who waits
//! for an answer, and what he has asked for.

use crate::error::{Error, Result};
use crate::keep::control::Control;
use crate::keep::log::log;
use crate::keep::pidfile::{self, PidFile, Taken};
use crate::sys::file;
use crate::tape::taped;
use crate::types::{Generation, Level, Tick};
use crate::words::control::socket_beside;
use crate::words::printable::Quoted;
use crate::words::status::Outcome;
use alloc::ffi::CString;
use alloc::string::String;
use core::ffi::CStr;

/// The exit status of a main that finds another one.
const RUNS_ALREADY: u8 = 3;

/// The last reload that was asked for.
pub(super) struct LastReload {
    /// Its generation; `None` when it came to nothing before.
    pub generation: Option<Generation>,
    pub outcome: Outcome,
    /// When it was asked for, or when its outcome was known.
    pub at: Tick,
    pub why: Option<String>,
}

/// The operator's side of main.
#[derive(Default)]
pub(super) struct Operator {
    pub control: Option<Control>,
    pid_file: Option<PidFile>,
    pub reload: Option<LastReload>,
    /// How many workers there are to be, since somebody asked for a number.
    pub scaled: Option<u16>,
}

taped! { struct LastReload { generation, outcome, at, why } }
taped! { struct Operator { control, pid_file, reload, scaled } }

impl Operator {
    /// Takes the pid file and makes the control socket beside it. Without a pid
    /// file there is no socket; without either everything else works.
    ///
    /// With an error, `status` is what main is to leave with.
    #[inline(never)]
    pub fn begin(&mut self, pid_file: Option<&CStr>, status: &mut u8) -> Result<()> {
        // A directory, be it behind a link.
        if pid_file.is_none() && file::links(c"tmp/.") == 0 {
            log(
                Level::Info,
                format_args!("no pid file and no control socket: there is no directory tmp/"),
            );
            return Ok(());
        }
        let path = pid_file.unwrap_or(c"tmp/panzer.pid");
        let name = Quoted(path.to_bytes());
        let error = match pidfile::take(path) {
            Ok(Taken::Ours(file)) => {
                self.pid_file = Some(file);
                self.control = open_control(path);
                return Ok(());
            }
            Ok(Taken::Held(holder)) => {
                *status = RUNS_ALREADY;
                return Err(match holder {
                    Some(pid) => Error::plain(format_args!(
                        "process {pid} runs already: it has locked {name}"
                    )),
                    // In another pid namespace.
                    None => Error::plain(format_args!("another process has locked {name}")),
                });
            }
            Ok(Taken::Strange) => {
                Error::plain(format_args!("{name} is no pid file: it is left alone"))
            }
            Err(errno) => Error::system(format_args!("cannot make the pid file {name}"), errno),
        };
        if pid_file.is_some() {
            return Err(error);
        }
        // Nobody has asked for it.
        log(Level::Warn, format_args!("{error}; there is no control socket either"));
        Ok(())
    }

    /// Takes the socket and the pid file away. The lock ends with the process,
    /// and so do the connections: whoever waits for the end sees it.
    pub fn leave(&self) {
        if let Some(control) = &self.control {
            control.remove();
        }
        if let Some(file) = &self.pid_file {
            file.remove();
        }
    }

    /// Has the pid file locked, whatever main has read.
    pub fn hold(&self) {
        if let Some(file) = &self.pid_file {
            file.hold();
        }
    }

    /// When somebody has to be looked after at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        self.control.as_ref().and_then(Control::deadline)
    }
}

fn open_control(pid_file: &CStr) -> Option<Control> {
    let path = CString::new(socket_beside(pid_file.to_bytes())).ok()?;
    match Control::open(&path) {
        Ok(control) => Some(control),
        Err(errno) => {
            let path = Quoted(path.to_bytes());
            log(Level::Warn, format_args!("cannot make the control socket {path}: {errno}"));
            None
        }
    }
}
