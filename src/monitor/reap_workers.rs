//! What a monitor reaps: a library's its own workers alone, each by its pid, since other
//! children are the application's; one of `-x` whatever becomes its child.

use crate::monitor::monitor_loop::{MonitorLoop, PoolKind};
use crate::monitor::pool::{Event, Group};
use crate::sys::SysResult;
use crate::sys::process::{self, Reaped};
use crate::types::{Exit, Millis, Pid, Tick};
use alloc::vec::Vec;

/// The most time between two looks at all workers that are wanted. One look costs 0.6 µs
/// a worker, so between two of them there is a millisecond for every 64 workers.
const SWEEP: Millis = Millis(50);
/// How often, and how many at once, what is left of groups is looked at, though
/// nothing in it has ended. One look costs up to 485 µs at 10,000 children.
const REST_PACE: Millis = Millis(1_000);
const REST_AT_ONCE: usize = 16;
/// The most dead that a look at all reaps: there is other work, as the next workers.
const MOST: usize = 256;
/// Among so many children the kernel finds a dead one in less than a microsecond.
const FEW: u16 = 64;
/// From a death to the look at all workers: the next worker of its slot is forked before.
const AFTER_FORK: Millis = Millis(1);

impl<K: PoolKind> MonitorLoop<K> {
    /// Reaps our own dead that a signal has named. Soon all workers are looked at too: it
    /// may have stood for others, and other code in this process may have waited for one.
    pub(super) fn reap(&mut self, now: Tick, died: bool, dead: impl Iterator<Item = Pid>) {
        let mut touched = Vec::new();
        for pid in dead {
            touched.extend(self.reap_child(now, pid));
        }
        if died {
            self.want_sweep(now);
        }
        let is_due = self.sweep.is_some_and(|due| due <= now);
        if is_due {
            (self.swept, self.sweep) = (now, None);
            self.sweep_children(now, &mut touched);
        }
        self.look_at_rests(now, touched, is_due);
    }

    /// When there is something to do that the pool knows nothing of.
    pub(super) fn wakes_at(&self) -> Option<Tick> {
        let all = [self.sweep, self.reports.due(), Self::tells_again_at(), self.kind.deadline()];
        all.into_iter().flatten().min()
    }

    /// Reaps the children that are ours to reap and are dead, many at once.
    fn sweep_children(&mut self, now: Tick, touched: &mut Vec<Pid>) {
        match self.reap_named(now, MOST, touched) {
            // The rest is for the next turn, which comes at once.
            None => self.sweep = Some(now),
            Some(Ok(Reaped::NoneDead)) if self.kind.waits_alone() => {}
            Some(Ok(Reaped::Dead(..) | Reaped::NoneDead | Reaped::NoChild) | Err(_)) => {
                self.look_at_workers(now);
            }
        }
    }

    /// Reaps the dead that the kernel names, one after the other, as long as they are ours.
    /// Says what else it named; `None` when `most` were reaped.
    fn reap_named(
        &mut self,
        now: Tick,
        most: usize,
        touched: &mut Vec<Pid>,
    ) -> Option<SysResult<Reaped>> {
        for _ in 0..most {
            match process::dead_child() {
                Ok(Reaped::Dead(pid, _)) if K::ADOPTS || self.rows.process(pid).is_some() => {
                    K::take_last_words(self, now, pid);
                    touched.extend(self.reap_child(now, pid));
                }
                other => return Some(other),
            }
        }
        None
    }

    /// Looks at each worker: a child of the application's own stands before what else is
    /// dead, or another thread has waited for one.
    fn look_at_workers(&mut self, now: Tick) {
        let mut last = None;
        while let Some(pid) = self.worker_after(last) {
            if process::is_dead(pid) {
                K::take_last_words(self, now, pid);
                self.reap_one(now, pid);
            }
            last = Some(pid);
        }
    }

    /// The worker with the next higher pid: they stand in that order.
    fn worker_after(&self, last: Option<Pid>) -> Option<Pid> {
        let owners = self.rows.owners();
        let place = owners.partition_point(|owner| Some(owner.pid) <= last);
        owners[place..].iter().find(|owner| !owner.is_rest).map(|owner| owner.pid)
    }

    /// Reaps at once, where workers are few, those for whose death a signal has stood
    /// that named another one.
    pub(super) fn reap_unnamed(&mut self, now: Tick) {
        if K::ADOPTS || self.rules.count > FEW {
            return;
        }
        // A child of the application's own may stand before what else is dead.
        let _ = self.reap_named(now, self.rules.count.into(), &mut Vec::new());
    }

