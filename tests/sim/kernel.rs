//! The false kernel: processes, their numbers, their signals, and a clock.
//!
//! It does what the real one does where that matters here: see the drawing in `main.rs`.
//! A number is free again as soon as no process, group or session goes by it, and is often
//! the next one that is given out.

use crate::dice::Dice;
use panzer::machines::{Exit, Signal};
use panzer::{Pid, Tick};

/// The number of a process; 0 is none.
pub type Number = usize;
/// So many numbers are there.
pub const NUMBERS: usize = 96;
pub const INIT: Number = 1;
pub const MAIN: Number = 2;
const FIRST: Number = 3;

/// A set of numbers.
pub type Set = u128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Free,
    Alive,
    Dead(Exit),
}

/// What a process is, and so what it does when it runs: `life.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Init,
    Main,
    Monitor,
    /// A worker of a library pool.
    Worker,
    /// A program of a pool of `-x`.
    Program,
    /// What another has started.
    Helper,
    /// No process of ours.
    Stranger,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its program was not executed yet.
    Forked,
    /// It has nothing to say yet.
    Starting,
    Serving,
    Draining,
}

#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub state: State,
    pub kind: Kind,
    pub progress: Progress,
    pub parent: Number,
    pub group: Number,
    pub session: Number,
    /// The generation that it comes from; 0 is none.
    pub tree: u32,
    pub slot: u16,
    /// SIGSTOP holds it.
    pub stopped: bool,
    /// It hangs in the kernel, and cannot die.
    pub stuck: bool,
    /// SIGKILL is on its way.
    pub doomed: bool,
    /// Sent to it at its parent's death.
    pub parent_death: Option<Signal>,
    /// Orphans below it come to it.
    pub adopts: bool,
    /// It has a loop of ours, which takes signals by handlers.
    pub catches: bool,
    /// What it does not obey, a bit for each signal.
    pub ignores: u32,
    pub busy_since: Option<Tick>,
    /// When it ends itself at the latest.
    pub last_resort: Tick,
    pending: u32,
    /// The sender of the pending SIGINT, SIGVTALRM and the child of the pending SIGCHLD.
    sent_by: [Number; 3],
    /// What its handlers have noted.
    noted: u32,
    interrupts: u32,
    by_parent: u32,
    /// Who said by SIGVTALRM that it is ready, as the handler judged.
    ready: Number,
    named: [Number; NAMED],
    names: usize,
}

/// So many dead children the handler names between two turns.
const NAMED: usize = 8;

/// What the handlers have noted, as a loop takes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    bits: u32,
    pub interrupts: u32,
    pub by_parent: u32,
    pub ready: Number,
}

impl Taken {
    pub const fn has(&self, signal: Signal) -> bool {
        self.bits & bit(signal) != 0
    }

    pub const fn add(&mut self, other: &Self) {
        self.bits |= other.bits;
        if other.ready != 0 {
            self.ready = other.ready;
        }
    }
}

pub const fn bit(signal: Signal) -> u32 {
    1 << signal as u32
}

/// Which of the remembered senders is this signal's.
const fn sender_of(signal: Signal) -> Option<usize> {
    match signal {
        Signal::Int => Some(0),
        Signal::Vtalrm => Some(1),
        Signal::Chld => Some(2),
        Signal::Hup
        | Signal::Quit
        | Signal::Usr1
        | Signal::Usr2
        | Signal::Term
        | Signal::Ttin
        | Signal::Ttou
        | Signal::Winch
        | Signal::Pipe
        | Signal::Xfsz
        | Signal::Abrt
        | Signal::Kill => None,
    }
}

const VACANT: Process = Process {
    state: State::Free,
    kind: Kind::Stranger,
    progress: Progress::Forked,
    parent: 0,
    group: 0,
    session: 0,
    tree: 0,
    slot: 0,
    stopped: false,
    stuck: false,
    doomed: false,
    parent_death: None,
    adopts: false,
    catches: false,
    ignores: 0,
    busy_since: None,
    last_resort: Tick::NEVER,
    pending: 0,
    sent_by: [0; 3],
    noted: 0,
    interrupts: 0,
    by_parent: 0,
    ready: 0,
    named: [0; NAMED],
    names: 0,
};

