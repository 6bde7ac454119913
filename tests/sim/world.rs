//! What main and the monitors act on: the kernel, what each two of them share, how unkind
//! chance is in this run, and the notes from which a failure is told.

use crate::dice::Dice;
use crate::kernel::{Kernel, MAIN, Number, State, each, number};
use panzer::machines::{
    ExecResult, Exit, Generation, Losses, Signal,
    pool::{self, PoolRules},
    supervisor::{self, SupervisorRules},
};
use panzer::{Millis, Pid, Tick};

/// How often, of 1,024 times, something unkind happens. A run has some of these at 0: what
/// hides behind another trouble is found where that one is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chaos {
    pub fork_fails: u32,
    pub exec_fails: u32,
    /// A process ends unasked.
    pub dies: u32,
    /// A start hangs, or a worker never says that it is ready.
    pub mute: u32,
    /// A process does not obey SIGTERM, or SIGINT.
    pub stubborn: u32,
    /// A process hangs in the kernel.
    pub stuck: u32,
    pub stops: u32,
    /// Another process than main or a monitor sends a signal.
    pub foreign_signals: u32,
    pub forged: u32,
    pub helpers: u32,
    pub stalls: u32,
    pub busy: u32,
    /// A worker leaves because it has served enough.
    pub recycles: u32,
    pub slow_reads: u32,
    /// Something is received by a child, and what the dead have said is not known yet.
    pub slow_inbox: u32,
    pub operator: u32,
    pub main_is_killed: u32,
}

/// How the exec of a monitor's program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecFate {
    Open,
    Runs,
    Failed(ExecResult),
}

/// What a generation says to main over its notify socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Ready,
    Stopping,
    /// `X_PANZER=unusable`: a pool of programs has nothing to run.
    Unusable(ExecResult),
}

/// What stands in the pipe, or the sockets, between workers and their monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Runs(Number),
    /// Its program was not executed.
    CannotRun(Number, ExecResult),
    Ready(u16, Number),
    Busy(u16, Number),
}

/// What kind of monitor a generation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonitorKind {
    /// An application with a pool of copies of itself.
    Library,
    /// Panzer's own pool of programs: `-x`.
    Programs,
    /// A program without a pool.
    Foreign,
}

/// What main and the monitor of one generation share: the board, the notify socket, and
/// what the monitor was given.
#[derive(Clone, Debug)]
pub struct Shared {
    pub generation: Generation,
    pub monitor: Number,
    pub kind: MonitorKind,
    pub rules: PoolRules,
    /// Main's own timeout for it.
    pub timeout: Millis,
    pub exec: ExecFate,
    /// To main, with the sender.
    pub inbox: Vec<(Number, Word)>,
    /// Until when what a sender has said may still be received by a child.
    pub settled_at: Tick,
    /// To the monitor.
    pub pipe: Vec<Said>,
    pub board: Option<Board>,
    pub wanted: Option<u16>,
    /// Main sends a SIGINT.
    pub now: bool,
    /// A worker that becomes busy is to say so.
    pub asks_for_busy: bool,
    /// The monitor is alive.
    pub lives: bool,
}

impl Shared {
    /// What a monitor is given that was just forked.
    pub const fn given(
        generation: Generation,
        monitor: Number,
        kind: MonitorKind,
        rules: PoolRules,
        timeout: Millis,
    ) -> Self {
        Self {
            generation,
            monitor,
            kind,
            rules,
            timeout,
            exec: ExecFate::Open,
            inbox: Vec::new(),
            settled_at: Tick(0),
            pipe: Vec::new(),
            board: None,
            wanted: None,
            now: false,
            asks_for_busy: false,
            lives: true,
        }
    }
}

/// The header of the board, once a pool has begun it, and the processes in its rows.
#[derive(Clone, Debug, Default)]
pub struct Board {
    pub count: u16,
    pub ready: u16,
    pub before: Losses,
    pub since: Losses,
    pub killed: bool,
    pub workers: Vec<Number>,
}

/// One thing that happened, for the notes.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "a failure shows them whole")]
pub enum Note {
    Main(supervisor::Event),
    MainDoes(supervisor::Command),
    Pool(u32, pool::Event),
    PoolDoes(u32, pool::Command),
    Signal { by: Number, to: Number, signal: Signal },
    SignalGroup { by: Number, group: Number, signal: Signal },
    Exit(Number, Exit),
    Rules(SupervisorRules),
    Says(&'static str),
}

const KEPT: usize = 64;
pub const SHOWN: usize = 40;

/// The last that has happened.
#[derive(Debug)]
pub struct Notes {
    ring: [(u64, Note); KEPT],
    count: usize,
}

impl Notes {
    const fn new() -> Self {
        Self { ring: [(0, Note::Says("")); KEPT], count: 0 }
    }

    /// The last [`SHOWN`], the oldest first.
    pub fn last(&self) -> impl Iterator<Item = &(u64, Note)> {
        (self.count.saturating_sub(SHOWN)..self.count).map(|place| &self.ring[place % KEPT])
    }
}

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    pub name: &'static str,
    pub how: String,
}

