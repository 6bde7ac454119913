//! What runs, as main has answered it: the records and the boards together.
//!
//! Shown by [`tree`](super::tree), [`json`](super::json) and
//! [`metrics`](super::metrics).

use super::status::{Life, Listener, Main, Record, Reload};
use crate::types::{Activity, Exit, Millis, Pid, Slot, Tick, Why};
use alloc::vec::Vec;
use core::fmt;

/// The most records of one answer that are taken.
const MOST: usize = 1_024;

/// Everything that there is to show.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Main itself; without it there is nothing to show.
    pub main: Option<Main<'static>>,
    /// The last reload.
    pub reload: Option<Reload<'static>>,
    /// The sockets that main keeps.
    pub listeners: Vec<Listener<'static>>,
    /// The generations, the oldest first.
    pub generations: Vec<Generation>,
}

/// A generation and its workers.
#[derive(Clone, Debug)]
pub struct Generation {
    /// What main says of it.
    pub life: Life<'static>,
    /// What its board says, or why that cannot be told; `None` without a board.
    pub workers: Option<Result<Vec<Worker>, &'static str>>,
}

/// A worker, or the place of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its place.
    pub slot: Slot,
    /// Whether it is to follow another one there.
    pub is_heir: bool,
    /// The process; `None` when nobody is there.
    pub pid: Option<Pid>,
    /// How many were here before.
    pub restarts: u32,
    /// When the last one was forked.
    pub since: Tick,
    /// What it does; `None` when that is nothing that we know.
    pub activity: Option<Activity>,
    /// Since when it does that.
    pub active_since: Tick,
    /// How the one before ended that nobody had asked to.
    pub exit: Option<Exit>,
    /// Why it did.
    pub why: Why,
    /// How much it has done; `None` where nobody counts.
    pub handled: Option<u64>,
}

/// How much a worker has done, as the end of a list; nothing where nobody counts.
pub struct Handled(pub Option<u64>);

impl fmt::Display for Handled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |count| write!(out, ", {count} handled"))
    }
}

impl Worker {
    /// The word for what it does.
    pub fn state(&self) -> &'static str {
        match (self.pid, self.activity) {
            (None, _) => Activity::Empty.name(),
            (Some(_), Some(activity)) => activity.name(),
            (Some(_), None) => "unknown",
        }
    }
}

impl Picture {
    /// Takes in a line of the answer. What it does not know it leaves out, and
    /// so it does with what is more than main ever has.
    pub fn take(&mut self, line: &[u8]) {
        match Record::parse(line) {
            Some(Record::Main(main)) => self.main = Some(main),
            Some(Record::Reload(reload)) => self.reload = Some(reload),
            Some(Record::Listener(listener)) if self.listeners.len() < MOST => {
                self.listeners.push(listener);
            }
            Some(Record::Life(life)) if self.generations.len() < MOST => {
                self.generations.push(Generation { life, workers: None });
            }
            Some(Record::Listener(_) | Record::Life(_)) | None => {}
        }
    }

    /// How long ago that was, by main's clock.
    pub fn age(&self, since: Tick) -> Millis {
        self.main.as_ref().map_or(Millis(0), |main| main.now.since(since))
    }
}
