//! What has to hold of main: its invariants by name, from what was told to the supervisor
//! and what it ordered. Nothing here asks the supervisor what it thinks.

use crate::kernel::number;
use crate::world::World;
use panzer::machines::{
    Generation, Signal,
    supervisor::{Command, Event, Readiness, Report, Session, Supervisor, SupervisorRules},
};
use panzer::{Millis, Pid, Tick};

/// How late a turn may come without being a stall.
const LATE: Millis = Millis(1_000);
/// From SIGINT to SIGKILL, and from there until main leaves without it.
const INT_TO_KILL: Millis = Millis(2_000);
const SECOND: Millis = Millis(1_000);

/// A generation, as it was ordered and as it went.
#[derive(Clone, Debug)]
struct Story {
    generation: Generation,
    rules: SupervisorRules,
    monitor: Option<Pid>,
    spawned: Option<Tick>,
    runs: Option<Tick>,
    /// It has said that it is ready, while it was starting.
    said_ready: bool,
    ready: Option<Tick>,
    short_since: Option<Tick>,
    promoted: bool,
    /// Another one was promoted after it.
    replaced: bool,
    failed: bool,
    /// Its monitor stops by itself.
    stops: bool,
    /// Its monitor was reaped, and main was told.
    gone: bool,
    /// No process of it is left, as main was told. What becomes main's child after that, because
    /// a parent that had left the session is dead, is not known to main.
    empty: bool,
    crowded: Option<Tick>,
    asked: Option<Tick>,
    /// When its SIGINT is due.
    drained: Option<Tick>,
    interrupted: Option<Tick>,
    killed: Option<Tick>,
    /// The signals that its monitor was sent, and what that has left.
    to_monitor: u32,
    to_rest: u32,
}

/// What the operator has asked for about the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    Delayed { until: Tick },
    Graceful { interrupt: Tick },
    Now { since: Tick },
}

#[derive(Debug)]
pub struct MainTruth {
    stories: Vec<Story>,
    rules: SupervisorRules,
    /// A reload was asked for, and no generation was started since.
    reload_owed: bool,
    /// Since when a start is wanted that nothing stands in the way of.
    hungry: Option<Tick>,
    /// The start that is announced.
    announced: Tick,
    stop: Stop,
    ever_ready: bool,
    closed: bool,
    forced: bool,
    finished: bool,
    pub promotions: u32,
}

impl Story {
    fn new(generation: Generation, rules: SupervisorRules) -> Self {
        Self {
            generation,
            rules,
            monitor: None,
            spawned: None,
            runs: None,
            said_ready: false,
            ready: None,
            short_since: None,
            promoted: false,
            replaced: false,
            failed: false,
            stops: false,
            gone: false,
            empty: false,
            crowded: None,
            asked: None,
            drained: None,
            interrupted: None,
            killed: None,
            to_monitor: 0,
            to_rest: 0,
        }
    }

    const fn is_attempt(&self) -> bool {
        !self.promoted && !self.failed && !self.gone && !self.stops && self.asked.is_none()
    }

    const fn is_current(&self) -> bool {
        self.promoted && !self.replaced && !self.gone && !self.stops
    }

    const fn counts(&self) -> bool {
        self.killed.is_none()
    }

    fn lose_time(&mut self, by: Millis) {
        let moments = [
            &mut self.spawned,
            &mut self.runs,
            &mut self.ready,
            &mut self.short_since,
            &mut self.crowded,
            &mut self.asked,
            &mut self.drained,
            &mut self.interrupted,
            &mut self.killed,
        ];
        for moment in moments.into_iter().flatten() {
            *moment = moment.after(by);
        }
    }
}

impl MainTruth {
    pub fn new(now: Tick, rules: SupervisorRules) -> Self {
        Self {
            stories: Vec::new(),
            rules,
            reload_owed: false,
            hungry: Some(now),
            announced: now,
            stop: Stop::No,
            ever_ready: false,
            closed: false,
            forced: false,
            finished: false,
            promotions: 0,
        }
    }

    fn story(&mut self, generation: Generation) -> Option<&mut Story> {
        self.stories.iter_mut().find(|story| story.generation == generation)
    }

    pub const fn configure(&mut self, rules: SupervisorRules) {
        self.rules = rules;
    }

