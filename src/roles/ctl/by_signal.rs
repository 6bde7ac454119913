//! Asking by a signal, where there is no control socket.
//!
//! A signal has no answer: what comes of it stands in main's log. Only the end
//! of main can be waited for.

use super::find::{self, Found};
use super::{Bad, Patience, Status, tell};
use crate::sys::{Errno, pidfd};
use crate::types::Signal;
use crate::words::control::Request;
use crate::words::ctl_cli::{Asking, Form};

/// Sends main the signal that asks for the same.
pub fn ask(asking: &Asking, found: &Found, patience: &Patience<'_>) -> Result<(), Bad> {
    let signals: &[Signal] = match asking.request {
        Request::Status if asking.form == Form::Tree => &[Signal::Ttin],
        Request::Reload => &[Signal::Usr1],
        Request::Restart => &[Signal::Usr2],
        Request::Shutdown => &[Signal::Term],
        Request::Exit => &[Signal::Int, Signal::Quit],
        Request::Status | Request::Ready | Request::Scale(_) => {
            let why = format_args!("there is no control socket, and no signal asks for that");
            return Err(Bad::new(Status::Failed, why));
        }
    };
    let Some(process) = &found.process else {
        return Err(find::not_running(
            &found.socket,
            "is no socket, and it is unclear who main is",
        ));
    };
    for &signal in signals {
        match pidfd::send(process.fd.borrow(), signal) {
            Ok(()) | Err(Errno(libc::ESRCH)) => {}
            Err(errno) => {
                let why = format_args!("cannot signal main: {errno}");
                return Err(Bad::new(Status::Failed, why));
            }
        }
    }
    let is_end = matches!(asking.request, Request::Shutdown | Request::Exit);
    if is_end && asking.wait {
        return found.wait_for_end(patience);
    }
    tell(b"there is no control socket: main was sent a signal, and its log has the answer");
    Ok(())
}
