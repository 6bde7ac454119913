//! One generation as main has it: its process, its board, its notify socket.

use crate::exec_result::{self, ExecResult};
use crate::main_process::notify_socket::SocketDirectory;
use crate::main_process::situation::WorkerLimits;
use crate::main_process::supervisor::Session;
use crate::persist::persisted;
use crate::shared::inbox::Inbox;
use crate::shared::scoreboard::{Flags, Scoreboard};
use crate::sys::exec::{ExecOutcome, ExecStatus};
use crate::sys::{SysResult, signal};
use crate::types::{
    Exit, ExitReason, Generation, Level, Millis, Pid, Signal, Slot, StopSignal, Tick,
};
use crate::{log, printable};
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;

/// The status that says that a file is not there.
const MISSING: u8 = 127;

/// A generation of which a process is left.
#[derive(Debug)]
pub(super) struct RunningGeneration {
    pub generation: Generation,
    /// The process that was started, which leads the session.
    pub leader: Pid,
    /// The same, until it is reaped.
    pub monitor: Option<Pid>,
    pub since: Tick,
    pub notify: Inbox,
    /// Where that stands.
    pub home: SocketDirectory,
    pub board: Scoreboard,
    /// Open until it is known whether the program runs.
    pub exec_status: Option<ExecStatus>,
    pub exec: ExecResult,
    /// The first signal of a stop for what does not know this library, and whether
    /// the monitor is our own pool of such programs.
    pub stop_signal: StopSignal,
    pub is_pool: bool,
    /// What its monitor goes by, whatever a later configuration says.
    pub limits: WorkerLimits,
    /// What it was to execute, and where.
    pub command: CString,
    pub directory: CString,
    /// The user that it was to run as, by the operator's word.
    pub user: CString,
    /// That user's id; root's, which may always speak, if the operator has not said.
    pub user_id: u32,
    /// Why its program does not run.
    pub reason: Option<String>,
    /// What it says of itself: `STATUS=`.
    pub status: Option<String>,
    /// How the last worker that it has told of ended.
    pub lost: Option<String>,
    /// How its monitor ended, until the supervisor is told.
    pub exit: Option<Exit>,
    /// The groups of its session that have had the last signal, sorted.
    pub told: Vec<Pid>,
    /// Whether the monitor is gone and no child of main is left in its session.
    pub empty: bool,
}

/// How a generation has ended, as far as it has.
pub(super) enum GenerationEnd {
    /// Its monitor was reaped.
    Monitor {
        death: MonitorDeath,
        /// Whether the program ran at all.
        exec: ExecResult,
        /// Whether a child of main is left in its session.
        session: Session,
        /// Whether its board says that it had to kill a worker.
        forced: bool,
    },
    /// The last of its processes was, after its monitor.
    Last,
}

/// A monitor that was reaped, for those who are told.
pub(super) struct MonitorDeath {
    pub generation: Generation,
    pub pid: Pid,
    pub exit: Exit,
    pub lived: Millis,
    /// Why its program did not run, if that is so.
    pub known: Option<String>,
    pub cause: ExitReason,
}

/// A worker that main has reaped in place of its monitor, for those who are told.
#[derive(Debug)]
pub(super) struct WorkerDeath {
    pub generation: Generation,
    pub slot: Slot,
    pub pid: Pid,
    pub exit: Exit,
    pub lived: Millis,
}

persisted! {
    struct RunningGeneration {
        generation, leader, monitor, since, notify, home, board, exec_status, exec, stop_signal, is_pool, limits, command, directory,
        user, user_id, reason, status, lost, exit, told, empty,
    }
}

impl RunningGeneration {
    /// Reads the fate of the program if it is known by now; says whether it is
    /// new that the program runs.
    pub fn poll_exec_status(&mut self) -> bool {
        let Some(exec_status) = &self.exec_status else { return false };
        let (command, directory) = (&self.command, &self.directory);
        match exec_status.outcome() {
            ExecOutcome::Open | ExecOutcome::Moved => return false,
            ExecOutcome::Running => {}
            ExecOutcome::Failed(stage, errno) => {
                self.exec = ExecResult::of(stage, errno);
                self.reason =
                    Some(exec_result::explain(stage, errno, command, directory, &self.user));
            }
        }
        self.exec_status = None;
        self.reason.is_none()
    }

    /// Its pool of programs has nothing that it could run. That is to us as if its
    /// monitor were what cannot be executed, which leaves for that.
    pub fn note_unusable(&mut self, status: u8, reason: &[u8]) {
        if self.reason.is_none() {
            self.reason = Some(printable::lossy(reason));
            self.exec =
                if status == MISSING { ExecResult::NotFound } else { ExecResult::NotExecutable };
        }
    }

    /// Adds the workers on its board that are among the `dead`, which are sorted.
    pub fn find_dead_workers(&self, dead: &[(Pid, Exit)], now: Tick, found: &mut Vec<WorkerDeath>) {
        let Some(header) = self.board.header() else { return };
        for worker in self.board.workers(&header) {
            if let Some(pid) = worker.pid
                && let Ok(place) = dead.binary_search_by_key(&pid.raw(), |(pid, _)| pid.raw())
            {
                let (generation, slot) = (self.generation, worker.slot);
                let (exit, lived) = (dead[place].1, now.since(worker.since));
                found.push(WorkerDeath { generation, slot, pid, exit, lived });
            }
        }
    }

    /// What to send its monitor in place of `signal`: the first of a stop is the
    /// operator's for one that is not of this library, which would have begun its
    /// board.
    pub fn for_monitor(&self, signal: Signal) -> Signal {
        let is_of_library = self.is_pool || self.board.header().is_some();
        if signal == Signal::Term && !is_of_library { self.stop_signal.signal() } else { signal }
    }

    /// The same for what its monitor has left: workers of this library, or programs.
    pub fn for_the_rest(&self, signal: Signal) -> Signal {
        let is_of_library = !self.is_pool && self.board.header().is_some();
        if signal == Signal::Term && !is_of_library { self.stop_signal.signal() } else { signal }
    }

    /// Tells its monitor what main wants.
    pub fn set_flag(&self, wish: Flags) {
        self.complain(self.board.set_flag(wish));
    }

    /// Writes a number of workers onto its board, and has its monitor look if it can.
    ///
    /// # Errors
    ///
    /// When the board cannot be written or the monitor not be signalled.
    pub fn tell_count(&self, count: u16) -> SysResult<()> {
        self.board.scale(count)?;
        let has_handlers = self.board.header().is_some_and(|header| header.handlers);
        match self.monitor {
            Some(monitor) if has_handlers => signal::send(monitor, Signal::Winch),
            Some(_) | None => Ok(()),
        }
    }

    fn complain(&self, written: SysResult<()>) {
        if let Err(errno) = written {
            let generation = self.generation;
            log::log(
                Level::Warn,
                format_args!("generation {generation}: cannot write its scoreboard: {errno}"),
            );
        }
    }
}