    pub const fn is_stopping(&self) -> bool {
        !matches!(self.stop, Stop::No)
    }

    /// The rules of the generation that serves, or else of the newest.
    fn kept(&self) -> SupervisorRules {
        let serves = self.stories.iter().find(|story| story.is_current());
        serves.or(self.stories.last()).map_or(self.rules, |story| story.rules)
    }

    /// Main could not run.
    pub fn lose_time(&mut self, by: Millis) {
        self.stories.iter_mut().for_each(|story| story.lose_time(by));
        self.hungry = self.hungry.map(|since| since.after(by));
        self.announced = self.announced.after(by);
        match &mut self.stop {
            Stop::Delayed { until: at }
            | Stop::Graceful { interrupt: at }
            | Stop::Now { since: at } => {
                *at = at.after(by);
            }
            Stop::No => {}
        }
    }

    /// SIGVTALRM counts for the generation whose session it came from.
    pub fn on_ready_by_signal(&mut self, world: &mut World, generation: Generation, leader: usize) {
        let newest = self
            .stories
            .iter()
            .rev()
            .find(|story| story.monitor.is_some_and(|monitor| number(monitor) == leader));
        let is_it = newest.is_none_or(|newest| newest.generation == generation);
        world.expect(is_it, "ready_counts_for_its_own_generation", || {
            format!("led by {leader}: taken for {generation:?}, not for {newest:?}")
        });
    }

    /// A stop was delayed for handshakes.
    pub const fn on_linger(&mut self, now: Tick, by: Millis) {
        self.stop = Stop::Delayed { until: now.after(by) };
        self.reload_owed = false;
    }

    /// An event is about to be told.
    pub fn before(&mut self, world: &World, event: Event) {
        let now = world.now();
        match event {
            Event::Reload => self.reload_owed |= !self.is_stopping(),
            Event::Stop => self.ask_to_stop(now),
            Event::StopNow => {
                self.reload_owed = false;
                if !matches!(self.stop, Stop::Now { .. }) {
                    self.stop = Stop::Now { since: now };
                }
            }
            Event::Forced => self.forced |= self.closed,
            Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::Runs { .. }
            | Event::Ready { .. }
            | Event::Losing { .. }
            | Event::SlotUnready { .. }
            | Event::AllReady { .. }
            | Event::MonitorStopping { .. }
            | Event::Gone { .. }
            | Event::Empty { .. }
            | Event::Stalled { .. }
            | Event::Timer => {}
        }
        if let Some(story) = generation_of(event).and_then(|generation| self.story(generation)) {
            story.note(now, event);
        }
    }

    fn ask_to_stop(&mut self, now: Tick) {
        self.reload_owed = false;
        if self.stop == Stop::No {
            let kept = self.kept();
            let serves = self.stories.iter().any(Story::is_current);
            self.stop = match kept.drain_delay {
                Millis(1..) if serves => Stop::Delayed { until: now.after(kept.drain_delay) },
                _ => Stop::Graceful { interrupt: now.after(kept.timeout) },
            };
        }
    }

    /// What the supervisor orders, before it is done.
    pub fn on_command(&mut self, world: &mut World, command: Command) {
        // In the same turn it may hear of what it has left behind.
        let is_late = match command {
            Command::Forget { .. }
            | Command::Tell(_)
            | Command::SignalSession { signal: Signal::Kill, .. } => false,
            Command::Spawn { .. }
            | Command::Signal { .. }
            | Command::SignalSession { .. }
            | Command::Promote { .. }
            | Command::FailStart { .. }
            | Command::RollBack { .. }
            | Command::CloseListeners
            | Command::Finish { .. } => self.finished,
        };
        world.expect(!is_late, "main_leaves_last", || format!("{command:?} after Finish"));
        match command {
            Command::Spawn { generation } => self.on_spawn(world, generation),
            Command::Signal { generation, monitor, signal } => {
                self.on_signal(world, generation, monitor, signal);
            }
            Command::SignalSession { generation, leader, signal } => {
                self.on_signal_to_session(world, generation, leader, signal);
            }
            Command::Promote { generation } => self.on_promote(world, generation),
            Command::FailStart { generation, .. } | Command::RollBack { generation, .. } => {
                let was_promoted = self.story(generation).is_some_and(|story| {
                    story.failed = true;
                    story.promoted
                });
                world.expect(!was_promoted, "a_current_generation_is_not_rolled_back", || {
                    format!("{generation:?}")
                });
            }
            Command::Forget { generation } => self.on_forget(world, generation),
            Command::CloseListeners => self.on_close(world),
            Command::Finish { status } => self.on_finish(world, status),
            Command::Tell(report) => self.on_report(world, report),
        }
    }