#[derive(Debug)]
pub struct Kernel {
    table: [Process; NUMBERS],
    /// The numbers of processes, alive or dead.
    present: Set,
    /// How many processes have this number as that of their group or session.
    uses: [u16; NUMBERS],
    /// The number that was free last.
    freed: Number,
    pub now: Tick,
    /// Whose SIGVTALRM counts for main.
    pub expected: Number,
}

/// The process as the machines name it.
pub fn pid(number: Number) -> Pid {
    Pid::new(number.cast_signed() as i32).expect("a process has a number above 0")
}

pub fn number(pid: Pid) -> Number {
    pid.raw().cast_unsigned() as Number
}

/// The numbers of a set, the lowest first.
pub fn each(set: Set) -> impl Iterator<Item = Number> {
    let mut rest = set;
    core::iter::from_fn(move || {
        let next = (rest != 0).then(|| rest.trailing_zeros() as Number)?;
        rest &= rest - 1;
        Some(next)
    })
}

impl Kernel {
    /// Init and main are there.
    pub fn new() -> Self {
        let mut kernel = Self {
            table: [VACANT; NUMBERS],
            present: 0,
            uses: [0; NUMBERS],
            freed: FIRST,
            now: Tick(1_000_000),
            expected: 0,
        };
        kernel.place(INIT, 0, Kind::Init, 0);
        kernel.place(MAIN, INIT, Kind::Main, 0);
        kernel.lead_session(MAIN);
        (kernel.table[MAIN].adopts, kernel.table[MAIN].catches) = (true, true);
        kernel
    }

    pub const fn get(&self, number: Number) -> &Process {
        &self.table[number]
    }

    pub const fn get_mut(&mut self, number: Number) -> &mut Process {
        &mut self.table[number]
    }

    pub const fn present(&self) -> Set {
        self.present
    }

    pub fn is_alive(&self, number: Number) -> bool {
        self.table[number].state == State::Alive
    }

    pub fn is_dead(&self, number: Number) -> bool {
        matches!(self.table[number].state, State::Dead(_))
    }

    fn where_it_is(&self, is_it: impl Fn(&Process) -> bool) -> Set {
        each(self.present)
            .filter(|&number| is_it(&self.table[number]))
            .fold(0, |set, n| set | 1 << n)
    }

    pub fn children(&self, parent: Number) -> Set {
        self.where_it_is(|process| process.parent == parent)
    }

    pub fn members(&self, group: Number) -> Set {
        self.where_it_is(|process| process.group == group)
    }

    /// Those that wait to be reaped by it.
    pub fn dead_children(&self, parent: Number) -> Set {
        self.where_it_is(|process| {
            process.parent == parent && matches!(process.state, State::Dead(_))
        })
    }

    /// A new process, a copy of its parent in its group and session; `None` if no number is
    /// free.
    pub fn fork(&mut self, parent: Number, kind: Kind, dice: &mut Dice) -> Option<Number> {
        let any = FIRST + dice.below(NUMBERS - FIRST);
        let start = dice.one_of(&[self.freed, self.freed, FIRST, any]);
        let number = (start..NUMBERS)
            .chain(FIRST..start)
            .find(|&number| self.uses[number] == 0 && self.present & 1 << number == 0)?;
        let tree = self.table[parent].tree;
        self.place(number, parent, kind, tree);
        Some(number)
    }

    fn place(&mut self, number: Number, parent: Number, kind: Kind, tree: u32) {
        let (group, session) = (self.table[parent].group, self.table[parent].session);
        let state = State::Alive;
        self.table[number] = Process { state, kind, parent, group, session, tree, ..VACANT };
        self.present |= 1 << number;
        self.uses[group] += 1;
        self.uses[session] += 1;
    }

    /// setpgid(2) to a group of its own.
    pub fn lead_group(&mut self, number: Number) {
        self.let_go(self.table[number].group);
        self.table[number].group = number;
        self.uses[number] += 1;
    }

    /// setsid(2).
    pub fn lead_session(&mut self, number: Number) {
        self.lead_group(number);
        self.let_go(self.table[number].session);
        self.table[number].session = number;
        self.uses[number] += 1;
    }

    /// A process ends. Its children have another parent from then on.
    pub fn exit(&mut self, number: Number, exit: Exit) {
        self.table[number].state = State::Dead(exit);
        let heir = self.heir_of(number);
        for child in each(self.children(number)) {
            self.table[child].parent = heir;
            if self.is_dead(child) {
                self.tell_of_death(child);
            } else if let Some(signal) = self.table[child].parent_death {
                self.post(number, child, signal);
            }
        }
        self.tell_of_death(number);
    }

