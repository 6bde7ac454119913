//! How a process ended, in words.
//!
//! `exited with status 3`, `killed by SIGSEGV (core dumped)`; a signal without
//! a name of its own is `signal 37`.

use crate::types::Exit;
use core::fmt;

/// Says how a process ended, as the second half of a sentence.
#[derive(Clone, Copy, Debug)]
pub struct Death(pub Exit);

impl fmt::Display for Death {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Exit::Status(status) => write!(out, "exited with status {}", u32::from(status)),
            Exit::Signal { number, core } => {
                match signal_name(number) {
                    Some(name) => write!(out, "killed by {name}")?,
                    None => write!(out, "killed by signal {}", u32::from(number))?,
                }
                out.write_str(if core { " (core dumped)" } else { "" })
            }
        }
    }
}

/// The name that signal(7) gives to `number` on this machine; `None` for the
/// real-time signals and for what is no signal.
#[must_use]
pub const fn signal_name(number: u8) -> Option<&'static str> {
    Some(match number as i32 {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGSTKFLT => "SIGSTKFLT",
        libc::SIGCHLD => "SIGCHLD",
        libc::SIGCONT => "SIGCONT",
        libc::SIGSTOP => "SIGSTOP",
        libc::SIGTSTP => "SIGTSTP",
        libc::SIGTTIN => "SIGTTIN",
        libc::SIGTTOU => "SIGTTOU",
        libc::SIGURG => "SIGURG",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGVTALRM => "SIGVTALRM",
        libc::SIGPROF => "SIGPROF",
        libc::SIGWINCH => "SIGWINCH",
        libc::SIGIO => "SIGIO",
        libc::SIGPWR => "SIGPWR",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Death, signal_name};
    use crate::types::Exit;
    use alloc::string::{String, ToString};

    fn killed(number: u8, core: bool) -> String {
        Death(Exit::Signal { number, core }).to_string()
    }

    #[test]
    fn a_status_is_told_as_a_number() {
        assert_eq!(Death(Exit::Status(3)).to_string(), "exited with status 3");
        assert_eq!(Death(Exit::Status(0)).to_string(), "exited with status 0");
    }

    #[test]
    fn a_signal_is_told_by_its_name_and_a_core_is_mentioned() {
        assert_eq!(killed(11, true), "killed by SIGSEGV (core dumped)");
        assert_eq!(killed(9, false), "killed by SIGKILL");
    }

    #[test]
    fn a_signal_without_a_name_is_told_by_its_number() {
        assert_eq!(killed(37, false), "killed by signal 37");
        assert_eq!(killed(0, false), "killed by signal 0");
    }

    #[test]
    fn every_standard_signal_has_a_name_of_its_own() {
        for number in 1..=31 {
            let name = signal_name(number).expect("all up to 31 are standard");
            assert!((1..number).all(|other| signal_name(other) != Some(name)), "{name}");
        }
        assert!((32..=u8::MAX).all(|number| signal_name(number).is_none()));
    }
}
