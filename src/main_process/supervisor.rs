//! What main decides about its generations: the whole state machine.
//!
//! One generation is current. A reload starts another beside it, which has to be
//! ready and to pass its probation before the current one is asked to leave; until
//! then nothing that happens to the new one changes anything for the current one. A
//! current generation whose monitor dies is replaced, after a growing wait if that
//! goes on. A stop ends all of them, and main leaves last.
//!
//! Pure: no system call, no clock, no log. [`MainProcess`](super::MainProcess)
//! reports what has happened as an [`Event`], and performs each [`Command`] in order.
//!
//! # A generation: [`GenerationState`]
//!
//! ```text
//! Spawning
//!    │ Spawned
//!    ▼          Runs, with --ready SECS
//! Starting ───────────────────────► MinUptime
//!    │ Ready                           │ Ready, or due
//!    ├─────────────────────────────────┘
//!    │ one is current           SlotUnready
//!    ├───────────────► Probation ◄──────────► Refilling    a slot has no ready worker
//!    │                     │      AllReady      │
//!    │ none is current     │ due                │ AllReady, and the probation is over
//!    ▼                     ▼                    │
//! Current ◄────────────────┴────────────────────┘
//!    │ another was promoted; Gone, MonitorStopping; a final stop
//!    ▼
//! Leaving ── all its processes were reaped: Gone or Empty ──► forgotten
//! ```
//!
//! What is not current and not leaving is an attempt: there is at most one. It comes
//! to nothing for one of these reasons, which `Command::FailStart` or
//! `Command::RollBack` names, and then leaves:
//!
//! | [`Failure`] | from | when |
//! | --- | --- | --- |
//! | `NotSpawned` | `Spawning`, `Starting` | there is no process, or it cannot execute its program |
//! | `Late` | `Starting` | it was not ready within the ready timeout |
//! | `MonitorExited` | all but `Spawning` | its monitor is gone |
//! | `MonitorStopping` | all but `Spawning` | it says that it stops, and main has not asked it to |
//! | `Losing` | all but `Spawning` | a slot has lost two workers, or each slot one |
//! | `SlotUnready` | `Refilling` | a slot had no ready worker for the ready timeout |
//!
//! One that is `Starting` for long is told of once ([`Report::Slow`]): what it waits for is
//! known before the ready timeout.
//!
//! Before it was ready that is a start that failed: with no current generation the
//! next one is due after its back-off, and main gives up after so many if nothing was
//! ever ready. From `Probation` and `Refilling` it is a rollback (rule:
//! probation.rollback). In neither case is a reload repeated.
//!
//! If the current monitor is gone or stops, one that is on probation is current at
//! once, one that is starting is waited for, and else the next one is due.
//!
//! # Leaving: [`Escalation`]
//!
//! What was sent last. The lower row is for one whose place a fourth generation waits
//! for: at most three are alive, not counting those that were sent SIGKILL.
//!
//! ```text
//! Term: SIGTERM ─── timeout ──► Int: SIGINT ───────── 2 s ─────┐
//!   │ crowded                     │ crowded                    ├─► Kill: SIGKILL ── 1 s ──► GaveUp
//!   ▼                             ▼                            │
//! TermCrowded ───── 0.8 s ────► IntCrowded: SIGINT ── 0.2 s ───┘
//! ```
//!
//! With no current generation `Term` goes to `IntCrowded` at once. The signals go to
//! the monitor, which passes them on, and once it is gone to what is left of its
//! session; SIGKILL goes to both.
//!
//! # Main: [`Shutdown`]
//!
//! ```text
//!  ┌── Stop, with a drain delay ──► Delayed ── due, or none is current ──┐
//!  │                                   │                                 ▼
//! No ── Stop; gave up; no such program ┼────────────────────────────► Graceful ─┐
//!  │                                   │                                 │      ├─► Finished
//!  └── StopNow ────────────────────────┴──────────► Immediate ◄─ StopNow ┘      │
//!                                                      └── all gone or GaveUp ──┘
//! ```
//!
//! `Graceful` sends SIGTERM to all with one deadline, `Immediate` SIGINT, and SIGKILL a
//! second later. From `Delayed` on nothing is started. Main has a stop be delayed for
//! handshakes that are under way, too.

use crate::backoff::BackoffState;
use crate::exec_result::ExecResult;
use crate::persist::persisted;
use crate::types::{Generation, Millis, Pid, Signal, Stage, Tick};
use alloc::vec::Vec;

pub use crate::main_process::supervisor_events::{
    Command, Event, Failure, Readiness, Report, Session, SupervisorRules, is_losing,
};

/// How many generations may be alive.
const MOST_ALIVE: usize = 3;

/// The decisions of main.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Supervisor {
    rules: SupervisorRules,
    generations: Vec<GenerationEntry>,
    next: Generation,
    /// When the next generation is wanted.
    wanted: Tick,
    /// The monitor's deaths in a row.
    backoff: BackoffState,
    past: Past,
    stop: Shutdown,
}

/// Whether anything has ever been ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Past {
    /// Nothing has; so many starts have failed.
    NeverReady {
        failed: u32,
        /// When the first of these was wanted.
        since: Tick,
    },
    /// Something has.
    Ready,
}

/// Whether main is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shutdown {
    /// It is not.
    No,
    /// It is, and goes on serving until then.
    Delayed { until: Tick },
    /// Every generation was asked to leave.
    Graceful { interrupt: Tick, status: u8 },
    /// Every generation was told to leave at once.
    Immediate { status: u8 },
    /// `Finish` was ordered.
    Finished,
}