/// How much has happened: what did not happen was not tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Events that the supervisor and the pools were told.
    pub told_main: u64,
    pub told_pools: u64,
    pub signals: u64,
    pub exits: u64,
    pub generations: u64,
    pub promotions: u64,
    pub setbacks: u64,
    pub restarts: u64,
    pub stalls: u64,
    pub mains: u64,
    pub mains_killed: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        for (sum, one) in [
            (&mut self.told_main, other.told_main),
            (&mut self.told_pools, other.told_pools),
            (&mut self.signals, other.signals),
            (&mut self.exits, other.exits),
            (&mut self.generations, other.generations),
            (&mut self.promotions, other.promotions),
            (&mut self.setbacks, other.setbacks),
            (&mut self.restarts, other.restarts),
            (&mut self.stalls, other.stalls),
            (&mut self.mains, other.mains),
            (&mut self.mains_killed, other.mains_killed),
        ] {
            *sum += one;
        }
    }

    const fn count(&mut self, note: Note) {
        let place = match note {
            Note::Main(supervisor::Event::Stalled { .. }) => &mut self.stalls,
            Note::Main(_) => &mut self.told_main,
            Note::Pool(..) => &mut self.told_pools,
            Note::Signal { .. } | Note::SignalGroup { .. } => &mut self.signals,
            Note::Exit(..) => &mut self.exits,
            Note::MainDoes(supervisor::Command::Spawn { .. }) => &mut self.generations,
            Note::MainDoes(supervisor::Command::Promote { .. }) => &mut self.promotions,
            Note::MainDoes(
                supervisor::Command::FailStart { .. } | supervisor::Command::RollBack { .. },
            ) => &mut self.setbacks,
            Note::MainDoes(
                supervisor::Command::Signal { .. }
                | supervisor::Command::SignalSession { .. }
                | supervisor::Command::Forget { .. }
                | supervisor::Command::CloseListeners
                | supervisor::Command::Finish { .. }
                | supervisor::Command::Tell(_),
            )
            | Note::PoolDoes(..)
            | Note::Rules(_)
            | Note::Says(_) => return,
        };
        *place += 1;
    }
}

#[derive(Debug)]
pub struct World {
    pub kernel: Kernel,
    pub dice: Dice,
    pub chaos: Chaos,
    pub shared: Vec<Shared>,
    pub notes: Notes,
    pub tally: Tally,
    pub broken: Option<Broken>,
    /// Children that are few for main's sweeps.
    pub few: usize,
}

impl World {
    pub fn new(dice: Dice, chaos: Chaos) -> Self {
        let mut dice = dice;
        let few = dice.one_of(&[0, 2, 64]);
        let (kernel, notes) = (Kernel::new(), Notes::new());
        Self {
            kernel,
            dice,
            chaos,
            shared: Vec::new(),
            notes,
            tally: Tally::default(),
            broken: None,
            few,
        }
    }

    pub const fn now(&self) -> Tick {
        self.kernel.now
    }

    pub const fn note(&mut self, note: Note) {
        self.notes.ring[self.notes.count % KEPT] = (self.kernel.now.0, note);
        self.notes.count += 1;
        self.tally.count(note);
    }

    /// Requires that an invariant holds.
    pub fn expect(&mut self, holds: bool, name: &'static str, how: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(Broken { name, how: how() });
        }
    }

    pub fn shared(&mut self, generation: Generation) -> Option<&mut Shared> {
        self.shared.iter_mut().find(|shared| shared.generation == generation)
    }

    /// That of the monitor that runs as this process.
    pub fn of_monitor(&mut self, monitor: Number) -> Option<&mut Shared> {
        self.shared.iter_mut().find(|shared| shared.monitor == monitor && shared.lives)
    }

    /// A process ends, as `exit` says.
    pub fn exit(&mut self, number: Number, exit: Exit) {
        self.note(Note::Exit(number, exit));
        self.kernel.exit(number, exit);
        for shared in self.shared.iter_mut().filter(|shared| shared.monitor == number) {
            shared.lives = false;
            if shared.exec == ExecFate::Open {
                shared.exec = ExecFate::Runs;
            }
        }
    }

    /// waitpid(2), of a child of its own alone.
    pub fn reap(&mut self, by: Number, child: Number) -> Option<Exit> {
        let is_own =
            self.kernel.get(child).parent == by && self.kernel.get(child).state != State::Free;
        self.expect(is_own, "only_own_children_are_reaped", || format!("{child} by {by}"));
        if is_own { self.kernel.reap(child) } else { None }
    }

    /// kill(2) to a process, which only its parent may name.
    pub fn kill(&mut self, by: Number, to: Pid, signal: Signal) {
        let to = number(to);
        self.note(Note::Signal { by, to, signal });
        let target = *self.kernel.get(to);
        let is_pinned = target.state != State::Free && target.parent == by;
        self.expect(is_pinned, "only_pinned_pids_are_signalled", || {
            format!("{to} by {by}: {target:?}")
        });
        self.kernel.post(by, to, signal);
    }

    /// kill(2) to a group, in which the sender must have a child.
    pub fn kill_group(&mut self, by: Number, group: Number, tree: u32, signal: Signal) {
        self.note(Note::SignalGroup { by, group, signal });
        let members = self.kernel.members(group);
        let is_pinned = each(members).any(|member| self.kernel.get(member).parent == by);
        self.expect(is_pinned, "only_pinned_pids_are_signalled", || {
            format!("group {group} by {by}")
        });
        for member in each(members) {
            let process = *self.kernel.get(member);
            self.expect(process.tree == tree, "strangers_are_not_signalled", || {
                format!(
                    "{member} in group {group} by {by}, meant was generation {tree}: {process:?}"
                )
            });
            self.kernel.post(by, member, signal);
        }
    }

    /// Whether main is alive.
    pub fn has_main(&self) -> bool {
        self.kernel.is_alive(MAIN)
    }
}
