//! One generation, from its start to the last of its processes.

use super::words::{Action, Report, Rules};
use crate::tape::taped;
use crate::types::{Generation, Millis, Pid, Signal, Tick};
use alloc::vec::Vec;

/// From SIGINT to SIGKILL when a stop is graceful.
const INT_TO_KILL: Millis = Millis(2_000);
/// From SIGINT to SIGKILL when a stop is to be now.
const NOW_TO_KILL: Millis = Millis(1_000);
/// What a generation in whose place another waits still has until SIGINT: a
/// request that is in hand when reload follows reload is finished in that.
const CROWDED_TO_INT: Millis = Millis(1_000);
/// How long the kernel may take to end what was sent SIGKILL.
const KILL_TO_ABANDON: Millis = Millis(1_000);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Member {
    pub generation: Generation,
    pub life: Life,
    /// `None` until there is a process.
    pub leader: Option<Leader>,
    /// When it was started; once it was ready, when that was.
    pub since: Tick,
    /// When it next needs a look.
    pub due: Tick,
    /// What it was started with, whatever has been configured since.
    pub rules: Rules,
}

/// What a generation is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Life {
    /// `Spawn` was ordered; the answer is outstanding.
    Spawning,
    /// Not ready yet: when due it has failed.
    Starting,
    /// Not ready yet: when due it has lived long enough to be taken as ready.
    Living,
    /// Ready, beside the one that is current: when due it takes its place.
    Probation,
    /// The one that serves.
    Current,
    /// On its way out.
    Leaving(Step),
}

/// Who takes the signals of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Leader {
    /// The monitor, which passes them on.
    Monitor(Pid),
    /// The group that this monitor, now gone, has left behind.
    Group(Pid),
}

/// How far a generation that leaves has been pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Was sent SIGTERM; SIGINT is due.
    Asked,
    /// Was sent SIGINT; SIGKILL is due.
    Pressed,
    /// Was sent SIGKILL; a final stop waits for it until it is due.
    Killed,
    /// The kernel did not end it. Nothing more can be done.
    Abandoned,
}

taped! { struct Member { generation, life, leader, since, due, rules } }
taped! {
    enum Life {
        0 = Spawning, 1 = Starting, 2 = Living, 3 = Probation, 4 = Current, 5 = Leaving(step),
    }
}
taped! { enum Leader { 0 = Monitor(pid), 1 = Group(pid) } }
taped! { enum Step { 0 = Asked, 1 = Pressed, 2 = Killed, 3 = Abandoned } }

impl Member {
    /// One that was ordered and is not there yet.
    pub const fn new(generation: Generation, rules: Rules, now: Tick) -> Self {
        let (life, leader, since, due) = (Life::Spawning, None, now, Tick::NEVER);
        Self { generation, life, leader, since, due, rules }
    }

    /// Whether it is on its way to being current.
    pub const fn is_attempt(&self) -> bool {
        match self.life {
            Life::Spawning | Life::Starting | Life::Living | Life::Probation => true,
            Life::Current | Life::Leaving(_) => false,
        }
    }

    /// Whether it is there and not ready yet.
    pub const fn is_starting(&self) -> bool {
        matches!(self.life, Life::Starting | Life::Living)
    }

    /// Whether it counts against the three that may be alive.
    pub const fn is_alive(&self) -> bool {
        match self.life {
            Life::Spawning
            | Life::Starting
            | Life::Living
            | Life::Probation
            | Life::Current
            | Life::Leaving(Step::Asked | Step::Pressed) => true,
            Life::Leaving(Step::Killed | Step::Abandoned) => false,
        }
    }

    /// The monitor, unless it is gone or not yet there.
    pub const fn monitor(&self) -> Option<Pid> {
        match self.leader {
            Some(Leader::Monitor(monitor)) => Some(monitor),
            Some(Leader::Group(_)) | None => None,
        }
    }

    /// Asks it to finish, with SIGINT at `interrupt`. Who is leaving already
    /// keeps his deadline unless this one is earlier.
    pub fn ask(&mut self, interrupt: Tick, actions: &mut Vec<Action>) {
        match self.life {
            // Asked as soon as it is there.
            Life::Spawning => {}
            Life::Starting | Life::Living | Life::Probation | Life::Current => {
                self.leave(Step::Asked, interrupt, actions);
            }
            Life::Leaving(Step::Asked) => self.due = interrupt.min(self.due),
            Life::Leaving(Step::Pressed) => {
                self.due = interrupt.after(INT_TO_KILL).min(self.due);
            }
            Life::Leaving(Step::Killed | Step::Abandoned) => {}
        }
    }

    /// Ends it now: SIGINT, and SIGKILL a second later.
    pub fn press(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let soon = now.after(NOW_TO_KILL);
        match self.life {
            Life::Spawning => {}
            Life::Starting
            | Life::Living
            | Life::Probation
            | Life::Current
            | Life::Leaving(Step::Asked) => self.leave(Step::Pressed, soon, actions),
            Life::Leaving(Step::Pressed) => self.due = soon.min(self.due),
            Life::Leaving(Step::Killed | Step::Abandoned) => {}
        }
    }

    /// Somebody waits for its place: SIGINT is due within a second.
    pub fn hurry(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let soon = now.after(CROWDED_TO_INT);
        if self.life == Life::Leaving(Step::Asked) && self.due > soon {
            self.due = soon;
            actions.push(Action::Tell(Report::Crowded(self.generation)));
        }
    }

    /// What comes after `step`, now that it is due.
    pub fn escalate(&mut self, step: Step, now: Tick, actions: &mut Vec<Action>) {
        match step {
            Step::Asked => self.leave(Step::Pressed, self.due.after(INT_TO_KILL), actions),
            Step::Pressed => self.leave(Step::Killed, now.after(KILL_TO_ABANDON), actions),
            Step::Killed | Step::Abandoned => self.leave(Step::Abandoned, Tick::NEVER, actions),
        }
    }

    fn leave(&mut self, step: Step, due: Tick, actions: &mut Vec<Action>) {
        (self.life, self.due) = (Life::Leaving(step), due);
        actions.push(Action::Tell(match step {
            Step::Asked => Report::Draining(self.generation),
            Step::Pressed => Report::Interrupted(self.generation),
            Step::Killed => Report::Killed(self.generation),
            Step::Abandoned => Report::Abandoned(self.generation),
        }));
        if step != Step::Abandoned {
            self.signal(step, actions);
        }
    }

    /// The monitor is gone and has left members behind: the signals go to them
    /// from now on, beginning with the last one that it was sent.
    pub fn orphan(&mut self, now: Tick, monitor: Pid, actions: &mut Vec<Action>) {
        self.leader = Some(Leader::Group(monitor));
        match self.life {
            Life::Leaving(step) => self.signal(step, actions),
            Life::Spawning | Life::Starting | Life::Living | Life::Probation | Life::Current => {
                self.ask(now.after(self.rules.timeout), actions);
            }
        }
    }

    /// Sends the signal of `step`. The last one is for the whole group.
    fn signal(&self, step: Step, actions: &mut Vec<Action>) {
        let generation = self.generation;
        let signal = match step {
            Step::Asked => Signal::Term,
            Step::Pressed => Signal::Int,
            Step::Killed | Step::Abandoned => Signal::Kill,
        };
        actions.push(match self.leader {
            None => return,
            Some(Leader::Monitor(monitor)) if signal != Signal::Kill => {
                Action::Signal { generation, monitor, signal }
            }
            Some(Leader::Monitor(leader) | Leader::Group(leader)) => {
                Action::SignalGroup { generation, leader, signal }
            }
        });
    }
}
