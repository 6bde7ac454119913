//! What runs, as main has answered it: the records and the boards together.
//!
//! Shown by [`status_tree`](super::status_tree), [`json`](super::json) and
//! [`metrics`](super::metrics).

use crate::protocol::status_records::{Binary, Life, Listener, Main, Outage, Record, Reload};
use crate::types::{Activity, Exit, ExitReason, Millis, Pid, Slot, Tick};
use alloc::vec::Vec;
use core::fmt;

/// The most records of one answer that are taken.
const MOST: usize = 1_024;

/// Everything that there is to show.
#[derive(Clone, Debug, Default)]
pub struct StatusReport {
    /// Main itself; without it there is nothing to show.
    pub main: Option<Main<'static>>,
    /// What stands where main was started from, where that is known.
    pub binary: Option<Binary>,
    /// What there is to say of an outage, if nothing serves.
    pub outage: Option<Outage<'static>>,
    /// The memory of processes in bytes, shared memory in shares (PSS), where
    /// it may be read.
    pub memory: Vec<(Pid, u64)>,
    /// The last reload.
    pub reload: Option<Reload<'static>>,
    /// The sockets that main keeps.
    pub listeners: Vec<Listener<'static>>,
    /// The generations, the oldest first.
    pub generations: Vec<GenerationReport>,
}

/// A generation and its workers.
#[derive(Clone, Debug)]
pub struct GenerationReport {
    /// What main says of it.
    pub life: Life<'static>,
    /// What its board says, or why that cannot be told; `None` without a board.
    pub workers: Option<Result<Vec<WorkerReport>, &'static str>>,
}

/// A worker, or the place of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerReport {
    /// Its place.
    pub slot: Slot,
    /// Whether an older one of its slot is there too, which is recycled, or has died
    /// and left processes behind, or does not end.
    pub is_replacement: bool,
    /// The process; `None` when there is none.
    pub pid: Option<Pid>,
    /// How many were here before.
    pub restarts: u32,
    /// When the last one was forked.
    pub since: Tick,
    /// What it does; `None` when that is nothing that we know.
    pub activity: Option<Activity>,
    /// Since when it does that.
    pub active_since: Tick,
    /// How the last one ended that was not asked to.
    pub exit: Option<Exit>,
    /// Why it did.
    pub reason: ExitReason,
    /// How much it has done; `None` where that is not counted.
    pub handled: Option<u64>,
    /// How many connections it holds; `None` where it has never said so.
    pub connections: Option<u32>,
}

/// The memory of a process, as the end of a list; nothing where it is not known.
pub struct MemoryUse(pub Option<u64>);

impl fmt::Display for MemoryUse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(bytes) if bytes < 10 << 20 => write!(out, ", {} KiB", bytes >> 10),
            Some(bytes) => write!(out, ", {} MiB", bytes >> 20),
        }
    }
}

/// How much a worker has done, as the end of a list; nothing where that is not counted.
pub struct Handled(pub Option<u64>);

impl fmt::Display for Handled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |count| write!(out, ", {count} handled"))
    }
}

impl WorkerReport {
    /// The word for what it does.
    pub fn state(&self) -> &'static str {
        match (self.pid, self.activity) {
            (None, _) => Activity::Empty.name(),
            // A program says nothing of what it does.
            (Some(_), Some(Activity::Idle | Activity::Busy)) if self.handled.is_none() => "ready",
            (Some(_), Some(activity)) => activity.name(),
            (Some(_), None) => "unknown",
        }
    }
}

impl StatusReport {
    /// Takes in a line of the answer. What it does not know it leaves out, and
    /// so it does with what is more than main ever has.
    pub fn take(&mut self, line: &[u8]) {
        match Record::parse(line) {
            Some(Record::Main(main)) => self.main = Some(main),
            Some(Record::Outage(outage)) => self.outage = Some(outage),
            Some(Record::Reload(reload)) => self.reload = Some(reload),
            Some(Record::Listener(listener)) if self.listeners.len() < MOST => {
                self.listeners.push(listener);
            }
            Some(Record::Life(life)) if self.generations.len() < MOST => {
                self.generations.push(GenerationReport { life, workers: None });
            }
            Some(Record::Listener(_) | Record::Life(_)) | None => {}
        }
    }

    /// Every process that the answer speaks of, main first.
    pub fn pids(&self) -> Vec<Pid> {
        let mut pids: Vec<_> = self.main.iter().map(|main| main.pid).collect();
        for generation in &self.generations {
            pids.extend(generation.life.monitor);
            let workers = generation.workers.iter().flatten().flatten();
            pids.extend(workers.filter_map(|worker| worker.pid));
        }
        pids
    }

    /// The memory of a process, if it could be read.
    pub fn memory_of(&self, pid: Pid) -> Option<u64> {
        self.memory.iter().find(|(of, _)| *of == pid).map(|(_, bytes)| *bytes)
    }

    /// How long ago that was, by main's clock.
    pub fn age(&self, since: Tick) -> Millis {
        self.main.as_ref().map_or(Millis(0), |main| main.now.since(since))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Binary, MemoryUse, StatusReport, WorkerReport};
    use crate::types::{Activity, Exit, ExitReason, Pid, Slot, Tick};

    /// A main with a generation of two slots, of which one is empty.
    pub fn example() -> StatusReport {
        let mut report = StatusReport::default();
        for line in [
            r"main version=0.1.0 pid=12 now=81203 up=5012 state=running count=2 dropped=0",
            r"reload generation=3 outcome=failed at=81000 why=it\x20is\x20\x22bad\x22",
            "listener name=web address=127.0.0.1:80 origin=bound queue=1 backlog=4096",
            "listener name=web address=127.0.0.1:80 origin=stored queue=2 backlog=4096",
            "generation number=2 state=current leader=13 monitor=13 since=80000",
        ] {
            report.take(line.as_bytes());
        }
        let worker = |slot, pid: Option<i32>, activity| WorkerReport {
            slot: Slot::new(slot).expect("it is one"),
            is_replacement: false,
            pid: pid.and_then(Pid::new),
            restarts: u32::from(slot) - 1,
            since: Tick(80_100),
            activity: Some(activity),
            active_since: Tick(81_200),
            exit: pid.is_none().then_some(Exit::Status(7)),
            reason: ExitReason::Unknown,
            handled: Some(9),
            connections: pid.map(|_| 5),
        };
        let workers = [worker(1, Some(14), Activity::Busy), worker(2, None, Activity::Empty)];
        report.generations[0].workers = Some(Ok(workers.into()));
        report.binary = Some(Binary::Differs);
        report.memory = [(Pid::new(12).expect("it is one"), 4_096)].into();
        report
    }

    #[test]
    fn memory_is_in_kib_below_10_mib() {
        let shown = |bytes| alloc::format!("{}", MemoryUse(bytes));
        assert_eq!(shown(None), "");
        assert_eq!(shown(Some(4_096)), ", 4 KiB");
        assert_eq!(shown(Some((10 << 20) - 1)), ", 10239 KiB");
        assert_eq!(shown(Some(10 << 20)), ", 10 MiB");
    }
}