persisted! { struct Supervisor { rules, generations, next, wanted, backoff, past, stop } }
persisted! { enum Past { 0 = NeverReady { failed, since }, 1 = Ready } }
persisted! {
    enum Shutdown {
        0 = No, 1 = Delayed { until }, 2 = Graceful { interrupt, status }, 3 = Immediate { status },
        4 = Finished,
    }
}

impl Supervisor {
    /// A supervisor that wants its first generation now.
    pub fn new(rules: SupervisorRules, now: Tick) -> Self {
        Self {
            rules,
            generations: Vec::new(),
            next: Generation(1),
            wanted: now,
            backoff: BackoffState::new(rules.seed),
            past: Past::NeverReady { failed: 0, since: now },
            stop: Shutdown::No,
        }
    }

    /// Keeps to other rules from the next generation on; those that there are
    /// keep to what they were started with.
    pub const fn configure(&mut self, rules: SupervisorRules) {
        self.rules = rules;
    }

    /// Takes note of `event` and orders what follows from it.
    pub fn step(&mut self, now: Tick, event: Event, commands: &mut Vec<Command>) {
        match event {
            Event::Reload => self.reload(now),
            Event::Stop => self.stop(now, commands),
            Event::StopNow => self.stop_now(now, commands),
            Event::Spawned { generation, monitor } => {
                self.on_spawned(now, generation, monitor, commands)
            }
            Event::SpawnFailed { generation } => self.on_spawn_failed(now, generation, commands),
            Event::Runs { generation } => self.on_runs(now, generation),
            Event::Ready { generation } => self.on_ready(now, generation, commands),
            Event::Losing { generation } => self.on_losing(now, generation, commands),
            Event::SlotUnready { generation } => self.on_slot_unready(now, generation),
            Event::AllReady { generation } => self.on_all_ready(now, generation, commands),
            Event::MonitorStopping { generation } => self.on_stopping(now, generation, commands),
            Event::Gone { generation, exec, session } => {
                self.on_exit(now, generation, exec, session, commands)
            }
            Event::Empty { generation } => self.on_empty(generation, commands),
            Event::Forced => self.on_forced(),
            // Nothing is started before what came meanwhile is known.
            Event::Stalled { by } => return self.on_stalled(by),
            Event::Timer => self.on_timer(now, commands),
        }
        self.start_wanted(now, commands);
    }

    /// When to come back with [`Event::Timer`] at the latest; `None` when only
    /// something that happens can change anything.
    pub fn deadline(&self) -> Option<Tick> {
        let first = match self.stop {
            Shutdown::Delayed { until } => until,
            Shutdown::No if self.can_start() || self.can_make_room() => self.wanted,
            Shutdown::No
            | Shutdown::Graceful { .. }
            | Shutdown::Immediate { .. }
            | Shutdown::Finished => Tick::NEVER,
        };
        let due = self.generations.iter().fold(first, |due, entry| due.min(entry.next_look()));
        (due != Tick::NEVER).then_some(due)
    }

    /// The generation that is starting or on probation, if one is.
    pub fn attempt(&self) -> Option<Generation> {
        self.generations.iter().find(|entry| entry.is_attempt()).map(|entry| entry.generation)
    }

    fn entry(&mut self, generation: Generation) -> Option<&mut GenerationEntry> {
        self.generations.iter_mut().find(|entry| entry.generation == generation)
    }

    fn current(&mut self) -> Option<&mut GenerationEntry> {
        self.generations.iter_mut().find(|entry| entry.state == GenerationState::Current)
    }

    fn can_start(&self) -> bool {
        let alive = self.generations.iter().filter(|entry| entry.is_alive()).count();
        self.stop == Shutdown::No && alive < MOST_ALIVE && self.attempt().is_none()
    }

    /// Which generation has to make room for a start that is due: the one whose drain
    /// is over first. One that hurries already has a deadline of its own.
    fn in_the_way(&mut self) -> Option<&mut GenerationEntry> {
        if !self.can_make_room() {
            return None;
        }
        let drains =
            self.generations.iter_mut().filter_map(|entry| Some((entry.drained_at()?, entry)));
        drains.min_by_key(|(at, _)| *at).map(|(_, entry)| entry)
    }

    fn can_make_room(&self) -> bool {
        let is_hurrying = |entry: &GenerationEntry| {
            matches!(
                entry.state,
                GenerationState::Leaving(Escalation::TermCrowded | Escalation::IntCrowded)
            )
        };
        self.attempt().is_none()
            && !self.generations.iter().any(is_hurrying)
            && self.generations.iter().any(|entry| entry.drained_at().is_some())
    }

    /// One more generation is wanted, at `due` or at an earlier wish.
    fn want(&mut self, due: Tick) {
        self.wanted = self.wanted.min(due);
    }

    fn reload(&mut self, now: Tick) {
        if self.stop == Shutdown::No {
            self.want(now);
        }
    }

    fn on_spawned(
        &mut self,
        now: Tick,
        generation: Generation,
        monitor: Pid,
        commands: &mut Vec<Command>,
    ) {
        let stop = self.stop;
        let Some(entry) = self.entry(generation) else { return };
        if entry.state != GenerationState::Spawning {
            return;
        }
        let slow = entry.rules.slow_at(now);
        (entry.state, entry.due) =
            (GenerationState::Starting { slow }, now.after(entry.rules.ready_timeout));
        (entry.leader, entry.since) = (Some(Leader::Monitor(monitor)), now);
        commands.push(Command::Tell(Report::Started(generation, monitor)));
        match stop {
            Shutdown::No => {}
            Shutdown::Delayed { .. } => entry.ask(now.after(entry.rules.timeout), commands),
            Shutdown::Graceful { interrupt, .. } => entry.ask(interrupt, commands),
            Shutdown::Immediate { .. } | Shutdown::Finished => entry.interrupt_now(now, commands),
        }
    }

