//! Asking by a signal, where there is no control socket.
//!
//! A signal has no answer: what comes of it stands in main's log. Only the end
//! of main can be waited for.

use super::{CtlFailure, Deadline, Status, connect, tell};
use crate::ctl::args::{Args, Format};
use crate::ctl::connect::Found;
use crate::protocol::control_protocol::Request;
use crate::sys::{Errno, pidfd};
use crate::types::Signal;

/// Sends main the signal that asks for the same.
pub fn ask(asking: &Args, found: &Found, patience: &Deadline<'_>) -> Result<(), CtlFailure> {
    let signals: &[Signal] = match asking.request {
        Request::Status if asking.form == Format::Tree => &[Signal::Ttin],
        Request::Reload => &[Signal::Usr1],
        Request::Restart => &[Signal::Usr2],
        Request::Shutdown => &[Signal::Term],
        Request::Exit => &[Signal::Int, Signal::Quit],
        Request::Status | Request::Ready | Request::Scale(_) => {
            let reason =
                format_args!("no control socket, which this command needs: main's log says why");
            return Err(CtlFailure::new(Status::Failed, reason));
        }
    };
    let Some(process) = &found.process else {
        return Err(connect::not_running(
            &found.socket,
            "does not answer, and the pid file does not name the process that has locked it",
        ));
    };
    for &signal in signals {
        match pidfd::send(process.fd.borrow(), signal) {
            Ok(()) | Err(Errno(libc::ESRCH)) => {}
            Err(errno) => {
                let reason = format_args!("cannot signal main: {errno}");
                return Err(CtlFailure::new(Status::Failed, reason));
            }
        }
    }
    let is_end = matches!(asking.request, Request::Shutdown | Request::Exit);
    if is_end && asking.wait {
        return found.wait_for_end(patience);
    }
    tell(b"no control socket; sent a signal to main instead, see its log for the result");
    Ok(())
}
