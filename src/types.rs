//! The values that every layer speaks in.
//!
//! Each makes a wrong value impossible rather than unlikely: a [`Pid`] cannot mean a
//! group or every process, a [`Tick`] cannot be taken from the wall clock, a [`Millis`]
//! is never a number of seconds.
//!
//! Numbers are shown as a `u32` or a `u64`, here and everywhere: each further
//! integer type would bring a quarter of a kilobyte of the standard library.
//!
//! Pure: knows no layer of this crate.

use crate::persist::{Codec, Persist, persisted};
use crate::text::words;
use alloc::vec::Vec;
use core::fmt;
use core::num::{NonZeroI32, NonZeroU16};

/// The identity of one process, positive by construction.
///
/// To kill(2), 0 is the caller's group and -1 is every process; a type that cannot hold
/// them cannot signal the world by accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// The process that the kernel calls `raw`; `None` for 0 and below.
    #[must_use]
    pub const fn new(raw: i32) -> Option<Self> {
        match NonZeroI32::new(raw) {
            Some(id) if id.is_positive() => Some(Self(id)),
            Some(_) | None => None,
        }
    }

    /// The kernel's number, always positive.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw().unsigned_abs().fmt(out)
    }
}

impl Persist for Pid {
    fn empty_value() -> Self {
        Self(NonZeroI32::MAX)
    }

    fn persist(&mut self, codec: &mut Codec) {
        let raw = codec.number(u64::from(self.raw().unsigned_abs()), i32::MAX as u64);
        match Self::new(raw as i32) {
            Some(pid) => *self = pid,
            None => codec.fail(),
        }
    }
}

persisted! { struct Millis(0) }
persisted! { struct Tick(0) }
persisted! { struct Generation(0) }
persisted! { struct Account { user, group, groups } }
persisted! { struct Backoff { delay, max_delay } }

/// A length of time in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// So many whole seconds; saturates after half a billion years.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000))
    }
}

impl From<core::time::Duration> for Millis {
    /// Rounds down to a whole millisecond; saturates.
    fn from(span: core::time::Duration) -> Self {
        let whole = span.as_secs().saturating_mul(1_000);
        Self(whole.saturating_add(u64::from(span.subsec_millis())))
    }
}

/// Reads as a person would say it: `132 ms`, `1.5 s`, `75 s`, `26 h`.
impl fmt::Display for Millis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ms) = *self;
        let (unit, name) = match ms {
            0..1_000 => (1, "ms"),
            1_000..10_000 if ms % 1_000 >= 100 => {
                return write!(out, "{}.{} s", ms / 1_000, ms % 1_000 / 100);
            }
            1_000..600_000 => (1_000, "s"),
            600_000..36_000_000 => (60_000, "min"),
            36_000_000..864_000_000 => (3_600_000, "h"),
            864_000_000.. => (86_400_000, "d"),
        };
        write!(out, "{} {name}", ms / unit)
    }
}