    fn on_spawn(&mut self, world: &mut World, generation: Generation) {
        let Self { stories, stop, closed, .. } = self;
        let may = *stop == Stop::No && !*closed;
        world.expect(may, "stop_starts_nothing_and_ends", || format!("{generation:?}: {stop:?}"));
        let attempts = stories.iter().filter(|story| story.is_attempt()).count();
        world.expect(attempts == 0, "one_generation_starts", || {
            format!("{generation:?}: {stories:#?}")
        });
        let alive = stories.iter().filter(|story| story.counts()).count();
        world.expect(alive < 3, "at_most_three_alive", || format!("{generation:?}: {stories:#?}"));
        let serves = stories.iter().any(Story::is_current);
        world.expect(self.reload_owed || !serves, "coalesced_reload_runs_once_more", || {
            format!("{generation:?} was not asked for: {stories:#?}")
        });
        let (now, announced) = (world.now(), self.announced);
        world.expect(now >= announced || self.reload_owed, "no_start_is_early", || {
            format!("{generation:?} at {now:?}, and not at {announced:?}")
        });
        self.reload_owed = false;
        self.hungry = None;
        self.announced = Tick(0);
        self.stories.push(Story::new(generation, self.rules));
    }

    /// A signal to a generation that was not asked for, in a time without a stop.
    fn refuse_untimely(&mut self, world: &mut World, generation: Generation) {
        let has_attempt = self.stories.iter().any(Story::is_attempt);
        let closed = self.closed || self.stop != Stop::No;
        let Some(story) = self.story(generation) else { return };
        if closed || !story.is_current() {
            return;
        }
        let name = if has_attempt {
            "failed_reload_leaves_the_old_untouched"
        } else {
            "last_ready_generation_is_kept"
        };
        world.expect(false, name, || format!("{story:#?}"));
    }

    fn on_signal(
        &mut self,
        world: &mut World,
        generation: Generation,
        monitor: Pid,
        signal: Signal,
    ) {
        self.refuse_untimely(world, generation);
        let Some(story) = self.story(generation) else {
            return world
                .expect(false, "only_pinned_pids_are_signalled", || format!("{monitor:?}"));
        };
        let is_pinned = story.monitor == Some(monitor) && !story.gone;
        world.expect(is_pinned, "only_pinned_pids_are_signalled", || {
            format!("{monitor:?}: {story:#?}")
        });
        let bit = 1 << signal as u32;
        world.expect(story.to_monitor & bit == 0, "each_signal_is_sent_once", || {
            format!("{signal:?}: {story:#?}")
        });
        story.to_monitor |= bit;
    }

    fn on_signal_to_session(
        &mut self,
        world: &mut World,
        generation: Generation,
        leader: Pid,
        signal: Signal,
    ) {
        self.refuse_untimely(world, generation);
        let Some(story) = self.story(generation) else {
            return world.expect(false, "only_pinned_pids_are_signalled", || format!("{leader:?}"));
        };
        let is_its = story.monitor == Some(leader) && (story.gone || signal == Signal::Kill);
        world
            .expect(is_its, "only_pinned_pids_are_signalled", || format!("{leader:?}: {story:#?}"));
        let bit = 1 << signal as u32;
        // To the rest SIGKILL is sent again, which it then has had without its monitor.
        let is_again = story.to_rest & bit != 0 && signal != Signal::Kill;
        world.expect(!is_again, "each_signal_is_sent_once", || format!("{signal:?}: {story:#?}"));
        let is_last = match signal {
            Signal::Kill => story.killed.is_some(),
            Signal::Int => story.interrupted.is_some() && story.killed.is_none(),
            Signal::Hup
            | Signal::Quit
            | Signal::Usr1
            | Signal::Usr2
            | Signal::Term
            | Signal::Chld
            | Signal::Ttin
            | Signal::Ttou
            | Signal::Vtalrm
            | Signal::Winch
            | Signal::Pipe
            | Signal::Xfsz
            | Signal::Abrt => story.interrupted.is_none() && story.killed.is_none(),
        };
        world.expect(is_last, "signals_keep_their_order", || format!("{signal:?}: {story:#?}"));
        story.to_rest |= bit;
    }

