//! What has to hold of a pool: its invariants by name, from what was told to it and what it
//! ordered. Nothing here asks the pool what it thinks.

use crate::world::World;
use panzer::machines::{
    Signal, Slot,
    pool::{Command, Event, Group, Pool, PoolRules, Report, StopSender},
};
use panzer::{Millis, Pid, Tick};

/// How late a turn may come without being a stall.
const LATE: Millis = Millis(1_000);
const INT_TO_KILL: Millis = Millis(2_000);
const SECOND: Millis = Millis(1_000);

/// The place of a signal among those of a stop, as a bit.
fn rank(signal: Signal) -> u32 {
    let steps = [Signal::Term, Signal::Abrt, Signal::Int, Signal::Kill];
    steps.iter().position(|step| *step == signal).map_or(0, |place| 1 << place)
}

/// A process of the pool, or what is left of its group.
#[derive(Clone, Copy, Debug)]
struct Worker {
    pid: Pid,
    slot: Slot,
    is_rest: bool,
    /// It was told to leave, and when.
    told: Option<Tick>,
    forked: Tick,
    runs: Option<Tick>,
    ready: bool,
    busy_since: Option<Tick>,
    sent: u32,
    interrupted: Option<Tick>,
    aborted: Option<Tick>,
    killed: bool,
}

/// The order to stop, by the clock that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    asked: Option<Tick>,
    now: Option<Tick>,
    is_ours: bool,
}

#[derive(Debug)]
pub struct PoolTruth {
    rules: PoolRules,
    workers: Vec<Worker>,
    forking: Vec<Slot>,
    /// Since when each slot has no worker that stays.
    empty_since: Vec<Option<Tick>>,
    /// Before when each slot is not to be filled, as was told.
    promised: Vec<Tick>,
    order: Order,
    /// When it was told that main is gone.
    main_gone: Option<Tick>,
    /// No time before this counts as busy.
    watched_from: Tick,
    announced: bool,
    finished: bool,
    /// All slots that there ever were have a row.
    slots: usize,
}

impl Worker {
    const fn new(slot: Slot, pid: Pid, now: Tick) -> Self {
        Self {
            pid,
            slot,
            is_rest: false,
            told: None,
            forked: now,
            runs: None,
            ready: false,
            busy_since: None,
            sent: 0,
            interrupted: None,
            aborted: None,
            killed: false,
        }
    }

    const fn stays(&self) -> bool {
        self.told.is_none() && !self.is_rest
    }
}

impl PoolTruth {
    pub fn new(rules: PoolRules, mains: Millis, now: Tick) -> Self {
        Self {
            rules,
            workers: Vec::new(),
            forking: Vec::new(),
            empty_since: vec![Some(now); usize::from(rules.count)],
            promised: vec![Tick(0); usize::from(rules.count)],
            order: Order { asked: None, now: None, is_ours: rules.timeout < mains },
            main_gone: None,
            watched_from: now,
            announced: false,
            finished: false,
            slots: rules.count.into(),
        }
    }

