//! The `panzerctl` program: asks main, and shows what it answers.
//!
//! One way through: read the command line, find main by the lock of its pid file, ask
//! over the control socket, wait, show. Where there is no socket, main is sent the
//! signal that asks for the same. No other process is ever signalled.

pub mod args;
mod compare_binary;
mod connect;
mod request;
mod show_status;
mod signal_fallback;
mod watch;

#[cfg(any(test, feature = "internals"))]
pub use crate::ctl::request::fuzz_reply;

use crate::ctl::args::{Args, Wanted};
use crate::log_line::LogLine;
use crate::printable;
use crate::protocol::control_protocol::Request;
use crate::sys::fd::{self, Borrowed, Standard};
use crate::sys::poll::{self, Source};
use crate::sys::signal::Wake;
use crate::sys::{Errno, clock, would_block};
use crate::types::{Millis, Tick};
use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt::{self, Write as _};

/// Where main has its pid file unless `--pid` says otherwise.
const PID_FILE: &CStr = c"tmp/panzer.pid";

/// How it came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// It was done, or there was nothing left to wait for.
    Done = 0,
    /// It was not done, or cannot be told.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// There is no main.
    NotRunning = 3,
    /// `--timeout` ran out.
    Late = 4,
}

/// Why it goes no further.
#[derive(Debug)]
struct CtlFailure {
    status: Status,
    /// Empty when `--watch` was interrupted.
    reason: String,
}

impl CtlFailure {
    fn new(status: Status, reason: fmt::Arguments<'_>) -> Self {
        Self { status, reason: alloc::fmt::format(reason) }
    }

    fn system(what: &str, path: &CStr, errno: Errno) -> Self {
        let path = printable::Quoted(path.to_bytes());
        Self::new(Status::Failed, format_args!("cannot {what} {path}: {errno}"))
    }
}

/// How long to wait, and what may end that.
struct Deadline<'a> {
    timeout: Option<Millis>,
    deadline: Option<Tick>,
    wake: Option<&'a Wake>,
}

impl<'a> Deadline<'a> {
    fn begin(timeout: Option<Millis>, wake: Option<&'a Wake>) -> Self {
        let deadline = timeout.map(|timeout| clock::now().after(timeout));
        Self { timeout, deadline, wake }
    }

    /// Waits until there is something to read, or until then.
    fn wait(&self, fd: Option<Borrowed<'_>>, until: Option<Tick>) -> Result<(), CtlFailure> {
        let mut sources = Vec::with_capacity(2);
        sources.extend(self.wake.map(|wake| Source::readable(wake.source())));
        sources.extend(fd.map(Source::readable));
        let end = self.deadline.into_iter().chain(until).min();
        let waited = poll::wait(&mut sources, end);
        let is_ready = waited.map_err(|errno| {
            CtlFailure::new(Status::Failed, format_args!("cannot wait for main: {errno}"))
        })?;
        if self.wake.is_some() && sources[0].is_ready() {
            return Err(CtlFailure::new(Status::Done, format_args!("")));
        }
        if !is_ready && self.deadline.is_some_and(|deadline| deadline <= clock::now()) {
            let length = self.timeout.unwrap_or_default();
            let reason = format_args!("no reply from main within {length} (--timeout)");
            return Err(CtlFailure::new(Status::Late, reason));
        }
        Ok(())
    }
}

/// Runs the `panzerctl` program and returns its exit status.
///
/// `args` are the program's name and the words behind it.
pub fn program(args: &[&CStr]) -> u8 {
    fd::fill_standard();
    let outcome = match args::parse(args.get(1..).unwrap_or_default()) {
        Ok(Wanted::Ask(asking)) => run(asking),
        Ok(Wanted::Show(text)) => print(text),
        Err(reason) => Err(CtlFailure { status: Status::Usage, reason }),
    };
    let Err(bad) = outcome else { return Status::Done as u8 };
    if !bad.reason.is_empty() {
        tell(bad.reason.as_bytes());
    }
    bad.status as u8
}

fn run(mut asking: Args) -> Result<(), CtlFailure> {
    let pid_file = asking.pid_file.take().unwrap_or_else(|| PID_FILE.to_owned());
    if asking.watch {
        return watch::watch(&asking, &pid_file);
    }
    let patience = Deadline::begin(asking.timeout, None);
    let (found, connection) = request::reach(&pid_file, &patience)?;
    let Some(connection) = connection else {
        return signal_fallback::ask(&asking, &found, &patience);
    };
    if asking.request == Request::Status {
        let text = show_status::status(
            &asking,
            &found,
            connection,
            &patience,
            show_status::is_coloured(),
        )?;
        return print(&text);
    }
    request::ask(&asking, connection, &found, &patience)
}

/// Writes to the standard output, however long that takes.
fn print(text: &str) -> Result<(), CtlFailure> {
    let out = Borrowed::standard(Standard::Output);
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match fd::write(out, rest) {
            Ok(written) => rest = &rest[written..],
            Err(errno) if would_block(errno) => {
                // Whatever is wrong with waiting, writing will say.
                let _ = poll::wait(&mut [Source::writable(out)], None);
            }
            Err(errno) => {
                let reason = format_args!("cannot write to standard output: {errno}");
                return Err(CtlFailure::new(Status::Failed, reason));
            }
        }
    }
    Ok(())
}

/// One line on standard error, with what a terminal would obey shown.
fn tell(what: &[u8]) {
    let mut line = LogLine::new();
    // A Line takes everything, and a failed write has nowhere to be reported.
    let _ = line.write_str("panzerctl: ");
    let _ = printable::write_text(&mut line, what, LogLine::SIZE);
    let _ = fd::write(Borrowed::standard(Standard::Error), line.as_bytes());
}
