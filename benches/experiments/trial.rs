//! The notes and checks of an experiment, and its random moments.

use std::fmt::{self, Display};
use std::time::Duration;

use crate::server::Seen;

/// The most generations that may be alive at once.
const GENERATIONS: usize = 3;
/// How long a zombie may exist while its parent can run.
const FUNERAL: Duration = Duration::from_secs(1);

/// One run of an experiment.
pub struct Trial {
    is_quick: bool,
    random: u64,
    notes: Vec<String>,
    has_failed: bool,
}

impl Trial {
    /// The same name and seed give the same random numbers.
    pub fn new(name: &str, seed: u64, is_quick: bool) -> Self {
        // FNV-1a.
        let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let random = name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, mix);
        Self { is_quick, random, notes: Vec::new(), has_failed: false }
    }

    /// How often, or how long: `full`, or `quick` in a short run.
    pub fn choose<T>(&self, full: T, quick: T) -> T {
        if self.is_quick { quick } else { full }
    }

    /// Notes a figure.
    pub fn note(&mut self, figure: impl Display) {
        self.notes.push(figure.to_string());
    }

    /// Notes a count that must be 0.
    pub fn none(&mut self, what: &str, count: usize) {
        self.require(count == 0, format_args!("{what} {count}"));
    }

    /// Notes times that must not exceed `limit`.
    pub fn within(&mut self, limit: Duration, what: &str, times: &Times) {
        let holds = times.max() <= limit;
        self.require(holds, format_args!("{what} {times} of {} ms", limit.as_millis()));
    }

    /// Notes and checks the result of a watch, if the experiment has stopped no process itself.
    pub fn watched(&mut self, seen: &Seen) {
        self.watched_beside(seen, 0);
    }

    /// The same with so many more sessions that are no generations.
    pub fn watched_beside(&mut self, seen: &Seen, others: usize) {
        let Seen { looks, processes, generations, zombie, stopped, left: _ } = *seen;
        self.note(format_args!("in {looks} looks at most {processes} processes"));
        let most = GENERATIONS + others;
        self.require(generations <= most, format_args!("{generations} generations"));
        let zombie_for = format_args!("zombies for {} ms", zombie.as_millis());
        self.require(zombie <= FUNERAL, zombie_for);
        self.none("in state T", stopped);
    }

    /// Notes a figure, and whether it is right.
    pub fn require(&mut self, holds: bool, figure: impl Display) {
        self.has_failed |= !holds;
        self.notes.push(format!("{}{figure}", if holds { "" } else { "WRONG: " }));
    }

    /// All figures.
    pub fn figures(&self) -> String {
        self.notes.join(", ")
    }

    /// Whether all checks have passed.
    pub const fn has_passed(&self) -> bool {
        !self.has_failed
    }

    /// A random number below `limit`, which is not 0: splitmix64.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % limit
    }

    /// A random time up to `longest`, to the microsecond.
    pub fn moment(&mut self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.below(longest + 1))
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, several: &[T]) -> T {
        several[self.place(several.len())]
    }

    /// A random index below that length.
    pub fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a usize")
    }
}

/// How long things took.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Adds one.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The longest; 0 if there is none.
    pub fn max(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }
}

/// Shown as `min/median/max` in milliseconds.
impl Display for Times {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times = self.0.clone();
        times.sort_unstable();
        let ms = |place: usize| times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1_000.0);
        let (median, last) = (times.len() / 2, times.len().saturating_sub(1));
        write!(out, "{:.1}/{:.1}/{:.1} ms", ms(0), ms(median), ms(last))
    }
}