/// A moment: milliseconds of the monotonic clock, which neither the wall clock
/// nor a suspended machine moves.
///
/// Only `sys::clock` makes one out of nothing; everything else computes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// Later than every other: never due.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `span` later; saturates, which means never.
    #[must_use]
    pub const fn after(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The time since `earlier`; nothing if that is still to come.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// The number of a generation, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl Generation {
    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A place in a pool of workers: 1 to [`Slot::LAST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(NonZeroU16);

impl Slot {
    /// The largest number of workers a generation can have.
    pub const LAST: u16 = 16_383;

    /// The place with this number; `None` outside 1 to [`Slot::LAST`].
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(slot) if number <= Self::LAST => Some(Self(slot)),
            Some(_) | None => None,
        }
    }

    /// The first `count` places, in order; at most [`Slot::LAST`] of them.
    pub fn first(count: u16) -> impl Iterator<Item = Self> {
        (1..=count.min(Self::LAST)).filter_map(Self::new)
    }

    /// The number, from 1.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0.get()
    }

    /// The position in an array of slots, from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        u32::from(self.number()).fmt(out)
    }
}

/// The signals that Panzer catches or sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Reload, or the terminal is gone.
    Hup,
    /// Stop; the second time at once.
    Int,
    /// Stop at once.
    Quit,
    /// Reload.
    Usr1,
    /// Restart main in place.
    Usr2,
    /// Stop gracefully.
    Term,
    /// A child died, stopped or went on.
    Chld,
    /// Log the status.
    Ttin,
    /// The terminal does not want our output now.
    Ttou,
    /// This generation is ready.
    Vtalrm,
    /// Read the board's header again.
    Winch,
    /// A reader is gone.
    Pipe,
    /// A file is larger than it may be.
    Xfsz,
    /// An end that leaves a core, where it may.
    Abrt,
    /// The end, which cannot be refused.
    Kill,
}

words! {
    /// The first signal of a stop, for what does not know this library: the value of
    /// `--stop-signal`, by its name without SIG.
    StopSignal {
        /// What most programs take as a graceful stop.
        Term = "TERM",
        /// nginx, php-fpm and unicorn take this one.
        Quit = "QUIT",
        /// As from a terminal.
        Int = "INT",
        /// As from a terminal that is gone.
        Hup = "HUP",
        /// HAProxy takes this one.
        Usr1 = "USR1",
        /// A second one of the program's own.
        Usr2 = "USR2",
        /// Apache httpd takes this one.
        Winch = "WINCH",
    }
}

impl StopSignal {
    /// Reads a name with or without SIG.
    pub(crate) fn named(word: &[u8]) -> Option<Self> {
        Self::parse(word.strip_prefix(b"SIG").unwrap_or(word))
    }

    /// The one that stands there.
    pub(crate) fn at(place: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(place).ok()?).copied()
    }

    /// What is sent.
    pub const fn signal(self) -> Signal {
        match self {
            Self::Term => Signal::Term,
            Self::Quit => Signal::Quit,
            Self::Int => Signal::Int,
            Self::Hup => Signal::Hup,
            Self::Usr1 => Signal::Usr1,
            Self::Usr2 => Signal::Usr2,
            Self::Winch => Signal::Winch,
        }
    }
}

words! {
    /// What a generation does.
    Stage {
        /// It is not ready yet.
        Starting = "starting",
        /// It serves beside the current one.
        Probation = "probation",
        /// It is the one that serves.
        Current = "current",
        /// It is on its way out.
        Draining = "draining",
    }
}

words! {
    /// What a worker does, in the order of the numbers that stand on a board.
    Activity {
        /// No process is there.
        Empty = "empty",
        /// Forked, not yet ready.
        Starting = "starting",
        /// Ready, and waits for work.
        Idle = "idle",
        /// At work.
        Busy = "busy",
        /// Told to stop.
        Draining = "draining",
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It exited with this status.
    Status(u8),
    /// This signal ended it.
    Signal {
        /// The kernel's number of the signal.
        number: u8,
        /// Whether a core was dumped.
        core: bool,
    },
}

persisted! { enum Exit { 0 = Status(status), 1 = Signal { number, core } } }

impl Exit {
    /// Whether the process ended by itself and said that all was well.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Status(0))
    }

    /// Whether it was ended by the signal that cannot be refused.
    #[must_use]
    pub const fn is_sigkill(self) -> bool {
        matches!(self, Self::Signal { number: 9, core: _ })
    }
}

/// How many workers were lost that were not asked to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Losses {
    /// Slots that have lost one or more.
    pub slots: u32,
    /// The most that one slot has lost.
    pub worst: u32,
}

impl Losses {
    /// The sum of what each slot has lost.
    pub fn of(slots: impl Iterator<Item = u32>) -> Self {
        slots.filter(|&lost| lost > 0).fold(Self::default(), |sum, lost| Self {
            slots: sum.slots.saturating_add(1),
            worst: sum.worst.max(lost),
        })
    }
}

words! {
    /// Why a process ended, as far as it is known; in the order of the numbers
    /// that stand on a board.
    ExitReason {
        /// It was not asked to, and nothing shows why.
        Unknown = "unknown",
        /// It was asked to leave.
        Requested = "requested",
        /// It was busy for too long, and was sent SIGABRT.
        Hung = "hung",
        /// The kernel has ended it, for there was no memory left.
        Memory = "out of memory",
        /// It had not become ready in time, and was told to leave.
        Late = "not ready in time",
    }
}

impl ExitReason {
    /// What a line says of it: nothing where it is not known.
    #[must_use]
    pub fn known(self) -> Option<&'static str> {
        (self != Self::Unknown).then(|| self.name())
    }
}

words! {
    /// How much a line of the log matters.
    Level {
        /// Something failed that should not.
        Error = "ERROR",
        /// Something is not as it should be, and Panzer goes on.
        Warn = "WARN",
        /// What an operator wants to know.
        Info = "INFO",
        /// What is needed when looking for a fault.
        Debug = "DEBUG",
    }
}

words! {
    /// Which part of Panzer a process plays.
    Role {
        /// Keeps the sockets and the generations.
        Main = "panzer:main",
        /// Loads the application and keeps its workers.
        Monitor = "panzer:monitor",
        /// Serves.
        Worker = "panzer:worker",
    }
}

/// The user and groups of a process, by number: credentials(7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: u32,
    /// The user's group.
    pub group: u32,
    /// All groups that it is in, in no order.
    pub groups: Vec<u32>,
}

/// When to try again what failed: `--delay` and `--max-delay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// The wait before the second repair in a row; 0 means never wait.
    pub delay: Millis,
    /// The longest wait, before jitter.
    pub max_delay: Millis,
}

impl Backoff {
    /// The default.
    pub const USUAL: Self = Self { delay: Millis(100), max_delay: Millis(30_000) };

    /// The same with no wait longer than `most`.
    #[must_use]
    pub fn at_most(self, most: Millis) -> Self {
        Self { delay: self.delay.min(most), max_delay: self.max_delay.min(most) }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::USUAL
    }
}

#[cfg(test)]
mod tests {
    use super::{Losses, Pid, Slot};
    use crate::persist::tests::{read, written};
    use alloc::string::ToString as _;

    #[test]
    fn losses_are_counted_by_slot() {
        assert_eq!(Losses::of([0, 1, 3, 0].into_iter()), Losses { slots: 2, worst: 3 });
    }

    #[test]
    fn pid_comes_back_and_slot_is_shown_as_its_number() {
        let mut pid = Pid::new(7);
        assert_eq!(read(&written(&mut pid)), Some(pid));
        assert_eq!(Slot::new(12).map(|slot| slot.to_string()).as_deref(), Some("12"));
    }
}
