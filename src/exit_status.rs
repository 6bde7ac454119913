//! How a process ended, in words.
//!
//! `exited with status 3`, `killed by SIGSEGV (core dumped)`; a signal without
//! a name of its own is `signal 37`. In a line of the log the time and, where it is
//! known, the reason follow: `killed by SIGKILL after 1.1 s (hung)`.

use crate::text;
use crate::types::{Exit, ExitReason, Millis};
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
pub struct Cause(pub Exit, pub ExitReason);

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Death(self.0).fmt(out)?;
        match self.1 {
            ExitReason::Hung | ExitReason::Memory | ExitReason::Late => {
                write!(out, " ({})", self.1.name())
            }
            ExitReason::Unknown | ExitReason::Requested => Ok(()),
        }
    }
}

/// The end of the line of a death: `killed by SIGKILL after 1.1 s (hung)`.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// How the process ended.
    pub exit: Exit,
    /// From its fork to its reaping.
    pub lived: Millis,
    /// Why it ended, if that is known.
    pub reason: Option<&'a str>,
}

impl fmt::Display for Ended<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} after {}", Death(self.exit), self.lived)?;
        self.reason.map_or(Ok(()), |reason| write!(out, " ({reason})"))
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
    use super::{Death, Ended, signal_name};
    use crate::types::{Exit, ExitReason, Millis};
    use alloc::string::{String, ToString};

    fn killed(number: u8, core: bool) -> String {
        Death(Exit::Signal { number, core }).to_string()
    }

    #[test]
    fn exit_status_is_shown_as_a_number() {
        assert_eq!(Death(Exit::Status(3)).to_string(), "exited with status 3");
        assert_eq!(Death(Exit::Status(0)).to_string(), "exited with status 0");
    }

    #[test]
    fn signal_is_shown_by_name_with_its_core_dump() {
        assert_eq!(killed(11, true), "killed by SIGSEGV (core dumped)");
        assert_eq!(killed(9, false), "killed by SIGKILL");
    }

    #[test]
    fn signal_without_a_name_is_shown_by_number() {
        assert_eq!(killed(37, false), "killed by signal 37");
        assert_eq!(killed(0, false), "killed by signal 0");
    }

    #[test]
    fn line_of_a_death_has_a_reason_only_if_known() {
        let ended = |reason: ExitReason| {
            let exit = Exit::Signal { number: 9, core: false };
            Ended { exit, lived: Millis(1_100), reason: reason.known() }.to_string()
        };
        assert_eq!(ended(ExitReason::Hung), "killed by SIGKILL after 1.1 s (hung)");
        assert_eq!(ended(ExitReason::Requested), "killed by SIGKILL after 1.1 s (requested)");
        assert_eq!(ended(ExitReason::Unknown), "killed by SIGKILL after 1.1 s");
    }

    #[test]
    fn every_standard_signal_has_its_own_name() {
        for number in 1..=31 {
            let name = signal_name(number);
            assert!((0..number).all(|other| signal_name(other) != name), "{name}");
        }
        assert!((32..=u8::MAX).all(|number| signal_name(number).is_empty()));
    }
}
