//! What main has for its operator: the pid file, the control socket, the clients that
//! wait for a reply, and what the operator has asked for.

use super::pidfile;
use crate::error::{Error, Result};
use crate::log::log;
use crate::main_process::control_socket::ControlSocket;
use crate::main_process::pidfile::{Holder, PidFile, Taken};
use crate::persist::persisted;
use crate::printable::Quoted;
use crate::protocol::control_protocol::socket_beside;
use crate::protocol::status_records::ReloadOutcome;
use crate::shared::closer::Closing;
use crate::sys::{self, Errno, file};
use crate::types::{Generation, Level, Tick};
use alloc::ffi::CString;
use alloc::string::String;
use core::ffi::CStr;

/// The exit status of a main that finds another one.
const RUNS_ALREADY: u8 = 3;
/// Where the pid file is when none is named.
pub(super) const DEFAULT: &CStr = c"tmp/panzer.pid";

/// The last reload that was asked for.
pub(super) struct LastReload {
    /// Its generation; `None` when it came to nothing before.
    pub generation: Option<Generation>,
    pub outcome: ReloadOutcome,
    /// When it was asked for, or when its outcome was known.
    pub at: Tick,
    pub why: Option<String>,
}

/// The operator's side of main.
#[derive(Default)]
pub(super) struct Control {
    pub control: Option<ControlSocket>,
    pid_file: Option<PidFile>,
    pub reload: Option<LastReload>,
    /// The reason of the last failure.
    pub failure: Option<String>,
    /// How many workers there are to be, once a number was asked for.
    pub scaled: Option<u16>,
}

persisted! { struct LastReload { generation, outcome, at, why } }
persisted! { struct Control { control, pid_file, reload, failure, scaled } }

impl Control {
    /// Takes the pid file and makes the control socket beside it. Without a pid
    /// file there is no socket; without either everything else works.
    ///
    /// With an error, `status` is what main is to leave with.
    pub fn begin(&mut self, pid_file: Option<&CStr>, status: &mut u8) -> Result<()> {
        let path = match pid_file {
            Some(path) => path,
            None if !has_default_directory() => return Ok(()),
            None => DEFAULT,
        };
        let name = Quoted(path.to_bytes());
        let error = match pidfile::take(path) {
            Ok(Taken::Ours(file)) => {
                self.pid_file = Some(file);
                self.control = open_control(path);
                return Ok(());
            }
            Ok(Taken::Held(holder)) => {
                let error = held(holder, name);
                if pid_file.is_some() || holder.is_main {
                    *status = RUNS_ALREADY;
                    return Err(error);
                }
                error
            }
            Ok(Taken::Strange) => Error::plain(format_args!(
                "refusing to overwrite {name}: not a pid file that panzer made as this user; \
                 remove it or choose another --pid"
            )),
            Err(errno) => Error::system(format_args!("cannot create pid file {name}"), errno),
        };
        if pid_file.is_some() {
            return Err(error);
        }
        // The default is what nothing has asked for.
        log(Level::Warn, format_args!("{error}; running without pid file and control socket"));
        Ok(())
    }

    /// Makes the pid file and the control socket anew where a cleaner has taken
    /// them away. What stands in their place is left alone, with a warning.
    pub fn renew_files(&mut self, closing: &mut Closing) {
        let Some(file) = &mut self.pid_file else { return };
        let renewed = file.renew();
        tell_renewed("pid file", file.name(), renewed);
        let Some(control) = &mut self.control else {
            // That it could not be made was said at the start.
            self.control = socket_of(file.name()).and_then(|path| ControlSocket::open(&path).ok());
            return;
        };
        let renewed = control.renew(closing);
        tell_renewed("control socket", control.name(), renewed);
    }

    /// Takes the socket and the pid file away. The lock ends with the process, and so
    /// do the connections: a client that waits for the end sees it.
    pub fn leave(&self) {
        if let Some(control) = &self.control {
            control.remove();
        }
        if let Some(file) = &self.pid_file {
            file.remove();
        }
    }

    /// Where the pid file stands, if there is one.
    pub fn pid_path(&self) -> Option<&CStr> {
        self.pid_file.as_ref().map(PidFile::name)
    }

    /// When a client needs attention at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        self.control.as_ref().and_then(ControlSocket::deadline)
    }
}

/// What it means that another process has locked the pid file.
fn held(holder: Holder, name: Quoted<'_>) -> Error {
    match holder {
        Holder { pid: Some(pid), is_main: true } => {
            Error::plain(format_args!("already running: pid {pid} has locked {name}"))
        }
        Holder { pid: Some(pid), is_main: false } => Error::plain(format_args!(
            "pid file {name} is locked by pid {pid}, which is not a panzer of this user"
        )),
        // In another pid namespace.
        Holder { pid: None, .. } => Error::plain(format_args!(
            "pid file {name} is locked by a process outside this pid namespace"
        )),
    }
}

/// Whether there is a directory for the default pid file, be it behind a link.
fn has_default_directory() -> bool {
    match file::enters(c"tmp/.") {
        Ok(()) => true,
        Err(Errno(libc::ENOENT | libc::ENOTDIR)) => {
            log(
                Level::Info,
                format_args!("no pid file and no control socket: no directory tmp/ (see --pid)"),
            );
            false
        }
        Err(errno) => {
            log(
                Level::Warn,
                format_args!("no pid file and no control socket: cannot enter tmp/: {errno}"),
            );
            false
        }
    }
}

/// Tells what came of making something anew, unless there was no need.
fn tell_renewed(what: &str, path: &CStr, renewed: sys::SysResult<bool>) {
    let path = Quoted(path.to_bytes());
    match renewed {
        Ok(false) => {}
        Ok(true) => log(Level::Warn, format_args!("{what} {path} was missing: created again")),
        Err(errno) => log(
            Level::Warn,
            format_args!("{what} {path} is missing and cannot be created again: {errno}"),
        ),
    }
}

/// Where the control socket of a pid file stands.
fn socket_of(pid_file: &CStr) -> Option<CString> {
    CString::new(socket_beside(pid_file.to_bytes())).ok()
}

fn open_control(pid_file: &CStr) -> Option<ControlSocket> {
    let path = socket_of(pid_file)?;
    match ControlSocket::open(&path) {
        Ok(control) => Some(control),
        Err(errno) => {
            let path = Quoted(path.to_bytes());
            log(Level::Warn, format_args!("cannot create control socket {path}: {errno}"));
            None
        }
    }
}