    fn on_promote(&mut self, world: &mut World, generation: Generation) {
        let now = world.now();
        let beside =
            self.stories.iter().any(|story| story.generation != generation && story.is_current());
        let Some(story) = self.story(generation) else {
            return world.expect(false, "only_ready_is_promoted", || format!("{generation:?}"));
        };
        let is_ready = story.ready.is_some() && story.is_attempt();
        world.expect(is_ready, "only_ready_is_promoted", || format!("{story:#?}"));
        let served = story.ready.is_some_and(|at| now >= at.after(story.rules.probation));
        world.expect(served || !beside, "probation_is_served", || format!("{now:?}: {story:#?}"));
        let is_full = story.short_since.is_none();
        world.expect(is_full || !beside, "probation_is_served", || format!("a slot: {story:#?}"));
        story.promoted = true;
        self.promotions += 1;
        for other in self.stories.iter_mut().filter(|other| other.generation != generation) {
            other.replaced |= other.promoted;
        }
    }

    fn on_forget(&mut self, world: &mut World, generation: Generation) {
        let Some(place) = self.stories.iter().position(|one| one.generation == generation) else {
            return world.expect(false, "nothing_alive_is_forgotten", || format!("{generation:?}"));
        };
        let story = self.stories.remove(place);
        world.expect(story.empty, "nothing_alive_is_forgotten", || format!("{story:#?}"));
    }

    fn on_close(&mut self, world: &mut World) {
        world.expect(!self.closed, "listeners_are_closed_once", String::new);
        self.closed = true;
        let interrupt = world.now().after(self.kept().timeout);
        self.reload_owed = false;
        match self.stop {
            // It gave up, or the delay is over.
            Stop::No | Stop::Delayed { .. } => self.stop = Stop::Graceful { interrupt },
            Stop::Graceful { .. } | Stop::Now { .. } => {}
        }
        for drained in self.stories.iter_mut().filter_map(|story| story.drained.as_mut()) {
            *drained = interrupt.min(*drained);
        }
    }

    fn on_finish(&mut self, world: &mut World, status: u8) {
        self.finished = true;
        let Self { stories, closed, forced, .. } = self;
        world.expect(*closed, "main_leaves_last", || String::from("before a stop"));
        let now = world.now();
        let is_over = |story: &Story| story.killed.is_some_and(|at| now >= at.after(SECOND));
        let over = stories.iter().all(is_over);
        world.expect(over, "main_leaves_last", || format!("{now:?}: {stories:#?}"));
        let is_true = if *forced { status != 0 } else { status != 4 };
        world.expect(is_true, "exit_status_tells_of_a_kill", || format!("{status}"));
    }

    fn on_report(&mut self, world: &mut World, report: Report) {
        let now = world.now();
        match report {
            Report::Waiting(due) => {
                let most = Millis(self.rules.backoff.max_delay.0 / 4 * 5 + 1);
                let is_bounded = due <= now.after(most);
                world.expect(
                    is_bounded,
                    "wanted_start_waits_at_most_backoff_plus_one_second",
                    || format!("until {due:?}, now is {now:?}"),
                );
                self.announced = due;
            }
            Report::Ready(generation, _) => self.on_ready(world, generation),
            Report::Draining(generation) => self.on_draining(now, generation),
            Report::Crowded(generation) => self.with(generation, |story| {
                story.crowded.get_or_insert(now);
            }),
            Report::Interrupted(generation) => self.on_interrupt(world, generation),
            Report::Killed(generation) => self.on_kill(world, generation),
            Report::Started(..)
            | Report::Slow(..)
            | Report::Probation(..)
            | Report::Crashed(_)
            | Report::MonitorStopping(_)
            | Report::Abandoned(_)
            | Report::GaveUp(_)
            | Report::Lingering(_) => {}
        }
    }