    fn on_spawn_failed(&mut self, now: Tick, generation: Generation, commands: &mut Vec<Command>) {
        if self.entry(generation).is_some_and(|entry| entry.state == GenerationState::Spawning) {
            self.failed(now, generation, Failure::NotSpawned, commands);
            self.on_empty(generation, commands);
        }
    }

    /// What is to live for some time lives from here on, if that is over in time.
    fn on_runs(&mut self, now: Tick, generation: Generation) {
        let Some(entry) = self.entry(generation) else { return };
        if let (GenerationState::Starting { .. }, Readiness::After(span)) =
            (entry.state, entry.rules.readiness)
            && now.after(span) <= entry.due
        {
            (entry.state, entry.due) = (GenerationState::MinUptime, now.after(span));
        }
    }

    fn on_ready(&mut self, now: Tick, generation: Generation, commands: &mut Vec<Command>) {
        let beside = self.current().is_some();
        let Some(entry) = self.entry(generation) else { return };
        if !entry.is_starting() {
            return;
        }
        let probation = entry.rules.probation;
        commands.push(Command::Tell(Report::Ready(generation, now.since(entry.since))));
        (entry.state, entry.since, entry.due) =
            (GenerationState::Probation, now, now.after(probation));
        self.past = Past::Ready;
        if beside && probation > Millis(0) {
            commands.push(Command::Tell(Report::Probation(generation, probation)));
        } else {
            self.promote(now, generation, commands);
        }
    }

    /// Makes the one on probation current, and asks the old one to leave.
    fn promote(&mut self, now: Tick, generation: Generation, commands: &mut Vec<Command>) {
        let old = self.current().map(|old| old.generation);
        let Some(entry) = self.entry(generation) else { return };
        if !matches!(entry.state, GenerationState::Probation | GenerationState::Refilling { .. }) {
            return;
        }
        (entry.state, entry.due) = (GenerationState::Current, Tick::NEVER);
        commands.push(Command::Promote { generation });
        if let Some(old) = old.and_then(|old| self.entry(old)) {
            old.ask(now.after(old.rules.timeout), commands);
        }
    }

    fn on_stalled(&mut self, by: Millis) {
        for entry in &mut self.generations {
            entry.due = entry.due.after(by);
            entry.place_by = entry.place_by.after(by);
            if let GenerationState::Refilling { ends: at }
            | GenerationState::Starting { slow: at } = &mut entry.state
            {
                *at = at.after(by);
            }
        }
        if let Past::NeverReady { since, .. } = &mut self.past {
            *since = since.after(by);
        }
        self.wanted = self.wanted.after(by);
        match &mut self.stop {
            Shutdown::Delayed { until: due } | Shutdown::Graceful { interrupt: due, .. } => {
                *due = due.after(by);
            }
            Shutdown::No | Shutdown::Immediate { .. } | Shutdown::Finished => {}
        }
    }

    /// Everything whose time has come.
    fn on_timer(&mut self, now: Tick, commands: &mut Vec<Command>) {
        let mut next = 0;
        while let Some(entry) = self.generations.get_mut(next) {
            next += 1;
            entry.tell_slow(now, commands);
            if entry.due > now {
                continue;
            }
            let generation = entry.generation;
            match entry.state {
                GenerationState::Spawning | GenerationState::Current => {}
                GenerationState::MinUptime => self.on_ready(now, generation, commands),
                GenerationState::Starting { .. } => {
                    entry.ask(now.after(entry.rules.timeout), commands);
                    let reason = Failure::Late(entry.rules.ready_timeout);
                    self.failed(now, generation, reason, commands);
                }
                GenerationState::Probation => self.promote(now, generation, commands),
                GenerationState::Refilling { .. } => {
                    let reason = Failure::SlotUnready(entry.rules.ready_timeout);
                    self.roll_back(now, generation, reason, commands);
                }
                GenerationState::Leaving(step) => {
                    entry.escalate(step, now, commands);
                    if matches!(step, Escalation::Int | Escalation::IntCrowded) {
                        self.on_forced();
                    }
                }
            }
        }
        if matches!(self.stop, Shutdown::Delayed { until } if until <= now) {
            self.begin_stop(now, 0, commands);
        }
    }

    /// Starts what is wanted, makes room for it, or leaves.
    fn start_wanted(&mut self, now: Tick, commands: &mut Vec<Command>) {
        let due = self.wanted <= now;
        if due && self.can_start() {
            let generation = self.next;
            self.next = generation.next();
            self.wanted = Tick::NEVER;
            self.generations.push(GenerationEntry::new(generation, self.rules, now));
            commands.push(Command::Spawn { generation });
        } else if due && self.stop == Shutdown::No {
            let is_urgent = self.current().is_none();
            if let Some(entry) = self.in_the_way() {
                entry.shorten_drain(now, is_urgent, commands);
            }
        }
        self.finish(commands);
    }
}

// ----------------------------------------------------------------------------
// Probation: a new generation is judged by its workers, and one that stops
//
// One with a slot to refill is not promoted before each slot has a ready worker,
// for which it has as long as for its start.
// ----------------------------------------------------------------------------

impl Supervisor {
    /// It has lost more workers than a new generation may.
    pub(super) fn on_losing(
        &mut self,
        now: Tick,
        generation: Generation,
        commands: &mut Vec<Command>,
    ) {
        let Some(entry) = self.entry(generation) else { return };
        if entry.is_starting() {
            // A pool ends those that are late at the same time.
            let is_late =
                matches!(entry.state, GenerationState::Starting { .. }) && entry.due <= now;
            let limit = entry.rules.ready_timeout;
            let failure = if is_late { Failure::Late(limit) } else { Failure::Losing };
            entry.ask(now.after(entry.rules.timeout), commands);
            self.failed(now, generation, failure, commands);
        } else {
            self.roll_back(now, generation, Failure::Losing, commands);
        }
    }

