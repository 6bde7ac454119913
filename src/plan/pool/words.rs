//! What the plan of a pool is told, what it orders, and what it tells.

use crate::types::{Backoff, Exit, Millis, Pid, Signal, Slot, Tick, Why};

/// What the pool keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// The number of workers, at most [`Slot::LAST`], until it is scaled.
    pub count: u16,
    /// From the SIGTERM of a graceful stop to its SIGINT.
    pub timeout: Millis,
    /// How long an empty slot waits.
    pub backoff: Backoff,
    /// How long a worker may be busy with one thing; 0: for ever.
    pub hang: Millis,
    /// After how long a worker is recycled; 0: never.
    pub lifetime: Millis,
    /// A worker whose program has run so long is taken as ready; `None`: it has
    /// to say so.
    pub ready_after: Option<Millis>,
    /// Makes this pool's jitter differ from another's.
    pub seed: u32,
}

/// Who escalates a stop that is not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// We do: nobody is above us.
    Own,
    /// Main does, unless our own timeout is shorter than this one of main's.
    Main {
        /// What main gives a generation from SIGTERM to SIGINT.
        timeout: Millis,
    },
}

/// Who sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The main process above us.
    Main,
    /// Anybody else: an operator, a terminal, a service manager.
    Stranger,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// [`Action::Fork`] made this process.
    Forked {
        /// The slot that was to be filled.
        slot: Slot,
        /// The new worker.
        pid: Pid,
    },
    /// [`Action::Fork`] made nothing.
    ForkFailed {
        /// The slot that is still empty.
        slot: Slot,
    },
    /// The program of this worker runs from now on: its time to become ready, if
    /// it has one, begins. Ignored unless it is in that slot.
    Runs {
        /// The slot it fills.
        slot: Slot,
        /// The process.
        pid: Pid,
    },
    /// Somebody says that this worker of this slot serves. Ignored unless it is
    /// in that slot.
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
        /// The worker.
        pid: Pid,
        /// Since when it has been busy with this one thing, as it says.
        since: Tick,
    },
    /// A child was reaped. Ignored unless it is a worker.
    Exited {
        /// Who it was.
        pid: Pid,
        /// How it ended.
        exit: Exit,
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
        /// Who wants that: under main's clock only main's word leaves the
        /// SIGKILL to main.
        by: Sender,
    },
    /// Main has died: stop gracefully, by our own clock.
    MainGone,
    /// We could not run for a while, and nobody pays for it: every deadline
    /// moves back. Comes before the other events of the same waking.
    Overslept {
        /// By so much: see [`pause::lost`](crate::plan::pause::lost).
        by: Millis,
    },
    /// [`Pool::deadline`] has passed.
    Timer,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Fork a worker; answered with [`Event::Forked`] or [`Event::ForkFailed`].
    Fork {
        /// The slot that it fills.
        slot: Slot,
        /// Whether somebody else is in that slot still, whose heir it is.
        heir: bool,
    },
    /// Send this signal to this worker, which has not been reaped.
    Signal {
        /// The worker.
        pid: Pid,
        /// SIGTERM, SIGABRT, SIGINT or SIGKILL.
        signal: Signal,
    },
    /// Look who is busy; answered with [`Event::Busy`] for each. Until it is
    /// ordered again, whoever becomes busy is to be told as long as
    /// [`Pool::is_watching`] says no.
    Look,
    /// For the first and only time, every slot has a ready worker.
    AnnounceReady,
    /// The stop is complete: nobody is left, and no event matters any more.
    Finish {
        /// Whether a worker had to be ended with SIGKILL.
        killed: bool,
    },
    /// Something to put into the log and on the board.
    Tell(Report),
}

/// What the log and the board want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// A worker has become ready.
    Ready {
        /// The slot it fills.
        slot: Slot,
        /// Who it is.
        pid: Pid,
    },
    /// A worker is dead.
    Died {
        /// The slot it filled.
        slot: Slot,
        /// Who it was.
        pid: Pid,
        /// How it ended.
        exit: Exit,
        /// From its fork to its reaping.
        lived: Millis,
        /// Whether we had told it to leave, or had it end: nothing else is
        /// known here.
        why: Why,
        /// When the slot will be filled again; `None`: never, or it is.
        next: Option<Tick>,
    },
    /// The heir of a slot is all that is left there: it is the slot's worker.
    Inherited {
        /// The slot.
        slot: Slot,
        /// The worker.
        pid: Pid,
    },
    /// A worker was sent SIGABRT.
    Hung {
        /// The slot that it fills.
        slot: Slot,
        /// The worker.
        pid: Pid,
        /// How long it has been busy with one thing.
        busy: Millis,
    },
    /// A worker could not be made.
    ForkFailed {
        /// The slot that is still empty.
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
