//! The monitor's loop: wait, tell the pool, do what it says.

use crate::error::{Error, Result, cannot};
use crate::monitor::pool::{
    Authority, Command, Event, FORKS_AT_ONCE, Group, Pool, PoolRules, Report, StopSender,
};
use crate::monitor::pool_report::PoolReports;
use crate::shared::listener::{self, Ending, given};
use crate::shared::listening_socket::Fallback;
use crate::shared::scoreboard::{Flags, RowRef, ScoreboardMap};
use crate::shared::scoreboard_rows::{RowOwner, Rows};
use crate::sys::fd::{self, Borrowed, Fd};
use crate::sys::file::{self, Mode};
use crate::sys::poll::{self, Source};
use crate::sys::signal::{self, PendingSignals, Saved, Wake};
use crate::sys::{clock, process};
use crate::text::Plural;
use crate::types::{Activity, Level, Millis, Pid, Signal, Slot, Tick};
use crate::{log, stall};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

/// The signals that are the library's while a pool runs.
const OURS: [Signal; 5] = [Signal::Term, Signal::Int, Signal::Chld, Signal::Ttin, Signal::Winch];
/// How long to leave poll(2) alone when it has failed.
const BREATHER: Millis = Millis(100);

/// What the workers of a pool are: how one is made, and how it is heard.
///
/// A type and no object, so that a program that has one kind alone does not
/// carry the other.
pub(super) trait PoolKind: Sized {
    /// What a worker can live with in a final stop without main.
    const FALLBACK: Fallback;
    /// Whether orphans below it come to the monitor, which then reaps every child.
    const ADOPTS: bool;

    /// Makes a worker for each of these slots, which writes in the row beside it, and
    /// says which process that is, if there is one. At most [`FORKS_AT_ONCE`].
    fn make(
        pool: &mut MonitorLoop<Self>,
        places: &[(Slot, RowRef)],
    ) -> [Option<Pid>; FORKS_AT_ONCE];

    /// Sends a signal to a worker that was not reaped; one that is dead is as good.
    fn signal(pool: &MonitorLoop<Self>, pid: Pid, signal: Signal);

    /// What is left of the group of a worker that was reaped, as far as that is this
    /// monitor's to end. As long as anything is, it is asked again at each death.
    fn group(pool: &MonitorLoop<Self>, pid: Pid) -> Group {
        let _ = (pool, pid);
        Group::Empty
    }

    /// Sends a signal to what is left of the group of a worker that was reaped.
    fn signal_group(pool: &MonitorLoop<Self>, pid: Pid, signal: Signal) {
        let _ = (pool, pid, signal);
    }

    /// Adds where workers are heard.
    fn add_sources<'a>(&'a self, sources: &mut Vec<Source<'a>>);

    /// When [`PoolKind::take_notifications`] has something to do at the latest.
    fn deadline(&self) -> Option<Tick>;

    /// Whether no other thread of this process waits for its children.
    fn waits_alone(&self) -> bool {
        true
    }

    /// A child was reaped that is no worker.
    fn note_orphan(&mut self, pid: Pid);

    /// Takes in what workers have said.
    fn take_notifications(pool: &mut MonitorLoop<Self>, now: Tick);

    /// Takes in what a child has said that is dead and was not reaped yet.
    fn take_last_words(pool: &mut MonitorLoop<Self>, now: Tick, pid: Pid);

    /// Takes note of what the worker `pid` does now, as the pool has it. Of one
    /// that is dead it says why it was none, if that is known.
    fn note(
        pool: &mut MonitorLoop<Self>,
        now: Tick,
        pid: Pid,
        activity: Activity,
    ) -> Option<String>;

    /// The word for what a worker does.
    fn shown(activity: Activity) -> &'static str {
        activity.name()
    }
}