    /// The process of that number, not reaped.
    fn process(&mut self, pid: Pid) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|one| one.pid == pid && !one.is_rest)
    }

    const fn is_stopping(&self) -> bool {
        self.order.asked.is_some() || self.order.now.is_some()
    }

    pub fn lose_time(&mut self, by: Millis) {
        for worker in &mut self.workers {
            let moments =
                [&mut worker.told, &mut worker.runs, &mut worker.interrupted, &mut worker.aborted];
            for moment in moments.into_iter().flatten() {
                *moment = moment.after(by);
            }
            worker.forked = worker.forked.after(by);
        }
        for promised in &mut self.promised {
            *promised = promised.after(by);
        }
        for since in self.empty_since.iter_mut().flatten() {
            *since = since.after(by);
        }
        for moment in
            [&mut self.order.asked, &mut self.order.now, &mut self.main_gone].into_iter().flatten()
        {
            *moment = moment.after(by);
        }
    }

    /// An event is about to be told.
    pub fn before(&mut self, world: &World, event: Event) {
        let now = world.now();
        match event {
            Event::Forked { slot, pid } => {
                self.forking.retain(|&forking| forking != slot);
                self.workers.retain(|one| !(one.pid == pid && one.is_rest));
                self.workers.push(Worker::new(slot, pid, now));
            }
            Event::ForkFailed { slot } => self.forking.retain(|&forking| forking != slot),
            Event::Runs { slot, pid } => self.with(slot, pid, |one| {
                one.runs.get_or_insert(now);
            }),
            Event::Ready { slot, pid } => self.with(slot, pid, |one| one.ready = true),
            Event::Busy { slot, pid, since } => {
                self.with(slot, pid, |one| one.busy_since = Some(since))
            }
            Event::Exited { pid, group, .. } => self.on_exit(now, pid, group),
            Event::GroupEmpty { pid } => {
                self.workers.retain(|one| !(one.pid == pid && one.is_rest))
            }
            Event::Scale { count } => self.scale(now, count),
            Event::Stop => self.ask(now),
            Event::StopNow { by } => {
                if by == StopSender::Stranger && !self.order.is_ours {
                    // Main does not see this through, and its times limit nothing.
                    self.order = Order { asked: None, now: Some(now), is_ours: true };
                }
                self.order.now.get_or_insert(now);
            }
            Event::MainGone => {
                (self.order.is_ours, self.main_gone) = (true, Some(now));
                self.ask(now);
            }
            Event::Stalled { .. } => self.watched_from = now,
            Event::Timer => {}
        }
    }

    fn with(&mut self, slot: Slot, pid: Pid, change: impl FnOnce(&mut Worker)) {
        if let Some(worker) = self.process(pid).filter(|one| one.slot == slot && one.stays()) {
            change(worker);
        }
    }

    fn ask(&mut self, now: Tick) {
        if !self.is_stopping() {
            self.order.asked = Some(now);
        }
    }

    fn on_exit(&mut self, now: Tick, pid: Pid, group: Group) {
        let Some(place) = self.workers.iter().position(|one| one.pid == pid && !one.is_rest) else {
            return;
        };
        if group == Group::Empty {
            self.workers.swap_remove(place);
        } else {
            let worker = &mut self.workers[place];
            worker.is_rest = true;
            worker.told.get_or_insert(now);
        }
    }

    fn scale(&mut self, now: Tick, count: u16) {
        if !self.is_stopping() {
            self.rules.count = count;
            self.slots = self.slots.max(count.into());
            self.empty_since.resize(usize::from(count), Some(now));
            self.promised.clear();
            self.promised.resize(usize::from(count), Tick(0));
        }
    }

    /// What the pool orders, before it is done.
    pub fn on_command(&mut self, world: &mut World, command: Command) {
        world.expect(!self.finished, "stop_starts_nothing_and_ends", || {
            format!("{command:?} after Finish")
        });
        match command {
            Command::Fork { slot } => self.on_fork(world, slot),
            Command::Signal { pid, signal } => self.on_signal(world, pid, signal, false),
            Command::SignalGroup { pid, signal } => self.on_signal(world, pid, signal, true),
            Command::Look => {}
            Command::AnnounceReady => self.on_announce(world),
            Command::Finish { .. } => {
                self.finished = true;
                let over = self.is_stopping() && self.workers.is_empty() && self.forking.is_empty();
                world.expect(over, "a_pool_leaves_last", || format!("{self:#?}"));
            }
            Command::Tell(Report::Ready { pid, .. }) => {
                let now = world.now();
                let after = self.rules.ready_after;
                let is_ready = self.process(pid).is_some_and(|one| {
                    let lived = after.zip(one.runs).is_some_and(|(span, at)| now >= at.after(span));
                    let is_true = one.ready || lived;
                    one.ready = true;
                    is_true && one.stays()
                });
                world.expect(is_ready, "ready_is_said_by_the_worker_itself", || {
                    format!("{pid:?}: {self:#?}")
                });
            }
            Command::Tell(Report::Died { slot, next: Some(next), .. }) => {
                // Beyond its back-off it waits for what leaves it, unless that has left.
                let waits = self.workers.iter().any(|one| one.slot == slot && !one.stays());
                let wait = if waits { SECOND } else { Millis(0) };
                self.promise(slot, Tick(next.0 - wait.0));
            }
            Command::Tell(Report::ForkFailed { slot, next: Some(next) }) => {
                self.promise(slot, Tick(next.0 - SECOND.0));
            }
            Command::Tell(_) => {}
        }
    }

    /// What replaces a worker that stays has a back-off of its own.
    fn promise(&mut self, slot: Slot, next: Tick) {
        if self.workers.iter().any(|one| one.slot == slot && one.stays()) {
            return;
        }
        if let Some(promised) = self.promised.get_mut(slot.index()) {
            *promised = next;
        }
    }

    fn on_fork(&mut self, world: &mut World, slot: Slot) {
        let may = !self.is_stopping();
        world.expect(may, "stop_starts_nothing_and_ends", || format!("slot {slot}: {self:#?}"));
        let is_wanted = slot.number() <= self.rules.count;
        world.expect(is_wanted, "a_removed_slot_is_not_filled", || {
            format!("slot {slot}: {self:#?}")
        });
        let now = world.now();
        let promised = self.promised.get(slot.index()).copied();
        let is_early = promised.is_some_and(|at| now < at);
        world.expect(!is_early, "no_start_is_early", || format!("{now:?}: slot {slot}: {self:#?}"));
        let there = self.workers.iter().filter(|one| one.slot == slot && one.stays()).count()
            + self.forking.iter().filter(|&&forking| forking == slot).count();
        let most = usize::from(self.rules.lifetime > Millis(0));
        world.expect(there <= most, "a_slot_has_one_worker", || format!("slot {slot}: {self:#?}"));
        let rows = self.workers.len() + self.forking.len();
        world.expect(rows < self.rules.rows, "nothing_grows", || format!("{rows} rows: {self:#?}"));
        self.forking.push(slot);
    }

    fn on_signal(&mut self, world: &mut World, pid: Pid, signal: Signal, is_rest: bool) {
        let (now, rules, order) = (world.now(), self.rules, self.order);
        let watched_from = self.watched_from;
        let found = self.workers.iter_mut().find(|one| one.pid == pid && one.is_rest == is_rest);
        let Some(worker) = found else {
            return world.expect(false, "only_pinned_pids_are_signalled", || {
                format!("{signal:?} to {pid:?}: {self:#?}")
            });
        };
        let is_new = worker.sent < rank(signal);
        world.expect(is_new, "each_signal_is_sent_once", || format!("{signal:?}: {worker:#?}"));
        let in_time = worker.may_get(now, signal, rules, order, watched_from);
        world.expect(in_time, "no_signal_is_early", || {
            format!("{signal:?} at {now:?}: {worker:#?} {order:?} {rules:?}")
        });
        worker.sent |= rank(signal);
        if worker.told.is_none()
            && let Some(promised) = self.promised.get_mut(worker.slot.index())
        {
            // Its slot has a back-off of which nothing was told.
            *promised = Tick(0);
        }
        worker.told.get_or_insert(now);
        if signal == Signal::Abrt {
            worker.aborted = Some(now);
        }
        if signal == Signal::Int {
            worker.interrupted = Some(now);
        }
        worker.killed |= signal == Signal::Kill;
    }

    fn on_announce(&mut self, world: &mut World) {
        let full = Slot::first(self.rules.count).all(|slot| {
            self.workers.iter().any(|one| one.slot == slot && one.ready && one.stays())
        });
        world.expect(full && !self.announced, "ready_is_announced_once_when_every_slot_is", || {
            format!("{self:#?}")
        });
        self.announced = true;
    }

    /// Each slot, and each process beside it, has a row.
    fn has_room(&self) -> bool {
        let beside = self.workers.iter().filter(|one| !one.stays()).count();
        beside + self.slots < self.rules.rows
    }

    /// What must hold when all that was ordered is done.
    pub fn after(&mut self, world: &mut World, _: &Pool) {
        let now = world.now();
        let has_room = self.has_room();
        let Self { workers, forking, empty_since, .. } = self;
        for (since, slot) in empty_since.iter_mut().zip(Slot::first(Slot::LAST)) {
            let is_filled = workers.iter().any(|one| one.slot == slot && one.stays())
                || forking.contains(&slot);
            // Without a row a start waits for an end.
            *since = if is_filled { None } else { since.filter(|_| has_room).or(Some(now)) };
        }
        // Every slot, every one beside it that leaves, and what was told to.
        world.expect(workers.len() <= self.rules.rows, "nothing_grows", || format!("{self:#?}"));
    }

    /// What must be done by the end of a turn.
    pub fn after_turn(&mut self, world: &mut World, pool: &Pool) {
        if self.finished {
            return;
        }
        let now = world.now();
        let late = |due: Tick| now > due.after(LATE).after(LATE);
        if self.is_stopping() {
            return self.expect_end(world, late);
        }
        let most = Millis(self.rules.backoff.max_delay.0 / 4 * 5 + 1);
        let hungry =
            self.empty_since.iter().flatten().any(|&since| late(since.after(most).after(SECOND)));
        world.expect(
            !hungry || !self.has_room(),
            "wanted_start_waits_at_most_backoff_plus_one_second",
            || format!("{now:?}: {self:#?} {pool:#?}"),
        );
        for worker in &self.workers {
            let overdue = worker.is_overdue(self.rules, late);
            world.expect(!overdue, "deadlines_are_monotonic", || format!("{now:?}: {worker:#?}"));
        }
    }

    /// A stop by our own clock ends in time.
    fn expect_end(&self, world: &mut World, late: impl Fn(Tick) -> bool) {
        let Order { asked, now, is_ours } = self.order;
        let interrupt = asked.map(|at| at.after(self.rules.timeout)).into_iter().chain(now).min();
        let kill = interrupt.map_or(Tick::NEVER, |at| at.after(INT_TO_KILL));
        let kill = now.map_or(kill, |at| kill.min(at.after(SECOND)));
        // What was due by main's clock may have passed long ago.
        let kill = self.main_gone.map_or(kill, |at| kill.max(at));
        let is_told = |one: &Worker| one.told.is_some();
        world.expect(self.workers.iter().all(is_told), "stop_starts_nothing_and_ends", || {
            format!("not told to leave: {self:#?}")
        });
        let name = if self.main_gone.is_some() {
            "workers_of_a_dead_main_are_gone"
        } else {
            "stop_starts_nothing_and_ends"
        };
        // What was forked as the stop began has heard of it when it was there.
        let spared = |one: &&Worker| !one.killed && late(kill) && late(one.forked);
        let spared = if is_ours { self.workers.iter().find(spared) } else { None };
        world.expect(spared.is_none(), name, || format!("{spared:#?} in {self:#?}"));
    }
}