    /// A stop gives all of them one deadline, but moves none back.
    fn on_draining(&mut self, now: Tick, generation: Generation) {
        let stop = self.stop;
        self.with(generation, |story| {
            story.asked.get_or_insert(now);
            story.drained.get_or_insert(match stop {
                Stop::Graceful { interrupt } => interrupt,
                Stop::No | Stop::Delayed { .. } | Stop::Now { .. } => {
                    now.after(story.rules.timeout)
                }
            });
        });
    }

    fn with(&mut self, generation: Generation, change: impl FnOnce(&mut Story)) {
        if let Some(story) = self.story(generation) {
            change(story);
        }
    }

    fn on_ready(&mut self, world: &mut World, generation: Generation) {
        let now = world.now();
        self.ever_ready = true;
        let Some(story) = self.story(generation) else { return };
        let has_lived = match story.rules.readiness {
            Readiness::Notify => false,
            Readiness::After(span) => story.runs.is_some_and(|since| now >= since.after(span)),
        };
        let is_true =
            (story.said_ready || has_lived) && story.ready.is_none() && story.is_attempt();
        world.expect(is_true, "ready_is_said_by_a_starting_generation", || format!("{story:#?}"));
        story.ready = Some(now);
    }

    fn on_interrupt(&mut self, world: &mut World, generation: Generation) {
        let (now, stop) = (world.now(), self.stop);
        let Some(story) = self.story(generation) else { return };
        let timeout = story.drained.is_some_and(|at| now >= at);
        let stop = match stop {
            Stop::Graceful { interrupt } => now >= interrupt,
            Stop::Now { .. } => true,
            Stop::No | Stop::Delayed { .. } => false,
        };
        let in_time = timeout || stop || story.crowded.is_some();
        world.expect(in_time, "no_signal_is_early", || format!("SIGINT at {now:?}: {story:#?}"));
        story.asked.get_or_insert(now);
        story.interrupted.get_or_insert(now);
    }

    fn on_kill(&mut self, world: &mut World, generation: Generation) {
        let (now, stop, closed) = (world.now(), self.stop, self.closed);
        let Some(story) = self.story(generation) else { return };
        let after_int = story.interrupted.is_some_and(|at| now >= at.after(INT_TO_KILL));
        let after_now = matches!(stop, Stop::Now { since } if now >= since.after(SECOND));
        let crowded = story.crowded.is_some_and(|at| now >= at.after(SECOND));
        // SIGINT that was late does not move it back.
        let asked = story.drained.is_some_and(|at| now >= at.after(INT_TO_KILL));
        let stopped =
            matches!(stop, Stop::Graceful { interrupt } if now >= interrupt.after(INT_TO_KILL));
        let in_time = after_int || after_now || crowded || asked || stopped;
        world.expect(in_time, "no_signal_is_early", || format!("SIGKILL at {now:?}: {story:#?}"));
        story.killed = Some(now);
        self.forced |= closed;
    }

    /// What must hold when all that was ordered is done.
    pub fn after(&mut self, world: &mut World, supervisor: &Supervisor) {
        if self.finished {
            return;
        }
        let stories = &self.stories;
        let attempts = stories.iter().filter(|story| story.is_attempt()).count();
        world.expect(attempts <= 1, "one_generation_starts", || format!("{stories:#?}"));
        let alive = stories.iter().filter(|story| story.counts()).count();
        world.expect(alive <= 3, "at_most_three_alive", || format!("{stories:#?}"));
        world.expect(stories.len() <= MOST_KNOWN, "nothing_grows", || format!("{stories:#?}"));
        let serves = stories.iter().any(Story::is_current);
        let wants = self.stop == Stop::No && attempts == 0 && (self.reload_owed || !serves);
        self.hungry = if wants { self.hungry.or(Some(world.now())) } else { None };
        let wakes = supervisor.deadline().is_some();
        world.expect(!wants || wakes, "coalesced_reload_runs_once_more", || {
            format!("a start is wanted and nothing wakes main: {stories:#?}")
        });
    }

