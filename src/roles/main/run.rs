//! One generation as main has it: its process, its board, its notify socket.

use crate::keep::board::{Board, Wish};
use crate::keep::log;
use crate::plan::service::Exec;
use crate::sys::Errno;
use crate::sys::exec::{Fate, Outcome, Stage};
use crate::sys::fd::Fd;
use crate::tape::taped;
use crate::text;
use crate::types::{Exit, Generation, Level, Pid, Tick};
use crate::words::printable::Quoted;
use alloc::ffi::CString;
use alloc::string::String;
use core::ffi::CStr;

/// A generation of which anybody is left.
#[derive(Debug)]
pub(super) struct Run {
    pub generation: Generation,
    /// The process that was started, which leads the group.
    pub leader: Pid,
    /// The same, until it is reaped.
    pub monitor: Option<Pid>,
    pub since: Tick,
    pub notify: Fd,
    pub board: Board,
    /// Open until it is known whether the program runs.
    pub fate: Option<Fate>,
    pub exec: Exec,
    /// What it was to execute, and where.
    pub command: CString,
    pub directory: CString,
    /// Whom it was to run as, by the operator's word.
    pub user: CString,
    /// Who that is; root, who may always speak, if the operator has not said.
    pub user_id: u32,
    /// Why its program does not run.
    pub why: Option<String>,
    /// What it says of itself: `STATUS=`.
    pub status: Option<String>,
    /// How its monitor ended, until the plan is told.
    pub exit: Option<Exit>,
    /// Whether the monitor is gone and nobody of its group is left.
    pub empty: bool,
}

taped! {
    struct Run {
        generation, leader, monitor, since, notify, board, fate, exec, command, directory, user,
        user_id, why, status, exit, empty,
    }
}

impl Run {
    /// Reads the fate of the program if it is known by now; says whether it is
    /// new that the program runs.
    pub fn learn_fate(&mut self) -> bool {
        let Some(fate) = &self.fate else { return false };
        let (command, directory) = (&self.command, &self.directory);
        match fate.outcome() {
            Outcome::Open => return false,
            Outcome::Running => {}
            Outcome::Failed(stage, errno) => {
                self.exec = class(stage, errno);
                self.why = Some(why(stage, errno, command, directory, &self.user));
            }
        }
        self.fate = None;
        self.why.is_none()
    }

    /// Tells its monitor that the port goes away with it.
    pub fn wish_final(&self) {
        if let Err(errno) = self.board.wish(Wish::Final) {
            log::log(Level::Warn, format_args!("cannot write a board: {errno}"));
        }
    }

    /// Whether the board shows more losses than probation forgives.
    pub fn is_losing(&self) -> bool {
        self.board.header().is_some_and(|header| {
            let slots = u32::from(header.count);
            slots > 0 && header.slots_hit >= slots && header.deaths >= 2
        })
    }
}

/// Why a program does not run: `cannot execute './app': …`.
pub(in crate::roles) fn why(
    stage: Stage,
    errno: Errno,
    command: &CStr,
    directory: &CStr,
    user: &CStr,
) -> String {
    let (what, which) = match stage {
        Stage::User => ("become user", user),
        Stage::Descriptors => ("hand the descriptors to", command),
        Stage::Parent => ("tie to its parent", command),
        Stage::Directory => ("enter", directory),
        Stage::Execute => ("execute", command),
    };
    let which = Quoted(which.to_bytes());
    text::compose(format_args!("cannot {what} {which}: {errno}"))
}

/// What an errno of the exec means for a first start.
pub(in crate::roles) const fn class(stage: Stage, errno: Errno) -> Exec {
    match (stage, errno.0) {
        (Stage::Execute, libc::ENOENT | libc::ENOTDIR) => Exec::Missing,
        (
            Stage::Execute,
            libc::EAGAIN | libc::ENOMEM | libc::ETXTBSY | libc::EMFILE | libc::ENFILE | libc::EIO,
        )
        | (Stage::Descriptors | Stage::User | Stage::Parent | Stage::Directory, _) => {
            Exec::Hindered
        }
        (Stage::Execute, _) => Exec::Unusable,
    }
}