    /// A slot of it has no ready worker.
    pub(super) fn on_slot_unready(&mut self, now: Tick, generation: Generation) {
        let Some(entry) = self.entry(generation) else { return };
        if entry.state == GenerationState::Probation {
            let ends = entry.due;
            (entry.state, entry.due) =
                (GenerationState::Refilling { ends }, now.after(entry.rules.ready_timeout));
        }
    }

    /// Every slot of it has a ready worker.
    pub(super) fn on_all_ready(
        &mut self,
        now: Tick,
        generation: Generation,
        commands: &mut Vec<Command>,
    ) {
        let Some(entry) = self.entry(generation) else { return };
        let GenerationState::Refilling { ends } = entry.state else { return };
        (entry.state, entry.due) = (GenerationState::Probation, ends);
        if ends <= now {
            self.promote(now, generation, commands);
        }
    }

    /// Rolls back an attempt whose monitor lives, and so has to be asked to leave. For one
    /// that stops by itself, or is gone, see [`on_stopping`](Self::on_stopping) and
    /// [`on_exit`](Self::on_exit).
    pub(super) fn roll_back(
        &mut self,
        now: Tick,
        generation: Generation,
        reason: Failure,
        commands: &mut Vec<Command>,
    ) {
        let Some(entry) = self.entry(generation) else { return };
        if matches!(entry.state, GenerationState::Probation | GenerationState::Refilling { .. }) {
            commands.push(Command::RollBack { generation, reason });
            entry.ask(now.after(entry.rules.timeout), commands);
        }
    }

    /// Its monitor stops, asked by another process. It is left to its drain, and the
    /// end of that is not waited for: a current one is followed at once.
    pub(super) fn on_stopping(
        &mut self,
        now: Tick,
        generation: Generation,
        commands: &mut Vec<Command>,
    ) {
        let Some(entry) = self.entry(generation) else { return };
        let (before, since, reason) = (entry.state, entry.since, Failure::MonitorStopping);
        match before {
            GenerationState::Spawning | GenerationState::Leaving(_) => return,
            GenerationState::Starting { .. }
            | GenerationState::MinUptime
            | GenerationState::Probation
            | GenerationState::Refilling { .. }
            | GenerationState::Current => entry.drain(now, commands),
        }
        match before {
            GenerationState::Spawning | GenerationState::Leaving(_) => {}
            GenerationState::Starting { .. } | GenerationState::MinUptime => {
                self.failed(now, generation, reason, commands)
            }
            GenerationState::Probation | GenerationState::Refilling { .. } => {
                commands.push(Command::RollBack { generation, reason });
            }
            GenerationState::Current => {
                commands.push(Command::Tell(Report::MonitorStopping(generation)));
                self.crashed(now, since, commands);
            }
        }
    }
}

// ----------------------------------------------------------------------------
// Deaths: of an attempt, of the current generation, of one that is leaving
// ----------------------------------------------------------------------------

impl Supervisor {
    /// Notes that a start has come to nothing. Where no generation serves it has to be
    /// made again; a reload that failed is the operator's to repeat.
    pub(super) fn failed(
        &mut self,
        now: Tick,
        generation: Generation,
        reason: Failure,
        commands: &mut Vec<Command>,
    ) {
        commands.push(Command::FailStart { generation, reason });
        if let Past::NeverReady { failed, .. } = &mut self.past {
            *failed = failed.saturating_add(1);
        }
        if self.current().is_none() {
            self.repair(now, None, commands);
        }
    }

    /// Wants a new start after a death, unless a stop or giving up forbids it.
    fn repair(&mut self, now: Tick, healthy_since: Option<Tick>, commands: &mut Vec<Command>) {
        let due = self.backoff.died(now, healthy_since, self.rules.backoff);
        if self.stop != Shutdown::No {
            return;
        }
        let (most, after) = (self.rules.give_up, self.rules.give_up_after);
        match self.past {
            Past::NeverReady { failed, since }
                if most != 0 && failed >= most && now >= since.after(after) =>
            {
                commands.push(Command::Tell(Report::GaveUp(failed)));
                self.begin_stop(now, 1, commands);
            }
            Past::NeverReady { .. } | Past::Ready => {
                self.want(due);
                if due > now {
                    commands.push(Command::Tell(Report::Waiting(due)));
                }
            }
        }
    }

    pub(super) fn on_exit(
        &mut self,
        now: Tick,
        generation: Generation,
        exec: ExecResult,
        session: Session,
        commands: &mut Vec<Command>,
    ) {
        let Some(entry) = self.entry(generation) else { return };
        let Some(monitor) = entry.monitor() else { return };
        let (before, since) = (entry.state, entry.since);
        if before == GenerationState::Current {
            commands.push(Command::Tell(Report::Crashed(generation)));
        }
        match session {
            Session::Members => entry.orphan(now, monitor, commands),
            Session::Empty => self.on_empty(generation, commands),
        }
        match before {
            GenerationState::Starting { .. } | GenerationState::MinUptime => {
                self.never_ran(now, generation, exec, commands)
            }
            GenerationState::Probation | GenerationState::Refilling { .. } => {
                let reason = Failure::MonitorExited;
                commands.push(Command::RollBack { generation, reason });
            }
            GenerationState::Current => self.crashed(now, since, commands),
            GenerationState::Spawning | GenerationState::Leaving(_) => {}
        }
    }