/// A pool that runs.
pub(super) struct MonitorLoop<K> {
    pub(super) kind: K,
    pub(super) rules: PoolRules,
    pub(super) pool: Pool,
    pub(super) scoreboard: ScoreboardMap,
    pub(super) rows: Rows,
    pub(super) above: Option<Above>,
    /// The number of our generation; 0 when the program runs alone.
    pub(super) generation: u32,
    pub(super) dev_null: Borrowed<'static>,
    pub(super) wake: Wake,
    saved: Vec<Saved>,
    /// When the last turn began.
    pub(super) woke: Tick,
    /// The last look at all workers, and the next one if it is wanted.
    pub(super) swept: Tick,
    pub(super) sweep: Option<Tick>,
    /// How many rests of groups were looked at.
    pub(super) looked: usize,
    /// How many workers were ever made.
    forks: usize,
    pub(super) reports: PoolReports,
    /// Whether the stop, once it is over, had to kill a worker.
    finished: Option<bool>,
    /// Empty: what the next wait is for.
    sources: Vec<Source<'static>>,
}

/// Main, as long as it lives.
pub(super) struct Above {
    pub(super) lifeline: Fd,
}

/// The lifeline as a description of our own, whose end lets us go on if we are
/// stopped: the kernel's SIGTERM alone would wait for that. Main's session is
/// another one, so no orphaned group of ours is let go on with main's death.
/// Without /proc it stays the one of all generations, and a monitor that is stopped
/// outlives main.
fn own_lifeline(lifeline: Fd) -> Fd {
    match file::reopen(lifeline.borrow(), Mode::Read) {
        Ok(own) if fd::go_on_at_hangup(own.borrow()).is_ok() => own,
        Ok(_) | Err(_) => lifeline,
    }
}

pub(super) fn cannot_set_up(errno: crate::error::Errno) -> Error {
    Error::system(format_args!("cannot set up the monitor"), errno)
}

impl<K: PoolKind> MonitorLoop<K> {
    /// Sets everything up; nothing is forked yet.
    pub(super) fn new(kind: K, rules: PoolRules, authority: Authority) -> Result<Self> {
        let main = given(|given| {
            let main = given.inherited.main.as_mut()?;
            Some((main.generation, main.board.take(), main.lifeline.take()))
        });
        let (above, generation, board) = match main {
            Some((generation, board, Some(lifeline))) => {
                (Some(Above { lifeline: own_lifeline(lifeline) }), generation, board)
            }
            Some((_, _, None)) | None => (None, 0, None),
        };
        let scoreboard = board
            .as_ref()
            .map_or_else(ScoreboardMap::alone, |board| ScoreboardMap::map(board.borrow()));
        let scoreboard = scoreboard.map_err(cannot_set_up)?;
        let dev_null =
            file::open(c"/dev/null", Mode::ReadWrite).map_err(cannot("open /dev/null"))?;
        let dev_null: &'static Fd = Box::leak(Box::new(dev_null));
        let (now, has_main) = (clock::now(), above.is_some());
        Ok(Self {
            kind,
            rules,
            pool: Pool::new(rules, authority, now),
            scoreboard,
            rows: Rows::new(scoreboard),
            above,
            generation,
            dev_null: dev_null.borrow(),
            wake: Wake::open().map_err(cannot_set_up)?,
            saved: Vec::new(),
            woke: now,
            swept: now,
            sweep: None,
            looked: 0,
            forks: 0,
            reports: PoolReports::new(generation, has_main),
            finished: None,
            sources: Vec::new(),
        })
    }

    /// Runs until the pool says that it is over.
    pub(super) fn run(&mut self) -> Result<()> {
        process::set_name(c"panzer:monitor");
        let blocked = signal::block_all();
        for signal in OURS {
            self.saved.push(signal::save(signal));
            signal::catch(signal);
        }
        self.scoreboard.begin(self.rules.count);
        // Main may have asked before there was a handler to ask.
        self.scale(clock::now());
        blocked.let_through(&OURS);
        let killed = loop {
            match self.finished {
                None => self.turn(),
                Some(killed) => break killed,
            }
        };
        // First, so that what the program holds back does not come to what it
        // does by default.
        drop(blocked);
        self.restore_dispositions();
        if killed {
            return Err(Error::plain(format_args!("shutdown complete; a worker had to be killed")));
        }
        Ok(())
    }