    /// What must be done by the end of a turn.
    pub fn after_turn(&mut self, world: &mut World, supervisor: &Supervisor) {
        if self.finished {
            return;
        }
        let now = world.now();
        if let Some(since) = self.hungry {
            let due = since.max(self.announced);
            world.expect(
                now <= due.after(SECOND).after(LATE),
                "wanted_start_waits_at_most_backoff_plus_one_second",
                || {
                    format!(
                        "wanted since {since:?}, due at {due:?}, now is {now:?}: {supervisor:#?}"
                    )
                },
            );
        }
        for story in &self.stories {
            self.expect_in_time(world, story);
        }
        let end = match self.stop {
            Stop::Graceful { interrupt } => interrupt.after(INT_TO_KILL).after(SECOND),
            Stop::Now { since } => since.after(SECOND).after(SECOND),
            Stop::Delayed { until } => until,
            Stop::No => return,
        };
        let newest = self.stories.iter().filter_map(|story| story.spawned).max();
        // One that was being forked when the stop began has what it takes to be ended.
        let end = end.max(newest.map_or(end, |at| at.after(INT_TO_KILL).after(SECOND)));
        world.expect(now <= end.after(LATE).after(LATE), "stop_starts_nothing_and_ends", || {
            format!("{:?} is not over at {now:?}: {supervisor:#?}", self.stop)
        });
    }

    /// Nothing that is due is left undone.
    fn expect_in_time(&self, world: &mut World, story: &Story) {
        let now = world.now();
        if self.closed && story.spawned.is_some() {
            world.expect(story.asked.is_some(), "stop_starts_nothing_and_ends", || {
                format!("it was not asked to leave: {story:#?}")
            });
        }
        let late = |due: Tick| now > due.after(LATE).after(LATE);
        let overdue = match (story.drained, story.interrupted, story.killed) {
            (_, _, Some(_)) | (None, None, None) => false,
            (_, Some(at), None) => late(at.after(INT_TO_KILL)),
            (Some(at), None, None) => late(at) || story.crowded.is_some_and(late),
        };
        world.expect(!overdue, "deadlines_are_monotonic", || format!("{now:?}: {story:#?}"));
        let starts = story.is_attempt() && story.ready.is_none();
        let limit = story.rules.ready_timeout;
        let overdue = starts && story.spawned.is_some_and(|at| late(at.after(limit)));
        world.expect(!overdue, "a_start_has_a_deadline", || format!("{now:?}: {story:#?}"));
    }
}

/// More than this many generations are known only where the kernel ends none of those that
/// were sent SIGKILL.
const MOST_KNOWN: usize = 40;

/// What an event is about.
const fn generation_of(event: Event) -> Option<Generation> {
    match event {
        Event::Spawned { generation, .. }
        | Event::SpawnFailed { generation }
        | Event::Runs { generation }
        | Event::Ready { generation }
        | Event::Losing { generation }
        | Event::SlotUnready { generation }
        | Event::AllReady { generation }
        | Event::MonitorStopping { generation }
        | Event::Gone { generation, .. }
        | Event::Empty { generation } => Some(generation),
        Event::Reload
        | Event::Stop
        | Event::StopNow
        | Event::Forced
        | Event::Stalled { .. }
        | Event::Timer => None,
    }
}

impl Story {
    fn note(&mut self, now: Tick, event: Event) {
        match event {
            Event::Spawned { monitor, .. } => {
                (self.monitor, self.spawned) = (Some(monitor), Some(now))
            }
            Event::Runs { .. } => {
                self.runs.get_or_insert(now);
            }
            Event::Ready { .. } => self.said_ready = true,
            Event::SlotUnready { .. } if self.ready.is_some() => {
                self.short_since.get_or_insert(now);
            }
            Event::AllReady { .. } => self.short_since = None,
            Event::MonitorStopping { .. } => {
                self.stops = true;
                self.asked.get_or_insert(now);
            }
            Event::Gone { session, .. } => {
                (self.gone, self.empty) = (true, session == Session::Empty);
                if session == Session::Members {
                    self.asked.get_or_insert(now);
                }
            }
            Event::SpawnFailed { .. } | Event::Empty { .. } => self.empty = true,
            Event::SlotUnready { .. }
            | Event::Losing { .. }
            | Event::Reload
            | Event::Stop
            | Event::StopNow
            | Event::Forced
            | Event::Stalled { .. }
            | Event::Timer => {}
        }
    }
}