    /// The next reaper of orphans above it.
    fn heir_of(&self, number: Number) -> Number {
        let mut above = self.table[number].parent;
        while above != INIT && !(self.is_alive(above) && self.table[above].adopts) {
            above = self.table[above].parent;
        }
        above
    }

    fn tell_of_death(&mut self, child: Number) {
        let parent = self.table[child].parent;
        if parent == INIT { self.free(child) } else { self.post(child, parent, Signal::Chld) }
    }

    fn free(&mut self, number: Number) {
        let Process { group, session, .. } = self.table[number];
        self.table[number].state = State::Free;
        self.present &= !(1 << number);
        self.let_go(group);
        self.let_go(session);
        if self.uses[number] == 0 {
            self.freed = number;
        }
    }

    /// One less goes by this number.
    const fn let_go(&mut self, number: Number) {
        self.uses[number] -= 1;
        if self.uses[number] == 0 && self.present & (1 << number) == 0 && number >= FIRST {
            self.freed = number;
        }
    }

    /// waitpid(2): takes a dead process away.
    pub fn reap(&mut self, number: Number) -> Option<Exit> {
        let State::Dead(exit) = self.table[number].state else { return None };
        self.free(number);
        Some(exit)
    }

    /// A signal is on its way. One that is pending already stands for both.
    pub fn post(&mut self, by: Number, to: Number, signal: Signal) {
        let process = &mut self.table[to];
        if process.state != State::Alive {
            return;
        }
        if signal == Signal::Kill {
            process.doomed = true;
            return;
        }
        if process.pending & bit(signal) == 0 {
            process.pending |= bit(signal);
            if let Some(place) = sender_of(signal) {
                process.sent_by[place] = by;
            }
        }
    }

    pub fn has_pending(&self, number: Number) -> bool {
        let process = &self.table[number];
        process.pending | process.noted != 0
    }

    /// The handlers of a process that catches signals run.
    pub fn deliver(&mut self, to: Number) {
        let Process { pending, sent_by, parent, .. } = self.table[to];
        let ready = if pending & bit(Signal::Vtalrm) != 0 { self.judged(sent_by[1]) } else { 0 };
        let process = &mut self.table[to];
        process.pending = 0;
        process.noted |= pending;
        if pending & bit(Signal::Int) != 0 {
            process.interrupts += 1;
            process.by_parent += u32::from(sent_by[0] == parent);
        }
        if ready != 0 {
            process.ready = ready;
        }
        if pending & bit(Signal::Chld) != 0 && process.names < NAMED {
            process.named[process.names] = sent_by[2];
            process.names += 1;
        }
    }

    /// Whose SIGVTALRM that is: a sender that is gone counts for what is expected.
    fn judged(&self, sender: Number) -> Number {
        let is_gone = self.table[sender].state == State::Free;
        let is_its = !is_gone && self.table[sender].session == self.expected;
        if is_gone || is_its { self.expected } else { 0 }
    }

    /// What the handlers have noted by now.
    pub fn take(&mut self, number: Number) -> Taken {
        let process = &mut self.table[number];
        let taken = Taken {
            bits: process.noted,
            interrupts: process.interrupts,
            by_parent: process.by_parent,
            ready: process.ready,
        };
        (process.noted, process.interrupts, process.by_parent, process.ready) = (0, 0, 0, 0);
        taken
    }

    /// Takes one signal alone.
    pub fn take_one(&mut self, number: Number, signal: Signal) -> bool {
        let noted = &mut self.table[number].noted;
        let was = *noted & bit(signal) != 0;
        *noted &= !bit(signal);
        was
    }

    /// The next dead child that a handler has named.
    pub fn take_named(&mut self, number: Number) -> Option<Number> {
        let process = &mut self.table[number];
        let first = (process.names > 0).then_some(process.named[0])?;
        process.named.rotate_left(1);
        process.names -= 1;
        Some(first)
    }

    /// Takes a pending signal of a process without a loop.
    pub fn take_pending(&mut self, number: Number, signal: Signal) -> bool {
        let pending = &mut self.table[number].pending;
        let was = *pending & bit(signal) != 0;
        *pending &= !bit(signal);
        was
    }
}
