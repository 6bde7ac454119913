//! What came of executing a program: which of execve(2)'s errors mean what.

use crate::error::Errno;
use crate::persist::persisted;
use crate::printable::Quoted;
use crate::sys::exec::StartStep;
use crate::text;
use alloc::string::String;
use core::ffi::CStr;

/// Whether a program ran, and if not, how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExecResult {
    /// It ran.
    Ran,
    /// The file is not there: status 127.
    NotFound,
    /// The file cannot be executed: status 126.
    NotExecutable,
    /// Something else was in the way, which may pass.
    Retryable,
}

persisted! { enum ExecResult { 0 = Ran, 1 = NotFound, 2 = NotExecutable, 3 = Retryable } }

impl ExecResult {
    /// What it means that this step of a start has failed with this error.
    pub const fn of(stage: StartStep, errno: Errno) -> Self {
        match (stage, errno.0) {
            (StartStep::Execute, libc::ENOENT | libc::ENOTDIR) => Self::NotFound,
            (
                StartStep::Execute,
                libc::EAGAIN
                | libc::ENOMEM
                | libc::ETXTBSY
                | libc::EMFILE
                | libc::ENFILE
                | libc::EIO,
            )
            | (
                StartStep::Descriptors
                | StartStep::User
                | StartStep::Parent
                | StartStep::Directory
                | StartStep::Moved
                | StartStep::Open,
                _,
            ) => Self::Retryable,
            (StartStep::Execute, _) => Self::NotExecutable,
        }
    }
}

/// Why a program does not run: `cannot execute './app': …`.
pub fn explain(
    stage: StartStep,
    errno: Errno,
    command: &CStr,
    directory: &CStr,
    user: &CStr,
) -> String {
    let (step, which) = match stage {
        StartStep::User => ("switch to user", user),
        StartStep::Descriptors => ("pass the descriptors to", command),
        StartStep::Parent => ("set the parent-death signal of", command),
        StartStep::Directory => ("enter", directory),
        StartStep::Open => ("open", command),
        StartStep::Execute | StartStep::Moved => ("execute", command),
    };
    let advice = match (stage, errno.0) {
        (StartStep::User, libc::EPERM) => "; --user needs root",
        (StartStep::Directory, _) => {
            "; it is the directory of --chdir, or else the one where panzer was started"
        }
        (StartStep::Execute, libc::ENOENT) if command.to_bytes().contains(&b'/') => {
            "; the path is relative to --chdir, and the interpreter of a script has to exist, too"
        }
        (StartStep::Execute, libc::ENOENT) => {
            "; it is in no directory of PATH: for a file of the working directory write ./ in front"
        }
        (StartStep::Execute, libc::EACCES) => "; it has to be an executable file: chmod +x",
        (StartStep::Execute, libc::ENOEXEC) => {
            "; a script needs #!INTERPRETER as its first line, a binary has to be for this processor"
        }
        _ => "",
    };
    let which = Quoted(which.to_bytes());
    text::compose(format_args!("cannot {step} {which}: {errno}{advice}"))
}