    /// The pool is over. Main may have looked at the board a moment ago and be about to
    /// ask for the status, which is not for a handler that the application had before.
    fn restore_dispositions(&mut self) {
        let has_main = self.generation > 0;
        for saved in self.saved.drain(..) {
            if has_main && saved.signal() == Signal::Ttin {
                signal::ignore(Signal::Ttin);
            } else {
                saved.restore();
            }
        }
    }

    /// In a worker: what is not a worker's own signal is as it was before.
    pub(super) fn restore_other_dispositions(&self) {
        let own = |signal: Signal| matches!(signal, Signal::Term | Signal::Int);
        for saved in self.saved.iter().filter(|saved| !own(saved.signal())) {
            saved.restore();
        }
    }

    /// Waits once and takes in all that has happened.
    fn turn(&mut self) {
        let deadline = self.pool.deadline().into_iter().chain(self.wakes_at()).min();
        let mut sources = poll::reuse(mem::take(&mut self.sources));
        self.add_sources(&mut sources);
        let wait = || self.wait(&mut sources, deadline);
        let (main_gone, now, lost) = stall::over(clock::now, deadline, wait);
        self.sources = poll::reuse(sources);
        self.woke = now;
        let forks = self.forks;
        if let Some(by) = lost {
            self.step(now, Event::Stalled { by });
        }
        self.wake.empty();
        let died = signal::take_pending(Signal::Chld);
        // What the dead have said before they died counts, so they are named first.
        let dead = signal::noted_deaths();
        K::take_notifications(self, now);
        self.reap(now, died, dead);
        // After the dead: a stop that was sent before a death is seen with it.
        let pending = signal::take();
        let died = died || pending.has(Signal::Chld);
        if pending.has(Signal::Chld) {
            self.want_sweep(now);
        }
        if main_gone {
            self.lose_main(now);
        }
        self.act_on_signals(now, &pending);
        if self.pool.deadline().is_some_and(|deadline| deadline <= now) {
            self.step(now, Event::Timer);
        }
        if died {
            self.reap_unnamed(now);
        }
        self.watch_for_hangs();
        // What was just forked has the processor first; it is not the last turn then.
        if self.forks == forks || self.reports.due().is_some_and(|due| due <= now) {
            self.tell();
        }
        self.tell_again();
    }

    /// Tells the log and main what has happened: whatever else is told comes later.
    fn tell(&mut self) {
        self.reports.tell(&mut self.rows);
    }