    /// A start whose monitor is gone. A first program that is not there, or is
    /// none, will not be there in a second either.
    fn never_ran(
        &mut self,
        now: Tick,
        generation: Generation,
        exec: ExecResult,
        commands: &mut Vec<Command>,
    ) {
        let reason =
            if exec == ExecResult::Ran { Failure::MonitorExited } else { Failure::NotSpawned };
        let status = match exec {
            ExecResult::NotFound => Some(127),
            ExecResult::NotExecutable => Some(126),
            ExecResult::Ran | ExecResult::Retryable => None,
        };
        match (status, self.past) {
            (Some(status), Past::NeverReady { .. }) => {
                commands.push(Command::FailStart { generation, reason });
                self.begin_stop(now, status, commands);
            }
            (Some(_) | None, Past::NeverReady { .. } | Past::Ready) => {
                self.failed(now, generation, reason, commands);
            }
        }
    }

    /// The current monitor left unasked. The one on probation takes its place;
    /// one that is starting is waited for; else a new one is wanted.
    pub(super) fn crashed(&mut self, now: Tick, since: Tick, commands: &mut Vec<Command>) {
        let attempt = self.generations.iter().find(|entry| entry.is_attempt());
        match attempt.map(|attempt| (attempt.generation, attempt.state)) {
            Some((next, GenerationState::Probation | GenerationState::Refilling { .. })) => {
                self.promote(now, next, commands)
            }
            Some(_) => {
                self.backoff.died(now, Some(since), self.rules.backoff);
            }
            None => self.repair(now, Some(since), commands),
        }
        if matches!(self.stop, Shutdown::Delayed { .. }) && self.current().is_none() {
            self.begin_stop(now, 0, commands);
        }
    }

    pub(super) fn on_empty(&mut self, generation: Generation, commands: &mut Vec<Command>) {
        let before = self.generations.len();
        self.generations.retain(|entry| entry.generation != generation);
        if self.generations.len() != before {
            commands.push(Command::Forget { generation });
        }
    }
}

// ----------------------------------------------------------------------------
// The end: all generations have one deadline, and main leaves last
// ----------------------------------------------------------------------------

impl Supervisor {
    /// The rules of the generation that serves, which are those of a stop; where
    /// none does, of the newest.
    fn kept(&self) -> SupervisorRules {
        let serves = self.generations.iter().find(|entry| entry.state == GenerationState::Current);
        serves.or(self.generations.last()).map_or(self.rules, |entry| entry.rules)
    }

    /// Whether a stop that is asked for now begins at once.
    pub fn would_stop_at_once(&self) -> bool {
        let is_current = |entry: &GenerationEntry| entry.state == GenerationState::Current;
        self.stop == Shutdown::No
            && self.kept().drain_delay == Millis(0)
            && self.generations.iter().any(is_current)
    }

    /// Asks for the final stop. A second one moves no deadline.
    pub(super) fn stop(&mut self, now: Tick, commands: &mut Vec<Command>) {
        if self.stop != Shutdown::No {
            return;
        }
        let delay = self.kept().drain_delay;
        if delay == Millis(0) || self.current().is_none() {
            return self.begin_stop(now, 0, commands);
        }
        commands.push(Command::Tell(Report::Lingering(delay)));
        self.linger(now, delay, commands);
    }

    /// A stop was asked for, and begins after `delay`. Main calls this too, for handshakes
    /// that are under way.
    pub fn linger(&mut self, now: Tick, delay: Millis, commands: &mut Vec<Command>) {
        self.wanted = Tick::NEVER;
        self.stop = Shutdown::Delayed { until: now.after(delay) };
        for entry in &mut self.generations {
            if entry.is_starting() {
                entry.ask(now.after(entry.rules.timeout), commands);
            }
        }
    }

    /// Every generation leaves, and main with `status` unless a process must be killed.
    pub(super) fn begin_stop(&mut self, now: Tick, status: u8, commands: &mut Vec<Command>) {
        match self.stop {
            Shutdown::No | Shutdown::Delayed { .. } => {}
            Shutdown::Graceful { .. } | Shutdown::Immediate { .. } | Shutdown::Finished => return,
        }
        let interrupt = now.after(self.kept().timeout);
        self.wanted = Tick::NEVER;
        self.stop = Shutdown::Graceful { interrupt, status };
        commands.push(Command::CloseListeners);
        for entry in &mut self.generations {
            entry.ask(interrupt, commands);
        }
    }

    /// Every generation leaves at once.
    pub(super) fn stop_now(&mut self, now: Tick, commands: &mut Vec<Command>) {
        let status = match self.stop {
            Shutdown::No | Shutdown::Delayed { .. } => {
                commands.push(Command::CloseListeners);
                0
            }
            Shutdown::Graceful { status, .. } => status,
            Shutdown::Immediate { .. } | Shutdown::Finished => return,
        };
        self.wanted = Tick::NEVER;
        self.stop = Shutdown::Immediate { status };
        for entry in &mut self.generations {
            entry.interrupt_now(now, commands);
        }
    }

    /// A process had to be killed on the way out, which the exit status tells.
    pub(super) const fn on_forced(&mut self) {
        if let Shutdown::Graceful { status: status @ 0, .. }
        | Shutdown::Immediate { status: status @ 0 } = &mut self.stop
        {
            *status = 4;
        }
    }

    /// Leaves once no process is left, or none for which anything can be done.
    pub(super) fn finish(&mut self, commands: &mut Vec<Command>) {
        let (Shutdown::Graceful { status, .. } | Shutdown::Immediate { status }) = self.stop else {
            return;
        };
        if self
            .generations
            .iter()
            .all(|entry| entry.state == GenerationState::Leaving(Escalation::GaveUp))
        {
            self.stop = Shutdown::Finished;
            commands.push(Command::Finish { status });
        }
    }
}

// ----------------------------------------------------------------------------
// One generation, from its start to the end of its last process
// ----------------------------------------------------------------------------