    /// Reaps a child that may be dead, a worker or an orphan. Says in which group an
    /// orphan was, which may be empty now.
    fn reap_child(&mut self, now: Tick, pid: Pid) -> Option<Pid> {
        let is_worker = self.rows.process(pid).is_some();
        if !is_worker && !K::ADOPTS {
            return None;
        }
        let group = if K::ADOPTS { process::group_of(pid) } else { None };
        let group = group.filter(|group| *group != pid);
        if is_worker {
            self.reap_one(now, pid);
        } else {
            if matches!(process::reap(pid), Ok(Reaped::Dead(..))) {
                self.kind.note_orphan(pid);
            }
        }
        group
    }

    /// Looks whether what is left of groups is gone by now: of those in which
    /// something has ended, and in a sweep of some others, out of which the last
    /// one may have gone without ending.
    fn look_at_rests(&mut self, now: Tick, mut touched: Vec<Pid>, is_sweep: bool) {
        if !K::ADOPTS {
            return;
        }
        let is_rest = |pid: &Pid| {
            let owners = self.rows.owners();
            let place = owners.binary_search_by_key(pid, |owner| owner.pid);
            place.is_ok_and(|place| owners.get(place).is_some_and(|owner| owner.is_rest))
        };
        touched.retain(is_rest);
        let rests = self.rows.owners().iter().filter(|owner| owner.is_rest);
        let count = rests.clone().count();
        if is_sweep && count > 0 {
            let others = rests.cycle().skip(self.looked % count).take(count.min(REST_AT_ONCE));
            touched.extend(others.map(|owner| owner.pid));
            self.looked = (self.looked % count).wrapping_add(REST_AT_ONCE);
        }
        for pid in touched {
            if K::group(self, pid) == Group::Empty {
                self.rows.emptied(pid, now);
                self.step(now, Event::GroupEmpty { pid });
            }
        }
        if count > 0 {
            self.sweep = self.sweep.or(Some(now.after(REST_PACE)));
        }
    }

    /// All workers are to be looked at soon.
    pub(super) fn want_sweep(&mut self, now: Tick) {
        let rest = SWEEP.min(Millis(u64::from(self.rules.count / FEW)));
        let soon = if K::ADOPTS { now } else { now.after(AFTER_FORK) };
        let due = soon.max(self.swept.after(rest));
        self.sweep = Some(self.sweep.map_or(due, |sweep| sweep.min(due)));
    }

    /// Reaps the worker `pid` if it is dead.
    fn reap_one(&mut self, now: Tick, pid: Pid) {
        let Some(slot) = self.rows.process(pid).map(|owner| owner.slot) else { return };
        let exit = match process::reap(pid) {
            Ok(Reaped::Dead(_, exit)) => exit,
            // Something else in this process has waited for it: it is gone all
            // the same, and how it ended is lost.
            Ok(Reaped::NoChild) => Exit::Status(0),
            Ok(Reaped::NoneDead) | Err(_) => return,
        };
        let group = K::group(self, pid);
        self.step(now, Event::Exited { slot, pid, exit, group });
    }
}

#[cfg(test)]
mod tests {
    use crate::monitor::forked::ForkedWorkers;
    use crate::monitor::monitor_loop::MonitorLoop;
    use crate::monitor::pool::{Authority, Event};
    use crate::monitor::rules;
    use crate::shared::inherited::PoolSettings;
    use crate::sys::clock;
    use crate::types::{Pid, Slot};
    use crate::worker::{Context, Outcome};
    use alloc::vec::Vec;
    use std::process::{Command, Stdio};

    /// Another child lives, so the kernel says only that none is dead.
    #[test]
    fn worker_that_another_thread_has_waited_for_is_missed() {
        let mut idle = |_: &mut Context| -> Outcome { Ok(()) };
        let copies = ForkedWorkers::new(&mut idle, false).expect("there are descriptors");
        let none = PoolSettings::default();
        let rules = rules(none, PoolSettings { count: Some(1), ..none });
        let mut pool = MonitorLoop::new(copies, rules, Authority::Own).expect("there is memory");
        let mut alive = Command::new("cat").stdin(Stdio::piped()).spawn().expect("it is there");
        let mut worker = Command::new("true").spawn().expect("it is there");
        let pid = i32::try_from(worker.id()).ok().and_then(Pid::new).expect("it is a pid");
        let (now, slot) = (clock::now(), Slot::new(1).expect("it is the first"));
        let row = pool.rows.reserve(slot).expect("all are free");
        pool.rows.forked(slot, row, pid, now);
        let mut commands = Vec::new();
        for event in [Event::Timer, Event::Forked { slot, pid }] {
            pool.pool.step(now, event, &mut commands);
        }
        worker.wait().expect("it is our child");
        pool.sweep_children(now, &mut Vec::new());
        assert!(pool.rows.process(pid).is_none(), "its slot is never filled again");
        drop(alive.stdin.take());
        alive.wait().expect("it is our child");
    }
}
