//! One generation, from its start to the last of its processes.

use super::words::{Action, Report};
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
}

/// What a generation is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Life {
    /// `Spawn` was ordered; the answer is outstanding.
    Spawning,
    /// Not ready yet: taken as ready at `assume`, as failed at `fail`.
    Starting { monitor: Pid, since: Tick, assume: Option<Tick>, fail: Tick },
    /// Ready, beside the one that is current.
    Probation { monitor: Pid, since: Tick, until: Tick },
    /// The one that serves.
    Current { monitor: Pid, since: Tick },
    /// On its way out.
    Leaving { leader: Leader, step: Step },
}

/// Who takes the signals of a generation that leaves.
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
    Asked { interrupt: Tick },
    /// Was sent SIGINT; SIGKILL is due.
    Pressed { kill: Tick },
    /// Was sent SIGKILL; a final stop waits for it no longer than this.
    Killed { abandon: Tick },
    /// The kernel did not end it. Nothing more can be done.
    Abandoned,
}

impl Member {
    /// Whether it is on its way to being current.
    pub const fn is_attempt(&self) -> bool {
        match self.life {
            Life::Spawning | Life::Starting { .. } | Life::Probation { .. } => true,
            Life::Current { .. } | Life::Leaving { .. } => false,
        }
    }

    /// Whether it counts against the three that may be alive.
    pub const fn is_alive(&self) -> bool {
        match self.life {
            Life::Spawning
            | Life::Starting { .. }
            | Life::Probation { .. }
            | Life::Current { .. }
            | Life::Leaving { step: Step::Asked { .. } | Step::Pressed { .. }, .. } => true,
            Life::Leaving { step: Step::Killed { .. } | Step::Abandoned, .. } => false,
        }
    }

    /// The monitor, unless it is gone or not yet there.
    pub const fn monitor(&self) -> Option<Pid> {
        match self.life {
            Life::Starting { monitor, .. }
            | Life::Probation { monitor, .. }
            | Life::Current { monitor, .. }
            | Life::Leaving { leader: Leader::Monitor(monitor), .. } => Some(monitor),
            Life::Spawning | Life::Leaving { leader: Leader::Group(_), .. } => None,
        }
    }

    /// When this generation next needs a look.
    pub const fn deadline(&self) -> Option<Tick> {
        match self.life {
            Life::Spawning | Life::Current { .. } => None,
            Life::Starting { assume, fail, .. } => match assume {
                Some(assume) if assume.0 < fail.0 => Some(assume),
                Some(_) | None => Some(fail),
            },
            Life::Probation { until, .. } => Some(until),
            Life::Leaving { step, .. } => match step {
                Step::Asked { interrupt } => Some(interrupt),
                Step::Pressed { kill } => Some(kill),
                Step::Killed { abandon } => Some(abandon),
                Step::Abandoned => None,
            },
        }
    }

    /// Moves what it waits for back: nobody could run for some of that time.
    pub fn postpone(&mut self, by: Millis) {
        match &mut self.life {
            Life::Spawning | Life::Current { .. } => {}
            Life::Starting { assume, fail, .. } => {
                *assume = assume.map(|assume| assume.after(by));
                *fail = fail.after(by);
            }
            Life::Probation { until, .. } => *until = until.after(by),
            Life::Leaving { step, .. } => match step {
                Step::Asked { interrupt: due }
                | Step::Pressed { kill: due }
                | Step::Killed { abandon: due } => *due = due.after(by),
                Step::Abandoned => {}
            },
        }
    }

    /// Asks it to finish, with SIGINT at `interrupt`. Who is leaving already
    /// keeps his deadline unless this one is earlier.
    pub fn ask(&mut self, interrupt: Tick, actions: &mut Vec<Action>) {
        match &mut self.life {
            // Asked as soon as it is there.
            Life::Spawning => {}
            Life::Starting { monitor, .. }
            | Life::Probation { monitor, .. }
            | Life::Current { monitor, .. } => {
                let leader = Leader::Monitor(*monitor);
                self.life = Life::Leaving { leader, step: Step::Asked { interrupt } };
                actions.push(Action::Tell(Report::Draining(self.generation)));
                self.signal(leader, Signal::Term, actions);
            }
            Life::Leaving { step: Step::Asked { interrupt: due }, .. } => {
                *due = interrupt.min(*due);
            }
            Life::Leaving { step: Step::Pressed { kill }, .. } => {
                *kill = interrupt.after(INT_TO_KILL).min(*kill);
            }
            Life::Leaving { step: Step::Killed { .. } | Step::Abandoned, .. } => {}
        }
    }