/// From SIGINT to SIGKILL when a stop is graceful.
const INT_TO_KILL: Millis = Millis(2_000);
/// From SIGINT to SIGKILL when a stop is to be now.
const NOW_TO_KILL: Millis = Millis(1_000);
/// What a generation in whose place another waits still has until SIGINT, where another
/// one serves meanwhile.
const CROWDED_TO_INT: Millis = Millis(800);
/// What it has until SIGKILL.
const CROWDED_TO_KILL: Millis = Millis(1_000);
/// How long the kernel may take to end what was sent SIGKILL.
const KILL_TO_ABANDON: Millis = Millis(1_000);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GenerationEntry {
    pub generation: Generation,
    pub state: GenerationState,
    /// `None` until there is a process.
    pub leader: Option<Leader>,
    /// When it was started; once it was ready, when that was.
    pub since: Tick,
    /// When it next needs a look.
    pub due: Tick,
    /// When it is sent SIGKILL because another waits for its place, once it was
    /// sent SIGINT for that.
    pub place_by: Tick,
    /// What it was started with, whatever has been configured since.
    pub rules: SupervisorRules,
}

/// What a generation is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum GenerationState {
    /// `Spawn` was ordered; the answer is outstanding.
    Spawning,
    /// Not ready yet: when due it has failed.
    Starting {
        /// When that is told; never once it was.
        slow: Tick,
    },
    /// Not ready yet: when due it has lived long enough to be taken as ready.
    MinUptime,
    /// Ready, beside the one that is current: when due it takes its place.
    Probation,
    /// The same, and a slot has no ready worker: when due it is rolled back.
    Refilling {
        /// When its probation is over at the earliest.
        ends: Tick,
    },
    /// The one that serves.
    Current,
    /// On its way out.
    Leaving(Escalation),
}

/// Which processes get the signals of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Leader {
    /// The monitor, which passes them on.
    Monitor(Pid),
    /// The session that this monitor, now gone, has left behind.
    Session(Pid),
}

/// How far a generation that leaves has been pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Escalation {
    /// Was sent SIGTERM; SIGINT is due.
    Term,
    /// Was sent SIGTERM; SIGINT is due within a second, for another waits for its
    /// place. A request that is in hand when reload follows reload is finished.
    TermCrowded,
    /// Was sent SIGINT; SIGKILL is due.
    Int,
    /// The same, within a second: another waits for its place.
    IntCrowded,
    /// Was sent SIGKILL; a final stop waits for it until it is due.
    Kill,
    /// The kernel did not end it. Nothing more can be done.
    GaveUp,
}

persisted! { struct GenerationEntry { generation, state, leader, since, due, place_by, rules } }
persisted! {
    enum GenerationState {
        0 = Spawning, 1 = Starting { slow }, 2 = MinUptime, 3 = Probation, 4 = Current, 5 = Leaving(step),
        6 = Refilling { ends },
    }
}
persisted! { enum Leader { 0 = Monitor(pid), 1 = Session(pid) } }
persisted! { enum Escalation { 0 = Term, 1 = Int, 2 = Kill, 3 = GaveUp, 4 = IntCrowded, 5 = TermCrowded } }

impl Escalation {
    /// The signal of this step.
    pub const fn signal(self) -> Signal {
        match self {
            Self::Term | Self::TermCrowded => Signal::Term,
            Self::Int | Self::IntCrowded => Signal::Int,
            Self::Kill | Self::GaveUp => Signal::Kill,
        }
    }
}

impl GenerationEntry {
    /// One that was ordered and is not there yet.
    pub const fn new(generation: Generation, rules: SupervisorRules, now: Tick) -> Self {
        let (state, leader, since, due) = (GenerationState::Spawning, None, now, Tick::NEVER);
        Self { generation, state, leader, since, due, place_by: Tick::NEVER, rules }
    }

    /// When there is something to do about it at the latest.
    pub fn next_look(&self) -> Tick {
        match self.state {
            GenerationState::Starting { slow } => slow.min(self.due),
            GenerationState::Spawning
            | GenerationState::MinUptime
            | GenerationState::Probation
            | GenerationState::Refilling { .. }
            | GenerationState::Current
            | GenerationState::Leaving(_) => self.due,
        }
    }

    /// Tells once that it is not ready yet, if it is time for that.
    pub fn tell_slow(&mut self, now: Tick, commands: &mut Vec<Command>) {
        if let GenerationState::Starting { slow } = &mut self.state
            && *slow <= now
        {
            *slow = Tick::NEVER;
            if self.due > now {
                // Of the same time: what it could not run in does not count.
                let limit = self.rules.ready_timeout;
                let took = Millis(limit.0.saturating_sub(self.due.since(now).0));
                commands.push(Command::Tell(Report::Slow(self.generation, took, limit)));
            }
        }
    }

    /// Whether it is on its way to being current.
    pub const fn is_attempt(&self) -> bool {
        match self.state {
            GenerationState::Spawning
            | GenerationState::Starting { .. }
            | GenerationState::MinUptime
            | GenerationState::Probation
            | GenerationState::Refilling { .. } => true,
            GenerationState::Current | GenerationState::Leaving(_) => false,
        }
    }

    /// Whether it is there and not ready yet.
    pub const fn is_starting(&self) -> bool {
        matches!(self.state, GenerationState::Starting { .. } | GenerationState::MinUptime)
    }

    /// Whether it was ready, and was not asked to leave.
    pub const fn is_serving(&self) -> bool {
        match self.state {
            GenerationState::Probation
            | GenerationState::Refilling { .. }
            | GenerationState::Current => true,
            GenerationState::Spawning
            | GenerationState::Starting { .. }
            | GenerationState::MinUptime
            | GenerationState::Leaving(_) => false,
        }
    }

