//! What the pool is told, what it orders, and what it reports.

use crate::types::{Backoff, Exit, ExitReason, Millis, Pid, Signal, Slot, Tick};

/// What the pool keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolRules {
    /// The number of workers, at most [`Slot::LAST`], until it is scaled.
    pub count: u16,
    /// From the SIGTERM of a graceful stop to its SIGINT.
    pub timeout: Millis,
    /// How long an empty slot waits.
    pub backoff: Backoff,
    /// How long a worker may be busy with one thing; 0: for ever.
    pub hang_timeout: Millis,
    /// After how long a worker is recycled; 0: never.
    pub lifetime: Millis,
    /// A worker whose program has run so long is taken as ready; `None`: it has
    /// to say so.
    pub ready_after: Option<Millis>,
    /// How long a worker may take to be ready; 0: for ever.
    pub ready_timeout: Millis,
    /// The most processes at once: rows of the scoreboard. More than twice the
    /// number of slots leave room for what is started beside what leaves.
    pub rows: usize,
    /// Makes this pool's jitter differ from another's.
    pub seed: u32,
}

/// Which process escalates a stop that is not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// We do: there is no main above us.
    Own,
    /// Main does, unless our own timeout is shorter than this one of main's.
    Main {
        /// What main gives a generation from SIGTERM to SIGINT.
        timeout: Millis,
    },
}

/// What is left of the process group of a worker that was reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Nothing, or nothing that is the monitor's to end.
    Empty,
    /// At least one process: [`Event::GroupEmpty`] comes once there is none.
    Members,
}

/// Which process sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopSender {
    /// The main process above us.
    Main,
    /// Any other: an operator, a terminal, a service manager.
    Stranger,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// [`Command::Fork`] made this process.
    Forked {
        /// The slot that was to be filled.
        slot: Slot,
        /// The new worker.
        pid: Pid,
    },
    /// [`Command::Fork`] made nothing.
    ForkFailed {
        /// The slot that is still empty.
        slot: Slot,
    },
    /// The program of this worker runs from now on: its time to become ready, if
    /// it has one, begins. Ignored unless it is in that slot.
    Runs {
        /// The slot it fills.
        slot: Slot,
        pid: Pid,
    },
    /// This worker of this slot is said to serve. Ignored unless it is in that slot.
    Ready {
        /// The slot it claims to fill.
        slot: Slot,
        /// The process it claims to be.
        pid: Pid,
    },
    /// This worker of this slot is busy. Ignored unless it is in that slot and
    /// was not told to leave.
    Busy {
        /// The slot that it fills.
        slot: Slot,
        pid: Pid,
        /// Since when it has been busy with this one thing, as it says.
        since: Tick,
    },
    /// A child was reaped. Ignored unless it is a worker of that slot, or was one.
    Exited {
        /// The slot that it fills, or was told to leave.
        slot: Slot,
        /// Which one.
        pid: Pid,
        /// How it ended.
        exit: Exit,
        /// What is left of the process group that it led.
        group: Group,
    },
    /// Nothing is left of the group of a worker that was reaped before. Ignored
    /// unless something was.
    GroupEmpty {
        /// That worker, by whose number the group goes.
        pid: Pid,
    },
    /// There are to be so many workers from now on. Once a stop has begun, this
    /// changes nothing.
    Scale {
        /// The number, 1 to [`Slot::LAST`].
        count: u16,
    },
    /// Stop gracefully. Once a stop has begun, this changes nothing.
    Stop,
    /// Stop now, with or without a [`Event::Stop`] before.
    StopNow {
        /// Which process wants that: under main's clock only main's word leaves the
        /// SIGKILL to main.
        by: StopSender,
    },
    /// Main has died: stop gracefully, by our own clock.
    MainGone,
    /// We could not run for a while, and no process is to suffer for it: every deadline
    /// moves back. Comes before the other events of the same waking.
    Stalled {
        /// By so much: see [`stall`](crate::stall).
        by: Millis,
    },
    /// [`Pool::deadline`](crate::monitor::pool::Pool::deadline) has passed.
    Timer,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Fork a worker; answered with [`Event::Forked`] or [`Event::ForkFailed`].
    Fork {
        /// The slot that it fills, perhaps beside another one.
        slot: Slot,
    },
    /// Send this signal to this worker, which has not been reaped.
    Signal {
        pid: Pid,
        /// SIGTERM, SIGABRT, SIGINT or SIGKILL.
        signal: Signal,
    },
    /// Send this signal to what is left of the group of a worker that was reaped,
    /// if anything still is.
    SignalGroup {
        /// That worker, by whose number the group goes.
        pid: Pid,
        /// SIGTERM, SIGINT or SIGKILL.
        signal: Signal,
    },
    /// Look which workers are busy; answered with [`Event::Busy`] for each. Until it is
    /// ordered again, each that becomes busy is to be reported as long as
    /// [`Pool::is_watching`](crate::monitor::pool::Pool::is_watching) says no.
    Look,
    /// For the first and only time, every slot has a ready worker.
    AnnounceReady,
    /// The stop is complete: no process is left, and no event matters any more.
    Finish {
        /// Whether a worker had to be ended with SIGKILL.
        killed: bool,
    },
    /// Something to put into the log and on the board.
    Tell(Report),
}

impl Command {
    /// The slot for which a worker is to be forked.
    pub const fn slot(&self) -> Option<Slot> {
        match *self {
            Self::Fork { slot } => Some(slot),
            Self::Signal { .. }
            | Self::SignalGroup { .. }
            | Self::Look
            | Self::AnnounceReady
            | Self::Finish { .. }
            | Self::Tell(_) => None,
        }
    }
}

/// What the log and the board want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// A worker has become ready.
    Ready {
        /// The slot it fills.
        slot: Slot,
        pid: Pid,
    },
    /// A worker is dead.
    Died {
        /// The slot it filled.
        slot: Slot,
        pid: Pid,
        /// How it ended.
        exit: Exit,
        /// From its fork to its reaping.
        lived: Millis,
        /// Whether we had told it to leave, or had it end: nothing else is
        /// known here.
        reason: ExitReason,
        /// What is left of its group.
        group: Group,
        /// When the slot will be filled again; `None`: never, or it is.
        next: Option<Tick>,
    },
    /// A replacement is the worker of its slot from now on.
    TookOver { slot: Slot, pid: Pid },
    /// A worker has had its time to become ready, and is told to leave.
    Late {
        /// The slot that it was to fill.
        slot: Slot,
        pid: Pid,
        /// How long it has had.
        waited: Millis,
    },
    /// Every slot has a ready worker again, after one had none.
    AllReady,
    /// A worker was sent SIGABRT.
    Hung {
        /// The slot that it fills.
        slot: Slot,
        pid: Pid,
        /// How long it has been busy with one thing.
        busy: Millis,
    },
    /// A worker could not be made.
    ForkFailed {
        /// The slot for which it was.
        slot: Slot,
        /// When the next attempt is due; `None`: never.
        next: Option<Tick>,
    },
    /// After an [`Event::Scale`] every slot has a ready worker again.
    Scaled {
        /// The number of slots.
        count: u16,
    },
}