    /// What to wait for; the second is main's end where main is above.
    fn add_sources<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        sources.push(Source::readable(self.wake.source()));
        sources.extend(self.above.iter().map(|above| Source::readable(above.lifeline.borrow())));
        self.kind.add_sources(sources);
    }

    /// Blocks until something happens; says whether main is gone.
    fn wait(&self, sources: &mut [Source<'_>], deadline: Option<Tick>) -> bool {
        if let Err(errno) = poll::wait(sources, deadline) {
            // Out of memory, which may pass; the workers serve on meanwhile.
            log::log(Level::Error, format_args!("poll failed: {errno}; retrying in 100 ms"));
            let _ = poll::wait(&mut [], Some(clock::now().after(BREATHER)));
            return false;
        }
        self.above.is_some() && sources.get(1).is_some_and(Source::is_readable)
    }

    /// Tells main what has come together, and main and a service manager what they had no
    /// room for before.
    fn tell_again(&self) {
        let lost = given(|given| given.inherited.pay());
        if lost > 0 {
            let lost = Plural(lost.into(), "report");
            log::log(Level::Warn, format_args!("pool: {lost} dropped: main did not read them"));
        }
    }

    /// When to tell again what main, or a service manager, had no room for; `None` when it
    /// was told.
    pub(super) fn tells_again_at() -> Option<Tick> {
        given(|given| given.inherited.owes()).then(|| clock::now().after(BREATHER))
    }

    /// Whether main has died, asked of the kernel just now. Nothing is ever written
    /// into its lifeline.
    fn main_is_gone(&self) -> bool {
        let Some(above) = &self.above else { return false };
        let mut source = [Source::readable(above.lifeline.borrow())];
        poll::wait(&mut source, Some(Tick(0))).is_ok() && source.iter().any(Source::is_ready)
    }

    /// From now on there is no main above us.
    fn lose_main(&mut self, now: Tick) {
        if self.above.take().is_some() {
            self.tell();
            self.reports.lose_main();
            log::log(Level::Warn, format_args!("lost main process, shutting down"));
            self.begin_final_stop();
            self.step(now, Event::MainGone);
        }
    }

    /// Does what the signals say.
    fn act_on_signals(&mut self, now: Tick, pending: &PendingSignals) {
        if pending.has(Signal::Ttin) {
            self.tell();
            self.log_status(now);
        }
        if pending.has(Signal::Winch) {
            self.scale(now);
        }
        if pending.has(Signal::Term) {
            self.stop(now);
        }
        // One signal may stand for two, and the kernel tells of the first sender: so
        // main has written that it sends one.
        let told = self.scoreboard.wants(Flags::Now) || pending.interrupts_by_parent > 0;
        if pending.interrupts > 0 && self.above.is_some() && told {
            return self.step(now, Event::StopNow { by: StopSender::Main });
        }
        for _ in 0..pending.interrupts.min(2) {
            if self.pool.is_stopping() {
                self.step(now, Event::StopNow { by: StopSender::Stranger });
            } else {
                self.stop(now);
            }
        }
    }

    /// A graceful stop. Main's death comes as a SIGTERM too.
    fn stop(&mut self, now: Tick) {
        if self.main_is_gone() {
            return self.lose_main(now);
        }
        if self.above.is_none() || self.scoreboard.wants(Flags::Final) {
            self.begin_final_stop();
        }
        // Another process than main may have asked us, and then another generation has
        // to take our place.
        if !self.pool.is_stopping() {
            self.tell();
            self.reports.say(format_args!("STOPPING=1"));
        }
        self.step(now, Event::Stop);
    }

    /// The port goes away with us: no new connections, and the workers are told to
    /// empty the queue. Where a process above keeps the socket, neither.
    fn begin_final_stop(&self) {
        let held = self.scoreboard.wants(Flags::Held) || given(|given| given.any_held());
        if !held {
            self.scoreboard.set_flag(Flags::Final);
        }
        listener::replace_with_dev_null(
            Ending::of(held, self.above.is_some(), K::FALLBACK),
            self.dev_null,
        );
    }

    pub(super) fn step(&mut self, now: Tick, event: Event) {
        let (mut events, mut next) = (alloc::vec![(event, None)], 0);
        let mut commands = Vec::new();
        while let Some(&(event, row)) = events.get(next) {
            next += 1;
            if let (Event::Forked { slot, pid }, Some(row)) = (event, row) {
                self.on_forked(now, slot, row, pid);
            }
            self.pool.step(now, event, &mut commands);
            self.count();
            let fork = |one: &Command, other: &Command| one.slot().and(other.slot()).is_some();
            for run in mem::take(&mut commands).chunk_by(fork) {
                self.act(now, run, &mut events);
            }
        }
    }

    /// Makes workers for slots, each with a row of its own. All of that is noted when the
    /// last is made: after each fork, every page that is written is copied first.
    fn fork(
        &mut self,
        slots: impl Iterator<Item = Slot>,
        events: &mut Vec<(Event, Option<RowRef>)>,
    ) {
        let mut places = Vec::new();
        for slot in slots {
            match self.rows.reserve(slot) {
                Some(row) => places.push((slot, row)),
                // The pool orders no more processes than there are rows.
                None => events.push((Event::ForkFailed { slot }, None)),
            }
        }
        for some in places.chunks(FORKS_AT_ONCE) {
            for (&(slot, row), made) in some.iter().zip(K::make(self, some)) {
                let event = match made {
                    Some(pid) => Event::Forked { slot, pid },
                    None => Event::ForkFailed { slot },
                };
                if made.is_none() {
                    self.rows.give_back(slot, row);
                }
                events.push((event, Some(row)));
            }
        }
        self.forks = self.forks.wrapping_add(places.len());
    }

    /// Does one thing, or forks for all of these slots, and adds what came of it if the pool
    /// has to know; of a fork with the row of the worker.
    fn act(&mut self, now: Tick, run: &[Command], events: &mut Vec<(Event, Option<RowRef>)>) {
        let Some(&first) = run.first() else { return };
        match first {
            Command::Fork { .. } => self.fork(run.iter().filter_map(Command::slot), events),
            Command::Signal { pid, signal } => {
                K::signal(self, pid, signal);
                K::note(self, now, pid, Activity::Draining);
            }
            Command::SignalGroup { pid, signal } => K::signal_group(self, pid, signal),
            Command::AnnounceReady => {
                self.tell();
                let level = if self.above.is_some() { Level::Debug } else { Level::Info };
                let count = Plural(self.rules.count.into(), "worker");
                log::log(level, format_args!("pool: {count} ready"));
                given(listener::ListenTable::announce_ready);
            }
            Command::Finish { killed } => {
                if killed {
                    self.scoreboard.killed();
                }
                self.finished = Some(killed);
            }
            Command::Look => events.extend(self.look().into_iter().map(|event| (event, None))),
            Command::Tell(report) => self.note(now, report),
        }
    }

    /// A slot has a worker, perhaps beside another one: the board says so.
    fn on_forked(&mut self, now: Tick, slot: Slot, row: RowRef, pid: Pid) {
        let was_filled = self.rows.forked(slot, row, pid, now);
        let is_replacement = self.pool.is_replaced(slot);
        if is_replacement {
            log::log(
                Level::Debug,
                format_args!("worker {slot} (pid {pid}): started as replacement (--lifetime)"),
            );
        } else {
            log::log(Level::Debug, format_args!("worker {slot} (pid {pid}): started"));
        }
        if was_filled && !is_replacement {
            self.reports.add_respawned(now, slot, pid);
        }
    }

    /// The board says how the slots are.
    fn count(&self) {
        let (count, before, since) =
            (self.pool.count(), self.pool.before_ready(), self.pool.since_ready());
        self.scoreboard.count(count, self.pool.ready(), before, since);
    }

    /// Takes note of what the pool tells; the board shows it at once.
    fn note(&mut self, now: Tick, report: Report) {
        let known = match report {
            Report::Ready { pid, .. } => K::note(self, now, pid, Activity::Idle),
            Report::Died { pid, exit, reason, group, .. } => {
                self.rows.died(pid, exit, reason, group == Group::Members, now);
                K::note(self, now, pid, Activity::Empty)
            }
            Report::TookOver { slot, pid } => {
                return self.reports.add_respawned(now, slot, pid);
            }
            Report::Hung { .. }
            | Report::Late { .. }
            | Report::ForkFailed { .. }
            | Report::AllReady
            | Report::Scaled { .. } => None,
        };
        self.reports.add(now, report, known);
    }

    fn log_status(&self, now: Tick) {
        // Numbers, as main sorts them too: for each type core's sort is 4 KB more.
        let key =
            |owner: &RowOwner| i32::from(owner.slot.number()) << 16 | i32::from(owner.row.number());
        let mut keys: Vec<_> = self.rows.owners().iter().map(key).collect();
        keys.sort_unstable();
        let mut rows = keys.into_iter().map(|key| (key >> 16, RowRef::at(key as u16))).peekable();
        for slot in Slot::first(self.rules.count) {
            let mut is_empty = true;
            while let Some((other, row)) = rows.next_if(|row| row.0 <= slot.number().into()) {
                is_empty &= other != slot.number().into();
                self.log_tenant(now, other, row);
            }
            if is_empty {
                log::log(Level::Info, format_args!("status: worker {slot}: empty"));
            }
        }
        rows.for_each(|(slot, row)| self.log_tenant(now, slot, row));
    }

    fn log_tenant(&self, now: Tick, slot: i32, row: RowRef) {
        let pid = self.scoreboard.pid(row);
        let (state, since) = self.scoreboard.state(row);
        let (state, since) = (K::shown(state), now.since(since));
        log::log(
            Level::Info,
            format_args!("status: worker {slot} (pid {pid}): {state} for {since}"),
        );
    }
}