    /// Whether it counts against the three that may be alive.
    pub const fn is_alive(&self) -> bool {
        match self.state {
            GenerationState::Spawning
            | GenerationState::Starting { .. }
            | GenerationState::MinUptime
            | GenerationState::Probation
            | GenerationState::Refilling { .. }
            | GenerationState::Current
            | GenerationState::Leaving(
                Escalation::Term
                | Escalation::TermCrowded
                | Escalation::Int
                | Escalation::IntCrowded,
            ) => true,
            GenerationState::Leaving(Escalation::Kill | Escalation::GaveUp) => false,
        }
    }

    /// When it is sent SIGKILL, if it drains and no other waits for its place.
    pub const fn drained_at(&self) -> Option<Tick> {
        match self.state {
            GenerationState::Leaving(Escalation::Term) => Some(self.due.after(INT_TO_KILL)),
            GenerationState::Leaving(Escalation::Int) => Some(self.due),
            GenerationState::Leaving(
                Escalation::TermCrowded
                | Escalation::IntCrowded
                | Escalation::Kill
                | Escalation::GaveUp,
            )
            | GenerationState::Spawning
            | GenerationState::Starting { .. }
            | GenerationState::MinUptime
            | GenerationState::Probation
            | GenerationState::Refilling { .. }
            | GenerationState::Current => None,
        }
    }

    /// The monitor, unless it is gone or not yet there.
    pub const fn monitor(&self) -> Option<Pid> {
        match self.leader {
            Some(Leader::Monitor(monitor)) => Some(monitor),
            Some(Leader::Session(_)) | None => None,
        }
    }

    /// Asks it to finish, with SIGINT at `interrupt`. One that is leaving already keeps
    /// its deadline unless this one is earlier.
    pub fn ask(&mut self, interrupt: Tick, commands: &mut Vec<Command>) {
        match self.state {
            // Asked as soon as it is there.
            GenerationState::Spawning => {}
            GenerationState::Starting { .. }
            | GenerationState::MinUptime
            | GenerationState::Probation
            | GenerationState::Refilling { .. }
            | GenerationState::Current => self.leave(Escalation::Term, interrupt, commands),
            GenerationState::Leaving(Escalation::Term) => self.due = interrupt.min(self.due),
            GenerationState::Leaving(Escalation::Int) => {
                self.due = interrupt.after(INT_TO_KILL).min(self.due);
            }
            GenerationState::Leaving(
                Escalation::TermCrowded
                | Escalation::IntCrowded
                | Escalation::Kill
                | Escalation::GaveUp,
            ) => {}
        }
    }

    /// It stops by itself, and has as long as if it had been asked.
    pub fn drain(&mut self, now: Tick, commands: &mut Vec<Command>) {
        (self.state, self.due) =
            (GenerationState::Leaving(Escalation::Term), now.after(self.rules.timeout));
        commands.push(Command::Tell(Report::Draining(self.generation)));
    }

    /// Ends it now: SIGINT, and SIGKILL a second later.
    pub fn interrupt_now(&mut self, now: Tick, commands: &mut Vec<Command>) {
        let soon = now.after(NOW_TO_KILL);
        match self.state {
            GenerationState::Spawning => {}
            GenerationState::Starting { .. }
            | GenerationState::MinUptime
            | GenerationState::Probation
            | GenerationState::Refilling { .. }
            | GenerationState::Current
            | GenerationState::Leaving(Escalation::Term) => {
                self.leave(Escalation::Int, soon, commands)
            }
            GenerationState::Leaving(Escalation::TermCrowded) => {
                let due = core::mem::replace(&mut self.place_by, Tick::NEVER);
                self.leave(Escalation::Int, soon.min(due), commands);
            }
            GenerationState::Leaving(Escalation::Int | Escalation::IntCrowded) => {
                self.due = soon.min(self.due)
            }
            GenerationState::Leaving(Escalation::Kill | Escalation::GaveUp) => {}
        }
    }

    /// Another generation waits for its place, and has it within a second. Where none
    /// serves meanwhile its deadline is now.
    pub fn shorten_drain(&mut self, now: Tick, is_urgent: bool, commands: &mut Vec<Command>) {
        let soon = now.after(CROWDED_TO_KILL);
        let GenerationState::Leaving(step @ (Escalation::Term | Escalation::Int)) = self.state
        else {
            return;
        };
        commands.push(Command::Tell(Report::Crowded(self.generation)));
        match step {
            Escalation::Term if is_urgent => self.leave(Escalation::IntCrowded, soon, commands),
            Escalation::Term => {
                (self.state, self.place_by) =
                    (GenerationState::Leaving(Escalation::TermCrowded), soon);
                self.due = self.due.min(now.after(CROWDED_TO_INT));
            }
            Escalation::TermCrowded
            | Escalation::Int
            | Escalation::IntCrowded
            | Escalation::Kill
            | Escalation::GaveUp => {
                (self.state, self.due) =
                    (GenerationState::Leaving(Escalation::IntCrowded), soon.min(self.due));
            }
        }
    }

    /// What comes after `step`, now that it is due.
    pub fn escalate(&mut self, step: Escalation, now: Tick, commands: &mut Vec<Command>) {
        match step {
            Escalation::Term => self.leave(Escalation::Int, self.due.after(INT_TO_KILL), commands),
            Escalation::TermCrowded => {
                let due = core::mem::replace(&mut self.place_by, Tick::NEVER);
                self.leave(Escalation::IntCrowded, due, commands);
            }
            Escalation::Int | Escalation::IntCrowded => {
                self.leave(Escalation::Kill, now.after(KILL_TO_ABANDON), commands);
            }
            Escalation::Kill | Escalation::GaveUp => {
                self.leave(Escalation::GaveUp, Tick::NEVER, commands)
            }
        }
    }