impl Worker {
    /// Whether it is time for that signal.
    fn may_get(
        &self,
        now: Tick,
        signal: Signal,
        rules: PoolRules,
        order: Order,
        watched: Tick,
    ) -> bool {
        let is_over =
            |since: Option<Tick>, span: Millis| since.is_some_and(|at| now >= at.after(span));
        match signal {
            Signal::Term => self.told.is_none() || self.is_rest,
            Signal::Abrt => {
                self.busy_since.is_some_and(|at| now >= at.max(watched).after(rules.hang_timeout))
            }
            Signal::Int => {
                is_over(self.told, rules.timeout)
                    || is_over(order.asked, rules.timeout)
                    || order.now.is_some()
            }
            Signal::Kill => {
                let all = Millis(rules.timeout.0 + INT_TO_KILL.0);
                is_over(self.aborted, SECOND)
                    || is_over(order.now, SECOND)
                    || is_over(order.asked, all)
                    || is_over(self.told, all)
            }
            Signal::Hup
            | Signal::Quit
            | Signal::Usr1
            | Signal::Usr2
            | Signal::Chld
            | Signal::Ttin
            | Signal::Ttou
            | Signal::Vtalrm
            | Signal::Winch
            | Signal::Pipe
            | Signal::Xfsz => false,
        }
    }

    /// Whether one that leaves alone, or is to become ready, has had its time.
    fn is_overdue(&self, rules: PoolRules, late: impl Fn(Tick) -> bool) -> bool {
        let Some(told) = self.told else {
            let waits = !self.ready && rules.ready_timeout > Millis(0);
            return waits && late(self.forked.after(rules.ready_timeout));
        };
        let first =
            if self.aborted.is_some() { SECOND } else { Millis(rules.timeout.0 + INT_TO_KILL.0) };
        !self.killed && late(told.after(first))
    }
}
