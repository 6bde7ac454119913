//! How a process ended, in words.
//!
//! `exited with status 3`, `killed by SIGSEGV (core dumped)`; a signal without
//! a name of its own is `signal 37`.

use crate::text;
use crate::types::{Exit, Why};
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
                    "" => write!(out, "killed by signal {}", u32::from(number))?,
                    name => write!(out, "killed by SIG{name}")?,
                }
                out.write_str(if core { " (core dumped)" } else { "" })
            }
        }
    }
}

/// The same, with the reason, if there is more to it.
#[derive(Clone, Copy, Debug)]
pub struct Cause(pub Exit, pub Why);

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Death(self.0).fmt(out)?;
        match self.1 {
            Why::Hung | Why::Memory => write!(out, ": {}", self.1.name()),
            Why::Unknown | Why::Asked => Ok(()),
        }
    }
}

/// The standard signals, as signal(7) has them, from 1 on.
const NAMES: &str = "\nHUP\nINT\nQUIT\nILL\nTRAP\nABRT\nBUS\nFPE\nKILL\nUSR1\nSEGV\nUSR2\nPIPE\n\
                     ALRM\nTERM\nSTKFLT\nCHLD\nCONT\nSTOP\nTSTP\nTTIN\nTTOU\nURG\nXCPU\nXFSZ\n\
                     VTALRM\nPROF\nWINCH\nIO\nPWR\nSYS\n";

const _: () = assert!(
    libc::SIGBUS == 7 && libc::SIGUSR1 == 10 && libc::SIGSTKFLT == 16 && libc::SIGSYS == 31,
    "this machine numbers its signals in another way"
);

/// The name of a signal without its SIG; nothing for the real-time signals and
/// for what is no signal.
fn signal_name(number: u8) -> &'static str {
    text::line(NAMES, number.into())
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
            let name = signal_name(number);
            assert!((0..number).all(|other| signal_name(other) != name), "{name}");
        }
        assert!((32..=u8::MAX).all(|number| signal_name(number).is_empty()));
    }
}