    fn leave(&mut self, step: Escalation, due: Tick, commands: &mut Vec<Command>) {
        (self.state, self.due) = (GenerationState::Leaving(step), due);
        commands.push(Command::Tell(match step {
            Escalation::Term | Escalation::TermCrowded => Report::Draining(self.generation),
            Escalation::Int | Escalation::IntCrowded => Report::Interrupted(self.generation),
            Escalation::Kill => Report::Killed(self.generation),
            Escalation::GaveUp => Report::Abandoned(self.generation),
        }));
        if step != Escalation::GaveUp {
            self.signal(step, commands);
        }
    }

    /// The monitor is gone and has left generations behind: the signals go to them
    /// from now on, beginning with the last one that it was sent.
    pub fn orphan(&mut self, now: Tick, monitor: Pid, commands: &mut Vec<Command>) {
        self.leader = Some(Leader::Session(monitor));
        match self.state {
            GenerationState::Leaving(step) => self.signal(step, commands),
            GenerationState::Spawning
            | GenerationState::Starting { .. }
            | GenerationState::MinUptime
            | GenerationState::Probation
            | GenerationState::Refilling { .. }
            | GenerationState::Current => self.ask(now.after(self.rules.timeout), commands),
        }
    }

    /// Sends the signal of `step`. The last one is for the whole session.
    fn signal(&self, step: Escalation, commands: &mut Vec<Command>) {
        let generation = self.generation;
        let signal = step.signal();
        commands.push(match self.leader {
            None => return,
            Some(Leader::Monitor(monitor)) if signal != Signal::Kill => {
                Command::Signal { generation, monitor, signal }
            }
            Some(Leader::Monitor(leader) | Leader::Session(leader)) => {
                Command::SignalSession { generation, leader, signal }
            }
        });
    }
}

// ----------------------------------------------------------------------------
// What is seen from outside
// ----------------------------------------------------------------------------

impl Supervisor {
    /// What a generation is doing; `None` when no process is left.
    pub fn stage_of(&self, generation: Generation) -> Option<Stage> {
        let entry = self.generations.iter().find(|entry| entry.generation == generation)?;
        Some(match entry.state {
            GenerationState::Spawning
            | GenerationState::Starting { .. }
            | GenerationState::MinUptime => Stage::Starting,
            GenerationState::Probation | GenerationState::Refilling { .. } => Stage::Probation,
            GenerationState::Current => Stage::Current,
            GenerationState::Leaving(_) => Stage::Draining,
        })
    }

    /// The signal that was last ordered for what a monitor, now reaped, has left. SIGKILL
    /// is for the whole session, so it does not wait until all that the monitor had said
    /// is heard, as [`Event::Gone`] does.
    pub fn sent_to_session(&self, generation: Generation) -> Option<Signal> {
        let entry = self.generations.iter().find(|entry| entry.generation == generation)?;
        let GenerationState::Leaving(step) = entry.state else { return None };
        let is_known = matches!(entry.leader, Some(Leader::Session(_)));
        (is_known || step.signal() == Signal::Kill).then_some(step.signal())
    }

    /// Whether a generation was sent SIGKILL.
    pub fn was_killed(&self, generation: Generation) -> bool {
        let entry = self.generations.iter().find(|entry| entry.generation == generation);
        entry.is_some_and(|entry| {
            matches!(entry.state, GenerationState::Leaving(Escalation::Kill | Escalation::GaveUp))
        })
    }

    /// Whether the generation on probation has a slot without a ready worker.
    pub fn is_refilling(&self) -> bool {
        self.generations
            .iter()
            .any(|entry| matches!(entry.state, GenerationState::Refilling { .. }))
    }

    /// The number of the generation that will be started next.
    pub const fn next(&self) -> Generation {
        self.next
    }

    /// Whether nothing is ordered that is still to be answered: between two turns.
    pub fn is_settled(&self) -> bool {
        self.generations
            .iter()
            .all(|entry| entry.state != GenerationState::Spawning && entry.leader.is_some())
    }

    /// Whether a stop was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stop != Shutdown::No
    }

    /// Whether a generation is ready, and was not asked to leave.
    pub fn is_ready(&self) -> bool {
        self.generations.iter().any(|entry| entry.is_serving())
    }

    /// When the next generation is wanted, if one is.
    pub fn next_start(&self) -> Option<Tick> {
        (self.stop == Shutdown::No && self.wanted != Tick::NEVER).then_some(self.wanted)
    }

    /// Until when main serves although a stop was asked for.
    pub const fn serves_until(&self) -> Option<Tick> {
        match self.stop {
            Shutdown::Delayed { until } => Some(until),
            Shutdown::No
            | Shutdown::Graceful { .. }
            | Shutdown::Immediate { .. }
            | Shutdown::Finished => None,
        }
    }

    /// Whether a first start that fails again and again is given up.
    pub const fn gives_up(&self) -> bool {
        self.rules.give_up != 0
    }

    /// How many generations drain and have a deadline.
    pub fn draining(&self) -> usize {
        let drains = |entry: &&GenerationEntry| match entry.state {
            GenerationState::Leaving(step) => step != Escalation::GaveUp,
            GenerationState::Spawning
            | GenerationState::Starting { .. }
            | GenerationState::MinUptime
            | GenerationState::Probation
            | GenerationState::Refilling { .. }
            | GenerationState::Current => false,
        };
        self.generations.iter().filter(drains).count()
    }

    /// Whether nothing was ever ready.
    pub const fn is_new(&self) -> bool {
        matches!(self.past, Past::NeverReady { .. })
    }
}

#[cfg(test)]
#[path = "../../tests/walk/service.rs"]
mod walk;

#[cfg(test)]
#[path = "../../tests/walk/strict.rs"]
mod strict_walk;