    /// Ends it now: SIGINT, and SIGKILL a second later.
    pub fn press(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let soon = now.after(NOW_TO_KILL);
        match &mut self.life {
            Life::Spawning => {}
            Life::Starting { monitor, .. }
            | Life::Probation { monitor, .. }
            | Life::Current { monitor, .. } => {
                let leader = Leader::Monitor(*monitor);
                self.interrupt(leader, soon, actions);
            }
            Life::Leaving { leader, step: Step::Asked { .. } } => {
                let leader = *leader;
                self.interrupt(leader, soon, actions);
            }
            Life::Leaving { step: Step::Pressed { kill }, .. } => *kill = soon.min(*kill),
            Life::Leaving { step: Step::Killed { .. } | Step::Abandoned, .. } => {}
        }
    }

    /// Somebody waits for its place: SIGINT is due within a second.
    pub fn hurry(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let soon = now.after(CROWDED_TO_INT);
        if let Life::Leaving { step: Step::Asked { interrupt }, .. } = &mut self.life
            && *interrupt > soon
        {
            *interrupt = soon;
            actions.push(Action::Tell(Report::Crowded(self.generation)));
        }
    }

    /// The next step of pressing, if it is due; says which signal it was.
    pub fn escalate(&mut self, now: Tick, actions: &mut Vec<Action>) -> Option<Signal> {
        let Life::Leaving { leader, step } = self.life else { return None };
        match step {
            Step::Asked { interrupt } if interrupt <= now => {
                self.interrupt(leader, interrupt.after(INT_TO_KILL), actions);
                Some(Signal::Int)
            }
            Step::Pressed { kill } if kill <= now => {
                let step = Step::Killed { abandon: now.after(KILL_TO_ABANDON) };
                self.life = Life::Leaving { leader, step };
                actions.push(Action::Tell(Report::Killed(self.generation)));
                let (Leader::Monitor(pid) | Leader::Group(pid)) = leader;
                self.signal(Leader::Group(pid), Signal::Kill, actions);
                Some(Signal::Kill)
            }
            Step::Killed { abandon } if abandon <= now => {
                self.life = Life::Leaving { leader, step: Step::Abandoned };
                actions.push(Action::Tell(Report::Abandoned(self.generation)));
                None
            }
            Step::Asked { .. } | Step::Pressed { .. } | Step::Killed { .. } | Step::Abandoned => {
                None
            }
        }
    }

    fn interrupt(&mut self, leader: Leader, kill: Tick, actions: &mut Vec<Action>) {
        self.life = Life::Leaving { leader, step: Step::Pressed { kill } };
        actions.push(Action::Tell(Report::Interrupted(self.generation)));
        self.signal(leader, Signal::Int, actions);
    }

    /// The monitor is gone and has left members behind: the signals go to them
    /// from now on, beginning with the last one that it was sent.
    pub fn orphan(&mut self, monitor: Pid, interrupt: Tick, actions: &mut Vec<Action>) {
        let leader = Leader::Group(monitor);
        let (step, signal) = match self.life {
            Life::Leaving { step, .. } => match step {
                Step::Asked { .. } => (step, Signal::Term),
                Step::Pressed { .. } => (step, Signal::Int),
                Step::Killed { .. } | Step::Abandoned => (step, Signal::Kill),
            },
            Life::Spawning
            | Life::Starting { .. }
            | Life::Probation { .. }
            | Life::Current { .. } => {
                actions.push(Action::Tell(Report::Draining(self.generation)));
                (Step::Asked { interrupt }, Signal::Term)
            }
        };
        self.life = Life::Leaving { leader, step };
        self.signal(leader, signal, actions);
    }

    fn signal(&self, leader: Leader, signal: Signal, actions: &mut Vec<Action>) {
        let generation = self.generation;
        actions.push(match leader {
            Leader::Monitor(monitor) => Action::Signal { generation, monitor, signal },
            Leader::Group(leader) => Action::SignalGroup { generation, leader, signal },
        });
    }
}
