//! What the supervisor is told, what it orders, and what it reports.

use crate::exec_result::ExecResult;
use crate::persist::persisted;
use crate::types::{Backoff, Generation, Losses, Millis, Pid, Signal, Tick};

/// When a generation counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// When it says so.
    Notify,
    /// When it says so, or has lived that long.
    After(Millis),
}

persisted! { enum Readiness { 0 = Notify, 1 = After(span) } }

/// What the operator has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SupervisorRules {
    /// From SIGTERM to SIGINT when a generation is to leave; SIGKILL is 2 s later.
    pub timeout: Millis,
    /// When a generation counts as ready.
    pub readiness: Readiness,
    /// How long a generation may take to be ready.
    pub ready_timeout: Millis,
    /// How long it takes until that is told, once.
    pub slow_start: Millis,
    /// How long the old generation stays beside a new one that is ready.
    pub probation: Millis,
    /// How long to go on serving after a stop was asked for.
    pub drain_delay: Millis,
    /// When to start again.
    pub backoff: Backoff,
    /// Failed starts before giving up while nothing was ever ready; 0 is never.
    pub give_up: u32,
    /// How long these have to have taken together.
    pub give_up_after: Millis,
    /// Tells our jitter from that of others.
    pub seed: u32,
}

persisted! {
    struct SupervisorRules {
        timeout, readiness, ready_timeout, slow_start, probation, drain_delay, backoff, give_up,
        give_up_after, seed,
    }
}

impl SupervisorRules {
    /// When a start that begins `now` is told of as slow; never where it has failed by then.
    pub fn slow_at(&self, now: Tick) -> Tick {
        if self.slow_start < self.ready_timeout { now.after(self.slow_start) } else { Tick::NEVER }
    }
}

/// What is left in the session of a monitor that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Session {
    /// No process.
    Empty,
    /// At least one: [`Event::Empty`] comes once there is none.
    Members,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The operator asked for a new generation.
    Reload,
    /// The operator asked for a graceful stop.
    Stop,
    /// The operator asked to stop at once.
    StopNow,
    /// The process asked for in [`Command::Spawn`] is there.
    Spawned {
        /// Its generation.
        generation: Generation,
        /// The monitor, which leads its session.
        monitor: Pid,
    },
    /// The process asked for in [`Command::Spawn`] could not be made.
    SpawnFailed {
        /// Its generation.
        generation: Generation,
    },
    /// The program of a generation was executed: from now on it lives.
    Runs {
        /// Which one.
        generation: Generation,
    },
    /// A generation said that it is ready.
    Ready {
        /// Which one.
        generation: Generation,
    },
    /// A board shows more losses than a new generation may have: see
    /// [`is_losing`].
    Losing {
        /// Whose board.
        generation: Generation,
    },
    /// A board shows that a slot has no ready worker.
    SlotUnready {
        /// Whose board.
        generation: Generation,
    },
    /// A board shows that every slot has a ready worker.
    AllReady {
        /// Whose board.
        generation: Generation,
    },
    /// A monitor says that it stops.
    MonitorStopping {
        /// Its generation.
        generation: Generation,
    },
    /// A monitor was reaped.
    Gone {
        /// Its generation.
        generation: Generation,
        /// Whether the program ran at all.
        exec: ExecResult,
        /// Whether a child of main is left there.
        session: Session,
    },
    /// The last child of main in a session whose monitor is gone was reaped.
    Empty {
        /// Its generation.
        generation: Generation,
    },
    /// A board says that its monitor had to kill a worker.
    Forced,
    /// Main itself could not run for a while: every deadline moves back.
    Stalled {
        /// By so much: see [`stall`](crate::stall).
        by: Millis,
    },
    /// The supervisor's deadline has passed. Comes after all that happened before it.
    Timer,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Make a monitor; [`Event::Spawned`] or [`Event::SpawnFailed`] answers.
    Spawn {
        /// Its generation.
        generation: Generation,
    },
    /// Signal a monitor, which was not reaped.
    Signal {
        /// Its generation.
        generation: Generation,
        /// The monitor.
        monitor: Pid,
        /// TERM or INT.
        signal: Signal,
    },
    /// Signal what is left in a session: each group there of which a child of
    /// ours is a member; with KILL the monitor too, unless it was reaped.
    SignalSession {
        /// Its generation.
        generation: Generation,
        /// The session's leader, alive or not.
        leader: Pid,
        /// TERM, INT or KILL.
        signal: Signal,
    },
    /// The generation serves alone: what it gave back goes with the one before.
    Promote {
        /// Which one.
        generation: Generation,
    },
    /// The generation failed before it was ready: what it alone had stored is closed.
    FailStart {
        /// Which one.
        generation: Generation,
        /// For what reason.
        reason: Failure,
    },
    /// The generation failed on probation, so that the one before it serves on: what it
    /// alone had stored is closed.
    RollBack {
        /// Which one.
        generation: Generation,
        /// For what reason.
        reason: Failure,
    },
    /// No process of the generation is left: forget it.
    Forget {
        /// Which one.
        generation: Generation,
    },
    /// The final stop begins: take no new connection, and hand over the last.
    CloseListeners,
    /// Leave with this status.
    Finish {
        /// 0, 1, 4, 126 or 127.
        status: u8,
    },
    /// Say what became of it.
    Tell(Report),
}

/// Why a generation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Its process could not be made.
    NotSpawned,
    /// Its monitor exited before it was ready, or on probation.
    MonitorExited,
    /// It was not ready in that time.
    Late(Millis),
    /// A slot of it has lost two workers, or every slot one.
    Losing,
    /// A slot of it had no ready worker for that long, on probation.
    SlotUnready(Millis),
    /// Its monitor stops, and was not asked to.
    MonitorStopping,
}

/// Whether a generation that is starting, or on probation, has lost more than it
/// may: two workers of one slot, or one of each of its `count` slots.
pub const fn is_losing(count: u16, losses: Losses) -> bool {
    count > 0 && (losses.worst >= 2 || losses.slots >= count as u32)
}

/// A transition that people want to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// A monitor was started.
    Started(Generation, Pid),
    /// It is not ready after so long, and has failed if it is not within that long.
    Slow(Generation, Millis, Millis),
    /// It was ready after that long.
    Ready(Generation, Millis),
    /// It serves beside the old one that long.
    Probation(Generation, Millis),
    /// It was told to finish what it has in hand.
    Draining(Generation),
    /// Its monitor left unasked.
    Crashed(Generation),
    /// Its monitor stops unasked, and another generation takes its place.
    MonitorStopping(Generation),
    /// The next start waits until then.
    Waiting(Tick),
    /// The fourth generation waits until this one is gone.
    Crowded(Generation),
    /// It was still there after SIGTERM and was sent SIGINT.
    Interrupted(Generation),
    /// It was still there after SIGINT and was sent SIGKILL.
    Killed(Generation),
    /// It is still there after SIGKILL, and main leaves without it.
    Abandoned(Generation),
    /// Nothing was ready after so many starts.
    GaveUp(u32),
    /// A stop: first, go on serving that long.
    Lingering(Millis),
}
